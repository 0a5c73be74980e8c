"""Derived keys: what an index has of a property where that is not its whole value; pure.

- `Indexed(prefix=True)` on a text: its UTF-16 code units in hexadecimal digits, whose order in a view is that of the
  code units. So the texts that begin with another one are a range that holds these exactly, and no others that
  CouchDB's collation takes for them.
- `Indexed(members=True)` on a list: each different member.
- `Indexed()` in a nested model: the value of that property of it, called `address.city`.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from ...errors import ModelDefinitionError
from ..properties import Indexed, Property
from .sort_keys import as_javascript, sort_key_of

__all__ = ["AFTER_PREFIX", "Derived", "code_key", "derived_keys"]

AFTER_PREFIX = "g"
"""Sorts after every hexadecimal digit: a prefix with this behind it is the end of the texts that begin with it."""

_DEEPEST = 4  # nested models in each other
_SCALARS = {"str", "int", "float", "bool", "literal", "enum", "uuid", "date", "datetime", "nullable", "url"}

_CODE_KEY = """
  function codeKey(text) {
    for (var key = "", place = 0; place < text.length; place++) {
      key += ("000" + text.charCodeAt(place).toString(16)).slice(-4);
    }
    return key;
  }"""
_INNER = """
  function inner(found, path, otherwise) {
    for (var place = 0; place < path.length; place++) {
      if (found === null || typeof found !== "object") { return null; }
      found = Object.prototype.hasOwnProperty.call(found, path[place]) ? found[path[place]]
        : place === path.length - 1 ? otherwise : null;
    }
    return found;
  }"""


def code_key(text: str) -> str:
    """What stands in an index of prefixes for a text."""
    return text.encode("utf-16-be", "surrogatepass").hex()


@dataclass(frozen=True)
class Derived:
    """A derived key of a property.

    Attributes:
        name: what queries call it: "color[prefix]", "tags[contains]" or "address.city".
        view: what the name of its view ends with.
        kind: how it is derived.
        declared: the property of the document.
        path: the members that lead to the value, in a nested model.
        adapter: reads and writes a value of it.
        default: what a document without the value has.
    """

    name: str
    view: str
    kind: Literal["prefix", "members", "nested"]
    declared: Property
    adapter: TypeAdapter[Any]
    path: tuple[str, ...] = ()
    default: Any = None

    @property
    def is_nested(self) -> bool:
        """Whether it is a property of a nested model, which filters and sorts as any other."""
        return self.kind == "nested"

    def keys(self, value: Any) -> list[Any]:
        """What stands in the index for a stored value of the property."""
        if self.kind == "prefix":
            return [code_key(value)] if isinstance(value, str) else []
        if self.kind == "members":
            return [as_javascript(each) for each in value] if isinstance(value, list) else []
        for place, name in enumerate(self.path):
            if not isinstance(value, dict):
                return [None]
            value = value.get(name, self.default if place == len(self.path) - 1 else None)
        return [as_javascript(value)]

    @property
    def helper(self) -> str:
        """The JavaScript function that the index needs."""
        return {"prefix": _CODE_KEY, "members": "", "nested": _INNER}[self.kind]

    def emits(self, value: str) -> str:
        """The JavaScript statement that emits the keys.

        Args:
            value: the expression of the property's stored value.
        """
        if self.kind == "nested":
            return f"emit(inner({value}, {json.dumps(self.path)}, {json.dumps(self.default)}), null);"
        if self.kind == "prefix":
            return f'if (typeof {value} === "string") {{ emit(codeKey({value}), null); }}'
        return (
            f"var members = {value}, seen = {{}};\n    for (var place = 0; Array.isArray(members)"
            " && place < members.length; place++) {\n      var text = JSON.stringify(members[place]);\n"
            "      if (!Object.prototype.hasOwnProperty.call(seen, text)) { emit(members[place], null); }\n"
            "      seen[text] = true;\n    }"
        )


def derived_keys(
    cls_name: str, properties: Mapping[str, Property], fields: Mapping[str, FieldInfo]
) -> dict[str, Derived]:
    """The derived keys that a model declares, by the name in queries.

    Args:
        cls_name: for the messages.
        properties: the model's.
        fields: pydantic's, by attribute.

    Raises:
        ModelDefinitionError: a property has no such keys.
    """
    found: dict[str, Derived] = {}
    for name, each in properties.items():
        if each.computed or each.write_only:
            continue
        field = fields[each.attribute]
        for marker in field.metadata:
            if isinstance(marker, Indexed) and marker.prefix:
                found[f"{name}[prefix]"] = _prefix(cls_name, each, field)
            if isinstance(marker, Indexed) and marker.members:
                found[f"{name}[contains]"] = _members(cls_name, each, field)
        if not each.protected:
            found |= {key.name: key for key in _nested(cls_name, each, field.annotation, (), ())}
    taken = sorted(found.keys() & properties.keys())
    if taken:
        raise ModelDefinitionError(f"{cls_name}: an index would have the name of the property {taken[0]!r}")
    return found


def _prefix(cls_name: str, declared: Property, field: FieldInfo) -> Derived:
    adapter = _adapter(field)
    if declared.protected or declared.stamp or _kind(adapter) != {"str"} or sort_key_of(adapter):
        raise ModelDefinitionError(
            f"{cls_name}: property {declared.name!r}: prefix=True is for text that is stored as it is"
        )
    return Derived(f"{declared.name}[prefix]", f"{declared.name}_prefix", "prefix", declared, adapter)


def _members(cls_name: str, declared: Property, field: FieldInfo) -> Derived:
    (member, *_) = [*_arguments_of(field.annotation, list), None]
    adapter = None if member is None else TypeAdapter(member)
    fits = adapter is not None and _kind(adapter) <= _SCALARS and sort_key_of(adapter) is None
    if adapter is None or declared.protected or not fits:
        raise ModelDefinitionError(
            f"{cls_name}: property {declared.name!r}: members=True is for a list of text, numbers, dates or the like,"
            " which is not protected"
        )
    return Derived(f"{declared.name}[contains]", f"{declared.name}_members", "members", declared, adapter)


def _nested(
    cls_name: str, declared: Property, annotation: Any, path: tuple[str, ...], seen: tuple[Any, ...]
) -> Iterator[Derived]:
    """The indexed properties of nested models; a list of models has none, since it has many of each."""
    for inner in _alternatives(annotation):
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)) or inner in seen or len(path) == _DEEPEST:
            continue
        for attribute, field in inner.model_fields.items():
            place = (*path, field.alias or attribute)
            if any(isinstance(marker, Indexed) for marker in field.metadata):
                adapter = _adapter(field)
                if not _kind(adapter) <= _SCALARS or sort_key_of(adapter):
                    raise ModelDefinitionError(
                        f"{cls_name}: {'.'.join([declared.name, *place])!r} cannot be indexed in a nested model: that"
                        " is for text, numbers, dates and the like"
                    )
                default = adapter.dump_python(field.default, mode="json") if not field.is_required() else None
                name = ".".join([declared.name, *place])
                yield Derived(name, name, "nested", declared, adapter, place, _plain(default))
            yield from _nested(cls_name, declared, field.annotation, place, (*seen, inner))


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | float | bool) else None


def _adapter(field: FieldInfo) -> TypeAdapter[Any]:
    annotation: Any = field.annotation
    annotated: Any = Annotated
    return TypeAdapter(annotated[(annotation, *field.metadata)] if field.metadata else annotation)


def _kind(adapter: TypeAdapter[Any]) -> set[str]:
    """The kinds of pydantic's core schema that the values have, without those that only wrap another."""
    found, todo = set(), [adapter.core_schema]
    while todo:
        schema: Any = todo.pop()
        if schema["type"] == "union":
            todo += [each[0] if isinstance(each, tuple) else each for each in schema["choices"]]
        elif "schema" in schema:
            todo.append(schema["schema"])
        else:
            found.add(schema["type"])
    return found - {"none"}


def _alternatives(annotation: Any) -> Iterator[Any]:
    """The types that a value may have: those of a union, without what is annotated on them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for each in get_args(annotation):
            yield from _alternatives(each)
    else:
        yield annotation


def _arguments_of(annotation: Any, origin: type) -> Iterator[Any]:
    for each in _alternatives(annotation):
        if get_origin(each) is origin:
            yield from get_args(each)
