"""Serializers of a model: into what is stored, and into what clients see; pure."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from typing import Any

from pydantic import BaseModel

from .fields import Schema, own_serializer

__all__ = ["Write", "shower", "writer"]

Write = Callable[..., dict[str, Any]]


def writer(cls: type[BaseModel], stored: Collection[str]) -> Write:
    """What turns a model into the values that are stored, by their names in JSON.

    Nothing that is computed is among them, neither at the top nor in nested models, except what is to be stored.

    Args:
        cls: the model.
        stored: the attributes of the computed properties that are stored.
    """
    schema = cls.__pydantic_core_schema__
    kept = _without_computed(schema, cls, stored)
    return _writing(cls.__pydantic_serializer__ if kept == schema else own_serializer(kept))


def shower(cls: type[BaseModel]) -> Write:
    """What turns a model into the values that clients see, those that are computed included."""
    return _writing(cls.__pydantic_serializer__)


def _writing(serializer: Any) -> Write:
    return functools.partial(serializer.to_python, mode="json", by_alias=True, warnings=False)


def _without_computed(schema: Schema, cls: type[BaseModel], stored: Collection[str]) -> Schema:
    """A copy of a core schema that computes nothing, except what a model itself stores."""
    if isinstance(schema, list):
        return [_without_computed(each, cls, stored) for each in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {name: _without_computed(each, cls, stored) for name, each in schema.items() if name != "computed_fields"}
    if "computed_fields" in schema:
        copy["computed_fields"] = []
    if schema.get("type") == "model" and schema.get("cls") is cls:
        _keep(copy["schema"], schema["schema"], stored)
    return copy


def _keep(copy: Schema, schema: Schema, stored: Collection[str]) -> None:
    """Put back what a model stores of what it computes; validators of the model can stand around its fields."""
    while "computed_fields" not in schema and "schema" in schema:
        copy, schema = copy["schema"], schema["schema"]
    copy["computed_fields"] = [each for each in schema.get("computed_fields", ()) if each["property_name"] in stored]
