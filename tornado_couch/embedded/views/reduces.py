"""The reduce functions of views: CouchDB's built-in ones, and JavaScript.

Each turns consecutive rows of one group into a partial result, joins several partial results into one, and turns that
into JSON text. For rules and messages see the CouchDB documentation, "Built-in Reduce Functions".
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

from tornado_couch.embedded.collation import sort_key
from tornado_couch.embedded.javascript.pool import Program, Scripts
from tornado_couch.embedded.problems import Problem
from tornado_couch.embedded.views.index import Row

__all__ = ["Reducer", "built_in", "reducer"]


class _Script:
    """A JavaScript reduce function. A partial result is JSON text or an error."""

    def __init__(self, scripts: Scripts, program: Program, view: str) -> None:
        self._scripts = scripts
        self._program = program
        self._view = view

    def reduce(self, pieces: Sequence[Sequence[Row]]) -> list[Any]:
        calls = [(self._view, self._keys(piece), f"[{','.join(row.value for row in piece)}]") for piece in pieces]
        return list(self._scripts.outcomes(self._program, "reduce", calls))

    def rereduce(self, groups: Sequence[Sequence[Any]]) -> list[Any]:
        # A single partial result is rereduced as well: CouchDB joins those of its shards, so a function that cannot
        # rereduce fails at once.
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
    """Make the reducer of a view.

    Args:
        source: the name of a built-in reduce function, or JavaScript.
        view: the view's name in the design document.
        program: the design document.
        scripts: runs JavaScript.

    Raises:
        Problem: 400 invalid_design_doc, the built-in function is unknown.
    """
    return built_in(source) or _Script(scripts, program, view)


# CouchDB's reduce_limit: a result longer than this must be less than half of its input.
_THRESHOLD = 4906

_SUM_REASON = (
    "The _sum function requires that map values be numbers, arrays of numbers, or objects. Objects cannot be mixed"
    " with other data structures. Objects can be arbitrarily nested, provided that the values for all fields are"
    " themselves numbers, arrays of numbers, or objects."
)


class Reducer(Protocol):
    """One view's reduce function."""

    def reduce(self, pieces: Sequence[Sequence[Row]]) -> list[Any]:
        """Make a partial result for each piece, which is a list of consecutive rows of one group."""
        ...

    def rereduce(self, groups: Sequence[Sequence[Any]]) -> list[Any]:
        """Join the partial results of each group, which follow each other, into one."""
        ...

    def result(self, partial: Any) -> str:
        """The row's members after its key, such as `"value":7`."""
        ...


def _values(rows: Iterable[Row]) -> list[Any]:
    values: list[Any] = json.loads("[" + ",".join(row.value for row in rows) + "]")
    return values


def _value(value: Any) -> str:
    # It is escaped, since a map may emit half a surrogate pair, which UTF-8 cannot encode.
    return '"value":' + json.dumps(value, separators=(",", ":"))


class _Count:
    def reduce(self, pieces: Sequence[Sequence[Row]]) -> list[Any]:
        return [len(piece) for piece in pieces]

    def rereduce(self, groups: Sequence[Sequence[Any]]) -> list[Any]:
        return [sum(partials) for partials in groups]

    def result(self, partial: Any) -> str:
        return _value(partial)


class _Distinct:
    """`_approx_count_distinct`: rows come in the order of their keys, so an exact count costs no memory."""

    def reduce(self, pieces: Sequence[Sequence[Row]]) -> list[Any]:
        return [(len({row.sort_key for row in piece}), piece[0].sort_key, piece[-1].sort_key) for piece in pieces]

    def rereduce(self, groups: Sequence[Sequence[Any]]) -> list[Any]:
        return [self._joined(partials) for partials in groups]

    @staticmethod
    def _joined(partials: Sequence[Any]) -> Any:
        number, first, last = partials[0]
        for count, start, end in partials[1:]:
            number += count - (start == last)
            last = end
        return number, first, last

    def result(self, partial: Any) -> str:
        return _value(partial[0])


class _Refused(Exception):
    """A value that `_sum` cannot add."""

    def __init__(self, value: Any) -> None:
        super().__init__("not a number")
        self.value = value


class _Failed(dict[str, Any]):
    """The object that takes the place of a sum that could not be computed."""


class _Sum:
    def reduce(self, pieces: Sequence[Sequence[Row]]) -> list[Any]:
        return [self._total(_values(piece)) for piece in pieces]

    def rereduce(self, groups: Sequence[Sequence[Any]]) -> list[Any]:
        return [self._joined(partials) for partials in groups]

    def _joined(self, partials: Sequence[Any]) -> Any:
        failed = [partial for partial in partials if isinstance(partial, _Failed)]
        return failed[0] if failed else self._total(partials)

    def result(self, partial: Any) -> str:
        return _value(partial)

    @staticmethod
    def _total(values: Sequence[Any]) -> Any:
        total: Any = {} if isinstance(values[0], dict) else 0
        try:
            for value in values:
                total = _added(total, value)
        except _Refused as refused:
            return _Failed(error="builtin_reduce_error", reason=_SUM_REASON, caused_by=refused.value)
        if isinstance(total, (list, dict)):
            return _shrunk(values, total)
        return total


def _shrunk(values: Sequence[Any], total: Any) -> Any:
    outside = len(json.dumps(total))
    if outside <= _THRESHOLD:
        return total
    inside = len(json.dumps(list(values)))
    if outside * 2 <= inside:
        return total
    reason = f"Reduce output must shrink more rapidly: input size: {inside} output size: {outside}"
    return _Failed(error="builtin_reduce_error", reason=reason)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _added(total: Any, value: Any) -> Any:
    if isinstance(total, dict) and isinstance(value, dict):
        return {**total, **{name: _added(total.get(name, _zero(item)), item) for name, item in value.items()}}
    if isinstance(total, dict) or isinstance(value, dict):
        raise _Refused(value)
    if isinstance(value, list):
        return _added_lists(total if isinstance(total, list) else [total], value)
    if not _is_number(value):
        raise _Refused(value)
    if isinstance(total, list):  # a number counts as an array with that number
        return _added_lists(total, [value])
    return total + value


