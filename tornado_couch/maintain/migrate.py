"""Migration: writes documents of older versions in their model's current version, while a service keeps writing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..couch import Leaf
from ..errors import Conflict, DecryptionFailed, InvalidDocument, InvalidSignature, Refused, UnsupportedVersion
from ..models import DocumentType, Model, is_outdated, model_info
from ..store import Store, rewritten
from ..store.protection.signatures import winner
from .audit import Finding

__all__ = ["Migration", "MigrationPage"]

Document = dict[str, Any]


@dataclass
class MigrationPage:
    """One part of a migration.

    Attributes:
        since: the sequence to continue from.
        migrated: how many documents were written, or would be in a dry run.
        current: how many needed no change; those of newer versions are included.
        kept: how many old versions belong to a history: they are never rewritten, but upgraded when they are read.
        findings: documents that could not be migrated and stay as they were: "no upgrade", "not valid" (the upgraded
            document does not fit the model, or the upgrade failed), "not decryptable", "refused" (by the database), or
            a value of `SignatureFault`.
        pending: how many changes follow, if CouchDB says so.
    """

    since: str | int
    pending: int | None = None
    migrated: int = 0
    current: int = 0
    kept: int = 0
    findings: list[Finding] = field(default_factory=list)


class Migration:
    """Writes the documents of some models in those models' current versions.

    Each write names the revision that was read, so it either follows that revision or fails; a document that another
    writer changed meanwhile comes again in the changes feed with its new revision. Running it again does no harm.

    Args:
        store: the store of the documents, with the keys of the service that uses them.
        models: the models whose documents to migrate; others are left alone.
        dry_run: only report what would be done.
    """

    def __init__(self, store: Store, models: Iterable[type[Model]], *, dry_run: bool = False) -> None:
        self._store = store
        self._models = {model_info(cls).type.name: cls for cls in models}
        self._dry_run = dry_run
        for cls in self._models.values():
            store.check(cls)

    async def run(self, *, since: str | int = 0, page_size: int = 500) -> AsyncIterator[MigrationPage]:
        """Migrate all documents that changed since a sequence, to the end of the feed; that includes its own writes.

        Args:
            since: a `MigrationPage.since`; 0 for everything.
            page_size: how many documents to process at a time.
        """
        database = self._store.database
        async for page in database.changes_pages(since=since, page_size=page_size):
            done = MigrationPage(page.last_seq, page.pending)
            ids = [each.id for each in page.results if not each.deleted and not each.id.startswith("_design/")]
            ready = []
            for leaves in await database.bulk_get(ids, revs=True):
                ready += await self._prepared(leaves, done)
                await asyncio.sleep(0)  # upgrading and encrypting a whole page would block the event loop
            await self._write(ready, done)
            yield done

    async def _prepared(self, leaves: Sequence[Leaf], done: MigrationPage) -> list[Document]:
        """The documents to write, at most one, for the leaves of a document."""
        found = winner(leaves)
        cls = self._model_of(found) if found else None
        if found is None or cls is None:
            return []
        if not is_outdated(cls, found):
            done.current += 1
        elif model_info(cls).history:
            done.kept += 1
        else:
            try:
                return [await rewritten(self._store, cls, leaves)]
            except (InvalidDocument, DecryptionFailed, InvalidSignature) as error:
                done.findings.append(Finding(found["_id"], found["_rev"], _reason(error)))
        return []

    def _model_of(self, document: Document) -> type[Model] | None:
        found = DocumentType.parse(document.get("type"))
        return self._models.get(found.name) if found else None

    async def _write(self, documents: Sequence[Document], done: MigrationPage) -> None:
        if self._dry_run:
            done.migrated += len(documents)
            return
        outcomes = await self._store.writer.put_many(documents)
        for document, outcome in zip(documents, outcomes, strict=True):
            if isinstance(outcome, str):
                done.migrated += 1
            elif isinstance(outcome, Conflict):
                continue  # another writer changed it first: its change comes later in the feed
            elif isinstance(outcome, Refused):
                done.findings.append(Finding(document["_id"], document["_rev"], "refused"))
            else:
                raise outcome


def _reason(error: Exception) -> str:
    if isinstance(error, InvalidSignature):
        return error.reason.value
    if isinstance(error, UnsupportedVersion):
        return "no upgrade"
    return "not decryptable" if isinstance(error, DecryptionFailed) else "not valid"
