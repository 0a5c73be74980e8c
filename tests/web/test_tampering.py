"""What the service answers where a document is not its own (the Security section of its contract)."""

from __future__ import annotations

import pytest

from tests.web.conftest import Client, Serve, application
from tornado_couch import Store
from tornado_couch.maintain.audit import audit
from tornado_couch.security import KeyRing


@pytest.fixture
async def signing(store: Store) -> Store:
    return Store(store.database, signer=KeyRing.create())


@pytest.fixture
async def ask(signing: Store, serve: Serve) -> Client:
    return await serve(application(signing))


async def test_a_document_that_does_not_verify_is_never_served(ask: Client, signing: Store) -> None:
    """502 with a type of its own on a single read, whatever the method; left out of a list and counted there."""
    for name in ("good", "bad"):
        assert (await ask("PUT", f"/places/{name}", {"name": name})).status == 201
    listed = (await ask("GET", "/places")).json
    assert (len(listed["items"]), "withheld" in listed) == (2, False)
    page = await signing.database.all_docs(include_docs=True)
    (held,) = [row.doc for row in page.rows if row.doc and row.doc.get("name") == "bad"]
    await signing.database.put({**held, "size": 666})
    for method, body in [("GET", None), ("PUT", {"name": "bad", "size": 1}), ("DELETE", None)]:
        reply = await ask(method, "/places/bad", body)
        assert reply.status == 502
        assert reply.json["type"] == "urn:tornado-couch:problem:tampered-document"
        assert b"666" not in reply.text
    listed = (await ask("GET", "/places")).json
    assert [each["name"] for each in listed["items"]] == ["good"]
    assert listed["withheld"] == 1
    assert signing.signature_failures["altered"] == 4


async def test_a_signed_resource_works_as_any_other(ask: Client) -> None:
    """Create, replace, delete, and create again."""
    for _ in range(2):
        assert (await ask("PUT", "/places/a", {"name": "a"})).status == 201
        assert (await ask("PUT", "/places/a", {"name": "a", "size": 2})).status == 200
        assert (await ask("GET", "/places/a")).json["size"] == 2
        assert (await ask("DELETE", "/places/a")).status == 204
        assert (await ask("GET", "/places/a")).status == 404


async def test_what_an_idempotency_key_leaves_behind_is_signed(ask: Client, signing: Store) -> None:
    """The audit finds nothing, be the document's id its key's or CouchDB's."""
    for path, body in (("/places", {"name": "a"}), ("/fruits", {"color": "red"})):
        for _ in range(2):
            assert (await ask("POST", path, body, Idempotency_Key='"k1"')).status == 201
    keys = signing._guard.keys  # type: ignore[attr-defined]
    pages = [page async for page in audit(signing.database, keys)]
    assert sum(page.checked for page in pages) == 3  # two documents, and the reservation of a key
    assert [page.findings for page in pages if page.findings] == []


@pytest.mark.parametrize("altered", ["place_v1.0", "idempotency_v1.0", "fruit_v1.0"])
async def test_a_request_that_is_sent_again_is_no_way_around_the_signature(
    ask: Client, signing: Store, altered: str
) -> None:
    """What it made before, and the note that it did, are verified as in any read."""
    path, body = ("/fruits", {"color": "red"}) if altered == "fruit_v1.0" else ("/places", {"name": "a"})
    assert (await ask("POST", path, body, Idempotency_Key='"k1"')).status == 201
    rows = (await signing.database.all_docs(include_docs=True)).rows
    (held,) = [row.doc for row in rows if row.doc and row.doc.get("type") == altered]
    await signing.database.put({**held, "added": 666})
    reply = await ask("POST", path, body, Idempotency_Key='"k1"')
    assert (reply.status, reply.json["type"]) == (502, "urn:tornado-couch:problem:tampered-document")
    assert b"666" not in reply.text
