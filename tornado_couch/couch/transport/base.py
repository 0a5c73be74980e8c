"""`Transport`: the interface of what sends requests to CouchDB, and the values that it takes and returns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

from multidict import CIMultiDict

__all__ = ["DEFAULT_TIMEOUT", "Body", "FakeTransport", "Reply", "Request", "Stream", "Timeout", "Transport"]


@dataclass(frozen=True, slots=True)
class Timeout:
    """Time limits in seconds; None stands for no limit.

    Attributes:
        connect: for opening a connection: name resolution, TCP and TLS.
        read: for the next bytes of an answer, including the first.
        total: for the whole call, including the wait for a free connection, a log-in and second tries.
        pool: for the wait until one of the pooled connections is free.
    """

    connect: float | None = 5.0
    read: float | None = 30.0
    total: float | None = 60.0
    pool: float | None = 10.0

    @classmethod
    def of(cls, value: Timeout | float | None) -> Timeout:
        """Make time limits from a number (the total) or from None (no limit)."""
        if isinstance(value, Timeout):
            return value
        return cls(None, None, None, None) if value is None else cls(total=float(value))


    def beyond(self, seconds: float) -> Timeout:
        """Return the limits for a call that CouchDB itself may hold up for so many seconds."""
        read, total = (None if each is None else each + seconds for each in (self.read, self.total))
        return replace(self, read=read, total=total)


DEFAULT_TIMEOUT = Timeout()


class Body(Protocol):
    """Content that is sent piece by piece, and that can be sent again.

    Attributes:
        content_type: its media type.
        length: in bytes.
    """

    content_type: str
    length: int

    def chunks(self) -> AsyncIterator[bytes]:
        """The content in parts, from its beginning."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request to CouchDB.

    Attributes:
        method: the HTTP method.
        target: the quoted path and query, relative to the server's base URL.
        template: the path without ids and names, for logs and messages.
        headers: the header fields.
        body: the content, as bytes or to be sent piece by piece; or None.
        timeout: the time limits; the caller enforces `total`.
        safe: whether it can be sent twice without harm, since it changes nothing.
        most: the largest number of bytes that the answer may have; None for any number.
        near: the id of the document that the request writes, if it writes one. The writes of one document go to one
            node with `Couch(writes="by-document")`, or if they were seen to meet others.
    """

    method: str
    target: str
    template: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Body | None = None
    timeout: Timeout = DEFAULT_TIMEOUT
    safe: bool = False
    most: int | None = None
    near: str | None = None

    @property
    def length(self) -> int:
        """The length of the content in bytes."""
        return len(self.body or b"") if self.body is None or isinstance(self.body, bytes) else self.body.length

    def with_headers(self, headers: Mapping[str, str]) -> Request:
        """The same request with more header fields."""
        if not headers:
            return self
        # `dataclasses.replace` takes twice as long, and every request comes this way.
        return Request(
            self.method, self.target, self.template, {**self.headers, **headers}, self.body, self.timeout, self.safe,
            self.most, self.near,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer; `headers` ignores case, `cookies` has the values of Set-Cookie."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer whose content is still arriving; `headers` ignores case."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


class Transport(Protocol):
    """Carries requests to one CouchDB server."""

    async def send(self, request: Request) -> Reply:
        """Send a request and return the complete answer.

        Raises:
            Unavailable: there was no answer; the subclasses say which time limit was exceeded.
            InvalidReply: the answer is not HTTP.
            LongReply: the answer has more bytes than the request allows.
        """
        ...

    def stream(self, request: Request) -> AbstractAsyncContextManager[Stream]:
        """Send a request and read the answer as it arrives; the connection is busy until the block ends."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class FakeTransport:
    """Answers from a list or a function instead of a server, and records the requests.

    Args:
        answers: replies or exceptions, one per request in turn, or a function from request to reply.
    """

    def __init__(self, answers: list[Reply | Exception] | Callable[[Request], Reply]) -> None:
        self.requests: list[Request] = []
        self.closed = False
        self._answers = answers

    @staticmethod
    def reply(status: int, body: bytes = b"", *, cookies: tuple[str, ...] = (), **headers: str) -> Reply:
        """Make a reply; in the names of header fields, underscores stand for hyphens."""
        fields = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
        fields.setdefault("Content-Type", "application/json")
        return Reply(status, fields, body, cookies)

    async def send(self, request: Request) -> Reply:
        """Return the next answer."""
        self.requests.append(request)
        answer = self._answers(request) if callable(self._answers) else self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[Stream]:
        """Return the next answer, in one piece."""
        reply = await self.send(request)

        async def chunks() -> AsyncIterator[bytes]:
            yield reply.body

        yield Stream(reply.status, reply.headers, chunks())

    async def close(self) -> None:
        """Record that it was closed."""
        self.closed = True
