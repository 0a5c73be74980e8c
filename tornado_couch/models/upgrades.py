"""Upgrades: functions that make a document of one version of its type one of a later version; pure.

    class Fruit(Model, type="fruit_v2.0", key="fruit_id"):
        fruit_id: Key = assigned()
        color: str

        @upgrade("fruit_v1.0", to="fruit_v1.1")
        @staticmethod
        def spell_color(fruit: dict[str, Any]) -> dict[str, Any]:
            return {"color": fruit.pop("colour"), **fruit}

They are applied when a document is read, one after the other; what is written is of the model's version. A minor
version without a function changes nothing that an older document has, so none is needed to pass it by.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self, TypeVar

from ..errors import InvalidDocument, ModelDefinitionError, UnsupportedVersion
from .classification import Classification

__all__ = [
    "DocumentType",
    "Upgrade",
    "apply_upgrades",
    "classes_before",
    "collect_upgrades",
    "is_hidden",
    "upgrade",
    "upgrades_between",
]


_TYPE = re.compile(r"(?P<name>[!-~]+)_v(?P<major>[0-9]{1,9})\.(?P<minor>[0-9]{1,9})")


@dataclass(frozen=True, order=True)
class DocumentType:
    """A document's `type`, NAME_vMAJOR.MINOR: ASCII without white space."""

    name: str
    major: int
    minor: int

    @classmethod
    def parse(cls, text: object) -> Self | None:
        """The parts of `text`; None if the text is not a type."""
        parts = _parts(text) if isinstance(text, str) else None
        return parts and cls(*parts)

    def __str__(self) -> str:
        return f"{self.name}_v{self.major}.{self.minor}"


@lru_cache(maxsize=1024)  # a database has few types, and each of its documents has one
def _parts(text: str) -> tuple[str, int, int] | None:
    match = _TYPE.fullmatch(text)
    return match and (match["name"], int(match["major"]), int(match["minor"]))


F = TypeVar("F", bound="Callable[..., Any] | staticmethod[..., Any]")

Document = dict[str, Any]

Upgrades = Mapping[DocumentType, "Upgrade"]

_MARK = "__tornado_couch_upgrades__"

# Members of this package's own in a stored document: the signature, say. They are nobody's property.
_OWN = ("_", "tornado_couch_", "tornado_couch:", "801dbe4659a641739cbe94fcf0baab03_")


@dataclass(frozen=True)
class Upgrade:
    """One step from a version to a later one.

    Attributes:
        source: what a document is before.
        target: what it is then.
        function: gives the properties of the new version for those of the old one.
        was: how properties were classified in the old version, where that was otherwise than in the new one.
    """

    source: DocumentType
    target: DocumentType
    function: Callable[[Document], Document]
    was: Mapping[str, Classification] = field(default_factory=dict)

    def __call__(self, properties: Document) -> Document:
        """The properties of the new version.

        Raises:
            InvalidDocument: the function failed, or gave no properties.
        """
        try:
            found = self.function(properties)
        except Exception as error:  # noqa: BLE001 - whatever it raised is this one document's fault
            # Its message may hold the document's values, and goes to logs.
            raise self._failure(f"raised {type(error).__name__}") from None
        if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
            raise self._failure("did not return an object")
        taken = [name for name in found if is_hidden(name) or name == "type"]
        if taken:
            raise self._failure(f"returned {taken[0]!r}, which is not a property's name")
        return found

    def _failure(self, what: str) -> InvalidDocument:
        return InvalidDocument(f"the upgrade from {self.source} to {self.target} {what}", "")


def upgrade(source: str, *, to: str, was: Mapping[str, Classification] | None = None) -> Callable[[F], F]:
    """Mark a function as the upgrade from one version of a type to another: in the model's class, or in `upgrades=`.

    It is given the properties of a document as a dict that it may change, values in the clear, without `type`, `_id`
    and the like; it returns those of the new version. What it leaves out is gone, what it passes on unknown is kept.
    It has to be pure: it is called again at each read until the document is written.

    Args:
        source: the type that a document has.
        to: the type that it has afterwards, of the same name.
        was: properties (by name in JSON) whose classification was another one in `source`: `Public()` for one
            that was stored in the clear.

    Raises:
        ModelDefinitionError: a type is malformed, or the two have different names, or stand in the wrong order.
    """
    before, after = DocumentType.parse(source), DocumentType.parse(to)
    if before is None or after is None:
        raise ModelDefinitionError(f"upgrade from {source!r} to {to!r}: a type is NAME_vMAJOR.MINOR")
    if before.name != after.name or before >= after:
        raise ModelDefinitionError(f"upgrade from {source} to {to}: it leads to a later version of the same type")

    def mark(function: F) -> F:
        plain = function.__func__ if isinstance(function, staticmethod) else function
        if inspect.iscoroutinefunction(plain):
            raise ModelDefinitionError(f"upgrade from {source} to {to}: it is pure, so it cannot be a coroutine")
        step = Upgrade(before, after, plain, dict(was or {}))
        setattr(plain, _MARK, (*getattr(plain, _MARK, ()), step))
        return function

    return mark


