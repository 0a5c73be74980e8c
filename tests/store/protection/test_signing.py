"""Signed documents in a real database: what is not the service's own is found, whatever was done to it."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from tests.security.kinds import KEYCZAR, key_set
from tests.store.models import Fruit, Place
from tornado_couch import Couch, Database, DocumentNotFound, Model, RevisionMismatch, Store, install
from tornado_couch.errors import Conflict, InvalidSignature, NotFound, OutcomeUnknown, Unavailable
from tornado_couch.security import KeyRing, Scheme, as_keys, keyczar, sign_document, verify_document
from tornado_couch.security.signing import CLASSIC_PROPERTY
from tornado_couch.store import Creation, Deletion, Update

RING = KeyRing.create()


@pytest.fixture(params=["content", "history"])
async def store(database: Database, request: pytest.FixtureRequest) -> Store:
    """A store that signs, once with each way to verify."""
    await install(database.server, database.name, [Fruit, Place])  # type: ignore[arg-type]
    return Store(database, signer=RING, verify=request.param)


async def fault(store: Store, key: str, cls: type[Any] = Place) -> str:
    """What a read finds."""
    with pytest.raises(InvalidSignature) as found:
        await store.get(cls, key)
    return found.value.reason.value


async def leaf(store: Store, document_id: str) -> dict[str, Any]:
    """The one leaf of a document, a tombstone as well, with its history."""
    leaves = (await store.database.bulk_get([document_id], revs=True))[0]
    assert len(leaves) == 1
    assert leaves[0].document is not None
    return leaves[0].document


async def assert_signed(store: Store, document_id: str) -> None:
    found = await leaf(store, document_id)
    verify_document(found, database=store.database.name, verifier=RING, revisions=found["_revisions"])


def place_id(name: str) -> str:
    found = Place.__couch__.document_id(name)  # type: ignore[union-attr]
    assert found is not None
    return found


async def test_what_each_write_leaves_verifies(store: Store) -> None:
    """Create, update, replace and delete, and a create over the tombstone that a delete left, twice."""
    for _ in range(2):
        place = await store.create(Place(name="a"))
        await assert_signed(store, place_id("a"))
        place = await store.update(Place, "a", lambda latest: setattr(latest, "size", 1))
        place.size = 2
        await store.replace(place)
        await assert_signed(store, place_id("a"))
        assert (await store.get(Place, "a")).size == 2
        await store.delete(Place, "a")
        await assert_signed(store, place_id("a"))
        with pytest.raises(DocumentNotFound):
            await store.get(Place, "a")


async def test_what_bulk_writes_leave_verifies(store: Store) -> None:
    """Each operation, over tombstones as well."""
    for _ in range(2):
        await store.create_many(Place, [Place(name="a"), Place(name="b")])
        outcomes = await store.write_many(
            Place,
            [
                Creation(Place(name="c")),
                Update("a", lambda latest: setattr(latest, "size", 1)),
                Deletion("b"),
                Deletion("a"),
                Deletion("c"),
            ],
        )
        assert [each for each in outcomes if isinstance(each, Exception)] == []
        for name in "abc":
            await assert_signed(store, place_id(name))


async def test_a_tombstone_that_came_in_between_is_signed_over(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others created and deleted it after this writer had looked for a tombstone."""

    async def none(ids: Any) -> dict[str, str]:
        return {}

    await store.create(Place(name="a"))
    await store.delete(Place, "a")
    monkeypatch.setattr(store._guard, "tombstones", none)
    place = await store.create(Place(name="a"))
    await assert_signed(store, place_id("a"))
    await store.delete(Place, "a")
    assert (await store.create_many(Place, [place]))[0] is place
    await assert_signed(store, place_id("a"))


