"""Rotation: what was not made with the current primary key is protected and signed anew, beside live writers."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from ..couch import Database
from ..errors import Conflict, InvalidSignature, SignatureFault, Unavailable
from ..security import Keys, Scheme, canonical, sign_document, signature_of, verify_document
from .audit import Finding, leaves_of

__all__ = ["Rotation", "RotationPage"]

Document = dict[str, Any]
Protect = Callable[[Document], Awaitable[Document]]


@dataclass
class RotationPage:
    """A part of a rotation.

    Attributes:
        since: the sequence to go on from.
        signed: how many leaves were written anew.
        current: how many needed nothing.
        findings: those that do not verify: they are left as they are, since signing them would hide it.
        pending: how many changes follow, where CouchDB says it.
    """

    since: str | int
    pending: int | None = None
    signed: int = 0
    current: int = 0
    findings: list[Finding] = field(default_factory=list)


class Rotation:
    """Signs the documents of a database anew, with scheme v2 and the primary key.

    Each write names the revision that it replaces, so that it either follows what was verified or fails; a
    document that another writer changed meanwhile comes again in the changes feed with its new revision.

    Args:
        database: which.
        keys: the primary key to write with, and all keys that made what is there.
        accept: the schemes of what is there.
        adopt: also sign documents that bear no signature. That believes what stands there: it is for beginning
            to sign an existing database, and no other time.
        protect: gives a verified document with its properties encrypted by the primary key; the same object
            where they are already.
    """

    def __init__(
        self,
        database: Database,
        keys: Keys,
        *,
        accept: Collection[Scheme] = (Scheme.V2, Scheme.CLASSIC),
        adopt: bool = False,
        protect: Protect | None = None,
    ) -> None:
        self._database = database
        self._keys = keys
        self._accept = accept
        self._adopt = adopt
        self._protect = protect

    async def run(self, *, since: str | int = 0, page_size: int = 500) -> AsyncIterator[RotationPage]:
        """Rotate all that changed since then, to the end of the feed; what this writes comes by once more.

        Args:
            since: a `RotationPage.since`; 0 for everything.
            page_size: how many documents at a time.
        """
        async for page in self._database.changes_pages(since=since, page_size=page_size, style="all_docs"):
            done = RotationPage(page.last_seq, page.pending)
            for leaf in await leaves_of(self._database, page):
                await self._rotate(leaf, done)
            yield done

    async def _rotate(self, leaf: Document, done: RotationPage) -> None:
        try:
            self._verify(leaf)
        except InvalidSignature as error:
            done.findings.append(Finding(leaf["_id"], leaf["_rev"], error.reason.value))
            return
        history = leaf.pop("_revisions")
        renewed = await self._protect(leaf) if self._protect else leaf
        if renewed is leaf and self._is_current(leaf):
            done.current += 1
            return
        signed = sign_document(renewed, database=self._database.name, parent=leaf["_rev"], signer=self._keys)
        try:
            await (self._put_tombstone(signed, history) if leaf.get("_deleted") else self._database.put(signed))
        except Conflict:
            return  # another writer was faster: what it wrote is in the feed, after this page
        done.signed += 1

    def _verify(self, leaf: Document) -> None:
        try:
            verify_document(
                leaf,
                database=self._database.name,
                verifier=self._keys,
                revisions=leaf["_revisions"],
                accept=self._accept,
            )
        except InvalidSignature as error:
            if not (self._adopt and error.reason in (SignatureFault.UNSIGNED, SignatureFault.DELETED)):
                raise

    def _is_current(self, leaf: Document) -> bool:
        signature = signature_of(leaf)
        return signature is not None and self._keys.is_current(signature)

    async def _put_tombstone(self, signed: Document, history: dict[str, Any]) -> None:
        """Put a tombstone upon a tombstone, which CouchDB takes only as replication brings it.

        The revision follows from the contents, so that two rotations at once write the same. Should another
        writer create the document anew at this moment, that document wins over the tombstone beside it.
        """
        digest = hashlib.sha256(canonical(signed)).hexdigest()[:32]
        start = history["start"] + 1
        revisions = {"start": start, "ids": [digest, *history["ids"]]}
        refused = await self._database.bulk_docs(
            [{**signed, "_rev": f"{start}-{digest}", "_revisions": revisions}], new_edits=False
        )
        if refused:
            raise Unavailable(f"CouchDB did not write a tombstone: {refused[0].error}: {refused[0].reason}")
