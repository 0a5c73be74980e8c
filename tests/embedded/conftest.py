"""Embedded servers for the tests of this folder."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.embedded.client import Client
from tornado_couch.embedded.server import BackgroundCouch

ADMIN = "admin:password"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server of this session keeps its databases."""
    return tmp_path_factory.mktemp("couch") / "data"


@pytest.fixture(scope="session")
def server(folder: Path) -> Iterator[Client]:
    """A client of a server in files, as its admin."""
    with BackgroundCouch(folder, admin=ADMIN) as url:
        yield Client(url)


@pytest.fixture
def db(server: Client) -> Iterator[Client]:
    """A client of an empty database."""
    name = f"test-{uuid.uuid4().hex}"
    assert server.put(f"/{name}").status == 201
    yield server.within(name)
    server.delete(f"/{name}")
