"""CORS: which origins get a permission, and nobody else any."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders
from tornado.web import Application

from tests.web.conftest import Serve, application
from tornado_couch import Store, docs_routes, health_routes, openapi_routes
from tornado_couch.web.http.cors import Cors
from tornado_couch.web.openapi.headers import ANSWER_FIELDS, REQUEST_FIELDS
from tornado_couch.web.problems import Problem, ProblemHandler

APP = "https://app.example.com"


def asking(origin: str | None, method: str = "PUT", fields: str = "if-match") -> HTTPHeaders:
    headers = HTTPHeaders({"Access-Control-Request-Method": method, "Access-Control-Request-Headers": fields})
    if origin is not None:
        headers["Origin"] = origin
    return headers


def test_a_listed_origin_may_use_every_method_and_field_of_the_contract() -> None:
    """The preflight's answer names them, and how long that holds."""
    found = Cors([APP], max_age=60).preflight_headers(asking(APP), ["GET", "PUT"])
    fields = found.pop("Access-Control-Allow-Headers").split(", ")
    assert found == {
        "Access-Control-Allow-Origin": APP,
        "Access-Control-Allow-Methods": "GET, PUT",
        "Access-Control-Max-Age": "60",
        "Vary": "Origin",
    }
    assert set(fields) == {
        *("Content-Type", "Authorization", "If-Match", "If-None-Match", "Prefer", "Idempotency-Key", "Accept"),
        *("Content-Encoding", "If-Modified-Since", "If-Unmodified-Since", "X-HTTP-Method-Override", "X-XSRFToken"),
        *("Content-Digest", "Content-Disposition", "If-Range", "Range", "Repr-Digest"),
    }
    assert {each.lower() for each in fields} >= {each.lower() for each in REQUEST_FIELDS}


def test_a_listed_origin_may_read_the_fields_that_the_contract_lives_by() -> None:
    """All that the API document describes, except for what browsers show anyway (Fetch §2.2.2)."""
    found = Cors([APP]).answer_headers(APP)
    assert (found["Access-Control-Allow-Origin"], found["Vary"]) == (APP, "Origin")
    exposed = set(found["Access-Control-Expose-Headers"].split(", "))
    # The last one is for the browser itself.
    shown = {"Cache-Control", "Last-Modified", "Vary", "Content-Security-Policy"}
    described = {each for each in ANSWER_FIELDS if not each.startswith("Access-Control-")} - shown
    assert exposed == described
    assert "Access-Control-Allow-Credentials" not in found


def test_more_fields_can_be_allowed_and_exposed() -> None:
    """They come to those that the package reads and sends; a field that is there already is named once."""
    cors = Cors([APP], allow_headers=["X-API-Key", "if-match"], expose_headers=["X-Request-Id"])
    allowed = cors.preflight_headers(asking(APP), ["GET"])["Access-Control-Allow-Headers"].split(", ")
    assert {"X-API-Key", "Authorization", "If-Match"} <= set(allowed)
    assert len({each.lower() for each in allowed}) == len(allowed)
    assert {"X-Request-Id", "ETag"} <= set(cors.answer_headers(APP)["Access-Control-Expose-Headers"].split(", "))


@pytest.mark.parametrize("fields", ["X-API-Key", ["X-API Key"], ["X\r\nY"], [""]])
def test_what_is_no_list_of_names_of_fields_is_refused(fields: Any) -> None:
    """A single text, whose letters would become names, as well as what no field is called."""
    with pytest.raises(ValueError, match="list of the names of header fields"):
        Cors([APP], allow_headers=fields)


SPECIAL = ("/fruits/_bulk", "/fruits/a/conflicts", "/openapi.json", "/docs", "/_health", "/fruits/a", "/nowhere")


@pytest.mark.parametrize("address", SPECIAL)
async def test_a_preflight_is_answered_at_every_address(store: Store, serve: Serve, address: str) -> None:
    """A script may then send its request, and read the answer, be it a 404."""
    pages = [*openapi_routes(), *docs_routes(), *health_routes(store.database, [])]
    ask = await serve(application(store, *pages, cors=Cors([APP])))
    ask.described = None  # nobody describes an address that is not there
    asking_ = {"Origin": APP, "Access_Control_Request_Method": "GET", "Access_Control_Request_Headers": "if-match"}
    answer = await ask("OPTIONS", address, **asking_)
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (204, APP)
    assert "If-Match" in answer.headers["Access-Control-Allow-Headers"]
    read = await ask("GET", address, Origin=APP)
    assert (read.headers["Access-Control-Allow-Origin"], "Origin" in read.headers["Vary"]) == (APP, True)
    assert "ETag" in read.headers["Access-Control-Expose-Headers"]
    stranger = await ask("OPTIONS", address, **{**asking_, "Origin": "https://evil.example"})
    assert "Access-Control-Allow-Origin" not in stranger.headers


