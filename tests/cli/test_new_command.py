"""`tornado-couch new`: what it makes runs and passes its own tests."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import tornado_couch
from tests.cli.forks import Forks
from tests.faults import until
from tests.service.serving import Service
from tornado_couch.cli.main import main
from tornado_couch.cli.new import _bound
from tornado_couch.embedded import EmbeddedCouch

ROOT = Path(tornado_couch.__file__).parents[1]
BIN = Path(sys.executable).parent


def make(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["new", *arguments])
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forks]:
    """Runs what was made."""
    with Forks(tmp_path_factory.mktemp("forks"), "my_orchard") as running:
        yield running


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A new project."""
    monkeypatch.chdir(tmp_path)
    status, told = make("my-orchard")
    assert status == 0, told
    return tmp_path / "my-orchard"


def test_what_was_made_is_told_as_json(tmp_path: Path) -> None:
    """The folder, the package and each file: for a script that goes on from there."""
    status, told = make("my-orchard", "--directory", str(tmp_path / "here"), "--json")
    assert status == 0
    found = json.loads(told)
    assert (found["directory"], found["package"]) == (str(tmp_path / "here"), "my_orchard")
    assert set(found["files"]) == {str(path) for path in (tmp_path / "here").rglob("*") if path.is_file()}


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("COUCHDB_URL", "PYTEST_ADDOPTS")}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def test_a_new_project_passes_its_own_tests(project: Path) -> None:
    """With pytest alone, warnings being errors."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:schemathesis", "-p", "no:xdist"],
        cwd=project, env=environment(), capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def ask(url: str, login: str = "", body: bytes | None = None) -> tuple[int, bytes]:
    """The status and content of one answer."""
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    if login:
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_new_project_serves_at_once(project: Path, number: signal.Signals) -> None:
    """`python -m PACKAGE` starts a CouchDB and the service, and says where it is and how to log in."""
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "my_orchard"],
        cwd=project, env=environment(PORT=str(port)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as service:  # fmt: skip
        try:
            assert service.stdout is not None
            url = f"http://127.0.0.1:{port}"
            said = f"The service is at {url}/ and its API at {url}/docs\n"
            assert service.stdout.readline() == said, service.communicate()
            assert service.stdout.readline() == "Log in as dev, with the password dev. Stop with Ctrl-C.\n"
            assert ask(f"{url}/v1/items") == (200, b'{"items":[]}')
            assert ask(f"{url}/v1/items", "", b'{"name": "apple"}')[0] == 401
            assert ask(f"{url}/v1/items", "dev:dev", b'{"name": "apple"}')[0] == 201
            status, page = ask(f"{url}/")
            assert status == 200
            for path in re.findall(r'href="(.+?)"', page.decode()):
                assert ask(f"{url}/{path}")[0] == 200
        finally:
            service.send_signal(number)
        out, err = service.communicate(timeout=30)
        assert (out, [line for line in err.splitlines() if not line.startswith("401 POST")]) == ("", [])
        assert service.returncode == 0


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"PORT": "web"}, "PORT is 'web'; set it to a number up to 65535."),
        ({"PORT": "70000"}, "PORT is '70000'; set it to a number up to 65535."),
        ({"COUCHDB_URL": "http://ann:secret@127.0.0.1:9"}, "COUCHDB_URL cannot be used: GET /: the connection"),
        ({"COUCHDB_URL": "nowhere"}, "COUCHDB_URL cannot be used: the CouchDB URL must be of the form"),
        ({"DATA": "foreign"}, "contains other files, such as thesis.txt"),
    ],
)
def test_what_a_new_project_cannot_use_is_one_line(
    forks: Forks, project: Path, variables: dict[str, str], says: str
) -> None:
    """It names the setting."""
    if "DATA" in variables:
        (project / ".couchdb").mkdir()
        (project / ".couchdb" / "thesis.txt").write_text("mine")
    done = forks.run((), environment(**variables), project)
    assert done.status == 1
    (line,) = done.stderr.splitlines()
    assert says in line
    assert "secret" not in line


def test_a_port_that_is_taken_is_named(forks: Forks, project: Path) -> None:
    """With the variable to change."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = forks.run((), environment(PORT=port), project)
    assert done.status == 1
    assert done.stderr == f"Port {port} cannot be used (Address already in use); set PORT to another one.\n"


