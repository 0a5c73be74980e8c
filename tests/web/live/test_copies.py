"""A client's copy that is made of changes alone is what a list of everything shows, whatever happened meanwhile."""

from __future__ import annotations

import asyncio
import os
import random
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults import Fault, FaultProxy, answer_status, hang_up, stall
from tests.web.callers import ByHeader
from tests.web.live.conftest import Task
from tests.web.live.service import Copy, Service, serving
from tornado_couch import Couch, Store, Timeout, install, resource
from tornado_couch.errors import DocumentExists, DocumentNotFound
from tornado_couch.web import Members, Principal

TEAMS = ["red", "green", "blue"]
NAMES = ["t1", "t2", "t3"]
VIEWS = [
    ("/tasks", {"X_Name": "alice"}),
    ("/tasks", {"X_Name": "bob"}),
    ("/tasks?size=1", {"X_Name": "alice"}),
    ("/tasks?size[gte]=1&fields=name,size,team", {"X_Name": "bob"}),
    ("/tasks?size[gte]=2", {"X_Name": "root", "X_Role": "admin"}),
]


class Company:
    """Who is in which teams at the moment, and who ever was; and in which teams each task ever was."""

    def __init__(self) -> None:
        self.teams: dict[str, set[str]] = {"alice": {"red"}, "bob": {"red", "green"}, "root": set()}
        self.ever = {name: set(teams) for name, teams in self.teams.items()}
        self.tasks: dict[str, set[str]] = {}

    def assign(self, name: str, teams: set[str]) -> None:
        self.teams[name] = teams
        self.ever[name] |= teams

    def of(self, principal: Principal) -> set[str]:
        return self.teams[principal.name]

    async def write(self, store: Store, kind: str, name: str, team: str, size: int) -> None:
        """Change a task."""
        self.tasks.setdefault(name, set()).add(team)
        try:
            match kind:
                case "delete":
                    await store.delete(Task, name)
                case "move":
                    await store.update(Task, name, lambda task: setattr(task, "team", team))
                case "resize":
                    await store.update(Task, name, lambda task: setattr(task, "size", size))
                case _:
                    await store.create(Task(name=name, team=team, size=size))
        except (DocumentExists, DocumentNotFound):
            pass

    def check(self, headers: dict[str, str], item: dict[str, Any]) -> None:
        """Nobody gets a task of a team that is not theirs, nor learns the name of one that never was theirs."""
        if "X_Role" in headers:
            return
        name, task = headers["X_Name"], item["_href"].rpartition("/")[2]
        if "_gone" in item or "_deleted" in item:
            assert self.tasks[task] & self.ever[name]
        else:
            assert item["team"] in self.ever[name]


@asynccontextmanager
async def a_store(couch: Couch) -> AsyncIterator[Store]:
    """A store with a database of its own: what documents note of their past is not for other examples."""
    name = f"test-{uuid.uuid4().hex}"
    await install(couch, name, [Task])
    made = Store(couch[name])
    try:
        yield made
    finally:
        await made.close()
        await couch.delete_database(name)


def routes(store: Store, company: Company) -> list[Any]:
    policy = Members("team", ByHeader(), groups=company.of, admin_role="admin")
    return resource("/tasks", Task, store, policy=policy)


class Reader:
    """A client that reads pages or events now and then, and begins again where it is told to."""

    def __init__(self, service: Service, company: Company, path: str, headers: dict[str, str]) -> None:
        self.service, self.company, self.headers = service, company, headers
        self.path, _, query = path.partition("?")
        self.query = f"&{query}" if query else ""
        self.copy, self.since = Copy(), "beginning"
        self.saved: list[tuple[dict[str, Any], str]] = [({}, self.since)]

    async def act(self, kind: str, number: int) -> None:
        """Read a page or some events, keep the copy as it is now, or lose everything since a time when it was kept."""
        match kind:
            case "read":
                await self.read(number)
            case "follow":
                await self.follow(number)
            case "save":
                self.saved.append((dict(self.copy.items), self.since))
            case _:
                items, self.since = self.saved[number % len(self.saved)]
                self.copy = Copy(dict(items))

    def begin_again(self) -> None:
        self.copy, self.since = Copy(), "beginning"

    async def read(self, limit: int) -> bool:
        """Read a page; return whether more follow."""
        address = f"{self.path}/_changes?since={self.since}&limit={limit}{self.query}"
        status, page, _ = await self.service.call(address, **self.headers)
        if status == 410:
            self.begin_again()
            return True
        assert status == 200, page
        for item in page["items"]:
            self.company.check(self.headers, item)
            self.copy.apply(item)
        self.since = page["next"]
        return bool(page["more"])

    async def read_all(self) -> None:
        """Read pages until no more follow."""
        while await self.read(50):
            pass

    async def follow(self, most: int) -> None:
        """Read events until nothing more is known, but so many at most; then lose the connection."""
        address = f"{self.path}/_changes?since={self.since}{self.query}"
        async with self.service.events(address, **self.headers) as events:
            for _ in range(most):
                event = await events.next(joined=True)
                if event.kind == "reset":
                    return self.begin_again()
                if event.kind == "joined":
                    break
                self.company.check(self.headers, event.data)
                self.copy.apply(event.data)
            self.since = events.last_id or self.since
        return None

    async def everything(self) -> dict[str, Any]:
        return await self.service.everything(self.path + self.query.replace("&", "?", 1), **self.headers)


