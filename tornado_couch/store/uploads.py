"""`Upload`: a file that is to be stored, spooled until its length and digests are known.

The bytes stay in memory up to a limit; beyond it they go to a temporary file, which is written, read, hashed and
compressed in threads. So a source is read once, however often a write meets a conflict.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import tempfile
import threading
import zlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from typing import IO, Any, BinaryIO

from ..errors import AttachmentTooLarge, ValidationFailed
from ..models import Attachment, AttachmentPlace, Attachments, Model, missing_file, model_info

__all__ = [
    "Source",
    "Spooled",
    "Upload",
    "check_required",
    "drop_file",
    "gzipped",
    "is_compressible",
    "place_file",
]

Source = bytes | bytearray | memoryview | BinaryIO | AsyncIterable[bytes]
"""What a file can be stored from: bytes, a file that is open for reading, or parts as they arrive."""

_IN_MEMORY = 1024 * 1024  # bytes of a file that are not written to disk
_PART = 256 * 1024  # bytes that are handled at a time
_GZIP_LEVEL = 8  # CouchDB's `attachments/compression_level`

# What CouchDB compresses by default; whatever it is sent coded already it stores as it is.
_COMPRESSIBLE = ("application/javascript", "application/json", "application/xml")


def is_compressible(content_type: str) -> bool:
    """Whether CouchDB would compress files of this type by itself (`attachments/compressible_types`)."""
    plain = content_type.partition(";")[0].strip().lower()
    return plain.startswith("text/") or plain in _COMPRESSIBLE


class Spooled:
    """Bytes on their way, with their digests.

    Attributes:
        length: how many there are.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] = io.BytesIO()
        self._turn = threading.Lock()  # several threads may read at once, and the file has one position
        self._sha256, self._md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        self.length = 0

    @property
    def sha256(self) -> bytes:
        """Their SHA-256."""
        return self._sha256.digest()

    @property
    def md5(self) -> str:
        """Their MD5 as CouchDB writes it: `md5-` and base64."""
        return "md5-" + base64.b64encode(self._md5.digest()).decode()

    def write(self, data: bytes) -> None:
        """Append bytes; blocks where they go to disk."""
        self.length += len(data)
        self._sha256.update(data)
        self._md5.update(data)
        if self.length > _IN_MEMORY and isinstance(self._file, io.BytesIO):
            file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - `close` closes it
            file.write(self._file.getbuffer())
            self._file = file
        self._file.write(data)

    def read(self, start: int, count: int) -> bytes:
        """Read bytes from a place on; blocks where they are on disk."""
        with self._turn:
            self._file.seek(start)
            return self._file.read(count)

    def parts(self) -> Iterator[bytes]:
        """The bytes in parts; blocks where they are on disk."""
        for start in range(0, self.length, _PART):
            yield self.read(start, _PART)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes in parts, read in a thread where they are on disk."""
        for start in range(0, self.length, _PART):
            yield await self._threaded(0, self.read, start, _PART)

    async def append(self, data: bytes) -> None:
        """Append bytes, in a thread where there are many."""
        await self._threaded(len(data), self.write, data)

    async def _threaded(self, count: int, function: Callable[..., Any], *arguments: Any) -> Any:
        # On the way to a thread a small file would wait longer than it takes.
        if isinstance(self._file, io.BytesIO) and self.length + count <= _PART:
            return function(*arguments)
        return await asyncio.to_thread(function, *arguments)

    def close(self) -> None:
        """Give the memory, or the temporary file, back; otherwise the end of the object does."""
        self._file.close()

    __del__ = close


class Upload:
    """A file that is to be stored, all of which has arrived.

        async with await Upload.spooled(source, content_type="image/png", most=5_000_000) as upload:
            await store.attach(order, "photos/front.png", upload)

    Attributes:
        content_type: its media type.
        length: in bytes.
        sha256: of its bytes.
    """

    def __init__(self, content_type: str, spool: Spooled) -> None:
        self.content_type = content_type
        self.spool = spool
        self._forms: dict[Any, Any] = {}  # as which it was prepared to be stored, for further tries

    @property
    def length(self) -> int:
        """How many bytes it has."""
        return self.spool.length

    @property
    def sha256(self) -> bytes:
        """The SHA-256 of its bytes."""
        return self.spool.sha256

    @classmethod
    async def spooled(cls, source: Source, *, content_type: str, most: int | None = None) -> Upload:
        """Take in all of a file.

        Args:
            source: where the bytes come from; it is read once, and not closed.
            content_type: the media type.
            most: the greatest number of bytes; what follows is not read.

        Raises:
            AttachmentTooLarge: there are more.
        """
        spool = Spooled()
        try:
            async for data in _parts(source):
                if most is not None and spool.length + len(data) > most:
                    raise AttachmentTooLarge(f"the file may have {most} bytes", most)
                await spool.append(data)
        except BaseException:
            spool.close()
            raise
        return cls(content_type, spool)

    async def head(self, count: int = 8192) -> bytes:
        """The first bytes, by which types of files can be told apart."""
        return await asyncio.to_thread(self.spool.read, 0, count)

    def chunks(self) -> AsyncIterator[bytes]:
        """Its bytes in parts, as often as they are asked for."""
        return self.spool.chunks()

    async def prepared(self, key: Any, make: Callable[[], Any]) -> Any:
        """What is made of the file for a place, once for all tries; made in a thread. It is closed with the upload."""
        if key not in self._forms:
            self._forms[key] = await asyncio.to_thread(make)
        return self._forms[key]

    def close(self) -> None:
        """Give back the memory, or the temporary files."""
        for each in self._forms.values():
            each.close()
        self._forms.clear()
        self.spool.close()

    async def __aenter__(self) -> Upload:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.length <= _PART:
            self.close()
        else:
            await asyncio.to_thread(self.close)  # file systems take their time to give up a large file


def gzipped(source: Spooled) -> Spooled:
    """A copy in gzip's format, with the very bytes that CouchDB would have made; blocks."""
    packer, packed = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS), Spooled()
    for part in source.parts():
        packed.write(packer.compress(part))
    packed.write(packer.flush())
    return packed


