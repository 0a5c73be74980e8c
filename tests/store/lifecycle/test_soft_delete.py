"""`soft_delete=True`: what is deleted is hidden, and can come back."""

from __future__ import annotations

import asyncio
from typing import Annotated

import pytest

from tornado_couch import (
    Bounds,
    CreatedOn,
    Database,
    Encrypted,
    Indexed,
    Key,
    Merge,
    Model,
    NoIndex,
    Query,
    Store,
    UpdatedOn,
    install,
)
from tornado_couch.errors import DocumentExists, DocumentNotFound, Forbidden, RevisionMismatch
from tornado_couch.models import Count, deleted_on
from tornado_couch.models.model import model_info
from tornado_couch.models.schema.validate_doc_update import database_check
from tornado_couch.security import KeyRing
from tornado_couch.store import Creation, Deletion, Update, reduced


class RestorableFruit(
    Model,
    type="fruit_v1.0",
    key="fruit_id",
    soft_delete=True,
    indexes=[("color", "size")],
    reductions={"by_color": Count("color"), "by_size": Count("size")},
):
    fruit_id: Key
    color: Annotated[str, Indexed()] = "red"
    size: int = 0
    grower: Annotated[str | None, Encrypted(searchable=True)] = None
    created_on: CreatedOn
    updated_on: UpdatedOn


class RestorableStand(Model, type="stand_v1.0", key="name", unique=True, soft_delete=True):
    name: str
    size: int = 0
    created_on: CreatedOn


class Shop(Model, type="shop_v1.0", key="name", soft_delete=True):
    name: str
    size: int = 0


class RestorableNote(Model, type="note_v1.0", soft_delete=True):
    text: str


@pytest.fixture
async def store(database: Database, ring: KeyRing) -> Store:
    await install(database.server, database.name, [RestorableFruit, RestorableStand, Shop, RestorableNote])  # type: ignore[arg-type]
    return Store(database, signer=ring, crypter=ring)


async def colors(store: Store, query: Query) -> list[str]:
    return [each.color for each in (await store.find(RestorableFruit, query)).items]


async def test_a_deleted_document_is_found_by_nothing_but_by_being_deleted(store: Store) -> None:
    """Neither by its key, nor by any index or count; with all that it had it is in the list of what is deleted."""
    kept = await store.create(RestorableFruit(color="green", size=1))
    gone = await store.create(RestorableFruit(color="red", size=1, grower="ann"))
    was = await store.delete(RestorableFruit, gone.fruit_id)
    assert (was.color, was._rev) == ("red", gone._rev)
    with pytest.raises(DocumentNotFound):
        await store.get(RestorableFruit, gone.fruit_id)
    every = [Query(), Query({"color": ["red", "green"]}), Query({"color": ["green", "red"]}, sort=["size"])]
    for query in every:
        page = await store.find(RestorableFruit, query, count=True)
        assert ([each.fruit_id for each in page.items], page.total) == ([kept.fruit_id], 1)
    assert not (await store.find(RestorableFruit, by="grower", key="ann")).items
    for name in ("by_color", "by_size"):
        assert [group.value for group in (await reduced(store.database, RestorableFruit, name)).items] == [1]
    found = await store.get(RestorableFruit, gone.fruit_id, deleted=True)
    assert (found.color, found.grower, found.updated_on) == ("red", "ann", gone.updated_on)
    assert deleted_on(model_info(RestorableFruit), found._stored) is not None


async def test_what_is_not_deleted_is_not_among_the_deleted(store: Store) -> None:
    """Nor what never was."""
    kept = await store.create(RestorableFruit())
    for key in (kept.fruit_id, "none"):
        with pytest.raises(DocumentNotFound):
            await store.get(RestorableFruit, key, deleted=True)
    assert (await store.get(RestorableFruit, kept.fruit_id, deleted=None)).color == "red"


