"""Validators run on what comes in, and not on what is stored, unless they turn the stored form into the value."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Annotated, Any

import pydantic
import pytest
from annotated_types import Predicate
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WrapValidator,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from tornado_couch.errors import InvalidDocument, ModelDefinitionError
from tornado_couch.models import Model, from_document, replaced, representation, to_document

STORED: dict[str, Any] = {"_id": "a", "_rev": "1-a", "type": "made_v1.0"}


def declare(annotation: Any, **namespace: Any) -> type[Model]:
    """A model with one property, `x`, of a type."""
    annotations = {"x": annotation, **namespace.pop("more", {})}
    return type(
        "Made", (Model,), {"__annotations__": annotations, "__module__": __name__, **namespace}, type="made_v1.0"
    )


class Rules:
    """What is allowed, which changes."""

    strict = False


@pytest.fixture
def stricter() -> Any:
    """Rules that no value follows."""
    Rules.strict = False
    yield lambda: setattr(Rules, "strict", True)
    Rules.strict = False


def judged(value: Any) -> Any:
    if Rules.strict:
        raise ValueError("not any more")
    return value


def around(value: Any, handler: Callable[[Any], Any]) -> Any:
    return judged(handler(value))


class Line(BaseModel):
    article: Annotated[str, AfterValidator(judged)]


JUDGED: list[tuple[str, Any, Any]] = [
    ("after", Annotated[str, AfterValidator(judged)], "a"),
    ("before", Annotated[int, BeforeValidator(judged)], 3),
    ("wrap", Annotated[str, WrapValidator(around)], "a"),
    ("predicate", Annotated[str, Predicate(lambda value: not Rules.strict)], "a"),
    ("in a list", list[Annotated[str, AfterValidator(judged)]], ["a"]),
    ("in a nested model", list[Line], [{"article": "a"}]),
    ("a date", Annotated[dt.date, AfterValidator(judged)], "2020-02-03"),
    ("optional", Annotated[str, AfterValidator(judged)] | None, "a"),
]


@pytest.mark.parametrize(("annotation", "value"), [row[1:] for row in JUDGED], ids=[row[0] for row in JUDGED])
def test_what_was_let_in_once_is_read_for_ever(annotation: Any, value: Any, stricter: Callable[[], None]) -> None:
    """Under a validator that changed, too; a new value is judged by the new one, and an unchanged one is not."""
    made = declare(annotation, more={"note": str}, note="")
    stored = {**STORED, "x": value, "note": "n"}
    model = from_document(made, stored)
    stricter()
    again = from_document(made, stored)
    assert again == model
    assert to_document(again) == stored
    with pytest.raises(ValidationError):
        made(x=value)
    changed = replaced(again, {**representation(again), "note": "other"})
    assert (changed.x, changed.note) == (model.x, "other")  # type: ignore[attr-defined]
    if annotation is not dt.date:
        other = [] if isinstance(value, list) else "zzz"
        with pytest.raises(Exception, match=r"/x|valid"):
            replaced(again, {"x": other or [{"article": "b"}], "note": "n"})


def test_decorated_validators_are_told_apart_as_well(stricter: Callable[[], None]) -> None:
    """Of a field, and of the whole model."""

    class Made(Model, type="made_v1.0"):
        start: int
        end: int = 9

        @field_validator("start")
        @classmethod
        def check(cls, value: int) -> int:
            return int(judged(value))

        @model_validator(mode="after")
        def ordered(self) -> Made:
            if self.end < self.start or Rules.strict:
                raise ValueError("the end must come after the start")
            return self

    with pytest.raises(ValidationError):
        Made(start=3, end=2)
    stored = {**STORED, "start": 3, "end": 2}
    assert from_document(Made, stored).end == 2
    stricter()
    model = from_document(Made, {**stored, "end": 4})
    assert replaced(model, representation(model)) == model


@pytest.mark.parametrize(
    ("annotation", "stored"),
    [
        (pydantic.FutureDate, "2020-01-01"),
        (pydantic.FutureDatetime | None, "2020-01-01T00:00:00.000000+00:00"),
        (list[pydantic.PastDate], ["2999-01-01"]),
        (dict[str, tuple[pydantic.FutureDate, int]], {"a": ["2020-01-01", 1]}),
        (pydantic.FilePath, "/there/is/no/such/file"),
        (pydantic.DirectoryPath | None, "/there/is/no/such/folder"),
        (pydantic.NewPath, "/"),
    ],
    ids=["future date", "future time", "past date", "inside", "file", "folder", "new path"],
)
def test_what_the_clock_or_a_disk_has_overtaken_is_read(annotation: Any, stored: Any) -> None:
    """Time has passed and files have gone: that is judged when a value comes in, and then no more."""
    made = declare(annotation, more={"note": str}, note="")
    document = {**STORED, "x": stored, "note": ""}
    model: Any = from_document(made, document)
    assert to_document(model) == document
    for body in ({"x": stored}, {"x": stored, "note": "b"}):
        assert to_document(replaced(model, body)) == {**document, **body}
    model.note = "c"
    with pytest.raises(ValidationError):
        made(x=stored)


def test_types_are_checked_on_reading() -> None:
    """And so are the constraints that the API document shows."""
    made = declare(Annotated[int, Field(ge=3), AfterValidator(judged)])
    for wrong in ("a", 2, None):
        with pytest.raises(InvalidDocument, match="/x"):
            from_document(made, {**STORED, "x": wrong})


class Tags(str):
    """Text of another class."""

    __slots__ = ()


def _numbers(value: Any) -> Any:
    return [each for each in value.split(",") if each] if isinstance(value, str) else value


CONVERTING: list[tuple[str, Any, Any, Any]] = [
    (
        "before, with a serializer",
        Annotated[
            list[int],
            BeforeValidator(_numbers, json_schema_input_type=str | list[int]),
            PlainSerializer(lambda value: ",".join(map(str, value)), return_type=str),
        ],
        [1, 2],
        "1,2",
    ),
    ("after, to another class", Annotated[str, AfterValidator(Tags)], Tags("a"), "a"),
    ("after, by a function", Annotated[str, AfterValidator(lambda value: Tags(value))], Tags("a"), "a"),
    (
        "after, in a list of optional ones",
        list[Annotated[str, AfterValidator(lambda value: Tags(value))] | None],
        [Tags("a"), None],
        ["a", None],
    ),
]


@pytest.mark.parametrize(
    ("annotation", "value", "form"), [row[1:] for row in CONVERTING], ids=[row[0] for row in CONVERTING]
)
def test_a_validator_that_reads_the_stored_form_runs_on_reading(annotation: Any, value: Any, form: Any) -> None:
    """The value has the same class as before it was stored."""
    made = declare(annotation)
    document = to_document(made(x=value))
    assert document["x"] == form
    again = from_document(made, document).x  # type: ignore[attr-defined]
    assert (again, type(again)) == (value, type(value))
    if isinstance(value, list):
        assert list(map(type, again)) == list(map(type, value))


def _isbn(value: Any) -> Any:
    if not value.startswith("978-"):
        raise ValueError("no ISBN")
    return value


def _typed_isbn(value: str) -> str:
    return str(_isbn(value))


def test_where_it_cannot_be_told_examples_are_asked_for() -> None:
    """A validator that lets no sample through may do anything; its annotations tell, or an example does."""
    with pytest.raises(ModelDefinitionError, match=r"property 'x' has a validator, _isbn\(\).*examples"):
        declare(Annotated[str, AfterValidator(_isbn)])
    with pytest.raises(ModelDefinitionError, match=r"property 'x' has a validator, _isbn\(\)"):
        declare(list[Annotated[str, AfterValidator(_isbn)]])
    for annotation in (
        Annotated[str, AfterValidator(_isbn), Field(examples=["978-3"])],
        Annotated[str, AfterValidator(_typed_isbn)],
    ):
        made = declare(annotation)
        assert from_document(made, {**STORED, "x": "old"}).x == "old"  # type: ignore[attr-defined]


def test_a_model_that_changes_itself_at_each_validation_is_refused() -> None:
    """What is sent back would become another document."""
    with pytest.raises(ModelDefinitionError, match="changes its own result"):

        class Made(Model, type="made_v1.0"):
            count: int

            @model_validator(mode="before")
            @classmethod
            def counted(cls, values: Any) -> Any:
                return {**values, "count": values["count"] + 1}


def test_decorated_serializers_are_seen() -> None:
    """One that nothing reads back is refused, of a field or of the whole model."""
    with pytest.raises(ModelDefinitionError, match=r"property 'x' .*serializer"):

        class One(Model, type="made_v1.0"):
            x: int

            @field_serializer("x")
            def masked(self, value: int) -> str:
                return "…"

    with pytest.raises(ModelDefinitionError, match="model_serializer"):

        class Whole(Model, type="made_v1.0"):
            x: int

            @model_serializer
            def masked(self) -> dict[str, Any]:
                return {}


def test_a_form_that_the_schema_does_not_describe_is_refused() -> None:
    """What GET shows would not be a valid body of PUT."""
    annotation = Annotated[
        list[int], BeforeValidator(_numbers), PlainSerializer(lambda value: ",".join(map(str, value)), return_type=str)
    ]
    with pytest.raises(ModelDefinitionError, match=r"property 'x' .*json_schema_input_type"):
        declare(annotation)


def test_settings_of_the_class_are_seen() -> None:
    """A class that is strict refuses the text that JSON has for a date."""
    with pytest.raises(ModelDefinitionError, match=r"property 'x' .*strict"):
        declare(dt.date, model_config=ConfigDict(strict=True))
    assert declare(int, model_config=ConfigDict(strict=True)) is not None
