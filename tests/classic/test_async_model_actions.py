"""Each classic action: what it gives its callback, what it gives who awaits it, and how it fails."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.classic.ported.async_actions import AsyncFruitPersister, AsyncFruitRetriever, AsyncFruitsRetriever
from tests.classic.ported.models import Fruit
from tests.classic.test_ported_service import make_signer
from tests.faults import FaultServer, answer, stall
from tornado_couch import Couch, Database
from tornado_couch.classic import async_model_actions, tamper
from tornado_couch.classic.async_model_actions import (
    AsyncAllViewMetricsRetriever,
    AsyncCouchDBHealthCheck,
    AsyncDatabaseMetricsRetriever,
    AsyncDeleter,
    AsyncModelRetriever,
    AsyncModelRetrieverByDocumentID,
    AsyncPersister,
    AsyncViewMetricsRetriever,
    InvalidTypeInDocForStoreException,
)
from tornado_couch.classic.model import Model
from tornado_couch.errors import InvalidSignature, NotFound, Unavailable


class ByDocumentID(AsyncModelRetrieverByDocumentID):
    def create_model_from_doc(self, doc: dict[str, Any]) -> Fruit:
        return Fruit(doc=doc)


class Anything(Model):
    """A model of whatever type a test says."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.document = kwargs

    def as_doc_for_store(self, extra: int = 0) -> dict[str, Any]:
        return {**Model.as_doc_for_store(self), **self.document, "extra": extra}


async def stored(color: str = "red", **more: Any) -> Fruit:
    fruit = Fruit(fruit_id=more.pop("fruit_id", "1f"), color=color)
    is_ok, is_conflict, _ = await AsyncFruitPersister(fruit)
    assert (is_ok, is_conflict) == (True, False)
    return fruit


def heard() -> tuple[asyncio.Future[Any], Any]:
    """A future, and the callback that its result is the arguments of."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    return future, lambda *arguments: future.set_result(arguments)


async def test_a_stored_model_has_its_id_and_revision(orchard: Database) -> None:
    """CouchDB gives the id before the write, and the model knows what it was given."""
    fruit = await stored()
    assert (await orchard.get(fruit._id))["_rev"] == fruit._rev


async def test_callback_and_task_say_the_same(orchard: Database) -> None:
    """The callback's arguments are the result of the task that the method returns, and of the awaited action."""
    fruit = await stored()
    future, callback = heard()
    action = AsyncFruitRetriever("1f", async_state="state")
    result = await action.fetch(callback)
    assert await future == result
    assert (result[0], result[1]._id, result[2]) == (True, fruit._id, action)
    assert action.async_state == "state"
    assert (await AsyncFruitRetriever("1f"))[1].color == "red"


async def test_arguments_of_as_doc_for_store_are_handed_over(orchard: Database) -> None:
    """`model_as_doc_for_store_args` reach the model."""
    model = Anything(type="thing_v1.0")
    await AsyncPersister(model, [7], None)
    assert (await orchard.get(model._id))["extra"] == 7


async def test_an_older_revision_is_a_conflict(orchard: Database) -> None:
    """Storing and deleting on a revision that is no longer current give `is_conflict`, and change nothing."""
    first = await stored()
    second = Fruit(doc=await orchard.get(first._id))
    await AsyncFruitPersister(first)
    assert (await AsyncFruitPersister(second))[:2] == (False, True)
    assert (await AsyncDeleter(second))[:2] == (False, True)
    assert (await orchard.get(first._id))["_rev"] == first._rev


async def test_deleting(orchard: Database) -> None:
    """A deleted model is found no more, and has the tombstone's revision."""
    fruit = await stored()
    action = AsyncDeleter(fruit)
    assert await action == (True, False, action)
    assert (await AsyncFruitRetriever("1f"))[:2] == (True, None)
    assert fruit._rev.startswith("2-")


async def test_a_model_that_was_never_stored_cannot_be_deleted(orchard: Database) -> None:
    """It fails without asking CouchDB, and not as a conflict."""
    assert (await AsyncDeleter(Fruit(fruit_id="1f", color="red")))[:2] == (False, False)


