"""What the owner of a database tries besides planting a body where one was: none of it deceives the service."""

from __future__ import annotations

import base64
import contextlib
from datetime import datetime, timedelta
from typing import Annotated, Any

import pytest

from tests.faults import until
from tornado_couch import (
    Couch,
    Database,
    DocumentNotFound,
    Indexed,
    Key,
    Merge,
    Model,
    Query,
    Store,
    _json,
    install,
)
from tornado_couch.couch import names
from tornado_couch.errors import InvalidDocument, InvalidSignature, TornadoCouchError
from tornado_couch.maintain.audit import audit
from tornado_couch.maintain.clearing import Clearing
from tornado_couch.maintain.rotate import Rotation
from tornado_couch.maintain.sweep import sweep
from tornado_couch.models import utc_now
from tornado_couch.revision import generation, revision_of
from tornado_couch.security import SIGNATURE_PROPERTY, KeyRing, sign_document
from tornado_couch.security.signing import CLASSIC_PROPERTY
from tornado_couch.store import Deletion, Reconciler, Update
from tornado_couch.store.lifecycle.files import FILE_PREFIX, FILES_PROPERTY, UNUSED_PROPERTY

RING = KeyRing.create()
FAR = "f" * 32


class Purse(Model, type="purse_v1.0", key="name", unique=True):
    name: str
    coins: Annotated[int, Indexed(), Merge.max] = 0


class Diary(Model, type="diary_v1.0", key="name", history=True):
    name: str
    text: str = ""


class Letter(Model, type="letter_v1.0", key="letter_id", soft_delete=True):
    letter_id: Key
    text: str = ""


ID = Purse.__couch__.document_id("a") or ""  # type: ignore[union-attr]


@pytest.fixture
async def store(database: Database) -> Store:
    """A store that signs."""
    await install(database.server, database.name, [Purse, Diary, Letter])  # type: ignore[arg-type]
    return Store(database, signer=RING)


async def plant(store: Store, document: dict[str, Any], revision: str, *path: str) -> None:
    ids = [each.partition("-")[2] for each in (revision, *path)]
    planted = {**document, "_rev": revision, "_revisions": {"start": generation(revision), "ids": ids}}
    assert not await store.database.bulk_docs([planted], new_edits=False)


async def purse(store: Store, *coins: int) -> list[dict[str, Any]]:
    """The revisions of a document to which this was written, one after the other."""
    seen = []
    for number, each in enumerate(coins):
        if number:
            await store.update(Purse, "a", lambda latest, now=each: setattr(latest, "coins", now))
        else:
            await store.create(Purse(name="a", coins=each))
        seen.append(await store.database.get(ID))
    return seen


async def remove(store: Store, document_id: str) -> None:
    """Delete a document behind the service's back."""
    held = await store.database.get(document_id)
    await store.database.delete(document_id, held["_rev"])


async def faults(store: Store) -> list[str]:
    pages = audit(store.database, RING)
    return sorted(finding.reason for page in [page async for page in pages] for finding in page.findings)


# ------------------------------------------------------------ deletions


async def test_a_deletion_is_not_hidden_behind_a_longer_one(store: Store) -> None:
    """Beside what the service had deleted in a longer branch, an unsigned deletion of a shorter one is 502, not 404."""
    (first,) = await purse(store, 1)
    signed, parent = first, first["_rev"]
    path = [parent]
    for number in range(2, 6):  # a branch that the service wrote elsewhere, and deleted
        body = {**signed, "_rev": parent, "coins": number, **({"_deleted": True} if number == 5 else {})}
        signed = sign_document(body, database=store.database.name, parent=parent, signer=RING)
        parent = revision_of(parent, number == 5, {n: each for n, each in signed.items() if n[0] != "_"})
        path.insert(0, parent)
    await store.update(Purse, "a", lambda latest: setattr(latest, "coins", 7))
    await plant(store, signed, *path)
    assert (await store.get(Purse, "a")).coins == 7
    assert await faults(store) == []
    await remove(store, ID)
    with pytest.raises(InvalidSignature):
        await store.get(Purse, "a")
    assert await faults(store) == ["deleted"]


