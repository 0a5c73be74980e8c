"""`Server`: Tornado's HTTP server on sockets that already exist; it loses no request when it stops."""

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

# A small number, so that the least busy of several processes that share a socket accept the most.
_ACCEPT_AT_ONCE = 4
_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_ACCEPT_PAUSE_SECONDS = 0.25

# Tornado writes this itself if it cannot parse a request.
_BARE_REFUSAL = b"HTTP/1.1 400 Bad Request\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100"
_LINGER_SECONDS = 1.0
_LINGER_BYTES = 1024 * 1024


class Server(HTTPServer):
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
        self._believes = self.xheaders
        self._proxies = tuple(proxies)
        self._listeners: list[socket.socket] = []
        self._links: dict[object, _Link] = {}
        self._coming = 0  # accepted, but not read yet: reading starts in the loop's next turn
        self._changed = asyncio.Event()

    # ------------------------------------------------------------ connections come

    def accept_from(self, listeners: Sequence[socket.socket]) -> None:
        """Accept connections from listening sockets, which the server then owns."""
        for listener in listeners:
            listener.setblocking(False)
            self._listeners.append(listener)
            asyncio.get_running_loop().add_reader(listener, self._accept, listener, _ACCEPT_AT_ONCE)

    def accept_rest(self) -> None:
        """Accept all waiting connections, and close the listening sockets; after `refuse_new` none is lost."""
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
        # The socket stays readable: without a pause, the loop would be busy failing again and again.
        logger.error("cannot accept connections at the moment: %s", error.strerror)
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)

        def again() -> None:
            if listener in self._listeners:
                loop.add_reader(listener, self._accept, listener, _ACCEPT_AT_ONCE)

        loop.call_later(_ACCEPT_PAUSE_SECONDS, again)

    # ------------------------------------------------------------ requests come

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        """Return the delegate that receives the next request of a connection."""
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
        """How many requests are in progress."""
        return sum(link.busy for link in self._links.values())

    async def drain(self, seconds: float, idle_seconds: float = 1.0) -> int:
        """Answer the requests that have arrived, and end all connections.

        From now on, each answer says `Connection: close`. A connection without a request is closed only after a
        while, because its client may just be sending one.

        Args:
            seconds: the deadline, at which requests in progress are cut off.
            idle_seconds: how long a connection without a request stays open.

        Returns:
            The number of requests that were cut off.
        """
        self.conn_params.no_keep_alive = True  # all connections share this, and check it at each header
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
    """A connection: whether a request is in progress on it, and what Tornado writes if it cannot parse one."""

    def __init__(self, stream: IOStream) -> None:
        self.stream = stream
        self.busy = False
        self.method = self.path = ""
        self._answering = False
        self._waiting_since = 0.0
        self._write: Callable[[Any], Awaitable[None]] = stream.write
        # Tornado has no hook for this: it writes exactly these bytes to the stream, and nothing else does. Without
        # the patch, bad HTTP gets a 400 with no body; it stays until another HTTP server takes Tornado's place.
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

    def end(self) -> None:
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
        problem = {
            "type": "about:blank",
            "title": "Bad Request",
            "status": 400,
            "detail": "The request is not valid HTTP.",
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


SETTLE_SECONDS = 0.1
"""How long connections may still reach the queue after `refuse_new`: the time of one way over the network."""

_BACKLOG = 1024
# The number on Linux; Python has no name for it.
_SO_ATTACH_FILTER = 26

# Neither closing a listening socket nor `listen(0)` keeps its queue, and no other call stops one from filling, so a
# filter is the only way to lose no request on stop. It stays until another HTTP server takes Tornado's place.
# Classic BPF, run on each TCP segment that reaches the socket: drop segments that open a new connection.
# Byte 13 of the TCP header contains the flags (RFC 9293 §3.1); SYN without ACK opens a connection.
_DROP_SYN = (
    (0x30, 0, 0, 13),  # load byte 13
    (0x54, 0, 0, 0x12),  # keep SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone?
    (0x06, 0, 0, 0),  # if so, drop the segment
    (0x06, 0, 0, 0xFFFFFFFF),  # otherwise accept all of it
)


def bind(host: str, port: int) -> list[socket.socket]:
    """Return sockets that listen on a port of a host, one for each of its addresses; port 0 picks a free port.

    Raises:
        OSError: the port is taken, or the host has no such address.
    """
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    with contextlib.ExitStack() as opened:
        sockets: list[socket.socket] = []
        # An address can occur twice, and IPv6 can occur on a kernel without it.
        for family, kind, protocol, _, address in dict.fromkeys(found):
            if family not in (socket.AF_INET, socket.AF_INET6):
                continue
            listener = opened.enter_context(socket.socket(family, kind, protocol))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # even if earlier connections linger
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # All addresses share the same free port.
            listener.bind((address[0], sockets[0].getsockname()[1] if sockets and not port else port, *address[2:]))
            listener.setblocking(False)
            listener.listen(_BACKLOG)
            sockets.append(listener)
        opened.pop_all()
    return sockets


def urls(sockets: Sequence[socket.socket]) -> list[str]:
    """Return the URLs that sockets listen on."""
    found = []
    for each in sockets:
        host, port = each.getsockname()[:2]
        found.append(f"http://[{host}]:{port}" if each.family is socket.AF_INET6 else f"http://{host}:{port}")
    return found


def refuse_new(sockets: Sequence[socket.socket]) -> None:
    """Let no new connections into the queue, in any process that shares the socket; on Linux only.

    Closing a listening socket resets the connections in its queue, although their clients consider them open and
    may have sent a request. So the queue is emptied first, and nothing may enter it after that. A client that connects
    now gets no answer, tries again by itself after a second, and is then refused, so nothing is lost. On other systems,
    a connection that arrives between emptying and closing is reset.
    """
    if sys.platform != "linux":
        return
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in _DROP_SYN)
    program = ctypes.create_string_buffer(code, len(code))
    filters = struct.pack("HP", len(_DROP_SYN), ctypes.addressof(program))
    for each in sockets:
        with contextlib.suppress(OSError):  # without kernel support we do the same as on other systems
            each.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filters)


def accept_waiting(listener: socket.socket, most: int) -> Iterator[tuple[socket.socket, tuple[object, ...]]]:
    """Yield the connections that wait in a queue, with the addresses of their clients.

    Args:
        listener: the listening socket; it must not block.
        most: how many connections to accept at most.

    Raises:
        OSError: no file descriptors are available.
    """
    for _ in range(most):
        try:
            yield listener.accept()
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionAbortedError:
            continue  # the client closed it while it waited
