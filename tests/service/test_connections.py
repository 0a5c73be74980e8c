"""HTTP/1.1 on the wire, with any Tornado application: each promise for both servers, unless only ours gives it."""

from __future__ import annotations

import asyncio
import contextvars
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st
from tornado.httpclient import HTTPRequest
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    parse_request_start_line,
)
from tornado.iostream import StreamClosedError
from tornado.web import Application, RequestHandler, stream_request_body
from tornado.websocket import WebSocketClosedError, WebSocketHandler, websocket_connect

from tests.faults import until
from tests.servers import running, sent
from tornado_couch import Application as OurApplication
from tornado_couch import Observer
from tornado_couch.service import Server
from tornado_couch.service.messages import ChunkedBody, HeadParser, Refusal

HOST = b"Host: localhost\r\n"
LEAKED: contextvars.ContextVar[str] = contextvars.ContextVar("LEAKED", default="")


class Journal:
    """What happened, and a gate at which handlers wait."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.gate = asyncio.Event()


class Base(RequestHandler):
    """A handler with a journal."""

    def initialize(self, journal: Journal) -> None:
        self.journal = journal

    def note(self, line: str) -> None:
        self.journal.lines.append(line)


class Echo(Base):
    """Answers with the method and the body; `HEAD`, 204 and 304 without one."""

    async def get(self) -> None:
        self.note(f"{self.request.path} came")
        if self.get_query_argument("wait", ""):
            async with asyncio.timeout(10):
                await self.journal.gate.wait()
        self.set_status(int(self.get_query_argument("status", "200")))
        if self.get_status() == 200:
            self.write(f"[{self.request.method} {self.request.path}]".encode() + self.request.body)
        for _ in range(int(self.get_query_argument("parts", "0"))):
            await self.flush()
            self.write("part")
        self.note(f"{self.request.path} goes")

    head = post = get

    def on_connection_close(self) -> None:
        self.note("closed")


@stream_request_body
class Upload(Base):
    """Takes a body part by part, each of which may have to wait at the gate."""

    total = 0

    def prepare(self) -> None:
        if self.get_query_argument("refuse", ""):
            self.set_status(403)
            self.finish("no")

    async def data_received(self, chunk: bytes) -> None:
        self.total += len(chunk)
        self.note("part")
        if self.get_query_argument("wait", ""):
            async with asyncio.timeout(10):
                await self.journal.gate.wait()

    def post(self) -> None:
        self.write(f"{self.total} bytes")

    def on_connection_close(self) -> None:
        self.note("closed")


class Flood(Base):
    """Answers with 16 MiB, as fast as the client reads."""

    async def get(self) -> None:
        try:
            for _ in range(64):
                self.write(b"x" * 256 * 1024)
                await self.flush()
                self.note("part")
        except StreamClosedError:
            self.note("closed")


class Context(Base):
    """Answers with the value of a context variable, and sets it."""

    def get(self) -> None:
        self.write(f"[{LEAKED.get()}]")
        LEAKED.set("leaked")


class Mirror(WebSocketHandler):
    """Sends back what it gets."""

    async def on_message(self, message: str | bytes) -> None:
        await self.write_message(message, binary=isinstance(message, bytes))


@pytest.fixture
def journal() -> Journal:
    """Of the application."""
    return Journal()


@pytest.fixture
def application(journal: Journal) -> Application:
    """Tornado's own, with the handlers above."""
    kept = {"journal": journal}
    return Application(
        [
            ("/upload", Upload, kept),
            ("/flood", Flood, kept),
            ("/context", Context, kept),
            ("/mirror", Mirror),
            ("/.*", Echo, kept),
        ],
        log_function=lambda _: None,
    )


@pytest.fixture(params=["httptools", "tornado"])
async def port(request: pytest.FixtureRequest, application: Application) -> AsyncIterator[int]:
    """Of each of the two servers."""
    async with running(request.param, application) as (_, port):
        yield port


@pytest.fixture
async def ours(application: Application) -> AsyncIterator[int]:
    """The port of our server."""
    async with running("httptools", application) as (_, port):
        yield port


