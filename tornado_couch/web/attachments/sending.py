"""`FileAnswer`: answers with a file, or with ranges of it, no faster than the client takes it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from tornado.iostream import StreamClosedError
from tornado.web import GZipContentEncoding

from ...errors import TornadoCouchError
from ...models import Attachment, AttachmentPlace, Model
from ..http import (
    Byteranges,
    Span,
    content_disposition,
    entity_tag,
    if_range_holds,
    repr_digest,
    requested_spans,
)
from ..http.media import is_inline
from ..problems import Problem
from ..unread import STALLED, cut_off, send_part

if TYPE_CHECKING:
    from .handlers import FileHandler

__all__ = ["FileAnswer"]

logger = logging.getLogger("tornado_couch.web")


class FileAnswer:
    """The answer to a GET or HEAD of a file.

    Args:
        handler: the handler of the request.
        model: the document that has the file.
        place: where it has it.
        file: what the document says of it.
    """

    def __init__(self, handler: FileHandler, model: Model, place: AttachmentPlace, file: Attachment) -> None:
        self._handler = handler
        self._model = model
        self._place = place
        self._file = file

    async def send(self) -> None:
        """Answer.

        Raises:
            Problem: 412, 416.
            AttachmentNotFound: the document has another file by now; nothing was answered yet.
            TornadoCouchError: the file cannot be read, or is not the one that was stored; likewise.
        """
        handler, file = self._handler, self._file
        handler.set_status(200)  # an earlier try may have said something else
        status = handler.preconditions().evaluate_read(file.etag)
        if status == 412:
            raise Problem.of("file-mismatch", headers={"ETag": entity_tag(file.etag)})
        handler.answers.tag = entity_tag(file.etag)
        handler.set_header("ETag", entity_tag(file.etag))
        handler.set_header("Cache-Control", "private, no-cache")
        if status == 304:
            handler.set_status(304)
            handler.clear_header("Content-Type")
            handler.finish()
            return
        self._set_fields()
        spans = self._spans()
        frame = Byteranges(spans, file.length, file.content_type) if len(spans) > 1 else None
        if frame is not None:
            handler.set_header("Content-Type", frame.content_type)
            handler.set_header("Content-Length", str(frame.total))
        else:
            handler.set_header("Content-Length", str(sum(each.length for each in spans)))
        if handler.request.method == "HEAD":
            handler.finish()
        else:
            await self._body(spans, frame)

    def _set_fields(self) -> None:
        handler, file = self._handler, self._file
        # A content coding would be another representation, with another entity tag and other ranges.
        handler._transforms = [each for each in handler._transforms if not isinstance(each, GZipContentEncoding)]
        handler.set_header("Content-Type", file.content_type)
        handler.set_header("Accept-Ranges", "bytes")
        shown = is_inline(file.content_type.partition(";")[0]) and handler.is_apart
        name = self._place.item or self._place.declared.name
        handler.set_header("Content-Disposition", content_disposition("inline" if shown else "attachment", name))
        # Should a browser show it all the same, no script in it has an origin, or may load anything.
        handler.set_header("Content-Security-Policy", "sandbox; default-src 'none'")
        if file.sha256 is not None:
            handler.set_header("Repr-Digest", repr_digest(file.sha256))

    def _spans(self) -> list[Span]:
        """Return what is sent, and say so where it is not the whole file.

        Raises:
            Problem: 416, the file has none of what is asked for.
        """
        handler, length = self._handler, self._file.length
        whole = [Span(0, length - 1)] if length else []
        field, condition = handler.fields.get("Range"), handler.fields.get("If-Range")
        # RFC 9110 §14.2: for other methods than GET, Range means nothing.
        if field is None or handler.request.method != "GET":
            return whole
        if condition is not None and not if_range_holds(condition, self._file.etag):
            return whole
        spans = requested_spans(field, length)
        if spans is None:
            return whole
        if not spans:
            raise Problem.of("range-not-satisfiable", headers={"Content-Range": f"bytes */{length}"})
        handler.set_status(206)
        if len(spans) == 1:
            handler.set_header("Content-Range", spans[0].content_range(length))
        return spans

    # ------------------------------------------------------------ the bytes

    async def _body(self, spans: list[Span], frame: Byteranges | None) -> None:
        handler, begun = self._handler, False
        try:
            async with aclosing(self._parts(spans, frame)) as parts:
                async for part in parts:
                    begun = True
                    await send_part(handler, part, STALLED)
        except StreamClosedError:
            return
        except TornadoCouchError as error:
            if not begun:
                raise
            logger.error("%s: %s: %s", handler.request.path, type(error).__name__, error)
            cut_off(handler)
            return
        handler.finish()

    async def _parts(self, spans: list[Span], frame: Byteranges | None) -> AsyncGenerator[bytes, None]:
        opened = self._handler.store.open_attachment
        for span in spans:
            async with opened(self._model, self._place.name, start=span.first, stop=span.last + 1) as file:
                head = b"" if frame is None else frame.head(span)
                async for part in file:
                    yield head + part
                    head = b""
        if frame is not None:
            yield frame.end