async def test_nobody_takes_the_key_of_what_somebody_deleted(store: Store) -> None:
    """Of a document with a unique key, by itself or among many, nor the id of any other document."""
    await purse(store, 1)
    await remove(store, ID)
    await store.store_new({"_id": "used", "type": "mark_v1.0"})
    await remove(store, "used")
    with pytest.raises(InvalidSignature):
        await store.create(Purse(name="a", coins=2))
    taken, made = await store.create_many(Purse, [Purse(name="a", coins=2), Purse(name="b")])
    assert isinstance(taken, InvalidSignature)
    assert isinstance(made, Purse)
    with pytest.raises(InvalidSignature):
        await store.store_new({"_id": "used", "type": "mark_v1.0"})
    assert [each.name for each in (await store.find(Purse)).items] == ["b"]
    assert await faults(store) == ["deleted", "deleted"]


async def test_nor_of_what_somebody_deletes_at_that_moment(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the writer has looked for a tombstone: what was written is deleted again, and says nothing."""

    async def none(ids: Any) -> dict[str, Any]:
        return {}

    await purse(store, 1)
    await remove(store, ID)
    monkeypatch.setattr(store._guard, "tombstones", none)
    with pytest.raises(InvalidSignature):
        await store.create(Purse(name="a", coins=2))
    (taken,) = await store.create_many(Purse, [Purse(name="a", coins=2)])
    assert isinstance(taken, InvalidSignature)
    with pytest.raises(InvalidSignature):
        await store.get(Purse, "a")
    assert (await store.find(Purse)).withheld == 0
    assert await faults(store) == ["deleted"]


async def test_an_old_tombstone_deletes_nothing_again(store: Store) -> None:
    """A signed deletion that was kept, planted upon the document that was created again."""
    await purse(store, 1)
    await store.delete(Purse, "a")
    ((leaf,),) = await store.database.bulk_get([ID], revs=True)
    assert leaf.document is not None
    await store.create(Purse(name="a", coins=2))
    held = await store.database.get(ID)
    await plant(store, leaf.document, leaf.document["_rev"], "1-" + FAR)
    assert (await store.get(Purse, "a")).coins == 2
    await plant(store, leaf.document, "4-" + FAR, held["_rev"])
    with pytest.raises(InvalidSignature):
        await store.get(Purse, "a")


# ------------------------------------------------------------ histories


async def diary(store: Store, *texts: str) -> datetime:
    """Versions of a document, and a time after the last one."""
    await store.create(Diary(name="a", text=texts[0]))
    for text in texts[1:]:
        await store.update(Diary, "a", lambda latest, now=text: setattr(latest, "text", now))
    return utc_now() + timedelta(seconds=1)


async def test_the_latest_version_cannot_be_deleted_unnoticed(store: Store) -> None:
    """The one before it is not served in its place: not now, and not as of a time; not even if all are gone."""
    moment = await diary(store, "one", "two")
    for document_id in ("diary:a:0000000002", "diary:a:0000000001"):
        await remove(store, document_id)
        for each in (store, Store(store.database, signer=RING)):
            with pytest.raises(InvalidSignature):
                await each.get(Diary, "a")
            with pytest.raises(InvalidSignature):
                await each.as_of(Diary, "a", moment)
            with pytest.raises(InvalidSignature):
                await each.create(Diary(name="a", text="three"))
        assert (await store.find(Diary)).items == []
    assert await faults(store) == ["deleted", "deleted"]


async def test_a_view_does_not_choose_the_version_of_a_time(store: Store) -> None:
    """The versions themselves say when they were written."""
    before = utc_now() - timedelta(days=1)
    moment = await diary(store, "one", "two", "three")
    assert (await store.as_of(Diary, "a", moment)).text == "three"
    (view,) = [name for name in await _designs(store) if name.startswith("_design/diary")][:1] or [""]
    design = await store.database.get(view)
    for name, each in design["views"].items():
        source = each["map"]
        for wrong in ("0000000001", "0000000003"):
            condition = f"if (doc._id.slice(-10) !== '{wrong}') return;"
            design["views"][name]["map"] = source.replace("{", "{ " + condition, 1)
            design["_rev"] = (await store.database.put(design)).rev
            assert (await store.as_of(Diary, "a", moment)).text == "three"
            with pytest.raises(DocumentNotFound):
                await store.as_of(Diary, "a", before)


async def _designs(store: Store) -> list[str]:
    rows = (await store.database.all_docs(startkey="_design/", endkey="_design0")).rows
    return [row.id for row in rows if row.id]


async def test_nothing_that_somebody_wrote_into_a_file_is_signed(store: Store) -> None:
    """Neither by the sweep nor when the file is named again; what was changed is not kept."""
    await store.create(Diary(name="a"))
    held = await store.database.get("diary:a:0000000001")
    file = {"content_type": "text/plain", "data": base64.b64encode(b"hello").decode()}
    written = await store.database.put({**held, "_attachments": {"a.txt": file}})
    await Clearing(store.database, RING).adopt(held["_id"], written.rev)
    await store.update(Diary, "a", lambda latest: setattr(latest, "text", "two"))
    (file_id,) = [row.id for row in (await store.database.all_docs(startkey=FILE_PREFIX, endkey="u")).rows if row.id]
    kept = await store.database.get(file_id)
    assert (await store.database.get("diary:a:0000000002"))[FILES_PROPERTY]["a.txt"]["document"] == file_id
    await store.database.put({**kept, UNUSED_PROPERTY: "2020-01-01T00:00:00.000000+00:00", "more": 666})
    found = await sweep(store)
    assert (found.withheld, found.named, found.deleted) == (1, 0, 0)
    assert (await store.database.get(file_id))["more"] == 666
    entry = {"content_type": "text/plain", "data": file["data"], "digest": kept["_attachments"]["file"]["digest"]}
    await store.files._kept(entry)
    healed = await store.stored(file_id)
    assert "more" not in healed
    assert UNUSED_PROPERTY not in healed


# ------------------------------------------------------------ other places


async def test_what_is_signed_counts_at_one_place_only(store: Store, couch: Couch) -> None:
    """The same id in another database, or another id: as the winner, as a loser, and at its true revision."""
    await purse(store, 1)
    name = f"{store.database.name}-other"
    await couch.create_database(name)
    try:
        await install(couch, name, [Purse])
        other = Store(couch[name], signer=RING)
        (theirs,) = await purse(other, 666)
        await plant(store, theirs, theirs["_rev"])
        await plant(store, theirs, "1-" + "0" * 32)
    finally:
        await couch.delete_database(name)
    found = await store.database.get(ID)
    expected = InvalidSignature if found["coins"] == 666 else None  # which of the two wins is up to their digests
    if expected:
        with pytest.raises(InvalidSignature):
            await store.get(Purse, "a")
    else:
        assert (await store.get(Purse, "a")).coins == 1
    assert await faults(store) == ["moved", "rolled back"] or await faults(store) == ["moved", "moved"]
    assert (await store.reconciliation.reconcile(Purse, ID)).merged == 0
    await plant(store, {**found, "_id": "elsewhere"}, found["_rev"])
    with pytest.raises(InvalidSignature):
        await store.stored("elsewhere")


async def test_a_body_of_another_type_is_no_document_of_this_one(store: Store) -> None:
    """A signed document that takes the id of a model is not read, and not written over."""
    await store.store_new({"_id": ID, "type": "mark_v1.0", "name": "a", "coins": 666})
    for call in (store.get(Purse, "a"), store.update(Purse, "a", lambda latest: None)):
        with pytest.raises(InvalidDocument):
            await call


# ------------------------------------------------------------ odd spellings


@pytest.mark.parametrize("number", [10**17, 10**18, 10**30], ids=["17", "18", "30"])
async def test_a_revision_beyond_all_numbers_hides_nothing(store: Store, number: int) -> None:
    """CouchDB takes a generation of any length: the document is withheld or served, and never a planted one."""
    seen = await purse(store, 1, 2)
    try:
        await plant_raw(store, {**seen[0], "_rev": f"{number}-{FAR}"})
    except TornadoCouchError:
        return  # this server has a limit
    with contextlib.suppress(InvalidSignature):
        assert (await store.get(Purse, "a")).coins == 2
    assert (await faults(store)) == ["rolled back"]
    assert [each.coins for each in (await store.find(Purse)).items] in ([2], [])


async def plant_raw(store: Store, document: dict[str, Any]) -> None:
    start, _, text = document["_rev"].partition("-")
    planted = {**document, "_revisions": {"start": int(start), "ids": [text]}}
    assert not await store.database.bulk_docs([planted], new_edits=False)


@pytest.mark.parametrize("text", ['"coins":2.0', '"coins":2e0', '"coins":1,"coins":2', '"coins":2,"coins":2'])
async def test_another_spelling_of_a_body_is_another_body(store: Store, text: str) -> None:
    """A float for an integer, or a member twice: as CouchDB stores it upon the latest revision."""
    seen = await purse(store, 1, 2)
    held = _json.dumps(seen[1])
    body = held.replace(b'"coins":2', text.encode(), 1)
    assert body != held
    await store.database._exchange.call("PUT", names.document(store.database.name, ID), None, body)
    assert (await store.database.get(ID))["_rev"] != seen[1]["_rev"]
    with pytest.raises(InvalidSignature):
        await store.get(Purse, "a")
    assert len(await faults(store)) == 1


# ------------------------------------------------------------ what is not signed


async def test_views_that_lie_give_nobody_what_is_not_theirs(store: Store) -> None:
    """Under a key, in a range, or twice: a document says itself where it belongs; lists, bulk and Mango agree."""
    await store.create_many(Purse, [Purse(name="a", coins=1), Purse(name="b", coins=2)])
    letter = await store.create(Letter(text="gone"))
    await store.delete(Letter, letter.letter_id)
    for name in await _designs(store):
        design = await store.database.get(name)
        for each in design.get("views", {}).values():
            each["map"] = "function (doc) { emit(1, 1); emit(['coins', 1], 1); emit([1], 1); emit('a', 1); }"
        await store.database.put(design)
    for by in ({"coins": [1]}, {"name": ["a"]}):
        page = await store.find(Purse, Query(by))
        assert {each.name for each in page.items} <= {"a"}
    assert all(isinstance(each, Purse) for each in (await store.find(Purse)).items)
    assert (await store.find(Letter)).items == []


async def test_the_state_of_a_lease_stops_no_reconciler(store: Store) -> None:
    """Whatever stands in that local document; conflicts are merged all the same."""
    await store.database.put(
        {"_id": "_local/tornado_couch_lease_reconciler", "since": {"a": 1}, "owner": 5, "seconds": "x", "renewal": []}
    )
    first = await store.create(Purse(name="a", coins=1))
    assert first._rev is not None
    body = {"_id": ID, "type": "purse_v1.0", "name": "a", "coins": 9}
    signed = sign_document(body, database=store.database.name, parent=None, signer=RING)
    await plant(store, signed, revision_of(None, False, {n: each for n, each in signed.items() if n[0] != "_"}))
    reconciler = Reconciler(store, [Purse], interval=0.05, lease_seconds=0.2, settle=0.02)
    async with reconciler:
        await until(lambda: reconciler.stats.merged == 1)
    assert (await store.get(Purse, "a")).coins == 9


async def test_what_was_planted_is_in_no_answer_of_many(store: Store) -> None:
    """A read of many, a change of many and a deletion of many leave it out, each with an error of its own."""
    seen = await purse(store, 1, 2)
    await store.create(Purse(name="b", coins=5))
    await plant(store, seen[0], "3-" + FAR, seen[1]["_rev"])
    outcomes = await store.write_many(
        Purse, [Update("a", lambda latest: setattr(latest, "coins", 3)), Deletion("a"), Deletion("b")]
    )
    assert [type(each) for each in outcomes] == [InvalidSignature, InvalidSignature, Purse]
    page = await store.find(Purse, by="coins", count=True)
    assert (page.items, page.withheld) == ([], 1)


async def test_a_soft_deletion_cannot_be_undone_or_made_by_others(store: Store) -> None:
    """The body from before it, and the mark from before a restoration, are planted upon the latest revision."""
    letter = await store.create(Letter(text="a"))
    seen = [await store.database.get(letter.letter_id)]
    await store.delete(Letter, letter.letter_id)
    seen.append(await store.database.get(letter.letter_id))
    await plant(store, seen[0], "3-" + FAR, seen[1]["_rev"], seen[0]["_rev"])
    for deleted in (False, True, None):
        with pytest.raises(InvalidSignature):
            await store.get(Letter, letter.letter_id, deleted=deleted)
    with pytest.raises(InvalidSignature):
        await store.restore(Letter, letter.letter_id)
    page = await store.find(Letter, Query(deleted=True))
    assert page.items == []


async def test_a_revision_writes_no_line_of_its_own_into_the_log(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """CouchDB takes any text for one: line breaks, codes of a terminal, a hundred thousand characters."""
    seen = await purse(store, 1)
    for text in ("a\nERROR forged\x1b[2J", "f" * 100_000):
        await plant_raw(store, {**seen[0], "_rev": f"2-{text}"})
        with pytest.raises(InvalidSignature):
            await store.get(Purse, "a")
    lines = [record.getMessage() for record in caplog.records if record.name == "tornado_couch.store"]
    assert len(lines) >= 2
    assert all(each.isprintable() and len(each) < 1000 for each in lines)


@pytest.mark.parametrize(
    "members",
    [
        {CLASSIC_PROPERTY: "AAAA"},
        {SIGNATURE_PROPERTY: [1]},
        {SIGNATURE_PROPERTY: {"scheme": ["v3"], "attachments": 7}},
        {SIGNATURE_PROPERTY: {"scheme": "v3", "database": "d", "id": "a", "parent": "1-é", "signature": "AAAA"}},
        {"tornado_couch_write": [1], "tornado_couch_merge": 5},
        {"type": ["purse_v1.0"], "name": {"a": 1}},
    ],
    ids=["classic", "list", "scheme", "parent", "marks", "type"],
)
async def test_nothing_stops_at_what_makes_no_sense(store: Store, members: dict[str, Any]) -> None:
    """A read, a list, the reconciler, the audit and a rotation each say what is wrong, and go on with the others."""
    await purse(store, 1)
    await store.create(Purse(name="b"))
    held = await store.database.get(ID)
    kept = {name: each for name, each in held.items() if name != SIGNATURE_PROPERTY}
    await store.database.put({**kept, **members})
    with pytest.raises(InvalidSignature):
        await store.get(Purse, "a")
    assert [each.name for each in (await store.find(Purse)).items] == ["b"]
    await store.reconciliation.reconcile(Purse, ID)
    assert len(await faults(store)) == 1
    pages = [page async for page in Rotation(store.database, RING).run()]
    assert [finding.id for page in pages for finding in page.findings] == [ID]


# ------------------------------------------------------------ what it costs


async def test_leaves_that_were_settled_cost_no_second_request(store: Store) -> None:
    """After a conflict was merged, its tombstone stays: many documents are read at once as if it were not there."""
    seen = await purse(store, 1, 2)
    body = sign_document({**seen[0], "coins": 5}, database=store.database.name, parent=seen[0]["_rev"], signer=RING)
    revision = revision_of(seen[0]["_rev"], False, {n: each for n, each in body.items() if n[0] != "_"})
    await plant(store, body, revision, seen[0]["_rev"])
    assert (await store.reconciliation.reconcile(Purse, ID)).merged == 1
    asked = 0
    inner = store._access.bulk_get

    async def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        return await inner(*arguments, **options)

    store._access.bulk_get = counted  # type: ignore[method-assign]
    assert (await store.get(Purse, "a")).coins == 5
    assert [each.coins for each in (await store.find(Purse)).items] == [5]
    assert asked == 0
    assert store.signature_failures.total() == 0
