"""Tamper evidence in the store: documents are signed just before each write and verified after each read.

Values are protected before the document is signed, and revealed after it was verified, so the signature covers what
CouchDB holds. After a conflict a document has another parent, and so it gets another signature at each try.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

from ...couch import Database, Leaf
from ...errors import InvalidSignature, NotFound, SecurityError
from ...models import CONFLICTS_VIEW, WRITE_PROPERTY
from ...revision import generation, printable, rank, revision_of
from ...security import (
    SIGNATURE_PROPERTY,
    Scheme,
    as_keys,
    scheme_of,
    sign_document,
    signed_revision,
    verify_document,
)
from ..attachments import stubbed
from .trees import Judgement, in_order, judge, need_histories, path_of

__all__ = [
    "FOREIGN_REVISIONS",
    "Guard",
    "NoGuard",
    "SignatureGuard",
    "Verification",
    "check_revisions",
    "parent_of",
    "replicated",
    "winner",
    "winning_tombstone",
]

logger = logging.getLogger("tornado_couch.store")

Document = dict[str, Any]
Verification = Literal["content", "history"]

FOREIGN_REVISIONS = (
    "the server computes revisions otherwise than CouchDB 3.5, so signatures of scheme v3 cannot name them:"
    " sign by scheme v2 there (`Scheme.V2`, `--scheme v2`); docs/protection.md says what falls with v3"
)
_PROBE = "_design/tornado_couch_probe"


class Tombstone(NamedTuple):
    """The deletion that a new document with the same id follows.

    Attributes:
        revision: its revision.
        fault: why it does not count, if somebody else deleted the document.
    """

    revision: str
    fault: InvalidSignature | None = None


class Guard(Protocol):
    """Signs and verifies the documents of a store.

    Attributes:
        history: whether documents must be read with their `_revisions`.
        every: whether documents must be read with all leaves, and with their `_revisions` if there are several.
        failures: how many documents did not verify, by reason.
    """

    history: bool
    every: bool
    failures: Counter[str]

    def signed(self, document: Document, parent: str | None = None) -> Document:
        """The document to write, signed to replace its own revision or, if it is new, to follow this tombstone."""
        ...

    def tombstone(self, document: Mapping[str, Any], kept: Mapping[str, Any] | None = None) -> Document:
        """What to write to delete a document; needs its `_id`, `_rev`, `type` and the token of the write.

        Args:
            document: the document.
            kept: further members of the tombstone, for those who follow the changes.
        """
        ...

    def follows(self, document: Mapping[str, Any], revision: str) -> bool:
        """Whether the revision that a document received comes next after the one that it was signed to replace."""
        ...

    def fits(self, document: Mapping[str, Any], revision: str) -> bool:
        """Whether a document was signed for the very revision that it received, as far as its scheme can say."""
        ...

    def put_back(self, document: Mapping[str, Any], earlier: Document | None) -> Document:
        """What to write over a document to undo a write: what was there before it, or a tombstone.

        It is signed by scheme v2, which any server's revisions fit.
        """
        ...

    def needs_histories(self, leaves: Sequence[Leaf]) -> bool:
        """Whether the leaves of a document have to be read again, with their `_revisions`, before they are judged."""
        ...

    def judged(self, leaves: Sequence[Leaf]) -> Document | InvalidSignature | None:
        """The winning document of some leaves; None if it is deleted; or the error if it must not be served."""
        ...

    def verified(self, document: Document) -> Document:
        """The document, if its signature verifies.

        Raises:
            InvalidSignature: the signature does not verify.
        """
        ...

    def weighed(self, documents: Sequence[Document]) -> Judgement:
        """Judge all leaves of a document, which were read with their `_revisions` if they `need_histories`."""
        ...

    async def tombstones(self, ids: Sequence[str]) -> dict[str, Tombstone]:
        """The tombstones, by id, of those documents that are deleted; a new document names its own as parent."""
        ...

    async def check_deletion(self, document_id: str, revision: str) -> None:
        """Check the tombstone that a new document was written over; delete the document again if it does not verify.

        Raises:
            InvalidSignature: the document was not deleted by a holder of the keys.
        """
        ...


class NoGuard:
    """A guard without tamper evidence: documents are written and read as they are."""

    history = False
    every = False

    def __init__(self) -> None:
        self.failures: Counter[str] = Counter()

    def signed(self, document: Document, parent: str | None = None) -> Document:  # noqa: ARG002 - the protocol has it
        """The document itself."""
        return document

    def tombstone(self, document: Mapping[str, Any], kept: Mapping[str, Any] | None = None) -> Document:
        """A tombstone with the token of the write."""
        return {**_kept(document, "_id", "_rev", WRITE_PROPERTY), **(kept or {}), "_deleted": True}

    def follows(self, document: Mapping[str, Any], revision: str) -> bool:  # noqa: ARG002 - as the protocol has it
        """Always true, since nothing was signed."""
        return True

    fits = follows

    def put_back(self, document: Mapping[str, Any], earlier: Document | None) -> Document:
        """What was there before, or a tombstone."""
        return {**_served(earlier), "_rev": document["_rev"]} if earlier else self.tombstone(document)

    def needs_histories(self, leaves: Sequence[Leaf]) -> bool:  # noqa: ARG002 - as the protocol has it
        """Never, since nothing is judged."""
        return False

    def judged(self, leaves: Sequence[Leaf]) -> Document | InvalidSignature | None:
        """The winning document."""
        found = winner(leaves)
        return _served(found) if found and "_revisions" in found else found

    def verified(self, document: Document) -> Document:
        """The document itself."""
        return document

    def weighed(self, documents: Sequence[Document]) -> Judgement:
        """The leaves in CouchDB's order; nothing is wrong with any of them."""
        return Judgement(in_order(documents))

    async def tombstones(self, ids: Sequence[str]) -> dict[str, Tombstone]:  # noqa: ARG002 - as above
        """Always empty: without signatures CouchDB alone has to know the parent of a new document."""
        return {}

    async def check_deletion(self, document_id: str, revision: str) -> None:
        """Nothing was signed."""


