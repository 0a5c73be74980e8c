"""A real service on a real socket, over a fresh database."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from tests.servers import AnyServer, listening, stopped
from tests.web.models import Fruit, Note, Place
from tests.web.openapi.described import DescribedRoutes
from tornado_couch import (
    AllowAny,
    Application,
    Database,
    ProblemHandler,
    Store,
    install,
    resource,
)

MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
OTHER = '"1-00000000000000000000000000000000"'  # the entity tag of a revision that there is not


@dataclass
class Reply:
    status: int
    headers: Any
    text: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def path(reply: Reply) -> str:
    """Where the document of an answer is."""
    return str(reply.headers["Location"])


class Broken(ProblemHandler):
    """Fails with an exception whose text nobody may see."""

    def get(self) -> None:
        raise RuntimeError("a secret: hunter2")


class Client:
    """Sends requests to the service, and checks what holds for every answer.

    Attributes:
        described: the service's description of itself, to which answers are held.
    """

    described: DescribedRoutes | None = None

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def __call__(self, method: str, path: str, body: Any = None, *, data: Any = None, **headers: str) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            data = json.dumps(body).encode()
            named.setdefault("Content-Type", "application/json")
        if isinstance(data, bytes) and len(data) > 2**20:
            data = io.BytesIO(data)
        skip = ("Content-Type", "Accept", "Accept-Encoding")
        async with self.session.request(
            method,
            aiohttp.client.URL(self.url + path, encoded=True),
            data=data,
            headers=named,
            skip_auto_headers=skip,
            allow_redirects=False,
        ) as reply:
            found = Reply(reply.status, reply.headers, await reply.read())
        self._check(method, found)
        if self.described is not None:
            self.described.check(method, path.partition("?")[0], found.status, found.headers, found.text)
        return found

    def _check(self, method: str, reply: Reply) -> None:
        if reply.status >= 400 and method != "HEAD":
            assert reply.headers["Content-Type"] == "application/problem+json"
            assert reply.json["status"] == reply.status
            assert {"type", "title", "instance"} <= reply.json.keys()
            assert b"Traceback" not in reply.text


Serve = Callable[[Application], Awaitable[Client]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves applications on free ports."""
    servers: list[AnyServer] = []
    async with aiohttp.ClientSession(auto_decompress=True) as session:

        async def start(app: Application) -> Client:
            server, port = listening(app)
            servers.append(server)
            client = Client(f"http://127.0.0.1:{port}", session)
            # Whoever adds an answer tells of it in the handler's `describe`, or in tornado_couch/web/openapi.
            client.described = DescribedRoutes(app)
            return client

        yield start
    for server in servers:
        await stopped(server)


@pytest.fixture
async def store(database: Database) -> Store:
    """A store of the three models, installed."""
    await install(database.server, database.name, [Fruit, Place, Note])  # type: ignore[arg-type]
    return Store(database)


def application(store: Store, *more: Any, **settings: Any) -> Application:
    routes = [
        *resource("/fruits", Fruit, store),
        *resource("/guarded", Fruit, store, require_if_match=True),
        *resource("/places", Place, store, create_by_put=True, page_size=3, max_page_size=10),
        *resource("/notes", Note, store, create_by_put=True),
        *more,
    ]
    settings.setdefault("policy", AllowAny())
    return Application(routes, **settings)


@pytest.fixture
async def ask(store: Store, serve: Serve) -> Client:
    """A client of the service."""
    return await serve(application(store))


@pytest.fixture
async def fruit(ask: Client) -> Reply:
    """The answer to creating a red fruit."""
    reply = await ask("POST", "/fruits", {"color": "red", "tags": ["a"]})
    assert reply.status == 201
    return reply
