"""What an application tells its observers of requests, and the Server-Timing field."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Any

import pytest
from tornado.web import Application as TornadoApplication
from tornado.web import RequestHandler, URLSpec

from tests.faults import until
from tests.web.conftest import Client, Serve, application
from tests.web.models import Fruit
from tornado_couch import AllowAny, Application, Observer, Store, resource
from tornado_couch.web.application import route_pattern

NAME: ContextVar[str] = ContextVar("name", default="nobody")


class Recorder(Observer):
    """Remembers requests, exchanges, and in whose context they were told."""

    def __init__(self) -> None:
        self.began: list[tuple[str, str]] = []
        self.ended: list[tuple[str, str, int | None]] = []
        self.contexts: list[tuple[str, str]] = []

    def request_began(self, route: str, method: str, headers: Mapping[str, str]) -> None:
        self.began.append((route, method))
        NAME.set(headers.get("X-Name", "nobody"))

    def request_ended(self, route: str, method: str, status: int | None, seconds: float) -> None:
        assert seconds > 0
        self.ended.append((route, method, status))
        self.contexts.append(("request", NAME.get()))

    def exchange_ended(self, method: str, template: str, outcome: str, seconds: float) -> None:
        self.contexts.append((template, NAME.get()))

    def group_awaited(self, kind: str, seconds: float) -> None:
        self.contexts.append((kind, NAME.get()))


class PlainHandler(RequestHandler):
    def get(self, *arguments: str, **named: str) -> None:
        self.write(NAME.get())


@pytest.fixture
async def seen() -> Recorder:
    return Recorder()


@pytest.fixture
async def observed(store: Store, serve: Serve, seen: Recorder) -> Client:
    """A client of a service that is observed."""
    more = [("/plain/(?P<name>[a-z]+)/x", PlainHandler), ("/other", PlainHandler), ("/given", PlainHandler, {"a": 1})]
    return await serve(application(store, *more[:2], observers=[seen]))


async def test_each_request_is_told_by_its_route_and_status(observed: Client, seen: Recorder) -> None:
    """A route is the pattern and not the path: two keys are one route, and a path that leads nowhere is none."""
    reply = await observed("POST", "/fruits", {"color": "red"})
    await observed("GET", reply.headers["Location"])
    await observed("GET", "/fruits/missing")
    await observed("GET", "/plain/abc/x")
    await observed("GET", "/other")
    await observed("GET", "/no/such/path")
    await observed("DELETE", "/fruits")
    expected = [
        ("/fruits", "POST", 201),
        ("/fruits/{key}", "GET", 200),
        ("/fruits/{key}", "GET", 404),
        ("/plain/{name}/x", "GET", 200),
        ("/other", "GET", 200),
        ("", "GET", 404),
        ("/fruits", "DELETE", 405),
    ]
    assert seen.ended == expected
    assert seen.began == [(route, method) for route, method, _ in expected]


async def test_what_a_request_sets_in_its_context_holds_for_its_exchanges_alone(
    observed: Client, seen: Recorder
) -> None:
    """Concurrent requests on few connections do not see each other's."""
    names = [f"n{number}" for number in range(12)]
    await asyncio.gather(*(observed("POST", "/fruits", {"color": "red"}, X_Name=name) for name in names))
    for name in names:
        assert ("request", name) in seen.contexts
        assert ("write", name) in seen.contexts
    assert ("/{db}/_bulk_docs", "nobody") in seen.contexts  # which is for many of them
    assert (await observed("GET", "/other")).text == b"nobody"
    assert (await observed("GET", "/other", X_Name="me")).text == b"me"


async def test_a_client_that_goes_before_it_has_sent_everything_has_no_status(observed: Client, seen: Recorder) -> None:
    """So that what is in flight comes down again."""
    host, port = observed.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /fruits HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{")
    await until(lambda: seen.began)
    writer.close()
    await until(lambda: seen.ended)
    assert seen.ended == [("/fruits", "POST", None)]


async def test_nobody_is_asked_where_nobody_observes(store: Store, serve: Serve) -> None:
    """Without observers Tornado's own delegate does the work."""
    app = application(store)
    assert app._watch is None
    assert (await (await serve(app))("GET", "/fruits")).status == 200


def test_patterns_are_made_readable() -> None:
    """Groups are named in braces, escapes are undone, and what is no path is no pattern."""

    def pattern(regex: str, **kwargs: Any) -> str:
        return route_pattern(URLSpec(regex, PlainHandler, kwargs))

    assert pattern(r"/v1\.0/fruits/([^/]+)") == "/v1.0/fruits/{argument}"
    assert pattern(r"/a/(?P<id>(?:x|\(y)\)+)/(?:b|c)$") == "/a/{id}/{argument}"
    assert pattern(r"/\d+") == r"/\d+"
    app = TornadoApplication([(r"/a", PlainHandler)])
    assert route_pattern(app.default_router.rules[0]) == ""


async def test_one_class_at_several_routes_is_told_apart(serve: Serve, seen: Recorder) -> None:
    """Also where nothing but the path tells them apart."""
    routes = [("/a", PlainHandler), ("/b/([0-9]+)", PlainHandler), ("/c", PlainHandler, {})]
    ask = await serve(Application(routes, observers=[seen]))
    for path in ("/b/1", "/c", "/a"):
        await ask("GET", path)
    assert [route for route, _ in seen.began] == ["/b/{argument}", "/c", "/a"]


# ------------------------------------------------------------ Server-Timing


async def test_where_the_time_went_is_told_on_request(store: Store, serve: Serve) -> None:
    """With the setting, to a client that prefers it; other preferences go on beside it."""
    ask = await serve(application(store, server_timing=True))
    preferred = {"Prefer": "return=minimal, server-timing, handling=strict"}
    reply = await ask("POST", "/fruits", {"color": "red"}, **preferred)
    assert (reply.status, reply.text) == (201, b"")
    assert reply.headers["Preference-Applied"] == "return=minimal, handling=strict, server-timing"
    found = re.fullmatch(
        r'total;dur=([\d.]+), couchdb;dur=([\d.]+);desc="2 exchanges", pool;dur=([\d.]+)',
        reply.headers["Server-Timing"],
    )
    assert found is not None
    assert float(found[1]) >= float(found[2]) >= float(found[3])
    assert float(found[2]) > 0
    refused = await ask("GET", "/fruits?nonsense=1", Prefer="server-timing")
    assert refused.status == 400
    assert "Server-Timing" in refused.headers


async def test_nobody_is_told_the_time_who_does_not_ask_or_may_not(store: Store, serve: Serve) -> None:
    """Not without the preference, nor without the setting, where strict handling does not know it either."""
    ask = await serve(application(store, server_timing=True))
    reply = await ask("GET", "/fruits")
    assert (reply.status, "Server-Timing" in reply.headers) == (200, False)
    ask = await serve(application(store))
    reply = await ask("GET", "/fruits", Prefer="server-timing")
    assert reply.status == 200
    assert "Server-Timing" not in reply.headers
    assert (await ask("GET", "/fruits", Prefer="server-timing, handling=strict")).status == 400


async def test_resources_of_one_server_tell_an_observer_once(store: Store, serve: Serve, seen: Recorder) -> None:
    """However many are mounted."""
    routes = [*resource("/a", Fruit, store), *resource("/b", Fruit, store)]
    ask = await serve(Application(routes, policy=AllowAny(), observers=[seen]))
    assert (await ask("GET", "/a/x")).status == 404
    assert len([template for template, _ in seen.contexts if template != "request"]) == len(set(seen.contexts)) - 1
