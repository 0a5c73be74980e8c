"""Random histories of edits at two sites that replicate and reconcile: what was acknowledged is in the end at both."""

from __future__ import annotations

import asyncio
import itertools
from typing import Annotated, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults import until
from tests.store.conftest import Sites
from tornado_couch import CreatedOn, Encrypted, Hashed, Merge, Model, Reconciler, Retry, Store, UpdatedOn, install
from tornado_couch.security import KeyRing, verify_document

RING = KeyRing.create()
NUMBERS = itertools.count()


class EditedItem(Model, type="item_v1.0", key="name", unique=True):
    name: str
    stock: Annotated[int, Merge.sum_of_changes] = 0
    tags: Annotated[list[str], Merge.union] = []  # noqa: RUF012 - pydantic copies it
    best: Annotated[int, Merge.max] = 0
    text: Annotated[str, Merge.text] = ""
    color: str = "first"
    email: Annotated[str | None, Encrypted(searchable=True)] = None
    pin: Annotated[str | None, Hashed(cost=4)] = None
    created_on: CreatedOn
    updated_on: UpdatedOn


class Ledger:
    """What was acknowledged, and what it has to come to."""

    def __init__(self, name: str) -> None:
        self.numbers = itertools.count(1)
        self.stock = 0
        self.best = 0
        self.tags: set[str] = set()
        self.removed: set[str] = set()
        self.lines: set[str] = set()
        self.values: dict[str, set[str]] = {"color": {"first"}, "email": {f"first of {name}"}}
        self.overwritten: dict[str, set[str]] = {"color": set(), "email": set()}
        self.pins = ["first"]

    def edit(self, kind: str, item: EditedItem) -> Any:
        """Change an item; what comes back makes the change count, once it is acknowledged."""
        number = next(self.numbers)
        return getattr(self, f"_{kind}")(item, number)

    def _add(self, item: EditedItem, number: int) -> Any:
        item.stock += number
        return lambda: setattr(self, "stock", self.stock + number)

    def _tag(self, item: EditedItem, number: int) -> Any:
        item.tags.append(f"t{number}")
        return lambda: self.tags.add(f"t{number}")

    def _untag(self, item: EditedItem, number: int) -> Any:
        gone = item.tags.pop(0) if item.tags else None
        return lambda: self.removed.add(gone or "")

    def _raise(self, item: EditedItem, number: int) -> Any:
        item.best = max(item.best, number)
        return lambda: setattr(self, "best", max(self.best, number))

    def _write(self, item: EditedItem, number: int) -> Any:
        item.text += f"line {number}\n"
        return lambda: self.lines.add(f"line {number}")

    def _paint(self, item: EditedItem, number: int) -> Any:
        return self._set("color", item, number)

    def _mail(self, item: EditedItem, number: int) -> Any:
        return self._set("email", item, number)

    def _set(self, name: str, item: EditedItem, number: int) -> Any:
        before = getattr(item, name)
        value = f"{number} of {item.name}"
        setattr(item, name, value)

        def count() -> None:
            self.values[name].add(value)
            self.overwritten[name].add(before)

        return count

    def _lock(self, item: EditedItem, number: int) -> Any:
        item.pin = f"p{number}"
        return lambda: self.pins.append(f"p{number}")

    async def check(self, store: Store, item: EditedItem) -> None:
        """Hold an item against what was acknowledged."""
        assert item.stock == self.stock
        assert sorted(item.tags) == sorted(self.tags - self.removed)
        assert item.best == self.best
        assert sorted(item.text.split("\n")) == sorted({*self.lines, ""})
        for name in ("color", "email"):
            assert getattr(item, name) in self.values[name] - self.overwritten[name]
        assert any([await item.verify("pin", each) for each in self.pins])
        assert (await store.find(EditedItem, by="email", key=item.email)).items.count(item) == 1


EDITS = ["add", "tag", "untag", "raise", "write", "paint", "mail", "lock"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(EDITS), st.integers(0, 1)),
        st.tuples(st.sampled_from(["replicate", "reconcile"]), st.integers(0, 1)),
    ),
    max_size=14,
)


