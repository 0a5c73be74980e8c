# ruff: noqa: T201  (it prints its address for the process that started it)
"""Runs one peer until its standard input ends: `python -m benchmarks.peers NAME URL DATABASE KEYS PORT LOOP`.

It prints the port on which it listens; several processes can share one, and 0 chooses a free one. LOOP is the event
loop, by the name that `serve` has for it: every peer uses the same one.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import sys
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import unquote, urlsplit

from tornado_couch.service.worker import run

BACKLOG = 1024


def _socket(port: int) -> socket.socket:
    # With the protocol given, asyncio sets TCP_NODELAY on connections; otherwise uvicorn's answers take 40 ms each.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listening.bind(("127.0.0.1", port))
    listening.listen(BACKLOG)
    listening.setblocking(False)
    return listening


async def _aiocouch(stack: AsyncExitStack, url: str, database: str) -> Any:
    import aiocouch

    parts = urlsplit(url)
    server = f"{parts.scheme}://{parts.hostname}:{parts.port}"
    user, password = (None if each is None else unquote(each) for each in (parts.username, parts.password))
    couch = await stack.enter_async_context(aiocouch.CouchDB(server, user=user, password=password))
    return await couch[database]


async def _tornado(stack: AsyncExitStack, name: str, url: str, database: str, keys: str) -> Any:
    if name in ("bare", "bare-tornado"):
        from tornado_couch.service.worker import settle

        from .bare import application

        settle()  # on both servers, so that they are all that differs
        return application()
    if name == "tornado-by-hand":
        from .tornado_by_hand import application as by_hand

        return by_hand(await _aiocouch(stack, url, database))
    if name != "ours-jsonschema-rs":
        sys.modules["jsonschema_rs"] = None  # type: ignore[assignment]  # as if it were not installed
    from tornado_couch import Couch
    from tornado_couch.service.worker import settle

    from .ours import application as ours

    app = ours(await stack.enter_async_context(Couch(url)), database, name, keys)
    settle()  # as `serve` does
    return app


async def _serve(name: str, url: str, database: str, keys: str, port: str) -> None:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # for very many connections
    listening = _socket(int(port))
    async with AsyncExitStack() as stack:
        if name == "fastapi-by-hand":
            import uvicorn

            from .fastapi_by_hand import application

            app = application(await _aiocouch(stack, url, database))
            config = uvicorn.Config(app, log_level="warning", access_log=False, loop="asyncio", http="auto")
            serving = asyncio.create_task(uvicorn.Server(config).serve([listening]))
            stack.callback(serving.cancel)
        else:
            from tornado_couch.service.server import server_class

            # What is ours is on the server of `serve`; the others are as people run them.
            kind = "auto" if name == "bare" or name.startswith("ours") else "tornado"
            server = server_class(kind)(await _tornado(stack, name, url, database, keys))
            server.add_sockets([listening])
            stack.callback(server.stop)
        print(listening.getsockname()[1], flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    run(_serve(*sys.argv[1:-1]), sys.argv[-1])
