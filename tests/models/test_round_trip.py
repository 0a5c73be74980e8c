"""What is stored reads back: the types that do, and the classes that are refused with what to write instead."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import ipaddress
import json
import pathlib
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import pytest
from annotated_types import Ge
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AliasChoices,
    Base64Bytes,
    BaseModel,
    ConfigDict,
    Field,
    InstanceOf,
    Json,
    PlainSerializer,
    Secret,
    SecretBytes,
    SecretStr,
    WithJsonSchema,
    WrapSerializer,
    computed_field,
)
from pydantic_core import core_schema
from typing_extensions import TypedDict

from tornado_couch.errors import ModelDefinitionError, ValidationFailed
from tornado_couch.models import (
    Encrypted,
    Indexed,
    Model,
    Timestamp,
    body_problems,
    body_schema,
    from_document,
    representation,
    to_document,
    validated,
)
from tornado_couch.models.round_trip import same


def declare(annotation: Any, *, indexed: bool = False, name: str = "Made", **options: Any) -> type[Model]:
    """A model with one property, `x`, of a type."""
    marked: Any = Annotated[annotation, Indexed()] if indexed else annotation
    return type(name, (Model,), {"__annotations__": {"x": marked}, "__module__": __name__}, type="made_v1.0", **options)


class Color(enum.Enum):
    RED = "red"
    ONE = 1


class Inner(BaseModel):
    number: int
    at: Timestamp | None = None


class Naive(BaseModel):
    at: dt.datetime


class Typed(TypedDict):
    at: dt.datetime


class Moment(NamedTuple):
    at: dt.datetime


@dataclasses.dataclass
class Occasion:
    at: dt.datetime


class Less(BaseModel):
    a: int = 1


class More(BaseModel):
    a: int = 1
    b: int = 2


class Wrong(BaseModel):
    a: int = "none"  # type: ignore[assignment]


class Partly(BaseModel):
    a: int = Field(1, exclude=True)


class Unknown:
    """A class that pydantic has never heard of."""


class Wordless(str):
    """A type without a JSON Schema."""

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return core_schema.no_info_plain_validator_function(lambda value: cls(str(value)), serialization=_AS_TEXT)


_AS_TEXT = core_schema.plain_serializer_function_ser_schema(str)


def _prefixed(text: str) -> str:
    return f"T-{text}"


REFUSED: list[tuple[str, Any, str]] = [
    ("a masked text", SecretStr, r"WriteOnly\(\)"),
    ("masked bytes", SecretBytes, r"WriteOnly\(\)"),
    ("a masked date", Secret[dt.date], r"WriteOnly\(\)"),
    ("a masked text in a list", list[SecretStr], r"WriteOnly\(\)"),
    ("a masked text or None", SecretStr | None, r"WriteOnly\(\)"),
    ("JSON text", Json[list[int]], "declare the type inside"),
    ("bytes of any kind", bytes, "Base64Bytes"),
    ("a one-way serializer", Annotated[int, PlainSerializer(lambda value: f"no {value}")], "serializer"),
    ("a serializer around", Annotated[str, WrapSerializer(lambda value, handler: handler(value)[:1])], "serializer"),
    ("a strict date", Annotated[dt.date, Field(strict=True)], "strict"),
    ("a strict UUID in a dict", dict[str, Annotated[uuid.UUID, Field(strict=True)]], "strict"),
    ("a property that is excluded", Annotated[int, Field(exclude=True)], r"WriteOnly\(\)"),
    ("another name when stored", Annotated[int, Field(serialization_alias="y")], "alias"),
    ("another name when read", Annotated[int, Field(validation_alias="y")], "alias"),
    ("several names when read", Annotated[int, Field(validation_alias=AliasChoices("x", "y"))], "alias"),
    ("a validator that changes its own result", Annotated[str, AfterValidator(_prefixed)], "validator"),
    ("a function", Callable[[], int], "function"),
    ("a class", type[int], "class"),
    ("text or a UUID", str | uuid.UUID, "union"),
    ("a date or text", dt.date | str, "union"),
    ("a list or a set", list[int] | set[int], "union"),
    ("a sequence of any kind", Sequence[int], "read back"),
    ("a datetime in a nested model", Naive, "Timestamp"),
    ("a datetime in a list of models", list[Naive], "Timestamp"),
    ("a datetime in a typed dictionary", Typed, "Timestamp"),
    ("a datetime in a named tuple", list[Moment], "Timestamp"),
    ("a datetime in a dataclass", Occasion | None, "Timestamp"),
    ("a class that pydantic does not know", Unknown, "Unknown.*declare a model"),
    ("an unknown class in a list", list[Unknown | None], "Unknown.*declare a model"),
    ("an iterator", Iterator[int], "declare a model"),
    ("a constraint of another type", Annotated[int, Field(union_mode="left_to_right")], "agree"),
    ("a constraint that fails for every value", Annotated[list[int], Ge(3)], "constraint.*declare"),
    ("a discriminator without a union of models", Annotated[int | str, Field(discriminator="kind")], "agree"),
    ("a pattern that nobody can read", Annotated[str, Field(pattern="(")], "unclosed group.*pattern"),
    ("look-around, which Rust has not", list[Annotated[str, Field(pattern="(?=a)")]], "python-re"),
    ("an address or text", ipaddress.IPv4Address | str, "union"),
    ("a path or text in a list", list[pathlib.Path | str], "union"),
    ("a number or true", bool | decimal.Decimal, "union"),
    ("a model that looks like another", More | Less, "union"),
    ("a model or a dictionary", Less | dict[str, int], "union"),
    ("only instances", InstanceOf[dt.date], "declare"),
    ("a sequence of any kind in a list", list[Sequence[int]], "serializer|declare"),
    ("two keys with one text", defaultdict[int | str, int], "declare|write|drop|give"),
    ("keys that cannot be hashed", dict[Less, int], "declare them as str"),
    ("infinity", Annotated[float, Field(allow_inf_nan=True)], "declare"),
    ("a nested default of another type", Wrong, "defaults"),
    ("a nested field that is excluded", list[Partly], "drop its `exclude`"),
    ("a type that JSON Schema has no words for", Wordless, "WithJsonSchema"),
    ("another type in the JSON Schema", Annotated[int, Field(json_schema_extra={"type": "string"})], "drop"),
    ("another type in a nested JSON Schema", list[Annotated[int, WithJsonSchema({"type": "string"})]], "drop"),
]


@pytest.mark.parametrize(("annotation", "advice"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_type_that_does_not_read_back_is_refused(annotation: Any, advice: str) -> None:
    """The error names the property and says what to write instead."""
    with pytest.raises(ModelDefinitionError, match=rf"(?s)Made: property 'x' .*{advice}"):
        declare(annotation)


@pytest.mark.parametrize(
    ("annotation", "default", "better"),
    [
        (int, "a", "property's type"),
        (decimal.Decimal, 0, r"Decimal\('0'\)"),
        (Color, "red", "Color.RED"),
        (set[int], [], r"set\(\)"),
        (dt.datetime, dt.datetime(2026, 1, 1), "tzinfo"),
        (Literal["a"], "b", "property's type"),
        (Annotated[str, Field(min_length=1)], "", "property's type"),
        (int, Field(default_factory=lambda: "a"), "property's type"),
    ],
    ids=["text", "zero", "enum", "set", "naive", "literal", "short", "factory"],
)
def test_a_default_that_is_no_value_of_the_type_is_refused(annotation: Any, default: Any, better: str) -> None:
    """Pydantic does not look at defaults; such a document would be written, and never be read again."""
    namespace = {"__annotations__": {"x": annotation}, "__module__": __name__, "x": default}
    with pytest.raises(ModelDefinitionError, match=rf"property 'x' has a default, .* write a value .*{better}"):
        type("Made", (Model,), namespace, type="made_v1.0")


def test_other_defaults_are_taken() -> None:
    """A whole number is one for a float, and None stands for a property that is not stored."""

    class Made(Model, type="made_v1.0"):
        price: float = 0
        count: int = None  # type: ignore[assignment]
        tags: list[str] = Field(default_factory=list)
        at: dt.datetime = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

    document = to_document(Made())
    assert document == {**document, "price": 0, "tags": []}
    assert same(from_document(Made, document).model_dump(), Made().model_dump())


@pytest.mark.parametrize("name", ["_id", "_rev", "_stored", "verify", "model_dump", "model_fields"])
def test_a_name_that_every_model_has_is_refused(name: str) -> None:
    """A property in the place of a method, or of the document's id, would break the model without a word."""
    with pytest.raises(ModelDefinitionError, match=rf"`{name}` (is a method|of its own)"):
        type("Made", (Model,), {"__annotations__": {name: int}, "__module__": __name__}, type="made_v1.0")
    with pytest.raises(ModelDefinitionError, match=r"`_id` of its own"):
        type("Made", (Model,), {"_id": property(lambda _: 1), "__module__": __name__}, type="made_v1.0")


