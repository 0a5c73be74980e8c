"""Listing a collection, page by page or as a stream of lines (NDJSON).

It ends with the end of the collection: an export that fails midway is cut off, and never looks whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, ClassVar

from tornado.iostream import StreamClosedError

from ... import _json
from ...store import Page, Position
from ..handler import JSON, ResourceHandler
from ..http import NDJSON, accepts, weights
from ..problems import Problem
from ..query import Cursor, ListQuery, parse_list_query

__all__ = ["ExportMixin", "LineWriter", "ListMixin"]


class LineWriter(ResourceHandler):
    """Writes an answer line by line, no faster than the client takes it.

    Attributes:
        STALLED: seconds that a client may leave the answer unread.
    """

    STALLED: ClassVar[float] = 60.0

    async def write_lines(self, values: Iterable[Any]) -> None:
        """Write lines, and wait until they have left.

        Raises:
            StreamClosedError: the client is gone, or takes nothing.
        """
        self.set_header("Content-Type", NDJSON)
        self.set_header("Cache-Control", "no-store")
        self.write(b"".join(_json.dumps(value) + b"\n" for value in values))
        try:
            async with asyncio.timeout(self.STALLED):
                await self.flush()
        except TimeoutError:
            self.cut_off()
            raise StreamClosedError from None

    def cut_off(self) -> None:
        """Close the connection: the only sign that what was written is not the whole answer."""
        self.request.connection.stream.close()  # type: ignore[union-attr]


class ExportMixin(LineWriter):
    """GET of a collection as NDJSON: all of it, a line for each item.

    Attributes:
        EXPORT_PAGE: items that are read at a time.
    """

    EXPORT_PAGE: ClassVar[int] = 500

    def answer_types(self) -> tuple[str, ...]:
        """A collection can be had as lines."""
        return (JSON, NDJSON) if self.request.method in ("GET", "HEAD") else super().answer_types()

    @property
    def wants_lines(self) -> bool:
        """Whether the client likes lines better than pages."""
        field = self.request.headers.get("Accept", "")
        if not accepts(field, JSON):
            return True  # what is left: of a request that takes neither nobody asks this
        given = weights(field)
        liking = given.get(NDJSON, 0.0)
        if JSON in given:
            return liking > given[JSON]
        return liking > 0 and liking >= given.get("application/*", given.get("*/*", 0.0))

    async def export(self, pages: AsyncGenerator[tuple[Sequence[dict[str, Any]], int], None]) -> None:
        """Write every item, and at the end how many documents were withheld, if any.

        Args:
            pages: items, and how many documents belong to the page and could not be read.

        Raises:
            Problem: 400, the client asks for a part of it.
        """
        for name in ("limit", "cursor", "count"):
            if name in self.request.query_arguments:
                detail = f"An export is of everything that the filters let through; `{name}` is for pages of {JSON}."
                raise Problem.of("bad-parameter", detail, parameter=name)
        withheld = 0
        try:
            if self.request.method != "HEAD":
                async with aclosing(pages):
                    async for items, unreadable in pages:
                        withheld += unreadable
                        await self.write_lines(items)
            await self.write_lines([{"withheld": withheld}] if withheld else [])
        except StreamClosedError:
            return
        except Exception:
            if self._headers_written:
                self.cut_off()
            raise
        self.finish()


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
