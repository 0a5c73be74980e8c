"""`Couch`: the client for a CouchDB server, and the databases that it has by name."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Literal

from . import names
from .auth import Auth, BasicAuth, NoAuth
from .database import Database
from .endpoint import Quorum
from .exchange import Exchange
from .observer import Observer, Observers
from .server import Server
from .transport.base import DEFAULT_TIMEOUT, Timeout, Transport
from .transport.failover import FailoverTransport
from .transport.pool import Pool

__all__ = ["Couch"]


class Couch(Server):
    """A client for a CouchDB server.

        async with Couch("http://127.0.0.1:5984", auth=BasicAuth("app", "secret")) as couch:
            document = await couch["orchard"].get("apple")

    It can be created outside of the event loop; connections are opened at first use, and belong to the event loop
    of that use. Without `async with`, call `close` to end them.

    Args:
        url: the server's URL; a user and password in it become `BasicAuth`. For a cluster, the URLs of several nodes,
            the preferred one first: when a node fails the next one is used, until the first is back.
        auth: the credentials of the client.
        timeout: the time limits in seconds: a number limits the whole call, None sets no limit.
        ca: a file of trusted certificates in PEM format, instead of the system's.
        verify: False to trust any certificate.
        max_connections: how many connections may be open at once.
        transport: carries the requests instead; the URL then has no effect.
        library: which library carries the requests, "httptools" or "aiohttp"; "auto" is httptools where it is
            installed, which computes less.
        writes: which node writes go to: "first", the one that all requests go to, except for documents whose writes
            were seen to meet others; or "by-document", one for each document, chosen by its id among the nodes that
            work. That spreads the writes over the nodes, but not those of one document, which would collide more often
            on several.
        clock: a monotonic clock in seconds, for the log and the observer.
        observer: receives every exchange, and what the store does with this server; `observe` adds others.

    Raises:
        ValueError: the URL is not one of CouchDB, or contains a password although `auth` is given; or several URLs
            have different passwords; or `writes` or `library` is none of those.
        ImportError: the `library` is not installed.
        OSError: `ca` cannot be read or contains no certificate.
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
        library: Literal["auto", "httptools", "aiohttp"] = "auto",
        writes: Literal["first", "by-document"] = "first",
        clock: Callable[[], float] = time.monotonic,
        observer: Observer | None = None,
    ) -> None:
        bases = [names.base(each) for each in ([url] if isinstance(url, str) else url)]
        if not bases:
            raise ValueError("give the URL of at least one node")
        if writes not in ("first", "by-document"):
            raise ValueError('writes must be "first" or "by-document"')
        auth = _auth({base.credentials for base in bases}, auth)
        observers = Observers(*([observer] if observer else []))
        if transport is None:
            kind = _transport_class(library)
            nodes = [
                kind(base.url, ca=ca, verify=verify, max_connections=max_connections, observer=observers)
                for base in bases
            ]
            if len(nodes) == 1:
                transport = nodes[0]
            else:
                urls = [base.url for base in bases]
                transport = FailoverTransport(nodes, clock, names=urls, spread=writes == "by-document")
        self._nodes = transport if isinstance(transport, FailoverTransport) else None
        super().__init__(Exchange(transport, auth or NoAuth(), Timeout.of(timeout), clock, observers))
        self._url = bases[0].url

    @property
    def url(self) -> str:
        """The URL of the server, or of its first node, without credentials."""
        return self._url

    def place(self, document_id: str) -> int:
        """The number of the node that the writes of a document prefer; only writes with one number share a request."""
        return self._nodes.preferred(document_id) if self._nodes else 0

    def contest(self, document_id: str) -> None:
        """Take note that several writers change a document, so that its writes go to one node if there are several."""
        if self._nodes:
            self._nodes.contest(document_id)

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
        """The database with this name; CouchDB is not asked whether it exists.

        Args:
            name: the database's name.
            timeout: time limits for this database, for instance if its views take long to build.
            read_quorum: how many copies of a document must be read before CouchDB answers (`r`); by default more
                than half of them. Views are always read from one copy.
            write_quorum: how many copies must be written before CouchDB answers 201 instead of 202 (`w`).

        Raises:
            ValueError: no database can have this name, or a quorum is less than 1.
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


def _transport_class(library: str) -> type[Pool]:
    """The class of the transports with which a library carries requests; the other library is not imported."""
    if library == "auto":
        library = "httptools" if find_spec("httptools") else "aiohttp"
    if library == "httptools":
        from .transport.httptools import HttptoolsTransport

        return HttptoolsTransport
    if library == "aiohttp":
        from .transport.default import AiohttpTransport

        return AiohttpTransport
    raise ValueError('library must be "auto", "httptools" or "aiohttp"')


def _auth(credentials: set[tuple[str, str] | None], auth: Auth | None) -> Auth | None:
    """The client's credentials, from its URLs or from `auth`."""
    if len(credentials) > 1:
        raise ValueError("give all node URLs the same user and password, or none")
    found = next(iter(credentials), None)
    if found is None:
        return auth
    if auth is not None:
        raise ValueError("give the user in the URL or as auth, not both")
    return BasicAuth(*found)
