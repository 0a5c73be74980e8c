"""Faults of a body over HTTP: how many one answer lists, and what the API document says of tagged unions."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from tests.web.conftest import Client, Serve
from tornado_couch import AllowAny, Application, Database, Model, Store, install, openapi_document, resource


class Dog(BaseModel):
    kind: Literal["dog"]
    bark: int


class Cat(BaseModel):
    kind: Literal["cat"]
    purr: int


class Home(Model, type="home_v1.0"):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    numbers: list[int] = Field(default_factory=list)


@pytest.fixture
async def ask(database: Database, serve: Serve) -> Client:
    """A client of a service."""
    await install(database.server, database.name, [Home])  # type: ignore[arg-type]
    return await serve(Application(resource("/homes", Home, Store(database)), policy=AllowAny()))


async def test_an_answer_lists_a_hundred_errors(ask: Client) -> None:
    """And counts the others, of one body as well as of many."""
    for body, pointer, more in (
        ({"numbers": ["x"] * 250}, "/numbers/0", 150),
        ([{"numbers": ["x"] * 150}] * 2, "/0/numbers/0", 200),
    ):
        reply = await ask("POST", "/homes", body)
        assert reply.status == 422
        assert (len(reply.json["errors"]), reply.json["more_errors"]) == (100, more)
        assert reply.json["errors"][0]["pointer"] == pointer
    reply = await ask("POST", "/homes", {"numbers": ["x"] * 100})
    assert "more_errors" not in reply.json


async def test_a_patch_of_a_tagged_union(ask: Client) -> None:
    """A part of it without the tag is merged; what is wrong is reported where it is."""
    created = await ask("POST", "/homes", {"pet": {"kind": "dog", "bark": 1}})
    path, tag = created.headers["Location"], {"If-Match": created.headers["ETag"]}
    merge = {"Content-Type": "application/merge-patch+json", **tag}
    reply = await ask("PATCH", path, {"pet": {"bark": "x"}}, **merge)
    assert [each["pointer"] for each in reply.json["errors"]] == ["/pet/bark"]
    reply = await ask("PATCH", path, {"pet": {"bark": 2}}, **merge)
    assert reply.json["pet"] == {"kind": "dog", "bark": 2}


async def test_the_api_document_maps_tags_to_components(database: Database) -> None:
    """Each reference of a discriminator leads to a component; the schema of a patch, which needs no tag, has none."""
    application = Application(resource("/homes", Home, Store(database)), policy=AllowAny())
    document = openapi_document(application)
    text = json.dumps(document)
    assert "#/$defs/" not in text
    schemas = document["components"]["schemas"]
    found = [schemas[name]["properties"]["pet"]["anyOf"][0] for name in ("Home", "HomeCreate", "HomeReplace")]
    for tagged in found:
        mapping = tagged["discriminator"]["mapping"]
        assert set(mapping) == {"cat", "dog"}
        assert sorted(mapping.values()) == sorted(each["$ref"] for each in tagged["oneOf"])
        assert all(each.rpartition("/")[2] in schemas for each in mapping.values())
    assert "discriminator" not in json.dumps(schemas["HomeMergePatch"])
