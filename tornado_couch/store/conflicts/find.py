"""Finds documents in conflict: in the view that lists them all, and in the changes feed as they appear."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from ...couch import Database, Leaf
from ...models import CONFLICTS_VIEW, DocumentType
from ...revision import rank

__all__ = ["ConflictPage", "Conflicted", "conflicts_among", "conflicts_in_view", "conflicts_since"]

_AT_ONCE = 100  # documents whose leaves are read together


@dataclass(frozen=True)
class Conflicted:
    """A document in conflict.

    Attributes:
        id: the document's id.
        type_name: the name of the winning leaf's type, without the version; empty where it has none.
    """

    id: str
    type_name: str


@dataclass(frozen=True)
class ConflictPage:
    """One part of the documents that were searched.

    Attributes:
        conflicts: the documents in conflict.
        examined: the ids of the documents that were looked at.
        since: the sequence of the changes feed to go on from; None if the documents come from the view.
        pending: how many changes follow, if CouchDB says so.
    """

    conflicts: list[Conflicted]
    examined: list[str]
    since: str | int | None = None
    pending: int | None = None


async def conflicts_since(
    database: Database, since: str | int = 0, *, page_size: int = 500
) -> AsyncIterator[ConflictPage]:
    """Find the documents in conflict among those that changed since a sequence, to the end of the feed.

    Args:
        database: the database to search.
        since: a `ConflictPage.since`; 0 for all changes.
        page_size: how many changes to read at a time.
    """
    async for page in database.changes_pages(since=since, page_size=page_size, style="all_docs"):
        # A document with a single leaf has no conflict; of several leaves, some may be deleted.
        several = [each.id for each in page.results if len(each.revisions) > 1 and not each.deleted]
        found = await conflicts_among(database, several)
        yield ConflictPage(found, [each.id for each in page.results], page.last_seq, page.pending)


async def conflicts_in_view(database: Database, *, page_size: int = 500) -> AsyncIterator[ConflictPage]:
    """Find all documents in conflict, with the view that `install` creates.

    Raises:
        NotFound: the view is not installed.
    """
    ids: list[str] = []
    async for row in database.iterate_view(CONFLICTS_VIEW, CONFLICTS_VIEW, page_size=page_size, reduce=False):
        ids.append(row.id or "")
        if len(ids) >= page_size:
            yield ConflictPage(await conflicts_among(database, ids), ids)
            ids = []
    if ids:
        yield ConflictPage(await conflicts_among(database, ids), ids)


async def conflicts_among(database: Database, ids: Sequence[str]) -> list[Conflicted]:
    """The documents that are in conflict among those with the given ids; design documents are skipped."""
    wanted = [each for each in ids if not each.startswith("_")]
    found: list[Conflicted] = []
    for start in range(0, len(wanted), _AT_ONCE):
        part = wanted[start : start + _AT_ONCE]
        for document_id, leaves in zip(part, await database.bulk_get(part), strict=True):
            live = _live(leaves)
            if len(live) > 1:
                found.append(Conflicted(document_id, live[0]))
    return found


def _live(leaves: Sequence[Leaf]) -> list[str]:
    """The names of the types of the leaves that are not deleted, the winning one's first."""
    documents = [each.document for each in leaves if each.document and not each.document.get("_deleted")]
    documents.sort(key=lambda each: rank(each["_rev"]), reverse=True)
    types = [DocumentType.parse(each.get("type")) for each in documents]
    return [each.name if each else "" for each in types]
