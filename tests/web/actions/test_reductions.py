"""Reduced views as read-only resources."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

import pytest

from tests.web.conftest import Client, Serve
from tornado_couch import (
    AllowAny,
    Application,
    Count,
    Database,
    Indexed,
    Model,
    Policy,
    Stats,
    Store,
    Sum,
    install,
    resource,
)
from tornado_couch.web import Authenticated, BasicAccounts, Principal


class Language(
    Model,
    type="language_v1.0",
    key="code",
    unique=True,
    reductions={
        "by_scope": Count("scope"),
        "by_scope_and_kind": Count("scope", "kind"),
        "speakers": Sum("speakers", by="scope"),
        "speaker-stats": Stats("speakers", by="scope"),
    },
):
    code: str
    scope: Annotated[str, Indexed()]
    kind: str = "L"
    speakers: int | None = None


class Mine(Policy):
    """Lists are limited, and nobody said whether reductions are."""

    def restriction(self, principal: Principal | None, model: type[Model]) -> tuple[str, Any] | None:
        return "scope", "I"


BODIES = [
    {"code": "deu", "scope": "I", "speakers": 90},
    {"code": "eng", "scope": "I", "speakers": 400},
    {"code": "lat", "scope": "I", "kind": "A"},
    {"code": "ara", "scope": "M", "speakers": 300},
    {"code": "mul", "scope": "S", "kind": "S"},
]


@pytest.fixture
async def store(database: Database) -> Store:
    """A store of languages."""
    await install(database.server, database.name, [Language])  # type: ignore[arg-type]
    return Store(database)


@pytest.fixture
async def ask(store: Store, serve: Serve) -> Client:
    """A client of a service with a few languages."""
    routes = [
        *resource("/languages", Language, store, create_by_put=True, page_size=2),
        *resource("/closed", Language, store, policy=Authenticated(BasicAccounts(store))),
        *resource("/mine", Language, store, policy=Mine()),
    ]
    client = await serve(Application(routes, policy=AllowAny(), cookie_secret="s"))
    for body in BODIES:
        assert (await client("POST", "/languages", body)).status == 201
    return client


async def groups(ask: Client, path: str) -> list[tuple[Any, Any]]:
    """All groups, over all pages."""
    found, address = [], f"/languages/{path}"
    while address:
        body = (await ask("GET", address)).json
        found += [(item["key"], item["value"]) for item in body["items"]]
        address = body.get("next", "")
    return found


async def test_each_value_has_its_count(ask: Client) -> None:
    """In CouchDB's order of the values, page by page, with Link."""
    first = await ask("GET", "/languages/by_scope")
    assert first.json["items"] == [{"key": "I", "value": 3}, {"key": "M", "value": 1}]
    assert first.headers["Link"] == f'<{first.json["next"]}>; rel="next"'
    assert await groups(ask, "by_scope") == [("I", 3), ("M", 1), ("S", 1)]
    assert await groups(ask, "by_scope?limit=1") == [("I", 3), ("M", 1), ("S", 1)]


async def test_sums_and_statistics_leave_out_who_has_no_number(ask: Client) -> None:
    """Null is not zero."""
    assert await groups(ask, "speakers") == [("I", 490), ("M", 300)]
    stats = dict(await groups(ask, "speaker-stats"))
    assert stats["I"] == {"sum": 490, "count": 2, "min": 90, "max": 400, "sumsqr": 90**2 + 400**2}


async def test_several_properties_group_together_or_by_the_first_of_them(ask: Client) -> None:
    """`level` says by how many; a property without a value is grouped by its default."""
    pairs = [(["I", "A"], 1), (["I", "L"], 2), (["M", "L"], 1), (["S", "S"], 1)]
    assert await groups(ask, "by_scope_and_kind") == pairs
    assert await groups(ask, "by_scope_and_kind?level=1") == [(["I"], 3), (["M"], 1), (["S"], 1)]
    assert await groups(ask, "by_scope_and_kind?level=0") == [(None, 5)]
    assert await groups(ask, "by_scope_and_kind?scope=I") == pairs[:2]
    assert await groups(ask, "by_scope_and_kind?scope=I&kind[gt]=A&limit=1") == pairs[1:2]
    assert await groups(ask, "by_scope?scope[gte]=M&scope[lt]=S") == [("M", 1)]
    assert await groups(ask, "by_scope?scope=none") == []


