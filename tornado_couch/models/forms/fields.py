"""The validators and serializers that pydantic made for a model, as a whole and one property at a time; pure."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterator
from typing import Any

from pydantic import BaseModel
from pydantic_core import SchemaSerializer, SchemaValidator

__all__ = [
    "AROUND",
    "Field",
    "Fields",
    "Schema",
    "Write",
    "asks_clock",
    "authors_functions",
    "changed_schema",
    "has_own_serializer",
    "is_foreign",
    "looks_for_file",
    "own_serializer",
    "own_validator",
    "schema_nodes",
    "shower",
    "timeless",
    "writer",
]

Write = Callable[..., dict[str, Any]]
Schema = Any  # a core schema of pydantic, or a part of one

AROUND = ("function-after", "function-before", "function-wrap")
"""The parts of a core schema that run a function around another part."""

_OURS = ("pydantic", "pydantic_core", "annotated_types", "tornado_couch")


def own_validator(schema: Schema, config: Any = None) -> SchemaValidator:
    """A validator that runs what the schema says, also for models inside that have validators of their own."""
    try:
        return SchemaValidator(schema, config, False)
    except TypeError:  # a pydantic from before there was a choice
        return SchemaValidator(schema, config)


def own_serializer(schema: Schema, config: Any = None) -> SchemaSerializer:
    """A serializer that does what the schema says, also for models inside that have serializers of their own."""
    try:
        return SchemaSerializer(schema, config, False)
    except TypeError:
        return SchemaSerializer(schema, config)


def schema_nodes(schema: Schema, *, computed: bool = True) -> Iterator[dict[str, Any]]:
    """The parts of a core schema that have a type, each once.

    Args:
        schema: the core schema.
        computed: go into computed fields as well.
    """
    skipped = ("serialization", "metadata") if computed else ("serialization", "metadata", "computed_fields")
    seen: set[int] = set()
    todo = [schema]
    while todo:
        each = todo.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, dict):
            if isinstance(each.get("type"), str):
                yield each
            todo += [value for key, value in each.items() if key not in skipped]
        elif isinstance(each, list | tuple):
            todo += each


def changed_schema(schema: Schema, change: Callable[[dict[str, Any], dict[str, Any]], Schema]) -> Schema:
    """A copy of a core schema.

    Args:
        schema: the core schema.
        change: is given each part and the copy of it, and says what stands in its place.
    """
    if isinstance(schema, list):
        return [changed_schema(each, change) for each in schema]
    if isinstance(schema, tuple):
        return tuple(changed_schema(each, change) for each in schema)
    if not isinstance(schema, dict):
        return schema
    copy = {name: each if name == "metadata" else changed_schema(each, change) for name, each in schema.items()}
    return change(schema, copy) if isinstance(schema.get("type"), str) else copy


def authors_functions(schema: Schema) -> list[dict[str, Any]]:
    """The parts of a core schema that run a function of the model's author around something else."""
    nodes = schema_nodes(schema, computed=False)
    return [each for each in nodes if each["type"] in AROUND and is_foreign(each["function"]["function"])]


def asks_clock(schema: Schema) -> bool:
    """Whether a type takes only what is past, or only what is to come."""
    return any("now_op" in each for each in schema_nodes(schema, computed=False))


def timeless(schema: Schema) -> Schema:
    """A copy of a core schema that does not ask the clock."""
    return changed_schema(schema, lambda _, copy: {name: each for name, each in copy.items() if name != "now_op"})


def has_own_serializer(node: dict[str, Any]) -> bool:
    """Whether a part of a core schema is written by a function of the author's."""
    function = node.get("serialization", {}).get("function")
    return function is not None and (isinstance(function, type) or is_foreign(function))


def looks_for_file(function: Any) -> bool:
    """Whether a function is one of pydantic's that judge a path by what there is: `FilePath` and its like."""
    return getattr(function, "__qualname__", "").startswith("PathType.validate")


