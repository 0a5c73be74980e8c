"""Key sets made by python-keyczar, copied to where their files can have the mode that key files must have."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.security.keyczar import DATA, Sets
from tornado_couch.security import keyczar
from tornado_couch.security.keyczar import keyczart
from tornado_couch.security.keyczar.keyinfo import DECRYPT_AND_ENCRYPT, PRIMARY, SIGN_AND_VERIFY, KeyPurpose

NEW_SETS: list[tuple[str, KeyPurpose, str | None]] = [
    ("hmac", SIGN_AND_VERIFY, None),
    ("rsa-sign", SIGN_AND_VERIFY, "rsa"),
    ("dsa-sign", SIGN_AND_VERIFY, "dsa"),
    ("aes", DECRYPT_AND_ENCRYPT, None),
    ("rsa-crypt", DECRYPT_AND_ENCRYPT, "rsa"),
]


@pytest.fixture(scope="session")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Sets:
    """The key sets of the vectors; for tests that leave them as they are."""
    root = tmp_path_factory.mktemp("vectors") / "keysets"
    shutil.copytree(DATA / "keysets", root)
    for path in root.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return Sets(root)


@pytest.fixture
def own_sets(sets: Sets, tmp_path: Path) -> Sets:
    """The same, for one test to change."""
    return Sets(Path(shutil.copytree(sets.root, tmp_path / "keysets")), afresh=True)


@pytest.fixture(scope="session")
def new_sets(tmp_path_factory: pytest.TempPathFactory) -> Sets:
    """Key sets made here, of every type, with one key each; and an HMAC one encrypted with the AES one."""
    root = tmp_path_factory.mktemp("new")
    for name, purpose, asymmetric in NEW_SETS:
        keyczart.create(root / name, name, purpose, asymmetric)
        keyczart.add_key(root / name, PRIMARY)
        if asymmetric:
            keyczart.export_public(root / name, root / f"{name}-public")
    keyczart.create(root / "hmac-encrypted", "hmac-encrypted", SIGN_AND_VERIFY)
    keyczart.add_key(root / "hmac-encrypted", PRIMARY, keyczar.Crypter.Read(root / "aes", allow_legacy=True))
    return Sets(root)
