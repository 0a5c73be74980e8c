"""What clients of all kinds send to a mounted resource: slashes, methods, tokens, dates, and names of routes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from tests.web.callers import ByHeader
from tests.web.conftest import MERGE, Client, Reply, Serve, application, path
from tests.web.models import Fruit
from tornado_couch import AllowAny, Application, CreateMixin, Database, Hooks, Problem, ProblemHandler, Store, resource
from tornado_couch.web import Authenticated, Principal
from tornado_couch.web.action_table import NDJSON

# ---------------------------------------------------------------- addresses


async def test_a_trailing_slash_is_optional_by_a_setting(store: Store, serve: Serve) -> None:
    """For collections, documents and what is below them; addresses in answers have none."""
    ask = await serve(application(store, trailing_slash=True))
    ask.described = None
    created = await ask("POST", "/fruits/", {"color": "red"})
    assert (created.status, path(created).endswith("/")) == (201, False)
    assert (await ask("GET", f"{path(created)}/")).json == created.json
    assert (await ask("GET", "/fruits/?limit=1")).json["items"][0]["_href"] == path(created)
    assert (await ask("GET", f"{path(created)}/conflicts/")).status == 200
    assert (await ask("GET", f"{path(created)}//")).status == 404
    assert (await ask("GET", "/fruits//")).status == 404


async def test_without_the_setting_a_trailing_slash_is_404(ask: Client, fruit: Reply) -> None:
    """So that a document has one address."""
    assert (await ask("GET", f"{path(fruit)}/")).status == 404


async def test_a_route_of_the_services_own_keeps_its_slash(store: Store, serve: Serve) -> None:
    """The slash is dropped only where nothing is mounted with it."""
    ask = await serve(application(store, (r"/fruits/", Teapot), trailing_slash=True))
    assert (await ask("GET", "/fruits/")).status == 418
    assert (await ask("GET", "/fruits")).status == 200


class Teapot(ProblemHandler):
    """A handler of the service's own."""

    def get(self) -> None:
        raise Problem(418)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "patch"])
async def test_a_post_stands_for_another_method_by_a_setting(store: Store, serve: Serve, method: str) -> None:
    """For clients whose proxies let nothing but GET and POST through."""
    ask = await serve(application(store, method_override=True))
    ask.described = None
    fruit = await ask("POST", "/fruits", {"color": "red"})
    body = None if method == "DELETE" else {"color": "blue"}
    kind = {"Content_Type": MERGE} if method.upper() == "PATCH" else {}
    done = await ask("POST", path(fruit), body, X_HTTP_Method_Override=method, **kind)
    assert done.status == (204 if body is None else 200)
    assert (await ask("GET", path(fruit))).status == (404 if body is None else 200)


async def test_no_other_request_stands_for_another_method(store: Store, serve: Serve, ask: Client) -> None:
    """Neither a GET, nor a POST where the setting is missing; and a POST never for a method that it does not name."""
    lenient = await serve(application(store, method_override=True))
    lenient.described = None
    fruit = await ask("POST", "/fruits", {"color": "red"})
    assert (await lenient("GET", path(fruit), X_HTTP_Method_Override="DELETE")).status == 200
    assert (await lenient("POST", path(fruit), X_HTTP_Method_Override="GET")).status == 400
    assert (await lenient("POST", "/fruits", {"color": "red"}, X_HTTP_Method_Override="POST")).status == 201
    assert (await ask("POST", path(fruit), X_HTTP_Method_Override="DELETE")).status == 405
    assert (await ask("GET", path(fruit))).status == 200


