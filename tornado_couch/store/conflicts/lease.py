"""A lease: of several processes that could do some work on a database, one does it for as long as it lives.

The lease is a `_local` document, which is not replicated: each database has its own. CouchDB 3.5 accepts any write of
such a document, whatever revision it names, so exclusion comes from time (Fischer's algorithm): a process that finds
the lease free writes its name, waits longer than any such write can take, and holds the lease if its name is still
there. Once in a while (when a write was held up for longer than that) two processes may hold it until the next
renewal. A lease saves double work; work that must never be done twice needs something else.

No clock of another machine is trusted. For an observer a lease has run out once it has not changed for its duration.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from ...couch import Database
from ...errors import CouchError, NotFound

__all__ = ["Lease"]

Document = dict[str, Any]

_VALID = 0.9  # the part of its seconds that the holder relies on: other clocks may run a little faster
_LEAVING = 5.0  # seconds in which a holder that stops gives its lease back


class Lease:
    """A lease on some work, of which one process at a time is the holder.

    Args:
        database: the database that the work is done on.
        name: the name of the work.
        owner: a name for this process, for people to read; a token is added, so that no two are ever the same.
        seconds: how long the lease lasts without being renewed.
        settle: seconds to wait for other writers' names. A claim that takes longer than half of it does not count.
        clock: returns seconds that never go back.
        sleep: waits for a number of seconds.

    Raises:
        ValueError: `settle` is more than a quarter of `seconds`.
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
        """Whether this process holds the lease, by its own clock."""
        return self._remaining > 0

    @property
    def _remaining(self) -> float:
        """For how many seconds this process still holds the lease."""
        return 0.0 if self._valid_until is None else self._valid_until - self._clock()

    async def is_free(self) -> bool:
        """Whether the lease is free or has run out, as far as this process has watched it.

        Raises:
            CouchError: CouchDB cannot be used.
        """
        return self._is_free(await self._read())

    async def acquire(self) -> Document | None:
        """Take the lease if it is free or has run out.

        Returns:
            The state that the last holder left, or None if the lease belongs to another process.

        Raises:
            CouchError: CouchDB cannot be used.
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
            return None  # another process may have looked before this was written, and no longer waits
        await self._sleep(self._settle)
        if (await self._read()).get("owner") != self.owner:
            return None
        self._valid_until = start + self.seconds * _VALID
        return _state(found)

    async def renew(self, state: Mapping[str, Any]) -> bool:
        """Keep the lease for another term, and leave a state for its next holder.

        Args:
            state: what `acquire` returns to the next holder.

        Returns:
            Whether the lease is still held.

        Raises:
            CouchError: CouchDB cannot be used; the lease runs on.
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
        """Give the lease up at once, for the next process to take.

        Raises:
            CouchError: CouchDB cannot be used; the lease then runs out by itself.
        """
        held, self._valid_until = self.held, None
        found = await self._read() if held else {}
        if found.get("owner") == self.owner:
            await self._write({**found, **state}, owner=None)

    async def hold(self, work: Coroutine[Any, Any, None], state: Callable[[], Mapping[str, Any]] = dict) -> None:
        """Work for as long as the lease is held, or until all is done; renew the lease meanwhile, then give it back.

        Args:
            work: what to do; it is cancelled in time before another process can take the lease.
            state: returns the state for the next holder.
        """
        tasks = [asyncio.create_task(self._keep(state)), asyncio.create_task(work)]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(CouchError, TimeoutError):
                async with asyncio.timeout(_LEAVING):
                    await self.release(state())

    async def _keep(self, state: Callable[[], Mapping[str, Any]]) -> None:
        """Renew the lease until it is lost, also if CouchDB leaves a renewal without an answer."""
        pause = self.seconds / 3
        with contextlib.suppress(TimeoutError):
            while self.held:
                async with asyncio.timeout(self._remaining):
                    await asyncio.sleep(pause)
                    try:
                        if not await self.renew(state()):
                            return
                        pause = self.seconds / 3
                    except CouchError:
                        pause = self.seconds / 10  # there is time for a few tries

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
