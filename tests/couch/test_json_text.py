"""JSON text."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_couch.json_text import dumps, loads

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
