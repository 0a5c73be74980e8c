"""Converts documents between JSON and storage: what a client sends, and the text that it gets back."""

from __future__ import annotations

import dataclasses
from typing import Any

from tornado_couch.embedded.jsontext import dumps
from tornado_couch.embedded.problems import Problem, bad_request, illegal_docid
from tornado_couch.embedded.storage.attachments import NewAttachment, parse_attachments
from tornado_couch.embedded.storage.revisions import parse_revision

__all__ = ["Draft", "check_id", "document_text", "draft_of", "is_design", "is_local"]

# Members that a GET may add; CouchDB ignores them in a document that is sent back.
_IGNORED = frozenset({"_revs_info", "_conflicts", "_deleted_conflicts", "_local_seq"})
# Members that the replicator writes into its documents, and others that CouchDB reserves.
_KEPT = frozenset(
    {"_replication_state", "_replication_state_time", "_replication_state_reason", "_replication_id",
     "_replication_start_time", "_replication_stats", "_access"}
)  # fmt: skip


@dataclasses.dataclass(slots=True)
class Draft:
    """A revision that a client wants to be written.

    Attributes:
        id: the document's id; empty if one should be generated.
        rev: the revision that it follows or, without `new_edits`, that it is; None if none was given.
        path: without `new_edits`, the revision and its history, the newest first; empty without `_revisions`.
        deleted: whether it is a tombstone.
        body: the members that do not begin with an underscore.
        text: `body` as JSON.
        attachments: new ones and stubs, in their order.
    """

    id: str
    rev: str | None = None
    path: list[str] = dataclasses.field(default_factory=list)
    deleted: bool = False
    body: dict[str, Any] = dataclasses.field(default_factory=dict)
    text: str = "{}"
    attachments: list[NewAttachment] = dataclasses.field(default_factory=list)


def is_design(doc_id: str) -> bool:
    """Whether the id is that of a design document."""
    return doc_id.startswith("_design/")


def is_local(doc_id: str) -> bool:
    """Whether the id is that of a local document."""
    return doc_id.startswith("_local/")


def check_id(doc_id: Any) -> str:
    """Return the id if a document can have it.

    Raises:
        Problem: 400 illegal_docid.
    """
    if not isinstance(doc_id, str):
        raise illegal_docid("Document id must be a string")
    if not doc_id:
        raise illegal_docid("Document id must not be empty")
    if doc_id[0] == "_":
        if doc_id in ("_design/", "_local/"):
            raise illegal_docid(f"Illegal document id `{doc_id}`")
        if not doc_id.startswith(("_design/", "_local/")):
            raise illegal_docid("Only reserved document ids may start with underscore.")
    return doc_id


def draft_of(value: Any, doc_id: str | None = None) -> Draft:
    """Make a draft of a JSON document; a given `doc_id` takes precedence over its `_id`.

    Raises:
        Problem: 400, this is not a document.
    """
    if not isinstance(value, dict):
        raise bad_request("Document must be a JSON object")
    draft = Draft(doc_id or "")
    special = [name for name in value if name[:1] == "_"]
    for name in special:
        _take(draft, name, value[name], keep_id=doc_id is not None)
    draft.body = {name: item for name, item in value.items() if name[:1] != "_" or name in _KEPT} if special else value
    draft.text = dumps(draft.body)
    return draft


def _take(draft: Draft, name: str, item: Any, keep_id: bool) -> None:
    """Read one member that begins with an underscore."""
    if name == "_id":
        found = check_id(item)
        # The id in the URL counts; a different one in the body is ignored, but must be a valid id.
        draft.id = draft.id if keep_id else found
    elif name == "_rev":
        # Local documents have revisions 0-N, where N is not a hash.
        draft.rev = parse_revision(item) if not str(item).startswith("0-") else str(item)
    # CouchDB accepts true and false, and refuses any other value as an unknown member.
    elif name == "_deleted" and isinstance(item, bool):
        draft.deleted = item
    elif name == "_attachments":
        draft.attachments = parse_attachments(item)
    elif name == "_revisions":
        draft.path = _parse_path(item)
    elif name not in _IGNORED and name not in _KEPT:
        raise Problem(400, "doc_validation", f"Bad special document member: {name}")


def _parse_path(value: Any) -> list[str]:
    """Read the revisions in a `_revisions` member, the newest first."""
    if not isinstance(value, dict):
        raise Problem(400, "doc_validation", "Bad special document member: _revisions")
    start, ids = value.get("start"), value.get("ids")
    if not isinstance(start, int) or isinstance(start, bool):
        raise Problem(400, "doc_validation", "_revisions.start isn't an integer.")
    if not isinstance(ids, list):
        raise Problem(400, "doc_validation", "_revisions.ids isn't a array.")
    if not all(isinstance(digest, str) for digest in ids) or start < len(ids):
        raise Problem(400, "doc_validation", "RevId isn't a string")
    return [parse_revision(f"{start - place}-{digest}") for place, digest in enumerate(ids)]


def document_text(
    doc_id: str, rev: str, body: str, *, deleted: bool = False, extra: dict[str, Any] | None = None
) -> str:
    """Write a document as JSON text: `_id` and `_rev`, the stored members as they are, then `extra`."""
    head = f'{{"_id":{dumps(doc_id)},"_rev":{dumps(rev)}'
    if deleted:
        head += ',"_deleted":true'
    if body != "{}":
        head += "," + body[1:-1]
    if extra:
        head += "," + dumps(extra)[1:-1]
    return head + "}"
