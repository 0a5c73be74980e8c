"""PUT, POST and DELETE of files: each status, and what is there afterwards."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import tempfile
from collections.abc import AsyncIterator
from typing import Any
from unittest import mock

import pytest

from tests.faults import until
from tests.servers import sent
from tests.web.attachments.conftest import JPEG, PDF, PNG, put
from tests.web.conftest import Client, Reply
from tornado_couch import Store

OTHER = PNG + b"other"
FORM = "multipart/form-data; boundary=XX"


def form(*parts: tuple[str, str | None, str, bytes]) -> bytes:
    """A form of parts: name, name of the file, media type, content."""
    found = b""
    for name, filename, media_type, content in parts:
        file = "" if filename is None else f'; filename="{filename}"'
        kind = f"Content-Type: {media_type}\r\n" if media_type else ""
        head = f'--XX\r\nContent-Disposition: form-data; name="{name}"{file}\r\n{kind}\r\n'
        found += head.encode() + content + b"\r\n"
    return found + b"--XX--\r\n"


def problem(reply: Reply) -> tuple[int, str]:
    """The status of an answer, and the kind of problem."""
    return reply.status, reply.json["type"].rpartition(":")[2]


async def test_a_put_stores_a_file_and_another_put_replaces_it(ask: Client, order: str) -> None:
    """201 with Location, then 200; each answers with the entity tag that the next GET has (RFC 9110 §9.3.4)."""
    path = f"{order}/photos/a.png"
    created = await put(ask, path, PNG)
    assert (created.status, created.headers["Location"]) == (201, path)
    assert created.headers["ETag"] == (await ask("GET", path)).headers["ETag"] == created.json["_etag"]
    replaced = await put(ask, path, OTHER)
    assert (replaced.status, "Location" in replaced.headers) == (200, False)
    reply = await ask("GET", path)
    assert (reply.text, reply.headers["ETag"]) == (OTHER, replaced.headers["ETag"])


async def test_a_client_may_prefer_no_body(ask: Client, order: str) -> None:
    """RFC 7240: 201 and 204 without content, with the entity tag."""
    for status in (201, 204):
        reply = await put(ask, f"{order}/invoice", PDF, "application/pdf", Prefer="return=minimal")
        assert (reply.status, reply.text, reply.headers["Preference-Applied"]) == (status, b"", "return=minimal")
        assert reply.headers["ETag"] == (await ask("GET", f"{order}/invoice")).headers["ETag"]


async def test_preconditions_are_about_the_file(ask: Client, order: str) -> None:
    """RFC 9110 §13.1: another file, or another property, does not matter; this file does."""
    path, first = f"{order}/photos/a.png", f"{order}/photos/b.png"
    assert problem(await put(ask, path, PNG, If_Match="*")) == (412, "file-mismatch")
    created = await put(ask, path, PNG, If_None_Match="*")
    assert created.status == 201
    assert problem(await put(ask, path, OTHER, If_None_Match="*")) == (412, "file-mismatch")
    tag = created.headers["ETag"]
    assert (await put(ask, first, JPEG, "image/jpeg")).status == 201
    assert (await ask("PATCH", order, {"customer": "Ann"}, Content_Type="application/merge-patch+json")).status == 200
    replaced = await put(ask, path, OTHER, If_Match=tag)
    assert replaced.status == 200
    refused = await put(ask, path, PNG, If_Match=tag)
    assert (problem(refused), refused.headers["ETag"]) == ((412, "file-mismatch"), replaced.headers["ETag"])
    assert problem(await put(ask, path, PNG, If_Match=f"W/{replaced.headers['ETag']}")) == (412, "file-mismatch")
    assert (await ask("DELETE", path, If_Match=tag)).status == 412
    assert (await ask("GET", path)).text == OTHER
    assert (await ask("DELETE", path, If_Match=replaced.headers["ETag"])).status == 204


async def test_the_revision_of_the_document_is_not_that_of_a_file(ask: Client, order: str) -> None:
    """If-Match with the document's tag is 412; a file's change is a new revision of the document."""
    before = (await ask("GET", order)).headers["ETag"]
    assert (await put(ask, f"{order}/invoice", PDF, "application/pdf")).status == 201
    assert (await put(ask, f"{order}/invoice", PDF, "application/pdf", If_Match=before)).status == 412
    assert (await ask("GET", order)).headers["ETag"] != before
    assert (await ask("PUT", order, {"customer": "x"}, If_Match=before)).status == 412


async def test_a_tag_can_be_demanded(ask: Client, order: str) -> None:
    """RFC 6585 §3: with `require_if_match`, a file that is there is only written by its tag."""
    path = order.replace("/orders", "/guarded") + "/photos/a.png"
    created = await put(ask, path, PNG)
    assert created.status == 201
    assert problem(await put(ask, path, OTHER)) == (428, "if-match-required")
    assert problem(await ask("DELETE", path)) == (428, "if-match-required")
    assert (await put(ask, path, OTHER, If_Match=created.headers["ETag"])).status == 200
    assert (await ask("DELETE", path, If_Match="*")).status == 204


async def test_a_deleted_file_is_gone(ask: Client, order: str) -> None:
    """204, then 404; the document and its other files stay."""
    for name in ("a.png", "b.png"):
        await put(ask, f"{order}/photos/{name}", PNG)
    assert (await ask("DELETE", f"{order}/photos/a.png")).status == 204
    assert (await ask("DELETE", f"{order}/photos/a.png")).status == 404
    assert (await ask("DELETE", f"{order}/photos/a.png", If_Match="*")).status == 412
    assert list((await ask("GET", order)).json["photos"]) == ["b.png"]


async def test_writes_of_the_document_leave_its_files_alone(ask: Client, order: str) -> None:
    """PUT and PATCH keep what they leave out or send back as it was; null drops it; anything else is 422."""
    await put(ask, f"{order}/invoice", PDF, "application/pdf")
    await put(ask, f"{order}/photos/a.png", PNG)
    merge = {"Content_Type": "application/merge-patch+json"}
    read = (await ask("GET", order)).json
    assert (await ask("PUT", order, {"customer": "without"})).json["photos"] == read["photos"]
    assert (await ask("PUT", order, {**read, "customer": "sent back"})).json["invoice"] == read["invoice"]
    assert (await ask("PATCH", order, {"customer": "patched"}, **merge)).json["photos"] == read["photos"]
    assert (await ask("GET", f"{order}/invoice")).text == PDF
    forged = {**read["invoice"], "digest": "sha256-x"}
    assert (await ask("PUT", order, {**read, "invoice": forged})).status == 422
    assert (await ask("PATCH", order, {"invoice": "data"}, **merge)).status == 422
    assert (await ask("POST", "/orders", {"invoice": read["invoice"]})).status == 422
    dropped = await ask("PATCH", order, {"invoice": None, "photos": {"a.png": None}}, **merge)
    assert (dropped.status, "invoice" in dropped.json, dropped.json.get("photos")) == (200, False, {})
    assert (await ask("GET", f"{order}/invoice")).status == 404


# ---------------------------------------------------------------- what is refused


async def test_a_file_of_another_type_is_415(ask: Client, order: str) -> None:
    """By its declaration, and by its content; the answer lists the types that the property takes."""
    reply = await put(ask, f"{order}/photos/a", PDF, "application/pdf")
    assert (problem(reply), reply.json["accepted"]) == ((415, "file-type"), ["image/*"])
    for kind in ("", "nonsense", "image/*", "image/png/x"):
        assert problem(await put(ask, f"{order}/photos/a", PNG, kind)) == (415, "file-type")
    for content in (JPEG, b"<svg/>", b"", b"<html>" + b"x" * 20_000):
        assert problem(await put(ask, f"{order}/photos/a", content)) == (415, "file-content")
    assert (await put(ask, f"{order}/photos/a", PNG, Content_Encoding="gzip")).status == 415
    assert (await put(ask, f"{order}/photos/a", PNG, Content_Range="bytes 0-1/2")).status == 400
    assert (await ask("GET", f"{order}/photos")).json == {"items": []}


async def test_a_file_that_will_be_too_large_is_refused_before_it_comes(ask: Client, order: str) -> None:
    """413 as soon as Content-Length says so: the answer is there while the client has yet to send the file."""
    port, length = int(ask.url.rpartition(":")[2]), 60_000
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    fields = f"Host: a\r\nContent-Type: image/png\r\nContent-Length: {length}\r\n\r\n"
    writer.write(f"PUT {order}/photos/a.png HTTP/1.1\r\n{fields}".encode())
    async with asyncio.timeout(10):
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 413 ")
        content = await reader.readuntil(b"}")
        assert b'"limit":50000' in content
        # What it sends all the same is dropped, and the connection is good for another request.
        writer.write(bytes(length) + f"GET {order} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_a_client_that_waits_for_our_word_sends_nothing(ask: Client, order: str) -> None:
    """RFC 9110 §10.1.1: with Expect, the refusal comes in place of 100."""
    port = int(ask.url.rpartition(":")[2])
    fields = "Host: a\r\nContent-Type: image/png\r\nContent-Length: 60000\r\nExpect: 100-continue\r\n\r\n"
    answer = await sent(port, f"PUT {order}/photos/a.png HTTP/1.1\r\n{fields}".encode())
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_file_that_turns_out_too_large_is_refused_while_it_comes(ask: Client, order: str) -> None:
    """A body without a length is counted: 413, and nothing is stored."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(8):
            yield PNG + bytes(10_000)

    reply = await ask("PUT", f"{order}/photos/a.png", data=endless(), Content_Type="image/png")
    assert problem(reply) == (413, "file-too-large")
    assert (await ask("GET", f"{order}/photos")).json == {"items": []}


