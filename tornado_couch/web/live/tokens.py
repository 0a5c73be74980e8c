"""`ChangeToken`: a place in the changes of a collection, as clients carry it."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import NamedTuple

from ...models import format_timestamp, utc_now
from ...store import Place
from ..problems import Problem
from ..query import Cursor, CursorCodec
from .view import Known

__all__ = ["ChangeToken", "TokenCodec", "UnusableToken", "earlier"]

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
        since: a time before which nothing has changed that the client was not told of, as time stamps are stored.
        issued_at: when the client got it, less what clocks may differ.
        initial: whether the client is still reading the collection for the first time.
        known: the scopes whose documents it has.
        bearer: what stands for the credentials of the ticket that the stream was opened with; empty without one.
    """

    place: Place
    since: str
    issued_at: str
    initial: bool
    known: Known
    bearer: str = ""


class TokenCodec:
    """Turns tokens of one view of a collection into opaque text and back.

    Args:
        cursors: authenticates and encrypts.
        path: the path of the collection.
        view: what is seen of it: the filters, and the property that limits the caller. With another view a token
            cannot be used, since documents would be missing.
        caller: whose tokens they are, if the policy limits what they see: what they lose nobody else may learn of.
        bearer: see `ChangeToken`.

    Attributes:
        shape: a digest of the view, which all have in common that are shown a document in the same way.
        view: a digest of it and the caller.
        bearer: as above.
    """

    __slots__ = ("_cursors", "_scope", "bearer", "shape", "view")

    def __init__(self, cursors: CursorCodec, path: str, view: str, caller: str = "", bearer: str = "") -> None:
        self._cursors = cursors
        self._scope = _scope(path)
        self.shape = _digest(view)
        self.view = _digest(f"{view} {caller}")
        self.bearer = bearer

    def encode(self, place: Place, known: Known, *, since: str | None = None, initial: bool = False) -> str:
        """Return the text of a token that is issued now.

        Args:
            place: the place up to which the client was told of the changes.
            known: the scopes whose documents it has.
            since: see `ChangeToken`; None if that is now.
            initial: see `ChangeToken`.
        """
        key = [place.database, place.seq, self.view, earlier(utc_now()), since, initial, known.packed(), self.bearer]
        return self._cursors.encode(Cursor(key, ""), self._scope)

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


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _scope(path: str) -> str:
    return f"changes of {path}"


def _read(cursors: CursorCodec, scope: str, text: str) -> tuple[ChangeToken, str]:
    try:
        database, seq, view, at, since, initial, known, bearer = cursors.decode(text, scope).key
    except (Problem, ValueError):
        raise UnusableToken(forged=True) from None
    return ChangeToken(Place(database, seq), since or at, at, initial, Known.unpacked(known), bearer), view


def earlier(moment: datetime) -> str:
    """Return a time as time stamps are stored, less what the clocks of processes may differ."""
    return format_timestamp(moment - _SKEW)
