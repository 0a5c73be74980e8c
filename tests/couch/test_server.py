"""The server's own calls."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from tests.faults import Call, FaultServer, answer, until
from tornado_couch import errors
from tornado_couch.couch import Couch, FakeTransport, Reply, Request


class Uuids:
    """A CouchDB that gives numbers for ids."""

    def __init__(self) -> None:
        self.given = 0

    def __call__(self, request: Request) -> Reply:
        count = int(request.target.rpartition("=")[2])
        ids = [str(self.given + n) for n in range(count)]
        self.given += count
        text = ",".join(f'"{each}"' for each in ids)
        return FakeTransport.reply(200, f'{{"uuids":[{text}]}}'.encode())


async def test_ids_are_fetched_in_batches_and_never_given_twice() -> None:
    """1250 callers at once take three requests, and each gets an id of its own."""
    transport = FakeTransport(Uuids())
    couch = Couch("http://couch", transport=transport)
    ids = await asyncio.gather(*(couch.new_id() for _ in range(1250)))
    assert len(set(ids)) == 1250
    assert len(transport.requests) == 3


async def test_a_cancelled_caller_leaves_the_ids_to_the_others() -> None:
    """They share one request, which ends only when nobody waits for it any more."""
    gone = asyncio.Event()

    async def ids(call: Call) -> None:
        await gone.wait()
        await answer(200, {"uuids": ["a", "b", "c"]})(call)

    async with FaultServer(ids) as server, Couch(server.url) as couch:
        callers = [asyncio.create_task(couch.new_id()) for _ in range(3)]
        await until(lambda: server.requests)
        callers[0].cancel()
        gone.set()
        assert set(await asyncio.gather(*callers[1:])) < {"a", "b", "c"}
        assert len(server.requests) == 1


async def test_many_ids_take_several_requests() -> None:
    """CouchDB gives no more than 1000 at a time."""
    transport = FakeTransport(Uuids())
    ids = await Couch("http://couch", transport=transport).uuids(2500)
    assert ids == [str(n) for n in range(2500)]
    assert [request.target for request in transport.requests] == [f"/_uuids?count={n}" for n in (1000, 1000, 500)]


async def test_no_ids_for_ids_asked_for_is_nonsense() -> None:
    """An empty batch, or one that is too long, would loop or leak: it is refused."""
    replies = [FakeTransport.reply(200, b'{"uuids":[]}'), FakeTransport.reply(200, b'{"uuids":["a","b"]}')]
    couch = Couch("http://couch", transport=FakeTransport(replies))
    for _ in range(2):
        with pytest.raises(errors.InvalidReply):
            await couch.uuids(1)
    with pytest.raises(ValueError, match="count"):
        await couch.uuids(0)


async def test_what_is_not_couchdb_is_found_out() -> None:
    """A JSON server of another kind is no CouchDB."""
    couch = Couch("http://couch", transport=FakeTransport([FakeTransport.reply(200, b'{"hello":"world"}')]))
    with pytest.raises(errors.InvalidReply):
        await couch.info()


async def test_maintenance_mode_is_not_up_and_an_outage_is_an_outage() -> None:
    """CouchDB's own "not now" is False; no answer is an exception."""
    maintenance = FakeTransport.reply(404, b'{"status":"maintenance_mode"}')
    elsewhere = FakeTransport.reply(404, b'{"error":"not_found"}')
    couch = Couch("http://couch", transport=FakeTransport([maintenance, elsewhere, errors.Unavailable("x")]))
    assert await couch.up() is False
    with pytest.raises(errors.InvalidReply):
        await couch.up()
    with pytest.raises(errors.Unavailable):
        await couch.up()


async def test_the_server_tells_what_it_is(couch: Couch) -> None:
    """Welcome, readiness, session and ids of a real server."""
    assert (await couch.info())["couchdb"] == "Welcome"
    assert await couch.up() is True
    assert "roles" in (await couch.session())["userCtx"]
    assert len(set(await couch.uuids(20))) == 20
    assert await couch.new_id() != await couch.new_id()


async def test_databases_come_and_go(couch: Couch) -> None:
    """Created, listed, told to be there, and deleted; each impossible step has its own error."""
    name = f"test-{uuid.uuid4().hex}/a+b"
    database = couch[name]
    assert database.name == name
    assert database.server is couch
    assert not await database.exists()
    with pytest.raises(errors.NotFound):
        await database.info()
    with pytest.raises(errors.NotFound, match="Database does not exist"):
        await database.get("a")
    assert await couch.create_database(name, q=1) is False
    try:
        assert await database.exists()
        assert name in await couch.databases()
        assert (await database.info())["doc_count"] == 0
        with pytest.raises(errors.AlreadyExists):
            await couch.create_database(name)
    finally:
        assert await couch.delete_database(name) is False
    assert name not in await couch.databases()
    with pytest.raises(errors.NotFound):
        await couch.delete_database(name)
    with pytest.raises(errors.BadRequest):
        await couch.create_database("Not Allowed")


async def test_a_security_object_is_replaced_as_a_whole(couch: Couch) -> None:
    """What was set comes back."""
    name = f"test-{uuid.uuid4().hex}"
    await couch.create_database(name)
    try:
        security = {"admins": {"names": ["zoë"], "roles": []}, "members": {"names": [], "roles": ["r"]}}
        await couch[name].set_security(security)
        assert await couch[name].security() == security
    finally:
        await couch.delete_database(name)
