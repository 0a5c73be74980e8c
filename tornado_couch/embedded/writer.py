"""One writer at a time for each database; those who wait share its next transaction (group commit)."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, NamedTuple

from tornado_couch.embedded.problems import no_database
from tornado_couch.embedded.storage import Database
from tornado_couch.embedded.writing import Transaction

__all__ = ["Writer"]

_INLINE_BYTES = 512 * 1024
_LARGEST_GROUP = 200

Work = Callable[[Transaction], Any]


class _Job(NamedTuple):
    work: Work
    size: int
    done: asyncio.Future[Any]


class Writer:
    """Runs pieces of work in transactions, and answers each when its transaction is committed.

    Small groups run on the event loop: SQLite answers in microseconds, and a thread would wait for the
    interpreter's lock at each statement. Large ones run in a thread.

    Args:
        database: where to write.
        executor: the threads for large groups.
        on_commit: is called on the event loop after each commit.
    """

    def __init__(self, database: Database, executor: Executor, on_commit: Callable[[], None]) -> None:
        self._database = database
        self._executor = executor
        self._on_commit = on_commit
        self._waiting: list[_Job] = []
        self._running = False

    async def run(self, work: Work, size: int = 0) -> Any:
        """The result of `work`, once it is committed. What it raises undoes what it wrote, and nothing else.

        Args:
            work: gets the transaction.
            size: about how many bytes it writes.
        """
        loop = asyncio.get_running_loop()
        job = _Job(work, size, loop.create_future())
        self._waiting.append(job)
        if not self._running:
            self._running = True
            # Not at once: others whose requests are already read may come along.
            loop.call_soon(self._start)
        return await job.done

    def _start(self) -> None:
        group, self._waiting = self._waiting[:_LARGEST_GROUP], self._waiting[_LARGEST_GROUP:]
        if sum(job.size for job in group) > _INLINE_BYTES:
            future = asyncio.get_running_loop().run_in_executor(self._executor, self._commit, group)
            future.add_done_callback(
                lambda done: self._finish(group, [no_database()] * len(group) if done.cancelled() else done.result())
            )
        else:
            self._finish(group, self._commit(group))

    def _finish(self, group: list[_Job], results: list[Any]) -> None:
        """Answer a group, and go on with those who came meanwhile."""
        for job, result in zip(group, results, strict=True):
            if job.done.done():
                continue
            if isinstance(result, Exception):
                job.done.set_exception(result)
            else:
                job.done.set_result(result)
        self._on_commit()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._start)
        else:
            self._running = False

    def _commit(self, group: list[_Job]) -> list[Any]:
        """Run a group in one transaction; for each the result or the exception."""
        try:
            with self._database.connections.write() as connection:
                transaction = Transaction(self._database, connection)
                results = [_run_one(job.work, transaction, connection) for job in group]
            transaction.publish()
        except sqlite3.ProgrammingError:  # closed: the database was deleted meanwhile
            return [no_database()] * len(group)
        except Exception as error:  # noqa: BLE001  whatever SQLite says is everybody's answer
            return [error] * len(group)
        return results


def _run_one(work: Work, transaction: Transaction, connection: sqlite3.Connection) -> Any:
    """One piece of work; when it fails, what it wrote is undone."""
    saved = transaction.savepoint()
    connection.execute("SAVEPOINT piece")
    try:
        result = work(transaction)
    except Exception as error:  # noqa: BLE001  it is handed to the one who asked
        connection.execute("ROLLBACK TO piece")
        transaction.restore(saved)
        result = error
    connection.execute("RELEASE piece")
    return result
