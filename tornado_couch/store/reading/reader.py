"""Finding and reading documents: by id in groups, by key, and page by page of an index."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ...couch import UNSET, Access, Database, Leaf, Single
from ...errors import DecryptionFailed, InvalidDocument, InvalidSignature, LongReply, NoIndex, NotFound, SignatureFault
from ...models import Model, ModelInfo, collection_view, deleted_view, is_deleted, is_of, model_info
from ..pace import Pace, take_turn
from ..protection.properties import Conversion
from ..protection.signatures import Guard
from ..query import Bounds, Query, same
from .bearing import bearing
from .cache import KeyMemory
from .planner import Planned, planned
from .room import read_in_room, share_of_request
from .scan import Position, Walk, certain_order, count_rows, united_rows

__all__ = ["PAGE_BYTES", "Page", "Reader", "is_absent", "is_selected", "neighbours"]

PAGE_BYTES = 8 * 1024 * 1024
"""Bytes of documents that are read for one page, which ends early where they have more."""

_SIFTED = 100  # documents that are looked at together
_MOST_SIFTED = 1000  # for one page

_FEW = 8  # documents to begin again with, where all of them are too much

_FIRST_GUESS = 1024  # bytes of a document, until some have been read
_LEARNING = 0.2
_SLACK = 64 * 1024  # bytes beyond the double of what documents have on average

logger = logging.getLogger("tornado_couch.store")

M = TypeVar("M", bound=Model)
Document = dict[str, Any]


@dataclass(frozen=True)
class Page(Generic[M]):
    """One page of a list of models.

    Attributes:
        items: the models, in order. There can be fewer than the limit although another page follows, since
            documents may have more bytes than one page holds (`PAGE_BYTES`), and may have been changed or deleted
            after the index was read.
        next: where the next page begins; None on the last page.
        withheld: how many documents belong on this page but do not fit the model, or did not verify.
        previous: where the page before ends, to read it backward; None on the first page.
        total: how many documents the index has for the whole query, if the caller asked for it; see `count_rows`.
    """

    items: list[M]
    next: Position | None
    withheld: int = 0
    previous: Position | None = None
    total: int | None = None


def is_absent(error: NotFound) -> bool:
    """Whether CouchDB found the database but not the document."""
    return error.reason in ("missing", "deleted")


class Reader:
    """Reads models from one database.

    Args:
        database: where the documents are.
        conversion: between models and documents.
        guard: verifies what is read.
        access: reads single documents; by default, each with a request of its own.
        keys: remembers the document ids of known keys.
    """

    def __init__(
        self,
        database: Database,
        conversion: Conversion,
        guard: Guard,
        access: Access | None = None,
        keys: KeyMemory | None = None,
    ) -> None:
        self._database = database
        self._access = access or Single(database)
        self.keys = KeyMemory() if keys is None else keys
        self._conversion = conversion
        self._guard = guard
        self._mean = float(_FIRST_GUESS)

    async def within(
        self, ids: Sequence[str], most: int = PAGE_BYTES
    ) -> tuple[list[Document | InvalidSignature | None], int]:
        """The winning revisions of the first documents with these ids: as many as have at most so many bytes together.

        One is read whatever its size. A missing or deleted document is None; for one that does not verify, the error
        takes its place.

        Returns:
            The documents in order, and how many bytes remain.
        """
        found: list[Document | InvalidSignature | None] = []
        left, count = most, len(ids)
        while len(found) < len(ids) and (left > 0 or not found):
            group = ids[len(found) : len(found) + count]
            allowed = left if found or len(group) > 1 else None
            try:
                leaves, size = await self._read(group, allowed)
            except LongReply:
                if len(group) == 1:
                    break
                count = min(_FEW, len(group) // 2)
                continue
            found += await self._judgements(group, leaves)
            left -= size
            count = max(1, min(2 * len(group), left * len(group) // max(size, 1)))
        return found, max(left, 0)

    async def _read(self, ids: Sequence[str], most: int | None) -> tuple[list[list[Leaf]], int]:
        """Read documents, once the process has room for them: for as many bytes as they probably have.

        Only where they have more is there a second request, and that has to wait until there is room for all of them.

        Raises:
            LongReply: they have more bytes than they may.
            NoRoom: others held it for too long.
        """
        share, revs = share_of_request(), self._guard.history
        if share is None:
            return await self._database.bulk_get_within(ids, most, revs=revs)
        likely, largest = int(2 * self._mean * len(ids)) + _SLACK, most or PAGE_BYTES
        read = None
        if likely < largest:
            allowed = await share.widen(likely)
            with suppress(LongReply):
                read = await self._database.bulk_get_within(ids, allowed, revs=revs)
        if read is None:
            allowed = await share.widen(largest)
            read = await self._database.bulk_get_within(ids, None if most is None else allowed, revs=revs)
        share.use(read[1])
        self._mean += (read[1] / len(ids) - self._mean) * _LEARNING
        if read[1] > _SLACK:
            await take_turn()
        return read

    async def few(self, ids: Sequence[str]) -> list[Document | InvalidSignature | None]:
        """Like `within`, for a few documents of any size: their requests can be grouped with those of other callers."""
        return await self._judgements(ids, await asyncio.gather(*(self._leaves(each) for each in ids)))

    async def document(self, cls: type[Model], key: Any, *, conflicts: bool = False) -> Document | None:
        """The document with this key; None if it does not exist.

        Args:
            cls: the class of the model.
            key: the key.
            conflicts: also read `_conflicts`, the other leaves of a document in conflict.

        Raises:
            InvalidSignature: the document was written, or deleted, by somebody who does not hold the keys.
        """
        info = model_info(cls)
        certain = info.document_id(key)
        if certain is not None:
            return await self._bearing(cls, certain, key, conflicts)
        known = self.keys.recall(cls, key)
        if known is None and info.key and info.key.generated:
            # This package uses a generated key as the document id. Other programs may not, so the view
            # decides if there is no such document.
            known = str(key)
        document, gone = None, None
        if known is not None:
            try:
                document = await self._remembered(cls, known, key, conflicts)
            except InvalidSignature as error:
                if error.reason is not SignatureFault.DELETED:
                    raise
                gone = error  # another document may have the key by now
        if document is None or (is_deleted(info, document) and known != key):
            # Another document may have the key by now if this one is marked as deleted.
            found = await self._looked_up(cls, key, conflicts)
            if found is None and gone is not None:
                raise gone
            return found or document
        return document

    async def _remembered(self, cls: type[Model], document_id: str, key: Any, conflicts: bool) -> Document | None:
        """The document, if it is still the one with this key."""
        document = await self._bearing(cls, document_id, key, conflicts)
        if document is None:
            self.keys.forget(cls, key)
        return document

    async def _looked_up(self, cls: type[Model], key: Any, conflicts: bool) -> Document | None:
        """The document that the view lists under a key."""
        view = collection_view(cls)
        for document_id in await self._access.ids(view, view, model_info(cls).view_key(key)):
            document = await self._bearing(cls, document_id, key, conflicts)
            if document is not None:
                self.keys.learn(cls, key, document["_id"])
                return document
        return None

    async def deleted_document(self, cls: type[Model], key: Any) -> Document | None:
        """The document with this key that is marked as deleted; only the view of deleted documents has it."""
        info = model_info(cls)
        name, view = info.indexes[0].properties[0], deleted_view(cls)
        found = await self._database.view(view, view, key=[name, info.view_key(key)], limit=1, reduce=False)
        return await self._bearing(cls, found.rows[0].id or "", key, conflicts=False) if found.rows else None

    async def _bearing(self, cls: type[Model], document_id: str, key: Any, conflicts: bool) -> Document | None:
        """The document with this id, if it belongs to the model and has the key."""
        # Ids that begin with an underscore are those of design documents and local documents.
        if document_id.startswith("_"):
            return None
        try:
            document = await self._verified(document_id, conflicts)
        except ValueError:
            return None  # CouchDB allows no such id
        return bearing(self._database, cls, key, document)

    async def stored(self, document_id: str) -> Document:
        """A document as it is stored; see `Store.stored`."""
        leaves = await self._leaves(document_id)
        document = await self._judged(document_id, leaves)
        if document is None:
            deleted = any(each.document is not None for each in leaves)
            raise NotFound(404, "not_found", "deleted" if deleted else "missing")
        return document

    async def _verified(self, document_id: str, conflicts: bool) -> Document | None:
        return await self._judged(document_id, await self._leaves(document_id, every=conflicts))

    async def _leaves(self, document_id: str, *, every: bool = False) -> list[Leaf]:
        async def read() -> tuple[list[Leaf], int]:
            leaves = await self._access.leaves(
                document_id, revs=self._guard.history, every=every or self._guard.every
            )
            return leaves, sum(leaf.size for leaf in leaves)

        return await read_in_room(document_id, read)

    async def _judged(self, document_id: str, leaves: list[Leaf]) -> Document | None:
        (found,) = await self._judgements([document_id], [leaves])
        if isinstance(found, InvalidSignature):
            raise found
        return found

    async def _judgements(
        self, ids: Sequence[str], found: Sequence[list[Leaf]]
    ) -> list[Document | InvalidSignature | None]:
        """What to serve of each document; those whose leaves need it are read again with their histories."""
        several = {place for place, leaves in enumerate(found) if self._guard.needs_histories(leaves)}
        read = (
            iter(await self._access.bulk_get([ids[place] for place in sorted(several)], revs=True)) if several else None
        )
        judged, pace = [], Pace()
        for place, leaves in enumerate(found):
            judged.append(self._guard.judged(next(read) if read and place in several else leaves))
            if pace.is_due():
                await pace.breathe()
        return judged

    async def page(
        self,
        cls: type[M],
        query: Query,
        *,
        limit: int,
        start: Position | None = None,
        backward: bool = False,
        count: bool = False,
    ) -> Page[M]:
        """A page of the models that a query selects.

        Args:
            cls: the class of the models.
            query: selects and orders the models.
            limit: the page has at most this many models.
            start: a `Page.next`, or with `backward` a `Page.previous`.
            backward: the page that ends at `start`; the order of the models in it stays the same.
            count: also count all that the query selects.

        Raises:
            NoIndex: the model has no index for the query.
        """
        found = planned(self._conversion, cls, query)
        if count and (found.union or found.sifting):
            raise NoIndex("no index has exactly the documents of this query, so they cannot be counted")
        if found.sifting:
            more, rows, documents = await self._sifted(found, start, backward, limit)
        else:
            rows, more = await self._rows(found, start, backward, limit)
            left_over, rows, documents = await self.first_of(rows, limit)
            more = more or left_over
        if backward:
            rows.reverse()
            documents.reverse()
        previous, following = neighbours(rows, start, backward, more)
        items, withheld = await self.models(cls, found.query, documents)
        total = await count_rows(self._database, found.plan) if count else None
        return Page(items, following, withheld, previous, total)

    async def _rows(
        self, found: Planned, start: Position | None, backward: bool, limit: int
    ) -> tuple[list[Position], bool]:
        """The next rows, fewer than the limit where they have very long keys; and whether more rows follow."""
        while True:
            try:
                if found.union:
                    rows = await united_rows(self._database, found.union, start, backward, limit + 1)
                else:
                    rows = await Walk(self._database, found.plan, start, backward).rows(limit + 1)
            except LongReply:
                if limit == 1:
                    raise
                limit = max(1, limit // _FEW)
            else:
                return rows[:limit], len(rows) > limit

    async def _sifted(
        self, found: Planned, start: Position | None, backward: bool, limit: int
    ) -> tuple[bool, list[Position], list[Document | InvalidSignature | None]]:
        """Look at documents until so many are selected, or many were looked at, or as many bytes as a page holds.

        Returns:
            Whether rows are left over, those that were looked at, and their documents: None for one that is not wanted.
        """
        looked_at: list[Position] = []
        documents: list[Document | InvalidSignature | None] = []
        more, chosen, left = True, 0, PAGE_BYTES
        while more and left and chosen < limit and len(looked_at) < _MOST_SIFTED:
            rows, more = await self._rows(found, looked_at[-1] if looked_at else start, backward, _SIFTED)
            read, left = await self.within([row.id for row in rows], left)
            more = more or len(rows) > len(read)
            for row, document in zip(rows, read, strict=False):
                if chosen == limit:
                    more = True
                    break
                selected = not isinstance(document, dict) or is_selected(found.cls, found.query, document)
                chosen += selected and document is not None
                looked_at.append(row)
                documents.append(document if selected else None)
        return more, looked_at, documents

    async def first_of(
        self, rows: list[Position], limit: int
    ) -> tuple[bool, list[Position], list[Document | InvalidSignature | None]]:
        """Read the documents of the first rows: at most so many, and of as many bytes as one page holds.

        Returns:
            Whether rows are left over, the rows that belong on the page, and their documents.
        """
        documents, _ = await self.within([row.id for row in rows[:limit]])
        return len(rows) > len(documents), rows[: len(documents)], documents

    async def models(
        self,
        cls: type[M],
        query: Query | None,
        documents: Sequence[Document | InvalidSignature | InvalidDocument | None],
        load: Callable[[type[M], Document], Awaitable[M]] | None = None,
    ) -> tuple[list[M], int]:
        """The models of those documents that a query selects, and how many of these documents cannot be read.

        Args:
            cls: the class of the models.
            query: leave out the documents that it does not select; None leaves out none.
            documents: as `within` returns them.
            load: converts a document to a model; by default, the reader's conversion does.
        """
        load, items, withheld, pace = load or self._conversion.from_store, [], 0, Pace()
        for document in documents:
            if pace.is_due():
                await pace.breathe()
            if isinstance(document, InvalidSignature | InvalidDocument):
                withheld += 1  # whoever found it has logged or counted it
                continue
            # Deleted, restored or changed since the index was read.
            if document is None or not is_of(cls, document) or (query and not is_selected(cls, query, document)):
                continue
            try:
                items.append(await load(cls, document))
            except (InvalidDocument, DecryptionFailed) as error:
                # One unreadable document must neither hide the rest of a list nor vanish silently.
                places = " and ".join(each["pointer"] for each in getattr(error, "problems", ()))
                logger.warning(
                    "left a %s out of a list: %s %s", model_info(cls).type.name, type(error).__name__, places
                )
                withheld += 1
        return items, withheld


def neighbours(
    rows: list[Position], start: Position | None, backward: bool, more: bool
) -> tuple[Position | None, Position | None]:
    """Where the page before ends, and where the one after begins."""
    if not rows:
        # The page before ends with the row that this page was to follow.
        turned = start._replace(inclusive=not start.inclusive) if start else None
        return (None, turned) if backward else (turned, None)
    previous = rows[0] if (more if backward else start is not None) else None
    following = rows[-1] if (start is not None if backward else more) else None
    return previous, following


def is_selected(cls: type[Model], query: Query, document: Document, *, certain: bool = False) -> bool:
    """Whether a query, with its values as the indexes hold them, selects a document.

    Args:
        cls: the model.
        query: the query.
        document: the stored document.
        certain: say False where only CouchDB's collation can say it; without it, whoever asks has found it in an index.
    """
    info = model_info(cls)
    if is_deleted(info, document) != query.deleted:
        return False
    if query.either and not any(is_selected(cls, each, document, certain=certain) for each in query.either):
        return False
    for name, values in query.among.items():
        wanted = [info.view_value(name, each) for each in values]
        if not any(same(found, each) for found in _keys(info, name, document) for each in wanted):
            return False
    for name, value in query.excluded.items():
        if any(same(found, info.view_value(name, value)) for found in _keys(info, name, document)):
            return False
    return all(_is_within(info, name, bounds, document, certain) for name, bounds in query.ranges.items())


def _keys(info: ModelInfo, name: str, document: Document) -> list[Any]:
    """What stands in an index for a document: one key, or several where each member of a list is one."""
    if key_of := info.derived.get(name):
        member = key_of.declared.name
        return key_of.keys(document.get(member, info.defaults.get(member)))
    declared = info.properties.get(name)
    value = document.get(declared.index_member if declared else name, info.defaults.get(name))
    return [info.view_value(name, value)]


def _is_within(info: ModelInfo, name: str, bounds: Bounds, document: Document, certain: bool) -> bool:
    """Whether a document's value is in a range; also where only CouchDB's collation can say, which found it there."""
    known = name in info.properties or name in info.derived
    if not known or bounds == Bounds():
        return True
    (found, *_) = [*_keys(info, name, document), None]
    if found is None:
        return False
    low, high = bounds.gt if bounds.gte is UNSET else bounds.gte, bounds.lt if bounds.lte is UNSET else bounds.lte
    above = 1 if low is UNSET else certain_order(found, info.view_value(name, low))
    below = -1 if high is UNSET else certain_order(found, info.view_value(name, high))
    if certain and (above is None or below is None):
        return False
    too_low = above is not None and (above < 0 or (above == 0 and low is bounds.gt))
    too_high = below is not None and (below > 0 or (below == 0 and high is bounds.lt))
    return not too_low and not too_high
