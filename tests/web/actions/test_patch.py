"""PATCH over HTTP, and patches as pure functions."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.web.conftest import JSON_PATCH, MERGE, OTHER, Client, Reply, path
from tornado_couch import Database
from tornado_couch.errors import PatchTestFailed, ValidationFailed
from tornado_couch.models import json_patch, merge_patch


async def patch(ask: Client, place: str, body: Any, type_: str = MERGE, **headers: str) -> Reply:
    return await ask("PATCH", place, body, Content_Type=type_, **headers)


# ---------------------------------------------------------------- merge patch

# RFC 7396, appendix A.
MERGED: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "change", "result"), MERGED)
def test_a_merge_patch_does_what_the_rfc_shows(target: Any, change: Any, result: Any) -> None:
    """Every example of its appendix; the target is left as it is."""
    before = json.dumps(target)
    assert merge_patch(target, change) == result
    assert json.dumps(target) == before


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES, VALUES)
def test_a_merge_patch_applied_twice_is_applied_once(target: Any, change: Any) -> None:
    """It is idempotent."""
    once = merge_patch(target, change)
    assert merge_patch(once, change) == once


async def test_a_merge_patch_keeps_siblings_and_null_removes(ask: Client, fruit: Reply) -> None:
    """And what it makes is answered, with a new tag."""
    await patch(ask, path(fruit), {"weight": 3})
    reply = await patch(ask, path(fruit), {"color": "blue", "weight": None})
    assert reply.status == 200
    assert (reply.json["color"], reply.json["tags"], "weight" in reply.json) == ("blue", ["a"], False)
    assert (await ask("GET", path(fruit))).headers["ETag"] == reply.headers["ETag"]


async def test_the_result_of_a_patch_is_validated(ask: Client, fruit: Reply) -> None:
    """422 with pointers; nothing is written."""
    for body, pointer in (
        ({"color": None}, "/color"),
        ({"weight": -1}, "/weight"),
        ({"nope": 1}, "/nope"),
        ({"grade": 9}, "/grade"),
        ({"fruit_id": "x"}, "/fruit_id"),
        ({"grade": None}, "/grade"),
        ({"fruit_id": None}, "/fruit_id"),
        ([], ""),
        (None, ""),
    ):
        reply = await ask("PATCH", path(fruit), data=json.dumps(body).encode(), Content_Type=MERGE)
        assert (reply.status, reply.json["errors"][0]["pointer"]) == (422, pointer)
    assert (await ask("GET", path(fruit))).json == fruit.json


async def test_a_write_only_property_is_patched_without_being_seen(ask: Client, database: Database) -> None:
    """Set, kept by other patches, removed by null."""
    place = path(await ask("POST", "/fruits", {"color": "red", "pin": "1"}))
    key = place.rpartition("/")[2]
    await patch(ask, place, {"color": "blue"})
    assert (await database.get(key))["pin"] == "1"
    await patch(ask, place, {"pin": "2"})
    assert (await database.get(key))["pin"] == "2"
    await patch(ask, place, {"pin": None})
    assert "pin" not in await database.get(key)


# ---------------------------------------------------------------- JSON patch

# (document, operations, result); after the ideas of the public test suite, in our own cases.
PATCHED: list[tuple[Any, list[Any], Any]] = [
    ({"a": 1}, [{"op": "add", "path": "/b", "value": [1]}], {"a": 1, "b": [1]}),
    ({"a": 1}, [{"op": "add", "path": "/a", "value": None}], {"a": None}),
    ([1, 2], [{"op": "add", "path": "/1", "value": 9}], [1, 9, 2]),
    ([1, 2], [{"op": "add", "path": "/2", "value": 9}], [1, 2, 9]),
    ([1, 2], [{"op": "add", "path": "/-", "value": 9}], [1, 2, 9]),
    ({"a": 1}, [{"op": "add", "path": "", "value": [7]}], [7]),
    ({"": 1}, [{"op": "replace", "path": "/", "value": 2}], {"": 2}),
    ({"~1": 1, "a/b": 2}, [{"op": "remove", "path": "/~01"}, {"op": "remove", "path": "/a~1b"}], {}),
    ({"a": [1, 2, 3]}, [{"op": "remove", "path": "/a/1"}], {"a": [1, 3]}),
    ({"a": {"b": 1}}, [{"op": "move", "from": "/a/b", "path": "/c"}], {"a": {}, "c": 1}),
    ({"a": [1, 2, 3]}, [{"op": "move", "from": "/a/0", "path": "/a/2"}], {"a": [2, 3, 1]}),
    ({"a": [1]}, [{"op": "copy", "from": "/a", "path": "/b"},
     {"op": "add", "path": "/b/0", "value": 0}], {"a": [1], "b": [0, 1]}),
    ({"a": {"x": [1, 2.0]}}, [{"op": "test", "path": "/a", "value": {"x": [1.0, 2]}}], {"a": {"x": [1, 2.0]}}),
    ({"a": None}, [{"op": "test", "path": "/a", "value": None}], {"a": None}),
    ({"0": 1}, [{"op": "replace", "path": "/0", "value": 2}], {"0": 2}),
    ({"a": 1}, [{"op": "replace", "path": "/a", "value": 2, "comment": "ignored"}], {"a": 2}),
    ({"a": 1}, [], {"a": 1}),
]  # fmt: skip


@pytest.mark.parametrize(("target", "operations", "result"), PATCHED)
def test_a_json_patch_does_what_the_rfc_says(target: Any, operations: Any, result: Any) -> None:
    """Each operation; the target is left as it is."""
    before = json.dumps(target)
    assert json_patch(target, operations) == result
    assert json.dumps(target) == before


@pytest.mark.parametrize(
    ("target", "operation"),
    [
        ({"a": 1}, {"op": "test", "path": "/a", "value": 2}),
        ({"a": 1}, {"op": "test", "path": "/a", "value": True}),
        ({"a": "1"}, {"op": "test", "path": "/a", "value": 1}),
        ({"a": [1, 2]}, {"op": "test", "path": "/a", "value": [2, 1]}),
        ({}, {"op": "test", "path": "/a", "value": None}),
    ],
)
def test_a_test_that_does_not_hold_is_told_apart(target: Any, operation: Any) -> None:
    """JSON's types count: 1 is not true and not "1", and null is not absent."""
    with pytest.raises(PatchTestFailed):
        json_patch(target, [operation])


