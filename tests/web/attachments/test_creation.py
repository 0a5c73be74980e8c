"""POST of a document with its files: multipart/form-data and multipart/related, one atomic 201."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.web.attachments.conftest import PDF, PNG
from tests.web.attachments.test_writing import FORM, form, problem
from tests.web.conftest import Client, Reply

DOCUMENT = ("document", None, "application/json", b'{"name": "lease"}')
TEXT = ("text", "lease.pdf", "application/pdf", PDF)
PAGE = ("pages", "1.png", "image/png", PNG)


async def send(ask: Client, *parts: Any, path: str = "/contracts", **headers: str) -> Reply:
    """POST a form."""
    return await ask("POST", path, data=form(*parts), Content_Type=FORM, **headers)


async def test_a_form_creates_a_document_with_its_files(ask: Client) -> None:
    """One 201 with Location and the document; the files are there, and the revision is its first."""
    reply = await send(ask, DOCUMENT, TEXT, PAGE)
    assert (reply.status, reply.headers["Location"]) == (201, "/contracts/lease")
    assert reply.headers["ETag"].startswith('"1-')
    assert reply.json["text"]["_href"] == "/contracts/lease/text"
    assert (await ask("GET", "/contracts/lease/text")).text == PDF
    assert (await ask("GET", "/contracts/lease/pages/1.png")).text == PNG
    assert (await ask("GET", "/contracts/lease")).json == reply.json


async def test_related_parts_create_a_document(ask: Client) -> None:
    """RFC 2387: the first part is the document, the others are named by Content-ID or Content-Disposition."""
    body = (
        b'--XX\r\nContent-Type: application/json\r\n\r\n{"name": "lease"}\r\n'
        b"--XX\r\nContent-ID: <text>\r\nContent-Type: application/pdf\r\n\r\n" + PDF + b"\r\n"
        b'--XX\r\nContent-Disposition: attachment; name=pages; filename="1.png"\r\nContent-Type: image/png\r\n\r\n'
        + PNG + b"\r\n--XX--"
    )
    fields = {"Content_Type": 'multipart/related; boundary="XX"; type="application/json"'}
    reply = await ask("POST", "/contracts", data=body, **fields)
    assert reply.status == 201
    assert (await ask("GET", "/contracts/lease/text")).text == PDF
    assert (await ask("GET", "/contracts/lease/pages/1.png")).text == PNG


async def test_a_document_is_never_without_a_required_file(ask: Client) -> None:
    """In JSON, in a form without the file, by PUT: 422 that points to it, and no document."""
    for reply in (
        await ask("POST", "/contracts", {"name": "lease"}),
        await send(ask, DOCUMENT, PAGE),
        await ask("PUT", "/contracts/lease", {"name": "lease"}),
    ):
        assert reply.status == 422
        assert "/text" in [each["pointer"] for each in reply.json["errors"]]
    assert (await ask("GET", "/contracts/lease")).status == 404
    await send(ask, DOCUMENT, TEXT)
    merge = {"Content_Type": "application/merge-patch+json"}
    assert (await ask("PATCH", "/contracts/lease", {"text": None}, **merge)).status == 422


async def test_a_document_without_required_files_needs_no_part_of_json(ask: Client) -> None:
    """A form of files alone makes an empty document with them."""
    reply = await send(ask, ("photos", "a.png", "image/png", PNG), path="/orders")
    assert reply.status == 201
    assert list(reply.json["photos"]) == ["a.png"]


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([("document", None, "application/json", b"{"), TEXT], 400),
        ([("document", None, "application/json", b"[]"), TEXT], 400),
        ([("document", None, "application/xml", b"<a/>"), TEXT], 415),
        ([("document", None, "", b'{"name": 1}'), TEXT], 422),
        ([("document", None, "", b"x" * 1_100_000), TEXT], 413),
        ([DOCUMENT, ("text", "t.pdf", "application/pdf", PNG)], 415),
        ([DOCUMENT, ("text", "t.pdf", "image/png", PNG)], 415),
        ([DOCUMENT, ("text", "t.pdf", "application/pdf", PDF + bytes(100_000))], 413),
        ([DOCUMENT, TEXT, TEXT], 422),
        ([DOCUMENT, TEXT, PAGE, PAGE], 400),
        ([DOCUMENT, TEXT, PAGE, ("pages", "../2.png", "image/png", PNG), ("pages", "3.png", "image/png", PNG)], 409),
        ([DOCUMENT, TEXT, ("other", "o", "image/png", PNG)], 422),
        ([DOCUMENT, TEXT, ("pages", "..", "image/png", PNG)], 400),
    ],
)
async def test_a_form_with_a_fault_creates_nothing(ask: Client, parts: list[Any], status: int) -> None:
    """Whichever part is wrong, none of them is stored."""
    assert (await send(ask, *parts)).status == status
    assert (await ask("GET", "/contracts")).json == {"items": []}


async def test_a_form_with_a_taken_key_creates_nothing(ask: Client) -> None:
    """409; the document that has the key keeps its own file."""
    await send(ask, DOCUMENT, TEXT)
    reply = await send(ask, DOCUMENT, ("text", "other.pdf", "application/pdf", PDF + b"other"))
    assert problem(reply) == (409, "exists")
    assert (await ask("GET", "/contracts/lease/text")).text == PDF


async def test_an_idempotency_key_covers_the_files(ask: Client) -> None:
    """The same form is the same 201; with another file it is 422."""
    parts = [("document", None, "", b"{}"), ("photos", "a.png", "image/png", PNG)]
    first = await send(ask, *parts, path="/orders", Idempotency_Key='"k"')
    second = await send(ask, *parts, path="/orders", Idempotency_Key='"k"')
    assert (first.status, second.status, first.headers["Location"]) == (201, 201, second.headers["Location"])
    assert second.headers["Idempotent-Replayed"] == "true"
    other = [parts[0], ("photos", "a.png", "image/png", PNG + b"x")]
    assert problem(await send(ask, *other, path="/orders", Idempotency_Key='"k"')) == (422, "idempotency-key-reused")
    assert len((await ask("GET", "/orders")).json["items"]) == 1


async def test_other_bodies_are_taken_as_before(ask: Client) -> None:
    """JSON, arrays and lines create documents without files; Accept-Post lists all of them."""
    assert (await ask("POST", "/orders", {"customer": "a"})).status == 201
    assert [each["status"] for each in (await ask("POST", "/orders", [{}, {}])).json["items"]] == [201, 201]
    lines = b'{"customer": "a"}\n{"customer": "b"}\n'
    reply = await ask("POST", "/orders", data=lines, Content_Type="application/x-ndjson")
    assert [json.loads(each)["status"] for each in reply.text.splitlines()] == [201, 201]
    accepted = (await ask("OPTIONS", "/orders")).headers["Accept-Post"]
    assert {"multipart/form-data", "multipart/related", "application/json"} <= set(accepted.split(", "))
    assert "multipart/form-data" in (await ask("OPTIONS", "/orders/a/photos")).headers["Accept-Post"]
