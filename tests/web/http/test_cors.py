"""CORS: which origins get a permission, and nobody else any."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders
from tornado.web import Application

from tests.web.conftest import Serve
from tornado_couch.web.http.cors import Cors
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
    }


def test_a_listed_origin_may_read_the_fields_that_the_contract_lives_by() -> None:
    """ETag and Link above all."""
    found = Cors([APP]).answer_headers(APP)
    assert (found["Access-Control-Allow-Origin"], found["Vary"]) == (APP, "Origin")
    assert set(found["Access-Control-Expose-Headers"].split(", ")) == {
        *("ETag", "Link", "Location", "Retry-After", "Preference-Applied"),
        *("RateLimit", "RateLimit-Policy", "Allow", "Accept-Patch"),
    }
    assert "Access-Control-Allow-Credentials" not in found


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
