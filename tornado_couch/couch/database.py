"""`Database`: reads and writes single documents of a database, and knows its information and security object.

CouchDB's pages: https://docs.couchdb.org/en/stable/api/document/common.html and .../api/database/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from .. import _json
from ..errors import InvalidReply, NotFound, Unauthorized
from . import names
from .bulk import Bulk, failure
from .changes import ChangesFeed
from .endpoint import DEFAULT_QUORUM, Quorum
from .exchange import Answer, Exchange, expect
from .mango import Mango
from .server import Server
from .transport.base import Stream
from .transport.bodies import Related, is_related
from .views import Views

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["Database", "GetOptions", "WriteResult"]


class GetOptions(TypedDict, total=False):
    """The further query parameters of `get`, by CouchDB's names."""

    att_encoding_info: bool
    attachments: bool
    deleted_conflicts: bool
    latest: bool
    local_seq: bool
    meta: bool
    revs_info: bool


class WriteResult(NamedTuple):
    """The outcome of a write.

    Attributes:
        id: the document's id.
        rev: the new revision.
        accepted: whether fewer copies than the write quorum are stored so far (202 instead of 201).
    """

    id: str
    rev: str
    accepted: bool


class Database(Bulk, Views, Mango, ChangesFeed):
    """One database of a server; every call raises the errors of `Exchange.call`.

    CouchDB is not asked whether the database exists: if it does not, calls raise `NotFound` with the reason
    "Database does not exist.".
    """

    def __init__(self, server: Server, exchange: Exchange, name: str, quorum: Quorum = DEFAULT_QUORUM) -> None:
        super().__init__(exchange, name, quorum)
        self._server = server

    @property
    def server(self) -> Server:
        """The server that has the database."""
        return self._server

    def __repr__(self) -> str:
        return f"Database({self.name!r})"

    async def exists(self) -> bool:
        """Whether the database exists."""
        try:
            await self._call("HEAD")
        except NotFound:
            return False
        return True

    async def info(self) -> dict[str, Any]:
        """CouchDB's information about the database: `doc_count`, `update_seq`, `sizes` and more."""
        answer = await self._call("GET")
        answer.member("db_name", str)
        return expect(answer.value, dict, answer.request)

    async def security(self) -> dict[str, Any]:
        """The security object: `admins` and `members`, each with `names` and `roles`."""
        answer = await self._call("GET", "_security")
        return expect(answer.value, dict, answer.request)

    async def set_security(self, security: Mapping[str, Any]) -> None:
        """Replace the security object.

        Raises:
            Unauthorized, Forbidden: the user is not an administrator of the database.
        """
        await self._call("PUT", "_security", body=security)

    async def get(
        self,
        document_id: str,
        *,
        rev: str | None = None,
        conflicts: bool = False,
        revs: bool = False,
        **options: Unpack[GetOptions],
    ) -> dict[str, Any]:
        """Read a document: its winning revision, or the given one.

        Args:
            document_id: the document's `_id`.
            rev: a revision; by default the winning one.
            conflicts: also return `_conflicts`, if there are any.
            revs: also return `_revisions`.
            options: CouchDB's further query parameters.

        Raises:
            NotFound: the document or revision does not exist ("missing"), or the document is deleted ("deleted").
            ValueError: a document cannot have this id.
            TypeError: an option is unknown.
        """
        query = self._quorum.reading
        if options:
            unknown = options.keys() - GetOptions.__annotations__.keys()
            if unknown:
                raise TypeError(f"CouchDB's documents do not have the query parameter {', '.join(sorted(unknown))}")
            query |= {name: "true" for name, value in options.items() if value}
        if conflicts:
            query["conflicts"] = "true"
        if revs:
            query["revs"] = "true"
        if rev is not None:
            query["rev"] = rev
        answer = await self._exchange.call("GET", names.document(self.name, document_id), query)
        answer.member("_id", str)
        return expect(answer.value, dict, answer.request)

    async def revision(self, document_id: str) -> str | None:
        """Ask for the current revision of a document, without reading it.

        The result is None if the document is missing or deleted, or if there is no such database: an answer to HEAD
        does not say which.

        Raises:
            ValueError: a document cannot have this id.
        """
        if document_id.startswith("_local/"):
            return await self._local_revision(document_id)  # the entity tag of a local document is not its revision
        try:
            answer = await self._exchange.call("HEAD", names.document(self.name, document_id))
        except NotFound:
            return None
        tag = answer.headers.get("ETag", "").removeprefix("W/")  # proxies that compress make it a weak one
        if len(tag) < 3 or not tag.startswith('"') or not tag.endswith('"'):
            raise InvalidReply(f"{answer.request}: the answer has no ETag")
        return tag[1:-1]

    async def put(self, document: Mapping[str, Any]) -> WriteResult:
        """Create a document, or replace the revision that it names.

        Args:
            document: the document with its `_id`; with `_rev` it replaces that revision, without it is created. Files
                that are `Following` are written with it.

        Raises:
            Conflict: `_rev` is not the current revision, or is absent and the document is there.
            Forbidden, UnauthorizedWrite: `validate_doc_update` refused it.
            CheckFailed: `validate_doc_update` itself failed.
            TooLarge: it is over CouchDB's limit.
            ValueError: it has no `_id`, or one that no document can have, or cannot be JSON.
        """
        document_id = document.get("_id")
        if not isinstance(document_id, str):
            raise ValueError("the document has no _id")
        if is_related(document):
            address = names.document(self.name, document_id)
            sent = Related(document)
            return _written(await self._exchange.call("PUT", address, self._quorum.writing, sent, near=document_id))
        return await self.put_text(document_id, _json.dumps(document))

    async def put_text(self, document_id: str, text: bytes) -> WriteResult:
        """Do what `put` does for a document that is encoded as JSON already.

        Raises:
            Conflict, Forbidden, TooLarge: as in `put`.
            InvalidReply: the answer is about another document.
            ValueError: a document cannot have this id.
        """
        address = names.document(self.name, document_id)
        try:
            answer = await self._exchange.call("PUT", address, self._quorum.writing, text, near=document_id)
        except Unauthorized:
            return await self._put_as_bulk(document_id, text)
        if answer.member("id", str) != document_id:
            raise InvalidReply(f"{answer.request}: the result does not belong to the document that was sent")
        return _written(answer)

    async def _put_as_bulk(self, document_id: str, text: bytes) -> WriteResult:
        """Write a document that was refused with 401.

        In `_bulk_docs`, what CouchDB says to the document stands apart from what it says to the user: whether
        `validate_doc_update` threw `unauthorized`, or the credentials are wrong.
        """
        results = await self.write_texts([document_id], [text])
        if results[0].rev is None:
            raise failure(results[0].error, results[0].reason)
        return WriteResult(document_id, results[0].rev, results[0].accepted)

    async def delete(self, document_id: str, rev: str) -> WriteResult:
        """Delete a document, and return the revision of the tombstone that takes its place.

        Raises:
            Conflict: `rev` is not the current revision.
            NotFound: the document does not exist, or it is already deleted.
            ValueError: a document cannot have this id.
        """
        address = names.document(self.name, document_id)
        query = {"rev": rev, **self._quorum.writing}
        return _written(await self._exchange.call("DELETE", address, query, near=document_id))

    def attachment(
        self, document_id: str, name: str, rev: str | None = None, *, span: tuple[int, int] | None = None
    ) -> AbstractAsyncContextManager[Stream]:
        """Read a file of a document as it arrives.

        The answer is 206 if it begins with the first byte that was asked for; CouchDB sends all of a file that it has
        stored compressed.

        Args:
            document_id: the document's `_id`.
            name: the file's.
            rev: a revision of the document; by default the winning one.
            span: the first byte and the one after the last; by default all.

        Raises:
            NotFound: there is no such file, or no such revision any more.
            ValueError: a document cannot have this id, or a file this name.
        """
        query = {**self._quorum.reading, **({} if rev is None else {"rev": rev})}
        # RFC 9110 §14.1.2: the last byte is included.
        headers = {"Accept": "*/*"} | ({} if span is None else {"Range": f"bytes={span[0]}-{span[1] - 1}"})
        return self._exchange.stream(names.attachment(self.name, document_id, name), query, headers)

    async def purge(self, revisions: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Remove leaves from documents as if they had never been written; only a server admin may do that.

        See https://docs.couchdb.org/en/stable/api/database/misc.html#db-purge. A revision of the list that is no leaf
        of some copy is left there.

        Args:
            revisions: the revisions to remove, by document id.

        Returns:
            The revisions that were removed, by document id.

        Raises:
            Unauthorized, Forbidden: this client is not a server admin.
        """
        answer = await self._call("POST", "_purge", body={name: list(each) for name, each in revisions.items()})
        return answer.member("purged", dict)

    async def _local_revision(self, document_id: str) -> str | None:
        try:
            document = await self.get(document_id)
        except NotFound:
            return None
        return str(document.get("_rev"))


def _written(answer: Answer) -> WriteResult:
    return WriteResult(answer.member("id", str), answer.member("rev", str), answer.accepted)
