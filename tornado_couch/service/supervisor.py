"""Supervises several processes that serve on the same sockets: starts, watches, replaces and stops them.

All of them share the listening sockets, which were bound before the processes were created. If each had its own
(SO_REUSEPORT), the queue of a process that dies would die with it, along with the connections in it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..errors import TornadoCouchError
from .worker import RETIRE

__all__ = ["Supervisor", "Worker"]

logger = logging.getLogger("tornado_couch.serving")

_STABLE_SECONDS = 5.0  # a process that lives this long did not die of a faulty start
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 30.0
_KILL_AFTER_SECONDS = 5.0  # after the time that a process has for stopping by itself

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

Run = Callable[["Worker", int], int]
"""Does a worker's work in its own process: takes the worker and a pipe to the parent, returns the exit status."""


@dataclass
class Worker:
    """A worker process.

    Attributes:
        number: a small number that no other living process has.
        pid: its process id.
        started: when it started, on the monotonic clock.
        failures: how many predecessors in a row died young.
        pipe: the pipe on which it reports that it is ready; None once it has done so, or has died.
        ready: whether it has reported that it is ready.
        replaces: the worker that it will replace; None if none, or once it has.
        until: when it will be killed; None as long as it is wanted.
    """

    number: int
    pid: int = 0
    started: float = 0.0
    failures: int = 0
    pipe: int | None = None
    ready: bool = False
    replaces: Worker | None = None
    until: float | None = None


