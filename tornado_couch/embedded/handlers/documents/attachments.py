"""`/{db}/{doc}/{attachment}`: answers requests for a single attachment."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from typing import Any, cast

from tornado_couch.embedded.couch import Couch
from tornado_couch.embedded.edits import write_draft
from tornado_couch.embedded.handlers.documents.documents import find_revision, given_revision
from tornado_couch.embedded.handlers.streams import from_thread
from tornado_couch.embedded.jsontext import dumps, loads
from tornado_couch.embedded.messages import Reply, Request, text_reply
from tornado_couch.embedded.problems import Problem, bad_content_type, conflict, missing, not_found
from tornado_couch.embedded.spool import Spool
from tornado_couch.embedded.storage import attachments as att
from tornado_couch.embedded.storage.attachments import PART_SIZE, Attachment, NewAttachment
from tornado_couch.embedded.storage.database import Database
from tornado_couch.embedded.storage.databases import OpenDatabase
from tornado_couch.embedded.storage.documents import Draft, check_id

__all__ = ["attachment"]

_MAX_RANGES = 10


def attachment(couch: Couch, request: Request, opened: OpenDatabase, doc_id: str, name: str) -> Any:
    """Answer a request for an attachment: returns a Reply, or an awaitable of one."""
    request.allow("DELETE", "GET", "HEAD", "PUT")
    if request.method in ("GET", "HEAD"):
        return read_attachment(couch, request, opened.database, doc_id, name)
    if doc_id.startswith("_local/"):
        raise Problem(400, "bad_request", "_local documents do not accept attachments.")
    check_id(doc_id)
    if request.method == "PUT":
        return put_attachment(couch, request, opened, doc_id, name)
    return delete_attachment(couch, request, opened, doc_id, name)


# ---------------------------------------------------------------- reading


def _existing(
    request: Request, database: Database, doc_id: str, name: str, connection: sqlite3.Connection
) -> Attachment:
    """Find the record of an attachment.

    Raises:
        Problem: 404, the document, revision or attachment does not exist.
    """
    stored, rev = find_revision(request, database, doc_id, connection)
    found = database.revision(stored.tree, rev, connection)
    if found is None:
        raise missing()
    for item in found[1]:
        if item.name == name:
            return item
    raise not_found("Document is missing attachment")


def read_attachment(couch: Couch, request: Request, database: Database, doc_id: str, name: str) -> Reply:
    """Answer GET and HEAD with the whole attachment or ranges of it."""
    with database.connections.read() as connection:
        item = _existing(request, database, doc_id, name, connection)
    tag = f'"{item.digest}"'
    if tag in request.headers.get("If-None-Match", "").replace(",", " ").replace("W/", "").split():
        return Reply(304, headers={"ETag": tag})
    # Compressed bytes are sent as they are to a client that accepts them (RFC 9110, 12.5.3), and unpacked for others.
    packed = item.encoding == "gzip" and "gzip" in request.headers.get("Accept-Encoding", "")
    headers = {
        "ETag": tag,
        "Content-Type": item.content_type.replace("\r", " ").replace("\n", " "),
        # A range applies to the bytes that are sent, and compressed bytes cannot be cut without unpacking them.
        "Accept-Ranges": "bytes" if item.encoding == "identity" else "none",
        # An HTML attachment must not run with the server's cookies.
        "Content-Security-Policy": "sandbox",
    }
    if packed:
        headers["Content-Encoding"] = "gzip"
    spans = _ranges(request.headers.get("Range"), item.stored if packed else item.length)
    if spans and item.encoding == "identity":
        return _partial(couch, database, item, spans, headers)
    # The unpacked length of an attachment that was uploaded compressed is unknown until it has been sent.
    if packed or item.encoding == "identity" or item.length != item.stored:
        headers["Content-Length"] = str(item.stored if packed else item.length)
    return Reply(200, headers=headers, stream=from_thread(couch.in_thread, lambda: _whole(database, item, packed)))


def _partial(
    couch: Couch, database: Database, item: Attachment, spans: list[tuple[int, int]], headers: dict[str, str]
) -> Reply:
    """Send one range as it is, and several as multipart/byteranges."""
    if len(spans) > 1:
        boundary = secrets.token_hex(16)
        kind = {"Content-Type": f'multipart/byteranges; boundary="{boundary}"'}
        parts = from_thread(couch.in_thread, lambda: _parts(database, item, spans, boundary))
        return Reply(206, headers=kind, stream=parts)
    start, end = spans[0]
    headers["Content-Range"] = f"bytes {start}-{end}/{item.length}"
    headers["Content-Length"] = str(end - start + 1)
    return Reply(206, headers=headers, stream=from_thread(couch.in_thread, lambda: _span(database, item, start, end)))


def _parts(database: Database, item: Attachment, spans: list[tuple[int, int]], boundary: str) -> Iterator[bytes]:
    """The body of multipart/byteranges (RFC 9110, 14.6)."""
    for place, (start, end) in enumerate(spans):
        head = "\r\n" if place else ""
        head += f"--{boundary}\r\nContent-Type: {item.content_type}\r\n"
        yield f"{head}Content-Range: bytes {start}-{end}/{item.length}\r\n\r\n".encode()
        yield from _span(database, item, start, end)
    yield f"\r\n--{boundary}--".encode()


def _stored_parts(database: Database, item: Attachment, first: int = 0) -> Iterator[bytes]:
    """The stored bytes; each part is read by itself, so that nothing is locked while a client is slow."""
    number = first
    while row := database.connections.read_row(
        "SELECT data FROM blobs WHERE key = ? AND part = ?", (item.blob, number)
    ):
        yield cast("bytes", row[0])
        number += 1


def _whole(database: Database, item: Attachment, packed: bool) -> Iterator[bytes]:
    parts = _stored_parts(database, item)
    return parts if packed else att.decoded(item, parts)


def _span(database: Database, item: Attachment, start: int, end: int) -> Iterator[bytes]:
    """The bytes from `start` to `end`, both included."""
    place = start - start % PART_SIZE
    for part in _stored_parts(database, item, start // PART_SIZE):
        yield part[max(start - place, 0) : end + 1 - place]
        place += len(part)
        if place > end:
            return


def _ranges(header: str | None, length: int) -> list[tuple[int, int]]:
    """The first and last byte of each range; empty if the whole attachment should be sent.

    Raises:
        Problem: 416, a range lies beyond the end.
    """
    if header is None or not header.startswith("bytes="):
        return []
    found = [_range(part.strip(), length) for part in header[6:].split(",")]
    known = [span for span in found if span is not None]
    # A range that cannot be understood is ignored: the whole attachment is sent (RFC 9110, 14.2).
    return known if len(known) == len(found) < _MAX_RANGES else []


def _range(text: str, length: int) -> tuple[int, int] | None:
    """The first and last byte of one range; None if it is not valid or covers everything."""
    first, dash, last = text.partition("-")
    if not dash or not (first + last).isascii() or not (first + last).isdigit() or len(text) > 40:
        return None
    if not first:
        start, end = max(length - int(last), 0), length - 1
    else:
        start, end = int(first), min(int(last), length - 1) if last else length - 1
    if start >= length or end < start:
        raise Problem(416, "requested_range_not_satisfiable", "Requested range not satisfiable")
    return None if (start, end) == (0, length - 1) and not last else (start, end)


# ---------------------------------------------------------------- writing


def _new(request: Request, name: str) -> NewAttachment:
    """The attachment in a request; this runs in a thread, since compressing takes time."""
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("identity", "gzip"):
        raise bad_content_type("Only gzip and identity content-encodings are supported")
    kind = request.headers.get("Content-Type", "application/octet-stream")
    data = request.file if request.file is not None else Spool(bytes(request.body))
    return att.new_attachment(name, kind, data, encoding=coding)


def _base(database: Database, doc_id: str, rev: str | None) -> tuple[Draft, list[Attachment]]:
    """A draft that repeats a revision, and that revision's attachments; without a revision, a new document.

    Raises:
        Problem: 409, the revision does not exist.
    """
    if rev is None:
        return Draft(doc_id), []
    with database.connections.read() as connection:
        stored = database.stored(doc_id, connection)
        found = database.revision(stored.tree, rev, connection) if stored else None
    if found is None:
        # CouchDB answers like this: with the status of a conflict, but the error of something missing.
        raise Problem(409, "not_found", "missing_rev")
    body, kept = found
    return Draft(doc_id, rev, body=loads(body), text=body), kept


def _as_stub(item: Attachment) -> NewAttachment:
    return NewAttachment(item.name, item.content_type, item.revpos, item.digest, item.length, -1, "stub", None)


async def put_attachment(couch: Couch, request: Request, opened: OpenDatabase, doc_id: str, name: str) -> Reply:
    """Answer PUT: write a new revision of the document that has the attachment."""
    rev = given_revision(request, None)
    draft, kept = _base(opened.database, doc_id, rev)
    new = await couch.in_thread(_new, request, name)
    draft.attachments = [new, *(_as_stub(item) for item in kept if item.name != name)]
    written = await write_draft(couch, request.user, opened, draft)
    location = request.url(opened.database.name, doc_id, name)
    return _written(doc_id, written, 201, {"Location": location})


async def delete_attachment(couch: Couch, request: Request, opened: OpenDatabase, doc_id: str, name: str) -> Reply:
    """Answer DELETE: write a new revision of the document without the attachment."""
    rev = given_revision(request, None)
    if rev is None:
        with opened.database.connections.read() as connection:
            _existing(request, opened.database, doc_id, name, connection)
        raise conflict()
    draft, kept = _base(opened.database, doc_id, rev)
    if name not in [item.name for item in kept]:
        raise not_found("Document is missing attachment")
    draft.attachments = [_as_stub(item) for item in kept if item.name != name]
    written = await write_draft(couch, request.user, opened, draft)
    return _written(doc_id, written, 200, {})


def _written(doc_id: str, rev: str, status: int, headers: dict[str, str]) -> Reply:
    return text_reply(f'{{"ok":true,"id":{dumps(doc_id)},"rev":{dumps(rev)}}}', status, headers)
