"""Metrics over HTTP: the database's as JSON at `_metrics`, and all of them for Prometheus at `/metrics`.

They reveal much about the data, so they have a policy as resources do. It is asked about "metrics", which is not one
of the reads that `Authenticated(…, read_anonymous=True)` opens to everybody.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from tornado.routing import URLSpec

from ... import _json
from ...couch import Database, DatabaseMetrics, Sizes, database_metrics
from ...errors import CouchError, TotalTimeout
from ..access import Policy
from ..http import weights
from ..page import Page, PageHandler, Recent
from ..proxies import public_url

if TYPE_CHECKING:
    from ..openapi.operation import ApiOperation

__all__ = ["DatabaseMetricsHandler", "Exposition", "PrometheusHandler", "metrics_routes"]

_NO_STORE = {"Cache-Control": "no-store"}
_OPENMETRICS = "application/openmetrics-text"
_SIZE = {"type": ["integer", "null"], "description": "In bytes."}
_PERCENT = {"type": ["integer", "null"], "minimum": 0, "maximum": 100}
_SHAPE = {"dataSize": _SIZE, "diskSize": _SIZE, "externalSize": _SIZE, "fragmentation": _PERCENT}


class Exposition(Protocol):
    """Collects metrics for Prometheus, as `tornado_couch.telemetry.prometheus.Metrics` does."""

    async def expose(
        self, measured: Mapping[str, DatabaseMetrics | None], *, openmetrics: bool = False
    ) -> tuple[str, bytes]:
        """Return the media type and the text, which includes these metrics of databases."""
        ...


def metrics_routes(
    database: Database,
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
        database: the database to measure.
        exposition: collects metrics for Prometheus.
        prefix: the prefix of `_metrics`.
        path: the path of the metrics for Prometheus.
        policy: who may read them; by default the application's setting.
        timeout: how many seconds CouchDB may take.
        max_age: for how many seconds its answer is reused, so that nobody can put load on CouchDB by asking.
    """
    ask = Recent(lambda: _measured(database, timeout), max_age)
    common = {"policy": policy, "ask": ask}
    routes = [URLSpec(re.escape(f"{prefix}/_metrics"), DatabaseMetricsHandler, common)]
    if exposition is not None:
        more = {**common, "name": database.name, "exposition": exposition}
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
        self.ask: Recent[DatabaseMetrics] = options["ask"]

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
        found = await self.ask()
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


class PrometheusHandler(PageHandler):
    """All metrics, in Prometheus' text format or OpenMetrics, whichever the client prefers."""

    QUESTION = "metrics"

    def initialize(self, policy: Policy | None = None, **options: Any) -> None:
        """Store the route's options."""
        super().initialize(policy)
        self.ask: Recent[DatabaseMetrics] = options["ask"]
        self.name: str = options["name"]
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
        try:
            measured = await self.ask()
        except CouchError:
            measured = None
        given = weights(self.request.headers.get("Accept", ""))
        preferred = given.get(_OPENMETRICS, 0.0)
        openmetrics = preferred > 0 and preferred >= given.get("text/plain", 0.0)
        media_type, text = await self.exposition.expose({self.name: measured}, openmetrics=openmetrics)
        return Page(text, media_type, _NO_STORE)


def _sizes(sizes: Sizes) -> dict[str, int | None]:
    return {
        "dataSize": sizes.active,
        "diskSize": sizes.file,
        "externalSize": sizes.external,
        "fragmentation": sizes.fragmentation,
    }
