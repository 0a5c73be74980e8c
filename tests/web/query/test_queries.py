"""Filters, order, parts and counts of a collection over HTTP: each sentence of the contract on real sockets."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any
from urllib.parse import parse_qs, quote, urlencode

import pytest
from annotated_types import MinLen
from tornado.httputil import HTTPServerRequest

from tests.web.conftest import Client, Reply, Serve
from tornado_couch import (
    AllowAny,
    Application,
    CreatedOn,
    Database,
    Indexed,
    Model,
    Policy,
    Query,
    ReadOnly,
    Store,
    WriteOnly,
    install,
    resource,
)
from tornado_couch.web import Principal
from tornado_couch.web.query import CursorCodec, parse_list_query
from tornado_couch.web.resources import Resource


class Item(
    Model,
    type="item_v1.0",
    key="name",
    unique=True,
    indexes=[("color", "created_on"), ("owner", "color"), ("color", "pin")],
):
    name: str
    color: Annotated[str, MinLen(1), Indexed()] = "red"
    size: Annotated[int | None, Indexed()] = None
    price: Annotated[float, Indexed()] = 1.5
    ripe: Annotated[bool, Indexed()] = False
    größe: Annotated[str | None, Indexed()] = None
    tags: Annotated[list[str] | None, Indexed()] = None
    owner: Annotated[str | None, ReadOnly(), Indexed()] = None
    pin: Annotated[str | None, WriteOnly(), Indexed()] = None
    at: Annotated[datetime | None, Indexed()] = None
    created_on: Annotated[CreatedOn, Indexed()]


class Clock:
    """One minute later at each look."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(minutes=1)
        return self.now


class OwnItems(Policy):
    """Whoever names themselves sees their own."""

    async def authenticate(self, request: HTTPServerRequest) -> Principal | None:
        name = request.headers.get("X-Name")
        return Principal(name) if name else None

    def restriction(self, principal: Principal | None, model: type[Model]) -> tuple[str, Any] | None:
        return ("owner", principal.name) if principal else None

    def initial(self, principal: Principal | None, model: type[Model]) -> dict[str, Any]:
        return {"owner": principal.name} if principal else {}


@pytest.fixture
async def items(database: Database) -> Store:
    """A store of items, whose clock goes one minute at each write."""
    await install(database.server, database.name, [Item])  # type: ignore[arg-type]
    return Store(database, now=Clock())


@pytest.fixture
async def ask(items: Store, serve: Serve) -> Client:
    """A client of the service."""
    routes = [*resource("/items", Item, items), *resource("/own", Item, items, policy=OwnItems())]
    return await serve(Application(routes, policy=AllowAny()))


async def add(ask: Client, *bodies: dict[str, Any], path: str = "/items", **headers: str) -> list[Any]:
    replies = [await ask("POST", path, body, **headers) for body in bodies]
    assert {reply.status for reply in replies} == {201}
    return [reply.json for reply in replies]


async def names(ask: Client, query: str, path: str = "/items", **headers: str) -> list[str]:
    reply = await ask("GET", f"{path}?{query}", **headers)
    assert reply.status == 200, reply.text
    return [item["name"] for item in reply.json["items"]]


async def refused(ask: Client, query: str, path: str = "/items", **headers: str) -> Any:
    reply = await ask("GET", f"{path}?{query}", **headers)
    assert reply.status == 400, (query, reply.text)
    assert "parameter" in reply.json
    return reply.json


# ------------------------------------------------------------ filters


