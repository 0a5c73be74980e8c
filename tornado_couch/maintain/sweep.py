"""The sweep: removes the files that were stored for versions of documents and that no version names.

The documents of files are read first and the names second, and a document is changed only at the revision that was
read. So what a service stores or names meanwhile is never removed: a file that is named again loses its mark, and with
it the revision.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ..couch import Database
from ..errors import Conflict
from ..models import format_timestamp, utc_now
from ..store import Store
from ..store.lifecycle.files import FILE_PREFIX, FILES_PROPERTY, UNUSED_PROPERTY, Files

__all__ = ["Swept", "sweep"]

Document = dict[str, Any]


@dataclass
class Swept:
    """What a sweep has done, or would do in a dry run.

    Attributes:
        named: how many files some version names.
        marked: how many were found for the first time to be named by none.
        waiting: how many were marked before, but not long enough ago.
        deleted: how many were deleted.
        withheld: how many do not verify, and were left as they are.
    """

    named: int = 0
    marked: int = 0
    waiting: int = 0
    deleted: int = 0
    withheld: int = 0


async def sweep(
    store: Store,
    *,
    grace: timedelta = timedelta(days=1),
    dry_run: bool = False,
    now: Callable[[], datetime] = utc_now,
    page_size: int = 500,
) -> Swept:
    """Mark the files that no version names, and delete those that have been marked for a while.

    Args:
        store: the store of the documents, with the keys of the service that uses them.
        grace: how long a file stays marked; longer than any write takes, and than replication is ever behind.
        dry_run: only report what would be done.
        now: the clock.
        page_size: how many documents to read at a time.
    """
    database, moment = store.database, now()
    files = [each async for each in _files(database, page_size)]
    named = await _named(database, page_size) if files else set()
    limit, done = format_timestamp(moment - grace), Swept()
    for each in files:
        if not store.files.verifies(each):
            done.withheld += 1
            continue
        mark = each.get(UNUSED_PROPERTY)
        with contextlib.suppress(Conflict):  # somebody names it just now
            if each["_id"] in named:
                done.named += 1
                if mark and not dry_run:
                    await _mark(store.files, each, None)
            elif mark is None:
                done.marked += 1
                if not dry_run:
                    await _mark(store.files, each, format_timestamp(moment))
            elif mark > limit:
                done.waiting += 1
            else:
                if not dry_run:
                    await store.files.delete(each)
                done.deleted += 1
    return done


async def _files(database: Database, page_size: int) -> AsyncIterator[Document]:
    bounds: Any = {"startkey": FILE_PREFIX, "endkey": FILE_PREFIX + "\uffff"}
    async for row in database.iterate_all_docs(include_docs=True, page_size=min(page_size, 100), **bounds):
        if row.doc is not None:
            yield row.doc


async def _named(database: Database, page_size: int) -> set[str]:
    """The ids of all files that some leaf of some document names."""
    found: set[str] = set()
    async for page in database.changes_pages(since=0, page_size=page_size):
        changed = [each.id for each in page.results if not each.deleted]
        ids = [each for each in changed if not each.startswith(("_design/", FILE_PREFIX))]
        for leaves in await database.bulk_get(ids):
            for leaf in leaves:
                files = (leaf.document or {}).get(FILES_PROPERTY)
                found |= {each["document"] for each in files.values()} if isinstance(files, dict) else set()
    return found


async def _mark(files: Files, document: Document, moment: str | None) -> None:
    kept = {name: value for name, value in document.items() if name != UNUSED_PROPERTY}
    await files.put(kept if moment is None else {**kept, UNUSED_PROPERTY: moment})
