"""Reads the query string of a collection: which documents, in which order, how many, and from where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl

from ... import _json
from ...models import Model
from ...store import Position, Query
from ..problems import Problem
from ..resources import Resource
from .cursors import CursorCodec, page_link, parse_limit
from .decoding import bad_parameter, decode_names, decode_parameter, flag
from .filters import FilterLimits, filterable, parse_filters, parse_nulls, parse_sort, served
from .projection import Projection, parse_fields

__all__ = ["ListQuery", "allowed_parameters", "own_parameters", "parse_list_query", "restricted"]

_OWN = ("limit", "cursor", "sort", "nulls", "fields", "count", "or")


@dataclass(frozen=True)
class ListQuery:
    """What a client asks of a collection.

    Attributes:
        parameters: the parameters as the client sent them, without the cursor.
        query: which documents, in which order; limited to those that the caller may see.
        limit: return at most this many items.
        start: where the page begins, or ends.
        backward: whether the page ends at `start`.
        projection: the requested properties; None for all.
        count: whether to count all documents as well.
    """

    parameters: list[tuple[str, str]]
    query: Query
    limit: int
    start: Position | None = None
    backward: bool = False
    projection: Projection | None = None
    count: bool = False

    def scope(self, path: str) -> str:
        """The scope of a cursor: this collection in this order with these filters, and the caller's restriction."""
        query = self.query
        among = {name: sorted(map(_json.dumps, values)) for name, values in query.among.items()}
        ranges = sorted((name, repr(bounds)) for name, bounds in query.ranges.items())
        which = " deleted" if query.deleted else ""
        if query.excluded or query.nulls or query.prefixes:
            which += f" {_json.dumps([dict(query.excluded), dict(query.prefixes)])!r} {query.nulls}"
        for each in query.either:
            which += f" or {each!r}"
        return f"{path} {sorted(among.items())} {ranges} {tuple(query.sort)} {query.descending}{which}"

    def address(self, path: str, cursor: str) -> str:
        """The address of the page at a cursor."""
        return page_link(path, self.parameters, cursor)


def allowed_parameters(resource: Resource[Any]) -> list[str]:
    """All parameters of the collection; ranges of a property are `property[gte]` and the like."""
    model: type[Model] = resource.model
    return [*own_parameters(resource), *filterable(model), *_derived_names(resource)]


def _derived_names(resource: Resource[Any]) -> list[str]:
    return [name for name, each in resource.info.derived.items() if not each.is_nested]


def own_parameters(resource: Resource[Any]) -> tuple[str, ...]:
    """The parameters that are not the names of properties."""
    info = resource.info
    return (*_OWN, *(["deleted"] if info.restorable else []), *(["include"] if info.relations else []))


def parse_list_query(
    resource: Resource[Any],
    arguments: Mapping[str, list[bytes]],
    cursors: CursorCodec,
    restriction: tuple[str, Any] | None = None,
    *,
    most: int | None = None,
) -> ListQuery:
    """Read a query string.

    Args:
        resource: the collection.
        arguments: the query string's parameters.
        cursors: reads the cursor.
        restriction: the property and its value that the caller is limited to; or a set of values.
        most: the largest `limit`, and its default; without it, those of the resource's pages.

    Raises:
        Problem: 400, naming the parameter: it is unknown, its value is not valid, or no index serves it.
    """
    given = decode_names(arguments)
    known = own_parameters(resource)
    own = {name: decode_parameter(name, given[name]) for name in known if name in given and name != "or"}
    wanted = _query(resource, {name: values for name, values in given.items() if name not in known}, own)
    wanted = _with_groups(resource, wanted, given.get("or", []), len(given))
    for limit in (*resource.under.items(), *([] if restriction is None else [restriction])):
        wanted = restricted(wanted, limit[0], *_as_asked(resource, wanted, *limit))
    wanted = replace(wanted, deleted=flag("deleted", own.get("deleted")))
    parameter = next((name for name in given if name not in known), "sort")
    query = ListQuery(
        parameters=_pairs(given),
        query=served(resource.store, resource.model, wanted, parameter),
        limit=parse_limit(own.get("limit"), most or resource.page_size, most or resource.max_page_size),
        projection=parse_fields(resource.model, given.get("fields")),
        count=flag("count", own.get("count")),
    )
    if query.count and query.query.either:
        raise bad_parameter("count", "What `or` finds cannot be counted: a document may be in several groups.")
    if query.count and query.query.is_sifted:
        raise bad_parameter("count", "No index serves these filters within your documents, so they cannot be counted.")
    if query.count:
        _check_countable(resource, query.query)
    if "cursor" not in own:
        return query
    cursor = cursors.decode(own["cursor"], query.scope(resource.path))
    start = Position(cursor.key, cursor.id, cursor.inclusive)
    return replace(query, start=start, backward=cursor.backward)