def is_hidden(name: str) -> bool:
    """Whether a member of a stored document is CouchDB's or this package's own."""
    return name.startswith(_OWN)


def collect_upgrades(cls: type, own: DocumentType, given: Iterable[object]) -> dict[DocumentType, Upgrade]:
    """The upgrades of a model by the version that they begin with: those in its class and its bases, and given ones.

    Raises:
        ModelDefinitionError: two begin with one version, one leads past the model's, or one is not an upgrade.
    """
    given = list(given)
    for each in given:
        if not _steps(each):
            raise ModelDefinitionError(f'{cls.__name__}: upgrades= holds what has no @upgrade("…", to="…"): {each!r}')
    for step in (step for each in [*vars(cls).values(), *given] for step in _steps(each)):
        if step.source.name != own.name:  # an upgrade in a base class can be for another model
            raise ModelDefinitionError(f"{cls.__name__}: an upgrade from {step.source} is of another type than {own}")
    members = {name: each for base in reversed(cls.__mro__) for name, each in vars(base).items()}
    found: dict[DocumentType, Upgrade] = {}
    for step in (step for each in [*members.values(), *given] for step in _steps(each)):
        if step.source.name == own.name:
            _add(cls, own, found, step)
    return found


def _steps(value: object) -> tuple[Upgrade, ...]:
    plain = value.__func__ if isinstance(value, staticmethod) else value
    return getattr(plain, _MARK, ()) if inspect.isroutine(plain) else ()


def _add(cls: type, own: DocumentType, found: dict[DocumentType, Upgrade], step: Upgrade) -> None:
    if found.setdefault(step.source, step) is not step:
        raise ModelDefinitionError(f"{cls.__name__}: two upgrades begin with {step.source}; which one is meant?")
    if step.target > own:
        raise ModelDefinitionError(f"{cls.__name__}: the upgrade to {step.target} leads past the model's own {own}")


def upgrades_between(upgrades: Upgrades, found: DocumentType, own: DocumentType) -> list[Upgrade]:
    """The steps from the version that was found to the model's own, in order.

    Raises:
        UnsupportedVersion: it is of a later major version, or of an earlier one from which no upgrade leads on.
    """
    if found.major > own.major:
        raise UnsupportedVersion(f"a document of type {found} cannot be read as {own}: a newer major version", "")
    path, at = [], found
    while at < own:
        step = upgrades.get(at)
        if step is None:
            # Minor versions only add: what none of them changes is a valid document of the next one as well.
            later = [each for each in upgrades if at < each and each.major == at.major]
            if later:
                at = min(later)
                continue
            if at.major == own.major:
                break
            raise UnsupportedVersion(
                f"a document of type {found} cannot be read as {own}: another major version, and no upgrade from {at}",
                "",
            )
        path.append(step)
        at = step.target
    return path


def classes_before(path: Sequence[Upgrade], classes: Mapping[str, Classification]) -> dict[str, Classification]:
    """How the properties of a document were classified before these upgrades: the earliest that says it decides."""
    found = dict(classes)
    for step in reversed(path):
        found.update(step.was)
    return found


def apply_upgrades(
    path: Iterable[Upgrade], document: Document, own: DocumentType, dropped: Collection[str]
) -> Document:
    """A document of the model's own version, made of one with its values in the clear.

    Args:
        path: the steps.
        document: as it is.
        own: the type that it has afterwards.
        dropped: members that follow from properties, and are made anew when it is written.
    """
    kept = {name: value for name, value in document.items() if is_hidden(name)}
    given = {name: value for name, value in document.items() if not (is_hidden(name) or name in dropped)}
    given.pop("type", None)
    properties = copy.deepcopy(given)
    for step in path:
        properties = step(properties)
    return {**kept, "type": str(own), **properties}
