"""A database for each tenant: which one a request is for, how it is made, and how many there are."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.web.conftest import Serve
from tests.web.models import Fruit, Person, Place
from tests.web.tenants.conftest import MODELS, As, Make, application
from tornado_couch import AllowAny, Couch, Problem, Store, Tenants, install
from tornado_couch.web import Authenticated, BasicAccounts, Caller, Event, RateLimit


async def test_each_user_has_a_database_called_as_couchdb_does(users: tuple[As, As], couch: Couch, prefix: str) -> None:
    """It is made at the first use, with its design documents, and nobody else sees what is in it."""
    alice, bob = users
    assert (await alice("POST", "/fruits", {"color": "red"})).status == 201
    assert (await alice("GET", "/fruits?color=red")).json["items"][0]["color"] == "red"
    assert (await bob("GET", "/fruits?color=red")).json["items"] == []
    assert await couch.databases(prefix=prefix) == [f"{prefix}616c696365", f"{prefix}626f62"]


async def test_the_default_name_is_that_of_couch_peruser(couch: Couch) -> None:
    """So that the databases that CouchDB makes for its users are found."""
    tenants = Tenants(couch)
    assert tenants.database_name("alice") == "userdb-616c696365"
    assert tenants.database_name("Zoë/..") == "userdb-5a6fc3ab2f2e2e"
    assert tenants.pattern == "userdb-*"


async def test_an_anonymous_request_is_401_where_users_are_tenants(make: Make, serve: Serve, prefix: str) -> None:
    """Even where the policy lets everybody in."""
    tenants = make()
    ask = await serve(application(tenants, policy=AllowAny()))
    assert (await ask("GET", "/fruits")).status == 401
    assert tenants.open_databases == []


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_plain_function_can_choose_the_store(store: Store, serve: Serve, kind: str) -> None:
    """Of who sends the request, at once or awaited; what it raises is the answer."""

    def choose(caller: Caller) -> Store:
        if caller.principal is None or caller.principal.name != "alice":
            raise Problem.of("no-such-tenant")
        return store

    async def choose_later(caller: Caller) -> Store:
        await asyncio.sleep(0)
        return choose(caller)

    ask = await serve(application(choose if kind == "sync" else choose_later))
    alice, bob = As(ask, "alice"), As(ask, "bob")
    made = await alice("POST", "/places", {"name": "here", "size": 3})
    assert (made.status, made.headers["Location"]) == (201, "/places/here")
    assert (await store.get(Place, "here")).size == 3
    assert (await bob("GET", "/places/here")).status == 404


async def test_a_function_that_returns_no_store_is_500_with_a_log(serve: Serve, caplog: Any) -> None:
    """The mistake is the service's, and its log names it."""
    ask = await serve(application(lambda _: "orchard"))
    assert (await As(ask, "alice")("GET", "/fruits")).status == 500
    assert "must return a Store, not str" in caplog.text


async def test_the_tenant_can_be_a_part_of_the_path(make: Make, serve: Serve, prefix: str, couch: Couch) -> None:
    """Every address in an answer has it, too; who may not use it finds nothing."""
    tenants = make(Tenants.by_path("/t/{tenant}"), way="name", allow=lambda caller, name: caller.principal.name in name)
    ask = await serve(application(tenants, path="/t/{tenant}"))
    alice = As(ask, "alice")
    made = await alice("POST", "/t/of-alice/places", {"name": "a/b"})
    assert (made.status, made.headers["Location"]) == (201, "/t/of-alice/places/a%2Fb")
    await alice("POST", "/t/of-alice/places", {"name": "c"})
    await alice("POST", "/t/of-alice/places", {"name": "d"})
    listed = (await alice("GET", "/t/of-alice/places")).json
    assert [each["_href"] for each in listed["items"]] == ["/t/of-alice/places/a%2Fb", "/t/of-alice/places/c"]
    assert listed["next"].startswith("/t/of-alice/places?")
    assert [each["name"] for each in (await alice("GET", listed["next"])).json["items"]] == ["d"]
    operations = [{"action": "create", "document": {"name": "e"}}, {"action": "delete", "key": "c"}]
    bulk = (await alice("POST", "/t/of-alice/places/_bulk", {"operations": operations})).json["items"]
    assert [each["status"] for each in bulk] == [201, 204]
    patch: dict[str, Any] = {"data": b'{"size": 1}', "Content_Type": "application/merge-patch+json"}
    patched = (await alice("PATCH", "/t/of-alice/places?size=0", **patch)).json["items"]
    assert patched[0]["_href"] == "/t/of-alice/places/a%2Fb"
    assert (await alice("GET", "/t/of-bob/places")).status == 404
    assert await couch.databases(prefix=prefix) == [f"{prefix}of-alice"]


