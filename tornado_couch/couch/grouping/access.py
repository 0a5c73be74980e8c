"""How single documents of a database are read and written: each with a request of its own, or in groups."""

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
        """A document's winning revision at least, or what says that there is none; see `GroupedReads.leaves`.

        Args:
            document_id: the document's `_id`.
            revs: also give each leaf's `_revisions`.
            every: all leaves are needed.
        """
        ...

    async def ids(self, design: str, view: str, key: Any) -> list[str]:
        """The ids of the documents that a view has under this very key, in order; see `GroupedReads.ids`."""
        ...

    async def put(self, document: Mapping[str, Any], /) -> WriteResult:
        """Writes a document, perhaps together with others; see `Database.put` and `GroupedWrites.put`."""
        ...

    async def put_alone(self, document: Mapping[str, Any], /) -> WriteResult:
        """Writes a document with a request of its own; see `Database.put`."""
        ...

    async def bulk_docs(self, documents: Sequence[Mapping[str, Any]], /) -> BulkResults:
        """Writes many documents; see `Database.bulk_docs`."""
        ...

    async def bulk_get(self, wanted: Sequence[str | tuple[str, str]], /, *, revs: bool = False) -> list[list[Leaf]]:
        """Reads many documents; see `Database.bulk_get`."""
        ...


class _Many:
    """What every way has: one document alone, and many at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put_alone(self, document: Mapping[str, Any], /) -> WriteResult:
        """Writes a document with a request of its own; see `Database.put`."""
        return await self._database.put(document)

    async def bulk_docs(self, documents: Sequence[Mapping[str, Any]], /) -> BulkResults:
        """Writes many documents; see `Database.bulk_docs`."""
        return await self._database.bulk_docs(documents)

    async def bulk_get(self, wanted: Sequence[str | tuple[str, str]], /, *, revs: bool = False) -> list[list[Leaf]]:
        """Reads many documents; see `Database.bulk_get`."""
        return await self._database.bulk_get(wanted, revs=revs)


class Single(_Many):
    """Each read and write is a request of its own.

    Args:
        database: what to read and write.
    """

    async def put(self, document: Mapping[str, Any], /) -> WriteResult:
        """Writes a document."""
        return await self.put_alone(document)

    async def leaves(self, document_id: str, *, revs: bool = False, every: bool = False) -> list[Leaf]:
        """The winning revision; of a deleted document, or if they are needed, all leaves."""
        names.check_id(document_id)
        if every:
            return (await self._database.bulk_get([document_id], revs=revs))[0]
        return await read_alone(self._database, document_id, revs=revs)

    async def ids(self, design: str, view: str, key: Any) -> list[str]:
        """The ids of the documents with this key."""
        rows = (await self._database.view(design, view, key=key, reduce=False)).rows
        # CouchDB takes some texts of different letters for equal; those were not asked for.
        return list(dict.fromkeys(row.id for row in rows if row.id and key_text(row.key) == key_text(key)))


class Grouped(_Many):
    """Concurrent reads leave together, and so do concurrent lookups and writes.

    Args:
        database: what to read and write.
        limits: how large groups become.
        on_conflict: is told of documents in conflict that are read.
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
    """The way to a database's single documents.

    Args:
        database: what to read and write.
        grouping: False for a request each; True for groups; or how large they become.
        on_conflict: is told of documents in conflict that are read in groups.
    """
    if grouping is False:
        return Single(database)
    return Grouped(database, None if grouping is True else grouping, on_conflict)
