"""Plans which index serves a Mango query, and which part of it, by CouchDB's rules and with `_explain`'s words.

An index is usable if every document that matches must have its fields, and its order is that of the sort. Of several,
the one that covers most of the selector's fields is chosen, then the one with the fewest fields, then the first by
name (CouchDB API, "/db/_explain", "Index selection").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tornado_couch.embedded.collation import sort_key
from tornado_couch.embedded.mango.options import FindOptions
from tornado_couch.embedded.problems import Problem
from tornado_couch.embedded.selectors.operators import Path, join_field, parse_field
from tornado_couch.embedded.selectors.selectors import Selector
from tornado_couch.embedded.views.mango_index import MangoIndex

__all__ = ["MAX", "FieldRange", "Plan", "field_ranges", "make_plan"]

# How `_explain` shows the end of all keys, which also stands for an open range.
MAX = "<MAX>"
_OPEN = object()
# Selectors that consist of one empty list find nothing, although inside others they are always true.
_NOTHING: tuple[dict[str, list[Any]], ...] = ({"$and": []}, {"$or": []})


@dataclass(slots=True)
class FieldRange:
    """The values that a selector allows a field to have, as far as one range can express it."""

    low: Any = _OPEN
    high: Any = _OPEN
    low_open: bool = False
    high_open: bool = False

    def narrow(self, operator: str, value: Any) -> None:
        """Add one more condition."""
        if operator == "$beginsWith":
            self._raise(value, open_end=False)
            self._lower(value + "\uffff", open_end=False)
        if operator in ("$gt", "$gte", "$eq"):
            self._raise(value, open_end=operator == "$gt")
        if operator in ("$lt", "$lte", "$eq"):
            self._lower(value, open_end=operator == "$lt")

    @property
    def has_low(self) -> bool:
        return self.low is not _OPEN

    @property
    def has_high(self) -> bool:
        return self.high is not _OPEN

    @property
    def empty(self) -> bool:
        """Whether the range contains no value."""
        if not self.has_low or not self.has_high:
            return False
        low, high = sort_key(self.low), sort_key(self.high)
        return low > high or (low == high and (self.low_open or self.high_open))

    def _raise(self, value: Any, *, open_end: bool) -> None:
        if not self.has_low or sort_key(value) >= sort_key(self.low):
            same = self.has_low and sort_key(value) == sort_key(self.low)
            self.low, self.low_open = value, open_end or (same and self.low_open)

    def _lower(self, value: Any, *, open_end: bool) -> None:
        if not self.has_high or sort_key(value) <= sort_key(self.high):
            same = self.has_high and sort_key(value) == sort_key(self.high)
            self.high, self.high_open = value, open_end or (same and self.high_open)


def field_ranges(selector: Selector) -> dict[Path, FieldRange]:
    """The range of each field, for an index."""
    ranges = {path: FieldRange() for path in selector.indexable()}
    for path, condition in selector.conditions():
        ((operator, value),) = condition.items()
        if path in ranges:
            ranges[path].narrow(operator, value)
    return ranges


@dataclass(slots=True)
class Plan:
    """How to answer a query.

    Attributes:
        index: the index to read; None if no index may be used.
        ranges: the ranges of its first fields.
        nothing: whether no document can match.
        candidates: the other indexes, as `_explain` shows them.
        ignored: the part of the warning about a `use_index` that could not be followed.
    """

    index: MangoIndex | None
    ranges: list[FieldRange]
    nothing: bool = False
    candidates: list[dict[str, Any]] = field(default_factory=list)
    ignored: str | None = None

    @property
    def start_key(self) -> list[Any]:
        """The start of the range: the lowest values of the first fields."""
        key = []
        for each in self.ranges:
            if not each.has_low:
                break
            key.append(each.low)
        return key

    @property
    def end_key(self) -> list[Any]:
        """The end of the range without the MAX after it."""
        key = []
        for each in self.ranges:
            if not each.has_high:
                break
            key.append(each.high)
        return key

    def covers(self, options: FindOptions) -> bool:
        """Whether the index contains every requested field."""
        if self.index is None or self.index.design is None or not options.fields:
            return False
        needed = set(options.fields) | {join_field(path) for path in options.selector.fields()}
        return needed <= {"_id", *(name for name, _ in self.index.fields)}


def make_plan(indexes: Sequence[MangoIndex], options: FindOptions, *, explain: bool = False) -> Plan:
    """Choose an index.

    Args:
        indexes: all indexes, `_all_docs` first.
        options: the query.
        explain: whether to continue without a usable index, to show why no index can be used.

    Raises:
        Problem: 400, no index has the order of the sort, or `use_index` must be followed but cannot be.
    """
    return _Choice(indexes, options).made(explain=explain)


class _Choice:
    def __init__(self, indexes: Sequence[MangoIndex], options: FindOptions) -> None:
        self.indexes = indexes
        self.options = options
        self.sort = [parse_field(name) for name, _ in options.sort]
        self.ranges = field_ranges(options.selector)
        self.named = [index for index in indexes if self._is_named(index)]
        self.offered = [index for index in indexes if not index.partial or index in self.named]
        self.reasons = {id(index): self._unusable(index) for index in self.offered}
        self.usable = [index for index in self.offered if self.reasons[id(index)] is None]

    def made(self, *, explain: bool) -> Plan:
        if not self.usable and not explain:
            words = "No index exists for this sort, try indexing by the sort fields."
            raise Problem(400, "no_usable_index", words)
        filtered = [index for index in self.usable if index in self.named]
        if not filtered and not self.options.allow_fallback and (self.options.use_index or len(self.usable) < 2):
            raise self._not_followed()
        chosen = self._sorted(filtered or self.usable)
        if not chosen:
            return Plan(None, [], candidates=self._candidates(None, [], []))
        index = chosen[0]
        ranges = self._prefix(index)
        nothing = any(each.empty for each in ranges) or self.options.selector.node in _NOTHING
        ignored = None if not self.options.use_index or index in self.named else self._ignored()
        return Plan(index, ranges, nothing, self._candidates(index, filtered or self.usable, chosen), ignored)

    # ---- what makes an index usable

    def _is_named(self, index: MangoIndex) -> bool:
        use = self.options.use_index
        if not use or index.design is None or index.design.id != f"_design/{use[0]}":
            return False
        return len(use) == 1 or index.name == use[1]

    def _unusable(self, index: MangoIndex) -> str | None:
        """CouchDB's name for the reason why an index is not usable; None if it is."""
        if index.design is None:
            if self.sort and ("_id",) not in self.ranges:
                return "field_mismatch"
            return None if self.sort == [("_id",)][: len(self.sort)] else "sort_order_mismatch"
        required = [path for path in index.paths if path not in self.sort and path not in (("_id",), ("_rev",))]
        if not self.options.selector.requires(required):
            return "field_mismatch"
        return None if self._sorts(index.paths) else "sort_order_mismatch"

    def _sorts(self, paths: list[Path]) -> bool:
        """Whether an index has the order of the sort; fields with only one value may come first."""
        while self.sort and paths and paths[0] != self.sort[0] and self.options.selector.constant(paths[0]):
            paths = paths[1:]
        return paths[: len(self.sort)] == self.sort

    # ---- the best of the usable ones

    def _prefix(self, index: MangoIndex) -> list[FieldRange]:
        prefix = []
        for path in index.paths:
            if path not in self.ranges:
                break
            prefix.append(self.ranges[path])
        return prefix

    def _overlap(self, index: MangoIndex) -> int:
        return len(self.ranges) - len(self._prefix(index))

    def _sorted(self, usable: list[MangoIndex]) -> list[MangoIndex]:
        stored = [index for index in usable if index.design is not None]
        # `_all_docs` is used only if no index is usable.
        return sorted(stored, key=self._order) or list(usable)

    def _order(self, index: MangoIndex) -> tuple[int, int, str, str]:
        design = index.design.id if index.design else ""
        return self._overlap(index), len(index.fields), design, index.name

    # ---- warnings and explanations

    def _not_followed(self) -> Problem:
        use = self.options.use_index
        if not use:
            words = "You must specify an index with the `use_index` parameter."
        else:
            named = ", ".join([f"_design/{use[0]}", *use[1:]])
            words = f"{named} specified by `use_index` could not be found or it is not suitable."
        return Problem(400, "invalid_index", words)

    def _ignored(self) -> str:
        use = self.options.use_index
        if len(use) == 1:
            return f"_design/{use[0]} was not used because it does not contain a valid index for this query."
        return f"_design/{use[0]}, {use[1]} was not used because it is not a valid index for this query."

    def _candidates(
        self, winner: MangoIndex | None, filtered: list[MangoIndex], chosen: list[MangoIndex]
    ) -> list[dict[str, Any]]:
        shown = []
        others = [index for index in self.indexes if index is not winner]
        levels: list[str] = []
        for index in others:
            usable, reason = self._judged(index, winner, filtered, chosen)
            levels.append(reason)
            shown.append(
                {
                    "index": index.to_json(),
                    "analysis": {
                        "usable": usable,
                        "reasons": [{"name": reason}],
                        "ranking": 0,
                        "covering": self._covers(index),
                    },
                }
            )
        for entry, ranking in zip(shown, self._rankings(others, levels, chosen), strict=True):
            entry["analysis"]["ranking"] = ranking
        return shown

    def _judged(
        self, index: MangoIndex, winner: MangoIndex | None, filtered: list[MangoIndex], chosen: list[MangoIndex]
    ) -> tuple[bool, str]:
        reason = self.reasons.get(id(index))
        if index not in self.offered or (index.partial and reason is not None):
            return False, "is_partial"
        if reason is not None:
            return False, reason
        if index not in filtered:
            return True, "excluded_by_user"
        if index not in chosen or winner is None:
            return True, "unfavored_type"
        if self._overlap(index) > self._overlap(winner):
            return True, "less_overlap"
        wider = len(index.fields) > len(winner.fields)
        return True, "too_many_fields" if wider else "alphabetically_comes_after"

    @staticmethod
    def _rankings(others: list[MangoIndex], reasons: list[str], chosen: list[MangoIndex]) -> list[int]:
        """Rank the indexes that lost by their order, and after them the rest, kind by kind."""
        rank = max(1, len(chosen))
        rankings = {id(index): place for place, index in enumerate(chosen)}
        for kind in (
            ("unfavored_type",),
            ("excluded_by_user",),
            ("field_mismatch", "sort_order_mismatch"),
            ("is_partial",),
        ):
            members = [index for index, reason in zip(others, reasons, strict=True) if reason in kind]
            rankings.update({id(index): rank for index in members})
            rank += bool(members)
        return [rankings.get(id(index), rank) for index in others]

    def _covers(self, index: MangoIndex) -> bool | None:
        return None if index.design is None else Plan(index, []).covers(self.options)
