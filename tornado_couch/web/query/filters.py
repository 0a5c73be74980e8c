"""Reads the filters and the order from a query string into a `Query` of the store.

    ?color=red&color=blue&created_on[gte]=2026-01-01T00:00:00Z&sort=-created_on
    ?color[in]=red,blue&owner[is]=null
    ?color[ne]=red&sort=color&nulls=last
    ?color[prefix]=re
    ?tags[contains]=sweet
    ?address.city=Oslo
    ?or=color%3Dred&or=size%3D1

The model determines which properties can be filtered: those that an index has, without those that clients must not
see. A property with the same name as a parameter, such as `limit`, cannot be filtered.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Any, Literal

from pydantic import PydanticUserError

from ... import _json
from ...errors import NoIndex
from ...models import Model, is_timestamp, model_info
from ...store import Bounds, Query, Store
from ..problems import Problem
from .decoding import bad_parameter, decode_parameter

__all__ = [
    "FilterLimits",
    "filterable",
    "has_ranges",
    "no_index",
    "parse_filters",
    "parse_nulls",
    "parse_sort",
    "served",
]

_OPERATOR = re.compile(r"(?P<name>.*)\[(?P<operator>gt|gte|lt|lte|ne|in|is)\]", re.DOTALL)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)  # RFC 3339 §5.6
_RANGES = {"gt", "gte", "lt", "lte"}


@dataclass(frozen=True)
class FilterLimits:
    """How much one request may ask for.

    Attributes:
        filters: the highest number of filters.
        values: the highest number of values, and of combinations of them, since each needs a part of an index.
    """

    filters: int
    values: int


@cache
def filterable(cls: type[Model]) -> dict[str, bool]:
    """The properties that can be filtered and sorted by, and whether they can be filtered by ranges."""
    info = model_info(cls)
    indexed = {name for index in info.indexes for name in index.properties}
    found = {
        each.name: has_ranges(cls, each.name)
        for each in info.properties.values()
        if each.name in indexed and not each.secret
    }
    found |= {name: has_ranges(cls, name) for name, each in info.derived.items() if each.is_nested}
    # A partition can be filtered by itself, without an index of its own.
    return {info.partition.name: False, **found} if info.partition else found


def has_ranges(cls: type[Model], name: str) -> bool:
    """Whether the values are numbers or texts: nobody wants a range of truth values or arrays."""
    if equality_only(cls, name):
        return False
    try:
        schema = model_info(cls).adapters[name].json_schema(mode="serialization")
    except PydanticUserError:  # a type that JSON Schema cannot describe
        return False
    kinds = {_kind(branch) for branch in schema.get("anyOf", [schema])}
    return kinds <= {"string", "number", "integer", "null"} and kinds != {"null"}


def equality_only(cls: type[Model], name: str) -> bool:
    """Whether documents are found by the value alone, since it is protected."""
    declared = model_info(cls).properties.get(name)
    return declared is not None and declared.equality_only


def _kind(schema: Mapping[str, Any]) -> Any:
    if "type" not in schema and {type(value) for value in schema.get("enum", ())} == {str}:
        return "string"
    return schema.get("type")


def parse_filters(
    cls: type[Model],
    given: Mapping[str, list[bytes]],
    names: Mapping[str, bool],
    allowed: Sequence[str],
    limits: FilterLimits,
) -> Query:
    """Read the filters among these parameters, without an order.

    Args:
        cls: the model.
        given: the parameters that are not the resource's own.
        names: the properties that can be filtered by, and whether by ranges.
        allowed: all allowed parameters, to be listed if an unknown one is given.
        limits: how much may be asked for.

    Raises:
        Problem: 400, naming the parameter.
    """
    among: dict[str, list[Any]] = {}
    ranges: dict[str, dict[str, Any]] = {}
    excluded: dict[str, Any] = {}
    prefixes: dict[str, str] = {}
    if len(given) > limits.filters:
        raise bad_parameter(list(given)[limits.filters], f"More than {limits.filters} filters were given.")
    for parameter, values in given.items():
        if parameter.endswith("[prefix]"):
            name = _derived(cls, parameter, allowed)
            prefixes[name] = decode_parameter(parameter, values)
            continue
        if parameter.endswith("[contains]"):
            _derived(cls, parameter, allowed)
            among[parameter] = [_value(cls, parameter, parameter, decode_parameter(parameter, values))]
            continue
        name, operator = _split(parameter, names, allowed)
        if operator in _RANGES:
            text = decode_parameter(parameter, values)
            ranges.setdefault(name, {})[operator] = _value(cls, parameter, name, text)
        elif operator == "ne":
            if equality_only(cls, name):
                raise bad_parameter(parameter, f"`{name}` can only be filtered by equality.")
            excluded[name] = _value(cls, parameter, name, decode_parameter(parameter, values))
        else:
            among.setdefault(name, []).extend(_wanted(cls, parameter, name, operator, values))
    among = {name: list(_distinct(values)) for name, values in among.items()}
    _check_values(among, limits)
    for name in excluded:
        if name in among or name in ranges:
            raise bad_parameter(f"{name}[ne]", f"`{name}[ne]` cannot be combined with other filters of `{name}`.")
    bounds = {name: _bounds(name, found, among) for name, found in ranges.items()}
    return Query(among, bounds, excluded=excluded, prefixes=prefixes)


def _derived(cls: type[Model], parameter: str, allowed: Sequence[str]) -> str:
    """The property of a filter that needs an index of its own.

    Raises:
        Problem: 400: the property is unknown, or has no such index; then with what the model would need.
    """
    info, (name, _, operator) = model_info(cls), parameter.rpartition("[")
    if parameter in info.derived:
        return name
    declared = info.properties.get(name)
    wanted = "prefix=True" if operator == "prefix]" else "members=True"
    schema = info.adapters[name].json_schema(mode="serialization") if declared and not declared.secret else {}
    kinds = {_kind(branch) for branch in schema.get("anyOf", [schema])} - {"null"}
    if declared is None or declared.protected or kinds != {"string" if operator == "prefix]" else "array"}:
        raise _unknown(parameter, allowed)
    declaration = f"Indexed({wanted}) on {name}"
    detail = f"No index serves this use of `{name}`, and nothing is searched without one."
    detail += f" The model would need `{declaration}`."
    raise Problem.of("no-index", detail, parameter=parameter, declaration=declaration)


def _unknown(parameter: str, allowed: Sequence[str]) -> Problem:
    choices = ", ".join(f"`{each}`" for each in allowed)
    detail = f"There is no parameter with that name, or no index for it. Allowed are {choices}."
    return Problem.of("bad-parameter", detail, parameter=parameter, allowed=list(allowed))


def _wanted(cls: type[Model], parameter: str, name: str, operator: str, values: Sequence[bytes]) -> Iterable[Any]:
    """The values of which a property must have one."""
    texts = [_text(name, each) for each in values]
    if operator == "is":
        if set(texts) != {"null"}:
            raise bad_parameter(parameter, f"`{parameter}` can only be null; for a value, write `{name}=…`.")
        return [None]
    if operator == "in":
        texts = [each for text in texts for each in text.split(",")]
    return [_value(cls, parameter, name, each) for each in texts]


def _split(parameter: str, names: Mapping[str, bool], allowed: Sequence[str]) -> tuple[str, str]:
    """The property and the operator of a filter; the operator is empty for equality."""
    if parameter in names:
        return parameter, ""
    match = _OPERATOR.fullmatch(parameter)
    if match is None or match["name"] not in names:
        raise _unknown(parameter, allowed)
    if match["operator"] in _RANGES and not names[match["name"]]:
        raise bad_parameter(
            parameter, f"The values of `{match['name']}` have no order, so filter by equality, not by a range."
        )
    return match["name"], match["operator"]


def _text(name: str, value: bytes) -> str:
    return decode_parameter(name, [value])


def _value(cls: type[Model], parameter: str, name: str, text: str) -> Any:
    info = model_info(cls)
    try:
        parsed = info.parse_value(name, text)
        # Pydantic takes a number for the time since 1970 as well.
        form = is_timestamp if isinstance(parsed, datetime) else _DATE.fullmatch
        if isinstance(parsed, date) and not form(text):
            raise ValueError
        value = info.stored_value(name, parsed)
        _json.dumps(value)  # this refuses a float that is infinite
    except (ValueError, OverflowError):  # OverflowError comes from a time near the end of the calendar
        # In a query string a plus sign is a space, so that a time with an offset arrives broken.
        hint = " Write a plus sign as %2B." if is_timestamp("+".join(text.rsplit(" ", 1))) else ""
        raise bad_parameter(parameter, f"Not a valid value for `{name}`.{hint}") from None
    return value


def _distinct(values: Iterable[Any]) -> Iterable[Any]:
    return {_json.dumps(value): value for value in values}.values()


def _check_values(among: Mapping[str, list[Any]], limits: FilterLimits) -> None:
    combinations = math.prod(len(values) for values in among.values())
    if among and max(combinations, sum(len(values) for values in among.values())) > limits.values:
        name = max(among, key=lambda each: len(among[each]))
        raise bad_parameter(name, f"More than {limits.values} values, or combinations of values, were given.")


def _bounds(name: str, found: Mapping[str, Any], among: Mapping[str, Any]) -> Bounds:
    if name in among:
        raise bad_parameter(name, f"`{name}` can be filtered by values or by a range, but not by both.")
    try:
        return Bounds(**found)
    except ValueError as error:
        raise bad_parameter(f"{name}[{next(iter(found))}]", f"{str(error).capitalize()}.") from None


def parse_sort(cls: type[Model], text: str | None) -> tuple[tuple[str, ...], bool]:
    """The properties to sort by, and whether the order is descending.

    Raises:
        Problem: 400, listing the properties that can be sorted by.
    """
    if text is None:
        return (), False
    given = text.split(",")
    names = tuple(each.removeprefix("-") for each in given)
    downward = {each.startswith("-") for each in given}
    allowed = [name for name in filterable(cls) if not equality_only(cls, name)]
    if not set(names) <= set(allowed) or len(set(names)) < len(names):
        choices = ", ".join(f"`{name}`" for name in allowed)
        detail = f"`sort` takes property names separated by commas, each once; `-name` sorts descending: {choices}."
        raise Problem.of("bad-parameter", detail, parameter="sort", allowed=allowed)
    if len(downward) > 1:
        raise bad_parameter("sort", "An index is read in one direction: put `-` before every property or before none.")
    return names, downward == {True}


def parse_nulls(text: str | None, sort: Sequence[str]) -> Literal["first", "last"] | None:
    """Where null comes in the order; None if the client does not say it.

    Raises:
        Problem: 400, it is neither "first" nor "last", or the list is not sorted by one property.
    """
    if text is None:
        return None
    if len(sort) != 1:
        raise bad_parameter("nulls", "`nulls` goes with `sort` by one property: an index of several has no null in it.")
    if text not in ("first", "last"):
        raise bad_parameter("nulls", "`nulls` must be first or last.")
    return "first" if text == "first" else "last"


def served(store: Store, cls: type[Model], query: Query, parameter: str) -> Query:
    """The query with its plan, if there is an index for it.

    Raises:
        Problem: 400, saying which index the model would have to declare.
    """
    try:
        return store.plan(cls, query)
    except NoIndex as error:
        raise no_index(query, error, parameter) from None


def no_index(query: Query, error: NoIndex, parameter: str) -> Problem:
    """The problem for a query that no index serves."""
    groups = [query, *query.either]
    used = dict.fromkeys(
        name for each in groups for name in (*each.among, *each.ranges, *each.excluded, *each.prefixes, *each.sort)
    )
    names = ", ".join(f"`{name}`" for name in used)
    detail = f"No index serves this use of {names}, and nothing is searched without one."
    if error.declaration:
        detail += f" The model would need `{error.declaration}`."
        return Problem.of("no-index", detail, parameter=parameter, declaration=error.declaration)
    detail += (
        " No index can serve it: a list can have one range or one `[ne]`, and must be sorted by that property first;"
        " and an index of several properties leaves out the documents that lack one of them. In each group of `or`, an"
        " index must have exactly the properties with values, then those to sort by; and models with a history have no"
        " groups, nor do lists of deleted documents."
    )
    return Problem.of("no-index", detail, parameter=parameter)
