"""Revision trees, the winner, and revision ids."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tornado_couch.embedded.jsontext import dumps, loads
from tornado_couch.embedded.problems import Problem
from tornado_couch.embedded.storage import revisions
from tornado_couch.embedded.storage.revisions import Node, Tree
from tornado_couch.revision import revision_of

RECORD = Path(__file__).parents[1] / "conformance" / "couchdb-3.5.0.json"


def recorded_first_writes() -> list[tuple[dict[str, Any], str]]:
    """The documents that were PUT for the first time in the record, with the revisions that CouchDB gave them."""
    found = []
    for check in json.loads(RECORD.read_text(encoding="utf-8"))["checks"]:
        for exchange in check["exchanges"]:
            sent, reply = exchange.get("sent"), exchange.get("reply")
            if (
                exchange["request"].startswith("PUT /")
                and isinstance(sent, dict)
                and isinstance(reply, dict)
                and str(reply.get("rev", "")).startswith("1-")
                and not any(name.startswith("_") for name in sent)
                and exchange["request"].count("/") == 2
                and "?" not in exchange["request"]
                and "/_" not in exchange["request"]  # CouchDB adds to users and replications
            ):
                found.append((sent, reply["rev"]))
    return found


def test_revision_ids_are_those_of_couchdb() -> None:
    """Every first write in the record gets from us the revision that Apache CouchDB gave it."""
    writes = recorded_first_writes()
    assert len(writes) > 50
    assert [revision_of(None, False, sent, []) for sent, _ in writes] == [rev for _, rev in writes]


@pytest.mark.parametrize(
    ("body", "rev"),
    [
        ('{"x":1}', "1-0785e9eb543380151003dc452c3a001a"),
        ('{"a": 12345678901234567890, "b": 9007199254740993, "c": -1}', "1-6dd99ad266de16794e4eaf1daa000ed5"),
        ('{"a": 1.0, "b": 0.1}', "1-d10790309f29edb6cef2b8d3d4edede2"),
        ('{"a": 1e3, "b": 1E+2, "c": 2.5e-3}', "1-732e7f78d54799e945df833602d18e86"),
        ('{"o": {"z": 1, "a": 2}}', "1-f587aa451ab90b508cb047c95cd1dd3b"),
        ('{"a": 1, "a": 2}', "1-3975759ccff3842adf690a5c10caee42"),
    ],
)
def test_revision_ids_depend_on_the_kind_of_number_and_the_order_of_members(body: str, rev: str) -> None:
    """Integers of any size, floats and the order of members count as they do in CouchDB."""
    assert revision_of(None, False, loads(body), []) == rev


def test_revision_ids_tell_everything_apart() -> None:
    """Parent, deleted flag, body, order of members and attachments each change the revision."""
    parent = "1-" + "a" * 32
    made = {
        revision_of(None, False, {"a": 1, "b": 2}, []),
        revision_of(None, False, {"b": 2, "a": 1}, []),
        revision_of(None, True, {"a": 1, "b": 2}, []),
        revision_of(parent, False, {"a": 1, "b": 2}, []),
        revision_of(None, False, {"a": 1.0, "b": 2}, []),
        revision_of(None, False, {"a": 1, "b": 2}, [("t", "text/plain", b"0" * 16)]),
    }
    assert len(made) == 6


@pytest.mark.parametrize("text", ["", "abc", "1", "1-", "-abc", "x-abc", "1.5-abc", 7, None])
def test_what_is_no_revision_is_refused(text: object) -> None:
    """A revision is GENERATION-HASH; anything else is CouchDB's 400."""
    with pytest.raises(Problem) as caught:
        revisions.parse_revision(text)
    assert (caught.value.status, caught.value.reason) == (400, "Invalid rev format")


# ---------------------------------------------------------------- laws

Path_ = tuple[list[str], bool]


