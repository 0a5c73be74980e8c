"""Classified properties in the store: hashed, encrypted, found by equality, on a real socket."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import time
from typing import Annotated, Any

import pytest
from annotated_types import MaxLen
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from tests.security.kinds import INDEXERS
from tornado_couch import (
    Bounds,
    Classification,
    Couch,
    Database,
    Encrypted,
    Hashed,
    Indexed,
    Key,
    Model,
    NoIndex,
    Query,
    Store,
    UpdatedOn,
    install,
)
from tornado_couch.errors import DecryptionFailed, KeySetError
from tornado_couch.models import Place, StoredHash, from_document
from tornado_couch.security import KeyChain, KeyRing, Purpose, is_encrypted
from tornado_couch.store import Creation, Update
from tornado_couch.store.protection.properties import Conversion, Protection

PEPPER = b"sixteen bytes or more"
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    # Of text CouchDB stores no lone surrogates.
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=8,
)


class Address(BaseModel):
    model_config = ConfigDict(extra="ignore")
    street: str


class Masked(Classification):
    """A class of the tests' own: texts are stored backward."""

    algorithm = "backward"

    def protect(self, value: Any, place: Place) -> Any:
        return value[::-1]

    def reveal(self, stored: Any, place: Place) -> Any:
        return stored[::-1]


class Guest(Model, type="guest_v1.0", key="guest_id"):
    guest_id: Key
    name: str = ""
    pin: Annotated[str | None, MaxLen(6), Hashed(cost=4)] = None
    token: Annotated[str | None, Hashed("sha3-512", pepper=PEPPER), Indexed()] = None
    email: Annotated[str | None, Encrypted(searchable=True)] = None
    other: Annotated[Any, Encrypted()] = None
    home: Annotated[Address | None, Encrypted()] = None
    room: Annotated[str | None, Masked()] = None
    updated_on: UpdatedOn


class Safe(Model, type="safe_v1.0"):
    value: Annotated[Any, Encrypted(searchable=True)]


class Login(Model, type="login_v1.0", key="name"):
    name: str
    password: Annotated[str, Hashed(cost=12)]


@pytest.fixture(scope="module")
def ring() -> KeyRing:
    return KeyRing.create(Purpose.ENCRYPT)


@pytest.fixture
async def store(database: Database, ring: KeyRing) -> Store:
    await install(database.server, database.name, [Guest, Safe, Login])  # type: ignore[arg-type]
    return Store(database, crypter=ring)


async def test_the_stored_document_holds_no_plaintext(store: Store) -> None:
    """Neither of what is hashed nor of what is encrypted, and the model has both as before."""
    guest = Guest(pin="12-456", token="tok-7f", email="ann@example.org", other={"deep": "secretive"}, room="quiet")
    created = await store.create(guest)
    document = await store.database.get(created.guest_id)
    text = json.dumps(document)  # its ids and digests hold short hexadecimal texts by chance: none is looked for
    assert not [each for each in ("12-456", "tok-7f", "ann@", "secretive", "quiet") if each in text]
    assert document["pin"].startswith("$2b$04$")
    assert is_encrypted(document["email"])
    assert is_encrypted(document["other"])
    assert document["room"] == "teiuq"
    found = await store.get(Guest, created.guest_id)
    assert (found.email, found.other, found.room) == ("ann@example.org", {"deep": "secretive"}, "quiet")
    assert isinstance(created.pin, StoredHash)  # nothing keeps what it was


async def test_verify_knows_the_hashed_value_and_no_other(store: Store) -> None:
    """By the store and by the model, for both kinds of hashes, and where nothing is stored."""
    created = await store.create(Guest(pin="123456", token="t"))
    found = await store.get(Guest, created.guest_id)
    for model in (created, found):
        assert await store.verify(model, "pin", "123456")
        assert await model.verify("token", "t")
        assert not await store.verify(model, "pin", "123457")
        assert not await store.verify(model, "pin", str(found.pin))
    assert not await store.verify(await store.create(Guest()), "pin", "")


