"""Documents, bulk requests, local documents: what goes in and what comes back."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.embedded.client import Client


def test_what_was_read_can_be_sent_back(db: Client) -> None:
    """A document with everything that a GET may add is taken as the document alone."""
    rev = db.save("a", {"x": 1})
    db.put(f"/a/t.txt?rev={rev}", b"hello", {"Content-Type": "text/plain"})
    full = db.get("/a?revs=true&revs_info=true&local_seq=true&conflicts=true").json
    assert db.put("/a", full).status == 201
    assert sorted(db.get("/a").json) == ["_attachments", "_id", "_rev", "x"]


@pytest.mark.parametrize("latest", [False, True])
def test_a_deleted_document_can_only_be_made_anew(db: Client, latest: bool) -> None:
    """Over a tombstone a PUT without revision makes the next generation; one with the tombstone's is a conflict."""
    rev = db.delete(f"/a?rev={db.save('a', {})}").json["rev"]
    body = {"_rev": rev, "x": 1} if latest else {"x": 1}
    answer = db.put("/a", body)
    assert answer.status == (409 if latest else 201)
    if not latest:
        assert answer.json["rev"].startswith("3-")


def test_concurrent_writers_in_one_group_are_judged_one_by_one(db: Client) -> None:
    """Of many writers with one revision one wins; what the others do in the same transaction is unharmed."""
    rev = db.save("hot", {})
    barrier = threading.Barrier(16)

    def write(number: int) -> tuple[int, int]:
        barrier.wait()
        return db.put("/hot", {"_rev": rev, "n": number}).status, db.put(f"/own{number}", {}).status

    with ThreadPoolExecutor(16) as pool:
        statuses = list(pool.map(write, range(16)))
    assert sorted(first for first, _ in statuses) == [201] + [409] * 15
    assert [second for _, second in statuses] == [201] * 16
    assert db.get("").json["doc_count"] == 17


def test_a_refused_bulk_writes_what_another_shard_has(db: Client) -> None:
    """A stub of an attachment that is not there refuses the whole request; each shard stores its part, or nothing."""
    docs = [{"_id": f"d{n}"} for n in range(8)]
    docs[3]["_attachments"] = {"x": {"stub": True}}  # type: ignore[assignment]
    assert db.post("/_bulk_docs", {"docs": docs}).status == 412
    stored = [row["id"] for row in db.get("/_all_docs").json["rows"]]
    assert stored == ["d0", "d1", "d4", "d5"]
    assert db.post("/_bulk_docs", {"docs": docs[2:4]}).status == 412
    assert db.get("").json["doc_count"] == 4


def test_many_documents(db: Client) -> None:
    """Ranges, pages and keys over thousands of documents, forwards and backwards."""
    for first in range(0, 3000, 1000):
        docs = [{"_id": f"d{number:05}"} for number in range(first, first + 1000)]
        assert len(db.post("/_bulk_docs", {"docs": docs}).json) == 1000
    rows = db.get("/_all_docs").json["rows"]
    assert [row["id"] for row in rows] == [f"d{number:05}" for number in range(3000)]
    assert [row["id"] for row in db.get("/_all_docs?descending=true").json["rows"]] == [row["id"] for row in rows][::-1]
    page = db.get('/_all_docs?startkey="d02000"&limit=2&skip=1').json
    assert (page["offset"], [row["id"] for row in page["rows"]]) == (2001, ["d02001", "d02002"])
    tail = db.get('/_all_docs?descending=true&startkey="d00002"').json
    assert [row["id"] for row in tail["rows"]] == ["d00002", "d00001", "d00000"]
    keys = [f"d{number:05}" for number in range(2999, -1, -1)]
    assert [row["id"] for row in db.post("/_all_docs", {"keys": keys}).json["rows"]] == keys


def test_revs_limit_cuts_histories_and_keeps_the_document(db: Client) -> None:
    """With `_revs_limit` 3 a long history ends at three revisions; a stale revision is still a conflict."""
    db.put("/_revs_limit", 3)
    first = rev = db.save("a", {})
    for number in range(10):
        rev = db.save("a", {"_rev": rev, "n": number})
    assert len(db.get("/a?revs=true").json["_revisions"]["ids"]) == 3
    assert db.put("/a", {"_rev": first}).status == 409
    assert db.get("/a").json["n"] == 9


