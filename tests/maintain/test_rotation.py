"""Rotation of what is encrypted, hashed and classified by classes of one's own, in real databases."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import Annotated, Any

import pytest

from tests.maintain.test_protection import findings, rotated
from tests.security.kinds import key_set
from tornado_couch import (
    Classification,
    Database,
    Encrypted,
    Hashed,
    Indexed,
    Key,
    Model,
    Public,
    Store,
    UpdatedOn,
    install,
)
from tornado_couch.errors import KeySetError, LegacyAlgorithm, NotProtected
from tornado_couch.maintain.rotate import Rotation
from tornado_couch.models import Place, upgrade
from tornado_couch.security import KeyChain, KeyczarKeys, KeyRing, Purpose, keyczar
from tornado_couch.store import Reprotection

PEPPER = b"sixteen bytes or more"


class Turned(Classification):
    """A class of the tests' own: the number says how far each letter was turned, 3 today."""

    algorithm = "turning"

    def protect(self, value: Any, place: Place) -> Any:
        return "3:" + "".join(chr(ord(each) + 3) for each in value)

    def reveal(self, stored: Any, place: Place) -> Any:
        turns, _, text = stored.partition(":")
        return "".join(chr(ord(each) - int(turns)) for each in text)

    def is_current(self, stored: Any, place: Place) -> bool:
        return bool(stored.startswith("3:"))

    def is_protected(self, stored: Any) -> bool:
        return ":" in stored


class Guest(Model, type="guest_v1.0", key="guest_id"):
    guest_id: Key
    name: str = ""
    visits: int = 0
    pin: Annotated[str | None, Hashed(cost=4)] = None
    token: Annotated[str | None, Hashed("sha3-512", pepper=PEPPER), Indexed()] = None
    email: Annotated[str | None, Encrypted(searchable=True)] = None
    notes: Annotated[Any, Encrypted()] = None
    room: Annotated[str | None, Turned()] = None
    updated_on: UpdatedOn


class OldGuest(Model, type="guest_v1.0", key="guest_id"):
    """The model as it was before anybody judged it."""

    guest_id: Key
    name: str = ""
    visits: int = 0
    pin: str | None = None
    token: Annotated[str | None, Indexed()] = None
    email: str | None = None
    notes: Any = None
    room: str | None = None
    updated_on: UpdatedOn


OLD, NEW = KeyRing.create(), KeyRing.create()
BOTH = KeyChain(NEW, OLD)
VALUES: dict[str, Any] = {"pin": "1234", "token": "t", "email": "ann@b", "notes": {"a": [None, 1.5]}}


@pytest.fixture
async def place(database: Database) -> Database:
    """A database with the views of guests."""
    await install(database.server, database.name, [Guest])  # type: ignore[arg-type]
    return database


def stores(database: Database, *, signed: bool) -> tuple[Store, Store]:
    """A store with the old keys, and one with nothing but the new ones."""
    one, other = ({"signer": keys} if signed else {} for keys in (OLD, NEW))
    return Store(database, crypter=OLD, **one), Store(database, crypter=NEW, **other)


async def shown(store: Store, key: str) -> dict[str, Any]:
    """What a document's model has of the values."""
    guest = await store.get(Guest, key)
    assert await guest.verify("pin", "1234")
    assert await guest.verify("token", "t")
    return {"email": guest.email, "notes": guest.notes}


WANTED = {"email": "ann@b", "notes": {"a": [None, 1.5]}}


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "not signed"])
@pytest.mark.parametrize("models", [[Guest], []], ids=["with models", "without"])
async def test_the_old_keys_can_go(place: Database, signed: bool, models: list[Any]) -> None:
    """Ciphertexts and blind indexes are of the new key, hashes are as they were, a second run has nothing to do."""
    before, after = stores(place, signed=signed)
    guest = await before.create(Guest(**VALUES))
    await before.create(Guest(name="plain"))
    held = await place.get(guest.guest_id)
    rotation = Rotation(place, BOTH if signed else None, protect=Reprotection(BOTH, models=models))
    done = await rotated(rotation)
    assert (done.renewed, done.findings) == (2 if signed else 1, [])
    now = await place.get(guest.guest_id)
    assert await shown(after, guest.guest_id) == WANTED
    assert [each.guest_id for each in (await after.find(Guest, by="email", key="ann@b")).items] == [guest.guest_id]
    assert [each.guest_id for each in (await after.find(Guest, by="token", key="t")).items] == [guest.guest_id]
    assert {name for name in held if held[name] != now[name]} - {"_rev", "tornado_couch_signature"} == {
        "email",
        "email_blind_index",
        "notes",
    }
    assert list(held) == list(now)
    again = await rotated(rotation)
    assert (again.renewed, again.current) == (0, 2)
    if signed:
        assert await findings(place, NEW) == []


