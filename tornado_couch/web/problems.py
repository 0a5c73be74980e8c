"""Problem details (RFC 9457) for every error, and the one table of kinds with their statuses."""

from __future__ import annotations

import logging
from http.client import responses
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from tornado.web import HTTPError, RequestHandler

from .. import _json, errors
from .proxies import public_prefix

if TYPE_CHECKING:
    from .openapi.operation import ApiOperation

__all__ = [
    "KINDS",
    "Kind",
    "Problem",
    "ProblemHandler",
    "implemented_methods",
    "log_problem",
    "problem_of",
    "send_problem",
    "title",
    "write_problem",
]


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
    "action-refused": Kind(409, "The state of the document does not allow this. Nothing was written."),
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
    "cross-site-request": Kind(
        403,
        "This may have been sent by the page of another site. Send the value of the cookie `_xsrf` as X-XSRFToken,"
        " or a bearer token.",
    ),
    "database-timeout": Kind(504, "The service's database did not answer in time."),
    "database-unavailable": Kind(503, "The service's database cannot be used at the moment. Try again later."),
    "dependents-left": Kind(
        409,
        "More documents refer to this one than one request changes. Some were changed; send it again to go on.",
    ),
    "empty-bulk": Kind(400, "The request contains no operations."),
    "exists": Kind(409, "A document with that key exists already."),
    "file-content": Kind(415, "The content of the file is not what its media type says."),
    "file-mismatch": Kind(412, "The file has another entity tag; GET it again."),
    "file-too-large": Kind(413, "The file has too many bytes.", {"limit": {"type": "integer"}}, ("limit",)),
    "file-type": Kind(
        415,
        "The file must have another media type.",
        {"accepted": {"type": "array", "items": _TEXT, "description": "The media types that files have here."}},
        ("accepted",),
    ),
    "filter-required": Kind(400, "A change of many documents needs a filter that says which."),
    "idempotency-key-for-many": Kind(400, "An Idempotency-Key covers one document, and this request has several."),
    "idempotency-key-reused": Kind(422, "This Idempotency-Key was used for another request."),
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
    "not-selected": Kind(409, "The document was changed, and the filter does not select it any more."),
    "outcome-unknown": Kind(
        503,
        "It is not known whether the change was stored: the database's answer was lost. Read before you send it again.",
    ),
    "no-such-tenant": Kind(404, "There is no such tenant."),
    "overloaded": Kind(503, "The service has too many large documents in hand at the moment. Try again later."),
    "patch-test-failed": Kind(409, "A `test` of the patch does not hold; GET the document again."),
    "range-not-satisfiable": Kind(416, "The file has none of these bytes."),
    "quota-exceeded": Kind(
        429, "Too many requests.", {"violated-policies": {"type": "array", "items": _TEXT}}, ("violated-policies",)
    ),
    "referenced": Kind(
        409,
        "Other documents refer to this one, and it was not deleted.",
        {
            "references": {
                "type": "array",
                "items": {"type": "string", "format": "uri-reference"},
                "description": "The first of those documents that the caller may see.",
            },
            "more": {"type": "boolean", "description": "Whether there are others."},
        },
        ("references", "more"),
    ),
    "refused-by-database": Kind(
        403,
        "The database refused this change.",
        {"reason": {"description": "What the database's own check says, as JSON."}},
    ),
    "revision-mismatch": Kind(412, "The document has another revision; GET it again."),
    "tampered-document": Kind(502, "The stored document is not what this service wrote."),
    "tenants-full": Kind(503, "No further tenant can be added. Ask the operator of the service."),
    "tenants-busy": Kind(503, "Too many tenants use the service at the moment. Try again later."),
    "too-many-files": Kind(
        409, "The document has as many files as it may have.", {"limit": {"type": "integer"}}, ("limit",)
    ),
    "too-many-items": Kind(
        413, "More documents than one request may have.", {"limit": {"type": "integer"}}, ("limit",)
    ),
    "too-many-streams": Kind(429, "Too many streams of this caller are open. Close one of them."),
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
_TITLES = {**responses, 413: "Content Too Large", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}


def title(status: int) -> str:
    """The name of an HTTP status (RFC 9110 §15)."""
    return _TITLES.get(status, "Unknown")


logger = logging.getLogger("tornado_couch.web")

_RETRY_AFTER = "1"  # seconds

# The details of problems that come without one, such as Tornado's own errors, whose messages can hold anything.
_DETAILS = {
    400: "The request is malformed.",
    405: "This address does not support the method; see `Allow`.",
    412: "The document has another revision; GET it again.",
    500: "The service failed. Its log says why.",
}


