"""Nothing of one tenant is honoured at another, although their documents have the same ids and addresses."""

from __future__ import annotations

import asyncio
import base64
import random
from datetime import UTC, datetime
from typing import Annotated, Any

import pytest

from tests.web.callers import ByHeader
from tests.web.conftest import Client, Serve
from tests.web.models import Place
from tests.web.tenants.conftest import As, Make, application
from tornado_couch import (
    Application,
    Encrypted,
    Model,
    ReadCache,
    Store,
    Tenants,
    UpdatedOn,
    assigned,
    resource,
)  # fmt: skip
from tornado_couch.errors import DecryptionFailed, InvalidSignature
from tornado_couch.security import KeyRing, Purpose
from tornado_couch.store import Room
from tornado_couch.web import Account, Authenticated, BasicAccounts, Principal, RateLimit, create_account
from tornado_couch.web.access import caller_identity

_LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)


class Secret(Model, type="secret_v1.0", key="name", unique=True):
    name: str
    text: Annotated[str | None, Encrypted(searchable=True)] = None
    updated_on: UpdatedOn = assigned()


async def test_equal_ids_and_interleaved_requests_never_mix(make: Make, serve: Serve) -> None:
    """Two tenants write and read the same documents all the time, with caches and groups, and each sees its own."""
    tenants = make(cache=ReadCache(staleness=1.0))
    ask = await serve(application(tenants))
    names = [f"p{number}" for number in range(5)]

    async def work(user: As, mark: int) -> None:
        order = random.Random(mark)
        for name in names:
            assert (await user("PUT", f"/places/{name}", {"size": mark})).status == 201
        for _ in range(25):
            name = order.choice(names)
            if order.random() < 0.3:
                size = order.randrange(50) * 2 + mark
                assert (await user("PUT", f"/places/{name}", {"size": size})).status == 200
            found = (await user("GET", f"/places/{name}")).json
            assert found["size"] % 2 == mark, found

    users = [(As(ask, "alice"), 0), (As(ask, "bob"), 1)]
    await asyncio.gather(*(work(user, mark) for user, mark in users))
    for user, mark in users:
        listed = (await user("GET", "/places?limit=100")).json["items"]
        assert [each["name"] for each in listed][:2] == names[:2]
        assert {each["size"] % 2 for each in listed} == {mark}


@pytest.mark.parametrize("secret", [None, "a secret of the service"], ids=["none", "cookie_secret"])
async def test_a_cursor_is_good_for_one_tenant(make: Make, serve: Serve, secret: str | None) -> None:
    """The next page of alice's list is not bob's, under the same address; without a secret as well."""
    ask = await serve(application(make(), **({"cookie_secret": secret} if secret else {})))
    alice, bob = As(ask, "alice"), As(ask, "bob")
    for user in (alice, bob):
        for name in ("a", "b", "c"):
            await user("POST", "/places", {"name": name})
    following = (await alice("GET", "/places")).json["next"]
    assert [each["name"] for each in (await alice("GET", following)).json["items"]] == ["c"]
    assert (await bob("GET", following)).status == 400


async def test_an_entity_tag_is_good_for_one_tenant(users: tuple[As, As]) -> None:
    """Equal documents have other tags, so that no 304 and no write takes one for the other."""
    alice, bob = users
    tags = [(await user("PUT", "/places/a", {"size": 1})).headers["ETag"] for user in users]
    assert tags[0] != tags[1]
    assert (await alice("GET", "/places/a", If_None_Match=tags[0])).status == 304
    assert (await bob("GET", "/places/a", If_None_Match=tags[0])).status == 200
    assert (await bob("PUT", "/places/a", {"size": 2}, If_Match=tags[0])).status == 412
    listed = [(await user("GET", "/places")).headers["ETag"] for user in users]
    assert listed[0] != listed[1]
    assert (await bob("GET", "/places", If_None_Match=listed[0])).status == 200


async def test_no_date_stands_for_a_tenants_document(make: Make, serve: Serve) -> None:
    """A date does not say whose document a client has, so it is neither told nor looked at."""
    tenants = make(models=[Secret], crypter=KeyRing.create(Purpose.PROTECT), now=lambda: _LONG_AGO)
    ask = await serve(Application(resource("/secrets", Secret, tenants), policy=Authenticated(ByHeader())))
    for name in ("alice", "bob"):
        assert (await As(ask, name)("POST", "/secrets", {"name": "a"})).status == 201
    answer = await As(ask, "alice")("GET", "/secrets/a", If_Modified_Since="Wed, 01 Jan 2025 00:00:00 GMT")
    assert (answer.status, "Last-Modified" in answer.headers) == (200, False)


async def test_an_idempotency_key_is_good_for_one_tenant(make: Make, serve: Serve) -> None:
    """Two tenants with one user name use the same key, even at the same time, and each has a document."""
    tenants = make(Tenants.by_path("/t/{tenant}"), way="name", allow=lambda *_: True)
    ask = await serve(application(tenants, path="/t/{tenant}"))
    alice = As(ask, "alice")

    async def create(tenant: str) -> Any:
        return await alice("POST", f"/t/{tenant}/fruits", {"color": tenant}, Idempotency_Key="k")

    answers = await asyncio.gather(create("a"), create("b"))
    assert [each.status for each in answers] == [201, 201]
    assert [each.json["color"] for each in answers] == ["a", "b"]
    again = await create("a")
    assert (again.status, again.json["fruit_id"]) == (201, answers[0].json["fruit_id"])


