"""Cookie sessions that CouchDB does not take any more: one new log-in, and what it refused is done."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from urllib.parse import unquote, urlsplit

import pytest

from tests.conftest import SERVERS
from tests.faults import FaultProxy
from tornado_couch import CookieAuth, Couch, Database
from tornado_couch.couch import FakeTransport, Grouped
from tornado_couch.embedded import EmbeddedCouch
from tornado_couch.errors import Forbidden, Unauthorized

# A cookie of the right form that no server has given: CouchDB takes its bearer for anonymous.
UNKNOWN = "AuthSession=YWRtaW46NjAwMDAwMDA6xxxxxxxxxx"
GUARD = """function (doc, old, user) {
  if (user.name === null) { if (doc.how === 'forbidden') throw({forbidden: 'log in'});
                            throw({unauthorized: 'log in'}); }
  if (doc.bad) throw({forbidden: 'bad'});
}"""


@pytest.fixture(params=SERVERS)
async def guarded(request: pytest.FixtureRequest) -> AsyncIterator[FaultProxy]:
    """A proxy before a CouchDB that has an administrator."""
    if request.param == "COUCHDB_URL":
        async with FaultProxy(os.environ["COUCHDB_URL"]) as proxy:
            yield proxy
    else:
        async with EmbeddedCouch(admin="app:secret") as url, FaultProxy(url) as proxy:
            yield proxy


@pytest.fixture
def auth(guarded: FaultProxy) -> CookieAuth:
    parts = urlsplit(guarded.url)
    return CookieAuth(unquote(parts.username or ""), unquote(parts.password or ""))


@pytest.fixture
async def database(guarded: FaultProxy, auth: CookieAuth) -> AsyncIterator[Database]:
    """A database that anybody can read, and only who is logged in can write."""
    parts = urlsplit(guarded.url)
    async with Couch(f"http://{parts.hostname}:{parts.port}", auth=auth) as couch:
        name = f"test-{uuid.uuid4().hex}"
        await couch.create_database(name, q=4)
        await couch[name].set_security({"members": {"names": [], "roles": []}, "admins": {"names": [], "roles": []}})
        await couch[name].put({"_id": "_design/guard", "validate_doc_update": GUARD})
        guarded.requests.clear()
        yield couch[name]
        await couch.delete_database(name)


def forget(auth: CookieAuth, cookie: str = UNKNOWN) -> None:
    """Put a cookie that the server does not know in the place of the session's."""
    auth._headers = {"Cookie": cookie}


def log_ins(proxy: FaultProxy) -> int:
    return sum((each.method, each.target) == ("POST", "/_session") for each in proxy.requests)


@pytest.mark.parametrize("cookie", [UNKNOWN, "AuthSession=bad!"])
async def test_a_call_that_needs_an_administrator(
    database: Database, auth: CookieAuth, guarded: FaultProxy, cookie: str
) -> None:
    """401, or 400 for a cookie that makes no sense."""
    forget(auth, cookie)
    assert database.name in await database.server.databases()
    assert log_ins(guarded) == 1


@pytest.mark.parametrize("how", ["forbidden", "unauthorized"])
async def test_a_write_that_is_refused_to_nobody_in_particular(
    database: Database, auth: CookieAuth, guarded: FaultProxy, how: str
) -> None:
    """403 and 401 of a lone write."""
    forget(auth)
    result = await database.put({"_id": "a", "how": how})
    assert (await database.get("a"))["_rev"] == result.rev
    assert log_ins(guarded) == 1


@pytest.mark.parametrize("how", ["forbidden", "unauthorized"])
@pytest.mark.parametrize("grouped", [False, True])
async def test_documents_that_are_refused_in_a_201(
    database: Database, auth: CookieAuth, guarded: FaultProxy, how: str, grouped: bool
) -> None:
    """Those alone are sent again; the others stay as they were answered."""
    forget(auth)
    documents = [{"_id": f"d{n}", "how": how} for n in range(4)]
    if grouped:
        group = Grouped(database)
        revisions = [each.rev for each in await asyncio.gather(*(group.put(each) for each in documents))]
    else:
        revisions = [each.rev or "" for each in await database.bulk_docs(documents)]
    assert revisions == [await database.revision(each["_id"]) for each in documents]
    assert log_ins(guarded) == 1


