"""Writes that CouchDB accepted although another one stands beside them, as two writers on a cluster find it.

A proxy puts the other write beside ours, and makes 202 of CouchDB's 201.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.faults import Call, Effect, Fault, FaultProxy, Forward, answer
from tests.store.models import Fruit
from tornado_couch import Couch, Database, DocumentNotFound, Retry, RevisionMismatch, Store, install
from tornado_couch.models import WRITE_PROPERTY
from tornado_couch.security import KeyRing, Scheme
from tornado_couch.store import Update
from tornado_couch.store.writing.tokens import operation

HIGHEST, LOWEST = "f" * 32, "0" * 32


def pick(number: int) -> Any:
    """A change that is wrong when it is done twice, and seen when it is not done."""
    return lambda fruit: fruit.picks.append(number)


@pytest.fixture(params=["plain", "signed"])
def options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Stores that do not sign, and stores that do; v3 would also sign the revisions, which these tests choose."""
    return {} if request.param == "plain" else {"signer": KeyRing.create(), "scheme": Scheme.V2}


@pytest.fixture
async def store(proxy: FaultProxy, couch: Couch, database: Database, options: dict[str, Any]) -> AsyncIterator[Store]:
    """A store behind the proxy."""
    await install(couch, database.name, [Fruit])
    async with Couch(proxy.url) as client:
        yield Store(client[database.name], retry=Retry(base=0.001), **options)


@pytest.fixture
def direct(store: Store, database: Database, options: dict[str, Any]) -> Store:
    """What another process sees and does."""
    return Store(database, **options)


async def graft(
    store: Store, document: dict[str, Any], parent: dict[str, Any], digest: str, token: str | None = None
) -> None:
    """Put a leaf upon a revision, as it comes from another copy."""
    history = parent["_revisions"]
    revision = f"{history['start'] + 1}-{digest}"
    written = store.writer.marked(document)
    if token is not None:
        written[WRITE_PROPERTY] = written[WRITE_PROPERTY][: -len(token)] + token
    signed = store._guard.signed({**written, "_rev": parent["_rev"]})
    ids = [digest, *history["ids"]]
    leaf = {**signed, "_rev": revision, "_revisions": {"start": history["start"] + 1, "ids": ids}}
    assert not await store.database.bulk_docs([leaf], new_edits=False)


def plain(document: dict[str, Any], **members: Any) -> dict[str, Any]:
    kept = {name: each for name, each in document.items() if name[:1] != "_" or name == "_id"}
    return {**kept, **members}


def beside(direct: Store, digest: str | None, *, over: bool = False) -> Effect:
    """Another write on the same revision, and one over ours; CouchDB accepts ours, without a quorum."""

    async def effect(call: Call, forward: Forward) -> None:
        sent = call.request.json()
        base = await direct.database.get(sent["_id"], rev=sent["_rev"], revs=True)
        said = await forward()
        if digest is not None:
            await graft(direct, plain(base, picks=[1]), base, digest)
        if over:
            ours = (await direct.database.bulk_get([sent["_id"]], revs=True))[0]
            leaf = next(each.document for each in ours if each.document and each.document["picks"] == [7])
            await graft(direct, plain(leaf, picks=[7, 8]), leaf, HIGHEST)
        await call.send(re.sub(rb" 20[01] ", b" 202 ", said, count=1))

    return effect


async def live(direct: Store, fruit: Fruit) -> list[dict[str, Any]]:
    """The leaves that are not deleted."""
    (found,) = await direct.database.bulk_get([fruit.fruit_id], revs=True)
    return [each.document for each in found if each.document and not each.document.get("_deleted")]


async def test_what_stands_alone_has_landed(store: Store, direct: Store, proxy: FaultProxy) -> None:
    """It is looked at once, and not written again."""
    fruit = await store.create(Fruit())
    proxy.faults.append(Fault(beside(direct, None), method="PUT"))
    changed = await store.update(Fruit, fruit.fruit_id, pick(7))
    assert [(each["_rev"], each["picks"]) for each in await live(direct, fruit)] == [(changed._rev, [7])]


