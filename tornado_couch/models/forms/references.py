"""References: which properties of a model name documents of other models, and where they stand in a document; pure."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin, get_type_hints
from weakref import WeakKeyDictionary

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typing_extensions import is_typeddict

from ...errors import ModelDefinitionError
from ..classification import Hashed
from ..pointers import json_pointer
from ..properties import Indexed, Property, Reference

if TYPE_CHECKING:
    from ..model import Model

__all__ = ["EACH", "Holder", "Relation", "find_relations", "referring", "register"]

EACH = None
"""In a path: every item of a list, or every value of a dictionary."""

_DEEPEST = 4  # models and containers in each other
_CONTAINERS: tuple[Any, ...] = (list, tuple, set, frozenset, dict)
_CHOICES = ("nothing", "refuse", "set null", "cascade")


@dataclass(frozen=True)
class Holder:
    """An object of a document that holds a reference.

    Attributes:
        path: the names and numbers that lead to the object.
        members: the object itself.
    """

    path: tuple[str | int, ...]
    members: dict[str, Any]


@dataclass(frozen=True)
class Relation:
    """A property, or a property of nested models, whose values are keys of documents of another model.

    Attributes:
        name: what `include` calls it, such as "customer" or "lines.product".
        member: the name in JSON of the property that holds the key, or keys.
        outer: what leads to the object that holds it; `EACH` stands for every item of a list.
        several: whether the property holds a list or a dictionary of keys.
        marker: the declaration.
        declared: the property of the document that the value is a part of.
    """

    name: str
    member: str
    outer: tuple[str | None, ...]
    several: bool
    marker: Reference
    declared: Property

    @property
    def target(self) -> type[Model]:
        """The model of the documents that are referred to."""
        found: type[Model] = self.marker.target if isinstance(self.marker.target, type) else self.marker.target()
        return found

    @property
    def shown_as(self) -> str:
        """The member of the object in which the document is embedded."""
        return self.name.rpartition(".")[2]

    @property
    def filter(self) -> str:
        """What a query calls the property, to find the documents with a certain reference."""
        return f"{self.member}[contains]" if self.several else self.member

    def holders(self, document: Mapping[str, Any]) -> Iterator[Holder]:
        """The objects of a document, as JSON has it, that hold the reference."""
        yield from _holders(document, self.outer, ())

    def keys(self, document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """The keys in a document, as JSON has it, each after the JSON Pointer to it; null is left out."""
        for place in self.holders(document):
            held, path = place.members.get(self.member), (*place.path, self.member)
            for step, key in _items(held) if self.several else [((), held)]:
                if isinstance(key, str | int) and not isinstance(key, bool):
                    yield json_pointer([*path, *step]), key


def _holders(value: Any, steps: tuple[str | None, ...], path: tuple[str | int, ...]) -> Iterator[Holder]:
    if not steps:
        if isinstance(value, dict):
            yield Holder(path, value)
        return
    if steps[0] is not EACH:
        if isinstance(value, dict) and steps[0] in value:
            yield from _holders(value[steps[0]], steps[1:], (*path, steps[0]))
        return
    for step, inner in _items(value):
        yield from _holders(inner, steps[1:], (*path, *step))


def _items(value: Any) -> list[tuple[tuple[str | int], Any]]:
    if isinstance(value, dict):
        return [((name,), each) for name, each in value.items()]
    return [((place,), each) for place, each in enumerate(value)] if isinstance(value, list) else []


# ---------------------------------------------------------------- which there are


def find_relations(
    cls: type[BaseModel], properties: Mapping[str, Property], fields: Mapping[str, FieldInfo]
) -> dict[str, Relation]:
    """The references that a model declares, by their names.

    Args:
        cls: the model.
        properties: its properties, by the name in JSON.
        fields: pydantic's, by attribute.

    Raises:
        ModelDefinitionError: one is declared wrongly.
    """
    found: dict[str, Relation] = {}
    for declared in properties.values():
        field = fields[declared.attribute]
        for path, marker in _markers(field.annotation, field.metadata, (declared.name,), ()):
            relation = _relation(cls, path, marker, declared)
            fault = _fault(cls, relation, field)
            if relation.name in found or (not relation.outer and relation.name in properties):
                fault = f"would be included as {relation.name!r}, a name that is taken; give it another by name=…"
            if fault:
                raise ModelDefinitionError(f"{cls.__name__}: the reference {_text(path)!r} {fault}")
            found[relation.name] = relation
    return found


def _relation(cls: type[BaseModel], path: tuple[str | None, ...], marker: Reference, declared: Property) -> Relation:
    several = path[-1] is EACH
    *outer, member = path[:-1] if several else path
    if member is EACH:
        raise ModelDefinitionError(f"{cls.__name__}: {_text(path)!r} is a list of lists of references; use one list")
    name = marker.name or _name_of(str(member))
    if not name:
        raise ModelDefinitionError(
            f"{cls.__name__}: write Reference(…, name=…) at {_text(path)!r}, to say what `include` calls the document;"
            " a property whose name ends in `_id` needs no name"
        )
    return Relation(".".join([*filter(None, outer), name]), str(member), tuple(outer), several, marker, declared)


def _name_of(member: str) -> str:
    """What a document is called whose key a property holds; empty if the property's name does not say it."""
    for ending, plural in (("_id", ""), ("_ids", "s"), ("Id", ""), ("Ids", "s")):
        if member.endswith(ending) and member != ending:
            return member.removesuffix(ending) + plural
    return ""


