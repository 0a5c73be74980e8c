"""What one connection carries: framing, codings, limits of size and time, and what must not be carried over it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import gzip
import socket
import zlib
from collections.abc import Callable

import pytest

from tests.faults import Behaviour, Call, FaultServer, answer, raw, stall, until
from tornado_couch import errors
from tornado_couch.couch import Couch, FakeTransport, Request, Timeout, Transport
from tornado_couch.couch.transport import httptools as over_httptools
from tornado_couch.couch.transport.connection import Connection, Exchange

DOCUMENT = b'{"_id":"a","_rev":"1-a"}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
READ = Request("GET", "/db/a", "/{db}/{id}", timeout=Timeout(read=0.3, total=5), safe=True)
Make = Callable[..., Transport]


def bare(data: bytes) -> Behaviour:
    """Deflate without the header of zlib, as some send it."""
    coder = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return answer(200, coder.compress(data) + coder.flush(), Content_Encoding="deflate")


def closing(data: bytes) -> Behaviour:
    async def behave(call: Call) -> None:
        await call.send(data)
        call.writer.close()

    return behave


@pytest.mark.parametrize(
    "behaviour",
    [
        raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + HEAD
            + b"Content-Length: 24\r\n\r\n" + DOCUMENT),
        raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\n" + DOCUMENT[:4] + b"\r\n14;a=b\r\n" + DOCUMENT[4:]
            + b"\r\n0\r\nX-Trailer: 1\r\n\r\n"),
        closing(HEAD + b"\r\n" + DOCUMENT),
        closing(HEAD.replace(b"1.1", b"1.0") + b"\r\n" + DOCUMENT),
        answer(200, gzip.compress(DOCUMENT), Content_Encoding="gzip"),
        answer(200, zlib.compress(DOCUMENT), Content_Encoding="Deflate"),
        bare(DOCUMENT),
    ],
    ids=["interim", "chunked", "until-the-end", "http-1.0", "gzip", "deflate", "bare-deflate"],
)  # fmt: skip
async def test_every_framing_and_coding_is_understood(transport: Make, behaviour: Behaviour) -> None:
    """Twice, so that nothing of the first answer is in the way of the second."""
    async with FaultServer(behaviour) as server:
        one = transport(server.url)
        for _ in range(2):
            reply = await one.send(READ)
            assert (reply.status, reply.body, reply.headers["content-type"]) == (200, DOCUMENT, "application/json")
        await one.close()


async def test_an_answer_can_be_cut_anywhere() -> None:
    """Byte by byte it is what it is in one piece, and so are both parts of each cut."""
    data = HEAD + b"Transfer-Encoding: chunked\r\nSet-Cookie: a=b\r\n\r\n18\r\n" + DOCUMENT + b"\r\n0\r\n\r\n"
    cuts = [[data[:place], data[place:]] for place in range(1, len(data))]
    with socket.socket() as nowhere:
        for parts in [*cuts, [data[place : place + 1] for place in range(len(data))]]:
            connection, exchange = Connection(lambda _: None), Exchange(READ, whole=True)
            connection.connection_made(_Nowhere(nowhere))
            sending = asyncio.create_task(connection.send(exchange, b""))
            await asyncio.sleep(0)
            for part in parts:
                connection.data_received(part)
            await sending
            assert (exchange.status, exchange.taken(), exchange.headers["set-cookie"]) == (200, DOCUMENT, "a=b")
            assert connection.is_in_step
            connection.connection_lost(None)


class _Nowhere(asyncio.Transport):
    """A transport that sends nothing."""

    def __init__(self, used: socket.socket) -> None:
        self._socket = used

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self._socket

    def write(self, data: bytes) -> None:  # type: ignore[override]
        """Drop it."""

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False


async def test_an_answer_to_head_has_no_content(transport: Make) -> None:
    """Its Content-Length is that of the GET; the connection can be used again."""
    async with FaultServer(answer(200, b"x" * 1000, ETag='"1-a"'), answer(200, DOCUMENT)) as server:
        one = transport(server.url)
        reply = await one.send(Request("HEAD", "/db/a", "/{db}/{id}", safe=True))
        assert (reply.headers["etag"], reply.body) == ('"1-a"', b"")
        assert (await one.send(READ)).body == DOCUMENT
        assert server.opened == 1
        await one.close()


@pytest.mark.parametrize("coded", [False, True], ids=["plain", "gzip"])
async def test_an_answer_may_not_be_longer_than_asked_for(transport: Make, coded: bool) -> None:
    """What it is decompressed to counts; the connection is closed, since the rest of the answer is on its way."""
    content = b"0" * 5_000_000
    long = answer(200, gzip.compress(content), Content_Encoding="gzip") if coded else answer(200, content)
    async with FaultServer(long, answer(200, DOCUMENT)) as server:
        one = transport(server.url)
        with pytest.raises(errors.LongReply):
            await one.send(Request("GET", "/db/a", "/{db}/{id}", most=1_000_000))
        await until(lambda: server.open == 0)
        assert (await one.send(READ)).body == DOCUMENT
        await one.close()


async def test_an_answer_nobody_asked_for_is_never_taken(transport: Make) -> None:
    """Neither what follows an answer at once nor what comes later answers the next request."""
    other = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"
    whole = HEAD + b"Content-Length: 24\r\n\r\n" + DOCUMENT

    async def later(call: Call) -> None:
        await call.send(whole)
        await asyncio.sleep(0.02)
        await call.send(other)

    async with FaultServer(raw(whole + other), later, raw(whole)) as server:
        one = transport(server.url)
        assert (await one.send(READ)).body == DOCUMENT
        assert (await one.send(READ)).body == DOCUMENT
        await asyncio.sleep(0.1)
        assert (await one.send(READ)).status == 200
        assert server.opened == 3
        await one.close()


@pytest.mark.parametrize("header", [b"X-A: " + b"a" * 200_000, b"X-A: b\r\n" * 20_000])
async def test_a_header_without_end_is_nonsense(transport: Make, header: bytes) -> None:
    """It does not fill the memory."""
    async with FaultServer(raw(HEAD + header)) as server:
        one = transport(server.url)
        with pytest.raises((errors.InvalidReply, errors.ReadTimeout)):
            await one.send(READ)
        await one.close()


async def test_a_long_body_is_sent_however_slowly_it_is_taken(transport: Make) -> None:
    """The limit for the next bytes of an answer begins when the request has been sent, also after an earlier one."""
    body = b"x" * 20_000_000

    async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for length in (0, len(body)):
            await reader.readuntil(b"\r\n\r\n")
            if length:
                writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
                await asyncio.sleep(0.6)  # twice as long as the limit
            await reader.readexactly(length)
            writer.write(HEAD + b"Content-Length: 24\r\n\r\n" + DOCUMENT)
        writer.close()

    server = await asyncio.start_server(slowly, "127.0.0.1", 0)
    one = transport(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await one.send(READ)
    write = Request("PUT", "/db/a", "/{db}/{id}", body=body, timeout=Timeout(read=0.3))
    assert (await one.send(write)).status == 200
    await one.close()
    server.close()


async def test_a_long_body_can_be_refused_before_all_of_it_is_sent(transport: Make) -> None:
    """The answer counts, and the connection is not used again."""

    accepted: list[asyncio.StreamWriter] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 X\r\nContent-Length: 2\r\n\r\n{}")

    server = await asyncio.start_server(refuse, "127.0.0.1", 0, limit=1000)
    one = transport(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    for _ in range(2):
        reply = await one.send(Request("PUT", "/db/a", "/{db}/{id}", body=b"x" * 20_000_000, timeout=Timeout(read=5)))
        assert reply.status == 413
    await one.close()
    for writer in accepted:
        writer.transport.abort()  # what it did not read is still there, and the end behind it
    assert len(accepted) == 2
    server.close()


async def test_a_line_break_in_a_header_field_is_refused(transport: Make) -> None:
    """It would be a field of its own, or another request."""
    async with FaultServer(answer(200, DOCUMENT)) as server:
        one = transport(server.url)
        with pytest.raises(ValueError, match=r"line break|injection"):
            await one.send(READ.with_headers({"X-A": "b\r\nX-C: d"}))
        assert server.requests == []
        await one.close()


async def test_a_stream_that_is_read_slowly_is_not_kept_in_memory(transport: Make) -> None:
    """The server is held up instead; and it is not its fault, so that no time limit applies."""
    sent = 0

    async def flood(call: Call) -> None:
        nonlocal sent
        await call.send(HEAD + b"Content-Length: 100000000\r\n\r\n")
        while True:
            await call.send(b"x" * 100_000)
            sent += 100_000

    async with FaultServer(flood) as server:
        one = transport(server.url)
        async with one.stream(Request("GET", "/db/_changes", "/{db}/_changes", timeout=Timeout(read=1))) as stream:
            await anext(stream.chunks)
            await asyncio.sleep(1.5)  # longer than the limit
            assert sent < 20_000_000
            for _ in range(100):
                await anext(stream.chunks)
        await one.close()


async def test_closing_ends_what_is_under_way(transport: Make) -> None:
    """Nobody waits for an answer of a client that is closed, and no connection stays open."""
    async with FaultServer(stall) as server:
        one = transport(server.url)
        write = asyncio.create_task(one.send(Request("PUT", "/db/a", "/{db}/{id}")))
        await until(lambda: server.requests)
        await one.close()
        with pytest.raises(errors.Unavailable):
            await write
        await until(lambda: server.open == 0)


async def test_idle_connections_are_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the server closes them, which could cost a write."""
    monkeypatch.setattr(over_httptools, "KEEP_IDLE_SECONDS", 0.05)
    async with FaultServer(answer(200, DOCUMENT)) as server, Couch(server.url, library="httptools") as couch:
        await asyncio.gather(*(couch["db"].get("a") for _ in range(3)))
        await until(lambda: server.open == 0)
        await couch["db"].get("a")
        assert server.open == 1


