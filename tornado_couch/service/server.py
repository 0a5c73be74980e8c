"""`Server`: an HTTP server for any Tornado application, on asyncio's transports and `httptools`."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from socket import socket
from typing import Any, Literal

from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    HTTPServerRequest,
    RequestStartLine,
    ResponseStartLine,
    parse_body_arguments,
)
from tornado.log import gen_log
from tornado.netutil import ssl_options_to_context

from .connection import Connection, Shared
from .exchange import Limits
from .listening import Listening, is_within
from .messages import HeadParser, httptools
from .tornado_server import TornadoServer

__all__ = ["HttpServer", "Server", "check_http_server", "server_class"]

HttpServer = Literal["auto", "httptools", "tornado"]
"""`Server`; Tornado's own HTTP server; or `Server` only if httptools is installed."""

_DEFAULT_HEAD_BYTES = _DEFAULT_PART_BYTES = 64 * 1024
_DEFAULT_BUFFER_BYTES = 100 * 1024 * 1024
_DEFAULT_IDLE_SECONDS = 3600.0
_CLOSING_SECONDS = 10.0


def check_http_server(name: str) -> str:
    """Return the name if there is such a server.

    Raises:
        ValueError: the server is unknown, or needs what is not installed.
    """
    if name not in ("auto", "httptools", "tornado"):
        raise ValueError('http_server must be "auto", "httptools" or "tornado"')
    if name == "httptools" and httptools is None:
        raise ValueError("http_server is httptools, but it is not installed: pip install 'tornado-couch[fast]'")
    return name


def server_class(name: str) -> type[Server] | type[TornadoServer]:
    """Return the server to use, depending on what is installed."""
    return TornadoServer if name == "tornado" or (name == "auto" and httptools is None) else Server


