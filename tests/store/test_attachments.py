"""Documents with files that other programs attached to them: whatever the store writes, no file is lost."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from contextlib import aclosing
from datetime import timedelta
from typing import Annotated, Any

import aiohttp
import pytest

from tests.faults import Effect, Fault, FaultProxy, answer_status, lose_answer, lose_request, repeat_request
from tests.security.kinds import key_set
from tests.store.conftest import Sites
from tornado_couch import Couch, Database, Encrypted, Key, Merge, Model, Retry, Store, install, upgrade
from tornado_couch.errors import Conflict
from tornado_couch.maintain.audit import audit
from tornado_couch.maintain.migrate import Migration
from tornado_couch.maintain.rotate import Rotation
from tornado_couch.maintain.sweep import Swept, sweep
from tornado_couch.models import replaced, utc_now
from tornado_couch.security import KeyChain, KeyRing, Scheme, keyczar
from tornado_couch.store import Creation, Deletion, Reprotection, Update
from tornado_couch.store.lifecycle.files import FILE_PREFIX, FILES_PROPERTY, UNUSED_PROPERTY

OLD, NEW = KeyRing.create(), KeyRing.create()
TEXT, IMAGE = b"some text, " * 30, bytes(range(256))  # CouchDB compresses the one, and leaves the other as it is


class Page(Model, type="page_v1.0", key="page_id"):
    page_id: Key
    color: str = "red"
    secret: Annotated[str | None, Encrypted()] = None


class Letter(Model, type="letter_v1.0", key="letter_id", soft_delete=True):
    letter_id: Key
    color: str = "red"


class Diary(Model, type="diary_v1.0", key="diary_id", history=True):
    diary_id: Key
    color: str = "red"


class Item(Model, type="item_v1.0", key="name", unique=True):
    name: str
    color: str = "red"
    verdict: Annotated[str | None, Merge.manual] = None


class NewPage(Model, type="page_v1.1", key="page_id"):
    page_id: Key
    colour: str = "red"

    @upgrade("page_v1.0", to="page_v1.1")
    @staticmethod
    def spell(page: dict[str, Any]) -> dict[str, Any]:
        page["colour"] = page.pop("color")
        return page


MODELS: list[type[Any]] = [Page, Letter, Diary]


class Files:
    """The attachments of a database, as another program reads and writes them."""

    def __init__(self, database: Database, url: str) -> None:
        self._database = database
        self._url = f"{url.rstrip('/')}/{database.name}"

    async def put(self, document_id: str, name: str, data: bytes, *, rev: str | None = None) -> str:
        """Attach a file, and return the document's new revision."""
        if rev is None:
            rev = (await self._database.get(document_id))["_rev"]
        kind = "text/plain" if data.startswith(b"some text") else "image/png"
        async with (
            aiohttp.ClientSession() as session,
            session.put(
                f"{self._url}/{document_id}/{name}", params={"rev": rev}, data=data, headers={"Content-Type": kind}
            ) as reply,
        ):
            assert reply.status == 201, await reply.text()
            return str((await reply.json())["rev"])

    async def of(self, document_id: str, rev: str | None = None) -> dict[str, bytes]:
        """The files of a document, by their names."""
        document = await self._database.get(document_id, rev=rev, attachments=True)
        entries = document.get("_attachments", {})
        named = {
            name: (await self._database.get(each["document"], attachments=True))["_attachments"]["file"]
            for name, each in document.get(FILES_PROPERTY, {}).items()
        }
        return {name: base64.b64decode(each["data"]) for name, each in {**named, **entries}.items()}

    async def stored(self) -> list[dict[str, Any]]:
        """The documents with files of versions."""
        rows = await self._database.all_docs(startkey=FILE_PREFIX, endkey=FILE_PREFIX + "\uffff", include_docs=True)
        return [row.doc for row in rows.rows if row.doc]


@pytest.fixture
def files(database: Database, server_url: str) -> Files:
    return Files(database, server_url)


