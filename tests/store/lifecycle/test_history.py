"""`history=True`: every version is a document of its own, and none is ever rewritten."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any

import pytest

from tests.faults import FaultProxy
from tornado_couch import (
    Bounds,
    Couch,
    CreatedOn,
    Database,
    Encrypted,
    Hashed,
    Indexed,
    Key,
    Model,
    NoIndex,
    Query,
    Retry,
    Store,
    UpdatedOn,
    install,
)
from tornado_couch.errors import DocumentExists, DocumentNotFound, InvalidDocument, InvalidSignature, RevisionMismatch
from tornado_couch.models import version_of
from tornado_couch.models.schema.validate_doc_update import database_check
from tornado_couch.security import KeyRing, is_encrypted
from tornado_couch.store import Creation, Deletion, Update


class VersionedFruit(Model, type="fruit_v1.0", key="name", history=True, indexes=[("color", "size")]):
    name: str
    color: Annotated[str, Indexed()] = "red"
    size: int = 0
    grower: Annotated[str | None, Encrypted(searchable=True)] = None
    pin: Annotated[str | None, Hashed(cost=4)] = None
    created_on: CreatedOn
    updated_on: UpdatedOn


class Basket(Model, type="basket_v1.0", key="basket_id", history=True):
    basket_id: Key
    size: int = 0


class Counted(Model, type="counted_v1.0", key="number", history=True):
    number: int


@pytest.fixture
async def store(database: Database, ring: KeyRing) -> Store:
    await install(database.server, database.name, [VersionedFruit, Basket, Counted])  # type: ignore[arg-type]
    return Store(database, signer=ring, crypter=ring, retry=Retry(base=0.001))


async def paint(store: Store, name: str, *colors: str) -> None:
    for color in colors:
        await store.update(VersionedFruit, name, lambda fruit, color=color: setattr(fruit, "color", color))


async def names(store: Store, query: Query | None = None, **options: Any) -> list[str]:
    return [each.name for each in (await store.find(VersionedFruit, query, **options)).items]


async def documents(database: Database) -> dict[str, str]:
    rows = (await database.all_docs()).rows
    return {row.id: row.value["rev"] for row in rows if row.id and not row.id.startswith("_design/")}


async def test_each_write_is_a_document_of_its_own(store: Store) -> None:
    """None is rewritten; all have the key, and say which one they follow. The latest is what is read."""
    made = await store.create(VersionedFruit(name="apple", grower="ann", pin="1"))
    await paint(store, "apple", "green", "blue")
    stored = await documents(store.database)
    assert list(stored) == [f"fruit:apple:000000000{n}" for n in (1, 2, 3)]
    assert all(revision.startswith("1-") for revision in stored.values())
    found = await store.get(VersionedFruit, "apple")
    assert (found.color, found.grower, found.created_on) == ("blue", "ann", made.created_on)
    assert await found.verify("pin", "1")
    revisions = list(stored.values())
    held = [version_of(await store.database.get(each)) for each in stored]
    assert [each.number for each in held] == [1, 2, 3]
    assert [each.follows for each in held] == [None, *revisions[:2]]
    assert (found._id, found._rev) == ("fruit:apple:0000000003", revisions[2])
    texts = [await store.database.get(each) for each in stored]
    assert len({each["grower"]["value"] if isinstance(each["grower"], dict) else each["grower"] for each in texts}) == 3
    assert all(is_encrypted(each["grower"]) for each in texts)


async def test_a_key_that_couchdb_gives_names_all_versions(store: Store) -> None:
    """It is given once, to the first."""
    made = await store.create(Basket())
    await store.update(Basket, made.basket_id, lambda basket: setattr(basket, "size", 1))
    assert (await store.get(Basket, made.basket_id)).size == 1
    assert list(await documents(store.database)) == [f"basket:{made.basket_id}:000000000{n}" for n in (1, 2)]


@pytest.mark.parametrize("key", ["a:0000000002", "a/b", "..", "ä\u200b", "%41", "x~y", "\x00\x7f", "a" * 500, "🍎"])
async def test_any_text_is_a_key(store: Store, key: str) -> None:
    """Another one's versions are never taken for its own, though one text begins with the other."""
    for name in (key, key + ":", "a"):
        await store.create(VersionedFruit(name=name, color=name))
        await paint(store, name, f"{name}!")
    for name in (key, key + ":", "a"):
        assert (await store.get(VersionedFruit, name)).color == f"{name}!"
        assert [each.color for each in (await store.versions(VersionedFruit, name)).items] == [f"{name}!", name]
        assert (await store.as_of(VersionedFruit, name, datetime.now(UTC))).color == f"{name}!"
    assert sorted(await names(store)) == sorted([key, key + ":", "a"])


