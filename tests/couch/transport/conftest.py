"""The tests of this folder run with each library that can carry requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tornado_couch import Couch
from tornado_couch.couch import Transport
from tornado_couch.couch import client as client_module


@pytest.fixture(params=["httptools", "aiohttp"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What "auto" stands for in `Couch`."""
    wanted = str(request.param)
    monkeypatch.setattr(client_module, "find_spec", lambda _: wanted == "httptools" or None)
    return wanted


@pytest.fixture
def transport(library: str) -> Callable[..., Transport]:
    """Makes a transport by itself."""

    def make(url: str, **options: Any) -> Transport:
        return Couch(url, library=library, **options)._exchange.transport  # type: ignore[arg-type]

    return make
