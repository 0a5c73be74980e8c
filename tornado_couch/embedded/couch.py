"""The state that all handlers of a server share: databases, users, settings, threads, the view engine."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tornado_couch.embedded.messages import User
from tornado_couch.embedded.problems import Problem, bad_request, no_database, not_implemented
from tornado_couch.embedded.storage.databases import Databases, OpenDatabase
from tornado_couch.embedded.storage.folder import DataFolder
from tornado_couch.embedded.users.authentication import Authenticator
from tornado_couch.embedded.users.security import need_member
from tornado_couch.embedded.views.engine import IndexUpdates, Turns

if TYPE_CHECKING:
    from tornado_couch.embedded.javascript.pool import Scripts
    from tornado_couch.embedded.replication.replication import Replications
    from tornado_couch.embedded.replication.replicator import Replicator
    from tornado_couch.embedded.views.engine import DatabaseViews
    from tornado_couch.embedded.views.functions import Functions

__all__ = ["VERSION", "Couch", "Settings"]

VERSION = "3.5.0"
"""The version of CouchDB whose answers this server imitates."""

_THREADS = 8
_Result = TypeVar("_Result")


class Settings:
    """The settings that this server supports, by CouchDB's sections and names."""

    def __init__(self) -> None:
        self.values: dict[str, dict[str, str]] = {
            "couchdb": {"max_document_size": "8000000"},
            "chttpd": {"require_valid_user": "false"},
            "uuids": {"algorithm": "sequential", "max_count": "1000"},
        }

    def number(self, section: str, name: str) -> int:
        """A setting that is a number."""
        return int(self.values[section][name])

    def check(self, section: str, name: str, value: str) -> None:
        """Refuse a value that is not valid for a setting.

        Raises:
            Problem: 400.
        """
        now = self.values[section][name]
        if (now in ("true", "false") and value not in ("true", "false")) or (now.isdigit() and not value.isdigit()):
            raise bad_request(f"{value} is not a valid value for {section}/{name}")
        if name == "algorithm" and value != now:
            raise not_implemented(f"the setting {section}/{name} {value}")

    def flag(self, section: str, name: str) -> bool:
        """A setting that is true or false."""
        return self.values[section][name] == "true"


class Uuids:
    """Makes ids like CouchDB's algorithm "sequential": a common beginning, then growing numbers."""

    def __init__(self) -> None:
        self._prefix, self._number = secrets.token_hex(13), 0

    def take(self) -> str:
        """The next id: 32 hexadecimal digits."""
        self._number += secrets.randbelow(0xFFD) + 1
        if self._number > 0xFFF000:
            self._prefix, self._number = secrets.token_hex(13), secrets.randbelow(0xFFD)
        return f"{self._prefix}{self._number:06x}"


