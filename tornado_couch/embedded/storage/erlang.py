"""Erlang's external term format, as far as revision ids need it.

CouchDB hashes a term to make a revision id; to make the same ids, this module must produce the same bytes. The format
is that of https://www.erlang.org/doc/apps/erts/erl_ext_dist.html with `minor_version` 1.
"""

from __future__ import annotations

import struct
from typing import Any

from tornado_couch.embedded.jsontext import HugeInteger

__all__ = ["atom", "binary", "integer", "json_term", "sequence", "term", "tuple_term"]

_NIL = b"j"
_LONG = struct.Struct(">I")
_FLOAT = struct.Struct(">d")
_SIGNED = struct.Struct(">i")


def term(body: bytes) -> bytes:
    """A complete term: the version byte before an encoded value."""
    return b"\x83" + body


def atom(name: str) -> bytes:
    """Encode as ATOM_EXT."""
    # SMALL_ATOM_UTF8_EXT would be wrong: `minor_version` 1 writes atoms the old way.
    return b"d" + struct.pack(">H", len(name)) + name.encode("latin-1")


def binary(data: bytes) -> bytes:
    """Encode as BINARY_EXT."""
    return b"m" + _LONG.pack(len(data)) + data


def integer(value: int) -> bytes:
    """Encode as the shortest of SMALL_INTEGER_EXT, INTEGER_EXT, SMALL_BIG_EXT and LARGE_BIG_EXT."""
    # The order matters: Erlang uses the shortest of several encodings, and the hash covers the bytes.
    if 0 <= value <= 255:
        return b"a" + bytes((value,))
    if -(2**31) <= value < 2**31:
        return b"b" + _SIGNED.pack(value)
    size = (abs(value).bit_length() + 7) // 8
    head = b"n" + bytes((size,)) if size < 256 else b"o" + _LONG.pack(size)
    return head + (b"\x01" if value < 0 else b"\x00") + abs(value).to_bytes(size, "little")


def tuple_term(*parts: bytes) -> bytes:
    """Encode values as SMALL_TUPLE_EXT."""
    return b"h" + bytes((len(parts),)) + b"".join(parts)


def sequence(parts: list[bytes]) -> bytes:
    """Encode values, none of which is a small integer, as LIST_EXT; no values become NIL_EXT."""
    return b"l" + _LONG.pack(len(parts)) + b"".join(parts) + _NIL if parts else _NIL


def _is_byte(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 255


def _huge(value: HugeInteger) -> int:
    """The number, assembled from halves that `int()` accepts."""
    digits = value.digits.lstrip("-")
    number = 0
    for start in range(0, len(digits), 4000):
        part = digits[start : start + 4000]
        number = number * 10 ** len(part) + int(part)
    return -number if value.digits.startswith("-") else number


def _scalar(value: Any) -> bytes:
    """Encode a JSON value that is neither an array nor an object."""
    if isinstance(value, HugeInteger):
        return integer(_huge(value))
    if isinstance(value, str):
        return binary(value.encode("utf-8"))
    if value is None or value is True or value is False:
        return _ATOMS[value]
    if isinstance(value, int):
        return integer(value)
    return b"F" + _FLOAT.pack(value)


_ATOMS = {None: atom("null"), True: atom("true"), False: atom("false")}


def json_term(value: Any) -> bytes:
    """Encode a JSON value as CouchDB represents it: objects as `{[{Name, Value}]}`, text as binaries.

    It uses a stack of its own instead of recursion, so that depth costs no Python frames.
    """
    made: list[bytes] = []
    todo: list[Any] = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            made.append(b"h\x01")
            _push_members(item, made, todo)
        elif isinstance(item, list):
            _push_items(item, made, todo)
        elif isinstance(item, bytes):
            made.append(item)
        else:
            made.append(_scalar(item))
    return b"".join(made)


def _push_members(value: dict[str, Any], made: list[bytes], todo: list[Any]) -> None:
    """Begin an object's list of pairs, and push its members and the list's end on the stack."""
    if not value:
        made.append(_NIL)
        return
    made.append(b"l" + _LONG.pack(len(value)))
    todo.append(_NIL)
    for name, item in reversed(value.items()):
        todo.append(item)
        todo.append(b"h\x02" + binary(name.encode("utf-8")))


def _push_items(value: list[Any], made: list[bytes], todo: list[Any]) -> None:
    """Begin an array. Erlang writes a list of bytes as STRING_EXT, if it is not too long."""
    if not value:
        made.append(_NIL)
    elif len(value) <= 65535 and all(map(_is_byte, value)):
        made.append(b"k" + struct.pack(">H", len(value)) + bytes(value))
    else:
        made.append(b"l" + _LONG.pack(len(value)))
        todo.append(_NIL)
        todo.extend(reversed(value))
