"""Finding by selector."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults import Call, Fault, FaultProxy, Forward, until
from tornado_couch import errors
from tornado_couch.couch import Couch, Database, FakeTransport


@pytest.fixture
async def fruits(database: Database) -> Database:
    """Sixty documents with an index by color and n."""
    await database.bulk_docs(
        [{"_id": f"{n:02}", "color": ["red", "green", "blue"][n % 3], "n": n} for n in range(60)]
    )
    await database.create_index(["color", "n"], name="by color/n", ddoc="fruits")
    return database


async def test_documents_are_found_by_selector(fruits: Database) -> None:
    """With fields, sort, limit, skip and statistics; a bookmark leads on."""
    result = await fruits.find(
        {"color": "red"},
        fields=["n"],
        sort=[{"color": "desc"}, {"n": "desc"}],
        limit=3,
        skip=1,
        use_index=["fruits", "by color/n"],
        execution_stats=True,
    )
    assert result.docs == [{"n": 54}, {"n": 51}, {"n": 48}]
    assert result.bookmark
    assert result.warning is None
    assert result.execution_stats is not None
    assert result.execution_stats["results_returned"] == 3


async def test_a_search_without_an_index_warns(fruits: Database) -> None:
    """And finds no more than 25 documents by itself."""
    result = await fruits.find({"n": {"$gte": 0}})
    assert len(result.docs) == 25
    assert result.warning is not None
    assert result.execution_stats is None


@pytest.mark.parametrize("page_size", [7, 20, 100])
async def test_all_that_fits_is_walked_through(fruits: Database, page_size: int) -> None:
    """Page by page with bookmarks, by an index and by all documents; limit and skip are of the whole."""
    red = {"color": "red", "n": {"$gte": 0}}  # an index serves only selectors that name all of its fields
    by_index = [each["n"] async for each in fruits.iterate_find(red, page_size=page_size)]
    assert by_index == list(range(0, 60, 3))
    by_all = [each["n"] async for each in fruits.iterate_find({"n": {"$lt": 50}}, page_size=page_size)]
    assert sorted(by_all) == list(range(50))
    part = fruits.iterate_find(red, page_size=page_size, limit=15, skip=2, sort=["color", "n"])
    assert [each["n"] async for each in part] == list(range(6, 51, 3))
    assert [each async for each in fruits.iterate_find({"color": "pink"}, page_size=page_size)] == []


async def test_indexes_come_and_go(fruits: Database) -> None:
    """Made once, listed, used by explain, and deleted by name."""
    again = await fruits.create_index(["color", "n"], name="by color/n", ddoc="_design/fruits")
    assert (again.id, again.name, again.created) == ("_design/fruits", "by color/n", False)
    partial = await fruits.create_index(
        ["n"], name="blue", ddoc="b/lue", partial_filter_selector={"color": "blue"}, partitioned=False
    )
    assert partial.created
    assert [index["name"] for index in await fruits.indexes()][1:] == ["blue", "by color/n"]
    plan = await fruits.explain({"color": "red", "n": {"$gte": 0}})
    assert plan["index"]["name"] == "by color/n"
    await fruits.delete_index("b/lue", "blue")
    await fruits.delete_index("_design/fruits", "by color/n")

    async def gone() -> bool:  # CouchDB lists from a cache of design documents, which lags behind a little
        return [index["type"] for index in await fruits.indexes()] == ["special"]

    await until(gone)
    with pytest.raises(errors.NotFound):
        await fruits.delete_index("fruits", "by color/n")


async def test_what_couchdb_cannot_do_is_refused(fruits: Database) -> None:
    """A sort without an index, and a selector that is none."""
    with pytest.raises(errors.BadRequest) as caught:
        await fruits.find({"n": 1}, sort=["n"])
    assert caught.value.error == "no_usable_index"
    with pytest.raises(errors.BadRequest):
        await fruits.find({"n": {"$nonsense": 1}})


async def test_an_answer_without_documents_is_nonsense() -> None:
    """And so is a page size of nothing."""
    database = Couch("http://couch", transport=FakeTransport([FakeTransport.reply(200, b'{"docs":[1]}')]))["db"]
    with pytest.raises(errors.InvalidReply):
        await database.find({})
    with pytest.raises(ValueError, match="page_size"):
        await anext(database.iterate_find({}, page_size=0))


@pytest.mark.parametrize("page_size", [1, 3, 20])
@pytest.mark.parametrize("fields", [None, ["n"]])
@pytest.mark.parametrize("indexed", [False, True])
async def test_what_is_walked_through_can_be_changed_and_deleted(
    fruits: Database, page_size: int, fields: list[str] | None, indexed: bool
) -> None:
    """By whoever gets it: each document comes once, though CouchDB's bookmarks skip the one after a deletion."""
    selector: dict[str, Any] = {"color": "red", "n": {"$gte": 0}} if indexed else {"n": {"$gte": 0}}
    rows = (await fruits.all_docs(include_docs=True)).rows
    documents = {row.doc["n"]: row.doc for row in rows if row.doc and "n" in row.doc}
    options: dict[str, Any] = {} if fields is None else {"fields": fields}
    seen = []
    async for found in fruits.iterate_find(selector, page_size=page_size, **options):
        assert set(found) == ({"n"} if fields else set(documents[found["n"]]))
        seen.append(found["n"])
        document = documents[found["n"]]
        if found["n"] % 2:
            await fruits.delete(document["_id"], document["_rev"])
        else:
            await fruits.put({**document, "n": document["n"] + 1000, "again": True})
    assert len(seen) == len(set(seen))
    expected = [number for number in documents if not indexed or documents[number]["color"] == "red"]
    assert {number for number in seen if number < 1000} == set(expected)


@pytest.mark.parametrize("indexed", [False, True])
async def test_what_others_delete_takes_no_document_with_it(
    fruits: Database, proxy: FaultProxy, indexed: bool
) -> None:
    """The document of the bookmark goes while the next page is asked for: the walk goes back and misses nothing."""
    selector: dict[str, Any] = {"color": "red", "n": {"$gte": 0}} if indexed else {"n": {"$gte": 0}}
    gone: set[int] = set()

    async def delete_last(call: Call, forward: Forward) -> None:
        if "bookmark" in call.request.json():
            held = order[pages[0] * 4 - 1]
            if held not in gone:
                gone.add(held)
                rows = (await fruits.find({"n": held}, fields=["_id", "_rev"])).docs
                await fruits.delete(rows[0]["_id"], rows[0]["_rev"])
        pages[0] += 1
        await call.send(await forward())

    order = [each["n"] async for each in fruits.iterate_find(selector, page_size=4)]
    pages = [0]
    proxy.faults.append(Fault(delete_last, path="_find", body='"limit":4', times=3))
    async with Couch(proxy.url) as couch:
        seen = [each["n"] async for each in couch[fruits.name].iterate_find(selector, page_size=4)]
    assert gone
    assert len(seen) == len(set(seen))
    assert set(order) - gone <= set(seen)
