"""Tickets, which stand for credentials in the address of a stream: a browser's EventSource can send no header fields.

A ticket holds the caller's credentials, encrypted, so that whoever they belong to is found out as in any request: an
account that ends ends the ticket. It is good for one collection and one query, for a minute, and after that as long as
the client comes back with the token of an event that it has had shortly before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from ...models import format_timestamp, utc_now
from ..problems import Problem
from ..query import Cursor, CursorCodec
from .tokens import ChangeToken

__all__ = ["Ticket", "Tickets"]

_GOOD_FOR = timedelta(seconds=60)
_COMES_BACK = timedelta(hours=1)


@dataclass(frozen=True)
class Ticket:
    """What a ticket says.

    Attributes:
        fields: the header fields that say who the caller is.
        issued_at: when it was made.
    """

    fields: Mapping[str, str]
    issued_at: str

    @property
    def bearer(self) -> str:
        """What stands for the credentials in the tokens of a stream that was opened with the ticket."""
        return hashlib.sha256(repr(sorted(self.fields.items())).encode()).hexdigest()[:16]

    def check(self, last: ChangeToken | None) -> None:
        """Refuse a ticket that is too old.

        Args:
            last: the token of the last event that the client has had.

        Raises:
            Problem: 401, it is.
        """
        now = utc_now()
        fresh = self.issued_at >= format_timestamp(now - _GOOD_FOR)
        # Somebody who finds an old ticket in a log may have tokens too, but not those of a stream of its owner's.
        own = last if last is not None and last.bearer == self.bearer else None
        if not fresh and (own is None or own.issued_at < format_timestamp(now - _COMES_BACK)):
            raise Problem(401, detail="This ticket has expired; POST to `_changes/tickets` for another one.")


class Tickets:
    """Makes and opens the tickets of a collection.

    Args:
        cursors: authenticates and encrypts.
        path: the path of the collection.
    """

    def __init__(self, cursors: CursorCodec, path: str) -> None:
        self._cursors = cursors
        self._path = path

    def make(self, fields: Mapping[str, str], query: Mapping[str, Sequence[bytes]]) -> tuple[str, str]:
        """Return a ticket for a query, and when it expires unless it is used.

        Args:
            fields: the header fields that say who the caller is.
            query: the parameters of the query.
        """
        now = utc_now()
        text = self._cursors.encode(Cursor([dict(fields), format_timestamp(now)], ""), self._scope(query))
        return text, format_timestamp(now + _GOOD_FOR)

    def open(self, texts: Sequence[bytes], query: Mapping[str, Sequence[bytes]]) -> Ticket:
        """Return what a ticket says.

        Args:
            texts: the values of the parameter.
            query: the other parameters of the query.

        Raises:
            Problem: 401, it was not made here, or for something else.
        """
        try:
            (text,) = texts
            fields, issued_at = self._cursors.decode(text.decode("ascii"), self._scope(query)).key
        except (Problem, ValueError):
            detail = "This ticket is not for this address; POST to `_changes/tickets` for another one."
            raise Problem(401, detail=detail) from None
        return Ticket(fields, issued_at)

    def _scope(self, query: Mapping[str, Sequence[bytes]]) -> str:
        kept = sorted((name, list(values)) for name, values in query.items() if name != "since")
        return f"ticket for changes of {self._path} {kept!r}"
