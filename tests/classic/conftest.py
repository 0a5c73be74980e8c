"""A database with the sample's view, and the classic settings pointed at it."""

from __future__ import annotations

import pytest

from tests.web.conftest import Client, Reply
from tornado_couch import Database
from tornado_couch.classic import async_model_actions

__all__ = ["Client", "Reply"]

MAP = "function (doc) { if (/^fruit_v[0-9]+[.][0-9]+$/.test(doc.type)) { emit(doc.fruit_id, null); } }"


@pytest.fixture
async def orchard(database: Database, server_url: str, monkeypatch: pytest.MonkeyPatch) -> Database:
    """The database that the classic settings name; the view is there."""
    await database.put(
        {
            "_id": "_design/fruit_by_fruit_id",
            "language": "javascript",
            "views": {"fruit_by_fruit_id": {"map": MAP}},
        }
    )
    monkeypatch.setattr(async_model_actions, "database", f"{server_url}/{database.name}")
    return database
