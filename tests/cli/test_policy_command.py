"""`tornado-couch policy-report`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tornado_couch.cli.main import main

MODELS = """
from typing import Annotated
from tornado_couch import Encrypted, Model, Public

class Guest(Model, type="guest_v1.0", classified=True):
    email: Annotated[str, Encrypted(searchable=True)]

class Room(Model, type="room_v1.0"):
    floor: int
"""
FAULTY = (
    MODELS
    + """
class Bill(Model, type="bill_v1.0", classified=True):
    total: int
"""
)


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two modules in the working directory."""
    (tmp_path / "reported_models.py").write_text(MODELS)
    (tmp_path / "faulty_models.py").write_text(FAULTY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in ("reported_models", "faulty_models"):
        sys.modules.pop(name, None)


def run(*args: str) -> Result:
    return CliRunner().invoke(main, ["policy-report", *args])


@pytest.mark.usefixtures("modules")
class TestReport:
    """What it prints, and its exit status."""

    def test_it_is_a_table_or_json(self) -> None:
        """Of each property: class, algorithm and key set."""
        table = run("reported_models")
        assert table.exit_code == 0
        assert [line.split()[:3] for line in table.stdout.splitlines()] == [
            ["TYPE", "PROPERTY", "CLASS"],
            ["guest_v1.0", "email", "Encrypted"],
            ["room_v1.0", "floor", "unclassified"],
        ]
        rows = json.loads(run("reported_models:Guest", "--json").stdout)
        assert [(each["property"], each["key_set"]) for each in rows] == [("email", "crypter, indexer")]

    def test_what_nobody_judged_can_be_made_a_finding(self) -> None:
        """With --strict: status 1, and the names; the report all the same."""
        found = run("reported_models", "--strict")
        assert found.exit_code == 1
        assert "not classified: room_v1.0: floor" in found.stderr
        assert "guest_v1.0" in found.stdout
        assert run("reported_models:Guest", "--strict").exit_code == 0

    def test_a_model_that_demands_it_is_one_clear_line(self) -> None:
        """It cannot even be imported: status 1."""
        found = run("faulty_models")
        assert found.exit_code == 1
        assert found.stderr == "Bill: property 'total' is not classified; say Public() if anybody may know it\n"

    def test_what_names_no_models_is_wrong_usage(self) -> None:
        """Status 2, as everywhere."""
        assert run("no_such_module").exit_code == 2
