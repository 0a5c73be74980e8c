"""The connections of load generators: which answers they understand, and what they do when a connection is lost."""

from __future__ import annotations

import asyncio
import re
import ssl

import pytest
import trustme

from tests.faults import Behaviour, Call, FaultServer, answer, hang_up, raw, reset, stall, truncated
from tornado_couch.maintain.http_connection import HTTPConnection

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


async def ask(connection: HTTPConnection) -> tuple[int, bytes]:
    found = await connection.ask(REQUEST)
    return found.status, found.body


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (answer(201, b"abc"), (201, b"abc")),
        (raw(OK + b"content-length:3\r\n\r\nabc"), (200, b"abc")),
        (raw(b"HTTP/1.1 204 No Content\r\n\r\n"), (204, b"")),
        (raw(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n"), (304, b"")),
        (raw(OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), (200, b"3\r\nabc\r\n0\r\n\r\n")),
    ],
    ids=["length", "lower case", "204", "304", "chunks"],
)
async def test_each_kind_of_answer_is_read_whole(behaviour: Behaviour, expected: tuple[int, bytes]) -> None:
    """One after the other, on one connection."""
    async with FaultServer(behaviour) as server:
        connection = HTTPConnection(server.url)
        assert [await ask(connection) for _ in range(3)] == [expected] * 3
        assert server.opened == 1
        connection.close()


async def test_an_answer_may_come_in_pieces() -> None:
    """Even a byte at a time, as its header and its body."""
    sent = OK + b'ETag: "1"\r\nContent-Length: 3\r\n\r\nabc'
    async with FaultServer(answer(200)) as server:
        connection = HTTPConnection(server.url)
        await connection.open()
        asked = asyncio.create_task(connection.ask(REQUEST))
        await asyncio.sleep(0)
        for place in range(len(sent)):
            assert not asked.done()
            connection.data_received(sent[place : place + 1])
        found = await asked
        connection.close()
    assert (found.status, found.body) == (200, b"abc")
    assert (found.header("etag"), found.header("Content-Length"), found.header("Location")) == ('"1"', "3", "")


async def test_a_closed_connection_ends_an_answer_without_a_length() -> None:
    """As RFC 9112 §6.3 has it; the next request opens another connection."""

    async def behave(call: Call) -> None:
        await raw(OK + b"\r\nabc")(call)
        await hang_up(call)

    async with FaultServer(behave) as server:
        connection = HTTPConnection(server.url)
        assert [await ask(connection) for _ in range(2)] == [(200, b"abc")] * 2
        assert server.opened == 2


async def test_a_connection_that_the_server_gives_up_is_not_used_again() -> None:
    """It says so by `Connection: close`."""
    async with FaultServer(answer(200, b"abc", Connection="close")) as server:
        connection = HTTPConnection(server.url)
        assert [await ask(connection) for _ in range(3)] == [(200, b"abc")] * 3
        assert server.opened == 3
        connection.close()


@pytest.mark.parametrize(
    "fault",
    [hang_up, reset, truncated, raw(b"SSH-2.0-x\r\n\r\n"), raw(OK + b"Content-Length: 1\r\n\r\nabc")],
    ids=["closed", "reset", "cut off", "not HTTP", "too much"],
)
async def test_a_lost_answer_is_an_error_and_the_next_one_is_not(fault: Behaviour) -> None:
    """Each error is an OSError."""
    async with FaultServer(fault, answer(200, b"abc")) as server:
        connection = HTTPConnection(server.url)
        with pytest.raises(OSError, match=r"closed|reset|the answer is not HTTP|more than one answer"):
            await connection.ask(REQUEST)
        assert await ask(connection) == (200, b"abc")
        connection.close()


async def test_an_answer_that_comes_too_late_is_not_taken_for_the_next() -> None:
    """The connection of a request that ran out of time is closed."""
    async with FaultServer(stall, answer(200, b"abc")) as server:
        connection = HTTPConnection(server.url)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await connection.ask(REQUEST)
        assert await ask(connection) == (200, b"abc")
        assert server.opened == 2
        connection.close()


async def test_certificates_are_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against what the machine trusts."""
    authority = trustme.CA()
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    async with FaultServer(answer(200, b"abc"), tls=serving) as server:
        url = re.sub(r"//[^:/]+", "//localhost", server.url)
        with pytest.raises(ssl.SSLCertVerificationError):
            await HTTPConnection(url).ask(REQUEST)
        monkeypatch.setattr(ssl, "create_default_context", lambda: trusting)
        connection = HTTPConnection(url)
        assert await ask(connection) == (200, b"abc")
        connection.close()
