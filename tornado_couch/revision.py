"""CouchDB's revisions: a generation, a hyphen and a digest (CouchDB documentation, "Document Revisions"); pure.

The digest is that of an Erlang term, `[Deleted, ParentGeneration, ParentDigest, Body, Attachments]`
(`couch_db:new_revid` of CouchDB 3), in the external term format with `minor_version` 1
(https://www.erlang.org/doc/apps/erts/erl_ext_dist.html). So equal documents upon equal parents have equal revisions
wherever they are written, and such a revision proves what it was made of: the order of members and the kind of each
number (1 or 1.0) included. A revision that replication brought (`new_edits=false`) can be any text.
"""

from __future__ import annotations

import hashlib
import math
import operator
import struct
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

__all__ = [
    "digest",
    "generation",
    "halves",
    "is_revision",
    "printable",
    "rank",
    "revision_of",
    "revision_of_term",
    "text_term",
]

_HEX = frozenset("0123456789abcdef")
_COUNT = struct.Struct(">I").pack
_INTEGER = struct.Struct(">bi").pack
_FLOAT = struct.Struct(">cd").pack
_NIL = b"j"
_BYTES = [b"a" + bytes((number,)) for number in range(256)]
_HEADS = [b"m" + _COUNT(length) for length in range(256)]
# SMALL_ATOM_UTF8_EXT would be wrong: `minor_version` 1 writes atoms the old way, as ATOM_EXT.
_ATOMS = {word: b"d" + struct.pack(">H", len(word)) + word.encode() for word in ("true", "false", "null")}
_TRUE, _FALSE, _NULL = _ATOMS["true"], _ATOMS["false"], _ATOMS["null"]

_MOST_SHOWN = 500  # characters; CouchDB's own revisions have at most 50, and most ids are not longer
_MOST_DIGITS = 18  # more would be no generation that a document can reach, and slow to read


def is_revision(text: str) -> bool:
    """Whether a text has the form of a revision, such as "3-917fa2381192822767f010b95b45325b"."""
    return generation(text) >= 0 and digest(text) != ""


def generation(revision: str) -> int:
    """The number that a revision begins with; -1 for a text that does not begin with a number."""
    digits = revision.partition("-")[0]
    return int(digits) if digits.isdecimal() and digits.isascii() and len(digits) <= _MOST_DIGITS else -1


def digest(revision: str) -> str:
    """The part of a revision after its generation; empty if it has no such part."""
    return revision.partition("-")[2]


def rank(revision: str) -> tuple[int, str]:
    """The key by which leaves are ordered: the greatest one wins.

    See "Replication and conflict model" in CouchDB's documentation.
    """
    return generation(revision), digest(revision)


def printable(text: str) -> str:
    """A revision or an id for a log or a terminal.

    Somebody who writes as replication does can put line breaks and terminal codes into both, and make them long.
    """
    shown = text if text.isprintable() else ascii(text)[1:-1]
    return shown if len(shown) <= _MOST_SHOWN else shown[:_MOST_SHOWN] + "…"


Attachment = tuple[str, str, bytes]


def revision_of(
    parent: str | None, deleted: bool, body: Mapping[str, Any], attachments: Iterable[Attachment] = ()
) -> str:
    """The revision that CouchDB gives to a document.

    Args:
        parent: the revision that it replaces; None for the first one.
        deleted: whether it is a tombstone.
        body: its members, in order, without those at the top whose names begin with an underscore.
        attachments: name, content type and MD5 of the bytes as CouchDB stores them, in the document's order.

    Raises:
        ValueError: the body is not JSON: it contains NaN, Infinity or a lone surrogate, or is nested too deeply.
        TypeError: the body contains a value that JSON cannot represent.
    """
    return revision_of_term(parent, b"".join(halves(parent, deleted, body, attachments)))


def revision_of_term(parent: str | None, term: bytes) -> str:
    """The revision that CouchDB gives to what a term describes, upon a parent."""
    found = hashlib.md5(term, usedforsecurity=False).hexdigest()
    return f"{(generation(parent) if parent else 0) + 1}-{found}"


