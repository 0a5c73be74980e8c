"""A service whose collections the tests follow."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated

import pytest

from tests.web.callers import ByHeader
from tests.web.live.service import Service, serving
from tests.web.models import Fruit, Place, Stand
from tornado_couch import AllowAny, Database, Indexed, Model, Scope, Store, install, resource
from tornado_couch.web import Members, Owner


class Kept(Model, type="kept_v1.0", key="name", unique=True, history=True):
    name: str
    size: int = 0


class Marked(Model, type="marked_v1.0", key="name", unique=True, soft_delete=True):
    name: str
    size: int = 0


class Task(Model, type="task_v1.0", key="name", unique=True):
    name: str
    team: Annotated[str, Indexed(), Scope()]
    size: Annotated[int, Indexed()] = 0


@pytest.fixture
async def store(database: Database) -> AsyncIterator[Store]:
    """The store of all collections."""
    await install(database.server, database.name, [Fruit, Place, Stand, Kept, Marked, Task])
    made = Store(database)
    yield made
    await made.close()


@pytest.fixture
def teams() -> dict[str, set[str]]:
    """The teams of each user; a test changes them."""
    return {"alice": {"red"}, "bob": {"red", "green"}}


@pytest.fixture
async def service(store: Store, teams: dict[str, set[str]]) -> AsyncIterator[Service]:
    """Collections that everybody sees, stands that belong to their owners, and tasks that belong to teams."""
    in_teams = Members("team", ByHeader(), groups=lambda principal: teams.get(principal.name, ()), admin_role="admin")
    routes = [
        *resource("/fruits", Fruit, store),
        *resource("/places", Place, store),
        *resource("/kept", Kept, store),
        *resource("/marked", Marked, store),
        *resource("/stands", Stand, store, policy=Owner("owner", ByHeader(), admin_role="admin")),
        *resource("/tasks", Task, store, policy=in_teams),
    ]
    async with serving(routes, policy=AllowAny()) as running:
        yield running
