"""A lease: of several processes that could do some work on a database, one does it, as long as it lives.

It is a `_local` document, which is not replicated: each database has its own. CouchDB 3.5 takes any write of such a
document, whatever revision it names, so exclusion comes from time (Fischer's algorithm): who finds the lease free
writes its name, waits longer than any such write can take, and holds the lease if its name stands there still. Once in
a while (a write that was held up for longer than that) two may hold it until the next renewal. It saves double work;
what must not be done twice needs something else.

No clock of another machine is believed. A lease has run out for those who saw it unchanged for as long as it says.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ...couch import Database
from ...errors import NotFound

__all__ = ["Lease"]

Document = dict[str, Any]

_VALID = 0.9  # of its seconds the holder counts on: the others' clocks may run a little faster


class Lease:
    """A lease on some work.

    Args:
        database: that the work is done on.
        name: of the work.
        owner: who this is, for people; a token is added, so that no two are ever the same.
        seconds: how long the lease lasts without being renewed.
        settle: seconds to wait for other writers' names. A claim that takes longer than half of it does not count.
        clock: seconds that only grow.
        sleep: waits.

    Raises:
        ValueError: `settle` is not much shorter than `seconds`.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        *,
        owner: str = "",
        seconds: float = 30.0,
        settle: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        if not 0 < settle <= seconds / 4:
            raise ValueError("a lease must last at least four times as long as it takes to settle")
        self.owner = f"{owner}#{secrets.token_hex(8)}".lstrip("#")
        self.seconds = seconds
        self._database = database
        self._id = f"_local/tornado_couch_lease_{name}"
        self._settle = settle
        self._clock = clock
        self._sleep = sleep
        self._valid_until: float | None = None
        self._seen: tuple[Any, Any] = (None, None)
        self._seen_at = clock()

    @property
    def held(self) -> bool:
        """Whether the lease is this one's, by its own clock."""
        return self._valid_until is not None and self._clock() < self._valid_until

    async def acquire(self) -> Document | None:
        """Take the lease, if it is free or has run out; what its last holder left there, or None if it is not.

        Raises:
            CouchError: CouchDB cannot be asked.
        """
        start = self._clock()
        found = await self._read()
        if not self._is_free(found):
            return None
        try:
            async with asyncio.timeout(self._settle / 2):
                await self._write(found)
        except TimeoutError:
            return None
        if self._clock() - start > self._settle / 2:
            return None  # somebody else may have looked before this was written, and wait no longer
        await self._sleep(self._settle)
        if (await self._read()).get("owner") != self.owner:
            return None
        self._valid_until = start + self.seconds * _VALID
        return _state(found)

    async def renew(self, state: Mapping[str, Any]) -> bool:
        """Keep the lease for another term, and leave something for its next holder; whether it is held still.

        Args:
            state: what `acquire` gives to the next holder.

        Raises:
            CouchError: CouchDB cannot be asked; the lease runs on.
        """
        start = self._clock()
        found = await self._read()
        if not self.held or found.get("owner") != self.owner:
            self._valid_until = None
            return False
        await self._write(found, state)
        self._valid_until = start + self.seconds * _VALID
        return True

    async def release(self, state: Mapping[str, Any]) -> None:
        """Leave the lease to the next one at once.

        Raises:
            CouchError: CouchDB cannot be asked; the lease runs out by itself.
        """
        held, self._valid_until = self.held, None
        found = await self._read() if held else {}
        if found.get("owner") == self.owner:
            await self._write({**found, **state}, owner=None)

    def _is_free(self, found: Document) -> bool:
        if found.get("owner") in (None, self.owner):
            return True
        now, seen = self._clock(), (found.get("owner"), found.get("renewal"))
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        seconds = found.get("seconds")
        return now - self._seen_at >= (seconds if isinstance(seconds, int | float) else self.seconds)

    async def _read(self) -> Document:
        try:
            return await self._database.get(self._id)
        except NotFound as missing:
            if missing.reason not in ("missing", "deleted"):
                raise
            return {}

    async def _write(self, found: Document, state: Mapping[str, Any] | None = None, *, owner: str | None = "") -> None:
        await self._database.put(
            {
                **found,
                **(state or {}),
                "_id": self._id,
                "owner": self.owner if owner == "" else owner,
                "seconds": self.seconds,
                "renewal": secrets.token_hex(8),
            }
        )


def _state(found: Document) -> Document:
    own = ("owner", "seconds", "renewal")
    return {name: value for name, value in found.items() if name not in own and not name.startswith("_")}
