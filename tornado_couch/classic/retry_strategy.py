"""The classic strategies for retrying a write after a conflict."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

__all__ = ["ExponentialBackoffRetryStrategy", "RetryStrategy"]


class RetryStrategy:
    """Counts the attempts of one update or delete, and limits them.

    Args:
        max_num_retries: the total number of attempts.
    """

    def __init__(self, max_num_retries: int = 20) -> None:
        self.num_retries = 0
        self.max_num_retries = max_num_retries

    def next_attempt(self) -> bool:
        """Count one more attempt; False if no further attempt is allowed."""
        self.num_retries += 1
        return self.num_retries < self.max_num_retries

    def wait(self, callback: Callable[..., object], *callback_args: Any, **callback_kwargs: Any) -> Any:
        """Wait before the next attempt; subclasses decide how long."""
        raise NotImplementedError("a subclass must implement wait()")


class ExponentialBackoffRetryStrategy(RetryStrategy):
    """Waits about 50, 100, 200 … milliseconds, up to a limit, which tor-async-couchdb did not have."""

    max_delay_in_ms = 2000
    """Milliseconds; the waits never exceed this."""

    def wait(self, callback: Callable[..., object], *callback_args: Any, **callback_kwargs: Any) -> int:
        """Call back after the wait, with its milliseconds, or at once with 0 if no further attempt is allowed.

        Args:
            callback: called with the milliseconds and then the remaining arguments.
            callback_args: arguments of the callback.
            callback_kwargs: keyword arguments of the callback.

        Returns:
            The milliseconds; 0 if no further attempt is allowed.
        """
        delay = self._next_delay()
        if delay == 0:
            callback(0, *callback_args, **callback_kwargs)
        else:
            loop = asyncio.get_running_loop()
            loop.call_later(delay / 1000, lambda: callback(delay, *callback_args, **callback_kwargs))
        return delay

    async def pause(self) -> int:
        """Wait in a coroutine: sleep, and return the milliseconds; 0 if no further attempt is allowed."""
        delay = self._next_delay()
        await asyncio.sleep(delay / 1000)
        return delay

    def _next_delay(self) -> int:
        if not self.next_attempt():
            return 0
        # Limit the exponent first: with many retries the power would be a number with very many digits.
        doubled: int = 25 << min(self.num_retries, 16)
        return min(doubled, self.max_delay_in_ms) + random.randint(-10, 10)  # noqa: S311 - no secret
