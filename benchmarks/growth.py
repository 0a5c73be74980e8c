# ruff: noqa: T201  (it prints its report)
"""Measures the cost of larger documents, larger collections, more connections and more processes.

usage: python -m benchmarks.growth [--million] [--quick] [--connections 10000] [--out FOLDER]

It uses COUCHDB_URL if that is set, and otherwise the embedded server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import resource
import socket
import statistics
import time
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from tornado_couch import Couch

from .dataset import filled, new_database
from .generator import Job, Seen
from .operations import OPERATIONS, Dataset, Target, http_request
from .peers.models import Place
from .processes import Cores, Watched, embedded_server, generate, listening_process, peer

SIZES = (100, 1_000, 10_000, 100_000, 1_000_000)
COUNTS = (1_000, 10_000, 100_000)
COUNTS_TRIED = (100, 200)
PROCESSES = (1, 2, 4)
CONNECTIONS = 8
CLUES = 500  # keys to look up, each once
# The requests to a collection, and their paths in front of a key.
PROBES = (("page of 50", "/places?limit=50&code[gte]="), ("first lookup", "/places/"), ("lookup again", "/places/"))


class Growth:
    """The measurements.

    Args:
        couch: a client.
        url: the URL of CouchDB.
        errors: the file for the error output of the services.
        quick: only try it out.
    """

    def __init__(self, couch: Couch, url: str, errors: IO[str], quick: bool) -> None:
        self.couch = couch
        self.url = url
        self.errors = errors
        self.seconds = 0.1 if quick else 3.0
        self.documents = 100 if quick else 1000
        self.clues = 20 if quick else CLUES
        self.cores = Cores()
        self.report: dict[str, list[dict[str, Any]]] = {}

    async def sizes(self, sizes: Sequence[int]) -> None:
        """Measure GET by id and POST of documents from small to large."""
        rows = self.report["document size"] = []
        for size in sizes:
            async with new_database(self.couch, "size") as database:
                # A few documents at a time, since a thousand of the largest would make one request of a gigabyte.
                data = Dataset([], [])
                for _ in range(5):
                    data.ids.extend((await filled(self.couch, database, 4, size=size)).ids)
                body = {"color": "green", "notes": "n" * size, "weight": 7}
                read = OPERATIONS["GET by id"]
                with peer("ours", self.url, database, "", self.cores.service, self.errors) as (there, process):
                    target = Target("ours", there)
                    gets = await self._load(target, read.requests(target, data, CONNECTIONS), [200], process)
                    posts = await self._load(target, [[http_request(target, "POST", "/fruits", body)]], [201], process)
                rows.append({"bytes": size, **_named("GET", gets), **_named("POST", posts)})
                print(rows[-1], flush=True)

    async def counts(self, counts: Sequence[int]) -> None:
        """Measure lookups by key, each key for the first time, and pages from the middle, in collections of all sizes.

        Each collection alternates with one of the smallest size, so that the ratio also holds on a busy machine.
        """
        rows = self.report["collection size"] = []
        async with (
            new_database(self.couch, "small", [Place]) as small,
            new_database(self.couch, "growing", [Place]) as growing,
        ):
            few = (await filled(self.couch, small, counts[0], fruits=False)).codes
            codes: list[str] = []
            for count in counts:
                began = time.monotonic()
                codes += (await filled(self.couch, growing, count - len(codes), first=len(codes), fruits=False)).codes
                row = {"places": count, "seconds to load": round(time.monotonic() - began, 1)}
                row |= await asyncio.to_thread(self._beside, small, few, growing, codes)
                rows.append(row)
                print(row, flush=True)

    def _beside(self, small: str, few: list[str], growing: str, codes: list[str]) -> dict[str, float]:
        """The times of requests to a collection in milliseconds, and their ratios to those of a small collection."""
        row: dict[str, float] = {}
        some, chosen = (random.sample(each, min(self.clues, len(each))) for each in (few, codes))
        with (
            peer("ours", self.url, small, "", self.cores.service, self.errors) as (there, _),
            peer("ours", self.url, growing, "", self.cores.service, self.errors) as (here, _),
        ):
            for name, path in PROBES:
                asked = [[path + each for each in those] for those in (some, chosen)]
                small_ms, ms = _in_turn((there, asked[0]), (here, asked[1]))
                row[f"{name}, ms"], row[f"{name}, × small"] = ms, round(ms / small_ms, 2)
        return row

    async def connections(self, wanted: int) -> None:
        """Measure the memory that idle open connections take."""
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        count = min(wanted, hard - 200)
        async with new_database(self.couch, "idle") as database:
            data = await filled(self.couch, database, 10)
            with peer("ours", self.url, database, "", self.cores.service, self.errors) as (there, process):
                path = f"/fruits/{data.ids[0]}"
                await asyncio.to_thread(_each_once, there, [path] * 50)
                before = process.megabytes()
                sockets = await asyncio.to_thread(_opened, there, count, path)
                after = process.megabytes()
                latency = await asyncio.to_thread(_each_once, there, [path] * 200)
                for each in sockets:
                    each.close()
        row = {
            "open connections": count,
            "memory before, MB": round(before),
            "memory with them, MB": round(after),
            "KB each": round((after - before) * 1024 / count, 1),
            "a GET beside them, ms": latency,
        }
        self.report["idle connections"] = [row]
        print(row, flush=True)

    async def processes(self, counts: Sequence[int]) -> None:
        """Measure GET by id with several processes that share a port, on all cores."""
        rows = self.report["processes"] = []
        cores = sorted({*self.cores.service, *self.cores.others})
        async with new_database(self.couch, "processes") as database:
            data = await filled(self.couch, database, self.documents)
            for count in counts:
                async with AsyncExitStack() as stack:
                    there = ""
                    for _ in range(count):
                        shared = peer(
                            "ours", self.url, database, "", cores, self.errors, port=urlsplit(there).port or 0
                        )
                        there, _ = stack.enter_context(shared)
                    target = Target("ours", there)
                    requests = OPERATIONS["GET by id"].requests(target, data, 128)
                    seen = await self._load(target, requests, [200], Watched(None), connections=128)
                rows.append({"processes": count, **_named("GET", seen)})
                print(rows[-1], flush=True)

    async def _load(
        self,
        target: Target,
        requests: list[list[str]],
        status: list[int],
        process: Watched,
        connections: int = CONNECTIONS,
    ) -> dict[str, float]:
        job = Job(target.url, requests, connections, self.seconds, status, warmup=min(0.3, self.seconds))
        before = process.cpu_seconds()
        seen: Seen = await asyncio.to_thread(generate, job, self.cores.others)
        cpu = (process.cpu_seconds() - before) / max(seen.all_requests, 1) * 1000
        return {
            "per second": round(seen.requests / seen.seconds),
            "p50 ms": round(seen.p50, 2),
            "CPU ms": round(cpu, 3),
        }


def _named(name: str, figures: dict[str, float]) -> dict[str, float]:
    return {f"{name} {what}": figure for what, figure in figures.items() if figure}


def _connected(url: str) -> socket.socket:
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname or "", parts.port or 80), 30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _ask(connection: socket.socket, path: str) -> None:
    connection.sendall(http_request(Target("", ""), "GET", path).encode())
    data = connection.recv(65536)
    if not data.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"{path}: {data[:300]!r}")
    head, _, body = data.partition(b"\r\n\r\n")
    missing = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0]) - len(body)
    while missing > 0:
        missing -= len(connection.recv(65536))


def _each_once(url: str, paths: Iterable[str]) -> float:
    """The median time of these requests, one after the other, in milliseconds."""
    (median,) = _in_turn((url, list(paths)))
    return median


def _in_turn(*asked: tuple[str, list[str]]) -> list[float]:
    """The same for several services, each with its own paths, which take turns."""
    times: list[list[float]] = [[] for _ in asked]
    with ExitStack() as stack:
        connections = [stack.enter_context(_connected(url)) for url, _ in asked]
        for paths in zip(*(paths for _, paths in asked), strict=True):
            for connection, path, mine in zip(connections, paths, times, strict=True):
                began = time.perf_counter()
                _ask(connection, path)
                mine.append((time.perf_counter() - began) * 1000)
    return [round(statistics.median(each), 2) for each in times]


def _opened(url: str, count: int, path: str) -> list[socket.socket]:
    """Open connections on which one answer has been received."""
    found = []
    for _ in range(count):
        connection = _connected(url)
        _ask(connection, path)
        found.append(connection)
    return found


def _table(title: str, rows: list[dict[str, Any]]) -> Iterable[str]:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    yield from ("", f"## {title}", "", "| " + " | ".join(columns) + " |", "|" + "---:|" * len(columns))
    for row in rows:
        yield "| " + " | ".join(f"{row.get(each, ''):,}" if row.get(each, "") != "" else "" for each in columns) + " |"


async def _run(options: argparse.Namespace, errors: IO[str]) -> dict[str, list[dict[str, Any]]]:
    cores = Cores()
    async with AsyncExitStack() as stack:
        url = os.environ.get("COUCHDB_URL", "")
        if url:
            process = listening_process(url)
            before = process.cores()
            if before and process.pin(cores.others):
                stack.callback(process.pin, before)
        else:
            url, _ = stack.enter_context(embedded_server(cores.others, errors))
        couch = await stack.enter_async_context(Couch(url, timeout=None))
        growth = Growth(couch, url, errors, options.quick)
        await growth.sizes(SIZES[:1] if options.quick else SIZES)
        counts = COUNTS_TRIED if options.quick else (*COUNTS, 1_000_000) if options.million else COUNTS
        await growth.counts(counts)
        await growth.connections(100 if options.quick else options.connections)
        await growth.processes(PROCESSES[1:2] if options.quick else PROCESSES)
        return growth.report


def main() -> None:
    """Measure, and print the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--million", action="store_true", help="also measure a collection of 1,000,000 (slow)")
    parser.add_argument("--quick", action="store_true", help="only try it out")
    parser.add_argument("--connections", type=int, default=10_000, help="the number of idle connections")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "errors.log").open("w", encoding="utf-8") as errors:
        report = asyncio.run(_run(options, errors))
    text = "\n".join(["# Growth", *(line for title, rows in report.items() for line in _table(title, rows))]) + "\n"
    (options.out / "growth.md").write_text(text, encoding="utf-8")
    (options.out / "growth.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
