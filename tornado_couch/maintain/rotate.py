"""Rotation: protects and signs documents again with the current primary keys, while a service keeps writing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..couch import BulkResults, Database
from ..couch.transport.bodies import is_related
from ..errors import (
    Conflict,
    DecryptionFailed,
    InvalidSignature,
    NotProtected,
    Refused,
    SignatureFault,
    TooLarge,
    Unavailable,
)
from ..revision import generation
from ..security import (
    RESERVED_PROPERTIES,
    Keys,
    Scheme,
    scheme_of,
    sign_document,
    signature_of,
)
from ..store.attachments import stubbed
from ..store.protection.renewal import Reprotection
from ..store.protection.signatures import check_revisions, replicated
from ..store.protection.trees import in_order, judge
from .audit import Auditor, Finding, pages_of_trees

__all__ = ["Rotation", "RotationPage"]

Document = dict[str, Any]
Protect = Callable[[Document], Awaitable[Document]]

_SIGNED = "signed"


@dataclass
class RotationPage:
    """One part of a rotation.

    Attributes:
        since: the sequence to continue from.
        renewed: how many leaves were written again.
        current: how many needed no change.
        findings: what is wrong. Besides the values of `SignatureFault` the reasons are "in the clear" (a value that
            must be protected is not), "not decryptable", "signed" (but no keys for signatures are given) and
            "too large" (for CouchDB, once it is protected). A document that does not verify is left as it is, since
            a new signature would hide the fault; in the other cases only the values are.
        pending: how many changes follow, if CouchDB says so.
    """

    since: str | int
    pending: int | None = None
    renewed: int = 0
    current: int = 0
    findings: list[Finding] = field(default_factory=list)


class _Write(NamedTuple):
    """A leaf that will be replaced."""

    leaf: Document
    document: Document
    history: dict[str, Any]


class Rotation:
    """Renews the documents of a database: their signatures, which it brings to one scheme, and what `protect` changes.

    Each write names the revision that it replaces, so it either follows what was verified or fails; a document that
    another writer changed meanwhile comes again in the changes feed with its new revision.

    Args:
        database: the database.
        keys: the primary key to sign with, and all keys that signed what is there; None for a database without
            signatures.
        scheme: how to sign; what is signed by another scheme is signed again.
        accept: the schemes of the existing signatures.
        adopt: also sign documents without a signature. That trusts their contents, so use it only when an existing
            database begins to be signed.
        protect: returns a verified document with its properties encrypted by the primary key, or the same object
            if they are already: a `Reprotection`. Without it values stay as they are, whatever keys made them.
    """

    def __init__(
        self,
        database: Database,
        keys: Keys | None,
        *,
        scheme: Scheme = Scheme.V3,
        accept: Collection[Scheme] = (Scheme.V3, Scheme.V2, Scheme.CLASSIC),
        adopt: bool = False,
        protect: Protect | None = None,
    ) -> None:
        self._database = database
        self._keys = keys
        self._scheme = scheme
        self._auditor = None if keys is None else Auditor(database.name, keys, accept)
        self._adopt = adopt
        self._protect = protect

    async def run(self, *, since: str | int = 0, page_size: int = 500) -> AsyncGenerator[RotationPage, None]:
        """Rotate all documents that changed since a sequence, to the end of the feed; that includes its own writes.

        Args:
            since: a `RotationPage.since`; 0 for everything.
            page_size: how many documents to process at a time.

        Raises:
            SecurityError: the server computes revisions otherwise than CouchDB 3.5, and v3 was to sign.
        """
        if self._keys is not None and self._scheme is Scheme.V3:
            await check_revisions(self._database)
        pages = pages_of_trees(self._database, since=since, page_size=page_size, histories=True)
        async with aclosing(pages):
            async for page, trees in pages:
                done = RotationPage(page.last_seq, page.pending)
                writes = []
                for leaves in trees:
                    for leaf in self._proved(leaves, done):
                        writes += await self._renewed(leaf, done)
                    await asyncio.sleep(0)  # signing and encrypting a whole page would block the event loop
                await self._write([each for each in writes if not each.leaf.get("_deleted")], done)
                await self._write_tombstones([each for each in writes if each.leaf.get("_deleted")], done)
                yield done

    # ------------------------------------------------------------ preparing the writes

    def _proved(self, leaves: Sequence[Document], done: RotationPage) -> list[Document]:
        """The leaves of a document that may be signed again, the winning one first."""
        if self._auditor is None:
            return in_order(leaves)
        found = judge(leaves, self._verify)
        done.findings += [
            _finding(each, found.faults[each["_rev"]].reason.value)
            for each in found.documents
            if each["_rev"] in found.faults
        ]
        return [each for each in found.documents if each["_rev"] not in found.faults]

    async def _renewed(self, leaf: Document, done: RotationPage) -> list[_Write]:
        """The documents to write, at most one, for a leaf."""
        if self._keys is None and RESERVED_PROPERTIES & leaf.keys():
            # Written without a new signature, it would be considered altered.
            done.findings.append(_finding(leaf, _SIGNED))
            return []
        history = leaf.pop("_revisions")
        document = await self._protected(leaf, done)
        if document is leaf and self._is_current(leaf):
            done.current += 1
            return []
        return [_Write(leaf, self._signed(document), history)]

    def _verify(self, leaf: Document) -> None:
        if self._auditor is None:
            return
        try:
            self._auditor.verify(leaf)
        except InvalidSignature as error:
            if not (self._adopt and error.reason in (SignatureFault.UNSIGNED, SignatureFault.DELETED)):
                raise

    async def _protected(self, leaf: Document, done: RotationPage) -> Document:
        """The leaf with its values renewed; if that fails, the leaf as it is, which can still be signed."""
        if self._protect is None:
            return leaf
        try:
            document = await self._protect(leaf)
            if isinstance(self._protect, Reprotection):
                document = await self._protect.files(document, self._database)
            return document
        except NotProtected:
            done.findings.append(_finding(leaf, "in the clear"))
        except DecryptionFailed as error:
            done.findings.append(
                _finding(leaf, SignatureFault.UNKNOWN_KEY.value if error.unknown_key else "not decryptable")
            )
        return leaf

    def _is_current(self, leaf: Document) -> bool:
        if self._keys is None:
            return True
        signature = signature_of(leaf)
        return signature is not None and scheme_of(leaf) is self._scheme and self._keys.is_current(signature)

    def _signed(self, document: Document) -> Document:
        if self._keys is None:
            return document
        name, parent = self._database.name, document["_rev"]
        read = stubbed(document, generation(parent) + 1)
        signed = sign_document(read, database=name, parent=parent, signer=self._keys, scheme=self._scheme)
        return signed if read is document else {**signed, "_attachments": document["_attachments"]}

    # ------------------------------------------------------------ writing

    async def _write(self, writes: Sequence[_Write], done: RotationPage) -> None:
        for wave in _waves(writes):
            # `_bulk_docs` takes files as text only.
            related = [each for each in wave if is_related(each.document)]
            together = [each for each in wave if each not in related]
            try:
                results = await self._database.bulk_docs([each.document for each in together])
            except Refused:
                # One of them spoiled it for all, and other shards may have stored theirs: those conflict now.
                results, related = BulkResults(), wave
            for each in related:
                await self._write_one(each, done)
            for result in results:
                if result.rev is not None:
                    done.renewed += 1
                elif result.error != "conflict":
                    raise Unavailable(f"CouchDB did not write a document: {result.error}: {result.reason}")
                # Otherwise another writer changed it first: its change comes later in the feed.

    async def _write_one(self, write: _Write, done: RotationPage) -> None:
        try:
            await self._database.put(write.document)
        except Conflict:
            return
        except TooLarge:
            done.findings.append(_finding(write.leaf, "too large"))
            return
        done.renewed += 1

    async def _write_tombstones(self, writes: Sequence[_Write], done: RotationPage) -> None:
        """Put tombstones on tombstones, which CouchDB accepts only in the way in which replication brings them.

        The revision follows from the contents, so two rotations at the same time write the same one. If another
        writer creates the document again at this moment, that document wins over the tombstone beside it.
        """
        refused = await self._database.bulk_docs(
            [replicated(each.document, each.history) for each in writes], new_edits=False
        )
        if refused:
            raise Unavailable(f"CouchDB did not write a tombstone: {refused[0].error}: {refused[0].reason}")
        done.renewed += len(writes)


def _finding(leaf: Document, reason: str) -> Finding:
    return Finding(leaf["_id"], leaf["_rev"], reason)


def _waves(writes: Sequence[_Write]) -> Iterator[list[_Write]]:
    """The writes in groups without two leaves of one document, which CouchDB would treat as a conflict."""
    waves: list[dict[str, _Write]] = []
    for each in writes:
        wave = next((wave for wave in waves if each.leaf["_id"] not in wave), None)
        if wave is None:
            waves.append(wave := {})
        wave[each.leaf["_id"]] = each
    return iter([list(wave.values()) for wave in waves])

