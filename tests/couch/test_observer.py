"""What the layers report to an observer, and that it costs nothing and breaks nothing."""

from __future__ import annotations

import asyncio
import logging
from typing import Annotated, Any

import pytest

from tests.faults import (
    Fault,
    FaultProxy,
    FaultServer,
    answer,
    answer_status,
    lose_answer,
    lose_request,
    stall,
    until,
)
from tornado_couch import (
    Couch,
    Database,
    Indexed,
    Model,
    Observer,
    RetriesExhausted,
    Retry,
    RevisionMismatch,
    Store,
    errors,
    install,
)
from tornado_couch.couch import FakeTransport, Observers, Timeout
from tornado_couch.security import KeyRing


class Recorder(Observer):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_") or name not in vars(Observer):
            return super().__getattribute__(name)
        return lambda *arguments: self.told.append((name, *arguments))

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [arguments for found, *arguments in self.told if found == name]  # type: ignore[misc]


class Fruit(Model, type="fruit_v1.0", key="name", unique=True):
    name: str
    color: Annotated[str, Indexed()] = "red"


async def test_each_exchange_is_told_with_template_outcome_and_seconds() -> None:
    """Began and ended; the error's class where no answer came. No id, name or password is in it."""
    times = iter([1.0, 1.25, 2.0, 2.5])
    seen = Recorder()
    answers = [FakeTransport.reply(200, b'{"_id":"secret"}'), errors.ReadTimeout("gone")]
    couch = Couch("http://u:secret@couch", transport=FakeTransport(answers), clock=lambda: next(times), observer=seen)
    await couch["orchard"].get("secret")
    with pytest.raises(errors.ReadTimeout):
        await couch["orchard"].put({"_id": "secret"})
    assert seen.told == [
        ("exchange_began", "GET", "/{db}/{id}"),
        ("exchange_ended", "GET", "/{db}/{id}", "200", 0.25),
        ("exchange_began", "PUT", "/{db}/{id}"),
        ("exchange_ended", "PUT", "/{db}/{id}", "ReadTimeout", 0.5),
    ]


