"""A service to attack, and a probe of how long its event loop is busy without a pause."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from tests.web.conftest import serve, store

__all__ = ["Probe", "probe", "serve", "store"]

BUSY = 0.1  # seconds of processor time that one request may take of the event loop at a stretch


class Probe:
    """The longest stretch of processor time between two turns of the event loop.

    Processor time, and not the clock: other work on the machine does not count.

    Attributes:
        longest: seconds.
    """

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        """Run beside the attack, until it is cancelled."""
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.longest = max(self.longest, now - before)
            before = now


@pytest.fixture
def probe() -> Callable[[], AbstractAsyncContextManager[Probe]]:
    """Watches what runs inside of it, and fails if the event loop was held for too long."""

    @asynccontextmanager
    async def watching() -> AsyncIterator[Probe]:
        found = Probe()
        task = asyncio.create_task(found.watch())
        try:
            await asyncio.sleep(0)
            yield found
        finally:
            task.cancel()
        assert found.longest < BUSY, f"the event loop was held for {found.longest * 1000:.0f} ms"

    return watching
