"""`Connection`: one connection to CouchDB, on which httptools parses the answers."""

from __future__ import annotations

import asyncio
import contextlib
import select
import zlib
from collections.abc import Callable
from math import inf
from typing import Any, TypeVar, cast

import httptools
from multidict import CIMultiDict

from ...errors import CouchError, InvalidReply, LongReply, ReadTimeout, Unavailable
from .base import Body, Request
from .pool import LONG_BODY_BYTES

__all__ = ["CODINGS", "Connection", "Exchange"]

CODINGS = ("gzip", "deflate")
"""The content codings that are understood, in an answer that is taken whole.

A streamed one must be plain: a kilobyte can stand for a megabyte, so that what is decoded could not be kept short.
"""

_LONGEST_HEADER = 64 * 1024  # bytes; also of what follows a part of the content, such as a trailer
_PIECE = 64 * 1024  # bytes of a long body that are sent at a time, or of a streamed answer that are kept

E = TypeVar("E", bound=CouchError)

_NO_FIELDS: CIMultiDict[str] = CIMultiDict()


class _Decoder:
    """Undoes a content coding.

    Args:
        coding: its name.
    """

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._inner: Any = None

    @property
    def is_cut_off(self) -> bool:
        """Whether the end is missing."""
        return self._inner is not None and not self._inner.eof

    def decode(self, data: bytes, most: int) -> bytes:
        """Return what a part stands for, up to so many bytes; with 0, all of it.

        Raises:
            zlib.error: it is not of this coding, or something follows its end.
        """
        if self._inner is None:
            # RFC 9110 §8.4.1.2: some send "deflate" without the header of zlib.
            plain = self._coding == "deflate" and data[0] & 0xF != zlib.DEFLATED
            self._inner = zlib.decompressobj(-zlib.MAX_WBITS if plain else 32 + zlib.MAX_WBITS)
        found: bytes = self._inner.decompress(data, most)
        if self._inner.unused_data:
            raise zlib.error
        return found


