"""`tornado-couch changes` and `tornado-couch consumers` on real databases."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.faults import until
from tornado_couch import Consumer, Database, DocumentChange, Model, Retry, Store
from tornado_couch.cli.main import main

MODULE = """
from tornado_couch import Model

class Order(Model, type="order_v1.0", key="number", unique=True):
    number: str
    total: int = 0
"""


class Order(Model, type="order_v1.0", key="number", unique=True):
    number: str
    total: int = 0


FAST: dict[str, Any] = {"lease_seconds": 1.0, "settle": 0.1, "retry": Retry(attempts=2, base=0.005)}


@pytest.fixture
def store(database: Database) -> Store:
    return Store(database)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module with the model, in the working directory."""
    (tmp_path / "orders.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "orders:Order"
    sys.modules.pop("orders", None)


async def run(*arguments: str, url: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, main, [*arguments, "--url", url])


async def test_changes_are_printed_for_people_and_scripts(
    store: Store, server_url: str, module: str, couch: Any
) -> None:
    """A line for each, from the first one on or from a place that it printed; the place comes at the end."""
    await store.create(Order(number="a", total=5))
    once = ("changes", store.database.name, "--model", module, "--no-follow")
    done = await run(*once, "--from-beginning", url=server_url)
    assert (done.exit_code, done.stdout.split()[:2]) == (0, ["created", "order:a"])
    place = done.stderr.split()[-1]
    await store.create(Order(number="b", total=6))
    await store.delete(Order, "b")
    done = await run(*once, "--since", place, "--json", url=server_url)
    (line,) = map(json.loads, done.stdout.splitlines())
    assert (line["kind"], line["key"], line["id"]) == ("deleted", "b", "order:b")
    assert (await run(*once, "--since", done.stderr.split()[-1], url=server_url)).stdout == ""
    done = await run(*once, "--from-beginning", "--json", url=server_url)
    totals = {each["key"]: each["document"].get("total") for each in map(json.loads, done.stdout.splitlines())}
    assert totals["a"] == 5


async def test_a_place_of_another_database_is_refused(store: Store, server_url: str, module: str) -> None:
    """With status 2 and one line."""
    done = await run("changes", store.database.name, "--model", module, "--since", "1:2", url=server_url)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "made anew" in done.stderr


def follower(store: Store, server_url: str, module: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tornado_couch", "changes", store.database.name, "--model", module]
    return subprocess.Popen(
        [*command, "--from-beginning", "--url", server_url],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


def interrupt(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)


def close(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    process.stdout.close()


@pytest.mark.parametrize("end", [interrupt, close])
async def test_following_ends_cleanly(
    store: Store, server_url: str, module: str, end: Callable[[subprocess.Popen[str]], None]
) -> None:
    """At Ctrl-C, and when nobody reads the output any more; it says where to go on."""
    await store.create(Order(number="a"))
    process = follower(store, server_url, module)
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        assert "order:a" in await asyncio.to_thread(process.stdout.readline)
        await store.create(Order(number="b"))
        assert "order:b" in await asyncio.to_thread(process.stdout.readline)
        end(process)
        assert await asyncio.to_thread(process.wait, 20) == 0
        assert process.stderr.read().startswith("--since ")
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
        process.stdout.close()


async def test_consumers_are_looked_after(store: Store, server_url: str) -> None:
    """What was set aside is listed, replayed and dropped; a consumer is listed with its place, and told to begin."""
    failing, seen = {"a", "b"}, []

    async def handle(change: DocumentChange[Order]) -> None:
        seen.append(change.key)
        if change.key in failing:
            raise ValueError("secret")

    async def command(name: str, *arguments: str) -> Result:
        return await run("consumers", name, *arguments, "--database", store.database.name, url=server_url)

    consumer = Consumer("invoices", Order, handle, store=store, **FAST)
    for number in ("a", "b", "c"):
        await store.create(Order(number=number))
    await until(consumer.once)
    listed = await command("list")
    assert (listed.exit_code, "invoices  0/1" in listed.stdout, "2 failed" in listed.stdout) == (0, True, True)
    (line,) = map(json.loads, (await command("list", "--json")).stdout.splitlines())
    assert (line["name"], line["failed"]) == ("invoices", 2)
    found = await command("failed", "invoices")
    assert (found.exit_code, found.stdout.count("2 attempts  ValueError")) == (1, 2)
    assert "secret" not in found.stdout
    failing.clear()
    assert (await command("replay", "invoices", "order:a")).stdout == "1 to be replayed\n"
    await until(consumer.once)
    assert seen.count("a") == 3
    assert "order:b" in (await command("failed", "invoices", "--json")).stdout
    assert (await command("drop", "invoices", "--all")).stdout == "1 dropped\n"
    assert (await command("failed", "invoices")).exit_code == 0
    assert (await command("reset", "invoices", "--from-beginning")).exit_code == 0
    seen.clear()
    await until(consumer.once)
    assert sorted(seen) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "arguments",
    [("replay", "invoices"), ("drop", "invoices", "order:a", "--all"), ("reset", "invoices"), ("failed", "In voices")],
    ids=" ".join,
)
async def test_what_makes_no_sense_is_refused(store: Store, server_url: str, arguments: tuple[str, ...]) -> None:
    """With status 2."""
    done = await run("consumers", *arguments, "--database", store.database.name, url=server_url)
    assert done.exit_code == 2
