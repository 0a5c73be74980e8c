"""Attachments, beyond what the probe checks."""

from __future__ import annotations

import base64
import gzip
import hashlib

import pytest

from tests.embedded.client import Client
from tornado_couch.embedded.storage.attachments import PART_SIZE

BINARY = {"Content-Type": "application/octet-stream"}
LARGE = bytes(range(256)) * (PART_SIZE // 256 * 2 + 100)


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        (f"bytes={PART_SIZE - 1}-{PART_SIZE}", PART_SIZE - 1, PART_SIZE + 1),
        (f"bytes={PART_SIZE}-", PART_SIZE, len(LARGE)),
        ("bytes=-1", len(LARGE) - 1, len(LARGE)),
        (f"bytes=5-{10**12}", 5, len(LARGE)),
    ],
)
def test_ranges_across_stored_parts(db: Client, header: str, start: int, end: int) -> None:
    """A range is the bytes that it names, wherever the stored parts end."""
    db.put("/a/large", LARGE, BINARY)
    answer = db.get("/a/large", Range=header)
    assert answer.status == 206
    assert answer.body == LARGE[start:end]
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(LARGE)}"


def test_several_ranges(db: Client) -> None:
    """Several ranges are multipart/byteranges."""
    db.put("/a/large", LARGE, BINARY)
    answer = db.get("/a/large", Range="bytes=0-1,300-301")
    assert answer.headers["content-type"].startswith("multipart/byteranges; boundary=")
    assert b"Content-Range: bytes 300-301/" in answer.body
    assert b"\r\n\r\n" + LARGE[300:302] + b"\r\n--" in answer.body


