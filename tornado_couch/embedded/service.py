"""The server as a whole: `EmbeddedCouch` starts it within a program's own event loop."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from tornado.httpserver import HTTPServer

from tornado_couch.embedded.couch import Couch
from tornado_couch.embedded.exchange import Front
from tornado_couch.embedded.routes import Routes

__all__ = ["EmbeddedCouch"]

_HUGE = 1 << 40


class EmbeddedCouch:
    """A CouchDB-protocol server in this process: `async with EmbeddedCouch() as url: …`.

    Args:
        dir: where databases are kept; None for memory, which is gone at the end.
        admin: `USER:PASSWORD` of the server admin; without one everyone is admin.
        port: where to listen; 0 takes a free port.
        bind: the address to listen on.
    """

    def __init__(
        self, dir: str | Path | None = None, *, admin: str | None = None, port: int = 0, bind: str = "127.0.0.1"  # noqa: A002  the issue's own word
    ) -> None:
        self._folder = None if dir is None else Path(dir)
        self._admin = admin
        self._port = port
        self._bind = bind
        self.url = ""
        self.couch: Couch | None = None
        self._front: Front | None = None
        self._server: HTTPServer | None = None

    async def start(self) -> str:
        """Listen; the server's URL, with the admin's credentials when there is an admin."""
        sockets = _listen(self._bind, self._port)
        name, _, password = (self._admin or "").partition(":")
        self.couch = Couch(self._folder, {name: password} if self._admin else {})
        self._front = Front(Routes(self.couch))
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
        """End all exchanges, close all connections and files."""
        if self._server is None or self._front is None or self.couch is None:
            return
        self._server.stop()
        await self._front.close()
        await self._server.close_all_connections()
        await self.couch.close()
        self._server = None
        # Let the transports of the connections that were closed go.
        await asyncio.sleep(0)

    async def __aenter__(self) -> str:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def _listen(bind: str, port: int) -> socket.socket:
    """A listening socket."""
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
