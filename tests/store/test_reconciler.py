"""The lease, and the reconciler that works while it has it, on real databases."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest

from tests.clocks import Clock
from tests.faults import Fault, FaultProxy, answer_status, until
from tornado_couch import Couch, Database, Encrypted, Merge, Model, Reconciler, Retry, Store, install
from tornado_couch.errors import KeySetError, Unavailable
from tornado_couch.store import Lease

FAST: dict[str, Any] = {
    "interval": 0.02,
    "lease_seconds": 1.0,
    "settle": 0.1,
    "retry": Retry(base=0.01, cap=0.05),
}


class StockedItem(Model, type="item_v1.0", key="name", unique=True):
    name: str
    stock: Annotated[int, Merge.sum_of_changes] = 0
    verdict: Annotated[str | None, Merge.manual] = None


@pytest.fixture
async def store(database: Database) -> Store:
    await install(database.server, database.name, [StockedItem])  # type: ignore[arg-type]
    return Store(database)


async def conflict(store: Store, name: str, first: dict[str, Any] | None = None, **members: Any) -> None:
    """A document with two leaves."""
    await store.create(StockedItem(name=name, **(first or {})))
    leaf = {"_id": f"item:{name}", "_rev": "1-" + "f" * 32, "type": "item_v1.0", "name": name, "stock": 5, **members}
    assert not await store.database.bulk_docs([leaf], new_edits=False)


async def count(store: Store) -> int:
    """How many documents are in conflict."""
    rows = (await store.database.view("conflicts", "conflicts")).rows
    return rows[0].value if rows else 0


def settled(store: Store) -> Any:
    async def ask() -> bool:
        return await count(store) == 0

    return ask


# ------------------------------------------------------------ the lease


def lease(database: Database, **options: Any) -> Lease:
    return Lease(database, "test", **{"seconds": 1.0, "settle": 0.1, **options})


class WaitingClock(Clock):
    """A clock that goes when somebody waits."""

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


async def test_one_of_many_gets_the_lease(database: Database) -> None:
    """All asking at once, again and again: never two, and in the end one."""
    leases = [lease(database, owner=str(number)) for number in range(5)]
    holders: list[int] = []

    async def strive() -> bool:
        got = await asyncio.gather(*(each.acquire() for each in leases))
        holders.append(sum(each is not None for each in got))
        return holders[-1] > 0

    await until(strive)
    assert max(holders) == 1
    assert sum(each.held for each in leases) == 1


async def test_a_lease_that_is_renewed_is_never_taken(database: Database) -> None:
    """However often another one asks; what it would go on from is what was left last."""
    clock = WaitingClock()
    first, second = (lease(database, clock=clock, sleep=clock.sleep, seconds=30, settle=2) for _ in range(2))
    assert await first.acquire() == {}
    for round_ in range(5):
        clock.now += 20
        assert await first.renew({"since": round_})
        assert await second.acquire() is None
    await first.release({"since": "last"})
    assert not first.held
    assert await second.acquire() == {"since": "last"}


async def test_a_lease_runs_out_for_who_saw_it_unchanged_for_so_long(database: Database) -> None:
    """By the observer's own clock, whatever the holder's says; the holder then knows, too."""
    own, other = WaitingClock(), WaitingClock()
    own.now = 1_000_000.0
    first = lease(database, clock=own, sleep=own.sleep, seconds=30, settle=2)
    second = lease(database, clock=other, sleep=other.sleep, seconds=30, settle=2)
    assert await first.acquire() is not None
    assert await first.renew({"since": 7})
    assert await second.acquire() is None
    other.now += 29
    assert await second.acquire() is None
    other.now += 1
    assert await second.acquire() == {"since": 7}
    assert not await first.renew({"since": 8})
    assert not first.held
    await first.release({"since": 8})
    assert await second.renew({})


async def test_the_holder_trusts_its_lease_for_less_than_it_lasts(database: Database) -> None:
    """So it has stopped before another one begins."""
    clock = WaitingClock()
    first = lease(database, clock=clock, sleep=clock.sleep, seconds=30, settle=2)
    assert await first.acquire() is not None
    assert first.held
    clock.now += 28
    assert not first.held
    assert not await first.renew({})


async def test_a_claim_that_took_too_long_does_not_count(database: Database) -> None:
    """Others may have looked before it was written, and wait no longer for it."""
    clock = WaitingClock()
    put = database.put

    class Slow(Database):
        async def put(self, document: Any) -> Any:
            clock.now += 1.5
            return await put(document)

    slow = Slow(database.server, database._exchange, database.name)
    assert await lease(slow, clock=clock, sleep=clock.sleep, seconds=30, settle=2).acquire() is None


def test_a_lease_must_last_longer_than_it_takes_to_settle() -> None:
    """Or nobody could ever renew it."""
    with pytest.raises(ValueError, match="four times"):
        Lease(None, "x", seconds=2, settle=1)  # type: ignore[arg-type]


# ------------------------------------------------------------ the reconciler


async def test_what_is_and_what_comes_into_conflict_is_merged(store: Store) -> None:
    """What was before it began is in the view, what comes in the changes feed."""
    await conflict(store, "before")
    async with Reconciler(store, [StockedItem], **FAST) as reconciler:
        await until(settled(store))
        for name in ("a", "b"):
            await conflict(store, name)
        await until(lambda: reconciler.stats.merged >= 3)
        await until(settled(store))
        assert (await store.get(StockedItem, "a")).stock == 5
        assert reconciler.stats.deleted == 3
    assert not reconciler.stats.leading


async def test_what_rules_leave_in_conflict_is_told_and_left(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Why, by id; in the log by type and property only. It is forgotten when somebody has decided."""
    await conflict(store, "a", {"verdict": "secret"}, verdict="bad")
    with caplog.at_level(logging.WARNING, "tornado_couch.store"):
        async with Reconciler(store, [StockedItem], **FAST) as reconciler:
            await until(lambda: reconciler.stats.kept)
            assert [each["pointer"] for each in reconciler.stats.kept["item:a"]] == ["/verdict"]
            found = await store.reconciliation.read("item:a")
            await store.reconciliation.delete(found, found.revisions[0])
            await until(lambda: not reconciler.stats.kept)
    assert "/verdict" in caplog.text
    assert "item:a" not in caplog.text
    assert "secret" not in caplog.text


