"""Range requests (RFC 9110 §14): which bytes of a file a client asks for, and how they are framed; pure."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from .preconditions import MalformedEntityTag, parse_entity_tags

__all__ = ["Byteranges", "Span", "if_range_holds", "requested_spans"]

_LONGEST = 2048  # characters of a field
_MOST = 16  # spans that one answer has, once those that overlap are joined

_FIELD = re.compile(r"bytes[ \t]*=(?P<set>[\d\-, \t]+)", re.ASCII | re.IGNORECASE)
_ITEM = re.compile(r"(?P<first>\d*)-(?P<last>\d*)", re.ASCII)


@dataclass(frozen=True)
class Span:
    """Consecutive bytes of a file.

    Attributes:
        first: the position of the first byte.
        last: the position of the last byte.
    """

    first: int
    last: int

    @property
    def length(self) -> int:
        """The number of bytes."""
        return self.last - self.first + 1

    def content_range(self, length: int) -> str:
        """Return the value of Content-Range for a file of this length (RFC 9110 §14.4)."""
        return f"bytes {self.first}-{self.last}/{length}"


def requested_spans(field: str, length: int) -> list[Span] | None:
    """Return what a Range field asks for: spans that neither overlap nor touch, in the order of the field.

    Args:
        field: the value of the field.
        length: the length of the whole file.

    Returns:
        The spans, an empty list if the file has none of the bytes, or None if the field has to be ignored: it is not
        valid, has another unit, or asks for more parts than one answer has (RFC 9110 §14.2).
    """
    matched = _FIELD.fullmatch(field.strip(" \t")) if len(field) <= _LONGEST else None
    if matched is None:
        return None
    found: list[Span] = []
    items = [each for text in matched["set"].split(",") if (each := text.strip(" \t"))]
    for text in items:
        span = _span(text, length)
        if span is None:
            return None
        if span.length > 0:
            found = _joined(found, span)
    return None if len(found) > _MOST or not items else found


def _span(text: str, length: int) -> Span | None:
    """Return the span of one element, with no bytes if the file has none of them; None if it is not valid."""
    matched = _ITEM.fullmatch(text)
    if matched is None or text == "-":
        return None
    first, last = matched["first"], matched["last"]
    if not first:  # the last bytes
        if length == 0 and int(last) > 0:
            return None  # satisfiable, but `Content-Range` cannot say so: the client gets the whole, empty file
        return Span(max(length - int(last), 0), length - 1)
    if last and int(last) < int(first):
        return None
    end = min(int(last), length - 1) if last else length - 1
    return Span(int(first), end) if int(first) < length else Span(0, -1)


def _joined(spans: list[Span], new: Span) -> list[Span]:
    """Return the spans with one more, which swallows those that it overlaps or touches, at the place of the first."""
    met = [each for each in spans if each.first <= new.last + 1 and new.first <= each.last + 1]
    if not met:
        return [*spans, new]
    whole = Span(min(each.first for each in [new, *met]), max(each.last for each in [new, *met]))
    return [whole if each is met[0] else each for each in spans if each is met[0] or each not in met]


def if_range_holds(field: str, tag: str) -> bool:
    """Whether If-Range lets a range be served (RFC 9110 §13.1.5): it is a strong entity tag, and the current one.

    A date never holds: files have no date that is known to be exact.

    Args:
        field: the value of the field.
        tag: the current entity tag, without quotes.
    """
    try:
        tags = parse_entity_tags(field)
    except MalformedEntityTag:
        return False
    return tags != "*" and len(tags) == 1 and not tags[0].weak and tags[0].own == tag


class Byteranges:
    """The frame of a multipart/byteranges answer (RFC 9110 §14.6).

    Args:
        spans: the parts.
        length: the length of the whole file.
        media_type: that of the file.
        boundary: what separates the parts; by default a random text, which the file cannot foresee.

    Attributes:
        content_type: the media type of the answer.
    """

    def __init__(self, spans: Sequence[Span], length: int, media_type: str, boundary: str = "") -> None:
        self._spans = spans
        self._length = length
        self._media_type = media_type
        self._boundary = boundary or secrets.token_hex(16)
        self.content_type = f"multipart/byteranges; boundary={self._boundary}"

    def head(self, span: Span) -> bytes:
        """Return what comes before the bytes of a part."""
        return (
            f"\r\n--{self._boundary}\r\nContent-Type: {self._media_type}\r\n"
            f"Content-Range: {span.content_range(self._length)}\r\n\r\n"
        ).encode("latin-1")

    @property
    def end(self) -> bytes:
        """What comes after the last part."""
        return f"\r\n--{self._boundary}--\r\n".encode()

    @property
    def total(self) -> int:
        """The length of the whole answer."""
        return sum(len(self.head(each)) + each.length for each in self._spans) + len(self.end)
