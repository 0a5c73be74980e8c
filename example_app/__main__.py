"""`python -m example_app`: starts CouchDB and the service, runs the tour, then serves until Ctrl-C."""

# ruff: noqa: E402 - imports take a second, in which Ctrl-C is to end the program without a traceback
from __future__ import annotations

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)

import asyncio
import contextlib
import io
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import FrameType

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tornado.httpserver import HTTPServer

from tornado_couch import Couch, TornadoCouchError
from tornado_couch.couch.trouble import advice
from tornado_couch.errors import CouchError

from .app import make_app, prepare
from .fruits import plant
from .languages import counts, entries, load
from .tour import tour

_FORM = "http://USER:PASSWORD@127.0.0.1:5984"
_SCOPES = {"I": "individual", "M": "macrolanguages", "S": "special"}


class Trouble(Exception):
    """The example cannot run; the message names the setting that is wrong, and says what to do."""


def main() -> None:
    """Run the command; what goes wrong ends it with one sentence."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # into a pipe too, so that one sees how far it is
    try:
        command(standalone_mode=False)
    except asyncio.CancelledError:
        pass  # by a signal
    except click.ClickException as error:
        sys.exit(f"example_app: {error.format_message()}")
    except (Trouble, TornadoCouchError, OSError, RuntimeError) as error:
        sys.exit(f"example_app: {error}")


@click.command()
@click.option(
    "--port",
    default=8888,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The port to listen on, on 127.0.0.1; 0 picks a free port.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    show_default="tornado-couch-example in the user's data folder",
    help="The folder where the embedded CouchDB keeps its data.",
)
@click.option("--tour", "tour_only", is_flag=True, help="Stop after the tour.")
def command(port: int, data: Path | None, tour_only: bool) -> None:
    """Run the example. If COUCHDB_URL is set, it uses that CouchDB instead of the embedded one."""
    asyncio.run(run(port, data or user_data(), tour_only))


def user_data() -> Path:
    """Return the folder for the example's data, following the XDG Base Directory Specification."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "tornado-couch-example"


async def run(port: int, data: Path, tour_only: bool) -> None:
    """Start everything, run the tour, and serve."""
    # The tour prints each answer itself; Tornado's log of refused requests would only interrupt it.
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    end_by_signals()
    async with couchdb(data) as couch:
        sockets = bound(port)  # first, so that nothing is installed if the port is taken
        for done in await prepare(couch):
            print(done)
        server = HTTPServer(make_app(couch))
        server.add_sockets(sockets)
        url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        print(f"The service is at {url}, its CouchDB at {couch.url}")
        try:
            await show(url, tour_only)
            if not tour_only:
                print(f"\nThe page is at {url}/\nThe API can be tried out at {url}/docs\nStop with Ctrl-C.")
                await asyncio.Event().wait()
        finally:
            server.stop()
            await server.close_all_connections()


def end_by_signals() -> None:
    """Let SIGINT and SIGTERM cancel the current task; a second one ends the program at once."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    # Not `add_signal_handler`: when the loop closes, that makes SIGINT raise KeyboardInterrupt again.
    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        signal.signal(number, signal.SIG_DFL)
        logging.disable()  # requests that are cut off now are not worth a message
        with contextlib.suppress(RuntimeError):  # the loop is closed, so the program is about to end
            loop.call_soon_threadsafe(task.cancel)  # type: ignore[union-attr]

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)


@contextlib.asynccontextmanager
async def couchdb(data: Path) -> AsyncIterator[Couch]:
    """Yield a client of the CouchDB to use: that of COUCHDB_URL, or the embedded one with its data in a folder.

    Raises:
        Trouble: it cannot be used.
    """
    given = os.environ.get("COUCHDB_URL")
    if given:
        async with named(given) as couch:
            yield couch
        return
    from tornado_couch.embedded import DataFolderError, EmbeddedCouch

    server = EmbeddedCouch(data)
    try:
        url = await server.start()
    except DataFolderError as error:
        raise Trouble(f"{error}; choose another folder with --data") from None
    print(f"The embedded CouchDB keeps its data in {data}")
    try:
        async with Couch(url) as couch:
            yield couch
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def named(url: str) -> AsyncIterator[Couch]:
    """Yield a client of the CouchDB that COUCHDB_URL names."""
    try:
        couch = Couch(url)
    except ValueError as error:
        raise Trouble(f"COUCHDB_URL is not valid ({error}); set it to {_FORM}") from None
    async with couch:
        try:
            await couch.info()
            yield couch
        except CouchError as error:
            form = couch.url.replace("://", "://USER:PASSWORD@", 1)
            found = advice(error, couch.url, address="COUCHDB_URL", user=f"COUCHDB_URL={form}")
            raise Trouble(found or f"COUCHDB_URL cannot be used ({error}); set it to {_FORM}") from None


def bound(port: int) -> list[socket.socket]:
    """Return sockets that are bound to the port.

    Raises:
        Trouble: the port cannot be used.
    """
    from tornado.netutil import bind_sockets

    try:
        return bind_sockets(port, "127.0.0.1")
    except OSError as error:
        raise Trouble(f"port {port} cannot be used ({error.strerror}); choose another one with --port") from None


async def show(url: str, tour_only: bool) -> None:
    """Run the tour, then load the fruits and the languages that the page shows."""
    await tour(url)
    if tour_only:
        return
    await plant(url)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    print("\n# Load the languages of ISO 639-3 through the REST API.")
    with Progress(*columns) as bar:
        task = bar.add_task("POST /v1.0/languages", total=len(entries()))
        created = await load(url, lambda done: bar.update(task, completed=done))
    scopes = ", ".join(f"{number} {_SCOPES.get(scope, scope)}" for scope, number in (await counts(url)).items())
    print(f"Created {created} languages." if created else "All of them are there already.")
    print(f"A reduced view counts them by scope: {scopes}.")


if __name__ == "__main__":
    main()
