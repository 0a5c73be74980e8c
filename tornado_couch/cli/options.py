"""Options that commands share: where the server is, who asks, and how a command fails.

    @click.command()
    @server_options
    def command(host: str, **options: Any) -> None:
        connection = connection_of(options)
        ...
        async with connection.server(host) as couch: ...

A password need not be an argument, since every user of the machine can read those of a running process: it comes
from the environment, a private file or a prompt.
"""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from ..couch import BasicAuth, Couch, Database
from ..errors import KeySetError, TornadoCouchError
from ..security.key_file import read_private

__all__ = [
    "FINDINGS",
    "Connection",
    "connection_of",
    "connection_options",
    "database_at",
    "given_secret",
    "secret_if_given",
    "server_options",
    "told",
    "told_as",
]

F = TypeVar("F", bound=Callable[..., Any])

_PASSWORD = "TORNADO_COUCH_PASSWORD"  # noqa: S105 - the name of a variable


@dataclass(frozen=True)
class Connection:
    """Who asks, and whom to believe.

    Attributes:
        user: CouchDB's user; None for the one in the URL, or nobody.
        password: the user's.
        ca: a file of certificates to trust instead of the system's.
        verify: False to believe any certificate.
    """

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    verify: bool = True

    @asynccontextmanager
    async def server(self, url: str) -> AsyncIterator[Couch]:
        """A client of the server at a URL.

        Raises:
            click.UsageError: the URL is none of CouchDB's, it names a user too, or the certificates cannot be read.
        """
        auth = None if self.user is None else BasicAuth(self.user, self.password or "")
        try:
            couch = Couch(url, auth=auth, ca=self.ca, verify=self.verify)
        except (ValueError, OSError) as error:
            raise click.UsageError(str(error)) from None
        async with couch:
            yield couch

    @asynccontextmanager
    async def database(self, url: str) -> AsyncIterator[Database]:
        """The database that a URL names, such as `http://127.0.0.1:5984/orchard`.

        Raises:
            click.UsageError: the URL names none; and as `server` does.
        """
        server, _, name = url.rstrip("/").rpartition("/")
        async with self.server(server) as couch:
            try:
                found = couch[name]
            except ValueError as error:
                raise click.UsageError(f"DATABASE_URL is none of a database: {error}") from None
            yield found


def connection_options(command: F) -> F:
    """Add the options that say who asks and whom to believe; `connection_of` reads them."""
    for option in (
        click.option("--insecure", is_flag=True, help="Believe any certificate."),
        click.option("--ca", type=click.Path(path_type=Path, dir_okay=False), help="Certificates to trust, in PEM."),
        click.option("--ask-password", is_flag=True, help="Ask for the user's password."),
        click.option(
            "--password-file", type=click.Path(path_type=Path), help="The file (mode 0600) with the user's password."
        ),
        click.option(
            "--password-env",
            metavar="NAME",
            help=f"The environment variable with the user's password; {_PASSWORD} if none is named.",
        ),
        click.option("--username", envvar="TORNADO_COUCH_USER", show_envvar=True, help="CouchDB's user."),
    ):
        command = option(command)
    return command


def server_options(command: F) -> F:
    """Add `--host` and `connection_options`."""
    host = click.option(
        "--host",
        "--url",
        "host",
        envvar="TORNADO_COUCH_URL",
        show_envvar=True,
        default="http://127.0.0.1:5984",
        show_default=True,
        help="Where CouchDB is.",
    )
    return host(connection_options(command))


def connection_of(options: dict[str, Any]) -> Connection:
    """Take the options of `connection_options` out of a command's, and read what they name.

    Without any source named, the password is that of TORNADO_COUCH_PASSWORD, or asked for.

    Raises:
        click.UsageError: there is a password and no user, or more than one password.
        KeySetError: it cannot be read.
    """
    user, ca, insecure = options.pop("username"), options.pop("ca"), options.pop("insecure")
    variable, path, ask = options.pop("password_env"), options.pop("password_file"), options.pop("ask_password")
    if user is None and (variable or path or ask):
        raise click.UsageError("There is a password and no user: say --username, too.")
    if ca and insecure:
        raise click.UsageError("Either --ca or --insecure.")
    password = None
    if user is not None:
        password = given_secret(f"Password of {user}", variable, path, ask=ask, default_variable=_PASSWORD)
    return Connection(user, password, ca, verify=not insecure)


def given_secret(
    what: str, variable: str | None, path: Path | None, *, ask: bool = False, default_variable: str
) -> str:
    """A secret from the environment, a file or, where neither has one, a prompt.

    Args:
        what: it is, for the prompt.
        variable: the environment variable that has it.
        path: the file that has it, which nobody else may read; a line break at its end does not count.
        ask: prompt for it, whatever the environment has.
        default_variable: the environment variable that is looked at where nothing is said.

    Raises:
        click.UsageError: more than one place is named.
        KeySetError: there is none in the place named.
    """
    found = secret_if_given(what, variable, path, ask=ask, default_variable=default_variable)
    return found if found is not None else _asked(what)


def secret_if_given(
    what: str, variable: str | None, path: Path | None, *, ask: bool = False, default_variable: str
) -> str | None:
    """As `given_secret`, but None where no place is named and the environment has none."""
    if sum(map(bool, (variable, path, ask))) > 1:
        raise click.UsageError(f"{what}: say once where it is.")
    if path is not None:
        return _present(read_private(path).decode("utf-8", "replace").rstrip("\r\n"), str(path))
    if variable is not None:
        return _present(os.environ.get(variable, ""), variable)
    return _asked(what) if ask else os.environ.get(default_variable) or None


def _asked(what: str) -> str:
    answer: str = click.prompt(what, hide_input=True, err=True)
    return answer


def _present(text: str, where: str) -> str:
    if not text:
        raise KeySetError(f"there is no password in {where}")
    return text


P = ParamSpec("P")
R = TypeVar("R")

FINDINGS = 1
"""The exit status of a command that found what should not be."""


class _NotDone(click.ClickException):
    exit_code = 2  # as click's own for wrong usage: 1 is for what a command found


def told(command: Callable[P, R]) -> Callable[P, R]:
    """End a command with one line, not a traceback, at errors of ours; none holds a secret."""
    return told_as(_NotDone)(command)


def told_as(failure: type[click.ClickException]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """As `told`, with a failure of another exit status; that of click's own `ClickException` is 1."""

    def guarding(command: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(command)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return command(*args, **kwargs)
            except TornadoCouchError as error:
                raise failure(str(error)) from None

        return guarded

    return guarding


def database_at(url: str, connection: Connection | None = None) -> AbstractAsyncContextManager[Database]:
    """The database that a URL names, such as `http://127.0.0.1:5984/orchard`.

    Args:
        url: the URL, with or without a user and password.
        connection: who asks, and whom to believe.

    Raises:
        click.UsageError: the URL names none.
    """
    return (connection or Connection()).database(url)
