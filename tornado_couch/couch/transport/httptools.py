"""Sends requests to CouchDB without an HTTP library but httptools: pooled keep-alive connections, time limits, TLS."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from aiohappyeyeballs import start_connection

from ...errors import ConnectTimeout, CouchError, Unavailable
from .base import Reply, Request, Stream
from .connection import CODINGS, Connection, Exchange
from .pool import KEEP_IDLE_SECONDS, USER_AGENT, Pool

__all__ = ["HttptoolsTransport"]

_NEXT_ADDRESS_SECONDS = 0.25  # RFC 8305 §8: then the next address of the host is tried as well
_CLOSING_SECONDS = 5.0
_WITHOUT_BODY = ("GET", "HEAD")  # RFC 9110 §8.6: the others say that they have none


class HttptoolsTransport(Pool):
    """Carries requests with httptools; connections are opened at first use, in the running event loop.

    A request that changes nothing (`Request.safe`) is sent once more, over a new connection, if its connection is lost
    before the answer begins, which happens when the server closes an idle connection. No other request is ever sent
    twice.

    Args:
        base_url: scheme, host, port and path prefix, without credentials.
        **options: see `Pool`.
    """

    def __init__(self, base_url: str, **options: Any) -> None:
        super().__init__(base_url, **options)
        parts = urlsplit(base_url)
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port or (443 if self._secure else 80)
        self._path = parts.path.rstrip("/")
        self._fields = f"Host: {parts.netloc}\r\nUser-Agent: {USER_AGENT}\r\nAccept-Encoding: "
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open: set[Connection] = set()
        self._idle: deque[Connection] = deque()
        self._sweeper: asyncio.TimerHandle | None = None

    async def send(self, request: Request) -> Reply:
        """Send a request and return the complete answer; see `Transport.send`."""
        await self._turn(request)
        try:
            connection, exchange = await self._exchanged(request, whole=True)
            self._give_back(connection, exchange)
        finally:
            self._slots.release()
        headers = exchange.headers
        return Reply(exchange.status, headers, exchange.taken(), tuple(headers.getall("Set-Cookie", ())))

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[Stream]:
        """Send a request and read the answer as it arrives; see `Transport.stream`."""
        await self._turn(request)
        try:
            connection, exchange = await self._exchanged(request, whole=False)
            # If the block is left early, the connection is closed rather than read to the end of the answer.
            try:
                yield Stream(exchange.status, exchange.headers, _chunks(connection, exchange))
            finally:
                self._give_back(connection, exchange)
        finally:
            self._slots.release()

    async def close(self) -> None:
        """Close every connection; calling it twice is safe."""
        self._closed = True
        closing = list(self._open) if self._loop is asyncio.get_running_loop() else []
        self._forget()
        for each in closing:
            each.close()
        if closing:
            await asyncio.wait([each.closed for each in closing], timeout=_CLOSING_SECONDS)

    # ------------------------------------------------------------ one exchange

    async def _exchanged(self, request: Request, *, whole: bool) -> tuple[Connection, Exchange]:
        """Send a request, and wait for its answer, or for the header of one that is streamed."""
        head = self._head(request, ", ".join(CODINGS) if whole else "identity")
        connection = self._kept() or await self._connected(request)
        exchange = Exchange(request, whole=whole)
        try:
            await connection.send(exchange, head)
        except CouchError:
            connection.close()
            if not (exchange.lost and request.safe) or self._closed:
                raise
        except BaseException:
            connection.close()
            raise
        else:
            return connection, exchange
        connection, exchange = await self._connected(request), Exchange(request, whole=whole)
        try:
            await connection.send(exchange, head)
        except BaseException:
            connection.close()
            raise
        return connection, exchange

    def _head(self, request: Request, codings: str) -> bytes:
        """Return the first line and the header of a request.

        Raises:
            ValueError: a value holds a line break, and would add fields of its own.
        """
        fields = "".join([f"{name}: {value}\r\n" for name, value in request.headers.items()])
        lines = 5 + len(request.headers)
        if request.body is not None or request.method not in _WITHOUT_BODY:
            fields += f"Content-Length: {request.length}\r\n"
            lines += 1
        text = f"{request.method} {self._path}{request.target} HTTP/1.1\r\n{self._fields}{codings}\r\n{fields}\r\n"
        if text.count("\n") != lines or text.count("\r") != lines:
            raise ValueError("a header field of a request to CouchDB holds a line break")
        return text.encode()

    # ------------------------------------------------------------ connections

    def _kept(self) -> Connection | None:
        """Return an idle connection that can be used, and close those that cannot."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._forget()  # the connections of another event loop ended with it
            self._loop = loop
        while self._idle:
            found = self._idle.pop()
            if loop.time() - found.idle_since < KEEP_IDLE_SECONDS and found.is_usable:
                return found
            found.close()
        return None

    def _forget(self) -> None:
        self._open, self._idle = set(), deque()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def _give_back(self, connection: Connection, exchange: Exchange) -> None:
        if not exchange.reusable or self._closed or not connection.is_in_step:
            connection.close()
            return
        connection.rest()
        self._idle.append(connection)
        if self._sweeper is None:
            loop = asyncio.get_running_loop()
            self._sweeper = loop.call_later(KEEP_IDLE_SECONDS, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close the connections that nobody has used for long."""
        self._sweeper = None
        while self._idle and loop.time() - self._idle[0].idle_since >= KEEP_IDLE_SECONDS:
            self._idle.popleft().close()
        if self._idle:
            due = self._idle[0].idle_since + KEEP_IDLE_SECONDS
            self._sweeper = loop.call_at(due, self._sweep, loop)

    def _gone(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    async def _connected(self, request: Request) -> Connection:
        """Open a connection.

        Raises:
            Unavailable: it could not be opened, or `ConnectTimeout`, not in time; nothing was sent.
        """
        self._check_open()
        error: CouchError
        try:
            async with asyncio.timeout(request.timeout.connect):
                return await self._opened()
        except TimeoutError:
            error = ConnectTimeout(_named(request, "the connection could not be opened in time"), sent=False)
        except ssl.SSLCertVerificationError as caught:
            words = f"CouchDB's TLS certificate is not trusted: {caught.verify_message}"
            error = Unavailable(_named(request, words), sent=False)
        except ssl.SSLError:
            error = Unavailable(_named(request, "the TLS connection could not be opened"), sent=False)
        except OSError as caught:
            words = f"the connection could not be opened: {_reason(caught)}"
            error = Unavailable(_named(request, words), sent=False)
        raise error

    async def _opened(self) -> Connection:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        sock = await start_connection(found, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS, loop=loop)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            name = self._host.rstrip(".") if self._secure else None
            _, connection = await loop.create_connection(
                lambda: Connection(self._gone), sock=sock, ssl=self._context(), server_hostname=name
            )
        except BaseException:
            sock.close()
            raise
        if self._closed:
            connection.close()
            self._check_open()
        self._open.add(connection)
        return connection

    def _context(self) -> ssl.SSLContext | None:
        """Return what TLS is made with; the certificates that the system trusts are read at the first use."""
        if not self._secure:
            return None
        if isinstance(self._tls, bool):
            trusting = not self._tls
            self._tls = ssl.create_default_context()
            if trusting:
                self._tls.check_hostname = False
                self._tls.verify_mode = ssl.CERT_NONE
        return self._tls


async def _chunks(connection: Connection, exchange: Exchange) -> AsyncIterator[bytes]:
    while chunk := await connection.part(exchange):
        yield chunk


def _named(request: Request, words: str) -> str:
    return f"{request.method} {request.template}: {words}"


def _reason(error: OSError) -> str:
    """Say why a connection could not be opened; asyncio puts the address in place of the reason."""
    if isinstance(error, socket.gaierror) or not error.errno:
        return error.strerror or str(error)
    return os.strerror(error.errno)
