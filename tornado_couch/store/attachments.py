"""Files that other programs attached to documents: what is written in their place, so that none is lost.

A document that is read has a stub for each file, and a stub that is written back keeps the file. But CouchDB takes a
stub only in a revision that follows one with that file; in any other document, or on another branch of the same one,
it refuses the whole request with 412 (`missing_stub`), or takes another file of the same name. There the bytes have to
be sent once more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..couch import Database
from ..couch.transport.bodies import Following

__all__ = ["Attachments", "stubbed"]

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
            document = self._verified(await self._database.get(place[0], rev=place[1], attachments=True))
            held[place] = document["_attachments"]
        return {name: _inline(held[place[:2]][place[2]]) for name, place in wanted.items()}


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
