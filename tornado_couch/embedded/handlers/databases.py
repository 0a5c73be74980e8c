"""`/{db}` itself, and its metadata: security, limits, purging, maintenance."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from tornado_couch.embedded.couch import Couch
from tornado_couch.embedded.handlers import designs
from tornado_couch.embedded.handlers.documents import all_docs
from tornado_couch.embedded.jsontext import dumps
from tornado_couch.embedded.messages import Reply, Request, json_reply
from tornado_couch.embedded.problems import Problem, bad_request, no_database, not_found
from tornado_couch.embedded.storage import compaction
from tornado_couch.embedded.storage.database import Database
from tornado_couch.embedded.storage.databases import OpenDatabase
from tornado_couch.embedded.storage.info import info
from tornado_couch.embedded.storage.revisions import parse_revision, possible_ancestors
from tornado_couch.embedded.storage.transaction import Transaction
from tornado_couch.embedded.users.security import check_security, need_admin, need_database_admin, need_upkeep

__all__ = ["database", "partition"]


def database(couch: Couch, request: Request) -> Any:
    """Answer `/{db}`: returns a Reply, or an awaitable of one."""
    name = request.segments[0]
    if request.method == "PUT":
        return create(couch, request, name)
    if request.method == "DELETE":
        return delete(couch, request, name)
    if name[0] == "_" and name not in couch.databases:
        need_admin(request.user)
    opened = couch.open(name, request.user)
    request.allow("DELETE", "GET", "HEAD", "POST")
    if request.method == "POST":
        from tornado_couch.embedded.handlers.documents.documents import post_document

        return post_document(couch, request, opened)
    return json_reply(info(opened.database))


def create(couch: Couch, request: Request, name: str) -> Reply:
    """Answer `PUT /{db}`."""
    need_admin(request.user)
    for parameter in ("q", "n"):
        text = request.parameters.get(parameter, "1")
        if not (text.isascii() and text.isdigit() and int(text[:9]) > 0):
            raise bad_request(f"The `{parameter}` value should be a positive integer.")
    partitioned = request.parameters.get("partitioned", "false")
    if partitioned not in ("true", "false"):
        raise bad_request("Invalid `partitioned` parameter")
    couch.databases.create(name, partitioned=partitioned == "true")
    # The new database may be `_replicator`.
    couch.watch_replicator()
    return json_reply({"ok": True}, 201, {"Location": request.url(name)})


async def delete(couch: Couch, request: Request, name: str) -> Reply:
    """Answer `DELETE /{db}`."""
    need_admin(request.user)
    # CouchDB protects against the DELETE of a document whose id got lost.
    if "rev" in request.parameters:
        raise bad_request(
            "You tried to DELETE a database with a ?=rev parameter. Did you mean to DELETE a document instead?"
        )
    if name not in couch.databases:
        raise no_database()
    await couch.delete_database(name)
    return json_reply({"ok": True})


async def security(_couch: Couch, request: Request, opened: OpenDatabase) -> Reply:
    """Answer `/{db}/_security`."""
    request.allow("PUT", "GET")
    if request.method != "PUT":
        return json_reply(opened.database.security)
    need_database_admin(request.user, opened.database.security)
    value = check_security(request.json())
    await opened.writer.run(lambda transaction: transaction.set_meta("security", dumps(value)))
    return json_reply({"ok": True})


async def _limit(request: Request, opened: OpenDatabase, name: str, current: int) -> Reply:
    """Read or write a number that a database has."""
    request.allow("PUT", "GET")
    if request.method != "PUT":
        return json_reply(current)
    need_database_admin(request.user, opened.database.security)
    value = request.json()
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise bad_request(f"`{name}` must be positive integer")
    await opened.writer.run(lambda transaction: transaction.set_meta(name, str(value)))
    return json_reply({"ok": True})


async def revs_limit(_couch: Couch, request: Request, opened: OpenDatabase) -> Reply:
    """Answer `/{db}/_revs_limit`."""
    return await _limit(request, opened, "revs_limit", opened.database.revs_limit)


async def purged_infos_limit(_couch: Couch, request: Request, opened: OpenDatabase) -> Reply:
    """Answer `/{db}/_purged_infos_limit`."""
    need_admin(request.user)
    return await _limit(request, opened, "purged_infos_limit", opened.database.purged_infos_limit)


def _revisions_by_id(request: Request) -> dict[str, list[str]]:
    """Read the body of `_purge`, `_revs_diff` or `_missing_revs`."""
    request.allow("POST")
    request.need_json_type()
    body = request.json_object()
    if not all(isinstance(revs, list) for revs in body.values()):
        raise bad_request("Invalid list of revisions")
    return {doc_id: [parse_revision(rev) for rev in revs] for doc_id, revs in body.items()}


async def purge(_couch: Couch, request: Request, opened: OpenDatabase) -> Reply:
    """Answer `POST /{db}/_purge`."""
    request.allow("POST")
    need_admin(request.user)
    asked = _revisions_by_id(request)

    def work(transaction: Transaction) -> dict[str, list[str]]:
        return {doc_id: transaction.purge(doc_id, revs) for doc_id, revs in asked.items()}

    purged = await opened.writer.run(work)
    return json_reply({"purge_seq": None, "purged": purged}, 201)


def _missing(database: Database, asked: dict[str, list[str]]) -> dict[str, dict[str, list[str]]]:
    """The missing revisions of each document, and the leaves from which they may descend."""
    found: dict[str, dict[str, list[str]]] = {}
    with database.connections.read() as connection:
        for doc_id, revs in asked.items():
            stored = database.stored(doc_id, connection)
            tree = stored.tree if stored else {}
            absent = [rev for rev in revs if rev not in tree]
            if absent:
                found[doc_id] = {"missing": absent}
                ancestors = possible_ancestors(tree, absent) if tree else []
                if ancestors:
                    found[doc_id]["possible_ancestors"] = ancestors
    return found


def revs_diff(_couch: Couch, request: Request, opened: OpenDatabase) -> Reply:
    """Answer `POST /{db}/_revs_diff`."""
    return json_reply(_missing(opened.database, _revisions_by_id(request)))


def missing_revs(_couch: Couch, request: Request, opened: OpenDatabase) -> Reply:
    """Answer `POST /{db}/_missing_revs`."""
    found = _missing(opened.database, _revisions_by_id(request))
    return json_reply({"missing_revs": {doc_id: entry["missing"] for doc_id, entry in found.items()}})


def ensure_full_commit(_couch: Couch, request: Request, opened: OpenDatabase) -> Reply:
    """Answer `POST /{db}/_ensure_full_commit`; every write is committed before it is answered anyway."""
    request.allow("POST")
    request.need_json_type()
    return json_reply({"ok": True, "instance_start_time": opened.database.made}, 201)


def compact(couch: Couch, request: Request, opened: OpenDatabase) -> Reply:
    """Answer `POST /{db}/_compact`, also for a design document's views, which do not need it."""
    request.allow("POST")
    need_upkeep(request.user, opened.database.security)
    request.need_json_type()
    if len(request.segments) > 2:
        opened.database.winner_text(f"_design/{request.segments[2]}")  # 404 if it is missing
    else:
        couch.background(_compact(couch, opened))
    return json_reply({"ok": True}, 202)


