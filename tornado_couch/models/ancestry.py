"""Which revisions a merge has to take together, and over which ancestors; pure.

CouchDB's tree gives each revision one parent. A merged revision has several, though: the leaf that it was written
upon, and those that were deleted for it. The document says so itself, in the member `tornado_couch_merge`:

    {"parents": ["4-c1…", "4-07…"], "earlier": ["2-9a…"], "rules": true}

`parents` are the leaves of this merge, that which it was written upon first; `earlier` those of merges before it.
Whoever changes the document keeps the member. So a change that reaches a leaf after that leaf was merged elsewhere
counts once: its ancestor is the leaf, not what the leaf itself came from.

`rules` says that the merge followed from its parents alone. Two of these with the same parents are one and the same,
whatever became of their contents, so that merges never have to be merged without end.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, TypeGuard

from .merge import ABSENT, UNKNOWN, Gap

__all__ = ["MERGE_PROPERTY", "Ancestry", "Join", "Plan", "merge_record", "rank"]

MERGE_PROPERTY = "tornado_couch_merge"
"""The member of a stored document that names what was merged into it; no model's property."""

_EARLIER_AT_MOST = 64  # revisions of earlier merges that a document names: those that are left out are old
_DEEPEST = 16  # merges of ancestors of ancestors

Document = Mapping[str, Any]


def rank(revision: str) -> tuple[int, str]:
    """By what leaves are ordered: the greatest one wins (CouchDB documentation, "Replication and conflict model")."""
    generation, _, digest = revision.partition("-")
    return int(generation), digest


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


Plan = str | Join
"""A revision, or a merge."""


def _revisions(plan: Plan) -> set[str]:
    if isinstance(plan, str):
        return {plan}
    return plan.ancestors | _revisions(plan.one) | _revisions(plan.other)


def _recorded(document: Document) -> tuple[list[str], list[str], bool]:
    """Parents, earlier ones, and whether rules made it, of a document that names them properly."""
    held = document.get(MERGE_PROPERTY)
    held = held if isinstance(held, dict) else {}
    parents, earlier = held.get("parents"), held.get("earlier", [])
    if _are_revisions(parents) and _are_revisions(earlier):
        return parents, earlier, held.get("rules") is True
    return [], [], False


def _are_revisions(value: object) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(each, str) and _is_revision(each) for each in value)


def _is_revision(text: str) -> bool:
    generation, dash, digest = text.partition("-")
    return bool(dash and digest) and generation.isdecimal() and generation.isascii() and len(generation) <= 18


def merge_record(leaves: Sequence[Document], *, rules: bool) -> dict[str, Any]:
    """What a merged document says of the leaves that it was made of.

    Args:
        leaves: that which it is written upon first.
        rules: it follows from the leaves and the rules alone.
    """
    parents = [each["_rev"] for each in leaves]
    before = {revision for each in leaves for some in _recorded(each)[:2] for revision in some}
    earlier = sorted(before - set(parents), key=rank, reverse=True)[:_EARLIER_AT_MOST]
    return {"parents": parents, "earlier": earlier, "rules": rules}


class Ancestry:
    """What is known of the ancestors of a document's revisions.

    Args:
        leaves: all leaves, deleted ones too, with `_rev` and `_revisions`.
    """

    def __init__(self, leaves: Iterable[Document]) -> None:
        self._parents: dict[str, list[str]] = {}
        self._by_rules: dict[str, frozenset[str]] = {}  # merged revisions, and what they were merged of
        for leaf in leaves:
            self._add(leaf)
        self.ancestors = cache(self._ancestors)

    def _add(self, leaf: Document) -> None:
        start, digests = leaf["_revisions"]["start"], leaf["_revisions"]["ids"]
        path = [f"{start - index}-{digest}" for index, digest in enumerate(digests)]
        for revision, parent in pairwise(path):
            self._parents.setdefault(revision, []).append(parent)
        parents, earlier, rules = _recorded(leaf)
        if not parents:
            return
        # The merged revision itself may be an older one, of which this one kept the member.
        made = next((one for one, parent in pairwise(path) if parent == parents[0]), None)
        self._parents.setdefault(made or path[0], []).extend([*parents, *earlier])
        if rules and made:
            self._by_rules[made] = frozenset(parents)

    def _ancestors(self, revision: str) -> frozenset[str]:
        """A revision, all that it goes back to, and merges that add nothing to these."""
        found, todo = {revision}, [revision]
        while todo:
            new = set(self._parents.get(todo.pop(), [])) - found
            found |= new
            todo += new
        while more := [made for made, parents in self._by_rules.items() if made not in found and parents <= found]:
            found.update(more)
        return frozenset(found)

    def heads(self, revisions: Iterable[str]) -> list[str]:
        """Those that are not part of another one, the winning one first."""
        left = sorted(revisions, key=rank)
        for each in list(left):
            if any(other != each and each in self.ancestors(other) for other in left):
                left.remove(each)
        return left[::-1]

    def plan(self, heads: Sequence[str]) -> Plan:
        """How to merge some revisions into one, always the same for the same revisions."""
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
