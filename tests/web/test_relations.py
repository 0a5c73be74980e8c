"""References over HTTP: checked as the caller sees what is referred to, embedded, and followed by deletions."""

from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from tests.web.callers import ByHeader
from tests.web.conftest import MERGE, Client, Reply, Serve, path
from tornado_couch import (
    AllowAny,
    Application,
    Database,
    Encrypted,
    Hooks,
    Indexed,
    Key,
    Model,
    Problem,
    Reference,
    RetrieveMixin,
    Store,
    UpdatedOn,
    WriteOnly,
    assigned,
    install,
    resource,
)
from tornado_couch import ReadOnly as Unsettable
from tornado_couch.security import KeyRing
from tornado_couch.store import references
from tornado_couch.web import Event, Owner

NDJSON = "application/x-ndjson"
ADA, BOB = {"X_Name": "ada"}, {"X_Name": "bob"}


class Customer(Model, type="customer_v1.0", key="customer_id"):
    customer_id: Key = assigned()
    name: str = ""
    pin: Annotated[str | None, WriteOnly()] = None
    secret: Annotated[str | None, Encrypted()] = None
    owner: Annotated[str | None, Unsettable(), Indexed()] = None


class Product(Model, type="product_v1.0", key="code", unique=True):
    code: str
    parent_id: Annotated[str | None, Reference(lambda: Product), Indexed()] = None


class Line(BaseModel):
    product_id: Annotated[str, Reference(Product)]
    amount: int = 1


class Order(Model, type="order_v1.0", key="order_id", soft_delete=True):
    order_id: Key = assigned()
    customer_id: Annotated[str, Reference(Customer, on_delete="cascade"), Indexed()]
    product_ids: Annotated[list[str], Reference(Product, on_delete="set null"), Indexed(members=True)] = Field(
        default_factory=list
    )
    lines: list[Line] = Field(default_factory=list)
    color: Annotated[str, Indexed()] = "red"
    updated_on: UpdatedOn = assigned()


class Invoice(Model, type="invoice_v1.0", key="invoice_id"):
    invoice_id: Key = assigned()
    order_id: Annotated[str | None, Reference(Order, on_delete="refuse"), Indexed()] = None
    owner: Annotated[str | None, Unsettable(), Indexed()] = None


class Room(Model, type="room_v1.0", key="room_id"):
    room_id: Key = assigned()


class Guest(Model, type="guest_v1.0", key="guest_id"):
    guest_id: Key = assigned()
    room_id: Annotated[str, Reference(Room, on_delete="cascade"), Indexed()]
    owner: Annotated[str | None, Unsettable(), Indexed()] = None


