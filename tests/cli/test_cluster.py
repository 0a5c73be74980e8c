"""Making a cluster of nodes: what is asked of CouchDB, in which order, and what is told when a node is missing."""

from __future__ import annotations

import asyncio
import importlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.faults import Call, FaultServer, answer
from tornado_couch import Couch, Database, Store, install
from tornado_couch.cli.cluster import _advice, set_up_cluster
from tornado_couch.cli.main import main
from tornado_couch.couch import FakeTransport, Reply, Request
from tornado_couch.errors import TornadoCouchError


class Nodes:
    """A node that others are added to; each connects when it was looked for some more times."""

    def __init__(self, slow: int = 0, databases: tuple[str, ...] = ()) -> None:
        self.members = ["couchdb@one"]
        self.databases = list(databases)
        self.asked: list[str] = []
        self.slow = slow

    def __call__(self, request: Request) -> Reply:
        status, body = self.answer(request.method, request.target)
        return FakeTransport.reply(status, json.dumps(body).encode())

    def answer(self, method: str, target: str) -> tuple[int, dict[str, object]]:
        self.asked.append(f"{method} {target}")
        if method == "GET":
            connected = self.members if self.slow <= 0 else self.members[:1]
            self.slow -= len(self.members) > 1
            return 200, {"all_nodes": connected, "cluster_nodes": self.members}
        name = target.rpartition("/")[2].replace("%40", "@")
        known, error = (self.members, 409) if "_nodes" in target else (self.databases, 412)
        if name in known:
            return error, {"error": "conflict" if error == 409 else "file_exists", "reason": "there"}
        known.append(name)
        return 201, {"ok": True}


async def test_nodes_are_added_and_waited_for() -> None:
    """The system databases come last, so that they have copies on every node."""
    nodes = Nodes(slow=2)
    couch = Couch("http://one", transport=FakeTransport(nodes))
    done = await set_up_cluster(couch, ["couchdb@two", "couchdb@three"])
    assert done == [
        "added node couchdb@two",
        "added node couchdb@three",
        "created database _users",
        "created database _replicator",
    ]
    assert [each.split()[0] for each in nodes.asked] == ["GET", "PUT", "PUT", "GET", "GET", "GET", "PUT", "PUT"]
    assert nodes.asked[1] == "PUT /_node/_local/_nodes/couchdb%40two"


async def test_waiting_is_reported() -> None:
    """How many nodes have connected since it looked last, and how many are missing: for a progress bar."""
    told: list[tuple[int, int | None]] = []
    couch = Couch("http://one", transport=FakeTransport(Nodes(slow=2)))
    await set_up_cluster(couch, ["couchdb@two", "couchdb@three"], report=lambda *counts: told.append(counts))
    assert told == [(1, 2), (0, 2), (2, 0)]


async def test_a_second_run_finds_nothing_to_do() -> None:
    """What is there already is left as it is."""
    couch = Couch("http://one", transport=FakeTransport(Nodes()))
    await set_up_cluster(couch, ["couchdb@two"])
    assert await set_up_cluster(couch, ["couchdb@two"]) == []


async def test_a_node_that_does_not_come_is_named() -> None:
    """The message says which, and what to look for."""
    couch = Couch("http://one", transport=FakeTransport(Nodes(slow=100)))
    with pytest.raises(TornadoCouchError, match=r"couchdb@two did not connect\..*cookie"):
        await set_up_cluster(couch, ["couchdb@two"], patience=0)


@pytest.mark.parametrize("name", ["two", "a@b/../../x", "a@b c", "", "@two", "a@"])
async def test_other_names_are_refused_before_anything_is_done(name: str) -> None:
    """CouchDB would take any text for a node, and wait for it ever after."""
    fake = FakeTransport(Nodes())
    with pytest.raises(ValueError, match="NAME@HOST"):
        await set_up_cluster(Couch("http://one", transport=fake), ["couchdb@two", name])
    assert fake.requests == []


