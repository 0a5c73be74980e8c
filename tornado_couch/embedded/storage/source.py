"""`Source`: how the view and Mango engine reads a database; the only interface between it and the server.

The engine is synchronous and runs in worker threads; every method here may be called from any thread.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Protocol

from tornado_couch.embedded.problems import Problem as CouchFailure

__all__ = ["Change", "CouchFailure", "Source"]


class Change(NamedTuple):
    """The latest change of one document.

    Attributes:
        seq: the update sequence number of that change.
        id: the document's `_id`.
        deleted: whether the winner is a tombstone.
        body: the JSON text of the winner, `_id` and `_rev` first; None if it is deleted.
    """

    seq: int
    id: str
    deleted: bool
    body: str | None


class Source(Protocol):
    """A database as the engine sees it: documents by sequence and by id.

    Attributes:
        index_dir: the folder for this database's indexes; None keeps them in memory.
    """

    index_dir: Path | None

    def current_seq(self) -> int:
        """The sequence number of the last change; 0 if there was none."""
        ...

    def changes_since(self, seq: int, limit: int, *, conflicts: bool = False, local_seq: bool = False) -> list[Change]:
        """Up to `limit` changes after `seq`, ascending, one for each document, including design documents.

        Args:
            seq: the sequence number to start after.
            limit: return at most this many changes.
            conflicts: add `_conflicts` to the bodies of documents that have any.
            local_seq: add `_local_seq` to the bodies.
        """
        ...

    def read(self, doc_id: str, rev: str | None = None) -> str | None:
        """The JSON text of the winner, or of one revision; None if it is missing or deleted."""
        ...

    def documents(
        self, start: str | None, end: str | None, *, descending: bool = False, limit: int
    ) -> list[tuple[str, str]]:
        """Up to `limit` documents as id and JSON text, by the bytes of their ids; without deleted ones.

        Args:
            start: the first id (inclusive); None for no bound.
            end: the last id (inclusive); None for no bound.
            descending: read from the highest id down; `start` is then the highest.
            limit: return at most this many.
        """
        ...
