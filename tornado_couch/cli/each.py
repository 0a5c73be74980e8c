"""`--each PATTERN`: runs a command on every database whose name matches, a few at a time.

With `--report FILE` each result is appended to the file, a line of JSON each, so that a run which was killed can be
resumed: what the file has is not done again.
"""

from __future__ import annotations

import asyncio
import fcntl
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click
from click.core import ParameterSource

from .. import _json
from ..couch import Database
from ..errors import TornadoCouchError
from ..maintain.audit import Finding
from .options import FINDINGS, Connection, ServerUnusable, server_options
from .report import Advance, Tally, progress, run_tallied

__all__ = ["Chosen", "Work", "chosen_of", "databases_options", "run_on_each", "work_on"]

F = TypeVar("F", bound=Callable[..., Any])

Work = Callable[[Database, Tally, Advance], Awaitable[None]]
"""Does the work on one database, and adds its results, page by page, to the tally."""

# What says how a run goes, and not what it does; and what nobody should find in a file.
_OF_NO_ACCOUNT = re.compile(r"report|at_once|as_json|log|yes|database|.*password.*|username|ca|insecure|prompt|.*_env")


@dataclass(frozen=True)
class Chosen:
    """The databases that a command works on.

    Attributes:
        database: the name of the only one; empty if there is a pattern.
        pattern: the pattern of their names; empty if there is one name.
        at_once: on how many it works at the same time.
        report: the file of the results.
        settings: what the command was told to do; a run that is resumed must be told the same.
    """

    database: str
    pattern: str = ""
    at_once: int = 4
    report: Path | None = None
    settings: str = ""

    def matches(self, name: str) -> bool:
        """Whether the pattern is that of a name; CouchDB's own databases have to be named by their underscore."""
        return fnmatchcase(name, self.pattern) and name.startswith("_") == self.pattern.startswith("_")


def databases_options(command: F) -> F:
    """Add `--database`, `--each` and what belongs to it, and `server_options`; `chosen_of` reads them."""
    for option in (
        click.option(
            "--report", type=click.Path(path_type=Path, dir_okay=False), help="With --each: the file of the results."
            " A run that finds some there continues where the last one stopped."
        ),
        click.option(
            "--at-once",
            type=click.IntRange(min=1),
            default=4,
            show_default=True,
            help="With --each: how many databases to work on at the same time.",
        ),
        click.option(
            "--each",
            metavar="PATTERN",
            help="Instead of --database: every database whose name matches; a * in it stands for any characters.",
        ),
        click.option("--database", envvar="TORNADO_COUCH_DATABASE", show_envvar=True, help="The database's name."),
    ):  # fmt: skip
        command = option(command)
    return server_options(command)


def chosen_of(options: dict[str, Any], since: str = "0") -> Chosen:
    """Remove the options of `databases_options` from a command's options, but those of the server.

    Args:
        options: the command's options.
        since: where the command is to begin, which cannot be said of many databases.

    Raises:
        click.UsageError: neither a name nor a pattern is given, or both are.
    """
    context = click.get_current_context()
    database, pattern = options.pop("database"), options.pop("each")
    at_once, report = options.pop("at_once"), options.pop("report")
    if pattern is None:
        if report:
            raise click.UsageError("--report needs --each.")
        if not database:
            raise click.UsageError("Give --database, or --each with a pattern of names, such as 'userdb-*'.")
        return Chosen(database)
    if database and context.get_parameter_source("database") is ParameterSource.COMMANDLINE:
        raise click.UsageError("--database and --each cannot be used together.")
    if since != "0":
        raise click.UsageError("--since is for one database; with --each, --report knows where to resume.")
    told = {name: str(value) for name, value in context.params.items() if not _OF_NO_ACCOUNT.fullmatch(name)}
    settings = _json.dumps({"command": context.info_name, **told}).decode()
    return Chosen("", pattern, at_once, report, settings)


def work_on(connection: Connection, url: str, chosen: Chosen, since: str, work: Work, *, as_json: bool) -> None:
    """Do a command's work on one database or on each of many, and show the report however it ends.

    Raises:
        SystemExit: with the status for findings, if there are any, or for databases on which the work failed.
    """
    if chosen.pattern:
        run_on_each(connection, url, chosen, work, as_json=as_json)
        return
    tally = Tally(since)

    async def run() -> None:
        async with connection.database(url, chosen.database) as opened:
            with progress() as advance:
                await work(opened, tally, advance)

    run_tallied(run, tally, as_json)


def run_on_each(
    connection: Connection, url: str, chosen: Chosen, work: Work, *, as_json: bool, failed: int = 2
) -> None:
    """Do the work on each database, and show the report however it ends.

    Args:
        connection: the credentials.
        url: the server's URL.
        chosen: the databases.
        work: what to do on each.
        as_json: whether the report is printed as JSON.
        failed: the exit status if the work failed on some.

    Raises:
        SystemExit: with that status, or with the status for findings, if there are any.
    """
    with _journal(chosen) as journal:
        results = _Results(journal)
        try:
            asyncio.run(_through(connection, url, chosen, work, results))
        except BaseException:
            if results.tallies:  # else the error is all that there is to say
                results.show(as_json)
            raise
    results.show(as_json)
    if results.failed:
        raise SystemExit(failed)
    if any(each.findings for each in results.tallies.values()):
        raise SystemExit(FINDINGS)


