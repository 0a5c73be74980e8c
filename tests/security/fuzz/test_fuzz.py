"""The parsers of what others send, fuzzed for a moment; `make fuzz` takes longer."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("atheris", reason="needs atheris: pip install -e '.[fuzz]'")

from tests.security.fuzz.targets import TARGETS

pytestmark = pytest.mark.slow


# Of the suite's few minutes; `make fuzz` has them all, and an instrumented process takes ten seconds to start.
IN_THE_SUITE = ("entity_tags", "lines", "patch")


@pytest.mark.parametrize("name", IN_THE_SUITE)
def test_a_parser_survives_what_a_fuzzer_makes(name: str) -> None:
    """Only documented errors, and nothing that takes seconds."""
    script = [sys.executable, "-m", "tests.security.fuzz"]
    environment = {**os.environ, "FUZZ": f"{name} 2"}
    done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-5000:]
    assert "number_of_executed_units" in done.stderr


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_of_a_fuzzer_are_taken(name: str) -> None:
    """They are what a parser is for."""
    target, seeds = TARGETS[name]
    for seed in seeds:
        target(seed)
