"""The store: models in and out of a database, without HTTP handlers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.store.models import Contended, Fruit, Person, Place
from tornado_couch import (
    Couch,
    Database,
    DocumentExists,
    DocumentNotFound,
    RetriesExhausted,
    Retry,
    RevisionMismatch,
    Store,
    install,
)
from tornado_couch.couch import Leaf
from tornado_couch.errors import InvalidSignature, OutcomeUnknown, Unavailable
from tornado_couch.security import KeyRing
from tornado_couch.store import Deletion
from tornado_couch.store.protection.signatures import winner


@pytest.fixture
async def installed(database: Database) -> Database:
    await install(database.server, database.name, [Fruit, Person, Place])  # type: ignore[arg-type]
    return database


@pytest.fixture
def store(installed: Database) -> Store:
    return Store(installed)


async def test_create_assigns_id_key_revision_and_time(installed: Database) -> None:
    """The id is CouchDB's own, and the key is the id."""
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    fruit = await Store(installed, now=lambda: moment).create(Fruit(color="red"))
    assert fruit._id == fruit.fruit_id
    assert fruit._rev.startswith("1-")  # type: ignore[union-attr]
    assert fruit.created_on == fruit.updated_on == moment
    assert (await installed.get(fruit.fruit_id))["created_on"] == "2026-01-02T00:00:00.000000+00:00"


async def test_get_finds_what_another_service_stored_under_another_id(store: Store) -> None:
    """The key need not be the document id: the view knows."""
    await store.database.put(
        {
            "_id": "elsewhere",
            "type": "fruit_v1.0",
            "fruit_id": "f7",
            "color": "red",
            "created_on": "2020-01-01T00:00:00.000000+00:00",
            "updated_on": "2020-01-01T00:00:00.000000+00:00",
        }
    )
    fruit = await store.update(Fruit, "f7", lambda fruit: setattr(fruit, "color", "blue"))
    assert (fruit._id, (await store.get(Fruit, "f7")).color) == ("elsewhere", "blue")


@pytest.mark.parametrize("key", ["nope", "_design/fruit_by_color", "../x", "a\x00b", "é", "x" * 2000])
async def test_a_key_that_is_not_there_is_document_not_found(store: Store, key: str) -> None:
    """Whatever it looks like, in every method."""
    for cls in (Fruit, Person, Place):
        for call in (store.get(cls, key), store.update(cls, key, lambda _: None), store.delete(cls, key)):
            with pytest.raises(DocumentNotFound):
                await call


async def test_a_second_document_of_one_key_is_refused(store: Store) -> None:
    """By its id where the key is unique, else by asking the view."""
    for cls, values in ((Person, {"email": "a@b"}), (Place, {"name": "Oslo"})):
        await store.create(cls.model_validate(values))
        with pytest.raises(DocumentExists):
            await store.create(cls.model_validate(values))


async def test_twenty_writers_lose_no_change(store: Store) -> None:
    """Each change is applied to the latest document, as often as it takes."""
    fruit = await store.create(Fruit(color="red"))

    def pick(number: int) -> Any:
        return lambda latest: setattr(latest, "picks", [*latest.picks, number])

    await asyncio.gather(*(store.update(Fruit, fruit.fruit_id, pick(number)) for number in range(20)))
    assert sorted((await store.get(Fruit, fruit.fruit_id)).picks) == list(range(20))


async def test_twenty_writers_that_expect_one_revision_give_one_success(store: Store) -> None:
    """The others are told the current revision, and are never tried again."""
    fruit = await store.create(Fruit(color="red"))

    async def write(number: int) -> str:
        try:
            await store.update(
                Fruit, fruit.fruit_id, lambda f: setattr(f, "picks", [number]), expected=lambda rev: rev == fruit._rev
            )
        except RevisionMismatch as mismatch:
            return mismatch.current or ""
        return "done"

    outcomes = await asyncio.gather(*(write(number) for number in range(20)))
    assert sorted(set(outcomes), reverse=True) == ["done", (await store.get(Fruit, fruit.fruit_id))._rev]
    assert outcomes.count("done") == 1


async def test_a_change_may_be_asynchronous_and_return_another_model(store: Store) -> None:
    """Its result takes the place of the document."""
    fruit = await store.create(Fruit(color="red"))

    async def change(latest: Fruit) -> Fruit:
        await asyncio.sleep(0)
        return latest.model_copy(update={"color": "blue"})

    assert (await store.update(Fruit, fruit.fruit_id, change)).color == "blue"


