"""The server as a whole, in an event loop or in a thread of its own."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Collection
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from tornado.httpserver import HTTPServer

from tornado_couch.embedded.couch import Couch
from tornado_couch.embedded.exchange import Front
from tornado_couch.embedded.routes import Routes

__all__ = ["BackgroundCouch", "EmbeddedCouch"]

_HUGE = 1 << 40


class EmbeddedCouch:
    """A CouchDB-protocol server in this process: `async with EmbeddedCouch() as url: …`.

    Args:
        dir: the folder for databases; None keeps them in memory until the server ends.
        admin: `USER:PASSWORD` of the server admin; without it everyone is admin.
        port: the port to listen on; 0 chooses a free one.
        bind: the address to listen on.
        hosts: further names of this server; other names in `Host` than these and localhost are refused.
    """

    def __init__(
        self,
        dir: str | Path | None = None,  # noqa: A002 - the word of the command line
        *,
        admin: str | None = None,
        port: int = 0,
        bind: str = "127.0.0.1",
        hosts: Collection[str] = (),
    ) -> None:
        self._folder = None if dir is None else Path(dir)
        self._admin = admin
        self._port = port
        self._bind = bind
        self._hosts = (bind, *hosts)
        self.url = ""
        self.couch: Couch | None = None
        self._front: Front | None = None
        self._server: HTTPServer | None = None

    async def start(self) -> str:
        """Listen; the server's URL, with the admin's credentials when there is an admin.

        Raises:
            DataFolderError: the folder cannot be used.
            OSError: the address cannot be listened at.
        """
        sockets = _listen(self._bind, self._port)
        name, _, password = (self._admin or "").partition(":")
        try:
            self.couch = Couch(self._folder, {name: password} if self._admin else {})
        except BaseException:
            sockets.close()
            raise
        self._front = Front(Routes(self.couch), self._hosts, anywhere=not _is_loopback(sockets.getsockname()[0]))
        self._front.statuses = self.couch.requests
        self._server = HTTPServer(self._front, max_body_size=_HUGE, max_buffer_size=_HUGE, idle_connection_timeout=600)
        self._server.add_sockets([sockets])
        host, port = sockets.getsockname()[:2]
        host = f"[{host}]" if ":" in host else host
        login = f"{quote(name, safe='')}:{quote(password, safe='')}@" if self._admin else ""
        self.couch.url = f"http://{host}:{port}"
        self.url = f"http://{login}{host}:{port}"
        self.couch.watch_replicator()
        return self.url

    async def stop(self) -> None:
        """Stop all exchanges, and close all connections and files."""
        if self._server is None or self._front is None or self.couch is None:
            return
        self._server.stop()
        await self._front.close()
        await self._server.close_all_connections()
        await self.couch.close()
        self._server = None
        # Let the transports of the closed connections end.
        await asyncio.sleep(0)

    async def __aenter__(self) -> str:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def _is_loopback(address: str) -> bool:
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def _listen(bind: str, port: int) -> socket.socket:
    """Make a listening socket."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setblocking(False)
        made.bind((bind, port))
        made.listen(1024)
    except OSError:
        made.close()
        raise
    return made


_START_SECONDS = 30.0


class BackgroundCouch:
    """Runs a server in a thread: `with BackgroundCouch() as url: …`; the arguments are those of `EmbeddedCouch`."""

    def __init__(self, dir: str | Path | None = None, *, admin: str | None = None, port: int = 0) -> None:  # noqa: A002  as in EmbeddedCouch
        self._server = EmbeddedCouch(dir, admin=admin, port=port)
        self._thread = threading.Thread(target=self._run, name="embedded-couch-loop", daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._failure: BaseException | None = None

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as failure:  # noqa: BLE001  it is handed to the thread that started this one
            self._failure = failure
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await self._server.start()
        self._ready.set()
        try:
            await self._stop.wait()
        finally:
            await self._server.stop()

    def __enter__(self) -> str:
        self._thread.start()
        self._ready.wait(_START_SECONDS)
        if self._failure is not None:
            raise self._failure
        return self._server.url

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_START_SECONDS)
