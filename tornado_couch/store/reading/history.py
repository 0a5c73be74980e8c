"""Reading models that keep their history: pages of documents as they are now, and the versions of one document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from ...couch import Database
from ...models import Model, model_info, version_of, version_prefix
from ..protection.conversion import Conversion
from ..query import Query
from .planner import planned
from .reader import Page, Reader, neighbours
from .scan import Position
from .version_lists import HistoryPages
from .versions import Versions

__all__ = ["HistoryReader"]

M = TypeVar("M", bound=Model)
Document = dict[str, Any]


class HistoryReader:
    """Reads models that keep their history from one database.

    Args:
        database: where the documents are.
        reader: reads the documents by their ids.
        conversion: converts documents to models.

    Attributes:
        versions: finds single versions.
    """

    def __init__(self, database: Database, reader: Reader, conversion: Conversion) -> None:
        self._reader = reader
        self._conversion = conversion
        self.versions = Versions(database, reader.within, reader.few)
        self._lists = HistoryPages(database, self.versions)

    async def page(
        self, cls: type[M], query: Query, *, limit: int, start: Position | None, backward: bool, count: bool
    ) -> Page[M]:
        """A page of the documents that a query selects, each in its latest version; see `Reader.page`."""
        found = planned(self._conversion, cls, query)
        listed = await self._lists.read(found, limit=limit, start=start, backward=backward)
        behind = _behind([position for position, _ in listed.rows], start)
        documents = [document for _, document in listed.rows]
        if backward:
            documents.reverse()
        items, withheld = await self._reader.models(cls, found.query, documents, self._load)
        total = await self._lists.count(found) if count else None
        around = (listed.resume, behind) if backward else (behind, listed.resume)
        return Page(items, around[1], withheld, around[0], total)

    async def page_of_versions(
        self, cls: type[M], key: Any, *, limit: int, start: Position | None, backward: bool
    ) -> Page[M]:
        """A page of the versions of one document, the latest first; see `Store.versions`."""
        prefix = version_prefix(model_info(cls), key)
        ids = await self.versions.ids(prefix, limit=limit + 1, start=start, descending=not backward)
        more, rows, found = await self._reader.first_of([Position(None, each) for each in ids], limit)
        if backward:
            rows.reverse()
            found.reverse()
        previous, following = neighbours(rows, start, backward, more)
        items, withheld = await self._reader.models(cls, None, found, self._load)
        return Page(items, following, withheld, previous)

    async def _load(self, cls: type[M], document: Document) -> M:
        version_of(document)  # raises for a document that only has the id of a version
        return await self._conversion.from_store(cls, document)


def _behind(rows: Sequence[Position], start: Position | None) -> Position | None:
    """Where the rows before a page end, in the direction in which it was read."""
    if start is None:
        return None
    return rows[0] if rows else start._replace(inclusive=not start.inclusive)
