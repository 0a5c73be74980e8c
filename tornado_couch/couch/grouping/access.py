"""How single documents of a database are read and written: each with its own request, or in groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from .. import names
from ..bulk import BulkResults, Leaf
from ..database import Database, WriteResult
from ..scheduler import GroupLimits
from .reads import ConflictNoticed, GroupedReads, key_text, read_alone
from .writes import GroupedWrites

__all__ = ["Access", "Grouped", "Single", "access"]


class Access(Protocol):
    """Reads and writes single documents of a database. Every call raises the errors of `Exchange.call`."""

    async def leaves(self, document_id: str, *, revs: bool = False, every: bool = False) -> list[Leaf]:
        """Read at least a document's winning revision, or the entry that says it is missing; see `GroupedReads.leaves`.

        Args:
            document_id: the document's `_id`.
            revs: also return the `_revisions` of each leaf.
            every: whether all leaves are needed.
        """
        ...

    async def ids(self, design: str, view: str, key: Any) -> list[str]:
        """Look up the ids of the documents that a view lists under exactly this key; see `GroupedReads.ids`."""
        ...

    async def put(self, document: Mapping[str, Any], /) -> WriteResult:
        """Writes a document, perhaps together with others; see `Database.put` and `GroupedWrites.put`."""
        ...

    async def put_alone(self, document: Mapping[str, Any], /) -> WriteResult:
        """Writes a document with a request of its own; see `Database.put`."""
        ...

    async def bulk_docs(self, documents: Sequence[Mapping[str, Any]], /) -> BulkResults:
        """Write many documents; see `Database.bulk_docs`."""
        ...

    async def bulk_get(self, wanted: Sequence[str | tuple[str, str]], /, *, revs: bool = False) -> list[list[Leaf]]:
        """Read many documents; see `Database.bulk_get`."""
        ...


class _Many:
    """What every way has: one document alone, and many at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put_alone(self, document: Mapping[str, Any], /) -> WriteResult:
        """Writes a document with a request of its own; see `Database.put`."""
        return await self._database.put(document)

    async def bulk_docs(self, documents: Sequence[Mapping[str, Any]], /) -> BulkResults:
        """Write many documents; see `Database.bulk_docs`."""
        return await self._database.bulk_docs(documents)

    async def bulk_get(self, wanted: Sequence[str | tuple[str, str]], /, *, revs: bool = False) -> list[list[Leaf]]:
        """Read many documents; see `Database.bulk_get`."""
        return await self._database.bulk_get(wanted, revs=revs)


class Single(_Many):
    """Makes a request of its own for each read and write.

    Args:
        database: the database to read and write.
    """

    async def put(self, document: Mapping[str, Any], /) -> WriteResult:
        """Writes a document."""
        return await self.put_alone(document)

    async def leaves(self, document_id: str, *, revs: bool = False, every: bool = False) -> list[Leaf]:
        """Read the winning revision; or all leaves, if the document is deleted or `every` is set."""
        names.check_id(document_id)
        return await read_alone(self._database, document_id, revs=revs, conflicts=True, every=every)

    async def ids(self, design: str, view: str, key: Any) -> list[str]:
        """Look up the ids of the documents with this key."""
        rows = (await self._database.view(design, view, key=key, reduce=False)).rows
        # CouchDB considers some different texts equal; rows with those keys were not requested.
        return list(dict.fromkeys(row.id for row in rows if row.id and key_text(row.key) == key_text(key)))


class Grouped(_Many):
    """Joins concurrent reads into one request, and does the same for lookups and writes.

    Args:
        database: the database to read and write.
        limits: how large groups may become.
        on_conflict: receives documents in conflict that are read.
    """

    def __init__(
        self, database: Database, limits: GroupLimits | None = None, on_conflict: ConflictNoticed | None = None
    ) -> None:
        super().__init__(database)
        limits = limits or GroupLimits()
        self.reads = GroupedReads(database, limits, on_conflict)
        self.writes = GroupedWrites(database, limits)
        self.leaves = self.reads.leaves
        self.ids = self.reads.ids
        self.put = self.writes.put


def access(
    database: Database, grouping: bool | GroupLimits = True, on_conflict: ConflictNoticed | None = None
) -> Single | Grouped:
    """Choose how to read and write a database's single documents.

    Args:
        database: the database to read and write.
        grouping: False to make a request for each; True for groups; or how large these may become.
        on_conflict: receives documents in conflict that are read in groups.
    """
    if grouping is False:
        return Single(database)
    return Grouped(database, None if grouping is True else grouping, on_conflict)
