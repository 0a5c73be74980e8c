"""The folder where the server keeps its data: what it refuses, and what it says then."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tornado_couch.embedded import DataFolderError, EmbeddedCouch
from tornado_couch.errors import TornadoCouchError


def a_file(path: Path) -> Path:
    path.write_text("mine")
    return path


def below_a_file(path: Path) -> Path:
    path.write_text("mine")
    return path / "data"


def with_other_files(path: Path) -> Path:
    path.mkdir()
    (path / "thesis.txt").write_text("mine")
    return path


def of_something_else(path: Path) -> Path:
    path.mkdir()
    (path / "server.json").write_text('{"port": 80}')
    return path


def damaged(path: Path) -> Path:
    path.mkdir()
    (path / "server.json").write_text('{"uuid": "')
    return path


def of_another_version(path: Path) -> Path:
    path.mkdir()
    (path / "server.json").write_text(json.dumps({"uuid": "1f", "secret": "1f", "format": 2}))
    return path


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (a_file, "is not a folder"),
        (below_a_file, "cannot be written: Not a directory"),
        (with_other_files, "contains other files, such as thesis.txt"),
        (of_something_else, "contains a server.json that is not of this server"),
        (damaged, "contains a server.json that is not of this server"),
        (of_another_version, "was written by another version of tornado_couch"),
    ],
)
async def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path, make: Callable[[Path], Path], says: str) -> None:
    """With the reason, and nothing in it is changed."""
    folder = make(tmp_path / "folder")
    before = contents(tmp_path)
    with pytest.raises(DataFolderError) as caught:
        await EmbeddedCouch(folder).start()
    assert str(caught.value) == f"{folder} {says}"
    assert isinstance(caught.value, TornadoCouchError)
    assert contents(tmp_path) == before


async def test_two_servers_cannot_share_a_folder(tmp_path: Path) -> None:
    """The second one is refused as long as the first one runs, and the first one is not disturbed."""
    async with EmbeddedCouch(tmp_path):
        with pytest.raises(DataFolderError, match="is in use by another server"):
            await EmbeddedCouch(tmp_path).start()
    async with EmbeddedCouch(tmp_path):
        pass


async def test_a_folder_of_a_start_that_was_cut_short_is_taken(tmp_path: Path) -> None:
    """Nothing was written to it yet; and a new disk may have its own folder for lost files."""
    (tmp_path / "server.json").touch(mode=0o600)
    (tmp_path / "lost+found").mkdir()
    async with EmbeddedCouch(tmp_path):
        found = json.loads((tmp_path / "server.json").read_text())
    assert found.keys() == {"uuid", "secret", "format"}
    assert (tmp_path / "server.json").stat().st_mode & 0o077 == 0


async def test_data_from_before_formats_were_numbered_is_read(tmp_path: Path) -> None:
    """It is of the first format."""
    (tmp_path / "server.json").write_text('{"uuid": "1f", "secret": "1f"}')
    async with EmbeddedCouch(tmp_path):
        pass