async def _through(connection: Connection, url: str, chosen: Chosen, work: Work, results: _Results) -> None:
    async with connection.server(url) as couch:
        beginning = re.match(r"[^*?\[]*", chosen.pattern)
        names = await couch.databases(prefix=beginning[0] if beginning else "")
        todo = [each for each in names if chosen.matches(each)]
        if not todo:
            raise ServerUnusable(f"no database at {couch.url} has a name that matches {chosen.pattern}; correct --each")
        waiting = iter([each for each in todo if each not in results.done])
        with progress("databases") as advance:
            advance(len(results.done.intersection(todo)), len(todo) - len(results.done.intersection(todo)))

            async def worker() -> None:
                for name in waiting:
                    await _attempt(couch[name], work, results)
                    advance(1, len(todo) - len(results.done.intersection(todo)))

            await asyncio.gather(*(worker() for _ in range(chosen.at_once)))


async def _attempt(database: Database, work: Work, results: _Results) -> None:
    """Do the work on one database; whatever goes wrong there does not stop the others."""
    name = database.name
    try:
        await work(database, results.tally(name), lambda _count, _pending: None)
    except (TornadoCouchError, OSError) as error:
        results.fail(name, str(error))
    else:
        results.finish(name)


class _Results:
    """The results on each database: those of this run, and what the report has of earlier ones.

    Args:
        journal: the report; None for none.
    """

    def __init__(self, journal: BinaryIO | None) -> None:
        self.tallies: dict[str, Tally] = {}
        self.done: set[str] = set()
        self.failed: dict[str, str] = {}
        self._journal: BinaryIO | None = None  # until everything that it has is read
        for line in journal or ():
            self._read(_json.loads(line))
        self.failed.clear()  # they are tried again
        self._journal = journal

    def tally(self, name: str) -> Tally:
        """The tally of a database, which goes into the report as it grows."""
        if name not in self.tallies:
            self.tallies[name] = _Noted("0", lambda **page: self._write(database=name, **page))
        return self.tallies[name]

    def finish(self, name: str) -> None:
        """Note that the work on a database is done."""
        self.done.add(name)
        self.failed.pop(name, None)
        self._write(database=name, done=True)

    def fail(self, name: str, error: str) -> None:
        """Note that the work on a database failed."""
        self.failed[name] = error
        self._write(database=name, error=error)

    def _read(self, line: dict[str, Any]) -> None:
        name = line.get("database")
        if name is None:  # the first line
            return
        tally = self.tally(name)
        if line.get("done"):
            self.done.add(name)
        elif "error" not in line:
            tally.add(line["since"], [Finding(*each) for each in line["findings"]], line["notes"], **line["counts"])

    def _write(self, **line: Any) -> None:
        if self._journal is not None:
            self._journal.write(_json.dumps(line) + b"\n")  # unbuffered, so that a kill loses nothing

    def show(self, as_json: bool) -> None:
        """Print the report: the databases that have something to say, and the sums."""
        if as_json:
            found = {
                name: {**each.as_dict(), **({"error": self.failed[name]} if name in self.failed else {})}
                for name, each in sorted(self.tallies.items())
            }
            click.echo(_json.dumps({"databases": found, "done": len(self.done), "failed": len(self.failed)}).decode())
            return
        total = Tally("")
        for name, each in sorted(self.tallies.items()):
            total.add("", each.findings, **each.counts)
            for line in [*each.notes, *each.lines()]:
                click.echo(f"{name}: {line}")
        for name, error in sorted(self.failed.items()):
            click.echo(f"{name}: failed: {error}", err=True)
        failed = f", {len(self.failed)} failed" if self.failed else ""
        click.echo(f"{len(self.done)} databases done{failed}; {total.sums()}")


class _Noted(Tally):
    """A tally that passes on what it is given.

    Args:
        since: as `Tally` takes it.
        note: called with each page.
    """

    def __init__(self, since: str, note: Callable[..., None]) -> None:
        super().__init__(since)
        self._note = note

    def add(self, since: str | int, findings: Sequence[Finding], notes: Sequence[str] = (), /, **counts: int) -> None:
        """Add the results of one page, and pass them on."""
        super().add(since, findings, notes, **counts)
        self._note(since=since, findings=findings, counts=counts, notes=notes)


@contextmanager
def _journal(chosen: Chosen) -> Iterator[BinaryIO | None]:
    """Open the report, with its place at the line after the first one.

    Raises:
        click.UsageError: it is the report of another run, or one that another process writes at the moment.
    """
    if chosen.report is None:
        yield None
        return
    with chosen.report.open("a+b", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise click.UsageError(f"another run is writing {chosen.report}") from None
        file.seek(0)
        text = file.read()
        whole = text.rfind(b"\n") + 1
        file.truncate(whole)  # a run that was killed may have left half a line
        first = text[:whole].partition(b"\n")[0].decode("utf-8", "replace")
        if not whole:
            file.write(chosen.settings.encode() + b"\n")
        elif first != chosen.settings:
            raise click.UsageError(f"{chosen.report} is the report of other options: give the same, or another file")
        file.seek(0)
        yield file