class SignatureGuard:
    """Signs and verifies the documents of one database.

    Args:
        database: where the documents are.
        signer: a key set of this package, or anything else that `as_keys` takes.
        verify: "history" also compares the signed parent with the revisions that CouchDB knows; that detects
            a document that was signed for another branch, and makes reads larger.
        scheme: how to sign.
        accept: the schemes that may be read; if None, `scheme` and, with v3, v2.

    Raises:
        KeySetError: the signer is not a key set.
        ValueError: `verify` is neither "content" nor "history".
    """

    def __init__(
        self,
        database: Database,
        signer: object,
        *,
        verify: Verification = "content",
        scheme: Scheme = Scheme.V3,
        accept: Collection[Scheme] | None = None,
    ) -> None:
        if verify not in ("content", "history"):
            raise ValueError('verify must be "content" or "history"')
        self.keys = as_keys(signer)
        self.scheme = Scheme(scheme)
        self.accept = accepted(self.scheme, accept)
        self.history = verify == "history"
        self.every = self.accept != {Scheme.CLASSIC}
        self.failures: Counter[str] = Counter()
        self._database = database

    def signed(self, document: Document, parent: str | None = None) -> Document:
        """Sign the document for the revision that it replaces, or for the tombstone that it follows.

        Raises:
            KeySetError: the keys cannot sign.
        """
        # A new document is written over a tombstone without naming it: CouchDB refuses one that does.
        base = document.get("_rev", parent)
        # What is signed is the document as it is read; the classic scheme signs all of a stub.
        read = stubbed(document, generation(base) + 1 if base else 1)
        signed = sign_document(read, database=self._database.name, parent=base, signer=self.keys, scheme=self.scheme)
        return signed if read is document else {**signed, "_attachments": document["_attachments"]}

    def tombstone(self, document: Mapping[str, Any], kept: Mapping[str, Any] | None = None) -> Document:
        """A signed tombstone, with id, revision, type, the token of the write, and the signature."""
        found = _kept(document, "_id", "_rev", "type", WRITE_PROPERTY)
        return self.signed({**found, **(kept or {}), "_deleted": True})

    def follows(self, document: Mapping[str, Any], revision: str) -> bool:
        """Whether the revision comes next after the one that the document was signed to replace."""
        if scheme_of(document) in (Scheme.CLASSIC, None):
            return True
        parent = document[SIGNATURE_PROPERTY]["parent"]
        return generation(revision) == (generation(parent) if parent else 0) + 1

    def fits(self, document: Mapping[str, Any], revision: str) -> bool:
        """Whether the revision is the one that scheme v3 signed; with the others, whether it comes next."""
        if scheme_of(document) is Scheme.V3:
            return revision == signed_revision(document)
        return self.follows(document, revision)

    def put_back(self, document: Mapping[str, Any], earlier: Document | None) -> Document:
        """What was there before, or a tombstone, signed by scheme v2."""
        kept = _kept(document, "_id", "_rev", "type", WRITE_PROPERTY)
        written = {**_served(earlier), "_rev": kept["_rev"]} if earlier else {**kept, "_deleted": True}
        name, parent = self._database.name, kept["_rev"]
        return sign_document(written, database=name, parent=parent, signer=self.keys, scheme=Scheme.V2)

    def needs_histories(self, leaves: Sequence[Leaf]) -> bool:
        """Whether only the histories of some leaves tell which of them may be served.

        Where v3 and v2 are mixed, a leaf of v2 may stand upon one of v3, which its history shows. Once one was met,
        histories are read at once, since others follow until all are rotated.
        """
        if not self.every:
            return False
        documents = [each.document for each in leaves if each.document is not None]
        if Scheme.V3 in self.accept and any(scheme_of(each) is Scheme.V2 for each in documents):
            self.history = True
            return any("_revisions" not in each for each in documents)
        return need_histories(documents)

    def judged(self, leaves: Sequence[Leaf]) -> Document | InvalidSignature | None:
        """The winning document, or the error if the document must not be served; a deletion must be signed as well."""
        documents = [each.document for each in leaves if each.document is not None]
        if not documents:
            return None
        if not self.every:
            documents = [each for each in (winner(leaves) or winning_tombstone(leaves),) if each]
        if len(documents) == 1:
            return self._alone(documents[0])
        found = self.weighed(documents)
        if found.withheld is not None:
            return found.withheld
        first = found.documents[0]
        if first.get("_deleted"):
            return None
        others = [each["_rev"] for each in found.documents[1:] if not each.get("_deleted")]
        return {**_served(first), **({"_conflicts": others} if others else {})}

    def _alone(self, document: Document) -> Document | InvalidSignature | None:
        """The only leaf of a document, as nearly all have no other."""
        try:
            found = self.verified(document)
        except InvalidSignature as error:
            return error
        return None if found.get("_deleted") else found

    def weighed(self, documents: Sequence[Document]) -> Judgement:
        """Judge all leaves of a document; failures are counted and logged."""
        found = judge(documents, self._verify)
        for revision, fault in found.faults.items():
            self._report(revision, fault)
        if found.withheld is not None and found.withheld not in found.faults.values():
            self._report(found.documents[0]["_rev"], found.withheld)
        return found

    def verified(self, document: Document) -> Document:
        """The document without the members that were read only to verify it; failures are counted and logged."""
        try:
            self._verify(document)
        except InvalidSignature as error:
            self._report(document["_rev"], error)
            raise
        return _served(document)

    def _verify(self, document: Document) -> None:
        verify_document(
            # The classic scheme signs stubs as they are read.
            stubbed(document, 0) if scheme_of(document) is Scheme.CLASSIC else document,
            database=self._database.name,
            verifier=self.keys,
            revisions=document.get("_revisions"),
            accept=self.accept,
        )

    def _report(self, revision: str, error: InvalidSignature) -> None:
        self.failures[error.reason.value] += 1
        self._database.server.observer.signature_failed(error.reason.value)
        # The id is not logged, since it can be made of a property; the audit names the documents.
        name, shown = self._database.name, printable(revision)
        logger.error("a document of %s at revision %s is not served: %s", name, shown, error)

    async def tombstones(self, ids: Sequence[str]) -> dict[str, Tombstone]:
        """The tombstones, by id, of those documents that are deleted."""
        parents: dict[str, Tombstone] = {}
        found = await self._database.bulk_get(list(ids), revs=True) if ids else []
        for document_id, leaves in zip(ids, found, strict=True):
            deleted = winning_tombstone(leaves) if winner(leaves) is None else None
            if deleted is not None:
                judged = self.judged(leaves)
                fault = judged if isinstance(judged, InvalidSignature) else None
                parents[document_id] = Tombstone(deleted["_rev"], fault)
        return parents

    async def check_deletion(self, document_id: str, revision: str) -> None:
        """Check the tombstone that a new document was written over, as far as CouchDB still has it."""
        ((made,),) = await self._database.bulk_get([(document_id, revision)], revs=True)
        path = path_of(made.document) if made.document is not None else []
        ((gone,),) = await self._database.bulk_get([(document_id, path[1])], revs=True) if len(path) > 1 else [[made]]
        if gone.document is None or gone.document["_rev"] == revision:
            return
        try:
            self.verified(gone.document)
        except InvalidSignature:
            # Without a signature, since it says nothing: the document is as it was found.
            await self._database.delete(document_id, revision)
            raise


