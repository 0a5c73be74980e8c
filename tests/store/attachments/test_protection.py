"""Files that are signed and encrypted: whatever somebody changes of them in the database is found."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.store.attachments.models import PDF, PICTURE, TEXT, Case, Diary, Order, loaded
from tornado_couch import (
    Attachment,
    Attachments,
    Database,
    Encrypted,
    Key,
    Model,
    OutcomeUnknown,
    Store,
    assigned,
    install,
)
from tornado_couch.errors import DecryptionFailed, InvalidSignature, NotProtected, SecurityError
from tornado_couch.maintain.audit import audit
from tornado_couch.maintain.rotate import Rotation
from tornado_couch.security import CHUNK_BYTES, FileCipher, KeyChain, KeyRing, new_file_key
from tornado_couch.store import AttachmentReader, Reprotection

OLD, NEW = KeyRing.create(), KeyRing.create()


@pytest.fixture
async def signed(database: Database) -> AsyncIterator[Store]:
    await install(database.server, database.name, [Order, Case, Diary])  # type: ignore[arg-type]
    store = Store(database, crypter=OLD, signer=OLD)
    yield store
    await store.close()


# ------------------------------------------------------------ the cipher


PLACE = ("orchard", "case:1", "invoice")


def sealed(data: bytes, key: bytes) -> list[bytes]:
    """The encrypted chunks of a file."""
    return list(FileCipher(key, PLACE).encrypted([data]))


def opened(chunks: list[bytes], key: bytes, length: int, place: tuple[str, ...] = PLACE) -> bytes:
    """The file that encrypted chunks stand for."""

    async def parts() -> AsyncIterator[bytes]:
        for each in chunks:
            yield each

    async def whole() -> bytes:
        return b"".join([part async for part in FileCipher(key, place).stream(parts(), length)])

    return asyncio.run(whole())


LENGTHS = st.sampled_from([0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, 3 * CHUNK_BYTES + 7])
KEY = new_file_key()
FILES = {n: (hashlib.shake_128(bytes([n % 251])).digest(n)) for n in LENGTHS.elements}  # type: ignore[attr-defined]


@given(LENGTHS, st.data())
def test_any_range_of_an_encrypted_file_decrypts_without_the_rest(length: int, data: st.DataObject) -> None:
    """It needs the chunks that it touches, and gives the same bytes as a slice of the file."""
    start = data.draw(st.integers(0, length))
    stop = data.draw(st.integers(start, length))
    cipher = FileCipher(KEY, PLACE)
    stored = b"".join(sealed(FILES[length], KEY))
    assert len(stored) == cipher.sealed_length(length)
    number, until = cipher.chunks_of(start, stop, length)
    first, last = cipher.sealed_span(number, until, length)

    async def cut() -> bytes:
        async def parts() -> AsyncIterator[bytes]:
            yield stored[first:last]

        return b"".join([part async for part in cipher.stream(parts(), length, number, until)])

    skipped = start - number * CHUNK_BYTES
    assert asyncio.run(cut())[skipped : skipped + stop - start] == FILES[length][start:stop]
    assert last - first <= (stop - start) + 3 * CHUNK_BYTES


def test_chunks_are_bound_to_place_order_and_end() -> None:
    """None can be left out, put elsewhere, repeated or taken from another file, and no bit of one be changed."""
    data, key = FILES[3 * CHUNK_BYTES + 7], KEY
    one, two, three, four = sealed(data, key)
    assert opened([one, two, three, four], key, len(data)) == data
    wrong: list[tuple[list[bytes], int]] = [
        ([one, two, three], len(data)),
        ([one, two, three], 3 * CHUNK_BYTES),
        ([one, two], 2 * CHUNK_BYTES),
        ([two, one, three, four], len(data)),
        ([one, two, two, four], len(data)),
        ([one, two, three, four, four], len(data)),
        ([], 0),
        ([*sealed(FILES[CHUNK_BYTES], key), two, three, four], len(data)),
        ([sealed(b"x" * len(data), new_file_key())[0], two, three, four], len(data)),
    ]
    for place in range(4):
        chunks = [one, two, three, four]
        flipped = bytearray(chunks[place])
        flipped[len(flipped) // 2] ^= 1
        wrong.append(([*chunks[:place], bytes(flipped), *chunks[place + 1 :]], len(data)))
    for chunks, length in wrong:
        with pytest.raises(DecryptionFailed):
            opened(chunks, key, length)
    for place_ in (("other", *PLACE[1:]), ("orchard", "case:2", "invoice"), ("orchard", "case:1", "photos/invoice")):
        with pytest.raises(DecryptionFailed):
            opened([one, two, three, four], key, len(data), place_)


# ------------------------------------------------------------ in the database


async def written(store: Store, cls: type[Any]) -> Any:
    """A model with a file of each property."""
    model = await store.attach(await store.create(cls()), "invoice", TEXT, content_type="text/plain")
    return await store.attach(model, "photos/a.png", PICTURE, content_type="image/png")


async def test_encrypted_files_show_nothing(signed: Store) -> None:
    """Neither their bytes nor their types nor their digests are in the database."""
    model = await written(signed, Case)
    document = await signed.database.get(model._id, attachments=True)
    for each in document["_attachments"].values():
        assert each["content_type"] == "application/octet-stream"
        assert TEXT[:50] not in base64.b64decode(each["data"])
    for data in (TEXT, PICTURE):
        digest = hashlib.sha256(data).digest()
        assert base64.b64encode(digest).decode() not in str(document)
        assert base64.urlsafe_b64encode(digest).decode()[:40] not in str(document)


@pytest.mark.parametrize("cls", [Order, Case])
async def test_other_bytes_under_the_same_document_are_found(signed: Store, cls: type[Any]) -> None:
    """Even if CouchDB's own digest fits, as if somebody had found a collision of MD5: each chunk's change is found."""
    model = await written(signed, cls)
    stored = base64.b64decode(
        (await signed.database.get(model._id, attachments=True))["_attachments"]["photos/a.png"]["data"]
    )
    inner = signed._files._database
    for place in (0, len(stored) // 2, len(stored) - 1):
        flipped = bytearray(stored)
        flipped[place] ^= 0x10
        signed._files._database = Lying(inner, bytes(flipped))  # type: ignore[assignment]
        with pytest.raises(SecurityError):
            await loaded(signed, model, "photos/a.png")
        signed._files._database = Lying(inner, stored[:-1])  # type: ignore[assignment]
        with pytest.raises(Exception, match=r"bytes|chunk|less"):
            await loaded(signed, model, "photos/a.png")


class Lying:
    """A database that gives other bytes of files than it should."""

    def __init__(self, inner: Database, data: bytes) -> None:
        self._inner = inner
        self._data = data

    def attachment(self, *arguments: Any, span: tuple[int, int] | None = None, **options: Any) -> Any:
        return _Replaced(
            self._inner.attachment(*arguments, span=span, **options),
            self._data[slice(*(span or ()))] if span else self._data,
        )


class _Replaced:
    def __init__(self, reading: Any, data: bytes) -> None:
        self._reading = reading
        self._data = data

    async def __aenter__(self) -> Any:
        opened = await self._reading.__aenter__()

        async def chunks() -> AsyncIterator[bytes]:
            yield self._data

        return type(opened)(opened.status, opened.headers, chunks())

    async def __aexit__(self, *error: object) -> None:
        await self._reading.__aexit__(*error)


async def test_every_bit_of_what_is_signed_of_a_file_is_found(signed: Store) -> None:
    """The length, the digests, the type, the name and what is encrypted of a file, wherever the document has them."""
    for cls in (Order, Case):
        model = await written(signed, cls)
        document = await signed.database.get(model._id, revs=True)
        guard = signed._conversion, signed._guard
        assert guard[1].verified(document)
        seen = 0
        for changed in flipped(document):
            seen += 1
            with pytest.raises(InvalidSignature):
                guard[1].verified(changed)
        assert seen > 1000


def flipped(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The document with each bit flipped in turn of what it says of its files."""
    found = []
    for member in ("_attachments", "tornado_couch_attachments"):
        for name, entry in document[member].items():
            for key, value in entry.items():
                if key in ("revpos", "stub"):
                    continue  # where and how CouchDB has the bytes
                for other in _flips(value):
                    changed = {**document[member], name: {**entry, key: other}}
                    found.append({**document, member: changed})
            renamed = {("x" + each if each == name else each): one for each, one in document[member].items()}
            found.append({**document, member: renamed})
    return found


