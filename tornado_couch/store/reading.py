"""Finding and reading documents: by id in groups, by key, and page by page of a view."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from ..couch import UNSET, Database, Leaf
from ..errors import DocumentNotFound, InvalidDocument, NotFound
from ..models import Model, collection_view, from_document, is_of, model_info, property_view

__all__ = ["Page", "Position", "Reader", "indexed_properties", "is_absent", "winner"]

logger = logging.getLogger("tornado_couch.store")

M = TypeVar("M", bound=Model)
Document = dict[str, Any]


class Position(NamedTuple):
    """A place in a view: its rows are ordered by key, then by document id."""

    key: Any
    id: str


@dataclass(frozen=True)
class Page(Generic[M]):
    """A part of a collection.

    Attributes:
        items: the models, in the view's order.
        next: where the next page begins; None at the end.
        withheld: how many documents belong here and could not be read as the model.
    """

    items: list[M]
    next: Position | None
    withheld: int = 0


def winner(leaves: Sequence[Leaf]) -> Document | None:
    """The winning revision's document, as CouchDB chooses it; None if the document is gone.

    A leaf that is not deleted wins over one that is; then the longer history; then the greater
    revision id (CouchDB documentation, "Replication and conflict model").
    """
    documents = [leaf.document for leaf in leaves if leaf.document is not None]
    live = [document for document in documents if not document.get("_deleted")]
    return max(live, key=lambda document: _rank(document["_rev"]), default=None)


def _rank(revision: str) -> tuple[int, str]:
    generation, _, digest = revision.partition("-")
    return int(generation), digest


def is_absent(error: NotFound) -> bool:
    """Whether it is the document that is not there, and not the whole database."""
    return error.reason in ("missing", "deleted")


class Reader:
    """Reads models from one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def by_ids(self, ids: Sequence[str]) -> list[Document | None]:
        """The winning documents of these ids, in order; None for each that is missing or deleted."""
        if not ids:
            return []
        return [winner(leaves) for leaves in await self._database.bulk_get(list(ids))]

    async def by_key(self, cls: type[M], key: Any) -> M:
        """The model with this key.

        Raises:
            DocumentNotFound: there is none.
            InvalidDocument: it does not fit the model.
        """
        document = await self._find_document(cls, key)
        if document is None:
            raise DocumentNotFound(f"there is no {model_info(cls).type.name} with that key")
        return from_document(cls, document)

    async def _find_document(self, cls: type[Model], key: Any) -> Document | None:
        info = model_info(cls)
        certain = info.document_id(key)
        if certain is not None:
            return await self._bearing(cls, certain, key)
        if info.key and info.key.generated:
            # A generated key is the id of what this package created; documents from elsewhere may
            # have another id, so a miss says nothing.
            document = await self._bearing(cls, key, key)
            if document is not None:
                return document
        found = await self._database.view(
            collection_view(cls), collection_view(cls), key=info.key_value(key), limit=1, reduce=False
        )
        return await self._bearing(cls, found.rows[0].id or "", key) if found.rows else None

    async def _bearing(self, cls: type[Model], document_id: str, key: Any) -> Document | None:
        """The document of this id, if it is of the model and bears the key."""
        # Ids with an underscore are design and local documents: never a model's.
        if document_id.startswith("_"):
            return None
        try:
            document = await self._database.get(document_id)
        except ValueError:
            return None  # no document can have such an id
        except NotFound as missing:
            if is_absent(missing):
                return None
            raise
        info = model_info(cls)
        if not is_of(cls, document) or (info.key and document.get(info.key.name) != info.key_value(key)):
            return None
        return document

    async def page(
        self,
        cls: type[M],
        *,
        by: str | None = None,
        key: Any = UNSET,
        limit: int,
        descending: bool = False,
        start: Position | None = None,
    ) -> Page[M]:
        """A page of the models, ordered by key, or by the indexed property `by`.

        Args:
            cls: the model.
            by: an indexed property's name in JSON; else the key's order.
            key: only documents with this value of `by`.
            limit: how many documents at most.
            descending: from the last to the first.
            start: a `Page.next`.

        Raises:
            ValueError: `by` is not an indexed property.
        """
        view = property_view(cls, by) if by else collection_view(cls)
        if by and not model_info(cls).properties[by].indexed:
            raise ValueError(f"{by} is not indexed; indexed are {indexed_properties(cls)}")
        query: dict[str, Any] = {"limit": limit + 1, "descending": descending, "reduce": False}
        if key is not UNSET:
            query.update(startkey=key, endkey=key)
        if start is not None:
            query.update(startkey=start.key, startkey_docid=start.id)
        rows = (await self._database.view(view, view, **query)).rows
        last = Position(rows[limit].key, rows[limit].id or "") if len(rows) > limit else None
        return await self._models(cls, [row.id or "" for row in rows[:limit]], last)

    async def _models(self, cls: type[M], ids: list[str], next_position: Position | None) -> Page[M]:
        items, withheld = [], 0
        for document in await self.by_ids(ids):
            # None: deleted since the view was read.
            if document is None or not is_of(cls, document):
                continue
            try:
                items.append(from_document(cls, document))
            except InvalidDocument as error:
                # One unreadable document must not hide the rest of a list, nor vanish silently.
                logger.warning("left a %s out of a list: %s", model_info(cls).type.name, type(error).__name__)
                withheld += 1
        return Page(items, next_position, withheld)


def indexed_properties(cls: type[Model]) -> list[str]:
    """The names of the properties that have a view."""
    return [each.name for each in model_info(cls).properties.values() if each.indexed]
