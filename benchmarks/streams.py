# ruff: noqa: T201  (it prints its report)
"""Measures streams of changes: the memory of many idle ones, and how soon a change reaches all.

usage: python -m benchmarks.streams [--idle 10000] [--told 1000] [--quick]

It uses COUCHDB_URL if that is set, and otherwise the embedded server. The clients are in this process, the service is
in another one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import selectors
import socket
import statistics
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from tornado_couch import Couch

from .dataset import filled, new_database
from .processes import Cores, embedded_server, peer

_ROUNDS = 10


class Streams:
    """Clients that follow a collection.

    Args:
        url: the service.
        count: how many.
    """

    def __init__(self, url: str, count: int) -> None:
        there = urlsplit(url)
        self._place = (there.hostname or "", there.port or 80)
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        for number in range(count):
            each = socket.create_connection(self._place)
            each.sendall(b"GET /fruits/_changes HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n")
            self._sockets.append(each)
            self._selector.register(each, selectors.EVENT_READ)
            if number % 100 == 99:
                self.wait_for(b"id: ", self._sockets[-100:])
        self.wait_for(b"id: ", self._sockets[count - count % 100 :])

    def wait_for(self, text: bytes, sockets: list[socket.socket] | None = None) -> float:
        """Wait until every stream has had a text; return the time when the last one had it."""
        waiting = set(self._sockets if sockets is None else sockets)
        seen: dict[socket.socket, bytes] = {}
        while waiting:
            found = self._selector.select(30)
            if not found:
                raise TimeoutError(f"{len(waiting)} streams have not had {text!r}")
            for key, _ in found:
                each: socket.socket = key.fileobj  # type: ignore[assignment]
                seen[each] = seen.get(each, b"")[-100:] + each.recv(65536)
                if text in seen[each]:
                    waiting.discard(each)
        return time.perf_counter()

    def close(self) -> None:
        """Close all connections."""
        for each in self._sockets:
            each.close()
        self._selector.close()


def _patched(url: str, path: str, weight: int) -> None:
    there = urlsplit(url)
    body = json.dumps({"weight": weight}).encode()
    with socket.create_connection((there.hostname or "", there.port or 80)) as connection:
        connection.sendall(
            f"PATCH {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/merge-patch+json\r\n"
            f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        )
        answer = connection.recv(65536)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(answer.decode(errors="replace"))


async def _run(options: argparse.Namespace, errors: IO[str]) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as stack:
        url = os.environ.get("COUCHDB_URL") or stack.enter_context(embedded_server(Cores().others, errors))[0]
        async with Couch(url) as couch, new_database(couch, "streams") as database:
            data = await filled(couch, database, 10)
            with peer("ours", url, database, "", Cores().service, errors) as (there, process):
                await asyncio.to_thread(_patched, there, f"/fruits/{data.ids[0]}", 1)
                before = process.megabytes()
                streams = await asyncio.to_thread(Streams, there, min(options.idle, hard - 200))
                after = process.megabytes()
                streams.close()
                count = options.idle
                print(f"{count} idle streams: {after - before:.0f} MB, {(after - before) * 1024 / count:.1f} KB each")
                streams = await asyncio.to_thread(Streams, there, options.told)
                taken = []
                for number in range(_ROUNDS):
                    began = time.perf_counter()
                    await asyncio.to_thread(_patched, there, f"/fruits/{data.ids[0]}", 100 + number)
                    end = await asyncio.to_thread(streams.wait_for, f'"weight":{100 + number}'.encode())
                    taken.append(end - began)
                streams.close()
                times = f"{statistics.median(taken):.3f} s (median), {max(taken):.3f} s (longest)"
                print(f"a change reached {options.told} streams within {times} of the request")


def main() -> None:
    """Run the measurements."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streams", description=__doc__)
    parser.add_argument("--idle", type=int, default=10_000, help="the number of idle streams")
    parser.add_argument("--told", type=int, default=1_000, help="the number of streams that a change has to reach")
    parser.add_argument("--quick", action="store_true", help="only try it out")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out"))
    options = parser.parse_args()
    if options.quick:
        options.idle = options.told = 50
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "errors.log").open("w", encoding="utf-8") as errors:
        asyncio.run(_run(options, errors))


if __name__ == "__main__":
    main()
