"""A quick yes from `jsonschema-rs`, where that is installed (extra `fast`): what it finds valid needs no second look.

It may never say yes where `jsonschema` says no. So patterns and formats, in which the two differ, are judged by the
very functions that `jsonschema` uses, and a schema with a keyword that is not known to mean the same to both is left
to `jsonschema` alone. What is wrong with a body, too, only that one says: the list is the same with and without.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

from jsonschema import FormatChecker

try:
    import jsonschema_rs
except ImportError:
    jsonschema_rs = None  # type: ignore[assignment, unused-ignore]

__all__ = ["quick_check"]

Schema = dict[str, Any]

_ANNOTATIONS = {"$comment", "$schema", "default", "deprecated", "description", "discriminator", "examples", "readOnly",
                "title", "writeOnly"}  # fmt: skip
_VALUES = {"const", "enum", "exclusiveMaximum", "exclusiveMinimum", "format", "maxItems", "maxLength", "maxProperties",
           "maximum", "minItems", "minLength", "minProperties", "minimum", "pattern", "required", "type",
           "uniqueItems"}  # fmt: skip
_BY_NAME = {"$defs", "properties"}
_LISTS = {"allOf", "anyOf", "oneOf", "prefixItems"}
_SINGLE = {"additionalProperties", "items", "not", "propertyNames"}


def quick_check(schema: Schema, formats: FormatChecker) -> Callable[[Any], bool] | None:
    """What tells of a value whether it certainly is valid.

    Args:
        schema: the schema (2020-12).
        formats: the formats that are checked.

    Returns:
        A function; False from it says nothing. None where `jsonschema-rs` is not installed, or cannot be relied on
        for this schema.
    """
    if jsonschema_rs is None or not all(map(_is_known, _parts(schema))):
        return None
    ours = copy.deepcopy(schema)
    checks: dict[str, Callable[[str], bool]] = {}
    for part in list(_parts(ours)):
        if "format" in part:
            checks[part["format"]] = functools.partial(_conforms, formats, part["format"])
        if "pattern" in part:
            name = f"pattern {part.pop('pattern')}"
            checks[name] = functools.partial(_matches, name.removeprefix("pattern "))
            part["allOf"] = [*part.get("allOf", ()), {"format": name}]
    try:
        validator = jsonschema_rs.Draft202012Validator(ours, formats=checks, validate_formats=True)
    except ValueError:
        return None  # it takes the schema for none; what that means is for `jsonschema` to say
    return functools.partial(_is_valid, validator)


def _is_valid(validator: Any, value: Any) -> bool:
    try:
        return bool(validator.is_valid(value))
    except ValueError:
        return False  # a value that it cannot read


def _conforms(formats: FormatChecker, name: str, text: str) -> bool:
    return bool(formats.conforms(text, name))


def _matches(pattern: str, text: str) -> bool:
    return re.search(pattern, text) is not None


def _parts(schema: Any) -> Iterator[Schema]:
    """A schema and all those within it."""
    if not isinstance(schema, dict):
        return
    yield schema
    for keyword, value in list(schema.items()):
        if keyword in _SINGLE:
            yield from _parts(value)
        elif keyword in _LISTS or keyword in _BY_NAME:
            for each in value.values() if keyword in _BY_NAME else value:
                yield from _parts(each)


def _is_known(part: Schema) -> bool:
    known = part.keys() <= _ANNOTATIONS | _VALUES | _BY_NAME | _LISTS | _SINGLE | {"$ref"}
    # References to anywhere else would be fetched, or resolved by other rules.
    return known and str(part.get("$ref", "#/")).startswith("#/")
