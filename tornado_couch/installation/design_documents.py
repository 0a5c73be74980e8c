"""Updates a database's design documents without making readers wait for an index.

CouchDB identifies an index by the views of its design document, not by the document's name. So a changed view is
first built under another name; when the document itself is changed after that, its index exists already.

The other name is removed last. CouchDB writes the header of an index's file some seconds after it has built the index,
and it ends the process that has the index open when the design document through which it was opened is deleted: what
is not in the file by then would have to be built again (seen with CouchDB 3.5).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

from .. import _json
from ..couch import Database
from ..errors import Conflict, NotFound, Unavailable
from .plan import Step

__all__ = ["DesignDocuments", "Report", "mark_of", "marked"]

Document = dict[str, Any]
Report = Callable[[int, "int | None"], None]
"""A function that is called with the number of changes indexed since the last call, and the number still to come."""

_MARK = "tornado_couch"
_BUILDING = "_design/tornado_couch_building_"
_POLL_SECONDS = 0.5
# CouchDB commits an index within 5 s; under constant writes it may never report that nothing is left to commit.
_COMMIT_POLLS = 60


def marked(document: Mapping[str, Any], origin: str, **more: Any) -> Document:
    """A copy of a design document that records where it comes from, to know later whether it is still wanted.

    Args:
        document: the document as it was made or read.
        origin: the origin of the document, such as "model fruit".
        more: further members to record.
    """
    return {**document, _MARK: {"origin": origin, **more}}


def mark_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a design document records about its origin; empty if an installer did not write it."""
    mark = document.get(_MARK)
    return mark if isinstance(mark, dict) else {}


