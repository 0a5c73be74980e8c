"""`Query`: selects documents of a model and puts them into an order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..couch import UNSET

__all__ = ["Bounds", "Query"]


@dataclass(frozen=True)
class Bounds:
    """A range of values in CouchDB's order; it is open on a side that is not given, and null is in no range.

    https://docs.couchdb.org/en/stable/ddocs/views/collation.html#collation-specification
    """

    gt: Any = UNSET
    gte: Any = UNSET
    lt: Any = UNSET
    lte: Any = UNSET

    def __post_init__(self) -> None:
        if UNSET not in (self.gt, self.gte) or UNSET not in (self.lt, self.lte):
            raise ValueError("a range can have at most one lower and one upper bound")


@dataclass(frozen=True)
class Query:
    """Which documents to find, and in which order. Values are written as they are stored; see `ModelInfo.stored_value`.

    Attributes:
        among: for each property (by its name in JSON), values of which a document must have one.
        ranges: for each property, the range that its value must be in.
        sort: the properties to sort by; if empty, the order is that of the index.
        descending: whether to reverse the order.
        deleted: find documents that are deleted and could be restored, instead of those that are not deleted.
    """

    among: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    ranges: Mapping[str, Bounds] = field(default_factory=dict)
    sort: Sequence[str] = ()
    descending: bool = False
    deleted: bool = False

    def restricted(self, name: str, value: Any) -> Query:
        """The same query, limited to documents whose property has this value."""
        given = self.among.get(name)
        values = [value] if given is None or any(same(each, value) for each in given) else []
        return replace(self, among={**self.among, name: values})


def same(one: Any, other: Any) -> bool:
    """Whether two scalar JSON values are the same; unlike in Python, 1 and true are different."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)