class Problem(HTTPError):
    """An error to answer with.

    Args:
        status: the HTTP status.
        kind: the last part of the problem's `type`; empty for "about:blank", where the status is enough.
        detail: a sentence for the client; it must hold no secret.
        headers: header fields of the answer.
        members: further members of the problem.
    """

    def __init__(
        self,
        status: int,
        kind: str = "",
        detail: str = "",
        *,
        headers: dict[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(status)
        self.kind = kind
        self.detail = detail
        self.headers = headers or {}
        self.members = members

    @classmethod
    def of(cls, kind: str, detail: str = "", *, headers: dict[str, str] | None = None, **members: Any) -> Self:
        """A problem of one of the package's own kinds, which decides the status.

        Args:
            kind: a key of `KINDS`.
            detail: a sentence for the client; without it, the sentence of the kind.
            headers: header fields of the answer.
            members: further members of the problem.
        """
        known = KINDS[kind]
        return cls(known.status, kind, detail or known.detail, headers=headers, **members)

    def body(self, instance: str) -> dict[str, Any]:
        """The problem details object."""
        kind = f"urn:tornado-couch:problem:{self.kind}" if self.kind else "about:blank"
        detail = self.detail or _DETAILS.get(self.status_code, f"{title(self.status_code)}.")
        found = {"type": kind, "title": title(self.status_code), "status": self.status_code, "detail": detail}
        return {**found, "instance": instance, **self.members}


# The first class that fits decides: the kind, and a detail where the kind's own would not be precise enough.
_KINDS_OF_ERRORS: tuple[tuple[type[Exception], str, str], ...] = (
    (errors.ValidationFailed, "validation", ""),
    (errors.PatchTestFailed, "patch-test-failed", ""),
    (errors.Unmergeable, "unmergeable", ""),
    (errors.AttachmentTooLarge, "file-too-large", ""),
    (errors.MediaTypeRefused, "file-type", ""),
    (errors.TooManyAttachments, "too-many-files", ""),
    (errors.AttachmentMismatch, "file-mismatch", ""),
    (errors.DocumentExists, "exists", ""),
    (errors.DependentsLeft, "dependents-left", ""),
    (errors.DocumentReferenced, "referenced", ""),
    (errors.RevisionMismatch, "revision-mismatch", ""),
    (errors.RetriesExhausted, "contended", ""),
    (errors.NoRoom, "overloaded", ""),
    (errors.UnsupportedVersion, "unsupported-version", ""),
    (errors.InvalidDocument, "invalid-document", ""),
    (errors.DecryptionFailed, "unreadable-document", ""),
    (errors.InvalidSignature, "tampered-document", ""),
    (errors.OutcomeUnknown, "outcome-unknown", ""),
    (errors.TimedOut, "database-timeout", ""),
    (errors.Unavailable, "database-unavailable", ""),
    (errors.InvalidReply, "database-unavailable", ""),
    (errors.Forbidden, "refused-by-database", ""),
    (errors.UnauthorizedWrite, "refused-by-database", ""),
    # The service's own account, database or design documents are not in order: for the client an outage.
    (errors.Unauthorized, "database-unavailable", ""),
    (errors.NotFound, "database-unavailable", ""),
    (errors.TooManyRequests, "database-unavailable", ""),
    (errors.Refused, "refused-by-database", ""),
)

# Errors for which the status says it all.
_STATUSES_OF_ERRORS: tuple[tuple[type[Exception], int, str], ...] = (
    (errors.AttachmentNotFound, 404, "There is no such file."),
    (errors.DocumentNotFound, 404, "There is no such document."),
    (errors.TooLarge, 413, "The document is larger than the database accepts."),
    (errors.TooMuchAtOnce, 413, "The documents of this request have too many bytes together; send it in parts."),
)

_MOST_ERRORS = 100  # that one answer lists
# What a function `validate_doc_update` has thrown is meant for whoever sent the document.
_WITH_REASON = (errors.Forbidden, errors.UnauthorizedWrite, errors.CheckFailed)

_FOR_OPERATORS = (errors.CouchError, errors.InvalidDocument, errors.RetriesExhausted, errors.SecurityError)


def problem_of(status: int, error: BaseException | None) -> Problem:
    """The problem that an exception, or a bare status, is answered with."""
    if isinstance(error, Problem):
        return error
    for expected, known_status, detail in _STATUSES_OF_ERRORS:
        if isinstance(error, expected):
            return Problem(known_status, detail=detail)
    if isinstance(error, errors.ActionRefused):
        return Problem.of("action-refused", error.detail)
    for expected, kind, detail in _KINDS_OF_ERRORS:
        if isinstance(error, expected):
            problem = Problem.of(kind, detail)
            if isinstance(error, errors.OutcomeUnknown) and isinstance(error.__cause__, errors.TimedOut):
                problem.status_code = 504
            if isinstance(error, errors.UnauthorizedWrite):
                problem.status_code = 401
            return _with_members(problem, error)
    return Problem(status)


def _with_members(problem: Problem, error: BaseException) -> Problem:
    if problem.status_code in (503, 504):
        problem.headers["Retry-After"] = _RETRY_AFTER
    listed = isinstance(error, errors.ValidationFailed | errors.Unmergeable)
    if listed or (isinstance(error, errors.InvalidDocument) and error.problems):
        problems = error.problems  # type: ignore[attr-defined]
        problem.members["errors"] = problems[:_MOST_ERRORS]
        if isinstance(error, errors.ValidationFailed) and len(problems) > _MOST_ERRORS:
            problem.members["more_errors"] = len(problems) - _MOST_ERRORS
    if isinstance(error, errors.DocumentReferenced):
        problem.members |= {"references": [], "more": True}
    if isinstance(error, _WITH_REASON):
        problem.members["reason"] = error.reason
    if isinstance(error, errors.AttachmentTooLarge | errors.TooManyAttachments):
        problem.members["limit"] = error.limit
    if isinstance(error, errors.MediaTypeRefused):
        problem.members["accepted"] = list(error.accepted)
    if isinstance(error, errors.RevisionMismatch | errors.AttachmentMismatch) and error.current:
        problem.headers["ETag"] = f'"{error.current}"'
    return problem


def send_problem(handler: RequestHandler, status_code: int = 500, **kwargs: Any) -> None:
    """Send the problem that an exception stands for: the `send_error` of a handler."""
    error = (kwargs.get("exc_info") or (None, None))[1]
    problem = problem_of(status_code, error)
    if problem.kind == "refused-by-database" and handler.request.method in ("GET", "HEAD"):
        # No change was refused: the service's own account may not read.
        problem = Problem.of("database-unavailable", headers={"Retry-After": _RETRY_AFTER})
    if isinstance(error, errors.UnauthorizedWrite) and (policy := getattr(handler, "policy", None)):
        problem.headers["WWW-Authenticate"] = ", ".join(policy.challenges)  # RFC 9110 §15.5.2
    RequestHandler.send_error(handler, problem.status_code, problem=problem, **kwargs)


def write_problem(handler: Any, status_code: int, **kwargs: Any) -> None:
    """Write the problem details, never a stack trace: the `write_error` of a handler."""
    problem: Problem = kwargs.get("problem") or Problem(status_code)
    for name, value in problem.headers.items():
        handler.set_header(name, value)
    if status_code == 405:
        handler.set_header("Allow", ", ".join(handler.allowed_methods()))  # RFC 9110 §15.5.6
        if handler.request.method not in handler.SUPPORTED_METHODS:
            # Tornado answers before it has read the body, and then closes the connection without a word.
            handler.set_header("Connection", "close")
    handler.set_header("Content-Type", "application/problem+json")
    handler.set_header("Cache-Control", "no-store")
    handler.finish(_json.dumps(problem.body(public_prefix(handler.request, handler.settings) + handler.request.path)))


def log_problem(handler: RequestHandler, typ: Any, value: BaseException | None, tb: Any) -> None:
    """Log what the operator must see, but no client's error: the `log_exception` of a handler."""
    if not isinstance(value, errors.TornadoCouchError):
        RequestHandler.log_exception(handler, typ, value, tb)
    elif isinstance(value, _FOR_OPERATORS):
        logger.error("%s: %s", type(value).__name__, value)


def implemented_methods(cls: type[RequestHandler]) -> list[str]:
    """Return the HTTP methods that a handler class implements."""
    inherited = RequestHandler._unimplemented_method
    return [name for name in cls.SUPPORTED_METHODS if getattr(cls, name.lower(), inherited) is not inherited]


class ProblemHandler(RequestHandler):
    """The base of a service's own handlers whose every error is `application/problem+json`.

    `Application` gives the router's 404 the same form, and a resource's handlers have it without this class.
    """

    @classmethod
    def describe(cls, operation: ApiOperation) -> None:
        """Say for the API document what a method takes and answers; `operation.action` and `.method` say which."""

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Answer with the problem that the exception stands for."""
        send_problem(self, status_code, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write the problem details; no stack trace, whatever the application's settings."""
        write_problem(self, status_code, **kwargs)

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        """Log what the operator must see; a client's error is not an event of ours."""
        log_problem(self, typ, value, tb)

    def allowed_methods(self) -> list[str]:
        """Return the methods that this handler implements."""
        return implemented_methods(type(self))
