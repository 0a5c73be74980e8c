"""Connections, time limits and outages, against servers that misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
import traceback
from collections.abc import Awaitable, Callable

import pytest

from tests.faults import (
    Behaviour,
    FaultServer,
    answer,
    drip,
    hang_up,
    raw,
    reset,
    stall,
    stall_midway,
    truncated,
    until,
)
from tornado_couch import errors
from tornado_couch.couch import Couch, Request, Timeout, Transport

pytestmark = pytest.mark.usefixtures("library")

QUICK = Timeout(connect=5, read=0.2, total=5, pool=5)
OK = answer(200, {"_id": "a", "_rev": "1-a"})
WRITTEN = answer(201, {"ok": True, "id": "a", "rev": "1-a"})
HTML = answer(200, b"<html>Welcome to your new router", Content_Type="text/html")


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        (reset, errors.Unavailable),
        (hang_up, errors.Unavailable),
        (truncated, errors.Unavailable),
        (stall, errors.ReadTimeout),
        (stall_midway, errors.ReadTimeout),
        (drip(0.02), errors.TotalTimeout),
        (answer(503, {"error": "busy", "reason": "later"}), errors.Unavailable),
        (answer(500, b"<html>", Content_Type="text/html"), errors.Unavailable),
        (answer(200, b'{"a": '), errors.InvalidReply),
        (answer(200, b"\xff\xfe{}"), errors.InvalidReply),
        (answer(200, b'{"a": NaN}'), errors.InvalidReply),
        (answer(200, b"[" * 100_000), errors.InvalidReply),
        (answer(200, b"garbage", Content_Encoding="gzip"), errors.InvalidReply),
        (answer(200, [1, 2]), errors.InvalidReply),
        (answer(200, {"ok": True}), errors.InvalidReply),
        (HTML, errors.InvalidReply),
        (answer(204, b""), errors.InvalidReply),
        (answer(302, b"", Location="http://127.0.0.1:1/"), errors.InvalidReply),
        (answer(404, b"<html>nginx", Content_Type="text/html"), errors.InvalidReply),
        (raw(b"SSH-2.0-OpenSSH_9.2\r\n"), errors.InvalidReply),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}}"), errors.InvalidReply),
    ],
)
async def test_each_misbehaviour_has_its_own_exception_in_time(
    behaviour: Behaviour, expected: type[errors.CouchError]
) -> None:
    """Resets, stalls, 5xx, broken JSON, foreign servers and wrong shapes differ, and none hangs."""
    async with FaultServer(behaviour) as server, Couch(server.url, timeout=Timeout(read=0.2, total=1)) as couch:
        began = time.monotonic()
        with pytest.raises(errors.CouchError) as caught:
            await couch["db"].get("a")
        assert type(caught.value) is expected
        assert time.monotonic() - began < 20


async def test_an_outage_tells_the_status_and_the_reason() -> None:
    """A 503 keeps its status and CouchDB's reason; a lost connection has no status."""
    async with FaultServer(answer(503, {"error": "busy", "reason": "later"}), reset) as server, Couch(server.url) as c:
        with pytest.raises(errors.Unavailable, match="busy: later") as caught:
            await c["db"].put({"_id": "a"})
        assert (caught.value.status, caught.value.sent) == (503, True)
        with pytest.raises(errors.Unavailable) as caught:
            await c["db"].put({"_id": "a"})
        assert (caught.value.status, caught.value.sent) == (None, True)