def ask(target: str, *fields: str, method: str = "GET", version: str = "1.1", body: bytes = b"") -> bytes:
    """A request."""
    length = [f"Content-Length: {len(body)}"] if body else []
    head = "\r\n".join([f"{method} {target} HTTP/{version}", "Host: localhost", *length, *fields])
    return head.encode() + b"\r\n\r\n" + body


LAST = ask("/last", "Connection: close")


def statuses(answer: bytes) -> list[int]:
    return [int(each) for each in re.findall(rb"HTTP/1\.1 (\d+) ", answer)]


# ------------------------------------------------------------ requests and answers


async def test_pipelined_requests_are_answered_in_order(port: int, journal: Journal) -> None:
    """The second is carried out when the first is answered, not before."""
    answering = asyncio.create_task(sent(port, ask("/a?wait=1") + ask("/b") + LAST))
    await until(lambda: journal.lines)
    journal.gate.set()
    answer = await answering
    assert re.findall(rb"\[GET (/\w+)\]", answer) == [b"/a", b"/b", b"/last"]
    assert journal.lines == ["/a came", "/a goes", "/b came", "/b goes", "/last came", "/last goes"]


async def test_what_is_pipelined_does_not_fill_the_memory(port: int, journal: Journal) -> None:
    """While a request is in progress, the server takes only so much of what follows; no answer is missing then."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(ask("/a?wait=1"))
    await until(lambda: journal.lines)
    writer.transport.set_write_buffer_limits(high=0)
    follow, number = ask("/b", body=b"x" * 100_000, method="POST"), 0
    with suppress(TimeoutError):
        async with asyncio.timeout(0.3):
            while number < 500:
                writer.write(follow)
                number += 1
                await writer.drain()
    assert number < 500
    writer.write(LAST)
    journal.gate.set()
    async with asyncio.timeout(10):
        answer = await reader.read()
    assert statuses(answer) == [200] * (number + 2)
    writer.close()


async def test_a_context_ends_with_its_request(ours: int) -> None:
    """A pipelined request does not inherit the context variables of the one before."""
    answer = await sent(ours, ask("/context") * 3 + LAST)
    assert re.findall(rb"\[\w*\]", answer) == [b"[]"] * 3


@pytest.mark.parametrize("target", ["/a?status=204", "/a?status=304", "/head"])
async def test_an_answer_without_content_ends_with_its_header(port: int, target: str) -> None:
    """204, 304 and the answer to HEAD; the next one follows at once."""
    answer = await sent(port, ask(target, method="HEAD" if target == "/head" else "GET") + LAST)
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Transfer-Encoding" not in head


async def test_an_answer_of_unknown_length_is_chunked(port: int) -> None:
    """As `flush` makes it; in HTTP/1.0 the end of the connection is its end."""
    answer = await sent(port, ask("/a?parts=2") + LAST)
    assert b"\r\n\r\n8\r\n[GET /a]\r\n4\r\npart\r\n4\r\npart\r\n0\r\n\r\nHTTP/1.1 200" in answer
    answer = await sent(port, ask("/a?parts=2", version="1.0"))
    assert answer.endswith(b"\r\n\r\n[GET /a]partpart")


async def test_http_1_0_is_kept_alive_only_on_request(port: int) -> None:
    """Then the answer says so, too."""
    answer = await sent(port, ask("/a", "Connection: keep-alive", version="1.0") + ask("/b", version="1.0"))
    assert statuses(answer) == [200, 200]
    assert answer.count(b"Connection: Keep-Alive") == 1
    assert statuses(await sent(port, ask("/a", version="1.0") + LAST)) == [200]


async def test_a_version_1_0_answer_without_length_is_the_last(ours: int) -> None:
    """Otherwise a client that asked for more could not know where the first ends."""
    answer = await sent(ours, ask("/a?parts=1", "Connection: keep-alive", version="1.0") + LAST)
    assert answer.endswith(b"part")


async def test_a_client_gets_100_continue_where_it_waits_for_it(port: int) -> None:
    """Before it sends the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    async with asyncio.timeout(10):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(b"body" + LAST)
        assert b"[POST /a]body" in await reader.read()
    writer.close()


async def test_a_refusal_comes_in_place_of_100_continue(port: int) -> None:
    """Where the handler has answered before the body; and HTTP/1.0 does not know the status."""
    fields = "Content-Length: 4", "Expect: 100-continue"
    assert statuses(await sent(port, ask("/upload?refuse=1", *fields, method="POST"))) == [403]