def _flips(value: Any) -> list[Any]:
    if isinstance(value, int):
        return [value ^ (1 << bit) for bit in range(24)]
    bits = range(7) if len(value) < 100 else (1,)  # of what is encrypted, one in each character
    flips = [value[:n] + chr(ord(value[n]) ^ (1 << bit)) + value[n + 1 :] for n in range(len(value)) for bit in bits]
    return [*flips, value[:-1], ""]


async def test_files_cannot_be_swapped_between_places(database: Database) -> None:
    """Without signatures as well: an encrypted file decrypts in its own place alone."""
    await install(database.server, database.name, [Case])
    store = Store(database, crypter=OLD)
    models = [await written(store, Case) for _ in range(2)]
    documents = [await database.get(each._id or "", attachments=True) for each in models]
    record, files = (documents[1][name] for name in ("tornado_couch_attachments", "_attachments"))
    await database.put({**documents[0], "tornado_couch_attachments": record, "_attachments": files})
    with pytest.raises(DecryptionFailed):
        await store.get(Case, models[0]._key)
    swapped = {"invoice": "photos/a.png", "photos/a.png": "invoice"}
    document = documents[1]
    await database.put(
        {
            **document,
            "tornado_couch_attachments": {swapped[name]: {**each, "name": name} for name, each in record.items()},
            "_attachments": {swapped[name]: each for name, each in files.items()},
        }
    )
    with pytest.raises(DecryptionFailed):
        await store.get(Case, models[1]._key)


