"""Names of tenants that clients choose: none leads to another database, and none makes the service fail."""

from __future__ import annotations

import asyncio
import string
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.web.callers import ByHeader
from tests.web.conftest import Client, Serve
from tests.web.models import Place
from tests.web.tenants.conftest import As, Make
from tornado_couch import Application, Couch, Policy, Tenants, resource
from tornado_couch.web import Authenticated, Principal, ResourceHandler
from tornado_couch.web.action_table import ACTIONS
from tornado_couch.web.resources import Resource

HOSTILE = [
    "..", ".", "../_users", "a/../../_users",
    "Acme", "ACME", "acme ", " acme", "acme\0", "acme\r\nX-A: b", "acme?rev=1", "acme#x", "acme%2f", "%2e%2e", "a.b",
    "ä", "ﬁ", "acme\u0301", "🍎", "a" * 231, "a" * 5000, "*", "a;b", "a\\b", "'", '"', "{name}", "a,b", "a:b",
]  # fmt: skip


@pytest.fixture
async def by_name(make: Make, serve: Serve) -> Client:
    """A service whose tenants' databases bear the names that clients write in the path."""
    tenants = make(Tenants.by_path("/t/{tenant}"), way="name", models=[Place], allow=lambda *_: True)
    return await serve(Application(resource("/t/{tenant}/places", Place, tenants), policy=Policy()))


async def test_a_hostile_name_in_the_path_is_404(by_name: Client, couch: Couch, prefix: str) -> None:
    """Whatever it is, and however it is written; nothing is created."""
    for name in HOSTILE:
        for written in {quote(name, safe=""), quote(quote(name, safe=""), safe="")}:
            answer = await by_name("GET", f"/t/{written}/places")
            assert answer.status in (400, 404), name
    assert await couch.databases(prefix=prefix) == []


async def test_a_system_databases_name_is_that_of_a_tenant(by_name: Client, couch: Couch, prefix: str) -> None:
    """It stands behind the beginning that all databases of tenants have, so that CouchDB's own are out of reach."""
    names = ["_all_dbs", "_global_changes", "_replicator", "_users"]
    for name in names:
        assert (await by_name("GET", f"/t/{name}/places")).json == {"items": []}
    assert await couch.databases(prefix=prefix) == [f"{prefix}{name}" for name in names]


async def test_a_slash_is_a_part_of_the_name(by_name: Client, couch: Couch, prefix: str) -> None:
    """CouchDB's names have them; it is one segment of the path, and one database."""
    assert (await by_name("GET", "/t/a%2Fb/places")).status == 200
    assert (await by_name("GET", "/t/a/b/places")).status == 404
    assert await couch.databases(prefix=prefix) == [f"{prefix}a/b"]


async def test_any_user_can_have_a_database_of_their_own(make: Make, serve: Serve, couch: Couch, prefix: str) -> None:
    """Hexadecimal digits stand for every name; two that look alike are two; one that is too long is 404."""
    names = ["..", "_users", "Acme", "acme", "a/b", "a%2Fb", "ä", "a\u0308", "\0"]

    class ByNumber:
        challenge = "Test"

        async def authenticate(self, request: Any) -> Principal | None:
            return Principal([*names, "x" * 120][int(request.headers["X-Number"])])

    ask = await serve(Application(resource("/places", Place, make(models=[Place])), policy=Authenticated(ByNumber())))
    for number, name in enumerate(names):
        made = await ask("POST", "/places", {"name": "here", "size": number}, X_Number=str(number))
        assert made.status == 201, name
    for number in range(len(names)):
        assert (await ask("GET", "/places/here", X_Number=str(number))).json["size"] == number
    assert (await ask("GET", "/places/here", X_Number=str(len(names)))).status == 404
    assert len(await couch.databases(prefix=prefix)) == len(names)


