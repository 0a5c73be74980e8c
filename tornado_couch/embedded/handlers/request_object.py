"""Makes the request object that functions of design documents receive (CouchDB's `req`)."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import parse_qsl

from tornado_couch.embedded.couch import Couch
from tornado_couch.embedded.messages import Request
from tornado_couch.embedded.storage.databases import OpenDatabase
from tornado_couch.embedded.storage.info import info

__all__ = ["request_object"]


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
