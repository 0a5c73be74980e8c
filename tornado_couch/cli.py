"""`tornado-couch …`: the command line."""

from __future__ import annotations

import click

__all__ = ["main"]


@click.group()
@click.version_option(package_name="tornado-couch")
def main() -> None:
    """REST over CouchDB for Tornado."""
