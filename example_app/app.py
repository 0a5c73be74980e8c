"""The service: three lines of routes and a health check."""

from __future__ import annotations

import asyncio

from tornado_couch import AllowAny, Application, Couch, CouchError, ProblemHandler, Store, install, resource

from .models import Fruit, Language

__all__ = ["DATABASE", "make_app", "prepare"]

DATABASE = "orchard"
_HEALTH_SECONDS = 5.0


class HealthHandler(ProblemHandler):
    """Whether the service can do its work: green with 200, red with 503."""

    def initialize(self, couch: Couch) -> None:
        """Take the server to ask."""
        self.couch = couch

    async def get(self) -> None:
        """Ask CouchDB for the database."""
        try:
            await asyncio.wait_for(self.couch[DATABASE].info(), _HEALTH_SECONDS)
            status, color = 200, "green"
        except (CouchError, asyncio.TimeoutError):
            status, color = 503, "red"
        self.set_status(status)
        self.write({"status": color, "links": {"self": {"href": self.request.path}}})


def make_app(couch: Couch, *, cookie_secret: str | None = None) -> Application:
    """The application over a CouchDB server."""
    store = Store(couch[DATABASE])
    return Application(
        [
            *resource("/v1.0/fruits", Fruit, store),
            *resource("/v1.0/languages", Language, store, create_by_put=True),
            ("/v1.0/_health", HealthHandler, {"couch": couch}),
        ],
        cookie_secret=cookie_secret,
        policy=AllowAny(),
    )


async def prepare(couch: Couch) -> list[str]:
    """Install the database and design documents; what was done."""
    return await install(couch, DATABASE, [Fruit, Language])
