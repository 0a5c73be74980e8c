"""`Stream`: the connection of one client that receives server-sent events, and no more of them than it reads.

The form is that of https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from tornado.iostream import StreamClosedError
from tornado.web import RequestHandler

__all__ = ["Stream", "frame"]

_MOST_WAITING = 256 * 1024  # bytes of events that a client has not read yet
_STALLED = 60.0  # seconds that it may read nothing


def frame(event: str, token: str, data: bytes) -> bytes:
    """Return the text of an event, whose data has no line breaks."""
    return b"event: %b\nid: %b\ndata: %b\n\n" % (event.encode(), token.encode(), data)


class Stream:
    """Sends events to one client.

    Args:
        handler: the handler of the request; it stays unfinished until `ended` is called.
        ended: called once, when nothing more will be sent.
    """

    __slots__ = ("_bytes", "_ended", "_handler", "_last", "_waiting", "_writing", "_writing_since")

    def __init__(self, handler: RequestHandler, ended: Callable[[], None]) -> None:
        self._handler = handler
        self._ended: Callable[[], None] | None = ended
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._writing: asyncio.Future[None] | None = None
        self._writing_since = 0.0
        self._last: bytes | None = None

    @property
    def is_open(self) -> bool:
        """Whether it still takes events."""
        return self._ended is not None and self._last is None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will be sent."""
        return self._ended is None

    def send(self, text: bytes) -> bool:
        """Send an event, now or once the client has read the ones before it; return whether there was room for it."""
        if not self.is_open:
            return True
        if self._writing is None:
            self._write(text)
            return True
        if self._waiting and self._bytes + len(text) > _MOST_WAITING:
            return False
        self._waiting.append(text)
        self._bytes += len(text)
        return True

    async def sent(self, text: bytes) -> None:
        """Send an event once the client has read the ones before it."""
        while self._writing is not None and self.is_open:
            await asyncio.wait([self._writing], timeout=_STALLED)
            if self.is_stalled(time.monotonic()):
                self.abort()
        self.send(text)

    @property
    def is_busy(self) -> bool:
        """Whether the client has not read everything yet."""
        return self._writing is not None

    def abort(self) -> None:
        """Close the connection of a client that does not read."""
        connection = self._handler.request.connection
        if connection is not None:
            connection.stream.close()  # type: ignore[attr-defined]  # Tornado's connections have one
        self.close()

    def end(self, last: bytes = b"", *, drop: bool = False) -> None:
        """Send a last event, and end the stream.

        Args:
            last: the event; empty for none.
            drop: leave out what still waits.
        """
        if not self.is_open:
            return
        if drop:
            self._waiting.clear()
        self._last = last
        if self._writing is None:
            self._finish()

    def close(self) -> None:
        """Forget the client, which is gone."""
        self._waiting.clear()
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()

    def is_stalled(self, now: float) -> bool:
        """Whether the client has read nothing for long."""
        return self._writing is not None and now - self._writing_since > _STALLED

    def _write(self, text: bytes) -> None:
        try:
            self._handler.write(text)
            self._writing = asyncio.ensure_future(self._handler.flush())
        except (StreamClosedError, RuntimeError):
            self.close()
            return
        self._writing_since = time.monotonic()
        if self._writing.done():  # what it was given fits into the socket's buffer
            self._written(self._writing)
        else:
            self._writing.add_done_callback(self._written)

    def _written(self, done: asyncio.Future[None]) -> None:
        self._writing = None
        if done.cancelled() or done.exception() is not None or self._ended is None:
            self.close()
        elif self._waiting:
            text = b"".join(self._waiting)
            self._waiting.clear()
            self._bytes = 0
            self._write(text)
        elif self._last is not None:
            self._finish()

    def _finish(self) -> None:
        last, self._last = self._last, b""
        if last:
            self._write(last)
        else:
            self.close()
