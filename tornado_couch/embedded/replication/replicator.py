"""The `_replicator` database: each of its documents describes a replication that this server runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from tornado_couch.embedded.jsontext import dumps
from tornado_couch.embedded.problems import Problem
from tornado_couch.embedded.replication.replication import Job, Plan, Replications, plan_of
from tornado_couch.embedded.storage.databases import OpenDatabase
from tornado_couch.embedded.storage.documents import draft_of, is_design
from tornado_couch.embedded.storage.source import Change

__all__ = ["Replicator"]

_BATCH = 100
_IDLE_SECONDS = 3600.0
_OVER = ("completed", "failed")


class Replicator:
    """Watches `_replicator`, and runs the replications that its documents describe.

    Args:
        opened: the `_replicator` database.
        replications: runs them.
        background: runs a coroutine that nobody waits for.
    """

    def __init__(
        self,
        opened: OpenDatabase,
        replications: Replications,
        background: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._opened = opened
        self._replications = replications
        self._background = background
        self._entries: dict[str, dict[str, Any]] = {}
        self._ids: dict[str, str] = {}
        self._revs: dict[str, str] = {}

    def entries(self) -> list[dict[str, Any]]:
        """The entries of `_scheduler/docs`."""
        for doc_id, replication_id in self._ids.items():
            job = self._replications.jobs.get(replication_id)
            if job is not None and doc_id in self._entries:
                self._entries[doc_id] |= {"state": job.state, "info": job.info or dict(job.counts)}
        return [self._entries[doc_id] for doc_id in sorted(self._entries)]

    async def watch(self) -> None:
        """Run until the database is deleted or the server ends."""
        after = 0
        database = self._opened.database
        while not self._opened.deleted:
            changes = database.changes_since(after, _BATCH)
            for change in changes:
                after = change.seq
                if not is_design(change.id):
                    await self._changed(change)
            if not changes and database.seq <= after:
                await self._opened.changed(_IDLE_SECONDS)
            elif not changes:
                after = database.seq

    async def _changed(self, change: Change) -> None:
        """Restart the replication of a document that was written or deleted."""
        document = json.loads(change.body) if change.body else {}
        asked = dumps({name: value for name, value in document.items() if not name.startswith("_")})
        if change.body and self._revs.get(change.id) == asked:
            return  # this server itself wrote the state
        await self._stop(change.id)
        if change.body is None:
            return
        self._revs[change.id] = asked
        if document.get("_replication_state") not in _OVER:
            await self._start(change.id, document)

    async def _stop(self, doc_id: str) -> None:
        self._entries.pop(doc_id, None)
        self._revs.pop(doc_id, None)
        replication_id = self._ids.pop(doc_id, None)
        if replication_id in self._replications.jobs:
            await self._replications.cancel(replication_id)

    async def _start(self, doc_id: str, document: dict[str, Any]) -> None:
        entry: dict[str, Any] = {"doc_id": doc_id, "id": None, "state": "initializing", "info": None,
                                 "node": "couchdb@127.0.0.1", "error_count": 0, "start_time": _now(),
                                 "last_updated": _now()}  # fmt: skip
        self._entries[doc_id] = entry
        try:
            plan = plan_of(document)
        except Problem as problem:
            entry |= {"state": "failed", "info": {"error": problem.reason}}
            await self._note(doc_id, {"_replication_state": "failed", "_replication_state_reason": problem.reason})
            return
        entry |= {"id": plan.id, "source": plan.source.shown, "target": plan.target.shown}
        if plan.continuous:
            self._ids[doc_id] = plan.id
            self._replications.start(plan, doc_id)
            entry["state"] = "running"
        else:
            self._background(self._once(doc_id, plan, entry))

    async def _once(self, doc_id: str, plan: Plan, entry: dict[str, Any]) -> None:
        """Run a document's replication to its end, and record the outcome."""
        entry["state"] = "running"
        try:
            answer = await self._replications.once(plan, doc_id)
        except Problem as problem:
            entry |= {"state": "failed", "info": {"error": problem.reason}}
            await self._note(doc_id, {"_replication_state": "failed", "_replication_state_reason": problem.reason})
            return
        last = answer["history"][0] if answer["history"] else {}
        stats = {name: last.get(name, 0) for name in Job(plan).counts}
        entry |= {"state": "completed", "info": stats, "last_updated": _now()}
        await self._note(doc_id, {"_replication_state": "completed", "_replication_stats": stats})

    async def _note(self, doc_id: str, members: dict[str, Any]) -> None:
        """Write the state into the document, unless somebody else changed it meanwhile."""
        text = self._opened.database.read(doc_id)
        if text is None:
            return
        document = {**json.loads(text), **members, "_replication_state_time": _now()}
        draft = draft_of(document)
        try:
            await self._opened.writer.run(lambda transaction: transaction.write(draft, new_edits=True))
        except Problem:
            await asyncio.sleep(0)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
