"""Joins concurrent calls: while some groups are under way, later calls wait together and leave as one request.

There is no timer. While fewer than `GroupLimits.in_flight` groups are under way, a call leaves at once, that is, when
the event loop has run what is ready now; otherwise it leaves with the next group, in the order of the calls. So
nothing waits when there is little to do, and groups grow by themselves with the load.

If the same call is made again before the first has left, both can share a slot; a call that has left is never joined.
So a read that starts after a write was acknowledged is answered by a request that also left after it.
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

__all__ = ["GroupLimits", "Grouping", "Turns", "copied", "told"]

T = TypeVar("T")
R = TypeVar("R")

# How many calls to look at, per place in a group, when many of them cannot go into one group.
_LOOKED_AT = 4


@dataclass(frozen=True)
class GroupLimits:
    """How large groups may become.

    Attributes:
        in_flight: how many groups of one kind are under way at once; more of them make groups smaller.
        documents: how many documents a group may have.
        content_bytes: how large a group's content may be; for reads it is estimated from those before. A larger
            document goes by itself.

    Raises:
        ValueError: one of the numbers is less than 1.
    """

    in_flight: int = 3
    documents: int = 64
    content_bytes: int = 256 * 1024

    def __post_init__(self) -> None:
        if min(self.in_flight, self.documents, self.content_bytes) < 1:
            raise ValueError("every limit for groups must be at least 1")


class _Slot(Generic[T, R]):
    """One place in a group, for one caller or for several that make the same call."""

    __slots__ = ("group", "identity", "item", "shared", "waiters", "weight")

    def __init__(self, identity: Hashable, item: T, weight: int) -> None:
        self.identity = identity
        self.item = item
        self.weight = weight
        self.waiters: list[asyncio.Future[R]] = []
        self.group: _Group[T, R] | None = None  # the group that it left with
        self.shared = False  # several callers get the result


@dataclass(eq=False)
class _Group(Generic[T, R]):
    """Calls that are under way as one request."""

    slots: list[_Slot[T, R]] = field(default_factory=list)
    task: asyncio.Task[None] | None = None
    awaited: int = 0  # slots that callers still wait for


class Grouping(Generic[T, R]):
    """Carries out calls of one kind in groups.

    Args:
        send: carries out a group and returns, for each item in order, its result or its own exception. An exception
            that it raises goes to every caller of the group.
        limits: how large groups may become.
        seconds: how long a call waits for its result, in the queue and under way; None for no limit.
        sharing: whether calls with the same identity are the same call, and share a place until they leave. If not,
            two of them never leave in one group.
        duplicate: copies a result that several callers share.
        is_large: whether a result costs its caller so much time that the next caller gets its own later.
    """

    def __init__(
        self,
        send: Callable[[list[T]], Awaitable[Sequence[R | Exception]]],
        limits: GroupLimits,
        *,
        seconds: float | None = None,
        sharing: bool = False,
        duplicate: Callable[[R], R] = lambda result: result,
        is_large: Callable[[R], bool] = lambda _: False,
    ) -> None:
        self._send = send
        self._limits = limits
        self._seconds = seconds
        self._sharing = sharing
        self._duplicate = duplicate
        self._is_large = is_large
        self._loop: asyncio.AbstractEventLoop | None = None
        self._reset()

    def _reset(self) -> None:
        self._queue: deque[_Slot[T, R]] = deque()
        self._shared: dict[Hashable, _Slot[T, R]] = {}  # the slots in the queue, by identity
        self._groups: set[_Group[T, R]] = set()
        self._starting: _Group[T, R] | None = None  # its task has not run yet, so more calls can join it
        # All calls have the same time limit, so they expire in the order in which they came: one timer is enough. A
        # call leaves this when it ends, since its result may be large.
        self._waiting: dict[asyncio.Future[R], tuple[float, _Slot[T, R]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def ask(self, identity: Hashable, item: T, *, weight: int = 0) -> R:
        """Make one call and return its result.

        Args:
            identity: what the call is about, such as a document's id.
            item: the value for `send`.
            weight: its size in bytes, for the limit.

        Raises:
            TotalTimeout: there was no result in time; its `sent` says whether the group had left.
            Exception: the call's own exception, or that of the whole group.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop  # calls of another event loop ended with it
            self._reset()
        slot = self._slot(identity, item, weight)
        waiter: asyncio.Future[R] = loop.create_future()
        slot.waiters.append(waiter)
        if self._seconds is not None:
            self._limit(loop, slot, waiter, self._seconds)
        try:
            result = await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                waiter.exception()  # nobody waits for it any more
            self._leave(slot, waiter)
            raise
        finally:
            self._waiting.pop(waiter, None)
        # Each caller copies in its own turn of the event loop.
        return self._duplicate(result) if slot.shared else result

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
        """Let a group leave, if one may, with all calls that arrive before its task runs."""
        if self._queue and self._starting is None and len(self._groups) < self._limits.in_flight:
            group: _Group[T, R] = _Group()
            self._starting = group
            self._groups.add(group)
            # It gets a context of its own, since a group belongs to no single caller.
            loop = asyncio.get_running_loop()
            group.task = contextvars.Context().run(loop.create_task, self._run(group))
            group.task.add_done_callback(lambda _: self._end(group))

    async def _run(self, group: _Group[T, R]) -> None:
        self._starting = None
        try:
            self._fill(group)
            self._start()  # there may be more calls than fit into one group
            if group.slots:
                await self._carry_out(group)
        finally:
            group.slots.clear()  # they know the group: what they hold would stay until the garbage collector runs
            self._end(group)

    def _end(self, group: _Group[T, R]) -> None:
        """Make room for the next group; called at the end, and also by a task that was cancelled before it ran."""
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
                continue  # all its callers have gone
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
        # They go in front of the later ones: first come, first served.
        self._queue.extendleft(reversed(held))
        group.awaited = len(group.slots)

    def _board(self, slot: _Slot[T, R], group: _Group[T, R]) -> None:
        if self._sharing:
            del self._shared[slot.identity]
        slot.group = group
        group.slots.append(slot)

    async def _carry_out(self, group: _Group[T, R]) -> None:
        try:
            try:
                results = await self._send([slot.item for slot in group.slots])
            except Exception as error:  # noqa: BLE001 - every error goes to the callers
                results = [error] * len(group.slots)
            await self._settle(group, results)
        except asyncio.CancelledError:
            # Either nobody waits any more and we cancelled it, or the event loop ends. No caller may be left waiting.
            for waiter in (each for slot in group.slots for each in slot.waiters if not each.done()):
                waiter.set_exception(Unavailable("the request was cancelled"))
            raise

    async def _settle(self, group: _Group[T, R], results: Sequence[R | Exception]) -> None:
        given: set[int] = set()
        for slot, result in zip(group.slots, results, strict=True):
            slot.shared = len(slot.waiters) > 1
            for waiter in [each for each in slot.waiters if not each.done()]:
                if isinstance(result, Exception):
                    # Each caller raises a copy of its own, since a traceback and a context are added to it.
                    waiter.set_exception(copied(result) if id(result) in given else result)
                    given.add(id(result))
                elif not waiter.done():  # also after the others have had their turns
                    waiter.set_result(result)
                    if self._is_large(result):
                        await asyncio.sleep(0)

    # ------------------------------------------------------------ callers that go away

    def _limit(
        self, loop: asyncio.AbstractEventLoop, slot: _Slot[T, R], waiter: asyncio.Future[R], seconds: float
    ) -> None:
        until = loop.time() + seconds
        self._waiting[waiter] = until, slot
        if self._timer is None:
            self._timer = loop.call_at(until, self._expire, loop)

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        """Fail the calls whose time is up, and set the timer for the next."""
        self._timer = None
        for waiter, (until, slot) in list(self._waiting.items()):
            if until > loop.time():
                self._timer = loop.call_at(until, self._expire, loop)
                return
            del self._waiting[waiter]
            if not waiter.done():
                waiter.set_exception(TotalTimeout("the whole call took too long", sent=slot.group is not None))
                self._leave(slot, waiter)

    def _leave(self, slot: _Slot[T, R], waiter: asyncio.Future[R]) -> None:
        if waiter not in slot.waiters:
            return
        slot.waiters.remove(waiter)
        if slot.waiters:
            return
        group = slot.group
        if group is None:
            if self._shared.get(slot.identity) is slot:
                del self._shared[slot.identity]  # nobody may join a slot that will not leave
            return
        group.awaited -= 1
        if not group.awaited and group.task is not None:
            group.task.cancel()


