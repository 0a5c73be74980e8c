"""Request bodies: media type, content coding, size, and unambiguous JSON."""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any, NoReturn

from tornado.httputil import HTTPServerRequest

from ... import _json
from ..problems import Problem

__all__ = [
    "DRAINED",
    "BodyLimits",
    "check_grown",
    "content_length",
    "decode",
    "is_large",
    "media_type",
    "parse_json",
    "refuse_endless",
    "too_large",
]

DRAINED = 64 * 1024 * 1024
"""Bytes of a refused body that are read to its end and dropped, so that the client gets to read the answer.

A longer one is answered at once, and the connection closed.
"""

_IN_THREAD = 64 * 1024  # bytes; parsing fewer takes about a millisecond at most
_LARGE = 1000  # members and items; validating so many takes about ten milliseconds
_MOST_MEMBERS = 1000  # of gzip, each of which takes some microseconds however short it is
_SPACED_COLONS = (b" :", b"\n:", b"\t:", b"\r:")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class BodyLimits:
    """The limits of a request body.

    Attributes:
        size: the largest number of bytes, both compressed and uncompressed.
        depth: the deepest nesting.
        members: the largest number of members in all objects, plus items in all arrays.
    """

    def __init__(self, size: int = 1024 * 1024, depth: int = 64, members: int = 50_000) -> None:
        self.size = size
        self.depth = depth
        self.members = members


def media_type(headers: Mapping[str, str]) -> str:
    """Return the media type of the body, in lower case and without parameters; empty if the header has none."""
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()


def content_length(headers: Mapping[str, str]) -> int:
    """Return the length of the body that the header announces; 0 if it announces none."""
    length = headers.get("Content-Length", "")
    return min(int(length[:20]), 2**63) if length.isdecimal() else 0


def decode(body: bytes, headers: Mapping[str, str], limit: int) -> bytes:
    """Return the body without its content coding.

    Raises:
        Problem: 413 if it unpacks to more than `limit` bytes, 400 if it is broken, 415 for
          any other coding than gzip (RFC 9110 §15.5.16).
    """
    coding = headers.get("Content-Encoding", "identity").strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip"):
        raise Problem(415, detail="The only supported content coding is gzip.", headers={"Accept-Encoding": "gzip"})
    return _unpacked(body, limit)


def _unpacked(body: bytes, limit: int) -> bytes:
    """Return what gzip members contain; there may be several, one after the other (RFC 1952 §2.2)."""
    parts, left = [], limit
    for _ in range(_MOST_MEMBERS):
        unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
        try:
            parts.append(unpacker.decompress(body, left + 1))
        except zlib.error:
            detail = "The gzip body is followed by something else." if parts else "The body is not valid gzip."
            raise Problem.of("malformed-body", detail) from None
        left -= len(parts[-1])
        if left < 0:
            raise too_large(limit)
        if not unpacker.eof:
            raise Problem.of("malformed-body", "The gzip body is incomplete.")
        body = unpacker.unused_data
        if not body:
            return b"".join(parts)
    raise Problem.of("malformed-body", f"The gzip body has more than {_MOST_MEMBERS} members.")


def too_large(limit: int) -> Problem:
    """Return the problem for a body over the limit."""
    return Problem(413, detail=f"The body must not have more than {limit} bytes.")


def refuse_endless(request: HTTPServerRequest, limit: int) -> None:
    """Refuse a body before it comes, where it is too long to be read to its end and dropped.

    Every other refusal waits until the body is read: answering before that makes Tornado close
    the connection, and many a client then sees a broken pipe in place of the answer.

    Args:
        request: the request, of which only the header has come.
        limit: the largest number of bytes that the address takes.

    Raises:
        Problem: 413.
    """
    length = content_length(request.headers)
    if length > max(DRAINED, limit):
        # Otherwise Tornado's own limit comes first and closes the connection without an answer.
        request.connection.set_max_body_size(length)  # type: ignore[union-attr]
        problem = too_large(limit)
        problem.headers["Connection"] = "close"
        raise problem


async def parse_json(body: bytes, limits: BodyLimits) -> Any:
    """Return the JSON value of a body.

    Raises:
        Problem: 400 if it is not UTF-8, not JSON, repeats a member, contains numbers or characters
          that JSON cannot represent, or is nested too deeply; 413 if it has too many members.
    """
    if len(body) < _IN_THREAD:
        return _parse(body, limits)
    return await asyncio.to_thread(_parse, body, limits)


