"""Spans, as OpenTelemetry's own SDK exports them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests.faults import FaultServer, answer, until
from tests.web.conftest import Client, Serve, application, serve, store
from tests.web.models import Fruit
from tornado_couch import AllowAny, Application, Couch, Retry, Store, errors, resource
from tornado_couch.telemetry.opentelemetry import Tracing

__all__ = ["serve", "store"]  # fixtures

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Spans(InMemorySpanExporter):
    """What was exported."""

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
def tracing(spans: Spans) -> Tracing:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    return Tracing(provider)


@pytest.fixture
async def ask(store: Store, serve: Serve, tracing: Tracing) -> Client:
    """A service that is traced."""
    return await serve(application(store, observers=[tracing]))


def children(spans: Spans, parent: ReadableSpan) -> list[ReadableSpan]:
    return [
        span
        for span in spans.get_finished_spans()
        if span.parent is not None and span.parent.span_id == parent.context.span_id
    ]


async def test_a_request_is_a_span_with_its_exchanges_below(ask: Client, spans: Spans) -> None:
    """By the conventions for HTTP servers and CouchDB; neither keys nor names of databases are in them."""
    created = await ask("POST", "/fruits", {"color": "red"})
    span = spans.one("POST /fruits")
    assert span.kind is SpanKind.SERVER
    assert dict(span.attributes or {}) == {
        "http.request.method": "POST",
        "http.route": "/fruits",
        "http.response.status_code": 201,
    }
    assert span.status.status_code is StatusCode.UNSET
    below = children(spans, span)
    assert below
    for each in below:
        assert each.kind is SpanKind.CLIENT
        assert (each.attributes or {})["db.system.name"] == "couchdb"
        assert (each.attributes or {})["db.operation.name"] == each.name
        assert (span.start_time or 0) - 5e6 <= (each.start_time or 0) <= (each.end_time or 0)
    await ask("GET", created.headers["Location"])
    assert (spans.one("GET /fruits/{key}").attributes or {})["http.route"] == "/fruits/{key}"
    key = created.headers["Location"].rpartition("/")[2]
    assert key not in str([span.to_json() for span in spans.get_finished_spans()])


async def test_the_callers_trace_goes_on(ask: Client, spans: Spans) -> None:
    """Where the request brings `traceparent`; what is none begins a new trace."""
    await ask("GET", "/fruits", Traceparent=PARENT)
    await ask("GET", "/places", Traceparent="nonsense")
    span = spans.one("GET /fruits")
    assert f"{span.context.trace_id:032x}" == PARENT.split("-")[1]
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == PARENT.split("-")[2]
    assert spans.one("GET /places").parent is None


async def test_requests_at_once_have_spans_of_their_own(ask: Client, spans: Spans) -> None:
    """On connections that are used again, too."""
    await asyncio.gather(*(ask("POST", "/fruits", {"color": "red"}) for _ in range(8)))
    found = spans.named("POST /fruits")
    assert len({span.context.trace_id for span in found}) == 8
    assert all(children(spans, span) for span in found)


async def test_what_fails_is_an_error_and_what_a_client_did_wrong_is_none(
    serve: Serve, spans: Spans, tracing: Tracing
) -> None:
    """By status; of CouchDB, what is missing or in conflict is in the ordinary course of things."""
    script = [answer(404, {"error": "not_found", "reason": "missing"}), answer(500, {"error": "x", "reason": "y"})]
    async with FaultServer(*script) as server, Couch(server.url) as couch:
        routes = resource("/fruits", Fruit, Store(couch["db"]))
        ask = await serve(Application(routes, policy=AllowAny(), observers=[tracing]))
        for _ in range(2):
            await ask("GET", "/fruits?limit=1")
        await ask("GET", "/nowhere")
        await ask("BREW", "/fruits")
        with pytest.raises(errors.Unavailable):
            await couch.info()
    assert [span.status.status_code for span in spans.named("GET /fruits")] == [StatusCode.ERROR] * 2
    exchanges = [span for span in spans.get_finished_spans() if span.kind is SpanKind.CLIENT]
    assert [span.status.status_code for span in exchanges[:2]] == [StatusCode.UNSET, StatusCode.ERROR]
    assert (exchanges[1].attributes or {})["error.type"] == "500"
    assert exchanges[-1].parent is None  # of no request
    missing, brewed = spans.one("GET"), spans.one("HTTP /fruits")
    assert (missing.attributes or {}).get("http.route") is None
    assert missing.status.status_code is StatusCode.UNSET
    assert (brewed.attributes or {})["http.request.method"] == "_OTHER"


async def test_a_client_that_goes_ends_the_span(ask: Client, spans: Spans) -> None:
    """It has no status then."""
    host, port = ask.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /fruits HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{")
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.close()
    await until(lambda: spans.named("POST /fruits"))
    assert (spans.one("POST /fruits").attributes or {})["error.type"] == "closed"


async def test_what_the_store_meets_is_an_event(store: Store, spans: Spans, tracing: Tracing) -> None:
    """Of the span that it happened in."""
    store.database.server.observe(tracing)
    contended = Store(store.database, retry=Retry(attempts=2, base=0.001))
    fruit = await contended.create(Fruit(color="red"))  # type: ignore[call-arg]

    async def rival(current: Any) -> None:
        await store.database.put(await store.database.get(current._id))

    with tracing._tracer.start_as_current_span("test"), pytest.raises(errors.RetriesExhausted):
        await contended.update(Fruit, fruit.fruit_id, rival)
    tracing.signature_failed("altered")  # of no span: nothing happens
    events = spans.one("test").events
    assert [event.name for event in events] == ["conflict", "retry", "conflict", "retries exhausted"]
    assert dict(events[0].attributes or {}) == {"tornado_couch.type": "fruit"}
    assert (events[1].attributes or {})["tornado_couch.delay_seconds"] is not None
