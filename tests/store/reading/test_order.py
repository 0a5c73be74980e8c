"""Lists, ranges and equality follow the order of the values in Python, whatever text or number stands for them."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import itertools
import uuid
from dataclasses import replace
from typing import Annotated, Any

import pytest
from annotated_types import Ge, Le
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, BaseModel, BeforeValidator, PlainSerializer, computed_field

from tornado_couch import (
    Bounds,
    Computed,
    Count,
    Database,
    Encrypted,
    Indexed,
    Model,
    Query,
    Store,
    Sum,
    Timestamp,
    install,
)
from tornado_couch.models import model_info
from tornado_couch.security import KeyRing
from tornado_couch.store import reduced


class Size(enum.IntEnum):
    SMALL = 2
    LARGE = 10


class Color(enum.StrEnum):
    BLUE = "blue"
    RED = "red"


class Mixed(enum.Enum):
    TEXT = "text"
    ONE = 1
    TWO = 2


_EXACT = 2**53 - 1
_EAST = dt.timezone(dt.timedelta(hours=1))
_MOMENTS = st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 1, 1), timezones=st.just(dt.UTC))
_NEAR = st.decimals(-20, 20, places=2, allow_nan=False) | st.sampled_from(
    [decimal.Decimal(text) for text in ("9.5", "9.50", "0", "-0", "0.00", "10", "1E+1", "1E-7", "-9.5", "-9.500")]
)
VALUES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "decimal": (decimal.Decimal, _NEAR | st.decimals(allow_nan=False, allow_infinity=False)),
    "timedelta": (dt.timedelta, st.timedeltas() | st.timedeltas(-dt.timedelta(seconds=2), dt.timedelta(seconds=2))),
    "int": (int, st.integers(-_EXACT, _EXACT)),
    "float": (float, st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([2.0**60, -(2.0**70), 1e21])),
    "bool": (bool, st.booleans()),
    "date": (dt.date, st.dates()),
    "datetime": (dt.datetime, _MOMENTS),
    "uuid": (uuid.UUID, st.uuids()),
    "int enum": (Size, st.sampled_from(Size)),
    "text enum": (Color, st.sampled_from(Color)),
}


def declare(annotation: Any) -> type[Model]:
    """A model that is found by a value of a type: alone, after another property, and counted by it."""
    return type(
        "Valued",
        (Model,),
        {
            "__annotations__": {
                "name": str,
                "group": Annotated[str, Indexed()],
                "amount": int,
                "x": Annotated[annotation, Indexed()],
                "maybe": Annotated[annotation | None, Indexed()],
            },
            "maybe": None,
            "amount": 1,
            "__module__": __name__,
        },
        type="valued_v1.0",
        key="name",
        unique=True,
        indexes=[("group", "x")],
        reductions={"by_x": Count("x"), "by_group_and_x": Count("group", "x"), "sums": Sum("amount", by="x")},
    )


async def _names(store: Store, cls: type[Model], query: Query) -> list[str]:
    """The names of all that a query selects, in pages of three."""
    names: list[str] = []
    start = None
    while True:
        page = await store.find(cls, query, limit=3, start=start)
        names += [item.name for item in page.items]  # type: ignore[attr-defined]
        if page.next is None:
            return names
        start = page.next


def _sorted(items: list[Model], attribute: str, *, descending: bool = False) -> list[str]:
    found = sorted(items, key=lambda each: each._id or "")
    found.sort(key=lambda each: (getattr(each, attribute) is not None, getattr(each, attribute)))
    return [each.name for each in (reversed(found) if descending else found)]  # type: ignore[attr-defined]


class _Checker:
    """Documents that are stored, and what Python finds among them."""

    def __init__(self, store: Store, cls: type[Model]) -> None:
        self.store, self.cls = store, cls
        self.items: list[Model] = []

    async def add(self, values: list[Any]) -> None:
        number = len(self.items)
        new = [
            self.cls(name=f"n{number + place:04}", group="ab"[place % 2], x=value, maybe=[value, None][place % 2])
            for place, value in enumerate(values)
        ]
        self.items += await self.store.create_many(self.cls, new)  # type: ignore[arg-type]
        assert all(isinstance(each, Model) for each in self.items), self.items

    async def check(self, query: Query, wanted: list[str]) -> None:
        assert await _names(self.store, self.cls, query) == wanted, query

    async def check_lists(self) -> None:
        for name, down in itertools.product(("x", "maybe"), (False, True)):
            await self.check(Query(sort=[name], descending=down), _sorted(self.items, name, descending=down))

    async def check_value(self, value: Any) -> None:
        stored = model_info(self.cls).stored_value("x", value)
        equal = [each for each in self.items if each.x == value]  # type: ignore[attr-defined]
        for given_value in (value, stored):
            await self.check(Query({"x": [given_value]}), _sorted(equal, "x"))
            both = [each for each in equal if each.group == "a"]  # type: ignore[attr-defined]
            await self.check(Query({"group": ["a"], "x": [given_value]}), _sorted(both, "x"))
            found = await self.store.find(self.cls, by="x", key=given_value, limit=1000, count=True)
            assert found.total == len(equal)

    async def check_range(self, low: Any, high: Any) -> None:
        within = [each for each in self.items if low <= each.x < high]  # type: ignore[attr-defined]
        await self.check(Query(ranges={"x": Bounds(gte=low, lt=high)}), _sorted(within, "x"))
        some = [each for each in self.items if each.maybe is not None and low < each.maybe <= high]  # type: ignore[attr-defined]
        await self.check(Query(ranges={"maybe": Bounds(gt=low, lte=high)}), _sorted(some, "maybe"))
        both = [each for each in within if each.group == "b"]  # type: ignore[attr-defined]
        query = Query({"group": ["b"]}, {"x": Bounds(gte=low, lt=high)}, sort=["x"], descending=True)
        await self.check(query, _sorted(both, "x", descending=True))

    async def check_groups(self) -> None:
        ordered = sorted(self.items, key=lambda each: each.x)  # type: ignore[attr-defined]
        counts = [(key, len(list(some))) for key, some in itertools.groupby(each.x for each in ordered)]  # type: ignore[attr-defined]
        info = model_info(self.cls)
        for name in ("by_x", "sums"):
            groups = await reduced(self.store.database, self.cls, name, limit=10_000)
            found = [(info.adapters["x"].validate_python(group.key), group.value) for group in groups.items]
            assert found == counts
        value = ordered[0].x  # type: ignore[attr-defined]
        query = Query({"group": ["a"]}, {"x": Bounds(lte=value)})
        expected = [each for each in self.items if each.group == "a" and each.x == value]  # type: ignore[attr-defined]
        groups = await reduced(self.store.database, self.cls, "by_group_and_x", query)
        assert sum(group.value for group in groups.items) == len(expected)
        assert all(info.adapters["x"].validate_python(group.key[1]) == value for group in groups.items)


@pytest.mark.parametrize("kind", VALUES)
async def test_lists_ranges_and_groups_follow_the_values(database: Database, kind: str) -> None:
    """Sorted both ways, filtered by equality and by ranges, paged and counted, as Python does with the same values."""
    annotation, values = VALUES[kind]
    cls = declare(annotation)
    await install(database.server, database.name, [cls])  # type: ignore[arg-type]
    checker = _Checker(Store(database), cls)
    examples: list[list[Any]] = []

    @settings(max_examples=6, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(values, min_size=2, max_size=6))
    def collect(some: list[Any]) -> None:
        examples.append(some)

    collect()
    for some in examples:
        await checker.add(some)
    await checker.check_lists()
    for some in examples:
        await checker.check_value(some[0])
        await checker.check_range(*sorted(some[:2]))
    await checker.check_groups()


async def test_a_value_of_an_enum_is_found(database: Database) -> None:
    """Members whose values are of several types, by the member and by its value."""
    cls = declare(Mixed)
    await install(database.server, database.name, [cls])  # type: ignore[arg-type]
    store = Store(database)
    for each in Mixed:
        await store.create(cls(name=each.name, group="a", x=each))
    for each in Mixed:
        for value in (each, each.value):
            assert [item.name for item in (await store.find(cls, by="x", key=value)).items] == [each.name]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("annotation", "key", "stored"),
    [
        (uuid.UUID, uuid.UUID(int=7), str(uuid.UUID(int=7))),
        (dt.date, dt.date(2020, 2, 3), "2020-02-03"),
        (dt.datetime, dt.datetime(2020, 2, 3, tzinfo=_EAST), "2020-02-02T23:00:00.000000+00:00"),
        (Size, Size.LARGE, 10),
        (Mixed, Mixed.ONE, 1),
        (float, 2.0**60, 2.0**60),
    ],
)  # fmt: skip
@pytest.mark.parametrize("unique", [True, False])
async def test_a_key_is_found_by_its_own_type(
    database: Database, annotation: Any, key: Any, stored: Any, unique: bool
) -> None:
    """And by its stored form, alone and among many, with an id that is made from it and by the view."""
    body = {"__annotations__": {"x": annotation, "n": int}, "__module__": __name__, "n": 1}
    cls = type("Keyed", (Model,), body, type="keyed_v1.0", key="x", unique=unique)
    await install(database.server, database.name, [cls])  # type: ignore[arg-type]
    await Store(database).create(cls(x=key))
    for value in (key, stored):
        store = Store(database)  # which remembers no key
        assert (await store.get(cls, value)).x == key  # type: ignore[attr-defined]
        assert (await store.find(cls, Query({"x": [value]}))).items[0].x == key  # type: ignore[attr-defined]
    store = Store(database)
    (again,) = await store.create_many(cls, [cls(x=key)])
    assert isinstance(again, Exception)


def _parsed(value: Any) -> Any:
    return tuple(int(value[place : place + 2], 16) for place in (1, 3, 5)) if isinstance(value, str) else value


def _written(color: tuple[int, int, int]) -> str:
    return "#" + "".join(f"{each:02x}" for each in color)


_Byte = Annotated[int, Ge(0), Le(255)]
_Rgb = Annotated[
    tuple[_Byte, _Byte, _Byte], BeforeValidator(_parsed, json_schema_input_type=str), PlainSerializer(_written, str)
]


class Kept(Model, type="kept_v1.0", key="name", unique=True, history=True):
    name: str
    price: Annotated[decimal.Decimal, Indexed()]


class Hidden(Model, type="hidden_v1.0", key="name", unique=True, soft_delete=True, indexes=[("name", "price")]):
    name: str
    price: Annotated[decimal.Decimal, Indexed()]


class Line(BaseModel):
    price: decimal.Decimal
    amount: int = 1


class Order(Model, type="order_v1.0", key="name", unique=True):
    name: str
    lines: list[Line]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def total(self) -> Annotated[decimal.Decimal, Computed(), Indexed()]:
        return sum((each.price * each.amount for each in self.lines), decimal.Decimal(0))


PRICES = {"a": "10", "b": "9.50", "c": "-3", "d": "9.5"}
BY_PRICE = Query(sort=["price"])
HALF = Query({"price": [decimal.Decimal("9.500")]})
SOME = Query(ranges={"price": Bounds(gt=decimal.Decimal(-3), lt=decimal.Decimal("9.51"))})


async def test_models_that_keep_their_history_are_in_order(database: Database) -> None:
    """A version that was replaced is neither in the list nor in the way."""
    await install(database.server, database.name, [Kept])  # type: ignore[arg-type]
    store = Store(database)
    for name, price in PRICES.items():
        await store.create(Kept(name=name, price=decimal.Decimal(price)))
    await store.update(Kept, "c", lambda kept: setattr(kept, "price", decimal.Decimal("9.8")))
    for query, names in ((BY_PRICE, "bdca"), (HALF, "bd"), (SOME, "bd")):
        assert await _names(store, Kept, query) == list(names)


async def test_models_that_are_only_marked_as_deleted_are_in_order(database: Database) -> None:
    """Those that are deleted as well as those that are not."""
    await install(database.server, database.name, [Hidden])  # type: ignore[arg-type]
    store = Store(database)
    for name, price in [*PRICES.items(), ("e", "10")]:
        await store.create(Hidden(name=name, price=decimal.Decimal(price)))
    assert await _names(store, Hidden, Query({"name": ["b"], "price": [decimal.Decimal("9.5")]})) == ["b"]
    await store.delete(Hidden, "e")
    for query, names in ((BY_PRICE, "cbda"), (HALF, "bd"), (SOME, "bd")):
        assert await _names(store, Hidden, query) == list(names)
    for name in PRICES:
        await store.delete(Hidden, name)
    for query, names in ((BY_PRICE, "cbdae"), (HALF, "bd"), (SOME, "bd")):
        assert await _names(store, Hidden, replace(query, deleted=True)) == list(names)
        assert await _names(store, Hidden, query) == []


async def test_what_is_computed_is_in_order(database: Database) -> None:
    """A stored total that is a Decimal."""
    await install(database.server, database.name, [Order])  # type: ignore[arg-type]
    store = Store(database)
    for name, price in PRICES.items():
        await store.create(Order(name=name, lines=[Line(price=decimal.Decimal(price), amount=2)]))
    assert await _names(store, Order, Query(sort=["total"])) == ["c", "b", "d", "a"]
    assert await _names(store, Order, Query({"total": [19]})) == ["b", "d"]


async def test_protected_values_are_found_by_their_own_type(database: Database) -> None:
    """The blind index is of the stored form."""

    class Patient(Model, type="patient_v1.0", key="name", unique=True):
        name: str
        born_on: Annotated[dt.date, Encrypted(searchable=True)]

    await install(database.server, database.name, [Patient])  # type: ignore[arg-type]
    store = Store(database, crypter=KeyRing.create())
    await store.create(Patient(name="ann", born_on=dt.date(1990, 2, 3)))
    for value, names in ((dt.date(1990, 2, 3), ["ann"]), ("1990-02-03", ["ann"]), (dt.date(1990, 2, 4), [])):
        page = await store.find(Patient, by="born_on", key=value)
        assert [item.name for item in page.items] == names


def _lowered(text: str) -> str:
    return text.lower()


class Code(Model, type="code_v1.0", key="code"):
    code: Annotated[str, AfterValidator(_lowered)]
    color: Annotated[_Rgb, Indexed()]
    at: Annotated[Timestamp | None, Indexed()] = None


async def test_no_validator_judges_what_is_stored_already(database: Database) -> None:
    """A document from before the validator is found by the key that it has, and can be written and deleted."""
    await install(database.server, database.name, [Code])  # type: ignore[arg-type]
    store = Store(database)
    await database.put({"_id": "a", "type": "code_v1.0", "code": "ABC", "color": "#0a0b0c"})
    assert (await store.get(Code, "ABC")).code == "ABC"
    await store.update(Code, "ABC", lambda code: setattr(code, "at", dt.datetime(2026, 1, 2, tzinfo=dt.UTC)))
    for value in ((10, 11, 12), "#0a0b0c", [10, 11, 12]):
        assert [item.code for item in (await store.find(Code, by="color", key=value)).items] == ["ABC"]
    for moment in (dt.datetime(2026, 1, 2, 1, tzinfo=_EAST), "2026-01-02T00:00:00Z"):
        assert [item.code for item in (await store.find(Code, by="at", key=moment)).items] == ["ABC"]
    await store.delete(Code, "ABC")
