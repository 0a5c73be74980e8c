"""Lists the documents of models that keep their history: each document once, in its latest version.

An index has a row for every version. A list of all documents in the order of their keys is read as groups, of which
each contains the number of the latest version: it costs one row per document, however many versions there are. A list
that is filtered or sorted by another property is read version by version, and a row counts if no version follows it.
So it costs one row for each version that has the value; if documents change often, a page may have fewer items than
its limit, and say where to continue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias, TypeVar

from ...couch import Database
from ...errors import InvalidDocument, InvalidSignature, LongReply, NoIndex
from ...models import Model, is_of, model_info, version_id, version_of, version_prefix
from ..protection.properties import Conversion
from ..query import Query
from .bearing import misplaced
from .planner import Plan, Planned, planned
from .reader import PAGE_BYTES, Page, Reader, neighbours
from .scan import ROWS_BYTES, Position, Walk, read_rows
from .versions import Found, Versions

__all__ = ["HistoryPages", "HistoryReader", "Listed"]

Document = dict[str, Any]

_MOST_ROWS = 2000  # to look at for one page, at least

_ROWS_AN_ITEM = 10

_FEWER = 8  # times, where that many rows have too many bytes

_COUNTED_AT_ONCE = 2000

_Found: TypeAlias = "Found | InvalidDocument"

_Pair: TypeAlias = "tuple[_Found, _Found]"  # a version, and the one that follows it

_Current: TypeAlias = "tuple[Position, Document | InvalidSignature | InvalidDocument]"


class Listed(NamedTuple):
    """A part of a list, in the direction in which it was read.

    Attributes:
        rows: the places of the documents with the documents, or with the errors if they must not be served.
        resume: where to continue; None at the end.
    """

    rows: list[_Current]
    resume: Position | None


class _Row(NamedTuple):
    """A version that may be the latest one of its document."""

    position: Position
    prefix: str
    number: int


class HistoryPages:
    """Lists documents that have versions.

    Args:
        database: where the documents are.
        versions: reads single versions.
    """

    def __init__(self, database: Database, versions: Versions) -> None:
        self._database = database
        self._versions = versions

    async def read(self, planned: Planned, *, limit: int, start: Position | None, backward: bool) -> Listed:
        """The documents that a query means, as they are now.

        Args:
            planned: the query and its plan.
            limit: how many at most.
            start: where to begin.
            backward: against the query's order.
        """
        try:
            return await self._read(planned, limit, start, backward)
        except LongReply:  # the rows have very long keys
            if limit == 1:
                raise
            return await self.read(planned, limit=max(1, limit // _FEWER), start=start, backward=backward)

    async def _read(self, planned: Planned, limit: int, start: Position | None, backward: bool) -> Listed:
        cls, query, plan = planned.cls, planned.query, planned.plan
        grouped = _is_grouped(cls, query)
        found: list[_Current] = []
        at, looked_at, more, left = start, 0, True, PAGE_BYTES
        while more and left and len(found) <= limit and looked_at < _MOST_ROWS + _ROWS_AN_ITEM * limit:
            if grouped:
                positions, rows = await self._groups(plan, query, at, backward, limit + 1)
            else:
                positions = await Walk(self._database, plan, at, backward).rows(limit + 1)
                rows = _latest_of_each(positions)
            more, looked_at = len(positions) > limit, looked_at + len(positions)
            at = positions[-1] if positions else at
            pairs, left = await self._pairs(cls, rows, left)
            if len(pairs) < len(rows):  # they have more bytes than one page holds
                more, left, at = True, 0, rows[len(pairs) - 1].position
            found += await (self._followed if grouped else self._current)(rows[: len(pairs)], pairs)
        if len(found) > limit:
            return Listed(found[:limit], found[limit - 1][0])
        return Listed(found, at if more else None)

    async def count(self, planned: Planned) -> int:
        """How many documents a query means, of those that are counted group by group: one row for each.

        Raises:
            NoIndex: the query uses other properties than the key; only versions could be counted by those.
        """
        cls, query, plan = planned.cls, planned.query, planned.plan
        if not _is_grouped(cls, query):
            raise NoIndex("documents that keep their history can only be counted by their key")
        total, at, more = 0, None, True
        while more:
            positions, rows = await self._groups(plan, query, at, False, _COUNTED_AT_ONCE)
            total, more = total + len(rows), len(positions) == _COUNTED_AT_ONCE
            at = positions[-1] if positions else None
        return total

    async def _groups(
        self, plan: Plan, query: Query, at: Position | None, backward: bool, limit: int
    ) -> tuple[list[Position], list[_Row]]:
        """The places of the next documents, and the latest versions of those that are wanted."""
        interval, descending = plan.interval(()), plan.descending != backward
        if at is not None:
            # The place of a group is that of its first two columns; it ends after them.
            ends = at.inclusive != descending
            edge = plan.before(at.key) if ends else plan.after(at.key)
            interval = interval._replace(upper=edge) if descending else interval._replace(lower=edge)
        rows = await read_rows(
            self._database,
            plan,
            interval,
            descending=descending,
            reduce=True,
            group_level=2,
            limit=limit,
            most=ROWS_BYTES if limit > 3 else None,
        )
        positions = [Position(row.key, "") for row in rows]
        values = [int(row.value["max"]) for row in rows]
        wanted = [
            _Row(position, position.key[1], value // 2)
            for position, value in zip(positions, values, strict=True)
            if bool(value % 2) == query.deleted
        ]
        return positions, wanted

    async def _followed(self, rows: Sequence[_Row], pairs: Sequence[_Pair]) -> list[_Current]:
        """Read the documents of these rows in their latest versions, even if they changed since the index was read."""
        found = []
        for row, (document, following) in zip(rows, pairs, strict=True):
            if isinstance(following, dict):
                try:
                    document = await self._versions.last_of(row.prefix, row.number + 1)
                except InvalidSignature as error:
                    document = error
            elif following is not None:
                document = following
            if document is not None:
                found.append((row.position, document))
        return found

    async def _current(self, rows: Sequence[_Row], pairs: Sequence[_Pair]) -> list[_Current]:
        """Read the documents of those rows that no version follows."""
        found = []
        for row, (document, following) in zip(rows, pairs, strict=True):
            if isinstance(following, Exception):
                document, following = following, None
            if following is None and document is not None:
                found.append((row.position, document))
        return found

    async def _pairs(self, cls: type[Model], rows: Sequence[_Row], most: int) -> tuple[list[_Pair], int]:
        """Read each version together with the one that follows it, if any, up to so many bytes but at least one."""
        ids = [version_id(row.prefix, number) for row in rows for number in (row.number, row.number + 1)]
        read, left = await self._versions.read(ids, most)
        if len(read) == 1:
            read += (await self._versions.read(ids[1:2], most))[0]
        documents: list[_Found] = [
            misplaced(self._database, cls, each) if isinstance(each, dict) and not is_of(cls, each) else each
            for each in read
        ]
        return list(zip(documents[::2], documents[1::2], strict=False)), left


def _is_grouped(cls: type[Model], query: Query) -> bool:
    """Whether the query selects all documents in the order of the key, or a range of them."""
    key = model_info(cls).indexes[0].properties
    return not query.among and not query.excluded and set(query.ranges) <= set(key) and tuple(query.sort) in ((), key)


def _latest_of_each(positions: Sequence[Position]) -> list[_Row]:
    """The row with the greatest number for each document; no other can be the latest version."""
    rows = [row for position in positions if (row := _row(position))]
    greatest: dict[str, int] = {}
    for row in rows:
        greatest[row.prefix] = max(row.number, greatest.get(row.prefix, 0))
    return [row for row in rows if row.number == greatest[row.prefix]]


def _row(position: Position) -> _Row | None:
    prefix, _, digits = position.id.rpartition(":")
    return _Row(position, prefix, int(digits)) if digits.isascii() and digits.isdecimal() else None


M = TypeVar("M", bound=Model)


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
