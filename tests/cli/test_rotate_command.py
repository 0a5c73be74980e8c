"""`tornado-couch rotate`: its keys, its models, and what it says."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from tests.security.kinds import _keysets, key_set
from tornado_couch import Database, Encrypted, Model, Store
from tornado_couch.cli.main import main
from tornado_couch.cli.report import progress
from tornado_couch.errors import InvalidSignature, Unavailable
from tornado_couch.maintain.rotate import Rotation, RotationPage
from tornado_couch.security import KeyChain, KeyczarKeys, KeyRing, Purpose, keyczar

MODULE = """
from typing import Annotated
from tornado_couch import Encrypted, Hashed, Model

class Note(Model, type="note_v1.0"):
    text: Annotated[str, Encrypted()]
    pin: Annotated[str | None, Hashed("sha3-512")] = None

def keys():
    from tornado_couch.security import KeyRing
    return KeyRing.load("new")

NO_KEYS = 3
"""


class Note(Model, type="note_v1.0"):
    text: Annotated[str, Encrypted()]


@pytest.fixture
def rings(tmp_path: Path) -> dict[str, KeyRing]:
    """Rings in files of these names."""
    found = {
        "old": KeyRing.create(),
        "new": KeyRing.create(),
        "sign": KeyRing.create(Purpose.SIGN),
        "crypt": KeyRing.create(Purpose.ENCRYPT),
    }
    for name, ring in found.items():
        ring.save(tmp_path / name)
    return found


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module in the working directory that has the model."""
    (tmp_path / "notes_to_rotate.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "notes_to_rotate"
    sys.modules.pop("notes_to_rotate", None)


class Rotate:
    """Runs the command in the directory of the rings."""

    def __init__(self, database: Database, server_url: str, directory: Path) -> None:
        self.where = ("--url", server_url, "--database", database.name)
        self.directory = directory

    async def __call__(self, *args: str) -> Result:
        found = [str(self.directory / arg[1:]) if arg.startswith("@") else arg for arg in args]
        return await asyncio.to_thread(CliRunner().invoke, main, ["rotate", *self.where, *found, "--json"])

    async def report(self, *args: str) -> dict[str, Any]:
        found = await self(*args)
        assert found.exit_code in (0, 1), found.output
        report: dict[str, Any] = json.loads(found.stdout)
        assert (found.exit_code == 1) == bool(report["findings"])
        return report


@pytest.fixture
def rotate(database: Database, server_url: str, tmp_path: Path) -> Rotate:
    return Rotate(database, server_url, tmp_path)


async def note(store: Store) -> str:
    return (await store.create(Note(text="secret")))._id or ""


async def test_one_ring_signs_and_encrypts(database: Database, rings: dict[str, KeyRing], rotate: Rotate) -> None:
    """With no more than --keys, twice."""
    key = await note(Store(database, signer=rings["old"], crypter=rings["old"]))
    assert (await rotate.report("--keys", "@new", "--keys", "@old"))["renewed"] == 1
    assert (await Store(database, signer=rings["new"], crypter=rings["new"]).get(Note, key)).text == "secret"
    assert (await rotate.report("--keys", "@new", "--keys", "@old"))["renewed"] == 0


async def test_signer_and_crypter_can_be_different_sets(
    database: Database, rings: dict[str, KeyRing], rotate: Rotate
) -> None:
    """--keys signs, --crypter encrypts; where the crypter is left out, the error says what is wrong."""
    key = await note(Store(database, signer=rings["sign"], crypter=rings["old"]))
    failed = await rotate("--keys", "@sign")
    assert failed.exit_code == 2
    assert "its purpose is to sign" in failed.output
    done = await rotate.report("--keys", "@sign", "--crypter", "@crypt", "--crypter", "@old")
    assert (done["renewed"], done["findings"]) == (1, [])
    assert (await Store(database, signer=rings["sign"], crypter=rings["crypt"]).get(Note, key)).text == "secret"


async def test_values_can_be_left_as_they_are(database: Database, rings: dict[str, KeyRing], rotate: Rotate) -> None:
    """--sign-only."""
    key = await note(Store(database, signer=rings["sign"], crypter=rings["old"]))
    assert (await rotate.report("--keys", "@new", "--keys", "@sign", "--sign-only"))["renewed"] == 1
    assert (await Store(database, signer=rings["new"], crypter=rings["old"]).get(Note, key)).text == "secret"


async def test_without_keys_for_signatures_nothing_is_signed(
    database: Database, rings: dict[str, KeyRing], rotate: Rotate
) -> None:
    """--crypter alone is for a database without signatures; no keys at all are wrong usage."""
    key = await note(Store(database, crypter=rings["old"]))
    assert (await rotate.report("--crypter", "@crypt", "--crypter", "@old"))["renewed"] == 1
    assert (await Store(database, crypter=rings["crypt"]).get(Note, key)).text == "secret"
    with pytest.raises(InvalidSignature):
        await Store(database, signer=rings["old"], crypter=rings["crypt"]).get(Note, key)
    assert (await rotate()).exit_code == 2


async def test_plaintext_is_protected_when_told(
    database: Database, rings: dict[str, KeyRing], rotate: Rotate, models: str
) -> None:
    """With the models, and not without; reported before."""
    await database.put({"_id": "one", "type": "note_v1.0", "text": "secret", "pin": "1234"})
    wanted = ("--crypter", "@old", "--models", models)
    (found,) = (await rotate.report(*wanted))["findings"]
    assert (found["id"], found["reason"]) == ("one", "in the clear")
    assert (await rotate("--crypter", "@old", "--protect-plaintext")).exit_code == 2
    assert (await rotate.report(*wanted, "--protect-plaintext"))["renewed"] == 1
    assert (await Store(database, crypter=rings["old"]).get(Note, "one")).text == "secret"
    assert (await database.get("one"))["pin"].startswith("sha3-512:")


async def test_what_was_never_signed_is_signed_when_told(
    database: Database, rings: dict[str, KeyRing], rotate: Rotate
) -> None:
    """--adopt; reported before."""
    key = await note(Store(database, crypter=rings["old"]))
    assert (await rotate.report("--keys", "@old"))["findings"][0]["reason"] == "unsigned"
    assert (await rotate.report("--keys", "@old", "--adopt"))["findings"] == []
    assert (await Store(database, signer=rings["old"], crypter=rings["old"]).get(Note, key)).text == "secret"


async def test_keyczar_sets_can_be_left_or_gone_on_with(
    database: Database, rings: dict[str, KeyRing], rotate: Rotate
) -> None:
    """Encrypted ones with the set that they are encrypted with; as the first they write only when allowed to."""
    outer = key_set(keyczar.Crypter, "aes")
    hmac = keyczar.Signer.Read(_keysets() / "hmac-encrypted", crypter=outer, allow_legacy=True)
    old = KeyczarKeys(hmac, outer)
    key = await note(Store(database, signer=old, crypter=old))
    sets = ("--keys", str(_keysets() / "hmac-encrypted"), "--crypter", str(_keysets() / "aes"))
    new = ("--keys", "@new", "--crypter", "@new")
    unopened = await rotate(*new, *sets)
    assert unopened.exit_code == 2
    assert "--keyczar-crypter" in unopened.output
    opening = ("--keyczar-crypter", str(_keysets() / "aes"))
    assert (await rotate.report(*new, *sets, *opening))["renewed"] == 1
    assert (await Store(database, signer=rings["new"], crypter=rings["new"]).get(Note, key)).text == "secret"
    back = await rotate(*sets, *new, *opening)
    assert back.exit_code == 2
    assert "SHA-1" in back.output
    assert (await rotate.report(*sets, *new, *opening, "--allow-legacy"))["renewed"] == 1
    assert (await Store(database, signer=KeyChain(old, rings["new"]), crypter=old).get(Note, key)).text == "secret"


async def test_keys_can_be_the_service_s_own_code(
    database: Database, rings: dict[str, KeyRing], rotate: Rotate, models: str
) -> None:
    """What makes keys of a KMS, or of another library; what is none is refused."""
    key = await note(Store(database, signer=rings["old"], crypter=rings["old"]))
    assert (await rotate.report("--keys", f"{models}:keys", "--keys", "@old"))["renewed"] == 1
    assert (await Store(database, signer=rings["new"], crypter=rings["new"]).get(Note, key)).text == "secret"
    refused = await rotate("--keys", f"{models}:NO_KEYS")
    assert refused.exit_code == 2
    assert "not a key set" in refused.output
    assert (await rotate("--keys", f"{models}:missing")).exit_code == 2


async def test_a_run_that_breaks_off_says_where_to_go_on(
    database: Database, rings: dict[str, KeyRing], rotate: Rotate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it has done so far, and the sequence, which the next run takes."""
    store = Store(database, signer=rings["old"], crypter=rings["old"])
    keys = [await note(store) for _ in range(3)]
    run = Rotation.run

    async def broken(self: Rotation, *, since: str | int = 0) -> AsyncIterator[RotationPage]:
        async for page in run(self, since=since, page_size=1):
            yield page
            raise Unavailable("CouchDB went away")

    monkeypatch.setattr(Rotation, "run", broken)
    failed = await rotate("--keys", "@new", "--keys", "@old")
    assert (failed.exit_code, "went away" in failed.output) == (2, True)
    report = json.loads(failed.stdout)
    assert report["renewed"] == 1
    monkeypatch.setattr(Rotation, "run", run)
    rest = await rotate.report("--keys", "@new", "--keys", "@old", "--since", str(report["last_seq"]))
    assert rest["renewed"] == 2
    after = Store(database, signer=rings["new"], crypter=rings["new"])
    assert [(await after.get(Note, key)).text for key in keys] == ["secret"] * 3


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_shown_on_a_terminal_alone(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On its standard error, so that nothing of it is in a report."""
    monkeypatch.setattr(Console, "is_terminal", terminal)
    with progress("documents") as advance:
        advance(3, 7)
        advance(7, 0)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert ("documents" in shown.err) is terminal


def test_without_rich_there_is_no_bar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing is missing otherwise."""
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with progress() as advance:
        advance(1, None)
    assert capsys.readouterr().err == ""
