"""Ids that hold line breaks and other control characters: CouchDB takes them, so they are usable like any others."""

from __future__ import annotations

import asyncio

import pytest

from tests.store.models import Fruit, Place
from tornado_couch import Couch, Database, DocumentNotFound, Store, install
from tornado_couch.couch import Grouped, Single

ODD = ["a\nb", "a\r\nX: y", "a\tb", "\x00", "a\x7f", "a\x85b", "a\u2028b", " a ", "a%0Ab", "a\x1b[31m"]


@pytest.mark.parametrize("document_id", ODD)
async def test_a_client_uses_them(database: Database, document_id: str) -> None:
    """Written, listed, read, changed and deleted: alone, in groups, and with many others."""
    first = await database.put({"_id": document_id})
    assert [row.id for row in (await database.all_docs()).rows] == [document_id]
    assert [each.id for each in (await database.changes()).results] == [document_id]
    assert await database.revision(document_id) == first.rev
    assert (await database.get(document_id))["_id"] == document_id
    for access in (Single(database), Grouped(database)):
        both = await asyncio.gather(access.leaves(document_id), access.leaves("other"))
        assert [leaves[0].document is not None for leaves in both] == [True, False]
        revision = (await access.leaves(document_id))[0].rev
        written = await asyncio.gather(access.put({"_id": document_id, "_rev": revision}), access.put({"_id": "b"}))
        await database.delete("b", written[1].rev)
    (result,) = await database.bulk_docs([{"_id": document_id, "_rev": written[0].rev, "n": 1}])
    assert [each["_id"] async for each in database.iterate_find({"n": 1})] == [document_id]
    await database.delete(document_id, result.rev or "")
    assert await database.revision(document_id) is None


@pytest.mark.parametrize("key", ODD)
async def test_a_store_uses_them(couch: Couch, database: Database, key: str) -> None:
    """As keys that make the id, and as ids that the view of keys leads to."""
    await install(couch, database.name, [Place, Fruit])
    store = Store(database)
    await store.create(Place(name=key))
    await store.update(Place, key, lambda place: setattr(place, "size", 1))
    assert [each.name for each in (await store.find(Place)).items] == [key]
    assert (await store.get(Place, key)).size == 1
    await store.delete(Place, key)
    with pytest.raises(DocumentNotFound):
        await store.get(Place, key)
    await database.put({"_id": key, "type": "fruit_v1.0", "fruit_id": key, "color": "red"})
    assert (await store.find(Fruit)).items[0].fruit_id == key
    assert (await store.get(Fruit, key)).color == "red"
