"""Fixtures for tests that need a CouchDB: `couch_url` and `couch_database`.

pytest finds this plugin by itself once tornado_couch is installed. It imports the server only when a test asks for
it.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import NoReturn

import pytest

__all__ = ["couch_database", "couch_url", "embedded_couch_url"]


@pytest.fixture(scope="session")
def embedded_couch_url() -> Iterator[str]:
    """The URL of an embedded CouchDB in memory, on which everyone is admin; it is the same for all tests."""
    from tornado_couch.embedded.server import BackgroundCouch

    with BackgroundCouch() as url:
        yield url


@pytest.fixture(scope="session")
def couch_url(request: pytest.FixtureRequest) -> str:
    """The URL of a CouchDB: the one in COUCHDB_URL, or else an embedded one."""
    named = os.environ.get("COUCHDB_URL")
    return named.rstrip("/") if named else str(request.getfixturevalue("embedded_couch_url"))


@pytest.fixture
def couch_database(couch_url: str) -> Iterator[str]:
    """The name of a fresh, empty database at `couch_url`, which is deleted after the test."""
    name = f"test-{uuid.uuid4().hex}"
    url = f"{couch_url}/{name}"
    _ask("PUT", url, (201, 202))
    try:
        yield name
    finally:
        _ask("DELETE", url, (200, 202, 404))


def _ask(method: str, url: str, expected: tuple[int, ...]) -> None:
    """Send a request without a body, and end the test with one sentence if it fails."""
    from http.client import HTTPException

    try:
        status, body = _answer(method, url)
    except (OSError, ValueError, HTTPException) as error:
        _failed(f"no CouchDB can be reached ({error})")
    if status not in expected:
        _failed(f"CouchDB answered {method} of a test database with {status}: {body.decode(errors='replace').strip()}")


def _failed(what: str) -> NoReturn:
    named = "COUCHDB_URL" in os.environ
    pytest.fail(f"{what}; start it, or correct COUCHDB_URL" if named else what, pytrace=False)


def _answer(method: str, url: str) -> tuple[int, bytes]:
    """Send a request without a body; credentials may be in the URL."""
    import base64
    import http.client
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https"):
        raise ValueError("its URL must be of the form http://host:port or https://host:port")
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=30)
    headers = {}
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    try:
        connection.request(method, parts.path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
