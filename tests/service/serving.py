"""A served process, and clients that keep it busy and count what becomes of each request."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.faults import until

ROOT = Path(__file__).parents[2]


class Service:
    """A `tornado-couch serve` that runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self.url = ""
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.lines.append(line.decode().rstrip())
            found = re.search(r"listening on (https?://127\.0\.0\.1:\d+)", self.lines[-1])
            self.url = found[1] if found else self.url

    @property
    def log(self) -> str:
        """What it has written to its standard error."""
        return "\n".join(self.lines)

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.url.rpartition(":")[2])

    def signal(self, number: signal.Signals) -> None:
        """Send the process that was started a signal."""
        self.process.send_signal(number)

    async def ended(self, seconds: float = 20) -> int:
        """The exit status, once it has ended."""
        status = await asyncio.wait_for(self.process.wait(), seconds)
        await self._reading
        return status

    async def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], Any]:
        """One request on a connection of its own: status, header fields in lower case, JSON."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            return await exchange(reader, writer, path, method, **headers)
        finally:
            writer.close()


@asynccontextmanager
async def served(
    target: str, *options: str, processes: int = 1, wait: Callable[[], object] | None = None, **environment: str
) -> AsyncIterator[Service]:
    """A service: once all of its processes serve, or once what it waits for is so."""
    command = [sys.executable, "-W", "error", "-m", "tornado_couch", "serve", f"tests.service.service:{target}"]
    process = await asyncio.create_subprocess_exec(
        *command, "--port", "0", "--processes", str(processes), *options,
        cwd=ROOT, env={**os.environ, **environment}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    service = Service(process)
    try:
        begun = wait or (lambda: service.url and service.log.count(" is serving") >= processes)
        await until(lambda: begun() or process.returncode is not None)
        yield service
    finally:
        if process.returncode is None:
            process.kill()
        await service.ended()


async def exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], Any]:
    """One request and its answer on an open connection."""
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: test\r\n{fields}\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    found = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    body = await reader.readexactly(0 if method == "HEAD" else int(found.get("content-length", "0")))
    is_json = found.get("content-type", "").partition(";")[0].endswith("json")
    return int(head[0].split()[1]), found, json.loads(body) if is_json and body else body


class Load:
    """Clients that send one request after the other, and count.

    Attributes:
        counts: "answered"; "refused" where there was no connection; "idle" where the server had closed a kept
            connection before it could have seen the request; "lost" where a request got no whole answer.
        lost_at: when requests were lost, by the monotonic clock.
        pids: which processes answered.
    """

    def __init__(self, port: int, path: str = "/echo?seconds=0.02", clients: int = 8) -> None:
        self.counts: Counter[str] = Counter()
        self.lost_at: list[float] = []
        self.pids: Counter[int] = Counter()
        self._port = port
        self._path = path
        self._stopped = False
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(clients)]

    async def stop(self) -> None:
        """Let each client end its request, and stop."""
        self._stopped = True
        await asyncio.gather(*self._tasks)

    async def _client(self, number: int) -> None:
        keeps = number % 2 == 0  # half of them use their connections again
        while not self._stopped:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                self.counts["refused"] += 1
                await asyncio.sleep(0.01)
                continue
            try:
                await self._requests(reader, writer, keeps)
            finally:
                writer.close()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, keeps: bool) -> None:
        again = False
        while not self._stopped:
            token = f"{time.monotonic_ns()}"
            try:
                status, headers, body = await exchange(reader, writer, f"{self._path}&token={token}")
            except (OSError, asyncio.IncompleteReadError) as error:
                # RFC 9112 §9.3.1: a client has to expect that of a connection that it uses again.
                unseen = again and isinstance(error, asyncio.IncompleteReadError) and not error.partial
                self.counts["idle" if unseen else "lost"] += 1
                if not unseen:
                    self.lost_at.append(time.monotonic())
                return
            assert (status, body["token"]) == (200, token)
            self.counts["answered"] += 1
            self.pids[body["pid"]] += 1
            if not keeps or headers.get("connection") == "close":
                return
            again = True
