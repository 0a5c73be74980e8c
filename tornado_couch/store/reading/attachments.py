"""`AttachmentReader`: a file that is open for reading, or a range of it; verified, decrypted, never whole in memory."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from http import HTTPStatus
from typing import Any, NamedTuple

from ...couch import Database
from ...couch.transport.base import Stream
from ...couch.transport.pool import Slots
from ...errors import AttachmentNotFound, InvalidReply, InvalidSignature, NotFound
from ...models import FILES_PROPERTY, Attachment, Model, attachment_place, entries_of, model_info, record_of
from ...security import CHUNK_BYTES, FileCipher
from ..protection.files import FileProtection, Sealed

__all__ = ["AttachmentReader", "FileReader"]

Document = dict[str, Any]

_AT_ONCE = 32  # files that are read at a time: a slow reader keeps a connection, and documents need some as well
_WAIT_SECONDS = 10.0  # for another reader to be done
_LOOKS = 3  # at a document that others write meanwhile


class AttachmentReader:
    """The bytes of a file, as they arrive.

        async with store.open_attachment(order, "invoice") as file:
            async for part in file:
                ...

    Attributes:
        attachment: what the file is: its type, length, digest.
        start: the first byte that is read.
        stop: the byte before which reading stops.
    """

    def __init__(self, attachment: Attachment, start: int, stop: int, parts: AsyncIterator[bytes]) -> None:
        self.attachment = attachment
        self.start = start
        self.stop = stop
        self._parts = parts

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The bytes in parts, none of them longer than 256 KiB.

        Raises:
            InvalidSignature: the file is not the one that was signed. Of a file that is read from end to end, the last
                part is held back until all of it was verified; a range is verified if the file is encrypted.
            DecryptionFailed: an encrypted file was changed.
            Unavailable, InvalidReply: CouchDB did not send all of it.
        """
        return self._parts

    async def read(self) -> bytes:
        """All of the bytes; for small files.

        Raises:
            InvalidSignature, DecryptionFailed, Unavailable, InvalidReply: as above.
        """
        return b"".join([part async for part in self._parts])


class _Kept(NamedTuple):
    """Where CouchDB has a file.

    Attributes:
        document_id: of the document that it is attached to.
        name: of the file there.
        digest: CouchDB's.
        length: in bytes, as CouchDB sends them.
        sha256: of these; None where nobody knows it.
    """

    document_id: str
    name: str
    digest: str
    length: int
    sha256: str | None


class FileReader:
    """Opens the files of the documents of one database.

    Args:
        database: where the documents are.
        protection: tells how encrypted files are read.
    """

    def __init__(self, database: Database, protection: FileProtection) -> None:
        self._database = database
        self._protection = protection
        self._slots = Slots(_AT_ONCE)

    @asynccontextmanager
    async def open(self, model: Model, name: str, start: int, stop: int | None) -> AsyncIterator[AttachmentReader]:
        """Open a file of a model, or a range of it; see `Store.open_attachment`."""
        place = attachment_place(type(model), name)
        held = place.of(model)
        if start < 0:
            raise ValueError("the first byte of a range is 0 or a later one")
        if held is None or name in model._uploads:
            raise AttachmentNotFound("there is no such file")
        stored = {**model._stored, "_id": model._id, "_rev": model._rev}
        sealed = self._protection.opened(model_info(type(model)), stored, name)
        end = held.length if stop is None else min(stop, held.length)
        begin = min(start, end)
        async with AsyncExitStack() as stack:
            await self._slots.acquire(_WAIT_SECONDS)
            stack.callback(self._slots.release)
            parts = await self._parts(stored, name, begin, end, sealed, stack)
            yield AttachmentReader(held, begin, end, await stack.enter_async_context(aclosing(parts)))  # type: ignore[type-var]

    async def _parts(
        self, stored: Document, name: str, start: int, stop: int, sealed: Sealed | None, stack: AsyncExitStack
    ) -> AsyncIterator[bytes]:
        kept = _kept(stored, name)
        if sealed is None:
            span = None if (start, stop) == (0, kept.length) else (start, stop)
            return _checked(await self._opened(stored, kept, span, stack), kept, start, stop)
        if kept.length != FileCipher.sealed_length(sealed.length):
            raise InvalidSignature("an encrypted file has another length than was stored")
        numbers = FileCipher.chunks_of(start, stop, sealed.length)
        first, last = FileCipher.sealed_span(*numbers, sealed.length)
        raw = _cut(await self._opened(stored, kept, (first, last), stack), first, last)
        return _decrypted(raw, sealed, numbers, start, stop)

    async def _opened(
        self, stored: Document, kept: _Kept, span: tuple[int, int] | None, stack: AsyncExitStack
    ) -> Stream:
        """CouchDB's answer with a file's bytes.

        Raises:
            AttachmentNotFound: the document has another file there by now, or none.
        """
        revision = stored["_rev"] if kept.document_id == stored["_id"] else None
        asked = None if span is None or span[0] == span[1] else span
        for _ in range(_LOOKS):
            reading = self._database.attachment(kept.document_id, kept.name, revision, span=asked)
            try:
                opened = await stack.enter_async_context(reading)
            except NotFound:
                # CouchDB forgets older revisions at any time; the file may be in the latest one as well.
                revision = await self._latest(kept)
                continue
            if opened.headers.get("ETag", "").removeprefix("W/") != f'"{kept.digest.partition("-")[2]}"':
                break
            return opened
        raise AttachmentNotFound("the document has another file there by now, or none")

    async def _latest(self, kept: _Kept) -> str:
        try:
            found = await self._database.get(kept.document_id)
        except NotFound:
            raise AttachmentNotFound("the document was deleted") from None
        if found.get("_attachments", {}).get(kept.name, {}).get("digest") != kept.digest:
            raise AttachmentNotFound("the document has another file there by now, or none")
        return str(found["_rev"])


