"""Writes models: stamps them, converts them to documents, and marks and signs these."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from ...couch import Database
from ...errors import Conflict, CouchError, NotFound, OutcomeUnknown
from ...models import Model, model_info, stamped
from ...revision import generation
from ..attachments import Attachments, stubbed
from ..pace import Pace
from ..protection.properties import Conversion
from ..protection.signatures import Guard
from ..scopes import with_scopes_cut
from .writer import Writer

__all__ = ["ModelWriter", "refitted"]


async def refitted(writer: Writer, guard: Guard, document: Document, revision: str) -> tuple[Document, str]:
    """Check that a document that was just written follows the one that it was signed for, or write it again.

    It does not if others deleted the document after its tombstones were looked for, or if nobody looked for them.

    Returns:
        The document and its revision.

    Raises:
        InvalidSignature: it follows a deletion by somebody who does not hold the keys; it was deleted again.
        OutcomeUnknown: it could not be written again, and no read accepts the document as it is.
    """
    if guard.follows(document, revision):
        return document, revision
    try:
        await guard.check_deletion(document["_id"], revision)
        document = guard.signed(writer.marked({**document, "_rev": revision}))
        revision = await writer.put(document)
    except OutcomeUnknown:
        raise
    except CouchError as error:
        raise OutcomeUnknown("the document was stored, but could not be signed again for its new parent") from error
    return document, revision


M = TypeVar("M", bound=Model)

_NOTED = 8  # attempts

Document = dict[str, Any]


class ModelWriter:
    """Writes models to one database, each over the revision that it names.

    Args:
        conversion: converts models to documents.
        guard: signs what is written.
        writer: carries out the writes.
        now: the clock for the time stamps.
        attachments: reads the files of documents.

    Attributes:
        conversion, guard, writer, now, attachments: as above.
    """

    def __init__(
        self,
        conversion: Conversion,
        guard: Guard,
        writer: Writer,
        now: Callable[[], datetime],
        attachments: Attachments,
    ) -> None:
        self.conversion = conversion
        self.guard = guard
        self.writer = writer
        self.now = now
        self.attachments = attachments

    async def write(self, model: M, *, new: bool, parent: str | None = None) -> M:
        """Write a model over its revision and give it the new one.

        Args:
            model: the model, with its id, and with its revision unless it is new.
            new: whether the model is being created.
            parent: the revision of the tombstone that a new document follows.

        Raises:
            Conflict: the model's revision is not the current one.
        """
        pace = Pace()
        stamped(model, new=new, now=self.now)
        document = await self.attachments.carried(await self.conversion.to_store(model, new=new), model._stored)
        await pace.breathe()  # signing takes as long again
        stored, model._rev = await self.put(document, parent, new=new)
        model._stored, model._uploads = {**stored, "_rev": model._rev}, {}
        return model

    async def complete(self, database: Database, model: M, buried: Document) -> M:
        """Note in a model that was just created that it may have left scopes, if its creation could not know of them.

        CouchDB lets a new document take the place of whatever tombstone is there, and never of a certain one: another
        document may have been created and deleted there meanwhile.

        Args:
            database: where it is.
            model: the model.
            buried: what was known of the deleted document whose id it has taken; see `scopes_of_deleted`.
        """
        info, known = model_info(type(model)), generation(buried["_rev"]) if buried else 0
        stored = {**model._stored, "_id": model._id, "_rev": model._rev}
        missed = info.scopes and generation(model._rev or "") != known + 1
        for _ in range(_NOTED if missed else 0):
            try:
                written = await self.put(with_scopes_cut(info, stored, self.now()))
            except Conflict:  # another writer has changed it meanwhile
                try:
                    stored = await database.get(model._id or "")
                except NotFound:
                    break
            else:
                if stored["_rev"] == model._rev:
                    model._stored, model._rev = written
                break
        return model

    async def put(
        self, document: Mapping[str, Any], parent: str | None = None, *, new: bool = False, marked: bool = True
    ) -> tuple[Document, str]:
        """Mark, sign and write a document, and return the stored document and its revision.

        Args:
            document: the document.
            parent: the revision of the tombstone that a new document follows.
            new: whether the document is being created.
            marked: whether it receives the token of the write.

        Raises:
            Conflict: the document's revision is not the current one.
        """
        written = self.writer.marked(document, new=new) if marked else dict(document)
        signed = self.guard.signed(written, parent)
        stored, revision = await refitted(self.writer, self.guard, signed, await self.writer.put(signed))
        return stubbed(stored, generation(revision)), revision
