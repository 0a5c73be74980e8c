"""CouchDB's order of JSON values, as byte strings that compare in that order.

A view's rows are ordered by key: null, false, true, numbers, texts, arrays, objects (CouchDB documentation, "Views
Collation"). `sort_key` returns bytes whose plain comparison, as SQLite does it for BLOBs, gives that order, so an
index needs no comparator of its own; `raw_key` does the same for `options: {"collation": "raw"}`.
"""

from __future__ import annotations

__all__ = ["raw_key", "sort_key", "text_key"]

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

# One byte before each value; the end of an array or object is below all of them, so the shorter one comes first.
_END = b"\x00"
_NULL, _FALSE, _TRUE, _NUMBER, _TEXT, _ARRAY, _OBJECT = (bytes([tag]) for tag in (16, 17, 18, 32, 48, 64, 80))
_INVERTED = bytes(range(255, -1, -1))

# Primary weights of ASCII as `collation_table` computes them (a test compares the two), so that ordinary keys need no
# table. Characters without a weight here are ignored completely, as ICU ignores control characters.
_SIGNS = dict(
    zip(
        "\t\n\x0b\x0c\r _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$",
        (
            513,
            514,
            515,
            516,
            517,
            521,
            523,
            525,
            546,
            564,
            570,
            609,
            615,
            632,
            774,
            781,
            792,
            793,
            794,
            795,
            796,
            797,
            911,
            912,
            917,
            918,
            919,
            921,
            922,
            1177,
            1180,
            1581,
            1585,
            1586,
            1587,
            1589,
            1591,
            7287,
        ),
        strict=True,
    )
)
_DIGITS = {digit: 7331 + place for place, digit in enumerate("0123456789")}
_LETTERS = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyz",
        (
            7341,
            7366,
            7392,
            7413,
            7440,
            7499,
            7514,
            7550,
            7576,
            7602,
            7627,
            7645,
            7696,
            7711,
            7747,
            7794,
            7815,
            7833,
            7895,
            7931,
            7963,
            8009,
            8027,
            8037,
            8049,
            8071,
        ),
        strict=True,
    )
)
_WEIGHTS = _SIGNS | _DIGITS | _LETTERS | {letter.upper(): weight for letter, weight in _LETTERS.items()}
_PRIMARY = {code: chr(_WEIGHTS[chr(code)]) if chr(code) in _WEIGHTS else None for code in range(128)}
# Capitals come after small letters if all else is equal: tertiary weight 8 against 2.
_TERTIARY = bytes(8 if chr(code).isupper() and code < 128 else 2 for code in range(256))
_IGNORED = bytes(code for code in range(128) if chr(code) not in _WEIGHTS)


def sort_key(value: Any) -> bytes:
    """Make bytes that sort a JSON value as CouchDB's views do.

    Args:
        value: a result of `json.loads`: None, bool, int of any size, float, str, list or dict.
    """
    return _encode(value, text_key)


def text_key(text: str) -> bytes:
    """Make bytes that sort a text as ICU's root collation does; texts that ICU considers equal have equal bytes."""
    return _remembered(text) if len(text) < 64 else _text_key(text)


def _text_key(text: str) -> bytes:
    if text.isascii():
        primary = text.translate(_PRIMARY).encode("utf-16-be")
        tertiary = text.encode().translate(_TERTIARY, _IGNORED).rstrip(b"\x02")
        return b"".join((_TEXT, primary, b"\0\0\0", tertiary, _END))
    # The table takes 0.1 s and 11 MB, so it is loaded when such text first appears.
    from tornado_couch.embedded.collation_table import weights

    primary, secondary, tertiary = weights(text)
    return b"".join((_TEXT, primary, b"\0\0", secondary, _END, tertiary, _END))


_remembered = lru_cache(maxsize=4096)(_text_key)


def _encode(value: Any, text: Callable[[str], bytes]) -> bytes:
    # Iterative, so that a key thousands of lists deep does not exhaust Python's stack.
    parts: list[bytes] = []
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            parts.append(text(item))
        elif isinstance(item, bytes):
            parts.append(item)
        elif isinstance(item, list):
            parts.append(_ARRAY)
            waiting.append(_END)
            waiting.extend(reversed(item))
        elif isinstance(item, dict):
            parts.append(_OBJECT)
            waiting.append(_END)
            waiting.extend(part for member in reversed(item.items()) for part in reversed(member))
        else:
            parts.append(_scalar(item))
    return b"".join(parts)


def _scalar(value: Any) -> bytes:
    if value is None:
        return _NULL
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    return _number_key(value)


def _number_key(number: float) -> bytes:
    """Encode a number of any size exactly: sign, magnitude as a double rounded towards zero, and an integer's rest."""
    if number == 0:
        return _NUMBER + b"\x80"
    magnitude = abs(number)
    cut, rest = _split(magnitude)
    body = struct.pack(">d", cut) + bytes([min(len(rest), 255)]) + rest
    if number > 0:
        return _NUMBER + b"\x81" + body
    return _NUMBER + b"\x7f" + body.translate(_INVERTED)


def _split(magnitude: float) -> tuple[float, bytes]:
    if isinstance(magnitude, float) or magnitude < 1 << 53:
        return float(magnitude), b""
    size = magnitude.bit_length()
    if size > 1024:  # greater than every double: ordered by length, then by value
        return float("inf"), struct.pack(">I", size) + magnitude.to_bytes((size + 7) // 8, "big")
    excess = size - 53
    rest = magnitude & ((1 << excess) - 1)
    return float(magnitude - rest), rest.to_bytes((rest.bit_length() + 7) // 8, "big")


_RAW_TEXT = bytes([96])
# Erlang's order of terms: numbers, atoms by their names, tuples, lists, binaries.
_RAW = {_FALSE: bytes([49]), _NULL: bytes([50]), _TRUE: bytes([51]), _OBJECT: bytes([64]), _ARRAY: bytes([80])}


def raw_key(value: Any) -> bytes:
    """Make bytes that sort a JSON value as `options: {"collation": "raw"}` does: by Erlang's order of terms."""
    if isinstance(value, str):
        # A zero byte is escaped, since two of them mark the end of the text, below every continuation of it.
        return _RAW_TEXT + value.encode("utf-8", "surrogatepass").replace(b"\0", b"\0\xff") + b"\0\0"
    if isinstance(value, list):
        return b"".join((_RAW[_ARRAY], *map(raw_key, value), _END))
    if isinstance(value, dict):
        members = (raw_key(part) for member in value.items() for part in member)
        return b"".join((_RAW[_OBJECT], *members, _END))
    key = _scalar(value)
    return _RAW.get(key, key)
