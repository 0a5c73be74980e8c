"""Observers: what the layers report while they work, so that they and the metrics and traces stay independent.

    class Slow(Observer):
        def exchange_ended(self, method: str, template: str, outcome: str, seconds: float) -> None:
            if seconds > 1: ...

    couch = Couch("http://127.0.0.1:5984", observer=Slow())

Code that has a database reports through `database.server.observer`, which always exists. Reports never contain an
id, a key, the value of a property or a credential.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

__all__ = ["Observer", "Observers"]

logger = logging.getLogger("tornado_couch.couch")


class Observer:
    """Receives reports of what happens; override the methods of interest. They run in the event loop and must be quick.

    `kind` is the name of a document type without its version, such as "fruit".
    """

    # ------------------------------------------------------------ the service

    def request_began(self, route: str, method: str, headers: Mapping[str, str]) -> None:
        """A client's request arrived; all work for it inherits the context (`contextvars`) that this method leaves.

        Args:
            route: the route's pattern, such as "/v1.0/fruits/{key}"; empty where no route matched.
            method: the HTTP method as it was sent, which can be any text.
            headers: the request's header fields; case is ignored.
        """

    def request_ended(self, route: str, method: str, status: int | None, seconds: float) -> None:
        """A request was answered; this is called in the context that it began in.

        Args:
            route: the same as when it began.
            method: the same as when it began.
            status: the status of the answer; None if the client went away before it had sent its whole request.
            seconds: the time since the request's header arrived.
        """

    def stream_began(self, kind: str) -> None:
        """A client began to follow the changes of a collection."""

    def stream_ended(self, kind: str) -> None:
        """A client does not follow a collection any more."""

    # ------------------------------------------------------------ the client

    def exchange_began(self, method: str, template: str) -> None:
        """A request to CouchDB is about to be sent, with this method and this path, which has no ids or names."""

    def exchange_ended(self, method: str, template: str, outcome: str, seconds: float) -> None:
        """A request to CouchDB is over; this is called in the same task that began it.

        Args:
            method: the same as when it began.
            template: the same as when it began.
            outcome: the status of CouchDB's answer; the class of the error if there was none; or "cancelled".
            seconds: how long it took, including the wait for a connection.
        """

    def pool_waited(self, seconds: float) -> None:
        """A request waited this long for one of the pooled connections; 0 if one was free at once."""

    def grouped(self, kind: str, size: int, content_bytes: int) -> None:
        """Several reads or writes were sent as one request.

        Args:
            kind: what was grouped: "read", "lookup" or "write".
            size: how many there were.
            content_bytes: the size of the request's content.
        """

    def group_awaited(self, kind: str, seconds: float) -> None:
        """A grouped call, or a call for a new "id", got its outcome after this long; called in the caller's context.

        The group's own exchange has no caller's context, since it belongs to all of them.
        """

    def cache_asked(self, hit: bool) -> None:
        """A read looked for its document in the cache."""

    # ------------------------------------------------------------ the store

    def conflict_met(self, kind: str) -> None:
        """A write met a conflict: another client had changed the document first."""

    def retried(self, kind: str, seconds: float) -> None:
        """A write that met a conflict is about to be tried again, after a pause of this many seconds."""

    def retries_exhausted(self, kind: str) -> None:
        """A write met a conflict at every try and was abandoned."""

    def answer_proved(self, kind: str, landed: bool) -> None:
        """The answer to a write was lost, and the revisions have shown whether it was carried out."""

    def reconciled(self, kind: str, leaves: int) -> None:
        """A document's conflicting leaves were merged; `leaves` says how many there were."""

    def signature_failed(self, reason: str) -> None:
        """A document's signature did not verify; the reason is one of the values of `SignatureFault`."""

    def misplaced(self, kind: str) -> None:
        """A document of another type or key was found under an id that only a document of this type can have."""

    def consumed(self, consumer: str, outcome: str) -> None:
        """A consumer dealt with a change; the outcome is "handled", "failed" (one attempt) or "set aside"."""

    def consumer_lagged(self, consumer: str, seconds: float, pending: int) -> None:
        """A consumer reports, every few seconds, how far it is behind.

        Args:
            consumer: the consumer's name.
            seconds: since when there may be changes that it has not handled; 0 if there are none, or if another
                process does the work.
            pending: how many changes of any documents it had still to look at after its last page.
        """


class Observers(Observer):
    """Passes each report on to several observers; without any it does nothing and is falsy.

    An error in an observer is logged and affects neither the work nor the other observers.
    """

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def __bool__(self) -> bool:
        return bool(self._observers)

    def add(self, observer: Observer) -> None:
        """Add an observer, unless it has been added already."""
        if observer not in self._observers:
            self._observers = (*self._observers, observer)

    def remove(self, observer: Observer) -> None:
        """Remove an observer."""
        self._observers = tuple(each for each in self._observers if each is not observer)

    def _tell(self, name: str, *arguments: Any) -> None:
        for observer in self._observers:
            try:
                getattr(observer, name)(*arguments)
            except Exception:
                logger.exception("an observer raised an error in %s", name)

    def request_began(self, route: str, method: str, headers: Mapping[str, str]) -> None:
        """Pass the report on; see `Observer` for this and the other methods."""
        self._tell("request_began", route, method, headers)

    def request_ended(self, route: str, method: str, status: int | None, seconds: float) -> None:
        self._tell("request_ended", route, method, status, seconds)

    def stream_began(self, kind: str) -> None:
        self._tell("stream_began", kind)

    def stream_ended(self, kind: str) -> None:
        self._tell("stream_ended", kind)

    def exchange_began(self, method: str, template: str) -> None:
        self._tell("exchange_began", method, template)

    def exchange_ended(self, method: str, template: str, outcome: str, seconds: float) -> None:
        self._tell("exchange_ended", method, template, outcome, seconds)

    def pool_waited(self, seconds: float) -> None:
        self._tell("pool_waited", seconds)

    def grouped(self, kind: str, size: int, content_bytes: int) -> None:
        self._tell("grouped", kind, size, content_bytes)

    def group_awaited(self, kind: str, seconds: float) -> None:
        self._tell("group_awaited", kind, seconds)

    def cache_asked(self, hit: bool) -> None:
        self._tell("cache_asked", hit)

    def conflict_met(self, kind: str) -> None:
        self._tell("conflict_met", kind)

    def retried(self, kind: str, seconds: float) -> None:
        self._tell("retried", kind, seconds)

    def retries_exhausted(self, kind: str) -> None:
        self._tell("retries_exhausted", kind)

    def answer_proved(self, kind: str, landed: bool) -> None:
        self._tell("answer_proved", kind, landed)

    def reconciled(self, kind: str, leaves: int) -> None:
        self._tell("reconciled", kind, leaves)

    def signature_failed(self, reason: str) -> None:
        self._tell("signature_failed", reason)

    def misplaced(self, kind: str) -> None:
        self._tell("misplaced", kind)

    def consumed(self, consumer: str, outcome: str) -> None:
        self._tell("consumed", consumer, outcome)

    def consumer_lagged(self, consumer: str, seconds: float, pending: int) -> None:
        self._tell("consumer_lagged", consumer, seconds, pending)
