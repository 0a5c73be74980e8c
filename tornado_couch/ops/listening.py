"""Listening sockets: bound before there is any process or event loop, and closed without losing who is in the queue."""

from __future__ import annotations

import contextlib
import ctypes
import socket
import struct
import sys
from collections.abc import Iterator, Sequence

__all__ = ["SETTLE_SECONDS", "accept_waiting", "bind", "refuse_new", "urls"]

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
