"""`Live`: what changes in a database, page by page or as it happens, each change with its model."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from ...couch import Change, Changes, Database
from ...errors import BadRequest, ChangesLost, NotFound
from ...models import Model, model_info
from ..protection.properties import Conversion
from .changes import DocumentChange, may_be_of, understood
from .feed import Batch, Feed
from .observation import Observed, Observer

__all__ = ["ChangePage", "Live", "Place"]

M = TypeVar("M", bound=Model)

_IDENTITY = "_local/tornado_couch_identity"  # of a database whose age CouchDB does not tell
_PAGE = 100  # changes that are read at a time
_LOOK_AGAIN = 10.0  # seconds


@dataclass(frozen=True)
class Place:
    """A place in the changes of a database, which outlives processes and nodes.

    Attributes:
        database: what distinguishes the database from an earlier one of the same name.
        seq: the update sequence.
    """

    database: str
    seq: str | int

    def __str__(self) -> str:
        return f"{self.database}:{self.seq}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """Return the place that a text stands for.

        Raises:
            ChangesLost: it stands for none.
        """
        database, colon, seq = text.partition(":")
        if not colon or not seq:
            raise ChangesLost("this is no place in the changes of a database; begin again")
        return cls(database, int(seq) if re.fullmatch(r"0|[1-9][0-9]{0,18}", seq) else seq)


@dataclass(frozen=True)
class ChangePage(Generic[M]):
    """A page of changes.

    Attributes:
        changes: the changes, in the order of the feed.
        next: where the next page begins.
        more: whether more changes follow at once.
        pending: how many changes of any documents follow the page, as far as CouchDB says so.
    """

    changes: list[DocumentChange[M]]
    next: Place
    more: bool
    pending: int = 0


class Live:
    """Follows the changes of one database.

    Args:
        database: the database.
        conversion: converts documents to models.
        observer: reads the documents.

    Attributes:
        feed: the feed that all who follow the changes share.
        copies: how many nodes of a cluster have each document, as `identity` has found; where it is one, every request
            sees what the feed has told.
    """

    def __init__(self, database: Database, conversion: Conversion, observer: Observer) -> None:
        self._database = database
        self._conversion = conversion
        self._observer = observer
        self._identity: str | None = None
        self.copies = 1
        self.feed = Feed(database, observer, self.identity)

    async def place(self, since: str | None) -> Place:
        """Return the place that `Store.changes` begins at."""
        if since is None:
            return await self.now()
        return await self.beginning() if since == "beginning" else Place.parse(since)

    async def now(self) -> Place:
        """Return the place where the changes from now on begin."""
        return Place(await self.identity(), (await self._database.changes(since="now", limit=1)).last_seq)

    async def beginning(self) -> Place:
        """Return the place before the first change."""
        return Place(await self.identity(), 0)

    async def identity(self) -> str:
        """Return what distinguishes this database from an earlier one of the same name."""
        info = await self._database.info()
        made, cluster = str(info.get("instance_start_time", "0")), info.get("cluster")
        self.copies = cluster.get("n", 1) if isinstance(cluster, dict) else 1
        if made != "0":
            return made
        if self._identity is None:
            self._identity = await self._own_identity()
        return self._identity

    async def _own_identity(self) -> str:
        with suppress(NotFound):
            return str((await self._database.get(_IDENTITY))["identity"])
        new = await self._database.server.new_id()
        await self._database.put({"_id": _IDENTITY, "identity": new})
        return new

    async def check(self, place: Place) -> None:
        """Refuse a place in the changes of another database.

        Raises:
            ChangesLost: it is in an earlier database of the same name.
        """
        if place.database != await self.identity():
            raise ChangesLost("the database was made anew; begin again")

    async def rows(self, place: Place, limit: int) -> tuple[list[Change], Place, bool]:
        """Read what changed after a place, without the documents.

        Returns:
            The changes, the place after them, and whether more changes follow.

        Raises:
            ChangesLost: CouchDB does not know the place any more.
        """
        page = await self._rows(place, limit)
        return page.results, Place(place.database, page.last_seq), len(page.results) >= limit

    async def _rows(self, place: Place, limit: int) -> Changes:
        try:
            return await self._database.changes(since=place.seq, limit=limit, style="all_docs")
        except BadRequest as error:
            raise ChangesLost("the database does not know this place in its changes any more; begin again") from error

    async def page(
        self, cls: type[M], place: Place, *, limit: int = _PAGE, wanted: Callable[[str], bool] | None = None
    ) -> ChangePage[M]:
        """Read what changed in a model's documents after a place: each once, as it is now.

        Args:
            cls: the model.
            place: where to begin.
            limit: how many changes to look at; fewer are returned where others are of other models, or have many bytes.
            wanted: whether to read a document with this id, if it can be of the model; by default, all are read.

        Raises:
            ChangesLost: CouchDB does not know the place any more.
        """
        page = await self._rows(place, limit)
        info = model_info(cls)
        rows = [each for each in page.results if may_be_of(info, each.id) and (wanted is None or wanted(each.id))]
        pending = page.pending or 0
        found: list[DocumentChange[M]] = []
        async for observed in self._observer.observe(rows):
            found += await self.understood(cls, observed, place.database)
            if len(observed) < len(rows):  # they have the bytes of a page
                return ChangePage(found, Place(place.database, observed[-1].seq), True, pending)
        return ChangePage(found, Place(place.database, page.last_seq), len(page.results) >= limit, pending)

    async def understood(
        self, cls: type[M], observed: list[Observed], database: str
    ) -> list[DocumentChange[M]]:
        """Return what documents mean for a model, of those that are or were of it."""
        found = []
        for each in observed:
            change = await understood(self._conversion, cls, each, str(Place(database, each.seq)))
            if change is not None:
                found.append(change)
        return found

    async def observe(self, changes: list[Change]) -> AsyncIterator[list[Observed]]:
        """Read the documents of changes; see `Observer.observe`."""
        async for observed in self._observer.observe(changes):
            yield observed

    async def changes(self, cls: type[M], since: str | None = None) -> AsyncGenerator[DocumentChange[M], None]:
        """Yield what changes in a model's documents, without an end; see `Store.changes`."""
        place = await self.place(since)
        await self.check(place)
        info, woken = model_info(cls), asyncio.Event()

        def listener(batch: Batch) -> None:
            if batch.observed or batch.lost:
                woken.set()

        await self.feed.listen(listener, lambda document_id: may_be_of(info, document_id), place.seq)
        try:
            while True:
                woken.clear()
                page = await self.page(cls, place)
                for each in page.changes:
                    yield each
                place = page.next
                if not page.more:
                    await self._until(woken)
                    await self.check(place)
        finally:
            self.feed.leave(listener)

    async def _until(self, woken: asyncio.Event) -> None:
        """Wait for the feed; but on a cluster it can be ahead of what another request sees, so do not wait for long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_AGAIN):
                await woken.wait()

    async def close(self) -> None:
        """Stop following the changes."""
        await self.feed.close()
