"""Models that keep their history, over HTTP: what a document was, and what it is again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote

import pytest
from annotated_types import MinLen
from openapi_spec_validator import validate

from tests.web.callers import ByHeader
from tests.web.conftest import MERGE, Client, Reply, Serve
from tests.web.openapi.described import Described
from tornado_couch import (
    AllowAny,
    ApiInfo,
    Application,
    CreatedOn,
    Database,
    DocumentHandler,
    Hooks,
    Indexed,
    Key,
    Model,
    ReadOnly,
    Store,
    UpdatedOn,
    WriteOnly,
    install,
    openapi_document,
    resource,
)
from tornado_couch.web import Authenticated, Owner, Roles


class Page(Model, type="page_v1.0", key="slug", history=True):
    slug: Annotated[str, MinLen(1)]
    text: str = ""
    topic: Annotated[str, Indexed()] = "none"
    owner: Annotated[str | None, ReadOnly(), Indexed()] = None
    pin: Annotated[str | None, WriteOnly()] = None
    created_on: CreatedOn
    updated_on: UpdatedOn


class Entry(Model, type="entry_v1.0", key="entry_id", history=True):
    entry_id: Key
    text: str


class Clock:
    """The store's clock, an hour later at each step."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def step(self) -> None:
        self.now += timedelta(hours=1)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(database: Database, clock: Clock) -> Store:
    await install(database.server, database.name, [Page, Entry])  # type: ignore[arg-type]
    return Store(database, now=clock)


@pytest.fixture
async def ask(store: Store, serve: Serve) -> Client:
    routes = [
        *resource("/pages", Page, store, create_by_put=True, page_size=2),
        *resource("/strict", Page, store, require_if_match=True),
        *resource("/entries", Entry, store),
    ]
    return await serve(Application(routes, policy=AllowAny()))


@pytest.fixture
async def page(ask: Client, clock: Clock) -> Reply:
    """The third version of a page, after "one" and "two", an hour from each other."""
    await ask("POST", "/pages", {"slug": "a", "text": "one"})
    for text in ("two", "three"):
        clock.step()
        reply = await ask("PUT", "/pages/a", {"text": text})
        assert reply.status == 200
    return reply


async def test_a_get_answers_with_the_latest_and_its_own_entity_tag(ask: Client, page: Reply) -> None:
    """Another one at each version; the tag that a write answers with is that of the next GET."""
    found = await ask("GET", "/pages/a")
    assert (found.status, found.json["text"], found.headers["ETag"]) == (200, "three", page.headers["ETag"])
    assert (await ask("GET", "/pages/a", If_None_Match=page.headers["ETag"])).status == 304
    tags = {(await ask("GET", f"/pages/a?version={n}")).headers["ETag"] for n in (1, 2, 3)}
    assert len(tags) == 3
    assert all(not tag.startswith("W/") for tag in tags)


async def test_the_versions_are_a_list_with_pages(ask: Client, page: Reply) -> None:
    """The latest first; each item is what a GET of its address gives, and has its number and its time."""
    first = await ask("GET", "/pages/a/versions")
    assert [(each["_version"], each["text"]) for each in first.json["items"]] == [(3, "three"), (2, "two")]
    assert first.json["items"][0]["_written_on"] == "2026-01-01T02:00:00.000000+00:00"
    assert f'<{first.json["next"]}>; rel="next"' in first.headers["Link"]
    assert '</pages/a>; rel="latest-version"' in first.headers["Link"]
    assert "pin" not in first.json["items"][0]
    last = await ask("GET", first.json["next"])
    assert [each["text"] for each in last.json["items"]] == ["one"]
    assert "next" not in last.json
    assert (await ask("GET", last.json["prev"])).json["items"] == first.json["items"]
    for item in [*first.json["items"], *last.json["items"]]:
        found = await ask("GET", item["_href"])
        assert found.headers["ETag"] == item["_etag"]
        assert found.json == {name: value for name, value in item.items() if not name.startswith("_")}
    assert (await ask("GET", "/pages/a/versions", If_None_Match=first.headers["ETag"])).status == 304
    some = await ask("GET", "/pages/a/versions?fields=text&limit=1")
    assert some.json["items"][0].keys() == {"_href", "_etag", "_version", "_written_on", "text"}
    assert (await ask("GET", "/pages/none/versions")).status == 404


