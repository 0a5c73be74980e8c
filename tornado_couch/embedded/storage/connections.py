"""SQLite connections of one database: a file has many readers, a database in memory one connection for all."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Connections"]

_CACHE_KIB = 1024
_MAX_IDLE = 2


class Connections:
    """Hands out connections, each to one thread at a time.

    A file uses WAL, in which readers and the writer do not wait for each other. In memory there is one connection
    behind a lock.

    Args:
        path: the database file; None for memory.
        schema: the statements that create a new database.
    """

    def __init__(self, path: Path | None, schema: str) -> None:
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._closed = False
        self._lock = threading.RLock()
        self._writer = self._connect()
        if self._writer.execute("PRAGMA user_version").fetchone()[0] == 0:
            self._writer.executescript(f"BEGIN; {schema}; PRAGMA user_version = 1; COMMIT;")

    def _connect(self) -> sqlite3.Connection:
        made = sqlite3.connect(
            self._path or ":memory:", isolation_level=None, check_same_thread=False, cached_statements=64
        )
        try:
            self._set_up(made)
        except sqlite3.DatabaseError:  # the file is damaged
            made.close()
            raise
        return made

    def _set_up(self, made: sqlite3.Connection) -> None:
        if self._path is not None:
            # NORMAL: a commit survives the end of the process; fsync happens at checkpoints.
            made.execute("PRAGMA journal_mode = WAL")
            made.execute("PRAGMA synchronous = NORMAL")
            made.execute("PRAGMA busy_timeout = 10000")
        made.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection for reading; all statements in the block see the same state of the database."""
        if self._path is None:
            with self._lock:
                yield self._writer
            return
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        connection.execute("BEGIN")
        try:
            yield connection
        finally:
            connection.execute("ROLLBACK")
            self._give_back(connection)

    def read_row(self, statement: str, values: tuple[object, ...]) -> tuple[object, ...] | None:
        """Run one statement and return its first row."""
        if self._path is None:
            with self._lock:
                return self._writer.execute(statement, values).fetchone()  # type: ignore[no-any-return]
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = self._connect()
        try:
            return connection.execute(statement, values).fetchone()  # type: ignore[no-any-return]
        finally:
            self._give_back(connection)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if self._closed or len(self._idle) >= _MAX_IDLE:
            connection.close()
        else:
            self._idle.append(connection)

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """The connection for writing, in a transaction that is committed at the end or rolled back after an error."""
        with self._lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
            except BaseException:
                self._writer.execute("ROLLBACK")
                raise
            self._writer.execute("COMMIT")

    @contextmanager
    def alone(self) -> Iterator[sqlite3.Connection]:
        """The connection for writing, outside of a transaction (for VACUUM)."""
        with self._lock:
            yield self._writer

    def close(self) -> None:
        """Close every connection that is not in use; the others are closed when they are given back."""
        with self._lock:
            self._closed = True
            while self._idle:
                self._idle.pop().close()
            self._writer.close()
