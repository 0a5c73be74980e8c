"""The classic strategies for trying a write again that met a conflict."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

__all__ = ["ExponentialBackoffRetryStrategy", "RetryStrategy"]


class RetryStrategy:
    """Counts the tries of one update or delete, and ends them.

    Args:
        max_num_retries: how many tries there may be in all.
    """

    def __init__(self, max_num_retries: int = 20) -> None:
        self.num_retries = 0
        self.max_num_retries = max_num_retries

    def next_attempt(self) -> bool:
        """Count one more try; False when there may be no further one."""
        self.num_retries += 1
        return self.num_retries < self.max_num_retries

    def wait(self, callback: Callable[..., object], *callback_args: Any, **callback_kwargs: Any) -> Any:
        """Wait before the next try; a subclass says how long."""
        raise NotImplementedError("wait() is for a subclass to implement")


class ExponentialBackoffRetryStrategy(RetryStrategy):
    """Waits about 50, 100, 200 … milliseconds, up to a limit, which the original did not have."""

    max_delay_in_ms = 2000
    """Milliseconds; the waits grow no further."""

    def wait(self, callback: Callable[..., object], *callback_args: Any, **callback_kwargs: Any) -> int:
        """Call back after the wait, with its milliseconds, or at once with 0 when there may be no further try.

        Args:
            callback: called with the milliseconds and then the rest of the arguments.
            callback_args: for the callback.
            callback_kwargs: for the callback.

        Returns:
            The milliseconds; 0 when there may be no further try.
        """
        delay = self._next_delay()
        if delay == 0:
            callback(0, *callback_args, **callback_kwargs)
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(delay / 1000, lambda: callback(delay, *callback_args, **callback_kwargs))
        return delay

    async def pause(self) -> int:
        """The same for code that awaits: sleeps, and returns the milliseconds; 0 for no further try."""
        delay = self._next_delay()
        await asyncio.sleep(delay / 1000)
        return delay

    def _next_delay(self) -> int:
        if not self.next_attempt():
            return 0
        # Bounded before the power is taken, which for many retries is a number of many digits.
        doubled: int = 25 << min(self.num_retries, 16)
        return min(doubled, self.max_delay_in_ms) + random.randint(-10, 10)  # noqa: S311 - no secret
