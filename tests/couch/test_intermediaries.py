"""Servers that are not CouchDB, and proxies that change paths: found before anything is written there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import pytest
from click.testing import CliRunner

from tests.faults import Call, Fault, FaultProxy, FaultServer, Forward, Message, answer
from tests.store.models import Fruit, Place
from tornado_couch import Couch, Database, Store, install
from tornado_couch.cli.main import main
from tornado_couch.errors import InvalidReply

OTHERS: dict[str, Any] = {
    "a web site": b"<html>Welcome",
    "a search engine": {"name": "node", "tagline": "You Know, for Search"},
    "a list": [],
}


async def decode(call: Call, forward: Forward) -> None:
    """Decode the path of a request, as some proxies do."""
    request = call.request
    line = (request.line[0], unquote(request.line[1]).replace(" ", "%20"), request.line[2])
    _, rest = request.raw.split(b"\r\n", 1)
    changed = " ".join(line).encode()
    await call.send(await forward(Message(line, request.headers, request.body, changed + b"\r\n" + rest)))


@pytest.fixture
def decoding(proxy: FaultProxy) -> FaultProxy:
    """A proxy that decodes the path of each request."""
    proxy.faults.append(Fault(decode, times=None))
    return proxy


USES: dict[str, Callable[[Database], Any]] = {
    "write": lambda database: database.put({"_id": "a/b"}),
    "read": lambda database: database.get("a/b"),
    "question mark": lambda database: database.put({"_id": "a?b"}),
    "percent sign": lambda database: database.put({"_id": "a%2Fb"}),
    "view": lambda database: database.view("d/e", "v"),
}


@pytest.mark.parametrize("use", USES)
async def test_a_proxy_that_decodes_paths_is_found_at_the_first_use(
    database: Database, decoding: FaultProxy, use: str
) -> None:
    """Of an id that would suffer; no document is left behind, and the message says what it is."""
    async with Couch(decoding.url) as couch:
        with pytest.raises(InvalidReply, match="decodes the paths"):
            await USES[use](couch[database.name])
        await couch[database.name].put({"_id": "plain"})
    assert [row.id for row in (await database.all_docs()).rows] == ["plain"]


async def test_the_way_is_checked_once(database: Database, proxy: FaultProxy) -> None:
    """One question, before the first id that needs it; none where no id does."""
    async with Couch(proxy.url) as couch:
        await couch[database.name].put({"_id": "plain:1"})
        assert "/_up%2F" not in [each.target for each in proxy.requests]
        await couch[database.name].put({"_id": "a/b"})
        await couch.database(database.name, timeout=7).get("a/b")
    assert [each.target for each in proxy.requests].count("/_up%2F") == 1


@pytest.mark.parametrize("other", OTHERS)
async def test_a_server_that_is_not_couchdb_is_not_installed_into(other: str) -> None:
    """Only GETs are sent to it."""
    async with FaultServer(answer(200, OTHERS[other])) as server, Couch(server.url) as couch:
        with pytest.raises(InvalidReply, match="not CouchDB"):
            await install(couch, "orchard", [Fruit])
        assert {each.method for each in server.requests} == {"GET"}


async def test_the_root_may_be_closed(database: Database, proxy: FaultProxy) -> None:
    """A proxy that lets through databases alone is none of our business."""

    async def close(call: Call, forward: Forward) -> None:
        if call.request.target == "/":
            await answer(403, b"no")(call)
        else:
            await call.send(await forward())

    proxy.faults.append(Fault(close, times=None))
    async with Couch(proxy.url) as couch:
        await couch.check()


def run_health(url: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["health", "--url", url])
    return result.exit_code, result.output


def test_the_command_says_that_all_is_well(server_url: str) -> None:
    """With CouchDB's version."""
    status, output = run_health(server_url)
    assert status == 0
    assert "CouchDB 3." in output


async def test_the_command_finds_both(decoding: FaultProxy) -> None:
    """The exit status is 2, and the message says what is wrong."""
    status, output = await asyncio.to_thread(run_health, decoding.url)
    assert (status, "decodes the paths" in output) == (2, True)
    async with FaultServer(answer(200, b"<html>")) as server:
        status, output = await asyncio.to_thread(run_health, server.url)
    assert (status, "not CouchDB" in output) == (2, True)


@pytest.mark.parametrize("other", OTHERS)
async def test_a_store_writes_nothing_to_another_server(other: str) -> None:
    """It looks before its first write, also where nothing was installed with it."""
    async with FaultServer(answer(200, OTHERS[other])) as server, Couch(server.url) as couch:
        with pytest.raises(InvalidReply, match="not CouchDB"):
            await Store(couch["orchard"]).create(Place(name="a"))
    assert {each.method for each in server.requests} == {"GET"}


async def test_a_store_asks_what_it_writes_to_at_most_once(proxy: FaultProxy, database: Database) -> None:
    """And not at all if any answer has shown it before."""
    await install(database.server, database.name, [Place])  # type: ignore[arg-type]
    async with Couch(proxy.url) as couch:
        store = Store(couch[database.name])
        for name in "ab":
            await store.create(Place(name=name))
    assert [each.target for each in proxy.requests if each.method == "GET"] == ["/"]
    proxy.requests.clear()
    async with Couch(proxy.url) as couch:
        await couch[database.name].exists()
        await Store(couch[database.name]).create(Place(name="c"))
    assert [each.method for each in proxy.requests] == ["HEAD", "PUT"]