async def test_a_signed_document_is_good_for_one_tenant(make: Make) -> None:
    """Copied into another tenant's database, it is refused."""
    tenants = make(signer=KeyRing.create())
    async with tenants.open("a", create=True) as first, tenants.open("b", create=True) as second:
        await first.create(Place(name="x", size=1))
        await copy(first, second, Place, "x")
        with pytest.raises(InvalidSignature, match="another place"):
            await second.get(Place, "x")


async def test_an_encrypted_value_is_good_for_one_tenant(make: Make) -> None:
    """Copied into another tenant's database, under the same id, it cannot be decrypted, with or without a signature."""
    tenants = make(models=[Secret], crypter=KeyRing.create(Purpose.PROTECT))
    async with tenants.open("a", create=True) as first, tenants.open("b", create=True) as second:
        await first.create(Secret(name="x", text="for a alone"))
        assert (await first.get(Secret, "x")).text == "for a alone"
        await copy(first, second, Secret, "x")
        with pytest.raises(DecryptionFailed):
            await second.get(Secret, "x")


async def copy(first: Store, second: Store, cls: type[Model], key: str) -> None:
    """Copy a document with its revision, as replication does."""
    document = await first.database.get(cls.__couch__.document_id(key) or "", revs=True)  # type: ignore[union-attr]
    assert not await second.database.bulk_docs([document], new_edits=False)


async def test_a_rate_limit_counts_each_tenants_users_apart(make: Make, serve: Serve) -> None:
    """alice of one tenant uses up nothing of alice's of another: they are different people."""
    tenants, ask = await accounts(make, serve, rate_limit=RateLimit(3, 60))
    for tenant, status in (("a", 200), ("a", 200), ("a", 200), ("a", 429), ("b", 200)):
        answer = await ask("GET", f"/t/{tenant}/places", Authorization=basic_of("alice", f"of {tenant}"))
        assert answer.status == status
    assert len(tenants.open_databases) == 2


async def test_an_account_is_good_for_one_tenant(make: Make, serve: Serve) -> None:
    """Its name and password open nothing elsewhere, though they were right a moment ago and are remembered."""
    tenants, ask = await accounts(make, serve)
    right = {"Authorization": basic_of("alice", "of a")}
    assert (await ask("GET", "/t/a/places", **right)).status == 200
    assert (await ask("GET", "/t/b/places", **right)).status == 401
    assert (await ask("GET", "/t/c/places", **right)).status == 401
    assert (await ask("POST", "/t/c/places", {"name": "x"}, **right)).status == 401
    async with tenants.open("a") as store:
        assert store.database.name.endswith("a")


async def accounts(make: Make, serve: Serve, **settings: Any) -> tuple[Tenants, Client]:
    """A service whose tenants have accounts of their own: an alice each."""
    tenants = make(Tenants.by_path("/t/{tenant}"), way="name", models=[Place, Account])
    for name in ("a", "b"):
        async with tenants.open(name, create=True) as store:
            await create_account(store, "alice", f"of {name}", rounds=4)
    policy = Authenticated(BasicAccounts(tenants, rounds=4))
    routes = resource("/t/{tenant}/places", Place, tenants)
    return tenants, await serve(Application(routes, policy=policy, **settings))


async def test_one_tenants_large_answers_leave_room_for_others() -> None:
    """All requests of a tenant have half of the room at most; what they give back is there for all."""
    room = Room(100, 0.05)
    part = room.part("a")
    assert room.part("a") is part
    assert part.take_at_once(50)
    assert not part.take_at_once(1)
    assert room.part("b").take_at_once(40)
    waiting = asyncio.create_task(room.part("c").take(30, 5.0))
    await asyncio.sleep(0)
    part.give_back(50)
    await waiting
    assert room._free == 30


async def test_a_tenant_whose_answers_take_their_room_waits_alone(make: Make, serve: Serve) -> None:
    """Others are answered meanwhile, and it is once the room is given back."""
    tenants = make()
    app = application(tenants, max_prepared=2**20, prepare_seconds=0.05)
    ask = await serve(app)
    users = {name: As(ask, name) for name in ("alice", "bob")}
    for user in users.values():
        assert (await user("POST", "/notes", {"text": "x" * 300_000})).status == 201
    with app.room.part(tenants.database_name("alice") or "").share() as held:
        await held.widen(2**20)
        assert {name: (await user("GET", "/notes")).status for name, user in users.items()} == {
            "alice": 503,
            "bob": 200,
        }
    assert (await users["alice"]("GET", "/notes")).status == 200


def test_callers_with_one_name_in_two_tenants_are_two() -> None:
    """Neither counts for the other, nor for a user without a tenant."""
    principals = [Principal("alice"), Principal("alice", tenant="a"), Principal("alice", tenant="b")]
    assert len({caller_identity(each, None) for each in principals}) == 3
    assert len(set(principals)) == 3


def basic_of(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


async def test_changes_are_those_of_one_tenant(users: tuple[As, As]) -> None:
    """Each follows their own database; and a token of one is of no use to the other."""
    alice, bob = users
    since = {}
    for name, ask in (("alice", alice), ("bob", bob)):
        await ask("POST", "/fruits", {"color": "old"})
        since[name] = (await ask("GET", "/fruits/_changes")).json["next"]
    await alice("POST", "/fruits", {"color": "red"})
    page = (await alice("GET", f"/fruits/_changes?since={since['alice']}")).json
    assert [each["color"] for each in page["items"]] == ["red"]
    assert (await bob("GET", f"/fruits/_changes?since={since['bob']}")).json["items"] == []
    assert (await bob("GET", f"/fruits/_changes?since={since['alice']}")).status == 410
