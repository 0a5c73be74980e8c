"""The names below a resource: what no key and no action can have, and how documents with such a key are reached."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from tornado.routing import URLSpec

from tests.web.conftest import Client, Serve
from tornado_couch import (
    AllowAny,
    Application,
    Couch,
    Count,
    Database,
    Indexed,
    Model,
    ResourceHandler,
    Store,
    install,
    openapi_document,
    resource,
)
from tornado_couch.web.names import OF_COLLECTION, OF_DOCUMENT

NAMES = ["_bulk", "_changes", "_sort", "by_color"]


class Fruit(Model, type="fruit_v1.0", key="name", unique=True, reductions={"by_color": Count("color")}):
    name: str
    color: Annotated[str, Indexed()] = "red"


def _sort() -> None: ...


@pytest.fixture
async def store(database: Database) -> Store:
    """A store of fruits."""
    await install(database.server, database.name, [Fruit])  # type: ignore[arg-type]
    return Store(database)


def application(store: Store, **options: Any) -> Application:
    return Application(resource("/fruits", Fruit, store, policy=AllowAny(), **options))


@pytest.fixture
async def ask(store: Store, serve: Serve) -> Client:
    """A client of a service that has an action of its collection, and whose clients choose keys."""
    return await serve(application(store, create_by_put=True, actions={"_sort": _sort}))


@pytest.mark.parametrize("name", NAMES)
async def test_no_new_document_has_a_name_below_the_collection(ask: Client, name: str) -> None:
    """422, however it is created: it would have the address of something else."""
    for reply in (
        await ask("POST", "/fruits", {"name": name}),
        await ask("PUT", f"/fruits/%{ord(name[0]):X}{name[1:]}", {}),
    ):
        assert (reply.status, reply.json["errors"][0]["pointer"]) == (422, "/name")


@pytest.mark.parametrize("name", NAMES)
async def test_an_older_document_with_such_a_key_stays_reachable(ask: Client, store: Store, name: str) -> None:
    """By percent-encoding, as lists and answers have its address."""
    await store.create(Fruit(name=name))
    (item,) = (await ask("GET", "/fruits")).json["items"]
    assert item["_href"] == f"/fruits/%{ord(name[0]):X}{name[1:]}"
    assert (await ask("GET", item["_href"])).json["name"] == name
    assert (await ask("PUT", item["_href"], {"color": "blue"})).json["color"] == "blue"
    assert (await ask("DELETE", item["_href"])).status == 204


@pytest.mark.parametrize("name", NAMES)
async def test_every_method_at_such_a_name_is_answered_as_described(ask: Client, name: str) -> None:
    """A PUT there is no creation, and a GET is no document: the API document has the answer for both addresses."""
    for method in ("GET", "PUT", "PATCH", "DELETE", "POST"):
        reply = await ask(method, f"/fruits/{name}", {} if method in ("PUT", "PATCH") else None)
        assert reply.status in (200, 204, 400, 404, 405, 415, 422)


def test_the_api_document_says_which_keys_there_are_not(store: Store) -> None:
    """And what a request with one of them is answered with."""
    paths = openapi_document(application(store, actions={"_sort": _sort}))["paths"]
    (key,) = paths["/fruits/{key}"]["put"]["parameters"][:1]
    assert key["schema"]["not"] == {"enum": [".", "..", *(name for name in NAMES if name != "_changes")]}
    for method in ("get", "put", "patch", "delete"):
        assert "Allow" in paths["/fruits/{key}"][method]["responses"]["405"]["headers"]


def test_two_things_with_one_name_below_a_document_are_refused(store: Store) -> None:
    """An action, and a collection that is mounted below the documents."""
    routes = resource("/fruits", Fruit, store, actions={"seeds": lambda fruit: None})
    nested = [("/fruits/([^/]+)/seeds", ResourceHandler, routes[0].kwargs)]
    with pytest.raises(ValueError, match=r"/fruits/\{key\}/seeds is the address of two things"):
        Application([*routes, *(URLSpec(*each) for each in nested)], policy=AllowAny())


def test_two_routes_with_one_name_are_refused(store: Store) -> None:
    """`reverse_url` would find the last one only."""
    routes = [*resource("/fruits", Fruit, store, name="fruits"), *resource("/others", Fruit, store, name="fruits")]
    with pytest.raises(ValueError, match=r"/others.*: another route is called 'fruits"):
        Application(routes, policy=AllowAny())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        *((name, f"/fruits/{name} is the address of {what}") for name, what in OF_COLLECTION.items()),
        *((name, f"/fruits/{{key}}/{name} is the address of {what}") for name, what in OF_DOCUMENT.items()),
        ("list", "policies know 'list' as something else"),
        ("a/b", "the name of an action has letters, digits, hyphens and underscores"),
        ("", "the name of an action has letters"),
    ],
)
def test_a_name_that_is_taken_is_refused_when_it_is_mounted(name: str, message: str) -> None:
    """With one sentence that says what has the address already."""
    with pytest.raises(ValueError, match=message.replace("{", r"\{").replace("}", r"\}")):
        resource("/fruits", Fruit, Store(Couch("http://127.0.0.1:9")["orchard"]), actions={name: lambda fruit: None})