def is_foreign(function: Any) -> bool:
    """Whether a function is neither pydantic's nor this package's; those that look for a file count as the author's."""
    while isinstance(function, functools.partial):
        function = function.func
    if isinstance(function, type):
        return False  # it makes the value, so it belongs to the type
    if looks_for_file(function):
        return True
    if (getattr(function, "__module__", None) or "").partition(".")[0] not in _OURS:
        return True
    cells = [each.cell_contents for each in getattr(function, "__closure__", None) or () if _is_set(each)]
    # A predicate: pydantic has a function of its own around it.
    inner = [getattr(each, "func", each) for each in cells]
    return any(inspect.isfunction(each) and is_foreign(each) for each in inner)


def _is_set(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # the name is not bound yet
        return False


class Field:
    """One property by itself, with all that the class says of it: its decorators and the class's settings.

    Args:
        cls: the model.
        attribute: the property's name in Python.
        schema: of the field.
        fields: the fields that it is one of.

    Attributes:
        core_schema: of the property's values, with the definitions that it refers to.
        examples: of values, as the author gives them.
        strict: the class takes no text for a date, and the like.
        json_schema_altered: its author says something of the property's JSON Schema.
    """

    def __init__(self, cls: type[BaseModel], attribute: str, schema: Schema, fields: Fields) -> None:
        self._cls = cls
        self._write = fields.write
        self._attribute = attribute
        self._name = schema.get("validation_alias", attribute)
        metadata = schema.get("metadata") or {}
        examples = metadata.get("pydantic_js_updates", {}).get("examples", ())
        self.json_schema_altered = "pydantic_js_extra" in metadata
        self.core_schema = fields.defined(schema["schema"])
        self.examples = tuple(examples)
        self.strict = bool((fields.config or {}).get("strict"))
        alone = {"type": "model-fields", "model_name": cls.__name__, "fields": {attribute: schema}}
        self._validator = own_validator(fields.defined(alone), fields.config)

    def validate_python(self, value: Any) -> Any:
        """The property's value, as the class would have it."""
        return self._validator.validate_python({self._name: value})[0][self._attribute]

    def validate_strings(self, text: str) -> Any:
        """The property's value from a text, as in a URL."""
        given: dict[str, Any] = {self._name: text}
        return self._validator.validate_strings(given)[0][self._attribute]

    def dump_python(self, value: Any, **_: Any) -> Any:
        """What is stored for a value of the property."""
        model = self._cls.model_construct()
        model.__dict__.clear()
        model.__dict__[self._attribute] = value
        (found,) = self._write(model, include={self._attribute}).values()
        return found


class Fields:
    """The fields of a model in its core schema, or in one that was made of it.

    Args:
        cls: the model.
        schema: the core schema.
        write: turns a model into what is stored.

    Attributes:
        config: the class's settings.
        write: as above.
        written_whole: the class has a serializer of its own for the whole of it.
    """

    def __init__(self, cls: type[BaseModel], schema: Schema, write: Callable[..., dict[str, Any]]) -> None:
        self._cls = cls
        self.write = write
        self._definitions = schema["definitions"] if schema["type"] == "definitions" else []
        top = next(each for each in schema_nodes(schema) if each["type"] == "model" and each["cls"] is cls)
        self.config = top.get("config")
        self.written_whole = "serialization" in top
        inner = top["schema"]
        while inner["type"] != "model-fields":  # validators of the model can stand around its fields
            inner = inner["schema"]
        self._fields = inner["fields"]

    def __getitem__(self, attribute: str) -> Field:
        return Field(self._cls, attribute, self._fields[attribute], self)

    def schema(self, attribute: str) -> Schema:
        """The core schema of one field."""
        return self._fields[attribute]

    def defined(self, schema: Schema) -> Schema:
        """A part of the core schema, with the definitions that it may refer to."""
        if not self._definitions:
            return schema
        return {"type": "definitions", "schema": schema, "definitions": self._definitions}


def writer(cls: type[BaseModel], stored: Collection[str]) -> Write:
    """What turns a model into the values that are stored, by their names in JSON.

    Computed values are left out, at the top and in nested models, except for those that are stored.

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
