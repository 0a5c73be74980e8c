"""Spans for OpenTelemetry, through its API: the extra `[otel]`. The service supplies the SDK and an exporter.

    app = Application([*resource(…)], observers=[Tracing()])

Names and attributes follow the semantic conventions (https://opentelemetry.io/docs/specs/semconv/) for HTTP
servers and for CouchDB clients. Paths and keys are left out: spans have routes, and CouchDB's paths without ids.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..couch import Observer

__all__ = ["Tracing"]

try:
    from opentelemetry import context as otel_context
    from opentelemetry import propagate, trace
    from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider
except ImportError as error:
    raise ImportError("Tracing needs opentelemetry-api: pip install 'tornado-couch[otel]'") from error

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"})
# CouchDB's regular answers, which are not errors.
_NO_ERRORS = frozenset({"404", "409", "412"})
_SYSTEM = {"db.system.name": "couchdb"}


class Tracing(Observer):
    """Creates a span for each request and each exchange with CouchDB, and span events for what the store reports.

    A request with `traceparent` (https://www.w3.org/TR/trace-context/) continues the caller's trace. Everything
    that is done for a request is below its span, even in tasks that its handler starts.

    Args:
        provider: creates the spans; None for the global one.
    """

    def __init__(self, provider: TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("tornado_couch", tracer_provider=provider)

    def request_began(self, route: str, method: str, headers: Mapping[str, str]) -> None:
        """Start a span, and make it the current one of the request's context."""
        known = method if method in _METHODS else "_OTHER"
        attributes = {"http.request.method": known}
        if route:
            attributes["http.route"] = route
        caller = propagate.extract(headers)
        name = f"{'HTTP' if known == '_OTHER' else known} {route}".strip()
        span = self._tracer.start_span(name, context=caller, kind=SpanKind.SERVER, attributes=attributes)
        # We never detach it: the context belongs to the request and ends with it.
        otel_context.attach(trace.set_span_in_context(span, caller))

    def request_ended(self, route: str, method: str, status: int | None, seconds: float) -> None:  # noqa: ARG002
        """End the request's span."""
        span = trace.get_current_span()
        if status is None:
            span.set_attribute("error.type", "closed")
        else:
            span.set_attribute("http.response.status_code", status)
        if status is not None and status >= 500:
            span.set_attribute("error.type", str(status))
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def exchange_ended(self, method: str, template: str, outcome: str, seconds: float) -> None:
        """Create a span for an exchange that has ended."""
        attributes = {**_SYSTEM, "db.operation.name": f"{method} {template}"}
        if outcome.isdecimal():
            attributes["db.response.status_code"] = outcome
        failed = not (outcome.startswith(("2", "3")) or outcome in _NO_ERRORS)
        self._made(f"{method} {template}", seconds, attributes, outcome if failed else "")

    def group_awaited(self, kind: str, seconds: float) -> None:
        """Create a span for a call that was sent in a group; the exchange of the whole group has no parent."""
        self._made(f"grouped {kind}", seconds, {**_SYSTEM, "db.operation.name": f"grouped {kind}"})

    def conflict_met(self, kind: str) -> None:
        """Add an event to the current span; the methods below do so too."""
        _note("conflict", kind)

    def retried(self, kind: str, seconds: float) -> None:
        """See `conflict_met`."""
        _note("retry", kind, delay_seconds=seconds)

    def retries_exhausted(self, kind: str) -> None:
        """See `conflict_met`."""
        _note("retries exhausted", kind)

    def answer_proved(self, kind: str, landed: bool) -> None:
        """See `conflict_met`."""
        _note("lost answer", kind, landed=landed)

    def signature_failed(self, reason: str) -> None:
        """See `conflict_met`."""
        trace.get_current_span().add_event("signature failed", {"tornado_couch.reason": reason})

    def _made(self, name: str, seconds: float, attributes: Mapping[str, str], error: str = "") -> None:
        end = time.time_ns()
        begin = end - int(seconds * 1e9)
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=dict(attributes), start_time=begin)
        if error:
            span.set_attribute("error.type", error)
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)


def _note(name: str, kind: str, **more: Any) -> None:
    attributes = {"tornado_couch.type": kind, **{f"tornado_couch.{key}": value for key, value in more.items()}}
    trace.get_current_span().add_event(name, attributes)
