"""`deadline`: a limit of time that takes no cancellation by somebody else for its own, on every Python."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

import pytest

from tornado_couch.couch.transport import deadline


async def forever() -> None:
    await asyncio.Event().wait()


async def in_a_task() -> None:
    await asyncio.create_task(forever())


async def in_several() -> None:
    await asyncio.gather(forever(), forever())


WAITS = [forever, in_a_task, in_several]


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("first", ["limit", "cancellation"])
async def test_a_cancellation_in_the_moment_in_which_time_runs_out_is_one(
    wait: Callable[[], Awaitable[None]], first: str
) -> None:
    """Whichever comes first: else what is stopped would go on, and whoever stops it wait for ever."""

    async def work() -> None:
        async with deadline(0.02 if first == "limit" else 0.03):
            await wait()

    task = asyncio.create_task(work())
    asyncio.get_running_loop().call_later(0.03 if first == "limit" else 0.02, lambda: task.cancel())
    await asyncio.sleep(0.001)
    time.sleep(0.05)  # noqa: ASYNC251 - so that both are due at once
    await asyncio.wait([task], timeout=10)
    assert task.cancelled()


@pytest.mark.parametrize("wait", WAITS)
async def test_time_runs_out(wait: Callable[[], Awaitable[None]]) -> None:
    """`asyncio.TimeoutError`, and the task goes on as if it had never been cancelled."""
    with pytest.raises(asyncio.TimeoutError):
        async with deadline(0.01):
            await wait()
    await asyncio.sleep(0.001)


@pytest.mark.parametrize("seconds", [None, 60, 0])
async def test_what_ends_in_time_ends_well(seconds: float | None) -> None:
    """And nothing comes afterwards; what does not wait has time enough."""
    async with deadline(seconds):
        assert 1 + 1 == 2
    await asyncio.sleep(0.001)


async def test_errors_pass() -> None:
    """They are not the limit's."""
    with pytest.raises(KeyError):
        async with deadline(60):
            raise KeyError("mine")


@pytest.mark.parametrize("inner", [0.01, 60.0])
async def test_one_within_another(inner: float) -> None:
    """Each ends what it is about: the outer one both, the inner one itself, and then there is time again."""
    ended = []

    async def work() -> None:
        async with deadline(0.1):
            try:
                async with deadline(inner):
                    await forever()
            except asyncio.TimeoutError:
                ended.append("inner")
            await forever()

    with pytest.raises(asyncio.TimeoutError):
        await work()
    assert ended == (["inner"] if inner < 1 else [])


async def test_two_that_run_out_in_one_moment() -> None:
    """The outer one's is what counts."""
    ended = []

    async def work() -> None:
        async with deadline(0.01):
            try:
                async with deadline(0.005):
                    asyncio.get_running_loop().call_soon(time.sleep, 0.05)
                    await forever()
            except asyncio.TimeoutError:
                ended.append("inner")

    with pytest.raises(asyncio.TimeoutError):
        await work()
    assert ended == []


async def test_a_cancellation_before_or_after_is_none_of_its_business() -> None:
    """One that the task has survived, or that comes when the limit has passed."""

    async def work() -> str:
        try:
            await forever()
        except asyncio.CancelledError:
            with pytest.raises(asyncio.TimeoutError):
                async with deadline(0.01):
                    await forever()
            await forever()
        return "not reached"

    task = asyncio.create_task(work())
    for _ in range(2):
        await asyncio.sleep(0.1)
        task.cancel()
    await asyncio.wait([task], timeout=10)
    assert task.cancelled()


async def test_nothing_is_left_on_the_task() -> None:
    """Nor is a limit that has passed counted against the next one."""
    task = asyncio.current_task()
    assert task is not None
    plain = task.cancel
    for _ in range(3):
        with pytest.raises(asyncio.TimeoutError):
            async with deadline(60), deadline(0.001):
                await forever()
    assert task.cancel == plain


async def test_what_others_end_by_their_own_limits_counts_for_nothing() -> None:
    """As aiohttp does, which cancels the task as well: its limit comes first, and then ours."""
    ended = []

    async def work() -> None:
        async with deadline(0.1):
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_later(0.01, lambda: task.cancel())
            try:
                await forever()
            except asyncio.CancelledError:
                ended.append("theirs")
                if sys.version_info >= (3, 11):
                    task.uncancel()
            await forever()

    with pytest.raises(asyncio.TimeoutError):
        await work()
    assert ended == ["theirs"]