async def test_a_document_that_cannot_be_signed_for_its_place_is_left_open(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stored, and no read accepts it: neither success nor "nothing was written" would be true."""

    async def none(ids: Any) -> dict[str, str]:
        return {}

    await store.create(Place(name="a"))
    await store.delete(Place, "a")
    monkeypatch.setattr(store._guard, "tombstones", none)
    put, puts = store.writer.put, 0

    async def once(document: Any) -> str:
        nonlocal puts
        puts += 1
        if puts > 1:
            raise Unavailable("down", sent=False)
        return await put(document)

    monkeypatch.setattr(store.writer, "put", once)
    with pytest.raises(OutcomeUnknown):
        await store.create(Place(name="a"))
    assert await fault(store, "a") == "rolled back"


async def test_each_try_signs_the_revision_that_it_replaces(store: Store) -> None:
    """Ten writers of one document meet in conflicts, and every revision verifies."""
    await store.create(Place(name="a"))

    def grow(latest: Place) -> None:
        latest.size += 1

    await asyncio.gather(*(store.update(Place, "a", grow) for _ in range(10)))
    assert (await store.get(Place, "a")).size == 10
    await assert_signed(store, place_id("a"))


async def test_what_was_done_behind_the_back_is_found_by_its_reason(store: Store) -> None:
    """Altered, unsigned, moved, rolled back, deleted: none is served, changed or deleted; each is counted."""
    database = store.database
    for name in ("altered", "unsigned", "moved", "rolled back", "deleted"):
        await store.create(Place(name=name, size=1))
        await store.update(Place, name, lambda latest: setattr(latest, "size", 2))
    held = {name: await database.get(place_id(name)) for name in ("altered", "unsigned", "moved", "rolled back")}
    first = await leaf(store, place_id("rolled back"))
    older = await database.get(place_id("rolled back"), rev=f"1-{first['_revisions']['ids'][1]}")
    await database.put({**held["altered"], "size": 3})
    await database.put({k: v for k, v in held["unsigned"].items() if k != "tornado_couch_signature"})
    await database.put({**held["altered"], "_id": place_id("moved"), "_rev": held["moved"]["_rev"]})
    await database.put({**older, "_rev": held["rolled back"]["_rev"]})
    await database.delete(place_id("deleted"), (await database.get(place_id("deleted")))["_rev"])
    for name in ("altered", "unsigned", "moved", "rolled back", "deleted"):
        assert await fault(store, name) == name
        with pytest.raises(InvalidSignature):
            await store.update(Place, name, lambda _: None)
        with pytest.raises(InvalidSignature):
            await store.delete(Place, name)
        (outcome,) = await store.write_many(Place, [Deletion(name)])
        assert isinstance(outcome, InvalidSignature)
        assert store.signature_failures[name] == 4


async def test_a_list_leaves_out_what_does_not_verify(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """It is counted in the page, and logged without anything of the document."""
    for name in ("one", "secret-two"):
        await store.create(Place(name=name))
    held = await store.database.get(place_id("secret-two"))
    await store.database.put({**held, "size": 3})
    with caplog.at_level(logging.ERROR, "tornado_couch.store"):
        page = await store.find(Place)
    assert [each.name for each in page.items] == ["one"]
    assert page.withheld == 1
    assert store.database.name in caplog.text
    assert "secret-two" not in caplog.text


async def test_a_replace_of_an_older_revision_is_refused_as_without_signatures(store: Store) -> None:
    """The signature does not hide the conflict."""
    place = await store.create(Place(name="a"))
    await store.update(Place, "a", lambda latest: setattr(latest, "size", 1))
    with pytest.raises(RevisionMismatch):
        await store.replace(place)


async def test_the_history_proves_the_parent(database: Database) -> None:
    """By scheme v2 a body signed for another revision of the same generation passes by its contents alone."""
    await install(database.server, database.name, [Place])  # type: ignore[arg-type]
    store = Store(database, signer=RING, scheme=Scheme.V2)
    await store.create(Place(name="a"))
    held = await database.get(place_id("a"))
    forged = sign_document(
        {**held, "_rev": "1-0000"}, database=database.name, parent="1-0000", signer=RING, scheme=Scheme.V2
    )
    await database.put({**forged, "_rev": held["_rev"]})
    assert (await store.get(Place, "a")).name == "a"
    historian = Store(database, signer=RING, verify="history", scheme=Scheme.V2)
    assert await fault(historian, "a") == "rolled back"
    assert (await historian.find(Place)).withheld == 1


class Member(Model, type="member_details_v2.13"):
    empty: str


class OldFruit(Model, type="fruit_v1.0", key="fruit_id"):
    fruit_id: str


class TestClassic:
    """What tor-async-couchdb signed."""

    @pytest.fixture
    async def classic(self, database: Database) -> Store:
        await install(database.server, database.name, [OldFruit, Member])  # type: ignore[arg-type]
        signer = key_set(keyczar.Signer, "hmac")
        return Store(database, signer=signer, scheme=Scheme.CLASSIC)

    samples = json.loads((KEYCZAR / "signed_documents.json").read_text())["documents"]

    async def test_its_documents_are_read_and_written_the_same(self, classic: Store) -> None:
        """Byte for byte: writing one back unchanged gives the signature that it had."""
        for sample in self.samples:
            await classic.database.put({name: value for name, value in sample.items() if name != "_rev"})
            cls: Any = Member if sample["_id"] == "member-1" else OldFruit
            key = sample["_id"] if cls is Member else sample["fruit_id"]
            if json.dumps((await classic.database.get(sample["_id"])).get("neg")) != json.dumps(sample.get("neg")):
                # CouchDB 3.5 stores -0.0 as 0.0, and this scheme signs the text: such a document never verified.
                assert await fault(classic, key, cls) == "altered"
                continue
            found = await classic.get(cls, key)
            await classic.replace(found)
            written = await classic.database.get(sample["_id"])
            assert written[CLASSIC_PROPERTY] == sample[CLASSIC_PROPERTY]
            await classic.database.put({**written, "more": 1})
            assert await fault(classic, key, cls) == "altered"

    async def test_deletions_are_signed(self, classic: Store) -> None:
        """And one that is not is found."""
        await classic.create(Member(empty=""))
        gone = await classic.create(Member(empty=""))
        await classic.delete(Member, gone._id)
        with pytest.raises(DocumentNotFound):
            await classic.get(Member, gone._id)
        killed = await classic.create(Member(empty=""))
        await classic.database.delete(killed._id or "", killed._rev or "")
        assert await fault(classic, killed._id or "", Member) == "deleted"

    async def test_a_store_of_the_new_scheme_takes_it_only_when_told(self, classic: Store) -> None:
        """And writes the new one over it."""
        member = await classic.create(Member(empty=""))
        keys = as_keys(key_set(keyczar.Signer, "hmac"))
        strict = Store(classic.database, signer=keys)
        assert await fault(strict, member._id or "", Member) == "unsigned"
        both = Store(classic.database, signer=keys, accept=list(Scheme))
        await both.update(Member, member._id, lambda latest: setattr(latest, "empty", "x"))
        assert (await strict.get(Member, member._id)).empty == "x"


def test_another_word_for_verify_is_refused() -> None:
    """So that a slip does not mean less than was meant."""
    with pytest.raises(ValueError, match="history"):
        Store(Couch("http://127.0.0.1:1")["orchard"], signer=RING, verify="all")  # type: ignore[arg-type]


async def test_documents_that_are_no_models_are_signed_and_verified_too(store: Store) -> None:
    """What a service keeps beside its models: new ones, over tombstones as well, and no second one of an id."""
    for _ in range(2):
        await store.store_new({"_id": "note", "type": "note_v1.0", "text": "x"})
        await assert_signed(store, "note")
        with pytest.raises(Conflict):
            await store.store_new({"_id": "note", "text": "y"})
        held = await store.stored("note")
        assert held["text"] == "x"
        await store.database.put(store._guard.tombstone(held))
        with pytest.raises(NotFound, match="deleted"):
            await store.stored("note")
    with pytest.raises(NotFound, match="missing"):
        await store.stored("another")
    await store.database.put({"_id": "another", "text": "z"})
    with pytest.raises(InvalidSignature):
        await store.stored("another")