@pytest.mark.parametrize(
    "operations",
    [
        {}, "x", None, [1], [{}], [{"op": "add"}], [{"op": "add", "path": "/b"}], [{"op": "spin", "path": "/a"}],
        [{"op": "add", "path": "b", "value": 1}], [{"op": "add", "path": 5, "value": 1}],
        [{"op": "remove", "path": "/nope"}], [{"op": "remove", "path": "/list/-"}], [{"op": "remove", "path": ""}],
        [{"op": "replace", "path": "/nope", "value": 1}], [{"op": "add", "path": "/list/9", "value": 1}],
        [{"op": "add", "path": "/list/01", "value": 1}], [{"op": "add", "path": "/list/-1", "value": 1}],
        [{"op": "add", "path": "/list/1e0", "value": 1}], [{"op": "add", "path": "/list/x", "value": 1}],
        [{"op": "add", "path": "/nope/x", "value": 1}], [{"op": "add", "path": "/text/x", "value": 1}],
        [{"op": "copy", "from": "/nope", "path": "/a"}], [{"op": "move", "from": "/deep", "path": "/deep/in"}],
        [{"op": "copy", "path": "/a"}], [{"op": ["add"], "path": "/a", "value": 1}],
        [{"op": "copy", "from": 3, "path": "/a"}], [{"op": "add", "path": "/~2", "value": 1}],
    ],
)  # fmt: skip
def test_a_patch_that_cannot_be_applied_is_invalid(operations: Any) -> None:
    """Malformed, or with a pointer that leads nowhere; no other error comes out."""
    with pytest.raises(ValidationFailed):
        json_patch({"list": [1, 2], "text": "abc", "deep": {"in": 1}}, operations)


def test_a_patch_cannot_grow_a_document_without_bound() -> None:
    """Forty copies would make a million million values."""
    bomb = [{"op": "copy", "from": "", "path": f"/x{number}"} for number in range(40)]
    with pytest.raises(ValidationFailed, match="copies too much"):
        json_patch({"a": 1}, bomb)