@pytest.mark.parametrize(
    "query", ["limit=0", "cursor=x", "sort=text", "fields=pin", "fields=x", "version=1", "limit=1&limit=2"]
)
async def test_a_bad_parameter_of_the_versions_is_400(ask: Client, page: Reply, query: str) -> None:
    """It is named."""
    reply = await ask("GET", f"/pages/a/versions?{query}")
    assert (reply.status, reply.json["parameter"]) == (400, query.partition("=")[0])


async def test_a_cursor_of_another_document_is_400(ask: Client, page: Reply) -> None:
    """It is bound to its list."""
    await ask("POST", "/pages", {"slug": "b"})
    cursor = (await ask("GET", "/pages/a/versions")).json["next"].partition("?")[2]
    assert (await ask("GET", f"/pages/b/versions?{cursor}")).status == 400


async def test_a_version_says_where_it_is_and_what_else_there_is(ask: Client, page: Reply) -> None:
    """RFC 5829's link relations; asked for by time, it is told where it always is."""
    for query in ("version=2", "at=2026-01-01T01:30:00Z"):
        found = await ask("GET", f"/pages/a?{query}")
        assert (found.status, found.json["text"]) == (200, "two")
        assert found.headers["Content-Location"] == "/pages/a?version=2"
        assert '</pages/a>; rel="latest-version"' in found.headers["Link"]
        assert '</pages/a/versions>; rel="version-history"' in found.headers["Link"]
        assert (await ask("GET", f"/pages/a?{query}", If_None_Match=found.headers["ETag"])).status == 304
        assert (await ask("GET", f"/pages/a?{query}&fields=text")).json == {"text": "two"}
        assert (await ask("HEAD", f"/pages/a?{query}")).headers["ETag"] == found.headers["ETag"]
    for query in ("version=4", "at=2025-12-31T23:59:59.999999Z"):
        assert (await ask("GET", f"/pages/a?{query}")).status == 404
    for text in ("2026-01-01t01:30:00.5z", "9999-12-31T23:59:59Z", "2026-01-01T01:30:00.123456789Z"):
        assert (await ask("GET", f"/pages/a?at={text}")).status == 200
    plus = quote("2026-01-01T06:00:00+05:00", safe="")
    assert (await ask("GET", f"/pages/a?at={plus}")).json["text"] == "two"


@pytest.mark.parametrize(
    "query",
    [
        "version=0",
        "version=x",
        "version=1~",
        "version=01",
        "version=",
        "version=1&version=2",
        "at=yesterday",
        "at=2026-01-01",
        "at=1700000000",
        "at=2026-13-01T00:00:00Z",
        "at=2026-01-01T00:00:00",
        "at=0001-01-01T00:00:00%2B05:00",
        "at=2026-01-01T00:00:60Z",
        "deleted=yes",
        "color=red",
        "limit=3",
        "at=2026-01-01T00:00:00Z&version=1",
    ],
)
async def test_a_bad_parameter_of_a_document_is_400(ask: Client, page: Reply, query: str) -> None:
    """An unknown one too, with those that there are."""
    reply = await ask("GET", f"/pages/a?{query}")
    assert reply.status == 400
    assert reply.json["type"].endswith("bad-parameter")
    if "color" in query or "limit" in query:
        assert reply.json["allowed"] == ["fields", "version", "at", "deleted"]


async def test_an_earlier_version_comes_back_by_sending_it_again(ask: Client, page: Reply) -> None:
    """What was read is a valid body, as it is or as an item of the list; it is the next version."""
    one = (await ask("GET", "/pages/a?version=1")).json
    reply = await ask("PUT", "/pages/a", one, If_Match=page.headers["ETag"])
    assert (reply.status, reply.json["text"]) == (200, "one")
    assert reply.json["created_on"] == page.json["created_on"]
    item = (await ask("GET", "/pages/a/versions?limit=1")).json["items"][0]
    assert (await ask("PUT", "/pages/a", item, If_Match=item["_etag"])).status == 200
    assert (await ask("PUT", "/pages/a", {"owner": "me"})).status == 422
    assert (await ask("GET", "/pages/a/versions?limit=1")).json["items"][0]["_version"] == 5