async def test_a_signed_database_without_encryption_needs_no_keys_for_it(place: Database) -> None:
    """Keys that only sign do; with something encrypted there that is an error, unless it is to be left."""
    signing = KeyRing.create(Purpose.SIGN)
    await Store(place, signer=signing).create(OldGuest(name="x"))
    new = KeyChain(KeyRing.create(Purpose.SIGN), signing)
    assert (await rotated(Rotation(place, new, protect=Reprotection(new)))).renewed == 1
    await Store(place, signer=new, crypter=OLD).create(Guest(email="a@b"))
    newest = KeyChain(KeyRing.create(Purpose.SIGN), new)
    with pytest.raises(KeySetError, match="its purpose is to sign"):
        await rotated(Rotation(place, newest, protect=Reprotection(newest)))
    assert (await rotated(Rotation(place, newest))).renewed == 2


async def test_classes_of_ones_own_are_made_anew(place: Database) -> None:
    """Where the models are known; what they call current stays."""
    store = Store(place, crypter=OLD)
    guest = await store.create(Guest(room="quiet"))
    document = await place.get(guest.guest_id)
    await place.put({**document, "room": "1:rvjfu"})
    assert (await rotated(Rotation(place, None, protect=Reprotection(BOTH)))).renewed == 0
    rotation = Rotation(place, None, protect=Reprotection(BOTH, models=[Guest]))
    assert (await rotated(rotation)).renewed == 1
    assert (await place.get(guest.guest_id))["room"] == document["room"]
    assert (await rotated(rotation)).renewed == 0


@pytest.mark.parametrize("models", [[Guest], []], ids=["with models", "without"])
async def test_what_does_not_decrypt_is_reported_and_left(place: Database, models: list[Any]) -> None:
    """Moved, altered, or of unknown keys; what is well beside it is done, and signatures are made anew all the same."""
    before, after = stores(place, signed=True)
    ids = [(await before.create(Guest(email=f"{number}@b"))).guest_id for number in range(4)]
    held = [await place.get(each) for each in ids]
    stranger = await Store(place, crypter=KeyRing.create(), signer=OLD).create(Guest(email="x@b"))
    for index, text in ((0, held[3]["email"]), (1, held[1]["email"][:-2])):
        document = {name: value for name, value in held[index].items() if name != "tornado_couch_signature"}
        await place.put(before._guard.signed({**document, "email": text}))
    done = await rotated(Rotation(place, BOTH, protect=Reprotection(BOTH, models=models)))
    assert {found.id: found.reason for found in done.findings} == {
        ids[0]: "not decryptable",
        ids[1]: "not decryptable",
        stranger.guest_id: "unknown key",
    }
    assert [(await after.get(Guest, each)).email for each in ids[2:]] == ["2@b", "3@b"]
    assert (await place.get(ids[0]))["email"] == held[3]["email"]
    assert await findings(place, NEW) == []


async def test_a_blind_index_of_unknown_keys_is_reported_where_no_model_is_known(place: Database) -> None:
    """A model says that the property is a blind index, so that it is made anew whatever it was."""
    guest = await Store(place, crypter=OLD, indexer=KeyRing.create()).create(Guest(email="a@b"))
    done = await rotated(Rotation(place, None, protect=Reprotection(BOTH)))
    assert [(found.id, found.reason) for found in done.findings] == [(guest.guest_id, "unknown key")]
    done = await rotated(Rotation(place, None, protect=Reprotection(BOTH, models=[Guest])))
    assert (done.renewed, done.findings) == (1, [])
    assert len((await Store(place, crypter=NEW).find(Guest, by="email", key="a@b")).items) == 1


async def test_text_that_only_looks_encrypted_is_a_value_where_the_model_says_so(place: Database) -> None:
    """A client's text in an unclassified property; without the model it is reported, never silently left."""
    guest = await Store(place, crypter=OLD).create(Guest(name="encrypted.v1:nothing of the kind"))
    done = await rotated(Rotation(place, None, protect=Reprotection(BOTH, models=[Guest])))
    assert (done.renewed, done.findings) == (0, [])
    done = await rotated(Rotation(place, None, protect=Reprotection(BOTH)))
    assert [found.id for found in done.findings] == [guest.guest_id]


async def test_documents_with_a_signature_are_not_written_without_one(place: Database) -> None:
    """They would be taken for altered afterwards."""
    before, _ = stores(place, signed=True)
    guest = await before.create(Guest(**VALUES))
    done = await rotated(Rotation(place, None, protect=Reprotection(BOTH)))
    assert [(found.id, found.reason) for found in done.findings] == [(guest.guest_id, "signed")]
    assert await shown(before, guest.guest_id) == WANTED


