"""How a model is read from a stored document: its types are checked, and its validators are not run again; pure.

A validator judges, or changes, a value that comes in; what is stored has been judged already, by the rules of that
time. One that turns the stored form into the value belongs to the type, and runs on reading as well. Which is which,
the round trip of sample values tells when the class is defined.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from ..errors import ModelDefinitionError
from .forms import (
    AROUND,
    Field,
    Fields,
    Schema,
    Write,
    asks_clock,
    authors_functions,
    changed_schema,
    looks_for_file,
    own_validator,
    schema_nodes,
    timeless,
)
from .properties import Property
from .round_trip import same
from .samples import samples

__all__ = ["Reading", "check_whole", "reading"]

Read = Callable[[Any], Any]
_WHOLE = 12  # samples of a whole model


@dataclass(frozen=True)
class Reading:
    """How a model is read.

    Attributes:
        read: makes a model of stored values by their names in JSON.
        fields: read single properties, by attribute.
        judged: the attributes that validators of the author judge when a value comes in.
        judged_whole: validators of the author judge a model as a whole.
    """

    read: Read
    fields: Fields
    judged: frozenset[str] = frozenset()
    judged_whole: bool = False


def reading(cls: type[BaseModel], properties: Mapping[str, Property], write: Write) -> Reading:
    """How a model is read.

    Args:
        cls: the model.
        properties: those that are read, by the name in JSON.
        write: turns a model into what is stored.

    Raises:
        ModelDefinitionError: it cannot be told what a validator is for, with what to write so that it can.
    """
    schema = cls.__pydantic_core_schema__
    found = authors_functions(schema)
    if not found and not asks_clock(schema):
        return Reading(cls.__pydantic_validator__.validate_python, Fields(cls, schema, write))
    needed: set[int] = set()
    judged: set[str] = set()
    inside: set[int] = set()
    for name, each in properties.items():
        trial = _Trial(cls, schema, each.attribute, write)
        inside |= trial.functions.keys()
        judged |= {each.attribute} if trial.functions or trial.asks_clock else set()
        try:
            needed |= trial.needed()
        except _Unclear as unclear:
            raise ModelDefinitionError(f"{cls.__name__}: property {name!r} {unclear}") from None
    # Those around the whole model leave its properties as they are read.
    dropped = {id(each) for each in found} - needed
    stripped = timeless(_without(schema, dropped))
    return Reading(
        own_validator(stripped).validate_python,
        Fields(cls, stripped, write),
        frozenset(judged),
        any(id(each) not in inside for each in found),
    )


def check_whole(cls: type[BaseModel], properties: Mapping[str, Property], found: Reading, write: Write) -> None:
    """Refuse a validator of the whole model that changes its own result.

    Args:
        cls: the model.
        properties: those that are read, by the name in JSON.
        found: how the model is read.
        write: turns a model into what is stored.

    Raises:
        ModelDefinitionError: what was stored, or sent back, would become another value.
    """
    fields = Fields(cls, cls.__pydantic_core_schema__, write)
    options = {name: valid for name, each in properties.items() if (valid := _valid(fields[each.attribute]))}
    for number in range(_WHOLE if options else 0):
        picked = {
            name: valid[(number + place * (number % 4)) % len(valid)]
            for place, (name, valid) in enumerate(options.items())
        }
        try:
            model = cls.__pydantic_validator__.validate_python(picked)
            stored = {name: value for name, value in write(model).items() if name in properties}
        except Exception:  # noqa: BLE001, S112 - no valid model; only a guess
            continue
        for read in (found.read, cls.__pydantic_validator__.validate_python):
            if not _gives(read, stored, model):
                raise ModelDefinitionError(
                    f"{cls.__name__}: a validator of the whole model changes its own result; make it leave a model"
                    " alone that it returned before"
                )


def _valid(one: Field) -> list[Any]:
    """Some samples of a property that are valid."""
    found = []
    for sample in samples(one):
        try:
            one.validate_python(sample)
        except Exception:  # noqa: BLE001, S112 - only a guess
            continue
        found.append(sample)
    return found[:5]


def _gives(read: Read, stored: Any, model: BaseModel) -> bool:
    try:
        return same(read(json.loads(json.dumps(stored))), model)
    except Exception:  # noqa: BLE001 - whatever a validator of the author's raises
        return False


class _Unclear(Exception):
    """It cannot be told what a validator is for."""


def _without(schema: Schema, dropped: Collection[int]) -> Schema:
    """A copy of a core schema without some of the functions in it."""

    def change(node: dict[str, Any], copy: dict[str, Any]) -> Schema:
        if id(node) not in dropped:
            return copy
        inner: dict[str, Any] = copy["schema"]
        return {**inner, "ref": copy["ref"]} if "ref" in copy else inner

    return changed_schema(schema, change)


@dataclass
class _Trial:
    """Finds out which functions a property needs when it is read."""

    cls: type[BaseModel]
    schema: Schema
    attribute: str
    write: Write
    functions: dict[int, dict[str, Any]] = field(init=False)
    asks_clock: bool = field(init=False)

    def __post_init__(self) -> None:
        self._whole = Fields(self.cls, self.schema, self.write)
        reached = _reached(self._whole.schema(self.attribute), self.schema)
        self.functions = {id(each): each for each in authors_functions(reached)}
        self.asks_clock = asks_clock(reached)

    def needed(self) -> set[int]:
        """Which of the functions have to run on reading.

        Raises:
            _Unclear: no sample tells.
        """
        if not self.functions:
            return set()
        ran, values = self._values()
        written = any("serialization" in each for each in schema_nodes(self._whole.schema(self.attribute)))
        for number, node in self.functions.items():
            if number not in ran and not _only_judges(node, written):
                raise _Unclear(_unclear(node))
        needed: set[int] = set()
        if self._reads(values, self.functions.keys()):
            return needed
        dropped: set[int] = set()
        for number in self.functions:
            if self._reads(values, {*dropped, number}):
                dropped.add(number)
            else:
                needed.add(number)
        return needed

    def _values(self) -> tuple[set[int], list[tuple[Any, Any]]]:
        """The functions that let a sample through, and values with their stored forms."""
        ran: set[int] = set()

        def change(node: dict[str, Any], copy: dict[str, Any]) -> Schema:
            if id(node) in self.functions:
                copy["function"] = {**copy["function"], "function": _recording(node, ran)}
            return copy

        recorded = Fields(self.cls, changed_schema(self.schema, change), self.write)[self.attribute]
        values = []
        for sample in samples(self._whole[self.attribute]):
            try:
                value = recorded.validate_python(sample)
                values.append((value, json.loads(json.dumps(recorded.dump_python(value)))))
            except Exception:  # noqa: BLE001, S112 - no value of the property, or one that check_round_trip refuses
                continue
        return ran, values

    def _reads(self, values: list[tuple[Any, Any]], dropped: Collection[int]) -> bool:
        """Whether the stored forms give the values without some of the functions."""
        stripped: Field = Fields(self.cls, _without(self.schema, dropped), self.write)[self.attribute]
        try:
            return all(same(value, stripped.validate_python(stored)) for value, stored in values)
        except Exception:  # noqa: BLE001 - whatever another function makes of a form that is not meant for it
            return False


def _reached(part: Schema, schema: Schema) -> list[Schema]:
    """A part of a core schema, and the definitions that it refers to."""
    named = {each["ref"]: each for each in schema_nodes(schema) if "ref" in each}
    found, todo, seen = [part], [part], set()
    while todo:
        for each in schema_nodes(todo.pop(), computed=False):
            ref = each.get("schema_ref")
            if ref in named and ref not in seen:
                seen.add(ref)
                found.append(named[ref])
                todo.append(named[ref])
    return found


def _recording(node: dict[str, Any], ran: set[int]) -> Callable[..., Any]:
    """The function of a part, which notes that it let a value through."""
    function = node["function"]["function"]

    def recording(*arguments: Any) -> Any:
        result = function(*arguments)
        ran.add(id(node))
        return result

    return recording


def _only_judges(node: dict[str, Any], written: bool) -> bool:
    """Whether a function certainly does not belong to the type, one with a serializer or without."""
    return looks_for_file(node["function"]["function"]) or (not written and _keeps_type(node))


def _keeps_type(node: dict[str, Any]) -> bool:
    """Whether a function certainly gives a value of the type that it stands around."""
    if node["type"] == "function-before" or _innermost(node) in ("model", "dataclass"):
        return True  # what the inner type makes of the result is the value, or it is the model itself
    try:
        found = inspect.signature(node["function"]["function"])
    except (TypeError, ValueError):
        return False
    given = next(iter(found.parameters.values()), None)
    if given is None or found.return_annotation in (inspect.Signature.empty, Any, "Any", object, "object"):
        return False
    return bool(given.annotation == found.return_annotation)


def _innermost(node: dict[str, Any]) -> str:
    while node["type"] in AROUND:
        node = node["schema"]
    return str(node["type"])


def _unclear(node: dict[str, Any]) -> str:
    function = node["function"]["function"]
    name = getattr(function, "__name__", None) or repr(function)
    return (
        f"has a validator, {name}(), that refuses every value that was tried, so that it is not known whether it"
        " judges a value or turns the stored form into one; give examples of valid values, Field(examples=[…]), or"
        " annotate its argument and its result with the same type"
    )
