"""Chooses the index for a query, and the parts of it to read; a query that no index serves is refused."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from pydantic import PydanticUserError

from ...couch import UNSET
from ...errors import NoIndex
from ...models import Index, Model, ModelInfo, deleted_view, model_info, partition_problem
from ..protection.properties import Conversion
from ..query import Bounds, Query, same

__all__ = [
    "Edge",
    "Interval",
    "Plan",
    "Planned",
    "carrying_plan",
    "indexed_properties",
    "plan",
    "planned",
    "with_view_values",
]

_DATES = ("date", "date-time")  # formats of text whose order needs no collation

_DERIVING = {"prefix]": "prefix=True", "contains]": "members=True"}  # how a derived key is declared

# In CouchDB's order objects come after all other values, and this one comes after those that properties can have.
_HIGHEST: Any = {"\ufff0": {}}
_HIGHEST_ID = "\U0010ffff"  # ids are compared by their bytes
_ABOVE_NULL = False


class Edge(NamedTuple):
    """A place in an index, between two rows or at one; rows are ordered by key, then by document id."""

    key: Any
    id: str


class Interval(NamedTuple):
    """A part of an index; None stands for the beginning or the end of the index."""

    lower: Edge | None
    upper: Edge | None


@dataclass(frozen=True)
class Plan:
    """How an index serves a query.

    Attributes:
        index: the index.
        prefixes: values for its first properties.
        spans: ranges for the property after those; each one under each prefix is a part of the index to read.
        order: the positions in a key by which the parts are merged into one order.
        descending: whether to read from the last row to the first.
        partition: read only this partition; None for the whole database.
        nulls_moved: null comes after all other values of the property after the prefixes, not before them.
    """

    index: Index
    prefixes: list[tuple[Any, ...]]
    spans: tuple[Bounds, ...]
    order: tuple[int, ...]
    descending: bool
    partition: str | None = None
    nulls_moved: bool = False

    @property
    def parts(self) -> list[tuple[tuple[Any, ...], Bounds]]:
        """The parts of the index to read: each prefix with each span."""
        return [(prefix, span) for prefix in self.prefixes for span in self.spans]

    def ordered(self, columns: Sequence[Any], places: Iterable[int]) -> list[Any]:
        """Those values of a key by which parts are merged, in CouchDB's order for the order of this plan."""
        moved = len(self.prefixes[0]) if self.nulls_moved else -1
        return [_HIGHEST if place == moved and columns[place] is None else columns[place] for place in places]

    def columns(self, key: Any) -> list[Any]:
        """The values that make up a key of the index."""
        return list(key) if self.index.composite else [key]

    def interval(self, prefix: tuple[Any, ...], span: Bounds | None = None) -> Interval:
        """The part of the index where keys begin with a prefix and lie within a span; by default, the first one."""
        if not self.index.composite and prefix:
            return Interval(Edge(prefix[0], ""), Edge(prefix[0], _HIGHEST_ID))
        bounds = span or self.spans[0]
        return Interval(self._lower(prefix, bounds), self._upper(prefix, bounds))

    def _lower(self, prefix: tuple[Any, ...], bounds: Bounds) -> Edge | None:
        if bounds.gte is not UNSET:
            return self.before([*prefix, bounds.gte])
        if bounds.gt is not UNSET:
            return self.after([*prefix, bounds.gt])
        if bounds != Bounds() and not bounds.nulls:
            return self.before([*prefix, _ABOVE_NULL])
        return self.before(prefix) if prefix else None

    def _upper(self, prefix: tuple[Any, ...], bounds: Bounds) -> Edge | None:
        if bounds.lte is not UNSET:
            return self.after([*prefix, bounds.lte])
        if bounds.lt is not UNSET:
            return self.before([*prefix, bounds.lt])
        return self.after(prefix) if prefix else None

    def before(self, columns: Sequence[Any]) -> Edge:
        """The edge just before the rows whose key begins with these values."""
        return Edge(list(columns) if self.index.composite else columns[0], "")

    def after(self, columns: Sequence[Any]) -> Edge:
        """The edge just after the rows whose key begins with these values."""
        return Edge([*columns, _HIGHEST] if self.index.composite else columns[0], _HIGHEST_ID)


