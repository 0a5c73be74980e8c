"""`_bulk_docs`, `_bulk_get` and the like: writes and reads many documents with one request."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, NamedTuple

from tornado_couch.embedded.couch import Couch
from tornado_couch.embedded.edits import write_drafts
from tornado_couch.embedded.handlers.documents import multipart
from tornado_couch.embedded.handlers.documents.documents import asked, of_revision, open_revisions, read_options
from tornado_couch.embedded.jsontext import dumps
from tornado_couch.embedded.messages import Reply, Request, json_reply, text_reply
from tornado_couch.embedded.problems import Problem, bad_request
from tornado_couch.embedded.storage.database import Database, ReadOptions, Stored
from tornado_couch.embedded.storage.databases import OpenDatabase
from tornado_couch.embedded.storage.documents import Draft, check_id, draft_of
from tornado_couch.embedded.storage.revisions import parse_revision
from tornado_couch.embedded.storage.transaction import Outcome

__all__ = ["bulk_docs", "bulk_get"]

_SMALL = 200


async def bulk_docs(couch: Couch, request: Request, opened: OpenDatabase) -> Reply:
    """Answer `POST /{db}/_bulk_docs`."""
    request.allow("POST")
    request.need_json_type()
    body = request.json_object()
    new_edits = body.get("new_edits", True)
    docs = body.get("docs")
    if "docs" not in body:
        raise bad_request("POST body must include `docs` parameter.")
    if not isinstance(docs, list):
        raise bad_request("`docs` parameter must be an array.")
    if not isinstance(new_edits, bool):
        raise bad_request("`new_edits` parameter must be a boolean.")
    drafts = [_draft(couch, value, new_edits) for value in docs]
    if new_edits and body.get("all_or_nothing") is True:
        return json_reply([_not_atomic(draft) for draft in drafts], 417)
    outcomes = await write_drafts(couch, request.user, opened, drafts, new_edits=new_edits)
    pairs = zip(drafts, outcomes, strict=True)
    if new_edits:
        return text_reply("[" + ",".join(_line(draft, outcome) for draft, outcome in pairs) + "]", 201)
    refused = [_error_line(draft, outcome) for draft, outcome in pairs if isinstance(outcome, Problem)]
    return json_reply(refused, 201)


def _not_atomic(draft: Draft) -> dict[str, str]:
    """The answer to `all_or_nothing` that CouchDB gives since version 2."""
    return {"id": draft.id, "rev": "0-", "error": "not_implemented", "reason": "all_or_nothing is not supported"}


def _draft(couch: Couch, value: Any, new_edits: bool) -> Draft:
    draft = draft_of(value)
    if not draft.id:
        draft.id = couch.uuids.take()
    if not new_edits and not draft.rev and not draft.path:
        raise bad_request("When `new_edits: false`, the document needs `_rev` or `_revisions` specified")
    if new_edits and draft.rev is None and draft.path:
        draft.rev = draft.path[0]
    multipart.refuse_follows(draft)
    return draft


def _line(draft: Draft, outcome: Outcome) -> str:
    if isinstance(outcome, Problem):
        return dumps(_error_line(draft, outcome, with_rev=False))
    return f'{{"ok":true,"id":{dumps(draft.id)},"rev":"{outcome}"}}'


def _error_line(draft: Draft, problem: Problem, *, with_rev: bool = True) -> dict[str, str]:
    line = {"id": draft.id}
    if with_rev:
        line["rev"] = (draft.path[0] if draft.path else draft.rev) or ""
    return {**line, "error": problem.error, "reason": problem.reason}


class _Wanted(NamedTuple):
    """One item of a `_bulk_get`; `error` says why it cannot be read."""

    id: str | None
    rev: str | None = None
    atts_since: tuple[str, ...] | None = None
    error: str = ""


async def bulk_get(couch: Couch, request: Request, opened: OpenDatabase) -> Reply:
    """Answer `POST /{db}/_bulk_get`."""
    request.allow("POST")
    request.need_json_type()
    docs = request.json_object().get("docs")
    if not isinstance(docs, list):
        raise bad_request("Missing JSON list of 'docs'.")
    wanted = [_wanted(item) for item in docs]
    options = of_revision(read_options(request))
    latest = asked(request, "latest")
    # The type must be named: for `*/*`, `_bulk_get` answers with JSON, although `open_revs` uses multipart.
    if multipart.wanted(request, "multipart/mixed", "multipart/related"):
        return await couch.in_thread(_as_multipart, opened.database, wanted, options, latest)
    if len(wanted) > _SMALL or options.attachments:
        text = await couch.in_thread(_results, opened.database, wanted, options, latest)
    else:
        text = _results(opened.database, wanted, options, latest)
    return text_reply(text)


def _wanted(item: Any) -> _Wanted:
    """Read one item of the request; an item that is wrong does not keep the others from being read."""
    if not isinstance(item, dict) or not isinstance(item.get("id"), str):
        return _Wanted(None, error=_error(None, None, "bad_request", "document must be a JSON object"))
    doc_id, rev = item["id"], None
    try:
        check_id(doc_id)
    except Problem as problem:
        return _Wanted(doc_id, error=_error(doc_id, None, problem.error, problem.reason))
    since = item.get("atts_since", [])
    if "rev" in item:
        try:
            rev = parse_revision(item["rev"])
        except Problem as problem:
            return _Wanted(doc_id, error=_error(doc_id, item["rev"], problem.error, problem.reason))
    if not isinstance(since, list):
        return _Wanted(doc_id, error=_error(doc_id, since, "bad_request", "att_since value must be array of revs."))
    return _Wanted(doc_id, rev, tuple(map(parse_revision, since)) or None)


def _error(doc_id: str | None, rev: Any, error: str, reason: str) -> str:
    return dumps({"error": {"rev": rev, "reason": reason, "id": doc_id, "error": error}})


def _not_found(item: _Wanted, rev: str | None) -> str:
    return _error(item.id, rev or "undefined", "not_found", "missing")


def _found(
    database: Database, item: _Wanted, latest: bool, connection: sqlite3.Connection
) -> tuple[Stored | None, list[tuple[str, bool]]]:
    """The document of an item, and the requested revisions, each with whether it is known."""
    stored = database.stored(item.id or "", connection)
    return stored, open_revisions(stored, [item.rev] if item.rev else None, latest=latest)


def _results(database: Database, wanted: Iterable[_Wanted], options: ReadOptions, latest: bool) -> str:
    """The JSON of the answer to a `_bulk_get`."""
    results = []
    with database.connections.read() as connection:
        for item in wanted:
            docs = [item.error] if item.error else _result(database, item, options, latest, connection)
            results.append(f'{{"id":{dumps(item.id)},"docs":[{",".join(docs)}]}}')
    return '{"results":[' + ",".join(results) + "]}"


def _result(
    database: Database, item: _Wanted, options: ReadOptions, latest: bool, connection: sqlite3.Connection
) -> list[str]:
    own = options._replace(atts_since=item.atts_since) if item.atts_since else options
    stored, found = _found(database, item, latest, connection)
    docs = []
    for rev, there in found:
        text = database.text(stored, rev, own, connection) if stored and there else None
        docs.append(f'{{"ok":{text}}}' if text else _not_found(item, rev))
    return docs or [_not_found(item, item.rev)]


def _as_multipart(database: Database, wanted: Iterable[_Wanted], options: ReadOptions, latest: bool) -> Reply:
    """The answer to a `_bulk_get` as multipart/mixed."""
    parts: list[bytes] = []
    with database.connections.read() as connection:
        for item in wanted:
            stored, found = _found(database, item, latest, connection)
            if item.error or not found:
                parts.append(multipart.error_part(item.error or _not_found(item, item.rev)))
            else:
                parts.extend(multipart.mixed_parts(database, stored, found, options, connection))
    return multipart.assemble("mixed", parts)
