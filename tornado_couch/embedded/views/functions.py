"""Runs the functions of design documents other than views: validation, filters, updates, shows and lists.

Each is JavaScript and runs in a worker of `Scripts`. The server passes CouchDB's request object and user context,
and turns a `Response` into an HTTP answer (CouchDB documentation, "Design Functions").
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from tornado_couch.embedded.javascript.pool import Scripts
from tornado_couch.embedded.jsontext import dumps, loads
from tornado_couch.embedded.problems import Problem, not_found
from tornado_couch.embedded.views.designs import read_design
from tornado_couch.embedded.views.reduces import built_in

__all__ = ["Functions", "Response", "Updated", "check_design"]

# How many documents a filter receives in one call; they share its time limit.
_DOCUMENTS = 50


class Response(NamedTuple):
    """The answer of a show, list or update function.

    Attributes:
        code: the HTTP status; None if the function did not set one.
        headers: its headers, including `Content-Type`.
        body: the body.
    """

    code: int | None
    headers: dict[str, str]
    body: bytes


class Updated(NamedTuple):
    """The result of an update function: the document to write as JSON text, or None, and the answer."""

    document: str | None
    response: Response


# In the class below, `list` is the method.
_Verdicts = list[bool]


class Functions:
    """Runs the functions of design documents, each given as its document's JSON text."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def validate(
        self, designs: Sequence[str], new: str, old: str | None, user: dict[str, Any], security: dict[str, Any]
    ) -> None:
        """Call every `validate_doc_update` function for a write.

        Args:
            designs: the design documents that have such a function.
            new: the document to write, as JSON text with `_id`, `_rev` and `_revisions`.
            old: the document that it replaces.
            user: CouchDB's user context.
            security: the database's security object.

        Raises:
            Problem: 403 or 401 as the function demands, 500 for another error in it.
        """
        arguments = (new, old or "null", json.dumps(user), json.dumps(security))
        for design in designs:
            verdict = json.loads(self._scripts.call(read_design(design).program, "validate", *arguments))
            if verdict != 1:
                raise _refusal(verdict)

    def filter(self, design: str, name: str, docs: Sequence[str], request: dict[str, Any]) -> list[bool]:
        """Find out which documents pass a filter function of `_changes`.

        Raises:
            Problem: 404 for a missing function, 500 for an error in it.
        """
        return self._filtered(design, ["filters", name], docs, request)

    def filter_view(self, design: str, view: str, docs: Sequence[str]) -> list[bool]:
        """Find out for which documents the map function of a view emits anything (`filter=_view`)."""
        return self._filtered(design, ["views", view, "map"], docs, {})

    def update(self, design: str, name: str, doc: str | None, request: dict[str, Any]) -> Updated:
        """Run an update function.

        Args:
            design: the design document.
            name: the function's name.
            doc: the document to update, as JSON text.
            request: CouchDB's request object.
        """
        document, response = self._run(design, "updates", name, doc or "null", request)
        if document is not None and not isinstance(document, dict):
            raise Problem(500, "update_error", "the function returned no document")
        return Updated(None if document is None else dumps(document), _response(response))

    def show(self, design: str, name: str, doc: str | None, request: dict[str, Any]) -> Response:
        """Run a show function; the arguments are those of `update`."""
        return _response(self._run(design, "shows", name, doc or "null", request))

    def list(self, design: str, name: str, reply: str, request: dict[str, Any]) -> Response:
        """Run a list function.

        Args:
            design: the design document.
            name: the function's name.
            reply: the JSON text of the view's answer, which is kept in memory as a whole.
            request: CouchDB's request object.
        """
        head = loads(reply)
        rows = [dumps(row) for row in head.pop("rows")]
        return _response(self._run(design, "lists", name, dumps(head), {**request, "rows": rows}))

    def _run(self, design: str, kind: str, name: str, first: str, request: dict[str, Any]) -> Any:
        return loads(self._scripts.call(read_design(design).program, "run", kind, name, first, dumps(request)))

    def _filtered(self, design: str, path: Sequence[str], docs: Sequence[str], request: Any) -> _Verdicts:
        parts = (docs[start : start + _DOCUMENTS] for start in range(0, len(docs), _DOCUMENTS))
        calls = [(json.dumps(path), json.dumps(list(part)), dumps(request)) for part in parts]
        results = self._scripts.stream(read_design(design).program, "filter", calls)
        return [verdict for result in results for verdict in json.loads(result)]


