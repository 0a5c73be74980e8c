# ruff: noqa: T201  (its output is its result)
"""A closed loop of load over persistent HTTP/1.1 connections, in one process and one thread.

It reads jobs as JSON from standard input, one in each line, and writes the measurements of each as JSON to standard
output. Its connections are those of `tornado-couch load`. It does so little for each request that it is not what limits
a server written in Python. Each connection has one request under way, without pipelining.

usage: python -m benchmarks.generator < jobs.ndjson
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from array import array
from dataclasses import dataclass, field
from typing import Any

from tornado_couch.maintain.http_connection import Answer, HTTPConnection
from tornado_couch.service.worker import run as run_loop

__all__ = ["Job", "Seen", "run"]

_MARK = b"@ETAG@"
_COUNT = b"@COUNT@"
_PATIENCE = 10.0  # seconds in addition to those of the job


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
        error: what went wrong; empty if nothing did.
    """

    requests: int = 0
    seconds: float = 0.0
    all_requests: int = 0
    p50: float = 0.0
    p99: float = 0.0
    error: str = ""


class _WrongAnswer(Exception):
    pass


class _Run:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.seen = Seen()
        self.latencies = array("d")
        self.numbers = itertools.count(1)
        self.counted_from = 0.0
        self.over = False

    async def go(self) -> None:
        connections = [HTTPConnection(self.job.url) for _ in range(self.job.connections)]
        try:
            await asyncio.gather(*(each.open() for each in connections))
            self.counted_from = time.perf_counter() + self.job.warmup
            async with asyncio.timeout(self.job.warmup + self.job.seconds + _PATIENCE):
                await asyncio.gather(*(self.repeat(*each) for each in enumerate(connections)))
        except TimeoutError:
            raise _WrongAnswer(f"an answer did not come for {_PATIENCE:g} seconds") from None
        finally:
            for each in connections:
                each.close()

    async def repeat(self, number: int, connection: HTTPConnection) -> None:
        """Send a connection's requests again and again, until the run is over."""
        mine = [each.encode() for each in self.job.requests[number % len(self.job.requests)]]
        templates = any(_MARK in each or _COUNT in each for each in mine)
        tag = self.job.tags[number % len(self.job.tags)].encode() if self.job.tags else b""
        first = number * len(mine) // self.job.connections
        for request in itertools.islice(itertools.cycle(mine), first, None):
            if templates:
                count = f"{self.job.prefix}{next(self.numbers):09}".encode()
                request = request.replace(_MARK, tag).replace(_COUNT, count)
            started = time.perf_counter()
            answer = await connection.ask(request)
            self.note(answer, started)
            if self.over:
                return
            if templates:
                tag = answer.header("ETag").encode() or tag

    def note(self, answer: Answer, started: float) -> None:
        """Count an answer, unless it belongs to the warm-up or comes after the end."""
        if answer.status not in self.job.status:
            raise _WrongAnswer(f"an unexpected answer: {(answer.head[9:] + answer.body)[:300]!r}")
        now = time.perf_counter()
        self.seen.all_requests += 1
        if self.over or now < self.counted_from:
            return
        self.latencies.append(now - started)
        self.seen.seconds = now - self.counted_from
        # On a machine that also does other work, a short time may pass without an answer.
        self.over = self.seen.seconds >= self.job.seconds and len(self.latencies) >= self.job.connections

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
        run_loop(load.go())
    except (_WrongAnswer, OSError) as error:
        load.seen.error = str(error) or type(error).__name__
    return load.result()


def main() -> None:
    """Run the jobs that are read from standard input, one after the other."""
    for line in sys.stdin:
        job: dict[str, Any] = json.loads(line)
        print(json.dumps(vars(run(Job(**job)))), flush=True)


if __name__ == "__main__":
    main()
