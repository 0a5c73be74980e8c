"""A client's copy that is made of changes alone is what a list of everything shows, whatever happened meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.faults import Fault, FaultProxy, answer_status, hang_up, stall
from tests.web.callers import ByHeader
from tests.web.live.service import Copy, Service, serving
from tests.web.models import Stand
from tornado_couch import Couch, Database, Store, Timeout, install, resource
from tornado_couch.errors import DocumentExists, DocumentNotFound
from tornado_couch.web import Owner

PEOPLE = ["alice", "bob", "carol"]
VIEWS = [
    ("/stands", {"X_Name": "alice"}),
    ("/stands", {"X_Name": "bob"}),
    ("/stands?size=3", {"X_Name": "alice"}),
    ("/stands", {"X_Name": "root", "X_Role": "admin"}),
    ("/stands?size[gte]=5", {"X_Name": "root", "X_Role": "admin"}),
]


@pytest.fixture
async def store(database: Database) -> AsyncIterator[Store]:
    await install(database.server, database.name, [Stand])
    made = Store(database)
    yield made
    await made.close()


def routes(store: Store) -> list[Any]:
    return resource("/stands", Stand, store, policy=Owner("owner", ByHeader(), admin_role="admin"))


async def write(store: Store, chance: random.Random) -> None:
    """One change of one of few documents."""
    key, owner, size = f"s{chance.randrange(6)}", chance.choice(PEOPLE), chance.randrange(8)
    try:
        match chance.randrange(5):
            case 0:
                await store.delete(Stand, key)
            case 1:
                await store.update(Stand, key, lambda stand: setattr(stand, "owner", owner))
            case 2:
                await store.update(Stand, key, lambda stand: setattr(stand, "size", size))
            case _:
                await store.create(Stand(name=key, owner=owner, size=size))
    except (DocumentExists, DocumentNotFound):
        pass


class Reader:
    """A client that reads pages now and then, and begins again where it is told to."""

    def __init__(self, service: Service, path: str, headers: dict[str, str]) -> None:
        self.service, self.headers = service, headers
        self.path, _, query = path.partition("?")
        self.query = f"&{query}" if query else ""
        self.copy, self.since = Copy(), "beginning"

    def promote(self, role: str) -> None:
        """Become somebody who sees more, or less."""
        self.headers = {**self.headers, "X_Role": role}

    async def read(self, limit: int) -> bool:
        """Read a page; return whether more follow."""
        address = f"{self.path}/_changes?since={self.since}&limit={limit}{self.query}"
        status, page, _ = await self.service.call(address, **self.headers)
        if status == 410:
            self.copy, self.since = Copy(), "beginning"
            return True
        assert status == 200, page
        for item in page["items"]:
            self.copy.apply(item)
        self.since = page["next"]
        return bool(page["more"])

    async def everything(self) -> dict[str, Any]:
        return await self.service.everything(self.path + self.query.replace("&", "?"), **self.headers)


@pytest.mark.parametrize("seed", range(4))
async def test_copies_of_pages(store: Store, seed: int) -> None:
    """Random writers, and readers with filters and rights of their own, which change, that read now and then."""
    chance = random.Random(seed)
    async with serving(routes(store)) as service:
        readers = [Reader(service, path, headers) for path, headers in VIEWS]
        for _ in range(60):
            await write(store, chance)
            if chance.random() < 0.1:
                chance.choice(readers).promote(chance.choice(["admin", ""]))
            if chance.random() < 0.3:
                await chance.choice(readers).read(chance.randrange(1, 5))
        for reader in readers:
            while await reader.read(50):
                pass
            assert reader.copy.items == await reader.everything()


class Follower:
    """A client that follows by events, loses its connection at random, and comes back with its last event."""

    def __init__(self, service: Service, path: str, headers: dict[str, str], chance: random.Random) -> None:
        self.service, self.headers, self.chance = service, headers, chance
        collection, _, query = path.partition("?")
        self.path = path
        self.address = f"{collection}/_changes?since=beginning" + (f"&{query}" if query else "")
        self.copy, self.last = Copy(), ""
        self.generations: dict[str, int] = {}

    async def follow(self) -> None:
        """Follow until cancelled."""
        while True:
            headers = {**self.headers, **({"Last_Event_ID": self.last} if self.last else {})}
            async with self.service.events(self.address, **headers) as events:
                try:
                    for _ in range(self.chance.randrange(1, 12)):
                        event = await events.next(600)
                        self.apply(event)
                        self.last = event.id or self.last
                except EOFError:
                    pass

    def apply(self, event: Any) -> None:
        """Apply an event, none of which may be of an earlier revision than one before it."""
        assert event.kind in ("change", "delete", "gone")
        self.copy.apply(event.data)
        if event.kind == "change":
            generation = int(event.data["_etag"].strip('"').partition("-")[0])
            assert generation >= self.generations.get(event.data["_href"], 0)
            self.generations[event.data["_href"]] = generation

    async def is_done(self) -> bool:
        return self.copy.items == await self.service.everything(self.path, **self.headers)


@pytest.mark.parametrize("seed", range(2))
async def test_copies_of_events(
    proxy: FaultProxy, store: Store, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many writers, clients that come and go, and a feed that breaks or stalls: none is missing or out of order."""
    monkeypatch.setattr("tornado_couch.store.live.feed._WAIT", 0.5)
    chance = random.Random(seed)
    async with Couch(proxy.url, timeout=Timeout(read=2.0)) as couch:
        followed = Store(couch[store.database.name])
        async with serving(routes(followed)) as service:
            followers = [Follower(service, path, headers, chance) for path, headers in VIEWS]
            tasks = [asyncio.create_task(each.follow()) for each in followers]

            async def writer(number: int) -> None:
                own = random.Random(seed * 100 + number)
                for _ in range(12):
                    await write(store, own)
                    if own.random() < 0.1:
                        effect = own.choice([hang_up, answer_status(503), stall])
                        path = "_changes" if effect is stall else own.choice(["_changes", "_bulk_get"])
                        proxy.faults.append(Fault(effect, path=path))

            await asyncio.gather(*(writer(number) for number in range(16)))
            proxy.faults.clear()
            async with asyncio.timeout(60):
                for each in followers:
                    while not await each.is_done():
                        assert not any(task.done() for task in tasks), [task for task in tasks if task.done()]
                        await asyncio.sleep(0.02)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await followed.close()
