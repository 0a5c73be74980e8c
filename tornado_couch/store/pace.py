"""`Pace`: lets other requests have their turns in a loop over many documents."""

from __future__ import annotations

import asyncio
import time

__all__ = ["Pace"]

_STRETCH = 0.01  # seconds


class Pace:
    """Follows how long a loop has been running without a pause.

    It goes by the time and not by the number of documents, since one of them may cost as much as a thousand others.
    """

    def __init__(self) -> None:
        self._since = time.monotonic()

    def is_due(self) -> bool:
        """Whether it is time for a pause; a loop that costs little for each document asks, which is cheaper to do."""
        return time.monotonic() - self._since > _STRETCH

    async def breathe(self) -> None:
        """Let others run if it is time to; call this after each document."""
        if self.is_due():
            await asyncio.sleep(0)
            self._since = time.monotonic()
