"""Many writes at once: each item has the outcome that the single call would have had."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.store.models import Fruit, Note, Person, Place
from tornado_couch import (
    Couch,
    Database,
    DocumentExists,
    DocumentNotFound,
    Retry,
    RevisionMismatch,
    Store,
    install,
)
from tornado_couch.couch.bulk import BulkResult, BulkResults
from tornado_couch.errors import Forbidden, InvalidDocument, OutcomeUnknown, TooLarge, Unavailable
from tornado_couch.store import Creation, Deletion, Update


@pytest.fixture
async def store(database: Database) -> Store:
    await install(database.server, database.name, [Fruit, Person, Place, Note])  # type: ignore[arg-type]
    return Store(database)


@pytest.fixture
async def other_process(server_url: str, store: Store) -> AsyncIterator[Store]:
    """A store with a client of its own; those of one client take turns."""
    async with Couch(server_url) as couch:
        yield Store(couch[store.database.name])


def requests_of(store: Store, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The templates of the requests that are sent from now on."""
    sent: list[str] = []
    exchange = store.database._exchange
    call = exchange.call

    async def counted(method: str, address: Any, *arguments: Any, **options: Any) -> Any:
        sent.append(f"{method} {address.template}")
        return await call(method, address, *arguments, **options)

    monkeypatch.setattr(exchange, "call", counted)
    return sent