async def test_http_1_0_gets_no_100_continue(ours: int) -> None:
    """RFC 9110 §10.1.1."""
    answer = await sent(ours, ask("/a", "Expect: 100-continue", method="POST", version="1.0", body=b"body"))
    assert statuses(answer) == [200]


async def test_bodies_come_by_length_and_in_chunks(port: int) -> None:
    """Of one byte each, if that is how they are sent."""
    chunked = ask("/a", "Transfer-Encoding: chunked", method="POST") + b"1\r\nx\r\n" * 300 + b"0\r\n\r\n"
    answer = await sent(port, ask("/a", method="POST", body=b"body") + chunked + LAST)
    assert b"[POST /a]body" in answer
    assert b"[POST /a]" + b"x" * 300 in answer
    assert statuses(answer) == [200] * 3


async def test_a_method_and_a_target_can_be_anything(ours: int) -> None:
    """The application decides about them: RFC 9110 lets others define methods."""
    requests = ask("/a", method="BREW") + ask("a:1", method="CONNECT") + ask("*", method="OPTIONS")
    assert statuses(await sent(ours, requests + LAST)) == [405, 405, 404, 200]


async def test_an_upgrade_to_something_unknown_is_an_ordinary_request(ours: int) -> None:
    """Its body is read as a body, and not taken for a second request."""
    hidden = ask("/hidden")
    request = ask("/a", "Connection: upgrade", "Upgrade: h2c", method="POST", body=hidden)
    answer = await sent(ours, request + LAST)
    assert statuses(answer) == [200, 200]
    assert b"[POST /a]" + hidden in answer


# ------------------------------------------------------------ back-pressure


async def test_a_handler_that_waits_stops_the_client(port: int, journal: Journal) -> None:
    """No part of a body is read from the connection before the handler is ready for it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    size = 32 * 1024 * 1024
    writer.write(b"POST /upload?wait=1 HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % size)
    writer.write(bytes(size))
    await until(lambda: journal.lines)
    await asyncio.sleep(0.2)
    assert journal.lines == ["part"]
    assert writer.transport.get_write_buffer_size() > 0  # type: ignore[attr-defined]
    journal.gate.set()
    async with asyncio.timeout(20):
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.read(100) == b"%d bytes" % size
    writer.close()


async def test_a_client_that_does_not_read_stops_the_handler(port: int, journal: Journal) -> None:
    """`flush` waits; once the client reads, all of the answer comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(ask("/flood"))
    await until(lambda: journal.lines)
    await asyncio.sleep(0.2)
    assert len(journal.lines) < 60
    total = 0
    async with asyncio.timeout(20):
        while len(journal.lines) < 64 or total < 64 * 256 * 1024:
            total += len(await reader.read(1 << 20))
    writer.close()


async def test_an_answer_in_parts_lets_others_have_their_turn(ours: int, journal: Journal) -> None:
    """However fast its client reads: each `flush` that is awaited takes at least one turn of the event loop."""
    turns = 0
    answering = asyncio.create_task(sent(ours, ask("/a?parts=300", "Connection: close")))
    while "/a goes" not in journal.lines:  # counted from before it begins, so that none is missed
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 300
    assert (await answering).count(b"part") == 300


async def test_a_handler_hears_that_its_client_is_gone(port: int, journal: Journal) -> None:
    """While it works, while it takes a body, and while it writes an answer."""
    for request, line in (
        (ask("/a?wait=1"), "/a came"),
        (b"POST /upload HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\nabc", "part"),
        (ask("/flood"), "part"),
    ):
        journal.lines.clear()
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request)
        await until(lambda line=line: line in journal.lines)  # type: ignore[misc]
        writer.transport.abort()
        await until(lambda: "closed" in journal.lines)


async def test_a_delegate_hears_of_the_end_of_its_connections() -> None:
    """Of each that has had a request, once; what it does then disturbs nobody."""
    ended: list[object] = []

    class Delegate(HTTPServerConnectionDelegate):
        def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
            raise RuntimeError("a programming error")

        def on_close(self, server_conn: object) -> None:
            ended.append(server_conn)
            raise RuntimeError("a programming error")

    async with running("httptools", Delegate()) as (server, port):
        for request in (ask("/a"), ask("/b"), b"nonsense\r\n\r\n"):
            await sent(port, request)
        await until(lambda: not server.links())
        assert len(set(ended)) == len(ended) == 2


