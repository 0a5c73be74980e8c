"""A model of a cluster: what is acknowledged is in the winning revision, once, whatever comes when to which copy."""

from __future__ import annotations

import asyncio
import random
from base64 import urlsafe_b64encode
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.copies import Cluster, Node
from tornado_couch import Merge, Model, OutcomeUnknown, RetriesExhausted, Retry, Store
from tornado_couch.errors import CouchError
from tornado_couch.store.writing import tokens

WRITERS, CHANGES = 4, 2
BASE = 16  # each change adds one at a place of its own, so that it is seen how often it was done


class Tally(Model, type="tally_v1.0", key="name", unique=True):
    name: str
    total: Annotated[int, Merge.sum_of_changes] = 0


class Run:
    """Writers of one document, on three copies.

    Attributes:
        acknowledged: the changes of which the store said that they were made.
        found: how often each change was in the winning revision before what was left was merged.
        open: those that were killed, or of which it did not know.
    """

    def __init__(self, seed: int, *, trouble: bool) -> None:
        self.chance = random.Random(seed)
        tokens.secrets = SimpleNamespace(token_urlsafe=self._token)  # type: ignore[attr-defined]
        self.cluster = Cluster(self.chance, trouble=trouble)
        self.acknowledged: list[int] = []
        self.found: list[int] = []
        self.open: set[int] = set()

    def _token(self, length: int) -> str:
        return urlsafe_b64encode(self.chance.randbytes(length)).decode()

    def store(self) -> Store:
        """A store in a process of its own."""
        retry = Retry(attempts=400, patience=1e9)
        return Store(Node(self.cluster), retry=retry, sleep=self.cluster.step, grouping=False)  # type: ignore[arg-type]

    async def write(self, writer: int) -> None:
        """Make changes, each once."""
        store = self.store()
        for number in range(writer * CHANGES, (writer + 1) * CHANGES):
            await self.change(store, number)

    async def change(self, store: Store, number: int) -> None:
        """Make one change, again as long as it certainly was not made."""
        while True:
            self.open.add(number)
            try:
                await store.update(Tally, "a", lambda tally: setattr(tally, "total", tally.total + BASE**number))
            except OutcomeUnknown:
                return
            except (CouchError, RetriesExhausted):
                self.open.discard(number)
                await self.cluster.step()
                continue
            self.open.discard(number)
            self.acknowledged.append(number)
            return

    async def reconcile(self) -> None:
        """Merge what is in conflict, again and again."""
        store = self.store()
        while True:
            for _ in range(20):
                await self.cluster.step()
            try:
                await store.reconciliation.reconcile(Tally, "tally:a")
            except (CouchError, RetriesExhausted):
                continue

    async def all(self, *, killed: bool, reconciler: bool) -> list[str]:
        """Let all of them write, and the copies come to agree; the live leaves then, before what is left is merged."""
        first = asyncio.create_task(self.store().create(Tally(name="a")))
        await self.cluster.run([first], [])
        tasks = [asyncio.create_task(self.write(each)) for each in range(WRITERS)]
        doomed = tasks[: self.chance.randrange(WRITERS)] if killed else []
        beside = [asyncio.create_task(self.reconcile())] if reconciler else []
        await self.cluster.run(tasks, doomed)
        for task in beside:
            task.cancel()
        await asyncio.gather(*tasks, *beside, return_exceptions=True)
        await self.cluster.quiet()
        left = self.cluster.copies[0].live()
        self.found = self.times(left[0]) if left else []
        merging = asyncio.create_task(self.store().reconciliation.reconcile(Tally, "tally:a"))
        self.cluster.trouble = False
        await self.cluster.run([merging], [])
        assert merging.result().problems == [], merging.result().problems
        await self.cluster.quiet()
        return left

    def times(self, winner: str) -> list[int]:
        """How often each change is in a revision."""
        total = self.cluster.copies[0].bodies[winner]["total"]
        return [total // BASE**number % BASE for number in range(WRITERS * CHANGES)]


def judge(run: Run) -> None:
    """Each acknowledged change is there once, and no other one but those of which nobody knew."""
    (winner,) = run.cluster.copies[0].live()
    for number, times in enumerate(run.times(winner)):
        if number in run.acknowledged:
            assert times == 1, f"change {number} was acknowledged and is there {times} times"
        else:
            assert times <= (number in run.open), f"change {number} was not made and is there {times} times"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Merge without threads, which would come in at any time, and give the module of tokens its chance back."""

    async def at_once(function: Any, *arguments: Any) -> Any:
        return function(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", at_once)
    monkeypatch.setattr(tokens, "secrets", tokens.secrets)


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("reconciler", [False, True])
@pytest.mark.parametrize("trouble", [False, True])
@pytest.mark.usefixtures("here")
def test_what_is_acknowledged_is_there_once(trouble: bool, reconciler: bool, killed: bool) -> None:
    """Copies answer in any order, late, or not at all; writers are killed anywhere, a reconciler works beside them."""

    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(seed=st.integers(0, 2**32))
    def law(seed: int) -> None:
        run = Run(seed, trouble=trouble)
        left = asyncio.run(run.all(killed=killed, reconciler=reconciler))
        judge(run)
        if not (trouble or killed or reconciler):
            assert len(left) == 1, "the writers left branches for a reconciler"
            assert run.found == [1] * WRITERS * CHANGES, "an acknowledged change was not in the winning revision"

    law()
