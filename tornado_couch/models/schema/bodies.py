"""The JSON Schema (2020-12) of a model's request bodies, and validation against it; pure."""

from __future__ import annotations

import copy
import functools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from functools import cache
from ipaddress import IPv6Address
from typing import Any, Literal

from jsonschema import Draft202012Validator, FormatChecker, validators
from jsonschema.exceptions import SchemaError as InvalidSchema
from jsonschema.exceptions import ValidationError as SchemaError
from pydantic import PydanticUserError, TypeAdapter, ValidationError
from pydantic_core import SchemaError as CoreSchemaError
from pydantic_core import SchemaValidator, core_schema

from ... import _json
from ...errors import ValidationFailed
from ..model import Model, model_info
from ..pointers import faults, json_pointer, shortened
from ..timestamps import is_timestamp
from ..views.sort_keys import EXACT

__all__ = ["Action", "ValueSchema", "body_problems", "body_schema", "quick_check"]

Action = Literal["create", "replace"]
_MOST_LISTED = 20  # values of an enum
Problem = dict[str, str]

# A collection's items carry these two, so a body that was read there may hold them; they are ignored. So are those
# that a list of what is deleted, or of versions, adds.
_IGNORED = ("_href", "_etag")
_IGNORED_OF_KEPT = ("_deleted_on", "_version", "_written_on")


