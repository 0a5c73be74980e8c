"""Field names with dots, as in Mango's selectors, indexes and `fields`: each is a path into a document.

A dot separates names, `\\.` is a dot in a name, and a number is an index into an array (CouchDB API, "/db/_find",
"Subfields").
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from tornado_couch.embedded.problems import Problem

__all__ = ["BAD_PATH", "NOT_FOUND", "Path", "get_field", "join_field", "parse_field", "project", "set_field"]

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
