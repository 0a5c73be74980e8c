"""`tornado-couch install`."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner, Result

from tests.conftest import REAL_COUCHDB
from tests.faults import FaultServer, answer
from tests.installation.installing import Fruit, write
from tests.security.kinds import _keysets
from tornado_couch import BasicAuth, Couch, Store
from tornado_couch.cli.main import main
from tornado_couch.security import KeyRing, Scheme, keyczar
from tornado_couch.security.signing import CLASSIC_PROPERTY

MODELS = "tests.installation.installing:Fruit"


@pytest.fixture
async def name(couch: Couch) -> AsyncIterator[str]:
    """The name of a database that is not there, and not afterwards either."""
    found = f"test-{uuid.uuid4().hex}"
    yield found
    if await couch[found].exists():
        await couch.delete_database(found)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seed and design documents."""
    write(tmp_path / "seeds", red__json={"type": "fruit_v1.0", "fruit_id": "f1", "color": "red"})
    write(tmp_path / "design", by_length__js="function (doc) { if (doc.color) { emit(doc.color.length, null); } }")
    return tmp_path


async def run(*args: object, text: str | None = None, env: dict[str, str] | None = None) -> Result:
    words = ["install", *map(str, args)]
    clean = dict.fromkeys(["TORNADO_COUCH_USER", "TORNADO_COUCH_URL", "TORNADO_COUCH_DATABASE"])
    return await asyncio.to_thread(CliRunner().invoke, main, words, input=text, env={**clean, **(env or {})})


async def test_a_dry_run_shows_the_plan(server_url: str, couch: Couch, name: str) -> None:
    """As text or JSON, without credentials; nothing is done."""
    for more in ([], ["--json"]):
        found = await run(MODELS, "--url", server_url, "--database", name, "--dry-run", *more)
        assert found.exit_code == 0
        assert "_design/fruit_by_color" in found.stdout
        assert "password" not in found.stdout
    plan = json.loads(found.stdout)
    assert plan["database"] == name
    assert plan["done"] is None
    assert plan["steps"][0] == {"action": "create", "kind": "database", "name": name, "detail": ""}
    assert not await couch[name].exists()


async def test_everything_is_installed_and_again_nothing(
    server_url: str, couch: Couch, name: str, folder: Path
) -> None:
    """With folders, keys and the database's own check; what was done is told, a line each."""
    KeyRing.create().save(folder / "ring")
    words = [MODELS, "--url", server_url, "--database", name, "--design-docs", folder / "design", "--seeds"]
    words += [folder / "seeds", "--keys", folder / "ring", "--validate", "--member-role", "reader", "--n", "1"]
    first = await run(*words)
    assert first.exit_code == 0, first.output
    assert first.stdout.splitlines()[0] == f"created database {name}"
    assert first.stdout.splitlines()[-1] == "stored 1 seed documents of fruit_v1.0"
    store = Store(couch[name], signer=KeyRing.load(folder / "ring"))
    assert (await store.get(Fruit, "f1")).color == "red"
    assert (await couch[name].security())["members"]["roles"] == ["reader"]
    again = await run(*words, "--json")
    assert (again.exit_code, json.loads(again.stdout)["done"]) == (0, [])
    assert (await run(*words)).stdout == "nothing to do\n"


async def test_parts_can_be_left_out(server_url: str, couch: Couch, name: str, folder: Path) -> None:
    """Design documents, seed documents, and the database that has to be there already."""
    words = [
        MODELS,
        "--url",
        server_url,
        "--database",
        name,
        "--design-docs",
        folder / "design",
        "--seeds",
        folder / "seeds",
    ]
    missing = await run(*words, "--no-create")
    assert (missing.exit_code, missing.stderr) == (1, f"Error: the database {name} does not exist\n")
    done = await run(*words, "--no-create-design", "--no-create-seed")
    assert done.stdout == f"created database {name}\n"
    assert (await run(*words, "--no-create", "--no-create-seed")).exit_code == 0
    assert (await couch[name].info())["doc_count"] == 5


@pytest.mark.parametrize(("text", "gone"), [("y\n", True), ("n\n", False), ("", False)])
async def test_deleting_asks_first(server_url: str, couch: Couch, name: str, text: str, gone: bool) -> None:
    """Whatever is not a yes leaves everything as it is, with exit status 1."""
    await couch.create_database(name)
    await couch[name].put({"_id": "kept"})
    found = await run(MODELS, "--url", server_url, "--database", name, "--delete", text=text)
    assert "with 1 documents?" in found.stderr
    assert found.exit_code == (0 if gone else 1)
    assert (await couch[name].revision("kept") is None) == gone


async def test_deleting_does_not_ask_where_that_is_said_or_nothing_is_there(
    server_url: str, couch: Couch, name: str
) -> None:
    """`--yes`; and a database that is not there needs no question."""
    words = [MODELS, "--url", server_url, "--database", name, "--delete"]
    assert (await run(*words)).exit_code == 0
    found = await run(*words, "--yes", "--no-create")
    assert found.stdout == f"deleted database {name}\n"
    assert not await couch[name].exists()


