"""Pages of a collection: `limit`, the cursor, and the Link to the next page (RFC 8288)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode

from ..store import Position
from .problems import Problem

__all__ = ["CursorCodec", "next_link", "parse_limit"]


def parse_limit(text: str | None, default: int, largest: int) -> int:
    """The number of items that a client asks for, capped.

    Raises:
        Problem: 400 when it is not a positive integer.
    """
    if text is None:
        return default
    # isdecimal() alone takes digits of every script; the length bounds the work of int().
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) > 0):
        raise Problem(400, "bad-parameter", "`limit` must be a positive integer.", parameter="limit")
    return min(int(text), largest)


class CursorCodec:
    """Turns a position into an opaque cursor and back.

    A cursor is authenticated with HMAC-SHA256, and bound to the collection and filter it was made
    for: a forged, cut, edited or borrowed one is refused.

    Args:
        key: the secret; every process that serves the collection needs the same.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def encode(self, position: Position, scope: str) -> str:
        """The cursor of a position within `scope`."""
        text = json.dumps(position, separators=(",", ":")).encode()
        return base64.urlsafe_b64encode(self._tag(text, scope) + text).decode().rstrip("=")

    def decode(self, cursor: str, scope: str) -> Position:
        """The position of a cursor.

        Raises:
            Problem: 400 when it was not made by `encode` for this scope.
        """
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise _bad_cursor() from None
        tag, text = raw[:16], raw[16:]
        # Base64 leaves spare bits at the end; comparing the texts refuses their variations, too.
        if not hmac.compare_digest(tag, self._tag(text, scope)):
            raise _bad_cursor()
        position = Position(*json.loads(text))
        if self.encode(position, scope) != cursor:
            raise _bad_cursor()
        return position

    def _tag(self, text: bytes, scope: str) -> bytes:
        message = b"tornado_couch cursor v1\0" + scope.encode() + b"\0" + text
        return hmac.new(self._key, message, hashlib.sha256).digest()[:16]


def _bad_cursor() -> Problem:
    return Problem(
        400, "bad-parameter", "`cursor` is not one that this collection gave. Begin without it.", parameter="cursor"
    )


def next_link(path: str, parameters: list[tuple[str, Any]], cursor: str) -> str:
    """The address of the next page: the same request with another cursor."""
    kept = [(name, value) for name, value in parameters if name != "cursor"]
    return f"{path}?{urlencode([*kept, ('cursor', cursor)])}"
