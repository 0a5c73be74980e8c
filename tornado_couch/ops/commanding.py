"""What the commands have in common: how they fail, and how they reach a database."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

import click

from ..couch import Couch, Database
from ..errors import CouchError, SecurityError

__all__ = ["FINDINGS", "database_at", "told"]

P = ParamSpec("P")
R = TypeVar("R")

FINDINGS = 1
"""The exit status of a command that found what should not be."""

_NOT_DONE = 2  # as click's own for wrong usage: the command could not do its work


class _Failure(click.ClickException):
    exit_code = _NOT_DONE


def told(command: Callable[P, R]) -> Callable[P, R]:
    """End a command with one line, not a traceback, at errors of ours; none holds a secret."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (SecurityError, CouchError) as error:
            raise _Failure(str(error)) from None

    return guarded


@asynccontextmanager
async def database_at(url: str) -> AsyncIterator[Database]:
    """The database that a URL names, such as `http://127.0.0.1:5984/orchard`.

    Raises:
        click.UsageError: the URL names none.
    """
    server, _, name = url.rstrip("/").rpartition("/")
    try:
        async with Couch(server) as couch:
            yield couch[name]
    except ValueError as error:
        raise click.UsageError(f"DATABASE_URL is none of a database: {error}") from None
