"""Reconciliation: the conflicting leaves of a document become one leaf, the same one wherever it happens.

CouchDB keeps what was written in two places at once as conflicting leaves and picks a winner; nobody sees what the
others contain. Here all leaves are merged by the model's rules, the result is written over the winning leaf, and then
the others are deleted. What is written follows from the leaves alone (the parent, the contents with the order of
their members, the signature), and so does CouchDB's revision of it: two data centres that see the same leaves write
the same revision, and replicating between them adds nothing.

The result is written before the others are deleted, and not in the same request: `_bulk_docs` is not a transaction.
If another writer has changed the winning leaf meanwhile, CouchDB 3.5 refuses the result and still deletes the others,
and what they contained would be lost. Between the two steps, and after an outage at that point, a document has a leaf
that the merged one names as its parent; the next reconciliation deletes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from ...couch import BulkResult, BulkResults, Database
from ...couch.bulk import failure
from ...couch.transport.bodies import is_related
from ...errors import (
    CheckFailed,
    Conflict,
    DecryptionFailed,
    Forbidden,
    InvalidDocument,
    InvalidSignature,
    NotFound,
    RetriesExhausted,
    TooLarge,
    UnauthorizedWrite,
    Unavailable,
    Unmergeable,
)
from ...models import (
    ATTACHMENTS_PROPERTY,
    MERGE_PROPERTY,
    WRITE_PROPERTY,
    MergedBy,
    Merging,
    Model,
    beside,
    computed_values,
    is_of,
    model_info,
    record_of,
    stamped,
)
from ...revision import generation
from ..attachments import Attachments, stubbed
from ..protection.properties import Conversion
from ..protection.signatures import Guard
from ..scopes import merged_scopes
from ..writing.tokens import merged_mark
from ..writing.writer import Retry, Writer
from .files import File, files_of, merged_files
from .leaves import LeafReader, LeafSet, as_stored

__all__ = ["ReconcileResult", "Reconciliation"]

M = TypeVar("M", bound=Model)
Document = dict[str, Any]

_ANCESTORS_AT_MOST = 200  # revisions to read for one merge
# What CouchDB, or a function `validate_doc_update`, says to a document that it will not take next time either.
_REFUSALS = (CheckFailed, Forbidden, TooLarge, UnauthorizedWrite)


@dataclass(frozen=True)
class ReconcileResult:
    """What happened to a document.

    Attributes:
        id: the document's id.
        leaves: how many leaves, deleted ones not counted, it had at the start.
        revision: the winning revision now; None if the document is missing or deleted.
        merged: how many merged revisions were written.
        deleted: how many leaves were deleted because other leaves contain everything that they had.
        problems: why it is still in conflict, each a dict of `pointer` and `detail`; empty if it is not.
    """

    id: str
    leaves: int
    revision: str | None
    merged: int = 0
    deleted: int = 0
    problems: list[dict[str, str]] = field(default_factory=list)


class Reconciliation(LeafReader):
    """Merges the conflicting leaves of the documents of one database.

    Args:
        database: where the documents are.
        conversion: turns a merged document into a model, to check that it fits.
        guard: verifies the leaves, and signs what is written.
        writer: writes the decisions that people make.
        now: the clock for decisions; documents that rules merge keep the times of their leaves.
        retry: how often to try again when other writers come in between.
        sleep: waits between tries.
        attachments: reads the files of the leaves.
    """

    def __init__(
        self,
        database: Database,
        conversion: Conversion,
        guard: Guard,
        writer: Writer,
        now: Callable[[], datetime],
        retry: Retry,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        *,
        attachments: Attachments,
    ) -> None:
        super().__init__(database, guard)
        self._attachments = attachments
        self._conversion = conversion
        self._writer = writer
        self._now = now
        self._retry = retry
        self._sleep = sleep

    # ------------------------------------------------------------ merging

    async def merged(self, cls: type[Model], found: LeafSet) -> Document:
        """Merge the leaves by the model's rules into the document that should replace the winning one.

        The document is not signed. If one of the leaves has everything that the others have, the result is that leaf,
        the same object as in `found`.

        Raises:
            Unmergeable: the rules cannot merge them, or the merged document does not fit the model.
        """
        self._check(cls, found)
        version = self._version(cls, found)
        bodies = await self._ancestors(cls, found, version)
        heads = found.heads
        if len(heads) == 1:
            return found.document(heads[0])
        files = self._files(cls, found, bodies)
        for each in found.documents:
            bodies[each["_rev"]] = await self._in_version(cls, each, version)
        plan = found.ancestry.plan(heads)
        # In a thread, since a model's own merge function, or a long text, may take its time.
        members = await asyncio.to_thread(Merging(cls, bodies).merged, plan)
        sure = isinstance(plan, str) or (plan.is_sure and plan.ancestors <= bodies.keys())
        document = self._assembled(found, heads, version, {**members, **files}, by="rules" if sure else "leaves")
        document = merged_scopes(model_info(cls), document, [found.document(each) for each in heads])
        return {**document, **await self._computed(cls, document)}

    def _check(self, cls: type[Model], found: LeafSet) -> None:
        if found.unverified:
            faults = sorted({each.reason.value for each in found.unverified.values()})
            raise _unmergeable("", f"The signature of a conflicting revision does not verify: {', '.join(faults)}.")
        if not all(is_of(cls, each) for each in found.documents):
            raise _unmergeable("/type", "The conflicting revisions are not all of this type.")

    def _version(self, cls: type[Model], found: LeafSet) -> str:
        """The type, with its version, to merge in: the leaves' own if they share one, otherwise the model's."""
        types = {each["type"] for each in found.documents}
        return str(types.pop()) if len(types) == 1 else str(model_info(cls).type)

    async def _in_version(self, cls: type[Model], document: Document, version: str) -> Document:
        """A stored document, upgraded if it is of an older version.

        Raises:
            Unmergeable: it is of a newer version, or cannot be upgraded.
        """
        if document["type"] == version:
            return document
        try:
            upgraded = await self._conversion.to_store(await self._conversion.from_store(cls, document), new=False)
        except (InvalidDocument, DecryptionFailed):
            upgraded = document
        if upgraded["type"] != version:
            raise _unmergeable("/type", f"A revision of type {document['type']} cannot be merged as {version}.")
        return upgraded

    async def _ancestors(self, cls: type[Model], found: LeafSet, version: str) -> dict[str, Document]:
        """Read the ancestors that a merge needs, as far as they are still there and verify; a deleted one is empty."""
        bodies: dict[str, Document] = {}
        asked = set(found.revisions)
        while True:
            plan = found.ancestry.plan(found.heads)
            needed = set() if isinstance(plan, str) else plan.ancestors - asked
            if not needed:
                return bodies
            asked |= needed
            if len(asked) > _ANCESTORS_AT_MOST:
                raise _unmergeable("", "The history of the conflict has too many merges to follow.")
            read = await self._database.bulk_get([(found.id, each) for each in sorted(needed)], revs=True)
            for document in (leaf.document for leaves in read for leaf in leaves if leaf.document is not None):
                with contextlib.suppress(InvalidSignature, Unmergeable):
                    stored = as_stored(self._guard.verified(document))
                    found.learn(document)
                    if document.get("_deleted"):
                        bodies[document["_rev"]] = {}
                    elif is_of(cls, stored):
                        bodies[document["_rev"]] = await self._in_version(cls, stored, version)

    def _assembled(
        self, found: LeafSet, heads: list[str], version: str, members: Document, *, by: MergedBy
    ) -> Document:
        """Build a document from its members, in a fixed order, on which CouchDB's revision depends."""
        more = {
            "_attachments": members.pop("_attachments", None),
            ATTACHMENTS_PROPERTY: members.pop(ATTACHMENTS_PROPERTY, None),
            MERGE_PROPERTY: found.record(heads, by=by),
            WRITE_PROPERTY: merged_mark([found.document(each) for each in heads]),
        }
        document = {"_id": found.id, "_rev": heads[0], "type": version}
        return {**document, **dict(sorted(members.items())), **{name: each for name, each in more.items() if each}}

    def _files(self, cls: type[Model], found: LeafSet, ancestors: dict[str, Document]) -> Document:
        """The `_attachments` of a merged document, with the stubs of the leaves; empty if there are none."""
        heads = [found.document(each) for each in found.heads]
        files = merged_files(cls, found.ancestry.plan(found.heads), heads, ancestors)
        stubs = {file: entry for each in heads for file, entry in _entries(each)}
        # A stub says in which revision the file was attached, so the winner's own are kept as they are.
        own, kept = files_of(heads[0]), heads[0].get("_attachments", {})
        entries = {name: kept[name] if own.get(name) == file else stubs[file] for name, file in files.items()}
        if not entries:
            return {}
        record = _merged_record(files, heads)
        return {"_attachments": entries, **({ATTACHMENTS_PROPERTY: record} if record else {})}

    async def _carried(self, found: LeafSet, document: Document) -> Document:
        """A document to write over one of the leaves, with the bytes of those files which that leaf does not have.

        Raises:
            Conflict: a leaf that has one of them was changed meanwhile.
        """
        stubs, own = document.get("_attachments", {}), files_of(found.document(document["_rev"]))
        places = {
            file: (found.id, each["_rev"], name) for each in found.documents for name, file in files_of(each).items()
        }
        files = files_of(document)
        wanted = {name: places[file] for name, file in files.items() if own.get(name) != file}
        if not wanted:
            return document
        try:
            return {**document, "_attachments": {**stubs, **await self._attachments.read(wanted)}}
        except NotFound:
            raise Conflict(409, "conflict", "a leaf was changed") from None

    async def _computed(self, cls: type[Model], document: Document) -> Document:
        """The computed properties of a merged document, which follow from the others.

        Raises:
            Unmergeable: it does not fit the model.
        """
        try:
            model = await self._conversion.from_store(cls, document)
        except InvalidDocument as error:
            problems = error.problems or [{"pointer": "", "detail": "The merged document does not fit the model."}]
            raise Unmergeable([{"pointer": each["pointer"], "detail": each["detail"]} for each in problems]) from None
        except DecryptionFailed:
            raise _unmergeable("", "A property of the merged document cannot be decrypted.") from None
        return computed_values(model)

    # ------------------------------------------------------------ writing

    async def reconcile(self, cls: type[Model], document_id: str) -> ReconcileResult:
        """Merge the leaves of a document until one is left, or until the rules cannot decide.

        Raises:
            RetriesExhausted: other writers were faster at each try; nothing was lost.
        """
        leaves, merged, deleted = 0, 0, 0
        for failures in range(1, self._retry.attempts + 1):
            begun = time.monotonic()
            found = await self.read(document_id)
            leaves = leaves or len(found.revisions)
            winner = found.revisions[0] if found.revisions else None
            if len(found.revisions) < 2:
                return ReconcileResult(document_id, leaves, winner, merged, deleted)
            try:
                document, kept = await self.merge(cls, found)
                merged += document["_rev"] not in found.revisions
                deleted += await self.delete(found, kept)
            except Unmergeable as refused:
                return ReconcileResult(document_id, leaves, winner, merged, deleted, refused.problems)
            except _REFUSALS as refused:
                problems = [{"pointer": "", "detail": f"The database refused the merged document: {refused.error}."}]
                return ReconcileResult(document_id, leaves, winner, merged, deleted, problems)
            except Conflict:
                self._database.server.observer.conflict_met(model_info(cls).type.name)
                await self._sleep(self._retry.delay(failures, time.monotonic() - begun))
        self._database.server.observer.retries_exhausted(model_info(cls).type.name)
        raise RetriesExhausted("other clients changed a document at every try to merge it", self._retry.attempts)

    async def settle(self, cls: type[Model], document_id: str) -> bool:
        """Merge the leaves of a document once, as far as that can be done now.

        Returns:
            False if the rules cannot merge them; then at least what the winning leaf contains is deleted.
        """
        try:
            found = await self.read(document_id)
            if len(found.revisions) > 1:
                await self.delete(found, (await self.merge(cls, found))[1])
        except (Conflict, Unavailable):
            return True  # somebody else is at it, or will be
        except (Unmergeable, *_REFUSALS):
            await self.drop(document_id)
            return False
        return True

    async def preview(self, cls: type[Model], found: LeafSet) -> None:
        """Raise the error that `merge` would raise because of the leaves, without writing anything.

        Raises:
            Unmergeable: the rules cannot merge the leaves.
        """
        self._check(cls, found)
        if not model_info(cls).history:
            await self.merged(cls, found)

    async def merge(self, cls: type[Model], found: LeafSet) -> tuple[Document, str]:
        """Write the document that the leaves are merged into.

        Returns:
            The document as it is now, which is a leaf if that has everything that the others have; and the revision
            of the leaf that must not be deleted: that leaf's, or that of the leaf which was replaced.

        Raises:
            Unmergeable: the rules cannot merge the leaves.
            Conflict: the winning leaf was changed meanwhile; nothing was written.
            Refused: CouchDB refused the document.
        """
        self._check(cls, found)
        if model_info(cls).history:
            document = await self._separated(cls, found)
            return document, document["_rev"]
        document = await self.merged(cls, found)
        upon = document["_rev"]
        if any(document is each for each in found.documents):
            return document, upon
        signed = self._guard.signed(await self._carried(found, document))
        (revision,) = await self._put([signed], by_quorum=True)
        self._database.server.observer.reconciled(model_info(cls).type.name, len(found.revisions))
        return {**stubbed(signed, generation(revision)), "_rev": revision}, upon

    async def _separated(self, cls: type[Model], found: LeafSet) -> Document:
        """Store conflicting history versions with the same number as documents of their own, beside the winning one.

        Versions are not merged, since a version is never rewritten.

        Returns:
            The winning one.
        """
        for each in found.heads[1:]:
            version = found.document(each)
            moved = {**beside(version), **{name: version[name] for name in ("_attachments",) if name in version}}
            with contextlib.suppress(Conflict):  # another reconciler wrote it, or this one did before an outage
                await self._put([self._guard.signed(await self._attachments.carried(moved, version))])
        self._database.server.observer.reconciled(model_info(cls).type.name, len(found.revisions))
        return found.document(found.heads[0])

    async def resolve(self, cls: type[M], found: LeafSet, model: M) -> M:
        """Write a person's decision over the winning leaf, and then delete the other leaves.

        Args:
            cls: the model.
            found: the leaves that were decided on, all of which verify.
            model: the decision; it receives its revision and the time of the update.

        Raises:
            Conflict: the winning leaf was changed meanwhile; nothing was written.
        """
        winner = found.documents[0]
        model._id, model._rev = found.id, winner["_rev"]
        document = await self._conversion.to_store(stamped(model, new=False, now=self._now), new=False)
        for name in ("_attachments", ATTACHMENTS_PROPERTY):
            document.pop(name, None)
        ancestors: dict[str, Document] = {}
        with contextlib.suppress(Unmergeable):  # the files of all leaves are kept then
            ancestors = await self._ancestors(cls, found, self._version(cls, found))
        document |= self._files(cls, found, ancestors)
        document = merged_scopes(model_info(cls), document, found.documents)
        document[MERGE_PROPERTY] = found.record(found.revisions, by="hand")
        document = self._guard.signed(self._writer.marked(await self._carried(found, document)))
        model._rev = await self._writer.put(document)
        model._stored = {**stubbed(document, generation(model._rev)), "_rev": model._rev}
        self._conversion.refresh_files(model)
        self._database.server.observer.reconciled(model_info(cls).type.name, len(found.revisions))
        await self.tidy(found, winner["_rev"])
        return model

    async def tidy(self, found: LeafSet, kept: str) -> None:
        """Delete as `delete` does, but leave what changed meanwhile, or cannot be deleted now, for the next time."""
        with contextlib.suppress(Conflict, Unavailable):
            await self.delete(found, kept)

    async def drop(self, document_id: str) -> None:
        """Delete the leaves that have nothing which the winning one has not, as far as that can be done now.

        These are other attempts at changes that are there already, and what was merged and then not deleted.
        """
        with contextlib.suppress(Conflict, Unavailable):
            found = await self.read(document_id)
            known = found.ancestry.ancestors(found.revisions[0]) if found.revisions else frozenset()
            ended = [_ending(each) for each in found.documents[1:] if each["_rev"] in known]
            if ended and found.revisions[0] not in found.unverified:
                await self._secured(found, found.revisions[0])
                await self._put([self._guard.signed(each) for each in ended])

    async def delete(self, found: LeafSet, kept: str) -> int:
        """Delete all leaves but one, and keep in their tombstones the record of what they were merged from.

        Returns:
            How many were deleted.

        Raises:
            Conflict: one of them was changed meanwhile.
        """
        tombstones = [_ending(each) for each in found.documents if each["_rev"] != kept]
        await self._secured(found, kept)
        await self._put([self._guard.signed(each) for each in tombstones])
        return len(tombstones)

    async def _secured(self, found: LeafSet, kept: str) -> None:
        """On a cluster, have enough copies know a leaf before others are deleted, or a read could find nothing.

        Raises:
            Conflict: too few copies can be reached.
        """
        if self._database.server.contended:
            leaf = {**found.document(kept), "_revisions": found.histories[kept]}
            results = await self._database.bulk_docs([leaf], new_edits=False)
            if results or results.accepted:
                raise Conflict(409, "conflict", "too few copies have the leaf that stays")

    async def _sent(self, documents: Sequence[Document]) -> BulkResults:
        if not any(map(is_related, documents)):
            return await self._database.bulk_docs(documents)
        # `_bulk_docs` takes files as text only.
        written = [await self._database.put(each) for each in documents]
        results = [BulkResult(each.id, each.rev) for each in written]
        return BulkResults(results, accepted=any(each.accepted for each in written))

    async def _put(self, documents: Sequence[Document], *, by_quorum: bool = False) -> list[str]:
        """Write documents and return their new revisions.

        Args:
            documents: what to write.
            by_quorum: count what a minority of the copies took as not written. Were other leaves deleted for it, a
                read could find nothing.

        Raises:
            Conflict: the revision that one of them names is not a leaf.
            Refused: CouchDB refused one of them.
        """
        async with self._writer.turn(sorted({each["_id"] for each in documents})):
            results = await self._sent(documents)
            written: list[str | Exception] = [
                await self._writer.confirmed(document, each.rev) if each.rev else failure(each.error, each.reason)
                for document, each in zip(documents, results, strict=True)
            ]
        faults = [each for each in written if isinstance(each, Exception)]
        if faults:
            raise next((each for each in faults if not isinstance(each, Conflict)), faults[0])
        if by_quorum and any(each.accepted for each in results):
            raise Conflict(409, "conflict", "too few copies have taken the document")
        return [each for each in written if isinstance(each, str)]


def _merged_record(files: Mapping[str, File], heads: Sequence[Document]) -> Document:
    """What a merged document says of its files, as the leaves say it; a file may have another name than there."""
    held = {file: (name, record_of(each, name)) for each in reversed(heads) for name, file in files_of(each).items()}
    found: Document = {}
    for name, file in files.items():
        before, record = held.get(file, (name, {}))
        if record:
            moved = "sealed" in record and name != before and "name" not in record
            found[name] = {**record, **({"name": before} if moved else {})}
    return found


def _ending(document: Document) -> Document:
    kept = ("_id", "_rev", "type", MERGE_PROPERTY)
    return {**{name: document[name] for name in kept if name in document}, "_deleted": True}


def _entries(document: Document) -> Iterator[tuple[File, Document]]:
    """The files of a document with their stubs."""
    return zip(files_of(document).values(), document.get("_attachments", {}).values(), strict=True)


def _unmergeable(pointer: str, detail: str) -> Unmergeable:
    return Unmergeable([{"pointer": pointer, "detail": detail}])