def test_a_computed_property_of_no_type_is_refused() -> None:
    """The API document could say nothing of it."""
    untyped = computed_field(property(lambda _: 1))
    with pytest.raises(ModelDefinitionError, match=r"property 'total' .*return type"):
        type("Made", (Model,), {"total": untyped, "__module__": __name__}, type="made_v1.0")


def test_a_name_that_is_not_defined_is_refused() -> None:
    """The error has the property, and the name that nobody knows."""
    with pytest.raises(ModelDefinitionError, match=r"property 'x' refers to `Nowhere`.* define that class first"):
        declare("list[Nowhere]")


class Branch(BaseModel):
    tree: Wood | None = None


class Wood(Model, type="wood_v1.0"):
    branches: list[Branch] = Field(default_factory=list)


def test_models_within_each_other_read_back() -> None:
    """One of them waits for the name of the other."""
    wood = Wood.model_validate({"branches": [{"tree": {"branches": [{}]}}]})
    assert same(from_document(Wood, to_document(wood)).__dict__, wood.__dict__)


UNSORTED: list[Any] = [
    dt.time, ipaddress.IPv4Address, set[int], frozenset[str], Base64Bytes, list[decimal.Decimal],
    dict[str, dt.timedelta], Annotated[decimal.Decimal, Field(allow_inf_nan=True)], tuple[dt.time, int],
]  # fmt: skip


