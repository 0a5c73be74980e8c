"""Reads the reduced views that a model declares: one value for each group of documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...couch import Database
from ...errors import NoIndex
from ...models import Index, Model, ModelInfo, model_info, reduction_view
from ..query import Bounds, Query, as_stored
from .planner import Plan, with_view_values
from .scan import read_rows

__all__ = ["Group", "Groups", "reduced"]


class Group(NamedTuple):
    """A group of documents with the value that the reduction computes for it.

    Attributes:
        key: the value that the documents share; an array if the reduction is by several properties.
        value: a number; for `Stats` an object with `sum`, `count`, `min`, `max` and `sumsqr`.
    """

    key: Any
    value: Any


@dataclass(frozen=True)
class Groups:
    """Some groups, in CouchDB's order of keys.

    Attributes:
        items: the groups.
        last: the `start` for the next groups; None at the end.
    """

    items: list[Group]
    last: list[Any] | None


async def reduced(
    database: Database,
    cls: type[Model],
    name: str,
    query: Query | None = None,
    *,
    level: int | None = None,
    limit: int = 50,
    start: Sequence[Any] | None = None,
) -> Groups:
    """Read the groups of a reduction, in the order of their keys.

    Texts that CouchDB considers equal form one group.

    Args:
        database: where the documents are.
        cls: the model.
        name: the name of the reduction.
        query: only read groups with these values: one value for each of the first properties, a range for the next.
        level: by how many of the properties to group; None for all of them, 0 for a single group.
        limit: read at most this many groups.
        start: a `Groups.last`.

    Raises:
        NoIndex: the query uses other properties, or uses them in another way.
    """
    info = model_info(cls)
    reduction, wanted = info.reductions[name], with_view_values(info, as_stored(cls, query or Query()))
    index = Index(reduction_view(cls, name), reduction.by, composite=len(reduction.by) > 1)
    plan = _plan(index, wanted)
    interval = plan.interval(plan.prefixes[0])
    if start is not None:
        interval = interval._replace(lower=plan.after(start))
    depth = len(reduction.by) if level is None else level
    grouping: dict[str, Any] = {} if depth == 0 else {"group_level": depth} if index.composite else {"group": True}
    if depth:
        grouping["limit"] = limit + 1
    rows = await read_rows(database, plan, interval, descending=False, reduce=True, **grouping)
    last = plan.columns(rows[limit - 1].key) if depth and len(rows) > limit else None
    return Groups([Group(_stored(info, index, row.key), row.value) for row in rows[:limit]], last)


def _stored(info: ModelInfo, index: Index, key: Any) -> Any:
    """A group's key, or the part of it that there is, with its values as they are stored."""
    if not index.composite:
        return info.value_in_view(index.properties[0], key)
    return key and [info.value_in_view(name, each) for name, each in zip(index.properties, key, strict=False)]


def _plan(index: Index, query: Query) -> Plan:
    count = len(query.among)
    names = index.properties
    fits = set(names[:count]) == set(query.among) and len(query.ranges) <= 1
    if not fits or (query.ranges and names[count : count + 1] != tuple(query.ranges)) or query.sort or query.excluded:
        raise NoIndex(f"this reduction can only be narrowed by {', '.join(names)}, in that order")
    if any(len(values) != 1 for values in query.among.values()):
        raise NoIndex("a reduction can only be narrowed to one value of each property")
    prefix = tuple(query.among[name][0] for name in names[:count])
    return Plan(index, [prefix], tuple(query.ranges.values()) or (Bounds(),), (), descending=False)
