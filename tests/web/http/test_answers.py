"""Preferences, content codings, hooks."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import aiohttp
import brotli
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.web.conftest import Client, Reply, Serve, path
from tests.web.models import Fruit
from tornado_couch import AllowAny, Application, Hooks, Problem, Store, resource
from tornado_couch.web import Event
from tornado_couch.web.http.negotiation import choose_coding
from tornado_couch.web.http.prefer import Preferences, parse_preferences

# ---------------------------------------------------------------- Prefer


async def test_return_minimal_answers_a_write_without_the_document(ask: Client, fruit: Reply) -> None:
    """201 or 204, with ETag and Location as ever, and Preference-Applied."""
    minimal = {"Prefer": "return=minimal"}
    created = await ask("POST", "/fruits", {"color": "x"}, **minimal)
    replaced = await ask("PUT", path(fruit), {"color": "x"}, **minimal)
    patched = await ask("PATCH", path(fruit), {"color": "y"}, Content_Type="application/merge-patch+json", **minimal)
    assert [each.status for each in (created, replaced, patched)] == [201, 204, 204]
    for each in (created, replaced, patched):
        assert (each.text, each.headers["Preference-Applied"]) == (b"", "return=minimal")
    assert (await ask("GET", path(created))).headers["ETag"] == created.headers["ETag"]
    assert (await ask("GET", path(fruit))).headers["ETag"] == patched.headers["ETag"]


async def test_return_representation_is_what_happens_anyway(ask: Client) -> None:
    """And is said to be applied."""
    reply = await ask("POST", "/fruits", {"color": "x"}, Prefer="return=representation")
    assert (reply.status, reply.json["color"]) == (201, "x")
    assert reply.headers["Preference-Applied"] == "return=representation"


async def test_an_unknown_preference_is_ignored_unless_handling_is_strict(ask: Client) -> None:
    """Then it is 400, and nothing is stored."""
    assert (await ask("POST", "/fruits", {"color": "x"}, Prefer="wait=10, respond-async")).status == 201
    assert (await ask("POST", "/fruits", {"color": "x"}, Prefer="wait=10, handling=strict")).status == 400
    assert len((await ask("GET", "/fruits")).json["items"]) == 1
    reply = await ask("POST", "/fruits", {"color": "x"}, Prefer="handling=strict, return=minimal")
    assert reply.headers["Preference-Applied"] == "return=minimal, handling=strict"


@pytest.mark.parametrize(
    ("field", "preferences"),
    [
        ("", Preferences()),
        ("return=minimal", Preferences("minimal")),
        ('Return = "minimal" ; foo=bar', Preferences("minimal")),
        ("return=minimal, return=representation", Preferences("minimal")),
        ("return=other", Preferences()),
        ("a, b=c, return=representation", Preferences("representation")),
        ("handling=strict", Preferences(strict=True)),
        ("handling=lenient", Preferences()),
        ("=,=", Preferences()),
    ],
)
def test_a_prefer_field_is_read_as_the_rfc_says(field: str, preferences: Preferences) -> None:
    """Names in any case, values quoted or not, the first of two."""
    assert parse_preferences(field) == preferences


@given(st.text() | st.text().map(lambda text: f"handling=strict, {text}"))
@example("handling=strict, return=other")
def test_no_prefer_field_is_more_than_400(field: str) -> None:
    """A field that cannot be honoured is the client's fault, and nothing else comes out of reading it."""
    try:
        parse_preferences(field)
    except Problem as problem:
        assert problem.status_code == 400  # noqa: PT017 - most fields raise nothing


# ---------------------------------------------------------------- content coding


@pytest.fixture
async def large(ask: Client) -> Reply:
    return await ask("POST", "/fruits", {"color": "x" * 5000})