def accepted(scheme: Scheme, accept: Collection[Scheme] | None) -> frozenset[Scheme]:
    """The schemes that may be read: those given, or else the one that signs, with v2 beside v3."""
    if accept is not None:
        return frozenset(map(Scheme, accept))
    # Where nothing was ever signed by v2, accepting it opens nothing: nobody without keys can make such a signature.
    return frozenset({scheme, Scheme.V2} if scheme is Scheme.V3 else {scheme})


def parent_of(tombstones: Mapping[str, Tombstone], document_id: str) -> str | None:
    """The revision that a new document follows, of those that a guard found; None if there is none.

    Raises:
        InvalidSignature: the document was not deleted by a holder of the keys, so nobody may take its key.
    """
    found = tombstones.get(document_id)
    if found is not None and found.fault is not None:
        raise found.fault
    return found and found.revision


async def check_revisions(database: Database) -> None:
    """Refuse scheme v3 where the server computes revisions otherwise than CouchDB 3.5.

    Design documents show it, since they are not signed. If that of conflicts does not, one is written and deleted.

    Raises:
        SecurityError: the server computes them otherwise; the message says what to do.
        CouchError: CouchDB refused something, or cannot be reached.
    """
    if not await _is_computed(database, f"_design/{CONFLICTS_VIEW}"):
        made = {"_id": _PROBE, "language": "javascript", "values": [1, 1.0, -1, 2**64, "é", {}]}
        written = await database.put(made)
        computed = await _is_computed(database, _PROBE)
        await database.delete(_PROBE, written.rev)
        if not computed:
            raise SecurityError(FOREIGN_REVISIONS)


