"""Who is let in: policies, limits and other origins, as a mounted resource asks them."""

from __future__ import annotations

import base64
from typing import Annotated, Any

import pytest
from tornado.web import Application as TornadoApplication

from tests.web.callers import ByHeader
from tests.web.conftest import MERGE, OTHER, Client, Serve, application, path
from tests.web.models import Fruit
from tornado_couch import AllowAny, Application, Indexed, Model, ReadOnly, Store, install, resource
from tornado_couch.web import (
    Authenticated,
    BasicAccounts,
    Cors,
    Hooks,
    Owner,
    Policy,
    RateLimit,
    Roles,
    create_account,
)
from tornado_couch.web import ReadOnly as ReadOnlyPolicy


class Memo(Model, type="memo_v1.0", key="title", unique=True):
    title: str
    text: str = ""
    owner: Annotated[str | None, ReadOnly(), Indexed()] = None


async def memos(store: Store, serve: Serve, policy: Policy, **options: Any) -> Client:
    await install(store.database.server, store.database.name, [Memo])  # type: ignore[arg-type]
    return await serve(Application(resource("/memos", Memo, store, policy=policy, create_by_put=True, **options)))


# ---------------------------------------------------------------- mounting


def test_a_resource_without_a_policy_does_not_mount(store: Store) -> None:
    """The error says what to do; AllowAny must be named, and debug mode is another matter."""
    with pytest.raises(ValueError, match=r"/fruits has no policy.*AllowAny\(\)"):
        Application(resource("/fruits", Fruit, store))
    Application(resource("/fruits", Fruit, store), debug=True, autoreload=False)
    Application(resource("/fruits", Fruit, store), policy=AllowAny())
    Application(resource("/fruits", Fruit, store, policy=AllowAny()))


async def test_in_tornados_own_application_it_serves_nothing(store: Store, serve: Serve) -> None:
    """There the first request is the first that can be refused: 500, and the log says why."""
    ask = await serve(TornadoApplication(resource("/fruits", Fruit, store)))
    for method, body in (("GET", None), ("POST", {"color": "red"})):
        assert (await ask(method, "/fruits", body)).status == 500
    debugging = await serve(TornadoApplication(resource("/fruits", Fruit, store), debug=True, autoreload=False))
    assert (await debugging("GET", "/fruits")).status == 200


def test_a_policy_that_does_not_fit_the_model_does_not_mount(store: Store) -> None:
    """An owner needs a property that can hold one."""
    with pytest.raises(ValueError, match="has no property 'owner'"):
        Application(resource("/fruits", Fruit, store), policy=Owner("owner", ByHeader()))


# ---------------------------------------------------------------- who may


async def test_who_is_not_logged_in_gets_401_with_a_challenge_for_everything(store: Store, serve: Serve) -> None:
    """Before anything is read, and before 428, 412 and 404."""
    ask = await memos(store, serve, Authenticated(ByHeader()), require_if_match=True)
    await ask("PUT", "/memos/a", {"text": "x"}, X_Name="ann")
    for method, place, body in (
        ("GET", "/memos", None),
        ("POST", "/memos", {"title": "b"}),
        ("GET", "/memos/a", None),
        ("GET", "/memos/nope", None),
        ("PUT", "/memos/a", {"text": "y"}),
        ("DELETE", "/memos/a", None),
    ):
        reply = await ask(method, place, body)
        assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, ByHeader.challenge)
    assert (await ask("GET", "/memos", X_Name="liar")).status == 401
    assert (await ask("GET", "/memos", X_Name="ann")).status == 200


async def test_the_order_is_401_403_404_428_412(store: Store, serve: Serve) -> None:
    """Each only when nothing before it applies."""
    policy = Roles({"destroy": {"admin"}, "*": None}, ByHeader())
    ask = await memos(store, serve, policy, require_if_match=True)
    await ask("POST", "/memos", {"title": "a"}, X_Name="ann")
    admin = {"X_Name": "ann", "X_Role": "admin"}
    assert (await ask("DELETE", "/memos/a", If_Match=OTHER)).status == 401
    assert (await ask("DELETE", "/memos/a", If_Match=OTHER, X_Name="ann")).status == 403
    assert (await ask("DELETE", "/memos/nope", X_Name="ann")).status == 403
    assert (await ask("DELETE", "/memos/nope", **admin)).status == 404
    assert (await ask("DELETE", "/memos/a", **admin)).status == 428
    assert (await ask("DELETE", "/memos/a", If_Match=OTHER, **admin)).status == 412