async def test_an_indexed_property_filters_by_equality(ask: Client) -> None:
    """Each by values of its own type."""
    await add(
        ask,
        {"name": "a", "color": "red", "size": 1, "price": 2, "ripe": True},
        {"name": "b", "color": "1", "price": -0.5, "größe": "groß"},
    )
    for query, found in {
        "color=red": ["a"],
        "color=1": ["b"],
        "size=1": ["a"],
        "price=2": ["a"],
        "price=2.0": ["a"],
        "price=-5e-1": ["b"],
        "ripe=true": ["a"],
        "ripe=false": ["b"],
        "name=b": ["b"],
        f"{quote('größe')}={quote('groß')}": ["b"],
        "color=blue": [],
    }.items():
        assert await names(ask, query) == found, query


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "null",
        "true",
        '"',
        "'",
        " ",
        "a b",
        "+",
        "&",
        "=",
        "%",
        "é",
        "e\u0301",
        "東",
        "[]",
        "\\",
        "a,b",
        "-a",
        "\t",
    ],
)
async def test_any_text_goes_there_and_back(ask: Client, text: str) -> None:
    """Stored, filtered by, sorted by, paged by: never taken for syntax or for another type."""
    await add(ask, {"name": "x", "color": text}, {"name": "y", "color": text}, {"name": "z", "color": f"{text}!"})
    query = urlencode({"color": text})
    assert await names(ask, query) == ["x", "y"]
    first = (await ask("GET", f"/items?{query}&limit=1")).json
    assert [item["color"] for item in (await ask("GET", first["next"])).json["items"]] == [text]
    assert sorted(await names(ask, urlencode({"color[gte]": text, "color[lte]": f"{text}!"}))) == ["x", "y", "z"]


async def test_a_range_has_its_bounds_or_not(ask: Client) -> None:
    """gt, gte, lt, lte; null is in no range."""
    await add(ask, *({"name": str(size), "size": size} for size in (1, 2, 3, 10)), {"name": "none"})
    for query, found in {
        "size[gt]=2": ["3", "10"],
        "size[gte]=2": ["2", "3", "10"],
        "size[lt]=2": ["1"],
        "size[lte]=2": ["1", "2"],
        "size[gt]=1&size[lt]=10": ["2", "3"],
        "size[gte]=3&size[lte]=3": ["3"],
        "size[gt]=5&size[lt]=2": [],
        "size%5Bgt%5D=3": ["10"],
        "size[gt]=2&sort=-size": ["10", "3"],
    }.items():
        assert await names(ask, query) == found, query


async def test_a_range_of_time_is_half_open_where_it_says_so(ask: Client) -> None:
    """`?created_on[gte]=…&created_on[lt]=…`, whatever zone and precision the bounds are written in."""
    made = await add(ask, *({"name": name} for name in "abcd"))
    times = [each["created_on"] for each in made]
    assert await names(ask, urlencode({"created_on[gte]": times[1], "created_on[lt]": times[3]})) == ["b", "c"]
    there = datetime.fromisoformat(times[1]).astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert await names(ask, urlencode({"created_on[gt]": there.isoformat(timespec="seconds")})) == ["c", "d"]
    assert await names(ask, urlencode({"created_on": times[2].replace(".000000+00:00", "Z")})) == ["c"]
    assert await names(ask, "sort=-created_on") == ["d", "c", "b", "a"]


async def test_a_plain_datetime_filters_too(ask: Client) -> None:
    """It is indexed as it is stored: in UTC with six decimals."""
    await add(ask, {"name": "x", "at": "2026-05-01T12:00:00+02:00"}, {"name": "y", "at": "2026-05-01T10:00:01Z"})
    assert await names(ask, urlencode({"at": "2026-05-01T10:00:00Z"})) == ["x"]
    assert await names(ask, urlencode({"at[gt]": "2026-05-01T10:00:00Z"})) == ["y"]


async def test_repeated_values_are_any_of_them(ask: Client) -> None:
    """Each document once, in the order asked for."""
    await add(
        ask, *({"name": f"{color}{number}", "color": color} for color in ("red", "Blue", "green") for number in (1, 2))
    )
    assert await names(ask, "color=red&color=Blue") == ["Blue1", "Blue2", "red1", "red2"]
    assert await names(ask, "color=red&color=Blue&color=red&sort=-color") == ["red2", "red1", "Blue2", "Blue1"]
    assert await names(ask, "color=red&color=Blue&sort=-created_on") == ["Blue2", "Blue1", "red2", "red1"]
    assert await names(ask, "color=none&color=green") == ["green1", "green2"]


