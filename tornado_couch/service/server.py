"""`Server`: Tornado's HTTP server on sockets that were bound beforehand; it loses no request when it stops."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import logging
import socket
import struct
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.iostream import IOStream, StreamClosedError

from .. import _json

__all__ = ["SETTLE_SECONDS", "Server", "accept_waiting", "bind", "refuse_new", "urls"]

logger = logging.getLogger("tornado_couch.serving")

# Few at a time, so that of several processes that share a socket the least busy ones take most.
_ACCEPT_AT_ONCE = 4
_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_ACCEPT_PAUSE_SECONDS = 0.25

# What Tornado writes, by itself, where it cannot parse a request.
_BARE_REFUSAL = b"HTTP/1.1 400 Bad Request\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100"
_LINGER_SECONDS = 1.0
_LINGER_BYTES = 1024 * 1024


class Server(HTTPServer):
    """An HTTP server for an application; further arguments are `tornado.httpserver.HTTPServer`'s.

    Args:
        request_callback: the application.
        proxies: with `xheaders`, whose word is taken for a client's address and protocol; everybody's if empty.
    """

    def initialize(  # type: ignore[override]  # Tornado's own way to take the arguments of the constructor
        self, request_callback: Any, *, proxies: Iterable[IPv4Network | IPv6Network] = (), **options: Any
    ) -> None:
        """Take the arguments; see the class."""
        super().initialize(request_callback, **options)
        self._believes = self.xheaders
        self._proxies = tuple(proxies)
        self._listeners: list[socket.socket] = []
        self._links: dict[object, _Link] = {}
        self._coming = 0  # taken, and not listened to yet: that begins with the event loop's next turn
        self._changed = asyncio.Event()

    # ------------------------------------------------------------ connections come

    def accept_from(self, listeners: Sequence[socket.socket]) -> None:
        """Take connections from listening sockets, which become the server's own."""
        for listener in listeners:
            listener.setblocking(False)
            self._listeners.append(listener)
            asyncio.get_running_loop().add_reader(listener, self._accept, listener, _ACCEPT_AT_ONCE)

    def accept_rest(self) -> None:
        """Take all connections that wait, and close the listening sockets; with `refuse_new` before, none is lost."""
        for listener in self._listeners:
            asyncio.get_running_loop().remove_reader(listener)
            self._accept(listener, most=65536)
            listener.close()
        self._listeners.clear()

    def _accept(self, listener: socket.socket, most: int) -> None:
        try:
            for connection, address in accept_waiting(listener, most):
                connection.setblocking(False)
                stream = IOStream(
                    connection, max_buffer_size=self.max_buffer_size, read_chunk_size=self.read_chunk_size
                )
                self.handle_stream(stream, address)
        except OSError as error:
            if error.errno not in _NO_DESCRIPTORS:
                raise
            self._pause(listener, error)

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Serve a connection."""
        self._coming += 1
        super().handle_stream(stream, address)

    def _pause(self, listener: socket.socket, error: OSError) -> None:
        # The socket stays readable: without a pause the loop would do nothing else than fail.
        logger.error("no connection can be taken at the moment: %s", error.strerror)
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)

        def again() -> None:
            if listener in self._listeners:
                loop.add_reader(listener, self._accept, listener, _ACCEPT_AT_ONCE)

        loop.call_later(_ACCEPT_PAUSE_SECONDS, again)

    # ------------------------------------------------------------ requests come

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """What receives the next request of a connection."""
        link = self._links.get(server_conn)
        if link is None:
            self._coming -= 1
            link = self._links[server_conn] = _Link(server_conn.stream)  # type: ignore[attr-defined]
        link.wait()
        self._changed.set()
        self.xheaders = self._believes and self._trusted(request_conn.context.address)  # type: ignore[attr-defined]
        return _Followed(super().start_request(server_conn, request_conn), link)

    def on_close(self, server_conn: object) -> None:
        """Forget a connection."""
        super().on_close(server_conn)
        link = self._links.pop(server_conn, None)
        if link is not None:
            link.end()
        self._changed.set()

    def _trusted(self, address: Any) -> bool:
        if not self._proxies:
            return True
        try:
            peer = ip_address(address[0])
        except (ValueError, TypeError, IndexError):
            return False
        return any(peer in network for network in self._proxies)

    # ------------------------------------------------------------ the end

    @property
    def busy(self) -> int:
        """How many requests are under way."""
        return sum(link.busy for link in self._links.values())

    async def drain(self, seconds: float, idle_seconds: float = 1.0) -> int:
        """Answer what has come and let every connection end.

        Each answer from now on says `Connection: close`. A connection without a request is closed only after a
        while, since its client may just be sending one.

        Args:
            seconds: the deadline; what is under way then is cut off.
            idle_seconds: how long a connection without a request is left open.

        Returns:
            How many requests were cut off.
        """
        self.conn_params.no_keep_alive = True  # shared by all connections; looked at when a request's header is read
        began = time.monotonic()
        while (self._links or self._coming > 0) and time.monotonic() < began + seconds:
            closing = [
                link for link in self._links.values() if link.idle_since(began) + idle_seconds < time.monotonic()
            ]
            for link in closing:
                link.stream.close()
            self._changed.clear()
            with suppress(asyncio.TimeoutError):
                async with asyncio.timeout(min(0.1, seconds)):
                    await self._changed.wait()
        cut = self.busy
        await self.close_all_connections()
        return cut


class _Link:
    """One connection: whether a request is under way on it, and what Tornado writes where it cannot parse one."""

    def __init__(self, stream: IOStream) -> None:
        self.stream = stream
        self.busy = False
        self.method = self.path = ""
        self._answering = False
        self._waiting_since = 0.0
        self._write: Callable[[Any], Awaitable[None]] = stream.write
        # Tornado has no hook for it: it writes these very bytes to the stream, and nothing else does.
        stream.write = self._written  # type: ignore[method-assign, assignment]

    def wait(self) -> None:
        """Wait for the next request."""
        self.busy = self._answering = False
        self.method = self.path = ""
        self._waiting_since = time.monotonic()

    def begin(self, start_line: RequestStartLine) -> None:
        """A request's header has come."""
        self.busy = True
        self.method, self.path = start_line.method, start_line.path.partition("?")[0]

    def end(self) -> None:
        """The connection is closed: leave the stream as it was, and no circle of references."""
        vars(self.stream).pop("write", None)

    def idle_since(self, earliest: float) -> float:
        """Since when it waits, or since that time; far in the future where it does not wait."""
        return float("inf") if self.busy else max(self._waiting_since, earliest)

    def _written(self, data: Any) -> Awaitable[None]:
        if data == _BARE_REFUSAL:
            return self._refuse()
        if bytes(data[: len(_CONTINUE)]) != _CONTINUE:
            self._answering = True
        return self._write(data)

    async def _refuse(self) -> None:
        """Answer with a problem, unless an answer has begun already; the caller closes the connection."""
        if self._answering:
            return
        problem = {
            "type": "about:blank",
            "title": "Bad Request",
            "status": 400,
            "detail": "The request is not HTTP.",
            "instance": self.path if self.path.startswith("/") else "",
        }
        body = _json.dumps(problem)
        fields = (
            "HTTP/1.1 400 Bad Request\r\nContent-Type: application/problem+json\r\nCache-Control: no-store\r\n"
            f"X-Content-Type-Options: nosniff\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        await self._write(fields.encode() + (b"" if self.method == "HEAD" else body))
        await self._linger()

    async def _linger(self) -> None:
        """Read what else the client sends: closing with bytes unread resets the connection, and our answer with it."""
        with suppress(OSError, StreamClosedError, asyncio.TimeoutError):
            self.stream.socket.shutdown(socket.SHUT_WR)
            async with asyncio.timeout(_LINGER_SECONDS):
                await self._discard()

    async def _discard(self) -> None:
        total = 0
        while total < _LINGER_BYTES:
            total += len(await self.stream.read_bytes(65536, partial=True))


class _Followed(HTTPMessageDelegate):
    """Passes a request on, and tells the link that it began."""

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


SETTLE_SECONDS = 0.1
"""How long after `refuse_new` connections that were being made still come into the queue: one way over the network."""

_BACKLOG = 1024
# Linux's number; Python has no name for it.
_SO_ATTACH_FILTER = 26

# Classic BPF, run on each TCP segment that comes to the socket: drop those that ask for a new connection.
# Byte 13 of the TCP header has the flags (RFC 9293 §3.1); SYN without ACK begins a connection.
_DROP_SYN = (
    (0x30, 0, 0, 13),  # load byte 13
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # then take nothing of it
    (0x06, 0, 0, 0xFFFFFFFF),  # else all
)


def bind(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on a port of a host, one for each of its addresses; port 0 is a free one.

    Raises:
        OSError: the port is taken, or the host has no such address.
    """
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with contextlib.ExitStack() as opened:
        sockets: list[socket.socket] = []
        # An address can come twice, and IPv6 without a kernel that has it.
        for family, kind, protocol, _, address in dict.fromkeys(found):
            if family not in (socket.AF_INET, socket.AF_INET6):
                continue
            listener = opened.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # although earlier connections linger
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # A free port is to be the same for all.
            listener.bind((address[0], sockets[0].getsockname()[1] if sockets and not port else port, *address[2:]))
            listener.setblocking(False)
            listener.listen(_BACKLOG)
            sockets.append(listener)
        opened.pop_all()
    return sockets


def urls(sockets: Sequence[socket.socket]) -> list[str]:
    """Where sockets listen, as URLs."""
    found = []
    for each in sockets:
        host, port = each.getsockname()[:2]
        found.append(f"http://[{host}]:{port}" if each.family is socket.AF_INET6 else f"http://{host}:{port}")
    return found


def refuse_new(sockets: Sequence[socket.socket]) -> None:
    """Let no new connection into the queue, in any process that shares the socket; on Linux.

    Closing a listening socket resets the connections in its queue: to those clients they are open, and perhaps the
    request is sent. So the queue is emptied first, and nothing may come into it after that. A client that comes now
    gets no answer, tries again after a second by itself, and is refused then, with nothing lost. Elsewhere than on
    Linux a connection that comes between emptying and closing is reset.
    """
    if sys.platform != "linux":
        return
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in _DROP_SYN)
    program = ctypes.create_string_buffer(code, len(code))
    filters = struct.pack("HP", len(_DROP_SYN), ctypes.addressof(program))
    for each in sockets:
        with contextlib.suppress(OSError):  # a kernel without it: as on other systems
            each.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filters)


def accept_waiting(listener: socket.socket, most: int) -> Iterator[tuple[socket.socket, tuple[object, ...]]]:
    """The connections that wait in a queue, with the addresses of their clients.

    Args:
        listener: the queue; it must not block.
        most: how many to take at most.

    Raises:
        OSError: there are no file descriptors left.
    """
    for _ in range(most):
        try:
            yield listener.accept()
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionAbortedError:
            continue  # it went while it waited
