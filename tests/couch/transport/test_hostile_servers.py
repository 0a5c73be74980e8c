"""Servers and proxies that are broken or hostile, and calls that are cancelled at any step."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.faults import Behaviour, Call, FaultServer, answer, raw, stall, until
from tornado_couch import errors
from tornado_couch.couch import Request, Timeout, Transport
from tornado_couch.couch.transport import connection
from tornado_couch.couch.transport.httptools import HttptoolsTransport

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
OK = answer(200, b"{}")
READ = Request("GET", "/db/a", "/{db}/{id}", timeout=Timeout(connect=2, read=5, total=10, pool=5), safe=True)
WRITE = Request("POST", "/db", "/{db}", body=b"{}", timeout=READ.timeout)


def endless(beginning: bytes, more: bytes) -> Behaviour:
    async def behave(call: Call) -> None:
        await call.send(beginning)
        while not call.writer.is_closing():
            await call.send(more)

    return behave


@pytest.mark.parametrize(
    "behaviour",
    [
        endless(HEAD, b"X-A: b\r\n" * 1000),
        endless(b"", b"HTTP/1.1 102 Processing\r\n\r\n" * 1000),
        endless(CHUNKED + b"2\r\n{}\r\n0\r\n", b"X-A: b\r\n" * 1000),
        endless(CHUNKED + b"2\r\n{}\r\n0\r\nX-A: ", b"b" * 1000),
        endless(CHUNKED + b"2;", b"b" * 1000),
    ],
    ids=["header", "interim", "trailers", "one-trailer", "extension"],
)
async def test_what_is_no_content_may_not_go_on_for_ever(behaviour: Behaviour) -> None:
    """Nothing of it counts as content, so that no other limit of size applies."""
    async with FaultServer(behaviour, OK) as server, opened(server.url) as one:
        with pytest.raises(errors.InvalidReply):
            await one.send(READ)
        await until(lambda: server.open == 0)
        assert (await one.send(READ)).body == b"{}"


@pytest.mark.parametrize("status", [204, 304])
async def test_content_that_may_not_be_there_answers_nothing(status: int) -> None:
    """It would be taken for the answer to the next request."""
    other = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"
    head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(other)}\r\n\r\n".encode()
    async with FaultServer(raw(head + other), OK) as server, opened(server.url) as one:
        reply = await one.send(WRITE)
        assert (reply.status, reply.body) == (status, b"")
        assert (await one.send(WRITE)).status == 200
        assert server.opened == 2


async def test_two_lengths_are_nonsense() -> None:
    """Which one counts is what attacks on proxies live on."""
    for field in (b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n"):
        spoilt = raw(HEAD + b"Content-Length: 2\r\n" + field + b"\r\n{}")
        async with FaultServer(spoilt) as server, opened(server.url) as one:
            with pytest.raises(errors.InvalidReply):
                await one.send(WRITE)
            assert len(server.requests) == 1


@pytest.mark.parametrize(
    "data", [gzip.compress(b"{}") + b"x", gzip.compress(b"{") + gzip.compress(b"}")], ids=["garbage", "another"]
)
async def test_what_follows_compressed_content_is_not_dropped_in_silence(data: bytes) -> None:
    """An answer of which a part is missing is none."""
    async with FaultServer(answer(200, data, Content_Encoding="gzip")) as server, opened(server.url) as one:
        with pytest.raises(errors.InvalidReply):
            await one.send(READ)


async def test_a_stream_is_not_compressed() -> None:
    """A part that came could stand for a thousand times its length, which would be in memory at once."""
    bomb = answer(200, gzip.compress(b"0" * 10_000_000), Content_Encoding="gzip")
    async with FaultServer(bomb, OK) as server, opened(server.url) as one:
        async with one.stream(READ) as stream:
            with pytest.raises(errors.InvalidReply):
                await anext(stream.chunks)
        async with one.stream(READ) as stream:
            assert [part async for part in stream.chunks] == [b"{}"]
        assert {each.headers["accept-encoding"] for each in server.requests} == {"identity"}


async def test_an_answer_without_length_is_not_complete_because_the_client_is_closed() -> None:
    """Only the server's end is its end."""

    async def begin(call: Call) -> None:
        await call.send(HEAD + b"\r\n{")
        await call.until_closed()

    async with FaultServer(begin) as server, opened(server.url) as one, one.stream(READ) as stream:
        assert await anext(stream.chunks) == b"{"
        await one.close()
        with pytest.raises(errors.Unavailable):
            await anext(stream.chunks)


