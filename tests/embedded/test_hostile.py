"""Hostile input: a clear error in CouchDB's shape, the server unharmed, nothing written outside its folder."""

from __future__ import annotations

import gzip
import json
import socket
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.embedded.client import Answer, Client


def is_refusal(answer: Answer, status: int) -> bool:
    """Whether it is an error of CouchDB's shape."""
    return answer.status == status and set(answer.json) == {"error", "reason"}


@pytest.mark.parametrize("depth", [500, 5_000, 100_000])
@pytest.mark.parametrize("path", ["/a", "/_bulk_docs", "/_find", "/_all_docs", "/_revs_diff", "/_design/x"])
def test_deep_json(db: Client, depth: int, path: str) -> None:
    """JSON nested deeper than the server reads is 400, whoever reads it."""
    body = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
    method = "PUT" if path in ("/a", "/_design/x") else "POST"
    assert is_refusal(db.ask(method, path, body), 400)


def test_json_as_deep_as_allowed_is_kept(db: Client) -> None:
    """The deepest JSON that is taken is also read, mapped and found."""
    text = '{"a":' + "[" * 399 + "1" + "]" * 399 + "}"
    assert db.put("/a", text.encode()).status == 201
    assert json.dumps(db.get("/a").json["a"]) == text[5:-1]
    db.save("_design/v", {"views": {"v": {"map": "function (doc) { emit(doc._id, doc.a); }"}}})
    assert len(db.get("/_design/v/_view/v?include_docs=true").json["rows"]) == 1
    assert len(db.post("/_find", {"selector": {"a": {"$exists": True}}}).json["docs"]) == 1


def test_brackets_in_text_are_not_depth(db: Client) -> None:
    """Text full of brackets is text."""
    assert db.put("/a", {"s": '[{"' * 5000}).status == 201


def test_a_string_without_end_is_read_once(db: Client) -> None:
    """40 kB of quotation marks in a string that does not end took 5 seconds, behind enough brackets to be counted."""
    began = time.monotonic()
    assert is_refusal(db.put("/a", b"[" * 500 + b'"' + b'\\"' * 200_000), 400)
    assert is_refusal(db.put("/a", b"[" * 500 + b'"' + b"\\" * 200_001), 400)
    assert time.monotonic() - began < 20  # and not minutes


@pytest.mark.timeout(240)
def test_seventy_megabytes(db: Client) -> None:
    """A body beyond the limit is read to its end, refused with 413, and not held in memory."""
    assert is_refusal(db.put("/a", b'{"s":"' + b"x" * 70_000_000 + b'"}'), 413)
    assert is_refusal(db.post("/_bulk_docs", b'{"docs":["' + b"x" * 70_000_000 + b'"]}'), 413)
    assert db.get("").json["doc_count"] == 0


def test_a_gzip_bomb(db: Client) -> None:
    """A small body that unpacks to hundreds of megabytes is 413."""
    bomb = gzip.compress(b'{"s":"' + b"x" * 200_000_000 + b'"}', 9)
    assert is_refusal(db.put("/a", bomb, {"Content-Encoding": "gzip"}), 413)


@pytest.mark.parametrize("body", [b'{"a":"\xff"}', b'{"a":"\xed\xa0\x80"}', b"\xff\xfe{}", b'{"a":"\\ud800"}', b"",
                                  b'{"a":1e999}', b'{"a":NaN}', b'{"a":01}', b'{"a":1,}', b"{}x"])  # fmt: skip
def test_what_is_not_json_in_utf8(db: Client, body: bytes) -> None:
    """Bad UTF-8, half surrogates and what only looks like JSON: 400."""
    assert is_refusal(db.put("/a", body), 400)


def test_duplicate_members(db: Client) -> None:
    """Of a member given twice the last counts, at its place, as in CouchDB."""
    assert db.put("/a", b'{"a":1,"b":2,"a":3}').json["rev"].startswith("1-")
    assert list(db.get("/a").json.items())[2:] == [("b", 2), ("a", 3)]


