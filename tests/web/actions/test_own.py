"""The service's own actions: `POST {path}/{key}/cancel`, and `POST {path}/_import` of a collection."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Annotated, Any

import pytest
from annotated_types import Ge, MinLen
from pydantic import BaseModel, ConfigDict, Field
from tornado.routing import URLSpec

from tests.faults import Fault, FaultProxy, lose_answer
from tests.web.callers import Named
from tests.web.conftest import Client, Serve
from tornado_couch import (
    ActionRefused,
    AllowAny,
    Application,
    CollectionHandler,
    Couch,
    Database,
    DocumentHandler,
    Encrypted,
    Hashed,
    Hooks,
    Indexed,
    Model,
    Problem,
    ReadOnly,
    Reference,
    ResourceHandler,
    Store,
    UpdatedOn,
    WriteOnly,
    action,
    install,
    openapi_document,
    resource,
)
from tornado_couch import action as declared
from tornado_couch.security import KeyRing
from tornado_couch.web import ApiOperation, Authenticated, Event, Owner, RateLimit, Roles
from tornado_couch.web import ReadOnly as Reading

ORDERS = "/orders"


class Order(Model, type="order_v1.0", key="number", unique=True):
    number: str
    status: Annotated[str, Indexed()] = "open"
    amount: Annotated[int, Ge(0)] = 1
    reason: str | None = None
    pin: Annotated[str | None, WriteOnly()] = None
    owner: Annotated[str | None, ReadOnly(), Indexed()] = None
    updated_on: UpdatedOn


class Cancel(BaseModel):
    reason: Annotated[str, MinLen(1)]


class Add(BaseModel):
    number: int = 1


class Receipt(BaseModel):
    number: str
    paid: int


class Imported(BaseModel):
    made: list[str]


def cancel(order: Order, body: Cancel) -> None:
    """Cancel an order.

    That is possible until it is sent.
    """
    if order.status == "sent":
        raise ActionRefused("An order that is sent cannot be cancelled.")
    order.status, order.reason = "cancelled", body.reason


async def add(order: Order, body: Add | None = None) -> Order:
    await asyncio.sleep(0)
    order.amount += body.number if body else 1
    return order


def send(order: Order) -> None:
    if order.amount == 0:
        raise Problem(422, "nothing-to-send", "There is nothing to send.")
    order.status = "sent"


def pay(order: Order, event: Event) -> Receipt:
    paid, order.amount = order.amount, 0
    order.reason = event.principal.name if event.principal else None
    return Receipt(number=order.number, paid=paid)


def quote(order: Order) -> Receipt:
    return Receipt(number=order.number, paid=order.amount)


@action(body={"type": "array", "items": {"type": "string"}, "maxItems": 3})
async def bring(body: list[str], event: Event) -> Imported:
    for name in body:
        if name == "bad":
            raise ActionRefused("This one is bad.")
        await event.store.create(Order(number=name))
    return Imported(made=body)


async def close(event: Event) -> None:
    await event.store.create(Order(number="closing", status="closed"))


async def newest(event: Event) -> Order:
    return await event.store.create(Order(number="newest"))


ACTIONS: dict[str, Any] = {
    "cancel": cancel,
    "add": add,
    "send": send,
    "pay": pay,
    "quote": quote,
    "_import": bring,
    "_close": close,
    "_newest": newest,
}


@pytest.fixture
async def store(database: Database) -> Store:
    """A store of orders."""
    await install(database.server, database.name, [Order])  # type: ignore[arg-type]
    return Store(database)


def application(store: Store, **options: Any) -> Application:
    options.setdefault("policy", AllowAny())
    options.setdefault("actions", ACTIONS)
    return Application(resource(ORDERS, Order, store, **options), cookie_secret="secret")


@pytest.fixture
async def ask(store: Store, serve: Serve) -> Client:
    """A client of a service with one order, of which the API document describes every answer."""
    ask = await serve(application(store))
    assert (await ask("POST", ORDERS, {"number": "1"})).status == 201
    return ask


async def test_an_action_changes_the_document_and_answers_with_it(ask: Client, store: Store) -> None:
    """With the entity tag of the next GET, and the address that it belongs to."""
    done = await ask("POST", f"{ORDERS}/1/cancel", {"reason": "too late"})
    assert (done.status, done.json["status"], done.json["reason"]) == (200, "cancelled", "too late")
    assert done.headers["Content-Location"] == f"{ORDERS}/1"
    assert (await ask("GET", f"{ORDERS}/1")).headers["ETag"] == done.headers["ETag"]
    assert (await store.get(Order, "1")).status == "cancelled"
    minimal = await ask("POST", f"{ORDERS}/1/add", Prefer="return=minimal")
    assert (minimal.status, minimal.text) == (204, b"")


async def test_the_body_has_a_schema_of_its_own(ask: Client) -> None:
    """All faults at once with pointers, unknown members included; JSON alone; nothing is written."""
    bad = await ask("POST", f"{ORDERS}/1/cancel", {"reason": "", "why": 1})
    assert bad.status == 422
    assert {(each["pointer"], each["keyword"]) for each in bad.json["errors"]} == {
        ("/reason", "minLength"),
        ("/why", "additionalProperties"),
    }
    assert (await ask("POST", f"{ORDERS}/1/cancel")).status == 415
    assert (await ask("POST", f"{ORDERS}/1/cancel", data=b"x", Content_Type="application/json")).status == 400
    assert (await ask("POST", f"{ORDERS}/_import", ["a", 1])).json["errors"][0]["pointer"] == "/1"
    assert (await ask("POST", f"{ORDERS}/_import", ["a", "b", "c", "d"])).status == 422
    assert (await ask("GET", ORDERS)).json["items"][0]["status"] == "open"


async def test_an_action_without_a_body_takes_none(ask: Client) -> None:
    """400 where there is one; a body with a default can be left out."""
    assert (await ask("POST", f"{ORDERS}/1/quote", {})).status == 400
    assert (await ask("POST", f"{ORDERS}/1/quote?x=1")).status == 400
    for body, amount in ((None, 2), ({"number": 5}, 7), ({}, 8)):
        assert (await ask("POST", f"{ORDERS}/1/add", body)).json["amount"] == amount


async def test_an_action_is_refused_by_an_exception(ask: Client) -> None:
    """409 for `ActionRefused`, a `Problem` as it is, 422 for a value that the model does not allow."""
    assert (await ask("POST", f"{ORDERS}/1/add", {"number": -1})).json["amount"] == 0
    empty = await ask("POST", f"{ORDERS}/1/send")
    assert (empty.status, empty.json["type"]) == (422, "urn:tornado-couch:problem:nothing-to-send")
    below = await ask("POST", f"{ORDERS}/1/add", {"number": -1})
    assert (below.status, below.json["errors"][0]["pointer"]) == (422, "/amount")
    await ask("POST", f"{ORDERS}/1/add")
    assert (await ask("POST", f"{ORDERS}/1/send")).json["status"] == "sent"
    late = await ask("POST", f"{ORDERS}/1/cancel", {"reason": "x"})
    assert (late.status, late.json["detail"]) == (409, "An order that is sent cannot be cancelled.")
    assert (await ask("POST", f"{ORDERS}/2/send")).status == 404


async def test_an_action_can_answer_with_something_else(ask: Client, store: Store) -> None:
    """What its annotation says; the change is written all the same."""
    paid = await ask("POST", f"{ORDERS}/1/pay")
    assert (paid.status, paid.json) == (200, {"number": "1", "paid": 1})
    assert (await store.get(Order, "1")).amount == 0


async def test_an_action_that_changes_nothing_writes_nothing(ask: Client) -> None:
    """The revision stays what it was."""
    before = (await ask("GET", f"{ORDERS}/1")).headers["ETag"]
    assert (await ask("POST", f"{ORDERS}/1/quote")).json == {"number": "1", "paid": 1}
    same = await ask("POST", f"{ORDERS}/1/add", {"number": 0})
    assert (same.status, same.headers["ETag"]) == (200, before)
    assert (await ask("GET", f"{ORDERS}/1")).headers["ETag"] == before


async def test_preconditions_hold_as_for_a_patch(ask: Client, store: Store, serve: Serve) -> None:
    """412 for another revision, and 428 where it must be named."""
    tag = (await ask("GET", f"{ORDERS}/1")).headers["ETag"]
    assert (await ask("POST", f"{ORDERS}/1/add", If_Match='"1-00000000000000000000000000000000"')).status == 412
    assert (await ask("POST", f"{ORDERS}/1/add", If_None_Match="*")).status == 412
    assert (await ask("POST", f"{ORDERS}/9/add", If_Match="*")).status == 412
    assert (await ask("POST", f"{ORDERS}/1/add", If_Match=tag)).status == 200
    strict = await serve(application(store, require_if_match=True))
    assert (await strict("POST", f"{ORDERS}/1/add")).status == 428
    assert (await strict("POST", f"{ORDERS}/9/add")).status == 404
    assert (await strict("POST", f"{ORDERS}/1/add", If_Match="*")).status == 200
    assert (await store.get(Order, "1")).amount == 3


async def test_an_action_is_tried_again_after_a_conflict(ask: Client, store: Store) -> None:
    """Each of many at once has the document as the one before left it."""
    replies = await asyncio.gather(*(ask("POST", f"{ORDERS}/1/add") for _ in range(8)))
    assert {each.status for each in replies} == {200}
    assert sorted(each.json["amount"] for each in replies) == list(range(2, 10))
    assert (await store.get(Order, "1")).amount == 9


async def test_the_function_is_called_again_with_what_another_writer_made(
    store: Store, serve: Serve, database: Database
) -> None:
    """Once for each try; not where If-Match names the revision: 412."""
    seen: list[int] = []

    async def contested(order: Order) -> None:
        seen.append(order.amount)
        if len(seen) == 1:
            stored = await database.get("order:1")
            await database.put({**stored, "amount": 10})
        order.amount += 1

    ask = await serve(application(store, actions={"contested": contested}))
    await ask("POST", ORDERS, {"number": "1"})
    assert (await ask("POST", f"{ORDERS}/1/contested")).json["amount"] == 11
    assert seen == [1, 10]
    seen.clear()
    tag = (await ask("GET", f"{ORDERS}/1")).headers["ETag"]
    assert (await ask("POST", f"{ORDERS}/1/contested", If_Match=tag)).status == 412
    assert (seen, (await store.get(Order, "1")).amount) == ([11], 10)


# ---------------------------------------------------------------- once for each key


async def test_with_an_idempotency_key_an_action_is_done_once(ask: Client, store: Store) -> None:
    """Sent again, it is answered with the document as it is now; with another body, 422."""
    keyed: dict[str, str] = {"Idempotency_Key": "one"}
    tag = (await ask("GET", f"{ORDERS}/1")).headers["ETag"]
    first = await ask("POST", f"{ORDERS}/1/add", {"number": 5}, If_Match=tag, **keyed)
    assert (first.status, first.json["amount"], first.headers.get("Idempotent-Replayed")) == (200, 6, None)
    again = await ask("POST", f"{ORDERS}/1/add", {"number": 5}, If_Match=tag, **keyed)
    assert (again.status, again.json["amount"], again.headers["Idempotent-Replayed"]) == (200, 6, "true")
    assert (await ask("POST", f"{ORDERS}/1/add", {"number": 6}, **keyed)).status == 422
    assert (await ask("POST", f"{ORDERS}/1/add", {"number": 5}, Idempotency_Key="")).status == 400
    assert (await ask("POST", f"{ORDERS}/1/send", **keyed)).status == 200  # another action has keys of its own
    await ask("PUT", f"{ORDERS}/1", {"amount": 50})
    assert (await ask("POST", f"{ORDERS}/1/add", {"number": 5}, **keyed)).json["amount"] == 50
    assert (await store.get(Order, "1")).amount == 50


async def test_an_answer_of_its_own_is_the_same_the_second_time(ask: Client) -> None:
    """It is kept with the document."""
    for replayed in (None, "true"):
        paid = await ask("POST", f"{ORDERS}/1/pay", Idempotency_Key="pay")
        assert (paid.json["paid"], paid.headers.get("Idempotent-Replayed")) == (1, replayed)
    assert "tornado_couch" not in (await ask("GET", f"{ORDERS}/1")).text.decode()


async def test_a_refusal_does_not_use_a_key_up(ask: Client) -> None:
    """Nothing was written, so the same request can be sent again."""
    await ask("POST", f"{ORDERS}/1/add", {"number": -1})
    assert (await ask("POST", f"{ORDERS}/1/send", Idempotency_Key="s")).status == 422
    await ask("POST", f"{ORDERS}/1/add")
    assert (await ask("POST", f"{ORDERS}/1/send", Idempotency_Key="s")).json["status"] == "sent"


async def test_equal_requests_at_once_are_done_once(store: Store, serve: Serve, ask: Client) -> None:
    """Also by two processes: the document itself says that it was done."""
    other = await serve(application(Store(store.database)))
    sending = [each("POST", f"{ORDERS}/1/add", Idempotency_Key="k") for each in (ask, other) * 4]
    replies = await asyncio.gather(*sending)
    assert {each.status for each in replies} == {200}
    assert (await store.get(Order, "1")).amount == 2


async def test_a_request_that_meets_its_own_twin_finds_out(store: Store, serve: Serve) -> None:
    """The twin was faster, in another process: after the conflict the document says that it was done."""
    calls: list[int] = []

    async def once(order: Order) -> None:
        calls.append(order.amount)
        if len(calls) == 1:
            twin = await other("POST", f"{ORDERS}/1/once", Idempotency_Key="k")
            assert (twin.status, twin.json["amount"]) == (200, 2)
        order.amount += 1

    ask = await serve(application(store, actions={"once": once}))
    other = await serve(application(Store(store.database), actions={"once": once}))
    await ask("POST", ORDERS, {"number": "1"})
    late = await ask("POST", f"{ORDERS}/1/once", Idempotency_Key="k")
    assert (late.status, late.json["amount"], late.headers["Idempotent-Replayed"]) == (200, 2, "true")
    assert calls == [1, 1]


async def test_a_document_remembers_some_keys(ask: Client, store: Store) -> None:
    """The latest ones, and not all that there ever were."""
    for number in range(20):
        await ask("POST", f"{ORDERS}/1/add", Idempotency_Key=f"{number}")
    stored = (await store.get(Order, "1"))._stored
    assert len([each for each in stored if each.startswith("tornado_couch:action:")]) == 16
    assert (await ask("POST", f"{ORDERS}/1/add", Idempotency_Key="19")).json["amount"] == 21


async def test_an_action_of_a_collection_is_done_once_for_each_key(ask: Client, store: Store) -> None:
    """Its answer is kept, a refusal included."""
    for replayed in (None, "true"):
        made = await ask("POST", f"{ORDERS}/_import", ["a", "b"], Idempotency_Key="i")
        assert (made.json, made.headers.get("Idempotent-Replayed")) == ({"made": ["a", "b"]}, replayed)
        bad = await ask("POST", f"{ORDERS}/_import", ["bad"], Idempotency_Key="b")
        assert (bad.status, bad.json["detail"]) == (409, "This one is bad.")
        assert (await ask("POST", f"{ORDERS}/_close", Idempotency_Key="c")).status == 204
        assert (await ask("POST", f"{ORDERS}/_newest", Idempotency_Key="n")).json["number"] == "newest"
    assert (await ask("POST", f"{ORDERS}/_import", ["c"], Idempotency_Key="i")).status == 422
    assert (await ask("GET", f"{ORDERS}?count=true")).json["total"] == 5


async def test_an_action_of_a_collection_that_was_cut_off_is_not_repeated(store: Store, serve: Serve) -> None:
    """What it did is not known: 409, and the client looks at the documents."""
    calls: list[int] = []

    def crash() -> None:
        calls.append(1)
        raise RuntimeError("the power is gone")

    ask = await serve(application(store, actions={"_crash": crash}))
    statuses = [(await ask("POST", f"{ORDERS}/_crash", Idempotency_Key="k")).status for _ in range(3)]
    assert (statuses, len(calls)) == ([500, 409, 409], 1)


async def test_an_action_of_a_collection_answers_with_what_it_returns(ask: Client) -> None:
    """A value, a document with its address, or nothing."""
    assert (await ask("POST", f"{ORDERS}/_import", ["a"])).json == {"made": ["a"]}
    made = await ask("POST", f"{ORDERS}/_newest")
    assert (made.status, made.headers["Content-Location"]) == (200, f"{ORDERS}/newest")
    assert made.headers["ETag"] == (await ask("GET", f"{ORDERS}/newest")).headers["ETag"]
    assert (await ask("POST", f"{ORDERS}/_close")).status == 204
    assert (await ask("POST", f"{ORDERS}/_import", ["bad"])).status == 409
    assert (await ask("GET", f"{ORDERS}/_import")).headers["Allow"] == "POST, OPTIONS"


# ---------------------------------------------------------------- who may


async def test_a_policy_is_asked_about_an_action_by_its_name(store: Store, serve: Serve, ask: Client) -> None:
    """Before anything is read, and about the document; what has no rule is refused."""
    roles = Roles({"cancel": {"boss"}, "list": None, "_import": {"boss"}}, Named())
    asked = await serve(application(store, policy=roles))
    body = {"reason": "x"}
    assert (await asked("POST", f"{ORDERS}/1/cancel", body)).status == 401
    assert (await asked("POST", f"{ORDERS}/1/cancel", body, User="ann")).status == 403
    assert (await asked("POST", f"{ORDERS}/9/cancel", body, User="ann")).status == 403
    assert (await asked("POST", f"{ORDERS}/1/send", User="ann boss")).status == 403
    assert (await asked("POST", f"{ORDERS}/_import", ["a"], User="ann")).status == 403
    assert (await asked("POST", f"{ORDERS}/_import", ["a"], User="ann boss")).status == 200
    assert (await asked("POST", f"{ORDERS}/1/cancel", body, User="ann boss")).status == 200


async def test_an_action_counts_as_a_write(store: Store, serve: Serve, ask: Client) -> None:
    """Policies that let somebody read alone refuse it; where nobody may, it is not offered or described."""
    readable = await serve(application(store, policy=Authenticated(Named(), read_anonymous=True)))
    assert (await readable("POST", f"{ORDERS}/1/quote")).status == 401
    app = application(store, policy=Reading())
    reading = await serve(app)
    refused = await reading("POST", f"{ORDERS}/1/quote")
    assert (refused.status, refused.headers["Allow"]) == (405, "OPTIONS")
    assert f"{ORDERS}/{{key}}/quote" not in openapi_document(app)["paths"]
    owned = await serve(application(store, policy=Owner("owner", Named())))
    assert (await owned("POST", ORDERS, {"number": "mine"}, User="ann")).status == 201
    assert (await owned("POST", f"{ORDERS}/mine/add", User="bob")).status == 404
    assert (await owned("POST", f"{ORDERS}/mine/add", User="ann")).status == 200


def test_a_rule_for_an_action_that_does_not_exist_is_refused(database: Database) -> None:
    """Otherwise a typing error would leave the action to everybody who has logged in."""
    store = Store(database)
    with pytest.raises(ValueError, match="a rule for 'cancle', but there is no such action"):
        application(store, policy=Roles({"cancle": {"boss"}, "*": None}, Named()))
    both = Roles({"cancel": {"boss"}, "_close": {"boss"}, "*": None}, Named())
    application(store, policy=both & Authenticated())


async def test_requests_are_counted_and_hooks_see_them(store: Store, serve: Serve, ask: Client) -> None:
    """By the action's name, before with the document as it was and as it will be, after with what is shown."""
    seen: list[Any] = []

    class Watching(Hooks):
        async def before(self, event: Event, model: Any = None, current: Any = None) -> None:
            seen.append((event.action, event.writes, model and model.amount, current and current.amount))
            if model is not None and model.amount > 5:
                raise Problem(422, "too-many", "Too many.")

        async def after(self, event: Event, model: Any, shown: Any) -> None:
            seen.append((event.action, model.amount))
            if shown is not None:
                shown["seen"] = True

    watched = await serve(application(store, hooks=Watching(), rate_limit=RateLimit(4, 60)))
    done = await watched("POST", f"{ORDERS}/1/add")
    assert (done.json["seen"], "RateLimit" in done.headers) == (True, True)
    assert (await watched("POST", f"{ORDERS}/1/add", {"number": 9})).status == 422
    assert (await watched("POST", f"{ORDERS}/1/pay")).json == {"number": "1", "paid": 2}
    await watched("POST", f"{ORDERS}/_close")
    assert seen == [
        ("add", True, 2, 1),
        ("add", 2),
        ("add", True, 11, 2),
        ("pay", True, 0, 2),
        ("pay", 0),
        ("_close", True, None, None),
    ]
    assert (await watched("POST", f"{ORDERS}/1/pay")).status == 429


