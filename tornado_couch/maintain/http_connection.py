"""A persistent HTTP/1.1 connection for load generators, which must take far less time than the service they measure.

A request and its answer take about 15 µs here, and ten times that in aiohttp. In return, this is not a general client:
a chunked answer must end without trailers, and a `100 Continue` is not expected.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlsplit

__all__ = ["Answer", "HTTPConnection"]

_END = b"\r\n\r\n"
_LAST_CHUNK = b"\r\n0\r\n\r\n"


class Answer(NamedTuple):
    """The answer of a server.

    Attributes:
        status: its status.
        head: the status line and the header fields.
        body: the content; chunked content stays as it was sent.
    """

    status: int
    head: bytes
    body: bytes

    def header(self, name: str) -> str:
        """The value of a header field; empty if there is none."""
        return _field(self.head, name.lower().encode()).decode("latin-1")


class HTTPConnection(asyncio.Protocol):
    """A connection with at most one request under way; it is opened when it is needed, and again after it was lost.

    Args:
        url: the server's URL: scheme, host and port; the rest is ignored.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        self._address = parts.hostname or "", parts.port or (443 if secure else 80)
        self._tls = ssl.create_default_context() if secure else None
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._waiter: asyncio.Future[Answer] | None = None

    async def open(self) -> None:
        """Connect, unless it is connected.

        Raises:
            OSError: the server cannot be reached, or its certificate is not trusted.
        """
        if self._transport is None or self._transport.is_closing():
            await asyncio.get_running_loop().create_connection(lambda: self, *self._address, ssl=self._tls)

    async def ask(self, request: bytes) -> Answer:
        """Send a complete request, and wait for the complete answer.

        Raises:
            OSError: the connection was lost, or the answer is not HTTP.
        """
        await self.open()
        if self._transport is None:
            raise ConnectionError("the server closed a connection")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            self._transport.write(request)
            return await self._waiter
        except BaseException:
            self.close()  # a late answer must not be taken for the next one
            raise

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    # ------------------------------------------------------------ called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the new connection."""
        self._transport = transport  # type: ignore[assignment]  # a socket's has `write`
        self._received = b""

    def data_received(self, data: bytes) -> None:
        """Receive a part of an answer."""
        received = self._received = self._received + data if self._received else data
        end = received.find(_END)
        if end < 0:
            return
        try:
            size = _size(received, end)
        except ValueError:
            self._fail("the answer is not HTTP")
            return
        if size is not None and len(received) > size:
            self._fail("more than one answer came")
        elif size == len(received):
            self._finish(received, end)

    def connection_lost(self, _: Exception | None) -> None:
        """Note that the server closed the connection, which ends an answer without a length."""
        if self._transport is None or not self._transport.is_closing():
            return  # it was an earlier connection, which has been replaced or closed
        received, end = self._received, self._received.find(_END)
        with suppress(ValueError):
            if end >= 0 and _size(received, end) is None and not _is_chunked(received[:end]):
                self._finish(received, end)
        self._fail("the server closed a connection")

    def _finish(self, received: bytes, end: int) -> None:
        head = received[:end]
        self._received = b""
        if _field(head, b"connection").lower() == b"close":
            self.close()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(Answer(int(head[9:12]), head, received[end + 4 :]))

    def _fail(self, message: str) -> None:
        self.close()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionError(message))


def _size(received: bytes, end: int) -> int | None:
    """The size of an answer in bytes; None until it is known.

    Raises:
        ValueError: it is not an HTTP answer.
    """
    head = received[:end]
    if not head.startswith(b"HTTP/1."):
        raise ValueError("not HTTP")
    if int(head[9:12]) in (204, 304):
        return end + 4
    length = _field(head, b"content-length")
    if length:
        return end + 4 + int(length)
    return len(received) if _is_chunked(head) and received.endswith(_LAST_CHUNK) else None


def _is_chunked(head: bytes) -> bool:
    return _field(head, b"transfer-encoding").lower() == b"chunked"


def _field(head: bytes, name: bytes) -> bytes:
    """The value of a header field; empty if there is none."""
    start = head.lower().find(b"\r\n" + name + b":")
    if start < 0:
        return b""
    start += len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else len(head)].strip()
