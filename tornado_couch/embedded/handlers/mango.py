"""Answers `_find`, `_explain` and `_index`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from itertools import chain
from typing import Any

from tornado_couch.embedded.couch import Couch
from tornado_couch.embedded.edits import write_draft
from tornado_couch.embedded.handlers.streams import from_thread
from tornado_couch.embedded.handlers.view_requests import update_index
from tornado_couch.embedded.mango.mango import IndexChange, Mango
from tornado_couch.embedded.messages import Reply, Request, json_reply
from tornado_couch.embedded.problems import Problem, not_found
from tornado_couch.embedded.storage.databases import OpenDatabase
from tornado_couch.embedded.storage.documents import Draft, draft_of
from tornado_couch.embedded.views.designs import document_fetcher
from tornado_couch.embedded.views.parameters import ViewParameters

__all__ = ["mango"]

_TRIES = 5


def mango(
    couch: Couch, request: Request, opened: OpenDatabase, name: str, rest: list[str], partition: str | None = None
) -> Any:
    """Answer a Mango request: returns an awaitable of a Reply."""
    if name == "_index":
        return index(couch, request, opened, rest)
    request.allow("POST")
    if rest:
        raise not_found("missing")
    request.need_json_type()
    body = request.json()
    if partition is not None and isinstance(body, dict):
        body = {**body, "partition": partition}
    return find(couch, opened, body) if name == "_find" else explain(couch, opened, body)


def _engine(couch: Couch, opened: OpenDatabase) -> Mango:
    return Mango(opened.database, couch.views(opened), partitioned=opened.database.partitioned)


def _designs(opened: OpenDatabase) -> list[str]:
    return [text for _, text in opened.database.design_documents()]


async def find(couch: Couch, opened: OpenDatabase, body: Any) -> Reply:
    """Answer `POST _find`."""
    conflicts = isinstance(body, dict) and body.get("conflicts") is True
    fetch = document_fetcher(opened.database, ViewParameters(conflicts=conflicts))
    run = _turn(couch, opened)
    search = await run(lambda: _engine(couch, opened).search(body, _designs(opened), fetch))
    if search.design is not None:
        search.wanted = await update_index(couch, opened, search.design)
    chunks = await run(search.chunks)
    return Reply(200, stream=from_thread(run, lambda: chain(chunks, ["\n"])))


def _turn(couch: Couch, opened: OpenDatabase) -> Callable[..., Awaitable[Any]]:
    """A function that runs a query in a thread."""
    return partial(couch.turns.run, opened.owner("_find"))


async def explain(couch: Couch, opened: OpenDatabase, body: Any) -> Reply:
    """Answer `POST _explain`."""
    name = opened.database.name
    return json_reply(await _turn(couch, opened)(lambda: _engine(couch, opened).explain(body, _designs(opened), name)))


async def index(couch: Couch, request: Request, opened: OpenDatabase, rest: list[str]) -> Reply:
    """Answer `_index`: list, create, delete one, or delete several."""
    if not rest and request.method in ("GET", "HEAD"):
        query = dict(request.query)
        return json_reply(await _turn(couch, opened)(lambda: _engine(couch, opened).indexes(_designs(opened), query)))
    if not rest or rest == ["_bulk_delete"]:
        request.allow(*(("GET", "POST") if not rest else ("POST",)))
        request.need_json_type()
        body = request.json()
        return await _changed(couch, request, opened, _bulk_delete(body) if rest else _new(body))
    plan = _drop(rest)
    request.allow("DELETE")
    return await _changed(couch, request, opened, plan)


_Plan = Callable[[Mango, list[str]], tuple[list[IndexChange], dict[str, Any]]]
"""A function that plans the writes, and the answer after them."""


def _new(body: Any) -> _Plan:
    def plan(engine: Mango, designs: list[str]) -> tuple[list[IndexChange], dict[str, Any]]:
        change = engine.new_index(body, designs)
        return [change], change.reply

    return plan


def _bulk_delete(body: Any) -> _Plan:
    return lambda engine, designs: engine.drop_indexes(body, designs)


def _drop(rest: list[str]) -> _Plan:
    """Plan the deletion of `_index/_design/{ddoc}/{type}/{name}`; `_design/` may be left out."""
    parts = rest[1:] if rest[0] == "_design" else rest
    if len(parts) != 3:
        raise not_found("missing")

    def plan(engine: Mango, designs: list[str]) -> tuple[list[IndexChange], dict[str, Any]]:
        change = engine.drop_index(parts[0], parts[1], parts[2], designs)
        return [change], change.reply

    return plan


async def _changed(couch: Couch, request: Request, opened: OpenDatabase, plan: _Plan) -> Reply:
    """Create or delete indexes, and try again if somebody else changed a design document meanwhile."""
    for left in range(_TRIES - 1, -1, -1):
        changes, reply = await _turn(couch, opened)(lambda: plan(_engine(couch, opened), _designs(opened)))
        try:
            for change in changes:
                await _write(couch, request, opened, change)
        except Problem as problem:
            if problem.status != 409 or not left:
                raise
        else:
            return json_reply(reply)
    raise AssertionError


async def _write(couch: Couch, request: Request, opened: OpenDatabase, change: IndexChange) -> None:
    if change.document is None:
        return
    draft = draft_of(change.document)
    if change.deleted:
        draft = Draft(change.id, draft.rev, deleted=True)
    await write_draft(couch, request.user, opened, draft)
