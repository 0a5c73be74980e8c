"""Sends requests to CouchDB: pooled keep-alive connections, time limits, TLS.

The only module that knows the HTTP library. Its errors end here: they are translated once, in `_MEANINGS`,
and not chained, because aiohttp's messages quote whole URLs with ids and view keys.
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

# Shorter than what servers and load balancers keep idle connections for (CouchDB: 300 s), so that a pooled
# connection is seldom found closed at the other end.
_KEEP_IDLE_SECONDS = 15.0
_LONG_BODY_BYTES = 256 * 1024


class _ConnectionLost(aiohttp.ClientConnectionError):
    """The connection ended before the answer began."""


@dataclass(frozen=True, slots=True)
class _Meaning:
    error: type[errors.Unavailable | errors.InvalidReply]
    words: str
    sent: bool = True


# Looked up from the top: subclasses stand before their bases.
_MEANINGS: dict[type[BaseException], _Meaning] = {
    aiohttp.ConnectionTimeoutError: _Meaning(errors.ConnectTimeout, "no connection in time", sent=False),
    aiohttp.SocketTimeoutError: _Meaning(errors.ReadTimeout, "silent for too long"),
    aiohttp.ClientConnectorCertificateError: _Meaning(
        errors.Unavailable, "its TLS certificate is not trusted", sent=False
    ),
    aiohttp.ClientSSLError: _Meaning(errors.Unavailable, "no TLS connection", sent=False),
    aiohttp.ClientConnectorError: _Meaning(errors.Unavailable, "no connection", sent=False),
    ContentEncodingError: _Meaning(errors.InvalidReply, "the answer cannot be decompressed"),
    aiohttp.ClientPayloadError: _Meaning(errors.Unavailable, "connection lost in the middle of the answer"),
    aiohttp.ClientResponseError: _Meaning(errors.InvalidReply, "the answer is not HTTP"),
    aiohttp.ClientConnectionError: _Meaning(errors.Unavailable, "connection lost before the answer"),
    aiohttp.ClientError: _Meaning(errors.InvalidReply, "the exchange failed"),
    asyncio.TimeoutError: _Meaning(errors.ReadTimeout, "silent for too long"),
    OSError: _Meaning(errors.Unavailable, "connection lost"),
}


@contextmanager
def _translated(request: Request) -> Iterator[None]:
    try:
        yield
    except tuple(_MEANINGS) as caught:
        # aiohttp has one exception for a body that is cut off and one that cannot be decompressed.
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
    """As many turns as there are connections; who waits too long gets PoolTimeout.

    Unlike a semaphore within wait_for (before Python 3.12), a cancelled waiter can never keep a turn.
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
        # Cancelled in the very step in which its turn came: the turn must go to the next.
        if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
            self.release()


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(errors.PoolTimeout("every connection stayed busy for too long", sent=False))


async def _never_resend(
    request: aiohttp.ClientRequest, handler: Callable[[aiohttp.ClientRequest], Awaitable[aiohttp.ClientResponse]]
) -> aiohttp.ClientResponse:
    # aiohttp sends PUT and DELETE again, by itself, when a connection is lost before the answer. A PUT that
    # CouchDB had already stored then comes back as 409, though it succeeded. This error it does not know.
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
        raise _ConnectionLost from None


class _Connector(aiohttp.TCPConnector):
    """Keeps no connection on which something came that nobody had asked for.

    aiohttp would take it for the answer to the next request: a write's answer that a proxy on the way gave twice
    would be success for the next writer.
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
    # Not read yet from the operating system: more of an answer, or the end of the connection.
    waiting = select.poll()
    waiting.register(protocol.transport.get_extra_info("socket").fileno(), select.POLLIN)
    return bool(waiting.poll(0))


class AiohttpTransport:
    """Carries requests with aiohttp; the session is made at first use, in the running event loop.

    A request that changes nothing (`Request.safe`) is sent once more when its connection is lost before the
    answer begins, as happens when the server closes an idle connection. No other request is ever sent twice.

    Args:
        base_url: scheme, host, port and path prefix, without credentials.
        ca: a file of trusted certificates in PEM, instead of the system's.
        verify: False to trust any certificate.
        max_connections: how many connections there may be at once.
        observer: is told how long each request waits for a connection.

    Raises:
        OSError: `ca` cannot be read or holds no certificate.
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
        # aiohttp: False trusts anyone, True is the system's trusted certificates.
        self._tls: ssl.SSLContext | bool = verify
        if verify and ca is not None:
            self._tls = ssl.create_default_context(cafile=str(ca))
        self._max_connections = max_connections
        self._slots = _Slots(max_connections)
        self._observer = Observers() if observer is None else observer
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def send(self, request: Request) -> Reply:
        """The whole answer to a request; see `Transport.send`."""
        await self._turn(request)
        try:
            with _translated(request):
                async with await self._open(request) as response:
                    body = await response.read()
        finally:
            self._slots.release()
        cookies = tuple(response.headers.getall("Set-Cookie", ()))
        return Reply(response.status, response.headers, body, cookies)

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[Stream]:
        """The answer to a request, to be read as it comes; see `Transport.stream`."""
        await self._turn(request)
        try:
            with _translated(request):
                response = await self._open(request)
            # Left early, the rest of the answer is of no use: closing beats reading it to its end.
            try:
                yield Stream(response.status, response.headers, _chunks(request, response))
            finally:
                response.close()
        finally:
            self._slots.release()

    async def close(self) -> None:
        """Closes every connection; safe to call twice."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _turn(self, request: Request) -> None:
        """Wait for a connection; the slots are as many as aiohttp's own, so that nobody waits twice."""
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
            # Quoted already: yarl would otherwise turn %2F and %2E into what they stand for.
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
    # aiohttp writes bytes in one piece, and warns where they are many; a file it writes piece by piece.
    return io.BytesIO(body) if body is not None and len(body) > _LONG_BODY_BYTES else body


async def _chunks(request: Request, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    with _translated(request):
        async for chunk in response.content.iter_any():
            yield chunk
