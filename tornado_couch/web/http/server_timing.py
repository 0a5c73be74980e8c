"""The Server-Timing field (https://www.w3.org/TR/server-timing/), which says where the time of a request went.

The time of an answer can reveal what the answer itself does not. The field is therefore sent only if the
application has the setting `server_timing=True`, and only to a client that asks with `Prefer: server-timing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.web import OutputTransform

from ...couch import Observer
from .prefer import SERVER_TIMING, asks_for

__all__ = ["ServerTiming", "TimingObserver"]


@dataclass
class _Spent:
    """The time that one request has spent waiting, in seconds."""

    exchanges: int = 0
    couchdb: float = 0.0
    pool: float = 0.0


# Tasks that a handler starts have a copy of its context, and therefore the same object.
_SPENT: ContextVar[_Spent | None] = ContextVar("tornado_couch_spent", default=None)


class TimingObserver(Observer):
    """Adds up the exchanges with CouchDB of each request that asks for it."""

    def request_began(self, route: str, method: str, headers: Mapping[str, str]) -> None:  # noqa: ARG002
        """Start adding up, if the client asks for it."""
        _SPENT.set(_Spent() if asks_for(headers.get("Prefer", ""), SERVER_TIMING) else None)

    def exchange_ended(self, method: str, template: str, outcome: str, seconds: float) -> None:  # noqa: ARG002
        """Add an exchange to the request of the current context."""
        spent = _SPENT.get()
        if spent is not None:
            spent.exchanges += 1
            spent.couchdb += seconds

    def group_awaited(self, kind: str, seconds: float) -> None:  # noqa: ARG002
        """Add a call that was sent in a group to the request that made it."""
        self.exchange_ended("", "", "", seconds)

    def pool_waited(self, seconds: float) -> None:
        """Add the wait for a connection, which is part of the exchange's time."""
        spent = _SPENT.get()
        if spent is not None:
            spent.pool += seconds


class ServerTiming(OutputTransform):
    """Adds the field to the answer, in milliseconds; concurrent exchanges are simply summed up."""

    def __init__(self, request: HTTPServerRequest) -> None:
        self._request = request

    def transform_first_chunk(
        self,
        status_code: int,
        headers: HTTPHeaders,
        chunk: bytes,
        finishing: bool,  # noqa: ARG002
    ) -> tuple[int, HTTPHeaders, bytes]:
        """Add the field; see `OutputTransform`."""
        spent = _SPENT.get()
        if spent is not None:
            total = self._request.request_time()
            times = {"total": total, "couchdb": spent.couchdb, "pool": spent.pool}
            fields = [f"{name};dur={seconds * 1000:.1f}" for name, seconds in times.items()]
            fields[1] += f';desc="{spent.exchanges} exchanges"'
            headers["Server-Timing"] = ", ".join(fields)
            applied = headers.get("Preference-Applied")
            headers["Preference-Applied"] = f"{applied}, {SERVER_TIMING}" if applied else SERVER_TIMING
        return status_code, headers, chunk
