"""`AttachmentReader`: a file that is open for reading, or a range of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ...models import Attachment

__all__ = ["AttachmentReader"]


class AttachmentReader:
    """The bytes of a file, as they arrive.

        async with store.open_attachment(order, "invoice") as file:
            async for part in file:
                ...

    Attributes:
        attachment: what the file is: its type, length, digest.
        start: the first byte that is read.
        stop: the byte before which reading stops.
    """

    def __init__(self, attachment: Attachment, start: int, stop: int, parts: AsyncIterator[bytes]) -> None:
        self.attachment = attachment
        self.start = start
        self.stop = stop
        self._parts = parts

    def __aiter__(self) -> AsyncIterator[bytes]:
        """The bytes in parts, none of them longer than 256 KiB.

        Raises:
            InvalidSignature: the file is not the one that was signed. Of a file that is read from end to end, the last
                part is held back until all of it was verified; a range is verified if the file is encrypted.
            DecryptionFailed: an encrypted file was changed.
            AttachmentNotFound: the file was replaced or deleted since the model was read.
        """
        return self._parts

    async def read(self) -> bytes:
        """All of the bytes; for small files.

        Raises:
            InvalidSignature, DecryptionFailed, AttachmentNotFound: as above.
        """
        return b"".join([part async for part in self._parts])