async def test_several_properties_filter_by_an_index_of_both(ask: Client) -> None:
    """Equality and a range, with the order of the rest."""
    made = await add(ask, *({"name": f"{number}", "color": "ab"[number % 2]} for number in range(6)))
    since = quote(made[2]["created_on"])
    assert await names(ask, f"color=a&created_on[gte]={since}") == ["2", "4"]
    assert await names(ask, f"color=a&created_on[gte]={since}&sort=-created_on") == ["4", "2"]
    assert await names(ask, f"color=b&color=a&created_on[gte]={since}&sort=created_on") == ["2", "3", "4", "5"]
    assert await names(ask, "sort=color,created_on") == ["0", "2", "4", "1", "3", "5"]


async def test_a_sorted_list_has_every_document(ask: Client) -> None:
    """Those without the property, too: null comes first."""
    await add(ask, {"name": "x"}, {"name": "y", "size": 1}, {"name": "z", "size": -1})
    assert await names(ask, "sort=size") == ["x", "z", "y"]
    assert await names(ask, "sort=-size") == ["y", "z", "x"]
    assert await names(ask, "sort=-name") == ["z", "y", "x"]


# ------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=-1", "limit=x", "limit=", "limit=1&limit=2",
        "sort=", "sort=nope", "sort=color,", "sort=color,color", "sort=color,-created_on", "sort=+color",
        "sort=--color", "sort=color&sort=size", "sort=pin", "sort=_id",
        "fields=", "fields=nope", "fields=color,", "fields=pin", "fields=_id", "fields=color&fields=size", "fields=%FF",
        "count=", "count=1", "count=TRUE", "count=true&count=true",
        "size=x", "size=1.5", "size=", "price=inf", "price=nan", "price=1e999", "ripe=maybe", "color=",
        "created_on=yesterday", "created_on=2026-01-01", "created_on=0001-01-01T00:00:00%2B14:00",
        "size[gt]=x", "created_on[gte]=1x", "created_on[gte]=", "ripe[gt]=false", "tags[gt]=a", "tags=a",
        "size[ge]=1", "size[]=1", "[gt]=1", "size[gt]=1&size[gt]=2", "size[gt]=1&size[gte]=2", "size=1&size[gt]=0",
        "skip=1", "offset=1", "pin=1", "pin[gt]=1", "_rev=1", "type=item_v1.0", "%FF=1",
    ],
)  # fmt: skip
async def test_a_parameter_or_value_that_means_nothing_here_is_400(ask: Client, query: str) -> None:
    """The problem names the parameter."""
    await refused(ask, query)


async def test_what_is_allowed_is_said(ask: Client) -> None:
    """The list comes from the model; secrets are not in it."""
    public = ["name", "color", "size", "price", "ripe", "größe", "tags", "owner", "at", "created_on"]
    allowed = ["limit", "cursor", "sort", "nulls", "fields", "count", "or", *public]
    for query in ("nope=1", "pin=1", "pin[gt]=1"):
        assert (await refused(ask, query))["allowed"] == allowed
    assert (await refused(ask, "sort=pin"))["allowed"] == public
    assert (await refused(ask, "fields=pin"))["allowed"] == public


@pytest.mark.parametrize(
    ("query", "declaration"),
    [
        ("color=red&size=1", 'indexes=[("color", "size")]'),
        ("size=1&sort=-name", 'indexes=[("size", "name")]'),
        ("sort=color,name", 'indexes=[("color", "name")]'),
        ("price=1&color[ne]=red", 'indexes=[("price", "color")]'),
        ("color=red&price[gt]=1", 'indexes=[("color", "price")]'),
        # An index of these two would leave out what has no size, or no owner; that of the second is there already.
        ("sort=size,name", None),
        ("sort=owner,color", None),
        ("size=1&owner[ne]=ann", None),
        ("price[ne]=1&color[ne]=red", None),
        ("size[ne]=1&sort=color", None),
        ("size[gt]=1&price[gt]=1", None),
        ("size[gt]=1&sort=color", None),
    ],
)
async def test_a_request_that_no_index_serves_says_which_would(
    ask: Client, query: str, declaration: str | None
) -> None:
    """400, and nothing is scanned."""
    problem = await refused(ask, query)
    assert problem["type"] == "urn:tornado-couch:problem:no-index"
    assert problem.get("declaration") == declaration


