"""`tornado-couch sweep` on real databases."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.store.test_attachments import Files, lone_file
from tornado_couch import Database, Store
from tornado_couch.cli.main import main
from tornado_couch.security import KeyRing


async def run(url: str, database: Database, *arguments: str) -> Result:
    """The command, in a thread, since it has an event loop of its own."""
    command = ["sweep", "--url", url, "--database", database.name, *arguments]
    return await asyncio.to_thread(CliRunner().invoke, main, command)


@pytest.mark.parametrize("signed", [False, True])
async def test_files_are_marked_and_then_deleted(
    server_url: str, database: Database, tmp_path: Path, signed: bool
) -> None:
    """As it says, as text and as JSON; a dry run changes nothing."""
    ring = KeyRing.create()
    ring.save(tmp_path / "keys.json")
    keys = ("--keys", str(tmp_path / "keys.json")) if signed else ()
    await Store(database, signer=ring if signed else None).files.put(lone_file(b"orphan"))
    for arguments, expected in (
        (("--dry-run",), "0 named, 1 marked, 0 waiting, 0 deleted, 0 withheld"),
        ((), "0 named, 1 marked, 0 waiting, 0 deleted, 0 withheld"),
        ((), "0 named, 0 marked, 1 waiting, 0 deleted, 0 withheld"),
        (("--days", "0", "--dry-run"), "0 named, 0 marked, 0 waiting, 1 deleted, 0 withheld"),
    ):
        done = await run(server_url, database, *keys, *arguments)
        assert (done.exit_code, done.output.strip()) == (0, expected)
    done = await run(server_url, database, *keys, "--days", "0", "--json")
    assert json.loads(done.output) == {"named": 0, "marked": 0, "waiting": 0, "deleted": 1, "withheld": 0}
    assert await Files(database, server_url).stored() == []
