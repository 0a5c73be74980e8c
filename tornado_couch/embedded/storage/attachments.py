"""Attachments: their record next to a revision's body, and how their bytes are encoded for storage."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from tornado_couch.embedded.problems import Problem, bad_request
from tornado_couch.embedded.spool import Spool

__all__ = [
    "PART_SIZE",
    "Attachment",
    "NewAttachment",
    "decoded",
    "dump_attachments",
    "load_attachments",
    "new_attachment",
    "parse_attachments",
    "stub",
]

PART_SIZE = 256 * 1024
"""The size in bytes of each stored part of an attachment, and of each read."""

_GZIP_LEVEL = 8  # CouchDB's `attachments/compression_level`; the digest depends on it
_COMPRESSIBLE = ("application/javascript", "application/json", "application/xml")


class Attachment(NamedTuple):
    """A stored attachment of one revision.

    Attributes:
        name: its name in `_attachments`.
        content_type: its media type.
        revpos: the generation in which it was added to the document.
        digest: the MD5 of the stored bytes, in base64.
        length: how many bytes the client sent.
        stored: how many bytes are stored.
        encoding: "identity", or "gzip" if the stored bytes are compressed.
        blob: the key under which the bytes are stored.
    """

    name: str
    content_type: str
    revpos: int
    digest: str
    length: int
    stored: int
    encoding: str
    blob: int

    @property
    def md5(self) -> bytes:
        """The MD5 of the stored bytes."""
        return base64.b64decode(self.digest)


class NewAttachment(NamedTuple):
    """An attachment as a client sent it: new bytes or, if `data` is None, a stub of a stored attachment."""

    name: str
    content_type: str
    revpos: int | None
    digest: str
    length: int
    stored: int
    encoding: str
    data: Spool | None

    @property
    def md5(self) -> bytes:
        """The MD5 of the bytes to store."""
        return base64.b64decode(self.digest)

    def parts(self) -> Iterator[bytes]:
        """The bytes to store, in pieces of `PART_SIZE`."""
        if self.data is None:
            return
        self.data.rewind()
        while part := self.data.read(PART_SIZE):
            yield part


def load_attachments(text: str | None) -> list[Attachment]:
    """Read the attachments that `dump_attachments` wrote."""
    return [Attachment(*row) for row in json.loads(text)] if text else []


def dump_attachments(attachments: list[Attachment]) -> str | None:
    """Write the attachments of a revision as text, or None."""
    return json.dumps(attachments, ensure_ascii=False, separators=(",", ":")) if attachments else None


def _compressible(content_type: str) -> bool:
    plain = content_type.partition(";")[0].strip().lower()
    return plain.startswith("text/") or plain in _COMPRESSIBLE


def check_name(name: str) -> None:
    """Refuse a name that CouchDB refuses."""
    if name.startswith("_"):
        raise bad_request(f"Attachment name '{name}' starts with prohibited character '_'")


def new_attachment(
    name: str, content_type: str, data: Spool, *, revpos: int | None = None, encoding: str = "identity"
) -> NewAttachment:
    """Make an attachment of new bytes; bytes of a compressible type are compressed, as in CouchDB.

    Args:
        name: its name in `_attachments`.
        content_type: its media type.
        data: the bytes, from their beginning.
        revpos: the generation in which it was added, if the client says so.
        encoding: "gzip" if the client sent compressed bytes.
    """
    check_name(name)
    if encoding == "identity" and _compressible(content_type):
        packed, length = _compressed(data)
        data, encoding = packed, "gzip"
    else:
        length = -1
    digest, stored = _digest(data)
    if length < 0:
        length = stored
    return NewAttachment(name, content_type, revpos, digest, length, stored, encoding, data)


def _digest(data: Spool) -> tuple[str, int]:
    """The MD5 in base64 and the number of bytes."""
    md5, size = hashlib.md5(usedforsecurity=False), 0
    data.rewind()
    while part := data.read(PART_SIZE):
        md5.update(part)
        size += len(part)
    return base64.b64encode(md5.digest()).decode(), size


def _compressed(data: Spool) -> tuple[Spool, int]:
    """The bytes in gzip's format, and how many there were before compression."""
    # 31 gives gzip's header, without name or time, as Erlang's zlib writes it; the digest covers these bytes.
    packer = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, 31)
    packed = Spool()
    size = 0
    data.rewind()
    while part := data.read(PART_SIZE):
        size += len(part)
        packed.write(packer.compress(part))
    packed.write(packer.flush())
    return packed, size


def decoded(attachment: Attachment, parts: Iterator[bytes]) -> Iterator[bytes]:
    """Turn the stored bytes into those that the client sent."""
    if attachment.encoding == "identity":
        yield from parts
        return
    unpacker = zlib.decompressobj(31)
    for part in parts:
        while part:
            # The size is limited, since a small attachment may unpack to a very large one.
            yield unpacker.decompress(part, PART_SIZE)
            part = unpacker.unconsumed_tail
    yield unpacker.flush()


def parse_attachments(value: Any) -> list[NewAttachment]:
    """Read the attachments in a document's `_attachments` that are inline or stubs.

    Raises:
        Problem: 400, CouchDB would not accept it.
    """
    if not isinstance(value, dict):
        raise Problem(400, "doc_validation", "Bad special document member: _attachments")
    # CouchDB ignores entries that are not objects.
    return [_parse_one(name, entry) for name, entry in value.items() if isinstance(entry, dict)]


def _parse_one(name: str, entry: dict[str, Any]) -> NewAttachment:
    check_name(name)
    revpos = entry.get("revpos")
    revpos = revpos if isinstance(revpos, int) else None
    kind = entry.get("content_type")
    kind = kind if isinstance(kind, str) else "application/octet-stream"
    if entry.get("stub") is True or entry.get("follows") is True:
        return _stub_of(name, kind, revpos, entry)
    return _inline(name, kind, revpos, entry)


def _stub_of(name: str, kind: str, revpos: int | None, entry: dict[str, Any]) -> NewAttachment:
    digest = str(entry.get("digest", "")).removeprefix("md5-")
    length = entry.get("length")
    encoding = "follows" if entry.get("follows") is True else "stub"
    return NewAttachment(name, kind, revpos, digest, length if isinstance(length, int) else -1, -1, encoding, None)


def _inline(name: str, kind: str, revpos: int | None, entry: dict[str, Any]) -> NewAttachment:
    try:
        # MIME breaks base64 into lines; CouchDB accepts that, and nothing else that is not base64.
        data = base64.b64decode("".join(entry["data"].split()), validate=True)
    except (AttributeError, KeyError, ValueError):
        raise bad_request(f"Invalid attachment data for {name}") from None
    encoding = "gzip" if entry.get("encoding") == "gzip" else "identity"
    return new_attachment(name, kind, Spool(data), revpos=revpos, encoding=encoding)


def stub(attachment: Attachment, *, encoding_info: bool = False) -> dict[str, Any]:
    """The entry in `_attachments` for an attachment whose bytes are not included."""
    entry: dict[str, Any] = {
        "content_type": attachment.content_type,
        "revpos": attachment.revpos,
        "digest": f"md5-{attachment.digest}",
        "length": attachment.length,
        "stub": True,
    }
    # Only a compressed attachment has an encoding to report.
    if encoding_info and attachment.encoding != "identity":
        entry["encoding"] = attachment.encoding
        entry["encoded_length"] = attachment.stored
    return entry
