"""JavaScript in workers: what functions may do, and what becomes of those that do too much."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.embedded.engine import refusal
from tornado_couch.embedded.javascript.pool import Program, Scripts
from tornado_couch.embedded.problems import Problem


@pytest.fixture
def scripts() -> Iterator[Scripts]:
    """Workers that wait one second for a call."""
    pool = Scripts(seconds=1.0)
    yield pool
    pool.close()


def emitted(scripts: Scripts, source: str, document: Any = None, **members: Any) -> list[tuple[Any, Any]]:
    """Key and value of what a map function emits for a document."""
    program = Program(json.dumps({"views": {"v": {"map": source}, **members}}))
    (texts,) = json.loads(scripts.call(program, "map", '["v"]', json.dumps(document or {"_id": "a"})))
    return [(json.loads(key), json.loads(value)) for key, value in zip(texts[::2], texts[1::2], strict=True)]


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        ("function (doc) { emit(1) };", [1]),
        ("// a comment\nfunction (doc) { emit(1) } // and one", [1]),
        ("/* a comment */ function(doc) { emit(1) }", [1]),
        ("var x = 7; function (doc) { emit(x) }", [7]),
        ("function five() { return 5 }; function (doc) { emit(five()) }", [5]),
        ("(function (doc) { emit(2) })", [2]),
        ("(doc) => emit(3);", [3]),
        ("var f = function (doc) { emit(4) }; f", [4]),
        ("({_id, ...rest}) => { emit(`${_id}!`); emit([...[1, 2]]); emit(rest?.nope ?? null) }", ["a!", [1, 2], None]),
        ("function (doc) { emit(undefined); emit(function () {}); emit(NaN); emit([undefined]) }",
         [None, None, None, [None]]),
        ("function (doc) { emit(new Date(0)); emit(1e21); emit(-0) }", ["1970-01-01T00:00:00.000Z", 1e21, 0]),
        ("function (doc) { emit([isArray([]), typeof toJSON, typeof log, sum([1, 2, 3])]) }",
         [[True, "function", "function", 6]]),
        ("function (doc) { emit('x'.repeat(100000)) }", ["x" * 100000]),
    ],
)
def test_what_couchdb_takes_is_a_function(scripts: Scripts, source: str, keys: list[Any]) -> None:
    """Anonymous functions, also behind other statements and comments, and modern syntax."""
    assert [key for key, _ in emitted(scripts, source)] == keys


@pytest.mark.parametrize(
    "source",
    ["function named(doc) { emit(1) }", "42", "async function (doc) {}", "function (doc) { emit(", "foo bar", ""],
)
def test_what_couchdb_refuses_is_none(scripts: Scripts, source: str) -> None:
    """A named function, no function, and a syntax error are compilation errors."""
    assert refusal(lambda: emitted(scripts, source))[:2] == (500, "compilation_error")


def test_a_document_is_frozen(scripts: Scripts) -> None:
    """A map function cannot change its document: sorting a member in place throws, as in CouchDB."""
    assert emitted(scripts, "function (d) { d.n = 2; emit(d.n) }", {"_id": "a", "n": 1}) == [(1, None)]
    assert emitted(scripts, "function (d) { d.tags.sort(); emit(1) }", {"_id": "a", "tags": [2, 1]}) == []


def test_an_error_value_is_emitted_with_its_words(scripts: Scripts) -> None:
    """emit(key, new Error(...)) gives name and message."""
    assert emitted(scripts, "function (d) { emit(1, new TypeError('x')) }") == [
        (1, {"error": "TypeError", "message": "x"})
    ]


def test_modules_are_required_from_the_design_document(scripts: Scripts) -> None:
    """`require` finds modules under views/lib, absolute and relative, and runs each once, also in a circle."""
    library = {
        "m": "exports.k = require('./deep/n').twice(21); exports.again = require('views/lib/deep/n').count;",
        "deep": {"n": "exports.count = (exports.count || 0) + 1; exports.twice = function (x) { return 2 * x; };"
                      "require('../m');"},
    }
    source = "function (doc) { var m = require('views/lib/m'); emit(m.k, m.again) }"
    assert emitted(scripts, source, lib=library) == [(42, 1)]


@pytest.mark.parametrize(
    ("path", "error"),
    [("views/lib/nope", "invalid_require_path"), ("views/lib", "invalid_require_path"),
     ("views/lib/broken", "compilation_error"), ("./m", "invalid_require_path")],
)
def test_a_module_that_is_not_there_is_an_error(scripts: Scripts, path: str, error: str) -> None:
    """CouchDB swallows it in a map; the function sees the error."""
    source = f"function (doc) {{ try {{ require('{path}') }} catch (e) {{ emit(e[1]) }} }}"
    assert emitted(scripts, source, lib={"m": "", "broken": "x("}) == [(error, None)]


def test_an_endless_function_ends_within_its_limit(scripts: Scripts) -> None:
    """CouchDB's answer to a function that takes too long; the worker serves the next call."""
    for body in ("while (1);", "try { while (1); } finally { while (1); }", "/(a+)+$/.test('a'.repeat(50) + 'b')"):
        words = refusal(lambda body=body: emitted(scripts, f"function (doc) {{ {body} }}"))
        assert words == (500, "os_process_error", "OS process timed out.")
    assert emitted(scripts, "(doc) => emit(1)") == [(1, None)]


