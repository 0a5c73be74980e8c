"""A transport for tests, which answers each request with a function and sends nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from multidict import CIMultiDict

from .base import Reply, Request, Stream

__all__ = ["FakeTransport"]


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
