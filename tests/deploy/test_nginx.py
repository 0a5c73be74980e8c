"""A service behind nginx, with TLS, a path that nginx strips, and nginx's own gzip: docs/proxies.md on real sockets."""

from __future__ import annotations

import asyncio
import gzip
import re
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.browser.conftest import CHROMIUM, HOW
from tests.servers import listening as listening_server
from tests.servers import stopped
from tests.web.conftest import Client, Reply, application
from tests.web.models import Fruit, Note, Place
from tornado_couch import Database, Store, docs_routes, install, openapi_routes

NGINX = shutil.which("nginx", path="/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin")

pytestmark = pytest.mark.skipif(not NGINX, reason="needs nginx: Debian has it (apt-get install nginx-light)")

CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} ssl;
        ssl_certificate {folder}/certificate.pem;
        ssl_certificate_key {folder}/key.pem;
        gzip on;
        gzip_min_length 1;
        gzip_proxied any;
        gzip_types application/json;
        location /orchard/ {{
            proxy_pass http://127.0.0.1:{service}/;
            proxy_http_version 1.1;
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Prefix /orchard;
            proxy_set_header Accept-Encoding "";
        }}
        location /plain/ {{
            gzip off;
            proxy_pass http://127.0.0.1:{service}/;
            proxy_set_header X-Forwarded-Prefix /plain;
        }}
    }}
}}
"""


def certificate(folder: Path) -> None:
    """Write a key and a certificate for 127.0.0.1 into a folder."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))


def configure(folder: Path, port: int, service: int) -> None:
    """Write what nginx needs into a folder.

    Args:
        folder: where to.
        port: where nginx listens.
        service: where the service listens.
    """
    certificate(folder)
    (folder / "nginx.conf").write_text(CONFIGURATION.format(folder=folder, port=port, service=service))


async def listening(port: int, process: asyncio.subprocess.Process, folder: Path) -> None:
    """Wait until somebody accepts connections at a port."""
    async with asyncio.timeout(20):
        while True:
            assert process.returncode is None, (folder / "error.log").read_text()
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


@pytest.fixture
async def ask(database: Database, tmp_path: Path) -> AsyncIterator[Client]:
    """A client that reaches the service by way of nginx."""
    await install(database.server, database.name, [Fruit, Place, Note])  # type: ignore[arg-type]
    app = application(Store(database), *openapi_routes(), *docs_routes(), trusted_proxies=["127.0.0.1"])
    server, service = listening_server(app, xheaders=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    configure(tmp_path, port, service)
    process = await asyncio.create_subprocess_exec(
        str(NGINX), "-c", str(tmp_path / "nginx.conf"), "-e", str(tmp_path / "error.log")
    )
    try:
        await listening(port, process, tmp_path)
        trusting = ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))
        trusting.check_hostname = False
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusting)) as session:
            yield Client(f"https://127.0.0.1:{port}", session)
    finally:
        process.terminate()
        await process.wait()
        await stopped(server)


async def created(ask: Client, prefix: str = "/orchard") -> Reply:
    """The answer to creating a fruit, large enough to be worth compressing."""
    reply = await ask("POST", f"{prefix}/fruits", {"color": "red", "tags": ["sweet"] * 100})
    assert reply.status == 201
    return reply


async def test_every_address_leads_back_through_nginx(ask: Client) -> None:
    """Location, `_href`, `next` and the API document's server; the docs page loads its files."""
    for _ in range(3):
        fruit = await created(ask)
        assert fruit.headers["Location"].startswith("/orchard/fruits/")
        assert (await ask("GET", fruit.headers["Location"])).status == 200
    page, found = (await ask("GET", "/orchard/fruits?limit=1")).json, []
    while True:
        found += [(await ask("GET", each["_href"])).status for each in page["items"]]
        if "next" not in page:
            break
        page = (await ask("GET", page["next"])).json
    assert found == [200, 200, 200]
    assert (await ask("GET", "/orchard/openapi.json")).json["servers"] == [{"url": "/orchard"}]
    docs = (await ask("GET", "/orchard/docs")).text.decode()
    for name in re.findall(r'(?:href|src|data-document)="([^"#]+)"', docs):
        assert (await ask("GET", f"/orchard/{name}")).status == 200


async def test_a_tag_that_nginx_weakened_reads_and_explains_itself(ask: Client) -> None:
    """304 for the weak form; 412 for If-Match with it, and what to do in the detail; without the W/ it works."""
    path = (await created(ask)).headers["Location"]
    found = await ask("GET", path, Accept_Encoding="gzip")
    tag = found.headers["ETag"]
    assert (found.headers["Content-Encoding"], tag[:2]) == ("gzip", "W/")
    assert (await ask("GET", path, Accept_Encoding="gzip", If_None_Match=tag)).status == 304
    refused = await ask("PUT", path, {"color": "blue"}, If_Match=tag)
    assert (refused.status, "without `W/`" in refused.json["detail"]) == (412, True)
    assert (await ask("PUT", path, {"color": "blue"}, If_Match=tag.removeprefix("W/"))).status == 200


async def test_without_its_own_gzip_nginx_leaves_the_tag_strong(ask: Client) -> None:
    """As docs/proxies.md says; the service compresses, and its tag goes with every write."""
    path = (await created(ask, "/plain")).headers["Location"]
    assert path.startswith("/plain/")
    found = await ask("GET", path, Accept_Encoding="gzip")
    assert (found.headers["Content-Encoding"], found.headers["ETag"][0]) == ("gzip", '"')
    assert (await ask("PUT", path, {"color": "blue"}, If_Match=found.headers["ETag"])).status == 200


async def test_compressed_bodies_go_through(ask: Client) -> None:
    """Of several gzip members, too."""
    body = gzip.compress(b'{"color": ') + gzip.compress(b'"red"}')
    coded = {"Content_Type": "application/json", "Content_Encoding": "gzip"}
    assert (await ask("POST", "/orchard/fruits", data=body, **coded)).status == 201


async def test_events_pass_at_once(ask: Client) -> None:
    """A stream of changes works in a browser behind nginx, which compresses and collects what it may."""
    if CHROMIUM is None:
        pytest.skip(HOW)
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = await (await browser.new_context(ignore_https_errors=True)).new_page()
        await page.goto(f"{ask.url}/orchard/fruits")
        await page.evaluate(
            """() => new Promise((resolve) => {
                window.told = [];
                const events = new EventSource("/orchard/fruits/_changes");
                for (const kind of ["change", "delete"])
                    events.addEventListener(kind, (event) => told.push([kind, JSON.parse(event.data)._href]));
                events.addEventListener("open", resolve);
            })"""
        )
        path = (await created(ask)).headers["Location"]
        await page.wait_for_function("told.length === 1")
        assert (await ask("DELETE", path)).status == 204
        await page.wait_for_function("told.length === 2")
        assert await page.evaluate("told") == [["change", path], ["delete", path]]
        await browser.close()
