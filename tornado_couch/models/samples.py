"""Samples: values that a type may take, with which a class statement tries what becomes of its properties; pure."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import itertools
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from pydantic import TypeAdapter

from .forms import Field, Schema, own_validator, schema_nodes

__all__ = ["samples", "samples_of_schema"]

_MOST_SAMPLES = 60  # of one type; those of its parts are drawn from before they are combined
_DEEPEST = 30
_MOST_REFERENCES = 5  # within each other, that is to say of models in models


def samples(of: Field | TypeAdapter[Any]) -> Iterator[Any]:
    """Values that a property may take, most of them valid; the examples of its author come first."""
    return itertools.chain(getattr(of, "examples", ()), samples_of_schema(of.core_schema))


def samples_of_schema(schema: Schema) -> Iterator[Any]:
    """Values that a type may take, most of them valid."""
    definitions = {each["ref"]: each for each in schema_nodes(schema) if "ref" in each}
    return islice(_Samples(definitions).of(schema), _MOST_SAMPLES)


_UTC = dt.UTC
_PLAIN: dict[str, tuple[object, ...]] = {
    "none": (None,),
    "bool": (True, False),
    "str": ("text", "", "T-1", "a", "2020-02-03", "1"),
    "int": (1, 0, -1, 7),
    "float": (0.5, 1.0, -2.25),
    "decimal": tuple(map(decimal.Decimal, ("9.50", "9.5", "10", "-0.25", "1", "0"))),
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


def _is_hashable(value: object) -> bool:
    """Whether a value can be in a set, or be a key; some can only after they have been validated."""
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _examples(schema: Schema) -> Iterable[Any]:
    updates = (schema.get("metadata") or {}).get("pydantic_js_updates") or {}
    return list(updates.get("examples", ()))


_ANY: tuple[object, ...] = (1, (1,), [1], ("a",), ["a"], {"a": 1}, *_TEXTS, *_PLAIN["str"])


def _read_as(name: str, field: Schema) -> str:
    alias = field.get("validation_alias")
    return alias if isinstance(alias, str) else name


def _has_default(field: Schema) -> bool:
    return field["schema"]["type"] == "default" or field.get("required") is False


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
            if make is not None:
                yield from make(schema)
            elif kind in _PLAIN:
                yield from _PLAIN[kind]
            elif isinstance(schema.get("schema"), dict):
                yield from self.of(schema["schema"])
            else:
                yield from _ANY
        finally:
            self._depth -= 1

    def _function_before(self, schema: Schema) -> Iterable[Any]:
        return [*self._few(schema["schema"]), *_PLAIN["str"], *_TEXTS]

    def _default(self, schema: Schema) -> Iterable[Any]:
        default = schema.get("default")
        return [*([] if default is None else [default]), *self.of(schema["schema"])]

    def _few(self, schema: Schema | None) -> list[Any]:
        return list(islice(self.of(schema), 18)) if schema else ["text"]

    def _values(self, schema: Schema) -> list[Any]:
        """Some samples of a type as it reads them, such as the instance of a model in place of its members."""
        definitions = list(self._by_reference.values())
        validator = own_validator({"type": "definitions", "schema": schema, "definitions": definitions})
        found: list[Any] = []
        for sample in self._few(schema):
            try:
                value = validator.validate_python(sample)
            except Exception:  # noqa: BLE001, S112 - not a value of the type, but a guess
                continue
            if type(value) is not type(sample):
                found.append(value)
        return found

    def _float(self, schema: Schema) -> Iterable[Any]:
        return [*_PLAIN["float"], *([float("inf")] if schema.get("allow_inf_nan") else [])]

    def _lax_or_strict(self, schema: Schema) -> Iterable[Any]:
        return [*self._few(schema["lax_schema"]), *_ANY]

    def _json_or_python(self, schema: Schema) -> Iterable[Any]:
        inner = self._few(schema["json_schema"])
        tuples = [tuple(each) for each in inner if isinstance(each, list)]
        return [*self._values(schema["json_schema"]), *tuples, *inner, *_ANY]

    def _chain(self, schema: Schema) -> Iterable[Any]:
        return self.of(schema["steps"][0])

    def _call(self, schema: Schema) -> Iterable[Any]:
        return self.of(schema["arguments_schema"])

    def _arguments(self, schema: Schema) -> Iterable[Any]:
        return self._members({each["name"]: each for each in schema["arguments_schema"]})

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
        return [set(), *({each} for each in filter(_is_hashable, self._few(schema.get("items_schema"))))]

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
        keys = list(filter(_is_hashable, self._few(schema.get("keys_schema"))))
        values = self._few(schema.get("values_schema"))
        most = max(len(keys), len(values)) if keys and values else 0
        return [{}, *({keys[number % len(keys)]: values[number % len(values)]} for number in range(most))]

    def _union(self, schema: Schema) -> Iterable[Any]:
        choices = [choice[0] if isinstance(choice, tuple) else choice for choice in schema["choices"]]
        # A union tells its types by the values, so that it is to see those as well.
        options = [[*self._values(choice), *self._few(choice)] for choice in choices]
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

    def _named_tuple(self, schema: Schema) -> Iterable[Any]:
        return self._members({each["name"]: each for each in schema["fields"]})

    def _typed_dict(self, schema: Schema) -> Iterable[Any]:
        return self._members(schema["fields"])

    def _members(self, fields: Mapping[str, Schema]) -> Iterable[Any]:
        named = {_read_as(name, field): field for name, field in fields.items()}
        options = {
            name: found for name, field in named.items() if (found := [*_examples(field), *self._few(field["schema"])])
        }
        omitted = {name for name, field in named.items() if _has_default(field)}  # defaults are values as well
        most = max(map(len, options.values()), default=1)
        full = [{name: found[number % len(found)] for name, found in options.items()} for number in range(most)]
        return [*full[:1], {name: found[0] for name, found in options.items() if name not in omitted}, *full[1:]]
