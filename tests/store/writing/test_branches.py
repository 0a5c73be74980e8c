"""Branches that several writers of a cluster wrote on: they are merged at once, and their remains do not pile up."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Annotated, Any

import pytest
from pydantic import Field

from tests.faults import Call, Effect, Fault, FaultProxy, Forward, answer, lose_request
from tornado_couch import Couch, Database, Merge, Model, OutcomeUnknown, Retry, Store, install
from tornado_couch.errors import Unauthorized
from tornado_couch.security import KeyRing, Scheme
from tornado_couch.store import Update

HIGHEST, LOWEST = "f" * 32, "0" * 32


class Basket(Model, type="basket_v1.0", key="name", unique=True):
    name: str
    picks: Annotated[list[int], Merge.union] = Field(default_factory=list)
    label: Annotated[str, Merge.manual] = ""


ID = "basket:a"


def pick(number: int) -> Any:
    """A change that is seen when it is not done."""
    return lambda basket: basket.picks.append(number)


@pytest.fixture
async def store(proxy: FaultProxy, couch: Couch, database: Database) -> AsyncIterator[Store]:
    """A store behind the proxy, with a basket."""
    await install(couch, database.name, [Basket])
    async with Couch(proxy.url) as client:
        made = Store(client[database.name], retry=Retry(base=0.001))
        await made.create(Basket(name="a"))
        yield made


@pytest.fixture
def direct(store: Store, database: Database) -> Store:
    """What another process sees and does."""
    return Store(database)


async def graft(direct: Store, parent: dict[str, Any], digest: str, **members: Any) -> dict[str, Any]:
    """Put a leaf upon a revision, as it comes from another copy."""
    history = parent["_revisions"]
    kept = {name: each for name, each in parent.items() if name[:1] != "_" or name == "_id"}
    revisions = {"start": history["start"] + 1, "ids": [digest, *history["ids"]]}
    signed = direct._guard.signed({**direct.writer.marked(kept), **members, "_rev": parent["_rev"]})
    leaf = {**signed, "_rev": f"{revisions['start']}-{digest}", "_revisions": revisions}
    assert not await direct.database.bulk_docs([leaf], new_edits=False)
    return leaf


async def leaves(direct: Store, *, deleted: bool = False) -> list[dict[str, Any]]:
    """The leaves that are deleted, or those that are not."""
    (found,) = await direct.database.bulk_get([ID], revs=True)
    return [each.document for each in found if each.document and bool(each.document.get("_deleted")) is deleted]


def branches(direct: Store, digest: str) -> Effect:
    """Another write on the same revision, and one over ours; CouchDB accepts ours, without a quorum."""

    async def effect(call: Call, forward: Forward) -> None:
        body = call.request.json()
        sent = body["docs"][0] if "docs" in body else body
        base = await direct.database.get(ID, rev=sent["_rev"], revs=True)
        said = await forward()
        ours = next(each for each in await leaves(direct) if 7 in each["picks"])
        await graft(direct, base, digest, picks=[1])
        await graft(direct, ours, HIGHEST, picks=[7, 8])
        said = re.sub(rb" 20[01] ", b" 202 ", said, count=1)
        await call.send(said.replace(b'{"ok":true,', b'{"ok":true,"accepted":true,') if "docs" in body else said)

    return effect


@pytest.mark.parametrize("digest", [HIGHEST, LOWEST])
async def test_who_finds_branches_joins_them(store: Store, direct: Store, proxy: FaultProxy, digest: str) -> None:
    """A writer over whose minority others wrote merges it with what was acknowledged beside it, before it returns."""
    proxy.faults.append(Fault(branches(direct, digest), method="PUT"))
    await store.update(Basket, "a", pick(7))
    assert [sorted(each["picks"]) for each in await leaves(direct)] == [[1, 7, 8]]


async def test_a_replacement_joins_branches(store: Store, direct: Store, proxy: FaultProxy) -> None:
    """So does `replace`, which writes over a revision of the caller's."""
    basket = await store.get(Basket, "a")
    basket.picks.append(7)
    proxy.faults.append(Fault(branches(direct, LOWEST), method="PUT"))
    await store.replace(basket)
    assert [sorted(each["picks"]) for each in await leaves(direct)] == [[1, 7, 8]]