@st.composite
def deliveries(draw: st.DrawFn) -> list[Path_]:
    """Revisions of one document, each with its whole history and whether it is deleted."""
    parents: dict[str, str | None] = {}
    deleted: dict[str, bool] = {}
    for number in range(draw(st.integers(1, 12))):
        parent = draw(st.sampled_from([None, *parents]))
        generation = int(parent.partition("-")[0]) + 1 if parent else 1
        rev = f"{generation}-{number:032x}"
        parents[rev], deleted[rev] = parent, draw(st.booleans())
    found = []
    for rev in parents:
        path: list[str] = []
        step: str | None = rev
        while step is not None:
            path.append(step)
            step = parents[step]
        found.append((path[: draw(st.integers(1, len(path)))], deleted[rev]))
    return found


def grown(paths: list[Path_]) -> Tree:
    tree: Tree = {}
    for number, (path, deleted) in enumerate(paths):
        tree, _ = revisions.graft(tree, path, deleted, number + 1)
    return tree


@given(deliveries(), st.randoms(use_true_random=False))
def test_any_order_of_delivery_gives_the_same_winner_and_leaves(paths: list[Path_], chance: random.Random) -> None:
    """Delivered in whatever order, the same revisions grow a tree with the same leaves and the same winner."""
    shuffled = list(paths)
    chance.shuffle(shuffled)
    one, two = grown(paths), grown(shuffled)
    assert revisions.leaves(one) == revisions.leaves(two)
    assert revisions.winner(one) == revisions.winner(two)
    assert {rev: node.parent for rev, node in one.items()} == {rev: node.parent for rev, node in two.items()}


@given(deliveries())
def test_delivery_is_idempotent(paths: list[Path_]) -> None:
    """A revision that is there already adds nothing."""
    tree = grown(paths)
    for path, deleted in paths:
        again, added = revisions.graft(tree, path, deleted, 99)
        assert again == tree
        assert not added


@given(deliveries())
def test_a_tree_survives_storing(paths: list[Path_]) -> None:
    """What is written as text is read as the same tree."""
    tree = grown(paths)
    assert revisions.load_tree(revisions.dump_tree(tree)) == tree


@given(deliveries(), st.integers(1, 5))
def test_stemming_keeps_the_leaves(paths: list[Path_], limit: int) -> None:
    """`_revs_limit` keeps every leaf and its latest ancestors, up to the limit, and nothing else."""
    tree = grown(paths)
    cut = revisions.stem(tree, limit)
    assert revisions.leaves(cut) == revisions.leaves(tree)
    latest = [revisions.ancestry(tree, leaf)[:limit] for leaf in revisions.leaves(tree)]
    # A tree that has no more revisions than one history may have is left as it is.
    assert cut.keys() == ({rev for each in latest for rev in each} if len(tree) > limit else tree.keys())
    for each in latest:
        assert revisions.ancestry(cut, each[0])[:limit] == each


@given(deliveries())
def test_the_winner_lives_if_any_leaf_does(paths: list[Path_]) -> None:
    """A living leaf goes before a deleted one, then the longer history, then the higher hash."""
    tree = grown(paths)
    found = revisions.leaves(tree)
    best = max(found, key=lambda rev: (not tree[rev].deleted, revisions.sort_key(rev)))
    assert found[0] == best


def test_a_late_ancestor_is_no_leaf() -> None:
    """A revision delivered alone, and its child with the history later, are one branch."""
    tree = grown([(["2-b"], False), (["3-c"], False), (["3-c", "2-b", "1-a"], False)])
    assert revisions.leaves(tree) == ["3-c"]
    assert tree["1-a"] == Node(None, False, None)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_json_is_kept(value: Any) -> None:
    """What is read of what was written is the same value, 1.0 a float and 1 an integer, members in their order."""
    try:
        text = dumps(value)
        text.encode()
    except UnicodeEncodeError:
        return
    assert repr(loads(text)) == repr(value)
