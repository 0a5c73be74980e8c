"""Reads and writes many documents with one request: `_bulk_docs` and `_bulk_get`.

CouchDB's page: https://docs.couchdb.org/en/stable/api/database/bulk-api.html
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from .. import _json
from ..errors import CouchError, InvalidReply, Refused, UnauthorizedWrite, Unavailable, refusal
from .endpoint import Endpoint
from .exchange import expect, is_exception

__all__ = ["Bulk", "BulkResult", "BulkResults", "Leaf", "failure", "live"]

# Encoding blocks the event loop; after this many bytes, other tasks get a turn.
_PAUSE_BYTES = 256 * 1024


# CouchDB's errors for a document of a bulk request, with the status that a single request would have.
_STATUS = {
    "bad_request": 400,
    "illegal_docid": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "conflict": 409,
    "missing_stub": 412,
    "document_too_large": 413,
    "too_large": 413,
}


class BulkResult(NamedTuple):
    """The outcome for one document of `bulk_docs`.

    Attributes:
        id: the document's id.
        rev: the new revision; None where it was not written.
        error: CouchDB's error, such as "conflict" or "forbidden"; None where it was written.
        reason: CouchDB's reason for the error: text, or what a function `validate_doc_update` threw.
        accepted: whether fewer copies than the write quorum are stored so far.
    """

    id: str
    rev: str | None = None
    error: str | None = None
    reason: Any = None
    accepted: bool = False


class BulkResults(list[BulkResult]):
    """The outcomes for all documents of `bulk_docs`, in order.

    Attributes:
        accepted: whether at least one document has fewer copies than the write quorum so far (202).
    """

    def __init__(self, results: Iterable[BulkResult] = (), *, accepted: bool = False) -> None:
        super().__init__(results)
        self.accepted = accepted


class Leaf(NamedTuple):
    """One revision that `bulk_get` found, or the reason why it found none.

    Attributes:
        document: the document, even if deleted (`_deleted`), or None.
        rev: the revision; None if there is no document and none was requested.
        error: CouchDB's error, such as "not_found"; None if there is a document.
        reason: CouchDB's reason, such as "missing".
        size: how many bytes a document has as JSON that `Access.leaves` read, if they are many; otherwise 0.
    """

    document: dict[str, Any] | None
    rev: str | None
    error: str | None = None
    reason: str | None = None
    size: int = 0


class Bulk(Endpoint):
    """The part of `Database` that reads and writes many documents at once."""

    async def bulk_docs(self, documents: Sequence[Mapping[str, Any]], *, new_edits: bool = True) -> BulkResults:
        """Write documents, each by itself: some may fail while others are written.

        Args:
            documents: the documents; a document with `_rev` replaces that revision, one with `_deleted` deletes it,
                and one without `_id` gets an id from CouchDB.
            new_edits: False to store the revisions as they are, as replication does.

        Returns:
            One result per document, in order; with `new_edits=False`, only those that were refused.

        Raises:
            BadRequest: one has an id that no document can have.
            MissingStub: one names an attachment that CouchDB does not have for it.
            TooLarge: one is over CouchDB's limit.
            InvalidReply: the answer does not fit the request.
            CouchError: any other one. Whichever it is, its `in_doubt` has the ids of those documents that may be
                stored: CouchDB refuses the whole request for one document, and other shards store theirs.
            ValueError: a document cannot be JSON.
        """
        if not documents:
            return BulkResults()
        tail = b"]}" if new_edits else b'],"new_edits":false}'
        body = b'{"docs":[' + await _listed(documents) + tail
        with _doubting([str(each.get("_id", "")) for each in documents]):
            near = str(documents[0].get("_id", "")) or None
            answer = await self._call("POST", "_bulk_docs", query=self._quorum.writing, body=body, near=near)
            where = answer.request
            results = [_bulk_result(each, where) for each in expect(answer.value, list, where)]
            if new_edits:
                _fit(results, documents, where)
        return BulkResults(results, accepted=answer.accepted)

    async def bulk_get(self, wanted: Sequence[str | tuple[str, str]], *, revs: bool = False) -> list[list[Leaf]]:
        """Read documents with all their leaves, including conflicting and deleted ones.

        Args:
            wanted: ids, to read every leaf, or pairs of id and revision.
            revs: also return the `_revisions` of each document.

        Returns:
            A list of leaves for each wanted document, in order. It has at least one item, which says so if there is
            no document.

        Raises:
            InvalidReply: the answer does not fit the request.
        """
        if not wanted:
            return []
        # An id without a revision brings every leaf, as `open_revs=all` does for one document.
        asked = [{"id": each} if isinstance(each, str) else {"id": each[0], "rev": each[1]} for each in wanted]
        found, _ = await self.leaves_of([each["id"] for each in asked], _json.dumps({"docs": asked}), revs=revs)
        return found

    async def bulk_get_within(
        self, ids: Sequence[str], most: int | None, *, revs: bool = False
    ) -> tuple[list[list[Leaf]], int]:
        """Do what `bulk_get` does, if the answer has at most so many bytes; also return how many it has.

        Raises:
            LongReply: the answer has more bytes; the rest of it was not read.
            InvalidReply: the answer does not fit the request.
        """
        content = _json.dumps({"docs": [{"id": each} for each in ids]})
        return await self.leaves_of(list(ids), content, revs=revs, most=most)

    async def leaves_of(
        self, ids: list[str], content: bytes, *, revs: bool, most: int | None = None
    ) -> tuple[list[list[Leaf]], int]:
        """Do what `bulk_get` does for content that is encoded already, and also return the size of the answer in bytes.

        Args:
            ids: the ids of the requested documents.
            content: the content of the request.
            revs: also return the `_revisions` of each document.
            most: the largest number of bytes that the answer may have; None for any number.

        Raises:
            LongReply: the answer has more bytes.
            InvalidReply: the answer does not fit the request.
        """
        query = {**self._quorum.reading, **({"revs": "true"} if revs else {})}
        answer = await self._call("POST", "_bulk_get", query=query, body=content, safe=True, most=most)
        where = answer.request
        found = [_found(each, where) for each in answer.member("results", list)]
        return _in_order(ids, found, where), answer.size

    async def write_texts(self, ids: Sequence[str], texts: Sequence[bytes]) -> BulkResults:
        """Do what `bulk_docs` does for documents that are encoded as JSON already.

        Args:
            ids: the ids of the documents, in order.
            texts: the documents.

        Raises:
            BadRequest, MissingStub, TooLarge, InvalidReply, CouchError: as `bulk_docs` does.
        """
        body = b'{"docs":[' + b",".join(texts) + b"]}"
        with _doubting(ids):
            answer = await self._call("POST", "_bulk_docs", query=self._quorum.writing, body=body, near=ids[0])
            where = answer.request
            results = [_bulk_result(each, where) for each in expect(answer.value, list, where)]
            if [each.id for each in results] != list(ids):
                raise InvalidReply(f"{where}: the results are not those of the documents sent")
        return BulkResults(results, accepted=answer.accepted)


def live(leaves: Sequence[Leaf]) -> list[dict[str, Any]]:
    """The documents of those leaves that are not deleted; if there are several, the document is in conflict."""
    return [each.document for each in leaves if each.document is not None and not each.document.get("_deleted")]


def failure(error: str | None, reason: Any) -> CouchError:
    """What a single request would have raised for what CouchDB says of one document of a bulk request."""
    error = error or ""
    if error == "unauthorized":
        return UnauthorizedWrite(401, error, reason)  # the request itself was not refused
    if is_exception(error):
        return refusal(500, error, reason)
    if error not in _STATUS:
        return Unavailable(f"CouchDB could not process a document: {error}: {reason}")
    return refusal(_STATUS[error], error, reason)


@contextmanager
def _doubting(ids: Sequence[str]) -> Iterator[None]:
    """Note in an error which of these documents may be stored; "" stands for one that has no id yet."""
    try:
        yield
    except CouchError as error:
        unsent = isinstance(error, Unavailable) and not error.sent
        # A refusal of a single document is its own.
        if not unsent and (len(ids) > 1 or not isinstance(error, Refused)):
            error.in_doubt = tuple(ids)
        raise


async def _listed(documents: Sequence[Mapping[str, Any]]) -> bytes:
    pieces = []
    unpaused = 0
    for document in documents:
        piece = _json.dumps(document)
        pieces.append(piece)
        unpaused += len(piece)
        if unpaused > _PAUSE_BYTES:
            unpaused = 0
            await asyncio.sleep(0)
    return b",".join(pieces)


def _bulk_result(value: object, where: str) -> BulkResult:
    item = expect(value, dict, where)
    document_id = expect(item.get("id"), str, where)
    # The status is 201 for all of them; only the item says whether its document was written.
    if "error" in item:
        return BulkResult(document_id, None, str(item["error"]), item.get("reason"))
    return BulkResult(document_id, expect(item.get("rev"), str, where), accepted=item.get("accepted") is True)


def _fit(results: list[BulkResult], documents: Sequence[Mapping[str, Any]], where: str) -> None:
    if len(results) != len(documents):
        raise InvalidReply(f"{where}: {len(results)} results for {len(documents)} documents")
    for result, document in zip(results, documents, strict=True):
        if document.get("_id", result.id) != result.id:
            raise InvalidReply(f"{where}: the results do not belong to the documents that were sent")


def _found(value: object, where: str) -> tuple[str, list[Leaf]]:
    item = expect(value, dict, where)
    leaves = [_leaf(each, where) for each in expect(item.get("docs"), list, where)]
    return expect(item.get("id"), str, where), leaves


def _leaf(value: object, where: str) -> Leaf:
    item = expect(value, dict, where)
    if "ok" in item:
        document = expect(item["ok"], dict, where)
        return Leaf(document, expect(document.get("_rev"), str, where))
    failure = expect(item.get("error"), dict, where)
    revision = failure.get("rev")
    # CouchDB sends the text "undefined" if no revision was requested.
    known = isinstance(revision, str) and revision != "undefined"
    return Leaf(None, revision if known else None, str(failure.get("error")), str(failure.get("reason")))


def _in_order(ids: list[str], found: list[tuple[str, list[Leaf]]], where: str) -> list[list[Leaf]]:
    # CouchDB keeps the order today, though its documentation does not promise it.
    if [document_id for document_id, _ in found] == ids:
        return [leaves for _, leaves in found]
    by_id: defaultdict[str, deque[list[Leaf]]] = defaultdict(deque)
    for document_id, leaves in found:
        by_id[document_id].append(leaves)
    if len(found) != len(ids) or any(not by_id[each] for each in ids):
        raise InvalidReply(f"{where}: the results do not belong to the requested documents")
    try:
        return [by_id[each].popleft() for each in ids]
    except IndexError:
        raise InvalidReply(f"{where}: the results do not belong to the requested documents") from None
