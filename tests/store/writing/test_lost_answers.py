"""Writes whose answers are lost, late, doubled or cut: each is done once or not at all, and the store knows which."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

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
    until,
)
from tests.security.kinds import key_set
from tests.store.models import Fruit, Place
from tornado_couch import (
    Couch,
    Database,
    DocumentExists,
    DocumentNotFound,
    Retry,
    RevisionMismatch,
    Store,
    Timeout,
    install,
)
from tornado_couch.couch import Observer
from tornado_couch.errors import CouchError, OutcomeUnknown, ReadTimeout, Unavailable
from tornado_couch.models import WRITE_PROPERTY
from tornado_couch.security import KeyRing, Scheme, keyczar
from tornado_couch.store import Creation, Deletion, Update

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
STORES: dict[str, dict[str, Any]] = {
    "grouped": {},
    "alone": {"grouping": False},
    "signed": {"signer": KeyRing.create()},
}


@pytest.fixture
def silence() -> float:
    """For how many seconds the client bears it after a write: long, where another writer has to come first."""
    return 20


@pytest.fixture
async def behind(proxy: FaultProxy, couch: Couch, database: Database, silence: float) -> AsyncIterator[Database]:
    """The database as it is seen through the proxy."""
    await install(couch, database.name, [Fruit, Place])
    async with Couch(proxy.url) as client:
        hurry_writes(client, silence)
        yield client[database.name]


@pytest.fixture(params=STORES)
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """How the stores are made: with groups and without, with signatures."""
    return STORES[request.param]


@pytest.fixture
def effect(request: pytest.FixtureRequest) -> Effect:
    """What a write suffers."""
    return EFFECTS[request.param]


@pytest.fixture
def store(behind: Database, options: dict[str, Any]) -> Store:
    """A store behind the proxy."""
    return Store(behind, retry=Retry(base=0.001), **options)


@pytest.fixture
def rival(behind: Database, database: Database, options: dict[str, Any]) -> Store:
    """Another store of the same documents, with a way of its own to CouchDB."""
    return Store(database, **options)


def strike(proxy: FaultProxy, effect: Effect, times: int | None = 1) -> Callable[[], int]:
    """Let the next writes suffer; gives a function that counts how many did."""
    faults = [Fault(effect, method="PUT", times=times), Fault(effect, path="_bulk_docs", times=times)]
    proxy.faults[:] = faults
    return lambda: sum(each.hits for each in faults)


def pick(number: int) -> Callable[[Fruit], None]:
    """A change that is not the same when it is done twice."""
    return lambda fruit: fruit.picks.append(number)


async def compacted(store: Store, fruit_id: str, changes: int) -> None:
    """Change a fruit so often, and have CouchDB forget all but the last revision of it."""
    for number in range(changes):
        before = await store.get(Fruit, fruit_id)
        await store.update(Fruit, fruit_id, pick(number))
    await forget(store.database, fruit_id, before._rev or "")


async def forget(database: Database, document_id: str, revision: str) -> None:
    """Compact a database until the body of a revision is gone."""
    await database._call("POST", "_compact", body={})

    async def gone() -> bool:
        (leaves,) = await database.bulk_get([(document_id, revision)])
        return leaves[0].document is None

    await until(gone)


def grow(place: Place) -> None:
    place.size += 1


def after(landing: bool, rival: Callable[[], Awaitable[Any]]) -> Effect:
    """Another writer is served before the request, or after it; then the answer is lost."""

    async def effect(call: Call, forward: Forward) -> None:
        if landing:
            await forward()
        await rival()
        if not landing:
            await forward()
        call.reset()

    return effect


# Each fault with groups, and those that differ most without them and with signatures.
CASES = [
    *(("grouped", effect) for effect in EFFECTS),
    *((store, effect) for store in ("alone", "signed") for effect in ("answer lost", "request twice", "request late")),
]


@pytest.mark.parametrize("silence", [0.3])
@pytest.mark.parametrize(("options", "effect"), CASES, indirect=True)
class TestOnce:
    """Each kind of write under each kind of fault."""

    async def test_create(self, store: Store, proxy: FaultProxy, effect: Effect) -> None:
        """One document, and the revision that the store gives is its first."""
        hits = strike(proxy, effect)
        fruit = await store.create(Fruit(picks=[1]))
        assert hits() == 1
        assert [each._rev for each in (await store.find(Fruit)).items] == [fruit._rev]
        assert (fruit._rev or "").startswith("1-")

    async def test_create_of_a_unique_key(self, store: Store, proxy: FaultProxy, effect: Effect) -> None:
        """Also over the tombstone of an earlier one; the next create is refused, since this one was done."""
        for _ in range(2):
            strike(proxy, effect)
            place = await store.create(Place(name="a", size=7))
            assert (await store.get(Place, "a"))._rev == place._rev
            strike(proxy, effect)
            with pytest.raises(DocumentExists):
                await store.create(Place(name="a", size=8))
            assert (await store.get(Place, "a")).size == 7
            await until(lambda: not proxy.busy)  # a copy that came after the deletion would create it anew
            await store.delete(Place, "a")

    @pytest.mark.parametrize("guarded", [False, True])
    async def test_update(self, store: Store, proxy: FaultProxy, effect: Effect, guarded: bool) -> None:
        """With an expected revision or without: the change is there once, in the revision that the store gives."""
        fruit = await store.create(Fruit())
        hits = strike(proxy, effect)
        expected = (lambda revision: revision == fruit._rev) if guarded else None
        changed = await store.update(Fruit, fruit.fruit_id, pick(7), expected=expected)
        found = await store.get(Fruit, fruit.fruit_id)
        assert (found.picks, found._rev, hits()) == ([7], changed._rev, 1)
        assert (found._rev or "").startswith("2-")

    async def test_replace(self, store: Store, proxy: FaultProxy, effect: Effect) -> None:
        """The model as it was read, and no second time."""
        fruit = await store.create(Fruit())
        old = await store.get(Fruit, fruit.fruit_id)
        fruit.picks = [7]
        strike(proxy, effect)
        await store.replace(fruit)
        assert (await store.get(Fruit, fruit.fruit_id))._rev == fruit._rev
        strike(proxy, effect)
        with pytest.raises(RevisionMismatch):
            await store.replace(old)

    @pytest.mark.parametrize("guarded", [False, True])
    async def test_delete(self, store: Store, proxy: FaultProxy, effect: Effect, guarded: bool) -> None:
        """One tombstone."""
        fruit = await store.create(Fruit())
        hits = strike(proxy, effect)
        await store.delete(
            Fruit, fruit.fruit_id, expected=(lambda revision: revision == fruit._rev) if guarded else None
        )
        assert hits() == 1
        (leaves,) = await store.database.bulk_get([fruit.fruit_id])
        assert [(leaf.rev or "")[:2] for leaf in leaves] == ["2-"]
        with pytest.raises(DocumentNotFound):
            await store.delete(Fruit, fruit.fruit_id)

    async def test_many_at_once(self, store: Store, proxy: FaultProxy, effect: Effect) -> None:
        """Created, changed and deleted together: each once, and a conflict among them is a conflict still."""
        await store.create_many(Place, [Place(name=name) for name in "abc"])
        hits = strike(proxy, effect)
        done = await store.write_many(
            Place, [Update("a", grow), Deletion("b"), Creation(Place(name="c")), Creation(Place(name="d"))]
        )
        assert [type(each) for each in done] == [Place, Place, DocumentExists, Place]
        assert hits() in (1, 2)  # what was answered as a whole is sent one by one
        places = (await store.find(Place)).items
        assert [(each.name, each.size) for each in places] == [("a", 1), ("c", 0), ("d", 0)]
        assert {each._rev for each in done if isinstance(each, Place)} > {places[0]._rev, places[2]._rev}


class TestOthers:
    """Somebody else writes while the answer is lost."""

    async def test_upon_ours(self, store: Store, rival: Store, proxy: FaultProxy) -> None:
        """The write landed, and is not done again; the revision given is its own."""
        fruit = await store.create(Fruit())

        async def others() -> None:
            for number in (1, 2, 3):
                await rival.update(Fruit, fruit.fruit_id, pick(number))

        strike(proxy, after(True, others))
        changed = await store.update(Fruit, fruit.fruit_id, pick(7))
        assert (changed.picks, (changed._rev or "")[:2]) == ([7], "2-")
        assert (await store.get(Fruit, fruit.fruit_id)).picks == [7, 1, 2, 3]

    @pytest.mark.parametrize("guarded", [False, True])
    async def test_before_ours(self, store: Store, rival: Store, proxy: FaultProxy, guarded: bool) -> None:
        """A conflict as any other: done upon theirs, or `RevisionMismatch` where a revision is expected."""
        fruit = await store.create(Fruit())
        strike(proxy, after(False, lambda: rival.update(Fruit, fruit.fruit_id, pick(1))))
        if not guarded:
            await store.update(Fruit, fruit.fruit_id, pick(7))
            assert (await store.get(Fruit, fruit.fruit_id)).picks == [1, 7]
            return
        with pytest.raises(RevisionMismatch) as caught:
            await store.update(Fruit, fruit.fruit_id, pick(7), expected=lambda revision: revision == fruit._rev)
        found = await store.get(Fruit, fruit.fruit_id)
        assert (found.picks, found._rev) == ([1], caught.value.current)

    async def test_deletes_ours(self, store: Store, rival: Store, proxy: FaultProxy) -> None:
        """What landed landed, though it is gone."""
        fruit = await store.create(Fruit())
        strike(proxy, after(True, lambda: rival.delete(Fruit, fruit.fruit_id)))
        assert (await store.update(Fruit, fruit.fruit_id, pick(7))).picks == [7]
        with pytest.raises(DocumentNotFound):
            await store.get(Fruit, fruit.fruit_id)

    async def test_creates_the_same_key_before_or_changes_ours(
        self, store: Store, rival: Store, proxy: FaultProxy
    ) -> None:
        """Theirs is refused as `DocumentExists`; ours is success, with its own revision, though they wrote upon it."""
        strike(proxy, after(False, lambda: rival.create(Place(name="a", size=1))))
        with pytest.raises(DocumentExists):
            await store.create(Place(name="a", size=7))
        strike(proxy, after(True, lambda: rival.update(Place, "b", grow)))
        assert ((await store.create(Place(name="b", size=7)))._rev or "")[:2] == "1-"
        assert [each.size for each in (await store.find(Place)).items] == [1, 8]

    async def test_deletes_first(self, store: Store, rival: Store, proxy: FaultProxy) -> None:
        """Of two deletions one is told that there is nothing to delete."""
        fruit = await store.create(Fruit())
        strike(proxy, after(False, lambda: rival.delete(Fruit, fruit.fruit_id)))
        with pytest.raises(DocumentNotFound):
            await store.delete(Fruit, fruit.fruit_id)

    @pytest.mark.parametrize("landing", [True, False])
    async def test_whose_bodies_are_gone(self, store: Store, rival: Store, proxy: FaultProxy, landing: bool) -> None:
        """CouchDB compacts a busy database by itself: the document still shows whether ours is below theirs."""
        fruit = await store.create(Fruit())
        strike(proxy, after(landing, lambda: compacted(rival, fruit.fruit_id, changes=2)))
        await store.update(Fruit, fruit.fruit_id, pick(7))
        assert (await store.get(Fruit, fruit.fruit_id)).picks == ([7, 0, 1] if landing else [0, 1, 7])

    async def test_whose_history_is_gone(self, store: Store, rival: Store, proxy: FaultProxy) -> None:
        """Whether ours is far below theirs nobody can tell any more: it is said so, and nothing is done twice."""
        fruit = await store.create(Fruit())
        strike(proxy, after(True, lambda: compacted(rival, fruit.fruit_id, changes=17)))
        with pytest.raises(OutcomeUnknown) as caught:
            await store.update(Fruit, fruit.fruit_id, pick(7))
        assert isinstance(caught.value.__cause__, CouchError)
        assert (await store.get(Fruit, fruit.fruit_id)).picks == [7, *range(17)]

    async def test_an_older_document_whose_history_is_gone(
        self, store: Store, rival: Store, proxy: FaultProxy
    ) -> None:
        """The creation of a unique key is refused all the same: the document bears the token of another one."""
        place = await rival.create(Place(name="a"))
        await rival.update(Place, "a", grow)
        await forget(rival.database, place._id or "", place._rev or "")
        strike(proxy, lose_answer)
        with pytest.raises(DocumentExists):
            await store.create(Place(name="a", size=7))


class TestTrouble:
    """What cannot be found out is said; nothing is left behind."""

    @pytest.fixture
    def impatient(self, behind: Database, options: dict[str, Any]) -> Store:
        """A store that soon gives up."""
        return Store(behind, retry=Retry(base=0.001, patience=0.2), **options)

    @pytest.mark.parametrize("blind", [False, True])
    async def test_an_outage_that_lasts(self, impatient: Store, proxy: FaultProxy, blind: bool) -> None:
        """`OutcomeUnknown` when the patience is used up: CouchDB fails at each write, or lets nobody see it."""
        fruit = await impatient.create(Fruit())
        strike(proxy, lose_answer if blind else answer_status(503), times=None)
        if blind:
            proxy.faults.append(Fault(lose_request, path="revs=true", times=None))
        with pytest.raises(OutcomeUnknown) as caught:
            await impatient.update(Fruit, fruit.fruit_id, pick(7))
        assert isinstance(caught.value.__cause__, Unavailable)
        proxy.faults.clear()
        assert (await impatient.get(Fruit, fruit.fruit_id)).picks == ([7] if blind else [])

    async def test_time_limits(self, behind: Database, proxy: FaultProxy, options: dict[str, Any]) -> None:
        """The client's bound each exchange, the patience how many there are; the cause tells that it was time."""
        fruit = await Store(behind, **options).create(Fruit())
        strike(proxy, never_answer, times=None)
        proxy.faults.append(Fault(never_answer, path="revs=true", times=None))
        async with Couch(proxy.url, timeout=Timeout(read=0.3)) as hasty:
            impatient = Store(hasty[behind.name], retry=Retry(base=0.001, patience=0.2), **options)
            began = time.monotonic()
            with pytest.raises(OutcomeUnknown) as caught:
                await impatient.update(Fruit, fruit.fruit_id, pick(7))
        assert time.monotonic() - began > 0.3 + 0.2
        assert isinstance(caught.value.__cause__, ReadTimeout)
        assert len([each for each in proxy.requests if "revs=true" in each.target]) == 1

    async def test_what_was_never_sent_is_not_in_doubt(self, options: dict[str, Any]) -> None:
        """Nobody listens: an outage at once, and certainly nothing was written."""
        async with FaultProxy("http://127.0.0.1:1") as closed:
            url = closed.url
        async with Couch(url) as client:
            with pytest.raises(Unavailable) as caught:
                await Store(client["orchard"], **options).create(Place(name="a"))
        assert not isinstance(caught.value, OutcomeUnknown)

    async def test_a_cancelled_write_leaves_nothing_behind(self, store: Store, proxy: FaultProxy) -> None:
        """While it waits for the answer, or looks for what became of it: no task, no connection, no other try."""
        fruit = await store.create(Fruit())
        for path in ("", "revs=true"):
            tasks = asyncio.all_tasks()
            hits = strike(proxy, never_answer if not path else lose_answer)
            proxy.faults.append(Fault(never_answer, path=path or "none"))
            write = asyncio.create_task(store.update(Fruit, fruit.fruit_id, pick(7)))
            await until(lambda path=path, hits=hits: proxy.faults[-1].hits if path else hits())
            write.cancel()
            with pytest.raises(asyncio.CancelledError):
                await write
            await until(lambda: not proxy.busy)
            sent = len(proxy.requests)
            proxy.faults.clear()
            await until(lambda tasks=tasks: asyncio.all_tasks() - proxy._tasks <= tasks)  # type: ignore[misc]
            assert len(proxy.requests) == sent

    async def test_a_write_with_fewer_copies_than_wanted_is_success(self, store: Store, proxy: FaultProxy) -> None:
        """202: CouchDB has stored it, and goes on storing copies, which it is asked to do at once."""

        async def accepted(call: Call, forward: Forward) -> None:
            await call.send((await forward()).replace(b" 201 ", b" 202 ", 1))

        hits = strike(proxy, accepted, times=None)
        place = await store.create(Place(name="a"))
        assert (await store.update(Place, "a", grow)).size == 1
        await store.delete(Place, "a")
        assert (place.size, hits()) == (0, 5)  # CouchDB says 200 to the deletion

    async def test_observers_are_told_what_was_proved(self, store: Store, proxy: FaultProxy) -> None:
        """Whether a write landed whose answer was lost."""

        class Watch(Observer):
            told: list[tuple[str, bool]] = []  # noqa: RUF012 - of this test alone

            def answer_proved(self, kind: str, landed: bool) -> None:
                self.told.append((kind, landed))

        watch = Watch()
        store.database.server.observe(watch)
        for effect in (lose_answer, lose_request, repeat_request):
            strike(proxy, effect)
            await store.create(Fruit())
        assert watch.told == [("fruit", True), ("fruit", False), ("fruit", True)]