async def _compact(couch: Couch, opened: OpenDatabase) -> None:
    with contextlib.suppress(Problem):
        await opened.writer.run(compaction.forget_old, 1 << 30)
        with contextlib.suppress(asyncio.CancelledError):
            await couch.in_thread(compaction.shrink, opened.database)


def shards(_couch: Couch, request: Request, _opened: OpenDatabase) -> Reply:
    """Answer `GET /{db}/_shards` with a single shard."""
    request.allow("GET", "HEAD")
    if len(request.segments) > 2:
        return json_reply({"range": "00000000-ffffffff", "nodes": ["couchdb@127.0.0.1"]})
    return json_reply({"shards": {"00000000-ffffffff": ["couchdb@127.0.0.1"]}})


def sync_shards(_couch: Couch, request: Request, _opened: OpenDatabase) -> Reply:
    """Answer `POST /{db}/_sync_shards`; there is nothing to synchronize."""
    request.allow("POST")
    need_admin(request.user)
    return json_reply({"ok": True}, 202)


def temp_view(_couch: Couch, _request: Request, _opened: OpenDatabase) -> Reply:
    """Refuse `_temp_view`, which CouchDB 2 removed."""
    raise Problem(410, "gone", "Temporary views are not supported in CouchDB")


PATHS = {
    "_security": security,
    "_revs_limit": revs_limit,
    "_purged_infos_limit": purged_infos_limit,
    "_purge": purge,
    "_revs_diff": revs_diff,
    "_missing_revs": missing_revs,
    "_ensure_full_commit": ensure_full_commit,
    "_compact": compact,
    "_shards": shards,
    "_sync_shards": sync_shards,
    "_temp_view": temp_view,
}


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
