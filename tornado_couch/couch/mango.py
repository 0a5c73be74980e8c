"""Uses Mango: finds documents by selector, and manages the indexes for it.

CouchDB's page: https://docs.couchdb.org/en/stable/api/database/find.html
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

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

        Every document that fits all the time comes once, also when those that came already are changed or deleted
        meanwhile. One that others change so that it moves from ahead to behind may be missed. The ids of all that
        came are kept in memory.

        Args:
            selector: the selector.
            page_size: about how many documents to fetch at a time; CouchDB may have a limit (`max_limit`). Two pages
                are fetched before the first document is given.
            options: as for `find`; `limit` and `skip` are of the whole.

        Raises:
            ValueError: `page_size` is less than 1.
        """
        if page_size < 1:
            raise ValueError("page_size must be at least 1")
        limit, skip = options.pop("limit", None), options.pop("skip", 0)
        left = None if limit is None else skip + limit
        async for document in self._walk(selector, options, page_size, left):
            if skip > 0:
                skip -= 1
            else:
                yield document

    async def _walk(
        self, selector: Mapping[str, Any], options: FindOptions, page_size: int, left: int | None
    ) -> AsyncIterator[dict[str, Any]]:
        """The first documents of a query, each once.

        CouchDB goes on at the row of a bookmark and skips one: if that row is gone, a document that nobody has seen.
        So a page counts only if the document of its bookmark was there unchanged all the while; else the walk goes
        back to an earlier bookmark. The document is given after that, lest whoever gets it changes it too soon.
        """
        fields = options.get("fields")
        if fields:
            options["fields"] = [*fields, *(each for each in _IDENTITY if each not in fields)]
        marks = [_Mark(options.pop("bookmark", None))]
        seen: set[str] = set()
        held: list[dict[str, Any]] = []
        setbacks = 0
        while left is None or len(seen) < left:
            # Another size after a setback: a document that never rests is then no mark again.
            size = page_size + setbacks if left is None or setbacks else min(page_size, left)
            page = await self._page(selector, options, marks[-1], size)
            if not await self._rests(marks[-1]):
                del marks[-1]
                setbacks += 1
                continue
            for document in held:
                yield _shown(document, fields)
            held = [each for each in page.docs if each["_id"] not in seen]
            seen.update(each["_id"] for each in held)
            # Also the last page has a bookmark: only its length says that it is the last.
            if len(page.docs) < size or page.bookmark in (None, "nil", marks[-1].bookmark):
                break
            marks.append(_Mark(page.bookmark, page.docs[-1]["_id"], page.docs[-1]["_rev"]))
        for document in held if left is None else held[: left - len(seen) + len(held)]:
            yield _shown(document, fields)

    async def _page(self, selector: Mapping[str, Any], options: FindOptions, mark: _Mark, size: int) -> FindResult:
        begun = options.copy()
        begun["limit"] = size
        if mark.bookmark is not None:
            begun["bookmark"] = mark.bookmark
        return await self.find(selector, **begun)

    async def _rests(self, mark: _Mark) -> bool:
        """Whether the document of a bookmark is there as it was."""
        if mark.id is None:
            return True
        found = await self.find({"_id": mark.id}, fields=list(_IDENTITY), limit=1)
        return [each.get("_rev") for each in found.docs] == [mark.rev]

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


_IDENTITY = ("_id", "_rev")


class _Mark(NamedTuple):
    """A bookmark, and the document whose row it names; none at the beginning."""

    bookmark: str | None
    id: str | None = None
    rev: str | None = None


def _shown(document: dict[str, Any], fields: Sequence[str] | None) -> dict[str, Any]:
    """A document without what was only asked for by the walk."""
    if not fields:
        return document
    return {name: value for name, value in document.items() if name not in _IDENTITY or name in fields}


def _question(selector: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    unknown = options.keys() - FindOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"CouchDB's _find does not have the option {', '.join(sorted(unknown))}")
    return {"selector": selector, **options}
