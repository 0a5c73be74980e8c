"""Splits a stream that arrives in chunks into lines: NDJSON, plain or gzip-coded; pure."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

__all__ = ["BrokenStream", "Line", "LineReader"]

_PIECE = 64 * 1024  # bytes unpacked at a time, whatever the size of a chunk

_MEMBER = 64  # bytes of white space that the beginning of a gzip member counts as, since it takes as much time

_CONTENT = re.compile(rb"[^ \t\r\n]")

Line = tuple[int, "bytes | None"]
"""A line's number, from 1, and its text; None if it is too long."""


class BrokenStream(Exception):
    """The stream is not valid gzip, incomplete, or mostly white space."""


class LineReader:
    """Splits chunks into lines, keeping no more than one line and one piece of a chunk in memory.

    Lines end with a line feed; a carriage return before it belongs to the ending. Empty lines are counted
    but not returned.

    Args:
        longest: the largest number of bytes in a line.
        gzip: whether the chunks are gzip-coded (RFC 1952), with one member or more.
    """

    def __init__(self, longest: int, *, gzip: bool = False) -> None:
        self._longest = longest
        self._unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS) if gzip else None
        self._rest = bytearray()
        self._too_long = False
        self._number = 0
        self._begun = False  # a line whose first character has come
        self._blank = 0  # bytes of white space since the latest line

    def feed(self, chunk: bytes) -> Iterator[Line]:
        """Yield the lines that end in this chunk; consume them all before the next chunk.

        Raises:
            BrokenStream: the chunk is not valid gzip, or contains too much white space outside of lines.
        """
        for piece in self._unpacked(chunk):
            yield from self._split(piece)

    def end(self) -> Iterator[Line]:
        """Yield the last line, if the stream does not end with a line feed.

        Raises:
            BrokenStream: the gzip stream is incomplete.
        """
        if self._unpacker is not None and not self._unpacker.eof:
            raise BrokenStream("The gzip body is incomplete.")
        if self._begun:
            yield self._line()

    def _split(self, piece: bytes) -> Iterator[Line]:
        """Yield the lines that end in a piece. White space between them is skipped by one search, not line by line."""
        place = 0
        while place < len(piece):
            if not self._begun:
                found = _CONTENT.search(piece, place)
                first = len(piece) if found is None else found.start()
                self._skip(piece, place, first)
                if found is None:
                    return
                place, self._begun = first, True
            end = piece.find(b"\n", place)
            self._keep(piece[place : len(piece) if end < 0 else end])
            if end < 0:
                return
            yield self._line()
            place = end + 1

    def _skip(self, piece: bytes, place: int, end: int) -> None:
        self._number += piece.count(b"\n", place, end)
        self._blank += end - place
        if self._blank > self._longest:
            raise BrokenStream("The body contains too much white space between the lines.")

    def _keep(self, part: bytes) -> None:
        if len(self._rest) + len(part) > self._longest + 1:  # one more for a carriage return
            self._too_long = True
            self._rest.clear()
        elif not self._too_long:
            self._rest += part

    def _line(self) -> Line:
        text = bytes(self._rest).removesuffix(b"\r")
        too_long = self._too_long or len(text) > self._longest
        self._rest.clear()
        self._too_long = self._begun = False
        self._blank = 0
        self._number += 1
        return self._number, None if too_long else text

    def _unpacked(self, chunk: bytes) -> Iterator[bytes]:
        if self._unpacker is None:
            yield chunk
            return
        piece = b""
        # Output that did not fit can still be waiting, even if all of the input is used up.
        while chunk or len(piece) == _PIECE:
            if self._unpacker.eof:  # another member follows
                self._unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
                self._blank += _MEMBER
                if self._blank > self._longest:
                    raise BrokenStream("The gzip body consists of too many short members.")
            try:
                piece = self._unpacker.decompress(chunk, _PIECE)
            except zlib.error:
                raise BrokenStream("The body is not valid gzip.") from None
            yield piece
            if self._unpacker.eof:
                piece = b""
            chunk = self._unpacker.unconsumed_tail or self._unpacker.unused_data
