"""`_all_docs`, `_design_docs` and `_local_docs`: lists documents in the order of their ids' bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from tornado_couch.embedded.couch import Couch
from tornado_couch.embedded.handlers.streams import from_thread
from tornado_couch.embedded.jsontext import dumps, loads
from tornado_couch.embedded.messages import Reply, Request, text_reply
from tornado_couch.embedded.problems import bad_request, query_parse_error
from tornado_couch.embedded.storage.database import Database, ReadOptions, Row
from tornado_couch.embedded.storage.databases import OpenDatabase
from tornado_couch.embedded.storage.documents import document_text
from tornado_couch.embedded.storage.info import format_seq
from tornado_couch.embedded.views.parameters import Key, ViewParameters, check, view_parameters, view_queries

__all__ = ["all_docs", "local_docs", "range_query"]

_SMALL = 200
_BATCH = 500


class RangeQuery(NamedTuple):
    """The parameters of an `_all_docs` query."""

    keys: list[Any] | None = None
    startkey: str | None = None
    endkey: str | None = None
    inclusive_end: bool = True
    descending: bool = False
    skip: int = 0
    limit: int = -1
    include_docs: bool = False
    update_seq: bool = False
    options: ReadOptions = ReadOptions()
    prefix: str = ""

    def bounds(self) -> tuple[str, list[object]]:
        """The condition on ids, with its values."""
        low, high = (self.endkey, self.startkey) if self.descending else (self.startkey, self.endkey)
        open_end = not self.inclusive_end
        parts, values = ["1"], []
        if low is not None:
            parts.append("id > ?" if open_end and self.descending else "id >= ?")
            values.append(low)
        if high is not None:
            parts.append("id < ?" if open_end and not self.descending else "id <= ?")
            values.append(high)
        return self._within_prefix(parts, values)

    def before(self) -> tuple[str, list[object]] | None:
        """The condition on the ids before `startkey`, or None."""
        if self.startkey is None:
            return None
        return self._within_prefix(["id > ?" if self.descending else "id < ?"], [self.startkey])

    def _within_prefix(self, parts: list[str], values: list[Any]) -> tuple[str, list[object]]:
        if self.prefix:
            parts.append("id >= ? AND id < ?")
            values += [self.prefix, self.prefix[:-1] + chr(ord(self.prefix[-1]) + 1)]
        return " AND ".join(parts), values


def range_query(request: Request, body: Mapping[str, Any], database: Database, prefix: str = "") -> RangeQuery:
    """Read the query in a URL and in the body of a POST; its parameters are those of a view without reduce.

    Raises:
        Problem: 400 query_parse_error.
    """
    keys = body.get("keys")
    if keys is not None and not isinstance(keys, list):
        raise bad_request("`keys` body member must be an array.")
    if "keys" in request.parameters:
        keys = loads(request.parameters["keys"])
        if not isinstance(keys, list):
            raise bad_request("`keys` parameter must be an array.")
    members = {name: value for name, value in body.items() if name not in ("keys", "queries")}
    pairs = [pair for pair in request.query if pair[0] != "keys"]
    return _of_parameters(view_parameters(pairs, members), database, prefix)._replace(keys=keys)


def _of_parameters(given: ViewParameters, database: Database, prefix: str) -> RangeQuery:
    """Apply a view's parameters to documents in the order of their ids."""
    given = check(given, reduced=False)
    if given.partition is not None:
        if not database.partitioned:
            raise query_parse_error("`partition` parameter is not supported on this db")
        prefix = f"{given.partition}:"
    options = ReadOptions(
        conflicts=bool(given.conflicts), attachments=given.attachments, att_encoding_info=given.att_encoding_info
    )
    return RangeQuery(
        given.keys, _id_bound(given.start_key) if given.start_key else given.start_id, _id_bound(given.end_key),
        given.inclusive_end, given.descending, given.skip, -1 if given.limit is None else given.limit,
        given.include_docs, given.update_seq, options, prefix,
    )  # fmt: skip


def _id_bound(key: Key | None) -> str | None:
    """A key as a bound of ids, which are ordered like Erlang's terms: text comes after everything else."""
    if key is None:
        return None
    return key.value if isinstance(key.value, str) else ""


def all_docs(couch: Couch, request: Request, opened: OpenDatabase, prefix: str = "") -> Reply:
    """Answer `_all_docs` or, with a prefix of ids, `_design_docs`."""
    request.allow("GET", "HEAD", "POST")
    body: dict[str, Any] = {}
    if request.method == "POST":
        request.need_json_type()
        body = request.json_object()
    query = range_query(request, body, opened.database, prefix)
    if query.keys is None and 0 <= query.limit <= _SMALL and not query.options.attachments:
        return text_reply("".join(listing(opened.database, query)))
    return Reply(200, stream=from_thread(couch.in_thread, lambda: _pieces(opened.database, query)))