async def test_options_without_a_preflight_at_no_address_is_404(store: Store, serve: Serve) -> None:
    """There is nothing to list the methods of."""
    assert (await (await serve(application(store, cors=Cors([APP]))))("OPTIONS", "/nowhere")).status == 404


def test_credentials_are_allowed_only_where_that_was_said() -> None:
    """And then for the listed origins alone."""
    cors = Cors([APP], credentials=True)
    assert cors.answer_headers(APP)["Access-Control-Allow-Credentials"] == "true"
    assert cors.preflight_headers(asking(APP), ["GET"])["Access-Control-Allow-Credentials"] == "true"
    assert cors.answer_headers("https://evil.example") == {"Vary": "Origin"}


@given(st.one_of(st.none(), st.just("null"), st.text(), st.just(APP + ".evil.example"), st.just(APP + "/")))
def test_an_origin_that_is_not_listed_gets_nothing_and_is_never_sent_back(origin: str | None) -> None:
    """Only Vary, so that no cache gives its answer to a listed one."""
    cors = Cors([APP, "http://localhost:8080"], credentials=True)
    assert cors.answer_headers(origin) == {"Vary": "Origin"}
    headers: dict[str, str] = {} if origin is None else {"Origin": origin}
    assert cors.preflight_headers(headers, ["GET"]) == {"Vary": "Origin"}


@pytest.mark.parametrize("origin", [None, "null", "https://anybody.example"])
def test_a_star_is_for_everybody_and_one_answer_for_all(origin: str | None) -> None:
    """Without Vary, since the answer is the same."""
    for origins in ("*", ["*"]):
        found = Cors(origins).answer_headers(origin)
        assert found["Access-Control-Allow-Origin"] == "*"
        assert "Vary" not in found


@pytest.mark.parametrize(
    ("origins", "options", "word"),
    [
        ("*", {"credentials": True}, "credentials"),
        (["*", APP], {"credentials": True}, "credentials"),
        (["null"], {}, "null"),
        (APP, {}, "list"),
        ([APP + "/"], {}, "slash"),
        (["https://app.example.com:443"], {}, "port"),
        (["http://app.example.com:80"], {}, "port"),
        (["https://App.example.com"], {}, "lower case"),
        (["app.example.com"], {}, "origin"),
        (["https://*.example.com"], {}, "origin"),
        ([APP], {"max_age": -1}, "negative"),
    ],
)
def test_origins_that_would_never_match_or_match_too_much_are_refused(origins: Any, options: Any, word: str) -> None:
    """When the service starts, saying why."""
    with pytest.raises(ValueError, match=word):
        Cors(origins, **options)


def test_origins_with_ports_addresses_and_other_schemes_are_fine() -> None:
    """As browsers write them."""
    Cors(["http://localhost:8080", "http://[::1]:3000", "chrome-extension://abc", "http://a.example:443"])


@pytest.mark.parametrize(
    ("method", "headers", "expected"),
    [
        ("OPTIONS", asking(APP), True),
        ("OPTIONS", asking(None), False),
        ("OPTIONS", HTTPHeaders({"origin": APP}), False),
        ("GET", asking(APP), False),
    ],
)
def test_a_preflight_is_told_from_a_plain_options(method: str, headers: HTTPHeaders, expected: bool) -> None:
    """By its two fields (Fetch, CORS-preflight request)."""
    assert Cors("*").is_preflight(method, headers) is expected


async def test_on_the_wire_errors_can_be_read_by_the_listed_origin_too(serve: Serve) -> None:
    """And the preflight is 204, whoever asks."""
    cors = Cors([APP])

    class Handler(ProblemHandler):
        def set_default_headers(self) -> None:
            for name, value in cors.answer_headers(self.request.headers.get("Origin")).items():
                self.set_header(name, value)

        def options(self) -> None:
            assert cors.is_preflight(self.request.method, self.request.headers)
            self.set_status(204)
            for name, value in cors.preflight_headers(self.request.headers, self.allowed_methods()).items():
                self.set_header(name, value)

        def get(self) -> None:
            raise Problem(404)

    ask = await serve(Application([("/", Handler)]))
    reply = await ask("GET", "/", Origin=APP)
    assert (reply.status, reply.headers["Access-Control-Allow-Origin"]) == (404, APP)
    for origin, allowed in ((APP, "GET, OPTIONS"), ("https://evil.example", None)):
        preflight = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        async with aiohttp.ClientSession() as session, session.options(ask.url + "/", headers=preflight) as answer:
            assert answer.status == 204
            assert answer.headers.get("Access-Control-Allow-Methods") == allowed
