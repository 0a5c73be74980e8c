"""What a client is told when a `validate_doc_update` function of the database refuses its document."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.web.conftest import Client, Serve, application
from tornado_couch import Store

GUARD = """function (doc) {
  if (doc.color === 'forbidden') throw({forbidden: {code: 7}});
  if (doc.color === 'list') throw({forbidden: ['a', 'b']});
  if (doc.color === 'text') throw({forbidden: 'because'});
  if (doc.color === 'unauthorized') throw({unauthorized: {who: 'you'}});
  if (doc.color === 'exception') doc.none.such();
}"""
CASES: list[tuple[str, int, Any]] = [
    ("forbidden", 403, {"code": 7}),
    ("list", 403, "ab"),
    ("text", 403, "because"),
    ("unauthorized", 401, {"who": "you"}),
]


@pytest.fixture
async def guarded(store: Store, serve: Serve) -> Client:
    """A client of a service whose database refuses some documents."""
    await store.database.put({"_id": "_design/guard", "validate_doc_update": GUARD})
    return await serve(application(store))


@pytest.mark.parametrize(("color", "status", "reason"), CASES)
async def test_the_reason_comes_through(guarded: Client, color: str, status: int, reason: Any) -> None:
    """As JSON in `reason`, with 403 or 401: of POST, PUT, an item of an array, and a line."""
    made = await guarded("POST", "/fruits", {"color": "red"})
    body = {"color": color}
    for reply in (await guarded("POST", "/fruits", body), await guarded("PUT", made.headers["Location"], body)):
        assert (reply.status, reply.json["status"], reply.json["reason"]) == (status, status, reason)
        assert reply.json["type"] == "urn:tornado-couch:problem:refused-by-database"
    array = await guarded("POST", "/fruits", [body, {"color": "blue"}])
    assert [each["status"] for each in array.json["items"]] == [status, 201]
    assert array.json["items"][0]["problem"]["reason"] == reason
    text = json.dumps(body).encode() + b"\n"
    line = await guarded("POST", "/fruits", data=text, Content_Type="application/x-ndjson")
    assert json.loads(line.text)["problem"]["reason"] == reason


async def test_an_exception_in_the_function_is_a_refusal(guarded: Client) -> None:
    """403 with CouchDB's reason, not "try again later"."""
    reply = await guarded("POST", "/fruits", {"color": "exception"})
    assert (reply.status, reply.json["type"]) == (403, "urn:tornado-couch:problem:refused-by-database")
    assert "reason" in reply.json