def test_a_call_that_the_engine_cannot_interrupt_is_killed(scripts: Scripts) -> None:
    """A built-in that runs for minutes does not hold its worker's caller: the process is killed."""
    source = "function (doc) { new Array(4e8).fill(0).sort().join('x'.repeat(100)) }"
    status, error, _ = refusal(lambda: emitted(scripts, source))
    assert (status, error in ("os_process_error", "InternalError")) == (500, True)
    assert emitted(scripts, "(doc) => emit(1)") == [(1, None)]


def test_everyone_else_is_served_meanwhile(scripts: Scripts) -> None:
    """While endless functions run, other functions answer."""
    failures: list[tuple[int, str, str]] = []

    def run() -> None:
        failures.append(refusal(lambda: emitted(scripts, "(doc) => { while (1); }")))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    served = 0
    while any(thread.is_alive() for thread in threads):
        assert emitted(scripts, "(doc) => emit(1)") == [(1, None)]
        served += 1
    assert (served > 1, [error for _, error, _ in failures]) == (True, ["os_process_error"] * 3)


def test_greed_costs_only_its_own_call(scripts: Scripts) -> None:
    """A function that fills its memory, and one that recurses for ever, get an error; the next call works."""
    greedy = "function (doc) { var a = []; while (1) a.push('x'.repeat(1e6) + a.length) }"
    assert refusal(lambda: emitted(scripts, greedy)) == (500, "InternalError", "out of memory")
    assert refusal(lambda: emitted(scripts, "(doc) => { let f = () => f() + 1; f() }"))[:2] == (500, "InternalError")
    huge = "(doc) => { for (let i = 0; i < 60; i++) emit('x'.repeat(1e7)) }"
    assert refusal(lambda: emitted(scripts, huge))[0] == 500
    assert emitted(scripts, "(doc) => emit(1)") == [(1, None)]


def test_deep_documents_are_mapped(scripts: Scripts) -> None:
    """Thousands of nested arrays are parsed and frozen without exhausting the engine's stack."""
    document = '{"_id": "a", "deep": ' + "[" * 3000 + "]" * 3000 + "}"
    program = Program(json.dumps({"views": {"v": {"map": "(doc) => emit(doc.deep.length)"}}}))
    assert scripts.call(program, "map", '["v"]', document) == '[["1","null"]]'


def test_functions_reach_no_host(scripts: Scripts, tmp_path: Path) -> None:
    """There are no files, processes, sockets or timers; an import finds nothing."""
    absent = ("std", "os", "process", "fetch", "XMLHttpRequest", "setTimeout", "Worker", "WebAssembly", "Deno", "print",
              "readline", "load", "console", "Promise", "performance", "SharedArrayBuffer", "evalcx")
    source = f"(doc) => emit({json.dumps(absent)}.filter((name) => name in globalThis))"
    assert emitted(scripts, source) == [([], None)]
    (tmp_path / "m.js").write_text("globalThis.stolen = 1;")
    for text in (f"(doc) => {{ import('{tmp_path}/m.js'); emit(typeof stolen) }}",
                 f"(doc) => {{ new Function(\"import('{tmp_path}/m.js')\")(); emit(typeof stolen) }}"):
        assert emitted(scripts, text) == [("undefined", None)]
    assert refusal(lambda: emitted(scripts, f"import '{tmp_path}/m.js'; (doc) => emit(1)"))[1] == "compilation_error"


def test_a_function_that_breaks_its_tools_harms_itself_alone(scripts: Scripts) -> None:
    """Overwriting JSON, emit or Array in one design document leaves others as they are."""
    bad = "(doc) => { JSON.stringify = () => '}'; Array.prototype.join = () => 7; emit = null; Array.isArray = null }"
    with contextlib.suppress(Problem, ValueError):
        emitted(scripts, bad)
    assert emitted(scripts, "(doc) => emit([1], JSON.stringify([2]))") == [([1], "[2]")]


def test_many_design_documents_share_few_workers(scripts: Scripts) -> None:
    """More programs than a worker keeps are loaded again when they come back."""
    for _ in range(2):
        for number in range(20):
            assert emitted(scripts, f"(doc) => emit({number})") == [(number, None)]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def children() -> set[int]:
    listed = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {int(pid) for task in listed for pid in task.read_text().split()}


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_close_leaves_no_process() -> None:
    """After close, and while a call runs, every worker is gone; a later call is refusal."""
    before = children()
    pool = Scripts(seconds=30)
    assert emitted(pool, "(doc) => emit(1)") == [(1, None)]
    problems: list[tuple[int, str, str]] = []
    thread = threading.Thread(
        target=lambda: problems.append(refusal(lambda: emitted(pool, "(doc) => { while (1); }")))
    )
    thread.start()
    while not pool._busy:
        time.sleep(0.01)
    pool.close()
    thread.join(20)
    assert (children() - before, [error for _, error, _ in problems]) == (set(), ["os_process_error"])
    assert refusal(lambda: emitted(pool, "(doc) => emit(1)"))[0] == 503


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")
def test_a_killed_worker_is_replaced(scripts: Scripts) -> None:
    """A worker that somebody kills costs at most one call."""
    before = children()
    emitted(scripts, "(doc) => emit(1)")
    for pid in children() - before:
        os.kill(pid, 9)
        while alive(pid):
            time.sleep(0.01)
    assert emitted(scripts, "(doc) => emit(2)") == [(2, None)]
