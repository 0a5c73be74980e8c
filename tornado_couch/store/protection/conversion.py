"""The one place where models become stored documents, and stored documents models.

What protects data at rest stands here, so that nothing is written or read past it. Signatures are made after it
and verified before it: what is signed is what CouchDB holds.
"""

from __future__ import annotations

from typing import Any, TypeVar

from ...errors import InvalidDocument
from ...models import Model, from_document, model_info, partition_of, partition_problem
from ..query import Query
from .properties import Protection

__all__ = ["Conversion", "in_partition"]

M = TypeVar("M", bound=Model)
Document = dict[str, Any]


def in_partition(model: Model, new_id: str) -> str:
    """A new document's id, which begins with the partition where the model has them."""
    info = model_info(type(model))
    if info.partition is None:
        return new_id
    value = info.stored_value(info.partition.name, getattr(model, info.partition.attribute))
    # A value that is no partition is refused with the document, when that is made.
    return new_id if partition_problem(value) else f"{value}:{new_id}"


class Conversion:
    """How the models of one store are kept.

    Args:
        protection: what is done to classified properties; without it there are no keys.
    """

    def __init__(self, protection: Protection | None = None) -> None:
        self.protection = protection or Protection()

    async def to_store(self, model: Model, *, new: bool) -> Document:  # noqa: ARG002 - for who needs to know
        """The document to write for a model that has its id and time stamps.

        Args:
            model: what is about to be written; hashed properties have their hashes afterwards.
            new: it is being created: there is no revision that it replaces.

        Raises:
            KeySetError: the model needs keys, and the store has none.
            ValidationFailed: it does not belong to the partition that its id names.
        """
        document = await self.protection.protected(model)
        partition = model_info(type(model)).partition
        if partition is not None:
            partition_of(partition.name, document.get(partition.name), model._id)
        return self.protection.moved(type(model), document, model._stored.get("_id"))

    async def from_store(self, cls: type[M], document: Document) -> M:
        """The model that a document from the database holds.

        Raises:
            InvalidDocument: it does not fit the model.
            DecryptionFailed: a property was changed, or encrypted for another place or by other keys.
            KeySetError: the model needs keys, and the store has none.
        """
        try:
            model = from_document(cls, self.protection.revealed(cls, document))
        except InvalidDocument as error:
            if error.partial is not None:
                error.partial._stored = document
            raise
        model._stored = document
        return model

    def to_query(self, cls: type[Model], query: Query) -> Query:
        """A query for protected values as the indexes know them."""
        return self.protection.lookup(cls, query)
