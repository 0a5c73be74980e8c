"""`python -m example_app`: starts CouchDB and the service, runs the tour, then serves until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from tornado.httpserver import HTTPServer

from tornado_couch import Couch, TornadoCouchError

from .app import make_app, prepare
from .fruits import plant
from .languages import counts, entries, load
from .tour import tour


@click.command()
@click.option(
    "--port", default=8888, show_default=True, help="The port to listen on, on 127.0.0.1; 0 picks a free port."
)
@click.option(
    "--data", type=click.Path(path_type=Path), show_default="tornado-couch-example in the user's data folder",
    help="The folder where the embedded CouchDB keeps its data.",
)  # fmt: skip
@click.option("--tour", "tour_only", is_flag=True, help="Stop after the tour.")
def main(port: int, data: Path | None, tour_only: bool) -> None:
    """Run the example. If COUCHDB_URL is set, it uses that CouchDB instead of the embedded one."""
    try:
        asyncio.run(run(port, data or user_data(), tour_only))
    except KeyboardInterrupt:
        pass
    except (TornadoCouchError, OSError, RuntimeError) as error:
        sys.exit(f"example_app: {error}")


def user_data() -> Path:
    """Return the folder for the example's data, following the XDG Base Directory Specification."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "tornado-couch-example"


async def run(port: int, data: Path, tour_only: bool) -> None:
    """Start everything, run the tour, and serve."""
    # The tour prints each answer itself; Tornado's log of refused requests would only interrupt it.
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with couchdb(data) as couch_url, Couch(couch_url) as couch:
        for done in await prepare(couch):
            print(done)
        server = HTTPServer(make_app(couch))
        url = listen(server, port)
        print(f"The service is at {url}, its database at {couch!r}")
        work = asyncio.create_task(show(url, tour_only))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()  # raises the exception, if any
            if not tour_only:
                print(f"\nServing {url}/v1.0/fruits and {url}/v1.0/languages. Stop with Ctrl-C.")
                await stopped
        for task in (work, stopped):
            task.cancel()
        server.stop()
        await server.close_all_connections()


@contextlib.asynccontextmanager
async def couchdb(data: Path) -> AsyncIterator[str]:
    """Yield the URL of the CouchDB to use: COUCHDB_URL, or the embedded one with its data in a folder."""
    given = os.environ.get("COUCHDB_URL")
    if given:
        yield given
        return
    from tornado_couch.embedded import EmbeddedCouch

    async with EmbeddedCouch(data) as url:
        yield url


def listen(server: HTTPServer, port: int) -> str:
    """Bind the port, and return the service's URL.

    Raises:
        RuntimeError: the port is taken.
    """
    from tornado.netutil import bind_sockets

    try:
        sockets = bind_sockets(port, "127.0.0.1")
    except OSError as error:
        raise RuntimeError(f"port {port} cannot be used ({error.strerror}); choose another one with --port") from None
    server.add_sockets(sockets)
    return f"http://127.0.0.1:{sockets[0].getsockname()[1]}"


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
    print(f"Created {created} languages. Languages by scope, from a reduced view: {await counts(url)}")


if __name__ == "__main__":
    main()
