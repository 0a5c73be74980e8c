"""A group of writes that is refused as a whole: each member is written once or not, and is told which."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.faults import Fault, FaultProxy, answer_status, refuse_with
from tests.store.models import Fruit, Place
from tornado_couch import (
    Couch,
    Database,
    DocumentNotFound,
    Key,
    Model,
    OutcomeUnknown,
    Retry,
    Store,
    install,
)
from tornado_couch.errors import (
    BadRequest,
    Forbidden,
    MissingStub,
    NotFound,
    PreconditionFailed,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from tornado_couch.store import Creation, Deletion, Update

POISON = "poisonous"
MEMBERS = 5


class Diary(Model, type="diary_v1.0", key="diary_id", history=True):
    diary_id: Key
    color: str = "red"
    picks: list[int] = []  # noqa: RUF012 - pydantic copies it


class Letter(Model, type="letter_v1.0", key="letter_id", soft_delete=True):
    letter_id: Key
    color: str = "red"
    picks: list[int] = []  # noqa: RUF012 - pydantic copies it


KINDS: dict[str, type[Any]] = {"plain": Fruit, "history": Diary, "soft delete": Letter}

# What the member that causes it all is told in the end. Some answers prove nothing even of a lone write.
STATUSES: dict[str, tuple[int, Any, type[Exception]]] = {
    "412 missing_stub": (412, {"error": "missing_stub", "reason": "x"}, MissingStub),
    "412": (412, {"error": "odd", "reason": "x"}, PreconditionFailed),
    "400": (400, None, BadRequest),
    "401": (401, None, Unauthorized),
    "403": (403, None, Forbidden),
    "404": (404, None, NotFound),
    "413": (413, None, TooLarge),
    "415": (415, None, BadRequest),
    "429": (429, None, TooManyRequests),
    "500": (500, None, OutcomeUnknown),
    "nonsense": (201, b"<html>", OutcomeUnknown),
}


@pytest.fixture
async def sharded(couch: Couch, proxy: FaultProxy) -> AsyncIterator[Database]:
    """A database of four shards, as it is seen through the proxy."""
    name = f"test-{uuid.uuid4().hex}"
    await couch.create_database(name, q=4)
    await install(couch, name, [Fruit, Place, Diary, Letter])
    async with Couch(proxy.url) as client:
        yield client[name]
    await couch.delete_database(name)


def store_of(database: Database, **options: Any) -> Store:
    return Store(database, retry=Retry(base=0.001, patience=0.3), **options)


def strike(proxy: FaultProxy, status: int = 412, content: Any = None, *, member: str = POISON) -> None:
    """Have every write refused that the poisonous member is in."""
    effect = refuse_with(member, status, content)
    proxy.faults[:] = [Fault(effect, method="PUT", times=None), Fault(effect, path="_bulk_docs", times=None)]


def told(outcomes: list[Any]) -> list[type[Any]]:
    return [type(each) for each in outcomes]


async def together(calls: list[Awaitable[Any]]) -> list[Any]:
    return await asyncio.gather(*calls, return_exceptions=True)


def mark(number: int, poison: bool) -> Callable[[Any], None]:
    """A change that is not the same when it is done twice."""

    def change(model: Any) -> None:
        model.picks.append(number)
        if poison:
            model.color = POISON

    return change


@pytest.mark.parametrize("status", STATUSES)
async def test_one_member_of_a_group_is_refused(sharded: Database, proxy: FaultProxy, status: str) -> None:
    """Whatever CouchDB says to the whole, that member has its own error, and each other is updated once."""
    store = store_of(sharded)
    fruits = [await store.create(Fruit()) for _ in range(MEMBERS)]
    code, content, expected = STATUSES[status]
    strike(proxy, code, content)
    outcomes = await together([store.update(Fruit, each.fruit_id, mark(7, n == 1)) for n, each in enumerate(fruits)])
    assert told(outcomes) == [Fruit, expected, *[Fruit] * (MEMBERS - 2)]
    assert any("_bulk_docs" in each.target for each in proxy.requests)
    proxy.faults.clear()
    found = [await store.get(Fruit, each.fruit_id) for each in fruits]
    assert [each.picks for each in found] == [[7] if n != 1 else [] for n in range(MEMBERS)]
    assert [each._rev for each in found if each.picks] == [each._rev for each in outcomes if isinstance(each, Fruit)]


@pytest.mark.parametrize("place", range(MEMBERS))
@pytest.mark.parametrize("kind", KINDS)
async def test_in_every_position_and_kind_of_write(
    sharded: Database, proxy: FaultProxy, kind: str, place: int
) -> None:
    """Created, updated, replaced, deleted, restored: the one is refused, the others are done once."""
    cls, store = KINDS[kind], store_of(sharded)
    strike(proxy)
    bad = [n == place for n in range(MEMBERS)]
    expected = [PreconditionFailed if poison else cls for poison in bad]
    made = await together([store.create(cls(color=POISON if poison else "red")) for poison in bad])
    assert told(made) == expected
    proxy.faults.clear()
    made[place] = await store.create(cls())
    strike(proxy)
    updated = await together([store.update(cls, each._key, mark(7, bad[n])) for n, each in enumerate(made)])
    assert told(updated) == expected
    replaced = [await store.get(cls, each._key) for each in made]
    for n, each in enumerate(replaced):
        mark(8, bad[n])(each)
    assert told(await together([store.replace(each) for each in replaced])) == expected
    found = [await store.get(cls, each._key) for each in made]
    assert [each.picks for each in found] == [[] if poison else [7, 8] for poison in bad]
    strike(proxy, member=made[place]._key)
    assert told(await together([store.delete(cls, each._key) for each in made])) == expected
    proxy.faults.clear()
    await store.get(cls, made[place]._key)
    if kind == "plain":
        return
    await store.delete(cls, made[place]._key)
    strike(proxy)
    back = [store.restore(cls, each._key, mark(9, bad[n])) for n, each in enumerate(made)]
    assert told(await together(back)) == expected
    with pytest.raises(DocumentNotFound):
        await store.get(cls, made[place]._key)


@pytest.mark.parametrize("place", range(4))
async def test_many_at_once(sharded: Database, proxy: FaultProxy, place: int) -> None:
    """The operations of `write_many`: the one that spoils the request is refused, the others are done once."""
    store = store_of(sharded)
    await store.create_many(Place, [Place(name=name) for name in "ab"])

    def grow(one: Place) -> None:
        one.size += 1

    operations: list[Any] = [
        Update("a", grow),
        Deletion("b"),
        Creation(Place(name="c")),
        Creation(Place(name="d")),
    ]
    operations.insert(place, Creation(Place(name=POISON)))
    strike(proxy)
    outcomes = await store.write_many(Place, operations)
    assert [isinstance(each, Place) for each in outcomes] == [n != place for n in range(5)]
    assert isinstance(outcomes[place], PreconditionFailed)
    proxy.faults.clear()
    assert [(each.name, each.size) for each in (await store.find(Place)).items] == [("a", 1), ("c", 0), ("d", 0)]


async def test_without_tokens_bodies_tell(sharded: Database, proxy: FaultProxy) -> None:
    """Where documents carry no token, what a refused group stored is known by its contents."""
    store = store_of(sharded, write_tokens=False)
    fruits = [await store.create(Fruit()) for _ in range(MEMBERS)]
    strike(proxy)
    outcomes = await together([store.update(Fruit, each.fruit_id, mark(7, n == 0)) for n, each in enumerate(fruits)])
    assert told(outcomes) == [PreconditionFailed, *[Fruit] * (MEMBERS - 1)]
    proxy.faults.clear()
    assert [(await store.get(Fruit, each.fruit_id)).picks for each in fruits] == [[], *[[7]] * (MEMBERS - 1)]


async def test_an_attachment_that_is_not_there(sharded: Database) -> None:
    """CouchDB itself refuses the whole request after one shard has stored its part."""
    store = store_of(sharded)
    documents: list[dict[str, Any]] = [{"_id": f"d{n}"} for n in range(12)]
    documents[3]["_attachments"] = {"x": {"stub": True}}
    many = await store.writer.put_many([store.writer.marked(each, new=True) for each in documents])
    assert [type(each) for each in many] == [MissingStub if n == 3 else str for n in range(12)]
    again = [store.writer.marked({**each, "_id": f"e{n}"}, new=True) for n, each in enumerate(documents)]
    alone = await together([store.writer.put(each) for each in again])
    assert told(alone) == [MissingStub if n == 3 else str for n in range(12)]
    assert (await sharded.revision("d0"), await sharded.revision("e11")) == (many[0], alone[11])


async def test_bulk_docs_says_which_may_be_stored(sharded: Database) -> None:
    """The client's error has the ids of all, since some of them are; a document alone is not in doubt."""
    stored: list[str] = []
    for attempt in range(100):  # CouchDB may hear the refusal before any of the other shards has stored its part
        documents: list[dict[str, Any]] = [{"_id": f"d{attempt}-{n}"} for n in range(12)]
        documents[3]["_attachments"] = {"x": {"stub": True}}
        with pytest.raises(MissingStub) as caught:
            await sharded.bulk_docs(documents)
        assert caught.value.in_doubt == tuple(each["_id"] for each in documents)
        stored = [row.id for row in (await sharded.all_docs(startkey=f"d{attempt}-", endkey=f"d{attempt}.")).rows]
        if stored:
            break
    assert 0 < len(stored) < 12
    with pytest.raises(MissingStub) as caught:
        await sharded.bulk_docs(documents[3:4])
    assert caught.value.in_doubt == ()


