"""Reads views and `_all_docs`: queries, rows, and walks through any number of rows.

CouchDB's pages: https://docs.couchdb.org/en/stable/api/ddoc/views.html and .../api/database/bulk-api.html
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypedDict, TypeVar

from .. import _json
from ..errors import InvalidReply, Unavailable
from . import names
from .endpoint import Endpoint
from .exchange import Answer, expect

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["UNSET", "Row", "Unset", "ViewQuery", "ViewResult", "Views", "each_row"]


class Unset(Enum):
    """The type of `UNSET`."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset.UNSET
"""Marks a query parameter as absent. None would not do: as a view key it is JSON's null."""


class ViewQuery(TypedDict, total=False):
    """The query parameters of CouchDB 3's views, by CouchDB's names; those that are `UNSET` are not sent.

    Keys can be any JSON values, including 0, "", False, [] and None.
    """

    att_encoding_info: bool | Unset
    attachments: bool | Unset
    conflicts: bool | Unset
    descending: bool | Unset
    endkey: Any
    endkey_docid: str | Unset
    group: bool | Unset
    group_level: int | Unset
    include_docs: bool | Unset
    inclusive_end: bool | Unset
    key: Any
    keys: list[Any] | Unset
    limit: int | Unset
    reduce: bool | Unset
    skip: int | Unset
    sorted: bool | Unset
    stable: bool | Unset
    stale: Literal["ok", "update_after"] | Unset
    startkey: Any
    startkey_docid: str | Unset
    update: bool | Literal["true", "false", "lazy"] | Unset
    update_seq: bool | Unset


class Row(NamedTuple):
    """One row of a view.

    Attributes:
        id: the document's id; None in reduced rows, and if no document has the requested key.
        key: the key.
        value: the value.
        doc: with `include_docs`, the document; None if it is deleted or missing.
        error: "not_found" for a key of `_all_docs` without a document; every other error is raised.
    """

    id: str | None
    key: Any
    value: Any
    doc: dict[str, Any] | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ViewResult:
    """The rows of a view, with CouchDB's information about the whole of it.

    Attributes:
        rows: the requested rows.
        total_rows: how many rows the whole view has; None if CouchDB does not say (reduced, unsorted).
        offset: how many rows come before the first of these; None if CouchDB does not say.
        update_seq: with `update_seq`, the sequence up to which the view is current.
    """

    rows: list[Row]
    total_rows: int | None = None
    offset: int | None = None
    update_seq: Any = None


