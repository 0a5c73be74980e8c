"""What the layers report while they work, so that metrics and traces need know nothing of them, nor they of those.

    class Slow(Observer):
        def exchange_ended(self, method: str, template: str, outcome: str, seconds: float) -> None:
            if seconds > 1: ...

    couch = Couch("http://127.0.0.1:5984", observer=Slow())

Whoever has a database reports through `database.server.observer`, which is always there. No report holds an
id, a key, a property's value or a credential.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

__all__ = ["Observer", "Observers"]

logger = logging.getLogger("tornado_couch.couch")


class Observer:
    """Is told what happens; override what is of interest. Each method is called in the event loop and must be quick.

    `kind` is the name of a document type without its version, such as "fruit".
    """

    # ------------------------------------------------------------ the service

    def request_began(self, route: str, method: str, headers: Mapping[str, str]) -> None:
        """A client's request came; all that is done for it has the context (`contextvars`) that this leaves.

        Args:
            route: the route's pattern, such as "/v1.0/fruits/{key}"; empty where no route matched.
            method: the HTTP method as it was sent, which can be any word.
            headers: the request's header fields; case is ignored.
        """

    def request_ended(self, route: str, method: str, status: int | None, seconds: float) -> None:
        """It is answered, in the context that it began in.

        Args:
            route: as it began.
            method: as it began.
            status: of the answer; None where the client went before it had sent its whole request.
            seconds: since the request's header came.
        """

    # ------------------------------------------------------------ the client

    def exchange_began(self, method: str, template: str) -> None:
        """A request to CouchDB is about to be sent: its method, and its path without ids and names."""

    def exchange_ended(self, method: str, template: str, outcome: str, seconds: float) -> None:
        """It is over, in the same task that began it.

        Args:
            method: as it began.
            template: as it began.
            outcome: the status of CouchDB's answer; the error's class where there was none; "cancelled".
            seconds: how long it took, the wait for a connection included.
        """

    def pool_waited(self, seconds: float) -> None:
        """A request waited for one of the pooled connections; 0 where one was free at once."""

    def grouped(self, kind: str, size: int, content_bytes: int) -> None:
        """Several reads or writes left as one request.

        Args:
            kind: what was grouped: "read", "lookup" or "write".
            size: how many there were.
            content_bytes: of the request's content.
        """

    def group_awaited(self, kind: str, seconds: float) -> None:
        """One of those calls, or one for a new "id", has its outcome, after so long; told in the caller's context.

        The group's exchange itself has nobody's context, since it is everybody's.
        """

    def cache_asked(self, hit: bool) -> None:
        """A read looked into the cache."""

    # ------------------------------------------------------------ the store

    def conflict_met(self, kind: str) -> None:
        """A write found that another writer was faster."""

    def retried(self, kind: str, seconds: float) -> None:
        """A write that met a conflict is about to be tried again, after a pause of so many seconds."""

    def retries_exhausted(self, kind: str) -> None:
        """A write met a conflict at every try and was given up."""

    def answer_proved(self, kind: str, landed: bool) -> None:
        """The answer to a write was lost, and the revisions were read: did the write land?"""

    def reconciled(self, kind: str, leaves: int) -> None:
        """A document's conflicting leaves, of which there were so many, were merged."""

    def signature_failed(self, reason: str) -> None:
        """A document did not verify; the reason is one of `SignatureFault`'s words."""


class Observers(Observer):
    """Tells several observers; with none it does nothing and is false.

    An observer that fails is logged and harms neither the work nor the others.
    """

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def __bool__(self) -> bool:
        return bool(self._observers)

    def add(self, observer: Observer) -> None:
        """Tell this observer as well, from now on; one that is there already is not told twice."""
        if observer not in self._observers:
            self._observers = (*self._observers, observer)

    def remove(self, observer: Observer) -> None:
        """Tell this observer nothing any more."""
        self._observers = tuple(each for each in self._observers if each is not observer)

    def _tell(self, name: str, *arguments: Any) -> None:
        for observer in self._observers:
            try:
                getattr(observer, name)(*arguments)
            except Exception:
                logger.exception("an observer failed at %s", name)

    def request_began(self, route: str, method: str, headers: Mapping[str, str]) -> None:
        """See `Observer`; so too the others."""
        self._tell("request_began", route, method, headers)

    def request_ended(self, route: str, method: str, status: int | None, seconds: float) -> None:
        self._tell("request_ended", route, method, status, seconds)

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
