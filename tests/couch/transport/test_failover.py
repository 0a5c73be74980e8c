"""Several nodes as one server: on to the next at a failure, and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.clocks import Clock
from tests.faults import FaultServer, answer, hang_up
from tornado_couch import BasicAuth, Couch
from tornado_couch.couch import FailoverTransport, FakeTransport, Reply, Request
from tornado_couch.errors import InvalidReply, PoolTimeout, ReadTimeout, Unavailable

WELCOME = {"couchdb": "Welcome"}
READ = Request("GET", "/", "/", safe=True)
WRITE = Request("PUT", "/db/1f", "/{db}/{id}")


def node(behaviour: Callable[[], Reply | Exception]) -> FakeTransport:
    """A node that answers, or fails, as the function says at that moment."""

    def reply(request: Request) -> Reply:
        found = behaviour()
        if isinstance(found, Exception):
            raise found
        return found

    return FakeTransport(reply)


def working() -> FakeTransport:
    return node(lambda: FakeTransport.reply(200, b"{}"))


async def test_the_first_node_is_preferred() -> None:
    """While it works it has every request."""
    first, second = working(), working()
    transport = FailoverTransport([first, second])
    for request in (READ, WRITE, READ):
        assert (await transport.send(request)).status == 200
    assert (len(first.requests), len(second.requests)) == (3, 0)


@pytest.mark.parametrize("request_", [READ, WRITE], ids=["read", "write"])
async def test_what_was_never_sent_goes_to_the_next(request_: Request) -> None:
    """Without a connection nothing was done, so even a write goes on."""
    first, second = node(lambda: Unavailable("no connection", sent=False)), working()
    assert (await FailoverTransport([first, second]).send(request_)).status == 200


@pytest.mark.parametrize("failure", [ReadTimeout("silent"), Unavailable("lost"), InvalidReply("nonsense")])
async def test_a_lost_write_is_not_repeated_elsewhere(failure: Exception) -> None:
    """It may have been done: that is for the store to find out. A read goes on."""
    first, second = node(lambda: failure), working()
    with pytest.raises(type(failure)):
        await FailoverTransport([first, second]).send(WRITE)
    assert second.requests == []
    assert (await FailoverTransport([first, second]).send(READ)).status == 200


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_a_node_that_says_it_is_away_is_passed_by(status: int) -> None:
    """A read goes on to the next node; a write's answer is given out; both set the node aside."""
    first, second = node(lambda: FakeTransport.reply(status, b"{}")), working()
    transport = FailoverTransport([first, second])
    assert (await transport.send(READ)).status == 200
    transport = FailoverTransport([first, second])
    assert (await transport.send(WRITE)).status == status
    assert (await transport.send(WRITE)).status == 200


@pytest.mark.parametrize("status", [200, 201, 404, 409, 500])
async def test_other_answers_are_answers(status: int) -> None:
    """A refusal, or a 500 that may be the request's own fault, is no reason to ask another node."""
    first, second = node(lambda: FakeTransport.reply(status, b"{}")), working()
    transport = FailoverTransport([first, second])
    assert [(await transport.send(READ)).status for _ in range(2)] == [status] * 2
    assert second.requests == []


async def test_a_node_that_failed_is_set_aside_and_tried_again() -> None:
    """For a time nothing is sent to it; then one read tries it, and from then on it is preferred again."""
    broken, clock = [True], Clock()
    first = node(lambda: Unavailable("no connection", sent=False) if broken else FakeTransport.reply(200, b"{}"))
    second = working()
    transport = FailoverTransport([first, second], clock)
    await transport.send(READ)
    await transport.send(READ)
    assert len(first.requests) == 1
    clock.now += 1.1
    await transport.send(READ)  # tries it, and is answered by the second all the same
    assert (len(first.requests), len(second.requests)) == (2, 3)
    broken.clear()
    clock.now += 1.1
    await transport.send(READ)  # the pause has grown to two seconds
    assert len(first.requests) == 2
    clock.now += 1
    await transport.send(WRITE)  # a write tries nothing out
    assert len(first.requests) == 2
    await transport.send(READ)
    await transport.send(WRITE)
    assert (len(first.requests), len(second.requests)) == (4, 5)


