"""No request holds the event loop: each attack costs the process a bounded time, whatever it sends."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Annotated, Any

import pytest
from pydantic import Field

from tests.security.attacks.conftest import Probe
from tests.web.conftest import Client, Serve, application, path
from tornado_couch import Database, Key, Model, Store, assigned, install, resource
from tornado_couch.security.key_ring import KeyRing
from tornado_couch.web import Authenticated, BasicAccounts

Watch = Callable[[], AbstractAsyncContextManager[Probe]]

MERGE, PATCH, NDJSON = "application/merge-patch+json", "application/json-patch+json", "application/x-ndjson"


class Bag(Model, type="bag_v1.0", key="bag_id"):
    bag_id: Key = assigned()
    items: list[int] = Field(default_factory=list)
    records: Annotated[list[dict[str, Any]], Field(default_factory=list, json_schema_extra={"uniqueItems": True})]
    prices: list[Annotated[float, Field(multiple_of=0.01)]] = Field(default_factory=list)
    free: Any = None


@pytest.fixture
async def ask(database: Database, serve: Serve) -> Client:
    """A client of a resource of bags."""
    await install(database.server, database.name, [Bag])  # type: ignore[arg-type]
    store = Store(database)
    ask = await serve(application(store, *resource("/bags", Bag, store)))
    ask.described = None
    return ask


async def bag(ask: Client, **values: Any) -> str:
    reply = await ask("POST", "/bags", {"records": [], **values})
    assert reply.status == 201
    return str(reply.headers["Location"])


FIELDS = [
    ("If-None-Match", " " * 20_000 + "x"),
    ("If-None-Match", '"a"' + " " * 20_000 + "x"),
    ("If-None-Match", "," * 60_000),
    ("If-None-Match", '"a",' * 15_000),
    ("If-Match", '"' + " " * 60_000),
    ("Prefer", "a" + " " * 60_000 + "x"),
    ("Prefer", ("a" * 100 + " ") * 600),
    ("Prefer", 'a="' + "\\a" * 30_000),
    ("Prefer", "a;" * 30_000),
    ("Accept", "a/b;q=0.1," * 6_000),
    ("Accept", ";" * 60_000),
    ("Accept", "a/b;q=" + "1" * 60_000),
    ("Accept-Encoding", "x;" * 30_000),
    ("Cookie", "a=" + '"\\' * 30_000),
    ("Cookie", "a;" * 30_000),
    ("Range", "bytes=" + "0-1," * 15_000),
    ("Authorization", "Basic " + " " * 60_000 + "x"),
    ("Content-Type", "application/json;" + " ;" * 30_000),
    ("Idempotency-Key", '"' + "\\" * 60_000),
    ("Origin", "h" * 60_000),
]


@pytest.mark.parametrize(("name", "value"), FIELDS, ids=lambda value: repr(value[:24]))
async def test_no_header_field_takes_long(ask: Client, probe: Watch, name: str, value: str) -> None:
    """A list of entity tags with 20,000 blanks took 20 seconds."""
    where = await bag(ask)
    async with probe():
        for method in ("GET", "DELETE", "OPTIONS"):
            assert (await ask(method, where, **{name: value})).status < 500
        assert (await ask("GET", "/bags", **{name: value})).status < 500


REPEATED = ["a:b", "Accept:a/b", 'If-None-Match:"a"', "Prefer:a", "Origin:x", "Cookie:a=b", "Authorization:Basic YQ==",
            "X-Forwarded-For:1.1.1.1", "X-HTTP-Method-Override:PUT", "Content-Type:application/json"]  # fmt: skip


async def test_no_number_of_header_fields_takes_long(ask: Client, probe: Watch) -> None:
    """As many fields of one name as a header can have."""
    for field in REPEATED:
        lines = (field + "\r\n") * (60_000 // (len(field) + 2))
        for method in ("GET", "OPTIONS", "POST"):
            reader, writer = await asyncio.open_connection("127.0.0.1", int(ask.url.rpartition(":")[2]))
            async with probe(), asyncio.timeout(30):
                writer.write(f"{method} /bags HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{lines}\r\n".encode())
                answer = await reader.read()
            writer.close()
            assert answer[9:10] in (b"2", b"4"), (method, field, answer[:100])


@pytest.mark.parametrize("field", [" " * 900_000 + "x", "\n", '"a"\n', '"a",\n', "\r\n"], ids=lambda text: text[:5])
async def test_no_precondition_in_a_bulk_request_takes_long(ask: Client, probe: Watch, field: str) -> None:
    """There a field can be as long as a body, and have the line feeds that none in a header has."""
    operation = {"action": "delete", "key": "none", "if_match": field}
    async with probe():
        reply = await ask("POST", "/bags/_bulk", {"operations": [operation]})
    assert reply.json["items"][0]["status"] == 400


@pytest.mark.parametrize(
    "query",
    ["fields=" + "a," * 20_000, "sort=" + "-a," * 15_000, "&".join(f"a{n}=1" for n in range(500)),
     "cursor=" + "A" * 60_000, "limit=" + "9" * 60_000, "bag_id[" * 6_000 + "=1", "fields=" + "%41" * 20_000,
     "at=" + "0" * 60_000],
    ids=lambda query: query[:12],
)  # fmt: skip
async def test_no_query_takes_long(ask: Client, probe: Watch, query: str) -> None:
    """Names and values without end are refused at once."""
    where = await bag(ask)
    async with probe():
        assert (await ask("GET", f"/bags?{query}")).status in (200, 400)  # a limit is cut to the largest
        assert (await ask("GET", f"{where}?{query}")).status == 400


async def test_a_long_user_name_is_not_normalised(database: Database, serve: Serve, probe: Watch) -> None:
    """64 kB of combining characters took 1.2 seconds."""
    await install(database.server, database.name, [Bag])  # type: ignore[arg-type]
    store = Store(database)
    policy = Authenticated(BasicAccounts(store, rounds=4))
    ask = await serve(application(store, *resource("/bags", Bag, store, policy=policy)))
    async with probe():
        for length in (100, 3_000, 11_000):
            name = "a" + "̴̖" * length
            credentials = base64.b64encode(f"{name}:x".encode()).decode()
            assert (await ask("GET", "/bags", Authorization=f"Basic {credentials}")).status == 401


# Each operation nests as deeply as a body can, at the end of what the one before has added.
NESTING = [{"op": "add", "path": "/free" + "/a" * 50 * n, "value": json.loads('{"a":' * 50 + "{}" + "}" * 50)}
           for n in range(40)]  # fmt: skip


PATCHES: dict[str, tuple[list[Any], int]] = {
    "tests": ([{"op": "test", "path": "/items/0", "value": 0}] * 400, 200),
    "more operations than there may be": ([{"op": "test", "path": "/items/0", "value": 0}] * 5_000, 422),
    "copies that double": ([{"op": "copy", "from": "/items", "path": "/free"}]
                           + [{"op": "copy", "from": "/free", "path": f"/free/{n}"} for n in range(40)], 422),
    "copies of long texts": ([{"op": "add", "path": "/free", "value": ["x" * 20_000]}]
                             + [{"op": "copy", "from": "/free/0", "path": "/free/-"}] * 900, 422),
    "nesting": ([{"op": "add", "path": "/free", "value": {}}]
                + [{"op": "add", "path": "/free" + "/a" * n, "value": {}} for n in range(1, 120)], 400),
    "a copy of what is nested": ([*NESTING, {"op": "copy", "from": "/free", "path": "/items/-"}], 422),
    "a test of what is nested": ([*NESTING, {"op": "test", "path": "/free", "value": {}}], 422),
    "an index without end": ([{"op": "add", "path": "/items/" + "9" * 5_000, "value": 0}], 422),
    "moves": ([{"op": "move", "from": "/items/0", "path": "/items/-"}] * 900, 200),
    "a pointer without end": ([{"op": "test", "path": "/items" + "/0" * 100_000, "value": 0}], 409),
}  # fmt: skip


@pytest.mark.parametrize("name", PATCHES)
async def test_no_patch_takes_long(ask: Client, probe: Watch, name: str) -> None:
    """400 tests on a list of 40,000 took 9 seconds; 21 kB that copy took 307 MiB; what is nested too deep was 500."""
    operations, status = PATCHES[name]
    where = await bag(ask, items=list(range(20_000)))
    async with probe():
        reply = await ask("PATCH", where, data=json.dumps(operations).encode(), Content_Type=PATCH)
    assert reply.status == status


async def test_equal_items_are_found_in_one_pass(ask: Client, probe: Watch) -> None:
    """Comparing each of 2,000 objects with each took 23 seconds."""
    async with probe():
        assert (await ask("POST", "/bags", {"records": [{"a": {"b": n}} for n in range(4_000)]})).status == 201
        assert (await ask("POST", "/bags", {"records": [{"a": 1}, {"a": 1.0}]})).status == 422
        assert (await ask("POST", "/bags", {"records": [{"a": 1}, {"a": True}]})).status == 201


async def test_errors_do_not_add_up(ask: Client, probe: Watch) -> None:
    """A body of 100 kB was answered with 45 MB."""
    async with probe():
        reply = await ask("POST", "/bags", {"records": [], "items": ["x"] * 20_000})
    assert reply.status == 422
    assert len(reply.text) < 50_000
    assert len(reply.json["errors"]) <= 100


async def test_large_bodies_are_checked_beside_the_event_loop(ask: Client, probe: Watch) -> None:
    """As many members as a body can have, in one document, an array, lines and a bulk request."""
    document = {"records": [], "items": list(range(45_000))}
    text = json.dumps(document).encode()
    bulk = json.dumps({"operations": [{"action": "create", "document": document}]}).encode()
    async with probe():
        assert (await ask("POST", "/bags", data=text, Content_Type="application/json")).status == 201
        assert (await ask("POST", "/bags", data=b"[" + text + b"]", Content_Type="application/json")).status == 200
        assert (await ask("POST", "/bags", data=text + b"\n", Content_Type=NDJSON)).status == 200
        assert (await ask("POST", "/bags/_bulk", data=bulk, Content_Type="application/json")).status == 200


@pytest.mark.parametrize(
    "lines", [b"\n" * 8_000_000, b" \n" * 4_000_000, b"\r\n\t" * 3_000_000, b" " * 8_000_000, b"\n" * 700_000 + b"{}\n"]
)
async def test_lines_that_unpack_to_nothing_end_early(ask: Client, probe: Watch, lines: bytes) -> None:
    """8 kB of gzip-coded empty lines took 18 seconds."""
    async with probe():
        reply = await ask("POST", "/bags", data=gzip.compress(lines), Content_Type=NDJSON, Content_Encoding="gzip")
    assert reply.status in (200, 400)


async def test_gzip_members_that_unpack_to_nothing_end_early(ask: Client, probe: Watch) -> None:
    """A stream of empty members was read for as long as it came, at 5 ms for each 64 kB."""
    members = gzip.compress(b"") * 20_000
    async with probe():
        reply = await ask("POST", "/bags", data=members + gzip.compress(b'{"records":[]}\n'), Content_Type=NDJSON,
                          Content_Encoding="gzip")  # fmt: skip
    assert [each["status"] for each in map(json.loads, reply.text.splitlines())] == [400]


async def test_a_thousand_operations_begin_in_turns(ask: Client, probe: Watch) -> None:
    """All of them began in one turn of the event loop."""
    operations = [{"action": "delete", "key": f"{number:032x}"} for number in range(1000)]
    text = json.dumps({"operations": operations}).encode()
    async with probe():
        reply = await ask("POST", "/bags/_bulk", data=text, Content_Type="application/json")
    assert [each["status"] for each in reply.json["items"]] == [404] * 1000


async def test_a_signed_document_of_many_objects_is_replaced_in_turns(
    database: Database, serve: Serve, probe: Watch
) -> None:
    """It was converted, compared with what was stored, and signed without a pause."""
    await install(database.server, database.name, [Bag])  # type: ignore[arg-type]
    store = Store(database, signer=KeyRing.create())
    ask = await serve(application(store, *resource("/bags", Bag, store)))
    ask.described = None
    text = json.dumps({"records": [], "free": [{}] * 40_000}).encode()
    where = path(await ask("POST", "/bags", data=text, Content_Type="application/json"))
    async with probe():
        assert (await ask("PUT", where, data=text, Content_Type="application/json")).status == 200


MANY = {"numbers": b'"items":[' + b"1," * 45_000 + b"1]", "objects": b'"items":[],"free":[' + b"{}," * 40_000 + b"1]"}


@pytest.mark.parametrize("member", MANY.values(), ids=MANY)
async def test_documents_with_many_members_are_read_in_turns(
    ask: Client, database: Database, probe: Watch, member: bytes
) -> None:
    """A page, an export and a bulk request over such documents held the event loop for half a second and more."""
    names = [f"{number:032x}" for number in range(24)]
    texts = [b'{"_id":"%b","type":"bag_v1.0","bag_id":"%b","records":[],"prices":[],"more":null,%b}'
             % (name.encode(), name.encode(), member) for name in names]  # fmt: skip
    await database.write_texts(names, texts)
    assert (await ask("GET", "/bags?limit=1")).status == 200
    operations = [{"action": "replace", "key": each, "document": {"records": []}} for each in names]
    async with probe():
        assert len((await ask("GET", "/bags?limit=1000")).json["items"]) == len(names)
        assert len((await ask("GET", "/bags", Accept=NDJSON)).text.splitlines()) == len(names)
        assert (await ask("POST", "/bags/_bulk", {"operations": operations})).status == 200


async def test_many_requests_for_one_large_document_have_turns(ask: Client, probe: Watch) -> None:
    """They share a reading of it: a copy was made for each of 60 without a pause, for 0.8 seconds."""
    where = await bag(ask, free=[{"a": number} for number in range(16_000)])
    async with probe():
        for method, field in (("GET", {}), ("HEAD", {}), ("DELETE", {"If_Match": '"1-a"'})):
            replies = await asyncio.gather(*(ask(method, where, **field) for _ in range(40)))
            assert len({each.status for each in replies}) == 1
        await asyncio.gather(*(ask("GET", f"{where}/conflicts") for _ in range(40)))


async def test_many_pages_at_once_have_turns(ask: Client, database: Database, probe: Watch) -> None:
    """Each paused in time, but their stretches between the pauses added up."""
    documents = [
        {"_id": f"{number:032x}", "type": "bag_v1.0", "bag_id": f"{number:032x}", "records": [], "free": [{}] * 20_000}
        for number in range(12)
    ]
    await database.bulk_docs(documents)
    assert (await ask("GET", "/bags?limit=1")).status == 200
    async with probe():
        replies = await asyncio.gather(
            *(ask("GET", "/bags?limit=1000") for _ in range(6)), *(ask("GET", "/bags", Accept=NDJSON) for _ in range(6))
        )
    assert {each.status for each in replies} == {200}


async def test_a_decision_about_a_conflict_is_checked_beside_the_event_loop(ask: Client, probe: Watch) -> None:
    """40,000 faults in the document of such a body took 0.6 seconds."""
    where = await bag(ask)
    async with probe():
        reply = await ask("POST", f"{where}/conflicts", {"document": {"records": [], "items": ["x"] * 40_000}})
    assert reply.status == 422


@pytest.mark.parametrize(
    "body",
    [{"prices": [1e308]}, {"prices": [int("9" * 400)]}, {"prices": [5e-324]}, {"free": int("9" * 4_000)},
     {"items": [int("9" * 4_000)]}, {"free": "\ud800"}],
    ids=str,
)  # fmt: skip
async def test_extreme_values_are_an_answer_and_not_a_fault(ask: Client, probe: Watch, body: dict[str, Any]) -> None:
    """Numbers of 400 digits with `multipleOf` were 500."""
    async with probe():
        reply = await ask("POST", "/bags", {"records": [], **body})
        assert reply.status < 500