async def test_no_server_is_an_outage_in_which_nothing_was_sent() -> None:
    """A refused connection says that sending again is safe."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with Couch(f"http://127.0.0.1:{unused.getsockname()[1]}") as couch:
            with pytest.raises(errors.Unavailable) as caught:
                await couch["db"].put({"_id": "a"})
    assert caught.value.sent is False
    assert not isinstance(caught.value, errors.TimedOut)


async def test_an_unknown_host_is_an_outage() -> None:
    """A name that does not resolve is told like a server that is down."""
    async with Couch("http://couch.invalid") as couch:
        with pytest.raises(errors.Unavailable) as caught:
            await couch.up()
    assert caught.value.sent is False


async def test_a_handshake_that_stalls_is_a_connect_timeout() -> None:
    """The connect limit covers TLS; nothing was sent."""
    async with FaultServer(stall) as server:
        url = server.url.replace("http:", "https:")
        async with Couch(url, timeout=Timeout(connect=0.2)) as couch:
            with pytest.raises(errors.ConnectTimeout) as caught:
                await couch.up()
    assert caught.value.sent is False


async def test_a_busy_pool_is_a_pool_timeout() -> None:
    """With its one connection busy the client waits for `pool` seconds, and sends nothing."""
    limits = Timeout(read=None, total=None, pool=0.1)
    async with FaultServer(stall) as server, Couch(server.url, timeout=limits, max_connections=1) as couch:
        busy = asyncio.create_task(couch.up())
        await until(lambda: server.requests)
        with pytest.raises(errors.PoolTimeout) as caught:
            await couch.up()
        assert caught.value.sent is False
        assert len(server.requests) == 1
        await _cancelled(busy)


async def test_the_total_limit_covers_the_wait_for_a_connection() -> None:
    """A call that never gets a connection ends with the total limit, when that is the shorter one."""
    async with FaultServer(stall) as server, Couch(server.url, max_connections=1, timeout=None) as couch:
        busy = asyncio.create_task(couch.up())
        await until(lambda: server.requests)
        with pytest.raises(errors.TotalTimeout):
            await couch.database("db", timeout=0.1).info()
        await _cancelled(busy)


async def test_connections_are_kept_and_shared() -> None:
    """Requests one after another use one connection; concurrent ones no more than are permitted."""
    async with FaultServer(OK) as server, Couch(server.url, max_connections=3) as couch:
        for _ in range(5):
            await couch["db"].get("a")
        assert server.opened == 1
        await asyncio.gather(*(couch["db"].get("a") for _ in range(50)))
        assert 1 < server.opened <= 3


@pytest.mark.parametrize("lost", [reset, hang_up])
@pytest.mark.parametrize(
    ("call", "resent"),
    [
        (lambda database: database.get("a"), True),
        (lambda database: database.revision("a"), True),
        (lambda database: database.put({"_id": "a"}), False),
        (lambda database: database.delete("a", "1-a"), False),
        (lambda database: database.bulk_docs([{"_id": "a"}]), False),
    ],
)
async def test_only_what_changes_nothing_is_sent_again(
    call: Callable[[object], Awaitable[object]], resent: bool, lost: Behaviour
) -> None:
    """When a pooled connection turns out closed, reads are sent once more, and writes never are."""
    ok = answer(200, {"_id": "a", "_rev": "1-a"}, ETag='"1-a"')
    async with FaultServer(ok, lost, ok) as server, Couch(server.url) as couch:
        await couch["db"].get("a")
        if resent:
            await call(couch["db"])
        else:
            with pytest.raises(errors.Unavailable):
                await call(couch["db"])
        assert len(server.requests) == (3 if resent else 2)


async def test_reads_by_post_are_sent_again_as_well() -> None:
    """`_bulk_get`, `_find` and queries with keys change nothing, though their method is POST."""
    found = {"results": [{"id": "a", "docs": []}], "rows": [], "docs": []}
    async with FaultServer(reset, answer(200, found), reset, answer(200, found), reset, answer(200, found)) as server:
        async with Couch(server.url) as couch:
            await couch["db"].bulk_get(["a"])
            await couch["db"].find({})
            await couch["db"].all_docs(keys=["a"])
        assert [request.method for request in server.requests] == ["POST"] * 6


async def test_a_read_is_sent_again_only_once() -> None:
    """A server that resets every connection is an outage after the second try."""
    async with FaultServer(reset) as server, Couch(server.url) as couch:
        with pytest.raises(errors.Unavailable):
            await couch.up()
        assert len(server.requests) == 2


async def test_cancelled_calls_leave_no_connection_and_no_task() -> None:
    """After calls were cancelled in every stage, the pool is whole and no connection or task is left."""
    tasks_before = asyncio.all_tasks()
    async with FaultServer(stall) as server, Couch(server.url, max_connections=2) as couch:
        calls = [asyncio.create_task(couch["db"].get("a")) for _ in range(6)]  # two sent, four waiting
        await until(lambda: len(server.requests) == 2)
        for call in calls:
            await _cancelled(call)
        await until(lambda: server.open == 0)
        server.script = [stall_midway]
        half_read = asyncio.create_task(couch["db"].get("a"))
        await until(lambda: len(server.requests) == 3)
        await _cancelled(half_read)
        await until(lambda: server.open == 0)
        server.script = [OK]
        await asyncio.gather(*(couch["db"].get("a") for _ in range(10)))
        assert server.open <= 2
    await until(lambda: asyncio.all_tasks() <= tasks_before)


async def test_a_stream_gives_what_has_come_and_frees_its_connection_when_left(
    transport: Callable[..., Transport],
) -> None:
    """Chunks come before the answer ends; leaving early closes the connection and gives the turn back."""
    async with FaultServer(stall_midway, OK) as server:
        one = transport(server.url, max_connections=1)
        request = Request("GET", "/db/_changes", "/{db}/_changes", timeout=QUICK)
        async with one.stream(request) as stream:
            assert stream.status == 200
            assert stream.headers["content-type"] == "application/json"
            assert await anext(stream.chunks) == b'{"half":'
            with pytest.raises(errors.ReadTimeout):
                await anext(stream.chunks)
        await until(lambda: server.open == 0)
        assert (await one.send(request)).status == 200
        await one.close()


async def test_a_stream_that_cannot_begin_or_breaks_off_is_an_outage(transport: Callable[..., Transport]) -> None:
    """The same errors as of whole answers; nothing stays busy."""
    async with FaultServer(hang_up, hang_up, truncated, OK) as server:
        one = transport(server.url, max_connections=1)
        request = Request("GET", "/db/_changes", "/{db}/_changes", timeout=QUICK, safe=True)
        with pytest.raises(errors.Unavailable):
            async with one.stream(request):
                pass
        async with one.stream(request) as stream:
            with pytest.raises(errors.Unavailable):
                assert [chunk async for chunk in stream.chunks]
        assert (await one.send(request)).status == 200
        await one.close()


async def test_a_turn_that_comes_in_the_step_of_its_cancellation_passes_on() -> None:
    """A waiter that is cancelled just when it gets its connection gives it to the next one."""
    async with FaultServer(OK) as server, Couch(server.url, max_connections=1, timeout=5) as couch:
        for _ in range(20):
            calls = [asyncio.create_task(couch["db"].get("a")) for _ in range(3)]
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            calls[1].cancel()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(results[2], dict)


async def test_a_path_arrives_as_it_was_quoted() -> None:
    """No library on the way turns %2F or %2E into what they stand for."""
    async with FaultServer(OK) as server, Couch(server.url + "/a%2Fb/") as couch:
        couch._exchange._checked.add("paths")  # this server has the same answer to everything
        await couch["x/y"].get("..")
        await couch["x/y"].get("%2F +é")
        await couch["x/y"].get("a", rev="1-a&b")
    assert [request.target for request in server.requests] == [
        "/a%2Fb/x%2Fy/%2E%2E",
        "/a%2Fb/x%2Fy/%252F%20%2B%C3%A9",
        "/a%2Fb/x%2Fy/a?rev=1-a%26b",
    ]


@pytest.mark.parametrize("behaviour", [reset, stall, HTML, answer(503, None)])
async def test_a_traceback_shows_no_id_and_no_key(behaviour: Behaviour) -> None:
    """Errors name the path template, and hide the library's own messages, which quote the URL."""
    async with FaultServer(behaviour) as server, Couch(server.url, timeout=QUICK) as couch:
        for call in (couch["db"].get("secret"), couch["db"].view("d", "v", key="secret")):
            with pytest.raises(errors.CouchError) as caught:
                await call
            shown = "".join(traceback.format_exception(caught.value))
            # The lines of this very file stand in the traceback too.
            assert "secret" not in str(caught.value)
            assert "%22secret" not in shown
            assert "/db/secret" not in shown


async def test_the_client_is_made_outside_of_the_loop_and_closed_twice() -> None:
    """Making a client opens nothing; a closed one says so."""
    couch = await asyncio.to_thread(Couch, "http://127.0.0.1:1")
    await couch.close()
    await couch.close()
    with pytest.raises(RuntimeError, match="closed"):
        await couch.up()


async def test_long_json_is_decoded_beside_the_loop() -> None:
    """While a long answer is decoded, the event loop goes on."""
    rows = [{"id": str(n), "key": str(n), "value": {"rev": "1-a"}} for n in range(60_000)]
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0)

    async with FaultServer(answer(200, {"rows": rows})) as server, Couch(server.url) as couch:
        ticker = asyncio.create_task(tick())
        result = await couch["db"].all_docs()
        await _cancelled(ticker)
    assert len(result.rows) == 60_000
    assert ticks > 10


async def _cancelled(task: asyncio.Task[object]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
