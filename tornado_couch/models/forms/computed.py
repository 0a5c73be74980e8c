"""Properties whose values the model computes: pydantic's `computed_field`, stored with `Computed()`; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from ...errors import ModelDefinitionError
from ..classification import Public
from ..properties import Computed, Property, WriteOnly

__all__ = ["computed_properties", "fields_of"]


def fields_of(cls: type[BaseModel]) -> dict[str, FieldInfo]:
    """What pydantic knows of each property, by attribute; of a computed one that is what its return type says.

    Raises:
        ModelDefinitionError: the return type of a computed property is not known yet.
    """
    computed = {}
    for attribute, info in cls.model_computed_fields.items():
        if info.return_type is PydanticUndefined:
            raise ModelDefinitionError(
                f"{cls.__name__}: the return type of {attribute!r} refers to a name that is not defined yet; define"
                " that class first"
            )
        computed[attribute] = FieldInfo.from_annotation(info.return_type)
    return {**cls.model_fields, **computed}


def computed_properties(cls: type[BaseModel], fields: Mapping[str, FieldInfo]) -> list[Property]:
    """The properties that the model computes, stored or not.

    Raises:
        ModelDefinitionError: one has a marker that a computed property cannot have.
    """
    found = []
    for attribute, info in cls.model_computed_fields.items():
        metadata, annotation = fields[attribute].metadata, fields[attribute].annotation
        default = None if annotation is Any or type(None) in get_args(annotation) else PydanticUndefined
        each = Property.declared(attribute, info.alias, metadata, default, computed=True)
        if fault := _fault(each, metadata):
            raise ModelDefinitionError(f"{cls.__name__}: computed property {each.name!r} {fault}")
        found.append(each)
    return found


def _fault(declared: Property, metadata: list[Any]) -> str:
    if any(isinstance(marker, WriteOnly) for marker in metadata):
        return "cannot be WriteOnly(); a plain @property is not shown"
    if declared.generated or declared.stamp is not None:
        return "cannot be set by the store as well"
    if declared.merge is not None:
        return "follows from the merged properties, so it has no merge rule of its own"
    if declared.classification is not None and not isinstance(declared.classification, Public):
        return "is shown to clients, so it cannot be protected; a plain @property is neither stored nor shown"
    if declared.indexed and not any(isinstance(marker, Computed) for marker in metadata):
        return "is not stored, so it cannot be indexed; add Computed() to its return type"
    return ""