OPERATIONS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"]) | VALUES,
            "path": st.sampled_from(["", "/", "/a", "/a/0", "/a/-", "/a/b", "~", "/~0"]) | VALUES,
            "from": st.sampled_from(["", "/a", "/a/0", "/b"]) | VALUES,
            "value": VALUES,
        },
    )
    | VALUES,
    max_size=4,
)


@given(st.sampled_from([{"a": [1, {"b": 2}]}, {"a": {"b": "c"}}, [1], "x", {}]), OPERATIONS)
def test_whatever_a_patch_holds_it_applies_or_is_one_of_two_errors(target: Any, operations: Any) -> None:
    """No input leads to another exception."""
    with contextlib.suppress(ValidationFailed, PatchTestFailed):
        json_patch(target, operations)


async def test_a_json_patch_is_applied(ask: Client, fruit: Reply) -> None:
    """All operations together."""
    operations = [
        {"op": "test", "path": "/color", "value": "red"},
        {"op": "replace", "path": "/color", "value": "blue"},
        {"op": "add", "path": "/tags/-", "value": "b"},
    ]
    reply = await patch(ask, path(fruit), operations, JSON_PATCH)
    assert (reply.status, reply.json["color"], reply.json["tags"]) == (200, "blue", ["a", "b"])


async def test_a_failed_test_is_409_and_a_bad_pointer_422(ask: Client, fruit: Reply) -> None:
    """And nothing of the patch is applied."""
    add = {"op": "add", "path": "/tags/-", "value": "b"}
    failed = await patch(ask, path(fruit), [add, {"op": "test", "path": "/color", "value": "x"}], JSON_PATCH)
    bad = await patch(ask, path(fruit), [add, {"op": "remove", "path": "/x"}], JSON_PATCH)
    assert (failed.status, bad.status, bad.json["errors"][0]["pointer"]) == (409, 422, "/1")
    assert (await ask("GET", path(fruit))).json == fruit.json


# ---------------------------------------------------------------- both


async def test_twenty_patches_without_if_match_are_all_applied(ask: Client, fruit: Reply) -> None:
    """At a conflict the patch is applied again to the latest document."""
    adds = ([{"op": "add", "path": "/tags/-", "value": f"t{number}"}] for number in range(20))
    replies = await asyncio.gather(*(patch(ask, path(fruit), body, JSON_PATCH) for body in adds))
    assert [reply.status for reply in replies] == [200] * 20
    tags = (await ask("GET", path(fruit))).json["tags"]
    assert sorted(tags) == sorted(["a", *(f"t{number}" for number in range(20))])


async def test_only_one_of_twenty_patches_whose_test_excludes_the_others_succeeds(ask: Client, fruit: Reply) -> None:
    """The retry sees that the test no longer holds: 409."""
    bodies = (
        [{"op": "test", "path": "/color", "value": "red"}, {"op": "replace", "path": "/color", "value": f"c{number}"}]
        for number in range(20)
    )
    replies = await asyncio.gather(*(patch(ask, path(fruit), body, JSON_PATCH) for body in bodies))
    statuses = [reply.status for reply in replies]
    assert (statuses.count(200), statuses.count(409)) == (1, 19)


async def test_a_patch_obeys_preconditions(ask: Client, fruit: Reply) -> None:
    """As PUT does."""
    tag = fruit.headers["ETag"]
    guarded = path(fruit).replace("/fruits", "/guarded")
    assert (await patch(ask, path(fruit), {"color": "x"}, If_Match=OTHER)).status == 412
    assert (await patch(ask, path(fruit), {"color": "x"}, If_None_Match="*")).status == 412
    assert (await patch(ask, guarded, {"color": "x"})).status == 428
    assert (await patch(ask, "/guarded/nope", {"color": "x"})).status == 404
    assert (await patch(ask, "/fruits/nope", {"color": "x"}, If_Match="*")).status == 412
    assert (await patch(ask, path(fruit), {"color": "x"}, If_Match=tag)).status == 200


async def test_another_media_type_is_415_with_accept_patch(ask: Client, fruit: Reply) -> None:
    """Plain JSON does not say which kind of patch it is."""
    reply = await patch(ask, path(fruit), {"color": "x"}, "application/json")
    assert (reply.status, reply.headers["Accept-Patch"]) == (415, f"{MERGE}, {JSON_PATCH}")
    assert (await ask("OPTIONS", path(fruit))).headers["Accept-Patch"] == f"{MERGE}, {JSON_PATCH}"
