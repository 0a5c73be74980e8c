"""`serve(…)`: runs a service in one or several processes, which stop and are replaced without losing a request."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from .listening import bind, urls
from .references import load
from .reloading import watch_files
from .server import check_http_server
from .supervisor import Supervisor, Worker
from .worker import Duty, ServeOptions, check_event_loop, run, tls_context, work

__all__ = ["ServeOptions", "serve"]

logger = logging.getLogger("tornado_couch.serving")

# prometheus-client's variable, and the one that distinguishes our processes; see `prometheus.py`.
_METRICS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
_WORKER_NUMBER = "TORNADO_COUCH_WORKER"


def serve(target: Any, *arguments: Any, **options: Any) -> int:
    """Serve an application until SIGTERM or SIGINT ends it.

        def make_app() -> Application: …

        if __name__ == "__main__":
            sys.exit(serve(make_app, port=8888, processes=4))

    With several processes, each creates the application itself, and one that dies is replaced. SIGHUP replaces
    all of them, one after the other; if a string names the target, they load the code anew.

    Args:
        target: the application; or what returns it: a function, plain or async, or an async context manager, whose
          exit is the place to close things; or the name of one of these, as `MODULE:ATTRIBUTE`.
        arguments: arguments for that function, if it takes any.
        **options: the attributes of `ServeOptions`.

    Returns:
        The exit status: 0; 1 if requests were cut off at the deadline or a process could not start; 2 if
        there is nothing to serve.

    Raises:
        OSError: the address is not available, or the certificate cannot be read.
        TypeError: an option does not exist.
        ValueError: a number is out of range.
    """
    chosen = ServeOptions(**options)
    _check(chosen)
    sockets = bind(chosen.host, chosen.port)
    try:
        if chosen.processes == 1 and not chosen.reload:
            duty = Duty(secrets.token_bytes(32), lambda: _announce(sockets, chosen))
            return run(work(_found(target), arguments, sockets, chosen, duty), chosen.event_loop)
        return _serve_by_several(target, arguments, sockets, chosen)
    finally:
        for each in sockets:
            each.close()


def _announce(sockets: Sequence[socket.socket], options: ServeOptions) -> None:
    """Log the addresses, once there is something to serve."""
    for url in urls(sockets, secure=options.certificate is not None):
        logger.info("listening on %s", url)


def _check(options: ServeOptions) -> None:
    if not 0 <= options.processes <= 1024:
        raise ValueError("processes must be from 0 to 1024")
    if not 0 <= options.port <= 65535:
        raise ValueError("port must be from 0 to 65535")
    for name in ("start_seconds", "stop_seconds", "idle_seconds", "body_seconds"):
        if getattr(options, name) <= 0:
            raise ValueError(f"{name} must be more than 0")
    if options.drain_seconds < 0:
        raise ValueError("drain_seconds must be at least 0")
    if options.reload and options.processes != 1:
        raise ValueError("reload needs one process")
    check_event_loop(options.event_loop)
    check_http_server(options.http_server)
    if options.key is not None and options.certificate is None:
        raise ValueError("key needs a certificate")
    tls_context(options)  # so that a file that cannot be used is an error now


def _found(target: Any) -> Any:
    try:
        return load(target) if isinstance(target, str) else target
    except click.UsageError as error:
        logger.error("%s", error.message)
        raise SystemExit(2) from None


def _serve_by_several(
    target: Any, arguments: Sequence[Any], sockets: Sequence[socket.socket], options: ServeOptions
) -> int:
    secret, own_pid = secrets.token_bytes(32), os.getpid()
    own = None if os.environ.get(_METRICS_DIRECTORY) else tempfile.mkdtemp(prefix="tornado-couch-metrics-")
    shared = Path(own or os.environ[_METRICS_DIRECTORY])

    def work_as(worker: Worker, parent: int) -> int:
        # Set this before the service is imported: prometheus-client reads it at import.
        os.environ[_METRICS_DIRECTORY] = str(shared)
        os.environ[_WORKER_NUMBER] = str(worker.number)
        duty = Duty(secret, lambda: _say_ready(worker), parent)
        if options.reload:
            watch_files(lambda: os.kill(own_pid, signal.SIGHUP) if os.getppid() == own_pid else None)
        return run(work(_found(target), arguments, sockets, options, duty), options.event_loop)

    def ended(number: int) -> None:
        # Requests in progress in the process have ended with it; its counts remain.
        for path in shared.glob(f"gauge_live*_w{number}.db"):
            path.unlink(missing_ok=True)

    for path in shared.glob("*_w[0-9]*.db"):
        path.unlink()  # left over from an earlier run
    supervisor = Supervisor(
        work_as,
        options.processes or _cpus(),
        start_seconds=options.start_seconds,
        stop_seconds=options.drain_seconds + options.stop_seconds,
        ended=ended,
        serving=lambda: _announce(sockets, options),
    )
    try:
        return supervisor.watch()
    finally:
        if own:
            shutil.rmtree(own, ignore_errors=True)


def _cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _say_ready(worker: Worker) -> None:
    if worker.pipe is not None:
        os.write(worker.pipe, b"r")
        os.close(worker.pipe)
        worker.pipe = None