@pytest.fixture
async def store(database: Database) -> Store:
    await install(database.server, database.name, [*MODELS, Item])  # type: ignore[arg-type]
    return Store(database, crypter=OLD)


BOTH = {"t.txt": TEXT, "i.png": IMAGE}


async def written(store: Store, files: Files, cls: type[Any]) -> Any:
    """A model whose document carries two files of another program, as it is read."""
    made = await store.create(cls())
    await files.put(made._id, "t.txt", TEXT)
    await files.put(made._id, "i.png", IMAGE)
    return await store.get(cls, made._key)


def painted(model: Any) -> None:
    model.color = "blue"


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize("how", ["update", "put", "replace", "bulk", "together"])
async def test_a_change_keeps_the_files(store: Store, files: Files, cls: type[Any], how: str) -> None:
    """In whatever way it is written, alone or in a group, and twice."""
    models = [await written(store, files, cls) for _ in range(3)]
    keys = [each._key for each in models]
    for _ in range(2):
        if how == "update":
            found: list[Any] = [await store.update(cls, key, painted) for key in keys]
        elif how == "put":
            found = [await store.update(cls, key, lambda one: replaced(one, {"color": "blue"})) for key in keys]
        elif how == "replace":
            for each in models:
                each.color = "blue"
            found = models = [await store.replace(each) for each in models]
        elif how == "bulk":
            found = await store.write_many(cls, [Update(key, painted) for key in keys])
        else:
            found = await asyncio.gather(*[store.update(cls, key, painted) for key in keys])
        assert [each.color for each in found] == ["blue"] * 3
        for each in found:
            assert await files.of(each._id) == BOTH


async def test_every_version_keeps_its_files(store: Store, files: Files) -> None:
    """A version is a document of its own, so each has the files that there were when it was written."""
    model = await written(store, files, Diary)
    changed = await store.update(Diary, model._key, painted)
    await files.put(changed._id, "more.png", IMAGE)
    last = await store.update(Diary, model._key, painted)
    await store.delete(Diary, model._key)
    restored = await store.restore(Diary, model._key)
    assert await files.of(model._id) == BOTH
    assert await files.of(last._id) == await files.of(restored._id) == {**BOTH, "more.png": IMAGE}
    for each in (last, restored):
        assert "_attachments" not in await store.database.get(each._id)
    assert len(await files.stored()) == 2  # the image is there once, whatever its names


