"""`TornadoServer`: Tornado's own HTTP server on sockets that already exist, where `httptools` is not installed."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream, SSLIOStream, StreamClosedError
from tornado.netutil import ssl_wrap_socket

from .exchange import refusal_answer
from .listening import Listening, is_within

__all__ = ["TornadoServer"]

# Tornado writes this itself if it cannot parse a request.
_BARE_REFUSAL = b"HTTP/1.1 400 Bad Request\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100"
_LINGER_SECONDS = 1.0
_LINGER_BYTES = 1024 * 1024


class TornadoServer(Listening, HTTPServer):  # type: ignore[misc]  # `listen` takes its further arguments by name
    """An HTTP server for an application; further arguments are those of `tornado.httpserver.HTTPServer`.

    Args:
        request_callback: the application.
        proxies: with `xheaders`, the proxies to trust for a client's address and protocol; if empty, all are trusted.
    """

    def initialize(  # type: ignore[override]  # Tornado passes the constructor's arguments this way
        self, request_callback: Any, *, proxies: Iterable[IPv4Network | IPv6Network] = (), **options: Any
    ) -> None:
        """Store the arguments; see the class."""
        super().initialize(request_callback, **options)
        self._begin()
        self._believes = self.xheaders
        self._proxies = tuple(proxies)
        self._links: dict[object, _Link] = {}

    def take(self, connection: socket.socket, address: Any) -> None:
        """Serve a connection that was accepted."""
        sizes: Any = {"max_buffer_size": self.max_buffer_size, "read_chunk_size": self.read_chunk_size}
        if self.ssl_options is None:
            self.handle_stream(IOStream(connection, **sizes), address)
            return
        try:
            secure = ssl_wrap_socket(connection, self.ssl_options, server_side=True, do_handshake_on_connect=False)
        except (ssl.SSLError, OSError):  # the client has left
            connection.close()
            return
        self.handle_stream(SSLIOStream(secure, **sizes), address)

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Serve a connection."""
        self._coming += 1
        super().handle_stream(stream, address)

    # ------------------------------------------------------------ requests come

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Return the delegate that receives the next request of a connection."""
        link = self._links.get(server_conn)
        if link is None:
            self._coming -= 1
            link = self._links[server_conn] = _Link(server_conn.stream)  # type: ignore[attr-defined]
        link.wait()
        self._changed.set()
        address = request_conn.context.address  # type: ignore[attr-defined]
        self.xheaders = self._believes and is_within(address, self._proxies)
        return _Followed(super().start_request(server_conn, request_conn), link)

    def on_close(self, server_conn: object) -> None:
        """Forget a connection."""
        super().on_close(server_conn)
        link = self._links.pop(server_conn, None)
        if link is not None:
            link.restore()
        self._changed.set()

    # ------------------------------------------------------------ the end

    def use_tls(self, context: ssl.SSLContext) -> None:
        """Use another context for TLS from now on; connections that are open go on with theirs."""
        self.ssl_options = context

    def links(self) -> Collection[_Link]:
        """Return the open connections."""
        return self._links.values()

    def end_keep_alive(self) -> None:
        """Let each answer from now on say `Connection: close`."""
        self.conn_params.no_keep_alive = True  # all connections share this, and check it at each header

    async def close_all_connections(self) -> None:
        """Close all connections, and wait until they are closed."""
        await HTTPServer.close_all_connections(self)


class _Link:
    """A connection: whether a request is in progress on it, and what Tornado writes if it cannot parse one."""

    def __init__(self, stream: IOStream) -> None:
        self.stream = stream
        self.busy = False
        self.method = self.path = ""
        self._answering = False
        self._waiting_since = 0.0
        self._write: Callable[[Any], Awaitable[None]] = stream.write
        # Tornado has no hook for this: it writes exactly these bytes to the stream, and nothing else does. Without
        # the patch, bad HTTP gets a 400 with no body.
        stream.write = self._written  # type: ignore[method-assign, assignment]

    def wait(self) -> None:
        """Wait for the next request."""
        self.busy = self._answering = False
        self.method = self.path = ""
        self._waiting_since = time.monotonic()

    def begin(self, start_line: RequestStartLine) -> None:
        """Note that a request's header has arrived."""
        self.busy = True
        self.method, self.path = start_line.method, start_line.path.partition("?")[0]

    def cut_off(self) -> None:
        """Close the connection."""
        self.stream.close()

    def restore(self) -> None:
        """Restore the stream when the connection is closed, leaving no reference cycles."""
        vars(self.stream).pop("write", None)

    def idle_since(self, earliest: float) -> float:
        """Return since when it has been waiting, at least `earliest`; a time far in the future if it is not waiting."""
        return float("inf") if self.busy else max(self._waiting_since, earliest)

    def _written(self, data: Any) -> Awaitable[None]:
        if data == _BARE_REFUSAL:
            return self._refuse()
        if bytes(data[: len(_CONTINUE)]) != _CONTINUE:
            self._answering = True
        return self._write(data)

    async def _refuse(self) -> None:
        """Answer with a problem, unless an answer has begun; the caller closes the connection."""
        if self._answering:
            return
        start_line = RequestStartLine(self.method, self.path, "")
        await self._write(refusal_answer(400, start_line))
        await self._linger()

    async def _linger(self) -> None:
        """Read the rest of what the client sends: closing with unread bytes would reset the connection."""
        with suppress(OSError, StreamClosedError, asyncio.TimeoutError):
            self.stream.socket.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(_LINGER_SECONDS):
                await self._discard()

    async def _discard(self) -> None:
        total = 0
        while total < _LINGER_BYTES:
            total += len(await self.stream.read_bytes(65536, partial=True))


class _Followed(HTTPMessageDelegate):
    """Passes a request on, and notes on its link that it began."""

    def __init__(self, inner: HTTPMessageDelegate, link: _Link) -> None:
        self._inner = inner
        self._link = link

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        if isinstance(start_line, RequestStartLine):
            self._link.begin(start_line)
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        return self._inner.data_received(chunk)

    def finish(self) -> None:
        self._inner.finish()

    def on_connection_close(self) -> None:
        self._inner.on_connection_close()
