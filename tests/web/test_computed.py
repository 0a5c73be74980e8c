"""Computed properties over HTTP: shown, never written by clients, stored and found by where the model says so."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, computed_field

from tests.web.conftest import Client, Serve
from tornado_couch import (
    AllowAny,
    Application,
    Computed,
    Database,
    Indexed,
    Key,
    Model,
    Store,
    Sum,
    UpdatedOn,
    install,
    resource,
)
from tornado_couch.errors import ModelDefinitionError
from tornado_couch.models import Merge, WriteOnly, from_document, model_info, schema_at_rest, to_document
from tornado_couch.web import openapi_document

MERGE = "application/merge-patch+json"


class Line(BaseModel):
    article: str
    price: int
    amount: int = 1

    @computed_field  # type: ignore[prop-decorator]
    @property
    def subtotal(self) -> int:
        """The price of all."""
        return self.price * self.amount


class Order(Model, type="order_v1.0", key="order_id", reductions={"turnover": Sum("total", by="customer")}):
    order_id: Key
    customer: Annotated[str, Indexed()]
    lines: list[Line] = Field(default_factory=list)
    updated_on: UpdatedOn

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> Annotated[int, Computed(), Indexed()]:
        """The sum of the lines."""
        return sum(each.subtotal for each in self.lines)

    @computed_field(alias="greeting")  # type: ignore[prop-decorator]
    @property
    def hello(self) -> str:
        """Never stored."""
        return f"Dear {self.customer}"


@pytest.fixture
async def orders(database: Database, serve: Serve) -> Client:
    """A service of orders."""
    await install(database.server, database.name, [Order])  # type: ignore[arg-type]
    return await serve(Application(resource("/orders", Order, Store(database)), policy=AllowAny()))


def order(customer: str, *prices: int) -> dict[str, Any]:
    return {"customer": customer, "lines": [{"article": "a", "price": each, "amount": 2} for each in prices]}


async def test_what_is_computed_is_shown_and_only_stored_where_the_model_says_so(
    orders: Client, database: Database
) -> None:
    """At the top and in nested models; the stored one is in the document, the others are not."""
    created = await orders("POST", "/orders", order("Ann", 3, 4))
    assert created.status == 201
    assert (created.json["total"], created.json["greeting"]) == (14, "Dear Ann")
    assert [each["subtotal"] for each in created.json["lines"]] == [6, 8]
    stored = await database.get(created.json["order_id"])
    assert stored["total"] == 14
    assert stored.keys().isdisjoint({"greeting", "hello"})
    assert stored["lines"] == [{"article": "a", "price": each, "amount": 2} for each in (3, 4)]
    found = await orders("GET", created.headers["Location"] + "?fields=greeting,total")
    assert found.json == {"greeting": "Dear Ann", "total": 14}


async def test_what_was_shown_can_be_sent_back_and_is_computed_anew(orders: Client, database: Database) -> None:
    """PUT and PATCH take it and ignore it; the stored total follows the lines."""
    created = await orders("POST", "/orders", order("Ann", 3))
    address = created.headers["Location"]
    same = await orders("PUT", address, created.json)
    assert same.status == 200
    assert same.json | {"updated_on": 0} == created.json | {"updated_on": 0}
    changed = await orders("PUT", address, {**same.json, "lines": order("", 5)["lines"]})
    assert (changed.status, changed.json["total"]) == (200, 10)
    patched = await orders("PATCH", address, {"customer": "Bo"}, Content_Type=MERGE)
    assert (patched.json["greeting"], patched.json["total"]) == ("Dear Bo", 10)
    assert (await database.get(created.json["order_id"]))["total"] == 10
    refused = await orders("POST", "/orders", {**order("Ann"), "total": 3})
    assert [(each["pointer"], each["keyword"]) for each in refused.json["errors"]] == [("/total", "readOnly")]


async def test_a_stored_one_is_filtered_sorted_and_added_up(orders: Client) -> None:
    """Like any other indexed property."""
    for customer, prices in (("Ann", (3,)), ("Bo", (1, 1)), ("Ann", (2,))):
        assert (await orders("POST", "/orders", order(customer, *prices))).status == 201
    listed = await orders("GET", "/orders?total=4")
    assert sorted(each["customer"] for each in listed.json["items"]) == ["Ann", "Bo"]
    ranked = await orders("GET", "/orders?sort=total")
    assert [each["total"] for each in ranked.json["items"]] == [4, 4, 6]
    above = await orders("GET", "/orders?total[gt]=4")
    assert [each["total"] for each in above.json["items"]] == [6]
    refused = await orders("GET", "/orders?greeting=x")
    assert refused.status == 400


async def test_the_api_document_says_that_they_are_read_only(database: Database) -> None:
    """In what is shown, with their types; in bodies they are optional and ignored."""
    app = Application(resource("/orders", Order, Store(database)), policy=AllowAny())
    schemas = openapi_document(app)["components"]["schemas"]
    assert schemas["Order"]["properties"]["total"] == {
        "type": "integer", "readOnly": True, "description": "The sum of the lines.",
    }  # fmt: skip
    assert schemas["Order"]["properties"]["greeting"]["readOnly"] is True
    assert {"total", "greeting"} <= set(schemas["Order"]["required"])
    assert schemas["OrderReplace"]["properties"]["total"]["readOnly"] is True
    assert "total" not in schemas["OrderCreate"]["properties"]
    assert "total" in schema_at_rest(Order)["properties"]
    assert "greeting" not in schema_at_rest(Order)["properties"]


def test_a_stored_value_that_is_out_of_date_is_ignored() -> None:
    """What the model computes counts, whatever another program wrote; what is not stored any more is dropped."""
    document = {"_id": "a", "type": "order_v1.0", "order_id": "a", "customer": "Ann", "total": 99, "greeting": "old"}
    model = from_document(Order, {**document, "lines": [{"article": "a", "price": 1, "amount": 1, "subtotal": 7}]})
    assert model.total == 1
    written = to_document(model)
    assert written["total"] == 1
    assert "greeting" not in written
    assert written["lines"] == [{"article": "a", "price": 1, "amount": 1}]


@pytest.mark.parametrize(
    ("returned", "advice"),
    [
        (Annotated[int, Indexed()], r"add Computed\(\)"),
        (Annotated[int, Computed(), WriteOnly()], "plain @property"),
        (Annotated[int, Computed(), Merge.max], "merge rule"),
    ],
    ids=["indexed and not stored", "write-only", "merged"],
)
def test_a_marker_that_a_computed_property_cannot_have_is_refused(returned: Any, advice: str) -> None:
    """The error says what to write instead."""

    def total(self: Model) -> Any:
        return 1

    total.__annotations__["return"] = returned
    with pytest.raises(ModelDefinitionError, match=f"computed property 'total' .*{advice}"):
        type("Made", (Model,), {"__annotations__": {}, "total": computed_field(property(total))}, type="made_v1.0")


def test_a_computed_key_is_refused() -> None:
    """A key names its document for good."""
    with pytest.raises(ModelDefinitionError, match="cannot be computed"):

        class Made(Model, type="made_v1.0", key="name"):
            @computed_field  # type: ignore[prop-decorator]
            @property
            def name(self) -> Annotated[str, Computed()]:
                return "a"


def test_none_is_left_out_as_everywhere() -> None:
    """A computed property that can be None is not stored, and not shown, while it is."""

    class Made(Model, type="made_v1.0"):
        x: int = 0

        @computed_field  # type: ignore[prop-decorator]
        @property
        def y(self) -> Annotated[int | None, Computed()]:
            return self.x or None

    assert "y" not in to_document(Made())
    assert to_document(Made(x=2))["y"] == 2
    assert model_info(Made).properties["y"].read_only