async def test_an_error_in_a_change_ends_the_update_with_nothing_written(store: Store) -> None:
    """It comes out as it is."""
    fruit = await store.create(Fruit(color="red"))

    def change(latest: Fruit) -> None:
        latest.color = "blue"
        raise LookupError("no")

    with pytest.raises(LookupError):
        await store.update(Fruit, fruit.fruit_id, change)
    assert (await store.get(Fruit, fruit.fruit_id))._rev == fruit._rev


async def test_a_change_cannot_give_another_key(store: Store) -> None:
    """The document would no longer be where its key leads."""
    await store.create(Place(name="Oslo"))
    with pytest.raises(ValueError, match="another key"):
        await store.update(Place, "Oslo", lambda place: setattr(place, "name", "Bern"))


async def test_replace_writes_on_the_revision_that_was_read_only(store: Store) -> None:
    """A model that went out of date is refused."""
    first = await store.create(Fruit(color="red"))
    second = await store.get(Fruit, first.fruit_id)
    second.color = "blue"
    await store.replace(second)
    with pytest.raises(RevisionMismatch) as caught:
        await store.replace(first)
    assert caught.value.current == second._rev


async def test_a_deleted_document_is_gone_for_every_method(store: Store) -> None:
    """Reading, changing, replacing, deleting."""
    fruit = await store.create(Fruit(color="red"))
    await store.delete(Fruit, fruit.fruit_id)
    for call in (store.get(Fruit, fruit.fruit_id), store.delete(Fruit, fruit.fruit_id), store.replace(fruit)):
        with pytest.raises(DocumentNotFound):
            await call
    assert (await store.find(Fruit)).items == []


async def test_delete_expects_a_revision_too(store: Store) -> None:
    """Another one is a mismatch, and the document stays."""
    fruit = await store.create(Fruit(color="red"))
    with pytest.raises(RevisionMismatch):
        await store.delete(Fruit, fruit.fruit_id, expected=lambda rev: rev == "1-x")
    assert (await store.get(Fruit, fruit.fruit_id)).color == "red"


async def in_conflict(store: Store, name: str, leaves: int) -> Place:
    """A place with this many more leaves, each as replication brings it."""
    place = await store.create(Place(name=name))
    document = await store.database.get(place._id or "")
    for number in range(leaves):
        ids = [f"{number:032x}", document["_rev"][2:]]
        leaf = {**document, "size": number, "_rev": f"2-{ids[0]}", "_revisions": {"start": 2, "ids": ids}}
        await store.database.bulk_docs([leaf], new_edits=False)
    return await store.get(Place, name)


async def live(store: Store, document_id: str | None) -> list[str | None]:
    (leaves,) = await store.database.bulk_get([document_id or ""])
    return [leaf.rev for leaf in leaves if leaf.document and not leaf.document.get("_deleted")]


@pytest.mark.parametrize("together", [False, True])
async def test_a_deleted_document_stays_deleted_though_it_was_in_conflict(store: Store, together: bool) -> None:
    """No other leaf takes the place of the one that was seen; and it can be created anew."""
    places = [await in_conflict(store, name, 3) for name in "ab"]
    assert [len(await live(store, each._id)) for each in places] == [3, 3]
    if together:
        done = await store.write_many(Place, [Deletion("a"), Deletion("b")])
        assert [type(each) for each in done] == [Place, Place]
    else:
        await store.delete(Place, "a")
        await store.delete(Place, "b", expected=lambda revision: revision == places[1]._rev)
    assert [await live(store, each._id) for each in places] == [[], []]
    for name in "ab":
        with pytest.raises(DocumentNotFound):
            await store.get(Place, name)
        await store.create(Place(name=name, size=9))
        assert (await store.get(Place, name)).size == 9


@pytest.mark.parametrize("together", [False, True])
async def test_of_a_document_in_conflict_the_winning_revision_decides(store: Store, together: bool) -> None:
    """Where another one is expected nothing is deleted, not even a losing leaf."""
    place = await in_conflict(store, "a", 3)
    before = await live(store, place._id)
    loser = next(each for each in before if each != place._rev)
    if together:
        (outcome,) = await store.write_many(Place, [Deletion("a", expected=lambda revision: revision == loser)])
        assert isinstance(outcome, RevisionMismatch)
    else:
        with pytest.raises(RevisionMismatch):
            await store.delete(Place, "a", expected=lambda revision: revision == loser)
    assert await live(store, place._id) == before