async def test_what_few_copies_took_is_brought_to_the_others(store: Store, direct: Store, proxy: FaultProxy) -> None:
    """Before its caller hears of it: others would read, and write over, what was there before."""
    fruit = await store.create(Fruit())
    proxy.faults.append(Fault(beside(direct, None), method="PUT"))
    changed = await store.update(Fruit, fruit.fruit_id, pick(7))
    sent = [each.json() for each in proxy.requests if "_bulk_docs" in each.target]
    (leaf,) = next(each["docs"] for each in sent if each.get("new_edits") is False)
    assert (leaf["_rev"], leaf["picks"], len(leaf["_revisions"]["ids"])) == (changed._rev, [7], 2)


@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize("digest", [HIGHEST, LOWEST])
async def test_what_stands_beside_another_is_withdrawn(
    store: Store, direct: Store, proxy: FaultProxy, digest: str, guarded: bool
) -> None:
    """The change is then made upon the other one, or the caller hears that it was not made."""
    fruit = await store.create(Fruit())
    proxy.faults.append(Fault(beside(direct, digest), method="PUT"))
    if guarded:
        with pytest.raises(RevisionMismatch):
            await store.update(Fruit, fruit.fruit_id, pick(7), expected=lambda revision: revision == fruit._rev)
    else:
        await store.update(Fruit, fruit.fruit_id, pick(7))
    assert [each["picks"] for each in await live(direct, fruit)] == [[1] if guarded else [1, 7]]
    assert (await direct.get(Fruit, fruit.fruit_id)).picks == ([1] if guarded else [1, 7])


async def test_many_at_once_are_settled_as_well(store: Store, direct: Store, proxy: FaultProxy) -> None:
    """One by one."""
    fruits = [await store.create(Fruit()) for _ in range(2)]

    async def accepted(call: Call, forward: Forward) -> None:
        for each in call.request.json()["docs"]:
            base = await direct.database.get(each["_id"], rev=each["_rev"], revs=True)
            await graft(direct, plain(base, picks=[1]), base, HIGHEST)
        content = (await forward()).partition(b"\r\n\r\n")[2]
        results = json.loads(content[content.index(b"[") : content.rindex(b"]") + 1])
        await answer(201, [{**each, "accepted": True} for each in results])(call)

    proxy.faults.append(Fault(accepted, path="_bulk_docs"))
    await store.write_many(Fruit, [Update(each.fruit_id, pick(7)) for each in fruits])
    for each in fruits:
        assert [leaf["picks"] for leaf in await live(direct, each)] == [[1, 7]]


@pytest.mark.parametrize("digest", [HIGHEST, LOWEST])
async def test_what_others_wrote_over_has_landed(
    store: Store, direct: Store, proxy: FaultProxy, digest: str
) -> None:
    """It is not withdrawn, though another leaf stands beside it; also with `If-Match`."""
    fruit = await store.create(Fruit())
    proxy.faults.append(Fault(beside(direct, digest, over=True), method="PUT"))
    changed = await store.update(Fruit, fruit.fruit_id, pick(7), expected=lambda revision: revision == fruit._rev)
    assert (changed._rev or "").startswith("2-")
    assert (await direct.get(Fruit, fruit.fruit_id)).picks == [7, 8]


async def test_the_leaf_that_wins_yields_to_one_that_stays(store: Store, direct: Store, proxy: FaultProxy) -> None:
    """The other one is written over first, as another attempt at its own change."""
    fruit = await store.create(Fruit())
    proxy.faults.append(Fault(beside(direct, LOWEST), method="PUT"))
    await store.update(Fruit, fruit.fruit_id, pick(7))
    (leaf,) = await live(direct, fruit)
    ids = leaf["_revisions"]["ids"]
    assert ids[2] == LOWEST
    found = await direct.database.bulk_get([(fruit.fruit_id, f"{3 - n}-{ids[1 + n]}") for n in range(2)])
    yielded, other = [each[0].document or {} for each in found]
    assert (yielded["picks"], operation(yielded)) == (other["picks"], operation(other))
    assert yielded[WRITE_PROPERTY] != other[WRITE_PROPERTY]


