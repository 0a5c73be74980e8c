"""The changes feed, page by page."""

from __future__ import annotations

from tornado_couch.couch import Database


async def test_pages_hold_each_document_once_and_end(database: Database) -> None:
    """With every leaf, tombstones and conflicts included."""
    for number in range(7):
        await database.put({"_id": f"d{number}"})
    await database.delete("d3", (await database.get("d3"))["_rev"])
    conflict = {"_id": "d5", "_rev": "1-ffff", "other": True}
    await database.bulk_docs([conflict], new_edits=False)
    pages = [page async for page in database.changes_pages(page_size=3, style="all_docs")]
    changes = [change for page in pages for change in page.results]
    assert sorted(change.id for change in changes) == [f"d{number}" for number in range(7)]
    assert {change.id for change in changes if change.deleted} == {"d3"}
    assert {change.id for change in changes if len(change.revisions) == 2} == {"d5"}
    assert pages[-1].pending == 0


async def test_the_last_sequence_is_where_to_go_on(database: Database) -> None:
    """Nothing of before comes again; what happens later comes, with its document on request."""
    await database.put({"_id": "before"})
    seen = await database.changes()
    assert (await database.changes(since=seen.last_seq)).results == []
    await database.put({"_id": "after", "x": 1})
    (change,) = (await database.changes(since=seen.last_seq, limit=1, include_docs=True)).results
    assert change.doc is not None
    assert change.doc["x"] == 1
    assert (await database.changes(since="now")).results == []
