"""What `make` says and does before any of our own code runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults import until

ROOT = Path(__file__).parents[1]


@contextmanager
def making(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`make` in a process group of its own, as a terminal starts it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    with subprocess.Popen(
        ["make", *arguments], cwd=ROOT, env=environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("to_all", [True, False], ids=["Ctrl-C", "SIGTERM"])
async def test_a_signal_during_installation_ends_it_quietly(tmp_path: Path, to_all: bool) -> None:
    """The installer ends as well, nobody blames the package index, and the next `make run` installs again."""
    script(tmp_path / "venv" / "bin" / "python", "exit 1")
    pid_file = tmp_path / "pid"
    installer = script(
        tmp_path / "installer", f"echo $$ > {pid_file}.part; mv {pid_file}.part {pid_file}; exec sleep 60"
    )
    with making("run", f"VENV={tmp_path / 'venv'}", f"INSTALL={installer}") as process:
        await until(pid_file.exists)
        pid = int(pid_file.read_text())
        if to_all:
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.terminate()
        out, err = process.communicate(timeout=30)
    assert process.returncode != 0
    assert out == "Installing what the example needs; this takes about a minute, once.\n"
    assert all(line.startswith("make: ") for line in err.splitlines()), err
    await until(lambda: not alive(pid))
    assert not (tmp_path / "venv" / ".run").exists()


def test_an_installation_that_fails_says_what_is_needed(tmp_path: Path) -> None:
    """Beside what the installer itself says."""
    script(tmp_path / "venv" / "bin" / "python", "exit 1")
    installer = script(tmp_path / "installer", "echo no such index >&2; exit 1")
    with making("run", f"VENV={tmp_path / 'venv'}", f"INSTALL={installer}") as process:
        _, err = process.communicate(timeout=30)
    assert err.splitlines()[:2] == [
        "no such index",
        "Installing failed: a package index that pip can reach is needed (see the message above).",
    ]


def test_options_reach_the_program(tmp_path: Path) -> None:
    """Those in ARGS, quoted as in a shell."""
    script(tmp_path / "bin" / "python", 'for each; do echo "$each"; done')
    with making("run", f"VENV={tmp_path}", "INSTALL=true", "ARGS=--data 'my data' --port 9000") as process:
        out, _ = process.communicate(timeout=30)
    assert out.splitlines()[-6:] == ["-m", "example_app", "--data", "my data", "--port", "9000"]


def test_make_alone_lists_the_targets() -> None:
    """Each with what it does."""
    with making() as process:
        out, _ = process.communicate(timeout=30)
    targets = {"run", "test", "check", "docs", "bench", "fuzz", "tox", "clean"}
    assert {line.split()[1] for line in out.splitlines()} == targets


def test_the_tests_say_what_they_skip_and_how_to_get_it() -> None:
    """A test that needs a CouchDB, and all that could run on one too; by pytest's summary, as `make test` shows it."""
    environment = {name: value for name, value in os.environ.items() if name != "COUCHDB_URL"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/conformance", "-k", "real_one"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    how = "needs a CouchDB: COUCHDB_URL=http://USER:PASSWORD@127.0.0.1:5984 make test"
    alone, skipped = [line for line in done.stdout.splitlines() if line.endswith(how)]
    assert skipped.startswith("SKIPPED [1]")
    assert alone.startswith("Functional tests ran on the embedded server alone")
