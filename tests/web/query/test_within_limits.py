"""Filters of callers who are limited to a part of a collection, where no index serves both: each document is judged."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any
from urllib.parse import quote

import pytest
from pydantic import BaseModel, Field

from tests.web.callers import ByHeader
from tests.web.conftest import MERGE, Client, Serve
from tornado_couch import Application, Database, Indexed, Key, Model, ReadOnly, Store, assigned, install, resource
from tornado_couch.store.reading import reader
from tornado_couch.web import Owner

ADA, BOB = {"X_Name": "ada"}, {"X_Name": "bob"}


class Address(BaseModel):
    city: Annotated[str, Indexed()] = ""


class Paper(Model, type="paper_v1.0", key="paper_id", soft_delete=True, indexes=[("owner", "size")]):
    paper_id: Key = assigned()
    owner: Annotated[str | None, ReadOnly(), Indexed()] = None
    title: Annotated[str, Indexed(prefix=True)] = ""
    color: Annotated[str, Indexed()] = "red"
    tags: Annotated[list[str], Indexed(members=True)] = Field(default_factory=list)
    size: Annotated[int, Indexed()] = 0
    day: Annotated[date | None, Indexed()] = None
    address: Address = Field(default_factory=Address)


@pytest.fixture
async def ask(database: Database, serve: Serve) -> Client:
    """A service with nine papers of Ada's and as many of Bob's."""
    await install(database.server, database.name, [Paper])
    store = Store(database)
    for who in ("ada", "bob"):
        papers = [
            Paper(
                owner=who,
                title=f"{'ab'[number % 2]}{number}",
                color=["red", "grün", "blue"][number % 3],
                tags=["sweet"] if number < 4 else [],
                size=number,
                day=date(2026, 1, 1 + number) if number else None,
                address=Address(city="Oslo" if number > 6 else "Rome"),
            )
            for number in range(9)
        ]
        await store.create_many(Paper, papers)
    routes = resource("/papers", Paper, store, policy=Owner("owner", ByHeader()), many=["patch"])
    return await serve(Application(routes))


async def sizes(ask: Client, query: str, **headers: str) -> list[int]:
    """The sizes of the papers that a query finds, which are all of one owner."""
    reply = await ask("GET", f"/papers?{query}", **(headers or ADA))
    assert reply.status == 200, reply.text
    assert {each["owner"] for each in reply.json["items"]} <= {(headers or ADA)["X_Name"]}
    return sorted(each["size"] for each in reply.json["items"])


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("title[prefix]=a", [0, 2, 4, 6, 8]),
        ("tags[contains]=sweet", [0, 1, 2, 3]),
        ("address.city=Oslo", [7, 8]),
        ("color=gr%C3%BCn", [1, 4, 7]),
        ("color=red&color=blue&tags[contains]=sweet", [0, 2, 3]),
        ("color[ne]=red&size[gt]=4", [5, 7, 8]),
        ("day[gte]=2026-01-08", [7, 8]),
        ("day[is]=null", [0]),
        ("title[prefix]=a&size[gte]=4&size[lt]=8", [4, 6]),
        (f"or={quote('color=red')}&or={quote('address.city=Oslo')}", [0, 3, 6, 7, 8]),
        ("title[prefix]=a&color=nothing", []),
        ("owner=bob&title[prefix]=a", []),
    ],
)
async def test_every_filter_goes_with_a_limit(ask: Client, query: str, expected: list[int]) -> None:
    """What the caller may see is looked at document by document, where no index has both."""
    assert await sizes(ask, query) == expected


async def test_pages_are_full_and_go_both_ways(ask: Client) -> None:
    """`next` and `prev` lead through all that fit, although others lie between them."""
    found, where = [], "/papers?title[prefix]=a&sort=size&limit=2"
    pages = []
    while where:
        page = (await ask("GET", where, **ADA)).json
        found.append([each["size"] for each in page["items"]])
        pages.append(page)
        where = page.get("next", "")
    assert found == [[0, 2], [4, 6], [8]]
    back = (await ask("GET", pages[2]["prev"], **ADA)).json
    assert [each["size"] for each in back["items"]] == [4, 6]
    back = (await ask("GET", back["prev"], **ADA)).json
    assert [each["size"] for each in back["items"]] == [0, 2]


async def test_a_page_looks_at_so_many_documents(ask: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page with fewer items than asked for has a `next` that goes on, in the end to the last."""
    monkeypatch.setattr(reader, "_SIFTED", 2)
    monkeypatch.setattr(reader, "_MOST_SIFTED", 3)
    found: list[int] = []
    where, pages = "/papers?address.city=Oslo&sort=size", 0
    while where:
        page = (await ask("GET", where, **ADA)).json
        found += [each["size"] for each in page["items"]]
        where, pages = page.get("next", ""), pages + 1
    assert (found, pages) == ([7, 8], 3)


async def test_what_cannot_be_judged_is_still_refused(ask: Client) -> None:
    """A range of text has CouchDB's order; a count needs an index; an order too."""
    for query in ("color[gt]=b", "title[prefix]=a&sort=color", "title[prefix]=a&count=true"):
        reply = await ask("GET", f"/papers?{query}", **ADA)
        assert reply.status == 400
        assert reply.json["type"].rpartition(":")[2] in ("no-index", "bad-parameter")


async def test_deleted_documents_and_mass_changes_are_filtered_too(ask: Client, database: Any) -> None:
    """By whatever filter, within the caller's own."""
    body = {"color": "black"}
    reply = await ask("PATCH", "/papers?title[prefix]=a", body, Content_Type=MERGE, **ADA)
    assert [each["status"] for each in reply.json["items"]] == [200] * 5
    assert await sizes(ask, "color=black") == [0, 2, 4, 6, 8]
    assert await sizes(ask, "color=black", **BOB) == []
    where = (await ask("GET", "/papers?size=0", **ADA)).json["items"][0]["_href"]
    assert (await ask("DELETE", where, **ADA)).status == 204
    assert await sizes(ask, "deleted=true&color=black") == [0]
    assert await sizes(ask, "color=black") == [2, 4, 6, 8]