async def test_what_did_not_change_is_stored_as_it_was(store: Store) -> None:
    """By an update, a replacement and a bulk write: the same hashes and ciphertexts; only what changed is new."""
    created = await store.create(Guest(pin="1", token="t", email="a@b", other=[1], home=Address(street="x")))
    before = await store.database.get(created.guest_id)
    same = ("pin", "token", "email", "email_blind_index", "other", "home")

    await store.update(Guest, created.guest_id, lambda guest: setattr(guest, "name", "y"))
    found = await store.get(Guest, created.guest_id)
    await store.replace(found)
    await store.write_many(Guest, [Update(created.guest_id, lambda guest: setattr(guest, "name", "z"))])
    after = await store.database.get(created.guest_id)
    assert after["name"] == "z"
    assert {name: after[name] for name in same} == {name: before[name] for name in same}

    await store.update(Guest, created.guest_id, lambda guest: setattr(guest, "email", "c@d"))
    last = await store.database.get(created.guest_id)
    assert {name for name in same if last[name] != before[name]} == {"email", "email_blind_index"}


async def test_a_value_that_was_changed_in_place_is_written(store: Store) -> None:
    """What was decrypted when the document was read is not the very object that the model has."""
    created = await store.create(Guest(other={"a": [1]}))
    await store.update(Guest, created.guest_id, lambda guest: guest.other["a"].append(2))
    found = await store.get(Guest, created.guest_id)
    assert found.other == {"a": [1, 2]}
    found.other["b"] = 3
    assert (await store.get(Guest, (await store.replace(found)).guest_id)).other == {"a": [1, 2], "b": 3}


async def test_what_was_decrypted_holds_for_that_ciphertext_alone(store: Store) -> None:
    """A stored document that was altered since is judged by what it is now; a copy of it equals a plain dict."""
    created = await store.create(Guest(email="a@b", other=1))
    found = await store.get(Guest, created.guest_id)
    original = dict(found._stored)
    assert found._stored == original
    assert type(copy.deepcopy(found)._stored) is dict
    assert pickle.loads(pickle.dumps(found._stored)) == original
    found._stored["other"] = found._stored["email"]
    written = await store.replace(found)
    assert written._stored["email"] == original["email"]
    assert written._stored["other"] not in (original["email"], original["other"])
    again = await store.get(Guest, created.guest_id)
    assert (again.email, again.other) == ("a@b", 1)


async def test_a_value_of_another_json_type_is_a_change(store: Store) -> None:
    """Python alone takes 1, 1.0 and True for equal."""
    created = await store.create(Guest(other=1))
    await store.update(Guest, created.guest_id, lambda guest: setattr(guest, "other", True))
    assert (await store.get(Guest, created.guest_id)).other is True


async def test_removing_a_value_removes_its_blind_index(store: Store) -> None:
    """Else the document would still be found by it."""
    created = await store.create(Guest(email="a@b", pin="1"))

    def empty(guest: Guest) -> None:
        guest.email = guest.pin = None

    await store.update(Guest, created.guest_id, empty)
    document = await store.database.get(created.guest_id)
    assert not {"email", "email_blind_index", "pin"} & document.keys()


async def test_what_an_encrypted_model_does_not_know_is_kept(store: Store, ring: KeyRing) -> None:
    """As in a model that is stored in the clear."""
    created = await store.create(Guest(home=Address(street="x")))
    document = await store.database.get(created.guest_id)
    place = Place(created.guest_id, "guest", "home", ring, ring)
    document["home"] = Encrypted().protect({"street": "x", "city": "later version"}, place)
    await store.database.put(document)
    await store.update(Guest, created.guest_id, lambda guest: setattr(guest.home, "street", "y"))
    stored = (await store.database.get(created.guest_id))["home"]
    assert Encrypted().reveal(stored, place) == {"street": "y", "city": "later version"}


def test_every_json_value_comes_back_and_is_found(embedded_couch_url: str, ring: KeyRing) -> None:
    """Through the database, encrypted; null, false, numbers and nested ones alike."""

    @settings(max_examples=60, deadline=None)
    @given(values=st.lists(JSON, min_size=1, max_size=5))
    def law(values: list[Any]) -> None:
        asyncio.run(_come_back(embedded_couch_url, ring, values))

    law()


async def _come_back(url: str, ring: KeyRing, values: list[Any]) -> None:
    async with Couch(url) as couch:
        name = f"law-{time.monotonic_ns()}"
        await couch.create_database(name)
        try:
            await install(couch, name, [Safe])
            store = Store(couch[name], crypter=ring)
            for value in values:
                created = await store.create(Safe(value=value))
                assert json.dumps((await store.get(Safe, created._id)).value) == json.dumps(value)
                found = (await store.find(Safe, by="value", key=value)).items
                assert created._id in [each._id for each in found]
                assert all(each.value == value for each in found)
        finally:
            await couch.delete_database(name)


