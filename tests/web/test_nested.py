"""Nested collections: `/customers/{customer_id}/orders` is the orders of one customer, and knows of no others."""

from __future__ import annotations

import json
from typing import Annotated

import pytest

from tests.web.callers import ByHeader
from tests.web.conftest import MERGE, Client, Serve, path
from tornado_couch import (
    AllowAny,
    Application,
    Count,
    Database,
    Indexed,
    Key,
    Model,
    ReadOnly,
    Reference,
    Store,
    assigned,
    install,
    openapi_document,
    resource,
)
from tornado_couch.web import Owner

NDJSON = "application/x-ndjson"
ADA, BOB = {"X_Name": "ada"}, {"X_Name": "bob"}


class Customer(Model, type="customer_v1.0", key="name", unique=True):
    name: str
    owner: Annotated[str | None, ReadOnly(), Indexed()] = None


class Order(
    Model,
    type="order_v1.0",
    key="number",
    unique=True,
    soft_delete=True,
    indexes=[("customer_id", "color")],
    reductions={"by_customer": Count("customer_id", "color"), "by_color": Count("color")},
):
    number: str
    customer_id: Annotated[str, Reference(Customer, on_delete="cascade"), Indexed()]
    color: str = "red"


class Line(Model, type="line_v1.0", key="line_id"):
    """Bears the names of its order and of the customer."""

    line_id: Key = assigned()
    customer_id: Annotated[str, Reference(Customer)]
    order_id: Annotated[str, Reference(Order, on_delete="cascade"), Indexed()]
    text: str = ""


class Diary(Model, type="diary_v1.0", key="diary_id", history=True):
    """Keeps its versions."""

    diary_id: Key = assigned()
    customer_id: Annotated[str, Reference(Customer), Indexed()]
    text: str = ""


MODELS: list[type[Model]] = [Customer, Order, Line, Diary]


@pytest.fixture
async def ask(database: Database, serve: Serve) -> Client:
    """A client of a service with nested collections, and the customers of Ada and Bob."""
    await install(database.server, database.name, MODELS)
    store = Store(database)
    routes = [
        *resource("/customers", Customer, store, policy=Owner("owner", ByHeader())),
        *resource("/customers/{customer_id}/orders", Order, store, create_by_put=True, many=["patch", "destroy"]),
        *resource("/orders", Order, store),
        *resource("/customers/{customer_id}/diary", Diary, store),
    ]
    client = await serve(Application(routes, policy=AllowAny(ByHeader())))
    for name, who in (("a/ö", ADA), ("bob", BOB), ("second", ADA)):
        assert (await client("POST", "/customers", {"name": name}, **who)).status == 201
    return client


A, SECOND = "/customers/a%2F%C3%B6/orders", "/customers/second/orders"


async def test_what_is_created_belongs_to_the_parent(ask: Client) -> None:
    """The reference is filled in, by POST, PUT, arrays, lines and bulk requests; addresses are the nested ones."""
    reply = await ask("POST", A, {"number": "1"}, **ADA)
    assert (reply.status, reply.json["customer_id"], path(reply)) == (201, "a/ö", f"{A}/1")
    assert (await ask("PUT", f"{A}/2", {}, **ADA)).status == 201
    reply = await ask("POST", A, [{"number": "3"}], **ADA)  # type: ignore[arg-type]
    assert reply.json["items"][0]["_href"] == f"{A}/3"
    reply = await ask("POST", A, data=b'{"number": "4"}', Content_Type=NDJSON, **ADA)
    assert json.loads(reply.text)["_href"] == f"{A}/4"
    operations = [
        {"action": "create", "document": {"number": "5", "customer_id": "a/ö"}},
        {"action": "replace", "key": "1", "document": {"color": "green"}},
    ]
    reply = await ask("POST", f"{A}/_bulk", {"operations": operations}, **ADA)
    assert [each["status"] for each in reply.json["items"]] == [201, 200]
    items = (await ask("GET", A, **ADA)).json["items"]
    assert {each["customer_id"] for each in items} == {"a/ö"}
    assert [each["_href"] for each in items] == [f"{A}/{number}" for number in "12345"]
    assert (await ask("GET", f"{A}/1", **ADA)).json["color"] == "green"


