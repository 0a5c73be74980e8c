"""The threads of JavaScript and views, and who may have how many of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from weakref import WeakValueDictionary

__all__ = ["IndexUpdates", "Turns"]

# More threads than JavaScript workers (`javascript.WORKERS`): what needs no worker does not wait for one.
THREADS = 16
# How many of them one owner has at most. An endless function holds its thread for the whole of its time limit, and
# whoever asks for it again and again would otherwise hold them all.
SHARE = 4

_Result = TypeVar("_Result")


class Turns:
    """Threads apart from those that read and write documents, shared so that no owner has them all.

    An owner is whatever may be slow by itself: a design document, the queries of a database. Its further requests
    wait in the event loop, where waiting costs nothing.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="embedded-couch-views")
        self._shares: WeakValueDictionary[Hashable, asyncio.Semaphore] = WeakValueDictionary()

    async def run(self, owner: Hashable, work: Callable[..., _Result], *arguments: Any) -> _Result:
        """The result of what runs in a thread, when it is the owner's turn."""
        share = self._shares.get(owner)
        if share is None:
            share = self._shares[owner] = asyncio.Semaphore(SHARE)
        await share.acquire()
        future = asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)
        # Given back when the thread is free, not when a client that lost patience has gone.
        future.add_done_callback(lambda _: share.release())
        return await asyncio.shield(future)

    def close(self) -> None:
        """Wait for what runs, and run nothing more."""
        self._executor.shutdown(wait=True, cancel_futures=True)


class IndexUpdates:
    """Updates of indexes: one at a time for each, and all who need it wait for it without a thread."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._running: dict[Hashable, asyncio.Task[Any]] = {}

    async def reach(self, index: Hashable, reached: Callable[[], bool], update: Callable[[], object]) -> None:
        """Wait until an index has taken in what it had to when this was called.

        Args:
            index: what tells it from others.
            reached: whether it has.
            update: takes in everything; runs in a thread.

        Raises:
            Problem: the update failed, for all who waited for it.
        """
        # The first may have begun before this was called; a second cannot have.
        for _ in range(2):
            if reached():
                return
            running = self._running.get(index)
            if running is None:
                running = asyncio.get_running_loop().create_task(self._turns.run(index, update))
                self._running[index] = running
                running.add_done_callback(lambda _: self._running.pop(index))
            await asyncio.shield(running)

    async def close(self) -> None:
        """Let what runs come to its end, and give up what has not begun."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
