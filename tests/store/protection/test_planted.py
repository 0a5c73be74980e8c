"""What somebody plants who owns the database, but no keys: found by reads, by the reconciler and by the audit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, NamedTuple

import pytest

from tornado_couch import Database, DocumentNotFound, Key, Merge, Model, Store, install
from tornado_couch.couch import names
from tornado_couch.errors import InvalidSignature
from tornado_couch.maintain.audit import audit
from tornado_couch.revision import generation, revision_of
from tornado_couch.security import SIGNATURE_PROPERTY, KeyRing, Scheme, sign_document
from tornado_couch.store.protection.signatures import Verification

RING = KeyRing.create()


class Account(Model, type="account_v1.0", key="name", unique=True):
    name: str
    balance: Annotated[int, Merge.sum_of_changes] = 0


class Ticket(Model, type="ticket_v1.0", key="ticket_id"):
    ticket_id: Key
    text: str = ""


ID = Account.__couch__.document_id("a") or ""  # type: ignore[union-attr]


class Scene(NamedTuple):
    """A document with three revisions, all of which somebody has kept."""

    store: Store
    seen: list[dict[str, Any]]

    @property
    def database(self) -> Database:
        return self.store.database

    async def plant(self, document: dict[str, Any], revision: str, *path: str) -> None:
        """Store a revision with the history that its writer claims, as replication does."""
        ids = [each.partition("-")[2] for each in (revision, *path)]
        planted = {**document, "_rev": revision, "_revisions": {"start": generation(revision), "ids": ids}}
        assert not await self.database.bulk_docs([planted], new_edits=False)

    def path(self, place: int) -> list[str]:
        """The true revisions from the one with this number to the first."""
        return [each["_rev"] for each in self.seen[place::-1]]


async def scene_of(store: Store) -> Scene:
    seen = []
    await store.create(Account(name="a", balance=1))
    for balance in (1, 2, 3):
        if balance > 1:
            await store.update(Account, "a", lambda latest, now=balance: setattr(latest, "balance", now))
        seen.append(await store.database.get(ID))
    return Scene(store, seen)


@pytest.fixture(params=["content", "history"])
async def scene(database: Database, request: pytest.FixtureRequest) -> Scene:
    """The document, by each way to verify."""
    await install(database.server, database.name, [Account, Ticket])  # type: ignore[arg-type]
    return await scene_of(Store(database, signer=RING, verify=request.param))


async def read(store: Store, key: str = "a") -> int | str:
    """What a read gives: the balance, or why there is none; lists and other ways of reading agree."""
    try:
        found: int | str = (await store.get(Account, key)).balance
    except DocumentNotFound:
        found = "missing"
    except InvalidSignature as error:
        found = error.reason.value
    page = await store.find(Account)
    listed = [each.balance for each in page.items if each.name == key]
    assert listed == ([found] if isinstance(found, int) else [])
    cached = Store(store.database, signer=RING, grouping=False, cache=True)
    try:
        assert (await cached.get(Account, key)).balance == found
    except (DocumentNotFound, InvalidSignature):
        assert not isinstance(found, int)
    finally:
        await cached.close()
    return found


async def found_by_audit(store: Store, **options: Any) -> list[str]:
    pages = audit(store.database, RING, **options)
    return [finding.reason for page in [page async for page in pages] for finding in page.findings]


async def assert_never_merged(scene: Scene) -> None:
    """The reconciler writes nothing that was planted, nor anything upon it."""
    before = {leaf.rev for leaf in (await scene.database.bulk_get([ID]))[0]}
    result = await scene.store.reconciliation.reconcile(Account, ID)
    assert result.merged == 0
    assert {leaf.rev for leaf in (await scene.database.bulk_get([ID]))[0]} == before


Plant = Callable[[Scene], Awaitable[None]]


async def older_body_as_successor(scene: Scene) -> None:
    await scene.plant(scene.seen[0], "4-" + "f" * 32, *scene.path(2))


async def older_body_far_ahead(scene: Scene) -> None:
    await scene.plant(scene.seen[0], "9-" + "f" * 32)


async def older_body_written_over_the_latest(scene: Scene) -> None:
    await scene.database.put({**scene.seen[1], "_rev": scene.seen[2]["_rev"]})


async def latest_body_in_another_branch(scene: Scene) -> None:
    await scene.plant(scene.seen[2], "3-" + "f" * 32, "2-" + "e" * 32, scene.seen[0]["_rev"])


async def another_order_of_members(scene: Scene) -> None:
    held = scene.seen[2]
    body = {name: held[name] for name in ("type", "balance", "name", "tornado_couch_write") if name in held}
    body |= {name: value for name, value in held.items() if name[0] != "_" and name not in body}
    await _at_its_digest(scene, body)


async def one_float_for_an_integer(scene: Scene) -> None:
    body = {name: value for name, value in scene.seen[2].items() if name[0] != "_"}
    await _at_its_digest(scene, {**body, "balance": 3.0})


async def _at_its_digest(scene: Scene, body: dict[str, Any]) -> None:
    """As the successor that CouchDB itself would make of it."""
    parent = scene.seen[2]["_rev"]
    await scene.plant({"_id": ID, **body}, revision_of(parent, False, body), *scene.path(2))


async def stripped(scene: Scene) -> None:
    held = {name: value for name, value in scene.seen[2].items() if name != SIGNATURE_PROPERTY}
    await scene.database.put(held)


async def signed_for_another_document(scene: Scene) -> None:
    await scene.store.create(Account(name="b", balance=666))
    other = await scene.database.get(Account.__couch__.document_id("b") or "")  # type: ignore[union-attr]
    await scene.database.put({**other, "_id": ID, "_rev": scene.seen[2]["_rev"]})


async def an_attachment(scene: Scene) -> None:
    inline = {"a.txt": {"content_type": "text/plain", "data": "aGVsbG8="}}
    await scene.database.put({**scene.seen[2], "_attachments": inline})


async def deleted(scene: Scene) -> None:
    await scene.database.delete(ID, scene.seen[2]["_rev"])


WINNERS = [
    older_body_as_successor,
    older_body_far_ahead,
    older_body_written_over_the_latest,
    another_order_of_members,
    one_float_for_an_integer,
    stripped,
    signed_for_another_document,
    an_attachment,
    deleted,
]


@pytest.mark.parametrize("plant", WINNERS, ids=[each.__name__ for each in WINNERS])
async def test_what_is_planted_as_the_winner_is_withheld(scene: Scene, plant: Plant) -> None:
    """It is not served, not changed, not deleted, not merged; and the audit names it."""
    await plant(scene)
    assert isinstance(await read(scene.store), str)
    assert await read(scene.store) != "missing"
    for call in (scene.store.update(Account, "a", lambda latest: None), scene.store.delete(Account, "a")):
        with pytest.raises(InvalidSignature):
            await call
    await assert_never_merged(scene)
    assert len(await found_by_audit(scene.store)) == 1


async def older_body_as_loser(scene: Scene) -> None:
    await scene.plant(scene.seen[1], "2-" + "f" * 32, scene.seen[0]["_rev"])


async def older_body_as_a_loser_of_the_same_generation(scene: Scene) -> None:
    await scene.plant(scene.seen[0], "3-" + "0" * 32, *scene.path(1))


async def unsigned_body_as_loser(scene: Scene) -> None:
    await scene.plant({"_id": ID, "type": "account_v1.0", "name": "a", "balance": 9}, "2-" + "f" * 32)


async def a_lesser_tombstone(scene: Scene) -> None:
    await scene.plant({"_id": ID, "_deleted": True}, "2-" + "f" * 32, scene.seen[0]["_rev"])


LOSERS = [
    older_body_as_loser,
    older_body_as_a_loser_of_the_same_generation,
    unsigned_body_as_loser,
    a_lesser_tombstone,
]


@pytest.mark.parametrize("plant", LOSERS, ids=[each.__name__ for each in LOSERS])
async def test_what_is_planted_as_a_loser_is_counted_and_never_merged(scene: Scene, plant: Plant) -> None:
    """The document is served as it was last written; reconciler and audit say what stands beside it."""
    await plant(scene)
    before = scene.store.signature_failures.total()
    assert await read(scene.store) == 3
    assert scene.store.signature_failures.total() > before
    await assert_never_merged(scene)
    assert len(await found_by_audit(scene.store)) == 1
    latest = await scene.store.update(Account, "a", lambda latest: setattr(latest, "balance", 4))
    assert latest.balance == 4
    assert await read(scene.store) == 4


async def test_the_reconciler_says_what_it_does_not_take(scene: Scene) -> None:
    """The problem names the fault."""
    await older_body_as_loser(scene)
    (problem,) = (await scene.store.reconciliation.reconcile(Account, ID)).problems
    assert "rolled back" in problem["detail"]


@pytest.mark.parametrize("plant", [*WINNERS[:2], *LOSERS[:1]], ids=lambda each: each.__name__)
async def test_nothing_comes_back_after_a_deletion(scene: Scene, plant: Plant) -> None:
    """A body that was planted after the service had deleted the document is not served: not even as a log-in."""
    await scene.store.delete(Account, "a")
    await plant(scene)
    assert await read(scene.store) == "rolled back"
    await assert_never_merged(scene)
    assert await found_by_audit(scene.store) == ["rolled back"]


async def test_a_revision_planted_where_it_was_changes_nothing(scene: Scene) -> None:
    """The very revision that was written can only be stored again in its own place."""
    for place in (0, 1, 2):
        await scene.plant(scene.seen[place], scene.seen[place]["_rev"], *scene.path(place)[1:])
    assert await read(scene.store) == 3
    await scene.store.delete(Account, "a")
    for place in (0, 1, 2):
        await scene.plant(scene.seen[place], scene.seen[place]["_rev"], *scene.path(place)[1:])
        await scene.plant(scene.seen[place], scene.seen[place]["_rev"])
    assert await read(scene.store) == "missing"
    assert await found_by_audit(scene.store) == []


@pytest.mark.parametrize("gone", [False, True], ids=["live", "deleted"])
async def test_a_true_revision_upon_another_path_is_not_taken(scene: Scene, gone: bool) -> None:
    """CouchDB keeps one revision as a leaf of several paths; what a later revision replaced stays replaced."""
    if gone:
        await scene.store.delete(Account, "a")
    await scene.plant(scene.seen[1], scene.seen[1]["_rev"], "1-" + "e" * 32)
    assert await read(scene.store) in ({"rolled back", "missing"} if gone else {3, "rolled back"})
    await assert_never_merged(scene)


async def test_a_true_revision_that_couchdb_forgot_is_not_taken(scene: Scene) -> None:
    """Where the history is cut off, an old revision may be one that was replaced: it is neither served nor merged."""
    address = names.database(scene.database.name, "_revs_limit")
    await scene.database._exchange.call("PUT", address, None, b"1")
    latest = await scene.store.update(Account, "a", lambda latest: setattr(latest, "balance", 4))
    await scene.plant(scene.seen[0], scene.seen[0]["_rev"])
    assert await read(scene.store) == latest.balance
    await assert_never_merged(scene)
    await scene.store.database.put(scene.store._guard.tombstone(await scene.database.get(ID)))
    assert await read(scene.store) in ("rolled back", "missing")


async def test_a_deletion_does_not_bring_an_older_leaf_back(scene: Scene) -> None:
    """Two leaves, both written by the service: if somebody deletes the later one, the other is not served for it."""
    parent = scene.seen[0]["_rev"]
    document = {**scene.seen[0], "balance": 7}
    signed = sign_document(document, database=scene.database.name, parent=parent, signer=RING)
    body = {name: value for name, value in signed.items() if name[0] != "_"}
    await scene.plant(signed, revision_of(parent, False, body), parent)
    assert await read(scene.store) == 3  # a conflict, as replication brings it
    assert await found_by_audit(scene.store) == []
    await deleted(scene)
    assert await read(scene.store) == "deleted"
    await assert_never_merged(scene)


async def test_a_generated_key_read_after_an_unsigned_deletion_is_an_error(scene: Scene) -> None:
    """It is not as if the document had never been there; with a signed deletion it is."""
    for fresh in (False, True):
        ticket = await scene.store.create(Ticket(text="a"))
        assert ticket._rev is not None
        await scene.database.delete(ticket.ticket_id, ticket._rev)
        store = Store(scene.database, signer=RING) if fresh else scene.store
        with pytest.raises(InvalidSignature, match="deleted without a signature"):
            await store.get(Ticket, ticket.ticket_id)
    ticket = await scene.store.create(Ticket(text="b"))
    await scene.store.delete(Ticket, ticket.ticket_id)
    with pytest.raises(DocumentNotFound):
        await scene.store.get(Ticket, ticket.ticket_id)


@pytest.mark.parametrize("gone", [False, True], ids=["live", "deleted"])
@pytest.mark.parametrize("verify", ["content", "history"])
async def test_nothing_of_v2_stands_upon_v3(database: Database, verify: Verification, gone: bool) -> None:
    """A body or a deletion that v2 signed for that very generation, in another branch, is planted as the successor."""
    await install(database.server, database.name, [Account])  # type: ignore[arg-type]
    store = Store(database, signer=RING, verify=verify)
    await store.create(Account(name="a", balance=1))
    held = await database.get(ID)
    body = {"_id": ID, "type": "account_v1.0", "name": "a", "balance": 666, **({"_deleted": True} if gone else {})}
    elsewhere = "1-" + "e" * 32
    signed = sign_document(body, database=database.name, parent=elsewhere, signer=RING, scheme=Scheme.V2)
    await Scene(store, [held]).plant(signed, "2-" + "f" * 32, held["_rev"])
    assert await read(store) == "rolled back"
    assert await found_by_audit(store) == ["rolled back"]


@pytest.mark.parametrize("verify", ["content", "history"])
async def test_older_schemes_prove_nothing_beside_v3(database: Database, verify: Verification) -> None:
    """A body that v2 signed is read until v3 has written to its document, and never again beside that."""
    await install(database.server, database.name, [Account])  # type: ignore[arg-type]
    await Store(database, signer=RING, scheme=Scheme.V2).create(Account(name="a", balance=1))
    store = Store(database, signer=RING, verify=verify)
    assert await read(store) == 1
    old = await database.get(ID)
    await store.update(Account, "a", lambda latest: setattr(latest, "balance", 2))
    scene = Scene(store, [old])
    await scene.plant(old, "1-" + "f" * 32)
    assert await read(store) == 2
    await assert_never_merged(scene)
    assert await found_by_audit(store) == ["rolled back"]
    await store.database.put(store._guard.tombstone(await database.get(ID)))
    assert await read(store) == "rolled back"
    strict = Store(database, signer=RING, accept=[Scheme.V3])
    with pytest.raises(InvalidSignature):
        await strict.get(Account, "a")
