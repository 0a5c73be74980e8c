"""Reads the changes feed page by page: every document that was written, changed or deleted since some moment.

CouchDB's page: https://docs.couchdb.org/en/stable/api/database/changes.html
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from .. import _json
from .endpoint import Endpoint
from .exchange import expect

__all__ = ["Change", "Changes", "ChangesFeed"]


class Change(NamedTuple):
    """One document that changed.

    Attributes:
        id: the document's id.
        seq: the update sequence of its latest change.
        revisions: its winning revision; with `style="all_docs"` all of its leaves, including deleted ones.
        deleted: whether the winning revision is a tombstone.
        doc: with `include_docs`, the winning revision's document.
    """

    id: str
    seq: str | int
    revisions: list[str]
    deleted: bool = False
    doc: dict[str, Any] | None = None


@dataclass(frozen=True)
class Changes:
    """A page of the changes feed.

    Attributes:
        results: the changes, each document once, in the order of their latest changes.
        last_seq: the `since` for the next page.
        pending: how many changes follow, if CouchDB says so.
    """

    results: list[Change]
    last_seq: str | int
    pending: int | None


class ChangesFeed(Endpoint):
    """The part of `Database` that reads the changes feed."""

    async def changes(
        self,
        *,
        since: str | int = 0,
        limit: int | None = None,
        style: Literal["main_only", "all_docs"] = "main_only",
        include_docs: bool = False,
        wait: float | None = None,
    ) -> Changes:
        """Read a page of the normal feed: the changes since a sequence, as far as they are known now.

        Args:
            since: a `last_seq` or `seq`; 0 for the beginning, "now" for only what happens from now on.
            limit: return at most this many changes.
            style: "all_docs" for all leaves of each document, not only its winning revision.
            include_docs: also return each document.
            wait: seconds to wait for a change if there are no changes yet; the client's time limits come on top.

        Raises:
            BadRequest: `since` is not a sequence of this database.
            InvalidReply: the answer does not have the documented form.
        """
        query = {"style": style, "since": since if isinstance(since, str) else _json.dumps(since).decode()}
        if limit is not None:
            query["limit"] = str(max(limit, 1))  # CouchDB treats 0 as 1
        if include_docs:
            query["include_docs"] = "true"
        if wait is not None:
            query |= {"feed": "longpoll", "timeout": str(int(wait * 1000))}
        patient = self
        if wait is not None:
            patient = copy.copy(self)
            patient._exchange = self._exchange.within(self._exchange.timeout.beyond(wait))
        answer = await patient._call("GET", "_changes", query=query)
        rows = [_change(each, answer.request) for each in answer.member("results", list)]
        pending = answer.value.get("pending")
        return Changes(
            rows, _sequence(answer.value.get("last_seq"), answer.request), pending if type(pending) is int else None
        )

    async def changes_pages(
        self,
        *,
        since: str | int = 0,
        page_size: int = 500,
        style: Literal["main_only", "all_docs"] = "main_only",
        include_docs: bool = False,
    ) -> AsyncIterator[Changes]:
        """Read all pages up to the end of the feed; if writers never pause, there is no end.

        Args:
            since: where to begin.
            page_size: how many changes to fetch at a time.
            style, include_docs: as in `changes`.
        """
        while True:
            page = await self.changes(since=since, limit=page_size, style=style, include_docs=include_docs)
            if page.results:
                yield page
            if len(page.results) < page_size:
                return
            since = page.last_seq


def _sequence(value: object, where: str) -> str | int:
    # A text since CouchDB 2, a number before.
    return value if type(value) is int else expect(value, str, where)


def _change(value: object, where: str) -> Change:
    item = expect(value, dict, where)
    listed = expect(item.get("changes"), list, where)
    leaves = [expect(expect(each, dict, where).get("rev"), str, where) for each in listed]
    document_id, seq = expect(item.get("id"), str, where), _sequence(item.get("seq"), where)
    return Change(document_id, seq, leaves, item.get("deleted") is True, item.get("doc"))
