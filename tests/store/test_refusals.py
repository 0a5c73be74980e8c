"""What a function `validate_doc_update` says: its own reason, soon, for lone writes and groups alike."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.faults import Fault, FaultProxy, answer_status
from tests.store.models import Place
from tornado_couch import Couch, Database, Store, install
from tornado_couch.couch.bulk import failure
from tornado_couch.errors import CheckFailed, Forbidden, Refused, UnauthorizedWrite

GUARD = """function (doc) {
  if (doc.name === 'forbidden') throw({forbidden: doc.more});
  if (doc.name === 'unauthorized') throw({unauthorized: doc.more});
  if (doc.name === 'exception') doc.none.such();
  if (doc.name === 'thrown') throw('just text');
  if (doc.name === 'error') throw(['error', 'odd_word', 'why']);
}"""
REASONS = {"text": "because", "object": {"code": 7, "why": "x"}, "number": 42, "nothing": None}


@pytest.fixture
async def behind(proxy: FaultProxy, couch: Couch, database: Database) -> Any:
    """A database whose function refuses some documents, seen through a proxy that counts."""
    await install(couch, database.name, [Place])
    await database.put({"_id": "_design/guard", "validate_doc_update": GUARD})
    async with Couch(proxy.url) as client:
        yield client[database.name]


async def outcomes(database: Database, documents: list[dict[str, Any]], way: str) -> list[Any]:
    writer = Store(database, grouping=way != "alone").writer
    marked = [writer.marked(each, new=True) for each in documents]
    if way == "many":
        return list(await writer.put_many(marked))
    return await asyncio.gather(*(writer.put(each) for each in marked), return_exceptions=True)


def documents_with(name: str, more: Any) -> list[dict[str, Any]]:
    return [{"_id": "a", "name": "fine"}, {"_id": "b", "name": name, "more": more}, {"_id": "c", "name": "fine"}]


@pytest.mark.parametrize("way", ["alone", "grouped", "many"])
@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize(("name", "kind"), [("forbidden", Forbidden), ("unauthorized", UnauthorizedWrite)])
async def test_its_reason_comes_through(
    behind: Database, name: str, kind: type[Refused], reason: str, way: str
) -> None:
    """Whatever JSON value it is; the documents beside it are written."""
    found = await outcomes(behind, documents_with(name, REASONS[reason]), way)
    assert [type(each) for each in found] == [str, kind, str]
    assert (found[1].error, found[1].reason) == (name, REASONS[reason])


async def test_a_list_is_what_couchdb_makes_of_it(behind: Database) -> None:
    """In Erlang, a list of texts is a text."""
    with pytest.raises(Forbidden) as caught:
        await behind.put({"_id": "b", "name": "forbidden", "more": ["a", "b"]})
    assert caught.value.reason == "ab"


@pytest.mark.parametrize("way", ["alone", "grouped", "many"])
@pytest.mark.parametrize("name", ["exception", "thrown"])
async def test_an_exception_is_told_soon(behind: Database, proxy: FaultProxy, name: str, way: str) -> None:
    """With CouchDB's words, after few requests; it is not taken for an outage that may pass."""
    began = time.monotonic()
    found = await outcomes(behind, documents_with(name, None), way)
    assert [type(each) for each in found] == [str, CheckFailed, str]
    assert found[1].error == {"exception": "TypeError", "thrown": "unknown_error"}[name]
    assert len(proxy.requests) <= 4
    assert time.monotonic() - began < 3


async def test_a_function_that_hangs_is_told_once_couchdb_stops_it(behind: Database, proxy: FaultProxy) -> None:
    """It failed as one with an exception does: nothing was written, and CouchDB is not made to wait for it again."""
    stopped = answer_status(500, "os_process_error", "OS process timed out.")
    proxy.faults.append(Fault(stopped, method="PUT", times=None))
    with pytest.raises(CheckFailed, match="timed out"):
        await Store(behind).create(Place(name="x"))
    assert len([each for each in proxy.requests if each.method == "PUT"]) == 1
    assert isinstance(failure("os_process_error", "OS process timed out."), CheckFailed)


async def test_couchdb_stops_a_function_that_hangs(database: Database) -> None:
    """After its `os_process_timeout`, five seconds by default."""
    await database.put({"_id": "_design/guard", "validate_doc_update": "function (doc) { while (doc.hang) {} }"})
    found = await database.bulk_docs([{"_id": "a", "hang": True}, {"_id": "b"}])
    assert [each.error for each in found] == ["os_process_error", None]


async def test_over_the_store(behind: Database) -> None:
    """The errors of the store's calls are those."""
    store = Store(behind)
    with pytest.raises(CheckFailed, match="function_clause"):  # `throw({})`, as there is no `more`
        await store.create(Place(name="forbidden"))
    with pytest.raises(CheckFailed, match="TypeError"):
        await store.create(Place(name="exception"))
    found = await store.create_many(Place, [Place(name="x"), Place(name="unauthorized")])
    assert [type(each) for each in found] == [Place, CheckFailed]
