"""What a class statement declares, and what it refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from tests.models.models import Address
from tornado_couch.errors import InvalidDocument, ModelDefinitionError, UnsupportedVersion, ValidationFailed
from tornado_couch.models import (
    CreatedOn,
    DocumentType,
    Indexed,
    Key,
    Model,
    ReadOnly,
    Timestamp,
    UpdatedOn,
    WriteOnly,
    design_documents,
    format_timestamp,
    from_document,
    model_info,
    replaced,
    representation,
    stamped,
    to_document,
)


class Fruit(Model, type="fruit_v1.2", key="fruit_id"):
    fruit_id: Key
    color: Annotated[str, Indexed()]
    pin: Annotated[str | None, WriteOnly()] = None
    grade: Annotated[int, ReadOnly()] = 1
    grower: Address | None = None
    created_on: CreatedOn
    updated_on: UpdatedOn


STORED = {
    "_id": "f1",
    "_rev": "1-a",
    "type": "fruit_v1.2",
    "fruit_id": "f1",
    "color": "red",
    "grade": 3,
    "pin": "1234",
    "created_on": "2020-01-01T00:00:00.000000+00:00",
    "updated_on": "2020-01-01T00:00:00.000000+00:00",
}


@pytest.mark.parametrize(
    "text", ["fruit", "fruit_v1", "fruit_v1.0\n", "fruit v_v1.0", "früit_v1.0", "_v1.0", "f_v١.0", 3]
)
def test_a_type_is_name_v_major_minor_and_nothing_else(text: object) -> None:
    """NAME_vMAJOR.MINOR in ASCII, the whole text."""
    assert DocumentType.parse(text) is None


def test_a_class_with_a_bad_type_is_refused_when_it_is_defined() -> None:
    """The error names the class and shows a good type."""
    with pytest.raises(ModelDefinitionError, match=r"Bad: type 'bad' .*fruit_v1\.0"):

        class Bad(Model, type="bad"):
            pass


@pytest.mark.parametrize("options", [{}, {"key": "name", "unique": True}, {"key": "name", "history": True}])
def test_a_type_with_ids_of_its_own_has_no_colon_in_its_name(options: dict[str, Any]) -> None:
    """The type `a` with the key `b:c` and the type `a:b` with the key `c` would share the document `a:b:c`."""
    with pytest.raises(ModelDefinitionError, match=r"'a:b' must not contain a colon"):

        class Bad(Model, type="a:b_v1.0", **options):
            name: str


def test_a_type_whose_ids_are_not_made_of_its_name_can_have_a_colon() -> None:
    """Ids that CouchDB gives belong to no name."""

    class Good(Model, type="a:b_v1.0", key="name_id"):
        name_id: Key

    assert not model_info(Good).owns("a:b:c")


@pytest.mark.parametrize("alias", ["type", "_id", "_rev", "_x"])
def test_names_of_the_document_itself_are_refused_for_properties(alias: str) -> None:
    """`type` and names with a leading underscore are not a property's."""
    with pytest.raises(ModelDefinitionError, match="cannot be called"):

        class Bad(Model, type="bad_v1.0"):
            x: Annotated[str, Field(alias=alias)]


def test_a_key_that_is_no_property_is_refused() -> None:
    """The key must name a property."""
    with pytest.raises(ModelDefinitionError, match="no property called 'nope'"):

        class Bad(Model, type="bad_v1.0", key="nope"):
            x: str


def test_a_model_without_a_type_is_a_base_only() -> None:
    """It can be derived from and has no type of its own, nor hands one on."""

    class Base(Model):
        x: int

    class Thing(Base, type="thing_v1.0"):
        pass

    class Part(Thing):
        pass

    assert model_info(Thing).type == DocumentType("thing", 1, 0)
    for cls in (Base, Part):
        with pytest.raises(ModelDefinitionError, match="has no type"):
            model_info(cls)


def test_id_and_revision_leave_every_name_to_the_user() -> None:
    """Properties may be called id, rev, key, info, or version."""

    class Odd(Model, type="odd_v1.0"):
        id: str
        rev: str
        key: str
        info: str
        version: str

    odd = from_document(
        Odd,
        {"_id": "1", "_rev": "1-x", "type": "odd_v1.0", **dict.fromkeys(("id", "rev", "key", "info", "version"), "v")},
    )
    assert (odd._id, odd._rev, odd.id, odd.rev) == ("1", "1-x", "v", "v")


def test_a_document_survives_the_round_trip() -> None:
    """What is read is written back, unknown properties and attachments included."""
    document = {
        **STORED,
        "grower": {"city": "Oslo", "zip": 7},
        "later": [1, {"x": None}],
        "_attachments": {"a": {"stub": True}},
    }
    assert to_document(from_document(Fruit, document)) == document


def test_members_that_couchdb_adds_to_an_answer_are_not_written_back() -> None:
    """`_conflicts` and `_revisions` are no part of the document."""
    document = {**STORED, "_conflicts": ["1-b"], "_revisions": {"start": 1, "ids": ["a"]}}
    assert to_document(from_document(Fruit, document)) == STORED


