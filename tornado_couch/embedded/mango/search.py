"""Carries out a Mango query: reads rows of an index or all documents, matches and projects them, and writes JSON."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from tornado_couch.embedded.collation import sort_key
from tornado_couch.embedded.jsontext import dumps, loads
from tornado_couch.embedded.mango.options import FindOptions
from tornado_couch.embedded.mango.plan import Plan
from tornado_couch.embedded.problems import Problem
from tornado_couch.embedded.selectors.operators import parse_field, project
from tornado_couch.embedded.storage.source import Source
from tornado_couch.embedded.views.designs import Design
from tornado_couch.embedded.views.engine import DatabaseViews
from tornado_couch.embedded.views.index import Bound, Range
from tornado_couch.embedded.views.query import Fetch

__all__ = ["Search"]

_NO_INDEX = "No matching index found, create an index to optimize query time."
_SCAN = (
    "The number of documents examined is high in proportion to the number of results returned. Consider adding a"
    " more specific index to improve this."
)
# How many documents are read at once; characters in a piece of the answer; the default scan threshold.
_DOCUMENTS, _PIECE, _THRESHOLD = 500, 1 << 16, 10


class _Row(NamedTuple):
    """A row that was read: its key as JSON text, the id, and the document if it was included."""

    key: str
    id: str
    text: str | None


class Search:
    """One run of a query.

    Args:
        source: the database.
        views: its indexes.
        options: the query.
        plan: the index to use, and which part of it.
        fetch: returns a document with its `_conflicts`.

    Attributes:
        wanted: the update sequence that the index must have reached; None for the database's current one.
    """

    def __init__(
        self, source: Source, views: DatabaseViews, options: FindOptions, plan: Plan, fetch: Fetch | None
    ) -> None:
        self.wanted: int | None = None
        self._source = source
        self._views = views
        self._options = options
        self._plan = plan
        self._fetch = fetch or source.read
        self._paths = [parse_field(name) for name in options.fields]
        self._bookmark = _unpacked(options.bookmark)
        self._covered = plan.covers(options)
        self._last: _Row | None = None
        self._keys = self._documents = self._results = 0

    @property
    def design(self) -> Design | None:
        """The design document whose index must be updated first, if there is one."""
        index = self._plan.index
        if index is None or self._plan.nothing or not self._options.update or self._options.stale == "ok":
            return None
        return index.design

    def chunks(self) -> Iterator[str]:
        """The answer's JSON text in pieces."""
        began = time.perf_counter()
        found = self._found()
        first = next(found, None)  # an early error is raised before the answer begins
        return self._written(first, found, began)

    def _written(self, first: str | None, found: Iterator[str], began: float) -> Iterator[str]:
        parts = ['{"docs":[\r\n', first or ""]
        size = 0
        for text in found:
            parts += (",\r\n", text)
            size += len(text)
            if size > _PIECE:
                yield "".join(parts)
                parts, size = [], 0
        tail = {} if self._plan.nothing else self._tail(began)
        parts += ["\r\n]", *(f",\r\n{json.dumps(name)}: {json.dumps(value)}" for name, value in tail.items()), "}"]
        yield "".join(parts)

    def _tail(self, began: float) -> dict[str, Any]:
        tail: dict[str, Any] = {"bookmark": self._packed()}
        if self._options.execution_stats:
            tail["execution_stats"] = {
                "total_keys_examined": self._keys,
                "total_docs_examined": self._documents,
                "total_quorum_docs_examined": 0,
                "results_returned": self._results,
                "execution_time_ms": round((time.perf_counter() - began) * 1000, 3),
            }
        warnings = self._warnings()
        if warnings:
            tail["warning"] = "\n".join(warnings)
        return tail

    def _warnings(self) -> list[str]:
        warnings = [self._plan.ignored] if self._plan.ignored else []
        if self._plan.index is not None and self._plan.index.design is None:
            warnings.append(_NO_INDEX)
        if self._documents > _THRESHOLD * max(1, self._results):
            warnings.append(_SCAN)
        return warnings

    # ---- documents that match

    def _found(self) -> Iterator[str]:
        """The JSON texts of the answer's documents."""
        left, skip = self._options.limit, self._options.skip
        if self._plan.nothing or left == 0:
            return
        for row in self._rows():
            text = self._matching(row)
            if text is None:
                continue
            self._last = row
            if skip:
                skip -= 1
                continue
            self._results += 1
            left -= 1
            yield text
            if left == 0:
                return

    def _matching(self, row: _Row) -> str | None:
        text = row.text if row.text is not None else self._source.read(row.id)
        if text is None:  # it was deleted after the index was read
            return None
        self._documents += not self._covered
        document = loads(text)
        if not self._options.selector.matches(document):
            return None
        if self._options.conflicts:
            text = self._fetch(row.id, None) or text
            document = loads(text)
        return dumps(project(document, self._paths)) if self._paths else text

    # ---- rows of an index

    def _rows(self) -> Iterator[_Row]:
        index = self._plan.index
        rows = self._all_documents() if index is None or index.design is None else self._index_rows()
        if self._bookmark is not None:
            # CouchDB begins at the bookmark's row and skips one: where that row is gone, the one after it.
            next(rows, None)
        for row in rows:
            self._keys += 1
            yield row

    def _index_rows(self) -> Iterator[_Row]:
        index = self._plan.index
        assert index is not None
        assert index.design is not None
        views, design = self._views, index.design
        stored = views.as_it_is(design) if self.design is None else views.updated(design, self.wanted)
        with stored.reading() as connection:
            for row in stored.rows(connection, self._range(index.place)):
                yield _Row(row.key, row.id, None)

    def _range(self, place: int) -> Range:
        start = Bound(sort_key(self._plan.start_key), None)
        # Any array that begins like this; it lies above all of them, since no key goes on with this byte.
        end = Bound(sort_key(self._plan.end_key)[:-1] + b"\xff", None)
        first, last = (end, start) if self._options.descending else (start, end)
        if self._bookmark is not None:
            key, doc_id = self._bookmark
            first = Bound(sort_key(loads(key)), doc_id)
        partition = self._options.partition or None
        return Range(place, first, last, descending=self._options.descending, partition=partition)

    def _all_documents(self) -> Iterator[_Row]:
        bounds = self._id_bounds()
        if bounds is None:
            return
        low, high = bounds
        start, end = (high, low) if self._options.descending else (low, high)
        start = start if self._bookmark is None else self._bookmark[1]
        last: str | None = None
        while True:
            found = self._source.documents(start, end, descending=self._options.descending, limit=_DOCUMENTS)
            for doc_id, text in found:
                # A page begins with the last document of the one before.
                if doc_id != last and not doc_id.startswith("_design/"):
                    yield _Row(dumps(doc_id), doc_id, text)
            if len(found) < _DOCUMENTS:
                return
            start = last = found[-1][0]

    def _id_bounds(self) -> tuple[str | None, str | None] | None:
        """The lowest and highest id that the selector allows; None if there is no text between its bounds."""
        low, high = (key[0] if key else None for key in (self._plan.start_key, self._plan.end_key))
        if self._plan.end_key and not isinstance(high, str):  # in the raw order text is above everything else
            return None
        if self._options.partition:
            low, high = f"{self._options.partition}:", f"{self._options.partition};"
        return low if isinstance(low, str) else None, high

    # ---- bookmarks

    def _packed(self) -> str:
        if self._last is None:
            return self._options.bookmark or "nil"
        return base64.urlsafe_b64encode(json.dumps([self._last.key, self._last.id]).encode()).decode().rstrip("=")


def _unpacked(bookmark: str | None) -> tuple[str, str] | None:
    """Key and id of the row that a bookmark names."""
    if bookmark is None:
        return None
    try:
        padded = bookmark + "=" * (-len(bookmark) % 4)
        key, doc_id = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
        loads(key)
        if isinstance(doc_id, str):
            return key, doc_id
    except (ValueError, TypeError, binascii.Error, Problem):
        pass
    raise Problem(400, "invalid_bookmark", f"Invalid bookmark value: {json.dumps(bookmark)}")