async def test_texts_that_couchdb_takes_for_equal_are_two_keys(store: Store) -> None:
    """A zero-width space makes no difference in a view."""
    for name in ("pear", "pe\u200bar"):
        await store.create(VersionedFruit(name=name))
    await paint(store, "pear", "green")
    page = await store.find(VersionedFruit, limit=1, count=True)
    rest = await store.find(VersionedFruit, limit=1, start=page.next)
    assert {page.items[0].name, rest.items[0].name} == {"pear", "pe\u200bar"}
    assert (page.total, rest.next) == (2, None)
    assert len(await names(store, Query({"name": ["pear"]}))) == 1


async def test_numbers_can_be_keys(store: Store) -> None:
    """Whatever JSON scalar."""
    for number in (7, 70, -7):
        await store.create(Counted(number=number))
    assert (await store.get(Counted, 7)).number == 7
    assert [each.number for each in (await store.find(Counted)).items] == [-7, 7, 70]


async def test_a_key_exists_once(store: Store) -> None:
    """Of many who create it one does."""
    outcomes = await asyncio.gather(
        *(store.create(VersionedFruit(name="apple", size=n)) for n in range(8)), return_exceptions=True
    )
    assert sum(isinstance(each, VersionedFruit) for each in outcomes) == 1
    assert sum(isinstance(each, DocumentExists) for each in outcomes) == 7
    assert len(await documents(store.database)) == 1


async def test_a_deletion_is_a_version_that_says_so(store: Store) -> None:
    """The document is not found then, by nothing; a creation or a restoration is the version after."""
    await store.create(VersionedFruit(name="apple", size=1))
    was = await store.delete(VersionedFruit, "apple")
    assert (was.size, was._id) == (1, "fruit:apple:0000000001")
    for call in (
        store.get(VersionedFruit, "apple"),
        store.update(VersionedFruit, "apple", lambda fruit: None),
        store.delete(VersionedFruit, "apple"),
    ):
        with pytest.raises(DocumentNotFound):
            await call
    assert await names(store) == await names(store, Query({"color": ["red"]})) == []
    assert await names(store, Query(deleted=True)) == await names(store, Query({"color": ["red"]}, deleted=True))
    assert (await store.get(VersionedFruit, "apple", deleted=True)).size == 1
    back = await store.restore(VersionedFruit, "apple", lambda fruit: setattr(fruit, "size", 2))
    assert (back.size, back.created_on, version_of(back._stored).number) == (2, was.created_on, 3)
    with pytest.raises(DocumentExists):
        await store.restore(VersionedFruit, "apple")
    await store.delete(VersionedFruit, "apple")
    again = await store.create(VersionedFruit(name="apple", size=5))
    assert (again.created_on > was.created_on, version_of(again._stored).number) == (True, 5)
    held = (await store.versions(VersionedFruit, "apple")).items
    assert [version_of(each._stored).deleted for each in held] == [False, True, False, True, False]
    assert await names(store) == ["apple"]


