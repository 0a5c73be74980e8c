"""The action on a collection that lists it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

from ..store import Page, Position
from .export import ExportMixin
from .list_query import ListQuery, parse_list_query
from .paging import Cursor

__all__ = ["ListMixin"]


class ListMixin(ExportMixin):
    """GET of a collection: a page of it."""

    async def list(self) -> None:
        """Answer with a page."""
        query = self.get_query()
        if query.query.deleted:
            await self.authorize("deleted")
        if self.wants_lines:
            await self.export(self._pages(query))
            return
        page = await self.perform_list(query)
        body: dict[str, Any] = {"items": await self._items(page, query)}
        if page.total is not None:
            body["total"] = page.total
        if page.withheld:
            body["withheld"] = page.withheld
        links = self._links(page, query)
        if links:
            body.update(links)
            fields = [f'<{address}>; rel="{relation}"' for relation, address in links.items()]
            self.set_header("Link", ", ".join(fields))  # RFC 8288
        await self.answer_items(body)

    async def _items(self, page: Page[Any], query: ListQuery) -> Any:
        items = [await self.item(model) for model in page.items]
        return [query.projection.apply_to_item(item) for item in items] if query.projection else items

    async def _pages(self, query: ListQuery) -> AsyncGenerator[tuple[Any, int], None]:
        """The items of each page to the end, and how many documents were withheld from it."""
        query = replace(query, limit=self.EXPORT_PAGE)
        while True:
            page = await self.perform_list(query)
            yield await self._items(page, query), page.withheld
            if page.next is None:
                return
            query = replace(query, start=page.next)

    def _links(self, page: Page[Any], query: ListQuery) -> dict[str, str]:
        """The addresses of the pages around, by their relation."""
        path, codec = self.resource.path, self.cursors()
        around: dict[str, tuple[Position | None, bool]] = {"next": (page.next, False), "prev": (page.previous, True)}
        return {
            relation: query.address(path, codec.encode(Cursor(to.key, to.id, back, to.inclusive), query.scope(path)))
            for relation, (to, back) in around.items()
            if to
        }

    def get_query(self) -> ListQuery:
        """What the client asks for, within what the policy limits the caller to; override to add to it."""
        return parse_list_query(self.resource, self.request.query_arguments, self.cursors(), self.restriction())

    async def perform_list(self, query: ListQuery) -> Page[Any]:
        """Find the page."""
        return await self.resource.store.find(
            self.resource.model,
            query.query,
            limit=query.limit,
            start=query.start,
            backward=query.backward,
            count=query.count,
        )
