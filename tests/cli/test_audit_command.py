"""`tornado-couch audit` and `clear`: their keys, the anchor, and what becomes of a finding."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.store.models import Place
from tornado_couch import Database, DocumentNotFound, Store, install
from tornado_couch.cli.main import main
from tornado_couch.couch import names
from tornado_couch.errors import InvalidSignature
from tornado_couch.security import KeyRing, ScryptCost

Run = Callable[..., Any]
ID = Place.__couch__.document_id("a") or ""  # type: ignore[union-attr]


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    """A ring in the file `ring`."""
    ring = KeyRing.create()
    ring.save(tmp_path / "ring")
    return ring


@pytest.fixture
async def store(database: Database, ring: KeyRing) -> Store:
    """A database with a document in its second revision."""
    await install(database.server, database.name, [Place])  # type: ignore[arg-type]
    store = Store(database, signer=ring)
    await store.create(Place(name="a", size=1))
    await store.update(Place, "a", lambda latest: setattr(latest, "size", 2))
    return store


@pytest.fixture
def run(server_url: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ring: KeyRing) -> Run:
    """Runs a command with the ring, in the directory that has it."""
    monkeypatch.chdir(tmp_path)

    async def invoke(command: str, *args: str) -> Result:
        options = ["--url", server_url, "--database", database.name, "--keys", "ring"]
        runner = CliRunner()
        env = {"RING": "words", "OTHER": "other words"}
        return await asyncio.to_thread(runner.invoke, main, [command, *args, *options], env=env)

    return invoke


async def findings(run: Run, *args: str) -> list[tuple[str, str]]:
    done = await run("audit", "--json", *args)
    found = [(each["revision"], each["reason"]) for each in json.loads(done.output)["findings"]]
    assert done.exit_code == (1 if found else 0)
    return found


async def test_several_rings_have_passphrases_of_their_own(
    run: Run, store: Store, ring: KeyRing, tmp_path: Path
) -> None:
    """Each ring that `--unlock` names is opened in its own way; the other options are for the rest."""
    cheap = ScryptCost(n=2**14)
    ring.save(tmp_path / "ring", passphrase="words", cost=cheap)
    other = KeyRing.create()
    other.save(tmp_path / "other", passphrase="other words", cost=cheap)
    KeyRing.create().save(tmp_path / "plain")
    await Store(store.database, signer=other).create(Place(name="b"))
    unlocked = ["--unlock", "ring=passphrase-env:RING", "--unlock", "other=passphrase-env:OTHER"]
    assert (await run("audit", "--keys", "other", "--keys", "plain", *unlocked)).exit_code == 0
    (tmp_path / "words").write_text("other words\n")
    (tmp_path / "words").chmod(0o600)
    rest = ["--keys", "other", "--passphrase-env", "RING"]
    assert (await run("audit", *rest, "--unlock", "other=passphrase-file:words")).exit_code == 0
    assert (await run("audit", *rest)).exit_code == 2
    for wrong in ("third=passphrase-env:RING", "other=RING", "other=prompt:x", "other=passphrase-env:"):
        refused = await run("audit", *rest, "--unlock", wrong)
        assert (refused.exit_code, "Usage" in refused.output, "words" in refused.output) == (2, True, False)


async def test_an_anchor_is_kept_by_the_command(run: Run, store: Store, tmp_path: Path) -> None:
    """It finds a purge, until the operator clears it."""
    assert await findings(run, "--anchor", "anchor") == []
    await store.create(Place(name="b"))
    assert await findings(run, "--anchor", "anchor", "--full") == []
    rev = (await store.database.get(ID))["_rev"]
    address = names.database(store.database.name, "_purge")
    await store.database._exchange.call("POST", address, None, {ID: [rev]})
    assert set(await findings(run, "--anchor", "anchor")) == {(rev, "purged")}
    assert (await run("clear", ID, "--anchor", "anchor")).exit_code == 0
    assert await findings(run, "--anchor", "anchor") == []
    for wrong in (["--full"], ["--root", "x"], ["--anchor", "anchor", "--since", "1"]):
        assert (await run("audit", *wrong)).exit_code == 2


async def test_an_operator_restores_what_the_service_wrote_last(run: Run, store: Store) -> None:
    """After a forged change, and after a deletion: the document is served again, and the audit finds nothing."""
    for deleted in (False, True):
        held = await store.database.get(ID)
        if deleted:
            await store.database.delete(ID, held["_rev"])
        else:
            await store.database.put({**held, "size": 666})
        ((revision, _),) = await findings(run)
        with pytest.raises(InvalidSignature):
            await store.get(Place, "a")
        done = await run("clear", ID, revision, "--restore", held["_rev"])
        assert done.exit_code == 0, done.output
        assert (await store.get(Place, "a")).size == 2
        assert await findings(run) == []


async def test_an_operator_adopts_or_deletes_a_leaf(run: Run, store: Store) -> None:
    """A change that somebody made by hand is signed; a leaf that nobody wants becomes a signed tombstone."""
    held = await store.database.get(ID)
    await store.database.put({**held, "size": 7})
    ((revision, _),) = await findings(run)
    assert (await run("clear", ID, revision, "--adopt")).exit_code == 0
    assert (await store.get(Place, "a")).size == 7
    planted = {**held, "_rev": "9-" + "f" * 32}
    await store.database.bulk_docs([planted], new_edits=False)
    assert await findings(run) == [(planted["_rev"], "rolled back")]
    assert (await run("clear", ID, planted["_rev"], "--delete")).exit_code == 0
    assert (await store.get(Place, "a")).size == 7
    assert await findings(run) == []
    await store.database.delete(ID, (await store.database.get(ID))["_rev"])
    ((revision, reason),) = await findings(run)
    assert reason == "deleted"
    assert (await run("clear", ID, revision, "--adopt")).exit_code == 0
    assert await findings(run) == []
    with pytest.raises(DocumentNotFound):
        await store.get(Place, "a")


async def test_what_cannot_be_cleared_is_said(run: Run, store: Store) -> None:
    """A revision that is no leaf, one that does not verify, and options that do not fit; nothing is written."""
    held = await store.database.get(ID, revs=True)
    earlier = f"1-{held['_revisions']['ids'][1]}"
    assert "has no leaf" in (await run("clear", ID, earlier, "--delete")).output
    await store.database.put({**held, "size": 666})
    ((revision, _),) = await findings(run)
    assert "does not verify" in (await run("clear", ID, revision, "--restore", revision)).output
    assert "cannot be read" in (await run("clear", ID, revision, "--restore", "1-" + "0" * 32)).output
    for wrong in ([revision], [revision, "--adopt", "--delete"], ["--adopt"], []):
        assert (await run("clear", ID, *wrong)).exit_code == 2
    assert await findings(run) == [(revision, "altered")]
