"""A service whose documents have files, on a fresh database."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from tests.web.conftest import Client, Reply, Serve
from tornado_couch import (
    AllowAny,
    Application,
    Attachment,
    Attachments,
    Database,
    Indexed,
    Key,
    MaxBytes,
    MaxItems,
    MediaTypes,
    Model,
    ReadOnly,
    Store,
    assigned,
    install,
    resource,
)

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(100)
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(100)
PDF = b"%PDF-1.7\n" + b"1 0 obj\n" * 20


class Order(Model, type="order_v1.0", key="order_id"):
    order_id: Key = assigned()
    customer: Annotated[str, Indexed()] = ""
    owner: Annotated[str | None, ReadOnly(), Indexed()] = None
    invoice: Annotated[Attachment | None, MediaTypes("application/pdf"), MaxBytes(100_000)] = None
    photos: Annotated[Attachments, MediaTypes("image/*"), MaxBytes(50_000), MaxItems(3)] = assigned()
    anything: Annotated[Attachment | None, MaxBytes(80_000_000)] = None


class Contract(Model, type="contract_v1.0", key="name", unique=True):
    """A model that is never without its file."""

    name: str
    text: Annotated[Attachment, MediaTypes("application/pdf"), MaxBytes(100_000)] = assigned()
    pages: Annotated[Attachments, MediaTypes("image/png"), MaxItems(2), MaxBytes(50_000)] = assigned()


def application(store: Store, *more: Any, **settings: Any) -> Application:
    """The service; what is mounted at other paths has other options."""
    options = {name: settings.pop(name) for name in ("hooks", "files_origin") if name in settings}
    routes = [
        *resource("/orders", Order, store, **options),
        *resource("/guarded", Order, store, require_if_match=True),
        *resource("/contracts", Contract, store, create_by_put=True),
        *more,
    ]
    settings.setdefault("policy", AllowAny())
    return Application(routes, **settings)


@pytest.fixture
async def store(database: Database) -> Store:
    """A store of the models, installed."""
    await install(database.server, database.name, [Order, Contract])  # type: ignore[arg-type]
    return Store(database)


@pytest.fixture
async def ask(store: Store, serve: Serve) -> Client:
    """A client of the service."""
    return await serve(application(store))


@pytest.fixture
async def order(ask: Client) -> str:
    """The path of an order without files."""
    reply = await ask("POST", "/orders", {"customer": "Zoë"})
    assert reply.status == 201
    return str(reply.headers["Location"])


async def put(ask: Client, path: str, content: bytes, media_type: str = "image/png", **headers: str) -> Reply:
    """Store a file."""
    return await ask("PUT", path, data=content, Content_Type=media_type, **headers)