async def test_a_deletion_is_404_and_a_put_brings_it_back(ask: Client, page: Reply, clock: Clock) -> None:
    """The versions tell of it; by time and number it is found as it was."""
    clock.step()
    assert (await ask("DELETE", "/pages/a")).status == 204
    assert (await ask("DELETE", "/pages/a")).status == 404
    for method, body in (("GET", None), ("PATCH", {"text": "x"})):
        assert (await ask(method, "/pages/a", body, Content_Type=MERGE)).status == 404
    assert (await ask("GET", "/pages")).json["items"] == []
    gone = (await ask("GET", "/pages/a/versions?limit=1")).json["items"][0]
    assert gone.keys() == {"_href", "_etag", "_version", "_written_on", "_deleted_on"}
    assert (gone["_version"], (await ask("GET", gone["_href"])).status) == (4, 404)
    assert (await ask("GET", "/pages/a?version=3")).json["text"] == "three"
    assert (await ask("GET", "/pages/a?at=2026-01-01T02:30:00Z")).json["text"] == "three"
    assert (await ask("GET", "/pages/a?at=2026-01-01T03:30:00Z")).status == 404
    found = await ask("GET", "/pages/a?deleted=true")
    assert (found.status, found.json["text"], found.headers["ETag"]) == (200, "three", gone["_etag"])
    listed = (await ask("GET", "/pages?deleted=true")).json["items"]
    assert [(each["slug"], each["_deleted_on"], each["_etag"]) for each in listed] == [
        ("a", gone["_written_on"], gone["_etag"])
    ]
    assert (await ask("GET", "/pages?deleted=true&topic=none")).json["items"] == listed
    clock.step()
    back = await ask("PUT", "/pages/a", {"text": "again"})
    assert (back.status, back.headers["Location"]) == (201, "/pages/a")
    assert back.json["created_on"] == page.json["created_on"]
    assert (await ask("GET", "/pages/a")).headers["ETag"] == back.headers["ETag"]
    assert (await ask("GET", "/pages?deleted=true")).json["items"] == []
    assert (await ask("GET", "/pages/a?deleted=true")).status == 404


async def test_restoring_respects_preconditions(ask: Client, page: Reply) -> None:
    """If-Match means the revision of the deletion; `*` is nothing where there is nothing to see."""
    await ask("DELETE", "/pages/a")
    tag = (await ask("GET", "/pages/a?deleted=true")).headers["ETag"]
    assert (await ask("PUT", "/pages/a", {}, If_Match=page.headers["ETag"])).status == 412
    assert (await ask("PUT", "/pages/a", {}, If_Match="*")).status == 412
    assert (await ask("PUT", "/strict/a", {})).status == 428
    assert (await ask("PUT", "/strict/a", {}, If_None_Match="*")).status == 404
    outcomes = await asyncio.gather(*(ask("PUT", "/strict/a", {"text": str(n)}, If_Match=tag) for n in range(6)))
    assert sorted(each.status for each in outcomes) == [201, 412, 412, 412, 412, 412]
    await ask("DELETE", "/pages/a")
    assert (await ask("PUT", "/pages/a", {"text": "new"}, If_None_Match="*")).status == 201
    assert (await ask("PUT", "/pages/a", {"text": "new"}, If_None_Match="*")).status == 412
    numbers = [each["_version"] for each in (await ask("GET", "/pages/a/versions?limit=50")).json["items"]]
    assert numbers == list(range(len(numbers), 0, -1))


