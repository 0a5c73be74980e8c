"""`Store` reads and writes models in one database, and tries again when a write meets a conflict."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import datetime
from typing import Any, TypeVar

from cachetools import LRUCache

from ..couch import UNSET, Access, ConflictNoticed, Database, GroupLimits, access
from ..errors import (
    AttachmentMismatch,
    AttachmentNotFound,
    Conflict,
    DocumentExists,
    DocumentNotFound,
    OutcomeUnknown,
    RetriesExhausted,
    RevisionMismatch,
    TornadoCouchError,
    Unavailable,
)
from ..models import AttachmentPlace, Model, attachment_place, is_deleted, model_info, referring, utc_now
from ..security import Scheme
from .attachments import Attachments
from .bulk import Singly
from .conflicts.reconcile import Reconciliation
from .lifecycle import Lifecycles
from .live import DocumentChange, Live, Observer
from .operations import (
    Change,
    Check,
    Deletion,
    Expectation,
    FileExpectation,
    Operation,
    called,
    changed,
    expect,
    partially,
)
from .protection.properties import Conversion, Protection
from .protection.signatures import Guard, NoGuard, SignatureGuard, Verification, parent_of
from .query import Query
from .reading.attachments import AttachmentReader, FileReader
from .reading.cache import CachedAccess, KeyMemory, ReadCache
from .reading.planner import carrying_plan, planned
from .reading.reader import Page, Reader, is_selected
from .reading.scan import Position
from .references import Dependents, References, held_by, held_in
from .uploads import Source, Upload, drop_file, place_file
from .writing.deletion import Eraser
from .writing.model_writer import ModelWriter
from .writing.tokens import Attempts
from .writing.writer import Retry, Writer

__all__ = ["Change", "Check", "Expectation", "Store"]

M = TypeVar("M", bound=Model)

_SETTLING = 4  # looks at a document in conflict before it is written over, about a tenth of a second


class Store:
    """Creates, finds, changes and deletes models in a database.

    Besides the errors that it documents, every method raises the client's `CouchError`s. One store serves any
    number of models and tasks.

    A write that returns was carried out exactly once. A write that raises was not carried out, with one exception:
    `OutcomeUnknown` means that the answer was lost, and that the store could not find out within the retry's
    patience whether CouchDB had carried out the write. See `writing`.

    Args:
        database: where the documents are.
        retry: how a change that met a conflict is tried again.
        now: returns the current time, for the time stamps.
        sleep: waits between tries.
        crypter: keys, of any kind that `as_keys` takes, for the properties that are `Encrypted()`.
        indexer: keys for the blind indexes of the searchable ones; by default, those of `crypter`.
        bind_encryption: encrypt for this database alone, as signatures always are: with the same keys, what is copied
            to another database cannot be decrypted there, or in a copy of this one under another name.
        signer: keys, of any kind that `as_keys` takes. With them the store signs every document and deletion that
            it writes and verifies every one that it reads; it neither returns nor changes what does not verify.
        verify: "history" also compares each signature with the revisions that CouchDB keeps of the document.
        scheme: how to sign. `Scheme.V2` is for servers that compute revisions otherwise than CouchDB 3.5 does;
            `Scheme.CLASSIC` signs as tor-async-couchdb did.
        accept: the schemes that verify when documents are read; by default `scheme` and, with `Scheme.V3`, v2. Once
            `rotate` has brought a database over, give `[Scheme.V3]`.
        write_tokens: leave a random token of each write in the document (`tornado_couch_write`), so that the store
            recognizes the write if its answer is lost. Without tokens, and always with `Scheme.CLASSIC`, the store
            compares the bodies instead, and takes two equal writes over one revision for the same.
        grouping: join concurrent calls for single documents into few requests; `GroupLimits` says how many into
            one at most, and False sends each by itself.
        on_conflict: called with the id and the leaves of each document in conflict that is read in a group.
        cache: let `get` answer from memory until the changes feed says that a document has changed; `ReadCache`
            says how much is kept, and how old an answer can be.
        elsewhere: the stores of the models that another database keeps, where documents of this one refer to theirs or
            the other way round; None for a model that nobody keeps. Stores can share one dictionary, filled later.
        remembered_keys: of how many keys that only a view can find the store remembers the document, about 300 bytes
            for each.

    Attributes:
        database: where the documents are.
        retry: how often and how long a write is tried.
        writer: carries out writes, also of documents that do not belong to a model.
        reconciliation: merges conflicting leaves.
        files: stores the files that other programs attached to versions of documents.
        references: looks for the documents that others refer to.
        live: follows the changes; `changes` is for those of one model.
    """

    def __init__(
        self,
        database: Database,
        *,
        retry: Retry | None = None,
        now: Callable[[], datetime] = utc_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        crypter: object = None,
        indexer: object = None,
        bind_encryption: bool = False,
        signer: object = None,
        verify: Verification = "content",
        scheme: Scheme = Scheme.V3,
        accept: Collection[Scheme] | None = None,
        write_tokens: bool = True,
        grouping: bool | GroupLimits = True,
        on_conflict: ConflictNoticed | None = None,
        cache: bool | ReadCache = False,
        elsewhere: Mapping[type[Model], Store | None] | None = None,
        remembered_keys: int = 100_000,
    ) -> None:
        self.database = database
        self._access: Access = access(database, grouping, on_conflict)
        self._cache: CachedAccess | None = None
        if cache is not False:
            limits = ReadCache() if cache is True else cache
            self._access = self._cache = CachedAccess(self._access, database, limits)
        self.retry = retry or Retry()
        self._sleep = sleep
        self._lasting: LRUCache[str, None] = LRUCache(10_000)  # leaves in conflict that nobody is about to settle
        self._conversion = Conversion(Protection(crypter, indexer, database.name, bound=bind_encryption))
        self._guard: Guard = NoGuard()
        if signer is not None:
            self._guard = SignatureGuard(database, signer, verify=verify, scheme=scheme, accept=accept)
        # tor-async-couchdb's documents are to stay exactly what that library would have written.
        tokens = write_tokens and (signer is None or Scheme(scheme) is not Scheme.CLASSIC)
        self.writer = Writer(database, self._access, self._guard, self.retry, sleep, tokens=tokens)
        attachments = Attachments(database, self._guard.verified)
        self._models = ModelWriter(self._conversion, self._guard, self.writer, now, attachments)
        self.reconciliation = Reconciliation(
            database, self._conversion, self._guard, self.writer, now, self.retry, sleep, attachments=attachments
        )
        memory = KeyMemory(remembered_keys)
        reader = direct = Reader(database, self._conversion, self._guard, self._access, memory)
        if self._cache:  # a write must not be based on what the cache says
            direct = Reader(database, self._conversion, self._guard, self._cache.inner, reader.keys)
        self._direct = direct
        eraser = Eraser(self._access, self._guard, self.writer, self.retry)
        self._lifecycles = Lifecycles(database, reader, direct, self._models, eraser)
        self.files = self._lifecycles.files
        self.live = Live(database, self._conversion, Observer(database, direct, self._guard))
        self.references = References(self, {} if elsewhere is None else elsewhere)
        self._dependents = Dependents(self.references)
        self._files = FileReader(database, self._conversion.protection.files)

    @property
    def signature_failures(self) -> Counter[str]:
        """How many documents did not verify since the store was made, by the value of the `SignatureFault`."""
        return self._guard.failures

    async def close(self) -> None:
        """Stop following the changes feed; the client stays open."""
        await self.live.close()
        if self._cache:
            await self._cache.close()

    async def create(
        self, model: M, *, check: Check[M] | None = None, files: Mapping[str, Upload] | None = None
    ) -> M:
        """Store a new model and give it its id, revision, generated key and time stamps.

        The model has its id before it is written, so that a lost answer never leads to two documents.

        Args:
            model: the new model.
            check: for a model with `soft_delete=True`, called with the deleted model that has the key, if there is one,
                before the new one takes its place.
            files: what is stored with it in the same write, by names as in `attach`; it stays open.

        Raises:
            MediaTypeRefused, AttachmentTooLarge, TooManyAttachments: a property does not take a file.
            ValidationFailed: a file is missing that the model requires.
            DocumentExists: there is a document with that key, or that id, already. If the client chooses the
                keys of a model that is not `unique`, two calls at the very same time can both succeed, since no
                view can prevent it.
            ValidationFailed: it refers to a document that is not there; see `Reference`.
        """
        for name, upload in (files or {}).items():
            place_file(model, attachment_place(type(model), name), upload)
        await self.references.check(model)
        created = await self._lifecycles.of(type(model)).create(model, check)
        await self.joined(type(model), created._id)
        return created

    async def create_many(self, cls: type[M], models: Sequence[M]) -> list[M | Exception]:
        """Store many new models with few requests; some may be stored while others are not.

        Args:
            cls: the class of the models.
            models: the new models; each is given what `create` gives it.

        Returns:
            For each, in order: the model, or the exception that `create` would have raised. Of two models
            with the same key, the second gets `DocumentExists`.
        """
        return await self._lifecycles.of(cls).bulk(cls, self).create(models)

    async def write_many(self, cls: type[M], operations: Sequence[Operation[M]]) -> list[M | Exception]:
        """Create, update and delete many models with few requests; some may be done while others are not.

        The store carries out operations on one document in the order given, and those on different documents in
        any order. After a conflict it tries again, as `update` and `delete` do.

        Args:
            cls: the model.
            operations: what to do.

        Returns:
            For each, in order: the model as it is now (for a deletion: as it was), or the exception that the
            single call would have raised, including those of its `change`, `check` and `confirm`.
        """
        alone = referring(cls) and any(isinstance(each, Deletion) for each in operations)
        writer = Singly(self, cls) if alone else self._lifecycles.of(cls).bulk(cls, self)
        return await writer.write(operations)

    async def get(self, cls: type[M], key: Any, *, deleted: bool | None = False, fresh: bool = False) -> M:
        """The model with this key.

        Args:
            cls: the class of the model.
            key: the key.
            deleted: False finds only models that are not deleted, True only those that are deleted and can be
                restored, None both.
            fresh: do not answer from the cache.

        Raises:
            DocumentNotFound: there is no such model.
            InvalidDocument: the stored document does not fit the model.
        """
        return await self._lifecycles.of(cls).get(cls, key, deleted=deleted, fresh=fresh)

    def check(self, cls: type[Model]) -> None:
        """Refuse a model that this store has no keys for. The other methods also do, but only when they need the keys.

        Raises:
            KeySetError: the model has encrypted properties, and there is no crypter.
        """
        self._conversion.protection.check(cls)

    async def verify(self, model: Model, name: str, value: str) -> bool:
        """Whether a value is the one that was hashed for a property; the same as `await model.verify(name, value)`.

        Args:
            model: a model that was read or written.
            name: the name of the property in JSON.
            value: the value, such as a password that somebody entered.

        Returns:
            Whether they match; False if the property is None.

        Raises:
            KeyError: there is no such property.
            SecurityError: the property is not hashed, or what is stored is not a hash.
        """
        return await model.verify(name, value)

    async def load(self, cls: type[M], document: dict[str, Any]) -> M:
        """Convert a document, read from this store's database by other means, to a model.

        Raises:
            InvalidDocument: it does not fit the model.
        """
        return await self._conversion.from_store(cls, document)

    async def stored(self, document_id: str) -> dict[str, Any]:
        """A document of any type as it is stored: verified, but not decrypted.

        Raises:
            NotFound: there is no such document; the `reason` of the error is "missing" or "deleted".
            InvalidSignature: the document was written, or deleted, by somebody who does not hold the keys.
        """
        return await self._direct.stored(document_id)

    async def store_new(self, document: Mapping[str, Any]) -> str:
        """Store a new document that does not belong to a model, signed as models are.

        Args:
            document: the document, with its `_id`.

        Returns:
            Its revision.

        Raises:
            Conflict: there is a document with that id already.
            InvalidSignature: there was one, and somebody who does not hold the keys deleted it.
        """
        parents = await self._guard.tombstones([document["_id"]])
        _, revision = await self._models.put(document, parent_of(parents, document["_id"]), new=True)
        return revision

    def plan(self, cls: type[Model], query: Query) -> Query:
        """Choose the index that serves a query, without reading anything.

        Args:
            cls: the class of the models.
            query: selects and orders the models.

        Returns:
            The same query, for `find`, which then does not have to plan it again. A copy with other values, such as
            `restricted` makes, is planned anew.

        Raises:
            NoIndex: the model has no index for the query. This is a ValueError.
        """
        return carrying_plan(self._conversion, cls, query)

    def selects(self, query: Query, model: Model) -> bool:
        """Whether a query selects a model as it was read, by what is stored of it; where only CouchDB can say, False.

        Args:
            query: the query.
            model: a model that was read from this store.
        """
        cls = type(model)
        return is_selected(cls, planned(self._conversion, cls, query).query, model._stored, certain=True)

    async def find(
        self,
        cls: type[M],
        query: Query | None = None,
        *,
        by: str | None = None,
        key: Any = UNSET,
        limit: int = 50,
        descending: bool = False,
        start: Position | None = None,
        backward: bool = False,
        count: bool = False,
    ) -> Page[M]:
        """A page of models: all of them in the order of their keys, or those that an index or a query selects.

        Args:
            cls: the class of the models.
            query: selects and orders the models, instead of `by`, `key` and `descending`.
            by: the indexed property (its name in JSON) to order them by; by default, they are ordered by key.
            key: only find models whose property `by` has this value.
            limit: the page has at most this many models.
            descending: from the last to the first.
            start: the `next` of the page before; with `backward`, the `previous` of the page after.
            backward: the page that ends at `start`; the order of the models in it stays the same.
            count: also count all that the query selects; see `Page.total`.

        Raises:
            NoIndex: the model has no index for that. This is a ValueError.
        """
        if query is None:
            among = {} if by is None or key is UNSET else {by: [key]}
            query = Query(among, sort=(by,) if by else (), descending=descending)
        lifecycle = self._lifecycles.of(cls)
        return await lifecycle.page(cls, query, limit=limit, start=start, backward=backward, count=count)

    def changes(self, cls: type[M], since: str | None = None) -> AsyncGenerator[DocumentChange[M], None]:
        """Follow what changes in a model's documents, as it happens and without an end.

            async with aclosing(store.changes(Order, since)) as changes:
                async for change in changes:
                    ...
                    since = change.place

        CouchDB's feed has each document once, after its latest change: two quick changes of a document are one. With
        `history=True` each version is one. A change can come again, in particular after a node of a cluster has gone,
        and never before an earlier one of the same document. The iterator connects again by itself.

        Args:
            cls: the model.
            since: the `place` of the last change that was dealt with; by default, follow what happens from now on.
                "beginning" stands for the first change.

        Raises:
            ChangesLost: the database was made anew, or does not know the place.
            CouchError: CouchDB could not be reached for long.
        """
        return self.live.changes(cls, since)

    async def update(
        self,
        cls: type[M],
        key: Any,
        change: Change[M],
        *,
        check: Check[M] | None = None,
        expected: Expectation | None = None,
    ) -> M:
        """Change the latest model with this key, trying again when another writer was faster.

        Args:
            cls: the class of the model.
            key: the key.
            change: changes the latest model; if it raises, nothing is written.
            check: called with the latest model first, before `expected` and `change`.
            expected: whether the current revision is the one that the caller expects. With it, the store does not
                try again after a conflict.

        Returns:
            The model as it was written, with its new revision.

        Raises:
            DocumentNotFound: there is no such model.
            RevisionMismatch: `expected` returned False, or another writer was faster.
            RetriesExhausted: every try met a conflict; nothing was written.
            ValidationFailed: it now refers to a document that is not there.
        """

        attempts = Attempts()

        async def attempt() -> M:
            current = await self._checked(cls, key, check, expected)
            if attempts.contained(current._stored):
                return current  # CouchDB refused it, and stored it all the same
            before = held_by(current)
            model = await changed(change, current)
            await self.references.check(model, before)
            with attempts:
                return await self._lifecycles.of(cls).write(model)

        return await self._until_no_conflict(attempt, cls, key, expected is not None)

    async def replace(self, model: M) -> M:
        """Write a model over the revision that it was read with, and over no other.

        Raises:
            DocumentNotFound: the document was deleted, or never stored.
            RevisionMismatch: the document was changed since the model was read.
        """
        if model._rev is None:
            raise DocumentNotFound("this model was not read from the store; create() it")
        await self.references.check(model, held_in(type(model), model._stored))
        try:
            written = await self._lifecycles.of(type(model)).write(model)
            await self.joined(type(model), written._id)
            return written
        except Conflict:
            self.database.server.observer.conflict_met(model_info(type(model)).type.name)
            # The conflict does not say whether the document was changed or deleted.
            current = await self._latest(type(model), model._key)
            raise RevisionMismatch("the document was changed since it was read", current._rev) from None

    async def delete(
        self,
        cls: type[M],
        key: Any,
        *,
        check: Check[M] | None = None,
        expected: Expectation | None = None,
        confirm: Check[M] | None = None,
    ) -> M:
        """Delete the model with this key, trying again when another writer was faster.

        If the document is in conflict, the store deletes its winning revision first and then all others, since
        one of them would take its place.

        Args:
            cls: the class of the model.
            key: the key.
            check: called with the latest model first, before `expected`.
            expected: as in `update`.
            confirm: called with the latest model last, just before it is deleted.

        Returns:
            The model as it was.

        Raises:
            DocumentNotFound, RevisionMismatch, RetriesExhausted: as `update` does.
            DocumentReferenced: documents refer to it that have to stay; see `Reference`. Nothing was changed.
            DependentsLeft: more documents depend on it than one call changes. Call it again to go on with the others.
        """

        attempts = Attempts()

        async def attempt() -> M:
            current = await self._checked(cls, key, check, expected, conflicts=True)
            await called(confirm, current)
            await self._dependents.settle(current)
            with attempts:
                await self._lifecycles.of(cls).remove(current)
            return current

        return await self._until_no_conflict(attempt, cls, key, expected is not None)

    async def attach(
        self,
        model: M,
        name: str,
        source: Source | Upload,
        *,
        content_type: str | None = None,
        check: Check[M] | None = None,
        expected: FileExpectation | None = None,
        change: Change[M] | None = None,
    ) -> M:
        """Store a file beside the latest document of a model, in one write, trying again when another was faster.

            order = await store.attach(order, "invoice", data, content_type="application/pdf")
            order = await store.attach(order, "photos/front.png", file, content_type="image/png")

        The source is read once, before anything is written. What is written besides the file stays as it is.

        Args:
            model: says which document, by its key; it is not changed.
            name: the property's name in JSON and, where it has many files, a slash and the name of this one.
            source: an `Upload`, which stays open; or bytes, a file, or an iterator over parts.
            content_type: the media type, unless an `Upload` has it.
            check: called with the latest model first, before `expected`.
            expected: called with what the latest document has there, or None; says whether the caller expects that.
                It is called again after a conflict, so that a change of another file does not matter.
            change: called last with the latest model, which has the file already; may change its properties.

        Returns:
            The model as it was written, with its new revision.

        Raises:
            ValueError: the model has no such property, or a file cannot have this name.
            MediaTypeRefused, AttachmentTooLarge, TooManyAttachments: the property does not take the file.
            AttachmentMismatch: `expected` returned False.
            DocumentNotFound, RetriesExhausted: as `update` does.
        """
        place = attachment_place(type(model), name)
        async with AsyncExitStack() as stack:
            upload = source if isinstance(source, Upload) else None
            if upload is None:
                kind = "application/octet-stream" if content_type is None else content_type
                place.declared.check(kind, 0)  # before anything is read
                upload = await Upload.spooled(source, content_type=kind, most=place.declared.max_bytes)  # type: ignore[arg-type]
                await stack.enter_async_context(upload)
            spooled = upload

            def placing(current: M) -> None:
                place_file(current, place, spooled)

            return await self._filed(model, place, placing, check, expected, change)

    async def detach(
        self,
        model: M,
        name: str,
        *,
        check: Check[M] | None = None,
        expected: FileExpectation | None = None,
        change: Change[M] | None = None,
    ) -> M:
        """Delete a file, and nothing else of the document; see `attach` for the arguments.

        Raises:
            ValueError: the model has no such property, or a file cannot have this name.
            AttachmentNotFound: there is no such file.
            AttachmentMismatch: `expected` returned False.
            ValidationFailed: the document cannot be without it.
            DocumentNotFound, RetriesExhausted: as `update` does.
        """
        place = attachment_place(type(model), name)

        def dropping(current: M) -> None:
            if place.of(current) is None:
                raise AttachmentNotFound("there is no such file")
            drop_file(current, place)

        return await self._filed(model, place, dropping, check, expected, change)

    async def _filed(
        self,
        model: M,
        place: AttachmentPlace,
        act: Callable[[M], None],
        check: Check[M] | None,
        expected: FileExpectation | None,
        change: Change[M] | None,
    ) -> M:
        """Change a file of the latest document of a model."""

        async def changing(current: M) -> M:
            held = place.of(current)
            if expected is not None and not expected(held):
                raise AttachmentMismatch("the file was changed", held.etag if held else None)
            act(current)
            return current if change is None else await changed(change, current)

        return await self.update(type(model), model._key, changing, check=check)

    def open_attachment(
        self, model: Model, name: str, *, start: int = 0, stop: int | None = None
    ) -> AbstractAsyncContextManager[AttachmentReader]:
        """Open a file of a model that was read, or a range of its bytes.

            async with store.open_attachment(order, "invoice") as file:
                async for part in file:
                    ...

        Args:
            model: the model as it was read or written.
            name: as in `attach`.
            start: the first byte.
            stop: the byte after the last one; None for the end. It may lie beyond the end.

        Raises:
            ValueError: the model has no such property, or a file cannot have this name; or `start` is negative.
            AttachmentNotFound: the model has no such file, or the document has another one by now.
            InvalidSignature, DecryptionFailed, NotProtected: the file is not what was stored there.
            PoolTimeout: 32 files are being read already, and none of them was done in time.
        """
        return self._files.open(model, name, start, stop)

    async def versions(
        self, cls: type[M], key: Any, *, limit: int = 50, start: Position | None = None, backward: bool = False
    ) -> Page[M]:
        """A page of the versions of a document, the latest first.

        Some versions say that the document was deleted; `version_of` tells which.

        Args:
            cls: the class of the model. Only one with `history=True` has versions.
            key: the key of the document, which may be deleted.
            limit: the page has at most this many versions.
            start: the `next` of the page before; with `backward`, the `previous` of the page after.
            backward: the page that ends at `start`.

        Raises:
            DocumentNotFound: there never was such a document.
        """
        return await self._lifecycles.of(cls).versions(cls, key, limit=limit, start=start, backward=backward)

    async def version(self, cls: type[M], key: Any, name: str | int) -> M:
        """One version of a document.

        Args:
            cls: the class of the model. Only one with `history=True` has versions.
            key: the key of the document, which may be deleted.
            name: the number of the version, or its `Version.name`.

        Raises:
            DocumentNotFound: there is no such version, or it says that the document was deleted.
        """
        return await self._lifecycles.of(cls).version(cls, key, str(name))

    async def as_of(self, cls: type[M], key: Any, moment: datetime) -> M:
        """A document as it was at a time.

        Args:
            cls: the class of the model. Only one with `history=True` has versions.
            key: the key of the document, which may be deleted by now.
            moment: the time, with its zone.

        Raises:
            DocumentNotFound: the document was not there at that time.
        """
        return await self._lifecycles.of(cls).as_of(cls, key, moment)

    async def restore(
        self,
        cls: type[M],
        key: Any,
        change: Change[M] | None = None,
        *,
        check: Check[M] | None = None,
        expected: Expectation | None = None,
    ) -> M:
        """Bring back the deleted model with this key, trying again when another writer was faster.

        Args:
            cls: the class of the model. Only one with `soft_delete=True` or `history=True` can be restored.
            key: the key.
            change: changes the model; by default, it comes back as it was when it was deleted.
            check: called with the model first, as it was when it was deleted.
            expected: whether the revision of the deletion is the one that the caller expects.

        Returns:
            The model as it is now.

        Raises:
            DocumentNotFound: there is no such model, or it cannot be restored.
            DocumentExists: it is not deleted, or another writer has restored it.
            RevisionMismatch, RetriesExhausted: as `update` does.
        """

        attempts = Attempts()

        async def attempt() -> M:
            current = await partially(self._lifecycles.of(cls).get(cls, key, deleted=None, fresh=True))
            if not is_deleted(model_info(cls), current._stored):
                raise DocumentExists(f"the {model_info(cls).type.name} with that key is not deleted")
            await called(check, current)
            expect(expected, current)
            model = await changed(change or _as_it_was, current)
            await self.references.check(model)
            with attempts:
                return await self._lifecycles.of(cls).restore(model)

        return await self._until_no_conflict(attempt, cls, key, expected is not None)

    async def _latest(self, cls: type[M], key: Any, *, conflicts: bool = False) -> M:
        """The model to write over; if it is in conflict, after those who met there had the time to settle it.

        What they leave is merged, where this cluster is known to write in conflict. Elsewhere conflicts come by
        replication: they are for the reconciler.
        """
        failures = 0
        while True:
            every = conflicts or self.database.server.contended
            current = await partially(self._lifecycles.of(cls).get(cls, key, fresh=True, conflicts=every))
            others = [each for each in current._stored.get("_conflicts", ()) if each not in self._lasting]
            if others and failures > _SETTLING:
                self.writer.fork(current._id or "")  # somebody was faster; what is left is merged after the write
            if not others or failures > _SETTLING:
                return current
            failures += 1
            if failures <= _SETTLING:
                await self._sleep(min(0.005 * 2**failures, 0.05))
            elif not self.database.server.contended:
                self._lasting.update(dict.fromkeys(others))
                await self.reconciliation.drop(current._id or "")
                return current
            elif not await self.reconciliation.settle(cls, current._id or ""):
                self._lasting.update(dict.fromkeys(others))
                return current

    async def joined(self, cls: type[Model], document_id: str | None) -> None:
        """Merge the branches of a document that was just written, if its writer found several that others wrote on."""
        if document_id is not None and self.writer.forked(document_id):
            with contextlib.suppress(TornadoCouchError, TimeoutError):  # the write itself is done
                async with asyncio.timeout(self.retry.patience):
                    await self.reconciliation.reconcile(cls, document_id)

    async def _checked(
        self, cls: type[M], key: Any, check: Check[M] | None, expected: Expectation | None, *, conflicts: bool = False
    ) -> M:
        current = await self._latest(cls, key, conflicts=conflicts)
        await called(check, current)
        expect(expected, current)
        return current

    async def _until_no_conflict(
        self, attempt: Callable[[], Awaitable[M]], cls: type[Model], key: Any, guarded: bool
    ) -> M:
        observer, kind = self.database.server.observer, model_info(cls).type.name
        for failures in range(1, self.retry.attempts + 1):
            begun = time.monotonic()
            try:
                done = await attempt()
                await self.joined(cls, done._id)
                return done
            except Unavailable as error:
                if failures > 1 and self.database.server.contended and not isinstance(error, OutcomeUnknown):
                    # Some copy may have what CouchDB refused; nobody can look for it now.
                    raise OutcomeUnknown("CouchDB refused a write, and could then not be asked what it has") from error
                raise
            except Conflict:
                observer.conflict_met(kind)
                if guarded:
                    current = await self._latest(cls, key)
                    raise RevisionMismatch("another writer was faster", current._rev) from None
                if failures < self.retry.attempts:
                    delay = self.retry.delay(failures, time.monotonic() - begun)
                    observer.retried(kind, delay)
                    await self._sleep(delay)
        observer.retries_exhausted(kind)
        raise RetriesExhausted(
            f"every one of {self.retry.attempts} tries met a conflict; nothing was written", self.retry.attempts
        )


def _as_it_was(_: Model) -> None:
    """Change nothing."""
