"""`Body`: the body of a request, kept until all of it has come."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from tornado.web import RequestHandler

from .action_table import Action
from .http import BodyLimits, decode, is_large, media_type, parse_json, refuse_endless, too_large
from .problems import Problem

__all__ = ["ACCEPT_FIELDS", "Body"]

# The header field of an answer that lists the media types of a body (RFC 5789 §3.1, W3C Linked Data Platform §7.1).
ACCEPT_FIELDS = {"POST": "Accept-Post", "PATCH": "Accept-Patch"}


class Body:
    """Collects the body of a request in memory, up to the limit.

    Args:
        handler: the handler of the request.
        limits: the limits of the body.

    Attributes:
        answers: the media types of the answer, where the body decides them; None where the action does.
        refusal: the exception that answers the request, where it is known before the body has come.
        large: whether work on the body belongs in a thread.
    """

    answers: tuple[str, ...] | None = None
    refusal: Exception | None = None
    large = False

    def __init__(self, handler: RequestHandler, limits: BodyLimits) -> None:
        self._request = handler.request
        self._limits = limits
        self._chunks: list[bytes] = []
        self._received = 0

    def begin(self) -> Awaitable[None] | None:
        """Refuse a body that is far too large before it comes.

        Raises:
            Problem: 413.
        """
        refuse_endless(self._request, self._limits.size)
        return None

    def receive(self, chunk: bytes) -> Awaitable[None] | None:
        """Keep a part of the body, up to the limit."""
        self._received += len(chunk)
        if self._received <= self._limits.size:
            self._chunks.append(chunk)
        return None

    def end(self) -> None:
        """Notice that the client has closed the connection."""

    def drop(self) -> None:
        """Forget what has come, and keep nothing that comes from now on."""
        self._chunks.clear()
        self._received = self._limits.size + 1

    def raw(self) -> bytes:
        """Return the body as it was sent.

        Raises:
            Problem: 413.
        """
        if self._received > self._limits.size:
            raise too_large(self._limits.size)
        return b"".join(self._chunks)

    async def json(self, action: Action) -> Any:
        """Return the JSON value of the body.

        Args:
            action: the action that takes it.

        Raises:
            Problem: 413, 415, 400.
        """
        raw = self.raw()
        if media_type(self._request.headers) not in action.takes:
            accepted, field = ", ".join(action.takes), ACCEPT_FIELDS.get(action.method)
            headers = {field: accepted} if field else {}
            raise Problem(415, detail=f"The body must be {accepted}.", headers=headers)
        body = decode(raw, self._request.headers, self._limits.size)
        value = await parse_json(body, self._limits)
        self.large = is_large(value)
        return value
