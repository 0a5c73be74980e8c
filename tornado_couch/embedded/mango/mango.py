"""Mango for one database: `_find`, `_explain` and `_index`.

JSON indexes are design documents of language "query", which the view indexes serve. What a request changes is returned
as an `IndexChange`, which the server then writes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from tornado_couch.embedded.jsontext import dumps, loads
from tornado_couch.embedded.mango.options import (
    IndexOptions,
    bulk_delete_options,
    definition_options,
    find_options,
    index_options,
)
from tornado_couch.embedded.mango.plan import MAX, Plan, make_plan
from tornado_couch.embedded.mango.search import Search
from tornado_couch.embedded.problems import Problem, not_found, query_parse_error
from tornado_couch.embedded.selectors.operators import join_field
from tornado_couch.embedded.storage.source import Source
from tornado_couch.embedded.views.engine import DatabaseViews
from tornado_couch.embedded.views.mango_index import MangoIndex, indexes_of
from tornado_couch.embedded.views.query import Fetch

__all__ = ["IndexChange", "Mango"]

_ALL_DOCS = MangoIndex(None, "_all_docs", (("_id", "asc"),))


class IndexChange(NamedTuple):
    """The outcome of a request about indexes.

    Attributes:
        reply: the body of the answer, to be sent once the document is written.
        id: the design document's id.
        document: the design document to write, with `_rev` if it exists; None if there is nothing to write.
        deleted: whether to delete `document` instead.
    """

    reply: dict[str, Any]
    id: str
    document: dict[str, Any] | None
    deleted: bool = False


class Mango:
    """Queries and indexes of one open database.

    Args:
        source: the database.
        views: its indexes.
        partitioned: whether the database is partitioned.
    """

    def __init__(self, source: Source, views: DatabaseViews, *, partitioned: bool = False) -> None:
        self._source = source
        self._views = views
        self._partitioned = partitioned

    def find(self, body: Any, designs: Sequence[str], fetch: Fetch | None = None) -> Iterator[str]:
        """The JSON text of the answer to `POST /db/_find`, in pieces; arguments and errors are those of `search`."""
        return self.search(body, designs, fetch).chunks()

    def search(self, body: Any, designs: Sequence[str], fetch: Fetch | None = None) -> Search:
        """Prepare the search that a `POST /db/_find` asks for; nothing is read yet.

        Args:
            body: the request's JSON value.
            designs: the JSON texts of all design documents.
            fetch: returns a document with `_conflicts`, for the option `conflicts`.

        Raises:
            Problem: 400.
        """
        options = find_options(body)
        self._check_partition(options.partition)
        plan = make_plan(self._all(designs), options)
        return Search(self._source, self._views, options, plan, fetch)

    def explain(self, body: Any, designs: Sequence[str], dbname: str) -> dict[str, Any]:
        """The answer to `POST /db/_explain`."""
        options = find_options(body)
        self._check_partition(options.partition)
        plan = make_plan(self._all(designs), options, explain=True)
        paths = {join_field(path) for path in options.selector.indexable()}
        unindexable = {join_field(path) for path in options.selector.fields()} - paths
        explained: dict[str, Any] = {
            "dbname": dbname,
            "index": None if plan.index is None else plan.index.to_json(),
            "partitioned": self._partitioned,
            "selector": options.selector.to_json(),
            "opts": options.to_json(),
            "limit": options.limit,
            "skip": options.skip,
            "fields": options.fields,
            "index_candidates": plan.candidates,
            "selector_hints": [
                {"type": "json", "indexable_fields": sorted(paths), "unindexable_fields": sorted(unindexable)}
            ],
        }
        if plan.index is not None:
            covering = plan.covers(options)
            explained["mrargs"] = _view_arguments(plan, options, covering=covering)
            explained["covering"] = covering
        return explained

    # ---- indexes

    def indexes(self, designs: Sequence[str], query: dict[str, str] | None = None) -> dict[str, Any]:
        """The answer to `GET /db/_index`.

        Args:
            designs: the JSON texts of all design documents, in the order of their ids.
            query: `limit` and `skip` of the query string.
        """
        found = self._all(designs)
        try:
            limit, skip = (int((query or {}).get(name, default)) for name, default in (("limit", 1 << 30), ("skip", 0)))
        except ValueError:
            limit = 0
        if limit < 1 or skip < 0:
            raise Problem(500, "invalid_list_index_params", "Index parameter ranges: limit > 1, skip > 0")
        shown = [index.to_json() for index in found[skip : skip + limit]]
        return {"total_rows": len(found), "indexes": shown}

    def new_index(self, body: Any, designs: Sequence[str]) -> IndexChange:
        """Plan the change for `POST /db/_index`.

        Raises:
            Problem: 400; 503 for a text index, as CouchDB answers if it has no search service.
        """
        options = index_options(body)
        if options.type in ("text", "nouveau"):
            raise Problem(503, "required index service unavailable", options.type)
        if options.type != "json":
            raise Problem(400, "invalid_index", f"Invalid type for index: {options.type}")
        fields, partial = definition_options(options.index)
        name, design_id = _names(options)
        document = self._document(designs, design_id) or {"_id": design_id, "language": "query"}
        self._check_language(document)
        before = dumps(document)
        view = {
            "map": {"fields": dict(fields), "partial_filter_selector": partial},
            "reduce": "_count",
            "options": {"def": options.index},
        }
        document = {**document, "views": {**document.get("views", {}), name: view}}
        if options.partitioned is not None:
            document.setdefault("options", {"partitioned": options.partitioned})
        if options.partitioned and not self._partitioned:
            words = "Unknown error while saving the design document: invalid_design_doc"
            raise Problem(500, "error_saving_ddoc", words)
        exists = dumps(document) == before
        reply = {"result": "exists" if exists else "created", "id": design_id, "name": name}
        return IndexChange(reply, design_id, None if exists else document)

    def drop_index(self, design: str, kind: str, name: str, designs: Sequence[str]) -> IndexChange:
        """Plan the change for `DELETE /db/_index/design/kind/name`; `design` is given with or without `_design/`.

        Raises:
            Problem: 404, the index does not exist.
        """
        design_id = f"_design/{design.removeprefix('_design/')}"
        held = [index for index in indexes_of(designs) if index.design is not None and index.design.id == design_id]
        if kind != "json" or not any(index.name == name for index in held):
            raise not_found("missing")
        return self._without(designs, design_id, lambda view: view != name)

    def drop_indexes(self, body: Any, designs: Sequence[str]) -> tuple[list[IndexChange], dict[str, Any]]:
        """Plan the changes for `POST /db/_index/_bulk_delete`; returns them and the answer after they are written."""
        changes, missing = [], []
        held = {index.design.id for index in indexes_of(designs) if index.design is not None}
        for design_id in bulk_delete_options(body):
            if design_id in held:
                changes.append(self._without(designs, design_id, lambda _: False))
            else:
                missing.append({"id": design_id, "error": "not_found"})
        success = [{"id": change.id, "ok": True} for change in reversed(changes)]
        return changes, {"success": success, "fail": missing}

    # ---- helpers

    def _all(self, designs: Sequence[str]) -> list[MangoIndex]:
        return [_ALL_DOCS, *indexes_of(designs, self._partitioned)]

    def _check_partition(self, partition: str) -> None:
        if partition and not self._partitioned:
            raise query_parse_error("`partition` parameter is not supported on this db")

    @staticmethod
    def _document(designs: Sequence[str], design_id: str) -> dict[str, Any] | None:
        documents = (loads(text) for text in designs)
        return next((document for document in documents if document["_id"] == design_id), None)

    @staticmethod
    def _check_language(document: dict[str, Any]) -> None:
        if document.get("language") != "query":
            raise Problem(400, "invalid_index", "Invalid design document query language.")

    def _without(self, designs: Sequence[str], design_id: str, keep: Callable[[str], bool]) -> IndexChange:
        document = self._document(designs, design_id) or {}
        views = {name: view for name, view in document["views"].items() if keep(name)}
        kept = {name: value for name, value in document.items() if name != "views"}
        if views:
            return IndexChange({"ok": True}, design_id, {**kept, "views": views})
        return IndexChange({"ok": True}, design_id, kept, deleted=set(kept) <= {"_id", "_rev", "language"})


def _names(options: IndexOptions) -> tuple[str, str]:
    """The index's name and its design document's id; they are derived from the definition if not given."""
    parts = json.dumps([options.index, options.type, options.name, options.ddoc], sort_keys=True)
    made = hashlib.sha1(parts.encode(), usedforsecurity=False).hexdigest()
    return options.name or made, f"_design/{(options.ddoc or made).removeprefix('_design/')}"


def _view_arguments(plan: Plan, options: Any, *, covering: bool) -> dict[str, Any]:
    special = plan.index is not None and plan.index.design is None
    start: Any = plan.start_key
    end: Any = [*plan.end_key, MAX]
    if special:
        start, end = (start[0] if start else "" if plan.ranges else None), end[0]
    if plan.nothing:
        start = end = None
    if options.descending:
        start, end = end, start
    return {
        "include_docs": options.r == 1 and not covering,
        "view_type": "map",
        "reduce": False,
        "partition": options.partition or None,
        "start_key": start,
        "end_key": end,
        "direction": "rev" if options.descending else "fwd",
        "stable": options.stable or options.stale == "ok",
        "update": options.update and options.stale != "ok",
        "conflicts": True if options.conflicts else "undefined",
    }
