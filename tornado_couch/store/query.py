"""`Query`: selects documents of a model and puts them into an order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..couch import UNSET
from ..models import AFTER_PREFIX, Model, code_key, model_info

__all__ = ["Bounds", "Query"]


@dataclass(frozen=True)
class Bounds:
    """A range of values in CouchDB's order; it is open on a side that is not given.

    Null is in no range, unless `nulls` says that it is in this one, which then has no lower bound.

    https://docs.couchdb.org/en/stable/ddocs/views/collation.html#collation-specification
    """

    gt: Any = UNSET
    gte: Any = UNSET
    lt: Any = UNSET
    lte: Any = UNSET
    nulls: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if UNSET not in (self.gt, self.gte) or UNSET not in (self.lt, self.lte):
            raise ValueError("a range can have at most one lower and one upper bound")


@dataclass(frozen=True)
class Query:
    """Which documents, and in which order.

    Values are of the property's own type, such as an `Enum`, a `date` or a `Decimal`, or as they are stored.

    Attributes:
        among: for each property (by its name in JSON), values of which a document must have one.
        ranges: for each property, the range that its value must be in.
            A member of a list is asked for under the name "tags[contains]".
        prefixes: for each text, what it must begin with, by its code points.
        excluded: for each property, the value that it must not have; null is another value than any.
        sort: the properties to sort by; if empty, the order is that of the index.
        descending: whether to reverse the order.
        nulls: where null comes in the order of the one property to sort by; without it, as in CouchDB's order,
            before all other values and so last where the order is reversed.
        either: groups of filters, one of which a document must fit besides the filters of the query itself. Only their
            filters count; the order is that of the query.
        deleted: find documents that are deleted and could be restored, instead of those that are not deleted.
        limits: the properties of `among` that limit the query to a part of the documents, such as one user's. Where no
            index serves the whole query, each document of that part is looked at.
    """

    among: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    ranges: Mapping[str, Bounds] = field(default_factory=dict)
    sort: Sequence[str] = ()
    descending: bool = False
    deleted: bool = False
    excluded: Mapping[str, Any] = field(default_factory=dict)
    prefixes: Mapping[str, str] = field(default_factory=dict)
    nulls: Literal["first", "last"] | None = None
    either: Sequence[Query] = ()
    limits: Sequence[str] = ()

    # What `Store.plan` made of it. Not a parameter, so that a copy with other values, as `replace` makes it, has none.
    _planned: Any = field(default=None, init=False, repr=False, compare=False)

    def restricted(self, name: str, *values: Any) -> Query:
        """The same query, limited to documents whose property has one of these values."""
        given = self.among.get(name)
        found = [each for each in values if given is None or any(same(each, one) for one in given)]
        return replace(self, among={**self.among, name: found}, limits=(*self.limits, name))

    @property
    def is_sifted(self) -> bool:
        """Whether the plan that it carries looks at each document of the part that it is limited to."""
        return self._planned is not None and bool(self._planned.sifting)


def as_stored(cls: type[Model], query: Query) -> Query:
    """The same query with all values as they are stored."""
    info = model_info(cls)

    def stored(name: str, value: Any) -> Any:
        return info.stored_value(name, value) if name in info.adapters and value is not UNSET else value

    among = {name: [stored(name, each) for each in values] for name, values in query.among.items()}
    ranges = {
        name: Bounds(*(stored(name, each) for each in (found.gt, found.gte, found.lt, found.lte)))
        for name, found in query.ranges.items()
    }
    for name, text in query.prefixes.items():
        key = code_key(text)
        ranges[f"{name}[prefix]"] = Bounds(gte=key, lt=key + AFTER_PREFIX)
    excluded = {name: stored(name, value) for name, value in query.excluded.items()}
    either = [as_stored(cls, each) for each in query.either]
    return replace(query, among=among, ranges=ranges, excluded=excluded, prefixes={}, either=either)


def same(one: Any, other: Any) -> bool:
    """Whether two scalar JSON values are the same; unlike in Python, 1 and true are different."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
