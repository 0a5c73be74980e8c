"""`Exchange`: one request and its answer, as Tornado's `HTTPConnection`; `Peer`: where the request comes from."""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from tornado.escape import native_str
from tornado.http1connection import parse_int
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPInputError,
    HTTPMessageDelegate,
    HTTPOutputError,
    RequestStartLine,
    ResponseStartLine,
)
from tornado.netutil import is_valid_ip
from tornado.util import GzipDecompressor

from .. import _json
from .messages import Head, Refusal
from .stream import Stream

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Exchange", "Limits", "Peer", "Unpacked", "refusal_answer"]

_TITLES = {400: "Bad Request", 413: "Content Too Large", 431: "Request Header Fields Too Large"}
_DETAILS = {
    400: "The request is not valid HTTP.",
    413: "The body is longer than the server accepts.",
    431: "The request has more or longer header fields than the server accepts.",
}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the server allows a client.

    Attributes:
        head_bytes: the size of a request's line and fields together.
        body_bytes: the size of a body; a handler can set another one for its request.
        head_seconds: how long a connection may be idle, and how long the head of a request may take.
        body_seconds: how long a body may take; a handler can set another time for its request.
        part_bytes: the size of the parts in which a handler gets a body.
        stream_bytes: how much a detached stream may hold.
    """

    head_bytes: int
    body_bytes: int
    head_seconds: float
    body_seconds: float | None
    part_bytes: int
    stream_bytes: int


class Peer:
    """The other end of a connection; `context` of a Tornado connection.

    Attributes:
        address: its address, as the socket has it.
        address_family: the kind of the address.
        remote_ip: the client's address, which a proxy may have told.
        protocol: "http" or "https", likewise.
    """

    def __init__(self, address: Any, family: int | None, protocol: str) -> None:
        self.address = address
        self.address_family = family
        is_ip = family in (socket.AF_INET, socket.AF_INET6) and bool(address)
        self.remote_ip = self._own_ip = str(address[0]) if is_ip else "0.0.0.0"  # noqa: S104 - as Tornado says it
        self.protocol = self._own_protocol = protocol

    def __str__(self) -> str:
        if self.address_family in (socket.AF_INET, socket.AF_INET6):
            return self._own_ip
        return native_str(self.address) if isinstance(self.address, bytes) else str(self.address)

    def believe(self, headers: HTTPHeaders, downstream: frozenset[str]) -> None:
        """Take the client's address and protocol from the fields of a proxy, as Tornado does."""
        listed = [each.strip() for each in headers.get("X-Forwarded-For", self._own_ip).split(",")]
        address = next((each for each in reversed(listed) if each not in downstream), listed[0])
        address = headers.get("X-Real-Ip", address)
        self.remote_ip = address if is_valid_ip(address) else self._own_ip
        protocol = headers.get("X-Scheme", headers.get("X-Forwarded-Proto", "")).rpartition(",")[2].strip()
        self.protocol = protocol if protocol in ("http", "https") else self._own_protocol


class Exchange(HTTPConnection):
    """A request, and where its answer is written to.

    Attributes:
        head: what came before the request's body.
        stream: the connection as a stream.
        context: the other end of the connection.
        max_body_size: the bytes that its body may have.
        body_timeout: the seconds that its body may take.
        is_seen: whether the application has seen it.
        is_read: whether the request has come to its end.
        is_begun: whether its answer has begun.
        is_finished: whether its answer is at its end.
        is_last: whether the connection is closed after it.
        refused: the status that the server answered itself.
    """

    is_seen = is_read = is_begun = is_finished = False
    refused: int | None = None
    _is_chunked = False
    _left: int | None = None
    _close_callback: Callable[[], None] | None = None

    def __init__(self, connection: Connection, head: Head, limits: Limits) -> None:
        self._connection = connection
        self.head = head
        self.stream = connection.stream
        self.context = connection.peer
        self.max_body_size = limits.body_bytes
        self.body_timeout = limits.body_seconds
        self.is_last = not head.keep_alive

    def set_close_callback(self, callback: Callable[[], None] | None) -> None:
        """Call a function when the client leaves before it is answered."""
        self._close_callback = callback

    def take_close_callback(self) -> Callable[[], None] | None:
        """Return the function to call, once."""
        callback, self._close_callback = self._close_callback, None
        return callback

    def set_max_body_size(self, max_body_size: int) -> None:
        """Set how many bytes the body may have."""
        self.max_body_size = max_body_size

    def set_body_timeout(self, timeout: float) -> None:
        """Set how many seconds the body may take."""
        self.body_timeout = timeout

    def detach(self) -> Stream:
        """Return the connection as a stream; no more HTTP is read from it."""
        self._close_callback = None
        self.is_finished = True
        return self._connection.detach()

    def close(self) -> None:
        """Close the connection."""
        self._connection.cut_off()

    def write_headers(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders, chunk: bytes | None = None
    ) -> asyncio.Future[None]:
        """Begin the answer.

        Raises:
            ValueError: a field contains a line break, or `Content-Length` is not a number.
            HTTPOutputError: the chunk is longer than `Content-Length`.
        """
        _, code, reason = cast("ResponseStartLine", start_line)
        self._frame(code, headers)
        lines = [_status_line(code, reason), *_field_lines(headers)]
        text = "\r\n".join(lines)
        if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
            raise ValueError("Illegal characters (CR or LF) in header")
        data = (text + "\r\n\r\n").encode("latin-1")
        if chunk:
            data += self._framed(chunk)
        if self.is_finished:
            return self._connection.write_nothing()
        self.is_begun = True
        return self._connection.write(data)

    def _frame(self, code: int, headers: HTTPHeaders) -> None:
        """Decide how the client recognizes the end of the answer, and whether the connection ends with it."""
        start_line = self.head.start_line
        is_new = start_line.version == "HTTP/1.1"
        is_head = start_line.method == "HEAD"
        if "Content-Length" in headers:
            self._left = 0 if is_head or code == 304 else parse_int(headers["Content-Length"])
        elif code == 204 or code == 304 or is_head or code < 200:
            self._left = 0
        elif is_new:
            self._is_chunked = True
            headers["Transfer-Encoding"] = "chunked"
        else:
            self.is_last = True  # there is no other sign of the end
        if "Connection" in headers and headers["Connection"].lower() == "close":
            self.is_last = True
        elif self.is_last or self._connection.is_draining:
            self.is_last = True
            if is_new and code != 101:
                headers["Connection"] = "close"
        elif not is_new:
            headers["Connection"] = "Keep-Alive"

    def _framed(self, chunk: bytes) -> bytes:
        if self._left is not None:
            self._left -= len(chunk)
            if self._left < 0:
                self._connection.close()
                raise HTTPOutputError("Tried to write more data than Content-Length")
        return b"%x\r\n%b\r\n" % (len(chunk), chunk) if self._is_chunked and chunk else chunk

    def write(self, chunk: bytes) -> asyncio.Future[None]:
        """Write a part of the body.

        Raises:
            HTTPOutputError: it is longer than `Content-Length`.
        """
        data = self._framed(chunk)
        return self._connection.write_nothing() if self.is_finished else self._connection.write(data)

    def finish(self) -> None:
        """End the answer.

        Raises:
            HTTPOutputError: it is shorter than `Content-Length`.
        """
        if self.is_finished:
            return
        connection = self._connection
        if self._left and not connection.is_closed:
            connection.close()
            raise HTTPOutputError(f"Tried to write {self._left} bytes less than Content-Length")
        if self._is_chunked:
            connection.write(b"0\r\n\r\n")
        self.is_finished = True
        self._close_callback = None
        connection.answered(self)


