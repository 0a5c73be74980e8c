"""The contract's part "Entity tags": each test is one row or sentence, which its docstring gives in full."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from tests.faults import Fault, FaultProxy
from tests.web.callers import ByHeader
from tests.web.conftest import MERGE, OTHER, Reply, path
from tests.web.contract.conftest import FRUITS, STANDS, WRITES, StrictClient, application, at, private, rival
from tornado_couch import Database, Store
from tornado_couch.web import Authenticated


async def test_the_etag_is_strong_and_is_the_revision(ask: StrictClient, fruit: Reply, database: Database) -> None:
    """The ETag is strong and is the revision: `"3-917fa2381192822767f010b95b45325b"`."""
    await ask("PUT", path(fruit), {"color": "blue"})
    await ask("PATCH", path(fruit), {"color": "green"}, Content_Type=MERGE)
    reply = await ask("GET", path(fruit))
    assert re.fullmatch(r'"3-[0-9a-f]{32}"', reply.headers["ETag"])
    assert reply.headers["ETag"] == f'"{(await database.get(fruit.json["fruit_id"]))["_rev"]}"'


async def test_a_representation_that_differs_gets_a_suffix_after_the_revision(
    ask: StrictClient,
) -> None:
    """A representation that differs for the same revision (a projection, a content coding) gets a suffix after the
    revision (`"3-917f…;gzip"`); a write precondition recognises the revision part of each.
    """
    forms: dict[str, dict[str, str]] = {
        "": {"Accept_Encoding": "gzip"},
        "?fields=color": {"Accept_Encoding": "identity"},
        "?fields=tags,color": {"Accept_Encoding": "gzip"},
    }
    for method, change in WRITES.items():
        for query, headers in forms.items():
            created = await ask("POST", FRUITS, {"color": "x" * 2000})
            reply = await ask("GET", path(created) + query, **headers)
            tag, whole = reply.headers["ETag"], created.headers["ETag"]
            assert tag.startswith(whole[:-1] + ";")
            assert tag.endswith(';gzip"') is (headers["Accept_Encoding"] == "gzip")
            done = await ask(method, path(created), **change, If_Match=tag)
            assert done.status == (204 if method == "DELETE" else 200)
    items = (await ask("GET", f"{FRUITS}?fields=color")).json["items"]
    assert len(items) == 2 * len(forms)  # those that were not deleted
    for item in items:
        reply = await ask("GET", f"{item['_href']}?fields=color", Accept_Encoding="identity")
        assert item["_etag"] == reply.headers["ETag"]


async def test_the_tag_that_a_write_answers_with_equals_the_tag_of_the_next_get(ask: StrictClient) -> None:
    """The tag that a write answers with equals the tag of the next GET."""
    created = await ask("POST", FRUITS, {"color": "red"})
    assert (await ask("GET", path(created))).headers["ETag"] == created.headers["ETag"]
    for headers in ({}, {"Prefer": "return=minimal"}):
        for method in ("PUT", "PATCH"):
            written = await ask(method, path(created), **WRITES[method], **headers)
            assert (await ask("GET", path(created))).headers["ETag"] == written.headers["ETag"]
    put = await ask("PUT", f"{STANDS}/oslo", {})
    assert (put.status, put.headers["ETag"]) == (201, (await ask("GET", path(put))).headers["ETag"])


async def test_get_if_none_match_current_in_a_list_weak_form_or_star_304(ask: StrictClient, fruit: Reply) -> None:
    """GET, If-None-Match: current, in a list, weak form, or `*` | 304, no body, with ETag, Cache-Control, Vary as the
    200 would have
    """
    full = await ask("GET", path(fruit))
    for form in ("{}", f"{OTHER}, {{}}", "W/{}", f"{OTHER},W/{{}}", "*"):
        reply = await ask("GET", path(fruit), If_None_Match=form.format(fruit.headers["ETag"]))
        assert (reply.status, reply.text) == (304, b"")
        assert [reply.headers[name] for name in ("ETag", "Cache-Control", "Vary")] == [
            full.headers[name] for name in ("ETag", "Cache-Control", "Vary")
        ]
        assert "Content-Type" not in reply.headers


async def test_get_if_none_match_other_200(ask: StrictClient, fruit: Reply) -> None:
    """GET, If-None-Match: other | 200"""
    for tags in (OTHER, f'W/{OTHER}, "x"', '""', fruit.headers["ETag"].upper().replace("-", "-0")):
        reply = await ask("GET", path(fruit), If_None_Match=tags)
        assert (reply.status, reply.json, reply.headers["ETag"]) == (200, fruit.json, fruit.headers["ETag"])


async def test_get_if_match_fails_and_if_none_match_hits_412(ask: StrictClient, fruit: Reply) -> None:
    """GET, If-Match fails and If-None-Match hits | 412 (RFC 9110 §13.2.2 order)"""
    tag = fruit.headers["ETag"]
    for failing in (OTHER, f"W/{tag}"):
        for hitting in (tag, "*"):
            reply = await ask("GET", path(fruit), If_Match=failing, If_None_Match=hitting)
            assert (reply.status, reply.headers["ETag"]) == (412, tag)
    assert (await ask("GET", path(fruit), If_Match=tag, If_None_Match=tag)).status == 304


async def test_get_missing_document_any_precondition_404(ask: StrictClient, fruit: Reply) -> None:
    """GET missing document, any precondition | 404"""
    tag = fruit.headers["ETag"]
    await ask("DELETE", path(fruit))
    for place in (path(fruit), f"{FRUITS}/nope"):
        for name in ("If_Match", "If_None_Match"):
            for field in (tag, f"W/{tag}", OTHER, "*"):
                for method in ("GET", "HEAD"):
                    assert (await ask(method, place, **{name: field})).status == 404


async def test_head_as_get_no_body(ask: StrictClient, fruit: Reply) -> None:
    """HEAD | as GET, no body"""
    tag = fruit.headers["ETag"]
    requests: list[tuple[str, dict[str, str]]] = [
        (path(fruit), {}),
        (path(fruit), {"If_None_Match": tag}),
        (path(fruit), {"If_Match": OTHER}),
        (path(fruit), {"If_Match": "malformed"}),
        (path(fruit), {"Accept": "text/html"}),
        (f"{path(fruit)}?fields=color", {}),
        (FRUITS, {}),
        (f"{FRUITS}?limit=x", {}),
        (f"{FRUITS}/nope", {}),
        ("/nowhere", {}),
    ]
    for place, headers in requests:
        get, head = await ask("GET", place, **headers), await ask("HEAD", place, **headers)
        assert (head.status, head.text) == (get.status, b"")
        assert {**head.headers, "Date": ""} == {**get.headers, "Date": ""}


async def test_put_patch_delete_if_match_current_or_a_list_with_it_done(ask: StrictClient) -> None:
    """PUT/PATCH/DELETE, If-Match: current, or a list with it | done"""
    for method, change in WRITES.items():
        for form in ("{}", f"{OTHER}, {{}}", f"W/{OTHER},{{}},"):
            created = await ask("POST", FRUITS, {"color": "red"})
            done = await ask(method, path(created), **change, If_Match=form.format(created.headers["ETag"]))
            now = await ask("GET", path(created))
            if method == "DELETE":
                assert (done.status, now.status) == (204, 404)
            else:
                assert (done.status, now.json["color"]) == (200, "blue")


async def test_if_match_other_or_only_weak_tags_412(ask: StrictClient, fruit: Reply) -> None:
    """… If-Match: other, or only weak tags | 412, with the current ETag"""
    tag = fruit.headers["ETag"]
    for method, change in WRITES.items():
        for field in (OTHER, f"W/{tag}", f"W/{tag}, {OTHER}"):
            reply = await ask(method, path(fruit), **change, If_Match=field)
            assert (reply.status, reply.headers["ETag"]) == (412, tag)
    assert (await ask("GET", path(fruit))).json == fruit.json


async def test_if_match_star_exists_done_missing_412(ask: StrictClient) -> None:
    """… If-Match: `*` | exists: done; missing: 412"""
    for method, change in WRITES.items():
        created = await ask("POST", FRUITS, {"color": "red"})
        done = await ask(method, path(created), **change, If_Match="*")
        assert done.status == (204 if method == "DELETE" else 200)
        for missing in (f"{FRUITS}/nope", f"{STANDS}/nope"):
            body = {} if missing.startswith(STANDS) and method == "PUT" else change.get("body")
            assert (await ask(method, missing, **{**change, "body": body}, If_Match="*")).status == 412
    assert (await ask("GET", STANDS)).json["items"] == []


async def test_no_if_match_done_on_the_latest_revision_retried_require_if_match_428(
    ask: StrictClient, proxy: FaultProxy, database: Database
) -> None:
    """… no If-Match | done on the latest revision, retried on conflict; where the resource says `require_if_match`,
    428
    """
    for method, change in WRITES.items():
        created = await ask("POST", FRUITS, {"color": "red"})
        key = created.json["fruit_id"]
        refused = await ask(method, at("/v1.0/guarded", created), **change)
        assert (refused.status, (await ask("GET", path(created))).json) == (428, created.json)

        async def grow(key: str = key) -> None:
            await database.put({**await database.get(key), "later": 1})

        fault = Fault(rival(grow), method="PUT", body=key, times=2)
        proxy.faults.append(fault)
        done = await ask(method, path(created), **change)
        assert fault.hits == 2
        if method == "DELETE":
            assert (done.status, (await ask("GET", path(created))).status) == (204, 404)
        else:
            assert (done.status, done.headers["ETag"][:3]) == (200, '"4-')
            assert (await database.get(key))["later"] == 1


async def test_put_if_none_match_star_exists_412_missing_or_deleted_201_else_404(
    ask: StrictClient, fruit: Reply
) -> None:
    """PUT, If-None-Match: `*` | exists: 412; missing or deleted: 201 where the resource allows create-by-PUT, else
    404
    """
    for _ in range(2):
        created = await ask("PUT", f"{STANDS}/oslo", {"size": 1}, If_None_Match="*")
        assert (created.status, path(created)) == (201, f"{STANDS}/oslo")
        again = await ask("PUT", f"{STANDS}/oslo", {"size": 2}, If_None_Match="*")
        assert (again.status, (await ask("GET", f"{STANDS}/oslo")).json) == (412, created.json)
        await ask("DELETE", f"{STANDS}/oslo")
    assert (await ask("PUT", path(fruit), {"color": "x"}, If_None_Match="*")).status == 412
    await ask("DELETE", path(fruit))
    for place in (path(fruit), f"{FRUITS}/nope"):
        assert (await ask("PUT", place, {"color": "x"}, If_None_Match="*")).status == 404
    assert (await ask("GET", FRUITS)).json["items"] == []


async def test_if_match_given_and_another_writer_wins_412_never_retried(
    ask: StrictClient, proxy: FaultProxy, database: Database
) -> None:
    """If-Match given and another writer wins between read and write | 412, **never** retried"""
    for method, change in WRITES.items():
        created = await ask("POST", FRUITS, {"color": "red"})
        key, tag, start = created.json["fruit_id"], created.headers["ETag"], len(proxy.requests)
        stored, winner = await database.get(key), "2-" + "f" * 32
        ids = [winner[2:], stored["_rev"][2:]]
        won = {**stored, "later": 1, "_rev": winner, "_revisions": {"start": 2, "ids": ids}}

        async def win(won: dict[str, Any] = won) -> None:
            await database.bulk_docs([won], new_edits=False)

        proxy.faults.append(Fault(rival(win), method="PUT", body=key))
        # A second try would find the winner's tag in the list, too.
        reply = await ask(method, path(created), **change, If_Match=f'{tag}, "{winner}"')
        assert (reply.status, reply.headers["ETag"]) == (412, f'"{winner}"')
        assert sum(each.method == "PUT" for each in proxy.requests[start:]) == 1
        assert (await database.get(key))["_rev"] == winner


async def test_n_parallel_puts_with_one_etag_exactly_one_2xx_the_rest_412(ask: StrictClient, fruit: Reply) -> None:
    """N parallel PUTs with one ETag | exactly one 2xx, the rest 412"""
    tag = fruit.headers["ETag"]
    puts = (ask("PUT", path(fruit), {"color": f"c{number}"}, If_Match=tag) for number in range(12))
    replies = await asyncio.gather(*puts)
    assert sorted(reply.status for reply in replies) == [200, *[412] * 11]
    winner = next(reply for reply in replies if reply.status == 200)
    assert (await ask("GET", path(fruit))).json == winner.json


async def test_both_if_none_match_and_if_modified_since_the_date_is_ignored(ask: StrictClient, fruit: Reply) -> None:
    """both If-None-Match and If-Modified-Since | the date is ignored"""
    for date in ("Tue, 01 Jan 2999 00:00:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "not a date"):
        for tag, status in ((OTHER, 200), (fruit.headers["ETag"], 304), ("*", 304)):
            for method in ("GET", "HEAD"):
                reply = await ask(method, path(fruit), If_None_Match=tag, If_Modified_Since=date)
                assert reply.status == status


async def test_no_credentials_and_a_missing_if_match_401_before_428_404_before_428(store: Store, serve: Any) -> None:
    """no credentials and a missing If-Match | 401 before 428; 404 before 428"""
    ask = await serve(private(store, Authenticated(ByHeader()), require_if_match=True))
    await ask("POST", STANDS, {"name": "oslo"}, X_Name="ann")
    for method, change in WRITES.items():
        change = {**change, **({"body": {"size": 1}} if "body" in change else {})}
        assert (await ask(method, f"{STANDS}/oslo", **change)).status == 401
        assert (await ask(method, f"{STANDS}/nope", **change)).status == 401
        assert (await ask(method, f"{STANDS}/oslo", **change, X_Name="ann")).status == 428
        if method != "PUT":  # a PUT creates here
            assert (await ask(method, f"{STANDS}/nope", **change, X_Name="ann")).status == 404
    plain = await serve(application(store))
    assert (await plain("PUT", "/v1.0/guarded/nope", {"color": "x"})).status == 404


@pytest.mark.parametrize("field", ["If_Match", "If_None_Match"])
async def test_malformed_entity_tag_list_400(ask: StrictClient, fruit: Reply, field: str) -> None:
    """malformed entity tag list | 400"""
    for tags in ("unquoted", '"open', f'{fruit.headers["ETag"]} "b"', '*, "a"', "w/" + fruit.headers["ETag"], ","):
        for method, change in {"GET": {}, "HEAD": {}, **WRITES}.items():
            for place in (path(fruit), f"{FRUITS}/nope"):
                assert (await ask(method, place, **change, **{field: tags})).status == 400
    assert (await ask("GET", path(fruit))).json == fruit.json


async def test_if_match_is_never_forwarded_to_couchdb(
    ask: StrictClient, proxy: FaultProxy, database: Database
) -> None:
    """If-Match is never forwarded to CouchDB: the handler evaluates it, sends the revision, and maps CouchDB's 409 to
    412 when the client gave If-Match.
    """
    for method, change in WRITES.items():
        created = await ask("POST", FRUITS, {"color": "red"})
        key, tag, start = created.json["fruit_id"], created.headers["ETag"], len(proxy.requests)

        async def grow(key: str = key) -> None:
            await database.put({**await database.get(key), "later": 1})

        proxy.faults.append(Fault(rival(grow), method="PUT", body=key))
        reply = await ask(method, path(created), **change, If_Match=f'{OTHER}, {tag[:-1]};gzip"')
        assert reply.status == 412
        assert (await ask(method, path(created), **change, If_Match=OTHER)).status == 412
        sent = proxy.requests[start:]
        assert not [each for each in sent if {"if-match", "if-none-match"} & each.headers.keys()]
        [write] = [each for each in sent if each.method == "PUT"]
        assert write.body.decode().count(tag.strip('"')) == 1
