"""A call that has no company: a request of its own kind, and the same outcome as in a group."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from tornado_couch import Couch, Database
from tornado_couch.couch import FakeTransport, Grouped, Leaf
from tornado_couch.couch.observer import Observer
from tornado_couch.errors import Conflict, InvalidReply, NotFound

VIEW = {"views": {"v": {"map": "function (doc) { if (doc.n !== undefined) emit(doc.n, null); }"}}}


class Sent(Observer):
    """What was sent."""

    def __init__(self) -> None:
        self.requests: list[str] = []

    def exchange_began(self, method: str, template: str) -> None:
        self.requests.append(f"{method} {template}")


@pytest.fixture
def sent(couch: Couch) -> Sent:
    sent = Sent()
    couch.observe(sent)
    return sent


async def in_conflict(database: Database, *, deleted: bool = False) -> None:
    """A document "d" with two leaves on one parent; or with the lesser of them deleted."""
    start = {"_id": "d", "_rev": "1-0", "_revisions": {"start": 1, "ids": ["0" * 32]}}
    leaves: list[dict[str, Any]] = [
        {**start, "_rev": f"2-{each * 32}", "_revisions": {"start": 2, "ids": [each * 32, "0" * 32]}, "n": each}
        for each in "ab"
    ]
    if deleted:
        leaves[0]["_deleted"] = True
    await database.bulk_docs(leaves, new_edits=False)


async def test_a_read_by_itself_is_a_plain_get(database: Database, sent: Sent) -> None:
    """It costs CouchDB less than a `_bulk_get` of one document; two at once are one `_bulk_get`."""
    await database.put({"_id": "a", "n": 1})
    reads = Grouped(database)
    del sent.requests[:]
    (leaf,) = await reads.leaves("a")
    assert sent.requests == ["GET /{db}/{id}"]
    await asyncio.gather(reads.leaves("a"), reads.leaves("b"))
    assert sent.requests[1:] == ["POST /{db}/_bulk_get"]
    assert leaf.document == await database.get("a")


@pytest.mark.parametrize("name", ["a", "gone", "none", "d", "é/%2F..", "l" * 1500])
async def test_alone_or_in_company_the_answer_is_the_same(database: Database, name: str) -> None:
    """There, deleted, never there, in conflict, with any name: leaves, tombstones and reasons."""
    for each in ("a", "é/%2F..", "l" * 1500):
        await database.put({"_id": each, "n": 1})
    gone = await database.put({"_id": "gone"})
    await database.delete("gone", gone.rev)
    await in_conflict(database)
    reads = Grouped(database)
    alone = await reads.leaves(name)
    together, _ = await asyncio.gather(reads.leaves(name), reads.leaves("other"))
    assert sorted(alone, key=str) == sorted(together, key=str)


async def test_a_conflict_is_noticed_by_a_read_that_is_alone(database: Database) -> None:
    """The reconciler is told of all the leaves, as it is of those that a group brings."""
    await in_conflict(database)
    noticed: list[tuple[str, Sequence[Leaf]]] = []
    leaves = await Grouped(database, on_conflict=lambda name, found: noticed.append((name, found))).leaves("d")
    assert sorted(each.document["n"] for each in leaves if each.document) == ["a", "b"]
    assert noticed == [("d", leaves)]


async def test_all_leaves_come_where_all_are_needed(database: Database) -> None:
    """Deleted ones as well, which a plain GET does not tell of."""
    await in_conflict(database, deleted=True)
    reads = Grouped(database)
    assert [each.document["n"] for each in await reads.leaves("d") if each.document] == ["b"]
    every = await reads.leaves("d", revs=True, every=True)
    assert sorted(each.rev or "" for each in every) == [f"2-{each * 32}" for each in "ab"]
    assert all(each.document and "_revisions" in each.document for each in every)


async def test_a_missing_database_is_no_missing_document(couch: Couch, database: Database) -> None:
    """The read fails, whether it is alone or not."""
    reads = Grouped(couch[f"{database.name}-none"])
    with pytest.raises(NotFound, match="Database does not exist"):
        await reads.leaves("a")


async def test_a_lookup_by_itself_asks_for_one_key(database: Database, sent: Sent) -> None:
    """Keys that CouchDB takes for equal are told apart there too."""
    await database.put({"_id": "_design/d", **VIEW})
    for name, key in (("a", 1), ("b", 1.0), ("c", "é"), ("d", "e\u0301"), ("e", None)):
        await database.put({"_id": name, "n": key})
    reads = Grouped(database)
    del sent.requests[:]
    assert [await reads.ids("d", "v", key) for key in (1, "é", None, "none")] == [["a", "b"], ["c"], ["e"], []]
    assert set(sent.requests) == {"GET /{db}/_design/{ddoc}/_view/{view}"}
    found = await asyncio.gather(reads.ids("d", "v", "é"), reads.ids("d", "v", 1))
    assert found == [["c"], ["a", "b"]]


async def test_a_write_by_itself_is_a_plain_put(database: Database, sent: Sent) -> None:
    """New, replaced, deleted, in conflict, with a long or strange name: as in company, where it is a `_bulk_docs`."""
    writes = Grouped(database)
    for name in ("a", "é/%2F..", "l" * 1500):
        made = await writes.put({"_id": name, "n": 1})
        changed = await writes.put({"_id": name, "_rev": made.rev, "n": 2})
        with pytest.raises(Conflict):
            await writes.put({"_id": name, "_rev": made.rev, "n": 3})
        assert (await database.get(name)) == {"_id": name, "_rev": changed.rev, "n": 2}
        gone = await writes.put({"_id": name, "_rev": changed.rev, "_deleted": True})
        assert (gone.id, gone.rev[:2]) == (name, "3-")
        assert await database.revision(name) is None
    assert sent.requests[:3] == ["PUT /{db}/{id}"] * 3
    assert "POST /{db}/_bulk_docs" in sent.requests  # the one whose address would be too long
    del sent.requests[:]
    await asyncio.gather(writes.put({"_id": "b"}), writes.put({"_id": "c"}))
    assert sent.requests == ["POST /{db}/_bulk_docs"]


async def test_an_answer_about_another_document_is_refused() -> None:
    """As in a group: a proxy that mixes up answers must not make one document's success another's."""
    for other in ({"_id": "b", "_rev": "1-a"}, {"_id": "a"}):
        transport = FakeTransport([FakeTransport.reply(200, json.dumps(other).encode())])
        with pytest.raises(InvalidReply):
            await Grouped(Couch("http://couch", transport=transport)["db"]).leaves("a")
    result = json.dumps({"ok": True, "id": "b", "rev": "1-a"}).encode()
    transport = FakeTransport([FakeTransport.reply(201, result)])
    with pytest.raises(InvalidReply):
        await Grouped(Couch("http://couch", transport=transport)["db"]).put({"_id": "a"})
