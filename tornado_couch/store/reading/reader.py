"""Finding and reading documents: by id in groups, by key, and page by page of an index."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ...couch import Access, Database, Leaf, Single
from ...errors import DecryptionFailed, InvalidDocument, InvalidSignature, NotFound, SignatureFault
from ...models import Model, collection_view, deleted_view, is_deleted, is_of, model_info
from ..protection.conversion import Conversion
from ..protection.signatures import Guard
from ..query import Query, same
from .key_memory import KeyMemory
from .planner import plan
from .scan import Position, Walk, count_rows

__all__ = ["Page", "Reader", "is_absent", "neighbours"]

logger = logging.getLogger("tornado_couch.store")

M = TypeVar("M", bound=Model)
Document = dict[str, Any]


@dataclass(frozen=True)
class Page(Generic[M]):
    """A part of a collection.

    Attributes:
        items: the models, in order. They can be fewer than asked for though a page follows: a document
            may have been changed or deleted since the index was read.
        next: where the next page begins; None at the end.
        withheld: how many documents belong here and could not be read as the model, or did not verify.
        previous: where the page before ends, to be read backward; None at the beginning.
        total: how many documents the index has for the whole query, where that was asked; see `count_rows`.
    """

    items: list[M]
    next: Position | None
    withheld: int = 0
    previous: Position | None = None
    total: int | None = None


def is_absent(error: NotFound) -> bool:
    """Whether it is the document that is not there, and not the whole database."""
    return error.reason in ("missing", "deleted")


class Reader:
    """Reads models from one database.

    Args:
        database: where the documents are.
        conversion: between models and documents.
        guard: verifies what is read.
        access: how single documents are read; each by itself if None.
        keys: where the documents of known keys are.
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

    async def by_ids(self, ids: Sequence[str]) -> list[Document | InvalidSignature | None]:
        """The winning documents of these ids, in order.

        In their places: None for each that is missing or deleted, the error for each that does not verify.
        """
        if not ids:
            return []
        found = await self._database.bulk_get(list(ids), revs=self._guard.history)
        return [self._guard.judged(leaves) for leaves in found]

    async def few(self, ids: Sequence[str]) -> list[Document | InvalidSignature | None]:
        """As `by_ids`, of so few that they are better read along with those of other callers."""
        found = await asyncio.gather(*(self._access.leaves(each, revs=self._guard.history) for each in ids))
        return [self._guard.judged(leaves) for leaves in found]

    async def document(self, cls: type[Model], key: Any, *, conflicts: bool = False) -> Document | None:
        """The document with this key; None if there is none.

        Args:
            cls: the model.
            key: which one.
            conflicts: also read `_conflicts`, the other leaves of a document in conflict.

        Raises:
            InvalidSignature: it is not what a holder of the keys wrote there, or was deleted by somebody else.
        """
        info = model_info(cls)
        certain = info.document_id(key)
        if certain is not None:
            return await self._bearing(cls, certain, key, conflicts)
        known = self.keys.recall(cls, key)
        if known is None and info.key and info.key.generated:
            # A generated key is the id of what this package created; documents from elsewhere may
            # have another id, so a miss says nothing.
            known = str(key)
        document = None if known is None else await self._remembered(cls, known, key, conflicts)
        if document is None or (is_deleted(info, document) and known != key):
            # The key of one that is marked as deleted may have another document by now.
            return await self._looked_up(cls, key, conflicts) or document
        return document

    async def _remembered(self, cls: type[Model], document_id: str, key: Any, conflicts: bool) -> Document | None:
        """The document, if it is still the one with this key."""
        try:
            document = await self._bearing(cls, document_id, key, conflicts)
        except InvalidSignature as error:
            if error.reason is not SignatureFault.DELETED:
                raise
            document = None  # the key may have another document by now
        if document is None:
            self.keys.forget(cls, key)
        return document

    async def _looked_up(self, cls: type[Model], key: Any, conflicts: bool) -> Document | None:
        """The document that the view has for a key."""
        view = collection_view(cls)
        for document_id in await self._access.ids(view, view, model_info(cls).key_value(key)):
            document = await self._bearing(cls, document_id, key, conflicts)
            if document is not None:
                self.keys.learn(cls, key, document["_id"])
                return document
        return None

    async def deleted_document(self, cls: type[Model], key: Any) -> Document | None:
        """The document with this key that is marked as deleted; only the view of deleted documents has it."""
        info = model_info(cls)
        name, view = info.indexes[0].properties[0], deleted_view(cls)
        found = await self._database.view(view, view, key=[name, info.key_value(key)], limit=1, reduce=False)
        return await self._bearing(cls, found.rows[0].id or "", key, conflicts=False) if found.rows else None

    async def _bearing(self, cls: type[Model], document_id: str, key: Any, conflicts: bool) -> Document | None:
        """The document of this id, if it is of the model and bears the key."""
        # Ids with an underscore are design and local documents: never a model's.
        if document_id.startswith("_"):
            return None
        try:
            document = await self._verified(document_id, conflicts)
        except ValueError:
            return None  # no document can have such an id
        info = model_info(cls)
        if document is None or not is_of(cls, document):
            return None
        return None if info.key and document.get(info.key.name) != info.key_value(key) else document

    async def stored(self, document_id: str) -> Document:
        """A document as it is stored; see `Store.stored`."""
        leaves = await self._access.leaves(document_id, revs=self._guard.history)
        document = self._judged(leaves)
        if document is None:
            deleted = any(each.document is not None for each in leaves)
            raise NotFound(404, "not_found", "deleted" if deleted else "missing")
        return document

    async def _verified(self, document_id: str, conflicts: bool) -> Document | None:
        return self._judged(await self._access.leaves(document_id, revs=self._guard.history, every=conflicts))

    def _judged(self, leaves: Sequence[Leaf]) -> Document | None:
        found = self._guard.judged(leaves)
        if isinstance(found, InvalidSignature):
            raise found
        return found

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
        """A page of the models that a query means.

        Args:
            cls: the model.
            query: which, and in which order.
            limit: how many documents at most.
            start: a `Page.next`, or with `backward` a `Page.previous`.
            backward: the page that ends where `start` is, in the query's order all the same.
            count: also count all of them.

        Raises:
            NoIndex: no index serves the query.
        """
        query = self._conversion.to_query(cls, query)
        planned = plan(cls, query)
        rows = await Walk(self._database, planned, start, backward).rows(limit + 1)
        more, rows = len(rows) > limit, rows[:limit]
        if backward:
            rows.reverse()
        previous, following = neighbours(rows, start, backward, more)
        items, withheld = await self.models(cls, query, await self.by_ids([row.id for row in rows]))
        total = await count_rows(self._database, planned) if count else None
        return Page(items, following, withheld, previous, total)

    async def models(
        self,
        cls: type[M],
        query: Query | None,
        documents: Sequence[Document | InvalidSignature | None],
        load: Callable[[type[M], Document], Awaitable[M]] | None = None,
    ) -> tuple[list[M], int]:
        """The models of those documents that a query selects, and how many more of them cannot be given out.

        Args:
            cls: the model.
            query: what the documents must still fulfil; None for all of them.
            documents: as `by_ids` gives them.
            load: makes the model of a document; by default the conversion does.
        """
        load, items, withheld = load or self._conversion.from_store, [], 0
        for document in documents:
            if isinstance(document, InvalidSignature):
                withheld += 1  # the guard has logged it
                continue
            # Deleted, restored or changed since the index was read.
            if document is None or not is_of(cls, document) or (query and not _is_meant(cls, query, document)):
                continue
            try:
                items.append(await load(cls, document))
            except (InvalidDocument, DecryptionFailed) as error:
                # One unreadable document must not hide the rest of a list, nor vanish silently.
                logger.warning("left a %s out of a list: %s", model_info(cls).type.name, type(error).__name__)
                withheld += 1
        return items, withheld


def neighbours(
    rows: list[Position], start: Position | None, backward: bool, more: bool
) -> tuple[Position | None, Position | None]:
    """Where the page before ends, and where the one after begins."""
    if not rows:
        # What the page was to begin behind may be there still.
        turned = start._replace(inclusive=not start.inclusive) if start else None
        return (None, turned) if backward else (turned, None)
    previous = rows[0] if (more if backward else start is not None) else None
    following = rows[-1] if (start is not None if backward else more) else None
    return previous, following


def _is_meant(cls: type[Model], query: Query, document: Document) -> bool:
    info = model_info(cls)
    if is_deleted(info, document) != query.deleted:
        return False
    for name, values in query.among.items():
        declared = info.properties.get(name)
        value = document.get(declared.index_member if declared else name, info.defaults.get(name))
        if not any(same(value, each) for each in values):
            return False
    return True