async def test_another_parent_in_the_body_is_refused(ask: Client) -> None:
    """422 that points at it, also where it is null; the document cannot be moved by PUT or PATCH."""
    await ask("POST", A, {"number": "1"}, **ADA)
    for other in ("second", None, 7):
        body = {"number": "2", "customer_id": other}
        for method, where, sent, kind in (
            ("POST", A, body, "application/json"),
            ("PUT", f"{A}/1", {"customer_id": other}, "application/json"),
            *([("PATCH", f"{A}/1", {"customer_id": other}, MERGE)] if other else []),
        ):
            reply = await ask(method, where, sent, Content_Type=kind, **ADA)
            assert (reply.status, reply.json["errors"][0]["pointer"]) == (422, "/customer_id")
    assert (await ask("GET", f"{A}/1", **ADA)).json["customer_id"] == "a/ö"
    assert len((await ask("GET", "/orders")).json["items"]) == 1


async def test_lists_are_limited_to_the_parent(ask: Client) -> None:
    """Pages, counts, exports, filters and reduced views; `next` and Link go on within it."""
    for where, numbers in ((A, "123"), (SECOND, "456")):
        for number in numbers:
            await ask("POST", where, {"number": number, "color": "green" if number in "26" else "red"}, **ADA)
    page = await ask("GET", f"{A}?limit=2&count=true", **ADA)
    assert ([each["number"] for each in page.json["items"]], page.json["total"]) == (["1", "2"], 3)
    assert page.json["next"].startswith(f"{A}?")
    assert f'<{page.json["next"]}>; rel="next"' in page.headers["Link"]
    assert [each["number"] for each in (await ask("GET", page.json["next"], **ADA)).json["items"]] == ["3"]
    crossed = page.json["next"].replace(A, SECOND)
    assert (await ask("GET", crossed, **ADA)).status == 400
    lines = (await ask("GET", A, Accept=NDJSON, **ADA)).text.splitlines()
    assert [json.loads(each)["number"] for each in lines] == ["1", "2", "3"]
    assert [each["number"] for each in (await ask("GET", f"{A}?color=red", **ADA)).json["items"]] == ["1", "3"]
    assert [each["number"] for each in (await ask("GET", f"{A}?sort=-color", **ADA)).json["items"]] == ["3", "1", "2"]
    assert (await ask("GET", f"{A}?customer_id=second", **ADA)).json["items"] == []
    groups = (await ask("GET", f"{A}/by_customer?level=2", **ADA)).json["items"]
    assert groups == [{"key": ["a/ö", "green"], "value": 1}, {"key": ["a/ö", "red"], "value": 2}]
    assert (await ask("GET", f"{A}/by_color", **ADA)).status == 404


async def test_documents_of_another_parent_are_not_there(ask: Client) -> None:
    """404 for each method, as for a document that there is not; a unique key is taken all the same."""
    await ask("POST", A, {"number": "1"}, **ADA)
    absent = (await ask("GET", f"{SECOND}/0", **ADA)).json["detail"]
    for method, body, kind in (
        ("GET", None, ""),
        ("PATCH", {"color": "green"}, MERGE),
        ("DELETE", None, ""),
    ):
        headers = {"Content_Type": kind} if kind else {}
        reply = await ask(method, f"{SECOND}/1", body, **headers, **ADA)
        assert (reply.status, reply.json["detail"]) == (404, absent)
    assert (await ask("POST", SECOND, {"number": "1"}, **ADA)).status == 409
    assert (await ask("PUT", f"{SECOND}/1", {"color": "green"}, **ADA)).status == 404
    operations = [{"action": "delete", "key": "1"}, {"action": "replace", "key": "1", "document": {}}]
    reply = await ask("POST", f"{SECOND}/_bulk", {"operations": operations}, **ADA)
    assert [each["status"] for each in reply.json["items"]] == [404, 404]
    assert (await ask("GET", f"{A}/1", **ADA)).json["color"] == "red"


async def test_a_parent_that_is_absent_or_hidden_has_no_collection(ask: Client) -> None:
    """404 for each method and each address below, before the body is looked at; whether it is hidden or not there."""
    await ask("POST", "/customers/bob/orders", {"number": "1"}, **BOB)
    for parent in ("bob", "nobody", "%20"):
        for method, rest, body in (
            ("GET", "", None),
            ("GET", "/1", None),
            ("POST", "", {"number": "2"}),
            ("POST", "", {"wrong": 1}),
            ("PUT", "/1", {}),
            ("DELETE", "/1", None),
            ("DELETE", "?color=red", None),
            ("POST", "/_bulk", {"operations": [{"action": "delete", "key": "1"}]}),
            ("GET", "/by_customer", None),
        ):
            assert (await ask(method, f"/customers/{parent}/orders{rest}", body, **ADA)).status == 404
        reply = await ask("POST", f"/customers/{parent}/orders", data=b'{"number": "3"}', Content_Type=NDJSON, **ADA)
        assert reply.status == 404
    assert len((await ask("GET", "/orders")).json["items"]) == 1
    assert (await ask("DELETE", "/customers/second", **ADA)).status == 204
    assert (await ask("GET", SECOND, **ADA)).status == 404


