"""Reduce functions, built-in and in JavaScript, over the rows of a view."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.embedded.engine import Engine, design, engine, refusal
from tornado_couch.embedded.javascript.pool import Program, Scripts
from tornado_couch.embedded.views.index import Row
from tornado_couch.embedded.views.reduces import reducer


@pytest.fixture
def held() -> Iterator[Engine]:
    """An engine with two documents, n 1 and 2."""
    with engine() as made:
        made.documents.put({"_id": "a", "n": 1}, {"_id": "b", "n": 2})
        yield made


def reduced(held: Engine, emits: str, reduce: str) -> Any:
    """The one row's value, of a map with these statements."""
    ((key, value),) = held.rows(design(f"function (doc) {{ {emits} }}", reduce))
    assert key is None
    return value


@pytest.mark.parametrize(
    ("emits", "total"),
    [
        ("emit(1, doc.n)", 3),
        ("emit(1, doc.n + 0.5)", 4.0),
        ("emit(1, [doc.n, doc.n]); emit(1, [1])", [5, 3]),
        ("emit(1, [doc.n, doc.n]); emit(1, 1)", [5, 3]),
        ("emit(1, {a: doc.n, b: {c: 1, d: [1]}}); emit(1, {a: 2, z: 5})", {"a": 7, "b": {"c": 2, "d": [2]}, "z": 10}),
    ],
)
def test_sum_adds_numbers_arrays_and_objects(held: Engine, emits: str, total: Any) -> None:
    """Arrays item by item, a number as an array of it, objects member by member and nested."""
    assert reduced(held, emits, "_sum") == total


@pytest.mark.parametrize(
    ("emits", "cause"), [("emit(1, 'text')", "text"), ("emit(1, null)", None), ("emit(1, ['a'])", ["a"])]
)
def test_sum_of_no_numbers_is_an_error_in_the_row(held: Engine, emits: str, cause: Any) -> None:
    """CouchDB's builtin_reduce_error with the value that caused it."""
    value = reduced(held, emits, "_sum")
    assert (value["error"], value["caused_by"]) == ("builtin_reduce_error", cause)
    assert value["reason"].startswith("The _sum function requires that map values be numbers")


def test_sum_must_shrink(held: Engine) -> None:
    """An object that grows with the rows is refused, as by CouchDB's reduce_limit."""
    emits = "for (var i = 0; i < 300; i++) { var o = {}; o['key' + i + doc._id] = 1; emit(i, o) }"
    value = reduced(held, emits, "_sum")
    assert value["reason"].startswith("Reduce output must shrink more rapidly")


@pytest.mark.parametrize(
    ("emits", "stats"),
    [
        ("emit(1, doc.n)", {"sum": 3, "count": 2, "min": 1, "max": 2, "sumsqr": 5}),
        ("emit(1, [doc.n, 5])", [{"sum": 3, "count": 2, "min": 1, "max": 2, "sumsqr": 5},
                                 {"sum": 10, "count": 2, "min": 5, "max": 5, "sumsqr": 50}]),
        ("emit(1, {sum: 1, count: 2, min: 0, max: 5, sumsqr: 9}); emit(1, 4)",
         {"sum": 10, "count": 6, "min": 0, "max": 5, "sumsqr": 50}),
    ],
)
def test_stats_takes_numbers_arrays_and_earlier_stats(held: Engine, emits: str, stats: Any) -> None:
    """Each in one result; arrays column by column."""
    assert reduced(held, emits, "_stats") == stats


@pytest.mark.parametrize(
    ("emits", "words"),
    [
        ("emit(1, 'a')", "non-numeric _stats input"),
        ("emit(1, {sum: 1, count: 2, min: 0, max: 5})", "user _stats input missing required field sumsqr"),
        ("emit(1, {sum: 'x', count: 2, min: 0, max: 5, sumsqr: 1})", "non-numeric _stats input received for sum"),
        ("emit(1, [1, 2]); emit(1, 4)", "The _stats function requires that map values be numbers or arrays"),
    ],
)
def test_stats_of_anything_else_is_refused(held: Engine, emits: str, words: str) -> None:
    """500 invalid_value with CouchDB's words."""
    status, error, reason = refusal(reduced, held, emits, "_stats")
    assert (status, error) == (500, "invalid_value")
    assert words in reason


