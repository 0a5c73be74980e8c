"""`Follower`: a client that follows the changes of a collection, and what it has been told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Hashable
from dataclasses import replace
from typing import Any, Protocol

from ... import _json
from ...couch import Change
from ...store import DocumentChange, Observed, Place
from ..problems import Problem
from .stream import Stream, frame
from .tokens import TokenCodec
from .view import Known, Limit, View

__all__ = ["Follower"]

RECHECK = 60.0
"""Seconds after which a client's credentials are looked at again."""

PATIENCE = 10.0
"""Seconds in which an authenticator or a policy has to answer."""

_HELD = 256 * 1024  # bytes of events that are kept for a client while it joins
_MOST_HELD = 10_000  # changes that are kept for it
_TOLD = 4000  # documents whose revisions are remembered; those of the last minute count
_ROUNDS = 8  # in which a client that joins has to catch up with what changes meanwhile


class Client(Protocol):
    """What a follower needs of the handler of its request.

    Attributes:
        collection: the address of the collection.
    """

    @property
    def collection(self) -> str: ...

    def href(self, key: Any) -> str:
        """Return the address of the document with a key."""
        ...

    async def shown(self, model: Any) -> dict[str, Any]:
        """Return the item that stands for a model."""
        ...

    async def authorize(self, action: str) -> None:
        """Ask the policy; raise a problem if the client may not do this any more."""
        ...

    async def identify(self) -> None:
        """Find out again who the client is.

        Raises:
            Problem: 401, it is nobody any more.
        """
        ...

    def limit(self) -> Limit | None:
        """Return what the policy limits the client to now.

        Raises:
            Problem: 401 or 403, it may see nothing.
        """
        ...


