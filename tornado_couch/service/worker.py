"""A worker process of a service: creates the application, serves it, and stops without losing a request."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib
import inspect
import logging
import os
import signal
import socket
import ssl
import sys
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeVar

import tornado.web

from ..couch import Couch
from ..store.readiness import STOPPING
from ..web.live import end_streams
from .listening import SETTLE_SECONDS, refuse_new
from .server import HttpServer, Server, server_class
from .tornado_server import TornadoServer

__all__ = [
    "RETIRE",
    "Duty",
    "EventLoop",
    "ServeOptions",
    "application_arguments",
    "application_of",
    "check_event_loop",
    "chosen_event_loop",
    "run",
    "settle",
    "tls_context",
    "wants_couch",
    "work",
]


T = TypeVar("T")

EventLoop = Literal["auto", "asyncio", "uvloop"]

"""asyncio's own loop; uvloop, which needs less CPU time for each request; or uvloop only if it is installed."""


def check_event_loop(name: str) -> str:
    """Return the name if `run` supports it.

    Raises:
        ValueError: the event loop is unknown, or not installed.
    """
    if name not in ("auto", "asyncio", "uvloop"):
        raise ValueError('event_loop must be "auto", "asyncio" or "uvloop"')
    if name == "uvloop" and find_spec("uvloop") is None:
        raise ValueError("event_loop is uvloop, but it is not installed: pip install 'tornado-couch[fast]'")
    return name


def chosen_event_loop(name: str) -> Literal["asyncio", "uvloop"]:
    """Return the event loop to use, depending on what is installed."""
    return "asyncio" if name == "asyncio" or (name == "auto" and find_spec("uvloop") is None) else "uvloop"


def run(main: Coroutine[Any, Any, T], event_loop: str = "auto") -> T:
    """Run a coroutine as `asyncio.run` does, in the event loop of this name."""
    if chosen_event_loop(event_loop) == "asyncio":
        return asyncio.run(main)
    found: T = importlib.import_module("uvloop").run(main)
    return found


# How many container objects are created before the youngest are examined. A request creates some hundreds, most of
# which are freed without the collector; Python's default of 700 (2,000 since 3.13) runs it for every second request.
_YOUNG = 50_000

_OLDER = 20


# The number of this setting in glibc's <malloc.h>.
_M_MMAP_THRESHOLD = -3

_LARGE_BLOCK = 256 * 1024  # bytes


def settle() -> None:
    """Tune the use of memory; call it once, when a service is about to serve; `serve` does.

    Existing objects (modules, models, routes) are no longer examined by the garbage collector, and new ones less often.
    A service under load needs about a twentieth less CPU time (3 to 5 %, measured side by side), and a few megabytes
    more memory.

    Blocks of memory of 256 KiB and more, such as the text of a page, go back to Linux as soon as they are free. By
    itself glibc keeps blocks that are as large as those that were freed before, up to 32 MiB, in several heaps full of
    holes, so that answers of some megabytes take about twice the memory that they need. The environment variable
    `MALLOC_MMAP_THRESHOLD_` goes first.
    """
    if sys.platform == "linux" and "MALLOC_MMAP_THRESHOLD_" not in os.environ:
        with suppress(AttributeError, OSError):  # other libraries, such as musl, have no such setting
            ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _OLDER, _OLDER)


logger = logging.getLogger("tornado_couch.serving")

RETIRE = signal.SIGUSR2

"""Tells a worker that another has replaced it: it stops, and leaves waiting connections to the others."""

