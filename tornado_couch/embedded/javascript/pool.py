"""Runs JavaScript in worker processes, so that an endless or greedy function only harms its caller.

`Scripts` is a pool that starts workers when they are needed, kills one that is silent for too long, and gives every
waiting caller another one. A worker has no state that cannot be made again from the design document.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tornado_couch.embedded.problems import Problem

__all__ = ["Program", "Scripts"]

_HERE = Path(__file__).parent
# CouchDB's os_process_timeout (documentation, "couchdb/os_process_timeout") is 5 s.
SECONDS = 5.0
MEMORY = 64 * 1024 * 1024
# How many workers run at once, how many wait for work, and how many design documents each keeps loaded.
WORKERS, IDLE, PROGRAMS = 8, 2, 8

# CouchDB's statuses for errors that functions raise; every other error is a 500.
_STATUS = {
    "not_found": 404,
    "forbidden": 403,
    "unauthorized": 401,
    "bad_request": 400,
    "not_acceptable": 406,
    "method_not_allowed": 405,
    "conflict": 409,
}


class Program:
    """A design document's JSON text, which workers know by its hash."""

    __slots__ = ("name", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.name = hashlib.sha256(text.encode()).hexdigest()


class Scripts:
    """The pool of JavaScript workers; safe to use from many threads.

    Args:
        seconds: how long one call of a function may take.
        memory: how many bytes the functions of one design document may use.
        workers: how many calls may run at once; further ones wait.
    """

    def __init__(self, *, seconds: float = SECONDS, memory: int = MEMORY, workers: int = WORKERS) -> None:
        self.seconds = seconds
        self.memory = memory
        self._places = threading.BoundedSemaphore(workers)
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._busy: set[_Worker] = set()
        self._closed = False

    def call(self, program: Program, operation: str, *arguments: str) -> str:
        """Make one call, and return its result as JSON text.

        Raises:
            Problem: the error that the function raised, or 500 if it took too much time or memory, or its worker died.
        """
        return next(self.stream(program, operation, [arguments]))

    def stream(self, program: Program, operation: str, calls: Sequence[Sequence[str]]) -> Iterator[str]:
        """Make many calls, and yield their results in order. The worker is given back when the last result was taken.

        Raises:
            Problem: as in `call`, at the first call that failed.
        """
        for result in self.outcomes(program, operation, calls):
            if isinstance(result, Problem):
                raise result
            yield result

    def outcomes(self, program: Program, operation: str, calls: Sequence[Sequence[str]]) -> Iterator[str | Problem]:
        """Do what `stream` does, but yield an error that a function raised in place of its result.

        Raises:
            Problem: 500 if a limit was exceeded or the worker died; the later calls were not made.
        """
        if not calls:
            return
        with self._places:
            worker = self._take()
            try:
                done = 0
                for result in worker.ask(program, operation, calls):
                    done += 1
                    yield self._read(result)
            finally:
                # A worker that still has results to deliver cannot be used again.
                self._give(worker, usable=done == len(calls))

    def close(self) -> None:
        """Kill every worker, even busy ones; a caller that waits for one gets an error."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            for worker in self._busy:
                worker.stop()  # its user notices its end, and clears up
        for worker in idle:
            worker.kill()

    def _take(self) -> _Worker:
        with self._lock:
            if self._closed:
                raise Problem(503, "service_unavailable", "The JavaScript workers are stopped.")
            worker = self._idle.pop() if self._idle else None
            if worker is not None and not worker.alive:  # it was killed from outside
                worker.kill()
                worker = None
            if worker is None:
                worker = _Worker(self.seconds, self.memory)
            self._busy.add(worker)
            return worker

    def _give(self, worker: _Worker, *, usable: bool) -> None:
        with self._lock:
            self._busy.discard(worker)
            if usable and worker.alive and not self._closed and len(self._idle) < IDLE:
                self._idle.append(worker)
                return
        worker.kill()

    @staticmethod
    def _read(result: str) -> str | Problem:
        if result.startswith("="):
            return result[1:]
        error, reason = json.loads(result[1:])
        problem = Problem(_STATUS.get(error, 500), error, reason)
        if result.startswith("?"):
            raise problem
        return problem


class _Worker:
    """One process and its pipes; only one thread uses it at a time."""

    def __init__(self, seconds: float, memory: int) -> None:
        found = importlib.util.find_spec("_quickjs")
        if found is None or found.origin is None:
            raise Problem(500, "internal_server_error", "quickjs-ng is not installed")
        self._patience = seconds + 0.5
        self._loaded: list[str] = []
        self._rest = b""
        # -I and -S: neither the environment nor site-packages are used; the script imports only two modules.
        command = [
            sys.executable,
            "-I",
            "-S",
            str(_HERE / "worker.py"),
            str(Path(found.origin).parent),
            str(_HERE / "prelude.js"),
            str(seconds),
            str(memory),
        ]
        self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and script, no shell
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0, cwd="/"
        )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, program: Program, operation: str, calls: Sequence[Sequence[str]]) -> Iterator[str]:
        """Yield the results in order; the last one may be an error that ends them."""
        request: dict[str, object] = {"program": program.name, "operation": operation, "calls": calls}
        if program.name in self._loaded:
            self._loaded.remove(program.name)
        else:
            request["source"] = program.text
            if len(self._loaded) >= PROGRAMS:
                request["drop"] = [self._loaded.pop(0)]
        self._loaded.append(program.name)
        self._send(json.dumps(request).encode() + b"\n")
        missing = len(calls)
        while missing:
            for result in self._receive():
                missing -= 1
                if result.startswith("?"):  # its context is unusable and was dropped
                    self._loaded.remove(program.name)
                yield result

    def _send(self, line: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None
        try:
            view = memoryview(line)
            while view:
                view = view[os.write(stdin.fileno(), view) :]
        except (BrokenPipeError, ValueError) as error:
            raise self._died() from error

    def _receive(self) -> list[str]:
        """Read the next line. A worker sends one at least every quarter of a second between calls."""
        parts = [self._rest]
        deadline = time.monotonic() + self._patience
        while b"\n" not in parts[-1]:
            parts.append(self._read(deadline))
        line, _, self._rest = b"".join(parts).partition(b"\n")
        results: list[str] = json.loads(line)
        return results

    def _read(self, deadline: float) -> bytes:
        stdout = self._process.stdout
        assert stdout is not None
        poll = select.poll()
        try:
            poll.register(stdout.fileno(), select.POLLIN)
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                self.kill()
                raise Problem(500, "os_process_error", "OS process timed out.")
            data = os.read(stdout.fileno(), 1 << 18)
        except (ValueError, OSError) as error:  # it was killed and closed meanwhile
            raise self._died() from error
        if not data:
            raise self._died()
        return data

    def _died(self) -> Problem:
        self.kill()
        return Problem(500, "os_process_error", f"{{exit_status,{self._process.returncode}}}")

    def stop(self) -> None:
        """Stop the process at once, while another thread waits for its answer."""
        self._process.kill()

    def kill(self) -> None:
        """Stop the process at once, wait for it and close its pipes."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