async def test_of_parallel_writers_with_one_tag_one_wins(ask: Client, page: Reply) -> None:
    """By each method."""
    tag = page.headers["ETag"]
    calls = [("PUT", {"text": "x"}, "application/json"), ("PATCH", {"text": "y"}, MERGE), ("DELETE", None, "x/x")] * 3
    outcomes = await asyncio.gather(
        *(ask(method, "/pages/a", body, Content_Type=kind, If_Match=tag) for method, body, kind in calls)
    )
    statuses = sorted(each.status for each in outcomes)
    assert statuses[0] in (200, 204)
    assert statuses[1:] == [412] * 8


async def test_creating_what_is_there_is_409(ask: Client, page: Reply) -> None:
    """After a deletion it is 201, with a new time of creation."""
    assert (await ask("POST", "/pages", {"slug": "a"})).status == 409
    await ask("DELETE", "/pages/a")
    again = await ask("POST", "/pages", {"slug": "a"})
    assert (again.status, again.json["created_on"] > page.json["created_on"]) == (201, True)


async def test_an_idempotency_key_creates_once(ask: Client) -> None:
    """As it is now it is answered; deleted it is gone; for keys of CouchDB's and of the client's."""
    for path, body in (("/entries", {"text": "x"}), ("/pages", {"slug": "k"})):
        first = await ask("POST", path, body, Idempotency_Key="7")
        href = first.headers["Location"]
        changed = await ask("PATCH", href, {"text": "changed"}, Content_Type=MERGE)
        again = await ask("POST", path, body, Idempotency_Key="7")
        assert (again.status, again.headers["Location"], again.headers["ETag"]) == (
            201,
            href,
            changed.headers["ETag"],
        )
        assert again.headers["Idempotent-Replayed"] == "true"
        assert (await ask("POST", path, {**body, "text": "other"}, Idempotency_Key="7")).status == 422
        await ask("DELETE", href)
        assert (await ask("POST", path, body, Idempotency_Key="7")).status == 410


async def test_many_at_once_are_versions_as_well(ask: Client) -> None:
    """By an array, by lines, and by a bulk request, with its preconditions and restorations."""
    made = await ask("POST", "/pages", [{"slug": "a"}, {"slug": "b"}, {"slug": "a"}])
    assert [each["status"] for each in made.json["items"]] == [201, 201, 409]
    lines = await ask("POST", "/pages", data=b'{"slug":"c"}\n{"slug":"b"}\n', Content_Type="application/x-ndjson")
    assert [b'"status":201' in line for line in lines.text.splitlines()] == [True, False]
    operations = [
        {"action": "replace", "key": "a", "document": {"text": "2"}},
        {"action": "replace", "key": "a", "document": {"text": "3"}, "if_match": '"1-0"'},
        {"action": "delete", "key": "b", "if_match": made.json["items"][1]["_etag"]},
        {"action": "replace", "key": "b", "document": {"text": "back"}},
        {"action": "create", "document": {"slug": "a"}},
    ]
    done = await ask("POST", "/pages/_bulk", {"operations": operations})
    assert [each["status"] for each in done.json["items"]] == [200, 412, 204, 201, 409]
    numbers = [len((await ask("GET", f"/pages/{slug}/versions?limit=9")).json["items"]) for slug in ("a", "b", "c")]
    assert numbers == [2, 3, 1]


async def test_lists_are_of_what_documents_are_now(ask: Client, page: Reply) -> None:
    """With filters, orders, pages, counts and as lines."""
    for slug in ("b", "c"):
        await ask("POST", "/pages", {"slug": slug, "topic": "x"})
    await ask("PATCH", "/pages/b", {"topic": "y"}, Content_Type=MERGE)
    first = await ask("GET", "/pages?count=true")
    assert ([each["slug"] for each in first.json["items"]], first.json["total"]) == (["a", "b"], 3)
    assert [each["slug"] for each in (await ask("GET", first.json["next"])).json["items"]] == ["c"]
    assert [each["slug"] for each in (await ask("GET", "/pages?topic=x")).json["items"]] == ["c"]
    assert [each["slug"] for each in (await ask("GET", "/pages?sort=-topic")).json["items"]] == ["b", "c"]
    lines = await ask("GET", "/pages", Accept="application/x-ndjson")
    assert len(lines.text.splitlines()) == 3
    refused = await ask("GET", "/pages?topic=x&count=true")
    assert (refused.status, refused.json["parameter"]) == (400, "count")