async def test_mass_changes_stay_within_the_parent(ask: Client) -> None:
    """`next` as well, and a filter is needed all the same."""
    for where, numbers in ((A, "123"), (SECOND, "456")):
        for number in numbers:
            await ask("POST", where, {"number": number}, **ADA)
    reply = await ask("PATCH", f"{A}?color=red&limit=2", {"color": "green"}, Content_Type=MERGE, **ADA)
    assert [each["_href"] for each in reply.json["items"]] == [f"{A}/1", f"{A}/2"]
    assert reply.json["next"].startswith(f"{A}?")
    reply = await ask("PATCH", reply.json["next"], {"color": "green"}, Content_Type=MERGE, **ADA)
    assert [each["_href"] for each in reply.json["items"]] == [f"{A}/3"]
    assert (await ask("DELETE", A, **ADA)).json["type"].endswith("filter-required")
    assert len((await ask("DELETE", f"{SECOND}?color=red", **ADA)).json["items"]) == 3
    assert len((await ask("GET", "/orders?sort=number")).json["items"]) == 3


async def test_deleted_documents_and_versions_are_within_the_parent(ask: Client) -> None:
    """What was deleted is listed and restored there alone, and versions have nested addresses."""
    await ask("POST", A, {"number": "1"}, **ADA)
    assert (await ask("DELETE", f"{A}/1", **ADA)).status == 204
    assert [each["number"] for each in (await ask("GET", f"{A}?deleted=true", **ADA)).json["items"]] == ["1"]
    assert (await ask("GET", f"{SECOND}?deleted=true", **ADA)).json["items"] == []
    assert (await ask("PUT", f"{SECOND}/1", {}, **ADA)).status in (404, 409)
    assert (await ask("PUT", f"{A}/1", {}, **ADA)).status == 201
    entry = path(await ask("POST", "/customers/second/diary", {"text": "a"}, **ADA))
    await ask("PUT", entry, {"text": "b"}, **ADA)
    versions = (await ask("GET", f"{entry}/versions?limit=1", **ADA)).json
    assert versions["items"][0]["_href"] == f"{entry}?version=2"
    assert versions["next"].startswith(f"{entry}/versions?")
    other = entry.replace("second", "a%2F%C3%B6")
    for rest in ("", "/versions", "?version=1"):
        assert (await ask("GET", f"{entry}{rest}", **ADA)).status == 200
        assert (await ask("GET", f"{other}{rest}", **ADA)).status == 404


async def test_an_idempotency_key_holds_for_one_parent(ask: Client) -> None:
    """The same key under another parent is another request."""
    headers = {"Idempotency_Key": '"k"', **ADA}
    first = path(await ask("POST", "/customers/second/diary", {"text": "a"}, **headers))
    other = path(await ask("POST", "/customers/a%2F%C3%B6/diary", {"text": "a"}, **headers))
    again = await ask("POST", "/customers/second/diary", {"text": "a"}, **headers)
    assert (path(again), first == other, again.headers["Idempotent-Replayed"]) == (first, False, "true")


async def test_include_and_deletions_go_with_nesting(ask: Client) -> None:
    """The parent can be embedded, and its deletion takes its orders with it."""
    await ask("POST", A, {"number": "1"}, **ADA)
    assert (await ask("GET", f"{A}?include=customer", **ADA)).json["items"][0]["customer"]["name"] == "a/ö"
    assert (await ask("DELETE", A.removesuffix("/orders"), **ADA)).status == 204
    assert (await ask("GET", "/orders/1")).status == 404


