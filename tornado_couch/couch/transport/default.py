"""Sends requests to CouchDB with aiohttp: pooled keep-alive connections, time limits, TLS.

This is the only module that knows the HTTP library. It translates the library's errors in one place, `_MEANINGS`, and
does not chain them, because aiohttp's messages quote whole URLs with ids and view keys.
"""

from __future__ import annotations

import asyncio
import io
import os
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakSet

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import ContentEncodingError
from yarl import URL

from ... import errors
from ..._version import __version__
from ..observer import Observer, Observers
from .base import Reply, Request, Stream

__all__ = ["AiohttpTransport"]

# Shorter than the time for which servers and load balancers keep idle connections (CouchDB: 300 s), so that
# a pooled connection is seldom already closed at the other end.
_KEEP_IDLE_SECONDS = 15.0
_LONG_BODY_BYTES = 256 * 1024


class _ConnectionLost(aiohttp.ClientConnectionError):
    """The connection ended before the answer began."""


@dataclass(frozen=True, slots=True)
class _Meaning:
    error: type[errors.Unavailable | errors.InvalidReply]
    words: str
    sent: bool = True


# Looked up from the top: subclasses come before their bases.
_MEANINGS: dict[type[BaseException], _Meaning] = {
    aiohttp.ConnectionTimeoutError: _Meaning(
        errors.ConnectTimeout, "the connection could not be opened in time", sent=False
    ),
    aiohttp.SocketTimeoutError: _Meaning(errors.ReadTimeout, "CouchDB sent nothing for too long"),
    aiohttp.ClientConnectorCertificateError: _Meaning(
        errors.Unavailable, "CouchDB's TLS certificate is not trusted", sent=False
    ),
    aiohttp.ClientSSLError: _Meaning(errors.Unavailable, "the TLS connection could not be opened", sent=False),
    aiohttp.ClientConnectorError: _Meaning(errors.Unavailable, "the connection could not be opened", sent=False),
    ContentEncodingError: _Meaning(errors.InvalidReply, "the answer cannot be decompressed"),
    aiohttp.ClientPayloadError: _Meaning(errors.Unavailable, "the connection was lost in the middle of the answer"),
    aiohttp.ClientResponseError: _Meaning(errors.InvalidReply, "the answer is not HTTP"),
    aiohttp.ClientConnectionError: _Meaning(errors.Unavailable, "the connection was lost before the answer"),
    aiohttp.ClientError: _Meaning(errors.InvalidReply, "the exchange failed"),
    asyncio.TimeoutError: _Meaning(errors.ReadTimeout, "CouchDB sent nothing for too long"),
    OSError: _Meaning(errors.Unavailable, "the connection was lost"),
}


@contextmanager
def _translated(request: Request) -> Iterator[None]:
    try:
        yield
    except tuple(_MEANINGS) as caught:
        # aiohttp raises the same exception for a body that is cut off and for one that cannot be decompressed.
        error = caught.__cause__ if isinstance(caught.__cause__, ContentEncodingError) else caught
        meaning = next(meaning for kind, meaning in _MEANINGS.items() if isinstance(error, kind))
        message = f"{request.method} {request.template}: {meaning.words}{_detail(error)}"
        if issubclass(meaning.error, errors.Unavailable):
            raise meaning.error(message, sent=meaning.sent) from None
        raise meaning.error(message) from None


def _detail(error: BaseException) -> str:
    # Only errors about the connection are quoted: the others' texts hold the URL or the answer.
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f": {getattr(error.certificate_error, 'verify_message', error.certificate_error)}"
    if not isinstance(error, aiohttp.ClientConnectorError):
        return ""
    cause = error.os_error
    if isinstance(cause, ssl.SSLError | socket.gaierror) or not cause.errno:
        return f": {cause.strerror or cause}"
    return f": {os.strerror(cause.errno)}"  # asyncio puts the address in place of the reason


class _Slots:
    """Grants as many turns as there are connections; a caller that waits too long gets `PoolTimeout`.

    Unlike with a semaphore inside of `wait_for`, a caller that is cancelled can never keep a turn.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def free(self) -> bool:
        return self._free > 0

    async def acquire(self, seconds: float | None) -> None:
        if self._free > 0:
            self._free -= 1
            return
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiting.append(waiter)
        timer = None if seconds is None else loop.call_later(seconds, _expire, waiter)
        try:
            await waiter
        except BaseException:
            self._give_up(waiter)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def release(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)  # the turn passes on, and is never free in between
                return
        self._free += 1

    def _give_up(self, waiter: asyncio.Future[None]) -> None:
        with suppress(ValueError):
            self._waiting.remove(waiter)
        # It was cancelled in the very step in which its turn came: the turn must go to the next one.
        if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
            self.release()


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(errors.PoolTimeout("all connections were busy for too long", sent=False))


async def _never_resend(
    request: aiohttp.ClientRequest, handler: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]
) -> aiohttp.ClientResponse:
    # aiohttp by itself sends PUT and DELETE again when a connection is lost before the answer. A PUT that CouchDB
    # had already stored then gets 409, although it succeeded. aiohttp does not retry after this error.
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
        raise _ConnectionLost from None


class _Connector(aiohttp.TCPConnector):
    """Drops a connection on which something arrived that was not requested.

    aiohttp would take it for the answer to the next request: if a proxy sends the answer to a write twice, the next
    writer would believe that its own write succeeded.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._used: WeakSet[asyncio.BaseProtocol] = WeakSet()

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> aiohttp.connector.Connection:
        while True:
            connection = await super().connect(req, traces, timeout)
            protocol = connection.protocol
            if protocol is None or protocol not in self._used or not _out_of_step(protocol):
                break
            connection.close()
        if protocol is not None:
            self._used.add(protocol)
        return connection


