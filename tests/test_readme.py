"""Every code block of the README, run."""

from __future__ import annotations

import json
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

from tornado_couch import Couch, Database, Store, install

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def blocks(language: str) -> list[str]:
    return [text for found, text in BLOCKS if found == language]


def test_no_block_is_left_out() -> None:
    """Each kind of block has a test below."""
    assert [language for language, _ in BLOCKS] == ["sh", "python", "console", "python", "python"]


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    """make knows them, and what each starts is there; the example's own tests and this run show the rest."""
    (commands,) = blocks("sh")
    plans = [
        subprocess.run([*shlex.split(command), "--dry-run"], cwd=ROOT, capture_output=True, text=True, check=True)
        for command in commands.split("\n")
        if command
    ]
    assert ["python -m" in plan.stdout for plan in plans] == [True, True]


@pytest.fixture
def service(server_url: str, database: Database, tmp_path: Path) -> Iterator[str]:
    """The address of the README's example, running as it stands there but for addresses and names."""
    text = blocks("python")[0]
    for wanted, given in (
        ('"http://127.0.0.1:5984"', repr(server_url)),
        ('"orchard"', repr(database.name)),
        (".listen(8888)", ".listen(0, '127.0.0.1')"),
    ):
        assert text.count(wanted) >= 1
        text = text.replace(wanted, given)
    # The one addition: it tells where it listens.
    listen = re.search(r"^( +)(Application\(.*)$", text, re.MULTILINE)
    assert listen is not None
    tell = f"print(next(iter(server._sockets.values())).getsockname()[1], flush=True)"  # noqa: F541
    text = text.replace(listen[0], f"{listen[1]}server = {listen[2]}\n{listen[1]}{tell}")
    script = tmp_path / "app.py"
    script.write_text(text)
    with subprocess.Popen([sys.executable, "-W", "error", str(script)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.terminate()


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


def shape(value: Any) -> Any:
    """A JSON value or text with what differs each time made equal."""
    text = value if isinstance(value, str) else json.dumps(value)
    text = re.sub(r"\d-[0-9a-f]{32}", "REVISION", text)
    text = re.sub(r"[0-9a-f]{32}", "ID", text)
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]{15}\+00:00", "TIME", text)


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
    first, handler, functions = blocks("python")
    model = first[: first.index("async def main")].replace("from __future__", "#")
    for text in (model, handler, functions.replace('"orchard"', repr(database.name))):
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