async def test_documents_of_older_versions_are_judged_as_their_version_was(place: Database) -> None:
    """What was in the clear then is no finding, what was encrypted then is made anew, and neither is upgraded."""

    class FirstGuest(Model, type="visitor_v1.0"):
        mail: Annotated[str, Encrypted(searchable=True)]
        name: str

    class Visitor(Model, type="visitor_v2.0"):
        email: Annotated[str, Encrypted(searchable=True)]
        name: Annotated[str, Encrypted()]

        @upgrade("visitor_v1.0", to="visitor_v2.0", was={"mail": Encrypted(searchable=True), "name": Public()})
        @staticmethod
        def rename(found: dict[str, Any]) -> dict[str, Any]:
            return {"email": found.pop("mail"), **found}

    first = await Store(place, crypter=OLD).create(FirstGuest(mail="a@b", name="Ann"))
    second = await Store(place, crypter=OLD).create(Visitor(email="c@d", name="Bob"))
    copy = await place.get(second._id or "")
    del copy["_rev"]
    await place.put({**copy, "_id": "later", "type": "visitor_v9.0"})
    rotation = Rotation(place, None, protect=Reprotection(BOTH, models=[Visitor]))
    done = await rotated(rotation)
    assert (done.renewed, [found.id for found in done.findings]) == (2, ["later"])  # it was copied to another id
    held = await place.get(first._id or "")
    assert (held["type"], held["name"]) == ("visitor_v1.0", "Ann")
    assert (await Store(place, crypter=NEW).get(FirstGuest, first._id)).mail == "a@b"
    assert (await Store(place, crypter=NEW).get(Visitor, second._id)).name == "Bob"


async def test_leaves_that_no_read_shows_are_made_anew(place: Database) -> None:
    """Losing leaves and tombstones that hold values."""
    before, after = stores(place, signed=False)
    guest = await before.create(Guest(email="ann@b"))
    document = await place.get(guest.guest_id)
    losers = [{**document, "_rev": "1-00"}, {**document, "_rev": "1-01", "_deleted": True}]
    await place.bulk_docs(losers, new_edits=False)
    assert (await rotated(Rotation(place, None, protect=Reprotection(BOTH)))).renewed == 3
    (leaves,) = await place.bulk_get([guest.guest_id])
    assert len(leaves) == 3
    for leaf in leaves:
        assert leaf.document is not None
        assert (await after.load(Guest, leaf.document)).email == "ann@b"


async def test_an_interrupted_rotation_goes_on_where_it_was(place: Database) -> None:
    """By the sequence of its last page; from the beginning it would only pass by what is done."""
    before, after = stores(place, signed=True)
    ids = [(await before.create(Guest(email=f"{number}@b"))).guest_id for number in range(7)]
    rotation = Rotation(place, BOTH, protect=Reprotection(BOTH))
    done, tasks = 0, asyncio.all_tasks()
    async with aclosing(rotation.run(page_size=3)) as pages:
        async for page in pages:
            done += page.renewed
            if done:
                break
    assert asyncio.all_tasks() == tasks
    assert done < 7
    assert (await rotated(rotation, since=page.since, page_size=3)).renewed == 7 - done
    assert [(await after.get(Guest, each)).email for each in ids] == [f"{number}@b" for number in range(7)]


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "not signed"])
async def test_beside_writers_nothing_is_lost_or_corrupted(place: Database, signed: bool) -> None:
    """Each visit that each writer counted is there at the end, and so are all values, under the new keys alone."""
    before, after = stores(place, signed=signed)
    ids = [(await before.create(Guest(**{**VALUES, "email": f"{number}@b"}))).guest_id for number in range(8)]
    later = KeyChain(OLD, NEW)  # an instance that has not promoted the new key yet
    writers = [Store(place, crypter=keys, **({"signer": keys} if signed else {})) for keys in (BOTH, later)]
    rotation = Rotation(place, BOTH if signed else None, protect=Reprotection(BOTH, models=[Guest]))

    def visit(latest: Guest) -> None:
        latest.visits += 1
        latest.notes = latest.visits

    async def write(one: Store, key: str) -> None:
        for _ in range(5):
            await one.update(Guest, key, visit)

    await asyncio.gather(rotated(rotation, page_size=3), *(write(one, key) for one in writers for key in ids))
    done = await rotated(rotation)
    assert done.findings == []
    guests = [await after.get(Guest, key) for key in ids]
    assert [(each.visits, each.notes) for each in guests] == [(10, 10)] * len(ids)
    for number, key in enumerate(ids):
        found = await after.find(Guest, by="email", key=f"{number}@b")
        assert [each.guest_id for each in found.items] == [key]
        assert await guests[number].verify("pin", "1234")
    if signed:
        assert await findings(place, NEW) == []


