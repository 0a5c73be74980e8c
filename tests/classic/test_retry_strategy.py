"""The classic retry strategies."""

from __future__ import annotations

import asyncio

import pytest

from tornado_couch.classic.retry_strategy import ExponentialBackoffRetryStrategy, RetryStrategy


def test_tries_are_counted() -> None:
    """The last permitted try is the first for which `next_attempt` is False."""
    strategy = RetryStrategy(max_num_retries=3)
    assert [strategy.next_attempt() for _ in range(4)] == [True, True, False, False]
    with pytest.raises(NotImplementedError):
        strategy.wait(print)


async def test_waits_grow_to_a_limit_and_end() -> None:
    """Each wait is about twice the one before, never over the limit; with no try left it is 0, at once."""
    delays: list[int] = []
    strategy = ExponentialBackoffRetryStrategy(max_num_retries=40)
    scheduled: list[float] = []
    loop = asyncio.get_running_loop()
    original, loop.call_later = loop.call_later, lambda delay, call: scheduled.append(delay) or call()
    try:
        while strategy.wait(lambda milliseconds, *, name: delays.append(milliseconds), name="x"):
            pass
    finally:
        loop.call_later = original
    assert len(delays) == 40
    assert delays[-1] == 0
    assert scheduled == [each / 1000 for each in delays[:-1]]
    for doubling, delay in enumerate(delays[:6], 1):
        assert abs(delay - min(25 * 2**doubling, 2000)) <= 10
    assert max(delays) <= ExponentialBackoffRetryStrategy.max_delay_in_ms + 10


async def test_a_wait_can_be_awaited() -> None:
    """`pause` sleeps and returns the milliseconds, then 0."""
    strategy = ExponentialBackoffRetryStrategy(max_num_retries=2)
    assert 40 <= await strategy.pause() <= 60
    assert await strategy.pause() == 0
