"""One index: the rows that the maps of a design document emitted, in CouchDB's order, in a SQLite file.

The index follows its database by update sequence. One thread updates it while others that need the same wait; readers
see the state of one moment (a read transaction) during the update. It can be rebuilt at any time, so a damaged file is
thrown away.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from cachetools import LRUCache

from tornado_couch.embedded.collation import raw_key, sort_key
from tornado_couch.embedded.problems import Problem
from tornado_couch.embedded.storage.source import Change, Source

__all__ = ["Bound", "Maps", "Range", "Row", "ViewIndex"]

# How many changes one transaction processes; limits memory, and what is lost through an error in a map.
BATCH = 250
# How many connections are kept open for readers; how many reduced answers are cached; and the longest query for one.
READERS, REDUCTIONS, LONGEST = 4, 64, 4096

_SCHEMA = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS rows (
    place INTEGER NOT NULL, key BLOB NOT NULL, id TEXT NOT NULL, nth INTEGER NOT NULL,
    key_text TEXT NOT NULL, value_text TEXT NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS rows_in_order ON rows (place, key, id, nth);
CREATE INDEX IF NOT EXISTS rows_of_document ON rows (id, place);
CREATE TABLE IF NOT EXISTS totals (place INTEGER PRIMARY KEY, total INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS state (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL);
INSERT OR IGNORE INTO state VALUES (1, 0);
"""


class Row(NamedTuple):
    """A row of an index, with key and value as JSON text."""

    id: str
    key: str
    value: str
    sort_key: bytes


class Bound(NamedTuple):
    """One end of a range: the bytes of a key, and a document id among the rows of that key, or None for all of them."""

    key: bytes
    id: str | None


class Range(NamedTuple):
    """Consecutive rows of one map.

    Attributes:
        place: the number of the map.
        start: where the rows begin, in the direction of the query; None for the first.
        end: where they end.
        inclusive: whether the end is included.
        descending: the direction.
        partition: the prefix, before a colon, that the ids of the documents must have.
    """

    place: int
    start: Bound | None = None
    end: Bound | None = None
    inclusive: bool = True
    descending: bool = False
    partition: str | None = None

    def where(self) -> tuple[str, list[Any]]:
        """The SQL condition and its arguments."""
        condition = ["place = ?"]
        arguments: list[Any] = [self.place]
        after, before = ("<=", ">") if self.descending else (">=", "<")
        if self.start is not None:
            condition.append(_compared(self.start, after, arguments))
        if self.end is not None:
            condition.append(_compared(self.end, f"{before}=" if self.inclusive else before, arguments))
        if self.partition is not None:
            condition.append("id >= ? AND id < ?")
            arguments += [f"{self.partition}:", f"{self.partition};"]
        return " AND ".join(condition), arguments

    def ahead(self) -> Range:
        """The rows before these."""
        return self._replace(start=None, end=self.start, inclusive=False)


def _compared(bound: Bound, comparison: str, arguments: list[Any]) -> str:
    arguments.append(bound.key)
    if bound.id is None:
        return f"key {comparison} ?"
    arguments.append(bound.id)
    return f"(key, id) {comparison} (?, ?)"


class Maps(Protocol):
    """The map functions of a design document."""

    def rows(self, bodies: list[str]) -> Iterator[list[list[str]]]:
        """Map documents: for each document and each map, the JSON texts of key, value, key, value, and so on."""
        ...


