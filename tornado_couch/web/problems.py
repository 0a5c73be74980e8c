"""Problem details (RFC 9457) for every error, and the one table that maps our errors to them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from http.client import responses
from typing import TYPE_CHECKING, Any

from tornado.web import HTTPError, RequestHandler

from .. import _json, errors

if TYPE_CHECKING:
    from .openapi.operation import ApiOperation

__all__ = ["NotFoundHandler", "Problem", "ProblemHandler"]

logger = logging.getLogger("tornado_couch.web")

_RETRY_AFTER = "1"  # seconds

# What is said where nobody said more: of Tornado's own errors, say, whose messages can hold anything.
_DETAILS = {
    400: "The request is malformed.",
    405: "There is no such method at this address; see `Allow`.",
    412: "The document has another revision; GET it again.",
    500: "The service failed. Whoever runs it can find out why.",
}

# Python before 3.13 has the names of RFC 7231 for these.
_TITLES = {**responses, 413: "Content Too Large", 422: "Unprocessable Content"}


class Problem(HTTPError):
    """An error to answer with.

    Args:
        status: the HTTP status.
        kind: the last part of the problem's `type`; empty for "about:blank", where the status says it all.
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

    def body(self, instance: str) -> dict[str, Any]:
        """The problem details object."""
        title = _TITLES.get(self.status_code, "Unknown")
        kind = f"urn:tornado-couch:problem:{self.kind}" if self.kind else "about:blank"
        detail = self.detail or _DETAILS.get(self.status_code, f"{title}.")
        found = {"type": kind, "title": title, "status": self.status_code, "detail": detail}
        return {**found, "instance": instance, **self.members}


_NO_STORE = "The service's database cannot be used at the moment. Try again later."
_UNKNOWN = "Whether the change was stored is not known: the database's answer was lost. Read before you send it again."

# The first class that fits decides: (class, status, kind, detail).
_TABLE: tuple[tuple[type[Exception], int, str, str], ...] = (
    (errors.ValidationFailed, 422, "validation", "The values do not satisfy the schema; see `errors`."),
    (errors.PatchTestFailed, 409, "patch-test-failed", "A `test` of the patch does not hold; GET the document again."),
    (errors.Unmergeable, 409, "unmergeable", "The rules cannot decide between the leaves; see `errors`."),
    (errors.DocumentNotFound, 404, "", "There is no such document."),
    (errors.DocumentExists, 409, "exists", "A document with that key exists already."),
    (errors.RevisionMismatch, 412, "revision-mismatch", "The document has another revision; GET it again."),
    (errors.RetriesExhausted, 503, "contended", "Too many writers at once; nothing was written. Try again."),
    (errors.UnsupportedVersion, 502, "unsupported-version", "The stored document is of a version not known here."),
    (errors.InvalidDocument, 502, "unreadable-document", "The stored document does not fit its model."),
    (errors.DecryptionFailed, 502, "unreadable-document", "The stored document cannot be decrypted."),
    (errors.InvalidSignature, 502, "tampered-document", "The stored document is not what this service wrote."),
    (errors.OutcomeUnknown, 503, "outcome-unknown", _UNKNOWN),
    (errors.TimedOut, 504, "database-timeout", "The service's database did not answer in time."),
    (errors.Unavailable, 503, "database-unavailable", _NO_STORE),
    (errors.InvalidReply, 503, "database-unavailable", _NO_STORE),
    (errors.Forbidden, 403, "refused-by-database", "The database refused this change."),
    (errors.TooLarge, 413, "", "The document is larger than the database accepts."),
    # The service's own account, database or design documents are not in order: for the client an outage.
    (errors.Unauthorized, 503, "database-unavailable", _NO_STORE),
    (errors.NotFound, 503, "database-unavailable", _NO_STORE),
    (errors.TooManyRequests, 503, "database-unavailable", _NO_STORE),
)