async def test_routes_have_names_for_reverse_url(store: Store, serve: Serve) -> None:
    """By default their paths; a key may hold any character. In a handler the prefix of a proxy goes before it."""

    class Fruits(CreateMixin[Fruit]):
        async def perform_create(self, model: Fruit, /) -> Fruit:
            raise Problem(409, detail=self.reverse_url("/places/{key}", "a/b c"))

    own = resource("/own", Fruit, store, collection=Fruits, name="own")
    app = application(store, *own, base_url="/api")
    assert app.reverse_url("/places") == "/places"
    assert app.reverse_url("/places/{key}", "a/b c?é") == "/places/a%2Fb%20c%3F%C3%A9"
    assert (app.reverse_url("own"), app.reverse_url("own/{key}", 7)) == ("/own", "/own/7")
    assert app.reverse_url("/fruits/_bulk") == "/fruits/_bulk"
    assert app.reverse_url("/fruits/{key}/conflicts", "a") == "/fruits/a/conflicts"
    ask = await serve(app)
    ask.described = None
    assert (await ask("POST", "/own", {"color": "red"})).json["detail"] == "/api/places/a%2Fb%20c"


# ---------------------------------------------------------------- forged requests


class _Token(ByHeader):
    """Takes bearer tokens, whatever they are."""

    async def authenticate(self, request: Any) -> Principal | None:
        return Principal("ann") if request.headers.get("Authorization") else None


class _Key(ByHeader):
    """Takes an API key, whatever it is."""

    security_scheme = {"type": "apiKey", "in": "header", "name": "X-API-Key"}  # noqa: RUF012


async def test_xsrf_cookies_leave_writes_with_a_token_alone(store: Store, serve: Serve) -> None:
    """No browser sends a bearer token or a field of its own accord; Basic credentials it does."""
    policy = Authenticated(_Token(), _Key())
    ask = await serve(application(store, policy=policy, xsrf_cookies=True))
    sent: tuple[str, Any] = ("/fruits", {"color": "red"})
    assert (await ask("POST", *sent, Authorization="Bearer abc")).status == 201
    assert (await ask("POST", *sent, Authorization="bearer abc", X_API_Key="abc")).status == 201
    refused = await ask("POST", *sent, Authorization="Basic YTpi")
    assert (refused.status, refused.json["type"]) == (403, "urn:tornado-couch:problem:cross-site-request")
    assert (await ask("POST", *sent, Authorization="Basic YTpi", Cookie="_xsrf=abc")).status == 403
    cookie = {"Cookie": "_xsrf=abc", "X_XSRFToken": "abc"}
    assert (await ask("POST", *sent, Authorization="Basic YTpi", **cookie)).status == 201
    lines = await ask("POST", "/fruits", data=b'{"color": "red"}\n', Content_Type=NDJSON, Authorization="Basic YTpi")
    assert lines.status == 403
    assert (await ask("GET", "/fruits?count=true", Authorization="Basic YTpi")).json["total"] == 3


# ---------------------------------------------------------------- what is accepted


async def test_a_star_accepts_everything(ask: Client, fruit: Reply) -> None:
    """As Java's HttpURLConnection sends it: `text/html, *; q=.2`."""
    assert (await ask("GET", path(fruit), Accept="text/html, *; q=.2")).status == 200
    assert (await ask("GET", path(fruit), Accept="text/html, *; q=0")).status == 406


async def test_406_is_for_answers_that_have_a_body(ask: Client, fruit: Reply) -> None:
    """A deletion has none, nor has a write whose client prefers a minimal answer."""
    assert (await ask("PUT", path(fruit), {"color": "blue"}, Accept="text/html")).status == 406
    minimal = await ask("PUT", path(fruit), {"color": "blue"}, Accept="text/html", Prefer="return=minimal")
    assert minimal.status == 204
    assert (await ask("GET", path(fruit), Accept="text/html", Prefer="return=minimal")).status == 406
    assert (await ask("DELETE", path(fruit), Accept="text/html")).status == 204


@pytest.mark.parametrize("name", ["created_on", "created_on[gte]"])
async def test_a_plus_sign_that_became_a_space_gets_a_hint(ask: Client, name: str) -> None:
    """The most common mistake with time stamps in a query string; any other value gets none."""
    refused = await ask("GET", f"/fruits?{name}=2026-01-01T00:00:00+00:00")
    assert (refused.status, "%2B" in refused.json["detail"]) == (400, True)
    assert (await ask("GET", f"/fruits?{name}=2026-01-01T00:00:00%2B00:00")).status == 200
    assert "%2B" not in (await ask("GET", f"/fruits?{name}=yesterday")).json["detail"]


