# ruff: noqa: S310, S603, T201  (it asks servers that it started itself, and prints)
"""Measures the embedded CouchDB: start, memory, requests per second beside a bare Tornado handler, views.

usage: python benchmarks/embedded.py [--documents N] [--seconds S]

Each server runs in its own process; the load comes from this process over 16 persistent connections. What counts is
the ratio of rates in the same run, since absolute figures depend on the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

CONNECTIONS = 16

BARE = """
import asyncio, json, sys
from tornado.web import Application, RequestHandler
class Bare(RequestHandler):
    def get(self): self.write({"_id": "a", "_rev": "1-0785e9eb543380151003dc452c3a001a", "x": 1})
    def post(self): self.set_status(201); self.write({"ok": True, "id": json.loads(self.request.body).get("_id")})
async def main():
    server = Application([("/.*", Bare)]).listen(0, "127.0.0.1")
    port = next(iter(server._sockets.values())).getsockname()[1]
    print(f"http://127.0.0.1:{port}/", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@contextmanager
def running(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str], float]]:
    """Start a server process; returns it, its URL, and the seconds until it printed the URL."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip().rstrip("/")
        yield url, process, time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(30)


def megabytes(process: subprocess.Popen[str]) -> float:
    """The resident memory of a process and its children (Linux)."""
    total = 0.0
    for pid in [process.pid, *_children(process.pid)]:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        total += int(status.partition("VmRSS:")[2].split()[0]) / 1024
    return total


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return [int(child) for child in listed]


def ask(method: str, url: str, body: object = None) -> bytes:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request) as answer:
        return bytes(answer.read())


async def rate(url: str, method: str, path: str, body: bytes, seconds: float) -> float:
    """Measure requests per second over persistent connections."""
    parts = urlsplit(url)
    fields = ["Host: 127.0.0.1", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines = [f"{method} {path} HTTP/1.1", *fields]
    head = "\r\n".join(lines) + "\r\n\r\n"
    end = time.perf_counter() + seconds
    counts = await asyncio.gather(*(_drive(parts.port or 80, head.encode() + body, end) for _ in range(CONNECTIONS)))
    return sum(counts) / seconds


async def _drive(port: int, request: bytes, end: float) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    count = 0
    while time.perf_counter() < end:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head[9:12] in (b"200", b"201"), head
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        await reader.readexactly(length)
        count += 1
    writer.close()
    return count


def rates(seconds: float, mode: list[str]) -> None:
    with running("-c", BARE) as (url, _, _):
        bare_get = asyncio.run(rate(url, "GET", "/x/a", b"", seconds))
        bare_post = asyncio.run(rate(url, "POST", "/x", b'{"x":1}', seconds))
    with running("-m", "tornado_couch", "couchdb", "--port", "0", *mode) as (url, process, start):
        print(f"{' '.join(mode)[:9]:10} start {start * 1000:.0f} ms, idle {megabytes(process):.0f} MB")
        ask("PUT", f"{url}/x")
        ask("PUT", f"{url}/x/a", {"x": 1})
        get = asyncio.run(rate(url, "GET", "/x/a", b"", seconds))
        post = asyncio.run(rate(url, "POST", "/x", b'{"x":1}', seconds))
        written = json.loads(ask("GET", f"{url}/x"))["doc_count"]
        print(f"{'':10} after {written} documents {megabytes(process):.0f} MB")
    print(f"{'':10} GET  {get:6.0f}/s, bare handler {bare_get:6.0f}/s: {get / bare_get:.0%}")
    print(f"{'':10} POST {post:6.0f}/s, bare handler {bare_post:6.0f}/s: {post / bare_post:.0%}")


def views(documents: int, mode: list[str]) -> None:
    with running("-m", "tornado_couch", "couchdb", "--port", "0", *mode) as (url, process, _):
        ask("PUT", f"{url}/x")
        for first in range(0, documents, 1000):
            docs = [{"_id": f"d{n:08}", "n": n, "tag": f"tag{n % 100}", "text": "x" * 100}
                    for n in range(first, min(first + 1000, documents))]
            ask("POST", f"{url}/x/_bulk_docs", {"docs": docs})
        code = "function (doc) { emit([doc.tag, doc.n], doc.n); }"
        ask("PUT", f"{url}/x/_design/v", {"views": {"v": {"map": code, "reduce": "_sum"}}})
        for words, path in [
            ("view builds", "/x/_design/v/_view/v?limit=1&reduce=false"),
            ("view page of 25", '/x/_design/v/_view/v?reduce=false&limit=25&startkey=["tag50"]'),
            ("view grouped", "/x/_design/v/_view/v?group_level=1"),
            ("_all_docs page of 25", f'/x/_all_docs?limit=25&startkey="d{documents // 2:08}"'),
        ]:
            started = time.perf_counter()
            ask("GET", url + path.replace('"', "%22").replace("[", "%5B").replace("]", "%5D"))
            print(f"{documents:7} documents: {words} {(time.perf_counter() - started) * 1000:.1f} ms")
        print(f"{documents:7} documents: {megabytes(process):.0f} MB with JavaScript workers")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--documents", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rates(options.seconds, ["--memory"])
        rates(options.seconds, ["--dir", f"{folder}/rates"])
        for documents in options.documents:
            views(documents, ["--dir", f"{folder}/views{documents}"])


if __name__ == "__main__":
    main()
