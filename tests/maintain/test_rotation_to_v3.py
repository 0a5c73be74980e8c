"""Rotation from scheme v2 to v3: nothing planted is signed, nothing is lost, and afterwards v3 alone is accepted."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from tests.store.models import Place
from tornado_couch import Database, DocumentNotFound, Store, install
from tornado_couch.maintain.audit import audit
from tornado_couch.maintain.rotate import Rotation
from tornado_couch.revision import revision_of
from tornado_couch.security import KeyRing, Scheme, scheme_of, sign_document

RING = KeyRing.create()
NAMES = [f"p{number}" for number in range(30)]


@pytest.fixture
async def older(database: Database) -> Store:
    """A store that signs by v2, with thirty documents, of which a few are deleted and a few in conflict."""
    await install(database.server, database.name, [Place])  # type: ignore[arg-type]
    store = Store(database, signer=RING, scheme=Scheme.V2)
    for outcome in await store.create_many(Place, [Place(name=name) for name in NAMES]):
        assert isinstance(outcome, Place)
    for name in NAMES[:3]:
        await store.delete(Place, name)
    for name in NAMES[3:6]:
        held = await database.get(place_id(name))
        await store.update(Place, name, lambda latest: setattr(latest, "size", 1))
        await database.bulk_docs([other_leaf(held, database.name, Scheme.V2)], new_edits=False)
    return store


def place_id(name: str) -> str:
    return Place.__couch__.document_id(name) or ""  # type: ignore[union-attr]


def other_leaf(parent: dict[str, Any], database: str, scheme: Scheme) -> dict[str, Any]:
    """What the service wrote upon the same revision at another site."""
    body = {**parent, "size": 2}
    signed = sign_document(body, database=database, parent=parent["_rev"], signer=RING, scheme=scheme)
    revision = revision_of(parent["_rev"], False, {name: value for name, value in signed.items() if name[0] != "_"})
    path = [revision.partition("-")[2], parent["_rev"].partition("-")[2]]
    return {**signed, "_rev": revision, "_revisions": {"start": 2, "ids": path}}


async def rotated(database: Database, since: str | int = 0, **options: Any) -> tuple[int, list[str]]:
    """How many leaves were signed again, and what is wrong with others."""
    pages = [page async for page in Rotation(database, RING, **options).run(since=since)]
    return sum(page.renewed for page in pages), [each.reason for page in pages for each in page.findings]


async def faults(database: Database, *accept: Scheme) -> list[str]:
    pages = [page async for page in audit(database, RING, accept=accept)]
    return [finding.reason for page in pages for finding in page.findings]


async def test_a_database_is_brought_over(older: Store) -> None:
    """Documents, tombstones and conflicting leaves; afterwards v3 alone is accepted, and nothing is left to do."""
    database = older.database
    assert len(await faults(database, Scheme.V3)) == 33
    assert await rotated(database) == (33, [])
    assert await faults(database, Scheme.V3) == []
    assert await rotated(database) == (0, [])
    strict = Store(database, signer=RING, accept=[Scheme.V3], verify="history")
    assert (await strict.get(Place, NAMES[3])).size in (1, 2)
    result = await strict.reconciliation.reconcile(Place, place_id(NAMES[3]))
    assert (result.problems, result.leaves) == ([], 2)
    with pytest.raises(DocumentNotFound):
        await strict.get(Place, NAMES[0])


async def test_it_goes_back_to_v2_for_a_server_that_needs_it(older: Store) -> None:
    """The command's `--scheme v2` signs everything by that scheme again."""
    await rotated(older.database)
    assert await rotated(older.database, scheme=Scheme.V2) == (33, [])
    assert await faults(older.database, Scheme.V2) == []


async def test_an_interrupted_run_goes_on(older: Store) -> None:
    """From the place that it reached, or from the beginning."""
    async with aclosing(Rotation(older.database, RING).run(page_size=7)) as pages:
        first = await anext(pages)
    assert 0 < first.renewed < 33
    renewed, findings = await rotated(older.database, since=first.since)
    assert (first.renewed + renewed, findings) == (33, [])
    assert await faults(older.database, Scheme.V3) == []


async def test_beside_writers_nothing_is_lost(older: Store) -> None:
    """Each change of an instance that writes while two rotations run is there, and all is signed by v3."""
    newer = Store(older.database, signer=RING)

    def grow(latest: Place) -> None:
        latest.size += 1

    async def write(store: Store) -> None:
        for name in NAMES[6:14]:
            await store.update(Place, name, grow)

    await asyncio.gather(rotated(older.database), write(newer), rotated(older.database), write(newer))
    await rotated(older.database)
    assert await faults(older.database, Scheme.V3) == []
    strict = Store(older.database, signer=RING, accept=[Scheme.V3])
    assert [(await strict.get(Place, name)).size for name in NAMES[6:14]] == [2] * 8


async def test_what_was_planted_is_not_signed(older: Store) -> None:
    """Beside a leaf of v3 one of v2 proves nothing, and an unsigned one never does: both are reported and left."""
    database, name = older.database, NAMES[20]
    kept = await database.get(place_id(name))
    newer = Store(database, signer=RING)
    await newer.update(Place, name, lambda latest: setattr(latest, "size", 5))
    planted = {**kept, "_rev": "1-" + "f" * 32}
    unsigned = {"_id": place_id(NAMES[21]), "_rev": "1-" + "0" * 32, "type": "place_v1.0", "name": NAMES[21]}
    await database.bulk_docs([planted, unsigned], new_edits=False)
    _, findings = await rotated(database)
    assert sorted(findings) == ["rolled back", "unsigned"]
    (leaves,) = await database.bulk_get([place_id(name)])
    assert {leaf.rev: scheme_of(leaf.document or {}) for leaf in leaves}[planted["_rev"]] is Scheme.V2
    assert (await newer.get(Place, name)).size == 5
