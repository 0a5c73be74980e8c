"""`Hub`: tells all clients in this process that follow a collection what changes in it.

A change is read once, and encoded once for all who see the same of it.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Hashable
from dataclasses import replace
from typing import Any

from ...errors import CouchError, DocumentNotFound, InvalidDocument, SecurityError
from ...models import Model, is_deleted, model_info
from ...store import Batch, DocumentChange, Pace, Place, Store, may_be_of
from .follower import Follower
from .tokens import earlier

__all__ = ["Hub", "present"]

logger = logging.getLogger("tornado_couch.live")

HEARTBEAT = 15.0
"""Seconds between comments, which keep proxies from closing a quiet connection."""

_BATCHES = 4  # that wait, of at most 200 documents each
_PAUSE = 1.0  # seconds before the next attempt, while CouchDB cannot be used
_AT_ONCE = 10  # clients whose credentials are looked at
_TOGETHER = 200  # followers that are written to before other work has a turn


async def present(store: Store, cls: type[Model], change: DocumentChange[Any]) -> DocumentChange[Any]:
    """Return a change with the document as a GET shows it: of one that keeps its history, in the latest version."""
    info = model_info(cls)
    if not info.history or change.key is None:
        return change
    try:
        model = await store.get(cls, change.key, deleted=None, fresh=True)
    except DocumentNotFound:
        return replace(change, kind="deleted", model=None)
    except (InvalidDocument, SecurityError):
        return replace(change, kind="withheld", model=None)
    kind = "deleted" if is_deleted(info, model._stored) else "changed"
    return replace(change, kind=kind, model=model, document=model._stored)  # type: ignore[arg-type]


class Hub:
    """Follows the changes of one model in one store, for all clients that follow a collection of it.

    Args:
        store: the store.
        model: the model.
    """

    def __init__(self, store: Store, model: type[Model]) -> None:
        self._store = store
        self._model = model
        self._groups: dict[object, set[Follower]] = {}
        self._batches: asyncio.Queue[Batch] = asyncio.Queue()
        self._room = asyncio.Event()  # for further batches
        self._place: Place | None = None  # up to which the followers were told
        self._as_of = ""  # a time before which nothing has changed that they were not told of
        self._beginning = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._joining: set[Follower] = set()

    @property
    def is_idle(self) -> bool:
        """Whether nobody follows, nor is about to."""
        return not self._groups and not self._joining

    @property
    def followers(self) -> list[Follower]:
        """The clients that follow."""
        return [each for group in self._groups.values() for each in group]

    # ------------------------------------------------------------ clients come and go

    async def join(self, follower: Follower, since: Place | None) -> None:
        """Tell a client what has changed since a place, and from then on what changes.

        Args:
            follower: the client.
            since: the place; None for now.

        Raises:
            ChangesLost: the changes since the place cannot be told.
            Unavailable: the feed cannot be read.
        """
        self._joining.add(follower)
        try:
            await self._join(follower, since)
        finally:
            self._joining.discard(follower)

    async def _join(self, follower: Follower, since: Place | None) -> None:
        if since is not None:
            since = await self._caught_up(follower, since)
        place = await self._begin(since, follower.since)
        # From here on the client is told what the hub hears; it is held back until the client has what came before.
        follower.hold()
        self._groups.setdefault(follower.group, set()).add(follower)
        try:
            if since is not None:
                place = await self._caught_up(follower, since)
                # On a cluster what was just read can be behind the feed.
                live, told = self._store.live, follower.told
                recent = live.feed.recent(self._wants) if live.copies > 1 else []
                missing = [each for each in recent if told.get(each.id) not in each.revisions[:1]]
                await self._tell_again(follower, missing, place)
            follower.begin(place)
            while again := follower.release():
                await self._tell_again(follower, again, place)
            self._remove(follower)
            follower.settle()
            self._groups.setdefault(follower.group, set()).add(follower)
            if not follower.stream.is_open:
                self.leave(follower)
        except BaseException:
            self.leave(follower)
            raise

    def leave(self, follower: Follower) -> None:
        """Stop telling a client of changes."""
        self._remove(follower)
        if not self._groups:
            self._stop()

    def _remove(self, follower: Follower) -> None:
        group = self._groups.get(follower.group, set())
        group.discard(follower)
        if not group:
            self._groups.pop(follower.group, None)

    async def _caught_up(self, follower: Follower, place: Place) -> Place:
        """Tell a client what has changed since a place; return the place up to which it was told."""
        live = self._store.live
        await live.check(place)
        while True:
            rows, following, more = await live.rows(place, _TOGETHER)
            await self._tell_again(follower, [each for each in rows if self._wants(each.id)], place, in_order=True)
            place = following
            if not more or not follower.stream.is_open:
                return place

    async def _tell_again(
        self, follower: Follower, changes: list[Any], place: Place, *, in_order: bool = False
    ) -> None:
        """Read the documents of changes for one client alone, and tell it of them.

        Args:
            follower: the client.
            changes: the changes.
            place: a place up to which the client was told of everything.
            in_order: whether these are all changes after that place, in the order of the feed. The token of an event is
                then the place after it, so that a client which is cut off again and again comes further each time.
        """
        clock = self._store.live.feed.clock
        async for observed in self._store.live.observe(changes):
            read_at = clock()
            for each in observed:
                place = Place(place.database, each.seq) if in_order else place
                for change in await self._store.live.understood(self._model, [each], place.database):
                    shown = await present(self._store, self._model, change)
                    text = await follower.text(shown, follower.token(place), {})
                    if text:
                        await follower.stream.sent(text)
                follower.note(each, read_at)

    # ------------------------------------------------------------ changes come

    def _wants(self, document_id: str) -> bool:
        return may_be_of(model_info(self._model), document_id)

    async def _begin(self, since: Place | None, as_of: str) -> Place:
        """Listen to the feed, if nobody followed so far; return the place up to which followers were told.

        Args:
            since: the place up to which the first follower was told; None for now.
            as_of: a time before which nothing has changed that it was not told of.
        """
        async with self._beginning:
            if self._place is None:
                live = self._store.live
                database = await live.identity() if since is None else since.database
                await live.feed.listen(self._hear, self._wants, None if since is None else since.seq)
                self._place, self._as_of = Place(database, live.feed.position or 0), as_of
                context = contextvars.Context()
                loop = asyncio.get_running_loop()
                work = (self._work, self._beat, self._look_after)
                self._tasks = [context.run(loop.create_task, each()) for each in work]
            return self._place

    def _stop(self) -> None:
        self._store.live.feed.leave(self._hear)
        self._room.set()
        for task in self._tasks:
            task.cancel()
        self._tasks, self._place, self._batches = [], None, asyncio.Queue()

    def _hear(self, batch: Batch) -> Awaitable[object] | None:
        self._batches.put_nowait(batch)
        if self._batches.qsize() < _BATCHES:
            return None
        self._room.clear()
        return self._room.wait()

    async def _work(self) -> None:
        while True:
            batch = await self._batches.get()
            if self._batches.qsize() < _BATCHES:
                self._room.set()
            try:
                await self._tell_at_last(batch)
            except Exception:
                logger.exception("changes could not be told to those who follow them")
                for each in self.followers:
                    each.reset(self._place)
            if batch.lost:
                self._lose()
                return

    def _lose(self) -> None:
        """Let all begin again, and begin anew with the next one, since the feed has ended."""
        for each in self.followers:
            each.reset(None)
            if each.stream.is_busy:
                each.stream.abort()  # nobody would look after it; the client comes back with a place that is lost
        self._groups.clear()
        self._stop()

    async def _tell_at_last(self, batch: Batch) -> None:
        """Tell of a batch, for which versions may have to be read, as soon as CouchDB can be used."""
        while True:
            try:
                return await self._tell(batch)
            except CouchError as error:
                logger.warning("cannot read a document that those who follow it wait for; trying again: %s", error)
            await asyncio.sleep(_PAUSE)

    async def _tell(self, batch: Batch) -> None:
        assert self._place is not None
        pace, database = Pace(), self._place.database
        for observed in batch.observed:
            for change in await self._store.live.understood(self._model, [observed], database):
                await self._spread(await present(self._store, self._model, change), observed, batch.read_at)
            if self._place is None:
                return  # the last one who followed has left
            self._place = Place(database, observed.seq)
            await pace.breathe()
        self._place = Place(database, batch.position)
        self._as_of = (batch.as_of and earlier(batch.as_of)) or self._as_of

    async def _spread(self, change: DocumentChange[Any], observed: Any, read_at: float) -> None:
        """Tell every follower of a change, each if it may see it."""
        assert self._place is not None
        place, pace = Place(self._place.database, observed.seq), Pace()
        items: dict[Hashable, bytes] = {}
        for group in list(self._groups.values()):
            token = ""
            for follower in list(group):
                if not follower.stream.is_open or follower.view.seen(change, follower.since) is None:
                    continue
                token = token or follower.codec.encode(place, follower.view.settled, since=self._as_of)
                if not await follower.stays():
                    continue
                try:
                    text = await follower.text(change, token, items)
                except Exception:  # a hook of the service's
                    logger.exception("a change could not be shown to one who follows it")
                    follower.reset(None)
                    continue
                follower.deliver(text, observed, read_at)
                if pace.is_due():
                    await pace.breathe()

    # ------------------------------------------------------------ nothing changes

    async def _beat(self) -> None:
        """Send comments, and look after clients that do not read."""
        while True:
            await asyncio.sleep(HEARTBEAT)
            written = 0
            for group in list(self._groups.values()):
                if not group or self._place is None:
                    continue
                text = next(iter(group)).heartbeat(self._place, self._as_of)
                for follower in list(group):
                    follower.beat(text)
                    written += 1
                    if written % _TOGETHER == 0:
                        await asyncio.sleep(0)

    async def _look_after(self) -> None:
        """Look after clients that are not who they were; whatever has to be asked for that, the comments go on."""
        while True:
            await asyncio.sleep(HEARTBEAT)
            due = [each for each in self.followers if each.is_due()]
            for start in range(0, len(due), _AT_ONCE):
                asked = [each.recheck() for each in due[start : start + _AT_ONCE]]
                await asyncio.gather(*asked, return_exceptions=True)

    def end(self) -> None:
        """End all streams; the clients come back, to another process."""
        for each in {*self.followers, *self._joining}:
            each.stream.end()