async def test_an_early_answer_reaches_a_client_that_sends(ours: int) -> None:
    """Closing the connection at once would reset it, and the answer would be lost."""
    start = b"POST /upload?refuse=1 HTTP/1.1\r\n" + HOST + b"Content-Length: 400000\r\n\r\n"
    assert statuses(await sent(ours, start, *[bytes(20_000)] * 10, pause=0.005)) == [403]


# ------------------------------------------------------------ limits


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"x" * 2000, 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"x" * 2000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A: 1\r\n" * 20 + b"\r\n", 431),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 101\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n65\r\n", 413),
    ],
)
async def test_what_is_too_large_is_refused(application: Application, request_bytes: bytes, status: int) -> None:
    """A header of too many bytes or fields, and a body, as soon as that is known."""
    limits = {"max_header_size": 1000, "max_headers": 20, "max_body_size": 100}
    async with running("httptools", application, **limits) as (_, port):
        answer = await sent(port, request_bytes)
        assert statuses(answer) == [status]
        assert b"application/problem+json" in answer


@pytest.mark.parametrize("kind", ["httptools", "tornado"])
async def test_who_is_too_slow_loses_the_connection(kind: str, application: Application) -> None:
    """Without a request, within a header, within a body; a request that is worked on may take its time."""
    times = {"idle_connection_timeout": 0.2, "body_timeout": 0.2}
    async with running(kind, application, **times) as (_, port):
        for start in (b"", b"GET / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\na"):
            assert await sent(port, start) == b""
        assert statuses(await sent(port, ask("/a"))) == [200]


async def test_a_request_may_take_longer_than_an_idle_connection(application: Application, journal: Journal) -> None:
    """The timer of a connection rests while its request is in progress."""
    async with running("httptools", application, idle_connection_timeout=0.1) as (_, port):
        answering = asyncio.create_task(sent(port, ask("/a?wait=1")))
        await asyncio.sleep(0.3)
        journal.gate.set()
        assert statuses(await answering) == [200]


async def test_what_is_refused_is_counted() -> None:
    """The observers of the application get the method and the status."""
    seen: list[tuple[str, int | None]] = []

    class Counting(Observer):
        def request_ended(self, route: str, method: str, status: int | None, seconds: float) -> None:
            seen.append((method, status))

    application = OurApplication([("/upload", Upload, {"journal": Journal()})], observers=[Counting()])
    async with running("httptools", application) as (_, port):
        await sent(port, b"nonsense\r\n\r\n")
        await sent(port, b"PUT /a HTTP/1.1\r\nA : b\r\n\r\n")
        await sent(port, ask("/upload", "Transfer-Encoding: chunked", method="POST") + b"zz\r\n")
    assert seen == [("", 400), ("PUT", 400), ("POST", 400)]


