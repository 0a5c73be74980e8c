"""A process that has imported the command line, and runs each command in a fork: to import it takes a second each time.

`python -m tests.cli.forks PROGRAM` reads a command in each line, and writes the exit status of each.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from runpy import run_module
from types import TracebackType
from typing import NamedTuple

__all__ = ["Done", "Forks"]

ROOT = Path(__file__).parents[2]

SECONDS = 100  # that a command may take

# What commands import when they run.
_LATE = ("cli.main", "classic", "embedded.server", "installation", "maintain", "service", "security", "web")


class Done(NamedTuple):
    """How a command ended."""

    status: int
    stdout: str
    stderr: str


class Forks:
    """Runs commands one after the other.

    Args:
        folder: the working directory of the commands, where their output is kept in two files beside it.
        program: the package that runs, as `python -m` runs it.
    """

    def __init__(self, folder: Path, program: str = "tornado_couch") -> None:
        self._folder = folder
        self._program = program
        self._outputs = [folder.with_name(f"{folder.name}-{name}") for name in ("stdout", "stderr")]

    def __enter__(self) -> Forks:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.forks", self._program],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._process:
            self._process.kill()

    def run(self, arguments: tuple[str, ...], environment: Mapping[str, str], folder: Path | None = None) -> Done:
        """Run a command with these variables, in this folder if one is named, and wait until it ends."""
        asked = [list(arguments), str(folder or self._folder), dict(environment), [str(each) for each in self._outputs]]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        return Done(status, *(each.read_text() for each in self._outputs))


def _become(arguments: list[str], folder: str, environment: dict[str, str], outputs: list[str]) -> None:
    """Run the command line in this process as if it had been started so."""
    for number, name in enumerate(outputs, 1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path.insert(0, folder)
    program, sys.argv[1:] = sys.argv[1], arguments
    signal.alarm(SECONDS)
    run_module(program, run_name="__main__", alter_sys=True)


def main() -> None:
    for name in _LATE:
        import_module(f"tornado_couch.{name}")
    if find_spec(sys.argv[1]):
        import_module(f"{sys.argv[1]}.__main__")
        del sys.modules[f"{sys.argv[1]}.__main__"]  # what it imports is what takes long
    gc.freeze()  # so that no fork copies what all share, only to look through it
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(*json.loads(line))
            return
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