# ---------------------------------------------------------------- as methods of a handler


class Orders(DocumentHandler[Order]):
    """Shows more, and has an action."""

    def show(self, model: Order) -> dict[str, Any]:
        return {**super().show(model), "by": self.principal.name if self.principal else None}

    @declared
    def double(self, order: Order) -> None:
        order.amount *= 2
        order.reason = self.show(order)["by"]


class AllOrders(CollectionHandler[Order]):
    """Has an action of the collection."""

    @declared("_two")
    async def make_two(self) -> Imported:
        made = [await self.perform_create(await self.admitted(self.new_model({"number": each}))) for each in "ab"]
        return Imported(made=[each.number for each in made])


class Printing:
    """A mixin that knows nothing of policies."""

    async def put(self: Any, key: str) -> None:
        self.finish({"key": key, "body": self.request.body.decode(), "model": self.model.__name__})


class Invoice(Printing, ResourceHandler[Order]):
    """A handler for what is no action; one of its methods comes from elsewhere."""

    @classmethod
    def describe(cls, operation: ApiOperation) -> None:
        operation.says("See the invoice")
        operation.answers_with(200, "The invoice.", {"type": "object"})

    async def get(self, key: str) -> None:
        order = await self.get_document(key)
        self.finish({"number": order.number, "of": self.principal.name if self.principal else None})


