"""Key files: read only if nobody else can read them, written completely or not at all, encrypted on request.

An encrypted file is JSON that says how its key is made (with scrypt from a passphrase, RFC 7914, or from an outer key
of 32 bytes, for instance in an environment variable) and contains the key file under AES-256-GCM, bound to that
description.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from .. import _json
from ..errors import KeySetError
from .encoding import b64_decode, b64_encode, canonical

__all__ = ["ScryptCost", "outer_key", "read_private", "unwrap", "wrap", "write_private"]

FORMAT = "tornado_couch wrapped keys"
_MAX_SIZE = 1024 * 1024
_MAX_MEMORY = 256 * 1024 * 1024
_NONCE = 12


@dataclass(frozen=True)
class ScryptCost:
    """What it costs to try one passphrase: 128 * n * r bytes of memory (by default 128 MiB), about half a second.

    The numbers are read from the file, so they have upper bounds: no file can demand more than 256 MiB.

    Attributes:
        n: the cost, a power of two from 2 to 2^20.
        r: the block size, 1 to 16.
        p: the number of repetitions, 1 to 4.
    """

    n: int = 2**17
    r: int = 8
    p: int = 1

    def __post_init__(self) -> None:
        whole = all(type(each) is int for each in (self.n, self.r, self.p))
        if not whole or not (1 < self.n <= 2**20 and 1 <= self.r <= 16 and 1 <= self.p <= 4):
            raise KeySetError("the scrypt parameters are out of range")
        if self.n & (self.n - 1) or 128 * self.n * self.r > _MAX_MEMORY:
            raise KeySetError("the scrypt parameters are out of range")

    def key(self, passphrase: str | bytes, salt: bytes) -> bytes:
        """Derive a key of 32 bytes from a passphrase."""
        secret = passphrase.encode("utf-8") if isinstance(passphrase, str) else passphrase
        return Scrypt(salt=salt, length=32, n=self.n, r=self.r, p=self.p).derive(secret)


def outer_key(variable: str, environ: Mapping[str, str] = os.environ) -> bytes:
    """Read the outer key from an environment variable: 32 bytes in base64 of either alphabet, padded or not.

    Raises:
        KeySetError: the variable is not set, or contains something else.
    """
    text = environ.get(variable, "").strip().replace("-", "+").replace("_", "/").rstrip("=")
    if not text:
        raise KeySetError(f"the environment variable {variable} is not set")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise KeySetError(f"the environment variable {variable} must contain 32 bytes in base64")
    return key


def wrap(
    contents: bytes,
    *,
    passphrase: str | bytes | None = None,
    outer: bytes | None = None,
    cost: ScryptCost | None = None,
) -> bytes:
    """The contents of a key file, encrypted; unchanged if neither a passphrase nor an outer key is given."""
    if passphrase is None and outer is None:
        return contents
    salt = os.urandom(16)
    wrapping: dict[str, Any] = {"by": "outer key" if passphrase is None else "scrypt", "salt": b64_encode(salt)}
    if passphrase is not None:
        wrapping |= asdict(cost or ScryptCost())
    head = {"format": FORMAT, "version": 1, "wrapping": wrapping}
    key, nonce = _wrapping_key(wrapping, passphrase, outer), os.urandom(_NONCE)
    sealed = nonce + AESGCM(key).encrypt(nonce, contents, canonical(head))
    return _json.dumps({**head, "ciphertext": b64_encode(sealed)}) + b"\n"


def unwrap(contents: bytes, *, passphrase: str | bytes | None = None, outer: bytes | None = None) -> dict[str, Any]:
    """Read the JSON object in a key file, and decrypt it if it is encrypted.

    Raises:
        KeySetError: the file is not a key file; it is protected in another way than by the given passphrase or key,
            or not at all; or the passphrase, the outer key or the file is wrong.
    """
    outside = _object(contents)
    if outside.get("format") != FORMAT:
        if passphrase is not None or outer is not None:
            raise KeySetError("the key file is not encrypted, although a passphrase or outer key is given for it")
        return outside
    try:
        head = {name: outside[name] for name in ("format", "version", "wrapping")}
        key = _wrapping_key(head["wrapping"], passphrase, outer)
        sealed = b64_decode(outside["ciphertext"])
        return _object(AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], canonical(head)))
    except InvalidTag:
        raise KeySetError("the passphrase or outer key is wrong, or the key file was changed") from None
    except (AttributeError, KeyError, TypeError, ValueError):
        raise KeySetError("the encrypted key file is damaged") from None


def _object(contents: bytes) -> dict[str, Any]:
    try:
        value = _json.loads(contents)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        # The error is neither chained nor quoted: the contents are secret.
        raise KeySetError("the key file is not a JSON object")
    return value


def _wrapping_key(wrapping: dict[str, Any], passphrase: str | bytes | None, outer: bytes | None) -> bytes:
    salt = b64_decode(wrapping["salt"])
    if wrapping["by"] == "scrypt":
        if not passphrase or outer is not None:
            raise KeySetError("the key file is encrypted with a passphrase: give that, and no outer key")
        return ScryptCost(n=wrapping["n"], r=wrapping["r"], p=wrapping["p"]).key(passphrase, salt)
    if wrapping["by"] != "outer key" or outer is None or passphrase is not None:
        raise KeySetError("the key file is encrypted with an outer key: give that, and no passphrase")
    if len(outer) != 32:
        raise KeySetError("an outer key must have 32 bytes")
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=b"tornado_couch outer key").derive(outer)


def read_private(path: str | os.PathLike[str]) -> bytes:
    """Read a file that only its owner can read: this process's user, or root.

    Raises:
        KeySetError: it is missing, cannot be read, is not a regular file, is larger than 1 MiB, belongs to another
            user, or its mode lets the group or others access it.
    """
    name = os.fsdecode(path)
    try:
        # So that opening a pipe does not wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            _check_private(os.fstat(descriptor), name)
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                contents = file.read(_MAX_SIZE + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise KeySetError(f"the key file {name} is missing") from None
    except OSError as error:
        raise KeySetError(f"the key file {name} cannot be read: {error.strerror}") from None
    if len(contents) > _MAX_SIZE:
        raise KeySetError(f"the key file {name} is larger than 1 MiB")
    return contents


def _check_private(found: os.stat_result, name: str) -> None:
    """Check the file that is open, so that another one cannot take its place before it is read."""
    if not stat.S_ISREG(found.st_mode):
        raise KeySetError(f"the key file {name} is not a regular file")
    if found.st_uid not in (os.geteuid(), 0):
        raise KeySetError(f"the key file {name} belongs to another user, who could replace its keys: run chown on it")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise KeySetError(f"the key file {name} is accessible to group or others: run chmod 600 on it")


def write_private(path: str | os.PathLike[str], contents: bytes) -> None:
    """Write a file with mode 0600: a reader finds either the old contents or the new, even after a crash.

    Raises:
        KeySetError: the file cannot be written.
    """
    target = Path(path)
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(contents)
                file.flush()
                os.fsync(descriptor)
            Path(temporary).replace(target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        _sync_directory(target.parent)
    except OSError as error:
        raise KeySetError(f"the key file {target} cannot be written: {error.strerror}") from None


def _sync_directory(path: Path) -> None:
    """Make a rename permanent: until the directory is on disk, a crash can bring the old file back."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