@given(st.text(max_size=130))
def test_a_name_that_is_accepted_is_one_for_a_database(name: str) -> None:
    """By CouchDB's grammar, within the family, and no two tenants have the same one."""
    couch = Couch("http://127.0.0.1:1")
    for way in ("hex", "name"):
        tenants = Tenants(couch, database=f"t-{{{way}}}-x")
        found = tenants.database_name(name)
        if found is None:
            continue
        assert (found[:2], found[-2:], len(found) <= 238) == ("t-", "-x", True)
        assert set(found) <= {*string.ascii_lowercase, *string.digits, *"_$()+/-"}
        middle = found.removeprefix("t-").removesuffix("-x")
        assert (bytes.fromhex(middle).decode() if way == "hex" else middle) == name


async def test_a_user_of_one_tenant_reaches_no_other(make: Make, serve: Serve) -> None:
    """Even if `allow` would let anybody in: an account of a tenant's own is good for its database alone."""

    class OfA:
        challenge = "Test"

        async def authenticate(self, _: Any) -> Principal | None:
            return Principal("alice", tenant=tenants.database_name("a") or "")

    tenants = make(Tenants.by_path("/t/{tenant}"), way="name", models=[Place], allow=lambda *_: True)
    ask = await serve(Application(resource("/t/{tenant}/places", Place, tenants), policy=Authenticated(OfA())))
    assert [(await ask("GET", f"/t/{name}/places")).status for name in ("a", "b")] == [200, 404]


async def test_without_allow_a_path_opens_nothing_to_strangers(make: Make, serve: Serve, couch: Couch) -> None:
    """Forgetting it shows nobody's data, and makes no database."""
    tenants = make(Tenants.by_path("/t/{tenant}"), way="name", models=[Place])
    ask = await serve(Application(resource("/t/{tenant}/places", Place, tenants), policy=Policy()))
    async with tenants.open("a", create=True):
        pass
    assert [(await ask("GET", f"/t/{name}/places")).status for name in ("a", "b")] == [404, 404]


class Forgetful(ResourceHandler[Place]):
    """A handler of the service's own that does not ask who sends the request."""

    async def get(self) -> None:
        self.finish({"name": self.store.database.name})


class Careful(ResourceHandler[Place]):
    """A handler of the service's own that fails while it uses a store."""

    async def get(self) -> None:
        await self.admit(ACTIONS["retrieve"])
        if self.get_query_argument("fail", ""):
            raise RuntimeError("broken")
        self.finish({"name": self.store.database.name})


async def test_an_own_handler_has_the_store_once_it_has_admitted_the_request(
    make: Make, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """Before, an error says what to do; and the store is given back, whatever happens."""
    tenants = make(models=[Place], most=1, wait=0.2)
    mounted: Any = Resource("/own", Place, tenants, policy=Authenticated(ByHeader()))  # type: ignore[arg-type]
    routes = [("/forgetful", Forgetful, {"resource": mounted}), ("/careful", Careful, {"resource": mounted})]
    ask = await serve(Application(routes))
    ask.described = None
    assert (await As(ask, "alice")("GET", "/forgetful")).status == 500
    assert "await self.admit(…) first" in caplog.text
    for name in ("alice", "bob", "alice"):
        assert (await As(ask, name)("GET", "/careful?fail=yes")).status == 500
        assert (await As(ask, name)("GET", "/careful")).json == {"name": tenants.database_name(name)}


async def test_a_client_that_goes_away_gives_its_store_back(make: Make, serve: Serve) -> None:
    """Otherwise many of them could keep all places."""
    tenants = make(models=[Place], most=1, wait=5.0)
    begun, go_on = asyncio.Event(), asyncio.Event()

    class Slow(ResourceHandler[Place]):
        async def list(self) -> None:
            begun.set()
            await go_on.wait()
            self.finish({"items": []})

    routes = resource("/places", Place, tenants, collection=Slow, policy=Authenticated(ByHeader()))
    ask = await serve(Application(routes))
    ask.described = None
    alice = asyncio.create_task(As(ask, "alice")("GET", "/places"))
    await begun.wait()
    alice.cancel()
    await asyncio.gather(alice, return_exceptions=True)
    go_on.set()
    assert (await As(ask, "bob")("GET", "/places")).status == 200