async def test_versions_are_paged_from_the_latest_to_the_first(store: Store) -> None:
    """Forward and back, however many are written meanwhile."""
    await store.create(VersionedFruit(name="apple", color="1"))
    await paint(store, "apple", *"2345")
    first = await store.versions(VersionedFruit, "apple", limit=2)
    await paint(store, "apple", "6")
    second = await store.versions(VersionedFruit, "apple", limit=2, start=first.next)
    third = await store.versions(VersionedFruit, "apple", limit=2, start=second.next)
    back = await store.versions(VersionedFruit, "apple", limit=2, start=third.previous, backward=True)
    newer = await store.versions(
        VersionedFruit, "apple", limit=2, start=first.previous or second.previous, backward=True
    )
    assert [[each.color for each in page.items] for page in (first, second, third, back, newer)] == [
        ["5", "4"],
        ["3", "2"],
        ["1"],
        ["3", "2"],
        ["5", "4"],
    ]
    assert (first.previous, third.next) == (None, None)
    with pytest.raises(DocumentNotFound):
        await store.versions(VersionedFruit, "none")


async def test_one_version_is_read_by_its_number(store: Store) -> None:
    """A deletion is none, nor is a number that there is not, or another spelling of one."""
    await store.create(VersionedFruit(name="apple", color="1"))
    await paint(store, "apple", "2")
    await store.delete(VersionedFruit, "apple")
    assert (await store.version(VersionedFruit, "apple", 1)).color == "1"
    assert (await store.version(VersionedFruit, "apple", "2")).color == "2"
    for name in (3, 4, "0", "-1", "01", "1~", "1~ab", "１", "", "9" * 11, "x"):
        with pytest.raises(DocumentNotFound):
            await store.version(VersionedFruit, "apple", name)


async def test_a_document_is_read_as_it_was_at_a_time(database: Database) -> None:
    """Of which the store's clock decides; times of day in any zone."""
    await install(database.server, database.name, [VersionedFruit])  # type: ignore[arg-type]
    start = datetime(2026, 1, 1, tzinfo=UTC)
    now = start
    store = Store(database, now=lambda: now)

    class Leaf(Model, type="fruit_v1.0", key="name", history=True):
        name: str
        color: str = "red"

    await store.create(Leaf(name="a"))
    now += timedelta(hours=1)
    await store.update(Leaf, "a", lambda leaf: setattr(leaf, "color", "green"))
    now += timedelta(hours=1)
    await store.delete(Leaf, "a")
    now += timedelta(hours=1)
    await store.restore(Leaf, "a", lambda leaf: setattr(leaf, "color", "blue"))
    found = {}
    for minutes in (-1, 0, 59, 60, 119, 120, 179, 180, 1000):
        moment = (start + timedelta(minutes=minutes)).astimezone(timezone(timedelta(hours=5)))
        try:
            found[minutes] = (await store.as_of(Leaf, "a", moment)).color
        except DocumentNotFound:
            found[minutes] = "none"
    assert found == {
        -1: "none",
        0: "red",
        59: "red",
        60: "green",
        119: "green",
        120: "none",
        179: "none",
        180: "blue",
        1000: "blue",
    }


async def test_versions_are_in_order_of_time_though_the_clock_goes_back(database: Database) -> None:
    """Each is written later than the one before, if by a microsecond; time stamps say the same."""

    class Leaf(Model, type="leaf_v1.0", key="name", history=True):
        name: str
        updated_on: UpdatedOn

    await install(database.server, database.name, [Leaf])  # type: ignore[arg-type]
    moments = iter([datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in (5, 3, 4, 6)])
    store = Store(database, now=lambda: next(moments))
    await store.create(Leaf(name="a"))
    for _ in range(3):
        await store.update(Leaf, "a", lambda leaf: None)
    held = [version_of(each._stored).written_on for each in (await store.versions(Leaf, "a")).items]
    assert held == sorted(held, reverse=True)
    assert [each[11:26] for each in reversed(held)] == [
        "05:00:00.000000",
        "05:00:00.000001",
        "05:00:00.000002",
        "06:00:00.000000",
    ]
    assert (await store.as_of(Leaf, "a", datetime(2026, 1, 1, 5, tzinfo=UTC)))._id == "leaf:a:0000000001"


