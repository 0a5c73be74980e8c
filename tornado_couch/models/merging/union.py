"""Three-way unions of lists, sets and objects; pure.

What either side added is there, what either side removed is not. An element is a JSON value: which one it is, not
where it stands, is what counts. In objects the members are merged one by one, at any depth; of one that both sides
changed the later side's counts. So each member goes about with the weight of the leaf that it comes from.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from ...security import canonical

__all__ = ["plain", "union", "weighed"]

_NONE = object()  # where an object has no such member


@dataclass(frozen=True)
class _Weighed:
    """A value that is not an object, and the weight of its leaf."""

    value: Any
    weight: Any


def weighed(value: Any, weight: Any) -> Any:
    """A value whose members all have a weight."""
    if isinstance(value, dict):
        return {name: weighed(each, weight) for name, each in value.items()}
    return _Weighed(value, weight)


def plain(value: Any) -> Any:
    """The value without its weights."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return value.value if isinstance(value, _Weighed) else value


def union(base: Any, one: Any, other: Any) -> Any:
    """The union of two lists or two objects.

    Args:
        base: the common ancestor's; None if there is none, or if it is not known. Then nothing counts as removed.
        one: a weighed side; None in it is an empty one. Its elements come first.
        other: the other side, weighed.

    Returns:
        The union, weighed.

    Raises:
        TypeError: they are not both lists, or both objects.
    """
    kinds = {dict if isinstance(each, dict) else type(each.value) for each in (one, other)} - {type(None)}
    if kinds == {dict}:
        return _objects(base if isinstance(base, dict) else {}, _filled(one), _filled(other))
    if kinds == {list}:
        merged = _lists(base if isinstance(base, list) else [], one.value or [], other.value or [])
        return _Weighed(merged, max(one.weight, other.weight))
    raise TypeError("not two lists, nor two objects")


def _filled(side: Any) -> dict[str, Any]:
    return side if isinstance(side, dict) else {}


def _lists(base: list[Any], one: list[Any], other: list[Any]) -> list[Any]:
    """How often an element is there: as seldom as a side made it, else as often as a side has it."""
    before, first, second = (Counter(map(canonical, each)) for each in (base, one, other))
    left = {}
    for each in first.keys() | second.keys():
        fewer = first[each] < before[each] or second[each] < before[each]
        left[each] = (min if fewer else max)(first[each], second[each])
    merged = []
    for element in [*one, *_behind(other, first)]:
        if left[canonical(element)] > 0:
            left[canonical(element)] -= 1
            merged.append(element)
    return merged


def _behind(other: list[Any], first: Counter[bytes]) -> list[Any]:
    """What the other side has beyond the first one's: as many of each element."""
    skipped = Counter(first)
    found = []
    for element in other:
        if skipped[canonical(element)] > 0:
            skipped[canonical(element)] -= 1
        else:
            found.append(element)
    return found


def _objects(base: dict[str, Any], one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    merged = {}
    for name in {**one, **other}:
        value = _member(base.get(name, _NONE), one.get(name, _NONE), other.get(name, _NONE))
        if value is not _NONE:
            merged[name] = value
    return merged


def _member(base: Any, one: Any, other: Any) -> Any:
    if _same(one, other):
        return _later(one, other)
    if _same(base, other):
        return one
    if _same(base, one) or one is _NONE:  # what one side changed outlives that the other removed it
        return other
    if other is _NONE:
        return one
    try:
        return union(None if base is _NONE else base, one, other)
    except TypeError:
        return _later(one, other)


def _same(one: Any, other: Any) -> bool:
    if one is _NONE or other is _NONE:
        return one is other
    return canonical(plain(one)) == canonical(plain(other))


def _later(one: Any, other: Any) -> Any:
    return one if one is _NONE or _weight(one) >= _weight(other) else other


def _weight(value: Any) -> Any:
    """That of the latest member; of an empty object none, which is less than any."""
    if isinstance(value, dict):
        return max(map(_weight, value.values()), default=())
    return value.weight
