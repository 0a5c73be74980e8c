"""Three copies of a database, as the nodes of a cluster keep them, in memory and under a schedule of one's own.

Each copy decides by itself which write of a revision it takes, CouchDB's coordinator answers by what it hears from
them, and what one copy has reaches the others later. What happens next is chosen by a random number each time: a copy
gets a message, one brings another up to date, one is cut off or comes back.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from tornado_couch.couch import BulkResult, BulkResults, Leaf, Observer, WriteResult
from tornado_couch.couch.scheduler import Turns
from tornado_couch.errors import Conflict, NotFound, Unavailable
from tornado_couch.revision import generation, rank

__all__ = ["Cluster", "Node"]

Document = dict[str, Any]
_QUORUM = 2
_ADDED = ("_rev", "_revisions", "_conflicts")


class Copy:
    """One copy of one document's tree of revisions."""

    def __init__(self) -> None:
        self.parents: dict[str, str | None] = {}
        self.bodies: dict[str, Document] = {}
        self.cut = False

    def leaves(self) -> list[str]:
        """The revisions that none follows, the winning one first."""
        inner = set(self.parents.values())
        found = [each for each in self.parents if each not in inner]
        return sorted(found, key=lambda each: (not self.bodies[each].get("_deleted"), rank(each)), reverse=True)

    def live(self) -> list[str]:
        """The leaves that are not deleted."""
        return [each for each in self.leaves() if not self.bodies[each].get("_deleted")]

    def put(self, document: Mapping[str, Any]) -> str | None:
        """Take a write if the revision that it names is a leaf here; the new revision, or None."""
        base, live = document.get("_rev"), self.live()
        if (base is None and live) or (base is not None and base not in live):
            return None
        parent = base or next(iter(self.leaves()), None)
        body = {name: each for name, each in document.items() if name not in _ADDED}
        text = json.dumps([parent, body], sort_keys=True)
        revision = f"{generation(parent or '0-') + 1}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        self.parents[revision], self.bodies[revision] = parent, body
        return revision

    def path(self, revision: str) -> list[str]:
        """A revision and those before it."""
        found = [revision]
        while (parent := self.parents.get(found[-1])) is not None:
            found.append(parent)
        return found

    def learn(self, other: Copy) -> None:
        """Take over what another copy has."""
        for revision, parent in other.parents.items():
            if self.parents.get(revision) is None:
                self.parents[revision] = parent
        self.bodies = {**other.bodies, **self.bodies}

    def insert(self, document: Document) -> None:
        """Take over a leaf with its path, as replication brings it."""
        start, ids = document["_revisions"]["start"], document["_revisions"]["ids"]
        path = [f"{start - age}-{each}" for age, each in enumerate(ids)]
        if path[0] in self.parents:
            return
        # What lies between and is not known here has no body, as in CouchDB.
        for revision, parent in zip(path, [*path[1:], None], strict=True):
            if self.parents.get(revision) is None:
                self.parents[revision] = parent
        self.bodies[path[0]] = {name: each for name, each in document.items() if name not in _ADDED}


class Cluster:
    """Three copies, and what is under way to them.

    Args:
        chance: chooses what happens next.
        trouble: whether copies are cut off, and messages to them late.
    """

    def __init__(self, chance: random.Random, *, trouble: bool) -> None:
        self.copies = [Copy(), Copy(), Copy()]
        self.chance = chance
        self.trouble = trouble
        self._waiting: list[asyncio.Future[None]] = []
        self._background: set[asyncio.Task[Any]] = set()

    async def step(self, *_: object) -> None:
        """Wait until it is this one's turn to go on."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    async def run(self, tasks: Sequence[asyncio.Task[Any]], killed: Sequence[asyncio.Task[Any]]) -> None:
        """Let things happen until these tasks are done, and kill some others at any moment."""
        doomed = list(killed)
        while not all(task.done() for task in tasks):
            await _settled()
            what = self.chance.random()
            if what < 0.15:
                self._synchronize()
            elif what < 0.2 and self.trouble:
                self._cut_or_heal()
            elif what < 0.21 and doomed:
                doomed.pop().cancel()
            self._go_on()

    async def quiet(self) -> None:
        """Let everything that is under way arrive, and all copies be the same."""
        for copy in self.copies:
            copy.cut = False
        while self._waiting or self._background:
            await _settled()
            self._go_on()
        for _ in range(2):
            for one in self.copies:
                for other in self.copies:
                    one.learn(other)

    def spawn(self, work: Any) -> asyncio.Task[Any]:
        """Have something go on whoever waits for it."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def _go_on(self) -> None:
        self._waiting = [each for each in self._waiting if not each.done()]
        if self._waiting:
            self._waiting.pop(self.chance.randrange(len(self._waiting))).set_result(None)

    def _synchronize(self) -> None:
        one, other = self.chance.sample(self.copies, 2)
        if not one.cut and not other.cut:
            one.learn(other)

    def _cut_or_heal(self) -> None:
        copy = self.chance.choice(self.copies)
        copy.cut = not copy.cut and not any(each.cut for each in self.copies)


