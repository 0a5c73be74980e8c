"""The example as a process of its own, whose output is read while it comes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.cli.forks import Forks
from tests.faults import until

__all__ = ["Running", "ended", "started"]

ROOT = Path(__file__).parents[2]


class Running:
    """The process, in a process group of its own as in a terminal."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.out: list[str] = []
        self.err: list[str] = []
        assert process.stdout is not None
        assert process.stderr is not None
        self._reading = [
            asyncio.create_task(self._read(process.stdout, self.out)),
            asyncio.create_task(self._read(process.stderr, self.err)),
        ]

    async def _read(self, stream: asyncio.StreamReader, lines: list[str]) -> None:
        async for line in stream:
            lines.append(line.decode().rstrip("\n"))  # noqa: PERF401 - others look at the lines meanwhile

    async def until_said(self, text: str) -> None:
        """Wait until it has printed a line with some text."""
        await until(lambda: any(text in line for line in self.out + self.err) or self.process.returncode, 60)
        assert self.process.returncode is None, self.err

    def signal(self, number: signal.Signals) -> None:
        """Send the whole group a signal, as a terminal does with Ctrl-C."""
        os.killpg(self.process.pid, number)

    async def end(self) -> int:
        """Wait for its end; its exit status."""
        status = await asyncio.wait_for(self.process.wait(), 60)
        await asyncio.gather(*self._reading)
        return status


@asynccontextmanager
async def started(*arguments: str, options: tuple[str, ...] = (), **environment: str) -> AsyncIterator[Running]:
    """The example, killed at the end if it still runs."""
    kept = {name: value for name, value in os.environ.items() if name != "COUCHDB_URL"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *options, "-m", "example_app", *arguments),
        cwd=ROOT,
        env={**kept, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    running = Running(process)
    try:
        yield running
    finally:
        if process.returncode is None:
            running.signal(signal.SIGKILL)
        await running.end()


async def ended(forks: Forks, *arguments: str, **environment: str) -> str:
    """What the example writes to standard error before it ends; it has to fail with one line."""
    kept = {name: value for name, value in os.environ.items() if name != "COUCHDB_URL"}
    done = await asyncio.to_thread(forks.run, arguments, {**kept, **environment})
    assert done.status != 0
    lines = done.stderr.splitlines()
    assert len(lines) == 1, lines
    return lines[0]
