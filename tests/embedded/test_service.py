"""The server as users start it: in-process, as a command, in a thread."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.embedded.client import Client
from tornado_couch.embedded import EmbeddedCouch
from tornado_couch.embedded.server import BackgroundCouch


async def ask(url: str, method: str, path: str, body: object = None) -> tuple[int, object]:
    """One request, beside the event loop that serves it."""
    answer = await asyncio.to_thread(Client(url).ask, method, path, body)
    return answer.status, answer.json


async def test_in_process() -> None:
    """`async with EmbeddedCouch() as url` serves on a free port, and everyone is admin."""
    async with EmbeddedCouch() as url:
        assert "@" not in url
        assert (await ask(url, "PUT", "/db"))[0] == 201
        assert (await ask(url, "PUT", "/db/a", {"x": 1}))[0] == 201
        assert (await ask(url, "GET", "/_session"))[1] == {
            "ok": True,
            "userCtx": {"name": None, "roles": ["_admin"]},
            "info": {"authentication_handlers": ["cookie", "default"]},
        }


async def test_with_an_admin_the_url_has_the_credentials() -> None:
    """With an admin the URL can be used as it is, and nobody else gets in."""
    async with EmbeddedCouch(admin="user:p@ss/word") as url:
        assert url.startswith("http://user:p%40ss%2Fword@127.0.0.1:")
        bare = "http://" + url.partition("@")[2]
        assert (await ask(bare, "PUT", "/db"))[0] == 401
        status = (await asyncio.to_thread(Client(bare, "user:p@ss/word").put, "/db")).status
        assert status == 201


def left_over(threads: set[threading.Thread]) -> set[str]:
    """The names of threads that are not among some, nor of the event loop's own pool, which lives on."""
    return {each.name for each in set(threading.enumerate()) - threads if not each.name.startswith("asyncio")}


def settle(threads: set[threading.Thread]) -> None:
    """Give threads that are about to end the time to."""
    end = time.monotonic() + 10
    while left_over(threads) and time.monotonic() < end:
        time.sleep(0.05)


async def test_it_leaves_nothing_behind() -> None:
    """At the end there are no threads, tasks or JavaScript workers of the server left."""
    threads, tasks = set(threading.enumerate()), asyncio.all_tasks()
    async with EmbeddedCouch() as url:
        await ask(url, "PUT", "/db")
        await ask(url, "PUT", "/db/a", {})
        await ask(url, "PUT", "/db/_design/v", {"views": {"v": {"map": "function (doc) { emit(1); }"}}})
        assert (await ask(url, "GET", "/db/_design/v/_view/v"))[0] == 200
        feed = asyncio.create_task(ask(url, "GET", "/db/_changes?feed=longpoll&since=now"))
        await asyncio.sleep(0.1)
    with pytest.raises((OSError, ValueError, Exception)):
        await feed
    await asyncio.to_thread(settle, threads)
    assert not left_over(threads)
    assert asyncio.all_tasks() == tasks
    gc.collect()


async def test_a_folder_is_found_again(tmp_path: Path) -> None:
    """What was written is there after a restart: documents, sequence numbers, security, users, cookies' secret."""
    async with EmbeddedCouch(tmp_path) as url:
        await ask(url, "PUT", "/a%2Fb")
        await ask(url, "PUT", "/a%2Fb/doc", {"x": 1})
        await ask(url, "PUT", "/a%2Fb/_security", {"members": {"names": ["x"]}})
        before = [await ask(url, "GET", path) for path in ("/a%2Fb", "/a%2Fb/doc", "/a%2Fb/_changes", "/")]
    async with EmbeddedCouch(tmp_path) as url:
        after = [await ask(url, "GET", path) for path in ("/a%2Fb", "/a%2Fb/doc", "/a%2Fb/_changes", "/")]
        assert (await ask(url, "GET", "/a%2Fb/_security"))[1] == {"members": {"names": ["x"]}}
        assert (await ask(url, "DELETE", "/a%2Fb"))[0] == 200
        assert (await ask(url, "GET", "/_all_dbs"))[1] == []
    assert before == after
    assert list((tmp_path / "databases").iterdir()) == []


