"""Indexes and reductions, as a class statement declares them and as design documents hold them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest
from pydantic import Field

from tornado_couch import Count, CreatedOn, Indexed, Key, Model, Stats, Sum, WriteOnly
from tornado_couch.errors import ModelDefinitionError
from tornado_couch.models import design_documents, model_info, reduction_view


class IndexedFruit(
    Model,
    type="fruit.x_v1.0",
    key="fruit_id",
    indexes=[("color", "created_on"), ("grown-by", "size", "color")],
    reductions={"by_color": Count("color"), "by_both": Count("color", "size"), "sizes": Stats("size", by="color")},
):
    fruit_id: Key
    color: Annotated[str, Indexed()] = "red"
    size: int | None = None
    grower: Annotated[str, Field(alias="grown-by")] = "nobody"
    created_on: Annotated[CreatedOn, Indexed()]


def test_there_is_one_design_document_for_each_index_and_reduction() -> None:
    """Each has a single view of its own name; a count by an indexed property needs none of its own."""
    found = {each["_id"].removeprefix("_design/"): list(each["views"]) for each in design_documents(IndexedFruit)}
    assert found == {
        name: [name]
        for name in (
            "fruit.x_by_fruit_id",
            "fruit.x_by_color",
            "fruit.x_by_created_on",
            "fruit.x_by_color_and_created_on",
            "fruit.x_by_grown-by_and_size_and_color",
            "fruit.x_count_by_color_and_size",
            "fruit.x_stats_of_size_by_color",
        )
    }
    assert reduction_view(IndexedFruit, "by_color") == "fruit.x_by_color"


def test_the_same_model_gives_the_same_design_documents() -> None:
    """So that installing again changes nothing, and builds no index anew."""
    assert design_documents(IndexedFruit) == design_documents(IndexedFruit)


def test_an_index_of_several_properties_is_as_couchdb_would_write_it() -> None:
    """Language "query", the fields in order, and only documents of the type, in whatever version."""
    (document,) = [each for each in design_documents(IndexedFruit) if each["_id"].endswith("_by_color_and_created_on")]
    assert document["language"] == "query"
    view = document["views"]["fruit.x_by_color_and_created_on"]
    assert list(view["map"]["fields"].items()) == [("color", "asc"), ("created_on", "asc")]
    pattern = view["map"]["partial_filter_selector"]["type"]["$regex"]
    assert re.match(pattern, "fruit.x_v12.3")
    for other in ("fruit_x_v1.0", "fruit.x_v1.0\n", "fruit.x_v1", "xfruit.x_v1.0", "fruit.xx_v1.0"):
        assert not re.match(pattern, other)


@pytest.mark.parametrize(
    ("indexes", "message"),
    [
        ([("color",)], "for one there is Indexed"),
        ([("color", "color")], "each once"),
        (["color"], "a tuple of names"),
        ("color", "a tuple of names"),
        ([("color", "nope")], "no property called 'nope'"),
        ([("color", "a.b")], "Mango cannot index"),
        ([("color", "size"), ("color", "size")], "two indexes would be called"),
    ],
)
def test_an_index_declared_wrongly_is_refused_when_the_class_is_defined(indexes: Any, message: str) -> None:
    """The error says what is wrong."""
    with pytest.raises(ModelDefinitionError, match=message):

        class Bad(Model, type="bad_v1.0", indexes=indexes):
            color: str
            size: int
            dotted: Annotated[str, Field(alias="a.b")]


def test_two_indexes_never_share_a_name() -> None:
    """A property can be called as two others together."""
    with pytest.raises(ModelDefinitionError, match="two indexes would be called 'bad_by_a_and_b'"):

        class Bad(Model, type="bad_v1.0", indexes=[("a", "b")]):
            a: str
            b: str
            a_and_b: Annotated[str, Indexed()]


@pytest.mark.parametrize(
    ("reductions", "message"),
    [
        ({"by": Count()}, "name the properties"),
        ({"by": Count("color", "color")}, "each once"),
        ({"by": Count("nope")}, "no property called 'nope'"),
        ({"by": Count("pin")}, "not for clients"),
        ({"by": Sum("secret", by="color")}, "not for clients"),
        ({"by": Sum("color", by="size")}, "is not a number"),
        ({"by": Stats("flag", by="size")}, "is not a number"),
        ({"a/b": Count("color")}, "a name has letters"),
        ({"_bulk": Count("color")}, "begins with a letter"),
        ({"": Count("color")}, "begins with a letter"),
    ],
)
def test_a_reduction_declared_wrongly_is_refused_when_the_class_is_defined(reductions: Any, message: str) -> None:
    """So is one that would tell what clients must not see."""
    with pytest.raises(ModelDefinitionError, match=message):

        class Bad(Model, type="bad_v1.0", reductions=reductions):
            color: str
            size: int | None
            flag: bool
            pin: Annotated[str, WriteOnly()]
            secret: Annotated[int, WriteOnly()]


def test_indexes_and_reductions_need_a_type() -> None:
    """A base has no documents."""
    for arguments in ({"indexes": [("a", "b")]}, {"reductions": {"by": Count("a")}}):
        with pytest.raises(ModelDefinitionError, match="need a `type`"):

            class Bad(Model, **arguments):  # type: ignore[misc,arg-type]
                a: str
                b: str


def test_a_time_stamp_can_be_indexed() -> None:
    """`Annotated[CreatedOn, Indexed()]` is still set by the store, and read-only."""
    created = model_info(IndexedFruit).properties["created_on"]
    assert (created.indexed, created.read_only, created.stamp is not None) == (True, True, True)


def test_a_value_from_text_is_as_the_document_stores_it() -> None:
    """Times of plain datetimes included, or they would be looked for in another form."""

    class Event(Model, type="event_v1.0"):
        at: Annotated[datetime, Indexed()]
        size: Annotated[float, Indexed()]

    info = model_info(Event)
    assert (
        info.stored_value("at", info.parse_value("at", "2026-01-01T12:00:00+02:00"))
        == "2026-01-01T10:00:00.000000+00:00"
    )
    assert info.stored_value("at", datetime(2026, 1, 1, tzinfo=UTC)) == "2026-01-01T00:00:00.000000+00:00"
    assert info.stored_value("size", info.parse_value("size", "1")) == 1.0


def test_a_default_is_part_of_the_index_and_quoted() -> None:
    """A document from before the property was added is found under what it is read as."""

    class Odd(Model, type="odd_v1.0"):
        name: Annotated[str, Indexed()] = "\"\u2028</script>'"
        size: Annotated[int | None, Indexed()] = None
        tags: Annotated[list[str], Indexed()] = Field(default_factory=list)

    maps = [each["views"].popitem()[1]["map"] for each in design_documents(Odd)]
    assert 'value("name", "\\"\\u2028</script>\'")' in maps[1]
    assert 'value("size", null)' in maps[2]
    assert 'value("tags", null)' in maps[3]
