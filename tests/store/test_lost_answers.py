"""Writes whose answers are lost, late, doubled or cut: each is done once or not at all, and the store knows which."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
from pydantic import Field

from tests.faults import (
    Effect,
    Fault,
    FaultProxy,
    answer_status,
    delay,
    deliver_late,
    lose_answer,
    lose_request,
    never_answer,
    repeat_answer,
    repeat_request,
    truncate_answer,
)
from tornado_couch import (
    Couch,
    CreatedOn,
    Database,
    Key,
    Model,
    Retry,
    Store,
    Timeout,
    UpdatedOn,
    install,
)
from tornado_couch.security import KeyRing


class Fruit(Model, type="fruit_v1.0", key="fruit_id"):
    fruit_id: Key
    picks: list[int] = Field(default_factory=list)
    created_on: CreatedOn
    updated_on: UpdatedOn


class Place(Model, type="place_v1.0", key="name", unique=True):
    name: str
    size: int = 0


EFFECTS: dict[str, Effect] = {
    "request lost": lose_request,
    "answer lost": lose_answer,
    "answer never": never_answer,
    "answer cut": truncate_answer,
    "answer late": delay(0.4),
    "answer twice": repeat_answer(),
    "request twice": repeat_request,
    "request late": deliver_late(0.05),
    "failure": answer_status(500),
}


@pytest.fixture
async def proxy(server_url: str) -> AsyncIterator[FaultProxy]:
    """Stands between the store and CouchDB."""
    async with FaultProxy(server_url) as running:
        yield running


@pytest.fixture(params=["plain", "signed"])
async def store(
    proxy: FaultProxy, couch: Couch, database: Database, request: pytest.FixtureRequest
) -> AsyncIterator[Store]:
    """A store behind the proxy, with and without signatures."""
    await install(couch, database.name, [Fruit, Place])
    signer = KeyRing.create() if request.param == "signed" else None
    async with Couch(proxy.url, timeout=Timeout(read=0.3)) as behind:
        yield Store(behind[database.name], signer=signer, retry=Retry(base=0.001))


def pick(number: int) -> Callable[[Fruit], None]:
    """A change that is not the same when it is done twice."""
    return lambda fruit: fruit.picks.append(number)


@pytest.mark.parametrize("effect", EFFECTS)
async def test_a_create_is_done_once(store: Store, proxy: FaultProxy, effect: str) -> None:
    """One document, and the revision that the store gives is its first."""
    proxy.faults.append(Fault(EFFECTS[effect], path="_bulk_docs"))
    fruit = await store.create(Fruit(picks=[1]))
    assert proxy.faults[0].hits == 1
    assert [each._rev for each in (await store.find(Fruit)).items] == [fruit._rev]
    assert (fruit._rev or "").startswith("1-")


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("guarded", [False, True])
async def test_an_update_is_done_once(store: Store, proxy: FaultProxy, effect: str, guarded: bool) -> None:
    """With an expected revision or without: the change is there once, in the revision that the store gives."""
    fruit = await store.create(Fruit())
    proxy.faults.append(Fault(EFFECTS[effect], path="_bulk_docs"))
    expected = (lambda revision: revision == fruit._rev) if guarded else None
    changed = await store.update(Fruit, fruit.fruit_id, pick(7), expected=expected)
    found = await store.get(Fruit, fruit.fruit_id)
    assert (found.picks, found._rev, proxy.faults[0].hits) == ([7], changed._rev, 1)
    assert (found._rev or "").startswith("2-")
