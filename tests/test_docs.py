"""Every code block of the documents under docs/: Python is run, in order; commands are looked up.

A page's Python has `couch`, a client, and the database "orchard" all to itself, and its working directory is empty;
`await` may stand anywhere. What follows the page's line `<!-- no test: WHY -->` directly is not run.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import json
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from tornado_couch import Couch, Database
from tornado_couch.cli.main import main

DOCS = Path(__file__).parents[1] / "docs"
TEXTS = {path.relative_to(DOCS).with_suffix("").as_posix(): path.read_text() for path in sorted(DOCS.glob("**/*.md"))}
OTHERS = {"console", "dockerfile", "html", "http", "ini", "javascript", "json", "sh", "text", "toml", "yaml"}
BLOCK = re.compile(r"(^<!-- no test: .+ -->\n)?^```(\{?\w*\}?)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(name: str, *languages: str) -> list[str]:
    """The blocks of a page in these languages, without those that are not tested."""
    return [text for skipped, language, text in BLOCK.findall(TEXTS[name]) if language in languages and not skipped]


@pytest.mark.parametrize("name", TEXTS)
def test_every_block_says_its_language(name: str) -> None:
    """So that no Python is left out below; those in braces are the documentation builder's own directives."""
    found = {language for _, language, _ in BLOCK.findall(TEXTS[name])}
    assert {each for each in found if not each.startswith("{")} <= {"python", *OTHERS}


def test_the_index_lists_each_page_once() -> None:
    """By what one wants to do; the pages of the API are listed by its own."""
    listed = [
        re.sub(r"^.*<(.+)>$", r"\1", line)
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```", TEXTS["index"], re.DOTALL | re.MULTILINE)
        for line in block.splitlines()
        if line and not line.startswith(":")
    ]
    pages = {name for name in TEXTS if name != "index" and not name.startswith("reference/")}
    assert sorted(listed) == sorted({*pages, "reference/commands", "reference/api"})


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


async def run(block: str, names: dict[str, Any], where: str) -> str:
    """Run a block, with `await` at the top level as in `python -m asyncio`; return what it printed."""
    code = compile(block, where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        result = eval(code, names)
        if inspect.isawaitable(result):
            await result
    return printed.getvalue()


def shape(value: Any) -> Any:
    """A JSON value or text with what differs each time made equal."""
    text = value if isinstance(value, str) else json.dumps(value)
    text = re.sub(r"\d-[0-9a-f]{32}", "REVISION", text)
    text = re.sub(r"[0-9a-f]{32}", "ID", text)
    return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]{15}\+00:00", "TIME", text)


def shown(name: str) -> dict[str, str]:
    """What a page says that its blocks print: the text that follows a block of Python directly."""
    pattern = r"^```python\n((?:(?!^```).)*)^```\n\n```text\n(.*?)^```"
    return dict(re.findall(pattern, TEXTS[name], re.DOTALL | re.MULTILINE))


async def run_page(name: str, names: dict[str, Any], database: Database, url: str) -> None:
    # Ports that a page listens at are free ones here.
    ports = {f":{port}": f":{free_port()}" for port in ("8888", "8889")}
    ports |= {f"listen{old.replace(':', '(')}": f"listen{new.replace(':', '(')}" for old, new in ports.items()}
    printing = shown(name)
    if "created database orchard" in TEXTS[name]:
        await database.server.delete_database(database.name)
    for number, block in enumerate(blocks(name, "python"), 1):
        text = block.replace('"orchard"', repr(database.name)).replace('"http://127.0.0.1:5984"', repr(url))
        text = text.replace('"shop"', repr(database.name))
        text = text.replace('"http://127.0.0.1:5984/orchard"', repr(f"{url}/{database.name}"))
        for old, new in ports.items():
            text = text.replace(old, new)
        printed = await run(text, names, f"docs/{name}.md, block {number}")
        if block in printing:
            assert shape(printing[block]) == shape(printed.replace(database.name, "orchard"))


@pytest.mark.parametrize("name", [name for name in TEXTS if blocks(name, "python")])
async def test_every_block_runs(
    name: str, couch: Couch, database: Database, server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In order, with what the blocks before it defined."""
    monkeypatch.chdir(tmp_path)
    before = asyncio.all_tasks()
    await run_page(name, {"__name__": "docs", "couch": couch}, database, server_url)
    assert asyncio.all_tasks() <= before


async def test_the_resources_work(couch: Couch, database: Database, server_url: str) -> None:
    """What docs/resources.md declares can be installed, mounted and stored."""
    names: dict[str, Any] = {"__name__": "docs", "couch": couch}
    await run_page("resources", names, database, server_url)
    await names["prepare"]()
    assert len(names["app"].wildcard_router.rules) > 4
    fruit = await names["store"].create(names["Fruit"](color="red"))
    assert (await names["store"].get(names["Fruit"], fruit.fruit_id)).color == "red"


async def test_the_tutorials_audit_finds_what_it_shows(
    database: Database, server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six documents from before there were keys, and the one that was altered."""
    monkeypatch.chdir(tmp_path)
    await run_page("tutorial", {"__name__": "docs"}, database, server_url)
    (audit,) = (text for text in blocks("tutorial", "console") if " audit " in text)
    command, _, told = audit.partition("\n")
    command = command.removeprefix("$ tornado-couch ").replace("orchard ", f"{database.name} ")
    line = [sys.executable, "-m", "tornado_couch", *shlex.split(command), "--url", server_url]
    done = await asyncio.to_thread(subprocess.run, line, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    sequence = re.compile(r"--since \S+")
    assert sequence.sub("", shape(done.stdout)) == sequence.sub("", shape(told))


def command_lines() -> list[tuple[str, str]]:
    found = []
    for name in TEXTS:
        for block in blocks(name, "console", "sh"):
            joined = block.replace("\\\n", " ")
            for line in joined.splitlines():
                text = line.removeprefix("$ ").strip()
                if text.startswith("tornado-couch "):
                    found.append((name, text))
    return found


def assert_known(line: str) -> None:
    """Assert that a command exists, with each option that it is given."""
    words = shlex.split(line, comments=True)[1:]
    command: click.Command = main
    context = click.Context(main)
    while isinstance(command, click.Group) and words:
        found = command.get_command(context, words.pop(0))
        assert found is not None, line
        command = found
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= {*known, "--help"}, line


@pytest.mark.parametrize(("name", "line"), command_lines())
def test_every_command_is_there(name: str, line: str) -> None:
    """Each command that a page shows exists, with each option that it is shown with."""
    assert_known(line)


def test_the_tests_that_the_guarantees_name_exist() -> None:
    """Each statement of that page names a test; a name that is mistyped or out of date is found here."""
    paths = [path for path in Path(__file__).parent.glob("**/*.py") if path.name != Path(__file__).name]
    named = re.findall(r"`(?:…|[\w/.]+)(?:::(?:\w+::)?(test_\w+))`", TEXTS["guarantees"])
    files = re.findall(r"`((?:tests/)?[\w/]*test_\w+\.py)", TEXTS["guarantees"])
    defined = {name for path in paths for name in re.findall(r"def (test_\w+)", path.read_text())}
    assert len(named) > 70
    assert [name for name in named if name not in defined] == []
    assert [name for name in files if not any(path.as_posix().endswith("/" + name) for path in paths)] == []
