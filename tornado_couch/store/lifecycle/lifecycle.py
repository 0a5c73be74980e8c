"""What becomes of a model's documents when they are changed and deleted: the operations in which models differ."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from typing import Any, TypeVar

from ...errors import DocumentExists, DocumentNotFound
from ...models import Model, is_deleted, model_info
from ..bulk import BulkWriter, Calls, Singly
from ..operations import Check
from ..protection.conversion import Conversion
from ..query import Query
from ..reading.reader import Page
from ..reading.scan import Position

__all__ = ["Lifecycle", "exists"]

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
            DocumentNotFound: there is none.
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
            DocumentNotFound: there is none, or it says that the document is deleted.
        """
        raise DocumentNotFound("there is no such version")

    async def as_of(self, cls: type[M], key: Any, moment: datetime) -> M:
        """A document as it was at a time; see `Store.as_of`.

        Raises:
            DocumentNotFound: it was not there.
        """
        raise DocumentNotFound("there is no such version")
