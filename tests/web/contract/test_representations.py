"""The contract's part "Representations": each test is one sentence, which its docstring gives in full."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone
from typing import Any

from tests.faults import Fault, FaultProxy, FaultServer, answer_status, reset
from tests.web.conftest import JSON_PATCH, MERGE, OTHER, Broken, Reply, path
from tests.web.contract.conftest import FRUITS, SIZE, STANDS, WRITES, StrictClient, application
from tests.web.models import Fruit
from tornado_couch import Couch, Database, Hooks, ProblemHandler, Store, resource


async def test_json_only_an_accept_that_excludes_it_406(ask: StrictClient, fruit: Reply) -> None:
    """JSON only (`application/json`); an `Accept` that excludes it: 406."""
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", path(fruit), {}),
        ("GET", FRUITS, {}),
        ("POST", FRUITS, {"body": {"color": "x"}}),
        *((method, path(fruit), change) for method, change in WRITES.items() if method != "DELETE"),
    ]
    for method, place, arguments in requests:
        for accept in ("text/html", "text/xml, image/*;q=0.9", "application/json;q=0", "*/*, application/json;q=0"):
            reply = await ask(method, place, **arguments, Accept=accept)
            if (method, place, accept[:3]) == ("GET", FRUITS, "*/*"):  # a collection's items are JSON by the line, too
                assert (reply.status, reply.headers["Content-Type"]) == (200, "application/x-ndjson")
            else:
                assert reply.status == 406
    assert [item["_etag"] for item in (await ask("GET", FRUITS)).json["items"]] == [fruit.headers["ETag"]]
    for method, place, arguments in requests:
        for accept in ("application/json", "text/html, */*;q=0.1", "application/*"):
            reply = await ask(method, place, **arguments, Accept=accept)
            assert (reply.status in (200, 201), reply.headers["Content-Type"]) == (True, "application/json")


async def test_a_body_of_another_type_415_with_accept_post_accept_patch(ask: StrictClient, fruit: Reply) -> None:
    """A body of another type: 415, with `Accept-Post` / `Accept-Patch`."""
    text = b'{"color": "x"}'
    for type_ in ("text/plain", "application/x-www-form-urlencoded", MERGE, "application/jsonx", "json", ""):
        headers = {"Content_Type": type_} if type_ else {}
        post = await ask("POST", FRUITS, data=text, **headers)
        assert (post.status, post.headers["Accept-Post"].split(", ")[0]) == (415, "application/json")
        assert (await ask("PUT", path(fruit), data=text, **headers)).status == 415
    for type_ in ("application/json", "text/plain", ""):
        headers = {"Content_Type": type_} if type_ else {}
        patch = await ask("PATCH", path(fruit), data=text, **headers)
        assert (patch.status, patch.headers["Accept-Patch"]) == (415, f"{MERGE}, {JSON_PATCH}")
    assert [item["_etag"] for item in (await ask("GET", FRUITS)).json["items"]] == [fruit.headers["ETag"]]


PUBLIC = {"fruit_id", "color", "tags", "origin", "grade", "created_on", "updated_on"}


async def everywhere(ask: StrictClient, fruit: Reply) -> list[dict[str, Any]]:
    """A document as each kind of answer shows it."""
    replies = [
        await ask("GET", path(fruit)),
        await ask("PUT", path(fruit), {"color": "blue", "pin": "pin-1234"}),
        await ask("PATCH", path(fruit), {"color": "green", "pin": "pin-1234"}, Content_Type=MERGE),
        await ask("PATCH", path(fruit), [], Content_Type=JSON_PATCH),
        await ask("POST", FRUITS, {"color": "red", "pin": "pin-1234"}),
    ]
    items = [item for query in ("", "?color=green") for item in (await ask("GET", FRUITS + query)).json["items"]]
    assert len(items) == 3
    return [reply.json for reply in replies] + [
        {name: value for name, value in item.items() if name not in ("_href", "_etag")} for item in items
    ]


async def test_a_document_is_its_models_public_properties(ask: StrictClient, fruit: Reply, database: Database) -> None:
    """A document is its model's public properties."""
    key = fruit.json["fruit_id"]
    await database.put({**await database.get(key), "later": 1, "nested": {"x": 1}})
    assert [shown.keys() for shown in await everywhere(ask, fruit)] == [PUBLIC] * 8


