"""Uploads and downloads while the network fails: a document has its whole old or new file, and what was answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import aiohttp
import pytest

from tests.faults import (
    Fault,
    FaultProxy,
    answer_status,
    deliver_late,
    lose_answer,
    lose_request,
    never_answer,
    repeat_request,
    truncate_answer,
    until,
)
from tests.servers import sent
from tests.web.attachments.conftest import PNG, application, put
from tests.web.attachments.test_creation import DOCUMENT, PAGE, TEXT, send
from tests.web.conftest import Client, Serve
from tornado_couch import Couch, Retry, Store, Timeout
from tornado_couch.web import unread

OLD, NEW = PNG + b"old" * 5_000, PNG + b"new" * 10_000
EFFECTS = {
    "lose_request": lose_request,
    "lose_answer": lose_answer,
    "never_answer": never_answer,
    "truncate_answer": truncate_answer,
    "repeat_request": repeat_request,
    "deliver_late": deliver_late(0.1),
    "refuse": answer_status(503),
}


@pytest.fixture
async def behind(store: Store, serve: Serve, proxy: FaultProxy) -> AsyncIterator[Client]:
    """A client of a service that reaches CouchDB by way of the proxy, and soon gives up."""
    async with Couch(proxy.url, timeout=Timeout(read=0.5)) as couch:
        retry = Retry(base=0.001, patience=0.2)
        yield await serve(application(Store(couch[store.database.name], retry=retry)))


@pytest.fixture
async def path(ask: Client, order: str) -> str:
    """The path of a photo, with its old content."""
    assert (await put(ask, f"{order}/photos/a.png", OLD)).status == 201
    return f"{order}/photos/a.png"


@pytest.mark.parametrize("times", [1, None])
@pytest.mark.parametrize("effect", EFFECTS)
async def test_a_replaced_file_is_the_old_or_the_new_one_as_was_said(
    ask: Client, behind: Client, proxy: FaultProxy, path: str, effect: str, times: int | None
) -> None:
    """A success has stored the new file; a failure that is sure has not; one that is unsure says so."""
    proxy.faults.append(Fault(EFFECTS[effect], method="PUT", times=times))
    reply = await put(behind, path, NEW)
    assert proxy.faults[0].hits > 0
    proxy.faults.clear()
    await until(lambda: not proxy.busy)  # what is delivered late has arrived
    stored = await ask("GET", path)
    assert stored.text in (OLD, NEW)
    if reply.status == 200:
        assert (stored.text, stored.headers["ETag"]) == (NEW, reply.headers["ETag"])
    else:
        assert reply.status in (503, 504)
        if not reply.json["type"].endswith(":outcome-unknown"):
            assert stored.text == OLD
    assert list((await ask("GET", path.rpartition("/photos")[0])).json["photos"]) == ["a.png"]


@pytest.mark.parametrize("effect", ["lose_request", "lose_answer", "repeat_request", "never_answer"])
async def test_a_document_and_its_files_are_there_together_or_not(
    ask: Client, behind: Client, proxy: FaultProxy, effect: str
) -> None:
    """A creation that fails leaves nothing, or all of it where its outcome is unknown."""
    proxy.faults.append(Fault(EFFECTS[effect], method="PUT", times=None if effect == "never_answer" else 1))
    reply = await send(behind, DOCUMENT, TEXT, PAGE)
    proxy.faults.clear()
    stored = await ask("GET", "/contracts/lease")
    if stored.status == 200:
        assert (await ask("GET", "/contracts/lease/text")).status == 200
        assert (await ask("GET", "/contracts/lease/pages/1.png")).text == PNG
    assert (reply.status == 201) <= (stored.status == 200)
    if reply.status != 201:
        assert reply.json["type"].endswith((":outcome-unknown", ":database-unavailable", ":database-timeout"))


@pytest.mark.parametrize("effect", ["lose_request", "lose_answer", "truncate_answer", "refuse"])
async def test_a_download_that_breaks_never_looks_complete(
    behind: Client, proxy: FaultProxy, path: str, effect: str
) -> None:
    """An error, or a connection that is cut before Content-Length is reached; never wrong bytes as a whole file."""
    proxy.faults.append(Fault(EFFECTS[effect], method="GET", path="photos", times=None))
    try:
        reply = await behind("GET", path)
    except aiohttp.ClientPayloadError:
        return
    assert reply.status in (502, 503, 504)


async def test_what_was_sent_twice_is_stored_once(ask: Client, order: str) -> None:
    """A client that lost the answer to its POST sends it again with the same key, also at the same time."""
    fields = {"Content_Type": "image/png", "Idempotency_Key": '"once"'}
    replies = await asyncio.gather(*(ask("POST", f"{order}/photos", data=NEW, **fields) for _ in range(3)))
    assert {each.status for each in replies} == {201}
    assert len({each.headers["Location"] for each in replies}) == 1
    assert len((await ask("GET", f"{order}/photos")).json["items"]) == 1


async def test_an_upload_that_stalls_is_given_up(ask: Client, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection is closed after its time, and the old file is there."""
    monkeypatch.setattr("tornado_couch.web.attachments.receiving._PATIENCE", 0.2)
    port = int(ask.url.rpartition(":")[2])
    fields = f"Host: a\r\nContent-Type: image/png\r\nContent-Length: {len(NEW)}\r\n\r\n"
    assert await sent(port, f"PUT {path} HTTP/1.1\r\n{fields}".encode() + NEW[:100]) == b""
    assert (await ask("GET", path)).text == OLD


async def test_a_client_that_does_not_read_is_given_up(
    ask: Client, order: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download waits for its client, with little in memory, and not for ever."""
    assert (await put(ask, f"{order}/anything", bytes(30_000_000), "application/x-bytes")).status == 201
    monkeypatch.setattr("tornado_couch.web.attachments.sending.STALLED", 0.2)
    given_up, cut_off = asyncio.Event(), unread.cut_off
    monkeypatch.setattr(unread, "cut_off", lambda handler: (given_up.set(), cut_off(handler)))
    reader, writer = await asyncio.open_connection("127.0.0.1", int(ask.url.rpartition(":")[2]), limit=1024)
    writer.write(f"GET {order}/anything HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    await reader.readuntil(b"\r\n\r\n")
    async with asyncio.timeout(10):
        await given_up.wait()
        length = 0
        with suppress(ConnectionError):
            while part := await reader.read(65536):
                length += len(part)
    writer.close()
    assert length < 30_000_000
