"""Conflicted documents in real databases: found, merged, and the same wherever they are merged."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import pytest

from tests.faults import until
from tests.security.kinds import SIGNERS
from tests.store.conftest import Sites
from tornado_couch import (
    CreatedOn,
    Database,
    DocumentNotFound,
    Encrypted,
    Hashed,
    Key,
    Merge,
    Model,
    Public,
    Store,
    UpdatedOn,
    install,
    upgrade,
)
from tornado_couch.errors import InvalidSignature
from tornado_couch.models import CONFLICTS_VIEW, MERGE_PROPERTY, database_check
from tornado_couch.security import KeyRing, Scheme, signed_revision, verify_document
from tornado_couch.store import ReconcileResult
from tornado_couch.store.protection.signatures import SignatureGuard

RING = KeyRing.create()


class Item(Model, type="item_v1.1", key="name", unique=True):
    name: str
    color: str = ""
    stock: Annotated[int, Merge.sum_of_changes] = 0
    tags: Annotated[list[str], Merge.union] = []  # noqa: RUF012 - pydantic copies it
    best: Annotated[int, Merge.max] = 0
    email: Annotated[str | None, Encrypted(searchable=True)] = None
    pin: Annotated[str | None, Hashed(cost=4)] = None
    verdict: Annotated[str | None, Merge.manual] = None
    created_on: CreatedOn
    updated_on: UpdatedOn

    @upgrade("item_v1.0", to="item_v1.1")
    @staticmethod
    def spell_color(item: dict[str, Any]) -> dict[str, Any]:
        return {"color": item.pop("colour", ""), **item}


def item_id(name: str) -> str:
    return f"item:{name}"


def store_of(database: Database, **options: Any) -> Store:
    return Store(database, crypter=RING, **options)


@pytest.fixture
async def store(database: Database) -> Store:
    await install(database.server, database.name, [Item])  # type: ignore[arg-type]
    return store_of(database)


@pytest.fixture(params=["unsigned", "signed"])
async def stores(sites: Sites, request: pytest.FixtureRequest) -> list[Store]:
    """A store at each of two sites."""
    options = {"signer": RING, "verify": "history"} if request.param == "signed" else {}
    for each in sites.databases:
        await install(each.server, each.name, [Item])  # type: ignore[arg-type]
    return [store_of(each, **options) for each in sites.databases]


async def conflicting(store: Store, *bodies: dict[str, Any], base: dict[str, Any] | None = None) -> None:
    """A document with these leaves, upon a common revision."""
    documents = [{"_id": item_id("a"), "type": "item_v1.1", "name": "a", **body} for body in bodies]
    history = []
    if base is not None:
        written = await store.database.put({"_id": item_id("a"), "type": "item_v1.1", "name": "a", **base})
        history = [written.rev.partition("-")[2]]
    for digest, document in zip("bcdefgh", documents, strict=False):
        path = [digest * 32, *history]
        document["_rev"] = f"{len(path)}-{path[0]}"
        document["_revisions"] = {"start": len(path), "ids": path}
    assert not await store.database.bulk_docs(documents, new_edits=False)


async def leaves(store: Store, name: str = "a") -> list[dict[str, Any]]:
    """The leaves that live."""
    (found,) = await store.database.bulk_get([item_id(name)], revs=True)
    return [each.document for each in found if each.document and not each.document.get("_deleted")]


async def reconcile(store: Store, name: str = "a") -> ReconcileResult:
    return await store.reconciliation.reconcile(Item, item_id(name))


async def test_the_view_of_conflicts_has_each_document_in_conflict_once(database: Database) -> None:
    """A deleted leaf is no conflict, nor is a document that was merely changed."""
    await install(database.server, database.name, [])  # type: ignore[arg-type]
    await database.bulk_docs([{"_id": "conflict", "type": "a_v1.0"}, {"_id": "alone"}, {"_id": "beside-a-tombstone"}])
    other = "1-" + "f" * 32
    await database.bulk_docs(
        [
            {"_id": "conflict", "_rev": other, "type": "a_v1.1"},
            {"_id": "beside-a-tombstone", "_rev": other, "_deleted": True},
        ],
        new_edits=False,
    )
    rows = (await database.view(CONFLICTS_VIEW, CONFLICTS_VIEW, reduce=False)).rows
    assert [(row.id, row.key) for row in rows] == [("conflict", "a_v1.1")]


async def test_leaves_become_one_by_the_models_rules(store: Store) -> None:
    """Three of them, over their ancestor, and nothing is left of the conflict."""
    await conflicting(
        store,
        {"stock": 11, "tags": ["x", "y"], "best": 3},
        {"stock": 8, "tags": [], "best": 2},
        {"stock": 10, "tags": ["x"], "color": "red"},
        base={"stock": 10, "tags": ["x"]},
    )
    result = await reconcile(store)
    assert (result.leaves, result.merged, result.deleted, result.problems) == (3, 1, 2, [])
    found = await store.get(Item, "a")
    assert (found.stock, found.tags, found.best, found.color) == (9, ["y"], 3, "red")
    assert [each["_rev"] for each in await leaves(store)] == [result.revision] == [found._rev]
    assert (await store.database.view(CONFLICTS_VIEW, CONFLICTS_VIEW)).rows == []
    assert await reconcile(store) == ReconcileResult(item_id("a"), 1, result.revision)


async def test_what_cannot_be_merged_stays_as_it_is(store: Store) -> None:
    """With the reason, by the property."""
    await conflicting(store, {"verdict": "good"}, {"verdict": "bad"}, base={})
    before = await leaves(store)
    result = await reconcile(store)
    assert [each["pointer"] for each in result.problems] == ["/verdict"]
    assert await leaves(store) == before


@pytest.mark.parametrize(
    ("bodies", "pointer"),
    [
        (({"type": "item_v2.0"}, {"color": "red"}), "/type"),
        (({"type": "item_v1.2"}, {"color": "red"}), "/type"),
        (({"type": "other_v1.0"}, {"color": "red"}), "/type"),
        (({"type": None}, {"color": "red"}), "/type"),
        (({"color": 5}, {"color": 6}), "/color"),
        (({"email": "encrypted.v1:forged"}, {"color": "red"}), ""),
    ],
)
async def test_what_would_be_no_document_of_the_model_is_not_merged(
    store: Store, bodies: tuple[dict[str, Any], ...], pointer: str
) -> None:
    """Leaves of other or newer types, values that do not fit, a ciphertext that is none."""
    await conflicting(store, *bodies, base={})
    result = await reconcile(store)
    assert [each["pointer"] for each in result.problems] == [pointer]
    assert len(await leaves(store)) == 2


async def test_leaves_of_different_versions_are_merged_in_the_models_own(store: Store) -> None:
    """The older ones, and their ancestor, as the upgrades make them."""
    old = {"type": "item_v1.0"}
    await conflicting(store, {**old, "colour": "red", "stock": 5}, {"color": "", "stock": 7}, base={**old, "stock": 4})
    assert (await reconcile(store)).problems == []
    (document,) = await leaves(store)
    assert (document["type"], document["color"], document["stock"], "colour" in document) == (
        "item_v1.1",
        "red",
        8,
        False,
    )


async def test_leaves_of_one_older_version_stay_of_it(store: Store) -> None:
    """They are upgraded when they are read, as ever."""
    old = {"type": "item_v1.0"}
    await conflicting(store, {**old, "colour": "red"}, {**old, "colour": "red", "stock": 7}, base=old)
    assert (await reconcile(store)).problems == []
    assert (await leaves(store))[0]["type"] == "item_v1.0"
    assert (await store.get(Item, "a")).color == "red"


async def test_attachments_are_merged(store: Store) -> None:
    """Equal ones are kept, and so are those that the winning leaf does not have."""
    entry = {"content_type": "text/plain", "data": "aGVsbG8="}
    await conflicting(store, {"_attachments": {"x": entry}}, {"_attachments": {"x": entry}, "stock": 5}, base={})
    assert (await reconcile(store)).problems == []
    (document,) = await leaves(store)
    assert document["_attachments"]["x"]["length"] == 5
    await store.delete(Item, "a")
    await conflicting(store, {"_attachments": {"x": entry}}, {"stock": 5})
    assert (await reconcile(store)).problems == []
    (document,) = await leaves(store)
    assert (document["_attachments"]["x"]["length"], document["stock"]) == (5, 5)


async def test_an_update_outlives_a_deletion_elsewhere(store: Store) -> None:
    """As in CouchDB itself: a deleted leaf is no conflict, and its document goes on."""
    await conflicting(store, {"_deleted": True}, {"stock": 5}, base={})
    result = await reconcile(store)
    assert (result.merged, result.deleted) == (0, 0)
    assert (await store.get(Item, "a")).stock == 5


async def test_a_leaf_that_another_one_was_made_of_is_only_deleted(store: Store) -> None:
    """No revision is written: what it had is in the other one."""
    await conflicting(store, {"stock": 1}, {"stock": 2}, base={"stock": 0})
    merged = await store.reconciliation.read(item_id("a"))
    document = await store.reconciliation.merged(Item, merged)
    written = await store.database.put(document)
    result = await reconcile(store)
    assert (result.merged, result.deleted, result.revision) == (0, 1, written.rev)
    assert (await store.get(Item, "a")).stock == 3


async def test_a_refused_result_leaves_every_leaf(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another writer was faster: nothing is deleted before the merged revision is there."""
    await conflicting(store, {"stock": 1}, {"stock": 2}, base={"stock": 0})
    read = store.reconciliation.read
    raced = False

    async def race(document_id: str) -> Any:
        nonlocal raced
        found = await read(document_id)
        if not raced:
            raced = True
            await store.update(Item, "a", lambda latest: setattr(latest, "stock", latest.stock + 10))
            assert len(await leaves(store)) == 2
        return found

    monkeypatch.setattr(store.reconciliation, "read", race)
    result = await reconcile(store)
    assert (result.merged, result.deleted) == (1, 1)
    assert (await store.get(Item, "a")).stock == 13