class Noting(Hooks):
    """Notes what it is called for, and refuses where it is told to."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.refused = ""

    async def before(self, event: Event, model: Any = None, current: Any = None) -> Model | None:
        self.called.append(f"before {event.action}")
        if event.action == self.refused:
            raise Problem(403, detail="Not now.")
        return None

    async def after(self, event: Event, model: Any, shown: dict[str, Any] | None) -> None:
        self.called.append(f"after {event.action}")


MODELS: list[type[Model]] = [Customer, Product, Order, Invoice, Room, Guest]


@pytest.fixture
async def store(database: Database) -> Store:
    await install(database.server, database.name, MODELS)
    return Store(database, crypter=KeyRing.create())


@pytest.fixture
def orders() -> Noting:
    return Noting()


@pytest.fixture
async def ask(store: Store, serve: Serve, orders: Noting) -> Client:
    """A client of the shop; customers and invoices belong to those who created them."""
    routes = [
        *resource("/customers", Customer, store, policy=Owner("owner", ByHeader())),
        *resource("/products", Product, store, create_by_put=True),
        *resource("/orders", Order, store, many=["patch", "destroy"], hooks=orders),
        *resource("/invoices", Invoice, store, policy=Owner("owner", ByHeader(), admin_role="admin")),
    ]
    return await serve(Application(routes, policy=AllowAny(ByHeader())))


async def made(ask: Client, where: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    """The document that a POST creates."""
    reply = await ask("POST", where, body, **headers)
    assert reply.status == 201, reply.text
    return {**reply.json, "_at": path(reply)}


def wrong(reply: Reply) -> list[str]:
    """The pointers to what is wrong."""
    assert reply.status == 422, reply.text
    assert {each["keyword"] for each in reply.json["errors"]} == {"reference"}
    return [each["pointer"] for each in reply.json["errors"]]


# ---------------------------------------------------------------- checked when written


async def test_each_bad_reference_is_pointed_at(ask: Client) -> None:
    """POST, PUT and PATCH are refused with 422, and nothing is stored."""
    customer = await made(ask, "/customers", {}, **ADA)
    await made(ask, "/products", {"code": "a"})
    good = {"customer_id": customer["customer_id"], "product_ids": ["a"], "lines": [{"product_id": "a"}]}
    bad = {**good, "product_ids": ["a", "b"], "lines": [{"product_id": "c"}]}
    places = ["/product_ids/1", "/lines/0/product_id"]
    assert wrong(await ask("POST", "/orders", bad, **ADA)) == places
    order = (await made(ask, "/orders", good, **ADA))["_at"]
    assert wrong(await ask("PUT", order, bad, **ADA)) == places
    assert wrong(await ask("PATCH", order, {"lines": [{"product_id": "c"}]}, Content_Type=MERGE, **ADA)) == places[1:]
    assert wrong(await ask("PUT", "/products/new", {"code": "new", "parent_id": "none"})) == ["/parent_id"]
    assert wrong(await ask("POST", "/products", {"code": "new", "parent_id": ""})) == ["/parent_id"]
    assert (await ask("GET", order)).json["product_ids"] == ["a"]
    assert len((await ask("GET", "/orders")).json["items"]) == 1


async def test_what_the_caller_may_not_see_is_not_there(ask: Client) -> None:
    """A reference to somebody else's document is refused word for word as one to a document that does not exist."""
    customer = await made(ask, "/customers", {}, **ADA)
    hidden = await ask("POST", "/orders", {"customer_id": customer["customer_id"]}, **BOB)
    absent = await ask("POST", "/orders", {"customer_id": "0" * 32}, **BOB)
    assert wrong(hidden) == ["/customer_id"]
    assert hidden.text == absent.text
    liar = await ask("POST", "/orders", {"customer_id": customer["customer_id"]})
    assert liar.text == absent.text


async def test_requests_for_many_are_checked_as_well(ask: Client) -> None:
    """Arrays as a whole; lines, bulk operations and mass changes one by one."""
    customer = await made(ask, "/customers", {}, **ADA)
    good, bad = {"customer_id": customer["customer_id"]}, {"customer_id": "none"}
    assert wrong(await ask("POST", "/orders", [good, bad, bad], **ADA)) == ["/1/customer_id", "/2/customer_id"]  # type: ignore[arg-type]
    lines = b"\n".join(json.dumps(each).encode() for each in (good, bad, good))
    reply = await ask("POST", "/orders", data=lines, Content_Type=NDJSON, **ADA)
    found = [json.loads(line) for line in reply.text.splitlines()]
    assert [each["status"] for each in found] == [201, 422, 201]
    assert found[1]["problem"]["errors"][0]["pointer"] == "/customer_id"
    keys = [each["order_id"] for each in (await ask("GET", "/orders")).json["items"]]
    operations = [
        {"action": "create", "document": bad},
        {"action": "replace", "key": keys[0], "document": bad},
        {"action": "replace", "key": keys[1], "document": {**good, "color": "green"}},
        {"action": "create", "document": good},
    ]
    reply = await ask("POST", "/orders/_bulk", {"operations": operations}, **ADA)
    assert [each["status"] for each in reply.json["items"]] == [422, 422, 200, 201]
    for rehearsed in ("", "&dry_run=true"):
        body = b'{"customer_id": "none"}'
        reply = await ask("PATCH", f"/orders?color=red{rehearsed}", data=body, Content_Type=MERGE, **ADA)
        assert [each["status"] for each in reply.json["items"]] == [422, 422]


