"""`tornado-couch audit` and `tornado-couch rotate`."""

from __future__ import annotations

from typing import Any

import click

from ..security import Scheme
from ..store import Reprotection
from .audit import audit as audit_database
from .commanding import database_at, told
from .connecting import connection_of, connection_options
from .key_options import audit_keys, key_set_options, rotation_key_options, rotation_keys
from .loading import load_models
from .progress import progress
from .rotate import Rotation
from .tally import Tally, run_tallied

__all__ = ["audit", "rotate"]

_URL = click.argument("database_url", envvar="TORNADO_COUCH_DATABASE_URL")
_SINCE = click.option("--since", default="0", show_default=True, help="Where to begin: what a run printed.")
_JSON = click.option("--json", "as_json", is_flag=True, help="As JSON.")
_CLASSIC = click.option("--classic", is_flag=True, help="Also take the signatures of tor-async-couchdb.")


@click.command()
@_URL
@connection_options
@key_set_options
@_SINCE
@_CLASSIC
@_JSON
@told
def audit(database_url: str, since: str, classic: bool, as_json: bool, **options: Any) -> None:
    """Verify every document of a database, tombstones and conflicts included.

    DATABASE_URL is such as http://127.0.0.1:5984/orchard; where none is given, TORNADO_COUCH_DATABASE_URL has it.

    The exit status is 0 where all is well, 1 where something was found, 2 where the audit could not be done.
    """
    connection = connection_of(options)
    keys, accept = audit_keys(options), _schemes(classic)
    tally = Tally(since)

    async def run() -> None:
        async with database_at(database_url, connection) as database:
            with progress() as advance:
                async for page in audit_database(database, keys, accept=accept, since=since):
                    tally.add(page.since, page.findings, checked=page.checked)
                    advance(page.checked, page.pending)

    run_tallied(run, tally, as_json)


@click.command()
@_URL
@connection_options
@rotation_key_options
@click.option("--models", metavar="MODULE[:MODELS]", help="The models of what is there: for classes of your own.")
@click.option("--sign-only", is_flag=True, help="Leave encrypted values as they are.")
@click.option("--adopt", is_flag=True, help="Also sign what bears no signature, believing it: to begin with, only.")
@click.option(
    "--protect-plaintext",
    is_flag=True,
    help="Also hash and encrypt what is older than its property's class, believing it; needs --models.",
)
@_SINCE
@_CLASSIC
@_JSON
@told
def rotate(
    database_url: str, models: str | None, sign_only: bool, since: str, as_json: bool, classic: bool, **options: Any
) -> None:
    """Sign and encrypt anew what the current primary keys did not make; writers may go on meanwhile.

    DATABASE_URL is such as http://127.0.0.1:5984/orchard; where none is given, TORNADO_COUCH_DATABASE_URL has it.

    With --keys documents are signed, without it the database is one without signatures. Values are encrypted with
    --crypter, or with --keys where that is not given. Hashes stay as they are.

    What does not verify is reported and left as it is, and so are values that do not decrypt; the exit status is
    that of `audit`. Run it until it has nothing left to do, then demote and revoke the old key.
    """
    connection, adopt, plaintext = connection_of(options), options.pop("adopt"), options.pop("protect_plaintext")
    if plaintext and models is None:
        raise click.UsageError("--protect-plaintext needs --models: only they say what is to be protected.")
    found = rotation_keys(options)
    protect = None
    if not sign_only:
        known = load_models(models) if models else []
        protect = Reprotection(found.crypter, found.indexer, models=known, plaintext=plaintext)
    tally = Tally(since)

    async def run() -> None:
        async with database_at(database_url, connection) as database:
            rotation = Rotation(database, found.signer, accept=_schemes(classic), adopt=adopt, protect=protect)
            with progress() as advance:
                async for page in rotation.run(since=since):
                    tally.add(page.since, page.findings, renewed=page.renewed, current=page.current)
                    advance(page.renewed + page.current, page.pending)

    run_tallied(run, tally, as_json)


def _schemes(classic: bool) -> tuple[Scheme, ...]:
    return (Scheme.V2, Scheme.CLASSIC) if classic else (Scheme.V2,)
