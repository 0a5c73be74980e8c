"""Whether a document that was read by its id is the one that was looked for."""

from __future__ import annotations

from typing import Any

from ...couch import Database
from ...errors import InvalidDocument
from ...models import Model, is_of, model_info

__all__ = ["bearing", "misplaced"]

Document = dict[str, Any]


def bearing(database: Database, cls: type[Model], key: Any, document: Document | None) -> Document | None:
    """The document, if it is of the model and has the key; None if it is another one.

    Raises:
        InvalidDocument: it is another one, under an id that only a document of the model can have. To say that there
            is no document would hide the one that belongs there.
    """
    if document is None:
        return None
    info = model_info(cls)
    if is_of(cls, document) and (info.key is None or document.get(info.key.name) == info.key_value(key)):
        return document
    if info.owns(document["_id"]):
        raise misplaced(database, cls, document)
    return None


def misplaced(database: Database, cls: type[Model], document: Document) -> InvalidDocument:
    """The error for a document that is where one of the model should be; it is counted."""
    name = model_info(cls).type.name
    database.server.observer.misplaced(name)
    return InvalidDocument(f"another document is where a {name} should be", document["_id"])
