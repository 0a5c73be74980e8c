"""Replication by CouchDB's protocol, between this server and any other: once, or until it is cancelled.

Both ends are used over HTTP, even if one of them is this server. See "CouchDB Replication Protocol" in CouchDB's
documentation; checkpoints are kept in `_local` documents of both ends.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from collections.abc import Mapping
from email.utils import formatdate
from time import time
from typing import Any, NamedTuple

from tornado_couch.embedded.jsontext import dumps
from tornado_couch.embedded.problems import Problem, bad_request, not_found
from tornado_couch.embedded.replication.endpoint import Endpoint, EndpointFailure

__all__ = ["Job", "Plan", "Replications", "plan_of"]

_BATCH = 100
_REVS_AT_ONCE = 50
_HISTORY = 50
_WAIT_SECONDS = 30.0
_RETRY_SECONDS = 2.0


class Plan(NamedTuple):
    """What a replication should do."""

    source: Endpoint
    target: Endpoint
    id: str
    continuous: bool
    create_target: bool
    doc_ids: list[str] | None
    selector: dict[str, Any] | None
    filter: str | None
    query: dict[str, str]
    since: Any


def plan_of(body: Mapping[str, Any]) -> Plan:
    """Read the replication that a request or a document of `_replicator` describes.

    Raises:
        Problem: the description makes no sense.
    """
    for name in ("source", "target"):
        if name not in body:
            raise Problem(500, "error", "Missing replicator database")
    chosen = [name for name in ("doc_ids", "filter", "selector") if body.get(name) is not None]
    if len(chosen) > 1:
        raise bad_request("`doc_ids`,`filter`,`selector` are mutually exclusive")
    kinds: dict[str, tuple[type, str]] = {
        "continuous": (bool, "a boolean"), "create_target": (bool, "a boolean"), "cancel": (bool, "a boolean"),
        "doc_ids": (list, "an array"), "selector": (dict, "a JSON object"), "query_params": (dict, "an object"),
    }  # fmt: skip
    for name, (kind, words) in kinds.items():
        if body.get(name) is not None and not isinstance(body[name], kind):
            raise bad_request(f"parameter `{name}` must be {words}")
    source, target = Endpoint(body["source"], "source"), Endpoint(body["target"], "target")
    query = {str(name): str(value) for name, value in (body.get("query_params") or {}).items()}
    chosen_text = dumps([source.url, target.url, *(body.get(name) for name in chosen), query])
    identity = hashlib.md5(chosen_text.encode(), usedforsecurity=False).hexdigest()
    continuous = body.get("continuous") is True
    return Plan(
        source, target, identity + ("+continuous" if continuous else ""), continuous,
        body.get("create_target") is True, body.get("doc_ids"), body.get("selector"), body.get("filter"), query,
        body.get("since_seq", 0),
    )  # fmt: skip


class Job:
    """One run of a plan.

    Attributes:
        plan: what it does.
        state: "running", "completed", "crashing" or "failed".
        info: the last error; None if there was none.
        counts: how many revisions or documents were checked, found, read and written.
    """

    def __init__(self, plan: Plan, doc_id: str | None = None) -> None:
        self.plan = plan
        self.doc_id = doc_id
        self.state = "initializing"
        self.info: str | None = None
        self.started = time()
        self.session = uuid.uuid4().hex
        self.counts = dict.fromkeys(
            ("missing_checked", "missing_found", "docs_read", "docs_written", "doc_write_failures",
             "bulk_get_docs", "bulk_get_attempts"), 0,
        )  # fmt: skip
        self.since: Any = 0
        self.first_since: Any = 0
        self.history: list[dict[str, Any]] = []
        self._revs: dict[str, str | None] = {"source": None, "target": None}
        self.task: asyncio.Task[None] | None = None

    # ------------------------------------------------------------ the run

    async def run(self) -> dict[str, Any]:
        """Bring the target up to date once, and return the answer to `POST /_replicate`.

        Raises:
            Problem: an end is missing or failed.
        """
        try:
            await self._prepare()
            await self._catch_up()
            return await self._finish()
        except EndpointFailure as failure:
            raise failure.problem() from None

    async def run_for_ever(self) -> None:
        """Keep the target up to date until cancelled; failures are tried again."""
        while True:
            try:
                await self._prepare()
                self.state, self.info = "running", None
                while True:
                    await self._catch_up()
                    await self._checkpoint()
                    await self._more()
            except (EndpointFailure, Problem) as failure:
                self.state, self.info = "crashing", str(failure)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _prepare(self) -> None:
        """Check that both ends exist, and find out where the last run ended."""
        self.state = "running"
        plan = self.plan
        await plan.source.must_exist()
        if plan.create_target:
            await plan.target.create()
        await plan.target.must_exist()
        logs = {name: await end.local(self._log_id) for name, end in (("source", plan.source), ("target", plan.target))}
        self._revs = {name: log.get("_rev") for name, log in logs.items()}
        self.history = list(logs["source"].get("history", []))
        self.since = self.first_since = _common(logs["source"], logs["target"]) or plan.since

    @property
    def _log_id(self) -> str:
        return self.plan.id.removesuffix("+continuous")

    def _changes_query(self) -> tuple[dict[str, str], dict[str, Any] | None]:
        """The parameters and the body for the source's `_changes`."""
        plan = self.plan
        query = {"style": "all_docs", "since": _since_text(self.since), "limit": str(_BATCH)}
        if plan.doc_ids is not None:
            return {**query, "filter": "_doc_ids"}, {"doc_ids": plan.doc_ids}
        if plan.selector is not None:
            return {**query, "filter": "_selector"}, {"selector": plan.selector}
        if plan.filter is not None:
            return {**query, **plan.query, "filter": plan.filter}, None
        return query, None

    async def _catch_up(self) -> None:
        """Copy all changes up to now, batch after batch."""
        while True:
            query, body = self._changes_query()
            reply = await self.plan.source.changes(query, body)
            rows = reply["results"]
            if rows:
                await self._copy(rows)
            self.since = reply["last_seq"]
            if not rows or reply.get("pending") == 0:
                return

    async def _more(self) -> None:
        """Wait until the source has something new, or for some time."""
        query, body = self._changes_query()
        query |= {"feed": "longpoll", "timeout": str(int(_WAIT_SECONDS * 1000)), "limit": "1"}
        await self.plan.source.changes(query, body, timeout=_WAIT_SECONDS + 30)

    async def _copy(self, rows: list[dict[str, Any]]) -> None:
        """Copy the revisions of some changes that the target does not have."""
        offered = {row["id"]: [change["rev"] for change in row["changes"]] for row in rows}
        self.counts["missing_checked"] += sum(map(len, offered.values()))
        lacking = await self.plan.target.post("_revs_diff", offered)
        wanted = [{"id": doc_id, "rev": rev} for doc_id, entry in lacking.items() for rev in entry["missing"]]
        self.counts["missing_found"] += len(wanted)
        for start in range(0, len(wanted), _REVS_AT_ONCE):
            await self._copy_revisions(wanted[start : start + _REVS_AT_ONCE])

    async def _copy_revisions(self, wanted: list[dict[str, str]]) -> None:
        query = {"revs": "true", "latest": "true", "attachments": "true"}
        reply = await self.plan.source.post("_bulk_get", {"docs": wanted}, query)
        docs = [doc["ok"] for result in reply["results"] for doc in result["docs"] if "ok" in doc]
        self.counts["bulk_get_attempts"] += len(wanted)
        self.counts["bulk_get_docs"] += len(docs)
        self.counts["docs_read"] += len(docs)
        refused = await self.plan.target.write(docs)
        self.counts["doc_write_failures"] += refused
        self.counts["docs_written"] += len(docs) - refused

    # ------------------------------------------------------------ the end

    async def _finish(self) -> dict[str, Any]:
        """Write the checkpoint and return the answer."""
        self.state = "completed"
        if self.since == self.first_since and not self.counts["missing_checked"] and self.history:
            last = self.history[0]["session_id"]
            return self._answer({"no_changes": True}, last)
        await self._checkpoint()
        return self._answer({}, self.session)

    def _answer(self, more: dict[str, Any], session: str) -> dict[str, Any]:
        return {"ok": True, **more, "session_id": session, "source_last_seq": self.since,
                "replication_id_version": 4, "history": self.history}  # fmt: skip

    async def _checkpoint(self) -> None:
        """Record at both ends how far the replication got."""
        # A checkpoint without news would cost a write to both ends every time.
        if self.history and self.history[0].get("recorded_seq") == self.since:
            return
        entry = {
            "session_id": self.session, "start_time": formatdate(self.started, usegmt=True),
            "end_time": formatdate(time(), usegmt=True), "start_last_seq": self.first_since,
            "end_last_seq": self.since, "recorded_seq": self.since, **self.counts,
        }  # fmt: skip
        older = [item for item in self.history if item.get("session_id") != self.session]
        self.history = [entry, *older][:_HISTORY]
        log = {"session_id": self.session, "source_last_seq": self.since, "replication_id_version": 4,
               "history": self.history}  # fmt: skip
        # At both ends: only what both have recorded is known to be copied.
        for name, end in (("source", self.plan.source), ("target", self.plan.target)):
            self._revs[name] = await end.write_local(self._log_id, log, self._revs[name])

    def task_entry(self) -> dict[str, Any]:
        """Its entry in `_active_tasks`."""
        return {
            "type": "replication", "replication_id": self.plan.id, "doc_id": self.doc_id,
            "source": self.plan.source.shown, "target": self.plan.target.shown, "continuous": self.plan.continuous,
            "started_on": int(self.started), "updated_on": int(time()), "pid": "<0.0.0>", "node": "couchdb@127.0.0.1",
            "source_seq": self.since, "through_seq": self.since, "checkpointed_source_seq": self.since, **self.counts,
        }  # fmt: skip


