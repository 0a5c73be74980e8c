"""`_find`, `_explain` and `_index`."""

from __future__ import annotations

from typing import Any

from tornado_couch.embedded.couch import Couch
from tornado_couch.embedded.databases import OpenDatabase
from tornado_couch.embedded.documents import draft_of
from tornado_couch.embedded.edits import write_draft
from tornado_couch.embedded.handlers.designs import document_fetcher
from tornado_couch.embedded.handlers.streams import from_thread
from tornado_couch.embedded.mango import IndexChange, Mango
from tornado_couch.embedded.messages import Reply, Request, json_reply
from tornado_couch.embedded.problems import Problem, bad_request, not_found
from tornado_couch.embedded.view_parameters import ViewParameters

__all__ = ["mango"]

_TRIES = 5


def mango(
    couch: Couch, request: Request, opened: OpenDatabase, name: str, rest: list[str], partition: str | None = None
) -> Any:
    """A Mango request: an awaitable of a Reply."""
    if name == "_index":
        return index(couch, request, opened, rest)
    request.allow("POST")
    if rest:
        raise not_found("missing")
    request.need_json_type()
    body = request.json_object()
    if name == "_find":
        return find(couch, opened, body, partition)
    return explain(couch, opened, body, partition)


def _engine(couch: Couch, opened: OpenDatabase) -> Mango:
    return Mango(opened.database, couch.views(opened))


def _designs(opened: OpenDatabase) -> list[str]:
    return [text for _, text in opened.database.design_documents()]


async def find(couch: Couch, opened: OpenDatabase, body: dict[str, Any], partition: str | None) -> Reply:
    """`POST _find`."""
    fetch = document_fetcher(opened.database, ViewParameters(conflicts=body.get("conflicts") is True))
    options = {} if partition is None else {"partition": partition}

    def work() -> Any:
        return _engine(couch, opened).find(body, _designs(opened), fetch, **options)

    chunks = await couch.in_thread(work)
    return Reply(200, stream=from_thread(couch, lambda: chunks))


async def explain(couch: Couch, opened: OpenDatabase, body: dict[str, Any], partition: str | None) -> Reply:
    """`POST _explain`."""
    options = {} if partition is None else {"partition": partition}

    def work() -> Any:
        return _engine(couch, opened).explain(body, _designs(opened), opened.database.name, **options)

    return json_reply(await couch.in_thread(work))


async def index(couch: Couch, request: Request, opened: OpenDatabase, rest: list[str]) -> Reply:
    """`_index`: list, create, delete, delete several."""
    if not rest and request.method in ("GET", "HEAD"):
        return json_reply(await couch.in_thread(lambda: _engine(couch, opened).indexes(_designs(opened))))
    if rest == ["_bulk_delete"]:
        request.allow("POST")
        request.need_json_type()
        return await _delete_several(couch, request, opened, request.json_object())
    if not rest:
        request.allow("GET", "HEAD", "POST")
        request.need_json_type()
        body = request.json_object()
        change = await _change(couch, request, opened, lambda engine, texts: engine.new_index(body, texts))
        return json_reply(change.result)
    request.allow("DELETE")
    design, kind, name = _index_path(rest)
    change = await _change(couch, request, opened, lambda engine, texts: engine.drop_index(design, kind, name, texts))
    return json_reply(change.result)


def _index_path(rest: list[str]) -> tuple[str, str, str]:
    """Design document, type and name in `_index/_design/{ddoc}/{type}/{name}` (`_design/` may be left out)."""
    parts = rest[1:] if rest[0] == "_design" else rest
    if len(parts) != 3:
        raise not_found("missing")
    design = parts[0] if parts[0].startswith("_design/") else f"_design/{parts[0]}"
    return design, parts[1], parts[2]


async def _delete_several(couch: Couch, request: Request, opened: OpenDatabase, body: dict[str, Any]) -> Reply:
    """`POST _index/_bulk_delete`: every index of some design documents."""
    docids = body.get("docids")
    if not isinstance(docids, list) or not all(isinstance(item, str) for item in docids):
        raise bad_request("`docids` should be an array of document ids.")
    done, failed = [], []
    for doc_id in docids:
        design = doc_id if doc_id.startswith("_design/") else f"_design/{doc_id}"
        try:
            rev, _ = opened.database.winner_text(design)
            draft = draft_of({"_id": design, "_rev": rev, "_deleted": True})
            await write_draft(couch, request.user, opened, draft)
            done.append({"id": design, "ok": True})
        except Problem as problem:
            failed.append({"id": design, "error": problem.error})
    return json_reply({"success": done, "fail": failed})


async def _change(couch: Couch, request: Request, opened: OpenDatabase, work: Any) -> IndexChange:
    """Make or delete an index; again when somebody else changed the design document meanwhile."""
    for left in range(_TRIES - 1, -1, -1):
        change: IndexChange = await couch.in_thread(lambda: work(_engine(couch, opened), _designs(opened)))
        if change.document is None:
            return change
        try:
            await write_draft(couch, request.user, opened, draft_of(change.document))
        except Problem as problem:
            if problem.status != 409 or not left:
                raise
        else:
            return change
    raise AssertionError