async def test_the_number_of_filters_and_values_is_limited(items: Store, serve: Serve) -> None:
    """By the resource's own numbers; combinations count."""
    routes = resource("/items", Item, items, max_filters=2, max_values=4)
    ask = await serve(Application(routes, policy=AllowAny()))
    assert await names(ask, "color=a&color=b&color=c&color=d") == []
    await refused(ask, "color=a&color=b&color=c&color=d&color=e")
    await refused(ask, "owner=a&owner=b&owner=c&color=a&color=b")
    assert "More than 2 filters" in (await refused(ask, "color=a&size=1&price=2"))["detail"]


# ------------------------------------------------------------ null, other values, lists of values


SIZES = (3, None, 1, None, 2, 2, 0)  # of the items that are called "0" to "6"


async def sized(ask: Client) -> None:
    """Add items of these sizes, of alternating colors."""
    sizes = ({} if size is None else {"size": size} for size in SIZES)
    await add(ask, *({"name": f"{n}", "color": "ab"[n % 2], **size} for n, size in enumerate(sizes)))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("size[is]=null", "13"),
        ("size=1&size[is]=null", "132"),
        ("size[in]=1,3", "20"),
        ("size[in]=1&size[in]=3,1&size=0", "620"),
        ("size[ne]=2", "13620"),
        ("size[ne]=2&sort=-size", "02631"),
        ("size[ne]=7", "1362450"),
        ("name[ne]=3", "012456"),
        ("color=a&created_on[ne]=2026-01-01T00:01:00Z", "246"),
        ("color[ne]=a", "135"),
        ("ripe[ne]=true", "0123456"),
        ("sort=size&nulls=last", "6245013"),
        ("sort=size&nulls=first", "1362450"),
        ("sort=-size", "0542631"),
        ("sort=-size&nulls=first", "3105426"),
        ("sort=-size&nulls=last", "0542631"),
        ("size[ne]=2&sort=size&nulls=last", "62013"),
        ("size[ne]=0&sort=-size&nulls=first", "310542"),
        ("size[gt]=0&sort=size&nulls=last", "2450"),
        ("sort=name&nulls=last", "0123456"),
    ],
)
async def test_null_other_values_and_lists_of_values_filter(ask: Client, query: str, found: str) -> None:
    """`[is]=null`, `[ne]`, for which null is another value, `[in]`, and where null comes; pages and counts agree."""
    await sized(ask)
    assert "".join(await names(ask, query)) == found
    for limit in (1, 2, 3):
        assert "".join(await both_ways(ask, f"{query}&limit={limit}")) == found
    assert (await ask("GET", f"/items?{query}&count=true&limit=1")).json["total"] == len(found)


async def test_another_value_is_what_the_order_of_texts_says(ask: Client) -> None:
    """Of texts with every character, in the order that CouchDB has for them."""
    colors = ["a", "A", "ä", "b", "é", "日本", "😀"]
    await add(ask, *({"name": f"{n}", "color": color} for n, color in enumerate(colors)))
    for color in colors:
        found = await both_ways(ask, f"color[ne]={quote(color)}&limit=2")
        assert sorted(found) == [f"{n}" for n, each in enumerate(colors) if each != color]


@pytest.mark.parametrize(
    "query",
    [
        "size[is]=1", "size[is]=", "size[ne]=a", "size[ne]=1&size[ne]=2", "size[ne]=1&size[gt]=0", "size[ne]=1&size=2",
        "size[in]=", "size[in]=1,a", "nulls=last", "sort=size&nulls=middle", "sort=color,created_on&nulls=last",
        "pin[is]=null", "pin[ne]=a", "nope[in]=a",
    ],
)  # fmt: skip
async def test_what_such_a_filter_cannot_say_is_400(ask: Client, query: str) -> None:
    """Other words than null, two values, two filters of one property, and secrets."""
    await refused(ask, query)