async def test_what_belongs_to_others_is_404_and_not_listed(store: Store, serve: Serve) -> None:
    """Read, changed, patched or deleted: nothing tells it from what is not there. An admin sees all."""
    ask = await memos(store, serve, Owner("owner", ByHeader(), admin_role="admin"))
    for name, title in (("ann", "a1"), ("bob", "b1"), ("ann", "a2")):
        created = await ask("POST", "/memos", {"title": title}, X_Name=name)
        assert (created.status, created.json["owner"]) == (201, name)
    for method, body in (("GET", None), ("PUT", {"text": "x"}), ("PATCH", {"text": "x"}), ("DELETE", None)):
        extra = {"Content_Type": MERGE} if method == "PATCH" else {}
        known = await ask(method, "/memos/b1", body, X_Name="ann", **extra)
        assert known.status == 404
        if method != "PUT":
            unknown = await ask(method, "/memos/nope", body, X_Name="ann", **extra)
            assert {**known.json, "instance": ""} == {**unknown.json, "instance": ""}
    listed = (await ask("GET", "/memos", X_Name="ann")).json["items"]
    assert sorted(item["title"] for item in listed) == ["a1", "a2"]
    assert (await ask("GET", "/memos/b1", X_Name="bob")).json["text"] == ""
    everything = (await ask("GET", "/memos", X_Name="eve", X_Role="admin")).json["items"]
    assert len(everything) == 3


async def test_an_owner_cannot_be_given_by_the_client(store: Store, serve: Serve) -> None:
    """It is read-only: 422; and it stays when the document is replaced."""
    ask = await memos(store, serve, Owner("owner", ByHeader()))
    assert (await ask("POST", "/memos", {"title": "a", "owner": "bob"}, X_Name="ann")).status == 422
    await ask("PUT", "/memos/a", {"text": "x"}, X_Name="ann")
    assert (await ask("PUT", "/memos/a", {"text": "y"}, X_Name="ann")).json["owner"] == "ann"


async def test_a_read_only_resource_has_no_other_methods(store: Store, serve: Serve) -> None:
    """405, and `Allow` does not name them."""
    ask = await serve(Application(resource("/fruits", Fruit, store, policy=ReadOnlyPolicy())))
    reply = await ask("POST", "/fruits", {"color": "red"})
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert (await ask("OPTIONS", "/fruits/x")).headers["Allow"] == "GET, HEAD, OPTIONS"
    assert (await ask("GET", "/fruits")).status == 200


async def test_stored_accounts_log_in(store: Store, serve: Serve) -> None:
    """Basic against bcrypt hashes in the database."""
    await create_account(store, "ann", "s3cret:ü", roles={"editor"})
    ask = await memos(store, serve, Authenticated(BasicAccounts(store)))

    def basic(name: str, password: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}

    assert (await ask("GET", "/memos", **basic("ann", "s3cret:ü"))).status == 200
    for name, password in (("ann", "wrong"), ("bob", "s3cret:ü")):
        reply = await ask("GET", "/memos", **basic(name, password))
        assert (reply.status, reply.headers["WWW-Authenticate"].split()[0]) == (401, "Basic")


async def test_hooks_know_who_it_is(store: Store, serve: Serve) -> None:
    """The principal is part of the event."""
    seen = []

    class Named(Hooks):
        async def before(self, event: Any, model: Any = None, current: Any = None) -> None:
            seen.append(event.principal and event.principal.name)

    ask = await memos(store, serve, AllowAny(ByHeader()), hooks=Named())
    await ask("GET", "/memos", X_Name="ann")
    await ask("GET", "/memos")
    assert seen == ["ann", None]


