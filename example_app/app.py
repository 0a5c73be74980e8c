"""The application: three lines of routes and a health check."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tornado_couch import (
    AllowAny,
    ApiInfo,
    Application,
    Couch,
    Store,
    docs_routes,
    health_routes,
    install,
    metrics_routes,
    openapi_routes,
    resource,
)
from tornado_couch.service.configuration import Configuration

from .models import Fruit, Language
from .page import page_routes

__all__ = ["DATABASE", "make_app", "prepare", "service"]

DATABASE = "orchard"


def make_app(couch: Couch, *, cookie_secret: str | None = None) -> Application:
    """Create the application for a CouchDB server."""
    store = Store(couch[DATABASE])
    return Application(
        [
            *resource("/v1.0/fruits", Fruit, store),
            *resource("/v1.0/languages", Language, store, create_by_put=True),
            *page_routes(),
            *metrics_routes(couch[DATABASE], prefix="/v1.0"),
            *health_routes(couch[DATABASE], [Fruit, Language], prefix="/v1.0"),
            *openapi_routes(ApiInfo("Orchard", "1.0", "Fruits, and the languages of ISO 639-3.")),
            *docs_routes(title="Orchard", home="/"),
        ],
        cookie_secret=cookie_secret,
        policy=AllowAny(),
    )


@asynccontextmanager
async def service(settings: Configuration) -> AsyncIterator[Application]:
    """Yield the application that `tornado-couch serve example_app.app:service` serves."""
    secret = settings.cookie_secret
    async with settings.couch() as couch:
        yield make_app(couch, cookie_secret=secret.get_secret_value() if secret else None)


async def prepare(couch: Couch) -> list[str]:
    """Install the database and its design documents; return what was done."""
    return await install(couch, DATABASE, [Fruit, Language])
