"""NDJSON in and out: a document a line, streamed."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.web.callers import Closed
from tests.web.conftest import Client, Reply, Serve, application
from tests.web.models import Fruit, Place
from tornado_couch import AllowAny, Database, Model, Store, resource
from tornado_couch.errors import Unavailable
from tornado_couch.web import BodyLimits, Hooks, Principal, Problem
from tornado_couch.web.http.lines import BrokenStream, LineReader
from tornado_couch.web.routes import CollectionHandler

NDJSON = "application/x-ndjson"


def lines(*values: Any) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def results(reply: Reply) -> list[dict[str, Any]]:
    assert reply.headers["Content-Type"] == NDJSON
    return [json.loads(line) for line in reply.text.splitlines()]


async def post(ask: Client, path: str, data: Any, **headers: str) -> Reply:
    return await ask("POST", path, data=data, Content_Type=NDJSON, **headers)


async def nothing_is_left(of: set[asyncio.Task[Any]]) -> None:
    """Wait until every task that was not there before is done."""
    for _ in range(2000):
        if all(each.done() for each in asyncio.all_tasks() - of):
            return
        await asyncio.sleep(0.01)
    raise AssertionError([each for each in asyncio.all_tasks() - of if not each.done()])


# ---------------------------------------------------------------- in


async def test_each_line_becomes_a_document(ask: Client) -> None:
    """200, and for each line its number, 201, and where the document is."""
    reply = await post(ask, "/fruits", lines({"color": "red"}, {"color": "green"}) + b'{"color": "blue"}')
    assert reply.status == 200
    assert [(each["line"], each["status"]) for each in results(reply)] == [(1, 201), (2, 201), (3, 201)]
    for each, color in zip(results(reply), ("red", "green", "blue"), strict=True):
        found = await ask("GET", each["_href"])
        assert (found.json["color"], found.headers["ETag"]) == (color, each["_etag"])


async def test_an_invalid_line_has_its_own_problem_and_the_others_are_stored(ask: Client) -> None:
    """A stream cannot be all or nothing; pointers go into the line's document."""
    deep = b"[" * 100 + b"]" * 100
    text = b'{"color": ""}\n\n{"color": "red"}\r\n{"color": \n\xff\n{"color":"a","color":"b"}\n' + deep + b"\n[]"
    found = results(await post(ask, "/fruits", text))
    statuses = [(each["line"], each["status"]) for each in found]
    assert statuses == [(1, 422), (3, 201), (4, 400), (5, 400), (6, 400), (7, 400), (8, 422)]
    assert found[0]["problem"]["errors"][0]["pointer"] == "/color"
    assert found[2]["problem"]["title"] == "Bad Request"
    assert len((await ask("GET", "/fruits")).json["items"]) == 1


async def test_a_line_that_is_too_long_is_413_and_the_next_is_stored(store: Store, serve: Serve) -> None:
    """The limit of a single body holds for each line, not for all of them together."""
    ask = await serve(application(store, *resource("/short", Fruit, store, limits=BodyLimits(size=100))))
    text = lines(
        {"color": "x" * 500}, *[{"color": f"c{n}"} for n in range(50)], {"color": "y" * 200_000}, {"color": "z"}
    )
    found = results(await post(ask, "/short", text))
    assert [each["line"] for each in found if each["status"] == 413] == [1, 52]
    assert [each["status"] for each in found].count(201) == 51


async def test_keys_that_are_taken_are_409_within_a_group_and_before(ask: Client) -> None:
    """As for the single creation."""
    await ask("POST", "/places", {"name": "b"})
    found = results(await post(ask, "/places", lines({"name": "a"}, {"name": "b"}, {"name": "a"})))
    assert [each["status"] for each in found] == [201, 409, 409]


