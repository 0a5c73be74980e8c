"""Plain models: a document is rewritten in place, and nothing is left of it once it is deleted."""

from __future__ import annotations

from typing import Any, TypeVar

from ...couch import Database
from ...errors import Conflict, DocumentNotFound
from ...models import Model, model_info
from ..bulk import BulkWriter, Calls, Singly
from ..operations import Check, partially
from ..protection.conversion import in_partition
from ..query import Query
from ..reading.reader import Page, Reader
from ..reading.scan import Position
from ..writing.deletion import Eraser
from ..writing.model_writer import ModelWriter
from .lifecycle import Lifecycle, exists

__all__ = ["Plain"]

M = TypeVar("M", bound=Model)
Document = dict[str, Any]


class Plain(Lifecycle):
    """Models that keep neither their versions nor what is deleted.

    Args:
        database: where the documents are.
        reader: reads models; from the cache if there is one.
        direct: reads models past the cache.
        models: writes models.
        eraser: deletes documents.
    """

    def __init__(self, database: Database, reader: Reader, direct: Reader, models: ModelWriter, eraser: Eraser) -> None:
        super().__init__(models.conversion)
        self._database = database
        self._reader = reader
        self._direct = direct
        self._models = models
        self._eraser = eraser

    async def _find(
        self, cls: type[Model], key: Any, *, deleted: bool | None, fresh: bool, conflicts: bool
    ) -> Document | None:
        return await (self._direct if fresh else self._reader).document(cls, key, conflicts=conflicts)

    async def page(
        self, cls: type[M], query: Query, *, limit: int, start: Position | None, backward: bool, count: bool
    ) -> Page[M]:
        """A page of the models that a query selects; see `Store.find`."""
        return await self._reader.page(cls, query, limit=limit, start=start, backward=backward, count=count)

    async def create(self, model: M, check: Check[M] | None = None) -> M:
        """Store a new model; see `Lifecycle.create`."""
        chosen = await self.identify(model)
        return await self.store(model, chosen=chosen)

    async def identify(self, model: Model) -> bool:
        """Give a new model its id and its generated key.

        Returns:
            Whether the id was chosen, by the caller or by a unique key, rather than generated.

        Raises:
            DocumentExists: a view lists a document with that key.
        """
        info = model_info(type(model))
        chosen = info.unique or model._id is not None
        if info.key is None or info.key.generated:
            model._id = model._id or in_partition(model, await self._database.server.new_id())
            if info.key:
                setattr(model, info.key.attribute, model._id)
        elif info.unique:
            model._id = info.document_id(model._key)
        else:
            await self._refuse_known_key(model)
            model._id = model._id or in_partition(model, await self._database.server.new_id())
        model._rev = None
        return chosen

    async def _refuse_known_key(self, model: Model) -> None:
        try:
            await partially(self.get(type(model), model._key, fresh=True))
        except DocumentNotFound:
            return
        raise exists(type(model))

    async def store(self, model: M, *, chosen: bool) -> M:
        """Write a new model that has its id.

        Args:
            model: the model.
            chosen: the result of `identify`.

        Raises:
            DocumentExists: there is a document with that id already.
        """
        # Only a chosen id can have belonged to another document before, whose tombstone the new one follows.
        parents = await self._models.guard.tombstones([model._id] if chosen and model._id else [])
        try:
            return await self._models.write(model, new=True, parent=parents.get(model._id or ""))
        except Conflict:
            raise exists(type(model)) from None

    async def write(self, model: M) -> M:
        """Write a model over the revision that it was read with; see `Lifecycle.write`."""
        return await self._models.write(model, new=False)

    async def remove(self, current: Model) -> None:
        """Delete a document, and with it every leaf that it has in conflict."""
        await self._eraser.erase({**current._stored, "_id": current._id, "_rev": current._rev})

    def bulk(self, cls: type[M], calls: Calls) -> BulkWriter[M] | Singly[M]:
        """What writes many models of a class; see `Lifecycle.bulk`."""
        tools = self._models
        return BulkWriter(
            self._database, tools.conversion, cls, tools.now, calls, tools.guard, tools.writer, self._eraser,
            tools.attachments,
        )  # fmt: skip