def _out_of_step(protocol: ResponseHandler) -> bool:
    if protocol.should_close or protocol.transport is None or not hasattr(select, "poll"):
        return protocol.should_close
    # Bytes that the operating system has received but that have not been read: more of an answer, or its end.
    waiting = select.poll()
    waiting.register(protocol.transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(waiting.poll(0))


class AiohttpTransport:
    """Carries requests with aiohttp; the session is created at first use, in the running event loop.

    A request that changes nothing (`Request.safe`) is sent once more if its connection is lost before the answer
    begins, which happens when the server closes an idle connection. No other request is ever sent twice.

    Args:
        base_url: scheme, host, port and path prefix, without credentials.
        ca: a file of trusted certificates in PEM format, instead of the system's.
        verify: False to trust any certificate.
        max_connections: how many connections may be open at once.
        observer: receives how long each request waits for a connection.

    Raises:
        OSError: `ca` cannot be read or contains no certificate.
    """

    def __init__(
        self,
        base_url: str,
        *,
        ca: str | Path | None = None,
        verify: bool = True,
        max_connections: int = 100,
        observer: Observer | None = None,
    ) -> None:
        if max_connections < 1:
            raise ValueError("max_connections must be at least 1")
        self._base_url = base_url
        # For aiohttp, False means to trust any certificate, and True those that the system trusts.
        self._tls: ssl.SSLContext | bool = verify
        if verify and ca is not None:
            self._tls = ssl.create_default_context(cafile=str(ca))
        self._max_connections = max_connections
        self._slots = _Slots(max_connections)
        self._observer = Observers() if observer is None else observer
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def send(self, request: Request) -> Reply:
        """Send a request and return the complete answer; see `Transport.send`."""
        await self._turn(request)
        try:
            with _translated(request):
                async with await self._open(request) as response:
                    body = await (response.read() if request.most is None else _at_most(request, response))
        finally:
            self._slots.release()
        cookies = tuple(response.headers.getall("Set-Cookie", ()))
        return Reply(response.status, response.headers, body, cookies)

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[Stream]:
        """Send a request and read the answer as it arrives; see `Transport.stream`."""
        await self._turn(request)
        try:
            with _translated(request):
                response = await self._open(request)
            # If the block is left early, the connection is closed rather than read to the end of the answer.
            try:
                yield Stream(response.status, response.headers, _chunks(request, response))
            finally:
                response.close()
        finally:
            self._slots.release()

    async def close(self) -> None:
        """Close every connection; calling it twice is safe."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _turn(self, request: Request) -> None:
        """Wait for a connection; there are as many slots as aiohttp has, so that a caller does not wait twice."""
        began = 0.0 if self._slots.free else time.monotonic()
        try:
            await self._slots.acquire(request.timeout.pool)
        finally:
            self._observer.pool_waited(time.monotonic() - began if began else 0.0)

    async def _open(self, request: Request) -> aiohttp.ClientResponse:
        try:
            return await self._start(request)
        except _ConnectionLost:
            if not request.safe:
                raise
            return await self._start(request)

    async def _start(self, request: Request) -> aiohttp.ClientResponse:
        limits = request.timeout
        return await self._live_session().request(
            request.method,
            # It is quoted already: yarl would otherwise decode %2F and %2E.
            URL(self._base_url + request.target, encoded=True),
            headers=request.headers,
            data=_content(request.body),
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=limits.connect, sock_read=limits.read),
        )

    def _live_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise RuntimeError("this CouchDB client is closed")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=_Connector(limit=self._max_connections, ssl=self._tls, keepalive_timeout=_KEEP_IDLE_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": f"tornado_couch/{__version__}"},
                middlewares=[_never_resend],
            )
        return self._session


def _content(body: bytes | None) -> bytes | io.BytesIO | None:
    # aiohttp sends bytes in one piece, and warns if there are many; it sends a file piece by piece.
    return io.BytesIO(body) if body is not None and len(body) > _LONG_BODY_BYTES else body


async def _at_most(request: Request, response: aiohttp.ClientResponse) -> bytes:
    """Read an answer up to the bytes that it may have."""
    parts, left = [], request.most or 0
    async for part in response.content.iter_any():
        parts.append(part)
        left -= len(part)
        if left < 0:
            response.close()
            raise errors.LongReply(f"{request.method} {request.template}: more than {request.most} bytes")
    return b"".join(parts)


async def _chunks(request: Request, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    with _translated(request):
        async for chunk in response.content.iter_any():
            yield chunk