@pytest.mark.parametrize("annotation", UNSORTED, ids=str)
def test_an_index_that_would_sort_wrongly_is_refused(annotation: Any) -> None:
    """The property can be declared, and cannot be indexed or be part of an index of several."""
    declare(annotation)
    with pytest.raises(ModelDefinitionError, match="property 'x' cannot be indexed"):
        declare(annotation, indexed=True)
    with pytest.raises(ModelDefinitionError, match="property 'x' cannot be indexed"):
        type(
            "Composed",
            (Model,),
            {"__annotations__": {"x": annotation, "y": int}, "__module__": __name__},
            type="made_v1.0",
            indexes=[("y", "x")],
        )


@pytest.mark.parametrize("annotation", [decimal.Decimal, dt.timedelta])
def test_what_has_several_texts_or_another_order_names_no_document(annotation: Any) -> None:
    """Such a property can be indexed, and can be neither the key nor the partition."""
    assert declare(annotation, indexed=True) is not None
    for option in ({"key": "x"}, {"key": "x", "unique": True}, {"partition": "x"}):
        with pytest.raises(ModelDefinitionError, match="property 'x' cannot be the key or partition"):
            declare(annotation, **option)


@pytest.mark.parametrize("annotation", [decimal.Decimal, set[int], dt.time])
def test_what_has_several_texts_has_no_blind_index(annotation: Any) -> None:
    """Equal values would have different blind indexes, and one would not find the other."""
    declare(Annotated[annotation, Encrypted()])
    with pytest.raises(ModelDefinitionError, match="property 'x' cannot be searched by"):
        declare(Annotated[annotation, Encrypted(searchable=True)])


@pytest.mark.parametrize("annotation", [str, int, float, bool, dt.date, dt.datetime, uuid.UUID, Color, list[str]])
def test_an_index_that_sorts_rightly_is_not_refused(annotation: Any) -> None:
    """Text, numbers, dates and what is stored as one of them."""
    assert declare(annotation, indexed=True) is not None


@pytest.mark.parametrize(
    ("option", "nearest"),
    [("kye", "key"), ("uniqe", "unique"), ("softdelete", "soft_delete"), ("Type", "type"), ("nothing_like", "options")],
)
def test_an_unknown_option_is_refused(option: str, nearest: str) -> None:
    """A misspelt one would silently promise nothing; the error has the nearest right one."""
    with pytest.raises(ModelDefinitionError, match=rf"unknown option `{option}`.*{nearest}"):
        declare(int, **{option: True})


