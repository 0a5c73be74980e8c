"""Types that accept more than JSON gives back: `Any`, nested models, in whose place a subclass can stand, and others.

What a serializer of the author's does to all values, or which type a union chooses for each of them, no class statement
can know. So such values are tried when they are stored.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from .forms import Field, has_own_serializer, is_foreign, schema_nodes
from .round_trip import same

__all__ = ["Loose", "loose"]

_CONTAINERS = {
    "list": "items_schema",
    "dict": "values_schema",
    "tuple": "items_schema",
    "set": "items_schema",
    "frozenset": "items_schema",
}
_SCALARS = frozenset((str, int, float, bool, type(None)))
_PLAIN = frozenset(
    ("any", "bool", "default", "dict", "float", "int", "json-or-python", "list", "none", "nullable", "str", "union")
)
_DISTINCT = frozenset(("bool", "float", "int", "none", "str"))  # JSON tells them apart


class Loose:
    """Looks for values of a property that would be read as others than they were.

    Args:
        field: the property, as it is read.
    """

    def __init__(self, field: Field) -> None:
        self._field = field
        nodes = list(schema_nodes(field.core_schema))
        kinds = {each["type"] for each in nodes}
        bare = any(each["type"] in _CONTAINERS and _CONTAINERS[each["type"]] not in each for each in nodes)
        self._plain = kinds <= _PLAIN and ("any" in kinds or bare)
        self._partly = not self._plain and ("any" in kinds or bare or any(map(_takes_more, nodes)))
        self._classes = {each["cls"] for each in nodes if each["type"] in ("model", "dataclass")}
        self._named = "dict" in kinds

    def __bool__(self) -> bool:
        return self._plain or self._partly or self._named or bool(self._classes)

    def fault(self, value: Any) -> str:
        """What is wrong with a value; empty where nothing is."""
        if self._plain and not _is_json(value):
            return "Must be a JSON value: text, a number, true, false, null, a list or a dict with text as its keys."
        if self._named and not _is_unicode(value):
            return "Has a lone surrogate in a key, which cannot be stored."
        other = next((type(each) for each in _instances(value) if type(each) not in self._classes), None)
        if self._classes and other is not None:
            return (
                f"Holds a {other.__name__}, whose own properties would be lost; declare that class in the type as well."
            )
        if self._partly and not self._comes_back(value):
            return "Would not be read as it is stored; store a value that JSON gives back."
        return ""

    def _comes_back(self, value: Any) -> bool:
        """Whether a value with parts of any type, such as those of a nested model, is read back as it is."""
        try:
            return same(value, self._field.validate_python(self._field.dump_python(value)))
        except Exception:  # noqa: BLE001 - whatever a serializer or a type of the author's raises
            return False


def loose(fields: Mapping[str, Field]) -> Mapping[str, Loose]:
    """The properties, by the name in JSON, whose values are looked at before they are stored."""
    return {name: found for name, field in fields.items() if (found := Loose(field))}


def _takes_more(node: dict[str, Any]) -> bool:
    """Whether a part of a type takes values of which nobody knows that they come back."""
    config = node.get("config") or {}
    if "allow" in (node.get("extra_behavior"), config.get("extra_fields_behavior")):
        return True  # members of any name
    if node["type"] == "union":
        return node.get("mode") == "left_to_right" or not {each["type"] for each in _choices(node)} <= _DISTINCT
    return has_own_serializer(node) or (node["type"] == "function-plain" and is_foreign(node["function"]["function"]))


def _choices(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for each in node["choices"]:
        yield each[0] if isinstance(each, tuple) else each


def _is_unicode(value: Any) -> bool:
    """Whether all keys can be written as UTF-8; pydantic would replace the others without a word."""
    todo = [value]
    try:
        while todo:
            each = todo.pop()
            if isinstance(each, dict):
                "".join(name for name in each if isinstance(name, str)).encode()
                todo += each.values()
            elif isinstance(each, list | tuple):
                todo += each
    except UnicodeEncodeError:
        return False
    return True


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
        if type(each) is dict:
            todo += each.values()
        elif type(each) is list:
            todo += each
        elif isinstance(each, BaseModel):
            yield each
            todo += each.__dict__.values()
        elif dataclasses.is_dataclass(each) and not isinstance(each, type):
            yield each
            todo += [getattr(each, field.name) for field in dataclasses.fields(each)]
        elif isinstance(each, dict):
            todo += each.values()
        elif isinstance(each, list | tuple | set | frozenset):
            todo += each
