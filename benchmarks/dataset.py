"""Fills the database before anything is measured."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tornado_couch import Couch, Database, Model, Store, install

from .operations import Dataset
from .peers.models import Fruit, Place, SecretFruit

__all__ = ["AT_ONCE", "filled", "new_database"]

AT_ONCE = 1000
COLORS = ("red", "yellow", "blue", "orange", "violet")


@asynccontextmanager
async def new_database(couch: Couch, purpose: str, models: Sequence[type[Model]] = (Fruit, Place, SecretFruit)) -> Any:
    """Create a database with these models' views; it is deleted afterwards."""
    name = f"benchmark-{purpose}-{secrets.token_hex(4)}"
    await couch.create_database(name)
    try:
        await install(couch, name, models)
        await _index_when_asked(couch[name])
        yield name
    finally:
        await couch.delete_database(name)


async def filled(
    couch: Couch,
    name: str,
    count: int,
    *,
    first: int = 0,
    size: int = 100,
    secret: bool = False,
    fruits: bool = True,
    **options: Any,
) -> Dataset:
    """Fill a database with fruits and places.

    Args:
        couch: the client.
        name: the database's name.
        count: how many documents of each model.
        first: the number of the first place.
        size: the size of each document's text in bytes.
        secret: whether the fruits have an encrypted property.
        fruits: False to create places only.
        options: options for the store, such as its keys.
    """
    store = Store(couch[name], **options)
    fruit: type[Model] = SecretFruit if secret else Fruit
    ids: list[str] = []
    for numbers in _parts(count):
        if fruits:
            created = await store.create_many(fruit, [fruit(**_values(n, size)) for n in numbers])
            ids += [_id(each) for each in created]
        await store.create_many(Place, [Place(code=f"place-{first + n:07}", **_values(n, size)) for n in numbers])
    # The views are built before anything is measured.
    if fruits:
        await store.find(fruit, limit=1)
    await store.find(Place, limit=1)
    return Dataset(ids, [f"place-{first + n:07}" for n in range(count)])


async def _index_when_asked(database: Database) -> None:
    """Let only queries update the indexes.

    Otherwise CouchDB would index in the background what one peer has written while the next one is measured.
    https://docs.couchdb.org/en/stable/api/ddoc/common.html
    """
    for row in (await database.all_docs(startkey="_design/", endkey="_design0", include_docs=True)).rows:
        await database.put({**(row.doc or {}), "autoupdate": False})


def _id(created: Any) -> str:
    if isinstance(created, Exception):
        raise created
    return str(created._id)


def _values(number: int, size: int) -> dict[str, Any]:
    return {"color": COLORS[number % len(COLORS)], "notes": "n" * size, "weight": number % 100}


def _parts(count: int) -> Iterator[range]:
    for start in range(0, count, AT_ONCE):
        yield range(start, min(start + AT_ONCE, count))