async def test_a_file_is_stored_before_the_version_that_names_it(
    store: Store, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What happens in between leaves a file that nobody names, never a name without a file."""
    model = await written(store, files, Diary)
    put = store.writer.put

    async def broken(document: Any) -> str:
        if document["type"] == "diary_v1.0":
            raise TimeoutError
        return await put(document)

    monkeypatch.setattr(store.writer, "put", broken)
    with pytest.raises(TimeoutError):
        await store.update(Diary, model._key, painted)
    monkeypatch.undo()
    assert len(await files.stored()) == 2
    assert len((await store.versions(Diary, model._key)).items) == 1


async def test_the_document_of_a_file_is_the_same_everywhere(sites: Sites, both_urls: tuple[str, str]) -> None:
    """So replicating it adds no conflict."""
    found = []
    for database, url in zip(sites.databases, both_urls, strict=True):
        await install(database.server, database.name, [Diary])  # type: ignore[arg-type]
        store, files = Store(database, crypter=OLD), Files(database, url)
        await store.update(Diary, (await written(store, files, Diary))._key, painted)
        found.append([(each["_id"], each["_rev"]) for each in await files.stored()])
    assert len(found[0]) == 2
    assert found[0] == found[1]


@pytest.mark.parametrize("signer", [None, OLD])
async def test_a_sweep_removes_what_no_version_names(store: Store, files: Files, signer: KeyRing | None) -> None:
    """In two steps, a day apart, and nothing that a version names, or comes to name in between."""
    sweeping = Store(store.database, crypter=OLD, signer=signer)
    model = await written(store, files, Diary)
    await sweeping.files.put(lone_file(b"orphan"))
    if signer is None:
        await store.update(Diary, model._key, painted)
    total = len(await files.stored())
    start = utc_now()
    assert await sweep(sweeping, now=lambda: start) == Swept(named=total - 1, marked=1)
    assert await sweep(sweeping, now=lambda: start + timedelta(hours=23)) == Swept(named=total - 1, waiting=1)
    assert await sweep(sweeping, dry_run=True, now=lambda: start + timedelta(days=2)) == Swept(total - 1, deleted=1)
    assert len(await files.stored()) == total
    assert await sweep(sweeping, now=lambda: start + timedelta(days=2)) == Swept(named=total - 1, deleted=1)
    assert len(await files.stored()) == total - 1


async def test_a_marked_file_that_is_named_again_stays(store: Store, files: Files) -> None:
    """Its mark goes before the version is written, so that a deletion that has begun meets a conflict."""
    model = await written(store, files, Diary)
    start = utc_now()
    changed = await store.update(Diary, model._key, painted)
    await store.database.delete(changed._id, changed._rev)  # as nobody should
    assert await sweep(store, now=lambda: start) == Swept(marked=2)
    seen = await files.stored()
    model = await written(store, files, Diary)
    changed = await store.update(Diary, model._key, painted)
    assert not any(UNUSED_PROPERTY in each for each in await files.stored())
    for each in seen:
        with pytest.raises(Conflict):
            await store.files.delete(each)
    assert await sweep(store, now=lambda: start + timedelta(days=2)) == Swept(named=2)
    assert await files.of(changed._id) == BOTH


def lone_file(data: bytes) -> dict[str, Any]:
    """The document of a file that no version names."""
    digest = "md5-" + base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    held = {"file": {**entry(data), "digest": digest}}
    return {"_id": FILE_PREFIX + "orphan", "type": "tornado_couch_file_v1.0", "_attachments": held}


async def test_a_file_that_is_attached_meanwhile_is_kept(store: Store, files: Files) -> None:
    """The writer meets a conflict, reads again, and finds the file; so with a file that is gone."""
    model = await written(store, files, Page)
    times = []

    async def change(page: Page) -> None:
        page.color = "blue"
        times.append(page)
        if len(times) == 1:
            await files.put(page._id or "", "late.png", IMAGE)

    assert (await store.update(Page, model._key, change)).color == "blue"
    assert await files.of(model._id) == {**BOTH, "late.png": IMAGE}


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize("bulk", [False, True])
async def test_deletion_is_not_refused(store: Store, files: Files, cls: type[Any], bulk: bool) -> None:
    """And what can be restored comes back with its files."""
    model = await written(store, files, cls)
    if bulk:
        assert await store.write_many(cls, [Deletion(model._key)])
    else:
        await store.delete(cls, model._key)
    if cls is Page:
        return
    restored = await store.restore(cls, model._key, painted)
    assert await files.of(restored._id) == BOTH
    assert restored.color == "blue"


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize("bulk", [False, True])
async def test_a_copy_of_a_model_takes_the_files_along(store: Store, files: Files, cls: type[Any], bulk: bool) -> None:
    """A stub cannot refer to another document's file."""
    model = await written(store, files, cls)
    copy = model.model_copy()
    copy._id = copy._rev = None
    (made,) = await store.write_many(cls, [Creation(copy)]) if bulk else [await store.create(copy)]
    assert made._id != model._id
    assert await files.of(made._id) == await files.of(model._id) == BOTH
    again = await store.replace(made)
    assert await files.of(again._id) == BOTH


async def test_rotation_keeps_the_files(store: Store, files: Files) -> None:
    """Signed anew, and encrypted anew."""
    model = await store.create(Page(secret="s"))
    await files.put(model._id or "", "t.txt", TEXT)
    both = KeyChain(NEW, OLD)
    for adopt in (True, False):
        protect = Reprotection(both, models=[Page])
        rotation = Rotation(store.database, both, adopt=adopt, protect=protect)
        async with aclosing(rotation.run()) as pages:
            findings = [finding async for page in pages for finding in page.findings]
        assert findings == []
    signed = Store(store.database, crypter=NEW, signer=NEW)
    assert (await signed.get(Page, model._key)).secret == "s"
    changed = await signed.update(Page, model._key, painted)
    assert (await signed.get(Page, model._key)).color == "blue"
    assert await files.of(changed._id or "") == {"t.txt": TEXT}


async def test_migration_keeps_the_files(store: Store, files: Files) -> None:
    """Documents of an older version are written in the current one."""
    model = await written(store, files, Page)
    async with aclosing(Migration(store, [NewPage]).run()) as pages:  # type: ignore[type-var]
        assert sum([page.migrated async for page in pages]) == 1
    assert (await store.database.get(model._id))["type"] == "page_v1.1"
    assert await files.of(model._id) == BOTH


# ---------------------------------------------------------------- conflicts


def entry(data: bytes, kind: str = "image/png") -> dict[str, str]:
    return {"content_type": kind, "data": base64.b64encode(data).decode()}


async def conflicting(database: Database, *bodies: dict[str, Any], base: dict[str, Any] | None = None) -> None:
    """A document with these leaves, upon a common revision."""
    common = {"_id": "item:a", "type": "item_v1.0", "name": "a"}
    history = []
    if base is not None:
        written = await database.put({**common, **base})
        history = [written.rev.partition("-")[2]]
    documents = []
    for digest, body in zip("bcdefgh", bodies, strict=False):
        path = [digest * 32, *history]
        revision = {"_rev": f"{len(path)}-{path[0]}", "_revisions": {"start": len(path), "ids": path}}
        documents.append({**common, **body, **revision})
    assert not await database.bulk_docs(documents, new_edits=False)


async def leaves(database: Database) -> list[dict[str, Any]]:
    """The leaves that live."""
    (found,) = await database.bulk_get(["item:a"])
    return [each.document for each in found if each.document and not each.document.get("_deleted")]


ONE, OTHER, THIRD = b"one", b"other", b"third"

# For each case: what the leaves have, what their common revision has if it is known, and what must come of it. The
# greater revision is the last leaf's, which wins.
CASES: dict[str, tuple[list[dict[str, bytes]], dict[str, bytes] | None, dict[str, bytes]]] = {
    "the winner alone has one": ([{}, {"x": ONE}], {}, {"x": ONE}),
    "a loser alone has one": ([{"x": ONE}, {}], {}, {"x": ONE}),
    "each has its own": ([{"x": ONE}, {"y": OTHER}, {"z": THIRD}], {}, {"x": ONE, "y": OTHER, "z": THIRD}),
    "all have the same": ([{"x": ONE}, {"x": ONE}], {"x": ONE}, {"x": ONE}),
    "a loser has changed it": ([{"x": OTHER}, {"x": ONE}], {"x": ONE}, {"x": OTHER}),
    "the winner has changed it": ([{"x": ONE}, {"x": OTHER}], {"x": ONE}, {"x": OTHER}),
    "the winner has removed it": ([{"x": ONE}, {}], {"x": ONE}, {}),
    "a loser has removed it": ([{}, {"x": ONE}], {"x": ONE}, {}),
    "nobody knows what was before": ([{"x": ONE}, {"y": OTHER}], None, {"x": ONE, "y": OTHER}),
}


def with_files(held: dict[str, bytes]) -> dict[str, Any]:
    return {"_attachments": {name: entry(data) for name, data in held.items()}} if held else {}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("how", ["rules", "hand"])
async def test_a_merge_has_the_files_of_all_leaves(store: Store, files: Files, case: str, how: str) -> None:
    """As with properties that the model does not know, each file by its name."""
    held, before, expected = CASES[case]
    bodies = [{**with_files(each), "color": f"color {number}"} for number, each in enumerate(held)]
    await conflicting(store.database, *bodies, base=None if before is None else with_files(before))
    if how == "rules":
        result = await store.reconciliation.reconcile(Item, "item:a")
        assert result.problems == []
    else:
        found = await store.reconciliation.find(Item, "a")
        chosen = await store.load(Item, found.documents[-1])
        await store.reconciliation.resolve(Item, found, chosen)
    (document,) = await leaves(store.database)
    assert await files.of("item:a") == expected
    assert (await store.update(Item, "a", painted)).color == "blue"
    assert await files.of("item:a") == expected
    assert document["_rev"] != (await leaves(store.database))[0]["_rev"]


async def test_two_files_of_one_name_are_both_kept(store: Store, files: Files) -> None:
    """The winner's under its name, the other under a name that says what it is."""
    await conflicting(store.database, with_files({"x.png": ONE}), with_files({"x.png": OTHER}), base={})
    assert (await store.reconciliation.reconcile(Item, "item:a")).problems == []
    found = await files.of("item:a")
    assert found.pop("x.png") == OTHER
    ((name, data),) = found.items()
    assert (name[:2], data) == ("x~", ONE)
    assert name.endswith(".png")


@pytest.mark.parametrize("how", ["rules", "hand"])
async def test_one_file_under_two_names_stays_under_both(store: Store, files: Files, how: str) -> None:
    """Each stub says when its file was attached, and CouchDB takes no other."""
    await store.create(Item(name="a"))
    for name in ("x", "y"):
        await files.put("item:a", name, IMAGE)
    await conflicting(store.database, with_files({"z": IMAGE}))
    if how == "rules":
        assert (await store.reconciliation.reconcile(Item, "item:a")).problems == []
    else:
        found = await store.reconciliation.find(Item, "a")
        await store.reconciliation.resolve(Item, found, await store.load(Item, found.documents[-1]))
    assert len(await leaves(store.database)) == 1
    assert (await files.of("item:a")).items() >= {"x": IMAGE, "y": IMAGE}.items()


async def test_both_sites_write_the_same_merge(sites: Sites) -> None:
    """With files that had to be fetched from a losing leaf."""
    revisions = set()
    for database in sites.databases:
        await install(database.server, database.name, [Item])  # type: ignore[arg-type]
    await conflicting(
        sites.databases[0],
        {"_attachments": {"b": entry(ONE), "a": entry(TEXT, "text/plain")}},
        {"_attachments": {"z": entry(IMAGE)}},
    )
    await sites.replicate_natively()
    for database in sites.databases:
        result = await Store(database).reconciliation.reconcile(Item, "item:a")
        assert result.merged == 1
        revisions.add(result.revision)
    assert len(revisions) == 1


async def test_a_signed_merge_verifies(store: Store, files: Files) -> None:
    """The signature covers the files as CouchDB stores them."""
    signing = Store(store.database, signer=OLD)
    await conflicting(store.database, with_files({"x": ONE}), {"_attachments": {"t": entry(TEXT, "text/plain")}})
    async with aclosing(Rotation(store.database, OLD, adopt=True).run()) as pages:  # type: ignore[arg-type]
        assert [finding async for page in pages for finding in page.findings] == []
    assert (await signing.reconciliation.reconcile(Item, "item:a")).problems == []
    assert (await signing.update(Item, "a", painted)).color == "blue"
    assert (await signing.get(Item, "a")).color == "blue"
    assert await files.of("item:a") == {"x": ONE, "t": TEXT}


async def test_versions_with_one_number_keep_their_files_side_by_side(store: Store, files: Files) -> None:
    """They get documents of their own."""
    model = await written(store, files, Diary)
    original = await store.database.get(model._id, attachments=True)
    other = {**original, "color": "green", "_rev": "1-" + "f" * 32}
    other["_attachments"] = {**original["_attachments"], "more.png": entry(IMAGE)}
    assert not await store.database.bulk_docs([other], new_edits=False)
    assert (await store.reconciliation.reconcile(Diary, model._id)).problems == []
    page = await store.versions(Diary, model._key)
    found = [await files.of(each._id or "") for each in page.items]
    assert sorted(found, key=len) == [BOTH, {**BOTH, "more.png": IMAGE}]


async def test_rotation_renews_a_tombstone_with_files(store: Store, files: Files) -> None:
    """Another program can delete a document and leave its files attached."""
    model = await written(store, files, Page)
    document = await store.database.get(model._id)
    await store.database.bulk_docs([{**document, "_deleted": True}])
    async with aclosing(Rotation(store.database, OLD, adopt=True).run()) as pages:  # type: ignore[arg-type]
        assert [finding async for page in pages for finding in page.findings] == []
    (found,) = await store.database.bulk_get([model._id])
    assert [(each.document or {})["_attachments"].keys() for each in found] == [BOTH.keys()]


@pytest.mark.parametrize("cls", MODELS)
@pytest.mark.parametrize("tokens", [True, False])
@pytest.mark.parametrize("effect", [lose_answer, lose_request, repeat_request, answer_status(500)])
async def test_a_lost_answer_loses_no_file(
    store: Store, files: Files, proxy: FaultProxy, cls: type[Any], tokens: bool, effect: Effect
) -> None:
    """Bytes that are sent are no stub when they are read: that is not what tells whether a write landed."""
    model = await written(store, files, cls)
    async with Couch(proxy.url) as behind:
        writer = Store(behind[store.database.name], crypter=OLD, retry=Retry(base=0.001), write_tokens=tokens)
        for color in ("blue", "green"):
            proxy.faults[:] = [Fault(effect, method="PUT")]
            changed = await writer.update(cls, model._key, lambda one, color=color: setattr(one, "color", color))
            assert proxy.faults[0].hits == 1
            assert await files.of(changed._id) == BOTH
    if cls is Diary and (tokens or effect is not repeat_request):  # without tokens it looks like another writer's
        assert len((await store.versions(Diary, model._key)).items) == 3
    assert (await store.get(cls, model._key)).color == "green"


@pytest.mark.parametrize("scheme", Scheme)
async def test_what_is_signed_with_bytes_verifies_with_stubs(store: Store, files: Files, scheme: Scheme) -> None:
    """The classic scheme signs `_attachments` as they are read."""
    keys = OLD if scheme is Scheme.V2 else key_set(keyczar.Signer, "hmac")
    signing = Store(store.database, crypter=OLD, signer=keys, scheme=scheme)
    model = await signing.create(Page())
    await files.put(model._id or "", "t.txt", TEXT)
    await store.database.put(signing._guard.signed(await store.database.get(model._id or "")))
    copy = (await signing.get(Page, model._key)).model_copy()
    copy._id = copy._rev = None
    made = await signing.create(copy)
    assert (await signing.get(Page, made._key)).color == "red"
    assert (await signing.update(Page, made._key, painted)).color == "blue"
    assert (await signing.get(Page, made._key)).color == "blue"
    assert await files.of(made._id or "") == {"t.txt": TEXT}


async def test_the_files_of_a_signed_history_are_signed(store: Store, files: Files) -> None:
    """So that an audit finds nothing, also after a sweep has marked one."""
    signing = Store(store.database, crypter=OLD, signer=OLD)
    model = await written(store, files, Diary)
    async with aclosing(Rotation(store.database, OLD, adopt=True).run()) as pages:  # type: ignore[arg-type]
        assert [finding async for page in pages for finding in page.findings] == []
    await signing.files.put(lone_file(b"orphan"))
    changed = await signing.update(Diary, model._key, painted)
    assert await files.of(changed._id or "") == BOTH
    assert await sweep(signing) == Swept(named=2, marked=1)
    assert [found async for page in audit(store.database, OLD) for found in page.findings] == []  # type: ignore[arg-type]
    assert len((await signing.versions(Diary, model._key)).items) == 2
