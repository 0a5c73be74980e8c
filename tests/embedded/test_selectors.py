"""Mango selectors: what they match, their normal form, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.embedded.engine import refusal
from tornado_couch.embedded.selectors.selectors import compile_selector

DOCUMENTS: dict[str, dict[str, Any]] = {
    "a": {"_id": "a", "o": {"b": 1, "a": 2}, "k": "a", "arr": [1, 2, "x"], "n": 5},
    "B": {"_id": "B", "o": {"a": 2, "b": 1}, "k": "B", "n": -5, "arr": [True, None]},
    "c": {"_id": "c", "o": {}, "k": "é", "n": 1.0, "arr": []},
    "D": {"_id": "D", "k": "e\u0301", "n": 2**60, "x.y": 1, "x": {"y": 2}, "arr": [[1, 2]]},
}


@pytest.mark.parametrize(
    ("selector", "matched"),
    [
        ({}, "aBcD"),
        ({"_id": {"$lt": "b"}}, "aBD"),  # ids are compared by their bytes
        ({"k": {"$lt": "b"}}, "a"),  # other text by collation
        ({"k": "é"}, "cD"),  # canonically equal
        ({"n": 1}, "c"),
        ({"n": {"$gt": 5}}, "D"),
        ({"n": {"$gte": True}}, "aBcD"),
        ({"n": {"$gt": "x"}}, ""),
        ({"o": {"$gt": []}}, "aBc"),
        ({"o": {"$eq": {"a": 2, "b": 1}}}, "B"),  # members in their order
        ({"o": {}}, "c"),
        ({"o": {"a": 2}}, "aB"),
        ({"o.a": 2}, "aB"),
        ({"x.y": 2}, "D"),
        ({"x\\.y": 1}, "D"),
        ({"arr.0": 1}, "a"),
        ({"arr.2": {"$exists": True}}, "a"),
        ({"arr.9": {"$exists": False}}, ""),  # beyond an array's end is no missing member
        ({"missing": {"$exists": False}}, "aBcD"),
        ({"missing": None}, ""),
        ({"missing": {"$ne": 1}}, ""),
        ({"missing": {"$not": {"$eq": 1}}}, ""),
        ({"$nor": [{"missing": 1}]}, ""),
        ({"n": {"$in": [1, "a", -5]}}, "Bc"),
        ({"arr": {"$in": [2]}}, "a"),
        ({"arr": {"$in": []}}, ""),
        ({"arr": {"$nin": []}}, "aBcD"),
        ({"arr": {"$nin": [2]}}, "BcD"),
        ({"arr": {"$all": [1]}}, "a"),
        ({"arr": {"$all": [1.0]}}, ""),  # an exact comparison
        ({"arr": {"$all": [[1, 2]]}}, "D"),
        ({"arr": {"$all": []}}, ""),
        ({"arr": [1, 2, "x"]}, "a"),
        ({"arr": {"$elemMatch": {"$gt": 0, "$lt": 2}}}, "a"),
        ({"arr": {"$elemMatch": {}}}, ""),
        ({"arr": {"$allMatch": {"$gt": 0}}}, "aD"),
        ({"arr": {"$size": 0}}, "c"),
        ({"o": {"$keyMapMatch": {"$eq": "a"}}}, "aB"),
        ({"n": {"$mod": [2, 1]}}, "a"),
        ({"n": {"$mod": [2, -1]}}, "B"),
        ({"n": {"$not": {"$mod": [2, 1]}}}, "BcD"),
        ({"n": {"$type": "number"}}, "aBcD"),
        ({"arr": {"$type": "array"}}, "aBcD"),
        ({"k": {"$regex": "^a"}}, "a"),
        ({"k": {"$regex": "(?i)b"}}, "B"),
        ({"k": {"$beginsWith": ""}}, "aBcD"),
        ({"n": {"$beginsWith": "5"}}, ""),
        ({"k": {"$or": [{"$eq": "a"}, {"$eq": "B"}]}}, "aB"),
        ({"$not": {"$or": [{"n": 5}, {"k": "B"}]}}, "cD"),
        ({"$nor": [{"n": 5}, {"k": "B"}]}, "cD"),
        ({"$and": [{"n": {"$gt": 0}}, {"n": {"$lt": 6}}]}, "ac"),
        ({"n": 5, "$or": []}, "a"),  # an empty list beside others is always true
        ({"n": 5, "$and": []}, "a"),
    ],
)
def test_a_selector_matches_what_couchdb_matches(selector: Any, matched: str) -> None:
    """Recorded from CouchDB 3.5.0."""
    compiled = compile_selector(selector)
    assert {doc_id for doc_id, document in DOCUMENTS.items() if compiled.matches(document)} == set(matched)


@pytest.mark.parametrize(
    ("selector", "error", "reason"),
    [
        ("x", "invalid_selector_json", "Selector must be a JSON object, not: <<120>>"),
        ([], "invalid_selector_json", "Selector must be a JSON object, not: []"),
        (None, "invalid_selector_json", "Selector must be a JSON object, not: null"),
        ({"$and": "x"}, "bad_arg", "Bad argument for operator $and: <<120>>"),
        ({"$and": {"a": 1}}, "bad_arg", "Bad argument for operator $and: {[{<<97>>,1}]}"),
        ({"$not": 5}, "bad_arg", "Bad argument for operator $not: 5"),
        ({"k": {"$in": 5}}, "bad_arg", "Bad argument for operator $in: 5"),
        ({"k": {"$exists": 1}}, "bad_arg", "Bad argument for operator $exists: 1"),
        ({"k": {"$type": 1}}, "bad_arg", "Bad argument for operator $type: 1"),
        ({"k": {"$size": "1"}}, "bad_arg", "Bad argument for operator $size: <<49>>"),
        ({"k": {"$size": -1}}, "bad_arg", "Bad argument for operator $size: -1"),
        ({"k": {"$mod": [2]}}, "bad_arg", "Bad argument for operator $mod: [2]"),
        ({"k": {"$mod": [2.5, 1]}}, "bad_arg", "Bad argument for operator $mod: [2.5,1]"),
        ({"k": {"$regex": "("}}, "bad_arg", "Bad argument for operator $regex: <<40>>"),
        ({"k": {"$regex": 5}}, "invalid_operator", "Invalid operator: $regex"),
        ({"k": {"$foo": 1}}, "invalid_operator", "Invalid operator: $foo"),
        ({"$not": {"a": {"$foo": 1}}}, "invalid_operator", "Invalid operator: $foo"),
        ({"k": {"$where": 1}}, "not_supported", "Unsupported operator: $where"),
        ({"$gt": 5}, "invalid_selector", "One or more conditions is missing a field name."),
        ({"": 1}, "invalid_selector", "One or more conditions is missing a field name."),
        ({"a..b": 1}, "invalid_field_name", "Invalid field name: a..b"),
    ],
)
def test_a_bad_selector_is_refused(selector: Any, error: str, reason: str) -> None:
    """400 in CouchDB's words."""
    assert refusal(compile_selector, selector) == (400, error, reason)


