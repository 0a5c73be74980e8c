"""Where a request ends is never in doubt: what a proxy could take for a second request is not answered."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from tornado.httpserver import HTTPServer

from tornado_couch import Application, Couch, ProblemHandler
from tornado_couch.embedded import EmbeddedCouch
from tornado_couch.service.listening import Listening, bind
from tornado_couch.service.server import server_class

SECOND = b"PUT /second HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked"
ATTACKS = {
    "a coding in HTTP/1.0": (b"HTTP/1.0", [b"Connection: keep-alive", CHUNKED], b"0\r\n\r\n"),
    "a coding and a length in HTTP/1.0": (b"HTTP/1.0", [b"Connection: keep-alive", CHUNKED, b"Content-Length: 5"],
                                          b"0\r\n\r\n"),
    "another coding in HTTP/1.0": (b"HTTP/1.0", [b"Connection: keep-alive", b"Transfer-Encoding: gzip"], b""),
    "a coding and a length": (b"HTTP/1.1", [CHUNKED, b"Content-Length: 5"], b"0\r\n\r\n"),
    "two lengths": (b"HTTP/1.1", [b"Content-Length: 0", b"Content-Length: 5"], b""),
    "two lengths in one field": (b"HTTP/1.1", [b"Content-Length: 0, 5"], b""),
    "a signed length": (b"HTTP/1.1", [b"Content-Length: +0"], b""),
    "a length in other digits": (b"HTTP/1.1", [b"Content-Length: \xb2"], b""),
    "a length without end": (b"HTTP/1.1", [b"Content-Length: " + b"9" * 5000], b""),
    "a coding twice": (b"HTTP/1.1", [CHUNKED, CHUNKED], b"0\r\n\r\n"),
    "an unknown coding": (b"HTTP/1.1", [b"Transfer-Encoding: xchunked"], b""),
    "a blank before the colon": (b"HTTP/1.1", [b"Transfer-Encoding : chunked"], b"0\r\n\r\n"),
    "a signed chunk": (b"HTTP/1.1", [CHUNKED], b"+0\r\n\r\n"),
    "a chunk with blanks": (b"HTTP/1.1", [CHUNKED], b" 0\r\n\r\n"),
}  # fmt: skip


SERVERS = {"service": "httptools", "service on tornado": "tornado"}


class Counted(ProblemHandler):
    """Counts the requests that come to it."""

    def prepare(self) -> None:
        self.settings["came"].append(self.request.path)

    def put(self) -> None:
        self.finish()


@asynccontextmanager
async def listening(which: str) -> AsyncIterator[int]:
    """A server of one kind; its port. Nothing may have come to `/second` at its end."""
    if which == "embedded":
        async with EmbeddedCouch() as url, Couch(url) as couch:
            yield urlsplit(url).port or 0
            assert "second" not in await couch.databases()
        return
    came: list[str] = []
    (listener,) = bind("127.0.0.1", 0)
    application = Application([("/second", Counted)], came=came)
    server = HTTPServer(application) if which == "tornado" else server_class(SERVERS[which])(application)
    server.add_sockets([listener])
    yield listener.getsockname()[1]
    if isinstance(server, Listening):
        server.accept_rest()
    server.stop()
    await server.close_all_connections()
    assert came == []


async def answers(port: int, sent: bytes) -> bytes:
    """All that is answered until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("which", ["tornado", *SERVERS, "embedded"])
async def test_a_request_of_doubtful_length_is_the_last_of_its_connection(which: str) -> None:
    """It is refused, and what follows is neither answered nor carried out (RFC 9112 §6.1, §6.3, §9.6)."""
    async with listening(which) as port:
        for name, (version, fields, body) in ATTACKS.items():
            head = b"\r\n".join([b"POST /first " + version, b"Host: localhost", *fields])
            answer = await answers(port, head + b"\r\n\r\n" + body + SECOND)
            assert answer.count(b"HTTP/1.1 ") == 1, (name, answer)
            assert answer.startswith(b"HTTP/1.1 4"), (name, answer)


@pytest.mark.parametrize("which", ["tornado", *SERVERS, "embedded"])
async def test_nothing_is_done_after_the_last_request_of_a_connection(which: str) -> None:
    """A client that says `Connection: close` has no second request, and a proxy would not have checked one."""
    async with listening(which) as port:
        for first in (b"GET /first HTTP/1.1\r\nHost: localhost\r\nConnection: close", b"GET /first HTTP/1.0"):
            assert (await answers(port, first + b"\r\n\r\n" + SECOND * 2)).count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("which", ["tornado", *SERVERS])
async def test_no_address_writes_control_characters_to_the_log(which: str, caplog: pytest.LogCaptureFixture) -> None:
    """A terminal that shows the log may obey them, and what reads it line by line may find a line that was forged."""
    caplog.set_level(logging.DEBUG)
    async with listening(which) as port:
        for byte in [*range(33), *range(127, 256)]:
            address = b"/a" + bytes([byte]) + b"b%0d%0a%1b" + bytes([0xC2, byte | 0x80])
            await answers(port, b"GET " + address + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await answers(port, b"G\x9bET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    shown = [record.getMessage() for record in caplog.records]
    assert any("/a%9Bb%0d" in each for each in shown)
    assert [each for each in shown if not each.isprintable() or not each.isascii()] == []