class TestTokens:
    """How a write is told from every other one."""

    async def test_equal_changes_by_many_writers(self, store: Store, proxy: FaultProxy) -> None:
        """Each counts, though their documents are the same but for the tokens, and answers are lost."""
        await store.create(Place(name="a"))
        strike(proxy, lose_answer, times=10)
        await asyncio.gather(*(store.update(Place, "a", grow) for _ in range(20)))
        assert (await store.get(Place, "a")).size == 20

    async def test_it_is_in_what_is_stored_and_nowhere_else(self, store: Store, database: Database) -> None:
        """The creation's stays in front of each later write's; a deletion has one as well; no model shows it."""
        place = await store.create(Place(name="a"))
        first = (await database.get(place._id or ""))[WRITE_PROPERTY]
        changed = await store.update(Place, "a", grow)
        second = (await database.get(place._id or ""))[WRITE_PROPERTY]
        await store.delete(Place, "a")
        (leaves,) = await database.bulk_get([place._id or ""])
        assert leaves[0].document is not None
        third = leaves[0].document[WRITE_PROPERTY]
        assert [each.partition(".")[0] for each in (second, third)] == [first, first]
        assert len({first, second, third}) == 3
        assert first not in repr(changed) + str(changed.model_dump()) + changed.model_dump_json()

    @pytest.mark.parametrize("effect", ["request lost", "answer lost", "answer cut", "failure"])
    async def test_without_tokens_bodies_tell(self, behind: Database, proxy: FaultProxy, effect: str) -> None:
        """A lost answer is proved by the body; the documents have nothing that a model or the scheme does not want."""
        classic = key_set(keyczar.Signer, "hmac")
        for store in (Store(behind, write_tokens=False), Store(behind, signer=classic, scheme=Scheme.CLASSIC)):
            fruit = await store.create(Fruit())
            strike(proxy, EFFECTS[effect])
            await store.update(Fruit, fruit.fruit_id, pick(7))
            assert (await store.get(Fruit, fruit.fruit_id)).picks == [7]
            assert WRITE_PROPERTY not in await behind.get(fruit.fruit_id)
            strike(proxy, EFFECTS[effect])
            await store.delete(Fruit, fruit.fruit_id)
            with pytest.raises(DocumentNotFound):
                await store.get(Fruit, fruit.fruit_id)

    async def test_without_tokens_a_conflict_is_never_taken_for_success(self, behind: Database) -> None:
        """Equal changes upon one revision are conflicts while no answer is lost, so each counts."""
        store = Store(behind, write_tokens=False)
        await store.create(Place(name="a"))
        await asyncio.gather(*(store.update(Place, "a", grow) for _ in range(10)))
        assert (await store.get(Place, "a")).size == 10

    async def test_a_store_without_tokens_takes_away_those_that_it_finds(self, behind: Database) -> None:
        """An old one would stand for a write that it did not make."""
        await Store(behind).create(Place(name="a"))
        place = await Store(behind, write_tokens=False).update(Place, "a", grow)
        assert WRITE_PROPERTY not in await behind.get(place._id or "")