def _parse(body: bytes, limits: BodyLimits) -> Any:
    try:
        value = _json.loads(body)
        members = _members_of_objects(value, limits)
    except ValueError:
        return _parse_strictly(body, limits)  # this one explains what is wrong
    # A quotation mark or white space precedes each colon between a name and its value. So there are at least as many
    # of these as members in the text; and if the value has just as many members, no name occurs twice.
    if body.count(b'":') + sum(map(body.count, _SPACED_COLONS)) != members:
        return _parse_strictly(body, limits)
    return value


def _members_of_objects(value: Any, limits: BodyLimits) -> int:
    """Return how many members all the objects of a value have.

    Raises:
        ValueError: the value is nested deeper or has more members than the limits allow.
    """
    count, todo, depth, left = 0, [value], 0, limits.members
    while todo:
        inner: list[Any] = []
        nested = False
        for each in todo:
            if type(each) is dict:
                nested = True
                count += len(each)
                inner += each.values()
            elif type(each) is list:
                nested = True
                inner += each
        left -= len(inner)
        depth += nested
        if depth > limits.depth or left < 0:
            raise ValueError("the value exceeds the limits")
        todo = inner
    return count


def _parse_strictly(body: bytes, limits: BodyLimits) -> Any:
    try:
        text = body.decode("utf-8")
        value = json.loads(
            text, object_pairs_hook=_members, parse_constant=_no_number, parse_float=_finite, parse_int=int
        )
        if _SURROGATE.search(body):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeError:
        raise Problem.of("malformed-body", "The body is not valid UTF-8.") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise Problem.of("malformed-body", f"The body is not JSON: {error.msg} ({where}).") from None
    except _Refused as refused:
        raise Problem.of("malformed-body", str(refused)) from None
    except RecursionError:
        raise _too_deep(limits.depth) from None
    except ValueError:  # an integer with more digits than Python converts
        raise Problem.of("malformed-body", "The body contains a number with too many digits.") from None
    # Counting bytes is fast and never too low: a value has no more levels than opening brackets, and
    # no more members than brackets and commas. Only if there are many do we look at the value itself.
    brackets = body.count(b"[") + body.count(b"{")
    if brackets > limits.depth and _deeper_than(value, limits.depth):
        raise _too_deep(limits.depth)
    if brackets + body.count(b",") > limits.members and _members_in(value) > limits.members:
        raise Problem.of("too-many-members", f"The body must not have more than {limits.members} members.")
    return value


def is_large(value: Any) -> bool:
    """Whether a JSON value has so many members and items that work on it does not belong on the event loop."""
    left, todo = _LARGE, [value]
    while todo:
        each = todo.pop()
        inner = each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        left -= len(inner)
        if left < 0:
            return True
        todo += [one for one in inner if type(one) in (dict, list)]
    return False


def check_grown(before: Any, after: Any, limits: BodyLimits) -> None:
    """Hold what a patch makes of a document to the limits of a body, except for a document that was as large before.

    Raises:
        Problem: 413, it has too many bytes or members; 400, it is nested too deeply.
    """
    if _deeper_than(after, limits.depth):
        raise Problem.of(
            "malformed-body", f"The patched document would be nested more than {limits.depth} levels deep."
        )
    if len(_json.dumps(after)) > max(limits.size, len(_json.dumps(before))):
        raise Problem(413, detail=f"The patched document would have more than {limits.size} bytes.")
    if _members_in(after) > max(limits.members, _members_in(before)):
        raise Problem.of("too-many-members", f"The patched document would have more than {limits.members} members.")


class _Refused(Exception):
    pass


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        # RFC 8259 §4: parsers disagree about the meaning of a repeated name, so we refuse it.
        raise _Refused("The body contains an object that has the same member twice.")
    return members


def _no_number(text: str) -> NoReturn:
    raise _Refused(f"{text} is not JSON.")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise _Refused("The body contains a number that is too large.")
    return number


def _deeper_than(value: Any, depth: int) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(depth):
        members = (inner for each in level for inner in (each.values() if isinstance(each, dict) else each))
        level = [each for each in members if isinstance(each, dict | list)]
        if not level:
            return False
    return bool(level)


def _members_in(value: Any) -> int:
    count, todo = 0, [value]
    while todo:
        each = todo.pop()
        inner = each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        count += len(inner)
        todo += inner
    return count


def _too_deep(depth: int) -> Problem:
    return Problem.of("malformed-body", f"The body must not be nested more than {depth} levels deep.")
