"""An optional cache of documents in memory, which follows the changes feed to stay correct.

How old an answer from the cache can be: it asks CouchDB by long polls, one after the other, what has changed. It only
serves a document if a poll that began within the last `staleness` seconds has confirmed it; otherwise reads go to
CouchDB, as they do while the feed cannot be read. A document that this store writes is forgotten before and after the
write, so the store reads its own writes. In a cluster the feed reads one copy of each shard: if copies differ for
longer, as while the network is cut, a document can be as old as `age` seconds.

Writes never start from the cache: the documents that they change are read from CouchDB.
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
from ...models import Model, model_info

__all__ = ["CachedAccess", "KeyMemory", "ReadCache", "SharedFeeds"]

_PAGE = 1000  # changes in one answer

_PAUSE = 0.5  # seconds to wait before the feed is asked again after a failure


class SharedFeeds:
    """How many changes feeds the caches of several databases follow at once.

    Args:
        most: the number.
    """

    def __init__(self, most: int) -> None:
        self._free = most

    def take(self) -> bool:
        """Take one of them; return whether there was one left."""
        if self._free < 1:
            return False
        self._free -= 1
        return True

    def give_back(self) -> None:
        """Let another cache take it."""
        self._free += 1


@dataclass(frozen=True)
class ReadCache:
    """How much the cache keeps, and how old it may be.

    Attributes:
        content_bytes: how many bytes of documents to keep; those that were used least recently go first.
        staleness: how many seconds an answer can be behind CouchDB.
        age: after this many seconds a document is read again in any case.
        idle: after this many seconds without a read the cache stops following the feed.
        feeds: shared by the caches of several databases, which follow so many feeds together; one that cannot follow
            its feed keeps nothing, and reads go to CouchDB.

    Raises:
        ValueError: one of the numbers is not positive.
    """

    content_bytes: int = 64 * 1024 * 1024
    staleness: float = 3.0
    age: float = 60.0
    idle: float = 60.0
    feeds: SharedFeeds | None = None

    def __post_init__(self) -> None:
        if min(self.content_bytes, self.staleness, self.age, self.idle) <= 0:
            raise ValueError("every limit of the cache must be greater than 0")


class _Entry(NamedTuple):
    """A document as JSON text, since callers may change the object that they receive."""

    text: bytes
    rev: str
    read_at: float
    alone: bool  # whether it is known to be the document's only leaf, tombstones included


class CachedAccess:
    """Reads documents from memory if they are cached, and passes on everything else.

    Deleted documents and documents in conflict are not cached.

    Args:
        inner: reads and writes.
        database: the database whose changes feed is followed.
        limits: how much to keep.
        clock: returns seconds that never go back.
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
        self._confirmed = float("-inf")  # when the latest poll that was answered in time began
        self._used = float("-inf")

    @property
    def documents(self) -> int:
        """How many documents are in the cache."""
        return len(self._entries)

    @property
    def is_live(self) -> bool:
        """Whether the feed has confirmed the cached documents recently enough."""
        return self._clock() - self._confirmed <= self._limits.staleness

    async def leaves(self, document_id: str, *, revs: bool = False, every: bool = False) -> list[Leaf]:
        """A document's leaves; see `Access.leaves`."""
        if revs:
            return await self.inner.leaves(document_id, revs=revs, every=every)
        self._used = self._clock()
        self._follow()
        found = self._found(document_id, every)
        self._database.server.observer.cache_asked(found is not None)
        return await self._read(document_id, every) if found is None else found

    async def ids(self, design: str, view: str, key: Any) -> list[str]:
        """The ids of the documents with a key; see `Access.ids`."""
        return await self.inner.ids(design, view, key)

    async def put(self, document: Mapping[str, Any], /) -> WriteResult:
        """Write a document; see `Access.put`."""
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
        """Write documents; see `Access.bulk_docs`."""
        try:
            return await self.inner.bulk_docs(documents)
        finally:
            for each in documents:
                self.forget(each.get("_id"))

    async def bulk_get(self, wanted: Sequence[str | tuple[str, str]], /, *, revs: bool = False) -> list[list[Leaf]]:
        """Read documents; see `Access.bulk_get`."""
        return await self.inner.bulk_get(wanted, revs=revs)

    def forget(self, document_id: str | None) -> None:
        """Drop this document, and do not keep the result of a read that has begun."""
        if document_id is None:
            return
        self._reading.pop(document_id, None)
        self._entries.pop(document_id, None)

    def clear(self) -> None:
        """Drop all documents."""
        self._entries.clear()
        self._reading.clear()
        self._confirmed = float("-inf")

    async def close(self) -> None:
        """Stop following the feed."""
        follower, self._follower = self._follower, None
        self.clear()
        if follower is not None:
            follower.cancel()
            with suppress(asyncio.CancelledError):
                await follower

    # ------------------------------------------------------------ documents

    def _found(self, document_id: str, every: bool) -> list[Leaf] | None:
        entry = self._entries.get(document_id)
        if entry is None or not self.is_live or (every and not entry.alone):
            return None
        if self._clock() - entry.read_at > self._limits.age:
            self.forget(document_id)
            return None
        return [Leaf(_json.loads(entry.text), entry.rev, size=len(entry.text))]

    async def _read(self, document_id: str, every: bool) -> list[Leaf]:
        mark = self._reading.setdefault(document_id, object())
        began = self._clock()
        try:
            leaves = await self.inner.leaves(document_id, every=every)
            # If it changed during the read, this may be the older document, and the feed reports each change once.
            if self._reading.get(document_id) is mark and self.is_live:
                self._keep(document_id, leaves, began, every)
            return leaves
        finally:
            if self._reading.get(document_id) is mark:
                del self._reading[document_id]

    def _keep(self, document_id: str, leaves: list[Leaf], read_at: float, every: bool) -> None:
        document = leaves[0].document
        if len(leaves) != 1 or document is None or "_deleted" in document:
            return
        text = _json.dumps(document)
        if len(text) > self._limits.content_bytes // 8:
            return
        self._entries[document_id] = _Entry(text, document["_rev"], read_at, every)

    # ------------------------------------------------------------ the feed

    def _follow(self) -> None:
        follower = self._follower
        loop = asyncio.get_running_loop()
        if follower is None or follower.done() or follower.get_loop() is not loop:
            feeds = self._limits.feeds
            if feeds is not None and not feeds.take():
                return
            self.clear()
            # It gets a context of its own, since it is not part of the request that happened to start it.
            self._follower = contextvars.Context().run(loop.create_task, self._listen())
            if feeds is not None:
                self._follower.add_done_callback(lambda _: feeds.give_back())

    async def _listen(self) -> None:
        """Drop documents as they change, until nobody has read anything for a while."""
        since: str | int | None = None
        while self._clock() - self._used < self._limits.idle:
            try:
                since = await self._hear(since)
            except (CouchError, RuntimeError):  # RuntimeError: the client was closed
                since = None
                self.clear()  # changes from now on go unnoticed
                await asyncio.sleep(_PAUSE)
        self.clear()

    async def _hear(self, since: str | int | None) -> str | int:
        """Read one answer of the feed, and return where the next one begins."""
        asked = self._clock()
        if since is None:
            since = (await self._database.changes(since="now", limit=1)).last_seq
            self._reading.clear()  # the feed does not report earlier changes
            self._confirmed = asked
            return since
        # Two polls with their answers fit into the allowed time.
        page = await self._database.changes(since=since, limit=_PAGE, wait=self._limits.staleness / 3)
        for change in page.results:
            self.forget(change.id)
        if len(page.results) < _PAGE:
            self._confirmed = asked
        return page.last_seq


class KeyMemory:
    """Remembers the ids of documents by model and key, and forgets first what was used least recently.

    A remembered id is only a hint: the document may have been deleted, and another one may have its key now. So the
    caller reads the document, and asks the view if it no longer has the key.

    Args:
        size: how many keys to remember, of about 300 bytes each; 0 for none.
    """

    def __init__(self, size: int = 100_000) -> None:
        self._ids: LRUCache[tuple[str, bytes], str] = LRUCache(size)

    def __len__(self) -> int:
        return len(self._ids)

    def recall(self, cls: type[Model], key: Any) -> str | None:
        """The id of the document that had this key."""
        return self._ids.get(_place(cls, key)) if self._ids else None

    def learn(self, cls: type[Model], key: Any, document_id: str) -> None:
        """Remember which document has this key."""
        if self._ids.maxsize:
            self._ids[_place(cls, key)] = document_id

    def forget(self, cls: type[Model], key: Any) -> None:
        """Forget the document of this key."""
        if self._ids:
            self._ids.pop(_place(cls, key), None)


def _place(cls: type[Model], key: Any) -> tuple[str, bytes]:
    info = model_info(cls)
    return info.type.name, _json.dumps(info.key_value(key))
