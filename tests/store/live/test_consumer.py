"""Consumers on real databases: what is handled, by whom, and what becomes of what fails."""

from __future__ import annotations

import asyncio
import logging
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import pytest

from tests.faults import Fault, FaultProxy, answer_status, until
from tornado_couch import Consumer, Couch, Database, DocumentChange, Encrypted, Model, Retry, Store
from tornado_couch.errors import AlreadyExists, ConsumerHeld, KeySetError
from tornado_couch.security import KeyRing
from tornado_couch.store import Lease
from tornado_couch.store.consumers import FailedChange, Records, consumers_of
from tornado_couch.store.consumers.partition import partition_of

FAST: dict[str, Any] = {
    "lease_seconds": 1.0,
    "settle": 0.1,
    "retry": Retry(attempts=3, base=0.005, cap=0.01),
}

ROOT = Path(__file__).parents[3]


class Order(Model, type="order_v1.0", key="number", unique=True):
    number: str
    total: int = 0


class Contract(Model, type="contract_v1.0", key="number", history=True):
    number: str
    total: int = 0


@pytest.fixture
def store(database: Database, ring: KeyRing) -> Store:
    return Store(database, signer=ring)


class Handled:
    """A function that notes what it is called with, and fails where it is told to."""

    def __init__(self) -> None:
        self.changes: list[DocumentChange[Any]] = []
        self.failing: set[str] = set()

    async def __call__(self, change: DocumentChange[Any]) -> None:
        self.changes.append(change)
        if change.key in self.failing:
            raise ValueError(f"the total of {change.document.get('total')} is a secret")

    @property
    def keys(self) -> list[str]:
        return [each.key for each in self.changes]

    @property
    def sorted(self) -> list[str]:
        """The keys; the order of changes of different documents is CouchDB's own."""
        return sorted(self.keys)


@pytest.fixture
def handled() -> Handled:
    return Handled()


async def order(store: Store, *numbers: str, total: int = 0) -> None:
    for number in numbers:
        await store.create(Order(number=number, total=total))


async def make_anew(couch: Couch, name: str) -> None:
    """Delete a database and create it; CouchDB cannot do so within one second."""
    await couch.delete_database(name)
    await make(couch, name)


async def make(couch: Couch, name: str) -> None:
    """Create a database that was deleted just now."""

    async def is_created() -> bool:
        try:
            await couch.create_database(name)
        except AlreadyExists:
            return False
        return True

    await until(is_created)


async def once(store: Store, handle: Any, name: str = "invoices", model: Any = Order, **options: Any) -> None:
    """Handle what there is; where the machine is busy, a claim of the lease can come too late to count."""
    consumer = Consumer(name, model, handle, store=store, **{**FAST, **options})
    await until(consumer.once)


async def test_each_change_is_handled_from_the_first_one_on(store: Store, handled: Handled) -> None:
    """What was there before the consumer, what comes while it works, and deletions; the model is there to read."""
    await order(store, "a", total=5)
    async with Consumer("invoices", Order, handled, store=store, **FAST) as consumer:
        await until(lambda: handled.keys == ["a"])
        await order(store, "b")
        await until(lambda: handled.keys == ["a", "b"])
        await store.delete(Order, "a")
        await until(lambda: handled.keys == ["a", "b", "a"])
        assert consumer.stats.partitions == {0}
    first, _, last = handled.changes
    assert (first.kind, first.model and first.model.total, last.kind) == ("created", 5, "deleted")
    assert consumer.stats.handled == 3


class Stopped(BaseException):
    """What no `except Exception` catches."""


@pytest.mark.parametrize("error", [asyncio.CancelledError, Stopped])
async def test_a_function_that_is_cancelled_fails(
    store: Store, handled: Handled, error: type[BaseException]
) -> None:
    """A task of its own that was cancelled, or an error of an unusual kind, ends an attempt and not the consumer."""
    errors = [error]

    async def handle(change: DocumentChange[Any]) -> None:
        if errors:
            raise errors.pop()
        await handled(change)

    await order(store, "a", "b")
    async with Consumer("invoices", Order, handle, store=store, **FAST) as consumer:
        await until(lambda: handled.sorted == ["a", "b"])
        assert consumer.stats.failures == 1


