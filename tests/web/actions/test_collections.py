"""A collection over HTTP: pages, filters, and what is refused."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tests.web.conftest import Client, Serve, application
from tornado_couch import Database, Store

NAMES = ["Zürich", "a/b", "bern", "Ålesund", "x?y=1&z", "über", "東京", "%41", "+", "oslo"]


async def add_places(ask: Client, names: list[str]) -> None:
    for size, name in enumerate(names):
        assert (await ask("POST", "/places", {"name": name, "size": size % 2})).status == 201


async def pages(ask: Client, path: str | None) -> list[list[str]]:
    found = []
    while path:
        body = (await ask("GET", path)).json
        found.append([item["name"] for item in body["items"]])
        path = body.get("next")
    return found


async def test_an_empty_collection_is_an_empty_list(ask: Client) -> None:
    """200, not 404."""
    reply = await ask("GET", "/fruits")
    assert (reply.status, reply.json) == (200, {"items": []})


async def test_each_item_has_its_address_and_tag(ask: Client) -> None:
    """Following the one gives the other, whatever characters the key has."""
    await add_places(ask, NAMES)
    items = (await ask("GET", "/places?limit=10")).json["items"]
    assert len(items) == len(NAMES)
    for item in items:
        reply = await ask("GET", item["_href"])
        assert (reply.json["name"], reply.headers["ETag"]) == (item["name"], item["_etag"])


async def test_pages_give_each_document_once_in_a_stable_order(ask: Client) -> None:
    """The next page is in `next` and in Link; the last has neither."""
    await add_places(ask, NAMES)
    first = await ask("GET", "/places")
    assert first.headers["Link"] == f'<{first.json["next"]}>; rel="next"'
    found = await pages(ask, "/places")
    assert [len(page) for page in found] == [3, 3, 3, 1]
    assert sorted(name for page in found for name in page) == sorted(NAMES)
    assert await pages(ask, "/places?limit=4") == await pages(ask, "/places?limit=4")
    whole = await ask("GET", "/places?limit=10")
    assert (len(whole.json["items"]), "Link" in whole.headers) == (len(NAMES), False)


async def test_changes_while_paging_neither_skip_nor_repeat_an_untouched_document(ask: Client) -> None:
    """Inserting before and after, and deleting what the cursor stands on."""
    await add_places(ask, ["b", "d", "f", "h", "j", "l"])
    first = (await ask("GET", "/places")).json
    for name in ("a", "c", "k"):
        await ask("POST", "/places", {"name": name})
    await ask("DELETE", "/places/h")
    rest = [name for page in await pages(ask, first["next"]) for name in page]
    assert [name for name in rest if name not in ("a", "c", "k")] == ["j", "l"]


async def test_an_indexed_property_filters(ask: Client) -> None:
    """By a value of the property's own type, page by page."""
    await add_places(ask, NAMES)
    found = [name for page in await pages(ask, "/places?size=1&limit=2") for name in page]
    assert sorted(found) == sorted(NAMES[1::2])
    assert (await ask("GET", "/places?size=7")).json == {"items": []}


async def test_text_is_filtered_as_text(ask: Client) -> None:
    """Quotes and spaces are no syntax."""
    for color in ('"', " ", "null", "1"):
        await ask("POST", "/fruits", {"color": color})
        reply = await ask("GET", f"/fruits?color={quote(color)}")
        assert [item["color"] for item in reply.json["items"]] == [color]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=x",
        "limit=1&limit=2",
        "cursor=x",
        "nope=1",
        "weight=1",
        "pin=1",
        "size=1",
        "color=%FF",
        "_id=x",
        "a%00b=1",
    ],
)
async def test_a_parameter_that_means_nothing_here_is_400(ask: Client, query: str) -> None:
    """Unknown, not indexed, twice, or with a value that is none; the problem names it."""
    reply = await ask("GET", f"/fruits?{query}")
    assert reply.status == 400
    assert "parameter" in reply.json


async def test_what_can_be_filtered_by_is_said(ask: Client) -> None:
    """The list comes from the model."""
    own = ["limit", "cursor", "sort", "nulls", "fields", "count", "or"]
    assert (await ask("GET", "/fruits?nope=1")).json["allowed"] == [*own, "fruit_id", "color", "created_on"]


async def test_a_value_of_another_type_is_400(ask: Client) -> None:
    """`size` is an integer."""
    assert (await ask("GET", "/places?size=big")).status == 400


async def test_a_forged_cut_edited_or_borrowed_cursor_is_400(ask: Client) -> None:
    """Also the cursor of another filter."""
    await add_places(ask, NAMES)
    path = (await ask("GET", "/places")).json["next"]
    for forged in (path[:-1], path + "A", path.replace("cursor=", "cursor=A"), path.replace("?", "?size=1&")):
        assert (await ask("GET", forged)).status == 400


async def test_processes_with_one_cookie_secret_take_each_others_cursors(serve: Serve, store: Store) -> None:
    """A service is more than one process."""
    one, two = [await serve(application(store, cookie_secret="s")) for _ in range(2)]
    await add_places(one, NAMES)
    path = (await one("GET", "/places")).json["next"]
    assert (await two("GET", path)).json == (await one("GET", path)).json


async def test_a_page_has_a_tag_that_changes_with_it(ask: Client) -> None:
    """If-None-Match works on it."""
    await add_places(ask, ["a"])
    tag = (await ask("GET", "/places")).headers["ETag"]
    assert (await ask("GET", "/places", If_None_Match=tag)).status == 304
    await ask("PUT", "/places/a", {"size": 9})
    reply = await ask("GET", "/places", If_None_Match=tag)
    assert (reply.status, reply.headers["ETag"] != tag) == (200, True)


async def test_one_unreadable_document_does_not_hide_the_rest(ask: Client, database: Database) -> None:
    """It is left out, and counted."""
    await add_places(ask, ["a", "b"])
    await database.put({"_id": "odd", "type": "place_v1.0", "name": "aa", "size": "not a number"})
    await database.put({"_id": "new", "type": "place_v2.0", "name": "ab"})
    body = (await ask("GET", "/places")).json
    assert [item["name"] for item in body["items"]] == ["a"]
    rest = (await ask("GET", body["next"])).json
    assert [item["name"] for item in rest["items"]] == ["b"]
    assert body["withheld"] == 2


async def test_documents_of_other_models_are_not_listed(ask: Client) -> None:
    """Though they are in the same database."""
    await ask("POST", "/notes", {"text": "x"})
    await add_places(ask, ["a"])
    assert len((await ask("GET", "/places")).json["items"]) == 1
    assert [item.keys() for item in (await ask("GET", "/notes")).json["items"]] == [{"_href", "_etag", "text"}]