_FOR_OPERATORS = (errors.CouchError, errors.InvalidDocument, errors.RetriesExhausted, errors.SecurityError)


def problem_of(status: int, error: BaseException | None) -> Problem:
    """The problem that an exception, or a bare status, is answered with."""
    if isinstance(error, Problem):
        return error
    for kind, mapped, name, detail in _TABLE:
        if isinstance(error, kind):
            late = isinstance(error, errors.OutcomeUnknown) and isinstance(error.__cause__, errors.TimedOut)
            return _with_members(Problem(504 if late else mapped, name, detail), error)
    return Problem(status)


def _with_members(problem: Problem, error: BaseException) -> Problem:
    if problem.status_code in (503, 504):
        problem.headers["Retry-After"] = _RETRY_AFTER
    if isinstance(error, errors.ValidationFailed | errors.Unmergeable):
        problem.members["errors"] = error.problems
    if isinstance(error, errors.RevisionMismatch) and error.current:
        problem.headers["ETag"] = f'"{error.current}"'
    return problem


class ProblemHandler(RequestHandler):
    """The base of handlers whose every error is `application/problem+json`.

    A service's own handlers can derive from it; `Application` gives the router's 404 the same form.
    """

    _fields: dict[str, str] | None = None

    @classmethod
    def describe(cls, operation: ApiOperation) -> None:
        """Say for the API document what a method takes and answers; `operation.action` and `.method` say which.

        The actions of the package's own mixins are described already. A handler that adds to one, or has another,
        overrides this, and calls `super().describe(operation)` first.
        """

    @property
    def fields(self) -> Mapping[str, str]:
        """The fields of the request's header, by their names as RFC 9110 writes them.

        A plain dict, since many of those asked for are not there, which Tornado's headers take long to say.
        """
        fields = self._fields
        if fields is None:
            fields = self._fields = {}
            for name, value in self.request.headers.get_all():
                fields[name] = f"{fields[name]},{value}" if name in fields else value
        return fields

    def send_error(self, status_code: int = 500, **kwargs: Any) -> None:
        """Answer with the problem that the exception stands for."""
        error = (kwargs.get("exc_info") or (None, None))[1]
        problem = problem_of(status_code, error)
        if isinstance(error, errors.Forbidden) and self.request.method in ("GET", "HEAD"):
            # No change was refused: the service's own account may not read.
            problem = problem_of(503, errors.Unauthorized(error.status, error.error, error.reason))
        super().send_error(problem.status_code, problem=problem, **kwargs)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Write the problem details; no stack trace, whatever the application's settings."""
        problem: Problem = kwargs.get("problem") or Problem(status_code)
        for name, value in problem.headers.items():
            self.set_header(name, value)
        if status_code == 405:
            self.set_header("Allow", ", ".join(self.allowed_methods()))  # RFC 9110 §15.5.6
        self.set_header("Content-Type", "application/problem+json")
        self.set_header("Cache-Control", "no-store")
        self.finish(_json.dumps(problem.body(self.request.path)))

    def log_exception(self, typ: Any, value: BaseException | None, tb: Any) -> None:
        """Log what the operator must see; a client's error is not an event of ours."""
        if not isinstance(value, errors.TornadoCouchError):
            super().log_exception(typ, value, tb)
        elif isinstance(value, _FOR_OPERATORS):
            logger.error("%s: %s", type(value).__name__, value)

    def allowed_methods(self) -> list[str]:
        """The methods that this handler implements."""
        inherited = RequestHandler._unimplemented_method
        cls = type(self)
        return [name for name in self.SUPPORTED_METHODS if getattr(cls, name.lower(), inherited) is not inherited]


class NotFoundHandler(ProblemHandler):
    """Answers 404 to every request: what no route matches."""

    def prepare(self) -> None:
        """Refuse before a body is read."""
        raise Problem(404, detail="There is nothing at this address.")
