"""What every transport with pooled connections has: their number is limited, and TLS is as the caller says."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path

from ... import errors
from ..._version import __version__
from ..observer import Observer, Observers
from .base import Reply, Request, Stream

__all__ = ["KEEP_IDLE_SECONDS", "LONG_BODY_BYTES", "USER_AGENT", "Pool", "Slots"]

KEEP_IDLE_SECONDS = 15.0
"""How long an idle connection is kept.

Shorter than the time for which servers and load balancers keep idle connections (CouchDB: 300 s), so that a pooled
connection is seldom already closed at the other end.
"""

LONG_BODY_BYTES = 256 * 1024
"""The length of a body from which on it is sent piece by piece."""

USER_AGENT = f"tornado_couch/{__version__}"


class Slots:
    """Grants as many turns as there are connections; a caller that waits too long gets `PoolTimeout`.

    Unlike with a semaphore inside of `wait_for`, a caller that is cancelled can never keep a turn.
    """

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: deque[asyncio.Future[None]] = deque()

    def take(self) -> bool:
        """Take a turn if one is free; return whether there was one."""
        if self._free > 0:
            self._free -= 1
            return True
        return False

    async def acquire(self, seconds: float | None) -> None:
        """Wait for a turn.

        Raises:
            PoolTimeout: there was none in time.
        """
        if self.take():
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
        """Give a turn back."""
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


class Pool:
    """The options that such transports have in common, and their turns.

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
        # False means to trust any certificate, and True those that the system trusts.
        self._tls: ssl.SSLContext | bool = verify
        if verify and ca is not None:
            self._tls = ssl.create_default_context(cafile=str(ca))
        self._max_connections = max_connections
        self._slots = Slots(max_connections)
        self._observer = Observers() if observer is None else observer
        self._closed = False

    async def _turn(self, request: Request) -> None:
        """Wait for a connection; there are as many turns as connections, so that a caller does not wait twice."""
        if self._slots.take():
            self._observer.pool_waited(0.0)
            return
        began = time.monotonic()
        try:
            await self._slots.acquire(request.timeout.pool)
        finally:
            self._observer.pool_waited(time.monotonic() - began)

    async def send(self, request: Request) -> Reply:
        """Send a request and return the complete answer; see `Transport.send`."""
        raise NotImplementedError

    def stream(self, request: Request) -> AbstractAsyncContextManager[Stream]:
        """Send a request and read the answer as it arrives; see `Transport.stream`."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close every connection; calling it twice is safe."""
        raise NotImplementedError

    def _check_open(self) -> None:
        """Refuse a request to a client that was closed.

        Raises:
            RuntimeError: it was.
        """
        if self._closed:
            raise RuntimeError("this CouchDB client is closed")