# RFC 3339 §5.6, `partial-time` with an offset or without one.
_TIME = re.compile(r"\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)


@cache
def body_schema(cls: type[Model], action: Action) -> dict[str, Any]:
    """The schema of the body that creates or replaces a document. Do not change what comes back.

    A "create" has no read-only properties. In a "replace" they are optional, since what was
    read may be sent back; that they have the stored value is for the caller to check.
    """
    info = model_info(cls)
    schema = cls.model_json_schema(by_alias=True, mode="validation")
    if "properties" not in schema:  # a model that has itself for a part is a reference to its own definition
        schema = {**copy.deepcopy(schema["$defs"][schema["$ref"].rpartition("/")[2]]), "$defs": schema["$defs"]}
    for part in (schema, *schema.get("$defs", {}).values()):
        # An unknown member that was silently dropped would be a client's typing error unseen.
        if "properties" in part:
            part.setdefault("additionalProperties", False)
    for name, each in info.given.items():
        if each.read_only and action == "create":
            del schema["properties"][name]
        elif each.read_only:
            schema["properties"][name].update(readOnly=True)
            schema["properties"][name].pop("default", None)
        elif each.write_only:
            schema["properties"][name].update(writeOnly=True)
    files = info.attachments.items()
    schema["properties"] |= {name: declared.body_schema(create=action == "create") for name, declared in files}
    _limit_integers([schema["properties"][name] for name in info.indexed & schema["properties"].keys()])
    ignored = (*_IGNORED, *(_IGNORED_OF_KEPT if info.restorable else ()))
    schema["properties"] |= {name: {"readOnly": True} for name in ignored}
    if action == "replace":
        _ignore_computed(cls, schema)
    optional = {*info.attachments, *(each.name for each in info.properties.values() if each.read_only)}
    if action == "replace":  # the URL says the key, and write-only properties cannot have been seen
        optional |= {each.name for each in info.properties.values() if each == info.key or each.write_only}
    schema["required"] = [name for name in schema.get("required", []) if name not in optional]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _limit_integers(found: list[dict[str, Any]]) -> None:
    """Say of properties that documents are found by which integers views hold exactly; no others are stored."""
    for branch in [branch for schema in found for branch in (schema, *schema.get("anyOf", ()))]:
        if branch.get("type") == "integer":
            if "exclusiveMaximum" not in branch:
                branch["maximum"] = min(branch.get("maximum", EXACT), EXACT)
            if "exclusiveMinimum" not in branch:
                branch["minimum"] = max(branch.get("minimum", -EXACT), -EXACT)


def _ignore_computed(cls: type[Model], schema: dict[str, Any]) -> None:
    """Let a body have what is computed, in nested models as well: it was shown, and follows from the rest anyway."""
    info, shown = model_info(cls), cls.model_json_schema(by_alias=True, mode="serialization")
    computed = [*info.shown, *(each.name for each in info.properties.values() if each.computed)]
    schema["properties"] |= {name: {"readOnly": True} for name in computed}
    for name, part in schema.get("$defs", {}).items():
        written = shown.get("$defs", {}).get(name, {}).get("properties", {})
        if "properties" in part:
            more = [each for each in written if written[each].get("readOnly") and each not in part["properties"]]
            part["properties"] |= {each: {"readOnly": True} for each in more}


@cache
def _formats() -> FormatChecker:
    """The formats that are checked: the same ones whatever other packages are installed, as for date-time."""
    checker = FormatChecker(formats=())
    checker.checkers = dict(Draft202012Validator.FORMAT_CHECKER.checkers)
    # Pydantic's `time` may be without an offset, and is written so, although RFC 3339 demands one.
    checker.checks("time")(lambda value: not isinstance(value, str) or _TIME.fullmatch(value) is not None)
    # RFC 4291 has no zones ("fe80::1%eth0"), which Python's addresses can have.
    checker.checks("ipv6", ValueError)(lambda value: not isinstance(value, str) or bool(IPv6Address(value)))
    checker.checks("date-time")(lambda value: not isinstance(value, str) or is_timestamp(value))
    return checker


@cache
def _validator(cls: type[Model], action: Action) -> Any:
    return _Validator(_checkable(body_schema(cls, action)), format_checker=_formats())


@cache
def _quick_check(cls: type[Model], action: Action) -> Callable[[Any], bool] | None:
    return quick_check(_checkable(body_schema(cls, action)), _formats())


def _checkable(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema without patterns that Python cannot read, such as `\\p{L}`; pydantic itself checks those."""
    found = copy.deepcopy(schema)
    for part in _parts(found):
        try:
            re.compile(part.get("pattern", ""))
        except re.error:
            del part["pattern"]
    return found


def _multiple_of(_: Any, step: Any, value: Any, __: Any) -> Iterator[SchemaError]:
    """`multipleOf` in decimal arithmetic: in that of floats 19.99 would be no multiple of 0.01."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    if (isinstance(value, float) and not math.isfinite(value)) or Fraction(str(value)) % Fraction(str(step)):
        yield SchemaError(f"not a multiple of {step}")


def _unique_items(_: Any, unique: Any, value: Any, __: Any) -> Iterator[SchemaError]:
    """`uniqueItems` by one text for each item: comparing each with each takes minutes for some thousand objects."""
    if unique and isinstance(value, list) and len({_canonical(each) for each in value}) < len(value):
        yield SchemaError("has an item twice")


def _canonical(value: Any) -> str:
    """The same text for values that JSON Schema takes for equal (Core §4.2.2): 1 and 1.0, but not true."""
    return json.dumps(_numbers(value), sort_keys=True)


def _numbers(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _numbers(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_numbers(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@cache
def _matcher(pattern: str) -> Callable[[str], bool]:
    """What tells whether a pattern occurs in a text.

    Pydantic's engine, Rust's, takes a time that is linear in the length of the text. Python's, which can take years
    for `(a+)+$`, is only used for what Rust's cannot read, such as look-around.
    """
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern)).isinstance_python
    except CoreSchemaError:
        compiled = re.compile(pattern)
        return lambda text: compiled.search(text) is not None


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[SchemaError]:
    if isinstance(value, str) and not _matcher(pattern)(value):
        yield SchemaError("does not match the pattern")


def _pattern_properties(validator: Any, patterns: dict[str, Any], value: Any, _: Any) -> Iterator[SchemaError]:
    for pattern, schema in patterns.items() if isinstance(value, dict) else ():
        for name in filter(_matcher(pattern), value):
            yield from validator.descend(value[name], schema, path=name, schema_path=pattern)


_Validator: Any = validators.extend(
    Draft202012Validator,
    {
        "multipleOf": _multiple_of,
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "uniqueItems": _unique_items,
    },
)


def body_problems(cls: type[Model], action: Action, body: Any) -> list[Problem]:
    """Everything that is wrong with a body; an empty list when it is valid.

    Returns:
        One dict for each fault: `pointer` (RFC 6901, into the body), `keyword` (of JSON Schema, or
        "readOnly") and `detail`, a sentence that does not repeat the value.

    Raises:
        RecursionError: the body is nested too deeply to be checked.
    """
    is_valid = _quick_check(cls, action)
    if is_valid is not None and is_valid(body):
        return []
    info = model_info(cls)
    read_only = {each.name for each in (*info.properties.values(), *info.shown.values()) if each.read_only}
    return _listed_once(_validator(cls, action), body, read_only)


def _listed_once(validator: Any, value: Any, read_only: set[str]) -> list[Problem]:
    found: dict[tuple[str, str], Problem] = {}
    for error in _leaves(validator.iter_errors(value)):
        for problem in _problems(error, read_only):
            found.setdefault((problem["pointer"], problem["keyword"]), problem)
    return list(found.values())


class ValueSchema:
    """The schema of a JSON value that is no document, such as the body of an action of the service.

    Args:
        of: a type that pydantic knows, such as a `BaseModel`; or a JSON Schema (2020-12).

    Attributes:
        schema: the JSON Schema. An object whose type does not say whether it takes further members takes none.

    Raises:
        ValueError: pydantic has no JSON Schema for the type, or the JSON Schema is not valid.
    """

    def __init__(self, of: Any) -> None:
        self._type = None if isinstance(of, dict) else TypeAdapter(of)
        try:
            self.schema: dict[str, Any] = of if self._type is None else self._type.json_schema(mode="validation")
            Draft202012Validator.check_schema(self.schema)
        except (PydanticUserError, InvalidSchema) as error:
            raise ValueError(f"{of!r} has no valid JSON Schema: {error}") from None
        for part in _parts(self.schema) if self._type is not None else ():
            if "properties" in part:
                part.setdefault("additionalProperties", False)
        self._validator = _Validator(_checkable(self.schema), format_checker=_formats())

    def read(self, value: Any) -> Any:
        """Return the Python value that a JSON value stands for; for a JSON Schema, that is the value itself.

        Raises:
            ValidationFailed: with every fault that is found.
        """
        if problems := _listed_once(self._validator, value, set()):
            raise ValidationFailed(problems)
        if self._type is None:
            return value
        try:
            return self._type.validate_json(_json.dumps(value))
        except ValidationError as error:
            raise ValidationFailed(faults(error, value)) from None


def _leaves(errors: Iterable[SchemaError]) -> Iterator[SchemaError]:
    """The errors, with those of a union replaced by what the branch finds wrong that is meant."""
    for error in errors:
        meant = _meant_branch(error) if error.validator in ("anyOf", "oneOf") else None
        if meant is None:
            yield error
        else:
            yield from _leaves(each for each in error.context or [] if each.relative_schema_path[0] == meant)


def _meant_branch(error: SchemaError) -> int | None:
    """The branch of a union that a value was meant for: the only one beside null, or the one whose tag it has."""
    branches: list[Any] = error.validator_value
    wanted = [index for index, branch in enumerate(branches) if branch != {"type": "null"}]
    if len(wanted) == 1:
        return wanted[0] if len(branches) > 1 else None
    if not isinstance(error.instance, dict):
        return None
    others = {each.relative_schema_path[0] for each in error.context or [] if _excludes(each)}
    left = [index for index in wanted if index not in others]
    return left[0] if len(left) == 1 else None


def _excludes(error: SchemaError) -> bool:
    """Whether a branch's error shows that the value is for another branch: by its tag, or as it is not an object."""
    if error.validator == "type" and not error.relative_path:
        return True
    if error.validator == "oneOf" and not error.relative_path:  # tagged unions within each other
        return _meant_branch(error) is None and all(map(_excludes, error.context or []))
    return error.validator in ("const", "enum") and len(error.relative_path) == 1


def _problems(error: SchemaError, read_only: set[str]) -> Iterator[Problem]:
    path = list(error.absolute_path)
    if error.validator == "required":
        for name in error.validator_value:
            if name not in error.instance:
                yield _problem([*path, name], "required", "This property is required.")
    elif error.validator == "additionalProperties" and error.validator_value is False:
        for name in error.instance:
            if name not in error.schema.get("properties", {}):
                yield _unexpected([*path, name], not path and name in read_only)
    elif tag := _wrong_tag(error):
        yield _problem([*path, error.schema["discriminator"]["propertyName"]], *tag)
    else:
        yield _problem(path, str(error.validator), _detail(error))


def _wrong_tag(error: SchemaError) -> tuple[str, str] | None:
    """What is wrong with the tag of an object that belongs to no branch of a tagged union."""
    tagged = error.schema.get("discriminator") if isinstance(error.schema, dict) else None
    if error.validator != "oneOf" or not tagged or not isinstance(error.instance, dict):
        return None
    if tagged["propertyName"] not in error.instance:
        return "required", "This property is required."
    return "enum", f"Must be one of {_listed(list(tagged.get('mapping', ())))}."


def _unexpected(path: list[Any], read_only: bool) -> Problem:
    if read_only:
        return _problem(path, "readOnly", "This property is read-only.")
    return _problem(path, "additionalProperties", "There is no such property.")


def _problem(path: list[Any], keyword: str, detail: str) -> Problem:
    return {"pointer": json_pointer(path), "keyword": keyword, "detail": detail}


_COUNTED = frozenset({"minLength", "maxLength", "minItems", "maxItems"})

_DETAILS = {
    "type": "Must be {}.",
    "const": "Must be {}.",
    "enum": "Must be one of {}.",
    "minLength": "Must have at least {} characters.",
    "maxLength": "Must have at most {} characters.",
    "pattern": "Must match the pattern {}.",
    "format": "Must be a valid {}.",
    "minimum": "Must be at least {}.",
    "maximum": "Must be at most {}.",
    "exclusiveMinimum": "Must be more than {}.",
    "exclusiveMaximum": "Must be less than {}.",
    "multipleOf": "Must be a multiple of {}.",
    "minItems": "Must have at least {} items.",
    "maxItems": "Must have at most {} items.",
    "uniqueItems": "Items must differ from each other.",
    "anyOf": "Fits none of the allowed forms.",
    "oneOf": "Must fit exactly one of the allowed forms.",
}


_TYPES = {
    "array": "an array",
    "boolean": "true or false",
    "integer": "an integer",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a text",
}


def _detail(error: SchemaError) -> str:
    value, keyword = error.validator_value, str(error.validator)
    if keyword == "type":
        words = " or ".join(_TYPES.get(each, each) for each in ([value] if isinstance(value, str) else value))
    else:
        words = _listed(value) if isinstance(value, list) else str(value)
    detail = _DETAILS.get(keyword, "Does not satisfy {validator}.").format(words, validator=keyword)
    if value == 1 and keyword in _COUNTED:
        detail = f"{detail.removesuffix('s.')}."
    return shortened(detail)


def _listed(values: list[Any]) -> str:
    """Some values for a sentence: all, or the first ones and how many more there are."""
    words = ", ".join(map(str, values[:_MOST_LISTED]))
    return words if len(values) <= _MOST_LISTED else f"{words} and {len(values) - _MOST_LISTED} more"


try:
    import jsonschema_rs
except ImportError:
    jsonschema_rs = None  # type: ignore[assignment, unused-ignore]

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
            checks[name] = _matcher(name.removeprefix("pattern "))
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
