"""The output of commands that go through a whole database: a progress bar, counts and an exit status."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from .. import _json
from ..maintain.audit import Finding
from ..revision import printable
from .options import FINDINGS

__all__ = ["Advance", "Tally", "progress", "run_tallied"]


class Tally:
    """The results of a run, shown even if it is interrupted, so that another run can resume it.

    Args:
        since: the sequence from which the run starts.
    """

    def __init__(self, since: str) -> None:
        self.counts: dict[str, int] = {}
        self.findings: list[Finding] = []
        self.notes: list[str] = []
        self.since: str | int = since

    def add(self, since: str | int, findings: Sequence[Finding], notes: Sequence[str] = (), /, **counts: int) -> None:
        """Add the results of one page.

        Args:
            since: the sequence from which to resume.
            findings: the problems found.
            notes: what else the report says.
            counts: the number of documents for each outcome.
        """
        self.since = since
        self.findings += findings
        self.notes += notes
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count

    def show(self, as_json: bool) -> None:
        """Print the report."""
        if as_json:
            click.echo(_json.dumps(self.as_dict()).decode())
            return
        for each in self.lines():
            click.echo(each)
        click.echo(f"{self.sums()}; --since {self.since}")

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON has it."""
        notes = {"notes": self.notes} if self.notes else {}
        findings = [each._asdict() for each in self.findings]
        return {**self.counts, **notes, "findings": findings, "last_seq": self.since}

    def lines(self) -> list[str]:
        """A line for each finding."""
        return [f"{each.reason:12}  {printable(each.id)}  {printable(each.revision)}" for each in self.findings]

    def sums(self) -> str:
        """How many documents had each outcome."""
        counts = "".join(f"{count} {name}, " for name, count in self.counts.items())
        return f"{counts}{len(self.findings)} findings"


def run_tallied(work: Callable[[], Any], tally: Tally, as_json: bool) -> None:
    """Run a command's coroutine, and show its report however it ends, unless it ends before the first page.

    Raises:
        SystemExit: with the status for findings, if there are any.
    """
    try:
        asyncio.run(work())
    except BaseException:
        if tally.counts:  # else the error is all that there is to say
            tally.show(as_json)
        raise
    tally.show(as_json)
    if tally.findings:
        raise SystemExit(FINDINGS)


Advance = Callable[[int, "int | None"], None]
"""Called with how many documents were done since the last call and how many remain; None if that is unknown."""


@contextlib.contextmanager
def progress(what: str = "documents") -> Iterator[Advance]:
    """Show a progress bar for the duration of a block.

    Args:
        what: a label that says what is being done.
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
