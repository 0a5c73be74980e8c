"""`--each PATTERN`: commands that work on every database whose name matches."""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Annotated

import pytest
from click.testing import CliRunner, Result

from tests.faults import Fault, FaultProxy, answer_status, never_answer, until
from tornado_couch import Couch, Encrypted, Model, Store
from tornado_couch.cli.main import main
from tornado_couch.security import KeyRing

MODULE = """
from typing import Annotated
from tornado_couch import Encrypted, Indexed, Model, upgrade

class Note(Model, type="note_v2.0", key="name", unique=True):
    name: str
    text: Annotated[str, Indexed()] = ""
    owner: Annotated[str | None, Encrypted()] = None

    @upgrade("note_v1.0", to="note_v2.0")
    @staticmethod
    def rename(note):
        note["text"] = note.pop("words", "")
        return note
"""


class Note(Model, type="note_v1.0", key="name", unique=True):
    name: str
    words: str = ""
    owner: Annotated[str | None, Encrypted()] = None


Run = Callable[..., Awaitable[Result]]


@pytest.fixture
async def prefix(couch: Couch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """Four databases, whose names begin so and end with a to d, each with two documents of an old version."""
    ring = KeyRing.create()
    ring.save(tmp_path / "ring")
    KeyRing.create().save(tmp_path / "other")
    (tmp_path / "notes_of_each.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    found = f"e{uuid.uuid4().hex[:12]}-"
    for letter in "abcd":
        await couch.create_database(found + letter)
        store = Store(couch[found + letter], signer=ring, crypter=ring, bind_encryption=True)
        await store.create_many(Note, [Note(name=name, owner=name) for name in ("x", "y")])
    yield found
    sys.modules.pop("notes_of_each", None)
    await asyncio.gather(*map(couch.delete_database, await couch.databases(prefix=found)))


@pytest.fixture
def run(server_url: str, prefix: str) -> Run:
    """Runs a command on each of the databases."""

    async def invoke(*args: str, url: str = server_url, pattern: str = f"{prefix}*", **env: str) -> Result:
        words = [*args, "--each", pattern, "--url", url]
        return await asyncio.to_thread(CliRunner().invoke, main, words, env=env)

    return invoke


MIGRATE = ("migrate", "--models", "notes_of_each", "--keys", "ring")


async def test_migrate_goes_through_every_database(run: Run, couch: Couch, prefix: str) -> None:
    """That is there and matches; the report has the sums, and in JSON each database."""
    done = await run(*MIGRATE, "--dry-run", "--json", pattern=f"{prefix}[ab]")
    assert done.exit_code == 0, done.output
    assert {name[-1]: each["to migrate"] for name, each in json.loads(done.stdout)["databases"].items()} == {
        "a": 2,
        "b": 2,
    }
    done = await run(*MIGRATE)
    assert (done.exit_code, done.stdout) == (0, "4 databases done; 8 migrated, 0 current, 0 findings\n")
    for letter in "abcd":
        documents = (await couch[prefix + letter].all_docs(include_docs=True)).rows
        assert {row.doc["type"] for row in documents if row.doc} == {"note_v2.0"}
        assert {row.doc["owner"][:13] for row in documents if row.doc} == {"encrypted.v2:"}


async def test_install_audit_and_rotate_do_so_too(run: Run, couch: Couch, prefix: str) -> None:
    """Values that are encrypted for their database alone stay so."""
    done = await run("install", "notes_of_each", "--no-create-seed")
    assert (done.exit_code, done.stdout.count(": wrote _design/")) == (0, 12), done.output
    assert (await run("audit", "--keys", "ring")).stdout == "4 databases done; 8 checked, 0 findings\n"
    done = await run("rotate", "--keys", "other", "--keys", "ring", "--models", "notes_of_each")
    assert (done.exit_code, done.stdout) == (0, "4 databases done; 8 renewed, 0 current, 0 findings\n")
    document = await couch[prefix + "a"].get(Note.__couch__.document_id("x") or "")  # type: ignore[union-attr]
    assert document["owner"].startswith("encrypted.v2:")
    assert (await run("audit", "--keys", "other")).exit_code == 0


async def test_a_failure_on_one_does_not_stop_the_others(
    run: Run, proxy: FaultProxy, prefix: str, tmp_path: Path
) -> None:
    """The exit status says so, and a run with the same report tries that one again, and no other."""
    proxy.faults.append(Fault(answer_status(500), path=f"/{prefix}b/_changes", times=None))
    report = ("--report", str(tmp_path / "report"))
    done = await run(*MIGRATE, *report, url=proxy.url)
    assert done.exit_code == 2
    assert done.stdout == "3 databases done, 1 failed; 6 migrated, 0 current, 0 findings\n"
    assert f"{prefix}b: failed: " in done.stderr
    proxy.faults.clear()
    proxy.requests.clear()
    done = await run(*MIGRATE, *report, url=proxy.url)
    assert (done.exit_code, done.stdout) == (0, "4 databases done; 8 migrated, 0 current, 0 findings\n")
    assert touched(proxy, prefix) == {"b"}


async def test_findings_are_named_with_their_database(run: Run, couch: Couch, prefix: str) -> None:
    """The exit status is 1, as for one database."""
    await couch[prefix + "c"].put({"_id": "planted", "type": "note_v1.0"})
    done = await run("audit", "--keys", "ring")
    assert done.exit_code == 1
    assert done.stdout.startswith(f"{prefix}c: unsigned      planted  1-")
    assert done.stdout.endswith("4 databases done; 9 checked, 1 findings\n")


async def test_a_killed_run_is_resumed(run: Run, proxy: FaultProxy, prefix: str, tmp_path: Path) -> None:
    """With the same report: what is done is not done again, whatever the kill has left of the last line."""
    report = tmp_path / "report"
    proxy.faults.append(Fault(never_answer, path=f"/{prefix}c/_changes", times=None))
    options = [*MIGRATE, "--each", f"{prefix}*", "--at-once", "1", "--report", str(report), "--url", proxy.url]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tornado_couch", *options)
    try:
        await until(lambda: report.is_file() and report.read_bytes().count(b'"done":true') == 2)
        second = await run(*MIGRATE, "--report", str(report), url=proxy.url)
        assert (second.exit_code, "another run is writing" in second.output) == (2, True)
    finally:
        process.kill()
        await process.wait()
    with report.open("ab") as file:
        file.write(b'{"database": "half a li')
    proxy.faults.clear()
    proxy.requests.clear()
    done = await run(*MIGRATE, "--at-once", "1", "--report", str(report), url=proxy.url)
    assert (done.exit_code, done.stdout) == (0, "4 databases done; 8 migrated, 0 current, 0 findings\n")
    assert touched(proxy, prefix) == {"c", "d"}


async def test_a_report_belongs_to_one_command_and_its_options(run: Run, tmp_path: Path) -> None:
    """A dry run's is no reason to leave out the real one."""
    report = ("--report", str(tmp_path / "report"))
    assert (await run(*MIGRATE, "--dry-run", *report)).exit_code == 0
    refused = await run(*MIGRATE, *report)
    assert (refused.exit_code, "give the same, or another file" in refused.output) == (2, True)
    assert (await run(*MIGRATE, "--dry-run", "--at-once", "2", *report)).exit_code == 0


async def test_at_most_so_many_are_worked_on_at_once(run: Run, proxy: FaultProxy, prefix: str) -> None:
    """The others wait for their turn."""
    done = await run(*MIGRATE, "--at-once", "1", url=proxy.url)
    targets = [each.target for each in proxy.requests if each.target.startswith(f"/{prefix}")]
    order = [target[len(prefix) + 1] for target in targets]
    assert (done.exit_code, sorted(set(order))) == (0, ["a", "b", "c", "d"])
    assert order == sorted(order)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--database", "x"], "cannot be used together"),
        (["--since", "5-x"], "--since is for one database"),
    ],
    ids=["database", "since"],
)
async def test_what_is_for_one_database_is_refused(run: Run, words: list[str], told: str) -> None:
    """With a sentence that says what to do."""
    refused = await run(*MIGRATE, *words)
    assert (refused.exit_code, told in refused.output) == (2, True)


