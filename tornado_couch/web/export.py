"""NDJSON out (`GET {path}` with `Accept: application/x-ndjson`): a whole collection, in bounded memory.

It ends with the end of the collection: an export that fails midway is cut off, and never looks whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Any, ClassVar

from tornado.iostream import StreamClosedError

from .. import json_text
from .answers import JSON
from .handlers import ResourceHandler
from .lines import NDJSON
from .negotiation import accepts, weights
from .problems import Problem

__all__ = ["ExportMixin", "LineWriter"]


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
        self.write(b"".join(json_text.dumps(value) + b"\n" for value in values))
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
                raise Problem(400, "bad-parameter", detail, parameter=name)
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