def _since_text(since: Any) -> str:
    return since if isinstance(since, str) else dumps(since)


def _common(source: dict[str, Any], target: dict[str, Any]) -> Any:
    """The last sequence number that both ends' logs contain, or 0."""
    # The protocol compares the logs: first the last session, if it is the same, then the newest that both contain.
    if source.get("session_id") and source.get("session_id") == target.get("session_id"):
        return source.get("source_last_seq", 0)
    known = {entry.get("session_id"): entry for entry in target.get("history", [])}
    for entry in source.get("history", []):
        if entry.get("session_id") in known:
            return known[entry["session_id"]].get("recorded_seq", 0)
    return 0


class Replications:
    """The replications that a server runs."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}

    def tasks(self) -> list[dict[str, Any]]:
        """The entries of `_active_tasks`."""
        return [job.task_entry() for job in self.jobs.values()]

    async def once(self, plan: Plan, doc_id: str | None = None) -> dict[str, Any]:
        """Run a plan to its end, and return the answer to `POST /_replicate`."""
        job = Job(plan, doc_id)
        key = job.session
        self.jobs[key] = job
        try:
            return await job.run()
        finally:
            del self.jobs[key]

    def start(self, plan: Plan, doc_id: str | None = None) -> Job:
        """Start a continuous replication, unless it is running already."""
        found = self.jobs.get(plan.id)
        if found is None:
            found = self.jobs[plan.id] = Job(plan, doc_id)
            found.task = asyncio.get_running_loop().create_task(found.run_for_ever())
        return found

    async def cancel(self, replication_id: str) -> None:
        """Stop a continuous replication.

        Raises:
            Problem: 404, no replication with that id is running.
        """
        job = self.jobs.pop(replication_id, None)
        if job is None or job.task is None:
            raise not_found("missing")
        job.task.cancel()
        await asyncio.gather(job.task, return_exceptions=True)

    async def close(self) -> None:
        """Stop everything."""
        tasks = [job.task for job in self.jobs.values() if job.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.jobs.clear()
