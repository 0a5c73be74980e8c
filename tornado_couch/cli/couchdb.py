"""`tornado-couch couchdb`: runs the embedded server in its own process."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import resource
import signal
from collections.abc import Collection
from pathlib import Path

import click

from ..errors import TornadoCouchError

__all__ = ["couchdb"]

_FILES = 65536
_FOLDER = ".couchdb"


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def raise_file_limit() -> None:
    """Raise the limit of open files as far as the system allows: each open database needs several."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else _FILES
    if soft < min(wanted, _FILES):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, _FILES), hard))


async def serve(folder: Path | None, host: str, port: int, admin: str | None, names: Collection[str] = ()) -> None:
    """Run the server until SIGTERM or SIGINT."""
    from ..embedded.server import EmbeddedCouch

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = EmbeddedCouch(folder, admin=admin, port=port, bind=host, hosts=names)
    await server.start()
    try:
        # Without the credentials: this line ends up in logs.
        click.echo(server.couch.url + "/" if server.couch else "")
        where = "in memory" if folder is None else f"in {folder}"
        click.echo(f"Data is kept {where}. Press Ctrl-C to stop.", err=True)
        await stop.wait()
    finally:
        await server.stop()


@click.command("couchdb")
@click.option(
    "--port", default=5984, show_default=True, type=click.IntRange(0, 65535), help="The port; 0 for a free one."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--allow-host",
    "names",
    metavar="NAME",
    multiple=True,
    help="A further name of this server; requests with other names than these and localhost are refused.",
)
@click.option("--dir", "folder", type=click.Path(file_okay=False, path_type=Path),
              help=f"The folder for the databases.  [default: {_FOLDER}]")  # fmt: skip
@click.option("--memory", is_flag=True, help="Keep all data in memory; it is lost on exit.")
@click.option("--admin", metavar="USER:PASSWORD", envvar="TORNADO_COUCH_ADMIN",
              show_envvar=True, help="The server's admin; without one, everyone is an admin.")  # fmt: skip
def couchdb(port: int, host: str, names: tuple[str, ...], folder: Path | None, memory: bool, admin: str | None) -> None:
    """Run a CouchDB-protocol server for development and tests.

    It prints its URL once it listens. Ctrl-C or SIGTERM stops it.
    """
    if memory and folder:
        raise click.UsageError("--dir and --memory cannot be used together.")
    if not memory and folder is None:
        folder = Path(_FOLDER)
    folder = folder and folder.resolve()
    if admin is not None and (":" not in admin or admin.startswith(":") or admin.endswith(":")):
        raise click.UsageError("--admin must have the form USER:PASSWORD.")
    if admin is None and not is_loopback(host):
        raise click.UsageError(f"--host {host} can be reached from other machines, so --admin is required.")
    raise_file_limit()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve(folder, "127.0.0.1" if host == "localhost" else host, port, admin, names))
    except TornadoCouchError as error:
        raise click.ClickException(f"{error}; choose another folder with --dir") from None
    except OSError as error:
        raise click.ClickException(
            f"Cannot listen on {host} port {port}: {error.strerror}; choose another --port or --host"
        ) from None
