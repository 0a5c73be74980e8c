"""What is wrong with a body: each fault points at a member of it, and a union says what its branch finds wrong."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Discriminator, Field, Tag

from tornado_couch.errors import ValidationFailed
from tornado_couch.models import Model, body_problems, validated
from tornado_couch.models.pointers import path_within


def _positive(number: int) -> int:
    if number < 0:
        raise ValueError("must not be negative")
    return number


Positive = Annotated[int, AfterValidator(_positive)]


class Dog(BaseModel):
    kind: Literal["dog"]
    bark: Positive
    dog: dict[str, Positive] | None = None


class Cat(BaseModel):
    kind: Literal["cat", "lion"]
    purr: Positive
    friends: list[Animal] = Field(default_factory=list)


class Fish(BaseModel):
    kind: Literal["fish"] = "fish"
    fins: Positive


Animal = Annotated[Dog | Cat | Fish, Field(discriminator="kind")]


def _tag(value: Any) -> str:
    return value["by"] if isinstance(value, dict) else value.by


class ByCar(BaseModel):
    by: Literal["car"]
    seats: int


class ByTrain(BaseModel):
    by: Literal["train"]
    tracks: int


Country = enum.Enum("Country", {f"C{number}": f"country {number}" for number in range(200)})  # type: ignore[misc]


class Zoo(Model, type="zoo_v1.0"):
    animal: Animal | None = None
    animals: list[Animal] = Field(default_factory=list)
    plain: Dog | Cat | None = None
    way: Annotated[Annotated[ByCar, Tag("car")] | Annotated[ByTrain, Tag("train")], Discriminator(_tag)] | None = None
    by_int: dict[int, Positive] = Field(default_factory=dict)
    either: int | bool | None = None
    country: Country | None = None
    country_name: Literal[tuple(each.value for each in Country)] | None = None  # type: ignore[valid-type]


Faults = list[tuple[str, str]]


def of_schema(body: dict[str, Any]) -> Faults:
    """Pointers and keywords that JSON Schema finds."""
    return [(each["pointer"], each["keyword"]) for each in body_problems(Zoo, "create", body)]


def of_model(body: dict[str, Any]) -> Faults:
    """Pointers and keywords that the model finds."""
    try:
        validated(Zoo, body)
    except ValidationFailed as error:
        return [(each["pointer"], each["keyword"]) for each in error.problems]
    return []


DOG: dict[str, Any] = {"kind": "dog", "bark": 1}


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({"animal": DOG}, []),
        ({"animal": {**DOG, "bark": "x"}}, [("/animal/bark", "type")]),
        ({"animal": {"kind": "dog"}}, [("/animal/bark", "required")]),
        ({"animal": {"kind": "lion", "bark": 1}},
         [("/animal/bark", "additionalProperties"), ("/animal/purr", "required")]),
        ({"animal": {"kind": "cow"}}, [("/animal/kind", "enum")]),
        ({"animal": {"bark": 1}}, [("/animal/kind", "required")]),
        ({"animals": [DOG, {**DOG, "bark": "x"}]}, [("/animals/1/bark", "type")]),
        ({"animal": {"kind": "cat", "purr": 1, "friends": [{"kind": "dog", "bark": None}]}},
         [("/animal/friends/0/bark", "type")]),
        ({"plain": {"kind": "dog", "bark": "x"}}, [("/plain/bark", "type")]),
        ({"plain": {"kind": "cow"}}, [("/plain", "anyOf")]),
        ({"way": {"by": "train", "tracks": "x"}}, [("/way/tracks", "type")]),
        ({"either": "x"}, [("/either", "anyOf")]),
        ({"by_int": {"1": "x"}}, [("/by_int/1", "type")]),
        ({"country": "x"}, [("/country", "enum")]),
    ],
)  # fmt: skip
def test_the_schema_points_at_members(body: dict[str, Any], faults: Faults) -> None:
    """Of a union it reports what is wrong in the branch that the tag chose."""
    found = of_schema(body)
    assert sorted(found) == sorted(faults)


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"animal": {**DOG, "bark": -1}}, ["/animal/bark"]),
        ({"animal": {**DOG, "dog": {"dog": -1}}}, ["/animal/dog/dog"]),
        ({"animal": {"kind": "dog", "dog": {"bark": 1}}}, ["/animal/bark"]),
        ({"animals": [DOG, {"kind": "fish", "fins": -1}]}, ["/animals/1/fins"]),
        ({"animal": {"kind": "cow"}}, ["/animal"]),
        ({"animal": {"kind": "cat", "purr": 1, "friends": [{"kind": "dog", "bark": -1}]}}, ["/animal/friends/0/bark"]),
        ({"way": {"by": "car", "seats": "x"}}, ["/way/seats"]),
        ({"by_int": {"x": 1}}, ["/by_int/x"]),
        ({"by_int": {"1": -1}}, ["/by_int/1"]),
        ({"either": "x"}, ["/either", "/either"]),
        ({"colour": 1}, ["/colour"]),
    ],
)
def test_the_model_points_at_members(body: dict[str, Any], pointers: list[str]) -> None:
    """No pointer has the name of a branch in it, though a member may be called like one."""
    assert [pointer for pointer, _ in of_model(body)] == pointers


def test_the_details_of_long_enums_are_short() -> None:
    """They name some of the values and say how many more there are; so does a wrong tag."""
    (enum_fault,) = body_problems(Zoo, "create", {"country": "x"})
    assert "country 19 and 180 more." in enum_fault["detail"]
    (tag_fault,) = body_problems(Zoo, "create", {"animal": {"kind": "cow"}})
    assert all(kind in tag_fault["detail"] for kind in ("dog", "cat", "lion", "fish"))
    for body in ({"country": "x"}, {"country_name": "x"}):
        with pytest.raises(ValidationFailed) as caught:
            validated(Zoo, body)
        assert all(len(each["detail"]) <= 300 for each in caught.value.problems)


def test_a_reading_that_holds_the_value_is_preferred() -> None:
    """Where a member is called like a branch, the value that pydantic held tells which was meant."""
    held, location = object(), ["a", "dog", "bark"]
    body = {"a": {"dog": {"bark": 1}, "bark": held}}
    assert path_within(body, location, held, missing=False) == ["a", "bark"]
    assert path_within({"a": {"dog": {"bark": held}}}, location, held, missing=False) == location


def test_the_text_of_an_error_stays_short() -> None:
    """It names the first faults and counts the others; `problems` has all of them."""
    error = ValidationFailed([{"pointer": f"/{number}", "keyword": "x", "detail": "Wrong."} for number in range(500)])
    assert str(error).endswith("and 480 more")
    assert len(error.problems) == 500