@pytest.mark.parametrize("together", [False, True])
async def test_a_deletion_that_left_a_leaf_is_not_success(
    store: Store, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    """CouchDB went away after the winning revision was deleted: what is found next is another one."""
    place = await in_conflict(store, "a", 2)
    bulk_docs, puts = store.database.bulk_docs, 0

    async def failing(documents: Any) -> Any:
        nonlocal puts
        puts += 1
        if puts > together:
            raise Unavailable("down", sent=False)
        return await bulk_docs(documents)

    monkeypatch.setattr(store.database, "bulk_docs", failing)
    if together:
        (outcome,) = await store.write_many(Place, [Deletion("a")])
        assert isinstance(outcome, OutcomeUnknown)
    else:
        with pytest.raises(OutcomeUnknown):
            await store.delete(Place, "a")
    assert len(await live(store, place._id)) == 1
    monkeypatch.undo()
    await store.delete(Place, "a")
    assert await live(store, place._id) == []


@pytest.mark.parametrize("together", [False, True])
async def test_a_forged_leaf_is_not_deleted_with_the_document(installed: Database, together: bool) -> None:
    """It is evidence: the deletion is refused as a whole, where signatures are verified."""
    signing = Store(installed, signer=KeyRing.create())
    place = await signing.create(Place(name="a"))
    document = await installed.get(place._id or "")
    ids = ["0" * 32, document["_rev"][2:]]
    forged = {**document, "size": 6, "_rev": f"2-{ids[0]}", "_revisions": {"start": 2, "ids": ids}}
    await signing.update(Place, "a", lambda latest: setattr(latest, "size", 5))
    await installed.bulk_docs([forged], new_edits=False)
    before = await live(signing, place._id)
    assert len(before) == 2
    if together:
        (outcome,) = await signing.write_many(Place, [Deletion("a")])
        assert isinstance(outcome, InvalidSignature)
    else:
        with pytest.raises(InvalidSignature):
            await signing.delete(Place, "a")
    assert await live(signing, place._id) == before


async def test_a_leaf_that_comes_while_a_document_is_deleted_is_deleted_too(
    store: Store, server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replication may be bringing more; but a document that is created anew meanwhile stays."""
    place = await in_conflict(store, "a", 2)
    bulk_docs, rounds = store.database.bulk_docs, 0

    async def busy(documents: Any) -> Any:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            ids = ["f" * 32, "e" * 32]
            leaf = {**documents[0], "_deleted": False, "_rev": f"9-{ids[0]}", "_revisions": {"start": 9, "ids": ids}}
            await bulk_docs([leaf], new_edits=False)
        result = await bulk_docs(documents)
        if rounds == 2:
            async with Couch(server_url) as couch:  # another process: the writes of one take turns
                await Store(couch[store.database.name]).create(Place(name="a", size=9))
        return result

    monkeypatch.setattr(store.database, "bulk_docs", busy)
    await store.delete(Place, "a")
    assert rounds == 2
    (left,) = await live(store, place._id)
    assert (await store.get(Place, "a")).size == 9
    assert (await store.get(Place, "a"))._rev == left


async def test_find_pages_through_a_property_without_skip_or_repeat(store: Store) -> None:
    """Forwards and backwards, many documents with one value."""
    for number in range(23):
        await store.create(Fruit(color="ab"[number % 2]))
    for descending in (False, True):
        colors, ids, start = [], set(), None
        while True:
            page = await store.find(Fruit, by="color", limit=4, start=start, descending=descending)
            colors += [fruit.color for fruit in page.items]
            ids |= {fruit.fruit_id for fruit in page.items}
            start = page.next
            if start is None:
                break
        assert colors == sorted(colors, reverse=descending)
        assert (len(colors), len(ids)) == (23, 23)


async def test_find_by_a_property_without_an_index_says_which_have_one(store: Store) -> None:
    """There is never a scan."""
    with pytest.raises(ValueError, match=r"indexed are \['color'\]"):
        await store.find(Fruit, by="picks")


async def test_retries_wait_longer_each_time_and_end(installed: Database) -> None:
    """The delays are drawn from a doubling, capped bound; nothing is written when they are used up."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    fruit = await Store(installed).create(Fruit(color="red"))
    retry = Retry(attempts=6, base=0.1, cap=0.5, random=lambda: 0.5)
    store = Store(Contended(installed), retry=retry, sleep=sleep, grouping=False)  # type: ignore[arg-type]
    with pytest.raises(RetriesExhausted) as caught:
        await store.update(Fruit, fruit.fruit_id, lambda _: None)
    least = [0.05, 0.1, 0.2, 0.25, 0.25]  # more where a write takes long
    assert all(low <= each <= 0.25 for low, each in zip(least, slept, strict=True))
    assert caught.value.attempts == 6
    assert (await store.get(Fruit, fruit.fruit_id))._rev == fruit._rev


def test_delays_grow_with_what_a_write_takes() -> None:
    """Writers that met would meet again within that time; and no delay is longer than the cap."""
    retry = Retry(base=0.01, cap=2.0, random=lambda: 0.5)
    assert [retry.delay(failures, took=0.1) for failures in (1, 2, 3)] == [0.4, 0.8, 1.0]
    assert retry.delay(1, took=0.001) == 0.005
    assert Retry(base=0).delay(1, took=0.1) == 0


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_delay_is_never_negative_nor_over_the_cap(failures: int, drawn: float) -> None:
    """After any number of failures."""
    assert 0 <= Retry(random=lambda: drawn).delay(failures) <= Retry().cap


def test_a_retry_of_no_attempts_is_refused() -> None:
    """It could never write anything."""
    with pytest.raises(ValueError, match="attempts"):
        Retry(attempts=0)


async def test_a_cancelled_update_writes_nothing_more(installed: Database) -> None:
    """Cancelled while it waits to try again, it is over."""
    asleep = asyncio.Event()

    async def sleep(seconds: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    fruit, contended = await Store(installed).create(Fruit(color="red")), Contended(installed)
    store = Store(contended, sleep=sleep, grouping=False)  # type: ignore[arg-type]
    task = asyncio.create_task(store.update(Fruit, fruit.fruit_id, lambda _: None))
    await asyncio.wait_for(asleep.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert contended.puts == 1


async def test_the_winner_is_the_one_that_couchdb_names(installed: Database) -> None:
    """Of conflicting leaves, deleted ones among them, as a plain read gives it."""
    leaves = [("1-a", None, False), ("2-b", "1-a", False), ("2-c", "1-a", False), ("3-d", "2-b", True)]
    for rev, parent, deleted in leaves:
        ids = [each.split("-")[1] for each in (rev, parent) if each]
        if rev == "3-d":
            ids.append("a")
        document = {"_id": "x", "_rev": rev, "_deleted": deleted, "_revisions": {"start": int(rev[0]), "ids": ids}}
        await installed.bulk_docs([document], new_edits=False)
    found = winner((await installed.bulk_get(["x"]))[0])
    assert found is not None
    assert found["_rev"] == (await installed.get("x"))["_rev"] == "2-c"


def test_a_document_whose_leaves_are_all_deleted_is_gone() -> None:
    """It has no winner to show."""
    leaf = Leaf({"_id": "x", "_rev": "2-a", "_deleted": True}, "2-a", None, None)
    assert winner([leaf]) is None


async def test_installing_again_does_nothing(installed: Database) -> None:
    """And ten at once on a fresh database all succeed, with one design document for each view."""
    couch: Any = installed.server
    assert await install(couch, installed.name, [Fruit, Person, Place]) == []
    name = f"{installed.name}-ten"
    try:
        await asyncio.gather(*(install(couch, name, [Fruit, Person]) for _ in range(10)))
        rows = (await couch[name].all_docs(startkey="_design/", endkey="_design0")).rows
        assert [row.id for row in rows] == [
            "_design/conflicts",
            "_design/fruit_by_color",
            "_design/fruit_by_fruit_id",
            "_design/person_by_email",
        ]
    finally:
        await couch.delete_database(name)


async def test_a_changed_view_is_installed_over_the_old_one(installed: Database) -> None:
    """The installer compares what is there with what the model needs."""
    couch: Any = installed.server
    document = await installed.get("_design/fruit_by_color")
    await installed.put({**document, "views": {}})
    assert await install(couch, installed.name, [Fruit]) == ["wrote _design/fruit_by_color"]
