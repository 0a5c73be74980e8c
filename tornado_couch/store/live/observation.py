"""Reads the documents that the changes feed names, each no older than its change.

The feed of a cluster comes from one copy of each shard, and reads ask other copies: one can be behind the feed, and
what it lacks is not announced again. So a document that seems older than its change is read until it is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from ...couch import Change, Database, Leaf
from ...errors import InvalidSignature, Unavailable
from ...revision import generation
from ..protection.signatures import Guard, winner, winning_tombstone
from ..reading.reader import Reader
from ..writing.tokens import history

__all__ = ["Observation", "Observed", "Observer"]

Document = dict[str, Any]

_AT_ONCE = 100  # documents
_LOOKS = 8  # at a document that seems to be older than its change
_PAUSE = 0.05  # seconds before the second look; each further one waits twice as long
_LEAVES = 8  # that lost, of which it is found out who could see them
_ANCESTORS = 3  # of the tombstone of another program, to find out what it has deleted


@dataclass(frozen=True)
class Observed:
    """A document as it is after a change.

    Attributes:
        id: the document's id.
        seq: the update sequence of the change.
        document: the winning revision; for a deleted document its tombstone, or what another program's tombstone has
            deleted, if CouchDB still has it; None if nothing can be read.
        deleted: whether the document is deleted.
        fault: the error if nobody may see it, since it does not verify.
        others: what is known of its other leaves, which somebody may have seen before this one won; where it does not
            verify, the latest of its revisions that do.
    """

    id: str
    seq: str | int
    document: Document | None
    deleted: bool = False
    fault: InvalidSignature | None = None
    others: tuple[Document, ...] = ()


class Observer:
    """Reads what the changes feed of a database names.

    Args:
        database: the database.
        reader: reads documents past the cache.
        guard: verifies tombstones.
    """

    def __init__(self, database: Database, reader: Reader, guard: Guard) -> None:
        self._database = database
        self._reader = reader
        self._guard = guard

    async def observe(self, changes: Sequence[Change]) -> AsyncIterator[list[Observed]]:
        """Read the documents of changes, in order, and yield them in groups of bounded size.

        Raises:
            Unavailable: a document stays older than its change.
        """
        waiting = list(changes)
        while waiting:
            group = waiting[:_AT_ONCE]
            found, _ = await self._reader.within([each.id for each in group])
            read = [
                await self._observed(change, each) for change, each in zip(group, found, strict=False)
            ]
            yield read
            del waiting[: len(read)]

    async def _observed(self, change: Change, found: Document | InvalidSignature | None) -> Observed:
        if isinstance(found, InvalidSignature):
            return await self._withheld(change, found)
        if found is not None and len(change.revisions) == 1 and _is_as_new(found, change):
            return Observed(change.id, change.seq, found)
        return await self._looked_at(change)

    async def _looked_at(self, change: Change) -> Observed:
        """Read one document with everything that it is made of, until it knows of its change."""
        for look in range(_LOOKS):
            if look:
                await asyncio.sleep(_PAUSE * 2 ** (look - 1))
            (leaves,) = await self._database.bulk_get([change.id], revs=True)
            known = {each for leaf in leaves if leaf.document is not None for each in history(leaf.document)}
            if known.issuperset(change.revisions[:1]):
                return await self._judged(change, leaves)
        raise Unavailable(f"no copy of a document has the change that the feed announced for {_LOOKS} looks")

    async def _withheld(self, change: Change, fault: InvalidSignature) -> Observed:
        """What is known of a document that does not verify: who could see it before, as far as CouchDB has that."""
        (leaves,) = await self._database.bulk_get([change.id], revs=True)
        known = []
        for leaf in [each.document for each in leaves if each.document is not None][:_LEAVES]:
            path = [(change.id, each) for each in history(leaf)[: 1 + _ANCESTORS]]
            for found in await self._database.bulk_get(path, revs=True):
                judged = self._guard.judged(found)
                if judged is not None and not isinstance(judged, InvalidSignature):
                    known.append(judged)
                    break
        return Observed(change.id, change.seq, None, fault=fault, others=tuple(known))

    async def _judged(self, change: Change, leaves: list[Leaf]) -> Observed:
        judged = self._guard.judged(leaves)
        if isinstance(judged, InvalidSignature):
            return await self._withheld(change, judged)
        if judged is not None:
            return Observed(change.id, change.seq, judged, others=await self._others(judged, leaves))
        tombstone = winning_tombstone(leaves) if winner(leaves) is None else None
        if tombstone is not None and "type" not in tombstone:
            tombstone = await self._before(tombstone) or tombstone
        return Observed(change.id, change.seq, tombstone, deleted=True)

    async def _others(self, judged: Document, leaves: list[Leaf]) -> tuple[Document, ...]:
        """What is known of the leaves that lost, of those that were withdrawn before they were."""
        lost = [leaf.document for leaf in leaves if leaf.document and leaf.document["_rev"] != judged["_rev"]]
        lost.sort(key=lambda each: generation(each["_rev"]), reverse=True)
        few = lost[:_LEAVES]
        return tuple([(await self._before(each) or each) if each.get("_deleted") else each for each in few])

    async def _before(self, tombstone: Document) -> Document | None:
        """What a tombstone without a type has deleted, as far as CouchDB has not been compacted since."""
        path = [(tombstone["_id"], each) for each in history(tombstone)[1 : 1 + _ANCESTORS]]
        for leaves in await self._database.bulk_get(path):
            for leaf in leaves:
                if leaf.document is not None and "type" in leaf.document:
                    return leaf.document
        return None


Observation = Sequence[Observed]


def _is_as_new(document: Document, change: Change) -> bool:
    """Whether a winning revision is surely not older than a change."""
    revision: str = document["_rev"]
    return revision in change.revisions or generation(revision) > max(map(generation, change.revisions), default=0)
