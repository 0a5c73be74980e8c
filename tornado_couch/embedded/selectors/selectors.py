"""Mango selectors: checked, normalized, and matched against documents.

`compile_selector` normalizes as CouchDB does (`_explain` shows the result): implicit operators are written out,
nested fields become paths, and negations move to the leaves. See the CouchDB API, "/db/_find", "Selector Syntax".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tornado_couch.embedded.problems import Problem, bytes_form
from tornado_couch.embedded.selectors.operators import Matcher, Path, join_field, matcher, parse_field, regex_of

__all__ = ["Selector", "compile_selector"]

# A normalized selector: an object with one member, which is an operator or the path of a field.
Node = dict[Any, Any]

_COMBINING = ("$and", "$or", "$nor")
_INNER = ("$elemMatch", "$allMatch", "$keyMapMatch")
_KINDS = {"$in": list, "$nin": list, "$all": list, "$exists": bool, "$type": str}
_ANYTHING = ("$lt", "$lte", "$eq", "$ne", "$gte", "$gt")
_UNSUPPORTED = ("$where", "$geoWithin", "$geoIntersects", "$near", "$nearSphere")
_OPPOSITE = {
    "$lt": "$gte",
    "$gte": "$lt",
    "$lte": "$gt",
    "$gt": "$lte",
    "$eq": "$ne",
    "$ne": "$eq",
    "$in": "$nin",
    "$nin": "$in",
}
# Conditions that a range of an index can serve.
_INDEXABLE = ("$lt", "$lte", "$eq", "$gt", "$gte", "$beginsWith", "$exists")


class Selector:
    """A normalized selector.

    Attributes:
        node: the normalized form, with paths as tuples of names; {} matches everything.
    """

    def __init__(self, node: Node) -> None:
        self.node = node
        self._match: Matcher | None = None

    def matches(self, document: dict[str, Any]) -> bool:
        """Whether a document matches the selector."""
        if self._match is None:
            self._match = matcher(self.node)
        return self._match(document)

    def to_json(self) -> Any:
        """The normalized form as `_explain` shows it."""
        return _joined(self.node)

    def requires(self, paths: list[Path]) -> bool:
        """Whether every document that matches must have all these fields."""
        return not _unrequired([self.node] if self.node else [], set(paths))

    def constant(self, path: Path) -> bool:
        """Whether the selector fixes a field to one value, so that the field does not matter for a sort."""
        return any(field == path and "$eq" in condition for field, condition in self.conditions())

    def conditions(self) -> Iterator[tuple[Path, Node]]:
        """The conditions on fields that hold for every match, that is those joined by `$and` alone."""
        waiting = [self.node]
        while waiting:
            node = waiting.pop(0)
            for name, argument in node.items():
                if name == "$and":
                    waiting[:0] = argument
                elif isinstance(name, tuple):
                    yield name, argument

    def indexable(self) -> list[Path]:
        """The fields whose conditions a range of an index can serve, in order."""
        found = {path for path, condition in self.conditions() if next(iter(condition), "") in _INDEXABLE}
        return sorted(found)

    def fields(self) -> list[Path]:
        """All fields that the selector names, including those inside `$or`."""
        return list(_fields(self.node))


def compile_selector(selector: Any) -> Selector:
    """Compile the JSON value of a selector.

    Raises:
        Problem: 400, with CouchDB's own words.
    """
    if not isinstance(selector, dict):
        raise Problem(400, "invalid_selector_json", f"Selector must be a JSON object, not: {bytes_form(selector)}")
    if not selector:
        return Selector({})
    node = _negated(_with_paths(_spelled_out(selector), ()))
    if () in node:
        raise Problem(400, "invalid_selector", "One or more conditions is missing a field name.")
    return Selector(node)


# ---- operators written out


def _spelled_out(value: Any) -> Node:
    if not isinstance(value, dict) or not value:
        return {"$eq": value}
    if len(value) > 1:
        return {"$and": [_spelled_out({name: part}) for name, part in value.items()]}
    ((name, argument),) = value.items()
    if not name.startswith("$"):
        return {name: _spelled_out(argument)}
    if name in _ANYTHING:
        return {name: argument}
    return _checked(name, argument)


def _checked(name: str, argument: Any) -> Node:
    if name in _COMBINING:
        return {name: [_spelled_out(part) for part in _of(list, name, argument)]}
    if name in (*_INNER, "$not"):
        return {name: _spelled_out(_of(dict, name, argument))}
    if name in _KINDS:
        return {name: _of(_KINDS[name], name, argument)}
    if name in ("$mod", "$size"):
        return {name: _counted(name, argument)}
    if name in ("$regex", "$beginsWith") and isinstance(argument, str):
        return {name: _pattern(name, argument)}
    if name == "$text":
        return _text(argument)
    if name in _UNSUPPORTED:
        raise Problem(400, "not_supported", f"Unsupported operator: {name}")
    raise Problem(400, "invalid_operator", f"Invalid operator: {name}")


def _pattern(name: str, argument: str) -> str:
    if name == "$regex" and regex_of(argument) is None:
        raise _bad(name, argument)
    return argument


def _of(kind: type, name: str, argument: Any) -> Any:
    if not isinstance(argument, kind):
        raise _bad(name, argument)
    return argument


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _counted(name: str, argument: Any) -> Any:
    if name == "$size":
        valid = _is_integer(argument) and argument >= 0
    else:
        valid = isinstance(argument, list) and len(argument) == 2 and all(map(_is_integer, argument))
    if not valid:
        raise _bad(name, argument)
    return argument


def _text(argument: Any) -> Node:
    if not isinstance(argument, (str, int, float, bool)):
        raise _bad("$text", argument)
    return {"$default": {"$text": argument}}


def _bad(name: str, argument: Any) -> Problem:
    return Problem(400, "bad_arg", f"Bad argument for operator {name}: {bytes_form(argument)}")


# ---- fields as paths, at the leaves


def _with_paths(node: Node, path: Path) -> Node:
    ((name, argument),) = node.items()
    if name in _COMBINING:
        return {name: [_with_paths(part, path) for part in argument]}
    if name == "$not":
        return {name: _with_paths(argument, path)}
    if name in _INNER:
        return {path: {name: _with_paths(argument, ())}}
    if name == "$default":
        if path:
            raise Problem(400, "bad_field", f"Invalid field normalization on selector: {bytes_form(node)}")
        return node
    if name.startswith("$"):
        return {path: node}
    return _with_paths(argument, path + (parse_field(name) if name else ()))


# ---- negations at the leaves


def _negated(node: Node) -> Node:
    ((name, argument),) = node.items()
    if name == "$not":
        return _negation(argument)
    if name == "$nor":
        return {"$and": [_negation(part) for part in argument]}
    if name in ("$and", "$or"):
        return {name: [_negated(part) for part in argument]}
    if isinstance(name, tuple) and next(iter(argument)) in _INNER:
        ((inner, condition),) = argument.items()
        return {name: {inner: _negated(condition)}}
    return node


def _negation(node: Node) -> Node:
    ((name, argument),) = node.items()
    if name == "$not":
        return _negated(argument)
    if name in ("$nor", "$and"):  # De Morgan
        return {"$or": [_negated(part) if name == "$nor" else _negation(part) for part in argument]}
    if name == "$or":
        return {"$and": [_negation(part) for part in argument]}
    if name == "$default":
        raise _bad("$not", node)
    if isinstance(name, tuple):
        return {name: _negation(argument)}
    if name == "$exists":
        return {name: not argument}
    return {_OPPOSITE[name]: argument} if name in _OPPOSITE else {"$not": node}


# ---- the fields of a selector


def _unrequired(nodes: list[Node], paths: set[Path]) -> set[Path]:
    for node in nodes:
        ((name, argument),) = node.items()
        if name == "$and":
            paths = _unrequired(argument, paths)
        elif name == "$or":
            # Every branch must require a field.
            paths = set().union(*(_unrequired([part], paths) for part in argument))
        elif isinstance(name, tuple) and argument != {"$exists": False}:
            paths = paths - {name}
    return paths


def _fields(node: Node) -> Iterator[Path]:
    for name, argument in node.items():
        if isinstance(name, tuple):
            yield name
        elif isinstance(argument, list):
            for part in argument:
                yield from _fields(part)


def _joined(value: Any) -> Any:
    if isinstance(value, dict):
        return {join_field(name) if isinstance(name, tuple) else name: _joined(part) for name, part in value.items()}
    return [_joined(part) for part in value] if isinstance(value, list) else value
