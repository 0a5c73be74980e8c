"""Models with `soft_delete=True`: deleting a document marks it, and it can be restored."""

from __future__ import annotations

from typing import Any, TypeVar

from ...errors import Conflict, DocumentNotFound
from ...models import DELETED_PROPERTY, Model, format_timestamp, model_info
from ..operations import Check, called, partially
from ..query import Query
from ..reading.reader import Page, Reader
from ..reading.scan import Position
from ..scopes import scopes_in
from ..writing.model_writer import ModelWriter
from .lifecycle import Lifecycle, Plain, exists

__all__ = ["SoftDeleting"]

M = TypeVar("M", bound=Model)
Document = dict[str, Any]

# Those of CouchDB's own members that are written along with the document.
_WRITTEN = ("_id", "_rev", "_attachments")


class SoftDeleting(Lifecycle):
    """Models whose deleted documents are kept, hidden.

    Args:
        plain: what such a document is as long as it is not deleted.
        reader: reads models; from the cache if there is one.
        direct: reads models past the cache.
        models: writes models.
    """

    def __init__(self, plain: Plain, reader: Reader, direct: Reader, models: ModelWriter) -> None:
        super().__init__(models.conversion)
        self._plain = plain
        self._reader = reader
        self._direct = direct
        self._models = models

    async def _find(
        self, cls: type[Model], key: Any, *, deleted: bool | None, fresh: bool, conflicts: bool
    ) -> Document | None:
        reader = self._direct if fresh else self._reader
        document = await reader.document(cls, key, conflicts=conflicts)
        if document is None and deleted is not False:
            return await reader.deleted_document(cls, key)
        return document

    async def page(
        self, cls: type[M], query: Query, *, limit: int, start: Position | None, backward: bool, count: bool
    ) -> Page[M]:
        """A page of the models that a query selects; see `Store.find`."""
        return await self._plain.page(cls, query, limit=limit, start=start, backward=backward, count=count)

    async def create(self, model: M, check: Check[M] | None = None) -> M:
        """Store a new model, in the place of the deleted one that has its key; see `Lifecycle.create`."""
        info, chosen = model_info(type(model)), await self._plain.identify(model)
        named = chosen or not (info.key is None or info.key.generated)
        if named and (found := await self._revived(model, check)):
            return found
        return await self._plain.store(model, chosen=chosen)

    async def _revived(self, model: M, check: Check[M] | None) -> M | None:
        """Write a new model over the deleted document that has its key; None if there is no such document.

        Otherwise the key would have two documents as soon as the deleted one is restored.
        """
        try:
            gone = await partially(self.get(type(model), model._key, deleted=True, fresh=True))
        except DocumentNotFound:
            return None
        await called(check, gone)
        model._id, model._rev = gone._id, gone._rev
        model._stored = {**model._stored, **scopes_in(model_info(type(model)), gone._stored)}
        try:
            return await self._models.write(model, new=True)
        except Conflict:
            raise exists(type(model)) from None

    async def write(self, model: M) -> M:
        """Write a model over the revision that it was read with; see `Lifecycle.write`."""
        return await self._plain.write(model)

    async def remove(self, current: Model) -> None:
        """Mark a document as deleted; all views but one leave it out from then on."""
        document = {**current._stored, "_id": current._id, "_rev": current._rev}
        kept = {name: value for name, value in document.items() if name in _WRITTEN or not name.startswith("_")}
        await self._models.put({**kept, DELETED_PROPERTY: format_timestamp(self._models.now())})

    async def restore(self, model: M) -> M:
        """Write a model without the mark; see `Lifecycle.restore`."""
        model._stored = model._stored.copy()
        model._stored.pop(DELETED_PROPERTY, None)
        return await self.write(model)
