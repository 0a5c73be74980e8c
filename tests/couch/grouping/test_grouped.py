"""Grouped reads, lookups and writes against a server: each as if it were alone."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.faults import FaultServer, answer, hang_up, stall
from tornado_couch import Couch, Database
from tornado_couch.couch import Access, FakeTransport, Grouped, GroupLimits, Leaf, Request, Single, access
from tornado_couch.couch.observer import Observer
from tornado_couch.errors import (
    BadRequest,
    Conflict,
    CouchError,
    Forbidden,
    InvalidReply,
    NotFound,
    TooLarge,
    TotalTimeout,
    Unavailable,
)
from tornado_couch.store.protection.signatures import winner

GUARD = "function (doc) { if (doc.bad) throw({forbidden: 'bad ' + doc.bad}); }"
VIEW = {"views": {"v": {"map": "function (doc) { if (doc.n !== undefined) emit(doc.n, null); }"}}}


class Groups(Observer):
    """Counts what leaves."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []
        self.bytes: list[int] = []

    def grouped(self, kind: str, size: int, content_bytes: int) -> None:
        self.seen.append((kind, size))
        self.bytes.append(content_bytes)

    def of(self, kind: str) -> list[int]:
        return [size for each, size in self.seen if each == kind]


@pytest.fixture
def groups(couch: Couch) -> Groups:
    groups = Groups()
    couch.observe(groups)
    return groups


@pytest.fixture
def grouped(database: Database) -> Grouped:
    return Grouped(database)


def alive(leaves: list[Leaf]) -> dict[str, Any] | None:
    return winner(leaves)


async def test_concurrent_reads_are_one_request_and_each_gets_its_own(
    database: Database, grouped: Grouped, groups: Groups
) -> None:
    """Missing, deleted and equal ones among them; the same documents as single reads."""
    results = await database.bulk_docs([{"_id": f"d{n}", "n": n} for n in range(5)])
    await database.delete("d4", results[4].rev or "")
    ids = ["d0", "d1", "none", "d4", "d1", "d2", "d3"]
    found = await asyncio.gather(*(grouped.leaves(each) for each in ids))
    assert groups.seen == [("read", 6)]
    assert [alive(each) for each in found] == [
        None if each in ("none", "d4") else await database.get(each) for each in ids
    ]
    assert found[1] == found[4]
    assert found[1][0].document is not found[4][0].document
    assert groups.bytes == [
        len(json.dumps({"docs": [{"id": each} for each in dict.fromkeys(ids)]}, separators=(",", ":")))
    ]


async def test_documents_come_as_a_single_read_gives_them(database: Database, grouped: Grouped) -> None:
    """Attachments as stubs, members in order, numbers and names of any kind, with revisions if asked for."""
    attached = {"a.txt": {"content_type": "text/plain", "data": "aGVsbG8="}}
    body = {"z": 1, "a": [1.5, None, True, "é\u2028"], "big": 2**70, "ü": {"": []}, "_attachments": attached}
    for name in ("plain", "a/b c", "é:%", ".."):
        await database.put({"_id": name, **body})
        single, mine = await database.get(name), alive(await grouped.leaves(name))
        assert (mine, list(mine or {})[2:]) == (single, list(single)[2:])
        with_revisions = alive(await grouped.leaves(name, revs=True))
        assert with_revisions == await database.get(name, revs=True)


async def test_writes_that_are_made_together_each_have_their_own_outcome(
    database: Database, grouped: Grouped, groups: Groups
) -> None:
    """New, replaced, deleted, in conflict, forbidden: as a single request would have said."""
    await database.put({"_id": "_design/guard", "validate_doc_update": GUARD})
    old = await database.put({"_id": "old"})
    gone = await database.put({"_id": "gone"})
    outcomes = await asyncio.gather(
        grouped.put({"_id": "new", "n": 1}),
        grouped.put({"_id": "old", "_rev": old.rev, "n": 2}),
        grouped.put({"_id": "gone", "_rev": gone.rev, "_deleted": True}),
        grouped.put({"_id": "old2", "_rev": old.rev}),
        grouped.put({"_id": "wrong", "bad": 7}),
        return_exceptions=True,
    )
    assert groups.of("write") == [5]
    new, replaced, deleted, conflict, refused = outcomes
    assert (await database.get("new"))["_rev"] == getattr(new, "rev", None)
    assert (await database.get("old"))["n"] == 2
    assert getattr(replaced, "accepted", None) is False
    assert getattr(deleted, "rev", "").startswith("2-")
    assert await database.revision("gone") is None
    for outcome, document in ((conflict, {"_id": "old2", "_rev": old.rev}), (refused, {"_id": "wrong", "bad": 7})):
        with pytest.raises(CouchError) as alone:
            await database.put(document)
        assert (type(outcome), str(outcome)) == (type(alone.value), str(alone.value))
    assert (type(conflict), type(refused)) == (Conflict, Forbidden)