async def test_collections_nest_deeper(database: Database, serve: Serve) -> None:
    """Each document of the path has to be under those before it."""
    await install(database.server, database.name, MODELS)
    store = Store(database)

    class Indexing(Line, type="line_v1.0", key="line_id", indexes=[("customer_id", "order_id")]):
        """With the index that a collection under two documents needs."""

    await install(database.server, database.name, [Indexing])
    routes = [
        *resource("/customers", Customer, store),
        *resource("/customers/{customer_id}/orders", Order, store),
        *resource("/customers/{customer_id}/orders/{order_id}/lines", Indexing, store),
    ]
    ask = await serve(Application(routes, policy=AllowAny()))
    for name in ("a", "b"):
        await ask("POST", "/customers", {"name": name})
        await ask("POST", f"/customers/{name}/orders", {"number": f"of {name}"})
    lines = "/customers/a/orders/of%20a/lines"
    reply = await ask("POST", lines, {"text": "x"})
    assert (reply.json["customer_id"], reply.json["order_id"]) == ("a", "of a")
    assert path(reply).startswith(f"{lines}/")
    assert len((await ask("GET", lines)).json["items"]) == 1
    for wrong in ("/customers/a/orders/of%20b/lines", "/customers/b/orders/of%20a/lines"):
        assert (await ask("POST", wrong, {"text": "x"})).status == 404
        assert (await ask("GET", wrong)).status == 404


class Memo(Model, type="memo_v1.0", key="memo_id"):
    memo_id: Key = assigned()
    customer_id: Annotated[str, Reference(Customer), Indexed()]
    owner: Annotated[str | None, ReadOnly(), Indexed()] = None
    color: Annotated[str, Indexed()] = "red"


async def test_a_nested_collection_can_be_limited_to_its_owner(database: Database, serve: Serve) -> None:
    """Both limits hold, without an index of both, and filters go with them."""
    await install(database.server, database.name, [Customer, Memo])
    store = Store(database)
    routes = [
        *resource("/customers", Customer, store),
        *resource("/customers/{customer_id}/memos", Memo, store, policy=Owner("owner", ByHeader())),
    ]
    ask = await serve(Application(routes, policy=AllowAny(ByHeader())))
    for name in ("x", "y"):
        await ask("POST", "/customers", {"name": name})
        for who in (ADA, BOB):
            for color in ("red", "blue"):
                await ask("POST", f"/customers/{name}/memos", {"color": color}, **who)
    for query, colors in (("", ["blue", "red"]), ("?color=blue", ["blue"]), ("?color[ne]=blue", ["red"])):
        items = (await ask("GET", f"/customers/x/memos{query}", **ADA)).json["items"]
        assert sorted(each["color"] for each in items) == colors
        assert {(each["customer_id"], each["owner"]) for each in items} == {("x", "ada")}


class Entry(Model, type="entry_v1.0", key="entry_id"):
    entry_id: Key = assigned()
    customer_id: Annotated[str, ReadOnly(), Reference(Customer), Indexed()]
    text: str = ""


async def test_the_reference_can_be_read_only(database: Database, serve: Serve) -> None:
    """Then clients cannot send it at all, but as it is, and it comes from the path alone."""
    await install(database.server, database.name, [Customer, Entry])
    store = Store(database)
    routes = [*resource("/customers", Customer, store), *resource("/customers/{customer_id}/entries", Entry, store)]
    ask = await serve(Application(routes, policy=AllowAny()))
    await ask("POST", "/customers", {"name": "x"})
    entry = await ask("POST", "/customers/x/entries", {"text": "a"})
    assert (entry.status, entry.json["customer_id"]) == (201, "x")
    assert (await ask("POST", "/customers/x/entries", {"customer_id": "y"})).status == 422
    assert (await ask("PUT", path(entry), {**entry.json, "text": "b"})).status == 200
    assert (await ask("PATCH", path(entry), {"text": "c"}, Content_Type=MERGE)).json["customer_id"] == "x"
    assert (await ask("PATCH", path(entry), {"customer_id": "y"}, Content_Type=MERGE)).status == 422


