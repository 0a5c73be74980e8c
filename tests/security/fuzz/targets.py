"""The parsers of what others send, each as a function of bytes; only the errors that it documents may come out.

A target also states what must hold of what it has read: a fault is an exception that is not documented, a statement
that does not hold, or more than ten seconds of time.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from tornado.httputil import HTTPHeaders, parse_qs_bytes, parse_request_start_line

from tornado_couch import AllowAny, Couch, Indexed, Key, Model, Store, assigned, revision
from tornado_couch.embedded.handlers.documents.multipart import parts_of
from tornado_couch.embedded.messages import Request
from tornado_couch.embedded.problems import Problem as EmbeddedProblem
from tornado_couch.errors import KeySetError, PatchTestFailed, ValidationFailed
from tornado_couch.models import json_patch, merge_patch
from tornado_couch.security.encoding import b64_decode, b64_encode, canonical
from tornado_couch.security.key_file import unwrap
from tornado_couch.security.key_ring import KeyRing
from tornado_couch.security.keyczar.metadata import KeyMetadata
from tornado_couch.service.messages import ChunkedBody, HeadParser, Refusal
from tornado_couch.web import BasicAccounts, BodyLimits, Problem, Resource, parse_entity_tags
from tornado_couch.web.http import (
    BrokenStream,
    LineReader,
    MalformedEntityTag,
    Preconditions,
    accepts,
    choose_coding,
    entity_tag,
    parse_digest,
    parse_disposition,
    parse_json,
    parse_preferences,
    requested_spans,
    weights,
)
from tornado_couch.web.http.media import HEAD_BYTES, content_fits
from tornado_couch.web.http.multipart import MultipartReader
from tornado_couch.web.query import CursorCodec, parse_list_query
from tornado_couch.web.query.cursors import Cursor

__all__ = ["TARGETS"]

Target = Callable[[bytes], None]


class Item(Model, type="item_v1.0", key="item_id"):
    item_id: Key = assigned()
    name: Annotated[str, Indexed()] = ""
    number: Annotated[int | None, Indexed()] = None


_FOLDER = tempfile.TemporaryDirectory()
_RING = Path(_FOLDER.name, "ring")
KeyRing.create().save(_RING)
_STORE = Store(Couch("http://127.0.0.1:1")["fuzz"])
_RESOURCE = Resource("/items", Item, _STORE, policy=AllowAny())
_CODEC = CursorCodec(bytes(32))
_ACCOUNTS = BasicAccounts(_STORE, rounds=4)


def entity_tags(data: bytes) -> None:
    """`If-Match` and `If-None-Match`."""
    field = data.decode("latin-1")
    with contextlib.suppress(MalformedEntityTag):
        tags = parse_entity_tags(field)
        assert tags == "*" or all(parse_entity_tags(f'"{each.opaque}"') for each in tags)
        found = Preconditions.from_headers({"If-Match": field, "If-None-Match": field})
        with contextlib.suppress(Problem):  # of weak tags alone it says why they do not hold
            assert found.evaluate_read("1-a") in (200, 304, 412)


def prefer(data: bytes) -> None:
    """`Prefer`."""
    with contextlib.suppress(Problem):
        assert isinstance(parse_preferences(data.decode("latin-1"), ("server-timing",)).applied, str)


def accept(data: bytes) -> None:
    """`Accept` and `Accept-Encoding`."""
    field = data.decode("latin-1")
    assert all(0 <= each <= 1 for each in weights(field).values())
    assert accepts(field, "application/json") in (True, False)
    assert choose_coding(field) in ("", "gzip", "br")


def uploads(data: bytes) -> None:
    """What comes with a file: a form, `Content-Disposition`, `Repr-Digest`, `Range`, and the file itself."""
    field = data.decode("latin-1")
    with contextlib.suppress(Problem):
        reader = MultipartReader("multipart/form-data; boundary=x", 8)
        assert all(each != b"" for each in reader.feed(data))
        reader.end()
    with contextlib.suppress(Problem):
        assert len(parse_digest("Repr-Digest", field) or bytes(32)) == 32
    said = parse_disposition(field)
    assert said is None or said.filename is None or "/" not in said.filename
    assert all(0 <= each.first <= each.last < 1000 for each in requested_spans(field, 1000) or [])
    for declared in ("image/png", "text/plain", "application/x-unknown"):
        assert content_fits(declared, data[:HEAD_BYTES]) in (True, False)


def authorization(data: bytes) -> None:
    """`Authorization: Basic`, by its text and by what the text stands for."""
    for text in (data.decode("latin-1"), base64.b64encode(data).decode()):
        with contextlib.suppress(Problem):
            name, password = _ACCOUNTS._parse(text)
            assert ":" not in name
            assert password.isprintable() or password


def query(data: bytes) -> None:
    """The query string of a collection."""
    with contextlib.suppress(ValueError):  # Tornado answers 400 to a query that it cannot read
        arguments = parse_qs_bytes(data, keep_blank_values=True)
        with contextlib.suppress(Problem):
            found = parse_list_query(_RESOURCE, arguments, _CODEC)
            assert 1 <= found.limit <= _RESOURCE.max_page_size
            assert found.scope("/items")


def cursor(data: bytes) -> None:
    """A cursor that others made, and one that was made here of what others chose."""
    with contextlib.suppress(Problem):
        _CODEC.decode(data.decode("latin-1"), "scope")
        raise AssertionError("a forged cursor was taken")
    made = Cursor(data.decode("latin-1"), "id", bool(data), False)
    assert _CODEC.decode(_CODEC.encode(made, "scope"), "scope") == made


def _json_of(data: bytes) -> Any:
    try:
        return asyncio.run(parse_json(data, BodyLimits(depth=64)))
    except Problem:
        return None


def body(data: bytes) -> None:
    """A JSON body: what is taken is the same for another parser, and can be written again."""
    value = _json_of(data)
    if value is not None:
        assert json.loads(data) == value
        assert json.loads(json.dumps(value)) == value


def patch(data: bytes) -> None:
    """A JSON patch and a merge patch, which leave the document as it is."""
    value = _json_of(data)
    document = {"a": [1, {"b": None}], "c": "text", "": {"~": 1, "/": 2}}
    before = json.dumps(document)
    with contextlib.suppress(PatchTestFailed, ValidationFailed):
        json.dumps(json_patch(document, value))
    merge_patch(document, value)
    assert json.dumps(document) == before


def lines(data: bytes) -> None:
    """Lines of JSON: the same in one piece and in many, gzip-coded or not."""
    found = []
    for size, gzip in ((len(data) or 1, False), (3, False), (5, True)):
        reader, seen = LineReader(64, gzip=gzip), []
        with contextlib.suppress(BrokenStream):
            for place in range(0, len(data), size):
                seen += list(reader.feed(data[place : place + size]))
            seen += list(reader.end())
            if not gzip:
                found.append(seen)
    assert all(each == found[0] for each in found)


def multipart(data: bytes) -> None:
    """A multipart body of the embedded server; the boundary is the first line."""
    boundary, _, content = data.partition(b"\n")
    kind = f'multipart/related; boundary="{boundary.decode("latin-1")}"'
    request = Request("PUT", "/db/doc", HTTPHeaders())
    with contextlib.suppress(EmbeddedProblem, ValueError):
        request.headers["Content-Type"] = kind
        request.body = content
        for part in parts_of(request):
            assert isinstance(part.filename(), str | None)
            assert len(part.data) <= len(content)


def canonical_json(data: bytes) -> None:
    """Canonical JSON (RFC 8785): the same for what it reads back as."""
    value = _json_of(data)
    with contextlib.suppress(ValueError):
        text = canonical(value)
        assert canonical(json.loads(text)) == text
    with contextlib.suppress(ValueError):
        decoded = b64_decode(data.decode("latin-1"))
        assert b64_decode(b64_encode(decoded)) == decoded


def revisions(data: bytes) -> None:
    """Revisions, and the entity tags that are made of them."""
    text = data.decode("latin-1")
    assert revision.generation(text) >= -1
    assert isinstance(revision.rank(text), tuple)
    if revision.is_revision(text) and text.isascii() and text.isalnum():
        (tag,) = parse_entity_tags(entity_tag(text))
        assert tag.revision == text


def key_files(data: bytes) -> None:
    """Key files of rings and of Keyczar, encrypted ones included."""
    _RING.write_bytes(data)
    with contextlib.suppress(KeySetError):
        assert KeyRing.load(_RING).keys is not None
    with contextlib.suppress(KeySetError):
        unwrap(data, outer=bytes(32))
    with contextlib.suppress(KeySetError):
        KeyMetadata.parse(data)


def request_target(data: bytes) -> None:
    """The address of a request to the embedded server."""
    with contextlib.suppress(EmbeddedProblem):
        Request("GET", data.decode("latin-1"), HTTPHeaders())


def request_head(data: bytes) -> None:
    """The line and fields of a request: what the server takes means the same to Tornado."""
    end = data.find(b"\r\n\r\n") + 4
    if end < 4:
        return
    with contextlib.suppress(Refusal):
        head = HeadParser(100).parse(data, end)
        line, _, fields = data[:end].decode("latin-1").partition("\r\n")
        assert parse_request_start_line(line) == head.start_line
        assert list(HTTPHeaders.parse(fields).get_all()) == list(head.headers.get_all())
        assert head.length <= 0 or int(head.headers["Content-Length"]) == head.length


def chunks(data: bytes) -> None:
    """A body in chunks: in one piece and in two it is the same."""

    def read(*pieces: bytes) -> tuple[bytes, bool] | None:
        body, rest, content = ChunkedBody(), b"", b""
        try:
            for piece in pieces:
                rest += piece
                taken = 1
                while taken and not body.done:
                    part, taken = body.take(rest, 1000)
                    rest, content = rest[taken:], content + part
        except Refusal:
            return None
        return content, body.done

    assert read(data) == read(data[: len(data) // 2], data[len(data) // 2 :])


TARGETS: dict[str, tuple[Target, list[bytes]]] = {
    "accept": (accept, [b"application/json;q=0.5, */*;q=0", b"gzip;q=1.0, br, *;q=0"]),
    "authorization": (authorization, [b"YW5uOnNlY3JldA==", "zoë:p\u0301w".encode()]),
    "body": (body, [b'{"a": [1, 2.5e3, "\\ud83d\\ude00", null, true]}', b'{"a":1,"a":2}']),
    "canonical_json": (canonical_json, [b'{"b": 1e21, "a": [-0.0, 1E-7, "\\u20ac"]}', b"YWJj"]),
    "chunks": (chunks, [b"3\r\nabc\r\n0A\r\n0123456789\r\n0\r\n\r\n"]),
    "cursor": (cursor, [_CODEC.encode(Cursor([1], "a", False, False), "another scope").encode()]),
    "entity_tags": (entity_tags, [b'"1-a", W/"2-b;gzip"', b"*"]),
    "key_files": (
        key_files,
        [
            _RING.read_bytes(),
            b'{"format":"tornado_couch encrypted keys","version":1,"wrapping":{"by":"outer key","salt":"YWJj"}}',
        ],
    ),
    "lines": (lines, [b'{"a":1}\r\n\n{"b":2}', b"\x1f\x8b\x08\0\0\0\0\0\0\x03K\xe2\x02\0Z\xcb\x81\xff\x02\0\0\0"]),
    "multipart": (multipart, [b'x\n--x\r\nContent-Disposition: attachment; filename="a"\r\n\r\nabc\r\n--x--']),
    "patch": (patch, [b'[{"op":"add","path":"/a/-","value":1},{"op":"move","from":"/c","path":"/~1~0"}]']),
    "prefer": (prefer, [b'return=minimal; a="b\\"c", handling=strict']),
    "query": (query, [b"name=a&number[gte]=3&sort=-number&fields=name,number&limit=10&count=true&cursor=abc"]),
    "request_head": (request_head, [b"POST /a HTTP/1.1\r\nHost: a\r\nX:\r\nX: b\r\nContent-Length: 3\r\n\r\nabc"]),
    "request_target": (request_target, [b"/db/%61%2Fb?rev=1-a&open_revs=[]&key=%22a%22"]),
    "revisions": (revisions, [b"3-917fa2381192822767f010b95b45325b"]),
    "uploads": (uploads, [b'--x\r\nContent-Disposition: form-data; name="a"; filename="b"\r\n\r\nc\r\n--x--']),
}
