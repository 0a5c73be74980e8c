"""Histories that were written at two sites at once: nothing is lost, and both sites end with the same."""

from __future__ import annotations

from typing import Annotated

import pytest

from tests.store.conftest import Sites
from tornado_couch import Encrypted, Model, Query, Store, install
from tornado_couch.maintain.audit import audit
from tornado_couch.maintain.rotate import Rotation
from tornado_couch.models import CONFLICTS_VIEW, version_of
from tornado_couch.security import KeyChain, KeyRing
from tornado_couch.store import Reprotection

RING = KeyRing.create()


class Page(Model, type="page_v1.0", key="name", history=True):
    name: str
    text: Annotated[str, Encrypted()]


class Task(Model, type="task_v1.0", key="name", unique=True, soft_delete=True):
    name: str
    text: str = ""
    size: int = 0


@pytest.fixture
async def stores(sites: Sites) -> list[Store]:
    for each in sites.databases:
        await install(each.server, each.name, [Page, Task])  # type: ignore[arg-type]
    return [Store(each, crypter=RING, signer=RING, verify="history") for each in sites.databases]


async def write(store: Store, *texts: str) -> None:
    for text in texts:
        await store.update(Page, "a", lambda page, text=text: setattr(page, "text", text))


async def conflicts(store: Store) -> list[str]:
    rows = (await store.database.view(CONFLICTS_VIEW, CONFLICTS_VIEW, reduce=False)).rows
    return [row.id or "" for row in rows]


async def reconcile(store: Store) -> None:
    for document_id in await conflicts(store):
        result = await store.reconciliation.reconcile(Page, document_id)
        assert result.problems == []


async def stored(store: Store) -> dict[str, str]:
    rows = (await store.database.all_docs(startkey="page:", endkey="page:\ufff0")).rows
    return {row.id or "": row.value["rev"] for row in rows}


async def test_versions_of_one_number_are_kept_beside_each_other(sites: Sites, stores: list[Store]) -> None:
    """Two reconcilers write the same documents; no conflict is left, and every acknowledged change is a version."""
    one, two = stores
    await one.create(Page(name="a", text="first"))
    await sites.exchange()
    await write(one, "1a", "1b", "1c")
    await write(two, "2a", "2b")
    await sites.exchange()
    assert await conflicts(one) == await conflicts(two) == ["page:a:0000000002", "page:a:0000000003"]
    # Before that is settled, too, both sites read the same.
    assert (await one.get(Page, "a")).text == (await two.get(Page, "a")).text == "1c"
    await reconcile(one)
    await reconcile(two)
    await sites.exchange()
    assert await conflicts(one) == await conflicts(two) == []
    assert await stored(one) == await stored(two)
    for store in stores:
        page = await store.versions(Page, "a")
        assert sorted(each.text for each in page.items) == sorted(["first", "1a", "1b", "1c", "2a", "2b"])
        assert [version_of(each._stored).number for each in page.items] == [4, 3, 3, 2, 2, 1]
        beside = [each for each in page.items if version_of(each._stored).branch]
        assert len(beside) == 2
        for each in beside:
            assert (await store.version(Page, "a", version_of(each._stored).name)).text == each.text
        assert [each.text for each in (await store.find(Page)).items] == ["1c"]
        assert (await store.find(Page, Query(), count=True)).total == 1
    await write(two, "next")
    assert version_of((await two.get(Page, "a"))._stored).number == 5
    findings = [found async for part in audit(one.database, RING) for found in part.findings]
    assert findings == []


async def test_what_was_kept_beside_is_rotated_like_the_others(sites: Sites, stores: list[Store]) -> None:
    """Its values are bound to the id that they were written under, and decrypt with new keys."""
    one, two = stores
    await one.create(Page(name="a", text="first"))
    await sites.exchange()
    await write(one, "1a")
    await write(two, "2a")
    await sites.exchange()
    await reconcile(one)
    new = KeyRing.create()
    chain = KeyChain(new, RING)
    rotation = Rotation(one.database, chain, protect=Reprotection(chain, models=[Page]))
    assert [found async for part in rotation.run() for found in part.findings] == []
    fresh = Store(one.database, crypter=new, signer=new)
    texts = [each.text for each in (await fresh.versions(Page, "a")).items]
    assert sorted(texts) == ["1a", "2a", "first"]


@pytest.mark.parametrize("site", [0, 1])
async def test_a_document_deleted_at_one_site_and_changed_at_the_other_is_deleted(
    sites: Sites, stores: list[Store], site: int
) -> None:
    """Where a deletion is a mark, it is merged as a change like others: what was changed comes back with it."""
    await stores[0].create(Task(name="a", text="x"))
    await sites.exchange()
    await stores[site].delete(Task, "a")
    await stores[1 - site].update(Task, "a", lambda task: setattr(task, "size", 7))
    await sites.exchange()
    for store in stores:
        await store.reconciliation.reconcile(Task, "task:a")
    await sites.exchange()
    assert await conflicts(stores[0]) == await conflicts(stores[1]) == []
    for store in stores:
        assert [each.size for each in (await store.find(Task, Query(deleted=True))).items] == [7]
    back = await stores[0].restore(Task, "a")
    assert (back.text, back.size) == ("x", 7)