@pytest.mark.parametrize("digest", [HIGHEST, LOWEST])
async def test_a_deletion_beside_a_change_is_tried_again(
    store: Store, direct: Store, proxy: FaultProxy, digest: str
) -> None:
    """It deletes what the other one wrote; nothing comes back."""
    fruit = await store.create(Fruit())
    proxy.faults.append(Fault(beside(direct, digest), method="PUT"))
    await store.delete(Fruit, fruit.fruit_id)
    assert await live(direct, fruit) == []
    with pytest.raises(DocumentNotFound):
        await direct.get(Fruit, fruit.fruit_id)


@pytest.mark.parametrize("merging", [False, True])
async def test_another_attempt_at_a_change_is_dropped(store: Store, direct: Store, merging: bool) -> None:
    """A copy of it that appears late is neither merged nor kept: by the reconciler, and by whoever writes next."""
    fruit = await store.create(Fruit())
    base = (await live(direct, fruit))[0]
    changed = await store.update(Fruit, fruit.fruit_id, pick(7))
    await store.update(Fruit, fruit.fruit_id, pick(8))
    token = changed._stored[WRITE_PROPERTY].rpartition(".")[2]
    await graft(direct, plain(base, picks=[7]), base, HIGHEST, token[:6] + "tardy0")
    assert len(await live(direct, fruit)) == 2
    if merging:
        result = await direct.reconciliation.reconcile(Fruit, fruit.fruit_id)
        assert (result.merged, result.deleted) == (0, 1)
    else:
        await direct.update(Fruit, fruit.fruit_id, pick(9))
    assert [each["picks"] for each in await live(direct, fruit)] == [[7, 8] if merging else [7, 8, 9]]


async def test_a_beaten_write_needs_no_list_of_revisions(store: Store, direct: Store, proxy: FaultProxy) -> None:
    """Where many leaves are likely: the operations that the winning revision keeps show that this one is not there."""
    fruit = await store.create(Fruit())
    store.database.server.contended = True
    met: list[int] = []

    async def meet(found: Fruit) -> None:
        if not met:
            met.append(1)
            await direct.update(Fruit, fruit.fruit_id, pick(1))
        found.picks.append(7)

    await store.update(Fruit, fruit.fruit_id, meet)
    assert (await direct.get(Fruit, fruit.fruit_id)).picks == [1, 7]
    assert not [each.target for each in proxy.requests if "revs=true" in each.target]


async def test_writes_that_meet_others_prefer_one_node(
    server_url: str, proxy: FaultProxy, direct: Store, options: dict[str, Any]
) -> None:
    """That of the document, which is the same for every process, although all other requests go to the first."""
    async with FaultProxy(server_url) as second:
        nodes = [proxy.url, second.url]
        async with Couch(nodes) as couch, Couch(nodes, writes="by-document") as by_document:
            fruit = await direct.create(Fruit())
            while by_document.place(fruit.fruit_id) != 2:
                fruit = await direct.create(Fruit())
            store = Store(couch[direct.database.name], retry=Retry(base=0.001), **options)
            met: list[int] = []

            async def meet(found: Fruit) -> None:
                if not met:
                    met.append(1)
                    await direct.update(Fruit, fruit.fruit_id, pick(1))
                found.picks.append(7)

            await store.update(Fruit, fruit.fruit_id, meet)
            await store.create(Fruit())
    puts = [[each.method for each in node.requests].count("PUT") for node in (proxy, second)]
    assert puts == [2, 1]
    assert (await direct.get(Fruit, fruit.fruit_id)).picks == [1, 7]


async def test_writes_of_one_process_take_turns(
    store: Store, direct: Store, proxy: FaultProxy, options: dict[str, Any]
) -> None:
    """No two of one document are under way at once, whichever store sends them; none is lost."""
    fruit = await store.create(Fruit())
    under_way, most = 0, 0

    async def counted(call: Call, forward: Forward) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        said = await forward()
        await asyncio.sleep(0)
        under_way -= 1
        await call.send(said)

    proxy.faults.append(Fault(counted, method="PUT", times=None))
    alone = Store(store.database, retry=store.retry, grouping=False, **options)
    await asyncio.gather(*((store, alone)[n % 2].update(Fruit, fruit.fruit_id, pick(n)) for n in range(12)))
    assert most == 1
    assert sorted((await direct.get(Fruit, fruit.fruit_id)).picks) == list(range(12))
