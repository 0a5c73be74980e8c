"""`Store`: models in and out of one database, with conflict retry. Knows no HTTP of ours."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from ..couch import UNSET, Access, ConflictNoticed, Database, GroupLimits, access
from ..errors import Conflict, DocumentExists, DocumentNotFound, RetriesExhausted, RevisionMismatch
from ..models import Model, is_deleted, model_info, utc_now
from ..security import Scheme
from .conflicts.reconcile import Reconciliation
from .lifecycle import Lifecycles
from .operations import Change, Check, Expectation, Operation, called, changed, expect
from .protection.conversion import Conversion
from .protection.properties import Protection
from .protection.signatures import Guard, NoGuard, SignatureGuard, Verification
from .query import Query
from .reading.cache import CachedAccess, ReadCache
from .reading.reader import Page, Reader
from .reading.scan import Position
from .writing.deletion import Eraser
from .writing.model_writer import ModelWriter
from .writing.retry import Retry
from .writing.writer import Writer

__all__ = ["Change", "Check", "Expectation", "Store"]

M = TypeVar("M", bound=Model)
T = TypeVar("T")


class Store:
    """Creates, finds, changes and deletes models in a database.

    Every method raises the `CouchError`s of the client besides those it names. A store holds no
    state of its own between calls but counters, so one serves any number of models and tasks.

    A write that returns was carried out once. One that raises was not, with a single exception: `OutcomeUnknown`,
    where the answer was lost and nothing could tell within the retry's patience. See `writing`.

    Args:
        database: where the documents are.
        retry: how a change that met a conflict is tried again.
        now: the clock of the time stamps.
        sleep: waits between tries.
        crypter: keys, of any kind that `as_keys` takes, for the properties that are `Encrypted()`.
        indexer: keys for the blind indexes of those that are searchable; the crypter if None.
        signer: keys, of any kind that `as_keys` takes. With it every document and deletion is signed when it is
            written and verified when it is read; those that do not verify are never given out, nor changed.
        verify: "history" also compares each signature with the revisions that CouchDB keeps of the document.
        scheme: how to sign; `Scheme.CLASSIC` as tor-async-couchdb did.
        accept: the schemes that are read; that of `scheme` alone if None.
        write_tokens: each write leaves a random token in the document (`tornado_couch_write`), by which it is
            told from every other one when its answer is lost. Without it, and always with `Scheme.CLASSIC`, the
            bodies are compared: two equal writes upon one revision are then taken for one.

    Attributes:
        database: where the documents are.
        retry: how often and how long a write is tried.
        writer: carries out writes; for documents that are no models.
        reconciliation: merges conflicting leaves.
        grouping: concurrent calls for single documents are joined into few requests, and how many into one at
            most; False sends each by itself.
        on_conflict: is told the id and the leaves of each document in conflict that is read in a group.
        cache: `get` answers from memory what the changes feed has not told to have changed; `ReadCache` says how
            much is kept, and how old an answer can be.
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
        signer: object = None,
        verify: Verification = "content",
        scheme: Scheme = Scheme.V2,
        accept: Collection[Scheme] | None = None,
        write_tokens: bool = True,
        grouping: bool | GroupLimits = True,
        on_conflict: ConflictNoticed | None = None,
        cache: bool | ReadCache = False,
    ) -> None:
        self.database = database
        self._access: Access = access(database, grouping, on_conflict)
        self._cache: CachedAccess | None = None
        if cache is not False:
            limits = ReadCache() if cache is True else cache
            self._access = self._cache = CachedAccess(self._access, database, limits)
        self.retry = retry or Retry()
        self._sleep = sleep
        self._conversion = Conversion(Protection(crypter, indexer))
        self._guard: Guard = NoGuard()
        if signer is not None:
            self._guard = SignatureGuard(database, signer, verify=verify, scheme=scheme, accept=accept)
        # tor-async-couchdb's documents are to stay exactly what that library would have written.
        tokens = write_tokens and (signer is None or Scheme(scheme) is not Scheme.CLASSIC)
        self.writer = Writer(self._access, self.retry, sleep, tokens=tokens, observer=database.server.observer)
        self._models = ModelWriter(self._conversion, self._guard, self.writer, now)
        self.reconciliation = Reconciliation(
            database, self._conversion, self._guard, self.writer, now, self.retry, sleep
        )
        reader = direct = Reader(database, self._conversion, self._guard, self._access)
        if self._cache:  # a write must not be based on what the cache says
            direct = Reader(database, self._conversion, self._guard, self._cache.inner, reader.keys)
        self._direct = direct
        eraser = Eraser(self._access, self._guard, self.writer, self.retry)
        self._lifecycles = Lifecycles(database, reader, direct, self._models, eraser)

    @property
    def signature_failures(self) -> Counter[str]:
        """How many documents did not verify since the store was made, by `SignatureFault`'s words; for metrics."""
        return self._guard.failures

    async def close(self) -> None:
        """Follow the changes feed no more; only needed with a cache. The client stays open."""
        if self._cache:
            await self._cache.close()

    async def create(self, model: M) -> M:
        """Store a new model; it is given its id, revision, generated key and time stamps.

        The id is assigned before the write, so that a lost answer can never mean two documents.

        Raises:
            DocumentExists: a document with that key, or that id, is there already. Where the key
                is the client's own and the model not `unique`, two creates at the very same time
                can still both succeed: no view can prevent it.
        """
        return await self._lifecycles.of(type(model)).create(model)

    async def create_many(self, cls: type[M], models: Sequence[M]) -> list[M | Exception]:
        """Store new models with few requests; some may be stored while others are not.

        Args:
            cls: the model.
            models: of that class; each is given what `create` gives.

        Returns:
            For each, in order: the model, or the exception that `create` would have raised. The second
            of two with one key is `DocumentExists`.
        """
        return await self._lifecycles.of(cls).bulk(cls, self).create(models)

    async def write_many(self, cls: type[M], operations: Sequence[Operation[M]]) -> list[M | Exception]:
        """Create, update and delete with few requests; some may be done while others are not.

        Operations on one document are done in the order given, each on what the one before left;
        those on different documents in no order. A conflict is tried again as `update` and `delete` do.

        Args:
            cls: the model.
            operations: what to do.

        Returns:
            For each, in order: the model as it is now (of a deletion: as it was), or the exception that
            the single call would have raised, those of its `change`, `check` and `confirm` included.
        """
        return await self._lifecycles.of(cls).bulk(cls, self).write(operations)

    async def get(self, cls: type[M], key: Any, *, deleted: bool | None = False) -> M:
        """The model with this key.

        Args:
            cls: the model.
            key: which one.
            deleted: True for one that is deleted and can be restored, None for it or one that is not deleted.

        Raises:
            DocumentNotFound: there is none, or it is deleted.
            InvalidDocument: the stored document does not fit the model.
        """
        return await self._lifecycles.of(cls).get(cls, key, deleted=deleted)

    def check(self, cls: type[Model]) -> None:
        """Refuse a model that this store has no keys for; the other methods refuse it as well, when they need them.

        Raises:
            KeySetError: the model has encrypted properties, and there is no crypter.
        """
        self._conversion.protection.check(cls)

    async def verify(self, model: Model, name: str, value: str) -> bool:
        """Whether a value is the one that was hashed for a property; the same as `await model.verify(name, value)`.

        Args:
            model: as it was read or written.
            name: the property's, in JSON.
            value: such as the password that somebody gave.

        Returns:
            False also where the property is None.

        Raises:
            KeyError: there is no such property.
            SecurityError: the property is not hashed, or what is stored is no hash.
        """
        return await model.verify(name, value)

    async def load(self, cls: type[M], document: dict[str, Any]) -> M:
        """The model that a document holds which was read from this store's database by other means.

        Raises:
            InvalidDocument: it does not fit the model.
        """
        return await self._conversion.from_store(cls, document)

    async def stored(self, document_id: str) -> dict[str, Any]:
        """A document of whatever type as it is stored: verified, with protected values as they are.

        Raises:
            NotFound: there is none; its `reason` is "missing", or "deleted".
            InvalidSignature: it is not what a holder of the keys wrote there, or was deleted by somebody else.
        """
        return await self._direct.stored(document_id)

    async def store_new(self, document: Mapping[str, Any]) -> str:
        """Store a new document that is no model's, with its `_id`, signed as models are; its revision.

        Raises:
            Conflict: there is one of that id already.
        """
        parents = await self._guard.tombstones([document["_id"]])
        _, revision = await self._models.put(document, parents.get(document["_id"]), new=True)
        return revision

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
        """A page of models: all of them by key, those of an indexed property, or what a query says.

        Args:
            cls: the model.
            query: which, and in which order; instead of `by`, `key` and `descending`.
            by: the indexed property (its name in JSON) that orders them; else their key does.
            key: only those where `by` has this value.
            limit: how many at most.
            descending: from the last to the first.
            start: the `next` of the page before; with `backward`, the `previous` of the page after.
            backward: the page that ends where `start` is, in the query's order all the same.
            count: also count them all, by the index; see `Page.total`.

        Raises:
            NoIndex: no index of the model serves that; it is a ValueError.
        """
        if query is None:
            among = {} if by is None or key is UNSET else {by: [key]}
            query = Query(among, sort=(by,) if by else (), descending=descending)
        lifecycle = self._lifecycles.of(cls)
        return await lifecycle.page(cls, query, limit=limit, start=start, backward=backward, count=count)

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
            cls: the model.
            key: which one.
            change: a function of the latest model; what it raises ends the update with nothing written.
            check: is given the latest model first, before `expected` and `change`.
            expected: says whether the current revision is the one the caller means. With it, a
                conflict is never tried again.

        Returns:
            The model as it was written, with its new revision.

        Raises:
            DocumentNotFound: there is none.
            RevisionMismatch: `expected` said no, or another writer came in between.
            RetriesExhausted: every try met a conflict; nothing was written.
        """

        async def attempt() -> M:
            current = await self._checked(cls, key, check, expected)
            return await self._lifecycles.of(cls).write(await changed(change, current))

        return await self._until_no_conflict(attempt, cls, key, expected is not None)

    async def replace(self, model: M) -> M:
        """Write a model over the revision that it was read with, and no other.

        Raises:
            DocumentNotFound: it was deleted, or never stored.
            RevisionMismatch: it was changed since it was read.
        """
        if model._rev is None:
            raise DocumentNotFound("this model was not read from the store; create() it")
        try:
            return await self._lifecycles.of(type(model)).write(model)
        except Conflict:
            self.database.server.observer.conflict_met(model_info(type(model)).type.name)
            # Read again for the one question that the conflict leaves open: changed, or deleted.
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

        Of a document in conflict no revision is left: the winning one decides whether it is deleted, then the
        others are deleted with it, so that none takes its place.

        Args:
            cls: the model.
            key: which one.
            check: is given the latest model first, before `expected`.
            expected: as in `update`.
            confirm: is given the latest model last, just before it is deleted.

        Returns:
            The model as it was.

        Raises:
            DocumentNotFound, RevisionMismatch, RetriesExhausted: as `update` does.
        """

        async def attempt() -> M:
            current = await self._checked(cls, key, check, expected, conflicts=True)
            await called(confirm, current)
            await self._lifecycles.of(cls).remove(current)
            return current

        return await self._until_no_conflict(attempt, cls, key, expected is not None)

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
        return await self._lifecycles.of(cls).versions(cls, key, limit=limit, start=start, backward=backward)

    async def version(self, cls: type[M], key: Any, name: str | int) -> M:
        """One version of a document.

        Args:
            cls: the model, declared with `history=True`.
            key: of the document; it may be deleted.
            name: its number, or its `Version.name`.

        Raises:
            DocumentNotFound: there is none, or it says that the document is deleted.
        """
        return await self._lifecycles.of(cls).version(cls, key, str(name))

    async def as_of(self, cls: type[M], key: Any, moment: datetime) -> M:
        """A document as it was at a time.

        Args:
            cls: the model, declared with `history=True`.
            key: of the document; it may be deleted by now.
            moment: the time, with its zone.

        Raises:
            DocumentNotFound: it was not there.
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
            current = await self._lifecycles.of(cls).get(cls, key, deleted=None, fresh=True)
            if not is_deleted(model_info(cls), current._stored):
                raise DocumentExists(f"the {model_info(cls).type.name} with that key is not deleted")
            await called(check, current)
            expect(expected, current)
            model = current if change is None else await changed(change, current)
            return await self._lifecycles.of(cls).restore(model)

        return await self._until_no_conflict(attempt, cls, key, expected is not None)

    async def _latest(self, cls: type[M], key: Any, *, conflicts: bool = False) -> M:
        return await self._lifecycles.of(cls).get(cls, key, fresh=True, conflicts=conflicts)

    async def _checked(
        self, cls: type[M], key: Any, check: Check[M] | None, expected: Expectation | None, *, conflicts: bool = False
    ) -> M:
        current = await self._latest(cls, key, conflicts=conflicts)
        await called(check, current)
        expect(expected, current)
        return current

    async def _until_no_conflict(
        self, attempt: Callable[[], Awaitable[T]], cls: type[Model], key: Any, guarded: bool
    ) -> T:
        observer, kind = self.database.server.observer, model_info(cls).type.name
        for failures in range(1, self.retry.attempts + 1):
            try:
                return await attempt()
            except Conflict:
                observer.conflict_met(kind)
                if guarded:
                    current = await self._latest(cls, key)
                    raise RevisionMismatch("another writer was faster", current._rev) from None
                if failures < self.retry.attempts:
                    delay = self.retry.delay(failures)
                    observer.retried(kind, delay)
                    await self._sleep(delay)
        observer.retries_exhausted(kind)
        raise RetriesExhausted(
            f"every one of {self.retry.attempts} tries met a conflict; nothing was written", self.retry.attempts
        )