async def test_bulk_docs_is_no_transaction(database: Database) -> None:
    """Why the result is written before the leaves are deleted: one can be refused, and the other be done."""
    await database.put({"_id": "x"})
    other = "1-" + "f" * 32
    await database.bulk_docs([{"_id": "x", "_rev": other}], new_edits=False)
    stale = {"_id": "x", "_rev": "1-" + "0" * 32, "merged": True}
    outcomes = await database.bulk_docs([stale, {"_id": "x", "_rev": other, "_deleted": True}])
    assert [each.error for each in outcomes] == ["conflict", None]


async def test_a_leaf_that_does_not_verify_is_never_merged(database: Database) -> None:
    """Nor deleted: the conflict stays, and is reported."""
    await install(database.server, database.name, [Item])  # type: ignore[arg-type]
    store = store_of(database, signer=RING)
    await store.create(Item(name="a", stock=5))
    forged = {"_id": item_id("a"), "_rev": "1-" + "0" * 32, "type": "item_v1.1", "name": "a", "stock": 500}
    await database.bulk_docs([forged], new_edits=False)
    result = await reconcile(store)
    assert "does not verify: unsigned" in result.problems[0]["detail"]
    assert len(await leaves(store)) == 2
    await database.bulk_docs([{**forged, "_rev": "1-" + "f" * 32}], new_edits=False)
    with pytest.raises(InvalidSignature):
        await store.reconciliation.find(Item, "a")