async def test_a_leaf_that_stays_is_merged_by_the_next_writer(store: Store, direct: Store) -> None:
    """Where a cluster was seen to take two writes of one revision, a writer leaves no branch behind."""
    (base,) = await leaves(direct)
    await store.update(Basket, "a", pick(1))
    await graft(direct, base, LOWEST, picks=[2])
    store.database.server.contended = True
    await store.update(Basket, "a", pick(3))
    assert [sorted(each["picks"]) for each in await leaves(direct)] == [[1, 2, 3]]


async def test_what_replication_brings_is_left_to_the_reconciler(store: Store, direct: Store) -> None:
    """Elsewhere a writer merges nothing."""
    (base,) = await leaves(direct)
    await store.update(Basket, "a", pick(1))
    await graft(direct, base, LOWEST, picks=[2])
    await store.update(Basket, "a", pick(3))
    assert sorted(sorted(each["picks"]) for each in await leaves(direct)) == [[1, 3], [2]]


async def test_what_rules_cannot_merge_stays(store: Store, direct: Store) -> None:
    """The write is made on the winning leaf, and the other one waits for a person."""
    (base,) = await leaves(direct)
    await store.update(Basket, "a", lambda basket: setattr(basket, "label", "one"))
    await graft(direct, base, LOWEST, label="other")
    store.database.server.contended = True
    await store.update(Basket, "a", pick(3))
    assert sorted((each["label"], each["picks"]) for each in await leaves(direct)) == [("one", [3]), ("other", [])]


async def test_no_leaf_is_deleted_for_one_that_few_copies_have(store: Store, direct: Store, proxy: FaultProxy) -> None:
    """Before the others are deleted, the leaf that stays is brought to enough copies; otherwise nothing is deleted."""
    (base,) = await leaves(direct)
    await store.update(Basket, "a", pick(1))
    await graft(direct, base, LOWEST, picks=[2])
    store.database.server.contended = True

    async def few(call: Call, forward: Forward) -> None:
        assert call.request.json()["new_edits"] is False
        await call.send((await forward()).replace(b" 201 ", b" 202 ", 1))

    proxy.faults.append(Fault(few, path="_bulk_docs", body="new_edits", times=None))
    await store.reconciliation.settle(Basket, ID)
    assert len(await leaves(direct)) == 2
    proxy.faults.clear()
    await store.reconciliation.settle(Basket, ID)
    assert [sorted(each["picks"]) for each in await leaves(direct)] == [[1, 2]]


async def test_a_refusal_that_cannot_be_looked_into_is_unknown(store: Store, direct: Store, proxy: FaultProxy) -> None:
    """On a cluster a copy may have what CouchDB refused; where nobody can look, nothing is said to be not written."""
    store.database.server.contended = True

    async def first(call: Call, forward: Forward) -> None:
        await direct.update(Basket, "a", pick(1))
        await call.send(await forward())
        proxy.faults.append(Fault(lose_request, method="GET", times=None))
        proxy.faults.append(Fault(lose_request, path="_bulk_get", after=1, times=None))

    proxy.faults.append(Fault(first, method="PUT"))
    with pytest.raises(OutcomeUnknown):
        await store.update(Basket, "a", pick(7))


async def withdrawn(direct: Store, count: int) -> None:
    """Let a basket have been withdrawn this often, and changed a hundred times since."""
    (base,) = await leaves(direct)
    for number in range(count):
        attempt = await graft(direct, base, f"{number:032x}", picks=[number])
        await graft(direct, attempt, f"{number:032x}", _deleted=True)
    ids = [*(f"{number:032x}" for number in range(1000, 1100)), *base["_revisions"]["ids"]]
    parent = {**base, "_rev": f"{len(ids)}-{ids[0]}", "_revisions": {"start": len(ids), "ids": ids}}
    await graft(direct, parent, HIGHEST)


async def refused(store: Store, direct: Store, proxy: FaultProxy) -> None:
    """Let a write meet another one."""

    async def first(call: Call, forward: Forward) -> None:
        await direct.update(Basket, "a", pick(1))
        await call.send(await forward())

    proxy.faults.append(Fault(first, method="PUT"))
    await store.update(Basket, "a", pick(7))


async def test_deleted_leaves_do_not_pile_up(store: Store, direct: Store, proxy: FaultProxy) -> None:
    """Who meets another writer removes those that lie far back, with what they deleted; nothing else."""
    await withdrawn(direct, 30)
    await refused(store, direct, proxy)
    assert await leaves(direct, deleted=True) == []
    assert [each["picks"] for each in await leaves(direct)] == [[1, 7]]


