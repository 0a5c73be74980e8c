"""Filters take a property's own type: what is equal is found, whatever text stands for it."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import uuid
from typing import Annotated, Literal
from urllib.parse import urlencode

import pytest

from tests.web.conftest import Client, Serve
from tornado_couch import AllowAny, Application, Count, Database, Indexed, Model, Policy, Store, install, resource


class Grade(enum.Enum):
    FIRST = 1
    SECOND = 2
    NONE = "none"


class Priced(
    Model,
    type="priced_v1.0",
    key="name",
    unique=True,
    indexes=[("grade", "price")],
    reductions={"by_price": Count("price"), "by_grade_and_price": Count("grade", "price")},
):
    name: str
    price: Annotated[decimal.Decimal | None, Indexed()] = None
    wait: Annotated[dt.timedelta | None, Indexed()] = None
    grade: Annotated[Grade, Indexed()] = Grade.FIRST
    level: Annotated[Literal[1, 2, "x"], Indexed()] = 1
    serial: Annotated[uuid.UUID | None, Indexed()] = None
    day: Annotated[dt.date | None, Indexed()] = None


@pytest.fixture
async def ask(database: Database, serve: Serve) -> Client:
    """A client of a service with four documents."""
    await install(database.server, database.name, [Priced])  # type: ignore[arg-type]
    store = Store(database)
    for name, price, wait, grade in (
        ("a", "10", dt.timedelta(hours=20), Grade.FIRST),
        ("b", "9.50", dt.timedelta(days=1), Grade.SECOND),
        ("c", "9.5", dt.timedelta(hours=3), Grade.NONE),
        ("d", "-1", dt.timedelta(seconds=-1), Grade.FIRST),
    ):
        serial, day = uuid.UUID(int=ord(name)), dt.date(2020, 1, ord(name) - 96)
        level: Literal[1, 2] = 1 if name < "c" else 2
        await store.create(
            Priced(
                name=name,
                price=decimal.Decimal(price),
                wait=wait,
                grade=grade,
                level=level,
                serial=serial,
                day=day,
            )
        )
    return await serve(Application(resource("/priced", Priced, store), policy=AllowAny()))


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ({"price": "9.5"}, "bc"),
        ({"price": "9.500"}, "bc"),
        ({"price": "1E+1"}, "a"),
        ({"price[gt]": "9.5"}, "a"),
        ({"price[lt]": "9.5"}, "d"),
        ({"sort": "price"}, "dbca"),
        ({"sort": "-price"}, "acbd"),
        ({"grade": "1", "price[gte]": "2"}, "a"),
        ({"grade": "none"}, "c"),
        ({"wait": "PT24H"}, "b"),
        ({"wait[lt]": "PT20H"}, "dc"),
        ({"sort": "wait"}, "dcab"),
        ({"level": "2"}, "cd"),
        ({"serial": uuid.UUID(int=97).hex.upper()}, "a"),
        ({"day": "2020-01-02"}, "b"),
        ({"day[gte]": "2020-01-03"}, "cd"),
    ],
)
async def test_filters_and_order_are_those_of_the_values(ask: Client, query: dict[str, str], names: str) -> None:
    """In one page and in pages of one item, whose cursors stand for values."""
    reply = await ask("GET", f"/priced?{urlencode(query)}")
    assert (reply.status, [each["name"] for each in reply.json["items"]]) == (200, list(names)), reply.text
    path, found = f"/priced?{urlencode({**query, 'limit': '1'})}", []
    while path:
        reply = await ask("GET", path)
        found += [each["name"] for each in reply.json["items"]]
        path = reply.json.get("next", "")
    assert found == list(names)


@pytest.mark.parametrize("query", ["price=x", "grade=3", "level=x2", "wait=5", "day=2020-02-30", "grade=true"])
async def test_what_is_no_value_of_the_type_is_refused(ask: Client, query: str) -> None:
    """With 400, naming the parameter."""
    reply = await ask("GET", f"/priced?{query}")
    assert (reply.status, reply.json["parameter"]) == (400, query.partition("=")[0])


async def test_groups_have_values_and_their_order(ask: Client) -> None:
    """Equal numbers are one group, and each key is a value of the property, not what stands in the view."""
    reply = await ask("GET", "/priced/by_price")
    assert reply.json["items"] == [
        {"key": "-1", "value": 1},
        {"key": "9.5", "value": 2},
        {"key": "10", "value": 1},
    ]
    reply = await ask("GET", "/priced/by_grade_and_price?grade=1&price[lt]=9.50")
    assert reply.json["items"] == [{"key": [1, "-1"], "value": 1}]
    reply = await ask("GET", "/priced/by_grade_and_price?level=1")
    assert reply.json["items"][0] == {"key": [1], "value": 2}
    reply = await ask("GET", "/priced/by_price?limit=2")
    reply = await ask("GET", reply.json["next"])
    assert reply.json["items"] == [{"key": "10", "value": 1}]


class Own(Policy):
    """Everybody sees one grade alone."""

    def restriction(self, principal: object, model: type[Model]) -> tuple[str, object]:
        return "price", decimal.Decimal("9.500")

    def initial(self, principal: object, model: type[Model]) -> dict[str, object]:
        return {}


async def test_a_restriction_is_of_the_property_s_own_type(database: Database, serve: Serve) -> None:
    """A policy of one's own gives a Decimal, and a filter for the same value agrees with it."""
    await install(database.server, database.name, [Priced])  # type: ignore[arg-type]
    store = Store(database)
    for name, price in (("a", "9.50"), ("b", "9.5"), ("c", "10")):
        await store.create(Priced(name=name, price=decimal.Decimal(price)))
    ask = await serve(Application(resource("/priced", Priced, store, policy=Own()), policy=AllowAny()))
    for query, names in (("", "ab"), ("?price=9.5", "ab"), ("?price=10", "")):
        reply = await ask("GET", f"/priced{query}")
        assert [each["name"] for each in reply.json["items"]] == list(names)
