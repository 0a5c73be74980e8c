"""Makes replies in a thread while they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

__all__ = ["from_thread"]

_PIECE = 32 * 1024


def _next_piece(pieces: Iterator[str] | Iterator[bytes]) -> bytes:
    """The next pieces joined, up to some size; empty at the end."""
    gathered, size = [], 0
    for piece in pieces:
        data = piece.encode() if isinstance(piece, str) else piece
        gathered.append(data)
        size += len(data)
        if size >= _PIECE:
            break
    return b"".join(gathered)


async def from_thread(
    run: Callable[..., Awaitable[Any]], make: Callable[[], Iterator[str] | Iterator[bytes]]
) -> AsyncIterator[bytes]:
    """The bytes of an iterator whose steps run in a thread, never two at once.

    Args:
        run: runs a function in a thread.
        make: makes the iterator; it runs in a thread as well.
    """
    pieces = await run(make)
    step: asyncio.Future[bytes] | None = None
    try:
        while True:
            step = asyncio.ensure_future(run(_next_piece, pieces))
            piece = await asyncio.shield(step)
            if not piece:
                return
            yield piece
    finally:
        # A client that goes away does not stop a step; the iterator is closed after it.
        close = getattr(pieces, "close", None)
        if close is not None:
            if step is not None and not step.done():
                step.add_done_callback(lambda done: (done.cancelled() or done.exception(), close()))
            else:
                await run(close)
