"""Problem details (RFC 9457) for every error, and the table that says of which kind each error is."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from tornado.web import HTTPError, RequestHandler

from .. import _json, errors
from .problem_kinds import KINDS, title

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
    (errors.DocumentExists, "exists", ""),
    (errors.RevisionMismatch, "revision-mismatch", ""),
    (errors.RetriesExhausted, "contended", ""),
    (errors.UnsupportedVersion, "unsupported-version", ""),
    (errors.InvalidDocument, "invalid-document", ""),
    (errors.DecryptionFailed, "unreadable-document", ""),
    (errors.InvalidSignature, "tampered-document", ""),
    (errors.OutcomeUnknown, "outcome-unknown", ""),
    (errors.TimedOut, "database-timeout", ""),
    (errors.Unavailable, "database-unavailable", ""),
    (errors.InvalidReply, "database-unavailable", ""),
    (errors.Forbidden, "refused-by-database", ""),
    # The service's own account, database or design documents are not in order: for the client an outage.
    (errors.Unauthorized, "database-unavailable", ""),
    (errors.NotFound, "database-unavailable", ""),
    (errors.TooManyRequests, "database-unavailable", ""),
)

# Errors for which the status says it all.
_STATUSES_OF_ERRORS: tuple[tuple[type[Exception], int, str], ...] = (
    (errors.DocumentNotFound, 404, "There is no such document."),
    (errors.TooLarge, 413, "The document is larger than the database accepts."),
)

_FOR_OPERATORS = (errors.CouchError, errors.InvalidDocument, errors.RetriesExhausted, errors.SecurityError)


def problem_of(status: int, error: BaseException | None) -> Problem:
    """The problem that an exception, or a bare status, is answered with."""
    if isinstance(error, Problem):
        return error
    for expected, known_status, detail in _STATUSES_OF_ERRORS:
        if isinstance(error, expected):
            return Problem(known_status, detail=detail)
    for expected, kind, detail in _KINDS_OF_ERRORS:
        if isinstance(error, expected):
            problem = Problem.of(kind, detail)
            if isinstance(error, errors.OutcomeUnknown) and isinstance(error.__cause__, errors.TimedOut):
                problem.status_code = 504
            return _with_members(problem, error)
    return Problem(status)


def _with_members(problem: Problem, error: BaseException) -> Problem:
    if problem.status_code in (503, 504):
        problem.headers["Retry-After"] = _RETRY_AFTER
    listed = isinstance(error, errors.ValidationFailed | errors.Unmergeable)
    if listed or (isinstance(error, errors.InvalidDocument) and error.problems):
        problem.members["errors"] = error.problems  # type: ignore[attr-defined]
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