class Planned(NamedTuple):
    """A plan, and what it was made for.

    Attributes:
        conversion: knows how the store's indexes hold protected values.
        cls: the model.
        query: the query with the values that the indexes hold.
        plan: how an index serves that query, or the first of its groups.
        union: how indexes serve its groups, if it has any.
        sifting: the plan is for the limits of the query alone, so that each document has to be looked at.
    """

    conversion: Conversion
    cls: type[Model]
    query: Query
    plan: Plan
    union: tuple[Plan, ...] = ()
    sifting: bool = False


def planned(conversion: Conversion, cls: type[Model], query: Query) -> Planned:
    """The plan that a query carries for this model and this store's keys, or else a new one.

    Raises:
        NoIndex: no index serves the query.
        KeySetError: the query is for protected values, and there are no keys.
    """
    carried: Planned | None = query._planned
    if carried is not None and carried.conversion is conversion and carried.cls is cls:
        return carried
    converted = conversion.to_query(cls, query)
    try:
        if converted.either:
            plans = _union(cls, converted)
            return Planned(conversion, cls, converted, plans[0], plans)
        return Planned(conversion, cls, converted, plan(cls, converted))
    except NoIndex:
        found = _of_limits(cls, converted)
        if found is None:
            raise
        return Planned(conversion, cls, converted, found, sifting=True)


def _of_limits(cls: type[Model], query: Query) -> Plan | None:
    """The plan of what a query is limited to, in its order; None if it has no limits, or documents could not be judged.

    This reads no documents but those that the caller is limited to, by one of the limits at least.
    """
    info = model_info(cls)
    ranges = {name for each in (query, *query.either) for name, bounds in each.ranges.items() if bounds != Bounds()}
    if not all(_is_judged(info, name) for name in ranges):
        return None
    for names in dict.fromkeys([tuple(query.limits), *((each,) for each in query.limits)]):
        among = {name: query.among[name] for name in names}
        with contextlib.suppress(NoIndex):
            if among:
                return plan(cls, replace(query, among=among, ranges={}, excluded={}, prefixes={}, either=()))
    return None


def _is_judged(info: ModelInfo, name: str) -> bool:
    """Whether it is certain without CouchDB if a value is in a range, which it is not for every text."""
    if name.endswith("[prefix]") or name in info.sort_keys:
        return True
    try:
        schema = info.adapters[name].json_schema(mode="validation")
    except PydanticUserError:  # a type that JSON Schema cannot describe
        return False
    kinds = [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]
    return all(each.get("type") in ("integer", "number") or each.get("format") in _DATES for each in kinds)


def carrying_plan(conversion: Conversion, cls: type[Model], query: Query) -> Query:
    """A copy of a query that carries its plan; see `planned`."""
    copy = replace(query)
    object.__setattr__(copy, "_planned", planned(conversion, cls, query))
    return copy


def indexed_properties(cls: type[Model]) -> list[str]:
    """The names of the properties that an index covers."""
    return [each.name for each in model_info(cls).properties.values() if each.indexed]


def plan(cls: type[Model], query: Query) -> Plan:
    """Plan how one index can answer a query without reading rows that do not belong to the answer.

    Raises:
        NoIndex: the model has no such index; the message says how to declare one.
    """
    info = model_info(cls)
    if query.deleted and not info.restorable:
        raise NoIndex(f"the model {info.type.name} keeps no deleted documents, so none can be listed")
    partition, rest = _of_partition(info, query)
    if partition is not None and (found := _found(info, rest)):
        return replace(_kept(cls, found, _in_index(info, found, rest)), partition=partition)
    if found := _found(info, query):
        return _kept(cls, found, _in_index(info, found, query))
    raise _no_index(cls, query)


def _union(cls: type[Model], query: Query) -> tuple[Plan, ...]:
    """Plan how an index can answer each group of a query, all in the same order.

    Raises:
        NoIndex: a group has no such index.
    """
    info = model_info(cls)
    if query.deleted or info.history or query.nulls:
        raise NoIndex("groups are for documents that are not deleted, of a model without a history, and move no null")
    plans, missing = [], []
    for each in query.either:
        try:
            plans.append(_of_group(cls, info, _joined(query, each)))
        except NoIndex as error:
            missing.append(error)
    if missing:  # to declare an index for one group is of no use where another one can have none
        raise min(missing, key=lambda error: bool(error.declaration))
    return tuple(plans)


