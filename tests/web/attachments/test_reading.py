"""GET and HEAD of files: each header field and status of RFC 9110, RFC 6266 and RFC 9530."""

from __future__ import annotations

import base64
import email
import email.policy
import hashlib
import random
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.web.attachments.conftest import JPEG, PDF, PNG, application, put
from tests.web.conftest import Client, Reply, Serve
from tornado_couch import (
    AllowAny,
    Application,
    Attachment,
    Database,
    Encrypted,
    Model,
    Store,
    install,
    resource,
)
from tornado_couch.security import KeyRing
from tornado_couch.web import Cors

CONTENT = random.Random(1).randbytes(700_000)


def digest(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


@pytest.fixture
async def photo(ask: Client, order: str) -> str:
    """The path of a photo."""
    path = f"{order}/photos/front.png"
    assert (await put(ask, path, PNG)).status == 201
    return path


async def test_a_file_comes_with_all_that_is_known_of_it(ask: Client, photo: str) -> None:
    """Type, length, entity tag, digest, name; and nothing that lets a script in it run."""
    reply = await ask("GET", photo)
    assert (reply.status, reply.text) == (200, PNG)
    said = reply.headers
    assert said["Content-Type"] == "image/png"
    assert said["Content-Length"] == str(len(PNG))
    assert said["ETag"].startswith('"sha256-')
    assert said["Accept-Ranges"] == "bytes"
    assert said["Repr-Digest"] == digest(PNG)
    assert said["Content-Disposition"] == 'inline; filename="front.png"'
    assert said["X-Content-Type-Options"] == "nosniff"
    assert said["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert said["Cache-Control"] == "private, no-cache"


async def test_head_is_get_without_the_bytes(ask: Client, photo: str) -> None:
    """RFC 9110 §9.3.2; and §14.2: a range means nothing to HEAD."""
    get, head = await ask("GET", photo), await ask("HEAD", photo, Range="bytes=0-1")
    assert (head.status, head.text) == (200, b"")
    assert {n: v for n, v in head.headers.items() if n != "Date"} == {
        n: v for n, v in get.headers.items() if n != "Date"
    }


async def test_an_unchanged_file_is_not_sent_again(ask: Client, photo: str) -> None:
    """RFC 9110 §13.1.2, §15.4.5: 304 with the fields that the 200 would have, and without content."""
    tag = (await ask("GET", photo)).headers["ETag"]
    for field in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        reply = await ask("GET", photo, If_None_Match=field, Range="bytes=0-1")
        assert (reply.status, reply.text, reply.headers["ETag"]) == (304, b"", tag)
        assert {"Cache-Control", "Vary"} <= reply.headers.keys()
    assert (await ask("GET", photo, If_None_Match='"other"')).status == 200
    assert (await ask("HEAD", photo, If_None_Match=tag)).status == 304


async def test_a_precondition_that_fails_is_412(ask: Client, photo: str) -> None:
    """RFC 9110 §13.2.2: If-Match goes first, and the answer has the current entity tag."""
    tag = (await ask("GET", photo)).headers["ETag"]
    reply = await ask("GET", photo, If_Match='"other"', If_None_Match=tag)
    assert (reply.status, reply.headers["ETag"]) == (412, tag)
    assert (await ask("GET", photo, If_Match=tag)).status == 200
    assert (await ask("GET", photo, If_Match="*")).status == 200
    assert (await ask("GET", photo, If_Match="nonsense")).status == 400


async def test_a_range_is_a_206(ask: Client, photo: str) -> None:
    """RFC 9110 §15.3.7.1: Content-Range, and the digest of the whole file (RFC 9530 §3)."""
    reply = await ask("GET", photo, Range="bytes=1-3")
    assert (reply.status, reply.text) == (206, PNG[1:4])
    assert reply.headers["Content-Range"] == f"bytes 1-3/{len(PNG)}"
    assert reply.headers["Content-Length"] == "3"
    assert reply.headers["Content-Type"] == "image/png"
    assert reply.headers["Repr-Digest"] == digest(PNG)
    assert reply.headers["ETag"] == (await ask("GET", photo)).headers["ETag"]


async def test_several_ranges_are_a_multipart_message(ask: Client, photo: str) -> None:
    """RFC 9110 §15.3.7.2: each part with its own Content-Type and Content-Range, in the order of the request."""
    reply = await ask("GET", photo, Range="bytes=-2,0-0,1-2")
    assert reply.status == 206
    assert "Content-Range" not in reply.headers
    assert reply.headers["Content-Length"] == str(len(reply.text))
    head = f"Content-Type: {reply.headers['Content-Type']}\r\n\r\n".encode()
    message: Any = email.message_from_bytes(head + reply.text, policy=email.policy.HTTP)
    assert message.get_content_type() == "multipart/byteranges"
    parts = [(each["Content-Range"], each.get_content_type()) for each in message.iter_parts()]
    length = len(PNG)
    assert parts == [
        (f"bytes {length - 2}-{length - 1}/{length}", "image/png"),
        (f"bytes 0-2/{length}", "image/png"),
    ]


async def test_a_range_that_is_not_there_is_416(ask: Client, photo: str) -> None:
    """RFC 9110 §15.5.17: the answer says how long the file is."""
    reply = await ask("GET", photo, Range="bytes=1000-")
    assert (reply.status, reply.headers["Content-Range"]) == (416, f"bytes */{len(PNG)}")
    assert reply.json["type"] == "urn:tornado-couch:problem:range-not-satisfiable"


async def test_a_range_that_is_not_valid_is_ignored(ask: Client, photo: str) -> None:
    """RFC 9110 §14.2: another unit, nonsense, or too many of them: the whole file."""
    many = "bytes=" + ",".join(f"{3 * n}-{3 * n}" for n in range(20))
    for field in ("lines=1-2", "bytes=5-1", "nonsense", many):
        reply = await ask("GET", photo, Range=field)
        assert (reply.status, reply.text) == (200, PNG)


async def test_a_range_is_served_only_if_the_file_is_the_same(ask: Client, photo: str) -> None:
    """RFC 9110 §13.1.5: If-Range with the strong current tag; otherwise the whole file comes."""
    tag = (await ask("GET", photo)).headers["ETag"]
    assert (await ask("GET", photo, Range="bytes=0-0", If_Range=tag)).status == 206
    for field in (f"W/{tag}", '"other"', "Tue, 15 Nov 1994 08:12:31 GMT"):
        assert (await ask("GET", photo, Range="bytes=0-0", If_Range=field)).status == 200
    assert (await ask("GET", photo, Range="bytes=0-0", If_Match='"other"')).status == 412


async def test_ranges_of_a_file_are_its_bytes(ask: Client, order: str) -> None:
    """Byte for byte, whatever is asked for, and also where the store hands it out in several parts."""
    path = f"{order}/anything"
    assert (await put(ask, path, CONTENT, "application/x-bytes")).status == 201
    assert (await ask("GET", path)).text == CONTENT
    for first, last in ((0, 0), (262_143, 262_144), (699_999, 700_100), (1, 699_998), (300_000, 300_000)):
        reply = await ask("GET", path, Range=f"bytes={first}-{last}")
        assert (reply.status, reply.text) == (206, CONTENT[first : last + 1])


_ENDS = st.integers(0, 760)
_SPECS = st.one_of(
    st.tuples(_ENDS, _ENDS).map(lambda ends: f"{min(ends)}-{max(ends)}"),
    _ENDS.map(lambda first: f"{first}-"),
    _ENDS.map(lambda count: f"-{count}"),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(specs=st.lists(_SPECS, min_size=1, max_size=6))
async def test_ranges_agree_with_a_model(ask: Client, order: str, specs: list[str]) -> None:
    """By Hypothesis: the status, and every byte of single and multiple ranges."""
    content, path = CONTENT[:700], f"{order}/anything"
    if (await ask("HEAD", path)).status == 404:
        assert (await put(ask, path, content, "application/x-bytes")).status == 201
    reply = await ask("GET", path, Range="bytes=" + ",".join(specs))
    wanted = set().union(*(_positions(each) for each in specs))
    assert reply.status == (206 if wanted else 416)
    found: dict[int, int] = {}
    for span, part in _parts(reply) if wanted else ():
        first = int(span.removeprefix("bytes ").partition("-")[0])
        assert span == f"bytes {first}-{first + len(part) - 1}/700"
        assert not found.keys() & set(range(first, first + len(part)))
        found.update(enumerate(part, first))
    assert found == {position: content[position] for position in wanted}


def _positions(spec: str) -> set[int]:
    first, _, last = spec.partition("-")
    if not first:
        return set(range(700)[max(0, 700 - int(last)) :])
    return set(range(int(first), min(int(last) + 1, 700) if last else 700))


def _parts(reply: Reply) -> list[tuple[str, bytes]]:
    """The parts of a 206: their Content-Range, and their bytes."""
    kind, _, boundary = reply.headers["Content-Type"].partition("; boundary=")
    if kind != "multipart/byteranges":
        return [(reply.headers["Content-Range"], reply.text)]
    found = []
    for part in (b"\r\n" + reply.text).split(f"\r\n--{boundary}".encode())[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        fields = dict(line.split(": ") for line in head.decode().strip().split("\r\n"))
        found.append((fields["Content-Range"], content))
    return found


async def test_a_page_is_never_shown_in_the_window(ask: Client, order: str) -> None:
    """What a browser could run is an attachment: pages, pictures made of text, and what nobody knows."""
    for kind, content in {
        "text/html": b"<html><script>alert(1)</script>",
        "image/svg+xml": b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>",
        "text/plain": b"plain",
        "application/x-unknown": b"\0\1",
    }.items():
        assert (await put(ask, f"{order}/anything", content, kind)).status in (200, 201)
        reply = await ask("GET", f"{order}/anything")
        assert reply.headers["Content-Disposition"] == 'attachment; filename="anything"'
        assert reply.headers["Content-Type"] == kind
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert (await put(ask, f"{order}/invoice", PDF, "application/pdf")).status == 201
    assert (await ask("GET", f"{order}/invoice")).headers["Content-Disposition"].startswith("inline")


async def test_a_name_of_every_language_is_said(ask: Client, order: str) -> None:
    """RFC 6266 §4.3, appendix D: in ASCII for old clients, and as it is; the address has it percent-encoded."""
    path = f"{order}/photos/p%C3%AAche%20%25%F0%9F%8D%91.jpg"
    stored = await put(ask, path, JPEG, "image/jpeg")
    assert (stored.status, stored.headers["Location"]) == (201, path)
    reply = await ask("GET", path)
    plain, extended = reply.headers["Content-Disposition"].split("; ")[1:]
    assert plain.isascii()
    assert extended == "filename*=UTF-8''p%C3%AAche%20%25%F0%9F%8D%91.jpg"


@pytest.mark.parametrize(
    "name", ["..%2f..%2fetc", "a%2Fb", "%2e%2e", "a%00b", "a%0d%0aX-Evil:1", "_design", "%5c", "%ff", ".hidden", "%20"]
)
async def test_a_hostile_name_names_nothing(ask: Client, order: str, name: str) -> None:
    """A GET finds nothing, and a PUT is one clear refusal; nothing reaches the database."""
    assert (await ask("GET", f"{order}/photos/{name}")).status in (400, 404)
    reply = await put(ask, f"{order}/photos/{name}", PNG)
    assert reply.status in (400, 404)
    assert (await ask("GET", f"{order}/photos")).json == {"items": []}


async def test_nothing_is_404(ask: Client, order: str, photo: str) -> None:
    """A document that is not there, a file that is not there, whatever the preconditions."""
    for path in (f"{order}/invoice", f"{order}/photos/other.png", "/orders/none/invoice", "/orders/none/photos"):
        assert (await ask("GET", path, If_None_Match="*", Range="bytes=0-0")).status == 404
        assert (await ask("HEAD", path)).status == 404
    reply = await ask("GET", f"{photo}?size=1")
    assert (reply.status, reply.json["parameter"]) == (400, "size")


async def test_a_document_shows_its_files(ask: Client, order: str, photo: str) -> None:
    """In itself, in lists and in changes: type, length, digest, address and entity tag; a write answers the same."""
    stored = await ask("GET", photo)
    shown = {"content_type": "image/png", "length": len(PNG), "_href": photo, "_etag": stored.headers["ETag"]}
    shown["digest"] = stored.headers["ETag"].strip('"')
    document = (await ask("GET", order)).json
    assert document["photos"] == {"front.png": shown}
    assert "invoice" not in document
    assert (await ask("GET", "/orders")).json["items"][0]["photos"] == {"front.png": shown}
    changes = (await ask("GET", "/orders/_changes?since=beginning")).json["items"]
    assert changes[0]["photos"] == {"front.png": shown}
    listed = await ask("GET", f"{order}/photos")
    assert listed.json == {"items": [{"name": "front.png", **shown}]}
    assert (await ask("GET", f"{order}/photos", If_None_Match=listed.headers["ETag"])).status == 304
    assert (await put(ask, photo, PNG)).json == shown


async def test_files_can_have_an_origin_of_their_own(store: Store, serve: Serve) -> None:
    """Addresses lead there, and only there a browser shows a picture in its window."""
    ask = await serve(application(store, files_origin="https://files.example.net"))
    order = (await ask("POST", "/orders", {})).headers["Location"]
    stored = await put(ask, f"{order}/photos/a.png", PNG)
    href = f"https://files.example.net{order}/photos/a.png"
    assert (stored.headers["Location"], stored.json["_href"]) == (href, href)
    assert (await ask("GET", order)).json["photos"]["a.png"]["_href"] == href
    here = await ask("GET", f"{order}/photos/a.png")
    assert here.headers["Content-Disposition"].startswith("attachment")
    there = await ask("GET", f"{order}/photos/a.png", Host="files.example.net")
    assert there.headers["Content-Disposition"].startswith("inline")
    with pytest.raises(ValueError, match="files_origin"):
        application(store, files_origin="files.example.net/")


async def test_scripts_of_other_origins_may_read_ranges(store: Store, serve: Serve) -> None:
    """CORS: Range and If-Range may be sent, Content-Range and the other fields of files be read."""
    ask = await serve(application(store, cors=Cors(["https://app.example.com"])))
    origin = {"Origin": "https://app.example.com"}
    order = (await ask("POST", "/orders", {})).headers["Location"]
    asked = {"Access_Control_Request_Method": "PUT", "Access_Control_Request_Headers": "if-match,range,if-range"}
    reply = await ask("OPTIONS", f"{order}/photos/a.png", **origin, **asked)
    allowed = reply.headers["Access-Control-Allow-Headers"].split(", ")
    assert {"Range", "If-Range", "Repr-Digest", "Content-Disposition"} <= set(allowed)
    assert {"PUT", "DELETE"} <= set(reply.headers["Access-Control-Allow-Methods"].split(", "))
    await put(ask, f"{order}/photos/a.png", PNG)
    exposed = (await ask("GET", f"{order}/photos/a.png", **origin)).headers["Access-Control-Expose-Headers"]
    assert {"Accept-Ranges", "Content-Range", "Content-Disposition", "Repr-Digest"} <= set(exposed.split(", "))


async def test_a_file_is_never_coded_on_the_fly(store: Store, serve: Serve) -> None:
    """Not for a client that accepts gzip, and not where the service compresses what it answers."""
    ask = await serve(application(store, compress_response=True))
    order = (await ask("POST", "/orders", {})).headers["Location"]
    await put(ask, f"{order}/anything", b"text " * 1000, "text/plain; charset=utf-8")
    reply = await ask("GET", f"{order}/anything", Accept_Encoding="gzip")
    assert "Content-Encoding" not in reply.headers
    assert (len(reply.text), reply.headers["Content-Length"]) == (5000, "5000")
    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"


async def test_a_file_of_another_program_has_no_digest_of_ours(ask: Client, store: Store, order: str) -> None:
    """Its SHA-256 is not known: Repr-Digest is left out, never MD5; the entity tag is CouchDB's digest."""
    document = await store.database.get(order.rpartition("/")[2])
    data = base64.b64encode(PDF).decode()
    document["_attachments"] = {"invoice": {"content_type": "application/pdf", "data": data}}
    await store.database.put(document)
    reply = await ask("GET", f"{order}/invoice")
    assert (reply.status, reply.text) == (200, PDF)
    assert reply.headers["ETag"].startswith('"md5-')
    assert "Repr-Digest" not in reply.headers
    assert (await ask("GET", f"{order}/invoice", If_None_Match=reply.headers["ETag"])).status == 304
    ranged = await ask("GET", f"{order}/invoice", Range="bytes=1-3", If_Range=reply.headers["ETag"])
    assert (ranged.status, ranged.text, "Repr-Digest" in ranged.headers) == (206, PDF[1:4], False)


class Sealed(Model, type="sealed_v1.0", key="name", unique=True):
    name: str
    scan: Annotated[Attachment | None, Encrypted()] = None


async def test_ranges_of_an_encrypted_file_are_those_of_the_file(database: Database, serve: Serve) -> None:
    """Type, length, digest and bytes are those of what was uploaded; a file that was altered is 502."""
    await install(database.server, database.name, [Sealed])  # type: ignore[arg-type]
    ring = KeyRing.create()
    store = Store(database, crypter=ring, signer=ring)
    ask = await serve(Application(resource("/sealed", Sealed, store), policy=AllowAny()))
    await ask("POST", "/sealed", {"name": "a"})
    assert (await put(ask, "/sealed/a/scan", CONTENT, "application/x-bytes")).status == 201
    reply = await ask("GET", "/sealed/a/scan")
    assert (reply.text, reply.headers["Repr-Digest"]) == (CONTENT, digest(CONTENT))
    for first, last in ((0, 0), (65_535, 65_536), (699_990, 700_100)):
        ranged = await ask("GET", "/sealed/a/scan", Range=f"bytes={first}-{last}")
        assert (ranged.status, ranged.text) == (206, CONTENT[first : last + 1])
    several = await ask("GET", "/sealed/a/scan", Range="bytes=-2,0-1")
    assert [part for _, part in _parts(several)] == [CONTENT[-2:], CONTENT[:2]]
    document = await database.get((await store.get(Sealed, "a"))._id or "", attachments=True)
    stored = bytearray(base64.b64decode(document["_attachments"]["scan"]["data"]))
    stored[100] ^= 1
    document["_attachments"]["scan"]["data"] = base64.b64encode(stored).decode()
    await database.put(document)
    for fields in ({}, {"Range": "bytes=0-10"}):
        refused = await ask("GET", "/sealed/a/scan", **fields)
        assert (refused.status, refused.json["type"]) == (502, "urn:tornado-couch:problem:tampered-document")
