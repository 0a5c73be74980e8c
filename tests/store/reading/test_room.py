"""The bytes that answers in preparation share; over the wire in tests/security/attacks/test_large_documents.py."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tornado_couch.errors import NoRoom
from tornado_couch.store import Room


async def test_the_smallest_share_comes_first() -> None:
    """Large answers do not hold up small ones."""
    room, served = Room(10, 5), []

    async def take(size: int) -> None:
        with room.share() as share:
            await share.widen(size)
            served.append(size)

    with room.share() as first:
        await first.widen(10)
        waiting = [asyncio.create_task(take(size)) for size in (9, 3, 8, 1)]
        await asyncio.sleep(0)
        assert served == []
    await asyncio.gather(*waiting)
    assert served == [1, 3, 8, 9]


async def test_nothing_is_lost_by_those_who_give_up() -> None:
    """Neither when their time is up, nor when they are cancelled while they wait or in the moment of their turn."""
    room = Room(10, 0.01)
    for way in ("time", "cancelled", "turn"):
        with room.share() as first, room.share() as second:
            await first.widen(10)
            waiting = asyncio.create_task(second.widen(10))
            await asyncio.sleep(0)
            if way == "turn":
                first.release()
            if way != "time":
                waiting.cancel()
            with contextlib.suppress(NoRoom, asyncio.CancelledError):
                await waiting
        with room.share() as third:
            assert await third.widen(10) == 10


async def test_a_share_grows_by_what_is_missing_and_never_beyond_the_room() -> None:
    """What is in use counts; who asks for more than there is at all gets the rest."""
    room = Room(10, 0.01)
    with room.share() as share:
        assert await share.widen(4) == 4
        share.use(3)
        assert await share.widen(4) == 4
        assert await share.widen(100) == 7
        with room.share() as other, pytest.raises(NoRoom):
            await other.widen(1)
    with room.share() as other:
        assert await other.widen(100) == 10
