"""Documents of other versions in a real database: read, listed, written; protected and signed ones too."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from tornado_couch import Database, Encrypted, Hashed, Indexed, Key, Model, Public, Store, UpdatedOn, install, upgrade
from tornado_couch.errors import InvalidDocument, InvalidSignature, UnsupportedVersion
from tornado_couch.security import KeyRing, is_encrypted

Properties = dict[str, Any]


class OldGuest(Model, type="guest_v1.0", key="guest_id"):
    guest_id: Key
    mail: Annotated[str, Encrypted(searchable=True)]
    diary: Annotated[dict[str, Any], Encrypted()]
    code: Annotated[str, Hashed(cost=4)]
    room: str = "attic"
    updated_on: UpdatedOn


class UpgradedGuest(Model, type="guest_v2.0", key="guest_id"):
    """`mail` has another name, `code` too, `room` is encrypted, `diary` as before, `floor` is new."""

    guest_id: Key
    email: Annotated[str, Encrypted(searchable=True)]
    diary: Annotated[dict[str, Any], Encrypted()]
    pin: Annotated[str, Hashed(cost=4)]
    room: Annotated[str, Encrypted()]
    floor: Annotated[int, Indexed()] = 0
    updated_on: UpdatedOn

    @upgrade(
        "guest_v1.0", to="guest_v2.0", was={"mail": Encrypted(searchable=True), "code": Hashed(), "room": Public()}
    )
    @staticmethod
    def rename(guest: Properties) -> Properties:
        guest["email"], guest["pin"] = guest.pop("mail").lower(), guest.pop("code")
        return {**guest, "floor": 3}


class Plain(Model, type="plain_v1.1", key="plain_id"):
    plain_id: Key
    color: Annotated[str, Indexed()] = "none"


@pytest.fixture
async def store(database: Database, ring: KeyRing) -> Store:
    await install(database.server, database.name, [UpgradedGuest, Plain])  # type: ignore[arg-type]
    return Store(database, crypter=ring, signer=ring)


async def old(store: Store) -> OldGuest:
    return await store.create(OldGuest(mail="Ann@B.example", diary={"a": 1}, code="1234"))


async def test_protected_properties_are_revealed_as_their_version_classified_them(store: Store) -> None:
    """An upgrade sees the values, and can rename, change and reclassify what is encrypted or hashed."""
    created = await old(store)
    guest = await store.get(UpgradedGuest, created.guest_id)
    assert (guest.email, guest.diary, guest.room, guest.floor) == ("ann@b.example", {"a": 1}, "attic", 3)
    assert await guest.verify("pin", "1234")
    assert [each.email for each in (await store.find(UpgradedGuest)).items] == ["ann@b.example"]


async def test_an_upgraded_document_is_written_as_its_new_version(store: Store) -> None:
    """Nothing of the old one is left but what did not change, ciphertexts included; blind indexes are of the new."""
    created = await old(store)
    before = await store.database.get(created.guest_id)
    await store.update(UpgradedGuest, created.guest_id, lambda guest: setattr(guest, "floor", 4))
    after = await store.database.get(created.guest_id)
    assert after["type"] == "guest_v2.0"
    assert not {"mail", "mail_blind_index", "code"} & after.keys()
    assert (after["diary"], after["pin"]) == (before["diary"], before["code"])
    assert is_encrypted(after["room"])
    (found,) = (await store.find(UpgradedGuest, by="email", key="ann@b.example")).items
    assert (found.floor, found.room) == (4, "attic")


async def test_a_value_that_changed_places_is_encrypted_for_its_own(database: Database, ring: KeyRing) -> None:
    """Though the same value stood in its name before."""

    class OldPair(Model, type="pair_v1.0"):
        one: Annotated[str, Encrypted()]
        two: Annotated[str, Encrypted()]

    class Pair(Model, type="pair_v1.1"):
        one: Annotated[str, Encrypted()]
        two: Annotated[str, Encrypted()]

        @upgrade("pair_v1.0", to="pair_v1.1")
        @staticmethod
        def swap(pair: Properties) -> Properties:
            return {"one": pair["two"], "two": pair["one"]}

    await install(database.server, database.name, [Pair])  # type: ignore[arg-type]
    store = Store(database, crypter=ring)
    created = await store.create(OldPair(one="1", two="2"))
    await store.update(Pair, created._id, lambda pair: None)
    pair = await store.get(Pair, created._id)
    assert (pair.one, pair.two) == ("2", "1")


async def test_the_signature_is_verified_before_an_upgrade(store: Store) -> None:
    """A forged document of an old version reaches no function."""
    created = await old(store)
    document = await store.database.get(created.guest_id)
    await store.database.put({**document, "room": "cellar"})
    with pytest.raises(InvalidSignature):
        await store.get(UpgradedGuest, created.guest_id)


async def test_a_newer_minor_version_survives_a_change(store: Store) -> None:
    """With its version and what is not known here, and it is in the lists."""
    await store.database.put(
        store._guard.signed(
            {"_id": "p", "type": "plain_v1.9", "plain_id": "p", "color": "red", "later": {"x": [1]}, "other": None}
        )
    )
    assert [each.color for each in (await store.find(Plain, by="color", key="red")).items] == ["red"]
    await store.update(Plain, "p", lambda plain: setattr(plain, "color", "blue"))
    after = await store.database.get("p")
    assert {name: after[name] for name in ("type", "color", "later", "other")} == {
        "type": "plain_v1.9",
        "color": "blue",
        "later": {"x": [1]},
        "other": None,
    }


@pytest.mark.parametrize(
    ("version", "error"), [("2.0", UnsupportedVersion), ("0.3", UnsupportedVersion), ("1.0", InvalidDocument)]
)
async def test_what_cannot_be_read_is_that_documents_error_and_never_the_lists(
    database: Database, version: str, error: type[Exception]
) -> None:
    """A newer major version, one that nothing leads on from, an upgrade that fails: counted as withheld."""

    class Failing(Plain, type="plain_v1.1", key="plain_id"):
        @upgrade("plain_v1.0", to="plain_v1.1")
        @staticmethod
        def fail(plain: Properties) -> Properties:
            return {"color": plain["none"]}

    await install(database.server, database.name, [Failing])  # type: ignore[arg-type]
    store = Store(database)
    good = await store.create(Failing(color="red"))
    await database.put({"_id": "bad", "type": f"plain_v{version}", "plain_id": "bad", "color": "red"})
    with pytest.raises(error):
        await store.get(Failing, "bad")
    with pytest.raises(error):
        await store.update(Failing, "bad", lambda plain: None)
    for page in (await store.find(Failing), await store.find(Failing, by="color", key="red")):
        assert ([each.plain_id for each in page.items], page.withheld) == ([good.plain_id], 1)


async def test_a_version_of_thousands_of_digits_is_no_version(database: Database) -> None:
    """And no end of the list: Python makes no integer of it."""
    await install(database.server, database.name, [Plain])  # type: ignore[arg-type]
    await database.put({"_id": "bad", "type": f"plain_v{'9' * 5000}.0", "plain_id": "bad"})
    assert (await Store(database).find(Plain)).items == []