class Couch:
    """One server.

    Args:
        folder: the folder for all files; None to keep everything in memory.
        admins: names and passwords of the server admins.

    Raises:
        DataFolderError: the folder cannot be used.
    """

    def __init__(self, folder: Path | None, admins: dict[str, str]) -> None:
        self._folder = DataFolder(folder)
        self.uuid = self._folder.uuid
        self.executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="embedded-couch")
        self.turns = Turns()
        self.updates = IndexUpdates(self.turns)
        self.databases = Databases(folder, self.executor)
        self.auth = Authenticator(admins, self._folder.secret, self._read_user, self.executor)
        self.settings = Settings()
        self.uuids = Uuids()
        self.url = ""
        self.started = time.time()
        self.requests: dict[int, int] = {}
        self._scripts: Scripts | None = None
        self._functions: Functions | None = None
        self._views: dict[int, tuple[OpenDatabase, DatabaseViews]] = {}
        self._replications: Replications | None = None
        self.replicator: Replicator | None = None
        self._background: set[asyncio.Task[None]] = set()

    def _read_user(self, name: str) -> str | None:
        """The text of a user's document."""
        if "_users" not in self.databases:
            return None
        return self.databases.get("_users").database.read(f"org.couchdb.user:{name}")

    async def in_thread(self, work: Callable[..., _Result], *arguments: Any) -> _Result:
        """Run a function that takes long, but runs no user's code, in a thread, and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self.executor, work, *arguments)

    def open(self, name: str, user: User) -> OpenDatabase:
        """Open a database that a user may read.

        Raises:
            Problem: 404, 401 or 403.
        """
        opened = self.databases.get(name)
        if not user.is_admin:
            need_member(user, opened.database.security)
        return opened

    # ------------------------------------------------------------ the view engine, created when it is first needed

    @property
    def scripts(self) -> Scripts:
        """The JavaScript workers."""
        if self._scripts is None:
            try:
                from tornado_couch.embedded.javascript.pool import Scripts
            except ImportError as error:
                raise _no_extra(error) from None
            self._scripts = Scripts()
        return self._scripts

    @property
    def functions(self) -> Functions:
        """The functions of design documents other than views."""
        if self._functions is None:
            from tornado_couch.embedded.views.functions import Functions

            self._functions = Functions(self.scripts)
        return self._functions

    def views(self, opened: OpenDatabase) -> DatabaseViews:
        """The view indexes of a database."""
        found = self._views.get(id(opened))
        if found is None:
            if opened.deleted:
                raise no_database()
            found = self._views[id(opened)] = (opened, _new_views(opened, self.scripts))
        return found[1]

    @property
    def replications(self) -> Replications:
        """The replications that are running."""
        if self._replications is None:
            from tornado_couch.embedded.replication.replication import Replications

            self._replications = Replications()
        return self._replications

    def watch_replicator(self) -> None:
        """Run the replications that the documents of `_replicator` ask for, if that database exists."""
        if self.replicator is None and "_replicator" in self.databases:
            from tornado_couch.embedded.replication.replicator import Replicator

            self.replicator = Replicator(self.databases.get("_replicator"), self.replications, self.background)
            self.background(self.replicator.watch())

    def background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine that nobody waits for, until it or the server ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def active_tasks(self) -> list[dict[str, Any]]:
        """The entries of `_active_tasks`: the running replications."""
        return self._replications.tasks() if self._replications is not None else []

    async def delete_database(self, name: str) -> None:
        """Delete a database with its indexes."""
        opened = self.databases.get(name)
        views = self._views.get(id(opened))
        if views is not None:
            views[1].stop()
        if name == "_replicator":
            self.replicator = None
        cleared = self.background(self._clear(opened, self.databases.delete(name)))
        # An index is closed when the current step of its update is done, which may take long in a map function.
        if views is None or not views[1].updating:
            await asyncio.shield(cleared)

    async def _clear(self, opened: OpenDatabase, folder: Path | None) -> None:
        views = self._views.get(id(opened))
        if views is not None:
            await self.turns.run(opened.owner("_deleted"), views[1].close)
            del self._views[id(opened)]
        if folder is not None:
            await self.in_thread(shutil.rmtree, folder, True)

    async def close(self) -> None:
        """Stop everything that runs, and close the files."""
        if self._replications is not None:
            await self._replications.close()
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        # Scripts are closed first, so that threads that wait for one can end.
        if self._scripts is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._scripts.close)
        await self.updates.close()
        self.turns.close()
        self.executor.shutdown(wait=True, cancel_futures=True)
        for _, views in self._views.values():
            views.close()
        self.databases.close()
        self._folder.close()


def _new_views(opened: OpenDatabase, scripts: Scripts) -> DatabaseViews:
    try:
        from tornado_couch.embedded.views.engine import DatabaseViews
    except ImportError as error:
        raise _no_extra(error) from None
    return DatabaseViews(opened.database, scripts, partitioned=opened.database.partitioned)


def _no_extra(error: ImportError) -> Problem:
    return Problem(501, "not_implemented", f"Views need the extra 'embedded' ({error}).")
