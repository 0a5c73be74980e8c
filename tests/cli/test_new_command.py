"""`tornado-couch new`: what it makes runs and passes its own tests."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner

import tornado_couch
from tornado_couch import Database
from tornado_couch.cli.main import main

ROOT = Path(tornado_couch.__file__).parents[1]
BIN = Path(sys.executable).parent


def make(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["new", *arguments])
    return done.exit_code, done.output


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
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=project, env=environment(), capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


def test_a_new_project_serves_at_once(project: Path) -> None:
    """`python -m PACKAGE` starts a CouchDB and the service."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "my_orchard"],
        cwd=project, env=environment(PORT=str(port)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as service:  # fmt: skip
        try:
            assert service.stdout is not None
            assert service.stdout.readline() == f"http://127.0.0.1:{port}/docs\n", service.communicate()
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/items", timeout=30) as reply:
                assert reply.read() == b'{"items":[]}'
        finally:
            service.terminate()


async def test_a_new_projects_service_takes_settings(project: Path, server_url: str, database: Database) -> None:
    """The function that `tornado-couch serve` is given connects as they say, installs, and gives the application."""
    settings = {"TORNADO_COUCH_URL": server_url, "TORNADO_COUCH_DATABASE": database.name}
    done = await asyncio.to_thread(
        subprocess.run,
        [str(BIN / "tornado-couch"), "openapi", "my_orchard.app:service"],
        cwd=project, env=environment(**settings), capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "/v1/items/{key}" in json.loads(done.stdout)["paths"]
    assert (await database.get("_design/item_by_name"))["language"] == "javascript"


def test_a_new_project_is_tidy(project: Path) -> None:
    """Linted, with every placeholder filled in, and a name of its own in each text."""
    texts = {path: path.read_text() for path in project.rglob("*") if path.is_file()}
    assert {path.relative_to(project).as_posix() for path in texts} == {
        ".gitignore",
        "README.md",
        "my_orchard/__init__.py",
        "my_orchard/__main__.py",
        "my_orchard/app.py",
        "my_orchard/models.py",
        "pyproject.toml",
        "tests/conftest.py",
        "tests/test_items.py",
    }
    assert [path for path, text in texts.items() if re.search(r"@(name|package)@|\.tmpl", text)] == []
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
