"""`tornado-couch migrate`."""

from __future__ import annotations

from typing import Any

import click

from ..store import Store
from .commanding import database_at, told
from .connecting import connection_of, connection_options
from .key_options import rotation_key_options, store_keys
from .loading import load_models
from .migrate import Migration
from .progress import progress
from .tally import Tally, run_tallied

__all__ = ["migrate"]


@click.command()
@click.argument("database_url", envvar="TORNADO_COUCH_DATABASE_URL")
@connection_options
@click.option(
    "--models", required=True, metavar="MODULE[:MODELS]", help="The models whose documents are to be migrated."
)
@rotation_key_options
@click.option("--dry-run", is_flag=True, help="Write nothing; say how many documents would be migrated.")
@click.option("--since", default="0", show_default=True, help="Where to begin: what a run printed.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@told
def migrate(database_url: str, models: str, dry_run: bool, since: str, as_json: bool, **options: Any) -> None:
    """Write documents of older versions in their model's own version; readers and writers may go on meanwhile.

    DATABASE_URL is such as http://127.0.0.1:5984/orchard; where none is given, TORNADO_COUCH_DATABASE_URL has it.

    With --keys documents are verified and signed, without it the database is one without signatures. Values are
    encrypted with --crypter, or with --keys where that is not given.

    What cannot be migrated is reported and left as it is. The exit status is 0 where all is well, 1 where something
    could not be migrated, 2 where the migration could not be done. An interrupted run tells where to go on.
    """
    connection = connection_of(options)
    keys = store_keys(options)
    known, tally = load_models(models), Tally(since)

    async def run() -> None:
        async with database_at(database_url, connection) as database:
            store = Store(database, **keys)
            migration = Migration(store, known, dry_run=dry_run)
            with progress() as advance:
                async for page in migration.run(since=since):
                    counts = {"to migrate" if dry_run else "migrated": page.migrated, "current": page.current}
                    tally.add(page.since, page.findings, **counts, **({"kept": page.kept} if page.kept else {}))
                    advance(page.migrated + page.current + page.kept, page.pending)

    run_tallied(run, tally, as_json)
