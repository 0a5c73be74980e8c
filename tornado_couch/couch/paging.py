"""Walking through a view page by page: never skipping a row, never repeating one, never by offset.

A view is ordered by key, then by document id, so a page can begin at the last row of the page before
(`startkey`, `startkey_docid`) and leave out what it has in common with it. That is one row as a rule. It is
more where a document emits several rows with one key: CouchDB cannot begin amid those, and gives all of them
again. Reduced rows have no id, and are told apart by their keys alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any, Protocol, TypeVar

from .. import json_text

__all__ = ["each_row"]


class _Row(Protocol):
    @property
    def id(self) -> str | None: ...
    @property
    def key(self) -> Any: ...


R = TypeVar("R", bound=_Row)
Fetch = Callable[[Mapping[str, Any]], Awaitable[Sequence[R]]]


def each_row(fetch: Fetch[R], query: Mapping[str, Any], page_size: int, *, by_id: bool = False) -> AsyncIterator[R]:
    """The rows of a query, fetched page by page.

    Args:
        fetch: gives the rows for query parameters.
        query: the parameters of the whole walk.
        page_size: how many new rows to fetch at a time.
        by_id: the keys are document ids, so the key alone says where to go on (`_all_docs`).

    Raises:
        ValueError: `page_size` is less than 1, or the query has `keys` or is unsorted.
    """
    if page_size < 1:
        raise ValueError("page_size must be at least 1")
    if "keys" in query or query.get("sorted") is False:
        raise ValueError("a query with keys, or unsorted, has no order to go on by: read it as a whole")
    first = dict(query)
    limit, skip = first.pop("limit", None), first.pop("skip", 0)
    if "key" in first:
        first["startkey"] = first["endkey"] = first.pop("key")
    # Rows are skipped here: a page that CouchDB begins amid rows of one key and document could not be joined.
    return _part(_walk(fetch, first, page_size, None if limit is None else skip + limit, by_id), skip)


async def _part(rows: AsyncIterator[R], skip: int) -> AsyncIterator[R]:
    async for row in rows:
        if skip > 0:
            skip -= 1
        else:
            yield row


async def _walk(
    fetch: Fetch[R], query: dict[str, Any], page_size: int, remaining: int | None, by_id: bool
) -> AsyncIterator[R]:
    tail = _Tail(None, [])
    repeated = 0  # how many rows the next page will begin with that were given already
    while remaining is None or remaining > 0:
        # At least twice what is repeated: a document with very many rows of one key is then read in few pages.
        wanted = max(page_size, repeated) if remaining is None else min(max(page_size, repeated), remaining)
        rows = await fetch({**query, "limit": repeated + wanted})
        fresh = rows[tail.overlap(rows) :]
        for row in fresh:
            yield row
        if len(rows) < repeated + wanted:
            return
        if not fresh:
            repeated = len(rows)  # the repeated rows fill the page: ask for a longer one
            continue
        if remaining is not None:
            remaining -= len(fresh)
        tail = _Tail.of(rows)
        repeated = tail.repeated()
        query = _after(query, rows[-1], by_id)


def _after(query: Mapping[str, Any], last: _Row, by_id: bool) -> dict[str, Any]:
    """The query that begins with the last row."""
    onward = {name: value for name, value in query.items() if name != "startkey_docid"}
    onward["startkey"] = last.key
    if last.id is not None and not by_id:
        onward["startkey_docid"] = last.id
    return onward


class _Tail:
    """The rows at the end of a page that the next page may begin with.

    Keys are compared as JSON, where 1 and true differ. CouchDB takes some keys of different text for equal
    (ICU collation), so not only rows of the very same key may come again.
    """

    def __init__(self, document_id: str | None, keys: list[str]) -> None:
        self._id = document_id
        self._keys = keys

    @classmethod
    def of(cls, rows: Sequence[_Row]) -> _Tail:
        last = rows[-1]
        if last.id is None:
            return cls(None, [_text(last)])
        same = list(takewhile(lambda row: row.id == last.id, reversed(rows)))
        return cls(last.id, [_text(row) for row in reversed(same)])

    def overlap(self, rows: Sequence[_Row]) -> int:
        """How many of these rows were given with the page before."""
        if not rows or rows[0].id != self._id or _text(rows[0]) not in self._keys:
            return 0
        # All rows of equal key and id come again, in the same order, beginning with the first of them.
        again = self._keys[self._keys.index(_text(rows[0])) :]
        pairs = zip(again, rows, strict=False)
        return sum(1 for _ in takewhile(lambda pair: (self._id, pair[0]) == (pair[1].id, _text(pair[1])), pairs))

    def repeated(self) -> int:
        """How many of the rows have the last one's key, and so will certainly come again."""
        return sum(1 for _ in takewhile(lambda key: key == self._keys[-1], reversed(self._keys)))


def _text(row: _Row) -> str:
    return json_text.dumps(row.key).decode("utf-8")