async def test_a_change_of_a_document_changes_the_groups_and_the_tag(ask: Client) -> None:
    """304 before it, 200 after it."""
    tag = (await ask("GET", "/languages/by_scope")).headers["ETag"]
    assert (await ask("GET", "/languages/by_scope", If_None_Match=tag)).status == 304
    assert (await ask("DELETE", "/languages/ara")).status == 204
    reply = await ask("GET", "/languages/by_scope", If_None_Match=tag)
    assert (reply.status, reply.headers["ETag"] != tag) == (200, True)
    assert reply.json["items"] == [{"key": "I", "value": 3}, {"key": "S", "value": 1}]


async def test_head_is_get_without_a_body(ask: Client) -> None:
    """With the same header fields."""
    get, head = await ask("GET", "/languages/by_scope"), await ask("HEAD", "/languages/by_scope")
    assert (head.status, head.text) == (200, b"")
    for name in ("ETag", "Content-Length", "Link", "Cache-Control", "Vary"):
        assert head.headers[name] == get.headers[name]


async def test_it_is_read_only(ask: Client) -> None:
    """405 with Allow; OPTIONS says so."""
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        reply = await ask(method, "/languages/by_scope", {})
        assert reply.status == 405
        assert set(reply.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
    reply = await ask("OPTIONS", "/languages/by_scope")
    assert (reply.status, set(reply.headers["Allow"].split(", "))) == (204, {"GET", "HEAD", "OPTIONS"})
    assert (await ask("GET", "/languages/by_scope", Accept="text/html")).status == 406


@pytest.mark.parametrize(
    "query",
    [
        *[
            "limit=0",
            "level=3",
            "level=-1",
            "level=x",
            "level=",
            "cursor=x",
            "nope=1",
            "speakers=1",
            "kind=L",
            "kind[gt]=A",
        ],
        *["scope=I&scope=M", "scope=I&scope[gt]=A", "sort=scope", "count=true", "code=deu", "%FF=1", "limit=1&limit=1"],
    ],
)
async def test_a_parameter_that_means_nothing_here_is_400(ask: Client, query: str) -> None:
    """The problem names it; what it is grouped by can be narrowed from the first on."""
    reply = await ask("GET", f"/languages/by_scope_and_kind?{query}")
    assert (reply.status, "parameter" in reply.json) == (400, True)


async def test_a_cursor_is_good_for_its_own_groups(ask: Client) -> None:
    """Not for another reduction, level or filter, nor for the collection."""
    cursor = (await ask("GET", "/languages/by_scope_and_kind?limit=1")).json["next"].partition("cursor=")[2]
    for path in ("by_scope?", "by_scope_and_kind?level=1&", "by_scope_and_kind?scope=I&"):
        assert (await ask("GET", f"/languages/{path}cursor={cursor}")).status == 400
    assert (await ask("GET", f"/languages?cursor={cursor}")).status == 400


async def test_the_name_of_a_reduction_is_no_key(ask: Client) -> None:
    """A document of that key could not be reached, so it is refused with a clear error."""
    for name in ("by_scope", "speaker-stats"):
        reply = await ask("POST", "/languages", {"code": name, "scope": "I"})
        assert reply.status == 422
        (error,) = reply.json["errors"]
        assert (error["pointer"], "names below the collection" in error["detail"]) == ("/code", True)
    assert (await ask("POST", "/languages", {"code": "by_scope2", "scope": "I"})).status == 201
    assert (await ask("GET", "/languages/by_scope2")).status == 200


async def test_it_is_authorised_as_a_list_is(ask: Client) -> None:
    """401 without credentials; and where lists are limited to the caller's own, 403: it counts others', too."""
    assert (await ask("GET", "/closed/by_scope")).status == 401
    assert (await ask("GET", "/mine/by_scope")).status == 403
    assert (await ask("GET", "/mine")).status == 200


async def test_text_keys_page_whatever_they_are(ask: Client) -> None:
    """Quotes, white space and other scripts."""
    values = ['"', " ", "é", "東", "null", "a b", "%"]
    for number, value in enumerate(values):
        await ask("POST", "/languages", {"code": f"x{number}", "scope": value})
    found = await groups(ask, "by_scope?limit=1")
    assert len(found) == len(values) + 3
    assert {key for key, _ in found} == {*values, "I", "M", "S"}
    for value in values:
        assert await groups(ask, f"by_scope?{urlencode({'scope': value})}") == [(value, 1)]


def test_a_reduction_is_at_its_own_route_before_that_of_documents(store: Store) -> None:
    """Both routes match its address, and the first wins."""
    routes = resource("/languages", Language, store)
    names = [route.kwargs.get("name", "") for route in routes]
    assert max(names.index(name) for name in ("by_scope", "speakers")) < len(routes) - 1
    assert routes[-1].regex.pattern.startswith("/languages/(")
