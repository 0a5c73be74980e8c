"""Documents that do not fit their model any more, over HTTP: said so, left out of lists, and mendable."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from annotated_types import Ge
from tornado.httputil import HTTPServerRequest

from tests.web.conftest import Client, Serve
from tornado_couch import (
    AllowAny,
    Application,
    CreatedOn,
    Database,
    Hooks,
    Indexed,
    Key,
    Model,
    ReadOnly,
    Store,
    UpdatedOn,
    install,
    resource,
)
from tornado_couch.errors import InvalidDocument
from tornado_couch.security import KeyRing
from tornado_couch.web import Owner, Principal

MERGE, JSON_PATCH = "application/merge-patch+json", "application/json-patch+json"
INVALID = "urn:tornado-couch:problem:invalid-document"
RING = KeyRing.create()


class Fruit(Model, type="fruit_v1.0", key="fruit_id"):
    fruit_id: Key
    color: Annotated[str, Indexed()]
    weight: Annotated[int | None, Ge(0)] = None
    owner: Annotated[str | None, ReadOnly(), Indexed()] = None
    grade: Annotated[int, ReadOnly()] = 0
    created_on: CreatedOn
    updated_on: UpdatedOn


class Kept(Model, type="kept_v1.0", key="name", soft_delete=True, unique=True):
    name: str
    size: int = 0


class Versioned(Model, type="versioned_v1.0", key="name", history=True):
    name: str
    size: int = 0


class Named(Model, type="named_v1.0", key="name"):
    name: str
    size: int = 0


MODELS = [Fruit, Kept, Versioned, Named]


@pytest.fixture(params=["unsigned", "signed"])
async def store(database: Database, request: pytest.FixtureRequest) -> Store:
    """A store of all models."""
    await install(database.server, database.name, MODELS)  # type: ignore[arg-type]
    return Store(database, signer=RING if request.param == "signed" else None)


def routes(store: Store, **options: Any) -> list[Any]:
    return [*resource("/fruits", Fruit, store, **options), *resource("/kept", Kept, store),
            *resource("/versioned", Versioned, store), *resource("/named", Named, store)]  # fmt: skip


@pytest.fixture
async def ask(store: Store, serve: Serve) -> Client:
    """A client that may do all."""
    return await serve(Application(routes(store), policy=AllowAny()))


async def spoil(store: Store, document_id: str, **values: Any) -> None:
    """Write values into a document past the model, as another program with the keys does."""
    document = {**await store.stored(document_id), **values}
    await store.writer.put(store._guard.signed(document))


@pytest.fixture
async def spoiled(ask: Client, store: Store) -> str:
    """The address of a fruit whose weight is no number, and whose grade is none either."""
    created = await ask("POST", "/fruits", {"color": "red", "weight": 3})
    await spoil(store, created.json["fruit_id"], weight="heavy", grade="A", note="kept")
    return str(created.headers["Location"])


async def test_a_read_says_which_property_is_wrong(ask: Client, spoiled: str) -> None:
    """502 of its own kind, without the values."""
    reply = await ask("GET", spoiled)
    assert (reply.status, reply.json["type"]) == (502, INVALID)
    assert [each["pointer"] for each in reply.json["errors"]] == ["/weight", "/grade"]
    assert b"heavy" not in reply.text


async def test_a_list_and_an_export_withhold_and_count_it(ask: Client, spoiled: str) -> None:
    """The others are there."""
    await ask("POST", "/fruits", {"color": "red"})
    listed = await ask("GET", "/fruits")
    assert (len(listed.json["items"]), listed.json["withheld"]) == (1, 1)
    lines = (await ask("GET", "/fruits", Accept="application/x-ndjson")).text.splitlines()
    assert [json.loads(each).get("withheld") for each in lines] == [None, 1]


async def test_it_can_be_replaced(ask: Client, spoiled: str, store: Store) -> None:
    """PUT needs nothing of the old body; what the model does not know is kept, and a wrong read-only one is reset."""
    reply = await ask("PUT", spoiled, {"color": "blue", "weight": 4})
    assert (reply.status, reply.json["color"], reply.json["weight"], reply.json["grade"]) == (200, "blue", 4, 0)
    assert reply.json["created_on"]
    assert (await ask("GET", spoiled)).json == reply.json
    assert (await store.stored(reply.json["fruit_id"]))["note"] == "kept"


async def test_it_can_be_deleted(ask: Client, spoiled: str) -> None:
    """DELETE needs its revision alone."""
    refused = await ask("DELETE", spoiled, If_Match='"1-00000000000000000000000000000000"')
    assert refused.status == 412
    assert (await ask("DELETE", spoiled)).status == 204
    assert (await ask("GET", spoiled)).status == 404


async def test_a_patch_works_where_the_result_is_valid(ask: Client, store: Store) -> None:
    """Otherwise it says what is not."""
    created = await ask("POST", "/fruits", {"color": "red", "weight": 3})
    await spoil(store, created.json["fruit_id"], weight="heavy")
    address = created.headers["Location"]
    refused = await ask("PATCH", address, {"color": "blue"}, Content_Type=MERGE)
    assert refused.status == 422
    assert [each["pointer"] for each in refused.json["errors"]] == ["/weight"]
    operations = [{"op": "test", "path": "/weight", "value": "heavy"}, {"op": "replace", "path": "/weight", "value": 1}]
    data = json.dumps(operations).encode()
    assert (await ask("PATCH", address, data=data, Content_Type=JSON_PATCH)).json["weight"] == 1
    await spoil(store, created.json["fruit_id"], weight="heavy")
    assert (await ask("PATCH", address, {"weight": None}, Content_Type=MERGE)).status == 200
    assert "weight" not in (await ask("GET", address)).json


async def test_in_a_bulk_request_as_well(ask: Client, store: Store) -> None:
    """Each operation has the outcome that it has by itself."""
    keys = []
    for _ in range(3):
        created = await ask("POST", "/fruits", {"color": "red"})
        keys.append(created.json["fruit_id"])
        await spoil(store, keys[-1], color=3)
    operations = [
        {"action": "replace", "key": keys[0], "document": {"color": "blue"}},
        {"action": "delete", "key": keys[1]},
        {"action": "replace", "key": keys[2], "document": {"color": 4}},
    ]
    reply = await ask("POST", "/fruits/_bulk", {"operations": operations})
    assert [each["status"] for each in reply.json["items"]] == [200, 204, 422], reply.json


@pytest.mark.parametrize("path", ["/kept", "/versioned"])
async def test_where_deleted_documents_are_kept(ask: Client, store: Store, path: str) -> None:
    """A deletion marks it as it is. It cannot come back so, and a new one can take its place."""
    created = await ask("POST", path, {"name": "a", "size": 1})
    assert created.status == 201
    cls: type[Model] = Kept if path == "/kept" else Versioned
    document_id = str((await store.get(cls, "a"))._id)
    await spoil(store, document_id, size="big")
    assert (await ask("GET", f"{path}/a")).status == 502
    assert (await ask("DELETE", f"{path}/a")).status == 204
    assert (await ask("GET", f"{path}/a")).status == 404
    with pytest.raises(InvalidDocument, match="/size"):
        await store.restore(cls, "a")
    assert (await ask("POST", path, {"name": "a", "size": 2})).status == 201
    assert (await ask("GET", f"{path}/a")).json["size"] == 2


async def test_a_key_that_it_has_is_taken(ask: Client, store: Store) -> None:
    """A document that cannot be read is there all the same."""
    await ask("POST", "/named", {"name": "a"})
    await spoil(store, str((await store.get(Named, "a"))._id), size="big")
    assert (await ask("POST", "/named", {"name": "a"})).status == 409


class Header:
    """Believes a header."""

    challenge = "Name"

    async def authenticate(self, request: HTTPServerRequest) -> Principal | None:
        """Who it says."""
        name = request.headers.get("X-Name")
        return Principal(name) if name else None


@pytest.mark.parametrize(
    ("values", "own", "others"),
    [({"weight": "heavy"}, 502, 404), ({"owner": 3}, 502, 502)],
    ids=["another property", "the owner itself"],
)
async def test_only_its_owner_is_told(
    store: Store, serve: Serve, values: dict[str, Any], own: int, others: int
) -> None:
    """The policy is asked first. Where the owner cannot be read, nobody can be let through."""
    ask = await serve(Application(routes(store, policy=Owner("owner", Header())), policy=AllowAny()))
    created = await ask("POST", "/fruits", {"color": "red"}, X_Name="ann")
    assert created.status == 201, created.text
    await spoil(store, created.json["fruit_id"], **values)
    address = created.headers["Location"]
    assert (await ask("GET", address, X_Name="ann")).status == own
    assert (await ask("GET", address, X_Name="bo")).status == others
    assert (await ask("DELETE", address, X_Name="bo")).status == others
    assert (await ask("DELETE", address, X_Name="ann")).status == (204 if own != others else own)


async def test_a_hook_that_asks_for_what_is_wrong_gets_no_wrong_value(store: Store, serve: Serve) -> None:
    """The model has no such attribute, which is 502 and not 500."""

    class Asking(Hooks):
        async def before(self, event: Any, model: Any = None, current: Any = None) -> Any:
            if current is not None:
                assert current.color == "red"
                return current.weight and model
            return model

    ask = await serve(Application(resource("/fruits", Fruit, store, hooks=Asking()), policy=AllowAny()))
    created = await ask("POST", "/fruits", {"color": "red", "weight": 3})
    await spoil(store, created.json["fruit_id"], weight="heavy")
    reply = await ask("PUT", created.headers["Location"], {"color": "blue"})
    assert (reply.status, reply.json["type"]) == (502, INVALID)


async def test_an_update_in_python_may_mend_it(store: Store) -> None:
    """What is still wrong afterwards is never written."""
    fruit = await store.create(Fruit(color="red", weight=3))
    await spoil(store, str(fruit._id), weight="heavy")

    def with_color(found: Fruit) -> None:
        found.color = "blue"

    def with_weight(found: Fruit) -> None:
        found.weight = 5

    changes: list[tuple[Callable[[Fruit], None], bool]] = [(with_color, False), (with_weight, True)]
    for change, mends in changes:
        if mends:
            assert (await store.update(Fruit, fruit.fruit_id, change)).weight == 5
        else:
            with pytest.raises(InvalidDocument, match="/weight"):
                await store.update(Fruit, fruit.fruit_id, change)
    assert (await store.get(Fruit, fruit.fruit_id)).weight == 5
