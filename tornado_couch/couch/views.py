"""Views and `_all_docs`: queries, rows, and walking through any number of rows.

CouchDB's pages: https://docs.couchdb.org/en/stable/api/ddoc/views.html and .../api/database/bulk-api.html
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

from .. import json_text
from . import names
from .endpoint import Endpoint
from .exchange import Answer, expect
from .paging import each_row

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["UNSET", "Row", "Unset", "ViewQuery", "ViewResult", "Views"]


class Unset(Enum):
    """The kind of `UNSET`."""

    UNSET = "unset"

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset.UNSET
"""Says that a query parameter is absent, which None does not: as a view key it is JSON's null."""


class ViewQuery(TypedDict, total=False):
    """The query parameters of CouchDB 3's views, by CouchDB's names; those that are `UNSET` are not sent.

    Keys are any JSON values: 0, "", False, [] and None are keys like others.
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
        id: the document's id; None in reduced rows, and where no document has the key asked for.
        key: the key.
        value: the value.
        doc: with `include_docs`, the document; None if it is deleted or missing.
        error: CouchDB's error, such as "not_found" for a key of `_all_docs` without a document.
    """

    id: str | None
    key: Any
    value: Any
    doc: dict[str, Any] | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class ViewResult:
    """The rows of a view, and what CouchDB says about all of it.

    Attributes:
        rows: the rows asked for.
        total_rows: how many rows the whole view has; None where CouchDB does not say (reduced, unsorted).
        offset: how many rows come before the first of these; None where CouchDB does not say.
        update_seq: with `update_seq`, the sequence that the view has come to.
    """

    rows: list[Row]
    total_rows: int | None = None
    offset: int | None = None
    update_seq: Any = None


class Views(Endpoint):
    """The part of `Database` that reads views."""

    async def all_docs(self, **query: Unpack[ViewQuery]) -> ViewResult:
        """The documents by id: each row's value is {"rev": …}.

        Args:
            query: as for a view, except what is about reducing; keys are document ids.

        Raises:
            TypeError: there is no such query parameter.
        """
        return await self._read(names.database(self.name, "_all_docs"), query)

    async def view(
        self, design: str, view: str, *, partition: str | None = None, **query: Unpack[ViewQuery]
    ) -> ViewResult:
        """The rows of a view.

        Args:
            design: the design document's name, with or without `_design/`.
            view: the view's name.
            partition: only the rows of this partition, of a view that is for that.
            query: the query parameters, by CouchDB's names.

        Raises:
            NotFound: there is no such design document or view.
            BadRequest: CouchDB does not permit the parameters.
            TypeError: there is no such query parameter.
            ValueError: a key cannot be JSON, or a name cannot be CouchDB's.
        """
        return await self._read(names.view(self.name, design, view, partition), query)

    async def design_info(self, design: str) -> dict[str, Any]:
        """What CouchDB says of a design document's index, of which `view_index` has the sizes.

        https://docs.couchdb.org/en/stable/api/ddoc/common.html#get--db-_design-ddoc-_info

        Args:
            design: the design document's name, with or without `_design/`.

        Raises:
            NotFound: there is no such design document.
        """
        answer = await self._exchange.call("GET", names.design_info(self.name, design))
        answer.member("view_index", dict)
        return expect(answer.value, dict, answer.request)

    async def clean_up_views(self) -> None:
        """Deletes the files of indexes that no design document describes any more.

        https://docs.couchdb.org/en/stable/api/database/compact.html#db-view-cleanup

        Raises:
            Unauthorized, Forbidden: the user is no administrator of the database.
        """
        await self._call("POST", "_view_cleanup", body={})

    def iterate_all_docs(self, *, page_size: int = 1000, **query: Unpack[ViewQuery]) -> AsyncIterator[Row]:
        """The rows of `all_docs`, however many, fetched page by page; see `iterate_view`."""
        fetch = functools.partial(self._rows, names.database(self.name, "_all_docs"))
        return each_row(fetch, _present(query), page_size, by_id=True)

    def iterate_view(
        self, design: str, view: str, *, page_size: int = 1000, **query: Unpack[ViewQuery]
    ) -> AsyncIterator[Row]:
        """The rows of a view, however many, fetched page by page without offset.

        Each page begins at the last row of the one before, so that rows inserted or deleted meanwhile
        move nothing else: a row that is there all the time comes exactly once.

        Args:
            design: the design document's name, with or without `_design/`.
            view: the view's name.
            page_size: about how many rows to fetch at a time.
            query: the query parameters, except `keys` and `sorted`; `limit` and `skip` are of the whole,
                and rows that are skipped are fetched all the same.

        Raises:
            TypeError: there is no such query parameter.
            ValueError: `page_size` is less than 1, or a parameter cannot go with paging.
        """
        fetch = functools.partial(self._rows, names.view(self.name, design, view))
        return each_row(fetch, _present(query), page_size)

    async def _rows(self, address: names.Address, query: Mapping[str, Any]) -> list[Row]:
        return (await self._read(address, query)).rows

    async def _read(self, address: names.Address, query: Mapping[str, Any]) -> ViewResult:
        present = _present(query)
        keys = present.pop("keys", None)
        parameters = {name: _text(name, value) for name, value in present.items()}
        # Keys can be many and long, and servers limit the length of URLs: those go into the content.
        if keys is not None:
            answer = await self._exchange.call("POST", address, parameters, {"keys": list(keys)}, safe=True)
        elif sum(map(len, parameters.values())) > names.LONG_TEXT:
            answer = await self._exchange.call("POST", address, None, present, safe=True)
        else:
            answer = await self._exchange.call("GET", address, parameters)
        return _result(answer)


_JSON_PARAMETERS = frozenset({"endkey", "key", "startkey"})
_PARAMETERS = frozenset(ViewQuery.__annotations__)


def _present(query: Mapping[str, Any]) -> dict[str, Any]:
    unknown = query.keys() - _PARAMETERS
    if unknown:
        raise TypeError(f"CouchDB's views have no query parameter {', '.join(sorted(unknown))}")
    return {name: value for name, value in query.items() if value is not UNSET}


def _text(name: str, value: Any) -> str:
    if name in _JSON_PARAMETERS or not isinstance(value, str):
        return json_text.dumps(value).decode("utf-8")
    return value


def _result(answer: Answer) -> ViewResult:
    where = answer.request
    rows = [_row(each, where) for each in answer.member("rows", list)]
    value: dict[str, Any] = answer.value
    return ViewResult(rows, value.get("total_rows"), value.get("offset"), value.get("update_seq"))


def _row(value: object, where: str) -> Row:
    row = expect(value, dict, where)
    if "key" not in row:
        # A shard that failed reports itself as a row with nothing but its error.
        expect(row.get("error"), str, where)
    error = row.get("error")
    return Row(row.get("id"), row.get("key"), row.get("value"), row.get("doc"), None if error is None else str(error))
