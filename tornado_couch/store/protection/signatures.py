"""Tamper evidence in the store: documents are signed just before each write and verified after each read.

Protection comes before the signature and is undone after it was verified, so that what is signed is what
CouchDB holds. A conflict gives a document another parent, hence another signature at each try.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, Protocol

from ...couch import Database, Leaf
from ...errors import InvalidSignature
from ...models import WRITE_PROPERTY
from ...revision import generation, rank
from ...security import SIGNATURE_PROPERTY, Scheme, as_keys, sign_document, verify_document

__all__ = ["Guard", "NoGuard", "SignatureGuard", "Verification", "winner", "winning_tombstone"]

logger = logging.getLogger("tornado_couch.store")

Document = dict[str, Any]
Verification = Literal["content", "history"]


class Guard(Protocol):
    """What stands between the store and its documents.

    Attributes:
        history: whether documents are to be read with their `_revisions`.
        failures: how many documents did not verify, by reason.
    """

    history: bool
    failures: Counter[str]

    def signed(self, document: Document, parent: str | None = None) -> Document:
        """The document as it is to be written, over its own revision or, when it is new, over this tombstone."""
        ...

    def tombstone(self, document: Mapping[str, Any]) -> Document:
        """What to write to delete a document: of it `_id`, `_rev`, `type` and the token of the write are needed."""
        ...

    def fits(self, document: Mapping[str, Any], revision: str) -> bool:
        """Whether a document was signed for the revision that it came to have."""
        ...

    def judged(self, leaves: Sequence[Leaf]) -> Document | InvalidSignature | None:
        """The winning document of some leaves; None where it is deleted; or why it is not to be served."""
        ...

    def verified(self, document: Document) -> Document:
        """The document, if it is what was written there.

        Raises:
            InvalidSignature: it is not.
        """
        ...

    async def tombstones(self, ids: Sequence[str]) -> dict[str, str]:
        """The revisions of those documents that are deleted, by id: what a new one has to name as its parent."""
        ...


class NoGuard:
    """A store without tamper evidence: documents go in and out as they are."""

    history = False

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()

    def signed(self, document: Document, parent: str | None = None) -> Document:  # noqa: ARG002 - as the protocol has it
        """The document itself."""
        return document

    def tombstone(self, document: Mapping[str, Any]) -> Document:
        """An empty tombstone, but for the token of the write."""
        return {**_kept(document, "_id", "_rev", WRITE_PROPERTY), "_deleted": True}

    def fits(self, document: Mapping[str, Any], revision: str) -> bool:  # noqa: ARG002 - as the protocol has it
        """Always."""
        return True

    def judged(self, leaves: Sequence[Leaf]) -> Document | InvalidSignature | None:
        """The winning document."""
        return winner(leaves)

    def verified(self, document: Document) -> Document:
        """The document itself."""
        return document

    async def tombstones(self, ids: Sequence[str]) -> dict[str, str]:  # noqa: ARG002 - as the protocol has it
        """None: CouchDB finds the parent of a new document by itself."""
        return {}


class SignatureGuard:
    """Signs and verifies the documents of one database.

    Args:
        database: where they are.
        signer: keys of ours, or anything that `as_keys` takes.
        verify: "history" also compares the signed parent with the revisions that CouchDB knows, which detects
            a document signed for another branch and makes reads larger.
        scheme: how to sign.
        accept: the schemes that are read; that of `scheme` alone if None.

    Raises:
        KeySetError: the signer is no key set.
        ValueError: `verify` is neither of its two words.
    """

    def __init__(
        self,
        database: Database,
        signer: object,
        *,
        verify: Verification = "content",
        scheme: Scheme = Scheme.V2,
        accept: Collection[Scheme] | None = None,
    ) -> None:
        if verify not in ("content", "history"):
            raise ValueError('verify is "content" or "history"')
        self.keys = as_keys(signer)
        self.scheme = Scheme(scheme)
        self.accept = frozenset(map(Scheme, accept)) if accept is not None else frozenset({self.scheme})
        self.history = verify == "history"
        self.failures: Counter[str] = Counter()
        self._database = database

    def signed(self, document: Document, parent: str | None = None) -> Document:
        """The document with its signature, for the revision that it names or for the tombstone that it follows.

        Raises:
            KeySetError: the keys cannot sign.
        """
        # A new document is written over a tombstone without naming it: CouchDB refuses one that does.
        return sign_document(
            document,
            database=self._database.name,
            parent=document.get("_rev", parent),
            signer=self.keys,
            scheme=self.scheme,
        )

    def tombstone(self, document: Mapping[str, Any]) -> Document:
        """A signed tombstone: id, revision, type, the token of the write, and signature."""
        return self.signed({**_kept(document, "_id", "_rev", "type", WRITE_PROPERTY), "_deleted": True})

    def fits(self, document: Mapping[str, Any], revision: str) -> bool:
        """Whether the revision is the next after that which the document was signed to replace."""
        if self.scheme is Scheme.CLASSIC:
            return True
        parent = document[SIGNATURE_PROPERTY]["parent"]
        return generation(revision) == (generation(parent) if parent else 0) + 1

    def judged(self, leaves: Sequence[Leaf]) -> Document | InvalidSignature | None:
        """The winning document, or why it is not to be served; a deletion has to be signed as well."""
        document = winner(leaves) or winning_tombstone(leaves)
        if document is None:
            return None
        try:
            found = self.verified(document)
        except InvalidSignature as error:
            return error
        return None if found.get("_deleted") else found

    def verified(self, document: Document) -> Document:
        """The document without what was read along with it to verify it; failures are counted and logged."""
        kept = {name: value for name, value in document.items() if name != "_revisions"}
        try:
            verify_document(
                document,
                database=self._database.name,
                verifier=self.keys,
                revisions=document.get("_revisions"),
                accept=self.accept,
            )
        except InvalidSignature as error:
            self.failures[error.reason.value] += 1
            self._database.server.observer.signature_failed(error.reason.value)
            # Not the id, which can be made of a property; the audit names the documents.
            logger.error(
                "a document of %s at revision %s is not served: %s", self._database.name, document["_rev"], error
            )
            raise
        return kept

    async def tombstones(self, ids: Sequence[str]) -> dict[str, str]:
        """The revisions of those documents that are deleted, by id."""
        found = await self._database.bulk_get(list(ids)) if ids else []
        deleted = {
            id_: winning_tombstone(leaves) for id_, leaves in zip(ids, found, strict=True) if winner(leaves) is None
        }
        return {id_: document["_rev"] for id_, document in deleted.items() if document is not None}


def _kept(document: Mapping[str, Any], *names: str) -> Document:
    return {name: document[name] for name in names if name in document}


def winner(leaves: Sequence[Leaf]) -> Document | None:
    """The winning revision's document, as CouchDB chooses it; None if the document is gone.

    A leaf that is not deleted wins over one that is; then the longer history; then the greater
    revision id (CouchDB documentation, "Replication and conflict model"). As in CouchDB's own answers,
    `_conflicts` has the other revisions that live, if there are any.
    """
    if len(leaves) == 1:
        document = leaves[0].document
        return None if document is None or document.get("_deleted") else document
    live = [each.document for each in leaves if each.document and not each.document.get("_deleted")]
    first = _first(live)
    if first is None or len(live) == 1:
        return first
    return {**first, "_conflicts": [each["_rev"] for each in live if each is not first]}


def winning_tombstone(leaves: Sequence[Leaf]) -> Document | None:
    """The tombstone that wins where every leaf is deleted."""
    return _first([each.document for each in leaves if each.document and each.document.get("_deleted")])


def _first(documents: Sequence[Document]) -> Document | None:
    return max(documents, key=lambda document: rank(document["_rev"]), default=None)

