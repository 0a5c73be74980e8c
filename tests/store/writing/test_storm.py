"""Many writers of shared documents, through a proxy that spoils one exchange in ten."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import Field

from tests.faults import (
    Call,
    Fault,
    FaultProxy,
    Forward,
    answer_status,
    delay,
    deliver_late,
    lose_answer,
    lose_request,
    never_answer,
    repeat_answer,
    repeat_request,
    truncate_answer,
    until,
)
from tornado_couch import Couch, Database, DocumentExists, Model, RetriesExhausted, Retry, Store, Timeout, install
from tornado_couch.errors import CouchError, OutcomeUnknown
from tornado_couch.store import Update

WRITERS, ENTRIES, LEDGERS, AT_ONCE = 16, 150, 32, 5
SILENCE = 5.0  # seconds that the clients bear; on a busy machine an answer alone can take one

QUICK = [
    lose_request,
    lose_answer,
    truncate_answer,
    repeat_request,
    repeat_answer(),
    deliver_late(0.02),
    answer_status(500),
]
SLOW = [never_answer, delay(1.2 * SILENCE), deliver_late(SILENCE)]  # each costs a client its patience, so they are few


class Ledger(Model, type="ledger_v1.0", key="name", unique=True):
    name: str
    entries: list[str] = Field(default_factory=list)


class Weather(Fault):
    """Strikes one exchange in ten, by chance; few of them with what takes long."""

    def __init__(self, seed: int) -> None:
        super().__init__(self._strike, times=None)
        self._random = random.Random(seed)

    def strikes(self, request: Any) -> bool:
        return "_uuids" not in request.target and self._random.randrange(10) == 0

    async def _strike(self, call: Call, forward: Forward) -> None:
        effects = SLOW if self._random.randrange(40) == 0 else QUICK
        await self._random.choice(effects)(call, forward)


def entry(text: str) -> Any:
    """A change that is wrong when it is done twice, and seen when it is not done."""
    return lambda ledger: ledger.entries.append(text)


class Writer:
    """Adds entries until each is acknowledged.

    Attributes:
        acknowledged: those that were.
        unknown: those of which the store could not find out; it may not do them again.
        created: the ledgers that it created.
    """

    def __init__(self, number: int, store: Store) -> None:
        self.acknowledged: list[str] = []
        self.unknown: list[str] = []
        self.created: list[str] = []
        self._number = number
        self._store = store
        self._random = random.Random(number)

    async def run(self) -> None:
        for name in self._random.sample(range(LEDGERS), LEDGERS):
            await self._create(f"l{name}")
        texts = [f"{self._number}-{n}" for n in range(ENTRIES)]
        while texts:
            # By turns one entry alone and some together, each in another ledger.
            some, texts = (texts[:1], texts[1:]) if len(texts) % 3 else (texts[:AT_ONCE], texts[AT_ONCE:])
            while some:
                some = await self._add(some)

    async def _create(self, name: str) -> None:
        try:
            await self._store.create(Ledger(name=name))
            self.created.append(name)
        except DocumentExists:
            pass
        except OutcomeUnknown:
            raise
        except CouchError:
            await self._create(name)

    async def _add(self, texts: Sequence[str]) -> list[str]:
        """Add entries; those that were not."""
        names = self._random.sample(range(LEDGERS), len(texts))
        changes = [Update(f"l{name}", entry(text)) for name, text in zip(names, texts, strict=True)]
        outcomes: Sequence[Any]
        try:
            if len(changes) == 1:
                outcomes = [await self._store.update(Ledger, changes[0].key, changes[0].change)]
            else:
                outcomes = await self._store.write_many(Ledger, changes)
        except (CouchError, RetriesExhausted) as error:
            outcomes = [error] * len(texts)
        left = []
        for text, outcome in zip(texts, outcomes, strict=True):
            if isinstance(outcome, OutcomeUnknown):
                self.unknown.append(text)
            elif isinstance(outcome, Exception):
                assert isinstance(outcome, CouchError | RetriesExhausted), outcome
                left.append(text)
            else:
                self.acknowledged.append(text)
        return left


@pytest.fixture
async def proxy(proxy: FaultProxy) -> FaultProxy:
    """A proxy that spoils one exchange in ten."""
    proxy.faults.append(Weather(seed=5))
    return proxy


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_sixteen_writers_lose_and_double_nothing_though_answers_are_lost(
    proxy: FaultProxy, couch: Couch, database: Database
) -> None:
    """All 2,400 acknowledged entries are there, none twice, and none that was not acknowledged.

    Dropped requests and answers, late ones, doubled ones, cut ones, and failures; writers of two processes, with
    groups and without; entry by entry and many at once. A key that all of them create is created once.
    """
    await install(couch, database.name, [Ledger])
    retry = Retry(attempts=200, base=0.002, cap=0.1, patience=120)
    limits = Timeout(read=SILENCE)
    async with Couch(proxy.url, timeout=limits) as one, Couch(proxy.url, timeout=limits) as two:
        stores = [Store(one[database.name], retry=retry), Store(two[database.name], retry=retry, grouping=False)]
        writers = [Writer(number, stores[number % 4 == 3]) for number in range(WRITERS)]
        await asyncio.gather(*(writer.run() for writer in writers))
        await until(lambda: not proxy.busy)
    plain = Store(database)
    ledgers = [await plain.get(Ledger, f"l{name}") for name in range(LEDGERS)]
    there = Counter(text for ledger in ledgers for text in ledger.entries)
    acknowledged = [text for writer in writers for text in writer.acknowledged]
    assert [text for writer in writers for text in writer.unknown] == []
    assert len(acknowledged) == len(set(acknowledged)) == WRITERS * ENTRIES
    assert there == Counter(acknowledged)
    assert sorted(name for writer in writers for name in writer.created) == sorted(f"l{n}" for n in range(LEDGERS))
    leaves = await database.bulk_get([ledger._id or "" for ledger in ledgers])
    assert {len(each) for each in leaves} == {1}
