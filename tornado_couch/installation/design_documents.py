"""Brings a database's design documents to what is wanted, without anybody waiting for an index.

CouchDB knows an index by what its design document says of views, not by the document's name. So a changed view is
built under another name first; when the document itself is changed after that, its index is there already.

The other name goes last. CouchDB writes the head of an index's file some seconds after it has built it, and ends the
process that has the index when a design document that this was opened by is deleted: what is not in the file by then
would have to be built again (seen with CouchDB 3.5).
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
"""Is given how many changes were indexed since the last call, and how many are still to be."""

_MARK = "tornado_couch"
_BUILDING = "_design/tornado_couch_building_"
_POLL_SECONDS = 0.5
# CouchDB commits an index within 5 s; where writes go on all the time it may never say that nothing is left to.
_COMMIT_POLLS = 60


def marked(document: Mapping[str, Any], origin: str, **more: Any) -> Document:
    """A design document that says where it is from, so that it can be told when it is no longer wanted.

    Args:
        document: as it was made or read.
        origin: of the document, such as "model fruit".
        more: what else it is to say.
    """
    return {**document, _MARK: {"origin": origin, **more}}


def mark_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a design document says of where it is from; empty where no installer wrote it."""
    mark = document.get(_MARK)
    return mark if isinstance(mark, dict) else {}


class DesignDocuments:
    """The design documents of one database.

    Args:
        database: the database.
        patient: the same, with time limits that leave CouchDB the time to build an index.
        report: is told of an index that is being built.
        populated: there are documents, so that building an index takes time.
        shards: how many the database has.
    """

    def __init__(
        self, database: Database, *, patient: Database, report: Report, populated: bool, shards: int = 1
    ) -> None:
        self._database = database
        self._patient = patient
        self._report = report
        self._populated = populated
        self._shards = shards
        self._built: dict[str, Document] = {}  # what was built under another name, by that

    async def read(self) -> dict[str, Document]:
        """All that are there, by id."""
        rows = (await self._database.all_docs(startkey="_design/", endkey="_design0", include_docs=True)).rows
        return {row.doc["_id"]: row.doc for row in rows if row.doc is not None}

    def steps(self, wanted: Iterable[Document], stored: Mapping[str, Document]) -> list[Step]:
        """What to do for those that are missing or different, or were left behind half-way."""
        found = []
        for document in wanted:
            name, now = document["_id"], stored.get(document["_id"])
            work = partial(self._bring, document, now)
            left_over = now is not None and _building_id(document) in stored
            if now is None:
                found.append(Step("create", "design document", name, work=work))
            elif _rebuilds(now, document):
                detail = "its index is built beside the old one, and then takes its place"
                found.append(Step("rebuild", "design document", name, detail, work=work))
            elif not _same(now, document):
                found.append(Step("change", "design document", name, "its views stay as they are", work=work))
            elif left_over:
                work = partial(self._finish, document)
                found.append(Step("remove", "design document", _building_id(document), "left over", work=work))
        return found

    def unwanted(
        self, wanted: Collection[Document], stored: Mapping[str, Document], origins: Collection[str]
    ) -> list[Step]:
        """How to remove those that came from where the wanted ones come from, and are no longer among them."""
        kept = {each["_id"] for each in wanted} | {_building_id(each) for each in wanted}
        return [
            self.removal(document)
            for name, document in stored.items()
            if name not in kept and mark_of(document).get("origin") in origins
        ]

    def removal(self, document: Document) -> Step:
        """How to remove one."""
        work = partial(self._remove, document)
        return Step("remove", "design document", document["_id"], "no longer wanted", work=work)

    def cleaning(self) -> Step:
        """How to remove the names that were built under, and the files of indexes that no design document describes."""
        return Step("remove", "old index files", self._database.name, work=self._clean)

    async def _clean(self) -> None:
        for name, document in self._built.items():
            await self._committed(document["_id"])
            await self._discard(name)
        await self._database.clean_up_views()

    async def _committed(self, name: str) -> None:
        """Wait until an index is in its file, so that nobody has to build it again."""
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
        """Make one design document what is wanted, whoever does the same at the same time."""
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
                continue  # another installer was faster: see what it wrote
            if rebuilds or (now is None and self._populated):
                # Asked for by its own name, the index stays when the other name goes.
                await self._build(wanted)
            return f"wrote {name}"

    async def _finish(self, wanted: Document) -> str | None:
        """Have the cleaning remove what an interrupted installer left over."""
        self._built[_building_id(wanted)] = wanted
        return None

    async def _build_beside(self, wanted: Document) -> bool:
        """Build the index under another name; False where another installer has removed that name meanwhile."""
        beside = {**wanted, "_id": _building_id(wanted)}
        with contextlib.suppress(Conflict):  # begun by another installer, or by one that was interrupted
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
            Unavailable: CouchDB, or a proxy before it, did not answer, and the index makes no progress.
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
                # One view is all: those of a design document share an index.
                await self._asked(name, view, partition)
                return
            except Unavailable:
                before, pending = pending, await self._pending(name)
                if pending == 0:
                    return
                if pending >= before:
                    raise

    async def _asked(self, name: str, view: str, partition: str | None) -> None:
        """Ask for no rows of a view, which CouchDB answers when the index is there, and tell how far it is."""
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
        """How many changes the index has not seen."""
        found = (await self._database.design_info(name))["view_index"].get("updates_pending")
        return int(found.get("minimum", 0)) if isinstance(found, dict) else 0

    async def _get(self, name: str) -> Document | None:
        try:
            return await self._database.get(name)
        except NotFound:
            return None

    async def _discard(self, name: str) -> None:
        """Remove what was built under another name; what is not there need not be removed."""
        while (document := await self._get(name)) is not None and await self._delete(document):
            pass

    async def _remove(self, document: Document) -> str | None:
        # At another revision it is not what the plan said should go.
        return None if await self._delete(document) else f"removed {document['_id']}"

    async def _delete(self, document: Document) -> bool:
        """Delete a document at its revision; whether it has changed meanwhile."""
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
    """What CouchDB derives an index's signature from."""
    parts = [document.get("language", "javascript"), document.get("views") or {}, document.get("options") or {}]
    return _json.dumps(parts)


def _rebuilds(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether readers of a design document would have to wait for a new index."""
    return bool(stored.get("views")) and bool(wanted.get("views")) and _indexed(stored) != _indexed(wanted)


def _one_of_each_shard(shards: int) -> list[str]:
    """Names of partitions, one on each shard: a view of partitions is built for a shard when one of it is asked for.

    CouchDB hashes the partition by CRC-32, and shards have equal parts of its range (CouchDB documentation,
    "Shard Management"). Whether there is anything in a partition does not matter.
    """
    found: dict[int, str] = {}
    for number in itertools.count():
        name = f"partition-{number}"
        found.setdefault(min(zlib.crc32(name.encode()) // (2**32 // shards), shards - 1), name)
        if len(found) == shards:
            break
    return list(found.values())


def _building_id(wanted: Mapping[str, Any]) -> str:
    """The name under which an index is built: the same for all installers that want the same."""
    return _BUILDING + hashlib.sha256(wanted["_id"].encode() + _indexed(wanted)).hexdigest()[:16]
