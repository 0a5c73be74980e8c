"""Reads key sets. The methods keep python-keyczar's names, so that existing readers still fit."""

# ruff: noqa: N802 - python-keyczar's names

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Protocol

from ...errors import DecryptionFailed, KeySetError
from .key import Key
from .keyinfo import PRIMARY, KeyPurpose
from .keys import key_text
from .metadata import KeyMetadata, KeyVersion

__all__ = ["Decrypter", "EncryptedReader", "FileReader", "Reader", "StaticKeyReader"]

_OTHERS_READ = stat.S_IROTH
_OTHERS_WRITE = stat.S_IWOTH
_GROUP_WRITES = stat.S_IWGRP
_MOST = 1 << 20  # bytes; the largest key file, that of an RSA key of 4096 bits, has 4 KB


class Reader(Protocol):
    """Reads one key set."""

    def GetMetadata(self) -> str:
        """The text of its `meta`."""

    def GetKey(self, version_number: int, /) -> str:
        """The text of a version's key file."""


class Decrypter(Protocol):
    """Decrypts an encrypted key set: a `Crypter`, or any object like it."""

    def Decrypt(self, ciphertext: str, /) -> str | bytes:
        """Decrypt an output."""


class FileReader:
    """Reads a key set from a directory. Key files are secret: one that others can read or write is refused."""

    def __init__(self, location: str | os.PathLike[str]) -> None:
        self._location = Path(location)
        self._forbidden: int | None = None

    def __repr__(self) -> str:
        return f"FileReader({str(self._location)!r})"

    def GetMetadata(self) -> str:
        """The text of its `meta`.

        Raises:
            KeySetError: the directory or the file is missing, cannot be read, or can be written by others.
        """
        _check_directory(self._location)
        text = _read(self._location / "meta", _OTHERS_WRITE | _GROUP_WRITES)
        # Public keys may be read by everyone, but somebody who can replace them can forge signatures.
        readable = _parsed(self._location, text).type.is_public
        self._forbidden = _OTHERS_WRITE | _GROUP_WRITES | (0 if readable else _OTHERS_READ)
        return text

    def GetKey(self, version_number: int) -> str:
        """The text of a version's key file.

        Raises:
            KeySetError: the file is missing, cannot be read, or can be read or written by others.
        """
        if self._forbidden is None:
            self.GetMetadata()
        return _read(self._location / str(version_number), self._forbidden or 0)


class StaticKeyReader:
    """A key set with one key, in memory."""

    def __init__(self, key: Key, purpose: KeyPurpose) -> None:
        self._key = key
        self._metadata = KeyMetadata("Imported", purpose, key.type, versions=(KeyVersion(1, PRIMARY),))

    def GetMetadata(self) -> str:
        """The text of its `meta`."""
        return str(self._metadata)

    def GetKey(self, _version_number: int) -> str:
        """The key's text."""
        return key_text(self._key)


class EncryptedReader:
    """Reads a key set whose key files are encrypted with another one.

    Args:
        reader: reads the encrypted files.
        crypter: the `Crypter` of the other key set.
    """

    def __init__(self, reader: Reader, crypter: Decrypter) -> None:
        self._reader = reader
        self._crypter = crypter

    def __repr__(self) -> str:
        return f"EncryptedReader({self._reader!r})"

    def GetMetadata(self) -> str:
        """The text of its `meta`, which is never encrypted."""
        return self._reader.GetMetadata()

    def GetKey(self, version_number: int) -> str:
        """The text of a version's key file, decrypted.

        Raises:
            KeySetError: the other key set cannot decrypt it.
        """
        # An editor, or Java, may have left a line break at the end.
        ciphertext = self._reader.GetKey(version_number).strip()
        try:
            text = self._crypter.Decrypt(ciphertext)
        except DecryptionFailed:
            text = None
        if text is None:
            raise KeySetError(f"the key file of version {version_number} is not encrypted with the given key set")
        return text if isinstance(text, str) else text.decode("utf-8", "replace")


def _parsed(location: Path, text: str) -> KeyMetadata:
    try:
        return KeyMetadata.parse(text)
    except KeySetError as error:
        reason = str(error)
    raise KeySetError(f"the meta file of the key set {location} is not valid: {reason}")


def _check_directory(path: Path) -> None:
    """Check owner and mode of the directory: somebody who can write to it can replace the keys."""
    try:
        found = path.stat()
    except OSError as error:
        raise KeySetError(f"the key set {path} cannot be read: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise KeySetError(f"the key set {path} is not a directory")
    _check_owner(f"the key set {path}", found)
    if found.st_mode & _OTHERS_WRITE:
        raise KeySetError(f"the key set {path} can be changed by others than its owner: run chmod go-w on it")


def _check_owner(name: str, found: os.stat_result) -> None:
    if found.st_uid not in (os.geteuid(), 0):
        raise KeySetError(f"{name} belongs to another user, who could replace its keys: run chown on it")


def _read(path: Path, forbidden: int) -> str:
    """Read a file. Its mode is checked after it was opened, so it cannot be swapped in between."""
    try:
        # Without O_NONBLOCK, opening a named pipe would block.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            _check_file(path, os.fstat(descriptor), forbidden)
            text = file.read(_MOST + 1)
    except OSError as error:
        raise KeySetError(f"the key file {path} cannot be read: {error.strerror}") from None
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        pass  # its exception contains the file's bytes
    raise KeySetError(f"the key file {path} is not UTF-8")


def _check_file(path: Path, found: os.stat_result, forbidden: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise KeySetError(f"the key file {path} is not a regular file")
    _check_owner(f"the key file {path}", found)
    if found.st_mode & forbidden & _OTHERS_READ:
        raise KeySetError(f"the key file {path} can be read by others: run chmod 600 on it and replace its keys")
    if found.st_mode & forbidden:
        raise KeySetError(f"the key file {path} can be changed by others than its owner: run chmod go-w on it")
    if found.st_size > _MOST:
        raise KeySetError(f"the key file {path} is too large")
