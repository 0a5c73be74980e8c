"""Answers at the edges of the API, each as Apache CouchDB 3.5.0 gave it to the same request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.embedded.client import Client
from tornado_couch.embedded.server import BackgroundCouch

FORM = {"name": "admin", "password": "password"}


@pytest.fixture
def five(db: Client) -> Client:
    """A database with the documents d0 to d4."""
    db.post("/_bulk_docs", {"docs": [{"_id": f"d{number}", "i": number} for number in range(5)]})
    return db


def outsider(server: Client) -> Client:
    """A client without credentials."""
    client = server.within("")
    client.base, client.login = "", {}
    return client


@pytest.mark.parametrize(("path", "body", "reason"), [
    ("/_all_docs", b"", "invalid UTF-8 JSON"),
    ("/_design/v/_view/v", b"", "invalid UTF-8 JSON"),
    ("/_design/v/_view/v", b"null", "Request body must be a JSON object"),
])  # fmt: skip
def test_a_post_to_a_list_needs_an_object(db: Client, path: str, body: bytes, reason: str) -> None:
    """An empty body is no JSON, and null is no object."""
    db.save("_design/v", {"views": {"v": {"map": "function (doc) { emit(1) }"}}})
    answer = db.ask("POST", path, body)
    assert (answer.status, answer.json) == (400, {"error": "bad_request", "reason": reason})


def test_bulk_get_tells_which_ids_cannot_be(db: Client) -> None:
    """An id that no document can have is an error of its own entry."""
    results = db.post("/_bulk_get", {"docs": [{"id": "_x"}, {"id": ""}]}).json["results"]
    assert [result["docs"][0]["error"]["error"] for result in results] == ["illegal_docid"] * 2


def test_local_documents_by_key(db: Client) -> None:
    """Those that are missing have a line, ids that are not local have none."""
    db.save("_local/a", {})
    rows = db.post("/_local_docs", {"keys": ["_local/a", "_local/b", "d1"]}).json["rows"]
    assert rows == [
        {"id": "_local/a", "key": "_local/a", "value": {"rev": "0-1"}}, {"key": "_local/b", "error": "not_found"}
    ]


@pytest.mark.parametrize(("query", "numbered"), [
    ("seq_interval=2", [0, 2, 4]), ("seq_interval=3", [1, 4]), ("seq_interval=2&limit=5", [1, 3]),
    ("seq_interval=2&limit=2&descending=true", [0]),
])  # fmt: skip
def test_seq_interval_counts_down_from_the_limit(five: Client, query: str, numbered: list[int]) -> None:
    """Lines whose distance from the limit is a multiple have their sequence number (the default limit is 10^15)."""
    rows = five.get(f"/_changes?{query}").json["results"]
    assert [place for place, row in enumerate(rows) if row["seq"] is not None] == numbered


def test_a_negative_limit_of_the_feed_is_none(five: Client) -> None:
    """All changes come."""
    assert len(five.get("/_changes?limit=-1").json["results"]) == 5


def test_last_event_id_in_the_query_is_since(five: Client) -> None:
    """What stands in for EventSource has no header to say it in."""
    seq = five.get("/_changes?limit=3").json["last_seq"]
    assert [row["id"] for row in five.get(f"/_changes?last-event-id={seq}").json["results"]] == ["d3", "d4"]
    assert five.get("/_changes?last-event-id=3").status == 400


def test_a_selector_of_the_feed_may_come_with_fields(five: Client) -> None:
    """The documents are cut down to them."""
    body = {"selector": {"i": 3}, "fields": ["_id"]}
    rows = five.post("/_changes?filter=_selector&include_docs=true", body).json["results"]
    assert [row["doc"] for row in rows] == [{"_id": "d3"}]


@pytest.mark.parametrize(("method", "body", "kind"), [
    ("POST", {"i": 3}, "object"), ("POST", b"", ""), ("GET", None, "undefined"),
])  # fmt: skip
def test_the_body_that_a_filter_sees(five: Client, method: str, body: Any, kind: str) -> None:
    """Parsed where it is JSON, empty where it is, and the word `undefined` where there is none."""
    function = "function (doc, req) { return (typeof req.body == 'object' ? 'object' : req.body) === req.query.kind }"
    five.save("_design/f", {"filters": {"f": function}})
    answer = five.ask(method, f"/_changes?filter=f/f&kind={kind}", body)
    assert len(answer.json["results"]) == 6


def test_several_ranges_begin_with_their_boundary(db: Client) -> None:
    """Nothing stands in front of the first part of multipart/byteranges."""
    db.put("/a/b", b"0123456789", {"Content-Type": "image/png"})
    answer = db.get("/a/b", Range="bytes=0-0,5-6")
    assert (answer.status, answer.body[:2]) == (206, b"--")


def test_logging_in_may_send_on(server: Client) -> None:
    """`next` is a path on this server: 302 to it with the cookie, by POST and by DELETE; anything else is 400."""
    for method, body in (("POST", FORM), ("DELETE", None)):
        answer = outsider(server).ask(method, "/_session?next=/a%3Fb", body)
        assert (answer.status, answer.json["ok"]) == (302, True)
        assert answer.headers["location"] == f"http://{server.host}:{server.port}/a?b"
        assert answer.headers["set-cookie"].startswith("AuthSession=")
    assert outsider(server).post("/_session?next=http://elsewhere/", FORM).status == 400


def test_a_session_has_a_name(server: Client) -> None:
    """A login without one is a bad request, and `basic=true` asks who has none to log in."""
    assert outsider(server).post("/_session", {"password": "x"}).status == 400
    answer = outsider(server).get("/_session?basic=true")
    assert (answer.status, answer.json["reason"]) == (401, "Please login.")
    with BackgroundCouch() as url:
        assert Client(url).get("/_session?basic=true").status == 200


def test_line_feeds_and_find_end_with_an_empty_line(five: Client) -> None:
    """As CouchDB ends what it sends in pieces."""
    assert five.get("/_changes?feed=continuous&limit=1").body.endswith(b"}\n\n")
    found = five.post("/_find", {"selector": {"i": 1}}).body
    assert found.endswith(b"}\n")
    assert len(json.loads(found)["docs"]) == 1
