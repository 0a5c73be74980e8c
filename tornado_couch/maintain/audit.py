"""The audit: verifies every document of a database, including its conflicting leaves and tombstones."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

from ..couch import Change, Changes, Database
from ..errors import NotFound
from ..security import Keys, Scheme, scheme_of, verify_document
from ..store.attachments import Attachments
from ..store.protection.trees import judge
from ..store.writing.tokens import redone

__all__ = ["AuditPage", "Auditor", "Finding", "altered_files", "audit", "pages_of_trees"]

Document = dict[str, Any]

_AT_A_TIME = 50  # documents, which take about 2 ms
_ALTERED_FILE = "altered file"
_REPLAYED = "replayed or late"


class Finding(NamedTuple):
    """A revision that was not written there by a holder of the keys.

    Attributes:
        id: the document's id.
        revision: the leaf.
        reason: a value of `SignatureFault`: unsigned, altered, moved, rolled back, deleted, unknown key. Or
            "replayed or late": a holder of the keys wrote it as another attempt at a change that another leaf contains.
            Or "altered file": it has a file whose bytes are not those that were signed, or cannot be read.
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
    accept: Collection[Scheme] = (Scheme.V3, Scheme.V2),
    since: str | int = 0,
    page_size: int = 500,
    files: bool = True,
) -> AsyncGenerator[AuditPage, None]:
    """Verify every document that changed since a sequence: all of its leaves together, with their histories.

    Design documents are left out: `install` writes them unsigned, and compares them with the models. Documents that
    are written during the audit are included.

    Args:
        database: the database to audit.
        keys: the keys of all that may have written there.
        accept: the schemes to accept.
        since: where to begin: an `AuditPage.since`, or 0 for everything.
        page_size: how many documents to read at a time.
        files: also read the files of these documents, and compare them with what was signed of them.

    Raises:
        KeySetError: the keys are not for signatures.
    """
    attachments = Attachments(database, lambda document: document)
    auditor = Auditor(database.name, keys, accept)
    async with aclosing(pages_of_trees(database, since=since, page_size=page_size)) as pages:
        async for page, trees in pages:
            findings: list[Finding] = []
            for number, leaves in enumerate(trees):
                found = auditor.judged(leaves)
                findings += found
                if files:
                    findings += await altered_files(attachments, leaves, found)
                if number % _AT_A_TIME == 0:
                    await asyncio.sleep(0)  # other tasks get a turn, such as the read of the next page
            yield AuditPage(findings, sum(map(len, trees)), page.last_seq, page.pending)


async def altered_files(
    attachments: Attachments, leaves: Sequence[Document], known: Collection[Finding]
) -> list[Finding]:
    """What is wrong with the bytes of the files of a document's leaves.

    Args:
        attachments: reads them.
        leaves: the leaves.
        known: what was found of them; those leaves are left out.
    """
    found, wrong = [], {each.revision for each in known}
    for leaf in leaves:
        names = [] if leaf["_rev"] in wrong else leaf.get("_attachments", ())
        with contextlib.suppress(NotFound):  # it was changed meanwhile, and comes again
            if not all([await attachments.is_intact(leaf, name) for name in names]):
                found.append(Finding(leaf["_id"], leaf["_rev"], _ALTERED_FILE))
    return found


class Auditor:
    """Judges documents by their leaves.

    Args:
        database: the database's name.
        keys: the keys of all that may have written there.
        accept: the schemes to accept.
    """

    def __init__(self, database: str, keys: Keys, accept: Collection[Scheme]) -> None:
        self._database = database
        self._keys = keys
        self._accept = accept

    def judged(self, leaves: Sequence[Document]) -> list[Finding]:
        """What is wrong with the leaves of one document."""
        found = judge(leaves, self.verify)
        reasons = {revision: fault.reason.value for revision, fault in found.faults.items()}
        live = [each for each in found.documents if each["_rev"] not in reasons and not each.get("_deleted")]
        reasons |= dict.fromkeys(_repeated(live), _REPLAYED)
        return [Finding(leaves[0]["_id"], revision, reason) for revision, reason in reasons.items()]

    def verify(self, leaf: Document) -> None:
        """Verify one leaf by itself.

        Raises:
            InvalidSignature: it is not what a holder of the keys wrote there.
        """
        history = leaf.get("_revisions")
        verify_document(leaf, database=self._database, verifier=self._keys, revisions=history, accept=self._accept)


def _repeated(leaves: Sequence[Document]) -> list[str]:
    """The leaves that are another attempt at a change which another leaf contains."""
    found = []
    for first, second in combinations(leaves, 2):
        # If each is an attempt at what the other one contains, the winning one counts.
        if second["_rev"] in redone(second, first):
            found.append(second["_rev"])
        elif first["_rev"] in redone(first, second):
            found.append(first["_rev"])
    return found


async def pages_of_trees(
    database: Database,
    *,
    since: str | int,
    page_size: int,
    histories: bool = False,
    histories_of: Callable[[Change], bool] | None = None,
) -> AsyncGenerator[tuple[Changes, Sequence[list[Document]]], None]:
    """Read pages of the changes feed with the leaves of each document, always one page ahead.

    Args:
        database: the database.
        since: where to begin.
        page_size: how many documents to read at a time.
        histories: read every leaf with its `_revisions`. Otherwise a document's only leaf has none if scheme v3 signed
            it, since its revision alone proves its parent.
        histories_of: says of a document whether its leaves are needed with their `_revisions` all the same.
    """

    async def read() -> AsyncGenerator[tuple[Changes, Sequence[list[Document]]], None]:
        feed = database.changes_pages(since=since, page_size=page_size, style="all_docs", include_docs=not histories)
        async for page in feed:
            yield page, await _trees(database, page, histories_of)

    async with aclosing(read()) as pages:
        following = asyncio.ensure_future(anext(pages, None))
        try:
            while (found := await following) is not None:
                following = asyncio.ensure_future(anext(pages, None))
                yield found
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)


async def _trees(
    database: Database, page: Changes, histories_of: Callable[[Change], bool] | None
) -> Sequence[list[Document]]:
    """The leaves of the documents of a page; design documents are left out."""
    changes = [each for each in page.results if not each.id.startswith("_design/")]
    # By their ids, since a revision can be a leaf of several paths. What changed meanwhile comes again.
    ids = [each.id for each in changes if not _is_enough(each) or (histories_of is not None and histories_of(each))]
    read = dict(zip(ids, await database.bulk_get(ids, revs=True), strict=True))
    found = [
        [leaf.document for leaf in read[each.id] if leaf.document is not None] if each.id in read else [each.doc]
        for each in changes
    ]
    return [[leaf for leaf in leaves if leaf is not None] for leaves in found if leaves]


def _is_enough(change: Change) -> bool:
    """Whether the feed itself has all that has to be known of a document."""
    return len(change.revisions) == 1 and change.doc is not None and scheme_of(change.doc) is Scheme.V3