def test_a_new_projects_service_is_described_without_couchdb(project: Path) -> None:
    """Making the application sends no request."""
    done = subprocess.run(
        [str(BIN / "tornado-couch"), "openapi", "my_orchard.app:service"],
        cwd=project, env=environment(TORNADO_COUCH_URL="http://127.0.0.1:9"),
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "/v1/items/{key}" in json.loads(done.stdout)["paths"]


async def test_a_new_projects_service_waits_for_its_database(project: Path) -> None:
    """It starts before CouchDB, whose admin it is not, and is ready once the database is installed."""
    port = free_port()
    as_service = {
        "TORNADO_COUCH_URL": f"http://127.0.0.1:{port}",
        "TORNADO_COUCH_DATABASE": "my_orchard",
        "TORNADO_COUCH_USER": "my-orchard",
        "TORNADO_COUCH_PASSWORD": "service's",
    }

    async def ran(*command: str, **variables: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", *command),
            cwd=project,
            env=environment(**{**as_service, **variables}),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        told, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, told.decode()

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "tornado_couch", "serve", "my_orchard.app:service", "--port", "0"),
        cwd=project,
        env=environment(**as_service),
        stderr=asyncio.subprocess.PIPE,
    )
    service = Service(process)
    try:
        await until(lambda: service.url, 60)
        assert (await service.ask("/_ready"))[0] == 503
        assert (await service.ask("/"))[0] == 200
        async with EmbeddedCouch(admin="admin:secret", port=port):
            assert (await service.ask("/v1/items"))[0] == 503
            admin = {"TORNADO_COUCH_USER": "admin", "TORNADO_COUCH_PASSWORD": "secret"}
            admin["TORNADO_COUCH_APP_PASSWORD"] = "service's"
            await ran("tornado_couch", "install", "my_orchard.models:MODELS", "--app-user", "my-orchard", **admin)

            async def ready() -> bool:
                return (await service.ask("/_ready"))[0] == 200

            await until(ready, 60)
            await ran("my_orchard.accounts", "ann", ACCOUNT_PASSWORD="apples")
            items = f"{service.url}/v1/items"
            assert (await asyncio.to_thread(ask, items, "ann:apples", b'{"name": "apple"}'))[0] == 201
            assert (await asyncio.to_thread(ask, items, "ann:pears", b'{"name": "apple"}'))[0] == 401
            assert b'"apple"' in (await asyncio.to_thread(ask, f"{items}?name=apple"))[1]
            service.signal(signal.SIGTERM)
            assert await service.ended() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await service.ended()


def test_a_new_project_is_bound_to_versions_that_it_works_with(project: Path) -> None:
    """From this one on, up to the next that may change what it uses."""
    text = (project / "pyproject.toml").read_text()
    (bound,) = re.findall(r'dependencies = \["tornado-couch\[viewer\](.*)"\]', text)
    assert Version(tornado_couch.__version__) in SpecifierSet(bound)
    assert Version("99") not in SpecifierSet(bound)
    for version, wanted in (
        ("0.1.0", " >= 0.1.0, < 0.2"),
        ("1.4.2", " >= 1.4.2, < 2"),
        ("0.9.0.dev1", " >= 0.9.0.dev1, < 0.10"),
    ):
        assert _bound(version) == wanted


def test_a_new_projects_ci_is_valid_and_runs_its_tests(project: Path) -> None:
    """On both CouchDBs."""
    (job,) = yaml.safe_load((project / ".github" / "workflows" / "tests.yml").read_text())["jobs"].values()
    runs = [(step["run"], step.get("env", {})) for step in job["steps"] if "run" in step]
    assert [set(env) for command, env in runs if "pytest" in command] == [set(), {"COUCHDB_URL"}]
    admin = job["services"]["couchdb"]["env"]
    assert runs[-1][1]["COUCHDB_URL"] == f"http://{admin['COUCHDB_USER']}:{admin['COUCHDB_PASSWORD']}@127.0.0.1:5984"


def test_a_new_projects_image_serves_its_application(project: Path) -> None:
    """The command is one that `tornado-couch` has, as a user who is not root."""
    lines = (project / "Dockerfile").read_text().splitlines()
    command = json.loads(lines[-1].removeprefix("CMD "))
    assert command[:3] == ["tornado-couch", "serve", "my_orchard.app:service"]
    found = main.get_command(click.Context(main), command[1])
    assert found is not None
    assert set(command[3::2]) <= {option for parameter in found.params for option in parameter.opts}
    assert "USER app" in lines


def test_a_new_project_is_tidy(project: Path) -> None:
    """Linted, with every placeholder filled in, and a name of its own in each text."""
    texts = {path: path.read_text() for path in project.rglob("*") if path.is_file()}
    assert {path.relative_to(project).as_posix() for path in texts} == {
        ".dockerignore",
        ".github/workflows/tests.yml",
        ".gitignore",
        "Dockerfile",
        "README.md",
        "my_orchard/__init__.py",
        "my_orchard/__main__.py",
        "my_orchard/accounts.py",
        "my_orchard/app.py",
        "my_orchard/models.py",
        "pyproject.toml",
        "tests/conftest.py",
        "tests/test_items.py",
    }
    assert [path for path, text in texts.items() if re.search(r"@(name|package|bound)@|\.tmpl", text)] == []
    options = ["--isolated", "--select", "E,F,I,B,UP,SIM,RUF", "--line-length", "120", "--quiet"]
    done = subprocess.run(
        [str(BIN / "ruff"), "check", *options, "."],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    "name", ["", "../up", "My", "1st", "a/b", "a--b", "-a", "class", "json", "tests", "ü", "a" * 61, "a b"]
)
def test_a_name_that_cannot_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Nothing is written, and it says what a name is."""
    monkeypatch.chdir(tmp_path)
    status, told = make("--", name)
    assert status == 2
    assert "is not a valid name" in told
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(project: Path) -> None:
    """A folder with anything in it is refused, and a file; an empty folder is taken."""
    (project / "README.md").write_text("mine")
    for arguments in (("my-orchard",), ("other", "--directory", str(project))):
        status, told = make(*arguments)
        assert status == 2
        assert "exists already" in told
    assert (project / "README.md").read_text() == "mine"
    empty = project.parent / "empty"
    empty.mkdir()
    assert make("other", "--directory", str(empty))[0] == 0