# ---------------------------------------------------------------- how much


async def test_each_caller_has_a_limit_of_its_own(store: Store, serve: Serve) -> None:
    """429 with Retry-After over it; the fields say what is left on every answer, errors too."""
    ask = await memos(store, serve, AllowAny(ByHeader()), rate_limit=RateLimit(3, 60))
    replies = [await ask("GET", f"/memos{'/nope' * (number % 2)}", X_Name="ann") for number in range(4)]
    assert [reply.status for reply in replies] == [200, 404, 200, 429]
    assert [reply.headers["RateLimit"].split(";")[1] for reply in replies] == ["r=2", "r=1", "r=0", "r=0"]
    assert int(replies[-1].headers["Retry-After"]) > 0
    assert (await ask("GET", "/memos", X_Name="bob")).status == 200


async def test_wrong_credentials_count_for_the_address(store: Store, serve: Serve) -> None:
    """Guessing passwords ends at the limit."""
    ask = await memos(store, serve, Authenticated(ByHeader()), rate_limit=RateLimit(2, 60))
    statuses = [(await ask("GET", "/memos", X_Name="liar")).status for _ in range(3)]
    assert statuses == [401, 401, 429]


# ---------------------------------------------------------------- from where


async def test_another_origins_script_may_do_what_is_allowed_and_see_the_tag(store: Store, serve: Serve) -> None:
    """A preflight needs no credentials; answers, errors too, expose ETag and Link."""
    cors = Cors(["https://app.example"])
    ask = await memos(store, serve, Authenticated(ByHeader()), cors=cors)
    asked = {"Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": "if-match"}
    reply = await ask("OPTIONS", "/memos/a", Origin="https://app.example", **asked)
    assert reply.status == 204
    assert "PUT" in reply.headers["Access-Control-Allow-Methods"]
    assert "If-Match" in reply.headers["Access-Control-Allow-Headers"]
    for headers, status in (({"X_Name": "ann"}, 200), ({}, 401)):
        reply = await ask("GET", "/memos", Origin="https://app.example", **headers)
        assert (reply.status, reply.headers["Access-Control-Allow-Origin"]) == (status, "https://app.example")
        assert {"ETag", "Link"} <= set(reply.headers["Access-Control-Expose-Headers"].split(", "))
        assert "Origin" in reply.headers["Vary"].split(", ")
    for other in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {}):
        reply = await ask("GET", "/memos", X_Name="ann", **other)
        assert "Access-Control-Allow-Origin" not in reply.headers
        assert "Origin" in reply.headers["Vary"].split(", ")


async def test_without_cors_no_origin_is_named(store: Store, serve: Serve) -> None:
    """A browser then keeps other origins out."""
    ask = await serve(application(store))
    reply = await ask("GET", "/fruits", Origin="https://app.example")
    assert not [name for name in reply.headers if name.startswith("Access-Control")]


async def test_the_applications_settings_hold_for_each_resource(store: Store, serve: Serve) -> None:
    """Policy, limit and origins; a resource's own go before."""
    routes = [
        *resource("/fruits", Fruit, store),
        *resource("/open", Fruit, store, policy=AllowAny(), rate_limit=RateLimit(100, 60)),
    ]
    settings = {
        "policy": Authenticated(ByHeader()),
        "rate_limit": RateLimit(1, 60),
        "cors": Cors(["https://a.example"]),
    }
    ask = await serve(Application(routes, **settings))
    assert [(await ask("GET", place)).status for place in ("/fruits", "/fruits", "/open", "/open")] == [
        401,
        429,
        200,
        200,
    ]
    assert (await ask("GET", "/open", Origin="https://a.example")).headers["Access-Control-Allow-Origin"]


async def test_a_created_document_is_found_where_location_says(store: Store, serve: Serve) -> None:
    """With the credentials that created it."""
    ask = await memos(store, serve, Owner("owner", ByHeader()))
    created = await ask("POST", "/memos", {"title": "ä/b"}, X_Name="ann")
    assert (await ask("GET", path(created), X_Name="ann")).json == created.json
