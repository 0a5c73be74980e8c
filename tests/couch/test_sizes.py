"""The metrics of databases and views, from the servers and in the forms that older ones have."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.faults import FaultServer, answer, until
from tornado_couch import Couch, CouchError, Database
from tornado_couch.couch import FakeTransport, Sizes, all_view_metrics, database_metrics, view_metrics
from tornado_couch.couch.sizes import each_of
from tornado_couch.errors import NotFound

MAP = "function (doc) { emit(doc._id, null); }"


async def test_a_database_and_its_views_are_measured(database: Database) -> None:
    """Documents, tombstones, sizes, fragmentation, and the same of each design document."""
    for name in ("by id", "a/b"):
        await database.put({"_id": f"_design/{name}", "views": {"v": {"map": MAP}}})
    written = [await database.put({"_id": f"fruit-{number}", "text": "x" * 100}) for number in range(5)]
    await database.delete(written[0].id, written[0].rev)
    found = await database_metrics(database)
    assert (found.name, found.doc_count, found.doc_del_count) == (database.name, 6, 1)
    assert None not in (found.sizes.file, found.sizes.external, found.sizes.active)
    assert 0 <= (found.sizes.fragmentation or 0) <= 100
    assert [each.design_document for each in found.views] == ["a/b", "by id"]
    assert (await database_metrics(database, views=False)).views == ()


async def test_what_an_index_has_not_seen_is_counted(database: Database) -> None:
    """All documents before it is built, and none when a query has brought it up to date."""
    await database.put({"_id": "_design/late", "views": {"v": {"map": MAP}}, "autoupdate": False})
    for number in range(3):
        await database.put({"_id": f"fruit-{number}"})
    assert (await view_metrics(database, "late")).updates_pending in (3, 4)  # the design document is a document too
    await database.view("late", "v")
    found = await view_metrics(database, "_design/late")
    assert (found.design_document, found.updates_pending) == ("late", 0)
    assert (found.sizes.external or 0) > 0


async def test_what_is_not_there_is_not_found(couch: Couch, database: Database) -> None:
    """A database, a design document; an id that no design document can have is refused before any request."""
    with pytest.raises(NotFound):
        await database_metrics(couch["no-such-database"])
    with pytest.raises(NotFound):
        await view_metrics(database, "none")
    with pytest.raises(ValueError, match="surrogates"):
        await view_metrics(database, "a\ud800b")
    assert await all_view_metrics(database) == []


@pytest.mark.parametrize(
    ("told", "sizes", "fragmentation"),
    [
        ({"sizes": {"file": 200, "external": 300, "active": 50}}, (200, 300, 50), 75),
        ({"disk_size": 4197, "data_size": 1265}, (4197, None, 1265), 69),
        ({"disk_size": 0, "data_size": 0}, (0, None, 0), None),
        ({"sizes": {"file": 10, "active": None}}, (10, None, None), None),
        ({"sizes": {"file": 10, "active": 20}}, (10, None, 20), 0),
        ({"sizes": {"file": True, "active": "7"}}, (None, None, None), None),
        ({}, (None, None, None), None),
    ],
)
def test_sizes_of_every_version_are_understood(
    told: dict[str, Any], sizes: tuple[int | None, ...], fragmentation: int | None
) -> None:
    """CouchDB 3's `sizes`, and the members before them; what is not said is None."""
    found = Sizes.of(told)
    assert (found.file, found.external, found.active) == sizes
    assert found.fragmentation == fragmentation


async def test_a_design_document_that_goes_meanwhile_is_left_out() -> None:
    """Listed, and deleted before it could be asked."""
    rows = b'{"rows":[{"id":"_design/a","key":"_design/a","value":{}}]}'
    gone = FakeTransport.reply(404, b'{"error":"not_found","reason":"deleted"}')
    couch = Couch("http://couch", transport=FakeTransport([FakeTransport.reply(200, rows), gone]))
    assert await all_view_metrics(couch["db"]) == []


async def test_the_first_error_ends_the_rest_and_leaves_no_task() -> None:
    """No request goes on for an answer that nobody waits for."""

    async def ask(number: int) -> None:
        if number == 1:
            raise NotFound(404, "not_found", "missing")
        await asyncio.sleep(60)

    before = asyncio.all_tasks()
    with pytest.raises(CouchError):
        await each_of(range(5), ask)
    assert asyncio.all_tasks() == before


async def test_only_a_few_requests_go_at_a_time() -> None:
    """However many design documents there are."""
    async with FaultServer(answer(200, {"view_index": {}})) as server, Couch(server.url) as couch:
        most = 0

        async def ask(number: int) -> None:
            nonlocal most
            await view_metrics(couch["db"], f"d{number}")
            most = max(most, server.open)

        await each_of(range(30), ask, at_once=3)
        assert most <= 3
        await until(lambda: len(server.requests) == 30)
