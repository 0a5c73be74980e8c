"""`tornado-couch install`: creates a service's database, accounts, design documents and seed documents."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from .. import _json
from ..couch import Couch, Database
from ..installation.access import ApplicationUser
from ..installation.installer import Installer
from ..installation.plan import Plan
from ..models import Model
from ..security import Scheme
from ..service.references import load_models
from .each import Work, chosen_of, databases_options, run_on_each
from .options import connection_of, rotation_key_options, secret_if_given, store_keys, told_as
from .report import Advance, Tally, progress

__all__ = ["install"]

F = TypeVar("F", bound=Callable[..., Any])

_APP_PASSWORD = "TORNADO_COUCH_APP_PASSWORD"  # noqa: S105 - the name of a variable
_FOLDER = click.Path(path_type=Path)
_LEVELS = click.Choice(["debug", "info", "warning", "error", "critical"], case_sensitive=False)


def _creation_options(command: F) -> F:
    """Add the options about how the database is created."""
    for option in (
        click.option("--partitioned", is_flag=True, help="Create it partitioned."),
        click.option("--n", type=click.IntRange(min=1), help="Create it with this many copies of each shard."),
        click.option("--q", type=click.IntRange(min=1), help="Create it with this many shards."),
        click.option("--yes", is_flag=True, help="Delete without asking first."),
        click.option("--delete", is_flag=True, help="Delete the database first, with everything in it."),
        click.option("--create/--no-create", default=True, show_default=True, help="Create what is missing."),
    ):
        command = option(command)
    return command


def _access_options(command: F) -> F:
    """Add the options about who may use the database."""
    for option in (
        click.option("--ask-app-password", is_flag=True, help="Prompt for the service user's password."),
        click.option("--app-password-file", type=_FOLDER, help="The file (mode 0600) with this password."),
        click.option(
            "--app-password-env",
            metavar="NAME",
            help=f"The environment variable with the service user's password; {_APP_PASSWORD} by default.",
        ),
        click.option("--app-role", default="", help="The service user's role; the database's name by default."),
        click.option("--app-user", help="The service's own user: created if missing, and made a member."),
        *(
            click.option(f"--{part}-{kind}", multiple=True, metavar="NAME", help=f"Set the {kind}s of the {part}s.")
            for part in ("member", "admin")
            for kind in ("role", "name")
        ),
    ):
        command = option(command)
    return command


def _document_options(command: F) -> F:
    """Add the options about the documents to install."""
    for option in (
        click.option("--classic", is_flag=True, help="Sign seed documents as tor-async-couchdb did."),
        click.option("--prune", is_flag=True, help="Remove design documents that are no longer wanted."),
        click.option(
            "--validate/--no-validate",
            default=None,
            help="Have CouchDB validate each write, or not.  [default: leave unchanged]",
        ),
        click.option("--create-seed/--no-create-seed", default=True, show_default=True, help="Store seed documents."),
        click.option(
            "--create-design/--no-create-design", default=True, show_default=True, help="Write design documents."
        ),
        click.option("--seeds", type=_FOLDER, help="The folder of seed documents."),
        click.option("--design-docs", type=_FOLDER, help="The folder of further design documents."),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("models", nargs=-1, metavar="[MODULE[:MODELS]]...")
@databases_options
@_creation_options
@_access_options
@_document_options
@rotation_key_options
@click.option("--dry-run", is_flag=True, help="Only print what would be done.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option(
    "--log",
    type=_LEVELS,
    default="error",
    show_default=True,
    help="The level from which messages are logged to standard error.",
)
@told_as(click.ClickException)
def install(models: tuple[str, ...], url: str, dry_run: bool, as_json: bool, log: str, **options: Any) -> None:
    """Set up what a service needs in CouchDB.

    That is its database, the database's members, and design and seed documents.

    MODULE[:MODELS] names the models whose design documents to install: all of a module, one, or a list. With --each,
    every database that exists and whose name matches is set up so.

    It is safe to repeat, and to run several times at once: whatever exists already stays. --keys signs the seed
    documents, and --crypter encrypts their values. The exit status is 0 on success, 1 on failure, 2 for wrong usage.
    """
    chosen = chosen_of(options)
    if chosen.pattern and options["delete"]:
        raise click.UsageError("--delete and --each cannot be used together: delete one database at a time.")
    connection, delete_unasked = connection_of(options), options.pop("yes")
    known = list(dict.fromkeys(each for reference in models for each in load_models(reference)))
    arguments = _arguments(options)

    if chosen.pattern:
        with _logging(log):
            run_on_each(connection, url, chosen, _work(known, arguments, dry_run), as_json=as_json, failed=1)
        return

    async def run() -> tuple[Plan, list[str] | None]:
        async with connection.server(url) as couch:
            with progress("changes indexed") as advance:
                installer = Installer(couch, database=chosen.database, models=known, report=advance, **arguments)
                plan = await installer.plan()
                if dry_run:
                    return plan, None
                if not delete_unasked:
                    await asyncio.to_thread(_ask, plan)
                return plan, await installer.apply(plan)

    with _logging(log):
        _show(*asyncio.run(run()), as_json=as_json)


def _work(models: list[type[Model]], arguments: dict[str, Any], dry_run: bool) -> Work:
    """What is done on each of many databases."""

    async def work(opened: Database, tally: Tally, _: Advance) -> None:
        options = {**arguments, "create": False}  # one that was deleted meanwhile must not come back
        installer = Installer(cast("Couch", opened.server), database=opened.name, models=models, **options)
        plan = await installer.plan()
        notes = [f"warning: {each}" for each in plan.warnings]
        if dry_run:
            steps = [f"{each.action} {each.kind} {each.name}" for each in plan.steps]
        else:
            steps = await installer.apply(plan)
        tally.add("0", [], [*notes, *steps], **{"to do" if dry_run else "steps": len(steps)})

    return work


@contextmanager
def _logging(level: str) -> Iterator[None]:
    """Log this package's messages to standard error for the duration of a block."""
    logger, handler = logging.getLogger("tornado_couch"), logging.StreamHandler()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _arguments(options: dict[str, Any]) -> dict[str, Any]:
    """The installer's arguments, taken from the options."""
    kept = (
        "q",
        "n",
        "partitioned",
        "create",
        "delete",
        "create_design",
        "validate",
        "prune",
        "design_docs",
    )
    return {
        **{name: options[name] for name in kept},
        "seeds": options["seeds"] if options["create_seed"] else None,
        "security": _security(options),
        "user": _user(options),
        **store_keys(options),
        **({"scheme": Scheme.CLASSIC} if options["classic"] else {}),
    }


