"""The changes feed, beyond what the probe checks."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest

from tests.embedded.client import Client


def test_batches_and_pending(db: Client) -> None:
    """Page after page through thousands of changes: each once, in order, and `pending` counts down to zero."""
    docs = [{"_id": f"d{number:04}"} for number in range(1000)]
    db.post("/_bulk_docs", {"docs": docs})
    seen, since = [], "0"
    for left in (700, 400, 100, 0):
        page = db.get(f"/_changes?limit=300&since={since}").json
        seen += [row["id"] for row in page["results"]]
        assert page["pending"] == left
        since = page["last_seq"]
    assert seen == [doc["_id"] for doc in docs]
    backwards = db.get("/_changes?descending=true").json["results"]
    assert [row["id"] for row in backwards] == seen[::-1]


@pytest.mark.parametrize("path", ["?filter=_selector", "?filter=f/even", "?filter=_doc_ids"])
def test_a_filter_looks_beyond_a_batch(db: Client, path: str) -> None:
    """A limit counts what passed the filter, however many changes are passed over, and last_seq goes on from there."""
    db.post("/_bulk_docs", {"docs": [{"_id": f"d{number:04}", "n": number} for number in range(1000)]})
    db.save("_design/f", {"filters": {"even": "function (doc) { return doc.n >= 600; }"}})
    body = {"selector": {"n": {"$gte": 600}}, "doc_ids": [f"d{number:04}" for number in range(600, 1000)]}
    page = db.post(f"/_changes{path}&limit=3", body).json
    assert [row["id"] for row in page["results"]] == ["d0600", "d0601", "d0602"]
    more = db.post(f"/_changes{path}&limit=2&since={page['last_seq']}", body).json
    assert [row["id"] for row in more["results"]] == ["d0603", "d0604"]


def test_style_all_docs(db: Client) -> None:
    """style=all_docs tells every leaf, the winner first."""
    branches = [{"_id": "k", "_revisions": {"start": 2, "ids": [name * 32, "0" * 32]}} for name in "abc"]
    db.post("/_bulk_docs", {"docs": branches, "new_edits": False})
    row = db.get("/_changes?style=all_docs").json["results"][0]
    assert [change["rev"] for change in row["changes"]] == [f"2-{name * 32}" for name in "cba"]


def test_last_event_id(db: Client) -> None:
    """An event source that connects again goes on behind the last event that it got, quotes and all."""
    for name in "abc":
        db.save(name, {})
    seq = db.get("/_changes").json["results"][1]["seq"]
    text = db.get("/_changes?feed=eventsource&timeout=100", Last_Event_ID=f'"{seq}"').body.decode()
    assert [json.loads(line[6:])["id"] for line in text.splitlines() if line.startswith("data: {")] == ["c"]


def test_a_purge_wakes_no_one_for_ever(db: Client) -> None:
    """After a purge a waiting feed waits on, quietly, and hears of the next change."""
    rev = db.save("a", {})
    seq = db.get("").json["update_seq"]
    db.post("/_purge", {"a": [rev]})
    threading.Timer(0.3, lambda: db.save("b", {})).start()
    started = time.monotonic()
    rows = db.get(f"/_changes?feed=longpoll&since={seq}&timeout=10000").json["results"]
    assert [row["id"] for row in rows] == ["b"]
    assert time.monotonic() - started > 0.2


def test_deleting_the_database_ends_its_feeds(server: Client) -> None:
    """A continuous feed of a database that is deleted ends."""
    server.put("/short-lived")
    threading.Timer(0.3, lambda: server.delete("/short-lived")).start()
    answer = server.get("/short-lived/_changes?feed=continuous&since=now&heartbeat=5000")
    assert answer.status == 200


def test_a_client_that_leaves_frees_its_feed(db: Client) -> None:
    """Listeners that hang up, hundreds of them, leave the server as it was."""
    login = f"Authorization: {db.login['Authorization']}"
    fields = f"Host: 127.0.0.1\r\n{login}"
    request = f"GET {db.base}/_changes?feed=continuous&since=now HTTP/1.1\r\n{fields}\r\n\r\n".encode()
    for _ in range(5):
        sockets = [socket.create_connection((db.host, db.port), timeout=10) for _ in range(60)]
        for one in sockets:
            one.sendall(request)
        assert sockets[-1].recv(100).startswith(b"HTTP/1.1 200")
        for one in sockets:
            one.close()
    assert db.save("a", {}).startswith("1-")
