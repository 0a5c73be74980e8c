"""The CouchDB that functional tests run against: the embedded one, and with COUCHDB_URL set that one as well."""

from __future__ import annotations

import os
import re
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import hypothesis
import pytest
from hypothesis.configuration import set_hypothesis_home_dir

from tests import oldest  # noqa: F401 - before any test
from tests.faults import FaultProxy
from tornado_couch import Couch, Database

# Compiled code is kept whatever the environment says, since hundreds of programs start: each would compile all of it.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# How long an example takes is not what is tested; on a busy machine one in thousands takes far longer. Of a hundred, as
# Hypothesis tries by default, the last sixty hardly show more, and they take minutes.
set_hypothesis_home_dir(Path(__file__).parent.parent / "build" / "cache" / "hypothesis")
hypothesis.settings.register_profile("timeless", deadline=None, max_examples=40)
hypothesis.settings.load_profile("timeless")

REAL_COUCHDB = "needs a CouchDB: COUCHDB_URL=http://USER:PASSWORD@127.0.0.1:5984 make test"
"""Why a test is skipped, and how to run it."""

SERVERS = ["embedded", *(["COUCHDB_URL"] if os.environ.get("COUCHDB_URL") else [])]


@pytest.fixture(scope="session", params=SERVERS)
def server_url(request: pytest.FixtureRequest) -> str:
    """The URL of a CouchDB, with an admin's credentials where it needs them."""
    if request.param == "COUCHDB_URL":
        return os.environ["COUCHDB_URL"]
    return str(request.getfixturevalue("embedded_couch_url"))


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


@pytest.fixture
async def proxy(server_url: str) -> AsyncIterator[FaultProxy]:
    """A proxy before CouchDB, which sees every request and commits the faults that a test adds."""
    async with FaultProxy(server_url) as running:
        yield running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a test whose name holds an object's address: each worker of pytest-xdist would collect another name."""
    if addressed := [item.nodeid for item in items if re.search(r" at 0x[0-9a-f]+", item.nodeid)]:
        raise pytest.UsageError(f"The name of {addressed[0]} holds an address; give its parameters `ids`.")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what is not even listed as skipped; for the rest, `-ra` gives the reasons."""
    if "COUCHDB_URL" not in os.environ:
        terminalreporter.write_line(
            f"Functional tests ran on the embedded server alone; on another one: {REAL_COUCHDB}"
        )
