"""What all requests that write a document need: the revision that they name, and the answer."""

from __future__ import annotations

from tornado_couch.embedded.jsontext import dumps
from tornado_couch.embedded.messages import Reply, Request, text_reply
from tornado_couch.embedded.problems import bad_request
from tornado_couch.embedded.storage.databases import OpenDatabase
from tornado_couch.embedded.storage.revisions import parse_revision

__all__ = ["given_revision", "written_reply"]


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
    return text_reply(f'{{"ok":true,"id":{dumps(doc_id)},"rev":"{rev}"}}', status, headers)
