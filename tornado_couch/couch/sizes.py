"""Reads how large a database and its views are, and how much of that is wasted space.

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

_AT_ONCE = 8  # requests for design documents at a time; there may be many, and CouchDB has other work


@dataclass(frozen=True, slots=True)
class Sizes:
    """Sizes in bytes; each is None if CouchDB does not report it.

    Attributes:
        file: the size on disk.
        external: the size of the data as uncompressed JSON.
        active: the size of the live data in the file.
    """

    file: int | None = None
    external: int | None = None
    active: int | None = None

    @property
    def fragmentation(self) -> int | None:
        """How many percent of the file compaction would free; None if that is unknown.

        It is computed as CouchDB's compaction does: (file - active) / file.
        """
        if not self.file or self.active is None:
            return None
        return max(0, int((self.file - self.active) / self.file * 100))

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Sizes:
        """The sizes in what CouchDB (version 3, 2 or 1) reports about a database or view."""
        sizes = told.get("sizes")
        if isinstance(sizes, dict):
            return cls(*(_count(sizes.get(name)) for name in ("file", "external", "active")))
        # CouchDB 1 has no `sizes`.
        return cls(_count(told.get("disk_size")), None, _count(told.get("data_size")))


@dataclass(frozen=True, slots=True)
class ViewMetrics:
    """The metrics of the views of one design document, which share an index.

    Attributes:
        design_document: its name, without `_design/`.
        sizes: the sizes of the index.
        updates_pending: how many changes the index has still to process; None if CouchDB does not say. Of several
            copies of the index, the one that is most up to date counts.
        updater_running: whether the index is being updated now.
        signature: a value that stays the same as long as the views do; None if CouchDB does not say.
    """

    design_document: str
    sizes: Sizes
    updates_pending: int | None = None
    updater_running: bool = False
    signature: str | None = None


@dataclass(frozen=True, slots=True)
class DatabaseMetrics:
    """The metrics of a database.

    Attributes:
        name: its name.
        doc_count: the number of documents, including design documents.
        doc_del_count: the number of tombstones.
        sizes: the sizes of the database without its views.
        views: the metrics of its design documents, by name; empty if they were not requested.
    """

    name: str
    doc_count: int
    doc_del_count: int
    sizes: Sizes
    views: tuple[ViewMetrics, ...] = ()


async def database_metrics(database: Database, *, views: bool = True) -> DatabaseMetrics:
    """Read the metrics of a database and of all its design documents, several at a time.

    Args:
        database: the database.
        views: False to read only the database's own metrics, with one request.

    Raises:
        NotFound: the database does not exist.
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
    """Read the metrics of all design documents, ordered by name; one that is deleted meanwhile is left out.

    Raises:
        NotFound: the database does not exist.
    """
    # "0" is the character after "/".
    rows = (await database.all_docs(startkey="_design/", endkey="_design0", inclusive_end=False)).rows
    found = await each_of([row.id or "" for row in rows], lambda name: _if_there(database, name))
    return sorted((each for each in found if each), key=lambda each: each.design_document)


async def view_metrics(database: Database, design: str) -> ViewMetrics:
    """Read the metrics of one design document.

    Args:
        database: the database that contains it.
        design: its name, with or without `_design/`.

    Raises:
        NotFound: the design document does not exist.
        ValueError: the name is not a text that CouchDB accepts.
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
    """Call a function for each item, a few at a time, and return the results in order; the first error stops it."""
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
        # Wait for all of them, so that no task and no unretrieved exception is left behind.
        await asyncio.gather(*tasks, return_exceptions=True)


async def _if_there(database: Database, design: str) -> ViewMetrics | None:
    try:
        return await view_metrics(database, design)
    except NotFound:
        return None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
