"""One document over HTTP: create, read, replace, delete, and their preconditions."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from typing import Any

import pytest

from tests.web.conftest import OTHER, Client, Reply, path
from tornado_couch import Database, Store

# ---------------------------------------------------------------- create


async def test_post_creates_and_answers_201_with_location_tag_and_document(ask: Client) -> None:
    """And the time stamps, key and defaults that the service gave; nothing of CouchDB's."""
    reply = await ask("POST", "/fruits", {"color": "red", "pin": "1234"})
    document = reply.json
    assert reply.status == 201
    assert path(reply) == f"/fruits/{document['fruit_id']}"
    assert re.fullmatch(r'"1-[0-9a-f]{32}"', reply.headers["ETag"])
    assert reply.headers["Content-Type"] == "application/json"
    assert document.keys() == {"fruit_id", "color", "tags", "origin", "grade", "created_on", "updated_on"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", document["created_on"])


async def test_the_tag_of_a_write_is_the_tag_of_the_next_get(ask: Client, fruit: Reply) -> None:
    """For POST and for PUT."""
    assert (await ask("GET", path(fruit))).headers["ETag"] == fruit.headers["ETag"]
    put = await ask("PUT", path(fruit), {"color": "blue"})
    assert (await ask("GET", path(fruit))).headers["ETag"] == put.headers["ETag"]


async def test_a_schema_violation_is_422_with_all_errors_and_nothing_is_stored(ask: Client) -> None:
    """Pointers lead into the body."""
    reply = await ask("POST", "/fruits", {"weight": -1, "tags": ["x", 1], "fruit_id": "mine", "x": 0})
    assert reply.status == 422
    assert {(each["pointer"], each["keyword"]) for each in reply.json["errors"]} == {
        ("/color", "required"),
        ("/weight", "minimum"),
        ("/tags/1", "type"),
        ("/fruit_id", "readOnly"),
        ("/x", "additionalProperties"),
    }
    assert (await ask("GET", "/fruits")).json["items"] == []


@pytest.mark.parametrize("data", [b"{", b"\xff", b'{"color": "a", "color": "b"}', b"", b"[" * 2000])
async def test_a_body_that_is_no_json_with_one_meaning_is_400(ask: Client, data: bytes) -> None:
    """Broken, not UTF-8, duplicate members, empty, too deep."""
    assert (await ask("POST", "/fruits", data=data, Content_Type="application/json")).status == 400


@pytest.mark.parametrize(
    "type_", ["text/plain", "application/json-patch+json", "application/x-www-form-urlencoded", ""]
)
async def test_a_body_of_another_type_is_415_and_says_which_is_taken(ask: Client, type_: str) -> None:
    """With Accept-Post; also where no type is given."""
    headers = {"Content_Type": type_} if type_ else {}
    reply = await ask("POST", "/fruits", data=b'{"color": "red"}', **headers)
    assert (reply.status, reply.headers["Accept-Post"]) == (415, "application/json, application/x-ndjson")


async def test_parameters_chunks_and_gzip_do_not_matter(ask: Client) -> None:
    """A charset, a chunked body and a gzip-coded one are 201."""
    text = b'{"color": "red"}'

    async def chunks() -> Any:
        for byte in text:
            yield bytes([byte])

    for data, headers in (
        (text, {"Content_Type": "application/json; charset=utf-8"}),
        (chunks(), {"Content_Type": "application/json"}),
        (gzip.compress(text), {"Content_Type": "application/json", "Content_Encoding": "gzip"}),
    ):
        assert (await ask("POST", "/fruits", data=data, **headers)).status == 201


@pytest.mark.parametrize("size", [1024 * 1024 + 1, 20_000_000])
async def test_a_body_over_the_limit_is_413_and_nothing_is_stored(ask: Client, size: int) -> None:
    """With a length, chunked, and as a gzip bomb; the service goes on."""
    body = json.dumps({"color": "x" * size}).encode()

    async def chunks() -> Any:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    for data, headers in ((body, {}), (chunks(), {}), (gzip.compress(body), {"Content_Encoding": "gzip"})):
        assert (await ask("POST", "/fruits", data=data, Content_Type="application/json", **headers)).status == 413
    assert (await ask("GET", "/fruits")).json["items"] == []


async def test_a_body_far_over_the_limit_is_refused_before_it_is_sent(ask: Client) -> None:
    """The answer comes at once, as a problem, and the connection is closed."""
    host, port = ask.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    length = 10**12
    writer.write(f"POST /fruits HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in answer


async def test_integers_of_any_size_come_back_as_they_went_in(ask: Client) -> None:
    """Nothing on the way makes floats of them."""
    reply = await ask("POST", "/fruits", {"color": "red", "weight": 2**80})
    assert (await ask("GET", path(reply))).json["weight"] == 2**80


# ---------------------------------------------------------------- read


async def test_get_and_head_answer_alike(ask: Client, fruit: Reply) -> None:
    """HEAD has the same header and no body."""
    get, head = await ask("GET", path(fruit)), await ask("HEAD", path(fruit))
    assert (get.status, head.status, head.text) == (200, 200, b"")
    for name in ("ETag", "Content-Type", "Content-Length", "Cache-Control", "Vary"):
        assert get.headers[name] == head.headers[name]


@pytest.mark.parametrize("form", ["{}", '"x", {}', "W/{}", "*"])
async def test_a_get_whose_if_none_match_hits_is_304(ask: Client, fruit: Reply, form: str) -> None:
    """No body, and ETag, Cache-Control and Vary as the 200 would have."""
    full = await ask("GET", path(fruit))
    reply = await ask("GET", path(fruit), If_None_Match=form.format(fruit.headers["ETag"]))
    assert (reply.status, reply.text) == (304, b"")
    for name in ("ETag", "Cache-Control", "Vary"):
        assert reply.headers[name] == full.headers[name]


async def test_reads_follow_the_order_of_the_rfc(ask: Client, fruit: Reply) -> None:
    """Another tag is 200; a failed If-Match is 412 even when If-None-Match hits; a date is ignored."""
    tag, date = fruit.headers["ETag"], "Tue, 01 Jan 2999 00:00:00 GMT"
    assert (await ask("GET", path(fruit), If_None_Match=OTHER)).status == 200
    assert (await ask("GET", path(fruit), If_Match=OTHER, If_None_Match=tag)).status == 412
    assert (await ask("GET", path(fruit), If_Match=tag)).status == 200
    assert (await ask("GET", path(fruit), If_None_Match=OTHER, If_Modified_Since=date)).status == 200
    assert (await ask("GET", path(fruit), If_Modified_Since=date)).status == 200


@pytest.mark.parametrize("field", [{}, {"If_None_Match": "*"}, {"If_Match": "*"}, {"If_Match": OTHER}])
async def test_a_get_of_a_missing_document_is_404_whatever_the_preconditions(
    ask: Client, field: dict[str, str]
) -> None:
    """There is nothing that they could be about."""
    assert (await ask("GET", "/fruits/nope", **field)).status == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("name", ["If_Match", "If_None_Match"])
async def test_a_malformed_entity_tag_list_is_400(ask: Client, fruit: Reply, method: str, name: str) -> None:
    """It is never guessed what was meant."""
    body = {"color": "x"} if method == "PUT" else None
    assert (await ask(method, path(fruit), body, **{name: "unquoted"})).status == 400
    assert (await ask("GET", path(fruit))).headers["ETag"] == fruit.headers["ETag"]


async def test_an_accept_that_excludes_json_is_406(ask: Client, fruit: Reply) -> None:
    """And one that takes it, or anything, is not."""
    assert (await ask("GET", path(fruit), Accept="text/html")).status == 406
    assert (await ask("GET", path(fruit), Accept="text/html, */*;q=0.1")).status == 200


@pytest.mark.parametrize(
    "key",
    [
        "..%2F..%2F_all_dbs",
        "_design%2Ffruit_by_color",
        "_local%2Fx",
        "%00",
        "a%2Fb",
        "%22%0d%0aX:%20y",
        "..%2e",
        "%F0%9F%8D%8E",
    ],
)
async def test_a_key_never_leads_anywhere_but_to_a_document(ask: Client, key: str) -> None:
    """Path tricks, CouchDB's own ids and control characters are documents that are not there."""
    for place in ("/fruits", "/places", "/notes"):
        assert (await ask("GET", f"{place}/{key}")).status == 404
        assert (await ask("DELETE", f"{place}/{key}")).status == 404


async def test_a_key_that_is_no_utf_8_is_400(ask: Client) -> None:
    """It is no text at all."""
    assert (await ask("GET", "/fruits/%FF")).status == 400


async def test_a_document_of_another_model_is_404(ask: Client, fruit: Reply) -> None:
    """Even where its id is known."""
    assert (await ask("GET", f"/notes/{fruit.json['fruit_id']}")).status == 404
    assert (await ask("PUT", f"/notes/{fruit.json['fruit_id']}", {"text": "x"})).status == 422
    assert (await ask("GET", path(fruit))).json == fruit.json


# ---------------------------------------------------------------- replace


async def test_put_replaces_the_whole_document(ask: Client, fruit: Reply) -> None:
    """What is omitted is gone, what is read-only is kept, and updated_on moves on."""
    await ask("PUT", path(fruit), {"color": "red", "weight": 3})
    reply = await ask("PUT", path(fruit), {"color": "blue"})
    before, after = fruit.json, reply.json
    assert reply.status == 200
    assert (after["color"], after["tags"], "weight" in after) == ("blue", [], False)
    assert (after["fruit_id"], after["created_on"]) == (before["fruit_id"], before["created_on"])
    assert after["updated_on"] > before["updated_on"]


async def test_what_was_read_can_be_sent_back(ask: Client, fruit: Reply) -> None:
    """Read-only properties with their stored values, and a collection's `_href` and `_etag`, are fine."""
    item = (await ask("GET", "/fruits")).json["items"][0]
    assert (await ask("PUT", path(fruit), item)).status == 200


async def test_another_value_for_a_read_only_property_is_422(ask: Client, fruit: Reply) -> None:
    """With a pointer to it."""
    reply = await ask("PUT", path(fruit), {"color": "red", "grade": 5})
    assert (reply.status, reply.json["errors"][0]["pointer"]) == (422, "/grade")


async def test_another_key_in_the_body_than_in_the_url_is_400(ask: Client, fruit: Reply) -> None:
    """A document cannot be renamed."""
    assert (await ask("PUT", path(fruit), {"color": "red", "fruit_id": "other"})).status == 400


async def test_properties_that_the_model_does_not_know_survive(ask: Client, fruit: Reply, database: Database) -> None:
    """Another version of the service may have written them."""
    key = fruit.json["fruit_id"]
    await database.put({**await database.get(key), "later": {"x": [1]}})
    assert "later" not in (await ask("PUT", path(fruit), {"color": "blue"})).json
    assert (await database.get(key))["later"] == {"x": [1]}


@pytest.mark.parametrize("form", ["{}", '"x", {}', "*"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_a_write_whose_if_match_holds_is_done(ask: Client, fruit: Reply, form: str, method: str) -> None:
    """The current tag, a list with it, or any."""
    body = {"color": "x"} if method == "PUT" else None
    reply = await ask(method, path(fruit), body, If_Match=form.format(fruit.headers["ETag"]))
    assert reply.status == (200 if method == "PUT" else 204)


@pytest.mark.parametrize("form", [OTHER, "W/{}"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_a_write_whose_if_match_fails_is_412_with_the_current_tag(
    ask: Client, fruit: Reply, form: str, method: str
) -> None:
    """Another tag, or a weak one; nothing is changed."""
    body = {"color": "x"} if method == "PUT" else None
    reply = await ask(method, path(fruit), body, If_Match=form.format(fruit.headers["ETag"]))
    assert (reply.status, reply.headers["ETag"]) == (412, fruit.headers["ETag"])
    assert (await ask("GET", path(fruit))).json == fruit.json


async def test_if_match_on_a_missing_document_is_412(ask: Client) -> None:
    """There is no representation that could match."""
    for field in ("*", OTHER):
        assert (await ask("PUT", "/fruits/nope", {"color": "x"}, If_Match=field)).status == 412
        assert (await ask("PUT", "/places/nope", {}, If_Match=field)).status == 412
        assert (await ask("DELETE", "/fruits/nope", If_Match=field)).status == 412


async def test_a_write_without_if_match_where_it_is_required_is_428(ask: Client, fruit: Reply) -> None:
    """But 404 where there is no document."""
    guarded = path(fruit).replace("/fruits", "/guarded")
    assert (await ask("PUT", guarded, {"color": "x"})).status == 428
    assert (await ask("DELETE", guarded)).status == 428
    assert (await ask("PUT", "/guarded/nope", {"color": "x"})).status == 404
    assert (await ask("PUT", guarded, {"color": "x"}, If_Match=fruit.headers["ETag"])).status == 200


async def test_put_with_if_none_match_star_creates_once(ask: Client) -> None:
    """201 where the resource allows it and there is nothing; 412 where there is; 201 again once deleted."""
    first = await ask("PUT", "/places/oslo", {"size": 1}, If_None_Match="*")
    assert (first.status, first.headers["Location"], first.json["name"]) == (201, "/places/oslo", "oslo")
    assert (await ask("PUT", "/places/oslo", {"size": 2}, If_None_Match="*")).status == 412
    assert (await ask("DELETE", "/places/oslo")).status == 204
    assert (await ask("PUT", "/places/oslo", {"size": 3}, If_None_Match="*")).status == 201
    assert (await ask("PUT", "/fruits/nope", {"color": "x"}, If_None_Match="*")).status == 404


async def test_put_at_an_id_where_the_model_has_no_key(ask: Client) -> None:
    """The document id is the key, and begins with the type; CouchDB's own ids are refused, and those of others."""
    assert (await ask("PUT", "/notes/note%3An%2F1", {"text": "x"})).status == 201
    assert (await ask("GET", "/notes/note%3An%2F1")).json == {"text": "x"}
    for key in ("_design%2Fx", "_local%2Fx", "_x", "%01", "n%2F1"):
        assert (await ask("PUT", f"/notes/{key}", {"text": "x"})).status == 422


# ---------------------------------------------------------------- delete


async def test_delete_is_204_and_again_404(ask: Client, fruit: Reply) -> None:
    """And a GET finds nothing."""
    assert (await ask("DELETE", path(fruit))).status == 204
    assert (await ask("DELETE", path(fruit))).status == 404
    assert (await ask("GET", path(fruit))).status == 404


# ---------------------------------------------------------------- many writers


@pytest.mark.slow
async def test_20_writers_without_if_match_all_succeed(ask: Client, fruit: Reply, store: Store) -> None:
    """Each change is there: conflicts are retried on the latest document."""
    replies = await asyncio.gather(*(ask("PUT", path(fruit), {"color": f"c{n}"}) for n in range(20)))
    assert [reply.status for reply in replies] == [200] * 20
    assert sorted(int(reply.headers["ETag"][1:].split("-")[0]) for reply in replies) == list(range(2, 22))


async def test_20_writers_with_one_tag_give_exactly_one_success(ask: Client, fruit: Reply) -> None:
    """The rest are 412, and the document is the winner's."""
    tag = fruit.headers["ETag"]
    replies = await asyncio.gather(*(ask("PUT", path(fruit), {"color": f"c{n}"}, If_Match=tag) for n in range(20)))
    statuses = [reply.status for reply in replies]
    assert (statuses.count(200), statuses.count(412)) == (1, 19)
    assert (await ask("GET", path(fruit))).json == replies[statuses.index(200)].json


async def test_20_puts_with_if_none_match_star_create_exactly_one(ask: Client) -> None:
    """One 201, the rest 412."""
    puts = (ask("PUT", "/places/rome", {"size": n}, If_None_Match="*") for n in range(20))
    statuses = [reply.status for reply in await asyncio.gather(*puts)]
    assert (statuses.count(201), statuses.count(412)) == (1, 19)


async def test_20_posts_of_one_unique_key_create_exactly_one(ask: Client) -> None:
    """One 201, the rest 409."""
    posts = (ask("POST", "/places", {"name": "bern", "size": n}) for n in range(20))
    statuses = [reply.status for reply in await asyncio.gather(*posts)]
    assert (statuses.count(201), statuses.count(409)) == (1, 19)


@pytest.mark.parametrize("key", ["a\nb", "a\r\nX: y", "\x00", "a\x7f", "a\x85b", "a/b\tc"])
async def test_a_listed_document_with_an_odd_key_is_usable(ask: Client, database: Database, key: str) -> None:
    """Somebody else gave it the key: its address in the list leads to it, for each method."""
    await database.put({"_id": key, "type": "fruit_v1.0", "fruit_id": key, "color": "red"})
    (item,) = (await ask("GET", "/fruits")).json["items"]
    assert item["fruit_id"] == key
    found = await ask("GET", item["_href"])
    assert (found.status, found.headers["ETag"]) == (200, item["_etag"])
    assert (await ask("PUT", item["_href"], {"color": "blue"})).status == 200
    assert (await ask("DELETE", item["_href"])).status == 204
    assert (await ask("GET", "/fruits")).json["items"] == []