@pytest.fixture
async def handled(store: Store, serve: Serve) -> Client:
    """A client of a service whose handlers have actions; only users may use them."""
    app = application(
        store,
        collection=AllOrders,
        document=Orders,
        actions={"invoice": Invoice},
        policy=Owner("owner", Named(), admin_role="boss"),
    )
    ask = await serve(app)
    assert (await ask("POST", ORDERS, {"number": "a b"}, User="ann")).status == 201
    return ask


async def test_a_method_of_the_handler_class_is_an_action(handled: Client) -> None:
    """With all that its handler has, and shown as its handler shows documents."""
    done = await handled("POST", f"{ORDERS}/a%20b/double", User="ann")
    assert (done.status, done.json["amount"], done.json["by"], done.json["reason"]) == (200, 2, "ann", "ann")
    assert (await handled("POST", f"{ORDERS}/_two", User="bob")).json == {"made": ["a", "b"]}
    assert (await handled("GET", f"{ORDERS}/b", User="bob")).json["owner"] == "bob"
    for method in ("GET", "PUT", "DELETE"):
        assert (await handled(method, f"{ORDERS}/a%20b/double", User="ann")).status == 405


async def test_a_handler_below_a_resource_is_behind_its_policy(handled: Client) -> None:
    """Its methods run once the policy has let the caller through, with the key in the address as it is."""
    path = f"{ORDERS}/a%20b/invoice"
    assert (await handled("GET", path)).status == 401
    assert (await handled("PUT", path, {})).status == 401
    assert (await handled("GET", path, User="bob")).status == 404
    assert (await handled("GET", path, User="ann")).json == {"number": "a b", "of": "ann"}
    assert (await handled("HEAD", path, User="ann")).status == 200
    put = await handled("PUT", path, data=b"x", User="bob")
    assert put.json == {"key": "a b", "body": "x", "model": "Order"}
    assert (await handled("POST", path, User="ann")).status == 405


