# ruff: noqa: T201  (its output is its result)
"""A closed-loop load generator over persistent HTTP/1.1 connections: one process, one thread, `epoll`, raw sockets.

It reads a job as JSON from standard input and writes its measurements as JSON to standard output. It does so little for
each request (about 40 µs, including the operating system) that it is not what limits a server written in Python. Each
connection has one request under way, without pipelining.

usage: python -m benchmarks.generator < job.json
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from array import array
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

__all__ = ["Job", "Seen", "run"]

_MARK = b"@ETAG@"
_COUNT = b"@COUNT@"
_END = b"\r\n\r\n"


@dataclass
class Job:
    """The requests to send.

    Attributes:
        url: the URL of the server: scheme, host, port.
        requests: for each connection in turn, the requests that it repeats: [head and body] as text. `@ETAG@` stands
            for the entity tag of the last answer on its connection, `@COUNT@` for a unique number.
        tags: the entity tags with which the connections begin.
        connections: the number of connections.
        seconds: how long to measure, after the warm-up.
        warmup: seconds of load that are not counted.
        status: the statuses that are right; any other ends the run.
        prefix: the beginning of the numbers for `@COUNT@`.
    """

    url: str
    requests: list[list[str]]
    connections: int
    seconds: float
    status: list[int]
    warmup: float = 0.3
    tags: list[str] = field(default_factory=list)
    prefix: str = ""


@dataclass
class Seen:
    """The measurements of a job.

    Attributes:
        requests: how many requests were answered in the counted time.
        seconds: how long that was.
        all_requests: how many were answered, including the warm-up.
        p50, p99: milliseconds.
        received: the size in bytes of all counted answers.
        error: what went wrong; empty if nothing did.
    """

    requests: int = 0
    seconds: float = 0.0
    all_requests: int = 0
    p50: float = 0.0
    p99: float = 0.0
    received: int = 0
    error: str = ""


class _WrongAnswer(Exception):
    pass


class _Connection:
    """One connection, with one request under way."""

    def __init__(self, sock: socket.socket, requests: list[bytes], tag: bytes, first: int) -> None:
        self.sock = sock
        self.requests = requests
        self.templates = any(_MARK in each or _COUNT in each for each in requests)
        self.next = first % len(requests)
        self.tag = tag
        self.started = 0.0
        self.buffer = b""
        self.unsent = b""

    def send(self, count: bytes) -> None:
        request = self.requests[self.next]
        self.next = (self.next + 1) % len(self.requests)
        if self.templates:
            request = request.replace(_MARK, self.tag).replace(_COUNT, count)
        self.started = time.perf_counter()
        sent = self.sock.send(request)
        self.unsent = request[sent:]

    def flush(self) -> None:
        sent = self.sock.send(self.unsent)
        self.unsent = self.unsent[sent:]

    def receive(self, statuses: frozenset[bytes]) -> int:
        """The size of the answer once it is complete, otherwise 0."""
        data = self.sock.recv(262144)
        if not data:
            raise _WrongAnswer("the server closed a connection")
        data = self.buffer + data if self.buffer else data
        end = data.find(_END)
        size = -1 if end < 0 else _size(data, end, statuses)
        if not 0 <= size <= len(data):
            self.buffer = data
            return 0
        if size != len(data):
            raise _WrongAnswer("more than one answer came")
        if self.templates:
            self.tag = _tag(data[:end]) or self.tag
        self.buffer = b""
        return size


def _size(data: bytes, end: int, statuses: frozenset[bytes]) -> int:
    """The size of an answer in bytes; -1 while that is unknown."""
    status = data[9:12]
    if status not in statuses:
        raise _WrongAnswer(f"an unexpected answer: {data[9:300]!r}")
    if status in (b"304", b"204"):
        return end + 4
    head = data[:end].lower()
    at = head.find(b"\r\ncontent-length:")
    if at >= 0:
        stop = head.find(b"\r\n", at + 2)
        return end + 4 + int(head[at + 17 : stop if stop >= 0 else end])
    if b"transfer-encoding: chunked" not in head:
        raise _WrongAnswer("an answer without a length")
    return len(data) if data.endswith(b"\r\n0\r\n\r\n") else -1


def _tag(head: bytes) -> bytes:
    at = head.lower().find(b"\r\netag:")
    if at < 0:
        return b""
    return head[at + 7 :].split(b"\r\n", 1)[0].strip()


class _Run:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.seen = Seen()
        self.latencies = array("d")
        self.statuses = frozenset(str(each).encode() for each in job.status)
        self.number = 0
        self.over = False
        self.poll = select.epoll()
        self.connections: dict[int, _Connection] = {}

    def connect(self) -> None:
        parts = urlsplit(self.job.url)
        lists = [[each.encode() for each in some] for some in self.job.requests]
        for number in range(self.job.connections):
            sock = socket.create_connection((parts.hostname or "", parts.port or 80), 10)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
            tag = self.job.tags[number % len(self.job.tags)].encode() if self.job.tags else b""
            mine = lists[number % len(lists)]
            self.connections[sock.fileno()] = _Connection(sock, mine, tag, number * len(mine) // self.job.connections)
            self.poll.register(sock.fileno(), select.EPOLLIN)

    def start(self, number: int, connection: _Connection) -> None:
        self.number += 1
        connection.send(f"{self.job.prefix}{self.number:09}".encode() if connection.templates else b"")
        if connection.unsent:
            self.poll.modify(number, select.EPOLLIN | select.EPOLLOUT)

    def go(self) -> None:
        self.connect()
        counted_from = time.perf_counter() + self.job.warmup
        end = counted_from + self.job.seconds
        for number, connection in self.connections.items():
            self.start(number, connection)
        busy = len(self.connections)
        while busy:
            events = self.poll.poll(10)
            if not events:
                raise _WrongAnswer("nothing came for 10 seconds")
            for number, event in events:
                busy -= self.handle(number, event, counted_from, end)

    def handle(self, number: int, event: int, counted_from: float, end: float) -> bool:
        """Handle an event; True if the connection is done."""
        connection = self.connections[number]
        if event & select.EPOLLOUT:
            connection.flush()
            if not connection.unsent:
                self.poll.modify(number, select.EPOLLIN)
            if not event & select.EPOLLIN:
                return False
        size = connection.receive(self.statuses)
        if not size:
            return False
        now = time.perf_counter()
        self.seen.all_requests += 1
        if self.over:
            return True
        if now >= counted_from:
            self.latencies.append(now - connection.started)
            self.seen.received += size
            self.seen.seconds = now - counted_from
        # On a machine that also does other work, a short time may pass without an answer.
        self.over = now >= end and len(self.latencies) >= len(self.connections)
        if self.over:
            return True
        self.start(number, connection)
        return False

    def result(self) -> Seen:
        ordered = sorted(self.latencies)
        self.seen.requests = len(ordered)
        if ordered:
            self.seen.p50 = ordered[len(ordered) // 2] * 1000
            self.seen.p99 = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] * 1000
        return self.seen


def run(job: Job) -> Seen:
    """Send a job's requests, and return the measurements."""
    load = _Run(job)
    try:
        load.go()
    except (_WrongAnswer, OSError) as error:
        load.seen.error = str(error) or type(error).__name__
    finally:
        for connection in load.connections.values():
            connection.sock.close()
    return load.result()


def main() -> None:
    """Run the job that is read from standard input."""
    job: dict[str, Any] = json.load(sys.stdin)
    print(json.dumps(vars(run(Job(**job)))))


if __name__ == "__main__":
    main()
