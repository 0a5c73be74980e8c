"""Functions without end cost those who ask for them; everybody else is served meanwhile."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from tests.embedded.client import Answer, Client
from tornado_couch.embedded.javascript.pool import SECONDS
from tornado_couch.embedded.server import BackgroundCouch

ENDLESS = "function () { while (true) {} }"
CLIENTS = 10
GOOD = {"views": {"v": {"map": "function (doc) { emit(doc._id, 1) }", "reduce": "_count"}}}
BAD = {"views": {"v": {"map": ENDLESS}}}


@contextmanager
def asking(db: Client, *paths: str) -> Iterator[list[Future[Answer]]]:
    """Clients that ask for something each, all at once; at the end each has its answer."""
    with ThreadPoolExecutor(len(paths)) as pool:
        yield [pool.submit(db.get, path) for path in paths]


def others_are_served(db: Client, asked: list[Future[Answer]]) -> None:
    """Another design document's view and a plain document are answered before any of those who asked."""
    for _ in range(3):
        assert db.get("/_design/good/_view/v").json["rows"] == [{"key": None, "value": 1}]
        assert db.get("/a").status == 200
    assert not any(future.done() for future in asked)


@pytest.fixture
def memory() -> Iterator[Client]:
    """A client of an empty database of a server in memory."""
    with BackgroundCouch() as url:
        client = Client(url)
        assert client.put("/db").status == 201
        yield client.within("db")


def test_ten_who_ask_an_endless_view_keep_nobody_waiting(db: Client) -> None:
    """Others are served meanwhile, and the ten wait once: one attempt fails for all who waited for it."""
    db.save("a", {})
    db.save("_design/good", GOOD)
    db.save("_design/bad", BAD)
    began = time.monotonic()
    with asking(db, *["/_design/bad/_view/v"] * CLIENTS) as asked:
        others_are_served(db, asked)
    assert [future.result().json["reason"] for future in asked] == ["OS process timed out."] * CLIENTS
    assert time.monotonic() - began < SECONDS * CLIENTS / 2


def test_who_asks_other_endless_functions_keeps_nobody_waiting(db: Client) -> None:
    """Reduces, shows and filters of one design document take no more than its share of the threads."""
    db.save("a", {})
    db.save("_design/good", GOOD)
    reduced = {"map": "function (doc) { emit(1, 1) }", "reduce": ENDLESS}
    db.save("_design/bad", {"views": {"v": reduced}, "shows": {"s": ENDLESS}, "filters": {"f": ENDLESS}})
    paths = ["/_design/bad/_view/v", "/_design/bad/_show/s", "/_changes?filter=bad/f"]
    with asking(db, *paths * 2) as asked:
        others_are_served(db, asked)
    assert [future.result().status for future in asked] == [500] * len(asked)


def test_an_endless_validation_keeps_no_reader_waiting(memory: Client) -> None:
    """Documents of the same database can be read while a `validate_doc_update` function runs, in memory too."""
    memory.save("a", {})
    memory.save("_design/bad", {"validate_doc_update": ENDLESS})
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(memory.put, "/b", {})
        for _ in range(20):
            assert memory.get("/a").status == 200
        assert not writing.done()
        assert writing.result().status == 500


def test_a_database_is_deleted_while_its_endless_view_runs(server: Client) -> None:
    """The answer does not wait for the view, the name is free at once, and other databases go on."""
    name = f"gone-{uuid.uuid4().hex}"
    db = server.within(name)
    server.put(f"/{name}")
    db.save("a", {})
    db.save("_design/bad", BAD)
    with asking(db, *["/_design/bad/_view/v"] * 2) as asked:
        while not db.get("/_design/bad/_info").json["view_index"]["updater_running"]:
            pass
        assert server.delete(f"/{name}").status == 200
        assert server.put(f"/{name}").status == 201
        assert db.get("/a").status == 404
        assert not any(future.done() for future in asked)
    assert {future.result().status for future in asked} <= {404, 500}
    server.delete(f"/{name}")


def test_a_lazy_update_follows_the_answer(db: Client) -> None:
    """`update=lazy` answers from the index as it is and brings it up to date behind the answer."""
    db.save("_design/good", GOOD)
    assert db.get("/_design/good/_view/v?reduce=false").json["rows"] == []
    db.save("a", {})
    assert db.get("/_design/good/_view/v?reduce=false&update=lazy").json["rows"] == []
    while not db.get("/_design/good/_view/v?reduce=false&update=false").json["rows"]:
        pass
