"""JSON as UTF-8 text, read and written in one place and by one set of rules (RFC 8259).

The standard library alone also reads and writes `NaN` and `Infinity`, which no other party takes, and lets
lone surrogates through, which cannot be written as UTF-8. Both end here, in both directions.

orjson does the work where its result is the standard library's, to the value; integers beyond 64 bits, which it
would turn into floats, deep nesting and all that it refuses are left to the standard library, and so are its words
for what is wrong.
"""

from __future__ import annotations

import json
import re
from enum import Enum
from typing import Any
from uuid import UUID

import orjson

__all__ = ["dumps", "loads"]

# A surrogate can only come in as an escape: raw ones are no valid UTF-8.
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
# The C scanner keeps the GIL until it is done; calling Python for each object is what lets others run.
_PAUSING_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant, object_hook=_same)


def _other(value: object) -> object:
    """What orjson writes by itself, and cannot be told not to."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_other)
_STRICT = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME

# 2**63 has 19 digits. A longer run of them, wherever it stands, may be an integer of more than 64 bits.
_DIGITS = bytes(ord("0") if each in b"0123456789" else ord("x") for each in range(256))
_LONG_INTEGER = b"0" * 19


def loads(text: bytes | str, *, pausing: bool = False) -> Any:
    """The value that a JSON text stands for.

    Args:
        text: the JSON; bytes are UTF-8 without a byte order mark.
        pausing: let other threads run meanwhile, for large texts decoded in a thread of their own.

    Returns:
        None, bool, int, float, str, list or dict; members keep their order, integers their size.

    Raises:
        ValueError: it is not JSON, or holds NaN, Infinity, a lone surrogate, a number too large, or is
            nested too deeply.
    """
    try:
        encoded = text if isinstance(text, bytes) else text.encode("utf-8")
        if not pausing and _LONG_INTEGER not in encoded.translate(_DIGITS):
            return orjson.loads(encoded)
    except ValueError:
        pass  # the standard library has the last word, and clear ones
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
    """The compact JSON text of a value, in UTF-8 without ASCII escapes.

    Raises:
        ValueError: it holds NaN, Infinity or a lone surrogate, holds itself, or is nested too deeply.
        TypeError: it holds an object that JSON has no word for.
    """
    try:
        text = orjson.dumps(value, option=_STRICT)
    except TypeError:
        return _dumps(value)
    # It writes NaN and Infinity as null.
    return _dumps(value) if b"null" in text else text


def _dumps(value: object) -> bytes:
    try:
        return _ENCODER.encode(value).encode("utf-8")
    except RecursionError:
        raise ValueError("the value is nested too deeply for JSON") from None
    except UnicodeEncodeError:
        # Not chained: that exception carries the whole text.
        raise ValueError("the value holds a lone surrogate, which is no Unicode text") from None
