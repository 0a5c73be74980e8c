"""Metrics over HTTP, read as clients of the original and as Prometheus read them."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_prometheus

from tests.faults import FaultServer, stall
from tests.web.callers import Closed
from tests.web.conftest import Client, Serve, application
from tests.web.models import Fruit
from tornado_couch import (
    AllowAny,
    Application,
    Couch,
    Database,
    Hooks,
    Retry,
    Store,
    metrics_routes,
    resource,
)
from tornado_couch.telemetry import prometheus
from tornado_couch.telemetry.prometheus import Metrics
from tornado_couch.web import Event

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: bytes, parse: Callable[[str], Any] = parse_prometheus) -> Samples:
    """What prometheus-client's own parser reads."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(text.decode())
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((f"tornado_couch_{name}", frozenset(labels.items())))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def ask(store: Store, serve: Serve, metrics: Metrics) -> Client:
    """A service that is measured."""
    return await serve(application(store, *metrics_routes(store.database, metrics, max_age=0), observers=[metrics]))


async def scraped(ask: Client, accept: str = "text/plain") -> Samples:
    reply = await ask("GET", "/metrics", Accept=accept)
    assert reply.status == 200
    return samples(
        reply.text, parse_openmetrics if "openmetrics" in reply.headers["Content-Type"] else parse_prometheus
    )


async def test_the_database_and_its_views_are_told_as_the_original_told_them(ask: Client, database: Database) -> None:
    """Its members under its names, and what came later; each design document by its name."""
    for number in range(3):
        await database.put({"_id": f"fruit-{number}", "type": "fruit_v1.0", "fruit_id": f"fruit-{number}"})
    await database.view("fruit_by_fruit_id", "fruit_by_fruit_id")
    reply = await ask("GET", "/_metrics")
    assert reply.status == 200
    assert reply.json["links"] == {"self": {"href": f"{ask.url}/_metrics"}}
    found = reply.json["database"]
    rows = (await database.all_docs()).rows
    assert (found["docCount"], found["docDelCount"]) == (len(rows), 0)
    sizes = {"dataSize", "diskSize", "externalSize"}
    assert found.keys() == {"docCount", "docDelCount", "fragmentation", "views", *sizes}
    assert all(isinstance(found[name], int) for name in sizes)
    assert 0 <= found["fragmentation"] <= 100
    assert found["views"].keys() == {row.id.removeprefix("_design/") for row in rows if (row.id or "").startswith("_")}
    view = found["views"]["fruit_by_fruit_id"]
    assert view.keys() == {"fragmentation", "updatesPending", *sizes}
    assert view["updatesPending"] == 0


async def test_requests_are_counted_by_route_method_and_status(ask: Client) -> None:
    """In histograms of their times; a route is its pattern, whatever the key."""
    for _ in range(2):
        created = await ask("POST", "/fruits", {"color": "red"})
        assert (await ask("GET", created.headers["Location"])).status == 200
    await ask("GET", "/fruits/missing")
    await ask("GET", "/nowhere/at/all")
    found = await scraped(ask)

    def count(resource: str, method: str, status: str) -> float | None:
        return value(found, "request_seconds_count", resource=resource, method=method, status=status)

    assert count("/fruits", "POST", "201") == 2
    assert count("/fruits/{key}", "GET", "200") == 2
    assert count("/fruits/{key}", "GET", "404") == 1
    assert count("unmatched", "GET", "404") == 1
    labels = {"resource": "/fruits", "method": "POST", "status": "201"}
    assert value(found, "request_seconds_bucket", **labels, le="+Inf") == 2
    assert 0 < (value(found, "request_seconds_sum", **labels) or 0) < 60
    assert value(found, "requests_in_flight") == 1  # this one


async def test_clients_cannot_make_labels(ask: Client) -> None:
    """Whatever they send as method or path, there are as many time series as there were."""
    for number in range(20):
        await ask("GET", f"/no/such/path/{number}")
        assert (await ask(f"METHOD{number}", f"/fruits/{number}")).status == 405
    found = await scraped(ask)
    series = {labels for name, labels in found if name == "tornado_couch_request_seconds_count"}
    assert {tuple(sorted(dict(labels).values())) for labels in series} == {
        ("404", "GET", "unmatched"),
        ("/fruits/{key}", "405", "other"),
    }


async def test_exchanges_with_couchdb_are_counted(ask: Client, database: Database) -> None:
    """By method, path and outcome, with no name or id in it; and the wait for a connection."""
    await database.server.new_id()
    await database.exists()
    found = await scraped(ask)
    for method, path in (("GET", "/_uuids"), ("HEAD", "/{db}")):
        labels = {"method": method, "path": path, "outcome": "200"}
        assert value(found, "couchdb_exchange_seconds_count", **labels) == 1
    assert (value(found, "couchdb_pool_wait_seconds_count") or 0) >= 2
    assert value(found, "couchdb_exchanges_in_flight") == 0
    exchanges = {dict(labels)["path"] for name, labels in found if name.endswith("exchange_seconds_count")}
    assert not [path for path in exchanges if database.name in path]