async def test_a_database_made_anew_has_other_sequence_numbers() -> None:
    """A sequence number of a deleted database's past starts its successor's feed from the beginning."""
    async with EmbeddedCouch() as url:
        await ask(url, "PUT", "/db")
        await ask(url, "PUT", "/db/a", {})
        _, info = await ask(url, "GET", "/db")
        await ask(url, "DELETE", "/db")
        await ask(url, "PUT", "/db")
        await ask(url, "PUT", "/db/b", {})
        assert isinstance(info, dict)
        _, feed = await ask(url, "GET", f"/db/_changes?since={info['update_seq']}")
        assert isinstance(feed, dict)
        assert [row["id"] for row in feed["results"]] == ["b"]


def test_in_a_thread() -> None:
    """BackgroundCouch serves programs without an event loop."""
    with BackgroundCouch() as url:
        assert Client(url).get("/").json["couchdb"] == "Welcome"


# ---------------------------------------------------------------- the command


def run(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tornado_couch", "couchdb", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_prints_its_url_and_stops_cleanly(number: signal.Signals) -> None:
    """One line with the URL once it listens; SIGTERM and SIGINT end it with exit status 0, open feeds and all."""
    process = run("--port", "0", "--memory", "--admin", "admin:secret")
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:")
    assert "secret" not in url
    client = Client(url, "admin:secret")
    assert client.put("/db").status == 201
    feed = threading.Thread(target=lambda: _listen(client))
    feed.start()
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    feed.join(30)
    assert (process.returncode, out, err) == (0, "", "Data is kept in memory. Press Ctrl-C to stop.\n")


def _listen(client: Client) -> None:
    try:
        client.get("/db/_changes?feed=continuous&since=now")
    except OSError:
        pass
    except Exception:  # noqa: BLE001  the server ends while it is being read
        pass


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0", "--memory"], "--admin is required"),
        (["--host", "::", "--memory"], "--admin is required"),
        (["--memory", "--dir", "x"], "cannot be used together"),
        (["--memory", "--admin", "nocolon"], "USER:PASSWORD"),
        (["--memory", "--port", "70000"], "70000"),
    ],
)
def test_the_command_refuses(arguments: list[str], words: str) -> None:
    """An open server without an admin, and options that make no sense, are refused before anything listens."""
    process = run(*arguments)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert words in err
    assert out == ""


def test_a_taken_port_is_said_plainly() -> None:
    """A port that is in use is one line, without a traceback."""
    with BackgroundCouch() as url:
        process = run("--memory", "--port", url.rpartition(":")[2])
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert err.startswith("Error: Cannot listen on 127.0.0.1 port ")
    assert err.endswith(": Address already in use; choose another --port or --host\n")
    assert len(err.splitlines()) == 1


def test_a_folder_that_is_the_trouble_is_named(tmp_path: Path) -> None:
    """With its option; a file in its place, and a folder with other things in it."""
    (tmp_path / "thesis.txt").write_text("mine")
    for folder, why in (
        (tmp_path / "thesis.txt" / "data", "cannot be written: Not a directory"),
        (tmp_path, "contains other files, such as thesis.txt"),
    ):
        process = run("--port", "0", "--dir", str(folder))
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (1, "")
        assert err == f"Error: {folder} {why}; choose another folder with --dir\n"


def test_where_the_data_is_and_how_to_stop_is_said(tmp_path: Path) -> None:
    """Once it listens."""
    process = run("--port", "0", "--dir", str(tmp_path / "data"))
    assert process.stderr is not None
    assert process.stderr.readline() == f"Data is kept in {tmp_path / 'data'}. Press Ctrl-C to stop.\n"
    process.terminate()
    assert process.wait(30) == 0
    process.communicate()
