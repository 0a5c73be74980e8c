"""`Pace`: lets other requests have their turns in a loop over many documents."""

from __future__ import annotations

import asyncio
import time
from weakref import WeakKeyDictionary

__all__ = ["Pace", "take_turn"]

_STRETCH = 0.005  # seconds; several loops of a request can follow each other without a pause between them

_lines: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()


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
            await take_turn()
            self._since = time.monotonic()


async def take_turn() -> None:
    """Wait for a turn of the event loop in which no other caller goes on, so that what they do does not add up."""
    async with _lines.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        await asyncio.sleep(0)
