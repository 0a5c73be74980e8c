"""What is stored reads back: the types that do, and the classes that are refused with what to write instead."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import ipaddress
import json
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import (
    AfterValidator,
    AliasChoices,
    Base64Bytes,
    BaseModel,
    ConfigDict,
    Field,
    Json,
    PlainSerializer,
    Secret,
    SecretBytes,
    SecretStr,
    WrapSerializer,
)

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
]


@pytest.mark.parametrize(("annotation", "advice"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_type_that_does_not_read_back_is_refused(annotation: Any, advice: str) -> None:
    """The error names the property and says what to write instead."""
    with pytest.raises(ModelDefinitionError, match=rf"(?s)Made: property 'x' .*{advice}"):
        declare(annotation)


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


@pytest.mark.parametrize(("config", "advice"), [({"frozen": True}, "ReadOnly"), ({"extra": "allow"}, "JsonValue")])
def test_settings_of_a_class_that_would_lose_data_are_refused(config: ConfigDict, advice: str) -> None:
    """A frozen model could not be stamped, and additional properties would be dropped."""
    with pytest.raises(ModelDefinitionError, match=advice):
        type("Made", (Model,), {"__annotations__": {"x": int}, "model_config": config}, type="made_v1.0")


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
