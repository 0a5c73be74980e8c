"""Types that accept more than JSON gives back: `Any`, and nested models, in whose place a subclass can stand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from .forms import schema_nodes
from .round_trip import same

__all__ = ["Loose", "loose"]

_CONTAINERS = {"list": "items_schema", "dict": "values_schema", "tuple": "items_schema"}
_SCALARS = frozenset((str, int, float, bool, type(None)))
_PLAIN = frozenset(
    ("any", "bool", "default", "dict", "float", "int", "json-or-python", "list", "none", "nullable", "str", "union")
)


class Loose:
    """Looks for values of a property that would be read as others than they were.

    Args:
        adapter: of the property's annotation.
    """

    def __init__(self, adapter: TypeAdapter[Any]) -> None:
        self._adapter = adapter
        nodes = list(schema_nodes(adapter.core_schema))
        kinds = {each["type"] for each in nodes}
        bare = any(each["type"] in _CONTAINERS and _CONTAINERS[each["type"]] not in each for each in nodes)
        self._plain = kinds <= _PLAIN and ("any" in kinds or bare)
        self._partly = not self._plain and ("any" in kinds or bare or any(map(_takes_more, nodes)))
        self._classes = {each["cls"] for each in nodes if each["type"] in ("model", "dataclass")}

    def __bool__(self) -> bool:
        return self._plain or self._partly or bool(self._classes)

    def fault(self, value: Any) -> str:
        """What is wrong with a value; empty where nothing is."""
        if self._plain and not _is_json(value):
            return "Must be a JSON value: text, a number, true, false, null, a list or a dict with text as its keys."
        other = next((type(each) for each in _instances(value) if type(each) not in self._classes), None)
        if self._classes and other is not None:
            return (
                f"Holds a {other.__name__}, whose own properties would be lost; declare that class in the type as well."
            )
        if self._partly and not self._comes_back(value):
            return "Would not be read as it is stored: where any value is allowed, there must be JSON values."
        return ""

    def _comes_back(self, value: Any) -> bool:
        """Whether a value with parts of any type, such as those of a nested model, is read back as it is."""
        try:
            stored = self._adapter.dump_python(value, mode="json", warnings=False)
            return same(value, self._adapter.validate_python(stored))
        except ValidationError:
            return True  # a validator judges what is stored already, which is not for it to do
        except PydanticSerializationError:
            return False


def loose(adapters: Iterable[tuple[str, TypeAdapter[Any]]]) -> Mapping[str, Loose]:
    """The properties, by the name in JSON, whose values are looked at before they are stored."""
    return {name: found for name, adapter in adapters if (found := Loose(adapter))}


def _takes_more(node: Mapping[str, Any]) -> bool:
    """Whether a part of a type is a model that takes members of any name."""
    config = node.get("config") or {}
    return "allow" in (node.get("extra_behavior"), config.get("extra_fields_behavior"))


def _is_json(value: Any) -> bool:
    """Whether a value is read back from JSON as it is."""
    kind = type(value)
    if kind is dict:
        return all(type(name) is str and _is_json(each) for name, each in value.items())
    if kind is list:
        return all(map(_is_json, value))
    return value is None or kind in (str, bool, int) or (kind is float and math.isfinite(value))


def _instances(value: Any) -> Iterator[Any]:
    """The models and dataclasses in a value."""
    todo = [value]
    while todo:
        each = todo.pop()
        if type(each) in _SCALARS:
            continue  # as most are; asking each whether it is a dataclass would take ten times as long
        if isinstance(each, BaseModel):
            yield each
            todo += each.__dict__.values()
        elif dataclasses.is_dataclass(each) and not isinstance(each, type):
            yield each
            todo += [getattr(each, field.name) for field in dataclasses.fields(each)]
        elif isinstance(each, dict):
            todo += each.values()
        elif isinstance(each, list | tuple | set | frozenset):
            todo += each