@pytest.mark.parametrize(
    ("config", "advice"),
    [
        ({"frozen": True}, "ReadOnly"),
        ({"extra": "allow"}, "JsonValue"),
        ({"allow_inf_nan": True}, "drop allow_inf_nan"),
        ({"coerce_numbers_to_str": True, "strict": True}, "drop `strict`"),
        ({"json_schema_extra": lambda schema: schema.pop("properties")}, "property 'x' .* json_schema_extra"),
    ],
    ids=["frozen", "extra", "allow_inf_nan", "strict", "json_schema_extra"],
)
def test_settings_of_a_class_that_would_lose_data_are_refused(config: ConfigDict, advice: str) -> None:
    """A frozen model could not be stamped, and additional properties would be dropped."""
    annotations = {"x": int, "day": dt.date}
    with pytest.raises(ModelDefinitionError, match=advice):
        type("Made", (Model,), {"__annotations__": annotations, "model_config": config}, type="made_v1.0")


# ---- what reads back

_texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
_SCALARS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, _texts),
    (int, st.integers()),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (bool, st.booleans()),
    (decimal.Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (dt.date, st.dates()),
    (dt.time, st.times()),
    (dt.datetime, st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 1, 1))),
    (dt.datetime, st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 1, 1), timezones=st.timezones())),
    (uuid.UUID, st.uuids()),
    (ipaddress.IPv4Address, st.ip_addresses(v=4)),
    (ipaddress.IPv6Address, st.ip_addresses(v=6)),
    (Color, st.sampled_from(Color)),
    (Literal["a", 1, None], st.sampled_from(["a", 1, None])),
    (Base64Bytes, st.binary(max_size=6).map(__import__("base64").b64encode)),
    (Annotated[str, Field(max_length=3, pattern="^[a-z]*$")], st.text("abc", max_size=3)),
    (Annotated[int, Field(ge=3, multiple_of=3)], st.integers(1, 99).map(lambda number: number * 3)),
    (Inner, st.builds(lambda number: {"number": number}, st.integers())),
    (int | str, st.integers() | _texts),
]


def _wrapped(pair: tuple[Any, st.SearchStrategy[Any]], kind: str) -> tuple[Any, st.SearchStrategy[Any]]:
    annotation, values = pair
    wrappings: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
        "plain": pair,
        "optional": (annotation | None, st.none() | values),
        "list": (list[annotation], st.lists(values, max_size=3)),
        "dict": (dict[str, annotation], st.dictionaries(_texts, values, max_size=3)),
        "tuple": (tuple[annotation, int], st.tuples(values, st.integers())),
        "deque": (deque[annotation], st.lists(values, max_size=3)),
    }
    return wrappings[kind]


