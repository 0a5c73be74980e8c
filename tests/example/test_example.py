"""The example: what `make run` shows, and the languages of ISO 639-3 as real input."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from example_app import app
from example_app.fruits import FRUITS, plant
from example_app.languages import count, counts, entries, load
from tests.servers import http_server, stopped
from tornado_couch import Couch, Database, install

ROOT = Path(__file__).parents[2]


def run(*arguments: str, couchdb_url: str | None, seconds: float = 100) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "COUCHDB_URL"}
    if couchdb_url:
        environment["COUCHDB_URL"] = couchdb_url
    command = [sys.executable, "-m", "example_app", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )


@pytest.fixture
async def url(couch: Couch, database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The example's service over a database of its own."""
    monkeypatch.setattr(app, "DATABASE", database.name)
    await app.prepare(couch)
    server = http_server(app.make_app(couch))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        server.add_socket(listener)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        await stopped(server)


@pytest.mark.slow
def test_the_tour_shows_each_promise_and_ends_well(tmp_path: Path) -> None:
    """With the embedded CouchDB: create, read, 304, 422, 412, conflicts retried, delete; then exit status 0."""
    done = run("--tour", "--port", "0", "--data", str(tmp_path / "data"), couchdb_url=None)
    assert done.returncode == 0, done.stderr
    statuses = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("< ") and line[2:5].isdecimal()]
    assert statuses == ["201", "200", "304", "422", "200", "412", *["200"] * 5, "204"]
    assert done.stderr == ""


@pytest.mark.slow
def test_the_tour_takes_the_couchdb_that_it_is_given(server_url: str) -> None:
    """COUCHDB_URL, with user and password in it where it has them; they are not printed."""
    done = run("--tour", "--port", "0", couchdb_url=server_url)
    assert done.returncode == 0, done.stderr
    if "@" in server_url:
        assert server_url.split("//")[1].split("@")[0] not in done.stdout + done.stderr


async def test_the_page_begins_with_some_fruits(url: str) -> None:
    """They are created once, and not again where there are others by then."""
    assert await plant(url) == len(FRUITS)
    _, page = await get(f"{url}/v1.0/fruits?fields=name,color,weight")
    assert sorted(each["name"] for each in page["items"]) == sorted(each["name"] for each in FRUITS)
    assert await plant(url) == 0


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_every_language_is_loaded_paged_and_counted(url: str) -> None:
    """All of ISO 639-3, once each, and as many of each scope and type as pycountry has."""
    told: list[int] = []
    assert await load(url, told.append) == len(entries()) > 7900
    assert told[-1] == len(entries())
    assert await count(url) == len(entries())
    for name in ("scope", "language_type"):
        expected = Counter(str(each[name]) for each in entries())
        assert {value: await count(url, f"{name}={value}") for value in expected} == expected
    pairs = Counter((str(each["scope"]), str(each["language_type"])) for each in entries())
    for (scope, kind), number in pairs.items():
        assert await count(url, f"scope={scope}&language_type={kind}") == number
    assert await counts(url) == Counter(str(each["scope"]) for each in entries())
    assert await counts(url, "by_scope_and_type") == {"/".join(pair): number for pair, number in pairs.items()}
    status, page = await get(f"{url}/v1.0/languages?scope=I&language_type=L&language_type=A&count=true&limit=1")
    assert (status, page["total"]) == (200, pairs["I", "L"] + pairs["I", "A"])
    assert await load(url) == 0
    assert await count(url, limit=1000) == len(entries())
    async with aiohttp.ClientSession() as session, session.get(f"{url}/v1.0/languages/deu") as reply:
        assert await reply.json() == {
            "alpha_3": "deu",
            "name": "German",
            "scope": "I",
            "language_type": "L",
            "alpha_2": "de",
            "bibliographic": "ger",
        }


async def get(url: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(url) as reply:
        return reply.status, await reply.json()


async def test_health_is_green_while_the_database_answers_and_red_when_not(url: str, couch: Couch) -> None:
    """200 and 503, with a link to itself; the quick check asks only the service."""
    quick, full = f"{url}/v1.0/_health", f"{url}/v1.0/_health?quick=false"
    green = {"status": "green", "links": {"self": {"href": quick}}}
    assert await get(quick) == (200, green)
    await couch.delete_database(app.DATABASE)
    assert await get(full) == (503, {"status": "red", "links": {"self": {"href": full}}})
    assert await get(quick) == (200, green)
    await install(couch, app.DATABASE, [])
