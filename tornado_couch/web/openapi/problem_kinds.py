"""Every kind of problem that the package answers with: its status, and the members it has beyond the common ones; pure.

A test holds this table against the code.
"""

from __future__ import annotations

from http.client import responses
from typing import Any, NamedTuple

from .components import Components, Schema

__all__ = ["KINDS", "Kind", "any_problem", "problem_schema"]

_TITLES = {**responses, 413: "Content Too Large", 422: "Unprocessable Content"}

_TEXT: Schema = {"type": "string"}
_FAULT: Schema = {
    "type": "object",
    "required": ["pointer", "keyword", "detail"],
    "properties": {
        "pointer": {**_TEXT, "description": "Where, as a JSON Pointer (RFC 6901) into the body."},
        "keyword": {**_TEXT, "description": "What it violates: a keyword of JSON Schema, or the like."},
        "detail": {**_TEXT, "description": "What would be right."},
    },
}
_PARAMETER = {"parameter": {**_TEXT, "description": "The parameter that is meant."}}


class Kind(NamedTuple):
    """A kind of problem.

    Attributes:
        status: that it is answered with.
        description: when.
        members: further members of the problem, by their schemas.
        required: those that it always has.
    """

    status: int
    description: str
    members: dict[str, Schema] = {}  # noqa: RUF012 - of a tuple, and never changed
    required: tuple[str, ...] = ()


KINDS: dict[str, Kind] = {
    "authentication-required": Kind(401, "This needs credentials."),
    "bad-parameter": Kind(
        400,
        "A parameter is unknown, or its value is none.",
        {**_PARAMETER, "allowed": {"type": "array", "items": _TEXT, "description": "What there is."}},
        ("parameter",),
    ),
    "bad-preference": Kind(400, "With `handling=strict`, a preference that is not known."),
    "busy": Kind(503, "Too many passwords are being checked."),
    "contended": Kind(503, "Too many writers at once; nothing was written."),
    "database-timeout": Kind(504, "The database did not answer in time."),
    "database-unavailable": Kind(503, "The database cannot be used at the moment."),
    "empty-bulk": Kind(400, "There is nothing in it to do."),
    "exists": Kind(409, "A document with that key exists already."),
    "idempotency-key-for-many": Kind(400, "A key is for one document."),
    "idempotency-key-reused": Kind(422, "The key was used with another body."),
    "idempotent-request-running": Kind(409, "The first request with this key is still running."),
    "idempotent-result-gone": Kind(410, "What was created with this key has been deleted since."),
    "if-match-required": Kind(428, "If-Match must say which revision the change is meant for."),
    "invalid-credentials": Kind(401, "The credentials are malformed, wrong or expired."),
    "key-mismatch": Kind(400, "The key in the body is not that in the URL."),
    "malformed-body": Kind(400, "The body is not JSON, or not JSON that means one thing only."),
    "malformed-entity-tag": Kind(400, "If-Match or If-None-Match is no list of entity tags."),
    "malformed-idempotency-key": Kind(400, "Idempotency-Key is no string of 1 to 255 characters."),
    "malformed-path": Kind(400, "A `%` in the path is not followed by two hexadecimal digits."),
    "no-index": Kind(
        400,
        "No index serves these filters in this order.",
        {**_PARAMETER, "declaration": {**_TEXT, "description": "What the model would need."}},
        ("parameter",),
    ),
    "outcome-unknown": Kind(503, "The database did not say whether the change was written."),
    "patch-test-failed": Kind(409, "A `test` of the patch does not hold."),
    "quota-exceeded": Kind(
        429, "Too many requests.", {"violated-policies": {"type": "array", "items": _TEXT}}, ("violated-policies",)
    ),
    "refused-by-database": Kind(403, "The database refused this change."),
    "revision-mismatch": Kind(412, "The document has another revision than the preconditions allow."),
    "tampered-document": Kind(502, "The stored document is not what the service wrote."),
    "too-many-items": Kind(
        413, "More documents than one request may have.", {"limit": {"type": "integer"}}, ("limit",)
    ),
    "too-many-members": Kind(413, "The body has too many members."),
    "unmergeable": Kind(
        409,
        "The merge rules cannot decide between the leaves.",
        {"errors": {"type": "array", "items": {**_FAULT, "required": ["pointer", "detail"]}}},
        ("errors",),
    ),
    "unreadable-document": Kind(502, "The stored document cannot be read."),
    "unsupported-version": Kind(502, "The stored document is of another version than the service can read."),
    "validation": Kind(
        422, "The values do not satisfy the schema.", {"errors": {"type": "array", "items": _FAULT}}, ("errors",)
    ),
}


def any_problem(components: Components) -> Schema:
    """A reference to the schema of problems of whatever kind."""
    members = {"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT, "instance": _TEXT}
    schema = {
        "type": "object",
        "description": "Problem details (RFC 9457).",
        "required": list(members),
        "properties": members,
    }
    return components.put("schemas", "Problem", schema)


def problem_schema(components: Components, status: int, kind: str) -> Schema:
    """A reference to the schema of a kind of problem; of an empty one, to that of "about:blank" with this status."""
    known = KINDS.get(kind, Kind(status, ""))
    title = _TITLES.get(status, "Unknown")
    words = kind.replace("-", " ") if kind else title
    name = components.name("schemas", f"{''.join(word.capitalize() for word in words.split())}Problem", (status, kind))
    if components.has("schemas", name):
        return {"$ref": f"#/components/schemas/{name}"}
    uri = f"urn:tornado-couch:problem:{kind}" if kind else "about:blank"
    # The type as a constant lets a client tell kinds of one status apart, and parse what is specific to each.
    common: Schema = {
        "type": {"type": "string", "const": uri},
        "title": {"type": "string", "examples": [title]},
        "status": {"type": "integer", "const": status},
        "detail": {"type": "string", "examples": [known.description or f"{title}."]},
        "instance": {"type": "string", "description": "The path that was asked for."},
    }
    schema: dict[str, Any] = {
        "type": "object",
        "description": f"{known.description or title} (RFC 9457)",
        "required": [*common, *known.required],
        "properties": {**common, **known.members},
    }
    return components.put("schemas", name, schema)