@pytest.mark.parametrize(
    ("selector", "normal"),
    [
        ({"a": 1}, {"a": {"$eq": 1}}),
        ({"a": 1, "b": 2}, {"$and": [{"a": {"$eq": 1}}, {"b": {"$eq": 2}}]}),
        ({"a": {"b": {"$gt": 1}}}, {"a.b": {"$gt": 1}}),
        ({"a": {"$gt": 1, "$lt": 5}}, {"$and": [{"a": {"$gt": 1}}, {"a": {"$lt": 5}}]}),
        ({"$not": {"a": {"$gt": 1}}}, {"a": {"$lte": 1}}),
        ({"$not": {"$and": [{"a": 1}, {"$not": {"b": 2}}]}}, {"$or": [{"a": {"$ne": 1}}, {"b": {"$eq": 2}}]}),
        ({"$nor": [{"a": {"$in": [1]}}, {"b": {"$exists": True}}]},
         {"$and": [{"a": {"$nin": [1]}}, {"b": {"$exists": False}}]}),
        ({"$not": {"a": {"$regex": "x"}}}, {"a": {"$not": {"$regex": "x"}}}),
        ({"x\\.y": 1}, {"x\\.y": {"$eq": 1}}),
    ],
)
def test_selectors_are_brought_to_couchdbs_normal_form(selector: Any, normal: Any) -> None:
    """As `_explain` shows it: operators written out, fields as paths, negations at the leaves."""
    assert compile_selector(selector).to_json() == normal


def test_a_hopeless_regular_expression_gives_up() -> None:
    """A match that would take for ever counts as none, soon, as PCRE's limit makes it in CouchDB."""
    compiled = compile_selector({"k": {"$regex": "^(([a-z])+.)+[A-Z]([a-z])+$"}})
    assert not compiled.matches({"k": "a" * 5000})


conditions = st.one_of(
    st.tuples(st.sampled_from(["$lt", "$lte", "$eq", "$ne", "$gte", "$gt"]), st.integers(0, 3)),
    st.tuples(st.just("$in"), st.lists(st.integers(0, 3), min_size=1, max_size=2)),
    st.tuples(st.just("$mod"), st.tuples(st.integers(1, 3), st.integers(0, 2)).map(list)),
).map(lambda pair: {"k": {pair[0]: pair[1]}})
selectors = st.recursive(
    conditions,
    lambda inner: st.one_of(
        st.builds(lambda parts: {"$and": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"$or": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda parts: {"$nor": parts}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: {"$not": part}, inner),
    ),
    max_leaves=6,
)


@given(selectors, st.integers(0, 4))
def test_negation_is_negation_where_the_field_is_there(selector: Any, value: int) -> None:
    """For a document that has the field, $not matches exactly what the selector does not."""
    document = {"k": value}
    assert compile_selector({"$not": selector}).matches(document) != compile_selector(selector).matches(document)


@given(selectors, st.integers(0, 4))
def test_the_normal_form_matches_the_same(selector: Any, value: int) -> None:
    """Normalizing what is normal changes nothing."""
    compiled = compile_selector(selector)
    again = compile_selector(compiled.to_json())
    assert (again.to_json(), again.matches({"k": value})) == (compiled.to_json(), compiled.matches({"k": value}))
