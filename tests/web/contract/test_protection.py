"""The contract's sentences about signed, hashed and encrypted documents: the docstring gives each in full."""

from __future__ import annotations

import json
from typing import Annotated, Any

from tornado_couch import AllowAny, Application, Encrypted, Hashed, Key, Model, Store, install, resource
from tornado_couch.security import KeyRing


class Guest(Model, type="guest_v1.0", key="guest_id"):
    guest_id: Key
    name: str
    pin: Annotated[str | None, Hashed(cost=4)] = None
    email: Annotated[str | None, Encrypted(searchable=True)] = None


async def guests(store: Store, serve: Any) -> tuple[Store, Any]:
    await install(store.database.server, store.database.name, [Guest])  # type: ignore[arg-type]
    keys = KeyRing.create()
    protected = Store(store.database, signer=keys, crypter=keys)
    return protected, await serve(Application(resource("/guests", Guest, protected), policy=AllowAny()))


async def test_signatures_and_hashed_properties_never_leave(store: Store, serve: Any) -> None:
    """Signatures and hashed properties never leave."""
    protected, ask = await guests(store, serve)
    created = await ask("POST", "/guests", {"name": "ann", "pin": "1234", "email": "ann@b"})
    place = created.headers["Location"]
    stored = await protected.database.get(created.json["guest_id"])
    secrets = [json.dumps(stored[name]).encode() for name in stored if name not in ("_id", *created.json)]
    assert len(secrets) >= 4  # revision, type, hash, blind index, signature
    for reply in (
        created,
        await ask("GET", place),
        await ask("GET", "/guests"),
        await ask("PUT", place, {"name": "ann"}),
        await ask("PATCH", place, {"pin": "1"}, Content_Type="application/merge-patch+json"),
    ):
        shown = reply.json.get("items", [reply.json])[0]
        assert {"guest_id", "name"} <= shown.keys() <= {"guest_id", "name", "email", "_href", "_etag"}
        assert stored["pin"].encode() not in reply.text
        assert json.dumps(stored["tornado_couch_signature"]["signature"]).encode() not in reply.text


async def test_a_document_whose_signature_does_not_verify_is_never_served(store: Store, serve: Any) -> None:
    """A document whose signature does not verify is never served: 502 with a problem of its own type on a
    single read, left out of a collection **and** counted in its `withheld` member and in the metrics, never
    silently."""
    protected, ask = await guests(store, serve)
    good, bad = [await ask("POST", "/guests", {"name": name}) for name in ("good", "bad")]
    stored = await protected.database.get(bad.json["guest_id"])
    await protected.database.put({**stored, "name": "forged"})
    reply = await ask("GET", bad.headers["Location"])
    assert (reply.status, reply.json["type"]) == (502, "urn:tornado-couch:problem:tampered-document")
    assert b"forged" not in reply.text
    listed = (await ask("GET", "/guests")).json
    assert ([item["name"] for item in listed["items"]], listed["withheld"]) == ([good.json["name"]], 1)
    assert protected.signature_failures["altered"] == 2


async def test_a_searchable_encrypted_property_filters_by_equality_only(store: Store, serve: Any) -> None:
    """A searchable encrypted property filters by equality only."""
    _, ask = await guests(store, serve)
    for name in ("ann", "bob"):
        await ask("POST", "/guests", {"name": name, "email": f"{name}@b"})
    found = (await ask("GET", "/guests?email=ann@b")).json["items"]
    assert [item["name"] for item in found] == ["ann"]
    assert (await ask("GET", "/guests?email=Ann@b")).json["items"] == []
    for query in ("email[gte]=a", "email[lt]=z", "sort=email", "sort=-email"):
        assert (await ask("GET", f"/guests?{query}")).status == 400
