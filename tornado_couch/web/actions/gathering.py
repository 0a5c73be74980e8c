"""`Gathering`: lets many single writes leave as few requests, while a handler's `perform_…` hooks run at once.

A hook that is called for one document calls the store for one document. Here all hooks of a request run at once, and
the calls that reach the store in the same turn of the event loop are carried out as one. The group does not wait for
a hook that awaits something else first: its call joins a later group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from ...errors import CouchError
from ...store import Change, Check, Creation, Deletion, Expectation, Operation, Store, Update

__all__ = ["Gathering", "at_once", "attempted"]

T = TypeVar("T")

_STARTED = 250  # works that begin, or go on, in one turn of the event loop; a thousand take a tenth of a second


async def attempted(work: Awaitable[Any]) -> Any:
    """Return the result of one item of many, or the exception that ended it."""
    try:
        return await work
    except Exception as error:  # noqa: BLE001 - it is this item's outcome
        return error


async def at_once(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run works that raise nothing at the same time, and return their results in order."""
    async with asyncio.TaskGroup() as group:
        tasks = []
        for number, work in enumerate(works, 1):
            tasks.append(group.create_task(work))
            if number % _STARTED == 0:
                await asyncio.sleep(0)
    return [task.result() for task in tasks]


class Gathering:
    """Stands in for a store while many documents are written, and hands on to it the calls that it does not gather.

    Args:
        store: carries out the groups.
        model: the class of the documents.
    """

    def __init__(self, store: Store, model: type[Any]) -> None:
        self._store = store
        self._model = model
        self._waiting: list[tuple[Operation[Any], asyncio.Future[Any]]] = []
        self._groups: set[asyncio.Task[None]] = set()
        self._outages: list[Exception] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def run(self, items: Sequence[Callable[[], Awaitable[Any]]]) -> list[Any]:
        """Run all items at once; for each, in order, its result or its exception.

        Raises:
            CouchError: the database could not be used, and nothing was written for any item.
        """
        outcomes = list(await asyncio.gather(*(attempted(item()) for item in items)))
        self.raise_outage(outcomes)
        return outcomes

    def raise_outage(self, outcomes: Sequence[Any]) -> None:
        """Raise the outage if every outcome is one: then it is not one item's problem.

        Raises:
            CouchError: the outage.
        """
        if outcomes and all(any(each is outage for outage in self._outages) for each in outcomes):
            raise outcomes[0]

    async def create(self, model: Any, *, check: Check[Any] | None = None) -> Any:
        """Store a new model; see `Store.create`."""
        return await self._gathered(Creation(model, check))

    async def update(
        self,
        cls: type[Any],
        key: Any,
        change: Change[Any],
        *,
        check: Check[Any] | None = None,
        expected: Expectation | None = None,
    ) -> Any:
        """Change the latest model; see `Store.update`."""
        if cls is not self._model:
            return await self._store.update(cls, key, change, check=check, expected=expected)
        return await self._gathered(Update(key, change, check, expected))

    async def delete(
        self,
        cls: type[Any],
        key: Any,
        *,
        check: Check[Any] | None = None,
        expected: Expectation | None = None,
        confirm: Check[Any] | None = None,
    ) -> Any:
        """Delete a model; see `Store.delete`."""
        if cls is not self._model:
            return await self._store.delete(cls, key, check=check, expected=expected, confirm=confirm)
        return await self._gathered(Deletion(key, check, expected, confirm))

    def _gathered(self, operation: Operation[Any]) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        if not self._waiting:
            loop.call_soon(self._begin)  # after what is ready to run in this turn
        self._waiting.append((operation, future))
        return future

    def _begin(self) -> None:
        group, self._waiting = self._waiting, []
        task = asyncio.get_running_loop().create_task(self._carry_out(group))
        self._groups.add(task)
        task.add_done_callback(self._groups.discard)

    async def _carry_out(self, group: list[tuple[Operation[Any], asyncio.Future[Any]]]) -> None:
        operations = [operation for operation, _ in group]
        try:
            outcomes = await self._written(operations)
        except Exception as error:  # noqa: BLE001 - each caller gets it
            if isinstance(error, CouchError):
                self._outages.append(error)
            outcomes = [error] * len(group)
        for number, ((_, future), outcome) in enumerate(zip(group, outcomes, strict=True), 1):
            if number % _STARTED == 0:
                await asyncio.sleep(0)
            if future.done():
                continue
            if isinstance(outcome, Exception):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)

    async def _written(self, operations: list[Operation[Any]]) -> list[Any]:
        models = [each.model for each in operations if isinstance(each, Creation) and each.check is None]
        if len(models) == len(operations):
            return list(await self._store.create_many(self._model, models))
        return list(await self._store.write_many(self._model, operations))
