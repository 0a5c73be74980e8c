"""Hashes users' passwords with the PBKDF2 scheme of CouchDB 3.5; checks those of documents from elsewhere as well."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Any

__all__ = ["ITERATIONS", "hash_password", "verify_password"]

ITERATIONS = 600_000
"""CouchDB 3.5's own number for `pbkdf2_prf` sha256; it takes about 0.2 s on a small machine."""

_LENGTHS = {"sha": 20, "sha1": 20, "sha224": 28, "sha256": 32, "sha384": 48, "sha512": 64}


def _derive(password: str, salt: str, iterations: int, prf: str) -> str:
    name = "sha1" if prf == "sha" else prf
    # CouchDB derives 20 bytes for the old default and the complete digest for the others.
    return hashlib.pbkdf2_hmac(name, password.encode(), salt.encode(), iterations, _LENGTHS[prf]).hex()


def hash_password(password: str, iterations: int = ITERATIONS) -> dict[str, Any]:
    """The members that replace the `password` in a user document."""
    salt = secrets.token_hex(16)
    return {
        "iterations": iterations,
        "password_scheme": "pbkdf2",
        "pbkdf2_prf": "sha256",
        "salt": salt,
        "derived_key": _derive(password, salt, iterations, "sha256"),
    }


def verify_password(user: dict[str, Any], password: str) -> bool:
    """Whether this is the password of a user document; takes as long as its iterations do."""
    salt, scheme = user.get("salt"), user.get("password_scheme", "simple")
    if not isinstance(salt, str):
        return False
    if scheme == "simple":
        wanted = hashlib.sha1((password + salt).encode(), usedforsecurity=False).hexdigest()
        return hmac.compare_digest(wanted, str(user.get("password_sha", "")))
    prf, iterations = user.get("pbkdf2_prf", "sha"), user.get("iterations")
    if scheme != "pbkdf2" or prf not in _LENGTHS or not isinstance(iterations, int) or iterations < 1:
        return False
    return hmac.compare_digest(_derive(password, salt, iterations, prf), str(user.get("derived_key", "")))