class Rival(Hooks):
    """Another writer, who is faster so many times."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.times = 0

    async def before(self, event: Event, model: Any = None, current: Any = None) -> None:
        if event.action == "replace" and self.times:
            self.times -= 1
            await self.database.put(await self.database.get(current._id))


async def test_conflicts_retries_and_their_end_are_counted(store: Store, serve: Serve, metrics: Metrics) -> None:
    """By the documents' type."""
    rival = Rival(store.database)
    contended = Store(store.database, retry=Retry(attempts=3, base=0.001))
    routes = [
        *resource("/fruits", Fruit, contended, hooks=rival),
        *metrics_routes(store.database, metrics),
    ]
    ask = await serve(Application(routes, policy=AllowAny(), observers=[metrics]))
    path = (await ask("POST", "/fruits", {"color": "red"})).headers["Location"]
    for times, status in ((1, 200), (3, 503)):
        rival.times = times
        assert (await ask("PUT", path, {"color": "green"})).status == status
    found = await scraped(ask)
    assert value(found, "conflicts_total", type="fruit") == 4
    assert value(found, "retries_total", type="fruit") == 3
    assert value(found, "retries_exhausted_total", type="fruit") == 1
    assert value(found, "retry_delay_seconds_total", type="fruit") is not None


async def test_what_else_is_told_is_counted(ask: Client, metrics: Metrics) -> None:
    """Groups, the cache, lost answers, reconciliations, signatures that fail."""
    metrics.grouped("read", 5, 300)
    metrics.group_awaited("read", 0.01)
    metrics.cache_asked(True)
    metrics.cache_asked(False)
    metrics.answer_proved("fruit", True)
    metrics.answer_proved("fruit", False)
    metrics.reconciled("fruit", 3)
    metrics.signature_failed("altered")
    found = await scraped(ask)
    assert value(found, "group_size_sum", kind="read") == 5
    assert value(found, "group_size_bucket", kind="read", le="4.0") == 0
    assert value(found, "group_size_bucket", kind="read", le="8.0") == 1
    assert value(found, "group_bytes_sum", kind="read") == 300
    assert value(found, "group_wait_seconds_count", kind="read") == 1
    assert [value(found, "cache_reads_total", outcome=outcome) for outcome in ("hit", "miss")] == [1, 1]
    assert [value(found, "lost_answers_total", type="fruit", landed=landed) for landed in ("yes", "no")] == [1, 1]
    assert value(found, "reconciliations_total", type="fruit") == 1
    assert value(found, "reconciled_leaves_total", type="fruit") == 3
    assert value(found, "signature_failures_total", reason="altered") == 1


async def test_the_database_is_a_part_of_what_prometheus_reads(ask: Client, database: Database) -> None:
    """Documents, sizes, fragmentation, and what each index has not seen."""
    found, name = await scraped(ask), database.name
    info = await database.info()
    assert value(found, "database_up", database=name) == 1
    assert value(found, "database_documents", database=name) == info["doc_count"]
    assert value(found, "database_deleted_documents", database=name) == 0
    assert value(found, "database_bytes", database=name, size="file") is not None
    assert 0 <= (value(found, "database_fragmentation_ratio", database=name) or 0) <= 1
    labels = {"database": name, "design_document": "fruit_by_color"}
    assert value(found, "view_bytes", **labels, size="file") is not None
    assert value(found, "view_updates_pending", **labels) is not None


@pytest.mark.parametrize(
    ("accept", "openmetrics"),
    [
        ("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2", True),
        ("application/openmetrics-text", True),
        ("text/plain;q=0.9, application/openmetrics-text;q=0.1", False),
        ("application/openmetrics-text;q=0, text/plain", False),
        ("application/openmetrics-text; version=nonsense", True),
        ("*/*", False),
        ("", False),
    ],
)
async def test_the_format_is_what_the_client_prefers(ask: Client, accept: str, openmetrics: bool) -> None:
    """OpenMetrics, or Prometheus' own; both are read by its parsers."""
    await ask("POST", "/fruits", {"color": "red"})
    reply = await ask("GET", "/metrics", Accept=accept)
    wanted = "application/openmetrics-text; version=1.0.0" if openmetrics else "text/plain; version=0.0.4"
    assert reply.headers["Content-Type"].startswith(wanted)
    assert reply.text.endswith(b"# EOF\n") is openmetrics
    found = samples(reply.text, parse_openmetrics if openmetrics else parse_prometheus)
    assert value(found, "request_seconds_count", resource="/fruits", method="POST", status="201") == 1
    assert (await ask("GET", "/metrics", Accept="image/png")).status == 406


