"""Files in conflicting leaves, in versions and in copies: none is lost, and each stays what it was."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Annotated, Any

import pytest

from tests.store.attachments.models import PDF, PICTURE, TEXT, Case, Diary, Order, loaded
from tests.store.conftest import Sites
from tornado_couch import Attachment, Attachments, Key, Merge, Model, Store, assigned, install, upgrade
from tornado_couch.errors import ValidationFailed
from tornado_couch.maintain.migrate import Migration
from tornado_couch.models import from_document, replaced, representation
from tornado_couch.security import KeyRing

RING = KeyRing.create()


class Latest(Model, type="latest_v1.0", key="latest_id"):
    latest_id: Key = assigned()
    color: str = "red"
    invoice: Annotated[Attachment | None, Merge.latest()] = None
    photos: Annotated[Attachments, Merge.latest()] = assigned()


MODELS: list[type[Any]] = [Order, Case, Latest]


@pytest.fixture(params=["plain", "signed"])
async def stores(request: pytest.FixtureRequest, sites: Sites) -> list[Store]:
    found = []
    for database in sites.databases:
        await install(database.server, database.name, [*MODELS, Diary])  # type: ignore[arg-type]
        signer = RING if request.param == "signed" else None
        found.append(Store(database, crypter=RING, signer=signer))
    return found


async def exchange(sites: Sites) -> None:
    """Replicate both ways, with the files."""
    for source, target in ((0, 1), (1, 0)):
        page = await sites.databases[source].changes(style="all_docs")
        wanted = [(each.id, rev) for each in page.results if not each.id.startswith("_") for rev in each.revisions]
        read = [sites.databases[source].get(each, rev=rev, revs=True, attachments=True) for each, rev in wanted]
        assert not await sites.databases[target].bulk_docs(await asyncio.gather(*read), new_edits=False)


async def forked(stores: list[Store], sites: Sites, cls: type[Any]) -> Any:
    """A model that both sites changed: each has replaced the invoice, and added a picture under the same name."""
    model = await stores[0].attach(await stores[0].create(cls()), "invoice", TEXT, content_type="text/plain")
    model = await stores[0].attach(model, "photos/kept.png", b"kept", content_type="image/png")
    await exchange(sites)
    for store, data in zip(stores, (PDF, PICTURE), strict=True):
        kind = "application/pdf" if data is PDF else "image/png"
        if cls is not Order:
            await store.attach(model, "invoice", data, content_type=kind)
        await store.attach(model, "photos/new.png", data[:500], content_type="image/png")
    await exchange(sites)
    return model


@pytest.mark.parametrize("cls", MODELS)
async def test_a_merge_keeps_both_files_or_the_latest(stores: list[Store], sites: Sites, cls: type[Any]) -> None:
    """By their digests: what one side alone has stays; two files of one name get two, unless the model says otherwise.

    Both sites write the same revision, and every file can be read, verified and decrypted there.
    """
    model = await forked(stores, sites, cls)
    revisions = []
    for store in stores:
        result = await store.reconciliation.reconcile(cls, model._id)
        assert not result.problems
        revisions.append(result.revision)
    assert revisions[0] == revisions[1]
    await exchange(sites)
    for store in stores:
        read = await store.get(cls, model._key)
        names = sorted(read.photos)
        assert await loaded(store, read, "photos/kept.png") == b"kept"
        both = {await loaded(store, read, f"photos/{name}") for name in names if name.startswith("new")}
        if cls is Latest:
            assert len(both) == 1
        else:
            assert (len(names), both) == (3, {PDF[:500], PICTURE[:500]})
        if cls is not Order:
            assert await loaded(store, read, "invoice") in (PDF, PICTURE)
        # What was merged goes on to be written like any other document.
        changed = await store.update(cls, read._key, lambda one: setattr(one, "color", "blue"))
        assert {each: await loaded(store, changed, f"photos/{each}") for each in names}


async def test_replication_brings_the_files(stores: list[Store], sites: Sites) -> None:
    """CouchDB's own; what is signed and encrypted is read in the other place as well."""
    models = []
    for cls in (Order, Case, Diary):
        made: Any = await stores[0].attach(await stores[0].create(cls()), "invoice", TEXT, content_type="text/plain")
        models.append(await stores[0].attach(made, "photos/a.png", PICTURE, content_type="image/png"))
    await sites.replicate_natively()
    for model in models:
        read = await stores[1].get(type(model), model._key)
        assert (read.invoice, read.photos) == (model.invoice, model.photos)
        assert await loaded(stores[1], read, "invoice") == TEXT
        assert await loaded(stores[1], read, "photos/a.png") == PICTURE