async def test_a_group_that_couchdb_refuses_leaves_each_document_in_doubt(
    database: Database, grouped: Grouped, groups: Groups
) -> None:
    """CouchDB refuses the whole request for one member; sent alone, that one has its error and the others do not."""
    documents: list[dict[str, Any]] = [{"_id": f"d{n}"} for n in range(9)]
    documents[3]["_unknown"] = 1
    documents[7]["_rev"] = "no revision"
    outcomes = await asyncio.gather(*(grouped.put(each) for each in documents), return_exceptions=True)
    assert [type(each) for each in outcomes] == [BadRequest] * 9
    assert {each.in_doubt for each in outcomes if isinstance(each, BadRequest)} == {tuple(f"d{n}" for n in range(9))}
    alone = await asyncio.gather(*(grouped.put_alone(each) for each in documents), return_exceptions=True)
    refused = [each for each in alone if isinstance(each, BaseException)]
    assert [(type(each), getattr(each, "in_doubt", None)) for each in refused] == [(BadRequest, ())] * 2
    assert (await database.info())["doc_count"] == 7


async def test_two_writes_to_one_document_never_share_a_group(
    database: Database, grouped: Grouped, groups: Groups
) -> None:
    """Made at once, they are two requests, of which one meets a conflict."""
    outcomes = await asyncio.gather(
        *(grouped.put({"_id": "same", "n": n}) for n in range(3)), grouped.put({"_id": "other"}), return_exceptions=True
    )
    assert sorted(groups.of("write")) == [1, 1, 2]
    assert sum(isinstance(each, Conflict) for each in outcomes) == 2


async def test_a_read_that_starts_after_a_write_was_acknowledged_sees_it(grouped: Grouped) -> None:
    """Whatever reads are under way or wait: 16 writers check each of their writes, beside readers."""
    done = False

    async def reader() -> None:
        while not done:
            await grouped.leaves("w0")

    async def writer(number: int) -> None:
        name, rev = f"w{number}", None
        for n in range(15):
            rev = (await grouped.put({"_id": name, "n": n, **({"_rev": rev} if rev else {})})).rev
            found = alive(await grouped.leaves(name))
            assert found is not None
            assert (found["_rev"], found["n"]) == (rev, n)

    readers = [asyncio.create_task(reader()) for _ in range(8)]
    await asyncio.gather(*(writer(number) for number in range(16)))
    done = True
    await asyncio.gather(*readers)


async def test_lookups_by_key_are_one_query(database: Database, grouped: Grouped, groups: Groups) -> None:
    """Keys of any kind, some without rows, some with several; texts that CouchDB takes for equal are told apart."""
    await database.put({"_id": "_design/v", **VIEW})
    keys: list[Any] = [1, 1.5, "a", "a\u200b", "A", None, False, [1, {"x": 2}], "é", "twice", "twice"]
    await database.bulk_docs([{"_id": f"k{index:02}", "n": key} for index, key in enumerate(keys)])
    asked = [*keys, "none", 1.0]
    found = await asyncio.gather(*(grouped.ids("v", "v", key) for key in asked))
    assert groups.of("lookup") == [11]
    for key, ids in zip(asked, found, strict=True):
        wanted = [f"k{index:02}" for index, each in enumerate(keys) if json.dumps(each) == json.dumps(key)]
        assert ids == (["k00"] if key == 1.0 and key is not False else wanted)


