"""Replication between two servers."""

from __future__ import annotations

import base64
import os
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.embedded.client import Client
from tornado_couch.embedded.server import BackgroundCouch

OTHERS = ["embedded", *(["COUCHDB_URL"] if os.environ.get("COUCHDB_URL", "").startswith("http://") else [])]


@pytest.fixture(scope="module", params=OTHERS)
def other(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client of a second server, on which everyone is admin; and of a real CouchDB, where one is named."""
    if request.param == "COUCHDB_URL":
        yield Client(os.environ["COUCHDB_URL"])
        return
    with BackgroundCouch() as url:
        yield Client(url)


@pytest.fixture
def far(other: Client) -> Iterator[Client]:
    """A client of an empty database on the second server."""
    name = f"far-{uuid.uuid4().hex}"
    other.put(f"/{name}")
    yield other.within(name)
    other.delete(f"/{name}")


def url_of(client: Client) -> str:
    login = base64.b64decode(client.login["Authorization"].partition(" ")[2]).decode() + "@" if client.login else ""
    return f"http://{login}{client.host}:{client.port}{client.base}"


def replicate(server: Client, source: Client, target: Client, **members: Any) -> dict[str, Any]:
    answer = server.post("/_replicate", {"source": url_of(source), "target": url_of(target), **members})
    assert answer.status in (200, 202), answer
    return dict(answer.json)


def wait_for(question: Callable[[], Any]) -> Any:
    end = time.monotonic() + 30
    while not (answer := question()) and time.monotonic() < end:
        time.sleep(0.05)
    return answer


def leaves(client: Client) -> dict[str, Any]:
    """Every leaf of every document, with its history and attachments."""
    rows = client.get("/_changes?style=all_docs").json["results"]
    docs = [{"id": row["id"], "rev": change["rev"]} for row in rows for change in row["changes"]]
    found = client.post("/_bulk_get?revs=true&attachments=true", {"docs": docs}).json["results"]
    return {f"{item['id']} {doc['ok']['_rev']}": doc["ok"] for item in found for doc in item["docs"]}


def fill(client: Client) -> None:
    """Documents of every kind: plain, in conflict, deleted, with attachments, with numbers that are easily lost."""
    client.post("/_bulk_docs", {"docs": [{"_id": f"d{number}", "n": number} for number in range(250)]})
    client.put("/numbers", b'{"big":123456789012345678901234567890,"one":1.0,"z":1,"a":2}')
    client.put("/att/t.txt", b"hello " * 1000, {"Content-Type": "text/plain"})
    rev = client.get("/att").json["_rev"]
    client.put(f"/att/b%2Fin?rev={rev}", bytes(range(256)), {"Content-Type": "application/octet-stream"})
    rev = client.save("gone", {})
    client.delete(f"/gone?rev={rev}")
    branches = [{"_id": "k", "v": name, "_revisions": {"start": 2, "ids": [name * 32, "0" * 32]}} for name in "abc"]
    client.post("/_bulk_docs", {"docs": branches, "new_edits": False})


def test_there_and_back(server: Client, db: Client, far: Client) -> None:
    """All leaves, histories, attachments and numbers arrive; replicating back adds nothing to either side."""
    fill(db)
    first = replicate(server, db, far)
    assert first["history"][0]["docs_written"] == len(leaves(db))
    assert first["history"][0]["doc_write_failures"] == 0
    assert leaves(far) == leaves(db)
    assert far.get("/numbers").body == db.get("/numbers").body
    sequences = [client.get("").json["update_seq"] for client in (db, far)]
    back = replicate(server, far, db)
    assert back["history"][0]["docs_written"] == 0
    assert replicate(server, db, far).get("no_changes") is True
    assert [client.get("").json["update_seq"] for client in (db, far)] == sequences


def test_the_same_edit_on_both_sides_is_no_conflict(server: Client, db: Client, far: Client) -> None:
    """Equal edits of equal documents get equal revisions, so that they meet as one."""
    for client in (db, far):
        rev = client.save("a", {"x": 1, "s": "é"})
        client.save("a", {"_rev": rev, "x": 2.5, "list": [1, 2, 300]})
    replicate(server, db, far)
    replicate(server, far, db)
    assert db.get("/a?conflicts=true").body == far.get("/a?conflicts=true").body
    assert "_conflicts" not in db.get("/a?conflicts=true").json


def test_both_sides_agree_on_a_conflict(server: Client, db: Client, far: Client) -> None:
    """Different edits meet as a conflict, with the same winner on both sides; its resolution travels, too."""
    db.save("a", {"from": "here"})
    far.save("a", {"from": "there"})
    replicate(server, db, far)
    replicate(server, far, db)
    both = [client.get("/a?conflicts=true").json for client in (db, far)]
    assert both[0] == both[1]
    db.delete(f"/a?rev={both[0]['_conflicts'][0]}")
    replicate(server, db, far)
    assert "_conflicts" not in far.get("/a?conflicts=true").json


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"doc_ids": ["d1", "d3", "nope"]}, ["d1", "d3"]),
        ({"selector": {"n": {"$gt": 7}}}, ["d8", "d9"]),
        ({"filter": "f/small", "query_params": {"below": "2"}}, ["d0", "d1"]),
    ],
)
def test_filters(server: Client, db: Client, far: Client, members: dict[str, Any], expected: list[str]) -> None:
    """doc_ids, a selector or a filter function choose what is copied."""
    db.post("/_bulk_docs", {"docs": [{"_id": f"d{number}", "n": number} for number in range(10)]})
    db.save("_design/f", {"filters": {"small": "function (doc, req) { return doc.n < Number(req.query.below); }"}})
    replicate(server, db, far, **members)
    assert [row["id"] for row in far.get("/_all_docs").json["rows"]] == expected


def test_continuous(server: Client, db: Client, far: Client) -> None:
    """A continuous replication follows, is listed among the tasks, and ends when it is cancelled."""
    db.save("a", {})
    replication_id = replicate(server, db, far, continuous=True)["_local_id"]
    assert wait_for(lambda: far.get("/a").status == 200)
    db.save("b", {})
    assert wait_for(lambda: far.get("/b").status == 200)
    tasks = server.get("/_active_tasks").json
    assert replication_id in [task["replication_id"] for task in tasks]
    assert "password" not in str(tasks)
    assert server.post("/_replicate", {"replication_id": replication_id, "cancel": True}).status == 200
    assert server.post("/_replicate", {"replication_id": replication_id, "cancel": True}).status == 404


def test_replicator_database(server: Client, db: Client, far: Client) -> None:
    """A document of `_replicator` is a replication: it runs, and its state is written into it."""
    server.put("/_replicator")
    db.save("a", {})
    answer = server.put("/_replicator/job", {"source": url_of(db), "target": url_of(far)})
    assert answer.status == 201
    assert wait_for(lambda: server.get("/_replicator/job").json.get("_replication_state")) == "completed"
    assert far.get("/a").status == 200
    assert server.get("/_scheduler/docs/_replicator/job").json["state"] == "completed"
    assert server.delete(f"/_replicator/job?rev={server.get('/_replicator/job').json['_rev']}").status == 200
    assert server.put("/_replicator/bad", {"source": "nonsense", "target": url_of(far)}).status == 201
    assert wait_for(lambda: server.get("/_replicator/bad").json.get("_replication_state")) == "failed"
    server.delete(f"/_replicator/bad?rev={server.get('/_replicator/bad').json['_rev']}")


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({}, 500, "error"),
        ({"source": "x", "target": "y"}, 500, "error"),
        ({"source": "ftp://x/y", "target": "http://127.0.0.1/y"}, 400, "invalid_replication"),
        ({"source": "http://127.0.0.1:1/x", "target": "http://127.0.0.1:1/y"}, 500, "error"),
        ({"source": "http://127.0.0.1/x", "target": "http://127.0.0.1/y", "doc_ids": 1}, 400, "bad_request"),
        ({"source": "http://127.0.0.1/x", "target": "http://127.0.0.1/y", "filter": "a/b", "selector": {}}, 400,
         "bad_request"),
    ],
)  # fmt: skip
def test_nonsense(server: Client, body: dict[str, Any], status: int, error: str) -> None:
    """What is no replication is refused with a reason."""
    answer = server.post("/_replicate", body)
    assert (answer.status, answer.json["error"]) == (status, error)
