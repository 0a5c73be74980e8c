"""Filters the changes feed: by ids, selector, kind of document, a view, or a function."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from tornado_couch.embedded.couch import Couch
from tornado_couch.embedded.edits import user_context
from tornado_couch.embedded.jsontext import dumps, loads
from tornado_couch.embedded.messages import Request
from tornado_couch.embedded.problems import Problem, bad_request
from tornado_couch.embedded.storage.database import PLAIN, Database, Stored
from tornado_couch.embedded.storage.databases import OpenDatabase

__all__ = ["Filter", "fields_of", "filter_of", "runner_of"]

Filter = Callable[[list[Stored]], list[Stored]]
"""A function that returns the changes that pass. It runs in a thread."""


async def filter_of(couch: Couch, request: Request, opened: OpenDatabase, body: dict[str, Any]) -> Filter | None:
    """The filter that a request names; None if it names none.

    Raises:
        Problem: 400 or 404.
    """
    name = request.parameters.get("filter")
    if name is None or name == "":
        return None
    if name == "_doc_ids":
        return _by_ids(request, body)
    if name == "_selector":
        return await couch.in_thread(_by_selector, opened.database, body)
    if name == "_design":
        return lambda changes: [change for change in changes if change.id.startswith("_design/")]
    if name[0] == "_" and name != "_view":
        raise bad_request("unknown builtin filter name")
    if name == "_view":
        return _by_view(couch, request, opened)
    return _by_function(couch, request, opened, name)


def runner_of(couch: Couch, request: Request, opened: OpenDatabase) -> Callable[..., Awaitable[Any]]:
    """A function that runs the filter of a request in a thread."""
    name = request.parameters.get("filter", "")
    if name == "_view":
        name = request.parameters.get("view", "")
    elif not name or name[0] == "_":
        return couch.in_thread
    return partial(couch.turns.run, opened.owner(f"_design/{name.partition('/')[0]}"))


def fields_of(request: Request, body: dict[str, Any]) -> Callable[[str], str] | None:
    """A function that reduces a document's text to the `fields` that come with a selector; None for whole documents.

    Raises:
        Problem: 400, `fields` is not a list of fields.
    """
    if request.parameters.get("filter") != "_selector" or "fields" not in body:
        return None
    from tornado_couch.embedded.mango.options import field_names
    from tornado_couch.embedded.selectors.operators import parse_field, project

    paths = [parse_field(name) for name in field_names(body["fields"])]
    return (lambda text: dumps(project(loads(text), paths))) if paths else None


def _by_ids(request: Request, body: dict[str, Any]) -> Filter:
    ids = loads(request.parameters["doc_ids"]) if "doc_ids" in request.parameters else body.get("doc_ids")
    if not isinstance(ids, list):
        raise bad_request("`doc_ids` filter parameter is not a list of doc ids.")
    wanted = {item for item in ids if isinstance(item, str)}
    return lambda changes: [change for change in changes if change.id in wanted]


def _by_selector(database: Database, body: dict[str, Any]) -> Filter:
    from tornado_couch.embedded.selectors.selectors import compile_selector

    if "selector" not in body:
        raise bad_request("Selector must be specified in POST payload")
    try:
        selector = compile_selector(body["selector"])
    except Problem as problem:
        raise bad_request(problem.reason) from None

    def passed(changes: list[Stored]) -> list[Stored]:
        texts = _texts(database, changes)
        return [change for change, text in zip(changes, texts, strict=True) if selector.matches(json.loads(text))]

    return passed


def _texts(database: Database, changes: list[Stored]) -> list[str]:
    """The documents of some changes, including tombstones."""
    with database.connections.read() as connection:
        return [database.text(change, change.rev, PLAIN, connection) or "{}" for change in changes]


def _split(name: str, what: str) -> tuple[str, str]:
    design, slash, function = name.partition("/")
    if not slash or not design or not function:
        raise bad_request(f"`{what}` must be of the form `designname/{what}name`")
    return f"_design/{design}", function


def _by_view(couch: Couch, request: Request, opened: OpenDatabase) -> Filter:
    """A filter that passes documents for which the map function of a view emits something."""
    if "view" not in request.parameters:
        raise bad_request("`view` filter parameter is not provided.")
    design, name = _split(request.parameters["view"], "view")
    text = opened.database.winner_text(design)[1]

    def passed(changes: list[Stored]) -> list[Stored]:
        found = couch.functions.filter_view(text, name, _texts(opened.database, changes)) if changes else []
        return [change for change, yes in zip(changes, found, strict=True) if yes]

    return passed


def _by_function(couch: Couch, request: Request, opened: OpenDatabase, named: str) -> Filter:
    """A filter that passes documents for which a filter function returns true."""
    from tornado_couch.embedded.handlers.functions import request_object

    design, name = _split(named, "filter")
    text = opened.database.winner_text(design)[1]
    asked = request_object(couch, request, opened, None, user_context(request.user, opened.database))
    if request.method == "POST" and request.body:
        asked["body"] = request.json()  # the feed has parsed it already; other functions get the text

    def passed(changes: list[Stored]) -> list[Stored]:
        found = couch.functions.filter(text, name, _texts(opened.database, changes), asked) if changes else []
        return [change for change, yes in zip(changes, found, strict=True) if yes]

    return passed
