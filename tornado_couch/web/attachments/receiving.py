"""`UploadBody`: takes a body of files while it comes, no faster than it can be spooled, and keeps none of it in memory.

What can be known before the body comes is judged before: the caller, the document, the preconditions, the type, the
length. The rest is judged as soon as it has come. A client that is refused gets its answer at once, while the rest of
its body is dropped, so that browsers get to read it too.
"""

from __future__ import annotations

import asyncio
import hmac
from typing import Any, Protocol

from tornado.iostream import StreamClosedError

from ...models import AttachmentPlace, AttachmentProperty
from ...store import Upload
from ...store.uploads import Spooled
from ..body import Body
from ..http import DRAINED, content_length
from ..http.media import HEAD_BYTES, content_fits, is_media_type
from ..problems import Problem
from ..resources import EventFile

__all__ = ["Incoming", "Receiver", "UploadBody", "check_coding", "declared_type", "event_file"]

_UNLIMITED = 2**63
_PART = 256 * 1024  # bytes that are spooled at a time
_SLOWEST = 16 * 1024  # bytes that a client has to send in a second, on average
_PATIENCE = 60.0  # seconds that it may take besides


class Receiver(Protocol):
    """What a body consists of: one file, or the parts of a form."""

    async def feed(self, data: bytes) -> None:
        """Take more of the body."""

    async def end(self) -> None:
        """Take note that all of it has come."""

    def close(self) -> None:
        """Give back what it holds."""


def declared_type(content_type: str, declared: AttachmentProperty) -> str:
    """Return the media type of a file, if the property takes it; without any it is application/octet-stream.

    Raises:
        Problem: 415.
    """
    kind = content_type.partition(";")[0].strip().lower() or "application/octet-stream"
    if not is_media_type(kind) or not declared.accepts(kind):
        accepted = list(declared.media_types)
        detail = f"`{declared.name}` takes files of type {' or '.join(accepted) or 'TYPE/SUBTYPE'}, and this is {kind}."
        raise Problem.of("file-type", detail[:1000], accepted=accepted)
    charset = content_type.partition(";")[2].strip()
    return f"{kind}; {charset}" if kind.startswith("text/") and _is_plain(charset) else kind


