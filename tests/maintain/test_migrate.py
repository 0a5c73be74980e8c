"""Migration of real databases, by its class and by the command line."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from click.testing import CliRunner, Result

from tests.faults import Fault, FaultProxy, never_answer, reset, until
from tornado_couch import Database, Encrypted, Indexed, Key, Model, Store, UpdatedOn, install, upgrade
from tornado_couch.cli.main import main
from tornado_couch.maintain.migrate import Migration, MigrationPage
from tornado_couch.security import KeyRing

MODULE = """
from typing import Annotated, Any
from tornado_couch import Encrypted, Indexed, Key, Model, UpdatedOn, upgrade

class Fruit(Model, type="fruit_v2.0", key="fruit_id"):
    fruit_id: Key
    color: Annotated[str, Indexed()]
    grower: Annotated[str | None, Encrypted()] = None
    eaten: int = 0
    updated_on: UpdatedOn

    @upgrade("fruit_v1.0", to="fruit_v2.0")
    @staticmethod
    def spell(fruit: dict[str, Any]) -> dict[str, Any]:
        fruit["color"] = fruit.pop("colour")
        return fruit
"""


class OldFruit(Model, type="fruit_v1.0", key="fruit_id"):
    fruit_id: Key
    colour: str
    grower: Annotated[str | None, Encrypted()] = None
    eaten: int = 0
    updated_on: UpdatedOn


class Fruit(Model, type="fruit_v2.0", key="fruit_id"):
    fruit_id: Key
    color: Annotated[str, Indexed()]
    grower: Annotated[str | None, Encrypted()] = None
    eaten: int = 0
    updated_on: UpdatedOn

    @upgrade("fruit_v1.0", to="fruit_v2.0")
    @staticmethod
    def spell(fruit: dict[str, Any]) -> dict[str, Any]:
        fruit["color"] = fruit.pop("colour")
        return fruit


@pytest.fixture(scope="module")
def ring() -> KeyRing:
    return KeyRing.create()


@pytest.fixture
async def store(database: Database, ring: KeyRing) -> Store:
    await install(database.server, database.name, [Fruit])  # type: ignore[arg-type]
    return Store(database, signer=ring, crypter=ring)


async def old_fruits(store: Store, count: int) -> list[str]:
    found = await store.create_many(OldFruit, [OldFruit(colour="red", grower=f"g{n}") for n in range(count)])
    assert all(isinstance(each, OldFruit) for each in found)
    return [each.fruit_id for each in found]  # type: ignore[union-attr]


async def migrated(migration: Migration, **options: Any) -> MigrationPage:
    """What all pages come to."""
    total = MigrationPage(0)
    async for page in migration.run(**options):
        total.since = page.since
        total.migrated += page.migrated
        total.current += page.current
        total.kept += page.kept
        total.findings += page.findings
    return total


async def versions(store: Store) -> dict[str, str]:
    rows = (await store.database.all_docs(include_docs=True)).rows
    return {row.id: row.doc["type"] for row in rows if row.id and row.doc and not row.id.startswith("_design")}


async def test_documents_are_written_in_their_models_own_version(store: Store) -> None:
    """Signed, encrypted, with their time stamps; the indexes know them then, and a second run finds nothing to do."""
    ids = await old_fruits(store, 7)
    before = await store.get(Fruit, ids[3])
    assert not (await store.find(Fruit, by="color", key="red")).items  # an index is of what is stored
    done = await migrated(Migration(store, [Fruit]), page_size=3)
    assert (done.migrated, done.findings) == (7, [])
    assert set((await versions(store)).values()) == {"fruit_v2.0"}
    assert len((await store.find(Fruit, by="color", key="red")).items) == 7
    after = await store.get(Fruit, ids[3])
    assert (after.grower, after.updated_on) == ("g3", before.updated_on)
    again = await migrated(Migration(store, [Fruit]))
    assert (again.migrated, again.current) == (0, 7)


async def test_only_the_documents_of_the_models_are_touched(store: Store) -> None:
    """Not those of other types, nor deleted ones, nor those of newer versions."""
    (gone,) = await old_fruits(store, 1)
    await store.delete(OldFruit, gone)
    others = [
        {"_id": "a", "type": "fruit_v2.7", "fruit_id": "a", "color": "red"},
        {"_id": "b", "type": "fruits_v1.0"},
        {"_id": "c"},
    ]
    await store.database.bulk_docs(others)
    done = await migrated(Migration(store, [Fruit]))
    assert (done.migrated, done.current, done.findings) == (0, 1, [])
    assert {(await store.database.get(each["_id"]))["_rev"][:2] for each in others} == {"1-"}


async def test_what_cannot_be_migrated_is_reported_and_left(store: Store) -> None:
    """Each with its reason; everything else is migrated."""
    ids = await old_fruits(store, 5)
    held = [await store.database.get(each) for each in ids]
    await store.database.put({**held[0], "colour": "blue"})
    sign = store._guard.signed
    await store.database.put(sign({name: value for name, value in held[1].items() if name != "colour"}))
    await store.database.put(sign({**held[2], "type": "fruit_v0.9"}))
    await store.database.put(sign({**held[3], "grower": held[4]["grower"]}))
    done = await migrated(Migration(store, [Fruit]))
    assert done.migrated == 1
    assert {each.id: each.reason for each in done.findings} == {
        ids[0]: "altered",
        ids[1]: "not valid",
        ids[2]: "no upgrade",
        ids[3]: "not decryptable",
    }


async def test_versions_of_a_history_are_left_as_they_are(database: Database) -> None:
    """They are never rewritten: they are upgraded whenever they are read, and the next version is of the new type."""

    class OldPage(Model, type="page_v1.0", key="name", history=True):
        name: str
        txt: str

    class Page(Model, type="page_v1.1", key="name", history=True):
        name: str
        text: str

        @upgrade("page_v1.0", to="page_v1.1")
        @staticmethod
        def rename(page: dict[str, Any]) -> dict[str, Any]:
            return {"name": page["name"], "text": page["txt"]}

    await install(database.server, database.name, [Page])  # type: ignore[arg-type]
    store = Store(database)
    await store.create(OldPage(name="a", txt="1"))
    done = await migrated(Migration(store, [Page]))
    assert (done.migrated, done.kept) == (0, 1)
    await store.update(Page, "a", lambda page: setattr(page, "text", "2"))
    assert [each.text for each in (await store.versions(Page, "a")).items] == ["2", "1"]
    assert set((await versions(store)).values()) == {"page_v1.0", "page_v1.1"}


async def test_migration_beside_writers_loses_nothing(store: Store) -> None:
    """Neither their changes nor a document."""
    ids = await old_fruits(store, 20)

    async def eat(key: str) -> None:
        for _ in range(4):
            await store.update(Fruit, key, lambda fruit: setattr(fruit, "eaten", fruit.eaten + 1))

    await asyncio.gather(*map(eat, ids), migrated(Migration(store, [Fruit]), page_size=4))
    await migrated(Migration(store, [Fruit]))
    assert set((await versions(store)).values()) == {"fruit_v2.0"}
    assert [(await store.get(Fruit, key)).eaten for key in ids] == [4] * 20


async def test_migration_goes_on_where_it_was(store: Store) -> None:
    """From the sequence of the last page that was done."""
    await old_fruits(store, 9)
    run = Migration(store, [Fruit]).run(page_size=6)
    first = await anext(run)
    await run.aclose()
    rest = await migrated(Migration(store, [Fruit]), since=first.since, page_size=4)
    assert 0 < first.migrated < 9  # design documents are among the first changes
    assert first.migrated + rest.migrated == 9


async def test_a_dry_run_writes_nothing(store: Store) -> None:
    """And says how much it would write, and what it could not."""
    await old_fruits(store, 3)
    await store.database.put({"_id": "bad", "type": "fruit_v1.0"})
    before = await store.database.info()
    done = await migrated(Migration(store, [Fruit], dry_run=True))
    assert (done.migrated, [each.reason for each in done.findings]) == (3, ["unsigned"])
    assert (await store.database.info())["update_seq"] == before["update_seq"]


class Command:
    """Runs the command line on the test's database."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder = url, folder

    async def __call__(self, *arguments: str, url: str = "") -> Result:
        server, _, name = (url or self.url).rpartition("/")
        call = ["migrate", "--url", server, "--database", name, "--models", "fruits_to_migrate:Fruit", *arguments]
        return await asyncio.to_thread(CliRunner().invoke, main, call)


