"""Reads what views and functions need from a database: design documents, and the documents for `include_docs`."""

from __future__ import annotations

from collections.abc import Callable

from tornado_couch.embedded.storage.database import Database, ReadOptions
from tornado_couch.embedded.views.parameters import ViewParameters

__all__ = ["design_text", "document_fetcher"]


def design_text(database: Database, doc_id: str) -> str:
    """The JSON text of a design document.

    Raises:
        Problem: 404, it is missing or deleted.
    """
    return database.winner_text(doc_id)[1]


def document_fetcher(database: Database, parameters: ViewParameters) -> Callable[[str, str | None], str | None]:
    """A function that returns the documents for `include_docs`."""
    options = ReadOptions(
        conflicts=bool(parameters.conflicts),
        attachments=parameters.attachments,
        att_encoding_info=parameters.att_encoding_info,
    )
    if options == ReadOptions():
        return database.read

    def fetch(doc_id: str, rev: str | None) -> str | None:
        with database.connections.read() as connection:
            stored = database.stored(doc_id, connection)
            if stored is None or (rev is None and stored.state):
                return None
            return database.text(stored, rev or stored.rev, options, connection)

    return fetch