async def test_leaves_are_found_by_key(store: Store) -> None:
    """As the document is."""
    await conflicting(store, {"stock": 1}, {"stock": 2})
    found = await store.reconciliation.find(Item, "a")
    assert [each["stock"] for each in found.documents] == [2, 1]
    assert found.tag != (await store.reconciliation.read(item_id("b"))).tag
    with pytest.raises(DocumentNotFound):
        await store.reconciliation.find(Item, "b")


class Note(Model, type="note_v1.0", key="note_id"):
    note_id: Key
    text: Annotated[str, Public()] = ""


async def test_leaves_are_found_by_a_generated_key(database: Database) -> None:
    """Which is the id."""
    await install(database.server, database.name, [Note])  # type: ignore[arg-type]
    store = Store(database)
    note = await store.create(Note(text="a"))
    assert (await store.reconciliation.find(Note, note.note_id)).revisions == [note._rev]
    for missing in ("_design/x", "none"):
        with pytest.raises(DocumentNotFound):
            await store.reconciliation.find(Note, missing)


# ------------------------------------------------------------ two sites


async def test_two_sites_that_see_the_same_leaves_write_the_same_revision(sites: Sites, stores: list[Store]) -> None:
    """Both reconcile at the same time; what they then replicate adds nothing, and every change is there."""
    await stores[0].create(Item(name="a", stock=10, tags=["x"], email="ann@example.org", pin="1234"))
    await sites.replicate_natively()

    def here(latest: Item) -> None:
        latest.stock += 5
        latest.tags.append("here")
        latest.email = "ann@example.net"

    def there(latest: Item) -> None:
        latest.stock -= 2
        latest.tags.remove("x")
        latest.pin = "5678"

    await asyncio.gather(stores[0].update(Item, "a", here), stores[1].update(Item, "a", there))
    await sites.replicate_natively()
    assert [len(each) for each in await sites.leaves(item_id("a"))] == [2, 2]
    results = await asyncio.gather(*(reconcile(each) for each in stores))
    assert results[0] == results[1]
    assert (results[0].merged, results[0].deleted, results[0].problems) == (1, 1, [])
    await sites.replicate_natively()
    assert await sites.leaves(item_id("a")) == [[results[0].revision]] * 2
    for store in stores:
        found = await store.get(Item, "a")
        assert (found.stock, sorted(found.tags), found.email) == (13, ["here"], "ann@example.net")
        assert await store.verify(found, "pin", "5678")
        assert (await store.find(Item, by="email", key="ann@example.net")).items == [found]
        assert (await reconcile(store)).merged == 0


