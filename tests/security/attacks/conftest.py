"""A service to attack, and a probe of how long its event loop is busy without a pause."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.security.attacks.victim import MIB, Bag
from tests.web.conftest import Client, serve, store
from tornado_couch import Database, install

__all__ = ["MIB", "Probe", "Victim", "attacked", "probe", "serve", "store", "victim"]


BUSY = 0.1  # seconds of processor time that one request may take of the event loop at a stretch


class Probe:
    """The longest stretch of processor time between two turns of the event loop.

    Processor time, and not the clock: other work on the machine does not count.

    Attributes:
        longest: seconds.
    """

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        """Run beside the attack, until it is cancelled."""
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.longest = max(self.longest, now - before)
            before = now


@pytest.fixture
def probe() -> Callable[[], AbstractAsyncContextManager[Probe]]:
    """Watches what runs inside of it, and fails if the event loop was held for too long."""

    @asynccontextmanager
    async def watching() -> AsyncIterator[Probe]:
        found = Probe()
        gc.disable()  # a collection of all that the test runner has in memory takes longer than an attack
        task = asyncio.create_task(found.watch())
        try:
            await asyncio.sleep(0)
            yield found
        finally:
            task.cancel()
            gc.enable()
        assert found.longest < BUSY, f"the event loop was held for {found.longest * 1000:.0f} ms"

    return watching


class Victim:
    """A service in a process of its own.

    Attributes:
        port: where it listens.
        ask: a client of it.
    """

    def __init__(self, pid: int, port: int, session: aiohttp.ClientSession) -> None:
        self._process = Path(f"/proc/{pid}")
        self.port = port
        self.ask = Client(f"http://127.0.0.1:{port}", session)

    def begin(self) -> None:
        """Forget the highest use of memory so far."""
        (self._process / "clear_refs").write_text("5")
        self._before = self._status("VmRSS")

    def grown(self) -> float:
        """By how many MiB the use of memory has been above that at the beginning."""
        return (self._status("VmHWM") - self._before) / MIB

    def seconds(self) -> float:
        """The processor time of the process so far."""
        fields = (self._process / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / 100

    def _status(self, name: str) -> int:
        (line,) = [each for each in (self._process / "status").read_text().splitlines() if each.startswith(name)]
        return int(line.split()[1]) * 1024


@asynccontextmanager
async def attacked(url: str, name: str) -> AsyncIterator[Victim]:
    """Run a service of its own on a database in which `Bag` is installed, for attacks on its memory."""
    if sys.platform != "linux":
        pytest.skip("the memory of another process is measured with Linux's /proc")
    script = [sys.executable, "-m", "tests.security.attacks.victim", url, name]
    process = await asyncio.create_subprocess_exec(*script, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        limit = aiohttp.ClientTimeout(total=None)  # requests wait for each other, and the machine may be busy
        async with aiohttp.ClientSession(auto_decompress=True, timeout=limit) as session:
            yield Victim(process.pid, int(await process.stdout.readline()), session)
    finally:
        process.kill()
        await process.wait()


@pytest.fixture
async def victim(server_url: str, database: Database) -> AsyncIterator[Victim]:
    """A service with an empty database."""
    await install(database.server, database.name, [Bag])  # type: ignore[arg-type]
    async with attacked(server_url, database.name) as found:
        yield found