class Views(Endpoint):
    """The part of `Database` that reads views."""

    async def all_docs(self, **query: Unpack[ViewQuery]) -> ViewResult:
        """List the documents by id; the value of each row is {"rev": …}.

        Args:
            query: as for a view, except the parameters for reducing; keys are document ids.

        Raises:
            TypeError: a query parameter is unknown.
        """
        return await self._read(names.database(self.name, "_all_docs"), query)

    async def local_docs(self, **query: Unpack[ViewQuery]) -> ViewResult:
        """List the `_local` documents by id, as `all_docs` does the others."""
        return await self._read(names.database(self.name, "_local_docs"), query)

    async def view(
        self,
        design: str,
        view: str,
        *,
        partition: str | None = None,
        most: int | None = None,
        **query: Unpack[ViewQuery],
    ) -> ViewResult:
        """Read the rows of a view.

        Args:
            design: the design document's name, with or without `_design/`.
            view: the view's name.
            partition: read only the rows of this partition; the view must be a partitioned one.
            most: the largest number of bytes that the answer may have; None for any number.
            query: the query parameters, by CouchDB's names.

        Raises:
            LongReply: the answer has more bytes.
            NotFound: there is no such design document or view.
            BadRequest: CouchDB does not permit the parameters.
            Unavailable: a shard or the reduce function failed, though the answer is 200.
            TypeError: there is no such query parameter.
            ValueError: a key cannot be JSON, or a name cannot be CouchDB's.
        """
        return await self._read(names.view(self.name, design, view, partition), query, most)

    async def design_info(self, design: str) -> dict[str, Any]:
        """CouchDB's information about a design document's index, of which `view_index` has the sizes.

        https://docs.couchdb.org/en/stable/api/ddoc/common.html#get--db-_design-ddoc-_info

        Args:
            design: the design document's name, with or without `_design/`.

        Raises:
            NotFound: the design document does not exist.
        """
        answer = await self._exchange.call("GET", names.design_info(self.name, design))
        answer.member("view_index", dict)
        return expect(answer.value, dict, answer.request)

    async def clean_up_views(self) -> None:
        """Delete the index files that no design document needs any more.

        https://docs.couchdb.org/en/stable/api/database/compact.html#db-view-cleanup

        Raises:
            Unauthorized, Forbidden: the user is not an administrator of the database.
        """
        await self._call("POST", "_view_cleanup", body={})

    def iterate_all_docs(self, *, page_size: int = 1000, **query: Unpack[ViewQuery]) -> AsyncIterator[Row]:
        """Iterate over the rows of `all_docs`, however many, fetched page by page; see `iterate_view`."""
        fetch = functools.partial(self._rows, names.database(self.name, "_all_docs"))
        return each_row(fetch, _present(query), page_size, by_id=True)

    def iterate_view(
        self, design: str, view: str, *, page_size: int = 1000, **query: Unpack[ViewQuery]
    ) -> AsyncIterator[Row]:
        """Iterate over the rows of a view, however many, fetched page by page without an offset.

        Each page begins at the last row of the one before, so rows that are inserted or deleted meanwhile do not
        shift the others: a row that exists all the time comes exactly once.

        Args:
            design: the design document's name, with or without `_design/`.
            view: the view's name.
            page_size: about how many rows to fetch at a time.
            query: the query parameters, except `keys` and `sorted`; `limit` and `skip` apply to the whole
                iteration, and skipped rows are fetched all the same.

        Raises:
            TypeError: a query parameter is unknown.
            ValueError: `page_size` is less than 1, or a parameter cannot be used with paging.
        """
        fetch = functools.partial(self._rows, names.view(self.name, design, view))
        return each_row(fetch, _present(query), page_size)

    async def _rows(self, address: names.Address, query: Mapping[str, Any]) -> list[Row]:
        return (await self._read(address, query)).rows

    async def _read(self, address: names.Address, query: Mapping[str, Any], most: int | None = None) -> ViewResult:
        present = _present(query)
        keys = present.pop("keys", None)
        parameters = {name: _text(name, value) for name, value in present.items()}
        # There can be many, long keys, and servers limit the length of URLs, so they go into the content.
        if keys is not None:
            answer = await self._exchange.call("POST", address, parameters, {"keys": list(keys)}, safe=True, most=most)
        elif sum(map(len, parameters.values())) > names.LONG_TEXT:
            answer = await self._exchange.call("POST", address, None, present, safe=True, most=most)
        else:
            answer = await self._exchange.call("GET", address, parameters, most=most)
        return _result(answer)


_JSON_PARAMETERS = frozenset({"endkey", "key", "startkey"})
_PARAMETERS = frozenset(ViewQuery.__annotations__)


def _present(query: Mapping[str, Any]) -> dict[str, Any]:
    unknown = query.keys() - _PARAMETERS
    if unknown:
        raise TypeError(f"CouchDB's views do not have the query parameter {', '.join(sorted(unknown))}")
    return {name: value for name, value in query.items() if value is not UNSET}


def _text(name: str, value: Any) -> str:
    if name in _JSON_PARAMETERS or not isinstance(value, str):
        return _json.dumps(value).decode("utf-8")
    return value


def _result(answer: Answer) -> ViewResult:
    where = answer.request
    rows = [_row(each, where) for each in answer.member("rows", list)]
    for row in rows:
        _refuse_failure(row, where)
    value: dict[str, Any] = answer.value
    return ViewResult(rows, value.get("total_rows"), value.get("offset"), value.get("update_seq"))


def _row(value: object, where: str) -> Row:
    row = expect(value, dict, where)
    if "key" not in row:
        # A shard that failed sends a row that contains only its error.
        expect(row.get("error"), str, where)
    error = row.get("error")
    return Row(row.get("id"), row.get("key"), row.get("value"), row.get("doc"), None if error is None else str(error))


def _refuse_failure(row: Row, where: str) -> None:
    """Raise what a row says has failed; that a key of `_all_docs` has no document is not a failure."""
    error, reason = row.error, "a shard could not give its rows"
    if row.id is None and isinstance(row.value, dict) and row.value.get("error") == _REDUCE_ERROR:
        error, reason = _REDUCE_ERROR, str(row.value.get("reason"))
    if error is not None and error != "not_found":
        raise Unavailable(f"{where}: the view cannot be read: {error}: {reason}", status=500)


