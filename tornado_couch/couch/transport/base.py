"""What sends requests to CouchDB: the interface, and the values that pass through it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Protocol

__all__ = ["DEFAULT_TIMEOUT", "Reply", "Request", "Stream", "Timeout", "Transport"]


@dataclass(frozen=True, slots=True)
class Timeout:
    """How long to wait, in seconds; None is for ever.

    Attributes:
        connect: for a new connection: name resolution, TCP and TLS.
        read: for the next bytes of an answer, the first included.
        total: for the whole call: free connection, log-in and second tries included.
        pool: for one of the pooled connections to become free.
    """

    connect: float | None = 5.0
    read: float | None = 30.0
    total: float | None = 60.0
    pool: float | None = 10.0

    @classmethod
    def of(cls, value: Timeout | float | None) -> Timeout:
        """The time limits that a number (the total) or None (no limit) stands for."""
        if isinstance(value, Timeout):
            return value
        return cls(None, None, None, None) if value is None else cls(total=float(value))


DEFAULT_TIMEOUT = Timeout()


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request to CouchDB.

    Attributes:
        method: the HTTP method.
        target: quoted path and query, after the server's base URL.
        template: the path without ids and names, for logs and messages.
        headers: the header fields.
        body: the content, or None.
        timeout: the time limits; `total` is the caller's to keep.
        safe: True when sending it twice does no harm: nothing is changed by it.
    """

    method: str
    target: str
    template: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    timeout: Timeout = DEFAULT_TIMEOUT
    safe: bool = False

    def with_headers(self, headers: Mapping[str, str]) -> Request:
        """The same request with more header fields."""
        return replace(self, headers={**self.headers, **headers}) if headers else self


@dataclass(frozen=True, slots=True)
class Reply:
    """One whole answer; `headers` ignores case, `cookies` are the values of Set-Cookie."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cookies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer whose content is still coming; `headers` ignores case."""

    status: int
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


class Transport(Protocol):
    """What carries requests to one CouchDB server."""

    async def send(self, request: Request) -> Reply:
        """The whole answer to a request.

        Raises:
            Unavailable: no answer; its subclasses say which time limit was passed.
            InvalidReply: the answer is not HTTP.
        """
        ...

    def stream(self, request: Request) -> AbstractAsyncContextManager[Stream]:
        """The answer to a request, to be read as it comes; the connection is busy until the block ends."""
        ...

    async def close(self) -> None:
        """Closes every connection."""
        ...
