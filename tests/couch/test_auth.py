"""Who the client says it is."""

from __future__ import annotations

import asyncio
import base64
import hmac
import os
import uuid
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from tests.clocks import Clock
from tests.conftest import REAL_COUCHDB
from tests.faults import Behaviour, Call, FaultServer, answer, until
from tornado_couch import errors
from tornado_couch.couch import (
    Auth,
    BasicAuth,
    BearerAuth,
    CookieAuth,
    Couch,
    FakeTransport,
    NoAuth,
    ProxyAuth,
    Reply,
    Request,
    Timeout,
)
from tornado_couch.embedded import EmbeddedCouch

UP = b'{"status":"ok"}'


class Sessions:
    """A CouchDB that hands out numbered sessions, and takes only the one that is valid."""

    def __init__(self, attributes: str = "; Max-Age=600; Path=/; HttpOnly") -> None:
        self.logins = 0
        self.valid = ""
        self.attributes = attributes
        self.refresh = False

    def __call__(self, request: Request) -> Reply:
        if request.target == "/_session":
            self.logins += 1
            self.valid = f"session-{self.logins}"
            return FakeTransport.reply(200, b'{"ok":true}', cookies=(self.cookie(),))
        if request.headers.get("Cookie") != f"AuthSession={self.valid}":
            return FakeTransport.reply(401, b'{"error":"unauthorized","reason":"no"}')
        cookies: tuple[str, ...] = ()
        if self.refresh:
            self.valid = "refreshed"
            cookies = ("lb=1; Path=/", self.cookie())
        return FakeTransport.reply(200, UP, cookies=cookies)

    def cookie(self) -> str:
        """The Set-Cookie of the valid session."""
        return f"AuthSession={self.valid}{self.attributes}"


def cookie_client(sessions: Sessions) -> tuple[Couch, Clock]:
    """A client with a cookie session at that CouchDB, and its clock."""
    clock = Clock()
    auth = CookieAuth("app", "secret", clock=clock)
    return Couch("http://couch", auth=auth, transport=FakeTransport(sessions)), clock


async def header_of(auth: Auth, name: str) -> Any:
    """The header field that a request bears with this authentication."""
    transport = FakeTransport([FakeTransport.reply(200, UP)])
    await Couch("http://couch", auth=auth, transport=transport).up()
    return transport.requests[0].headers.get(name)


async def test_basic_sends_user_and_password_in_utf8() -> None:
    """The header field is RFC 7617's."""
    expected = "Basic " + base64.b64encode("app:sé:cret".encode()).decode()
    assert await header_of(BasicAuth("app", "sé:cret"), "Authorization") == expected


async def test_credentials_in_the_url_become_basic_and_vanish() -> None:
    """They are sent, and no representation shows them."""
    async with FaultServer(answer(200, {"status": "ok"})) as server:
        couch = Couch(server.url.replace("http://", "http://app:s%2Fecret@"))
        await couch.up()
        await couch.close()
        assert couch.url == server.url
        assert "ecret" not in repr(couch) + repr(couch["db"]) + repr(vars(couch))
    expected = "Basic " + base64.b64encode(b"app:s/ecret").decode()
    assert server.requests[0].headers["authorization"] == expected
    with pytest.raises(ValueError, match="not both"):
        Couch("http://a:b@couch", auth=NoAuth())


async def test_a_bearer_token_may_be_a_function() -> None:
    """A token is sent as it is; a function, plain or async, is asked for each request."""
    tokens = iter(["one", "two"])

    async def token() -> str:
        return next(tokens)

    assert await header_of(BearerAuth("a.b.c"), "Authorization") == "Bearer a.b.c"
    assert await header_of(BearerAuth(lambda: "x.y.z"), "Authorization") == "Bearer x.y.z"
    auth = BearerAuth(token)
    assert [await header_of(auth, "Authorization") for _ in range(2)] == ["Bearer one", "Bearer two"]


@pytest.mark.parametrize("digest", ["sha1", "sha256"])
async def test_a_proxy_vouches_for_the_user(digest: Any) -> None:
    """Name, roles, and the HMAC of the name under the secret that CouchDB has as well."""
    auth = ProxyAuth("Zoë", ["a", "b"], "secret", digest=digest)
    assert await header_of(auth, "X-Auth-CouchDB-UserName") == "Zoë"
    assert await header_of(auth, "X-Auth-CouchDB-Roles") == "a,b"
    token = hmac.new(b"secret", "Zoë".encode(), digest).hexdigest()
    assert await header_of(auth, "X-Auth-CouchDB-Token") == token
    assert await header_of(ProxyAuth("app"), "X-Auth-CouchDB-Token") is None


def test_nothing_can_split_a_header_field() -> None:
    """Line breaks, and what would mean something else, are refused when the client is made."""
    for make in (
        lambda: BasicAuth("app\r\nX: y", "p"),
        lambda: BasicAuth("a:b", "p"),
        lambda: BearerAuth("token\n"),
        lambda: BearerAuth(""),
        lambda: ProxyAuth("app\n"),
        lambda: ProxyAuth("app", ["a\r"]),
        lambda: ProxyAuth("app", ["a,b"]),
    ):
        with pytest.raises(ValueError, match="must"):
            make()


async def test_a_token_function_cannot_split_a_header_field() -> None:
    """What the function gives is looked at as well."""
    with pytest.raises(ValueError, match="line breaks"):
        await header_of(BearerAuth(lambda: "a\r\nX: y"), "Authorization")


def test_no_representation_shows_a_secret() -> None:
    """Only the user's name is shown."""
    for auth in (
        NoAuth(),
        BasicAuth("app", "s3cret"),
        CookieAuth("app", "s3cret"),
        BearerAuth("s3cret"),
        ProxyAuth("app", (), "s3cret"),
    ):
        assert "s3cret" not in repr(auth)


