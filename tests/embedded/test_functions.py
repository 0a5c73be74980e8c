"""The functions of design documents, and what a design document may hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.embedded.engine import refusal
from tornado_couch.embedded.javascript.pool import Scripts
from tornado_couch.embedded.views.functions import Functions, check_design

MAP = "function (doc) { emit(1) }"


@pytest.fixture(scope="module")
def scripts() -> Iterator[Scripts]:
    """Workers that wait one second for a call."""
    pool = Scripts(seconds=1.0)
    yield pool
    pool.close()


@pytest.fixture
def functions(scripts: Scripts) -> Functions:
    """The functions of any design document."""
    return Functions(scripts)


def document(**members: Any) -> str:
    return json.dumps({"_id": "_design/d", **members})


# ---- validate_doc_update


@pytest.mark.parametrize(
    ("thrown", "expected"),
    [
        ("{forbidden: 'no'}", (403, "forbidden", "no")),
        ("{unauthorized: 'login'}", (401, "unauthorized", "login")),
        ("{forbidden: 5}", (403, "forbidden", 5)),
        ("{forbidden: {why: [1, 'x']}}", (403, "forbidden", {"why": [1, "x"]})),
        ("{forbidden: ['a', 'b']}", (403, "forbidden", "ab")),
        ("['error', 'name', 'why']", (500, "name", "why")),
        ("{other: 'x'}", (500, "unknown_error", "x")),
        ("'text'", (500, "unknown_error", "text")),
        ("{forbidden: 'a', unauthorized: 'b'}", (500, "unknown_error", "function_clause")),
        ("new Error('boom')", (500, "Error", "boom")),
        ("require('nope')", (500, "invalid_require_path", "Object has no property \"nope\".")),
        ("(() => { while (1); })()", (500, "os_process_error", "OS process timed out.")),
    ],
)
def test_what_a_validation_throws_is_the_answer(
    functions: Functions, thrown: str, expected: tuple[int, str, Any]
) -> None:
    """403 and 401 as it says; other objects, text and errors are 500."""
    design = document(validate_doc_update=f"function (doc) {{ throw {thrown} }}")
    status, error, reason = refusal(functions.validate, [design], '{"_id": "a"}', None, {}, {})
    shown = reason[: len(expected[2])] if isinstance(reason, str) else reason
    assert (status, error, shown) == expected


def test_a_validation_gets_four_arguments(functions: Functions) -> None:
    """The new and the old document, user context and security object; `this` is the design document."""
    source = "function (n, o, user, security) { throw {forbidden: JSON.stringify([n, o, user, security, this._id])} }"
    arguments = ('{"_id": "a", "n": 2}', '{"_id": "a", "n": 1}', {"name": "u"}, {"members": {}})
    words = refusal(functions.validate, [document(validate_doc_update=source)], *arguments)[2]
    new, old, *others = json.loads(words)
    assert (new, old) == ({"_id": "a", "n": 2}, {"_id": "a", "n": 1})
    assert others == [{"name": "u"}, {"members": {}}, "_design/d"]


def test_every_validation_is_asked(functions: Functions) -> None:
    """Whether one passes or not, another may refuse; a valid document passes all."""
    designs = [
        document(validate_doc_update=f"(doc) => {{ if (!doc.{name}) throw {{forbidden: '{name}'}} }}") for name in "ab"
    ]
    functions.validate(designs, '{"a": 1, "b": 1}', None, {}, {})
    assert refusal(functions.validate, designs, '{"a": 1}', None, {}, {})[2] == "b"


# ---- filters


def test_a_filter_lets_documents_through(functions: Functions) -> None:
    """By its truth, with the request; many documents in their order."""
    design = document(filters={"f": "function (doc, req) { return doc.n % 2 == req.query.rest && 'yes' }"})
    documents = [json.dumps({"_id": str(n), "n": n}) for n in range(120)]
    assert functions.filter(design, "f", documents, {"query": {"rest": "1"}}) == [n % 2 == 1 for n in range(120)]
    assert functions.filter(design, "f", [], {}) == []


def test_a_view_filters_by_what_it_emits(functions: Functions) -> None:
    """`filter=_view`."""
    design = document(views={"v": {"map": "function (doc) { if (doc.n) emit(doc.n) }"}})
    assert functions.filter_view(design, "v", ['{"n": 1}', "{}"]) == [True, False]


def test_a_filter_that_fails_is_an_error(functions: Functions) -> None:
    """404 when it is missing, 500 when it throws or does not compile."""
    design = document(filters={"throws": "() => { throw new Error('x') }", "broken": "function ("})
    errors = {name: refusal(functions.filter, design, name, ["{}"], {})[:2] for name in ("nope", "throws", "broken")}
    assert errors == {"nope": (404, "not_found"), "throws": (500, "Error"), "broken": (500, "compilation_error")}
    assert refusal(functions.filter, document(), "f", ["{}"], {}) == (404, "not_found", "missing json key: filters")


# ---- updates, shows, lists


def test_an_update_gives_a_document_and_a_reply(functions: Functions) -> None:
    """The document to write, or none; code, headers, and a body as text, JSON or base64."""
    design = document(updates={
        "count": "function (doc, req) { doc = doc || {_id: req.id, n: 0}; doc.n++; return [doc, {json: {n: doc.n}}] }",
        "teapot": "(doc, req) => [null, {code: 418, headers: {'X-Foo': 1}, body: 'tea ' + req.method}]",
        "bytes": "() => [null, {base64: 'AAH/'}]",
        "text": "() => [null, 'hello']",
    })
    made = functions.update(design, "count", None, {"method": "POST", "id": "a"})
    assert made.document == '{"_id":"a","n":1}'
    assert made.response == (None, {"Content-Type": "application/json"}, b'{"n":1}')
    assert functions.update(design, "count", '{"_id": "a", "n": 4}', {"method": "PUT"}).response.body == b'{"n":5}'
    teapot = functions.update(design, "teapot", None, {"method": "PUT"})
    assert (teapot.document, teapot.response.code, teapot.response.headers["X-Foo"]) == (None, 418, "1")
    assert functions.update(design, "bytes", None, {"method": "PUT"}).response.body == b"\x00\x01\xff"
    assert functions.update(design, "text", None, {"method": "PUT"}).response == (
        None, {"Content-Type": "text/html; charset=utf-8"}, b"hello",
    )


@pytest.mark.parametrize(
    ("source", "status", "error"),
    [
        ("() => { throw new Error('no') }", 500, "render_error"),
        ("() => { throw ['error', 'not_found', 'gone'] }", 404, "not_found"),
        ("() => { throw {error: 'conflict', reason: 'x'} }", 409, "conflict"),
        ("() => 7", 500, "render_error"),
        ("() => [7, 'x']", 500, "update_error"),
    ],
)
def test_an_update_that_fails_is_an_error(functions: Functions, source: str, status: int, error: str) -> None:
    """500 render_error, or what the function asks for."""
    design = document(updates={"u": source})
    assert refusal(functions.update, design, "u", None, {"method": "POST"})[:2] == (status, error)


def test_an_update_takes_no_get(functions: Functions) -> None:
    """405 method_not_allowed."""
    assert refusal(functions.update, document(updates={"u": "() => 1"}), "u", None, {"method": "GET"})[0] == 405


def test_a_show_renders_a_document(functions: Functions) -> None:
    """With and without one; `send` adds to the body, modules of the whole design document are at hand."""
    design = document(
        lib={"words": "exports.hello = 'show '"},
        shows={"s": "function (doc) { return require('lib/words').hello + (doc ? doc.n : null) }",
               "sent": "function () { start({headers: {'X-A': 'b'}}); send('a'); send('b'); return 'c' }"},
    )
    assert functions.show(design, "s", '{"n": 2}', {}).body == b"show 2"
    assert functions.show(design, "s", None, {}).body == b"show null"
    sent = functions.show(design, "sent", None, {})
    assert (sent.body, sent.headers["X-A"]) == (b"abc", "b")
    assert refusal(functions.show, design, "nope", None, {})[0] == 404


@pytest.mark.parametrize(
    ("request_", "body", "kind"),
    [
        ({"headers": {"Accept": "application/json"}}, b'{"a":1}', "application/json"),
        ({"headers": {"Accept": "text/html;q=0.5, application/json;q=0.4"}}, b"<b>", "text/html; charset=utf-8"),
        ({"headers": {"Accept": "text/*"}}, b"<b>", "text/html; charset=utf-8"),
        ({"headers": {}}, b"<b>", "text/html; charset=utf-8"),
        ({"headers": {}, "query": {"format": "json"}}, b'{"a":1}', "application/json"),
        ({"headers": {"Accept": "application/x-mine"}}, b"mine", "application/x-mine"),
    ],
)
def test_a_show_provides_what_is_accepted(functions: Functions, request_: Any, body: bytes, kind: str) -> None:
    """`provides` by the Accept header or `format`, with types of its own by `registerType`."""
    source = """function (doc, req) {
        registerType('mine', 'application/x-mine');
        provides('html', function () { return '<b>' });
        provides('json', function () { return {body: JSON.stringify({a: 1})} });
        provides('mine', function () { return 'mine' });
    }"""
    response = functions.show(document(shows={"s": source}), "s", None, request_)
    assert (response.body, response.headers["Content-Type"]) == (body, kind)


def test_a_show_that_provides_nothing_acceptable_is_406(functions: Functions) -> None:
    """As CouchDB answers."""
    design = document(shows={"s": "function () { provides('html', function () { return 'x' }) }"})
    request = {"headers": {"Accept": "image/png"}}
    assert refusal(functions.show, design, "s", None, request)[:2] == (406, "not_acceptable")


def test_a_list_renders_a_view(functions: Functions) -> None:
    """It gets the head and row after row; what it returns ends the body."""
    design = document(lists={"l": """function (head, req) {
        start({code: 201, headers: {'Content-Type': 'text/csv'}});
        send(head.total_rows + ':'); var row; while (row = getRow()) send(row.id + ';'); return 'end'; }"""})
    reply = '{"total_rows": 2, "offset": 0, "rows": [{"id": "a", "key": 1}, {"id": "b", "key": 2}]}'
    assert functions.list(design, "l", reply, {"headers": {}}) == (201, {"Content-Type": "text/csv"}, b"2:a;b;end")


# ---- what a design document may hold


@pytest.mark.parametrize(
    ("members", "error", "reason"),
    [
        ({"language": 5}, "invalid_design_doc", "`language` field must have string type"),
        ({"options": 5}, "invalid_design_doc", "`options` field must have object type"),
        ({"filters": 5}, "invalid_design_doc", "`filters` field must have object type"),
        ({"filters": {"a": 5}}, "invalid_design_doc", "`filters.a` field must have string or object type"),
        ({"rewrites": {}}, "invalid_design_doc", "`rewrites` field must have array or string type"),
        ({"validate_doc_update": {}}, "invalid_design_doc", "`validate_doc_update` field must have string type"),
        ({"views": "x"}, "invalid_design_doc", "`views` field must have object type"),
        ({"views": {"a": 5}}, "invalid_design_doc", "`views.a` field must have object type"),
        ({"views": {"lib": 5}}, "invalid_design_doc", "`views.lib` field must have object type"),
        ({"views": {"a": {}}}, "invalid_design_doc", "View `a` must contain map function"),
        ({"views": {"a": {"map": 7}}}, "invalid_design_doc", "`views.a.map` field must have string type"),
        ({"views": {"a": {"map": MAP, "reduce": 5}}}, "invalid_design_doc",
         "`views.a.reduce` field must have string type"),
        ({"views": {"a": {"map": MAP, "reduce": "_nosuch"}}}, "invalid_design_doc",
         "`_nosuch` is not a supported reduce function."),
        ({"views": {"a": {"map": MAP, "reduce": "_top_101"}}}, "invalid_design_doc",
         "rank value must be between 1 and 100"),
        ({"views": {"a": {"map": MAP, "reduce": "_bottom_x"}}}, "invalid_design_doc", "invalid rank reducer"),
        ({"language": "query", "views": {"a": {"map": "x"}}}, "invalid_design_doc",
         "`views.a.map` field must have object type"),
        ({"options": {"partitioned": True}}, "invalid_design_doc",
         "partitioned option cannot be true in a non-partitioned database."),
        ({"views": {"a": {"map": "function ("}}}, "compilation_error",
         "Compilation of the map function in the 'a' view failed: SyntaxError: missing formal parameter (function ()"),
        ({"views": {"a": {"map": "42"}}}, "compilation_error",
         "Compilation of the map function in the 'a' view failed: Expression does not eval to a function. (42)"),
        ({"views": {"a": {"map": MAP, "reduce": "foo bar"}}}, "compilation_error",
         "Compilation of the reduce function in the 'a' view failed: SyntaxError: expecting ';' (foo bar)"),
    ],
)
def test_a_design_document_that_makes_no_sense_is_refused(
    scripts: Scripts, members: dict[str, Any], error: str, reason: str
) -> None:
    """400 when it is written, in CouchDB's words."""
    assert refusal(check_design, document(**members), scripts) == (400, error, reason)


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"filters": {"a": "function ("}, "validate_doc_update": "function (", "shows": {"s": {}}},
        {"views": {"lib": {"m": "x("}, "a": {"map": "function (d) { require('views/lib/nope') }"}}},
        {"views": {name: {"map": MAP, "reduce": name} for name in ("_sum", "_statsx", "_top_3")}},
        {"language": "cobol", "views": {"a": {"map": "MOVE"}}},
        {"language": "query", "views": {"a": {"map": {"fields": {"a": "asc"}}}}},
        {"options": {"x": 1}, "rewrites": [], "other": 5},
    ],
)
def test_what_couchdb_takes_is_taken(scripts: Scripts, members: dict[str, Any]) -> None:
    """Only views are compiled; other languages are not looked at."""
    check_design(document(**members), scripts)


def test_an_empty_function_is_a_missing_one(scripts: Scripts) -> None:
    """404 missing function, as CouchDB has it."""
    for view in ({"map": ""}, {"map": MAP, "reduce": ""}):
        assert refusal(check_design, document(views={"a": view}), scripts) == (404, "not_found", "missing function")
