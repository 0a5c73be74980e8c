"""What the commands have in common: how they fail, and how they reach a database."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import ParamSpec, TypeVar

import click

from ..couch import Database
from ..errors import TornadoCouchError
from .connecting import Connection

__all__ = ["FINDINGS", "database_at", "told", "told_as"]

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
