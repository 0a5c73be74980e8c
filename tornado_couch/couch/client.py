"""The client: a CouchDB server at a URL, and its databases by name."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from . import names
from .auth import Auth, BasicAuth, NoAuth
from .database import Database
from .endpoint import Quorum
from .exchange import Exchange
from .observer import Observer, Observers
from .server import Server
from .transport.base import DEFAULT_TIMEOUT, Timeout, Transport
from .transport.default import AiohttpTransport
from .transport.failover import FailoverTransport

__all__ = ["Couch"]


class Couch(Server):
    """A CouchDB server.

        async with Couch("http://127.0.0.1:5984", auth=BasicAuth("app", "secret")) as couch:
            document = await couch["orchard"].get("apple")

    It can be made outside of the event loop; connections are made at first use, and belong to the event loop
    of that use. Without `async with`, `close` ends them.

    Args:
        url: the server's URL; user and password in it become `BasicAuth`. Of a cluster several nodes' URLs, the
            preferred one first: when a node fails the next is asked, and it again once it is back.
        auth: who the client says it is.
        timeout: the time limits in seconds: a number is the total, None is no limit at all.
        ca: a file of trusted certificates in PEM, instead of the system's.
        verify: False to trust any certificate.
        max_connections: how many connections there may be at once.
        transport: carries the requests instead of aiohttp; then the URL is without effect.
        clock: a monotonic clock in seconds, for the log and the observer.
        observer: is told of every exchange, and of what the store does with this server; `observe` adds others.

    Raises:
        ValueError: the URL is none of CouchDB's, or has a password beside `auth`; of several, that they differ in
            their passwords.
        OSError: `ca` cannot be read or holds no certificate.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        *,
        auth: Auth | None = None,
        timeout: Timeout | float | None = DEFAULT_TIMEOUT,
        ca: str | Path | None = None,
        verify: bool = True,
        max_connections: int = 100,
        transport: Transport | None = None,
        clock: Callable[[], float] = time.monotonic,
        observer: Observer | None = None,
    ) -> None:
        bases = [names.base(each) for each in ([url] if isinstance(url, str) else url)]
        if not bases:
            raise ValueError("give the URL of one node at least")
        auth = _auth({base.credentials for base in bases}, auth)
        observers = Observers(*([observer] if observer else []))
        if transport is None:
            nodes = [
                AiohttpTransport(base.url, ca=ca, verify=verify, max_connections=max_connections, observer=observers)
                for base in bases
            ]
            transport = nodes[0] if len(nodes) == 1 else FailoverTransport(nodes, clock)
        super().__init__(Exchange(transport, auth or NoAuth(), Timeout.of(timeout), clock, observers))
        self._url = bases[0].url

    @property
    def url(self) -> str:
        """The server's URL, that of the first node, without credentials."""
        return self._url

    def __repr__(self) -> str:
        return f"Couch({self._url!r})"

    def __getitem__(self, name: str) -> Database:
        return self.database(name)

    def database(
        self,
        name: str,
        *,
        timeout: Timeout | float | None = DEFAULT_TIMEOUT,
        read_quorum: int | None = None,
        write_quorum: int | None = None,
    ) -> Database:
        """A database by name; CouchDB is not asked whether it is there.

        Args:
            name: the database's name.
            timeout: time limits of its own, such as for views that take long to build.
            read_quorum: how many copies of a document have to be read before CouchDB answers (`r`); by default more
                than half of them. Views are read from one copy, whatever it is.
            write_quorum: how many copies have to be written before CouchDB answers 201 and not 202 (`w`).

        Raises:
            ValueError: the name can be no database's, or a quorum is less than 1.
        """
        own = timeout is not DEFAULT_TIMEOUT
        exchange = self._exchange.within(Timeout.of(timeout)) if own else self._exchange
        return Database(self, exchange, name, Quorum(read_quorum, write_quorum))

    async def __aenter__(self) -> Couch:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _auth(credentials: set[tuple[str, str] | None], auth: Auth | None) -> Auth | None:
    """Who the client says it is, by its URLs or by `auth`."""
    if len(credentials) > 1:
        raise ValueError("give every node's URL the same user and password, or none of them")
    found = next(iter(credentials), None)
    if found is None:
        return auth
    if auth is not None:
        raise ValueError("give the user in the URL or as auth, not both")
    return BasicAuth(*found)