async def test_what_is_merged_is_signed(sites: Sites, stores: list[Store]) -> None:
    """Result and tombstone, with the history; in a store that signs."""
    signed = isinstance(stores[0]._guard, SignatureGuard)
    await stores[0].create(Item(name="a"))
    await stores[1].create(Item(name="a", color="red"))
    await sites.exchange()
    assert (await reconcile(stores[0])).problems == []
    (found,) = await stores[0].database.bulk_get([item_id("a")], revs=True)
    assert len(found) == 2
    for leaf in (each.document for each in found if each.document and signed):
        verify_document(leaf, database=stores[0].database.name, verifier=RING, revisions=leaf["_revisions"])


async def test_a_change_upon_a_leaf_that_was_merged_elsewhere_counts_once(sites: Sites, stores: list[Store]) -> None:
    """The writer there did not know of the merge; and goes on, and on."""
    await stores[0].create(Item(name="a", stock=100))
    await sites.exchange()

    async def add(site: int, number: int) -> None:
        await stores[site].update(Item, "a", lambda latest: setattr(latest, "stock", latest.stock + number))

    for round_ in range(3):
        await asyncio.gather(add(0, 1), add(1, 10))
        await sites.replicate(1, 0)
        await reconcile(stores[0])
        await asyncio.gather(add(0, 1), add(1, 10))
        await sites.exchange()
        await asyncio.gather(*(reconcile(each) for each in stores))
        await sites.exchange()
        assert [(await each.get(Item, "a")).stock for each in stores] == [100 + 22 * (round_ + 1)] * 2
    assert [len(each) for each in await sites.leaves(item_id("a"))] == [1, 1]