def _joined(query: Query, group: Query) -> Query:
    """A group with the filters that the query has besides.

    Raises:
        NoIndex: a property has filters in both that one part of an index cannot stand for.
    """
    among = {name: list(values) for name, values in query.among.items()}
    for name, values in group.among.items():
        known = among.get(name)
        among[name] = [each for each in values if known is None or any(same(each, one) for one in known)]
    spanned = [*query.ranges, *query.excluded, *group.ranges, *group.excluded]
    if len(set(spanned)) < len(spanned) or set(spanned) & among.keys() or set(query.sort) & among.keys():
        raise NoIndex("in a group a property can have one kind of filter, and no values if the list is sorted by it")
    ranges, excluded = {**query.ranges, **group.ranges}, {**query.excluded, **group.excluded}
    return replace(query, among=among, ranges=ranges, excluded=excluded, either=())


def _of_group(cls: type[Model], info: ModelInfo, query: Query) -> Plan:
    """The plan of a group, from an index whose rows under given values are in the order of the list, then by id."""
    size = len(query.among) + len(query.sort)
    ordered = {*query.ranges, *query.excluded} <= set(query.sort[:1])
    fitting = [each for each in info.indexes if len(each.properties) == size and _serves(info, each, query)]
    if not ordered or not fitting:
        raise _no_index(cls, query) if ordered else NoIndex("a range in a group must be of the first property to sort")
    found = _planned(fitting[0], _in_index(info, fitting[0], query))
    return replace(found, order=tuple(range(len(query.among), size)))


def _in_index(info: ModelInfo, index: Index, query: Query) -> Query:
    """The query with its stored values as they stand in an index; those of Mango have what is stored."""
    return with_view_values(info, query) if index.scripted else query


def with_view_values(info: ModelInfo, query: Query) -> Query:
    """The query with its stored values as they stand in JavaScript views."""
    among = {name: [info.view_value(name, each) for each in values] for name, values in query.among.items()}
    ranges = {
        name: Bounds(
            *(
                each if each is UNSET else info.view_value(name, each)
                for each in (found.gt, found.gte, found.lt, found.lte)
            )
        )
        for name, found in query.ranges.items()
    }
    excluded = {name: info.view_value(name, value) for name, value in query.excluded.items()}
    return replace(query, among=among, ranges=ranges, excluded=excluded)


def _kept(cls: type[Model], index: Index, query: Query) -> Plan:
    """Adapt a plan to a model that keeps deleted documents or earlier versions."""
    info, planned = model_info(cls), _planned(index, query)
    if info.history and index == info.indexes[0]:
        return _of_versions(planned)
    return _of_deleted(cls, planned) if query.deleted and info.soft_delete else planned


def _of_partition(info: ModelInfo, query: Query) -> tuple[str | None, Query]:
    """The partition that a query is limited to, and the rest of the query."""
    if info.partition is None or query.deleted:  # deleted documents have one index for all partitions
        return None, query
    name = info.partition.name
    values = list(query.among.get(name, ()))
    if len(values) != 1 or partition_problem(values[0]) is not None:
        return None, query
    among = {each: wanted for each, wanted in query.among.items() if each != name}
    return values[0], replace(query, among=among, sort=tuple(each for each in query.sort if each != name))


def _found(info: ModelInfo, query: Query) -> Index | None:
    """The smallest index that serves a query."""
    if not (query.among or query.ranges or query.sort or query.excluded):
        return info.indexes[0]
    serving = [each for each in info.indexes if _serves(info, each, query)]
    return min(serving, key=lambda index: len(index.properties), default=None)


def _of_versions(planned: Plan) -> Plan:
    """The same part of the index of all versions, in whose keys more follows after the property."""
    index = Index(planned.index.view, (*planned.index.properties, "", ""), composite=True)
    return replace(planned, index=index, order=(0, 1, 2))


def _of_deleted(cls: type[Model], planned: Plan) -> Plan:
    """The same part of the index of deleted documents, whose keys begin with the property's name."""
    if planned.index.composite:
        raise NoIndex("deleted documents cannot be queried by several properties at once")
    (name,) = planned.index.properties
    if name in model_info(cls).derived:
        raise NoIndex("deleted documents cannot be queried by a part of a property")
    index = Index(deleted_view(cls), ("", name), composite=True)
    prefixes: list[tuple[Any, ...]] = [(name, *prefix) for prefix in planned.prefixes]
    return replace(planned, index=index, prefixes=prefixes, order=(0, 1))


