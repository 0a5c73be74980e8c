"""Metrics for Prometheus, through its own client library: the extra `[metrics]`.

    metrics = Metrics()
    app = Application([*resource(…), *metrics_routes(database, metrics, policy=…)], observers=[metrics])

Each label has few values, whatever clients send: routes are patterns, methods are HTTP's own, and CouchDB's
paths contain no names or ids.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from ..couch import DatabaseMetrics, Observer, Sizes

__all__ = ["DIRECTORY_VARIABLE", "SECONDS", "WORKER_VARIABLE", "Metrics"]

try:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, values
    from prometheus_client import exposition as text_format
    from prometheus_client.metrics_core import GaugeMetricFamily, Metric
    from prometheus_client.multiprocess import MultiProcessCollector
    from prometheus_client.openmetrics import exposition as open_format
except ImportError as error:
    raise ImportError("Metrics needs prometheus-client: pip install 'tornado-couch[metrics]'") from error

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus-client's environment variable for the folder in which several processes share their numbers."""

WORKER_VARIABLE = "TORNADO_COUCH_WORKER"
"""The environment variable with a worker's number: a worker that replaces another continues its numbers."""

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The bounds of the time histograms: from a request that needs no exchange with CouchDB to one that times out."""

_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_BYTES = tuple(4.0**power for power in range(4, 13))  # 256 bytes to 16 MiB
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _Instruments:
    """The counters, gauges and histograms, in a registry of their own."""

    def __init__(self, prefix: str, seconds: Sequence[float]) -> None:
        self.registry = CollectorRegistry()
        self._named: dict[str, Any] = {"namespace": prefix, "registry": self.registry}
        self.requests = self._times("request", "Requests from clients", ["resource", "method", "status"], seconds)
        self.requests_in_flight = self._gauge("requests_in_flight", "Requests from clients in progress")
        self.streams = self._gauge("streams", "Clients that follow the changes of a collection", ["kind"])
        self.exchanges = self._times("couchdb_exchange", "Requests to CouchDB", ["method", "path", "outcome"], seconds)
        self.exchanges_in_flight = self._gauge("couchdb_exchanges_in_flight", "Requests to CouchDB in progress")
        self.pool_wait = self._times("couchdb_pool_wait", "Waits for a connection to CouchDB", [], seconds)
        self.group_sizes = Histogram(
            "group_size", "Reads or writes per request to CouchDB", ["kind"], buckets=_SIZES, **self._named
        )
        self.group_bytes = Histogram(
            "group_bytes", "Content of a grouped request to CouchDB", ["kind"], buckets=_BYTES, **self._named
        )
        self.group_wait = self._times("group_wait", "Grouped reads and writes", ["kind"], seconds)
        self.cache_reads = self._counter("cache_reads", "Reads that looked into the cache", "outcome")
        self.conflicts = self._counter("conflicts", "Writes that met a conflict", "type")
        self.retries = self._counter("retries", "Retries of writes after a conflict", "type")
        self.retry_seconds = self._counter("retry_delay_seconds", "Time between retries of writes", "type")
        self.exhausted = self._counter("retries_exhausted", "Writes given up after a conflict at every try", "type")
        self.lost_answers = self._counter("lost_answers", "Writes whose answer was lost", "type", "landed")
        self.reconciliations = self._counter("reconciliations", "Documents whose leaves were merged", "type")
        self.merged_leaves = self._counter("reconciled_leaves", "Leaves that were merged", "type")
        self.signature_failures = self._counter("signature_failures", "Documents with an invalid signature", "reason")
        self.misplaced = self._counter("misplaced", "Documents in the place of others", "type")
        self.consumed = self._counter("consumer_changes", "Changes that a consumer dealt with", "consumer", "outcome")
        self.consumer_lag = self._latest("consumer_lag_seconds", "Since when a consumer is behind")
        self.consumer_pending = self._latest("consumer_pending_changes", "Changes that a consumer has still to look at")

    def _times(self, name: str, text: str, labels: list[str], seconds: Sequence[float]) -> Histogram:
        return Histogram(f"{name}_seconds", f"{text}: how long they take", labels, buckets=seconds, **self._named)

    def _gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Gauge:
        # "live": numbers of processes that have ended do not count.
        return Gauge(name, text, labels, multiprocess_mode="livesum", **self._named)

    def _latest(self, name: str, text: str) -> Gauge:
        # Of a consumer's processes, those that wait for the lease report 0.
        return Gauge(name, text, ["consumer"], multiprocess_mode="livemax", **self._named)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, **self._named)


class Metrics(Observer):
    """Counts what a service does, and exports it in Prometheus' formats.

    Pass it to the application (`observers=[metrics]`), and to each `Couch` that no mounted resource uses. Under
    `serve(processes=N)` every process answers with the numbers of all processes.

    Args:
        prefix: the prefix of every metric's name.
        seconds: the bounds of the time histograms.
    """

    def __init__(self, *, prefix: str = "tornado_couch", seconds: Sequence[float] = SECONDS) -> None:
        self._prefix = prefix
        self._seconds = seconds

    @cached_property
    def _is(self) -> _Instruments:
        # Created at first use: in the worker process, not in the one that it was forked from.
        number = os.environ.get(WORKER_VARIABLE)
        if self._shared and number is not None:
            # prometheus-client identifies processes by their ids. The letter keeps ours distinct from those.
            values.ValueClass = values.MultiProcessValue(lambda: f"w{number}")  # type: ignore[no-untyped-call]
        elif self._shared and not values.ValueClass._multiprocess:
            # prometheus-client chooses this when it is imported, perhaps before there was a folder.
            values.ValueClass = values.MultiProcessValue()  # type: ignore[no-untyped-call]
        return _Instruments(self._prefix, self._seconds)

    @property
    def _shared(self) -> str | None:
        return os.environ.get(DIRECTORY_VARIABLE)

    @property
    def registry(self) -> CollectorRegistry:
        """The registry of the metrics, for the service's own metrics too; these do not need the prefix."""
        return self._is.registry

    # ------------------------------------------------------------ observing

    def request_began(self, route: str, method: str, headers: Mapping[str, str]) -> None:  # noqa: ARG002
        """Count a request as in progress."""
        self._is.requests_in_flight.inc()

    def request_ended(self, route: str, method: str, status: int | None, seconds: float) -> None:
        """Count a request by route, method and status."""
        self._is.requests_in_flight.dec()
        labels = route or "unmatched", method if method in _METHODS else "other", str(status or "none")
        self._is.requests.labels(*labels).observe(seconds)

    def stream_began(self, kind: str) -> None:
        """Count a stream of changes as open."""
        self._is.streams.labels(kind).inc()

    def stream_ended(self, kind: str) -> None:
        """Count a stream of changes as over."""
        self._is.streams.labels(kind).dec()

    def exchange_began(self, method: str, template: str) -> None:  # noqa: ARG002
        """Count an exchange as in progress."""
        self._is.exchanges_in_flight.inc()

    def exchange_ended(self, method: str, template: str, outcome: str, seconds: float) -> None:
        """Count an exchange by method, path and outcome."""
        self._is.exchanges_in_flight.dec()
        self._is.exchanges.labels(method, template, outcome).observe(seconds)

    def pool_waited(self, seconds: float) -> None:
        """Count a wait for a connection."""
        self._is.pool_wait.observe(seconds)

    def grouped(self, kind: str, size: int, content_bytes: int) -> None:
        """Count a group."""
        self._is.group_sizes.labels(kind).observe(size)
        self._is.group_bytes.labels(kind).observe(content_bytes)

    def group_awaited(self, kind: str, seconds: float) -> None:
        """Count a call that was part of a group."""
        self._is.group_wait.labels(kind).observe(seconds)

    def cache_asked(self, hit: bool) -> None:
        """Count a hit or a miss of the cache."""
        self._is.cache_reads.labels("hit" if hit else "miss").inc()

    def conflict_met(self, kind: str) -> None:
        """Count a conflict."""
        self._is.conflicts.labels(kind).inc()

    def retried(self, kind: str, seconds: float) -> None:
        """Count one more attempt, and the pause before it."""
        self._is.retries.labels(kind).inc()
        self._is.retry_seconds.labels(kind).inc(seconds)

    def retries_exhausted(self, kind: str) -> None:
        """Count a write that was given up."""
        self._is.exhausted.labels(kind).inc()

    def answer_proved(self, kind: str, landed: bool) -> None:
        """Count a lost answer."""
        self._is.lost_answers.labels(kind, "yes" if landed else "no").inc()

    def reconciled(self, kind: str, leaves: int) -> None:
        """Count a merged document and its leaves."""
        self._is.reconciliations.labels(kind).inc()
        self._is.merged_leaves.labels(kind).inc(leaves)

    def signature_failed(self, reason: str) -> None:
        """Count a document whose signature is not valid."""
        self._is.signature_failures.labels(reason).inc()

    def misplaced(self, kind: str) -> None:
        """Count a document that is where one of another kind should be."""
        self._is.misplaced.labels(kind).inc()

    def consumed(self, consumer: str, outcome: str) -> None:
        """Count a change that a consumer dealt with."""
        self._is.consumed.labels(consumer, outcome).inc()

    def consumer_lagged(self, consumer: str, seconds: float, pending: int) -> None:
        """Note how far a consumer is behind."""
        self._is.consumer_lag.labels(consumer).set(seconds)
        self._is.consumer_pending.labels(consumer).set(pending)

    # ------------------------------------------------------------ exporting

    async def expose(
        self, measured: Mapping[str, DatabaseMetrics | None], *, openmetrics: bool = False
    ) -> tuple[str, bytes]:
        """Return all metrics as text.

        Args:
            measured: the current metrics of databases by name; None for a database that does not answer.
            openmetrics: whether to use the OpenMetrics 1.0 format instead of Prometheus' own.

        Returns:
            The media type, and the text.
        """
        collectors = self._collectors(measured)
        if openmetrics:
            text = await asyncio.to_thread(open_format.generate_latest, collectors)
            return open_format.CONTENT_TYPE_LATEST, text
        # In a thread, because the numbers of other processes are in files.
        return text_format.CONTENT_TYPE_PLAIN_0_0_4, await asyncio.to_thread(text_format.generate_latest, collectors)

    def _collectors(self, measured: Mapping[str, DatabaseMetrics | None]) -> CollectorRegistry:
        gathered = CollectorRegistry()
        if self._shared:
            self._is  # noqa: B018 - so that there are files to collect
            MultiProcessCollector(gathered, self._shared)  # type: ignore[no-untyped-call]
        else:
            gathered.register(_Family(self._is.registry))
            ProcessCollector(registry=gathered)
        gathered.register(_Family(_database_families(self._prefix, measured)))
        return gathered