async def test_a_document_is_only_found_for_a_caller_who_was_let_through(store: Store, serve: Serve) -> None:
    """A handler that is mounted by hand must say so first."""

    class Careless(ResourceHandler[Order]):
        async def get(self) -> None:
            await self.get_document("1")

    class Careful(ResourceHandler[Order]):
        QUESTION = "look"

        async def get(self) -> None:
            self.finish({"number": (await self.get_document("1")).number})

    await store.create(Order(number="1"))
    (mounted,) = [each.kwargs for each in resource(ORDERS, Order, store) if each.name == ORDERS]
    policy = Roles({"list": None, "look": {"boss"}}, Named())
    routes = [URLSpec("/careless", Careless, mounted), URLSpec("/careful", Careful, mounted)]
    ask = await serve(Application(routes, policy=policy))
    ask.described = None
    assert (await ask("GET", "/careless", User="boss boss")).status == 500
    assert (await ask("GET", "/careful", User="ann")).status == 403
    assert (await ask("GET", "/careful", User="boss boss")).json == {"number": "1"}


# ---------------------------------------------------------------- what is refused when it is mounted


class Hidden(BaseModel):
    order: Order


def of_nothing() -> None: ...
def of_no_document(body: list[str], event: Event) -> None: ...
def of_more(order: Order, color: str) -> None: ...
def of_document(order: Order, body: list[Order]) -> None: ...
def of_hidden(order: Order) -> dict[str, Hidden]: ...  # type: ignore[empty-body]
def of_unknown(order: Order, body: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (of_nothing, "must take the document as its first argument"),
        (of_no_document, "must take the document.* if it is one of the collection, call it '_go'"),
        (of_more, "takes 'color', but there are only `body` and `event`"),
        (of_document, "cannot take Order as a part of JSON"),
        (of_hidden, "cannot return Order as a part of JSON"),
        (Cancel, "must be a function or a class of handlers, not <class"),
        (of_unknown, "cannot be read: name 'Missing' is not defined"),
    ],
)
def test_a_function_that_is_no_action_is_refused(function: Callable[..., Any], message: str) -> None:
    """With a sentence that says what to change; a model in a body or answer would show and take what it hides."""
    with pytest.raises(ValueError, match=message):
        resource(ORDERS, Order, Store(Couch("http://127.0.0.1:9")["orchard"]), actions={"go": function})