async def test_who_is_refused_anyway_need_not_send_the_file(ask: Client, order: str) -> None:
    """A document that is not there, a tag that does not hold: answered before the body has come."""
    port = int(ask.url.rpartition(":")[2])
    await put(ask, f"{order}/photos/a.png", PNG)
    for path, field, status in (
        ("/orders/none/photos/a.png", "X: y", b"404"),
        (f"{order}/photos/a.png", 'If-Match: "other"', b"412"),
        (f"{order}/photos/a.png", "If-None-Match: *", b"412"),
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        fields = f"Host: a\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n{field}\r\n\r\n"
        writer.write(f"PUT {path} HTTP/1.1\r\n{fields}".encode())
        async with asyncio.timeout(10):
            assert (await reader.readuntil(b"\r\n\r\n")).split()[1] == status
        writer.close()


async def test_a_property_has_only_so_many_files(ask: Client, order: str) -> None:
    """409 with the limit; a file that is there can be replaced all the same."""
    for name in ("a", "b", "c"):
        assert (await put(ask, f"{order}/photos/{name}", PNG)).status == 201
    reply = await put(ask, f"{order}/photos/d", PNG)
    assert (problem(reply), reply.json["limit"]) == ((409, "too-many-files"), 3)
    assert problem(await ask("POST", f"{order}/photos", data=PNG, Content_Type="image/png")) == (409, "too-many-files")
    assert (await put(ask, f"{order}/photos/a", OTHER)).status == 200


async def test_a_digest_is_checked(ask: Client, order: str) -> None:
    """RFC 9530: what was damaged on its way is 400, and nothing is stored; so is a digest that is none."""
    for content in (PNG, OTHER):
        said = f"sha-256=:{base64.b64encode(hashlib.sha256(PNG).digest()).decode()}:"
        for field in ("Repr_Digest", "Content_Digest"):
            reply = await put(ask, f"{order}/photos/{field}", content, **{field: said})
            assert reply.status == (201 if content is PNG else 400)
            if content is OTHER:
                assert (await ask("GET", f"{order}/photos/{field}")).text == PNG
    assert (await put(ask, f"{order}/photos/x", PNG, Repr_Digest="sha-256=x")).status == 400


async def test_what_is_not_offered_is_405(ask: Client, order: str) -> None:
    """`Allow` says what is: a file that a document cannot be without is not deleted."""
    form_body = form(("document", None, "", b'{"name": "a"}'), ("text", "t.pdf", "application/pdf", PDF))
    created = await ask("POST", "/contracts", data=form_body, Content_Type=FORM)
    assert created.status == 201
    reply = await ask("DELETE", "/contracts/a/text")
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD, PUT, OPTIONS")
    reply = await ask("DELETE", f"{order}/photos")
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD, POST, OPTIONS")
    assert (await ask("OPTIONS", f"{order}/photos/a")).headers["Allow"] == "GET, HEAD, DELETE, PUT, OPTIONS"


# ---------------------------------------------------------------- POST to the collection of files


async def test_a_post_stores_a_file_under_its_name(ask: Client, order: str) -> None:
    """201 with Location; a name that is taken is 409, a name that cannot be is 400."""
    fields = {"Content_Type": "image/png", "Content_Disposition": "attachment; filename*=UTF-8''p%C3%AAche.png"}
    reply = await ask("POST", f"{order}/photos", data=PNG, **fields)
    assert (reply.status, reply.headers["Location"]) == (201, f"{order}/photos/p%C3%AAche.png")
    assert reply.json["_href"] == reply.headers["Location"]
    assert problem(await ask("POST", f"{order}/photos", data=OTHER, **fields)) == (409, "exists")
    for field in ('attachment; filename=".."', "attachment; filename", 'attachment; filename="a\tb"'):
        fields["Content_Disposition"] = field
        assert (await ask("POST", f"{order}/photos", data=PNG, **fields)).status == 400
    assert (await ask("GET", f"{order}/photos/p%C3%AAche.png")).text == PNG


async def test_a_post_without_a_name_is_given_one(ask: Client, order: str) -> None:
    """A random one, with the ending of its type."""
    replies = [await ask("POST", f"{order}/photos", data=PNG, Content_Type="image/png") for _ in "ab"]
    assert len({each.headers["Location"] for each in replies}) == 2
    assert all(each.headers["Location"].endswith(".png") for each in replies)


async def test_a_form_stores_its_files(ask: Client, order: str) -> None:
    """As a browser sends it: one file is a 201, several have a result each; an empty field is ignored."""
    one = form(("photos", "a.png", "image/png", PNG), ("photos", "", "application/octet-stream", b""))
    reply = await ask("POST", f"{order}/photos", data=one, Content_Type=FORM)
    assert (reply.status, reply.headers["Location"]) == (201, f"{order}/photos/a.png")
    two = form(("photos", "a.png", "image/png", OTHER), ("photos", "C:\\pics\\b.jpg", "image/jpeg", JPEG))
    reply = await ask("POST", f"{order}/photos", data=two, Content_Type=FORM)
    assert [(each["name"], each["status"]) for each in reply.json["items"]] == [("a.png", 409), ("b.jpg", 201)]
    assert reply.json["items"][0]["problem"]["type"].endswith(":exists")
    assert [each["name"] for each in (await ask("GET", f"{order}/photos")).json["items"]] == ["a.png", "b.jpg"]
    assert (await ask("GET", f"{order}/photos/a.png")).text == PNG


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([("photos", "a.pdf", "application/pdf", PDF)], 415),
        ([("photos", "a.png", "image/png", JPEG)], 415),
        ([("photos", "a.png", "image/png", PNG + bytes(50_000))], 413),
        ([("photos", "a.png", "image/png", PNG), ("photos", "b.png", "image/png", b"<svg/>")], 415),
        ([("photos", f"{n}.png", "image/png", PNG) for n in range(4)], 409),
        ([("photos", f"{n}.png", "image/png", PNG) for n in range(40)], 413),
        ([("images", "a.png", "image/png", PNG)], 422),
        ([("photos", "", "", b"")], 422),
        ([("photos", "...", "image/png", PNG)], 400),
        ([], 422),
    ],
)
async def test_a_form_with_a_fault_stores_nothing(ask: Client, order: str, parts: list[Any], status: int) -> None:
    """Wrong type, too large, too many, another field, no file at all."""
    reply = await ask("POST", f"{order}/photos", data=form(*parts), Content_Type=FORM)
    assert reply.status == status
    assert (await ask("GET", f"{order}/photos")).json == {"items": []}


