"""Merge rules: what becomes of a property that several leaves of a document changed; pure.

    color: Annotated[str, Merge.latest("updated_on")]
    stock: Annotated[int, Merge.sum_of_changes]
    tags: Annotated[list[str], Merge.union]

A rule is given two values and, where it can still be read, that of the common ancestor, all as they are stored. Where
it cannot decide it raises `Undecided`, and the document stays in conflict.

Without a rule a property has that of `Merge.latest` by the model's `UpdatedOn`, or by the winning revision where there
is none: what one side alone changed is taken from there, else the later leaf's value.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from fractions import Fraction
from functools import cache
from typing import Any, ClassVar

from ..._json import dumps
from ...security import canonical
from .union import plain, union, weighed

__all__ = [
    "ABSENT",
    "KEPT",
    "UNKNOWN",
    "Gap",
    "Merge",
    "MergeRule",
    "Side",
    "ThreeWay",
    "Undecided",
    "Weight",
    "is_installed",
    "merge_lines",
    "weight_of",
]


# Characters beyond the first 65,536, where there are neither surrogates nor any that join with their neighbours.
_FIRST, _LAST = 0x20000, 0x10FFFF


def is_installed() -> bool:
    """Whether the package is there."""
    return importlib.util.find_spec("reconcile_text") is not None


def merge_lines(base: str, one: str, other: str) -> str | None:
    """The text with the changes of both sides; None where there are too many different lines.

    Args:
        base: the common ancestor.
        one: a side; its lines come first where both sides changed the same ones.
        other: the other side.
    """
    characters: dict[str, str] = {}
    texts = [_encoded(each, characters) for each in (base, one, other)]
    if len(characters) > _LAST - _FIRST + 1:
        return None
    lines = {character: line for line, character in characters.items()}
    merged: str = _reconcile()(texts[0], texts[1], texts[2], "Character")["text"]
    return "\n".join(lines[character] for character in merged)


def _encoded(text: str, characters: dict[str, str]) -> str:
    # Not `splitlines`: a line feed alone ends a line, so that joining gives back what was split.
    return "".join(characters.setdefault(line, chr(min(_FIRST + len(characters), _LAST))) for line in text.split("\n"))


@cache
def _reconcile() -> Callable[..., Any]:
    from reconcile_text import reconcile

    function: Callable[..., Any] = reconcile
    return function


Weight = tuple[tuple[int, Any], int, str]

"""By what the later of two leaves is known: the value of some property, then generation and digest of the revision."""

Parse = Callable[[Any], Any]

"""Makes a stored value one of Python, such as a date, that can be compared."""


class Gap(Enum):
    """Stands for a value that is missing."""

    ABSENT = "absent"
    UNKNOWN = "unknown"


ABSENT = Gap.ABSENT

"""The document does not have the property."""

UNKNOWN = Gap.UNKNOWN

"""Nobody can tell: the common ancestor cannot be read any more, or the rule could not decide on its value."""


class Undecided(Exception):
    """A rule cannot tell what the merged value is. Its text holds no value of a document."""


@dataclass(frozen=True)
class Side:
    """A property's value in one leaf, or in what was merged of some.

    Attributes:
        value: as stored, or `ABSENT`, or `UNKNOWN`.
        weight: of the leaf that it comes from.
    """

    value: Any
    weight: Weight = ((0, 0), 0, "")


def weight_of(value: Any, generation: int, digest: str) -> Weight:
    """The weight of a leaf by a value of it: no value is less than any number, and that less than any text."""
    if isinstance(value, str):
        return (2, value), generation, digest
    return ((1, value) if isinstance(value, int | float) else (0, 0)), generation, digest


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON; 1 and true, which Python takes for equal, are not."""
    if isinstance(one, Gap) or isinstance(other, Gap):
        return one is other
    return one is other or canonical(one) == canonical(other)


@dataclass(frozen=True)
class ThreeWay:
    """What a rule is given.

    Attributes:
        base: the common ancestor's value.
        one: the side of the leaf that wins, or of what was merged so far.
        other: another leaf's side.
        parse: of the property.
    """

    base: Any
    one: Side
    other: Side
    parse: Parse

    @property
    def later(self) -> Side:
        """The side of the later leaf."""
        return self.one if self.one.weight >= self.other.weight else self.other

    @property
    def changed(self) -> Side | None:
        """The one side that differs from the ancestor; None where both do, or nobody can tell."""
        if self.base is UNKNOWN:
            return None
        if _same(self.base, self.one.value):
            return self.other
        return self.one if _same(self.base, self.other.value) else None

    def with_value(self, value: Any) -> Side:
        """A value that comes from both sides."""
        return Side(value, self.later.weight)