async def test_deleted_documents_are_listed_by_key_and_by_each_index(store: Store) -> None:
    """With filters, ranges, order, cursors and counts; an index of several properties is not kept of them."""
    for color in ("red", "green", "blue", "red"):
        made = await store.create(RestorableFruit(color=color, grower=color))
        await store.delete(RestorableFruit, made.fruit_id)
    await store.create(RestorableFruit(color="alive"))
    page = await store.find(RestorableFruit, Query(deleted=True), limit=3, count=True)
    rest = await store.find(RestorableFruit, Query(deleted=True), limit=3, start=page.next)
    assert (len(page.items), len(rest.items), page.total, rest.next) == (3, 1, 4, None)
    back = await store.find(RestorableFruit, Query(deleted=True), limit=3, start=rest.previous, backward=True)
    assert [each.fruit_id for each in back.items] == [each.fruit_id for each in page.items]
    assert await colors(store, Query({"color": ["red", "blue"]}, deleted=True)) == ["blue", "red", "red"]
    assert await colors(store, Query(ranges={"color": Bounds(gte="c")}, sort=["color"], deleted=True)) == [
        "green",
        "red",
        "red",
    ]
    assert await colors(store, Query(sort=["color"], descending=True, deleted=True)) == ["red", "red", "green", "blue"]
    assert await colors(store, Query({"grower": ["green"]}, deleted=True)) == ["green"]
    with pytest.raises(NoIndex):
        await store.find(RestorableFruit, Query({"color": ["red"]}, sort=["size"], deleted=True))


async def test_what_is_deleted_of_other_models_is_gone(store: Store) -> None:
    """There is no index of it."""

    class Plain(Model, type="plain_v1.0"):
        pass

    with pytest.raises(NoIndex):
        await store.find(Plain, Query(deleted=True))


async def test_a_restored_document_is_as_it_was(store: Store) -> None:
    """Or as a change makes it; its time of creation is the old one, and it is in every index again."""
    gone = await store.create(RestorableFruit(color="red", grower="ann"))
    await store.delete(RestorableFruit, gone.fruit_id)
    back = await store.restore(RestorableFruit, gone.fruit_id)
    assert (back.color, back.grower, back.created_on) == ("red", "ann", gone.created_on)
    assert back.updated_on > gone.updated_on
    assert "tornado_couch_deleted_on" not in await store.database.get(gone.fruit_id)
    assert await colors(store, Query({"grower": ["ann"]})) == ["red"]
    await store.delete(RestorableFruit, gone.fruit_id)
    await store.restore(RestorableFruit, gone.fruit_id, lambda fruit: setattr(fruit, "color", "blue"))
    assert await colors(store, Query()) == ["blue"]
    with pytest.raises(DocumentExists):
        await store.restore(RestorableFruit, gone.fruit_id)
    with pytest.raises(DocumentNotFound):
        await store.restore(RestorableFruit, "none")


async def test_a_restoration_is_guarded_by_the_revision_of_the_deletion(store: Store) -> None:
    """The check comes first."""
    gone = await store.create(RestorableFruit())
    await store.delete(RestorableFruit, gone.fruit_id)
    revision = (await store.get(RestorableFruit, gone.fruit_id, deleted=True))._rev
    seen = []
    with pytest.raises(RevisionMismatch) as caught:
        await store.restore(
            RestorableFruit, gone.fruit_id, check=seen.append, expected=lambda given: given == gone._rev
        )
    assert (caught.value.current, len(seen)) == (revision, 1)
    await store.restore(RestorableFruit, gone.fruit_id, expected=lambda given: given == revision)


async def test_of_many_who_restore_one_document_each_either_does_or_finds_it_restored(store: Store) -> None:
    """Guarded ones: exactly one does."""
    gone = await store.create(RestorableFruit())
    await store.delete(RestorableFruit, gone.fruit_id)
    revision = (await store.get(RestorableFruit, gone.fruit_id, deleted=True))._rev
    outcomes = await asyncio.gather(
        *(store.restore(RestorableFruit, gone.fruit_id, expected=lambda given: given == revision) for _ in range(8)),
        return_exceptions=True,
    )
    assert sum(isinstance(each, RestorableFruit) for each in outcomes) == 1
    assert all(isinstance(each, RestorableFruit | RevisionMismatch | DocumentExists) for each in outcomes)


