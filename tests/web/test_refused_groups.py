"""What clients are told when CouchDB refuses a group of writes for one of them: each its own outcome."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from tests.faults import Fault, FaultProxy, refuse_with
from tests.web.conftest import Client, Reply, Serve, application
from tornado_couch import Couch, Retry, Store

POISON = "poisonous"


@pytest.fixture
async def behind(store: Store, serve: Serve, proxy: FaultProxy) -> AsyncIterator[Client]:
    """A client of a service that reaches CouchDB by way of a proxy, which refuses what holds the poisonous member."""
    effect = refuse_with(POISON, 412, {"error": "missing_stub", "reason": "x"})
    async with Couch(proxy.url) as couch:
        client = await serve(application(Store(couch[store.database.name], retry=Retry(base=0.001))))
        proxy.faults += [Fault(effect, method="PUT", times=None), Fault(effect, path="_bulk_docs", times=None)]
        yield client


def colors(place: int) -> list[str]:
    return [POISON if n == place else f"color{n}" for n in range(4)]


def statuses(place: int, good: int) -> list[int]:
    return [403 if n == place else good for n in range(4)]


async def stored(ask: Client) -> list[str]:
    items = (await ask("GET", "/fruits")).json["items"]
    return sorted(each["color"] for each in items)


@pytest.mark.parametrize("place", range(4))
async def test_requests_at_the_same_time(behind: Client, place: int) -> None:
    """POST and PUT: the one is 403 with a problem of its own, not 500, and the others are done."""
    made = await asyncio.gather(*(behind("POST", "/fruits", {"color": each}) for each in colors(place)))
    assert [each.status for each in made] == statuses(place, 201)
    assert made[place].json["type"] == "urn:tornado-couch:problem:refused-by-database"
    assert await stored(behind) == sorted({*colors(place)} - {POISON})
    paths = [each.headers["Location"] for each in made if each.status == 201]
    poisoned = [{"color": POISON if n == 0 else f"new{n}"} for n in range(3)]
    changed = await asyncio.gather(*(behind("PUT", path, body) for path, body in zip(paths, poisoned, strict=True)))
    assert [each.status for each in changed] == [403, 200, 200]


@pytest.mark.parametrize("place", range(4))
async def test_many_in_one_request(behind: Client, place: int) -> None:
    """An array and NDJSON: each item has its own status, and is there if it says so."""
    bodies = [{"color": each} for each in colors(place)]
    array = await behind("POST", "/fruits", bodies)
    assert [each["status"] for each in array.json["items"]] == statuses(place, 201)
    text = b"".join(json.dumps(each).encode() + b"\n" for each in bodies)
    streamed = await behind("POST", "/fruits", data=text, Content_Type="application/x-ndjson")
    assert [json.loads(line)["status"] for line in streamed.text.splitlines()] == statuses(place, 201)
    assert await stored(behind) == sorted([*({*colors(place)} - {POISON})] * 2)


@pytest.mark.parametrize("place", range(4))
async def test_requests_with_an_idempotency_key(behind: Client, place: int) -> None:
    """Repeated, each gets the same answer, and there is one document of each."""

    async def post(number: int, color: str) -> Reply:
        return await behind("POST", "/fruits", {"color": color}, Idempotency_Key=f'"{number}"')

    for _ in range(2):
        made = await asyncio.gather(*(post(number, each) for number, each in enumerate(colors(place))))
        assert [each.status for each in made] == statuses(place, 201)
    assert await stored(behind) == sorted({*colors(place)} - {POISON})