async def test_merges_of_different_leaves_are_merged_without_counting_twice(sites: Sites, stores: list[Store]) -> None:
    """Each site merged other leaves, or more of them, than the other one."""
    await stores[0].create(Item(name="a", stock=100))
    await sites.exchange()
    for site, number in ((0, 1), (1, 10)):
        await stores[site].update(Item, "a", lambda latest, n=number: setattr(latest, "stock", latest.stock + n))
    await sites.replicate(0, 1)
    await reconcile(stores[1])  # both changes
    await stores[0].update(Item, "a", lambda latest: setattr(latest, "stock", latest.stock + 1000))
    await sites.exchange()
    await stores[0].update(Item, "a", lambda latest: setattr(latest, "stock", latest.stock + 5))
    await asyncio.gather(*(reconcile(each) for each in stores))
    for _ in range(2):
        await sites.exchange()
        await asyncio.gather(*(reconcile(each) for each in stores))
    first, second = await sites.leaves(item_id("a"))
    assert first == second
    assert len(first) == 1
    assert [(await each.get(Item, "a")).stock for each in stores] == [100 + 1 + 10 + 1000 + 5] * 2


class Plain(Model, type="plain_v1.0"):
    color: str = ""
    size: int = 0


async def test_what_was_merged_without_ancestors_gives_way_to_what_was_merged_with_them(sites: Sites) -> None:
    """Replication brings leaves, and not what they came from: so one site may know more, and its merge counts."""
    stores = [Store(each) for each in sites.databases]
    await stores[0].database.put({"_id": "a", "type": "plain_v1.0", "color": "red", "size": 1})
    first = await stores[0].database.get("a", revs=True)
    for digest, change in (("b", {"color": "green"}), ("c", {"size": 2})):
        path = [digest * 32, first["_revisions"]["ids"][0]]
        leaf = {**first, **change, "_rev": f"2-{path[0]}", "_revisions": {"start": 2, "ids": path}}
        await stores[0].database.bulk_docs([leaf], new_edits=False)
    await sites.replicate(0, 1)
    for store in stores:
        assert (await store.reconciliation.reconcile(Plain, "a")).merged == 1
    merged = [await each.get("a") for each in sites.databases]
    assert [(each["color"], each["size"], each[MERGE_PROPERTY]["by"]) for each in merged] == [
        ("green", 2, "rules"),
        ("red", 2, "leaves"),
    ]
    await sites.exchange()
    for store in stores:
        await store.reconciliation.reconcile(Plain, "a")
    await sites.exchange()
    assert await sites.leaves("a") == [[merged[0]["_rev"]]] * 2


async def test_compaction_forgets_ancestors(store: Store) -> None:
    """Then the later leaf counts, where before each side's change did."""
    written = await store.database.put({"_id": "a", "type": "plain_v1.0", "color": "red", "size": 1})
    for digest, change in (("b", {"color": "green", "size": 1}), ("c", {"color": "red", "size": 2})):
        path = [digest * 32, written.rev.partition("-")[2]]
        leaf = {"_id": "a", "type": "plain_v1.0", **change, "_rev": f"2-{path[0]}"}
        await store.database.bulk_docs([{**leaf, "_revisions": {"start": 2, "ids": path}}], new_edits=False)
    found = await store.reconciliation.read("a")
    before = await store.reconciliation.merged(Plain, found)
    assert (before["color"], before["size"]) == ("green", 2)
    await store.database._call("POST", "_compact", body={})

    async def is_forgotten() -> bool:
        ((leaf,),) = await store.database.bulk_get([("a", written.rev)])
        return leaf.document is None

    await until(is_forgotten)
    after = await store.reconciliation.merged(Plain, await store.reconciliation.read("a"))
    assert (after["color"], after["size"], after[MERGE_PROPERTY]["by"]) == ("red", 2, "leaves")


