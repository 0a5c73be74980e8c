"""Changed views under readers: nobody waits for an index, nobody sees half of one."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.faults import Fault, FaultProxy, lose_answer
from tests.installation.installing import design_ids, folder_of, write
from tornado_couch import Couch, Database, Installer
from tornado_couch.couch import Observer
from tornado_couch.installation.design_documents import DesignDocuments, _one_of_each_shard

DOCUMENTS = 300
# Slow enough that a reader who had to wait for it would be seen to.
SLOW = "for (var i = 0, x = 0; i < 10000; i += 1) { x += i; }"
BEFORE = "function (doc) { if (doc.text) { emit(doc.text.length, null); } }"
AFTER = f"function (doc) {{ {SLOW} if (doc.text) {{ emit([doc.text.length], null); }} }}"


class Calls(Observer):
    """Which requests CouchDB got."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def exchange_began(self, method: str, template: str) -> None:
        """Note it."""
        self.seen.append(f"{method} {template}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of one view."""
    return folder_of(tmp_path / "design", BEFORE)


@pytest.fixture
async def populated(couch: Couch, database: Database, folder: Path) -> Database:
    """Documents, and the view of them, built."""
    await database.bulk_docs([{"_id": f"d{number}", "text": "x" * (number % 7 + 1)} for number in range(DOCUMENTS)])
    await Installer(couch, database=database.name, design_docs=folder).install()
    return database


def installer(database: Database, folder: Path, couch: Couch | None = None, **options: Any) -> Installer:
    server: Any = couch or database.server
    return Installer(server, database=database.name, design_docs=folder, **options)


async def keys(database: Database, *, update: bool) -> list[Any]:
    return [row.key for row in (await database.view("by_length", "by_length", reduce=False, update=update)).rows]


async def read_until(database: Database, done: asyncio.Event, *, update: bool) -> list[set[type]]:
    """Read over and over; of what kind the keys were at each time."""
    found = []
    while not done.is_set():
        rows = await keys(database, update=update)
        assert len(rows) == DOCUMENTS
        found.append({type(key) for key in rows})
    return found


async def test_a_new_view_is_built_before_anybody_asks_for_it(populated: Database) -> None:
    """Where there are documents: a reader that does not wait for updates sees all rows."""
    assert len(await keys(populated, update=False)) == DOCUMENTS


async def test_a_changed_view_takes_the_old_ones_place_all_built(populated: Database, folder: Path) -> None:
    """Readers, half of whom take an index as it is without waiting, see all rows at any time: the old, then the new.

    An index that was not built when it took the old one's place would have shown those readers no rows.
    """
    folder_of(folder, AFTER)
    plan = await installer(populated, folder).plan()
    assert [(each.action, each.name) for each in plan.steps] == [
        ("rebuild", "_design/by_length"),
        ("remove", populated.name),
    ]
    done = asyncio.Event()
    readers = [asyncio.create_task(read_until(populated, done, update=number % 2 == 0)) for number in range(4)]
    try:
        assert await installer(populated, folder).apply(plan) == ["wrote _design/by_length"]
        assert {type(key) for key in await keys(populated, update=False)} == {list}
    finally:
        done.set()
        found = await asyncio.gather(*readers)
    for kinds in found:
        assert kinds[0] == {int}
        assert all(each in ({int}, {list}) for each in kinds)
        # Once the new one was seen, the old one was not seen again.
        assert kinds == sorted(kinds, key=lambda each: each == {list})
    assert await design_ids(populated) == ["by_length", "conflicts"]
    assert not await installer(populated, folder).plan()


async def test_the_index_that_was_built_beside_is_the_one_that_is_used(
    populated: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CouchDB gives both names one signature; when the document is changed nothing is left to be indexed."""
    folder_of(folder, AFTER)
    built: list[tuple[str, int]] = []
    put = Database.put

    async def watched(self: Database, document: Any) -> Any:
        if document["_id"] == "_design/by_length":
            (beside,) = [each for each in await design_ids(self) if each.startswith("tornado_couch_building_")]
            info = (await self.design_info(beside))["view_index"]
            built.append((info["signature"], info["updates_pending"]["total"]))
        return await put(self, document)

    monkeypatch.setattr(Database, "put", watched)
    await installer(populated, folder).install()
    info = (await populated.design_info("by_length"))["view_index"]
    assert built == [(info["signature"], 0)]


async def test_old_index_files_are_cleaned_up(server_url: str, populated: Database, folder: Path) -> None:
    """After everything else, once, and only where an index was replaced or removed."""
    folder_of(folder, AFTER)
    calls = Calls()
    async with Couch(server_url, observer=calls) as couch:
        await installer(populated, folder, couch).install()
        assert calls.seen[-1] == "POST /{db}/_view_cleanup"
        assert calls.seen.count(calls.seen[-1]) == 1
        calls.seen.clear()
        await installer(populated, folder, couch).install()
        assert "POST /{db}/_view_cleanup" not in calls.seen


async def test_what_does_not_concern_the_views_is_changed_at_once(
    server_url: str, database: Database, tmp_path: Path
) -> None:
    """A filter beside a view, for one: no index is built for it."""
    view = {"views": {"both": {"map": BEFORE}}}
    folder = write(tmp_path, both__json=view)
    await installer(database, folder).install()
    write(tmp_path, both__json={**view, "filters": {"none": "function () { return false; }"}})
    calls = Calls()
    async with Couch(server_url, observer=calls) as couch:
        plan = await installer(database, folder, couch).plan()
        assert [(each.action, each.name) for each in plan.steps] == [("change", "_design/both")]
        await installer(database, folder, couch).apply(plan)
    assert "GET /{db}/_design/{ddoc}/_view/{view}" not in calls.seen


async def test_a_changed_index_of_mango_is_built_beside_the_old_one_too(database: Database, tmp_path: Path) -> None:
    """As CouchDB writes them into design documents."""

    def index(*fields: str) -> dict[str, Any]:
        of = {"fields": dict.fromkeys(fields, "asc"), "partial_filter_selector": {"text": {"$gt": None}}}
        view = {"map": of, "reduce": "_count", "options": {"def": {"fields": list(fields)}}}
        return {"language": "query", "views": {"texts": view}}

    await database.bulk_docs([{"_id": f"d{number}", "text": "x", "n": number} for number in range(50)])
    await installer(database, write(tmp_path, texts__json=index("text"))).install()
    folder = write(tmp_path, texts__json=index("n", "text"))
    assert [each.action for each in (await installer(database, folder).plan()).steps] == ["rebuild", "remove"]
    await installer(database, folder).install()
    assert (await database.design_info("texts"))["view_index"]["updates_pending"]["total"] <= 3
    found = await database.find({"n": {"$gte": 40}, "text": "x"}, use_index=["texts", "texts"], sort=["n"])
    assert [each["n"] for each in found.docs] == list(range(40, 50))
    assert found.warning is None
    assert await design_ids(database) == ["conflicts", "texts"]


async def test_ten_at_once_change_a_view_once(populated: Database, folder: Path) -> None:
    """They share what is built, and leave nothing behind."""
    folder_of(folder, AFTER)
    done = await asyncio.gather(*(installer(populated, folder).install() for _ in range(10)))
    assert sorted(done) == [[]] * 9 + [["wrote _design/by_length"]]
    assert len(await keys(populated, update=False)) == DOCUMENTS
    assert await design_ids(populated) == ["by_length", "conflicts"]


async def test_two_that_want_different_things_end_with_one_of_them(
    populated: Database, folder: Path, tmp_path: Path
) -> None:
    """The last one to write has its way, as with any deployment; nothing is left behind."""
    # The folder's name says whose design documents they are.
    other = folder_of(tmp_path / "other" / "design", AFTER.replace("[doc.text.length]", '"other"'))
    folder_of(folder, AFTER)
    await asyncio.gather(installer(populated, folder).install(), installer(populated, other).install())
    assert {type(key) for key in await keys(populated, update=False)} in ({str}, {list})
    assert await design_ids(populated) == ["by_length", "conflicts"]


async def test_an_interrupted_installer_leaves_readers_alone_and_the_next_goes_on(
    populated: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old view is there until the new one is built; what was built already is used."""
    folder_of(folder, AFTER)
    begun = asyncio.Event()
    build = DesignDocuments._build

    async def watched(self: DesignDocuments, document: dict[str, Any]) -> None:
        begun.set()
        await build(self, document)

    monkeypatch.setattr(DesignDocuments, "_build", watched)
    before = asyncio.all_tasks()
    first = asyncio.create_task(installer(populated, folder).install())
    await begun.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert asyncio.all_tasks() == before
    assert {type(key) for key in await keys(populated, update=True)} == {int}
    assert len(await design_ids(populated)) == 3
    assert await installer(populated, folder).install() == ["wrote _design/by_length"]
    assert await design_ids(populated) == ["by_length", "conflicts"]


async def test_what_an_interrupted_installer_left_over_is_removed(
    populated: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the next one that wants the same; what one left over that wanted something else, when that is said."""
    folder_of(folder, AFTER)
    with monkeypatch.context() as patch:
        patch.setattr(DesignDocuments, "_discard", lambda _self, _name: asyncio.sleep(0))
        await installer(populated, folder).install()
    (left_over,) = set(await design_ids(populated)) - {"by_length", "conflicts"}
    plan = await installer(populated, folder).plan()
    assert [(each.action, each.name) for each in plan.steps] == [
        ("remove", f"_design/{left_over}"),
        ("remove", populated.name),
    ]
    folder_of(folder, BEFORE)
    plan = await installer(populated, folder).plan()
    assert [each.split()[0] for each in plan.warnings] == [f"_design/{left_over}"]
    await installer(populated, folder, prune=True).install()
    assert await design_ids(populated) == ["by_length", "conflicts"]


async def test_how_far_an_index_is_is_told(populated: Database, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In changes: those since the last time, and those to come, from all of them down."""
    monkeypatch.setattr("tornado_couch.installation.design_documents._POLL_SECONDS", 0.001)
    folder_of(folder, AFTER)
    reports: list[tuple[int, int | None]] = []
    await installer(populated, folder, report=lambda done, pending: reports.append((done, pending))).install()
    pending = [each or 0 for _, each in reports]
    assert DOCUMENTS <= pending[0] <= DOCUMENTS + 10  # the design documents are changes, too
    assert min(pending) < DOCUMENTS
    assert [done for done, _ in reports] == [0, *(max(0, was - now) for was, now in itertools.pairwise(pending))]


async def test_an_answer_that_is_lost_while_an_index_is_built_does_no_harm(
    server_url: str, populated: Database, folder: Path
) -> None:
    """CouchDB goes on building it, and is asked again."""
    folder_of(folder, AFTER)
    async with FaultProxy(server_url) as proxy, Couch(proxy.url) as couch:
        fault = Fault(lose_answer, path="_view/by_length")
        proxy.faults.append(fault)
        assert await installer(populated, folder, couch).install() == ["wrote _design/by_length"]
        assert fault.hits == 1
    assert len(await keys(populated, update=False)) == DOCUMENTS


async def test_a_changed_view_of_partitions_is_built_beside_the_old_one_too(couch: Couch, tmp_path: Path) -> None:
    """On every shard: whichever partition is read without waiting, all its rows are there."""

    def view(key: str) -> dict[str, Any]:
        return {"map": f"function (doc) {{ if (doc.n) {{ emit({key}, null); }} }}"}

    name = f"test-{uuid.uuid4().hex}"
    folder = write(tmp_path, numbers__json={"options": {"partitioned": True}, "views": {"numbers": view("doc.n")}})
    await Installer(couch, database=name, q=4, partitioned=True, design_docs=folder).install()
    database = couch[name]
    try:
        await database.bulk_docs([{"_id": f"p{number % 20}:{number}", "n": number + 1} for number in range(200)])
        write(tmp_path, numbers__json={"options": {"partitioned": True}, "views": {"numbers": view("[doc.n]")}})
        await Installer(couch, database=name, design_docs=folder).install()
        for number in range(20):
            rows = (await database.view("numbers", "numbers", partition=f"p{number}", update=False)).rows
            assert [type(row.key) for row in rows] == [list] * 10
    finally:
        await couch.delete_database(name)


async def test_there_is_a_partition_on_each_shard(couch: Couch) -> None:
    """As CouchDB itself tells them."""
    name = f"test-{uuid.uuid4().hex}"
    await couch.create_database(name, q=4, partitioned=True)
    try:
        shards = (await couch[name].info())["cluster"]["q"]
        partitions = _one_of_each_shard(shards)
        found = {(await couch[name]._call("GET", "_shards", f"{each}:x")).value["range"] for each in partitions}
        assert len(partitions) == len(found) == shards
    finally:
        await couch.delete_database(name)