def test_text_is_stored_compressed_and_the_digest_says_so(db: Client) -> None:
    """A text's digest is that of its gzip form at CouchDB's level, so that revisions agree with CouchDB's."""
    db.put("/a/t.txt", b"hello", {"Content-Type": "text/plain"})
    stub = db.get("/a").json["_attachments"]["t.txt"]
    assert (stub["digest"], stub["length"]) == ("md5-iMaiC8wqiFlD2NjLTemvCQ==", 5)
    assert db.get("/a").json["_rev"] == "1-379c887bbb58be1e84ef91d0c03d338f"
    packed = db.get("/a/t.txt", Accept_Encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == b"hello"


def test_bytes_that_come_compressed(db: Client) -> None:
    """An attachment sent with Content-Encoding gzip is stored as it is, and unpacked for whoever wants it plain."""
    packed = gzip.compress(b"abc" * 100)
    db.put("/a/t.txt", packed, {"Content-Type": "text/plain", "Content-Encoding": "gzip"})
    assert db.get("/a/t.txt").body == b"abc" * 100
    assert db.get("/a/t.txt", Accept_Encoding="gzip").body == packed


def test_an_attachment_is_shared_by_revisions(db: Client) -> None:
    """Twenty revisions of a document with a large attachment store it once."""
    db.put("/a/large", LARGE, BINARY)
    before = db.get("").json["sizes"]["active"]
    for number in range(20):
        db.put("/a", {**db.get("/a").json, "n": number})
    assert db.get("").json["sizes"]["active"] - before < len(LARGE)
    assert db.get("/a/large").body == LARGE


def test_a_stub_of_a_conflict_keeps_its_own(db: Client) -> None:
    """Each leaf has the attachments of its own branch."""
    def doc(name: str) -> dict[str, object]:
        data = base64.b64encode(name.encode()).decode()
        return {"_id": "k", "_revisions": {"start": 1, "ids": [name * 32]},
                "_attachments": {"t": {"data": data, "content_type": "image/png"}}}  # fmt: skip

    db.post("/_bulk_docs", {"docs": [doc("a"), doc("b")], "new_edits": False})
    for name in "ab":
        rev = f"1-{name * 32}"
        assert db.get(f"/k/t?rev={rev}").body == name.encode()
        stored = db.get(f"/k?rev={rev}").json
        assert db.put("/k", {**stored, "touched": True}).status == 201
        assert db.get(f"/k/t?rev={db.get(f'/k?rev={rev}').json['_rev']}").body == name.encode()


def test_a_large_body_is_spooled(db: Client) -> None:
    """Forty megabytes go in and come out whole."""
    data = hashlib.sha256(b"seed").digest() * (40 * 1024 * 1024 // 32)
    assert db.put("/a/huge", data, BINARY).status == 201
    assert hashlib.md5(db.get("/a/huge").body).digest() == hashlib.md5(data).digest()


def test_multipart_there_and_back(db: Client) -> None:
    """What GET gives as multipart/related, PUT takes."""
    db.put("/a/t.txt", b"text", {"Content-Type": "text/plain"})
    rev = db.get("/a").json["_rev"]
    db.put(f"/a/b%22in?rev={rev}", LARGE, BINARY)
    answer = db.get("/a?attachments=true&revs=true", Accept="multipart/related")
    assert answer.headers["content-type"].startswith("multipart/related")
    copied = db.put("/copy?new_edits=false", answer.body, {"Content-Type": answer.headers["content-type"]})
    assert copied.status == 201, copied
    assert db.get("/copy").json["_rev"] == db.get("/a").json["_rev"]
    assert db.get("/copy/b%22in").body == LARGE
    assert db.get("/copy/t.txt").body == b"text"


@pytest.mark.parametrize("path", ["/a?open_revs=all", "/_bulk_get"])
def test_multipart_mixed_brings_the_attachments(db: Client, path: str) -> None:
    """Leaves as multipart/mixed bring their attachments unasked: CouchDB's replicator reads them so."""
    db.put("/a/b.bin", LARGE, BINARY)
    method, body = ("POST", {"docs": [{"id": "a"}]}) if path == "/_bulk_get" else ("GET", None)
    answer = db.ask(method, path, body, {"Accept": "multipart/mixed"})
    assert LARGE in answer.body
    assert b'"follows":true' in answer.body
    newest = db.ask("GET", f'/a?open_revs=all&atts_since=["{db.get("/a").json["_rev"]}"]'.replace('"', "%22"), None,
                    {"Accept": "multipart/mixed"})  # fmt: skip
    assert LARGE not in newest.body


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"--x", 400),
        (b"--x\r\n\r\n{}", 400),
        (b"--x\r\n\r\n{}\r\n--x--junk", 201),
        (b"--x\r\nA: b", 400),
        (b"\r\n--x--\r\n", 400),
    ],
)
def test_broken_multipart(db: Client, body: bytes, status: int) -> None:
    """A body that is not valid multipart is refused with 400; junk after the last boundary is ignored."""
    answer = db.put("/a", body, {"Content-Type": "multipart/related; boundary=x"})
    assert answer.status == status
    assert db.put("/b", body, {"Content-Type": "multipart/related"}).status == 400


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"revpos": 9}, 412),
        ({"revpos": None}, 201),
        ({"digest": "md5-AAAAAAAAAAAAAAAAAAAAAA==", "length": 3, "content_type": "x/y"}, 201),
    ],
)
def test_a_stub_needs_the_right_revpos_and_nothing_else(db: Client, change: dict[str, object], status: int) -> None:
    """What CouchDB 3.5.0 compares and what it does not; the whole `_bulk_docs` is refused with the one document."""
    db.put("/a/x.txt", b"hello", {"Content-Type": "text/plain"})
    document = db.get("/a").json
    stored = document["_attachments"]["x.txt"]
    entry = {name: value for name, value in {**stored, **change}.items() if value is not None}
    answer = db.post("/_bulk_docs", {"docs": [{**document, "_attachments": {"x.txt": entry}}]})
    assert answer.status == status
    if status == 412:
        assert answer.json == {"error": "missing_stub", "reason": "Invalid attachment stub in a for x.txt"}
    assert db.get("/a").json["_attachments"]["x.txt"] == stored