class Exchange:
    """A request that was sent, and what has come of its answer.

    Args:
        request: the request.
        whole: whether its sender waits for the end of the answer, and not for each part of it.

    Attributes:
        status: of the answer; 0 until its header is complete.
        headers: of the answer, once its header is complete.
        done: nothing more will come.
        lost: the connection was lost before the header of the answer was complete.
        reusable: the connection can carry another request.
        kept: how many bytes have come and were not taken yet.
    """

    def __init__(self, request: Request, *, whole: bool) -> None:
        self.request = request
        self.whole = whole
        self.status = 0
        self.headers = _NO_FIELDS
        self.done = self.lost = self.reusable = False
        self.kept = 0
        self._fields: list[tuple[str, str]] = []
        self._parts: list[bytes] = []
        self._left = request.most
        self._decoder: _Decoder | None = None
        self._failure: tuple[type[CouchError], str] | None = None
        self._waiter: asyncio.Future[None] | None = None

    # ------------------------------------------------------------ for its sender

    async def answered(self) -> None:
        """Wait for the end of the answer or, if that is streamed, for its header.

        Raises:
            Unavailable: the connection was lost, or nothing came for too long.
            InvalidReply: the answer is not HTTP, or cannot be decompressed.
            LongReply: it is longer than the request allows.
        """
        while not self.done and (self.whole or not self.status):
            await self._woken()
        if self.whole or not self.status:
            self._raise()

    async def part(self) -> bytes:
        """Return the content that has come since the last call, at least one byte of it; at its end, nothing.

        Raises:
            Unavailable, InvalidReply, LongReply: as `answered` does.
        """
        while not self.kept and not self.done:
            await self._woken()
        if not self.kept:
            self._raise()
        return self.taken()

    def taken(self) -> bytes:
        """Take the content that has come."""
        found = b"".join(self._parts)
        self._parts.clear()
        self.kept = 0
        return found

    def _raise(self) -> None:
        if self._failure is not None:
            # A new one: an error that is kept here would keep, with its traceback, what led to it, and that this. Only
            # the garbage collector would free the content.
            raise self.error(*self._failure)

    async def _woken(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    # ------------------------------------------------------------ for its connection

    @property
    def is_interim(self) -> bool:
        """Whether the header belongs to an answer before the answer, such as 100."""
        return 100 <= self.status < 200

    @property
    def is_endless(self) -> bool:
        """Whether only the end of the connection ends the content."""
        return bool(self.status) and "Content-Length" not in self.headers and "Transfer-Encoding" not in self.headers

    def field(self, name: bytes, value: bytes) -> None:
        """Take a field of the header; nobody wants those that follow the content."""
        if not self.status:
            self._fields.append((name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape")))

    def begin(self, status: int) -> None:
        """Take the status, once the header is complete."""
        self.status, self.headers = status, CIMultiDict(self._fields)
        self._fields.clear()
        coding = self.headers.get("Content-Encoding", "").strip().lower()
        self._decoder = None if coding in ("", "identity") else _Decoder(coding)
        if self.is_interim:
            return
        if self._decoder is not None and not (self.whole and coding in CODINGS):
            self.fail(InvalidReply, _UNDECODABLE)
        elif not self.whole:
            self._wake()

    def begin_again(self) -> None:
        """Forget an interim answer."""
        self.status, self.headers, self._decoder = 0, _NO_FIELDS, None

    def content(self, data: bytes) -> None:
        """Take a part of the content; the exchange fails if that cannot be decompressed, or is too long."""
        if self._decoder is not None:
            try:
                # Not more than one byte too many: a kilobyte can stand for a megabyte.
                data = self._decoder.decode(data, 0 if self._left is None else self._left + 1)
            except zlib.error:
                self.fail(InvalidReply, _UNDECODABLE)
                return
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                self.fail(LongReply, f"more than {self.request.most} bytes")
                return
        self._parts.append(data)
        self.kept += len(data)
        if not self.whole:
            self._wake()

    def end(self, *, reusable: bool) -> None:
        """Take that the answer is complete."""
        if self._decoder is not None and self._decoder.is_cut_off:
            self.fail(InvalidReply, _UNDECODABLE)
            return
        self.done, self.reusable = True, reusable
        self._wake()

    def fail(self, kind: type[CouchError], words: str) -> None:
        """Take why the answer will not be complete."""
        if not self.done:
            self.done, self._failure = True, (kind, words)
            if self.whole:
                self.taken()  # nobody will
            self._wake()

    def error(self, kind: type[E], words: str) -> E:
        """Return an error that names the request as it may be shown."""
        return kind(f"{self.request.method} {self.request.template}: {words}")


_UNDECODABLE = "the answer cannot be decompressed"


class Connection(asyncio.Protocol):
    """One connection, which carries one exchange after the other.

    Args:
        gone: called when it is closed.

    Attributes:
        idle_since: when its last exchange ended, by the clock of the event loop.
        closed: done when it is closed.
    """

    def __init__(self, gone: Callable[[Connection], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._gone = gone
        self.idle_since = 0.0
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._exchange: Exchange | None = None
        self._parser: Any = None
        self._header = 0  # bytes that have come of a header, or since the last of the content
        self._out_of_step = False
        self._paused = False  # the other side does not take what is sent
        self._drained: asyncio.Future[None] | None = None
        self._holds = False  # it does not read what comes
        self._due = inf  # when there must have been another byte
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0

    # ------------------------------------------------------------ for its owner

    async def send(self, exchange: Exchange, head: bytes) -> None:
        """Send a request, and wait for its answer; see `Exchange.answered`.

        Args:
            exchange: the request.
            head: its first line and its header.
        """
        self._exchange, self._header, self._due = exchange, 0, inf
        if self._parser is None:
            self._parser = httptools.HttpResponseParser(self)
        body = exchange.request.body
        if body is None or (isinstance(body, bytes) and len(body) <= LONG_BODY_BYTES):
            self._transport.write(head + body if body else head)
        else:
            await self._send_long(exchange, head, body)
        self._limit(exchange)
        await exchange.answered()

    async def _send_long(self, exchange: Exchange, head: bytes, body: bytes | Body) -> None:
        self._transport.write(head)
        if isinstance(body, bytes):
            for start in range(0, len(body), _PIECE):
                if not await self._send_piece(exchange, body[start : start + _PIECE]):
                    return
            return
        async with contextlib.aclosing(body.chunks()) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                for start in range(0, len(chunk), _PIECE):
                    if not await self._send_piece(exchange, chunk[start : start + _PIECE]):
                        return

    async def _send_piece(self, exchange: Exchange, piece: bytes) -> bool:
        """Send a part of a body; whether the next one is wanted."""
        if not exchange.done:
            # Bytes that are at hand already have all the time of the whole call.
            limit = None if isinstance(exchange.request.body, bytes) else exchange.request.timeout.read
            self._transport.write(piece)
            if self._paused:
                self._drained = self._loop.create_future()
                try:
                    async with asyncio.timeout(limit):
                        await self._drained
                except TimeoutError:
                    exchange.fail(ReadTimeout, "CouchDB took nothing for too long")
        if exchange.done:
            self._out_of_step = True  # it was answered before all of it was sent
        return not exchange.done

    async def part(self, exchange: Exchange) -> bytes:
        """Return the next part of an answer's content; see `Exchange.part`."""
        if not exchange.kept and not exchange.done:
            self._limit(exchange)
            self._hold(False)
        return await exchange.part()

    def rest(self) -> None:
        """Take that the exchange is over, and another one may come much later."""
        self._exchange = None  # it holds what was sent
        self.idle_since = self._loop.time()

    @property
    def is_in_step(self) -> bool:
        """Whether it is open, all was sent, and nothing has come that was not requested.

        Such bytes would be taken for the answer to the next request: if a proxy sends the answer to a write twice, the
        next writer would believe that its own write succeeded.
        """
        return not (self._out_of_step or self._transport.is_closing() or self._transport.get_write_buffer_size())

    @property
    def is_usable(self) -> bool:
        """Whether it can carry another request: as `is_in_step`, for what the operating system has received as well."""
        return self.is_in_step and (self._poll is None or not self._poll.poll(0))

    def close(self) -> None:
        """Close it at once, whatever was not sent yet."""
        self._transport.abort()

    # ------------------------------------------------------------ time

    def _limit(self, exchange: Exchange) -> None:
        """From now on something must come in time."""
        limit = exchange.request.timeout.read
        if limit is None:
            return
        self._due = self._loop.time() + limit
        # A timer that comes earlier sets itself anew, so that most requests set none.
        if self._timer is None or self._timer_due > self._due:
            self._set_timer()

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_due = self._loop.call_at(self._due, self._look), self._due

    def _look(self) -> None:
        self._timer, exchange = None, self._exchange
        if exchange is None or exchange.done or exchange.request.timeout.read is None:
            return
        if self._holds:
            return  # its reader is slow, and sets the next one
        if self._due == inf:
            return  # the request is still being sent
        if self._loop.time() < self._due:
            self._set_timer()
        else:
            exchange.fail(ReadTimeout, "CouchDB sent nothing for too long")
            self.close()

    # ------------------------------------------------------------ for the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._poll: Any = None
        if hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        """Parse what has come."""
        exchange = self._exchange
        if exchange is None or exchange.done:
            self._out_of_step = True
            self.close()
            return
        limit = exchange.request.timeout.read
        if limit is not None and self._due != inf:
            self._due = self._loop.time() + limit
        self._header += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._out_of_step = True
            exchange.fail(InvalidReply, "the answer is not HTTP")
        if self._header > _LONGEST_HEADER:
            exchange.fail(InvalidReply, "the header or the trailer of the answer is too long")
        if exchange.kept > _PIECE and not exchange.whole and not exchange.done:
            self._hold(True)
        if exchange.done and self._drained is not None:
            self._go_on()  # nobody needs the rest of the request

    def _hold(self, holds: bool) -> None:
        """Stop to read, or go on."""
        if holds != self._holds and not self._transport.is_closing():
            self._holds = holds
            (self._transport.pause_reading if holds else self._transport.resume_reading)()

    def eof_received(self) -> None:
        """Take that nothing more will come; whoever sends no more does not read, either."""
        exchange = self._exchange
        if exchange is not None and not exchange.done and exchange.is_endless and not exchange.is_interim:
            exchange.end(reusable=False)
        self.close()

    def connection_lost(self, _: Exception | None) -> None:
        """Take that it is closed."""
        exchange = self._exchange
        if exchange is not None and not exchange.done:
            exchange.lost = not exchange.status or exchange.is_interim
            where = "before" if exchange.lost else "in the middle of"
            exchange.fail(Unavailable, f"the connection was lost {where} the answer")
        self.resume_writing()
        if self._timer is not None:
            self._timer.cancel()
        self._parser = None  # it knows this connection
        if not self.closed.done():
            self.closed.set_result(None)
        self._gone(self)

    def pause_writing(self) -> None:
        """Take that the other side does not take what is sent."""
        self._paused = True

    def resume_writing(self) -> None:
        """Take that more can be sent."""
        self._paused = False
        if self._drained is not None:
            self._go_on()

    def _go_on(self) -> None:
        drained, self._drained = self._drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    # ------------------------------------------------------------ for the parser

    def on_message_begin(self) -> None:
        """Take that an answer begins."""
        if self._exchange is None or self._exchange.done:
            self._out_of_step = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a field of a header."""
        if self._exchange is not None and not self._exchange.done:
            self._exchange.field(name, value)

    def on_headers_complete(self) -> None:
        """Take that a header is complete."""
        exchange = self._exchange
        if exchange is None or exchange.done:
            return
        exchange.begin(self._parser.get_status_code())
        if not exchange.is_interim:
            self._header = 0
        if exchange.request.method == "HEAD" and not exchange.is_interim:
            # The parser waits for the content that the header announces, and has to be replaced.
            exchange.end(reusable=self._parser.should_keep_alive())
            self._parser = None

    def on_body(self, data: bytes) -> None:
        """Take a part of the content."""
        self._header = 0
        if self._exchange is None or self._exchange.done:
            self._out_of_step = True
        else:
            self._exchange.content(data)

    def on_message_complete(self) -> None:
        """Take that an answer is complete."""
        exchange = self._exchange
        if exchange is None or exchange.done:
            return
        if exchange.is_interim:
            exchange.begin_again()
        else:
            exchange.end(reusable=self._parser.should_keep_alive())
