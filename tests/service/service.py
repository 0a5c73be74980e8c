"""Services that are run as processes of their own by the tests of serving."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import tornado.web
from pydantic import SecretStr
from tornado.routing import URLSpec

from tornado_couch import (
    AllowAny,
    Application,
    Consumer,
    Couch,
    DocumentChange,
    Key,
    Model,
    ProblemHandler,
    Store,
    health_routes,
    metrics_routes,
    resource,
)
from tornado_couch.service.configuration import Configuration
from tornado_couch.telemetry.prometheus import Metrics

METRICS = Metrics()  # of the module: each process has its own numbers all the same


class Settings(Configuration):
    """With settings of its own."""

    greeting: str = "hello"
    api_key: SecretStr | None = None
    journal: Path | None = None
    start_pause: float = 0.0
    consume: bool = False


class Fruit(Model, type="fruit_v1.0", key="fruit_id"):
    """A fruit."""

    fruit_id: Key
    color: str


class EchoHandler(ProblemHandler):
    """Answers with the process, and with what it was sent, after a while."""

    async def get(self) -> None:
        """Answer."""
        await asyncio.sleep(float(self.get_query_argument("seconds", "0")))
        self.write(
            {
                "pid": os.getpid(),
                "token": self.get_query_argument("token", ""),
                "greeting": self.settings["greeting"],
                "cursor_key": self.settings["_tornado_couch_cursor_key"].hex(),
                "event_loop": type(asyncio.get_running_loop()).__module__.partition(".")[0],
                "remote": self.request.remote_ip,
                "protocol": self.request.protocol,
            }
        )

    async def post(self) -> None:
        """Answer with the number of bytes."""
        self.write({"bytes": len(self.request.body)})


class EndHandler(ProblemHandler):
    """Ends its process."""

    def get(self) -> None:
        """End it."""
        os._exit(3)


@asynccontextmanager
async def make_app(settings: Settings) -> AsyncIterator[Application]:
    """The application, with a line in the journal when it is made and when it is closed."""
    note(settings, "starts")
    await asyncio.sleep(settings.start_pause)
    async with settings.couch() as couch:
        store = Store(couch[settings.database or "orchard"])
        routes: list[URLSpec] = [
            URLSpec("/echo", EchoHandler),
            URLSpec("/end", EndHandler),
            *resource("/fruits", Fruit, store),
            *health_routes(store.database),
            *metrics_routes(store.database, METRICS),
        ]
        note(settings, "made")
        consumers = [
            Consumer("fruits", Fruit, partial(eat, settings), store=store, lease_seconds=1.0, settle=0.1)
        ] if settings.consume else []  # fmt: skip
        yield Application(
            routes, policy=AllowAny(), greeting=settings.greeting, observers=[METRICS], consumers=consumers
        )
        note(settings, "closed")


async def eat(settings: Settings, change: DocumentChange[Fruit]) -> None:
    """Note a fruit."""
    note(settings, f"eats {change.model.color if change.model else None}")


def note(settings: Settings, what: str) -> None:
    """Write a line into the journal."""
    if settings.journal is not None:
        with settings.journal.open("a") as journal:
            journal.write(f"{os.getpid()} {what}\n")


def broken() -> Application:
    """A programming error."""
    raise RuntimeError("broken at the start")


def plain() -> tornado.web.Application:
    """Without settings."""
    return Application([URLSpec("/echo", EchoHandler)], greeting="plain")


application = plain()
not_an_application = "text"


def with_couch(couch: Couch) -> Application:
    """An application that needs no settings, only a client."""
    return Application(resource("/fruits", Fruit, Store(couch["orchard"])), policy=AllowAny())


async def asking(couch: Couch) -> Application:
    """An application that cannot be made while CouchDB is down."""
    await couch.info()
    return with_couch(couch)