class MergeRule:
    """The base of the rules. Each is symmetric in its two sides but for the order of what it puts together.

    Attributes:
        name: as it is written after `Merge.`.
        kinds: the types in JSON that it can be said of; None is any.
        opaque: it never looks into a value, so it can be said of encrypted and hashed properties as well.
        by: the property by which the later leaf is known; None is the model's `UpdatedOn`.
    """

    name: str = ""
    kinds: frozenset[str] | None = None
    opaque: bool = False
    by: str | None = None

    def __repr__(self) -> str:
        return f"Merge.{self.name}"

    def start(self, side: Side) -> Side:
        """The part of a leaf's value that `merge` gets."""
        return side

    def merge(self, given: ThreeWay) -> Side:
        """What becomes of two values.

        Raises:
            Undecided: it cannot be told.
        """
        if _same(given.one.value, given.other.value):
            return given.later
        return given.changed or self.decide(given)

    def decide(self, given: ThreeWay) -> Side:
        """What becomes of two values that differ, neither of which is known to be the ancestor's."""
        raise NotImplementedError

    def finish(self, value: Any) -> Any:
        """The value to store, of what `merge` came to.

        Raises:
            Undecided: the result cannot be stored.
        """
        return value


class _Latest(MergeRule):
    name = "latest"
    opaque = True

    def __init__(self, by: str | None = None) -> None:
        self.by = by

    def __repr__(self) -> str:
        return f"Merge.latest({self.by!r})" if self.by else "Merge.latest()"

    def decide(self, given: ThreeWay) -> Side:
        return given.later


class _Manual(MergeRule):
    name = "manual"
    opaque = True

    def decide(self, given: ThreeWay) -> Side:  # noqa: ARG002 - whatever it is
        raise Undecided("was changed differently, and the model leaves that to be judged by hand")


class _Immutable(MergeRule):
    name = "immutable"
    opaque = True

    def merge(self, given: ThreeWay) -> Side:
        return super().merge(given) if isinstance(given.base, Gap) else given.with_value(given.base)

    def decide(self, given: ThreeWay) -> Side:  # noqa: ARG002 - whatever it is
        raise Undecided("is immutable and differs, and no common ancestor says which value was the first")


class _Kept(_Immutable):
    """As `Merge.immutable`; without an ancestor the winning leaf's, upon which the merged revision is written.

    So a database that refuses changes of such a property (`validate_doc_update`) does not refuse the merge.
    """

    name = "kept"

    def decide(self, given: ThreeWay) -> Side:
        return given.other if given.one.value is ABSENT else given.one


class _Extreme(MergeRule):
    kinds = frozenset({"integer", "number", "string"})

    def __init__(self, name: str, choose: Callable[[Any, Any], bool]) -> None:
        self.name = name
        self._choose = choose

    def merge(self, given: ThreeWay) -> Side:
        # A maximum needs no ancestor: whatever that had, each leaf has it or something that took its place.
        one, other = given.one, given.other
        if one.value in (ABSENT, None) or other.value in (ABSENT, None):
            return other if one.value in (ABSENT, None) else one
        try:
            return one if self._choose(given.parse(one.value), given.parse(other.value)) else other
        except (TypeError, ValueError):
            raise Undecided("has values that cannot be compared") from None


class _SumOfChanges(MergeRule):
    name = "sum_of_changes"
    kinds = frozenset({"integer", "number"})

    def merge(self, given: ThreeWay) -> Side:
        one, other = given.one.value, given.other.value
        if given.base is UNKNOWN:
            raise Undecided("needs the common ancestor, which cannot be read any more, to know the changes")
        if one in (ABSENT, None) and other in (ABSENT, None):
            return given.later
        # Exact until the end: the sum must not depend on the order of the leaves.
        return given.with_value(_number(one) + _number(other) - _number(given.base))

    def finish(self, value: Any) -> Any:
        try:
            return float(value) if isinstance(value, Fraction) else value
        except OverflowError:
            raise Undecided("has a sum that is too large") from None


def _number(value: Any) -> int | Fraction:
    if value in (ABSENT, None):
        return 0
    if isinstance(value, float):
        return Fraction(value)
    if isinstance(value, int | Fraction) and not isinstance(value, bool):
        return value
    raise Undecided("has a value that is not a number")


