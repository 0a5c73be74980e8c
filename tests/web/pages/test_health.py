"""The health endpoints over HTTP."""

from __future__ import annotations

import asyncio
import logging

import pytest

from tests.faults import FaultServer, answer, stall, until
from tests.web.conftest import Client, Reply, Serve
from tests.web.models import Fruit, Place
from tornado_couch import Application, Consumer, Couch, Database, DocumentChange, Store, health_routes, install
from tornado_couch.store.consumers import Records
from tornado_couch.store.readiness import STOPPING
from tornado_couch.web.page import Recent


class HealthClient(Client):
    """Red is no problem+json: its `status` is the original's word and not a number."""

    def _check(self, method: str, reply: Reply) -> None:
        if reply.status != 503:
            super()._check(method, reply)


@pytest.fixture
async def serve(serve: Serve) -> Serve:
    """Serves, to clients of health."""

    async def start(app: Application) -> Client:
        client = await serve(app)
        return HealthClient(client.url, client.session)

    return start


@pytest.fixture
async def ask(database: Database, serve: Serve) -> Client:
    """A service of nothing but health, whose outcomes are not remembered."""
    return await serve(Application(health_routes(database, [Fruit, Place], prefix="/v1.0", max_age=0)))


def colored(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.json["status"]


@pytest.mark.parametrize("word", ["true", "T", "yes", "y", "1", None])
async def test_quick_asks_only_the_service(ask: Client, word: str | None) -> None:
    """Green with 200 although nothing is installed; by default, and in the original's words."""
    path = "/v1.0/_health" + (f"?quick={word}" if word else "")
    reply = await ask("GET", path)
    assert reply.status == 200
    assert reply.json == {"status": "green", "links": {"self": {"href": f"{ask.url}{path}"}}}
    assert reply.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("word", ["false", "F", "no", "n", "0"])
async def test_not_quick_asks_for_all_that_is_needed(ask: Client, database: Database, word: str) -> None:
    """Red with 503 until everything is installed."""
    path = f"/v1.0/_health?quick={word}"
    assert colored(await ask("GET", path)) == (503, "red")
    await install(database.server, database.name, [Fruit, Place])  # type: ignore[arg-type]
    reply = await ask("GET", path)
    assert colored(reply) == (200, "green")
    assert reply.json["links"]["self"]["href"] == f"{ask.url}{path}"


@pytest.mark.parametrize("word", ["", "maybe", "2", "truetrue", "%00"])
async def test_another_word_is_refused(ask: Client, word: str) -> None:
    """400, as the original."""
    assert (await ask("GET", f"/v1.0/_health?quick={word}")).status == 400


async def test_live_and_ready_are_apart(ask: Client, database: Database) -> None:
    """A service that cannot work yet lives all the same: starting it anew would not help."""
    assert colored(await ask("GET", "/v1.0/_live")) == (200, "green")
    assert colored(await ask("GET", "/v1.0/_ready")) == (503, "red")
    await install(database.server, database.name, [Fruit, Place])  # type: ignore[arg-type]
    assert colored(await ask("GET", "/v1.0/_ready")) == (200, "green")
    for name in ("_live", "_ready", "_health"):
        reply = await ask("HEAD", f"/v1.0/{name}")
        assert (reply.status, reply.text) == (200, b"")
        assert (await ask("POST", f"/v1.0/{name}")).status == 405


async def test_a_service_that_stops_lives_and_is_not_ready(database: Database, serve: Serve) -> None:
    """So that a load balancer sends what comes to others."""
    app = Application(health_routes(database))
    ask = await serve(app)
    assert colored(await ask("GET", "/_ready")) == (200, "green")
    app.settings[STOPPING] = True
    assert colored(await ask("GET", "/_ready")) == (503, "red")
    assert colored(await ask("GET", "/_live")) == (200, "green")


async def test_a_consumer_that_waits_for_a_decision_is_a_reason(
    database: Database, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """The check is red and the log says why, as long as the consumer cannot go on."""

    async def handle(_: DocumentChange[Fruit]) -> None: ...

    store = Store(database)
    consumer = Consumer("fruits", Fruit, handle, store=store, lease_seconds=1.0, settle=0.1)
    await Records(store, "fruits").begin("beginning", 7)
    ask = await serve(Application(health_routes(database, max_age=0), consumers=[consumer]))
    assert colored(await ask("GET", "/_ready")) == (200, "green")
    async with consumer:
        await until(consumer.reasons)
        assert colored(await ask("GET", "/_ready")) == (503, "red")
        assert "has worked with partitions=7, and not 1" in caplog.text
        await Records(store, "fruits").begin("beginning", None)
        await until(lambda: not consumer.reasons())
        assert colored(await ask("GET", "/_ready")) == (200, "green")
    await store.close()


def test_two_consumers_of_one_name_are_refused(database: Database) -> None:
    """Their places would be one."""

    async def handle(_: DocumentChange[Fruit]) -> None: ...

    consumers = [Consumer("fruits", Fruit, handle, store=Store(database)) for _ in range(2)]
    with pytest.raises(ValueError, match="one name"):
        Application([], consumers=consumers)


async def test_why_it_is_red_is_logged_once_and_not_told(
    ask: Client, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """Clients get no name of a database or design document."""
    with caplog.at_level(logging.WARNING, "tornado_couch.web"):
        for _ in range(3):
            assert b"fruit" not in (await ask("GET", "/v1.0/_ready")).text
        assert caplog.text.count("the design document fruit_by_fruit_id is missing") == 1
        await install(database.server, database.name, [Fruit, Place])  # type: ignore[arg-type]
        await ask("GET", "/v1.0/_ready")
    assert caplog.records[-1].getMessage() == "ready"


async def test_a_couchdb_that_hangs_is_red_within_the_deadline(serve: Serve) -> None:
    """And the quick and the live endpoint answer meanwhile."""
    async with FaultServer(stall) as server, Couch(server.url) as couch:
        ask = await serve(Application(health_routes(couch["db"], [Fruit], timeout=0.5)))
        slow = asyncio.create_task(ask("GET", "/_ready"))
        await until(lambda: server.requests)
        assert colored(await ask("GET", "/_live")) == (200, "green")
        assert not slow.done()
        assert colored(await slow) == (503, "red")


async def test_many_who_ask_at_once_are_one_question_to_couchdb(serve: Serve) -> None:
    """Nor can anybody load CouchDB by asking again and again."""
    async with FaultServer(answer(200, {"db_name": "db"})) as server, Couch(server.url) as couch:
        ask = await serve(Application(health_routes(couch["db"], max_age=60)))
        replies = await asyncio.gather(*(ask("GET", "/_ready") for _ in range(20)))
        assert {colored(reply) for reply in replies} == {(200, "green")}
        assert len(server.requests) == 1


async def test_an_answer_is_kept_for_its_time_and_a_failure_is_not() -> None:
    """By the clock; the exception goes to who asked, and the next one asks again."""
    now, asked = [0.0], []

    async def ask() -> int:
        asked.append(now[0])
        if len(asked) == 1:
            raise RuntimeError("first")
        return len(asked)

    recent = Recent(ask, 10, lambda: now[0])
    with pytest.raises(RuntimeError):
        await recent()
    assert [await recent(), await recent()] == [2, 2]
    now[0] = 10.0
    assert await recent() == 3
