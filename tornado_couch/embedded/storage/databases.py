"""The databases of a server: creates, opens, lists and deletes them, and manages their files."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
import shutil
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from urllib.parse import quote

from tornado_couch.embedded.problems import Problem, no_database
from tornado_couch.embedded.storage.database import Database
from tornado_couch.embedded.storage.transaction import Writer

__all__ = ["Databases", "OpenDatabase", "Updates", "check_name"]

_NAME = re.compile(r"[a-z][a-z0-9_$()+/-]*")
_RESERVED = ("_users", "_replicator", "_global_changes")
_MAX_NAME = 238  # CouchDB's own limit
_MAX_FOLDER = 120


def check_name(name: str) -> str:
    """Return the name if a database can have it.

    Raises:
        Problem: 400 illegal_database_name or database_name_too_long.
    """
    if name not in _RESERVED and not _NAME.fullmatch(name):
        raise Problem(
            400,
            "illegal_database_name",
            f"Name: '{name}'. Only lowercase characters (a-z), digits (0-9), and any of the characters"
            " _, $, (, ), +, -, and / are allowed. Must begin with a letter.",
        )
    if len(name) > _MAX_NAME:
        raise Problem(400, "database_name_too_long", f"At least one path segment of `{name}` is too long.")
    return name


def _folder_name(name: str) -> str:
    """A file name for a database, without characters that are special for a file system."""
    safe = quote(name, safe="").replace(".", "%2E").replace("%", "=")
    if len(safe) <= _MAX_FOLDER:
        return safe
    return f"{safe[:60]}=={hashlib.sha256(name.encode()).hexdigest()}"


class Updates:
    """What has happened to the databases since the server started, for `_db_updates`: the latest of each kind."""

    def __init__(self) -> None:
        self.seq = 0
        self._latest: dict[tuple[str, str], int] = {}
        self._waiters: set[asyncio.Future[None]] = set()

    def note(self, name: str, kind: str) -> None:
        """Note that a database was created, updated or deleted."""
        self.seq += 1
        self._latest[name, kind] = self.seq
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def since(self, seq: int) -> list[tuple[int, str, str]]:
        """What happened after a sequence number: the number, the database and the kind."""
        return sorted((each, name, kind) for (name, kind), each in self._latest.items() if each > seq)

    async def changed(self, timeout: float) -> None:
        """Wait until something happens, for `timeout` seconds at most."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await asyncio.wait([waiter], timeout=timeout)
        finally:
            self._waiters.discard(waiter)


class OpenDatabase:
    """An open database, with its writer and the tasks that wait for its next change."""

    def __init__(self, database: Database, executor: Executor, updated: Callable[[], None] = lambda: None) -> None:
        self.database = database
        self._updated, self._seen = updated, database.seq
        self.writer = Writer(database, executor, self._wake)
        self.deleted = False
        self._validators: tuple[int, list[str]] = (-1, [])
        self._waiters: set[asyncio.Future[None]] = set()

    def validators(self) -> list[str]:
        """The design documents that have a function `validate_doc_update`."""
        version, found = self._validators
        if version != self.database.design_version:
            version = self.database.design_version
            texts = self.database.design_documents()
            found = [text for _, text in texts if "validate_doc_update" in json.loads(text)]
            self._validators = (version, found)
        return found

    def _wake(self) -> None:
        if self.database.seq > self._seen:  # local documents have no sequence number
            self._seen = self.database.seq
            self._updated()
        waiters, self._waiters = self._waiters, set()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def changed(self, timeout: float) -> bool:
        """Wait for the next commit or the deletion; False after `timeout` seconds without one."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            done, _ = await asyncio.wait([waiter], timeout=timeout)
        finally:
            self._waiters.discard(waiter)
        return bool(done)

    def owner(self, what: str) -> tuple[int, str]:
        """A key that distinguishes this database's work from that of others (`Turns`)."""
        return id(self), what

    def close(self, *, deleted: bool = False) -> None:
        """Close the files, and wake all tasks that wait."""
        self.deleted = deleted
        self.database.close()
        self._wake()


class Databases:
    """All databases in one folder, or in memory.

    Args:
        folder: the folder for the files; None for memory.
        executor: the threads for long writes.
    """

    def __init__(self, folder: Path | None, executor: Executor) -> None:
        self._folder = folder / "databases" if folder else None
        self._executor = executor
        self.updates = Updates()
        self._open: dict[str, OpenDatabase] = {}
        self._names: set[str] = set()
        if self._folder:
            self._folder.mkdir(parents=True, exist_ok=True)
            for left in self._folder.glob(".deleted-*"):
                shutil.rmtree(left, ignore_errors=True)
            self._names = {_read_name(path) for path in self._folder.iterdir() if (path / "name").is_file()}

    def names(self) -> list[str]:
        """The names of all databases, sorted."""
        return sorted(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def get(self, name: str) -> OpenDatabase:
        """Find an existing database, and open it if necessary.

        Raises:
            Problem: 404, the database does not exist.
        """
        found = self._open.get(name)
        if found is None:
            if name not in self._names:
                raise no_database()
            found = self._open[name] = self._make(name, partitioned=False)
        return found

    def create(self, name: str, *, partitioned: bool = False) -> OpenDatabase:
        """Create an empty database.

        Raises:
            Problem: 400, the name is not allowed; 412, it exists.
        """
        check_name(name)
        if name in self._names:
            raise Problem(412, "file_exists", "The database could not be created, the file already exists.")
        made = self._open[name] = self._make(name, partitioned=partitioned)
        self._names.add(name)
        self.updates.note(name, "created")
        return made

    def _make(self, name: str, *, partitioned: bool) -> OpenDatabase:
        folder = self._folder / _folder_name(name) if self._folder else None
        if folder and not (folder / "name").exists():
            shutil.rmtree(folder, ignore_errors=True)
        database = Database(name, folder, partitioned=partitioned)
        if folder and not (folder / "name").exists():
            # This is written last: a folder without it is left over from an interrupted creation.
            (folder / "name").write_text(name, encoding="utf-8")
        return OpenDatabase(database, self._executor, lambda: self.updates.note(name, "updated"))

    def delete(self, name: str) -> Path | None:
        """Delete a database, and return the folder to which its files were moved; None in memory.

        Raises:
            Problem: 404, the database does not exist.
        """
        gone = self.get(name)
        self._names.discard(name)
        del self._open[name]
        gone.close(deleted=True)
        self.updates.note(name, "deleted")
        if self._folder is None:
            return None
        # One step, so that an interruption leaves everything or nothing; the next start removes the folder.
        hidden = self._folder / f".deleted-{secrets.token_hex(8)}"
        (self._folder / _folder_name(name)).rename(hidden)
        return hidden

    def close(self) -> None:
        """Close every database."""
        for opened in self._open.values():
            opened.close()
        self._open.clear()


def _read_name(folder: Path) -> str:
    return (folder / "name").read_text(encoding="utf-8")
