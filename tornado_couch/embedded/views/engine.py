"""The views of one database: finds the index for a design document, and answers queries from it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from tornado_couch.embedded.javascript.pool import Program, Scripts
from tornado_couch.embedded.problems import Problem, query_parse_error
from tornado_couch.embedded.storage.source import Source
from tornado_couch.embedded.views.designs import Design, View, read_design
from tornado_couch.embedded.views.index import Maps, ViewIndex
from tornado_couch.embedded.views.mango_index import MangoMaps
from tornado_couch.embedded.views.parameters import ViewParameters, check
from tornado_couch.embedded.views.query import Fetch, key_ranges, map_reply, reduce_reply
from tornado_couch.embedded.views.reduces import reducer

__all__ = ["DatabaseViews", "IndexUpdates", "Turns", "ViewReply", "maps_of"]


# How many characters of documents go to a worker in one message.
_MESSAGE = 4 << 20


class _ScriptMaps:
    """Maps in JavaScript, which a worker runs for many documents at a time."""

    def __init__(self, design: Design, scripts: Scripts) -> None:
        self._program: Program = design.program
        self._names = json.dumps([name for name, _ in design.maps])
        self._number = len(design.maps)
        self._scripts = scripts

    def rows(self, bodies: list[str]) -> Iterator[list[list[str]]]:
        """Map documents: for each document and each map, the JSON texts of key, value, key, value, and so on."""
        for batch in _batches(bodies):
            calls = [(self._names, body) for body in batch]
            for result in self._scripts.stream(self._program, "map", calls):
                yield self._checked(result)

    def _checked(self, result: str) -> list[list[str]]:
        """Check a worker's answer, which cannot be trusted: a function may have broken the helpers that made it."""
        try:
            rows: list[list[str]] = json.loads(result)
            if len(rows) == self._number and all(isinstance(text, str) for texts in rows for text in texts):
                return rows
        except (ValueError, TypeError, RecursionError):
            pass
        raise Problem(500, "map_runtime_error", "A map function broke the helper functions that it runs with.")


