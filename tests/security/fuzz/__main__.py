"""Fuzzes parsers with atheris: `python -m tests.security.fuzz [--seconds N] [TARGET …]`; by default all, a minute each.

What it finds is left in `build/fuzz`; `python -m tests.security.fuzz TARGET --file build/fuzz/crash-…` runs it again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import atheris

FOUND = Path("build/fuzz")


def fuzz(names: Sequence[str], seconds: int) -> int:
    """Fuzz parsers, each in a fork of this process, since instrumenting takes long; the exit status."""
    with atheris.instrument_imports(include=["tornado_couch"], enable_loader_override=False):
        from tests.security.fuzz import targets
    statuses = []
    for name in names:
        child = os.fork()
        if child == 0:
            _fuzz(name, *targets.TARGETS[name], seconds)
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    return int(any(statuses))


def _fuzz(name: str, target: Callable[[bytes], None], seeds: Iterable[bytes], seconds: int) -> None:
    """Fuzz one parser in this process, which ends with it."""
    corpus = FOUND / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [f"-max_total_time={seconds}", "-timeout=10", "-max_len=4096", f"-artifact_prefix={FOUND}/{name}-"]
    atheris.Setup([sys.argv[0], *options, "-verbosity=0", "-print_final_stats=1", str(corpus)], target)
    atheris.Fuzz()


def main() -> int:
    """Fuzz each parser in a process of its own; the exit status is 1 if a fault was found."""
    from tests.security.fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python -m tests.security.fuzz")
    parser.add_argument("targets", nargs="*", choices=[[], *TARGETS], metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each parser")
    parser.add_argument("--file", type=Path, help="run one input again")
    given = parser.parse_args()
    if given.file:
        TARGETS[given.targets[0]][0](given.file.read_bytes())
        return 0
    failed = []
    for name in given.targets or TARGETS:
        environment = {**os.environ, "FUZZ": f"{name} {given.seconds}"}
        done = subprocess.run(
            [sys.executable, "-m", "tests.security.fuzz"], env=environment, capture_output=True, text=True
        )
        said = [line for line in done.stderr.splitlines() if not line.startswith("INFO: Instrumenting")]
        runs = [line.split()[-1] for line in said if "number_of_executed_units" in line] or ["no"]
        print(f"{name}: {runs[0]} runs, {'a fault' if done.returncode else 'nothing found'}", flush=True)
        if done.returncode:
            failed.append(name)
            print(done.stdout, *said, sep="\n")
    return 1 if failed else 0


if __name__ == "__main__":
    if "FUZZ" in os.environ:
        *names, seconds = os.environ["FUZZ"].split()
        sys.exit(fuzz(names, int(seconds)))
    sys.exit(main())
