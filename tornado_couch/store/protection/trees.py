"""Judges what stands in a document: all of its leaves together, and not only the one that CouchDB serves.

A leaf is *proved* if its signature verifies, also for its revision and its parent. Somebody with access to the database
but without keys can plant a proved revision a second time: upon another path, or after CouchDB has forgotten it
(`_revs_limit`). So a leaf that an other proved leaf descends from, or may descend from as far as its history is known,
counts as put back; and where a tree has a leaf of scheme v3, those of older schemes prove nothing.

A document must not be served if its winning leaf is not proved, or if another leaf of a higher generation is not: that
one may stand in the place of what the service wrote last. Nor does it count as deleted if any leaf is not what a
service wrote there: whatever that one replaced would have won.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import InvalidSignature, SignatureFault
from ...revision import generation, rank
from ...security import Scheme, scheme_of

__all__ = ["CLEARED_PROPERTY", "Judgement", "in_order", "judge", "need_histories", "path_of"]

Document = dict[str, Any]

CLEARED_PROPERTY = "tornado_couch_cleared"
"""In a signed tombstone: it stands upon a leaf that was not proved, so what is missing of its history says nothing."""


@dataclass(frozen=True)
class Judgement:
    """What the leaves of a document are worth.

    Attributes:
        documents: the leaves in CouchDB's order, the winning one first; each revision once.
        faults: for each leaf that does not count, by revision, why.
        withheld: why the document must not be served; None if it may.
    """

    documents: list[Document]
    faults: dict[str, InvalidSignature] = field(default_factory=dict)
    withheld: InvalidSignature | None = None


def judge(leaves: Iterable[Document], verify: Callable[[Document], object]) -> Judgement:
    """Judge the leaves of a document.

    Args:
        leaves: all of them, tombstones as well; with `_revisions` if they `need_histories`.
        verify: raises InvalidSignature unless a leaf, taken by itself, is what a holder of the keys wrote there.
    """
    documents: dict[str, Document] = {}
    faults: dict[str, InvalidSignature] = {}
    paths: dict[str, list[Sequence[str]]] = {}
    for each in leaves:
        revision = each["_rev"]
        fault = _fault(each, verify)
        # A revision can be a leaf of several paths, of which one is its own.
        if revision not in documents or (fault is None and revision in faults):
            documents[revision] = each
            faults.pop(revision, None)
            if fault is not None:
                faults[revision] = fault
        paths.setdefault(revision, []).append(path_of(each))
    planted = set(faults)
    if len(documents) > 1:
        faults |= _older_schemes([each for each in documents.values() if each["_rev"] not in faults])
        cleared = {revision for revision, each in documents.items() if each.get(CLEARED_PROPERTY)}
        if all("_revisions" in each for each in documents.values()):
            faults |= _put_back({each: paths[each] for each in documents if each not in faults}, cleared)
    ordered = in_order(documents.values())
    return Judgement(ordered, faults, _reason(ordered, faults, planted))


def need_histories(leaves: Sequence[Document]) -> bool:
    """Whether only the `_revisions` of a document's leaves tell which of them may be served.

    They do not if scheme v3 signed all of them, and if the winning leaf has the highest generation and none beside it
    lives: each leaf proves its parent, no other one can have replaced the winning one, and a tombstone that was put
    back hides nothing.
    """
    if len(leaves) < 2 or any("_revisions" in each for each in leaves):
        return False
    first, *others = in_order(leaves)
    return (
        len({each["_rev"] for each in leaves}) < len(leaves)
        or any(scheme_of(each) is not Scheme.V3 for each in leaves)
        or any(not each.get("_deleted") or generation(each["_rev"]) > generation(first["_rev"]) for each in others)
    )


def in_order(leaves: Iterable[Document]) -> list[Document]:
    """The leaves in CouchDB's order, the winning one first."""
    return sorted(leaves, key=_standing, reverse=True)


def _fault(document: Document, verify: Callable[[Document], object]) -> InvalidSignature | None:
    try:
        verify(document)
    except InvalidSignature as error:
        return error
    return None


def _older_schemes(proved: Sequence[Document]) -> dict[str, InvalidSignature]:
    newer = [each["_rev"] for each in proved if scheme_of(each) is Scheme.V3]
    return {
        each["_rev"]: _rolled_back("a revision is signed by an older scheme than others of the document")
        for each in proved
        if newer and each["_rev"] not in newer
    }


def _put_back(paths: Mapping[str, Sequence[Sequence[str]]], cleared: Collection[str]) -> dict[str, InvalidSignature]:
    return {
        revision: _rolled_back("a revision was put back that a later one has replaced")
        for revision in paths
        if any(
            _is_within(revision, others) or (other not in cleared and _may_be_before(revision, others))
            for other, others in paths.items()
            if other != revision
        )
    }


def _is_within(revision: str, paths: Sequence[Sequence[str]]) -> bool:
    return any(revision in path for path in paths)


def _may_be_before(revision: str, paths: Sequence[Sequence[str]]) -> bool:
    """Whether all of these paths end before they could show a revision."""
    return all(generation(path[-1]) > generation(revision) for path in paths)


def _reason(
    ordered: Sequence[Document], faults: Mapping[str, InvalidSignature], planted: Collection[str]
) -> InvalidSignature | None:
    if not ordered:
        return None
    winner = ordered[0]["_rev"]
    if winner in faults:
        return faults[winner]
    higher = [each for each in faults if generation(each) > generation(winner)]
    if ordered[0].get("_deleted"):
        higher += planted  # tombstones: what they stand upon lived, or may have
    if higher:
        reason = faults[max(higher, key=rank)].reason
        return InvalidSignature("a revision that does not verify may stand in the place of the latest one", reason)
    return None


def _standing(document: Mapping[str, Any]) -> tuple[bool, tuple[int, str]]:
    """A leaf that is not deleted wins over one that is; then the longer history; then the greater digest."""
    return not document.get("_deleted"), rank(document["_rev"])


def path_of(document: Mapping[str, Any]) -> list[str]:
    """A document's revision and those before it, as far as `_revisions` lists them."""
    known = document.get("_revisions")
    if known is None:
        return [document["_rev"]]
    return [f"{known['start'] - age}-{each}" for age, each in enumerate(known["ids"])]


def _rolled_back(message: str) -> InvalidSignature:
    return InvalidSignature(message, SignatureFault.ROLLED_BACK)