@pytest.mark.parametrize("cls", [Order, Case])
async def test_a_decision_by_hand_keeps_the_files_of_all_leaves(
    stores: list[Store], sites: Sites, cls: type[Any]
) -> None:
    """Whoever decides about the properties could not see them; the model shows them afterwards."""
    model = await forked(stores, sites, cls)
    found = await stores[0].reconciliation.read(model._id)
    decided = await stores[0].reconciliation.resolve(cls, found, await stores[0].get(cls, model._key))
    read = await stores[0].get(cls, model._key)
    assert (decided.invoice, decided.photos) == (read.invoice, read.photos)
    assert len(read.photos) == 3
    for name in read.photos:
        assert await loaded(stores[0], decided, f"photos/{name}")


async def test_versions_that_two_sites_wrote_keep_their_files(stores: list[Store], sites: Sites) -> None:
    """The one that lost stands beside the other, and has its own file."""
    model = await stores[0].create(Diary())
    await exchange(sites)
    for store, data in zip(stores, (PDF, PICTURE), strict=True):
        await store.attach(model, "invoice", data, content_type="application/pdf")
    await exchange(sites)
    versions = await stores[0].versions(Diary, model._key)
    latest = versions.items[0]
    await stores[0].reconciliation.reconcile(Diary, latest._id or "")
    found = (await stores[0].versions(Diary, model._key)).items
    assert {await loaded(stores[0], each, "invoice") for each in found if each.invoice} == {PDF, PICTURE}


async def test_a_large_file_is_copied_without_being_held(stores: list[Store], sites: Sites) -> None:
    """A merge sends it once more, from the spool, with the digest that it has; so does a copy of a model."""
    large = PICTURE * 20
    model = await stores[0].attach(await stores[0].create(Latest()), "invoice", large, content_type="text/plain")
    copy = model.model_copy()
    copy._id = copy._rev = None
    made = await stores[0].create(copy)
    assert made.invoice == model.invoice
    assert await loaded(stores[0], await stores[0].get(Latest, made._key), "invoice") == large
    assert (await stores[0].database.get(made._id or ""))["_attachments"]["invoice"]["digest"] == (
        await stores[0].database.get(model._id or "")
    )["_attachments"]["invoice"]["digest"]


async def test_an_encrypted_file_is_not_copied_to_another_document(stores: list[Store]) -> None:
    """It is bound to its own; nothing is written."""
    store = stores[0]
    model = await store.attach(await store.create(Case()), "invoice", PDF, content_type="application/pdf")
    copy = model.model_copy()
    copy._id = copy._rev = None
    with pytest.raises(ValidationFailed, match="attach it"):
        await store.create(copy)


class NewOrder(Model, type="order_v1.1", key="order_id"):
    order_id: Key = assigned()
    colour: str = "red"
    invoice: Attachment | None = None
    photos: Attachments = assigned()

    @upgrade("order_v1.0", to="order_v1.1")
    @staticmethod
    def spell(order: dict[str, Any]) -> dict[str, Any]:
        order["colour"] = order.pop("color")
        return order


async def test_migration_keeps_the_files(stores: list[Store]) -> None:
    """A document of an older version is rewritten, and its files are neither sent nor changed."""
    store = stores[0]
    model = await store.attach(await store.create(Order()), "invoice", TEXT, content_type="text/plain")
    await install(store.database.server, store.database.name, [NewOrder])
    async with aclosing(Migration(store, [NewOrder]).run()) as pages:
        assert [page async for page in pages]
    document = await store.database.get(model._id or "")
    assert (document["type"], document["_attachments"]["invoice"]["revpos"]) == ("order_v1.1", 2)
    assert await loaded(store, await store.get(NewOrder, model._key), "invoice") == TEXT


def test_a_body_keeps_or_drops_files_and_brings_none() -> None:
    """What it leaves out stays, null drops it, and what it shows has to be what is there."""
    entry = {"content_type": "image/png", "length": 3, "digest": "md5-rL0Y20zC+Fzt72VPzMSk2A==", "stub": True}
    files = {"invoice": entry, "photos/a": entry, "photos/b": entry}
    order = from_document(Order, {"_id": "1", "type": "order_v1.0", "order_id": "1", "_attachments": files})
    shown = representation(order)
    file = {**shown["invoice"], "_href": "/orders/1/invoice", "_etag": '"x"'}

    def kept(body: dict[str, Any]) -> tuple[bool, list[str]]:
        found = replaced(order, {"color": "blue", **body})
        return found.invoice is not None, list(found.photos)

    assert kept({}) == kept({"invoice": file, "photos": {"a": file, "b": file}}) == (True, ["a", "b"])
    assert kept({"invoice": None}) == (False, ["a", "b"])
    assert kept({"photos": None}) == kept({"photos": {}}) == (True, [])
    assert kept({"photos": {"a": file, "b": None}}) == kept({"photos": {"a": file}}) == (True, ["a"])
    for wrong in (
        {"invoice": {**file, "length": 4}},
        {"invoice": "x"},
        {"photos": {"c": file}},
        {"photos": []},
    ):
        with pytest.raises(ValidationFailed, match="not sent in JSON"):
            replaced(order, wrong)
