"""A list is planned once, however many pages are read of it; a query that was narrowed is planned anew."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated, Any

import pytest

from tests.web.conftest import Client, Serve
from tornado_couch import (
    AllowAny,
    Application,
    CollectionHandler,
    Database,
    Encrypted,
    Indexed,
    Model,
    Store,
    install,
    resource,
)
from tornado_couch.security import KeyRing
from tornado_couch.store.reading import planner
from tornado_couch.web.query import ListQuery


class Parcel(Model, type="parcel_v1.0", key="name", unique=True):
    name: str
    size: Annotated[int, Indexed()] = 0
    sender: Annotated[str, Encrypted(searchable=True)]


class Letter(Model, type="letter_v1.0", key="name", history=True):
    name: str
    size: Annotated[int, Indexed()] = 0


class Narrowed(CollectionHandler):
    """Lists what is of size 1 alone."""

    def get_query(self) -> ListQuery:
        found = super().get_query()
        return replace(found, query=found.query.restricted("size", 1))


class Pages(CollectionHandler):
    """Exports two items at a time."""

    EXPORT_PAGE = 2


@pytest.fixture
async def store(database: Database) -> Store:
    """A store with keys."""
    await install(database.server, database.name, [Parcel, Letter])  # type: ignore[arg-type]
    return Store(database, crypter=KeyRing.create())


@pytest.fixture
async def ask(store: Store, serve: Serve) -> Client:
    """A client of a service over four parcels and four letters."""
    routes = [
        *resource("/parcels", Parcel, store),
        *resource("/narrowed", Parcel, store, collection=Narrowed),
        *resource("/exported", Parcel, store, collection=Pages),
        *resource("/letters", Letter, store),
    ]
    for n in range(4):
        await store.create(Parcel(name=f"p{n}", size=n % 2, sender="ann"))
        await store.create(Letter(name=f"l{n}", size=n % 2))
    return await serve(Application(routes, policy=AllowAny()))


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Each call of `plan`, wherever it was imported to."""
    calls: list[Any] = []
    original = planner.plan

    def plan(cls: Any, query: Any) -> Any:
        calls.append(query)
        return original(cls, query)

    for module in list(sys.modules.values()):
        if getattr(module, "plan", None) is original:
            monkeypatch.setattr(module, "plan", plan)
    return calls


@pytest.mark.parametrize(
    ("path", "accept", "found"),
    [
        ("/parcels", "application/json", 4),
        ("/parcels?size=1&count=true&limit=1", "application/json", 1),
        ("/parcels?sender=ann", "application/json", 4),
        ("/exported?size=0", "application/x-ndjson", 2),
        ("/exported", "application/x-ndjson", 4),
        ("/letters?size=1", "application/json", 2),
        ("/letters?count=true", "application/json", 4),
    ],
)
async def test_a_list_is_planned_once(ask: Client, plans: list[Any], path: str, accept: str, found: int) -> None:
    """By key, filtered, by a blind index, counted, exported page by page, and of documents with a history."""
    reply = await ask("GET", path, Accept=accept)
    assert reply.status == 200
    items = reply.json["items"] if accept == "application/json" else reply.text.splitlines()
    assert (len(items), len(plans)) == (found, 1)


async def test_a_query_that_an_override_narrows_is_planned_anew(ask: Client, plans: list[Any]) -> None:
    """The plan that was made before is not the plan of what `get_query` returns."""
    body = (await ask("GET", "/narrowed?count=true")).json
    assert ([item["name"] for item in body["items"]], body["total"]) == (["p1", "p3"], 2)
    assert [dict(each.among) for each in plans] == [{}, {"size": [1]}]