def _refusal(verdict: Any) -> Problem:
    """The error for an exception of a `validate_doc_update` function."""
    if isinstance(verdict, str):
        return Problem(500, "unknown_error", verdict)
    if isinstance(verdict, list) and len(verdict) == 3 and verdict[0] == "error":
        return Problem(500, str(verdict[1]), str(verdict[2]))
    if not isinstance(verdict, dict) or len(verdict) != 1:
        return Problem(500, "unknown_error", "function_clause")
    ((name, reason),) = verdict.items()
    if isinstance(reason, list) and all(isinstance(each, str) for each in reason):
        reason = "".join(reason)  # in Erlang, a list of texts is a text
    statuses = {"forbidden": 403, "unauthorized": 401}
    return Problem(statuses[name], name, reason) if name in statuses else Problem(500, "unknown_error", reason)


def _response(answer: Any) -> Response:
    """The response in a function's answer: `code`, `headers`, and one of `body`, `json`, `base64`."""
    headers = {str(name): str(value) for name, value in (answer.get("headers") or {}).items()}
    given = {name.lower() for name in headers}
    body, kind = _body(answer)
    if "content-type" not in given:
        headers["Content-Type"] = kind
    code = answer.get("code")
    return Response(code if isinstance(code, int) else None, headers, body)


def _body(answer: dict[str, Any]) -> tuple[bytes, str]:
    if "json" in answer:
        return dumps(answer["json"]).encode(), "application/json"
    if "base64" in answer:
        try:
            return base64.b64decode(str(answer["base64"])), "application/binary"
        except binascii.Error as error:
            raise Problem(500, "external_response_error", f"base64: {error}") from None
    body = answer.get("body", "")
    if not isinstance(body, str):
        raise Problem(500, "external_response_error", "the body is not a text")
    return body.encode("utf-8", "replace"), "text/html; charset=utf-8"


# ---- what a design document may contain

_OBJECT = ("object", dict)
_TEXT = ("string", str)
_FUNCTIONS = ("filters", "lists", "shows", "updates")


def check_design(text: str, scripts: Scripts, *, partitioned: bool = False) -> None:
    """Check a design document as CouchDB does when it is written: the types of its members, and that its views compile.

    Args:
        text: its JSON text.
        scripts: runs JavaScript.
        partitioned: whether the database is partitioned.

    Raises:
        Problem: 400 invalid_design_doc or compilation_error.
    """
    document = loads(text)
    for problem in _invalid(document):
        raise Problem(400, "invalid_design_doc", problem)
    if not partitioned and (document.get("options") or {}).get("partitioned") is True:
        raise Problem(400, "invalid_design_doc", "partitioned option cannot be true in a non-partitioned database.")
    if document.get("language", "javascript") == "javascript":
        program = read_design(text).program
        for name, view in (document.get("views") or {}).items():
            if name != "lib":
                _compile(name, view, lambda path: scripts.call(program, "compile", json.dumps(path)))


def _invalid(document: dict[str, Any]) -> Iterator[str]:
    """Find members that have a wrong type."""
    yield from _kind(document, "language", _TEXT)
    yield from _kind(document, "options", _OBJECT)
    for member in _FUNCTIONS:
        yield from _kind(document, member, _OBJECT)
        for name, function in (document.get(member) or {}).items():
            if not isinstance(function, (str, dict)):
                yield f"`{member}.{name}` field must have string or object type"
    if not isinstance(document.get("rewrites", []), (str, list)):
        yield "`rewrites` field must have array or string type"
    yield from _kind(document, "validate_doc_update", _TEXT)
    yield from _kind(document, "views", _OBJECT)
    for name, view in (document.get("views") or {}).items():
        yield from _invalid_view(name, view, _OBJECT if document.get("language") == "query" else _TEXT)


def _invalid_view(name: str, view: Any, map_kind: tuple[str, type]) -> Iterator[str]:
    if not isinstance(view, dict):
        yield f"`views.{name}` field must have object type"
    elif name != "lib":
        if "map" not in view:
            yield f"View `{name}` must contain map function"
        yield from _kind(view, "map", map_kind, f"views.{name}.")
        yield from _kind(view, "reduce", _TEXT, f"views.{name}.")


def _kind(document: dict[str, Any], member: str, kind: tuple[str, type], prefix: str = "") -> Iterator[str]:
    name, needed = kind
    if member in document and not isinstance(document[member], needed):
        yield f"`{prefix}{member}` field must have {name} type"


def _compile(name: str, view: dict[str, str], run: Callable[[list[str]], str]) -> None:
    for kind in ("map", "reduce"):
        source = view.get(kind)
        if source is None:
            continue
        if not source:
            raise not_found("missing function")
        if kind == "reduce" and built_in(source) is not None:
            continue
        try:
            run(["views", name, kind])
        except Problem as problem:
            if problem.error != "compilation_error":
                raise
            words = f"Compilation of the {kind} function in the '{name}' view failed: {problem.reason}"
            raise Problem(400, "compilation_error", words) from None
