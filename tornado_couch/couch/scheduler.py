"""Joins concurrent calls: while some groups are under way, later calls wait together and leave as one request.

There is no timer. A call leaves at once, that is, when the event loop has run what is ready now, while fewer than
`GroupLimits.in_flight` groups are under way; else with the next group, in the order of the calls. So nothing waits
when there is little to do, and groups grow by themselves with the load.

A call that is asked for again before it has left can share its slot; one that has left is never joined. So a read
that starts after a write was acknowledged is answered by a request that left after it, too.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ..errors import TotalTimeout, Unavailable
from .observer import Observer

__all__ = ["GroupLimits", "Grouping", "copied", "told"]

T = TypeVar("T")
R = TypeVar("R")

# How many calls are looked at to fill a group, where many of them cannot go into one group.
_LOOKED_AT = 4


@dataclass(frozen=True)
class GroupLimits:
    """How large groups become.

    Attributes:
        in_flight: how many groups of one kind are under way at once; more make smaller groups.
        documents: how many documents a group has at most.
        content_bytes: how large a group's content is at most, of a read as it is to be expected from those
            before. A larger document goes by itself.

    Raises:
        ValueError: one of them is less than 1.
    """

    in_flight: int = 3
    documents: int = 64
    content_bytes: int = 256 * 1024

    def __post_init__(self) -> None:
        if min(self.in_flight, self.documents, self.content_bytes) < 1:
            raise ValueError("every limit of groups must be at least 1")


class _Slot(Generic[T, R]):
    """One place in a group, for one caller or for several who want the very same."""

    __slots__ = ("group", "identity", "item", "waiters", "weight")

    def __init__(self, identity: Hashable, item: T, weight: int) -> None:
        self.identity = identity
        self.item = item
        self.weight = weight
        self.waiters: list[asyncio.Future[R]] = []
        self.group: _Group[T, R] | None = None  # that it left with


@dataclass(eq=False)
class _Group(Generic[T, R]):
    """What is under way as one request."""

    slots: list[_Slot[T, R]] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    awaited: int = 0  # slots that somebody still waits for


class Grouping(Generic[T, R]):
    """Carries out calls of one kind in groups.

    Args:
        send: carries out a group: for each item, in order, its result or its own exception. What it raises
            is raised to every caller of the group.
        limits: how large groups become.
        seconds: how long a call waits for its result, in the queue and under way; None is for ever.
        sharing: calls with one identity are the same: before they leave they share a place. Otherwise two
            of them never leave in one group.
        duplicate: makes another result of one that several callers share.
    """

    def __init__(
        self,
        send: Callable[[list[T]], Awaitable[Sequence[R | Exception]]],
        limits: GroupLimits,
        *,
        seconds: float | None = None,
        sharing: bool = False,
        duplicate: Callable[[R], R] = lambda result: result,
    ) -> None:
        self._send = send
        self._limits = limits
        self._seconds = seconds
        self._sharing = sharing
        self._duplicate = duplicate
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reset()

    def _reset(self) -> None:
        self._queue: deque[_Slot[T, R]] = deque()
        self._shared: dict[Hashable, _Slot[T, R]] = {}  # those of the queue, by identity
        self._groups: set[_Group[T, R]] = set()
        self._starting: _Group[T, R] | None = None  # its task has not run yet, so it takes what still comes
        # All have the same time, so the first to come is the first whose time is up: one timer does for all.
        self._waiting: deque[tuple[float, _Slot[T, R], asyncio.Future[R]]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def ask(self, identity: Hashable, item: T, *, weight: int = 0) -> R:
        """The result of one call.

        Args:
            identity: what the call is about, such as a document's id.
            item: what `send` is given.
            weight: bytes, for the limit.

        Raises:
            TotalTimeout: there was no result in time; its `sent` says whether the group had left.
            Exception: the call's own, or what the whole group met.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop  # what belonged to another loop ended with it
            self._reset()
        slot = self._slot(identity, item, weight)
        waiter: asyncio.Future[R] = loop.create_future()
        slot.waiters.append(waiter)
        if self._seconds is not None:
            self._limit(loop, slot, waiter, self._seconds)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                waiter.exception()  # it came too late to be seen
            self._leave(slot, waiter)
            raise

    def _slot(self, identity: Hashable, item: T, weight: int) -> _Slot[T, R]:
        if self._sharing and (shared := self._shared.get(identity)) is not None:
            return shared
        slot: _Slot[T, R] = _Slot(identity, item, weight)
        self._queue.append(slot)
        if self._sharing:
            self._shared[identity] = slot
        self._start()
        return slot

    # ------------------------------------------------------------ groups

    def _start(self) -> None:
        """Let a group leave, if one may: with all that has come until its task runs."""
        if self._queue and self._starting is None and len(self._groups) < self._limits.in_flight:
            group: _Group[T, R] = _Group()
            self._starting = group
            self._groups.add(group)
            # In a context of its own: what a group does belongs to no caller more than to the others.
            loop = asyncio.get_running_loop()
            group.task = contextvars.Context().run(loop.create_task, self._run(group))
            group.task.add_done_callback(lambda _: self._end(group))

    async def _run(self, group: _Group[T, R]) -> None:
        self._starting = None
        try:
            self._fill(group)
            self._start()  # there may be more than one group holds
            if group.slots:
                await self._carry_out(group)
        finally:
            self._end(group)

    def _end(self, group: _Group[T, R]) -> None:
        """Make room for the next group: called at the end, and again by a task that was cancelled before it ran."""
        if group in self._groups:
            self._groups.discard(group)
            if self._starting is group:
                self._starting = None
            self._start()

    def _fill(self, group: _Group[T, R]) -> None:
        limits, identities, held, total = self._limits, set(), [], 0
        for _ in range(min(len(self._queue), limits.documents * _LOOKED_AT)):
            slot = self._queue.popleft()
            if not slot.waiters:
                continue  # everybody has gone
            if slot.identity in identities:
                held.append(slot)
                continue
            if group.slots and total + slot.weight > limits.content_bytes:
                self._queue.appendleft(slot)
                break
            total += slot.weight
            identities.add(slot.identity)
            self._board(slot, group)
            if len(group.slots) == limits.documents:
                break
        # In front of those that came later: first come, first served.
        self._queue.extendleft(reversed(held))
        group.awaited = len(group.slots)

    def _board(self, slot: _Slot[T, R], group: _Group[T, R]) -> None:
        if self._sharing:
            del self._shared[slot.identity]
        slot.group = group
        group.slots.append(slot)

    async def _carry_out(self, group: _Group[T, R]) -> None:
        try:
            results = await self._send([slot.item for slot in group.slots])
        except Exception as error:  # noqa: BLE001 - it is the callers', whatever it is
            results = [error] * len(group.slots)
        except asyncio.CancelledError:
            # By us, since nobody waits any more; or the event loop ends. Nobody may be left waiting.
            self._settle(group, [Unavailable("the request was cancelled")] * len(group.slots))
            raise
        self._settle(group, results)

    def _settle(self, group: _Group[T, R], results: Sequence[R | Exception]) -> None:
        given: set[int] = set()
        for slot, result in zip(group.slots, results, strict=True):
            for waiter in slot.waiters:
                if waiter.done():
                    continue
                if isinstance(result, Exception):
                    # Each caller raises its own: a traceback and a context grow on it.
                    waiter.set_exception(copied(result) if id(result) in given else result)
                else:
                    waiter.set_result(self._duplicate(result) if id(result) in given else result)
                given.add(id(result))

    # ------------------------------------------------------------ callers who go

    def _limit(
        self, loop: asyncio.AbstractEventLoop, slot: _Slot[T, R], waiter: asyncio.Future[R], seconds: float
    ) -> None:
        waiting = self._waiting
        while waiting and waiting[0][2].done():
            waiting.popleft()
        waiting.append((loop.time() + seconds, slot, waiter))
        if self._timer is None:
            self._timer = loop.call_at(waiting[0][0], self._expire, loop)

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give up the calls whose time is up, and wait for the next."""
        self._timer = None
        waiting = self._waiting
        while waiting and (waiting[0][2].done() or waiting[0][0] <= loop.time()):
            _, slot, waiter = waiting.popleft()
            if not waiter.done():
                waiter.set_exception(TotalTimeout("the whole call took too long", sent=slot.group is not None))
                self._leave(slot, waiter)
        if waiting:
            self._timer = loop.call_at(waiting[0][0], self._expire, loop)

    def _leave(self, slot: _Slot[T, R], waiter: asyncio.Future[R]) -> None:
        if waiter not in slot.waiters:
            return
        slot.waiters.remove(waiter)
        if slot.waiters:
            return
        group = slot.group
        if group is None:
            if self._shared.get(slot.identity) is slot:
                del self._shared[slot.identity]  # nobody may join what will not leave
            return
        group.awaited -= 1
        if not group.awaited and group.task is not None:
            group.task.cancel()


def copied(error: Exception) -> Exception:
    """Another exception that says the same, without where the first one has been raised."""
    kind = type(error)
    other = kind.__new__(kind)
    other.args = error.args
    other.__dict__.update(error.__dict__)
    other.__cause__, other.__suppress_context__ = error.__cause__, error.__suppress_context__
    return other


async def told(observer: Observer, kind: str, call: Awaitable[R]) -> R:
    """The outcome of a call, and the observer told how long it took."""
    began = time.monotonic()
    try:
        return await call
    finally:
        observer.group_awaited(kind, time.monotonic() - began)