async def test_without_its_ancestor_a_sum_stays_in_conflict(store: Store) -> None:
    """Nobody can tell the changes; somebody can decide."""
    documents = [
        {"_id": item_id("a"), "type": "item_v1.1", "name": "a", "stock": number, "_rev": f"2-{digest * 32}"}
        | {"_revisions": {"start": 2, "ids": [digest * 32, "a" * 32]}}
        for number, digest in ((5, "b"), (7, "c"))
    ]
    await store.database.bulk_docs(documents, new_edits=False)
    assert "common ancestor" in (await reconcile(store)).problems[0]["detail"]
    found = await store.reconciliation.find(Item, "a")
    decided = await store.reconciliation.resolve(Item, found, Item(name="a", stock=6))
    assert [each["_rev"] for each in await leaves(store)] == [decided._rev]


async def test_a_tombstone_goes_on_to_tell_what_its_leaf_was_merged_of(store: Store) -> None:
    """So that it is known as long as the document is."""
    await conflicting(store, {"stock": 1}, {"stock": 2}, base={"stock": 0})
    await reconcile(store)
    (merged,) = await leaves(store)
    start, digests = merged["_revisions"]["start"], merged["_revisions"]["ids"]
    other = {**merged, "_rev": f"{start}-{'0' * 32}", "_revisions": {"start": start, "ids": ["0" * 32, *digests[1:]]}}
    await store.database.bulk_docs([other], new_edits=False)
    assert (await reconcile(store)).deleted == 1
    (found,) = await store.database.bulk_get([item_id("a")])
    told = [each.document.get(MERGE_PROPERTY) for each in found if each.document and each.document.get("_deleted")]
    assert sorted(told, key=bool) == [None, merged[MERGE_PROPERTY]]


async def test_signatures_that_are_random_come_to_an_end_too(sites: Sites) -> None:
    """Each site writes a revision of its own, and the winning one stays, without a further merge."""
    keys = SIGNERS["keyczar, DSA"]()
    stores = [store_of(each, signer=keys, scheme=Scheme.V2) for each in sites.databases]
    await stores[0].create(Item(name="a", stock=1))
    await sites.exchange()
    for number, store in enumerate(stores, 5):
        await store.update(Item, "a", lambda latest, n=number: setattr(latest, "stock", latest.stock + n))
    await sites.exchange()
    first = await asyncio.gather(*(reconcile(each) for each in stores))
    assert first[0].revision != first[1].revision
    await sites.exchange()
    second = await asyncio.gather(*(reconcile(each) for each in stores))
    assert [(each.merged, each.deleted) for each in second] == [(0, 1), (0, 1)]
    await sites.exchange()
    assert [len(each) for each in await sites.leaves(item_id("a"))] == [1, 1]
    assert [(await each.get(Item, "a")).stock for each in stores] == [12, 12]


async def test_the_databases_own_check_takes_what_is_merged(database: Database) -> None:
    """With what was created apart, and so with different times of creation."""
    check = database_check([Item]).design_document
    await database.put(check)
    store = store_of(database)
    await store.create(Item(name="a", stock=1))
    document = await database.get(item_id("a"))
    changed = {"created_on": "2020-01-01T00:00:00.000000+00:00", "stock": 3, "tags": ["x"]}
    for digest in ("0", "f"):
        leaf = {**document, **changed, "_rev": f"1-{digest * 32}"}
        assert not await database.bulk_docs([leaf], new_edits=False)
    result = await reconcile(store)
    assert (result.problems, result.merged, result.deleted) == ([], 1, 2)
    assert (await store.get(Item, "a")).stock == 7


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        ("throw({forbidden: {code: 7}})", "forbidden"),
        ("throw({unauthorized: 'no merges'})", "unauthorized"),
        ("doc.none.such()", "TypeError"),
    ],
)
async def test_a_merge_that_the_database_refuses_leaves_every_leaf(
    database: Database, refusal: str, error: str
) -> None:
    """It is told, nothing was deleted, and the winning leaf can be written to."""
    refuse = f"function (doc) {{ if (doc.tornado_couch_merge) {{ {refusal}; }} }}"
    await database.put({"_id": "_design/refuse", "validate_doc_update": refuse})
    store = store_of(database)
    await conflicting(store, {"stock": 1}, {"stock": 2}, base={"stock": 0})
    result = await reconcile(store)
    assert f"refused the merged document: {error}" in result.problems[0]["detail"]
    assert len(await leaves(store)) == 2
    store.database.server.contended = True
    await store.update(Item, "a", lambda item: setattr(item, "stock", 9))
    assert max(each["stock"] for each in await leaves(store)) == 9