async def test_pauses_are_bounded() -> None:
    """However often a node failed, it is tried again after half a minute."""
    clock = Clock()
    first, second = node(lambda: Unavailable("no connection", sent=False)), working()
    transport = FailoverTransport([first, second], clock)
    for _ in range(50):
        await transport.send(READ)
        clock.now += 30
    assert len(first.requests) == 50


async def test_with_every_node_down_all_are_tried() -> None:
    """The last failure is told, and a node that comes back is found at once."""
    broken, clock = [True], Clock()
    first = node(lambda: Unavailable("first", sent=False))
    second = node(lambda: Unavailable("second", sent=False) if broken else FakeTransport.reply(200, b"{}"))
    transport = FailoverTransport([first, second], clock)
    with pytest.raises(Unavailable, match="second"):
        await transport.send(READ)
    broken.clear()
    assert (await transport.send(WRITE)).status == 200


async def test_a_busy_node_is_not_a_broken_one() -> None:
    """Too few connections of our own are told as that, and nothing is set aside."""
    first, second = node(lambda: PoolTimeout("busy", sent=False)), working()
    transport = FailoverTransport([first, second])
    for _ in range(2):
        with pytest.raises(PoolTimeout):
            await transport.send(READ)
    assert second.requests == []


async def test_streams_go_on_as_well() -> None:
    """A stream is opened at the next node where the first cannot be reached."""
    first, second = node(lambda: Unavailable("no connection", sent=False)), working()
    async with FailoverTransport([first, second]).stream(READ) as stream:
        assert [chunk async for chunk in stream.chunks] == [b"{}"]


async def test_every_node_is_closed() -> None:
    """Closing leaves no connection to any of them."""
    nodes = [working(), working()]
    await FailoverTransport(nodes).close()
    assert all(each.closed for each in nodes)


async def test_over_real_connections() -> None:
    """Two servers, of which one goes away in the middle and comes back on the same port."""
    async with FaultServer(answer(200, {**WELCOME, "node": 2})) as second:
        first = FaultServer(answer(200, {**WELCOME, "node": 1}))
        await first.__aenter__()
        async with Couch([first.url, second.url]) as couch:
            assert (await couch.info())["node"] == 1
            await first.__aexit__(None, None, None)
            found = await asyncio.gather(*(couch.info() for _ in range(20)))
            assert {each["node"] for each in found} == {2}


async def test_a_node_that_hangs_up_costs_no_read() -> None:
    """Reads at a node that closes every connection are answered by the next."""
    async with (
        FaultServer(hang_up) as first,
        FaultServer(answer(200, WELCOME)) as second,
        Couch([first.url, second.url]) as couch,
    ):
        assert [await couch.info() for _ in range(5)] == [WELCOME] * 5


def test_urls_agree_on_credentials() -> None:
    """One user is meant for the whole cluster; which one must be said once."""
    assert Couch(["http://a:b@one", "http://a:b@two"]).url == "http://one"
    for urls, auth in ((["http://a:b@one", "http://two"], None), (["http://a:b@one"], BasicAuth("a", "b")), ([], None)):
        with pytest.raises(ValueError, match="give"):
            Couch(urls, auth=auth)
    with pytest.raises(ValueError, match="at least one node"):
        FailoverTransport([])


async def test_quorums_are_sent_with_reads_and_writes() -> None:
    """`r` goes with what reads documents, `w` with what writes them, and neither where none is given."""
    reply = b'{"_id":"1f","id":"1f","rev":"1-a","ok":true,"results":[{"id":"1f","docs":[]}]}'
    fake = FakeTransport(lambda request: FakeTransport.reply(200, reply))
    couch = Couch("http://one", transport=fake)
    for database in (couch["db"], couch.database("db", read_quorum=2, write_quorum=3)):
        await database.get("1f")
        await database.bulk_get(["1f"])
        await database.put({"_id": "1f"})
        await database.delete("1f", "1-a")
    queries = [each.target.partition("?")[2] for each in fake.requests]
    assert queries == ["", "", "", "rev=1-a", "r=2", "r=2", "w=3", "rev=1-a&w=3"]
    for bad in ({"read_quorum": 0}, {"write_quorum": -1}):
        with pytest.raises(ValueError, match="at least 1"):
            couch.database("db", **bad)