async def test_the_command() -> None:
    """It says what it did, as text or JSON; wrong names are wrong usage; a missing server is one line and status 2."""
    nodes = Nodes()

    async def behave(call: Call) -> None:
        status, body = nodes.answer(call.request.method, call.request.target)
        await answer(status, body)(call)

    async with FaultServer(behave) as server:
        run = lambda *arguments: asyncio.to_thread(CliRunner().invoke, main, ["cluster", *arguments])  # noqa: E731
        url = server.url
        first = await run("--url", server.url, "couchdb@two")
        again = await run("--url", server.url, "couchdb@two")
        as_json = await run("--url", server.url, "couchdb@two", "couchdb@three", "--json")
        wrong = await run("--url", server.url, "two")
    gone = await run("--url", url, "couchdb@two")
    assert (first.exit_code, first.output.splitlines()[0]) == (0, "added node couchdb@two")
    assert (again.exit_code, again.output) == (0, "nothing to do\n")
    assert (as_json.exit_code, json.loads(as_json.output)) == (0, {"done": ["added node couchdb@three"]})
    assert (wrong.exit_code, gone.exit_code) == (2, 2)
    assert "NAME@HOST" in wrong.output
    assert "Traceback" not in gone.output


async def test_health_says_what_lets_writes_collide() -> None:
    """Of a cluster: CouchDB before 3.5.2, or the setting that asks one copy first, if it is switched off."""
    advised: list[list[str]] = []
    cases = (("3.5.0", 3, None), ("3.5.2", 3, "false"), ("3.10.0", 3, None), ("3.5.0", 1, None))
    for version, members, setting in cases:
        answers = {
            "/_membership": {"all_nodes": [], "cluster_nodes": [f"couchdb@{n}" for n in range(members)]},
            "/_node/_local/_config/fabric/serialize_worker_startup": setting,
        }

        def answered(request: Request, answers: dict[str, object] = answers) -> Reply:
            found = answers[request.target]
            status = 404 if found is None else 200
            return FakeTransport.reply(status, json.dumps(found or {"error": "not_found", "reason": "x"}).encode())

        advised.append(await _advice(Couch("http://one", transport=FakeTransport(answered)), version))
    assert ["upgrade" in advised[0][0], "serialize_worker_startup = false" in advised[1][0]] == [True, True]
    assert advised[2:] == [[], []]


APP = """
from tornado_couch import AllowAny, Application, Model, Store, resource

class Note(Model, type="note_v1.0", key="name", unique=True):
    name: str

class Person(Model, type="person_v1.0"):
    pass

def wrong(one, two):
    pass

def make_app(couch):
    store = Store(couch["DATABASE"])
    actions = {"_sort": lambda: None, "fold": lambda note: None}
    return Application(
        [*resource("/notes", Note, store, actions=actions), *resource("/people", Person, store)], policy=AllowAny()
    )
"""


async def test_health_lists_documents_whose_keys_are_names(
    database: Database, server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an application: those from before the name was taken, with the address that each has."""
    module = f"app_{database.name.replace('-', '_')}"
    (tmp_path / f"{module}.py").write_text(APP.replace("DATABASE", database.name))
    monkeypatch.syspath_prepend(tmp_path)
    made = importlib.import_module(module)
    line = ["health", "--url", server_url, "--app", f"{module}:make_app"]
    (tmp_path / f"{module}_gone.py").write_text(APP.replace("DATABASE", f"{database.name}-gone"))
    gone = await asyncio.to_thread(CliRunner().invoke, main, [*line[:-1], f"{module}_gone:make_app"])
    assert (gone.exit_code, f"/notes: its database '{database.name}-gone' does not exist" in gone.output) == (2, True)
    await install(database.server, database.name, [made.Note])  # type: ignore[arg-type]
    store = Store(database)
    for name in ("_sort", "fold", "plain", "_changes"):
        await store.create(made.Note(name=name))
    done = await asyncio.to_thread(CliRunner().invoke, main, line)
    assert (done.exit_code, done.output.splitlines()[1:]) == (
        0,
        [
            "/notes/%5Fchanges is the address of the document '_changes'",
            "/notes/%5Fsort is the address of the document '_sort'",
        ],
    )
    wrong = await asyncio.to_thread(CliRunner().invoke, main, [*line[:-1], f"{module}:wrong"])
    assert (wrong.exit_code, "does not give an application" in wrong.output) == (2, True)
    found = json.loads((await asyncio.to_thread(CliRunner().invoke, main, [*line, "--json"])).output)
    assert found["shadowed"][0] == {"at": "/notes/%5Fchanges", "key": "_changes"}