def halves(
    parent: str | None, deleted: bool, body: Mapping[str, Any], attachments: Iterable[Attachment] = ()
) -> tuple[bytes, bytes]:
    """The term that CouchDB hashes, in two parts: up to the end of the body, and what comes after it.

    Raises:
        ValueError, TypeError: as for `revision_of`.
    """
    parts = [b"\x83l\0\0\0\x05", _TRUE if deleted else _FALSE, *_parent(parent)]
    try:
        _put(dict(body), parts.append)
    except RecursionError:
        raise ValueError("the value is nested too deeply for JSON") from None
    except UnicodeEncodeError:
        # It is not chained, since that exception contains the whole text.
        raise ValueError("the value contains a lone surrogate, which is not valid Unicode text") from None
    # CouchDB collects the attachments into a list from the left, which reverses them.
    files = [b"h\x03" + text_term(name) + text_term(kind) + _binary(md5) for name, kind, md5 in attachments][::-1]
    return b"".join(parts), (b"l" + _COUNT(len(files)) + b"".join(files) if files else b"") + _NIL + _NIL


def _parent(revision: str | None) -> tuple[bytes, bytes]:
    if revision is None:
        return _integer(0), _integer(0)
    found = digest(revision)
    raw = bytes.fromhex(found) if len(found) == 32 and _HEX.issuperset(found) else found.encode("utf-8")
    return _integer(generation(revision)), _binary(raw)


def _binary(data: bytes) -> bytes:
    return (_HEADS[len(data)] if len(data) < 256 else b"m" + _COUNT(len(data))) + data


@lru_cache(4096)
def _named(name: str) -> bytes:
    """What comes before the value of a member."""
    return b"h\x02" + _binary(name.encode("utf-8"))


def _put(value: Any, put: Callable[[bytes], object]) -> None:
    """Encode a JSON value as CouchDB represents it: objects as `{[{Name, Value}]}`, texts as binaries."""
    # One call a level, so that a document may be nested as deeply as Python's parser allows.
    kind = type(value)
    if kind is dict:
        put(b"h\x01l" + _COUNT(len(value)) if value else b"h\x01")
        for name, item in value.items():
            if type(item) is str:  # most members are texts
                put(_named(name) + text_term(item))
            else:
                put(_named(name))
                _put(item, put)
        put(_NIL)
    elif kind is not list:
        put((_SCALARS.get(kind) or _other)(value))
    elif value and type(value[0]) is int and len(value) <= 65535 and all(map(_is_byte, value)):
        # Erlang writes a list of bytes as STRING_EXT, if it is not too long.
        put(b"k" + struct.pack(">H", len(value)) + bytes(value))
    else:
        put(b"l" + _COUNT(len(value)) if value else b"")
        for item in value:
            _put(item, put)
        put(_NIL)


def _is_byte(value: Any) -> bool:
    return type(value) is int and 0 <= value <= 255


def text_term(value: str) -> bytes:
    """The part of a term that stands for a text."""
    data = value.encode("utf-8")
    return (_HEADS[len(data)] if len(data) < 256 else b"m" + _COUNT(len(data))) + data


def _integer(value: int) -> bytes:
    """Encode as the shortest of SMALL_INTEGER_EXT, INTEGER_EXT, SMALL_BIG_EXT and LARGE_BIG_EXT, as Erlang does."""
    if 0 <= value <= 255:
        return _BYTES[value]
    if -(2**31) <= value < 2**31:
        return _INTEGER(98, value)
    size = (abs(value).bit_length() + 7) // 8
    head = b"n" + bytes((size,)) if size < 256 else b"o" + _COUNT(size)
    return head + (b"\x01" if value < 0 else b"\x00") + abs(value).to_bytes(size, "little")


def _float(value: float) -> bytes:
    if not math.isfinite(value):
        raise ValueError("NaN and Infinity cannot be represented in JSON")
    return _FLOAT(b"F", value)


_SCALARS: dict[type, Callable[[Any], bytes]] = {
    str: text_term,
    int: _integer,
    float: _float,
    bool: lambda value: _TRUE if value else _FALSE,
    type(None): lambda _: _NULL,
}


def _other(value: Any) -> bytes:
    """Encode a value of a subclass, such as an enumeration's member."""
    if hasattr(value, "__index__"):
        return _integer(operator.index(value))
    if isinstance(value, str):
        return text_term(str.__str__(value))
    if isinstance(value, float):
        return _float(float(value))
    parts: list[bytes] = []
    if isinstance(value, Mapping):
        _put(dict(value), parts.append)
    elif isinstance(value, list | tuple):
        _put(list(value), parts.append)
    else:
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    return b"".join(parts)
