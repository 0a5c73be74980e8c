"""What the service answers where a document is not its own (the Security section of its contract)."""

from __future__ import annotations

import base64

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from tests.web.conftest import MERGE, Client, Serve, application
from tests.web.models import Place
from tornado_couch import Store, resource
from tornado_couch.errors import InvalidSignature
from tornado_couch.maintain.audit import audit
from tornado_couch.security import KeyRing
from tornado_couch.web import Account, BasicAccounts, Problem, change_password, create_account


@pytest.fixture
async def signing(store: Store) -> Store:
    return Store(store.database, signer=KeyRing.create())


def place_id(name: str) -> str:
    return Place.__couch__.document_id(name) or ""  # type: ignore[union-attr]


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


async def test_what_was_done_once_is_not_done_again(signing: Store, serve: Serve) -> None:
    """Without the note that a key was used, which somebody deleted, the request is refused and changes nothing."""
    ask = await serve(application(signing, *resource("/many", Place, signing, many=["patch"])))
    assert (await ask("PUT", "/places/a", {"name": "a", "size": 1})).status == 201
    sent = {"Content_Type": MERGE, "Idempotency_Key": '"k1"'}
    assert (await ask("PATCH", "/many?size=1", {"size": 2}, **sent)).status == 200
    assert (await ask("PUT", "/places/a", {"name": "a", "size": 1})).status == 200
    for row in (await signing.database.all_docs(include_docs=True)).rows:
        if row.doc and row.doc.get("type") == "idempotency_v1.0":
            await signing.database.delete(row.doc["_id"], row.doc["_rev"])
    assert (await ask("PATCH", "/many?size=1", {"size": 2}, **sent)).status == 502
    assert (await ask("GET", "/places/a")).json["size"] == 1


async def test_a_key_that_somebody_set_free_is_not_taken(ask: Client, signing: Store) -> None:
    """A client who registers the name of a document that was deleted behind the service's back gets 502."""
    assert (await ask("PUT", "/places/a", {"name": "a", "size": 1})).status == 201
    held = await signing.database.get(place_id("a"))
    await signing.database.delete(held["_id"], held["_rev"])
    for method, path in (("POST", "/places"), ("PUT", "/places/a")):
        reply = await ask(method, path, {"name": "a", "size": 666})
        assert (reply.status, reply.json["type"]) == (502, "urn:tornado-couch:problem:tampered-document")
    done = await ask("POST", "/places", [{"name": "a"}, {"name": "b"}])
    assert [each["status"] for each in done.json["items"]] == [502, 201]


async def test_a_kept_body_does_not_come_back(ask: Client, signing: Store) -> None:
    """Planted as a loser it changes nothing; as the winner, and after a deletion, it is 502 and in no list."""
    assert (await ask("PUT", "/places/a", {"name": "a", "size": 1})).status == 201
    kept = await signing.database.get(place_id("a"))
    assert (await ask("PUT", "/places/a", {"name": "a", "size": 2})).status == 200
    await signing.database.bulk_docs([{**kept, "_rev": "1-" + "f" * 32}], new_edits=False)
    assert (await ask("GET", "/places/a")).json["size"] == 2
    assert signing.signature_failures.total() > 0
    assert (await ask("PUT", "/places/a", {"name": "a", "size": 3})).status == 200
    assert [each["size"] for each in (await ask("GET", "/places")).json["items"]] == [3]
    await signing.database.bulk_docs([{**kept, "_rev": "9-" + "f" * 32}], new_edits=False)
    for method, body in [("GET", None), ("PUT", {"name": "a", "size": 4}), ("DELETE", None)]:
        reply = await ask(method, "/places/a", body)
        assert (reply.status, reply.json["type"]) == (502, "urn:tornado-couch:problem:tampered-document")
    assert (await ask("GET", "/places")).json["items"] == []