KINDS = ["plain", "optional", "list", "dict", "tuple", "deque"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", range(len(_SCALARS)), ids=lambda number: str(_SCALARS[number][0])[:30])
def test_every_type_that_is_accepted_reads_back(number: int, kind: str) -> None:
    """What was stored gives an equal model, which is stored in the same way, and GET's answer is a valid PUT."""
    annotation, values = _wrapped(_SCALARS[number], kind)
    made = declare(annotation)

    @given(values)
    def law(value: Any) -> None:
        model = made(x=value)
        document = to_document(model)
        again = from_document(made, document)
        assert (again.x, type(again.x)) == (model.x, type(model.x))  # type: ignore[attr-defined]
        assert to_document(again) == document
        shown = representation(model)
        assert body_problems(made, "replace", shown) == []
        assert validated(made, shown).x == model.x  # type: ignore[attr-defined]

    law()


# ---- bodies


class Tree(Model, type="tree_v1.0"):
    name: str
    children: list[Tree] = Field(default_factory=list)


def test_a_model_that_has_itself_for_a_part_is_checked() -> None:
    """Its schema is a reference to its own definition, and was an error in the server."""
    assert body_problems(Tree, "create", {"name": "a", "children": [{"name": "b"}]}) == []
    assert [each["pointer"] for each in body_problems(Tree, "create", {"name": "a", "children": [{"name": 1}]})] == [
        "/children/0/name"
    ]


def test_a_pattern_that_python_cannot_read_is_left_to_pydantic() -> None:
    r"""`\p{L}` is one of Rust's, in which pydantic checks patterns."""
    made = declare(Annotated[str, Field(pattern=r"^\p{L}+$")])
    assert body_problems(made, "create", {"x": "é"}) == []
    assert validated(made, {"x": "é"}) is not None
    with pytest.raises(ValidationFailed, match="/x"):
        validated(made, {"x": "1"})


@pytest.mark.parametrize("step", [0.01, 0.1, 0.05])
def test_multiple_of_is_decimal(step: float) -> None:
    """19.99 is a multiple of 0.01, whatever binary floating point makes of it."""
    made = declare(Annotated[float, Field(multiple_of=step)])

    @given(st.integers(-100_000, 100_000))
    def law(number: int) -> None:
        value = float(decimal.Decimal(number) * decimal.Decimal(str(step)))
        assert body_problems(made, "create", {"x": value}) == []
        wrong = float(decimal.Decimal(number) * decimal.Decimal(str(step)) + decimal.Decimal("0.001"))
        assert [each["keyword"] for each in body_problems(made, "create", {"x": wrong})] == ["multipleOf"]

    law()


@pytest.mark.parametrize("number", [2**53, -(2**53), 10**30])
def test_an_integer_that_no_view_could_find_is_refused(number: int) -> None:
    """An indexed property, and a key, take what JavaScript's numbers hold exactly; other properties take any."""
    for made in (declare(int, indexed=True), declare(int, key="x", unique=True)):
        with pytest.raises(ValidationFailed, match="/x"):
            to_document(made(x=number))
        assert to_document(made(x=2**53 - 1))["x"] == 2**53 - 1
    assert to_document(declare(int)(x=number))["x"] == number
    assert to_document(declare(Annotated[int, Encrypted(searchable=True)])(x=number))["x"] == number


@pytest.mark.parametrize("annotation", [int, int | None, Annotated[int, Field(gt=3)], list[int]])
def test_the_schema_says_which_integers_are_found(annotation: Any) -> None:
    """A client learns the limits from the API document; where documents are not found by the property, it has none."""
    found = json.dumps(body_schema(declare(annotation, indexed=True), "create"))
    assert ('"maximum": 9007199254740991' in found) == (annotation != list[int])
    assert "900719" not in json.dumps(body_schema(declare(annotation), "create"))


# ---- what other programs put into nested models


class Line(BaseModel):
    article: str
    amount: int = 1


class Order(Model, type="order_v1.0"):
    lines: list[Line] = Field(default_factory=list)
    by_name: dict[str, Line] = Field(default_factory=dict)
    pair: tuple[Line, int] | None = None
    deep: dict[str, list[Line]] = Field(default_factory=dict)


STORED = {
    "_id": "a",
    "type": "order_v1.0",
    "lines": [{"article": "a", "amount": 1, "note": "first"}, {"article": "b", "amount": 2, "note": "second"}],
    "by_name": {"x": {"article": "a", "amount": 1, "note": "x"}},
    "pair": [{"article": "a", "amount": 1, "note": "pair"}, 3],
    "deep": {"y": [{"article": "c", "amount": 1, "note": "deep"}]},
}


def test_unknown_members_inside_lists_dictionaries_and_tuples_are_kept() -> None:
    """A read-modify-write loses nothing that another program stored."""
    assert to_document(from_document(Order, STORED)) == STORED
    order = from_document(Order, STORED)
    order.lines[0].amount = 7
    order.by_name["x"].amount = 8
    written = to_document(order)
    assert written["lines"][0] == {"article": "a", "amount": 7, "note": "first"}
    assert written["by_name"]["x"] == {"article": "a", "amount": 8, "note": "x"}


def test_unknown_members_follow_their_item() -> None:
    """An item that moved or lost a neighbour keeps its own, and never gets another's."""
    order = from_document(Order, STORED)
    order.lines = [order.lines[1]]
    assert to_document(order)["lines"] == [{"article": "b", "amount": 2, "note": "second"}]
    order = from_document(Order, STORED)
    order.lines = [Line(article="new"), *reversed(order.lines)]
    assert [each.get("note") for each in to_document(order)["lines"]] == [None, "second", "first"]
