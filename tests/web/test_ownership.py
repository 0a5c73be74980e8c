"""What a service overrides in a handler holds for whatever is made of that handler: bulk requests, arrays, lines."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.web.conftest import Client, Serve, application
from tests.web.models import Place
from tornado_couch import CollectionHandler, DocumentHandler, Store, resource
from tornado_couch.web import Hooks, Problem


class Checked(CollectionHandler):
    """Refuses to create "bad", and marks what it creates."""

    async def perform_create(self, model: Any) -> Any:
        if model.name == "bad":
            raise Problem(409, "checked", "Not this one.")
        model.size = 7
        return await super().perform_create(model)


class Guarded(DocumentHandler):
    """Replaces and deletes nothing that is called "kept"."""

    async def perform_replace(self, key: Any, body: dict[str, Any], expected: Any) -> Any:
        if key == "kept":
            raise Problem(403, detail="Kept.")
        return await super().perform_replace(key, {**body, "size": body.get("size", 0) + 1}, expected)

    async def perform_destroy(self, key: Any, expected: Any) -> Any:
        if key == "kept":
            raise Problem(403, detail="Kept.")
        return await super().perform_destroy(key, expected)

    def show(self, model: Any) -> dict[str, Any]:
        return {**super().show(model), "shown": "by the document's handler"}


class Open(Hooks):
    """Lets the API document say that there may be other problems than the package's own."""


@pytest.fixture
async def checked(store: Store, serve: Serve) -> Client:
    """A client of a resource with the classes above."""
    routes = resource("/checked", Place, store, collection=Checked, document=Guarded, hooks=Open())
    return await serve(application(store, *routes))


async def bulk(ask: Client, *operations: dict[str, Any], **headers: str) -> Any:
    return (await ask("POST", "/checked/_bulk", {"operations": list(operations)}, **headers)).json["items"]


def creation(name: str) -> dict[str, Any]:
    return {"action": "create", "document": {"name": name}}


async def sizes(ask: Client) -> dict[str, int]:
    return {each["name"]: each["size"] for each in (await ask("GET", "/places?limit=100")).json["items"]}


async def test_an_overridden_creation_holds_everywhere(checked: Client) -> None:
    """In a POST, an array, lines and a bulk request: the check refuses, and what it changes is stored."""
    assert (await checked("POST", "/checked", {"name": "bad"})).status == 409
    assert (await checked("POST", "/checked", {"name": "one"})).status == 201
    array = await checked("POST", "/checked", [{"name": "two"}, {"name": "bad"}])
    assert [each["status"] for each in array.json["items"]] == [201, 409]
    lines = b'{"name": "three"}\n{"name": "bad"}\n'
    reply = await checked("POST", "/checked", data=lines, Content_Type="application/x-ndjson")
    assert [json.loads(line)["status"] for line in reply.text.splitlines()] == [201, 409]
    items = await bulk(checked, creation("four"), creation("bad"))
    assert [each["status"] for each in items] == [201, 409]
    assert await sizes(checked) == dict.fromkeys(["one", "two", "three", "four"], 7)


async def test_overridden_changes_hold_in_a_bulk_request(checked: Client) -> None:
    """A replacement and a deletion are checked and changed as in a PUT and a DELETE."""
    for name in ("kept", "free", "gone"):
        await checked("POST", "/places", {"name": name, "size": 1})
    for method in ("PUT", "DELETE"):
        assert (await checked(method, "/checked/kept", {} if method == "PUT" else None)).status == 403
    items = await bulk(
        checked,
        {"action": "replace", "key": "kept", "document": {"size": 5}},
        {"action": "delete", "key": "kept"},
        {"action": "replace", "key": "free", "document": {"size": 5}},
        {"action": "delete", "key": "gone"},
        Prefer="return=representation",
    )
    assert [each["status"] for each in items] == [403, 403, 200, 204]
    assert items[2]["document"]["shown"] == "by the document's handler"
    assert await sizes(checked) == {"kept": 1, "free": 6}


async def test_operations_on_one_document_stay_in_order(checked: Client) -> None:
    """Each sees what the one before it left, though hooks of different documents run at once."""
    items = await bulk(
        checked,
        creation("a"),
        {"action": "replace", "key": "a", "document": {"size": 1}},
        {"action": "delete", "key": "a"},
        creation("a"),
        {"action": "replace", "key": "none", "document": {}, "if_match": '"1-x"'},
    )
    assert [each["status"] for each in items] == [201, 200, 204, 201, 412]
    assert await sizes(checked) == {"a": 7}


async def test_a_hook_that_waits_for_another_does_not_block_the_request(store: Store, serve: Serve) -> None:
    """What is ready leaves without it, so that a lock around the write is no deadlock."""
    lock = asyncio.Lock()

    class Locked(CollectionHandler):
        async def perform_create(self, model: Any) -> Any:
            async with lock:
                await asyncio.sleep(0)
                return await super().perform_create(model)

    ask = await serve(application(store, *resource("/locked", Place, store, collection=Locked)))
    reply = await ask("POST", "/locked", [{"name": name} for name in "abc"])
    assert [each["status"] for each in reply.json["items"]] == [201] * 3


async def test_overridden_hooks_do_not_cost_a_request_each(store: Store, checked: Client, monkeypatch: Any) -> None:
    """Their writes leave together."""
    calls: list[int] = []
    write = store.database.bulk_docs

    async def counted(documents: Any, *more: Any, **options: Any) -> Any:
        calls.append(len(documents))
        return await write(documents, *more, **options)

    monkeypatch.setattr(store.database, "bulk_docs", counted)
    assert {each["status"] for each in await bulk(checked, *(creation(str(n)) for n in range(50)))} == {201}
    assert calls == [50]


async def test_a_bulk_request_is_described_with_the_operations_it_takes(store: Store, serve: Serve) -> None:
    """The API document names no operation that the handlers do not have."""
    from tornado_couch import AllowAny, Application
    from tornado_couch.web import RetrieveMixin, openapi_document

    class Read(RetrieveMixin):
        pass

    document = openapi_document(Application(resource("/log", Place, store, document=Read), policy=AllowAny()))
    assert document["paths"]["/log/_bulk"]["post"]["summary"] == "Create several log"
    one_of = document["components"]["schemas"]["PlaceBulkCreate"]["properties"]["operations"]["items"]["oneOf"]
    assert [each["properties"]["action"]["const"] for each in one_of] == ["create"]
