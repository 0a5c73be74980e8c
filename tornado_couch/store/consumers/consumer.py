"""Calls a function for each change of a model's documents: at least once, and in one process at a time.

    async def send_invoice(change: DocumentChange[Order]) -> None:
        ...

    async with Consumer("invoices", Order, send_invoice, store=store):
        await serve_until_stopped()
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Generic, Literal, Self, TypeVar

from ...errors import ConsumerHeld, CouchError
from ...models import Model
from ..conflicts.lease import Lease
from ..live import DocumentChange
from ..store import Store
from ..writing.writer import Retry
from .members import Members
from .partition import ConsumerStats, Job, Partition
from .records import Records

__all__ = ["Consumer"]

M = TypeVar("M", bound=Model)

logger = logging.getLogger("tornado_couch.consumers")

_CUT_OFF = 10.0  # seconds in which work that was cancelled has to end
_OUTAGE = Retry(base=0.5, cap=5.0)  # the waits while CouchDB cannot be used


class Consumer(Generic[M]):
    """Calls a function for each change of a model's documents, in one process at a time, and keeps its place.

    Every process of a service can run one with the same name; one of them works, and the others wait for its lease
    to end. The place is kept in the database after each page of changes, so whoever goes on repeats at most a page.

    Changes are those of `Store.changes`: every document after its last change, also what is there when the consumer
    first begins; with `history=True`, every version. `handle` is called again for a change if it raised an
    exception, if its process died, or if a lease was lost; a document's changes come in order.

    Args:
        name: the consumer's name; where it has come is kept under it.
        model: the model whose documents are followed.
        handle: called with each change; it is awaited before the next one.
        store: where the documents are, with the keys of the service.
        partitions: how many parts to divide the keys into. Each part has one process at a time, and the processes
            share them evenly; changes of one key stay in order. The number is kept with the place.
        start: where the consumer begins when it first runs: "beginning", "now", or the `place` of a change.
        lost: what to do if the place is lost because the database was made anew: "begin" again with the first change,
            or "hold" until somebody decides with `tornado-couch consumers reset`.
        retry: how often to call `handle` for a change before it is set aside, and how long to wait in between.
        timeout: seconds that a call of `handle` may take.
        max_failed: how many changes may be set aside; with one more the consumer waits for somebody to decide.
        max_lag: after how many seconds of being behind the service reports that it is not ready; None for never.
        page_size: how many changes to read at a time.
        lease_seconds: how long the other processes wait when the process that works dies.
        settle: see `Lease`.
        stop_seconds: how long the change in hand may take when the consumer is stopped; then it is cancelled.

    Attributes:
        name: as above.
        store: as above.
        stats: what it has done in this process.

    Raises:
        ValueError: an argument is out of range.
        KeySetError: the store lacks a key that the model needs.
    """

    def __init__(
        self,
        name: str,
        model: type[M],
        handle: Callable[[DocumentChange[M]], Awaitable[object]],
        *,
        store: Store,
        partitions: int = 1,
        start: str = "beginning",
        lost: Literal["begin", "hold"] = "begin",
        retry: Retry | None = None,
        timeout: float = 300.0,
        max_failed: int = 1000,
        max_lag: float | None = None,
        page_size: int = 100,
        lease_seconds: float = 5.0,
        settle: float = 1.0,
        stop_seconds: float = 10.0,
    ) -> None:
        if not 1 <= partitions <= 1024:
            raise ValueError("a consumer has from 1 to 1024 partitions")
        if lost not in ("begin", "hold"):
            raise ValueError('`lost` must be "begin" or "hold"')
        store.check(model)
        self.name = name
        self.store = store
        self.stats = ConsumerStats()
        self._max_lag = max_lag
        self._stop_seconds = stop_seconds
        self._lease_seconds, self._settle = lease_seconds, settle
        tries, records = retry or Retry(attempts=5, base=1.0, cap=60.0), Records(store, name)
        self._job = Job(
            model, handle, store, records, partitions, start, lost, tries, timeout, max_failed, page_size, self.stats
        )
        self._enter()
        self._tasks: list[asyncio.Task[None]] = []

    def _enter(self) -> None:
        """Get names of this process's own for the leases: the consumer may have been made before the process forked."""
        owner, partitions = f"{socket.gethostname()}:{os.getpid()}", self._job.partitions
        self._members = Members(self.store.database, self.name, partitions, seconds=self._lease_seconds)
        self._partitions = []
        for number in range(partitions):
            work = f"consumer_{self.name}_{number}_of_{partitions}"
            lease = Lease(self.store.database, work, owner=owner, seconds=self._lease_seconds, settle=self._settle)
            self._partitions.append(Partition(self._job, number, lease))

    @property
    def lag(self) -> float:
        """Since how many seconds there may be changes that this process should have handled and has not."""
        return max(each.lag for each in self._partitions)

    def reasons(self) -> list[str]:
        """Why the consumer does not do its work as it should, one sentence for each reason; for operators."""
        found = sorted({each.problem for each in self._partitions if each.problem})
        if self._max_lag is not None and self.lag > self._max_lag:
            found.append(f"the consumer {self.name} is more than {self._max_lag:g} seconds behind")
        return found

    # ------------------------------------------------------------ start and stop

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def start(self) -> None:
        """Start in the background of the running event loop, at once and without asking CouchDB.

        Raises:
            RuntimeError: it is already running.
        """
        if self._tasks:
            raise RuntimeError(f"the consumer {self.name} is already running")
        self._enter()
        self._tasks = [asyncio.create_task(self._run(each)) for each in self._partitions]
        self._tasks.append(asyncio.create_task(self._attend()))

    async def stop(self) -> None:
        """Stop: the change in hand may finish within `stop_seconds`; then keep the place, and give the leases back."""
        tasks, self._tasks = self._tasks, []
        if not tasks:
            return
        tasks.pop().cancel()
        for each in self._partitions:
            each.stop()
        await asyncio.wait(tasks, timeout=self._stop_seconds)
        for task in tasks:
            task.cancel()
        _, left = await asyncio.wait(tasks, timeout=_CUT_OFF)
        if left:
            logger.error("the consumer %s was cancelled, but its function goes on", self.name)
        await self._members.leave()

    async def once(self) -> bool:
        """Handle what there is to handle now, except where another process does; return whether none did.

        Raises:
            ConsumerHeld: somebody has to decide how it goes on.
            CouchError: CouchDB cannot be used.
        """
        everything = True
        for each in self._partitions:
            if await each.lease.acquire() is None:
                everything = False
            else:
                await each.lead(once=True)
        return everything

    # ------------------------------------------------------------ holding the leases

    async def _run(self, partition: Partition[M]) -> None:
        """Work on a partition whenever this process holds its lease, until the consumer is stopped."""
        failures = 0
        pause = min(self._lease_seconds / 4, max(1.0, self._job.partitions / 4))
        while self._tasks:
            partition.stopping.clear()
            try:
                if await self._take(partition):
                    await partition.lead()
                    failures = 0
                await partition.pause(pause)
            except Exception as error:  # noqa: BLE001 - whatever went wrong, changes must be handled
                failures += 1
                self._report(partition, error)
                await partition.pause(_OUTAGE.delay(failures))

    async def _take(self, partition: Partition[M]) -> bool:
        """Take the lease on a partition if it is free, and this process does not have its share of them yet."""
        lease, members = partition.lease, self._members
        if self._job.partitions > 1 and (not await lease.is_free() or len(self.stats.partitions) >= members.share):
            return False
        return await lease.acquire() is not None

    def _report(self, partition: Partition[M], error: Exception) -> None:
        problem = str(error) if isinstance(error, ConsumerHeld) else ""
        if isinstance(error, CouchError):
            logger.warning("the consumer %s waits for CouchDB: %s", self.name, error)
        elif not problem:
            logger.error("the consumer %s failed", self.name, exc_info=error)
        elif problem not in self.reasons():
            logger.error("%s", problem)
        partition.problem = problem

    async def _attend(self) -> None:
        """Share the partitions with the other processes, and report how far this one is behind."""
        while True:
            if self._job.partitions > 1:
                with contextlib.suppress(CouchError):
                    await self._members.meet()
                for each in sorted(self.stats.partitions)[self._members.share :]:
                    self._partitions[each].stop()
            pending = self.stats.pending if self.stats.partitions else 0
            self.store.database.server.observer.consumer_lagged(self.name, self.lag, pending)
            await asyncio.sleep(self._lease_seconds / 4)