async def test_the_tenant_can_be_a_part_of_the_host(make: Make, serve: Serve) -> None:
    """In any case, and with a port."""
    tenants = make(Tenants.by_host("{tenant}.example.com"), way="name", allow=lambda _, name: name == "acme")
    ask = await serve(application(tenants, policy=AllowAny()))
    assert (await ask("POST", "/places", {"name": "x"}, Host="ACME.example.com:8080")).status == 201
    assert (await ask("GET", "/places/x", Host="acme.example.com")).status == 200
    for host in (
        "other.example.com",
        "acme.example.com.evil.org",
        "example.com",
        "a.b.example.com",
        "acme.example.comx",
    ):
        assert (await ask("GET", "/places/x", Host=host)).status == 404


async def test_without_create_a_tenant_without_a_database_is_404(
    make: Make, serve: Serve, couch: Couch, prefix: str
) -> None:
    """Nothing is made; the database can be made by somebody else, and is found then."""
    tenants = make(create=False)
    alice = As(await serve(application(tenants)), "alice")
    refused = await alice("POST", "/fruits", {"color": "red"})
    assert (refused.status, refused.json["type"]) == (404, "urn:tornado-couch:problem:no-such-tenant")
    assert await couch.databases(prefix=prefix) == []
    await install(couch, tenants.database_name("alice") or "", MODELS)
    assert (await alice("POST", "/fruits", {"color": "red"})).status == 201


async def test_create_can_depend_on_the_caller(make: Make, serve: Serve, couch: Couch, prefix: str) -> None:
    """A function says who may have a database made."""

    async def may(caller: Caller, tenant: str) -> bool:
        return caller.principal is not None and tenant == "alice"

    ask = await serve(application(make(create=may)))
    assert (await As(ask, "bob")("GET", "/fruits")).status == 404
    assert (await As(ask, "alice")("GET", "/fruits")).status == 200
    assert await couch.databases(prefix=prefix) == [f"{prefix}616c696365"]


