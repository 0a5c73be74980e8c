"""What a type takes and JSON does not give back: refused when the class is made, or else when it is stored."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import re
from typing import Annotated, Any

import pydantic
import pytest
from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from tornado_couch.errors import ModelDefinitionError, ValidationFailed
from tornado_couch.models import Model, to_document


class Switch(enum.Flag):
    A = 1
    B = 2


class Parent(BaseModel):
    a: int = 1


class Child(Parent):
    b: int = 2


@dataclasses.dataclass
class Base:
    a: int = 1


@dataclasses.dataclass
class Derived(Base):
    b: int = 2


@dataclasses.dataclass
class Partly:
    a: int = 1
    b: int = dataclasses.field(default=2, init=False)


class Choices(BaseModel):
    x: int = Field(1, validation_alias=pydantic.AliasChoices("p", "q"))


class Path(BaseModel):
    x: int = Field(1, validation_alias=pydantic.AliasPath("a", "b"))


class ByName(BaseModel):
    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)
    x: int = Field(1, validation_alias="z")


class Anything:
    def __repr__(self) -> str:
        return "Anything()"


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    held: Any = None
    items: list = []  # type: ignore[type-arg]


class Holder(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    held: Anything | None = None


# Serializers that keep what the class statement tries, and lose something of other values.
Rounded = Annotated[float, PlainSerializer(lambda value: round(value, 2), float)]
Binary = Annotated[decimal.Decimal, PlainSerializer(float, float)]


def named(value: Any) -> str:
    return "rounded" if value in (Rounded, list[Rounded]) else "binary" if value is Binary else ascii(value)


def declared(annotation: Any) -> Any:
    return type("Loosely", (Model,), {"__annotations__": {"x": annotation}, "__module__": __name__}, type="loose_v1.0")


@pytest.mark.parametrize(
    "annotation",
    [Switch, list[Switch], Partly, Choices, list[Path], ByName | None, re.Pattern[str], Holder, dict[str, Holder]],
)
def test_a_class_that_would_lose_something_is_refused(annotation: Any) -> None:
    """Also where a default hides it: the property is named, and what to write instead."""
    with pytest.raises(ModelDefinitionError, match=r"property 'x' .*\b(declare|make|use)\b"):
        declared(annotation)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        *[(Any, each) for each in ({1}, (1,), decimal.Decimal(1), b"a", Parent(), {1: 2}, float("inf"), Switch.A)],
        (object, dt.date(2026, 1, 1)),
        (list, [(1, 2)]),
        (dict, {1: 2}),
        (dict[str, Any], {"a": [dt.datetime(2026, 1, 1, tzinfo=dt.UTC)]}),
        (Parent, Child()),
        (list[Parent], [Parent(), Child()]),
        (dict[str, Parent | None], {"a": Child()}),
        (pydantic.SerializeAsAny[Parent], Child()),
        (Base, Derived()),
        (Open, Open(held={1})),
        (list[Open], [Open(held=1), Open(items=[(1,)])]),
        (Open | None, Open(held=Anything())),
        (Open, Open(other=dt.date(2026, 1, 1))),
        (set, {(1,)}),
        (dict[str, int], {"\ud800": 1}),
        (list[dict[str, str]], [{"a": "", "\udfff": ""}]),
        (Rounded, 1.234),
        (list[Rounded], [1.5, 1.234]),
        (Binary, decimal.Decimal("0.10000000000000000000001")),
    ],
    ids=named,
)
def test_a_value_that_would_be_lost_is_not_stored(annotation: Any, value: Any) -> None:
    """The error names the property."""
    with pytest.raises(ValidationFailed) as caught:
        to_document(declared(annotation)(x=value))
    assert caught.value.problems[0]["pointer"] == "/x"


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (Any, {"a": [1, 2.5, None, True, "x"]}),
        (list, [[1], {"a": {}}]),
        (Parent | Child, Child()),
        (Base, Base()),
        (Open, Open(held=[1], other={})),
        (set, {1}),
        (frozenset, frozenset({"a"})),
        (Rounded, 1.23),
        (Binary, decimal.Decimal("0.1")),
        (dict[str, int], {"ä": 1}),
    ],
    ids=named,
)
def test_other_values_are_stored(annotation: Any, value: Any) -> None:
    """JSON in an `Any`, and instances of the classes that are declared."""
    assert "x" in to_document(declared(annotation)(x=value))


def test_what_python_code_puts_into_a_model_is_looked_at() -> None:
    """Pydantic does not see what is appended to a list; it would be stored, and the document never be read again."""
    made = declared(list[int])
    model = made(x=[1])
    model.x.append("a")
    for each in (model, made.model_construct(x="a"), made(x=[1]).model_copy(update={"x": {1}})):
        with pytest.raises(ValidationFailed) as caught:
            to_document(each)
        assert [fault["pointer"] for fault in caught.value.problems] == ["/x"]
    model.x[1] = 2
    assert to_document(model)["x"] == [1, 2]