async def test_deleting_is_guarded_and_happens_once(store: Store) -> None:
    """As with other models."""
    made = await store.create(RestorableFruit())
    with pytest.raises(RevisionMismatch):
        await store.delete(RestorableFruit, made.fruit_id, expected=lambda _: False)
    await store.delete(RestorableFruit, made.fruit_id, expected=lambda given: given == made._rev)
    with pytest.raises(DocumentNotFound):
        await store.delete(RestorableFruit, made.fruit_id)
    with pytest.raises(DocumentNotFound):
        await store.update(RestorableFruit, made.fruit_id, lambda fruit: None)


@pytest.mark.parametrize("cls", [RestorableStand, Shop])
async def test_a_key_that_is_deleted_can_be_created_again(
    store: Store, cls: type[RestorableStand] | type[Shop]
) -> None:
    """In its place: no key has two documents, and what was deleted cannot come back then."""
    await store.create(cls(name="a", size=1))
    await store.delete(cls, "a")
    await store.create(cls(name="a", size=2))
    assert (await store.get(cls, "a")).size == 2
    with pytest.raises(DocumentExists):
        await store.create(cls(name="a", size=3))
    assert [each.size for each in (await store.find(cls)).items] == [2]
    assert not (await store.find(cls, Query(deleted=True))).items
    with pytest.raises(DocumentExists):
        await store.restore(cls, "a")


async def test_an_id_that_is_deleted_can_be_created_again(store: Store) -> None:
    """Where the document id is the key."""
    note = RestorableNote(text="1")
    note._id = "n"
    await store.create(note)
    await store.delete(RestorableNote, "n")
    again = RestorableNote(text="2")
    again._id = "n"
    await store.create(again)
    assert (await store.get(RestorableNote, "n")).text == "2"


async def test_a_database_that_checks_its_documents_refuses_none_of_it(store: Store) -> None:
    """Not even another value of what never changes, in a document that takes the place of a deleted one."""

    class Fixed(Model, type="fixed_v1.0", key="name", unique=True, soft_delete=True):
        name: str
        code: Annotated[str, Merge.immutable] = "x"
        created_on: CreatedOn

    await install(store.database.server, store.database.name, [Fixed])  # type: ignore[arg-type]
    await store.database.put(database_check([Fixed]).design_document)
    await store.create(Fixed(name="a"))
    await store.delete(Fixed, "a")
    await store.restore(Fixed, "a")
    await store.delete(Fixed, "a")
    await store.create(Fixed(name="a", code="y"))
    with pytest.raises(Forbidden):
        await store.update(Fixed, "a", lambda fixed: setattr(fixed, "code", "z"))


async def test_many_writes_at_once_mark_and_create_again_as_single_ones_do(store: Store) -> None:
    """Those on one document in order."""
    made = await store.create_many(
        RestorableStand, [RestorableStand(name=str(n)) for n in range(5)] + [RestorableStand(name="0")]
    )
    assert [type(each) for each in made] == [RestorableStand] * 5 + [DocumentExists]
    done = await store.write_many(
        RestorableStand,
        [
            Deletion("0"),
            Deletion("0"),
            Creation(RestorableStand(name="0", size=7)),
            Update("1", lambda stand: setattr(stand, "size", 3)),
            Deletion("1"),
            Update("1", lambda stand: None),
            Deletion("2", expected=lambda _: False),
        ],
    )
    assert [type(each) for each in done] == [
        RestorableStand,
        DocumentNotFound,
        RestorableStand,
        RestorableStand,
        RestorableStand,
        DocumentNotFound,
        RevisionMismatch,
    ]
    assert [(each.name, each.size) for each in (await store.find(RestorableStand)).items] == [
        ("0", 7),
        ("2", 0),
        ("3", 0),
        ("4", 0),
    ]
    assert [(each.name, each.size) for each in (await store.find(RestorableStand, Query(deleted=True))).items] == [
        ("1", 3)
    ]
