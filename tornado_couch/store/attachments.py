"""Files that documents have already, the models' own and those of other programs: how they stay when one is written.

A document that is read has a stub for each file, and a stub that is written back keeps the file. But CouchDB takes a
stub only in a revision that follows one with that file; in any other document, or on another branch of the same one,
it refuses the whole request with 412 (`missing_stub`), or takes another file of the same name. There the bytes have to
be sent once more.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from ..couch import Database
from ..couch.transport.bodies import Following
from ..errors import InvalidReply, InvalidSignature, Unavailable
from ..models import record_of
from ..security import b64_encode, signed_sha256
from .uploads import Spooled, gzipped, is_compressible

__all__ = ["Attachments", "stubbed"]

_INLINE = 1024 * 1024  # bytes of all files of a document that are held in memory

Document = dict[str, Any]
Place = tuple[str, str]


class Attachments:
    """Reads the files of one database's documents.

    Args:
        database: where the documents are.
        verified: raises an error unless a document, read with the bytes of its files, is what was signed.
    """

    def __init__(self, database: Database, verified: Callable[[Document], Document]) -> None:
        self._database = database
        self._verified = verified

    async def carried(self, document: Document, source: Mapping[str, Any]) -> Document:
        """A document to write, with the bytes of its files if it does not follow the revision that has them.

        Args:
            document: the document to write.
            source: the document that its stubs were read with; without `_id` and `_rev` nothing is known of them.

        Raises:
            NotFound: that revision is not there any more.
        """
        stubs = document.get("_attachments")
        place = source.get("_id"), source.get("_rev")
        if not stubs or None in place or place == (document.get("_id"), document.get("_rev")):
            return document
        wanted = {name: (*place, name) for name, each in stubs.items() if not _is_sent(each)}
        return {**document, "_attachments": {**stubs, **await self.read(wanted)}}

    async def read(self, wanted: Mapping[str, tuple[Any, Any, str]]) -> dict[str, Document]:
        """Read files, to be written with their bytes.

        Args:
            wanted: for each name that a file is to have: the id, the revision and the name that it has now.

        Returns:
            What to write in `_attachments`. It has the digests too, which CouchDB ignores, but which are signed.

        Raises:
            NotFound: a revision is not there any more.
            InvalidSignature: a file is not the one that was signed.
        """
        held = {}
        for place in {(document_id, revision) for document_id, revision, _ in wanted.values()}:
            document = self._verified(await self._database.get(place[0], rev=place[1]))
            if sum(each["length"] for each in document["_attachments"].values()) <= _INLINE:
                document = self._verified(await self._database.get(place[0], rev=place[1], attachments=True))
            held[place] = document
        return {name: await self._entry(held[place[:2]], place[2]) for name, place in wanted.items()}

    async def _entry(self, document: Document, name: str) -> Document:
        entry: Document = document["_attachments"][name]
        return _inline(entry) if "data" in entry else await self._spooled(document, name)

    async def _spooled(self, document: Document, name: str) -> Following:
        """A file that is too large to be held in memory, to be sent after the document.

        Raises:
            InvalidSignature: it is not the one that was signed.
        """
        entry, spool = document["_attachments"][name], Spooled()
        async with self._database.attachment(document["_id"], name, document["_rev"]) as opened:
            async for part in opened.chunks:
                await spool.append(part)
        contents, coding = spool, {}
        if is_compressible(entry["content_type"]) and spool.md5 != entry["digest"]:
            contents = await asyncio.to_thread(gzipped, spool)
            coding = {"encoding": "gzip", "encoded_length": contents.length}
        if spool.length != entry["length"] or not _is_known(document, name, spool.sha256):
            raise InvalidSignature("an attachment is not the one that was signed")
        said = {"content_type": entry["content_type"], "length": spool.length, "digest": contents.md5, **coding}
        return Following(said, contents, spool.sha256)


    async def is_intact(self, document: Document, name: str) -> bool:
        """Whether a file still has the bytes that were stored, as far as the document and CouchDB know them.

        Raises:
            NotFound: the revision is not there any more.
        """
        try:
            try:
                sha256, md5, length = await self._hashed(document, name)
            except (InvalidReply, Unavailable):
                sha256, md5, length = await self._hashed(document, name)
        except (InvalidReply, Unavailable) as error:
            if isinstance(error, Unavailable) and not error.sent:
                raise
            return False  # CouchDB finds by itself that the MD5 is another one, and hangs up
        entry = document["_attachments"][name]
        return md5 in (None, entry["digest"]) and length == entry["length"] and _is_known(document, name, sha256)

    async def _hashed(self, document: Document, name: str) -> tuple[bytes, str | None, int]:
        """A file's SHA-256, its MD5 if CouchDB sends what it stores, and its length."""
        sha256, md5, length = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
        async with self._database.attachment(document["_id"], name, document["_rev"]) as opened:
            async for part in opened.chunks:
                sha256.update(part)
                md5.update(part)
                length += len(part)
            plain = opened.headers.get("Accept-Ranges") == "bytes"
        digest = "md5-" + base64.b64encode(md5.digest()).decode()
        return sha256.digest(), digest if plain else None, length


def _is_known(document: Document, name: str, digest: bytes) -> bool:
    """Whether a SHA-256 is the one that a document says a file has, if it says one."""
    record = record_of(document, name)
    signed, said = signed_sha256(document, name), record.get("sha256")
    length = record.get("length", document["_attachments"][name]["length"])
    return (
        signed in (None, b64_encode(digest))
        and said in (None, base64.b64encode(digest).decode())
        and length == document["_attachments"][name]["length"]
    )


def _inline(entry: Document) -> Document:
    return {name: entry[name] for name in ("content_type", "digest", "data")}


def stubbed(document: Document, generation: int) -> Document:
    """A document that is written, with stubs in place of the bytes, as a read would return it.

    Args:
        document: the document as it was sent, or read with the bytes.
        generation: that of the revision that it receives.
    """
    sent = document.get("_attachments", {})
    if not any(_is_sent(each) for each in sent.values()):
        return document
    return {**document, "_attachments": {name: _stub(each, generation) for name, each in sent.items()}}


def _is_sent(entry: Document) -> bool:
    """Whether bytes are sent whose digest is known: a new file, or what `Attachments.read` returns."""
    return isinstance(entry, Following) or ("data" in entry and "digest" in entry)


def _stub(entry: Document, generation: int) -> Document:
    if isinstance(entry, Following):
        return entry.stub(generation)
    if not _is_sent(entry):
        return entry
    size = len(entry["data"]) * 3 // 4 - entry["data"].count("=")
    revpos = entry.get("revpos", generation)
    kept = {"content_type": entry["content_type"], "revpos": revpos, "digest": entry["digest"]}
    return {**kept, "length": size, "stub": True}
