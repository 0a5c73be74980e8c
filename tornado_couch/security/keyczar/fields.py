"""Members of the JSON in key files and `meta`, each checked. No message quotes a value: it may be a key."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

from ... import json_text
from ...errors import KeySetError
from .encoding import decode, encode, magnitude

__all__ = [
    "big_field",
    "bool_field",
    "bytes_field",
    "int_field",
    "object_field",
    "parse_object",
    "text_field",
    "to_big",
    "word_field",
]

Word = TypeVar("Word", bound=Enum)


def parse_object(text: str | bytes) -> dict[str, Any]:
    """The object that a file holds.

    Raises:
        KeySetError: it is no JSON object. Never chained: the decoder's exception carries the whole text.
    """
    try:
        value = json_text.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise KeySetError("it is not a JSON object")
    return value


def _member(value: Mapping[str, Any], name: str, kind: type, meaning: str) -> Any:
    found = value.get(name)
    # JSON's true is no number, though it is an int to Python.
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
        raise KeySetError(f"its member {name} is not above 0")
    return number


def bool_field(value: Mapping[str, Any], name: str) -> bool:
    """A member that is true or false; false where it is missing, as in sets older than the member."""
    return bool(_member({name: False, **value}, name, bool, "true or false"))


def object_field(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A member that is an object."""
    found: Mapping[str, Any] = _member(value, name, dict, "an object")
    return found


def word_field(value: Mapping[str, Any], name: str, words: type[Word]) -> Word:
    """A member that is one of an enumeration's words."""
    text = text_field(value, name)
    if text not in words.__members__:
        raise KeySetError(f"its member {name} is none of {', '.join(words.__members__)}")
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
    """A member that is a big number's bytes; leading zeros are no part of it."""
    return int.from_bytes(bytes_field(value, name), "big")


def to_big(number: int) -> str:
    """A big number as key files have it: after a zero byte, so that Java does not read it as negative."""
    return encode(b"\x00" + magnitude(number))