def writes(fruit: Reply) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """One request for each action that writes, with the address that it goes to."""
    body = {"body": {"color": "blue"}}
    yield "POST", "/fruits", body
    yield "POST", "/fruits", {"data": b'{"color": "blue"}\n', "Content_Type": NDJSON}
    yield "POST", "/fruits/_bulk", {"body": {"operations": []}}
    yield "PUT", path(fruit), body
    yield "PATCH", path(fruit), {**body, "Content_Type": MERGE}
    yield "POST", f"{path(fruit)}/conflicts", body
    yield "DELETE", path(fruit), {}


async def test_an_unknown_parameter_of_a_write_is_400(ask: Client, fruit: Reply) -> None:
    """Nothing is written, since the client may have meant something by it."""
    for method, address, sent in writes(fruit):
        refused = await ask(method, f"{address}?dry-run=true", **sent)
        assert (refused.status, refused.json["parameter"]) == (400, "dry-run")
    assert (await ask("GET", path(fruit))).headers["ETag"] == fruit.headers["ETag"]
    assert len((await ask("GET", "/fruits")).json["items"]) == 1


async def test_a_handler_names_the_parameters_that_its_writes_take(store: Store, serve: Serve) -> None:
    """In `PARAMETERS`, for what a service adds."""

    class Fruits(CreateMixin[Fruit]):
        PARAMETERS = ("ripe",)

        def get_initial(self) -> dict[str, Any]:
            return {"grade": 1 if self.get_query_argument("ripe", "") else 0}

    ask = await serve(application(store, *resource("/own", Fruit, store, collection=Fruits)))
    assert (await ask("POST", "/own?ripe=1", {"color": "red"})).json["grade"] == 1
    refused = await ask("POST", "/own?raw=1", {"color": "red"})
    assert (refused.status, refused.json["allowed"]) == (400, ["ripe"])


# ---------------------------------------------------------------- dates and totals


def _long_ago() -> datetime:
    return datetime(2026, 1, 1, 12, 0, 0, 700_000, tzinfo=UTC)


def _now() -> datetime:
    return datetime.now(UTC)


def date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


@pytest.fixture
async def old(database: Database, store: Store, serve: Serve) -> Client:
    """A client of a service whose clock stands still, long ago."""
    return await serve(application(Store(database, now=_long_ago)))


async def test_last_modified_comes_from_updated_on(old: Client, ask: Client) -> None:
    """Of a document that was changed a minute ago at least: a later change could have the same second."""
    fruit = await old("POST", "/fruits", {"color": "red"})
    found = await ask("GET", path(fruit))
    assert found.headers["Last-Modified"] == "Thu, 01 Jan 2026 12:00:00 GMT"
    changed = await ask("PUT", path(fruit), {"color": "blue"})
    assert "Last-Modified" not in (await ask("GET", path(changed if changed.status == 201 else fruit))).headers
    assert "Last-Modified" not in (await ask("GET", "/fruits")).headers


async def test_if_modified_since_alone_can_be_304(old: Client, ask: Client) -> None:
    """Entity tags go first, a date that cannot be read is ignored, and so is one of a change that is too young."""
    fruit = await old("POST", "/fruits", {"color": "red"})
    same, before = date(_long_ago()), date(_long_ago() - timedelta(seconds=1))
    unchanged = await ask("GET", path(fruit), If_Modified_Since=same)
    assert (unchanged.status, unchanged.headers["ETag"]) == (304, fruit.headers["ETag"])
    part = f"{path(fruit)}?fields=color"
    tags = [(await ask("GET", part, **fields)).headers["ETag"] for fields in ({}, {"If_Modified_Since": same})]
    assert tags[0] == tags[1] != fruit.headers["ETag"]
    assert (await ask("HEAD", path(fruit), If_Modified_Since=date(_now()))).status == 304
    assert (await ask("GET", path(fruit), If_Modified_Since=before)).status == 200
    assert (await ask("GET", path(fruit), If_Modified_Since="yesterday")).status == 200
    assert (await ask("GET", path(fruit), If_Modified_Since=same, If_None_Match='"other"')).status == 200
    young = await ask("POST", "/fruits", {"color": "red"})
    assert (await ask("GET", path(young), If_Modified_Since=date(_now() + timedelta(hours=1)))).status == 200