def test_compaction_forgets_old_bodies_alone(db: Client) -> None:
    """After `_compact` old revisions are known by name, leaves and their attachments are whole."""
    rev = db.save("a", {"n": 1})
    rev2 = db.put(f"/a/t.txt?rev={rev}", b"x" * 300_000, {"Content-Type": "text/plain"}).json["rev"]
    db.put("/a", {**db.get("/a").json, "n": 2})
    db.put("/old/t.bin", b"y" * 3_000_000, {"Content-Type": "image/png"})
    db.delete(f"/old?rev={db.get('/old').json['_rev']}")
    branches = [{"_id": "k", "v": name, "_revisions": {"start": 1, "ids": [name * 32]}} for name in "ab"]
    db.post("/_bulk_docs", {"docs": branches, "new_edits": False})
    before = db.get("").json["sizes"]["file"]
    assert db.post("/_compact", {}).status == 202
    for _ in range(200):
        if db.get(f"/a?rev={rev}").status == 404 and db.get("").json["sizes"]["file"] < before:
            break
        threading.Event().wait(0.05)
    assert db.get(f"/a?rev={rev}").status == 404
    assert [item["status"] for item in db.get("/a?revs_info=true").json["_revs_info"]] == [
        "available", "missing", "missing",
    ]  # fmt: skip
    assert db.get("/a/t.txt").body == b"x" * 300_000
    assert db.get(f"/a?rev={rev2}").status == 404
    assert db.get("/k?conflicts=true").json["_conflicts"] == ["1-" + "a" * 32]
    assert db.get("").json["sizes"]["file"] < before - 2_000_000


def test_purge_leaves_other_branches(db: Client) -> None:
    """Purging a leaf brings the next one forward, and leaves feeds and counts right."""
    branches = [{"_id": "k", "v": name, "_revisions": {"start": 2, "ids": [name * 32, "0" * 32]}} for name in "ab"]
    db.post("/_bulk_docs", {"docs": branches, "new_edits": False})
    winner = "2-" + "b" * 32
    assert db.post("/_purge", {"k": [winner, "9-x"]}).json["purged"] == {"k": [winner]}
    assert db.get("/k?conflicts=true").json == {"_id": "k", "_rev": "2-" + "a" * 32, "v": "a"}
    assert db.post("/_purge", {"k": ["2-" + "a" * 32]}).status == 201
    assert db.get("/k").json == {"error": "not_found", "reason": "missing"}
    assert db.get("/_changes").json["results"] == []
    assert db.get("").json["doc_count"] == 0
    assert db.put("/k", {}).json["rev"].startswith("1-")


@pytest.mark.parametrize(
    "path",
    ["/_utils/", "/_reshard", "/{db}/_design/x/_search/y", "/{db}/_design/x/_nouveau/y", "/{db}/_design/x/_rewrite/y",
     "/{db}/_purged_infos", "/_node/_local/_smoosh/status", "/{db}/_nouveau_cleanup"],
)  # fmt: skip
def test_what_is_not_there_is_501(server: Client, db: Client, path: str) -> None:
    """What CouchDB does and this server does not is answered 501 with a reason, as the README lists it."""
    db.save("_design/x", {})
    answer = server.get(path.replace("{db}", db.base.strip("/")))
    assert answer.status == 501
    assert answer.json["error"] == "not_implemented"
    assert answer.json["reason"]


def test_settings(server: Client, db: Client) -> None:
    """A setting that is honoured can be set and works; another is 501, a wrong value 400."""
    path = "/_node/_local/_config/couchdb/max_document_size"
    assert server.put(path, "100").json == "8000000"
    try:
        assert db.put("/a", {"s": "x" * 200}).status == 413
    finally:
        server.put(path, "8000000")
    assert server.put(path, "lots").status == 400
    assert server.put("/_node/_local/_config/cors/origins", "*").status == 501


def test_db_updates_tell_what_happened_to_databases(server: Client, db: Client) -> None:
    """The latest of each kind since a sequence, where there is a `_global_changes`; local documents do not count."""
    assert server.get("/_db_updates").status == 404
    server.put("/_global_changes")
    last = server.get("/_db_updates?since=now").json["last_seq"]
    db.put("/_local/x", {})
    assert server.get(f"/_db_updates?since={last}").json["results"] == []
    db.save("a", {})
    db.save("b", {})
    told = server.get(f"/_db_updates?feed=longpoll&timeout=5000&since={last}").json["results"]
    assert [(each["db_name"], each["type"]) for each in told] == [(db.base.strip("/"), "updated")]
    assert server.get("/_db_updates?since=nonsense").status == 400
    assert server.get("/_db_updates?feed=continuous").status == 501
    server.delete("/_global_changes")


def test_an_admin_can_be_made_and_removed(server: Client, db: Client) -> None:
    """An admin made through `_config` is one at once, until it is removed."""
    path = "/_node/_local/_config/admins/second"
    assert server.put(path, "pw").status == 200
    second = Client(f"http://{server.host}:{server.port}", "second:pw")
    assert second.get("/_all_dbs").status == 200
    assert server.delete(path).status == 200
    assert second.get("/_all_dbs").status == 401
