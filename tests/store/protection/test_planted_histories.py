"""Random histories of a service and of somebody who owns the database and has kept everything that was ever in it."""

from __future__ import annotations

import asyncio
import itertools
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tornado_couch import Database, DocumentExists, DocumentNotFound, Merge, Model, Store, install
from tornado_couch.errors import Conflict, InvalidSignature, NotFound
from tornado_couch.maintain.audit import Auditor
from tornado_couch.revision import revision_of
from tornado_couch.security import SIGNATURE_PROPERTY, KeyRing, Scheme

RING = KeyRing.create()
NAMES = itertools.count()


class Purse(Model, type="purse_v1.0", key="name", unique=True):
    name: str
    coins: Annotated[int, Merge.max] = 0


STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["create", "update", "update", "delete", "reconcile"]), st.none(), st.none()),
        st.tuples(
            st.sampled_from(
                ["put", "plant", "plant_alone", "plant_below", "plant_true", "plant_digest", "strip", "delete_unsigned"]
            ),
            st.integers(0, 20),
            st.integers(0, 20),
        ),
    ),
    min_size=3,
    max_size=14,
)


class History:
    """One document, what the service wrote last, and what the attacker has seen."""

    def __init__(self, store: Store, name: str) -> None:
        self.store, self.name = store, name
        self.id = Purse.__couch__.document_id(name) or ""  # type: ignore[union-attr]
        self.latest: int | None = None  # None if the document is not there
        self.coins = itertools.count(1)
        self.seen: dict[str, dict[str, Any]] = {}

    async def step(self, kind: str, one: int | None, other: int | None) -> None:
        """Take one step, and remember what is in the database afterwards."""
        try:
            if one is None or other is None:
                await getattr(self, f"_{kind}")()
            elif self.seen:
                kept = list(self.seen.values())
                await getattr(self, f"_{kind}")(kept[one % len(kept)], kept[other % len(kept)])
        except (Conflict, DocumentExists, DocumentNotFound, InvalidSignature, NotFound):
            pass
        (leaves,) = await self.store.database.bulk_get([self.id], revs=True)
        self.seen.update({leaf.document["_rev"]: leaf.document for leaf in leaves if leaf.document})

    # ------------------------------------------------------------ the service

    async def _create(self) -> None:
        coins = next(self.coins)
        await self.store.create(Purse(name=self.name, coins=coins))
        self.latest = coins

    async def _update(self) -> None:
        coins = next(self.coins)
        await self.store.update(Purse, self.name, lambda latest: setattr(latest, "coins", coins))
        self.latest = coins

    async def _delete(self) -> None:
        await self.store.delete(Purse, self.name)
        self.latest = None

    async def _reconcile(self) -> None:
        result = await self.store.reconciliation.reconcile(Purse, self.id)
        assert result.merged == 0

    # ------------------------------------------------------------ the attacker

    async def _write(self, document: dict[str, Any], revision: str, path: list[str]) -> None:
        ids = [each.partition("-")[2] for each in (revision, *path)]
        start = int(revision.partition("-")[0])
        planted = {**document, "_rev": revision, "_revisions": {"start": start, "ids": ids}}
        await self.store.database.bulk_docs([planted], new_edits=False)

    async def _put(self, body: dict[str, Any], upon: dict[str, Any]) -> None:
        kept = {name: value for name, value in body.items() if name != "_revisions"}
        await self.store.database.put({**kept, "_rev": upon["_rev"]})

    async def _plant(self, body: dict[str, Any], upon: dict[str, Any]) -> None:
        path = _path(upon)
        await self._write(body, f"{len(path) + 1}-{'f' * 32}", path)

    async def _plant_alone(self, body: dict[str, Any], upon: dict[str, Any]) -> None:
        """Without a history, in the generation of something else."""
        await self._write(body, f"{_path(upon)[0].partition('-')[0]}-{'e' * 32}", [])

    async def _plant_below(self, body: dict[str, Any], upon: dict[str, Any]) -> None:
        """Beside something else, as the one that loses."""
        path = _path(upon)[1:]
        await self._write(body, f"{int(_path(upon)[0].partition('-')[0])}-{'0' * 32}", path)

    async def _plant_true(self, body: dict[str, Any], upon: dict[str, Any]) -> None:
        """The revision that it had, upon whatever path has the right length, or upon none."""
        generation = int(body["_rev"].partition("-")[0])
        path = _path(upon)[: generation - 1] if upon is not body else _path(body)[1:]
        fits = path and int(path[0].partition("-")[0]) == generation - 1
        await self._write(body, body["_rev"], path if fits else [])

    async def _plant_digest(self, body: dict[str, Any], upon: dict[str, Any]) -> None:
        """What CouchDB itself would make of it, with the numbers written as floats."""
        members = {name: value for name, value in body.items() if name[0] != "_"}
        if "coins" in members:
            members["coins"] = float(members["coins"])
        revision = revision_of(upon["_rev"], False, members)
        await self._write({"_id": self.id, **members}, revision, _path(upon))

    async def _strip(self, body: dict[str, Any], upon: dict[str, Any]) -> None:
        await self._put({name: value for name, value in body.items() if name != SIGNATURE_PROPERTY}, upon)

    async def _delete_unsigned(self, _body: dict[str, Any], upon: dict[str, Any]) -> None:
        await self.store.database.delete(self.id, upon["_rev"])

    # ------------------------------------------------------------ what has to hold

    async def check(self) -> None:
        """A read returns what the service wrote last, or an error; lists have nothing else."""
        try:
            found = (await self.store.get(Purse, self.name)).coins
        except DocumentNotFound:
            assert self.latest is None
        except InvalidSignature:
            (leaves,) = await self.store.database.bulk_get([self.id], revs=True)
            auditor = Auditor(self.store.database.name, RING, [Scheme.V3, Scheme.V2])
            assert auditor.judged([leaf.document for leaf in leaves if leaf.document])
        else:
            assert found == self.latest


def _path(document: dict[str, Any]) -> list[str]:
    start, ids = document["_revisions"]["start"], document["_revisions"]["ids"]
    return [f"{start - age}-{each}" for age, each in enumerate(ids)]


@pytest.fixture
async def store(database: Database) -> Store:
    """A store that signs."""
    await install(database.server, database.name, [Purse])  # type: ignore[arg-type]
    return Store(database, signer=RING)


async def lived(store: Store, steps: list[Any]) -> None:
    """One history from its beginning to its end."""
    history = History(store, f"p{next(NAMES)}")
    await history.step("create", None, None)
    for kind, one, other in steps:
        await history.step(kind, one, other)
        await history.check()


# Ten histories or more go on side by side, so that their requests are joined, and a hundred take as long as ten would.
@settings(max_examples=9, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories=st.lists(STEPS, min_size=10, max_size=15))
async def test_what_is_read_is_what_the_service_wrote_last(store: Store, histories: list[list[Any]]) -> None:
    """Whatever was planted: never an older body, never a merge; and what is withheld is named by the audit."""
    await asyncio.gather(*(lived(store, each) for each in histories))
