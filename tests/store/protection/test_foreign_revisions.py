"""A server that computes revisions otherwise than CouchDB 3.5: signing by v3 is refused there, and nothing is lost."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any

import pytest

from tornado_couch import Couch, Database, DocumentNotFound, Key, Merge, Model, Store, install
from tornado_couch.embedded.server import BackgroundCouch
from tornado_couch.embedded.storage import transaction
from tornado_couch.errors import CouchError, OutcomeUnknown, SecurityError, Unavailable
from tornado_couch.maintain.audit import audit
from tornado_couch.maintain.clearing import Clearing
from tornado_couch.maintain.rotate import Rotation
from tornado_couch.revision import revision_of
from tornado_couch.security import KeyRing, Scheme
from tornado_couch.store import Creation, Deletion, Update

RING = KeyRing.create()


class Purse(Model, type="purse_v1.0", key="name", unique=True):
    name: str
    coins: Annotated[int, Merge.max] = 0


class Ticket(Model, type="ticket_v1.0", key="ticket_id"):
    ticket_id: Key


ID = Purse.__couch__.document_id("a") or ""  # type: ignore[union-attr]


@pytest.fixture
async def database(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Database]:
    """A database of a server whose digests are others."""

    def other(*arguments: Any) -> str:
        number, _, digest = revision_of(*arguments).partition("-")
        return f"{number}-{digest[::-1]}"

    monkeypatch.setattr(transaction, "revision_of", other)
    with BackgroundCouch() as url:
        async with Couch(url) as couch:
            name = f"test-{uuid.uuid4().hex}"
            await install(couch, name, [Purse, Ticket])
            yield couch[name]


@pytest.fixture
def v2(database: Database) -> Store:
    """What the error tells to use."""
    return Store(database, signer=RING, scheme=Scheme.V2)


@pytest.fixture
def v3(database: Database) -> Store:
    """What does not work there."""
    return Store(database, signer=RING)


def refused() -> Any:
    return pytest.raises(SecurityError, match=r"^nothing was written: .*sign by scheme v2")


async def assert_sound(store: Store) -> None:
    """Nothing that v2 would not accept was left behind."""
    pages = audit(store.database, RING, accept=[Scheme.V2])
    assert [finding async for page in pages for finding in page.findings] == []


async def test_a_create_is_refused_and_leaves_nothing(v3: Store, v2: Store) -> None:
    """Also over a tombstone; by v2 the same key is free."""
    for _ in range(2):
        with refused():
            await v3.create(Purse(name="a"))
        with pytest.raises(DocumentNotFound):
            await v3.get(Purse, "a")
        await v2.create(Purse(name="a"))
        await v2.delete(Purse, "a")
    with refused():
        await v3.create(Ticket())
    assert (await v3.find(Ticket)).items == (await v3.find(Purse)).items == []
    await assert_sound(v2)


async def test_a_change_is_refused_and_the_document_stays_as_it_was(v3: Store, v2: Store) -> None:
    """An update as well as a deletion, with the file that somebody attached."""
    await v2.create(Purse(name="a", coins=1))
    held = await v2.database.get(ID)
    file = {"content_type": "text/plain", "data": "aGVsbG8="}
    await v2.database.put({**held, "_attachments": {"a.txt": file}})
    leaf = (await v2.database.get(ID))["_rev"]
    await Clearing(v2.database, RING, scheme=Scheme.V2).adopt(ID, leaf)
    with refused():
        await v3.update(Purse, "a", lambda latest: setattr(latest, "coins", 2))
    with refused():
        await v3.delete(Purse, "a")
    assert (await v3.get(Purse, "a")).coins == 1
    assert (await v2.update(Purse, "a", lambda latest: setattr(latest, "coins", 3))).coins == 3
    assert list((await v2.database.get(ID))["_attachments"]) == ["a.txt"]
    await assert_sound(v2)


async def test_each_of_many_is_refused(v3: Store, v2: Store) -> None:
    """With an error of its own."""
    await v2.create_many(Purse, [Purse(name="b", coins=1), Purse(name="c", coins=1)])
    change = Update("b", lambda latest: setattr(latest, "coins", 2))
    outcomes = await v3.write_many(Purse, [Creation(Purse(name="a")), change, Deletion("c")])
    assert [type(each) for each in outcomes] == [SecurityError] * 3
    assert [(each.name, each.coins) for each in (await v3.find(Purse)).items] == [("b", 1), ("c", 1)]
    await assert_sound(v2)


async def test_a_merge_is_refused_and_both_leaves_stay(v3: Store, v2: Store) -> None:
    """The winning one in another revision."""
    await v2.create(Purse(name="a", coins=1))
    first = await v2.database.get(ID, revs=True)
    ours = await v2.update(Purse, "a", lambda latest: setattr(latest, "coins", 5))
    theirs = v2._guard.signed({**first, "coins": 7, "_revisions": None})
    rest = {name: value for name, value in theirs.items() if name != "_revisions"}
    path = {"start": 2, "ids": ["0" * 32, first["_rev"][2:]]}
    assert not await v2.database.bulk_docs([{**rest, "_rev": "2-" + "0" * 32, "_revisions": path}], new_edits=False)
    with refused():
        await v3.reconciliation.reconcile(Purse, ID)
    assert (await v3.get(Purse, "a")).coins == ours.coins
    assert (await v2.reconciliation.reconcile(Purse, ID)).merged == 1
    assert (await v2.get(Purse, "a")).coins == 7
    await assert_sound(v2)


async def test_a_rotation_and_a_clearing_are_refused_before_they_write(v2: Store) -> None:
    """The database is as it was."""
    await v2.create(Purse(name="a"))
    before = (await v2.database.get(ID))["_rev"]
    with pytest.raises(SecurityError, match="sign by scheme v2"):
        await anext(Rotation(v2.database, RING).run())
    with pytest.raises(SecurityError, match="sign by scheme v2"):
        await Clearing(v2.database, RING).adopt(ID, before)
    assert (await v2.database.get(ID))["_rev"] == before


async def test_what_cannot_be_undone_is_not_called_refused(v3: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The document is stored, and no read accepts it: the error names the cause all the same."""

    async def down(_: Any) -> Any:
        raise Unavailable("down", sent=False)

    monkeypatch.setattr(v3._access, "put_alone", down)
    with pytest.raises(OutcomeUnknown, match="sign by scheme v2") as found:
        await v3.create(Purse(name="a"))
    assert isinstance(found.value.__cause__, CouchError)
