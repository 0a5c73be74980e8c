"""Many documents with one request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tornado_couch import errors
from tornado_couch.couch import BulkResult, Couch, Database, FakeTransport, Leaf


def client(status: int, answer: Any) -> tuple[Database, FakeTransport]:
    """A database that gives this answer."""
    transport = FakeTransport(lambda request: FakeTransport.reply(status, json.dumps(answer).encode()))
    return Couch("http://couch", transport=transport)["db"], transport


async def test_each_document_succeeds_or_fails_by_itself(database: Database) -> None:
    """Results come in the order of the documents, conflicts among them; ids are made up where there is none."""
    first = await database.put({"_id": "a"})
    results = await database.bulk_docs(
        [{"_id": "b"}, {"_id": "a"}, {"n": 1}, {"_id": "a", "_rev": first.rev, "_deleted": True}]
    )
    assert [result.id for result in results][:2] == ["b", "a"]
    assert results[0].rev is not None
    assert results[1] == BulkResult("a", None, "conflict", "Document update conflict.")
    assert results[2].id
    assert results[3].rev is not None
    assert await database.revision("a") is None
    assert results.accepted is False


async def test_an_id_that_none_may_have_refuses_all(database: Database) -> None:
    """CouchDB takes none of the documents then."""
    with pytest.raises(errors.BadRequest) as caught:
        await database.bulk_docs([{"_id": "a"}, {"_id": "_bad"}])
    assert caught.value.error == "illegal_docid"
    assert await database.revision("a") is None


async def test_revisions_are_stored_as_they_are(database: Database) -> None:
    """`new_edits=False` makes conflicts, and tells only what was refused."""
    rivals = [{"_id": "a", "_rev": f"1-{digit}", "n": digit} for digit in ("a", "b")]
    results = await database.bulk_docs(rivals, new_edits=False)
    assert (list(results), results.accepted) == ([], False)
    document = await database.get("a", conflicts=True)
    assert (document["_rev"], document["_conflicts"]) == ("1-b", ["1-a"])


async def test_documents_come_with_all_their_leaves_in_the_order_asked_for(database: Database) -> None:
    """Conflicts, tombstones, single revisions, missing documents, and the same one twice."""
    await database.bulk_docs([{"_id": "two", "_rev": f"1-{digit}"} for digit in ("a", "b")], new_edits=False)
    gone = await database.put({"_id": "gone"})
    tombstone = await database.delete("gone", gone.rev)
    wanted: list[str | tuple[str, str]] = ["none", "two", ("two", "1-a"), ("two", "7-a"), "gone", "none", "two"]
    found = await database.bulk_get(wanted, revs=True)
    assert len(found) == len(wanted)
    assert found[0] == found[5] == [Leaf(None, None, "not_found", "missing")]
    assert sorted(str(leaf.rev) for leaf in found[1]) == ["1-a", "1-b"]
    assert found[1] == found[6]
    assert [leaf.rev for leaf in found[2]] == ["1-a"]
    assert found[3] == [Leaf(None, "7-a", "not_found", "missing")]
    document = found[4][0].document
    assert document is not None
    assert document["_deleted"] is True
    assert document["_revisions"] == {"start": 2, "ids": [tombstone.rev[2:], gone.rev[2:]]}


async def test_nothing_asked_for_is_no_request() -> None:
    """Empty lists are answered without CouchDB."""
    database, transport = client(200, None)
    assert await database.bulk_docs([]) == []
    assert await database.bulk_get([]) == []
    assert not transport.requests


async def test_results_in_another_order_are_put_right() -> None:
    """The documentation of `_bulk_get` promises no order, so ids decide."""
    results = [{"id": each, "docs": [{"ok": {"_id": each, "_rev": f"1-{each}"}}]} for each in ("b", "a")]
    database, _ = client(200, {"results": results})
    assert [leaves[0].rev for leaves in await database.bulk_get(["a", "b"])] == ["1-a", "1-b"]


@pytest.mark.parametrize(
    "results",
    [
        [],
        [{"id": "b", "docs": []}, {"id": "a", "docs": []}],
        [{"id": "b", "docs": []}],
        [{"id": "a"}],
        [{"id": "a", "docs": [{"what": 1}]}],
        [{"id": "a", "docs": [{"ok": {"_id": "a"}}]}],
        "results",
    ],
)
async def test_results_for_other_documents_are_nonsense(results: Any) -> None:
    """Documents never get mixed up: what does not fit the request is refused."""
    database, _ = client(200, {"results": results})
    with pytest.raises(errors.InvalidReply):
        await database.bulk_get(["a"])


@pytest.mark.parametrize(
    "results", [[], [{"id": "b", "rev": "1-a"}], [{"id": "a"}], [{"rev": "1-a"}], {"ok": True}, [{"id": "a"}, {}]]
)
async def test_results_of_other_writes_are_nonsense(results: Any) -> None:
    """A write is never reported by the result of another."""
    database, _ = client(201, results)
    with pytest.raises(errors.InvalidReply):
        await database.bulk_docs([{"_id": "a"}])


async def test_many_megabytes_go_at_once(database: Database) -> None:
    """Encoding a long list gives way to others between documents, and loses nothing."""
    documents = [{"_id": f"{n:03}", "text": "ä" * 20_000} for n in range(60)]
    results = await database.bulk_docs(documents)
    assert [result.error for result in results] == [None] * 60
    found = await database.bulk_get([document["_id"] for document in documents])
    assert [leaves[0].document["text"] for leaves in found if leaves[0].document] == ["ä" * 20_000] * 60
