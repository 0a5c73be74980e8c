"""Checks whether a database can serve its models: it exists, and their design documents are there and built."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from ..couch import Database, Server, view_metrics
from ..couch.sizes import each_of
from ..errors import CouchError, NotFound
from ..models import Model, design_documents

__all__ = ["STOPPING", "Readiness", "ReadinessCheck", "ServerCheck"]

STOPPING = "tornado_couch_stopping"
"""The setting of an application that is about to stop, which is then never ready, whatever its database says."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """The outcome of a check.

    Attributes:
        reasons: what is missing, one sentence for each; meant for operators, not for clients.
    """

    reasons: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether nothing is missing."""
        return not self.reasons


class ReadinessCheck:
    """Asks a database for everything that some models need, all at once and within a time limit.

    An index counts as built once it has seen all but `max_pending` changes. The check asks CouchDB to go on with
    one that has not, and does not wait for it: CouchDB builds most indexes only when they are asked for. An index
    that was built once counts as built for this check as long as its views do not change. An index that lags behind
    after many writes makes queries slow; taking all processes of a service away for that would make it worse.

    Args:
        database: where the models are kept.
        models: the models whose design documents are needed.
        max_pending: how many changes an index may still have to see.
        timeout: seconds for the whole check.
    """

    def __init__(
        self, database: Database, models: Iterable[type[Model]] = (), *, max_pending: int = 1000, timeout: float = 5.0
    ) -> None:
        self._database = database
        self._timeout = timeout
        self._max_pending = max_pending
        self._views: dict[str, list[str]] = {
            document["_id"].removeprefix("_design/"): list(document["views"])
            for model in models
            for document in design_documents(model)
        }
        self._built: set[tuple[str, str | None]] = set()

    async def __call__(self) -> Readiness:
        """Run the check; an error of CouchDB becomes a reason and is not raised."""
        asks: list[Callable[[], Awaitable[str | None]]] = [self._reachable]
        asks += [lambda name=name: self._index(name) for name in self._views]  # type: ignore[misc]
        try:
            async with asyncio.timeout(self._timeout):
                reasons = await each_of(asks, lambda ask: ask())
        except TimeoutError:
            return Readiness((f"CouchDB did not answer everything within {self._timeout:g} seconds",))
        # A database that cannot be reached would otherwise be reported again by each design document.
        return Readiness(tuple(dict.fromkeys(reason for reason in reasons if reason)))

    async def _reachable(self) -> str | None:
        try:
            await self._database.info()
        except CouchError as error:
            return self._failure(error)
        return None

    async def _index(self, name: str) -> str | None:
        try:
            found = await view_metrics(self._database, name)
            pending, known = found.updates_pending or 0, (name, found.signature)
            if pending <= self._max_pending:
                self._built.add(known)
            if known in self._built:
                return None
            for view in self._views[name]:
                await self._database.view(name, view, update="lazy", limit=0, reduce=False)
        except NotFound as missing:
            if missing.reason == "Database does not exist.":
                return self._failure(missing)
            return f"the design document {name} is missing"
        except CouchError as error:
            return self._failure(error)
        return f"the index of {name} has not seen {pending} changes"

    def _failure(self, error: CouchError) -> str:
        return f"the database {self._database.name} cannot be used: {error}"


class ServerCheck:
    """Asks whether a server accepts requests, for a service whose databases are those of its tenants.

    Args:
        server: the server.
        timeout: seconds for the answer.
    """

    def __init__(self, server: Server, *, timeout: float = 5.0) -> None:
        self._server = server
        self._timeout = timeout

    async def __call__(self) -> Readiness:
        """Run the check; an error of CouchDB becomes a reason and is not raised."""
        try:
            async with asyncio.timeout(self._timeout):
                return Readiness() if await self._server.up() else Readiness(("CouchDB is in maintenance mode",))
        except TimeoutError:
            return Readiness((f"CouchDB did not answer within {self._timeout:g} seconds",))
        except CouchError as error:
            return Readiness((f"CouchDB cannot be used: {error}",))
