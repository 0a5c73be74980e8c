"""How answers are judged, and what is logged of an exchange."""

from __future__ import annotations

import logging

import pytest
from multidict import CIMultiDict

from tornado_couch import errors
from tornado_couch.couch import Couch, FakeTransport, Reply, Timeout


def client(*answers: Reply | Exception) -> Couch:
    """A client that gets these answers."""
    return Couch("http://couch", transport=FakeTransport(list(answers)))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, errors.BadRequest),
        (401, errors.Unauthorized),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (405, errors.BadRequest),
        (409, errors.Conflict),
        (412, errors.PreconditionFailed),
        (413, errors.TooLarge),
        (417, errors.BadRequest),
        (429, errors.TooManyRequests),
    ],
)
async def test_each_refusal_has_its_class_and_couchdbs_reason(status: int, error: type[errors.Refused]) -> None:
    """Status, error and reason come from CouchDB's answer."""
    couch = client(FakeTransport.reply(status, b'{"error":"word","reason":"Because."}'))
    with pytest.raises(errors.Refused) as caught:
        await couch["db"].delete("a", "1-a")
    assert type(caught.value) is error
    assert (caught.value.status, caught.value.error, caught.value.reason) == (status, "word", "Because.")


@pytest.mark.parametrize("status", [400, 401, 403, 413, 429])
async def test_a_refusal_of_a_proxy_is_believed(status: int) -> None:
    """What stands before CouchDB may say no as well, in HTML."""
    couch = client(FakeTransport.reply(status, b"<html>No", Content_Type="text/html"))
    with pytest.raises(errors.Refused) as caught:
        await couch["db"].get("a")
    assert caught.value.status == status


@pytest.mark.parametrize("status", [404, 409, 412])
@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b""])
async def test_only_couchdb_says_that_a_document_is_missing(status: int, body: bytes) -> None:
    """A 404 of another server must not be taken for a document that is not there."""
    couch = client(FakeTransport.reply(status, body), FakeTransport.reply(status, b"", Content_Type="text/html"))
    with pytest.raises(errors.InvalidReply):
        await couch["db"].get("a")
    with pytest.raises(errors.InvalidReply):
        await couch["db"].revision("a")


async def test_201_and_202_are_both_success_and_differ() -> None:
    """202 is told as accepted, for documents, for many of them, and for databases."""
    body = b'{"ok":true,"id":"a","rev":"1-a"}'
    couch = client(*(FakeTransport.reply(status, body) for status in (201, 202, 200, 202)))
    database = couch["db"]
    assert [(await database.put({"_id": "a"})).accepted for _ in range(2)] == [False, True]
    assert [(await database.delete("a", "1-a")).accepted for _ in range(2)] == [False, True]
    couch = client(*(FakeTransport.reply(status, b"[" + body + b"]") for status in (201, 202)))
    assert [(await couch["db"].bulk_docs([{"_id": "a"}])).accepted for _ in range(2)] == [False, True]
    couch = client(*(FakeTransport.reply(status, b'{"ok":true}') for status in (201, 202, 200, 202)))
    assert [await couch.create_database("db") for _ in range(2)] == [False, True]
    assert [await couch.delete_database("db") for _ in range(2)] == [False, True]


async def test_an_exchange_is_logged_without_ids_keys_bodies_and_credentials(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At DEBUG: method, path template, status and milliseconds; the outcome where there was no answer."""
    times = iter([1.0, 1.0125, 2.0, 2.5])
    answers = [FakeTransport.reply(200, b'{"rows":[]}'), errors.Unavailable("gone")]
    couch = Couch("http://u:secret@couch", transport=FakeTransport(answers), clock=lambda: next(times))
    with caplog.at_level(logging.DEBUG, "tornado_couch.couch"):
        await couch["orchard"].view("secret-design", "secret-view", key="secret-key")
        with pytest.raises(errors.Unavailable):
            await couch["orchard"].put({"_id": "secret-id", "body": "secret"})
    assert [record.getMessage() for record in caplog.records] == [
        "GET /{db}/_design/{ddoc}/_view/{view} 200 12.5 ms",
        "PUT /{db}/{id} Unavailable 500.0 ms",
    ]


async def test_nothing_is_measured_while_the_log_is_off() -> None:
    """Below DEBUG the clock is not even read."""
    couch = Couch(
        "http://couch", transport=FakeTransport([FakeTransport.reply(200, b'{"status":"ok"}')]), clock=lambda: 1 // 0
    )
    assert await couch.up()


async def test_headers_ask_for_json() -> None:
    """Every request accepts JSON, and says so of what it brings."""
    transport = FakeTransport([FakeTransport.reply(201, b'{"id":"a","rev":"1-a"}'), FakeTransport.reply(200, b"{}")])
    couch = Couch("http://couch", transport=transport)
    await couch["db"].put({"_id": "a"})
    await couch["db"].security()
    assert transport.requests[0].headers == {"Accept": "application/json", "Content-Type": "application/json"}
    assert transport.requests[1].headers == {"Accept": "application/json"}


def test_a_number_is_a_total_and_none_no_limit_at_all() -> None:
    """The short forms of `timeout`."""
    assert Timeout.of(3) == Timeout(total=3.0)
    assert Timeout.of(None) == Timeout(None, None, None, None)
    assert Timeout.of(Timeout(read=1)) == Timeout(read=1)


async def test_a_database_may_have_time_limits_of_its_own() -> None:
    """They go with its requests, and leave the client's alone."""
    transport = FakeTransport([FakeTransport.reply(200, b"{}"), FakeTransport.reply(200, b"{}")])
    couch = Couch("http://couch", transport=transport, timeout=3)
    await couch.database("db", timeout=None).security()
    await couch["db"].security()
    assert [request.timeout.total for request in transport.requests] == [None, 3.0]


async def test_a_weak_entity_tag_is_the_revision_and_none_is_nonsense() -> None:
    """Proxies that compress weaken entity tags; an answer to HEAD without one is not CouchDB's."""
    couch = client(
        FakeTransport.reply(200, ETag='W/"1-a"'),
        FakeTransport.reply(200),
        Reply(200, CIMultiDict({"ETag": '"1-a"', "Content-Type": "text/html"}), b""),
    )
    assert await couch["db"].revision("a") == "1-a"
    for _ in range(2):
        with pytest.raises(errors.InvalidReply):
            await couch["db"].revision("a")
