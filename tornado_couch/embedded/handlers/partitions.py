"""Answers `/{db}/_partition/{partition}/…` of a partitioned database."""

from __future__ import annotations

from typing import Any

from tornado_couch.embedded.couch import Couch
from tornado_couch.embedded.handlers import designs
from tornado_couch.embedded.handlers.documents import all_docs
from tornado_couch.embedded.messages import Reply, Request, json_reply
from tornado_couch.embedded.problems import Problem, bad_request, not_found
from tornado_couch.embedded.storage.databases import OpenDatabase

__all__ = ["partition"]


def partition(couch: Couch, request: Request, opened: OpenDatabase, rest: list[str]) -> Any:
    """Answer a path of a partition: returns a Reply, or an awaitable of one."""
    name, *below = rest
    if not opened.database.partitioned:
        raise bad_request("database is not partitioned")
    if name.startswith("_"):
        raise Problem(400, "illegal_partition", "Partition must not start with an underscore")
    if not below:
        return information(request, opened, name)
    if below == ["_all_docs"]:
        return all_docs.all_docs(couch, request, opened, f"{name}:")
    if below[0] in ("_find", "_explain"):
        from tornado_couch.embedded.handlers import mango

        return mango.mango(couch, request, opened, below[0], below[1:], name)
    if below[0] == "_design" and len(below) == 4 and below[2] == "_view":
        return designs.view(couch, request, opened, f"_design/{below[1]}", below[3], name)
    raise not_found("missing")


def information(request: Request, opened: OpenDatabase, name: str) -> Reply:
    """Answer `GET /{db}/_partition/{partition}`."""
    request.allow("GET", "HEAD")
    counts, external = opened.database.partition(f"{name}:")
    return json_reply(
        {
            "db_name": opened.database.name,
            "sizes": {"active": external, "external": external},
            "partition": name,
            "doc_count": counts.get(0, 0),
            "doc_del_count": counts.get(1, 0),
        }
    )
