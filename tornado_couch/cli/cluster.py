"""`tornado-couch cluster` joins CouchDB nodes into one cluster; `tornado-couch health` says whether a server is fit."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any

import click

from .. import _json
from ..couch import Couch, names
from ..errors import (
    AlreadyExists,
    DocumentNotFound,
    Forbidden,
    InvalidDocument,
    NotFound,
    SecurityError,
    TornadoCouchError,
    Unauthorized,
)
from ..service.references import load_application
from ..service.worker import application_of
from ..web import Resource
from ..web.openapi.document import routes
from .openapi import arguments_of, no_application
from .options import connection_of, server_options, told
from .report import Advance, progress

__all__ = ["cluster", "health", "set_up_cluster"]

_SYSTEM_DATABASES = ("_users", "_replicator")
_PAUSE_SECONDS = 0.2


class _NodesMissing(TornadoCouchError):
    """Some nodes did not join in time."""


def _silent(_count: int, _pending: int | None) -> None:
    """Ignore the progress."""


async def set_up_cluster(
    couch: Couch, nodes: Sequence[str], *, patience: float = 60.0, report: Advance = _silent
) -> list[str]:
    """Add nodes to a server's cluster and create the system databases; this can be repeated at any time.

    Args:
        couch: a client of one of the nodes, with an admin's credentials.
        nodes: the names of the other nodes, such as "couchdb@couchdb2.example".
        patience: seconds to wait for them.
        report: called after each check with how many more nodes have connected and how many are missing.

    Returns:
        What was done, one sentence for each step.

    Raises:
        TornadoCouchError: a node did not join in time.
        ValueError: a node's name is not valid; nothing was done.
    """
    for name in nodes:
        names.node(name)  # before anything is done
    known = set((await couch.membership())[1])
    done = [f"added node {name}" for name in nodes if name not in known and await couch.add_node(name)]
    await _all_connected(couch, patience, report)
    for name in _SYSTEM_DATABASES:
        try:
            await couch.create_database(name)
        except AlreadyExists:
            continue
        done.append(f"created database {name}")
    return done


async def _all_connected(couch: Couch, patience: float, report: Advance) -> None:
    # Before that the system databases would have no copies on the nodes that are still missing.
    ends, there = asyncio.get_running_loop().time() + patience, 0
    while True:
        connected, members = await couch.membership()
        missing = sorted(set(members) - set(connected))
        now = len(members) - len(missing)
        report(now - there, len(missing))
        there = now
        if not missing:
            return
        if asyncio.get_running_loop().time() > ends:
            raise _NodesMissing(
                f"{', '.join(missing)} did not connect. Check that they run under these names with the same Erlang"
                " cookie, and that their hosts can reach each other on ports 4369 and 9100."
            )
        await asyncio.sleep(_PAUSE_SECONDS)


@click.command()
@server_options
@click.argument("nodes", nargs=-1, metavar="[NAME@HOST]...")
@click.option("--patience", default=60.0, show_default=True, help="How many seconds to wait for the nodes.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@told
def cluster(url: str, nodes: tuple[str, ...], patience: float, as_json: bool, **options: Any) -> None:
    """Join CouchDB nodes into a cluster.

    These are the node at --url and those that are named. The system databases are created as well.

    NAME@HOST is a node's own name, such as couchdb@couchdb2.example. Every node must run with the same Erlang
    cookie and the same admin. It is safe to run this command again.

    The exit status is 0 if the cluster is complete, and 2 if a node did not join or the command failed.
    """
    connection = connection_of(options)

    async def run() -> list[str]:
        async with connection.server(url) as couch:
            with progress("nodes") as advance:
                return await set_up_cluster(couch, nodes, patience=patience, report=advance)

    try:
        done = asyncio.run(run())
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    click.echo(_json.dumps({"done": done}).decode() if as_json else "\n".join(done) or "nothing to do")


@click.command()
@server_options
@click.option("--app", metavar="MODULE:APP", help="An application, as for `serve`, whose keys are looked at.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@told
def health(url: str, app: str | None, as_json: bool, **options: Any) -> None:
    """Check that a server is CouchDB, and ready.

    It also checks that no proxy on the way changes paths. Of a cluster it says what lets writes of one document
    collide that need not. With --app it lists the documents whose keys are names below a resource of the application,
    such as `_bulk` or an action, with the addresses that they have in spite of that.

    Nothing is written. The exit status is 0 if all is well, and 2 otherwise.
    """
    connection = connection_of(options)

    async def run() -> dict[str, Any]:
        async with connection.server(url) as couch:
            await couch.check()
            version = (await couch.info())["version"]
            found = {"up": await couch.up(), "version": version, "advice": await _advice(couch, version)}
            return {**found, "shadowed": await _shadowed(load_application(app), couch)} if app else found

    try:
        found = asyncio.run(run())
    except TypeError as error:
        if app is None:
            raise
        raise no_application(app, error) from None
    if not found["up"]:
        raise _NodesMissing("the server is in maintenance mode, or its node is not ready")
    shadowed = [f"{each['at']} is the address of the document {each['key']!r}" for each in found.get("shadowed", ())]
    lines = [f"CouchDB {found['version']} is ready", *found["advice"], *shadowed]
    click.echo(_json.dumps(found).decode() if as_json else "\n".join(lines))


async def _shadowed(target: Any, couch: Couch) -> list[dict[str, str]]:
    """The documents whose keys are names below their resources, from before the names were taken."""
    found: dict[str, str] = {}
    async with application_of(target, *arguments_of(target, couch)) as application:
        mounted = {id(each): each for route in routes(application) if (each := route.target.get("resource"))}
        for resource in mounted.values():
            if callable(resource.store):  # a database for each tenant
                continue
            for name in sorted(resource.taken):
                if await _exists(resource, name):
                    found[resource.href(name)] = name
    return [{"at": address, "key": key} for address, key in found.items()]


async def _exists(resource: Resource[Any], name: str) -> bool:
    if name.startswith("_") and (resource.info.key is None or resource.info.key.generated):
        return False  # CouchDB has no such ids
    key = resource.info.parse_key(name)
    try:
        if key is not None:
            await resource.store.get(resource.model, key)
    except DocumentNotFound:
        return False
    except (InvalidDocument, SecurityError):
        return True
    except NotFound as error:
        where = f"{resource.path}: its database {resource.store.database.name!r}"
        raise TornadoCouchError(f"{where} does not exist, or nothing is installed in it ({error.reason})") from None
    return key is not None


_ASKS_ONE_COPY_FIRST = (3, 5, 2)
_UPGRADE = (
    "CouchDB 3.5.2 and later ask one copy of a document first ([fabric] serialize_worker_startup), so that writes"
    " through several nodes seldom collide; upgrade, or connect with Couch(..., writes='by-document')"
)


async def _advice(couch: Couch, version: str) -> list[str]:
    """What would let fewer writes of one document collide; nothing for a server that is no cluster."""
    try:
        members = (await couch.membership())[1]
    except (Unauthorized, Forbidden, NotFound):
        return []
    if len(members) < 2:
        return []
    numbers = tuple(int(each) for each in re.findall(r"\d+", version)[:3])
    if numbers < _ASKS_ONE_COPY_FIRST:
        return [_UPGRADE]
    if await couch.setting("fabric", "serialize_worker_startup") == "false":
        return ["remove [fabric] serialize_worker_startup = false: it lets writes through several nodes collide"]
    return []