def all_docs_queries(couch: Couch, request: Request, opened: OpenDatabase, prefix: str = "") -> Reply:
    """Answer `POST _all_docs/queries`: several queries at once."""
    request.allow("POST")
    request.need_json_type()
    database = opened.database
    parsed = [_of_parameters(item, database, prefix) for item in view_queries(request.json(), request.query)]

    def pieces() -> Iterator[str]:
        yield '{"results":['
        for place, query in enumerate(parsed):
            yield "," if place else ""
            yield from listing(database, query)
        yield "]}\n"

    return Reply(200, stream=from_thread(couch.in_thread, pieces))


def _pieces(database: Database, query: RangeQuery) -> Iterator[str]:
    yield from listing(database, query)
    yield "\n"


def listing(database: Database, query: RangeQuery) -> Iterator[str]:
    """The JSON of the answer to one query, in pieces."""
    total = database.count_rows(*query._within_prefix(["1"], [])) if query.prefix else database.doc_count
    offset: int | None = None
    if query.keys is None:
        before = query.before()
        offset = min((database.count_rows(*before) if before else 0) + query.skip, total)
    head = f'{{"total_rows":{total},"offset":{"null" if offset is None else offset},'
    if query.update_seq:
        head += f'"update_seq":"{format_seq(database, database.seq)}",'
    yield head + '"rows":[\n'
    first = True
    for batch in _keyed(database, query) if query.keys is not None else _ranged(database, query):
        if batch:
            yield ("" if first else ",\n") + ",\n".join(batch)
            first = False
    yield "\n]}"


def _ranged(database: Database, query: RangeQuery) -> Iterator[list[str]]:
    """The lines of a range, in batches; each batch begins after the one before."""
    left, skip = query.limit, query.skip
    while left:
        size = _BATCH if left < 0 else min(_BATCH, left)
        where, values = query.bounds()
        rows = database.rows(where=where, values=tuple(values), descending=query.descending, skip=skip, limit=size)
        yield [_line(database, query, row) for row in rows]
        if len(rows) < size:
            return
        left, skip = left - len(rows) if left > 0 else left, 1
        query = query._replace(startkey=rows[-1].id)


def _keyed(database: Database, query: RangeQuery) -> Iterator[list[str]]:
    """The lines for some keys, in the order of the keys."""
    keys = query.keys or []
    keys = keys[::-1] if query.descending else keys
    keys = keys[query.skip :] if query.limit < 0 else keys[query.skip : query.skip + query.limit]
    for start in range(0, len(keys), _BATCH):
        batch = keys[start : start + _BATCH]
        rows = database.rows_of([key if isinstance(key, str) else "" for key in batch])
        lines = [
            _line(database, query, row) if row else f'{{"key":{dumps(key)},"error":"not_found"}}'
            for key, row in zip(batch, rows, strict=True)
            if not query.prefix or (isinstance(key, str) and key.startswith(query.prefix))
        ]
        yield lines


def _line(database: Database, query: RangeQuery, row: Row) -> str:
    name = dumps(row.id)
    value = f'{{"rev":"{row.rev}","deleted":true}}' if row.deleted else f'{{"rev":"{row.rev}"}}'
    line = f'{{"id":{name},"key":{name},"value":{value}'
    if query.include_docs:
        line += f',"doc":{_document(database, query, row)}'
    return line + "}"


def _document(database: Database, query: RangeQuery, row: Row) -> str:
    """The document of a line; null if it is deleted."""
    if row.deleted:
        return "null"
    with database.connections.read() as connection:
        stored = database.stored(row.id, connection)
        if stored is None:
            return "null"
        return database.text(stored, row.rev, query.options, connection) or "null"


def local_docs(request: Request, opened: OpenDatabase) -> Reply:
    """Answer `_local_docs`."""
    request.allow("GET", "HEAD", "POST")
    body = request.json_object() if request.method == "POST" and request.body else {}
    query = range_query(request, body, opened.database)
    found: list[tuple[str, str | None, str | None]] = [*opened.database.locals()]
    if query.keys is not None:
        by_id = {item[0]: item for item in found}
        named = [key for key in query.keys if isinstance(key, str) and key.startswith("_local/")]
        found = [by_id.get(key, (key, None, None)) for key in named]
    found = [
        item for item in found
        if (query.startkey is None or item[0] >= query.startkey) and (query.endkey is None or item[0] <= query.endkey)
    ]  # fmt: skip
    found = found[::-1] if query.descending else found
    found = found[query.skip :] if query.limit < 0 else found[query.skip : query.skip + query.limit]
    lines = []
    for doc_id, rev, body_text in found:
        if rev is None or body_text is None:
            lines.append(f'{{"key":{dumps(doc_id)},"error":"not_found"}}')
            continue
        line = f'{{"id":{dumps(doc_id)},"key":{dumps(doc_id)},"value":{{"rev":{dumps(rev)}}}'
        lines.append(line + (f',"doc":{document_text(doc_id, rev, body_text)}' if query.include_docs else "") + "}")
    return text_reply('{"total_rows":null,"offset":null,"rows":[' + ",\n".join(lines) + "]}")