async def test_other_documents_are_passed_by(store: Store) -> None:
    """Of models that it was not given, or of no type at all; design documents, too."""
    for name in ("foreign", "_design/foreign"):
        await store.database.put({"_id": name})
        await store.database.bulk_docs([{"_id": name, "_rev": "1-" + "f" * 32}], new_edits=False)
    async with Reconciler(store, [StockedItem], **FAST) as reconciler:
        await conflict(store, "a")
        await until(lambda: reconciler.stats.merged)
    assert len((await store.reconciliation.read("foreign")).revisions) == 2


async def test_of_two_one_works_and_the_other_takes_over(store: Store) -> None:
    """At once when the first one is stopped, from where that was."""
    # The lease is given back, so that nobody waits for its end; a busy machine may delay its renewal.
    first, second = (Reconciler(store, [StockedItem], **{**FAST, "lease_seconds": 60.0}) for _ in range(2))
    async with second, first:
        await until(lambda: first.stats.leading or second.stats.leading)
        leader, other = (first, second) if first.stats.leading else (second, first)
        for name in "abc":
            await conflict(store, name)
            await until(settled(store))
            assert not (first.stats.leading and second.stats.leading)
        assert other.stats.merged == 0
        await leader.stop()
        await until(lambda: other.stats.leading)
        assert other.stats.since is not None
        await conflict(store, "d")
        await until(settled(store))
        assert (leader.stats.merged, other.stats.merged) == (3, 1)


HOLDER = """
import asyncio, sys
from tornado_couch import Couch, Reconciler, Store

async def main():
    async with Couch(sys.argv[1]) as couch:
        async with Reconciler(Store(couch[sys.argv[2]]), [], interval=0.02, lease_seconds=3, settle=0.1) as found:
            while not found.stats.leading:
                await asyncio.sleep(0.01)
            print("leading", flush=True)
            await asyncio.sleep(60)

asyncio.run(main())
"""


