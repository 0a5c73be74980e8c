"""A service written for tor-async-couchdb, ported by its imports and syntax, over HTTP."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest
from tornado.testing import bind_unused_port

from tests.classic.ported.async_actions import AsyncFruitUpdater
from tests.classic.ported.service import make_app
from tests.servers import http_server, stopped
from tornado_couch import Database
from tornado_couch.classic import async_model_actions
from tornado_couch.security import keyczar


class Service:
    """Asks the ported service."""

    def __init__(self, port: int, session: aiohttp.ClientSession) -> None:
        self.url = f"http://127.0.0.1:{port}/v1.0"
        self.session = session

    async def __call__(self, method: str, path: str, body: object = None) -> tuple[int, object]:
        async with self.session.request(method, self.url + path, json=body) as answer:
            text = await answer.read()
            return answer.status, json.loads(text) if text else None


@pytest.fixture
async def service(orchard: Database) -> AsyncIterator[Service]:
    socket, port = bind_unused_port()
    server = http_server(make_app(), xheaders=True)
    server.add_socket(socket)
    async with aiohttp.ClientSession() as session:
        yield Service(port, session)
    await stopped(server)


async def test_crud(service: Service) -> None:
    """Create, read, update, list and delete do what they did in the original's sample."""
    status, fruit = await service("POST", "/fruits", {"color": "red"})
    assert status == http.client.CREATED
    path = f"/fruits/{fruit['fruit_id']}"
    assert await service("GET", path) == (200, fruit)
    status, changed = await service("PUT", path, {"color": "blue"})
    assert (status, changed["color"], changed["fruit_id"]) == (200, "blue", fruit["fruit_id"])
    assert changed["updated_on"] > fruit["updated_on"]
    assert await service("GET", "/fruits") == (200, [changed])
    assert (await service("DELETE", path))[0] == 200
    assert (await service("GET", path))[0] == 404
    assert (await service("PUT", path, {"color": "red"}))[0] == 404
    assert await service("GET", "/fruits") == (200, [])


@pytest.mark.parametrize("body", [None, {}, {"color": ""}, {"color": 3}, {"color": "red", "x": 1}])
async def test_bad_bodies_are_refused(service: Service, body: object) -> None:
    """The service's own validation answers 400."""
    assert (await service("POST", "/fruits", body))[0] == 400


async def test_updates_at_once_are_all_done(service: Service) -> None:
    """Writers that meet in conflicts wait, read again and go on: none is lost, none fails."""
    _, fruit = await service("POST", "/fruits", {"color": "red"})
    path = f"/fruits/{fruit['fruit_id']}"
    answers = await asyncio.gather(*(service("PUT", path, {"color": f"color-{n}"}) for n in range(6)))
    assert [status for status, _ in answers] == [200] * 6
    assert len({each["updated_on"] for _, each in answers}) == 6


async def test_a_conflict_is_told_and_tried_again(service: Service, orchard: Database) -> None:
    """`is_conflict` tells another writer's success from a failure, so the retry strategy gets its turn."""
    _, fruit = await service("POST", "/fruits", {"color": "red"})
    updaters = [AsyncFruitUpdater(fruit["fruit_id"], f"color-{n}") for n in range(4)]
    loop = asyncio.get_running_loop()
    done = [loop.create_future() for _ in updaters]
    for updater, future in zip(updaters, done, strict=True):
        updater.update(lambda is_ok, found, _, future=future: future.set_result((is_ok, found.color)))
    assert sorted(await asyncio.gather(*done)) == [(True, f"color-{n}") for n in range(4)]
    assert sum(updater.conflicts for updater in updaters) > 0


async def test_health(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Green while the database answers, red when it does not: the settings are read at each call."""
    assert await service("GET", "/_health") == (200, {"status": "green"})
    monkeypatch.setattr(async_model_actions, "database", "http://127.0.0.1:1/nothing")
    assert await service("GET", "/_health") == (503, {"status": "red"})
    assert (await service("GET", "/fruits"))[0] == 500


async def test_metrics(service: Service) -> None:
    """The sizes of CouchDB 3 stand where the original looked for those of CouchDB 1."""
    await service("POST", "/fruits", {"color": "red"})
    await service("GET", "/fruits")
    status, body = await service("GET", "/_metrics")
    found = body["database"]
    assert status == 200
    assert found["docCount"] == 2  # the design document is one
    assert found["diskSize"] > 0
    assert 0 <= found["fragmentation"] <= 100
    assert found["views"]["fruit_by_fruit_id"].keys() == {"dataSize", "diskSize", "fragmentation"}


async def test_signed_documents(service: Service, orchard: Database, tmp_path, monkeypatch) -> None:
    """With a Keyczar signer documents are signed as the original did; what was altered is no fruit."""
    signer = make_signer(tmp_path)
    monkeypatch.setattr(async_model_actions, "tampering_signer", signer)
    _, fruit = await service("POST", "/fruits", {"color": "red"})
    path = f"/fruits/{fruit['fruit_id']}"
    assert await service("GET", path) == (200, fruit)
    [row] = (await orchard.view("fruit_by_fruit_id", "fruit_by_fruit_id", include_docs=True)).rows
    await orchard.put({**row.doc, "color": "blue"})
    assert (await service("GET", path))[0] == 500
    assert await service("GET", "/fruits") == (200, [])


def make_signer(folder) -> keyczar.Signer:
    """A new HMAC key set of Keyczar's."""
    place = str(folder / "signer")
    keyczar.keyczart.create(place, "test", keyczar.keyinfo.SIGN_AND_VERIFY)
    keyczar.keyczart.add_key(place, keyczar.keyinfo.PRIMARY)
    return keyczar.Signer.Read(place, allow_legacy=True)
