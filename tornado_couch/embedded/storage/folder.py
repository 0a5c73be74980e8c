"""The folder of a server's data: who may use it, and the server's own identity in it."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import uuid
from pathlib import Path
from typing import Any

from tornado_couch.errors import TornadoCouchError

__all__ = ["DataFolder", "DataFolderError"]

_FORMAT = 1
_IDENTITY = "server.json"
_EXPECTED = {_IDENTITY, "databases", "lost+found"}  # the last one is a file system's own


class DataFolderError(TornadoCouchError):
    """A folder cannot be used for a server's data; the message begins with its path."""


class DataFolder:
    """The identity of a server, kept in its folder, which no other server can use meanwhile.

    Args:
        path: the folder, created if it is missing; None to keep nothing.

    Attributes:
        uuid: the server's.
        secret: the key of its cookies.

    Raises:
        DataFolderError: the folder cannot be written, is not such a folder, or is in use.
    """

    def __init__(self, path: Path | None) -> None:
        self._descriptor: int | None = None
        made: dict[str, Any] = {"uuid": uuid.uuid4().hex, "secret": secrets.token_hex(32), "format": _FORMAT}
        if path is not None:
            try:
                made = self._opened(path, made)
            except OSError as error:
                self.close()
                raise DataFolderError(f"{path} cannot be written: {error.strerror}") from None
            except DataFolderError:
                self.close()
                raise
        self.uuid = str(made["uuid"])
        self.secret = bytes.fromhex(made["secret"])

    def close(self) -> None:
        """Let others use the folder."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _opened(self, path: Path, made: dict[str, Any]) -> dict[str, Any]:
        """Lock the folder; return the identity in it, or write the new one."""
        if path.exists() and not path.is_dir():
            raise DataFolderError(f"{path} is not a folder")
        path.mkdir(parents=True, exist_ok=True)
        others = sorted({each.name for each in path.iterdir()} - _EXPECTED)
        if others and not (path / _IDENTITY).exists():
            raise DataFolderError(f"{path} contains other files, such as {others[0]}")
        # The file is locked and not a second one beside it: the lock ends with the process, however that ends.
        self._descriptor = os.open(path / _IDENTITY, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataFolderError(f"{path} is in use by another server") from None
        (path / "databases").mkdir(exist_ok=True)
        text = (path / _IDENTITY).read_bytes()
        if text:
            return _checked(path, text)
        os.write(self._descriptor, json.dumps(made).encode())
        return made


def _checked(path: Path, text: bytes) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(text)
        known = found.get("format", 1) == _FORMAT
        bytes.fromhex(found["secret"] + found["uuid"])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataFolderError(f"{path} contains a {_IDENTITY} that is not of this server") from None
    if not known:
        raise DataFolderError(f"{path} was written by another version of tornado_couch")
    return found
