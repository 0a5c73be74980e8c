"""What each operation of a store promises for each kind of model: plain, with soft deletion, with history."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, TypeAlias

import pytest

from tornado_couch import CreatedOn, Database, Indexed, Model, NoIndex, Query, Retry, Store, UpdatedOn, install
from tornado_couch.errors import DocumentExists, DocumentNotFound, RevisionMismatch
from tornado_couch.models import version_of
from tornado_couch.store import Creation, Deletion, Update
from tornado_couch.store.lifecycle import Lifecycles, Plain, SoftDeleting, Versioned


class NamedFruit(Model, type="fruit_v1.0", key="name", unique=True):
    name: str
    color: Annotated[str, Indexed()] = "red"
    created_on: CreatedOn
    updated_on: UpdatedOn


class Berry(Model, type="berry_v1.0", key="name", unique=True, soft_delete=True):
    name: str
    color: Annotated[str, Indexed()] = "red"
    created_on: CreatedOn
    updated_on: UpdatedOn


class Nut(Model, type="nut_v1.0", key="name", history=True):
    name: str
    color: Annotated[str, Indexed()] = "red"
    created_on: CreatedOn
    updated_on: UpdatedOn


Kind: TypeAlias = type[NamedFruit] | type[Berry] | type[Nut]
Made: TypeAlias = NamedFruit | Berry | Nut

each_kind = pytest.mark.parametrize("cls", [NamedFruit, Berry, Nut])
kept_when_deleted = pytest.mark.parametrize("cls", [Berry, Nut])
without_versions = pytest.mark.parametrize("cls", [NamedFruit, Berry])


@pytest.fixture(params=[False, True], ids=["uncached", "cached"])
async def store(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Store]:
    """A store with the views of all three kinds."""
    await install(database.server, database.name, [NamedFruit, Berry, Nut])  # type: ignore[arg-type]
    store = Store(database, retry=Retry(base=0.001), cache=request.param)
    yield store
    await store.close()


async def made(store: Store, cls: Kind, name: str = "a", color: str = "red") -> Made:
    return await store.create(cls(name=name, color=color))


async def gone(store: Store, cls: Kind, name: str = "a", color: str = "red") -> Made:
    await made(store, cls, name, color)
    return await store.delete(cls, name)


async def current(store: Store, cls: Kind, name: str = "a") -> str:
    """The color of what is stored now; the cache may not have heard of it yet."""
    (found,) = [each for each in (await store.find(cls)).items if each.name == name]
    return found.color


async def documents(store: Store) -> int:
    """How many documents there are, deleted ones that are kept and versions included."""
    return len([row for row in (await store.database.all_docs()).rows if not (row.id or "").startswith("_design/")])


def green(model: Made) -> None:
    model.color = "green"


class TestChoice:
    """Which lifecycle a model has."""

    @pytest.mark.parametrize(("cls", "lifecycle"), [(NamedFruit, Plain), (Berry, SoftDeleting), (Nut, Versioned)])
    async def test_the_declaration_of_a_model_decides(self, store: Store, cls: Kind, lifecycle: type) -> None:
        """`soft_delete=True` and `history=True` each have one of their own."""
        assert type(store._lifecycles.of(cls)) is lifecycle

    async def test_a_store_owns_its_lifecycles_and_inherits_nothing(self, store: Store) -> None:
        """No mixin is part of it."""
        assert (Store.__mro__, type(store._lifecycles)) == ((Store, object), Lifecycles)


@each_kind
class TestEveryKind:
    """What holds for all models alike."""

    async def test_create_gives_id_revision_and_time_stamps(self, store: Store, cls: Kind) -> None:
        """The model that was given is the one that comes back."""
        model = cls(name="a")
        assert await store.create(model) is model
        assert None not in (model._id, model._rev, model.created_on)
        assert model.created_on == model.updated_on

    async def test_create_refuses_a_key_that_is_there(self, store: Store, cls: Kind) -> None:
        """The first document stays as it is."""
        await made(store, cls)
        with pytest.raises(DocumentExists):
            await made(store, cls, color="green")
        assert await current(store, cls) == "red"

    async def test_create_takes_a_key_that_was_deleted(self, store: Store, cls: Kind) -> None:
        """As a new document."""
        await gone(store, cls)
        await made(store, cls, color="green")
        assert await current(store, cls) == "green"

    async def test_create_many_refuses_only_what_is_there(self, store: Store, cls: Kind) -> None:
        """A second one of the same call included."""
        await made(store, cls)
        outcomes = await store.create_many(cls, [cls(name=name) for name in ("a", "b", "b", "c")])
        assert [type(each) for each in outcomes] == [DocumentExists, cls, DocumentExists, cls]

    async def test_write_many_does_what_single_calls_do(self, store: Store, cls: Kind) -> None:
        """In the order given, for each document."""
        outcomes = await store.write_many(
            cls,
            [Creation(cls(name="a")), Update("a", green), Deletion("a"), Deletion("a"), Update("b", green)],
        )
        assert [type(each) for each in outcomes] == [cls, cls, cls, DocumentNotFound, DocumentNotFound]
        assert (await store.find(cls)).items == []

    async def test_get_finds_what_is_there_and_nothing_else(self, store: Store, cls: Kind) -> None:
        """With `deleted=None` too, but not with `deleted=True`."""
        await made(store, cls)
        assert (await store.get(cls, "a")).color == (await store.get(cls, "a", deleted=None)).color == "red"
        with pytest.raises(DocumentNotFound):
            await store.get(cls, "a", deleted=True)
        with pytest.raises(DocumentNotFound):
            await store.get(cls, "b")

    async def test_find_pages_through_each_document_once(self, store: Store, cls: Kind) -> None:
        """However often it was changed, and without those that are deleted."""
        for name in ("a", "b", "c"):
            await made(store, cls, name)
        await store.update(cls, "a", green)
        await store.delete(cls, "b")
        first = await store.find(cls, limit=1, count=True)
        rest = await store.find(cls, limit=5, start=first.next)
        assert [each.name for each in [*first.items, *rest.items]] == ["a", "c"]
        assert (first.total, rest.next) == (2, None)
        assert [each.name for each in (await store.find(cls, by="color", key="red")).items] == ["c"]

    async def test_update_changes_the_latest(self, store: Store, cls: Kind) -> None:
        """With a new revision; the time of creation stays."""
        was = await made(store, cls)
        now = await store.update(cls, "a", green)
        assert (now.color, now.created_on, await current(store, cls)) == ("green", was.created_on, "green")
        assert now._rev != was._rev

    async def test_update_refuses_what_is_deleted_or_never_was(self, store: Store, cls: Kind) -> None:
        """There is nothing to change."""
        await gone(store, cls)
        for name in ("a", "b"):
            with pytest.raises(DocumentNotFound):
                await store.update(cls, name, green)

    async def test_update_refuses_a_revision_that_is_not_expected(self, store: Store, cls: Kind) -> None:
        """Nothing is written."""
        await made(store, cls)
        with pytest.raises(RevisionMismatch):
            await store.update(cls, "a", green, expected=lambda _: False)
        assert await current(store, cls) == "red"

    async def test_update_tries_again_when_another_writer_was_faster(self, store: Store, cls: Kind) -> None:
        """With what that one wrote."""
        await made(store, cls)
        seen = []

        async def change(model: Made) -> None:
            seen.append(model.color)
            if len(seen) == 1:
                await store.update(cls, "a", lambda other: setattr(other, "color", "blue"))
            green(model)

        await store.update(cls, "a", change)
        assert (seen, await current(store, cls)) == (["red", "blue"], "green")

    async def test_replace_writes_over_the_revision_that_was_read(self, store: Store, cls: Kind) -> None:
        """And over no other; a model that was never stored, or is deleted, is not found."""
        model, other = await made(store, cls), await store.update(cls, "a", lambda _: None)
        with pytest.raises(RevisionMismatch):
            await store.replace(model)
        green(other)
        await store.replace(other)
        assert await current(store, cls) == "green"
        await store.delete(cls, "a")
        for absent in (other, cls(name="b")):
            with pytest.raises(DocumentNotFound):
                await store.replace(absent)

    async def test_delete_hides_the_document_and_returns_it(self, store: Store, cls: Kind) -> None:
        """Once: after that it is not found."""
        assert (await gone(store, cls)).color == "red"
        assert (await store.find(cls, count=True)).total == 0
        with pytest.raises(DocumentNotFound):
            await store.delete(cls, "a")

    async def test_delete_calls_check_and_confirm_around_the_expectation(self, store: Store, cls: Kind) -> None:
        """A revision that is not expected is not deleted."""
        await made(store, cls)
        seen: list[str] = []
        with pytest.raises(RevisionMismatch):
            await store.delete(
                cls,
                "a",
                check=lambda _: seen.append("check"),
                expected=lambda _: bool(seen.append("expected")),
                confirm=lambda _: seen.append("confirm"),
            )
        assert (seen, await current(store, cls)) == (["check", "expected"], "red")

    async def test_restore_refuses_what_is_not_deleted_or_never_was(self, store: Store, cls: Kind) -> None:
        """The one is there, the other is not found."""
        await made(store, cls)
        with pytest.raises(DocumentExists):
            await store.restore(cls, "a")
        with pytest.raises(DocumentNotFound):
            await store.restore(cls, "b")

    async def test_versions_of_what_never_was_are_not_found(self, store: Store, cls: Kind) -> None:
        """Nor is any one of them."""
        with pytest.raises(DocumentNotFound):
            await store.versions(cls, "a")
        with pytest.raises(DocumentNotFound):
            await store.version(cls, "a", 1)
        with pytest.raises(DocumentNotFound):
            await store.as_of(cls, "a", datetime.now(UTC))


class TestPlain:
    """What holds for models that are declared without `soft_delete` and `history`."""

    async def test_what_is_deleted_is_gone(self, store: Store) -> None:
        """It can neither be read nor restored, and no list has it."""
        await gone(store, NamedFruit)
        assert await documents(store) == 0
        for deleted in (True, None):
            with pytest.raises(DocumentNotFound):
                await store.get(NamedFruit, "a", deleted=deleted)
        with pytest.raises(DocumentNotFound):
            await store.restore(NamedFruit, "a")
        with pytest.raises(NoIndex):
            await store.find(NamedFruit, Query(deleted=True))


@kept_when_deleted
class TestKeptWhenDeleted:
    """What holds with `soft_delete=True` and with `history=True`."""

    async def test_get_finds_what_is_deleted_when_asked(self, store: Store, cls: Kind) -> None:
        """As it was."""
        await gone(store, cls)
        for deleted in (True, None):
            assert (await store.get(cls, "a", deleted=deleted)).color == "red"
        with pytest.raises(DocumentNotFound):
            await store.get(cls, "a")

    async def test_find_lists_what_is_deleted_when_asked(self, store: Store, cls: Kind) -> None:
        """And only that."""
        await gone(store, cls)
        await made(store, cls, "b")
        assert [each.name for each in (await store.find(cls, Query(deleted=True))).items] == ["a"]

    async def test_restore_brings_it_back_as_it_was_or_changed(self, store: Store, cls: Kind) -> None:
        """The time of creation stays."""
        was = await gone(store, cls)
        assert (await store.restore(cls, "a")).created_on == was.created_on
        assert await current(store, cls) == "red"
        await store.delete(cls, "a")
        await store.restore(cls, "a", green)
        assert await current(store, cls) == "green"

    async def test_restore_refuses_a_revision_that_is_not_expected(self, store: Store, cls: Kind) -> None:
        """The document stays deleted."""
        await gone(store, cls)
        with pytest.raises(RevisionMismatch):
            await store.restore(cls, "a", expected=lambda _: False)
        assert (await store.find(cls)).items == []


@without_versions
class TestWithoutVersions:
    """What holds for models that are declared without `history`."""

    async def test_the_list_of_versions_is_empty(self, store: Store, cls: Kind) -> None:
        """Where there is a document."""
        await made(store, cls)
        page = await store.versions(cls, "a")
        assert (page.items, page.next, page.previous) == ([], None, None)

    async def test_no_version_is_found(self, store: Store, cls: Kind) -> None:
        """Neither by number nor by time."""
        await made(store, cls)
        with pytest.raises(DocumentNotFound):
            await store.version(cls, "a", 1)
        with pytest.raises(DocumentNotFound):
            await store.as_of(cls, "a", datetime.now(UTC))

    async def test_a_document_is_rewritten_in_its_place(self, store: Store, cls: Kind) -> None:
        """However often it is changed, it is one document."""
        await made(store, cls)
        await store.update(cls, "a", green)
        assert await documents(store) == 1


class TestSoftDeleting:
    """What holds with `soft_delete=True`."""

    async def test_a_key_that_is_created_again_takes_the_place_of_what_was_deleted(self, store: Store) -> None:
        """So that no key has two documents; what was deleted cannot come back then."""
        await gone(store, Berry)
        await made(store, Berry, color="green")
        assert await documents(store) == 1
        assert (await store.find(Berry, Query(deleted=True))).items == []
        with pytest.raises(DocumentExists):
            await store.restore(Berry, "a")


class TestVersioned:
    """What holds with `history=True`."""

    async def test_each_write_adds_a_version(self, store: Store) -> None:
        """Deletions, restorations and a second creation included; the latest comes first."""
        await gone(store, Nut)
        await store.restore(Nut, "a", green)
        await gone_again(store)
        page = await store.versions(Nut, "a")
        places = [version_of({**each._stored, "_id": each._id}) for each in page.items]
        assert [(each.number, each.deleted) for each in places] == [
            (5, False),
            (4, True),
            (3, False),
            (2, True),
            (1, False),
        ]
        assert await documents(store) == 5

    async def test_versions_are_paged(self, store: Store) -> None:
        """Forward and backward."""
        await made(store, Nut)
        await store.update(Nut, "a", green)
        first = await store.versions(Nut, "a", limit=1)
        second = await store.versions(Nut, "a", limit=1, start=first.next)
        back = await store.versions(Nut, "a", limit=1, start=second.previous, backward=True)
        assert [page.items[0].color for page in (first, second, back)] == ["green", "red", "green"]

    async def test_a_version_is_found_by_its_number(self, store: Store) -> None:
        """One that says deleted is not."""
        await gone(store, Nut)
        assert (await store.version(Nut, "a", 1)).color == (await store.version(Nut, "a", "1")).color == "red"
        for name in (2, 3, "none"):
            with pytest.raises(DocumentNotFound):
                await store.version(Nut, "a", name)

    async def test_a_document_is_found_as_it_was_at_a_time(self, store: Store) -> None:
        """Before it was created, and while it was deleted, it is not found."""
        was = await made(store, Nut)
        now = await store.update(Nut, "a", green)
        await store.delete(Nut, "a")
        assert (await store.as_of(Nut, "a", was.updated_on)).color == "red"
        assert (await store.as_of(Nut, "a", now.updated_on)).color == "green"
        for moment in (datetime(2001, 1, 1, tzinfo=UTC), datetime.now(UTC)):
            with pytest.raises(DocumentNotFound):
                await store.as_of(Nut, "a", moment)


async def gone_again(store: Store) -> None:
    """Delete the nut that is there, and create it again."""
    await store.delete(Nut, "a")
    await made(store, Nut, color="blue")