@pytest.mark.parametrize("where", ["another document", "another property", "another type"])
async def test_a_ciphertext_moved_elsewhere_does_not_decrypt(store: Store, where: str) -> None:
    """The document is refused as a whole, and counted as withheld in a list."""
    one = await store.create(Guest(email="a@b", other="x"))
    ciphertext = (await store.database.get(one.guest_id))["email"]
    if where == "another type":
        safe = await store.create(Safe(value="x"))
        document = await store.database.get(safe._id or "")
        document["value"] = ciphertext
    else:
        two = await store.create(Guest(email="c@d", other="y"))
        document = await store.database.get(two.guest_id)
        document["email" if where == "another document" else "other"] = ciphertext
    await store.database.put(document)
    cls, key = (Safe if where == "another type" else Guest), document["_id"]
    with pytest.raises(DecryptionFailed):
        await store.get(cls, key)
    assert (await store.find(cls)).withheld == 1


async def test_plaintext_written_past_the_store_is_not_taken_for_a_value(store: Store) -> None:
    """Whoever has no keys cannot make a document that is believed."""
    created = await store.create(Guest(email="a@b"))
    await store.database.put({**await store.database.get(created.guest_id), "email": "mallory@example.org"})
    with pytest.raises(DecryptionFailed):
        await store.get(Guest, created.guest_id)


async def test_equality_finds_exactly_the_right_ones(store: Store) -> None:
    """Of many, by one value or several, page by page and counted; by a hash as well."""
    models = [Guest(email=f"{number % 7}@b", token=f"t{number}", name=str(number)) for number in range(40)]
    await store.write_many(Guest, [Creation(each) for each in models])
    page = await store.find(Guest, Query({"email": ["3@b", "5@b"]}), limit=4, count=True)
    names, total = [each.name for each in page.items], page.total
    while page.next:
        page = await store.find(Guest, Query({"email": ["3@b", "5@b"]}), limit=4, start=page.next)
        names += [each.name for each in page.items]
    wanted = [str(number) for number in range(40) if number % 7 in (3, 5)]
    assert (sorted(names), total) == (sorted(wanted), len(wanted))
    assert [each.name for each in (await store.find(Guest, by="token", key="t8")).items] == ["8"]
    assert not (await store.find(Guest, by="email", key="none@b")).items
    await store.create(Guest(name="without"))
    assert [each.name for each in (await store.find(Guest, by="email", key=None)).items] == ["without"]


@pytest.mark.parametrize("make", INDEXERS.values(), ids=INDEXERS)
async def test_keys_of_every_kind_encrypt_and_find(store: Store, make: Any) -> None:
    """Key rings, Keyczar's, Tink's, and chains of them; nothing of the values is stored."""
    kept = Store(store.database, crypter=make())
    for number in range(6):
        await kept.create(Guest(email=f"{number % 3}@example", name=str(number)))
    found = (await kept.find(Guest, by="email", key="1@example")).items
    assert sorted((each.name, each.email) for each in found) == [("1", "1@example"), ("4", "1@example")]
    assert not (await kept.find(Guest, by="email", key="7@example")).items
    rows = (await store.database.all_docs(include_docs=True)).rows
    assert "@example" not in json.dumps([row.doc for row in rows if row.id and not row.id.startswith("_")])


@pytest.mark.parametrize("make", INDEXERS.values(), ids=INDEXERS)
async def test_a_chain_finds_what_keys_of_every_kind_stored(store: Store, make: Any) -> None:
    """While a database moves from them to a ring: both the old documents and the new."""
    for number, keys in enumerate((make(), KeyChain(KeyRing.create(), make()))):
        await Store(store.database, crypter=keys).create(Guest(email="a@b", name=str(number)))
    chain = KeyChain(KeyRing.create(), keys)
    found = (await Store(store.database, crypter=chain).find(Guest, by="email", key="a@b")).items
    assert sorted(each.name for each in found) == ["0", "1"]


