"""The reduce functions of views: CouchDB's built-in ones, and JavaScript."""

from __future__ import annotations

__all__ = ["Reducer", "reducer"]

import json
from collections.abc import Sequence
from typing import Any

from tornado_couch.embedded.built_in_reduces import Reducer, built_in
from tornado_couch.embedded.javascript import Program, Scripts
from tornado_couch.embedded.problems import Problem
from tornado_couch.embedded.view_index import Row


class _Script:
    """A JavaScript reduce function. A partial result is JSON text, or the error in its place."""

    def __init__(self, scripts: Scripts, program: Program, view: str) -> None:
        self._scripts = scripts
        self._program = program
        self._view = view

    def reduce(self, pieces: Sequence[Sequence[Row]]) -> list[Any]:
        calls = [(self._view, self._keys(piece), f"[{','.join(row.value for row in piece)}]") for piece in pieces]
        return list(self._scripts.outcomes(self._program, "reduce", calls))

    def rereduce(self, groups: Sequence[Sequence[Any]]) -> list[Any]:
        # Also of a single partial result: CouchDB joins those of its shards, so a function that cannot rereduce
        # shows it at once.
        errors = [next((part for part in partials if isinstance(part, Problem)), None) for partials in groups]
        calls = [
            (self._view, "null", f"[{','.join(partials)}]")
            for partials, error in zip(groups, errors, strict=True)
            if error is None
        ]
        results = self._scripts.outcomes(self._program, "reduce", calls)
        return [next(results) if error is None else error for error in errors]

    def result(self, partial: Any) -> str:
        if isinstance(partial, Problem):
            if partial.error != "reduce_overflow_error":
                raise partial
            return f'"error":{json.dumps(partial.error)},"reason":{json.dumps(partial.reason)}'
        return f'"value":{partial}'

    @staticmethod
    def _keys(rows: Sequence[Row]) -> str:
        return "[" + ",".join(f"[{row.key},{json.dumps(row.id)}]" for row in rows) + "]"


def reducer(source: str, view: str, program: Program, scripts: Scripts) -> Reducer:
    """The reducer of a view.

    Args:
        source: a built-in's name, or JavaScript.
        view: the view's name in the design document.
        program: the design document.
        scripts: where JavaScript runs.

    Raises:
        Problem: 400 invalid_design_doc for a built-in that there is none of.
    """
    return built_in(source) or _Script(scripts, program, view)
