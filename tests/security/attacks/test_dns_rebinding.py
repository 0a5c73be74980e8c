"""A web page whose name was given the address 127.0.0.1 does not reach the embedded server."""

from __future__ import annotations

import asyncio
import http.client
from urllib.parse import urlsplit

import pytest

from tornado_couch.embedded import EmbeddedCouch
from tornado_couch.embedded.exchange import Front


def ask(url: str, host: str | None) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=5)
    connection.putrequest("GET", "/_all_dbs", skip_host=True)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


FOREIGN = ["evil.example", "evil.example:5984", "127.0.0.1.evil.example", "localhost.evil.example",
           "", "127.0.0.1@evil", "evil@127.0.0.1", "[::1", "192.0.2.1", "a b", "localhost/x",
           "localhost:80:80"]  # fmt: skip
OWN = ["localhost", "LOCALHOST.", "localhost:5984", "127.0.0.1", "127.0.0.1:1", "127.9.9.9", "[::1]", "[::1]:5984"]


async def test_only_names_of_this_machine_are_answered() -> None:
    """Without an admin, every page that a developer opened could read and delete all databases."""
    async with EmbeddedCouch(hosts=["couch.test"]) as url:
        for host in FOREIGN:
            assert (host, await asyncio.to_thread(ask, url, host)) in ((host, 421), (host, 400))
        for host in [*OWN, "couch.test", "Couch.Test:5984"]:
            assert (host, await asyncio.to_thread(ask, url, host)) == (host, 200)


@pytest.mark.parametrize(("anywhere", "host", "known"), [
    (True, "192.0.2.1:5984", True), (False, "192.0.2.1:5984", False), (True, "[2001:db8::1]", True),
    (True, "evil.example", False), (False, None, True),
])  # fmt: skip
def test_addresses_in_numbers_are_for_servers_of_other_machines(anywhere: bool, host: str | None, known: bool) -> None:
    """A page cannot be at such an address unless this server is."""
    assert Front(lambda request: None, anywhere=anywhere).knows(host) is known  # type: ignore[arg-type, return-value]
