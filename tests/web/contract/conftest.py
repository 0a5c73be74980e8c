"""What the tests of the HTTP contract share: a service over a watched CouchDB, and a client that checks each answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.faults import Call, FaultProxy, Forward
from tests.web.conftest import MERGE, Client, Reply, Serve, path
from tests.web.models import Fruit, Note, Stand
from tornado_couch import (
    AllowAny,
    Application,
    Couch,
    Database,
    Retry,
    Store,
    install,
    resource,
)
from tornado_couch.web import BodyLimits, Policy
from tornado_couch.web import ReadOnly as ReadOnlyPolicy

FRUITS, STANDS, NOTES = "/v1.0/fruits", "/v1.0/stands", "/v1.0/notes"
SIZE, DEPTH = 4096, 16  # the limits of a body in the service of these tests

# A change of a fruit by each method, as arguments of `Client`.
WRITES: dict[str, dict[str, Any]] = {
    "PUT": {"body": {"color": "blue"}},
    "PATCH": {"body": {"color": "blue"}, "Content_Type": MERGE},
    "DELETE": {},
}


def members(value: Any) -> Iterator[str]:
    """The names of all members of all objects in a JSON value."""
    if isinstance(value, dict):
        yield from value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from members(each)


class StrictClient(Client):
    """Checks of every answer that errors are problems, and that nothing of CouchDB's is told.

    Attributes:
        secrets: texts that no answer may hold: where the database is, its name, the credentials.
    """

    secrets: tuple[str, ...] = ()

    def _check(self, method: str, reply: Reply) -> None:
        super()._check(method, reply)
        told = reply.text + str(reply.headers).encode()
        assert [each for each in (*self.secrets, "Traceback", 'File "') if each.encode() in told] == []
        type_ = reply.headers.get("Content-Type", "")
        if reply.text and type_ in ("application/json", "application/problem+json"):
            assert {name for name in members(reply.json) if name.startswith("_")} <= {"_href", "_etag"}
        if type_ == "application/problem+json" and reply.text:
            problem = reply.json
            assert {"type", "title", "status", "detail", "instance"} <= problem.keys()
            assert all(type(problem[name]) is str for name in ("type", "title", "detail", "instance"))
            for each in problem.get("errors", ()):
                assert each.keys() == {"pointer", "keyword", "detail"}


@pytest.fixture
async def serve(serve: Serve, server_url: str, database: Database) -> Callable[[Any], Awaitable[StrictClient]]:
    """Serves applications on free ports, to clients that check each answer."""
    parts = urlsplit(server_url)
    secrets = (f"{parts.hostname}:{parts.port}", database.name, *([parts.password] if parts.password else []))

    async def start(app: Application) -> StrictClient:
        plain = await serve(app)
        client = StrictClient(plain.url, plain.session)
        client.secrets = secrets
        client.described = plain.described
        return client

    return start


@pytest.fixture
async def store(proxy: FaultProxy, couch: Couch, database: Database) -> AsyncIterator[Store]:
    """A store that reaches CouchDB by way of the proxy."""
    await install(couch, database.name, [Fruit, Note, Stand])
    async with Couch(proxy.url) as watched:
        yield Store(watched[database.name], retry=Retry(attempts=5, base=0.001))


def application(store: Store, *more: Any, **settings: Any) -> Application:
    """One resource of each kind."""
    limits = BodyLimits(size=SIZE, depth=DEPTH)
    routes = [
        *resource(FRUITS, Fruit, store, limits=limits),
        *resource("/v1.0/guarded", Fruit, store, require_if_match=True),
        *resource("/v1.0/looked-at", Fruit, store, policy=ReadOnlyPolicy()),
        *resource(STANDS, Stand, store, create_by_put=True, max_page_size=60),
        *resource(NOTES, Note, store, create_by_put=True),
        *more,
    ]
    settings.setdefault("policy", AllowAny())
    return Application(routes, **settings)


def private(store: Store, policy: Policy, **options: Any) -> Application:
    """A service of stands that not everybody may use."""
    return Application(resource(STANDS, Stand, store, create_by_put=True, policy=policy, **options))


@pytest.fixture
async def ask(store: Store, serve: Any) -> StrictClient:
    """A client of the service."""
    client: StrictClient = await serve(application(store))
    return client


@pytest.fixture
async def fruit(ask: StrictClient) -> Reply:
    """The answer to creating a red fruit."""
    return await ask("POST", FRUITS, {"color": "red", "tags": ["a"], "origin": {"country": "no", "town": "odda"}})


def at(mounted: str, reply: Reply) -> str:
    """The same document by another resource."""
    return f"{mounted}/{path(reply).rpartition('/')[2]}"


def rival(change: Callable[[], Awaitable[Any]]) -> Callable[[Call, Forward], Awaitable[None]]:
    """The effect of a fault: another writer is served just before this request reaches CouchDB."""

    async def effect(call: Call, forward: Forward) -> None:
        await change()
        await call.send(await forward())

    return effect