def _is_plain(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.lower() == "charset" and value.replace("-", "").replace("_", "").isalnum() and value.isascii()


def check_coding(headers: Any) -> None:
    """Refuse a body that is not a whole file as it is.

    Raises:
        Problem: 415, it has a content coding; 400, it is a part of a file (RFC 9110 §14.5).
    """
    if headers.get("Content-Encoding", "identity").strip().lower() not in ("", "identity"):
        detail = "Files are sent without a content coding."
        raise Problem(415, detail=detail, headers={"Accept-Encoding": "identity"})
    if "Content-Range" in headers:
        raise Problem(400, detail="A file is sent as a whole, without Content-Range.")


def event_file(place: AttachmentPlace, upload: Upload) -> EventFile:
    """Return a file that has arrived as hooks see it."""
    return EventFile(place.name, upload.content_type, upload.length, upload.sha256, upload)


class Incoming:
    """A file on its way.

    Args:
        declared: the property that is to have it.
        content_type: its media type, which the property takes.
        digest: the SHA-256 that the client says it has; None if it says none.

    Attributes:
        upload: the file, once all of it has come.
    """

    upload: Upload | None = None

    def __init__(self, declared: AttachmentProperty, content_type: str, digest: bytes | None = None) -> None:
        self._declared = declared
        self._content_type = content_type
        self._digest = digest
        self._spool = Spooled()
        self._buffer = bytearray()
        self._length = 0
        self._judged = False

    def expect(self, length: int) -> None:
        """Refuse a file that will be too large.

        Raises:
            Problem: 413.
        """
        most = self._declared.max_bytes
        if length > most:
            detail = f"A file of `{self._declared.name}` has at most {most} bytes."
            raise Problem.of("file-too-large", detail, limit=most)

    async def feed(self, data: bytes) -> None:
        """Take more of the file.

        Raises:
            Problem: 413, it is too large; 415, it is not what its media type says.
        """
        self._length += len(data)
        self.expect(self._length)
        self._buffer += data
        if not self._judged and len(self._buffer) >= HEAD_BYTES:
            self._judge()
        if len(self._buffer) >= _PART:
            await self._flush()

    async def end(self) -> None:
        """Take note that all of it has come.

        Raises:
            Problem: 415, it is not what its media type says; 400, it is not what the client's digest says.
        """
        if not self._judged:
            self._judge()
        await self._flush()
        self.upload = Upload(self._content_type, self._spool)
        if self._digest is not None and not hmac.compare_digest(self._digest, self.upload.sha256):
            raise Problem(400, detail="The file has another SHA-256 than its digest field says.")

    def _judge(self) -> None:
        self._judged = True
        kind = self._content_type.partition(";")[0]
        if not content_fits(kind, bytes(self._buffer[:HEAD_BYTES])):
            raise Problem.of("file-content", f"The content of the file is not {kind}.")

    async def _flush(self) -> None:
        if self._buffer:
            data, self._buffer = bytes(self._buffer), bytearray()
            await self._spool.append(data)

    def close(self) -> None:
        """Give back what was spooled."""
        close = self._spool.close if self.upload is None else self.upload.close
        if self._length < _PART:
            close()
        else:  # a file system takes a quarter of a second to give back a gigabyte
            asyncio.get_running_loop().run_in_executor(None, close)


class UploadBody(Body):
    """Passes a body on to its receiver.

    Args:
        handler: the handler of the request. Its `receiver()` lets the request through, or refuses it, and returns what
            receives the body; its `answer_early()` answers before the body is at its end.
    """

    def __init__(self, handler: Any) -> None:
        super().__init__(handler, handler.resource.limits)
        self._handler = handler
        self._receiver: Receiver | None = None
        self._feeding = asyncio.Lock()
        self._closed = self._complete = False

    async def begin(self) -> None:
        """Judge what can be judged before the body comes.

        Raises:
            Problem: the request is refused, and its body is too long to be dropped or still waits for our word.
        """
        headers, connection = self._request.headers, self._request.connection
        connection.set_max_body_size(_UNLIMITED)  # type: ignore[union-attr]
        length = content_length(headers)
        try:
            self._receiver = await self._handler.receiver(length)
        except Exception as error:
            if "Expect" in headers or length > DRAINED:
                raise
            self._refuse(error)
        most = length or self._handler.most_bytes
        connection.set_body_timeout(_PATIENCE + most / _SLOWEST)  # type: ignore[union-attr]

    def _refuse(self, error: Exception) -> None:
        self.refusal = error
        self._close()
        self._handler.answer_early(error)

    async def receive(self, chunk: bytes) -> None:
        """Take a part of the body."""
        if self.refusal is None and self._receiver is not None:
            await self._feed(self._receiver, chunk)
            return
        self._received += len(chunk)
        if self._received > DRAINED:
            self._request.connection.stream.close()  # type: ignore[union-attr]

    async def _feed(self, receiver: Receiver, chunk: bytes) -> None:
        try:
            async with self._feeding:
                await receiver.feed(chunk)
        except Exception as error:  # noqa: BLE001 - it is the answer, whatever it is
            self._refuse(error)
        if self._closed:  # the client is gone, or has its answer
            self._close()

    async def finish(self) -> None:
        """Take note that the body is at its end.

        Raises:
            Exception: the reason why it is refused.
        """
        self._complete = True
        if self.refusal is not None:
            raise self.refusal
        if self._receiver is not None:
            await self._receiver.end()

    async def file(self) -> Upload:
        """Return the file, once all of it has come.

        Raises:
            Exception: the reason why it is refused.
        """
        await self.finish()
        upload = self._receiver.upload if isinstance(self._receiver, Incoming) else None
        if upload is None:
            raise StreamClosedError
        return upload

    def end(self) -> None:
        """Drop what has come from a client that is gone before all of it had."""
        if not self._complete:
            self._close()

    def drop(self) -> None:
        """Give back what has come."""
        super().drop()
        self._close()

    def _close(self) -> None:
        self._closed = True
        if self._receiver is not None and not self._feeding.locked():  # a thread may be writing to it
            receiver, self._receiver = self._receiver, None
            receiver.close()

    def raw(self) -> bytes:
        """Refuse to return what was not kept in memory.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError("the body is a file, which is spooled while it comes: there is no body in memory")