async def test_a_database_that_is_not_there_is_said_to_be_missing(couch: Couch) -> None:
    """Not that the outcome is unknown: nothing can be stored where no database is."""
    store = store_of(couch[f"none-{uuid.uuid4().hex}"])
    outcomes = await together([store.create(Fruit()) for _ in range(MEMBERS)])
    assert told(outcomes) == [NotFound] * MEMBERS


@pytest.mark.parametrize("status", [401, 403])
async def test_who_may_not_even_read_has_written_nothing(sharded: Database, proxy: FaultProxy, status: int) -> None:
    """CouchDB decides that before any shard is asked: each is told at once, and not that the outcome is unknown."""
    store = store_of(sharded)
    await store.create(Fruit())
    proxy.faults[:] = [Fault(answer_status(status), path=sharded.name, times=None)]
    documents = [{"_id": f"d{n}"} for n in range(MEMBERS)]
    outcomes = await together([store.writer.put(each) for each in documents])
    assert told(outcomes) == [Unauthorized if status == 401 else Forbidden] * MEMBERS


async def test_an_outage_is_no_refusal(sharded: Database, proxy: FaultProxy) -> None:
    """Where nothing proves anything, each member of the group is told just that."""
    store = store_of(sharded)
    strike(proxy, 503)
    proxy.faults.append(Fault(answer_status(503), path="_bulk_get", times=None))
    outcomes = await together([store.create(Fruit(color=POISON)) for _ in range(MEMBERS)])
    assert told(outcomes) == [OutcomeUnknown] * MEMBERS
    assert all(isinstance(each.__cause__, Unavailable) for each in outcomes)