async def test_concurrent_first_uses_make_a_database_once(
    make: Make, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them are answered, and one of them installs."""
    tenants, calls = make(), []
    prepare = tenants._prepare

    async def counted(database: str) -> object:
        calls.append(database)
        return await prepare(database)

    monkeypatch.setattr(tenants, "_prepare", counted)
    alice = As(await serve(application(tenants)), "alice")
    answers = await asyncio.gather(*(alice("PUT", f"/places/{number}", {"size": 1}) for number in range(20)))
    assert {each.status for each in answers} == {201}
    assert len(calls) == 1


async def test_two_processes_make_a_database_together(make: Make, serve: Serve) -> None:
    """Each finds what the other one has made, and repairs what is missing."""
    first, second = [As(await serve(application(make())), "alice") for _ in range(2)]
    answers = await asyncio.gather(*(each("PUT", "/places/a", {"size": 1}) for each in (first, second)))
    assert sorted(each.status for each in answers) in ([200, 201], [201, 201])
    assert (await first("GET", "/places?size=1")).json["items"][0]["name"] == "a"


async def test_a_half_made_database_is_completed(make: Make, serve: Serve, couch: Couch) -> None:
    """Where a process was killed between the database and its design documents, the next use makes the rest."""
    tenants = make()
    await couch.create_database(tenants.database_name("alice") or "")
    alice = As(await serve(application(tenants)), "alice")
    assert (await alice("GET", "/fruits?color=red")).json["items"] == []


async def test_a_caller_who_goes_away_stops_nothing_for_the_others(make: Make) -> None:
    """The database is made although the request that came first was cancelled."""
    tenants = make()
    first = asyncio.create_task(_open(tenants, "alice"))
    second = asyncio.create_task(_open(tenants, "alice"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()
    assert (await asyncio.gather(first, second, return_exceptions=True))[1] == tenants.database_name("alice")


async def _open(tenants: Tenants, name: str) -> str:
    async with tenants.open(name, create=True) as store:
        return store.database.name


# ---------------------------------------------------------------- how many


async def test_at_most_so_many_stores_are_open(make: Make) -> None:
    """The one that was not used for the longest time is closed, with its cache."""
    tenants = make(most=2, cache=True)
    for name in ("a", "b", "a", "c"):
        async with tenants.open(name, create=True) as store:
            await store.stored("missing") if False else None
            if name == "b":
                closed = store
    assert tenants.open_databases == [tenants.database_name("a"), tenants.database_name("c")]
    assert closed._cache is not None
    assert closed._cache._follower is None


async def test_a_store_in_use_is_never_closed(make: Make) -> None:
    """Who needs its place waits, and has 503 after a while."""
    tenants = make(most=1, wait=0.2)
    async with tenants.open("a", create=True):
        with pytest.raises(Problem) as caught:
            await _open(tenants, "b")
        assert (caught.value.status_code, caught.value.kind) == (503, "tenants-busy")
        assert caught.value.headers == {"Retry-After": "1"}
        assert tenants.open_databases == [tenants.database_name("a")]
        waiting = asyncio.create_task(_open(tenants, "b"))
        await asyncio.sleep(0)
    assert await waiting == tenants.database_name("b")


async def test_there_are_at_most_so_many_databases(make: Make, serve: Serve, couch: Couch, prefix: str) -> None:
    """However many callers ask for their first one at the same time; those that are there go on."""
    ask = await serve(application(make(most_databases=3)))
    names = [f"user{number}" for number in range(6)]
    answers = await asyncio.gather(*(As(ask, name)("GET", "/notes") for name in names))
    assert sorted(each.status for each in answers)[-3:] == [503, 503, 503]
    for _ in names:
        answers = [await As(ask, name)("GET", "/notes") for name in names]
    assert sorted(each.status for each in answers) == [200, 200, 200, 503, 503, 503]
    assert len(await couch.databases(prefix=prefix)) == 3


async def test_a_caller_opens_only_so_many_stores_in_a_while(make: Make, serve: Serve) -> None:
    """Others are not disturbed, and neither is what is open."""
    tenants = make(
        Tenants.by_path("/t/{tenant}"), way="name", allow=lambda *_: True, opening=RateLimit(3, 60, name="tenants")
    )
    ask = await serve(application(tenants, path="/t/{tenant}"))
    mallory, alice = As(ask, "mallory"), As(ask, "alice")
    assert (await alice("GET", "/t/a/notes")).status == 200
    statuses = [(await mallory("GET", f"/t/m{number}/notes")).status for number in range(6)]
    assert statuses == [200, 200, 200, 429, 429, 429]
    assert (await mallory("GET", "/t/a/notes")).status == 200
    assert (await alice("GET", "/t/b/notes")).status == 200


async def test_unknown_tenants_close_no_store(make: Make, serve: Serve) -> None:
    """Names that nobody has take no place."""
    tenants = make(Tenants.by_path("/t/{tenant}"), way="name", allow=lambda *_: True, create=False, most=1)
    async with tenants.open("a", create=True):
        pass
    ask = await serve(application(tenants, path="/t/{tenant}"))
    answers = [(await As(ask, "mallory")("GET", f"/t/m{number}/notes")).status for number in range(5)]
    assert answers == [404] * 5
    assert tenants.open_databases == [tenants.database_name("a")]


async def test_a_deleted_database_is_noticed(make: Make, serve: Serve, couch: Couch) -> None:
    """After `recheck` seconds a tenant who was removed is 404, as one who never was."""
    now = [0.0]
    tenants = make(create=False, clock=lambda: now[0])
    async with tenants.open("alice", create=True):
        pass
    alice = As(await serve(application(tenants)), "alice")
    assert (await alice("GET", "/notes")).status == 200
    await couch.delete_database(tenants.database_name("alice") or "")
    now[0] = 61.0
    assert (await alice("GET", "/notes")).status == 404
    assert tenants.open_databases == []


async def test_closed_tenants_open_no_store(make: Make) -> None:
    """A request that is late has 503, and nothing is left open."""
    tenants = make()
    await _open(tenants, "a")
    await tenants.close()
    with pytest.raises(Problem):
        await _open(tenants, "a")
    assert tenants.open_databases == []


async def test_who_waits_for_a_database_when_all_is_closed_has_503(make: Make) -> None:
    """And not an error that nobody expects."""
    begun = asyncio.Event()

    async def prepare(_: str) -> None:
        begun.set()
        await asyncio.sleep(60)

    tenants = make(prepare=prepare)
    waiting = asyncio.create_task(_open(tenants, "a"))
    await begun.wait()
    await tenants.close()
    with pytest.raises(Problem) as caught:
        await waiting
    assert caught.value.status_code == 503


# ---------------------------------------------------------------- mistakes


async def test_accounts_in_the_databases_of_users_are_a_mistake(
    make: Make, serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    """Who a user is must be known before their database is."""
    tenants = make()
    ask = await serve(application(tenants, policy=Authenticated(BasicAccounts(tenants, rounds=4))))
    assert (await ask("GET", "/notes", Authorization="Basic YTpi")).status == 500
    assert "such as Tenants.by_path(…)" in caplog.text


@pytest.mark.parametrize(
    "name", ["userdb", "{hex}", "Users-{hex}", "_users{hex}", "a{hex}{name}", "a{other}", "a{hex}B"]
)
def test_a_name_that_no_database_can_have_is_refused(name: str) -> None:
    """When the tenants are declared, with a sentence that shows the form."""
    with pytest.raises(ValueError, match="as in userdb-"):
        Tenants(Couch("http://127.0.0.1:1"), database=name)


def test_a_model_that_is_not_installed_is_refused() -> None:
    """Its views would not be there."""
    with pytest.raises(ValueError, match=r"add it to Tenants\(models=…\)"):
        application(Tenants(Couch("http://127.0.0.1:1"), models=[Person]))


@pytest.mark.parametrize("template", ["/t", "/t{tenant}", "/{tenant}/{tenant}", "/{tenant}x"])
def test_a_template_without_the_tenant_is_refused(template: str) -> None:
    """When the tenants are declared."""
    with pytest.raises(ValueError, match="must have the segment"):
        Tenants.by_path(template)


async def test_an_action_changes_the_document_of_its_tenant(make: Make, serve: Serve) -> None:
    """With its own idempotency keys; an action of the collection has the tenant's store as well."""

    def taste(fruit: Fruit) -> None:
        fruit.tags.append("tasted")

    async def plant(event: Event) -> Fruit:
        return await event.store.create(Fruit(color="green"))

    options = {"actions": {"taste": taste, "_plant": plant}}
    ask = await serve(application(make(), options=options))
    for name, tags in (("alice", ["tasted"]), ("bob", ["tasted"])):
        user = As(ask, name)
        key = (await user("POST", "/fruits/_plant", Idempotency_Key="p")).json["fruit_id"]
        for _ in range(2):
            done = await user("POST", f"/fruits/{key}/taste", Idempotency_Key="t")
            assert (done.status, done.json["tags"]) == (200, tags)
        assert len((await user("GET", "/fruits")).json["items"]) == 1
        assert (await As(ask, "carol")("POST", f"/fruits/{key}/taste")).status == 404
