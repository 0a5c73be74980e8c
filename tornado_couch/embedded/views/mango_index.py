"""Mango's JSON indexes: how design documents define them, and the rows that they make of documents.

A design document of language "query" has one view for each index, whose map is `{"fields": {name: "asc"}}`, optionally
with a `partial_filter_selector`. The key of a row is the array of the fields' values; a document that lacks one of
them has no row (CouchDB API, "/db/_index").
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tornado_couch.embedded.jsontext import dumps, loads
from tornado_couch.embedded.problems import Problem
from tornado_couch.embedded.selectors.operators import BAD_PATH, NOT_FOUND, Path, get_field, parse_field
from tornado_couch.embedded.selectors.selectors import Selector, compile_selector
from tornado_couch.embedded.views.designs import Design, read_design

__all__ = ["MangoIndex", "MangoMaps", "indexes_of", "selector_of"]


@dataclass(frozen=True)
class MangoIndex:
    """One JSON index, or `_all_docs` if `design` is None.

    Attributes:
        design: the design document that defines it.
        name: the view's name there.
        fields: names and directions, "asc" or "desc".
        partial: the `partial_filter_selector` as it was given, or None.
        place: the number of its map in the design document.
    """

    design: Design | None
    name: str
    fields: tuple[tuple[str, str], ...]
    partial: dict[str, Any] | None = None
    place: int = 0

    @property
    def paths(self) -> list[Path]:
        """The indexed fields' paths, in order."""
        return [parse_field(name) for name, _ in self.fields]

    def to_json(self) -> dict[str, Any]:
        """The index as `GET /db/_index` shows it."""
        fields = [{name: way} for name, way in self.fields]
        if self.design is None:
            return {"ddoc": None, "name": self.name, "type": "special", "def": {"fields": fields}}
        definition: dict[str, Any] = {"fields": fields}
        if self.partial:
            definition["partial_filter_selector"] = self.partial
        return {
            "ddoc": self.design.id,
            "name": self.name,
            "type": "json",
            "partitioned": self.design.partitioned,
            "def": definition,
        }


def indexes_of(texts: Sequence[str], partitioned: bool = False) -> list[MangoIndex]:
    """All JSON indexes of these design documents, in order; views that are not indexes are left out.

    Args:
        texts: JSON texts of design documents, in the order of their ids.
        partitioned: whether the database is partitioned.
    """
    found = []
    for text in texts:
        design = read_design(text, partitioned)
        if design.language != "query":
            continue
        for view in design.views.values():
            definition = design.maps[view.place][1]
            fields = definition.get("fields") if isinstance(definition, dict) else None
            if isinstance(fields, dict) and all(way in ("asc", "desc") for way in fields.values()):
                partial = definition.get("partial_filter_selector") or None
                found.append(MangoIndex(design, view.name, tuple(fields.items()), partial, view.place))
    return found


def selector_of(partial: Any) -> Selector | None:
    """The selector of a partial index; None if it selects everything."""
    return compile_selector(partial) if partial else None


class MangoMaps:
    """The maps of a design document of language "query".

    Args:
        definitions: the `map` of each view.
    """

    def __init__(self, definitions: Sequence[Any]) -> None:
        self._maps = [_Map(definition) for definition in definitions]

    def rows(self, bodies: list[str]) -> Iterator[list[list[str]]]:
        """Map documents: for each document and each index, the JSON texts of key and value, or nothing."""
        for body in bodies:
            document = loads(body)
            yield [each.row(document) for each in self._maps]


class _Map:
    def __init__(self, definition: Any) -> None:
        # A view that is not an index, in a design document that was written by hand, has no rows.
        self.paths: list[Path] | None = None
        self.selector: Selector | None = None
        fields = definition.get("fields") if isinstance(definition, dict) else None
        if isinstance(fields, dict):
            with contextlib.suppress(Problem):
                self.selector = selector_of(definition.get("partial_filter_selector"))
                self.paths = [parse_field(name) for name in fields]

    def row(self, document: dict[str, Any]) -> list[str]:
        """The key and value as JSON text; empty for a document that is not in the index."""
        if self.paths is None or (self.selector is not None and not self.selector.matches(document)):
            return []
        values = [get_field(document, path) for path in self.paths]
        if any(value is NOT_FOUND or value is BAD_PATH for value in values):
            return []
        return [dumps(values), "null"]
