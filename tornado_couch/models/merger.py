"""Merging the leaves of a document as they are stored; pure.

The result follows from the leaves and the model alone, byte for byte: members are in a fixed order, and time stamps
come from the leaves, never from a clock. CouchDB makes the revision of the contents, so whoever merges the same
leaves writes the same revision.

What is encrypted or hashed is moved as it is stored, a ciphertext together with its blind index.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import Unmergeable
from ..revision import rank
from ..security import RESERVED_PROPERTIES
from .forms import ATTACHMENTS_PROPERTY
from .merging.ancestry import MERGE_PROPERTY, Plan
from .merging.rules import ABSENT, KEPT, UNKNOWN, Gap, Merge, MergeRule, Parse, Side, ThreeWay, Undecided, weight_of
from .model import Model, ModelInfo, model_info
from .pointers import json_pointer
from .properties import LEFT_PROPERTY, WRITE_PROPERTY, Property

__all__ = ["Merging", "merge_rule"]

Document = Mapping[str, Any]
State = dict[str, Side]

# What says something of the very revision that has it, and nothing of the document.
_OF_ONE_REVISION = RESERVED_PROPERTIES | {ATTACHMENTS_PROPERTY, MERGE_PROPERTY, WRITE_PROPERTY, LEFT_PROPERTY, "type"}


def merge_rule(info: ModelInfo, declared: Property) -> MergeRule:
    """The rule of a property: what its annotation says, or what goes without saying.

    Neither key nor time of creation can change; the time of the update is the latest one.
    """
    if declared.merge is not None:
        return declared.merge
    if declared == info.key:
        return Merge.immutable
    if declared.stamp is not None:
        return KEPT if declared.stamp.once else Merge.max
    return Merge.latest()


@dataclass(frozen=True)
class _Unit:
    """Members of the stored document that are merged as one."""

    names: tuple[str, ...]
    rule: MergeRule
    parse: Parse

    def value(self, document: Document) -> Any:
        """What a document has there."""
        if len(self.names) == 1:
            return document.get(self.names[0], ABSENT)
        return {name: document[name] for name in self.names if name in document} or ABSENT

    def members(self, value: Any) -> dict[str, Any]:
        """What stands in the document for a value."""
        if value is ABSENT:
            return {}
        return {self.names[0]: value} if len(self.names) == 1 else dict(value)


class Merging:
    """Merges revisions of one document by its model's rules.

    Args:
        cls: the model.
        bodies: the documents of leaves and ancestors as they are stored, by revision, without what CouchDB adds.
    """

    def __init__(self, cls: type[Model], bodies: Mapping[str, Document]) -> None:
        self._info = model_info(cls)
        self._bodies = bodies

    def merged(self, plan: Plan) -> dict[str, Any]:
        """The properties of the merged document, sorted by name, without `_id`, `_rev` and `type`.

        Raises:
            Unmergeable: naming the properties whose rules cannot decide.
        """
        faults: dict[str, str] = {}
        try:
            found = self._state(plan, faults)
            members = self._finished(found or {}, faults)
        except RecursionError:
            raise Unmergeable([{"pointer": "", "detail": "The document is nested too deeply."}]) from None
        if faults:
            problems = [{"pointer": json_pointer([name]), "detail": f"It {why}."} for name, why in faults.items()]
            raise Unmergeable(problems)
        return dict(sorted(members.items()))

    def _finished(self, state: State, faults: dict[str, str]) -> dict[str, Any]:
        members: dict[str, Any] = {}
        for name, side in state.items():
            unit = self._units[name]
            try:
                members |= unit.members(unit.rule.finish(side.value))
            except Undecided as undecided:
                faults[name] = str(undecided)
        return members

    @cached_property
    def _units(self) -> dict[str, _Unit]:
        """What is merged, by the first name of each; what the model does not know goes by the rule of all."""
        found: dict[str, _Unit] = {}
        taken = {*self._info.properties, *self._info.shown}  # what is computed is not merged
        for name, each in self._info.given.items():
            names = (name, each.index_member) if each.blind else (name,)
            found[name] = _Unit(names, merge_rule(self._info, each), self._info.adapters[name].validate_python)
            taken.update(names)
        unknown = {name for body in self._bodies.values() for name in body} - taken
        for name in sorted(unknown):
            if name not in _OF_ONE_REVISION and not name.startswith("_"):
                found[name] = _Unit((name,), Merge.latest(), lambda value: value)
        return found

    def _state(self, plan: Plan, faults: dict[str, str]) -> State | None:
        """What a revision or a merge comes to; None where a document cannot be read, or is of another type."""
        if isinstance(plan, str):
            return self._of_revision(plan)
        one, other = self._state(plan.one, faults), self._state(plan.other, faults)
        if one is None or other is None:
            return None
        base = None if isinstance(plan.base, Gap) else self._state(plan.base, {})
        unknown = Side(ABSENT if plan.base is ABSENT else UNKNOWN)
        joined: State = {}
        for name, unit in self._units.items():
            before = base[name] if base is not None else unknown
            joined[name] = Side(UNKNOWN)
            if UNKNOWN in (one[name].value, other[name].value):
                continue
            if one[name].value is ABSENT and other[name].value is ABSENT:
                joined[name] = one[name]
                continue
            try:
                joined[name] = unit.rule.merge(ThreeWay(before.value, one[name], other[name], unit.parse))
            except Undecided as undecided:
                faults.setdefault(name, str(undecided))
            except ValueError:
                faults.setdefault(name, "has a value that is nested too deeply")
        return joined

    def _of_revision(self, revision: str) -> State | None:
        body = self._bodies.get(revision)
        if body is None:
            return None
        return {
            name: unit.rule.start(Side(unit.value(body), self._weight(unit, body, revision)))
            for name, unit in self._units.items()
        }

    def _weight(self, unit: _Unit, body: Document, revision: str) -> Any:
        by = unit.rule.by or self._updated
        return weight_of(body.get(by) if by else None, *rank(revision))

    @cached_property
    def _updated(self) -> str | None:
        """The model's time of the last update, where it has one."""
        stamps: Iterable[Property] = self._info.properties.values()
        return next((each.name for each in stamps if each.stamp and not each.stamp.once), None)
