"""Settles writes of a cluster that stand as leaves beside others which follow the same revision."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from ...couch import Access, Database, Leaf
from ...errors import CouchError, Forbidden, InvalidSignature, Unauthorized
from ...models import WRITE_PROPERTY
from ...revision import generation, rank
from ..protection.signatures import Guard
from .proof import Standing, Verdict
from .tokens import Attempts, history, marked

__all__ = ["Contests"]

Document = dict[str, Any]

_DELETED_AT_MOST = 8  # leaves of a document; with more of them, those that lie far back are removed
_FAR_BACK = 64  # revisions before the winning one; copies of a write that are still under way are not that old

_PATIENCE = 3  # looks at two creations of one document, before the one that wins gives way to the other


class Contests:
    """Settles contested writes of one database.

    Args:
        database: where the documents are.
        access: writes single documents.
        guard: signs what is written, and verifies the leaves that a write yields to.
    """

    def __init__(self, database: Database, access: Access, guard: Guard) -> None:
        self._database = database
        self._access = access
        self._guard = guard
        self._may_purge = True

    async def settle(self, document: Mapping[str, Any], contest: Verdict, looks: int) -> Standing:
        """Take the next step for a write that is contested, or was withdrawn.

        Args:
            document: what was written.
            contest: what the leaves show of it.
            looks: how often they were looked at before.

        Returns:
            `LANDED` where it stays; `WITHDRAWN` where enough copies know that it is deleted, `WITHDRAWING` where some
            may; otherwise `CONTESTED`. Unless it has landed, the leaves have to be looked at again.
        """
        try:
            if contest.standing is Standing.WITHDRAWN:
                return Standing.WITHDRAWN if await self._spread(contest.others[0]) else Standing.WITHDRAWING
            return await self._contested(document, contest, looks)
        except CouchError:
            return Standing.CONTESTED

    def has_many(self, leaves: Sequence[Leaf]) -> bool:
        """Whether a document has so many deleted leaves that some are to be removed, if this account may do so."""
        deleted = sum(bool((each.document or {}).get("_deleted")) for each in leaves)
        return deleted > _DELETED_AT_MOST and self._may_purge and not self._guard.every

    async def spread(self, accepted: Sequence[tuple[Mapping[str, Any], str]]) -> None:
        """Bring documents that only a minority of the copies took to the others, as far as those take them.

        Until most have them, reads may show what was there before, and others may write over that.

        Args:
            accepted: the documents as they were sent, with the revisions that CouchDB gave them.
        """
        leaves = []
        for document, revision in accepted:
            base = document.get("_rev")
            if base is None and generation(revision) > 1:
                continue  # it follows a tombstone, of which only CouchDB knows
            ids = [each.partition("-")[2] for each in (revision, base) if each]
            leaves.append({**document, "_rev": revision, "_revisions": {"start": generation(revision), "ids": ids}})
        if leaves:
            with contextlib.suppress(CouchError):  # CouchDB itself does the same, later
                await self._database.bulk_docs(leaves, new_edits=False)

    async def prune(self, document_id: str, leaves: Sequence[Leaf]) -> None:
        """Remove deleted leaves that lie far back, where a document has many: CouchDB reads them all with each read.

        Only a server admin can do that; for others they stay. They stay where documents are signed, too: what was
        withdrawn could be put back unnoticed if its tombstone were gone.

        Args:
            document_id: the document's id.
            leaves: all of its leaves, with `_revisions`.
        """
        found = [each.document for each in leaves if each.document is not None]
        deleted = [each for each in found if each.get("_deleted")]
        if len(deleted) == len(found) or not self.has_many(leaves):
            return
        latest = max(generation(each["_rev"]) for each in found if not each.get("_deleted"))
        old = [each for each in deleted if generation(each["_rev"]) + _FAR_BACK < latest]
        # A copy that was away has what was deleted and not yet the tombstone.
        revisions = [revision for each in old for revision in history(each)[:2]]
        if not revisions:
            return
        try:
            await self._database.purge({document_id: revisions})
        except (Unauthorized, Forbidden):
            self._may_purge = False
        except CouchError:
            pass  # the next one who meets somebody there tries it again

    async def _contested(self, document: Mapping[str, Any], contest: Verdict, looks: int) -> Standing:
        others = [each for each in contest.others if self._verifies(each)]
        # Without a token nobody could tell the deletion that withdraws it from another one.
        if not others or WRITE_PROPERTY not in document or contest.revision is None:
            return Standing.LANDED
        if rank(others[0]["_rev"]) < rank(contest.revision):
            if document.get("_rev") is not None:
                await self._access.put_alone(self._again(others[0]))
                return Standing.CONTESTED
            if looks < _PATIENCE:
                return Standing.CONTESTED  # the other may be withdrawn; neither has anything that would be lost
        # Only copies that know our leaf can delete it; and were the other one known to few, a read could find nothing.
        ids = [each.partition("-")[2] for each in contest.path]
        ours = {**document, "_rev": contest.revision, "_revisions": {"start": generation(contest.revision), "ids": ids}}
        await self._spread(ours)
        if not await self._spread(others[0]):
            return Standing.CONTESTED
        try:
            result = await self._access.put_alone(self._guard.tombstone({**document, "_rev": contest.revision}))
        except CouchError:
            return Standing.WITHDRAWING  # a copy may have taken it, even where it was refused
        return Standing.WITHDRAWING if result.accepted else Standing.WITHDRAWN

    async def _spread(self, leaf: Document) -> bool:
        """Bring a leaf to all copies, as CouchDB itself does after a while; whether enough of them have it."""
        results = await self._database.bulk_docs([leaf], new_edits=False)
        return not results and not results.accepted

    def _again(self, leaf: Document) -> Document:
        """A leaf to be written once more, over itself, as another attempt at its own change."""
        kept = ("_id", "_rev", "_attachments")
        with Attempts(leaf):
            again = {n: each for n, each in leaf.items() if n[:1] != "_" or n in kept}
            return self._guard.signed(marked(again, contended=True))

    def _verifies(self, leaf: Document) -> bool:
        try:
            self._guard.verified(leaf)
        except InvalidSignature:
            return False
        return True
