"""The quick yes of `jsonschema-rs`: never where `jsonschema` says no."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from annotated_types import Ge, Len, MaxLen
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import AnyUrl, BaseModel, Field

from tornado_couch import CreatedOn, Key, Model
from tornado_couch.models.schema import bodies as quick_schema
from tornado_couch.models.schema import bodies as schema
from tornado_couch.models.schema.bodies import body_problems, body_schema, quick_check

FORMATS = schema._formats()

numbers = st.sampled_from(
    [0, 1, -1, 2, 1.0, 1.5, -0.0, 2**53, 2**53 + 1, 2**63, 2**64, 2**64 + 1, 1e308, 5e-324, 10**30]
)
texts = st.sampled_from(
    [
        "",
        "a",
        "ab",
        "é",
        "\U0001f34e",
        "e\u0301",
        "1",
        "abc\n",
        "2024-01-01",
        "2024-01-01T00:00:00Z",
        "2024-02-30",
        "x" * 9,
    ]
)
scalars = st.none() | st.booleans() | numbers | texts
values: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
)
sizes = st.integers(0, 3)
TYPES = ["null", "boolean", "integer", "number", "string", "array", "object"]


def schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Schemas of every keyword that is judged quickly."""
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(TYPES) | st.lists(st.sampled_from(TYPES), min_size=1, max_size=3, unique=True),
            "enum": st.lists(values, min_size=1, max_size=3),
            "const": values,
            "minimum": numbers,
            "maximum": numbers,
            "exclusiveMinimum": numbers,
            "exclusiveMaximum": numbers,
            "minLength": sizes,
            "maxLength": sizes,
            "pattern": st.sampled_from([r"^\d+$", r"\w", r"^a", r"b$", r"\s", r"(?i)A", r"^.$", r"\Aab\Z", ""]),
            "format": st.sampled_from(
                ["date", "date-time", "email", "uuid", "ipv4", "uri", "regex", "time", "nonsense"]
            ),
            "minItems": sizes,
            "maxItems": sizes,
            "uniqueItems": st.booleans(),
            "items": inner | st.booleans(),
            "prefixItems": st.lists(inner, min_size=1, max_size=2),
            "required": st.lists(st.sampled_from("abc"), unique=True),
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
            "additionalProperties": inner | st.booleans(),
            "propertyNames": inner,
            "minProperties": sizes,
            "maxProperties": sizes,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
            "title": st.just("t"),
        },
    )


def test_what_is_quickly_found_valid_is_valid() -> None:
    """And nearly all that is valid is found so."""
    found: list[bool] = []

    @settings(max_examples=60)
    @given(st.recursive(st.just({}), schemas, max_leaves=6), values)
    @example({"pattern": "a", "format": "date", "allOf": [{"maxLength": 1}]}, "ab")
    @example({"$defs": {"x": {"pattern": r"^\d$"}}, "$ref": "#/$defs/x"}, "٣")
    @example({"maximum": 2**64}, 2**64 + 1)
    @example({"enum": [True]}, 1)
    @example({"uniqueItems": True}, [1, True])
    def law(given_schema: dict[str, Any], value: Any) -> None:
        check = quick_check(given_schema, FORMATS)
        assert check is not None
        quickly = check(value)
        if Draft202012Validator(given_schema, format_checker=FORMATS).is_valid(value):
            found.append(quickly)
        else:
            assert not quickly

    law()
    assert found.count(True) > 0.9 * len(found) > 5


@pytest.mark.parametrize(
    "odd", [{"multipleOf": 0.1}, {"patternProperties": {"a": {}}}, {"$ref": "http://x/"}, {"if": {}}, {"x-ours": 1}]
)
def test_a_schema_with_a_keyword_that_may_mean_something_else_is_left_alone(odd: dict[str, Any]) -> None:
    """Wherever it stands."""
    for whole in (odd, {"properties": {"a": odd}}, {"anyOf": [{"items": odd}]}, {"$defs": {"a": {"not": odd}}}):
        assert quick_check(whole, FORMATS) is None


class Town(BaseModel):
    name: Annotated[str, MaxLen(3)]
    founded: date | None = None


class Order(Model, type="order_v1.0", key="order_id"):
    order_id: Key
    code: Annotated[str, Field(pattern=r"^[a-z]\d$")]
    count: Annotated[int, Ge(1)] = 1
    tags: Annotated[list[str], Len(0, 2)] = Field(default_factory=list)
    kind: Literal["a", "b"] | None = None
    town: Town | None = None
    url: AnyUrl | None = None
    uuid: UUID | None = None
    parts: dict[str, float] = Field(default_factory=dict)
    created_on: CreatedOn


BODIES = st.fixed_dictionaries(
    {},
    optional={
        "code": st.sampled_from(["a1", "A1", "a1\n", 3]),
        "count": st.sampled_from([1, 0, 1.0, "1", True, 10**20]),
        "tags": st.lists(st.sampled_from(["x", 1]), max_size=3),
        "kind": st.sampled_from(["a", "c", None]),
        "town": st.sampled_from(
            [{"name": "abc"}, {"name": "abcd", "x": 1}, {"name": "a", "founded": "2024-02-30"}, None]
        ),
        "url": st.sampled_from(["http://a/", "no url"]),
        "uuid": st.sampled_from(["00000000-0000-0000-0000-000000000001", "1"]),
        "parts": st.sampled_from([{"a": 1.5}, {"a": "x"}]),
        "created_on": st.just("2024-01-01T00:00:00Z"),
        "_etag": st.just("x"),
        "other": st.just(1),
    },
)


@settings(max_examples=40)
@given(BODIES | values)
def test_the_faults_are_the_same_with_and_without_it(body: Any) -> None:
    """To the letter and in order, of creating and of replacing."""
    for action in ("create", "replace"):
        check = quick_check(body_schema(Order, action), FORMATS)
        assert check is not None
        slow = [error.message for error in schema._validator(Order, action).iter_errors(body)]
        assert check(body) is not bool(slow)
        assert (body_problems(Order, action, body) == []) is (slow == [])


def test_without_the_package_all_is_left_to_jsonschema(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is optional."""
    monkeypatch.setattr(quick_schema, "jsonschema_rs", None)
    assert quick_check({}, FORMATS) is None
