"""JSON text."""

from __future__ import annotations

import json
import math
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_couch._json import dumps, loads

texts = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=20,
)


@given(values)
def test_every_json_value_comes_back_as_it_went(value: Any) -> None:
    """What is written reads back equal, by this module and by the standard library alike."""
    text = dumps(value)
    assert loads(text) == value
    assert loads(text, pausing=True) == value
    assert json.loads(text) == value


@given(values)
def test_what_is_read_and_written_is_what_the_standard_library_has(value: Any) -> None:
    """Integers of any size, floats to the last bit, members in order; and the types are the same."""
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        assert repr(loads(text)) == repr(loads(text.encode())) == repr(json.loads(text))
    assert repr(json.loads(dumps(value))) == repr(json.loads(json.dumps(value)))


@given(st.text('[]{}",:.-+eE0123456789\\untrefalsdNI \t', max_size=30))
def test_what_is_json_is_what_the_standard_library_takes_for_it(text: str) -> None:
    """Whatever text comes; but NaN and Infinity are no JSON, nor are lone surrogates."""
    try:
        expected = json.loads(text)
        json.dumps(expected, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        with pytest.raises(ValueError, match=r"."):
            loads(text)
    else:
        assert repr(loads(text)) == repr(expected)


@pytest.mark.parametrize("number", [2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), -(2**63) - 1, 10**40, 10**18])
def test_integers_around_64_bits_keep_their_size(number: int) -> None:
    """At the edges of 64 bits and far beyond."""
    assert loads(str(number)) == number
    assert type(loads(f"[{number}]")[0]) is int
    assert dumps({"n": number}) == f'{{"n":{number}}}'.encode()


def test_what_json_has_no_word_for_is_refused_whatever_stands_beside_it() -> None:
    """Dates and objects; None beside them changes nothing. Members of an Enum and UUIDs are their values."""
    for beside in ([], [None]):
        for value in (datetime(2024, 1, 1), object(), {1, 2}, b"x"):
            with pytest.raises(TypeError):
                dumps([value, *beside])
        assert loads(dumps([Color.RED, UUID(int=1), (1, 2), {3: 4}, *beside])) == [
            "red",
            "00000000-0000-0000-0000-000000000001",
            [1, 2],
            {"3": 4},
            *beside,
        ]


class Color(Enum):
    RED = "red"


def test_text_is_compact_utf8_in_the_order_of_members() -> None:
    """No space, no ASCII escapes, no sorting."""
    assert dumps({"ö": [1, 2.0], "a": "€"}) == '{"ö":[1,2.0],"a":"€"}'.encode()
    assert list(loads('{"b":1,"a":2}')) == ["b", "a"]


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a":-Infinity}', "1e999", "-1e999", "9" * 400 + ".0"])
def test_what_is_no_finite_number_is_not_read(text: str) -> None:
    """NaN and Infinity are no JSON, and numbers that only Infinity could stand for are refused."""
    with pytest.raises(ValueError, match=r"not JSON|too large"):
        loads(text)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_not_written(value: float) -> None:
    """NaN and Infinity are refused wherever they stand."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps({"a": [value]})


def test_lone_surrogates_are_refused_in_both_directions() -> None:
    """A lone surrogate is no Unicode text; a pair of escapes is one character."""
    with pytest.raises(ValueError, match="surrogate"):
        dumps(["\ud800"])
    with pytest.raises(ValueError, match="surrogate"):
        loads(b'["\\udfff"]')
    assert loads(b'"\\ud83c\\udf4e"') == "\N{RED APPLE}"


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"\xef\xbb\xbf{}", b"{}x", "\ufeff1".encode("utf-16")])
def test_what_is_no_utf8_json_is_refused(text: bytes) -> None:
    """Truncated, wrongly encoded and trailing text alike give ValueError."""
    with pytest.raises(ValueError, match=r"."):
        loads(text)


def test_depth_gives_a_plain_error_in_both_directions() -> None:
    """Text or values nested without measure give ValueError, not RecursionError."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ValueError, match="nested too deeply"):
        dumps(deep)
    with pytest.raises(ValueError, match="nested too deeply"):
        loads("[" * 100_000 + "]" * 100_000)
    while deep:  # taken apart gently: dropping it whole would recurse as well
        deep = deep.pop()


def test_integers_keep_their_size() -> None:
    """Integers beyond what a float holds come back exactly."""
    assert loads(dumps(2**200 + 1)) == 2**200 + 1