async def _settled() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


class Node:
    """The database as one process sees it, through a coordinator; the part of `Database` that writes need.

    Args:
        cluster: the copies.
    """

    name, seconds = "db", None

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        known = {"turns": Turns(), "contended": False, "recognize": self._recognize}
        one_node = {"place": lambda _: 0, "contest": lambda _: None}
        self.server = SimpleNamespace(observer=Observer(), **known, **one_node)

    async def _recognize(self) -> None:
        """It is taken for CouchDB."""

    async def put(self, document: Mapping[str, Any]) -> WriteResult:
        """Send a write to every copy, and answer by what they say."""
        found = await self._asked(lambda copy: copy.put(document), _is_taken)
        taken = [each for each in found if each is not None]
        if not found:
            raise Unavailable("no copy can be reached", status=500)
        if not taken:
            raise Conflict(409, "conflict", "Document update conflict.")
        most = max(taken, key=taken.count)
        return WriteResult(document["_id"], most, accepted=taken.count(most) < _QUORUM)

    async def bulk_docs(self, documents: Sequence[Document], *, new_edits: bool = True) -> BulkResults:
        """Write some documents, each by itself."""
        results = BulkResults()
        for each in documents:
            if not new_edits:
                found = await self._asked(lambda copy, each=each: copy.insert(each) or "", _is_taken)
                results.accepted = len(found) < _QUORUM
                continue
            try:
                results.append(BulkResult(*(done := await self.put(each))[:2], accepted=done.accepted))
            except Conflict:
                results.append(BulkResult(each["_id"], None, "conflict", ""))
            except Unavailable:
                results.append(BulkResult(each["_id"], None, "internal_server_error", ""))
        return results

    async def bulk_get(self, wanted: Sequence[str | tuple[str, str]], *, revs: bool = False) -> list[list[Leaf]]:
        """Read leaves, or revisions, from as many copies as the quorum."""
        return [[*await self._read(each)] for each in wanted]

    async def bulk_get_within(
        self, ids: Sequence[str], most: int | None, *, revs: bool = False
    ) -> tuple[list[list[Leaf]], int]:
        """Read leaves, which have no size here."""
        assert most is None
        return await self.bulk_get(ids, revs=revs), 0

    async def get(self, document_id: str, **_: Any) -> Document:
        """Read the winning revision with its conflicts."""
        found = [each.document for each in await self._read(document_id) if each.document]
        live = [each for each in found if not each.get("_deleted")]
        if not live:
            raise NotFound(404, "not_found", "deleted" if found else "missing")
        live.sort(key=lambda each: rank(each["_rev"]), reverse=True)
        others = [each["_rev"] for each in live[1:]]
        return {**live[0], **({"_conflicts": others} if others else {})}

    async def _read(self, wanted: str | tuple[str, str]) -> list[Leaf]:
        seen = Copy()
        found = await self._asked(lambda copy: seen.learn(copy) or "", _is_taken)
        if not found:
            raise Unavailable("no copy can be reached", status=500)
        asked = seen.leaves() if isinstance(wanted, str) else [wanted[1]]
        return [_leaf(seen, each) for each in asked] or [Leaf(None, None, "not_found", "missing")]

    async def _asked(self, work: Any, counts: Any) -> list[Any]:
        """Let all copies do something, in any order; what they say, until enough have, or none is left to wait for."""
        cluster, answers = self._cluster, []
        enough = asyncio.Event()
        copies = [each for each in cluster.copies if not each.cut]
        late = cluster.chance.randrange(len(copies)) if copies and cluster.trouble and _often(cluster) else None
        expected = len(copies) - (late is not None)

        async def ask(number: int, copy: Copy) -> None:
            await cluster.step()
            if copy.cut:
                answer = None
                counted = False
            else:
                answer, counted = work(copy), number != late
            if counted:
                answers.append(answer)
            heard.append(number)
            done = [each for each in answers if counts(each)]
            if any(done.count(each) >= _QUORUM for each in done) or len(set(heard) - {late}) >= expected:
                enough.set()

        heard: list[int] = []
        for number, copy in enumerate(copies):
            cluster.spawn(ask(number, copy))
        if expected:
            await enough.wait()
        await cluster.step()
        return list(answers)


def _often(cluster: Cluster) -> bool:
    return cluster.chance.random() < 0.1


def _is_taken(answer: Any) -> bool:
    return answer is not None


def _leaf(copy: Copy, revision: str) -> Leaf:
    if revision not in copy.bodies:
        return Leaf(None, revision, "not_found", "missing")
    path = copy.path(revision)
    ids = [each.partition("-")[2] for each in path]
    revisions = {"start": generation(revision), "ids": ids}
    return Leaf({**copy.bodies[revision], "_rev": revision, "_revisions": revisions}, revision)