async def test_a_pattern_goes_before_the_environments_database(run: Run) -> None:
    """TORNADO_COUCH_DATABASE may be set for the commands that need it."""
    done = await run("audit", "--keys", "ring", TORNADO_COUCH_DATABASE="elsewhere")
    assert (done.exit_code, done.stdout) == (0, "4 databases done; 8 checked, 0 findings\n")


async def test_a_pattern_that_matches_nothing_is_an_error(run: Run, prefix: str) -> None:
    """Rather than a success; CouchDB's own databases are not matched by chance."""
    refused = await run("audit", "--keys", "ring", pattern=f"{prefix}nobody*")
    assert (refused.exit_code, "correct --each" in refused.output) == (2, True)


async def test_neither_name_nor_pattern_is_an_error(server_url: str, prefix: str) -> None:
    """The message names both options."""
    words = ["audit", "--keys", "ring", "--url", server_url]
    refused = await asyncio.to_thread(CliRunner().invoke, main, words, env={"TORNADO_COUCH_DATABASE": None})
    assert (refused.exit_code, "Give --database, or --each" in refused.output, bool(prefix)) == (2, True, True)


def touched(proxy: FaultProxy, prefix: str) -> set[str]:
    """The last letters of the databases that requests were for."""
    targets = [each.target for each in proxy.requests if each.target.startswith(f"/{prefix}")]
    return {target[len(prefix) + 1] for target in targets}