# What `_sum` and its like give for values that they cannot reduce, in the place of the value.
_REDUCE_ERROR = "builtin_reduce_error"


class _Row(Protocol):
    @property
    def id(self) -> str | None: ...
    @property
    def key(self) -> Any: ...


R = TypeVar("R", bound=_Row)
Fetch = Callable[[Mapping[str, Any]], Awaitable[Sequence[R]]]


def each_row(fetch: Fetch[R], query: Mapping[str, Any], page_size: int, *, by_id: bool = False) -> AsyncIterator[R]:
    """Iterate over the rows of a query, fetched page by page.

    Args:
        fetch: returns the rows for some query parameters.
        query: the parameters of the whole iteration.
        page_size: how many new rows to fetch at a time.
        by_id: whether the keys are document ids, so that the key alone says where to continue (`_all_docs`).

    Raises:
        ValueError: `page_size` is less than 1, or the query has `keys` or is unsorted.
    """
    if page_size < 1:
        raise ValueError("page_size must be at least 1")
    if "keys" in query or query.get("sorted") is False:
        raise ValueError("a query with keys, or an unsorted one, has no order to page by: read it as a whole")
    first = dict(query)
    limit, skip = first.pop("limit", None), first.pop("skip", 0)
    if "key" in first:
        first["startkey"] = first["endkey"] = first.pop("key")
    # Rows are skipped here: pages could not be joined if CouchDB began one between rows of one key and document.
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
    repeated = 0  # how many rows at the start of the next page were returned already
    while remaining is None or remaining > 0:
        # At least twice the repeated rows, so that a document with very many rows of one key takes few pages.
        wanted = max(page_size, repeated) if remaining is None else min(max(page_size, repeated), remaining)
        rows = await fetch({**query, "limit": repeated + wanted})
        overlap = tail.overlap(rows)
        fresh = rows[overlap:]
        if fresh and not overlap and tail.is_last_of(rows):
            raise InvalidReply("the rows of a view do not go on where they were asked to")
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
    """The query for the page that begins with the last row."""
    onward = {name: value for name, value in query.items() if name != "startkey_docid"}
    onward["startkey"] = last.key
    if last.id is not None and not by_id:
        onward["startkey_docid"] = last.id
    return onward


class _Tail:
    """The rows at the end of a page with which the next page may begin.

    Keys are compared as JSON, where 1 and true differ. CouchDB considers some keys of different text equal
    (ICU collation), so rows of other keys than the last one's may be repeated as well.
    """

    def __init__(self, document_id: str | None, keys: list[str]) -> None:
        self._id = document_id
        self._keys = keys

    @classmethod
    def of(cls, rows: Sequence[_Row]) -> _Tail:
        last = rows[-1]
        if last.id is None:
            return cls(None, [_key_text(last)])
        same = list(takewhile(lambda row: row.id == last.id, reversed(rows)))
        return cls(last.id, [_key_text(row) for row in reversed(same)])

    def overlap(self, rows: Sequence[_Row]) -> int:
        """How many of these rows were already in the page before."""
        if not rows or rows[0].id != self._id or _key_text(rows[0]) not in self._keys:
            return 0
        # All rows of an equal key and id are repeated, in the same order, beginning with the first of them.
        again = self._keys[self._keys.index(_key_text(rows[0])) :]
        pairs = zip(again, rows, strict=False)
        return sum(1 for _ in takewhile(lambda pair: (self._id, pair[0]) == (pair[1].id, _key_text(pair[1])), pairs))

    def is_last_of(self, rows: Sequence[_Row]) -> bool:
        """Whether these rows end with the very row that the page before ended with."""
        return bool(self._keys) and (rows[-1].id, _key_text(rows[-1])) == (self._id, self._keys[-1])

    def repeated(self) -> int:
        """How many of the rows have the last one's key, and so are certain to be repeated."""
        return sum(1 for _ in takewhile(lambda key: key == self._keys[-1], reversed(self._keys)))


def _key_text(row: _Row) -> str:
    return _json.dumps(row.key).decode("utf-8")
