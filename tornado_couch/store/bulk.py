"""Writes of many documents with few requests to CouchDB, each with the outcome that a single write would have.

CouchDB has no transactions over several documents: `_bulk_docs` writes each document by itself, and it may refuse
some and store the others. So every function here returns one outcome per item, in order: the model as it is now
stored (for a deletion, as it was), or the exception that the single call would raise.

Why both `BulkWriter` and `Singly`: the single calls of `Singly` are joined into groups as well, and for 10 documents
they take no longer. For more they do, whatever the size of the groups. Milliseconds for 100 and 1,000 documents whose
key makes the id, on CouchDB 3.5 (in brackets the processor time of this side), the best of several runs:

=========================  =======  ===========  =========  ======"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from .. import _json
from ..couch import Database
from ..errors import (
    Conflict,
    CouchError,
    DocumentExists,
    DocumentNotFound,
    InvalidDocument,
    InvalidSignature,
    NotFound,
    OutcomeUnknown,
    RevisionMismatch,
    TooMuchAtOnce,
    Unavailable,
    ValidationFailed,
)
from ..models import Model, ModelInfo, collection_view, model_info, stamped
from ..revision import generation
from .attachments import stubbed
from .operations import Change, Check, Creation, Deletion, Expectation, Operation, Update, called, changed, partially
from .pace import Pace
from .protection.properties import in_partition
from .protection.signatures import parent_of
from .reading.bearing import bearing
from .reading.reader import Reader
from .references import Held, References, held_by
from .writing.deletion import Eraser, scopes_of_deleted
from .writing.model_writer import ModelWriter, refitted
from .writing.tokens import handed_on

__all__ = ["BulkWriter", "Calls", "Singles", "Singly"]

M = TypeVar("M", bound=Model)
Document = dict[str, Any]
_Found: TypeAlias = "Document | InvalidSignature | InvalidDocument | TooMuchAtOnce | None"
_MOST_BYTES = 32 * 1024 * 1024  # of the documents that one call changes; for those that follow it says so


class Singles(Protocol):
    """The single-document calls of a store, which finish the items that met a conflict.

    Attributes:
        references: looks for the documents that others refer to.
    """

    references: References

    async def update(self, cls: type[M], key: Any, change: Change[M], *, check: Check[M] | None = None) -> M:
        """Change one model, and try again after a conflict."""
        ...

    async def delete(
        self, cls: type[M], key: Any, *, check: Check[M] | None = None, confirm: Check[M] | None = None
    ) -> M:
        """Delete one model, and try again after a conflict."""
        ...

    async def joined(self, cls: type[Model], document_id: str | None) -> None:
        """Merge the branches of a document that was just written, if its writer found several that others wrote on."""
        ...


class _Staged(NamedTuple):
    """A write that is ready to be sent: the document, and the model to return once the document is written."""

    model: Any
    document: Document


class _Changed(NamedTuple):
    """A changed model, with the references that it had before."""

    model: Any
    before: list[Held]


class BulkWriter(Generic[M]):
    """Writes many models of one class with few requests.

    Args:
        database: where the documents are.
        models: writes single models; its parts write many.
        cls: the model.
        singles: the calls that update and delete one model, and try again after a conflict.
        eraser: deletes documents.
    """

    def __init__(
        self,
        database: Database,
        models: ModelWriter,
        cls: type[M],
        singles: Singles,
        eraser: Eraser,
    ) -> None:
        self._database = database
        self._models = models
        self._conversion, self._guard, self._writer = models.conversion, models.guard, models.writer
        self._eraser = eraser
        self._reader = Reader(database, models.conversion, models.guard)
        self._cls = cls
        self._info: ModelInfo = model_info(cls)
        self._singles = singles
        self._buried: dict[str, Document | None] = {}  # what new documents follow, by their ids

    async def create(self, models: Sequence[M]) -> list[M | Exception]:
        """Store new models; see `Store.create_many`."""
        staged = await self._staged_creations(models)
        return await self._written([Creation(model) for model in models], staged)

    async def write(self, operations: Sequence[Operation[M]]) -> list[M | Exception]:
        """Carry out operations; see `Store.write_many`."""
        outcomes: dict[int, M | Exception] = {}
        for wave in _waves(self._info, operations):
            chosen = [operations[index] for index in wave]
            try:
                results = await self._written(chosen, await self._staged(chosen))
            except CouchError as error:
                if not outcomes:
                    raise  # nothing was written at all
                results = [error] * len(wave)
            outcomes.update(zip(wave, results, strict=True))
        return [outcomes[index] for index in range(len(operations))]

    # ------------------------------------------------------------ preparing the writes

    async def _staged(self, operations: Sequence[Operation[M]]) -> list[_Staged | Exception]:
        keys = [each.key for each in operations if not isinstance(each, Creation)]
        found = iter(await self._by_keys(keys))
        new = iter(await self._staged_creations([each.model for each in operations if isinstance(each, Creation)]))
        staged, pace = [], Pace()
        for each in operations:
            staged.append(next(new) if isinstance(each, Creation) else await self._staged_change(each, next(found)))
            await pace.breathe()
        return await self._referring(staged)

    async def _referring(self, items: Sequence[_Staged | _Changed | Exception]) -> list[_Staged | Exception]:
        """Stage the changed models, apart from those that refer to documents which are not there."""
        changes = [each for each in items if isinstance(each, _Changed)]
        faults = iter(await self._singles.references.faults(changes))
        return [next(faults) or await self._tried(each.model) if isinstance(each, _Changed) else each for each in items]

    async def _tried(self, model: M) -> _Staged | Exception:
        try:
            return await self._ready(model, new=False)
        except Exception as error:  # noqa: BLE001 - it is this item's outcome
            return error

    async def _staged_change(
        self, operation: Update[M] | Deletion[M], document: _Found
    ) -> _Staged | _Changed | Exception:
        try:
            if isinstance(document, Exception):
                raise document
            if document is None:
                raise DocumentNotFound(f"there is no {self._info.type.name} with that key")
            current = await partially(self._conversion.from_store(self._cls, document))
            await called(operation.check, current)
            if operation.expected is not None and not operation.expected(current._rev or ""):
                raise RevisionMismatch("the document has another revision", current._rev)
            if isinstance(operation, Deletion):
                await called(operation.confirm, current)
                await self._eraser.check(document)
                return _Staged(current, self._eraser.tombstone(self._info, document))
            before = held_by(current)
            return _Changed(await changed(operation.change, current), before)
        except Exception as error:  # noqa: BLE001 - whatever a hook raised is this item's outcome
            return error

    async def _staged_creations(self, models: Sequence[M]) -> list[_Staged | Exception]:
        """Give new models their ids, time stamps and generated keys, and refuse those whose key is taken."""
        faults = await self._singles.references.faults([(each, ()) for each in models])
        known = await self._known_keys(models)
        outcomes: list[_Staged | Exception] = []
        # Only an id that we choose ourselves can have belonged to another document before.
        chosen = [bool(self._info.unique or model._id) for model in models]
        ids = await self._new_ids(models)
        named = [each for each, own in zip(ids, chosen, strict=True) if own]
        parents = await self._guard.tombstones(named)
        self._buried = await scopes_of_deleted(self._database, self._info, named)
        for model, new_id, fault in zip(models, ids, faults, strict=True):
            key = model._key
            if fault is not None:
                outcomes.append(fault)
                continue
            if self._by_view and _text(self._info, key) in known:
                outcomes.append(self._exists())
                continue
            model._id, model._rev = new_id, None
            taken = self._buried.get(new_id, {})
            if taken is None:
                outcomes.append(self._exists())
                continue
            if taken:
                model._stored = {**model._stored, **{name: taken[name] for name in taken if name != "_rev"}}
            if self._info.key and self._info.key.generated:
                setattr(model, self._info.key.attribute, new_id)
            if self._by_view:
                known.add(_text(self._info, key))  # a second one in this request is refused as well
            try:
                outcomes.append(await self._ready(model, new=True, parent=parent_of(parents, new_id)))
            except (InvalidSignature, ValidationFailed, NotFound) as error:
                outcomes.append(error)
        return outcomes

    @property
    def _by_view(self) -> bool:
        """Whether only a view can tell if a key is taken."""
        return self._info.key is not None and not self._info.key.generated and not self._info.unique

    def _exists(self) -> DocumentExists:
        return DocumentExists(f"a document of type {self._info.type.name} with that key already exists")

    async def _known_keys(self, models: Sequence[M]) -> set[bytes]:
        if not models or not self._by_view:
            return set()
        return {_json.dumps(row.key) for row in await self._rows([model._key for model in models])}

    async def _rows(self, keys: Sequence[Any]) -> Sequence[Any]:
        view = collection_view(self._cls)
        wanted = [self._info.view_key(key) for key in keys]
        return (await self._database.view(view, view, keys=wanted, reduce=False)).rows

    async def _new_ids(self, models: Sequence[M]) -> list[str]:
        """Choose an id for each model: from its key, the one that it brings, or one from CouchDB."""
        given = [self._info.document_id(model._key) if self._info.unique else model._id for model in models]
        missing = given.count(None)
        fresh = iter(await self._database.server.uuids(missing) if missing else ())
        return [
            in_partition(model, next(fresh)) if each is None else each
            for model, each in zip(models, given, strict=True)
        ]

    async def _ready(self, model: M, *, new: bool, parent: str | None = None) -> _Staged:
        stamped(model, new=new, now=self._models.now)
        document = await self._conversion.to_store(model, new=new)
        document = await self._models.attachments.carried(document, model._stored)
        return _Staged(model, self._guard.signed(self._writer.marked(document, new=new), parent))

    # ------------------------------------------------------------ reading

    async def _by_keys(self, keys: Sequence[Any]) -> list[_Found]:
        """Read the documents with these keys, in order, each as `Reader.by_key` finds it."""
        ids = [self._likely_id(key) for key in keys]
        found = await self._bearing(ids, keys)
        if self._info.key is None or self._info.unique:
            return found
        # A document that another program wrote may have an id that is not its key, so a miss proves nothing.
        open_ = [index for index, document in enumerate(found) if document is None]
        if open_:
            rows = await self._rows([keys[index] for index in open_])
            by_key = {_json.dumps(row.key): row.id for row in reversed(rows)}
            named = [by_key.get(_text(self._info, keys[index])) for index in open_]
            late = await self._bearing(named, [keys[index] for index in open_])
            for index, document in zip(open_, late, strict=True):
                found[index] = document
        return found

    def _likely_id(self, key: Any) -> str | None:
        if self._info.key is not None and self._info.key.generated:
            return str(key)
        return self._info.document_id(key)

    async def _bearing(self, ids: Sequence[str | None], keys: Sequence[Any]) -> list[_Found]:
        """Read the documents with these ids, and keep those that are of the model and have the expected keys."""
        asked = [each for each in ids if each and not each.startswith("_")]
        read, _ = await self._reader.within(asked, _MOST_BYTES)
        documents: dict[str, _Found] = dict(zip(asked, read, strict=False))
        for each in asked[len(read) :]:
            documents[each] = TooMuchAtOnce("the documents of this request have too many bytes; send it in parts")
        found = [documents.get(each) if each else None for each in ids]
        return [self._if_bearing(document, key) for document, key in zip(found, keys, strict=True)]

    def _if_bearing(self, document: _Found, key: Any) -> _Found:
        if isinstance(document, Exception):
            return document
        try:
            return bearing(self._database, self._cls, key, document)
        except InvalidDocument as error:
            return error

    # ------------------------------------------------------------ writing

    async def _written(
        self, operations: Sequence[Operation[M]], staged: Sequence[_Staged | Exception]
    ) -> list[M | Exception]:
        found = await self._writer.put_many([each.document for each in staged if isinstance(each, _Staged)])
        lost = [each for each in found if isinstance(each, Unavailable)]
        if lost and len(lost) == len(found):
            # An outage is not the outcome of one item. "Some may be stored" matters more than "others are not".
            raise next((each for each in lost if isinstance(each, OutcomeUnknown)), lost[0])
        results = iter(found)
        return [
            await self._settled(operation, each, next(results) if isinstance(each, _Staged) else None)
            for operation, each in zip(operations, staged, strict=True)
        ]

    async def _settled(
        self, operation: Operation[M], staged: _Staged | Exception, result: str | Exception | None
    ) -> M | Exception:
        """The outcome of one operation, once CouchDB has answered."""
        try:
            try:
                return await self._done(operation, staged, result)
            except DocumentNotFound:
                if not isinstance(operation, Update) or operation.absent is None:
                    raise
                return await operation.absent()
        except Exception as error:  # noqa: BLE001 - whatever a hook raised is this item's outcome
            return error

    async def _done(self, operation: Operation[M], staged: _Staged | Exception, result: str | Exception | None) -> M:
        if isinstance(staged, Exception):
            raise staged
        if isinstance(result, Conflict):
            with handed_on(staged.document):
                return await self._after_conflict(operation)
        if isinstance(result, Exception):
            raise result
        if isinstance(operation, Deletion):
            await self._eraser.finish(self._info, staged.model._stored, result or "")
        elif result is not None:
            stored, revision = await refitted(self._writer, self._guard, staged.document, result)
            written = stubbed(stored, generation(revision))
            staged.model._stored, staged.model._rev = {**written, "_rev": revision}, revision
            if isinstance(operation, Creation) and self._info.unique:
                buried = self._buried.get(staged.model._id) or {}
                await self._models.complete(self._database, staged.model, buried)
            await self._singles.joined(self._cls, staged.model._id)
        model: M = staged.model
        return model

    async def _after_conflict(self, operation: Operation[M]) -> M:
        if isinstance(operation, Creation):
            raise self._exists()
        self._database.server.observer.conflict_met(self._info.type.name)
        if operation.expected is not None:
            current = (await self._by_keys([operation.key]))[0]
            if isinstance(current, Exception):
                raise current
            if current is None:
                raise DocumentNotFound(f"there is no {self._info.type.name} with that key")
            raise RevisionMismatch("another client changed the document first", current["_rev"])
        if isinstance(operation, Update):
            return await self._singles.update(self._cls, operation.key, operation.change, check=operation.check)
        return await self._singles.delete(self._cls, operation.key, check=operation.check, confirm=operation.confirm)


def _waves(info: ModelInfo, operations: Sequence[Operation[Any]]) -> Iterator[list[int]]:
    """Group operations so that no group has two on one document: a later one then sees what an earlier one did."""
    waves: dict[int, list[int]] = {}
    latest: dict[bytes, int] = {}
    for index, operation in enumerate(operations):
        wave = 0
        if operation.key is not None:
            text = _text(info, operation.key)
            wave = latest[text] = latest.get(text, -1) + 1
        waves.setdefault(wave, []).append(index)
    return iter(waves[wave] for wave in sorted(waves))


def _text(info: ModelInfo, key: Any) -> bytes:
    return _json.dumps(info.view_key(key))


_AT_ONCE = 32


class Calls(Protocol):
    """The single-document calls of a store, which `Singly` makes.

    Attributes:
        references: looks for the documents that others refer to.
    """

    references: References

    async def create(self, model: M, *, check: Check[M] | None = None) -> M:
        """Store a new model."""
        ...

    async def update(
        self,
        cls: type[M],
        key: Any,
        change: Change[M],
        *,
        check: Check[M] | None = None,
        expected: Expectation | None = None,
    ) -> M:
        """Change one model, and try again after a conflict."""
        ...

    async def delete(
        self,
        cls: type[M],
        key: Any,
        *,
        check: Check[M] | None = None,
        expected: Expectation | None = None,
        confirm: Check[M] | None = None,
    ) -> M:
        """Delete one model, and try again after a conflict."""
        ...

    async def joined(self, cls: type[Model], document_id: str | None) -> None:
        """Merge the branches of a document that was just written; see `Singles`."""
        ...


class Singly(Generic[M]):
    """Writes many models of one class, as `BulkWriter` does, but with one call for each.

    Args:
        calls: the store.
        cls: the model.
    """

    def __init__(self, calls: Calls, cls: type[M]) -> None:
        self._calls = calls
        self._cls = cls
        self._info: ModelInfo = model_info(cls)
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def create(self, models: Sequence[M]) -> list[M | Exception]:
        """Store new models; see `Store.create_many`."""
        return await self.write([Creation(model) for model in models])

    async def write(self, operations: Sequence[Operation[M]]) -> list[M | Exception]:
        """Carry out operations; see `Store.write_many`."""
        outcomes: list[M | Exception] = [DocumentNotFound("this operation was not carried out")] * len(operations)
        tasks = [
            asyncio.ensure_future(self._in_turn(chain, operations, outcomes)) for chain in self._chains(operations)
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:  # nothing goes on once the caller has gone away
                task.cancel()
        if outcomes and all(isinstance(each, Unavailable) for each in outcomes):
            raise outcomes[0]  # type: ignore[misc]  # an outage is not the outcome of one item
        return outcomes

    def _chains(self, operations: Sequence[Operation[M]]) -> list[list[int]]:
        """Group the operations by document, in their order."""
        chains: dict[object, list[int]] = {}
        for index, operation in enumerate(operations):
            new = operation.key is None
            place = index if new else _json.dumps(self._info.key_value(operation.key))
            chains.setdefault(place, []).append(index)
        return list(chains.values())

    async def _in_turn(
        self, chain: Sequence[int], operations: Sequence[Operation[M]], outcomes: list[M | Exception]
    ) -> None:
        for index in chain:
            async with self._turns:
                try:
                    outcomes[index] = await self._done(operations[index])
                except Exception as error:  # noqa: BLE001 - whatever a hook raised is this item's outcome
                    outcomes[index] = error

    async def _done(self, operation: Operation[M]) -> M:
        if isinstance(operation, Creation):
            return await self._calls.create(operation.model, check=operation.check)
        if isinstance(operation, Deletion):
            return await self._calls.delete(
                self._cls,
                operation.key,
                check=operation.check,
                expected=operation.expected,
                confirm=operation.confirm,
            )
        return await self._updated(operation)

    async def _updated(self, operation: Update[M]) -> M:
        try:
            return await self._calls.update(
                self._cls, operation.key, operation.change, check=operation.check, expected=operation.expected
            )
        except DocumentNotFound:
            if operation.absent is None:
                raise
            return await operation.absent()
