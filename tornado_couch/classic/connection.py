"""The client behind the classic API, whose settings are module attributes that may change at any time."""

from __future__ import annotations

import asyncio
import atexit
from collections.abc import AsyncGenerator
from typing import NamedTuple
from weakref import WeakKeyDictionary

from ..couch import BasicAuth, Couch, Database

__all__ = ["Settings", "database_of"]


class Settings(NamedTuple):
    """The settings of the service's main module, with the names of tor-async-couchdb's module attributes.

    Attributes:
        database: the URL of the database.
        username: the user's name, or None.
        password: the user's password, or None.
        validate_cert: whether the server's certificate is checked.
    """

    database: str
    username: str | None
    password: str | None
    validate_cert: bool


class _Connection(NamedTuple):
    client: Couch
    # Suspended while the client is open: asyncio closes such generators before it closes the event loop.
    holder: AsyncGenerator[None, None]


# Nobody opens or closes the classic API, so its connections belong to the event loop.
_connections: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Settings, _Connection]] = WeakKeyDictionary()


async def database_of(settings: Settings) -> Database:
    """Return the database that the settings name, over connections that the event loop keeps.

    Raises:
        ValueError: the URL does not name a database, or has credentials in addition to `username` and `password`.
    """
    server, _, name = settings.database.rstrip("/").rpartition("/")
    place = settings._replace(database=server)
    loop = asyncio.get_running_loop()
    known = _connections.get(loop)
    if known is None:
        known = _connections[loop] = {}
        # A classic Tornado service ends with sys.exit in a signal handler, so nothing closes its loop.
        atexit.register(_close_left_over, loop, known)
    if place not in known:
        known[place] = await _connected(place)
    return known[place].client[name]


async def _connected(place: Settings) -> _Connection:
    given = place.username is not None or place.password is not None
    auth = BasicAuth(place.username or "", place.password or "") if given else None
    client = Couch(place.database, auth=auth, verify=place.validate_cert)
    holder = _held(client)
    await holder.__anext__()
    return _Connection(client, holder)


async def _held(client: Couch) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await client.close()


def _close_left_over(loop: asyncio.AbstractEventLoop, connections: dict[Settings, _Connection]) -> None:
    if not loop.is_closed() and not loop.is_running():
        for each in connections.values():
            loop.run_until_complete(each.client.close())