async def test_a_cancelled_exchange_ends_for_the_observer_too() -> None:
    """So that what is in flight never grows for ever."""
    seen = Recorder()
    async with FaultServer(stall) as server, Couch(server.url, observer=seen) as couch:
        task = asyncio.create_task(couch.info())
        await until(lambda: server.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen.of("exchange_ended")[0][:3] == ["GET", "/", "cancelled"]


async def test_the_wait_for_a_connection_is_told() -> None:
    """Zero where one is free; else how long it took, also of those that gave up."""
    seen = Recorder()
    async with FaultServer(stall) as server, Couch(server.url, max_connections=1, observer=seen) as couch:
        first = asyncio.create_task(couch.info())
        await until(lambda: server.requests)
        with pytest.raises(errors.PoolTimeout):
            await couch.database("a", timeout=Timeout(pool=0.01)).info()
        first.cancel()
    waits = [seconds for (seconds,) in seen.of("pool_waited")]
    assert waits[0] == 0.0
    assert waits[1] > 0.0


async def test_without_an_observer_nothing_is_measured() -> None:
    """The clock is not read."""
    couch = Couch(
        "http://couch", transport=FakeTransport([FakeTransport.reply(200, b'{"status":"ok"}')]), clock=lambda: 1 // 0
    )
    assert await couch.up()
    couch.observer.exchange_began("GET", "/")  # there to be called all the same


async def test_observers_can_be_added_and_are_told_once() -> None:
    """`observe` reaches databases that were named before, those with time limits of their own too."""
    seen, late = Recorder(), Recorder()
    async with FaultServer(answer(200, {"db_name": "a"})) as server, Couch(server.url, observer=seen) as couch:
        database = couch.database("a", timeout=1)
        couch.observe(late)
        couch.observe(late)
        await database.info()
    assert len(seen.of("exchange_ended")) == len(late.of("exchange_ended")) == 1


async def test_an_observer_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged; the exchange and the other observers go on."""

    class Broken(Observer):
        def exchange_began(self, method: str, template: str) -> None:
            raise RuntimeError("broken")

    seen, transport = Recorder(), FakeTransport([FakeTransport.reply(200, b'{"status":"ok"}')])
    couch = Couch("http://couch", transport=transport, observer=Broken())
    couch.observe(seen)
    with caplog.at_level(logging.ERROR):
        assert await couch.up()
    assert len(seen.told) == 2
    assert "an observer raised an error in exchange_began" in caplog.text


def test_every_report_reaches_every_observer() -> None:
    """Whatever an observer can be told, several can be told."""
    seen = Recorder()
    both = Observers(seen, Observer())
    names = [name for name in vars(Observer) if not name.startswith("_")]
    for name in names:
        arguments = [object()] * (getattr(Observer, name).__code__.co_argcount - 1)
        getattr(both, name)(*arguments)
    assert [name for name, *_ in seen.told] == names
    both.remove(seen)
    both.conflict_met("fruit")
    assert len(seen.told) == len(names)
    assert not Observers()


async def test_the_store_tells_of_conflicts_retries_and_their_end(server_url: str, database: Database) -> None:
    """By the document's type, for one more try and for the last."""
    seen = Recorder()
    await install(database.server, database.name, [Fruit])  # type: ignore[arg-type]
    async with FaultProxy(server_url) as proxy, Couch(proxy.url, observer=seen) as couch:
        store = Store(couch[database.name], retry=Retry(attempts=2, base=0), grouping=False)
        await store.create(Fruit(name="apple"))
        seen.told.clear()
        proxy.faults.append(Fault(answer_status(409, "conflict", "Document update conflict."), method="PUT"))
        await store.update(Fruit, "apple", lambda fruit: setattr(fruit, "color", "green"))
        assert (seen.of("conflict_met"), seen.of("retried")) == ([["fruit"]], [["fruit", 0.0]])
        assert seen.of("retries_exhausted") == []
        proxy.faults.append(Fault(answer_status(409, "conflict", "Document update conflict."), method="PUT", times=2))
        with pytest.raises(RetriesExhausted):
            await store.update(Fruit, "apple", lambda fruit: setattr(fruit, "color", "blue"))
        assert seen.of("retries_exhausted") == [["fruit"]]
        assert len(seen.of("conflict_met")) == 3
        stale = await store.get(Fruit, "apple")
        await store.update(Fruit, "apple", lambda fruit: setattr(fruit, "color", "red"))
        with pytest.raises(RevisionMismatch):
            await store.replace(stale)
        assert len(seen.of("conflict_met")) == 4


async def test_the_store_tells_of_lost_answers(server_url: str, database: Database) -> None:
    """Whether the write turned out to be there."""
    seen = Recorder()
    await install(database.server, database.name, [Fruit])  # type: ignore[arg-type]
    async with FaultProxy(server_url) as proxy, Couch(proxy.url, observer=seen) as couch:
        store = Store(couch[database.name], grouping=False)
        proxy.faults.append(Fault(lose_answer, method="PUT"))
        await store.create(Fruit(name="apple"))
        proxy.faults.append(Fault(lose_request, method="PUT"))
        await store.create(Fruit(name="pear"))
    assert seen.of("answer_proved") == [["fruit", True], ["fruit", False]]


async def test_the_store_tells_of_reconciliations(database: Database) -> None:
    """By the document's type, and with the number of leaves."""
    seen = Recorder()
    await install(database.server, database.name, [Fruit])  # type: ignore[arg-type]
    database.server.observe(seen)
    store = Store(database)
    fruit = await store.create(Fruit(name="apple"))
    other = {**await database.get(fruit._id or ""), "_rev": "1-" + "0" * 32, "color": "green"}
    await database.bulk_docs([other], new_edits=False)
    await store.reconciliation.reconcile(Fruit, fruit._id or "")
    assert seen.of("reconciled") == [["fruit", 2]]


async def test_the_store_tells_of_signatures_that_fail(database: Database) -> None:
    """By what is wrong with them."""
    seen = Recorder()
    assert isinstance(database.server, Couch)
    database.server.observe(seen)
    await install(database.server, database.name, [Fruit])
    store = Store(database, signer=KeyRing.create())
    await database.put({"_id": "fruit.apple", "type": "fruit_v1.0", "name": "apple"})
    await store.create(Fruit(name="pear"))
    stored = (await store.get(Fruit, "pear"))._stored
    await database.put({**stored, "_rev": (await store.get(Fruit, "pear"))._rev, "color": "forged"})
    with pytest.raises(errors.InvalidSignature):
        await store.get(Fruit, "pear")
    assert seen.of("signature_failed") == [["altered"]]
