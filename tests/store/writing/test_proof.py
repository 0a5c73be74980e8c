"""What the leaves of a document prove of a write: a law over random histories, and the cases by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tornado_couch.couch import Leaf
from tornado_couch.errors import ModelDefinitionError
from tornado_couch.models import WRITE_PROPERTY, Model
from tornado_couch.store.writing.proof import Evidence, Standing, Verdict
from tornado_couch.store.writing.tokens import marked, merged_mark, operation, operations, unmarked


@dataclass
class Tree:
    """A document as CouchDB keeps it: its revisions, each with the one before it, and the bodies that are left."""

    parents: dict[str, str | None] = field(default_factory=dict)
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    made: int = 0

    def leaves(self) -> list[str]:
        return [each for each in self.parents if each not in self.parents.values()]

    def alive(self) -> list[str]:
        return [each for each in self.leaves() if each not in self.deleted]

    def winner(self) -> str | None:
        among = self.alive() or self.leaves()
        return max(among, key=lambda each: (int(each.partition("-")[0]), each), default=None)

    def put(self, document: dict[str, Any]) -> str | None:
        """The new revision, or None at a conflict."""
        base = document.get("_rev")
        if base is None and self.alive():
            return None
        if base is not None and base not in self.alive():
            return None
        return self.grow(base or self.winner(), document)

    def grow(self, parent: str | None, document: dict[str, Any]) -> str:
        self.made += 1
        revision = f"{int((parent or '0').partition('-')[0]) + 1}-{self.made:04x}"
        self.parents[revision] = parent
        self.bodies[revision] = {**document, "_rev": revision}
        if document.get("_deleted"):
            self.deleted.add(revision)
        return revision

    def compact(self) -> None:
        """Only leaves keep their bodies."""
        self.bodies = {each: body for each, body in self.bodies.items() if each in self.leaves()}

    def read(self, limit: int = 1000) -> list[Leaf]:
        found = []
        for leaf in self.leaves():
            ids, each = [], leaf
            while each is not None and len(ids) < limit:
                ids.append(each.partition("-")[2])
                each = self.parents[each]  # type: ignore[assignment]
            history = {"start": int(leaf.partition("-")[0]), "ids": ids}
            found.append(Leaf({**self.bodies[leaf], "_revisions": history}, leaf))
        return found or [Leaf(None, None, "not_found", "missing")]


def judged(tree: Tree, document: dict[str, Any], limit: int = 1000) -> Verdict:
    evidence = Evidence(document, tree.read(limit))
    evidence.learn([Leaf(tree.bodies.get(each), each) for each in evidence.unread])
    return evidence.verdict()


def step(tree: Tree, kind: str, ours: dict[str, Any] | None = None) -> str | None:
    """What a writer does, or CouchDB; the new revision where a copy of ours is stored."""
    leaf, other = tree.winner(), marked({"_id": "x", "by": tree.made})
    if kind == "ours":
        return tree.put(ours) if ours else None
    if kind == "compact":
        tree.compact()
    elif kind == "create":
        tree.put(marked(other, new=True))
    elif leaf in tree.alive() and kind == "branch":  # as replication brings it, from somebody who has read the parent
        parent = tree.parents[leaf or ""]
        if parent is None or parent in tree.bodies:
            tree.grow(parent, marked({**tree.bodies.get(parent or "", {"_id": "x"}), "by": tree.made}, new=not parent))
    elif leaf in tree.alive():
        written = marked({**tree.bodies[leaf or ""], "by": tree.made})
        tree.put({**written, "_deleted": True} if kind == "delete" else written)
    return None


STEPS = st.lists(st.sampled_from(["update", "ours", "delete", "branch", "create", "compact"]), max_size=9)


@settings(max_examples=300)
@given(
    before=st.one_of(STEPS, STEPS.map(lambda steps: ["create", *steps])),
    after=STEPS,
    new=st.booleans(),
    cut=st.sampled_from([1000, 1, 2, 3]),
)
def test_the_verdict_is_the_truth_or_that_it_cannot_be_known(
    before: list[str], after: list[str], new: bool, cut: int
) -> None:
    """Over random histories: landed if and only if it did, pending only if it still can, beaten only if it never will.

    Contested is what stands as a leaf beside others. Unknown is said only where bodies are gone or the history was cut
    off, or where others created the document again over a tombstone.
    """
    tree = Tree()
    for each in before:
        step(tree, each)
    base = tree.winner()
    if base is None or base in tree.deleted:
        new = True
    document = marked({"_id": "x", "ours": True} if new else {**tree.bodies[base or ""], "ours": True}, new=new)
    landed = [revision for each in after if (revision := step(tree, each, document))]
    verdict = judged(tree, document, cut)
    possible = not landed and (not tree.alive() if new else base in tree.alive())
    if verdict.standing is Standing.CONTESTED:
        assert verdict.revision in landed
        assert verdict.revision in tree.alive()
        assert {each["_rev"] for each in verdict.others} <= set(tree.alive()) - {verdict.revision}
    elif verdict.standing is Standing.LANDED:
        # Or the document's very first revision, which was created anew: no later one can be taken for it.
        assert landed
        assert verdict.revision in landed or verdict.revision.startswith("1-")
    elif verdict.standing is Standing.UNKNOWN:
        assert "compact" in before + after or cut < 1000
    elif new and "delete" in after:
        # What was created, deleted, created again by others and compacted may be taken for never created.
        assert not landed or "create" in after
    else:
        assert not landed
        assert possible is (verdict.standing is Standing.PENDING)


def grown(*tokens: str | None) -> tuple[Tree, list[str]]:
    """A document of so many revisions, each written with the token given."""
    tree, made = Tree(), []
    for token in tokens:
        made.append(tree.grow(made[-1] if made else None, {"_id": "x", **({WRITE_PROPERTY: token} if token else {})}))
    return tree, made


def test_a_token_is_found_under_later_writes() -> None:
    """While its revision can be read."""
    tree, made = grown("a", "a.b", "a.c", "a.d")
    ours = {"_id": "x", "_rev": made[0], WRITE_PROPERTY: "a.b"}
    assert judged(tree, ours) == Verdict(Standing.LANDED, made[1], continued=True)
    tree.compact()
    assert judged(tree, ours).standing is Standing.UNKNOWN


def test_where_nothing_was_read_under_the_base_nobody_knows() -> None:
    """CouchDB keeps a bounded number of revisions of a document."""
    tree, made = grown("a", "a.b", "a.c", "a.d")
    assert judged(tree, {"_id": "x", "_rev": made[0], WRITE_PROPERTY: "a.z"}, limit=2).standing is Standing.UNKNOWN
    assert judged(tree, {"_id": "x", "_rev": made[1], WRITE_PROPERTY: "a.z"}, limit=2).standing is Standing.BEATEN
    ours = {"_id": "x", "_rev": made[2], WRITE_PROPERTY: "a.d"}
    assert judged(tree, ours, limit=1) == Verdict(Standing.LANDED, made[3])


def test_an_older_document_of_a_unique_id_is_told_by_its_creation() -> None:
    """However much of its history is gone; one without tokens says nothing once it is gone."""
    ours = {"_id": "x", WRITE_PROPERTY: "z"}
    for first, known in (("a", Standing.BEATEN), (None, Standing.UNKNOWN)):
        tree, _ = grown(first, f"{first}.b" if first else None)
        tree.compact()
        assert judged(tree, ours).standing is known


def test_without_tokens_bodies_are_compared() -> None:
    """As JSON: neither 1 and 1.0 nor 1 and true are the same; attachments by their digests."""
    document: dict[str, Any] = {"_id": "x", "n": 1, "_attachments": {"a": {"stub": True, "digest": "md5-x"}}}
    for other, same in (
        ({**document}, True),
        ({**document, "_attachments": {"a": {"stub": True, "digest": "md5-x", "revpos": 3}}}, True),
        ({**document, "_attachments": {"a": {"stub": True, "digest": "md5-y"}}}, False),
        ({**document, "n": 1.0}, False),
        ({**document, "n": True}, False),
        ({**document, "_deleted": True}, False),
    ):
        tree = Tree()
        revision = tree.grow(None, other)
        assert (judged(tree, document) == Verdict(Standing.LANDED, revision)) is same


def test_a_base_that_is_still_a_leaf_does_not_prove_that_the_write_landed() -> None:
    """The stored body equals the one to write, but a write that changes nothing still makes a new revision."""
    tree = Tree()
    document = {"_id": "x", "n": 1}
    base = tree.grow(None, document)
    assert judged(tree, {**document, "_rev": base}).standing is Standing.PENDING


def test_a_token_names_the_creation_and_the_latest_write() -> None:
    """Each write has another; a copy of a document does not inherit its origin's; what is no token is overwritten."""
    created = marked({"_id": "x"}, new=True)
    first = created[WRITE_PROPERTY]
    second = marked(created)[WRITE_PROPERTY]
    third = marked({WRITE_PROPERTY: second})[WRITE_PROPERTY]
    assert len(first) == 12
    assert [each.partition(".")[0] for each in (second, third)] == [first, first]
    assert len({first, second, third, marked(created, new=True)[WRITE_PROPERTY]}) == 4
    for junk in (7, None, ["a"], "x" * 10_000):
        assert len(marked({WRITE_PROPERTY: junk})[WRITE_PROPERTY]) <= 25
    assert unmarked(created) == {"_id": "x"}


