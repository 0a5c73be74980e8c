# ruff: noqa: S603  (it starts its own programs)
"""Starts the processes that take part, pins them to cores, and measures what they use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from .generator import Job, Seen

__all__ = ["Cores", "Watched", "embedded_server", "generate", "listening_process", "peer", "service"]

TICKS = os.sysconf("SC_CLK_TCK")


class Cores:
    """Assigns the cores: the service has one to itself; CouchDB and the load generator share the others.

    On a machine with a single core all share it, and the figures are of little value.
    """

    def __init__(self) -> None:
        every = sorted(os.sched_getaffinity(0))
        self.service = every[:1]
        self.others = every[1:] or every


class Watched:
    """A process, and what it and its threads use.

    Args:
        pid: its process id; None for one that cannot be observed, for instance on another machine.
    """

    def __init__(self, pid: int | None) -> None:
        self.pid = pid

    def pin(self, cores: list[int]) -> bool:
        """Keep all its threads on these cores; False if that is not permitted."""
        if self.pid is None:
            return False
        try:
            for thread in os.listdir(f"/proc/{self.pid}/task"):  # noqa: PTH208
                os.sched_setaffinity(int(thread), cores)
        except (PermissionError, FileNotFoundError):
            return False
        return True

    def cores(self) -> list[int] | None:
        """The cores on which it may run now."""
        return None if self.pid is None else sorted(os.sched_getaffinity(self.pid))

    def cpu_seconds(self) -> float:
        """Its computing time so far, including children that have ended; 0 if it cannot be observed."""
        if self.pid is None:
            return 0.0
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / TICKS

    def peak_megabytes(self) -> float:
        """The most memory that it has used so far."""
        return self._memory("VmHWM:")

    def megabytes(self) -> float:
        """The memory that it uses now."""
        return self._memory("VmRSS:")

    def _memory(self, name: str) -> float:
        if self.pid is None:
            return 0.0
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(status.partition(name)[2].split()[0]) / 1024


@contextmanager
def _started(arguments: list[str], cores: list[int], errors: IO[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a program, pinned to cores, and read the first line that it prints."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        cwd=Path(__file__).parent.parent,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"{' '.join(arguments[:3])} did not start; see its output above or in {errors.name}")
        yield process, line
    finally:
        process.terminate()
        process.wait(30)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


@contextmanager
def peer(
    name: str,
    url: str,
    database: str,
    keys: str,
    cores: list[int],
    errors: IO[str],
    *,
    port: int = 0,
    event_loop: str = "auto",
) -> Iterator[tuple[str, Watched]]:
    """Start a peer, and return its URL and process; several can share a port."""
    command = ["-m", "benchmarks.peers", name, url, database, keys, str(port), event_loop]
    with _started(command, cores, errors) as (process, at):
        yield f"http://127.0.0.1:{at}", Watched(process.pid)


@contextmanager
def service(arguments: list[str], cores: list[int], errors: IO[str]) -> Iterator[tuple[str, Watched]]:
    """Start a service of a benchmark's own, which prints its port, and return its URL and process."""
    with _started(arguments, cores, errors) as (process, at):
        yield f"http://127.0.0.1:{at}", Watched(process.pid)


@contextmanager
def embedded_server(cores: list[int], errors: IO[str]) -> Iterator[tuple[str, Watched]]:
    """Start the embedded CouchDB, and return its URL and process."""
    with _started(["-m", "tornado_couch", "couchdb", "--port", "0", "--memory"], cores, errors) as (process, url):
        yield url.rstrip("/"), Watched(process.pid)


def listening_process(url: str) -> Watched:
    """The process that serves a URL, if it is on this machine and may be observed."""
    parts = urlsplit(url)
    if parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        return Watched(None)
    inodes = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == (parts.port or 80):  # 0A is LISTEN
                inodes.add(f"socket:[{fields[9]}]")
    return Watched(next((pid for pid in _pids() if inodes & _open_files(pid)), None))


def _pids() -> list[int]:
    return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]


def _open_files(pid: int) -> set[str]:
    found = set()
    try:
        for each in Path(f"/proc/{pid}/fd").iterdir():
            found.add(str(each.readlink()))
    except OSError:
        pass  # it is not ours, or has ended
    return found


def generate(job: Job, cores: list[int]) -> Seen:
    """Run a job in a process that is pinned to cores, and stays for further jobs.

    Raises:
        RuntimeError: a peer answered wrongly, or not at all.
    """
    process = _generator(tuple(cores))
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(asdict(job)) + "\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"the load generator ended with {process.wait()}; see its output above")
    seen = Seen(**json.loads(line))
    if seen.error:
        raise RuntimeError(seen.error)
    return seen


@cache
def _generator(cores: tuple[int, ...]) -> subprocess.Popen[str]:
    """The load generator on these cores, which ends with this process: then its standard input does."""
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.generator"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
