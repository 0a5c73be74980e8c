"""`Partition`: a consumer's work on the changes of some keys, one after the other, as long as it holds their lease."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from ...couch import Change
from ...errors import ChangesLost, ConsumerHeld, CouchError, InvalidDocument
from ...models import Model, ModelInfo, model_info, version_of
from ..conflicts.lease import Lease
from ..live import DocumentChange, Place, may_be_of
from ..live.feed import Batch
from ..store import Store
from ..writing.writer import Retry
from .records import Beginning, Reached, Records

__all__ = ["ConsumerStats", "Job", "Partition", "partition_of"]

M = TypeVar("M", bound=Model)

logger = logging.getLogger("tornado_couch.consumers")

_LOOK_AGAIN = 10.0  # seconds; on a cluster the feed can be ahead of what another request sees
_FIRST = 1.0  # seconds until another look whether the first partition has begun
_LEAVING = 5.0  # seconds in which the place is written at the end


@dataclass
class ConsumerStats:
    """What a consumer has done in this process since it was created.

    Attributes:
        partitions: the numbers of the partitions that it works on now.
        handled: how many changes it has handled.
        failures: how many calls have raised an exception.
        set_aside: how many changes it has set aside.
        pending: how many changes of any documents are still to be looked at, as far as CouchDB says so.
    """

    partitions: set[int] = field(default_factory=set)
    handled: int = 0
    failures: int = 0
    set_aside: int = 0
    pending: int = 0


@dataclass(frozen=True)
class Job(Generic[M]):
    """What the partitions of a consumer have in common; see `Consumer`."""

    model: type[M]
    handle: Callable[[DocumentChange[M]], Awaitable[object]]
    store: Store
    records: Records
    partitions: int
    start: str
    lost: Literal["begin", "hold"]
    retry: Retry
    timeout: float
    max_failed: int
    page_size: int
    stats: ConsumerStats


def partition_of(text: str, partitions: int) -> int:
    """Return the number of the partition of a key: the same on every machine, and with every version of Python."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8]) % partitions