async def test_couchdbs_own_members_and_write_only_properties_never_leave(
    ask: StrictClient, fruit: Reply, couch: Couch, database: Database
) -> None:
    """CouchDB's own members (`_id`, `_rev`, `_conflicts`), and write-only properties never leave."""
    key = fruit.json["fruit_id"]
    stored = await database.get(key)
    attachment = {"a.txt": {"content_type": "text/plain", "data": "aGk="}}
    await database.put({**stored, "pin": "pin-1234", "_attachments": attachment})
    losing = {**stored, "_rev": "2-00000000000000000000000000000000", "color": "lost"}
    await database.bulk_docs([losing], new_edits=False)
    assert (await database.get(key, conflicts=True))["_conflicts"]
    for shown in await everywhere(ask, fruit):
        assert "pin-1234" not in json.dumps(shown)
        assert not [name for name in shown if name.startswith("_")]
    for name in ("pin", "_id", "_rev", "_conflicts", "_attachments"):
        for place in (FRUITS, path(fruit)):
            assert (await ask("GET", f"{place}?fields={name}")).status == 400
        for query in (f"{name}=pin-1234", f"sort={name}"):
            assert (await ask("GET", f"{FRUITS}?{query}")).status == 400


async def test_in_a_collection_every_item_has_href_and_etag(
    ask: StrictClient, fruit: Reply, database: Database
) -> None:
    """In a collection every item also has `_href` and `_etag`; both are accepted and ignored in a request body, so that
    what was read can be sent back.
    """
    await ask("POST", FRUITS, {"color": "blue"})
    for item in (await ask("GET", FRUITS)).json["items"]:
        read = await ask("GET", item["_href"])
        assert (read.json, read.headers["ETag"]) == (
            {name: value for name, value in item.items() if name not in ("_href", "_etag")},
            item["_etag"],
        )
        patched = await ask("PATCH", item["_href"], item, Content_Type=MERGE)
        again = {**item, "updated_on": patched.json["updated_on"]}
        put = await ask("PUT", item["_href"], again)
        assert (patched.status, put.status) == (200, 200)
        assert {**put.json, "updated_on": ""} == {**read.json, "updated_on": ""}
    wrong = {"_href": "/v1.0/elsewhere/1", "_etag": OTHER}
    created = await ask("POST", FRUITS, {"color": "red", **wrong})
    assert (await ask("PUT", path(created), {"color": "red", **wrong})).status == 200
    assert not {"_href", "_etag"} & (await database.get(created.json["fruit_id"])).keys()


class BrokenBefore(ProblemHandler):
    def prepare(self) -> None:
        raise KeyError("a secret: hunter2")


class BrokenHooks(Hooks):
    async def before(self, event: Any, model: Any = None, current: Any = None) -> None:
        raise RuntimeError("a secret: hunter2")


class BrokenAfter(Hooks):
    async def after(self, event: Any, model: Any, shown: Any) -> None:
        raise RuntimeError("a secret: hunter2")


def breaking(store: Store, **settings: Any) -> Any:
    return application(
        store,
        ("/broken", Broken),
        ("/broken-before", BrokenBefore),
        *resource("/hooked", Fruit, store, hooks=BrokenHooks()),
        *resource("/hooked-after", Fruit, store, hooks=BrokenAfter()),
        **settings,
    )


async def test_every_error_is_application_problem_json(
    store: Store, serve: Any
) -> None:
    """Every error, including the router's 404/405, an unhandled exception, and errors raised before the handler runs,
    is `application/problem+json` (RFC 9457): `type, title, status, detail, instance`, and for validation `errors:
    [{pointer, keyword, detail}]` with **all** errors at once, JSON Pointers into the body.
    """
    ask = await serve(breaking(store))
    form = {"Content_Type": "multipart/form-data; boundary=b"}
    cases: list[tuple[int, str, str, dict[str, Any]]] = [
        *((404, method, "/nowhere/%F0%9F%8D%8E", {}) for method in ("GET", "POST", "PUT", "PATCH", "DELETE")),
        (405, "BREW", "/nowhere", {}),
        (404, "POST", "/nowhere", {"data": b"no form", **form}),
        (404, "OPTIONS", "/nowhere", {}),
        (405, "BREW", FRUITS, {}),
        (405, "PUT", FRUITS, {"body": {}}),
        (400, "POST", "/broken", {"data": b"no form", **form}),
        (405, "POST", "/broken", {"body": {}}),
        (500, "GET", "/broken", {}),
        (500, "GET", "/broken-before", {}),
        (500, "GET", "/hooked", {}),
        (500, "POST", "/hooked", {"body": {"color": "x"}}),
        (500, "POST", "/hooked-after", {"body": {"color": "x"}}),
        (400, "GET", f"{FRUITS}/%FF", {}),
        (400, "DELETE", f"{FRUITS}/a%C3", {}),
        (400, "GET", f"{FRUITS}?%FF=1", {}),
        (400, "GET", f"{FRUITS}/%zz", {}),
        (400, "PUT", f"{STANDS}/100%", {"body": {}}),
        (404, "GET", "/nowhere/%FF%zz", {}),
        (406, "GET", FRUITS, {"Accept": "text/html"}),
        (413, "POST", FRUITS, {"body": {"color": "x" * SIZE}}),
        (415, "POST", FRUITS, {"data": b"no form", **form}),
        (415, "POST", FRUITS, {"data": b"x", "Content_Type": "application/json", "Content_Encoding": "zip"}),
    ]
    for status, method, place, arguments in cases:
        reply = await ask(method, place, **arguments)
        assert (reply.status, reply.json["status"]) == (status, status)
        assert reply.headers["Content-Type"] == "application/problem+json"
        assert reply.json["instance"] == place.partition("?")[0]
        assert all(reply.json[name] for name in ("type", "title", "detail", "instance"))
    body = {"weight": -1, "tags": ["x", 1], "a/b~c": 0, "origin": {"": 1}, "pin": 5}
    reply = await ask("POST", FRUITS, body)
    assert sorted((each["pointer"], each["keyword"]) for each in reply.json["errors"]) == [
        ("/a~1b~0c", "additionalProperties"),
        ("/color", "required"),
        ("/origin/", "type"),
        ("/pin", "type"),
        ("/tags/1", "type"),
        ("/weight", "minimum"),
    ]


