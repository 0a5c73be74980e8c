"""`Room`: bounds the bytes of the documents that a process holds at once for the answers that it prepares."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from heapq import heappop, heappush
from itertools import count
from typing import TypeVar
from weakref import WeakValueDictionary

from ...errors import NoRoom
from ..pace import take_turn

__all__ = ["Room", "Share", "read_in_room", "share_of_request"]

T = TypeVar("T")

_LARGE = 64 * 1024  # bytes of a document; smaller ones are not counted, so that they never wait for large ones


class Room:
    """The bytes that all requests of a process together may have in hand; each takes its share and gives it back.

    Where several wait, the smallest share comes first, so that large answers do not hold up the small ones.

    Args:
        most: the number of bytes.
        seconds: how long a request waits for its share.
        within: the room that this one is a part of.
    """

    def __init__(self, most: int, seconds: float, within: Room | None = None) -> None:
        self.most = most
        self.seconds = seconds
        self._within = within
        self._parts: WeakValueDictionary[str, Room] = WeakValueDictionary()
        self._free = most
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []  # a heap
        self._turns = count()

    def part(self, name: str) -> Room:
        """A half of this room, for all requests of one tenant: however many they are, there is room for others."""
        found = self._parts.get(name)
        if found is None:
            found = self._parts[name] = Room(max(1, self.most // 2), self.seconds, self)
        return found

    def take_at_once(self, size: int) -> bool:
        """Take so many bytes if they are free; return whether they were."""
        if not self._take_own(size):
            return False
        if self._within is not None and not self._within.take_at_once(size):
            self._give_back_own(size)
            return False
        return True

    async def take(self, size: int, seconds: float) -> None:
        """Take so many bytes, which must not be more than there are at all.

        Raises:
            NoRoom: they were not free in time.
        """
        if not self._take_own(size):
            await self._wait(size, seconds)
        if self._within is not None:
            try:
                await self._within.take(size, seconds)
            except BaseException:
                self._give_back_own(size)
                raise

    def _take_own(self, size: int) -> bool:
        if size > self._free:
            return False
        self._free -= size
        return True

    async def _wait(self, size: int, seconds: float) -> None:
        turn = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (size, next(self._turns), turn))
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException as error:
            if not turn.cancelled():  # the bytes came in the same moment
                self._give_back_own(size)
            if isinstance(error, TimeoutError):
                raise NoRoom(f"no room for {size} bytes of documents within {seconds} seconds") from None
            raise

    def give_back(self, size: int) -> None:
        """Give bytes back, and let those take theirs for whom there is room now."""
        self._give_back_own(size)
        if self._within is not None:
            self._within.give_back(size)

    def _give_back_own(self, size: int) -> None:
        self._free += size
        while self._waiting and (self._waiting[0][2].done() or self._waiting[0][0] <= self._free):
            wanted, _, turn = heappop(self._waiting)
            if not turn.done():
                self._free -= wanted
                turn.set_result(None)

    def share(self) -> Share:
        """Let what runs inside of its block, and the tasks that it makes, take from this room."""
        return Share(self)


class Share:
    """What one request has taken from a room; at the end of its block it gives all of it back.

    Args:
        room: the room.

    Attributes:
        seconds: how long it waits for more.
    """

    def __init__(self, room: Room) -> None:
        self.seconds = room.seconds
        self._room = room
        self._held = 0
        self._used = 0
        self._kept: dict[str, int] = {}  # what single documents use, by their ids

    def __enter__(self) -> Share:
        self._token = _SHARE.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _SHARE.reset(self._token)
        self.release()

    @property
    def used(self) -> int:
        """How many bytes are in use."""
        return self._used

    async def widen(self, size: int) -> int:
        """Hold as many bytes more than are in use, or as many as there are; return how many.

        Raises:
            NoRoom: they were not free in time.
        """
        size = min(size, self._room.most - self._used)
        more = self._used + size - self._held
        if more > 0 and not self._room.take_at_once(more):
            if not self._used:  # who waits with empty hands keeps nobody waiting
                more += self._held
                self.release()
            await self._room.take(more, self.seconds)
        self._held += max(more, 0)
        return size

    def use(self, size: int) -> None:
        """Note that so many of the bytes are in use now."""
        self._used += size

    def keep(self, document_id: str, size: int) -> bool:
        """Use bytes for a document that has been read already, in place of an earlier copy, unless others hold them.

        Returns:
            Whether they were free. If not, the caller drops the document, and reads it again after `widen`.
        """
        self._used -= self._kept.pop(document_id, 0)
        size = min(size, self._room.most - self._used)
        more = self._used + size - self._held
        if more > 0 and not self._room.take_at_once(more):
            return False
        self._held += max(more, 0)
        self._used += size
        self._kept[document_id] = size
        return True

    def release(self) -> None:
        """Give everything back."""
        held, self._held, self._used = self._held, 0, 0
        self._kept.clear()
        if held:
            self._room.give_back(held)


_SHARE: ContextVar[Share | None] = ContextVar("share", default=None)


async def read_in_room(document_id: str, read: Callable[[], Awaitable[tuple[T, int]]]) -> T:
    """Read a document whose size is not known before; if there is no room for it, drop it and read it again later.

    Args:
        document_id: the document's id.
        read: reads it, and returns it with its bytes.

    Raises:
        NoRoom: others held the room for too long.
    """
    share = share_of_request()
    found, size = await read()
    if size < _LARGE:
        return found
    if share is not None and not share.keep(document_id, size):
        del found  # nobody waits with a document in hand
        await share.widen(size)
        found, size = await read()
        share.keep(document_id, size)
    await take_turn()
    return found


def share_of_request() -> Share | None:
    """The share of the request that is being answered; None outside of one, where nothing is bounded."""
    return _SHARE.get()