async def test_a_caller_whose_list_is_limited_finds_no_others_by_them(ask: Client) -> None:
    """The restriction holds beside them, and `[ne]` of its own property is refused."""
    await add(ask, {"name": "mine", "color": "a"}, path="/own", X_Name="ann")
    await add(ask, {"name": "theirs", "color": "a"}, path="/own", X_Name="bob")
    assert await names(ask, "color[ne]=b", "/own", X_Name="ann") == ["mine"]
    assert await names(ask, "owner[is]=null", "/own", X_Name="ann") == []
    assert await names(ask, "owner[in]=ann,bob", "/own", X_Name="ann") == ["mine"]
    await refused(ask, "owner[ne]=ann", "/own", X_Name="ann")


async def test_a_cursor_is_not_good_for_another_of_them(ask: Client) -> None:
    """They are part of what the cursor is bound to."""
    await sized(ask)
    cursor = (await ask("GET", "/items?sort=size&nulls=last&limit=1")).json["next"].partition("cursor=")[2]
    for query in ("sort=size&nulls=first", "sort=size", "sort=size&nulls=last&size[ne]=1"):
        assert (await refused(ask, f"{query}&limit=1&cursor={cursor}"))["parameter"] == "cursor"


@pytest.mark.parametrize("query", ["color=red&size=1", "sort=color,name", "price=1&color[ne]=red", "size=1&sort=name"])
async def test_the_advised_index_would_serve(ask: Client, items: Store, query: str) -> None:
    """A model that declares it answers the request."""
    declared: Any = eval((await refused(ask, query))["declaration"].partition("=")[2])  # as the user pastes it

    class Better(Item, type="item_v1.0", key="name", unique=True, indexes=declared):
        """Items, with the index that was advised."""

    await add(ask, {"name": "one", "color": "blue", "size": 1, "price": 1})
    await install(items.database.server, items.database.name, [Better])  # type: ignore[arg-type]
    page = await items.find(Better, parse_query(Better, items, query))
    assert len(page.items) == (0 if query.startswith("color=red") else 1)


def parse_query(model: type[Model], store: Store, text: str) -> Query:
    arguments = {name: [each.encode() for each in values] for name, values in parse_qs(text).items()}
    return parse_list_query(Resource("/items", model, store), arguments, CursorCodec(b"")).query


# ------------------------------------------------------------ pages