def test_count_and_distinct_count_rows_and_keys(held: Engine) -> None:
    """`_count` counts rows of any value, `_approx_count_distinct` their keys; a longer name is the same function."""
    emits = "emit(doc.n, null); emit(doc.n, 'x'); emit('all', {})"
    assert [reduced(held, emits, name) for name in ("_count", "_approx_count_distinct", "_count ")] == [6, 3, 6]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("_first", [(0, 0), (1, "x"), (2, None)]),
        ("_last", [(0, "x"), (1, 3.5), (2, 2)]),
        ("_top_3", [(0, ["x", 1.5, 0]), (1, ["x", 3.5, 1]), (2, ["x", 2, None])]),
        ("_bottom_2", [(0, [None, 0]), (1, [1, 3.5]), (2, [None, 2])]),
    ],
)
def test_first_last_top_and_bottom_choose_rows_and_values(name: str, expected: list[tuple[int, Any]]) -> None:
    """Recorded from CouchDB 3.5.0: by key whatever the direction, and by the collation of values."""
    with engine() as made:
        made.documents.put(*({"_id": f"{n:02}", "n": n} for n in range(10)))
        text = design("(d) => emit(d.n % 3, [d.n % 3, 'x', null, d.n / 2][d.n % 4])", name)
        assert made.rows(text, group=True) == expected
        assert made.rows(text, group=True, descending=True) == expected[::-1]


def test_a_script_gets_keys_with_ids_and_then_partial_results(held: Engine) -> None:
    """keys are pairs of key and id, null in a rereduce; each group is rereduced, as the shards of a cluster are."""
    script = "function (keys, values, rereduce) { return rereduce ? values : [keys, values] }"
    assert reduced(held, "emit(doc.n, doc._id)", script) == [[[[1, "a"], [2, "b"]], ["a", "b"]]]


@pytest.mark.parametrize("script", ["function (k, v) { throw new Error('x') }", "function (k, v) {}"])
def test_a_script_that_throws_or_returns_nothing_gives_null(held: Engine, script: str) -> None:
    """CouchDB logs it and goes on."""
    assert reduced(held, "emit(1, 1)", script) is None


def test_a_script_whose_result_does_not_shrink_is_an_error_row(held: Engine) -> None:
    """reduce_overflow_error stands in the row's place, and the reply is 200."""
    reply = held.reply(design("(doc) => emit(1)", "(k, v) => 'x'.repeat(6000)"))
    assert reply["rows"][0]["error"] == "reduce_overflow_error"


def test_an_endless_script_is_an_error() -> None:
    """The query fails within the limit; the index stays, and another reduce of the same map answers."""
    with engine(seconds=1) as made:
        made.documents.put({"_id": "a"})
        endless = design("(doc) => emit(1)", "(k, v) => { while (1); }")
        assert refusal(made.rows, endless)[:2] == (500, "os_process_error")
        assert made.rows(design("(doc) => emit(1)", "_count")) == [(None, 1)]


def test_many_rows_are_reduced_in_pieces(held: Engine) -> None:
    """3,000 rows in uneven groups give exact results by groups, by level and in all."""
    held.documents.put(*({"_id": f"n{n:04}", "n": n, "g": [n % 7 % 3, n % 11]} for n in range(3000)))
    emits = "(doc) => { if (doc.g) emit(doc.g, doc.n) }"
    expected: dict[tuple[int, ...], list[int]] = {}
    for n in range(3000):
        expected.setdefault((n % 7 % 3, n % 11), []).append(n)
    for reduce, fold in (("_sum", sum), ("(k, v, r) => r ? sum(v) : v.length", len), ("(k, v) => sum(v)", sum)):
        text = design(emits, reduce)
        assert held.rows(text, group=True) == [(list(key), fold(expected[key])) for key in sorted(expected)]
        firsts = {first: fold([n for n in range(3000) if n % 7 % 3 == first]) for first in range(3)}
        assert held.rows(text, group_level=1) == [([key], firsts[key]) for key in sorted(firsts)]
        assert held.rows(text) == [(None, sum(firsts.values()))]


@given(st.lists(st.integers(-100, 100), min_size=1, max_size=30), st.data())
def test_builtins_do_not_depend_on_how_rows_are_cut(numbers: list[int], data: st.DataObject) -> None:
    """Any cut into pieces, rereduced, gives what one piece gives."""
    texts = [str(number) for number in sorted(numbers)]
    rows = [Row(str(place), text, text, text.encode()) for place, text in enumerate(texts)]
    cuts = sorted(data.draw(st.sets(st.integers(1, len(rows) - 1))) if len(rows) > 1 else [])
    pieces = [rows[start:end] for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    unused: Any = None
    for name in ("_sum", "_count", "_stats", "_approx_count_distinct", "_first", "_last", "_top_3", "_bottom_3"):
        made = reducer(name, "v", Program("{}"), unused)
        whole = made.result(made.rereduce([made.reduce([rows])])[0])
        assert made.result(made.rereduce([made.reduce(pieces)])[0]) == whole


def test_an_unknown_reduce_source_needs_a_worker() -> None:
    """Only JavaScript starts a process: built-in reduces run here."""
    scripts = Scripts()
    assert reducer("_sum", "v", Program("{}"), scripts).reduce([[Row("a", "1", "2", b"")]]) == [2]
    assert scripts._busy == set()
    scripts.close()
