"""Checks that each property of a model reads back as it was stored; done once, when the class is defined; pure.

Values of each kind that a type allows are stored and read again. A property for which that gives another value would
lose data without anybody noticing, so its class is refused, with what to write instead.
"""

from __future__ import annotations

import contextlib
import decimal
import difflib
import enum
import itertools
import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError as SchemaFault
from pydantic import BaseModel, ConfigDict, PydanticUserError, TypeAdapter, ValidationError, WithJsonSchema
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticUndefined

from ..errors import ModelDefinitionError
from .forms import Field, Fields, Schema, authors_functions, has_own_serializer, is_foreign, schema_nodes
from .properties import Property
from .samples import samples, samples_of_schema

__all__ = ["check_defaults", "check_described", "check_options", "check_order", "check_round_trip", "same"]


def check_options(cls_name: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse class arguments that nobody knows: a misspelt `unique=True` would silently promise nothing.

    Raises:
        ModelDefinitionError: with the nearest option that exists.
    """
    for name in given:
        near = difflib.get_close_matches(name, known, 1, 0.5)
        hint = f"; did you mean `{near[0]}`?" if near else f"; the options are {', '.join(sorted(known))}"
        raise ModelDefinitionError(f"{cls_name}: unknown option `{name}`{hint}")


def check_round_trip(
    cls_name: str,
    properties: Mapping[str, Property],
    fields: Mapping[str, FieldInfo],
    adapters: Mapping[str, TypeAdapter[Any]],
    own: Mapping[str, Field],
    config: ConfigDict,
) -> None:
    """Refuse properties, and settings of the class, with which a stored document does not give back its values.

    Args:
        cls_name: for the messages.
        properties: the model's.
        fields: pydantic's, by attribute.
        adapters: of the annotations, by the name in JSON.
        own: of the properties that are read, as the class itself reads and writes them, by the name in JSON.
        config: the class's `model_config`.

    Raises:
        ModelDefinitionError: naming the property, why, and what to write instead.
    """
    if config.get("frozen"):
        raise ModelDefinitionError(
            f"{cls_name}: with frozen=True the store could not set the time stamps; mark single properties ReadOnly()"
        )
    if config.get("allow_inf_nan"):
        raise ModelDefinitionError(
            f"{cls_name}: JSON has neither infinity nor NaN; drop allow_inf_nan from model_config"
        )
    if config.get("extra") == "allow":
        raise ModelDefinitionError(
            f'{cls_name}: with extra="allow" unknown properties would be accepted and then dropped; declare a property'
            " of type dict[str, JsonValue] for them (what other programs add to a document is kept anyway)"
        )
    for name, each in properties.items():
        fault = _named_twice(fields[each.attribute], name) or _unlike(adapters[name], own.get(name))
        if fault:
            raise ModelDefinitionError(f"{cls_name}: property {name!r} {fault}")


def check_defaults(
    cls_name: str, properties: Mapping[str, Property], fields: Mapping[str, FieldInfo], read: Fields
) -> None:
    """Refuse a default that is not a value of its property, which pydantic does not look at.

    Args:
        cls_name: for the messages.
        properties: those that are read, by the name in JSON.
        fields: pydantic's, by attribute.
        read: the properties as they are read.

    Raises:
        ModelDefinitionError: naming the property and what to write instead.
    """
    for name, each in properties.items():
        default = _default(fields[each.attribute])
        if default is None or default is PydanticUndefined or each.protected:
            continue
        try:
            stored = json.loads(json.dumps(read[each.attribute].dump_python(default)))
            again = read[each.attribute].validate_python(stored)
        except Exception:  # noqa: BLE001 - whatever a function of the author's raises
            again = PydanticUndefined
        if not _same(default, again):
            example = "" if again is PydanticUndefined else f", such as {_shown(again)}"
            raise ModelDefinitionError(
                f"{cls_name}: property {name!r} has a default, {_shown(default)}, that does not read back as it is"
                f" stored; write a value of the property's type{example}"
            )


def _default(field: FieldInfo) -> Any:
    if field.default_factory is None or getattr(field, "default_factory_takes_validated_data", False):
        return field.default
    try:
        return field.get_default(call_default_factory=True)
    except Exception:  # noqa: BLE001 - whatever a factory of the author's raises
        return PydanticUndefined


def check_order(
    cls_name: str,
    adapters: Mapping[str, TypeAdapter[Any]],
    sorted_by: Iterable[str],
    *,
    use: str = "cannot be indexed",
    equality_only: bool = False,
) -> None:
    """Refuse an index of a property whose stored form sorts otherwise than its values, or has no one form.

    Args:
        cls_name: for the messages.
        adapters: by the name in JSON.
        sorted_by: the names in JSON of the properties that are indexed.
        use: what the property cannot be, for the messages.
        equality_only: nothing is sorted, so it is enough that equal values are stored alike.

    Raises:
        ModelDefinitionError: naming the property and what to write instead.
    """
    for name in sorted_by:
        fault = _unordered(adapters[name], equality_only)
        if fault:
            raise ModelDefinitionError(f"{cls_name}: property {name!r} {use}: {fault}")


def _unordered(adapter: TypeAdapter[Any], equality_only: bool) -> str:
    schema = adapter.core_schema
    if any(node["type"] in ("set", "frozenset") for node in schema_nodes(schema)):
        return "a set has no order in JSON, so that equal sets would not be found; declare it as a list"
    values: list[tuple[Any, Any]] = []
    for sample in samples_of_schema(schema):
        try:
            value = adapter.validate_python(sample)
            values += _leaves(value, adapter.dump_python(value, mode="json", warnings=False))
        except Exception:  # noqa: BLE001, S112 - no value of the type, or one that check_round_trip refuses
            continue
    for (one, stored), (other, other_stored) in itertools.combinations(values, 2):
        if not _sorts_alike(one, other, stored, other_stored, equality_only):
            return (
                f"{_shown(one)} and {_shown(other)} are stored as {_shown(stored)} and {_shown(other_stored)}, which"
                " sort or compare otherwise; store a number, or text of a fixed width"
            )
    return ""


def _leaves(value: Any, stored: Any) -> Iterator[tuple[Any, Any]]:
    """The parts of a value that are not containers, each with its stored form."""
    if isinstance(value, BaseModel) and isinstance(stored, dict):
        value = value.__dict__
    if isinstance(value, dict) and isinstance(stored, dict):
        for one, other in zip(value.values(), stored.values(), strict=False):
            yield from _leaves(one, other)
    elif isinstance(value, list | tuple | deque) and isinstance(stored, list):
        for one, other in zip(value, stored, strict=False):
            yield from _leaves(one, other)
    else:
        yield value, stored


def _sorts_alike(one: Any, other: Any, stored: Any, other_stored: Any, equality_only: bool) -> bool:
    if type(one) is not type(other) or isinstance(one, str) or type(stored) is not type(other_stored):
        return True  # CouchDB's own order, which is the order that lists promise
    if (one == other) != (stored == other_stored):
        return False
    try:
        return equality_only or bool((one < other) == (stored < other_stored))
    except TypeError:  # values without an order of their own, such as an enum's members
        return True


def check_described(cls: type[BaseModel], properties: Mapping[str, Property], own: Mapping[str, Field]) -> None:
    """Refuse a property whose stored form is another than the JSON Schema of a body has: GET's answer would be no PUT.

    The author may have a hand in one of them by functions, settings or a schema of his own; the others are plain.

    Args:
        cls: the model.
        properties: those that are read, by the name in JSON.
        own: the same, as the class reads and writes them.

    Raises:
        ModelDefinitionError: naming the property and what to write instead.
    """
    altered = any(name.startswith(("json_", "ser_", "val_")) for name in cls.model_config)
    functions = [name for name in properties if altered or _has_functions(own[name])]
    worded = [name for name in properties if own[name].json_schema_altered or _has_own_words(own[name])]
    if not functions and not worded:
        return
    whole = _json_schema(cls, properties, own)
    for name in dict.fromkeys((*functions, *worded)):
        validator = Draft202012Validator({**whole["properties"][name], "$defs": whole.get("$defs", {})})
        for stored in _stored_samples(own[name]):
            # Where the author words the schema, it may demand more than the type does, but no other type.
            if any(each.validator == "type" or name in functions for each in _errors(validator, stored)):
                raise ModelDefinitionError(
                    f"{cls.__name__}: property {name!r} is stored as {_shown(stored)}, which its JSON Schema does not"
                    " allow; declare the keys of a dict as str, give the BeforeValidator, or the like,"
                    " json_schema_input_type=…, the type of that form, or drop the setting that alters either of them"
                )


def _stored_samples(one: Field) -> Iterator[Any]:
    for sample in samples(one):
        with contextlib.suppress(Exception):  # of samples that are not values of the property
            yield json.loads(json.dumps(one.dump_python(one.validate_python(sample))))


def _errors(validator: Draft202012Validator, stored: Any) -> list[SchemaFault]:
    try:
        return list(validator.iter_errors(stored))
    except Exception:  # noqa: BLE001 - a pattern that Python cannot read
        return []


def _json_schema(cls: type[BaseModel], properties: Iterable[str], own: Mapping[str, Field]) -> dict[str, Any]:
    """The JSON Schema of a model's bodies, which has all of its properties."""
    try:
        whole = cls.model_json_schema(by_alias=True, mode="validation")
    except PydanticUserError as error:
        name = next((name for name in properties if not _has_json_schema(own[name])), "")
        raise ModelDefinitionError(
            f"{cls.__name__}: property {name!r} has a type that JSON Schema has no words for ({error.message});"
            " give it a __get_pydantic_json_schema__, or annotate it WithJsonSchema(…)"
        ) from None
    if "properties" not in whole and "$ref" in whole:
        whole = {**whole["$defs"][whole["$ref"].rpartition("/")[2]], "$defs": whole["$defs"]}
    missing = next((name for name in properties if name not in whole.get("properties", ())), None)
    if missing is not None:
        raise ModelDefinitionError(
            f"{cls.__name__}: property {missing!r} is not in the class's JSON Schema; make json_schema_extra leave it"
        )
    return whole


def _has_json_schema(one: Field) -> bool:
    try:
        GenerateJsonSchema().generate(one.core_schema)
    except PydanticUserError:
        return False
    return True


def _has_functions(one: Field) -> bool:
    return any(
        "serialization" in each
        or each["type"].startswith("function-")
        or (each["type"] == "dict" and each.get("keys_schema", {}).get("type", "str") != "str")
        for each in schema_nodes(one.core_schema)
    )


def _has_own_words(one: Field) -> bool:
    """Whether the author says something of the JSON Schema of a part."""
    metadata = [each.get("metadata") or {} for each in schema_nodes(one.core_schema)]
    names = ("pydantic_js_functions", "pydantic_js_annotation_functions")
    functions = [function for each in metadata for name in names for function in each.get(name, ())]
    return any("pydantic_js_extra" in each for each in metadata) or any(map(_is_worded, functions))


def _is_worded(function: Any) -> bool:
    return is_foreign(function) or isinstance(getattr(function, "__self__", None), WithJsonSchema)


def _named_twice(field: FieldInfo, name: str) -> str:
    if field.exclude:
        return "has exclude=True and would never be stored; use WriteOnly() to keep it from clients"
    if getattr(field, "exclude_if", None):
        return "has exclude_if and would not always be stored; drop it"
    for other in (field.serialization_alias, field.validation_alias):
        if other not in (None, name):
            return "is stored and read under different names; use Field(alias=…) for both"
    return ""


def _unlike(adapter: TypeAdapter[Any], own: Field | None) -> str:
    """What is wrong with a type that some value of it does not come back from; empty where all do."""
    try:
        schema = adapter.core_schema
        if unstorable := next((hint for node in schema_nodes(schema) if (hint := _UNSTORABLE.get(node["type"]))), None):
            return unstorable
        if _is_arbitrary(schema):
            return "holds objects that cannot be stored; declare a model or a dataclass"
        if lossy := next((hint for node in schema_nodes(schema) if (hint := _lossy(node))), None):
            return lossy
        if any(_is_nested_datetime(node) for node in schema_nodes(schema)):
            return "holds a datetime inside a nested model, whose text would not sort; declare it as Timestamp there"
        for sample in samples(adapter) if own is None else samples(own):
            fault = _difference(own or adapter, sample)
            if fault:
                return f"{fault}; {_advice(schema if own is None else own.core_schema, own is not None and own.strict)}"
    except RecursionError:
        return "has a type that nests too deeply to be checked"
    return ""


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types, within containers as well."""
    return one == other if type(one) is type(other) is str else _same(one, other)


def _is_arbitrary(schema: Schema) -> bool:
    """Whether a type takes instances of a class that nothing writes or reads (`arbitrary_types_allowed`)."""
    nodes = list(schema_nodes(schema))
    if any(each["type"].startswith(("function-", "json-or-", "lax-or-")) for each in nodes):
        return False
    return any(each["type"] == "is-instance" and "serialization" not in each for each in nodes)


def _lossy(node: dict[str, Any]) -> str:
    """What is wrong with a part of a type whose samples alone would not show it; empty where nothing is."""
    kind = node["type"]
    if kind == "enum" and issubclass(node["cls"], enum.Flag):
        return "is a Flag, whose combinations its JSON Schema does not have; declare it as a list of an Enum's members"
    if kind == "dataclass-field" and node.get("init") is False:
        return "has a dataclass whose field is stored and cannot be given (init=False); make it a property of the class"
    if kind in _FIELDS:
        fields = node["fields"]
        pairs = fields.items() if isinstance(fields, dict) else ((each["name"], each) for each in fields)
        return next((hint for name, each in pairs if (hint := _renamed(name, each))), "")
    if kind == "dict" and any(map(_is_unhashable, schema_nodes(node.get("keys_schema")))):
        return "has keys that cannot be hashed; declare them as str"
    if kind == "function-plain" and getattr(node["function"]["function"], "__name__", "").startswith("pattern_"):
        return "is a compiled pattern, whose flags would be lost; declare it as str"
    return ""


def _is_unhashable(node: dict[str, Any]) -> bool:
    return node["type"] in ("model", "dataclass") and node["cls"].__hash__ is None


def _renamed(name: str, field: dict[str, Any]) -> str:
    """What is wrong with a nested field that is read under another name than it is written."""
    if field.get("serialization_exclude") or field.get("serialization_exclude_if"):
        return f"has a nested field {name!r} that is not stored; drop its `exclude`"
    written, read = field.get("serialization_alias") or name, field.get("validation_alias") or name
    first = read[0] if isinstance(read, list) else read  # of several names, JSON Schema has the first
    if first in (written, [written]):
        return ""
    return f"has a nested field {name!r} that is stored and read under different names; use Field(alias=…) for both"


def _is_nested_datetime(node: dict[str, Any]) -> bool:
    """Whether a part is a nested model with a datetime that has no serializer: `Model` has no hand in those."""
    return node["type"] in _NESTED and any(
        each["type"] == "datetime" and "serialization" not in each for each in schema_nodes(node)
    )


def _difference(adapter: Field | TypeAdapter[Any], sample: object) -> str:
    try:
        value = adapter.validate_python(sample)
    except ValidationError:
        return ""
    except Exception as error:  # noqa: BLE001 - a validator of the author's may raise anything for what is only a guess
        return "" if _has_foreign(adapter.core_schema) else f"cannot take a value ({error})"
    try:
        stored = json.loads(json.dumps(adapter.dump_python(value, mode="json", warnings=False), allow_nan=False))
    except Exception as error:  # noqa: BLE001 - likewise a serializer
        return f"cannot be stored as JSON ({type(error).__name__})"
    try:
        again = adapter.validate_python(stored)
    except ValidationError:
        return f"is stored in a form that it does not accept ({_shown(stored)})"
    except Exception:  # noqa: BLE001
        return f"has a validator that fails for its stored form ({_shown(stored)})"
    if not _same(value, again):
        return f"does not read back as it was stored: {_shown(value)} becomes {_shown(again)}"
    return ""


def _has_foreign(schema: Schema) -> bool:
    """Whether a type runs a function of its author, that of a class with a schema of its own included."""
    return bool(authors_functions(schema)) or any(each["type"] == "function-plain" for each in schema_nodes(schema))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types, within containers as well."""
    if type(one) is not type(other):
        return {type(one), type(other)} == {int, float} and one == other  # JSON has one kind of numbers
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, BaseModel):
        return _same(one.__dict__, other.__dict__) and _same(one.model_extra, other.model_extra)
    if isinstance(one, decimal.Decimal) and one.is_nan():  # one kind of which cannot even be compared
        return other.is_nan() is True
    return bool(one == other or (one != one and other != other))


