"""Filters by a part of a property: how a text begins, a member of a list, a property of a nested model."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any
from urllib.parse import quote

import pytest
from pydantic import BaseModel, Field, create_model

from tests.web.conftest import Client, Serve
from tests.web.query.test_queries import both_ways, names, refused
from tornado_couch import (
    AllowAny,
    Application,
    Database,
    Encrypted,
    Indexed,
    Model,
    Query,
    Store,
    WriteOnly,
    install,
    resource,
)
from tornado_couch.errors import ModelDefinitionError


class Place(BaseModel):
    """Where a city is."""

    country: Annotated[str | None, Indexed()] = None


class Address(BaseModel):
    """Where somebody lives."""

    city: Annotated[str, Indexed()]
    floor: Annotated[int, Indexed()] = 0
    since: Annotated[date | None, Indexed()] = None
    place: Place | None = None


class Person(Model, type="person_v1.0", key="name", unique=True, soft_delete=True):
    """Somebody with an address and hobbies."""

    name: Annotated[str, Indexed(prefix=True)]
    nick: Annotated[str | None, Indexed(prefix=True)] = None
    about: str | None = None
    hobbies: Annotated[list[str], Indexed(members=True)] = Field(default_factory=list)
    numbers: Annotated[list[int] | None, Indexed(members=True)] = None
    others: list[str] = Field(default_factory=list)
    address: Address | None = None
    pin: Annotated[str | None, WriteOnly()] = None


@pytest.fixture
async def people(database: Database) -> Store:
    """A store of people."""
    await install(database.server, database.name, [Person])  # type: ignore[arg-type]
    return Store(database)


@pytest.fixture
async def ask(people: Store, serve: Serve) -> Client:
    """A client of the service."""
    return await serve(Application(resource("/items", Person, people), policy=AllowAny()))


async def add(ask: Client, *bodies: dict[str, Any]) -> None:
    assert {(await ask("POST", "/items", body)).status for body in bodies} == {201}


async def found(ask: Client, query: str) -> list[str]:
    """The names that a query finds, which pages of every size and the count agree with."""
    whole = await names(ask, query)
    for limit in (1, 2):
        assert await both_ways(ask, f"{query}&limit={limit}") == whole
    assert (await ask("GET", f"/items?{query}&count=true")).json["total"] == len(whole)
    return whole


NICKS = ["re", "Re", "red", "rée", "re\u0301", "r", "re\u200bd", "RED", "😀", "😀b", "日本", ""]


@pytest.mark.parametrize("prefix", ["re", "r", "Re", "r\u00e9", "re\u0301", "😀", "日", "", "red!", "re\u200b"])
async def test_a_prefix_finds_by_code_points(ask: Client, prefix: str) -> None:
    """Exactly the texts that begin with it, though CouchDB's collation takes others for equal; and not null."""
    await add(ask, *({"name": f"{n:02}", "nick": nick} for n, nick in enumerate(NICKS)), {"name": "none"})
    wanted = {f"{n:02}" for n, nick in enumerate(NICKS) if nick.startswith(prefix)}
    whole = await found(ask, f"nick[prefix]={quote(prefix)}")
    assert set(whole) == wanted
    assert [NICKS[int(each)] for each in whole] == sorted((NICKS[int(each)] for each in whole), key=units)


def units(text: str) -> bytes:
    """What the order of a list by prefix is: that of UTF-16 code units."""
    return text.encode("utf-16-be")


async def test_a_prefix_of_the_key_finds_too(ask: Client) -> None:
    """A key can be declared like any other text."""
    await add(ask, {"name": "ann"}, {"name": "anna"}, {"name": "bob"})
    assert await found(ask, "name[prefix]=an") == ["ann", "anna"]


async def test_contains_finds_by_a_member_of_a_list(ask: Client) -> None:
    """Each document once, however often its list has the member; an empty list has none."""
    await add(
        ask,
        {"name": "a", "hobbies": ["chess", "go", "chess"], "numbers": [1, 2]},
        {"name": "b", "hobbies": ["go"], "numbers": [2, 2]},
        {"name": "c", "hobbies": []},
        {"name": "d", "hobbies": ["Chess", "go\u200b"]},
    )
    assert await found(ask, "hobbies[contains]=chess") == ["a"]
    assert await found(ask, "hobbies[contains]=go") == ["a", "b"]
    assert await found(ask, "numbers[contains]=2") == ["a", "b"]
    assert await found(ask, "numbers[contains]=3") == []
    await refused(ask, "numbers[contains]=x")
    await refused(ask, "hobbies[contains]=go&hobbies[contains]=chess")


@pytest.mark.parametrize("text", ["0", "1767312000", "2026-1-2", "2026-01-02T00:00:00"])
async def test_a_date_is_written_as_one(ask: Client, text: str) -> None:
    """As the API document describes it, and not as a number of seconds since 1970."""
    for operator in ("", "[ne]", "[lt]"):
        await refused(ask, f"address.since{operator}={text}")


