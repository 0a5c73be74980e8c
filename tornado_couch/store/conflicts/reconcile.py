"""Reconciliation: the conflicting leaves of a document become one, the same one wherever it is done.

CouchDB keeps what was written in two places at once as conflicting leaves and picks a winner; what the others brought
stays out of sight. Here all leaves are merged by the model's rules, the result is written upon the winning leaf, and
then the others are deleted. What is written follows from the leaves alone (the parent, the contents with the order of
their members, the signature), and so does CouchDB's revision of it: two data centres that see the same leaves write
the same revision, and replicating between them adds nothing.

The result is written before the others are deleted, not together with them: `_bulk_docs` is no transaction. Where
another writer changed the winning leaf meanwhile, CouchDB 3.5 refuses the result and deletes the others all the same,
and what they brought would be gone. In between, and for ever after an outage there, a document has a leaf that the
merged one names as its parent; that one is deleted the next time.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from ...couch import Database
from ...couch.bulk import failure
from ...errors import (
    Conflict,
    DecryptionFailed,
    Forbidden,
    InvalidDocument,
    InvalidSignature,
    RetriesExhausted,
    TooLarge,
    Unavailable,
    Unmergeable,
)
from ...models import MERGE_PROPERTY, WRITE_PROPERTY, MergedBy, Merging, Model, beside, is_of, model_info, stamped
from ..protection.conversion import Conversion
from ..protection.signatures import Guard
from ..writing.proof import created_mark
from ..writing.retry import Retry
from ..writing.writer import Writer
from .leaves import LeafReader, LeafSet, as_stored

__all__ = ["ReconcileResult", "Reconciliation"]

M = TypeVar("M", bound=Model)
Document = dict[str, Any]

_ANCESTORS_AT_MOST = 200  # revisions that are read for one merge


@dataclass(frozen=True)
class ReconcileResult:
    """What became of a document.

    Attributes:
        id: the document's id.
        leaves: how many leaves lived when it was first looked at.
        revision: the winning revision now; None where the document is missing or deleted.
        merged: how many merged revisions were written.
        deleted: how many leaves were deleted since others have all that they had.
        problems: why it is in conflict still, each a dict of `pointer` and `detail`; empty where it is not.
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
        database: where they are.
        conversion: makes models of what was merged, to see whether it is one.
        guard: verifies the leaves, and signs what is written.
        writer: carries out what somebody decided.
        now: the clock of decisions; what rules make has the leaves' own times.
        retry: how often it is tried again when other writers come in between.
        sleep: waits between tries.
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
    ) -> None:
        super().__init__(database, guard)
        self._conversion = conversion
        self._writer = writer
        self._now = now
        self._retry = retry
        self._sleep = sleep

    # ------------------------------------------------------------ merging

    async def merged(self, cls: type[Model], found: LeafSet) -> Document:
        """The document that the rules make of the leaves, to be written upon the winning one; not signed.

        Where one of the leaves has all that the others have it is that one, the very object of `found`.

        Raises:
            Unmergeable: they cannot, or what they make is no document of the model.
        """
        self._check(cls, found)
        version = self._version(cls, found)
        bodies = await self._ancestors(cls, found, version)
        heads = found.heads
        if len(heads) == 1:
            return found.document(heads[0])
        for each in found.documents:
            bodies[each["_rev"]] = await self._in_version(cls, each, version)
        plan = found.ancestry.plan(heads)
        # In a thread: a model's own function, or a long text, may take its time.
        members = await asyncio.to_thread(Merging(cls, bodies).merged, plan)
        sure = isinstance(plan, str) or (plan.is_sure and plan.ancestors <= bodies.keys())
        document = self._assembled(found, heads, version, members, by="rules" if sure else "leaves")
        await self._check_result(cls, document)
        return document

    def _check(self, cls: type[Model], found: LeafSet) -> None:
        if found.unverified:
            faults = sorted({each.reason.value for each in found.unverified.values()})
            raise _unmergeable("", f"A leaf does not verify: {', '.join(faults)}.")
        if not all(is_of(cls, each) for each in found.documents):
            raise _unmergeable("/type", "The leaves are not all of this type.")
        first, *others = found.documents
        if any(_attachments(each) != _attachments(first) for each in others):
            raise _unmergeable("/_attachments", "The leaves have different attachments.")

    def _version(self, cls: type[Model], found: LeafSet) -> str:
        """The type, with its version, that the leaves are merged in: their own, or the model's if they differ."""
        types = {each["type"] for each in found.documents}
        return str(types.pop()) if len(types) == 1 else str(model_info(cls).type)

    async def _in_version(self, cls: type[Model], document: Document, version: str) -> Document:
        """A document as it is stored, upgraded if it is of an older version.

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
            raise _unmergeable("/type", f"A leaf of type {document['type']} cannot be merged as {version}.")
        return upgraded

    async def _ancestors(self, cls: type[Model], found: LeafSet, version: str) -> dict[str, Document]:
        """The ancestors that a merge needs, those that can still be read, and believed; a deleted one has nothing."""
        bodies: dict[str, Document] = {}
        asked = set(found.revisions)
        while True:
            plan = found.ancestry.plan(found.heads)
            needed = set() if isinstance(plan, str) else plan.ancestors - asked
            if not needed:
                return bodies
            asked |= needed
            if len(asked) > _ANCESTORS_AT_MOST:
                raise _unmergeable("", "Too many merges crossed each other.")
            read = await self._database.bulk_get([(found.id, each) for each in sorted(needed)], revs=True)
            for document in (leaf.document for leaves in read for leaf in leaves if leaf.document is not None):
                with contextlib.suppress(InvalidSignature, Unmergeable):
                    stored = as_stored(self._guard.verified(document))
                    found.ancestry.learn(document)
                    if document.get("_deleted"):
                        bodies[document["_rev"]] = {}
                    elif is_of(cls, stored):
                        bodies[document["_rev"]] = await self._in_version(cls, stored, version)

    def _assembled(
        self, found: LeafSet, heads: list[str], version: str, members: Document, *, by: MergedBy
    ) -> Document:
        """The document of some members, in a fixed order: CouchDB's revision depends on it."""
        winner = found.document(heads[0])
        more = {
            "_attachments": winner.get("_attachments"),
            MERGE_PROPERTY: found.record(heads, by=by),
            WRITE_PROPERTY: created_mark(winner),
        }
        document = {"_id": found.id, "_rev": heads[0], "type": version}
        return {**document, **dict(sorted(members.items())), **{name: each for name, each in more.items() if each}}

    async def _check_result(self, cls: type[Model], document: Document) -> None:
        try:
            await self._conversion.from_store(cls, document)
        except InvalidDocument as error:
            problems = error.problems or [{"pointer": "", "detail": "The merged document is none of the model."}]
            raise Unmergeable([{"pointer": each["pointer"], "detail": each["detail"]} for each in problems]) from None
        except DecryptionFailed:
            raise _unmergeable("", "A property of the merged document does not decrypt.") from None

    # ------------------------------------------------------------ writing

    async def reconcile(self, cls: type[Model], document_id: str) -> ReconcileResult:
        """Merge the leaves of a document until there is one, or none of the rules can go on.

        Raises:
            RetriesExhausted: other writers were faster each time; nothing was lost.
        """
        leaves, merged, deleted = 0, 0, 0
        for failures in range(1, self._retry.attempts + 1):
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
            except (Forbidden, TooLarge) as refused:
                problems = [{"pointer": "", "detail": f"The database refused the merged document: {refused.error}."}]
                return ReconcileResult(document_id, leaves, winner, merged, deleted, problems)
            except Conflict:
                self._database.server.observer.conflict_met(model_info(cls).type.name)
                await self._sleep(self._retry.delay(failures))
        self._database.server.observer.retries_exhausted(model_info(cls).type.name)
        raise RetriesExhausted("other writers were faster at every try to merge a document", self._retry.attempts)

    async def preview(self, cls: type[Model], found: LeafSet) -> None:
        """Raise what `merge` would raise for the leaves' sake, without writing anything.

        Raises:
            Unmergeable: the rules cannot tell.
        """
        self._check(cls, found)
        if not model_info(cls).history:
            await self.merged(cls, found)

    async def merge(self, cls: type[Model], found: LeafSet) -> tuple[Document, str]:
        """Write what the leaves come to.

        Returns:
            The document as it is then: that of a leaf, where it has all that the others have. And the leaf that is not
            to be deleted: that one, or the one that was written upon.

        Raises:
            Unmergeable: the rules cannot tell.
            Conflict: the winning leaf was changed meanwhile; nothing was written.
            Refused: CouchDB did not take it.
        """
        self._check(cls, found)
        if model_info(cls).history:
            document = await self._separated(cls, found)
            return document, document["_rev"]
        document = await self.merged(cls, found)
        upon = document["_rev"]
        if any(document is each for each in found.documents):
            return document, upon
        signed = self._guard.signed(document)
        (revision,) = await self._put([signed])
        self._database.server.observer.reconciled(model_info(cls).type.name, len(found.revisions))
        return {**signed, "_rev": revision}, upon

    async def _separated(self, cls: type[Model], found: LeafSet) -> Document:
        """Write versions of one number that were written apart beside the winning one, which it gives.

        None is merged, since none is ever rewritten.
        """
        if any("_attachments" in each for each in found.documents):
            raise _unmergeable("/_attachments", "Attachments cannot be moved to another document.")
        for each in found.heads[1:]:
            with contextlib.suppress(Conflict):  # it is there: by another reconciler, or since an outage
                await self._put([self._guard.signed(beside(found.document(each)))])
        self._database.server.observer.reconciled(model_info(cls).type.name, len(found.revisions))
        return found.document(found.heads[0])

    async def resolve(self, cls: type[M], found: LeafSet, model: M) -> M:
        """Write what somebody decided in the place of all leaves, upon the winning one; then the others are deleted.

        Args:
            cls: the model.
            found: the leaves that were decided on, all of which verify.
            model: what is to be; it is given its revision and the time of the update.

        Raises:
            Conflict: the winning leaf was changed meanwhile; nothing was written.
        """
        winner = found.documents[0]
        model._id, model._rev = found.id, winner["_rev"]
        document = await self._conversion.to_store(stamped(model, new=False, now=self._now), new=False)
        document[MERGE_PROPERTY] = found.record(found.revisions, by="hand")
        document = self._guard.signed(self._writer.marked(document))
        model._rev, model._stored = await self._writer.put(document), document
        self._database.server.observer.reconciled(model_info(cls).type.name, len(found.revisions))
        await self.tidy(found, winner["_rev"])
        return model

    async def tidy(self, found: LeafSet, kept: str) -> None:
        """Delete as `delete` does; what was changed meanwhile, or cannot be deleted now, is for the next time."""
        with contextlib.suppress(Conflict, Unavailable):
            await self.delete(found, kept)

    async def delete(self, found: LeafSet, kept: str) -> int:
        """Delete the leaves but one; how many. Their tombstones go on to tell what they were merged of.

        Raises:
            Conflict: one was changed meanwhile.
        """
        tombstones = [_ending(each) for each in found.documents if each["_rev"] != kept]
        await self._put([self._guard.signed(each) for each in tombstones])
        return len(tombstones)

    async def _put(self, documents: Sequence[Document]) -> list[str]:
        """Write documents; their revisions.

        Raises:
            Conflict: the revision that one of them names is no leaf.
            Refused: CouchDB did not take one of them.
        """
        results = await self._database.bulk_docs(documents)
        faults = [failure(each.error, each.reason) for each in results if each.rev is None]
        if faults:
            raise next((each for each in faults if not isinstance(each, Conflict)), faults[0])
        return [each.rev or "" for each in results]


def _ending(document: Document) -> Document:
    kept = ("_id", "_rev", "type", MERGE_PROPERTY)
    return {**{name: document[name] for name in kept if name in document}, "_deleted": True}


def _attachments(document: Document) -> dict[str, Any]:
    entries: dict[str, Any] = document.get("_attachments", {})
    return {name: (each["content_type"], each["digest"]) for name, each in entries.items()}


def _unmergeable(pointer: str, detail: str) -> Unmergeable:
    return Unmergeable([{"pointer": pointer, "detail": detail}])
