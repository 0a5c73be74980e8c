"""The classic installer: its options, exit codes, design and seed documents."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.classic.test_ported_service import make_signer
from tornado_couch import Couch, Database
from tornado_couch.classic import installer, tamper

VIEW = {"language": "javascript", "views": {"fruit_by_color": {"map": "function (doc) { emit(doc.color, null); }"}}}


class Parser(installer.CommandLineParser):
    """As a service derives it."""

    def __init__(self, name: str) -> None:
        installer.CommandLineParser.__init__(self, "makes the orchard", name)


Run = Callable[..., "asyncio.Future[int]"]


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """A folder of design documents and one of seeds."""
    for name in ("design", "seeds"):
        (tmp_path / name).mkdir()
    (tmp_path / "design" / "fruit_by_color.json").write_text(json.dumps(VIEW))
    (tmp_path / "seeds" / "red.json").write_text('{"type": "fruit_v1.0", "color": "red"}')
    (tmp_path / "seeds" / "more.json").write_text('[{"_id": "b", "type": "fruit_v1.0", "color": "blue"}]')
    return tmp_path


@pytest.fixture
async def target(couch: Couch) -> AsyncIterator[Database]:
    """A database that is not there yet, and is gone afterwards."""
    database = couch[f"classic-{uuid.uuid4().hex}"]
    yield database
    if await database.exists():
        await couch.delete_database(database.name)


@pytest.fixture
def run(server_url: str, target: Database, folders: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the installer with the server's address and credentials."""
    parts = urlsplit(server_url)
    host = ["--host", f"{parts.scheme}://{parts.hostname}:{parts.port}"]
    if parts.username:
        monkeypatch.setenv("TORNADO_COUCH_USER", parts.username)
        monkeypatch.setenv("TORNADO_COUCH_PASSWORD", parts.password or "")

    def start(*arguments: str) -> asyncio.Future[int]:
        monkeypatch.setattr("sys.argv", ["installer", *host, *arguments])
        call = (installer.main, Parser(target.name), str(folders / "design"), str(folders / "seeds"))
        return asyncio.ensure_future(asyncio.to_thread(*call))

    return start


async def test_everything_is_put_in_place_once(run: Run, target: Database) -> None:
    """Database, design documents and seeds; a second run adds nothing."""
    for _ in range(2):
        assert await run() == 0
        rows = (await target.view("fruit_by_color", "fruit_by_color")).rows
        assert [row.key for row in rows] == ["blue", "red"]


async def test_parts_can_be_left_out(run: Run, target: Database) -> None:
    """`--create`, `--createdesign` and `--createseed` say what is done; nothing is done without the first."""
    assert await run("--create", "no") == 0
    assert not await target.exists()
    assert await run("--createdesign", "false", "--createseed", "0") == 0
    assert (await target.info())["doc_count"] == 0
    assert await run("--createdesign", "f") == 0
    assert [row.id.startswith("_design") for row in (await target.all_docs()).rows].count(True) == 0


async def test_deleting_comes_first(run: Run, target: Database) -> None:
    """`--delete` alone removes the database, with `--create` it begins anew."""
    assert await run() == 0
    await target.put({"_id": "mine"})
    assert await run("--delete", "yes") == 0
    assert await target.revision("mine") is None
    assert await run("--delete", "yes", "--create", "no") == 0
    assert not await target.exists()


async def test_seeds_are_signed_as_the_original_did(run: Run, target: Database, tmp_path: Path) -> None:
    """With a Keyczar key set they verify by `tamper`."""
    signer = make_signer(tmp_path)
    assert await run("--seeddocsigner", str(tmp_path / "signer")) == 0
    document = await target.get("b")
    assert tamper.verify(signer, document)


async def test_failures_are_status_1(run: Run, folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A key set that is none, a seed that is no JSON, a name that no database has, a server that is not there."""
    assert await run("--seeddocsigner", str(folders / "nothing")) == 1
    assert await run("--database", "Not_A Name") == 1
    assert await run("--host", "http://127.0.0.1:1") == 1
    (folders / "seeds" / "wrong.json").write_text("{")
    assert await run() == 1
    (folders / "seeds" / "wrong.json").write_text("[1]")
    assert await run() == 1


@pytest.mark.parametrize(
    "arguments",
    [("--host", "couch"), ("--creds", "dave"), ("--delete", "maybe"), ("--log", "LOUD"), ("--nothing",)],
)
def test_wrong_usage_is_status_2(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """optparse says what is wrong."""
    monkeypatch.setattr("sys.argv", ["installer", *arguments])
    with pytest.raises(SystemExit) as ended:
        installer.main(Parser("orchard"))
    assert ended.value.code == 2


async def test_a_password_need_not_be_an_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--creds user:` asks for it, and without the option the environment has both."""
    monkeypatch.setattr("getpass.getpass", lambda _: "asked")
    monkeypatch.setenv("TORNADO_COUCH_USER", "env")
    monkeypatch.setenv("TORNADO_COUCH_PASSWORD", "from env")
    for arguments, sent in (
        (["--creds", "dave:"], b"dave:asked"),
        (["--creds", "a:b:c"], b"a:b:c"),
        ([], b"env:from env"),
    ):
        options, _ = Parser("orchard").parse_args(arguments)
        auth = installer._auth(options.creds)
        assert auth is not None
        fields = await auth.headers(None)  # type: ignore[arg-type]
        assert fields["Authorization"] == f"Basic {base64.b64encode(sent).decode()}"
    monkeypatch.delenv("TORNADO_COUCH_USER")
    assert installer._auth(None) is None
