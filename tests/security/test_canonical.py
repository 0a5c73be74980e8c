"""Canonical JSON: RFC 8785, and what is added to it."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.security.values import json_values
from tornado_couch import _json
from tornado_couch.security.encoding import canonical

# RFC 8785 appendix B: the bits of a double and its text.
NUMBERS = {
    "0000000000000000": "0",
    "8000000000000000": "0",
    "0000000000000001": "5e-324",
    "8000000000000001": "-5e-324",
    "7fefffffffffffff": "1.7976931348623157e+308",
    "ffefffffffffffff": "-1.7976931348623157e+308",
    "4340000000000000": "9007199254740992",
    "c340000000000000": "-9007199254740992",
    "4430000000000000": "295147905179352830000",
    "44b52d02c7e14af5": "9.999999999999997e+22",
    "44b52d02c7e14af6": "1e+23",
    "44b52d02c7e14af7": "1.0000000000000001e+23",
    "444b1ae4d6e2ef4e": "999999999999999700000",
    "444b1ae4d6e2ef4f": "999999999999999900000",
    "444b1ae4d6e2ef50": "1e+21",
    "3eb0c6f7a0b5ed8c": "9.999999999999997e-7",
    "3eb0c6f7a0b5ed8d": "0.000001",
    "41b3de4355555553": "333333333.3333332",
    "41b3de4355555554": "333333333.33333325",
    "41b3de4355555555": "333333333.3333333",
    "41b3de4355555556": "333333333.3333334",
    "41b3de4355555557": "333333333.33333343",
    "becbf647612f3696": "-0.0000033333333333333333",
    "43143ff3c1cb0959": "1424953923781206.2",
}


@pytest.mark.parametrize(("bits", "text"), NUMBERS.items())
def test_numbers_are_written_as_ecmascript_writes_them(bits: str, text: str) -> None:
    """Every finite sample of RFC 8785 appendix B comes out as it stands there."""
    (number,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical(number) == text.encode()
    assert canonical({"a": [number]}) == f'{{"a":[{text}]}}'.encode()


def test_the_sample_of_the_rfc_comes_out_as_it_stands_there() -> None:
    """RFC 8785 §3.2.2: white space goes, numbers and escapes are normalised, names are sorted."""
    value = json.loads(
        r"""{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
             "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
             "literals": [null, true, false]}"""
    )
    assert (
        canonical(value)
        == (
            '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
            '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
        ).encode()
    )


def test_names_are_sorted_by_utf_16_code_units() -> None:
    """RFC 8785 §3.2.3: a name beyond 16 bits sorts by its surrogates, before U+FB33."""
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    text = canonical(dict.fromkeys(names, 0)).decode()
    assert list(json.loads(text)) == ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]


@pytest.mark.parametrize("whole", [2**53 + 1, -(2**53) - 1, 12345678901234567890, 10**40])
def test_integers_beyond_doubles_keep_all_their_digits(whole: int) -> None:
    """The one rule beside RFC 8785: CouchDB keeps such integers, so no digit of them may change unseen."""
    assert canonical({"n": whole, "f": 1.0}) == f'{{"f":1,"n":{whole}}}'.encode()


@pytest.mark.parametrize("value", ["\ud800", {"\udfff": 1}, ["a\ud83c", 1.0], {"\ue000": "\U0001f34e", "\udc00": 1}])
def test_lone_surrogates_are_refused(value: object) -> None:
    """RFC 8785 §3.2.2.2: what is no Unicode text ends in an error that does not repeat it."""
    with pytest.raises(ValueError, match="lone surrogate") as caught:
        canonical(value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("value", [math.nan, math.inf, [1.0, -math.inf]])
def test_numbers_that_json_lacks_are_refused(value: object) -> None:
    """NaN and Infinity have no canonical form."""
    with pytest.raises(ValueError, match=r"."):
        canonical(value)


def test_what_is_nested_too_deeply_is_refused() -> None:
    """A bomb of brackets is an error of the value, not of the interpreter."""
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(ValueError, match="nested too deeply"):
        canonical(value)


@settings(deadline=None)
@given(json_values())
@example([1e20, 2.0**60, 1e21, -0.0, 1e-7, ":1.0,", "e+22]"])
@example({"\ue000": 0.5, "\U00010000": 1})
def test_canonical_text_is_its_own_canonical_text(value: object) -> None:
    """Parsing the canonical bytes and making them again changes nothing."""
    once = canonical(value)
    assert canonical(json.loads(once)) == once


@settings(deadline=None)
@given(json_values())
def test_a_journey_through_the_database_changes_nothing(value: object) -> None:
    """What was written as JSON and read again has the same canonical bytes."""
    assert canonical(_json.loads(_json.dumps(value))) == canonical(value)


@settings(deadline=None)
@given(st.dictionaries(st.text(), json_values(), min_size=2))
def test_the_order_of_members_does_not_matter(value: dict[str, object]) -> None:
    """Members in another order give the same bytes."""
    assert canonical(dict(reversed(value.items()))) == canonical(value)


def same(value: Any, other: Any) -> bool:
    """Equal, True and 1 being different, and a float being what its digits mean."""
    if isinstance(value, float):
        return type(other) in {int, float} and float(other) == value
    if type(value) is not type(other):
        return False
    if isinstance(value, dict):
        return value.keys() == other.keys() and all(same(each, other[name]) for name, each in value.items())
    if isinstance(value, list):
        return len(value) == len(other) and all(map(same, value, other))
    return value == other


@settings(deadline=None)
@given(json_values())
def test_the_bytes_hold_the_whole_value(value: object) -> None:
    """The value can be had back from its canonical bytes, so different values have different bytes."""
    assert same(value, json.loads(canonical(value)))


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_survives(number: float) -> None:
    """The text of a float means that very float."""
    assert float(canonical(number)) == number