# The application's setting that holds the key of cursors, if no secret was configured.
_CURSOR_KEY = "_tornado_couch_cursor_key"


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Options for serving an application; times are in seconds.

    Attributes:
        host: the address to listen on; "" for all.
        port: the port; 0 picks a free one.
        processes: the number of processes; 0 for one for each CPU.
        xheaders: read a client's address and protocol from X-Forwarded-For, X-Real-Ip and X-Forwarded-Proto.
        proxies: the networks of proxies that are trusted to set these; if empty, all are trusted.
        start_seconds: how long a process may take until it serves.
        drain_seconds: how long a process that is told to stop goes on serving while reporting that it is not ready, so
          that load balancers notice.
        stop_seconds: how long requests in progress may take after that.
        idle_seconds: how long a connection without a request stays open, and how long a request's header may take.
        body_seconds: how long a request's content may take.
        event_loop: the event loop, one of `EventLoop`.
        http_server: the HTTP server, one of `HttpServer`.
        certificate: a file with the certificate for TLS, and those that vouch for it, in PEM; None for no TLS.
        key: the file with its private key; None if the certificate's file holds it.
        reload: replace the process whenever a file of its code changes; for development, with one process.
    """

    host: str = "127.0.0.1"
    port: int = 8888
    processes: int = 1
    xheaders: bool = False
    proxies: Sequence[Any] = ()
    start_seconds: float = 60.0
    drain_seconds: float = 0.0
    stop_seconds: float = 30.0
    idle_seconds: float = 75.0
    body_seconds: float = 300.0
    event_loop: EventLoop = "auto"
    http_server: HttpServer = "auto"
    certificate: Path | None = None
    key: Path | None = None
    reload: bool = False


@dataclass(frozen=True)
class Duty:
    """What a process receives from its parent.

    Attributes:
        secret: the same for all processes, for data that clients carry from one to another.
        ready: called when the process accepts connections.
        parent: a pipe whose other end closes when the parent dies; None if there is no parent.
    """

    secret: bytes
    ready: Callable[[], None]
    parent: int | None = None


class _NotServable(TypeError):
    """The given target does not return an application."""


class _Orders:
    """The orders that signals give to this process."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.at_once = asyncio.Event()
        self.retire = False
        self.serving = False
        self._main = asyncio.current_task()

    def listen(self, parent: int | None) -> None:
        """Receive orders from signals, or from the end of the parent."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        if parent is None:
            loop.add_signal_handler(signal.SIGINT, self._stop)
            return
        # Ctrl-C goes to the whole process group: the parent receives it too, and tells us.
        for number in (signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, lambda: None)
        loop.add_signal_handler(RETIRE, self._retire)
        loop.add_reader(parent, self._orphaned, parent)

    def _stop(self) -> None:
        if self.stop.is_set():
            self.at_once.set()
        self.stop.set()
        if not self.serving and self._main is not None:
            self._main.cancel()  # no requests to answer: not yet, or no longer

    def _retire(self) -> None:
        self.retire = True
        self.stop.set()

    def _orphaned(self, parent: int) -> None:
        asyncio.get_running_loop().remove_reader(parent)
        logger.error("the parent process has died")
        self._stop()


@asynccontextmanager
async def application_of(target: Any, *arguments: Any) -> AsyncIterator[tornado.web.Application]:
    """Yield the application that a target returns, for as long as it is served.

    Args:
        target: an application; or a function, plain, async or an async context manager, that returns one.
        arguments: arguments for the function, if it takes any.

    Raises:
        TypeError: the target does not return an application.
    """
    made = target
    if not isinstance(target, tornado.web.Application) and callable(target):
        made = target(*application_arguments(target, *arguments))
    if inspect.isawaitable(made):
        made = await made
    if isinstance(made, AbstractAsyncContextManager):
        async with made as application:
            yield _checked(application)
    else:
        yield _checked(made)


def application_arguments(target: Any, *offered: Any) -> tuple[Any, ...]:
    """Return the arguments to pass to a function: all that are offered, or none if it takes none."""
    try:
        inspect.signature(target).bind(*offered)
    except (TypeError, ValueError):
        return ()
    return offered


def wants_couch(target: Any) -> bool:
    """Return whether a function's only required argument is a client of CouchDB, by its annotation or its name."""
    if isinstance(target, tornado.web.Application) or not callable(target):
        return False
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return False
    needed = [each for each in parameters if each.default is each.empty and each.kind in _POSITIONAL]
    if len(needed) != 1:
        return False
    try:
        hint = typing.get_type_hints(inspect.unwrap(target)).get(needed[0].name)
    except (TypeError, NameError):
        hint = None
    return needed[0].name == "couch" if hint is None else inspect.isclass(hint) and issubclass(hint, Couch)


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _checked(made: Any) -> tornado.web.Application:
    if not isinstance(made, tornado.web.Application):
        raise _NotServable(f"the target must return a Tornado application, not {type(made).__name__}")
    return made


