"""An answer that may be a little old, so that asking often costs little."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

__all__ = ["Recent"]

T = TypeVar("T")


class Recent(Generic[T]):
    """Asks once for all who want to know at the same time, and not again for a while.

    Args:
        ask: what to ask; its exceptions go to who asked, and are not kept.
        seconds: for how long an answer is good.
        clock: a monotonic clock in seconds.
    """

    def __init__(
        self, ask: Callable[[], Awaitable[T]], seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._seconds = seconds
        self._clock = clock
        self._lock = asyncio.Lock()
        self._known: tuple[T, float] | None = None

    async def __call__(self) -> T:
        """The answer."""
        # A lock and not a shared task: who is cancelled leaves it, and the next one asks.
        async with self._lock:
            if self._known is None or self._clock() >= self._known[1]:
                answer = await self._ask()
                self._known = answer, self._clock() + self._seconds
            return self._known[0]
