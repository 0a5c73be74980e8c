"""Writes key sets: a directory of mode 0700 with files of mode 0600, each replaced completely or not at all."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...errors import KeySetError
from .metadata import KeyMetadata

__all__ = ["FileWriter"]


class FileWriter:
    """Writes a key set to a directory.

    Args:
        location: the directory.
    """

    def __init__(self, location: str | os.PathLike[str]) -> None:
        self._location = Path(location)

    def make_directory(self) -> None:
        """Create the directory for its owner only, unless it exists."""
        with self._reported():
            self._location.mkdir(mode=0o700, parents=True, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold a lock on the key set, so that nobody else changes it at the same time."""
        with self._reported():
            descriptor = os.open(self._location, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def refuse_existing(self) -> None:
        """Refuse to overwrite a key set.

        Raises:
            KeySetError: the directory contains one already.
        """
        with self._reported():
            there = (self._location / "meta").exists()
        if there:
            raise KeySetError(f"{self._location} already contains a key set")

    def write_metadata(self, metadata: KeyMetadata) -> None:
        """Write `meta`: after the keys that it names, and before the removal of keys that it no longer names."""
        self._write("meta", str(metadata))

    def write_key(self, version_number: int, text: str) -> None:
        """Write a version's key file: the key's text, in clear or encrypted."""
        self._write(str(version_number), text)

    def remove(self, version_number: int) -> None:
        """Remove a version's key file, unless it is gone already."""
        with self._reported():
            (self._location / str(version_number)).unlink(missing_ok=True)
            self._sync_directory()

    def _write(self, name: str, text: str) -> None:
        """Write to a new file and rename it, so that a reader sees all of the old contents or all of the new."""
        beside = self._location / f".{name}.{secrets.token_hex(8)}"
        with self._reported():
            try:
                # The file is created with this mode, so that at no moment others could open it.
                descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(text.encode("utf-8"))
                    file.flush()
                    os.fsync(descriptor)
                beside.replace(self._location / name)
                self._sync_directory()
            finally:
                with suppress(FileNotFoundError):
                    beside.unlink()

    def _sync_directory(self) -> None:
        descriptor = os.open(self._location, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise KeySetError(f"the key set {self._location} cannot be written: {error.strerror}") from None
