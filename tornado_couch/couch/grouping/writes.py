"""Joins concurrent writes of single documents into `_bulk_docs`.

Each write keeps its own outcome: CouchDB writes each document of a request by itself. If CouchDB refuses a whole
request because of one document, it is sent again in parts until that document is alone. If the answer to a group is
lost, the outcome of each of its documents is unknown, and that is what each caller gets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ... import _json
from .. import names
from ..bulk import failure
from ..database import Database, WriteResult
from ..scheduler import Grouping, GroupLimits, told
from .reads import apart

__all__ = ["GroupedWrites"]


class _Text(NamedTuple):
    """A document that is being written, as JSON."""

    id: str
    content: bytes


class GroupedWrites:
    """Writes one document at a time; concurrent writes share a request.

    Args:
        database: the database to write to.
        limits: how large groups may become.
    """

    def __init__(self, database: Database, limits: GroupLimits) -> None:
        self._database = database
        # Two writes to one document never share a group: CouchDB would choose which of them comes first.
        self._grouping: Grouping[_Text, WriteResult] = Grouping(self._carry_out, limits, seconds=database.seconds)

    async def put(self, document: Mapping[str, Any]) -> WriteResult:
        """Create a document, replace the revision that it names, or delete it if it has `_deleted`.

        Raises:
            Conflict: `_rev` is not the current revision, or it is missing and the document exists.
            ValueError: it has no `_id`, or one that a document cannot have, or cannot be encoded as JSON.
            CouchError: as in `Database.put`.
        """
        document_id = document.get("_id")
        if not isinstance(document_id, str):
            raise ValueError("the document has no _id")
        names.check_id(document_id)
        content = _json.dumps(document)
        text = _Text(document_id, content)
        asked = self._grouping.ask(document_id, text, weight=len(content))
        observer = self._database.server.observer
        return await (told(observer, "write", asked) if observer else asked)

    async def _carry_out(self, texts: list[_Text]) -> Sequence[WriteResult | Exception]:
        return await apart(texts, self._write)

    async def _write(self, texts: list[_Text]) -> list[WriteResult | Exception]:
        contents = [each.content for each in texts]
        if observer := self._database.server.observer:
            observer.grouped("write", len(texts), sum(map(len, contents)))
        if len(texts) == 1 and len(texts[0].id) <= names.LONG_TEXT:
            # A lone document goes as a plain PUT, which is quicker than a `_bulk_docs` of one.
            return [await self._database.put_text(*texts[0])]
        results = await self._database.write_texts([each.id for each in texts], contents)
        return [
            failure(each.error, each.reason) if each.rev is None else WriteResult(each.id, each.rev, results.accepted)
            for each in results
        ]
