"""The files of documents that keep their history: each is stored once, however many versions have it.

Versions are documents, and a stub cannot refer to another document's file. So a file that another program attached to a
version is copied into a document whose id follows from its contents, before the next version is written; that version,
and all that follow, name it:

    "tornado_couch_files": {"photo.png": {"document": "tornado_couch_file:5d41…", "content_type": "image/png", …}}

The document of a file follows from the file alone, so two clusters write the same revision of it. A write that fails
after its file was stored leaves one that no version names; a sweep (`tornado_couch.maintain.sweep`) removes it. It does
so in two steps: it marks the document, and deletes it if it is still marked and not named a day later. Who names a file
that is marked takes the mark away first, so that a deletion that is under way meets a conflict.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Mapping
from typing import Any

from ...couch import Database
from ...couch.transport.bodies import Following
from ...errors import Conflict, InvalidSignature, NotFound
from ...models import FILES_PROPERTY
from ..writing.model_writer import ModelWriter

__all__ = ["FILES_PROPERTY", "FILE_PREFIX", "UNUSED_PROPERTY", "Files"]

Document = dict[str, Any]

FILE_PREFIX = "tornado_couch_file:"
"""What the ids of documents with files begin with."""

UNUSED_PROPERTY = "unused_since"
"""The mark of a document whose file no version was seen to name."""

_TYPE = "tornado_couch_file_v1.0"
_NAME = "file"  # of the attachment
_ATTEMPTS = 10  # at a document that a sweep, or another writer, changes at the same time


class Files:
    """Stores the files of versions.

    Args:
        database: where the documents are.
        models: reads the attached files, and signs and writes their documents.
    """

    def __init__(self, database: Database, models: ModelWriter) -> None:
        self._database = database
        self._models = models

    async def named(self, version: Document, before: Mapping[str, Any]) -> Document:
        """A version to write that names its files instead of having them attached; they are stored by then.

        Args:
            version: the version to write, with the stubs of the version before.
            before: the version before, or the document that a new one is a copy of.

        Raises:
            Conflict: what was attached to the version before has changed since it was read.
        """
        entries = version.get("_attachments")
        if not entries:
            return version
        new = {name: each for name, each in entries.items() if isinstance(each, Following)}
        stubs = {name: each for name, each in entries.items() if name not in new}
        place = before.get("_id"), before.get("_rev")
        try:
            read = await self._models.attachments.read({name: (*place, name) for name in stubs})
        except NotFound:
            raise Conflict(409, "conflict", "the version before was changed") from None
        files = {name: await self._kept(entry) for name, entry in {**read, **new}.items()}
        kept = {name: value for name, value in version.items() if name != "_attachments"}
        return {**kept, FILES_PROPERTY: {**version.get(FILES_PROPERTY, {}), **files}}

    async def _kept(self, entry: Document) -> Document:
        """Store a file, unless it is there, and return what names it.

        Raises:
            Conflict: others changed its document at each try.
        """
        if isinstance(entry, Following):
            reference = await _reference_of_new(entry)
        else:
            reference = await asyncio.to_thread(_reference, entry)  # since a file can be large
        for _ in range(_ATTEMPTS):
            try:
                await self._store(reference["document"], entry)
            except Conflict:
                continue
            return reference
        raise Conflict(409, "conflict", "others changed the document of a file at every try")

    async def _store(self, document_id: str, entry: Document) -> None:
        """Store a file under its id, or take away the mark of the document that is there.

        Raises:
            Conflict: another writer was faster.
        """
        new = {"_id": document_id, "type": _TYPE, "_attachments": {_NAME: entry}}
        try:
            found = await self._database.get(document_id)
        except NotFound:
            gone = (await self._models.guard.tombstones([document_id])).get(document_id)
            await self.put(new, gone and gone.revision)  # upon any deletion, since its id follows from its contents
            return
        held = found.get("_attachments", {}).get(_NAME, {})
        # Where somebody else has changed it, nothing of it is kept.
        if held.get("digest") != entry["digest"] or UNUSED_PROPERTY in found or not self.verifies(found):
            await self.put({**new, "_rev": found["_rev"]})

    def verifies(self, document: Document) -> bool:
        """Whether the document of a file is what was stored there."""
        try:
            self._models.guard.verified(document)
        except InvalidSignature:
            return False
        return True

    async def put(self, document: Document, parent: str | None = None) -> None:
        """Sign and write the document of a file. It has no token, so that it is the same wherever it is made.

        Raises:
            Conflict: another writer was faster.
        """
        await self._models.put(document, parent, marked=False)

    async def delete(self, document: Document) -> None:
        """Delete the document of a file.

        Raises:
            Conflict: another writer was faster.
        """
        await self._models.writer.put(self._models.guard.tombstone(document))


async def _reference_of_new(entry: Following) -> Document:
    """What names a file that is being stored; its id follows from the bytes as CouchDB stores them."""
    found = hashlib.sha256(f"{entry['content_type']}\0{entry.get('encoding', '')}\0".encode())
    async for part in entry.contents.chunks():
        found.update(part)
    kept = {name: entry[name] for name in ("content_type", "digest", "length")}
    return {"document": FILE_PREFIX + found.hexdigest(), **kept}


def _reference(entry: Document) -> Document:
    """What names a file in a version."""
    data, kind = base64.b64decode(entry["data"]), entry["content_type"]
    document_id = FILE_PREFIX + hashlib.sha256(kind.encode() + b"\0" + data).hexdigest()
    return {"document": document_id, "content_type": kind, "digest": entry["digest"], "length": len(data)}
