"""Queries views for requests: an index is first updated for all callers, which do not block a thread meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from tornado_couch.embedded.couch import Couch
from tornado_couch.embedded.problems import Problem
from tornado_couch.embedded.storage.databases import OpenDatabase
from tornado_couch.embedded.views.parameters import ViewParameters

if TYPE_CHECKING:
    from tornado_couch.embedded.views.designs import Design
    from tornado_couch.embedded.views.engine import ViewReply
    from tornado_couch.embedded.views.query import Fetch

__all__ = ["query_view", "query_views", "update_index"]


async def query_view(
    couch: Couch,
    opened: OpenDatabase,
    text: str,
    name: str,
    parameters: ViewParameters,
    fetch: Fetch,
    update_seq: Callable[[int], str] = str,
) -> ViewReply:
    """Query a view; arguments and errors are those of `DatabaseViews.query`."""
    views = couch.views(opened)
    design = views.checked(text, name, parameters)
    wanted = await update_index(couch, opened, design) if parameters.update is True else None
    reply = await couch.turns.run(
        opened.owner(design.id), views.query, text, name, parameters, fetch, update_seq, wanted
    )
    _update_behind(couch, opened, design, [parameters])
    return reply


async def query_views(
    couch: Couch,
    opened: OpenDatabase,
    text: str,
    name: str,
    several: Sequence[ViewParameters],
    fetch: Fetch,
    update_seq: Callable[[int], str] = str,
) -> Iterator[str]:
    """Send several queries to a view; arguments and errors are those of `DatabaseViews.queries`."""
    views = couch.views(opened)
    wanted = None
    for parameters in several:
        design = views.checked(text, name, parameters)
        if parameters.update is True and wanted is None:
            wanted = await update_index(couch, opened, design)
    if not several:
        return views.queries(text, name, several)
    chunks = await couch.turns.run(
        opened.owner(design.id), views.queries, text, name, several, fetch, update_seq, wanted
    )
    _update_behind(couch, opened, design, several)
    return chunks


async def update_index(couch: Couch, opened: OpenDatabase, design: Design) -> int:
    """Update a design document's index, and return the update sequence that it has reached at least.

    Raises:
        Problem: 500, a map cannot be run.
    """
    views, wanted = couch.views(opened), opened.database.current_seq()
    await couch.updates.reach(
        opened.owner(design.signature), lambda: views.seq(design) >= wanted, lambda: views.updated(design, wanted)
    )
    return wanted


def _update_behind(couch: Couch, opened: OpenDatabase, design: Design, several: Sequence[ViewParameters]) -> None:
    """Update the index after the answer was made, for `update=lazy`."""
    if any(parameters.update == "lazy" for parameters in several):
        couch.background(_quietly(couch, opened, design))


async def _quietly(couch: Couch, opened: OpenDatabase, design: Design) -> None:
    # Nobody waits for this; the next caller meets the same error.
    with contextlib.suppress(Problem):
        await update_index(couch, opened, design)
