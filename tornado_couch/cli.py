"""`tornado-couch …`: the command line."""

from __future__ import annotations

import click

from .embedded.command import couchdb
from .ops.keys_command import keys
from .ops.protection_commands import audit, rotate

__all__ = ["main"]


@click.group()
@click.version_option(package_name="tornado-couch")
def main() -> None:
    """REST over CouchDB for Tornado."""


main.add_command(audit)
main.add_command(couchdb)
main.add_command(keys)
main.add_command(rotate)