async def test_metrics_have_a_policy_as_resources_do(store: Store, serve: Serve, metrics: Metrics) -> None:
    """Of their own, or the application's; without any nothing is served."""
    routes = metrics_routes(store.database, metrics)
    with pytest.raises(ValueError, match="/_metrics has no policy"):
        Application(routes)
    ask = await serve(Application(routes, policy=Closed()))
    assert [(await ask("GET", path)).status for path in ("/metrics", "/_metrics")] == [403, 403]
    ask = await serve(Application(metrics_routes(store.database, metrics, policy=Closed()), policy=AllowAny()))
    assert [(await ask("GET", path)).status for path in ("/metrics", "/_metrics")] == [403, 403]
    only = metrics_routes(store.database, prefix="/v1.0", policy=AllowAny())
    assert [rule.regex.pattern for rule in only] == [r"/v1\.0/_metrics$"]


async def test_a_database_that_cannot_be_asked_is_a_metric_and_a_problem(serve: Serve, metrics: Metrics) -> None:
    """Prometheus still gets the rest; a client of the JSON gets 504 or 503."""
    for behaviour, status in ((stall, 504), (None, 503)):
        async with FaultServer(behaviour or stall) as server:
            url = server.url if behaviour else "http://127.0.0.1:9"
            async with Couch(url) as couch:
                routes = metrics_routes(couch["orchard"], metrics, policy=AllowAny(), timeout=0.2)
                ask = await serve(Application(routes, observers=[metrics]))
                found = await scraped(ask)
                assert value(found, "database_up", database="orchard") == 0
                assert (await ask("GET", "/_metrics")).status == status


async def test_nobody_can_load_couchdb_by_asking(store: Store, serve: Serve, metrics: Metrics) -> None:
    """Many scrapes at once are one question."""
    server = store.database.server
    ask = await serve(Application(metrics_routes(store.database, metrics, policy=AllowAny()), observers=[metrics]))
    server.observe(metrics)
    await asyncio.gather(*(ask("GET", path) for path in ["/metrics", "/_metrics"] * 10))
    found = await scraped(ask)
    assert value(found, "couchdb_exchange_seconds_count", method="GET", path="/{db}", outcome="200") == 1


async def test_two_services_in_one_process_have_metrics_of_their_own(store: Store, serve: Serve) -> None:
    """Nothing is global; names and buckets can be chosen."""
    first, second = Metrics(), Metrics(prefix="orchard", seconds=(0.5, 1))
    for each in (first, second):
        each.conflict_met("fruit")
    _, text = await second.expose({})
    assert re.search(rb'^orchard_conflicts_total\{type="fruit"\} 1\.0$', text, re.MULTILINE)
    assert b"tornado_couch" not in text
    second.request_ended("/", "GET", 200, 0.7)
    _, text = await second.expose({})
    assert re.findall(rb'orchard_request_seconds_bucket\{le="([^"]+)"', text) == [b"0.5", b"1.0", b"+Inf"]


@pytest.fixture
def closed_files(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Closes prometheus-client's files, which it keeps open until its process ends: here one stands for several."""
    opened: list[Any] = []

    def opening(*arguments: Any) -> Any:
        opened.append(MmapedDict(*arguments))  # type: ignore[no-untyped-call]
        return opened[-1]

    monkeypatch.setattr(prometheus.values, "MmapedDict", opening)
    yield
    for each in opened:
        each.close()


@pytest.mark.usefixtures("closed_files")
async def test_processes_share_their_numbers_by_files(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that takes another's place goes on with its numbers; what was under way in it is forgotten."""
    monkeypatch.setenv(prometheus.DIRECTORY_VARIABLE, str(tmp_path))
    monkeypatch.setattr(prometheus.values, "ValueClass", prometheus.values.ValueClass)
    for number in ("0", "1", "0"):
        monkeypatch.setenv(prometheus.WORKER_VARIABLE, number)
        metrics = Metrics()
        metrics.request_began("/", "GET", {})
        metrics.request_ended("/", "GET", 200, 0.01)
        metrics.conflict_met("fruit")
        metrics.exchange_began("GET", "/")
    found = samples((await metrics.expose({}))[1])
    assert value(found, "request_seconds_count", resource="/", method="GET", status="200") == 3
    assert value(found, "conflicts_total", type="fruit") == 3
    assert value(found, "couchdb_exchanges_in_flight") == 3
    assert sorted(each.name for each in tmp_path.glob("counter*")) == ["counter_w0.db", "counter_w1.db"]
    # Started by something else, which says only where the files are, they are told apart by their ids.
    monkeypatch.delenv(prometheus.WORKER_VARIABLE)
    monkeypatch.setattr(prometheus.values, "ValueClass", prometheus.values.MutexValue)
    Metrics().conflict_met("fruit")
    assert (tmp_path / f"counter_{os.getpid()}.db").exists()
    found = samples((await metrics.expose({}))[1])
    assert value(found, "conflicts_total", type="fruit") == 4
