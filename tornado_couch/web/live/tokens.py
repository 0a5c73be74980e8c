"""`ChangeToken`: a place in the changes of a collection, as clients carry it."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import NamedTuple

from ...models import format_timestamp, utc_now
from ...store import Place
from ..problems import Problem
from ..query import Cursor, CursorCodec

__all__ = ["ChangeToken", "TokenCodec", "UnusableToken"]

_SKEW = timedelta(seconds=60)  # by which the clocks of processes may differ


class UnusableToken(Exception):
    """The token is forged, or belongs to another collection, to other filters, or to somebody who sees other documents.

    Attributes:
        forged: whether it was not made here at all.
    """

    def __init__(self, *, forged: bool) -> None:
        super().__init__("the token cannot be used here")
        self.forged = forged


class ChangeToken(NamedTuple):
    """A place in the changes of a collection.

    Attributes:
        place: the place in the changes of the database.
        issued_at: when the client got it, as time stamps are stored, less what clocks may differ.
        initial: whether the client is still reading the collection for the first time.
    """

    place: Place
    issued_at: str
    initial: bool = False


class TokenCodec:
    """Turns tokens of one view of a collection into opaque text and back.

    Args:
        cursors: authenticates and encrypts.
        path: the path of the collection.
        view: what is seen of it: the filters, and the scopes of the caller. With another view a token cannot be used,
            since documents would be missing.

    Attributes:
        view: a digest of it.
    """

    __slots__ = ("_cursors", "_scope", "view")

    def __init__(self, cursors: CursorCodec, path: str, view: str) -> None:
        self._cursors = cursors
        self._scope = _scope(path)
        self.view = hashlib.sha256(view.encode()).hexdigest()[:16]

    def encode(self, place: Place, *, initial: bool = False) -> str:
        """Return the text of a token that is issued now."""
        at = format_timestamp(utc_now() - _SKEW)
        return self._cursors.encode(Cursor([place.database, place.seq, self.view, at, initial], ""), self._scope)

    def decode(self, text: str) -> ChangeToken:
        """Return the token that a text stands for.

        Raises:
            UnusableToken: it is not from here, or was made for another view.
        """
        token, view = _read(self._cursors, self._scope, text)
        if view != self.view:
            raise UnusableToken(forged=False)
        return token

    @staticmethod
    def peek(cursors: CursorCodec, path: str, text: str) -> ChangeToken:
        """Return the token that a text stands for, of whatever view of a collection.

        Raises:
            UnusableToken: it is not from here.
        """
        return _read(cursors, _scope(path), text)[0]


def _scope(path: str) -> str:
    return f"changes of {path}"


def _read(cursors: CursorCodec, scope: str, text: str) -> tuple[ChangeToken, str]:
    try:
        database, seq, view, at, initial = cursors.decode(text, scope).key
    except Problem:
        raise UnusableToken(forged=True) from None
    return ChangeToken(Place(database, seq), at, initial), view