async def test_the_applications_user_gets_its_password_from_elsewhere(
    server_url: str, couch: Couch, name: str, folder: Path
) -> None:
    """The environment, a file or a prompt; it is neither an argument nor shown."""
    user = f"app-{uuid.uuid4().hex}"
    words = ["--url", server_url, "--database", name, "--app-user", user, "--app-role", "picker"]
    try:
        without = await run(*words)
        assert (without.exit_code, "no password" in without.stderr) == (1, True)
        done = await run(*words, env={"TORNADO_COUCH_APP_PASSWORD": "the-secret"})
        assert done.exit_code == 0, done.output
        assert "the-secret" not in done.output
        assert (await run(*words)).stdout == "nothing to do\n"
        asked = await run(*words, "--ask-app-password", text="another\n")
        assert asked.stdout.splitlines()[-1] == f"changed the user {user}"
        async with Couch(couch.url, auth=BasicAuth(user, "another")) as client:
            assert (await client.session())["userCtx"]["roles"] == ["picker"]
    finally:
        revision = await couch["_users"].revision(f"org.couchdb.user:{user}")
        await couch["_users"].delete(f"org.couchdb.user:{user}", revision or "")


async def test_seed_documents_are_signed_as_the_original_did(
    server_url: str, couch: Couch, name: str, folder: Path
) -> None:
    """With a Keyczar key set, by an option."""
    words = [MODELS, "--url", server_url, "--database", name, "--seeds", folder / "seeds"]
    keys = _keysets() / "hmac"
    done = await run(*words, "--keys", keys, "--classic", "--allow-legacy")
    assert done.exit_code == 0, done.output
    assert CLASSIC_PROPERTY in await couch[name].get("f1")
    store = Store(couch[name], signer=keyczar.Verifier.Read(keys), scheme=Scheme.CLASSIC)
    assert (await store.get(Fruit, "f1")).color == "red"


async def test_warnings_are_told_beside_what_is_done(server_url: str, couch: Couch, name: str) -> None:
    """On standard error, so that a script can read the rest."""
    await run(MODELS, "--url", server_url, "--database", name)
    done = await run(MODELS, "--url", server_url, "--database", name, "--q", "7")
    assert done.stdout == "nothing to do\n"
    assert re.fullmatch(r"warning: the database has q=\d instead of q=7; .* have that\n", done.stderr)


async def test_credentials_need_not_be_in_the_url(server_url: str, name: str) -> None:
    """User and password from the environment."""
    parts = urlsplit(server_url)
    if parts.username is None:
        pytest.skip(REAL_COUCHDB)
    env = {
        "TORNADO_COUCH_URL": f"{parts.scheme}://{parts.hostname}:{parts.port}",
        "TORNADO_COUCH_USER": parts.username,
        "TORNADO_COUCH_PASSWORD": parts.password or "",
        "TORNADO_COUCH_DATABASE": name,
    }
    assert (await run(MODELS, env=env)).exit_code == 0


WRONG: dict[str, list[str]] = {
    "no database": [MODELS],
    "no such models": ["tests.installation.installing:Nothing", "--database", "orchard"],
    "no such option": [MODELS, "--database", "orchard", "--createdb"],
    "no URL": [MODELS, "--database", "orchard", "--url", "nowhere"],
    "a password and no user": [MODELS, "--database", "orchard", "--ask-password"],
}


@pytest.mark.parametrize("fault", WRONG)
async def test_wrong_usage_is_exit_status_2(fault: str) -> None:
    """As of any command."""
    found = await run(*WRONG[fault])
    assert found.exit_code == 2
    assert "Usage: " in found.stderr


FAILING: dict[str, list[str]] = {
    "an impossible name": ["--database", "_orchard"],
    "a name that CouchDB refuses": ["--database", "Orchard"],
    "no such folder": ["--database", "orchard", "--seeds", "nowhere"],
    "no such keys": ["--database", "orchard", "--keys", "nowhere"],
    "a server that is down": ["--database", "orchard", "--url", "http://127.0.0.1:9"],
}


@pytest.mark.parametrize("fault", FAILING)
async def test_a_failure_is_exit_status_1_and_one_line(server_url: str, fault: str) -> None:
    """That says what is wrong; there is no traceback."""
    found = await run(MODELS, "--url", server_url, *FAILING[fault])
    assert (found.exit_code, found.stdout) == (1, "")
    assert re.fullmatch(r"Error: .+\n", found.stderr)


@pytest.mark.parametrize(("status", "error"), [(401, "unauthorized"), (403, "forbidden")])
async def test_who_is_no_admin_is_told_so(status: int, error: str) -> None:
    """In CouchDB's words, and with the option to change."""
    missing = answer(404, {"error": "not_found", "reason": "Database does not exist."})
    refusal = answer(status, {"error": error, "reason": "You are not a server admin."})
    async with FaultServer(missing, refusal) as server:
        url = server.url
        found = await run(MODELS, "--url", url, "--database", "orchard")
    assert found.exit_code == 1
    assert found.stderr == (
        f"Error: CouchDB at {url} refused this (You are not a server admin);"
        " give the name and password of an admin with --username and TORNADO_COUCH_PASSWORD (no user was named)\n"
    )


async def test_what_it_asks_of_couchdb_can_be_logged(server_url: str, name: str) -> None:
    """To standard error, for this run only, and without credentials."""
    before: list[Any] = list(logging.getLogger("tornado_couch").handlers)
    found = await run(MODELS, "--url", server_url, "--database", name, "--log", "debug")
    assert "PUT /{db}" in found.stderr
    assert (urlsplit(server_url).password or "no such text") not in found.stderr
    assert logging.getLogger("tornado_couch").handlers == before