async def test_a_reference_that_stays_is_not_looked_at(ask: Client, store: Store) -> None:
    """Somebody who may not see the customer can change the order, and send it back as it was read."""
    customer = await made(ask, "/customers", {}, **ADA)
    order = await made(ask, "/orders", {"customer_id": customer["customer_id"]}, **ADA)
    assert (await ask("PATCH", order["_at"], {"color": "green"}, Content_Type=MERGE, **BOB)).status == 200
    assert (await ask("PUT", order["_at"], (await ask("GET", order["_at"])).json, **BOB)).status == 200
    other = await made(ask, "/customers", {}, **ADA)
    body = {"customer_id": other["customer_id"]}
    assert wrong(await ask("PATCH", order["_at"], body, Content_Type=MERGE, **BOB)) == ["/customer_id"]
    assert (await ask("PATCH", order["_at"], body, Content_Type=MERGE, **ADA)).status == 200


async def test_a_restored_document_is_checked(ask: Client) -> None:
    """A PUT that brings back an order is refused once its customer is gone."""
    customer = await made(ask, "/customers", {}, **ADA)
    body = {"customer_id": customer["customer_id"]}
    order = await made(ask, "/orders", body, **ADA)
    assert (await ask("DELETE", order["_at"])).status == 204
    assert (await ask("DELETE", customer["_at"], **ADA)).status == 204
    assert wrong(await ask("PUT", order["_at"], body, **ADA)) == ["/customer_id"]


