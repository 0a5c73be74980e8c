"""The action on a collection that lists it."""

from __future__ import annotations

from typing import Any

from ..store import Page
from .handlers import ResourceHandler
from .list_query import ListQuery, parse_list_query

__all__ = ["ListMixin"]


class ListMixin(ResourceHandler):
    """GET of a collection: a page of it."""

    async def list(self) -> None:
        """Answer with a page."""
        query = self.get_query()
        page = await self.perform_list(query)
        body: dict[str, Any] = {"items": [await self.item(model) for model in page.items]}
        if page.withheld:
            body["withheld"] = page.withheld
        if page.next:
            cursor = self.cursors().encode(page.next, query.scope(self.resource.path))
            body["next"] = query.address(self.resource.path, cursor)
            self.set_header("Link", f'<{body["next"]}>; rel="next"')  # RFC 8288
        await self.answer_items(body)

    def get_query(self) -> ListQuery:
        """What the client asks for; override to add to it."""
        return parse_list_query(self.resource, self.request.query_arguments, self.cursors())

    async def perform_list(self, query: ListQuery) -> Page[Any]:
        """Find the page."""
        return await self.resource.store.find(
            self.resource.model, by=query.by, key=query.key, limit=query.limit, start=query.start
        )
