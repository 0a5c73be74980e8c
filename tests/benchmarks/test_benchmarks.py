"""The benchmark: that it measures what it says, and fails where a peer does."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.generator import Job, run
from benchmarks.operations import OPERATIONS
from benchmarks.report import TARGETS, Goal, ratio, ratio_by_cpu
from benchmarks.rounds import Figure
from tests.faults import FaultServer, answer, hang_up

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_short_run_writes_table_json_and_plots(tmp_path: Path) -> None:
    """Of every operation, for each peer, against the embedded server."""
    peers = ["bare", "bare-tornado", "couchdb", "ours", "ours-ungrouped", "ours-encrypted"]
    peers += ["tornado-by-hand", "fastapi-by-hand"]
    environment = {name: value for name, value in os.environ.items() if name != "COUCHDB_URL"}
    command = [sys.executable, "-m", "benchmarks", "--quick", "--peers", ",".join(peers), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    measured = {(each["operation"], each["peer"]) for each in report["figures"]}
    assert measured == {(operation, peer) for operation in OPERATIONS for peer in peers}
    assert all(rate > 0 for each in report["figures"] for rate in each["rates"])
    assert set(report["peak_megabytes"]) == {*peers, "CouchDB"} - {"couchdb"}
    assert all(f"## {operation}" in (tmp_path / "report.md").read_text() for operation in OPERATIONS)
    assert len([each for each in tmp_path.glob("*.svg") if "<svg" in each.read_text()]) == len(OPERATIONS)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_short_run_of_growth_writes_a_table_of_each_kind(tmp_path: Path) -> None:
    """Document size, collection size, idle connections, processes."""
    environment = {name: value for name, value in os.environ.items() if name != "COUCHDB_URL"}
    command = [sys.executable, "-m", "benchmarks.growth", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "growth.json").read_text())
    assert list(report) == ["document size", "collection size", "idle connections", "processes"]
    assert report["idle connections"][0]["open connections"] == 100


def test_files_are_measured_up_and_down() -> None:
    """Plain, compressed and encrypted, with the memory and how late the event loop was."""
    environment = {name: value for name, value in os.environ.items() if name != "COUCHDB_URL"}
    command = [sys.executable, "-m", "benchmarks.files", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert [each.partition("  ")[0] for each in done.stdout.splitlines()[1:]] == [
        f"{kind}, {way}" for kind in ("video/mp4", "encrypted", "text/plain") for way in ("up", "down")
    ]


def test_files_are_measured_over_http() -> None:
    """As they are and encrypted: what comes down is what went up."""
    environment = {name: value for name, value in os.environ.items() if name != "COUCHDB_URL"}
    command = [sys.executable, "-m", "benchmarks.attachments", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr
    assert [each.partition(":")[0] for each in done.stdout.splitlines()[::3]] == ["/films", "/secret-films"]


def test_a_peer_that_does_not_exist_is_refused() -> None:
    """With the usage."""
    command = [sys.executable, "-m", "benchmarks", "--peers", "bare,nobody"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert "'nobody' is unknown" in done.stderr


def job(url: str, status: int = 200, **more: object) -> Job:
    request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    return Job(
        **{"url": url, "requests": [[request]], "connections": 2, "seconds": 0.1, "warmup": 0.05} | more,
        status=[status],
    )  # type: ignore[arg-type]


async def test_the_load_generator_counts_right_answers() -> None:
    """Those of the warming up apart."""
    async with FaultServer(answer(200, {"ok": True})) as server:
        seen = await asyncio.to_thread(run, job(server.url))
    assert seen.error == ""
    assert 0 < seen.requests < seen.all_requests
    assert 0 < seen.p50 <= seen.p99


@pytest.mark.parametrize("fault", [answer(500, {}), hang_up])
async def test_a_wrong_answer_ends_the_load_with_an_error(fault: object) -> None:
    """A figure of errors would be no figure."""
    async with FaultServer(fault) as server:  # type: ignore[arg-type]
        seen = await asyncio.to_thread(run, job(server.url))
    assert seen.error


def test_ratios_are_those_of_rounds_side_by_side() -> None:
    """A machine that was slow for one round was slow for both."""
    figures = [Figure("POST", "ours", 32, rates=[10, 100, 11]), Figure("POST", "couchdb", 32, rates=[5, 50, 5])]
    assert ratio(figures, Goal("POST", "ours", "couchdb", 32, 1.8)) == 2.0
    assert ratio(figures, Goal("POST", "ours", "bare", 32, 1.8)) is None
    assert {goal.operation for goal in TARGETS} <= OPERATIONS.keys()


def test_the_ratio_by_computing_is_that_of_the_busiest_processes() -> None:
    """A service that waits for CouchDB is as fast as CouchDB."""
    mine = Figure("POST", "ours", 32, service_cpu=[0.2, 0.3, 0.2], couchdb_cpu=[0.1] * 3)
    theirs = Figure("POST", "tornado-by-hand", 32, service_cpu=[0.5] * 3, couchdb_cpu=[0.8] * 3)
    assert ratio_by_cpu([mine, theirs], Goal("POST", "ours", "tornado-by-hand", 32, 4)) == pytest.approx(4.0)
