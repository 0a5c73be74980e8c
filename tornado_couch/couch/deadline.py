"""A limit of time for what is awaited: `asyncio.timeout`, and the same for Python 3.10, which has none.

Others for 3.10 end what takes too long by cancelling its task, as this one does, and then take any cancellation for
their own. Where somebody else cancels the task in the very moment in which time runs out, theirs is lost: what was to
end goes on, and whoever waits for its end waits for ever. From 3.11 on tasks count their cancellations; here they are
counted from when time has run out, and looked for in the task before that.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

__all__ = ["deadline"]


class _Cancellations:
    """Stands before the `cancel` of a task in which time has run out, and counts, until that is told."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._task = task
        self._users = 0
        self._requests = 0

    @classmethod
    def of(cls, task: asyncio.Task[Any]) -> _Cancellations | None:
        """Those of a task; None where somebody else's cancellation is on its way to it."""
        found: object = task.cancel
        if not isinstance(found, cls):
            if _is_cancelled(task):
                return None
            found = cls(task)
            setattr(task, "cancel", found)  # noqa: B010 - mypy knows it as a method
        found._users += 1
        return found

    def __call__(self, msg: Any | None = None) -> bool:
        self._requests += 1
        return type(self._task).cancel(self._task, msg)

    def leave(self) -> bool:
        """Take back one cancellation; whether that was the last."""
        self._users -= 1
        self._requests -= 1
        if not self._users:
            delattr(self._task, "cancel")
        return not self._requests


def _is_cancelled(awaited: asyncio.Future[Any]) -> bool:
    """Whether something awaited will end by a cancellation, as far down as it waits itself."""
    if awaited.cancelled() or getattr(awaited, "_cancel_requested", False):  # the latter is of `gather`
        return True
    if not isinstance(awaited, asyncio.Task):
        return False
    waits_for = awaited._fut_waiter  # type: ignore[attr-defined]
    return awaited._must_cancel or (waits_for is not None and _is_cancelled(waits_for))  # type: ignore[attr-defined]


class _Deadline:
    """`asyncio.timeout`, as far as it is needed here."""

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._timer: asyncio.TimerHandle | None = None
        self._cancellations: _Cancellations | None = None

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline is for what a task awaits")
        if self._seconds is not None:
            self._timer = asyncio.get_running_loop().call_later(max(self._seconds, 0.0), self._expire, task)

    def _expire(self, task: asyncio.Task[Any]) -> None:
        self._cancellations = _Cancellations.of(task)
        if self._cancellations is not None:
            self._cancellations()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._cancellations is None or not self._cancellations.leave():
            return
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            raise asyncio.TimeoutError from error


def deadline(seconds: float | None) -> AbstractAsyncContextManager[object]:
    """A limit for what is awaited in a block.

    Args:
        seconds: how long it may take; None is for ever.

    Raises:
        asyncio.TimeoutError: at the end of the block, whose task was cancelled within it when time had run out.
    """
    if sys.version_info >= (3, 11):
        return asyncio.timeout(seconds)
    return _Deadline(seconds)
