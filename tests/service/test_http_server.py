"""The server in this process: what it refuses by itself, whom it believes, how it stops."""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import pytest
import tornado.web

from tests.faults import until
from tests.servers import running, sent
from tests.service.service import plain
from tests.service.serving import exchange
from tornado_couch.service import listening as http_listening
from tornado_couch.service.listening import bind, refuse_new, urls
from tornado_couch.service.processes import serve
from tornado_couch.service.server import server_class
from tornado_couch.service.supervisor import Supervisor, Worker
from tornado_couch.service.worker import Duty, ServeOptions, application_arguments, application_of, work

REFUSED = b"HTTP/1.1 400 Bad Request\r\n"


@pytest.fixture(params=["httptools", "tornado"])
def kind(request: pytest.FixtureRequest) -> str:
    """Each of the two servers."""
    return str(request.param)


def listening_server(kind: str, application: Any = None, **options: Any) -> Any:
    if application is None:
        application = plain()
        application.settings["_tornado_couch_cursor_key"] = b""
    return running(kind, application, **options)


@pytest.mark.parametrize(
    ("request_bytes", "instance"),
    [
        (b"nonsense\r\n\r\n", ""),
        (b"GET / HTTP/9.9\r\n\r\n", ""),
        (b"GET /echo HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n", "/echo"),
        (b"GET /echo?a=secret HTTP/1.1\r\n\r\n", "/echo"),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "/echo"),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 2\r\n\r\n", "/echo"),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "/echo"),
    ],
)
async def test_what_is_no_http_is_refused_as_a_problem(kind: str, request_bytes: bytes, instance: str) -> None:
    """Tornado's parser would answer with a bare status line; nothing of the query is in it."""
    async with listening_server(kind) as (_, port):
        answer = await sent(port, request_bytes)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(REFUSED)
        assert b"Content-Type: application/problem+json" in head
        assert b"Connection: close" in head
        assert f"Content-Length: {len(body)}".encode() in head
        problem = json.loads(body)
        assert (problem["status"], problem["title"]) == (400, "Bad Request")
        # Tornado reads the fields before the request line.
        assert problem["instance"] == ("" if kind == "tornado" and b"bad header" in request_bytes else instance)


@pytest.mark.parametrize(
    ("line", "status", "seen"),
    [
        ("GET http://a.example/echo?a=1", 200, "a.example /echo?a=1"),
        ("GET HTTPS://a.example:81/echo", 200, "a.example:81 /echo"),
        ("GET http://a.example?a=1", 404, ""),
        ("GET http://user@a.example/echo", 404, ""),
        ("GET http:///echo", 404, ""),
        ("GET a.example/echo", 404, ""),
        ("OPTIONS *", 404, ""),
    ],
)
async def test_a_target_in_absolute_form_is_a_path_on_its_host(line: str, status: int, seen: str) -> None:
    """RFC 9112 §3.2.2: the host of the target counts, whatever the field says; what is no such target is not found."""

    class Seen(tornado.web.RequestHandler):
        def get(self) -> None:
            self.write(f"{self.request.host} {self.request.uri}")

    async with listening_server("httptools", tornado.web.Application([("/echo", Seen)])) as (_, port):
        answer = await sent(port, f"{line} HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n".encode())
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert status == 404 or answer.endswith(f"\r\n\r\n{seen}".encode())
        lacking = await sent(port, f"{line} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
        assert lacking.startswith(REFUSED)  # RFC 9112 §3.2: a request without `Host`


async def test_a_refused_head_has_no_content(kind: str) -> None:
    """RFC 9110 §9.3.2."""
    async with listening_server(kind) as (_, port):
        answer = await sent(port, b"HEAD /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        assert answer.startswith(REFUSED)
        assert answer.endswith(b"\r\n\r\n")


async def test_a_client_that_goes_on_sending_still_gets_the_refusal(kind: str) -> None:
    """Closing with bytes unread would reset the connection, and the answer would be gone with it."""
    async with listening_server(kind) as (_, port):
        start = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
        assert (await sent(port, start, *[b"x" * 1000] * 20, pause=0.01)).startswith(REFUSED)


async def test_an_answer_that_has_begun_is_not_followed_by_a_refusal(kind: str) -> None:
    """It would be taken for a part of it."""

    @tornado.web.stream_request_body
    class Early(tornado.web.RequestHandler):
        async def prepare(self) -> None:
            self.write("x" * 10)
            await self.flush()

        def data_received(self, chunk: bytes) -> None:
            pass

    async with listening_server(kind, tornado.web.Application([("/", Early)])) as (_, port):
        start = b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = await sent(port, start, b"zz\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"400" not in answer


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ("127.0.0.1", "http")),
        ({"xheaders": True}, ("198.51.100.7", "https")),
        ({"xheaders": True, "proxies": [ip_network("192.0.2.0/24")]}, ("127.0.0.1", "http")),
        ({"xheaders": True, "proxies": [ip_network("::1"), ip_network("127.0.0.0/8")]}, ("198.51.100.7", "https")),
    ],
)
async def test_only_the_proxies_that_are_named_are_believed(kind: str, options: Any, expected: tuple[str, str]) -> None:
    """Without xheaders nobody is, and without names everybody."""
    async with listening_server(kind, **options) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        fields = {"X_Forwarded_For": "198.51.100.7", "X_Forwarded_Proto": "https"}
        found = (await exchange(reader, writer, "/echo", **fields))[2]
        assert (found["remote"], found["protocol"]) == expected
        writer.close()


