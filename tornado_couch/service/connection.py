"""`Connection`: HTTP/1.1 on one connection, between an event loop and a Tornado application.

It drives the interfaces that Tornado has for this, `HTTPServerConnectionDelegate` and `HTTPMessageDelegate`, and
`Exchange` is the `HTTPConnection` that a handler writes its answer to. The next request of a connection is read when
the one before is answered; until then at most some tens of kilobytes of it are taken from the client.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from tornado.httputil import HTTPInputError, HTTPMessageDelegate, HTTPServerConnectionDelegate
from tornado.iostream import StreamClosedError
from tornado.log import app_log, gen_log

from .exchange import Exchange, Limits, Peer, Unpacked, refusal_answer
from .messages import ChunkedBody, FixedBody, Head, HeadParser, Refusal
from .stream import Stream

__all__ = ["Connection", "Shared"]

_AHEAD_BYTES = 64 * 1024  # read while a request is in progress
_LINE_BREAKS = b"\r\n"
_LINGER_SECONDS = 1.0
_LINGER_BYTES = 1024 * 1024
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(kw_only=True)
class Shared:
    """What the connections of a server have in common.

    Attributes:
        delegate: the application.
        parser: reads heads.
        limits: what clients are allowed.
        protocol: "http" or "https"; None for what the connection is.
        unpacks: whether the server unpacks bodies in gzip.
        believes: whether to believe a proxy with this address.
        downstream: proxies that X-Forwarded-For may list behind the client.
        refused: called with method and status for a request that the application did not get to see.
        changed: called when a connection ends, and, while the server stops, when a request does.
        draining: whether connections end with the answer to their request.
        open: all connections, but for those that are detached.
    """

    delegate: HTTPServerConnectionDelegate
    parser: HeadParser
    limits: Limits
    protocol: str | None
    unpacks: bool
    believes: Callable[[Any], bool] | None
    downstream: frozenset[str]
    refused: Callable[[str, int], None]
    changed: Callable[[], None]
    draining: bool
    open: set[Connection] = field(default_factory=set)


class _Sent(asyncio.Future[None]):
    """A future that is done; whoever awaits it lets others have their turn, so that no answer holds up the rest."""

    def __await__(self) -> Generator[Any, None, None]:
        yield


class Connection(asyncio.Protocol):
    """A connection.

    Args:
        shared: what it has in common with others.
        address: the address of its other end.
    """

    stream: Stream
    peer: Peer
    _transport: asyncio.Transport

    def __init__(self, shared: Shared, address: Any) -> None:
        self._shared = shared
        self._address = address
        self._loop = asyncio.get_running_loop()
        # Callbacks must not inherit the context of the handler that happened to schedule them.
        self._context = contextvars.copy_context()
        self._rest: bytes | bytearray = b""  # what has arrived, and is not dealt with
        self._searched = 0  # so much of it has no empty line
        self._held = False  # something else comes first
        self._paused = False  # reading, since it is held
        self._stalled = False  # writing, since the client does not read
        self._turning = False  # the next request comes when it does
        self._lingering = -1  # bytes to read before the connection is closed, once this is not negative
        self._closed = False
        self._lost = False
        self._detached = False
        self._used = False  # the delegate has seen a request of it
        self._awaiting = False  # what the delegate waits for
        self._delegate: HTTPMessageDelegate | None = None  # unless it has been told the end
        self._exchange: Exchange | None = None
        self._body: FixedBody | ChunkedBody | None = None
        # Most writes are over at once, and this is what they return.
        self._sent = _Sent(loop=self._loop)
        self._sent.set_result(None)
        self._writers: list[asyncio.Future[None]] = []
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._believes = False
        self._idle_since = 0.0

    # ------------------------------------------------------------ what the event loop reports

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve."""
        self._transport = cast("asyncio.Transport", transport)
        shared = self._shared
        plain = transport.get_extra_info("socket")
        protocol = shared.protocol or ("http" if transport.get_extra_info("sslcontext") is None else "https")
        self.peer = Peer(self._address, plain.family if plain is not None else None, protocol)
        self.stream = Stream(self, shared.limits.stream_bytes)
        self._believes = shared.believes is not None and shared.believes(self._address)
        shared.open.add(self)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Deal with bytes that have arrived, or keep them until it is their turn."""
        if self._detached:
            self.stream.feed(data)
        elif self._lingering >= 0:
            self._lingering -= len(data)
            if self._lingering < 0:
                self._lingering = 0
                self._transport.close()
        elif not self._closed:
            if not self._rest:
                self._rest = data
            else:
                if isinstance(self._rest, bytes):
                    self._rest = bytearray(self._rest)
                self._rest += data
            if not self._held:
                self._guarded(self._advance)
            elif len(self._rest) > _AHEAD_BYTES:
                self.read_on(False)

    def pause_writing(self) -> None:
        """Take note that the client does not read."""
        self._stalled = True

    def resume_writing(self) -> None:
        """Let those go on that wait for the client to read."""
        self._stalled = False
        writers, self._writers = self._writers, []
        for each in writers:
            if not each.done():
                each.set_result(None)
        if self._turning:
            self._turning = False
            self._loop.call_soon(self._turn, context=self._context)

    def connection_lost(self, error: BaseException | None) -> None:
        """Tell everybody who waits."""
        self._closed = self._lost = True
        self._limit(None)
        if self._timer is not None:
            self._timer.cancel()
        self._shared.open.discard(self)
        for each in self._writers:
            if not each.done():
                each.set_exception(StreamClosedError(error))
                each.exception()  # nobody has to look at it
        self._writers.clear()
        self._rest = b""
        exchange, self._exchange = self._exchange, None
        if exchange is not None and exchange.is_read:
            self._call(exchange.take_close_callback())
        if not self._awaiting:
            self._abandon()
        self.stream.lose(error)
        if self._used:
            self._call(partial(self._shared.delegate.on_close, self))
        self._shared.changed()

    # ------------------------------------------------------------ for streams

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be written any more."""
        return self._closed or self._transport.is_closing()

    @property
    def is_stalled(self) -> bool:
        """Whether more is waiting to be sent than the buffer should hold."""
        return self._stalled

    def write(self, data: bytes) -> asyncio.Future[None]:
        """Send bytes; the future is done once the buffer has room again."""
        if self.is_closed:
            return self.write_nothing()
        self._transport.write(data)
        if not self._stalled:
            return self._sent
        waiting: asyncio.Future[None] = self._loop.create_future()
        self._writers.append(waiting)
        return waiting

    def write_nothing(self) -> asyncio.Future[None]:
        """Return the future of a write that fails since the connection is closed."""
        failed: asyncio.Future[None] = self._loop.create_future()
        failed.set_exception(StreamClosedError())
        failed.exception()  # nobody has to look at it
        return failed

    def cut_off(self) -> None:
        """Close the connection, at once if the client does not read."""
        self._closed = True
        if self._stalled:
            self._transport.abort()
        else:
            self._transport.close()
            self._limit(_LINGER_SECONDS)

    def read_on(self, wanted: bool) -> None:
        """Go on reading, or pause."""
        if wanted == self._paused and not self._transport.is_closing():
            self._paused = not wanted
            (self._transport.resume_reading if wanted else self._transport.pause_reading)()

    def known(self, name: str) -> Any:
        """What the transport knows, such as its socket."""
        return self._transport.get_extra_info(name)

    def detach(self) -> Stream:
        """Leave the connection to a handler."""
        self._detached = True
        self._delegate = self._exchange = self._body = None
        self._limit(None)
        self._shared.open.discard(self)
        self._shared.changed()
        rest, self._rest = self._rest, b""
        self.stream.feed(rest)
        return self.stream

    # ------------------------------------------------------------ for servers

    @property
    def is_draining(self) -> bool:
        """Whether the connection ends with the answer to its request."""
        return self._shared.draining

    @property
    def busy(self) -> bool:
        """Whether a request is in progress."""
        return self._exchange is not None

    def idle_since(self, earliest: float) -> float:
        """Return since when it has been waiting, at least `earliest`; a time far in the future if it is not waiting."""
        return float("inf") if self.busy else max(self._idle_since, earliest)

    def close(self) -> None:
        """Close the connection at once."""
        self._closed = True
        self._transport.abort()

    # ------------------------------------------------------------ times

    def _limit(self, seconds: float | None) -> None:
        """End the connection after so many seconds, unless something else happens.

        There is one timer for each connection; when it fires, it is set again to what the limit has become by then.
        """
        if seconds is None:
            self._deadline = None
            return
        self._deadline = deadline = self._loop.time() + seconds
        if self._timer is None or deadline < self._timer_at:
            self._set_timer(deadline)

    def _set_timer(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = self._loop.call_at(deadline, self._late, context=self._context)

    def _late(self) -> None:
        self._timer = None
        if self._deadline is None or self._lost:
            return
        if self._deadline > self._loop.time():
            self._set_timer(self._deadline)
        elif self._closed or self._lingering >= 0:
            self._transport.abort()
        else:
            if self._exchange is not None:
                gen_log.info("Timeout reading body from %s", self.peer)
            self.cut_off()

    # ------------------------------------------------------------ requests

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except HTTPInputError as error:
            self._refuse(error)
        except Exception:  # noqa: BLE001 - the application's, which must not end the server
            app_log.error("Uncaught exception", exc_info=True)
            self._transport.abort()

    def _advance(self) -> None:
        if self._exchange is None:
            self._read_head()
        elif self._exchange.is_finished:  # before its end, and the client has yet to read the answer
            self._rest = b""
        else:
            self._read_body()

    def _wait(self) -> None:
        """Wait for the next request."""
        self._idle_since = self._loop.time()
        self._limit(self._shared.limits.head_seconds)

    def _read_head(self) -> None:
        data, limit = self._rest, self._shared.limits.head_bytes
        if data[0] in _LINE_BREAKS:  # RFC 9112 §2.2; they are not a request
            data = self._rest = data.lstrip(_LINE_BREAKS)
        end = data.find(b"\r\n\r\n", self._searched) + 4
        if end < 4:
            self._searched = max(0, len(data) - 3)
            if len(data) > limit:
                raise Refusal(431, f"more than {limit} bytes")
            if data.count(b"\n") != data.count(b"\r\n"):
                raise Refusal(400, "a line that ends without CR")
            return
        self._searched = 0
        if end > limit:
            raise Refusal(431, f"more than {limit} bytes")
        head = self._shared.parser.parse(data, end)
        self._rest = data[end:]
        self._begin(head)

    def _begin(self, head: Head) -> None:
        self._deadline = None
        if self._believes:
            self.peer.believe(head.headers, self._shared.downstream)
        exchange = self._exchange = Exchange(self, head, self._shared.limits)
        self._used = True
        delegate = self._shared.delegate.start_request(self, exchange)
        if self._shared.unpacks and "Content-Encoding" in head.headers:
            delegate = Unpacked(delegate, exchange, self._shared.limits.part_bytes)
        self._delegate = delegate
        waiting = delegate.headers_received(head.start_line, head.headers)
        exchange.is_seen = True
        if waiting is None or self._is_over(waiting, self._read_after_head):
            self._read_after_head()

    def _is_over(self, waiting: Awaitable[None], then: Callable[[], None]) -> bool:
        """Return whether the delegate is ready for more; otherwise, go on when it is."""
        future = asyncio.ensure_future(waiting)
        if future.done():
            future.result()
            return True
        self._held = self._awaiting = True
        future.add_done_callback(partial(self._awaited, then), context=self._context)
        return False

    def _awaited(self, then: Callable[[], None], future: asyncio.Future[None]) -> None:
        self._held = self._awaiting = False
        if self._lost:
            if not future.cancelled() and future.exception() is not None:
                app_log.debug("a client left before its request was at its end", exc_info=future.exception())
            self._abandon()
        elif future.cancelled():
            self._transport.abort()
        elif not self._detached:
            self._guarded(partial(self._continue, then, future))

    def _continue(self, then: Callable[[], None], future: asyncio.Future[None]) -> None:
        future.result()
        then()

    def _read_after_head(self) -> None:
        exchange = self._exchange
        if exchange is None or exchange.is_finished:  # it is detached, or was answered at once
            return
        head = exchange.head
        if head.length == 0:
            self._end_reading(exchange)
            return
        if head.length > exchange.max_body_size:
            raise Refusal(413, "Content-Length too long", head.start_line)
        if head.expects and not exchange.is_begun:
            self._transport.write(_CONTINUE)
        self._body = FixedBody(head.length) if head.length > 0 else ChunkedBody()
        if exchange.body_timeout is not None:
            self._limit(exchange.body_timeout)
        self._read_body()

    def _read_body(self) -> None:
        exchange, body, delegate = self._exchange, self._body, self._delegate
        if exchange is None or body is None or delegate is None:
            return
        part, taken = body.take(self._rest, self._shared.limits.part_bytes)
        self._rest = self._rest[taken:]
        if body.total > exchange.max_body_size:
            raise Refusal(413, "chunked body too large", exchange.head.start_line)
        then = partial(self._read_on, taken)
        waiting = delegate.data_received(part) if part else None
        if waiting is None or self._is_over(waiting, then):
            then()

    def _read_on(self, taken: int) -> None:
        exchange, body = self._exchange, self._body
        if exchange is None or body is None:  # it was answered at once
            return
        if body.done:
            self._body = None
            self._end_reading(exchange)
        elif self._rest and taken:
            self._go_on_soon()
        else:
            self.read_on(True)

    def _go_on_soon(self) -> None:
        """Deal with what has arrived, once others had their turn."""
        self._held = True
        self._loop.call_soon(self._go_on, context=self._context)

    def _go_on(self) -> None:
        self._held = False
        if self.is_closed or self._detached:
            return
        if self._rest:
            self._guarded(self._advance)
        if not self._held:
            self.read_on(True)

    def _end_reading(self, exchange: Exchange) -> None:
        self._deadline = None
        self._held = exchange.is_read = True
        delegate = self._delegate
        if delegate is not None:
            delegate.finish()
            self._delegate = None

    # ------------------------------------------------------------ answers

    def answered(self, exchange: Exchange) -> None:
        """Go on to the next request, or end the connection; `Exchange.finish` calls this."""
        if exchange is not self._exchange or self._closed:
            return
        if self._stalled:
            self._turning = True
        else:
            self._turn()

    def _turn(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is None or self.is_closed:
            return
        self._body = None
        if self._shared.draining:
            self._shared.changed()
        if exchange.is_last or not exchange.is_read:
            self._end(lingers=not exchange.is_read or bool(self._rest))
            return
        self._held = False
        self._wait()
        if self._rest or self._paused:
            self._go_on_soon()

    def _end(self, lingers: bool) -> None:
        """Close the connection; as long as the client is sending, closing would reset it, and lose the answer."""
        self._rest = b""
        self._closed = True
        if not lingers:
            self._transport.close()
            self._limit(self._shared.limits.head_seconds)
            return
        self._lingering = _LINGER_BYTES
        self._idle_since = self._loop.time()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._limit(_LINGER_SECONDS)
        self._loop.call_soon(self.read_on, True, context=self._context)

    def _refuse(self, error: HTTPInputError) -> None:
        """Answer what cannot be understood, unless an answer has begun."""
        gen_log.info("Malformed HTTP message from %s: %s", self.peer, error)
        status = error.status if isinstance(error, Refusal) else 400
        exchange, self._exchange = self._exchange, None
        start_line = exchange.head.start_line if exchange is not None else getattr(error, "start_line", None)
        begun = exchange is not None and exchange.is_begun
        if exchange is not None:
            exchange.refused = status
            exchange.is_last = exchange.is_finished = True
        if exchange is None or not exchange.is_seen:
            self._call(partial(self._shared.refused, start_line.method if start_line else "", status))
        self._body = None
        if begun:
            self._transport.abort()
        else:
            self._transport.write(refusal_answer(status, start_line))
            self._end(lingers=True)
        self._abandon()

    def _abandon(self) -> None:
        """Tell the delegate that no more comes."""
        delegate, self._delegate = self._delegate, None
        if delegate is not None:
            self._call(delegate.on_connection_close)

    def _call(self, function: Callable[[], object] | None) -> None:
        if function is not None:
            try:
                function()
            except Exception:  # noqa: BLE001 - the application's
                app_log.error("Uncaught exception", exc_info=True)
