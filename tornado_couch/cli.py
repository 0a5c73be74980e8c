"""`tornado-couch …`: the command line."""

from __future__ import annotations

import click

from .embedded.command import couchdb

__all__ = ["main"]


@click.group()
@click.version_option(package_name="tornado-couch")
def main() -> None:
    """REST over CouchDB for Tornado."""


main.add_command(couchdb)
