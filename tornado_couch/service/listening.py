"""`Listening`: the sockets of a server, and its end, at which no request is lost."""

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
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any, Protocol, cast

from tornado.ioloop import IOLoop
from tornado.netutil import bind_sockets
from tornado.platform.asyncio import BaseAsyncIOLoop

__all__ = ["SETTLE_SECONDS", "Link", "Listening", "accept_waiting", "bind", "is_within", "refuse_new", "urls"]

logger = logging.getLogger("tornado_couch.serving")

# A small number, so that the least busy of several processes that share a socket accept the most.
_ACCEPT_AT_ONCE = 4
_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_ACCEPT_PAUSE_SECONDS = 0.25


def _loop() -> asyncio.AbstractEventLoop:
    """Return the event loop, which does not have to run yet: Tornado's test cases create servers before that."""
    return cast("BaseAsyncIOLoop", IOLoop.current()).asyncio_loop


class Link(Protocol):
    """A connection of a server that may have to be closed."""

    @property
    def busy(self) -> bool:
        """Whether a request is in progress."""

    def idle_since(self, earliest: float) -> float:
        """Return since when it has been waiting, at least `earliest`; a time far in the future if it is not waiting."""

    def cut_off(self) -> None:
        """Close it."""


class Listening:
    """The base of servers: what accepts connections, and drains them."""

    def _begin(self) -> None:
        """Prepare; constructors call this."""
        self._listeners: list[socket.socket] = []
        self._coming = 0  # accepted, but not read yet: reading starts in the loop's next turn
        self._changed = asyncio.Event()

    # ------------------------------------------------------------ what servers define

    def links(self) -> Collection[Link]:
        """Return the open connections."""
        raise NotImplementedError

    def take(self, connection: socket.socket, address: Any) -> None:
        """Serve a connection that was accepted."""
        raise NotImplementedError

    def end_keep_alive(self) -> None:
        """Let each answer from now on say `Connection: close`."""
        raise NotImplementedError

    def end_coming(self) -> None:
        """Give up connections that were accepted, but are not open, such as those of clients that begin no TLS."""

    async def close_all_connections(self) -> None:
        """Close all connections, and wait until they are closed."""
        raise NotImplementedError

    # ------------------------------------------------------------ connections come

    def listen(self, port: int, address: str | None = None, **options: Any) -> None:
        """Accept connections on a port, as `tornado.tcpserver.TCPServer.listen` does.

        Args:
            port: the port.
            address: an address or the name of a host; all addresses by default.
            **options: further arguments for `tornado.netutil.bind_sockets`.

        Raises:
            OSError: the port is taken, or there is no such address.
        """
        self.accept_from(bind_sockets(port, address=address, **options))

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        """Accept connections from listening sockets, as `tornado.tcpserver.TCPServer.add_sockets` does."""
        self.accept_from(list(sockets))

    def add_socket(self, listener: socket.socket) -> None:
        """Accept connections from a listening socket."""
        self.accept_from([listener])

    def stop(self) -> None:
        """Close the listening sockets; connections go on."""
        for listener in self._listeners:
            _loop().remove_reader(listener)
            listener.close()
        self._listeners.clear()

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """The listening sockets."""
        return self._listeners

    def accept_from(self, listeners: Sequence[socket.socket]) -> None:
        """Accept connections from listening sockets, which the server then owns."""
        for listener in listeners:
            listener.setblocking(False)
            self._listeners.append(listener)
            _loop().add_reader(listener, self._accept, listener, _ACCEPT_AT_ONCE)

    def accept_rest(self) -> None:
        """Accept all waiting connections, and close the listening sockets; after `refuse_new` none is lost."""
        for listener in self._listeners:
            _loop().remove_reader(listener)
            self._accept(listener, most=65536)
            listener.close()
        self._listeners.clear()

    def _accept(self, listener: socket.socket, most: int) -> None:
        try:
            for connection, address in accept_waiting(listener, most):
                connection.setblocking(False)
                self.take(connection, address)
        except OSError as error:
            if error.errno not in _NO_DESCRIPTORS:
                raise
            self._pause(listener, error)

    def _pause(self, listener: socket.socket, error: OSError) -> None:
        # The socket stays readable: without a pause, the loop would be busy failing again and again.
        logger.error("cannot accept connections at the moment: %s", error.strerror)
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)

        def again() -> None:
            if listener in self._listeners:
                loop.add_reader(listener, self._accept, listener, _ACCEPT_AT_ONCE)

        loop.call_later(_ACCEPT_PAUSE_SECONDS, again)

    # ------------------------------------------------------------ the end

    @property
    def busy(self) -> int:
        """How many requests are in progress."""
        return sum(link.busy for link in self.links())

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
        self.end_keep_alive()
        began = time.monotonic()
        while (self.links() or self._coming > 0) and time.monotonic() < began + seconds:
            if began + idle_seconds < time.monotonic():
                self.end_coming()
            for link in list(self.links()):
                if link.idle_since(began) + idle_seconds < time.monotonic():
                    link.cut_off()
            self._changed.clear()
            with suppress(asyncio.TimeoutError):
                async with asyncio.timeout(min(0.1, seconds)):
                    await self._changed.wait()
        cut = self.busy
        await self.close_all_connections()
        return cut


def is_within(address: Any, networks: Sequence[IPv4Network | IPv6Network]) -> bool:
    """Return whether a socket's address lies in one of the networks; always if there are no networks."""
    if not networks:
        return True
    try:
        peer = ip_address(address[0])
    except (ValueError, TypeError, IndexError):
        return False
    return any(peer in network for network in networks)


SETTLE_SECONDS = 0.1
"""How long connections may still reach the queue after `refuse_new`: the time of one way over the network."""

_BACKLOG = 1024
# The number on Linux; Python has no name for it.
_SO_ATTACH_FILTER = 26

# Neither closing a listening socket nor `listen(0)` keeps its queue, and no other call stops one from filling, so a
# filter is the only way to lose no request on stop.
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


def urls(sockets: Sequence[socket.socket], *, secure: bool = False) -> list[str]:
    """Return the URLs that sockets listen on."""
    found, scheme = [], "https" if secure else "http"
    for each in sockets:
        host, port = each.getsockname()[:2]
        found.append(f"{scheme}://[{host}]:{port}" if each.family is socket.AF_INET6 else f"{scheme}://{host}:{port}")
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
