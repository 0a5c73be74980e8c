"""Checks that each property of a model reads back as it was stored; done once, when the class is defined; pure.

Values of each kind that a type allows are stored and read again. A property for which that gives another value would
lose data without anybody noticing, so its class is refused, with what to write instead.
"""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import difflib
import enum
import itertools
import json
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from jsonschema import Draft202012Validator
from pydantic import BaseModel, ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from ..errors import ModelDefinitionError
from .forms import Field, schema_nodes
from .properties import Property

__all__ = ["check_described", "check_options", "check_order", "check_round_trip", "same", "samples"]

_MOST_SAMPLES = 60  # of one type; those of its parts are drawn from before they are combined
_DEEPEST = 30
_MOST_REFERENCES = 5  # within each other, that is to say of models in models

Schema = Any  # a core schema of pydantic, or a part of one


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
    if config.get("extra") == "allow":
        raise ModelDefinitionError(
            f'{cls_name}: with extra="allow" unknown properties would be accepted and then dropped; declare a property'
            " of type dict[str, JsonValue] for them (what other programs add to a document is kept anyway)"
        )
    for name, each in properties.items():
        fault = _named_twice(fields[each.attribute], name) or _unlike(adapters[name], own.get(name))
        if fault:
            raise ModelDefinitionError(f"{cls_name}: property {name!r} {fault}")


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
    for sample in _samples(schema):
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

    Only those with functions in them, or with keys that are not text, are looked at; the others are written plainly.

    Args:
        cls: the model.
        properties: those that are read, by the name in JSON.
        own: the same, as the class reads and writes them.

    Raises:
        ModelDefinitionError: naming the property and what to write instead.
    """
    special = [name for name in properties if _has_functions(own[name].core_schema)]
    if not special:
        return
    try:
        whole = cls.model_json_schema(by_alias=True, mode="validation")
    except PydanticUserError:
        return  # there is no schema that could say anything else
    if "properties" not in whole:
        whole = {**whole["$defs"][whole["$ref"].rpartition("/")[2]], "$defs": whole["$defs"]}
    for name in special:
        validator = Draft202012Validator({**whole["properties"][name], "$defs": whole.get("$defs", {})})
        for sample in samples(own[name]):
            try:
                stored = json.loads(json.dumps(own[name].dump_python(own[name].validate_python(sample))))
                described = validator.is_valid(stored)
            except Exception:  # noqa: BLE001, S112 - no value of the property, or a pattern that Python cannot read
                continue
            if not described:
                raise ModelDefinitionError(
                    f"{cls.__name__}: property {name!r} is stored as {_shown(stored)}, which its JSON Schema does not"
                    " allow; declare the keys of a dict as str, or give the BeforeValidator, or the like,"
                    " json_schema_input_type=…, the type of that form"
                )


def _has_functions(schema: Schema) -> bool:
    return any(
        "serialization" in each
        or each["type"].startswith("function-")
        or (each["type"] == "dict" and each.get("keys_schema", {}).get("type", "str") != "str")
        for each in schema_nodes(schema)
    )


def _named_twice(field: FieldInfo, name: str) -> str:
    if field.exclude:
        return "has exclude=True and would never be stored; use WriteOnly() to keep it from clients"
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


def _samples(schema: Schema) -> Iterator[Any]:
    definitions = {each["schema_ref"]: each for each in schema_nodes(schema) if "schema_ref" in each}
    return islice(_Samples(definitions).of(schema), _MOST_SAMPLES)


def samples(of: Field | TypeAdapter[Any]) -> Iterator[Any]:
    """Values that a property may take, most of them valid; the examples of its author come first."""
    return itertools.chain(getattr(of, "examples", ()), _samples(of.core_schema))


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
    if kind == "function-plain" and getattr(node["function"]["function"], "__name__", "").startswith("pattern_"):
        return "is a compiled pattern, whose flags would be lost; declare it as str"
    return ""


def _renamed(name: str, field: dict[str, Any]) -> str:
    """What is wrong with a nested field that is read under another name than it is written."""
    written, read = field.get("serialization_alias") or name, field.get("validation_alias") or name
    first = read[0] if isinstance(read, list) else read  # of several names, JSON Schema has the first
    if first in (written, [written]) or field.get("serialization_exclude"):
        return ""
    return f"has a nested field {name!r} that is stored and read under different names; use Field(alias=…) for both"


def _is_nested_datetime(node: dict[str, Any]) -> bool:
    """Whether a part is a nested model with a datetime that has no serializer: `Model` has no hand in those."""
    return node["type"] == "model" and any(
        each["type"] == "datetime" and "serialization" not in each for each in schema_nodes(node["schema"])
    )


def _difference(adapter: Field | TypeAdapter[Any], sample: object) -> str:
    try:
        value = adapter.validate_python(sample)
    except Exception:  # noqa: BLE001 - a validator of the author's: it may raise anything for what is only a guess
        return ""
    try:
        stored = json.loads(json.dumps(adapter.dump_python(value, mode="json", warnings=False)))
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


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types, within containers as well."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, BaseModel):
        return _same(one.__dict__, other.__dict__) and _same(one.model_extra, other.model_extra)
    return bool(one == other)


_FIELDS = ("model-fields", "dataclass-args", "typed-dict")

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
    if strict or any(each.get("strict") for each in nodes):
        return "drop `strict`, since JSON has text for this type"
    if any(each["type"] == "bytes" for each in nodes):
        return "declare it as pydantic's Base64Bytes"
    if any("serialization" in each for each in nodes):
        return "drop its serializer, or add a validator that turns the stored form back into the value"
    if any(each["type"] in ("union", "tagged-union") for each in nodes):
        return "two forms of the union look the same in JSON: declare one of them, or a discriminated union"
    if any(each["type"].startswith("function-") for each in nodes):
        return "its validator changes its own result; make it leave a value alone that it returned before"
    return "declare a type that JSON can hold"


_UTC = dt.UTC
_PLAIN: dict[str, tuple[object, ...]] = {
    "none": (None,),
    "bool": (True, False),
    "str": ("text", "", "T-1", "a", "2020-02-03", "1"),
    "int": (1, 0, -1, 7),
    "float": (0.5, 1.0, -2.25),
    "decimal": (decimal.Decimal("9.50"), decimal.Decimal("9.5"), decimal.Decimal(10), decimal.Decimal("-0.25")),
    "bytes": (b"\xff", b"text", b"0000", b"AAAA"),
    "date": (dt.date(2020, 2, 3),),
    "time": (
        dt.time(1, 2, 3, 4),
        dt.time(1, 2, 3, tzinfo=_UTC),
        dt.time(2, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        dt.time(0, tzinfo=_UTC),
    ),
    "datetime": (dt.datetime(2020, 2, 3, 4, 5, 6, 7, _UTC),),
    "timedelta": (dt.timedelta(days=1, seconds=2, microseconds=3), dt.timedelta(hours=20)),
    "uuid": (uuid.UUID("8e03978e-40d5-43dd-9f0e-5c2d6a1f7b30"),),
    "url": ("https://example.com/a?b=c",),
    "multi-host-url": ("postgres://a:b@h1:1,h2:2/c",),
    "complex": (1 + 2j,),
    "any": ("text",),
    "json": ("[1]", '"a"', "1"),
}
_TEXTS = (
    "9.0.2.1",
    "192.0.2.1",
    "2001:db8::1",
    "3000::1",
    "f:1::1",
    "192.0.2.0/24",
    "ann@example.com",
    "a/b",
    "math.pi",
    base64.b64encode(b"\xffa").decode(),
)


# Such as refuse what is past, or what is to come, and text of some form.
_PLAIN["datetime"] += (
    dt.datetime(2020, 2, 3),
    dt.datetime(2999, 12, 31, 23, 59, 59, 999999, _UTC),
    dt.datetime(1970, 1, 1, tzinfo=_UTC),
)
_PLAIN["date"] += (dt.date(2999, 12, 31), dt.date(1970, 1, 1))
_PLAIN["int"] += (100, 10, 1000, 12)
_PLAIN["float"] += (10.0, 100.0)
_PLAIN["str"] += ("TEXT", "Text", "a text", "12345", "AB", "abc-1", "ann@example.com")


def _as_set(items: list[Any]) -> set[Any]:
    try:
        return set(items)
    except TypeError:  # no member of a set before it is validated
        return set()


def _examples(schema: Schema) -> Iterable[Any]:
    updates = (schema.get("metadata") or {}).get("pydantic_js_updates") or {}
    return list(updates.get("examples", ()))


class _Samples:
    """Values that a type may take, most of them valid; what is not is left out by whoever tries them."""

    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._by_reference = definitions
        self._depth = 0
        self._open: list[str] = []

    def of(self, schema: Schema) -> Iterator[Any]:
        """Some of the values of a part of a core schema."""
        if self._depth > _DEEPEST:
            return
        self._depth += 1
        try:
            kind = schema["type"]
            yield from _examples(schema)
            make: Callable[[Schema], Iterable[Any]] | None = getattr(self, "_" + kind.replace("-", "_"), None)
            if kind in _PLAIN:
                yield from _PLAIN[kind]
            elif make is not None:
                yield from make(schema)
            elif isinstance(schema.get("schema"), dict):
                yield from self.of(schema["schema"])
            else:
                yield from (*_TEXTS, *_PLAIN["str"], 1, (1,), ("a",), [1], ["a"])
        finally:
            self._depth -= 1

    def _function_before(self, schema: Schema) -> Iterable[Any]:
        return [*self._few(schema["schema"]), *_PLAIN["str"], *_TEXTS]

    def _default(self, schema: Schema) -> Iterable[Any]:
        default = schema.get("default")
        return [*([] if default is None else [default]), *self.of(schema["schema"])]

    def _few(self, schema: Schema | None) -> list[Any]:
        return list(islice(self.of(schema), 18)) if schema else ["text"]

    def _literal(self, schema: Schema) -> Iterable[Any]:
        return list(schema["expected"])

    def _enum(self, schema: Schema) -> Iterable[Any]:
        return list(schema["members"])

    def _nullable(self, schema: Schema) -> Iterable[Any]:
        return [*self._few(schema["schema"]), None]

    def _definitions(self, schema: Schema) -> Iterable[Any]:
        return self.of(schema["schema"])

    def _definition_ref(self, schema: Schema) -> Iterator[Any]:
        name = schema["schema_ref"]
        if len(self._open) >= _MOST_REFERENCES or self._open.count(name) > 1:
            return  # a model in itself
        self._open.append(name)
        try:
            yield from self.of(self._by_reference[name])
        finally:
            self._open.pop()

    def _list(self, schema: Schema) -> Iterable[Any]:
        items = self._few(schema.get("items_schema"))
        return [[], *([each] for each in items), items]

    def _set(self, schema: Schema) -> Iterable[Any]:
        return [set(), *(found for each in self._few(schema.get("items_schema")) if (found := _as_set([each])))]

    def _frozenset(self, schema: Schema) -> Iterable[Any]:
        return map(frozenset, self._set(schema))

    def _tuple(self, schema: Schema) -> Iterable[Any]:
        parts, variadic = schema["items_schema"], schema.get("variadic_item_index")
        options = [self._few(part) or [None] for index, part in enumerate(parts)]
        if variadic is not None and len(parts) == 1:
            return [(), *((each,) for each in options[0]), tuple(options[0])]
        most = max(map(len, options), default=0)
        return [tuple(option[number % len(option)] for option in options) for number in range(most)]

    def _dict(self, schema: Schema) -> Iterable[Any]:
        keys, values = self._few(schema.get("keys_schema")), self._few(schema.get("values_schema"))
        most = max(len(keys), len(values)) if keys and values else 0
        return [{}, *({keys[number % len(keys)]: values[number % len(values)]} for number in range(most))]

    def _union(self, schema: Schema) -> Iterable[Any]:
        options = [self._few(choice[0] if isinstance(choice, tuple) else choice) for choice in schema["choices"]]
        for number in range(max(map(len, options))):  # some of each first
            yield from (found[number] for found in options if number < len(found))

    def _tagged_union(self, schema: Schema) -> Iterable[Any]:
        for choice in schema["choices"].values():
            yield from self._few(choice)

    def _model(self, schema: Schema) -> Iterable[Any]:
        return self.of(schema["schema"])

    def _model_fields(self, schema: Schema) -> Iterable[Any]:
        return self._members(schema["fields"])

    def _dataclass_args(self, schema: Schema) -> Iterable[Any]:
        return self._members({each["name"]: each for each in schema["fields"]})

    def _typed_dict(self, schema: Schema) -> Iterable[Any]:
        return self._members(schema["fields"])

    def _members(self, fields: Mapping[str, Schema]) -> Iterable[Any]:
        options = {
            field.get("validation_alias") if isinstance(field.get("validation_alias"), str) else name: found
            for name, field in fields.items()
            if (found := [*_examples(field), *self._few(field["schema"])])
        }
        most = max(map(len, options.values()), default=1)
        return [{name: found[number % len(found)] for name, found in options.items()} for number in range(most)]
