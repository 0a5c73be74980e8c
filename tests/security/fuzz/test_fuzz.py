"""The parsers of what others send, fuzzed for a moment; `make fuzz` takes longer."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("atheris", reason="needs atheris: pip install -e '.[fuzz]'")

from tests.security.fuzz.targets import TARGETS

pytestmark = pytest.mark.slow


# Of the suite's few minutes; `make fuzz` has them all.
IN_THE_SUITE = ("entity_tags", "lines", "patch")


@pytest.mark.timeout(600)
def test_parsers_survive_what_a_fuzzer_makes() -> None:
    """Only documented errors, and nothing that takes seconds."""
    script = [sys.executable, "-m", "tests.security.fuzz"]
    environment = {**os.environ, "FUZZ": " ".join([*IN_THE_SUITE, "1"])}
    done = subprocess.run(script, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-5000:]
    assert done.stderr.count("number_of_executed_units") == len(IN_THE_SUITE)


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_of_a_fuzzer_are_taken(name: str) -> None:
    """They are what a parser is for."""
    target, seeds = TARGETS[name]
    for seed in seeds:
        target(seed)
