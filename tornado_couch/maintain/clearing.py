"""Clears what an audit found: an operator decides what becomes of a leaf that does not count."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ..couch import Database
from ..couch.bulk import failure
from ..errors import InvalidSignature, NotFound
from ..security import Keys, Scheme, sign_document
from ..store.protection.signatures import check_revisions, replicated
from ..store.protection.trees import CLEARED_PROPERTY
from .audit import Auditor

__all__ = ["Clearing"]

Document = dict[str, Any]

_WRITTEN = ("_id", "_rev", "_deleted", "_attachments")


class Clearing:
    """Writes signed revisions upon leaves, so that they do not stand any more.

    Args:
        database: the database.
        keys: the keys to sign with, and of all that may have signed what is there.
        scheme: how to sign.
        accept: the schemes by which a revision to restore may be signed.
    """

    def __init__(
        self,
        database: Database,
        keys: Keys,
        *,
        scheme: Scheme = Scheme.V3,
        accept: Collection[Scheme] = (Scheme.V3, Scheme.V2),
    ) -> None:
        self._database = database
        self._keys = keys
        self._scheme = scheme
        self._auditor = Auditor(database.name, keys, accept)

    async def adopt(self, document_id: str, revision: str) -> str:
        """Sign a leaf as it stands, trusting its contents, and return the new revision.

        Raises:
            NotFound: the document has no such leaf.
            Conflict: somebody else replaced it meanwhile.
            SecurityError: the server computes revisions otherwise than CouchDB 3.5, and v3 was to sign.
        """
        leaf = await self._leaf(document_id, revision)
        return await self._written(self._signed({**leaf, "_rev": revision}), leaf)

    async def delete(self, document_id: str, revision: str) -> str:
        """Put a signed tombstone upon a leaf, and return its revision.

        Raises:
            NotFound, Conflict, SecurityError: as for `adopt`.
        """
        leaf = await self._leaf(document_id, revision)
        kept: Document = {name: leaf[name] for name in ("_id", "_rev", "type") if name in leaf}
        return await self._written(self._signed({**kept, "_deleted": True, CLEARED_PROPERTY: True}), leaf)

    async def restore(self, document_id: str, revision: str, earlier: str) -> str:
        """Write the body of an earlier revision, which must verify, upon a leaf, and return the new revision.

        Raises:
            NotFound: the document has no such leaf, or CouchDB does not have the earlier body any more.
            InvalidSignature: the earlier revision does not verify.
            Conflict, SecurityError: as for `adopt`.
        """
        leaf = await self._leaf(document_id, revision)
        ((found,),) = await self._database.bulk_get([(document_id, earlier)], revs=True)
        if found.document is None or found.document.get("_deleted"):
            raise NotFound(404, "not_found", f"{earlier} cannot be read any more, or is a deletion")
        try:
            self._auditor.verify(found.document)
        except InvalidSignature as error:
            raise InvalidSignature(f"{earlier} does not verify: {error}", error.reason) from None
        return await self._written(self._signed({**found.document, "_rev": revision}), leaf)

    async def _leaf(self, document_id: str, revision: str) -> Document:
        if self._scheme is Scheme.V3:
            await check_revisions(self._database)
        (leaves,) = await self._database.bulk_get([document_id], revs=True)
        for each in leaves:
            if each.document is not None and each.document["_rev"] == revision:
                return each.document
        raise NotFound(404, "not_found", f"{document_id} has no leaf {revision}; an audit says which ones it has")

    def _signed(self, document: Document) -> Document:
        kept = {name: value for name, value in document.items() if not name.startswith("_") or name in _WRITTEN}
        name, parent, keys = self._database.name, document["_rev"], self._keys
        return sign_document(kept, database=name, parent=parent, signer=keys, scheme=self._scheme)

    async def _written(self, document: Document, leaf: Document) -> str:
        if not leaf.get("_deleted"):
            return (await self._database.put(document)).rev
        # CouchDB takes a revision upon a tombstone only in the way in which replication brings it.
        document = replicated(document, leaf["_revisions"])
        for refused in await self._database.bulk_docs([document], new_edits=False):
            raise failure(refused.error, refused.reason)
        return str(document["_rev"])