async def test_couchdb_takes_quorums(couch: Couch, database: object) -> None:
    """A server with fewer copies than asked for answers all the same."""
    strict = couch.database(database.name, read_quorum=3, write_quorum=3)
    result = await strict.put({"_id": "1f"})
    assert (await strict.get("1f"))["_rev"] == result.rev
    assert (await strict.bulk_docs([{"_id": "2f"}]))[0].rev
    assert (await strict.bulk_get(["2f"]))[0][0].document
    await strict.delete("1f", result.rev)


def _named(*transports: FakeTransport, clock: Clock | None = None) -> FailoverTransport:
    names = [f"http://node{number}:5984" for number in range(len(transports))]
    return FailoverTransport(transports, *([clock] if clock else []), names=names, spread=True)


def _write(document_id: str) -> Request:
    return Request("PUT", "/db/x", "/{db}/{id}", near=document_id)


async def test_writes_of_one_document_go_to_one_node() -> None:
    """Each document has a node of its own, the same in every process; the documents are spread over all nodes."""
    nodes = [working(), working(), working()]
    transport = _named(*nodes)
    for number in range(60):
        for _ in range(2):
            await transport.send(_write(f"d{number}"))
    counts = [len(each.requests) for each in nodes]
    assert sum(counts) == 120
    assert all(count % 2 == 0 and count >= 16 for count in counts)
    turned = FailoverTransport([working(), working()], names=["http://b:5984", "http://a:5984"], spread=True)
    straight = FailoverTransport([working(), working()], names=["http://a:5984", "http://b:5984"], spread=True)
    assert all(turned.preferred(f"d{n}") != straight.preferred(f"d{n}") for n in range(20))


async def test_writes_that_meet_others_go_to_one_node() -> None:
    """To the same one in every process, until no two have met there for some minutes; other writes go to the first."""
    clock, nodes = Clock(), [working(), working(), working()]
    names = [f"http://node{number}:5984" for number in range(3)]
    transport, spread = FailoverTransport(nodes, clock, names=names), _named(working(), working(), working())
    contested = next(f"d{n}" for n in range(60) if spread.preferred(f"d{n}") == 3)
    await transport.send(_write(contested))
    transport.contest(contested)
    await transport.send(_write(contested))
    await transport.send(_write("another"))
    assert (transport.preferred(contested), transport.preferred("another")) == (3, 0)
    assert [len(each.requests) for each in nodes] == [2, 0, 1]
    clock.now += 601
    assert transport.preferred(contested) == 0


async def test_the_node_of_a_contested_document_is_tried_again() -> None:
    """By the next request that reads: the first node, which all others prefer, would never show that it is back."""
    clock, down = Clock(), [True]
    nodes = [working(), node(lambda: Unavailable("away", sent=False) if down[0] else Reply(200, {}, b"{}"))]
    transport = FailoverTransport(nodes, clock)
    contested = next(f"d{n}" for n in range(60) if _second(transport, f"d{n}"))
    await transport.send(_write(contested))
    assert transport.preferred(contested) == 1
    down[0] = False
    clock.now += 2
    await transport.send(READ)
    assert transport.preferred(contested) == 2


def _second(transport: FailoverTransport, document_id: str) -> bool:
    transport.contest(document_id)
    return transport.preferred(document_id) == 2


async def test_only_the_documents_of_a_failed_node_move() -> None:
    """They go to another node until a read has found that their own is back."""
    clock, down = Clock(), [True]
    nodes = [working(), working(), node(lambda: Unavailable("away", sent=False) if down[0] else Reply(200, {}, b"{}"))]
    transport = _named(*nodes, clock=clock)
    before = {f"d{n}": transport.preferred(f"d{n}") for n in range(60)}
    lost = next(each for each, number in before.items() if number == 3)
    assert (await transport.send(_write(lost))).status == 200
    after = {each: transport.preferred(each) for each in before}
    assert {each for each in before if before[each] != after[each]} == {each for each in before if before[each] == 3}
    down[0] = False
    clock.now += 2
    await transport.send(READ)
    assert {each: transport.preferred(each) for each in before} == before


def test_a_way_of_writing_that_does_not_exist_is_refused() -> None:
    """At once."""
    with pytest.raises(ValueError, match="by-document"):
        Couch(["http://a:5984", "http://b:5984"], writes="anywhere")  # type: ignore[arg-type]
