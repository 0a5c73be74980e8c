"""`Feed`: one changes feed of a database for everybody in a process who follows its changes."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from ...couch import Change, Database
from ...errors import BadRequest, ChangesLost, CouchError, NotFound, Unavailable
from ...models import utc_now
from .observation import Observed, Observer

__all__ = ["Batch", "Feed", "Listener"]

logger = logging.getLogger("tornado_couch.live")

_PAGE = 200  # changes in one answer
_WAIT = 20.0  # seconds that one poll waits for a change
_RECENT_SECONDS = 60.0
_RECENT = 2000  # changes
_BEGIN = 10.0  # seconds until the first poll must have begun
_IDLE = 30.0  # seconds that the feed goes on without listeners
_CHECK = 1.0  # seconds at most in which changes of another database with the same name are taken for those of this one
_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)  # seconds before the next poll, after failures


@dataclass(frozen=True)
class Batch:
    """Documents that changed, in the order of their latest changes.

    Attributes:
        number: the number of the poll that brought them; a later poll has a greater one.
        position: the update sequence up to which everything has been told with this batch.
        observed: the documents.
        read_at: when they began to be read, by `Feed.clock`.
        as_of: a time before which nothing has changed that was not told of; None if that is as it was.
        lost: whether the database is gone, or another one has its name, so that there are no changes any more.
    """

    number: int
    position: str | int
    observed: list[Observed] = field(default_factory=list)
    read_at: float = 0.0
    as_of: datetime | None = None
    lost: bool = False


Listener = Callable[[Batch], Awaitable[object] | None]


class Feed:
    """Follows the changes of a database as long as somebody listens.

    Args:
        database: the database.
        observer: reads the documents.
        identity: returns what distinguishes the database from an earlier one of the same name.
        clock: returns seconds that never go back.

    Attributes:
        clock: as above.
        polls: how many answers the feed has had.
    """

    def __init__(
        self,
        database: Database,
        observer: Observer,
        identity: Callable[[], Awaitable[str]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._observer = observer
        self._identity = identity
        self._followed: str | None = None  # the identity of the database that is followed
        self._checked_at = 0.0
        self.clock = clock
        self._listeners: dict[Listener, Callable[[str], bool]] = {}
        self._recent: deque[tuple[float, Change]] = deque(maxlen=_RECENT)
        self._task: asyncio.Task[None] | None = None
        self._since: str | int | None = None
        self._begun = asyncio.Event()
        self._idle_since = 0.0
        self.polls = 0

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    @property
    def position(self) -> str | int | None:
        """The update sequence up to which the listeners were told; None before the first poll."""
        return self._since

    async def listen(
        self, listener: Listener, wanted: Callable[[str], bool], since: str | int | None = None
    ) -> None:
        """Call a listener with what changes from now on.

        Args:
            listener: called with each batch, in order. What it returns is awaited before the next batch is read, so
                that nobody has to keep more batches than there is room for.
            wanted: whether the listener wants a document with this id.
            since: where to begin if nobody listens yet; by default, with what changes from now on.

        Raises:
            Unavailable: the feed cannot be read at the moment.
        """
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._recent.clear()
            self._since, self._begun, self._followed = since, asyncio.Event(), None
            self._listeners[listener] = wanted
            # It gets a context of its own, since it is not part of the request that happened to start it.
            self._task = contextvars.Context().run(loop.create_task, self._follow())
        else:
            self._listeners[listener] = wanted
        try:
            async with asyncio.timeout(_BEGIN):
                await self._begun.wait()
        except TimeoutError:
            self.leave(listener)
            raise Unavailable(f"the changes of {self._database.name} cannot be read at the moment") from None

    def recent(self, wanted: Callable[[str], bool]) -> list[Change]:
        """Return what the feed has reported within the last minute, also what the listeners have not been told yet.

        On a cluster another request can be behind the feed. Whoever has read the changes up to now by such requests has
        to look at these as well.
        """
        horizon = self.clock() - _RECENT_SECONDS
        return [change for at, change in self._recent if at >= horizon and wanted(change.id)]

    def leave(self, listener: Listener) -> None:
        """Stop calling a listener."""
        self._listeners.pop(listener, None)
        if not self._listeners:
            self._idle_since = self.clock()

    async def close(self) -> None:
        """Stop following the changes."""
        task, self._task = self._task, None
        self._listeners.clear()
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _follow(self) -> None:
        failures = 0
        while self._listeners or self.clock() - self._idle_since < _IDLE:
            try:
                await self._poll()
            except (NotFound, BadRequest, ChangesLost) as error:
                logger.warning("the changes of %s cannot be followed any more: %s", self._database.name, error)
                self._begun.set()
                await self._tell(Batch(self.polls, self._since or 0, lost=True))
                return
            except (CouchError, RuntimeError) as error:  # RuntimeError: the client was closed
                if failures == 0:
                    logger.warning("cannot read the changes of %s; trying again: %s", self._database.name, error)
                await asyncio.sleep(_PAUSES[min(failures, len(_PAUSES) - 1)])
                failures += 1
            else:
                if failures:
                    logger.warning("the changes of %s can be read again", self._database.name)
                failures = 0

    async def _poll(self) -> None:
        if self._since is None:
            self._since = (await self._database.changes(since="now", limit=1)).last_seq
        if self._followed is None:
            self._followed = await self._identity()
        self._begun.set()
        asked_at = utc_now()
        page = await self._database.changes(since=self._since, limit=_PAGE, style="all_docs", wait=_WAIT)
        await self._check()
        self.polls += 1
        number, now = self.polls, self.clock()
        self._recent.extend((now, each) for each in page.results)
        wanted = list(self._listeners.values())
        changes = [each for each in page.results if any(is_wanted(each.id) for is_wanted in wanted)]
        read_at = self.clock()
        async for observed in self._observer.observe(changes):
            self._since = observed[-1].seq  # if the next group fails, these are not told again
            await self._tell(Batch(number, self._since, observed, read_at))
            read_at = self.clock()
        self._since = page.last_seq
        await self._tell(Batch(number, self._since, as_of=asked_at if len(page.results) < _PAGE else None))

    async def _check(self) -> None:
        """Find out whether another database has the name now, in which the sequence of the first one means nothing.

        Raises:
            ChangesLost: it has.
        """
        if self.clock() - self._checked_at >= _CHECK:
            if await self._identity() != self._followed:
                raise ChangesLost("the database was made anew")
            self._checked_at = self.clock()

    async def _tell(self, batch: Batch) -> None:
        waiting = []
        for listener in list(self._listeners):
            try:
                waiting.append(listener(batch))
            except Exception:
                logger.exception("what follows the changes of %s has failed", self._database.name)
        for each in waiting:
            if each is not None:
                await each