async def test_a_body_may_be_gzip_coded(ask: Client) -> None:
    """Unpacked piece by piece, several members too; one that is cut off or broken says where it ended."""
    whole = gzip.compress(lines({"color": "red"})) + gzip.compress(lines({"color": "blue"}))
    found = results(await post(ask, "/fruits", whole, Content_Encoding="gzip"))
    assert [each["status"] for each in found] == [201, 201]
    many = gzip.compress(lines(*({"color": f"c{n}" * 20} for n in range(300))))
    found = results(await post(ask, "/fruits", many[:-20], Content_Encoding="gzip"))
    assert (found[-1]["status"], found[-1]["problem"]["detail"].startswith("The gzip body is incomp")) == (400, True)
    found = results(await post(ask, "/fruits", b"no gzip at all", Content_Encoding="gzip"))
    assert [(each["line"], each["status"]) for each in found] == [(1, 400)]
    assert (await post(ask, "/fruits", whole, Content_Encoding="br")).status == 415


async def test_nothing_at_all_is_400(ask: Client) -> None:
    """As an empty array is."""
    assert (await post(ask, "/fruits", b"")).status == 400
    assert (await post(ask, "/fruits", b"\n\n")).status == 400


async def test_only_problems_are_told_to_who_prefers_that(ask: Client) -> None:
    """`Prefer: return=minimal`: for clients that read nothing before they have sent everything."""
    reply = await post(ask, "/places", lines({"name": "a"}, {"name": ""}, {"name": "c"}), Prefer="return=minimal")
    assert [(each["line"], each["status"]) for each in results(reply)] == [(2, 422)]


async def test_an_answer_in_lines_must_be_acceptable(ask: Client) -> None:
    """406 where `Accept` excludes it."""
    assert (await post(ask, "/fruits", lines({"color": "red"}), Accept="application/json")).status == 406
    assert (await post(ask, "/fruits", lines({"color": "red"}), Accept=NDJSON)).status == 200


async def test_results_come_while_the_client_still_sends(ask: Client) -> None:
    """A group is stored and answered before the body ends."""
    answered = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield lines(*({"color": str(n)} for n in range(500)))
        await answered.wait()
        yield lines({"color": "last"})

    headers = {"Content-Type": NDJSON}
    timeout = aiohttp.ClientTimeout(30)
    async with ask.session.post(f"{ask.url}/fruits", data=body(), headers=headers, timeout=timeout) as reply:
        first = json.loads(await reply.content.readline())
        assert (first["line"], first["status"]) == (1, 201)
        answered.set()
        rest = (await reply.content.read()).splitlines()
    assert json.loads(rest[-1])["line"] == 501


async def test_a_client_may_wait_for_each_result(ask: Client) -> None:
    """A line is not held back for a group that nothing more is sent for."""
    told: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
    seen = []

    async def body() -> AsyncIterator[bytes]:
        for n in range(3):
            yield lines({"color": str(n)})
            seen.append(await told.get())

    headers, timeout = {"Content-Type": NDJSON}, aiohttp.ClientTimeout(30)
    async with ask.session.post(f"{ask.url}/fruits", data=body(), headers=headers, timeout=timeout) as reply:
        async for line in reply.content:
            result = json.loads(line)
            told.put_nowait((result["line"], result["status"]))
    assert seen == [(1, 201), (2, 201), (3, 201)]


