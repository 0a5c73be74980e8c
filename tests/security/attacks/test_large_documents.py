"""Large documents: one request reads a bounded number of bytes, however many documents it asks for."""

from __future__ import annotations

import asyncio

import pytest

from tests.security.attacks.conftest import Victim
from tests.web.conftest import path
from tornado_couch import Database

LARGE, COUNT = 900_000, 80


async def stored(database: Database, count: int) -> list[str]:
    """Store documents of 0.9 MB, and return their keys in order."""
    names = [f"{number:032x}" for number in range(count)]
    for group in range(0, count, 10):
        documents = [
            {"_id": name, "type": "bag_v1.0", "bag_id": name, "text": name + "x" * LARGE, "free": None}
            for name in names[group : group + 10]
        ]
        await database.bulk_docs(documents)
    return names


@pytest.fixture
async def keys(victim: Victim, database: Database) -> list[str]:
    """The keys of 80 documents of 0.9 MB, in order."""
    names = await stored(database, COUNT)
    assert len((await victim.ask("GET", "/bags?limit=1")).json["items"]) == 1  # builds the view
    return names


async def pages(victim: Victim, address: str, relation: str) -> list[list[str]]:
    found = []
    while address:
        reply = (await victim.ask("GET", address)).json
        found.append([each["bag_id"] for each in reply["items"]])
        address = reply.get(relation, "")
    return found


async def test_a_page_ends_early_where_its_documents_are_large(victim: Victim, keys: list[str]) -> None:
    """80 of 0.9 MB took 209 MiB; a page has 8 MiB of them, and a link to the next."""
    victim.begin()
    forward = await pages(victim, "/bags?limit=1000", "next")
    assert [key for page in forward for key in page] == keys
    assert max(map(len, forward)) <= 9
    assert victim.grown() < 64, f"{victim.grown():.0f} MiB"


async def test_a_page_that_is_read_backward_ends_early_too(victim: Victim, keys: list[str]) -> None:
    """None is skipped or repeated on the way back."""
    first = (await victim.ask("GET", "/bags?limit=1000&sort=-bag_id")).json
    second = (await victim.ask("GET", first["next"])).json
    third = (await victim.ask("GET", second["next"])).json
    back = await pages(victim, third["prev"], "prev")
    shown = [[each["bag_id"] for each in page["items"]] for page in (first, second)]
    assert [key for page in reversed(back) for key in page] == [key for page in shown for key in page]


async def test_an_export_holds_a_page_at_a_time(victim: Victim, keys: list[str]) -> None:
    """500 documents were read at a time."""
    victim.begin()
    size = 0
    async with victim.ask.session.get(victim.ask.url + "/bags", headers={"Accept": "application/x-ndjson"}) as reply:
        async for chunk in reply.content.iter_any():
            size += len(chunk)
    assert size > COUNT * LARGE
    assert victim.grown() < 64, f"{victim.grown():.0f} MiB"


async def test_a_bulk_request_changes_a_bounded_number_of_bytes(victim: Victim, keys: list[str]) -> None:
    """The operations whose documents would be too much get 413, and the others are carried out."""
    victim.begin()
    operations = [{"action": "replace", "key": key, "document": {"free": 1}} for key in keys]
    reply = await victim.ask("POST", "/bags/_bulk", {"operations": operations}, Prefer="return=minimal")
    assert reply.status == 200, reply.text[:300]
    statuses = [each["status"] for each in reply.json["items"]]
    assert set(statuses) == {200, 413} or set(statuses) == {204, 413}
    assert statuses == sorted(statuses)
    assert 30 < statuses.count(413) < 60
    assert victim.grown() < 250, f"{victim.grown():.0f} MiB"


async def unread(victim: Victim, count: int, request: str) -> list[asyncio.StreamWriter]:
    """Ask, and never read the answer."""
    opened = []
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", victim.port, limit=1)
        writer.write(request.encode())
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        opened.append(writer)
    return opened


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
async def test_clients_that_do_not_read_take_a_bounded_memory(victim: Victim, keys: list[str], accept: str) -> None:
    """Six took 183 MiB, and more took more, for as long as they liked."""
    victim.begin()
    query = "?limit=1000" if accept == "application/json" else ""
    request = f"GET /bags{query} HTTP/1.1\r\nHost: a\r\nAccept: {accept}\r\n\r\n"
    writers = []
    for _ in range(12):
        writers += await unread(victim, 2, request)
        await asyncio.sleep(0.2)
    assert (await victim.ask("GET", "/_live")).status == 200
    assert victim.grown() < 250, f"{victim.grown():.0f} MiB"
    for writer in writers:
        writer.close()


async def test_many_pages_at_once_take_a_bounded_memory(victim: Victim, database: Database) -> None:
    """40 exports took 631 MiB. A client that waits in vain gets 503 and `Retry-After`; small answers come meanwhile."""
    small = path(await victim.ask("POST", "/bags", {"text": "small"})).rpartition("/")[2]
    await stored(database, 20)
    assert (await victim.ask("GET", "/bags?limit=1")).status == 200  # builds the view
    victim.begin()

    async def read(accept: str) -> int:
        query = "?limit=1000" if accept == "application/json" else ""
        async with victim.ask.session.get(victim.ask.url + "/bags" + query, headers={"Accept": accept}) as reply:
            if reply.status == 200:
                async for _ in reply.content.iter_any():
                    pass
                return 200
            assert int(reply.headers["Retry-After"]) > 0
            assert (await reply.json(content_type=None))["type"].endswith(":overloaded")
            return reply.status

    reading = [asyncio.create_task(read(accept)) for accept in ("application/json", "application/x-ndjson") * 12]
    found = await victim.ask("GET", f"/bags?bag_id={small}")
    assert [each["text"] for each in found.json["items"]] == ["small"]
    assert {200} <= set(await asyncio.gather(*reading)) <= {200, 503}  # on a quick machine none waits in vain
    assert victim.grown() < 300, f"{victim.grown():.0f} MiB"
    assert (await victim.ask("GET", "/bags?limit=1000")).status == 200  # all was given back