async def test_conflicts_that_are_read_are_passed_on(database: Database) -> None:
    """With the winner that CouchDB names; a document whose other leaves are deleted is in no conflict."""
    noticed: list[tuple[str, int]] = []
    grouped = Grouped(database, on_conflict=lambda id_, leaves: noticed.append((id_, len(leaves))))
    for name, digests, deleted in (("clash", "abc", "c"), ("calm", "ab", "b")):
        for digest in digests:
            document = {"_id": name, "_rev": f"1-{digest * 32}", "_deleted": digest == deleted, "from": digest}
            await database.bulk_docs([document], new_edits=False)
    found = [alive(await grouped.leaves(name)) for name in ("clash", "calm")]
    assert found == [await database.get("clash", conflicts=True), await database.get("calm", conflicts=True)]
    assert noticed == [("clash", 3)]


@pytest.mark.parametrize("grouping", [False, True])
async def test_both_ways_say_the_same(couch: Couch, database: Database, grouping: bool) -> None:
    """Of what is there, missing, deleted, and impossible; where there is no database, too."""
    way: Access = access(database, grouping)
    rev = (await way.put({"_id": "a", "n": 1})).rev
    first = (await way.leaves("a"))[0]
    assert (first.rev, first.document) == (rev, {"_id": "a", "_rev": rev, "n": 1})
    assert [(each.document, each.error, each.reason) for each in await way.leaves("b")] == [
        (None, "not_found", "missing")
    ]
    gone = (await way.put({"_id": "a", "_rev": rev, "_deleted": True})).rev
    assert [each.document for each in await way.leaves("a")] == [{"_id": "a", "_rev": gone, "_deleted": True}]
    for impossible in ("", "_a", "_design/a", "\ud800"):
        with pytest.raises(ValueError, match="id"):
            await way.leaves(impossible)
        with pytest.raises(ValueError, match="id"):
            await access(database, True).put({"_id": impossible})
    await database.put({"_id": "_design/v", **VIEW})
    assert await way.ids("v", "v", "none") == []
    with pytest.raises(NotFound):
        await way.ids("v", "other", 1)
    nowhere = access(couch["nowhere-at-all"], grouping)
    for call in (nowhere.leaves("a"), nowhere.put({"_id": "a"}), nowhere.ids("v", "v", 1)):
        with pytest.raises(NotFound):
            await call


async def test_an_outage_is_told_to_each_caller_and_nothing_is_sent_twice() -> None:
    """A write whose answer was lost is lost for each of the group."""
    async with FaultServer(hang_up) as server, Couch(server.url) as couch:
        grouped = Grouped(couch["a"])
        outcomes = await asyncio.gather(*(grouped.put({"_id": f"d{n}"}) for n in range(4)), return_exceptions=True)
        assert [(type(each), each.sent) for each in outcomes if isinstance(each, Unavailable)] == [
            (Unavailable, True)
        ] * 4
        assert [request.target for request in server.requests] == ["/a/_bulk_docs"]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, {"error": "badmatch", "reason": "x"}, Unavailable),
        (503, {"error": "maintenance", "reason": "x"}, Unavailable),
        (401, {"error": "unauthorized", "reason": "x"}, CouchError),
        (201, [{"id": "other", "rev": "1-a"}], InvalidReply),
        (201, {"ok": True}, InvalidReply),
    ],
)
async def test_what_is_about_the_whole_group_is_each_callers(status: int, body: Any, error: type[Exception]) -> None:
    """It is sent once."""
    async with FaultServer(answer(status, body)) as server, Couch(server.url) as couch:
        grouped = Grouped(couch["a"])
        outcomes = await asyncio.gather(*(grouped.put({"_id": f"d{n}"}) for n in range(4)), return_exceptions=True)
        assert all(isinstance(each, error) for each in outcomes)
        assert len(server.requests) == 1