async def test_actions_of_the_service_stay_within_the_parent(database: Database, serve: Serve) -> None:
    """On an order of another customer, or of one that is not there, they are 404; what they refer to is checked."""
    await install(database.server, database.name, [Customer, Order, Line])
    store = Store(database)

    def paint(order: Order) -> None:
        order.color = "green"

    def move(order: Order) -> None:
        order.customer_id = "nobody"

    routes = [
        *resource("/customers", Customer, store),
        *resource("/customers/{customer_id}/orders", Order, store, actions={"paint": paint, "move": move}),
    ]
    ask = await serve(Application(routes, policy=AllowAny()))
    for name in ("x", "y"):
        await ask("POST", "/customers", {"name": name})
    await ask("POST", "/customers/x/orders", {"number": "1"})
    reply = await ask("POST", "/customers/x/orders/1/paint")
    assert (reply.status, reply.json["color"]) == (200, "green")
    for parent in ("y", "nobody"):
        assert (await ask("POST", f"/customers/{parent}/orders/1/paint")).status == 404
    reply = await ask("POST", "/customers/x/orders/1/move")
    assert (reply.status, reply.json["errors"][0]["pointer"]) == (422, "/customer_id")


class Meter(Model, type="meter_v1.0", key="number", unique=True):
    number: int


class Reading(Model, type="reading_v1.0", key="reading_id"):
    reading_id: Key = assigned()
    meter_id: Annotated[int, Reference(Meter), Indexed()]


async def test_a_key_has_one_spelling(database: Database, serve: Serve) -> None:
    """An integer too: "007" is no other address of the collection under 7."""
    await install(database.server, database.name, [Meter, Reading])
    store = Store(database)
    routes = [*resource("/meters", Meter, store), *resource("/meters/{meter_id}/readings", Reading, store)]
    ask = await serve(Application(routes, policy=AllowAny()))
    await ask("POST", "/meters", {"number": 7})
    reply = await ask("POST", "/meters/7/readings", {})
    assert (reply.status, reply.json["meter_id"]) == (201, 7)
    assert (await ask("GET", "/meters/7/readings?include=meter")).json["items"][0]["meter"]["_href"] == "/meters/7"
    for spelling in ("007", "7.0", "+7", "%207", "x", "8"):
        assert (await ask("GET", f"/meters/{spelling}/readings")).status == 404
    for other in ("7", True, 8, None):
        assert (await ask("POST", "/meters/7/readings", {"meter_id": other})).status == 422


def test_a_wrong_path_is_an_error_when_it_is_mounted(database_free_store: Store) -> None:
    """The error says what to declare."""
    store = database_free_store
    with pytest.raises(ValueError, match="`client_id` is no reference of Order; declare"):
        resource("/customers/{client_id}/orders", Order, store)
    with pytest.raises(ValueError, match=r"has no index to list it by; declare Indexed\(\) on customer_id"):
        resource("/customers/{customer_id}/lines", Line, store)
    with pytest.raises(ValueError, match=r'declare indexes=\[\("customer_id", "order_id"\)\]'):
        resource("/customers/{customer_id}/orders/{order_id}/lines", Line, store)


@pytest.fixture
async def database_free_store(database: Database) -> Store:
    return Store(database)


def test_the_api_document_describes_nesting(database_free_store: Store) -> None:
    """The path has its parameters, the body leaves the reference out, and answers link to the documents."""
    store = database_free_store
    routes = [
        *resource("/customers", Customer, store),
        *resource("/customers/{customer_id}/orders", Order, store),
        *resource("/orders", Order, store),
    ]
    document = openapi_document(Application(routes, policy=AllowAny()))
    one = document["paths"]["/customers/{customer_id}/orders/{key}"]["get"]
    assert [each["name"] for each in one["parameters"] if each["in"] == "path"] == ["customer_id", "key"]
    links = one["responses"]["200"]["links"]
    assert links["customer"]["parameters"] == {"path.key": "$response.body#/customer_id"}
    assert links["customer"]["operationId"] == document["paths"]["/customers/{key}"]["get"]["operationId"]
    assert {"path.customer_id": "$request.path.customer_id"}.items() <= links[one["operationId"]]["parameters"].items()

    def needed(where: str) -> list[str]:
        body = document["paths"][where]["post"]["requestBody"]["content"]["application/json"]["schema"]
        name = body["anyOf"][0]["$ref"].rpartition("/")[2]
        return list(document["components"]["schemas"][name]["required"])

    assert needed("/orders") == ["number", "customer_id"]
    assert needed("/customers/{customer_id}/orders") == ["number"]
    included = document["components"]["schemas"]["OrderItem"]["properties"]["customer"]
    assert {"$ref": "#/components/schemas/CustomerItem"} in included["anyOf"]
    names = [each["name"] for each in one["parameters"] if each["in"] == "query"]
    assert "include" in names
    assert {"409", "204"} <= document["paths"]["/customers/{key}"]["delete"]["responses"].keys()