@pytest.mark.parametrize(
    "name", ["..", "../../x", "/etc/passwd", "a/../b", "C:", "a\x00b", "A", "1a", "_x", "é", "a" * 300, "a b", "."]
)
def test_database_names(server: Client, folder: Path, name: str) -> None:
    """A name that CouchDB refuses is refused, and makes no file."""
    before = sorted(folder.parent.rglob("*"))
    assert server.put(f"/{quote(name, safe='')}").status in (400, 405)
    assert sorted(folder.parent.rglob("*")) == before


@pytest.mark.parametrize("name", ["a/b", "a//b", "a+b", "x$()+-_", "con", "a/" + "b" * 230, "nul/aux"])
def test_odd_database_names_stay_within_the_folder(server: Client, folder: Path, name: str) -> None:
    """An allowed name with slashes, or as long as allowed, is one folder of safe characters."""
    path = f"/{quote(name, safe='')}"
    assert server.put(path).status == 201
    try:
        assert server.get(path).json["db_name"] == name
        made = [entry for entry in (folder / "databases").iterdir() if (entry / "name").read_text() == name]
        assert len(made) == 1
        assert all(sign.isalnum() or sign in "-_=" for sign in made[0].name)
    finally:
        assert server.delete(path).status == 200


@pytest.mark.parametrize(
    "doc_id", ["../../x", "/etc/passwd", "..", ".", "a\x00b", "%2e%2e", "C:\\x", "\u202e", "a" * 4000]
)
def test_path_tricks_in_ids(db: Client, folder: Path, doc_id: str) -> None:
    """An id is text, whatever it looks like: the document is stored under it, and no file is made."""
    before = sorted(path for path in folder.parent.rglob("*") if path.is_dir())
    assert db.put(f"/{quote(doc_id, safe='')}", {"v": 1}).status == 201
    assert db.get(f"/{quote(doc_id, safe='')}").json["_id"] == doc_id
    assert db.put(f"/{quote(doc_id, safe='')}x/{quote(doc_id, safe='')}", b"data").status == 201
    assert sorted(path for path in folder.parent.rglob("*") if path.is_dir()) == before


@pytest.mark.parametrize("path", ["/%zz", "/%f", "/%ff", "/%c3%28", "/a?rev=%zz", "/a?%ff=1"])
def test_broken_escapes(db: Client, path: str) -> None:
    """A broken or non-UTF-8 escape in the URL is 400."""
    assert is_refusal(db.get(path), 400)


@pytest.mark.parametrize(
    "data",
    [b"\x00" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
     b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20000,
     b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
     b"PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999999999999\r\n\r\n"],
)  # fmt: skip
def test_what_is_not_http(server: Client, data: bytes) -> None:
    """Broken HTTP ends its own connection alone."""
    with socket.create_connection((server.host, server.port), timeout=10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass
    assert server.get("/_up").status == 200


@pytest.mark.parametrize("length", [4_299, 4_301, 20_000])
def test_integers_of_any_size(db: Client, length: int) -> None:
    """Digits beyond what Python converts at once come back as they went in."""
    digits = "-" + "7" * length
    assert db.put("/a", f'{{"n":{digits},"x":1.0}}'.encode()).status == 201
    assert db.get("/a").body.decode().endswith(f'"n":{digits},"x":1.0}}\n')


def test_an_endless_map_function_harms_nobody_else(db: Client, server: Client) -> None:
    """A map function without end is 500 after its time; reads and writes go on meanwhile, and after."""
    from concurrent.futures import ThreadPoolExecutor

    db.save("a", {})
    db.save("_design/v", {"views": {"v": {"map": "function (doc) { while (true) {} }"}}})
    with ThreadPoolExecutor(1) as pool:
        view = pool.submit(db.get, "/_design/v/_view/v")
        for number in range(20):
            assert db.put(f"/b{number}", {}).status == 201
        assert view.result().status == 500
    assert server.get("/_up").status == 200