class Server(Listening):
    """An HTTP server for any Tornado application, which needs about half the CPU time of Tornado's own.

        async def main() -> None:
            Server(app).listen(8888)
            await asyncio.Event().wait()

    Its arguments are those of `tornado.httpserver.HTTPServer`, and three more.

    Args:
        request_callback: the application; or any `HTTPServerConnectionDelegate`, or a function that takes requests.
        no_keep_alive: close each connection after its first request.
        xheaders: read a client's address and protocol from X-Real-Ip or X-Forwarded-For, and from X-Scheme or
          X-Forwarded-Proto.
        proxies: the networks of proxies that are trusted to set these; if empty, all are trusted.
        trusted_downstream: the addresses that X-Forwarded-For may list behind that of the client.
        ssl_options: the context for TLS, or a dictionary of arguments for it.
        protocol: the protocol that clients use, where it is another than that of the connection.
        decompress_request: whether to unpack bodies whose Content-Encoding is gzip.
        max_header_size: bytes of a request's line and fields; 64 KiB by default.
        max_headers: how many fields a request may have.
        idle_connection_timeout: how many seconds a connection may be idle, and how long the head of a request may
          take; an hour by default.
        max_body_size: bytes of a body; `max_buffer_size` by default.
        body_timeout: how many seconds a body may take.
        chunk_size: bytes of the parts in which handlers with `stream_request_body` receive it; 64 KiB by default.
        max_buffer_size: bytes that a detached connection may hold; 100 MiB by default.

    Raises:
        ImportError: httptools is not installed.
        KeyError: `ssl_options` is a dictionary without a certificate.
    """

    def __init__(
        self,
        request_callback: HTTPServerConnectionDelegate | Callable[[HTTPServerRequest], None],
        *,
        no_keep_alive: bool = False,
        xheaders: bool = False,
        proxies: Iterable[IPv4Network | IPv6Network] = (),
        trusted_downstream: Iterable[str] | None = None,
        ssl_options: dict[str, Any] | ssl.SSLContext | None = None,
        protocol: str | None = None,
        decompress_request: bool = False,
        max_header_size: int | None = None,
        max_headers: int = 200,
        idle_connection_timeout: float | None = None,
        max_body_size: int | None = None,
        body_timeout: float | None = None,
        chunk_size: int | None = None,
        max_buffer_size: int | None = None,
    ) -> None:
        if httptools is None:
            raise ImportError("Server needs httptools: pip install 'tornado-couch[fast]'")
        self._begin()
        if isinstance(ssl_options, dict) and "certfile" not in ssl_options:
            raise KeyError('missing key "certfile" in ssl_options')
        self._ssl = None if ssl_options is None else ssl_options_to_context(ssl_options, server_side=True)
        self._tasks: set[asyncio.Task[Any]] = set()
        buffer_bytes = max_buffer_size or _DEFAULT_BUFFER_BYTES
        self._shared = Shared(
            delegate=_delegate_of(request_callback),
            parser=HeadParser(max_headers),
            limits=Limits(
                head_bytes=max_header_size or _DEFAULT_HEAD_BYTES,
                body_bytes=buffer_bytes if max_body_size is None else max_body_size,
                head_seconds=idle_connection_timeout or _DEFAULT_IDLE_SECONDS,
                body_seconds=body_timeout,
                part_bytes=chunk_size or _DEFAULT_PART_BYTES,
                stream_bytes=buffer_bytes,
            ),
            protocol=protocol,
            unpacks=decompress_request,
            believes=partial(is_within, networks=tuple(proxies)) if xheaders else None,
            downstream=frozenset(trusted_downstream or ()),
            refused=getattr(request_callback, "request_refused", lambda *_: None),
            changed=self._changed.set,
            draining=no_keep_alive,
        )

    def use_tls(self, context: ssl.SSLContext) -> None:
        """Use another context for TLS from now on; connections that are open go on with theirs."""
        self._ssl = context

    # ------------------------------------------------------------ connections

    def take(self, connection: socket, address: Any) -> None:
        """Serve a connection that was accepted."""
        self._coming += 1
        task = asyncio.create_task(self._connect(connection, address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, connection: socket, address: Any) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(partial(Connection, self._shared, address), connection, ssl=self._ssl)
        except (TimeoutError, OSError) as error:  # such as a client that speaks no TLS
            gen_log.info("A connection from %s failed: %s", address, error)
            connection.close()
        finally:
            self._coming -= 1
            self._changed.set()

    def links(self) -> Collection[Connection]:
        """Return the open connections."""
        return self._shared.open

    # ------------------------------------------------------------ the end

    def end_keep_alive(self) -> None:
        """Let each answer from now on say `Connection: close`."""
        self._shared.draining = True

    def end_coming(self) -> None:
        """Give up connections that were accepted, but are not open, such as those of clients that begin no TLS."""
        for task in self._tasks:
            task.cancel()

    async def close_all_connections(self) -> None:
        """Close all connections but those that handlers have detached, and wait until they are closed."""
        self.end_coming()
        for connection in list(self._shared.open):
            connection.close()
        while self._shared.open:  # the event loop reports it in its next turn
            self._changed.clear()
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self._changed.wait()


def _delegate_of(callback: Any) -> HTTPServerConnectionDelegate:
    return callback if isinstance(callback, HTTPServerConnectionDelegate) else _Called(callback)


class _Called(HTTPServerConnectionDelegate):
    """Lets a function receive requests."""

    def __init__(self, function: Callable[[HTTPServerRequest], None]) -> None:
        self._function = function

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        return _Call(self._function, server_conn, request_conn)


class _Call(HTTPMessageDelegate):
    """Gathers a request for a function."""

    def __init__(
        self, function: Callable[[HTTPServerRequest], None], server: object, connection: HTTPConnection
    ) -> None:
        self._function = function
        self._connections: Sequence[Any] = (server, connection)
        self._parts: list[bytes] = []

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        server, connection = self._connections
        line: Any = start_line
        self._request = HTTPServerRequest(
            connection=connection, server_connection=server, start_line=line, headers=headers
        )
        return None

    def data_received(self, chunk: bytes) -> None:
        self._parts.append(chunk)

    def finish(self) -> None:
        self._request.body = b"".join(self._parts)
        request = self._request
        content_type = request.headers.get("Content-Type", "")
        parse_body_arguments(content_type, request.body, request.body_arguments, request.files, request.headers)
        for name, values in request.body_arguments.items():
            request.arguments.setdefault(name, []).extend(values)
        self._function(request)

    def on_connection_close(self) -> None:
        self._parts.clear()
