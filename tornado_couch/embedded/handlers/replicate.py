"""Answers `_replicate` and `_scheduler`."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

from tornado_couch.embedded.couch import Couch
from tornado_couch.embedded.messages import Reply, Request, json_reply
from tornado_couch.embedded.problems import not_found, unauthorized
from tornado_couch.embedded.replication.replication import Job, plan_of
from tornado_couch.embedded.users.security import need_admin

__all__ = ["post_replicate", "scheduler"]


async def post_replicate(couch: Couch, request: Request) -> Reply:
    """Answer `POST /_replicate`."""
    request.allow("POST")
    if request.user.name is None and not request.user.is_admin:
        raise unauthorized("You are not an authenticated user")
    request.need_json_type()
    body = request.json_object()
    if body.get("cancel") is True and isinstance(body.get("replication_id", body.get("_local_id")), str):
        replication_id = str(body.get("replication_id", body.get("_local_id")))
        await couch.replications.cancel(replication_id)
        return json_reply({"ok": True, "_local_id": replication_id})
    plan = plan_of(body)
    if body.get("cancel") is True:
        await couch.replications.cancel(plan.id)
        return json_reply({"ok": True, "_local_id": plan.id})
    if plan.continuous:
        job = couch.replications.start(plan)
        return json_reply({"ok": True, "_local_id": job.plan.id}, 202)
    return json_reply(await couch.replications.once(plan))


def scheduler(couch: Couch, request: Request) -> Reply:
    """Answer `/_scheduler/jobs` and `/_scheduler/docs`."""
    request.allow("GET", "HEAD")
    need_admin(request.user)
    rest = request.segments[1:]
    watcher = couch.replicator
    if rest == ["jobs"]:
        jobs = [_job(job) for job in couch.replications.jobs.values()]
        return json_reply({"total_rows": len(jobs), "offset": 0, "jobs": jobs})
    if rest[:1] == ["docs"]:
        docs = [{"database": "_replicator", **entry} for entry in watcher.entries()] if watcher else []
        if len(rest) == 1 or rest == ["docs", "_replicator"]:
            return json_reply({"total_rows": len(docs), "offset": 0, "docs": docs})
        if len(rest) == 3 and rest[1] == "_replicator":
            for entry in docs:
                if entry["doc_id"] == rest[2]:
                    return json_reply(entry)
    raise not_found("missing")


def _job(job: Job) -> dict[str, Any]:
    return {
        "database": "_replicator" if job.doc_id else None,
        "id": job.plan.id,
        "pid": "<0.0.0>",
        "source": job.plan.source.shown,
        "target": job.plan.target.shown,
        "user": None,
        "doc_id": job.doc_id,
        "info": dict(job.counts),
        "history": [{"timestamp": formatdate(job.started, usegmt=True), "type": "started"}],
        "node": "couchdb@127.0.0.1",
        "start_time": formatdate(job.started, usegmt=True),
    }
