"""Options that commands share: the server's address, the credentials, and how a command fails.

    @click.command()
    @server_options
    def command(url: str, **options: Any) -> None:
        connection = connection_of(options)
        ...
        async with connection.server(url) as couch: ...

A password comes from the environment, a private file or a prompt. It is never an argument, since every user of the
machine can read the arguments of a running process.
"""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from ..couch import BasicAuth, Couch, Database
from ..couch.trouble import advice
from ..errors import CouchError, KeySetError, NotFound, TornadoCouchError
from ..security.key_file import read_private

__all__ = [
    "FINDINGS",
    "Connection",
    "ServerUnusable",
    "connection_of",
    "connection_options",
    "database_options",
    "given_secret",
    "secret_if_given",
    "server_options",
    "told",
    "told_as",
]

F = TypeVar("F", bound=Callable[..., Any])

_PASSWORD = "TORNADO_COUCH_PASSWORD"  # noqa: S105 - the name of a variable


class ServerUnusable(TornadoCouchError):
    """The address, the credentials or the database's name are wrong; the message says which option to change."""


@dataclass(frozen=True)
class Connection:
    """The credentials of a command, and the certificates that it trusts.

    Attributes:
        user: the CouchDB user; None for the one in the URL, or for no user.
        password: the user's.
        ca: a file of certificates to trust instead of the system's.
        verify: False to accept any certificate.
    """

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    verify: bool = True

    @asynccontextmanager
    async def server(self, url: str) -> AsyncIterator[Couch]:
        """A client of the server at a URL.

        Raises:
            click.UsageError: the URL is not valid for CouchDB or also names a user, or the certificates cannot be read.
            ServerUnusable: in the block a call failed because of the address or the credentials.
        """
        auth = None if self.user is None else BasicAuth(self.user, self.password or "")
        try:
            couch = Couch(url, auth=auth, ca=self.ca, verify=self.verify)
        except OSError as error:
            raise click.UsageError(f"--ca {self.ca} cannot be read: {error.strerror or error}") from None
        except ValueError as error:
            raise click.UsageError(f"--url: {error}") from None
        async with couch:
            try:
                yield couch
            except CouchError as error:
                found = advice(error, couch.url, address="--url", user="--username")
                if found is None:
                    raise
                raise ServerUnusable(found) from None

    @asynccontextmanager
    async def database(self, url: str, name: str) -> AsyncIterator[Database]:
        """A database of the server at a URL.

        Raises:
            click.UsageError: the name is not valid; and as for `server`.
            ServerUnusable: in the block it turned out that there is no such database; and as for `server`.
        """
        async with self.server(url) as couch:
            try:
                found = couch[name]
            except ValueError as error:
                raise click.UsageError(f"--database: {error}") from None
            try:
                yield found
            except NotFound as error:
                if not await _is_missing(found):
                    raise
                raise ServerUnusable(f"there is no database {name} at {couch.url}; correct --database") from error


async def _is_missing(database: Database) -> bool:
    try:
        await database.info()
    except NotFound:
        return True
    return False


def connection_options(command: F) -> F:
    """Add the options for credentials and certificates; `connection_of` reads them."""
    for option in (
        click.option("--insecure", is_flag=True, help="Accept any certificate."),
        click.option(
            "--ca", type=click.Path(path_type=Path, dir_okay=False), help="A PEM file of certificates to trust."
        ),
        click.option("--ask-password", is_flag=True, help="Prompt for the user's password."),
        click.option(
            "--password-file", type=click.Path(path_type=Path), help="The file (mode 0600) with the user's password."
        ),
        click.option(
            "--password-env",
            metavar="NAME",
            help=f"The environment variable with the user's password; {_PASSWORD} by default.",
        ),
        click.option("--username", envvar="TORNADO_COUCH_USER", show_envvar=True, help="CouchDB's user."),
    ):
        command = option(command)
    return command


def server_options(command: F) -> F:
    """Add `--url` and `connection_options`."""
    url = click.option(
        "--url",
        envvar="TORNADO_COUCH_URL",
        show_envvar=True,
        default="http://127.0.0.1:5984",
        show_default=True,
        help="The URL of CouchDB.",
    )
    return url(connection_options(command))


def database_options(command: F) -> F:
    """Add `--database` and `server_options`."""
    name = click.option(
        "--database", envvar="TORNADO_COUCH_DATABASE", show_envvar=True, required=True, help="The database's name."
    )
    return server_options(name(command))


def connection_of(options: dict[str, Any]) -> Connection:
    """Remove the options of `connection_options` from a command's options, and read what they name.

    If no source is named, the password is taken from TORNADO_COUCH_PASSWORD or prompted for.

    Raises:
        click.UsageError: a password is given without a user, or more than one password.
        KeySetError: the password cannot be read.
    """
    user, ca, insecure = options.pop("username"), options.pop("ca"), options.pop("insecure")
    variable, path, ask = options.pop("password_env"), options.pop("password_file"), options.pop("ask_password")
    if user is None and (variable or path or ask):
        raise click.UsageError("A password needs a user: give --username, too.")
    if ca and insecure:
        raise click.UsageError("--ca and --insecure cannot be used together.")
    password = None
    if user is not None:
        password = given_secret(f"Password of {user}", variable, path, ask=ask, default_variable=_PASSWORD)
    return Connection(user, password, ca, verify=not insecure)


def given_secret(
    what: str, variable: str | None, path: Path | None, *, ask: bool = False, default_variable: str
) -> str:
    """A secret from the environment, from a file or, if neither has one, from a prompt.

    Args:
        what: the secret's name, for the prompt.
        variable: the environment variable that holds it.
        path: the file that holds it, which nobody else may read; a line break at its end does not count.
        ask: prompt for it, whatever the environment holds.
        default_variable: the environment variable to use if no source is named.

    Raises:
        click.UsageError: more than one source is named.
        KeySetError: the source named has no secret.
    """
    found = secret_if_given(what, variable, path, ask=ask, default_variable=default_variable)
    return found if found is not None else _asked(what)


def secret_if_given(
    what: str, variable: str | None, path: Path | None, *, ask: bool = False, default_variable: str
) -> str | None:
    """Like `given_secret`, but None if no source is named and the environment has no secret."""
    if sum(map(bool, (variable, path, ask))) > 1:
        raise click.UsageError(f"{what}: give only one source.")
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
        raise KeySetError(f"no password found in {where}")
    return text


P = ParamSpec("P")
R = TypeVar("R")

FINDINGS = 1
"""The exit status of a command that found problems."""


class _NotDone(click.ClickException):
    exit_code = 2  # the same as click's for wrong usage; 1 is for problems that a command found


def told(command: Callable[P, R]) -> Callable[P, R]:
    """End a command with one line instead of a traceback for this package's errors, and for files that cannot be used.

    No message holds a secret.
    """
    return told_as(_NotDone)(command)


def told_as(failure: type[click.ClickException]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Like `told`, with the exit status of a given exception; click's own `ClickException` has 1."""

    def guarding(command: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(command)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return command(*args, **kwargs)
            except TornadoCouchError as error:
                raise failure(str(error)) from None
            except OSError as error:
                if error.filename is None:
                    raise
                raise failure(f"{error.filename}: {error.strerror}") from None

        return guarded

    return guarding