class Partition(Generic[M]):
    """Handles the changes of the keys that belong to a partition.

    Args:
        job: what there is to do.
        number: the partition's number, from 0.
        lease: the lease on the partition.

    Attributes:
        number: as above.
        lease: as above.
        stopping: whether the work is to end after the change in hand.
        problem: why the work cannot go on, if it cannot.
    """

    def __init__(self, job: Job[M], number: int, lease: Lease) -> None:
        self.number = number
        self.lease = lease
        self.stopping = asyncio.Event()
        self.problem = ""
        self._job = job
        self._records = job.records
        self._live = job.store.live
        self._info: ModelInfo = model_info(job.model)
        self._woken = asyncio.Event()
        self._token = ""
        self._place: Place | None = None
        self._kept: Place | None = None
        self._aside: set[str] = set()
        self._seen: dict[str, str] = {}  # the revisions of what is set aside, as it was looked at
        self._logged: tuple[str, type[BaseException]] | None = None
        self._behind_since: float | None = None

    @property
    def lag(self) -> float:
        """Since how many seconds there may be changes that are not handled; 0 if none is waiting, or nobody works."""
        return 0.0 if self._behind_since is None else time.monotonic() - self._behind_since

    def stop(self) -> None:
        """Let the work end after the change in hand."""
        self.stopping.set()
        self._woken.set()

    async def pause(self, seconds: float) -> None:
        """Wait, but not longer than until the work is to end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.stopping.wait()

    async def lead(self, *, once: bool = False) -> None:
        """Work as long as the lease is held and nobody stops it; with `once`, until everything is handled.

        Raises:
            ConsumerHeld: somebody has to decide how it goes on.
            CouchError: CouchDB cannot be used.
        """
        self._job.stats.partitions.add(self.number)
        try:
            await self.lease.hold(self._work(once))
        finally:
            self._behind_since = None
            self._job.stats.partitions.discard(self.number)

    # ------------------------------------------------------------ the work

    async def _work(self, once: bool) -> None:
        self._behind_since = time.monotonic()
        try:
            await self._begin()
            self._aside, self._seen = set(await self._records.failed()), {}
            if self._place is not None:
                await self._follow(self._place, once)
        finally:
            await self._leave()

    async def _follow(self, place: Place, once: bool) -> None:
        ended = True

        def listener(batch: Batch) -> None:
            nonlocal ended
            ended = batch.lost
            if batch.observed or batch.lost:
                self._woken.set()

        feed = self._live.feed
        try:
            while not self.stopping.is_set():
                self._woken.clear()
                if ended:
                    await feed.listen(listener, self._concerns, place.seq)
                    ended = False
                more = await self._page()
                if not more and not self.stopping.is_set():
                    await self._replay()
                    if once:
                        return
                    await self._rest()
        finally:
            feed.leave(listener)

    def _concerns(self, document_id: str) -> bool:
        return document_id.startswith(self._records.prefix) or may_be_of(self._info, document_id)

    async def _rest(self) -> None:
        """Wait for changes, or until it is time to look again."""
        if not self._woken.is_set():
            self._behind_since = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_AGAIN):
                    await self._woken.wait()
        self._behind_since = self._behind_since or time.monotonic()

    async def _page(self) -> bool:
        """Handle a page of changes, and keep the place after it; return whether more follow at once."""
        begun, job, place = time.monotonic(), self._job, self._place
        assert place is not None
        try:
            page = await self._live.page(job.model, place, limit=job.page_size, wanted=self._may_be_own)
            await self._live.check(place)  # before that the page could be of a database that is made anew just then
        except ChangesLost as error:
            await self._lose(error)
            return True
        for change in self._in_order(page.changes):
            if self.stopping.is_set():
                return False
            if self._is_own(change.document["_id"], _text(change.key)) and not await self._deal(change):
                return False
            if not self._info.history:  # their order here is not that of the feed
                self._place = Place.parse(change.place)
        self._place = page.next
        job.stats.pending = page.pending
        if not page.more:
            self._behind_since = begun  # everything from before then is handled
        if await self._keep():
            self.problem = ""
            return page.more
        await self._begin()
        return True

    def _in_order(self, changes: list[DocumentChange[M]]) -> list[DocumentChange[M]]:
        """The changes of a page, with the versions of a document in order: they can come from several shards."""
        return sorted(changes, key=lambda each: _version(each.document)) if self._info.history else changes

    async def _deal(self, change: DocumentChange[M]) -> bool:
        """Handle a change, or set it aside if each attempt fails; return False if the work is to end before that."""
        job, failures = self._job, 0
        observer = job.store.database.server.observer
        while True:
            try:
                async with asyncio.timeout(job.timeout):
                    await job.handle(change)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt | SystemExit) or _is_cancelled():
                    raise
                # Whatever goes wrong in the service's own code; a CancelledError can come of a task of its own.
                failures += 1
                job.stats.failures += 1
                observer.consumed(self._records.name, "failed")
                self._log(change, error)
                if failures >= job.retry.attempts:
                    await self._set_aside(change, failures, error)
                    return True
            else:
                job.stats.handled += 1
                observer.consumed(self._records.name, "handled")
                await self._settled(change.document["_id"])
                return True
            await self.pause(job.retry.delay(failures))
            if self.stopping.is_set():
                return False

    async def _settled(self, document_id: str) -> None:
        if document_id in self._aside:
            await self._records.drop([document_id])
            self._aside.discard(document_id)

    async def _set_aside(self, change: DocumentChange[M], attempts: int, error: BaseException) -> None:
        job, document_id = self._job, change.document["_id"]
        known = set(await self._records.failed(job.max_failed + 1))
        if document_id not in known and len(known) >= job.max_failed:
            raise ConsumerHeld(
                f"the consumer {self._records.name} has set aside {len(known)} changes, which is the most that it may;"
                " find out why with `tornado-couch consumers failed`, then replay or drop them"
            )
        await self._records.set_aside(document_id, _text(change.key), attempts, type(error).__qualname__)
        self._aside.add(document_id)
        job.stats.set_aside += 1
        job.store.database.server.observer.consumed(self._records.name, "set aside")
        logger.error(
            "the consumer %s has set aside the change of %s after %d attempts",
            self._records.name, change.key, attempts,
        )  # fmt: skip

    def _log(self, change: DocumentChange[M], error: BaseException) -> None:
        if (known := (change.place, type(error))) == self._logged:
            return
        self._logged = known
        # The exception's message can have contents of the document, so only its class and its origin are logged.
        where = "".join(traceback.format_tb(error.__traceback__))
        logger.warning(
            "the consumer %s could not handle a change of %s: %s\n%s",
            self._records.name, change.key, type(error).__qualname__, where,
        )  # fmt: skip

    async def _replay(self) -> None:
        """Handle what was set aside, as it is now, where somebody has asked for that."""
        revisions = await self._records.revisions()
        self._aside = set(revisions)
        changed = [each for each, revision in revisions.items() if self._seen.get(each) != revision]
        for each in await self._records.failures(changed):
            place = self._place
            if place is None or self.stopping.is_set():
                return
            if not each.replay or not self._is_own(each.document_id, each.key):
                continue
            changes: list[DocumentChange[M]] = []
            async for observed in self._live.observe([Change(each.document_id, place.seq, [])]):
                changes += await self._live.understood(self._job.model, observed, place.database)
            for change in changes:
                await self._deal(change)
            if not changes:  # nothing is left of the document that could be handled
                await self._settled(each.document_id)
        self._seen = revisions

    # ------------------------------------------------------------ partitions

    def _is_own(self, document_id: str, key: str | None) -> bool:
        """Whether a document belongs to the partition."""
        text = document_id if self._by_id or key is None else key
        return partition_of(text, self._job.partitions) == self.number

    def _may_be_own(self, document_id: str) -> bool:
        """Whether a document with this id can belong to the partition; if only its key says so, True."""
        return not self._by_id or self._is_own(document_id, None)

    @property
    def _by_id(self) -> bool:
        """Whether the id of a document says as much as its key."""
        key = self._info.key
        return not self._info.history and (key is None or key.generated or self._info.unique)

    # ------------------------------------------------------------ the place

    async def _begin(self) -> None:
        """Find out where to go on."""
        while not self.stopping.is_set():
            try:
                beginning = await self._beginning()
                if beginning is not None:
                    await self._go_on(beginning)
                    return
            except ChangesLost as error:
                await self._lose(error)
                return
            await self.pause(_FIRST)

    async def _go_on(self, beginning: Beginning) -> None:
        reached = await self._records.reached(self.number, self._job.partitions)
        if reached is not None and reached.token == beginning.token:
            place = self._kept = await self._live.place(reached.place)
        else:
            place, self._kept = await self._live.place(beginning.since), None
        await self._live.check(place)
        self._place, self._token = place, beginning.token

    async def _beginning(self) -> Beginning | None:
        """Where the consumer began; None if the first partition has still to say so."""
        found, partitions = await self._records.beginning(), self._job.partitions
        if found is not None:
            if found.partitions is None:
                return await self._records.begin(found.since, partitions, found.token)
            if found.partitions != partitions:
                raise ConsumerHeld(
                    f"the consumer {self._records.name} has worked with partitions={found.partitions}, and not"
                    f" {partitions}: let it begin again with `tornado-couch consumers reset`, or under another name"
                )
            return found
        if self._token:  # CouchDB tells apart only databases that were made in different seconds
            raise ChangesLost("the database was made anew")
        if self.number:
            return None
        since = str(await self._live.now()) if self._job.start == "now" else self._job.start
        return await self._records.begin(since, partitions)

    async def _lose(self, error: ChangesLost) -> None:
        """Begin again, or say that somebody has to decide."""
        name = self._records.name
        if self._job.lost == "hold":
            raise ConsumerHeld(
                f"the consumer {name} has lost its place ({error}); say where it begins again with"
                " `tornado-couch consumers reset`"
            ) from error
        logger.warning("the consumer %s begins again with the first change: %s", name, error)
        await self._go_on(await self._records.begin("beginning", self._job.partitions))

    async def _keep(self) -> bool:
        """Keep the place; False if the consumer was told to begin again."""
        beginning = await self._records.beginning()
        if beginning is None or beginning.token != self._token or beginning.partitions != self._job.partitions:
            return False
        place = self._place
        if place is not None and (self._kept is None or _number(place) != _number(self._kept)):
            await self._records.reach(self.number, self._job.partitions, Reached(self._token, str(place)))
            self._kept = place
        return True

    async def _leave(self) -> None:
        """Keep the place at the end, unless another process may already work."""
        if self.lease.held and self._place not in (None, self._kept):
            with contextlib.suppress(CouchError, TimeoutError):
                async with asyncio.timeout(_LEAVING):
                    await self._keep()


def _is_cancelled() -> bool:
    """Whether the work itself is to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _text(key: Any) -> str | None:
    return None if key is None else str(key)


def _version(document: dict[str, Any]) -> int:
    try:
        return version_of(document).number
    except InvalidDocument:
        return 0


def _number(place: Place) -> str:
    """What says whether a place lies further on: on a cluster the rest of a sequence can differ each time."""
    return str(place.seq).partition("-")[0]
