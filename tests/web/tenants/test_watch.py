"""What runs in the background for tenants: only for databases that somebody uses, or that changed."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated, Any

import pytest

from tests.faults import Fault, FaultProxy, answer_status, until
from tests.web.models import Place
from tests.web.tenants.conftest import Make
from tornado_couch import Couch, Merge, Model, ReadCache, Store, Tenants
from tornado_couch.errors import AlreadyExists
from tornado_couch.web import Problem


class Stock(Model, type="stock_v1.0", key="name", unique=True):
    name: str
    count: Annotated[int, Merge.sum_of_changes] = 0


@pytest.fixture(autouse=True)
async def noted(couch: Couch) -> None:
    """CouchDB notes what happens to databases where it has one to note it in."""
    with contextlib.suppress(AlreadyExists):
        await couch.create_database("_global_changes")


async def in_conflict(store: Store) -> str:
    """Make a conflict that the model's rules can merge; return the document's id."""
    made = await store.create(Stock(name="x", count=1))
    first = await store.database.get(made._id or "", revs=True)
    start, ids = first["_revisions"]["start"], first["_revisions"]["ids"]
    for count, letter in ((3, "b"), (5, "c")):
        later = {"start": start + 1, "ids": [letter * 32, *ids]}
        leaf = {**first, "count": count, "_rev": f"{start + 1}-{letter * 32}", "_revisions": later}
        assert not await store.database.bulk_docs([leaf], new_edits=False)
    return made._id or ""


async def conflicts(couch: Couch, database: str, document_id: str) -> list[str]:
    found: list[str] = (await couch[database].get(document_id, conflicts=True)).get("_conflicts", [])
    return found


async def merged(couch: Couch, database: str, document_id: str) -> None:
    """Wait until a document is in conflict no longer."""
    for _ in range(300):
        if not await conflicts(couch, database, document_id):
            return
        await asyncio.sleep(0.1)
    raise TimeoutError


async def test_conflicts_are_merged_where_nobody_uses_the_database(make: Make, couch: Couch) -> None:
    """CouchDB tells which database has changed; its store takes no place from requests."""
    async with make(models=[Stock]).open("a", create=True) as store:
        database = store.database.name
        tenants = make(models=[Stock], reconcile=True)
        async with tenants:
            await until(lambda: tenants._watch.hears)
            document_id = await in_conflict(store)
            await merged(couch, database, document_id)
            assert tenants.open_databases == []
    assert (await store.get(Stock, "x")).count == 7


async def test_without_the_rights_databases_in_use_are_looked_at(
    make: Make, proxy: FaultProxy, couch: Couch, prefix: str
) -> None:
    """Those that nobody uses wait until somebody does."""
    proxy.faults.append(Fault(answer_status(401, "unauthorized"), path="/_db_updates", times=None))
    async with Couch(proxy.url) as other:
        names = {"models": [Stock], "database": f"{prefix}{{hex}}", "create": True}
        async with Tenants(other, reconcile=True, interval=0.1, **names) as tenants:  # type: ignore[arg-type]
            await until(lambda: tenants._watch.hears is False)
            async with tenants.open("a", create=True) as used, make(models=[Stock]).open("b", create=True) as idle:
                ids = [await in_conflict(store) for store in (used, idle)]
                await merged(couch, used.database.name, ids[0])
                assert await conflicts(couch, idle.database.name, ids[1])
                async with tenants.open("b"):
                    await merged(couch, idle.database.name, ids[1])


async def test_a_deleted_database_is_noticed_at_once(make: Make, couch: Couch) -> None:
    """The next request looks for it again, without waiting for `recheck` seconds."""
    tenants = make(create=False)
    async with tenants:
        await until(lambda: tenants._watch.hears)
        async with tenants.open("a", create=True) as store:
            pass
        await couch.delete_database(store.database.name)
        await until(lambda: not tenants._is_fresh(store.database.name))
        with pytest.raises(Problem):
            async with tenants.open("a"):
                pass
    assert tenants.open_databases == []


async def test_only_so_many_caches_follow_their_feeds(proxy: FaultProxy, make: Make, couch: Couch, prefix: str) -> None:
    """Those that do not follow keep nothing, and read from CouchDB; a closed store makes room for another."""
    proxied = Couch(proxy.url)
    options: dict[str, Any] = {"models": [Place], "database": f"{prefix}{{name}}", "feeds": 1, "most": 3}
    async with proxied, Tenants(proxied, cache=ReadCache(staleness=1.0), **options) as tenants:
        for name in ("a", "b", "c"):
            async with tenants.open(name, create=True) as store:
                await store.create(Place(name="x", size=1))
                await store.get(Place, "x")
        await until(lambda: followed(proxy, prefix))
        for name in ("a", "b", "c"):
            async with tenants.open(name) as store:
                assert (await store.get(Place, "x")).size == 1
        assert followed(proxy, prefix) == {"a"}
        async with tenants.open("d", create=True):  # in the place of a
            pass
        async with tenants.open("b") as store:
            await store.get(Place, "x")
            await until(lambda: followed(proxy, prefix) == {"a", "b"})


def followed(proxy: FaultProxy, prefix: str) -> set[str]:
    """The tenants whose changes feeds were asked for."""
    targets = [each.target for each in proxy.requests if "/_changes" in each.target]
    return {target.removeprefix(f"/{prefix}").partition("/")[0] for target in targets}


async def test_updates_tell_what_happened_to_databases(couch: Couch, prefix: str) -> None:
    """From a sequence on, or from now on; one that waits is woken."""
    start = (await couch.updates()).last_seq
    waiting = asyncio.create_task(couch.updates(since=start, wait=20.0))
    await couch.create_database(f"{prefix}a")
    assert (f"{prefix}a", "created") in (await until_told(couch, start, f"{prefix}a", "created"))
    assert (await waiting).results
    await couch[f"{prefix}a"].put({"_id": "x"})
    await until_told(couch, start, f"{prefix}a", "updated")
    await couch.delete_database(f"{prefix}a")
    await until_told(couch, start, f"{prefix}a", "deleted")


async def until_told(couch: Couch, since: str | int, name: str, kind: str) -> list[tuple[str, str]]:
    for _ in range(200):
        found = (await couch.updates(since=since, wait=1.0)).results
        if (name, kind) in found:
            return found
        await asyncio.sleep(0.1)
    raise TimeoutError