class TestPlaintext:
    """Documents that are older than the classification of their properties."""

    @pytest.mark.parametrize("name", ["pin", "token", "email", "notes"])
    async def test_reading_them_is_one_clear_error(self, place: Database, name: str) -> None:
        """It names the property and the way out, and nothing of the value; lists leave them out and count them."""
        guest = await Store(place).create(OldGuest(**{name: VALUES[name]}))
        store = Store(place, crypter=OLD)
        with pytest.raises(NotProtected, match=rf"guest\.{name} is stored in the clear.*--protect-plaintext") as found:
            await store.get(Guest, guest.guest_id)
        assert "1234" not in str(found.value)
        assert (await store.find(Guest)).withheld == 1

    @pytest.mark.parametrize("signed", [True, False], ids=["signed", "not signed"])
    async def test_rotation_protects_them_when_told(self, place: Database, signed: bool) -> None:
        """Until then it reports them; afterwards they read, verify and are found like all others."""
        keys = {"signer": OLD} if signed else {}
        guest = await Store(place, **keys).create(OldGuest(**VALUES, room="quiet", name="x"))
        empty = await Store(place, **keys).create(OldGuest())
        await place.put((Store(place, **keys))._guard.signed({**await place.get(empty.guest_id), "email": None}))
        signer = BOTH if signed else None
        done = await rotated(Rotation(place, signer, protect=Reprotection(BOTH, models=[Guest])))
        assert [(found.id, found.reason) for found in done.findings] == [(guest.guest_id, "in the clear")]
        rotation = Rotation(place, signer, protect=Reprotection(BOTH, models=[Guest], plaintext=True))
        assert (await rotated(rotation)).findings == []
        _, after = stores(place, signed=signed)
        assert await shown(after, guest.guest_id) == WANTED
        assert (await after.get(Guest, empty.guest_id)).email is None
        text = json.dumps(await place.get(guest.guest_id))
        assert not [each for each in ("1234", "ann@b", "quiet", '"t"') if each in text]
        for name, value in (("email", "ann@b"), ("token", "t")):
            assert [each.name for each in (await after.find(Guest, by=name, key=value)).items] == ["x"]
        assert (await rotated(rotation)).renewed == 0

    async def test_what_was_forged_in_a_signed_database_is_not_believed(self, place: Database) -> None:
        """Only what verifies is protected: the signature says that the service wrote it in the clear."""
        guest = await Store(place, signer=OLD).create(OldGuest(email="ann@b"))
        await place.put({**await place.get(guest.guest_id), "email": "mallory@b"})
        done = await rotated(Rotation(place, OLD, protect=Reprotection(OLD, models=[Guest], plaintext=True)))
        assert [found.reason for found in done.findings] == ["altered"]
        assert (await place.get(guest.guest_id))["email"] == "mallory@b"

    async def test_what_cannot_be_hashed_is_reported(self, place: Database) -> None:
        """A number where the model has text."""
        await place.put({"_id": "one", "type": "guest_v1.0", "guest_id": "one", "pin": 1234})
        rotation = Rotation(place, None, protect=Reprotection(OLD, models=[Guest], plaintext=True))
        assert [found.reason for found in (await rotated(rotation)).findings] == ["in the clear"]


class TestKeyczar:
    """Databases that Keyczar key sets protected."""

    async def test_it_moves_to_a_ring(self, place: Database) -> None:
        """Signatures, ciphertexts and the blind indexes that its HMAC keys made; without a model as well."""
        old = KeyczarKeys(key_set(keyczar.Signer, "hmac"), key_set(keyczar.Crypter, "aes"))
        guest = await Store(place, signer=old, crypter=old).create(Guest(**VALUES))
        assert [each.guest_id for each in (await Store(place, signer=old, crypter=old).find(Guest)).items]
        keys = KeyChain(NEW, old)
        done = await rotated(Rotation(place, keys, protect=Reprotection(keys)))
        assert (done.renewed, done.findings) == (1, [])
        _, after = stores(place, signed=True)
        assert await shown(after, guest.guest_id) == WANTED
        assert len((await after.find(Guest, by="email", key="ann@b")).items) == 1

    async def test_it_writes_only_when_allowed(self, place: Database) -> None:
        """A set as the first keys."""
        await Store(place, signer=OLD).create(OldGuest(name="x"))
        refusing, writing = (key_set(keyczar.Signer, "hmac", allow_legacy=allowed) for allowed in (False, True))
        with pytest.raises(LegacyAlgorithm, match="allow_legacy"):
            await rotated(Rotation(place, KeyChain(KeyczarKeys(refusing), OLD)))
        assert (await rotated(Rotation(place, KeyChain(KeyczarKeys(writing), OLD)))).renewed == 1
