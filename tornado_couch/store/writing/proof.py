"""Finds out from a document's leaves whether a write was carried out whose answer was lost or was a refusal.

A write follows the revision that it names, its *base*, and CouchDB lets one revision follow a leaf. So once another
revision follows the base, a copy of the write that is still under way can only be refused; and while the base is a
leaf, the same document can be sent again: at most one of the two copies is stored.

A token tells whether a revision is *this* write (see `tokens`). Without tokens (the documents of tor-async-couchdb have
none) the bodies are compared, and two clients that write the same body over the same base cannot be told apart. Neither
can CouchDB do that: it gives both the same revision.

In a cluster a write can be stored although CouchDB said no, or beside another one that follows the same revision: each
copy of the document takes the one that comes first. Then it is *contested*: it stands as a leaf, and another leaf that
lives follows the same revision without it. This module does no I/O.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple

from ...couch import Leaf
from ...models.merging.ancestry import MERGE_PROPERTY
from ...revision import generation, rank
from .tokens import ELSEWHERE, creation, history, latest, operation, operations, since_creation

__all__ = ["Evidence", "Standing", "Verdict", "is_beaten"]

Document = dict[str, Any]

_RECENT = 20  # how many revisions of a document to search for the one that created it

# The members that CouchDB adds to a document that is read, or changes in it.
_NOT_WRITTEN = {"_rev", "_revisions", "_revs_info", "_conflicts", "_deleted_conflicts", "_local_seq", "_attachments"}


class Standing(Enum):
    """What is known about a write."""

    LANDED = "landed"
    PENDING = "pending"  # not stored, or not yet: the revision that it follows is still a leaf
    BEATEN = "beaten"  # not stored, and it never will be: another write came first
    CONTESTED = "contested"  # stored, as a leaf beside others that follow the same revision
    WITHDRAWING = "withdrawing"  # it was contested, and its writer has sent its deletion; some copies may have that
    WITHDRAWN = "withdrawn"  # it was contested, and its writer has deleted it
    UNKNOWN = "unknown"  # CouchDB has forgotten the revisions that would show it


class Verdict(NamedTuple):
    """What is known about a write.

    Attributes:
        standing: what became of it.
        revision: the revision that it created, if it was stored.
        others: where it is contested, or somebody has written over it, the leaves that stand beside it, the winning one
            first; where it was withdrawn, the leaf that says so.
        path: where it is contested, its revision and those before it.
        continued: somebody has written over it or merged it, so that its writer cannot withdraw it any more.
    """

    standing: Standing
    revision: str | None = None
    others: tuple[Document, ...] = ()
    path: tuple[str, ...] = ()
    continued: bool = False


class Evidence:
    """What the leaves of a document show about a write.

    Args:
        document: the document that was written.
        leaves: all leaves of that document as they are now, with `_revisions`.
        stored: the revision that it certainly has on some copy, though perhaps not on those that were read.
    """

    def __init__(self, document: Mapping[str, Any], leaves: Sequence[Leaf], stored: str | None = None) -> None:
        self._document = document
        self._base: str | None = document.get("_rev")
        self._leaves = [each.document for each in leaves if each.document is not None]
        self._paths = [history(each) for each in self._leaves]
        self._bodies: dict[str, Document] = {each["_rev"]: each for each in self._leaves}
        self._stored = stored
        if stored is not None and not any(stored in path for path in self._paths):
            self._add(stored)

    @property
    def unread(self) -> list[str]:
        """The revisions that may be the write and whose bodies have not been read."""
        suspects = self._suspects()
        if self._stored or self._found(suspects) or self._kept() or self._made_by_others():
            return []
        return [each for each in suspects if each not in self._bodies]

    def learn(self, revisions: Sequence[Leaf]) -> None:
        """Add the bodies of older revisions, as far as CouchDB still has them."""
        self._bodies.update({each.document["_rev"]: each.document for each in revisions if each.document is not None})

    def verdict(self) -> Verdict:
        """Decide whether the write was carried out."""
        landed = self._stored or self._found(self._suspects()) or self._kept()
        if landed is not None:
            return self._placed(landed)
        if self._base is None:
            own = self._creation()
            return Verdict(Standing.LANDED, own) if own else Verdict(self._standing_of_creation())
        if any(path[0] == self._base for path in self._paths):
            return Verdict(Standing.PENDING)
        return Verdict(Standing.UNKNOWN if self._hidden() else Standing.BEATEN)

    def _add(self, stored: str) -> None:
        """Take in a leaf that no copy which was read has yet."""
        older = next((path[path.index(self._base) :] for path in self._paths if self._base in path), [])
        path = [stored, *(older or ([self._base] if self._base else []))]
        ids = [each.partition("-")[2] for each in path]
        leaf = {**self._document, "_rev": stored, "_revisions": {"start": generation(stored), "ids": ids}}
        # What was the leaf there is one no more.
        kept = [n for n, found in enumerate(self._paths) if found[0] != self._base]
        self._leaves = [*(self._leaves[n] for n in kept), leaf]
        self._paths = [*(self._paths[n] for n in kept), path]
        self._bodies[stored] = leaf

    def _placed(self, revision: str) -> Verdict:
        """Decide what became of this write, which was stored, among the other leaves."""
        live = [(leaf, path) for leaf, path in zip(self._leaves, self._paths, strict=True) if not _is_deleted(leaf)]
        # Only what descends from the base as well keeps what was there before.
        rivals = [leaf for leaf, path in live if revision not in path and (self._base is None or self._base in path)]
        rivals.sort(key=lambda leaf: rank(leaf["_rev"]), reverse=True)
        if any(revision in path[1:] or revision in _merged_into(leaf) for leaf, path in live):
            beside = tuple(each for each in rivals if revision not in _merged_into(each))
            return Verdict(Standing.LANDED, revision, beside, continued=True)
        if _is_deleted(self._document):
            return Verdict(Standing.BEATEN if rivals else Standing.LANDED, revision)
        own = next((path for _, path in live if path[0] == revision), None)
        if own is not None and rivals:
            return Verdict(Standing.CONTESTED, revision, tuple(rivals), tuple(own))
        for leaf, path in zip(self._leaves, self._paths, strict=True):
            if revision in path[1:2] and _is_deleted(leaf) and self._has_token(leaf):
                return Verdict(Standing.WITHDRAWN, revision, (leaf,))
        return Verdict(Standing.LANDED, revision)

    def _kept(self) -> str | None:
        """The revision of this write where a later one says that it contains it, although it cannot be read itself."""
        ours = operation(self._document)
        if self._base is None or not ours:
            return None
        for leaf, path in zip(self._leaves, self._paths, strict=True):
            own = _successor(path, self._base)
            if own is not None and own not in self._bodies and ours in operations(leaf):
                return own
        return None

    def _excluded(self, revision: str) -> bool:
        """Whether a leaf shows that a revision which cannot be read is not this write."""
        ours = operation(self._document)
        for leaf, path in zip(self._leaves, self._paths, strict=True):
            if revision in path and ours and MERGE_PROPERTY not in leaf:
                # Each write adds its own, so that those since that revision are all there.
                since = since_creation(leaf)
                return len(since) > path.index(revision) and ours not in since
        return False

    def _creation(self) -> str | None:
        """The first revision of a document that bears this creation's token, however often it changed since.

        Where it was created over tombstones that cannot be read any more, that is a revision before the creation: as
        an entity tag it matches nothing, while a later one could hide somebody else's change.
        """
        own = latest(self._document)
        pairs = zip(self._leaves, self._paths, strict=True)
        firsts = [path[-1] for leaf, path in pairs if own and creation(leaf) == own]
        return next((each for each in firsts if generation(each) == 1), None)

    def _standing_of_creation(self) -> Standing:
        alive = any(not each.get("_deleted") for each in self._leaves)
        if self._hidden() and not self._made_by_others():
            return Standing.UNKNOWN
        return Standing.BEATEN if alive else Standing.PENDING  # CouchDB creates a document again over tombstones

    def _made_by_others(self) -> bool:
        """Whether the document that is there was created by another write than this one."""
        own = latest(self._document)
        return self._base is None and bool(own) and all(creation(each) not in ("", own) for each in self._leaves)

    def _suspects(self) -> list[str]:
        """The revisions that may be the write, judged by their place in the history."""
        if self._base is None:
            return [each for path in self._paths for each in path[:_RECENT]]
        found = [_successor(path, self._base) for path in self._paths]
        return list(dict.fromkeys(each for each in found if each))

    def _hidden(self) -> bool:
        """Whether the write may be in a part of the history that can no longer be read."""
        unread = [each for each in self._suspects() if each not in self._bodies]
        if self._base is not None:
            unread = [each for each in unread if not self._excluded(each)]
        if unread:
            return True
        if self._base is None:
            return any(len(path) > _RECENT or generation(path[-1]) > 1 for path in self._paths)
        # CouchDB forgets old revisions of a path from its end (`_revs_limit`).
        return any(generation(path[-1]) > generation(self._base) + 1 for path in self._paths)

    def _found(self, revisions: Sequence[str]) -> str | None:
        return next((each for each in revisions if each in self._bodies and self._is_ours(each)), None)

    def _is_ours(self, revision: str) -> bool:
        body = self._bodies[revision]
        if _is_deleted(body) != _is_deleted(self._document):
            return False  # the deletion that withdraws a write has its token
        return self._has_token(body) if latest(self._document) else _written(body) == _written(self._document)

    def _has_token(self, body: Document) -> bool:
        token = latest(self._document)
        return bool(token) and latest(body) == token


def is_beaten(document: Mapping[str, Any], leaves: Sequence[Leaf]) -> bool:
    """Whether leaves that were read without `_revisions` show that a write, which CouchDB refused, is not there.

    They do where the only one that lives names the operations of all revisions since the one that the write follows.
    If they do not, only `Evidence` can tell.

    Args:
        document: the document that was to be written.
        leaves: all leaves of that document.
    """
    found = [each.document for each in leaves if each.document is not None]
    living = [each for each in found if not _is_deleted(each)]
    if len(living) != 1 or document.get("_rev") is None or any(latest(each) == latest(document) for each in found):
        return False
    (winner,) = living
    kept = operations(winner)
    # What was merged in is marked; then the operations do not say how many revisions there are.
    if MERGE_PROPERTY in winner or ELSEWHERE in kept or creation(winner) != creation(document):
        return False
    behind = generation(winner["_rev"]) - generation(document["_rev"])
    return 0 < behind < len(kept) and operation(document) not in kept


def _successor(path: Sequence[str], base: str) -> str | None:
    """The revision of a path that follows the base; if the path was cut off there, the one that may follow it."""
    if base in path:
        place = path.index(base)
        return path[place - 1] if place else None
    return path[-1] if generation(path[-1]) == generation(base) + 1 else None


def _is_deleted(document: Mapping[str, Any]) -> bool:
    return bool(document.get("_deleted"))


def _merged_into(leaf: Document) -> list[str]:
    record = leaf.get(MERGE_PROPERTY)
    parents = record.get("parents") if isinstance(record, dict) else None
    return parents if isinstance(parents, list) else []


def _written(document: Mapping[str, Any]) -> str:
    """The document's contents as a text that does not change when CouchDB stores it."""
    body = {name: value for name, value in document.items() if name not in _NOT_WRITTEN}
    stored = {name: entry.get("digest") for name, entry in document.get("_attachments", {}).items()}
    return json.dumps([body, stored], sort_keys=True)