def _query(resource: Resource[Any], filters: Mapping[str, list[bytes]], own: Mapping[str, str]) -> Query:
    model: type[Model] = resource.model
    limits = FilterLimits(resource.max_filters, resource.max_values)
    found = parse_filters(model, filters, filterable(model), allowed_parameters(resource), limits)
    sort, descending = parse_sort(model, own.get("sort"))
    return replace(found, sort=sort, descending=descending, nulls=parse_nulls(own.get("nulls"), sort))


def _with_groups(resource: Resource[Any], query: Query, groups: Sequence[bytes], filters: int) -> Query:
    """The query with the groups of filters of `or`, each of which is a query string of its own.

    Raises:
        Problem: 400, a group is empty, or not a list of filters; there are too many; `nulls` is given besides.
    """
    if not groups:
        return query
    model: type[Model] = resource.model
    limits, names = FilterLimits(resource.max_filters, resource.max_values), filterable(model)
    found = []
    for each in groups:
        given: dict[str, list[bytes]] = {}
        for name, value in parse_qsl(decode_parameter("or", [each]), keep_blank_values=True):
            given.setdefault(name, []).append(value.encode())
        if not given:
            raise bad_parameter("or", "Each `or` is a group of filters, such as `or=color%3Dred%26size%3D1`.")
        filters += len(given)
        found.append(parse_filters(model, given, names, [*names, *_derived_names(resource)], limits))
    if filters - 1 > resource.max_filters:
        raise bad_parameter("or", f"More than {resource.max_filters} filters were given.")
    if query.nulls:
        raise bad_parameter("nulls", "`nulls` cannot be given beside `or`.")
    return replace(query, either=tuple(found))


def _check_countable(resource: Resource[Any], query: Query) -> None:
    """Refuse to count documents with a history unless the index contains each document once.

    Raises:
        Problem: 400, the query would count versions.
    """
    info = resource.info
    others = {*query.ranges, *query.excluded, *query.prefixes, *query.sort} - {*info.indexes[0].properties}
    if info.history and (query.among or others):
        detail = "The index contains every version, so only all documents, or those in a range of keys, can be counted."
        raise Problem.of("no-index", detail, parameter="count")


def _as_asked(resource: Resource[Any], query: Query, name: str, limit: Any) -> list[Any]:
    """The values of a limit as they are stored, in a certain order; of equal ones those that the client asks for."""
    values = list(limit) if isinstance(limit, set | frozenset) else [limit]
    if name not in resource.info.properties:
        return values
    info, found = resource.info, {}
    for value in values:
        stored = info.stored_value(name, value)
        seen = info.view_value(name, stored)
        equal = (each for each in query.among.get(name, ()) if info.view_value(name, each) == seen)
        found[_json.dumps(seen)] = next(equal, stored)
    return [found[text] for text in sorted(found)]


def restricted(query: Query, name: str, *values: Any) -> Query:
    """The query, limited to the documents that the caller may see: those with one of the values in a property.

    Raises:
        Problem: 400, it asks for a range of the property by which the caller is limited.
    """
    if name in query.ranges or name in query.excluded:
        detail = f"Your list is limited to certain values of `{name}`, so it takes neither a range nor `[ne]` of it."
        raise Problem.of("bad-parameter", detail, parameter=name)
    return query.restricted(name, *values)


def _pairs(given: Mapping[str, list[bytes]]) -> list[tuple[str, str]]:
    return [(name, value.decode("utf-8")) for name, values in given.items() if name != "cursor" for value in values]
