"""What a store does with models whose documents can come back: `soft_delete=True` and `history=True`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeVar

from ...couch import Database
from ...errors import DocumentExists, DocumentNotFound
from ...models import DELETED_PROPERTY, Model, format_timestamp, is_deleted, model_info
from ..operations import Change, Check, Expectation, called, changed, expect
from ..reading.reader import Page, Reader
from ..reading.scan import Position
from ..writing.deletion import Eraser
from ..writing.writer import Writer
from .history import History

__all__ = ["Keeping"]

M = TypeVar("M", bound=Model)
T = TypeVar("T")

# Of CouchDB's own members, those that are part of what is written.
_WRITTEN = ("_id", "_rev", "_attachments")


class Keeping:
    """The part of `Store` that keeps what is deleted, and every version."""

    database: Database
    writer: Writer
    _now: Callable[[], datetime]
    _reader: Reader
    _direct: Reader
    _history: History
    _eraser: Eraser

    async def versions(
        self, cls: type[M], key: Any, *, limit: int = 50, start: Position | None = None, backward: bool = False
    ) -> Page[M]:
        """A page of the versions of a document, the latest first; deletions are among them, see `version_of`.

        Args:
            cls: the model, declared with `history=True`.
            key: of the document; it may be deleted.
            limit: how many at most.
            start: the `next` of the page before; with `backward`, the `previous` of the page after.
            backward: the page that ends where `start` is.

        Raises:
            DocumentNotFound: there never was such a document.
        """
        await self._direct.by_key(cls, key, deleted=None)
        return await self._reader.page_of_versions(cls, key, limit=limit, start=start, backward=backward)

    async def version(self, cls: type[M], key: Any, name: str | int) -> M:
        """One version of a document.

        Args:
            cls: the model, declared with `history=True`.
            key: of the document; it may be deleted.
            name: its number, or its `Version.name`.

        Raises:
            DocumentNotFound: there is none, or it says that the document is deleted.
        """
        return await self._reader.of_version(cls, await self._reader.history.by_name(cls, key, str(name)))

    async def as_of(self, cls: type[M], key: Any, moment: datetime) -> M:
        """A document as it was at a time.

        Args:
            cls: the model, declared with `history=True`.
            key: of the document; it may be deleted by now.
            moment: the time, with its zone.

        Raises:
            DocumentNotFound: it was not there.
        """
        document = await self._reader.history.as_of(cls, key, format_timestamp(moment))
        return await self._reader.of_version(cls, document)

    async def restore(
        self,
        cls: type[M],
        key: Any,
        change: Change[M] | None = None,
        *,
        check: Check[M] | None = None,
        expected: Expectation | None = None,
    ) -> M:
        """Bring back the document with this key that was deleted, trying again when another writer was faster.

        Args:
            cls: the model, declared with `soft_delete=True` or `history=True`.
            key: which one.
            change: a function of the model as it was when it was deleted; without it, it comes back as it was.
            check: is given that model first.
            expected: says whether the revision is the one that the caller means; that of the deletion.

        Returns:
            The model as it is now.

        Raises:
            DocumentNotFound: there is none that is deleted and can be restored.
            DocumentExists: it is not deleted, or was restored by another writer meanwhile.
            RevisionMismatch, RetriesExhausted: as `update` does.
        """

        async def attempt() -> M:
            current = await self._direct.by_key(cls, key, deleted=None)
            if not is_deleted(model_info(cls), current._stored):
                raise DocumentExists(f"the {model_info(cls).type.name} with that key is not deleted")
            await called(check, current)
            expect(expected, current)
            model = current if change is None else await changed(change, current)
            model._stored = {name: value for name, value in model._stored.items() if name != DELETED_PROPERTY}
            return await self._write(model, new=False)

        return await self._until_no_conflict(attempt, cls, key, expected is not None)

    async def _revive(self, model: M) -> M | None:
        """Write a new model that has its key over the document that is marked as deleted; None where there is none.

        So no key ever has two documents, of which one comes back later. What was deleted is gone then.
        """
        try:
            gone = await self._direct.by_key(type(model), model._key, deleted=True)
        except DocumentNotFound:
            return None
        model._id, model._rev = gone._id, gone._rev
        return await self._write(model, new=True)

    async def _remove(self, current: Model) -> None:
        """Delete a document as its model has it: keep it, mark it, or leave nothing of it."""
        info, document = model_info(type(current)), {**current._stored, "_id": current._id, "_rev": current._rev}
        if info.history:
            await self._history.append(current.model_copy(), deleted=True)
        elif info.soft_delete:
            kept = {name: value for name, value in document.items() if name in _WRITTEN or not name.startswith("_")}
            marked = {**kept, DELETED_PROPERTY: format_timestamp(self._now())}
            await self._put(self.writer.marked(marked), None)
        else:
            await self._eraser.erase(document)

    async def _write(self, model: M, *, new: bool, parent: str | None = None) -> M:
        raise NotImplementedError

    async def _put(self, document: dict[str, Any], parent: str | None) -> tuple[dict[str, Any], str]:
        raise NotImplementedError

    async def _until_no_conflict(
        self, attempt: Callable[[], Awaitable[T]], cls: type[Model], key: Any, guarded: bool
    ) -> T:
        raise NotImplementedError