async def test_if_unmodified_since_holds_reads_and_writes_to_a_date(old: Client, ask: Client) -> None:
    """412 with the current tag where the document was changed later; If-Match goes first."""
    fruit = await old("POST", "/fruits", {"color": "red"})
    same, before = date(_long_ago()), date(_long_ago() - timedelta(seconds=1))
    for method, body in (("PUT", {"color": "b"}), ("PATCH", {"color": "b"}), ("DELETE", None), ("GET", None)):
        kind = {"Content_Type": MERGE} if method == "PATCH" else {}
        refused = await ask(method, path(fruit), body, If_Unmodified_Since=before, **kind)
        assert (refused.status, refused.headers["ETag"]) == (412, fruit.headers["ETag"])
    assert (await ask("GET", path(fruit), If_Unmodified_Since=same)).status == 200
    matched = await ask("PUT", path(fruit), {"color": "b"}, If_Unmodified_Since=before, If_Match=fruit.headers["ETag"])
    assert matched.status == 200
    assert (await ask("PUT", path(fruit), {"color": "c"}, If_Unmodified_Since=same)).status == 412
    assert (await ask("DELETE", path(fruit), If_Unmodified_Since=date(_now() + timedelta(hours=1)))).status == 204


async def test_a_date_holds_against_a_writer_in_between(database: Database, store: Store, serve: Serve) -> None:
    """After the conflict the later change is 412, and is never written over."""
    began = Store(database, now=_long_ago)

    class Rival(Hooks):
        async def before(self, event: Any, model: Any = None, current: Any = None) -> None:
            if event.action == "replace" and current.color == "red":
                await store.update(Fruit, current.fruit_id, lambda each: setattr(each, "color", "theirs"))

    app = Application(resource("/fruits", Fruit, store, hooks=Rival()), policy=AllowAny())
    ask = await serve(app)
    fruit = await began.create(Fruit(color="red"))  # type: ignore[call-arg]
    lost = await ask("PUT", f"/fruits/{fruit.fruit_id}", {"color": "mine"}, If_Unmodified_Since=date(_long_ago()))
    assert lost.status == 412
    assert (await ask("GET", f"/fruits/{fruit.fruit_id}")).json["color"] == "theirs"


async def test_what_a_hook_adds_has_no_date(database: Database, store: Store, serve: Serve) -> None:
    """It can change while the document does not."""

    class Adding(Hooks):
        async def after(self, event: Any, model: Any, shown: Any) -> None:
            shown["more"] = 1

    fruit = await Store(database, now=_long_ago).create(Fruit(color="red"))  # type: ignore[call-arg]
    ask = await serve(application(store, *resource("/more", Fruit, store, hooks=Adding())))
    found = await ask("GET", f"/more/{fruit.fruit_id}", If_Modified_Since=date(_now()))
    assert (found.status, "Last-Modified" in found.headers) == (200, False)


async def test_a_list_and_its_head_tell_the_total_in_a_field(ask: Client, fruit: Reply) -> None:
    """For clients that only want the number, and for the libraries that look for it there."""
    for method in ("GET", "HEAD"):
        found = await ask(method, "/fruits?count=true&limit=1")
        assert (found.status, found.headers["X-Total-Count"]) == (200, "1")
        assert "X-Total-Count" not in (await ask(method, "/fruits")).headers
    unchanged = await ask("GET", "/fruits?count=true&limit=1", If_None_Match=found.headers["ETag"])
    assert (unchanged.status, unchanged.headers["X-Total-Count"]) == (304, "1")