async def test_connections_are_forgotten_when_they_end(kind: str) -> None:
    """And the count of requests under way is right."""
    async with listening_server(kind) as (server, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        task = asyncio.create_task(exchange(reader, writer, "/echo?seconds=0.1"))
        await until(lambda: server.busy == 1)
        await task
        await until(lambda: server.busy == 0)
        assert len(server.links()) == 1
        writer.close()
        await until(lambda: not server.links())


async def test_without_descriptors_it_waits_and_takes_connections_again(
    kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It says so, does not spin, and nobody is turned away."""
    calls = 0

    def none_left(listener: socket.socket, most: int) -> Any:
        nonlocal calls
        calls += 1
        raise OSError(errno.EMFILE, "Too many open files")

    async with listening_server(kind) as (_, port):
        monkeypatch.setattr(http_listening, "accept_waiting", none_left)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: calls)
        monkeypatch.undo()
        assert (await exchange(reader, writer, "/echo"))[0] == 200
        writer.close()
    assert calls == 1
    assert "cannot accept connections at the moment: Too many open files" in caplog.text


async def test_who_waits_in_the_queue_is_served_when_it_stops(kind: str) -> None:
    """Connections that were made and not yet taken; later ones are not made."""
    sockets = bind("127.0.0.1", 0)
    port = sockets[0].getsockname()[1]
    waiting = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
    refuse_new(sockets)
    with pytest.raises((OSError, asyncio.TimeoutError)):
        await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 0.2)
    application = plain()
    application.settings["_tornado_couch_cursor_key"] = b""
    server = server_class(kind)(application)
    server.accept_from(sockets)
    server.accept_rest()
    answers = asyncio.gather(*(exchange(reader, writer, "/echo") for reader, writer in waiting))
    assert await server.drain(10) == 0
    assert [status for status, _, _ in await answers] == [200] * 5
    for _, writer in waiting:
        writer.close()


def test_addresses_are_bound_on_one_port() -> None:
    """Each address of the host; a port that is taken is an error, and leaves no socket open."""
    sockets = bind("localhost", 0)
    assert len({each.getsockname()[1] for each in sockets}) == 1
    assert all(url.startswith(("http://127.0.0.1:", "http://[::1]:")) for url in urls(sockets))
    with pytest.raises(OSError, match="in use"):
        bind("127.0.0.1", sockets[0].getsockname()[1])
    for each in sockets:
        each.close()


def test_another_system_has_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is tried there."""
    monkeypatch.setattr(http_listening.sys, "platform", "darwin")
    refuse_new([None])  # type: ignore[list-item]


# ------------------------------------------------------------ what is served


async def test_applications_and_what_makes_them_are_served() -> None:
    """Plain and async functions, async context managers, with settings or without."""
    made = plain()

    async def later() -> tornado.web.Application:
        return made

    @asynccontextmanager
    async def managed(settings: str) -> AsyncIterator[tornado.web.Application]:
        closed.append(settings)
        yield made
        closed.append("closed")

    closed: list[str] = []
    for target in (made, lambda: made, later, managed, lambda settings: made):
        async with application_of(target, "settings") as found:
            assert found is made
    assert closed == ["settings", "closed"]
    assert application_arguments(later, "settings") == ()


async def test_what_is_no_application_is_one_clear_line(caplog: pytest.LogCaptureFixture) -> None:
    """Status 2, as for any wrong usage."""
    loop = asyncio.get_running_loop()
    try:
        assert await work("text", (), [], ServeOptions(), Duty(b"", lambda: None)) == 2
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    assert caplog.messages[-1] == "the target must return a Tornado application, not str"


def test_a_name_that_names_nothing_is_one_clear_line(caplog: pytest.LogCaptureFixture) -> None:
    """With the status of wrong usage."""
    with pytest.raises(SystemExit) as ended:
        serve("tests.service.service:missing", port=0)
    assert ended.value.code == 2
    assert "has no 'missing'" in caplog.messages[-1]


@pytest.mark.parametrize(
    "options", [{"port": 70000}, {"processes": -1}, {"stop_seconds": 0}, {"drain_seconds": -1}, {"idle_seconds": -5}]
)
def test_numbers_out_of_range_are_refused(options: dict[str, float]) -> None:
    """Before anything is bound."""
    with pytest.raises(ValueError, match="must be"):
        serve(plain, **options)
    with pytest.raises(TypeError):
        serve(plain, prot=1)


def test_who_dies_young_is_replaced_later_and_later() -> None:
    """A tenth of a second, doubled each time up to half a minute; at once where it had lived a while."""
    supervisor = Supervisor(lambda worker, parent: 0, 1, start_seconds=1, stop_seconds=1, ended=lambda number: None)
    pauses = []
    for failures in range(12):
        supervisor._due.clear()
        worker = Worker(0, started=10**9, failures=failures)
        before = time.monotonic()
        supervisor._start_again(worker)
        ((due, counted),) = supervisor._due
        assert counted == failures + 1
        pauses.append(round(due - before, 1))
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0, 30.0]
    supervisor._due.clear()
    supervisor._start_again(Worker(0, started=-(10**9), failures=5))
    assert supervisor._due[0][1] == 0


def test_logs_of_processes_name_them(caplog: pytest.LogCaptureFixture) -> None:
    """By their id, where a signal ended them by its name."""
    supervisor = Supervisor(lambda worker, parent: 0, 1, start_seconds=1, stop_seconds=1, ended=lambda number: None)
    supervisor._served = True
    with caplog.at_level(logging.ERROR):
        supervisor._gone(Worker(0, pid=os.getpid(), started=0), -signal.SIGSEGV)
    assert caplog.messages == [f"process {os.getpid()} was killed by SIGSEGV"]