async def test_what_is_set_aside_is_looked_at_once(
    store: Store, handled: Handled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are, they are not read again for each further change."""
    handled.failing = {f"bad {number}" for number in range(10)}
    await order(store, *handled.failing)
    read: list[str] = []
    get = Store.get

    async def noted(self: Store, cls: Any, key: Any, **options: Any) -> Any:
        if cls is FailedChange:
            read.append(key)
        return await get(self, cls, key, **options)

    monkeypatch.setattr(Store, "get", noted)
    async with Consumer("invoices", Order, handled, store=store, **FAST) as consumer:
        await until(lambda: consumer.stats.set_aside == 10)
        for number in range(5):
            await order(store, f"good {number}")
            await until(lambda key=f"good {number}": key in handled.keys)
    assert len(read) <= 20


async def test_a_replay_of_what_is_gone_settles_it(database: Database, handled: Handled) -> None:
    """Nothing is left to handle once another program has deleted each version."""
    store = Store(database)
    handled.failing = {"a"}
    await store.create(Contract(number="a"))
    await once(store, handled, model=Contract)
    records = Records(store, "invoices")
    (version,) = await records.failed()
    await store.database.delete(version, (await store.database.get(version))["_rev"])
    await records.replay([version])
    await once(store, handled, model=Contract)
    assert await records.failed() == []
    await store.close()


async def test_a_record_that_cannot_be_read_holds_up_nothing(store: Store, handled: Handled) -> None:
    """Another program may have written it; it is listed, and can be dropped."""
    planted = "tornado_couch_failed:invoices:order:x"
    await store.database.put({"_id": planted, "type": "tornado_couch_failed_v1.0", "name": 7})
    async with Consumer("invoices", Order, handled, store=store, **FAST) as consumer:
        await order(store, "a")
        await until(lambda: handled.keys == ["a"])
        await order(store, "b")
        await until(lambda: handled.keys == ["a", "b"])
        assert consumer.reasons() == []
    records = Records(store, "invoices")
    (failure,) = await records.failures()
    assert (failure.document_id, failure.error) == ("order:x", "unreadable")
    assert await records.drop([failure.document_id]) == 1
    assert await records.failed() == []


async def test_a_place_that_another_program_wrote_is_not_listed(store: Store) -> None:
    """A `_local` document that looks like one of a consumer may have anything in it."""
    await store.database.put({"_id": "_local/tornado_couch_consumer_other_0_of_1", "place": 5})
    assert await consumers_of(store.database) == []


async def test_it_goes_on_where_it_was(store: Store, handled: Handled) -> None:
    """Another process, or the same one started anew, repeats nothing after a clean end."""
    await order(store, "a", "b")
    await once(store, handled)
    await order(store, "c")
    await once(store, handled)
    await once(store, handled)
    assert handled.sorted == ["a", "b", "c"]


async def test_it_can_begin_with_what_comes(store: Store, handled: Handled) -> None:
    """With what is there already left out."""
    await order(store, "a")
    await once(store, handled, start="now")
    await order(store, "b")
    await once(store, handled, start="now")
    assert handled.keys == ["b"]


async def test_consumers_of_other_names_have_places_of_their_own(store: Store, handled: Handled) -> None:
    """Each of them is called with every change."""
    await order(store, "a")
    for name in ("invoices", "mails"):
        await once(store, handled, name)
    assert handled.keys == ["a", "a"]


async def test_with_history_each_version_is_a_change(store: Store, handled: Handled) -> None:
    """In the order of the versions."""
    await store.create(Contract(number="a", total=1))
    for total in (2, 3):

        def raise_to(contract: Contract, total: int = total) -> None:
            contract.total = total

        await store.update(Contract, "a", raise_to)
    await once(store, handled, "contracts", Contract, partitions=2)
    assert [each.model and each.model.total for each in handled.changes] == [1, 2, 3]
    assert handled.changes[0].kind == "created"


# ------------------------------------------------------------ failures


async def test_what_fails_is_tried_again_and_then_set_aside(
    store: Store, handled: Handled, caplog: pytest.LogCaptureFixture
) -> None:
    """The others go on. The log has the key and where it failed, once, and nothing of the contents."""
    handled.failing = {"bad"}
    await order(store, "a", "bad", "b", total=31415)
    with caplog.at_level(logging.WARNING, "tornado_couch.consumers"):
        await once(store, handled)
    assert handled.sorted == ["a", "b", "bad", "bad", "bad"]
    assert ["bad"] * 3 in [handled.keys[at : at + 3] for at in range(3)]
    (kept,) = await Records(store, "invoices").failures()
    assert (kept.key, kept.document_id, kept.attempts, kept.error) == ("bad", "order:bad", 3, "ValueError")
    assert caplog.text.count("Traceback") == 0
    assert caplog.text.count("in __call__") == 1
    assert "bad" in caplog.text
    assert "31415" not in caplog.text
    stored = await store.database.get("tornado_couch_failed:invoices:order:bad")
    assert "31415" not in str(stored)
    assert "tornado_couch_signature" in stored or any("sign" in name for name in stored)


async def test_what_fails_once_is_handled_in_the_end(store: Store, handled: Handled) -> None:
    """And nothing is set aside."""
    handled.failing = {"a"}

    async def handle(change: DocumentChange[Order]) -> None:
        try:
            await handled(change)
        finally:
            handled.failing.clear()

    await order(store, "a")
    await once(store, handle)
    assert handled.keys == ["a", "a"]
    assert await Records(store, "invoices").failed() == []


async def test_no_model_shows_what_was_set_aside(store: Store, handled: Handled) -> None:
    """Nor do the changes of the model."""
    handled.failing = {"a"}
    await order(store, "a")
    await once(store, handled)
    place = await store.live.beginning()
    assert {each.key for each in (await store.live.page(Order, place)).changes} == {"a"}
    calls = len(handled.changes)
    await once(store, handled)
    assert len(handled.changes) == calls


async def test_what_is_set_aside_is_replayed_on_demand(store: Store, handled: Handled) -> None:
    """As the document is by then, by the consumer that runs; it is gone from the list if it succeeds."""
    records = Records(store, "invoices")
    handled.failing = {"a"}
    await order(store, "a", "b")
    async with Consumer("invoices", Order, handled, store=store, **FAST):
        await until(records.failed)
        assert await records.replay(await records.failed()) == 1
        await until(lambda: handled.keys.count("a") == 6)

        async def counted() -> bool:
            return [each.attempts for each in await records.failures()] == [6]

        await until(counted)
        handled.failing.clear()
        await records.replay(["order:a"])

        async def is_gone() -> bool:
            return not await records.failed()

        await until(is_gone)
    assert handled.keys.count("a") == 7
    assert handled.keys.count("b") == 1


async def test_a_later_change_that_succeeds_settles_an_earlier_one(store: Store, handled: Handled) -> None:
    """Since the function has seen the last state of the document."""
    handled.failing = {"a"}
    await order(store, "a")
    await once(store, handled)
    handled.failing.clear()
    await store.delete(Order, "a")
    await once(store, handled)
    assert await Records(store, "invoices").failed() == []


async def test_what_is_set_aside_can_be_dropped(store: Store, handled: Handled) -> None:
    """It is not handled any more."""
    handled.failing = {"a"}
    await order(store, "a")
    await once(store, handled)
    records = Records(store, "invoices")
    assert await records.drop(["order:a", "order:b"]) == 1
    assert await records.failed() == []


async def test_a_bound_holds_the_consumer(store: Store, handled: Handled) -> None:
    """Where everything fails nothing is passed by: somebody has to decide, and then it goes on with the same change."""
    handled.failing = {"a", "b", "c"}
    await order(store, "a", "b", "c")
    consumer = Consumer("invoices", Order, handled, store=store, max_failed=2, **FAST)
    async with consumer:
        await until(consumer.reasons)
        assert "has set aside 2 changes" in consumer.reasons()[0]
        handled.failing.clear()
        records = Records(store, "invoices")
        await records.drop(await records.failed())
        await until(lambda: not consumer.reasons() and consumer.stats.partitions)
        await until(lambda: consumer.stats.handled == 1)
    assert len(set(handled.keys)) == 3


async def test_a_function_that_takes_too_long_has_failed(store: Store) -> None:
    """It is cancelled."""
    ended = []

    async def handle(_: DocumentChange[Order]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    await order(store, "a")
    await once(store, handle, timeout=0.02)
    (kept,) = await Records(store, "invoices").failures()
    assert (kept.error, len(ended)) == ("TimeoutError", 3)


# ------------------------------------------------------------ the place


async def test_a_database_made_anew_is_begun_anew(store: Store, couch: Couch, handled: Handled) -> None:
    """By the consumer that runs, from the first change on."""
    await order(store, "a")
    async with Consumer("invoices", Order, handled, store=store, start="now", **FAST):
        await until(Records(store, "invoices").beginning)
        await order(store, "b")
        await until(lambda: handled.keys == ["b"])
        await make_anew(couch, store.database.name)
        await order(store, "c")
        await until(lambda: handled.keys == ["b", "c"])


async def test_a_lost_place_can_hold_the_consumer(store: Store, couch: Couch, handled: Handled) -> None:
    """Until somebody says where it begins again."""
    async with Consumer("invoices", Order, handled, store=store, lost="hold", **FAST) as consumer:
        await order(store, "a")
        await until(lambda: handled.keys == ["a"])
        await make_anew(couch, store.database.name)
        await order(store, "b")
        await until(consumer.reasons)
        assert "has lost its place" in consumer.reasons()[0]
        assert handled.keys == ["a"]
        await Records(store, "invoices").begin("beginning", None)
        await until(lambda: handled.keys == ["a", "b"])


async def test_it_can_be_told_to_begin_again(store: Store, handled: Handled) -> None:
    """While it runs; no place that was on the way to the database undoes it."""
    await order(store, "a")
    records = Records(store, "invoices")
    async with Consumer("invoices", Order, handled, store=store, **FAST):
        await until(lambda: handled.keys == ["a"])
        await until(lambda: records.reached(0, 1))
        await records.begin("beginning", None)
        await order(store, "b")
        await until(lambda: handled.keys.count("a") == 2 and "b" in handled.keys)


async def test_another_number_of_partitions_is_refused(store: Store, handled: Handled) -> None:
    """Their places would not say what was handled; it says what to do, and nothing is handled meanwhile."""
    await order(store, "a")
    await once(store, handled, partitions=2)
    await order(store, "b")
    with pytest.raises(ConsumerHeld, match=r"partitions=2, and not 3.*consumers reset"):
        await once(store, handled, partitions=3)
    assert handled.keys == ["a"]
    await Records(store, "invoices").begin("beginning", None)
    await once(store, handled, partitions=3)
    assert sorted(handled.keys) == ["a", "a", "b"]


async def test_it_survives_outages(store: Store, server_url: str, handled: Handled) -> None:
    """Wherever they strike; each change is handled all the same."""
    async with FaultProxy(server_url) as proxy, Couch(proxy.url) as couch:
        plain = Store(store.database)
        async with Consumer("invoices", Order, handled, store=Store(couch[store.database.name]), **FAST):
            for path in ("_changes", "_bulk_get", "_all_docs", "_local"):
                proxy.faults[:] = [Fault(answer_status(503), path=path, times=2)]
                await order(plain, path)
                await until(lambda path=path: path in handled.keys)


# ------------------------------------------------------------ processes


async def test_of_two_one_works_and_the_other_takes_over(store: Store, handled: Handled) -> None:
    """At once when the first one is stopped, from where that was."""
    first, second = (Consumer("invoices", Order, handled, store=store, **FAST) for _ in range(2))
    async with second, first:
        await until(lambda: first.stats.partitions or second.stats.partitions)
        leader, other = (first, second) if first.stats.partitions else (second, first)
        for number in "abc":
            await order(store, number)
            await until(lambda number=number: number in handled.keys)
        assert other.stats.handled == 0
        await leader.stop()
        await order(store, "d")
        await until(lambda: "d" in handled.keys)
    assert handled.keys == ["a", "b", "c", "d"]


async def test_a_slow_function_keeps_the_lease(store: Store) -> None:
    """It is renewed while the function works, however long that takes."""
    begun, done = asyncio.Event(), asyncio.Event()

    async def handle(_: DocumentChange[Order]) -> None:
        begun.set()
        await done.wait()

    await order(store, "a")
    async with Consumer("invoices", Order, handle, store=store, **FAST) as consumer:
        await begun.wait()
        other = Lease(store.database, "consumer_invoices_0_of_1", seconds=1.0, settle=0.1)
        renewals = set()

        async def is_renewed() -> bool:
            found = await store.database.get("_local/tornado_couch_lease_consumer_invoices_0_of_1")
            renewals.add(found["renewal"])
            return len(renewals) > 5

        async def ask() -> bool:
            assert not await other.is_free()
            return await is_renewed()

        await until(ask)
        assert consumer.stats.partitions == {0}
        done.set()
        await until(lambda: consumer.stats.handled == 1)


async def test_who_loses_the_lease_stops(store: Store) -> None:
    """The function is cancelled, and the place stays where it was."""
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def handle(_: DocumentChange[Order]) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    await order(store, "a")
    consumer = Consumer("invoices", Order, handle, store=store, **FAST)
    async with consumer:
        await begun.wait()
        lease = "_local/tornado_couch_lease_consumer_invoices_0_of_1"
        await store.database.put({"_id": lease, "owner": "another", "seconds": 3600, "renewal": "x"})
        await asyncio.wait_for(cancelled.wait(), 20)
        await until(lambda: not consumer.stats.partitions)
        assert await Records(store, "invoices").reached(0, 1) is None


async def test_it_stops_cleanly(store: Store, handled: Handled) -> None:
    """The change in hand is finished, and its place is kept; the lease is free, and no task is left."""
    before, begun = asyncio.all_tasks(), asyncio.Event()

    async def handle(change: DocumentChange[Order]) -> None:
        begun.set()
        await asyncio.sleep(0.05)
        await handled(change)

    await order(store, "a", "b", "c")
    consumer = Consumer("invoices", Order, handle, store=store, **FAST)
    consumer.start()
    with pytest.raises(RuntimeError, match="already running"):
        consumer.start()
    await begun.wait()
    await consumer.stop()
    await consumer.stop()
    assert len(handled.keys) == 1
    lease = await store.database.get("_local/tornado_couch_lease_consumer_invoices_0_of_1")
    assert lease["owner"] is None
    await store.close()
    assert asyncio.all_tasks() == before
    await once(store, handled)
    assert handled.sorted == ["a", "b", "c"]


async def test_a_stop_cancels_what_takes_too_long(store: Store) -> None:
    """The change is handled again by whoever goes on, and not the ones before it."""
    hanging, handled, rest = asyncio.Event(), Handled(), Handled()

    async def handle(change: DocumentChange[Order]) -> None:
        if handled.changes:
            hanging.set()
            await asyncio.Event().wait()
        await handled(change)

    await order(store, "a", "b")
    async with Consumer("invoices", Order, handle, store=store, stop_seconds=0.05, **FAST):
        await hanging.wait()
    await once(store, rest)
    assert sorted([*handled.keys, *rest.keys]) == ["a", "b"]


WORKER = """
import asyncio, os, sys
from tests.store.live.test_consumer import FAST, Order
from tornado_couch import Consumer, Couch, Store

async def main(url, name, partitions, path):
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    async def handle(change):
        os.write(file, f"{os.getpid()} {change.key} {change.model.total}\\n".encode())
        await asyncio.sleep(0.002)

    async with Couch(url) as couch:
        options = {**FAST, "page_size": 10, "partitions": int(partitions)}
        async with Consumer("invoices", Order, handle, store=Store(couch[name]), **options):
            await asyncio.sleep(3600)

asyncio.run(main(*sys.argv[1:]))
"""


@contextmanager
def worker(server_url: str, name: str, path: Path, partitions: int = 1) -> Iterator[subprocess.Popen[bytes]]:
    """A process that consumes, and writes what it handles into a file."""
    command = [sys.executable, "-c", WORKER, server_url, name, str(partitions), str(path)]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def lines(path: Path) -> list[tuple[int, str, int]]:
    """What the workers have handled so far: process, key and total."""
    text = path.read_text() if path.exists() else ""
    return [(int(pid), key, int(total)) for pid, key, total in map(str.split, text.splitlines())]


async def test_killed_processes_lose_nothing_and_repeat_a_page(
    database: Database, server_url: str, tmp_path: Path
) -> None:
    """Processes are killed while they work; others take over, and each repeats no more than a page of changes."""
    store, path, kills = Store(database), tmp_path / "handled", 2
    numbers = [f"{number:03}" for number in range(100)]
    await store.create_many(Order, [Order(number=each) for each in numbers])
    for kill in range(kills + 1):
        with worker(server_url, database.name, path) as process:
            goal = (kill + 1) * 25 if kill < kills else None
            await until(lambda goal=goal: len({key for _, key, _ in lines(path)}) >= (goal or 100), 40)
            process.send_signal(signal.SIGKILL)
    counts = Counter(key for _, key, _ in lines(path))
    assert sorted(counts) == numbers
    assert sum(counts.values()) <= 100 + kills * 10


async def test_partitions_are_shared_and_keep_each_key_in_order(
    database: Database, server_url: str, tmp_path: Path
) -> None:
    """Two processes each have their share, also the one that came later; a key's changes come in order, from one."""
    store, path = Store(database), tmp_path / "handled"
    keys = [f"k{number}" for number in range(12)]
    await store.create_many(Order, [Order(number=each) for each in keys])

    def one_more(model: Order) -> None:
        model.total += 1

    async def shared() -> bool:
        for each in keys:
            await store.update(Order, each, one_more)
        return len({pid for pid, _, _ in lines(path)[-12:]}) == 2

    with worker(server_url, database.name, path, 4):
        await until(lambda: len(lines(path)) >= 12)
        with worker(server_url, database.name, path, 4):
            await until(shared, 60)
            last = {each.number: each.total for each in [await store.get(Order, key) for key in keys]}
            await until(lambda: set(last.items()) <= {(key, total) for _, key, total in lines(path)})
    for each in keys:
        totals = [total for _, key, total in lines(path) if key == each]
        assert totals == sorted(totals)


@pytest.mark.parametrize(("text", "number"), [("order:1", 1), ("order:2", 3), ("ü", 2)])
def test_a_key_has_the_same_partition_everywhere(text: str, number: int) -> None:
    """It depends on no process and on no version of Python."""
    assert partition_of(text, 7) == number


# ------------------------------------------------------------ operating


async def test_it_says_how_far_it_is_behind(store: Store) -> None:
    """The lag grows while a function works, beyond a limit it is a reason not to be ready, and then it is 0 again."""
    begun, done = asyncio.Event(), asyncio.Event()

    async def handle(_: DocumentChange[Order]) -> None:
        begun.set()
        await done.wait()

    await order(store, "a")
    async with Consumer("invoices", Order, handle, store=store, max_lag=0.05, **FAST) as consumer:
        await begun.wait()
        await until(consumer.reasons)
        assert consumer.reasons() == ["the consumer invoices is more than 0.05 seconds behind"]
        assert consumer.lag > 0.05
        done.set()
        await until(lambda: consumer.lag == 0)
        assert consumer.reasons() == []


async def test_what_consumers_keep_is_listed(store: Store, handled: Handled) -> None:
    """By name and partition."""
    await order(store, "a")
    await once(store, handled, partitions=2)
    found = await consumers_of(store.database)
    assert [(each["name"], each["partition"], each["partitions"]) for each in found] == [
        ("invoices", 0, 2),
        ("invoices", 1, 2),
    ]


@pytest.mark.parametrize(
    "options", [{"partitions": 0}, {"lost": "ignore"}, {"name": "In voices"}, {"name": "a_b"}], ids=repr
)
def test_what_a_consumer_cannot_be_is_refused(database: Database, options: dict[str, Any], handled: Handled) -> None:
    """When it is made, and not when it runs."""
    with pytest.raises(ValueError, match=r"consumer|lost"):
        Consumer(**{"name": "invoices", "model": Order, "handle": handled, "store": Store(database), **options})


def test_a_model_without_its_keys_is_refused(database: Database, handled: Handled) -> None:
    """Rather than at its first change."""

    class Secret(Model, type="secret_v1.0"):
        email: Annotated[str, Encrypted()]

    with pytest.raises(KeySetError):
        Consumer("secrets", Secret, handled, store=Store(database))

