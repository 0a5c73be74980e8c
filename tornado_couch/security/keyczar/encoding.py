"""Keyczar's encodings: base64url without padding, length-prefixed bytes, and the checked members of its JSON."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, TypeVar

from ... import _json
from ...errors import KeySetError

__all__ = [
    "HASH_SIZE",
    "HEADER_SIZE",
    "VERSION_BYTE",
    "Decoder",
    "Encoder",
    "as_bytes",
    "big_field",
    "bool_field",
    "bytes_field",
    "decode",
    "decoded",
    "encode",
    "int_field",
    "magnitude",
    "object_field",
    "pack",
    "pack_all",
    "parse_object",
    "prefix_hash",
    "short_hash",
    "split",
    "text_field",
    "to_big",
    "unpack_all",
    "word_field",
]

VERSION_BYTE = b"\x00"
"""The first byte of everything that Keyczar makes; also the last of the bytes that a versioned signature covers."""
HASH_SIZE = 4
"""The length of a key's hash in an output's header, in bytes."""
HEADER_SIZE = len(VERSION_BYTE) + HASH_SIZE

Encoder = Callable[[bytes], str]
Decoder = Callable[["str | bytes"], bytes]


def encode(data: bytes) -> str:
    """Base64url (RFC 4648 §5) without padding characters."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode(text: str | bytes) -> bytes:
    """The bytes for which `encode` would return this text; no other text is accepted.

    A decoder that also accepts padding, white space or stray last bits lets one output be written in many ways.

    Raises:
        ValueError: this is not a text that `encode` writes.
    """
    # A UnicodeEncodeError would contain the text, which may be a key.
    raw = text.encode("ascii", "replace") if isinstance(text, str) else bytes(text)
    try:
        data = base64.urlsafe_b64decode(raw + b"=" * (-len(raw) % 4))
    except ValueError:
        data = b""
    if base64.urlsafe_b64encode(data).rstrip(b"=") != raw:
        raise ValueError("this is not canonical base64url without padding")
    return data


def decoded(text: str | bytes, decoder: Decoder | None) -> bytes:
    """The bytes of an output; empty for a text that is not canonical, so that it fails as an altered one does."""
    if decoder is None:
        return as_bytes(text)
    try:
        return decoder(text)
    except ValueError:
        return b""


def as_bytes(data: str | bytes) -> bytes:
    """Bytes as they are, text as UTF-8."""
    if isinstance(data, str):
        return data.encode("utf-8")
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise TypeError(f"expected str or bytes, not {type(data).__name__}")


def split(output: bytes) -> tuple[bytes, bytes]:
    """The header of an output, and what follows it."""
    return output[:HEADER_SIZE], output[HEADER_SIZE:]


def pack(data: bytes) -> bytes:
    """A string of bytes after its length in four bytes, the most significant first."""
    return len(data).to_bytes(4, "big") + data


def pack_all(*parts: bytes) -> bytes:
    """The number of parts in four bytes, then each part as `pack` writes it."""
    return len(parts).to_bytes(4, "big") + b"".join(map(pack, parts))


def unpack_all(packed: bytes) -> list[bytes]:
    """The parts that were given to `pack_all`.

    Raises:
        ValueError: the lengths or the number do not fit the bytes.
    """
    parts, rest = [], packed[4:]
    while rest:
        size = int.from_bytes(rest[:4], "big")
        parts.append(rest[4 : 4 + size])
        if len(rest) < 4 + size:
            raise ValueError("a packed string is cut off")
        rest = rest[4 + size :]
    if packed[:4] != len(parts).to_bytes(4, "big"):
        raise ValueError("there are fewer or more packed strings than stated")
    return parts


def magnitude(number: int) -> bytes:
    """A number's bytes, the most significant first and not zero, as key hashes use them."""
    return number.to_bytes(max(1, (number.bit_length() + 7) // 8), "big")


def short_hash(*parts: bytes) -> bytes:
    """The first four bytes of SHA-1: a key's hash is a name for it, not a safeguard."""
    return hashlib.sha1(b"".join(parts), usedforsecurity=False).digest()[:HASH_SIZE]


def prefix_hash(*numbers: int) -> bytes:
    """The hash of a public key, over the bytes of its numbers, each after its length."""
    return short_hash(*(pack(magnitude(number)) for number in numbers))


Word = TypeVar("Word", bound=Enum)


def parse_object(text: str | bytes) -> dict[str, Any]:
    """Parse the JSON object of a file.

    Raises:
        KeySetError: it is not a JSON object. It is never chained: the decoder's exception contains the whole text.
    """
    try:
        value = _json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise KeySetError("it is not a JSON object")
    return value


def _member(value: Mapping[str, Any], name: str, kind: type, meaning: str) -> Any:
    found = value.get(name)
    # JSON's true is not a number, although it is an int in Python.
    if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
        raise KeySetError(f"its member {name} is not {meaning}")
    return found


def text_field(value: Mapping[str, Any], name: str) -> str:
    """A member that is a string."""
    return str(_member(value, name, str, "a string"))


def int_field(value: Mapping[str, Any], name: str) -> int:
    """A member that is a whole number above 0."""
    number = int(_member(value, name, int, "a whole number"))
    if number < 1:
        raise KeySetError(f"its member {name} is not greater than 0")
    return number


def bool_field(value: Mapping[str, Any], name: str) -> bool:
    """A member that is true or false; false if it is missing, as in sets older than the member."""
    return bool(_member({name: False, **value}, name, bool, "true or false"))


def object_field(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A member that is an object."""
    found: Mapping[str, Any] = _member(value, name, dict, "an object")
    return found


def word_field(value: Mapping[str, Any], name: str, words: type[Word]) -> Word:
    """A member that is one of an enumeration's values."""
    text = text_field(value, name)
    if text not in words.__members__:
        raise KeySetError(f"its member {name} is not one of {', '.join(words.__members__)}")
    return words[text]


def bytes_field(value: Mapping[str, Any], name: str) -> bytes:
    """A member that is bytes in canonical base64url."""
    text = text_field(value, name)
    try:
        found = decode(text)
    except ValueError:
        found = b""
    if not found:
        raise KeySetError(f"its member {name} is not bytes in base64url")
    return found


def big_field(value: Mapping[str, Any], name: str) -> int:
    """A member that is the bytes of a big number; leading zeros are not part of it."""
    return int.from_bytes(bytes_field(value, name), "big")


def to_big(number: int) -> str:
    """A big number as key files contain it: after a zero byte, so that Java does not read it as negative."""
    return encode(b"\x00" + magnitude(number))