def test_a_method_that_every_handler_has_cannot_be_an_action() -> None:
    """It would take the place of something that the handler needs."""

    class Finishing(DocumentHandler[Order]):
        @declared
        def finish(self, order: Order) -> None:  # type: ignore[override]
            pass

    class Misplaced(DocumentHandler[Order]):
        @declared("_all")
        def every(self) -> None:
            pass

    store = Store(Couch("http://127.0.0.1:9")["orchard"])
    with pytest.raises(ValueError, match='give the action\'s method another name, and say `@action\\("finish"\\)`'):
        resource(ORDERS, Order, store, document=Finishing)
    with pytest.raises(ValueError, match="is in the class of the document"):
        resource(ORDERS, Order, store, document=Misplaced)


def test_the_api_document_describes_actions(database: Database) -> None:
    """By the function's docstring, its schemas and its answers; credentials and links as everywhere."""
    found = openapi_document(application(Store(database)))
    post = found["paths"][f"{ORDERS}/{{key}}/cancel"]["post"]
    assert (post["operationId"], post["summary"]) == ("cancel_order", "Cancel an order")
    assert post["description"] == "That is possible until it is sent."
    schema = post["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert found["components"]["schemas"][schema]["additionalProperties"] is False
    assert {"200", "204", "409", "412", "422", "404", "default"} <= post["responses"].keys()
    add_ = found["paths"][f"{ORDERS}/{{key}}/add"]["post"]
    assert (add_["operationId"], add_["requestBody"]["required"]) == ("add_order", False)
    assert "requestBody" not in found["paths"][f"{ORDERS}/{{key}}/quote"]["post"]
    answer = found["paths"][f"{ORDERS}/_import"]["post"]["responses"]["200"]["content"]["application/json"]
    assert answer["schema"] == {"$ref": "#/components/schemas/Imported"}
    assert found["paths"][f"{ORDERS}/_import"]["post"]["operationId"] == "import_orders"


def checked(order: Order, event: Unknown) -> Order:  # type: ignore[name-defined]  # noqa: F821
    return order


def test_only_the_annotations_of_body_and_result_are_needed(database: Database) -> None:
    """What is imported for type checkers alone does not have to be there when the service runs."""
    found = openapi_document(application(Store(database), actions={"checked": checked}))
    assert f"{ORDERS}/{{key}}/checked" in found["paths"]


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str = ""


def test_a_body_that_takes_further_members_says_so(database: Database) -> None:
    """A pydantic model that allows them is left as it is."""

    def loosely(order: Order, body: Any) -> None: ...

    loosely.__annotations__["body"] = Loose
    found = openapi_document(application(Store(database), actions={"loosely": loosely}))
    assert found["components"]["schemas"]["Loose"]["additionalProperties"] is True


async def test_a_lost_answer_does_not_do_an_action_twice(proxy: FaultProxy, store: Store, serve: Serve) -> None:
    """The store finds its write in the document."""
    await store.create(Order(number="1"))
    async with Couch(proxy.url) as couch:
        ask = await serve(application(Store(couch[store.database.name])))
        proxy.faults.append(Fault(lose_answer, path="_bulk_docs"))
        assert (await ask("POST", f"{ORDERS}/1/add")).json["amount"] == 2
        assert (await store.get(Order, "1")).amount == 2


class Card(Model, type="card_v1.0", key="name", unique=True):
    name: str
    pin: Annotated[str | None, Hashed(cost=4)] = None
    mail: Annotated[str | None, Encrypted()] = None
    parts: list[int] = Field(default_factory=list)


def protect(card: Card) -> None:
    card.pin = card.mail = "hunter2"


def touch(card: Card) -> None:
    pass


def grow(card: Card) -> dict[str, str]:
    card.parts = list(range(3000))
    return {"secret": "hunter2"}


async def tell() -> dict[str, str]:
    return {"secret": "hunter2"}


async def test_what_an_action_writes_is_protected(database: Database, serve: Serve) -> None:
    """Hashed, encrypted and signed, large or not; an answer is not kept where it may hold what must not be stored."""
    await install(database.server, database.name, [Card])  # type: ignore[arg-type]
    ring = KeyRing.create()
    store = Store(database, crypter=ring, signer=ring)
    actions = {"protect": protect, "touch": touch, "grow": grow, "_tell": tell}
    ask = await serve(Application(resource("/cards", Card, store, policy=AllowAny(), actions=actions)))
    await ask("POST", "/cards", {"name": "a"})
    done = await ask("POST", "/cards/a/protect", Idempotency_Key="p")
    assert (done.json["mail"], "pin" in done.json) == ("hunter2", False)
    for name in ("touch", "protect"):  # neither of them writes
        assert (await ask("POST", f"/cards/a/{name}", Idempotency_Key="p")).headers["ETag"] == done.headers["ETag"]
    assert await (await store.get(Card, "a")).verify("pin", "hunter2")
    for status in (200, 410):
        assert (await ask("POST", "/cards/a/grow", Idempotency_Key="g")).status == status
        assert (await ask("POST", "/cards/_tell", Idempotency_Key="t")).status == status
    assert len((await store.get(Card, "a")).parts) == 3000
    rows = await database.all_docs(include_docs=True)
    assert "hunter2" not in json.dumps([each.doc for each in rows.rows])


class Part(Model, type="part_v1.0", key="name", unique=True):
    name: str
    order_id: Annotated[str, Reference(Order), Indexed()]
    spare_id: Annotated[str | None, Reference(Order), Indexed()] = None


def move(part: Part, body: str) -> None:
    part.spare_id = body


async def test_an_action_of_a_nested_collection_stays_in_it(database: Database, serve: Serve) -> None:
    """The document must belong to the one in the address; what an action refers to must be there, and be visible."""
    await install(database.server, database.name, [Order, Part])  # type: ignore[arg-type]
    store = Store(database)
    routes = [
        *resource(ORDERS, Order, store, policy=Owner("owner", Named())),
        *resource("/orders/{order_id}/parts", Part, store, actions={"move": move}, policy=AllowAny(Named())),
    ]
    ask = await serve(Application(routes))
    for name, user in (("1", "ann"), ("2", "ann"), ("3", "bob")):
        assert (await ask("POST", ORDERS, {"number": name}, User=user)).status == 201
    assert (await ask("POST", "/orders/1/parts", {"name": "p"}, User="ann")).status == 201
    moved = await ask("POST", "/orders/1/parts/p/move", "2", User="ann")
    assert (moved.status, moved.headers["Content-Location"]) == (200, "/orders/1/parts/p")
    for order, user in (("2", "ann"), ("1", "bob"), ("9", "ann")):
        assert (await ask("POST", f"/orders/{order}/parts/p/move", "2", User=user)).status == 404
    for gone in ("3", "9"):
        refused = await ask("POST", "/orders/1/parts/p/move", gone, User="ann")
        assert (refused.status, refused.json["errors"][0]["pointer"]) == (422, "/spare_id")
    assert (await store.get(Part, "p")).spare_id == "2"
