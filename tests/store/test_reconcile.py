"""Conflicted documents in real databases: found, merged, and the same wherever they are merged."""

from __future__ import annotations

from tornado_couch import Database, install
from tornado_couch.models import CONFLICTS_VIEW


async def test_the_view_of_conflicts_has_each_document_in_conflict_once(database: Database) -> None:
    """A deleted leaf is no conflict, nor is a document that was merely changed."""
    await install(database.server, database.name, [])  # type: ignore[arg-type]
    await database.bulk_docs([{"_id": "conflict", "type": "a_v1.0"}, {"_id": "alone"}, {"_id": "beside-a-tombstone"}])
    other = "1-" + "f" * 32
    await database.bulk_docs(
        [
            {"_id": "conflict", "_rev": other, "type": "a_v1.1"},
            {"_id": "beside-a-tombstone", "_rev": other, "_deleted": True},
        ],
        new_edits=False,
    )
    rows = (await database.view(CONFLICTS_VIEW, CONFLICTS_VIEW, reduce=False)).rows
    assert [(row.id, row.key) for row in rows] == [("conflict", "a_v1.1")]
