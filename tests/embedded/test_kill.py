"""What was acknowledged survives the server's sudden death."""

from __future__ import annotations

import subprocess
import sys
import threading
from http.client import HTTPException
from pathlib import Path

import pytest

from tests.embedded.client import Client

WRITERS = 8


def start(folder: Path) -> tuple[subprocess.Popen[str], Client]:
    """A server process on a folder."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tornado_couch", "couchdb", "--port", "0", "--dir", str(folder)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    return process, Client(process.stdout.readline().strip())


def write(client: Client, name: int, acknowledged: list[tuple[str, str]], enough: threading.Event) -> None:
    """Write one document after the other until the server is gone."""
    number = 0
    while True:
        doc_id = f"w{name}-{number}"
        try:
            answer = client.put(f"/db/{doc_id}", {"writer": name, "number": number})
        except (OSError, HTTPException, ValueError):
            return
        if answer.status != 201:
            return
        acknowledged.append((doc_id, answer.json["rev"]))
        number += 1
        if len(acknowledged) > 400:
            enough.set()


@pytest.mark.timeout(120)
def test_every_acknowledged_write_survives_kill_9(tmp_path: Path) -> None:
    """Killed with SIGKILL under eight writers and started again, the server has every write that it acknowledged."""
    process, client = start(tmp_path)
    assert client.put("/db").status == 201
    acknowledged: list[tuple[str, str]] = []
    enough = threading.Event()
    threads = [threading.Thread(target=write, args=(client, name, acknowledged, enough)) for name in range(WRITERS)]
    for thread in threads:
        thread.start()
    assert enough.wait(60)
    process.kill()
    process.communicate()
    for thread in threads:
        thread.join()
    process, client = start(tmp_path)
    try:
        rows = {row["id"]: row["value"]["rev"] for row in client.get("/db/_all_docs").json["rows"]}
        assert {doc_id: rows.get(doc_id) for doc_id, _ in acknowledged} == dict(acknowledged)
        assert len(rows) <= len(acknowledged) + WRITERS
        assert len(client.get("/db/_changes").json["results"]) == client.get("/db").json["doc_count"] == len(rows)
    finally:
        process.terminate()
        process.communicate()
    assert process.returncode == 0