class _Line:
    """Those who wait for their turn with one key.

    Attributes:
        waiting: one future for each, in the order in which they came.
        spent: what those before them have used up.
    """

    __slots__ = ("spent", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.spent: set[object] = set()


class Turns:
    """Gives each of some keys to one holder at a time; the others wait in the order in which they came."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, _Line] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def take(self, keys: Sequence[Hashable], seconds: float | None) -> bool:
        """Wait until this caller has all of these keys, which have an order; afterwards `give_back` them.

        Args:
            keys: the keys, each once and in order, so that no two callers wait for each other.
            seconds: how long to wait; None for no limit.

        Returns:
            Whether somebody else had one of them before.

        Raises:
            TotalTimeout: it took too long; the caller has none of them.
        """
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._lines = loop, {}  # the holders in another event loop ended with it
        if self._lines.keys().isdisjoint(keys):
            for key in keys:
                self._lines[key] = _Line()
            return False
        taken: list[Hashable] = []
        try:
            async with asyncio.timeout(seconds):
                for key in keys:
                    await self._wait(key, loop)
                    taken.append(key)
        except BaseException as error:
            self.give_back(taken)
            if isinstance(error, TimeoutError):
                raise TotalTimeout("other writes of the same document took too long", sent=False) from None
            raise
        return True

    def spent(self, key: Hashable, what: object) -> bool:
        """Whether somebody who had the key before, while this holder waited for it, has used something up."""
        line = self._lines.get(key)
        return line is not None and what in line.spent

    def spend(self, key: Hashable, what: object) -> None:
        """Tell those who wait for a key that something is used up."""
        line = self._lines.get(key)
        if line is not None and line.waiting:
            line.spent.add(what)

    def give_back(self, keys: Sequence[Hashable]) -> None:
        """Let the next callers have these keys."""
        for key in keys:
            line = self._lines.get(key)
            while line is not None and line.waiting:
                turn = line.waiting.popleft()
                if not turn.done():
                    turn.set_result(None)
                    break
            else:
                self._lines.pop(key, None)

    async def _wait(self, key: Hashable, loop: asyncio.AbstractEventLoop) -> None:
        line = self._lines.get(key)
        if line is None:
            self._lines[key] = _Line()
            return
        turn: asyncio.Future[None] = loop.create_future()
        line.waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give_back([key])  # the turn came at the very moment
            raise


def copied(error: Exception) -> Exception:
    """A copy of an exception, without the traceback and the context of the first."""
    kind = type(error)
    other = kind.__new__(kind)
    other.args = error.args
    other.__dict__.update(error.__dict__)
    other.__cause__, other.__suppress_context__ = error.__cause__, error.__suppress_context__
    return other


async def told(observer: Observer, kind: str, call: Awaitable[R]) -> R:
    """Await a call and report to the observer how long it took."""
    began = time.monotonic()
    try:
        return await call
    finally:
        observer.group_awaited(kind, time.monotonic() - began)
