"""TLS: certificates are verified unless the caller says otherwise."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from tests.faults import FaultServer, answer
from tornado_couch.couch import Couch
from tornado_couch.errors import Unavailable

pytestmark = pytest.mark.usefixtures("library")

UP = answer(200, {"status": "ok"})


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority that nobody knows."""
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    """A server's TLS with a certificate of that authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


async def test_an_unknown_certificate_is_an_outage_that_names_it(tls: ssl.SSLContext) -> None:
    """Verification is on by default; nothing is sent, and the message tells why."""
    async with FaultServer(UP, tls=tls) as server, Couch(server.url) as couch:
        with pytest.raises(Unavailable, match=r"certificate is not trusted: unable to get local issuer") as caught:
            await couch.up()
        assert caught.value.sent is False
        assert not server.requests


async def test_a_certificate_of_the_given_authority_is_trusted(
    authority: trustme.CA, tls: ssl.SSLContext, tmp_path: Path
) -> None:
    """`ca` names the file of those whom to trust."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with FaultServer(UP, tls=tls) as server, Couch(server.url, ca=tmp_path / "ca.pem") as couch:
        assert await couch.up()


async def test_a_certificate_for_another_host_is_an_outage(authority: trustme.CA, tmp_path: Path) -> None:
    """The name in the certificate is verified as well."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.example").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with FaultServer(UP, tls=context) as server, Couch(server.url, ca=tmp_path / "ca.pem") as couch:
        with pytest.raises(Unavailable, match="certificate is not trusted"):
            await couch.up()


async def test_verification_can_be_turned_off(tls: ssl.SSLContext) -> None:
    """`verify=False` trusts anyone."""
    async with FaultServer(UP, tls=tls) as server, Couch(server.url, verify=False) as couch:
        assert await couch.up()


async def test_a_server_without_tls_is_an_outage() -> None:
    """An https URL of a plain server fails before anything is sent."""
    async with FaultServer(UP) as server, Couch(server.url.replace("http:", "https:")) as couch:
        with pytest.raises(Unavailable) as caught:
            await couch.up()
        assert caught.value.sent is False


def test_a_missing_ca_file_is_told_at_once(tmp_path: Path) -> None:
    """The client is not made; a file that holds no certificate is told likewise."""
    with pytest.raises(FileNotFoundError):
        Couch("https://couch", ca=tmp_path / "none.pem")
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(ssl.SSLError):
        Couch("https://couch", ca=tmp_path / "empty.pem")