def _serves(info: ModelInfo, index: Index, query: Query) -> bool:
    """Whether the index has the wanted documents without gaps, each part in the wanted order."""
    names, count, spanned = index.properties, len(query.among), (*query.ranges, *query.excluded)
    if any(_has_no_order(info, name) for name in (*spanned, *_open_sort(query))):
        return False
    rest = names[count:]
    sort = _open_sort(query)
    if set(names[:count]) != set(query.among) or rest[: len(sort)] != sort or len(spanned) > 1:
        return False
    if spanned and rest[:1] != spanned:
        return False
    # An index of several properties leaves out documents that lack one of them. If the query does not ask
    # for that property, those documents would be missing from the answer.
    return not index.composite or all(
        _always_stored(info, name)
        for name in (*rest[len(query.ranges) :], *(name for name, values in query.among.items() if None in values))
    )


def _always_stored(info: ModelInfo, name: str) -> bool:
    declared = info.properties[name]
    return not declared.optional or declared.stamp is not None or declared.generated


def _has_no_order(info: ModelInfo, name: str) -> bool:
    """Whether the index contains hashes of the values, which have no useful order."""
    return name in info.properties and info.properties[name].equality_only


def _open_sort(query: Query) -> tuple[str, ...]:
    """The properties to sort by for which the query gives no values."""
    return tuple(name for name in query.sort if name not in query.among)


def _planned(index: Index, query: Query) -> Plan:
    names = index.properties
    prefixes = list(itertools.product(*(query.among[name] for name in names[: len(query.among)])))
    first = [names.index(name) for name in query.sort]
    rest = [place for place in range(len(names)) if place not in first]
    # Within a part the given values are all the same, so they come last unless the query sorts by them.
    rest.sort(key=lambda place: bool(query.sort) and place < len(query.among))
    spans, moved = _spans(query)
    return Plan(index, prefixes, spans, (*first, *rest), query.descending, nulls_moved=moved)


def _spans(query: Query) -> tuple[tuple[Bounds, ...], bool]:
    """The ranges to read of the property after the given ones, and whether its null is moved behind other values."""
    if query.ranges:
        return tuple(query.ranges.values()), False
    moved = query.nulls is not None and (query.nulls == "first") is query.descending
    if not query.excluded:
        return ((Bounds(gt=None), Bounds(lte=None, nulls=True)), True) if moved else ((Bounds(),), False)
    (value,) = query.excluded.values()
    if value is None:
        return (Bounds(gt=None),), False
    if moved:
        return (Bounds(gt=None, lt=value), Bounds(gt=value), Bounds(lte=None, nulls=True)), True
    return (Bounds(lt=value, nulls=True), Bounds(gt=value)), False


def _no_index(cls: type[Model], query: Query) -> NoIndex:
    wanted = list(dict.fromkeys([*query.among, *_open_sort(query), *query.ranges, *query.excluded]))
    info = model_info(cls)
    message = f"no index serves this use of {', '.join(wanted)}; indexed are {indexed_properties(cls)}"
    several = [each.properties for each in info.indexes if each.composite]
    if several:
        message += f" and {several}"
    protected = any((found := info.properties.get(name)) and found.protected for name in wanted)
    return NoIndex(message, "" if protected else _declaration(info, query, wanted))


def _declaration(info: ModelInfo, query: Query, wanted: list[str]) -> str:
    """The declaration of an index that would serve the query; empty if none would."""
    if query.deleted and len(wanted) > 1:
        return ""
    if len(wanted) > 1 and any(name not in info.properties for name in wanted):
        return ""  # an index of several has no derived keys
    if not _serves(info, Index("", tuple(wanted), composite=len(wanted) > 1), query):
        return ""  # more than one range, a range that is not first in the order, or what an index leaves out
    if len(wanted) == 1:
        name, _, operator = wanted[0].partition("[")
        return f"Indexed({_DERIVING.get(operator, '')}) on {name}"
    return "indexes=[(" + ", ".join(f'"{name}"' for name in wanted) + ")]"
