"""Merges documents in conflict in the background of a service; one of the service's processes works at a time.

async with Reconciler(store, [Fruit, Basket]):
    await serve_until_stopped()
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from ..errors import BadRequest, CouchError, NotFound, TornadoCouchError
from ..models import Model, model_info
from .conflicts.find import Conflicted, ConflictPage, conflicts_among, conflicts_in_view, conflicts_since
from .conflicts.lease import Lease
from .conflicts.reconcile import ReconcileResult
from .store import Store
from .writing.writer import Retry

__all__ = ["Reconciler", "ReconcilerStats", "reconcile_all"]

logger = logging.getLogger("tornado_couch.store")

_AT_ONCE = 8  # documents that are merged at the same time
_NOTICED_AT_MOST = 10_000


@dataclass
class ReconcilerStats:
    """What a reconciler has done since it was created, for metrics.

    Attributes:
        leading: whether it holds the lease now.
        examined: how many changed documents it has looked at.
        merged: how many merged revisions it has written.
        deleted: how many leaves it has deleted because other leaves contain everything that they had.
        failed: how often it could not deal with a document, for example since other writers were always faster.
        outages: how often it had to stop because CouchDB could not be used.
        kept: the documents that the rules leave in conflict, as far as it knows: the reasons, by id.
        since: the sequence of the changes feed that it has reached.
    """

    leading: bool = False
    examined: int = 0
    merged: int = 0
    deleted: int = 0
    failed: int = 0
    outages: int = 0
    kept: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    since: str | int | None = None

    def add(self, result: ReconcileResult) -> None:
        """Count what happened to a document."""
        self.merged += result.merged
        self.deleted += result.deleted
        self.kept.pop(result.id, None)
        if result.problems and len(self.kept) < _NOTICED_AT_MOST:
            self.kept[result.id] = result.problems


async def reconcile_all(
    store: Store,
    models: Iterable[type[Model]],
    conflicts: Iterable[Conflicted],
    done: Callable[[Conflicted, ReconcileResult | TornadoCouchError], None],
) -> None:
    """Merge some documents, a few at a time.

    Args:
        store: where the documents are.
        models: the models whose documents are merged; other documents are skipped.
        conflicts: the documents in conflict.
        done: called with each document and its result, or with the error that stopped its merge.

    Raises:
        CouchError: CouchDB cannot be used; merges that have begun are cancelled.
    """
    known = {model_info(cls).type.name: cls for cls in models}
    waiting = iter([each for each in conflicts if each.type_name in known])

    async def work() -> None:
        for each in waiting:
            try:
                done(each, await store.reconciliation.reconcile(known[each.type_name], each.id))
            except CouchError:
                raise
            except TornadoCouchError as error:
                done(each, error)

    await _together([work() for _ in range(_AT_ONCE)])


async def _together(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run coroutines until all have ended; the first error cancels the others."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Reconciler:
    """Follows the changes of a database and merges documents in conflict, while it holds the lease on that work.

    Every process of a service can run one; one of them works, and the others wait for its lease to end. A new
    holder continues where the last one stopped, and searches the view of conflicts at the start and now and then.

    Args:
        store: where the documents are, with all keys of the service, to verify leaves and sign merged documents.
        models: the models whose documents are merged.
        interval: seconds between two looks at the changes feed.
        rescan: seconds between two searches of all conflicts, including those that the rules could not decide.
        lease_seconds: how long the other processes wait when the holder of the lease dies.
        settle: see `Lease`.
        retry: how long to wait between tries while CouchDB cannot be used.
        page_size: how many changes to read at a time.

    Attributes:
        stats: what it has done.
        lease: the lease.
    """

    def __init__(
        self,
        store: Store,
        models: Iterable[type[Model]],
        *,
        interval: float = 5.0,
        rescan: float = 600.0,
        lease_seconds: float = 30.0,
        settle: float = 2.0,
        retry: Retry | None = None,
        page_size: int = 500,
    ) -> None:
        self.stats = ReconcilerStats()
        owner = f"{socket.gethostname()}:{os.getpid()}"
        self.lease = Lease(store.database, "reconciler", owner=owner, seconds=lease_seconds, settle=settle)
        self._store = store
        self._models = list(models)
        for cls in self._models:
            store.check(cls)
        self._interval = interval
        self._rescan = rescan
        self._retry = retry or Retry(base=1.0, cap=60.0)
        self._page_size = page_size
        self._noticed: set[str] = set()
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

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
        if self._task is not None:
            raise RuntimeError("this reconciler is already running")
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop: writes that have begun are not awaited, and the lease is given back."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def once(self) -> bool:
        """Merge what there is to merge now, if no other process is about to; return whether it did.

        Raises:
            CouchError: CouchDB cannot be used.
        """
        state = await self.lease.acquire()
        if state is not None:
            await self._lead(state, self._pass())
        return state is not None

    def notice(self, document_id: str, *_: object) -> None:
        """Ask for a document that was seen in conflict to be looked at soon; made for `Store(on_conflict=...)`.

        It does nothing in a process that does not hold the lease: the holder finds the document in the changes feed.
        """
        if self.lease.held and len(self._noticed) < _NOTICED_AT_MOST:
            self._noticed.add(document_id)
            self._woken.set()

    # ------------------------------------------------------------ holding the lease

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                state = await self.lease.acquire()
                if state is None:
                    await asyncio.sleep(min(self._interval, self.lease.seconds / 3))
                else:
                    await self._lead(state, self._work())
                failures = 0
            except Exception as error:  # noqa: BLE001 - whatever went wrong, documents in conflict must be merged
                failures += 1
                self._log_failure(error)
                await asyncio.sleep(self._retry.delay(failures))

    def _log_failure(self, error: Exception) -> None:
        if isinstance(error, CouchError):
            self.stats.outages += 1
            logger.warning("the reconciler of %s waits for CouchDB: %s", self._store.database.name, error)
        else:
            self.stats.failed += 1
            logger.error("the reconciler of %s failed", self._store.database.name, exc_info=error)

    async def _lead(self, state: dict[str, Any], work: Coroutine[Any, Any, None]) -> None:
        """Work for as long as the lease is held, or until all is done."""
        self.stats.leading = True
        self.stats.since = state.get("since")
        try:
            await self.lease.hold(work, self._state)
        finally:
            self.stats.leading = False

    def _state(self) -> dict[str, Any]:
        """What the next holder of the lease continues from."""
        return {} if self.stats.since is None else {"since": self.stats.since}

    # ------------------------------------------------------------ the work

    async def _work(self) -> None:
        begun = self.stats.since is not None
        if not begun:
            # Changes from now on come through the feed; the view has those from before.
            self.stats.since = (await self._store.database.info())["update_seq"]
        scanned = None
        while True:
            if scanned is None or time.monotonic() - scanned >= self._rescan:
                if not await self._scan() and not begun:
                    self.stats.since = 0  # the feed has all documents as well
                scanned, begun = time.monotonic(), True
            await self._follow()
            await self._look_at_noticed()
            with contextlib.suppress(asyncio.TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._woken.wait()
            self._woken.clear()

    async def _pass(self) -> None:
        if self.stats.since is None:
            self.stats.since = (await self._store.database.info())["update_seq"]
            if not await self._scan():
                self.stats.since = 0
        await self._follow()
        await self._look_at_noticed()

    async def _scan(self) -> bool:
        """Look at every document in conflict; False if the view of conflicts is not installed."""
        try:
            async for page in conflicts_in_view(self._store.database, page_size=self._page_size):
                await self._merge(page.conflicts)
        except NotFound:
            logger.warning("the database %s has no view of conflicts; install() creates it", self._store.database.name)
            return False
        return True

    async def _follow(self) -> None:
        """Look at the documents that changed."""
        database = self._store.database
        try:
            async for page in self._pages():
                self.stats.examined += len(page.examined)
                for settled in set(page.examined) - {each.id for each in page.conflicts}:
                    self.stats.kept.pop(settled, None)
                await self._merge(page.conflicts)
                self.stats.since = page.since
        except BadRequest:
            # The sequence belongs to a database that this one has replaced.
            logger.warning("the reconciler of %s starts again: its place in the changes feed is unknown", database.name)
            self.stats.since = 0

    def _pages(self) -> AsyncIterator[ConflictPage]:
        return conflicts_since(self._store.database, self.stats.since or 0, page_size=self._page_size)

    async def _look_at_noticed(self) -> None:
        noticed, self._noticed = sorted(self._noticed), set()
        try:
            await self._merge(await conflicts_among(self._store.database, noticed))
        except CouchError:
            self._noticed.update(noticed)
            raise

    async def _merge(self, conflicts: Iterable[Conflicted]) -> None:
        await reconcile_all(self._store, self._models, conflicts, self._done)

    def _done(self, conflict: Conflicted, outcome: ReconcileResult | TornadoCouchError) -> None:
        if isinstance(outcome, TornadoCouchError):
            self.stats.failed += 1
            self._noticed.add(conflict.id)
            # The id is not logged, since it can be made of a property.
            logger.warning("a %s stays in conflict for now: %s", conflict.type_name, outcome)
            return
        if outcome.problems and outcome.id not in self.stats.kept:
            pointers = sorted({each["pointer"] or "the document" for each in outcome.problems})
            logger.warning("a %s stays in conflict: its rules cannot decide about %s", conflict.type_name, pointers)
        self.stats.add(outcome)
