"""Describes the conflicts of a document in an API document."""

from __future__ import annotations

from typing import Any

from .components import Schema
from .operation import ApiOperation

__all__ = ["describe_conflicts", "describe_resolution"]

_FAULTS: Schema = {
    "type": "array",
    "description": "The reasons why the merge rules cannot decide.",
    "items": {
        "type": "object",
        "required": ["pointer", "detail"],
        "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
    },
}


def describe_conflicts(operation: ApiOperation) -> None:
    """Describe `GET {path}/{key}/conflicts`."""
    words = "Its leaves with their entity tags, the winning one first, and the result of the merge rules."
    operation.says("List the conflicting revisions of a document", words)
    operation.takes("If-None-Match", "If-Match")
    schema = operation.of_model().other("Conflicts", lambda: _conflicts(operation))
    operation.answers_with(200, "The leaves of the document.", schema, "ETag", "Cache-Control", "Vary")
    operation.answers_with(304, "`If-None-Match` names their entity tag.", None, "ETag", "Cache-Control", "Vary")
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
    withheld = "The number of leaves that cannot be read or verified, or that the caller may not see."
    merge = {
        "type": "object",
        "description": "The document that the rules merge the leaves into; missing if there is only one leaf.",
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
        "Resolve the conflicting revisions of a document",
        "Merge them by the rules, choose one of them, or send a document that replaces all of them.",
    )
    operation.takes("If-Match", "Prefer")
    operation.parameters["header", "If-Match"]["required"] = True  # without it the answer is 428
    operation.takes_body(schemas.other("Decision", lambda: _decision(schemas.replace())))
    fields = ("ETag", "Content-Location", "Cache-Control", "Vary")
    operation.answers_with(200, "The document as it is now.", schemas.shown(), *fields)
    words = "Done; because of `Prefer: return=minimal` the answer has no body."
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
