"""`Stream`: the interface of Tornado's `IOStream` over a connection of an event loop, for WebSockets."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any, Protocol

from tornado.ioloop import IOLoop
from tornado.iostream import StreamBufferFullError, StreamClosedError, UnsatisfiableReadError

__all__ = ["Stream", "Wire"]

_AHEAD_BYTES = 64 * 1024  # read before somebody wants them


class Wire(Protocol):
    """The connection that a stream is part of."""

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be written any more."""

    @property
    def is_stalled(self) -> bool:
        """Whether more is waiting to be sent than the buffer should hold."""

    def write(self, data: bytes) -> asyncio.Future[None]:
        """Send bytes; the future is done once the buffer has room again."""

    def cut_off(self) -> None:
        """Close the connection."""

    def read_on(self, wanted: bool) -> None:
        """Go on reading, or pause."""

    def known(self, name: str) -> Any:
        """What the transport knows, such as its socket."""


class _SecureSocket:
    """A socket with what its TLS layer knows, such as the client's certificate."""

    def __init__(self, tls: Any, plain: Any) -> None:
        self._tls = tls
        self._plain = plain

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tls if hasattr(self._tls, name) else self._plain, name)


class Stream:
    """A connection, with the interface of `tornado.iostream.IOStream`; `detach()` of a handler returns it.

    Args:
        wire: the connection.
        max_buffer_size: how many bytes it may hold while a read waits for more.

    Attributes:
        error: why the connection was lost; None if it was closed.
    """

    def __init__(self, wire: Wire, max_buffer_size: int) -> None:
        self._wire = wire
        self.max_buffer_size = max_buffer_size
        self.error: BaseException | None = None
        self._buffer = bytearray()
        self._waiting: asyncio.Future[bytes] | None = None
        self._enough: Callable[[], int | None] = int
        self._lost = False
        self._on_close: Callable[[], None] | None = None

    # ------------------------------------------------------------ state

    @property
    def io_loop(self) -> IOLoop:
        """The event loop."""
        return IOLoop.current()

    @property
    def socket(self) -> Any:
        """The socket, for its addresses, options and certificate."""
        tls, plain = self._wire.known("ssl_object"), self._wire.known("socket")
        return plain if tls is None else _SecureSocket(tls, plain)

    def closed(self) -> bool:
        """Whether the connection is closed."""
        return self._wire.is_closed

    def reading(self) -> bool:
        """Whether somebody waits for bytes."""
        return self._waiting is not None

    def writing(self) -> bool:
        """Whether more is waiting to be sent than the buffer should hold."""
        return self._wire.is_stalled

    def set_nodelay(self, value: bool) -> None:
        """Do nothing: event loops set `TCP_NODELAY` on each connection, and only whole answers are written."""

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Call a function when the connection is closed."""
        self._on_close = callback
        if self._lost:
            self._say_closed()

    def close(self, exc_info: Any = False) -> None:
        """Close the connection; what is small enough for the buffer is still sent."""
        if isinstance(exc_info, tuple):
            self.error = exc_info[1]
        self._wire.cut_off()

    # ------------------------------------------------------------ writing and reading

    def write(self, data: bytes | memoryview) -> asyncio.Future[None]:
        """Send bytes; the future is done once the buffer has room again."""
        return self._wire.write(bytes(data))

    def read_bytes(self, num_bytes: int, partial: bool = False) -> asyncio.Future[bytes]:
        """Read so many bytes; with `partial`, at least one of them."""

        def enough() -> int | None:
            there = len(self._buffer)
            return num_bytes if there >= num_bytes else (there or None) if partial else None

        return self._read(enough)

    def read_until(self, delimiter: bytes, max_bytes: int | None = None) -> asyncio.Future[bytes]:
        """Read up to a delimiter, and with it."""
        return self.read_until_regex(re.escape(delimiter), max_bytes)

    def read_until_regex(self, regex: bytes, max_bytes: int | None = None) -> asyncio.Future[bytes]:
        """Read up to the end of what an expression matches."""
        search = re.compile(regex).search

        def enough() -> int | None:
            found = search(self._buffer)
            if max_bytes is not None and (found.end() if found else len(self._buffer)) > max_bytes:
                raise UnsatisfiableReadError(f"nothing found within {max_bytes} bytes")
            return found.end() if found else None

        return self._read(enough)

    def read_until_close(self) -> asyncio.Future[bytes]:
        """Read all that comes until the connection is closed."""
        return self._read(lambda: len(self._buffer) if self._lost else None)

    def read_into(self, buf: bytearray | memoryview, partial: bool = False) -> asyncio.Future[int]:
        """Read into a buffer; return how many bytes."""

        async def fill() -> int:
            data = await self.read_bytes(len(buf), partial)
            memoryview(buf)[: len(data)] = data
            return len(data)

        return asyncio.ensure_future(fill())

    def _read(self, enough: Callable[[], int | None]) -> asyncio.Future[bytes]:
        if self._waiting is not None:
            raise AssertionError("Already reading")
        waiting = self._waiting = asyncio.get_running_loop().create_future()
        self._enough = enough
        self._serve()
        return waiting

    def _serve(self) -> None:
        """Give the read that waits what it wants, if that has arrived."""
        waiting = self._waiting
        if waiting is None or waiting.done():
            self._waiting = None
            self._wire.read_on(len(self._buffer) <= _AHEAD_BYTES)
            return
        try:
            count = self._enough()
        except UnsatisfiableReadError as error:
            self._fail(error)
            self.close()
            return
        if count is not None:
            self._waiting = None
            data = bytes(self._buffer[:count])
            del self._buffer[:count]
            waiting.set_result(data)
        elif self._lost or self.closed():
            self._fail(StreamClosedError(self.error))
        elif len(self._buffer) > self.max_buffer_size:
            self._fail(StreamBufferFullError("Reached maximum read buffer size"))
            self.close()
        else:
            self._wire.read_on(True)

    def _fail(self, error: Exception) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(error)
            waiting.exception()  # nobody has to look at it

    # ------------------------------------------------------------ what the connection reports

    def feed(self, data: bytes | bytearray) -> None:
        """Take bytes that have arrived."""
        self._buffer += data
        self._serve()

    def lose(self, error: BaseException | None) -> None:
        """Take note that the connection is closed."""
        self._lost = True
        self.error = self.error or error
        if self._waiting is not None:
            self._serve()
        self._say_closed()

    def _say_closed(self) -> None:
        callback, self._on_close = self._on_close, None
        if callback is not None:
            asyncio.get_running_loop().call_soon(callback)
