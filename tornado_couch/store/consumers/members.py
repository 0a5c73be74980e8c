"""`Members`: the processes that share the partitions of a consumer, each as many as the others.

The processes note themselves in one `_local` document, where a note can be lost when two write at once. That does no
harm: who may work on a partition is decided by its lease alone, and the next round mends the notes.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Callable

from ...couch import Database
from ...errors import CouchError
from .records import local_document

__all__ = ["Members"]

_LEAVING = 2.0  # seconds


class Members:
    """The processes that run a consumer at the moment, as far as this one knows.

    Args:
        database: the database of the consumer.
        name: the consumer's name.
        partitions: how many partitions there are to share.
        seconds: after how long without a sign of life a process counts as dead.
        clock: returns seconds that never go back.

    Attributes:
        share: how many partitions this process should have.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        partitions: int,
        *,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.share = 0
        self._database = database
        self._id = f"_local/tornado_couch_consumer_{name}_members"
        self._partitions = partitions
        self._seconds = seconds
        self._clock = clock
        self._own = secrets.token_hex(8)
        self._rounds = 0
        self._seen: dict[str, tuple[int, float]] = {}

    async def meet(self) -> None:
        """Give a sign of life, and find out how many partitions this process should have.

        Raises:
            CouchError: CouchDB cannot be used.
        """
        found = await local_document(self._database, self._id)
        alive = self._alive(found.get("members", {}))
        self._rounds += 1
        alive[self._own] = self._rounds
        await self._database.put({**found, "_id": self._id, "members": alive})
        each, rest = divmod(self._partitions, len(alive))
        self.share = each + (sorted(alive).index(self._own) < rest)

    def _alive(self, members: dict[str, int]) -> dict[str, int]:
        """Those that have given a sign of life lately, by this process's own clock."""
        now = self._clock()
        for member, rounds in members.items():
            if member not in self._seen or self._seen[member][0] != rounds:
                self._seen[member] = (rounds, now)
        return {name: rounds for name, rounds in members.items() if now - self._seen[name][1] < self._seconds}

    async def leave(self) -> None:
        """Let the others know that this process does not take part any more."""
        if not self._rounds:
            return
        with contextlib.suppress(CouchError, TimeoutError):
            async with asyncio.timeout(_LEAVING):
                found = await local_document(self._database, self._id)
                found.get("members", {}).pop(self._own, None)
                await self._database.put({**found, "_id": self._id})