# ------------------------------------------------------------ other connections


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context with a certificate of its own, and that of a client that trusts it."""
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(client)
    return server, client


async def secure_ask(port: int, client: ssl.SSLContext) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", port, ssl=client)


@pytest.mark.parametrize("kind", ["httptools", "tornado"])
async def test_a_new_certificate_is_for_new_connections(kind: str, application: Application) -> None:
    """Those that are open go on with the old one."""
    (first, trusts_first), (second, trusts_second) = contexts(), contexts()
    async with running(kind, application, ssl_options=first) as (server, port), asyncio.timeout(10):
        reader, writer = await secure_ask(port, trusts_first)
        server.use_tls(second)
        with pytest.raises(ssl.SSLCertVerificationError):
            await secure_ask(port, trusts_first)
        _, other = await secure_ask(port, trusts_second)
        writer.write(ask("/a"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")
        for each in (writer, other):
            each.close()


async def test_a_client_without_tls_disturbs_nobody(application: Application) -> None:
    """It gets no answer, and others theirs."""
    server, client = contexts()
    async with running("httptools", application, ssl_options=server) as (_, port), asyncio.timeout(10):
        _, plain = await asyncio.open_connection("127.0.0.1", port)
        plain.write(ask("/a"))
        reader, writer = await secure_ask(port, client)
        writer.write(LAST)
        assert b"[GET /last]" in await reader.read()
        for each in (plain, writer):
            each.close()


async def test_a_client_without_tls_does_not_hold_up_the_end(application: Application) -> None:
    """It is given up like any connection without a request, long before the deadline."""
    async with running("httptools", application, ssl_options=contexts()[0]) as (server, port), asyncio.timeout(10):
        _, silent = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: server._coming)
        assert await server.drain(8, idle_seconds=0.1) == 0
        silent.close()


async def test_line_breaks_between_requests_are_no_requests(port: int) -> None:
    """RFC 9112 §2.2; however many there are, they are dealt with quickly."""
    assert statuses(await sent(port, b"\r\n" + ask("/a") + b"\r\n" + LAST)) == [200, 200]
    began = time.monotonic()
    await sent(port, b"\r\n" * 30_000 + LAST)
    assert time.monotonic() - began < 1


async def test_a_unix_socket_serves(application: Application, tmp_path: Path) -> None:
    """The address of its clients is that of no network."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    listener.listen()
    server = Server(application, xheaders=True)
    server.add_socket(listener)
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "socket"))
    writer.write(LAST)
    async with asyncio.timeout(10):
        assert b"[GET /last]" in await reader.read()
    writer.close()
    server.stop()
    await server.close_all_connections()


@pytest.mark.parametrize("secure", [False, True])
async def test_a_websocket_goes_both_ways(application: Application, secure: bool) -> None:
    """Small and large messages, without TLS and with it; its end is the end of the connection."""
    context, trusting = contexts() if secure else (None, None)
    async with running("httptools", application, ssl_options=context) as (server, port), asyncio.timeout(20):
        request = HTTPRequest(f"ws{'s' if secure else ''}://127.0.0.1:{port}/mirror", ssl_options=trusting)
        connection = await websocket_connect(request, max_message_size=1 << 24)
        for message in ("text", b"\x00bytes", "x" * 1_000_000):
            await connection.write_message(message, binary=isinstance(message, bytes))
            assert await connection.read_message() == message
        connection.close()
        assert await connection.read_message() is None
        with pytest.raises(WebSocketClosedError):
            await connection.write_message("more")
        await until(lambda: not server.links())


async def test_frames_that_come_with_the_handshake_are_read(ours: int) -> None:
    """They are in the same bytes as the request."""
    fields = "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAA"
    text_and_close = b"\x81\x82\x00\x00\x00\x00hi" + b"\x88\x80\x00\x00\x00\x00"
    answer = await sent(ours, ask("/mirror", *fields) + text_and_close)
    assert statuses(answer) == [101]
    assert answer.endswith(b"\x81\x02hi\x88\x00")


async def test_answers_of_a_server_that_stops_say_so(application: Application, journal: Journal) -> None:
    """Also the answer to a request that came before that; what came after it is not lost silently."""
    async with running("httptools", application) as (server, port):
        answering = asyncio.create_task(sent(port, ask("/a?wait=1")))
        await until(lambda: journal.lines)
        draining = asyncio.create_task(server.drain(10))
        await until(lambda: server._shared.draining)  # type: ignore[union-attr]
        journal.gate.set()
        assert b"Connection: close" in await answering
        assert await draining == 0


# ------------------------------------------------------------ bytes in pieces, and bytes of others


