"""Tenants whose databases are gone after the test."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.web.callers import ByHeader
from tests.web.conftest import Client, Reply, Serve
from tests.web.models import Fruit, Note, Place
from tornado_couch import Application, Couch, Tenants, resource
from tornado_couch.web import Authenticated

MODELS = [Fruit, Note, Place]
Make = Callable[..., Tenants]


@pytest.fixture
async def prefix(couch: Couch) -> AsyncIterator[str]:
    """How the names of the test's databases begin."""
    found = f"t{uuid.uuid4().hex[:12]}-"
    yield found
    names = await couch.databases(prefix=found)
    await asyncio.gather(*map(couch.delete_database, names))


@pytest.fixture
async def make(couch: Couch, prefix: str) -> AsyncIterator[Make]:
    """Makes tenants, and closes them at the end."""
    made: list[Tenants] = []

    def start(*arguments: Any, way: str = "hex", **options: Any) -> Tenants:
        options = {"models": MODELS, "create": True, "database": f"{prefix}{{{way}}}", **options}
        made.append(Tenants(couch, *arguments, **options))
        return made[-1]

    yield start
    for each in made:
        await each.close()


def application(tenants: Any, *more: Any, path: str = "", **settings: Any) -> Application:
    """A service of the tenants; the field X-Name says who sends a request."""
    routes = [
        *resource(f"{path}/fruits", Fruit, tenants, **settings.pop("options", {})),
        *resource(f"{path}/notes", Note, tenants, create_by_put=True),
        *resource(f"{path}/places", Place, tenants, create_by_put=True, page_size=2, many=["patch"]),
        *more,
    ]
    settings.setdefault("policy", Authenticated(ByHeader()))
    return Application(routes, **settings)


class As:
    """Sends the requests of one user."""

    def __init__(self, ask: Client, name: str) -> None:
        self._ask = ask
        self._name = name

    async def __call__(self, method: str, path: str, body: Any = None, **headers: Any) -> Reply:
        return await self._ask(method, path, body, X_Name=self._name, **headers)


@pytest.fixture
async def users(make: Make, serve: Serve) -> tuple[As, As]:
    """Two users of a service in which each user has a database."""
    ask = await serve(application(make()))
    return As(ask, "alice"), As(ask, "bob")