async def raw(ask: Client, place: str, **headers: str) -> Reply:
    """A request whose answer is not unpacked."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        return await Client(ask.url, session)("GET", place, **headers)


async def test_an_answer_is_gzip_coded_for_who_takes_it_and_its_tag_says_so(ask: Client, large: Reply) -> None:
    """The suffix follows the revision; without the coding there is none."""
    plain = await raw(ask, path(large))
    coded = await raw(ask, path(large), Accept_Encoding="gzip")
    assert "Content-Encoding" not in plain.headers
    assert coded.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(coded.text) == plain.text
    assert coded.headers["ETag"] == plain.headers["ETag"][:-1] + ';gzip"'
    assert "Accept-Encoding" in coded.headers["Vary"]
    assert "Accept-Encoding" in plain.headers["Vary"]


async def test_brotli_is_preferred_where_a_client_takes_both(ask: Client, large: Reply) -> None:
    """It is an extra of the package; the tests have it."""
    coded = await raw(ask, path(large), Accept_Encoding="gzip, br")
    assert coded.headers["Content-Encoding"] == "br"
    assert coded.headers["ETag"].endswith(';br"')
    assert brotli.decompress(coded.text) == (await raw(ask, path(large))).text


async def test_the_tag_of_a_coded_answer_works_in_preconditions(ask: Client, large: Reply) -> None:
    """304 with the same tag; and a write recognises the revision in it."""
    tag = (await raw(ask, path(large), Accept_Encoding="gzip")).headers["ETag"]
    reply = await raw(ask, path(large), Accept_Encoding="gzip", If_None_Match=tag)
    assert (reply.status, reply.headers["ETag"]) == (304, tag)
    assert (await ask("PUT", path(large), {"color": "x"}, If_Match=tag)).status == 200


async def test_a_page_is_coded_like_a_document(ask: Client, large: Reply) -> None:
    """And answers 304 to its own tag."""
    page = await raw(ask, "/fruits", Accept_Encoding="gzip")
    assert json.loads(zlib.decompress(page.text, 31))["items"][0]["_href"] == path(large)
    assert (await raw(ask, "/fruits", Accept_Encoding="gzip", If_None_Match=page.headers["ETag"])).status == 304


async def test_a_small_answer_is_not_coded(ask: Client, fruit: Reply) -> None:
    """It would only grow."""
    small = await ask("POST", "/notes", {"text": "x"})
    reply = await raw(ask, path(small), Accept_Encoding="gzip")
    assert (reply.status, "Content-Encoding" in reply.headers) == (200, False)


@pytest.mark.parametrize(
    ("field", "coding"),
    [
        ("gzip", "gzip"),
        ("GZIP;q=0.5", "gzip"),
        ("*", "best"),
        ("identity", ""),
        ("", ""),
        ("gzip;q=0", ""),
        ("gzip;q=0.5, identity", ""),
        ("deflate, gzip", "gzip"),
        ("*;q=0", ""),
        ("gzip;q=x", "gzip"),
    ],
)
def test_the_coding_that_a_client_likes_best_is_taken(field: str, coding: str) -> None:
    """A weight of 0 excludes one."""
    chosen = choose_coding(field)
    assert chosen in ("gzip", "br") if coding == "best" else chosen == coding


# ---------------------------------------------------------------- hooks


class Audited(Hooks):
    """Changes, refuses, adds, and writes down what happened."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    async def before(self, event: Event, model: Any = None, current: Any = None) -> Any:
        self.seen.append(("before", event.action))
        if model is not None and model.color == "forbidden":
            raise Problem(403, "color", "Not that one.")
        if event.action == "destroy" and current.color == "kept":
            raise Problem(409, "kept", "It is kept.")
        if model is not None and model.color == "shout":
            return model.model_copy(update={"color": "SHOUT"})
        return None

    async def after(self, event: Event, model: Any, shown: dict[str, Any] | None) -> None:
        self.seen.append(("after", event.action))
        if shown is not None:
            shown["length"] = len(model.color)


@pytest.fixture
async def audited(store: Store, serve: Serve) -> tuple[Client, Audited]:
    hooks = Audited()
    app = Application(resource("/fruits", Fruit, store, hooks=hooks), policy=AllowAny())
    return await serve(app), hooks


async def test_hooks_run_before_and_after_each_action(audited: tuple[Client, Audited]) -> None:
    """In order, with the action's name."""
    ask, hooks = audited
    place = path(await ask("POST", "/fruits", {"color": "red"}))
    await ask("GET", place)
    await ask("GET", "/fruits")
    await ask("PUT", place, {"color": "blue"})
    await ask("PATCH", place, {"color": "red"}, Content_Type="application/merge-patch+json")
    await ask("DELETE", place)
    actions = ["create", "retrieve", "list", "replace", "patch", "destroy"]
    assert hooks.seen == [(moment, action) for action in actions for moment in ("before", "after")]


async def test_a_hook_can_change_what_is_written(audited: tuple[Client, Audited]) -> None:
    """By returning another model; the change is stored, and validated as ever."""
    ask, _ = audited
    created = await ask("POST", "/fruits", {"color": "shout"})
    assert created.json["color"] == "SHOUT"
    assert (await ask("PUT", path(created), {"color": "shout"})).json["color"] == "SHOUT"
    assert (await ask("GET", path(created))).json["color"] == "SHOUT"


async def test_a_hook_can_refuse(audited: tuple[Client, Audited]) -> None:
    """What it raises is the answer, and nothing is written."""
    ask, _ = audited
    assert (await ask("POST", "/fruits", {"color": "forbidden"})).json["detail"] == "Not that one."
    created = await ask("POST", "/fruits", {"color": "kept"})
    assert (await ask("PUT", path(created), {"color": "forbidden"})).status == 403
    assert (await ask("DELETE", path(created))).status == 409
    assert (await ask("GET", path(created))).headers["ETag"] == created.headers["ETag"]


async def test_a_hook_can_add_to_what_is_shown(audited: tuple[Client, Audited]) -> None:
    """To a document and to each item of a list."""
    ask, _ = audited
    created = await ask("POST", "/fruits", {"color": "red"})
    assert created.json["length"] == (await ask("GET", path(created))).json["length"] == 3
    assert (await ask("GET", "/fruits")).json["items"][0]["length"] == 3
