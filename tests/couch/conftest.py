"""A client of a real server: the one that COUCHDB_URL names, else the embedded one."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator

import pytest

from tornado_couch.couch import Couch, Database


@pytest.fixture
def server_url(request: pytest.FixtureRequest) -> str:
    """The URL of a CouchDB, with an administrator's credentials where it needs them."""
    return os.environ.get("COUCHDB_URL") or str(request.getfixturevalue("couch_url"))


@pytest.fixture
async def couch(server_url: str) -> AsyncIterator[Couch]:
    """A client."""
    async with Couch(server_url) as client:
        yield client


@pytest.fixture
async def database(couch: Couch) -> AsyncIterator[Database]:
    """A database of its own for each test."""
    name = f"test-{uuid.uuid4().hex}"
    await couch.create_database(name)
    yield couch[name]
    await couch.delete_database(name)
