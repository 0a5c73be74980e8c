"""`POST /{db}/{doc}` with an HTML form, as Futon's upload dialog sent it."""

from __future__ import annotations

import json

from tornado_couch.embedded.couch import Couch
from tornado_couch.embedded.edits import write_draft
from tornado_couch.embedded.handlers.documents.multipart import parts_of
from tornado_couch.embedded.handlers.documents.writes import given_revision, written_reply
from tornado_couch.embedded.jsontext import loads
from tornado_couch.embedded.messages import Reply, Request
from tornado_couch.embedded.problems import bad_content_type, bad_request, missing
from tornado_couch.embedded.spool import Spool
from tornado_couch.embedded.storage.attachments import new_attachment
from tornado_couch.embedded.storage.database import Database
from tornado_couch.embedded.storage.databases import OpenDatabase
from tornado_couch.embedded.storage.documents import Draft, check_id, draft_of
from tornado_couch.embedded.storage.revisions import parse_revision

__all__ = ["post_form"]


async def post_form(couch: Couch, request: Request, opened: OpenDatabase, doc_id: str) -> Reply:
    """Answer `POST /{db}/{doc}` with an HTML form: its files become attachments."""
    if "Referer" not in request.headers:
        raise bad_request("Referer header required.")
    check_id(doc_id)
    if not request.headers.get("Content-Type", "").startswith("multipart/form-data"):
        raise bad_content_type("Content-Type must be multipart/form-data")
    fields = [(part.disposition("name"), part) for part in parts_of(request)]
    texts = {name: part.data.decode("utf-8", "replace") for name, part in fields if name and not part.filename()}
    if "_doc" in texts:
        draft = draft_of(loads(texts["_doc"]), doc_id)
        draft.rev = given_revision(request, draft.rev)
    else:
        draft = _as_stored(opened.database, doc_id, parse_revision(texts.get("_rev")))
    files = [
        new_attachment(part.filename() or "", part.headers.get("content-type", "application/octet-stream"),
                       Spool(part.data))
        for name, part in fields if name == "_attachments" and part.filename()
    ]  # fmt: skip
    names = {item.name for item in files}
    draft.attachments = files + [item for item in draft.attachments if item.name not in names]
    rev = await write_draft(couch, request.user, opened, draft)
    return written_reply(request, opened, doc_id, rev, location=False)


def _as_stored(database: Database, doc_id: str, rev: str) -> Draft:
    """A draft that repeats a revision without changes."""
    text = database.read(doc_id, rev)
    if text is None:
        raise missing()
    return draft_of(json.loads(text), doc_id)
