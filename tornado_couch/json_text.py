"""JSON as UTF-8 text, read and written in one place and by one set of rules (RFC 8259).

The standard library alone also reads and writes `NaN` and `Infinity`, which no other party takes, and lets
lone surrogates through, which cannot be written as UTF-8. Both end here, in both directions.
"""

from __future__ import annotations

import json
import re
from typing import Any

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
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


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
    decoder = _PAUSING_DECODER if pausing else _DECODER
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
        return _ENCODER.encode(value).encode("utf-8")
    except RecursionError:
        raise ValueError("the value is nested too deeply for JSON") from None
    except UnicodeEncodeError:
        # Not chained: that exception carries the whole text.
        raise ValueError("the value holds a lone surrogate, which is no Unicode text") from None
