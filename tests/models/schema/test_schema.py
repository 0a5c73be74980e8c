"""The JSON Schema of request bodies, and what a client is told."""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

from annotated_types import Ge, MinLen
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import Field

from tests.models.models import Address
from tornado_couch.models import CreatedOn, Key, Model, WriteOnly, body_problems, body_schema


class BodyFruit(Model, type="fruit_v1.0", key="fruit_id"):
    fruit_id: Key
    color: Annotated[str, MinLen(1)]
    count: Annotated[int, Ge(0)] = 0
    size: Literal["s", "l"] = "s"
    pin: Annotated[str, WriteOnly(), Field(pattern="^[0-9]+$")] = "0"
    grower: Address | None = None
    odd: Annotated[str | None, Field(alias="a/b~c", min_length=2)] = None
    created_on: CreatedOn


def pointers(body: object, action: str = "create") -> set[tuple[str, str]]:
    return {(each["pointer"], each["keyword"]) for each in body_problems(BodyFruit, action, body)}  # type: ignore[arg-type]


def test_the_schemas_are_valid_json_schema_2020_12() -> None:
    """The meta-schema accepts both."""
    for action in ("create", "replace"):
        schema = body_schema(BodyFruit, action)  # type: ignore[arg-type]
        Draft202012Validator.check_schema(schema)
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_read_only_properties_are_no_part_of_creating_and_optional_in_replacing() -> None:
    """What was read can be put back; nothing read-only can be posted."""
    assert "created_on" not in body_schema(BodyFruit, "create")["properties"]
    assert body_schema(BodyFruit, "replace")["properties"]["created_on"]["readOnly"] is True
    assert body_schema(BodyFruit, "replace")["required"] == ["color"]
    assert pointers({"color": "x", "created_on": "2020-01-01T00:00:00Z", "fruit_id": "x"}) == {
        ("/created_on", "readOnly"),
        ("/fruit_id", "readOnly"),
    }


def test_all_faults_are_told_at_once_with_pointers_into_the_body() -> None:
    """Each with the keyword that it breaks."""
    assert pointers({"count": -1, "size": "m", "pin": "x", "grower": {"town": 1}, "nope": 1, "a/b~c": "x"}) == {
        ("/color", "required"),
        ("/count", "minimum"),
        ("/size", "enum"),
        ("/pin", "pattern"),
        ("/grower/city", "required"),
        ("/grower/town", "additionalProperties"),
        ("/nope", "additionalProperties"),
        ("/a~1b~0c", "minLength"),
    }


def test_a_body_that_is_no_object_is_one_fault_at_the_root() -> None:
    """Whatever else it is."""
    for body in (None, 1, "x", [], True):
        assert pointers(body) == {("", "type")}


def test_what_a_collection_adds_to_items_is_accepted() -> None:
    """`_href` and `_etag` may be sent back."""
    assert pointers({"color": "x", "_href": "/x", "_etag": '"1-a"'}) == set()


def test_a_fault_never_repeats_the_value() -> None:
    """Values may be secret; the sentence says what is wanted."""
    found = body_problems(BodyFruit, "create", {"color": "x", "pin": "hunter2"})
    assert "hunter2" not in str(found)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["color", "count", "size", "grower", "city", "x"]), inner, max_size=4)
    ),
)


# Of these more than half are valid, of those above next to none is.
BODIES = st.fixed_dictionaries(
    {"color": st.text(max_size=3)},
    optional={
        "count": st.integers(-1, 2) | st.sampled_from([0.5, 1.0, 2**64]),
        "size": st.sampled_from(["s", "l", "l", "m"]),
        "pin": st.sampled_from(["0", "12", "1x", ""]),
        "grower": st.none() | st.fixed_dictionaries({"city": st.text(max_size=3)}),
        "a/b~c": st.none() | st.text(min_size=1, max_size=3),
    },
)


def test_there_is_a_fault_if_and_only_if_the_schema_says_so() -> None:
    """The list is empty exactly for valid bodies, and what the schema accepts the model accepts, too."""
    validator = Draft202012Validator(body_schema(BodyFruit, "create"))
    valid = Counter[bool]()

    @settings(max_examples=100)
    @given(VALUES | BODIES)
    def law(body: object) -> None:
        valid[validator.is_valid(body)] += 1
        assert bool(body_problems(BodyFruit, "create", body)) != validator.is_valid(body)
        if validator.is_valid(body):
            BodyFruit.model_validate(body)

    law()
    assert min(valid[True], valid[False]) > 5
