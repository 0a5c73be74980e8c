"""CouchDB's order of JSON values."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cmp_to_key
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_couch.embedded.collation import raw_key, sort_key, text_key
from tornado_couch.embedded.collation_table import weights

# As a view of Apache CouchDB 3.5.0 gave them back.
RECORDED: list[Any] = [
    None, False, True, -2, -1, 0, 1, 1.5, 2, 10, 1e300,
    "", " ", "_", "-", ",", "0", "1", "10", "2", "a", "A", "á", "aa", "aA", "AA", "ab", "b", "B", "ba", "é1", "z", "Z",
    [], [None], [1], [1, 2], [2], ["a"], ["a", "b"], ["b"],
    {}, {"a": 1}, {"a": 2}, {"b": 1}, {"b": 2}, {"b": 2, "a": 1}, {"b": 2, "c": 2},
]
# The printing ASCII characters as ICU's root collation has them.
ASCII = " _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789aAbBcCdDeEfFgGhHiIjJkKlLmMnNoOpPqQrRsStTuUvVwWxXyYzZ"

numbers = st.one_of(
    st.integers(), st.integers(min_value=2**52, max_value=2**55), st.floats(allow_nan=False, allow_infinity=False),
    st.integers(min_value=-(2**1100), max_value=2**1100),
)
texts = st.text(st.characters(codec="utf-8"))
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
few = st.recursive(
    st.sampled_from([None, False, True, 0, 1, 1.0, -1.5, 2**53, 2**53 + 1, "", "a", "A", "b", "á"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=8,
)


def rank(value: Any) -> int:
    kinds = (lambda: value is None, lambda: value is False, lambda: value is True,
             lambda: isinstance(value, (int, float)), lambda: isinstance(value, str), lambda: isinstance(value, list))
    return next((place for place, is_kind in enumerate(kinds) if is_kind()), len(kinds))


def compare(left: Any, right: Any) -> int:
    """The order by CouchDB's documentation, value by value; text by the whole of its weights."""
    if rank(left) != rank(right):
        return -1 if rank(left) < rank(right) else 1
    if isinstance(left, str):
        left, right = weights(left), weights(right)
    elif isinstance(left, dict):
        left = [part for member in left.items() for part in member]
        right = [part for member in right.items() for part in member]
    if isinstance(left, list):
        each = (compare(one, other) for one, other in zip(left, right, strict=False))
        return next((order for order in each if order), len(left) - len(right))
    return (left > right) - (left < right) if left is not None else 0


def sign(number: int) -> int:
    return (number > 0) - (number < 0)


def test_keys_have_the_order_that_couchdb_gave() -> None:
    """Sort keys put the recorded values into the recorded order, each above the one before."""
    keys = [sort_key(value) for value in RECORDED]
    assert keys == sorted(set(keys))


def test_ascii_has_icus_order() -> None:
    """Signs come before digits and those before letters; a capital follows its small letter."""
    backwards = ASCII[::-1]
    assert "".join(sorted(backwards, key=text_key)) == ASCII


def test_ascii_needs_no_table_and_agrees_with_it() -> None:
    """The short way for ASCII text gives the bytes of the whole table."""
    for text in [*map(chr, range(128)), "Hello, World", "a\x00b", "\x7f", "A-b_C 12"]:
        primary, secondary, tertiary = weights(text)
        assert text_key(text) == b"\x30" + primary + b"\0\0" + secondary + b"\0" + tertiary + b"\0"


def test_the_table_is_loaded_for_other_text_only() -> None:
    """A process that sorts ASCII alone never loads the table: a server starts quickly and stays small."""
    program = (
        "import sys; from tornado_couch.embedded.collation import sort_key; sort_key(['a', {'b': 1}]);"
        "assert 'pyuca' not in sys.modules; sort_key('é'); assert 'pyuca' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


@given(values, values)
def test_bytes_agree_with_an_independent_comparison(left: Any, right: Any) -> None:
    """Comparing sort keys is comparing the values, whatever their kinds and nesting."""
    one, other = sort_key(left), sort_key(right)
    assert (one > other) - (one < other) == sign(compare(left, right))


@given(st.lists(few, max_size=8))
def test_sorting_by_bytes_is_sorting_by_comparison(held: list[Any]) -> None:
    """The order is total: sorting by either gives the same sequence, also of near-equal values."""
    by_bytes = sorted(held, key=sort_key)
    by_comparison = sorted(held, key=cmp_to_key(compare))
    assert [json.dumps(value) for value in by_bytes] == [json.dumps(value) for value in by_comparison]


@given(st.lists(values, min_size=1, max_size=4), values)
def test_an_array_comes_before_its_continuations(items: list[Any], more: Any) -> None:
    """[a] < [a, b] < [a, {}] for what follows: ranges such as ["x"] to ["x", {}] hold a group."""
    assert sort_key(items) < sort_key([*items, more])
    assert sort_key([*items, more]) < sort_key(items)[:-1] + b"\xff"


@given(numbers, numbers)
def test_numbers_are_ordered_exactly(left: float, right: float) -> None:
    """Integers beyond 2^53 and doubles are compared by their exact values; 1 and 1.0 are equal."""
    assert (sort_key(left) < sort_key(right)) == (left < right)
    assert (sort_key(left) == sort_key(right)) == (left == right)


@pytest.mark.parametrize(
    ("low", "high"),
    [("a", "a\u0301"), ("z", "\u03b1"), ("\u044f", "\u4e2d"), ("\u4e2d", "\ufff0"), ("\ufffe", "\t"), ("zzz", "\uffff"),
     ("resume", "résumé"), ("résumé", "Résumé"), ("co-op", "coop"), ("\U0001f600", "0"), ("€", "0"), ("!", "€")],
)
def test_unicode_is_ordered_as_icu_orders_it(low: str, high: str) -> None:
    """Accents after capitals only where letters are equal, signs before digits, U+FFF0 above all letters."""
    assert text_key(low) < text_key(high)


def test_canonically_equal_text_is_equal() -> None:
    """A composed and a decomposed letter have one sort key, as in ICU; control characters count for nothing."""
    assert text_key("é") == text_key("e\u0301")
    assert text_key("a\u0000b") == text_key("ab")


@given(st.lists(few, max_size=8))
def test_raw_order_is_erlangs(held: list[Any]) -> None:
    """Raw collation: numbers, false, null, true, objects, arrays, text by its bytes."""
    kinds = [0, 1.5, False, None, True, {}, {"a": 1}, [], [1], [1, 2], "", "A", "a", "á"]
    keys = [raw_key(value) for value in kinds]
    assert keys == sorted(set(keys))
    assert sorted(raw_key(value) for value in held) == [raw_key(value) for value in sorted(held, key=raw_key)]


def test_deep_keys_do_not_exhaust_the_stack() -> None:
    """A key thousands of lists deep has a sort key."""
    deep: list[Any] = []
    for _ in range(20_000):
        deep = [deep]
    assert len(sort_key(deep)) == 40_002
