"""Reads the rows that a plan selects, from any place and in both directions, without an offset.

An index is ordered by key, then by document id, so a row marks a place to continue from even if the row itself is
gone by then. An index of several properties is one of Mango's, read as the view that it is: `_find` cannot begin
between rows of one key, and its bookmark skips a document if the one that it points at is deleted. Since the index
itself is read, CouchDB cannot fall back to a full scan.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from ...couch import UNSET, Database, Row
from ...errors import BadRequest
from ...models import partition_view
from ..query import Bounds, same
from .planner import Edge, Interval, Plan

__all__ = [
    "ROWS_BYTES",
    "Collator",
    "Position",
    "Walk",
    "certain_order",
    "count_rows",
    "is_empty_range",
    "read_rows",
    "same_prefix",
    "united_rows",
]

_SMALLEST_CHUNK = 20  # rows; when there are many parts, each gives few rows to a page

_COUNTED_ONE_BY_ONE = 1000  # rows

ROWS_BYTES = 8 * 1024 * 1024
"""Bytes of the rows that are read together: clients can choose long values for the keys."""


class Position(NamedTuple):
    """A place in an index, whose rows are ordered by key, then by document id.

    Attributes:
        key: the key of the row there.
        id: the document's id.
        inclusive: whether the row itself belongs to what comes after the place.
    """

    key: Any
    id: str
    inclusive: bool = False


class Walk:
    """The rows of a plan's parts, merged into one order.

    Args:
        database: where the index is.
        plan: selects the rows.
        start: where to begin; None for the beginning, or for the end when reading backward.
        backward: read against the plan's own direction.
        foreign: the start may be a place outside of all parts, since it is that of a row of another plan.
    """

    def __init__(
        self, database: Database, plan: Plan, start: Position | None, backward: bool, *, foreign: bool = False
    ) -> None:
        self._database = database
        self._plan = plan
        self._start = start
        self._foreign = foreign
        self._descending = plan.descending != backward
        self._collator = Collator(database, plan.index.view)
        self._heads: list[_Part] = []

    async def rows(self, limit: int) -> list[Position]:
        """The next rows, at most `limit`; fewer only at the end.

        Raises:
            LongReply: so many rows have too many bytes.
        """
        parts = [part for each in self._plan.parts if (part := await self._part(*each, limit))]
        await asyncio.gather(*(part.fill() for part in parts))
        for part in parts:
            await self._insert(part)
        found: list[Position] = []
        while self._heads and len(found) < limit:
            part = self._heads.pop(0)
            found.append(part.rows.pop(0))
            await part.fill()
            await self._insert(part)
        return found

    async def _part(self, prefix: tuple[Any, ...], span: Bounds, limit: int) -> _Part | None:
        interval = await self._remaining(prefix, span)
        if interval is None:
            return None
        share = limit // len(self._plan.parts) + 1
        chunk = limit if len(self._plan.parts) == 1 else min(limit, max(_SMALLEST_CHUNK, 2 * share))
        return _Part(self._database, self._plan, prefix, interval, self._descending, chunk, self._start)

    async def _insert(self, part: _Part) -> None:
        """Insert a part among the others, in the order of their next rows."""
        if not part.rows:
            return
        low, high = 0, len(self._heads)
        while low < high:
            middle = (low + high) // 2
            if await self._comes_first(part.rows[0], self._heads[middle].rows[0]):
                high = middle
            else:
                low = middle + 1
        self._heads.insert(low, part)

    async def _comes_first(self, one: Position, other: Position) -> bool:
        left, right = self._plan.columns(one.key), self._plan.columns(other.key)
        places = self._plan.order
        order = await self._collator.compare(self._plan.ordered(left, places), self._plan.ordered(right, places))
        smaller = order < 0 or (order == 0 and one.id.encode() < other.id.encode())
        return smaller != self._descending

    async def _remaining(self, prefix: tuple[Any, ...], span: Bounds) -> Interval | None:
        """The rest of a part that comes after the start in the merged order; None if nothing does."""
        whole = self._plan.interval(prefix, span)
        if self._start is None:
            return whole
        start = self._plan.columns(self._start.key)
        shared = list(prefix)  # and the values that the start's row has as well, in the part's order
        for place in self._plan.order:
            if place >= len(prefix):
                if place == len(prefix) and (side := await self._side(span, start[place])):
                    return whole if (side > 0) != self._descending else None
                shared.append(start[place])
                continue
            order = (
                0
                if same(prefix[place], start[place])
                else await self._collator.compare([prefix[place]], [start[place]])
            )
            if order:
                return self._cut(whole, shared, len(shared) > len(prefix), (order > 0) != self._descending)
        edge = Edge(self._start.key if same_prefix(prefix, start) else self._key(shared), self._start.id)
        return whole._replace(upper=edge) if self._descending else whole._replace(lower=edge)

    async def _side(self, span: Bounds, value: Any) -> int:
        """Where a span lies, seen from a value: negative before it, positive after it, 0 around it."""
        if len(self._plan.spans) == 1 and not self._foreign:
            return 0  # every row is in it
        if self._plan.nulls_moved and (value is None or span.nulls):
            return int(span.nulls) - int(value is None)
        for lowest, least in ((span.gt, 1), (span.gte, 0)):
            if lowest is not UNSET and await self._collator.compare([value], [lowest]) < least:
                return 1
        for highest, most in ((span.lt, -1), (span.lte, 0)):
            if highest is not UNSET and await self._collator.compare([value], [highest]) > most:
                return -1
        # Null is before a range that has no lower bound.
        return int(value is None and not span.nulls and span != Bounds())

    def _key(self, columns: Sequence[Any]) -> Any:
        return list(columns) if self._plan.index.composite else columns[0]

    def _cut(self, whole: Interval, shared: list[Any], partly: bool, ahead: bool) -> Interval | None:
        """The rows ahead of those that share these values with the start; `partly` includes the shared ones."""
        if not partly:
            return whole if ahead else None
        if self._descending:
            return whole._replace(upper=self._plan.after(shared) if ahead else self._plan.before(shared))
        return whole._replace(lower=self._plan.before(shared) if ahead else self._plan.after(shared))


async def united_rows(
    database: Database, plans: Sequence[Plan], start: Position | None, backward: bool, limit: int
) -> list[Position]:
    """The next rows of several plans in one order, at most `limit`, each document once.

    Args:
        database: where the indexes are.
        plans: each is ordered by the same properties, then by document id.
        start: where to begin; its key is the list of the values of those properties.
        backward: read against the plans' own direction.
        limit: the largest number of rows.

    Raises:
        LongReply: so many rows have too many bytes.
    """
    walks = [Walk(database, plan, _placed(plan, start), backward, foreign=True).rows(limit) for plan in plans]
    merged: list[Position] = []
    collator, descending = Collator(database, plans[0].index.view), plans[0].descending != backward
    for plan, rows in zip(plans, await asyncio.gather(*walks), strict=True):
        given = len(plan.prefixes[0]) if plan.prefixes else 0
        keyed = [Position(plan.columns(row.key)[given:], row.id) for row in rows]
        merged = await _merged(collator, merged, keyed, descending)
    once = {row.id: row for row in reversed(merged)}  # the first of those with an id
    return [row for row in merged if once[row.id] is row][:limit]


def _placed(plan: Plan, start: Position | None) -> Position | None:
    """A place in the common order as a place in the index of one plan."""
    if start is None:
        return None
    columns = [*([None] * (len(plan.index.properties) - len(start.key))), *start.key]
    return Position(columns if plan.index.composite else columns[0], start.id, start.inclusive)


async def _merged(
    collator: Collator, left: list[Position], right: list[Position], descending: bool
) -> list[Position]:
    found, one, other = [], list(reversed(left)), list(reversed(right))
    while one and other:
        order = await collator.compare(one[-1].key, other[-1].key)
        smaller = order < 0 or (order == 0 and one[-1].id.encode() < other[-1].id.encode())
        found.append((one if smaller != descending else other).pop())
    return [*found, *reversed(one), *reversed(other)]


def same_prefix(prefix: Sequence[Any], columns: Sequence[Any]) -> bool:
    """Whether the values begin with this prefix."""
    return all(same(one, other) for one, other in zip(prefix, columns, strict=False))


class _Part:
    """The rows of one part, read in chunks."""

    def __init__(
        self,
        database: Database,
        plan: Plan,
        prefix: tuple[Any, ...],
        interval: Interval,
        descending: bool,
        chunk: int,
        start: Position | None,
    ) -> None:
        self.rows: list[Position] = []
        self._database = database
        self._plan = plan
        self._prefix = prefix
        self._interval = interval
        self._descending = descending
        self._chunk = chunk
        self._behind = start if start and not start.inclusive else None
        self._ended = False

    async def fill(self) -> None:
        """Read more rows if none is left and there are more."""
        while not self.rows and not self._ended:
            await self._fetch()

    async def _fetch(self) -> None:
        # One row more than needed, since the first may be the one after which the walk begins.
        limit, most = self._chunk + 1, ROWS_BYTES // min(len(self._plan.parts), _SMALLEST_CHUNK)
        rows = await read_rows(
            self._database,
            self._plan,
            self._interval,
            descending=self._descending,
            limit=limit,
            reduce=False,
            most=most if limit > 3 else None,
        )
        found = [Position(row.key, row.id or "") for row in rows]
        self._ended = len(rows) < limit
        if not found:
            return
        last, behind = found[-1], self._behind
        edge = Edge(last.key, last.id)
        self._interval = self._interval._replace(**{"upper" if self._descending else "lower": edge})
        self._behind = last
        # CouchDB considers some different texts equal; a filter means the exact value.
        self.rows = [
            each
            for each in found
            if (behind is None or each.id != behind.id) and same_prefix(self._prefix, self._plan.columns(each.key))
        ]


async def count_rows(database: Database, plan: Plan) -> int:
    """Count the rows of a plan's parts by the index's own counts.

    Those count texts together that CouchDB considers equal, such as two that differ in a zero-width character.
    Numbers up to a thousand are exact all the same.
    """
    total = sum(await asyncio.gather(*(_count(database, plan, *each) for each in plan.parts)))
    if total > _COUNTED_ONE_BY_ONE or not any(isinstance(value, str) for each in plan.prefixes for value in each):
        return total
    return sum(await asyncio.gather(*(_count_exactly(database, plan, *each) for each in plan.parts)))


async def _count(database: Database, plan: Plan, prefix: tuple[Any, ...], span: Bounds) -> int:
    rows = await read_rows(database, plan, plan.interval(prefix, span), descending=False, reduce=True)
    return sum(row.value for row in rows)


async def _count_exactly(database: Database, plan: Plan, prefix: tuple[Any, ...], span: Bounds) -> int:
    rows = await read_rows(database, plan, plan.interval(prefix, span), descending=False, reduce=False)
    return sum(same_prefix(prefix, plan.columns(row.key)) for row in rows)


async def read_rows(database: Database, plan: Plan, interval: Interval, *, descending: bool, **query: Any) -> list[Row]:
    """Read the rows of a part of an index; there are none if the part ends before it begins."""
    begin, end = (interval.upper, interval.lower) if descending else (interval.lower, interval.upper)
    if begin is not None:
        query.update(startkey=begin.key, startkey_docid=begin.id)
    if end is not None:
        query.update(endkey=end.key, endkey_docid=end.id)
    try:
        view = plan.index.view if plan.partition is None else partition_view(plan.index.view)
        return (await database.view(view, view, partition=plan.partition, descending=descending, **query)).rows
    except BadRequest as refused:
        if is_empty_range(refused):  # such as from 5 to 3
            return []
        raise


# The order of CLDR's root collation; a lowercase letter comes before its capital if all else is equal.
_SYMBOLS = " _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789"
_WEIGHTS = {character: weight for weight, character in enumerate(_SYMBOLS)}
_WEIGHTS |= {letter: len(_SYMBOLS) + place for place, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}


def is_empty_range(error: BadRequest) -> bool:
    """Whether CouchDB refused a range because it ends before it begins."""
    return error.error == "query_parse_error" and error.reason.startswith("No rows can match")


def _sortable(value: Any) -> tuple[Any, ...] | None:
    """A value that Python sorts as CouchDB sorts this one; None if CouchDB has to be asked."""
    if value is None or isinstance(value, bool):
        return ((None, False, True).index(value),)
    if isinstance(value, int | float):
        return (3, value)
    if isinstance(value, str) and value.isascii() and value.isprintable():
        return (4, [_WEIGHTS[each.lower()] for each in value], [each.isupper() for each in value])
    return None


def certain_order(left: Any, right: Any) -> int | None:
    """Compare two JSON values as a view does, where that is certain without CouchDB.

    Texts with other characters than ASCII's, whose order ICU decides, are compared with other kinds of values alone;
    so are arrays and objects.

    Returns:
        Negative, zero or positive if the first is less, equal or greater; None if only CouchDB can say.
    """
    mine, theirs = _sortable(left), _sortable(right)
    if mine is not None and theirs is not None:
        return (mine > theirs) - (mine < theirs)
    return _kind(left) - _kind(right) or None


def _kind(value: Any) -> int:
    """Where the kind of a JSON value comes in CouchDB's order."""
    if value is None or isinstance(value, bool | int | float):
        return 0 if value is None else 3 if not isinstance(value, bool) else 2 if value else 1
    return 4 if isinstance(value, str) else 5 if isinstance(value, list) else 6