@contextlib.contextmanager
def holder(server_url: str, name: str) -> Iterator[subprocess.Popen[str]]:
    """A process whose reconciler holds the lease."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, server_url, name], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


async def test_another_one_takes_over_from_a_killed_process(store: Store, server_url: str) -> None:
    """Once the lease has run out, and not before."""
    with holder(server_url, store.database.name) as process:
        assert process.stdout is not None
        assert await asyncio.to_thread(process.stdout.readline) == "leading\n"
        async with Reconciler(store, [StockedItem], **FAST) as reconciler:
            await conflict(store, "a")
            renewals = set()

            async def is_renewed() -> bool:
                renewals.add((await store.database.get("_local/tornado_couch_lease_reconciler"))["renewal"])
                return len(renewals) > 3

            await until(is_renewed)
            assert not reconciler.stats.leading
            process.send_signal(signal.SIGKILL)
            await until(lambda: reconciler.stats.leading)
            await until(settled(store))


@pytest.fixture
async def proxied(store: Store, server_url: str) -> AsyncIterator[tuple[Store, FaultProxy]]:
    """A store that reaches its database by way of a proxy."""
    async with FaultProxy(server_url) as proxy, Couch(proxy.url) as couch:
        yield Store(couch[store.database.name]), proxy


async def test_it_survives_outages(store: Store, proxied: tuple[Store, FaultProxy]) -> None:
    """Wherever they strike; and goes on where it was."""
    through, proxy = proxied
    async with Reconciler(through, [StockedItem], **FAST) as reconciler:
        for path, times in (("_changes", 3), ("_bulk_get", 2), ("_bulk_docs", 2), ("_local", 4)):
            proxy.faults[:] = [Fault(answer_status(503), path=path, times=times)]
            await conflict(store, path)
            await until(settled(store))
        assert reconciler.stats.outages > 0
        assert (await store.get(StockedItem, "_changes")).stock == 5


async def test_without_the_view_the_changes_feed_has_everything(database: Database) -> None:
    """Where the service does not install."""
    store = Store(database)
    await conflict(store, "a")
    async with Reconciler(store, [StockedItem], **FAST):

        async def is_merged() -> bool:
            return len((await store.reconciliation.read("item:a")).revisions) == 1

        await until(is_merged)


async def test_what_a_read_notices_is_looked_at_soon(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although the next look at the changes feed is long away; a store can tell it."""
    reconciler = Reconciler(store, [StockedItem], **{**FAST, "interval": 60.0, "lease_seconds": 4.0})
    watched = Store(store.database, on_conflict=reconciler.notice)
    async with reconciler:
        await until(lambda: reconciler.stats.since is not None)
        await conflict(store, "a")
        await until(_noticing(watched, reconciler))
    assert (await watched.get(StockedItem, "a")).stock == 5


async def test_it_ends_in_the_very_moment_in_which_it_is_woken(store: Store) -> None:
    """A notice and the end at once: being woken does not swallow the cancellation, which would be for good."""
    reconciler = Reconciler(store, [StockedItem], **{**FAST, "interval": 60.0, "lease_seconds": 4.0})
    reconciler.start()
    await until(lambda: reconciler.lease.held and reconciler.stats.since is not None)
    for _ in range(20):  # until its work has come to the pause
        await asyncio.sleep(0.01)
    reconciler.notice("a")
    await asyncio.wait_for(reconciler.stop(), 10)
    assert not reconciler.stats.leading


def _noticing(store: Store, reconciler: Reconciler) -> Any:
    async def read() -> bool:
        await store.get(StockedItem, "a")
        return reconciler.stats.merged == 1

    return read


async def test_a_document_that_cannot_be_dealt_with_is_tried_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is counted, and holds up no other one."""
    reconcile, struck = store.reconciliation.reconcile, []

    async def fail_once(cls: Any, document_id: str) -> Any:
        if document_id == "item:a" and not struck:
            struck.append(document_id)
            raise KeySetError("there is no key")
        return await reconcile(cls, document_id)

    monkeypatch.setattr(store.reconciliation, "reconcile", fail_once)
    async with Reconciler(store, [StockedItem], **FAST) as reconciler:
        await conflict(store, "a")
        await conflict(store, "b")
        await until(settled(store))
    assert reconciler.stats.failed == 1


async def test_a_place_in_the_feed_that_is_gone_means_the_beginning(store: Store) -> None:
    """As after the database was made anew."""
    await store.database.put({"_id": "_local/tornado_couch_lease_reconciler", "owner": None, "since": "nonsense"})
    async with Reconciler(store, [StockedItem], **FAST) as reconciler:
        await until(lambda: reconciler.stats.leading)
        await conflict(store, "a")
        await until(settled(store))


async def test_stopping_leaves_nothing_behind(store: Store) -> None:
    """No task, and a free lease; it can be stopped twice, and started again."""
    before = asyncio.all_tasks()
    reconciler = Reconciler(store, [StockedItem], **FAST)
    await reconciler.stop()
    for _ in range(2):
        reconciler.start()
        with pytest.raises(RuntimeError):
            reconciler.start()
        await until(lambda: reconciler.stats.leading)
        await reconciler.stop()
        assert asyncio.all_tasks() == before
        assert (await store.database.get("_local/tornado_couch_lease_reconciler"))["owner"] is None


async def test_a_model_without_its_keys_is_refused_at_once(database: Database) -> None:
    """Rather than at its first conflict."""

    class Secret(Model, type="secret_v1.0"):
        email: Annotated[str, Encrypted()]

    with pytest.raises(KeySetError):
        Reconciler(Store(database), [Secret])


async def test_an_outage_at_the_end_holds_up_nobody(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the lease cannot be released, stopping succeeds all the same; the lease then expires by itself."""
    failed: list[Any] = []
    async with Reconciler(store, [StockedItem], **FAST) as reconciler:
        await until(lambda: reconciler.stats.leading)

        async def fail(state: Any) -> None:
            failed.append(state)
            raise Unavailable("down")

        monkeypatch.setattr(reconciler.lease, "release", fail)
    assert len(failed) == 1
    assert (await store.database.get("_local/tornado_couch_lease_reconciler"))["owner"] is not None
