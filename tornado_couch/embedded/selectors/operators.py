"""The operators of Mango's selectors, as functions of a value."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

import regex

from tornado_couch.embedded.collation import raw_key, sort_key
from tornado_couch.embedded.problems import Problem

__all__ = [
    "BAD_PATH",
    "NOT_FOUND",
    "Matcher",
    "Path",
    "get_field",
    "join_field",
    "matcher",
    "parse_field",
    "project",
    "regex_of",
    "set_field",
]


Path = tuple[str, ...]

# The results of `get_field` if there is no value. The two differ for `{"$exists": false}`.
NOT_FOUND, BAD_PATH = object(), object()


@lru_cache(maxsize=1024)
def parse_field(field: str) -> Path:
    """Parse a field's name into a path.

    Raises:
        Problem: 400, a part of it is empty.
    """
    if "\\" not in field:
        parts = field.split(".")
    else:
        parts = [part.replace("\\", "") for part in re.split(r"(?<!\\)\.", field)]
    if "" in parts:
        raise Problem(400, "invalid_field_name", f"Invalid field name: {field}")
    return tuple(parts)


def join_field(path: Path) -> str:
    """Write a path as a name."""
    return ".".join(name.replace(".", "\\.") for name in path)


def get_field(value: Any, path: Path) -> Any:
    """The value at a path; NOT_FOUND if there is no such member, BAD_PATH if the path cannot be followed."""
    for name in path:
        if isinstance(value, dict):
            if name not in value:
                return NOT_FOUND
            value = value[name]
        elif isinstance(value, list) and name.isascii() and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return BAD_PATH
    return value


def set_field(document: dict[str, Any], path: Path, value: Any) -> None:
    """Put a value at a path, and create the objects on the way."""
    for name in path[:-1]:
        inner = document.get(name)
        if not isinstance(inner, dict):
            inner = document[name] = {}
        document = inner
    document[path[-1]] = value


def project(document: Any, paths: Iterable[Path]) -> dict[str, Any]:
    """The part of a document that some paths lead to."""
    projected: dict[str, Any] = {}
    for path in paths:
        value = get_field(document, path)
        if path and value is not NOT_FOUND and value is not BAD_PATH:
            set_field(projected, path, value)
    return projected


Matcher = Callable[[Any], bool]

_COMPARISONS: dict[str, Callable[[bytes, bytes], bool]] = {
    "$lt": lambda left, right: left < right,
    "$lte": lambda left, right: left <= right,
    "$eq": lambda left, right: left == right,
    "$ne": lambda left, right: left != right,
    "$gte": lambda left, right: left >= right,
    "$gt": lambda left, right: left > right,
}


def matcher(node: dict[Any, Any], key: Callable[[Any], bytes] = sort_key) -> Matcher:
    """Turn a normalized selector into a function.

    Args:
        node: an object with one member; {} matches everything.
        key: orders values; document ids use the raw order, everything else uses collation.
    """
    if not node:
        return lambda _: True
    ((name, argument),) = node.items()
    if isinstance(name, tuple):
        return _field(name, argument) if name else matcher(argument, key)
    if name in ("$and", "$or"):
        return _combined(name, [matcher(part, key) for part in argument])
    if name == "$not":
        inner = matcher(argument, key)
        return lambda value: not inner(value)
    if name in _COMPARISONS:
        compare, bound = _COMPARISONS[name], key(argument)
        return lambda value: compare(key(value), bound)
    return _MAKERS[name](argument, key)


def _combined(name: str, parts: list[Matcher]) -> Matcher:
    if name == "$and" or not parts:  # an empty `$or` inside a selector is always true
        return lambda value: all(part(value) for part in parts)
    return lambda value: any(part(value) for part in parts)


def _field(path: Path, condition: dict[str, Any]) -> Matcher:
    match = matcher(condition, raw_key if path == ("_id",) else sort_key)
    absent = condition == {"$exists": False}

    def field(value: Any) -> bool:
        found = get_field(value, path)
        if found is NOT_FOUND:
            return absent
        return found is not BAD_PATH and match(found)

    return field


def _among(arguments: list[Any], key: Callable[[Any], bytes]) -> Matcher:
    keys = {key(argument) for argument in arguments}

    def among(value: Any) -> bool:
        if isinstance(value, list):
            return any(key(item) in keys for item in value)
        return key(value) in keys

    return among


def _not_among(arguments: list[Any], key: Callable[[Any], bytes]) -> Matcher:
    among = _among(arguments, key)
    return lambda value: not among(value)


def _all(arguments: list[Any], _key: Callable[[Any], bytes]) -> Matcher:
    # Compared as they are written: here 1 differs from 1.0 and from true.
    wanted = [json.dumps(argument) for argument in arguments]

    def every(value: Any) -> bool:
        if not wanted or not isinstance(value, list):
            return False
        held = {json.dumps(item) for item in value}
        return held.issuperset(wanted) or (len(wanted) == 1 and json.dumps(value) == wanted[0])

    return every


def _element(argument: Any, key: Callable[[Any], bytes]) -> Matcher:
    match = matcher(argument, key)
    return lambda value: isinstance(value, list) and any(match(item) for item in value)


def _every_element(argument: Any, key: Callable[[Any], bytes]) -> Matcher:
    match = matcher(argument, key)
    return lambda value: isinstance(value, list) and bool(value) and all(match(item) for item in value)


def _member_name(argument: Any, key: Callable[[Any], bytes]) -> Matcher:
    match = matcher(argument, key)
    return lambda value: isinstance(value, dict) and any(match(name) for name in value)


def _type(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    names: dict[type, str] = {str: "string", list: "array", dict: "object"}
    return names.get(type(value), "number")


def _modulo(arguments: list[int], _key: Callable[[Any], bytes]) -> Matcher:
    divisor, wanted = arguments

    def modulo(value: Any) -> bool:
        if not isinstance(value, int) or isinstance(value, bool):
            return False
        if divisor == 0:
            raise Problem(500, "unknown_error", "badarith")
        rest = abs(value) % abs(divisor)  # the sign is that of the dividend, as in Erlang and C
        return (rest if value >= 0 else -rest) == wanted

    return modulo


# Seconds for one match. PCRE gives up on a hopeless match by its own limit, which CouchDB treats as no match.
_PATIENCE = 0.5


@lru_cache(maxsize=256)
def regex_of(pattern: str) -> regex.Pattern[str] | None:
    """Compile a regular expression of CouchDB's kind (PCRE); None if it is not valid."""
    try:
        return regex.compile(pattern)
    except (regex.error, OverflowError, RecursionError):
        return None


def _regex(pattern: str, _key: Callable[[Any], bytes]) -> Matcher:
    compiled = regex_of(pattern)

    def found(value: Any) -> bool:
        if compiled is None or not isinstance(value, str):
            return False
        try:
            # `concurrent` lets other threads run meanwhile, since a pattern comes from a stranger.
            return compiled.search(value, timeout=_PATIENCE, concurrent=True) is not None
        except TimeoutError:
            return False

    return found


_MAKERS: dict[str, Callable[[Any, Callable[[Any], bytes]], Matcher]] = {
    "$in": _among,
    "$nin": _not_among,
    "$all": _all,
    "$elemMatch": _element,
    "$allMatch": _every_element,
    "$keyMapMatch": _member_name,
    "$exists": lambda argument, _key: lambda _: bool(argument),
    "$type": lambda argument, _key: lambda value: _type(value) == argument,
    "$mod": _modulo,
    "$size": lambda argument, _key: lambda value: isinstance(value, list) and len(value) == argument,
    "$beginsWith": lambda argument, _key: lambda value: isinstance(value, str) and value.startswith(argument),
    "$regex": _regex,
    # Only a text index can tell; CouchDB trusts what it found.
    "$default": lambda _argument, _key: lambda _: True,
}
