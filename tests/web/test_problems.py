"""Errors: every one is a problem, and none tells what it must not."""

from __future__ import annotations

from typing import Any

import pytest
from tornado.web import RequestHandler, URLSpec

from tests.faults import FaultServer, answer, hang_up, raw, reset, stall, stall_midway
from tests.web.conftest import Broken, Client, Reply, Serve, application
from tests.web.models import Fruit
from tornado_couch import (
    Couch,
    CreateMixin,
    ListMixin,
    ResourceHandler,
    Retry,
    Store,
    Timeout,
    resource,
)
from tornado_couch.errors import Conflict


async def test_the_routers_own_404_is_a_problem(ask: Client) -> None:
    """By the one setting."""
    for method in ("GET", "POST", "DELETE"):
        reply = await ask(method, "/nowhere/at/all")
        assert (reply.status, reply.json["instance"]) == (404, "/nowhere/at/all")


async def test_an_unhandled_exception_is_a_problem_without_details(
    store: Store, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has them; the client does not, even with `serve_traceback`."""
    ask = await serve(application(store, ("/broken", Broken), serve_traceback=True))
    reply = await ask("GET", "/broken")
    assert reply.status == 500
    assert b"hunter2" not in reply.text
    assert "hunter2" in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/fruits", "GET, HEAD, POST, OPTIONS"),
        ("DELETE", "/fruits", "GET, HEAD, POST, OPTIONS"),
        ("POST", "/fruits/x", "GET, HEAD, DELETE, PATCH, PUT, OPTIONS"),
        ("PATCH", "/nowhere", None),
        ("BREW", "/fruits", "GET, HEAD, POST, OPTIONS"),
    ],
)
async def test_a_method_that_is_not_for_this_is_405_with_allow(
    ask: Client, method: str, path: str, allowed: str | None
) -> None:
    """Also one that HTTP does not know."""
    reply = await ask(method, path)
    assert reply.status == (405 if allowed else 404)
    assert reply.headers.get("Allow") == allowed


async def test_options_says_what_can_be_done(ask: Client, fruit: Reply) -> None:
    """204 with Allow and the types of bodies."""
    reply = await ask("OPTIONS", "/fruits")
    assert (reply.status, reply.text) == (204, b"")
    assert reply.headers["Allow"] == "GET, HEAD, POST, OPTIONS"
    assert reply.headers["Accept-Post"] == "application/json, application/x-ndjson"
    reply = await ask("OPTIONS", fruit.headers["Location"])
    assert reply.headers["Allow"] == "GET, HEAD, DELETE, PATCH, PUT, OPTIONS"


async def test_a_handler_has_the_actions_of_its_mixins_and_no_others(store: Store, serve: Serve) -> None:
    """A collection that can be listed only is read-only."""

    class Listed(ListMixin, ResourceHandler):
        pass

    class Posted(CreateMixin, ResourceHandler):
        async def perform_create(self, model: Any) -> Any:
            model.color = model.color.upper()
            return await super().perform_create(model)

        def get_initial(self) -> dict[str, Any]:
            return {"grade": 7}

    ask = await serve(
        application(
            store,
            *resource("/listed", Fruit, store, collection=Listed),
            *resource("/posted", Fruit, store, collection=Posted),
        )
    )
    assert (await ask("POST", "/listed", {"color": "red"})).headers["Allow"] == "GET, HEAD, OPTIONS"
    assert (await ask("GET", "/posted")).headers["Allow"] == "POST, OPTIONS"
    created = (await ask("POST", "/posted", {"color": "red"})).json
    assert (created["color"], created["grade"]) == ("RED", 7)


DOWN, SLOW = (503, "database-unavailable"), (504, "database-timeout")
FAULTS = {
    "reset": (reset, DOWN),
    "hang-up": (hang_up, DOWN),
    "stall": (stall, SLOW),
    "stall-midway": (stall_midway, SLOW),
    "503": (answer(503, {"error": "down", "reason": "maintenance"}), DOWN),
    "broken-json": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{]}"), DOWN),
    "html": (answer(200, "<h1>Proxy</h1>", Content_Type="text/html"), DOWN),
    "no-http": (raw(b"SSH-2.0-OpenSSH\r\n\r\n"), DOWN),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_couchdb_in_trouble_is_503_or_504_with_retry_after(serve: Serve, fault: str) -> None:
    """Never 500, never a hang, and no word of where the database is."""
    behaviour, expected = FAULTS[fault]
    limits = Timeout(connect=1, read=0.2, total=0.5, pool=1)
    async with FaultServer(behaviour) as server, Couch(server.url, timeout=limits) as couch:
        ask = await serve(application(Store(couch["orchard"])))
        for method, path, body in (
            ("GET", "/fruits", None),
            ("GET", "/fruits/x", None),
            ("POST", "/fruits", {"color": "red"}),
            ("PUT", "/fruits/x", {"color": "red"}),
            ("DELETE", "/fruits/x", None),
        ):
            reply = await ask(method, path, body)
            assert (reply.status, reply.json["type"].rpartition(":")[2]) == expected
            assert reply.headers["Retry-After"]
            assert server.url.removeprefix("http://").encode() not in reply.text


async def test_couchdb_not_running_is_503(serve: Serve) -> None:
    """Nobody listens there."""
    async with FaultServer(reset) as server:
        url = server.url
    async with Couch(url) as couch:
        ask = await serve(application(Store(couch["orchard"])))
        assert (await ask("GET", "/fruits/x")).status == 503


async def test_a_refusal_of_a_read_is_an_outage_and_that_of_a_write_the_clients(serve: Serve) -> None:
    """The service's account may not read: 503. A change that `validate_doc_update` refuses: 403."""
    refusal = answer(403, {"error": "forbidden", "reason": "no"})
    async with FaultServer(refusal) as server, Couch(server.url) as couch:
        ask = await serve(application(Store(couch["orchard"])))
        assert (await ask("GET", "/fruits/x")).status == 503
        assert (await ask("PUT", "/notes/note%3Ax", {"text": "x"})).status == 403


async def test_a_database_that_is_not_there_is_503_not_404(serve: Serve, database: Any) -> None:
    """A client cannot mend it, and no document is known to be missing."""
    ask = await serve(application(Store(database.server["nowhere"])))
    for path in ("/fruits", "/fruits/x"):
        assert (await ask("GET", path)).status == 503


async def test_exhausted_retries_are_503_and_nothing_is_written(serve: Serve, store: Store, fruit: Reply) -> None:
    """With Retry-After."""

    class Contended:
        """A database in which somebody else is always faster."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store.database, name)

        async def put(self, document: Any) -> Any:
            raise Conflict(409, "conflict", "Document update conflict.")

    contended = Store(Contended(), retry=Retry(attempts=3, base=0.001), grouping=False)  # type: ignore[arg-type]
    ask = await serve(application(contended))
    reply = await ask("PUT", fruit.headers["Location"], {"color": "blue"})
    assert (reply.status, "Retry-After" in reply.headers) == (503, True)
    assert (await ask("GET", fruit.headers["Location"])).json == fruit.json


async def test_a_stored_document_that_does_not_fit_is_502(ask: Client, store: Store) -> None:
    """It is neither the client's fault nor missing, and its content is not told."""
    await store.database.put({"_id": "place:odd", "type": "place_v1.0", "name": "odd", "size": "hunter2"})
    reply = await ask("GET", "/places/odd")
    assert reply.status == 502
    assert b"hunter2" not in reply.text


async def test_plain_handlers_of_the_application_can_have_problems_too(store: Store, serve: Serve) -> None:
    """By deriving from ProblemHandler; Tornado's own handlers stay as they are."""

    class Plain(RequestHandler):
        def get(self) -> None:
            self.write("ok")

    ask = await serve(application(store, URLSpec("/plain", Plain), URLSpec("/broken", Broken)))
    assert (await ask("GET", "/plain")).text == b"ok"
    assert (await ask("POST", "/broken")).headers["Allow"] == "GET"
