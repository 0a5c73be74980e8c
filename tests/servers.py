"""The HTTP server of tests: the one that `serve` chooses, or the one that TORNADO_COUCH_HTTP_SERVER names."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tornado_couch.service.listening import bind
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


@asynccontextmanager
async def running(kind: str, application: Any, **options: Any) -> AsyncIterator[tuple[AnyServer, int]]:
    """A server of one kind on a free port, and that port; at its end it is drained."""
    server = server_class(kind)(application, **options)
    sockets = bind("127.0.0.1", 0)
    port = sockets[0].getsockname()[1]
    server.accept_from(sockets)
    try:
        yield server, port
    finally:
        server.accept_rest()
        await server.drain(0)


async def sent(port: int, *parts: bytes, pause: float = 0.0) -> bytes:
    """All that is answered to bytes until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()
