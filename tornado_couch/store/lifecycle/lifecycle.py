"""What becomes of a model's documents when they are changed and deleted: the operations in which models differ."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from typing import Any, TypeVar

from ...couch import Database
from ...errors import Conflict, DocumentExists, DocumentNotFound
from ...models import Model, is_deleted, model_info
from ..bulk import BulkWriter, Calls, Singly
from ..operations import Check, partially
from ..protection.properties import Conversion, in_partition
from ..protection.signatures import parent_of
from ..query import Query
from ..reading.reader import Page, Reader
from ..reading.scan import Position
from ..writing.deletion import Eraser, scopes_of_deleted
from ..writing.model_writer import ModelWriter

__all__ = ["Lifecycle", "Plain", "exists"]

M = TypeVar("M", bound=Model)

Document = dict[str, Any]


def exists(cls: type[Model]) -> DocumentExists:
    """The error for a new model whose key is taken."""
    return DocumentExists(f"there is a {model_info(cls).type.name} with that key already")


class Lifecycle(ABC):
    """How one kind of model is created, read, changed and deleted.

    `Store` chooses the lifecycle of a model and adds what all of them have in common: checks, expectations and
    retries. A lifecycle makes one attempt, and raises `Conflict` where another writer was faster.

    Args:
        conversion: converts documents to models.
    """

    def __init__(self, conversion: Conversion) -> None:
        self._conversion = conversion

    # ------------------------------------------------------------ reading

    async def get(
        self, cls: type[M], key: Any, *, deleted: bool | None = False, fresh: bool = False, conflicts: bool = False
    ) -> M:
        """The model with this key.

        Args:
            cls: the model.
            key: which one.
            deleted: True for one that is deleted and can be restored, None for it or one that is not deleted.
            fresh: do not answer from the cache; every write reads like this first.
            conflicts: keep `_conflicts`, where there are any, in the model's `_stored`.

        Raises:
            DocumentNotFound: there is no such model.
            InvalidDocument: it does not fit the model.
            DecryptionFailed: a property of it does not decrypt.
            InvalidSignature: it is not what a holder of the keys wrote there, or was deleted by somebody else.
        """
        info = model_info(cls)
        document = await self._find(cls, key, deleted=deleted, fresh=fresh, conflicts=conflicts)
        if document is None or deleted not in (None, is_deleted(info, document)):
            raise DocumentNotFound(f"there is no {info.type.name} with that key")
        return await self._conversion.from_store(cls, document)

    @abstractmethod
    async def _find(
        self, cls: type[Model], key: Any, *, deleted: bool | None, fresh: bool, conflicts: bool
    ) -> Document | None:
        """The document with this key, be it deleted or not; one that is deleted may be left out if `deleted` is False.

        See `get` for the arguments.
        """

    @abstractmethod
    async def page(
        self, cls: type[M], query: Query, *, limit: int, start: Position | None, backward: bool, count: bool
    ) -> Page[M]:
        """A page of the models that a query selects; see `Store.find`."""

    # ------------------------------------------------------------ writing

    @abstractmethod
    async def create(self, model: M, check: Check[M] | None = None) -> M:
        """Store a new model and give it its id, revision, generated key and time stamps.

        Args:
            model: the new model.
            check: called with a deleted model that would be lost; see `Store.create`.

        Raises:
            DocumentExists: there is a document with that key, or that id, already.
        """

    @abstractmethod
    async def write(self, model: M) -> M:
        """Write a model over the revision that it was read with.

        Raises:
            Conflict: that is not the current revision any more.
        """

    @abstractmethod
    async def remove(self, current: Model) -> None:
        """Delete a document at the revision that its model was read with.

        Raises:
            Conflict: that is not the current revision any more.
        """

    async def restore(self, model: M) -> M:
        """Write a model that was read as a deleted one, so that it is there again.

        Raises:
            Conflict: the revision that it was read with is not the current one any more.
        """
        return await self.write(model)

    def bulk(self, cls: type[M], calls: Calls) -> BulkWriter[M] | Singly[M]:
        """What writes many models of a class.

        Args:
            cls: the model.
            calls: the calls that write one model, trying again at a conflict.
        """
        return Singly(calls, cls)

    # ------------------------------------------------------------ versions

    # Most models keep none: a document that is there has an empty list of them.

    async def versions(self, cls: type[M], key: Any, *, limit: int, start: Position | None, backward: bool) -> Page[M]:
        """A page of the versions of a document; see `Store.versions`.

        Raises:
            DocumentNotFound: there never was such a document.
        """
        await self.get(cls, key, deleted=None, fresh=True)
        return Page([], None)

    async def version(self, cls: type[M], key: Any, name: str) -> M:
        """One version of a document; see `Store.version`.

        Raises:
            DocumentNotFound: there is no such version, or it says that the document is deleted.
        """
        raise DocumentNotFound("there is no such version")

    async def as_of(self, cls: type[M], key: Any, moment: datetime) -> M:
        """A document as it was at a time; see `Store.as_of`.

        Raises:
            DocumentNotFound: it was not there.
        """
        raise DocumentNotFound("there is no such version")


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
            InvalidSignature: there was one, and somebody who does not hold the keys deleted it.
        """
        # Only a chosen id can have belonged to another document before, whose tombstone the new one follows.
        named = [model._id] if chosen and model._id else []
        parents = await self._models.guard.tombstones(named)
        found = await scopes_of_deleted(self._database, model_info(type(model)), named)
        buried = found.get(model._id or "", {})
        if buried is None:
            raise exists(type(model))
        if buried:
            model._stored = {**model._stored, **{name: buried[name] for name in buried if name != "_rev"}}
        try:
            model = await self._models.write(model, new=True, parent=parent_of(parents, model._id or ""))
        except Conflict:
            raise exists(type(model)) from None
        return await self._models.complete(self._database, model, buried) if named else model

    async def write(self, model: M) -> M:
        """Write a model over the revision that it was read with; see `Lifecycle.write`."""
        return await self._models.write(model, new=False)

    async def remove(self, current: Model) -> None:
        """Delete a document, and with it every leaf that it has in conflict."""
        document = {**current._stored, "_id": current._id, "_rev": current._rev}
        await self._eraser.erase(model_info(type(current)), document)

    def bulk(self, cls: type[M], calls: Calls) -> BulkWriter[M] | Singly[M]:
        """What writes many models of a class; see `Lifecycle.bulk`."""
        return BulkWriter(self._database, self._models, cls, calls, self._eraser)
