"""The cache of reads: what it answers, how it is kept right, and when it says nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.faults import Fault, FaultProxy, reset, until
from tests.store.models import Fruit
from tornado_couch import Couch, Database, DocumentNotFound, Observer, Store, install
from tornado_couch.store import ReadCache
from tornado_couch.store.reading.cache import CachedAccess


class Asked(Observer):
    """Counts hits, misses and exchanges."""

    def __init__(self) -> None:
        self.hits: list[bool] = []
        self.exchanges: list[str] = []
        self.methods: list[str] = []

    def cache_asked(self, hit: bool) -> None:
        self.hits.append(hit)

    def exchange_began(self, method: str, template: str) -> None:
        self.methods.append(method)
        if "_changes" not in template:
            self.exchanges.append(template)


@pytest.fixture
async def asked() -> Asked:
    return Asked()


@pytest.fixture
async def store(proxy: FaultProxy, couch: Couch, database: Database, asked: Asked) -> AsyncIterator[Store]:
    """A store with a cache, which reaches CouchDB by way of the proxy."""
    await install(couch, database.name, [Fruit])
    async with Couch(proxy.url, observer=asked) as behind:
        store = Store(behind[database.name], cache=True)
        yield store
        await store.close()


def cache_of(store: Store) -> CachedAccess:
    assert store._cache is not None
    return store._cache


async def warm(store: Store, key: str) -> None:
    """Read until the answer comes from memory."""
    await store.get(Fruit, key)
    await until(lambda: cache_of(store).is_live)
    await store.get(Fruit, key)
    assert cache_of(store).documents >= 1


async def test_what_was_read_is_answered_from_memory(store: Store, asked: Asked) -> None:
    """Without a request, and the observers know."""
    key = (await store.create(Fruit(color="red"))).fruit_id
    await warm(store, key)
    asked.exchanges.clear()
    asked.hits.clear()
    found = [await store.get(Fruit, key) for _ in range(5)]
    assert (asked.exchanges, asked.hits) == ([], [True] * 5)
    assert [each.color for each in found] == ["red"] * 5
    assert len({id(each) for each in found}) == 5


async def test_what_this_store_writes_is_seen_at_once(store: Store, asked: Asked) -> None:
    """Updated, deleted, created again, and many at a time."""
    fruit = await store.create(Fruit(color="red"))
    await warm(store, fruit.fruit_id)
    for color in ("blue", "green", "red"):
        await store.update(Fruit, fruit.fruit_id, lambda each, color=color: setattr(each, "color", color))
        assert [(await store.get(Fruit, fruit.fruit_id)).color for _ in range(2)] == [color] * 2
    await store.delete(Fruit, fruit.fruit_id)
    with pytest.raises(DocumentNotFound):
        await store.get(Fruit, fruit.fruit_id)


async def test_what_others_write_is_seen_when_the_feed_tells_it(store: Store, database: Database) -> None:
    """Within the time that is stated, by far."""
    fruit = await store.create(Fruit(color="red"))
    await warm(store, fruit.fruit_id)
    await database.put({**await database.get(fruit.fruit_id), "color": "black"})
    end = asyncio.get_running_loop().time() + 10  # a loaded machine may need more than the stated time
    while (await store.get(Fruit, fruit.fruit_id)).color != "black":
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.01)


async def test_nothing_is_answered_from_memory_while_the_feed_is_silent(
    store: Store, database: Database, proxy: FaultProxy
) -> None:
    """A change is seen at once then, since each read goes to CouchDB."""
    fruit = await store.create(Fruit(color="red"))
    await warm(store, fruit.fruit_id)
    proxy.faults.append(Fault(reset, path="_changes", times=None))
    await database.put({**await database.get(fruit.fruit_id), "color": "black"})
    await until(lambda: not cache_of(store).is_live)
    assert (await store.get(Fruit, fruit.fruit_id)).color == "black"
    await database.put({**await database.get(fruit.fruit_id), "color": "white"})
    assert (await store.get(Fruit, fruit.fruit_id)).color == "white"
    proxy.faults.clear()
    await until(lambda: cache_of(store).is_live)


async def test_a_read_that_was_overtaken_by_a_change_is_not_kept(
    store: Store, database: Database, proxy: FaultProxy
) -> None:
    """The feed tells the change while the old answer is on its way; nobody would tell it again."""
    fruit, other = [await store.create(Fruit(color="red")) for _ in range(2)]
    await warm(store, other.fruit_id)

    async def overtaken(call: Any, forward: Any) -> None:
        reply = await forward()
        await database.put({**await database.get(fruit.fruit_id), "color": "black"})
        await until(lambda: fruit.fruit_id not in cache_of(store)._reading)
        await call.send(reply)

    proxy.faults.append(Fault(overtaken, path=f"/{fruit.fruit_id}"))
    assert (await store.get(Fruit, fruit.fruit_id)).color == "red"
    assert (await store.get(Fruit, fruit.fruit_id)).color == "black"


async def test_a_write_never_begins_with_what_is_in_memory(store: Store, database: Database, asked: Asked) -> None:
    """Even if the feed has not told yet that it is old."""
    fruit = await store.create(Fruit(color="red"))
    await warm(store, fruit.fruit_id)
    entry = cache_of(store)._entries[fruit.fruit_id]
    await database.put({**await database.get(fruit.fruit_id), "color": "black"})
    await until(lambda: fruit.fruit_id not in cache_of(store)._entries)
    cache_of(store)._entries[fruit.fruit_id] = entry
    seen: list[str] = []
    await store.update(Fruit, fruit.fruit_id, lambda each: seen.append(each.color))
    assert seen == ["black"]
    assert asked.methods.count("PUT") == 2  # without a conflict


async def test_a_caller_can_do_with_its_model_what_it_likes(store: Store) -> None:
    """The next one gets what is stored."""
    fruit = await store.create(Fruit(color="red", more={"list": [{"a": 1}]}))
    await warm(store, fruit.fruit_id)
    found = await store.get(Fruit, fruit.fruit_id)
    found.more["list"][0]["a"] = 2
    found._stored["color"] = "odd"
    again = await store.get(Fruit, fruit.fruit_id)
    assert (again.more, again._stored["color"]) == ({"list": [{"a": 1}]}, "red")


async def test_documents_in_conflict_and_missing_ones_are_not_kept(store: Store, database: Database) -> None:
    """They are rare, and not simple."""
    for digest in "ab":
        document = {
            "_id": "clash",
            "_rev": f"1-{digest * 32}",
            "type": "fruit_v1.0",
            "fruit_id": "clash",
            "color": digest,
        }
        times = {"created_on": "2024-01-01T00:00:00Z", "updated_on": "2024-01-01T00:00:00Z"}
        await database.bulk_docs([{**document, **times}], new_edits=False)
    fruit = await store.create(Fruit(color="red"))
    await warm(store, fruit.fruit_id)
    assert (await store.get(Fruit, "clash")).color == "b"
    with pytest.raises(DocumentNotFound):
        await store.get(Fruit, "missing")
    assert list(cache_of(store)._entries) == [fruit.fruit_id]


async def test_the_cache_keeps_to_its_limit(proxy: FaultProxy, couch: Couch, database: Database) -> None:
    """What was used least recently goes first; what takes a large part of it is not kept."""
    await install(couch, database.name, [Fruit])
    store = Store(database, cache=ReadCache(content_bytes=4000))
    keys = [(await store.create(Fruit(color="red"))).fruit_id for _ in range(20)]
    large = await store.create(Fruit(color="x" * 600))
    await warm(store, keys[0])
    for key in keys:
        await store.get(Fruit, key)
        await store.get(Fruit, keys[0])
    await store.get(Fruit, large.fruit_id)
    cache = cache_of(store)
    assert keys[0] in cache._entries
    assert keys[1] not in cache._entries
    assert large.fruit_id not in cache._entries
    assert cache._entries.currsize == sum(len(each.text) for each in cache._entries.values()) <= 4000
    await store.close()


async def test_old_entries_are_read_again_and_an_idle_cache_ends(couch: Couch, database: Database) -> None:
    """In any case after `age`; and without a read the feed is not followed."""
    await install(couch, database.name, [Fruit])
    store = Store(database, cache=ReadCache(age=0.001, idle=0.2, staleness=0.3))
    key = (await store.create(Fruit(color="red"))).fruit_id
    await store.get(Fruit, key)
    await until(lambda: cache_of(store).is_live)
    await store.get(Fruit, key)
    await asyncio.sleep(0.005)
    assert cache_of(store)._found(key, False) is None
    follower = cache_of(store)._follower
    await until(lambda: follower is not None and follower.done())
    assert cache_of(store).documents == 0
    await store.get(Fruit, key)  # which begins anew
    again = cache_of(store)._follower
    assert again is not None
    assert again is not follower
    await store.close()
    assert again.done()


@pytest.mark.parametrize("name", ["content_bytes", "staleness", "age", "idle"])
def test_a_limit_that_keeps_nothing_is_refused(name: str) -> None:
    """It would be a slow way to have no cache."""
    with pytest.raises(ValueError, match="greater than 0"):
        ReadCache(**{name: 0})
