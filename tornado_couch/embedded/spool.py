"""`Spool`: a buffer that keeps few bytes in memory and many in a temporary file, which ends with the object."""

from __future__ import annotations

import io
import tempfile
from typing import IO

__all__ = ["Spool"]

_IN_MEMORY = 1024 * 1024


class Spool:
    """Stores bytes that can be read again.

    Args:
        data: the first bytes; reading starts at their beginning.
    """

    def __init__(self, data: bytes = b"") -> None:
        self._file: IO[bytes] = io.BytesIO()
        self._size = 0
        if data:
            self.write(data)
            self.rewind()

    def write(self, data: bytes) -> None:
        """Append bytes at the end."""
        self._size += len(data)
        if self._size > _IN_MEMORY and isinstance(self._file, io.BytesIO):
            file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  it is closed with the object
            file.write(self._file.getbuffer())
            self._file = file
        self._file.write(data)

    def rewind(self) -> None:
        """Read from the beginning."""
        self._file.seek(0)

    def read(self, size: int) -> bytes:
        """Read the next bytes; empty at the end."""
        return self._file.read(size)

    def __del__(self) -> None:
        file = getattr(self, "_file", None)
        if file is not None:
            file.close()
