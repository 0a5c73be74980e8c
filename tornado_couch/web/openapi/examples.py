"""Makes example values for a JSON Schema; a value that is not valid is never used as an example."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from .components import Schema

__all__ = ["NO_SAMPLE", "sample"]

NO_SAMPLE = object()
"""Marks that there is no example."""

_FORMATS = {
    "date-time": "2026-11-22T02:29:25.104517+00:00",
    "date": "2026-11-22",
    "time": "02:29:25.104517+00:00",
    "duration": "P1DT2H",
    "email": "ann@example.com",
    "uuid": "8e03978e-40d5-43dd-9f0e-5c2d6a1f7b30",
    "uri": "https://example.com/",
    "uri-reference": "/",
    "json-pointer": "/name",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
}
_LETTERS = ("a", "A", "1", "a1")  # the texts to try with a pattern, at each length
_LONGEST = 40
_DEEPEST = 8


def sample(schema: Schema, defs: Mapping[str, Schema], hidden: str) -> Any:
    """Make a value that a schema allows; the author's own example, if there is one.

    Args:
        schema: a schema of OpenAPI 3.1, which is JSON Schema 2020-12.
        defs: the schemas that its references name, by the last part of the reference.
        hidden: the mark of properties to leave out: "readOnly" for a request, "writeOnly" for an answer.

    Returns:
        The value; `NO_SAMPLE` if none was found.
    """
    found = _Sampler(defs, hidden).of(schema)
    if found is NO_SAMPLE:
        return found
    whole = {**schema, "components": {"schemas": dict(defs)}}
    try:
        Draft202012Validator(whole).validate(found)
    except ValidationError:
        return NO_SAMPLE
    return found


class _Sampler:
    def __init__(self, defs: Mapping[str, Schema], hidden: str) -> None:
        self._defs = defs
        self._hidden = hidden

    def of(self, schema: Any, depth: int = 0) -> Any:
        if not isinstance(schema, dict) or depth > _DEEPEST:
            return NO_SAMPLE
        if "$ref" in schema:
            return self.of(self._defs.get(schema["$ref"].rpartition("/")[2]), depth + 1)
        for keyword in ("examples", "enum"):
            if schema.get(keyword):
                return schema[keyword][0]
        for keyword in ("const", "example", "default"):
            if schema.get(keyword) is not None:
                return schema[keyword]
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                found = (self.of(each, depth + 1) for each in schema[keyword])
                return next((value for value in found if value is not NO_SAMPLE and value is not None), None)
        return self._typed(schema, depth)

    def _typed(self, schema: Schema, depth: int) -> Any:
        kinds = schema.get("type", "object" if "properties" in schema else "string")
        kind = next((each for each in kinds if each != "null"), "null") if isinstance(kinds, list) else kinds
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind in ("integer", "number"):
            return _number(schema, kind)
        return {"boolean": True, "null": None}.get(kind, NO_SAMPLE) if kind != "string" else _text(schema)

    def _object(self, schema: Schema, depth: int) -> Any:
        found = {}
        for name, inner in schema.get("properties", {}).items():
            if inner.get(self._hidden) or inner.get("deprecated"):
                continue
            value = self.of(inner, depth + 1)
            if value is not NO_SAMPLE:
                found[name] = value
        return found

    def _array(self, schema: Schema, depth: int) -> Any:
        value = self.of(schema.get("items", {"type": "string"}), depth + 1)
        return [] if value is NO_SAMPLE else [value] * max(1, schema.get("minItems", 1))


def _number(schema: Schema, kind: str) -> Any:
    step = schema.get("multipleOf", 1)
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0) + (step if "exclusiveMinimum" in schema else 0))
    high = schema.get("maximum", schema.get("exclusiveMaximum", 1) - (step if "exclusiveMaximum" in schema else 0))
    wanted = step if low <= step <= high else low if low != 0 or high >= 0 else high
    return int(wanted) if kind == "integer" else wanted


def _text(schema: Schema) -> Any:
    if "pattern" in schema:
        return _patterned(schema)
    text = _FORMATS.get(schema.get("format", ""), "text")
    least, most = schema.get("minLength", 0), schema.get("maxLength", max(len(text), schema.get("minLength", 0)))
    return text.ljust(least, "x")[:most]


def _patterned(schema: Schema) -> Any:
    try:
        pattern = re.compile(schema["pattern"])
    except re.error:  # the pattern is one of JavaScript that Python does not understand
        return NO_SAMPLE
    for length in range(schema.get("minLength", 0), min(schema.get("maxLength", _LONGEST), _LONGEST) + 1):
        for letters in _LETTERS:
            text = (letters * length)[:length]
            if pattern.search(text):
                return text
    return NO_SAMPLE