async def test_the_check_of_many_costs_few_requests(ask: Client, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the documents of an array refer to is read as one group."""
    customers = [(await made(ask, "/customers", {}, **ADA))["customer_id"] for _ in range(10)]
    await made(ask, "/products", {"code": "a"})
    sent: list[str] = []
    call = store.database._exchange.call

    async def counted(method: str, address: Any, *arguments: Any, **options: Any) -> Any:
        sent.append(f"{method} {address.template}")
        return await call(method, address, *arguments, **options)

    monkeypatch.setattr(store.database._exchange, "call", counted)
    body: Any = [{"customer_id": each, "product_ids": ["a"]} for each in customers]
    assert (await ask("POST", "/orders", body, **ADA)).status == 200
    assert len([each for each in sent if "_bulk_get" in each or each.startswith("GET")]) <= 2


# ---------------------------------------------------------------- included


async def test_include_embeds_what_a_get_would_show(ask: Client) -> None:
    """In documents and lists, in lists of references and in nested models; the rest of the answer stays."""
    customer = await made(ask, "/customers", {"name": "Ada", "pin": "1", "secret": "s"}, **ADA)
    for code in "ab":
        await made(ask, "/products", {"code": code})
    lines = [{"product_id": "b"}, {"product_id": "a"}]
    body = {"customer_id": customer["customer_id"], "product_ids": ["a", "b"], "lines": lines}
    order = (await made(ask, "/orders", body, **ADA))["_at"]
    whole = (await ask("GET", f"{order}?include=customer,products,lines.product", **ADA)).json
    shown = (await ask("GET", customer["_at"], **ADA)).json
    assert {name: value for name, value in whole["customer"].items() if name[0] != "_"} == shown
    assert whole["customer"]["_href"] == customer["_at"]
    assert "pin" not in whole["customer"]
    assert [each["code"] for each in whole["products"]] == ["a", "b"]
    assert [each["product"]["code"] for each in whole["lines"]] == ["b", "a"]
    assert (await ask("GET", f"{order}?include=customer", **ADA)).json == {
        **(await ask("GET", order, **ADA)).json,
        "customer": whole["customer"],
    }
    (item,) = (await ask("GET", "/orders?include=customer&color=red", **ADA)).json["items"]
    assert item["customer"] == whole["customer"]


async def test_include_shows_null_for_what_the_caller_may_not_see(ask: Client) -> None:
    """Whether it is hidden, was deleted, or there is no reference."""
    customer = await made(ask, "/customers", {"name": "Ada"}, **ADA)
    await made(ask, "/products", {"code": "a"})
    order = await made(ask, "/orders", {"customer_id": customer["customer_id"], "product_ids": ["a"]}, **ADA)
    for who in (BOB, {}):
        reply = await ask("GET", f"{order['_at']}?include=customer,products", **who)
        assert (reply.json["customer"], reply.json["products"][0]["code"]) == (None, "a")
    assert (await ask("GET", "/products/a?include=parent")).json["parent"] is None


async def test_include_is_on_every_page_and_in_exports(ask: Client) -> None:
    """`next` goes on with it, and each line has it."""
    customer = await made(ask, "/customers", {"name": "Ada"}, **ADA)
    await ask("POST", "/orders", [{"customer_id": customer["customer_id"]}] * 3, **ADA)  # type: ignore[arg-type]
    where, found = "/orders?include=customer&limit=2", []
    while where:
        page = (await ask("GET", where, **ADA)).json
        found += page["items"]
        where = page.get("next", "")
    lines = (await ask("GET", "/orders?include=customer", Accept=NDJSON, **ADA)).text.splitlines()
    assert [each["customer"]["name"] for each in (*found, *map(json.loads, lines))] == ["Ada"] * 6


async def test_an_answer_embeds_only_so_many_documents(store: Store, serve: Serve) -> None:
    """As many as a page can have items, each counted once; more are 400."""
    routes = [*resource("/products", Product, store), *resource("/orders", Order, store, max_page_size=3)]
    ask = await serve(Application([*routes, *resource("/customers", Customer, store)], policy=AllowAny()))
    for code in "abcd":
        await made(ask, "/products", {"code": code})
    customer = (await made(ask, "/customers", {}))["customer_id"]
    order = await made(ask, "/orders", {"customer_id": customer, "product_ids": ["a", "b", "c", "a"]})
    assert len((await ask("GET", f"{order['_at']}?include=products")).json["products"]) == 4
    for query in ("include=products,customer", "include=customer,products"):
        for where in (order["_at"], "/orders"):
            reply = await ask("GET", f"{where}?{query}")
            assert (reply.status, reply.json["parameter"]) == (400, "include")


async def test_include_goes_with_fields(ask: Client) -> None:
    """`fields` chooses among the document's own properties; what is embedded is there besides."""
    customer = await made(ask, "/customers", {"name": "Ada"}, **ADA)
    order = await made(ask, "/orders", {"customer_id": customer["customer_id"]}, **ADA)
    shown = (await ask("GET", f"{order['_at']}?include=customer&fields=color", **ADA)).json
    assert shown.keys() == {"color", "customer"}
    (item,) = (await ask("GET", "/orders?include=customer&fields=color", **ADA)).json["items"]
    assert item.keys() == {"_href", "_etag", "color", "customer"}


async def test_a_stale_embedded_document_is_no_304(ask: Client) -> None:
    """The entity tag stands for what is embedded too; it names the document's revision all the same."""
    customer = await made(ask, "/customers", {"name": "Ada"}, **ADA)
    order = await made(ask, "/orders", {"customer_id": customer["customer_id"]}, **ADA)
    for where in (order["_at"], "/orders"):
        first = await ask("GET", f"{where}?include=customer", **ADA)
        tag = first.headers["ETag"]
        assert "Last-Modified" not in first.headers
        assert (await ask("GET", f"{where}?include=customer", If_None_Match=tag, **ADA)).status == 304
        assert (await ask("GET", f"{where}?include=customer", If_None_Match=tag, **BOB)).json != first.json
        await ask("PATCH", customer["_at"], {"name": f"of {where}"}, Content_Type=MERGE, **ADA)
        again = await ask("GET", f"{where}?include=customer", If_None_Match=tag, **ADA)
        assert (again.status, again.headers["ETag"] == tag) == (200, False)
        assert (await ask("GET", where, If_None_Match=tag, **ADA)).status == 200
    tag = (await ask("GET", f"{order['_at']}?include=customer", **ADA)).headers["ETag"]
    plain = await ask("GET", order["_at"])
    assert (await ask("GET", f"{order['_at']}?include=customer", If_None_Match=plain.headers["ETag"])).status == 200
    body = {"color": "green"}
    assert (await ask("PATCH", order["_at"], body, Content_Type=MERGE, If_Match=tag)).status == 200


BAD = ["nobody", "", "customer,", "customer_id", "customer,nobody", "pin", "lines"]


@pytest.mark.parametrize("value", BAD)
async def test_an_unknown_name_is_400_with_those_that_exist(ask: Client, value: str) -> None:
    """For documents and lists; a model without references does not have the parameter."""
    customer = await made(ask, "/customers", {}, **ADA)
    order = await made(ask, "/orders", {"customer_id": customer["customer_id"]}, **ADA)
    for where in (order["_at"], "/orders"):
        reply = await ask("GET", f"{where}?include={value}")
        assert (reply.status, reply.json["parameter"]) == (400, "include")
        assert reply.json["allowed"] == ["customer", "products", "lines.product"]
    assert (await ask("GET", f"/customers?include={value}", **ADA)).status == 400
    assert (await ask("DELETE", f"/orders?color=red&include={value}", **ADA)).status == 400
    for query in ("include=customer&include=products", "include=%ff"):
        assert (await ask("GET", f"/orders?{query}")).status == 400
        assert (await ask("GET", f"{order['_at']}?{query}")).status == 400


async def test_include_goes_through_the_class_that_shows_the_target(store: Store, serve: Serve) -> None:
    """Its `show`, its hooks and its `perform_retrieve` count; a class whose GET is its own is not offered."""

    class Shouting(RetrieveMixin[Product]):
        def show(self, model: Product, /) -> dict[str, Any]:
            return {**super().show(model), "code": model.code.upper()}

    class Own(RetrieveMixin[Customer]):
        async def retrieve(self, key: Any) -> None:
            self.finish({})

    hooks = Noting()
    routes = [
        *resource("/products", Product, store, document=Shouting, hooks=hooks),
        *resource("/customers", Customer, store, document=Own),
        *resource("/orders", Order, store),
    ]
    ask = await serve(Application(routes, policy=AllowAny()))
    for code in "ab":
        await made(ask, "/products", {"code": code})
    customer = await made(ask, "/customers", {})
    await made(ask, "/orders", {"customer_id": customer["customer_id"], "product_ids": ["a", "b"]})
    hooks.called.clear()
    (item,) = (await ask("GET", "/orders?include=products")).json["items"]
    assert [each["code"] for each in item["products"]] == ["A", "B"]
    assert hooks.called == ["before retrieve", "after retrieve", "after retrieve"]
    hooks.refused = "retrieve"
    assert (await ask("GET", "/orders?include=products")).json["items"][0]["products"] == [None, None]
    assert (await ask("GET", "/orders?include=customer")).json["allowed"] == ["products", "lines.product"]


async def test_a_page_of_references_costs_few_requests(
    ask: Client, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are read as one group, each document once."""
    customers = [(await made(ask, "/customers", {}, **ADA))["customer_id"] for _ in range(10)]
    await ask("POST", "/orders", [{"customer_id": each} for each in customers * 2], **ADA)  # type: ignore[arg-type]
    sent: list[str] = []
    call = store.database._exchange.call

    async def counted(method: str, address: Any, *arguments: Any, **options: Any) -> Any:
        sent.append(f"{method} {address.template}")
        return await call(method, address, *arguments, **options)

    monkeypatch.setattr(store.database._exchange, "call", counted)
    items = (await ask("GET", "/orders?include=customer", **ADA)).json["items"]
    assert len({each["customer"]["customer_id"] for each in items}) == 10
    assert len(sent) <= 4  # the index, the orders, and the customers in one group or two


# ---------------------------------------------------------------- what a deletion does


async def test_a_cascade_goes_through_hooks(ask: Client, orders: Noting) -> None:
    """Each order is deleted by its own resource's steps, also by a mass or a bulk deletion, and can be restored."""
    for way in ("single", "bulk"):
        customer = await made(ask, "/customers", {}, **ADA)
        order = await made(ask, "/orders", {"customer_id": customer["customer_id"]}, **ADA)
        orders.called.clear()
        if way == "single":
            assert (await ask("DELETE", customer["_at"], **ADA)).status == 204
        else:
            operation = {"action": "delete", "key": customer["customer_id"]}
            reply = await ask("POST", "/customers/_bulk", {"operations": [operation]}, **ADA)
            assert [each["status"] for each in reply.json["items"]] == [204]
        assert orders.called == ["before destroy", "after destroy"]
        assert (await ask("GET", order["_at"])).status == 404
        assert (await ask("GET", f"{order['_at']}?deleted=true")).status == 200


async def test_a_refused_cascade_deletes_nothing(ask: Client, orders: Noting) -> None:
    """A hook that refuses one order keeps the customer."""
    customer = await made(ask, "/customers", {}, **ADA)
    order = await made(ask, "/orders", {"customer_id": customer["customer_id"]}, **ADA)
    orders.refused = "destroy"
    assert (await ask("DELETE", customer["_at"], **ADA)).status == 403
    assert (await ask("GET", customer["_at"], **ADA)).status == 200
    assert (await ask("GET", order["_at"])).status == 200


async def test_a_deletion_of_very_many_is_continued(ask: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """409 says that some are left, and the same request goes on until 204; the customer is there so long."""
    monkeypatch.setattr(references, "_MOST", 2)
    customer = await made(ask, "/customers", {}, **ADA)
    await ask("POST", "/orders", [{"customer_id": customer["customer_id"]}] * 5, **ADA)  # type: ignore[arg-type]
    for left in (3, 1):
        reply = await ask("DELETE", customer["_at"], **ADA)
        assert (reply.status, reply.json["type"]) == (409, "urn:tornado-couch:problem:dependents-left")
        assert len((await ask("GET", "/orders")).json["items"]) == left
        assert (await ask("GET", customer["_at"], **ADA)).status == 200
    assert (await ask("DELETE", customer["_at"], **ADA)).status == 204
    assert (await ask("GET", "/orders")).json["items"] == []


async def test_set_null_goes_through_hooks(ask: Client, orders: Noting) -> None:
    """The order is patched, with its `updated_on` and its hooks."""
    customer = await made(ask, "/customers", {}, **ADA)
    for code in "ab":
        await made(ask, "/products", {"code": code})
    body = {"customer_id": customer["customer_id"], "product_ids": ["a", "b"]}
    order = await made(ask, "/orders", body, **ADA)
    orders.called.clear()
    assert (await ask("DELETE", "/products/a")).status == 204
    assert orders.called == ["before patch", "after patch"]
    after = (await ask("GET", order["_at"])).json
    assert after["product_ids"] == ["b"]
    assert after["updated_on"] > order["updated_on"]


async def test_a_refused_deletion_names_what_the_caller_may_see(ask: Client) -> None:
    """409 with the addresses of the first of them; of others nothing but that they are there."""
    customer = await made(ask, "/customers", {}, **ADA)
    order = await made(ask, "/orders", {"customer_id": customer["customer_id"]}, **ADA)
    invoices = [await made(ask, "/invoices", {"order_id": order["order_id"]}, **ADA) for _ in range(2)]
    for where in (order["_at"], customer["_at"]):
        reply = await ask("DELETE", where, **ADA)
        assert (reply.status, reply.json["type"]) == (409, "urn:tornado-couch:problem:referenced")
        assert sorted(reply.json["references"]) == sorted(each["_at"] for each in invoices)
        assert (reply.json["more"], reply.json["detail"][:26]) == (False, "2 documents refer to this ")
    reply = await ask("DELETE", order["_at"], **BOB)
    assert (reply.status, reply.json["references"], reply.json["more"]) == (409, [], True)
    for query in ("?color=red", "?color=red&dry_run=true"):
        (item,) = (await ask("DELETE", f"/orders{query}", **ADA)).json["items"]
        assert (item["status"], len(item["problem"]["references"])) == (409, 2)
    assert (await ask("GET", order["_at"])).status == 200
    for each in invoices:
        assert (await ask("DELETE", each["_at"], **ADA)).status == 204
    assert (await ask("DELETE", order["_at"])).status == 204


async def test_a_precondition_is_looked_at_before_anything_is_deleted(ask: Client) -> None:
    """412 leaves the orders where they are."""
    customer = await made(ask, "/customers", {}, **ADA)
    order = await made(ask, "/orders", {"customer_id": customer["customer_id"]}, **ADA)
    stale = '"1-00000000000000000000000000000000"'
    assert (await ask("DELETE", customer["_at"], If_Match=stale, **ADA)).status == 412
    assert (await ask("DELETE", customer["_at"], **BOB)).status == 404
    assert (await ask("GET", order["_at"])).status == 200


async def test_a_policy_that_refuses_one_keeps_all(store: Store, serve: Serve) -> None:
    """Who may not delete all guests cannot do it by deleting their room; 409, and nothing is changed."""

    routes = [
        *resource("/rooms", Room, store),
        *resource("/guests", Guest, store, policy=Owner("owner", ByHeader())),
    ]
    ask = await serve(Application(routes, policy=AllowAny(ByHeader())))
    room = await made(ask, "/rooms", {})
    mine = await made(ask, "/guests", {"room_id": room["room_id"]}, **BOB)
    theirs = await made(ask, "/guests", {"room_id": room["room_id"]}, **ADA)
    reply = await ask("DELETE", room["_at"], **BOB)
    assert (reply.status, reply.json["references"], reply.json["more"]) == (409, [], True)
    assert (await ask("GET", mine["_at"], **BOB)).status == 200
    assert (await ask("DELETE", theirs["_at"], **ADA)).status == 204
    assert (await ask("DELETE", room["_at"], **BOB)).status == 204
    assert (await ask("GET", mine["_at"], **BOB)).status == 404


async def test_stores_of_several_databases_must_know_each_other(store: Store, couch: Any, serve: Serve) -> None:
    """A service is refused whose stores would look in the wrong database; with `elsewhere` all works across them."""
    name = f"{store.database.name}-other"
    await couch.create_database(name)
    try:
        await install(couch, name, [Product, Order, Invoice])

        def routes(customers: Store, others: Store) -> Any:
            return [*resource("/customers", Customer, customers), *resource("/orders", Order, others)]

        for given in ({}, {Customer: store}):
            with pytest.raises(ValueError, match=r"say so by Store\(…, elsewhere="):
                Application(routes(store, Store(couch[name], elsewhere=given)), policy=AllowAny())
        where: dict[type[Model], Store | None] = {Invoice: None}
        others = Store(couch[name], elsewhere=where)
        customers = Store(store.database, crypter=KeyRing.create(), elsewhere=where)
        where |= {Customer: customers, Order: others}
        ask = await serve(Application(routes(customers, others), policy=AllowAny()))
        customer = await made(ask, "/customers", {"name": "Ada"})
        order = await made(ask, "/orders", {"customer_id": customer["customer_id"]})
        assert (await ask("GET", f"{order['_at']}?include=customer")).json["customer"]["name"] == "Ada"
        assert wrong(await ask("POST", "/orders", {"customer_id": "none"})) == ["/customer_id"]
        assert (await ask("DELETE", customer["_at"])).status == 204
        assert (await ask("GET", order["_at"])).status == 404
    finally:
        await couch.delete_database(name)


async def test_a_missing_index_is_an_outage_that_the_log_explains(
    couch: Any, database: Database, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the index nobody knows who refers to a document, so it is not deleted."""
    await install(couch, database.name, [Room])
    store = Store(database)
    ask = await serve(Application(resource("/rooms", Room, store), policy=AllowAny()))
    room = await made(ask, "/rooms", {})
    assert (await ask("DELETE", room["_at"])).status == 503
    assert "install the indexes of Guest, or say elsewhere={Guest: …}" in caplog.text
    assert (await ask("GET", room["_at"])).status == 200
