"""Handlers of a service's own below a resource: the body that they read."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from tests.web.conftest import Client, Serve, application
from tests.web.models import Fruit
from tornado_couch import CreateMixin, ResourceHandler, Store, resource
from tornado_couch.web import BodyLimits
from tornado_couch.web.action_table import NDJSON
from tornado_couch.web.resources import Resource

SIZE = 1000


class Echo(ResourceHandler[Fruit]):
    """Answers with what it has read of the body."""

    def post(self) -> None:
        self.finish({"body": self.request.body.decode()})

    async def put(self) -> None:
        limit = self.get_query_argument("limit", None)
        self.finish({"body": (await self.read_bytes(int(limit) if limit else None)).decode()})

    async def patch(self) -> None:
        self.finish({"body": await self.read_json()})

    def delete(self) -> None:
        self.set_status(204)
        self.finish()


class Listening(CreateMixin[Fruit]):
    """Looks at the body before it is taken, if it is asked to."""

    PARAMETERS = ("look",)

    async def post(self) -> None:  # type: ignore[override]
        if not self.get_query_argument("look", ""):
            await super().post()  # type: ignore[misc]
            return
        self.set_header("X-Length", str(len(self.request.body)))
        await super().post()  # type: ignore[misc]


@pytest.fixture
async def ask(store: Store, serve: Serve) -> Client:
    """A client of a service with such handlers."""
    mounted = Resource("/echo", Fruit, store, limits=BodyLimits(size=SIZE))
    listening = resource("/listening", Fruit, store, collection=Listening)
    ask = await serve(application(store, ("/echo", Echo, {"resource": mounted}), *listening))
    ask.described = None
    return ask


@pytest.mark.parametrize("text", ["", "hello", "x" * SIZE])
async def test_request_body_is_the_body(ask: Client, text: str) -> None:
    """As in any other Tornado handler, and never empty where the client has sent something."""
    assert (await ask("POST", "/echo", data=text.encode())).json == {"body": text}


async def test_a_body_over_the_limit_is_413_where_it_is_read(ask: Client) -> None:
    """Nothing of it is lost without a word, however a method reads it; one that reads none is not disturbed."""
    for method, status in (("POST", 413), ("PUT", 413), ("PATCH", 413), ("DELETE", 204)):
        assert (await ask(method, "/echo", data=b"x" * (SIZE + 1))).status == status


async def test_read_bytes_takes_a_limit_and_undoes_gzip(ask: Client) -> None:
    """413 for more, coded or not; 400 for what is no gzip; 415 for another coding."""
    assert (await ask("PUT", "/echo", data=b"hello")).json == {"body": "hello"}
    assert (await ask("PUT", "/echo?limit=5", data=b"hello")).json == {"body": "hello"}
    assert (await ask("PUT", "/echo?limit=4", data=b"hello")).status == 413
    coded: Any = {"data": gzip.compress(b"x" * 200), "Content_Encoding": "gzip"}
    assert (await ask("PUT", "/echo", **coded)).json == {"body": "x" * 200}
    assert (await ask("PUT", "/echo?limit=100", **coded)).status == 413
    assert (await ask("PUT", "/echo", data=b"hello", Content_Encoding="gzip")).status == 400
    assert (await ask("PUT", "/echo", data=b"hello", Content_Encoding="br")).status == 415


async def test_read_bytes_takes_no_limit_that_the_resource_does_not_have(
    ask: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """More than that is not kept: the log says what to change."""
    assert (await ask("PUT", f"/echo?limit={SIZE + 1}", data=b"hello")).status == 500
    assert "other limits=" in caplog.text


async def test_read_json_works_in_a_method_of_ones_own(ask: Client) -> None:
    """It takes application/json, as a write of a document does."""
    assert (await ask("PATCH", "/echo", {"a": 1})).json == {"body": {"a": 1}}
    assert (await ask("PATCH", "/echo", data=b"{}", Content_Type="text/plain")).status == 415


async def test_an_action_that_is_overridden_finds_the_body_too(ask: Client, caplog: pytest.LogCaptureFixture) -> None:
    """And still takes it; lines that were dealt with one by one are an error, and not an empty body."""
    created = await ask("POST", "/listening?look=1", {"color": "red"})
    assert (created.status, created.headers["X-Length"]) == (201, str(len(b'{"color": "red"}')))
    lines: Any = {"data": b'{"color": "red"}\n', "Content_Type": NDJSON}
    assert (await ask("POST", "/listening", **lines)).status == 200
    assert (await ask("POST", "/listening?look=1", **lines)).headers.get("X-Length") is None
    assert "line by line" in caplog.text