async def work(
    target: Any, arguments: Sequence[Any], sockets: Sequence[socket.socket], options: ServeOptions, duty: Duty
) -> int:
    """Serve until a signal ends it.

    SIGTERM and SIGINT end it gracefully, a second one at once.

    Returns:
        The exit status: 0; 1 if requests were cut off at the deadline; 2 if there is nothing to serve.
    """
    orders = _Orders()
    orders.listen(duty.parent)
    cut = 0
    try:
        async with application_of(target, *arguments) as application:
            application.settings.setdefault(_CURSOR_KEY, duty.secret)
            cut = await _serve(application, sockets, options, duty, orders)
    except _NotServable as error:
        logger.error("%s", error)
        return 2
    except asyncio.CancelledError:
        if not orders.stop.is_set():
            raise
    logger.info(
        "process %d stopped; %s", os.getpid(), f"{cut} requests were cut off" if cut else "all requests answered"
    )
    return 1 if cut else 0


async def _serve(
    application: tornado.web.Application,
    sockets: Sequence[socket.socket],
    options: ServeOptions,
    duty: Duty,
    orders: _Orders,
) -> int:
    """Serve until the process is told to stop; return how many requests were cut off then."""
    server = server_class(options.http_server)(
        application,
        xheaders=options.xheaders,
        proxies=options.proxies,
        idle_connection_timeout=options.idle_seconds,
        body_timeout=options.body_seconds,
        ssl_options=tls_context(options),
    )
    if options.certificate is not None and duty.parent is None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _renew, server, options)
    settle()
    server.accept_from(sockets)
    orders.serving = True
    duty.ready()
    logger.info("process %d is serving", os.getpid())
    consumers = list(application.settings.get("consumers", ()))
    for each in consumers:
        each.start()
    await orders.stop.wait()
    # They stop at once, so that other processes go on with their work while this one still answers requests.
    stopping = asyncio.gather(*(each.stop() for each in consumers))
    try:
        return await _end(server, application, sockets, options, orders)
    finally:
        await _unless(orders.at_once, stopping)
        orders.serving = False


def tls_context(options: ServeOptions) -> ssl.SSLContext | None:
    """Return the context for TLS with the certificate as it is in its file now; None without a certificate.

    Raises:
        OSError: a file cannot be read, or does not hold what it should (`ssl.SSLError`).
    """
    if options.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options.certificate, options.key)
    return context


def _renew(server: Server | TornadoServer, options: ServeOptions) -> None:
    """Use the certificate as it is in its file now, for new connections."""
    try:
        context = tls_context(options)
    except OSError as error:
        logger.error("keeping the old certificate: the new one cannot be read: %s", error)
        return
    if context is not None:
        server.use_tls(context)
        logger.info("process %d uses the certificate as it is now", os.getpid())


async def _end(
    server: Server | TornadoServer,
    application: tornado.web.Application,
    sockets: Sequence[socket.socket],
    options: ServeOptions,
    orders: _Orders,
) -> int:
    """Stop gracefully; return how many requests were cut off."""
    if not orders.retire:
        application.settings[STOPPING] = True
        await _unless(orders.at_once, asyncio.sleep(options.drain_seconds))
        refuse_new(sockets)
        await _unless(orders.at_once, asyncio.sleep(SETTLE_SECONDS))
    server.accept_rest()
    end_streams(application)
    cut = await _unless(orders.at_once, server.drain(options.stop_seconds))
    return await server.drain(0) if cut is None else cut


async def _unless(event: asyncio.Event, waiting: Awaitable[Any]) -> Any:
    """Return what the coroutine returns, or None if the event comes first."""
    tasks = [asyncio.ensure_future(waiting), asyncio.ensure_future(event.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return tasks[0].result() if tasks[0].done() else None
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
