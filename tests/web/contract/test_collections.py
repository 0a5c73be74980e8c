"""The contract's part "Collections": each test is one sentence, which its docstring gives in full."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from tests.faults import FaultProxy
from tests.web.conftest import OTHER, Reply, path
from tests.web.contract.conftest import FRUITS, NOTES, STANDS, StrictClient, application
from tornado_couch import Store


async def add(ask: StrictClient, *names: str) -> None:
    """Stands of these names, whose sizes are the names' lengths."""
    reply = await ask("POST", STANDS, [{"name": name, "size": len(name)} for name in names])
    assert reply.status == 200


async def walk(ask: StrictClient, place: str | None) -> list[list[str]]:
    """The names on each page, from this one to the last."""
    found = []
    while place:
        reply = await ask("GET", place)
        assert reply.status == 200
        place = reply.json.get("next")
        links = reply.headers.get("Link", "").split(", ")
        assert (f'<{place}>; rel="next"' in links) is (place is not None)
        found.append([item["name"] for item in reply.json["items"]])
    return found


NAMES = [f"{letter}{number}" for letter in ("b", "Z", "ä", "東", "%2F", "x?y&z=#") for number in range(10)]


async def test_items_in_a_stable_order_limit_keyset_cursor_in_link_and_in_next(
    ask: StrictClient, proxy: FaultProxy
) -> None:
    """`{"items": […]}` in a stable order, `limit` (default 50, capped), keyset cursor in `Link: <…>; rel="next"`
    (RFC 8288) and in `next`; no offset.
    """
    await add(ask, *NAMES, "one more")
    pages = {limit: await walk(ask, f"{STANDS}?limit={limit}") for limit in (7, 20, 60, 999_999)}
    assert [len(page) for page in pages[7]] == [7] * 8 + [5]
    assert [len(page) for page in pages[999_999]] == [60, 1]  # the cap of this resource
    assert [len(page) for page in await walk(ask, STANDS)] == [50, 11]
    orders = [[name for page in each for name in page] for each in pages.values()]
    assert orders == [orders[0]] * 4
    assert sorted(orders[0]) == sorted([*NAMES, "one more"])
    for name in ("offset", "skip", "page"):
        assert (await ask("GET", f"{STANDS}?{name}=1")).status == 400
    targets = [each.target for each in proxy.requests]
    assert any("limit=" in each for each in targets)
    assert not [each for each in targets if "skip=" in each]


@pytest.mark.parametrize("query", ["?limit=2", "?limit=2&sort=size", "?limit=2&sort=-size"])
async def test_inserting_or_deleting_while_paging_neither_skips_nor_repeats(
    ask: StrictClient, query: str
) -> None:
    """Inserting or deleting while paging neither skips nor repeats an untouched document."""
    untouched = {"b", "dd", "fff", "hhhh", "jjjjj", "lllllll"}
    doomed = ["c", "ee", "gggg", "kkkkkk"]
    await add(ask, *untouched, *doomed)
    seen: list[str] = []
    place, round_ = STANDS + query, 0
    while place:
        body = (await ask("GET", place)).json
        seen += [item["name"] for item in body["items"]]
        place, round_ = body.get("next"), round_ + 1
        last = [item for item in body["items"] if item["name"] in doomed]
        victims = [item["_href"] for item in last] or [f"{STANDS}/{name}" for name in doomed if name not in seen][:1]
        for victim in victims:  # what the cursor stands on, or what comes later
            await ask("DELETE", victim)
        for name in ("a", "z", seen[-1] + "x"):
            await ask("POST", STANDS, {"name": f"{name}{round_}", "size": len(name) * 2 - 1})
        assert round_ < 60
    assert [name for name in sorted(seen) if name in untouched] == sorted(untouched)


