"""Answers that clients leave unread: `Unread` gives them up, so that their bytes do not fill the memory.

`send_part` is for answers that are written part by part, no faster than the client takes them.
"""

from __future__ import annotations

import asyncio

from tornado.iostream import IOStream, StreamClosedError
from tornado.web import RequestHandler

__all__ = ["STALLED", "Unread", "cut_off", "send_part"]

STALLED = 60.0
"""Seconds that a client may leave a part of an answer unread."""

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


async def send_part(handler: RequestHandler, part: bytes, seconds: float = STALLED) -> None:
    """Send a part of an answer, and wait until it has left.

    Args:
        handler: the handler that answers.
        part: the bytes.
        seconds: how long the client may leave them unread.

    Raises:
        StreamClosedError: the client is gone, or did not read them in time.
    """
    handler.write(part)
    try:
        async with asyncio.timeout(seconds):
            leaving = handler.flush()
            unread: Unread | None = getattr(handler.application, "unread", None)
            if unread is not None:
                unread.follow(handler.request.connection.stream, len(part))  # type: ignore[union-attr]
            await leaving
    except TimeoutError:
        cut_off(handler)
        raise StreamClosedError from None


def cut_off(handler: RequestHandler) -> None:
    """Close the connection: the only sign that what was sent is not the whole answer."""
    handler.request.connection.stream.close()  # type: ignore[union-attr]
