"""A body that nobody asked for is not kept: it is dropped as it comes, or refused before it comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from tests.security.attacks.conftest import MIB, Victim

LARGE = 48 * MIB
DROPPED = [
    ("POST", "/nothing/here", 404), ("PUT", "/nothing", 404), ("DELETE", "/nothing", 404), ("GET", "/nothing", 404),
    ("POST", "/docs", 405), ("GET", "/docs", 200), ("PUT", "/openapi.json", 405), ("POST", "/_live", 405),
    ("GET", "/_live", 200), ("POST", "/bags", 413), ("PUT", "/bags/a", 413), ("DELETE", "/bags/a", 404),
    ("POST", "/form", 413), ("POST", "/upload", 413), ("GET", "/form", 413), ("POST", "/bags/a/b/c", 404),
]  # fmt: skip


async def pieces(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 65536):
        yield bytes(65536)


@pytest.mark.parametrize("chunked", [False, True])
async def test_no_address_keeps_a_body_that_it_does_not_take(victim: Victim, chunked: bool) -> None:
    """Any address that is not a resource kept 100 MiB."""
    for address in ("/nothing", "/docs", "/_live", "/bags", "/form"):  # what is loaded once is loaded
        await victim.ask("GET", address)
    for method, address, status in DROPPED:
        victim.begin()
        length = {} if chunked else {"Content-Length": str(LARGE)}
        reply = await victim.ask(method, address, data=pieces(LARGE), **length)
        assert (method, address, reply.status) == (method, address, status)
        assert victim.grown() < 8, f"{method} {address}: {victim.grown():.0f} MiB"


async def test_a_form_to_a_missing_page_is_not_parsed(victim: Victim) -> None:
    """With the oldest Tornado, its parts took 19 seconds."""
    form = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n' * 400_000 + b"--x--\r\n"
    before = victim.seconds()
    for address in ("/nothing", "/docs"):
        for kind, body in (
            ("multipart/form-data; boundary=x", form),
            ("application/x-www-form-urlencoded", b"a=&" * 5_000_000),
        ):
            assert (await victim.ask("POST", address, data=body, Content_Type=kind)).status in (404, 405)
    assert victim.seconds() - before < 1.5


async def test_what_is_too_long_to_be_dropped_is_refused_by_its_length(victim: Victim) -> None:
    """The answer comes before the body, and the connection is closed."""
    for address in ("/nothing", "/docs", "/bags", "/form"):
        reader, writer = await asyncio.open_connection("127.0.0.1", victim.port)
        writer.write(f"POST {address} HTTP/1.1\r\nHost: a\r\nContent-Length: {2**40}\r\n\r\n".encode())
        async with asyncio.timeout(10):
            answer = await reader.read()
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 413")
        assert json.loads(body)["status"] == 413


async def test_a_handler_of_the_service_says_how_much_it_takes(victim: Victim) -> None:
    """1 MiB, unless its class or the application says something else."""
    for address, size, status in [
        ("/form", MIB, 200), ("/form", MIB + 1, 413), ("/upload", 4 * MIB, 200), ("/upload", 4 * MIB + 1, 413),
    ]:  # fmt: skip
        reply = await victim.ask("POST", address, data=bytes(size))
        assert (reply.status, address, size) == (status, address, size)
        if status == 200:
            assert reply.text == str(size).encode()


async def test_a_connection_stays_open_after_a_body_that_was_dropped(victim: Victim) -> None:
    """Its client gets to read the answer, and can send the next request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", victim.port)
    for _ in range(3):
        for address in (b"/nothing", b"/form", b"/docs"):
            size = 2 * MIB
            writer.write(b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (address, size) + bytes(size))
            head = await reader.readuntil(b"\r\n\r\n")
            (length,) = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
            await reader.readexactly(int(length.partition(b":")[2]))
    writer.close()


async def test_a_transfer_coding_in_http_1_0_is_refused(victim: Victim) -> None:
    """RFC 9112 §6.1: its framing is faulty, and the connection is closed."""
    for address in ("/nothing", "/bags", "/form", "/docs"):
        reader, writer = await asyncio.open_connection("127.0.0.1", victim.port)
        fields = "Host: a\r\nConnection: keep-alive\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked"
        writer.write(f"POST {address} HTTP/1.0\r\n{fields}\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n".encode())
        async with asyncio.timeout(10):
            assert (await reader.read()).startswith(b"HTTP/1.1 400")
        writer.close()
