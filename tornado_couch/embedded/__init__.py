"""A small CouchDB-protocol server for development and tests.

Its answers are compared with those of Apache CouchDB 3.5 (tests/conformance); what it leaves out answers 501. See
README.md in this folder. Nothing here is imported before it is used, so importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tornado_couch.embedded.server import EmbeddedCouch
    from tornado_couch.embedded.storage.folder import DataFolderError

__all__ = ["DataFolderError", "EmbeddedCouch"]


def __getattr__(name: str) -> Any:
    if name == "EmbeddedCouch":
        from tornado_couch.embedded.server import EmbeddedCouch

        return EmbeddedCouch
    if name == "DataFolderError":
        from tornado_couch.embedded.storage.folder import DataFolderError

        return DataFolderError
    raise AttributeError(name)