class Collator:
    """Compares JSON values as the views of a database do.

    Args:
        database: the database.
        view: a view of the database whose design document has the same name.
    """

    def __init__(self, database: Database, view: str) -> None:
        self._database = database
        self._view = view
        self._known: dict[tuple[str, str], int] = {}

    async def compare(self, one: Sequence[Any], other: Sequence[Any]) -> int:
        """Compare two arrays of the same length: negative, zero or positive if the first is less, equal or greater."""
        for left, right in zip(one, other, strict=True):
            order = await self._compare(left, right)
            if order:
                return order
        return 0

    async def _compare(self, left: Any, right: Any) -> int:
        order = certain_order(left, right)
        if order is not None:
            return order
        pair = repr(left), repr(right)
        if pair not in self._known:
            self._known[pair] = await self._asked(left, right)
        return self._known[pair]

    async def _asked(self, left: Any, right: Any) -> int:
        if not await self._can_range(left, right):
            return 1
        return 0 if await self._can_range(right, left) else -1

    async def _can_range(self, left: Any, right: Any) -> bool:
        """Whether a range can go from one value to the other; CouchDB refuses a range that runs backwards."""
        try:
            query: dict[str, Any] = {"startkey": left, "endkey": right, "limit": 0, "reduce": False, "update": False}
            await self._database.view(self._view, self._view, **query)
        except BadRequest as refused:
            if is_empty_range(refused):
                return False
            raise
        return True
