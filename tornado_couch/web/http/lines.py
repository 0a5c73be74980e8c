"""Lines of a stream that comes in chunks: NDJSON, plain or gzip-coded; pure."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

__all__ = ["NDJSON", "BrokenStream", "Line", "LineReader"]

NDJSON = "application/x-ndjson"

_PIECE = 64 * 1024  # bytes unpacked at a time, whatever a chunk holds

Line = tuple[int, "bytes | None"]
"""A line's number, from 1, and its text; None where it is too long."""


class BrokenStream(Exception):
    """The content coding is broken or cut off."""


class LineReader:
    """Cuts chunks into lines, holding no more than one line and one piece of a chunk.

    Lines end with a line feed; a carriage return before it belongs to the ending. Empty lines count
    but do not come out.

    Args:
        longest: bytes that a line may have.
        gzip: the chunks are gzip-coded (RFC 1952), of one member or more.
    """

    def __init__(self, longest: int, *, gzip: bool = False) -> None:
        self._longest = longest
        self._unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS) if gzip else None
        self._rest = bytearray()
        self._too_long = False
        self._number = 0

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """The lines that end in this chunk; take them all before the next.

        Raises:
            BrokenStream: the coding is broken.
        """
        for piece in self._unpacked(chunk):
            *ends, rest = piece.split(b"\n")
            for end in ends:
                self._keep(end)
                yield from self._line()
            self._keep(rest)

    def end(self) -> Iterator[Line]:
        """The last line, where the stream does not end with a line feed.

        Raises:
            BrokenStream: the coding is cut off.
        """
        if self._unpacker is not None and not self._unpacker.eof:
            raise BrokenStream("The gzip body is cut off.")
        yield from self._line()

    def _keep(self, part: bytes) -> None:
        if len(self._rest) + len(part) > self._longest + 1:  # one more for a carriage return
            self._too_long = True
            self._rest.clear()
        elif not self._too_long:
            self._rest += part

    def _line(self) -> Iterator[Line]:
        text = bytes(self._rest).removesuffix(b"\r")
        too_long = self._too_long or len(text) > self._longest
        self._rest.clear()
        self._too_long = False
        self._number += 1
        if too_long:
            yield self._number, None
        elif text.strip():
            yield self._number, text

    def _unpacked(self, chunk: bytes) -> Iterator[bytes]:
        if self._unpacker is None:
            yield chunk
            return
        piece = b""
        # Output that did not fit can be waiting though all of the input is used up.
        while chunk or len(piece) == _PIECE:
            if self._unpacker.eof:  # another member follows
                self._unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
            try:
                piece = self._unpacker.decompress(chunk, _PIECE)
            except zlib.error:
                raise BrokenStream("The body is not valid gzip.") from None
            yield piece
            if self._unpacker.eof:
                piece = b""
            chunk = self._unpacker.unconsumed_tail or self._unpacker.unused_data
