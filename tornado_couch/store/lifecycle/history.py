"""Models with `history=True`: each write is a new document, the version after the last one; none is ever rewritten.

The id of a version consists of the key and the version's number. If two writers write the same version, CouchDB
refuses the second with a conflict; that writer reads the latest version again and writes the next number. So the
numbers within a database have no gaps, and no change is stored twice: a write whose answer was lost is found by its
id and its token, like any other write.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, TypeVar

from ...couch import Database
from ...errors import Conflict, DocumentNotFound, InvalidDocument
from ...models import (
    VERSION_PROPERTY,
    Model,
    Version,
    format_timestamp,
    is_deleted,
    model_info,
    stamped,
    version_id,
    version_of,
    version_prefix,
)
from ..operations import Check, partially
from ..query import Query
from ..reading.reader import Page
from ..reading.scan import Position
from ..reading.version_lists import HistoryReader
from ..scopes import with_scopes_left
from ..writing.model_writer import ModelWriter
from .files import Files
from .lifecycle import Lifecycle, exists

__all__ = ["Versioned"]

M = TypeVar("M", bound=Model)
Document = dict[str, Any]

_TICK = timedelta(microseconds=1)  # what time stamps are exact to


def _after(place: Version) -> datetime:
    """The earliest time that the version after this one can have.

    Raises:
        InvalidDocument: there is no later time, since somebody wrote the last one of the calendar into the version.
    """
    try:
        return place.written_at + _TICK
    except OverflowError:
        raise InvalidDocument("a version bears the last time that there is", place.prefix) from None


class Versioned(Lifecycle):
    """Models that keep every version of their documents, those that say that a document is deleted included.

    Args:
        database: where the documents are.
        reader: reads versions; from the cache if there is one.
        direct: reads versions past the cache.
        models: writes models.
        files: stores the files that were attached to versions.
    """

    def __init__(
        self, database: Database, reader: HistoryReader, direct: HistoryReader, models: ModelWriter, files: Files
    ) -> None:
        super().__init__(models.conversion)
        self._database = database
        self._reader = reader
        self._direct = direct
        self._models = models
        self._files = files

    async def _find(
        self, cls: type[Model], key: Any, *, deleted: bool | None, fresh: bool, conflicts: bool
    ) -> Document | None:
        # A deletion adds a version and removes none, so it does not ask for conflicts.
        return await (self._direct if fresh else self._reader).versions.latest(cls, key)

    async def page(
        self, cls: type[M], query: Query, *, limit: int, start: Position | None, backward: bool, count: bool
    ) -> Page[M]:
        """A page of documents, each in its latest version; see `Store.find`."""
        return await self._reader.page(cls, query, limit=limit, start=start, backward=backward, count=count)

    async def create(self, model: M, check: Check[M] | None = None) -> M:
        """Write the first version of a new document, or the next version of one that was deleted.

        Raises:
            DocumentExists: there is a document with that key.
        """
        info = model_info(type(model))
        if info.key and info.key.generated:
            setattr(model, info.key.attribute, model._id or await self._database.server.new_id())
        try:
            try:
                return await self._write(model, None, new=True)
            except Conflict:
                latest = await self._reader.versions.latest(type(model), model._key)
                if latest is None or not version_of(latest).deleted:
                    raise
                return await self._write(model, latest, new=True)
        except Conflict:
            raise exists(type(model)) from None

    async def write(self, model: M) -> M:
        """Write the version after the one that a model was read from; see `Lifecycle.write`."""
        return await self._write(model, model._stored)

    async def remove(self, current: Model) -> None:
        """Write a version that says that the document is deleted; it keeps the properties."""
        await self._write(current.model_copy(), current._stored, deleted=True)

    async def versions(self, cls: type[M], key: Any, *, limit: int, start: Position | None, backward: bool) -> Page[M]:
        """A page of the versions of a document, the latest first; see `Store.versions`."""
        await partially(self.get(cls, key, deleted=None, fresh=True))
        return await self._reader.page_of_versions(cls, key, limit=limit, start=start, backward=backward)

    async def version(self, cls: type[M], key: Any, name: str) -> M:
        """One version of a document; see `Store.version`."""
        return await self._of_version(cls, await self._reader.versions.by_name(cls, key, name))

    async def as_of(self, cls: type[M], key: Any, moment: datetime) -> M:
        """A document as it was at a time; see `Store.as_of`."""
        return await self._of_version(cls, await self._reader.versions.as_of(cls, key, format_timestamp(moment)))

    async def _of_version(self, cls: type[M], document: Document | None) -> M:
        if document is None or is_deleted(model_info(cls), document):
            raise DocumentNotFound("there is no such version")
        return await self._conversion.from_store(cls, document)

    async def _write(self, model: M, before: Document | None, *, new: bool = False, deleted: bool = False) -> M:
        place = version_of(before) if before else None
        moment = self._models.now()
        if place is not None:
            # Whatever the clock says, the time must be later than that of the version before: `as_of` relies on it.
            moment = max(moment, _after(place))
        if not deleted:
            stamped(model, new=new, now=lambda: moment)
        prefix = place.prefix if place else version_prefix(model_info(type(model)), model._key)
        document = await self._document(model, version_id(prefix, place.number + 1 if place else 1), new=new)
        document = with_scopes_left(model_info(type(model)), document, before or {}, moment)
        document = await self._files.named(document, before or model._stored)
        held: dict[str, Any] = {"written_on": format_timestamp(moment)}
        if before is not None and place is not None:
            held["follows"] = before["_rev"]
            since = place.number + 1 if new else place.since
            if since > 1:
                held["since"] = since
        if deleted:
            held["deleted"] = True
        # A version is signed as a first revision. If somebody deleted that version behind the service's back, it is
        # not one; then `put` signs it once more.
        stored, revision = await self._models.put({**document, VERSION_PROPERTY: held}, new=True)
        self._reader.versions.remember(prefix, place.number + 1 if place else 1)
        model._id, model._rev, model._stored = stored["_id"], revision, {**stored, "_rev": revision}
        model._uploads = {}
        return model

    async def _document(self, model: Model, document_id: str, *, new: bool) -> Document:
        """Convert a model to a document with another id; the model keeps its own."""
        identity = model._id, model._rev
        model._id, model._rev = document_id, None
        try:
            return await self._conversion.to_store(model, new=new)
        finally:
            model._id, model._rev = identity
