"""History behind a proxy that loses, delays, doubles and cuts: no gap in the numbers, no change there twice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from tests.faults import (
    Call,
    Effect,
    Fault,
    FaultProxy,
    Forward,
    answer_status,
    delay,
    deliver_late,
    hurry_writes,
    lose_answer,
    lose_request,
    never_answer,
    repeat_answer,
    repeat_request,
    truncate_answer,
)
from tornado_couch import Couch, Database, Model, Retry, Store, Timeout, install
from tornado_couch.errors import CouchError, OutcomeUnknown, RetriesExhausted, RevisionMismatch
from tornado_couch.models import version_of
from tornado_couch.security import KeyRing

EFFECTS: dict[str, Effect] = {
    "request lost": lose_request,
    "answer lost": lose_answer,
    "answer never": never_answer,
    "answer cut": truncate_answer,
    "answer late": delay(0.3),
    "answer twice": repeat_answer(),
    "request twice": repeat_request,
    "request late": deliver_late(0.05),
    "failure": answer_status(500),
}


class VersionedTree(Model, type="tree_v1.0", key="name", history=True):
    name: str
    picked: int = 0


@pytest.fixture
def guarded() -> bool:
    """Whether changes are meant for a revision; the documents are signed then, too."""
    return True


@pytest.fixture
def patience() -> float:
    """For how many seconds reads are waited for: long, since a busy machine may be slow."""
    return 20


@pytest.fixture
async def store(
    proxy: FaultProxy, couch: Couch, database: Database, guarded: bool, patience: float
) -> AsyncIterator[Store]:
    """A store behind the proxy."""
    await install(couch, database.name, [VersionedTree])
    signer = KeyRing.create() if guarded else None
    async with Couch(proxy.url, timeout=Timeout(read=patience)) as behind:
        hurry_writes(behind, 0.2)
        yield Store(behind[database.name], signer=signer, retry=Retry(base=0.001))


async def numbers(database: Database) -> list[int]:
    """Those of the versions of one document, as they are stored."""
    rows = (await database.all_docs(include_docs=True)).rows
    return [version_of(row.doc).number for row in rows if row.doc and row.id and not row.id.startswith("_design/")]


@pytest.mark.parametrize("effect", EFFECTS)
async def test_each_kind_of_write_is_one_version(
    store: Store, proxy: FaultProxy, database: Database, effect: str
) -> None:
    """Whatever becomes of its answer: creating, changing, deleting, restoring, and creating again."""
    for call in (
        lambda: store.create(VersionedTree(name="a")),
        lambda: store.update(VersionedTree, "a", lambda tree: setattr(tree, "picked", 1)),
        lambda: store.delete(VersionedTree, "a"),
        lambda: store.restore(VersionedTree, "a"),
        lambda: store.delete(VersionedTree, "a"),
    ):
        proxy.faults[:] = [Fault(EFFECTS[effect], method="PUT")]
        await call()
        assert proxy.faults[0].hits == 1
    assert await numbers(database) == [1, 2, 3, 4, 5]
    # The first request is refused, since there is a first version; it is the second that is spoilt.
    proxy.faults[:] = [Fault(EFFECTS[effect], method="PUT", after=1)]
    await store.create(VersionedTree(name="a"))
    assert await numbers(database) == [1, 2, 3, 4, 5, 6]


@dataclass
class Weather:
    """Spoils every fourth exchange or so, each in its own way."""

    chance: random.Random

    async def __call__(self, call: Call, forward: Forward) -> None:
        effect = self.chance.choice(list(EFFECTS.values())) if self.chance.random() < 0.25 else None
        await (effect(call, forward) if effect else call.send(await forward()))


@pytest.mark.parametrize("patience", [0.2])  # the weather spoils reads as well
@pytest.mark.parametrize("guarded", [False, True])
async def test_behind_a_spoiling_proxy_history_has_no_gap_and_no_double(
    store: Store, proxy: FaultProxy, database: Database, guarded: bool
) -> None:
    """Of six writers: each acknowledged change is a version, once, upon the one before; none is there unclaimed."""
    await store.create(VersionedTree(name="a"))
    weather = Fault(Weather(random.Random(7)), times=None)
    proxy.faults.append(weather)
    done: list[int] = []
    unknown: list[int] = []

    async def pick(entry: int) -> None:
        """Until it is acknowledged, or nobody knows."""
        while True:
            try:
                expected = None
                if guarded:
                    revision = (await store.get(VersionedTree, "a"))._rev
                    expected = lambda given: given == revision  # noqa: E731, B023
                await store.update(VersionedTree, "a", lambda tree: setattr(tree, "picked", entry), expected=expected)
            except OutcomeUnknown:
                unknown.append(entry)
                return
            except (CouchError, RevisionMismatch, RetriesExhausted):
                continue  # it was not written
            done.append(entry)
            return

    async def writer(place: int) -> None:
        for step in range(5):
            await pick(100 * place + step)

    await asyncio.gather(*(writer(place) for place in range(1, 7)))
    proxy.faults.clear()
    assert weather.hits > 30
    assert len(done) + len(unknown) == 30
    assert len(done) > len(unknown)
    assert await numbers(database) == list(range(1, len(await numbers(database)) + 1))
    held = [row.doc for row in (await database.all_docs(include_docs=True, startkey="tree:")).rows if row.doc]
    written = Counter(each["picked"] for each in held[1:])
    assert max(written.values()) == 1
    assert set(done) <= set(written) <= set(done) | set(unknown)
    assert [version_of(each).follows for each in held[1:]] == [each["_rev"] for each in held[:-1]]
    assert all(each["_rev"].startswith("1-") for each in held)