async def test_an_idempotency_key_makes_a_post_safe_to_repeat(ask: Client, order: str) -> None:
    """The same 201, one file; another file under the key is 422, and one that was deleted since is 410."""
    fields = {"Content_Type": "image/png", "Idempotency_Key": '"abc"'}
    first = await ask("POST", f"{order}/photos", data=PNG, **fields)
    second = await ask("POST", f"{order}/photos", data=PNG, **fields)
    assert (first.status, second.status) == (201, 201)
    assert (second.headers["Location"], second.json) == (first.headers["Location"], first.json)
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert problem(await ask("POST", f"{order}/photos", data=OTHER, **fields)) == (422, "idempotency-key-reused")
    assert len((await ask("GET", f"{order}/photos")).json["items"]) == 1
    await ask("DELETE", first.headers["Location"])
    assert problem(await ask("POST", f"{order}/photos", data=PNG, **fields)) == (410, "idempotent-result-gone")
    fields["Idempotency_Key"] = ""
    assert problem(await ask("POST", f"{order}/photos", data=PNG, **fields)) == (400, "malformed-idempotency-key")


# ---------------------------------------------------------------- at once, and in pieces


async def test_two_files_at_once_are_both_stored(ask: Client, order: str) -> None:
    """A conflict over the document is tried again, since each precondition is about its own file."""
    names = ["a", "b", "c"]
    replies = await asyncio.gather(*(put(ask, f"{order}/photos/{each}", PNG, If_None_Match="*") for each in names))
    assert [each.status for each in replies] == [201] * 3
    assert sorted((await ask("GET", order)).json["photos"]) == names


