"""What the leaves of a document are worth together, whatever trees CouchDB may hold; without a server."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tornado_couch.errors import InvalidSignature, SignatureFault
from tornado_couch.security import SIGNATURE_PROPERTY
from tornado_couch.store.protection.trees import CLEARED_PROPERTY, judge, need_histories

SIGNED = {SIGNATURE_PROPERTY: {"scheme": "v3"}}


def leaf(*path: str, proved: bool = True, deleted: bool = False, **more: Any) -> dict[str, Any]:
    """A leaf with its history, the latest revision first."""
    revisions = {"start": int(path[0][0]), "ids": [each[2:] for each in path]}
    found = {"_id": "1f", "_rev": path[0], "_revisions": revisions, "proved": proved, **SIGNED, **more}
    return {**found, "_deleted": True} if deleted else found


def verify(document: dict[str, Any]) -> None:
    if not document["proved"]:
        raise InvalidSignature("altered", SignatureFault.ALTERED)


def verdict(*leaves: dict[str, Any]) -> tuple[str, list[str], str | None]:
    """The winner, the leaves that do not count, and why the document is withheld."""
    found = judge(leaves, verify)
    return found.documents[0]["_rev"], sorted(found.faults), found.withheld and found.withheld.reason.value


def test_leaves_that_are_proved_are_a_conflict_as_any_other() -> None:
    """Live ones and tombstones upon a common revision: nothing is wrong."""
    assert verdict(leaf("2-b", "1-a"), leaf("2-c", "1-a")) == ("2-c", [], None)
    assert verdict(leaf("2-b", "1-a"), leaf("4-d", "3-c", "2-c", "1-a", deleted=True)) == ("2-b", [], None)


def test_an_unproved_leaf_counts_by_its_generation() -> None:
    """A loser changes nothing; a tombstone of a higher generation may hide what was written last."""
    assert verdict(leaf("2-c", "1-a"), leaf("2-b", "1-a", proved=False)) == ("2-c", ["2-b"], None)
    assert verdict(leaf("2-b", "1-a"), leaf("2-c", "1-a", proved=False)) == ("2-c", ["2-c"], "altered")
    assert verdict(leaf("2-b", "1-a"), leaf("2-c", "1-a", proved=False, deleted=True)) == ("2-b", ["2-c"], None)
    assert verdict(leaf("2-b", "1-a"), leaf("3-c", "2-a", proved=False, deleted=True)) == ("2-b", ["3-c"], "altered")


def test_one_revision_upon_two_paths_is_one_leaf() -> None:
    """It is proved by its own path; once it is replaced there, the other one counts as put back."""
    own, planted = leaf("2-b", "1-a"), leaf("2-b", "1-z", proved=False)
    assert verdict(own, planted) == ("2-b", [], None)
    assert verdict(planted, own) == ("2-b", [], None)
    assert verdict(leaf("3-c", "2-b", "1-a"), leaf("2-b", "1-z")) == ("3-c", ["2-b"], None)
    gone = leaf("3-c", "2-b", "1-a", deleted=True)
    assert verdict(gone, leaf("2-b", "1-z")) == ("2-b", ["2-b"], "rolled back")


def test_what_couchdb_has_forgotten_may_have_been_replaced() -> None:
    """A history that ends above a leaf does not show whether it replaced it; one that a clearing left says nothing."""
    assert verdict(leaf("5-e", "4-d"), leaf("2-b", "1-a")) == ("5-e", ["2-b"], None)
    assert verdict(leaf("5-e", "4-d", deleted=True), leaf("2-b", "1-a")) == ("2-b", ["2-b"], "rolled back")
    cleared = leaf("5-e", "4-d", deleted=True, **{CLEARED_PROPERTY: True})
    assert verdict(cleared, leaf("2-b", "1-a")) == ("2-b", [], None)
    assert verdict(leaf("5-e", "4-d", "3-c"), leaf("4-x", "3-c")) == ("5-e", [], None)


def test_a_deletion_counts_only_if_no_leaf_is_planted() -> None:
    """A tombstone that is not proved may stand upon what would have won; one of an older scheme was a service's own."""
    gone = leaf("5-e", "4-d", "3-c", "2-b", "1-a", deleted=True)
    planted = leaf("2-c", "1-a", deleted=True, proved=False)
    assert verdict(gone, planted) == ("5-e", ["2-c"], "altered")
    older = leaf("2-c", "1-a", deleted=True, **{SIGNATURE_PROPERTY: {"scheme": "v2"}})
    assert verdict(gone, older) == ("5-e", ["2-c"], None)


def test_histories_are_needed_only_where_they_decide() -> None:
    """Not beside tombstones that are no younger than the winning leaf; otherwise without them nothing is faulted."""

    def bare(revision: str, **more: Any) -> dict[str, Any]:
        return {name: each for name, each in leaf(revision, **more).items() if name != "_revisions"}

    settled = [bare("3-c"), bare("3-b", deleted=True), bare("2-b", deleted=True)]
    assert not need_histories(settled)
    assert verdict(*settled) == ("3-c", [], None)
    assert not need_histories([bare("3-c")])
    assert not need_histories([bare("3-c", deleted=True), bare("2-b", deleted=True)])
    assert need_histories([bare("3-c"), bare("2-b")])
    assert need_histories([bare("3-c"), bare("4-b", deleted=True)])
    assert need_histories([bare("3-c"), bare("3-c")])
    assert need_histories([bare("3-c"), bare("2-b", deleted=True, **{SIGNATURE_PROPERTY: {"scheme": "v2"}})])
    assert not need_histories([leaf("3-c"), leaf("2-b")])


def test_older_schemes_do_not_count_beside_a_newer_one() -> None:
    """By themselves they do."""
    older = leaf("2-c", "1-a", **{SIGNATURE_PROPERTY: {"scheme": "v2"}})
    classic = {name: value for name, value in leaf("2-d", "1-a").items() if name != SIGNATURE_PROPERTY}
    assert verdict(older, leaf("2-b", "1-a")) == ("2-c", ["2-c"], "rolled back")
    assert verdict(classic, leaf("2-b", "1-a")) == ("2-d", ["2-d"], "rolled back")
    assert verdict(older, classic) == ("2-d", [], None)
    assert verdict(older, leaf("2-b", "1-a", proved=False)) == ("2-c", ["2-b"], None)


ROWS = st.tuples(st.integers(1, 4), st.sampled_from("abc"), st.booleans(), st.booleans())


@given(st.lists(ROWS, min_size=1, unique_by=lambda row: row[:2]))
def test_what_is_served_is_proved(rows: list[tuple[int, str, bool, bool]]) -> None:
    """Whatever the leaves are, in whatever order: the winner is withheld, or it is proved and no fault outranks it."""
    leaves = [
        leaf(*(f"{number}-{digest}" for number in range(generation, 0, -1)), proved=proved, deleted=deleted)
        for generation, digest, proved, deleted in rows
    ]
    found, backwards = judge(leaves, verify), judge(leaves[::-1], verify)
    first = found.documents[0]
    assert first["_rev"] == backwards.documents[0]["_rev"]
    if found.withheld is None:
        assert first["proved"]
        assert all(int(each[0]) <= int(first["_rev"][0]) for each in found.faults)