async def test_the_page_of_conflicts_shows_nothing_that_was_planted(ask: Client, signing: Store) -> None:
    """Nothing is decided upon it either, before an operator has cleared it."""
    assert (await ask("PUT", "/places/a", {"name": "a", "size": 1})).status == 201
    kept = await signing.database.get(place_id("a"))
    assert (await ask("PUT", "/places/a", {"name": "a", "size": 2})).status == 200
    await signing.database.bulk_docs([{**kept, "size": 666, "_rev": "1-" + "f" * 32}], new_edits=False)
    shown = await ask("GET", "/places/a/conflicts")
    assert ([each["document"]["size"] for each in shown.json["items"]], shown.json["withheld"]) == ([2], 1)
    tag = shown.headers["ETag"]
    for decision in ({"merge": True}, {"leaf": '"1-' + "f" * 32 + '"'}, {"document": {"name": "a", "size": 3}}):
        assert (await ask("POST", "/places/a/conflicts", decision, If_Match=tag)).status == 502
    assert (await ask("GET", "/places/a")).json["size"] == 2


async def test_a_deleted_document_does_not_come_back(ask: Client, signing: Store) -> None:
    """What somebody kept of it is no document, and 502 rather than 404 says that somebody tried."""
    assert (await ask("PUT", "/places/a", {"name": "a", "size": 1})).status == 201
    kept = await signing.database.get(place_id("a"))
    assert (await ask("DELETE", "/places/a")).status == 204
    await signing.database.bulk_docs([kept], new_edits=False)  # where it was, it changes nothing
    assert (await ask("GET", "/places/a")).status == 404
    await signing.database.bulk_docs([{**kept, "_rev": "1-" + "f" * 32}], new_edits=False)
    assert (await ask("GET", "/places/a")).status == 502
    assert (await ask("GET", "/places")).json["items"] == []


async def test_an_unsigned_deletion_of_a_generated_key_is_502(ask: Client, signing: Store) -> None:
    """As the documentation promises; after a deletion by the service it is 404."""
    made = await ask("POST", "/fruits", {"color": "red"})
    path = f"/fruits/{made.json['fruit_id']}"
    held = await signing.database.get(made.json["fruit_id"])
    await signing.database.delete(held["_id"], held["_rev"])
    assert (await ask("GET", path)).status == 502
    made = await ask("POST", "/fruits", {"color": "red"})
    path = f"/fruits/{made.json['fruit_id']}"
    assert (await ask("DELETE", path)).status == 204
    assert (await ask("GET", path)).status == 404


async def test_a_kept_password_does_not_come_back(signing: Store) -> None:
    """An account whose password was changed, and that was deleted, is planted again: the old one opens nothing."""
    await create_account(signing, "ann", "first words", rounds=4)
    kept = await signing.database.get("account:ann")
    assert await entered(signing, "first words")
    await change_password(signing, "ann", "second words", rounds=4)
    for revision in ("1-" + "f" * 32, "9-" + "f" * 32):
        await signing.database.bulk_docs([{**kept, "_rev": revision}], new_edits=False)
        assert not await entered(signing, "first words")


async def test_a_deleted_account_does_not_come_back(signing: Store) -> None:
    """Planted again it lets nobody in."""
    await create_account(signing, "ann", "first words", rounds=4)
    kept = await signing.database.get("account:ann")
    await signing.delete(Account, "ann")
    await signing.database.bulk_docs([{**kept, "_rev": "1-" + "f" * 32}], new_edits=False)
    assert not await entered(signing, "first words")


async def entered(store: Store, password: str) -> bool:
    """Whether the name and password are let in."""
    credentials = base64.b64encode(f"ann:{password}".encode()).decode()
    headers = HTTPHeaders({"Authorization": f"Basic {credentials}", "Host": "test"})
    request = HTTPServerRequest(start_line=RequestStartLine("GET", "/", "HTTP/1.1"), headers=headers)
    try:
        return await BasicAccounts(store, rounds=4).authenticate(request) is not None
    except (Problem, InvalidSignature):
        return False