class Follower:
    """A client that follows a collection.

    Args:
        stream: its connection.
        view: what it sees.
        codec: makes its tokens.
        known: the scopes whose documents it has.
        since: since when it has followed, as time stamps are stored.
        client: the handler of its request.
        shape: what is equal for all that are shown a model in the same way.

    Attributes:
        group: what is equal for all that see the same changes in the same way.
        told: the revisions of the documents that it was told of while it joined, by their ids.
    """

    __slots__ = (
        "_checked_at", "_client", "_held", "_held_bytes", "_known", "_read_at", "_rounds", "_shape", "codec", "group",
        "since", "stream", "told", "view",
    )  # fmt: skip

    def __init__(
        self, stream: Stream, view: View, codec: TokenCodec, client: Client, *,
        known: Known, since: str, shape: Hashable,
    ) -> None:  # fmt: skip
        self.stream, self.view, self.codec, self.since = stream, view, codec, since
        self._known = known
        self.group = (shape, codec.view, codec.bearer, view.name)
        self.told: dict[str, str] = {}
        self._client, self._shape = client, shape
        self._read_at: dict[str, float] = {}
        self._held: list[tuple[bytes | None, Change, float]] | None = None
        self._held_bytes = 0
        self._rounds = 0
        self._checked_at = time.monotonic()

    # ------------------------------------------------------------ what it is told

    def token(self, place: Place) -> str:
        """Return the token of a place before which the client was told of everything, while it still joins."""
        return self.codec.encode(place, self._known, since=self.since)

    async def text(self, change: DocumentChange[Any], token: str, items: dict[Hashable, bytes]) -> bytes:
        """Return the event that tells the client of a change; empty if it is none of its business.

        Args:
            change: the change.
            token: the place after it.
            items: what others were shown of the same change, by the shape.
        """
        kind = self.view.seen(change, self.since)
        if kind is None:
            return b""
        if kind == "reset":
            return self._reset(token)
        if kind != "change" or change.model is None:
            member = "_deleted" if kind == "delete" else "_gone"
            return frame(kind, token, _json.dumps({"_href": self._client.href(change.key), member: True}))
        if self._shape not in items:
            items[self._shape] = _json.dumps(await self._client.shown(change.model))
        return frame("change", token, items[self._shape])

    def deliver(self, text: bytes, observed: Observed, read_at: float) -> None:
        """Tell the client of a change, or keep it until the client has joined."""
        if not self.stream.is_open:
            return
        if self._held is None:
            if text and not self.stream.send(text):
                self.reset(None)
            return
        self._held_bytes += len(text)
        held = text if self._held_bytes <= _HELD else None  # what has no room is read again later
        self._held.append((held, _announced(observed), read_at))
        if len(self._held) > _MOST_HELD:
            self._held.clear()
            self.reset(None)

    def reset(self, place: Place | None) -> None:
        """Tell the client to read the collection anew, and end its stream: it reads too slowly, or there is no more.

        Args:
            place: from where on it can follow then; None for the time when it comes back.
        """
        token = "" if place is None else self.codec.encode(place, self.view.settled)
        self.stream.end(self._reset(token), drop=True)

    def _reset(self, token: str) -> bytes:
        return frame("reset", token, _json.dumps({"_href": self._client.collection}))

    # ------------------------------------------------------------ while it joins

    def lose(self, place: Place) -> None:
        """Tell the client to read the collection anew; the stream goes on, with what changes after a place."""
        self.stream.send(self._reset(self.codec.encode(place, self.view.settled)))

    async def move(self, items: list[tuple[str, Any]], known: Known, place: Place) -> None:
        """Tell the client of documents that it has come to see, or does not see any more, though they did not change.

        Args:
            items: for each, the type of the event and its data.
            known: what the client knows then.
            place: the place up to which it was told of the changes.
        """
        token = self.token(place)
        for kind, item in items:
            await self.stream.sent(frame(kind, token, _json.dumps(item)))
        self._known = known
        self.begin(place)

    def hold(self) -> None:
        """Keep what is delivered until `release`."""
        self._held = []

    def note(self, observed: Observed, read_at: float) -> None:
        """Note that the client was told of a document that was read at a time."""
        if self._held is not None:
            self._read_at[observed.id] = read_at
        if observed.document is not None:
            self.told.pop(observed.id, None)
            self.told[observed.id] = observed.document["_rev"]
        while len(self.told) > _TOLD:
            del self.told[next(iter(self.told))]

    def begin(self, place: Place) -> None:
        """Tell the client where it is."""
        self.stream.send(b"id: %b\n\n" % self.token(place).encode())

    def settle(self) -> None:
        """Note that the client was told of everything that was there when it joined."""
        self._known = self.view.settled
        if self.view.lost:
            self.view = replace(self.view, lost=frozenset())
            self.group = (self._shape, self.codec.view, self.codec.bearer, self.view.name)

    def release(self) -> list[Change]:
        """Tell the client what was kept, as far as it is newer than what it knows.

        Returns:
            The changes of the documents that were read before the client was told of them by other ways, so that they
            have to be read again. If there are none, nothing is kept any more.
        """
        held, self._held = self._held or [], []
        again = []
        self._held_bytes = 0
        for text, change, read_at in held:
            if text is None or read_at <= self._read_at.get(change.id, 0.0):
                again.append(change)
            elif text and not self.stream.send(text):
                self.reset(None)
        self._rounds += 1
        if again and self._rounds > _ROUNDS:
            self.reset(None)
        if not again or not self.stream.is_open:
            self._held, self._read_at, self.told = None, {}, {}
            return []
        return again

    # ------------------------------------------------------------ while nothing changes

    def heartbeat(self, place: Place, since: str) -> bytes:
        """Return a comment, with the place up to which the client was told.

        Args:
            place: the place.
            since: a time before which nothing has changed that the client was not told of.
        """
        return b":\nid: %b\n\n" % self.codec.encode(place, self.view.settled, since=since).encode()

    def beat(self, text: bytes) -> None:
        """Send a comment, unless the client has not read what came before; end the stream if it has not for long."""
        if self.stream.is_stalled(time.monotonic()):
            self.stream.abort()
        elif self._held is None and not self.stream.is_busy:
            self.stream.send(text)

    def is_due(self) -> bool:
        """Whether the client's credentials have to be looked at again."""
        return time.monotonic() - self._checked_at > RECHECK

    async def recheck(self) -> None:
        """End the stream if the client is not who it was, or does not see the same any more."""
        self._checked_at = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE):
                await self._client.identify()
        except TimeoutError:
            return
        except Problem as problem:
            if problem.status_code in (401, 403, 404):
                self.expel()
            return  # the accounts cannot be read at the moment, for example
        await self.stays()

    async def stays(self) -> bool:
        """Ask the policy whether the client may still follow, and sees the same as it did; if not, end its stream.

        Whoever sees more or less now comes back, and is then told of what they have gained and lost.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                await self._client.authorize("list")
            limit = self._client.limit()
        except TimeoutError:
            self.stream.end()  # nobody else waits for the answer; the client comes back
            return False
        except Problem:
            self.expel()
            return False
        if limit != self.view.limit:
            self.stream.end()
        return self.stream.is_open

    def expel(self) -> None:
        """Tell the client that it may not follow any more, and end its stream."""
        self.stream.end(frame("end", "", b'{"detail":"You may not follow this collection any more."}'), drop=True)


def _announced(observed: Observed) -> Change:
    """Return the change that a document was read for."""
    revision = observed.document["_rev"] if observed.document else ""
    return Change(observed.id, observed.seq, [revision] if revision else [], observed.deleted)
