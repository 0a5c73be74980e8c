"""Health checks: for people and load balancers at `_health`, for Kubernetes at `_live` and `_ready`.

They are open to everybody, so they say nothing but green or red; the log says what is wrong.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any

from tornado.routing import URLSpec

from ... import _json
from ...couch import Database
from ...models import Model
from ...store import Consumer
from ...store.readiness import STOPPING, Readiness, ReadinessCheck, ServerCheck
from ..access import StoreOf, server_of
from ..bodiless import BodilessHandler
from ..page import Recent
from ..problems import Problem
from ..proxies import public_url

if TYPE_CHECKING:
    from ..openapi.operation import ApiOperation

__all__ = ["HealthHandler", "LiveHandler", "ReadyHandler", "health_routes"]

logger = logging.getLogger("tornado_couch.web")

_HEALTH: dict[str, Any] = {
    "type": "object",
    "required": ["status", "links"],
    "properties": {
        "status": {"type": "string", "enum": ["green", "red"]},
        "links": {
            "type": "object",
            "required": ["self"],
            "properties": {
                "self": {
                    "type": "object",
                    "required": ["href"],
                    "properties": {"href": {"type": "string", "format": "uri"}},
                }
            },
        },
    },
}

_QUICK = {**dict.fromkeys(("true", "t", "yes", "y", "1"), True), **dict.fromkeys(("false", "f", "no", "n", "0"), False)}


def health_routes(
    database: Database | StoreOf,
    models: Iterable[type[Model]] = (),
    *,
    prefix: str = "",
    max_pending: int = 1000,
    timeout: float = 5.0,
    max_age: float = 1.0,
) -> list[URLSpec]:
    """Return the routes `_health`, `_live` and `_ready`.

        Application([*resource("/v1.0/fruits", Fruit, store), *health_routes(store.database, [Fruit], prefix="/v1.0")])

    Args:
        database: the database that the service needs; or `Tenants`, where only the server is asked.
        models: the models whose design documents it needs; each index may lag by at most `max_pending` changes.
        prefix: the prefix of the paths.
        max_pending: see `ReadinessCheck`.
        timeout: seconds for the whole check, whose parts run concurrently.
        max_age: for how many seconds a result is reused, so that nobody can put load on CouchDB by asking.
    """
    found: Callable[[], Awaitable[Readiness]]
    if callable(database):
        found = ServerCheck(server_of(database), timeout=timeout)
    else:
        found = ReadinessCheck(database, models, max_pending=max_pending, timeout=timeout)
    check = Checked(found, max_age)
    start = re.escape(prefix)
    return [
        URLSpec(f"{start}/_health", HealthHandler, {"check": check}),
        URLSpec(f"{start}/_live", LiveHandler),
        URLSpec(f"{start}/_ready", ReadyHandler, {"check": check}),
    ]


class Checked:
    """A check whose result is remembered for a moment, and logged when it changes.

    Args:
        check: the check to run.
        max_age: for how many seconds a result is reused.
    """

    def __init__(self, check: Callable[[], Awaitable[Readiness]], max_age: float) -> None:
        self._recent = Recent(check, max_age)
        self._last = Readiness()

    async def ready(self, reasons: Iterable[str] = ()) -> bool:
        """Whether the service can do its work; `reasons` are further ones why it cannot."""
        found = await self._recent()
        found = Readiness((*found.reasons, *reasons))
        if found != self._last:
            for reason in found.reasons:
                logger.warning("not ready: %s", reason)
            if found.ready:
                logger.warning("ready")
            self._last = found
        return found.ready


class LiveHandler(BodilessHandler):
    """Green whenever the process answers at all; restart a process that does not."""

    @classmethod
    def describe(cls, operation: ApiOperation) -> None:
        """Describe the answers for the API document."""
        super().describe(operation)
        operation.says((cls.__doc__ or "").partition("\n")[0])
        operation.answers_with(200, "Green.", operation.components.put("schemas", "Health", _HEALTH))
        operation.fails(500)

    async def get(self) -> None:
        """Answer."""
        self.say(True)

    async def head(self) -> None:
        """Answer without content."""
        await self.get()

    def say(self, green: bool) -> None:
        """Answer 200 for green, or 503 for red."""
        request = self.request
        query = f"?{request.query}" if request.query else ""
        href = f"{public_url(request, self.settings)}{query}"
        self.set_status(200 if green else 503)
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(_json.dumps({"status": "green" if green else "red", "links": {"self": {"href": href}}}))


class ReadyHandler(LiveHandler):
    """Green if the service can do its work: the database, design documents and their indexes are available.

    It is red while the service stops, so that load balancers send no more requests.
    """

    @classmethod
    def describe(cls, operation: ApiOperation) -> None:
        """Describe the answers for the API document."""
        super().describe(operation)
        operation.answers_with(503, "Red.", operation.components.put("schemas", "Health", _HEALTH))

    def initialize(self, check: Checked) -> None:
        """Store the check."""
        self.check = check

    async def get(self) -> None:
        """Run the check, and answer."""
        consumers = [each for each in self.settings.get("consumers", ()) if isinstance(each, Consumer)]
        reasons = [reason for each in consumers for reason in each.reasons()]
        self.say(not self.settings.get(STOPPING) and await self.check.ready(reasons))


class HealthHandler(ReadyHandler):
    """Green if the service answers; with quick=false, if it can do its work."""

    @classmethod
    def describe(cls, operation: ApiOperation) -> None:
        """Describe the parameter and the answers for the API document."""
        super().describe(operation)
        operation.query(
            "quick", {"type": "string", "enum": list(_QUICK), "default": "true"}, "Whether to skip asking CouchDB."
        )
        operation.fails(400)

    async def get(self) -> None:
        """Run the check unless it should be quick, and answer."""
        quick = _QUICK.get(self.get_query_argument("quick", "true").lower())
        if quick is None:
            raise Problem(400, detail="`quick` must be true or false.")
        if quick:
            self.say(True)
        else:
            await super().get()