async def test_what_has_changed_since_is_not_found(ask: Client, people: Store) -> None:
    """What a filter finds has the value when it is read."""
    await add(ask, {"name": "a", "nick": "red", "hobbies": ["go"], "address": {"city": "Oslo"}})
    changed = await ask("PUT", "/items/a", {"nick": "blue", "hobbies": ["chess"], "address": {"city": "Odda"}})
    assert changed.status == 200
    for query in ("nick[prefix]=red", "hobbies[contains]=go", "address.city=Oslo"):
        assert await found(ask, query) == []
    assert await found(ask, "address.city=Odda") == ["a"]


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("address.city=Oslo", "ac"),
        ("address.city=Oslo&address.city=Bergen", "bac"),
        ("address.city[in]=Bergen,Odda", "b"),
        ("address.city[ne]=Oslo", "db"),
        ("address.city[is]=null", "d"),
        ("address.floor[gte]=1", "bc"),
        ("address.floor=0", "a"),
        ("address.since[lt]=2026-01-01", "a"),
        ("address.place.country=no", "b"),
        ("address.place.country[is]=null", "acd"),
        ("sort=-address.floor", "cbad"),
        ("sort=address.floor&nulls=last", "abcd"),
    ],
)
async def test_a_property_of_a_nested_model_filters_and_sorts(ask: Client, query: str, wanted: str) -> None:
    """Under its path, with every operator; a document without the nested model has null there."""
    await add(
        ask,
        {"name": "a", "address": {"city": "Oslo", "since": "2025-12-31"}},
        {"name": "b", "address": {"city": "Bergen", "floor": 1, "place": {"country": "no"}}},
        {"name": "c", "address": {"city": "Oslo", "floor": 2, "place": {}}},
        {"name": "d"},
    )
    assert "".join(await found(ask, query)) == wanted


@pytest.mark.parametrize(
    ("query", "declaration"),
    [
        ("about[prefix]=a", "Indexed(prefix=True) on about"),
        ("others[contains]=a", "Indexed(members=True) on others"),
        ("nick[prefix]=a&hobbies[contains]=go", None),
        ("nick[prefix]=a&sort=nick", None),
        ("name=a&address.city=Oslo", None),
        ("deleted=true&hobbies[contains]=go", None),
    ],
)
async def test_what_no_such_index_serves_says_what_would(ask: Client, query: str, declaration: str | None) -> None:
    """400 with the declaration, if there is one; these indexes serve a filter that is alone."""
    problem = await refused(ask, query)
    assert problem["type"] == "urn:tornado-couch:problem:no-index"
    assert problem.get("declaration") == declaration


@pytest.mark.parametrize(
    "query", ["pin[prefix]=1", "hobbies[prefix]=g", "nick[contains]=r", "nope[prefix]=a", "address=a"]
)
async def test_what_has_no_such_index_at_all_is_an_unknown_parameter(ask: Client, query: str) -> None:
    """Secrets among them, of which nobody learns more."""
    problem = await refused(ask, query)
    assert problem["type"] == "urn:tornado-couch:problem:bad-parameter"
    assert {"nick[prefix]", "hobbies[contains]", "address.city"} <= set(problem["allowed"])


async def test_an_integer_that_an_index_cannot_hold_is_refused(ask: Client) -> None:
    """Beyond 2^53 JavaScript rounds: the document would not be found by it."""
    for body in ({"numbers": [2**53]}, {"address": {"city": "Oslo", "floor": -(2**53)}}):
        assert (await ask("POST", "/items", {"name": "a", **body})).status == 422


async def test_the_store_finds_by_them_as_well(people: Store) -> None:
    """Values are of the property's own type."""
    here = Address(city="Oslo", since=date(2026, 1, 2))
    await people.create(Person(name="ann", nick="red", hobbies=["go"], address=here))
    for query in (
        Query(prefixes={"nick": "re"}),
        Query({"hobbies[contains]": ["go"]}),
        Query({"address.since": [date(2026, 1, 2)]}),
    ):
        assert [each.name for each in (await people.find(Person, query)).items] == ["ann"]


class Bad(Model):
    """The base of models that are refused."""


def test_what_has_no_such_keys_is_refused_when_the_class_is_made() -> None:
    """A number has no prefix, a text no members, a list of models too many values; nothing protected has any."""
    for annotation in (
        Annotated[int, Indexed(prefix=True)],
        Annotated[str, Encrypted(), Indexed(prefix=True)],
        Annotated[str, Indexed(members=True)],
        Annotated[list[Place], Indexed(members=True)],
        Annotated[list[list[str]], Indexed(members=True)],
    ):
        with pytest.raises(ModelDefinitionError):
            create_model("Bad", __base__=Bad, it=(annotation, ...), __cls_kwargs__={"type": "bad_v1.0"})  # type: ignore[call-overload]