@pytest.mark.parametrize("kind", ["fruit", "", "fruit_v1", "two words_v1.0", "fruit_v1.0\n", "fruit_v1.0x", None])
async def test_a_document_needs_a_type_with_a_version(orchard: Database, kind: str | None) -> None:
    """Anything else raises at once, before anything is written."""
    with pytest.raises(InvalidTypeInDocForStoreException, match="as_doc_for_store"):
        AsyncPersister(Anything(type=kind), [], None).persist(lambda *_: None)
    assert (await orchard.info())["doc_count"] == 1


async def test_retrieving_by_document_id(orchard: Database) -> None:
    """A document that there is not is no failure; a database that there is not is one."""
    fruit = await stored()
    assert (await ByDocumentID(fruit._id))[1].color == "red"
    assert (await ByDocumentID("nothing"))[:2] == (True, None)
    await AsyncDeleter(fruit)
    assert (await ByDocumentID(fruit._id))[:2] == (True, None)
    async_model_actions.database += "-not-there"
    failed = ByDocumentID("nothing")
    assert (await failed)[:2] == (False, None)
    assert isinstance(failed.error, NotFound)


@pytest.mark.parametrize("document_id", ["../_all_dbs", "a/b?c#d", "..", "%2F", "_all_docs", "\r\nX: y", "été"])
async def test_ids_are_quoted(orchard: Database, document_id: str) -> None:
    """An id is one document's, whatever it holds, and never another address."""
    assert (await ByDocumentID(document_id))[1] is None


@pytest.mark.parametrize(
    ("start", "end", "found"), [(0, 1, [0, 1]), ("", "b", ["", "a"]), (1, None, [1, 2, "", "a", "c"])]
)
async def test_every_key_counts(orchard: Database, start: Any, end: Any, found: list[Any]) -> None:
    """0 and "" are keys like others; None leaves a bound open."""
    for key in (0, 1, 2, "", "a", "c"):
        await stored(fruit_id=key)
    is_ok, fruits, _ = await AsyncFruitsRetriever(start, end)
    assert (is_ok, [each.fruit_id for each in fruits]) == (True, found)


async def test_transformed_models(orchard: Database) -> None:
    """`transform_models` says what the callback is given."""

    class ById(AsyncFruitsRetriever):
        def transform_models(self, models: list[Fruit]) -> dict[str, str]:
            return {each.fruit_id: each.color for each in models}

    await stored()
    assert (await ById())[1] == {"1f": "red"}


async def test_the_query_string_is_the_subclass_s_own(orchard: Database) -> None:
    """The most recent of several, as the original's documentation shows it: strings and numbers, as in a URL."""

    class MostRecent(AsyncModelRetriever):
        def get_query_string_key_value_pairs(self) -> dict[str, Any]:
            return {
                "include_docs": "true",
                "limit": 1,
                "descending": "true",
                "endkey": json.dumps(["1f"]),
                "start_key": json.dumps(["1f", {}]),
            }

        def create_model_from_doc(self, doc: dict[str, Any]) -> Fruit:
            return Fruit(doc=doc)

    view = {"map": "function (doc) { emit([doc.fruit_id, doc.created_on], null); }"}
    await orchard.put({"_id": "_design/recent", "views": {"recent": view}})
    for color in ("red", "green", "blue"):
        await stored(color)
    await stored("black", fruit_id="2f")
    assert (await MostRecent("recent", None))[1].color == "blue"


async def test_a_tampered_document_is_neither_missing_nor_an_outage(orchard: Database, tmp_path, monkeypatch) -> None:
    """One by itself fails with `InvalidSignature`; of a list it is left out and counted."""
    monkeypatch.setattr(async_model_actions, "tampering_signer", make_signer(tmp_path))
    fruit = await stored()
    await stored(fruit_id="2f")
    await orchard.put({**await orchard.get(fruit._id), "color": "blue"})
    for action in (AsyncFruitRetriever("1f"), ByDocumentID(fruit._id)):
        assert (await action)[:2] == (False, None)
        assert isinstance(action.error, InvalidSignature)
    fruits = AsyncFruitsRetriever()
    assert [each.fruit_id for each in (await fruits)[1]] == ["2f"]
    assert fruits.withheld == 1


async def test_one_document_of_a_newer_version_does_not_break_a_list(orchard: Database) -> None:
    """What the service's own code cannot read is left out, counted and logged."""
    await stored()
    await orchard.put({"_id": "new", "type": "fruit_v2.0", "fruit_id": "0"})
    action = AsyncFruitsRetriever()
    assert [each.fruit_id for each in (await action)[1]] == ["1f"]
    assert action.withheld == 1
    single = AsyncFruitRetriever("0")
    assert (await single)[:2] == (False, None)
    assert isinstance(single.error, ValueError)


