"""Writing documents whose models keep their history: each write is a new document, the version after the last one.

Its id follows from the key and the number, so CouchDB refuses the second of two writers of one version with a
conflict, and that one reads the latest again and writes the number after. So within a database the numbers have no
gap, and no change is there twice: a write whose answer was lost is found by its id and its token, as any other.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

from ...couch import Database
from ...errors import Conflict, DocumentExists, InvalidDocument
from ...models import (
    VERSION_PROPERTY,
    Model,
    Version,
    format_timestamp,
    model_info,
    stamped,
    version_id,
    version_of,
    version_prefix,
)
from ..protection.conversion import Conversion
from ..protection.signatures import Guard
from ..reading.versions import Versions
from ..writing.resign import refitted
from ..writing.writer import Writer

__all__ = ["History"]

M = TypeVar("M", bound=Model)
Document = dict[str, Any]

_TICK = timedelta(microseconds=1)  # what time stamps are exact to


def _after(place: Version) -> datetime:
    """The earliest time for the version after one.

    Raises:
        InvalidDocument: there is none, since somebody wrote the end of the calendar into it.
    """
    try:
        return place.written_at + _TICK
    except OverflowError:
        raise InvalidDocument("a version bears the last time that there is", place.prefix) from None


class History:
    """Writes versions into one database.

    Args:
        database: which.
        versions: finds those that are there.
        conversion: between models and documents.
        guard: signs what is written.
        writer: carries out the writes.
        now: the clock of the time stamps.
    """

    def __init__(
        self,
        database: Database,
        versions: Versions,
        conversion: Conversion,
        guard: Guard,
        writer: Writer,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._versions = versions
        self._conversion = conversion
        self._guard = guard
        self._writer = writer
        self._now = now

    async def create(self, model: M) -> M:
        """Write the first version; where there was a document of that key and it was deleted, the next one.

        Raises:
            DocumentExists: there is a document of that key.
        """
        info = model_info(type(model))
        if info.key and info.key.generated:
            setattr(model, info.key.attribute, model._id or await self._database.server.new_id())
        try:
            try:
                return await self._write(model, None, new=True)
            except Conflict:
                latest = await self._versions.latest(type(model), model._key)
                if latest is None or not version_of(latest).deleted:
                    raise
                return await self._write(model, latest, new=True)
        except Conflict:
            raise DocumentExists(f"there is a {info.type.name} with that key already") from None

    async def append(self, model: M, *, deleted: bool = False) -> M:
        """Write the version after the one that a model was read from.

        Args:
            model: as it is to be; it keeps what it was read from.
            deleted: say that the document is deleted from now on; the properties are only kept.

        Raises:
            Conflict: there is such a version already.
        """
        return await self._write(model, model._stored, deleted=deleted)

    async def _write(self, model: M, before: Document | None, *, new: bool = False, deleted: bool = False) -> M:
        place = version_of(before) if before else None
        moment = self._now()
        if place is not None:
            # Later than the version before, whatever the clock says: by time, too, the last one is the latest.
            moment = max(moment, _after(place))
        if not deleted:
            stamped(model, new=new, now=lambda: moment)
        prefix = place.prefix if place else version_prefix(model_info(type(model)), model._key)
        document = await self._document(model, version_id(prefix, place.number + 1 if place else 1), new=new)
        held: dict[str, Any] = {"written_on": format_timestamp(moment)}
        if before is not None:
            held["follows"] = before["_rev"]
        if deleted:
            held["deleted"] = True
        stored, revision = await self._put({**document, VERSION_PROPERTY: held})
        self._versions.remember(prefix, place.number + 1 if place else 1)
        model._id, model._rev, model._stored = stored["_id"], revision, {**stored, "_rev": revision}
        return model

    async def _document(self, model: Model, document_id: str, *, new: bool) -> Document:
        """What is stored for a model under another id; the model itself keeps its own."""
        identity = model._id, model._rev
        model._id, model._rev = document_id, None
        try:
            return await self._conversion.to_store(model, new=new)
        finally:
            model._id, model._rev = identity

    async def _put(self, document: Document) -> tuple[Document, str]:
        document = self._guard.signed(self._writer.marked(document, new=True))
        # Signed as the first revision, which it is not where somebody deleted that version past the service.
        return await refitted(self._writer, self._guard, document, await self._writer.put(document))