async def test_a_guarded_change_is_made_by_exactly_one(store: Store) -> None:
    """Of many with one revision; the numbers have no gap."""
    made = await store.create(VersionedFruit(name="apple"))
    outcomes = await asyncio.gather(
        *(
            store.update(
                VersionedFruit,
                "apple",
                lambda fruit, n=n: setattr(fruit, "size", n),
                expected=lambda revision: revision == made._rev,
            )
            for n in range(8)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(each, VersionedFruit) for each in outcomes) == 1
    assert sum(isinstance(each, RevisionMismatch) for each in outcomes) == 7
    assert len(await documents(store.database)) == 2
    with pytest.raises(RevisionMismatch):
        await store.replace(made)
    latest = await store.get(VersionedFruit, "apple")
    latest.color = "blue"
    await store.replace(latest)
    latest.color = "black"
    await store.replace(latest)
    assert (await store.get(VersionedFruit, "apple")).color == "black"


async def test_unguarded_changes_are_all_made(store: Store) -> None:
    """Each is a version of its own."""
    await store.create(VersionedFruit(name="apple"))
    await asyncio.gather(
        *(
            store.update(VersionedFruit, "apple", lambda fruit: setattr(fruit, "size", fruit.size + 1))
            for _ in range(12)
        )
    )
    held = (await store.versions(VersionedFruit, "apple")).items
    assert [(version_of(each._stored).number, each.size) for each in held] == [(n + 1, n) for n in range(12, -1, -1)]


async def test_another_process_s_versions_are_seen_at_once(store: Store, ring: KeyRing) -> None:
    """Though the last number that this one knows is an older one, or of a database that was made anew."""
    other = Store(store.database, signer=ring, crypter=ring)
    await store.create(VersionedFruit(name="apple"))
    await paint(other, "apple", "green", "blue", "black")
    assert (await store.get(VersionedFruit, "apple")).color == "black"
    await paint(store, "apple", "white")
    assert (await other.get(VersionedFruit, "apple")).color == "white"
    couch, name = store.database.server, store.database.name
    await couch.delete_database(name)  # type: ignore[attr-defined]
    await install(couch, name, [VersionedFruit])  # type: ignore[arg-type]
    with pytest.raises(DocumentNotFound):
        await store.get(VersionedFruit, "apple")
    await store.create(VersionedFruit(name="apple", color="new"))
    assert (await store.get(VersionedFruit, "apple")).color == "new"


class TestLists:
    @pytest.fixture
    async def grown(self, store: Store) -> Store:
        for number in range(12):
            await store.create(VersionedFruit(name=f"f{number:02}", color="red", size=number))
        for number in range(0, 12, 2):
            await paint(store, f"f{number:02}", "green", "red", "green")
        for number in (3, 4):
            await store.delete(VersionedFruit, f"f{number:02}")
        return store

    async def walked(self, store: Store, query: Query, limit: int) -> list[str]:
        """Page by page to the end, and back again."""
        forward, page = [], await store.find(VersionedFruit, query, limit=limit)
        while True:
            forward.append([each.name for each in page.items])
            if page.next is None:
                break
            page = await store.find(VersionedFruit, query, limit=limit, start=page.next)
        back = [[each.name for each in page.items]]
        while page.previous is not None:
            page = await store.find(VersionedFruit, query, limit=limit, start=page.previous, backward=True)
            back.insert(0, [each.name for each in page.items])
        found = [name for page in forward for name in page]
        assert [name for page in back for name in page] == found
        return found

    @pytest.mark.parametrize("limit", [1, 3, 50])
    async def test_a_list_has_each_document_once_as_it_is_now(self, grown: Store, limit: int) -> None:
        """In the order of the keys, up and down; without those that are deleted."""
        alive = [f"f{number:02}" for number in range(12) if number not in (3, 4)]
        assert await self.walked(grown, Query(), limit) == alive
        assert await self.walked(grown, Query(descending=True), limit) == alive[::-1]
        assert await self.walked(grown, Query(sort=["name"]), limit) == alive
        assert await self.walked(grown, Query(ranges={"name": Bounds(gte="f02", lt="f07")}), limit) == alive[2:5]
        assert await self.walked(grown, Query(deleted=True), limit) == ["f03", "f04"]

    @pytest.mark.parametrize("limit", [1, 3, 50])
    async def test_a_filter_is_for_what_documents_are_now(self, grown: Store, limit: int) -> None:
        """Not for what they were; in every order."""
        green = [f"f{number:02}" for number in (0, 2, 6, 8, 10)]
        red = [f"f{number:02}" for number in (1, 5, 7, 9, 11)]
        assert await self.walked(grown, Query({"color": ["green"]}), limit) == green
        assert await self.walked(grown, Query({"color": ["red"]}), limit) == red
        assert await self.walked(grown, Query({"color": ["red", "green"]}, sort=["color"]), limit) == green + red
        assert await self.walked(grown, Query({"color": ["red"]}, descending=True), limit) == red[::-1]
        by_size = Query({"color": ["green"]}, sort=["size"], descending=True)
        assert await self.walked(grown, by_size, limit) == green[::-1]
        assert await self.walked(grown, Query({"color": ["green"]}, deleted=True), limit) == ["f04"]
        assert await self.walked(grown, Query({"name": ["f05", "f03", "f00"]}), limit) == ["f00", "f05"]

    async def test_documents_are_counted_by_key_alone(self, grown: Store) -> None:
        """Of another index only the versions could be counted."""
        assert (await grown.find(VersionedFruit, limit=1, count=True)).total == 10
        assert (await grown.find(VersionedFruit, Query(deleted=True), limit=1, count=True)).total == 2
        with pytest.raises(NoIndex):
            await grown.find(VersionedFruit, Query({"color": ["red"]}), count=True)

    async def test_a_page_of_what_changed_often_comes_back_short(
        self, grown: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Rather than look at all versions at once; the next one goes on behind them."""
        monkeypatch.setattr("tornado_couch.store.reading.version_lists._MOST_ROWS", 0)
        monkeypatch.setattr("tornado_couch.store.reading.version_lists._ROWS_AN_ITEM", 2)
        page = await grown.find(VersionedFruit, Query({"color": ["red"]}), limit=2)
        assert len(page.items) < 2
        assert page.next is not None
        assert len(await self.walked(grown, Query({"color": ["red"]}), 2)) == 5


async def test_a_list_shows_what_was_written_since_its_index_was_read(store: Store) -> None:
    """A document that was changed meanwhile is there as it is now; one that was deleted is not."""
    for name in ("a", "b", "c"):
        await store.create(VersionedFruit(name=name))
    lists = store._lifecycles._versioned._reader._lists
    real = lists._pairs

    async def late(*arguments: Any) -> Any:
        lists._pairs = real  # type: ignore[method-assign]
        await paint(store, "a", "green", "blue")
        await store.delete(VersionedFruit, "b")
        return await real(*arguments)

    lists._pairs = late  # type: ignore[method-assign]
    page = await store.find(VersionedFruit)
    assert [(each.name, each.color) for each in page.items] == [("a", "blue"), ("c", "red")]


async def test_encrypted_properties_are_found_by_equality_in_the_latest_version(store: Store) -> None:
    """By the blind index."""
    await store.create(VersionedFruit(name="a", grower="ann"))
    await store.create(VersionedFruit(name="b", grower="ann"))
    await store.update(VersionedFruit, "a", lambda fruit: setattr(fruit, "grower", "bob"))
    assert await names(store, by="grower", key="ann") == ["b"]
    assert await names(store, by="grower", key="bob") == ["a"]


class TestTampering:
    async def test_an_altered_version_is_not_served(self, store: Store) -> None:
        """Nor is the document, if it is the latest; it is counted as withheld, in filtered lists, too."""
        await store.create(VersionedFruit(name="a"))
        await store.create(VersionedFruit(name="b"))
        held = await store.database.get("fruit:a:0000000001")
        await store.database.put({**held, "size": 9})
        for call in (
            store.get(VersionedFruit, "a"),
            store.version(VersionedFruit, "a", 1),
            store.update(VersionedFruit, "a", lambda _: None),
        ):
            with pytest.raises(InvalidSignature):
                await call
        for query in (Query(), Query({"color": ["red"]})):
            page = await store.find(VersionedFruit, query)
            assert ([each.name for each in page.items], page.withheld) == (["b"], 1)
        assert (await store.versions(VersionedFruit, "b")).withheld == 0

    async def test_a_version_added_or_taken_away_past_the_service_is_found(self, store: Store) -> None:
        """One without a signature after the latest; the latest itself deleted."""
        await store.create(VersionedFruit(name="a"))
        await paint(store, "a", "green")
        held = await store.database.get("fruit:a:0000000001")
        forged = {name: value for name, value in held.items() if name != "_rev"}
        await store.database.put({**forged, "_id": "fruit:a:0000000003"})
        with pytest.raises(InvalidSignature):
            await store.get(VersionedFruit, "a")
        page = await store.find(VersionedFruit)
        assert (page.items, page.withheld) == ([], 1)
        await store.create(VersionedFruit(name="b"))
        await paint(store, "b", "green")
        last = await store.database.get("fruit:b:0000000002")
        await store.database.delete(last["_id"], last["_rev"])
        with pytest.raises(InvalidSignature):
            await store.get(VersionedFruit, "b")


async def test_a_document_that_only_has_such_an_id_is_no_version(database: Database) -> None:
    """It is that document's error, and not in the lists."""
    await install(database.server, database.name, [Basket])  # type: ignore[arg-type]
    await database.put({"_id": "basket:a:0000000001", "type": "basket_v1.0", "basket_id": "a", "size": 1})
    for number, written_on in enumerate(["yesterday", "2026-01-01T00:00:00Z", None, 7, "9999-12-31T23:59:59.999999"]):
        body = {"type": "basket_v1.0", "basket_id": f"n{number}", "tornado_couch_version": {"written_on": written_on}}
        await database.put({"_id": f"basket:n{number}:0000000001", **body})
    await database.put({"_id": "basket:b", "type": "basket_v1.0", "basket_id": "b", "size": 1})
    store = Store(database)
    with pytest.raises(InvalidDocument):
        await store.get(Basket, "a")
    for number in range(5):
        with pytest.raises(InvalidDocument):
            await store.get(Basket, f"n{number}")
    with pytest.raises(DocumentNotFound):
        await store.get(Basket, "b")
    last = {"written_on": "9999-12-31T23:59:59.999999+00:00"}
    await database.put(
        {"_id": "basket:z:0000000001", "type": "basket_v1.0", "basket_id": "z", "tornado_couch_version": last}
    )
    with pytest.raises(InvalidDocument):
        await store.update(Basket, "z", lambda basket: None)
    page = await store.find(Basket)
    assert ([each.basket_id for each in page.items], page.withheld) == (["z"], 3)  # the others are in no index


async def test_foreign_documents_between_the_versions_do_no_harm(store: Store) -> None:
    """Whatever their ids; the latest is found all the same."""
    await store.create(VersionedFruit(name="a"))
    await paint(store, "a", "green")
    foreign = ["fruit:a:00000000019", "fruit:a:5", "fruit:a:9999999999x", "fruit:a:9", "fruit:a:0000000002~xyz"]
    await store.database.bulk_docs([{"_id": each} for each in foreign])
    fresh = Store(store.database, signer=store._guard.keys, crypter=store._guard.keys)  # type: ignore[attr-defined]
    assert (await fresh.get(VersionedFruit, "a")).color == "green"
    assert len((await fresh.versions(VersionedFruit, "a")).items) == 2


async def test_many_writes_at_once_are_versions_in_order(store: Store) -> None:
    """As single ones."""
    made = await store.create_many(
        VersionedFruit, [VersionedFruit(name=str(n)) for n in range(3)] + [VersionedFruit(name="0")]
    )
    assert [type(each) for each in made] == [VersionedFruit, VersionedFruit, VersionedFruit, DocumentExists]
    done = await store.write_many(
        VersionedFruit,
        [
            Update("0", lambda fruit: setattr(fruit, "size", fruit.size + 1)),
            Update("0", lambda fruit: setattr(fruit, "size", fruit.size + 1)),
            Deletion("1"),
            Creation(VersionedFruit(name="1", size=4)),
            Update("none", lambda fruit: None),
        ],
    )
    assert [type(each) for each in done] == [
        VersionedFruit,
        VersionedFruit,
        VersionedFruit,
        VersionedFruit,
        DocumentNotFound,
    ]
    assert [(each.name, each.size) for each in (await store.find(VersionedFruit)).items] == [
        ("0", 2),
        ("1", 4),
        ("2", 0),
    ]
    assert len((await store.versions(VersionedFruit, "0")).items) == 3


async def test_what_a_newer_version_encrypted_is_kept_readable(store: Store, ring: KeyRing) -> None:
    """Though each version has an id of its own, to which ciphertexts are bound."""

    class Newer(Model, type="basket_v1.1", key="basket_id", history=True):
        basket_id: Key
        size: int = 0
        secret: Annotated[str, Encrypted()]

    made = await store.create(Newer(secret="s"))
    await store.update(Basket, made.basket_id, lambda basket: setattr(basket, "size", 1))
    found = await store.get(Newer, made.basket_id)
    assert (found.size, found.secret, found._stored["type"]) == (1, "s", "basket_v1.1")


async def test_a_database_that_checks_its_documents_refuses_no_version(store: Store) -> None:
    """Nor a deletion or a restoration."""
    await store.database.put(database_check([VersionedFruit]).design_document)
    await store.create(VersionedFruit(name="apple", grower="ann", pin="1"))
    await paint(store, "apple", "green")
    await store.delete(VersionedFruit, "apple")
    await store.restore(VersionedFruit, "apple")
    assert len((await store.versions(VersionedFruit, "apple")).items) == 4


async def test_a_known_document_is_read_with_one_request(
    server_url: str, store: Store, database: Database, ring: KeyRing
) -> None:
    """An unknown one with two; a change is one request more; and concurrent ones join theirs."""
    async with FaultProxy(server_url) as proxy, Couch(proxy.url) as behind:
        watched = Store(behind[database.name], signer=ring, crypter=ring)
        await store.create(VersionedFruit(name="a"))
        counts = []
        for call in (
            lambda: watched.get(VersionedFruit, "a"),
            lambda: watched.get(VersionedFruit, "a"),
            lambda: watched.update(VersionedFruit, "a", lambda fruit: None),
            lambda: watched.get(VersionedFruit, "a"),
        ):
            before = len(proxy.requests)
            await call()
            counts.append(len(proxy.requests) - before)
        assert counts == [2, 1, 2, 1]
        before = len(proxy.requests)
        await asyncio.gather(*(watched.get(VersionedFruit, "a") for _ in range(20)))
        assert len(proxy.requests) - before < 5
