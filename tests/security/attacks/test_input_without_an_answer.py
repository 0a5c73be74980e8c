"""No value that a client sends is a fault of the service: whatever its extremes, it is taken or refused."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

import pytest
from pydantic import Field

from tests.web.conftest import Client, Serve, application
from tornado_couch import Database, Indexed, Key, Model, Store, assigned, install, resource

MERGE, PATCH = "application/merge-patch+json", "application/json-patch+json"


class Event(Model, type="event_v1.0", key="event_id", indexes=[("at", "day")]):
    event_id: Key = assigned()
    at: Annotated[datetime | None, Indexed()] = None
    day: Annotated[date | None, Indexed()] = None
    clock: time | None = None
    lasts: timedelta | None = None
    price: Annotated[Decimal | None, Indexed()] = None
    number: Annotated[int | None, Indexed()] = None
    weight: Annotated[float | None, Indexed()] = None
    stepped: Annotated[float | None, Field(multiple_of=0.01)] = None
    whole: Annotated[int | None, Field(multiple_of=7)] = None
    exact: Annotated[Decimal | None, Field(multiple_of=Decimal("0.01"), max_digits=9)] = None
    owner: Annotated[UUID | None, Indexed()] = None
    code: Annotated[str | None, Field(pattern=r"^(a+)+$")] = None
    moments: list[datetime] = Field(default_factory=list)
    spans: dict[str, timedelta] = Field(default_factory=dict)
    free: Any = None


class Told(Model, type="told_v1.0", key="name", history=True, unique=True):
    name: str
    at: Annotated[datetime | None, Indexed()] = None


@pytest.fixture
async def ask(database: Database, serve: Serve) -> Client:
    await install(database.server, database.name, [Event, Told])  # type: ignore[arg-type]
    store = Store(database)
    told = resource("/told", Told, store, create_by_put=True)
    ask = await serve(application(store, *resource("/events", Event, store), *told))
    ask.described = None
    return ask


MOMENTS = [
    "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+23:59", "0001-01-01T00:00:00-12:00",
    "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-12:00", "9999-12-31T23:59:59.999999-23:59",
    "9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:60Z", "0000-01-01T00:00:00Z", "2024-02-30T00:00:00Z",
    "10000-01-01T00:00:00Z", "2024-01-01T00:00:00+24:00", "2024-01-01T24:00:00Z", "2024-01-01T00:00:00+99:99",
]  # fmt: skip
SPANS = [
    "P999999999D", "-P999999999D", "P1000000000D", "-P1000000000D", "P9999999999999999999D", "PT1E400S", "P2739726Y",
    "PT86399999999999.999999S", "-PT0.0000001S", "P" + "9" * 400 + "D", "999999999 days", "PT", "P-1D", "nan", "inf",
]  # fmt: skip
NUMBERS: list[Any] = [
    int("9" * 400), -int("9" * 400), 1e308, -1e308, 5e-324, 2**63, -(2**63) - 1, 2**1024,
    10**4299, 0.1,
    "9" * 400, "1e400", "1E-400", "1e999999999", "-1e999999999", "1e-999999999", "NaN", "sNaN",
    "Infinity", "-0", "0e999999999",
]  # fmt: skip
CASES: list[tuple[str, Any]] = [
    *[("at", each) for each in [*MOMENTS, 1e308, 10**18, -(10**18), 253402300800, -62135596801, "1e308", True]],
    *[("day", each) for each in ["0001-01-01", "9999-12-31", "0000-00-00", "10000-01-01", *MOMENTS[:4], 10**18, 1e308]],
    *[("clock", each) for each in ["24:00:00", "00:00:00+23:59", "23:59:59.9999999", "23:59:60", 1e308, 86400, -1]],
    *[("lasts", each) for each in [*SPANS, 1e308, -1e308, 1e15, 10**400, 86399999999999.99, -86399999913600, 1e-10]],
    *[(name, each) for name in ("price", "number", "weight", "stepped", "whole", "exact") for each in NUMBERS],
    *[("owner", each) for each in ["0" * 32, "urn:uuid:" + "0" * 32, "{" * 100, 5, "\ud800"]],
    ("code", "a" * 5000 + "b"), ("moments", MOMENTS), ("spans", dict(enumerate(SPANS))),
    *[("moments", [each]) for each in MOMENTS], *[("spans", {"a": each}) for each in SPANS],
]  # fmt: skip


def short(value: Any) -> str:
    return repr(value)[:40]


async def test_no_value_of_a_body_is_a_fault(ask: Client) -> None:
    """Times at the ends of the calendar, long spans, and numbers of 400 digits with `multipleOf` were 500."""
    where = (await ask("POST", "/events", {})).headers["Location"]
    faults = []
    for name, value in CASES:
        answers = [
            await ask("POST", "/events", {name: value}),
            await ask("PATCH", where, [{"op": "add", "path": f"/{name}", "value": value}], Content_Type=PATCH),
        ]
        faults += [(name, short(value), each.status) for each in answers if each.status >= 500]
        for reply in answers[:1]:
            if reply.status == 201:  # what was taken can be read, and sent back
                again = await ask("PUT", reply.headers["Location"], reply.json)
                faults += [(name, short(value), again.status, again.text[:200])] if again.status != 200 else []
    assert faults == []
    assert (await ask("GET", "/events?limit=1000")).json.get("withheld", 0) == 0


async def test_no_value_of_a_filter_is_a_fault(ask: Client) -> None:
    """In equalities, ranges and sorted lists, and in the cursors that these give."""
    faults = []
    for name, value in CASES:
        if name not in ("at", "day", "clock", "lasts", "price", "number", "weight", "owner"):
            continue
        text = quote(
            str(value).encode("utf-8", "surrogatepass") if isinstance(value, str) else str(value)[:5000], safe=""
        )
        for query in (
            f"{name}={text}",
            f"{name}[gte]={text}",
            f"{name}[lt]={text}&sort=-{name}",
            f"at[lt]={text}&day={text}",
        ):
            reply = await ask("GET", f"/events?{query}&limit=1")
            faults += [(query[:60], reply.status)] if reply.status >= 500 else []
    assert faults == []


async def test_a_cursor_at_the_end_of_the_calendar_is_no_fault(ask: Client) -> None:
    """It holds the time as it is stored."""
    for moment in MOMENTS:
        await ask("POST", "/events", {"at": moment})
    for sort in ("at", "-at"):
        address, seen = f"/events?sort={sort}&limit=1", 0
        while address:
            reply = await ask("GET", address)
            assert reply.status == 200
            address, seen = reply.json.get("next", ""), seen + 1
        assert seen >= 4


async def test_no_time_of_a_version_is_a_fault(ask: Client) -> None:
    """`?at=` with the ends of the calendar."""
    assert (await ask("PUT", "/told/a", {"name": "a"})).status == 201
    for moment in [*MOMENTS, "", "now", "1e400", "9" * 5000]:
        text = quote(moment, safe="")
        for address in (f"/told/a/versions?at={text}", f"/told/a?at={text}", f"/told/a?version={text}"):
            assert (await ask("GET", address)).status in (200, 400, 404), (address[:80], moment)
    for path in ("at[gte]", "at", "at[lt]"):
        for moment in MOMENTS:
            assert (await ask("GET", f"/told?{path}={quote(moment, safe='')}")).status in (200, 400)


@pytest.mark.parametrize("depth", [63, 64, 65, 200, 900, 1100, 5000])
async def test_no_nesting_is_a_fault(ask: Client, depth: int) -> None:
    """In a body, a merge patch, and the values and paths of a JSON patch."""
    where = (await ask("POST", "/events", {"free": {}})).headers["Location"]
    for opening, closing in (('{"a":', "}"), ("[", "]")):
        nested = opening * depth + "1" + closing * depth
        for method, address, kind, body in (
            ("POST", "/events", "application/json", f'{{"free":{nested}}}'),
            ("PATCH", where, MERGE, f'{{"free":{nested}}}'),
            ("PATCH", where, PATCH, f'[{{"op":"add","path":"/free/a","value":{nested}}}]'),
            ("PATCH", where, PATCH, f'[{{"op":"test","path":"/free","value":{nested}}}]'),
        ):
            reply = await ask(method, address, data=body.encode(), Content_Type=kind)
            assert reply.status < 500, (method, kind, reply.text[:200])
    path = "/free" + "/a" * depth
    for operation in (
        {"op": "add", "path": path, "value": 1},
        {"op": "test", "path": path, "value": 1},
        {"op": "remove", "path": path},
    ):
        assert (await ask("PATCH", where, [operation], Content_Type=PATCH)).status < 500
