"""`Unread`: gives up answers that clients leave unread, so that their bytes do not fill the memory."""

from __future__ import annotations

import asyncio

from tornado.iostream import IOStream

__all__ = ["Unread"]

_SLOWEST = 32 * 1024  # bytes that a client has to read in a second


class Unread:
    """Follows the answers that have not left yet.

    Args:
        seconds: how long a client may leave an answer unread; a long one also gets a second for each 32 KiB.
        most: the bytes of all such answers; where there are more, the oldest is given up at once.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._sizes: dict[IOStream, int] = {}  # the oldest first
        self._timers: dict[IOStream, asyncio.TimerHandle] = {}

    def follow(self, stream: IOStream, size: int) -> None:
        """Give the connection up unless its client reads an answer of so many bytes in time."""
        if not stream.writing():
            return
        self._forget(stream)
        self._sizes[stream] = size
        time = self._seconds + size / _SLOWEST
        self._timers[stream] = asyncio.get_running_loop().call_later(time, self._give_up, stream)
        if sum(self._sizes.values()) > self._most:
            self._make_room()

    def _make_room(self) -> None:
        for each in [each for each in self._sizes if each.closed() or not each.writing()]:
            self._forget(each)
        while len(self._sizes) > 1 and sum(self._sizes.values()) > self._most:
            self._give_up(next(iter(self._sizes)))

    def _give_up(self, stream: IOStream) -> None:
        self._forget(stream)
        if not stream.closed() and stream.writing():
            stream.close()

    def _forget(self, stream: IOStream) -> None:
        self._sizes.pop(stream, None)
        timer = self._timers.pop(stream, None)
        if timer is not None:
            timer.cancel()
