"""Joins concurrent writes of single documents into `_bulk_docs`.

Each keeps its own outcome: CouchDB writes the documents of one request each by itself. If it refuses a whole group
because of one document, or if the answer is lost, nothing is known of any of the documents: some shards may have
stored theirs. Each caller then gets that error with all of them `in_doubt`. Whoever can tell what is stored may send
what is not with `Access.put_alone`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ... import _json
from .. import names
from ..bulk import failure
from ..database import Database, WriteResult
from ..scheduler import Grouping, GroupLimits, told

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
        self._limits = limits
        self._groupings: dict[int, Grouping[_Text, WriteResult]] = {}  # by the node that the documents prefer

    def _grouping(self, document_id: str) -> Grouping[_Text, WriteResult]:
        place = self._database.server.place(document_id)
        found = self._groupings.get(place)
        if found is None:
            # Two writes to one document never share a group: which of them came first would be CouchDB's choice.
            found = self._groupings[place] = Grouping(self._write, self._limits, seconds=self._database.seconds)
        return found

    async def put(self, document: Mapping[str, Any]) -> WriteResult:
        """Create a document, replace the revision that it names, or delete it if it has `_deleted`.

        Raises:
            Conflict: `_rev` is not the current revision, or is absent and the document is there.
            ValueError: it has no `_id`, or one that no document can have, or cannot be JSON.
            CouchError: those of `Database.put`; with `in_doubt` where it is about the whole group.
        """
        document_id = document.get("_id")
        if not isinstance(document_id, str):
            raise ValueError("the document has no _id")
        names.check_id(document_id)
        content = _json.dumps(document)
        text = _Text(document_id, content)
        asked = self._grouping(document_id).ask(document_id, text, weight=len(content))
        observer = self._database.server.observer
        return await (told(observer, "write", asked) if observer else asked)

    async def _write(self, texts: list[_Text]) -> Sequence[WriteResult | Exception]:
        contents = [each.content for each in texts]
        if observer := self._database.server.observer:
            observer.grouped("write", len(texts), sum(map(len, contents)))
        if len(texts) == 1 and len(texts[0].id) <= names.LONG_TEXT:
            # A lone document goes as a plain PUT, which is quicker than a `_bulk_docs` of one.
            return [await self._database.put_text(*texts[0])]
        results = await self._database.write_texts([each.id for each in texts], contents)
        return [
            failure(each.error, each.reason) if each.rev is None else WriteResult(each.id, each.rev, each.accepted)
            for each in results
        ]