@pytest.fixture
def command(
    server_url: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ring: KeyRing
) -> Iterator[Command]:
    (tmp_path / "fruits_to_migrate.py").write_text(MODULE)
    ring.save(tmp_path / "ring")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield Command(f"{server_url}/{database.name}", tmp_path)
    sys.modules.pop("fruits_to_migrate", None)


async def test_the_command_migrates_a_signed_and_encrypted_store(store: Store, command: Command) -> None:
    """First as a dry run; it says what it did as a line and as JSON."""
    ids = await old_fruits(store, 2)
    dry = await command("--keys", "ring", "--dry-run", "--json")
    assert dry.exit_code == 0, dry.output
    assert json.loads(dry.stdout)["to migrate"] == 2
    assert set((await versions(store)).values()) == {"fruit_v1.0"}
    done = await command("--keys", "ring")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("2 migrated, ")
    assert (await store.get(Fruit, ids[0])).grower == "g0"
    since = done.stdout.rpartition("--since ")[2].strip()
    again = await command("--keys", "ring", "--json", "--since", since)
    assert json.loads(again.stdout)["findings"] == []


async def test_the_command_says_what_it_could_not_do(store: Store, command: Command) -> None:
    """Status 1 for documents that are left, 2 where it could not begin: without the keys, say."""
    await store.database.put({"_id": "bad", "type": "fruit_v1.0"})
    found = await command("--keys", "ring")
    assert (found.exit_code, found.stdout.split()[:2]) == (1, ["unsigned", "bad"])
    for arguments in ([], ["--keys", "none"]):
        found = await command(*arguments)
        assert found.exit_code == 2
        assert "Error" in found.output
        assert "Traceback" not in found.output


