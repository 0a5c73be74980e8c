"""Joins concurrent reads by id into one `_bulk_get`, and concurrent lookups in a view into one query.

In a cluster a read sees the same as without grouping: `_bulk_get` reads each document with the read quorum `r` as GET
does, by default a majority of the copies, and merges different answers into one tree of revisions. Since a write
that got 201 was stored by a majority as well, and no call joins a request that has left, a read that starts after the
write sees it. CouchDB's page: https://docs.couchdb.org/en/stable/cluster/theory.html
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from ... import _json
from ...errors import BadRequest, CouchError, InvalidReply, LongReply, NotFound, TooLarge
from .. import names
from ..bulk import Leaf, failure, live
from ..database import Database, GetOptions
from ..exchange import expect
from ..scheduler import Grouping, GroupLimits, told

__all__ = ["ConflictNoticed", "GroupedReads", "apart", "key_text", "read_alone"]

T = TypeVar("T")
R = TypeVar("R")

ConflictNoticed = Callable[[str, Sequence[Leaf]], None]
"""A function that receives the id and the leaves of a document that was read in conflict."""

_FIRST_GUESS = 1024  # bytes per document, used until a document has been read
_LEARNING = 0.1

_MOST_BYTES = 4 * 1024 * 1024  # of an answer with several documents; the group is read in parts where they have more
_LARGE = 64 * 1024  # bytes of a document, whose callers then go on in different turns of the event loop


class GroupedReads:
    """Reads one document, or looks up one key, at a time; concurrent calls share a request.

    Args:
        database: the database to read.
        limits: how large groups may become.
        on_conflict: receives documents in conflict; it must be quick.
    """

    def __init__(self, database: Database, limits: GroupLimits, on_conflict: ConflictNoticed | None = None) -> None:
        self.on_conflict = on_conflict
        self._database = database
        self._limits = limits
        self._documents: dict[tuple[bool, bool], Grouping[str, list[Leaf]]] = {}
        self._lookups: dict[tuple[str, str], Grouping[bytes, list[str]]] = {}
        self._mean_bytes = float(_FIRST_GUESS)

    def _grouping(self, *, revs: bool, every: bool) -> Grouping[str, list[Leaf]]:
        async def read(ids: list[str]) -> Sequence[list[Leaf] | Exception]:
            if len(ids) == 1:
                return [await self._read_alone(ids[0], revs, every)]
            return await apart(ids, lambda some: self._read(some, revs))

        return Grouping(
            read, self._limits, seconds=self._database.seconds, sharing=True, duplicate=_duplicate, is_large=_is_large
        )

    async def leaves(self, document_id: str, *, revs: bool = False, every: bool = False) -> list[Leaf]:
        """Read the leaves of a document; there is at least one, which may say that there is no document.

        Conflicting leaves are always included. Deleted ones are included if the document itself is deleted, or with
        `every`.

        Args:
            document_id: the document's `_id`; not that of a design or local document.
            revs: also return the `_revisions` of each leaf.
            every: whether all leaves are needed.

        Raises:
            ValueError: a document cannot have this id.
            CouchError: as in `Database.bulk_get`.
        """
        names.check_id(document_id)
        grouping = self._documents.get((revs, every))
        if grouping is None:
            grouping = self._documents[revs, every] = self._grouping(revs=revs, every=every)
        asked = grouping.ask(document_id, document_id, weight=int(self._mean_bytes))
        observer = self._database.server.observer
        return await (told(observer, "read", asked) if observer else asked)

    async def ids(self, design: str, view: str, key: Any) -> list[str]:
        """Look up the ids of the documents that a view lists under exactly this key, in order.

        Raises:
            ValueError: the key cannot be encoded as JSON.
            CouchError: as in `Database.view`.
        """
        grouping = self._lookups.get((design, view))
        if grouping is None:

            async def read(keys: list[bytes]) -> Sequence[list[str] | Exception]:
                return await apart(keys, lambda some: self._look_up(design, view, some))

            grouping = self._lookups[design, view] = Grouping(
                read, self._limits, seconds=self._database.seconds, sharing=True, duplicate=list
            )
        text = key_text(key)
        asked = grouping.ask(text, text, weight=len(text))
        observer = self._database.server.observer
        return await (told(observer, "lookup", asked) if observer else asked)

    # ------------------------------------------------------------ one group

    async def _read_alone(self, document_id: str, revs: bool, every: bool) -> list[Leaf]:
        """Read a lone document with a plain GET, which costs CouchDB less than a `_bulk_get` of one."""
        self._report("read", 1, len(document_id))
        found = await read_alone(self._database, document_id, revs=revs, conflicts=True, every=every)
        sizes = [_size(leaf) for leaf in found]
        self._learn(sum(sizes), 1)
        found = [_measured(leaf, size) for leaf, size in zip(found, sizes, strict=True)]
        if self.on_conflict is not None:
            self._notice(self.on_conflict, [document_id], [found])
        return found

    async def _read(self, ids: list[str], revs: bool) -> list[list[Leaf] | Exception]:
        content = b'{"docs":[' + b",".join([b'{"id":' + _json.dumps(each) + b"}" for each in ids]) + b"]}"
        self._report("read", len(ids), len(content))
        try:
            most = _MOST_BYTES if len(ids) > 1 else None
            found, size = await self._database.leaves_of(ids, content, revs=revs, most=most)
        except LongReply:
            self._mean_bytes = max(self._mean_bytes, _MOST_BYTES / len(ids))
            raise
        self._learn(size, len(ids))
        if size > _LARGE:
            found = [[_measured(leaf, _size(leaf)) for leaf in leaves] for leaves in found]
        if self.on_conflict is not None:
            self._notice(self.on_conflict, ids, found)
        return [_judged(leaves) for leaves in found]

    def _learn(self, size: int, count: int) -> None:
        self._mean_bytes += (size / count - self._mean_bytes) * _LEARNING

    def _notice(self, on_conflict: ConflictNoticed, ids: list[str], found: list[list[Leaf]]) -> None:
        for document_id, leaves in zip(ids, found, strict=True):
            if len(leaves) > 1 and len(live(leaves)) > 1:
                on_conflict(document_id, leaves)

    async def _look_up(self, design: str, view: str, keys: list[bytes]) -> list[list[str] | Exception]:
        self._report("lookup", len(keys), sum(map(len, keys)))
        wanted = [_json.loads(each) for each in keys]
        only: dict[str, Any] = {"key": wanted[0]} if len(wanted) == 1 else {"keys": wanted}
        result = await self._database.view(design, view, reduce=False, **only)
        # Each id once: for two keys that CouchDB considers equal, it sends the rows of both twice.
        ids: dict[bytes, dict[str, None]] = {each: {} for each in keys}
        for row in result.rows:
            if row.id is not None and (found := ids.get(key_text(row.key))) is not None:
                found[row.id] = None
        return [list(found) for found in ids.values()]

    def _report(self, kind: str, count: int, content_bytes: int) -> None:
        if observer := self._database.server.observer:
            observer.grouped(kind, count, content_bytes)


async def read_alone(
    database: Database, document_id: str, *, revs: bool = False, conflicts: bool = False, every: bool = False
) -> list[Leaf]:
    """Read a document's winning revision with a request of its own, or all leaves if it is deleted.

    Args:
        database: the database that contains the document.
        document_id: the document's `_id`.
        revs: also return `_revisions`.
        conflicts: also return all leaves if the document is in conflict.
        every: also return all leaves if some of them are deleted.

    Raises:
        ValueError: a document cannot have this id.
        CouchError: as in `Database.get`, except that a missing document is not an error.
    """
    # Of copies that differ a GET shows one that most agree on; this shows what any of those that are read has.
    if len(document_id) > names.LONG_TEXT or (every and database.server.contended):
        return (await database.bulk_get([document_id], revs=revs))[0]
    try:
        more: GetOptions = {"deleted_conflicts": True} if every else {}
        document = await database.get(document_id, revs=revs, conflicts=conflicts or every, **more)
    except NotFound as missing:
        if missing.reason == "missing":
            return [Leaf(None, None, missing.error, missing.reason)]
        if missing.reason != "deleted":
            raise  # the database does not exist
    else:
        if "_conflicts" not in document and "_deleted_conflicts" not in document:
            if document["_id"] != document_id:
                raise InvalidReply("the answer is not the requested document")
            return [Leaf(document, expect(document.get("_rev"), str, "GET /{db}/{id}"))]
    # Whoever needs all leaves is likely to ask how they descend from each other.
    return (await database.bulk_get([document_id], revs=revs or every))[0]


async def apart(items: list[T], send: Callable[[list[T]], Awaitable[list[R | Exception]]]) -> list[R | Exception]:
    """Send a group, and send it again in smaller groups if CouchDB refuses all of it, or its answer is too long.

    Raises:
        CouchError: it is about the whole group: an outage, a lost answer, wrong credentials, no database.
    """
    try:
        return await send(items)
    except (BadRequest, LongReply, TooLarge) as error:
        if len(items) == 1:
            return [error]
    half = len(items) // 2
    found: list[R | Exception] = []
    for part in (items[:half], items[half:]):
        try:
            found += await apart(part, send)
        except CouchError as error:
            found += [error] * len(part)  # the other part has its own outcome
    return found


def _judged(leaves: list[Leaf]) -> list[Leaf] | Exception:
    """The leaves, or an error if CouchDB reports one other than that the document is missing or deleted."""
    for each in leaves:
        if each.document is None and each.error != "not_found":
            return failure(each.error, each.reason)
    return leaves


def _size(leaf: Leaf) -> int:
    return 0 if leaf.document is None else len(_json.dumps(leaf.document))


def _measured(leaf: Leaf, size: int) -> Leaf:
    return leaf._replace(size=size) if size > _LARGE else leaf


def _is_large(leaves: list[Leaf]) -> bool:
    return any(leaf.size for leaf in leaves)


def _duplicate(leaves: list[Leaf]) -> list[Leaf]:
    return [each._replace(document=_copied(each.document)) for each in leaves]


def _copied(value: Any) -> Any:
    """A copy of a JSON value, which takes a tenth of the time of `copy.deepcopy`."""
    if type(value) is dict:
        return {name: _copied(each) if type(each) in _CONTAINERS else each for name, each in value.items()}
    if type(value) is list:
        return [_copied(each) if type(each) in _CONTAINERS else each for each in value]
    return value


_CONTAINERS = (dict, list)


def key_text(key: Any) -> bytes:
    """A key as text; as in CouchDB, 1 and 1.0 give the same."""
    return _json.dumps(int(key) if isinstance(key, float) and key.is_integer() else key)
