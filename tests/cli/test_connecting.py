"""How commands reach a server, and where they take passwords from."""

from __future__ import annotations

import json
import ssl
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import pytest
import trustme
from click.testing import CliRunner, Result

from tests.faults import FaultServer, answer
from tornado_couch import Couch
from tornado_couch.cli.options import Connection, ServerUnusable, connection_of, server_options
from tornado_couch.embedded import EmbeddedCouch
from tornado_couch.errors import NotFound
from tornado_couch.service.references import load


@click.command()
@server_options
def show(url: str, **options: Any) -> None:
    """Print what the options come to."""
    found = connection_of(options)
    assert not options
    click.echo(json.dumps([url, found.user, found.password, str(found.ca), found.verify]))


def run(*args: object, text: str = "", env: dict[str, str] | None = None) -> Result:
    clean = {"TORNADO_COUCH_USER": None, "TORNADO_COUCH_PASSWORD": None, "TORNADO_COUCH_URL": None}
    return CliRunner().invoke(show, [str(each) for each in args], input=text, env={**clean, **(env or {})})


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A private file with a password."""
    path = tmp_path / "password"
    path.touch(mode=0o600)
    path.write_text("from the file\n")
    return path


def test_nothing_said_is_nobody_on_this_machine() -> None:
    """CouchDB's own address and no credentials; certificates are verified."""
    assert json.loads(run().stdout) == ["http://127.0.0.1:5984", None, None, "None", True]


def test_a_password_comes_from_elsewhere_than_the_arguments(secret: Path) -> None:
    """The environment, a variable of another name, a private file or a prompt."""
    given = {"TORNADO_COUCH_USER": "ann", "TORNADO_COUCH_PASSWORD": "default", "OTHER": "other"}
    assert json.loads(run(env=given).stdout)[1:3] == ["ann", "default"]
    assert json.loads(run("--password-env", "OTHER", env=given).stdout)[1:3] == ["ann", "other"]
    assert json.loads(run("--password-file", secret, env=given).stdout)[1:3] == ["ann", "from the file"]
    assert json.loads(run("--ask-password", text="typed\n", env=given).stdout)[1:3] == ["ann", "typed"]
    assert json.loads(run("--username", "bob", text="typed\n").stdout)[1:3] == ["bob", "typed"]


def test_what_contradicts_itself_is_wrong_usage(secret: Path) -> None:
    """A password without a user, from two places, or a certificate that would not be looked at."""
    for wrong in (
        ["--ask-password"],
        ["--username", "ann", "--ask-password", "--password-file", secret],
        ["--ca", secret, "--insecure"],
    ):
        assert run(*wrong).exit_code == 2


def test_a_file_that_others_can_read_is_refused(secret: Path) -> None:
    """As key files are."""
    secret.chmod(0o644)
    assert "chmod 600" in str(run("--username", "ann", "--password-file", secret).exception)


async def test_credentials_reach_the_server(couch: Couch, server_url: str) -> None:
    """A user and password beside the URL do as those in it."""
    parts = urlsplit(server_url)
    plain = f"{parts.scheme}://{parts.hostname}:{parts.port}"
    user = Connection(parts.username, parts.password)
    async with user.server(plain) as client:
        assert (await client.session())["userCtx"] == (await couch.session())["userCtx"]


async def test_a_users_name_is_not_said_twice() -> None:
    """In the URL and beside it: wrong usage, as are URLs and names that are not valid."""
    for url, name in (
        ("http://bob:x@127.0.0.1:5984", "orchard"),
        ("ftp://127.0.0.1", "orchard"),
        ("http://127.0.0.1:5984", "_wrong"),
    ):
        with pytest.raises(click.UsageError, match=r"^--(url|database): "):
            async with Connection("ann", "secret").database(url, name):
                pass


async def test_a_server_that_cannot_be_used_is_said_with_the_option(couch: Couch, server_url: str) -> None:
    """Its address, the user, the database's name; an error in it that is about something else stays as it is."""
    with pytest.raises(ServerUnusable, match=r"start it, or correct --url$"):
        async with Connection().server("http://127.0.0.1:9") as down:
            await down.info()
    async with EmbeddedCouch(admin="ann:secret") as url:
        with pytest.raises(ServerUnusable, match=r"--username and TORNADO_COUCH_PASSWORD \(the user was ann\)$"):
            async with Connection("ann", "wrong").server(url.replace("ann:secret@", "")) as guarded:
                await guarded.info()
    with pytest.raises(ServerUnusable, match=r"^there is no database none at http\S+; correct --database$"):
        async with Connection().database(server_url, "none") as missing:
            await missing.info()
    name = f"test-{uuid.uuid4().hex}"
    await couch.create_database(name)
    try:
        with pytest.raises(NotFound):
            async with Connection().database(server_url, name) as database:
                await database.get("missing")
    finally:
        await couch.delete_database(name)


async def test_certificates_are_verified_unless_told_otherwise(tmp_path: Path) -> None:
    """`--ca` names whom to trust, `--insecure` trusts anybody."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    async with FaultServer(answer(200, {"status": "ok"}), tls=context) as server:
        for connection in (Connection(ca=tmp_path / "ca.pem"), Connection(verify=False)):
            async with connection.server(server.url) as couch:
                assert await couch.up()
    with pytest.raises(click.UsageError):
        async with Connection(ca=tmp_path / "none.pem").server("https://127.0.0.1:1"):
            pass


@pytest.mark.parametrize("command", ["audit", "migrate", "reconcile", "rotate", "sweep"])
def test_commands_that_reach_a_server_take_these_options(command: str) -> None:
    """Each in the same words."""
    found = load(f"tornado_couch.cli.maintain:{command}")
    assert {"url", "database", "username", "password_env", "password_file", "ask_password", "ca", "insecure"} <= {
        each.name for each in found.params
    }
