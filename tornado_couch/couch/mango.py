"""Mango: finding documents by selector, and the indexes for it.

CouchDB's page: https://docs.couchdb.org/en/stable/api/database/find.html
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

from . import names
from .endpoint import Endpoint
from .exchange import expect

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["FindOptions", "FindResult", "IndexCreated", "Mango"]


class FindOptions(TypedDict, total=False):
    """What `_find` takes beside the selector, by CouchDB's names; what is left out is not sent."""

    allow_fallback: bool
    bookmark: str
    conflicts: bool
    execution_stats: bool
    fields: Sequence[str]
    limit: int
    r: int
    skip: int
    sort: Sequence[str | Mapping[str, str]]
    stable: bool
    update: bool
    use_index: str | Sequence[str]


@dataclass(frozen=True, slots=True)
class FindResult:
    """What `_find` found.

    Attributes:
        docs: the documents, or the fields of them that were asked for.
        bookmark: where the next page begins.
        warning: CouchDB's warning, such as that no index was of use.
        execution_stats: the statistics, if they were asked for.
    """

    docs: list[dict[str, Any]]
    bookmark: str | None
    warning: str | None
    execution_stats: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class IndexCreated:
    """The index that is now there.

    Attributes:
        id: the design document's id.
        name: the index's name.
        created: False when it was there already.
    """

    id: str
    name: str
    created: bool


class Mango(Endpoint):
    """The part of `Database` that finds documents by selector."""

    async def find(self, selector: Mapping[str, Any], **options: Unpack[FindOptions]) -> FindResult:
        """The documents that a selector fits: 25 of them unless `limit` says otherwise.

        Raises:
            BadRequest: CouchDB does not permit the selector, or has no index for the sort.
            TypeError: there is no such option.
        """
        answer = await self._call("POST", "_find", body=_question(selector, options), safe=True)
        docs = [expect(each, dict, answer.request) for each in answer.member("docs", list)]
        value = answer.value
        return FindResult(docs, value.get("bookmark"), value.get("warning"), value.get("execution_stats"))

    async def iterate_find(
        self, selector: Mapping[str, Any], *, page_size: int = 200, **options: Unpack[FindOptions]
    ) -> AsyncIterator[dict[str, Any]]:
        """The documents that a selector fits, however many, fetched page by page with bookmarks.

        Args:
            selector: the selector.
            page_size: how many documents to fetch at a time; CouchDB may have a limit (`max_limit`).
            options: as for `find`; `limit` and `skip` are of the whole.

        Raises:
            ValueError: `page_size` is less than 1.
        """
        if page_size < 1:
            raise ValueError("page_size must be at least 1")
        remaining = options.pop("limit", None)
        while remaining is None or remaining > 0:
            limit = options["limit"] = page_size if remaining is None else min(page_size, remaining)
            page = await self.find(selector, **options)
            for document in page.docs:
                yield document
            # Also the last page has a bookmark: only its length says that it is the last.
            if len(page.docs) < limit or not page.bookmark:
                return
            # The bookmark is behind what was skipped; skipping again would lose documents.
            options.pop("skip", None)
            options["bookmark"] = page.bookmark
            remaining = None if remaining is None else remaining - limit

    async def explain(self, selector: Mapping[str, Any], **options: Unpack[FindOptions]) -> dict[str, Any]:
        """How CouchDB would answer `find`: `index` and much else."""
        answer = await self._call("POST", "_explain", body=_question(selector, options), safe=True)
        answer.member("index", dict)
        return expect(answer.value, dict, answer.request)

    async def create_index(
        self,
        fields: Sequence[str | Mapping[str, str]],
        *,
        name: str | None = None,
        ddoc: str | None = None,
        partial_filter_selector: Mapping[str, Any] | None = None,
        partitioned: bool | None = None,
    ) -> IndexCreated:
        """Makes a JSON index, unless it is there already.

        Args:
            fields: the fields in their order, each a name or {name: "asc" or "desc"}.
            name: the index's name; CouchDB makes one up.
            ddoc: the design document's name, with or without `_design/`; CouchDB makes one up.
            partial_filter_selector: only documents that it fits are indexed.
            partitioned: whether the index is per partition; as the database, by default.

        Raises:
            BadRequest: CouchDB does not permit the index.
        """
        index: dict[str, Any] = {"fields": list(fields)}
        if partial_filter_selector is not None:
            index["partial_filter_selector"] = partial_filter_selector
        body: dict[str, Any] = {"type": "json", "index": index}
        optional = {"name": name, "ddoc": ddoc, "partitioned": partitioned}
        body.update({member: value for member, value in optional.items() if value is not None})
        answer = await self._call("POST", "_index", body=body)
        created = answer.member("result", str) == "created"
        return IndexCreated(answer.member("id", str), answer.member("name", str), created)

    async def indexes(self) -> list[dict[str, Any]]:
        """The indexes, each with `ddoc`, `name`, `type`, `def`; the one of all documents is the first."""
        answer = await self._call("GET", "_index")
        return [expect(each, dict, answer.request) for each in answer.member("indexes", list)]

    async def delete_index(self, ddoc: str, name: str) -> None:
        """Deletes a JSON index.

        Raises:
            NotFound: there is none of that name.
        """
        address = names.index(self.name, ddoc, name)
        await self._exchange.call("DELETE", address)


def _question(selector: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    unknown = options.keys() - FindOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"CouchDB's _find has no option {', '.join(sorted(unknown))}")
    return {"selector": selector, **options}