class Unpacked(HTTPMessageDelegate):
    """Passes a request on whose body comes in gzip, as Tornado's server does with `decompress_request`.

    Args:
        inner: receives the body as it was before it was packed.
        exchange: the request; its `max_body_size` counts for the unpacked body.
        part_bytes: bytes of the parts of a body.
    """

    def __init__(self, inner: HTTPMessageDelegate, exchange: Exchange, part_bytes: int) -> None:
        self._inner = inner
        self._exchange = exchange
        self._part_bytes = part_bytes
        self._unpacker: GzipDecompressor | None = None
        self._total = 0

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> Awaitable[None] | None:
        """Pass the header on; `Content-Encoding` gets the name that Tornado gives it."""
        if headers.get("Content-Encoding", "").lower() == "gzip":
            self._unpacker = GzipDecompressor()
            headers.add("X-Consumed-Content-Encoding", headers["Content-Encoding"])
            del headers["Content-Encoding"]
        return self._inner.headers_received(start_line, headers)

    def data_received(self, chunk: bytes) -> Awaitable[None] | None:
        """Pass a part of the body on."""
        return self._inner.data_received(chunk) if self._unpacker is None else self._unpack(self._unpacker, chunk)

    async def _unpack(self, unpacker: GzipDecompressor, packed: bytes) -> None:
        while packed:
            try:
                part = unpacker.decompress(packed, self._part_bytes)
            except zlib.error as error:
                raise HTTPInputError(f"invalid gzip data: {error}") from None
            self._total += len(part)
            if self._total > self._exchange.max_body_size:
                raise Refusal(413, "decompressed body too large", self._exchange.head.start_line)
            waiting = self._inner.data_received(part) if part else None
            if waiting is not None:
                await waiting
            if not part and len(unpacker.unconsumed_tail) >= len(packed):
                raise HTTPInputError("gzip data without end")
            packed = unpacker.unconsumed_tail

    def finish(self) -> None:
        """Let the request be answered."""
        if self._unpacker is not None:
            try:
                self._unpacker.flush()
            except zlib.error as error:
                raise HTTPInputError(f"invalid gzip data: {error}") from None
        self._inner.finish()

    def on_connection_close(self) -> None:
        """Pass on that the client is gone."""
        self._inner.on_connection_close()


@lru_cache(256)
def _status_line(code: int, reason: str) -> str:
    return f"HTTP/1.1 {code} {reason}"


def _field_lines(headers: HTTPHeaders) -> list[str]:
    try:
        return list(map(": ".join, headers.get_all()))
    except TypeError:  # Tornado lets bytes pass as well
        return [f"{native_str(name)}: {native_str(value)}" for name, value in headers.get_all()]


def refusal_answer(status: int, start_line: RequestStartLine | None) -> bytes:
    """Return the answer to a request that the server refuses, as problem details."""
    path = start_line.path.partition("?")[0] if start_line else ""
    problem = {
        "type": "about:blank",
        "title": _TITLES[status],
        "status": status,
        "detail": _DETAILS[status],
        "instance": path if path.startswith("/") else "",
    }
    body = _json.dumps(problem)
    fields = (
        f"HTTP/1.1 {status} {_TITLES[status]}\r\nContent-Type: application/problem+json\r\nCache-Control: no-store\r\n"
        f"X-Content-Type-Options: nosniff\r\nDate: {formatdate(usegmt=True)}\r\n"
        f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return fields.encode() + (b"" if start_line and start_line.method == "HEAD" else body)