async def test_new_models_are_stored_with_one_request_for_ids_and_one_write(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred new documents take two requests, and each has its id, revision, key and time stamps."""
    sent = requests_of(store, monkeypatch)
    made = await store.create_many(Fruit, [Fruit(color=f"c{n}") for n in range(100)])
    assert sent == ["GET /_uuids", "POST /{db}/_bulk_docs"]
    for n, fruit in enumerate(made):
        assert isinstance(fruit, Fruit)
        assert fruit._rev
        assert fruit.fruit_id == fruit._id
        again = await store.get(Fruit, fruit.fruit_id) if n % 25 == 0 else fruit
        assert (again.color, again._rev, again.created_on) == (f"c{n}", fruit._rev, fruit.updated_on)


async def test_a_unique_key_is_taken_once(store: Store) -> None:
    """Known before or twice in one call: the later one is `DocumentExists`, the others are stored."""
    await store.create(Place(name="x"))
    found = await store.create_many(Place, [Place(name="a"), Place(name="x"), Place(name="a", size=2), Place(name="b")])
    assert [type(each) for each in found] == [Place, DocumentExists, DocumentExists, Place]
    assert (await store.get(Place, "a")).size == 0


async def test_natural_keys_are_looked_up_with_one_query(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that only a view can tell is refused when it is known; one query asks for all of them."""
    await store.create(Person(email="known@x"))
    sent = requests_of(store, monkeypatch)
    people = [Person(email=name) for name in ("a@x", "known@x", "b@x", "a@x")]
    found = await store.create_many(Person, people)
    assert [type(each) for each in found] == [Person, DocumentExists, Person, DocumentExists]
    assert len([each for each in sent if "_view" in each]) == 1


async def test_what_the_database_refuses_is_refused_alone(store: Store) -> None:
    """`validate_doc_update` stops one document; the others are stored."""
    source = "function (doc) { if (doc.color === 'black') throw({forbidden: 'no black'}); }"
    await store.database.put({"_id": "_design/guard", "language": "javascript", "validate_doc_update": source})
    found = await store.create_many(Fruit, [Fruit(color="red"), Fruit(color="black"), Fruit(color="blue")])
    assert [type(each) for each in found] == [Fruit, Forbidden, Fruit]


async def test_a_document_that_spoils_the_request_is_refused_alone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CouchDB refuses a whole `_bulk_docs` for one document that is too large: the rest is stored singly."""

    async def spoiled(documents: Any) -> Any:
        error = TooLarge(413, "document_too_large", "x")
        error.in_doubt = tuple(each["_id"] for each in documents)
        raise error

    async def put(document: Any, put: Any = store.database.put) -> Any:
        if document["color"] == "large":
            raise TooLarge(413, "document_too_large", "x")
        return await put(document)

    monkeypatch.setattr(store.database, "bulk_docs", spoiled)
    monkeypatch.setattr(store.writer._access, "put_alone", put)
    found = await store.create_many(Fruit, [Fruit(color="red"), Fruit(color="large")])
    assert [type(each) for each in found] == [Fruit, TooLarge]


async def test_mixed_operations_take_one_read_and_one_write(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Creating, changing and deleting different documents is one `_bulk_get` and one `_bulk_docs`."""
    for name in ("a", "b"):
        await store.create(Place(name=name))
    sent = requests_of(store, monkeypatch)
    found = await store.write_many(
        Place,
        [Creation(Place(name="c")), Update("a", _grown), Deletion("b"), Update("none", _grown), Deletion("no")],
    )
    assert [type(each) for each in found] == [Place, Place, Place, DocumentNotFound, DocumentNotFound]
    assert sent == ["POST /{db}/_bulk_get", "POST /{db}/_bulk_docs"]
    assert (await store.get(Place, "a")).size == 1
    with pytest.raises(DocumentNotFound):
        await store.get(Place, "b")


async def test_operations_on_one_document_are_done_in_order(store: Store) -> None:
    """Each sees what the one before left: deleted and created again, changed twice."""
    await store.create(Person(email="p@x", age=5))
    found = await store.write_many(
        Person,
        [
            Update("p@x", _older),
            Update("p@x", _older),
            Deletion("p@x"),
            Update("p@x", _older),
            Creation(Person(email="p@x", age=1)),
            Creation(Person(email="p@x")),
        ],
    )
    assert [type(each) for each in found] == [Person, Person, Person, DocumentNotFound, Person, DocumentExists]
    assert [each.age for each in found if isinstance(each, Person)][:3] == [6, 7, 7]
    assert (await store.get(Person, "p@x")).age == 1


async def test_an_expected_revision_guards_each_operation(store: Store) -> None:
    """A stale expectation is `RevisionMismatch` with the current revision, and nothing is written."""
    place = await store.create(Place(name="a"))
    found = await store.write_many(
        Place,
        [
            Update("a", _grown, expected=lambda _: False),
            Deletion("a", expected=lambda _: False),
            Update("a", _grown, expected=lambda revision: revision == place._rev),
        ],
    )
    assert [type(each) for each in found] == [RevisionMismatch, RevisionMismatch, Place]
    assert isinstance(found[0], RevisionMismatch)
    assert found[0].current == place._rev


@pytest.mark.parametrize("guarded", [False, True])
async def test_a_conflict_is_tried_again_unless_a_revision_is_expected(
    store: Store, other_process: Store, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """Another writer between read and write: done all the same, or `RevisionMismatch` with If-Match's meaning."""
    for name in ("a", "b"):
        await store.create(Place(name=name))
    bulk_docs = store.database.bulk_docs

    async def raced(documents: Any) -> Any:
        for name in ("a", "b"):
            await other_process.update(Place, name, _grown)
        return await bulk_docs(documents)

    monkeypatch.setattr(store.database, "bulk_docs", raced)
    expected = (lambda _: True) if guarded else None
    found = await store.write_many(Place, [Update("a", _grown, expected=expected), Deletion("b", expected=expected)])
    assert [type(each) for each in found] == ([RevisionMismatch] * 2 if guarded else [Place, Place])
    assert (await store.get(Place, "a")).size == (1 if guarded else 2)


async def test_one_unreadable_document_spoils_no_other(store: Store) -> None:
    """A stored document that does not fit its model is that item's `InvalidDocument`."""
    await store.create(Place(name="good"))
    await store.database.put({"_id": "place:bad", "type": "place_v1.0", "name": "bad", "size": "huge"})
    found = await store.write_many(Place, [Update("bad", _grown), Update("good", _grown)])
    assert [type(each) for each in found] == [InvalidDocument, Place]


async def test_documents_from_elsewhere_are_found_by_their_key(store: Store) -> None:
    """A generated key that is not the document's id is looked up in the view."""
    await store.database.put({"_id": "other", "type": "fruit_v1.0", "fruit_id": "f1", "color": "red"})
    found = await store.write_many(Fruit, [Deletion("f1"), Deletion("_design/fruit_by_color"), Deletion("")])
    assert [type(each) for each in found] == [Fruit, DocumentNotFound, DocumentNotFound]


async def test_a_document_that_is_not_there_can_be_made(store: Store) -> None:
    """`absent` takes the place of `DocumentNotFound`."""
    found = await store.write_many(
        Place, [Update("new", _grown, absent=lambda: store.create(Place(name="new"))), Update("new", _grown)]
    )
    assert [each.size for each in found if isinstance(each, Place)] == [0, 1]


async def test_what_a_change_raises_is_its_own_outcome(store: Store) -> None:
    """An exception of one item's function ends that item alone."""
    for name in ("a", "b"):
        await store.create(Place(name=name))

    def boom(_: Place) -> None:
        raise LookupError("no")

    found = await store.write_many(Place, [Update("a", boom), Update("b", _grown)])
    assert [type(each) for each in found] == [LookupError, Place]


async def test_an_item_that_couchdb_fails_at_is_left_open(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own failure at one document, again and again, is told as such, never as a success."""

    async def failing(documents: Any) -> BulkResults:
        return BulkResults([BulkResult(each["_id"], None, "internal_server_error", "x") for each in documents])

    monkeypatch.setattr(store.database, "bulk_docs", failing)
    with pytest.raises(OutcomeUnknown):
        await Store(store.database, retry=Retry(patience=0)).create_many(Note, [Note(text="a")])


@pytest.mark.parametrize("at", ["read", "write"])
async def test_an_outage_in_the_middle_hides_nothing_that_was_done(
    store: Store, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """Where later operations on a document cannot be carried out, the earlier ones have their outcomes."""
    await store.create(Place(name="a"))
    name, calls = ("bulk_get_within" if at == "read" else "bulk_docs"), 0
    call = getattr(store.database, name)

    async def failing(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise Unavailable("down", sent=False)
        return await call(*arguments, **options)

    monkeypatch.setattr(store.database, name, failing)
    found = await store.write_many(Place, [Update("a", _grown), Update("a", _grown), Deletion("a")])
    assert [type(each) for each in found] == [Place, Unavailable, Unavailable]
    monkeypatch.undo()
    assert (await store.get(Place, "a")).size == 1


async def test_where_one_of_many_may_be_stored_the_outage_says_so(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several outcomes of an outage the one that leaves something open is raised."""

    async def put_many(_: Any) -> list[Exception]:
        return [Unavailable("down", sent=False), OutcomeUnknown("perhaps")]

    monkeypatch.setattr(store.writer, "put_many", put_many)
    with pytest.raises(OutcomeUnknown):
        await store.create_many(Note, [Note(text="a"), Note(text="b")])


async def test_parallel_bulk_writes_of_one_unique_key_store_it_once(store: Store) -> None:
    """However many try at once, one gets the document and the others `DocumentExists`."""
    tries = await asyncio.gather(*(store.create_many(Place, [Place(name="one", size=n)]) for n in range(8)))
    kinds = sorted(type(each[0]).__name__ for each in tries)
    assert kinds == ["DocumentExists"] * 7 + ["Place"]


def _grown(place: Place) -> None:
    place.size += 1


def _older(person: Person) -> None:
    person.age += 1
