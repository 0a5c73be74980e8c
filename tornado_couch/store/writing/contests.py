"""Settles writes of a cluster that stand as leaves beside others which follow the same revision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...couch import Access, Database
from ...errors import CouchError, InvalidSignature
from ...models import WRITE_PROPERTY
from ...revision import generation, rank
from ..protection.signatures import Guard
from .proof import Standing, Verdict
from .tokens import Attempts, marked

__all__ = ["Contests"]

Document = dict[str, Any]

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

    async def settle(self, document: Mapping[str, Any], contest: Verdict, looks: int) -> Standing:
        """Take the next step for a write that is contested, or was withdrawn.

        Args:
            document: what was written.
            contest: what the leaves show of it.
            looks: how often they were looked at before.

        Returns:
            `LANDED` where it stays; `WITHDRAWN` where enough copies know that it is deleted; otherwise what it was.
            Unless it has landed, the leaves have to be looked at again.
        """
        try:
            if contest.standing is Standing.WITHDRAWN:
                return Standing.WITHDRAWN if await self._spread(contest.others[0]) else contest.standing.CONTESTED
            return await self._contested(document, contest, looks)
        except CouchError:
            return Standing.CONTESTED

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
        await self._known({**document, "_rev": contest.revision}, contest)
        result = await self._access.put_alone(self._guard.tombstone({**document, "_rev": contest.revision}))
        return Standing.CONTESTED if result.accepted else Standing.WITHDRAWN

    async def _known(self, leaf: Document, contest: Verdict) -> None:
        """Have all copies know a leaf, since only those that do can delete it."""
        ids = [each.partition("-")[2] for each in contest.path]
        await self._spread({**leaf, "_revisions": {"start": generation(leaf["_rev"]), "ids": ids}})

    async def _spread(self, leaf: Document) -> bool:
        """Bring a leaf to all copies, as CouchDB itself does after a while; whether enough of them have it."""
        results = await self._database.bulk_docs([leaf], new_edits=False)
        return not results and not results.accepted

    def _again(self, leaf: Document) -> Document:
        """A leaf to be written once more, over itself, as another attempt at its own change."""
        kept = ("_id", "_rev", "_attachments")
        with Attempts(leaf):
            return self._guard.signed(marked({n: each for n, each in leaf.items() if n[:1] != "_" or n in kept}))

    def _verifies(self, leaf: Document) -> bool:
        try:
            self._guard.verified(leaf)
        except InvalidSignature:
            return False
        return True