class _Family:
    """Yields metrics without describing them beforehand, so that nothing is collected twice."""

    def __init__(self, families: Any) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        families = self._families
        return families.collect() if isinstance(families, CollectorRegistry) else families

    def describe(self) -> Iterable[Metric]:
        return ()


def _database_families(prefix: str, measured: Mapping[str, DatabaseMetrics | None]) -> list[Metric]:
    up = _gauge(prefix, "database_up", "Whether the database answers", "database")
    documents = _gauge(prefix, "database_documents", "Documents, including design documents", "database")
    deleted = _gauge(prefix, "database_deleted_documents", "Tombstones", "database")
    sizes = _gauge(prefix, "database_bytes", "Size of the database without its views", "database", "size")
    waste = _gauge(prefix, "database_fragmentation_ratio", "The share that compaction would free", "database")
    labels = "database", "design_document"
    view_sizes = _gauge(prefix, "view_bytes", "Size of a design document's index", *labels, "size")
    view_waste = _gauge(prefix, "view_fragmentation_ratio", "The share that compaction would free", *labels)
    pending = _gauge(prefix, "view_updates_pending", "Changes that the index has not yet processed", *labels)
    for name, found in measured.items():
        up.add_metric([name], found is not None)
        if found is None:
            continue
        documents.add_metric([name], found.doc_count)
        deleted.add_metric([name], found.doc_del_count)
        _add_sizes(sizes, waste, [name], found.sizes)
        for view in found.views:
            _add_sizes(view_sizes, view_waste, [name, view.design_document], view.sizes)
            if view.updates_pending is not None:
                pending.add_metric([name, view.design_document], view.updates_pending)
    return [up, documents, deleted, sizes, waste, view_sizes, view_waste, pending]


def _gauge(prefix: str, name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"{prefix}_{name}", text, labels=labels)


def _add_sizes(sizes: GaugeMetricFamily, waste: GaugeMetricFamily, labels: list[str], found: Sizes) -> None:
    for name in ("file", "external", "active"):
        size = getattr(found, name)
        if size is not None:
            sizes.add_metric([*labels, name], size)
    if found.fragmentation is not None:
        waste.add_metric(labels, found.fragmentation / 100)
