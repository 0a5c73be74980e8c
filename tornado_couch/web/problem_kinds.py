"""Every kind of problem that the package answers with; pure.

This is the one place for a kind's status: `Problem.of(kind)` takes it from here, and so does the API document.
"""

from __future__ import annotations

from http.client import responses
from typing import Any, NamedTuple

__all__ = ["KINDS", "Kind", "title"]

_TEXT: dict[str, Any] = {"type": "string"}
_FAULT: dict[str, Any] = {
    "type": "object",
    "required": ["pointer", "keyword", "detail"],
    "properties": {
        "pointer": {**_TEXT, "description": "The place in the body, as a JSON Pointer (RFC 6901)."},
        "keyword": {**_TEXT, "description": "What it violates: a keyword of JSON Schema, or a word like one."},
        "detail": {**_TEXT, "description": "A sentence that says what would be valid."},
    },
}
_PARAMETER = {"parameter": {**_TEXT, "description": "The name of the parameter."}}


class Kind(NamedTuple):
    """A kind of problem.

    Attributes:
        status: the HTTP status of the answer.
        detail: the sentence that a client gets where the code has nothing more precise to say; the API document
            describes the kind by it.
        members: the schemas of further members of the problem, by name.
        required: the names of the further members that the problem always has.
    """

    status: int
    detail: str
    members: dict[str, dict[str, Any]] = {}  # noqa: RUF012 - of a tuple, and never changed
    required: tuple[str, ...] = ()


KINDS: dict[str, Kind] = {
    "authentication-required": Kind(401, "This needs credentials."),
    "bad-parameter": Kind(
        400,
        "A parameter is unknown, or its value is not valid.",
        {
            **_PARAMETER,
            "allowed": {"type": "array", "items": _TEXT, "description": "The names or values that are allowed."},
        },
        ("parameter",),
    ),
    "bad-preference": Kind(400, "With `handling=strict`, every preference must be one that the service knows."),
    "busy": Kind(503, "Too many passwords are being checked."),
    "contended": Kind(503, "Too many clients write to this document at once. Nothing was written; try again."),
    "database-timeout": Kind(504, "The service's database did not answer in time."),
    "database-unavailable": Kind(503, "The service's database cannot be used at the moment. Try again later."),
    "empty-bulk": Kind(400, "The request contains no operations."),
    "exists": Kind(409, "A document with that key exists already."),
    "idempotency-key-for-many": Kind(400, "An Idempotency-Key covers one document, and this request has several."),
    "idempotency-key-reused": Kind(422, "This Idempotency-Key was used with another body."),
    "idempotent-request-running": Kind(409, "The first request with this Idempotency-Key is still running."),
    "idempotent-result-gone": Kind(
        410, "The document that was created with this Idempotency-Key has been deleted since."
    ),
    "if-match-required": Kind(428, "If-Match must name the revision that the change is meant for."),
    "invalid-credentials": Kind(401, "The credentials are malformed, wrong or expired."),
    "invalid-document": Kind(
        502,
        "The stored document does not fit its model; see `errors`. It can be replaced and deleted.",
        {"errors": {"type": "array", "items": _FAULT}},
    ),
    "key-mismatch": Kind(400, "The key in the body differs from the key in the URL."),
    "malformed-body": Kind(400, "The body is not JSON, or is ambiguous JSON."),
    "malformed-entity-tag": Kind(400, "If-Match or If-None-Match is not a list of entity tags."),
    "malformed-idempotency-key": Kind(400, "Idempotency-Key must be a string of 1 to 255 characters."),
    "malformed-path": Kind(400, "A `%` in the path is not followed by two hexadecimal digits."),
    "no-conflict": Kind(409, "The document is not in conflict, so there is nothing to decide. Nothing was written."),
    "no-index": Kind(
        400,
        "No index serves these filters in this order.",
        {**_PARAMETER, "declaration": {**_TEXT, "description": "The declaration that the model would need."}},
        ("parameter",),
    ),
    "outcome-unknown": Kind(
        503,
        "It is not known whether the change was stored: the database's answer was lost. Read before you send it again.",
    ),
    "patch-test-failed": Kind(409, "A `test` of the patch does not hold; GET the document again."),
    "quota-exceeded": Kind(
        429, "Too many requests.", {"violated-policies": {"type": "array", "items": _TEXT}}, ("violated-policies",)
    ),
    "refused-by-database": Kind(
        403,
        "The database refused this change.",
        {"reason": {"description": "What the database's own check says, as JSON."}},
    ),
    "revision-mismatch": Kind(412, "The document has another revision; GET it again."),
    "tampered-document": Kind(502, "The stored document is not what this service wrote."),
    "too-many-items": Kind(
        413, "More documents than one request may have.", {"limit": {"type": "integer"}}, ("limit",)
    ),
    "too-many-members": Kind(413, "The body has too many members."),
    "unmergeable": Kind(
        409,
        "The merge rules cannot decide between the leaves; see `errors`.",
        {"errors": {"type": "array", "items": {**_FAULT, "required": ["pointer", "detail"]}}},
        ("errors",),
    ),
    "unreadable-document": Kind(502, "The stored document cannot be decrypted."),
    "unsupported-version": Kind(502, "The stored document is of a version that this service does not know."),
    "validation": Kind(
        422,
        "The values do not satisfy the schema; see `errors`.",
        {
            "errors": {"type": "array", "items": _FAULT, "maxItems": 100},
            "more_errors": {"type": "integer", "description": "How many errors there are beyond those listed."},
        },
        ("errors",),
    ),
}

# Python before 3.13 has the names of RFC 7231 for these.
_TITLES = {**responses, 413: "Content Too Large", 422: "Unprocessable Content"}


def title(status: int) -> str:
    """The name of an HTTP status (RFC 9110 §15)."""
    return _TITLES.get(status, "Unknown")
