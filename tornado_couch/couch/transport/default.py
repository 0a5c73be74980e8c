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
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import ContentEncodingError
from yarl import URL

from ... import errors
from .base import Body, Reply, Request, Stream
from .pool import KEEP_IDLE_SECONDS, LONG_BODY_BYTES, USER_AGENT, Pool

__all__ = ["AiohttpTransport"]


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


class AiohttpTransport(Pool):
    """Carries requests with aiohttp; the session is created at first use, in the running event loop.

    A request that changes nothing (`Request.safe`) is sent once more if its connection is lost before the answer
    begins, which happens when the server closes an idle connection. No other request is ever sent twice.

    Args:
        base_url: scheme, host, port and path prefix, without credentials.
        **options: see `Pool`.
    """

    def __init__(self, base_url: str, **options: Any) -> None:
        super().__init__(base_url, **options)
        self._session: aiohttp.ClientSession | None = None

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
            headers=_headers(request),
            data=_content(request.body),
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=limits.connect, sock_read=limits.read),
        )

    def _live_session(self) -> aiohttp.ClientSession:
        self._check_open()
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=_Connector(limit=self._max_connections, ssl=self._tls, keepalive_timeout=KEEP_IDLE_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": USER_AGENT},
                middlewares=[_never_resend],
            )
        return self._session


def _content(body: bytes | Body | None) -> bytes | io.BytesIO | AsyncIterator[bytes] | None:
    # aiohttp sends bytes in one piece, and warns if there are many; it sends a file piece by piece.
    if body is not None and not isinstance(body, bytes):
        return body.chunks()
    return io.BytesIO(body) if body is not None and len(body) > LONG_BODY_BYTES else body


def _headers(request: Request) -> Mapping[str, str]:
    if request.body is None or isinstance(request.body, bytes):
        return request.headers
    return {**request.headers, "Content-Length": str(request.length)}  # or aiohttp would send it in chunks


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
