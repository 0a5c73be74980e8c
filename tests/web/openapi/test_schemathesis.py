"""Schemathesis on a service with all that a resource can have: actions, changes of many, all kinds of filters."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.web.openapi import sink
from tests.web.openapi.running import Service, schemathesis_report


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_schemathesis_finds_no_failure(server_url: str, tmp_path: Path) -> None:
    """Every answer is described, also where a client chooses a key that is a name below the collection."""
    name = f"test-{uuid.uuid4().hex}"
    with Service(
        server_url, name, lambda couch: sink.prepare(couch, name), lambda couch: sink.make_app(couch, name)
    ) as service:
        schemathesis_report(service, tmp_path, 1)