class DesignDocuments:
    """The design documents of one database.

    Args:
        database: the database.
        patient: the same database, with time limits that give CouchDB the time to build an index.
        report: called with the progress of an index that is being built.
        populated: whether there are documents, so that building an index takes time.
        shards: how many shards the database has.
    """

    def __init__(
        self, database: Database, *, patient: Database, report: Report, populated: bool, shards: int = 1
    ) -> None:
        self._database = database
        self._patient = patient
        self._report = report
        self._populated = populated
        self._shards = shards
        self._built: dict[str, Document] = {}  # what was built under another name, by that name

    async def read(self) -> dict[str, Document]:
        """Read all design documents, by id."""
        rows = (await self._database.all_docs(startkey="_design/", endkey="_design0", include_docs=True)).rows
        return {row.doc["_id"]: row.doc for row in rows if row.doc is not None}

    def steps(self, wanted: Iterable[Document], stored: Mapping[str, Document]) -> list[Step]:
        """The steps for design documents that are missing, that differ, or that an interrupted run left behind."""
        found = []
        for document in wanted:
            name, now = document["_id"], stored.get(document["_id"])
            work = partial(self._bring, document, now)
            left_over = now is not None and _building_id(document) in stored
            if now is None:
                found.append(Step("create", "design document", name, work=work))
            elif _rebuilds(now, document):
                detail = "builds its index beside the old one, and then replaces that"
                found.append(Step("rebuild", "design document", name, detail, work=work))
            elif not _same(now, document):
                found.append(Step("change", "design document", name, "its views do not change", work=work))
            elif left_over:
                work = partial(self._finish, document)
                found.append(Step("remove", "design document", _building_id(document), "left over", work=work))
        return found

    def unwanted(
        self, wanted: Collection[Document], stored: Mapping[str, Document], origins: Collection[str]
    ) -> list[Step]:
        """The steps that remove documents of the same origins as the wanted ones that are no longer wanted."""
        kept = {each["_id"] for each in wanted} | {_building_id(each) for each in wanted}
        return [
            self.removal(document)
            for name, document in stored.items()
            if name not in kept and mark_of(document).get("origin") in origins
        ]

    def removal(self, document: Document) -> Step:
        """The step that removes one design document."""
        work = partial(self._remove, document)
        return Step("remove", "design document", document["_id"], "no longer wanted", work=work)

    def cleaning(self) -> Step:
        """The step that removes the names used for building, and the files of indexes that are no longer needed."""
        return Step("remove", "old index files", self._database.name, work=self._clean)

    async def _clean(self) -> None:
        for name, document in self._built.items():
            await self._committed(document["_id"])
            await self._discard(name)
        await self._database.clean_up_views()

    async def _committed(self, name: str) -> None:
        """Wait until an index has been written to its file, so that it does not have to be built again."""
        for _ in range(_COMMIT_POLLS):
            if not await self._is_waiting(name):
                return
            await asyncio.sleep(_POLL_SECONDS)

    async def _is_waiting(self, name: str) -> bool:
        try:
            return (await self._database.design_info(name))["view_index"].get("waiting_commit") is True
        except NotFound:
            return False

    async def _bring(self, wanted: Document, now: Document | None) -> str | None:
        """Bring one design document to the wanted state, even if other installers do the same at the same time."""
        name, first = wanted["_id"], True
        while True:
            if not first:
                now = await self._get(name)
            first = False
            if now is not None and _same(now, wanted):
                return None
            rebuilds = now is not None and _rebuilds(now, wanted)
            if rebuilds and not await self._build_beside(wanted):
                continue
            try:
                await self._database.put({**wanted, **({"_rev": now["_rev"]} if now else {})})
            except Conflict:
                continue  # another installer wrote first: look at what it wrote
            if rebuilds or (now is None and self._populated):
                # Since it was queried by its own name, the index stays when the other name goes.
                await self._build(wanted)
            return f"wrote {name}"

    async def _finish(self, wanted: Document) -> str | None:
        """Let the cleaning remove what an interrupted installer left behind."""
        self._built[_building_id(wanted)] = wanted
        return None

    async def _build_beside(self, wanted: Document) -> bool:
        """Build the index under another name; False if another installer has removed that name meanwhile."""
        beside = {**wanted, "_id": _building_id(wanted)}
        with contextlib.suppress(Conflict):  # another installer, or an interrupted one, began it
            await self._database.put(beside)
        self._built[beside["_id"]] = wanted
        try:
            await self._build(beside)
        except NotFound:
            return False
        return True

    async def _build(self, document: Document) -> None:
        """Wait until the index has seen every change.

        Raises:
            Unavailable: CouchDB, or a proxy in front of it, did not answer, and the index makes no progress.
        """
        view = next((each for each in document.get("views", {}) if each != "lib"), None)
        if view is None:
            return
        by_partition = document.get("options", {}).get("partitioned") is True
        for partition in _one_of_each_shard(self._shards) if by_partition else [None]:
            await self._build_for(document["_id"], view, partition)

    async def _build_for(self, name: str, view: str, partition: str | None) -> None:
        pending = await self._pending(name)
        while True:
            try:
                # One view is enough: the views of a design document share an index.
                await self._asked(name, view, partition)
                return
            except Unavailable:
                before, pending = pending, await self._pending(name)
                if pending == 0:
                    return
                if pending >= before:
                    raise

    async def _asked(self, name: str, view: str, partition: str | None) -> None:
        """Query a view for no rows, which CouchDB answers once the index is built, and report the progress."""
        task = asyncio.ensure_future(self._patient.view(name, view, partition=partition, limit=0, reduce=False))
        pending: int | None = None
        try:
            while not (await asyncio.wait({task}, timeout=_POLL_SECONDS))[0]:
                before, pending = pending, await self._pending(name)
                self._report(max(0, before - pending) if before is not None else 0, pending)
            task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _pending(self, name: str) -> int:
        """How many changes the index has still to process."""
        found = (await self._database.design_info(name))["view_index"].get("updates_pending")
        return int(found.get("minimum", 0)) if isinstance(found, dict) else 0

    async def _get(self, name: str) -> Document | None:
        try:
            return await self._database.get(name)
        except NotFound:
            return None

    async def _discard(self, name: str) -> None:
        """Remove the document that was built under another name, if it exists."""
        while (document := await self._get(name)) is not None and await self._delete(document):
            pass

    async def _remove(self, document: Document) -> str | None:
        # At another revision it is not the document that the plan wanted to remove.
        return None if await self._delete(document) else f"removed {document['_id']}"

    async def _delete(self, document: Document) -> bool:
        """Delete a document at its revision, and return whether it has changed meanwhile."""
        try:
            await self._database.delete(document["_id"], document["_rev"])
        except Conflict:
            return True
        except NotFound:
            pass
        return False


def _same(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return {name: value for name, value in stored.items() if name != "_rev"} == wanted


def _indexed(document: Mapping[str, Any]) -> bytes:
    """The parts of a design document from which CouchDB derives the index's signature."""
    parts = [document.get("language", "javascript"), document.get("views") or {}, document.get("options") or {}]
    return _json.dumps(parts)


def _rebuilds(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether readers of a design document would have to wait for a new index."""
    return bool(stored.get("views")) and bool(wanted.get("views")) and _indexed(stored) != _indexed(wanted)


def _one_of_each_shard(shards: int) -> list[str]:
    """Names of partitions, one on each shard, to have a view built: reading a partition builds that of its shard.

    CouchDB hashes the partition with CRC-32, and shards have equal parts of its range (CouchDB documentation,
    "Shard Management"). The partition may be empty.
    """
    found: dict[int, str] = {}
    for number in itertools.count():
        name = f"partition-{number}"
        found.setdefault(min(zlib.crc32(name.encode()) // (2**32 // shards), shards - 1), name)
        if len(found) == shards:
            break
    return list(found.values())


def _building_id(wanted: Mapping[str, Any]) -> str:
    """The name under which an index is built; it is the same for all installers that want the same index."""
    return _BUILDING + hashlib.sha256(wanted["_id"].encode() + _indexed(wanted)).hexdigest()[:16]