WRITES = ["create", "create", "move", "move", "resize", "delete"]
EXAMPLES = int(os.environ.get("EXAMPLES", "6"))
READERS = st.integers(0, len(VIEWS) - 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(WRITES),
            st.sampled_from(NAMES), st.sampled_from(TEAMS), st.integers(0, 2),
        ),
        st.tuples(st.just("assign"), st.sampled_from(["alice", "bob"]), st.sets(st.sampled_from(TEAMS))),
        st.tuples(st.sampled_from(["read", "follow"]), READERS, st.sampled_from([1, 2, 50])),
        st.tuples(st.sampled_from(["save", "restore"]), READERS, st.integers(0, 3)),
    ),
    min_size=10, max_size=60,
)  # fmt: skip


@pytest.mark.timeout(60 + 10 * EXAMPLES)
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
async def test_copies_of_a_company_that_changes(couch: Couch, steps: list[Any]) -> None:
    """Random writes, teams that people join and leave, and readers of pages and events that lose what they have read.

    EXAMPLES=200 in the environment tries more of them.
    """
    company = Company()
    async with a_store(couch) as store, serving(routes(store, company)) as service:
        for name, team in zip(NAMES, TEAMS, strict=True):
            await company.write(store, "create", name, team, 1)
        readers = [Reader(service, company, path, headers) for path, headers in VIEWS]
        for reader in readers:
            await reader.read_all()
        for kind, *rest in steps:
            if kind == "assign":
                company.assign(*rest)
            elif kind in WRITES:
                await company.write(store, kind, *rest)
            else:
                await readers[rest[0]].act(kind, *rest[1:])
        for reader in readers:
            await reader.read_all()
            assert reader.copy.items == await reader.everything()


class Follower(Reader):
    """A client that follows by events, loses its connection at random, and comes back with its last event."""

    def __init__(self, *args: Any, chance: random.Random) -> None:
        super().__init__(*args)
        self.chance, self.last = chance, ""
        self.generations: dict[str, int] = {}

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            headers = {**self.headers, **({"Last_Event_ID": self.last} if self.last else {})}
            address = f"{self.path}/_changes?since=beginning{self.query}"
            async with self.service.events(address, **headers) as events:
                try:
                    for _ in range(self.chance.randrange(1, 12)):
                        event = await events.next(600)
                        self.apply(event)
                        self.last = event.id or self.last
                except EOFError:
                    self.last = events.last_id or self.last

    def apply(self, event: Any) -> None:
        """Apply an event, none of which may be of an earlier revision than one before it."""
        assert event.kind in ("change", "delete", "gone")
        self.company.check(self.headers, event.data)
        self.copy.apply(event.data)
        if event.kind == "change":
            generation = int(event.data["_etag"].strip('"').partition("-")[0])
            assert generation >= self.generations.get(event.data["_href"], 0)
            self.generations[event.data["_href"]] = generation

    async def is_done(self) -> bool:
        return self.copy.items == await self.everything()


@pytest.mark.parametrize("seed", range(2))
async def test_copies_of_events(
    proxy: FaultProxy, couch: Couch, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many writers, clients that come and go, teams that change, and a feed that breaks or stalls.

    None is missing, and none is out of order.
    """
    monkeypatch.setattr("tornado_couch.store.live.feed._WAIT", 0.5)
    monkeypatch.setattr("tornado_couch.web.live.hub.HEARTBEAT", 0.2)
    monkeypatch.setattr("tornado_couch.web.live.follower.RECHECK", 0.1)
    chance, company = random.Random(seed), Company()
    async with a_store(couch) as store, Couch(proxy.url, timeout=Timeout(read=2.0)) as failing:
        followed = Store(failing[store.database.name])
        async with serving(routes(followed, company)) as service:
            followers = [Follower(service, company, path, headers, chance=chance) for path, headers in VIEWS]
            tasks = [asyncio.create_task(each.run()) for each in followers]

            async def writer(number: int) -> None:
                own = random.Random(seed * 100 + number)
                for _ in range(12):
                    kind = own.choice(["create", "create", "move", "resize", "delete"])
                    await company.write(store, kind, f"t{own.randrange(6)}", own.choice(TEAMS), own.randrange(3))
                    if own.random() < 0.1:
                        company.assign(own.choice(["alice", "bob"]), set(own.sample(TEAMS, own.randrange(4))))
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
