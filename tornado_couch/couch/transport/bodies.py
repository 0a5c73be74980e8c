"""`Related`: a document and its files as one body (multipart/related), which is sent piece by piece.

Which files follow the document is said in its `_attachments`, by entries that are `Following`.
https://docs.couchdb.org/en/stable/api/document/attachments.html#creating-multiple-attachments
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from ... import _json

__all__ = ["Contents", "Following", "Related", "Stub", "is_related"]


class Contents(Protocol):
    """Bytes that can be read as often as they are needed.

    Attributes:
        length: how many there are.
    """

    length: int

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes in parts."""
        ...


class Following(dict[str, Any]):
    """An entry of `_attachments` whose bytes are sent after the document.

    Args:
        entry: what the document says of the file; `digest` is that of the bytes as they are sent.
        contents: the bytes.
        sha256: of the bytes as they are read, which are others where they are sent compressed.
    """

    def __init__(self, entry: Mapping[str, Any], contents: Contents, sha256: bytes) -> None:
        super().__init__({**entry, "follows": True})
        self.contents = contents
        self.sha256 = sha256

    def stub(self, generation: int) -> Stub:
        """What a read returns once the document has been written at this generation."""
        kept = {name: self[name] for name in ("content_type", "digest", "length")}
        revpos = self.get("revpos", generation)
        found = Stub({"content_type": kept.pop("content_type"), "revpos": revpos, **kept, "stub": True})
        found.sha256 = self.sha256
        return found


class Stub(dict[str, Any]):
    """An entry of `_attachments` for bytes that were sent, which equals what a read returns.

    Attributes:
        sha256: of the bytes; no read returns it.
    """

    sha256: bytes


def is_related(document: Mapping[str, Any]) -> bool:
    """Whether a document is sent together with files."""
    return any(isinstance(each, Following) for each in (document.get("_attachments") or {}).values())


class Related:
    """The body of a request that writes a document together with its files.

    Args:
        document: the document.

    Attributes:
        content_type: for the header of the request.
        length: of the body, in bytes.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f'multipart/related; boundary="{boundary}"'
        self._mark = f"\r\n--{boundary}".encode()
        text = _json.dumps(document)
        self._head = f"--{boundary}\r\nContent-Type: application/json\r\n\r\n".encode() + text
        self._files = [each.contents for each in document["_attachments"].values() if isinstance(each, Following)]
        marks = len(self._files) * len(self._mark + _BLANK) + len(self._mark + _END)
        self.length = len(self._head) + marks + sum(each.length for each in self._files)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body in parts."""
        yield self._head
        for each in self._files:
            yield self._mark + _BLANK
            async for part in each.chunks():
                yield part
        yield self._mark + _END


_BLANK, _END = b"\r\n\r\n", b"--"
