"""Classified properties over HTTP: hashes never leave, encrypted values do, and equality is all one can ask for."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import threading
from typing import Annotated, Any

import bcrypt
import pytest
from annotated_types import MaxLen

from tests.web.conftest import Client, Serve
from tornado_couch import Application, Database, Encrypted, Hashed, Key, Model, Store, install, resource
from tornado_couch.errors import KeySetError
from tornado_couch.security import KeyRing
from tornado_couch.web import AllowAny, Authenticated, BasicAccounts, create_account


class Guest(Model, type="guest_v1.0", key="guest_id"):
    guest_id: Key
    pin: Annotated[str | None, MaxLen(6), Hashed(cost=4)] = None
    email: Annotated[str, Encrypted(searchable=True)]
    floor: Annotated[int | None, Encrypted(searchable=True)] = None
    notes: Annotated[Any, Encrypted()] = None


class Restorable(Model, type="restorable_v1.0", key="restorable_id", soft_delete=True):
    restorable_id: Key
    notes: Annotated[Any, Encrypted()]


class Versioned(Model, type="versioned_v1.0", key="versioned_id", history=True):
    versioned_id: Key
    notes: Annotated[Any, Encrypted()]


@pytest.fixture
async def kept(database: Database) -> Store:
    await install(database.server, database.name, [Guest, Restorable, Versioned])  # type: ignore[arg-type]
    return Store(database, crypter=KeyRing.create())


@pytest.fixture
async def guests(kept: Store, serve: Serve) -> Client:
    """A client of a service with a resource of guests, and of models with another lifecycle."""
    routes = [
        *resource("/guests", Guest, kept),
        *resource("/restorable", Restorable, kept),
        *resource("/versioned", Versioned, kept),
    ]
    return await serve(Application(routes, policy=AllowAny()))


@pytest.fixture
def decrypted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the keys have decrypted."""
    texts: list[str] = []
    original = KeyRing.decrypt

    def decrypt(self: KeyRing, ciphertext: str, *, context: bytes) -> bytes:
        texts.append(ciphertext)
        return original(self, ciphertext, context=context)

    monkeypatch.setattr(KeyRing, "decrypt", decrypt)
    return texts


BODY = {"email": "ann@b", "pin": "1234", "floor": 3, "notes": {"a": [None, 1.5]}}


async def stored(kept: Store, reply: Any) -> Any:
    return await kept.database.get(reply.json["guest_id"])


async def test_hashed_properties_never_leave_and_encrypted_ones_are_shown(guests: Client, kept: Store) -> None:
    """By POST, GET, a list, PUT and PATCH; neither hash, ciphertext nor blind index is in any answer."""
    created = await guests("POST", "/guests", BODY)
    path = created.headers["Location"]
    replies = [
        created,
        await guests("GET", path),
        await guests("GET", "/guests"),
        await guests("PUT", path, {**BODY, "floor": 4}),
        await guests("PATCH", path, {"floor": 3}, Content_Type="application/merge-patch+json"),
    ]
    assert [each.status for each in replies] == [201, 200, 200, 200, 200]
    document = await stored(kept, created)
    for reply in replies:
        shown = reply.json.get("items", [reply.json])[0]
        assert shown["email"] == "ann@b"
        assert shown["notes"] == BODY["notes"]
        assert not {"pin", "email_blind_index", "floor_blind_index"} & shown.keys()
        for name in ("pin", "email", "email_blind_index"):
            assert document[name].encode() not in reply.text


async def test_an_omitted_hash_is_kept_and_null_removes_it(guests: Client, kept: Store) -> None:
    """By PUT and by PATCH, as with every write-only property; the longest value's limit is not the hash's."""
    created = await guests("POST", "/guests", BODY)
    path, before = created.headers["Location"], await stored(kept, created)
    merge = {"Content_Type": "application/merge-patch+json"}
    assert (await guests("PUT", path, {"email": "bob@b"})).status == 200
    assert (await guests("PATCH", path, {"floor": 9}, **merge)).status == 200
    after = await stored(kept, created)
    assert after["pin"] == before["pin"]
    assert "notes" not in after
    guest = await kept.get(Guest, created.json["guest_id"])
    assert await kept.verify(guest, "pin", "1234")
    assert (await guests("PATCH", path, {"pin": "99"}, **merge)).status == 200
    assert await kept.verify(await kept.get(Guest, guest.guest_id), "pin", "99")
    assert (await guests("PATCH", path, {"pin": before["pin"]}, **merge)).status == 422
    assert (await guests("PATCH", path, {"pin": None}, **merge)).status == 200
    assert "pin" not in await stored(kept, created)


async def test_a_searchable_property_is_filtered_by_equality_alone(guests: Client) -> None:
    """A range, an order, an encrypted property without index and a hashed one are 400."""
    for number in range(6):
        await guests("POST", "/guests", {"email": f"{number % 3}@b", "floor": number})
    found = (await guests("GET", "/guests?email=1%40b&count=true")).json
    assert sorted(each["floor"] for each in found["items"]) == [1, 4]
    assert [each["email"] for each in (await guests("GET", "/guests?floor=5")).json["items"]] == ["2@b"]
    assert (await guests("GET", "/guests?email=9%40b")).json["items"] == []
    for query in ("email[gt]=a", "floor[lte]=3", "sort=email", "sort=-floor", "notes=1", "pin=1234"):
        reply = await guests("GET", f"/guests?{query}".replace("[", "%5B").replace("]", "%5D"))
        assert (query, reply.status) == (query, 400)
    assert (await guests("GET", "/guests?email_blind_index=x")).status == 400