def _security(options: dict[str, Any]) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    for part in ("admin", "member"):
        lists = {f"{kind}s": list(options[f"{part}_{kind}"]) for kind in ("name", "role") if options[f"{part}_{kind}"]}
        if lists:
            found[f"{part}s"] = lists
    return found


def _user(options: dict[str, Any]) -> ApplicationUser | None:
    name, variable, path = options["app_user"], options["app_password_env"], options["app_password_file"]
    if name is None:
        return None
    ask = options["ask_app_password"]
    # A user that exists already needs no password.
    password = secret_if_given(f"Password of {name}", variable, path, ask=ask, default_variable=_APP_PASSWORD)
    return ApplicationUser(name, password, options["app_role"])


def _ask(plan: Plan) -> None:
    for step in plan.steps:
        if step.action == "delete":
            question = f"Delete the database {step.name} at {plan.server}, with {step.detail}?"
            click.confirm(question, abort=True, err=True)


def _show(plan: Plan, done: list[str] | None, *, as_json: bool) -> None:
    if as_json:
        click.echo(_json.dumps({**plan.as_json(), "done": done}).decode())
    elif done is None:
        click.echo(plan.text)
    else:
        for each in plan.warnings:
            click.echo(f"warning: {each}", err=True)
        for each in done or ["nothing to do"]:
            click.echo(each)
