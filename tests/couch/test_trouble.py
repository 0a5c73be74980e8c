"""What an operator is told when CouchDB cannot be used."""

from __future__ import annotations

import socket
import ssl

import pytest
import trustme

from tests.faults import FaultServer, answer
from tornado_couch import Couch
from tornado_couch.couch import Timeout
from tornado_couch.couch.trouble import advice
from tornado_couch.embedded import EmbeddedCouch
from tornado_couch.errors import CouchError, Forbidden, NotFound


async def told(url: str) -> str:
    """What is said of the first request to a server."""
    async with Couch(url, timeout=Timeout(connect=1)) as couch:
        with pytest.raises(CouchError) as caught:
            await couch.create_database("orchard")
        found = advice(caught.value, couch.url, address="--url", user="--username")
    assert found is not None
    assert "secret" not in found
    return found


async def test_an_address_without_a_server_is_named() -> None:
    """With the operating system's reason, for a port and for a host."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert await told(f"http://ann:secret@127.0.0.1:{port}") == (
        f"no CouchDB can be reached at http://127.0.0.1:{port} (Connection refused); start it, or correct --url"
    )
    found = await told("http://ann:secret@nowhere.invalid:5984")
    assert found.startswith("no CouchDB can be reached at http://nowhere.invalid:5984 (")
    assert found.endswith("); start it, or correct --url")
    assert "ssl:default" not in found


async def test_tls_where_there_is_none_is_suspected() -> None:
    """A server that waits for a request answers nothing to the beginning of TLS."""
    async with EmbeddedCouch() as url:
        found = await told(url.replace("http:", "https:"))
    assert "correct --url (if the server has no TLS, it begins with http:)" in found


async def test_a_certificate_that_is_not_trusted_is_said_to_be() -> None:
    """With the reason."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    async with FaultServer(answer(200, {}), tls=context) as server:
        assert "TLS certificate is not trusted: unable to get local issuer certificate" in await told(server.url)


async def test_a_missing_or_wrong_user_is_asked_for() -> None:
    """With CouchDB's reason."""
    async with EmbeddedCouch(admin="ann:secret") as url:
        bare = url.replace("ann:secret@", "")
        for wrong in (bare, url.replace("secret", "wrong"), url.replace(":secret", "")):
            found = await told(wrong)
            assert found.startswith(f"CouchDB at {bare} refused this (")
            assert found.endswith("); give the name and password of an admin with --username")


def test_a_locked_account_is_waited_for() -> None:
    """CouchDB locks it for five minutes after a few wrong passwords, and refuses the right one as well."""
    locked = Forbidden(403, "forbidden", "Account is temporarily locked due to multiple authentication failures")
    assert advice(locked, "http://x", address="--url", user="--username") == (
        "CouchDB at http://x refused this (Account is temporarily locked due to multiple authentication failures);"
        " wait five minutes, then correct --username"
    )


async def test_what_is_not_couchdb_is_said_to_be_so() -> None:
    """Such as a web server at the port."""
    async with FaultServer(answer(404, b"<h1>Not found</h1>", Content_Type="text/html")) as server:
        assert await told(server.url) == (
            f"what answers at {server.url} is not CouchDB (PUT /{{db}}: 404 is not an answer of CouchDB); correct --url"
        )


def test_other_errors_are_not_about_the_address() -> None:
    """They have a message of their own; what a function `validate_doc_update` throws can be any value."""
    texts = ("fruit /color: minLength", {"code": 7}, None)
    for error in (NotFound(404, "not_found", "missing"), *(Forbidden(403, "forbidden", text) for text in texts)):
        assert advice(error, "http://x", address="--url", user="--username") is None
