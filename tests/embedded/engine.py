"""The view engine over documents in memory, without a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tornado_couch.embedded.javascript.pool import Scripts
from tornado_couch.embedded.problems import Problem
from tornado_couch.embedded.storage.source import Change
from tornado_couch.embedded.views.engine import DatabaseViews
from tornado_couch.embedded.views.parameters import view_parameters


class Documents:
    """A `Source` in memory."""

    def __init__(self, index_dir: Path | None = None) -> None:
        self.index_dir = index_dir
        self.seq = 0
        self.held: dict[str, tuple[int, str | None]] = {}
        self.fetched = 0

    def put(self, *documents: dict[str, Any]) -> None:
        """Write documents; one with `_deleted` becomes a tombstone."""
        for document in documents:
            self.seq += 1
            self.held.pop(document["_id"], None)
            text = None if document.get("_deleted") else json.dumps({"_rev": f"{self.seq}-x", **document})
            self.held[document["_id"]] = (self.seq, text)

    def current_seq(self) -> int:
        return self.seq

    def changes_since(
        self, seq: int, limit: int, *, conflicts: bool = False, local_seq: bool = False
    ) -> list[Change]:
        changes = [Change(at, doc_id, text is None, text) for doc_id, (at, text) in self.held.items() if at > seq]
        self.fetched += len(changes[:limit])
        return changes[:limit]

    def read(self, doc_id: str, rev: str | None = None) -> str | None:
        return self.held.get(doc_id, (0, None))[1]

    def documents(
        self, start: str | None, end: str | None, *, descending: bool = False, limit: int
    ) -> list[tuple[str, str]]:
        low, high = (end, start) if descending else (start, end)
        ids = [doc_id for doc_id in self.held if (low or "") <= doc_id <= (high or "\U0010ffff")]
        found = [(doc_id, self.read(doc_id)) for doc_id in sorted(ids, reverse=descending)]
        return [(doc_id, text) for doc_id, text in found if text is not None][:limit]


class Engine:
    """Documents, their views, and what runs the functions."""

    def __init__(self, documents: Documents, views: DatabaseViews, scripts: Scripts) -> None:
        self.documents = documents
        self.views = views
        self.scripts = scripts

    def reply(self, design: str, view: str = "v", **parameters: Any) -> dict[str, Any]:
        """The reply of a view query; parameters as in the body of a POST."""
        answer: dict[str, Any] = json.loads(self.views.query(design, view, view_parameters([], parameters)).text())
        return answer

    def rows(self, design: str, view: str = "v", **parameters: Any) -> list[tuple[Any, Any]]:
        """Key and value of each row."""
        return [(row["key"], row.get("value")) for row in self.reply(design, view, **parameters)["rows"]]


@contextmanager
def engine(index_dir: Path | None = None, seconds: float = 5.0) -> Iterator[Engine]:
    """An engine that is closed at the end."""
    scripts = Scripts(seconds=seconds)
    documents = Documents(index_dir)
    views = DatabaseViews(documents, scripts)
    try:
        yield Engine(documents, views, scripts)
    finally:
        views.close()
        scripts.close()


def design(map: str, reduce: str | None = None, **members: Any) -> str:  # noqa: A002  # as the member is called
    """The JSON text of a design document with one view `v`."""
    view = {"map": map} if reduce is None else {"map": map, "reduce": reduce}
    return json.dumps({"_id": "_design/d", "views": {"v": view}, **members})


def refusal(act: Any, *arguments: Any, **members: Any) -> tuple[int, str, str]:
    """Status, error and reason of the problem that a call raises."""
    with pytest.raises(Problem) as caught:
        act(*arguments, **members)
    return caught.value.status, caught.value.error, caught.value.reason
