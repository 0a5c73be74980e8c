"""`ListMixin`: GET of a collection, page by page or as a stream of lines (NDJSON).

A stream ends with the end of the collection: an export that fails midway is cut off, and never looks whole.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, ClassVar

from tornado.iostream import StreamClosedError

from ...store import Pace, Page, Position, share_of_request
from ..action_table import JSON, NDJSON
from ..handler import ResourceHandler
from ..http import accepts, weights
from ..openapi.descriptions import describe_reading
from ..openapi.operation import ApiOperation
from ..openapi.parameters import (
    describe_deleted,
    describe_fields,
    describe_filters,
    describe_groups,
    describe_page,
    describe_sort,
)
from ..problems import Problem
from ..query import Cursor, ListQuery, filterable, parse_list_query
from ..resources import M
from ..unread import STALLED
from .documents import RetrieveMixin
from .ndjson import LineWriter, lines_of
from .relations import describe_include, include

__all__ = ["ListMixin"]

_LONGEST_LINK = 8000  # characters; many clients refuse an answer with a longer field

_WITHHELD: dict[str, Any] = {
    "type": "object",
    "description": "The last line, where documents could not be verified.",
    "required": ["withheld"],
    "properties": {"withheld": {"type": "integer", "minimum": 1}},
}


class ListMixin(ResourceHandler[M]):
    """GET of a collection: a page of it, or all of it as lines.

    Attributes:
        EXPORT_PAGE: items that are read at a time for lines.
        STALLED: seconds that a client may leave the lines unread.
    """

    EXPORT_PAGE: ClassVar[int] = 500
    STALLED: ClassVar[float] = STALLED

    async def list(self) -> None:
        """Answer with a page, or with lines."""
        query = include(self, self.get_query(), RetrieveMixin)
        if query.query.deleted:
            await self.authorize("deleted")
        if query.count and self.policy.judges:
            raise Problem(403, detail="This would count documents that you may not see.")
        if _prefers_lines(self.fields):
            await self._export(query)
            return
        page = await self.perform_list(query)
        body: dict[str, Any] = {"items": await self._items(page, query)}
        if page.total is not None:
            body["total"] = page.total
            self.set_header("X-Total-Count", str(page.total))
        if page.withheld:
            body["withheld"] = page.withheld
        links = self._links(page, query)
        if links:
            body.update(links)
            field = ", ".join(f'<{address}>; rel="{relation}"' for relation, address in links.items())
            if len(field) <= _LONGEST_LINK:
                self.set_header("Link", field)  # RFC 8288
        await self.answers.items(body)

    async def _export(self, query: ListQuery) -> None:
        """Write every item, and at the end how many documents were withheld, if any.

        Raises:
            Problem: 400, the client asks for a part of it.
        """
        for name in ("limit", "cursor", "count"):
            if name in self.request.query_arguments:
                detail = f"An export contains everything that matches the filters; `{name}` is for pages of {JSON}."
                raise Problem.of("bad-parameter", detail, parameter=name)
        withheld, writer, pages = 0, LineWriter(self, self.STALLED), self._pages(query)
        try:
            if self.request.method != "HEAD":
                async with aclosing(pages):
                    async for text, unreadable in pages:
                        withheld += unreadable
                        await writer.write_text(text)
                        del text  # before the next page is read
            await writer.write([{"withheld": withheld}] if withheld else [])
        except StreamClosedError:
            return
        except Exception:
            if self._headers_written:
                writer.cut_off()
            raise
        self.finish()

    async def _items(self, page: Page[Any], query: ListQuery) -> Any:
        items, pace, judges = [], Pace(), self.policy.judges
        for model in page.items:
            if not judges or await self._shows(model, query):
                items.append(await self.item(model))
            if pace.is_due():
                await pace.breathe()
        if self.include is not None:
            await self.include(items)
        return [query.projection.apply_to_item(each) for each in items] if query.projection else items

    async def _shows(self, model: M, query: ListQuery) -> bool:
        """Ask the policy whether the caller may see an item."""
        try:
            await self.authorize("list", model)
            if query.query.deleted:
                await self.authorize("deleted", model)
        except Problem:
            return False
        return True

    async def _pages(self, query: ListQuery) -> AsyncGenerator[tuple[bytes, int], None]:
        """Yield the lines of each page to the end, and how many documents were withheld from it."""
        # What is embedded comes on top of the items.
        limit = self.EXPORT_PAGE if self.include is None else max(1, self.EXPORT_PAGE // 5)
        query, share = replace(query, limit=limit), share_of_request()
        while True:
            if self.include is not None:
                self.related.forget()  # an export can take long
            page = await self.perform_list(query)
            text, withheld, following = await lines_of(await self._items(page, query)), page.withheld, page.next
            del page
            if share is not None:
                share.release()  # `Unread` follows the text from now on
                share.seconds = self.STALLED  # an answer that has begun had better wait than be cut off
            yield text, withheld
            if following is None:
                return
            query = replace(query, start=following)

    def _links(self, page: Page[Any], query: ListQuery) -> dict[str, str]:
        """Return the addresses of the next and the previous page, by their relation."""
        path, codec = self.resource.path, self.cursors()
        around: dict[str, tuple[Position | None, bool]] = {"next": (page.next, False), "prev": (page.previous, True)}
        return {
            relation: self.prefix
            + query.address(path, codec.encode(Cursor(to.key, to.id, back, to.inclusive), query.scope(path)))
            for relation, (to, back) in around.items()
            if to
        }

    def get_query(self) -> ListQuery:
        """Return the client's query, limited as the policy says; override this to add to it."""
        return parse_list_query(self.resource, self.request.query_arguments, self.cursors(), self.restriction())

    async def perform_list(self, query: ListQuery, /) -> Page[M]:
        """Find the page."""
        return await self.resource.store.find(
            self.resource.model,
            query.query,
            limit=query.limit,
            start=query.start,
            backward=query.backward,
            count=query.count,
        )

    @staticmethod
    def describe_list(operation: ApiOperation) -> None:
        """Describe GET of a collection."""
        operation.says(f"List {operation.tag}", "A parameter that is not described, or that no index serves, is 400.")
        describe_page(operation)
        describe_sort(operation)
        describe_fields(operation)
        operation.query("count", {"type": "boolean"}, "Whether to count all matching documents, as `total`.")
        describe_filters(operation, filterable(operation.resource.model))
        describe_groups(operation)
        schemas = operation.of_model()
        describe_include(operation, RetrieveMixin, schemas.item(), schemas.item_part())
        describe_deleted(operation, "List the deleted documents that can be restored, instead of the others.")
        page = describe_reading(operation, "A page of the collection.", operation.of_model().page(), "Link")
        page.fields["ETag"] = False  # lines have none
        operation.answers[304].fields["X-Total-Count"] = page.fields["X-Total-Count"] = False
        items = {"anyOf": [operation.of_model().item(), operation.of_model().item_part(), _WITHHELD]}
        page.content[NDJSON] = {"type": "array", "items": items, "description": "All of it, a line for each item."}
        operation.problem("no-index", "overloaded")


def _prefers_lines(headers: Mapping[str, str]) -> bool:
    """Whether the client prefers lines to pages; it accepts one of them."""
    field = headers.get("Accept", "")
    if not accepts(field, JSON):
        return True
    given = weights(field)
    liking = given.get(NDJSON, 0.0)
    if JSON in given:
        return liking > given[JSON]
    return liking > 0 and liking >= given.get("application/*", given.get("*/*", 0.0))