def _kept(document: Mapping[str, Any], name: str) -> _Kept:
    entry, record = entries_of(document)[name], record_of(document, name)
    elsewhere = name not in document.get("_attachments", {}) and name in document.get(FILES_PROPERTY, {})
    place = (str(entry["document"]), "file") if elsewhere else (str(document["_id"]), name)
    return _Kept(*place, str(entry["digest"]), int(record.get("length", entry["length"])), record.get("sha256"))


async def _cut(opened: Stream, start: int, stop: int) -> AsyncIterator[bytes]:
    """The bytes of a range of what CouchDB sends, which may be all of the file.

    Raises:
        InvalidReply: there are not as many.
    """
    place = start if opened.status == HTTPStatus.PARTIAL_CONTENT else 0
    async for chunk in opened.chunks:
        part = chunk[max(start - place, 0) : max(stop - place, 0)]
        place += len(chunk)
        if part:
            yield part
        if place >= stop:
            return  # what follows of a file that was sent whole is not needed
    if place < stop:
        raise InvalidReply("CouchDB sent less of a file than it says there is")


async def _checked(opened: Stream, kept: _Kept, start: int, stop: int) -> AsyncIterator[bytes]:
    """The bytes of a file in the clear; those of a whole one are verified before the last part is given."""
    if start == stop and kept.length:
        return
    if (start, stop) != (0, kept.length):
        async for part in _cut(opened, start, stop):
            yield part
        return
    found, length, held = hashlib.sha256(), 0, b""
    async for chunk in opened.chunks:
        found.update(chunk)
        length += len(chunk)
        if held:
            yield held
        held = chunk
    known = kept.sha256 in (None, base64.b64encode(found.digest()).decode())
    if not known or length != kept.length:
        raise InvalidSignature("a file has other bytes than were stored")
    if held:
        yield held


async def _decrypted(
    raw: AsyncIterator[bytes], sealed: Sealed, numbers: tuple[int, int], start: int, stop: int
) -> AsyncIterator[bytes]:
    """The bytes of a range of an encrypted file, each chunk of which is verified before it is given."""
    whole, seen, place = (start, stop) == (0, sealed.length), hashlib.sha256(), numbers[0] * CHUNK_BYTES
    async for plain in sealed.cipher.stream(raw, sealed.length, *numbers):
        if whole:
            seen.update(plain)
        if part := plain[max(start - place, 0) : max(stop - place, 0)]:
            yield part
        place += len(plain)
    if place < stop or (whole and base64.b64encode(seen.digest()).decode() != sealed.sha256):
        raise InvalidSignature("a file has other bytes than were stored")
