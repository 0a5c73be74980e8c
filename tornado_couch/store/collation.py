"""CouchDB's order of keys, where several parts of an index are merged into one.

Text is ordered by the Unicode Collation Algorithm with ICU's tables, which Python does not have. ASCII is
compared here; about other text CouchDB itself is asked.

https://docs.couchdb.org/en/stable/ddocs/views/collation.html#collation-specification
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..couch import Database
from ..errors import BadRequest

__all__ = ["Collator", "is_empty_range"]

# The order of CLDR's root collation; of letters the small one comes first, after everything else is equal.
_SYMBOLS = " _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789"
_WEIGHTS = {character: weight for weight, character in enumerate(_SYMBOLS)}
_WEIGHTS |= {letter: len(_SYMBOLS) + place for place, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}


def is_empty_range(error: BadRequest) -> bool:
    """Whether CouchDB refused a range because it ends before it begins."""
    return error.error == "query_parse_error" and error.reason.startswith("No rows can match")


def _sortable(value: Any) -> tuple[Any, ...] | None:
    """What Python orders as CouchDB orders the value; None where it is not known here."""
    if value is None or isinstance(value, bool):
        return ((None, False, True).index(value),)
    if isinstance(value, int | float):
        return (3, value)
    if isinstance(value, str) and value.isascii() and value.isprintable():
        return (4, [_WEIGHTS[each.lower()] for each in value], [each.isupper() for each in value])
    return None


class Collator:
    """Compares JSON values as the views of a database do.

    Args:
        database: the database.
        view: a view of it, which is named as its design document.
    """

    def __init__(self, database: Database, view: str) -> None:
        self._database = database
        self._view = view
        self._known: dict[tuple[str, str], int] = {}

    async def compare(self, one: Sequence[Any], other: Sequence[Any]) -> int:
        """Negative, zero or positive as an array comes before, with or after another of the same length."""
        for left, right in zip(one, other, strict=True):
            order = await self._compare(left, right)
            if order:
                return order
        return 0

    async def _compare(self, left: Any, right: Any) -> int:
        mine, theirs = _sortable(left), _sortable(right)
        if mine is not None and theirs is not None:
            return (mine > theirs) - (mine < theirs)
        pair = repr(left), repr(right)
        if pair not in self._known:
            self._known[pair] = await self._asked(left, right)
        return self._known[pair]

    async def _asked(self, left: Any, right: Any) -> int:
        if not await self._can_range(left, right):
            return 1
        return 0 if await self._can_range(right, left) else -1

    async def _can_range(self, left: Any, right: Any) -> bool:
        """Whether a range can go from one value to the other: CouchDB refuses one that runs backwards."""
        try:
            query: dict[str, Any] = {"startkey": left, "endkey": right, "limit": 0, "reduce": False, "update": False}
            await self._database.view(self._view, self._view, **query)
        except BadRequest as refused:
            if is_empty_range(refused):
                return False
            raise
        return True
