"""The contract's part "Writes": each test is one row, which its docstring gives in full."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.faults import Fault, FaultProxy, FaultServer, answer, hang_up, raw, reset, stall, stall_midway
from tests.web.conftest import JSON_PATCH, MERGE, Reply, path
from tests.web.contract.conftest import DEPTH, FRUITS, SIZE, STANDS, WRITES, StrictClient, application, at, rival
from tornado_couch import Couch, Database, Store, Timeout

JSON = {"Content_Type": "application/json"}


async def chunks(text: bytes, size: int = 7) -> AsyncIterator[bytes]:
    for start in range(0, len(text), size):
        yield text[start : start + size]


async def nothing_stored(ask: StrictClient) -> bool:
    return [(await ask("GET", place)).json["items"] for place in (FRUITS, STANDS)] == [[], []]


async def test_post_fruits_valid_201_location_etag_the_document(ask: StrictClient, database: Database) -> None:
    """POST Fruits, valid | 201, Location, ETag, the document"""
    reply = await ask("POST", FRUITS, {"color": "red", "weight": 3})
    read = await ask("GET", path(reply))
    assert (reply.status, reply.json, reply.headers["ETag"]) == (201, read.json, read.headers["ETag"])
    assert (reply.json["color"], reply.json["weight"], reply.json["tags"]) == ("red", 3, [])
    assert path(reply) == f"{FRUITS}/{reply.json['fruit_id']}"
    assert re.fullmatch(r'"1-[0-9a-f]{32}"', reply.headers["ETag"])
    named = await ask("POST", STANDS, {"name": "a/b ü?"})
    assert (named.status, path(named)) == (201, f"{STANDS}/a%2Fb%20%C3%BC%3F")
    assert (await ask("GET", path(named))).json == named.json


async def test_post_body_not_json_not_utf_8_duplicate_members_400(ask: StrictClient) -> None:
    """POST, body not JSON / not UTF-8 / duplicate members | 400"""
    for data in (
        b"",
        b"{",
        b'{"color": "red"} x',
        b'{"color": NaN}',
        b"{'color': 1}",
        b'{"color": "\xff"}',
        '{"color": "red"}'.encode("utf-16"),
        b'{"color": "\\ud800"}',
        b'{"color": "a", "color": "b"}',
        b'{"color": "a", "origin": {"x": "1", "x": "1"}}',
    ):
        assert (await ask("POST", FRUITS, data=data, **JSON)).status == 400
    assert await nothing_stored(ask)


async def test_post_schema_violated_422_all_errors(ask: StrictClient) -> None:
    """POST, schema violated | 422, all errors"""
    reply = await ask("POST", FRUITS, {"color": "", "weight": "3", "tags": [1, "x", None], "origin": []})
    assert reply.status == 422
    assert sorted((each["pointer"], each["keyword"]) for each in reply.json["errors"]) == [
        ("/color", "minLength"),
        ("/origin", "type"),
        ("/tags/0", "type"),
        ("/tags/2", "type"),
        ("/weight", "type"),
    ]
    for body in ([1], "x", 1, {}):
        assert (await ask("POST", STANDS, data=json.dumps(body).encode(), **JSON)).status == 422
    assert await nothing_stored(ask)


async def test_post_unknown_or_read_only_property_422(ask: StrictClient) -> None:
    """POST, unknown or read-only property | 422"""
    for name, value in (
        ("nope", 1),
        ("_id", "x"),
        ("_rev", "1-x"),
        ("_deleted", True),
        ("type", "stand_v1.0"),
        ("grade", 0),
        ("fruit_id", "x"),
        ("created_on", "2026-01-01T00:00:00Z"),
    ):
        reply = await ask("POST", FRUITS, {"color": "red", name: value})
        assert (reply.status, [each["pointer"] for each in reply.json["errors"]]) == (422, [f"/{name}"])
    assert await nothing_stored(ask)


async def test_put_patch_a_read_only_property_ignored_another_value_422(
    ask: StrictClient, fruit: Reply
) -> None:
    """PUT/PATCH, a read-only property with the value that is stored | ignored, so that what was read can be sent back;
    another value: 422
    """
    operations = [{"op": "replace", "path": "/color", "value": "blue"}]
    for method, headers in (("PUT", {}), ("PATCH", {"Content_Type": MERGE}), ("PATCH", {"Content_Type": JSON_PATCH})):
        read = (await ask("GET", path(fruit))).json
        kept = [{"op": "replace", "path": f"/{name}", "value": value} for name, value in read.items()]
        patching = headers.get("Content_Type") == JSON_PATCH
        body: Any = [*kept, *operations] if patching else {**read, "color": "blue"}
        reply = await ask(method, path(fruit), body, **headers)
        changed = {"color": "blue", "updated_on": reply.json.get("updated_on")}
        assert (reply.status, reply.json) == (200, {**read, **changed})
        now = await ask("GET", path(fruit))
        for name, value in (("grade", 7), ("created_on", "2001-01-01T00:00:00.000000+00:00"), ("updated_on", "x")):
            body = [{"op": "replace", "path": f"/{name}", "value": value}]
            body = body if patching else {"color": "green", name: value}
            refused = await ask(method, path(fruit), body, **headers)
            assert (refused.status, [each["pointer"] for each in refused.json["errors"]]) == (422, [f"/{name}"])
        assert (await ask("GET", path(fruit))).headers["ETag"] == now.headers["ETag"]


async def test_post_application_json_charset_utf_8_chunked_gzip_coded_201(ask: StrictClient) -> None:
    """POST, `application/json; charset=utf-8`, chunked, gzip-coded | 201"""
    text = '{"color": "rød", "tags": ["東京"]}'.encode()
    coded = {**JSON, "Content_Encoding": "gzip"}
    for data, headers in (
        (text, {"Content_Type": "application/json; charset=utf-8"}),
        (text, {"Content_Type": 'Application/JSON;charset="UTF-8"'}),
        (chunks(text), JSON),
        (gzip.compress(text), coded),
        (chunks(gzip.compress(text)), {**coded, "Content_Type": "application/json; charset=utf-8"}),
    ):
        reply = await ask("POST", FRUITS, data=data, **headers)
        assert (reply.status, reply.json["color"], reply.json["tags"]) == (201, "rød", ["東京"])


async def test_post_body_over_the_limit_413_too_deeply_nested_400(
    ask: StrictClient,
) -> None:
    """POST, body over the limit | 413; too deeply nested: 400; nothing stored, process unharmed"""
    for size in (SIZE + 1, 3_000_000):
        text = json.dumps({"color": "x" * size}).encode()
        for data, headers in (
            (text, {}),
            (chunks(text, 9999), {}),
            (gzip.compress(text), {"Content_Encoding": "gzip"}),
        ):
            assert (await ask("POST", FRUITS, data=data, **JSON, **headers)).status == 413
    deep = [b"[" * levels + b"]" * levels for levels in (DEPTH + 1, SIZE // 2)] + [b'{"a":' * 800, b"[" * SIZE]
    for data in deep:
        assert (await ask("POST", FRUITS, data=data, **JSON)).status == 400
    assert await nothing_stored(ask)
    assert (await ask("POST", FRUITS, {"color": "x" * (SIZE - 14)})).status == 201


async def test_put_whole_replacement_200_with_the_document(
    ask: StrictClient, fruit: Reply
) -> None:
    """PUT | whole replacement: an omitted optional property is gone, read-only ones are kept; 200 with the document"""
    await ask("PUT", path(fruit), {**fruit.json, "weight": 3})
    reply = await ask("PUT", path(fruit), {"color": "blue", "origin": {"town": "oslo"}})
    read = await ask("GET", path(fruit))
    assert (reply.status, reply.json, reply.headers["ETag"]) == (200, read.json, read.headers["ETag"])
    assert "weight" not in reply.json
    assert (reply.json["tags"], reply.json["origin"]) == ([], {"town": "oslo"})
    for name in ("fruit_id", "grade", "created_on"):
        assert reply.json[name] == fruit.json[name]


async def test_put_bodys_key_differs_from_the_urls_400(ask: StrictClient, fruit: Reply) -> None:
    """PUT, body's key differs from the URL's | 400"""
    stand = await ask("POST", STANDS, {"name": "oslo"})
    for place, body in (
        (path(fruit), {"color": "blue", "fruit_id": "other"}),
        (f"{STANDS}/oslo", {"name": "Oslo"}),
        (f"{STANDS}/bergen", {"name": "oslo", "size": 3}),
    ):
        assert (await ask("PUT", place, body)).status == 400
    assert (await ask("GET", path(fruit))).json == fruit.json
    assert [item["_etag"] for item in (await ask("GET", STANDS)).json["items"]] == [stand.headers["ETag"]]


async def test_patch_merge_patch_json_200_the_result_is_validated_422(
    ask: StrictClient, fruit: Reply
) -> None:
    """PATCH `application/merge-patch+json` (RFC 7396) | 200; nested siblings kept, `null` removes; the *result* is
    validated: 422
    """
    await ask("PATCH", path(fruit), {"weight": 3}, Content_Type=MERGE)
    reply = await ask("PATCH", path(fruit), {"origin": {"town": "oslo"}, "tags": ["b"]}, Content_Type=MERGE)
    assert (reply.status, reply.json) == (200, (await ask("GET", path(fruit))).json)
    assert reply.json["origin"] == {"country": "no", "town": "oslo"}
    assert (reply.json["color"], reply.json["weight"], reply.json["tags"]) == ("red", 3, ["b"])
    reply = await ask("PATCH", path(fruit), {"origin": {"town": None}, "weight": None}, Content_Type=MERGE)
    assert (reply.status, reply.json["origin"], "weight" in reply.json) == (200, {"country": "no"}, False)
    for patch, pointer in (({"color": None}, "/color"), ({"origin": {"country": 1}}, "/origin/country"), ([], "")):
        refused = await ask("PATCH", path(fruit), data=json.dumps(patch).encode(), Content_Type=MERGE)
        assert (refused.status, [each["pointer"] for each in refused.json["errors"]]) == (422, [pointer])
    assert (await ask("GET", path(fruit))).json == reply.json


async def test_patch_application_json_patch_json_200_failed_test_409_bad_pointer_422(
    ask: StrictClient, fruit: Reply
) -> None:
    """PATCH `application/json-patch+json` (RFC 6902) | 200; failed `test`: 409; bad pointer: 422"""
    add = {"op": "add", "path": "/tags/-", "value": "b"}
    for operation, status in (
        ({"op": "test", "path": "/color", "value": "x"}, 409),
        ({"op": "test", "path": "/grade", "value": "0"}, 409),
        ({"op": "remove", "path": "/weight"}, 422),
        ({"op": "replace", "path": "color", "value": "x"}, 422),
        ({"op": "add", "path": "/tags/9", "value": "x"}, 422),
        ({"op": "add", "path": "/weight", "value": -1}, 422),
        ({"op": "test", "path": "/pin", "value": "1"}, 409),
    ):
        reply = await ask("PATCH", path(fruit), [add, operation], Content_Type=JSON_PATCH)
        assert (reply.status, (await ask("GET", path(fruit))).json) == (status, fruit.json)
    test = {"op": "test", "path": "/origin", "value": {"town": "odda", "country": "no"}}
    move = {"op": "move", "from": "/origin/town", "path": "/color"}
    reply = await ask("PATCH", path(fruit), [test, add, move], Content_Type=JSON_PATCH)
    assert (reply.status, reply.json) == (200, (await ask("GET", path(fruit))).json)
    assert (reply.json["color"], reply.json["tags"], reply.json["origin"]) == ("odda", ["a", "b"], {"country": "no"})


async def test_delete_204_again_404(ask: StrictClient, fruit: Reply, database: Database) -> None:
    """DELETE | 204; again: 404"""
    reply = await ask("DELETE", path(fruit))
    assert (reply.status, reply.text) == (204, b"")
    for method in ("DELETE", "GET", "HEAD"):
        assert (await ask(method, path(fruit))).status == 404
    assert await nothing_stored(ask)
    assert await database.revision(fruit.json["fruit_id"]) is None


async def test_prefer_return_minimal_204_201_without_body_preference_applied(ask: StrictClient, fruit: Reply) -> None:
    """`Prefer: return=minimal` | 204 / 201 without body, `Preference-Applied`"""
    requests: list[tuple[int, str, str, dict[str, Any]]] = [
        (201, "POST", FRUITS, {"body": {"color": "x"}}),
        (201, "PUT", f"{STANDS}/oslo", {"body": {}}),
        (204, "PUT", f"{STANDS}/oslo", {"body": {"size": 1}}),
        (204, "PUT", path(fruit), WRITES["PUT"]),
        (204, "PATCH", path(fruit), WRITES["PATCH"]),
    ]
    for status, method, place, arguments in requests:
        reply = await ask(method, place, **arguments, Prefer="return=minimal")
        assert (reply.status, reply.text) == (status, b"")
        assert reply.headers["Preference-Applied"] == "return=minimal"
        where = path(reply) if status == 201 else place
        assert (await ask("GET", where)).headers["ETag"] == reply.headers["ETag"]
    assert (await ask("GET", path(fruit))).json["color"] == "blue"


async def test_post_to_a_document_put_to_a_collection_405_with_allow(
    ask: StrictClient, fruit: Reply
) -> None:
    """POST to a document, PUT to a collection, a write on a read-only resource | 405 with `Allow`"""
    everything, reading = {"GET", "HEAD", "OPTIONS"} | WRITES.keys(), {"GET", "HEAD", "OPTIONS"}
    looked_at = at("/v1.0/looked-at", fruit)
    for method, place, allowed in (
        ("POST", path(fruit), everything),
        ("POST", f"{FRUITS}/nope", everything),
        ("PUT", FRUITS, reading | {"POST"}),
        ("PATCH", FRUITS, reading | {"POST"}),
        ("DELETE", FRUITS, reading | {"POST"}),
        ("POST", "/v1.0/looked-at", reading),
        ("PUT", looked_at, reading),
        ("PATCH", looked_at, reading),
        ("DELETE", looked_at, reading),
    ):
        headers = {"Content_Type": MERGE} if method == "PATCH" else {}
        for body in ({"color": "x"}, None):
            reply = await ask(method, place, body, **headers)
            assert (reply.status, set(reply.headers["Allow"].split(", "))) == (405, allowed)
    assert [item["_etag"] for item in (await ask("GET", FRUITS)).json["items"]] == [fruit.headers["ETag"]]


async def test_options_204_allow_accept_post_accept_patch(ask: StrictClient, fruit: Reply) -> None:
    """OPTIONS | 204, `Allow`, `Accept-Post`, `Accept-Patch`"""
    collection, document = await ask("OPTIONS", FRUITS), await ask("OPTIONS", path(fruit))
    assert [(reply.status, reply.text) for reply in (collection, document)] == [(204, b"")] * 2
    assert collection.headers["Allow"] == "GET, HEAD, POST, OPTIONS"
    assert document.headers["Allow"] == "GET, HEAD, DELETE, PATCH, PUT, OPTIONS"
    assert collection.headers["Accept-Post"].split(", ")[0] == "application/json"
    assert document.headers["Accept-Patch"] == f"{MERGE}, {JSON_PATCH}"
    looked_at = await ask("OPTIONS", at("/v1.0/looked-at", fruit))
    assert looked_at.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert not {"Accept-Post", "Accept-Patch"} & looked_at.headers.keys()


async def test_retries_exhausted_503_with_retry_after_nothing_half_written(
    ask: StrictClient, fruit: Reply, proxy: FaultProxy, database: Database
) -> None:
    """retries exhausted | 503 with `Retry-After`; nothing half-written"""
    key = fruit.json["fruit_id"]

    async def grow() -> None:
        stored = await database.get(key)
        await database.put({**stored, "count": stored.get("count", 0) + 1})

    for method, change in WRITES.items():
        fault = Fault(rival(grow), method="PUT", body=key, times=None)
        proxy.faults[:] = [fault]
        reply = await ask(method, path(fruit), **change)
        assert (reply.status, int(reply.headers["Retry-After"]) > 0) == (503, True)
        assert fault.hits > 1
        proxy.faults.clear()
        assert (await ask("GET", path(fruit))).json == fruit.json


OUTAGE, SLOW = 503, 504
FAULTS = {
    "reset": (reset, OUTAGE),
    "closed": (hang_up, OUTAGE),
    "silent": (stall, SLOW),
    "halfway": (stall_midway, SLOW),
    "500": (answer(500, {"error": "badmatch", "reason": "{gen_server,call}"}), OUTAGE),
    "503": (answer(503, {"error": "maintenance", "reason": "down"}), OUTAGE),
    "429": (answer(429, {"error": "slow_down", "reason": "no"}), OUTAGE),
    "no-json": (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{]}"), OUTAGE),
    "other-json": (answer(200, {"rows": 3, "uuids": 7, "ok": None}), OUTAGE),
    "list": (answer(200, [1, 2]), OUTAGE),
    "html": (answer(200, b"<h1>Proxy</h1>", Content_Type="text/html"), OUTAGE),
    "no-http": (raw(b"SSH-2.0-OpenSSH\r\n\r\n"), OUTAGE),
    "no-database": (answer(404, {"error": "not_found", "reason": "Database does not exist."}), OUTAGE),
    "no-account": (answer(401, {"error": "unauthorized", "reason": "Name or password is incorrect."}), OUTAGE),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_couchdb_down_slow_or_answering_nonsense_503_504_retry_after(
    serve: Any, fault: str
) -> None:
    """CouchDB down, slow, or answering nonsense | 503 (504 when timed out), `Retry-After`; never 500, never a hang"""
    behaviour, status = FAULTS[fault]
    limits = Timeout(connect=1, read=0.2, total=0.5, pool=1)
    async with FaultServer(behaviour) as server, Couch(server.url, timeout=limits) as couch:
        ask = await serve(application(Store(couch["orchard"])))
        ask.secrets += (server.url.removeprefix("http://"), "orchard", "gen_server")
        requests: list[tuple[str, str, dict[str, Any]]] = [
            ("GET", FRUITS, {}),
            ("GET", f"{FRUITS}?color=red&count=true", {}),
            ("GET", f"{FRUITS}/x", {}),
            ("POST", FRUITS, {"body": {"color": "x"}}),
            ("PUT", f"{STANDS}/x", {"body": {}}),
            *((method, f"{FRUITS}/x", change) for method, change in WRITES.items()),
        ]
        for method, place, arguments in requests:
            reply = await ask(method, place, **arguments)
            assert (method, place, reply.status) == (method, place, status)
            assert int(reply.headers["Retry-After"]) > 0