async def test_of_many_writers_of_one_file_one_wins(ask: Client, order: str) -> None:
    """With one tag, one is 200 and the others 412; the file is the winner's, whole."""
    tag = (await put(ask, f"{order}/photos/a", PNG)).headers["ETag"]
    contents = [PNG + bytes([n]) * 100 for n in range(5)]
    replies = await asyncio.gather(*(put(ask, f"{order}/photos/a", each, If_Match=tag) for each in contents))
    assert sorted(each.status for each in replies) == [200, 412, 412, 412, 412]
    winner = next(index for index, each in enumerate(replies) if each.status == 200)
    assert (await ask("GET", f"{order}/photos/a")).text == contents[winner]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
async def test_an_upload_that_is_cut_off_changes_nothing(ask: Client, store: Store, order: str, share: float) -> None:
    """The client leaves in the middle of the file: the document has its old one, and the old revision."""
    await put(ask, f"{order}/photos/a.png", PNG)
    before = await ask("GET", order)
    port, content = int(ask.url.rpartition(":")[2]), PNG + bytes(49_000)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    fields = f"Host: a\r\nContent-Type: image/png\r\nContent-Length: {len(content)}\r\n\r\n"
    writer.write(f"PUT {order}/photos/a.png HTTP/1.1\r\n{fields}".encode() + content[: int(len(content) * share)])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await ask("GET", f"{order}/photos/a.png")).text == PNG
    assert (await ask("GET", order)).headers["ETag"] == before.headers["ETag"]


async def test_no_spooled_file_stays_behind(ask: Client, order: str) -> None:
    """What was refused, cut off or stored gives back its temporary file."""
    opened: list[Any] = []
    real = tempfile.TemporaryFile

    def counted(*arguments: Any, **named: Any) -> Any:
        opened.append(real(*arguments, **named))
        return opened[-1]

    large = bytes(3_000_000)
    with mock.patch.object(tempfile, "TemporaryFile", counted):
        assert (await put(ask, f"{order}/anything", large, "application/x-bytes")).status == 201
        assert (await put(ask, f"{order}/anything", large, "x/y", Repr_Digest=f"sha-256=:{'A' * 43}=:")).status == 400
        port = int(ask.url.rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        fields = "Host: a\r\nContent-Type: x/y\r\nContent-Length: 4000000\r\n\r\n"
        writer.write(f"PUT {order}/anything HTTP/1.1\r\n{fields}".encode() + large)
        await writer.drain()
        await until(lambda: len(opened) >= 3)
        writer.close()
        await until(lambda: all(each.closed for each in opened))
