"""`tornado-couch reconcile` on real databases."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from click.testing import CliRunner, Result

from tests.faults import Fault, FaultProxy, answer_status
from tornado_couch import Couch, Database, Encrypted, Merge, Model, Store, install
from tornado_couch.cli.main import main
from tornado_couch.revision import revision_of
from tornado_couch.security import KeyRing

MODULE = """
from typing import Annotated
from tornado_couch import Encrypted, Merge, Model

class Item(Model, type="item_v1.0", key="name", unique=True):
    name: str
    stock: Annotated[int, Merge.sum_of_changes] = 0
    email: Annotated[str | None, Encrypted()] = None
    verdict: Annotated[str | None, Merge.manual] = None
"""


class Item(Model, type="item_v1.0", key="name", unique=True):
    name: str
    stock: Annotated[int, Merge.sum_of_changes] = 0
    email: Annotated[str | None, Encrypted()] = None
    verdict: Annotated[str | None, Merge.manual] = None


@pytest.fixture(scope="module")
def ring() -> KeyRing:
    return KeyRing.create()


@pytest.fixture
async def store(database: Database, ring: KeyRing) -> Store:
    await install(database.server, database.name, [Item])  # type: ignore[arg-type]
    return Store(database, signer=ring, crypter=ring)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ring: KeyRing) -> Iterator[str]:
    """The name of a module with the model, in the working directory, beside its keys."""
    (tmp_path / "items.py").write_text(MODULE)
    ring.save(tmp_path / "keys.json")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "items:Item"
    sys.modules.pop("items", None)


async def conflict(store: Store, name: str, first: dict[str, Any], second: dict[str, Any]) -> None:
    """A document with two signed leaves."""
    other = await store.create(Item(name=name, email="ann@example.org", **second))
    document = await store.database.get(other._id or "")
    leaf = store._guard.signed({name: each for name, each in {**document, **first}.items() if name != "_rev"})
    revision = revision_of(None, False, {name: each for name, each in leaf.items() if not name.startswith("_")})
    await store.database.bulk_docs([{**leaf, "_rev": revision}], new_edits=False)


async def run(server_url: str, store: Store, *arguments: str) -> Result:
    where = ("--url", server_url, "--database", store.database.name)
    command = ["reconcile", *where, "--models", "items:Item", "--keys", "keys.json", *arguments]
    return await asyncio.to_thread(CliRunner().invoke, main, command)


@pytest.mark.usefixtures("module")
class TestCommand:
    async def test_what_rules_can_merge_is_merged(self, store: Store, server_url: str) -> None:
        """Status 0; what is merged is signed and encrypted as it was, and a later run has nothing to do."""
        for name in "abc":
            await conflict(store, name, {"stock": 5}, {"stock": 3})
        result = await run(server_url, store)
        assert (result.exit_code, result.stderr) == (0, "")
        assert ", 3 merged, 0 findings; --since " in result.stdout
        for name in "abc":
            found = await store.get(Item, name)
            assert (found.stock, found.email) == (8, "ann@example.org")
            assert len((await store.reconciliation.read(f"item:{name}")).revisions) == 1
        since = result.stdout.rpartition(" ")[2].strip()
        again = await run(server_url, store, "--since", since, "--json")
        found = json.loads(again.stdout)
        assert (again.exit_code, found["merged"], found["findings"]) == (0, 0, [])

    async def test_what_rules_leave_is_told(self, store: Store, server_url: str) -> None:
        """Status 1, with the property and the reason."""
        await conflict(store, "a", {"verdict": "good"}, {"verdict": "bad"})
        await conflict(store, "b", {"stock": 5}, {"stock": 3})
        result = await run(server_url, store, "--json")
        found = json.loads(result.stdout)
        assert (result.exit_code, found["merged"], [each["id"] for each in found["findings"]]) == (1, 1, ["item:a"])
        assert found["findings"][0]["reason"].startswith("/verdict It was changed differently")
        assert "good" not in result.stdout

    async def test_a_dry_run_writes_nothing(self, store: Store, server_url: str) -> None:
        """And tells the same."""
        await conflict(store, "a", {"verdict": "good"}, {"verdict": "bad"})
        await conflict(store, "b", {"stock": 5}, {"stock": 3})
        before = (await store.database.info())["update_seq"]
        result = await run(server_url, store, "--dry-run", "--json")
        found = json.loads(result.stdout)
        assert (result.exit_code, found["to merge"], len(found["findings"])) == (1, 1, 1)
        assert (await store.database.changes(since=before)).results == []

    async def test_other_documents_are_passed_by(self, store: Store, server_url: str) -> None:
        """They are counted, and no finding."""
        await store.database.put({"_id": "other"})
        await store.database.bulk_docs([{"_id": "other", "_rev": "1-" + "f" * 32}], new_edits=False)
        for more in ([], ["--dry-run"]):
            result = await run(server_url, store, *more)
            assert result.exit_code == 0
            assert "1 passed by" in result.stdout

    async def test_a_forged_leaf_is_a_finding(self, store: Store, server_url: str) -> None:
        """It is neither merged nor deleted."""
        await store.create(Item(name="a"))
        forged = {"_id": "item:a", "_rev": "1-" + "f" * 32, "type": "item_v1.0", "name": "a", "stock": 500}
        await store.database.bulk_docs([forged], new_edits=False)
        result = await run(server_url, store)
        assert result.exit_code == 1
        assert "The signature of a conflicting revision does not verify: unsigned." in result.stdout
        assert len((await store.reconciliation.read("item:a")).revisions) == 2

    async def test_an_outage_is_status_2(self, store: Store, server_url: str) -> None:
        """Before the first page there is nothing to report but the error."""
        await conflict(store, "a", {"stock": 5}, {"stock": 3})
        async with FaultProxy(server_url) as proxy, Couch(proxy.url) as couch:
            proxy.faults.append(Fault(answer_status(503), path="_bulk_docs", times=None))
            result = await run(proxy.url, Store(couch[store.database.name]))
        assert result.exit_code == 2
        assert result.stdout == ""
        assert len(result.stderr.splitlines()) == 1

    async def test_missing_keys_are_status_2(self, store: Store, server_url: str) -> None:
        """Before anything is read."""
        where = ("--url", server_url, "--database", store.database.name)
        command = ["reconcile", *where, "--models", "items:Item"]
        result = await asyncio.to_thread(CliRunner().invoke, main, command)
        assert result.exit_code == 2
        assert "needs keys" in result.stderr
