"""Requests as bytes: `HeadParser` reads what comes before a body, `FixedBody` and `ChunkedBody` what follows.

llhttp, by way of `httptools`, reads the fields. The request line and the framing of bodies are read here, because
llhttp is more lenient there than a server can be that stands behind a proxy.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

from tornado.httputil import HTTPHeaders, HTTPInputError, RequestStartLine

try:
    import httptools
except ImportError:  # an extra; `Server` says how to install it
    httptools = None  # type: ignore[assignment]

__all__ = ["ChunkedBody", "FixedBody", "Head", "HeadParser", "Refusal", "httptools"]

Buffer = bytes | bytearray

# RFC 9112 §3, as strictly as Tornado reads it: one space between the parts, no control characters.
_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])")
# RFC 9112 §3.2.2: a target in absolute form; it has no part for a user (RFC 9110 §4.2.4).
_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#@]+)(.*)")
# The parser gets this in place of the request's own line, so that every method and every target is possible.
_ANY_LINE = b"GET / HTTP/1.1\r\n"
# After one of these, llhttp expects something else than the next request.
_OF_CONSEQUENCE = frozenset(("Connection", "Content-Length", "Transfer-Encoding", "Upgrade"))
_CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,16}")
_CHUNK_LINE_BYTES = 64
_CHUNKS_AT_ONCE = 256


class Refusal(HTTPInputError):
    """A request that the server answers itself.

    Attributes:
        status: the status of the answer.
        start_line: the request line, if it could be read.
    """

    def __init__(self, status: int, detail: str, start_line: RequestStartLine | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.start_line = start_line


class Head(NamedTuple):
    """What comes before a request's body.

    Attributes:
        start_line: method, target and version.
        headers: the fields.
        length: the bytes of the body; -1 if it is chunked.
        keep_alive: whether the connection may go on after the answer.
        expects: whether the client waits for "100 Continue" before it sends the body.
    """

    start_line: RequestStartLine
    headers: HTTPHeaders
    length: int
    keep_alive: bool
    expects: bool


@lru_cache(1000)
def _name(raw: bytes) -> str:
    """Return a field's name as `HTTPHeaders` spells it."""
    return "-".join([word.capitalize() for word in raw.decode("latin-1").split("-")])


class HeadParser:
    """Reads heads, each of which is complete; one parser serves all connections of an event loop.

    Args:
        most_fields: how many fields a head may have.
    """

    def __init__(self, most_fields: int) -> None:
        self._most = most_fields
        self._fields: dict[str, str] = {}
        self._repeated: list[tuple[str, str]] = []
        self._parser: Any = None

    def on_header(self, raw_name: bytes, raw_value: bytes) -> None:
        """Take a field; the parser calls this."""
        name, value = _name(raw_name), raw_value.decode("latin-1").strip(" \t")
        if name in self._fields:
            self._repeated.append((name, value))
        else:
            self._fields[name] = value

    def parse(self, data: Buffer, end: int) -> Head:
        """Return the head that bytes begin with.

        Args:
            data: the bytes.
            end: where the head ends, behind the first empty line.

        Raises:
            Refusal: the head is not valid, or how long the body is would be in doubt.
        """
        line_end = data.find(b"\r\n")
        found = _LINE.fullmatch(data, 0, line_end)
        if found is None:
            raise Refusal(400, "Malformed HTTP request line")
        method, target, minor = found.groups()
        version = "HTTP/1.1" if minor == b"1" else "HTTP/1.0"
        host = b""
        if target[:1] != b"/" and (absolute := _ABSOLUTE.fullmatch(target)) is not None:
            host, target = absolute.groups()
            target = target if target[:1] == b"/" else b"/" + target
        start_line = RequestStartLine(method.decode("latin-1"), target.decode("latin-1"), version)
        fields = self._parse_fields(data[line_end + 2 : end], start_line)
        if host and ("Host" in fields or version == "HTTP/1.0"):
            fields["Host"] = host.decode("latin-1")  # what the target says counts, and not what the field says
        headers = HTTPHeaders(fields)
        for name, value in self._repeated:
            headers.add(name, value)
        connection = headers["Connection"] if "Connection" in fields else ""
        return Head(
            start_line,
            headers,
            _body_length(fields, start_line),
            _is_kept_alive(connection, version) if connection else version == "HTTP/1.1",
            "Expect" in fields and version == "HTTP/1.1" and fields["Expect"].lower() == "100-continue",
        )

    def _parse_fields(self, data: Buffer, start_line: RequestStartLine) -> dict[str, str]:
        parser, self._parser = self._parser, None  # it is of no use after an exception
        fields = self._fields = {}
        self._repeated = []
        try:
            if parser is None:
                parser = httptools.HttpRequestParser(self)
            parser.feed_data(_ANY_LINE + data)
        except httptools.HttpParserUpgrade:
            pass
        except httptools.HttpParserError as error:
            raise Refusal(400, str(error), start_line) from None
        if len(fields) + len(self._repeated) > self._most:
            raise Refusal(431, f"more than {self._most} fields", start_line)
        if _OF_CONSEQUENCE.isdisjoint(fields) and not self._repeated:
            self._parser = parser  # it has read a whole request, and is ready for the next
        return fields


