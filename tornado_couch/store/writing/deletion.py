"""Deletes a document together with its conflicting revisions, so that none of them comes back.

CouchDB deletes one revision at a time. If a document is in conflict, another leaf then becomes the winning revision,
and a read finds the document again (CouchDB documentation, "Replication and conflict model"). So the winning revision
is deleted first and alone, since it decides whether the deletion happens at all, and then every other leaf.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...couch import Access, Database
from ...errors import Conflict, CouchError, InvalidSignature, OutcomeUnknown
from ...models import ModelInfo
from ..protection.signatures import Guard, winner, winning_tombstone
from ..scopes import kept_of_deleted, scopes_in
from .tokens import history
from .writer import Retry, Writer

__all__ = ["Eraser", "scopes_of_deleted"]

Document = dict[str, Any]


class Eraser:
    """Deletes documents of one database.

    Args:
        access: reads and writes the documents.
        guard: signs the tombstones, and verifies the leaves that no read has verified.
        writer: carries out the writes.
        retry: how often to look at the leaves again.
    """

    def __init__(self, access: Access, guard: Guard, writer: Writer, retry: Retry) -> None:
        self._access = access
        self._guard = guard
        self._writer = writer
        self._retry = retry

    async def erase(self, info: ModelInfo, document: Mapping[str, Any]) -> None:
        """Delete a document, which was read with its `_conflicts` if it has any.

        Args:
            info: the model's.
            document: the document.

        Raises:
            Conflict: its revision is no longer the winning one; nothing was deleted.
            InvalidSignature: a leaf does not verify; nothing was deleted.
            OutcomeUnknown: the document may have been deleted, or was deleted, but not all of its leaves.
        """
        await self.check(document)
        await self.finish(info, document, await self._writer.put(self.tombstone(info, document)))

    def tombstone(self, info: ModelInfo, document: Mapping[str, Any]) -> Document:
        """What to write to delete one revision: it keeps what those need who follow the changes."""
        kept = kept_of_deleted(info, document) if self._writer.leaves_tokens else {}
        return self._guard.tombstone(self._writer.marked(document), kept)

    async def check(self, document: Mapping[str, Any]) -> None:
        """Refuse to delete a document if a losing leaf does not verify, since the deletion would remove the evidence.

        Raises:
            InvalidSignature: a leaf does not verify.
        """
        if document.get("_conflicts"):
            await self._live(document["_id"], set())

    async def finish(self, info: ModelInfo, document: Mapping[str, Any], tombstone: str) -> None:
        """Delete the other leaves of a document whose winning revision has become a tombstone.

        Raises:
            OutcomeUnknown: some leaves may be left; one of them is then the winning revision.
        """
        if not document.get("_conflicts"):
            return
        try:
            finished = await self._finished(info, document["_id"], {tombstone})
        except (CouchError, InvalidSignature) as error:
            raise OutcomeUnknown("a document in conflict was deleted, but not all of its revisions") from error
        if not finished:
            raise OutcomeUnknown("a document in conflict was deleted, but new revisions of it kept appearing")

    async def _finished(self, info: ModelInfo, document_id: str, made: set[str]) -> bool:
        for _ in range(self._retry.attempts):
            # The leaves are read again each time: replication may add more to a document that is in conflict.
            live = await self._live(document_id, made)
            if not live:
                return True
            for outcome in await self._writer.put_many([self.tombstone(info, each) for each in live]):
                if isinstance(outcome, str):
                    made.add(outcome)
                elif not isinstance(outcome, Conflict):
                    raise outcome
        return False

    async def _live(self, document_id: str, made: set[str]) -> Sequence[Document]:
        """The verified leaves that are not deleted, except those on a tombstone of ours, which are a new document."""
        leaves = await self._access.leaves(document_id, revs=True, every=True)
        judged = self._guard.weighed([each.document for each in leaves if each.document])
        live = [each for each in judged.documents if not each.get("_deleted") and made.isdisjoint(history(each))]
        for each in live:
            if each["_rev"] in judged.faults:
                raise judged.faults[each["_rev"]]
        return live


async def scopes_of_deleted(
    database: Database, info: ModelInfo, ids: Sequence[str]
) -> dict[str, Document | None]:
    """What new documents need of the deleted ones whose ids they take; see `scopes_in`.

    Args:
        database: where the documents are.
        info: the model's.
        ids: the ids of the new documents, as far as they may have been taken before.

    Returns:
        By the id, the members that the new document has to be written with, and the `_rev` of the tombstone that it
        follows; None for an id that is taken.
    """
    if not info.scopes or not ids:
        return {}
    found: dict[str, Document | None] = {}
    for document_id, leaves in zip(ids, await database.bulk_get(ids), strict=True):
        tombstone = winning_tombstone(leaves)
        if winner(leaves) is not None:
            found[document_id] = None
        elif tombstone is not None:
            found[document_id] = {**scopes_in(info, tombstone), "_rev": tombstone["_rev"]}
    return found
