"""Answers a view query: from its parameters to ranges of an index, and from rows to the JSON text of the reply."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from tornado_couch.embedded.problems import query_parse_error
from tornado_couch.embedded.views.index import Bound, Range, Row, ViewIndex
from tornado_couch.embedded.views.parameters import Key, ViewParameters
from tornado_couch.embedded.views.reduces import Reducer

__all__ = ["Fetch", "key_ranges", "map_reply", "reduce_reply"]

Fetch = Callable[[str, "str | None"], "str | None"]
"""A function that returns the JSON text of a document by id and revision; None if it is missing or deleted."""

# Characters in a piece of a reply; rows in a piece of a reduction; partial results before they are joined.
_PIECE = 1 << 16
_ROWS = 1000
_PARTIALS = 50
# Sorts after every document id: ids are UTF-8, which has no such byte; as text, it is the last code point.
_LAST_ID = "\U0010ffff"


def key_ranges(parameters: ViewParameters, place: int, encode: Callable[[Any], bytes]) -> list[Range]:
    """The ranges that a query asks for, in the order of its answer: one, or one for each of `keys`.

    Args:
        parameters: checked parameters.
        place: the number of the map in the index.
        encode: makes the index's sort key of a JSON value.

    Raises:
        Problem: 400, no key can lie in the range.
    """
    if parameters.keys is None:
        _check_range(parameters, encode)
        return [_range(parameters, place, parameters.start_key, parameters.end_key, encode)]
    turned = parameters.descending and not parameters.reduce
    keys = reversed(parameters.keys) if turned else parameters.keys
    return [_range(parameters, place, Key(key), Key(key), encode) for key in keys]


def _check_range(parameters: ViewParameters, encode: Callable[[Any], bytes]) -> None:
    start, end, down = parameters.start_key, parameters.end_key, parameters.descending
    if start is None or end is None or (start == end and json.dumps(start) == json.dumps(end)):
        return
    low, high = (_LAST_ID, "") if down else ("", _LAST_ID)
    first = (encode(start.value), low if parameters.start_id is None else parameters.start_id)
    last = (encode(end.value), high if parameters.end_id is None else parameters.end_id)
    if first < last if down else first >= last:
        raise query_parse_error(
            "No rows can match your key range, reverse your start_key and end_key or set descending="
            + ("false" if down else "true")
        )


def _range(
    parameters: ViewParameters, place: int, start: Key | None, end: Key | None, encode: Callable[[Any], bytes]
) -> Range:
    return Range(
        place,
        start and Bound(encode(start.value), parameters.start_id),
        end and Bound(encode(end.value), parameters.end_id),
        parameters.inclusive_end,
        parameters.descending,
        parameters.partition,
    )


# ---- maps


def map_reply(
    connection: sqlite3.Connection,
    place: int,
    parameters: ViewParameters,
    ranges: list[Range],
    fetch: Fetch,
    update_seq: str | None,
) -> Iterator[str]:
    """The JSON text of the answer to a query without reduce, in pieces."""
    head = []
    # A cluster cannot count unsorted rows, and leaves the counts out; so does CouchDB by default (q=2).
    if parameters.sorted:
        total = ViewIndex.total(connection, place)
        head += [f'"total_rows":{total}', f'"offset":{min(_ahead(connection, ranges) + parameters.skip, total)}']
    if parameters.sorted and update_seq is not None:
        head.append(f'"update_seq":{update_seq}')
    rows = _selected(connection, parameters, ranges)
    return _written(head, (_row(row, parameters, fetch) for row in rows))


def _ahead(connection: sqlite3.Connection, ranges: list[Range]) -> int:
    """How many rows come before the first range."""
    return ViewIndex.count(connection, ranges[0].ahead()) if ranges and ranges[0].start else 0


def _selected(connection: sqlite3.Connection, parameters: ViewParameters, ranges: list[Range]) -> Iterator[Row]:
    if len(ranges) == 1:
        return ViewIndex.rows(connection, ranges[0], parameters.limit, parameters.skip)
    each = (row for part in ranges for row in ViewIndex.rows(connection, part))
    stop = None if parameters.limit is None else parameters.skip + parameters.limit
    return islice(each, parameters.skip, stop)


def _row(row: Row, parameters: ViewParameters, fetch: Fetch) -> str:
    text = f'{{"id":{json.dumps(row.id, ensure_ascii=False)},"key":{row.key},"value":{row.value}'
    if parameters.include_docs:
        text += f',"doc":{_document(row, fetch)}'
    return text + "}"


def _document(row: Row, fetch: Fetch) -> str:
    """The row's document, or the one to which a value `{"_id": ...}` links."""
    doc_id: Any = row.id
    rev: Any = None
    if row.value.startswith("{") and ('"_id"' in row.value or '"_rev"' in row.value):
        value = json.loads(row.value)
        doc_id, rev = value.get("_id", row.id), value.get("_rev")
    if not isinstance(doc_id, str):
        return "null"
    return fetch(doc_id, rev if isinstance(rev, str) else None) or "null"


