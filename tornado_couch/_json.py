"""Reads and writes JSON as UTF-8 text, by one strict set of rules (RFC 8259).

The standard library also reads and writes `NaN` and `Infinity`, which other programs do not accept, and lone
surrogates, which cannot be encoded as UTF-8. This module refuses both, in both directions.

orjson does the work wherever its result equals the standard library's. The standard library handles integers
beyond 64 bits, which orjson would turn into floats, deep nesting, and everything that orjson refuses; so all
error messages are the standard library's.
"""

from __future__ import annotations

import json
import marshal
import re
from enum import Enum
from typing import Any
from uuid import UUID

import orjson

__all__ = ["dumps", "loads"]

# A surrogate can only arrive as an escape: raw surrogates are not valid UTF-8.
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number is too large for a float")
    return number


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _same(value: dict[str, Any]) -> dict[str, Any]:
    return value


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant)
# The C scanner holds the GIL until it is done; calling Python for each object lets other threads run.
_PAUSING_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant, object_hook=_same)


def _other(value: object) -> object:
    """Refuse types that orjson would otherwise write by itself."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_other)
_STRICT = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME

# A float's exponent is all ones; the bytes of its fraction come first. Text in UTF-8 has no such bytes.
_INFINITE = re.compile(rb"g.{6}[\xf0-\xff][\x7f\xff]", re.DOTALL)

# 2**63 has 19 digits. A run of 19 digits or more, anywhere, may be an integer of more than 64 bits.
_DIGITS = bytes(ord("0") if each in b"0123456789" else ord("x") for each in range(256))
_LONG_INTEGER = b"0" * 19


def loads(text: bytes | str, *, pausing: bool = False) -> Any:
    """Decode a JSON text.

    Args:
        text: the JSON; bytes are UTF-8 without a byte order mark.
        pausing: let other threads run meanwhile; for large texts that are decoded in a separate thread.

    Returns:
        None, bool, int, float, str, list or dict; members keep their order, integers their size.

    Raises:
        ValueError: the text is not JSON, holds NaN, Infinity, a lone surrogate or a number that is too
            large, or is nested too deeply.
    """
    try:
        encoded = text if isinstance(text, bytes) else text.encode("utf-8")
        if not pausing and _LONG_INTEGER not in encoded.translate(_DIGITS):
            return orjson.loads(encoded)
    except ValueError:
        pass  # the standard library decides, and has clear messages
    return _loads(text, _PAUSING_DECODER if pausing else _DECODER)


def _loads(text: bytes | str, decoder: json.JSONDecoder) -> Any:
    try:
        decoded = text.decode("utf-8") if isinstance(text, bytes) else text
        value = decoder.decode(decoded)
        if _SURROGATE_ESCAPE.search(decoded):
            dumps(value)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"the JSON is not UTF-8 at byte {error.start}") from None
    return value


def dumps(value: object) -> bytes:
    """Encode a value as compact JSON, in UTF-8 without ASCII escapes.

    Raises:
        ValueError: the value holds NaN, Infinity, a lone surrogate or itself, or is nested too deeply.
        TypeError: the value holds an object that JSON cannot represent.
    """
    try:
        text = orjson.dumps(value, option=_STRICT)
    except TypeError:
        return _dumps(value)
    # orjson writes NaN and Infinity as null.
    return _dumps(value) if b"null" in text and _may_be_infinite(value) else text


def _may_be_infinite(value: object) -> bool:
    """Whether a value may contain NaN or Infinity; false is certain, and takes a tenth of the time of writing it."""
    try:
        binary = marshal.dumps(value, 2)  # type: ignore[arg-type]  # floats are their eight bytes, without references
    except ValueError:
        return True
    return _INFINITE.search(binary) is not None


def _dumps(value: object) -> bytes:
    try:
        return _ENCODER.encode(value).encode("utf-8")
    except RecursionError:
        raise ValueError("the value is nested too deeply for JSON") from None
    except UnicodeEncodeError:
        # Not chained: that exception carries the whole text.
        raise ValueError("the value holds a lone surrogate, which cannot be encoded as UTF-8") from None
