"""Upgrades from older versions of a type: what may be declared, and what a document becomes."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tornado_couch import Key, Model, upgrade
from tornado_couch.errors import InvalidDocument, ModelDefinitionError, UnsupportedVersion
from tornado_couch.models import from_document, model_info, to_document

Properties = dict[str, Any]


@upgrade("fruit_v1.2", to="fruit_v2.0")
def count_in_grams(fruit: Properties) -> Properties:
    fruit["grams"] = fruit.pop("kilos", 0) * 1000
    return fruit


class UpgradedFruit(Model, type="fruit_v2.1", key="fruit_id", upgrades=[count_in_grams]):
    fruit_id: Key
    color: str
    grams: int = 0
    note: str | None = None

    @upgrade("fruit_v1.0", to="fruit_v1.1")
    @staticmethod
    def spell(fruit: Properties) -> Properties:
        return {**{name: value for name, value in fruit.items() if name != "colour"}, "color": fruit["colour"]}


def stored(version: str, **properties: Any) -> dict[str, Any]:
    return {"_id": "f1", "_rev": "1-a", "type": f"fruit_v{version}", "fruit_id": "f1", **properties}


def test_upgrades_are_applied_in_a_chain() -> None:
    """From each version all that follow, also across a major version, and minor ones that changed nothing."""
    for document in (
        stored("1.0", colour="red", kilos=2),
        stored("1.1", color="red", kilos=2),
        stored("1.2", color="red", kilos=2),
        stored("2.0", color="red", grams=2000),
        stored("2.1", color="red", grams=2000),
    ):
        fruit = from_document(UpgradedFruit, document)
        assert (fruit.color, fruit.grams, fruit._rev) == ("red", 2000, "1-a")
        written = to_document(fruit)
        assert written == stored("2.1", color="red", grams=2000)


def test_what_an_upgrade_passes_on_is_kept_and_what_it_leaves_out_is_gone() -> None:
    """Members that are no property are not shown to it, and survive it."""
    seen: list[Properties] = []

    class Plum(Model, type="plum_v1.1"):
        size: int = 0

        @upgrade("plum_v1.0", to="plum_v1.1")
        @staticmethod
        def look(plum: Properties) -> Properties:
            seen.append(copy.deepcopy(plum))
            plum["size"] = plum.pop("old")["size"]
            return plum

    document = {
        "_id": "p",
        "_rev": "1-a",
        "type": "plum_v1.0",
        "old": {"size": 3},
        "other": [1],
        "tornado_couch:idempotency": "x",
        "_attachments": {},
    }
    before = copy.deepcopy(document)
    plum = from_document(Plum, document)
    assert document == before
    assert seen == [{"old": {"size": 3}, "other": [1]}]
    assert to_document(plum) == {
        "_id": "p",
        "_rev": "1-a",
        "type": "plum_v1.1",
        "size": 3,
        "other": [1],
        "tornado_couch:idempotency": "x",
        "_attachments": {},
    }


def test_a_newer_minor_version_is_read_and_keeps_its_version_and_properties() -> None:
    """It is never written with a lower number."""
    document = stored("2.7", color="red", grams=1, later={"a": 1})
    fruit = from_document(UpgradedFruit, document)
    fruit.color = "blue"
    assert to_document(fruit) == {**document, "color": "blue"}


def test_a_newer_major_version_is_a_clear_error() -> None:
    """That names both versions, and the document."""
    with pytest.raises(UnsupportedVersion, match=r"fruit_v3\.0 .* fruit_v2\.1: a newer major version") as caught:
        from_document(UpgradedFruit, stored("3.0", color="red"))
    assert caught.value.document_id == "f1"


def test_a_missing_link_is_a_clear_error() -> None:
    """Of the one document: from version 0 nothing leads on."""
    with pytest.raises(UnsupportedVersion, match=r"no upgrade from fruit_v0\.9") as caught:
        from_document(UpgradedFruit, stored("0.9", color="red"))
    assert caught.value.document_id == "f1"


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (lambda fruit: fruit["missing"], "raised KeyError"),
        (lambda fruit: None, "did not return an object"),
        (lambda fruit: {1: 2}, "did not return an object"),
        (lambda fruit: {**fruit, "type": "fruit_v9.0"}, "returned 'type'"),
        (lambda fruit: {**fruit, "_id": "other"}, "returned '_id'"),
        (lambda fruit: {**fruit, "tornado_couch_signature": {}}, "returned 'tornado_couch_signature'"),
        (lambda fruit: {**fruit, "fruit_id": "other"}, "changed the key"),
    ],
)
def test_an_upgrade_that_fails_is_the_one_documents_fault(broken: Any, words: str) -> None:
    """The error has no value of the document in it."""

    class Broken(Model, type="fruit_v1.1", key="fruit_id", upgrades=[upgrade("fruit_v1.0", to="fruit_v1.1")(broken)]):
        fruit_id: Key

    with pytest.raises(InvalidDocument, match=words) as caught:
        from_document(Broken, stored("1.0", secret="s3cret"))
    assert caught.value.document_id == "f1"
    assert "s3cret" not in str(caught.value)


def identity(properties: Properties) -> Properties:
    return properties


@pytest.mark.parametrize(
    ("source", "to", "words"),
    [
        ("fruit", "fruit_v1.1", "NAME_vMAJOR.MINOR"),
        ("fruit_v1.1", "fruit_v1.0", "later version"),
        ("fruit_v1.1", "fruit_v1.1", "later version"),
        ("fruit_v1.0", "plum_v1.1", "same type"),
    ],
)
def test_an_upgrade_leads_to_a_later_version_of_the_same_type(source: str, to: str, words: str) -> None:
    """So there is no circle."""
    with pytest.raises(ModelDefinitionError, match=words):
        upgrade(source, to=to)


def test_an_upgrade_cannot_be_a_coroutine() -> None:
    """It is pure."""

    async def slow(properties: Properties) -> Properties:
        return properties

    with pytest.raises(ModelDefinitionError, match="coroutine"):
        upgrade("fruit_v1.0", to="fruit_v1.1")(slow)


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([("fruit_v1.0", "fruit_v1.1"), ("fruit_v1.0", "fruit_v1.2")], r"two upgrades begin with fruit_v1\.0"),
        ([("fruit_v1.0", "fruit_v2.0")], r"past the model's own fruit_v1\.3"),
        ([("plum_v1.0", "plum_v1.1")], r"plum_v1\.0 is of another type"),
    ],
)
def test_what_could_not_be_meant_is_refused_when_the_class_is_defined(steps: list[Any], words: str) -> None:
    """The error names the class and the version."""
    marked = [upgrade(source, to=to)(lambda properties: properties) for source, to in steps]
    with pytest.raises(ModelDefinitionError, match=f"Bad: .*{words}"):

        class Bad(Model, type="fruit_v1.3", upgrades=marked):
            pass


def test_a_function_without_its_versions_is_refused() -> None:
    """In `upgrades=`; elsewhere in a class it is a function like any other."""
    with pytest.raises(ModelDefinitionError, match="no @upgrade"):

        class Bad(Model, type="fruit_v1.1", upgrades=[identity]):
            pass


def test_upgrades_are_inherited_and_can_be_replaced() -> None:
    """By the name of the function; those of a base of another type are left out."""

    class Kind(Model, type="kind_v1.1"):
        @upgrade("kind_v1.0", to="kind_v1.1")
        @staticmethod
        def first(kind: Properties) -> Properties:
            return {**kind, "a": 1}

    class Later(Kind, type="kind_v1.2"):
        a: int = 0
        b: int = 0

        @upgrade("kind_v1.1", to="kind_v1.2")
        @staticmethod
        def second(kind: Properties) -> Properties:
            return {**kind, "b": kind["a"]}

    class Other(Later, type="other_v1.0"):
        pass

    class Replaced(Later, type="kind_v1.2"):
        @upgrade("kind_v1.0", to="kind_v1.1")
        @staticmethod
        def first(kind: Properties) -> Properties:
            return {**kind, "a": 5}

    document = {"_id": "k", "type": "kind_v1.0"}
    assert from_document(Later, document).b == 1
    assert from_document(Replaced, document).b == 5
    assert model_info(Other).upgrades == {}


@pytest.mark.parametrize("name", ["tornado_couch_version", "tornado_couch_deleted_on", "tornado_couch:idempotency"])
def test_names_of_this_package_are_refused_for_properties(name: str) -> None:
    """They are hidden from clients and from upgrades."""
    from pydantic import Field

    with pytest.raises(ModelDefinitionError, match="package's own"):

        class Bad(Model, type="fruit_v1.0"):
            x: str = Field(alias=name)