async def test_an_indexer_is_not_passed_over(command: Command) -> None:
    """Without the keys that it belongs to it is wrong usage, and no migration of a store without keys."""
    found = await command("--indexer", "ring")
    assert (found.exit_code, "Give --keys" in found.output) == (2, True)


async def test_an_interrupted_command_tells_where_to_go_on(store: Store, command: Command, server_url: str) -> None:
    """After an outage, as after Ctrl-C; what was done is done."""
    await old_fruits(store, 600)
    async with FaultProxy(server_url) as proxy:
        # The first page of 500 is read and written, the second one is not.
        proxy.faults.append(Fault(reset_forever, path="_changes", after=1, times=None))
        broken = await command("--keys", "ring", url=f"{proxy.url}/{store.database.name}")
    assert broken.exit_code == 2, broken.output
    since = next(line for line in broken.output.splitlines() if "--since" in line).rpartition("--since ")[2].strip()
    assert since != "0"
    done = await command("--keys", "ring", "--json", "--since", since)
    assert done.exit_code == 0, done.output
    assert set((await versions(store)).values()) == {"fruit_v2.0"}


async def reset_forever(call: Any, forward: Any) -> None:
    await reset(call)


async def test_control_c_tells_where_to_go_on(store: Store, command: Command, server_url: str) -> None:
    """The page that was done is done, and the rest is migrated from there."""
    await old_fruits(store, 600)
    environment = {**os.environ, "PYTHONPATH": f"{command.folder}:{os.pathsep.join(sys.path)}"}
    async with FaultProxy(server_url) as proxy:
        stalled = Fault(never_answer, path="_changes", after=1, times=None)
        proxy.faults.append(stalled)
        call = ["migrate", "--url", proxy.url, "--database", store.database.name, "--models", "fruits_to_migrate:Fruit"]
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tornado_couch", *call, "--keys", "ring"),
            stdout=asyncio.subprocess.PIPE,
            env=environment,
        )
        await until(lambda: stalled.hits)
        process.send_signal(signal.SIGINT)
        told, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    text = told.decode()
    counted, since = int(text.split()[0]), text.rpartition("--since ")[2].strip()
    assert 0 < counted < 600
    done = await command("--keys", "ring", "--json", "--since", since)
    assert json.loads(done.stdout)["migrated"] == 600 - counted
