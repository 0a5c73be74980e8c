"""Reads and writes multipart bodies: documents with attachments (related), several documents (mixed), HTML forms."""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

from tornado_couch.embedded.jsontext import dumps, loads
from tornado_couch.embedded.messages import Reply, Request
from tornado_couch.embedded.problems import Problem, bad_request, missing
from tornado_couch.embedded.spool import Spool
from tornado_couch.embedded.storage import attachments as att
from tornado_couch.embedded.storage import revisions
from tornado_couch.embedded.storage.database import Database, ReadOptions, Stored
from tornado_couch.embedded.storage.documents import Draft, document_text, draft_of

__all__ = [
    "Part",
    "assemble",
    "error_part",
    "mixed_parts",
    "mixed_reply",
    "parts_of",
    "refuse_follows",
    "related_draft",
    "related_reply",
    "wanted",
]


def wanted(request: Request, *kinds: str) -> bool:
    """Whether the client accepts one of these media types by name."""
    accepted = request.headers.get("Accept", "*/*")
    return any(kind in accepted for kind in kinds)


# ---------------------------------------------------------------- reading


class Part(NamedTuple):
    """One part of a multipart body: its headers, with lowercase names, and its bytes."""

    headers: dict[str, str]
    data: bytes

    def filename(self) -> str | None:
        """The file name in Content-Disposition."""
        return self.disposition("filename")

    def disposition(self, name: str) -> str | None:
        """A parameter of Content-Disposition."""
        return _parameter(self.headers.get("content-disposition", ""), name)


def _parameter(header: str, name: str) -> str | None:
    found = re.search(rf'[;\s]{name}=(?:"((?:[^"\\]|\\.)*)"|([^\s;]+))', header)
    if found is None:
        return None
    return re.sub(r"\\(.)", r"\1", found[1]) if found[1] is not None else found[2]


def parts_of(request: Request) -> list[Part]:
    """Split the request's body into its parts.

    Raises:
        Problem: 400, the body is not multipart.
    """
    boundary = _parameter(request.headers.get("Content-Type", ""), "boundary")
    if not boundary:
        raise bad_request("multipart body without a boundary")
    mark = b"\r\n--" + boundary.encode()
    pieces = (b"\r\n" + bytes(request.body)).split(mark)
    if len(pieces) < 3 or not pieces[-1].startswith(b"--"):
        raise bad_request("The multipart body is cut off")
    return [_part(piece) for piece in pieces[1:-1]]


def _part(piece: bytes) -> Part:
    if piece.startswith(b"\r\n\r\n"):
        return Part({}, piece[4:])
    head, found, data = piece.partition(b"\r\n\r\n")
    if not found:
        raise bad_request("A part of the multipart body has no end of its headers")
    lines = [line.partition(":") for line in head.decode("utf-8", "replace").split("\r\n") if line.strip()]
    return Part({name.strip().lower(): value.strip() for name, _, value in lines}, data)


def related_draft(request: Request, doc_id: str) -> Draft:
    """The document in a multipart/related body; the parts after it are the attachments that follow.

    Raises:
        Problem: 400, the parts and `_attachments` do not fit together.
    """
    first, *rest = parts_of(request)
    content = loads(first.data)
    draft = draft_of(content, doc_id)
    said = content.get("_attachments", {})
    by_name = {part.filename(): part for part in rest if part.filename()}
    nameless = [part for part in rest if not part.filename()]
    for place, item in enumerate(draft.attachments):
        if item.encoding != "follows":
            continue
        part = by_name.pop(item.name, None) or (nameless.pop(0) if nameless else None)
        if part is None:
            raise bad_request(f"The data of the attachment {item.name} does not follow")
        draft.attachments[place] = _followed(item, part, said[item.name])
    return draft


def _followed(item: att.NewAttachment, part: Part, said: dict[str, Any]) -> att.NewAttachment:
    """An attachment with its data; `said` is its entry in the document.

    Raises:
        Problem: 400, there is less than was said, or 500, as CouchDB answers if the digest is another one.
    """
    coded = "gzip" in (part.headers.get("content-encoding"), said.get("encoding"))
    sent = said.get("encoded_length" if coded else "length", len(part.data))
    if isinstance(sent, int) and len(part.data) < sent:
        raise bad_request("attachment shorter than expected")
    encoding = "gzip" if coded else "identity"
    new = att.new_attachment(item.name, item.content_type, Spool(part.data), revpos=item.revpos, encoding=encoding)
    if item.digest not in ("", new.digest) and new.encoding == encoding:
        raise Problem(500, "unknown_error", "function_clause")
    return new._replace(length=said["length"]) if coded and isinstance(said.get("length"), int) else new


