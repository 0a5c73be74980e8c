"""A key file that belongs to somebody else is refused: its owner could have put any keys there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tornado_couch.errors import KeySetError
from tornado_couch.security import KeyRing, keyczar
from tornado_couch.security.key_file import read_private
from tornado_couch.security.keyczar import keyczart
from tornado_couch.security.keyczar.keyinfo import PRIMARY, SIGN_AND_VERIFY

SOMEBODY, US = 54321, 12345


@pytest.fixture
def give(monkeypatch: pytest.MonkeyPatch) -> object:
    """Makes a path somebody else's."""

    def given(path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, SOMEBODY, -1)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: US)

    return given


def test_a_ring_of_somebody_else_is_refused(tmp_path: Path, give: object) -> None:
    """Its mode alone said nothing: 0600 lets its owner write."""
    path = tmp_path / "ring"
    KeyRing.create().save(path)
    KeyRing.load(path)
    give(path)  # type: ignore[operator]
    with pytest.raises(KeySetError, match="belongs to another user"):
        KeyRing.load(path)
    with pytest.raises(KeySetError, match="belongs to another user"):
        read_private(path)


@pytest.mark.parametrize("part", [".", "meta", "1"])
def test_a_key_set_of_somebody_else_is_refused(tmp_path: Path, give: object, part: str) -> None:
    """The directory, and each file in it."""
    where = tmp_path / "set"
    keyczart.create(where, "ours", SIGN_AND_VERIFY)
    keyczart.add_key(where, PRIMARY)
    keyczar.Signer.Read(str(where))
    give(where / part)  # type: ignore[operator]
    with pytest.raises(KeySetError, match="belongs to another user"):
        keyczar.Signer.Read(str(where))


def test_a_key_file_of_root_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Secrets that a machine mounts belong to root, who can do everything anyway."""
    path = tmp_path / "ring"
    KeyRing.create().save(path)
    if os.geteuid() != 0:
        pytest.skip("needs a file of root's")
    monkeypatch.setattr(os, "geteuid", lambda: US)
    KeyRing.load(path)