_FIELDS = ("model-fields", "dataclass-args", "typed-dict")
_NESTED = ("model", "dataclass", "typed-dict", "named-tuple", "call")

_UNSTORABLE = {
    "json": "is read from JSON text and stored as a value; declare the type inside Json[…] instead",
    "callable": "holds a function, which cannot be stored; store its name",
    "is-subclass": "holds a class, which cannot be stored; store its name",
    "generator": "holds an iterator, which can be read once; declare it as a list",
}


def _advice(schema: Schema, strict: bool) -> str:
    """What to write instead, by the first part of the type that is known to lose something."""
    nodes = list(schema_nodes(schema))
    if "Secret" in str(schema):
        return "declare it as str with Encrypted(), Hashed() or WriteOnly(), which hide it as well"
    if any(each.get("tz_constraint") == "naive" for each in nodes):
        return "declare it as a datetime, which is stored in UTC"
    if any(each["type"] == "bytes" for each in nodes):
        return "declare it as pydantic's Base64Bytes"
    if any(map(has_own_serializer, nodes)):
        return "drop its serializer, or add a validator that turns the stored form back into the value"
    if any(each["type"] in ("union", "tagged-union") for each in nodes):
        return "two forms of the union look the same in JSON: declare one of them, or a discriminated union"
    if strict or any(each.get("strict") or (each.get("config") or {}).get("strict") for each in nodes):
        return "drop `strict`, since JSON has text for this type"
    if _has_foreign(schema):
        return "its validator changes its own result; make it leave a value alone that it returned before"
    return "declare a type that JSON can hold, with defaults that are values of it"
