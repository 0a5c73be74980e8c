"""Pages of a collection: `limit`, the cursor, and the links to the other pages (RFC 8288)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from typing import Any, NamedTuple
from urllib.parse import urlencode

from ..problems import Problem

__all__ = ["Cursor", "CursorCodec", "page_link", "parse_limit"]


class Cursor(NamedTuple):
    """Where a page begins, or ends.

    Attributes:
        key: the key of the row there, in the index that the page is read from.
        id: the document's id.
        backward: whether the page ends there; otherwise it begins there.
        inclusive: whether the row there belongs to the page.
    """

    key: Any
    id: str
    backward: bool = False
    inclusive: bool = False


def parse_limit(text: str | None, default: int, largest: int) -> int:
    """The number of items that a client asks for, capped.

    Raises:
        Problem: 400 when it is not a positive integer.
    """
    if text is None:
        return default
    # isdecimal() alone accepts digits of every script.
    digits = text.lstrip("0")
    if not (text.isascii() and text.isdecimal() and digits):
        raise Problem.of("bad-parameter", "`limit` must be a positive integer.", parameter="limit")
    # Python refuses to make an integer of thousands of digits; the cap has fewer than ten.
    return min(int(digits), largest) if len(digits) < 10 else largest


class CursorCodec:
    """Turns a cursor into opaque text and back.

    The text is authenticated with HMAC-SHA256, and bound to the collection, filters and order that it was made for,
    so that a cursor that was forged, cut off, edited or made for another list is refused. It is encrypted as well,
    since the document there may be one that the client cannot see: the tag is the nonce of a stream of HMACs (as in
    SIV, RFC 5297), so that equal cursors give equal texts and no randomness is needed.

    Args:
        key: the secret; every process that serves the collection needs the same.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def encode(self, cursor: Cursor, scope: str) -> str:
        """The text of a cursor within `scope`."""
        text = json.dumps(cursor, separators=(",", ":")).encode()
        tag = self._tag(text, scope)
        return base64.urlsafe_b64encode(tag + self._masked(tag, text)).decode().rstrip("=")

    def decode(self, text: str, scope: str) -> Cursor:
        """The cursor that a text stands for.

        Raises:
            Problem: 400 when it was not made by `encode` for this scope.
        """
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise _bad_cursor() from None
        tag, content = raw[:16], self._masked(raw[:16], raw[16:])
        # Base64 leaves spare bits at the end; comparing the texts refuses such variations as well.
        if not hmac.compare_digest(tag, self._tag(content, scope)):
            raise _bad_cursor()
        cursor = Cursor(*json.loads(content))
        if self.encode(cursor, scope) != text:
            raise _bad_cursor()
        return cursor

    def _masked(self, tag: bytes, content: bytes) -> bytes:
        """The content encrypted, or decrypted, which is the same."""
        blocks = (
            hmac.digest(self._key, b"tornado_couch cursor v3 stream\0" + tag + number.to_bytes(4), "sha256")
            for number in range(-(-len(content) // 32))
        )
        return bytes(one ^ other for one, other in zip(content, b"".join(blocks), strict=False))

    def _tag(self, content: bytes, scope: str) -> bytes:
        message = b"tornado_couch cursor v3\0" + scope.encode() + b"\0" + content
        return hmac.new(self._key, message, hashlib.sha256).digest()[:16]


def _bad_cursor() -> Problem:
    return Problem.of(
        "bad-parameter", "This `cursor` is not from this collection. Begin without it.", parameter="cursor"
    )


def page_link(path: str, parameters: list[tuple[str, Any]], cursor: str) -> str:
    """The address of another page: the same request with another cursor."""
    kept = [(name, value) for name, value in parameters if name != "cursor"]
    return f"{path}?{urlencode([*kept, ('cursor', cursor)])}"