async def test_ranges_and_orders_of_protected_values_are_refused(store: Store) -> None:
    """The index has only hashes."""
    for query in (Query(ranges={"email": Bounds(gt="a")}), Query(sort=["email"]), Query(sort=["token"])):
        with pytest.raises(NoIndex):
            await store.find(Guest, query)
    with pytest.raises(NoIndex):
        await store.find(Guest, Query({"other": [1]}))


async def test_a_new_key_finds_and_reads_what_the_old_one_wrote(store: Store, ring: KeyRing) -> None:
    """And what is written again is under the new one."""
    created = await store.create(Guest(email="a@b"))
    before = await store.database.get(created.guest_id)
    new = Store(store.database, crypter=KeyChain(KeyRing.create(Purpose.ENCRYPT), ring))
    (found,) = (await new.find(Guest, by="email", key="a@b")).items
    assert found.email == "a@b"
    await new.replace(found)
    after = await store.database.get(created.guest_id)
    assert before["email"] != after["email"]
    assert before["email_blind_index"] != after["email_blind_index"]
    with pytest.raises(DecryptionFailed):
        await store.get(Guest, created.guest_id)


async def test_a_store_without_keys_says_what_it_lacks(database: Database) -> None:
    """When the model is mounted, written or looked for; nothing is stored in the clear."""
    store = Store(database)
    for call in (store.create(Guest(email="a@b")), store.find(Guest, by="email", key="a@b")):
        with pytest.raises(KeySetError, match=r"crypter"):
            await call
    with pytest.raises(KeySetError, match="Guest has encrypted"):
        store.check(Guest)
    store.check(Login)
    assert (await database.info())["doc_count"] == 0


async def test_a_stored_hash_cannot_be_sent(store: Store) -> None:
    """Text that looks like one is hashed like any other."""
    login = await store.create(Login(name="ann", password="secret"))
    forged = Login(name="bob", password=str(login.password))
    await store.create(forged)
    assert not await store.verify(forged, "password", "secret")


async def test_a_copy_of_a_model_is_encrypted_for_its_own_place(ring: KeyRing) -> None:
    """Whatever it was read from."""
    conversion = Conversion(Protection(ring))
    one = Safe(value=1)
    one._id = "one"
    document = await conversion.to_store(one, new=True)
    other = await conversion.from_store(Safe, document)
    other._id = "two"
    moved = await conversion.to_store(other, new=True)
    assert (await conversion.from_store(Safe, moved)).value == 1
    assert from_document(Safe, document).value != 1


async def test_logins_leave_the_event_loop_free(store: Store) -> None:
    """While eight bcrypts of a quarter of a second each run, the loop goes round often."""
    login = await store.create(Login(name="ann", password="secret"))
    turns, lags = 0, []

    async def count() -> None:
        nonlocal turns
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.001)
            lags.append(time.monotonic() - before)
            turns += 1

    counting = asyncio.ensure_future(count())
    assert all(await asyncio.gather(*(store.verify(login, "password", "secret") for _ in range(8))))
    counting.cancel()
    # On the loop itself there would be eight turns. The bound is generous: the machine may be busy.
    assert turns > 50
    assert sorted(lags)[len(lags) // 2] < 0.05


async def test_what_is_encrypted_for_one_database_stays_so(database: Database, ring: KeyRing) -> None:
    """Another store, which was not told to bind what it encrypts, changes such a document and binds it as well."""
    binding, other = Store(database, crypter=ring, bind_encryption=True), Store(database, crypter=ring)
    safe = await binding.create(Safe(value={"a": 1}))
    await other.update(Safe, safe._id, lambda latest: setattr(latest, "value", {"a": 2}))
    assert (await database.get(safe._id or ""))["value"].startswith("encrypted.v2:")
    assert (await binding.get(Safe, safe._id)).value == (await other.get(Safe, safe._id)).value == {"a": 2}


async def test_a_store_that_binds_reads_and_renews_what_is_not_bound(database: Database, ring: KeyRing) -> None:
    """So that a database can be brought over by writing each document anew."""
    binding, other = Store(database, crypter=ring, bind_encryption=True), Store(database, crypter=ring)
    safe = await other.create(Safe(value=[1]))
    assert (await binding.get(Safe, safe._id)).value == [1]
    await binding.update(Safe, safe._id, lambda _: None)
    assert (await database.get(safe._id or ""))["value"].startswith("encrypted.v2:")
