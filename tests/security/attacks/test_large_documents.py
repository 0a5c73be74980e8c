"""Large documents: one request reads a bounded number of bytes, and all together hold a bounded number of them."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Annotated

import aiohttp
import pytest

from tests.security.attacks.conftest import Victim, attacked
from tests.security.attacks.victim import MOST, Bag
from tests.web.conftest import Client, Reply, Serve, application
from tornado_couch import (
    AllowAny,
    Application,
    Couch,
    Database,
    Indexed,
    Key,
    Model,
    Query,
    Store,
    assigned,
    install,
    resource,
)

LARGE, COUNT = 900_000, 48

KEYS = [f"{number:032x}" for number in range(COUNT)]

NDJSON, MERGE = "application/x-ndjson", "application/merge-patch+json"


async def stored(database: Database, keys: list[str]) -> None:
    """Store documents of 0.9 MB."""
    for place in range(0, len(keys), 12):
        documents = [
            {"_id": key, "type": "bag_v1.0", "bag_id": key, "text": key + "x" * LARGE, "free": None}
            for key in keys[place : place + 12]
        ]
        await database.bulk_docs(documents)


@pytest.fixture(scope="module")
def shelf(server_url: str) -> Iterator[str]:
    """The name of a database that has 48 documents of 0.9 MB; no test changes their texts."""
    name = f"test-{uuid.uuid4().hex}"

    async def fill() -> None:
        async with Couch(server_url) as couch:
            await couch.create_database(name)
            await install(couch, name, [Bag])
            await stored(couch[name], KEYS)

    async def remove() -> None:
        async with Couch(server_url) as couch:
            await couch.delete_database(name)

    asyncio.run(fill())
    yield name
    asyncio.run(remove())


@pytest.fixture
async def full(server_url: str, shelf: str) -> AsyncIterator[Victim]:
    """A service with these documents."""
    async with attacked(server_url, shelf) as found:
        assert (await found.ask("GET", "/bags?limit=1")).status == 200  # builds the view
        yield found


async def pages(victim: Victim, address: str, relation: str) -> list[list[str]]:
    found = []
    while address:
        reply = (await victim.ask("GET", address)).json
        found.append([each["bag_id"] for each in reply["items"]])
        address = reply.get(relation, "")
    return found


async def test_a_page_ends_early_where_its_documents_are_large(full: Victim) -> None:
    """80 of 0.9 MB took 209 MiB; a page has 8 MiB of them, and a link to the next."""
    full.begin()
    forward = await pages(full, "/bags?limit=1000", "next")
    assert [key for page in forward for key in page] == KEYS
    assert max(map(len, forward)) <= 9
    assert full.grown() < 64, f"{full.grown():.0f} MiB"


async def test_a_page_that_is_read_backward_ends_early_too(full: Victim) -> None:
    """None is skipped or repeated on the way back."""
    first = (await full.ask("GET", "/bags?limit=1000&sort=-bag_id")).json
    second = (await full.ask("GET", first["next"])).json
    third = (await full.ask("GET", second["next"])).json
    back = await pages(full, third["prev"], "prev")
    shown = [[each["bag_id"] for each in page["items"]] for page in (first, second)]
    assert [key for page in reversed(back) for key in page] == [key for page in shown for key in page]


async def test_an_export_holds_a_page_at_a_time(full: Victim) -> None:
    """500 documents were read at a time."""
    full.begin()
    size = 0
    async with full.ask.session.get(full.ask.url + "/bags", headers={"Accept": NDJSON}) as reply:
        async for chunk in reply.content.iter_any():
            size += len(chunk)
    assert size > COUNT * LARGE
    assert full.grown() < 64, f"{full.grown():.0f} MiB"


async def test_a_bulk_request_changes_a_bounded_number_of_bytes(victim: Victim, database: Database) -> None:
    """The operations whose documents would be too much get 413, and the others are carried out."""
    await stored(database, KEYS)
    victim.begin()
    operations = [{"action": "replace", "key": key, "document": {"free": 1}} for key in KEYS]
    reply = await victim.ask("POST", "/bags/_bulk", {"operations": operations}, Prefer="return=minimal")
    assert reply.status == 200, reply.text[:300]
    statuses = [each["status"] for each in reply.json["items"]]
    assert set(statuses) == {200, 413}
    assert statuses == sorted(statuses)
    assert 5 < statuses.count(413) < COUNT - 15
    assert victim.grown() < MOST, f"{victim.grown():.0f} MiB"


async def unread(victim: Victim, requests: list[str], opened: list[asyncio.StreamWriter]) -> None:
    """Ask, and never read the answer."""
    for each in requests:
        reader, writer = await asyncio.open_connection("127.0.0.1", victim.port, limit=1)
        writer.write(each.encode())
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        opened.append(writer)


class Label(Model, type="label_v1.0", key="label_id"):
    label_id: Key = assigned()
    text: Annotated[str, Indexed()]


async def test_rows_with_long_keys_are_read_in_bounded_numbers(database: Database, serve: Serve) -> None:
    """A page read the keys of all its rows, however long; a `Link` of a megabyte is nothing that a client reads."""
    await install(database.server, database.name, [Label])  # type: ignore[arg-type]
    store, texts = Store(database), [f"{number:02}" + "x" * 400_000 for number in range(24)]
    await store.create_many(Label, [Label(text=text) for text in texts])
    found, page = [], await store.find(Label, Query(sort=["text"]), limit=1000)
    while True:
        found += [each.text for each in page.items]
        assert len(page.items) < 24
        if page.next is None:
            break
        page = await store.find(Label, Query(sort=["text"]), limit=1000, start=page.next)
    assert found == texts
    ask = await serve(Application(resource("/labels", Label, store), policy=AllowAny()))
    reply = await ask("GET", "/labels?sort=text&limit=1000")
    assert reply.status == 200
    assert [each["text"] for each in reply.json["items"]] == texts[: len(reply.json["items"])]
    assert "next" in reply.json
    assert "Link" not in reply.headers


UNREAD = {
    "pages": ["GET /bags?limit=1000 HTTP/1.1\r\nHost: a\r\n\r\n"] * 24,
    "exports": [f"GET /bags HTTP/1.1\r\nHost: a\r\nAccept: {NDJSON}\r\n\r\n"] * 24,
    "documents": [f"GET /bags/{key} HTTP/1.1\r\nHost: a\r\n\r\n" for key in KEYS * 4],
}


@pytest.mark.parametrize("requests", UNREAD.values(), ids=UNREAD)
async def test_clients_that_do_not_read_take_a_bounded_memory(full: Victim, requests: list[str]) -> None:
    """Six took 183 MiB, and more took more, for as long as they liked; documents one by one were not counted."""
    full.begin()
    writers: list[asyncio.StreamWriter] = []
    try:
        for place in range(0, len(requests), len(requests) // 12):
            await unread(full, requests[place : place + len(requests) // 12], writers)
            await asyncio.sleep(0.2)
        assert (await full.ask("GET", "/_live")).status == 200
        assert full.grown() < MOST, f"{full.grown():.0f} MiB"
    finally:
        for writer in writers:  # otherwise a failure would be one of later tests as well, which find them unclosed
            writer.close()


async def insisted(send: Callable[[], Awaitable[Reply]]) -> Reply:
    """Ask until the answer is a whole one, and another one than that there is no room now."""
    while True:
        try:
            reply = await send()
        except aiohttp.ClientError:  # this process was too busy to read it in time
            continue
        if reply.status != 503:
            return reply
        assert reply.json["type"].endswith(":overloaded")
        await asyncio.sleep(int(reply.headers["Retry-After"]) / 4)


async def test_many_large_answers_at_once_take_a_bounded_memory(full: Victim) -> None:
    """40 exports took 631 MiB. Each client that asks again has its whole answer in the end."""
    full.begin()

    async def page() -> None:
        reply = await insisted(lambda: full.ask("GET", "/bags?limit=1000"))
        assert [each["bag_id"] for each in reply.json["items"]] == KEYS[: len(reply.json["items"])]

    async def export() -> None:
        reply = await insisted(lambda: full.ask("GET", "/bags", Accept=NDJSON))
        assert [json.loads(line)["bag_id"] for line in reply.text.splitlines()] == KEYS

    async def document(key: str) -> None:
        assert (await insisted(lambda: full.ask("GET", f"/bags/{key}"))).json["bag_id"] == key

    await asyncio.gather(*(page() for _ in range(5)), *(export() for _ in range(3)), *map(document, KEYS))
    assert full.grown() < MOST, f"{full.grown():.0f} MiB"


async def test_many_changes_of_large_documents_take_a_bounded_memory(full: Victim) -> None:
    """A change of some bytes kept what it had read, and what it wrote, for as long as another one took."""
    full.begin()

    async def change(key: str) -> Reply:
        return await full.ask("PATCH", f"/bags/{key}", data=b'{"free":1}', Content_Type=MERGE, Prefer="return=minimal")

    replies = await asyncio.gather(*(insisted(lambda key=key: change(key)) for key in KEYS))  # type: ignore[misc]
    assert {each.status for each in replies} == {204}
    assert full.grown() < MOST, f"{full.grown():.0f} MiB"


async def test_what_clients_send_leaves_the_memory_with_the_answer(victim: Victim) -> None:
    """Bodies stayed until the garbage collector ran, which is seldom: 60 of 0.9 MB took 60 MiB."""
    text = json.dumps({"text": "x" * LARGE}).encode()
    create = b'{"operations":[{"action":"create","document":%b}]}' % text
    for _ in range(3):
        assert (await victim.ask("POST", "/bags", data=text, Content_Type="application/json")).status == 201
    victim.begin()
    for address, body in (("/bags", text), ("/bags/_bulk", create), ("/bags/none", text)):
        for _ in range(25):
            await victim.ask("POST", address, data=body, Content_Type="application/json", Prefer="return=minimal")
    assert victim.grown() < 20, f"{victim.grown():.0f} MiB"


async def test_who_waits_in_vain_is_told_when_to_come_again(store: Store, database: Database, serve: Serve) -> None:
    """Small documents are served meanwhile, and afterwards all that was given is back."""
    await install(database.server, database.name, [Bag])  # type: ignore[arg-type]
    await stored(database, KEYS[:2])
    app = application(store, *resource("/bags", Bag, store), max_prepared=2**20, prepare_seconds=0.05)
    ask: Client = await serve(app)
    small = str((await ask("POST", "/bags", {"text": "small"})).headers["Location"])
    large, patch = f"/bags/{KEYS[0]}", {"data": b'{"free":1}', "Content_Type": MERGE}
    with app.room.share() as others:
        await others.widen(2**20)
        for method, address, body in (("GET", "/bags", {}), ("GET", large, {}), ("HEAD", large, {}),
                                      ("GET", f"{large}/conflicts", {}), ("PATCH", large, patch)):  # fmt: skip
            reply = await ask(method, address, **body)
            assert (method, address, reply.status) == (method, address, 503)
            assert int(reply.headers["Retry-After"]) > 0
        assert (await ask("GET", small)).json["text"] == "small"
    assert (await ask("GET", large)).json["text"].startswith(KEYS[0])
    assert (await ask("PATCH", large, **patch)).status == 200
