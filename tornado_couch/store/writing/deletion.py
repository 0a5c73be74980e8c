"""Deleting a document so that nothing of it lives on: its conflicting revisions as well.

CouchDB deletes one revision. Where a document is in conflict, another leaf then becomes the winning revision, and a
read finds the document again (CouchDB documentation, "Replication and conflict model"). So the winning revision is
deleted first, alone, since it decides whether this deletion is made at all; then every other leaf that lives.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...couch import Access
from ...errors import Conflict, CouchError, InvalidSignature, OutcomeUnknown
from ..protection.signatures import Guard
from .proof import history
from .retry import Retry
from .writer import Writer

__all__ = ["Eraser"]

Document = dict[str, Any]


class Eraser:
    """Deletes documents of one database.

    Args:
        access: the way to the documents.
        guard: signs the tombstones, and verifies the leaves that no read has seen.
        writer: carries out the writes.
        retry: how often the leaves are looked at again.
    """

    def __init__(self, access: Access, guard: Guard, writer: Writer, retry: Retry) -> None:
        self._access = access
        self._guard = guard
        self._writer = writer
        self._retry = retry

    async def erase(self, document: Mapping[str, Any]) -> None:
        """Delete a document that was read with its `_conflicts`, where it has any.

        Raises:
            Conflict: its revision is not the winning one any more; nothing was deleted.
            InvalidSignature: a leaf is not what was written there; nothing was deleted.
            OutcomeUnknown: it may have been deleted, or was, but not all of its leaves.
        """
        await self.check(document)
        await self.finish(document, await self._writer.put(self.tombstone(document)))

    def tombstone(self, document: Mapping[str, Any]) -> Document:
        """What to write to delete one revision."""
        return self._guard.tombstone(self._writer.marked(document))

    async def check(self, document: Mapping[str, Any]) -> None:
        """Refuse to delete where a losing leaf does not verify: that would be the end of the evidence.

        Raises:
            InvalidSignature: one does not.
        """
        if document.get("_conflicts"):
            await self._live(document["_id"], set())

    async def finish(self, document: Mapping[str, Any], tombstone: str) -> None:
        """Delete the other leaves of a document whose winning revision has become a tombstone.

        Raises:
            OutcomeUnknown: some may be left; another of them is the winning revision then.
        """
        if not document.get("_conflicts"):
            return
        try:
            finished = await self._finished(document["_id"], {tombstone})
        except (CouchError, InvalidSignature) as error:
            raise OutcomeUnknown("a document in conflict was deleted, but not all of its revisions") from error
        if not finished:
            raise OutcomeUnknown("a document in conflict was deleted, and new revisions of it kept coming")

    async def _finished(self, document_id: str, made: set[str]) -> bool:
        for _ in range(self._retry.attempts):
            # Looked at again after each time: where there are conflicts, replication may be bringing more.
            live = await self._live(document_id, made)
            if not live:
                return True
            for outcome in await self._writer.put_many([self.tombstone(each) for each in live]):
                if isinstance(outcome, str):
                    made.add(outcome)
                elif not isinstance(outcome, Conflict):
                    raise outcome
        return False

    async def _live(self, document_id: str, made: set[str]) -> Sequence[Document]:
        """The leaves that live, verified; without those upon a tombstone of ours: that is a new document."""
        leaves = await self._access.leaves(document_id, revs=True, every=True)
        found = [each.document for each in leaves if each.document and not each.document.get("_deleted")]
        return [self._verified(each) for each in found if made.isdisjoint(history(each))]

    def _verified(self, document: Document) -> Document:
        if not self._guard.history:
            document = {name: value for name, value in document.items() if name != "_revisions"}
        return self._guard.verified(document)
