"""Both type checkers accept the README and the examples, and refuse exactly the lines that say so."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = Path(__file__).parent / "examples"
README = "readme.py"
NAMES = [README, *sorted(path.name for path in EXAMPLES.glob("*.py"))]
Found = dict[str, dict[int, str]]
"""By file, the lines that a checker refuses, with what it says."""


def _run(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=110
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The examples, and the README's Python as one module."""
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    readme = tmp_path_factory.mktemp("readme") / README
    readme.write_text("\n".join(["# pyright: strict", *blocks]))
    return [os.fspath(readme), *(os.fspath(EXAMPLES / name) for name in NAMES if name != README)]


@pytest.fixture(scope="module")
def by_mypy(paths: list[str]) -> Found:
    """What mypy --strict says, with the project's own settings."""
    cache = ROOT / "build" / "cache" / "mypy-examples"
    output = _run("mypy", "--strict", "--no-pretty", "--cache-dir", os.fspath(cache), *paths)
    assert f"checked {len(paths)} source files" in output
    found: Found = {name: {} for name in NAMES}
    for path, line, text in re.findall(r"^(.+?):(\d+): error: (.*)$", output, re.MULTILINE):
        found[Path(path).name][int(line)] = text
    return found


@pytest.fixture(scope="module")
def by_pyright(paths: list[str]) -> Found:
    """What pyright says; the examples ask for its strict mode."""
    output = json.loads(_run("pyright", "--outputjson", "--pythonpath", sys.executable, *paths))
    assert output["summary"]["filesAnalyzed"] == len(paths)
    found: Found = {name: {} for name in NAMES}
    for each in output["generalDiagnostics"]:
        found[Path(each["file"]).name][each["range"]["start"]["line"] + 1] = each["message"]
    return found


def _wrong(name: str) -> set[int]:
    if name == README:
        return set()
    lines = (EXAMPLES / name).read_text().splitlines()
    return {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}


@pytest.mark.slow
@pytest.mark.parametrize("checker", ["by_mypy", "by_pyright"])
@pytest.mark.parametrize("name", NAMES)
def test_a_checker_refuses_what_is_wrong_and_nothing_else(
    name: str, checker: str, request: pytest.FixtureRequest
) -> None:
    """Each line marked as wrong, and no other one."""
    found: Found = request.getfixturevalue(checker)
    refused, wrong = found[name], _wrong(name)
    assert {line: text for line, text in refused.items() if line not in wrong} == {}
    assert wrong - refused.keys() == set()