def test_a_client_can_be_used_in_one_event_loop_after_another() -> None:
    """As in a script that calls `asyncio.run` twice."""
    couch = Couch("http://127.0.0.1:1", library="httptools")

    async def once() -> None:
        async with FaultServer(answer(200, DOCUMENT)) as server:
            couch._exchange.transport._port = server.port  # type: ignore[attr-defined]
            assert await couch["db"].get("a")

    asyncio.run(once())
    asyncio.run(once())


async def test_a_host_is_reached_at_any_of_its_addresses() -> None:
    """`localhost` often names two, of which one refuses."""
    async with FaultServer(answer(200, DOCUMENT)) as server:
        for library in ("httptools", "aiohttp"):
            async with Couch(server.url.replace("127.0.0.1", "localhost"), library=library) as couch:
                assert await couch["db"].get("a")


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip"])
async def test_a_coding_that_cannot_be_undone_is_nonsense(coding: str) -> None:
    """One that nobody asked for, or a content whose end is missing, is not taken for the content."""
    spoilt = answer(200, gzip.compress(DOCUMENT)[:-4], Content_Encoding=coding)
    async with FaultServer(spoilt) as server, Couch(server.url, library="httptools") as couch:
        with pytest.raises(errors.InvalidReply, match="decompressed"):
            await couch["db"].get("a")