@pytest.mark.parametrize("query", ["limit=1", "version=1", "at=2026-01-01T00:00:00Z", "deleted=true"])
async def test_models_without_history_have_no_versions(serve: Serve, database: Database, query: str) -> None:
    """Their documents take `fields` and nothing else, and there is no list of versions."""

    class Plain(Model, type="plain_v1.0", key="name", unique=True):
        name: str

    await install(database.server, database.name, [Plain])  # type: ignore[arg-type]
    ask = await serve(Application(resource("/plain", Plain, Store(database)), policy=AllowAny()))
    await ask("POST", "/plain", {"name": "a"})
    reply = await ask("GET", f"/plain/a?{query}")
    assert (reply.status, reply.json["allowed"]) == (400, ["fields"])
    assert (await ask("GET", "/plain/a/versions")).status == 404
    assert (await ask("GET", "/plain?deleted=true")).status == 400


async def test_another_handler_of_documents_has_no_versions_by_itself(serve: Serve, store: Store) -> None:
    """It may show less than the package's own; they have to be mounted."""

    class Short(DocumentHandler):
        def show(self, model: Any) -> dict[str, Any]:
            return {"slug": model.slug}

    ask = await serve(Application(resource("/pages", Page, store, document=Short), policy=AllowAny()))
    await ask("POST", "/pages", {"slug": "a", "text": "secret"})
    assert (await ask("GET", "/pages/a/versions")).status == 404


class TestPolicies:
    async def served(self, serve: Serve, store: Store, policy: Any) -> Client:
        ask = await serve(Application(resource("/pages", Page, store, policy=policy)))
        assert (await ask("POST", "/pages", {"slug": "a", "text": "one"}, X_Name="ann")).status == 201
        assert (await ask("PUT", "/pages/a", {"text": "two"}, X_Name="ann")).status == 200
        return ask

    async def test_versions_and_deleted_ones_are_permissions_of_their_own(self, serve: Serve, store: Store) -> None:
        """Who may read may not therefore see what was, nor what is deleted."""
        roles = {"versions": {"auditor"}, "deleted": {"auditor"}, "restore": {"auditor"}, "*": None}
        ask = await self.served(serve, store, Authenticated(ByHeader()) & Roles(roles))
        for path in ("/pages/a/versions", "/pages/a?version=1", "/pages/a?at=2026-01-01T00:00:00Z"):
            assert (await ask("GET", path)).status == 401
            assert (await ask("GET", path, X_Name="ann")).status == 403
        await ask("DELETE", "/pages/a", X_Name="ann")
        for path in ("/pages/a?deleted=true", "/pages?deleted=true", "/pages/none?deleted=true"):
            assert (await ask("GET", path, X_Name="ann")).status == 403
        assert (await ask("PUT", "/pages/a", {}, X_Name="ann")).status == 404

    async def test_versions_of_a_deleted_document_are_for_those_who_see_deleted_ones(
        self, serve: Serve, store: Store
    ) -> None:
        """For others there is no such document, as a plain GET says."""
        ask = await self.served(serve, store, Authenticated(ByHeader(), read_anonymous=True))
        assert (await ask("GET", "/pages/a?version=1")).json["text"] == "one"
        await ask("DELETE", "/pages/a", X_Name="ann")
        for path in ("/pages/a/versions", "/pages/a?version=1", "/pages/a?at=2026-01-01T00:00:00Z"):
            assert (await ask("GET", path)).status == 404
            assert (await ask("GET", path, X_Name="ann")).status == 200
        assert (await ask("GET", "/pages/a?deleted=true")).status == 401
        assert (await ask("GET", "/pages?deleted=true")).status == 401

    async def test_who_owns_a_document_now_sees_what_it_was(self, serve: Serve, store: Store) -> None:
        """And brings it back; for others there is none."""
        ask = await self.served(serve, store, Owner("owner", ByHeader()))
        paths = ["/pages/a/versions", "/pages/a?version=1", "/pages/a?at=2026-01-01T00:00:00Z"]
        for name, status in (("ann", 200), ("bob", 404)):
            assert {(await ask("GET", path, X_Name=name)).status for path in paths} == {status}
        await ask("DELETE", "/pages/a", X_Name="ann")
        paths.append("/pages/a?deleted=true")
        for name, status in (("ann", 200), ("bob", 404)):
            assert {(await ask("GET", path, X_Name=name)).status for path in paths} == {status}
            listed = (await ask("GET", "/pages?deleted=true", X_Name=name)).json["items"]
            assert len(listed) == (name == "ann")
        assert (await ask("PUT", "/pages/a", {}, X_Name="bob")).status == 404
        assert (await ask("PUT", "/pages/a", {}, X_Name="ann")).status == 201


