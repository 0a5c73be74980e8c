"""Files in and out of the store: what is attached is read back, in one write with the document, and stays."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.store.attachments.models import PICTURE, TEXT, Case, Diary, Letter, Order, Passport, loaded
from tornado_couch import Attachment, Database, Retry, Store, install
from tornado_couch.models import representation
from tornado_couch.security import KeyRing

MODELS: list[type[Any]] = [Order, Letter, Diary, Case]
RING = KeyRing.create()


@pytest.fixture(params=["plain", "signed"])
async def store(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Store]:
    await install(database.server, database.name, [*MODELS, Passport])  # type: ignore[arg-type]
    signer = RING if request.param == "signed" else None
    store = Store(database, crypter=RING, signer=signer, retry=Retry(base=0.001))
    yield store
    await store.close()


@pytest.mark.parametrize("cls", MODELS)
async def test_what_is_attached_is_read_back(store: Store, cls: type[Any]) -> None:
    """Single files and many, of types that CouchDB compresses and of others; the model shows them at once."""
    model = await store.create(cls())
    model = await store.attach(model, "invoice", TEXT, content_type="text/plain")
    model = await store.attach(model, "photos/front side.png", PICTURE, content_type="image/png")
    read = await store.get(cls, model._key)
    digest = "sha256-" + base64.b64encode(hashlib.sha256(TEXT).digest()).decode()
    assert read.invoice == model.invoice == Attachment("text/plain", len(TEXT), digest)
    assert list(read.photos) == ["front side.png"]
    assert await loaded(store, read, "invoice") == TEXT
    assert await loaded(store, read, "photos/front side.png") == PICTURE
    assert representation(read)["invoice"] == {"content_type": "text/plain", "length": len(TEXT), "digest": digest}