def _batches(bodies: list[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for body in bodies:
        batch.append(body)
        size += len(body)
        if size > _MESSAGE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def maps_of(design: Design, scripts: Scripts) -> Maps:
    """The maps of a design document, ready to be run over documents."""
    if design.language == "query":
        return MangoMaps([definition for _, definition in design.maps])
    return _ScriptMaps(design, scripts)


_SUFFIX = ".view"


class ViewReply:
    """The answer to a view query. It keeps the state of the index: read `chunks` to the end, or `close` it."""

    def __init__(self, chunks: Iterator[str], done: contextlib.ExitStack) -> None:
        self._chunks = chunks
        self._done = done

    def chunks(self) -> Iterator[str]:
        """The JSON text in pieces of about 64 KB."""
        with self._done:
            yield from self._chunks

    def close(self) -> None:
        """Drop the rest of the answer."""
        self._done.close()

    def text(self) -> str:
        """The complete JSON text."""
        return "".join(self.chunks())


class DatabaseViews:
    """The view indexes of one open database; safe to use from many threads.

    Args:
        source: the database.
        scripts: runs JavaScript.
        partitioned: whether the database is partitioned.
    """

    def __init__(self, source: Source, scripts: Scripts, *, partitioned: bool = False) -> None:
        self._source = source
        self._scripts = scripts
        self._partitioned = partitioned
        self._lock = threading.Lock()
        self._indexes: dict[str, ViewIndex] = {}
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._closed = False

    def query(
        self,
        text: str,
        name: str,
        parameters: ViewParameters,
        fetch: Fetch | None = None,
        update_seq: Callable[[int], str] = str,
        wanted: int | None = None,
    ) -> ViewReply:
        """Query a view.

        Args:
            text: the design document's JSON text.
            name: the view's name.
            parameters: from `view_parameters`. With update=lazy nothing is updated here: the caller does that.
            fetch: returns documents for `include_docs`; by default `source.read`.
            update_seq: returns the JSON text of an update sequence number.
            wanted: the update sequence that the index must have reached; None for the database's current one.

        Raises:
            Problem: 404 for a missing view, 400 for parameters that make no sense, 500 if a map cannot be run.
        """
        design = self.checked(text, name, parameters)
        view = design.view(name)
        parameters = check(parameters, reduced=view.reduce is not None)
        index = self.updated(design, wanted) if parameters.update is True else self.as_it_is(design)
        done = contextlib.ExitStack()
        try:
            chunks = self._reply(done, index, design, view, parameters, fetch or self._source.read, update_seq)
        except BaseException:
            done.close()
            raise
        return ViewReply(chunks, done)

    def checked(self, text: str, name: str, parameters: ViewParameters) -> Design:
        """Check a query, and return the design document that it uses.

        Raises:
            Problem: as in `query`, except for errors of a map function.
        """
        design = read_design(text, self._partitioned)
        check(parameters, reduced=design.view(name).reduce is not None)
        self._check_partition(design, parameters)
        design.check_language()
        return design

    def queries(
        self,
        text: str,
        name: str,
        several: Iterable[ViewParameters],
        fetch: Fetch | None = None,
        update_seq: Callable[[int], str] = str,
        wanted: int | None = None,
    ) -> Iterator[str]:
        """The JSON text of the answer to a POST to `/queries`, in pieces; errors are raised before the first piece."""
        replies = [self.query(text, name, parameters, fetch, update_seq, wanted) for parameters in several]
        return self._joined(replies)

    def info(self, text: str) -> dict[str, Any]:
        """The answer to `GET /db/_design/ddoc/_info`."""
        design = read_design(text, self._partitioned)
        index = self._index(design)
        size = index.size()
        pending = max(0, self._source.current_seq() - index.seq)
        return {
            "name": design.id.removeprefix("_design/"),
            "view_index": {
                "updates_pending": {"minimum": pending, "preferred": pending, "total": pending},
                "waiting_commit": False,
                "waiting_clients": index.waiting,
                "updater_running": index.updating,
                "update_seq": index.seq,
                "sizes": {"file": size, "external": size, "active": size},
                "signature": design.signature,
                "purge_seq": 0,
                "language": design.language,
                "compact_running": False,
                "collator_versions": ["153.120"],
            },
        }

    def cleanup(self, texts: Iterable[str]) -> None:
        """Remove the indexes that none of these design documents needs any more (`_view_cleanup`)."""
        kept = {read_design(text).signature for text in texts}
        with self._lock:
            gone = [self._indexes.pop(signature) for signature in list(self._indexes) if signature not in kept]
            folder = self._folder()
        for index in gone:
            index.remove()
        for file in folder.glob(f"*{_SUFFIX}*"):
            if file.name.split(".", 1)[0] not in kept:
                file.unlink(missing_ok=True)

    def stop(self) -> None:
        """Refuse further queries, without waiting for those that run."""
        self._closed = True
        for index in list(self._indexes.values()):
            index.stop()

    def close(self) -> None:
        """Close every index, once a running update has finished its step."""
        self.stop()
        with self._lock:
            indexes = list(self._indexes.values())
            self._indexes.clear()
        for index in indexes:
            index.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    @property
    def updating(self) -> bool:
        """Whether an index is being updated now."""
        return any(index.updating for index in list(self._indexes.values()))

    def seq(self, design: Design) -> int:
        """The update sequence that an index has reached, without waiting; -1 if the index is not open."""
        index = self._indexes.get(design.signature)
        return -1 if index is None else index.seq

    def updated(self, design: Design, wanted: int | None = None) -> ViewIndex:
        """Update the index of a design document to an update sequence; None for the database's current one."""
        index = self._index(design)
        index.update(self._source, maps_of(design, self._scripts), wanted)
        return index

    def as_it_is(self, design: Design) -> ViewIndex:
        """The index of a design document, however far it has got."""
        return self._index(design)

    # ---- helpers

    def _reply(
        self,
        done: contextlib.ExitStack,
        index: ViewIndex,
        design: Design,
        view: View,
        parameters: ViewParameters,
        fetch: Fetch,
        update_seq: Callable[[int], str],
    ) -> Iterator[str]:
        ranges = key_ranges(parameters, view.place, index.encode)
        connection = done.enter_context(index.reading())
        state = index.seq_of(connection)
        seq = update_seq(state) if parameters.update_seq else None
        if not parameters.reduce or view.reduce is None:
            return _started(map_reply(connection, view.place, parameters, ranges, fetch, seq))
        reduce = reducer(view.reduce, view.name, design.program, self._scripts)
        asked = (state, view.place, view.reduce, seq, repr(parameters))
        return _started(
            index.remembered(asked, lambda: reduce_reply(connection, parameters, ranges, reduce, index.encode, seq))
        )

    @staticmethod
    def _joined(replies: list[ViewReply]) -> Iterator[str]:
        try:
            yield '{"results":['
            for place, reply in enumerate(replies):
                yield "," if place else ""
                yield from reply.chunks()
            yield "]}"
        finally:
            for reply in replies:
                reply.close()

    @staticmethod
    def _check_partition(design: Design, parameters: ViewParameters) -> None:
        if parameters.partition is not None and not design.partitioned:
            raise query_parse_error("`partition` parameter is not supported in this design doc")
        if parameters.partition is None and design.partitioned:
            raise query_parse_error("`partition` parameter is mandatory for queries to this view.")

    def _index(self, design: Design) -> ViewIndex:
        with self._lock:
            if self._closed:
                raise Problem(404, "not_found", "Database does not exist.")
            index = self._indexes.get(design.signature)
            if index is None:
                index = self._indexes[design.signature] = self._opened(design)
            return index

    def _opened(self, design: Design) -> ViewIndex:
        path = self._folder() / f"{design.signature}{_SUFFIX}"
        index = ViewIndex(path, design.options)
        if index.seq > self._source.current_seq():  # the database was restored to an earlier state
            index.remove()
            index = ViewIndex(path, design.options)
        return index

    def _folder(self) -> Path:
        """The folder for the index files. A database in memory uses a temporary one, so that memory does not grow."""
        folder = self._source.index_dir
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            return folder
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="couch-views-")
        return Path(self._temporary.name)


def _started(chunks: Iterator[str]) -> Iterator[str]:
    """The same pieces, with the first already made, so that an early error is raised before the answer begins."""
    first = next(chunks)

    def whole() -> Iterator[str]:
        yield first
        yield from chunks

    return whole()


# There are more threads than JavaScript workers (`pool.WORKERS`), so work without JavaScript does not wait for one.
THREADS = 16
# How many threads one owner may have. An endless function keeps its thread for its whole time limit, and a client that
# calls it again and again would otherwise occupy all of them.
SHARE = 4

_Result = TypeVar("_Result")


class Turns:
    """Threads for slow work, apart from those that read and write documents, shared so that no owner has all of them.

    An owner is anything that may be slow by itself: a design document, or the queries of a database. Its further
    requests wait in the event loop, where waiting costs nothing.
    """

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="embedded-couch-views")
        self._shares: WeakValueDictionary[Hashable, asyncio.Semaphore] = WeakValueDictionary()

    async def run(self, owner: Hashable, work: Callable[..., _Result], *arguments: Any) -> _Result:
        """Run work in a thread when it is the owner's turn, and return its result."""
        share = self._shares.get(owner)
        if share is None:
            share = self._shares[owner] = asyncio.Semaphore(SHARE)
        await share.acquire()
        future = asyncio.get_running_loop().run_in_executor(self._executor, work, *arguments)
        # The turn is given back when the thread is free, not when an impatient client goes away.
        future.add_done_callback(lambda _: share.release())
        return await asyncio.shield(future)

    def close(self) -> None:
        """Wait for what runs, and start nothing more."""
        self._executor.shutdown(wait=True, cancel_futures=True)


class IndexUpdates:
    """Updates indexes: one update at a time for each, and all callers wait for it without occupying a thread."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._running: dict[Hashable, asyncio.Task[Any]] = {}

    async def reach(self, index: Hashable, reached: Callable[[], bool], update: Callable[[], object]) -> None:
        """Wait until an index has processed everything that it had to when this was called.

        Args:
            index: identifies the index.
            reached: says whether the index has got far enough.
            update: updates the index completely; runs in a thread.

        Raises:
            Problem: the update failed, for all that waited for it.
        """
        # The first update may have begun before this call; a second one cannot have.
        for _ in range(2):
            if reached():
                return
            running = self._running.get(index)
            if running is None:
                running = asyncio.get_running_loop().create_task(self._turns.run(index, update))
                self._running[index] = running
                running.add_done_callback(lambda _: self._running.pop(index))
            await asyncio.shield(running)

    async def close(self) -> None:
        """Let running updates finish, and drop those that have not begun."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
