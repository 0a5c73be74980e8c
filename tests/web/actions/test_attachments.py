"""Documents with files of other programs, over HTTP: whatever a client sends, nothing is lost and nothing refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.store.test_attachments import BOTH, OLD, Diary, Files, Item, Letter, Page, conflicting, with_files, written
from tests.web.conftest import MERGE, Client, Serve
from tornado_couch import AllowAny, Application, Database, Store, install, resource

MODELS: list[type[Any]] = [Page, Letter, Diary]
PATHS = {Page: "/pages", Letter: "/letters", Diary: "/diaries"}


@pytest.fixture
def files(database: Database, server_url: str) -> Files:
    return Files(database, server_url)


@pytest.fixture
async def store(database: Database) -> Store:
    await install(database.server, database.name, [*MODELS, Item])  # type: ignore[arg-type]
    return Store(database, crypter=OLD)


@pytest.fixture
async def ask(store: Store, serve: Serve) -> Client:
    """A client of a service with a resource of each kind."""
    routes = [each for cls in MODELS for each in resource(PATHS[cls], cls, store)]
    return await serve(Application([*routes, *resource("/items", Item, store)], policy=AllowAny()))


async def latest(store: Store, files: Files, cls: type[Any], key: str) -> dict[str, bytes]:
    return await files.of((await store.get(cls, key))._id)


@pytest.mark.parametrize("cls", MODELS)
async def test_put_patch_bulk_delete_and_restore(ask: Client, store: Store, files: Files, cls: type[Any]) -> None:
    """One after the other, each with the entity tag of the one before."""
    key = (await written(store, files, cls))._key
    path = f"{PATHS[cls]}/{key}"
    tag = (await ask("GET", path)).headers["ETag"]
    replaced = await ask("PUT", path, {"color": "blue"}, If_Match=tag)
    assert (replaced.status, await latest(store, files, cls, key)) == (200, BOTH)
    tag = replaced.headers["ETag"]
    patched = await ask("PATCH", path, {"color": "green"}, If_Match=tag, Content_Type=MERGE)
    assert (patched.status, patched.json["color"], await latest(store, files, cls, key)) == (200, "green", BOTH)
    operations = [{"action": "replace", "key": key, "document": {"color": "red"}}]
    many = await ask("POST", f"{PATHS[cls]}/_bulk", {"operations": operations})
    assert ([each["status"] for each in many.json["items"]], await latest(store, files, cls, key)) == ([200], BOTH)
    assert "_attachments" not in (await ask("GET", path)).json
    assert (await ask("DELETE", path)).status == 204
    if cls is not Page:
        assert (await ask("PUT", path, {"color": "blue"})).status == 201
        assert await latest(store, files, cls, key) == BOTH


@pytest.mark.parametrize("decision", ["merge", "leaf", "document"])
async def test_a_decision_keeps_the_files_of_all_leaves(ask: Client, store: Store, files: Files, decision: str) -> None:
    """Clients do not see them, so no decision can be about them."""
    await conflicting(store.database, with_files({"x": b"one"}), with_files({"y": b"other"}), base={})
    leaves = (await ask("GET", "/items/a/conflicts")).json["items"]
    body = {"merge": True, "leaf": leaves[1]["_etag"], "document": {"name": "a", "color": "blue"}}[decision]
    assert (await ask("POST", "/items/a/conflicts", {decision: body}, If_Match="*")).status == 200
    assert await files.of("item:a") == {"x": b"one", "y": b"other"}
    assert len((await ask("GET", "/items/a/conflicts")).json["items"]) == 1
