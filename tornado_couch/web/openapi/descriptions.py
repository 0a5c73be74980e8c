"""The parts that the descriptions of several actions share; pure."""

from __future__ import annotations

from typing import Any

from ..body import ACCEPT_FIELDS
from .components import Schema
from .operation import Answer, ApiOperation

__all__ = [
    "JSON_PATCH_SCHEMA",
    "answer_minimal",
    "describe_body",
    "describe_change",
    "describe_common",
    "describe_reading",
    "describe_stored",
    "describe_writing",
    "or_refused",
    "prefer_document",
]

_POINTER: dict[str, Any] = {"type": "string", "format": "json-pointer"}


def _patch_operation(names: list[str], **members: dict[str, Any]) -> dict[str, Any]:
    """The schema of operations of a JSON patch (RFC 6902 §4) that have these members besides `op` and `path`."""
    found = {"op": {"type": "string", "enum": names}, "path": _POINTER, **members}
    return {"type": "object", "required": list(found), "properties": found}


JSON_PATCH_SCHEMA: dict[str, Any] = {
    "type": "array",
    "description": "A JSON patch (RFC 6902); its pointers are into what a GET shows.",
    "examples": [[{"op": "test", "path": "/name", "value": "old"}, {"op": "replace", "path": "/name", "value": "new"}]],
    "items": {
        "oneOf": [
            _patch_operation(["add", "replace", "test"], value={"description": "Any JSON value."}),
            _patch_operation(["move", "copy"], **{"from": _POINTER}),
            _patch_operation(["remove"]),
        ]
    },
}


def describe_common(operation: ApiOperation) -> None:
    """Describe what every request to a resource can be answered with."""
    action = operation.row
    if action is None or action.answers:
        operation.fails(406)
    if operation.method not in ("GET", "HEAD", "OPTIONS"):
        operation.problem("bad-parameter")
        if operation.settings.get("xsrf_cookies"):
            operation.problem("cross-site-request")
    if operation.resource.parents:
        operation.fails(404)
    operation.fails(500)
    operation.fails(400)  # of Tornado itself: a path that is not UTF-8, for example
    operation.problem("malformed-path", "bad-preference", "database-unavailable", "database-timeout")
    operation.answers[503].fields["Retry-After"] = True
    operation.answers[504].fields["Retry-After"] = True


def describe_reading(operation: ApiOperation, description: str, schema: dict[str, Any], *fields: str) -> Answer:
    """Describe what GETs have in common, and return the answer."""
    operation.takes("If-None-Match", "If-Match")
    words = "Not modified: `If-None-Match` names the current entity tag."
    operation.answers_with(304, words, None, "ETag", "Cache-Control", "Vary", *fields)
    operation.problem("malformed-entity-tag", "revision-mismatch", "bad-parameter")
    operation.answers[412].fields["ETag"] = None
    return operation.answers_with(200, description, schema, "ETag", "Cache-Control", "Vary", *fields)


def describe_stored(operation: ApiOperation) -> None:
    """Describe the problems of a stored document that cannot be read, or not at the moment."""
    operation.problem("invalid-document", "unreadable-document", "unsupported-version", "tampered-document")
    operation.problem("overloaded")


def describe_body(operation: ApiOperation) -> None:
    """Describe the problems of a body that cannot be read."""
    operation.problem("malformed-body", "too-many-members")
    operation.fails(413)
    accepted = ACCEPT_FIELDS.get(operation.method)
    operation.fails(415, fields=[*([accepted] if accepted else []), "Accept-Encoding"])


def describe_writing(operation: ApiOperation) -> None:
    """Describe what the writes have in common."""
    operation.problem("contended", "outcome-unknown", "refused-by-database")
    operation.fails(401, "refused-by-database", fields=["WWW-Authenticate"])
    operation.fails(504, "outcome-unknown")  # where the database was too slow to say it


def describe_change(operation: ApiOperation) -> None:
    """Describe what the writes to one document have in common."""
    operation.takes("If-Match", "If-None-Match")
    operation.problem("malformed-entity-tag", "revision-mismatch")
    operation.answers[412].fields["ETag"] = False
    if operation.resource.modified:
        operation.takes("If-Unmodified-Since")
    operation.fails(404)
    if operation.resource.require_if_match:
        operation.problem("if-match-required")
    describe_stored(operation)
    describe_writing(operation)


def answer_minimal(operation: ApiOperation) -> None:
    """Describe the answer without the document."""
    operation.takes("Prefer")
    words = "Done; `Prefer: return=minimal` asked for no document."
    operation.answers_with(204, words, None, "ETag", "Preference-Applied")


def prefer_document(operation: ApiOperation) -> None:
    """Describe Prefer where a 201 may follow; its example is not `return=minimal`, since then a 201 has no body.

    OpenAPI cannot say that a body depends on a field of the request, so a tool that tries examples would miss it.
    """
    operation.takes("Prefer")
    found = operation.parameters["header", "Prefer"]
    found["schema"] = {**found["schema"], "examples": ["return=representation"]}


def or_refused(schema: Schema) -> Schema:
    """Return the schema of one of many: anything is accepted, and the result says what is wrong with it."""
    return {"anyOf": [schema, {"description": "Anything else has a problem as its result, and changes nothing."}]}