def _is_kept_alive(connection: str, version: str) -> bool:
    options = [each.strip() for each in connection.lower().split(",")]
    return "close" not in options and (version == "HTTP/1.1" or "keep-alive" in options)


def _body_length(fields: dict[str, str], start_line: RequestStartLine) -> int:
    """Return the bytes of the body, or -1 if it is chunked; the parser has refused whatever is not a number."""
    coding = fields.get("Transfer-Encoding")
    if coding is not None:
        # RFC 9112 §6.1: a coding in HTTP/1.0 is faulty framing.
        if coding.lower() != "chunked" or "Content-Length" in fields or start_line.version != "HTTP/1.1":
            raise Refusal(400, "the length of the body is in doubt", start_line)
        return -1
    length = fields.get("Content-Length")
    return 0 if length is None else int(length)


class FixedBody:
    """A body whose length is known.

    Attributes:
        total: its length in bytes, so far as it is known.
        done: whether it is at its end.
    """

    __slots__ = ("_left", "done", "total")

    def __init__(self, length: int) -> None:
        self._left = self.total = length
        self.done = False

    def take(self, data: Buffer, most: int) -> tuple[bytes, int]:
        """Return the next part of the body, of at most so many bytes, and how many bytes of the data it took."""
        part = bytes(data[: min(self._left, most)])
        self._left -= len(part)
        self.done = self._left == 0
        return part, len(part)


class ChunkedBody:
    """A body in chunks; like Tornado, it takes neither extensions of chunks nor trailers.

    Attributes:
        total: the bytes of its content, so far as they are announced.
        done: whether it is at its end.
    """

    __slots__ = ("_ended", "_left", "done", "total")

    def __init__(self) -> None:
        self.total = 0
        self.done = False
        self._left = 0  # bytes of this chunk
        self._ended = True  # whether the line break behind the last chunk has come

    def take(self, data: Buffer, most: int) -> tuple[bytes, int]:
        """Return the next part of the body and how many bytes it took; see `FixedBody.take`.

        Raises:
            Refusal: the body is not valid.
        """
        parts: list[Buffer] = []
        at, room = 0, most
        for _ in range(_CHUNKS_AT_ONCE):
            if self._left:
                part = data[at : at + min(self._left, room)]
                parts.append(part)
                at += len(part)
                room -= len(part)
                self._left -= len(part)
                if self._left or not room:
                    break
            next_at = self._next_chunk(data, at)
            if next_at == at:
                break
            at = next_at
            if self.done:
                break
        return b"".join(parts), at

    def _next_chunk(self, data: Buffer, at: int) -> int:
        """Read on to the content of the next chunk; return where it begins, or `at` if too little has arrived."""
        start = at
        if not self._ended:
            start += 2
            if len(data) < start:
                return at
            if data[at:start] != b"\r\n":
                raise Refusal(400, "improperly terminated chunk")
        end = data.find(b"\r\n", start, start + _CHUNK_LINE_BYTES)
        if end < 0:
            if len(data) - start >= _CHUNK_LINE_BYTES or not _CHUNK_SIZE.fullmatch(data[start:].rstrip(b"\r") or b"0"):
                raise Refusal(400, "invalid chunk size")
            return at
        size = data[start:end]
        if not _CHUNK_SIZE.fullmatch(size):
            raise Refusal(400, "invalid chunk size")
        length = int(size, 16)
        if length == 0:
            return self._end(data, at, end + 2)
        self._ended = False
        self._left = length
        self.total += length
        return end + 2

    def _end(self, data: Buffer, at: int, last: int) -> int:
        rest = bytes(data[last : last + 2])
        if not b"\r\n".startswith(rest):
            raise Refusal(400, "improperly terminated chunked request")
        self.done = rest == b"\r\n"
        return last + 2 if self.done else at
