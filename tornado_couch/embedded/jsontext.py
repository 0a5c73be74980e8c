"""JSON as CouchDB reads and writes it: numbers and the order of members stay as they were.

Integers have any size, `1.0` stays a float, text is written as UTF-8. If a member is given twice, the last one counts,
at its own place, as in CouchDB. Nesting is limited, so that no reader of stored text ever runs out of stack.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import Any, NoReturn

from tornado_couch.embedded.problems import Problem, bad_request

__all__ = ["MAX_DEPTH", "HugeInteger", "dumps", "loads"]

MAX_DEPTH = 400
"""How deep arrays and objects may be nested. CouchDB itself allows more, but Python's parser does not."""

_MARK = f"\x00{secrets.token_hex(8)}:"
_MARKED = re.compile('"' + r"\\u0000" + re.escape(_MARK[1:]) + r'(-?\d+)"')
# A string that does not end goes to the end of the text, and what matches is never tried a second time: otherwise a
# search would begin again at each of its quotation marks.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class HugeInteger(str):
    """An integer with more digits than Python converts at once (`sys.set_int_max_str_digits`), as its marked digits."""

    __slots__ = ()

    @property
    def digits(self) -> str:
        """The decimal digits, with a sign if there is one."""
        return self[len(_MARK) :]

    def __index__(self) -> int:
        """The number, assembled from parts that `int` accepts."""
        digits, number = self.digits.lstrip("-"), 0
        for start in range(0, len(digits), 4000):
            part = digits[start : start + 4000]
            number = number * 10 ** len(part) + int(part)
        return -number if self.digits.startswith("-") else number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of its members; if one is given twice, the last is kept, at its own place."""
    made = dict(pairs)
    if len(made) != len(pairs):
        made = {}
        for name, value in pairs:
            made.pop(name, None)
            made[name] = value
    return made


def _any_integer(digits: str) -> int | HugeInteger:
    return int(digits) if len(digits) < 4000 else HugeInteger(_MARK + digits)


def _any_float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number that is too large")
    return value


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_members, parse_float=_any_float)
_SLOW_DECODER = json.JSONDecoder(
    parse_constant=_refuse_constant, object_pairs_hook=_members, parse_float=_any_float, parse_int=_any_integer
)
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))


def depth(text: str) -> int:
    """How deep the arrays and objects of a JSON text are nested."""
    deepest = now = 0
    for sign in re.findall(r"[\[\]{}]", _STRING.sub("", text)):
        now += 1 if sign in "[{" else -1
        deepest = max(deepest, now)
    return deepest


def _too_deep(text: str) -> bool:
    return text.count("[") + text.count("{") > MAX_DEPTH and depth(text) > MAX_DEPTH


def loads(data: bytes | str) -> Any:
    """Parse a JSON text that a client sent.

    Raises:
        Problem: 400, as CouchDB answers to something other than JSON in UTF-8.
    """
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        if _too_deep(text):
            raise bad_request(f"JSON nested deeper than {MAX_DEPTH} levels")
        if _SURROGATE.search(text):
            return _checked(_decode(text))
        return _decode(text)
    except (ValueError, RecursionError):
        raise bad_request("invalid UTF-8 JSON") from None


def _decode(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # it has more digits than int() accepts
        return _SLOW_DECODER.decode(text)


def _checked(value: Any) -> Any:
    """The value, unless it contains half a surrogate pair, which UTF-8 cannot encode."""
    _ENCODER.encode(value).encode("utf-8")
    return value


def dumps(value: Any) -> str:
    """The JSON text of a value, without spaces."""
    try:
        text = _ENCODER.encode(value)
    except RecursionError:
        raise Problem(500, "internal_server_error", "JSON nested too deeply") from None
    return _MARKED.sub(r"\1", text) if _MARK[1:] in text else text