async def test_a_forged_cut_or_edited_cursor_400_as_is_a_bad_value(
    ask: StrictClient,
) -> None:
    """A forged, cut or edited cursor: 400, as is a bad value of `limit`, `sort`, `fields` or `count`."""
    await add(ask, "a", "b", "c")
    place = (await ask("GET", f"{STANDS}?limit=1")).json["next"]
    before, _, cursor = place.rpartition("cursor=")
    edited = ["", "x", "AAAA", "null", "%FF", "%00", cursor + "A", cursor + "=", "A" + cursor, cursor[::-1]]
    edited += [cursor[:length] for length in (1, len(cursor) // 2, len(cursor) - 1)]
    edited += [cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1 :] for at in range(len(cursor))]
    for each in edited:
        assert (await ask("GET", f"{before}cursor={each}")).status == 400
    for other in (place.replace(STANDS, FRUITS), f"{place}&size=1", f"{place}&sort=size", f"{place}&cursor={cursor}"):
        assert (await ask("GET", other)).status == 400
    for name, values in {
        "limit": ["0", "-1", "x", "", "1.5", "1e3", "٣", "00", "1&limit=2"],
        "sort": ["", "nope", "pin", "size,size", "--size", "+size", "size&sort=size", "_id"],
        "fields": ["", "nope", "size,", "_rev", "size&fields=name"],
        "count": ["", "1", "yes", "TRUE", "true&count=true"],
    }.items():
        for value in values:
            reply = await ask("GET", f"{STANDS}?{name}={quote(value, safe='=&+')}")
            assert (name, value, reply.status) == (name, value, 400)
            assert reply.json["parameter"] == name
    assert (await ask("GET", place)).status == 200


async def test_an_indexed_property_ranges_repeated_values_sort_fields_count(
    store: Store, serve: Any
) -> None:
    """`?color=red` on an indexed property, `?created_on[gte]=…&created_on[lt]=…` for ranges, repeated values for "any
    of", `sort=color` / `sort=-created_on`, `fields=a,b`, `count=true` for a `total`.
    """
    start, minutes = datetime(2026, 1, 1, tzinfo=UTC), iter(range(100))
    ask = await serve(application(Store(store.database, now=lambda: start + timedelta(minutes=next(minutes)))))
    for color in ("red", "blue", "red", "Ålesund & co", "green", "blue"):
        await ask("POST", FRUITS, {"color": color, "weight": 1})

    async def colors(query: str) -> list[str]:
        reply = await ask("GET", f"{FRUITS}?{query}")
        assert reply.status == 200
        return [item["color"] for item in reply.json["items"]]

    assert await colors("color=red") == ["red", "red"]
    assert await colors(f"color={quote('Ålesund & co')}") == ["Ålesund & co"]
    assert await colors("color=Red") == []
    bounds = "created_on[gte]=2026-01-01T00:01:00Z&created_on[lt]=2026-01-01T00:04:00Z"
    assert sorted(await colors(bounds)) == sorted(["blue", "red", "Ålesund & co"])
    assert await colors(quote(bounds, safe="=&")) == await colors(bounds)
    assert sorted(await colors("color=red&color=green&color=nope")) == ["green", "red", "red"]
    ascending = await colors("sort=color")
    assert [color for color in ascending if color[0] != "Å"] == ["blue", "blue", "green", "red", "red"]
    assert await colors("sort=-color") == ascending[::-1]
    in_time = ["red", "blue", "red", "Ålesund & co", "green", "blue"]
    assert await colors("sort=created_on") == in_time
    assert await colors("sort=-created_on") == in_time[::-1]
    reply = await ask("GET", f"{FRUITS}?fields=color,weight&sort=created_on")
    assert [item.keys() for item in reply.json["items"]] == [{"_href", "_etag", "color", "weight"}] * 6
    one = await ask(
        "GET", f"{path(reply) if 'Location' in reply.headers else reply.json['items'][0]['_href']}?fields=color"
    )
    assert one.json == {"color": "red"}
    for query, total in (
        ("", 6),
        ("color=red&", 2),
        ("color=nope&", 0),
        (bounds + "&", 3),
        ("color=red&color=blue&", 4),
    ):
        assert (await ask("GET", f"{FRUITS}?{query}count=true&limit=1")).json["total"] == total
    for query in ("", "?count=false"):
        assert (await ask("GET", FRUITS + query)).json.keys() == {"items"}


async def test_an_unknown_parameter_or_a_property_that_has_no_index_400(
    ask: StrictClient, fruit: Reply, proxy: FaultProxy
) -> None:
    """An unknown parameter, or a property that has no index: 400 that lists the allowed ones (never a silent full
    scan).
    """
    allowed = {"limit", "cursor", "sort", "nulls", "fields", "count", "or", "fruit_id", "color", "created_on"}
    before = len(proxy.requests)
    for query in ("nope=1", "weight=1", "weight[gt]=1", "pin=1", "_id=x", "type=x", "color[like]=x", "%00=1", "tags=a"):
        reply = await ask("GET", f"{FRUITS}?{query}")
        assert (reply.status, set(reply.json["allowed"])) == (400, allowed)
    for query in ("sort=weight", "sort=-pin"):
        reply = await ask("GET", f"{FRUITS}?{query}")
        assert (reply.status, set(reply.json["allowed"])) == (400, {"fruit_id", "color", "created_on"})
    reply = await ask("GET", f"{FRUITS}?color=red&sort=created_on")  # each has an index, both together have none
    assert (reply.status, reply.json["type"].rpartition(":")[2]) == (400, "no-index")
    assert proxy.requests[before:] == []
    await ask("GET", f"{FRUITS}?color=red&sort=-color&count=true")
    targets = [each.target for each in proxy.requests[before:]]
    assert any("/_view/" in each for each in targets)
    assert not [each for each in targets if "_find" in each or "_all_docs" in each]


async def test_zero_matches_200_with_an_empty_list(ask: StrictClient) -> None:
    """Zero matches: 200 with an empty list."""
    for query in ("", "?color=red", "?sort=-created_on", "?created_on[gt]=2026-01-01T00:00:00Z", "?fields=color"):
        reply = await ask("GET", FRUITS + query)
        assert (reply.status, reply.json, "Link" in reply.headers) == (200, {"items": []}, False)
    await ask("POST", FRUITS, {"color": "blue"})
    for place in (f"{FRUITS}?color=red", NOTES, STANDS):
        assert (await ask("GET", place)).json == {"items": []}


async def test_etag_for_the_page_if_none_match_works_on_it(ask: StrictClient) -> None:
    """ETag for the page; If-None-Match works on it."""
    await add(ask, "a", "b", "c")
    for query in ("", "?limit=2", "?size=1", "?sort=-size", "?count=true", "?fields=name"):
        place = STANDS + query
        page = await ask("GET", place)
        tag = page.headers["ETag"]
        for field in (tag, f"{OTHER}, W/{tag}", "*"):
            for method in ("GET", "HEAD"):
                reply = await ask(method, place, If_None_Match=field)
                assert (reply.status, reply.text, reply.headers["ETag"]) == (304, b"", tag)
        assert [reply.headers[name] for name in ("Cache-Control", "Vary")] == [
            page.headers[name] for name in ("Cache-Control", "Vary")
        ]
        assert (await ask("GET", place, If_None_Match=OTHER)).json == page.json
        await ask("PATCH", f"{STANDS}/a", {"size": 1}, Content_Type="application/merge-patch+json")
        after = await ask("GET", place, If_None_Match=tag)
        assert (after.status, after.headers["ETag"] != tag) == (200, True)
        assert json.loads(after.text)["items"]
