"""The audit: verifies every document of a database, including its conflicting leaves and tombstones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..couch import Changes, Database
from ..errors import InvalidSignature
from ..security import Keys, Scheme, verify_document

__all__ = ["AuditPage", "Finding", "audit", "pages_of_leaves"]

Document = dict[str, Any]

_AT_A_TIME = 50  # documents, which take about 2 ms


class Finding(NamedTuple):
    """A revision that was not written there by a holder of the keys.

    Attributes:
        id: the document's id.
        revision: the leaf.
        reason: a value of `SignatureFault`: unsigned, altered, moved, rolled back, deleted, unknown key.
    """

    id: str
    revision: str
    reason: str


@dataclass(frozen=True)
class AuditPage:
    """One part of an audit.

    Attributes:
        findings: what was found.
        checked: how many leaves were verified.
        since: the sequence to continue from, now or later.
        pending: how many changes follow, if CouchDB says so.
    """

    findings: list[Finding]
    checked: int
    since: str | int
    pending: int | None


async def audit(
    database: Database,
    keys: Keys,
    *,
    accept: Collection[Scheme] = (Scheme.V2,),
    since: str | int = 0,
    page_size: int = 500,
) -> AsyncGenerator[AuditPage, None]:
    """Verify every document that changed since a sequence, with its history.

    Design documents are left out: `install` writes them unsigned, and compares them with the models. Documents that
    are written during the audit are included.

    Args:
        database: the database to audit.
        keys: the keys of all that may have written there.
        accept: the schemes to accept.
        since: where to begin: an `AuditPage.since`, or 0 for everything.
        page_size: how many documents to read at a time.

    Raises:
        KeySetError: the keys are not for signatures.
    """
    async with aclosing(pages_of_leaves(database, since=since, page_size=page_size)) as pages:
        async for page, leaves in pages:
            findings = []
            for number, leaf in enumerate(leaves):
                findings += _judged(leaf, database.name, keys, accept)
                if number % _AT_A_TIME == 0:
                    await asyncio.sleep(0)  # other tasks get a turn, such as the read of the next page
            yield AuditPage(findings, len(leaves), page.last_seq, page.pending)


async def pages_of_leaves(
    database: Database, *, since: str | int, page_size: int
) -> AsyncGenerator[tuple[Changes, Sequence[Document]], None]:
    """Read pages of the changes feed with the leaves of their documents, always one page ahead."""

    async def read() -> AsyncGenerator[tuple[Changes, Sequence[Document]], None]:
        async for page in database.changes_pages(since=since, page_size=page_size, style="all_docs"):
            yield page, await _leaves_of(database, page)

    async with aclosing(read()) as pages:
        following = asyncio.ensure_future(anext(pages, None))
        try:
            while (found := await following) is not None:
                following = asyncio.ensure_future(anext(pages, None))
                yield found
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def _leaves_of(database: Database, page: Changes) -> Sequence[Document]:
    """Read the leaves of the documents of a page, with `_revisions`; design documents are left out."""
    wanted = [
        (change.id, revision)
        for change in page.results
        if not change.id.startswith("_design/")
        for revision in change.revisions
    ]
    found = await database.bulk_get(wanted, revs=True)
    # A leaf that was purged meanwhile is gone; one that was replaced comes again with its new revision.
    return [leaf.document for leaves in found for leaf in leaves if leaf.document is not None]


def _judged(document: Document, database: str, keys: Keys, accept: Collection[Scheme]) -> list[Finding]:
    """The fault of a leaf: one finding or none."""
    try:
        verify_document(document, database=database, verifier=keys, revisions=document["_revisions"], accept=accept)
    except InvalidSignature as error:
        return [Finding(document["_id"], document["_rev"], error.reason.value)]
    return []