async def test_the_cursor_of_a_filtered_list_leads_on(guests: Client) -> None:
    """Through all documents with the value, each once."""
    for number in range(5):
        await guests("POST", "/guests", {"email": "a@b", "floor": number})
    seen, reply = [], await guests("GET", "/guests?email=a%40b&limit=2")
    while True:
        seen += [each["floor"] for each in reply.json["items"]]
        if not reply.json.get("next"):
            break
        reply = await guests("GET", reply.json["next"].removeprefix(guests.url))
    assert sorted(seen) == [0, 1, 2, 3, 4]


async def test_what_does_not_decrypt_is_502_and_withheld_in_a_list(guests: Client, kept: Store) -> None:
    """The answer says nothing of what is stored."""
    one, two = [await guests("POST", "/guests", {"email": f"{name}@b"}) for name in ("ann", "bob")]
    document = await stored(kept, one)
    await kept.database.put({**document, "email": (await stored(kept, two))["email"]})
    reply = await guests("GET", one.headers["Location"])
    assert (reply.status, reply.json["type"]) == (502, "urn:tornado-couch:problem:unreadable-document")
    listed = (await guests("GET", "/guests")).json
    assert ([each["email"] for each in listed["items"]], listed["withheld"]) == (["bob@b"], 1)


@pytest.mark.parametrize("change", [{}, {"floor": 4}, {"email": "c@d", "floor": None, "notes": {"a": [None, 2]}}])
async def test_a_put_decrypts_each_property_once(
    guests: Client, kept: Store, decrypted: list[str], change: dict[str, Any]
) -> None:
    """To read it; whether the ciphertext can stay as it is, is then known. The same for a PATCH."""
    created = await guests("POST", "/guests", BODY)
    path = created.headers["Location"]
    before = await stored(kept, created)
    ciphertexts = sorted(before[name].partition(":")[2] for name in ("email", "floor", "notes"))
    decrypted.clear()
    reply = await guests("PUT", path, {**BODY, **change})
    assert (reply.status, sorted(decrypted)) == (200, ciphertexts)
    after = await stored(kept, created)
    assert {name for name in ("email", "floor", "notes") if after.get(name) != before[name]} == change.keys()
    decrypted.clear()
    count = 2 if change.get("floor", 3) is None else 3
    assert (await guests("PATCH", path, change, Content_Type="application/merge-patch+json")).status == 200
    assert len(set(decrypted)) == len(decrypted) == count


@pytest.mark.parametrize("path", ["/restorable", "/versioned"])
async def test_other_lifecycles_decrypt_once_as_well(guests: Client, decrypted: list[str], path: str) -> None:
    """A PUT to a document that is there, and one that brings back what was deleted."""
    location = (await guests("POST", path, {"notes": [1]})).headers["Location"]
    for status in (200, 201):
        decrypted.clear()
        assert (await guests("PUT", location, {"notes": [1]})).status == status
        assert len(decrypted) == 1
        assert (await guests("DELETE", location)).status == 204


async def test_many_at_once_are_protected_as_well(guests: Client, kept: Store) -> None:
    """In an array of documents, and by an Idempotency-Key that is used twice."""
    assert (await guests("POST", "/guests", [BODY, {**BODY, "email": "bob@b"}])).status == 200
    rows = (await kept.database.all_docs(include_docs=True)).rows
    documents = [row.doc for row in rows if row.doc and row.doc.get("type") == "guest_v1.0"]
    assert len(documents) == 2
    assert not [text for text in ("ann@b", "bob@b", "1234") if text in json.dumps(documents)]
    first, again = [await guests("POST", "/guests", BODY, Idempotency_Key='"k1"') for _ in range(2)]
    assert again.json == first.json
    assert again.json["email"] == "ann@b"


async def test_a_model_cannot_be_mounted_on_a_store_without_its_keys(database: Database) -> None:
    """Rather when the service starts than at the first request."""
    with pytest.raises(KeySetError, match="crypter"):
        resource("/guests", Guest, Store(database))


async def test_no_bcrypt_runs_on_the_event_loop(kept: Store, serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight logins at once, and eight documents with a hashed property: in threads of its own, one core left free."""
    threads: set[str] = set()

    def counted(inner: Any) -> Any:
        def call(*args: bytes) -> Any:
            threads.add(threading.current_thread().name)
            return inner(*args)

        return call

    monkeypatch.setattr(bcrypt, "checkpw", counted(bcrypt.checkpw))
    monkeypatch.setattr(bcrypt, "hashpw", counted(bcrypt.hashpw))
    names = [f"user{number}" for number in range(8)]
    await asyncio.gather(*(create_account(kept, name, "secret", rounds=4) for name in names))
    policy = Authenticated(BasicAccounts(kept, rounds=4))
    ask = await serve(Application(resource("/guests", Guest, kept, policy=policy)))
    credentials = [f"Basic {base64.b64encode(f'{name}:secret'.encode()).decode()}" for name in names]
    asked = [ask("POST", "/guests", BODY, Authorization=each) for each in credentials]
    assert [each.status for each in await asyncio.gather(*asked)] == [201] * 8
    assert threads
    assert all(each.startswith("tornado_couch-hashing") for each in threads)
    assert len(threads) <= max(1, (os.cpu_count() or 1) - 1)
