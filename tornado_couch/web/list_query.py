"""The query string of a collection: which documents, how many, from where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..couch import UNSET
from ..models import model_info
from ..store import Position, indexed_properties
from .paging import CursorCodec, next_link, parse_limit
from .problems import Problem
from .resources import Resource

__all__ = ["ListQuery", "parse_list_query"]


@dataclass(frozen=True)
class ListQuery:
    """What a client asks of a collection.

    Attributes:
        parameters: as the client sent them, in order, without the cursor.
        limit: how many items at most.
        by: the indexed property that is filtered by.
        key: its value.
        start: where the page begins.
    """

    parameters: list[tuple[str, str]]
    limit: int
    by: str | None = None
    key: Any = UNSET
    start: Position | None = None

    def scope(self, path: str) -> str:
        """What a cursor is good for: this collection with this filter, whatever the limit."""
        return f"{path}?{[pair for pair in self.parameters if pair[0] != 'limit']}"

    def address(self, path: str, cursor: str) -> str:
        """The address of the page at a cursor."""
        return next_link(path, self.parameters, cursor)


def parse_list_query(resource: Resource[Any], arguments: Mapping[str, list[bytes]], cursors: CursorCodec) -> ListQuery:
    """Read a query string.

    Raises:
        Problem: 400, naming the parameter: it is unknown, given twice, or its value is none.
    """
    given = {name: _only(name, values) for name, values in arguments.items()}
    filters = {name: text for name, text in given.items() if name not in ("limit", "cursor")}
    allowed = indexed_properties(resource.model)
    for name in filters:
        if name not in allowed or len(filters) > 1:
            raise _unknown(name, allowed, len(filters))
    by = next(iter(filters), None)
    query = ListQuery(
        parameters=[(name, text) for name, text in given.items() if name != "cursor"],
        limit=parse_limit(given.get("limit"), resource.page_size, resource.max_page_size),
        by=by,
        key=UNSET if by is None else _value(resource, by, filters[by]),
    )
    if "cursor" not in given:
        return query
    start = cursors.decode(given["cursor"], query.scope(resource.path))
    return ListQuery(query.parameters, query.limit, query.by, query.key, start)


def _only(name: str, values: list[bytes]) -> str:
    if len(values) > 1:
        raise Problem(400, "bad-parameter", f"`{name}` can be given once.", parameter=name)
    try:
        return values[0].decode("utf-8")
    except UnicodeDecodeError:
        raise Problem(400, "bad-parameter", f"`{name}` is not valid UTF-8.", parameter=name) from None


def _unknown(name: str, allowed: list[str], count: int) -> Problem:
    choices = ", ".join(f"`{each}`" for each in ["limit", "cursor", *allowed])
    detail = (
        f"One property at a time can be filtered by; {count} were given."
        if name in allowed
        else (f"There is no parameter of that name, or no index for it. Allowed are {choices}.")
    )
    return Problem(400, "bad-parameter", detail, parameter=name, allowed=["limit", "cursor", *allowed])


def _value(resource: Resource[Any], name: str, text: str) -> Any:
    info = model_info(resource.model)
    try:
        return info.stored_value(name, info.parse_value(name, text))
    except ValueError:
        detail = f"That is no value of `{name}`."
        raise Problem(400, "bad-parameter", detail, parameter=name) from None
