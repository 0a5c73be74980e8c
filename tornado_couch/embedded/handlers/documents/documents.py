"""`/{db}/{doc}` and `POST /{db}`: answers requests for single documents."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sqlite3
from urllib.parse import unquote

from tornado_couch.embedded.couch import Couch
from tornado_couch.embedded.edits import write_draft
from tornado_couch.embedded.handlers.documents import multipart
from tornado_couch.embedded.handlers.documents.multipart import parts_of
from tornado_couch.embedded.jsontext import dumps, loads
from tornado_couch.embedded.messages import Reply, Request, json_reply, text_reply
from tornado_couch.embedded.problems import Problem, bad_content_type, bad_request, missing, not_implemented
from tornado_couch.embedded.spool import Spool
from tornado_couch.embedded.storage import revisions
from tornado_couch.embedded.storage.attachments import new_attachment
from tornado_couch.embedded.storage.database import DELETED, PLAIN, Database, ReadOptions, Stored
from tornado_couch.embedded.storage.databases import OpenDatabase
from tornado_couch.embedded.storage.documents import Draft, check_id, document_text, draft_of, is_local
from tornado_couch.embedded.storage.revisions import parse_revision

__all__ = [
    "asked",
    "document",
    "find_revision",
    "given_revision",
    "of_revision",
    "open_revisions",
    "post_document",
    "post_form",
    "read_options",
    "written_reply",
]


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


def given_revision(request: Request, in_body: str | None) -> str | None:
    """The revision in the body, in `rev` or in If-Match, which must be the same.

    Raises:
        Problem: 400, they differ.
    """
    named = request.parameters.get("rev")
    rev = None if named is None else parse_revision(named)
    if in_body is not None and rev is not None and rev != in_body:
        raise bad_request("Document rev from request body and query string have different values")
    rev = in_body if in_body is not None else rev
    tag = request.headers.get("If-Match")
    if tag is None:
        return rev
    # If-Match contains the revision as an entity tag, in quotes (RFC 9110, 13.1.1).
    matched = parse_revision(tag.strip().strip('"'))
    if rev is not None and rev != matched:
        raise bad_request("Document rev and etag have different values")
    return matched


def written_reply(
    request: Request, opened: OpenDatabase, doc_id: str, rev: str, status: int = 201, *, location: bool = True
) -> Reply:
    """The answer to a write, with id and revision."""
    # CouchDB sends no ETag in its answer to a POST.
    headers = {} if request.method == "POST" else {"ETag": f'"{rev}"'}
    if location:
        headers["Location"] = request.url(opened.database.name, doc_id)
    return text_reply(f'{{"ok":true,"id":{dumps(doc_id)},"rev":{dumps(rev)}}}', status, headers)


_METHODS = ("DELETE", "GET", "HEAD", "POST", "PUT", "COPY")


def document(couch: Couch, request: Request, opened: OpenDatabase, doc_id: str) -> object:
    """Answer `/{db}/{doc}`: returns a Reply, or an awaitable of one."""
    request.allow(*_METHODS)
    if request.method in ("GET", "HEAD"):
        return read_document(request, opened.database, doc_id)
    if request.method == "PUT":
        check_id(doc_id)
        return put_document(couch, request, opened, doc_id)
    if request.method == "DELETE":
        return delete_document(couch, request, opened, doc_id)
    if request.method == "COPY":
        return copy_document(couch, request, opened, doc_id)
    return post_form(couch, request, opened, doc_id)


# ---------------------------------------------------------------- reading


def asked(request: Request, name: str) -> bool:
    """Whether a parameter is "true"; for a document, anything else means no."""
    return request.parameters.get(name) == "true"


def read_options(request: Request) -> ReadOptions:
    """The members that the query asks to add to documents."""
    meta = asked(request, "meta")
    since = request.parameters.get("atts_since")
    return ReadOptions(
        revs=asked(request, "revs"),
        revs_info=asked(request, "revs_info") or meta,
        conflicts=asked(request, "conflicts") or meta,
        deleted_conflicts=asked(request, "deleted_conflicts") or meta,
        local_seq=asked(request, "local_seq"),
        attachments=asked(request, "attachments"),
        att_encoding_info=asked(request, "att_encoding_info"),
        atts_since=None if since is None else tuple(map(parse_revision, _revision_list(since))),
    )


def of_revision(options: ReadOptions) -> ReadOptions:
    """The options for a named revision, without the members that describe the document as a whole."""
    return options._replace(revs_info=False, conflicts=False, deleted_conflicts=False, local_seq=False)


def _revision_list(text: str) -> list[object]:
    value = loads(text)
    if not isinstance(value, list):
        raise bad_request("Invalid list of revisions")
    return value


def read_document(request: Request, database: Database, doc_id: str) -> Reply:
    """Answer GET and HEAD of a document."""
    if is_local(doc_id):
        return read_local(request, database, doc_id)
    if not request.parameters:
        return tagged(request, *database.winner_text(doc_id))
    options = read_options(request)
    if request.parameters.get("open_revs", "[]") != "[]":
        return read_open_revisions(request, database, doc_id, options)
    if "rev" in request.parameters and not asked(request, "latest"):
        options = of_revision(options)
    with database.connections.read() as connection:
        stored, rev = find_revision(request, database, doc_id, connection)
        if options.attachments and multipart.wanted(request, "multipart/related", "multipart/*", "*/*"):
            reply = multipart.related_reply(database, stored, rev, options, connection)
            if reply is not None:
                return reply
        text = database.text(stored, rev, options, connection)
    if text is None:
        raise missing()
    # Members about conflicts and sequence numbers may change while the revision does not, so there is no ETag.
    has_meta = any(f'"{name}":' in text for name in ("_conflicts", "_deleted_conflicts", "_revs_info", "_local_seq"))
    return text_reply(text) if has_meta and options.needs_tree else tagged(request, rev, text)


def find_revision(
    request: Request, database: Database, doc_id: str, connection: sqlite3.Connection
) -> tuple[Stored, str]:
    """Find the document and the revision that `rev` names; by default, the winner.

    Raises:
        Problem: 404.
    """
    named = request.parameters.get("rev")
    rev = None if named is None else parse_revision(named)
    stored = database.stored(doc_id, connection)
    if stored is None:
        raise missing()
    if rev is None or asked(request, "latest"):
        # A tombstone can only be read by its revision; by its id it is 404 "deleted" (CouchDB API, "GET /db/doc").
        if stored.state == DELETED:
            raise missing(deleted=True)
        return stored, stored.rev
    if rev not in stored.tree:
        raise missing()
    return stored, rev


def tagged(request: Request, rev: str, text: str) -> Reply:
    """Send a document with its ETag, or 304 if the client has it."""
    tag = f'"{rev}"'
    known = request.headers.get("If-None-Match")
    if known is not None and tag in known.replace(",", " ").replace("W/", "").split():
        return Reply(304, headers={"ETag": tag})
    return text_reply(text, 200, {"ETag": tag})


def read_local(request: Request, database: Database, doc_id: str) -> Reply:
    """Answer GET of a local document."""
    found = database.local(doc_id)
    if found is None or request.parameters.get("rev", found[0]) != found[0]:
        raise missing()
    rev, body = found
    extra = {"_revisions": {"start": 0, "ids": [rev.removeprefix("0-")]}} if asked(request, "revs") else None
    return text_reply(document_text(doc_id, rev, body, extra=extra), 200, {"ETag": f'"{rev}"'})


def read_open_revisions(request: Request, database: Database, doc_id: str, options: ReadOptions) -> Reply:
    """Answer GET with `open_revs`: all leaves, or the named ones."""
    wanted, options = request.parameters["open_revs"], of_revision(options)
    named = None if wanted == "all" else [parse_revision(item) for item in _revision_list(wanted)]
    with database.connections.read() as connection:
        stored = database.stored(doc_id, connection)
        if stored is None and named is None:
            raise missing()
        found = open_revisions(stored, named, latest=asked(request, "latest"))
        if multipart.wanted(request, "multipart/mixed", "multipart/*", "*/*"):
            return multipart.mixed_reply(database, stored, found, options, connection)
        texts = []
        for rev, there in found:
            text = database.text(stored, rev, options, connection) if stored and there else None
            texts.append(f'{{"missing":{dumps(rev)}}}' if text is None else f'{{"ok":{text}}}')
    return text_reply("[" + ",".join(texts) + "]")


def open_revisions(stored: Stored | None, named: list[str] | None, *, latest: bool) -> list[tuple[str, bool]]:
    """Revisions, each with whether it is known: all leaves, or the named ones (with `latest`, their descendants)."""
    if stored is None:
        return [(rev, False) for rev in named or ()]
    if named is None:
        return [(rev, True) for rev in sorted(revisions.leaves(stored.tree), key=revisions.sort_key)]
    found: dict[str, bool] = {}
    for rev in named:
        grown = revisions.descendants(stored.tree, rev) if latest and rev in stored.tree else []
        grown.sort(key=revisions.sort_key)
        found.update(dict.fromkeys(grown, True) if grown else {rev: rev in stored.tree})
    return list(found.items())


# ---------------------------------------------------------------- writing


async def put_document(couch: Couch, request: Request, opened: OpenDatabase, doc_id: str) -> Reply:
    """Answer PUT of a document, as JSON or as multipart/related."""
    new_edits = request.flag("new_edits", default=True)
    if request.headers.get("Content-Type", "").startswith("multipart/related"):
        draft = multipart.related_draft(request, doc_id)
    else:
        draft = draft_of(request.json(), doc_id)
    if new_edits:
        draft.rev = _local_revision(request, draft) if is_local(doc_id) else given_revision(request, _start(draft))
    # No parts can follow a JSON body.
    multipart.refuse_follows(draft)
    if request.parameters.get("batch") == "ok":
        return await batched(couch, request, opened, draft)
    rev = await write_draft(couch, request.user, opened, draft, new_edits=new_edits)
    return written_reply(request, opened, doc_id, rev, 200 if draft.deleted else 201)


def _start(draft: Draft) -> str | None:
    """The revision that the body names, in `_rev` or, without that, in `_revisions`."""
    return draft.rev or (draft.path[0] if draft.path else None)


def _local_revision(request: Request, draft: Draft) -> str | None:
    return draft.rev or request.parameters.get("rev")


async def batched(couch: Couch, request: Request, opened: OpenDatabase, draft: Draft) -> Reply:
    """Answer `batch=ok`: CouchDB answers before it writes, and reports no refusal. Here the write comes first."""
    with contextlib.suppress(Problem):
        await write_draft(couch, request.user, opened, draft)
    return json_reply({"ok": True, "id": draft.id}, 202)


async def post_document(couch: Couch, request: Request, opened: OpenDatabase) -> Reply:
    """Answer `POST /{db}`: create a document, whose id may be in it."""
    request.need_json_type()
    draft = draft_of(request.json())
    if not draft.id:
        draft.id = couch.uuids.take()
    multipart.refuse_follows(draft)
    if request.parameters.get("batch") == "ok":
        return await batched(couch, request, opened, draft)
    rev = await write_draft(couch, request.user, opened, draft, new_edits=request.flag("new_edits", default=True))
    return written_reply(request, opened, draft.id, rev)


async def delete_document(couch: Couch, request: Request, opened: OpenDatabase, doc_id: str) -> Reply:
    """Answer DELETE: write a tombstone that follows the given revision."""
    if is_local(doc_id):
        if opened.database.local(doc_id) is None:
            raise missing()
        rev = await write_draft(couch, request.user, opened, Draft(doc_id, deleted=True))
        return written_reply(request, opened, doc_id, rev, 200, location=False)
    parent = given_revision(request, None)
    # A missing document is 404 even if the revision would be a conflict.
    opened.database.winner_text(doc_id)
    written = await write_draft(couch, request.user, opened, Draft(doc_id, parent, deleted=True))
    return written_reply(request, opened, doc_id, written, 200, location=False)


async def copy_document(couch: Couch, request: Request, opened: OpenDatabase, doc_id: str) -> Reply:
    """Answer COPY to the id in `Destination`, which may include the revision to replace."""
    destination = request.headers.get("Destination")
    if destination is None:
        raise bad_request("Destination header is mandatory for COPY.")
    target, _, query = destination.partition("?")
    if "://" in target or target.startswith("//"):
        raise not_implemented("COPY to an absolute URL")
    target_id = check_id(unquote(target.removeprefix("/")))
    target_rev = parse_revision(query.removeprefix("rev=")) if query.startswith("rev=") else None
    draft = copied(request, opened.database, doc_id, target_id, target_rev)
    rev = await write_draft(couch, request.user, opened, draft)
    return written_reply(request, opened, target_id, rev)


def copied(request: Request, database: Database, doc_id: str, target_id: str, target_rev: str | None) -> Draft:
    """The draft of a copy, including attachments."""
    if is_local(doc_id):
        found = database.local(doc_id)
        if found is None:
            raise missing()
        return dataclasses.replace(draft_of(json.loads(found[1]), target_id), rev=target_rev)
    with database.connections.read() as connection:
        stored, rev = find_revision(request, database, doc_id, connection)
        text = database.text(stored, rev, PLAIN._replace(attachments=True), connection)
    if text is None:
        raise missing()
    draft = draft_of(loads(text), target_id)
    return dataclasses.replace(draft, rev=target_rev, path=[])
