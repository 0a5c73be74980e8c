"""Keys of every kind, for tests that hold for all of them."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tornado_couch.security import Algorithm, KeyChain, KeyczarKeys, KeyRing, Keys, Purpose, TinkKeys, keyczar

__all__ = ["CRYPTERS", "INDEXERS", "KEYCZAR", "SIGNERS", "key_set", "tink_keys"]

KEYCZAR = Path(__file__).parent.parent / "data" / "keyczar"


@cache
def _keysets() -> Path:
    """The key sets with the modes that key files need, which a clone does not give them."""
    directory = Path(tempfile.mkdtemp(prefix="keysets-"))
    shutil.copytree(KEYCZAR / "keysets", directory, dirs_exist_ok=True)
    for path in directory.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return directory


def key_set(kind: Any, name: str, *, allow_legacy: bool = True) -> Any:
    """A Keyczar key set of tests/data."""
    return kind.Read(_keysets() / name, allow_legacy=allow_legacy)


@cache
def keyczar_keys() -> Keys:
    return KeyczarKeys(key_set(keyczar.Signer, "hmac"), key_set(keyczar.Crypter, "aes"))


@cache
def tink_keys(*, public: bool = False) -> Keys:
    """New keys of Tink, with a MAC or with a pair of keys for signatures."""
    if importlib.util.find_spec("tink") is None:
        pytest.skip(f"tink has no wheel for Python {platform.python_version()} on {platform.machine()}")
    import tink
    from tink import aead, mac, signature

    for module in (aead, mac, signature):
        module.register()
    signing = signature.signature_key_templates.ED25519 if public else mac.mac_key_templates.HMAC_SHA256_256BITTAG
    templates = [aead.aead_key_templates.AES256_GCM, signing]
    return TinkKeys.of(*[tink.new_keyset_handle(template) for template in templates])


@cache
def ring(algorithm: Algorithm = Algorithm.HMAC_SHA256) -> Keys:
    return KeyRing.create(Purpose.PROTECT, algorithm=algorithm)


Make = Callable[[], Keys]
CRYPTERS: dict[str, Make] = {
    "ring": ring,
    "keyczar": keyczar_keys,
    "tink": tink_keys,
    "chain": lambda: KeyChain(ring(), keyczar_keys()),
    "chain, read by an older set": lambda: KeyChain(keyczar_keys(), ring()),
}
INDEXERS = dict(CRYPTERS)
SIGNERS: dict[str, Make] = {
    **CRYPTERS,
    "ring of Ed25519": lambda: ring(Algorithm.ED25519),
    "tink, public": lambda: tink_keys(public=True),
    "keyczar, RSA": lambda: KeyczarKeys(key_set(keyczar.Signer, "rsa-sign")),
    "keyczar, DSA": lambda: KeyczarKeys(key_set(keyczar.Signer, "dsa-sign")),
}