async def test_a_forged_tombstone_cannot_pass_off_a_leaf_as_merged(database: Database) -> None:
    """What it says of the leaves counts only if it verifies; and as it hides one, the other is not served for it."""
    await install(database.server, database.name, [Item])  # type: ignore[arg-type]
    store = store_of(database, signer=RING)
    await store.create(Item(name="a", stock=5))
    first = await database.get(item_id("a"), revs=True)
    revisions = []
    for stock in (6, 7):
        signed = store._guard.signed({**first, "stock": stock})
        revisions.append(signed_revision(signed))
        path = [revisions[-1][2:], first["_revisions"]["ids"][0]]
        leaf = {**signed, "_rev": revisions[-1], "_revisions": {"start": 2, "ids": path}}
        await database.bulk_docs([leaf], new_edits=False)
    ids = ["d" * 32, *path]
    record = {"parents": [first["_rev"], revisions[0]], "earlier": [], "by": "rules"}
    forged = {"_id": item_id("a"), "_rev": f"3-{ids[0]}", "_deleted": True, MERGE_PROPERTY: record}
    await database.bulk_docs([{**forged, "_revisions": {"start": 3, "ids": ids}}], new_edits=False)
    result = await reconcile(store)
    assert (result.merged, result.deleted) == (0, 0)
    with pytest.raises(InvalidSignature, match="in the place of the latest"):
        await store.get(Item, "a")


async def test_what_tombstones_tell_is_not_recorded_again(store: Store) -> None:
    """The record of merges names the leaves of the last one, however many there were before."""
    await conflicting(store, {"stock": 1}, base={"stock": 0})
    for _ in range(5):
        (leaf,) = await leaves(store)
        for digest, stock in (("b", 1), ("c", 2)):
            ids = [digest * 32, *leaf["_revisions"]["ids"]]
            start = len(ids)
            change = {"_rev": f"{start}-{ids[0]}", "_revisions": {"start": start, "ids": ids}, "stock": stock}
            assert not await store.database.bulk_docs([{**leaf, **change}], new_edits=False)
        result = await reconcile(store)
        assert (result.merged, result.problems) == (1, [])
    (leaf,) = await leaves(store)
    assert (len(leaf[MERGE_PROPERTY]["parents"]), leaf[MERGE_PROPERTY]["earlier"]) == (2, [])


async def test_the_record_of_merges_does_not_grow_without_end(store: Store) -> None:
    """Of the leaves that no tombstone tells of, the oldest are forgotten."""
    earlier = [f"{generation}-{'a' * 32}" for generation in range(150, 0, -1)]
    record = {"parents": [f"160-{'a' * 32}"], "earlier": earlier, "by": "rules"}
    await conflicting(store, {"stock": 1}, {"stock": 2, MERGE_PROPERTY: record}, base={"stock": 0})
    assert (await reconcile(store)).problems == []
    (leaf,) = await leaves(store)
    assert leaf[MERGE_PROPERTY]["earlier"] == [*record["parents"], *earlier][:100]
