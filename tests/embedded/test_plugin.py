"""The pytest plugin, as the README of embedded/ shows it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Without plugins of others that take seconds to import.
SLOW = ["cacheprovider", "schemathesis", "hypothesispytest", "xdist"]
PYTEST = [sys.executable, "-m", "pytest", "-q", *(word for name in SLOW for word in ("-p", f"no:{name}"))]


def example(page: str) -> str:
    """The test file that a page shows."""
    found = re.search(r"```python\n(# test_orchard\.py\n.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("page", "tests"), [("tornado_couch/embedded/README.md", 2), ("docs/testing.md", 2)])
def test_the_examples_of_the_documentation_pass(page: str, tests: int, tmp_path: Path) -> None:
    """A user's test file, as a page shows it, finds the fixtures by itself, and passes."""
    (tmp_path / "test_orchard.py").write_text(example(page), encoding="utf-8")
    command = [*PYTEST, "-o", "asyncio_mode=auto", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{tests} passed" in done.stdout


def test_databases_are_fresh(couch_database: str, couch_url: str) -> None:
    """`couch_database` is the name of an empty database at `couch_url`."""
    from tests.embedded.client import Client

    assert Client(f"{couch_url}/{couch_database}").get("").json["doc_count"] == 0


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("url", "says"), [("http://127.0.0.1:9", "Connection refused"), ("nowhere", "of the form")])
def test_a_couchdb_that_cannot_be_used_is_one_sentence(url: str, says: str, tmp_path: Path) -> None:
    """It names the variable to correct, and no line of the plugin is shown."""
    (tmp_path / "test_it.py").write_text("def test_it(couch_database):\n    pass\n", encoding="utf-8")
    command = [*PYTEST, "--tb=short", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "COUCHDB_URL": url},
        timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    (line,) = [each for each in done.stdout.splitlines() if each.startswith("no CouchDB can be reached (")]
    assert says in line
    assert line.endswith("; start it, or correct COUCHDB_URL")
    assert "pytest_plugin.py" not in done.stdout


def test_importing_the_plugin_is_light() -> None:
    """The plugin brings neither the server nor Tornado into a test run that asks for neither."""
    code = (
        "import sys, tornado_couch.embedded.pytest_plugin as p;"
        "print([m for m in sys.modules if m.startswith('tornado_couch.embedded.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "['tornado_couch.embedded.pytest_plugin']"
