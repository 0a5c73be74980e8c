"""Paths below a design document: views, their information, and functions that make replies."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

from tornado_couch.embedded.couch import Couch
from tornado_couch.embedded.handlers.streams import from_thread
from tornado_couch.embedded.handlers.view_requests import query_view, query_views
from tornado_couch.embedded.jsontext import dumps
from tornado_couch.embedded.messages import Reply, Request, json_reply
from tornado_couch.embedded.problems import not_found, not_implemented
from tornado_couch.embedded.storage.database import Database
from tornado_couch.embedded.storage.databases import OpenDatabase
from tornado_couch.embedded.storage.info import format_seq
from tornado_couch.embedded.users.security import need_upkeep
from tornado_couch.embedded.views.designs import design_text, document_fetcher
from tornado_couch.embedded.views.parameters import ViewParameters, view_parameters, view_queries

__all__ = ["below_design", "view_cleanup"]


def below_design(couch: Couch, request: Request, opened: OpenDatabase, doc_id: str, rest: list[str]) -> Any:
    """Answer `/{db}/_design/{ddoc}/_…`: returns a Reply, or an awaitable of one."""
    kind = rest[0]
    if kind == "_view" and len(rest) == 2:
        return view(couch, request, opened, doc_id, rest[1])
    if kind == "_view" and len(rest) == 3 and rest[2] == "queries":
        return several_views(couch, request, opened, doc_id, rest[1])
    if kind == "_info" and len(rest) == 1:
        return information(couch, request, opened, doc_id)
    if kind in ("_update", "_show", "_list"):
        from tornado_couch.embedded.handlers.functions import function

        return function(couch, request, opened, doc_id, rest)
    if kind in ("_search", "_search_info", "_nouveau", "_nouveau_info", "_rewrite", "_geo"):
        raise not_implemented(kind)
    raise not_found("missing")


def _post_body(request: Request) -> Any:
    """The body of a POST; None for a GET."""
    if request.method != "POST":
        return None
    request.need_json_type()
    return request.json_object()


def _seq_text(database: Database) -> Callable[[int], str]:
    return lambda seq: dumps(format_seq(database, seq))


async def view(
    couch: Couch, request: Request, opened: OpenDatabase, doc_id: str, name: str, partition: str | None = None
) -> Reply:
    """Answer `_view/{name}`."""
    request.allow("GET", "HEAD", "POST")
    parameters = view_parameters(request.query, _post_body(request))
    if partition is not None:
        parameters = dataclasses.replace(parameters, partition=partition)
    database = opened.database
    text = design_text(database, doc_id)
    fetch = document_fetcher(database, parameters)
    answer = await query_view(couch, opened, text, name, parameters, fetch, _seq_text(database))
    return Reply(200, stream=from_thread(_turn(couch, opened, doc_id), lambda: _with_end(answer.chunks())))


def _turn(couch: Couch, opened: OpenDatabase, doc_id: str) -> Callable[..., Awaitable[Any]]:
    """A function that runs work on a design document in a thread."""
    return partial(couch.turns.run, opened.owner(doc_id))


def _with_end(chunks: Iterator[str]) -> Iterator[str]:
    yield from chunks
    yield "\n"


async def several_views(couch: Couch, request: Request, opened: OpenDatabase, doc_id: str, name: str) -> Reply:
    """Answer `POST _view/{name}/queries`."""
    request.allow("POST")
    request.need_json_type()
    several = view_queries(request.json(), request.query)
    database = opened.database
    text = design_text(database, doc_id)
    shared = next((item for item in several if item.include_docs), ViewParameters())
    fetch = document_fetcher(database, shared)
    chunks = await query_views(couch, opened, text, name, several, fetch, _seq_text(database))
    return Reply(200, stream=from_thread(_turn(couch, opened, doc_id), lambda: _with_end(chunks)))


async def information(couch: Couch, request: Request, opened: OpenDatabase, doc_id: str) -> Reply:
    """Answer `_info`."""
    request.allow("GET", "HEAD")
    text = design_text(opened.database, doc_id)
    return json_reply(await _turn(couch, opened, doc_id)(couch.views(opened).info, text))


async def view_cleanup(couch: Couch, request: Request, opened: OpenDatabase) -> Reply:
    """Answer `POST /{db}/_view_cleanup`."""
    request.allow("POST")
    need_upkeep(request.user, opened.database.security)
    request.need_json_type()
    texts = [text for _, text in opened.database.design_documents()]
    await _turn(couch, opened, "_view_cleanup")(couch.views(opened).cleanup, texts)
    return json_reply({"ok": True}, 202)
