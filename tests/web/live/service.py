"""A service whose collections are followed, and clients that follow them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from tornado.httpserver import HTTPServer

from tornado_couch import Application

__all__ = ["Copy", "Event", "Events", "Service", "serving"]

SECRET = "a secret of the tests, which has enough characters"


@dataclass
class Event:
    """An event as a browser's EventSource has it."""

    kind: str
    data: Any
    id: str


class Events:
    """Follows a collection as EventSource does, by the rules of the HTML standard."""

    def __init__(self, reply: aiohttp.ClientResponse) -> None:
        self.reply = reply
        self.last_id = ""
        self.comments = 0

    async def next(self, seconds: float = 30.0, *, joined: bool = False) -> Event:
        """The next event with data; raises EOFError at the end of the stream.

        With `joined`, what tells the client where it is, without an event, is an event "joined".
        """
        async with asyncio.timeout(seconds):
            kind, data, before = "message", [], self.last_id
            while line := await self.reply.content.readline():
                text = line.decode().removesuffix("\n")
                if not text:
                    if data:
                        return Event(kind, json.loads("\n".join(data)), self.last_id)
                    if joined and self.last_id != before:
                        return Event("joined", None, self.last_id)
                    kind, data = "message", []
                    continue
                name, _, value = text.partition(":")
                value = value.removeprefix(" ")
                if not name:
                    self.comments += 1
                elif name == "event":
                    kind = value
                elif name == "data":
                    data.append(value)
                elif name == "id":
                    self.last_id = value
        raise EOFError

    async def rest(self) -> list[Event]:
        """The events until the end of the stream."""
        found = []
        with suppress(EOFError):
            while True:
                found.append(await self.next())
        return found

    async def until_joined(self) -> None:
        """Wait until the stream says where it is."""
        async with asyncio.timeout(30):
            while not self.last_id:
                line = (await self.reply.content.readline()).decode()
                if line.startswith("id: "):
                    self.last_id = line[4:].strip()
                elif not line:
                    raise EOFError


@dataclass
class Copy:
    """A client's own copy of a collection, made of nothing but changes."""

    items: dict[str, Any] = field(default_factory=dict)

    def apply(self, item: dict[str, Any]) -> None:
        if "_deleted" in item or "_gone" in item:
            self.items.pop(item["_href"], None)
        else:
            self.items[item["_href"]] = item


class Service:
    """A service on a socket."""

    def __init__(self, application: Application) -> None:
        self.application = application
        self._server = HTTPServer(application)
        self._server.listen(0, "127.0.0.1")
        (listener,) = self._server._sockets.values()
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._session = aiohttp.ClientSession(auto_decompress=True)

    async def close(self) -> None:
        await self._session.close()
        self._server.stop()
        await self._server.close_all_connections()

    async def call(
        self, path: str, method: str = "GET", body: Any = None, **headers: str
    ) -> tuple[int, Any, aiohttp.ClientResponse]:
        """Send a request; return the status, the body as JSON, and the reply."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self._session.request(method, self.url + path, json=body, headers=fields) as reply:
            text = await reply.read()
            return reply.status, json.loads(text) if text else None, reply

    async def get(self, path: str, **headers: str) -> Any:
        status, body, _ = await self.call(path, **headers)
        assert status == 200, body
        return body

    async def create(self, path: str, body: dict[str, Any], **headers: str) -> str:
        """Create a document; return its address."""
        status, problem, reply = await self.call(path, "POST", body, **headers)
        assert status == 201, problem
        return reply.headers["Location"]

    async def everything(self, path: str, **headers: str) -> dict[str, Any]:
        """All items of a collection, by their addresses."""
        found: dict[str, Any] = {}
        following = path + ("&" if "?" in path else "?") + "limit=1000"
        while following:
            page = await self.get(following, **headers)
            found |= {item["_href"]: item for item in page["items"]}
            following = page.get("next", "")
        return found

    @asynccontextmanager
    async def events(self, path: str, **headers: str) -> AsyncIterator[Events]:
        """Follow a collection."""
        fields = {"Accept": "text/event-stream", **{name.replace("_", "-"): text for name, text in headers.items()}}
        forever = aiohttp.ClientTimeout(total=None)
        async with self._session.get(self.url + path, headers=fields, timeout=forever) as reply:
            assert reply.status == 200, await reply.text()
            assert reply.headers["Content-Type"] == "text/event-stream"
            yield Events(reply)


@asynccontextmanager
async def serving(handlers: list[Any], **settings: Any) -> AsyncIterator[Service]:
    """Serve routes on a socket."""
    service = Service(Application(handlers, cookie_secret=SECRET, **settings))
    try:
        yield service
    finally:
        await service.close()