def refuse_follows(draft: Draft) -> None:
    """Refuse an attachment whose data should follow if nothing can follow.

    Raises:
        Problem: 400.
    """
    for item in draft.attachments:
        if item.encoding == "follows":
            raise bad_request(f"The data of the attachment {item.name} does not follow")


# ---------------------------------------------------------------- writing


def _document_part(
    database: Database, stored: Stored, rev: str, options: ReadOptions, connection: sqlite3.Connection
) -> tuple[str, list[att.Attachment]]:
    """The JSON text of a revision whose attachments follow, with those attachments."""
    found = database.revision(stored.tree, rev, connection)
    if found is None:
        raise missing()
    plain = database.text(stored, rev, options._replace(attachments=False, atts_since=None), connection) or "{}"
    if not found[1] or not (options.attachments or options.atts_since is not None):
        return plain, []
    document = json.loads(plain)
    path = revisions.ancestry(stored.tree, rev)
    since = max((revisions.sort_key(item)[0] for item in path if item in (options.atts_since or ())), default=0)
    following = [item for item in found[1] if item.revpos > since]
    for item in following:
        document["_attachments"][item.name] = _follows(item)
    bare = {name: value for name, value in document.items() if name not in ("_id", "_rev", "_deleted")}
    deleted = stored.tree[rev].deleted
    return document_text(stored.id, rev, "{}", deleted=deleted, extra=bare), following


def _follows(item: att.Attachment) -> dict[str, Any]:
    entry = {**att.stub(item, encoding_info=True), "follows": True}
    del entry["stub"]
    return entry


def _related_pieces(
    database: Database, text: str, following: list[att.Attachment], boundary: str, connection: sqlite3.Connection
) -> Iterator[bytes]:
    """A multipart/related body."""
    yield f"--{boundary}\r\nContent-Type: application/json\r\n\r\n{text}".encode()
    for item in following:
        name = item.name.replace("\\", "\\\\").replace('"', '\\"').replace("\r", "").replace("\n", "")
        head = (
            f'\r\n--{boundary}\r\nContent-Disposition: attachment; filename="{name}"\r\n'
            f"Content-Type: {item.content_type}\r\nContent-Length: {item.stored}\r\n"
        )
        head += "Content-Encoding: gzip\r\n" if item.encoding == "gzip" else ""
        yield (head + "\r\n").encode()
        yield from database.blob_parts(item, connection)
    yield f"\r\n--{boundary}--".encode()


def related_reply(
    database: Database, stored: Stored, rev: str, options: ReadOptions, connection: sqlite3.Connection
) -> Reply | None:
    """A document with its attachments as multipart/related; None if no attachments would follow."""
    text, following = _document_part(database, stored, rev, options, connection)
    if not following:
        return None
    boundary = secrets.token_hex(16)
    body = b"".join(_related_pieces(database, text, following, boundary, connection))
    kind = f'multipart/related; boundary="{boundary}"'
    return Reply(200, body, {"Content-Type": kind, "ETag": f'"{rev}"'})


def error_part(text: str) -> bytes:
    """A part of multipart/mixed that says that something is missing."""
    return b'Content-Type: application/json; error="true"\r\n\r\n' + text.encode()


def mixed_parts(
    database: Database, stored: Stored | None, found: list[tuple[str, bool]], options: ReadOptions,
    connection: sqlite3.Connection,
) -> Iterator[bytes]:  # fmt: skip
    """The parts of multipart/mixed for revisions of a document.

    Attachments are always included: CouchDB's replicator relies on that.
    """
    options = options._replace(attachments=options.atts_since is None)
    for rev, there in found:
        if stored is None or not there or stored.tree[rev].body is None:
            yield error_part(f'{{"missing":{dumps(rev)}}}')
            continue
        text, following = _document_part(database, stored, rev, options, connection)
        if not following:
            yield b"Content-Type: application/json\r\n\r\n" + text.encode()
            continue
        boundary = secrets.token_hex(16)
        body = b"".join(_related_pieces(database, text, following, boundary, connection))
        yield f'Content-Type: multipart/related; boundary="{boundary}"\r\n\r\n'.encode() + body


def assemble(kind: str, parts: list[bytes]) -> Reply:
    """Make a multipart reply of complete parts."""
    boundary = secrets.token_hex(16)
    mark = f"--{boundary}".encode()
    body = b"".join(mark + b"\r\n" + part + b"\r\n" for part in parts) + mark + b"--"
    return Reply(200, body, {"Content-Type": f'multipart/{kind}; boundary="{boundary}"'})


def mixed_reply(
    database: Database, stored: Stored | None, found: list[tuple[str, bool]], options: ReadOptions,
    connection: sqlite3.Connection,
) -> Reply:  # fmt: skip
    """Revisions of a document as multipart/mixed."""
    return assemble("mixed", list(mixed_parts(database, stored, found, options, connection)))
