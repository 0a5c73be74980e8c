"""A client of a real server, with a proxy between them that spoils exchanges."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.faults import (
    Effect,
    Fault,
    FaultProxy,
    answer_status,
    delay,
    lose_answer,
    lose_request,
    never_answer,
    repeat_answer,
    truncate_answer,
    until,
)
from tornado_couch import errors
from tornado_couch.couch import Couch, Database, Timeout


@pytest.fixture
async def behind(proxy: FaultProxy, database: Database) -> AsyncIterator[Database]:
    """The database as it is seen through the proxy."""
    async with Couch(proxy.url, timeout=Timeout(read=1)) as couch:
        yield couch[database.name]


@pytest.mark.parametrize(
    ("effect", "expected", "written"),
    [
        (lose_request, errors.Unavailable, False),
        (answer_status(503), errors.Unavailable, False),
        (lose_answer, errors.Unavailable, True),
        (truncate_answer, errors.Unavailable, True),
        (never_answer, errors.ReadTimeout, True),
    ],
)
async def test_a_write_in_an_outage_is_done_once_or_not_at_all(
    proxy: FaultProxy,
    behind: Database,
    database: Database,
    effect: Effect,
    expected: type[errors.CouchError],
    written: bool,
) -> None:
    """The exception says that the outcome is unknown, and nothing was sent twice."""
    await behind.exists()  # so that the write goes over a pooled connection
    proxy.faults.append(Fault(effect, method="PUT"))
    with pytest.raises(errors.Unavailable) as caught:
        await behind.put({"_id": "a"})
    assert type(caught.value) is expected
    assert caught.value.sent is True
    assert [request.method for request in proxy.requests] == ["HEAD", "PUT"]
    assert (await database.revision("a") is not None) is written
    assert (await behind.put({"_id": "b"})).rev


@pytest.mark.parametrize("effect", [lose_request, lose_answer])
async def test_a_read_in_an_outage_is_done_again(proxy: FaultProxy, behind: Database, effect: Effect) -> None:
    """A lost read costs nothing but time."""
    await behind.put({"_id": "a"})
    proxy.faults.append(Fault(effect, method="GET"))
    assert (await behind.get("a"))["_id"] == "a"


@pytest.mark.parametrize("seconds", [0, 0.01])
async def test_an_answer_that_comes_twice_answers_one_request(
    proxy: FaultProxy, behind: Database, seconds: float
) -> None:
    """The connection is not used again: the second copy would be taken for the answer to what comes next."""
    first = await behind.put({"_id": "a"})
    proxy.faults.append(Fault(repeat_answer(seconds), method="PUT"))
    second = await behind.put({"_id": "a", "_rev": first.rev})
    await asyncio.sleep(2 * seconds)
    with pytest.raises(errors.Conflict):
        await behind.put({"_id": "a", "_rev": first.rev, "other": True})
    assert (await behind.get("a"))["_rev"] == second.rev
    assert proxy.opened == 2


async def test_a_slow_answer_is_an_answer(proxy: FaultProxy, behind: Database) -> None:
    """Within the time limit nothing is lost."""
    proxy.faults.append(Fault(delay(0.1), times=None))
    assert await behind.exists()


async def test_many_callers_survive_a_storm(proxy: FaultProxy, behind: Database, database: Database) -> None:
    """Of 60 concurrent writes some are lost; each says so, and CouchDB has every one that was confirmed."""
    await behind.exists()
    storm: list[Any] = [lose_request, lose_answer, truncate_answer, answer_status(500)]
    proxy.faults = [Fault(effect, method="PUT", times=5, after=3 * n) for n, effect in enumerate(storm)]
    ids = [f"{n:02}" for n in range(60)]
    results = await asyncio.gather(*(behind.put({"_id": each}) for each in ids), return_exceptions=True)
    lost = [result for result in results if isinstance(result, BaseException)]
    assert len(lost) == 20
    assert all(isinstance(error, errors.Unavailable) for error in lost)
    stored = {row.id for row in (await database.all_docs()).rows}
    assert {result.id for result in results if not isinstance(result, BaseException)} <= stored
    assert len(stored) == 50  # ten were lost before CouchDB, by the proxy's reset or its own 500


async def test_a_cancelled_write_frees_its_connection(proxy: FaultProxy, behind: Database) -> None:
    """Giving up on a call closes its connection, and the next one works."""
    proxy.faults.append(Fault(never_answer, method="PUT"))
    call = asyncio.create_task(behind.put({"_id": "a"}))
    await until(lambda: proxy.requests)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: proxy.open == 0)
    assert await behind.exists()
