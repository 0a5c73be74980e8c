"""Headless Chromium, and the example served over a database of its own."""

from __future__ import annotations

import os
import re
import shutil
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from example_app import app
from tests.servers import http_server, stopped
from tornado_couch import Couch, Database, Store

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"

HOW = "needs Chromium: Debian has it (apt-get install chromium), or say where it is in the variable CHROMIUM"

LANGUAGES = [
    {"alpha_3": f"{first}{second}a", "name": f"Language {first}{second}", "scope": scope, "language_type": kind}
    for first, scope in zip("abcdef", "IIMSIM", strict=True)
    for second, kind in zip("abcdefghijklmnopqrstuvwxyz", "LLLLECAHLLLLECAHLLLLECAHLL", strict=True)
]


@pytest_asyncio.fixture(loop_scope="session")
async def couch(server_url: str) -> AsyncIterator[Couch]:
    """A client, on the event loop of the browser."""
    async with Couch(server_url) as client:
        yield client


@pytest_asyncio.fixture(loop_scope="session")
async def database(couch: Couch) -> AsyncIterator[Database]:
    """A database of its own for each test."""
    name = f"test-{uuid.uuid4().hex}"
    await couch.create_database(name)
    yield couch[name]
    await couch.delete_database(name)


@pytest_asyncio.fixture(loop_scope="session")
async def url(couch: Couch, database: Database, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """The example's service, with 156 languages."""
    monkeypatch.setattr(app, "DATABASE", database.name)
    await app.prepare(couch)
    store = Store(database)
    await store.create_many(app.Language, [app.Language(**each) for each in LANGUAGES])
    server = http_server(app.make_app(couch))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        server.add_socket(listener)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        await stopped(server)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Any]:
    """A browser, in which each test has contexts of its own: to start one takes seconds."""
    if CHROMIUM is None:
        pytest.skip(HOW)
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        # Containers have neither the name spaces of the sandbox nor much shared memory.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        launched = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield launched
        await launched.close()


MARKS = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]
"""What each test with a browser is marked with."""

Open = Callable[..., Awaitable[Any]]


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Any, url: str) -> AsyncIterator[Open]:
    """Opens the page in a context of its own; whatever a console complains of fails the test."""
    complaints: list[str] = []
    contexts: list[Any] = []

    def heard(message: Any) -> None:
        # The browser itself notes every 4xx and every outage that a script met; what the page makes of it is tested.
        # Swagger UI warns of addresses with underscores, which is where it has to put them in operation ids.
        expected = re.search(
            r"the server responded with a status of 4|net::ERR_INTERNET_DISCONNECTED|escaping deep link", message.text
        )
        if message.type in ("error", "warning") and not expected:
            complaints.append(message.text)

    async def opened(path: str = "/", *, before: Any = None, ready: str = "body[data-ready]", **options: Any) -> Any:
        context = await browser.new_context(**options)
        contexts.append(context)
        page = await context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", heard)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if before:
            await before(page)
        await page.goto(url + path)
        await page.wait_for_selector(ready)
        return page

    yield opened
    for each in contexts:
        await each.close()
    assert complaints == []


async def screenshot(page: Any, name: str) -> None:
    """Keep a picture of the page as it is."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=SCREENSHOTS / f"{name}.png")