async def test_closing_is_an_outage_for_a_read_as_well() -> None:
    """A read whose connection is lost is sent again, but not by a client that is closed."""
    async with FaultServer(stall) as server, opened(server.url) as one:
        reading = asyncio.create_task(one.send(READ))
        await until(lambda: server.requests)
        await one.close()
        with pytest.raises(errors.Unavailable):
            await reading


def files() -> int:
    """How many files and sockets are open."""
    return sum(1 for _ in Path("/dev/fd").iterdir())


@contextlib.asynccontextmanager
async def opened(url: str, **options: int) -> AsyncIterator[Transport]:
    one = HttptoolsTransport(url, **options)
    try:
        yield one
    finally:
        await one.close()


@contextlib.asynccontextmanager
async def reluctant(data: bytes, *, ends: bool) -> AsyncIterator[tuple[str, list[socket.socket]]]:
    """A server that answers when it has the header, and reads no more, with small buffers."""
    loop, accepted = asyncio.get_running_loop(), []
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)

        async def serve() -> None:
            while True:
                each, _ = await loop.sock_accept(listening)
                accepted.append(each)
                await loop.sock_recv(each, 1000)
                await loop.sock_sendall(each, data)
                if ends:
                    each.shutdown(socket.SHUT_WR)

        serving = asyncio.create_task(serve())
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}", accepted
        finally:
            serving.cancel()
            for each in accepted:
                each.close()


@pytest.mark.parametrize("piece_by_piece", [False, True])
async def test_an_early_answer_ends_the_connection(piece_by_piece: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the body, which was not sent yet, would be in the way of the next request."""
    if not piece_by_piece:
        monkeypatch.setattr(connection, "LONG_BODY_BYTES", 10**9)
    write = Request("PUT", "/db/a", "/{db}/{id}", body=b"x" * 20_000_000, timeout=READ.timeout)
    refusal = b"HTTP/1.1 401 X\r\nContent-Length: 2\r\n\r\n{}"
    async with reluctant(refusal, ends=False) as (url, accepted), opened(url) as one:
        for count in (1, 2):
            assert (await one.send(write)).status == 401
            assert len(accepted) == count


@pytest.mark.parametrize("length", [250_000, 20_000_000])
async def test_a_half_closed_connection_ends_an_answer_without_length(length: int) -> None:
    """Also if the server does not take the rest of the request."""
    write = Request("PUT", "/db/a", "/{db}/{id}", body=b"x" * length, timeout=READ.timeout)
    async with reluctant(b"HTTP/1.1 413 X\r\n\r\n{}", ends=True) as (url, _), opened(url) as one, asyncio.timeout(5):
        reply = await one.send(write)
    assert (reply.status, reply.body) == (413, b"{}")


@pytest.mark.parametrize("stalls", [False, True], ids=["plain", "tls-stalls"])
async def test_a_call_can_be_cancelled_at_any_step(stalls: bool) -> None:
    """No connection, no task and no turn is left."""
    before, open_before = asyncio.all_tasks(), files()
    async with FaultServer(stall) as server:
        url = server.url.replace("http:", "https:") if stalls else server.url
        async with opened(url, max_connections=1) as one:
            for steps in range(25):
                call = asyncio.create_task(one.send(WRITE))
                for _ in range(steps):
                    await asyncio.sleep(0.001 if steps > 15 else 0)
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                assert one._slots._free == 1  # type: ignore[attr-defined]
            await until(lambda: server.open == 0)
            assert server.opened
    await until(lambda: asyncio.all_tasks() <= before)
    await until(lambda: files() <= open_before)


@pytest.fixture
def full() -> Iterator[int]:
    """A port of 127.0.0.1 that takes no more connections, and refuses none."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


@pytest.mark.skipif(not Path("/proc").exists(), reason="other systems refuse what their queue cannot take")
async def test_an_address_that_is_silent_holds_up_no_other_one(full: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next is tried after a quarter of a second; if all are silent, the limit is that for the connection."""
    found: list[int] = []

    async def addresses(*_: object, **__: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in found]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", addresses)
    open_before = files()
    async with FaultServer(OK) as server, opened("http://couch.test") as one:
        found[:] = [full, server.port]
        assert (await one.send(WRITE)).status == 200
        await one.close()
    async with opened("http://couch.test") as one:
        found[:] = [full, full]
        limited = Request("POST", "/db", "/{db}", body=b"{}", timeout=Timeout(connect=0.4))
        with pytest.raises(errors.ConnectTimeout) as caught:
            await one.send(limited)
        assert caught.value.sent is False
    await until(lambda: files() <= open_before)