async def _is_computed(database: Database, document_id: str) -> bool:
    """Whether a document's revision is the one that follows from its contents."""
    try:
        document = await database.get(document_id, revs=True)
    except NotFound:
        return False
    path = path_of(document)
    body = {name: value for name, value in document.items() if not name.startswith("_")}
    return bool(revision_of(path[1] if len(path) > 1 else None, False, body) == document["_rev"])


def replicated(document: Document, history: Mapping[str, Any]) -> Document:
    """A document together with the revision that it should get: the one that CouchDB would compute.

    Args:
        document: what is written, signed if it is to be.
        history: the `_revisions` of the revision that it follows.
    """
    if scheme_of(document) is Scheme.V3:
        revision = signed_revision(document)
    else:
        body = {name: value for name, value in document.items() if not name.startswith("_")}
        revision = revision_of(document["_rev"], bool(document.get("_deleted")), body)
    ids = [revision.partition("-")[2], *history["ids"]]
    return {**document, "_rev": revision, "_revisions": {"start": generation(revision), "ids": ids}}


def _served(document: Mapping[str, Any]) -> Document:
    kept = dict(document)
    kept.pop("_revisions", None)
    return kept


def _kept(document: Mapping[str, Any], *names: str) -> Document:
    return {name: document[name] for name in names if name in document}


def winner(leaves: Sequence[Leaf]) -> Document | None:
    """The winning revision's document, as CouchDB chooses it; None if the document is gone.

    A leaf that is not deleted wins over one that is; then the longer history; then the greater
    revision id (CouchDB documentation, "Replication and conflict model"). As in CouchDB's own answers,
    `_conflicts` has the other revisions that are not deleted, if there are any.
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
    """The tombstone that wins if every leaf is deleted."""
    return _first([each.document for each in leaves if each.document and each.document.get("_deleted")])


def _first(documents: Sequence[Document]) -> Document | None:
    return max(documents, key=lambda document: rank(document["_rev"]), default=None)