async def test_a_shard_that_cannot_be_read_is_an_outage_and_not_a_missing_document() -> None:
    """CouchDB says so for each document of a `_bulk_get`."""
    results = [
        {"id": "a", "docs": [{"ok": {"_id": "a", "_rev": "1-a"}}]},
        {
            "id": "b",
            "docs": [{"error": {"id": "b", "rev": None, "error": "internal_fabric_error", "reason": "timeout"}}],
        },
    ]
    transport = FakeTransport([FakeTransport.reply(200, json.dumps({"results": results}).encode())])
    grouped = Grouped(Couch("http://couch", transport=transport)["db"])
    found, lost = await asyncio.gather(grouped.leaves("a"), grouped.leaves("b"), return_exceptions=True)
    assert isinstance(found, list)
    assert isinstance(lost, Unavailable)


async def test_a_refused_group_is_not_sent_again_by_itself() -> None:
    """Some of it may be stored: each caller is told which, and nothing is written a second time."""
    transport = FakeTransport([FakeTransport.reply(413, b'{"error":"document_too_large","reason":"d5"}')])
    grouped = Grouped(Couch("http://couch", transport=transport)["db"])
    outcomes = await asyncio.gather(*(grouped.put({"_id": f"d{n}"}) for n in range(16)), return_exceptions=True)
    assert {type(each) for each in outcomes} == {TooLarge}
    assert {each.in_doubt for each in outcomes if isinstance(each, TooLarge)} == {tuple(f"d{n}" for n in range(16))}
    assert len(transport.requests) == 1


async def test_large_documents_make_small_groups() -> None:
    """A read's content is expected to be as large as those before."""

    def reply(request: Request) -> Any:
        ids = [each["id"] for each in json.loads(request.body or b"")["docs"]]
        sizes.append(len(ids))
        docs = [{"id": each, "docs": [{"ok": {"_id": each, "_rev": "1-a", "x": "x" * 50_000}}]} for each in ids]
        return FakeTransport.reply(200, json.dumps({"results": docs}).encode())

    sizes: list[int] = []
    grouped = Grouped(Couch("http://couch", transport=FakeTransport(reply))["db"], GroupLimits(content_bytes=200_000))
    for round_ in range(20):
        await asyncio.gather(*(grouped.leaves(f"{round_}.{n}") for n in range(30)))
    assert sizes[0] == 30
    assert max(sizes[-7:]) <= 5


async def test_small_documents_are_read_in_groups_again_after_large_ones(database: Database, groups: Groups) -> None:
    """What is read alone counts as well: one large document would end the grouping for good."""
    names = [f"d{number}" for number in range(8)]
    await database.bulk_docs([{"_id": "large", "text": "x" * 3_000_000}, *({"_id": name} for name in names)])
    grouped = Grouped(database)
    await asyncio.gather(grouped.leaves("large"), grouped.leaves("d0"))
    for _ in range(40):
        await grouped.leaves("d0")
    del groups.seen[:]
    await asyncio.gather(*map(grouped.leaves, names))
    assert groups.of("read") == [8]


async def test_a_group_with_too_many_bytes_is_read_in_parts(database: Database, groups: Groups) -> None:
    """Sixty-four documents of 8 MB took 500 MB, and that several times."""
    texts = {f"d{number}": "x" * 700_000 for number in range(8)}
    await database.bulk_docs([{"_id": name, "text": text} for name, text in texts.items()])
    grouped = Grouped(database)
    found = await asyncio.gather(*map(grouped.leaves, texts))
    assert groups.of("read") == [8, 4, 4]
    assert [leaf.document and leaf.document["text"] for (leaf,) in found] == list(texts.values())
    assert all(leaf.size > 700_000 for (leaf,) in found)


async def test_a_database_with_time_limits_of_its_own_keeps_them_in_groups(server_url: str) -> None:
    """The limit is each caller's, from the call on."""
    async with FaultServer(stall) as server, Couch(server.url) as couch:
        grouped = Grouped(couch.database("a", timeout=0.05))
        outcomes = await asyncio.gather(grouped.leaves("a"), grouped.put({"_id": "b"}), return_exceptions=True)
        assert [type(each) for each in outcomes] == [TotalTimeout, TotalTimeout]


async def test_without_grouping_each_read_is_a_request(database: Database, groups: Groups) -> None:
    """It can be switched off."""
    single = Single(database)
    await asyncio.gather(*(single.put({"_id": f"d{n}"}) for n in range(3)))
    await asyncio.gather(*(single.leaves(f"d{n}") for n in range(3)))
    assert groups.seen == []
