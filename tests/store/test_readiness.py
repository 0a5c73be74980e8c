"""Ready means: the database, its design documents, and their indexes."""

from __future__ import annotations

import asyncio
import os
import re
from typing import Annotated

from tests.faults import FaultServer, answer, stall, until
from tornado_couch import Couch, Count, Database, Indexed, Model, install
from tornado_couch.models import design_documents
from tornado_couch.store import Readiness, ReadinessCheck


class CountedFruit(
    Model,
    type="fruit_v1.0",
    key="name",
    unique=True,
    indexes=[("color", "size")],
    reductions={"by_color_of_size": Count("color", "size")},
):
    name: str
    color: Annotated[str, Indexed()] = "red"
    size: int = 0


async def fill(database: Database, count: int) -> None:
    documents = [
        {"_id": f"fruit.{number}", "type": "fruit_v1.0", "name": str(number), "color": "red", "size": 1}
        for number in range(count)
    ]
    await database.bulk_docs(documents)


async def test_an_installed_database_is_ready(database: Database) -> None:
    """An empty one at once."""
    await install(database.server, database.name, [CountedFruit])  # type: ignore[arg-type]
    assert await ReadinessCheck(database, [CountedFruit])() == Readiness()
    assert await ReadinessCheck(database)() == Readiness()


async def test_what_is_missing_is_named(couch: Couch, database: Database) -> None:
    """Each design document; of a database that is not there only that."""
    found = await ReadinessCheck(database, [CountedFruit])()
    names = [document["_id"].removeprefix("_design/") for document in design_documents(CountedFruit)]
    assert sorted(found.reasons) == sorted(f"the design document {name} is missing" for name in names)
    assert len(names) == 4
    found = await ReadinessCheck(couch["no-such-database"], [CountedFruit])()
    assert len(found.reasons) == 1
    assert "no-such-database" in found.reasons[0]
    assert not found.ready


async def test_an_index_that_is_not_built_gets_built_and_is_ready_then(database: Database, server_url: str) -> None:
    """Asking is enough; nobody has to query the views first. Mango's and reduced views too."""
    await install(database.server, database.name, [CountedFruit])  # type: ignore[arg-type]
    await fill(database, 60)
    check = ReadinessCheck(database, [CountedFruit], max_pending=10)
    first = await check()

    async def ready() -> bool:
        return (await check()).ready

    await until(ready)
    names = [document["_id"].removeprefix("_design/") for document in design_documents(CountedFruit)]
    told = [re.fullmatch(r"the index of (\w+) has not seen \d\d changes", reason) for reason in first.reasons]
    lagging = [each and each[1] for each in told]
    if server_url == os.environ.get("COUCHDB_URL"):
        assert set(lagging) <= set(names)  # Apache CouchDB may have built some in the background before it was asked
    else:
        assert sorted(map(str, lagging)) == sorted(names)


async def test_an_index_that_was_built_may_lag_behind(database: Database) -> None:
    """Queries are slow then; taking the whole service away would be worse. A changed view is a new index."""
    await install(database.server, database.name, [CountedFruit])  # type: ignore[arg-type]
    check = ReadinessCheck(database, [CountedFruit], max_pending=10)
    assert (await check()).ready
    await fill(database, 60)
    assert (await check()).ready


async def test_a_changed_view_is_an_index_to_build(database: Database) -> None:
    """The one that was built before does not count for it."""
    await install(database.server, database.name, [CountedFruit])  # type: ignore[arg-type]
    check = ReadinessCheck(database, [CountedFruit], max_pending=-1)
    check._max_pending = 10**9
    assert (await check()).ready
    check._max_pending = -1  # nothing counts as built any more, but what was
    assert (await check()).ready
    name = design_documents(CountedFruit)[0]["_id"]
    document = await database.get(name)
    (view,) = document["views"].values()
    view["map"] = view["map"] + "\n"
    await database.put(document)
    assert len((await check()).reasons) == 1


async def test_a_couchdb_that_does_not_answer_is_not_waited_for() -> None:
    """The deadline is for all of it together, and what hangs is left."""
    async with FaultServer(stall) as server, Couch(server.url) as couch:
        found = await asyncio.wait_for(ReadinessCheck(couch["db"], [CountedFruit], timeout=0.1)(), 5)
        assert found.reasons == ("CouchDB did not answer everything within 0.1 seconds",)
        assert len(server.requests) == 5
        await until(lambda: server.open == 0)


async def test_a_couchdb_that_fails_is_a_reason_without_secrets() -> None:
    """What it says is in it, credentials are not."""
    failing = answer(500, {"error": "internal_server_error", "reason": "broken"})
    async with FaultServer(failing) as server:
        url = server.url.replace("//", "//user:secret@")
        async with Couch(url) as couch:
            found = await ReadinessCheck(couch["db"], [CountedFruit])()
    assert "broken" in found.reasons[0]
    assert "secret" not in str(found)
