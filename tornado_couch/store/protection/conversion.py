"""Converts models to stored documents, and stored documents to models; nothing else does.

Protected properties are handled here, so that nothing is written or read without it. Documents are signed after
this step and verified before it: the signature covers what CouchDB holds.
"""

from __future__ import annotations

from typing import Any, TypeVar

from ...errors import InvalidDocument
from ...models import Model, from_document, model_info, partition_of, partition_problem
from ..query import Query, as_stored
from .properties import Protection

__all__ = ["Conversion", "in_partition"]

M = TypeVar("M", bound=Model)
Document = dict[str, Any]


def in_partition(model: Model, new_id: str) -> str:
    """A new document's id; it begins with the partition if the model has partitions."""
    info = model_info(type(model))
    if info.partition is None:
        return new_id
    value = info.stored_value(info.partition.name, getattr(model, info.partition.attribute))
    # A value that cannot name a partition is refused later, when the document is built.
    return new_id if partition_problem(value) else f"{value}:{new_id}"


class Conversion:
    """Converts the models of one store to documents and back.

    Args:
        protection: protects the classified properties; without it there are no keys.
    """

    def __init__(self, protection: Protection | None = None) -> None:
        self.protection = protection or Protection()

    async def to_store(self, model: Model, *, new: bool) -> Document:  # noqa: ARG002 - subclasses may need it
        """Build the document to write for a model that has its id and time stamps.

        Args:
            model: the model to be written; afterwards its hashed properties contain their hashes.
            new: whether the document is being created, so that there is no revision that it replaces.

        Raises:
            KeySetError: the model needs keys, and the store has none.
            ValidationFailed: the model does not belong to the partition that its id names.
        """
        document = await self.protection.protected(model)
        partition = model_info(type(model)).partition
        if partition is not None:
            partition_of(partition.name, document.get(partition.name), model._id)
        return self.protection.moved(type(model), document, model._stored.get("_id"))

    async def from_store(self, cls: type[M], document: Document) -> M:
        """Build the model from a document of the database.

        Raises:
            InvalidDocument: the document does not fit the model.
            DecryptionFailed: a property was changed, or was encrypted for another place or with other keys.
            KeySetError: the model needs keys, and the store has none.
        """
        stored = self.protection.opened(cls, document)
        try:
            model = from_document(cls, self.protection.revealed(cls, stored))
        except InvalidDocument as error:
            if error.partial is not None:
                error.partial._stored = stored
            raise
        model._stored = stored
        return model

    def to_query(self, cls: type[Model], query: Query) -> Query:
        """A query with its values as they are stored, and protected ones as the indexes know them."""
        return self.protection.lookup(cls, as_stored(cls, query))
