"""Reads the views of a design document: its maps, reduces and options."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from tornado_couch.embedded.javascript.pool import Program
from tornado_couch.embedded.jsontext import loads
from tornado_couch.embedded.problems import Problem, not_found
from tornado_couch.embedded.storage.database import Database, ReadOptions
from tornado_couch.embedded.views.parameters import ViewParameters

__all__ = ["Design", "View", "design_text", "document_fetcher", "read_design"]


@dataclass(frozen=True, slots=True)
class View:
    """One view.

    Attributes:
        name: its name in the design document.
        place: the number of its map in the index; views with the same map share one.
        reduce: the source of the reduce function, or the name of a built-in one; None if the view has none.
    """

    name: str
    place: int
    reduce: str | None


@dataclass(frozen=True, slots=True)
class Design:
    """The views of one design document.

    Attributes:
        id: its `_id`.
        language: "javascript", "query" for Mango's indexes, or another one, for which there is no engine.
        views: the views by name.
        maps: the distinct map functions, each with the name of the first view that has it.
        options: the `options` member: `include_design`, `local_seq`, `collation`, `partitioned`.
        signature: a text that is the same for design documents with the same maps, options and library.
        program: the whole document, for the functions that run in JavaScript.
        partitioned: whether its views are queried for one partition at a time.
    """

    id: str
    language: str
    views: dict[str, View]
    maps: list[tuple[str, Any]]
    options: dict[str, Any]
    signature: str
    program: Program
    partitioned: bool

    def view(self, name: str) -> View:
        """Find a view by its name.

        Raises:
            Problem: 404 missing_named_view.
        """
        if name not in self.views:
            raise not_found("missing_named_view")
        return self.views[name]

    def check_language(self) -> None:
        """Raise Problem 500 for a language for which there is no engine."""
        if self.language not in ("javascript", "query"):
            raise Problem(500, "unknown_query_language", self.language)


@lru_cache(maxsize=64)
def read_design(text: str, partitioned: bool = False) -> Design:
    """Read the views that a design document's JSON text defines; members that make no sense are left out.

    Args:
        text: the design document.
        partitioned: whether its database is partitioned; `options.partitioned` takes precedence.
    """
    document = loads(text)
    defined = document.get("views")
    maps: list[tuple[str, Any]] = []
    views: dict[str, View] = {}
    for name, view in (defined if isinstance(defined, dict) else {}).items():
        if name == "lib" or not isinstance(view, dict) or "map" not in view:
            continue
        place = next((at for at, (_, source) in enumerate(maps) if source == view["map"]), len(maps))
        if place == len(maps):
            maps.append((name, view["map"]))
        reduce = view.get("reduce")
        views[name] = View(name, place, reduce.strip() if isinstance(reduce, str) and reduce.strip() else None)
    options = document.get("options")
    options = options if isinstance(options, dict) else {}
    language = str(document.get("language", "javascript"))
    library = defined.get("lib") if isinstance(defined, dict) else None
    parts = json.dumps([language, [source for _, source in maps], library, options])
    signature = hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()
    partitioned = options.get("partitioned", partitioned) is True
    return Design(str(document.get("_id", "")), language, views, maps, options, signature, Program(text), partitioned)


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
