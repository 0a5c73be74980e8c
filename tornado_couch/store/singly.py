"""Many writes of models that keep what is deleted or every version: each by itself, several at a time.

What such a write consists of depends on what is there: a creation may follow a deletion. So each goes the way of the
single call, and what those have in common with concurrent ones is joined into groups, as with any concurrent calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Generic, Protocol, TypeVar

from .. import json_text
from ..errors import DocumentNotFound, Unavailable
from ..models import Model, ModelInfo, model_info
from .operations import Change, Check, Creation, Deletion, Expectation, Operation, Update

__all__ = ["Singly"]

M = TypeVar("M", bound=Model)

_AT_ONCE = 32


class _Calls(Protocol):
    """The single calls of a store."""

    async def create(self, model: M) -> M: ...

    async def update(
        self,
        cls: type[M],
        key: Any,
        change: Change[M],
        *,
        check: Check[M] | None = None,
        expected: Expectation | None = None,
    ) -> M: ...

    async def delete(
        self,
        cls: type[M],
        key: Any,
        *,
        check: Check[M] | None = None,
        expected: Expectation | None = None,
        confirm: Check[M] | None = None,
    ) -> M: ...


class Singly(Generic[M]):
    """Writes many models of one class, as `BulkWriter` does.

    Args:
        calls: the store.
        cls: the model.
    """

    def __init__(self, calls: _Calls, cls: type[M]) -> None:
        self._calls = calls
        self._cls = cls
        self._info: ModelInfo = model_info(cls)
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def create(self, models: Sequence[M]) -> list[M | Exception]:
        """Store new models; see `Store.create_many`."""
        return await self.write([Creation(model) for model in models])

    async def write(self, operations: Sequence[Operation[M]]) -> list[M | Exception]:
        """Carry out operations; see `Store.write_many`."""
        outcomes: list[M | Exception] = [DocumentNotFound("not done")] * len(operations)
        tasks = [
            asyncio.ensure_future(self._in_turn(chain, operations, outcomes)) for chain in self._chains(operations)
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:  # of a caller who went away, nothing goes on
                task.cancel()
        if outcomes and all(isinstance(each, Unavailable) for each in outcomes):
            raise outcomes[0]  # type: ignore[misc]  # an outage is no one item's outcome
        return outcomes

    def _chains(self, operations: Sequence[Operation[M]]) -> list[list[int]]:
        """The operations on each document, in their order."""
        chains: dict[object, list[int]] = {}
        for index, operation in enumerate(operations):
            new = operation.key is None
            place = index if new else json_text.dumps(self._info.key_value(operation.key))
            chains.setdefault(place, []).append(index)
        return list(chains.values())

    async def _in_turn(
        self, chain: Sequence[int], operations: Sequence[Operation[M]], outcomes: list[M | Exception]
    ) -> None:
        for index in chain:
            async with self._turns:
                try:
                    outcomes[index] = await self._done(operations[index])
                except Exception as error:  # noqa: BLE001 - it is this item's outcome, whatever a hook raised
                    outcomes[index] = error

    async def _done(self, operation: Operation[M]) -> M:
        if isinstance(operation, Creation):
            return await self._calls.create(operation.model)
        if isinstance(operation, Deletion):
            return await self._calls.delete(
                self._cls,
                operation.key,
                check=operation.check,
                expected=operation.expected,
                confirm=operation.confirm,
            )
        return await self._updated(operation)

    async def _updated(self, operation: Update[M]) -> M:
        try:
            return await self._calls.update(
                self._cls, operation.key, operation.change, check=operation.check, expected=operation.expected
            )
        except DocumentNotFound:
            if operation.absent is None:
                raise
            return await operation.absent()