async def test_a_few_deleted_leaves_stay(store: Store, direct: Store, proxy: FaultProxy) -> None:
    """They cost little, and show what became of a late copy."""
    await withdrawn(direct, 5)
    await refused(store, direct, proxy)
    assert len(await leaves(direct, deleted=True)) == 5


async def test_recent_deleted_leaves_stay(store: Store, direct: Store, proxy: FaultProxy) -> None:
    """A copy of what was withdrawn lately may still be under way."""
    (base,) = await leaves(direct)
    await direct.update(Basket, "a", pick(0))
    for number in range(30):
        attempt = await graft(direct, base, f"{number:032x}", picks=[number])
        await graft(direct, attempt, f"{number:032x}", _deleted=True)
    await refused(store, direct, proxy)
    assert len(await leaves(direct, deleted=True)) == 30


async def test_who_may_not_purge_asks_once(store: Store, direct: Store, proxy: FaultProxy) -> None:
    """A service that is no server admin writes all the same, and does not try again."""
    await withdrawn(direct, 30)
    asked = []

    async def admins(call: Call, _: Forward) -> None:
        asked.append(call.request.target)
        await call.send(
            b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: 27\r\n\r\n"
            b'{"error":"unauthorized"}   '
        )

    proxy.faults.append(Fault(admins, path="_purge", times=None))
    await refused(store, direct, proxy)
    await refused(store, direct, proxy)
    assert len(asked) == 1
    assert len(await leaves(direct, deleted=True)) == 30


async def test_signed_documents_keep_their_deleted_leaves(proxy: FaultProxy, couch: Couch, database: Database) -> None:
    """What was withdrawn could be put back unnoticed if its tombstone were gone."""
    await install(couch, database.name, [Basket])
    # v3 would also sign the revisions, which this test chooses.
    options: dict[str, Any] = {"signer": KeyRing.create(), "scheme": Scheme.V2}
    async with Couch(proxy.url) as client:
        store, direct = Store(client[database.name], **options), Store(database, **options)
        await store.create(Basket(name="a"))
        await withdrawn(direct, 30)
        await refused(store, direct, proxy)
        assert len(await leaves(direct, deleted=True)) == 30
        assert (await store.get(Basket, "a")).picks == [1, 7]


async def test_purging_says_what_is_gone(database: Database, server_url: str) -> None:
    """`Database.purge` returns the revisions by id, and only an admin may call it."""
    made = await database.put({"_id": "a"})
    assert await database.purge({"a": [made.rev, "9-" + HIGHEST]}) == {"a": [made.rev]}
    assert not await database.revision("a")
    async with Couch(re.sub("//.*@", "//", server_url)) as anybody:
        # Where a server has no admins, everybody is one.
        expected = nullcontext() if (await anybody.session())["userCtx"]["roles"] else pytest.raises(Unauthorized)
        with expected:
            await anybody[database.name].purge({"a": [made.rev]})


async def test_many_at_once_join_branches(store: Store, direct: Store, proxy: FaultProxy) -> None:
    """So does a bulk write, for each document."""
    proxy.faults.append(Fault(branches(direct, LOWEST), path="_bulk_docs"))
    (found,) = await asyncio.wait_for(store.write_many(Basket, [Update("a", pick(7))]), 30)
    assert isinstance(found, Basket)
    assert [sorted(each["picks"]) for each in await leaves(direct)] == [[1, 7, 8]]


async def test_what_is_being_withdrawn_is_not_taken_to_have_landed(
    store: Store, direct: Store, proxy: FaultProxy
) -> None:
    """A read that shows a write alone, once its deletion was sent, comes from a copy that has not heard of that."""
    (base,) = await leaves(direct)

    async def met(call: Call, forward: Forward) -> None:
        said = await forward()
        await graft(direct, base, HIGHEST, picks=[1])
        await call.send(re.sub(rb" 20[01] ", b" 202 ", said, count=1))

    async def forgetful(call: Call, _: Forward) -> None:
        await answer(200, {"results": [{"id": ID, "docs": [{"ok": base}]}]})(call)

    async def half(call: Call, forward: Forward) -> None:
        proxy.faults.append(forgotten)
        await call.send(re.sub(rb" 20[01] ", b" 202 ", await forward(), count=1))

    forgotten = Fault(forgetful, path="_bulk_get")
    proxy.faults += [Fault(half, method="PUT", body="_deleted"), Fault(met, method="PUT")]
    await store.update(Basket, "a", pick(7))
    assert forgotten.hits == 1
    assert [sorted(each["picks"]) for each in await leaves(direct)] == [[1, 7]]
