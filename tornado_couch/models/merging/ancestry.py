"""Which revisions a merge has to take together, and over which ancestors; pure.

CouchDB's tree gives each revision one parent. A merged revision has several, though: the leaf that it was written
upon, and those that were deleted for it. The document says so itself, in the member `tornado_couch_merge`:

    {"parents": ["4-c1…", "4-07…"], "earlier": ["2-9a…"], "by": "rules"}

`parents` are the leaves of this merge, that which it was written upon first; `earlier` those of merges before it.
Whoever changes the document keeps the member, and so does the tombstone of a leaf that was merged. So a change that
reaches a leaf after that leaf was merged elsewhere counts once: its ancestor is the leaf, not what the leaf came from.

`by` says what it followed from: "rules", from its parents, their ancestors and the rules alone; "leaves", from its
parents alone, since an ancestor could not be read; "hand", from what somebody decided. Two by rules with the same
parents are one and the same, whatever became of their contents, so that merges never have to be merged without end;
and one by leaves is part of whatever has its parents.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Literal, NamedTuple, TypeGuard

from ...revision import is_revision, rank
from .rules import ABSENT, UNKNOWN, Gap

__all__ = ["MERGE_PROPERTY", "Ancestry", "Join", "MergedBy", "Plan", "merge_record"]

MERGE_PROPERTY = "tornado_couch_merge"
"""The member of a stored document that names what was merged into it; no model's property."""

_EARLIER_AT_MOST = 100  # revisions of earlier merges that a document names: those that are left out are old
_DEEPEST = 16  # merges of ancestors of ancestors

Document = Mapping[str, Any]
MergedBy = Literal["rules", "leaves", "hand"]


@dataclass(frozen=True)
class Join:
    """Two revisions, or what was merged of some, to be merged.

    Attributes:
        one: the side that wins.
        other: the other side.
        base: what both go back to; `ABSENT` where they have nothing in common, `UNKNOWN` where nobody can tell.
    """

    one: Plan
    other: Plan
    base: Plan | Gap

    @property
    def ancestors(self) -> set[str]:
        """The revisions whose contents are needed as ancestors."""
        found = set() if isinstance(self.base, Gap) else _revisions(self.base)
        for side in (self.one, self.other):
            if isinstance(side, Join):
                found |= side.ancestors
        return found

    @property
    def is_sure(self) -> bool:
        """Whether every ancestor is known."""
        parts = (each for each in (self.one, self.other, self.base) if isinstance(each, Join))
        return self.base is not UNKNOWN and all(each.is_sure for each in parts)


Plan = str | Join
"""A revision, or a merge."""


def _revisions(plan: Plan) -> set[str]:
    if isinstance(plan, str):
        return {plan}
    return plan.ancestors | _revisions(plan.one) | _revisions(plan.other)


class _Record(NamedTuple):
    """What a document says of the merge that it goes back to."""

    parents: list[str]
    earlier: list[str]
    by: str


def _recorded(document: Document) -> _Record | None:
    held = document.get(MERGE_PROPERTY)
    held = held if isinstance(held, dict) else {}
    parents, earlier = held.get("parents"), held.get("earlier")
    if _are_revisions(parents) and parents and _are_revisions(earlier):
        return _Record(parents, earlier, str(held.get("by")))
    return None


def _are_revisions(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(each, str) and is_revision(each) for each in value)


def merge_record(leaves: Sequence[Document], deleted: Iterable[Document], *, by: MergedBy) -> dict[str, Any]:
    """What a merged document says of the leaves that it was made of.

    Args:
        leaves: that which it is written upon first.
        deleted: the document's leaves that are deleted.
        by: what it followed from.
    """
    parents = [each["_rev"] for each in leaves]
    records = [found for each in leaves if (found := _recorded(each))]
    before = {revision for each in records for some in (each.parents, each.earlier) for revision in some}
    # What a tombstone goes on to tell need not be told again; the first leaf's own record ends here.
    told = Ancestry([*deleted, *leaves[1:]])
    covered = {old for each in {*before, *parents[1:]} for old in told.path(each) if old != each}
    earlier = sorted(before - covered - set(parents), key=rank, reverse=True)[:_EARLIER_AT_MOST]
    return {"parents": parents, "earlier": earlier, "by": by}


