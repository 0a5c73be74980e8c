"""Uses Mango: finds documents by selector, and manages the indexes for it.

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
    """The parameters of `_find` other than the selector, by CouchDB's names; omitted ones are not sent."""

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
    """The result of `_find`.

    Attributes:
        docs: the documents, or the requested fields of them.
        bookmark: where the next page begins.
        warning: CouchDB's warning, such as that there is no suitable index.
        execution_stats: the statistics, if they were requested.
    """

    docs: list[dict[str, Any]]
    bookmark: str | None
    warning: str | None
    execution_stats: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class IndexCreated:
    """The index that now exists.

    Attributes:
        id: the design document's id.
        name: the index's name.
        created: False if it existed already.
    """

    id: str
    name: str
    created: bool


class Mango(Endpoint):
    """The part of `Database` that finds documents by selector."""

    async def find(self, selector: Mapping[str, Any], **options: Unpack[FindOptions]) -> FindResult:
        """Find the documents that match a selector: 25 of them unless `limit` says otherwise.

        Raises:
            BadRequest: CouchDB does not allow the selector, or has no index for the sort.
            TypeError: an option is unknown.
        """
        answer = await self._call("POST", "_find", body=_question(selector, options), safe=True)
        docs = [expect(each, dict, answer.request) for each in answer.member("docs", list)]
        value = answer.value
        return FindResult(docs, value.get("bookmark"), value.get("warning"), value.get("execution_stats"))

    async def iterate_find(
        self, selector: Mapping[str, Any], *, page_size: int = 200, **options: Unpack[FindOptions]
    ) -> AsyncIterator[dict[str, Any]]:
        """Iterate over the documents that match a selector, however many, fetched page by page with bookmarks.

        Args:
            selector: the selector.
            page_size: how many documents to fetch at a time; CouchDB may have a limit (`max_limit`).
            options: as for `find`; `limit` and `skip` apply to the whole iteration.

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
            # The last page has a bookmark as well: only its length shows that it is the last.
            if len(page.docs) < limit or not page.bookmark:
                return
            # The bookmark comes after the skipped documents; skipping again would lose some.
            options.pop("skip", None)
            options["bookmark"] = page.bookmark
            remaining = None if remaining is None else remaining - limit

    async def explain(self, selector: Mapping[str, Any], **options: Unpack[FindOptions]) -> dict[str, Any]:
        """Explain how CouchDB would answer `find`: `index` and much else."""
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
        """Create a JSON index, unless it exists already.

        Args:
            fields: the fields in their order, each a name or {name: "asc" or "desc"}.
            name: the index's name; by default CouchDB chooses one.
            ddoc: the design document's name, with or without `_design/`; by default CouchDB chooses one.
            partial_filter_selector: index only documents that match this.
            partitioned: whether the index is per partition; by default as the database is.

        Raises:
            BadRequest: CouchDB does not allow the index.
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
        """List the indexes, each with `ddoc`, `name`, `type` and `def`; the first is that of all documents."""
        answer = await self._call("GET", "_index")
        return [expect(each, dict, answer.request) for each in answer.member("indexes", list)]

    async def delete_index(self, ddoc: str, name: str) -> None:
        """Delete a JSON index.

        Raises:
            NotFound: no index has this name.
        """
        address = names.index(self.name, ddoc, name)
        await self._exchange.call("DELETE", address)


def _question(selector: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    unknown = options.keys() - FindOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"CouchDB's _find does not have the option {', '.join(sorted(unknown))}")
    return {"selector": selector, **options}