def _text(path: tuple[str | None, ...]) -> str:
    return ".".join("[]" if step is EACH else step for step in path)


def _fault(cls: type[BaseModel], relation: Relation, field: FieldInfo) -> str:
    """What is wrong with a reference; empty if nothing is."""
    target, choice = relation.marker.target, relation.marker.on_delete
    if isinstance(target, type) and target is not cls and getattr(target, "__couch__", None) is None:
        return f"must be to a model with a type, which {target.__name__} is not"
    if relation.declared.computed or isinstance(relation.declared.classification, Hashed):
        return "must be a property that is stored as it was given: it is computed, or hashed"
    if choice not in _CHOICES:
        return f"has on_delete={choice!r}; it must be one of {', '.join(map(repr, _CHOICES))}"
    return _unfit_for_deletion(relation, field) if choice != "nothing" else ""


def _unfit_for_deletion(relation: Relation, field: FieldInfo) -> str:
    wanted = "Indexed(members=True)" if relation.several else "Indexed()"
    if relation.outer:
        return "is in a nested model, where on_delete has no index to find it by; use a property of the model itself"
    markers = [each for each in field.metadata if isinstance(each, Indexed)]
    indexed = any(each.members for each in markers) if relation.several else relation.declared.indexed
    if not indexed:
        return f"has on_delete={relation.marker.on_delete!r}, for which it needs an index; add {wanted}"
    if relation.marker.on_delete == "set null" and not relation.several and not relation.declared.optional:
        return 'has on_delete="set null", for which it must be able to be null; write `str | None` and `= None`'
    return ""


_Found = Iterator[tuple[tuple[str | None, ...], Reference]]


def _markers(annotation: Any, metadata: Sequence[Any], path: tuple[str | None, ...], seen: tuple[Any, ...]) -> _Found:
    """The references within a type, each with the path that leads to it."""
    marker = next((each for each in metadata if isinstance(each, Reference)), None)
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _markers(annotation.__origin__, [*metadata, *annotation.__metadata__], path, seen)
    elif origin in (Union, types.UnionType):
        branches = [each for each in get_args(annotation) if each is not type(None)]
        yield from dict.fromkeys(each for one in branches for each in _markers(one, metadata, path, seen))
    elif origin in _CONTAINERS:
        inner = [each for each in get_args(annotation) if each is not Ellipsis]
        # Of a dictionary, the last is the type of the values.
        yield from _markers(inner[-1], [marker] if marker else [], (*path, EACH), seen) if inner else ()
    elif marker is not None:
        yield path, marker
    elif annotation not in seen and len(path) <= 2 * _DEEPEST:
        for name, inner, its in _members(annotation):
            yield from _markers(inner, its, (*path, name), (*seen, annotation))


def _members(annotation: Any) -> Iterator[tuple[str, Any, Sequence[Any]]]:
    """The members of a nested model, data class or typed dictionary: name in JSON, type, and what is said of it."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for attribute, field in annotation.model_fields.items():
            yield field.alias or attribute, field.annotation, field.metadata
    elif dataclasses.is_dataclass(annotation) or is_typeddict(annotation):
        try:
            hints = get_type_hints(annotation, include_extras=True)
        except NameError:  # of a local scope, which pydantic knows and nobody else
            return
        for name, inner in hints.items():
            yield name, inner, ()


# ---------------------------------------------------------------- who refers to a model

_registered: WeakKeyDictionary[type[Any], None] = WeakKeyDictionary()  # in the order of their definition


def register(cls: type[Model]) -> None:
    """Remember a model whose documents depend on those that they refer to."""
    _registered[cls] = None


def referring(target: type[Model]) -> list[tuple[type[Model], Relation]]:
    """The references to a model that say what becomes of their documents when one that they refer to is deleted.

    Of several classes for one type of documents, the one that was defined last stands for all.
    """
    found: dict[tuple[str, str], tuple[type[Model], Relation]] = {}
    for cls in list(_registered):
        for relation in cls.__couch__.relations.values():
            if relation.marker.on_delete != "nothing" and relation.target is target:
                found[cls.__couch__.type.name, relation.name] = cls, relation
    return list(found.values())
