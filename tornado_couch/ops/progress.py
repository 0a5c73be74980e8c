"""A progress bar on a terminal's standard error, where rich is installed; else nothing."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

__all__ = ["Advance", "progress"]

Advance = Callable[[int, "int | None"], None]
"""Is given how many were done since the last call, and how many are still to do; None where nobody knows."""


@contextlib.contextmanager
def progress(what: str = "documents") -> Iterator[Advance]:
    """A bar for the time of a block.

    Args:
        what: is done.
    """
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        yield lambda _count, _pending: None
        return
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        done = 0

        def advance(count: int, pending: int | None) -> None:
            nonlocal done
            done += count
            bar.update(task, completed=done, total=None if pending is None else done + pending)

        yield advance