async def test_the_policy_is_asked_before_the_body_is_read(store: Store, serve: Serve) -> None:
    """A client that waits for 100 Continue sends none of it; another gets to read the same answer."""
    ask = await serve(application(store, *resource("/closed", Fruit, store, policy=Closed())))
    port = int(ask.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = "POST /closed HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n"
    writer.write(f"{head}Expect: 100-continue\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 403")
    writer.close()
    await writer.wait_closed()
    assert (await post(ask, "/closed", lines({"color": "red"}) * 10_000)).status == 403
    assert (await ask("GET", "/fruits")).json["items"] == []


async def test_an_idempotency_key_is_refused(ask: Client) -> None:
    """A key is for one document: 400, and nothing stored."""
    assert (await post(ask, "/fruits", lines({"color": "red"}), Idempotency_Key='"k"')).status == 400
    assert (await ask("GET", "/fruits")).json["items"] == []


async def test_hooks_run_for_each_line(store: Store, serve: Serve) -> None:
    """Before and after each creation; what one refuses is that line's problem."""
    seen: list[str] = []

    class Watch(Hooks):
        async def before(self, event: Any, model: Any = None, current: Any = None) -> None:
            if model and model.name == "no":
                raise Problem(409, detail="No.")

        async def after(self, event: Any, model: Any, shown: Any) -> None:
            seen.append(f"{event.action} {model.name}")

    ask = await serve(application(store, *resource("/watched", Place, store, hooks=Watch())))
    found = results(await post(ask, "/watched", lines({"name": "a"}, {"name": "no"}, {"name": "b"})))
    assert [each["status"] for each in found] == [201, 409, 201]
    assert seen == ["create a", "create b"]


async def test_an_outage_stops_the_stream_and_says_where(ask: Client, store: Store, monkeypatch: Any) -> None:
    """The lines of the group are 503, and a last line tells that nothing after it was stored."""
    bulk_docs = store.database.bulk_docs
    calls = 0

    async def failing(documents: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Unavailable("down", sent=False)
        return await bulk_docs(documents)

    monkeypatch.setattr(store.database, "bulk_docs", failing)
    found = results(await post(ask, "/fruits", lines(*({"color": str(n)} for n in range(1700)))))
    assert [each["status"] for each in found] == [201] * 500 + [503] * 501
    assert (found[-1]["line"], calls) == (1001, 2)
    assert found[-1]["problem"]["detail"].endswith("This line and those after it were not stored.")


async def test_a_client_that_goes_away_leaves_nothing_behind(ask: Client) -> None:
    """What came whole is stored or not; no task and no connection stays, and the service serves on."""
    tasks = asyncio.all_tasks()
    port = int(ask.url.rpartition(":")[2])
    for _ in range(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST /fruits HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: 9999999\r\n\r\n"
        )
        writer.write(lines(*({"color": str(n)} for n in range(700))))
        await reader.readline()  # the answer has begun: some are stored
        writer.transport.abort()
    await nothing_is_left(tasks)
    assert (await ask("GET", "/fruits")).status == 200


async def test_a_client_that_reads_nothing_is_not_waited_for(store: Store, serve: Serve) -> None:
    """What is not read is not written, what is not written stops the reading; in the end it is cut off."""

    class Impatient(CollectionHandler):
        STALLED = 0.5

    ask = await serve(application(store, *resource("/fast", Place, store, collection=Impatient)))
    port = int(ask.url.rpartition(":")[2])
    tasks = asyncio.all_tasks()
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.setblocking(False)
    loop = asyncio.get_running_loop()

    async def forever(to: socket.socket) -> None:
        while True:
            await loop.sock_sendall(to, b"[]\n" * 10_000)

    await loop.sock_connect(deaf, ("127.0.0.1", port))
    await loop.sock_sendall(
        deaf,
        b"POST /fast HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: 999999999\r\n\r\n",
    )
    # Lines that are invalid answer with far more than they cost to send.
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        await asyncio.wait_for(forever(deaf), 60)
    deaf.close()
    await nothing_is_left(tasks)


# ---------------------------------------------------------------- out


@pytest.fixture
async def many(store: Store, ask: Client) -> list[str]:
    """The names of more places than one page of an export has."""
    names = [f"p{n:04}" for n in range(1203)]
    for start in range(0, len(names), 500):
        await store.create_many(
            Place, [Place(name=name, size=int(name[1:]) % 3) for name in names[start : start + 500]]
        )
    return names


async def test_a_collection_can_be_had_as_lines(ask: Client, many: list[str]) -> None:
    """All of it, in order, each item with where it is and its entity tag."""
    reply = await ask("GET", "/places", Accept=NDJSON)
    assert reply.status == 200
    found = results(reply)
    assert [each["name"] for each in found] == many
    assert found[7]["_href"] == "/places/p0007"
    assert (await ask("GET", found[7]["_href"])).headers["ETag"] == found[7]["_etag"]


async def test_filters_sorting_and_fields_hold_for_lines_too(ask: Client, many: list[str]) -> None:
    """The query string says what is exported; what is about pages is 400."""
    found = results(await ask("GET", "/places?size=1", Accept=NDJSON))
    assert [each["name"] for each in found] == many[1::3]
    found = results(await ask("GET", "/places?fields=name&sort=-size", Accept=NDJSON))
    assert len(found) == len(many)
    assert found[0].keys() == {"_href", "_etag", "name"}
    for query in ("limit=3", "count=true", "cursor=x"):
        assert (await ask("GET", f"/places?{query}", Accept=NDJSON)).status == 400
    assert (await ask("GET", "/places?colour=red", Accept=NDJSON)).status == 400


async def test_lines_are_written_for_who_likes_them_better(ask: Client) -> None:
    """JSON where `Accept` has no preference; an empty collection is an empty body; HEAD has none."""
    await ask("POST", "/fruits", {"color": "red"})
    for accept, expected in {
        NDJSON: NDJSON,
        f"{NDJSON}, application/json;q=0.5": NDJSON,
        f"{NDJSON}, */*;q=0.1": NDJSON,
        f"{NDJSON}, application/json": "application/json",
        f"{NDJSON};q=0, */*": "application/json",
        "*/*": "application/json",
    }.items():
        assert (await ask("GET", "/fruits", Accept=accept)).headers["Content-Type"] == expected, accept
    empty = await ask("GET", "/places", Accept=NDJSON)
    assert (empty.status, empty.text) == (200, b"")
    head = await ask("HEAD", "/fruits", Accept=NDJSON)
    assert (head.status, head.headers["Content-Type"], head.text) == (200, NDJSON, b"")


async def test_an_unreadable_document_is_counted_at_the_end(ask: Client, store: Store) -> None:
    """It is left out, and never silently."""
    await ask("POST", "/places", {"name": "a"})
    await store.database.put({"_id": "place:b", "type": "place_v1.0", "name": "b", "size": "huge"})
    found = results(await ask("GET", "/places", Accept=NDJSON))
    assert (found[0]["name"], found[1]) == ("a", {"withheld": 1})


async def test_an_export_that_fails_midway_never_looks_whole(
    ask: Client, store: Store, many: list[str], monkeypatch: Any
) -> None:
    """The connection is cut off; a failure before the first line is an ordinary problem."""
    bulk_get = store.database.bulk_get_within
    calls = 0

    async def failing(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls in (2, 3):
            raise Unavailable("down", sent=False)
        return await bulk_get(*arguments, **options)

    monkeypatch.setattr(store.database, "bulk_get_within", failing)
    with pytest.raises(aiohttp.ClientPayloadError):
        await ask("GET", "/places", Accept=NDJSON)
    assert (await ask("GET", "/places", Accept=NDJSON)).status == 503
    assert len(results(await ask("GET", "/places", Accept=NDJSON))) == len(many)


async def test_an_export_ends_when_the_client_goes_away(
    ask: Client, store: Store, many: list[str], monkeypatch: Any
) -> None:
    """No further page is read, and nothing is left behind."""
    tasks, gone, calls = asyncio.all_tasks(), asyncio.Event(), 0
    bulk_get = store.database.bulk_get_within

    async def watched(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 1:
            await gone.wait()
        return await bulk_get(*arguments, **options)

    monkeypatch.setattr(store.database, "bulk_get_within", watched)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(ask.url.rpartition(":")[2]))
    writer.write(b"GET /places HTTP/1.1\r\nHost: x\r\nAccept: application/x-ndjson\r\n\r\n")
    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    writer.transport.abort()
    await asyncio.sleep(0)
    gone.set()
    await nothing_is_left(tasks)
    assert calls in (1, 2)


async def test_whose_lists_are_limited_exports_only_those(store: Store, serve: Serve) -> None:
    """The policy's restriction holds for lines as for pages."""

    class Mine(AllowAny):
        def restriction(self, principal: Principal | None, model: type[Model]) -> tuple[str, Any] | None:
            return "size", 1

    ask = await serve(application(store, *resource("/mine", Place, store, policy=Mine())))
    await ask("POST", "/places", [{"name": "a", "size": 1}, {"name": "b", "size": 2}])
    assert [each["name"] for each in results(await ask("GET", "/mine", Accept=NDJSON))] == ["a"]


# ---------------------------------------------------------------- bounded memory

SERVICE = """
import asyncio, sys
from tests.servers import listening
from tests.web.conftest import Note, application
from tornado_couch import Couch, Store

async def main(url, name):
    async with Couch(url) as couch:
        server, port = listening(application(Store(couch[name])))
        print(port, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main(*sys.argv[1:]))
"""


def peak(pid: int) -> int:
    """The most memory that a process has had resident, in bytes."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.timeout(300)
async def test_ten_times_the_documents_take_no_more_memory(store: Store, database: Database, server_url: str) -> None:
    """20,000 documents of 2 kB go in and out of a service whose memory grows by far less than their size."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVICE, server_url, database.name,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert process.stdout
    assert process.stdin
    try:
        url = f"http://127.0.0.1:{int(await process.stdout.readline())}/notes"
        async with aiohttp.ClientSession() as session:
            grown = [await _there_and_back(session, url, count, process.pid) for count in (2_000, 18_000)]
        size = 18_000 * 2_000
        assert grown[1] - grown[0] < size / 3
    finally:
        process.stdin.close()
        await process.wait()


async def _there_and_back(session: aiohttp.ClientSession, url: str, count: int, pid: int) -> int:
    """Send documents, read them all back, and tell the service's peak of memory."""

    async def body() -> AsyncIterator[bytes]:
        for _ in range(count // 100):
            yield lines({"text": "x" * 2_000}) * 100

    async with session.post(url, data=body(), headers={"Content-Type": NDJSON}) as reply:
        assert sum([b'"status":201' in line async for line in reply.content]) == count
    async with session.get(url, headers={"Accept": NDJSON}) as reply:
        assert sum([1 async for _ in reply.content]) >= count
    return peak(pid)


# ---------------------------------------------------------------- lines, by themselves


def read(reader: LineReader, chunks: Iterable[bytes]) -> list[tuple[int, bytes | None]]:
    return [*(line for chunk in chunks for line in reader.feed(chunk)), *reader.end()]


def test_lines_are_the_same_however_they_are_cut() -> None:
    """Byte by byte or all at once; `\\r\\n` ends a line, empty lines count and do not come out."""
    text = b'{"a":1}\r\n\n{"b":"\xc3\xa9"}\nlast'
    expected = [(1, b'{"a":1}'), (3, b'{"b":"\xc3\xa9"}'), (4, b"last")]
    for size in (1, 2, 3, 7, 100):
        assert read(LineReader(20), [text[n : n + size] for n in range(0, len(text), size)]) == expected


def test_a_line_may_be_as_long_as_the_limit() -> None:
    """And not a byte longer, with either ending."""
    assert read(LineReader(3), [b"abc\nabcd\r\nabc\r\nabcd\nabc"]) == [
        (1, b"abc"),
        (2, None),
        (3, b"abc"),
        (4, None),
        (5, b"abc"),
    ]


def test_a_packed_body_is_unpacked_in_pieces() -> None:
    """A megabyte of one letter, a thousandth of that packed, is refused without being held."""
    reader = LineReader(100, gzip=True)
    assert read(reader, [gzip.compress(b"x" * 2**20 + b"\nok")]) == [(1, None), (2, b"ok")]
    for size in (65_535, 65_536, 65_537, 131_072, 300_000):
        for cut in (1, 7, 10_000):
            packed = gzip.compress(b"x" * size) + gzip.compress(b"\nok")
            chunks = [packed[n : n + cut] for n in range(0, len(packed), cut)]
            assert read(LineReader(size, gzip=True), chunks) == [(1, b"x" * size), (2, b"ok")]
    with pytest.raises(BrokenStream):
        read(LineReader(100, gzip=True), [gzip.compress(b"a\nb")[:-4]])