async def test_being_anonymous(database: Database, auth: CookieAuth, guarded: FaultProxy) -> None:
    """A session that says that nobody is logged in, and a user's document that is said to be missing."""
    forget(auth)
    assert (await database.server.session())["userCtx"]["name"] is not None
    assert log_ins(guarded) == 1


@pytest.mark.parametrize("cookie", [UNKNOWN, "AuthSession=bad!"])
async def test_an_answer_to_head_gives_no_reason(
    database: Database, auth: CookieAuth, guarded: FaultProxy, cookie: str
) -> None:
    """Neither for 400 nor for 401: there is one new log-in."""
    rev = (await database.put({"_id": "a"})).rev
    nobody = {"names": ["nobody"], "roles": []}
    await database.set_security({"members": nobody, "admins": nobody})
    for call, expected in ((database.revision("a"), rev), (database.exists(), True), (database.revision("b"), None)):
        forget(auth, cookie)
        guarded.requests.clear()
        assert await call == expected
        assert log_ins(guarded) == 1


async def test_a_user_who_is_known_does_not_log_in_again(
    database: Database, auth: CookieAuth, guarded: FaultProxy
) -> None:
    """What is refused to the user is refused, and sent once."""
    with pytest.raises(Forbidden):
        await database.put({"_id": "a", "bad": 1})
    results = await database.bulk_docs([{"_id": "b", "bad": 1}, {"_id": "c"}])
    assert [each.error for each in results] == ["forbidden", None]
    assert log_ins(guarded) == 0
    assert sum(each.method == "PUT" or "_bulk_docs" in each.target for each in guarded.requests) == 2


async def test_only_once() -> None:
    """A server that never takes the session is told apart by its second refusal, of a group's documents as well."""
    refused = b'[{"id":"a","error":"unauthorized","reason":"no"},{"ok":true,"id":"b","rev":"1-b"}]'
    again = b'[{"id":"a","error":"unauthorized","reason":"no"}]'
    anonymous = b'{"ok":true,"userCtx":{"name":null,"roles":[]}}'
    session = FakeTransport.reply(200, b"{}", cookies=("AuthSession=x; Partitioned; Odd=1; Priority=High",))
    transport = FakeTransport(
        [
            session,
            FakeTransport.reply(201, refused),
            FakeTransport.reply(200, anonymous),
            session,
            FakeTransport.reply(201, again),
        ]
    )
    couch = Couch("http://couch", auth=CookieAuth("app", "secret"), transport=transport)
    results = await couch["db"].bulk_docs([{"_id": "a"}, {"_id": "b"}])
    assert [(each.id, each.error) for each in results] == [("a", "unauthorized"), ("b", None)]
    assert b'"b"' not in (transport.requests[-1].body or b"")


async def test_unknown_attributes_of_a_cookie_are_ignored() -> None:
    """RFC 6265 §5.2: the name, the value and Max-Age count, wherever they stand."""
    cookie = "AuthSession=x==; Partitioned; Odd; Priority=High; max-age=60; SameSite=None"
    up = FakeTransport.reply(200, b'{"status":"ok"}')
    transport = FakeTransport([FakeTransport.reply(200, b"{}", cookies=(cookie,)), up])
    auth = CookieAuth("app", "secret", clock=lambda: 0.0)
    assert await Couch("http://couch", auth=auth, transport=transport).up()
    assert transport.requests[-1].headers["Cookie"] == "AuthSession=x=="
    assert auth._renew_at == 30


async def test_a_wrong_password_is_unauthorized(guarded: FaultProxy) -> None:
    """One log-in, and no more."""
    parts = urlsplit(guarded.url)
    auth = CookieAuth(uuid.uuid4().hex, "wrong")
    async with Couch(f"http://{parts.hostname}:{parts.port}", auth=auth) as couch:
        with pytest.raises(Unauthorized):
            await couch.databases()
    assert log_ins(guarded) == 1
