"""Settings that cannot be used end the example with one sentence; signals end it quietly."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.forks import Forks
from tests.example.starting import ended, started
from tornado_couch.embedded import EmbeddedCouch


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Runs the example."""
    with Forks(tmp_path_factory.mktemp("example"), "example_app") as running:
        yield running


@pytest.fixture
def taken_port() -> Iterator[str]:
    """A port that somebody listens at."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield str(other.getsockname()[1])


@pytest.fixture
def data(tmp_path: Path) -> str:
    """A folder that does not exist yet."""
    return str(tmp_path / "data")


async def test_a_taken_port_is_named_with_its_option(forks: Forks, taken_port: str, data: str) -> None:
    """And so is what to do."""
    assert await ended(forks, "--port", taken_port, "--data", data) == (
        f"example_app: port {taken_port} cannot be used (Address already in use); choose another one with --port"
    )


@pytest.mark.parametrize("port", ["70000", "-1", "web", ""])
async def test_a_port_that_cannot_be_is_named_with_its_option(forks: Forks, port: str, data: str) -> None:
    """Out of range, or not a number."""
    assert (await ended(forks, "--port", port, "--data", data)).startswith("example_app: Invalid value for '--port': ")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://ann:secret@127.0.0.1:9", "no CouchDB can be reached at http://127.0.0.1:9 ("),
        ("http://ann:secret@nowhere.invalid:5984", "no CouchDB can be reached at http://nowhere.invalid:5984 ("),
        ("ann:secret@127.0.0.1:5984", "COUCHDB_URL is not valid"),
        ("http://ann:sec/ret@127.0.0.1:5984", "COUCHDB_URL is not valid"),
        ("http://ann:secret@127.0.0.1:port", "COUCHDB_URL is not valid"),
        ("orchard", "COUCHDB_URL is not valid"),
    ],
)
async def test_an_address_without_a_couchdb_is_named_with_its_variable(forks: Forks, url: str, says: str) -> None:
    """Refused, unknown or malformed; never with the password."""
    told = await ended(forks, "--port", "0", COUCHDB_URL=url)
    assert told.startswith(f"example_app: {says}")
    assert re.search(r"; (start it, or correct COUCHDB_URL|set it to http://USER:PASSWORD@\S+)$", told), told
    assert not re.search("secret|sec/ret|ret@", told)


@pytest.mark.parametrize(
    ("old", "new"), [("ann:secret@", ""), ("secret", "wrong"), (":secret", ""), ("http:", "https:"), (r"$", "/orchard")]
)
async def test_a_couchdb_that_refuses_is_named_with_its_variable(forks: Forks, old: str, new: str) -> None:
    """The user or the password is missing or wrong, it has no TLS, or a database is in the URL."""
    async with EmbeddedCouch(admin="ann:secret") as url:
        told = await ended(forks, "--port", "0", COUCHDB_URL=re.sub(old, new, url))
    assert "COUCHDB_URL" in told.partition(";")[2] or told.startswith("example_app: COUCHDB_URL cannot be used (")
    if "give the name" in told:
        assert told.rstrip().endswith(f"COUCHDB_URL=http://USER:PASSWORD@{url.rpartition('@')[2]}")
    assert "secret" not in told
    assert "wrong" not in told


@pytest.mark.parametrize("kind", ["file", "below a file", "other files", "another version"])
async def test_a_folder_that_cannot_be_used_is_named_with_its_option(forks: Forks, kind: str, tmp_path: Path) -> None:
    """A file in its place, a folder that cannot be made, one with other things, and another version's."""
    folder = tmp_path / "data"
    if kind in ("file", "below a file"):
        folder.write_text("mine")
    else:
        folder.mkdir()
        name = "thesis.txt" if kind == "other files" else "server.json"
        (folder / name).write_text('{"uuid": "1f", "secret": "1f", "format": 2}')
    folder = folder / "data" if kind == "below a file" else folder
    told = await ended(forks, "--port", "0", "--data", str(folder))
    assert told.startswith(f"example_app: {folder} ")
    assert told.endswith("; choose another folder with --data")


async def test_a_second_example_on_the_same_data_is_told_so(forks: Forks, data: str) -> None:
    """The first one runs on."""
    async with started("--port", "0", "--data", data) as first:
        await first.until_said("The embedded CouchDB keeps its data in")
        told = await ended(forks, "--port", "0", "--data", data)
        assert told == f"example_app: {data} is in use by another server; choose another folder with --data"
        assert first.process.returncode is None


STAGES = [
    "asyncio",  # the interpreter's own word of an import, with its option
    "tornado_couch.couch",  # likewise
    "The embedded CouchDB keeps its data in",
    "created database",
    "The service is at",
    "# Read it only if",
    "# Load the languages",
]


@pytest.mark.parametrize(
    ("stage", "number"),
    [*((each, signal.SIGINT) for each in STAGES), *((each, signal.SIGTERM) for each in STAGES[::3])],
)
async def test_a_signal_ends_it_quietly_at_any_moment(stage: str, number: signal.Signals, data: str) -> None:
    """While it imports, installs, runs the tour or loads: without a traceback, with the status of such an end."""
    importing = stage in STAGES[:2]
    options = ("-X", "importtime") if importing else ()
    async with started("--port", "0", "--data", data, options=options) as running:
        await running.until_said(stage)
        running.signal(number)
        assert await running.end() in ((-number,) if importing else (0, -number))
        told = [line for line in running.err if not line.startswith("import time:")]
        assert told == []
        assert not any("Traceback" in line for line in running.out)


@pytest.mark.slow
async def test_the_last_lines_name_the_page_and_the_docs(data: str) -> None:
    """They can be opened then; a signal ends it with status 0."""
    async with started("--port", "0", "--data", data) as running:
        await running.until_said("Ctrl-C")
        page, docs, stop = running.out[-3:]
        assert re.fullmatch(r"The page is at http://127\.0\.0\.1:\d+/", page)
        assert re.fullmatch(r"The API can be tried out at http://127\.0\.0\.1:\d+/docs", docs)
        assert stop == "Stop with Ctrl-C."
        running.signal(signal.SIGTERM)
        assert await running.end() == 0
        assert running.err == []
