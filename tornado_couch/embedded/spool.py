"""Bytes of unknown number: in memory while they are few, else in a temporary file that is gone with the object."""

from __future__ import annotations

import io
import tempfile
from typing import IO

__all__ = ["Spool"]

_IN_MEMORY = 1024 * 1024


class Spool:
    """A place to write bytes and read them again.

    Args:
        data: what to begin with; reading starts at its beginning.
    """

    def __init__(self, data: bytes = b"") -> None:
        self._file: IO[bytes] = io.BytesIO()
        self._size = 0
        if data:
            self.write(data)
            self.rewind()

    def write(self, data: bytes) -> None:
        """Add bytes at the end."""
        self._size += len(data)
        if self._size > _IN_MEMORY and isinstance(self._file, io.BytesIO):
            file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed with the object
            file.write(self._file.getbuffer())
            self._file = file
        self._file.write(data)

    def rewind(self) -> None:
        """Read from the beginning."""
        self._file.seek(0)

    def read(self, size: int) -> bytes:
        """The next bytes; none at the end."""
        return self._file.read(size)

    def __del__(self) -> None:
        file = getattr(self, "_file", None)
        if file is not None:
            file.close()
