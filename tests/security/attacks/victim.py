"""A service in a process of its own, so that its memory can be measured: `python -m tests.security.attacks.victim`.

The arguments are CouchDB's URL and the name of a database in which `Bag` is installed. It prints its port.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

from tests.servers import listening
from tornado_couch import AllowAny, Application, Couch, Key, Model, ProblemHandler, Store, assigned, resource
from tornado_couch.service.worker import run, settle
from tornado_couch.web import docs_routes, health_routes, openapi_routes

__all__ = ["MIB", "MOST", "Bag", "make_app"]

MIB = 1024 * 1024

PREPARED, UNREAD = 20 * MIB, 32 * MIB  # the settings `max_prepared` and `max_unread`

MOST = (6 * PREPARED + UNREAD) / MIB
"""MiB that the service may take for large documents: six times what it has in hand, and what nobody reads.

As Python objects a document takes up to five times its text, and the allocator does not give back all at once what was
freed in between; up to 144 MiB were seen with exports that nobody reads.
"""


class Bag(Model, type="bag_v1.0", key="bag_id", history=False):
    bag_id: Key = assigned()
    text: str = ""
    free: Any = None


class Form(ProblemHandler):
    """A handler of the service's own, with Tornado's way to take a body."""

    def post(self) -> None:
        self.write(str(len(self.request.body)))


class Upload(Form):
    """One that says that it takes more."""

    MAX_BODY = 4 * 1024 * 1024


def make_app(store: Store) -> Application:
    routes = [
        *resource("/bags", Bag, store),
        *openapi_routes(),
        *docs_routes(),
        *health_routes(store),
        ("/form", Form),
        ("/upload", Upload),
    ]
    bounds = {"max_prepared": PREPARED, "prepare_seconds": 2, "max_unread": UNREAD, "unread_seconds": 1}
    return Application(routes, policy=AllowAny(), **bounds)


async def main(url: str, name: str) -> None:
    logging.disable(logging.CRITICAL)
    settle()  # as `serve` does
    async with Couch(url) as couch:
        _, port = listening(make_app(Store(couch[name])))
        print(port, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    run(main(*sys.argv[1:]))  # in the event loop of `serve`
