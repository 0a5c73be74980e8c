"""The HTTP server of tests: the one that `serve` chooses, or the one that TORNADO_COUCH_HTTP_SERVER names."""

from __future__ import annotations

import os
from typing import Any

from tornado_couch.service.server import Server, server_class
from tornado_couch.service.tornado_server import TornadoServer

AnyServer = Server | TornadoServer


def http_server(application: Any, **options: Any) -> AnyServer:
    """A server that does not listen yet."""
    return server_class(os.environ.get("TORNADO_COUCH_HTTP_SERVER", "auto"))(application, **options)


def listening(application: Any, **options: Any) -> tuple[AnyServer, int]:
    """A server on a free port, and that port."""
    server = http_server(application, **options)
    server.listen(0, "127.0.0.1")
    return server, server.sockets[0].getsockname()[1]


async def stopped(server: AnyServer) -> None:
    """Wait until a server has closed its sockets and connections."""
    server.stop()
    await server.close_all_connections()