# ---- reduces


class _Piece(NamedTuple):
    group: bytes
    key: str
    rows: list[Row]


class _Group(NamedTuple):
    start: bytes
    key: str
    partials: list[Any]


def reduce_reply(
    connection: sqlite3.Connection,
    parameters: ViewParameters,
    ranges: list[Range],
    reduce: Reducer,
    encode: Callable[[Any], bytes],
    update_seq: str | None,
) -> Iterator[str]:
    """The JSON text of the answer to a query with reduce, in pieces."""
    head = [] if update_seq is None else [f'"update_seq":{update_seq}']
    pieces = (_pieces(ViewIndex.rows(connection, part), parameters.level, encode) for part in ranges)
    groups = (group for each in pieces for group in _reduced(each, reduce, parameters))
    stop = None if parameters.limit is None else parameters.skip + parameters.limit
    made = (f'{{"key":{key},{reduce.result(result)}}}' for key, result in islice(groups, parameters.skip, stop))
    return _written(head, made)


def _pieces(rows: Iterable[Row], level: int | None, encode: Callable[[Any], bytes]) -> Iterator[_Piece]:
    """The rows cut where a group ends, and where a piece is long enough."""
    group, whole, piece = b"", False, _Piece(b"", "null", [])
    for row in rows:
        if not piece.rows or not (row.sort_key == group if whole else row.sort_key.startswith(group)):
            if piece.rows:
                yield piece
            key, group, whole = _group(row, level, encode)
            piece = _Piece(group, key, [row])
        elif len(piece.rows) >= _ROWS:
            yield piece
            piece = piece._replace(rows=[row])
        else:
            piece.rows.append(row)
    if piece.rows:
        yield piece


def _group(row: Row, level: int | None, encode: Callable[[Any], bytes]) -> tuple[str, bytes, bool]:
    """The key of a row's group, what its sort keys begin with, and whether that is all of them."""
    if level == 0:
        return "null", b"", False
    value = json.loads(row.key) if level is not None and row.key.startswith("[") else []
    if level is None or len(value) < level:
        return row.key, row.sort_key, True
    cut = value[:level]
    # An array's sort key starts with those of its first items, which no other group's does. The prefix is without
    # the array's end; the text is escaped, since a map may emit half a surrogate pair.
    return json.dumps(cut, separators=(",", ":")), encode(cut)[:-1], False


def _reduced(pieces: Iterable[_Piece], reduce: Reducer, parameters: ViewParameters) -> Iterator[tuple[str, Any]]:
    """The key and result of each group; many small groups are reduced at a time."""
    groups: list[_Group] = []
    # A short page needs few groups, so start with small batches.
    few = parameters.limit is not None and parameters.limit < 100
    for batch in _batches(pieces, first=20 if few else _ROWS):
        for piece, partial in zip(batch, reduce.reduce([piece.rows for piece in batch]), strict=True):
            if not groups or groups[-1].start != piece.group:
                groups.append(_Group(piece.group, piece.key, []))
            groups[-1].partials.append(partial)
        yield from _results(groups[:-1], reduce)
        del groups[:-1]
        if len(groups[0].partials) >= _PARTIALS:
            groups[0].partials[:] = reduce.rereduce([groups[0].partials])
    yield from _results(groups, reduce)


def _results(groups: list[_Group], reduce: Reducer) -> Iterator[tuple[str, Any]]:
    results = reduce.rereduce([group.partials for group in groups])
    return zip((group.key for group in groups), results, strict=True)


def _batches(pieces: Iterable[_Piece], first: int) -> Iterator[list[_Piece]]:
    batch: list[_Piece] = []
    size, enough = 0, first
    for piece in pieces:
        batch.append(piece)
        size += len(piece.rows)
        if size >= enough:
            yield batch
            batch, size = [], 0
            enough = min(enough * 2, _ROWS)
    if batch:
        yield batch


# ---- writing


def _written(head: list[str], rows: Iterable[str]) -> Iterator[str]:
    parts = ["{", ",".join([*head, '"rows":[\r\n'])]
    size = 0
    between = ""
    for row in rows:
        parts += (between, row)
        between = ",\r\n"
        size += len(row)
        if size > _PIECE:
            yield "".join(parts)
            parts, size = [], 0
    yield "".join([*parts, "\r\n]}"])