async def both_ways(ask: Client, query: str, path: str = "/items", **headers: str) -> list[str]:
    """The names of all pages; going back gives the same pages."""
    forward: list[Reply] = [await ask("GET", f"{path}?{query}", **headers)]
    while "next" in forward[-1].json:
        forward.append(await ask("GET", forward[-1].json["next"], **headers))
    back = [forward[-1]]
    while "prev" in back[-1].json:
        back.append(await ask("GET", back[-1].json["prev"], **headers))
    assert [reply.json["items"] for reply in reversed(back)] == [reply.json["items"] for reply in forward]
    for reply in [*forward, *back]:
        links = {relation: reply.json[relation] for relation in ("next", "prev") if relation in reply.json}
        fields = [f'<{address}>; rel="{relation}"' for relation, address in links.items()]
        assert reply.headers.get("Link", "") == ", ".join(fields)
    assert "prev" not in forward[0].json
    return [item["name"] for reply in forward for item in reply.json["items"]]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 12), ("sort=-color", 12), ("color=a", 4), ("color=a&color=b", 8), ("color=a&color=b&sort=-created_on", 8),
        ("size[gte]=2&sort=-size", 8), ("color=c&created_on[gt]=2026-01-01T00:00:00Z", 4), ("sort=name", 12),
        ("color=nope", 0), ("fields=name&count=true", 12), ("color=c&color=a&sort=-color", 8),
    ],
)  # fmt: skip
async def test_pages_go_both_ways(ask: Client, query: str, count: int) -> None:
    """`next` and `prev` lead through every document once, with one at a time and with several."""
    await add(ask, *({"name": f"{number:02}", "color": "abc"[number % 3], "size": number // 2} for number in range(12)))
    whole = await names(ask, query)
    assert len(whole) == len(set(whole)) == count
    for limit in (1, 3, 4, 20):
        assert await both_ways(ask, f"{query}&limit={limit}") == whole


async def test_a_cursor_is_good_for_its_own_filters_order_and_collection(ask: Client) -> None:
    """Borrowed for others, cut or edited, it is 400; another limit, other fields and a count are no matter."""
    await add(ask, *({"name": name, "color": "red"} for name in "abcd"))
    first = (await ask("GET", "/items?color=red&limit=1")).json
    cursor = first["next"].partition("cursor=")[2]
    assert await names(ask, f"color=red&limit=2&count=true&fields=name&cursor={cursor}") == ["b", "c"]
    for query in (
        "",
        "color=blue&",
        "color=red&color=blue&",
        "color=red&sort=-color&",
        "sort=color&",
        "color[gte]=red&",
    ):
        assert (await refused(ask, f"{query}cursor={cursor}"))["parameter"] == "cursor"
    assert (await refused(ask, f"color=red&cursor={cursor}", path="/own"))["parameter"] == "cursor"
    for edited in (cursor[:-1], cursor[1:], cursor + "A", cursor.swapcase(), "", cursor + "="):
        assert (await refused(ask, f"color=red&cursor={edited}"))["parameter"] == "cursor"
    flipped = [
        cursor[:place] + ("A" if cursor[place] != "A" else "B") + cursor[place + 1 :]
        for place in range(0, len(cursor), 3)
    ]
    for edited in flipped:
        await refused(ask, f"color=red&cursor={edited}")


async def test_every_process_with_the_key_takes_the_cursor_and_no_other(items: Store, serve: Serve) -> None:
    """The application's cookie_secret, or a key given to the resource."""

    def service(**options: Any) -> Application:
        settings = {"cookie_secret": options.pop("cookie_secret")} if "cookie_secret" in options else {}
        return Application(resource("/items", Item, items, **options), policy=AllowAny(), **settings)

    alike = [await serve(service(cursor_key=b"k")), await serve(service(cursor_key=b"k", cookie_secret="other"))]
    other = [await serve(service(cookie_secret="k2")), await serve(service()), await serve(service(cursor_key=b"x"))]
    await add(alike[0], *({"name": name} for name in "abc"))
    path = (await alike[0]("GET", "/items?limit=1")).json["next"]
    assert [(await ask("GET", path)).status for ask in [*alike, *other]] == [200, 200, 400, 400, 400]


async def test_changes_while_paging_neither_skip_nor_repeat_in_either_direction(ask: Client) -> None:
    """Around the cursor, before and behind it, and of what it stands on."""
    await add(ask, *({"name": name, "color": "m"} for name in "bdfhjln"))
    middle = (await ask("GET", (await ask("GET", "/items?limit=3&color=m")).json["next"])).json
    assert [item["name"] for item in middle["items"]] == ["h", "j", "l"]
    for name in ("a", "c", "g", "i", "m", "o"):
        await add(ask, {"name": name, "color": "m"})
    for name in ("h", "l"):
        assert (await ask("DELETE", f"/items/{name}")).status == 204
    after, before = [], []
    for relation, found in (("next", after), ("prev", before)):
        path = middle[relation]
        while path:
            page = (await ask("GET", path)).json
            found += [item["name"] for item in page["items"]]
            path = page.get(relation)
    assert [name for name in after if name in "bdfhjln"] == ["n"]
    assert sorted(name for name in before if name in "bdfhjln") == ["b", "d", "f"]
    assert len(before) == len(set(before))


# ------------------------------------------------------------ parts and counts


async def test_fields_choose_what_is_shown(ask: Client) -> None:
    """In a list and of one document; the address stays, and the tag has a suffix behind the revision."""
    (made,) = await add(ask, {"name": "a", "color": "red", "size": 3})
    full = await ask("GET", "/items/a")
    tag = full.headers["ETag"].strip('"')
    reply = await ask("GET", "/items?fields=size,color")
    (item,) = reply.json["items"]
    assert list(item) == ["_href", "_etag", "color", "size"]
    assert (item["color"], item["size"], item["_href"]) == ("red", 3, "/items/a")
    one = await ask("GET", "/items/a?fields=color,size")
    assert one.json == {"color": "red", "size": 3}
    assert one.headers["ETag"] == item["_etag"]
    assert item["_etag"].startswith(f'"{tag};fields=')
    assert (await ask("GET", "/items/a?fields=name")).headers["ETag"] not in (full.headers["ETag"], one.headers["ETag"])
    assert made["name"] == "a"
    for query in ("fields=nope", "fields=pin", "fields="):
        assert (await ask("GET", f"/items/a?{query}")).status == 400


async def test_the_tag_of_a_part_is_recognised(ask: Client) -> None:
    """304 for the part that the client has and no other; If-Match takes it for the revision that it is of."""
    await add(ask, {"name": "a"})
    full, part, other = [
        (await ask("GET", f"/items/a{query}")).headers["ETag"] for query in ("", "?fields=name", "?fields=size")
    ]
    for path, tags, status in (
        ("/items/a?fields=name", part, 304),
        ("/items/a?fields=name", f"{other}, {part}", 304),
        ("/items/a?fields=name", full, 200),
        ("/items/a?fields=name", other, 200),
        ("/items/a", part, 200),
        ("/items/a", full, 304),
    ):
        reply = await ask("GET", path, If_None_Match=tags)
        assert reply.status == status, (path, tags)
        assert reply.headers["ETag"] == (full if path == "/items/a" else part)
    assert (await ask("PUT", "/items/a", {"size": 1}, If_Match=part)).status == 200
    assert (await ask("DELETE", "/items/a", If_Match=part)).status == 412


async def test_a_count_is_of_all_that_the_filters_leave(ask: Client) -> None:
    """On every page; without `count=true` there is none."""
    await add(ask, *({"name": f"{number}", "color": "abc"[number % 3], "size": number} for number in range(9)))
    for query, total in {
        "": 9,
        "color=a": 3,
        "color=a&color=b": 6,
        "size[gt]=2&size[lte]=5": 3,
        "size[gt]=5&size[lt]=2": 0,
        "color=a&created_on[gt]=2026-01-01T00:00:00Z": 3,
        "color=x": 0,
        "sort=-color": 9,
    }.items():
        first = (await ask("GET", f"/items?{query}&count=true&limit=2")).json
        assert first["total"] == total, query
        if "next" in first:
            assert (await ask("GET", first["next"])).json["total"] == total
        assert (await ask("GET", f"/items?{query}&count=false")).json.keys() <= {"items", "next"}


# ------------------------------------------------------------ limits of who may see what


async def test_a_callers_list_is_limited_by_an_index(ask: Client) -> None:
    """Alone by the view, with a filter by the index of both; the count too, and a cursor is nobody else's."""
    for who, color in itertools.product(("ann", "bob"), ("red", "blue")):
        await add(
            ask, *({"name": f"{who}{color}{number}", "color": color} for number in (1, 2)), path="/own", X_Name=who
        )
    mine = ["annred1", "annred2", "annblue1", "annblue2"]
    assert sorted(await both_ways(ask, "limit=3", path="/own", X_Name="ann")) == sorted(mine)
    assert await both_ways(ask, "limit=1&color=red", path="/own", X_Name="ann") == ["annred1", "annred2"]
    assert await names(ask, "sort=-color", path="/own", X_Name="ann") == [*mine[1::-1], *mine[:1:-1]]
    first = (await ask("GET", "/own?limit=1&count=true", X_Name="ann")).json
    assert first["total"] == 4
    assert (await ask("GET", first["next"], X_Name="bob")).status == 400
    assert await names(ask, "owner=bob", path="/own", X_Name="ann") == []
    assert sorted(await names(ask, "owner=bob&owner=ann", path="/own", X_Name="ann")) == sorted(mine)
    assert await names(ask, "size=1", path="/own", X_Name="ann") == []
    await refused(ask, "sort=size", path="/own", X_Name="ann")
    await refused(ask, "owner[gt]=a", path="/own", X_Name="ann")
    assert await names(ask, "", path="/own", X_Name="cy") == []


async def test_a_list_without_its_index_is_an_outage(ask: Client, items: Store) -> None:
    """Not installed: 503, and nothing is read in its place."""
    for view in ("item_by_color", "item_by_color_and_created_on"):
        document = await items.database.get(f"_design/{view}")
        await items.database.delete(document["_id"], document["_rev"])
    for query in ("color=red", "color=red&sort=created_on"):
        assert (await ask("GET", f"/items?{query}")).status == 503


# ------------------------------------------------------------ groups


def either(*groups: str) -> str:
    """The parameters of groups of filters."""
    return "&".join(f"or={quote(each, safe='')}" for each in groups)


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        (either("color=a", "size=2"), {0, 2, 4, 5, 6}),
        (either("color=a"), {0, 2, 4, 6}),
        (either("size=2", "size=3&size=0", "size[is]=null"), {0, 1, 3, 4, 5, 6}),
        (either("color=nope", "size=7"), set()),
        (f"color=b&{either('created_on=2026-01-01T00:02:00Z', 'created_on=2026-01-01T00:03:00Z')}", {1}),
    ],
)
async def test_groups_find_what_fits_one_of_them(ask: Client, query: str, wanted: set[int]) -> None:
    """Each document once, in the order of the ids; pages lead through all of them both ways."""
    await sized(ask)
    found = [f"{n}" for n in sorted(wanted)]
    assert await names(ask, query) == found
    for limit in (1, 2, 3):
        assert await both_ways(ask, f"{query}&limit={limit}") == found


@pytest.mark.parametrize("order", ["created_on", "-created_on"])
async def test_groups_are_sorted_by_what_each_index_has_next(ask: Client, order: str) -> None:
    """An index of the values and then of the properties to sort by serves each group; ranges are of the first."""
    await sized(ask)
    groups = either("color=a&created_on[gte]=2026-01-01T00:03:00Z", "created_on[lt]=2026-01-01T00:03:00Z")
    wanted = ["0", "1", "2", "4", "6"]
    wanted = wanted if order == "created_on" else wanted[::-1]
    assert await names(ask, f"sort={order}&{groups}") == wanted
    for limit in (1, 2):
        assert await both_ways(ask, f"sort={order}&{groups}&limit={limit}") == wanted


@pytest.mark.parametrize(
    "query",
    [
        "or=", "or=nope%3D1", "or=pin%3D1", "or=color", either("color=a") + "&count=true", either("or=color"),
        either("color=a") + "&sort=size&nulls=last", either("color=a", "sort=size"), either("limit=1"),
        "&".join([either(*["color=a"] * 9)]),
    ],
)  # fmt: skip
async def test_what_is_no_group_of_filters_is_400(ask: Client, query: str) -> None:
    """Unknown names, other parameters than filters, a count, and too many."""
    await refused(ask, query)


@pytest.mark.parametrize(
    ("query", "declaration"),
    [
        (either("color=a", "size=1&price=2"), 'indexes=[("size", "price")]'),
        (either("size=1", "color=a") + "&sort=created_on", 'indexes=[("size", "created_on")]'),
        (either("size[gt]=1"), None),
        (either("color=a", "size=1") + "&sort=color", None),
        (either("color=a") + "&color[ne]=b", None),
        (either("size=1&price=2", "size[gt]=1"), None),
    ],
)
async def test_a_group_that_no_index_serves_says_which_would(
    ask: Client, query: str, declaration: str | None
) -> None:
    """400, and nothing is scanned."""
    problem = await refused(ask, query)
    assert problem["type"] == "urn:tornado-couch:problem:no-index"
    assert problem.get("declaration") == declaration


async def test_groups_stay_within_a_caller_s_list(ask: Client) -> None:
    """The restriction holds for each group, also for one that asks for somebody else's."""
    for name, owner in (("mine", "ann"), ("theirs", "bob")):
        await add(ask, {"name": name, "color": "a"}, path="/own", X_Name=owner)
    assert await names(ask, either("color=a", "color=b"), "/own", X_Name="ann") == ["mine"]
    assert await names(ask, either("owner=bob", "color=b"), "/own", X_Name="ann") == []
