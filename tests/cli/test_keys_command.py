"""`tornado-couch keys`."""

from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.security.kinds import _keysets
from tornado_couch.cli.main import main
from tornado_couch.security import KeyRing


def run(*args: object, text: str = "", env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, ["keys", *map(str, args)], input=text, env=env)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    assert run("create", tmp_path / "ring").exit_code == 0
    return tmp_path / "ring"


def test_a_key_goes_through_its_life(path: Path) -> None:
    """Added, promoted, demoted twice, revoked; the file stays private throughout."""
    (first,) = KeyRing.load(path).keys
    second = run("add", path).output.strip()
    assert run("promote", path, second).output == f"{second} is primary\n"
    assert run("demote", path, first.id).output == f"{first.id} is inactive\n"
    assert run("revoke", path, first.id).exit_code == 0
    shown = json.loads(run("list", path, "--json").output)
    assert [(key["id"], key["state"]) for key in shown["keys"]] == [(first.id, "destroyed"), (second, "primary")]
    assert second in run("list", path).output
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_became_of_a_key_is_told_as_json(tmp_path: Path) -> None:
    """By each command that makes or changes one, as `list` shows it; never the secret."""

    def told(*args: object) -> tuple[str, str]:
        found = json.loads(run(*args, "--json").output)
        (key,) = found["keys"]
        assert found["purpose"] == "protect"
        assert key.keys() == {"id", "state", "algorithm", "created"}
        return key["id"], key["state"]

    path = tmp_path / "ring"
    first, state = told("create", path)
    assert state == "primary"
    second, state = told("add", path)
    assert state == "active"
    assert told("promote", path, second) == (second, "primary")
    assert told("demote", path, first) == (first, "inactive")
    assert told("revoke", path, first) == (first, "destroyed")


def test_a_ring_is_not_overwritten(path: Path) -> None:
    """Its data would be lost with it."""
    before = path.read_bytes()
    assert run("create", path).exit_code == 2
    assert path.read_bytes() == before


@pytest.mark.parametrize("way", ["prompt", "env", "file"])
def test_a_passphrase_comes_from_elsewhere_than_the_arguments(tmp_path: Path, way: str) -> None:
    """A prompt, the environment or a private file; it is asked for twice when a ring is made."""
    secret, path = tmp_path / "secret", tmp_path / "ring"
    secret.write_text("open sesame\n")
    secret.chmod(0o600)
    ways: dict[str, list[object]] = {
        "prompt": ["--prompt"],
        "env": ["--passphrase-env", "RING_PASSPHRASE"],
        "file": ["--passphrase-file", secret],
    }
    options = ways[way]
    env = {"RING_PASSPHRASE": "open sesame"}
    assert run("create", path, *options, text="open sesame\nopen sesame\n", env=env).exit_code == 0
    assert KeyRing.load(path, passphrase="open sesame").keys
    assert run("add", path, *options, text="open sesame\n", env=env).exit_code == 0
    assert len(KeyRing.load(path, passphrase="open sesame").keys) == 2
    assert run("list", path).exit_code == 2


def test_a_passphrase_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """Like a key file."""
    secret = tmp_path / "secret"
    secret.write_text("open sesame\n")
    secret.chmod(0o644)
    found = run("create", tmp_path / "ring", "--passphrase-file", secret)
    assert (found.exit_code, (tmp_path / "ring").exists()) == (2, False)
    assert "chmod 600" in found.output


@pytest.mark.parametrize("name", ["hmac", "aes", "hmac-encrypted"])
def test_a_keyczar_set_gives_keys(path: Path, name: str) -> None:
    """The same ones in every ring, active; an encrypted set needs the one that it is encrypted with."""
    options: list[object] = ["--keyczar-crypter", _keysets() / "aes"] if name == "hmac-encrypted" else []
    found = run("import-keyczar", path, _keysets() / name, *options)
    assert found.exit_code == 0
    states = [key.state.value for key in KeyRing.load(path).keys]
    assert states == ["primary"] + ["active"] * len(found.output.split())
    other = path.with_name("other")
    run("create", other)
    assert run("import-keyczar", other, _keysets() / name, *options).output == found.output


@pytest.mark.parametrize(
    ("name", "words"),
    [("rsa-sign", "RSA_PRIV"), ("rsa-crypt", "pairs"), ("dsa-sign", "--keys RING"), ("hmac-encrypted", "is encrypted")],
)
def test_what_cannot_be_imported_says_why(path: Path, name: str, words: str) -> None:
    """And what to do instead; the ring stays as it was."""
    before = path.read_bytes()
    found = run("import-keyczar", path, _keysets() / name)
    assert found.exit_code == 2
    assert words in found.output
    assert path.read_bytes() == before


def test_a_ring_is_rewrapped(path: Path, tmp_path: Path) -> None:
    """From plain to a passphrase, another one, an outer key and back: the keys stay, and the old secret is out."""
    before = KeyRing.load(path).keys
    outer = base64.b64encode(bytes(32)).decode()
    env = {"ONE": "first words", "TWO": "second words", "OUTER": outer}
    steps = [
        ([], ["--new-passphrase-env", "ONE"]),
        (["--passphrase-env", "ONE"], ["--new-passphrase-env", "TWO"]),
        (["--passphrase-env", "TWO"], ["--new-outer-key-env", "OUTER"]),
        (["--outer-key-env", "OUTER"], ["--plain"]),
    ]
    for old, new in steps:
        done = run("rewrap", path, *old, *new, env=env)
        assert done.exit_code == 0, done.output
        if old and new != ["--plain"]:
            assert run("list", path, *old, env=env).exit_code == 2
    assert KeyRing.load(path).keys == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_ring_is_not_rewrapped_by_halves(path: Path) -> None:
    """Without a new secret, with two of them, or with a wrong old one, the file stays as it is."""
    before = path.read_bytes()
    env = {"ONE": "first words", "TWO": "second words"}
    for wrong in (
        [],
        ["--plain", "--new-passphrase-env", "ONE"],
        ["--new-passphrase-env", "ONE", "--new-outer-key-env", "TWO"],
        ["--passphrase-env", "TWO", "--new-passphrase-env", "ONE"],
    ):
        assert run("rewrap", path, *wrong, env=env).exit_code == 2
        assert path.read_bytes() == before
    asked = run("rewrap", path, "--new-prompt", text="words\nother words\n")
    assert (asked.exit_code != 0, path.read_bytes()) == (True, before)