async def test_no_stack_trace_no_couchdb_url_no_secret_in_it(
    store: Store, serve: Any, proxy: FaultProxy, caplog: Any
) -> None:
    """No stack trace, no CouchDB URL, no secret in it."""
    for settings in ({"serve_traceback": True}, {"debug": True, "autoreload": False}):
        ask = await serve(breaking(store, **settings))
        ask.secrets += ("hunter2", "RuntimeError", f"127.0.0.1:{proxy.port}", "conftest.py", "_design")
        for place in ("/broken", "/broken-before", "/hooked", "/hooked/x"):
            assert (await ask("GET", place)).status == 500
        assert "hunter2" in caplog.text  # who runs the service sees it
        answers = ((500, "badmatch /srv/couch"), (401, "Name or password is incorrect."), (403, "not ripe"))
        for status, reason in answers:
            proxy.faults[:] = [Fault(answer_status(status, "hunter2", reason), times=None)]
            for method, place, arguments in (
                ("GET", FRUITS, {}),
                ("GET", f"{FRUITS}/x", {}),
                ("POST", FRUITS, {"body": {"color": "x"}}),
            ):
                reply = await ask(method, place, **arguments)
                # A database may forbid a write by its own rules: the one refusal of CouchDB that is the client's.
                forbidden = (method, status) == ("POST", 403)
                assert reply.status == (403 if forbidden else 503)
                assert (reason.encode() in reply.text) == forbidden
        proxy.faults.clear()
    async with FaultServer(reset) as down:
        address = f"127.0.0.1:{down.port}"
    async with Couch(f"http://orchardist:hunter2@{address}") as couch:
        ask = await serve(application(Store(couch["orchard"])))
        ask.secrets += ("hunter2", address, "orchard")
        for place in (FRUITS, f"{FRUITS}/x"):
            assert (await ask("GET", place)).status == 503


async def test_time_stamps_are_rfc_3339_in_utc_with_six_decimals(
    store: Store, serve: Any
) -> None:
    """Time stamps are RFC 3339 in UTC with six decimals always, so that they sort as strings."""
    start, clock = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2))), iter(range(1000))
    steps = Store(store.database, now=lambda: start + timedelta(milliseconds=250 * next(clock)))
    ask = await serve(application(steps))
    texts = ["2026-01-01T00:00:00Z", "2025-12-31T23:30:00-01:00"]
    texts += ["2026-01-01T00:00:00.5Z", "2026-01-01T02:00:00.25+02:00"]
    shown = [(await ask("POST", FRUITS, {"color": "x", "ripe_on": text})).json for text in texts]
    assert shown[0]["created_on"] == shown[0]["updated_on"] == "2025-12-31T22:00:00.000000+00:00"
    moments = [fruit[name] for fruit in shown for name in ("created_on", "updated_on", "ripe_on")]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", moment) for moment in moments)
    assert sorted(moments) == sorted(moments, key=datetime.fromisoformat)
    assert [fruit["ripe_on"][11:] for fruit in shown] == [
        "00:00:00.000000+00:00",
        "00:30:00.000000+00:00",
        "00:00:00.500000+00:00",
        "00:00:00.250000+00:00",
    ]
    listed = (await ask("GET", FRUITS)).json["items"]
    assert {fruit["ripe_on"] for fruit in listed} == {fruit["ripe_on"] for fruit in shown}
    assert (await ask("GET", STANDS)).status == 200