class ViewIndex:
    """The index of all design documents that have the same signature.

    Args:
        path: the file.
        options: the design document's options.
    """

    def __init__(self, path: Path, options: dict[str, Any]) -> None:
        self.path = path
        self._design_too = options.get("include_design") is True
        self._local_seq = options.get("local_seq") is True
        raw = options.get("collation") == "raw"
        self.encode = raw_key if raw else sort_key
        self._key_of = _raw_bytes if raw else _bytes
        self._turn = threading.Condition()
        self._updating = False
        self._lock = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        self._waiting = 0
        self._ended = 0
        self._failure: tuple[int, Problem] | None = None
        self._reduced: LRUCache[tuple[Any, ...], str] = LRUCache(REDUCTIONS)
        self._writer = self._opened()
        self.seq: int = self._writer.execute("SELECT seq FROM state").fetchone()[0]

    # ---- reading

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees the index as it is now, until the end of the block."""
        with self._lock:
            if self._closed:
                raise _gone()
            connection = self._idle.pop() if self._idle else None
        connection = connection or self._connect()
        try:
            connection.execute("BEGIN")
            yield connection
        finally:
            connection.rollback()
            with self._lock:
                keep = not self._closed and len(self._idle) < READERS
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close()

    @staticmethod
    def total(connection: sqlite3.Connection, place: int) -> int:
        """How many rows a map has emitted."""
        row = connection.execute("SELECT total FROM totals WHERE place = ?", (place,)).fetchone()
        return row[0] if row else 0

    @staticmethod
    def seq_of(connection: sqlite3.Connection) -> int:
        """The update sequence of the state that a reader sees."""
        seq: int = connection.execute("SELECT seq FROM state").fetchone()[0]
        return seq

    @staticmethod
    def count(connection: sqlite3.Connection, part: Range) -> int:
        """How many rows a range has."""
        condition, arguments = part.where()
        counted = connection.execute(f"SELECT COUNT(*) FROM rows WHERE {condition}", arguments)  # noqa: S608
        number: int = counted.fetchone()[0]
        return number

    @staticmethod
    def rows(connection: sqlite3.Connection, part: Range, limit: int | None = None, skip: int = 0) -> Iterator[Row]:
        """The rows of a range, in its direction; rows that one document emitted with the same key keep their order."""
        condition, arguments = part.where()
        way = "DESC" if part.descending else "ASC"
        cursor = connection.execute(
            f"SELECT id, key_text, value_text, key FROM rows WHERE {condition}"  # noqa: S608  # no user's text in it
            f" ORDER BY key {way}, id {way}, nth LIMIT ? OFFSET ?",
            (*arguments, -1 if limit is None else min(limit, 1 << 62), min(skip, 1 << 62)),
        )
        return map(Row._make, cursor)

    def remembered(self, query: tuple[Any, ...], make: Callable[[], Iterator[str]]) -> Iterator[str]:
        """The pieces of a reduced answer, from the cache if possible.

        Args:
            query: everything that the answer depends on, including the update sequence; text last.
            make: makes the answer.
        """
        with self._lock:
            text = self._reduced.get(query)
        if text is not None:
            return iter([text])
        return self._remembering(query, make())

    def _remembering(self, query: tuple[Any, ...], chunks: Iterator[str]) -> Iterator[str]:
        pieces = 0
        for piece in chunks:
            pieces += 1
            yield piece
        if pieces == 1 and len(query[-1]) < LONGEST:  # only short answers, such as a total
            with self._lock:
                self._reduced[query] = piece

    # ---- updating

    @property
    def updating(self) -> bool:
        """Whether a thread is updating the index now."""
        return self._updating

    @property
    def waiting(self) -> int:
        """How many threads are waiting for an update."""
        return self._waiting

    def update(self, source: Source, maps: Maps, wanted: int | None = None) -> None:
        """Process every change up to the database's current one, unless the index has already reached `wanted`.

        Raises:
            Problem: 500, a map function cannot be run; earlier changes are kept.
        """
        current = source.current_seq()
        if self.seq >= (current if wanted is None else wanted):
            return
        with self._turn:
            asked = self._ended
            while self._updating:
                self._waiting += 1
                self._turn.wait()
                self._waiting -= 1
                # Threads that waited for a failed attempt share its failure, so that an endless map costs its time only
                # once.
                if self._failure is not None and self._failure[0] > asked:
                    raise self._failure[1]
            if self._closed:
                raise _gone()
            self._updating = True
        self._attempt(source, maps, current)

    def _attempt(self, source: Source, maps: Maps, wanted: int) -> None:
        failure: Problem | None = None
        try:
            while self.seq < wanted and not self._closed:
                self._step(source, maps, wanted)
        except Problem as problem:
            failure = problem
            raise
        finally:
            with self._turn:
                self._updating = False
                self._ended += 1
                self._failure = (self._ended, failure) if failure is not None else None
                self._turn.notify_all()

    def _step(self, source: Source, maps: Maps, wanted: int) -> None:
        changes = source.changes_since(self.seq, BATCH, conflicts=True, local_seq=self._local_seq)
        mapped = [change for change in changes if change.body is not None and self._wants(change)]
        emitted = maps.rows([change.body for change in mapped if change.body is not None])
        rows = [row for change, results in zip(mapped, emitted, strict=True) for row in self._made(change.id, results)]
        seq = changes[-1].seq if changes else wanted
        with self._writer:
            self._writer.execute("BEGIN IMMEDIATE")
            self._remove(change.id for change in changes)
            self._insert(rows)
            self._writer.execute("UPDATE state SET seq = ?", (seq,))
        self.seq = seq

    def _wants(self, change: Change) -> bool:
        return self._design_too or not change.id.startswith("_design/")

    def _made(self, doc_id: str, results: list[list[str]]) -> Iterator[tuple[Any, ...]]:
        for place, texts in enumerate(results):
            pairs = iter(texts)
            for nth, (key, value) in enumerate(zip(pairs, pairs, strict=True)):
                yield place, self._key_of(key), doc_id, nth, key, value

    def _remove(self, ids: Iterable[str]) -> None:
        for doc_id in ids:
            counted = "SELECT place, COUNT(*) FROM rows WHERE id = ? GROUP BY place"
            gone = self._writer.execute(counted, (doc_id,)).fetchall()
            if gone:
                self._writer.execute("DELETE FROM rows WHERE id = ?", (doc_id,))
                self._add_totals({place: -number for place, number in gone})

    def _insert(self, rows: list[tuple[Any, ...]]) -> None:
        self._writer.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?)", rows)
        totals: dict[int, int] = {}
        for row in rows:
            totals[row[0]] = totals.get(row[0], 0) + 1
        self._add_totals(totals)

    def _add_totals(self, totals: dict[int, int]) -> None:
        for place, number in totals.items():
            self._writer.execute("INSERT OR IGNORE INTO totals VALUES (?, 0)", (place,))
            self._writer.execute("UPDATE totals SET total = total + ? WHERE place = ?", (number, place))

    # ---- the file

    def size(self) -> int:
        """The size on disk in bytes."""
        files = (Path(f"{self.path}{suffix}") for suffix in ("", "-wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    def stop(self) -> None:
        """Refuse new readers, and end a running update after its current step, without waiting for it."""
        self._closed = True

    def close(self) -> None:
        """Close the file after the current step of a running update; readers keep their connections to the end."""
        self.stop()
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
        with self._turn:
            self._turn.wait_for(lambda: not self._updating)
            self._writer.close()

    def remove(self) -> None:
        """Close and delete the file."""
        self.close()
        _delete(self.path)

    def _opened(self) -> sqlite3.Connection:
        try:
            return self._prepared()
        except sqlite3.DatabaseError:  # the file is damaged, but its rows can be made again
            _delete(self.path)
            return self._prepared()

    def _prepared(self) -> sqlite3.Connection:
        connection = self._connect()
        try:
            connection.executescript(_SCHEMA)
        except sqlite3.DatabaseError:
            connection.close()
            raise
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=60)
        try:
            # The index can be rebuilt: it need not survive a power cut, but must stay consistent, which WAL ensures.
            connection.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.DatabaseError:  # the first statement reads the file and finds it damaged
            connection.close()
            raise
        return connection


def _gone() -> Problem:
    return Problem(404, "not_found", "Database does not exist.")


def _delete(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # thousands of nested lists, or very many digits
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> Problem:
    return Problem(500, "invalid_key", f"A map emitted a key that cannot be read: {error}")


def _bytes(text: str) -> bytes:
    # Short keys, such as a type or a year, appear again and again.
    return _remembered(text) if len(text) < 32 else sort_key(_parsed(text))


@lru_cache(maxsize=2048)
def _remembered(text: str) -> bytes:
    return sort_key(_parsed(text))


def _raw_bytes(text: str) -> bytes:
    try:
        return raw_key(_parsed(text))
    except RecursionError as error:
        raise _unreadable(error) from error
