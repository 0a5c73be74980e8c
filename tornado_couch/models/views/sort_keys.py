"""Sort keys: what stands in a view for a value whose stored text sorts otherwise than the value; pure.

CouchDB orders the keys of a view as JSON. A `Decimal` or a `timedelta` is stored as text ("9.50", "P1DT2H"), in which
10 comes before 9 and equal values differ. So the view of such a property has another text in its place, whose order
is that of the values, and which is the same for equal ones. The view's JavaScript makes it of what is stored, and
this module makes the same one of what a query asks for.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter

__all__ = ["EXACT", "SortKey", "as_javascript", "sort_key_of"]


EXACT = 2**53 - 1
"""The largest integer that a JavaScript number, and so a key of a view, holds exactly."""


@dataclass(frozen=True)
class SortKey:
    """How the values of a type stand in a view.

    Attributes:
        function: the name of the JavaScript function that makes the key of a stored value.
        source: that function.
        encode: makes the key of a stored value, or of a value of the type.
        decode: makes a value of the type of a key.
        fits: whether a stored value has a key of its own.
    """

    function: str
    source: str
    encode: Callable[[Any], Any]
    decode: Callable[[str], Any]
    fits: Callable[[Any], bool]


def sort_key_of(adapter: TypeAdapter[Any]) -> SortKey | None:
    """The sort key that the values of a type need; None where they sort as they are stored, or have no such key."""
    schema: Any = adapter.core_schema
    while "serialization" not in schema:
        if schema["type"] == "decimal":
            return None if schema.get("allow_inf_nan") else _DECIMAL
        if schema["type"] == "timedelta":
            return _TIMEDELTA
        if schema["type"] not in _WRAPPERS:
            return None
        schema = schema["schema"]
    return None


_WRAPPERS = {"default", "nullable", "definitions", "function-after", "function-before", "function-wrap"}


def as_javascript(value: Any) -> Any:
    """A stored value as a JavaScript view emits it.

    JavaScript writes a large float with its shortest digits and then zeros, which CouchDB reads as an integer: of
    2.0**60 the key is 1152921504606847000, and CouchDB would not find it by 1152921504606846976.0.
    """
    if isinstance(value, float):
        return int(decimal.Decimal(repr(value))) if value.is_integer() and abs(value) < 1e21 else value
    if isinstance(value, list):
        return [as_javascript(each) for each in value]
    if isinstance(value, dict):
        return {name: as_javascript(each) for name, each in value.items()}
    return value


# ------------------------------------------------------------ decimal numbers

# A number is 0.DIGITS × 10^POINT. Its key is "2", POINT in nine digits and DIGITS; zero's is "1". A negative number's
# is "0" and the same with each digit taken from 9, ended by "z", which sorts after digits: -9.5 comes before -9.
_POINT_OFFSET = 500_000_000
_POINT_DIGITS = 9
_GREATEST_POINT = 10**_POINT_DIGITS - 1
_COMPLEMENT = str.maketrans("0123456789", "9876543210")
_DECIMAL_SOURCE = """
  function decimalKey(stored) {
    var kind = typeof stored;
    var parts = kind !== "string" && kind !== "number" ? null
      : /^([+-]?)([0-9]*)(?:[.]([0-9]*))?(?:[eE]([+-]?[0-9]+))?$/.exec(String(stored));
    var digits = parts ? parts[2] + (parts[3] || "") : "", first = 0, end = digits.length;
    if (!digits) { return stored; }
    while (first < end && digits.charAt(first) === "0") { first++; }
    while (end > first && digits.charAt(end - 1) === "0") { end--; }
    if (first === end) { return "1"; }
    var point = 500000000 + parts[2].length - first + Number(parts[4] || 0);
    point = String(1000000000 + Math.min(Math.max(point, 0), 999999999)).slice(1);
    digits = point + digits.slice(first, end);
    if (parts[1] !== "-") { return "2" + digits; }
    return "0" + digits.replace(/[0-9]/g, function (digit) { return String(9 - Number(digit)); }) + "z";
  }"""


def _decimal_key(stored: Any) -> Any:
    try:
        number = decimal.Decimal(str(stored))
    except decimal.InvalidOperation:
        return stored
    if not number.is_finite() or isinstance(stored, bool):
        return stored
    if not number:
        return "1"
    digits = "".join(map(str, number.as_tuple().digits))
    point = min(max(_POINT_OFFSET + number.adjusted() + 1, 0), _GREATEST_POINT)
    text = f"{point:0{_POINT_DIGITS}}{digits.rstrip('0')}"
    return f"0{text.translate(_COMPLEMENT)}z" if number.is_signed() else f"2{text}"


def _decimal_of(key: str) -> decimal.Decimal:
    if key == "1":
        return decimal.Decimal(0)
    negative = key.startswith("0")
    text = key[1:-1].translate(_COMPLEMENT) if negative else key[1:]
    digits = tuple(map(int, text[_POINT_DIGITS:]))
    exponent = int(text[:_POINT_DIGITS]) - _POINT_OFFSET - len(digits)
    if 0 < exponent <= 20:  # 10 rather than 1E+1
        digits, exponent = (*digits, *[0] * exponent), 0
    return decimal.Decimal((int(negative), digits, exponent))


def _decimal_fits(stored: Any) -> bool:
    number = decimal.Decimal(str(stored))
    return not number or 0 < _POINT_OFFSET + number.adjusted() + 1 < _GREATEST_POINT


_DECIMAL = SortKey("decimalKey", _DECIMAL_SOURCE, _decimal_key, _decimal_of, _decimal_fits)


# ------------------------------------------------------------ lengths of time

# The key is the number of seconds, rounded down, in fifteen digits, and the microseconds after them in six.
_SECONDS_OFFSET = 200_000_000_000_000
_SECONDS_DIGITS = 15
_TIMEDELTAS = TypeAdapter(timedelta)
_TIMEDELTA_SOURCE = """
  function durationKey(stored) {
    var known = typeof stored === "string" && /[0-9]/.test(stored);
    var parts = !known ? null : new RegExp("^([+-]?)P(?:([0-9]+)Y)?(?:([0-9]+)M)?(?:([0-9]+)W)?"
      + "(?:([0-9]+)D)?(?:T(?:([0-9]+)H)?(?:([0-9]+)M)?(?:([0-9]+)(?:[.,]([0-9]+))?S)?)?$").exec(stored);
    var seconds, micros, lengths = [31536000, 2592000, 604800, 86400, 3600, 60, 1];
    if (typeof stored === "number") {
      seconds = Math.floor(stored);
      micros = Math.round((stored - seconds) * 1000000);
    } else if (parts) {
      seconds = 0;
      for (var place = 0; place < 7; place++) { seconds += lengths[place] * Number(parts[place + 2] || 0); }
      micros = Number(((parts[9] || "") + "000000").slice(0, 6));
      if (parts[1] === "-") { seconds = -seconds - (micros ? 1 : 0); micros = micros ? 1000000 - micros : 0; }
    } else { return stored; }
    return String(200000000000000 + seconds) + String(1000000 + micros).slice(1);
  }"""


def _timedelta_key(stored: Any) -> Any:
    if isinstance(stored, bool) or (isinstance(stored, str) and "P" not in stored):
        return stored  # nothing that this package writes
    try:
        length = _TIMEDELTAS.validate_python(stored)
    except ValueError:
        return stored
    return f"{_SECONDS_OFFSET + length.days * 86400 + length.seconds}{length.microseconds:06}"


def _timedelta_of(key: str) -> timedelta:
    seconds, micros = int(key[:_SECONDS_DIGITS]) - _SECONDS_OFFSET, int(key[_SECONDS_DIGITS:])
    return timedelta(seconds=seconds, microseconds=micros)


_TIMEDELTA = SortKey("durationKey", _TIMEDELTA_SOURCE, _timedelta_key, _timedelta_of, lambda _: True)