def test_a_property_that_is_none_by_default_is_not_stored_when_none() -> None:
    """So that an index by it has no null rows."""
    assert "pin" not in to_document(Fruit(color="red"))


def test_every_time_is_stored_with_six_decimals_in_utc() -> None:
    """Also those declared as plain datetimes, and `Timestamp`s inside other models."""

    class Inner(BaseModel):
        at: Timestamp

    class Event(Model, type="event_v1.0"):
        at: datetime
        ends: Timestamp
        inner: Inner

    noon = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    stored = to_document(Event(at=noon, ends=noon, inner=Inner(at=noon)))
    assert {stored["at"], stored["ends"], stored["inner"]["at"]} == {"2026-01-01T10:00:00.000000+00:00"}


@given(st.lists(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-7))])), min_size=2, max_size=2))
def test_time_stamps_sort_as_strings(moments: list[datetime]) -> None:
    """Text order is time order."""
    try:
        earlier, later = sorted(each.astimezone(UTC) for each in moments)
    except OverflowError:
        return
    assert format_timestamp(earlier) <= format_timestamp(later)


def test_created_on_is_set_once_and_updated_on_each_time() -> None:
    """The store's clock decides both."""
    fruit = stamped(Fruit(color="red"), new=True, now=lambda: datetime(2020, 1, 1, tzinfo=UTC))
    stamped(fruit, new=False, now=lambda: datetime(2021, 1, 1, tzinfo=UTC))
    assert (fruit.created_on.year, fruit.updated_on.year) == (2020, 2021)


def test_a_write_only_property_is_stored_and_never_shown() -> None:
    """It is in the document and not in the representation."""
    fruit = from_document(Fruit, STORED)
    assert to_document(fruit)["pin"] == "1234"
    assert "pin" not in representation(fruit)


def test_a_later_minor_version_can_be_read_and_keeps_its_type() -> None:
    """Nothing of it is lost, and it is not passed off as older than it is."""
    document = {**STORED, "type": "fruit_v1.9", "new": True}
    assert to_document(from_document(Fruit, document)) == document


def test_an_earlier_minor_version_is_written_as_the_present_one() -> None:
    """Properties that came since have their defaults."""
    document = {name: value for name, value in STORED.items() if name != "grade"}
    written = to_document(from_document(Fruit, {**document, "type": "fruit_v1.0"}))
    assert (written["type"], written["grade"]) == ("fruit_v1.2", 1)


def test_another_major_version_is_a_clear_error() -> None:
    """It is never read as something it may not be."""
    with pytest.raises(UnsupportedVersion, match=r"fruit_v2\.0"):
        from_document(Fruit, {**STORED, "type": "fruit_v2.0"})


def test_a_stored_document_that_does_not_fit_says_where_and_not_what() -> None:
    """The error has pointers, and no values, which may be personal data."""
    with pytest.raises(InvalidDocument) as caught:
        from_document(Fruit, {**STORED, "color": {"secret": "x"}})
    assert caught.value.problems[0]["pointer"] == "/color"
    assert "secret" not in str(caught.value)


def test_replacing_keeps_what_a_client_cannot_set_and_drops_what_it_left_out() -> None:
    """Read-only, unseen write-only and unknown properties stay; an omitted optional one is gone."""
    current = from_document(Fruit, {**STORED, "grower": {"city": "Oslo"}, "later": 1})
    assert to_document(replaced(current, {"color": "blue"})) == {**STORED, "color": "blue", "later": 1}


def test_replacing_takes_back_what_was_read_and_refuses_another_value() -> None:
    """A read-only property may be sent with the value that is stored."""
    current = from_document(Fruit, STORED)
    assert replaced(current, representation(current)).grade == 3
    with pytest.raises(ValidationFailed) as caught:
        replaced(current, {"color": "red", "grade": 4})
    assert caught.value.problems[0]["pointer"] == "/grade"


def test_a_change_in_python_is_checked_too() -> None:
    """Assigning a value of another type fails."""
    with pytest.raises(ValueError, match="valid string"):
        Fruit(color="red").color = 3  # type: ignore[assignment]


def test_there_is_one_design_document_for_each_index_and_one_for_the_key() -> None:
    """Each has a single view of its own name."""
    found = {each["_id"]: list(each["views"]) for each in design_documents(Fruit)}
    assert found == {
        "_design/fruit_by_color": ["fruit_by_color"],
        "_design/fruit_by_fruit_id": ["fruit_by_fruit_id"],
    }


def test_a_key_in_a_url_has_one_spelling() -> None:
    """007 is not a second name of 7, and text is no number."""

    class Numbered(Model, type="numbered_v1.0", key="n", unique=True):
        n: int

    info = model_info(Numbered)
    assert [info.parse_key(text) for text in ("7", "007", "x", "7.0", "-7")] == [7, None, None, None, -7]
    assert info.document_id(7) == "numbered:7"
