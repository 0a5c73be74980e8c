"""Checks the bodies of Mango's requests, in CouchDB's order and with its words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from tornado_couch.embedded.problems import Problem, bad_request, bytes_form, text_form
from tornado_couch.embedded.selectors.selectors import Selector, compile_selector

__all__ = [
    "FindOptions",
    "IndexOptions",
    "bulk_delete_options",
    "definition_options",
    "field_names",
    "find_options",
    "index_options",
]

_Check = Callable[[Any], Any]
_REQUIRED = object()


@dataclass(frozen=True, slots=True)
class FindOptions:
    """The members of a body of `_find` or `_explain`; `bookmark` is None for the beginning."""

    selector: Selector
    use_index: list[str]
    bookmark: str | None
    limit: int
    skip: int
    sort: list[tuple[str, str]]
    fields: list[str]
    partition: str
    r: int
    conflicts: bool
    stale: Any
    update: bool
    stable: bool
    execution_stats: bool
    allow_fallback: bool

    @property
    def descending(self) -> bool:
        """The direction of the sort, which is the same for all fields."""
        return bool(self.sort) and self.sort[0][1] == "desc"

    def to_json(self) -> dict[str, Any]:
        """The options as `_explain` shows them."""
        shown = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "selector"}
        return {**shown, "bookmark": self.bookmark or "nil", "sort": dict(self.sort)}


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """The members of a body of `POST /db/_index`; a name that is None will be generated."""

    index: Any
    type: str
    name: str | None
    ddoc: str | None
    w: int
    partitioned: bool | None


def find_options(body: Any) -> FindOptions:
    """Read the options of `_find` and `_explain`.

    Raises:
        Problem: 400.
    """
    return FindOptions(**_members(body, _FIND))


def index_options(body: Any) -> IndexOptions:
    """Read the options of a new index."""
    return IndexOptions(**_members(body, _INDEX))


def definition_options(definition: Any) -> tuple[list[tuple[str, str]], dict[str, Any]]:
    """Read the fields with directions, and the partial filter selector, from the definition of a JSON index."""
    if not isinstance(definition, dict):
        words = f"JSON indexes must be an object, not: {bytes_form(definition)}"
        raise Problem(400, "invalid_index", words)
    members = _members(definition, _DEFINITION)
    return members["fields"], members["partial_filter_selector"]


def bulk_delete_options(body: Any) -> list[str]:
    """Read the ids of the design documents whose indexes to delete, with `_design/`."""
    ids: list[str] = _members(body, {"docids": (_REQUIRED, _bulk_ids), "w": (2, _positive)})["docids"]
    return [f"_design/{name.removeprefix('_design/')}" for name in ids]


def _members(body: Any, wanted: dict[str, tuple[Any, _Check]]) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise bad_request("Request body must be a JSON object")
    read = {}
    for name, (default, check) in wanted.items():
        if name in body:
            read[name] = check(body[name])
        elif default is _REQUIRED:
            raise Problem(400, "missing_required_key", f"Missing required key: {name}")
        else:
            read[name] = default
    for name in body:
        if name not in wanted:
            raise Problem(400, "invalid_key", f"Invalid key {name} for this request.")
    return read


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Problem(400, "invalid_boolean", f"Invalid boolean value: {bytes_form(value)}")
    return value


def _integer(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _positive(value: Any) -> int:
    if not _integer(value, 1):
        raise Problem(400, "invalid_pos_integer", f"{bytes_form(value)} is not an integer greater than zero")
    return int(value)


def _natural(value: Any) -> int:
    if not _integer(value, 0):
        words = f"{bytes_form(value)} is not an integer greater than or equal to zero"
        raise Problem(400, "invalid_non_neg_integer", words)
    return int(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Problem(400, "invalid_string", f"Invalid string: {bytes_form(value)}")
    return value


def _filled_text(value: Any) -> str:
    if value == "":
        raise Problem(400, "invalid_empty_string", "Index name or ddoc cannot be empty string")
    return _text(value)


def _use_index(value: Any) -> list[str]:
    parts = value.removeprefix("_design/").split("/") if isinstance(value, str) else value
    if parts is None or parts == []:
        return []
    if not isinstance(parts, list) or len(parts) > 2 or not all(isinstance(part, str) for part in parts):
        raise Problem(400, "invalid_index_name", f"Invalid index name: {bytes_form(value)}")
    return [parts[0].removeprefix("_design/"), *parts[1:]]


def _bookmark(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise Problem(400, "invalid_bookmark", f"Invalid bookmark value: {text_form(value)}")
    return value


def _sort(value: Any) -> list[tuple[str, str]]:
    if not isinstance(value, list):
        raise Problem(400, "invalid_sort_json", f"Sort must be an array of sort specs, not: {text_form(value)}")
    sort = [_sort_field(field) for field in value]
    if len({way for _, way in sort}) > 1:
        words = "Sorts currently only support a single direction for all fields."
        raise Problem(400, "unsupported_mixed_sort", words)
    return sort


def _sort_field(field: Any) -> tuple[str, str]:
    if isinstance(field, str) and field:
        return field, "asc"
    if isinstance(field, dict) and len(field) == 1:
        ((name, way),) = field.items()
        if way in ("asc", "desc"):
            return name, way
    shown = "<<>>" if field == "" else text_form(field)
    raise Problem(400, "invalid_sort_field", f"Invalid sort field: {shown}")


def field_names(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise Problem(400, "invalid_fields", f"Fields must be an array of strings, not: {bytes_form(value)}")
    for field in value:
        if not isinstance(field, str):
            raise Problem(400, "invalid_field", f"Invalid JSON for field spec: {bytes_form(field)}")
    return value


def _stale(value: Any) -> Any:
    if value not in ("ok", "false", False):
        raise Problem(400, "invalid_ok_or_false_value", f"Invalid value for stale: {text_form(value)}")
    return "ok" if value == "ok" else False


def _partial(value: Any) -> Any:
    return compile_selector(value).to_json()


def _bulk_ids(value: Any) -> list[str]:
    if not isinstance(value, list):
        words = f"Bulk Delete requires an array of non-null docids. Docids: {bytes_form(value)}"
        raise Problem(400, "invalid_bulk_docs", words)
    for name in value:
        _use_index(name)
    return value


_FIND: dict[str, tuple[Any, _Check]] = {
    "selector": (_REQUIRED, compile_selector),
    "use_index": ([], _use_index),
    "bookmark": (None, _bookmark),
    "limit": (25, _natural),
    "skip": (0, _natural),
    "sort": ([], _sort),
    "fields": ([], field_names),
    "partition": ("", _text),
    "r": (1, _positive),
    "conflicts": (False, _boolean),
    "stale": (False, _stale),
    "update": (True, _boolean),
    "stable": (False, _boolean),
    "execution_stats": (False, _boolean),
    "allow_fallback": (True, _boolean),
}
_INDEX: dict[str, tuple[Any, _Check]] = {
    "index": (_REQUIRED, lambda value: value),
    "type": ("json", _text),
    "name": (None, _filled_text),
    "ddoc": (None, _filled_text),
    "w": (2, _positive),
    "partitioned": (None, _boolean),
}
_DEFINITION: dict[str, tuple[Any, _Check]] = {
    "fields": (_REQUIRED, _sort),
    "partial_filter_selector": ({}, _partial),
}
