"""Documents that were read, kept in memory, and kept right by the changes feed; off unless it is asked for.

How old an answer from here can be: CouchDB is asked by a long poll, again and again, what has changed. Nothing is
given out unless an answer that was asked for within the last `staleness` seconds said so; else reads go to CouchDB,
as they do while the feed cannot be read. What this very store writes is forgotten before and after the write, so
that it reads its own writes. On a cluster the feed reads one copy of each shard: where copies differ for longer, as
while the network is cut, a document can be as old as `age` seconds.

Writes never begin with what is here: what they read, they read from CouchDB.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from cachetools import LRUCache

from ... import _json
from ...couch import Access, BulkResults, Database, Leaf, WriteResult
from ...errors import CouchError

__all__ = ["CachedAccess", "ReadCache"]

_PAGE = 1000  # changes in one answer
_PAUSE = 0.5  # seconds before the feed is asked again after it failed


@dataclass(frozen=True)
class ReadCache:
    """What is kept, and how old it may be.

    Attributes:
        content_bytes: how many bytes of documents are kept; what was used least recently goes first.
        staleness: seconds that an answer can be behind CouchDB.
        age: seconds after which a document is read again in any case.
        idle: seconds without a read after which the feed is not followed any more.

    Raises:
        ValueError: one of them is not positive.
    """

    content_bytes: int = 64 * 1024 * 1024
    staleness: float = 3.0
    age: float = 60.0
    idle: float = 60.0

    def __post_init__(self) -> None:
        if min(self.content_bytes, self.staleness, self.age, self.idle) <= 0:
            raise ValueError("every limit of the cache must be more than 0")


class _Entry(NamedTuple):
    """A document as text, since what is given out is the caller's to change."""

    text: bytes
    rev: str
    read_at: float


class CachedAccess:
    """Reads documents that live and are in no conflict from memory, if they are there; all else is passed on.

    Args:
        inner: reads and writes.
        database: whose feed is followed.
        limits: what is kept.
        clock: seconds that only grow.
    """

    def __init__(
        self, inner: Access, database: Database, limits: ReadCache, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.inner = inner
        self._database = database
        self._limits = limits
        self._clock = clock
        self._entries: LRUCache[str, _Entry] = LRUCache(limits.content_bytes, lambda entry: len(entry.text))
        self._reading: dict[str, object] = {}  # what is being read, unless it changed since that began
        self._follower: asyncio.Task[None] | None = None
        self._confirmed = float("-inf")  # when the latest answer of the feed that came in time was asked for
        self._used = float("-inf")

    @property
    def documents(self) -> int:
        """How many documents are here."""
        return len(self._entries)

    @property
    def is_live(self) -> bool:
        """Whether the feed has confirmed in time what is here."""
        return self._clock() - self._confirmed <= self._limits.staleness

    async def leaves(self, document_id: str, *, revs: bool = False, every: bool = False) -> list[Leaf]:
        """A document's leaves; see `Access.leaves`."""
        if revs or every:
            return await self.inner.leaves(document_id, revs=revs, every=every)
        self._used = self._clock()
        self._follow()
        found = self._found(document_id)
        self._database.server.observer.cache_asked(found is not None)
        return await self._read(document_id) if found is None else found

    async def ids(self, design: str, view: str, key: Any) -> list[str]:
        """The ids of the documents with a key; see `Access.ids`."""
        return await self.inner.ids(design, view, key)

    async def put(self, document: Mapping[str, Any], /) -> WriteResult:
        """Writes a document; see `Access.put`."""
        self.forget(document.get("_id"))
        try:
            return await self.inner.put(document)
        finally:
            self.forget(document.get("_id"))

    async def put_alone(self, document: Mapping[str, Any], /) -> WriteResult:
        """Writes a document; see `Access.put_alone`."""
        self.forget(document.get("_id"))
        try:
            return await self.inner.put_alone(document)
        finally:
            self.forget(document.get("_id"))

    async def bulk_docs(self, documents: Sequence[Mapping[str, Any]], /) -> BulkResults:
        """Writes documents; see `Access.bulk_docs`."""
        try:
            return await self.inner.bulk_docs(documents)
        finally:
            for each in documents:
                self.forget(each.get("_id"))

    async def bulk_get(self, wanted: Sequence[str | tuple[str, str]], /, *, revs: bool = False) -> list[list[Leaf]]:
        """Reads documents; see `Access.bulk_get`."""
        return await self.inner.bulk_get(wanted, revs=revs)

    def forget(self, document_id: str | None) -> None:
        """Read this document anew, and keep nothing of a read that has begun."""
        if document_id is None:
            return
        self._reading.pop(document_id, None)
        self._entries.pop(document_id, None)

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._reading.clear()
        self._confirmed = float("-inf")

    async def close(self) -> None:
        """Follow the feed no more."""
        follower, self._follower = self._follower, None
        self.clear()
        if follower is not None:
            follower.cancel()
            with suppress(asyncio.CancelledError):
                await follower

    # ------------------------------------------------------------ documents

    def _found(self, document_id: str) -> list[Leaf] | None:
        entry = self._entries.get(document_id)
        if entry is None or not self.is_live:
            return None
        if self._clock() - entry.read_at > self._limits.age:
            self.forget(document_id)
            return None
        return [Leaf(_json.loads(entry.text), entry.rev)]

    async def _read(self, document_id: str) -> list[Leaf]:
        mark = self._reading.setdefault(document_id, object())
        began = self._clock()
        try:
            leaves = await self.inner.leaves(document_id)
            # What changed while it was read may have been read before it changed, and the feed tells it once.
            if self._reading.get(document_id) is mark and self.is_live:
                self._keep(document_id, leaves, began)
            return leaves
        finally:
            if self._reading.get(document_id) is mark:
                del self._reading[document_id]

    def _keep(self, document_id: str, leaves: list[Leaf], read_at: float) -> None:
        document = leaves[0].document
        if len(leaves) != 1 or document is None or "_deleted" in document:
            return
        text = _json.dumps(document)
        if len(text) > self._limits.content_bytes // 8:
            return
        self._entries[document_id] = _Entry(text, document["_rev"], read_at)

    # ------------------------------------------------------------ the feed

    def _follow(self) -> None:
        follower = self._follower
        loop = asyncio.get_running_loop()
        if follower is None or follower.done() or follower.get_loop() is not loop:
            self.clear()
            # In a context of its own: it is no part of the request that happened to be the first.
            self._follower = contextvars.Context().run(loop.create_task, self._listen())

    async def _listen(self) -> None:
        """Forget what changes, until nobody has read anything for a while."""
        since: str | int | None = None
        while self._clock() - self._used < self._limits.idle:
            try:
                since = await self._hear(since)
            except (CouchError, RuntimeError):  # RuntimeError: the client was closed
                since = None
                self.clear()  # what happens from now on is not heard
                await asyncio.sleep(_PAUSE)
        self.clear()

    async def _hear(self, since: str | int | None) -> str | int:
        """One answer of the feed; gives where the next begins."""
        asked = self._clock()
        if since is None:
            since = (await self._database.changes(since="now", limit=1)).last_seq
            self._reading.clear()  # what changed before that moment is not told
            self._confirmed = asked
            return since
        # Two polls and their answers fit into the time that is allowed.
        page = await self._database.changes(since=since, limit=_PAGE, wait=self._limits.staleness / 3)
        for change in page.results:
            self.forget(change.id)
        if len(page.results) < _PAGE:
            self._confirmed = asked
        return page.last_seq
