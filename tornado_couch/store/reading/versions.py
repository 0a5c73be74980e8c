"""Finds versions of documents whose models keep their history: the latest, one by its number, or a page of them.

Their ids are made of key and number, so no view is needed: the list of all ids gives the greatest one of a key, and
that version is read together with the one that would follow it. Versions are never rewritten, so a known number is
remembered, and reading the latest version then costs as much as reading any document by its id. Reads by id use
CouchDB's read quorum, and each read looks for the version after: an acknowledged version is found even if the list of
all ids comes from a node that does not have it yet, or if the remembered number is an old one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from cachetools import LRUCache

from ...couch import Database
from ...errors import InvalidSignature
from ...models import LAST_NUMBER, Model, collection_view, model_info, version_id, version_of, version_prefix
from .bearing import bearing
from .scan import Position

__all__ = ["Found", "Versions"]

Document = dict[str, Any]
Found = Document | InvalidSignature | None
Read = Callable[[Sequence[str]], Awaitable[list[Found]]]
ReadWithin = Callable[[Sequence[str], int], Awaitable[tuple[list[Found], int]]]

_REMEMBERED = 10_000  # numbers, of about a hundred bytes each

# Sorts after the digits of a number, and after the `~` of a branch.
_END = "~\uffff"


class Versions:
    """Reads versions in one database.

    Args:
        database: where the documents are.
        read: reads and verifies the winning documents of many ids, in order, up to some bytes: `Reader.within`.
        read_few: reads a few of any size, in one request with what other callers read at that time.
    """

    def __init__(self, database: Database, read: ReadWithin, read_few: Read) -> None:
        self._database = database
        self.read = read
        self._read_few = read_few
        self._numbers: LRUCache[str, int] = LRUCache(_REMEMBERED)

    async def latest(self, cls: type[Model], key: Any) -> Document | None:
        """Find the latest version of a document by its key, which may be one that marks a deletion.

        Returns:
            The version, or None if there is none.

        Raises:
            InvalidSignature: that version, or the one that follows it, does not verify.
        """
        prefix = version_prefix(model_info(cls), key)
        found = await self.last_of(prefix, self._numbers.get(prefix, 0))
        return self._bearing(cls, key, found)

    async def last_of(self, prefix: str, number: int = 0) -> Document | None:
        """Find the version with the greatest number.

        Args:
            prefix: the common beginning of the ids of all versions.
            number: the number of a version that is known to exist, or 0.

        Raises:
            InvalidSignature: that version, or the one that follows it, does not verify.
        """
        # Without any in the list somebody may have deleted all of them, which the first one shows.
        number = number or await self._last_number(prefix) or 1
        while number:
            found, following = map(
                _verified, await self._read_few([version_id(prefix, number), version_id(prefix, number + 1)])
            )
            if following is None and found is not None:
                self.remember(prefix, number)
                return found
            last = await self._last_number(prefix)
            if following is None and last >= number:
                return None  # the listed version disappeared before it was read
            # Go on past versions that were written meanwhile; in a database that was recreated, begin from its own end.
            number = last if following is None else max(last, number + 1)
        return None

    async def by_name(self, cls: type[Model], key: Any, name: str) -> Document | None:
        """Find one version by its number, or by the name of a branch; see `Version.name`.

        Raises:
            InvalidSignature: the version does not verify.
        """
        number, _, branch = name.partition("~")
        if not _is_number(number) or number.startswith("0") or ("~" in name and not _is_digest(branch)):
            return None
        (found,) = await self._read_few([version_id(version_prefix(model_info(cls), key), int(number), branch)])
        return self._bearing(cls, key, _verified(found))

    async def as_of(self, cls: type[Model], key: Any, moment: str) -> Document | None:
        """Find the version that was the latest at a given time; None if there was none yet.

        Args:
            cls: the model.
            key: the key of the document.
            moment: the time, in the form of a stored time stamp.

        Raises:
            InvalidSignature: the version, or the one that follows it, does not verify.
        """
        info, view = model_info(cls), collection_view(cls)
        prefix = version_prefix(info, key)
        start = [info.view_key(key), prefix]
        rows = await self._database.view(
            view, view, startkey=[*start, moment], endkey=start, descending=True, limit=1, reduce=False
        )
        # The view is not signed, and lists nothing that somebody deleted; the versions themselves say when they began.
        number = _number(prefix, rows.rows[0].id or "") if rows.rows else 1
        while number:
            read = await self._read_few([version_id(prefix, number), version_id(prefix, number + 1)])
            found, following = (self._bearing(cls, key, _verified(each)) for each in read)
            if following is not None and version_of(following).written_on <= moment:
                number += 1
            elif found is not None and version_of(found).written_on > moment:
                number -= 1
            else:
                return found
        return None

    async def ids(self, prefix: str, *, limit: int, start: Position | None, descending: bool) -> list[str]:
        """List the ids of a document's versions, in the order of their numbers.

        Args:
            prefix: the common beginning of the ids.
            limit: return at most this many ids.
            start: where to begin; its key has no meaning here.
            descending: whether to read from the last to the first.
        """
        low, high = version_id(prefix, 0), version_id(prefix, LAST_NUMBER) + _END
        begin, end = (high, low) if descending else (low, high)
        begin, behind = (begin, None) if start is None else (start.id, None if start.inclusive else start.id)
        found: list[str] = []
        while len(found) < limit:
            rows = await self._database.all_docs(startkey=begin, endkey=end, descending=descending, limit=limit + 1)
            listed = [row.id for row in rows.rows if row.id and row.id != behind]
            found += [each for each in listed if _number(prefix, each)]
            if len(rows.rows) <= limit or not listed:
                break
            begin = behind = listed[-1]
        return found[:limit]

    async def _last_number(self, prefix: str) -> int:
        """The number of the last version in the list, or 0."""
        for each in await self.ids(prefix, limit=1, start=None, descending=True):
            return _number(prefix, each)
        return 0

    def _bearing(self, cls: type[Model], key: Any, document: Document | None) -> Document | None:
        """The document, if it is a version of this model with this key."""
        found = bearing(self._database, cls, key, document)
        if found is not None:
            version_of(found)  # raises an error for a document that only has the id of a version
        return found

    def remember(self, prefix: str, number: int) -> None:
        """Remember that a document has a version with this number."""
        self._numbers[prefix] = number


def _verified(found: Found) -> Document | None:
    if isinstance(found, InvalidSignature):
        raise found
    return found


def _number(prefix: str, document_id: str) -> int:
    """The number of a version; 0 if the id is not one, which only another program can have written."""
    digits, tilde, branch = document_id.removeprefix(f"{prefix}:").partition("~")
    return int(digits) if len(digits) == 10 and _is_number(digits) and (not tilde or _is_digest(branch)) else 0


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 10


def _is_digest(text: str) -> bool:
    return bool(text) and set(text) <= set("0123456789abcdef")
