"""The conflicts of a document, as an API document tells of them; pure."""

from __future__ import annotations

from typing import Any

from .components import Schema
from .operation import ApiOperation

__all__ = ["describe_conflicts", "describe_resolution"]

_FAULTS: Schema = {
    "type": "array",
    "description": "Why the rules cannot decide.",
    "items": {
        "type": "object",
        "required": ["pointer", "detail"],
        "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
    },
}


def describe_conflicts(operation: ApiOperation) -> None:
    """Describe `GET {path}/{key}/conflicts`."""
    words = "Its leaves, the winning one first, each with its entity tag; and what the merge rules make of them."
    operation.says(f"List the conflicting leaves of {operation.one}", words)
    operation.takes("If-None-Match", "If-Match")
    schema = operation.of_model().other("Conflicts", lambda: _conflicts(operation))
    operation.answers_with(200, "The leaves.", schema, "ETag", "Cache-Control", "Vary")
    operation.answers_with(304, "It is still what `If-None-Match` names.", None, "ETag", "Cache-Control", "Vary")
    operation.fails(404)
    operation.problem("malformed-entity-tag", "revision-mismatch")
    operation.answers[412].fields["ETag"] = None
    operation.problem("unreadable-document", "unsupported-version", "tampered-document")


def _conflicts(operation: ApiOperation) -> Schema:
    shown = operation.of_model().shown()
    leaf = {
        "type": "object",
        "required": ["_etag", "document"],
        "properties": {"_etag": {"type": "string", "description": "Its entity tag."}, "document": shown},
    }
    withheld = "Leaves that cannot be read or verified, or are not for the caller."
    merge = {
        "type": "object",
        "description": "What the rules make of the leaves; not there where there is one leaf.",
        "properties": {"document": shown, "errors": _FAULTS},
    }
    return {
        "type": "object",
        "required": ["items"],
        "properties": {
            "items": {"type": "array", "items": leaf, "minItems": 1},
            "withheld": {"type": "integer", "minimum": 1, "description": withheld},
            "merge": merge,
        },
    }


def describe_resolution(operation: ApiOperation) -> None:
    """Describe `POST {path}/{key}/conflicts`."""
    schemas = operation.of_model()
    operation.says(
        f"Decide between the conflicting leaves of {operation.one}",
        "By the merge rules, for one of the leaves, or for a document that takes the place of all.",
    )
    operation.takes("If-Match", "Prefer")
    operation.parameters["header", "If-Match"]["required"] = True  # 428 without
    operation.takes_body(schemas.other("Decision", lambda: _decision(schemas.replace())))
    fields = ("ETag", "Content-Location", "Cache-Control", "Vary")
    operation.answers_with(200, "The document as it is now.", schemas.shown(), *fields)
    words = "Done; `Prefer: return=minimal` asked for no document."
    operation.answers_with(204, words, None, "ETag", "Content-Location", "Preference-Applied")
    operation.problem("malformed-body", "too-many-members", "key-mismatch")
    operation.problem("malformed-entity-tag", "revision-mismatch", "if-match-required", "unmergeable", "validation")
    operation.answers[412].fields["ETag"] = False
    operation.problem("unreadable-document", "unsupported-version", "tampered-document")
    operation.problem("contended", "outcome-unknown", "refused-by-database")
    operation.fails(404)
    operation.fails(413)
    operation.fails(415, fields=["Accept-Post", "Accept-Encoding"])


def _decision(document: Schema) -> Schema:
    members: dict[str, Any] = {
        "merge": {"type": "boolean", "const": True},
        "leaf": {"type": "string", "description": "A leaf's entity tag, or its revision."},
        "document": document,
    }
    choices = [
        {"type": "object", "required": [name], "properties": {name: each}, "additionalProperties": False}
        for name, each in members.items()
    ]
    return {"oneOf": choices}