class Ancestry:
    """What is known of the ancestors of a document's revisions.

    Args:
        documents: leaves, deleted ones too, and older revisions, with `_rev` and `_revisions`.
    """

    def __init__(self, documents: Iterable[Document] = ()) -> None:
        self._parents: dict[str, set[str]] = {}
        self._merges: dict[str, _Record] = {}  # by the revision that was made
        self._forget()
        for each in documents:
            self.learn(each)

    def learn(self, document: Document) -> None:
        """Take in what a revision says of its ancestors."""
        start, digests = document["_revisions"]["start"], document["_revisions"]["ids"]
        path = [f"{start - index}-{digest}" for index, digest in enumerate(digests)]
        for revision, parent in pairwise(path):
            self._parents.setdefault(revision, set()).add(parent)
        record = _recorded(document)
        if record:
            # The merged revision may be an older one, of which this one kept the member.
            made = next((one for one, parent in pairwise(path) if parent == record.parents[0]), None)
            self._parents.setdefault(made or path[0], set()).update(record.parents, record.earlier)
            if made:
                self._merges[made] = record
        self._forget()

    def contain(self, revision: str, other: str) -> None:
        """Take in that a revision has everything that another one has, whatever their places in the history."""
        self._parents.setdefault(revision, set()).add(other)
        self._forget()

    def _forget(self) -> None:
        """Let what was worked out so far be worked out anew."""
        self.path = cache(self._path)
        self.ancestors = cache(self._ancestors)

    def _path(self, revision: str) -> frozenset[str]:
        """A revision and all that it goes back to."""
        found, todo = {revision}, [revision]
        while todo:
            new = self._parents.get(todo.pop(), set()) - found
            found |= new
            todo += new
        return frozenset(found)

    def _ancestors(self, revision: str) -> frozenset[str]:
        """A revision, all that it goes back to, and merges that add nothing to these."""
        found = set(self.path(revision))
        while more := [made for made, record in self._merges.items() if self._adds_nothing(made, record, found)]:
            found.update(more)
        return frozenset(found)

    def _adds_nothing(self, made: str, record: _Record, found: set[str]) -> bool:
        if made in found or record.by == "hand" or not found.issuperset(record.parents):
            return False
        if record.by == "leaves":
            return True
        # It may have more than one by leaves, which did not know the ancestors.
        others = (each for each, other in self._merges.items() if each in found and other.by != "leaves")
        return any(self.path(each).issuperset(record.parents) for each in others)

    def heads(self, revisions: Iterable[str]) -> list[str]:
        """Those that are not part of another one, the winning one first."""
        left = sorted(revisions, key=rank)
        for each in list(left):
            if any(other != each and each in self.ancestors(other) for other in left):
                left.remove(each)
        return left[::-1]

    def plan(self, heads: Sequence[str]) -> Plan:
        """How to merge some revisions into one, always the same for the same revisions.

        What it needs as ancestors may know of further ones: read them, `learn` of them, and plan again.
        """
        return self._plan(tuple(heads), _DEEPEST)

    def _plan(self, heads: tuple[str, ...], depth: int) -> Plan:
        merged: Plan = heads[0]
        known = self.ancestors(heads[0])
        for head in heads[1:]:
            others = self.ancestors(head)
            merged = Join(merged, head, self._base(known, others, depth))
            known |= others
        return merged

    def _base(self, known: frozenset[str], others: frozenset[str], depth: int) -> Plan | Gap:
        common = known & others
        if not common:
            # CouchDB forgets old revisions (`_revs_limit`): only one of generation 1 has certainly none before it.
            whole = all(each in self._parents or rank(each)[0] == 1 for each in known | others)
            return ABSENT if whole else UNKNOWN
        # The latest of what they have in common; several where merges crossed each other.
        latest: list[str] = []
        covered: set[str] = set()
        for each in sorted(common, key=rank, reverse=True):
            if each not in covered:
                latest.append(each)
                covered |= self.ancestors(each)
        if len(latest) > 1 and depth == 0:
            return UNKNOWN
        return self._plan(tuple(latest), depth - 1)