@pytest.fixture
async def stores(sites: Sites) -> list[Store]:
    for each in sites.databases:
        await install(each.server, each.name, [EditedItem])  # type: ignore[arg-type]
    return [Store(each, signer=RING, crypter=RING, verify="history") for each in sites.databases]


async def edit(store: Store, ledger: Ledger, kind: str, name: str) -> None:
    """One acknowledged change."""
    counted: list[Any] = []
    await store.update(EditedItem, name, lambda latest: counted.append(ledger.edit(kind, latest)))
    counted[-1]()  # of several tries the last one was written


async def settle(sites: Sites, stores: list[Store], document_id: str) -> None:
    """Replicate and reconcile at both sites at once, until nothing changes any more; that is soon."""
    for _ in range(4):
        await sites.exchange()
        first, second = await sites.leaves(document_id)
        if first == second and len(first) == 1:
            return
        # Replication brings leaves only: one site may have an ancestor's contents that the other one needs.
        results = await asyncio.gather(*(each.reconciliation.reconcile(EditedItem, document_id) for each in stores))
        assert not all(each.problems for each in results)
    raise AssertionError("it goes on and on")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
async def test_every_acknowledged_change_is_there_at_both_sites(
    sites: Sites, stores: list[Store], steps: list[tuple[str, int]]
) -> None:
    """Under its rule, whatever was replicated or merged in between; signed, encrypted and hashed properties too."""
    name = f"item-{next(NUMBERS)}"
    ledger = Ledger(name)
    await stores[0].create(EditedItem(name=name, pin="first", email=f"first of {name}"))
    await sites.replicate(0, 1)
    for kind, site in steps:
        if kind == "replicate":
            await sites.replicate(site, 1 - site)
        elif kind == "reconcile":
            await stores[site].reconciliation.reconcile(EditedItem, f"item:{name}")
        else:
            await edit(stores[site], ledger, kind, name)
    await settle(sites, stores, f"item:{name}")
    for store in stores:
        await ledger.check(store, await store.get(EditedItem, name))
        assert (await store.database.view("conflicts", "conflicts")).rows == []
        (leaves,) = await store.database.bulk_get([f"item:{name}"], revs=True)
        for leaf in (each.document for each in leaves if each.document):
            verify_document(leaf, database=store.database.name, verifier=RING, revisions=leaf["_revisions"])


async def test_two_reconcilers_beside_writers_and_replication(sites: Sites, stores: list[Store]) -> None:
    """All at once: each site has its reconciler and its writers, and everything is replicated all the time."""
    ledgers = {name: Ledger(name) for name in "ab"}
    for name in ledgers:
        await stores[0].create(EditedItem(name=name, pin="first", email=f"first of {name}"))
    await sites.exchange()
    writing = True

    async def write(site: int, name: str) -> None:
        for kind in ["add", "tag", "write", "raise", "paint", "add", "mail", "untag", "tag", "add"]:
            await edit(stores[site], ledgers[name], kind, name)
            await asyncio.sleep(0.005)

    async def replicate() -> None:
        while writing:
            await sites.exchange()

    fast: dict[str, Any] = {"interval": 0.01, "lease_seconds": 2.0, "settle": 0.05, "retry": Retry(base=0.01, cap=0.05)}
    async with (
        Reconciler(stores[0], [EditedItem], **fast) as first,
        Reconciler(stores[1], [EditedItem], **fast) as second,
    ):
        await until(lambda: first.stats.leading and second.stats.leading)  # each site has a lease of its own
        replication = asyncio.create_task(replicate())
        await asyncio.gather(*(write(site, name) for site in (0, 1) for name in ledgers))
        writing = False
        await replication

        async def is_settled() -> bool:
            await sites.exchange()
            found = [await sites.leaves(f"item:{name}") for name in ledgers]
            return all(one == other and len(one) == 1 for one, other in found)

        await until(is_settled)
        await until(lambda: not first.stats.kept and not second.stats.kept)
        assert first.stats.merged + second.stats.merged > 0
    for name, ledger in ledgers.items():
        for store in stores:
            await ledger.check(store, await store.get(EditedItem, name))
