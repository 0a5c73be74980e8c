"""Metrics over HTTP: the database's as JSON at `_metrics`, and all of them for Prometheus at `/metrics`.

They reveal much about the data, so they have a policy as resources do. It is asked about "metrics", which is not one
of the reads that `Authenticated(…, read_anonymous=True)` opens to everybody.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from cachetools import LRUCache
from tornado.routing import URLSpec

from ... import _json
from ...couch import Database, DatabaseMetrics, Sizes, database_metrics
from ...errors import CouchError, TotalTimeout
from ..access import Caller, Policy, StoreOf, opened
from ..http import weights
from ..page import Page, PageHandler, Recent
from ..problems import Problem
from ..proxies import public_url

if TYPE_CHECKING:
    from ..openapi.operation import ApiOperation

__all__ = ["DatabaseMetricsHandler", "Exposition", "PrometheusHandler", "metrics_routes"]

_NO_STORE = {"Cache-Control": "no-store"}
_OPENMETRICS = "application/openmetrics-text"
_SIZE = {"type": ["integer", "null"], "description": "In bytes."}
_PERCENT = {"type": ["integer", "null"], "minimum": 0, "maximum": 100}
_SHAPE = {"dataSize": _SIZE, "diskSize": _SIZE, "externalSize": _SIZE, "fragmentation": _PERCENT}


_REMEMBERED = 100  # databases whose metrics are reused for a moment

Ask = Callable[[Database], Awaitable[DatabaseMetrics]]


class Exposition(Protocol):
    """Collects metrics for Prometheus, as `tornado_couch.telemetry.prometheus.Metrics` does."""

    async def expose(
        self, measured: Mapping[str, DatabaseMetrics | None], *, openmetrics: bool = False
    ) -> tuple[str, bytes]:
        """Return the media type and the text, which includes these metrics of databases."""
        ...


def metrics_routes(
    database: Database | StoreOf,
    exposition: Exposition | None = None,
    *,
    prefix: str = "",
    path: str = "/metrics",
    policy: Policy | None = None,
    timeout: float = 5.0,
    max_age: float = 5.0,
) -> list[URLSpec]:
    """Return the route `_metrics` and, if there is an exposition, `/metrics`.

        metrics = Metrics()
        Application([*metrics_routes(database, metrics, prefix="/v1.0", policy=…)], observers=[metrics])

    Args:
        database: the database to measure; or `Tenants`, so that each caller has the metrics of their own tenant's
            database. Those for Prometheus then have no database, since there is no end to their names.
        exposition: collects metrics for Prometheus.
        prefix: the prefix of `_metrics`; segments in braces stand for any text, as in "/customers/{tenant}".
        path: the path of the metrics for Prometheus.
        policy: who may read them; by default the application's setting.
        timeout: how many seconds CouchDB may take.
        max_age: for how many seconds its answer is reused, so that nobody can put load on CouchDB by asking.
    """
    recent: LRUCache[str, Recent[DatabaseMetrics]] = LRUCache(_REMEMBERED)

    async def ask(found: Database) -> DatabaseMetrics:
        known = recent.get(found.name)
        if known is None:
            known = recent[found.name] = Recent(lambda: _measured(found, timeout), max_age)
        return await known()

    common = {"policy": policy, "ask": ask, "database": database}
    pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(f"{prefix}/_metrics"))
    routes = [URLSpec(pattern, DatabaseMetricsHandler, common)]
    if exposition is not None:
        more = {**common, "exposition": exposition}
        routes.append(URLSpec(re.escape(path), PrometheusHandler, more))
    return routes


async def _measured(database: Database, timeout: float) -> DatabaseMetrics:
    try:
        async with asyncio.timeout(timeout):
            return await database_metrics(database)
    except TimeoutError:
        raise TotalTimeout(f"the database did not report its metrics within {timeout:g} seconds") from None


class DatabaseMetricsHandler(PageHandler):
    """The metrics of the database and its views, with the names of tor-async-couchdb and some more."""

    QUESTION = "metrics"

    def initialize(self, policy: Policy | None = None, **options: Any) -> None:
        """Store the route's options."""
        super().initialize(policy)
        self.ask: Ask = options["ask"]
        self.database: Database | StoreOf = options["database"]

    @classmethod
    def describe(cls, operation: ApiOperation) -> None:
        """Describe the answers for the API document."""
        super().describe(operation)
        operation.says("The sizes of the database and its views.")
        views = {"type": "object", "additionalProperties": {"type": "object", "properties": _SHAPE}}
        counts = {"docCount": {"type": "integer"}, "docDelCount": {"type": "integer"}}
        database = {"type": "object", "properties": {**counts, **_SHAPE, "views": views}}
        shape = {"type": "object", "required": ["database", "links"], "properties": {"database": database}}
        operation.answers_with(200, "The current sizes, or those of a moment ago.", shape)
        operation.problem("database-unavailable", "database-timeout")

    async def page(self, *_: str) -> Page:
        """Return the metrics as JSON."""
        found = await self._of_caller()
        href = public_url(self.request, self.settings)
        database: dict[str, Any] = {
            "docCount": found.doc_count,
            "docDelCount": found.doc_del_count,
            **_sizes(found.sizes),
            "views": {
                view.design_document: {**_sizes(view.sizes), "updatesPending": view.updates_pending}
                for view in found.views
            },
        }
        body = {"links": {"self": {"href": href}}, "database": database}
        return Page(_json.dumps(body), "application/json", _NO_STORE)


    async def _of_caller(self) -> DatabaseMetrics:
        """Return the metrics of the database, or of that of the caller's tenant."""
        if not callable(self.database):
            return await self.ask(self.database)
        try:
            async with opened(self.database, Caller(self.principal, self.request)) as store:
                return await self.ask(store.database)
        except Problem as problem:
            raise self.admission.policy.offering(problem) from None


class PrometheusHandler(PageHandler):
    """All metrics, in Prometheus' text format or OpenMetrics, whichever the client prefers."""

    QUESTION = "metrics"

    def initialize(self, policy: Policy | None = None, **options: Any) -> None:
        """Store the route's options."""
        super().initialize(policy)
        self.ask: Ask = options["ask"]
        self.database: Database | StoreOf = options["database"]
        self.exposition: Exposition = options["exposition"]

    @classmethod
    def describe(cls, operation: ApiOperation) -> None:
        """Describe the answers for the API document."""
        super().describe(operation)
        operation.says("All metrics, for Prometheus.")
        for media_type in ("text/plain", _OPENMETRICS):
            operation.answers_with(200, "The current metrics.", {"type": "string"}, media_type=media_type)

    async def page(self, *_: str) -> Page:
        """Return the metrics as text; an unreachable database is reported as a metric."""
        measured: dict[str, DatabaseMetrics | None] = {}
        if not callable(self.database):
            try:
                measured[self.database.name] = await self.ask(self.database)
            except CouchError:
                measured[self.database.name] = None
        given = weights(self.request.headers.get("Accept", ""))
        preferred = given.get(_OPENMETRICS, 0.0)
        openmetrics = preferred > 0 and preferred >= given.get("text/plain", 0.0)
        media_type, text = await self.exposition.expose(measured, openmetrics=openmetrics)
        return Page(text, media_type, _NO_STORE)


def _sizes(sizes: Sizes) -> dict[str, int | None]:
    return {
        "dataSize": sizes.active,
        "diskSize": sizes.file,
        "externalSize": sizes.external,
        "fragmentation": sizes.fragmentation,
    }
