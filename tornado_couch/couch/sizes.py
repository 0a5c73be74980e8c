"""How large a database and its views are, and how much of that is waste.

CouchDB's pages: https://docs.couchdb.org/en/stable/api/database/common.html and .../api/ddoc/common.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import NotFound

if TYPE_CHECKING:
    from .database import Database

__all__ = ["DatabaseMetrics", "Sizes", "ViewMetrics", "all_view_metrics", "database_metrics", "each_of", "view_metrics"]

T = TypeVar("T")
U = TypeVar("U")

_AT_ONCE = 8  # requests for design documents at a time: there may be many, and CouchDB has other work


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes in bytes, each None where CouchDB does not say.

    Attributes:
        file: on disk.
        external: of the data without compression, as JSON.
        active: of the live data within the file.
    """

    file: int | None = None
    external: int | None = None
    active: int | None = None

    @property
    def fragmentation(self) -> int | None:
        """How many percent of the file compaction would free; None where it cannot be said.

        As CouchDB's compaction reckons it: (file - active) / file.
        """
        if not self.file or self.active is None:
            return None
        return max(0, int((self.file - self.active) / self.file * 100))

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Sizes:
        """The sizes in CouchDB's information about a database or view, of version 3, 2 or 1."""
        sizes = told.get("sizes")
        if isinstance(sizes, dict):
            return cls(*(_count(sizes.get(name)) for name in ("file", "external", "active")))
        # Before `sizes` came, in CouchDB 2.
        return cls(_count(told.get("disk_size")), None, _count(told.get("data_size")))


@dataclass(frozen=True, slots=True)
class ViewMetrics:
    """The views of one design document: they share an index.

    Attributes:
        design_document: its name, without `_design/`.
        sizes: of the index.
        updates_pending: how many changes of documents the index has not seen; None where CouchDB does not
            say. Of several copies of the index, the one that has seen most counts.
        updater_running: whether it is being brought up to date.
        signature: what is the same as long as the views are; None where CouchDB does not say.
    """

    design_document: str
    sizes: Sizes
    updates_pending: int | None = None
    updater_running: bool = False
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class DatabaseMetrics:
    """A database.

    Attributes:
        name: its name.
        doc_count: documents, design documents among them.
        doc_del_count: tombstones.
        sizes: of the database without its views.
        views: its design documents, by name; empty where they were not asked for.
    """

    name: str
    doc_count: int
    doc_del_count: int
    sizes: Sizes
    views: tuple[ViewMetrics, ...] = ()


async def database_metrics(database: Database, *, views: bool = True) -> DatabaseMetrics:
    """Ask a database for its metrics, and all of its design documents for theirs, several at a time.

    Args:
        database: which.
        views: False for those of the database alone, with one request.

    Raises:
        NotFound: there is no such database.
    """
    info = await database.info()
    return DatabaseMetrics(
        database.name,
        _count(info.get("doc_count")) or 0,
        _count(info.get("doc_del_count")) or 0,
        Sizes.of(info),
        tuple(await all_view_metrics(database)) if views else (),
    )


async def all_view_metrics(database: Database) -> list[ViewMetrics]:
    """The metrics of all design documents, by name; one that goes meanwhile is left out.

    Raises:
        NotFound: there is no such database.
    """
    # "0" is the character after "/".
    rows = (await database.all_docs(startkey="_design/", endkey="_design0", inclusive_end=False)).rows
    found = await each_of([row.id or "" for row in rows], lambda name: _if_there(database, name))
    return sorted((each for each in found if each), key=lambda each: each.design_document)


async def view_metrics(database: Database, design: str) -> ViewMetrics:
    """The metrics of one design document.

    Args:
        database: where it is.
        design: its name, with or without `_design/`.

    Raises:
        NotFound: there is no such design document.
        ValueError: the name is not text that CouchDB can take.
    """
    index: dict[str, Any] = (await database.design_info(design))["view_index"]
    pending, signature = index.get("updates_pending"), index.get("signature")
    return ViewMetrics(
        design.removeprefix("_design/"),
        Sizes.of(index),
        _count(pending.get("minimum")) if isinstance(pending, dict) else None,
        index.get("updater_running") is True,
        signature if isinstance(signature, str) else None,
    )


async def each_of(items: Iterable[T], ask: Callable[[T], Awaitable[U]], at_once: int = _AT_ONCE) -> list[U]:
    """What is answered for each item, in order, a few at a time; the first error ends the others."""
    turn = asyncio.Semaphore(at_once)

    async def asked(item: T) -> U:
        async with turn:
            return await ask(item)

    tasks = [asyncio.ensure_future(asked(item)) for item in items]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        # Nothing is left behind: neither a task nor the exception of one that nobody asks for.
        await asyncio.gather(*tasks, return_exceptions=True)


async def _if_there(database: Database, design: str) -> ViewMetrics | None:
    try:
        return await view_metrics(database, design)
    except NotFound:
        return None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
