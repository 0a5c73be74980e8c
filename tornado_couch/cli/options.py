"""Options that commands share: the server's address, the credentials, and how a command fails.

    @click.command()
    @server_options
    def command(host: str, **options: Any) -> None:
        connection = connection_of(options)
        ...
        async with connection.server(host) as couch: ...

A password comes from the environment, a private file or a prompt. It is never an argument, since every user of the
machine can read the arguments of a running process.
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
            click.UsageError: the URL does not name a database; and as for `server`.
        """
        server, _, name = url.rstrip("/").rpartition("/")
        async with self.server(server) as couch:
            try:
                found = couch[name]
            except ValueError as error:
                raise click.UsageError(f"DATABASE_URL is not the URL of a database: {error}") from None
            yield found


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
    """Add `--host` and `connection_options`."""
    host = click.option(
        "--host",
        "--url",
        "host",
        envvar="TORNADO_COUCH_URL",
        show_envvar=True,
        default="http://127.0.0.1:5984",
        show_default=True,
        help="The URL of CouchDB.",
    )
    return host(connection_options(command))


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
    """End a command with one line instead of a traceback for this package's errors; no message holds a secret."""
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

        return guarded

    return guarding


def database_at(url: str, connection: Connection | None = None) -> AbstractAsyncContextManager[Database]:
    """The database that a URL names, such as `http://127.0.0.1:5984/orchard`.

    Args:
        url: the URL, with or without a user and password.
        connection: the credentials, and the certificates to trust.

    Raises:
        click.UsageError: the URL does not name a database.
    """
    return (connection or Connection()).database(url)