class _Union(MergeRule):
    name = "union"
    kinds = frozenset({"array", "object"})

    def start(self, side: Side) -> Side:
        return side if isinstance(side.value, Gap) else Side(weighed(side.value, side.weight), side.weight)

    def finish(self, value: Any) -> Any:
        return plain(value)

    def merge(self, given: ThreeWay) -> Side:
        # Comparing is for JSON; what is passed on has its weights.
        base, *values = (plain(each) for each in (given.base, given.one.value, given.other.value))
        one, other = (Side(value, side.weight) for value, side in zip(values, (given.one, given.other), strict=True))
        bare = ThreeWay(base, one, other, given.parse)
        if bare.changed is not None:
            return given.one if bare.changed is one else given.other
        empty = weighed(None, ())
        first, second = (empty if each is ABSENT else each for each in (given.one.value, given.other.value))
        try:
            return given.with_value(union(_or_none(base), first, second))
        except TypeError:
            raise Undecided("has values that are not both lists, or not both objects") from None


class _Text(MergeRule):
    name = "text"
    kinds = frozenset({"string"})

    def decide(self, given: ThreeWay) -> Side:
        if given.base is UNKNOWN:
            raise Undecided("needs the common ancestor, which cannot be read any more, to know the changes")
        texts = [_or_none(each) or "" for each in (given.base, given.one.value, given.other.value)]
        if not all(isinstance(each, str) for each in texts):
            raise Undecided("has a value that is not a text")
        merged = merge_lines(*texts)
        if merged is None:
            raise Undecided("has a text with too many lines to be merged")
        return given.with_value(merged)


class _Custom(MergeRule):
    name = "custom"

    def __init__(self, function: Callable[[Any, Any, Any], Any]) -> None:
        self.function = function

    def __repr__(self) -> str:
        return f"Merge.custom({getattr(self.function, '__name__', '…')})"

    def merge(self, given: ThreeWay) -> Side:
        # Two equal changes may be two changes: that is for the function to say.
        return given.changed or self.decide(given)

    def decide(self, given: ThreeWay) -> Side:
        try:
            value = self.function(_or_none(given.base), _or_none(given.one.value), _or_none(given.other.value))
            dumps(value)
        except Exception as error:  # noqa: BLE001 - whatever it raised leaves the conflict as it is
            # Its message may hold the document's values.
            raise Undecided(f"is merged by a function that raised {type(error).__name__}") from None
        return given.with_value(value)


def _or_none(value: Any) -> Any:
    return None if isinstance(value, Gap) else value


KEPT: MergeRule = _Kept()

"""The rule of what the store sets once."""


class Merge:
    """The merge rules, to be said of a property in `Annotated`.

    Attributes:
        immutable: it cannot change after it was first written: the common ancestor's value.
        max: the greatest value of all leaves.
        min: the least.
        sum_of_changes: a number to which each side's change is added. It needs the common ancestor.
        union: of a list, a set or an object: what any side added, without what any side removed.
        text: the lines that either side changed, added and removed; where both changed the same lines, both
            versions of them. It needs the common ancestor, and the extra `text`.
        manual: where sides changed it differently, the document stays in conflict until somebody decides.
    """

    immutable: ClassVar[MergeRule] = _Immutable()
    max: ClassVar[MergeRule] = _Extreme("max", lambda one, other: one >= other)
    min: ClassVar[MergeRule] = _Extreme("min", lambda one, other: one <= other)
    sum_of_changes: ClassVar[MergeRule] = _SumOfChanges()
    union: ClassVar[MergeRule] = _Union()
    text: ClassVar[MergeRule] = _Text()
    manual: ClassVar[MergeRule] = _Manual()

    @staticmethod
    def latest(by: str | None = None) -> MergeRule:
        """The value of the leaf that is later, among those that changed it.

        Args:
            by: the property (its name in JSON) that tells which is later: a time stamp, a date, a number. Without it
                that is the model's `UpdatedOn`, or the revision.
        """
        return _Latest(by)

    @staticmethod
    def custom(function: Callable[[Any, Any, Any], Any]) -> MergeRule:
        """What a function makes of `(base, one, other)`, values as they are stored.

        `base` is None where the common ancestor has none, or cannot be read any more. The function has to be pure,
        and symmetric in `one` and `other` if the order of leaves is not to matter. What it raises leaves the
        document in conflict.
        """
        return _Custom(function)

    @staticmethod
    def text_is_installed() -> bool:
        """Whether the package is there that `Merge.text` needs."""
        return is_installed()
