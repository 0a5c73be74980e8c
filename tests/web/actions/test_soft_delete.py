"""Models whose documents are only marked when they are deleted, over HTTP."""

from __future__ import annotations

import asyncio
from typing import Annotated

import pytest

from tests.web.callers import ByHeader
from tests.web.conftest import Client, Reply, Serve
from tornado_couch import (
    AllowAny,
    Application,
    CreatedOn,
    Database,
    Indexed,
    Key,
    Model,
    ReadOnly,
    Store,
    UpdatedOn,
    WriteOnly,
    install,
    resource,
)
from tornado_couch.models import Count
from tornado_couch.web import Authenticated, Owner, Roles


class Task(Model, type="task_v1.0", key="task_id", soft_delete=True, reductions={"by_state": Count("state")}):
    task_id: Key
    state: Annotated[str, Indexed()] = "open"
    pin: Annotated[str | None, WriteOnly()] = None
    owner: Annotated[str | None, ReadOnly(), Indexed()] = None
    created_on: CreatedOn
    updated_on: UpdatedOn


class Tag(Model, type="tag_v1.0", key="name", unique=True, soft_delete=True):
    name: str
    size: int = 0
    created_on: CreatedOn


@pytest.fixture
async def store(database: Database) -> Store:
    await install(database.server, database.name, [Task, Tag])  # type: ignore[arg-type]
    return Store(database)


@pytest.fixture
async def ask(store: Store, serve: Serve) -> Client:
    routes = [
        *resource("/tasks", Task, store, page_size=2),
        *resource("/strict", Task, store, require_if_match=True),
        *resource("/tags", Tag, store, create_by_put=True),
    ]
    return await serve(Application(routes, policy=AllowAny()))


@pytest.fixture
async def gone(ask: Client) -> Reply:
    """The answer to creating a task that is deleted by now."""
    reply = await ask("POST", "/tasks", {"state": "done"})
    assert (await ask("DELETE", reply.headers["Location"], If_Match=reply.headers["ETag"])).status == 204
    return reply


async def test_a_deleted_document_is_as_if_it_were_not_there(ask: Client, gone: Reply) -> None:
    """404 for each method but PUT, not in the lists and not counted."""
    path = gone.headers["Location"]
    for method in ("GET", "HEAD", "DELETE"):
        assert (await ask(method, path)).status == 404
        assert (await ask(method, path, If_Match="*")).status == (412 if method == "DELETE" else 404)
    patch = "application/merge-patch+json"
    assert (await ask("PATCH", path, {"state": "x"}, Content_Type=patch)).status == 404
    for query in ("", "?count=true", "?state=done"):
        assert (await ask("GET", f"/tasks{query}")).json["items"] == []
    assert (await ask("GET", "/tasks/by_state")).json["items"] == []


async def test_deleted_documents_are_listed_and_read_by_who_asks_for_them(ask: Client, gone: Reply) -> None:
    """With the time of the deletion in the list; filters, pages and counts work, also for HEAD and 304."""
    path = gone.headers["Location"]
    kept = await ask("POST", "/tasks", {"state": "open"})
    for _ in range(2):
        more = await ask("POST", "/tasks", {"state": "open"})
        await ask("DELETE", more.headers["Location"])
    listed = (await ask("GET", "/tasks?deleted=true&state=done")).json["items"]
    assert [each["_href"] for each in listed] == [path]
    assert listed[0]["_deleted_on"] > gone.json["updated_on"]
    first = (await ask("GET", "/tasks?deleted=true&count=true")).json
    rest = (await ask("GET", first["next"])).json
    assert (len(first["items"]), len(rest["items"]), first["total"]) == (2, 1, 3)
    found = await ask("GET", f"{path}?deleted=true")
    assert (found.status, found.json, found.headers["ETag"]) == (200, gone.json, listed[0]["_etag"])
    assert (await ask("GET", f"{path}?deleted=true", If_None_Match=found.headers["ETag"])).status == 304
    assert (await ask("GET", f"{path}?deleted=true&fields=state")).json == {"state": "done"}
    assert (await ask("GET", f"{path}?deleted=false")).status == 404
    assert (await ask("GET", f"{kept.headers['Location']}?deleted=true")).status == 404
    for query in ("deleted=1", "deleted=true&deleted=true", "deleted=true&sort=created_on", "version=1"):
        assert (await ask("GET", f"/tasks?{query}")).status == 400
    assert (await ask("GET", f"{path}?version=1")).json["allowed"] == ["fields", "deleted"]


async def test_a_cursor_of_what_is_deleted_is_for_that_alone(ask: Client, gone: Reply) -> None:
    """It is bound to the list."""
    for _ in range(2):
        await ask("DELETE", (await ask("POST", "/tasks", {})).headers["Location"])
    address = (await ask("GET", "/tasks?deleted=true")).json["next"]
    assert (await ask("GET", address.replace("deleted=true&", ""))).status == 400


async def test_a_put_restores(ask: Client, store: Store, gone: Reply) -> None:
    """201, since there was nothing to see; read-only properties are kept, and an item of the list can be sent back."""
    path = gone.headers["Location"]
    (item,) = (await ask("GET", "/tasks?deleted=true")).json["items"]
    back = await ask("PUT", path, item)
    assert (back.status, back.headers["Location"], back.json["state"]) == (201, path, "done")
    assert back.json["created_on"] == gone.json["created_on"]
    assert (await ask("GET", path)).headers["ETag"] == back.headers["ETag"]
    assert (await ask("GET", "/tasks?deleted=true")).json["items"] == []
    assert (await ask("PUT", "/tasks/none", {})).status == 404