async def test_a_session_is_opened_once_for_concurrent_requests() -> None:
    """Ten requests at once share one log-in, which sends user and password as JSON."""
    sessions = Sessions()
    couch, _ = cookie_client(sessions)
    assert all(await asyncio.gather(*(couch.up() for _ in range(10))))
    assert sessions.logins == 1


async def test_a_session_is_renewed_before_it_ends() -> None:
    """At half its time a new one is opened, without any request being refused."""
    sessions = Sessions()
    couch, clock = cookie_client(sessions)
    await couch.up()
    clock.now += 299
    await couch.up()
    assert sessions.logins == 1
    clock.now += 2
    await couch.up()
    assert sessions.logins == 2


async def test_a_session_without_a_stated_time_is_taken_for_couchdbs_default() -> None:
    """Ten minutes, where the cookie has no Max-Age."""
    sessions = Sessions(attributes="; Version=1; Path=/; HttpOnly")
    couch, clock = cookie_client(sessions)
    await couch.up()
    clock.now += 299
    await couch.up()
    assert sessions.logins == 1
    clock.now += 2
    await couch.up()
    assert sessions.logins == 2


async def test_a_session_that_couchdb_refreshes_is_taken_over() -> None:
    """A fresh cookie in any answer takes the old one's place, among cookies of others, and counts anew."""
    sessions = Sessions()
    couch, clock = cookie_client(sessions)
    await couch.up()
    clock.now += 299
    sessions.refresh = True
    await couch.up()
    sessions.refresh = False
    clock.now += 299
    await couch.up()
    assert sessions.logins == 1


async def test_a_session_that_is_refused_is_opened_again_once() -> None:
    """CouchDB restarted with a new secret: one 401, one log-in, and the request succeeds."""
    sessions = Sessions()
    couch, _ = cookie_client(sessions)
    await couch.up()
    sessions.valid = "none"
    assert await couch.up()
    assert sessions.logins == 2


async def test_a_session_that_is_always_refused_is_unauthorized() -> None:
    """A second 401 in a row is the caller's."""

    def refuse(request: Request) -> Reply:
        if request.target == "/_session":
            return FakeTransport.reply(200, b"{}", cookies=("AuthSession=x",))
        return FakeTransport.reply(401, b'{"error":"unauthorized","reason":"no"}')

    transport = FakeTransport(refuse)
    couch = Couch("http://couch", auth=CookieAuth("app", "secret"), transport=transport)
    with pytest.raises(errors.Unauthorized):
        await couch.up()
    assert [request.target for request in transport.requests] == ["/_session", "/_up"] * 2


@pytest.mark.parametrize("cookies", [(), ("AuthSession=",), ("other=1",)])
async def test_a_log_in_without_a_cookie_is_nonsense(cookies: tuple[str, ...]) -> None:
    """What answered the log-in was not CouchDB."""
    transport = FakeTransport([FakeTransport.reply(200, b'{"ok":true}', cookies=cookies)])
    couch = Couch("http://couch", auth=CookieAuth("app", "secret"), transport=transport)
    with pytest.raises(errors.InvalidReply, match="AuthSession"):
        await couch.up()


async def test_a_cancelled_log_in_leaves_the_next_one_free() -> None:
    """A caller that gives up while logging in locks nobody out."""
    cookie = answer(200, {"ok": True}, Set_Cookie="AuthSession=x; Max-Age=600")
    stalled = asyncio.Event()

    async def stall_once(call: Call) -> None:
        stalled.set()
        await call.until_closed()

    script: list[Behaviour] = [stall_once, cookie, answer(200, {"status": "ok"})]
    async with FaultServer(*script) as server, Couch(server.url, auth=CookieAuth("app", "secret")) as couch:
        first = asyncio.create_task(couch.up())
        await stalled.wait()
        second = asyncio.create_task(couch.up())
        first.cancel()
        assert await second
        await until(lambda: first.cancelled())


async def test_the_total_limit_covers_the_log_in() -> None:
    """A log-in that hangs ends with the call's total time."""

    async def hang(call: Call) -> None:
        await call.until_closed()

    limits = Timeout(read=None, total=0.2)
    auth = CookieAuth("app", "secret")
    async with FaultServer(hang) as server, Couch(server.url, auth=auth, timeout=limits) as couch:
        with pytest.raises(errors.TotalTimeout):
            await couch.up()


@pytest.fixture
async def guarded_url() -> AsyncIterator[str]:
    """The URL of a CouchDB that has an administrator, with the credentials."""
    if os.environ.get("COUCHDB_URL"):
        yield os.environ["COUCHDB_URL"]
        return
    async with EmbeddedCouch(admin="zoë:p/w:d") as url:
        yield url


async def test_couchdb_takes_a_cookie_session(guarded_url: str) -> None:
    """The server says that it was the cookie by which it knew the user; a wrong one is refused."""
    parts = urlsplit(guarded_url)
    if not parts.username:
        pytest.skip(REAL_COUCHDB)
    url = f"{parts.scheme}://{parts.hostname}:{parts.port}"
    user, password = unquote(parts.username), unquote(parts.password or "")
    async with Couch(guarded_url) as couch:
        assert (await couch.session())["userCtx"]["name"] == user
    async with Couch(url, auth=CookieAuth(user, password)) as couch:
        session = await couch.session()
        assert session["userCtx"]["name"] == user
        assert session["info"]["authenticated"] == "cookie"
    # Another user each time: CouchDB locks an account out after a few wrong passwords.
    async with Couch(url, auth=CookieAuth(uuid.uuid4().hex, "wrong")) as couch:
        with pytest.raises(errors.Unauthorized):
            await couch.session()