class Supervisor:
    """Keeps worker processes running; create it before there is an event loop or a thread.

    SIGTERM and SIGINT stop all processes, the first one gracefully, a second one at once. SIGHUP replaces the
    processes one after the other, each as soon as its successor serves.

    Args:
        run: the function that a process runs.
        processes: the number of processes.
        start_seconds: how long a process may take until it is ready.
        stop_seconds: how long a process may take to stop.
        ended: called with the number of a process that has ended.
        serving: called once, when the first process is ready.
    """

    def __init__(
        self,
        run: Run,
        processes: int,
        *,
        start_seconds: float,
        stop_seconds: float,
        ended: Callable[[int], None],
        serving: Callable[[], None] = lambda: None,
    ) -> None:
        self._run = run
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self._ended = ended
        self._serving = serving
        self._workers: dict[int, Worker] = {}
        # When to start another process, and how many of its predecessors died young.
        self._due: list[tuple[float, int]] = [(0.0, 0)] * processes
        self._replace: deque[Worker] = deque()
        self._served = False
        self._stopping = False
        self._status = 0
        # Only this process holds it; its end of the second pipe closes when this process ends, for whatever reason.
        self._wakeup = self._wakeup_writer = self._life = self._heartbeat = -1

    def watch(self) -> int:
        """Start the processes and supervise them until all have ended; return the exit status."""
        with self._signals():
            while self._workers or not self._stopping:
                self._start_due()
                self._wait()
                self._reap()
                self._check_times()
        return self._status

    # ------------------------------------------------------------ signals

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Read signals from a pipe, so that a handler never interrupts other work."""
        self._wakeup, self._wakeup_writer = os.pipe()
        self._life, self._heartbeat = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(self._wakeup_writer, False)
        before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
        old = signal.set_wakeup_fd(self._wakeup_writer, warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(old)
            for number, handler in before.items():
                signal.signal(number, handler)
            for descriptor in (self._wakeup, self._wakeup_writer, self._life, self._heartbeat):
                os.close(descriptor)

    def _wait(self) -> None:
        """Wait for a signal, for a process to report that it is ready, or for the next deadline."""
        pipes = {worker.pipe: worker for worker in self._workers.values() if worker.pipe is not None}
        pause = max(0.0, min([0.5, *(due - time.monotonic() for due, _ in self._due)]))
        readable, _, _ = select.select([self._wakeup, *pipes], [], [], pause)
        for descriptor in readable:
            if descriptor != self._wakeup:
                self._heard(pipes[descriptor])
                continue
            for number in os.read(self._wakeup, 4096):
                self._signalled(number)

    def _signalled(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            self._stop()
        elif number == signal.SIGHUP and not self._stopping:
            logger.info("replacing all processes")
            self._replace = deque(each for each in self._workers.values() if each.until is None)
            self._replace_next()

    def _stop(self) -> None:
        self._stopping = True
        self._due.clear()
        self._replace.clear()
        for worker in self._workers.values():
            self._end(worker, signal.SIGTERM)

    def _end(self, worker: Worker, number: signal.Signals) -> None:
        worker.until = worker.until or time.monotonic() + self._stop_seconds + _KILL_AFTER_SECONDS
        self._tell(worker, number)

    def _tell(self, worker: Worker, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, number)

    # ------------------------------------------------------------ processes come

    def _start_due(self) -> None:
        now = time.monotonic()
        for due, failures in [each for each in self._due if each[0] <= now]:
            self._due.remove((due, failures))
            self._start(failures)

    def _start(self, failures: int = 0, replaces: Worker | None = None) -> None:
        taken = {worker.number for worker in self._workers.values()}
        number = next(number for number in range(len(taken) + 1) if number not in taken)
        worker = Worker(number, started=time.monotonic(), failures=failures, replaces=replaces)
        worker.pipe, writer = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        worker.pid = os.fork()
        if worker.pid == 0:
            self._become(worker, writer)
        os.close(writer)
        self._workers[worker.pid] = worker

    def _become(self, worker: Worker, writer: int) -> None:
        """Become the new process; never returns."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            pipes = [each.pipe for each in (*self._workers.values(), worker) if each.pipe is not None]
            for descriptor in (self._wakeup, self._wakeup_writer, self._heartbeat, *pipes):
                os.close(descriptor)
            worker.pipe = writer
            status = self._run(worker, self._life)
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except TornadoCouchError as error:
            logger.error("process %d failed: %s", os.getpid(), error)
        except BaseException:
            logger.exception("process %d failed", os.getpid())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)  # the parent's exit handlers must not run here

    def _heard(self, worker: Worker) -> None:
        """Handle a process that reports that it is ready, or whose pipe ends because it died."""
        if worker.pipe is not None:
            worker.ready = bool(os.read(worker.pipe, 1))
            os.close(worker.pipe)
            worker.pipe = None
        if not worker.ready:
            return
        if not self._served:
            self._served = True
            self._serving()
        if worker.replaces is not None:
            self._end(worker.replaces, RETIRE)
            worker.replaces = None
            self._replace_next()

    def _replace_next(self) -> None:
        while self._replace:
            old = self._replace.popleft()
            if old.pid in self._workers and old.until is None:
                self._start(replaces=old)
                return

    # ------------------------------------------------------------ processes go

    def _reap(self) -> None:
        for pid in list(self._workers):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._gone(self._workers.pop(pid), os.waitstatus_to_exitcode(status))

    def _gone(self, worker: Worker, status: int) -> None:
        self._heard(worker)  # its last report, if any
        self._ended(worker.number)
        if worker.until is not None:
            # A process that was told to stop before it could handle signals has done nothing wrong.
            if self._stopping and status not in (0, -signal.SIGTERM):
                self._status = self._status or 1
            return
        how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
        logger.error("process %d %s", worker.pid, how)
        if worker.replaces is not None:
            logger.error("keeping the old processes: a new one could not start")
            self._replace.clear()
        elif not self._served:
            self._status = status if status > 0 else 1  # it never worked, so we report that at once
            self._stop()
        else:
            self._start_again(worker)

    def _start_again(self, worker: Worker) -> None:
        now = time.monotonic()
        failures = 0 if now - worker.started >= _STABLE_SECONDS else worker.failures + 1
        pause = min(_FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 20), _LONGEST_PAUSE_SECONDS) if failures else 0.0
        self._due.append((now + pause, failures))

    def _check_times(self) -> None:
        """Kill processes that take too long to be ready or to stop."""
        now = time.monotonic()
        for worker in self._workers.values():
            late = worker.pipe is not None and now > worker.started + self._start_seconds
            if late or (worker.until is not None and now > worker.until):
                logger.error("process %d took too long, killing it", worker.pid)
                self._tell(worker, signal.SIGKILL)
