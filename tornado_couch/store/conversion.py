"""The one place where models become stored documents, and stored documents models.

What protects data at rest stands here, so that nothing is written or read past it.
"""

from __future__ import annotations

from typing import Any, TypeVar

from ..models import Model, from_document, to_document

__all__ = ["Conversion"]

M = TypeVar("M", bound=Model)
Document = dict[str, Any]


class Conversion:
    """How the models of one store are kept."""

    async def to_store(self, model: Model, *, new: bool) -> Document:  # noqa: ARG002 - for who signs
        """The document to write for a model that has its id and time stamps.

        Args:
            model: what is about to be written.
            new: it is being created: there is no revision that it replaces.
        """
        return to_document(model)

    async def from_store(self, cls: type[M], document: Document) -> M:
        """The model that a document from the database holds.

        Raises:
            InvalidDocument: it does not fit the model.
        """
        return from_document(cls, document)
