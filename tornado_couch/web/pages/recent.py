"""Reuses an answer for a short time, so that asking often costs little."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

__all__ = ["Recent"]

T = TypeVar("T")


class Recent(Generic[T]):
    """Asks once for all callers that want to know at the same time, and not again for a while.

    Args:
        ask: the function to call; its exceptions are raised to the caller, and are not kept.
        seconds: for how many seconds an answer is reused.
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
        # A lock and not a shared task: if a caller is cancelled, it releases the lock, and the next one asks.
        async with self._lock:
            if self._known is None or self._clock() >= self._known[1]:
                answer = await self._ask()
                self._known = answer, self._clock() + self._seconds
            return self._known[0]
