"""Uploads on a network that breaks: a document has the whole old file or the whole new one, and what was answered."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conftest import SERVERS
from tests.faults import (
    Call,
    Effect,
    Fault,
    FaultProxy,
    Forward,
    answer_status,
    hurry_writes,
    lose_answer,
    lose_request,
    repeat_answer,
    repeat_request,
    truncate_answer,
)
from tests.store.attachments.models import PDF, PICTURE, TEXT, Case, Diary, Order, loaded, upload
from tornado_couch import (
    AttachmentMismatch,
    CookieAuth,
    Couch,
    Database,
    OutcomeUnknown,
    Retry,
    Store,
    Timeout,
    install,
)
from tornado_couch.couch.transport.bodies import Following
from tornado_couch.embedded import EmbeddedCouch
from tornado_couch.errors import CouchError, PoolTimeout
from tornado_couch.security import KeyRing

RING = KeyRing.create()


def cut(share: float) -> Effect:
    """Lets CouchDB have only so much of the request, and then closes the connections."""

    async def effect(call: Call, forward: Forward) -> None:
        part = call.request.raw[: int(len(call.request.raw) * share)]
        waiting = asyncio.ensure_future(forward(replace(call.request, raw=part)))
        await asyncio.sleep(0)  # it is written now, and sent as the connection ends
        call.reset()
        waiting.cancel()

    return effect


EFFECTS: dict[str, Effect] = {
    "lost": lose_request,
    "cut in the header": cut(0.001),
    "cut in the document": cut(0.01),
    "cut in the file": cut(0.5),
    "cut at the end": cut(0.9999),
    "answer lost": lose_answer,
    "answer cut": truncate_answer,
    "answered twice": repeat_answer(),
    "sent twice": repeat_request,
    "refused": answer_status(503),
}


@pytest.fixture(params=["plain", "signed"])
async def stores(
    request: pytest.FixtureRequest, proxy: FaultProxy, database: Database
) -> AsyncIterator[tuple[Store, Store]]:
    """A store behind the proxy, and one with a way of its own."""
    await install(database.server, database.name, [Order, Case, Diary])  # type: ignore[arg-type]
    options: dict[str, Any] = {"crypter": RING, "signer": RING if request.param == "signed" else None}
    async with Couch(proxy.url) as client:
        hurry_writes(client, 20)
        retry = Retry(base=0.001, cap=0.01, patience=2)
        yield Store(client[database.name], retry=retry, **options), Store(database, **options)


@pytest.mark.parametrize("cls", [Order, Case, Diary])
@pytest.mark.parametrize("effect", EFFECTS.values(), ids=EFFECTS)
async def test_a_broken_upload_is_carried_out_once(
    stores: tuple[Store, Store], proxy: FaultProxy, cls: type[Any], effect: Effect
) -> None:
    """Whatever breaks once, the upload goes on from the spool, and what was answered is there."""
    store, direct = stores
    model = await store.attach(await store.create(cls()), "invoice", PDF, content_type="application/pdf")
    proxy.faults[:] = [fault := Fault(effect, method="PUT", body="follows")]
    name = "photos/a.png" if cls is Order else "invoice"
    model = await store.attach(model, name, PICTURE, content_type="image/png")
    assert fault.hits == 1
    read = await direct.get(cls, model._key)
    assert (read.invoice, read.photos) == (model.invoice, model.photos)
    assert await loaded(direct, read, name) == PICTURE


@pytest.mark.parametrize("effect", EFFECTS.values(), ids=EFFECTS)
async def test_an_upload_that_always_breaks_changes_nothing_by_half(
    stores: tuple[Store, Store], proxy: FaultProxy, effect: Effect
) -> None:
    """Its caller gets an error, and the document has the whole old file; or it is there, and was answered so."""
    store, direct = stores
    model = await store.attach(await store.create(Order()), "invoice", TEXT, content_type="text/plain")
    proxy.faults[:] = [Fault(effect, method="PUT", times=None)]
    try:
        model = await store.attach(model, "invoice", PDF, content_type="application/pdf")
    except CouchError as error:
        possible = {TEXT, PDF} if isinstance(error, OutcomeUnknown) else {TEXT}
    else:
        possible = {PDF}
    proxy.faults.clear()
    read = await direct.get(Order, model._key)
    assert await loaded(direct, read, "invoice") in possible
    assert read.invoice is not None
    assert read.invoice.length == len(await loaded(direct, read, "invoice"))


@pytest.mark.parametrize("after", range(4))
@pytest.mark.parametrize("same", [True, False])
async def test_a_race_at_every_request_is_decided(
    stores: tuple[Store, Store], proxy: FaultProxy, after: int, same: bool
) -> None:
    """Another writer comes first: with the same file, one expectation fails; with another one, both files are there."""
    store, direct = stores
    model = await store.create(Order())
    rival = "photos/a" if same else "photos/b"
    proxy.faults[:] = [
        fault := Fault(meddling(lambda: direct.attach(model, rival, b"x", content_type="image/png")), after=after)
    ]
    try:
        await store.attach(model, "photos/a", PICTURE, content_type="image/png", expected=lambda file: file is None)
    except AttachmentMismatch:
        expected = {"a": b"x"} if fault.hits else {}
        assert same
    else:
        expected = {"a": PICTURE, **({rival[-1]: b"x"} if fault.hits else {})}
    read = await direct.get(Order, model._key)
    assert {name: await loaded(direct, read, f"photos/{name}") for name in read.photos} == expected


def meddling(act: Callable[[], Any]) -> Effect:
    """Has something else happen before a request goes on."""

    async def effect(call: Call, forward: Forward) -> None:
        await act()
        await call.send(await forward())

    return effect


async def test_a_stalled_upload_ends_in_time(proxy: FaultProxy, database: Database) -> None:
    """When CouchDB takes nothing any more, the client gives up, and the document is as it was."""
    await install(database.server, database.name, [Order])
    direct = Store(database)
    model = await direct.attach(await direct.create(Order()), "invoice", TEXT, content_type="text/plain")
    taken = asyncio.Event()

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await taken.wait()
        writer.close()

    server = await asyncio.start_server(never, "127.0.0.1", 0, limit=1024)
    async with (
        server,
        Couch(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=Timeout(read=0.2)) as couch,
    ):
        async with await upload(bytes(50_000_000)) as file:
            entry = Following({"content_type": "image/png", "length": file.length}, file.spool, file.sha256)
            with pytest.raises(CouchError, match="took nothing"):
                await couch[database.name].put({"_id": "a", "_attachments": {"invoice": entry}})
        taken.set()
    assert await loaded(direct, await direct.get(Order, model._key), "invoice") == TEXT


async def test_an_upload_whose_source_breaks_changes_nothing(stores: tuple[Store, Store], proxy: FaultProxy) -> None:
    """Nothing is sent before all of it has arrived."""
    store, direct = stores
    model = await store.attach(await store.create(Order()), "invoice", TEXT, content_type="text/plain")
    sent = len(proxy.requests)

    async def broken() -> AsyncIterator[bytes]:
        yield PDF
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await store.attach(model, "invoice", broken(), content_type="application/pdf")
    assert len(proxy.requests) == sent
    assert (await direct.get(Order, model._key))._rev == model._rev


async def test_slow_readers_leave_connections_for_documents(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only so many files are read at a time; who waits too long is told, and documents are read all the while."""
    monkeypatch.setattr("tornado_couch.store.reading.attachments._WAIT_SECONDS", 0.05)
    _, direct = stores
    model = await direct.attach(await direct.create(Order()), "invoice", TEXT, content_type="text/plain")
    async with AsyncExitStack() as stack:
        files = [await stack.enter_async_context(direct.open_attachment(model, "invoice")) for _ in range(32)]
        with pytest.raises(PoolTimeout):
            await loaded(direct, model, "invoice")
        assert (await direct.get(Order, model._key)).invoice == model.invoice
        assert await files[0].read() == TEXT
    assert await loaded(direct, model, "invoice") == TEXT


@pytest.mark.parametrize("server", SERVERS)
async def test_a_log_in_that_has_expired_is_renewed(server: str) -> None:
    """Also for the bytes of a file."""
    async with AsyncExitStack() as stack:
        url = os.environ.get(server) or await stack.enter_async_context(EmbeddedCouch(admin="app:secret"))
        place = urlsplit(url)
        auth = CookieAuth(place.username or "", place.password or "")
        couch = await stack.enter_async_context(Couch(f"http://{place.hostname}:{place.port}", auth=auth))
        name = f"test-{uuid.uuid4().hex}"
        await couch.create_database(name)
        stack.push_async_callback(couch.delete_database, name)
        await install(couch, name, [Order])
        store = Store(couch[name])
        model = await store.attach(await store.create(Order()), "invoice", TEXT, content_type="text/plain")
        auth._headers = {"Cookie": "AuthSession=forgotten"}
        assert await loaded(store, model, "invoice") == TEXT
