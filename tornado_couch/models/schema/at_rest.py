"""The JSON Schema (2020-12) of a model's documents as CouchDB stores them; pure."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from pydantic import PydanticUserError
from pydantic.json_schema import models_json_schema

from ...errors import ModelDefinitionError
from ...security import RESERVED_PROPERTIES
from ..classification import Encrypted, Hashed
from ..model import Model, ModelInfo, model_info
from ..properties import Property
from .javascript_patterns import portable_pattern

__all__ = ["schema_at_rest"]

Schema = Any  # a JSON object, or true or false

# As `format_timestamp` writes them: whatever has another form sorts wrongly among the others.
_TIMESTAMP = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}\+00:00$"
# The forms of what `security` makes (`is_hash`, `is_encrypted`): the audit reports plaintext in their place.
_HASH = (
    r"^(?:(?:bcrypt-hmac-sha256:)?\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}"
    r"|(?:sha3-512:|hmac-sha3-512:[0-9a-f]{8}:)[A-Za-z0-9_-]{86})$"
)
_CIPHERTEXT = r"^encrypted\.v1:"
# CouchDB's own members, and those that this package keeps beside a model's properties.
_OTHERS = ("^_", "^tornado_couch[_:]", "^801dbe4659a641739cbe94fcf0baab03_")
_ANNOTATIONS = frozenset({"default", "description", "examples", "format", "title"})


@cache
def schema_at_rest(cls: type[Model]) -> dict[str, Any]:
    """The schema of a stored document of exactly the model's version. Do not change what comes back.

    - It allows what the store writes and what a model can be read from, where those differ (`Decimal`).
    - Hashed and encrypted properties have their stored form; one of a class of one's own may have any.
    - A time stamp has six decimals and the offset +00:00.
    - Members with a leading underscore or `tornado_couch_` are not the model's, nor are signatures; others are
      refused.

    Raises:
        ModelDefinitionError: a property has a type that JSON Schema has no words for.
    """
    info = model_info(cls)
    read, written, definitions = _both_ways(cls)
    properties: dict[str, Schema] = {"type": {"const": str(info.type)}}
    for name, each in info.properties.items():
        output = written["properties"][name]
        properties[name] = _stored(each, read["properties"].get(name, output), output)
        if each.blind:
            properties[each.index_member] = {"type": "string"}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **read,
        "type": "object",
        "properties": {**properties, **dict.fromkeys(sorted(RESERVED_PROPERTIES), True)},
        "patternProperties": dict.fromkeys(_OTHERS, True),
        "additionalProperties": read.get("additionalProperties", False),
        "required": _required(info, read),
    }
    portable: dict[str, Any] = _portable({**schema, "$defs": definitions} if definitions else schema)
    return portable


def _both_ways(cls: type[Model]) -> tuple[Schema, Schema, dict[str, Schema]]:
    """The schemas of what a model is read from and of what it writes, with the definitions that both refer to."""
    try:
        found, together = models_json_schema([(cls, "validation"), (cls, "serialization")], by_alias=True)
    except PydanticUserError as error:
        raise ModelDefinitionError(f"{cls.__name__}: JSON Schema has no words for it: {error.message}") from None
    definitions = dict(together["$defs"])
    names = [found[cls, mode]["$ref"].removeprefix("#/$defs/") for mode in ("validation", "serialization")]
    read, written = (definitions[name] for name in names)
    for name in dict.fromkeys(names):
        if f'"#/$defs/{name}"' not in json.dumps(list(definitions.values())):  # else a model has itself for a part
            del definitions[name]
    return read, written, definitions


def _required(info: ModelInfo, read: Schema) -> list[str]:
    """What has no default; and the key, without which a document is in no list."""
    key = [info.key.name] if info.key else []
    return list(dict.fromkeys(["type", *key, *read.get("required", [])]))


def _stored(declared: Property, read: Schema, written: Schema) -> Schema:
    if declared.protected:
        return _protected(declared, read)
    if (moment := _as_timestamp(read)) is not None:
        return moment
    return read if _bare(read) == _bare(written) else {"anyOf": [read, written]}


def _protected(declared: Property, read: Schema) -> Schema:
    if isinstance(declared.classification, Hashed):
        stored = {"type": "string", "pattern": _HASH}
        # None is not hashed; it is encrypted like any other value.
        return {"anyOf": [stored, {"type": "null"}]} if {"type": "null"} in read.get("anyOf", []) else stored
    if isinstance(declared.classification, Encrypted):
        return {"type": "string", "pattern": _CIPHERTEXT}
    return True


def _as_timestamp(schema: Schema) -> Schema:
    """The schema with a date and time in the form that it is stored in; None where it is of something else."""
    if "anyOf" in schema:
        branches = [_as_timestamp(each) for each in schema["anyOf"]]
        if not any(branches):
            return None
        return {**schema, "anyOf": [found or each for found, each in zip(branches, schema["anyOf"], strict=True)]}
    if schema.get("format") != "date-time":
        return None
    return {**schema, "pattern": _TIMESTAMP}


def _bare(schema: Schema) -> Schema:
    """A schema without what no validator looks at, as far as a property's own parts go."""
    if not isinstance(schema, dict):
        return schema
    kept = {name: value for name, value in schema.items() if name not in _ANNOTATIONS}
    return {**kept, "anyOf": [_bare(each) for each in kept["anyOf"]]} if "anyOf" in kept else kept


def _portable(schema: Schema) -> Schema:
    """The schema with patterns that mean the same to every validator."""
    if not isinstance(schema, dict):
        return schema
    return {keyword: _portable_argument(keyword, value) for keyword, value in schema.items()}


def _portable_argument(keyword: str, value: Any) -> Any:
    if keyword == "pattern":
        return portable_pattern(value)
    if keyword == "patternProperties":
        return {portable_pattern(pattern): _portable(each) for pattern, each in value.items()}
    if keyword in ("properties", "$defs"):
        return {name: _portable(each) for name, each in value.items()}
    if keyword in ("allOf", "anyOf", "oneOf", "prefixItems"):
        return [_portable(each) for each in value]
    # Of what is left, only these have schemas for arguments; a constant can look like one.
    return _portable(value) if keyword in ("additionalProperties", "items", "not", "propertyNames") else value