def _zero(value: Any) -> Any:
    return {} if isinstance(value, dict) else [] if isinstance(value, list) else 0


def _added_lists(total: list[Any], values: list[Any]) -> list[Any]:
    refused = [value for value in values if not _is_number(value)]
    if refused:
        raise _Refused(values)
    longer, shorter = (total, values) if len(total) >= len(values) else (values, total)
    return [left + right for left, right in zip(longer, shorter, strict=False)] + longer[len(shorter) :]


_STATS = ("sum", "count", "min", "max", "sumsqr")


class _Stats:
    def reduce(self, pieces: Sequence[Sequence[Row]]) -> list[Any]:
        return self.rereduce([[self._of(value) for value in _values(piece)] for piece in pieces])

    def rereduce(self, groups: Sequence[Sequence[Any]]) -> list[Any]:
        return [self._all_joined(partials) for partials in groups]

    def _all_joined(self, partials: Sequence[Any]) -> Any:
        if not isinstance(partials[0], list):
            for partial in partials:
                if isinstance(partial, list):
                    raise self._mixed(partial)
            return self._joined(partials)
        if any(not isinstance(partial, list) or len(partial) != len(partials[0]) for partial in partials):
            raise self._mixed(partials)
        return [self._joined(column) for column in zip(*partials, strict=True)]

    def result(self, partial: Any) -> str:
        return _value(partial)

    @staticmethod
    def _joined(stats: Sequence[dict[str, Any]]) -> dict[str, Any]:
        return {
            "sum": sum(each["sum"] for each in stats),
            "count": sum(each["count"] for each in stats),
            "min": min(each["min"] for each in stats),
            "max": max(each["max"] for each in stats),
            "sumsqr": sum(each["sumsqr"] for each in stats),
        }

    def _of(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._single(item) for item in value]
        return self._single(value)

    @staticmethod
    def _single(value: Any) -> dict[str, Any]:
        if _is_number(value):
            return {"sum": value, "count": 1, "min": value, "max": value, "sumsqr": value * value}
        if not isinstance(value, dict):
            raise Problem(500, "invalid_value", f"non-numeric _stats input: {json.dumps(value)}")
        for name in _STATS:  # statistics that a map has computed before
            if name not in value:
                shown = json.dumps(value)
                raise Problem(500, "invalid_value", f"user _stats input missing required field {name} ({shown})")
            if not _is_number(value[name]):
                raise Problem(500, "invalid_value", f"non-numeric _stats input received for {name}: {value[name]!r}")
        return {name: value[name] for name in _STATS}

    @staticmethod
    def _mixed(value: Any) -> Problem:
        words = "The _stats function requires that map values be numbers or arrays of numbers, not"
        return Problem(500, "invalid_value", f"{words} '{json.dumps(value)}'")


class _Edge:
    """`_first` and `_last`: the value of the group's first or last row, in either direction of the query."""

    def __init__(self, choose: Callable[..., Any]) -> None:
        self._choose = choose

    def reduce(self, pieces: Sequence[Sequence[Row]]) -> list[Any]:
        return [self._choose(piece, key=lambda row: (row.sort_key, row.id)) for piece in pieces]

    def rereduce(self, groups: Sequence[Sequence[Any]]) -> list[Any]:
        return self.reduce(groups)

    def result(self, partial: Any) -> str:
        return f'"value":{partial.value}'


class _Ranked:
    """`_top_N` and `_bottom_N`: the N highest or lowest values by collation, in that order."""

    def __init__(self, choose: Callable[..., list[Any]], number: int) -> None:
        self._choose = choose
        self._number = number

    def reduce(self, pieces: Sequence[Sequence[Row]]) -> list[Any]:
        return self.rereduce([[_values(piece)] for piece in pieces])

    def rereduce(self, groups: Sequence[Sequence[Any]]) -> list[Any]:
        every = ([value for values in partials for value in values] for partials in groups)
        return [self._choose(self._number, values, key=sort_key) for values in every]

    def result(self, partial: Any) -> str:
        return _value(partial)


_MAKERS: dict[str, Callable[[], Reducer]] = {
    "_approx_count_distinct": _Distinct,
    "_count": _Count,
    "_stats": _Stats,
    "_sum": _Sum,
    "_first": partial(_Edge, min),
    "_last": partial(_Edge, max),
}
_RANKED: dict[str, Callable[..., list[Any]]] = {"_top_": heapq.nlargest, "_bottom_": heapq.nsmallest}


def built_in(source: str) -> Reducer | None:
    """The built-in reduce function with a name; None if the source is JavaScript.

    Raises:
        Problem: 400 invalid_design_doc, the built-in function is unknown.
    """
    if not source.startswith("_"):
        return None
    for name, make in _MAKERS.items():
        if source.startswith(name):  # CouchDB also ignores what follows the name
            return make()
    for name, choose in _RANKED.items():
        if source.startswith(name):
            return _Ranked(choose, _rank(source.removeprefix(name)))
    raise _invalid(f"`{source}` is not a supported reduce function.")


def _rank(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise _invalid("invalid rank reducer")
    if not 1 <= int(text) <= 100:
        raise _invalid("rank value must be between 1 and 100")
    return int(text)


def _invalid(reason: str) -> Problem:
    return Problem(400, "invalid_design_doc", reason)
