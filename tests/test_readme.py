"""Every code block of the README, run."""

from __future__ import annotations

import asyncio
import configparser
import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import tornado.web

from tests.servers import sent, stopped
from tests.test_docs import assert_known, shape
from tornado_couch import Couch, Database, Store, install
from tornado_couch.embedded.server import BackgroundCouch
from tornado_couch.service import Server

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCKS if found == language]


def test_it_is_short() -> None:
    """Who wants more follows a link."""
    assert len(README.splitlines()) < 200


def test_every_link_works_on_the_package_index_too() -> None:
    """A relative one would be a file of the index; each that is ours names a file that is there."""
    parser = configparser.RawConfigParser()
    parser.read(ROOT / "setup.cfg")
    home = parser["metadata"]["url"]
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert [link for link in links if not link.startswith("https://")] == []
    raw = home.replace("https://github.com/", "https://raw.githubusercontent.com/")
    ours = [re.fullmatch(rf"(?:{home}/blob|{raw})/main/(.+)", link) for link in links]
    paths = [found[1] for found in ours if found]
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).is_file()] == []
    assert re.findall(r"!\[[^\]]*\]\((?!" + re.escape(raw) + r"/)", README) == []


def test_no_block_is_left_out() -> None:
    """Each kind of block has a test below."""
    found = " ".join(language for language, _ in BLOCKS)
    assert found == "sh python sh sh console python python sh python"


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    """make knows them, and what each starts is there; the example's own tests and this run show the rest."""
    commands = blocks("sh")[-1]
    plans = [
        subprocess.run([*shlex.split(command), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=True)
        for command in commands.split("\n")
        if command
    ]
    assert ["python -m" in plan.stdout for plan in plans] == [True, True]


def test_the_other_commands_are_there() -> None:
    """With their options; what is installed is an extra of ours."""
    install, embedded, apache = blocks("sh")[:3]
    assert shlex.split(install) == ["pip", "install", "tornado-couch[embedded]"]
    lines = [*embedded.splitlines(), apache.strip().partition(" ")[2]]
    assert len(lines) == 3
    for line in lines:
        assert_known(line)


@contextlib.contextmanager
def serving(folder: Path, url: str, name: str) -> Iterator[subprocess.Popen[str]]:
    """The README's example, started by its command over a database of that name."""
    text = blocks("python")[0]
    assert text.count('"orchard"') == 2
    (folder / "orchard.py").write_text(text.replace('"orchard"', repr(name)))
    command = shlex.split(blocks("sh")[1].splitlines()[1].removeprefix("tornado-couch "))
    line = [sys.executable, "-m", "tornado_couch", *command, "--url", url, "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(line, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


@pytest.fixture
def service(server_url: str, database: Database, tmp_path: Path) -> Iterator[str]:
    """The address of the README's example, running as it stands there but for addresses and names."""
    with serving(tmp_path, server_url, database.name) as process:
        assert process.stderr is not None
        found = next(filter(None, (re.search(r"http://127\S+", line) for line in process.stderr)))
        yield found[0]


@pytest.mark.parametrize(("login", "user"), [("", "no user was named"), ("admin:wrong@", "the user was admin")])
def test_a_missing_password_is_told_in_a_sentence(tmp_path: Path, login: str, user: str) -> None:
    """It names the address and the user, as a CouchDB 3 always has an admin; there is no traceback."""
    with BackgroundCouch(admin="admin:secret") as url:
        address = f"127.0.0.1:{urlsplit(url).port}"
        with serving(tmp_path, f"http://{login}{address}", "orchard") as process:
            _, told = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in told
    assert f"CouchDB at http://{address} refused this" in told
    assert f"with --username and TORNADO_COUCH_PASSWORD ({user})" in told


def curl(words: list[str], service: str) -> tuple[int, dict[str, str], Any]:
    """What a curl command line of the README asks for."""
    url = next(word for word in words if word.startswith("http://"))
    data = words[words.index("-d") + 1].encode() if "-d" in words else None
    headers = dict(words[place + 1].split(": ") for place, word in enumerate(words) if word == "-H")
    parts = urlsplit(url)
    address = service + parts.path + (f"?{parts.query}" if parts.query else "")
    request = urllib.request.Request(address, data=data, headers=headers)
    try:
        reply = urllib.request.urlopen(request, timeout=20)
    except urllib.error.HTTPError as error:
        reply = error
    with reply:
        return reply.status, dict(reply.headers), json.loads(reply.read())


def test_what_comes_back_is_what_the_readme_shows(service: str) -> None:
    """Status, the header fields shown, and the body; ids, revisions and times of their form."""
    (console,) = blocks("console")
    for exchange in console.strip().split("\n\n$ "):
        command, _, answer = exchange.removeprefix("$ ").partition("\n")
        head, _, body = answer.partition("\n\n")
        status_line, *fields = head.split("\n")
        status, headers, found = curl(shlex.split(command), service)
        assert status == int(status_line.split()[1])
        for field in fields:
            name, _, value = field.partition(": ")
            assert shape(headers[name]) == shape(value)
        assert shape(found) == shape(json.loads(body))


async def test_the_other_python_blocks_run(
    couch: Couch, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """The handler class can be mounted, and the functions do what their names say."""
    names: dict[str, Any] = {"__name__": "readme"}
    first, handler, functions, _ = blocks("python")
    for text in (first, handler, functions.replace('"orchard"', repr(database.name))):
        exec(compile(text, "README.md", "exec", dont_inherit=True), names)  # the README is ours
    fruit_class = names["Fruit"]
    await install(couch, database.name, [fruit_class])
    store = Store(database)
    from tornado_couch import resource

    routes = resource("/x", fruit_class, store, collection=names["FruitsHandler"])
    assert [route.regex.pattern for route in routes] == ["/x$", "/x/_bulk$", "/x/([^/]+)$"]
    fruit = await store.create(fruit_class(color="green"))
    assert (await names["ripen"](store, fruit.fruit_id)).color == "red"
    await names["colors"](couch)
    assert capsys.readouterr().out == f"red {fruit.fruit_id}\n"


async def test_the_server_serves_any_application(
    unused_tcp_port_factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the README's last block of Python starts it."""
    made: list[Server] = []

    def make(application: Any) -> Server:
        made.append(Server(application))
        return made[0]

    monkeypatch.setattr("tornado_couch.service.Server", make)
    port = unused_tcp_port_factory()
    names: dict[str, Any] = {"__name__": "readme", "tornado_app": tornado.web.Application()}
    exec(compile(blocks("python")[-1].replace("8888", str(port)), "README.md", "exec", dont_inherit=True), names)
    serving = asyncio.create_task(names["main"]())
    await asyncio.sleep(0)  # it listens before it waits
    assert (await sent(port, b"GET / HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 404 Not Found")
    serving.cancel()
    await stopped(made[0])