def test_no_property_can_have_the_name_of_the_token() -> None:
    """It would be overwritten."""
    with pytest.raises(ModelDefinitionError, match="token"):

        class Taken(Model, type="taken_v1.0"):
            tornado_couch_write: str


def test_a_creation_is_known_by_its_token_however_often_others_wrote_since() -> None:
    """The first revision may be far back, and CouchDB may have forgotten its body."""
    ours = marked({"_id": "a", "type": "t_v1.0"}, new=True)
    token = ours[WRITE_PROPERTY]
    many = [f"{number}-{number:032x}" for number in range(60, 0, -1)]
    leaf = {"_id": "a", "_rev": many[0], WRITE_PROPERTY: f"{token}.{'x' * len(token)}",
            "_revisions": {"start": 60, "ids": [each.partition("-")[2] for each in many]}}  # fmt: skip
    evidence = Evidence(ours, [Leaf(leaf, many[0])])
    evidence.learn([])
    assert evidence.verdict() == Verdict(Standing.LANDED, many[-1])


@pytest.mark.parametrize("contended", [False, True])
def test_what_was_merged_in_is_kept_for_a_while(contended: bool) -> None:
    """The operations of another leaf are not the first that the next writes forget, however full the list is."""
    one = marked({"_id": "a"}, new=True)
    for _ in range(60):
        one = marked(one, contended=contended)
    other = marked(one, contended=contended)
    leaves = [{**marked(one), "_rev": "63-a"}, {**other, "_rev": "63-b"}]
    merged = {**one, WRITE_PROPERTY: merged_mark(leaves)}
    for _ in range(5):
        merged = marked(merged, contended=contended)
        assert operation(other) in operations(merged)
        assert len(merged[WRITE_PROPERTY]) <= 340
    for _ in range(100):
        merged = marked(merged, contended=contended)
    assert len(operations(merged)) <= (50 if contended else 18)
