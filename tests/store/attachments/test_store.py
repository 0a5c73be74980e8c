"""Files in and out of the store: what is attached is read back, in one write with the document, and stays."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.security.kinds import key_set
from tests.store.attachments.models import PDF, PICTURE, TEXT, Case, Diary, Letter, Order, Passport, loaded, upload
from tornado_couch import (
    Attachment,
    AttachmentMismatch,
    AttachmentNotFound,
    Database,
    DocumentNotFound,
    Installer,
    Retry,
    Store,
    install,
)
from tornado_couch.errors import AttachmentTooLarge, MediaTypeRefused, TooManyAttachments, ValidationFailed
from tornado_couch.models import entries_of, representation
from tornado_couch.security import KeyRing, Scheme, keyczar
from tornado_couch.store import Update

MODELS: list[type[Any]] = [Order, Letter, Diary, Case]
RING = KeyRing.create()


OPTIONS: dict[str, dict[str, Any]] = {"plain": {}, "signed": {"signer": RING}}


@pytest.fixture(params=OPTIONS)
async def store(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Store]:
    await install(database.server, database.name, [*MODELS, Passport])  # type: ignore[arg-type]
    store = Store(database, crypter=RING, retry=Retry(base=0.001), **OPTIONS[request.param])
    yield store
    await store.close()


@pytest.mark.parametrize("cls", MODELS)
async def test_what_is_attached_is_read_back(store: Store, cls: type[Any]) -> None:
    """Single files and many, of types that CouchDB compresses and of others; the model shows them at once."""
    model = await store.create(cls())
    model = await store.attach(model, "invoice", TEXT, content_type="text/plain")
    model = await store.attach(model, "photos/front side.png", PICTURE, content_type="image/png")
    read = await store.get(cls, model._key)
    digest = "sha256-" + base64.b64encode(hashlib.sha256(TEXT).digest()).decode()
    assert read.invoice == model.invoice == Attachment("text/plain", len(TEXT), digest)
    assert list(read.photos) == ["front side.png"]
    assert await loaded(store, read, "invoice") == TEXT
    assert await loaded(store, read, "photos/front side.png") == PICTURE
    assert representation(read)["invoice"] == {"content_type": "text/plain", "length": len(TEXT), "digest": digest}


@pytest.mark.parametrize("scheme", [Scheme.V2, Scheme.CLASSIC])
async def test_older_schemes_sign_files_as_well(database: Database, scheme: Scheme) -> None:
    """By what they sign of any attachment."""
    await install(database.server, database.name, [Order])
    keys = key_set(keyczar.Signer, "hmac") if scheme is Scheme.CLASSIC else RING
    store = Store(database, signer=keys, scheme=scheme)
    model = await store.attach(await store.create(Order()), "invoice", TEXT, content_type="text/plain")
    model = await store.update(Order, model._key, painted)
    assert await loaded(store, await store.get(Order, model._key), "invoice") == TEXT


@pytest.mark.parametrize("cls", MODELS)
async def test_every_other_write_keeps_the_files(store: Store, cls: type[Any]) -> None:
    """Updates, bulk writes, deletion and restoring leave each file as it is, with its digest."""
    model = await store.create(cls())
    model = await store.attach(model, "invoice", PDF, content_type="application/pdf")
    model = await store.attach(model, "photos/a.png", PICTURE, content_type="image/png")
    model = await store.update(cls, model._key, painted)
    (model,) = await store.write_many(cls, [Update(model._key, painted)])
    model.color = "green"
    model = await store.replace(model)
    if cls in (Letter, Diary):
        await store.delete(cls, model._key)
        model = await store.restore(cls, model._key)
    read = await store.get(cls, model._key)
    assert (read.invoice, read.photos) == (model.invoice, model.photos)
    assert (read.invoice.length, list(read.photos)) == (len(PDF), ["a.png"])
    assert await loaded(store, read, "invoice") == PDF
    assert await loaded(store, read, "photos/a.png") == PICTURE


def painted(model: Any) -> None:
    model.color = "blue"


@pytest.mark.parametrize("cls", MODELS)
async def test_a_file_is_replaced_and_detached(store: Store, cls: type[Any]) -> None:
    """And nothing else of the document changes, nor any other file."""
    model = await store.create(cls())
    model = await store.attach(model, "invoice", PDF, content_type="application/pdf")
    model = await store.attach(model, "photos/a.png", PICTURE, content_type="image/png")
    model = await store.attach(model, "invoice", TEXT, content_type="text/plain")
    assert await loaded(store, model, "invoice") == TEXT
    model = await store.detach(model, "invoice")
    assert model.invoice is None
    with pytest.raises(AttachmentNotFound):
        await store.detach(model, "invoice")
    model = await store.detach(
        await store.attach(model, "photos/b.png", PICTURE, content_type="image/png"), "photos/b.png"
    )
    read = await store.get(cls, model._key)
    assert (read.invoice, list(read.photos)) == (None, ["a.png"])
    assert list(entries_of(await store.database.get(read._id))) == ["photos/a.png"]


async def test_a_model_drops_what_it_does_not_have_any_more(store: Store) -> None:
    """As with any other property, in a change or by replacing; the files of other programs stay."""
    model = await store.create(Order())
    model = await store.attach(model, "invoice", PDF, content_type="application/pdf")
    model = await store.attach(model, "photos/a.png", PICTURE, content_type="image/png")

    def without(order: Order) -> None:
        order.invoice = None
        del order.photos["a.png"]

    await store.update(Order, model._key, without)
    assert "_attachments" not in await store.database.get(model._id or "")


@pytest.mark.parametrize("form", ["bytes", "memoryview", "file", "iterator"])
async def test_a_file_comes_from_whatever_gives_bytes(store: Store, form: str) -> None:
    """The source is read once, whatever it is."""

    async def iterated() -> AsyncIterator[bytes]:
        for start in range(0, len(PICTURE), 1000):
            yield PICTURE[start : start + 1000]

    sources = {"bytes": PICTURE, "memoryview": memoryview(PICTURE), "file": io.BytesIO(PICTURE), "iterator": iterated()}
    model = await store.create(Order())
    model = await store.attach(model, "photos/a.png", sources[form], content_type="image/png")
    assert await loaded(store, model, "photos/a.png") == PICTURE


@pytest.mark.parametrize("cls", MODELS)
async def test_ranges_are_cut_exactly(store: Store, cls: type[Any]) -> None:
    """Of files that CouchDB stores as they are, compressed or encrypted; a range ends where the file does."""
    model = await store.create(cls())
    model = await store.attach(model, "invoice", TEXT, content_type="text/plain")
    model = await store.attach(model, "photos/a.png", PICTURE, content_type="image/png")
    for name, data in (("invoice", TEXT), ("photos/a.png", PICTURE)):
        for start, stop in ((0, 10), (5, 5), (7, None), (65530, 65550), (len(data) - 1, len(data) + 9), (10**9, None)):
            async with store.open_attachment(model, name, start=start, stop=stop) as file:
                assert await file.read() == data[start:stop]
    with pytest.raises(ValueError, match="first byte"):
        async with store.open_attachment(model, "invoice", start=-1):
            pass


@pytest.mark.parametrize("cls", MODELS)
async def test_an_empty_file_is_a_file(store: Store, cls: type[Any]) -> None:
    """It is stored, shown and read like any other."""
    model = await store.attach(await store.create(cls()), "photos/a.png", b"", content_type="image/png")
    assert model.photos["a.png"].length == 0
    assert await loaded(store, await store.get(cls, model._key), "photos/a.png") == b""


async def test_one_upload_is_stored_in_several_places_at_once(store: Store) -> None:
    """From the temporary file that a large one is in, which each of the writers reads by itself."""
    large = PICTURE * 40
    orders = [await store.create(Letter()) for _ in range(4)]
    async with await upload(large, "image/png") as file:
        found = await asyncio.gather(*(store.attach(each, "invoice", file) for each in orders))
    for each in found:
        assert await loaded(store, each, "invoice") == large


async def test_a_required_file_is_made_with_the_document(store: Store) -> None:
    """In one write; a document without it is not made, and does not lose it."""
    async with await upload(PICTURE, "image/png") as scan:
        model = await store.create(Passport(), files={"scan": scan})
    assert (model._rev or "").startswith("1-")
    assert await loaded(store, await store.get(Passport, model._key), "scan") == PICTURE
    for missing in (store.create(Passport()), store.detach(model, "scan")):
        with pytest.raises(ValidationFailed, match="/scan"):
            await missing
    (refused,) = await store.create_many(Passport, [Passport()])
    assert isinstance(refused, ValidationFailed)


async def test_what_a_property_does_not_take_is_refused_before_it_is_read(store: Store) -> None:
    """By its type at once; by its length as soon as there is too much of it; by the number of files."""
    model = await store.create(Order())
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 100_000
            yield bytes(100_000)

    with pytest.raises(MediaTypeRefused) as refused:
        await store.attach(model, "photos/a.svg", endless(), content_type="text/html")
    assert (read, refused.value.accepted) == (0, ("image/*",))
    with pytest.raises(AttachmentTooLarge) as large:
        await store.attach(model, "invoice", endless(), content_type="application/pdf")
    assert (large.value.limit, read < 1_500_000) == (500_000, True)
    for number in range(3):
        model = await store.attach(model, f"photos/{number}", b"x", content_type="image/png")
    with pytest.raises(TooManyAttachments):
        await store.attach(model, "photos/3", b"x", content_type="image/png")
    await store.attach(model, "photos/2", b"y", content_type="image/png")
    for name in ("nothing", "photos", "invoice/x", "photos/_x", "photos/a/b", "photos/..", "photos/" + "x" * 201):
        with pytest.raises(ValueError, match=r"file"):
            await store.attach(model, name, b"x", content_type="image/png")
    assert (await store.get(Order, model._key)).invoice is None


async def test_two_photos_at_once_both_succeed(store: Store) -> None:
    """After a conflict on the document the expectation about the file is asked again, and still holds."""
    model = await store.create(Order())
    put = [store.attach(model, f"photos/{n}", PICTURE, content_type="image/png", expected=_none) for n in range(3)]
    await asyncio.gather(*put)
    assert sorted((await store.get(Order, model._key)).photos) == ["0", "1", "2"]


def _none(file: Attachment | None) -> bool:
    return file is None


async def test_of_two_that_expect_the_same_file_one_succeeds(store: Store) -> None:
    """The other one is told which file is there now."""
    model = await store.create(Order())
    put = [store.attach(model, "photos/0", bytes([n]), content_type="image/png", expected=_none) for n in range(3)]
    found = await asyncio.gather(*put, return_exceptions=True)
    refused = [each for each in found if isinstance(each, AttachmentMismatch)]
    now = (await store.get(Order, model._key)).photos["0"]
    assert [each.current for each in refused] == [now.etag] * 2


async def test_a_conflict_does_not_read_the_source_twice(store: Store) -> None:
    """It was spooled, and what was prepared of it is used again."""
    model, reads, changes = await store.create(Order()), 0, 0

    async def source() -> AsyncIterator[bytes]:
        nonlocal reads
        reads += 1
        yield PICTURE

    async def meddle(order: Order) -> None:
        nonlocal changes
        changes += 1
        if changes < 4:
            await store.update(Order, order._key, painted)

    model = await store.attach(model, "photos/a", source(), content_type="image/png", change=meddle)
    assert (reads, changes, model.color) == (1, 4, "blue")
    assert await loaded(store, model, "photos/a") == PICTURE


async def test_a_file_of_a_revision_that_is_gone_is_read_from_the_latest(store: Store) -> None:
    """As long as it is the same file; otherwise the reader is told, and gets no bytes of another one."""
    model = await store.attach(await store.create(Order()), "photos/a", PICTURE, content_type="image/png")
    other = await store.update(Order, model._key, painted)
    model._rev = "1-" + "0" * 32  # as if CouchDB had forgotten it
    assert await loaded(store, model, "photos/a") == PICTURE
    await store.attach(other, "photos/a", b"new", content_type="image/png")
    with pytest.raises(AttachmentNotFound):
        await loaded(store, model, "photos/a")


async def test_versions_keep_their_files_and_store_each_once(store: Store) -> None:
    """No version copies an unchanged file, and an old one still has what was replaced since."""
    model = await store.attach(await store.create(Diary()), "invoice", PDF, content_type="application/pdf")
    for _ in range(3):
        model = await store.update(Diary, model._key, painted)
    model = await store.attach(model, "invoice", TEXT, content_type="text/plain")
    rows = await store.database.all_docs(startkey="tornado_couch_file:", endkey="tornado_couch_file:~")
    assert len(rows.rows) == 2
    assert await loaded(store, await store.version(Diary, model._key, 4), "invoice") == PDF
    assert await loaded(store, model, "invoice") == TEXT


@pytest.mark.parametrize("options", [{"cache": True}, {"grouping": False}, {"write_tokens": False}], ids=str)
async def test_files_work_however_the_store_is_made(database: Database, options: dict[str, Any]) -> None:
    """With a cache, without groups, and without tokens; and where the database checks documents itself."""
    await Installer(database.server, database=database.name, models=[Order, Case], validate=True).install()
    store = Store(database, crypter=RING, signer=RING, **options)
    for cls in (Order, Case):
        model: Any = await store.attach(await store.create(cls()), "invoice", TEXT, content_type="text/plain")
        assert await loaded(store, await store.get(cls, model._key), "invoice") == TEXT
        model = await store.attach(model, "invoice", PDF, content_type="application/pdf")
        assert await loaded(store, await store.get(cls, model._key, fresh=True), "invoice") == PDF
        (found,) = (await store.find(cls)).items
        assert found.invoice == model.invoice
    await store.close()


async def test_change_and_check_see_the_latest_document(store: Store) -> None:
    """A check that raises lets nothing be written; a change is written together with the file."""
    model = await store.create(Order())
    await store.update(Order, model._key, painted)

    def refuse(order: Order) -> None:
        assert order.color == "blue"
        raise PermissionError

    with pytest.raises(PermissionError):
        await store.attach(model, "invoice", PDF, content_type="application/pdf", check=refuse)

    def note(order: Order) -> None:
        assert order.invoice is not None
        order.color = str(order.invoice.length)

    changed = await store.attach(model, "invoice", PDF, content_type="application/pdf", change=note)
    assert (changed.color, (changed._rev or "")[:2]) == (str(len(PDF)), "3-")
    with pytest.raises(DocumentNotFound):
        await store.attach(Order(order_id="nobody"), "invoice", PDF, content_type="application/pdf")
