"""The classic base class of models, as in tor-async-couchdb."""

from __future__ import annotations

from typing import Any

__all__ = ["Model"]


class Model:
    """Abstract base class of classic models; new models derive from `tornado_couch.Model`.

    Args:
        doc: the document to create the model from, with its id and revision.
        _id: the document's id, if there is no `doc`.
        _rev: the document's revision, if there is no `doc`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002 - as in tor-async-couchdb
        source = kwargs if kwargs.get("doc") is None else kwargs["doc"]
        self._id: str | None = source.get("_id")
        self._rev: str | None = source.get("_rev")

    def as_doc_for_store(self, *args: Any) -> dict[str, Any]:  # noqa: ARG002 - for subclasses
        """Return the document to store: the id and revision, to which subclasses add `type` and their properties."""
        kept = {"_id": self._id, "_rev": self._rev}
        return {name: value for name, value in kept.items() if value}
