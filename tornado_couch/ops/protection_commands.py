"""`tornado-couch audit` and `tornado-couch rotate`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from .. import json_text
from ..security import Scheme
from .audit import Finding
from .audit import audit as audit_database
from .commanding import FINDINGS, database_at, told
from .connecting import connection_of, connection_options
from .key_options import key_set_options, open_keys, secrets_of
from .rotate import Rotation

__all__ = ["audit", "rotate"]

_URL = click.argument("database_url", envvar="TORNADO_COUCH_DATABASE_URL")
_SINCE = click.option("--since", default="0", show_default=True, help="Where to begin: what a run printed.")
_JSON = click.option("--json", "as_json", is_flag=True, help="As JSON.")
_CLASSIC = click.option("--classic", is_flag=True, help="Also take the signatures of tor-async-couchdb.")


class _Tally:
    """What a run has come to: shown at its end, an interrupted one's too, so that it can go on from there."""

    def __init__(self, since: str) -> None:
        self.counts: dict[str, int] = {}
        self.findings: list[Finding] = []
        self.since: str | int = since

    def add(self, since: str | int, findings: list[Finding], **counts: int) -> None:
        self.since = since
        self.findings += findings
        for name, count in counts.items():
            self.counts[name] = self.counts.get(name, 0) + count

    def show(self, as_json: bool) -> None:
        if as_json:
            found = [each._asdict() for each in self.findings]
            click.echo(json_text.dumps({**self.counts, "findings": found, "last_seq": self.since}).decode())
            return
        for each in self.findings:
            click.echo(f"{each.reason:12}  {each.id}  {each.revision}")
        counts = "".join(f"{count} {name}, " for name, count in self.counts.items())
        click.echo(f"{counts}{len(self.findings)} findings; --since {self.since}")


@click.command()
@_URL
@connection_options
@key_set_options
@_SINCE
@_CLASSIC
@_JSON
@told
def audit(database_url: str, paths: tuple[Path, ...], since: str, classic: bool, as_json: bool, **options: Any) -> None:
    """Verify every document of a database, tombstones and conflicts included.

    The exit status is 0 where all is well, 1 where something was found, 2 where the audit could not be done.
    """
    connection = connection_of(options)
    keys, accept = open_keys(paths, secrets_of(options)), _schemes(classic)
    tally = _Tally(since)

    async def run() -> None:
        async with database_at(database_url, connection) as database:
            with _progress() as advance:
                async for page in audit_database(database, keys, accept=accept, since=since):
                    tally.add(page.since, page.findings, checked=page.checked)
                    advance(page.checked, page.pending)

    _run(run, tally, as_json)


@click.command()
@_URL
@connection_options
@key_set_options
@_SINCE
@_CLASSIC
@click.option("--adopt", is_flag=True, help="Also sign what bears no signature, believing it: to begin with, only.")
@_JSON
@told
def rotate(
    database_url: str,
    paths: tuple[Path, ...],
    since: str,
    classic: bool,
    adopt: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Sign every document anew that the current primary key did not sign; writers may go on meanwhile.

    What does not verify is reported and left as it is, with the exit status of `audit`.
    """
    connection = connection_of(options)
    keys, accept = open_keys(paths, secrets_of(options)), _schemes(classic)
    tally = _Tally(since)

    async def run() -> None:
        async with database_at(database_url, connection) as database:
            rotation = Rotation(database, keys, accept=accept, adopt=adopt)
            with _progress() as advance:
                async for page in rotation.run(since=since):
                    tally.add(page.since, page.findings, signed=page.signed, current=page.current)
                    advance(page.signed + page.current, page.pending)

    _run(run, tally, as_json)


def _schemes(classic: bool) -> tuple[Scheme, ...]:
    return (Scheme.V2, Scheme.CLASSIC) if classic else (Scheme.V2,)


def _run(work: Callable[[], Any], tally: _Tally, as_json: bool) -> None:
    try:
        asyncio.run(work())
    finally:
        tally.show(as_json)
    if tally.findings:
        raise SystemExit(FINDINGS)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar on a terminal's standard error, where rich is installed; else nothing."""
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        yield lambda _count, _pending: None
        return
    with Progress(console=Console(stderr=True), transient=True, disable=not Console(stderr=True).is_terminal) as bar:
        task = bar.add_task("documents", total=None)
        done = 0

        def advance(count: int, pending: int | None) -> None:
            nonlocal done
            done += count
            bar.update(task, completed=done, total=None if pending is None else done + pending)

        yield advance