async def test_hooks_see_versions_and_restorations(serve: Serve, store: Store) -> None:
    """With the actions' names; a restoration with what it was."""
    seen: list[tuple[str, ...]] = []

    class Seen(Hooks):
        async def before(self, event: Any, model: Any = None, current: Any = None) -> None:
            seen.append(("before", event.action, *([current.text] if current else [])))

        async def after(self, event: Any, model: Any, shown: Any) -> None:
            if shown is not None:
                shown["seen"] = True

    ask = await serve(Application(resource("/pages", Page, store, hooks=Seen()), policy=AllowAny()))
    await ask("POST", "/pages", {"slug": "a", "text": "one"})
    await ask("DELETE", "/pages/a")
    await ask("PUT", "/pages/a", {"text": "two"})
    items = (await ask("GET", "/pages/a/versions")).json["items"]
    assert [each.get("seen") for each in items] == [True, None, True]
    assert seen == [
        ("before", "create"),
        ("before", "destroy", "one"),
        ("before", "restore", "one"),
        ("before", "versions"),
    ]


async def test_an_unknown_version_of_the_type_is_its_own_problem(ask: Client, store: Store) -> None:
    """502 on the one document; the list has the others, and counts it as withheld."""
    await ask("POST", "/pages", {"slug": "a"})
    held = await store.database.get("page:a:0000000001")
    newer = {**held, "_id": "page:b:0000000001", "type": "page_v2.0", "slug": "b"}
    del newer["_rev"]
    await store.database.put(newer)
    reply = await ask("GET", "/pages/b")
    assert (reply.status, reply.json["type"]) == (502, "urn:tornado-couch:problem:unsupported-version")
    listed = (await ask("GET", "/pages")).json
    assert ([each["slug"] for each in listed["items"]], listed["withheld"]) == (["a"], 1)


async def test_the_api_document_tells_of_versions_and_of_what_is_deleted(
    ask: Client, page: Reply, store: Store
) -> None:
    """And each answer is one that it tells of."""
    routes = resource("/pages", Page, store, create_by_put=True, page_size=2)
    document = openapi_document(Application(routes, policy=AllowAny()), ApiInfo("Pages", "1.0"))
    validate(document)
    described = Described(document)
    names = {each["name"] for each in described.operation("GET", "/pages/a")["parameters"]}  # type: ignore[index]
    assert {"fields", "version", "at", "deleted"} <= names
    await ask("DELETE", "/pages/a")
    for path in (
        "/pages?deleted=true",
        "/pages/a?deleted=true",
        "/pages/a?version=1",
        "/pages/a?version=9",
        "/pages/a?version=x",
        "/pages/a?at=2026-01-01T01:00:00Z&fields=text",
        "/pages/a/versions",
        "/pages/a/versions?fields=text",
        "/pages/a/versions?limit=x",
        "/pages/none/versions",
    ):
        reply = await ask("GET", path)
        assert described.operation("GET", path.partition("?")[0]) is not None
        described.check("GET", path.partition("?")[0], reply.status, reply.headers, reply.text)
    back = await ask("PUT", "/pages/a", {})
    described.check("PUT", "/pages/a", back.status, back.headers, back.text)