def test_the_library_can_be_chosen() -> None:
    """Others are refused."""
    names = [type(Couch("http://a", library=each)._exchange.transport).__name__ for each in ("httptools", "aiohttp")]
    assert names == ["HttptoolsTransport", "AiohttpTransport"]
    with pytest.raises(ValueError, match="library"):
        Couch("http://a", library="requests")  # type: ignore[arg-type]
    assert Couch("http://a", transport=FakeTransport([]), library="aiohttp")


@pytest.mark.parametrize("refused", [answer(200, b"0" * 5_000_000), raw(HEAD + b"Content-Length: 9\r\n\r\n{}" * 2)])
async def test_what_is_refused_leaves_the_memory_at_once(refused: Behaviour) -> None:
    """It does not wait for the garbage collector, which is seldom in a service: pages that ended early took 100 MiB."""
    async with FaultServer(refused) as server, Couch(server.url, library="httptools") as couch:
        gc.collect()
        gc.disable()
        try:
            for _ in range(3):
                with contextlib.suppress(errors.CouchError):
                    await couch._exchange.transport.send(Request("GET", "/db/a", "/{db}/{id}", most=1_000_000))
            await until(lambda: server.open == 0)
            assert not [each for each in gc.get_objects() if isinstance(each, Exchange)]
        finally:
            gc.enable()
