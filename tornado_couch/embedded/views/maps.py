"""Runs the map functions of a design document: those in JavaScript, and the indexes of Mango."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tornado_couch.embedded.javascript.pool import Program, Scripts
from tornado_couch.embedded.problems import Problem
from tornado_couch.embedded.views.designs import Design
from tornado_couch.embedded.views.index import Maps
from tornado_couch.embedded.views.mango_index import MangoMaps

__all__ = ["maps_of"]

# How many characters of documents go to a worker in one message.
_MESSAGE = 4 << 20


class _ScriptMaps:
    """Maps in JavaScript, which a worker runs for many documents at a time."""

    def __init__(self, design: Design, scripts: Scripts) -> None:
        self._program: Program = design.program
        self._names = json.dumps([name for name, _ in design.maps])
        self._number = len(design.maps)
        self._scripts = scripts

    def rows(self, bodies: list[str]) -> Iterator[list[list[str]]]:
        """Map documents: for each document and each map, the JSON texts of key, value, key, value, and so on."""
        for batch in _batches(bodies):
            calls = [(self._names, body) for body in batch]
            for result in self._scripts.stream(self._program, "map", calls):
                yield self._checked(result)

    def _checked(self, result: str) -> list[list[str]]:
        """Check a worker's answer, which cannot be trusted: a function may have broken the helpers that made it."""
        try:
            rows: list[list[str]] = json.loads(result)
            if len(rows) == self._number and all(isinstance(text, str) for texts in rows for text in texts):
                return rows
        except (ValueError, TypeError, RecursionError):
            pass
        raise Problem(500, "map_runtime_error", "A map function broke the helper functions that it runs with.")


def _batches(bodies: list[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for body in bodies:
        batch.append(body)
        size += len(body)
        if size > _MESSAGE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def maps_of(design: Design, scripts: Scripts) -> Maps:
    """The maps of a design document, ready to be run over documents."""
    if design.language == "query":
        return MangoMaps([definition for _, definition in design.maps])
    return _ScriptMaps(design, scripts)
