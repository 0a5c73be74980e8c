"""The classic base of models, as tor-async-couchdb had it."""

from __future__ import annotations

from typing import Any

__all__ = ["Model"]


class Model:
    """Abstract base class of classic models; for new ones there is `tornado_couch.Model`.

    Args:
        doc: the document that a model is made from; it gives id and revision.
        _id: the document's id, without `doc`.
        _rev: the document's revision, without `doc`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002 - as the original has it
        source = kwargs if kwargs.get("doc") is None else kwargs["doc"]
        self._id: str | None = source.get("_id")
        self._rev: str | None = source.get("_rev")

    def as_doc_for_store(self, *args: Any) -> dict[str, Any]:  # noqa: ARG002 - for subclasses
        """The document to store: here id and revision, to which a subclass adds `type` and its properties."""
        kept = {"_id": self._id, "_rev": self._rev}
        return {name: value for name, value in kept.items() if value}