async def test_a_file_in_the_clear_is_not_taken_for_an_encrypted_one(database: Database) -> None:
    """The document can be read; who opens the file is told what to do."""
    await install(database.server, database.name, [Case])
    store = Store(database, crypter=OLD)
    model = await store.create(Case())
    entry = {"content_type": "image/png", "data": base64.b64encode(PICTURE).decode()}
    await database.put({**await database.get(model._id or ""), "_attachments": {"invoice": entry}})
    model = await store.get(Case, model._key)
    assert model.invoice is not None
    assert model.invoice.sha256 is None
    with pytest.raises(NotProtected, match="attach it again"):
        await loaded(store, model, "invoice")


async def findings(database: Database, keys: Any) -> list[tuple[str, str]]:
    """What an audit finds."""
    async with aclosing(audit(database, keys)) as pages:
        return [(each.id, each.reason) async for page in pages for each in page.findings]


async def test_the_audit_reads_the_files(signed: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """And reports each whose bytes are not those that were signed."""
    models = [await written(signed, cls) for cls in (Order, Case, Diary)]
    assert await findings(signed.database, OLD) == []
    stored = (await signed.database.get(models[0]._id, attachments=True))["_attachments"]["photos/a.png"]["data"]
    other = base64.b64decode(stored)[:-1] + b"!"
    real = Database.attachment

    def lying(self: Database, document_id: str, name: str, *rest: Any, **options: Any) -> Any:
        reading = real(self, document_id, name, *rest, **options)
        return _Replaced(reading, other) if (document_id, name) == (models[0]._id, "photos/a.png") else reading

    monkeypatch.setattr(Database, "attachment", lying)
    assert await findings(signed.database, OLD) == [(models[0]._id, "altered file")]


@pytest.mark.parametrize("signs", [True, False])
async def test_rotation_encrypts_files_anew(signed: Store, signs: bool) -> None:
    """With keys of their own under the new primary key; afterwards the old keys are not needed any more."""
    database = signed.database
    store = signed if signs else Store(database, crypter=OLD)
    models = [await written(store, cls) for cls in (Case, Order, Diary)]
    before = await database.get(models[0]._id)
    both = KeyChain(NEW, OLD)
    rotation = Rotation(database, both if signs else None, protect=Reprotection(both, database=database.name))
    async with aclosing(rotation.run()) as pages:
        assert [finding async for page in pages for finding in page.findings] == []
    after = Store(database, crypter=NEW, signer=NEW if signs else None)
    for model in models:
        read = await after.get(type(model), model._key)
        assert (read.invoice, read.photos) == (model.invoice, model.photos)
        assert await loaded(after, read, "invoice") == TEXT
        assert await loaded(after, read, "photos/a.png") == PICTURE
    now = await database.get(models[0]._id)
    assert [each["digest"] for each in now["_attachments"].values()] != [
        each["digest"] for each in before["_attachments"].values()
    ]
    async with aclosing(rotation.run()) as pages:
        assert [page.renewed async for page in pages if page.renewed] == []
    if signs:
        assert await findings(database, NEW) == []


async def test_a_whole_file_is_not_given_before_it_was_verified(signed: Store) -> None:
    """The last part is held back, so that nobody takes an altered file for complete."""
    model = await written(signed, Order)
    signed._files._database = Lying(signed.database, PDF[: len(PICTURE)].ljust(len(PICTURE), b"x"))  # type: ignore[assignment]
    async with signed.open_attachment(model, "photos/a.png") as file:
        seen = [b""]
        with pytest.raises(InvalidSignature):
            await _collect(file, seen)
    assert sum(map(len, seen)) < len(PICTURE)


async def _collect(file: AttachmentReader, seen: list[bytes]) -> None:
    async for part in file:
        seen.append(part)  # noqa: PERF401 - what came before the error counts


@pytest.mark.parametrize("trusted", [True, False])
async def test_rotation_protects_files_that_are_older_than_the_class(database: Database, trusted: bool) -> None:
    """If it is told to trust them; otherwise it reports them, and leaves them as they are."""
    await install(database.server, database.name, [Case])
    store = Store(database, crypter=OLD)
    model = await store.create(Case())
    entry = {"content_type": "image/png", "data": base64.b64encode(PICTURE).decode()}
    await database.put({**await database.get(model._id or ""), "_attachments": {"invoice": entry, "other": entry}})
    protect = Reprotection(OLD, models=[Case], database=database.name, plaintext=trusted)
    async with aclosing(Rotation(database, None, protect=protect).run()) as pages:
        found = [each.reason async for page in pages for each in page.findings]
    read = await store.get(Case, model._key)
    if not trusted:
        assert found == ["in the clear"]
        return
    assert found == []
    assert await loaded(store, read, "invoice") == PICTURE
    document = await database.get(model._id or "")
    kinds = {name: each["content_type"] for name, each in document["_attachments"].items()}
    assert kinds == {"invoice": "application/octet-stream", "other": "image/png"}


@pytest.mark.parametrize("signer", [None, OLD], ids=["plain", "signed"])
async def test_a_file_that_couchdb_recodes_is_told(
    database: Database, monkeypatch: pytest.MonkeyPatch, signer: KeyRing | None
) -> None:
    """Somebody has added its type to those that CouchDB compresses: the caller learns what to do."""
    await install(database.server, database.name, [Order])
    store = Store(database, signer=signer)
    monkeypatch.setattr("tornado_couch.store.protection.files.is_compressible", lambda _: False)
    # The embedded server gives such a document another revision than was signed, and has it deleted again.
    with pytest.raises((OutcomeUnknown, SecurityError), match=r"compressible_types|nothing was written"):
        await store.attach(await store.create(Order()), "invoice", TEXT, content_type="text/plain")


class Vault(Model, type="vault_v1.0", key="vault_id", history=True):
    """All versions of a document share its encrypted files."""

    vault_id: Key = assigned()
    color: str = "red"
    invoice: Annotated[Attachment | None, Encrypted()] = None
    photos: Annotated[Attachments, Encrypted()] = assigned()


@pytest.mark.parametrize("signs", [True, False])
async def test_encrypted_files_of_versions_are_stored_once(database: Database, signs: bool) -> None:
    """Each version reads them, also after a rotation, which encrypts their keys anew and leaves the bytes."""
    await install(database.server, database.name, [Vault])
    signer = OLD if signs else None
    store = Store(database, crypter=OLD, signer=signer)
    model = await written(store, Vault)
    for color in ("blue", "green"):
        model.color = color
        model = await store.replace(model)
    assert (await files_stored(database), model.invoice.content_type) == (2, "text/plain")
    both = KeyChain(NEW, OLD)
    rotation = Rotation(database, both if signs else None, protect=Reprotection(both, database=database.name))
    async with aclosing(rotation.run()) as pages:
        assert [finding async for page in pages for finding in page.findings] == []
    after = Store(database, crypter=NEW, signer=NEW if signs else None)
    assert await files_stored(database) == 2
    for number in (3, 4, 5):
        version = await after.version(Vault, model._key, number)
        assert await loaded(after, version, "invoice") == TEXT
        assert await loaded(after, version, "photos/a.png") == PICTURE
    async with after.open_attachment(version, "photos/a.png", start=65_000, stop=66_000) as file:
        assert await file.read() == PICTURE[65_000:66_000]


async def files_stored(database: Database) -> int:
    """How many documents with files of versions there are."""
    return len((await database.all_docs(startkey="tornado_couch_file:", endkey="tornado_couch_file:~")).rows)
