"""Runs update, show and list functions of design documents."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import parse_qsl

from tornado_couch.embedded.couch import Couch
from tornado_couch.embedded.edits import user_context, write_draft
from tornado_couch.embedded.handlers.view_requests import query_view
from tornado_couch.embedded.jsontext import loads
from tornado_couch.embedded.messages import Reply, Request
from tornado_couch.embedded.problems import not_found
from tornado_couch.embedded.storage.databases import OpenDatabase
from tornado_couch.embedded.storage.documents import draft_of
from tornado_couch.embedded.storage.info import info
from tornado_couch.embedded.views.designs import design_text, document_fetcher
from tornado_couch.embedded.views.functions import Response
from tornado_couch.embedded.views.parameters import view_parameters

__all__ = ["function", "request_object"]


def request_object(
    couch: Couch, request: Request, opened: OpenDatabase, doc_id: str | None, context: dict[str, Any]
) -> dict[str, Any]:
    """Describe a request as a JSON object.

    Args:
        couch: the server.
        request: the request.
        opened: the database.
        doc_id: the document in the path, if any.
        context: the `userCtx`.
    """
    body = bytes(request.body).decode("utf-8", "replace")
    kind = request.headers.get("Content-Type", "")
    form = dict(parse_qsl(body, keep_blank_values=True)) if kind.startswith("application/x-www-form-urlencoded") else {}
    cookies = [part.strip().partition("=") for part in request.headers.get("Cookie", "").split(";") if "=" in part]
    return {
        "info": info(opened.database),
        "id": doc_id,
        "uuid": couch.uuids.take() if doc_id is None else uuid.uuid4().hex,
        "method": request.method,
        "requested_path": request.target.partition("?")[0].strip("/").split("/"),
        "path": request.segments,
        "raw_path": request.target,
        "query": dict(request.query),
        "headers": {name: value for name, value in request.headers.get_all() if name != "Authorization"},
        # If the request has no body, CouchDB passes its atom `undefined` instead of an empty text.
        "body": body if body or "Content-Length" in request.headers else "undefined",
        "peer": "127.0.0.1",
        "form": form,
        "cookie": {name: value for name, _, value in cookies},
        "userCtx": context,
        "secObj": opened.database.security,
    }


_OWN = frozenset({"content-length", "transfer-encoding", "connection"})


def function(couch: Couch, request: Request, opened: OpenDatabase, design_id: str, rest: list[str]) -> Any:
    """Answer `_update/…`, `_show/…` and `_list/…`: returns an awaitable of a Reply."""
    kind, *names = rest
    if not names:
        raise not_found("missing")
    if kind == "_list":
        return run_list(couch, request, opened, design_id, names)
    doc_id = "/".join(names[1:]) or None
    if kind == "_show":
        return run_show(couch, request, opened, design_id, names[0], doc_id)
    return run_update(couch, request, opened, design_id, names[0], doc_id)


def _asked(couch: Couch, request: Request, opened: OpenDatabase, doc_id: str | None) -> dict[str, Any]:
    return request_object(couch, request, opened, doc_id, user_context(request.user, opened.database))


async def run_update(
    couch: Couch, request: Request, opened: OpenDatabase, design_id: str, name: str, doc_id: str | None
) -> Reply:
    """Answer `_update/{name}` and `_update/{name}/{doc}`: write the function's document and send its response."""
    request.allow("POST", "PUT")
    design = design_text(opened.database, design_id)
    old = opened.database.read(doc_id) if doc_id else None
    asked = _asked(couch, request, opened, doc_id)
    updated = await couch.turns.run(opened.owner(design_id), couch.functions.update, design, name, old, asked)
    headers: dict[str, str] = {}
    status = 200
    if updated.document is not None:
        draft = draft_of(loads(updated.document))
        draft.id = draft.id or couch.uuids.take()
        # This is sent even if the function sets its own answer (CouchDB, "Update functions").
        headers["X-Couch-Update-NewRev"] = await write_draft(couch, request.user, opened, draft)
        headers["X-Couch-Id"] = draft.id if draft.id.isascii() and draft.id.isprintable() else ""
        status = 201
    return _reply(updated.response, status, headers)


async def run_show(
    couch: Couch, request: Request, opened: OpenDatabase, design_id: str, name: str, doc_id: str | None
) -> Reply:
    """Answer `_show/{name}` and `_show/{name}/{doc}`."""
    request.allow("GET", "HEAD", "POST")
    design = design_text(opened.database, design_id)
    document = opened.database.read(doc_id) if doc_id else None
    asked = _asked(couch, request, opened, doc_id)
    turn = opened.owner(design_id)
    return _reply(await couch.turns.run(turn, couch.functions.show, design, name, document, asked), 200, {})


async def run_list(couch: Couch, request: Request, opened: OpenDatabase, design_id: str, names: list[str]) -> Reply:
    """Answer `_list/{name}/{view}` and `_list/{name}/{ddoc}/{view}`."""
    request.allow("GET", "HEAD", "POST")
    if len(names) not in (2, 3):
        raise not_found("missing")
    design = design_text(opened.database, design_id)
    view_design = design if len(names) == 2 else design_text(opened.database, f"_design/{names[1]}")
    body = request.json() if request.method == "POST" and request.body else None
    own = {"format"}
    parameters = view_parameters([pair for pair in request.query if pair[0] not in own], body)
    asked = _asked(couch, request, opened, None)

    fetch = document_fetcher(opened.database, parameters)
    answer = await query_view(couch, opened, view_design, names[-1], parameters, fetch)

    def work() -> Response:
        return couch.functions.list(design, names[0], answer.text(), asked)

    return _reply(await couch.turns.run(opened.owner(design_id), work), 200, {})


def _reply(response: Response, status: int, headers: dict[str, str]) -> Reply:
    """The response that a function made, without the headers that it must not set."""
    own = {
        name: str(value).replace("\r", " ").replace("\n", " ")
        for name, value in response.headers.items()
        if name.lower() not in _OWN and name.isascii() and name.isprintable() and " " not in name
    }
    kind = {} if any(name.lower() == "content-type" for name in own) else {"Content-Type": "text/html; charset=utf-8"}
    # Status 100 belongs to the connection; a function cannot send it.
    code = response.code if response.code is not None and 100 < response.code < 600 else status
    return Reply(code, response.body, {**kind, **own, **headers})