async def _parts(source: Source) -> AsyncIterator[bytes]:
    if isinstance(source, bytes | bytearray | memoryview):
        data = memoryview(source).cast("B")
        for start in range(0, len(data), _PART):
            yield bytes(data[start : start + _PART])
    elif isinstance(source, AsyncIterable):
        async for part in _gathered(source):
            yield part
    else:
        while part := await asyncio.to_thread(source.read, _PART):
            yield part


async def _gathered(source: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """Parts of a fair size, since each goes to a thread."""
    held = bytearray()
    async for part in source:
        held += part
        if len(held) >= _PART:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)


def place_file(model: Model, place: AttachmentPlace, upload: Upload) -> None:
    """Have the next write of a model store a file with it.

    Args:
        model: the model, which shows the file from now on.
        place: where.
        upload: the file.

    Raises:
        MediaTypeRefused, AttachmentTooLarge, TooManyAttachments: the property does not take it.
    """
    declared = place.declared
    declared.check(upload.content_type, upload.length)
    digest = "sha256-" + base64.b64encode(upload.sha256).decode()
    file = Attachment(upload.content_type, upload.length, digest)
    _set(model, place, file)
    model._uploads = {**model._uploads, place.name: upload}


def drop_file(model: Model, place: AttachmentPlace) -> None:
    """Have the next write of a model delete a file.

    Raises:
        ValidationFailed: the document cannot be without it.
    """
    if place.declared.required:
        raise ValidationFailed([missing_file(place.declared)])
    _set(model, place, None)
    model._uploads = {name: each for name, each in model._uploads.items() if name != place.name}


def _set(model: Model, place: AttachmentPlace, file: Attachment | None) -> None:
    value: Any = file
    if place.item is not None:
        held = model.__dict__.get(place.declared.attribute) or {}
        value = Attachments({name: each for name, each in held.items() if name != place.item or file is not None})
        if file is not None:
            value[place.item] = file
        if len(value) > len(held):
            place.declared.check_count(len(value))
    model.__dict__[place.declared.attribute] = value


def check_required(model: Model) -> None:
    """Refuse a new model without a file that it has to have.

    Raises:
        ValidationFailed: it names the properties.
    """
    declared = model_info(type(model)).attachments.values()
    missing = [missing_file(each) for each in declared if each.required and model.__dict__.get(each.attribute) is None]
    if missing:
        raise ValidationFailed(missing)