async def test_a_callback_that_raises_is_reported(orchard: Database) -> None:
    """The event loop hears of it, and the action has its result all the same."""
    loop = asyncio.get_running_loop()
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: reports.append(context))
    action = AsyncCouchDBHealthCheck()
    assert (await action.check(lambda *_: 1 / 0))[0] is True
    await asyncio.sleep(0)
    assert isinstance(reports[0]["exception"], ZeroDivisionError)


async def test_an_action_is_one_at_a_time(orchard: Database) -> None:
    """Starting it while it is under way raises; afterwards it can be done again."""
    action = AsyncFruitRetriever("1f")
    first = action.fetch()
    with pytest.raises(RuntimeError, match="already running"):
        action.fetch()
    await first
    assert (await action.fetch())[0] is True


async def test_a_cancelled_action_calls_nobody_back(orchard: Database) -> None:
    """Cancelling the task ends the action without its callback."""
    called: list[Any] = []
    task = AsyncFruitRetriever("1f").fetch(lambda *arguments: called.append(arguments))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert called == []


@pytest.mark.parametrize("setting", ["no url", "ftp://x/y", "http://127.0.0.1:5984/_all_dbs", ""])
async def test_a_wrong_setting_fails_every_action(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told as a failure with its reason, and nothing is lost."""
    monkeypatch.setattr(async_model_actions, "database", setting)
    action = AsyncCouchDBHealthCheck()
    assert await action == (False, action)
    assert isinstance(action.error, ValueError)


async def test_credentials_are_settings_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """`username` and `password` are sent, and a change of them holds from the next call on."""
    async with FaultServer(answer(200, {"db_name": "orchard"})) as server:
        monkeypatch.setattr(async_model_actions, "database", f"{server.url}/orchard")
        assert (await AsyncCouchDBHealthCheck())[0] is True
        monkeypatch.setattr(async_model_actions, "username", "dave")
        monkeypatch.setattr(async_model_actions, "password", "secret")
        assert (await AsyncCouchDBHealthCheck())[0] is True
        sent = [each.headers.get("authorization") for each in server.requests]
    assert sent == [None, "Basic ZGF2ZTpzZWNyZXQ="]


async def test_accepted_is_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """202 means that CouchDB goes on storing: the original took it for a failure."""
    async with FaultServer(answer(202, {"ok": True, "id": "1f", "rev": "1-a", "uuids": ["1f"]})) as server:
        monkeypatch.setattr(async_model_actions, "database", f"{server.url}/orchard")
        model = Anything(type="thing_v1.0", _id="1f")
        assert (await AsyncPersister(model, [], None))[:2] == (True, False)
        assert model._rev == "1-a"


async def test_an_outage_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """5xx fails every kind of action, with the reason beside it."""
    async with FaultServer(answer(500, {"error": "x", "reason": "y"})) as server:
        monkeypatch.setattr(async_model_actions, "database", f"{server.url}/orchard")
        actions = (AsyncFruitRetriever("1f"), AsyncFruitsRetriever(), ByDocumentID("1f"), AsyncCouchDBHealthCheck())
        for action in actions:
            assert (await action)[0] is False
            assert isinstance(action.error, Unavailable)


async def test_metrics_say_by_a_code_why_they_failed(orchard: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """`fetch_failure_detail` tells CouchDB's outage from a view's, and an empty database from both."""
    retrieved = AsyncDatabaseMetricsRetriever()
    is_ok, metrics, _ = await retrieved
    assert (is_ok, retrieved.fetch_failure_detail) == (True, AsyncDatabaseMetricsRetriever.FFD_OK)
    assert metrics.doc_count == 1
    assert "@" not in metrics.database
    view = AsyncViewMetricsRetriever("nothing")
    assert (await view)[:2] == (False, None)
    assert view.fetch_failure_detail == AsyncViewMetricsRetriever.FFD_ERROR_TALKING_TO_COUCHDB
    await orchard.delete("_design/fruit_by_fruit_id", await orchard.revision("_design/fruit_by_fruit_id"))
    views = AsyncAllViewMetricsRetriever()
    assert (await views)[:2] == (True, [])
    assert views.fetch_failure_detail == AsyncAllViewMetricsRetriever.FFD_NO_DESIGN_DOCS_IN_DATABASE
    monkeypatch.setattr(async_model_actions, "database", "http://127.0.0.1:1/orchard")
    for action in (AsyncDatabaseMetricsRetriever(), AsyncAllViewMetricsRetriever()):
        assert (await action)[:2] == (False, None)
        assert action.fetch_failure_detail == action.FFD_ERROR_TALKING_TO_COUCHDB


async def test_a_view_without_sizes_has_metrics_that_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """That is no failure, as in the original; a view that fails is one of the database's metrics."""
    rows = {"rows": [{"id": "_design/x", "key": "_design/x", "value": {}}], "db_name": "d", "view_index": {}}
    async with FaultServer(answer(200, rows)) as server:
        monkeypatch.setattr(async_model_actions, "database", f"{server.url}/d")
        view = AsyncViewMetricsRetriever("x")
        is_ok, metrics, _ = await view
        assert (is_ok, metrics.fragmentation) == (True, None)
        assert view.fetch_failure_detail == AsyncViewMetricsRetriever.FFD_INVALID_RESPONSE_BODY
    async with FaultServer(answer(200, {"rows": rows["rows"], "db_name": "d"})) as server:
        monkeypatch.setattr(async_model_actions, "database", f"{server.url}/d")
        views = AsyncAllViewMetricsRetriever()
        assert (await views)[:2] == (False, None)
        assert views.fetch_failure_detail == AsyncAllViewMetricsRetriever.FFD_ERROR_FETCHING_VIEW_METRICS
        database = AsyncDatabaseMetricsRetriever()
        assert (await database)[:2] == (False, None)
        assert database.fetch_failure_detail == AsyncDatabaseMetricsRetriever.FFD_ERROR_GETTING_VIEW_METRICS


@pytest.mark.parametrize(
    ("data", "disk", "percentage"), [(25, 100, 75), (100, 100, 0), (0, 0, None), (None, 5, None), (5, None, None)]
)
def test_fragmentation(data: int | None, disk: int | None, percentage: int | None) -> None:
    """The part of the file that is of no use any more, in per cent; None where it cannot be said."""
    assert async_model_actions.ViewMetrics("x", data, disk).fragmentation == percentage


async def test_what_is_abstract_says_so(orchard: Database) -> None:
    """A subclass that forgets its part fails with a message that says which."""
    action = AsyncModelRetriever("fruit_by_fruit_id", "1f")
    await stored()
    assert (await action)[:2] == (False, None)
    assert "create_model_from_doc" in str(action.error)


def test_connections_end_with_their_event_loop(server_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that never closes anything leaves no open connection behind: a warning would fail this test."""

    async def check() -> bool:
        return bool((await AsyncCouchDBHealthCheck())[0])

    async def create() -> None:
        async with Couch(server_url) as couch:
            await couch.create_database("classic-loops")

    async def delete() -> None:
        async with Couch(server_url) as couch:
            await couch.delete_database("classic-loops")

    asyncio.run(create())
    monkeypatch.setattr(async_model_actions, "database", f"{server_url}/classic-loops")
    assert [asyncio.run(check()) for _ in range(3)] == [True] * 3
    asyncio.run(delete())


def test_the_original_s_signature_is_written_and_verified(tmp_path) -> None:
    """`sign` changes the document as the original did; a signature of anything else does not verify."""
    signer = make_signer(tmp_path)
    document = {"_id": "1f", "type": "fruit_v1.0", "color": "ré"}
    assert tamper.sign(signer, document) is document
    assert tamper.verify(signer, {**document, "_rev": "1-a", "_id": "other"})
    assert not tamper.verify(signer, {**document, "color": "red"})
    assert not tamper.verify(signer, {"color": "red"})
    assert not tamper.verify(signer, {**document, "801dbe4659a641739cbe94fcf0baab03_tampering_v1.0_sig": "dave"})


async def test_a_stalling_couchdb_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelling what waits for CouchDB ends at once."""
    async with FaultServer(stall) as server:
        monkeypatch.setattr(async_model_actions, "database", f"{server.url}/orchard")
        task = AsyncCouchDBHealthCheck().check()
        await asyncio.wait([task], timeout=0.1)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