REQUESTS = [
    ask("/a?b=c", "X-A: b", "X-A: c", "X-Empty:"),
    ask("/a", method="POST", body=b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
    ask("/a", "Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\n",
    ask("/upload", "Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\n0\r\n\r\n",
    ask("/a", version="1.0"),
    ask("/a", "Connection: keep-alive", version="1.0"),
    b"\r\n" + ask("/a", method="HEAD"),
    ask("/a?status=304"),
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\nHost: localhost\n\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"A : b\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"A: b\x00c\r\n\r\n",
    ask("/a", "Content-Length: 1", "Content-Length: 1"),
    ask("/a", "Content-Length: 1", "Transfer-Encoding: chunked", method="POST"),
    ask("/a", "Transfer-Encoding: chunked", method="POST") + b"1;a=b\r\nx\r\n0\r\n\r\n",
    ask("/a", "Transfer-Encoding: chunked", method="POST") + b"1\r\nxy\r\n0\r\n\r\n",
    ask("/a", "Transfer-Encoding: chunked", method="POST") + b"0\r\nA: b\r\n\r\n",
]


def timeless(answer: bytes) -> bytes:
    return re.sub(rb"Date: [^\r]*", b"Date", answer)


async def test_requests_cut_anywhere_get_the_same_answers(ours: int) -> None:
    """In two pieces, at every position."""
    for request in REQUESTS:
        whole = timeless(await sent(ours, request + LAST))
        assert statuses(whole)
        cuts = range(1, len(request), 3)
        found = await asyncio.gather(*(sent(ours, request[:cut], request[cut:] + LAST, pause=0.02) for cut in cuts))
        assert {timeless(each) for each in found} == {whole}, request


@settings(max_examples=25)
@given(st.data())
def test_requests_in_pieces_get_the_same_answers(data: st.DataObject) -> None:
    """In any pieces, several requests in a row."""
    requests = data.draw(st.lists(st.sampled_from(REQUESTS), min_size=1, max_size=4))
    stream = b"".join(requests) + LAST
    cuts = sorted(data.draw(st.sets(st.integers(1, len(stream) - 1), max_size=8)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    async def compare() -> None:
        kept = {"journal": Journal()}
        application = Application([("/upload", Upload, kept), ("/.*", Echo, kept)], log_function=lambda _: None)
        async with running("httptools", application) as (_, port):
            assert timeless(await sent(port, *pieces, pause=0.001)) == timeless(await sent(port, stream))

    asyncio.run(compare())


NAMES = [b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"X", b"x-Y", b"", b"X ", b" X", b"X\xe9"]
VALUES = [b"", b"a", b" a\t", b"chunked", b"5", b"+5", b"5,5", b"close", b"a\tb", b"\xff", b"a\x00", b"\x7f", b"a\rb"]
ENDS = [*[b"\r\n"] * 6, b"\n", b"\r", b"\r\n ", b""]
FIELD = st.tuples(*map(st.sampled_from, (NAMES, [b": ", b":", b""], VALUES, ENDS))).map(b"".join)
METHODS = [b"GET", b"BREW", b"G\xe9", b""]
TARGETS = [b"/", b"*", b"/\xe9", b"/\t", b"/\x7f"]
VERSIONS = [b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"http/1.1"]
LINE = st.tuples(*map(st.sampled_from, (METHODS, [b" ", b"  ", b"\t"], TARGETS, [b" "], VERSIONS))).map(b"".join)


@settings(max_examples=400)
@given(st.one_of(st.just(b"GET / HTTP/1.1"), LINE), st.lists(FIELD, max_size=4))
def test_what_tornado_refuses_is_refused(line: bytes, fields: list[bytes]) -> None:
    """And what both take means the same."""
    data = line + b"\r\n" + b"".join(fields) + b"\r\n\r\n"
    end = data.index(b"\r\n\r\n") + 4
    try:
        head = HeadParser(100).parse(data, end)
    except Refusal:
        return
    text = data[:end].decode("latin-1")
    first, _, rest = text.partition("\r\n")
    assert parse_request_start_line(first) == head.start_line
    expected = HTTPHeaders.parse(rest)
    assert list(expected.get_all()) == list(head.headers.get_all())
    if "Content-Length" in expected:
        assert expected["Content-Length"] == str(head.length)
        assert "Transfer-Encoding" not in expected


PIECES = [b"0", b"1", b"A", b"\r\n", b"\r", b"\n", b"x", b";", b" ", b"3\r\nabc\r\n", b"0\r\n\r\n"]


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_chunks_in_pieces_are_the_same_body(parts: list[bytes]) -> None:
    """Byte by byte, a body has the same content and the same end, or is refused as well."""

    def read(pieces: list[bytes]) -> tuple[bytes, bool] | None:
        body, rest, content = ChunkedBody(), b"", b""
        try:
            for piece in pieces:
                rest += piece
                while not body.done:
                    part, taken = body.take(rest, 1 << 16)
                    rest, content = rest[taken:], content + part
                    if not taken:
                        break
        except Refusal:
            return None
        return content, body.done

    data = b"".join(parts)
    assert read([data]) == read([data[at : at + 1] for at in range(len(data))])
