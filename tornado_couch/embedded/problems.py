"""Error answers: each is a `Problem` with CouchDB's status, `error` and `reason`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tornado_couch.errors import TornadoCouchError

__all__ = [
    "Problem",
    "bad_content_type",
    "bad_request",
    "bytes_form",
    "conflict",
    "forbidden",
    "illegal_docid",
    "missing",
    "no_database",
    "not_found",
    "not_implemented",
    "query_parse_error",
    "text_form",
    "too_large",
    "unauthorized",
]


class Problem(TornadoCouchError):
    """An error that is answered in the form that CouchDB gives it.

    Attributes:
        status: the HTTP status.
        error: the `error` member.
        reason: the `reason` member: text, or what a function threw.
        headers: further headers of the answer.
    """

    def __init__(self, status: int, error: str, reason: Any, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{status} {error}: {reason}")
        self.status = status
        self.error = error
        self.reason = reason
        self.headers = headers or {}


def bad_request(reason: str) -> Problem:
    """400: the request cannot be understood."""
    return Problem(400, "bad_request", reason)


def query_parse_error(reason: str) -> Problem:
    """400: a parameter of a query has a value that makes no sense."""
    return Problem(400, "query_parse_error", reason)


def illegal_docid(reason: str) -> Problem:
    """400: a document cannot have this id."""
    return Problem(400, "illegal_docid", reason)


def unauthorized(reason: str) -> Problem:
    """401: a user who logs in might be allowed to do this."""
    return Problem(401, "unauthorized", reason)


def forbidden(reason: str) -> Problem:
    """403: the user who is logged in may not do this."""
    return Problem(403, "forbidden", reason)


def not_found(reason: str) -> Problem:
    """404 with the given reason."""
    return Problem(404, "not_found", reason)


def missing(deleted: bool = False) -> Problem:
    """404: the document never existed, or (`deleted`) does not exist any more."""
    return not_found("deleted" if deleted else "missing")


def no_database() -> Problem:
    """404: the database does not exist."""
    return not_found("Database does not exist.")


def conflict() -> Problem:
    """409: the given revision is not a leaf that can be updated."""
    return Problem(409, "conflict", "Document update conflict.")


def too_large(error: str, reason: str) -> Problem:
    """413: `error` is "document_too_large", "attachment_too_large" or "too_large"."""
    return Problem(413, error, reason)


def bad_content_type(reason: str) -> Problem:
    """415: the type or coding of the body is not supported."""
    return Problem(415, "bad_content_type", reason)


def not_implemented(what: str) -> Problem:
    """501: CouchDB can do this, but this server cannot."""
    return Problem(501, "not_implemented", f"The embedded server does not support {what}.")


def bytes_form(value: Any) -> str:
    """Format like `~w`: text as its bytes, such as `<<120>>`."""
    return _form(value, lambda text: f"<<{','.join(map(str, text.encode('utf-8', 'surrogatepass')))}>>")


def text_form(value: Any) -> str:
    """Format like `~p`: text in quotes, such as `<<"x">>`."""
    return _form(value, lambda text: f"<<{json.dumps(text, ensure_ascii=False)}>>")


def _form(value: Any, text: Callable[[str], str]) -> str:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, list):
        return "[" + ",".join(_form(item, text) for item in value) + "]"
    if isinstance(value, dict):
        members = (f"{{{text(name)},{_form(item, text)}}}" for name, item in value.items())
        return "{[" + ",".join(members) + "]}"
    return json.dumps(value)
