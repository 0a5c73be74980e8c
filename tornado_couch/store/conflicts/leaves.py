"""Reads the leaves of a document, that is its conflicting revisions, and verifies their signatures."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from ...couch import Database, Leaf
from ...errors import DocumentNotFound, InvalidSignature
from ...models import Ancestry, MergedBy, Model, collection_view, merge_record, model_info
from ..protection.signatures import Guard
from ..reading.bearing import bearing
from ..reading.room import read_in_room
from ..writing.tokens import history, operation, redone

__all__ = ["LeafReader", "LeafSet", "as_stored"]

Document = dict[str, Any]


@dataclass(frozen=True)
class LeafSet:
    """The leaves of a document as they were read.

    Attributes:
        id: the document's id.
        documents: the leaves that are not deleted and verify, as they are stored; the winning one first.
        revisions: the revisions of all leaves that are not deleted, the winning one first.
        unverified: for each other leaf that is not deleted, by revision, why it cannot be trusted; for the winning one
            also if a leaf that does not verify may stand in the place of the latest revision.
        deleted: the deleted leaves that verify, with `_revisions`.
        histories: the `_revisions` of the leaves that are not deleted, by revision.
        ancestry: how all leaves that verify descend from each other.
        outdone: the leaves that are attempts at a change which a leaf that they win over contains. Its writer may
            withdraw that one because of them, so that they must be merged and not deleted for it.
        withdrawn: attempts that were withdrawn after another leaf was merged of them, as they were before.
    """

    id: str
    documents: list[Document]
    revisions: list[str]
    unverified: dict[str, InvalidSignature] = field(default_factory=dict)
    deleted: list[Document] = field(default_factory=list)
    histories: dict[str, Any] = field(default_factory=dict)
    ancestry: Ancestry = field(default_factory=Ancestry)
    outdone: set[str] = field(default_factory=set)
    withdrawn: list[Document] = field(default_factory=list)

    @property
    def tag(self) -> str:
        """A tag that changes whenever a leaf is added, removed or replaced."""
        return hashlib.sha256(" ".join(sorted(self.revisions)).encode()).hexdigest()[:32]

    @property
    def heads(self) -> list[str]:
        """The revisions that no other one contains, the winning one first."""
        found = {*self.ancestry.heads(self.revisions), *self.outdone}
        return [each for each in self.revisions if each in found]

    def record(self, revisions: list[str], *, by: MergedBy) -> Document:
        """The record that goes into a document merged from these leaves; see `merge_record`."""
        leaves = [{**self.document(each), "_revisions": self.histories[each]} for each in revisions]
        return merge_record(leaves, self.deleted, by=by)

    def document(self, revision: str) -> Document:
        """The leaf with this revision."""
        return next(each for each in self.documents if each["_rev"] == revision)

    def learn(self, ancestor: Document) -> None:
        """Take in what an older revision, with `_revisions`, says of its own ancestors."""
        self.ancestry.learn(ancestor)
        self._learn_withdrawn(ancestor)

    def learn_withdrawn(self, live: Sequence[Document]) -> dict[str, set[str]]:
        """Take in which leaves contain an attempt that was withdrawn after another leaf was merged of it.

        Args:
            live: the leaves that are not deleted and verify, with `_revisions`.

        Returns:
            The operations of these attempts, by the revisions of the leaves.
        """
        written = {revision for each in live for revision in history(each)}
        merged = {revision for each in live for revision in self.ancestry.path(each["_rev"])} - written
        self.withdrawn.extend(each for each in map(_before_deletion, self.deleted) if each["_rev"] in merged)
        return {each["_rev"]: self._learn_withdrawn(each) for each in live}

    def _learn_withdrawn(self, document: Document) -> set[str]:
        found = set()
        known = self.ancestry.path(document["_rev"])
        for gone in self.withdrawn:
            for revision in redone(gone, document) if gone["_rev"] not in known else ():
                self.ancestry.contain(document["_rev"], revision)
                found.add(operation(gone))
        return found


class LeafReader:
    """Reads leaves from one database.

    Args:
        database: where the documents are.
        guard: verifies them.
    """

    def __init__(self, database: Database, guard: Guard) -> None:
        self._database = database
        self._guard = guard

    async def read(self, document_id: str) -> LeafSet:
        """Read the leaves of a document; the set is empty if the document is missing or deleted."""
        found = await read_in_room(document_id, lambda: self._leaves(document_id))
        judged = self._guard.weighed([each.document for each in found if each.document is not None])
        live = [each for each in judged.documents if not each.get("_deleted")]
        unverified = {each["_rev"]: judged.faults[each["_rev"]] for each in live if each["_rev"] in judged.faults}
        if live and judged.withheld:
            unverified.setdefault(live[0]["_rev"], judged.withheld)
        documents = [as_stored(each) for each in live if each["_rev"] not in unverified]
        deleted = [each for each in judged.documents if each.get("_deleted") and each["_rev"] not in judged.faults]
        revisions = [each["_rev"] for each in live]
        histories = {each["_rev"]: each["_revisions"] for each in live}
        # Only a leaf that verifies may claim that it contains another one.
        result = LeafSet(document_id, documents, revisions, unverified, deleted, histories)
        trusted = [each for each in live if each["_rev"] not in unverified]
        for each in [*deleted, *trusted]:
            result.ancestry.learn(each)
        settled = result.learn_withdrawn(trusted) if len(trusted) > 1 else {}
        for first, second in combinations(trusted, 2):
            # Where each has done again what the other one did, the winning one has the say.
            there = redone(second, first, settled[second["_rev"]])
            for revision in there or redone(first, second, settled[first["_rev"]]):
                result.ancestry.contain((first if there else second)["_rev"], revision)
                if revision == first["_rev"]:
                    result.outdone.add(revision)
        return result

    async def _leaves(self, document_id: str) -> tuple[list[Leaf], int]:
        (leaves,), size = await self._database.bulk_get_within([document_id], None, revs=True)
        return leaves, size

    async def find(self, cls: type[Model], key: Any) -> LeafSet:
        """Read the leaves of the document with a key.

        Raises:
            DocumentNotFound: the document does not exist, or it is deleted.
            InvalidSignature: the winning leaf is not what was written there.
        """
        info = model_info(cls)
        for document_id in await self._likely_ids(cls, key):
            found = await self.read(document_id)
            winner = found.revisions[0] if found.revisions else None
            if winner in found.unverified:
                raise found.unverified[winner]
            if winner is not None and bearing(self._database, cls, key, found.document(winner)) is not None:
                return found
        raise DocumentNotFound(f"there is no {info.type.name} with that key")

    async def _likely_ids(self, cls: type[Model], key: Any) -> list[str]:
        info = model_info(cls)
        certain = info.document_id(key)
        if certain is not None:
            return [] if certain.startswith("_") else [certain]
        view = collection_view(cls)
        rows = (await self._database.view(view, view, key=info.view_key(key), limit=1, reduce=False)).rows
        # A generated key is the id, but for documents from elsewhere.
        first = [str(key)] if info.key and info.key.generated and not str(key).startswith("_") else []
        return [*first, *(row.id for row in rows if row.id and row.id not in first)]


def _before_deletion(tombstone: Document) -> Document:
    """What an attempt was before it was withdrawn, as far as it takes to know it: it had the token of its tombstone."""
    start, ids = tombstone["_revisions"]["start"] - 1, tombstone["_revisions"]["ids"][1:]
    return {**tombstone, "_rev": f"{start}-{ids[0] if ids else ''}", "_revisions": {"start": start, "ids": ids}}


def as_stored(document: Document) -> Document:
    """A copy of a document without the members that CouchDB adds to an answer."""
    kept = ("_id", "_rev", "_attachments")
    return {name: value for name, value in document.items() if not name.startswith("_") or name in kept}
