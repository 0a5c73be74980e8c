"""The contract's part "Security": each test is one sentence, which its docstring gives in full."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from tests.faults import FaultProxy
from tests.web.callers import ByHeader
from tests.web.conftest import MERGE, OTHER, Reply, path
from tests.web.contract.conftest import FRUITS, NOTES, STANDS, WRITES, StrictClient, private
from tornado_couch import Database, Store
from tornado_couch.web import Authenticated, Owner, Roles

# Everything that can be asked of a service of stands, and of the one called oslo.
REQUESTS: list[tuple[str, str, dict[str, Any]]] = [
    ("GET", STANDS, {}),
    ("GET", f"{STANDS}?nope=1", {}),
    ("GET", f"{STANDS}?cursor=x", {}),
    ("POST", STANDS, {"body": {"name": "odda"}}),
    ("POST", STANDS, {"body": [{"name": "odda"}]}),
    ("POST", STANDS, {"body": {"name": "odda"}, "Idempotency_Key": '"k"'}),
    ("POST", STANDS, {"data": b'{"name": "odda"}\n', "Content_Type": "application/x-ndjson"}),
    ("POST", STANDS, {"data": b"{", "Content_Type": "text/plain"}),
    ("POST", f"{STANDS}/_bulk", {"body": {"operations": [{"action": "delete", "key": "oslo"}]}}),
    *(
        (method, f"{STANDS}/{key}", {**arguments, **preconditions})
        for key in ("oslo", "nope")
        for method, arguments in {
            "GET": {},
            "HEAD": {},
            "PUT": {"body": {"size": 1}},
            "PATCH": {"body": {"size": 1}, "Content_Type": MERGE},
            "DELETE": {},
        }.items()
        for preconditions in ({}, {"If_Match": OTHER}, {"If_None_Match": "*"}, {"If_Match": "malformed"})
    ),
]


async def test_authentication_and_authorization_run_before_anything_is_read(
    store: Store, serve: Any, proxy: FaultProxy
) -> None:
    """Authentication and authorization run before anything is read, and before preconditions."""
    ask = await serve(private(store, Roles({"*": {"grower"}}, ByHeader()), require_if_match=True))
    before = len(proxy.requests)
    for method, place, arguments in REQUESTS:
        for name, status in (("liar", 401), ("", 401), ("ann", 403)):
            reply = await ask(method, place, **arguments, X_Name=name)
            assert (method, place, reply.status) == (method, place, status)
    assert proxy.requests[before:] == []
    owned = await serve(private(store, Owner("owner", ByHeader()), require_if_match=True))
    created = await owned("POST", STANDS, {"name": "oslo"}, X_Name="ann")
    assert proxy.requests[before:] != []  # the proxy sees what is read
    for method, place, arguments in REQUESTS:
        if place.endswith("/oslo") and arguments.get("If_Match") != "malformed":
            reply = await owned(method, place, **arguments, X_Name="bob")
            # To bob there is no oslo, and then a write with If-Match is 412 (RFC 9110 §13.1.1), without a tag.
            # That a key is taken no answer to If-None-Match: * can hide.
            failing = ("If_Match", "If_None_Match") if method == "PUT" else ("If_Match",)
            missing = 412 if method in WRITES and arguments.keys() & failing else 404
            assert (method, reply.status, "ETag" in reply.headers) == (method, missing, False)
    assert (await owned("GET", path(created), X_Name="ann")).json == created.json


async def test_401_has_www_authenticate_what_a_caller_may_not_know_exists_is_404(store: Store, serve: Any) -> None:
    """401 has `WWW-Authenticate`; what a caller may not know exists is 404."""
    ask = await serve(private(store, Authenticated(ByHeader())))
    for method, place, arguments in REQUESTS:
        for headers in ({}, {"X_Name": "liar"}):
            reply = await ask(method, place, **arguments, **headers)
            assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, ByHeader.challenge)
    owned = await serve(private(store, Owner("owner", ByHeader())))
    created = await owned("POST", STANDS, {"name": "oslo"}, X_Name="ann")
    for method, place, arguments in REQUESTS:
        if place.endswith("/oslo") and method != "PUT":  # a PUT of a missing one creates it
            arguments = {**arguments, "X_Name": "bob"}
            hidden = await owned(method, place, **arguments)
            missing = await owned(method, f"{STANDS}/nowhere", **arguments)
            varying = {"Date": "", "Content-Length": ""}
            assert hidden.status in (404, 400, 412)
            assert {**hidden.headers, **varying} == {**missing.headers, **varying}
            assert hidden.text.replace(b"/oslo", b"") == missing.text.replace(b"/nowhere", b"")
    for query in ("", "?count=true", "?owner=ann", "?owner=bob"):
        reply = await owned("GET", STANDS + query, X_Name="bob")
        assert (reply.json["items"], reply.json.get("total", 0)) == ([], 0)
    assert (await owned("GET", path(created), X_Name="ann")).json == created.json


NASTY = [
    "..", ".", "../_all_dbs", "../../_users/_all_docs", "a/b", "a//b", "a?rev=1-x", "a&new_edits=false", "a#b", "a b",
    "a%2Fb", "%2e%2e%2f_all_dbs", "a;b=c", 'a"b', "a\\b", "[1]", "{}", "a+b", "é\u2028", "🍎", "_design/fruit_v1.0",
    "_all_docs", "_local/x", "_bulk_docs", "\r\nX-Evil: 1", "a\x00b", "http://evil.example/", "@evil.example", "*",
]  # fmt: skip

KNOWN = re.compile(r"_uuids|_up%2F|\{db\}/([^/]+|_design/[^/]+/_view/[^/]+)")


def escaped(segment: str) -> str:
    """A segment of a path with everything escaped that could mean anything, the dots of a dot segment too."""
    return segment.replace(".", "%2E") if segment in (".", "..") else quote(segment, safe="")


async def test_no_header_id_or_property_of_the_request_reaches_couchdbs_url_unescaped(
    ask: StrictClient, fruit: Reply, proxy: FaultProxy, database: Database
) -> None:
    """No header, id or property of the request reaches CouchDB's URL unescaped."""
    start, documents = len(proxy.requests), (await database.info())["doc_count"]
    for text in NASTY:
        key = quote(text, safe="") if text not in ("..", ".") else text.replace(".", "%2E")
        for place in (STANDS, NOTES, FRUITS):
            body = {"text": "x"} if place == NOTES else {"color": "x"} if place == FRUITS else {}
            for method, arguments in (("GET", {}), ("PUT", {"body": body}), ("DELETE", {})):
                assert (await ask(method, f"{place}/{key}", **arguments)).status in (200, 201, 204, 404, 422)
        filters = (f"color={quote(text, safe='')}", f"sort={key}", f"{key}=1", f"cursor={key}", f"fields={key}")
        for query in filters:
            assert (await ask("GET", f"{FRUITS}?{query}")).status in (200, 400)
        created = await ask("POST", STANDS, {"name": text})
        assert created.status in (201, 422)
        if created.status == 201:
            assert (await ask("DELETE", path(created))).status == 204
        if text.isascii() and text.isprintable():
            tag = '"' + text.replace('"', "'").replace("\\", "|") + '"'
            fields = {"If_Match": tag, "X_Evil": text, "Idempotency_Key": tag, "Cookie": f"AuthSession={text}"}
            assert (await ask("PUT", path(fruit), {"color": "x"}, **fields)).status in (400, 412)
            reply = await ask("POST", FRUITS, {"color": text}, **{name: fields[name] for name in list(fields)[1:]})
            assert reply.status in (201, 400)
            if reply.status == 201:
                assert (await ask("DELETE", path(reply))).status == 204
    assert len(proxy.requests) > start + len(NASTY)
    for each in proxy.requests[start:]:
        place, _, query = each.target.partition("?")
        segments = place.removeprefix("/").replace(database.name, "{db}", 1)
        assert KNOWN.fullmatch(segments), each.target
        assert [name for name in segments.split("/")[1:] if escaped(unquote(name)) != name] == []
        names = {name for name, _ in parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))}
        assert not {"new_edits", "X-Evil", "b", "#b"} & names, each.target
        assert re.fullmatch(r"[A-Za-z0-9\-._~%!$&'()*+,;=:@/?]*", each.target), each.target
        assert not {"x-evil", "if-match", "idempotency-key", "cookie"} & each.headers.keys()
    assert (await database.info())["doc_count"] == documents
    assert (await ask("GET", path(fruit))).json == fruit.json