async def test_restoring_respects_preconditions(ask: Client, gone: Reply) -> None:
    """If-Match means the revision of the deletion."""
    path = gone.headers["Location"]
    tag = (await ask("GET", f"{path}?deleted=true")).headers["ETag"]
    for value in ("*", gone.headers["ETag"], f"W/{tag}"):
        assert (await ask("PUT", path, {}, If_Match=value)).status == 412
    assert (await ask("PUT", path, {}, If_None_Match="*")).status == 404
    strict = path.replace("/tasks", "/strict")
    assert (await ask("PUT", strict, {})).status == 428
    outcomes = await asyncio.gather(*(ask("PUT", strict, {"state": str(n)}, If_Match=tag) for n in range(6)))
    assert sorted(each.status for each in outcomes) == [201, 412, 412, 412, 412, 412]


async def test_unguarded_restorations_at_once_are_all_done(ask: Client, gone: Reply) -> None:
    """One restores the document, and each of the others replaces what was restored: all six writes are made."""
    path = gone.headers["Location"]
    deleted = (await ask("GET", f"{path}?deleted=true")).headers["ETag"]
    outcomes = await asyncio.gather(*(ask("PUT", path, {"state": str(n)}) for n in range(6)))
    # One that found the document deleted when it came answers 201, whoever restored it meanwhile.
    assert {each.status for each in outcomes} in ({201}, {200, 201})
    tags = [each.headers["ETag"] for each in outcomes]
    generations = sorted(int(tag.strip('"').partition("-")[0]) for tag in tags)
    first = int(deleted.strip('"').partition("-")[0]) + 1
    assert generations == list(range(first, first + 6))
    assert (await ask("GET", path)).headers["ETag"] in tags


async def test_a_key_that_is_deleted_can_be_created_again(ask: Client) -> None:
    """By POST it is another document; a PUT that may create restores instead, also with `If-None-Match: *`."""
    first = await ask("POST", "/tags", {"name": "a", "size": 1})
    await ask("DELETE", "/tags/a")
    again = await ask("POST", "/tags", {"name": "a"})
    assert (again.status, again.json["created_on"] > first.json["created_on"]) == (201, True)
    assert (await ask("POST", "/tags", {"name": "a"})).status == 409
    await ask("DELETE", "/tags/a")
    back = await ask("PUT", "/tags/a", {"size": 2}, If_None_Match="*")
    assert (back.status, back.json["created_on"]) == (201, again.json["created_on"])
    assert (await ask("PUT", "/tags/a", {"size": 2}, If_None_Match="*")).status == 412
    await ask("DELETE", "/tags/a")
    operations = [{"action": "replace", "key": "a", "document": {"size": 3}}, {"action": "delete", "key": "a"}]
    done = (await ask("POST", "/tags/_bulk", {"operations": operations})).json["items"]
    assert [each["status"] for each in done] == [201, 204]


async def test_an_idempotency_key_of_a_deleted_document_is_410(ask: Client) -> None:
    """For keys of CouchDB's and of the client's."""
    for path, body in (("/tasks", {}), ("/tags", {"name": "k"})):
        first = await ask("POST", path, body, Idempotency_Key="7")
        await ask("DELETE", first.headers["Location"])
        assert (await ask("POST", path, body, Idempotency_Key="7")).status == 410


class TestPolicies:
    async def test_deleted_ones_are_for_those_who_are_allowed(self, serve: Serve, store: Store) -> None:
        """Neither for everybody who may read, nor by way of a PUT; who may not cannot tell that there are any."""
        policy = Authenticated(ByHeader(), read_anonymous=True) & (
            Roles({"deleted": {"keeper"}, "restore": {"keeper"}, "*": None}, ByHeader())
        )
        ask = await serve(Application(resource("/tasks", Task, store, policy=policy)))
        path = (await ask("POST", "/tasks", {}, X_Name="ann")).headers["Location"]
        await ask("DELETE", path, X_Name="ann")
        for address in (f"{path}?deleted=true", "/tasks?deleted=true", "/tasks/none?deleted=true"):
            assert (await ask("GET", address)).status == 401
            assert (await ask("GET", address, X_Name="ann")).status == 403
        for address in (path, "/tasks/none"):
            assert (await ask("PUT", address, {}, X_Name="ann")).status == 404

    async def test_owners_see_their_own(self, serve: Serve, store: Store) -> None:
        """In lists and one by one."""
        ask = await serve(Application(resource("/tasks", Task, store, policy=Owner("owner", ByHeader()))))
        paths = {}
        for name in ("ann", "bob"):
            paths[name] = (await ask("POST", "/tasks", {}, X_Name=name)).headers["Location"]
            await ask("DELETE", paths[name], X_Name=name)
        for name, other in (("ann", "bob"), ("bob", "ann")):
            listed = (await ask("GET", "/tasks?deleted=true", X_Name=name)).json["items"]
            assert [each["_href"] for each in listed] == [paths[name]]
            assert (await ask("GET", f"{paths[other]}?deleted=true", X_Name=name)).status == 404
            assert (await ask("PUT", paths[other], {}, X_Name=name)).status == 404
        assert (await ask("PUT", paths["ann"], {}, X_Name="ann")).status == 201
