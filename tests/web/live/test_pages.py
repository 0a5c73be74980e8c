"""What changed in a collection since a token, page by page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import pytest

from tests.faults import Call, Fault, FaultProxy
from tests.web.callers import ByHeader
from tests.web.live.service import Copy, Service, serving
from tests.web.models import Place, Stand
from tornado_couch import (
    AllowAny,
    Couch,
    Database,
    Encrypted,
    Model,
    ReadOnly,
    Store,
    WriteOnly,
    install,
    resource,
)
from tornado_couch.security import KeyRing
from tornado_couch.web import Authenticated, Hooks, Owner, Policy, Principal, Problem


class Secretive(Model, type="secretive_v1.0", key="name", unique=True):
    name: str
    word: Annotated[str, Encrypted()]
    pin: Annotated[str | None, WriteOnly()] = None


class Numbered(Model, type="numbered_v1.0", key="number", unique=True):
    number: int


async def test_a_client_follows_from_now_on(service: Service) -> None:
    """Without `since` the page is empty; its `next` brings what changes from then on, each document once."""
    await service.create("/places", {"name": "before"})
    first = await service.get("/places/_changes")
    assert (first["items"], first["more"]) == ([], False)
    here = await service.create("/places", {"name": "here"})
    await service.call(here, "PUT", {"name": "here", "size": 7})
    page = await service.get(f"/places/_changes?since={first['next']}")
    _, shown, reply = await service.call(here)
    assert page["items"] == [{"_href": here, "_etag": reply.headers["ETag"], **shown}]
    assert (await service.get(f"/places/_changes?since={page['next']}"))["items"] == []


async def test_a_client_follows_from_the_beginning(service: Service) -> None:
    """Applied one after the other, the pages since the beginning give what a list of everything shows."""
    for number in range(7):
        await service.create("/places", {"name": f"p{number}"})
    await service.call("/places/p3", "DELETE")
    copy, since, more = Copy(), "beginning", True
    while more:
        page = await service.get(f"/places/_changes?since={since}&limit=3")
        for item in page["items"]:
            copy.apply(item)
        since, more = page["next"], page["more"]
    assert copy.items == await service.everything("/places")


@pytest.mark.parametrize("path", ["/places", "/kept", "/marked"])
async def test_a_deletion_names_the_document(service: Service, path: str) -> None:
    """Whatever becomes of a deleted document, those who follow are told its address."""
    here = await service.create(path, {"name": "here"})
    since = (await service.get(f"{path}/_changes"))["next"]
    await service.call(here, "DELETE")
    assert (await service.get(f"{path}/_changes?since={since}"))["items"] == [{"_href": here, "_deleted": True}]


async def test_a_generated_key_is_known_after_a_deletion(service: Service) -> None:
    """A tombstone keeps the key."""
    here = await service.create("/fruits", {"color": "red"})
    since = (await service.get("/fruits/_changes"))["next"]
    await service.call(here, "DELETE")
    assert (await service.get(f"/fruits/_changes?since={since}"))["items"] == [{"_href": here, "_deleted": True}]


async def test_versions_come_as_one_document(service: Service) -> None:
    """With `history=True` a page has the latest version only."""
    since = (await service.get("/kept/_changes"))["next"]
    here = await service.create("/kept", {"name": "here"})
    for size in (1, 2):
        await service.call(here, "PUT", {"name": "here", "size": size})
    (item,) = (await service.get(f"/kept/_changes?since={since}"))["items"]
    assert (item["_href"], item["size"]) == (here, 2)


async def test_a_filter_follows_what_fits(service: Service) -> None:
    """What fits no more is gone; a new document that does not fit is no change."""
    red = await service.create("/fruits", {"color": "red"})
    since = (await service.get("/fruits/_changes?color=red"))["next"]
    await service.create("/fruits", {"color": "green"})
    await service.call(red, "PATCH", {"color": "blue"}, Content_Type="application/merge-patch+json")
    page = await service.get(f"/fruits/_changes?color=red&since={since}")
    assert page["items"] == [{"_href": red, "_gone": True}]


async def test_fields_choose_a_part(service: Service) -> None:
    """Items have the properties that were asked for, and the entity tag of that part."""
    since = (await service.get("/fruits/_changes?fields=color"))["next"]
    await service.create("/fruits", {"color": "red"})
    (item,) = (await service.get(f"/fruits/_changes?fields=color&since={since}"))["items"]
    assert item.keys() == {"_href", "_etag", "color"}
    assert ";fields=" in item["_etag"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?since=forged", 400),
        ("?limit=0", 400),
        ("?sort=name", 400),
        ("?cursor=x", 400),
        ("?unknown=x", 400),
        ("?since=now&since=now", 400),
        ("?ticket=forged", 401),
    ],
)
async def test_a_wrong_parameter_is_refused(service: Service, query: str, status: int) -> None:
    """With a problem that names it."""
    assert (await service.call(f"/places/_changes{query}"))[0] == status


async def test_a_token_is_for_one_view(service: Service) -> None:
    """With other filters documents would be missing: 410 says how to begin again; another collection's token is 400."""
    since = (await service.get("/fruits/_changes"))["next"]
    status, problem, reply = await service.call(f"/fruits/_changes?color=red&since={since}")
    assert (status, "since=beginning" in problem["detail"]) == (410, True)
    assert reply.headers["Link"] == '</fruits/_changes?since=beginning>; rel="start"'
    assert (await service.call(f"/places/_changes?since={since}"))[0] == 400


async def test_a_new_database_ends_the_tokens(service: Service, store: Store, couch: Couch) -> None:
    """410: what was in the old database is not told of."""
    since = (await service.get("/places/_changes"))["next"]
    made = (await store.database.info())["instance_start_time"]
    await couch.delete_database(store.database.name)
    while True:  # CouchDB tells a database's age in seconds
        await couch.create_database(store.database.name)
        if (await store.database.info())["instance_start_time"] != made:
            break
        await couch.delete_database(store.database.name)
    assert (await service.call(f"/places/_changes?since={since}"))[0] == 410


class TestOwners:
    """Each caller is told of what they see, and of what they no longer see; never of more."""

    async def test_others_are_told_of_nothing(self, service: Service) -> None:
        """Neither of a document that was never theirs, nor of its deletion."""
        since = (await service.get("/stands/_changes", X_Name="bob"))["next"]
        here = await service.create("/stands", {"name": "hers"}, X_Name="alice")
        await service.call(here, "DELETE", X_Name="alice")
        assert (await service.get(f"/stands/_changes?since={since}", X_Name="bob"))["items"] == []

    async def test_a_new_owner_gains_what_the_old_one_loses(self, service: Service, store: Store) -> None:
        """The old owner is told that it is gone, and the new one gets it, though both know nothing of each other."""
        here = await service.create("/stands", {"name": "one"}, X_Name="alice")
        since = {name: (await service.get("/stands/_changes", X_Name=name))["next"] for name in ("alice", "bob")}
        await store.update(Stand, "one", lambda stand: setattr(stand, "owner", "bob"))
        page = await service.get(f"/stands/_changes?since={since['alice']}", X_Name="alice")
        assert page["items"] == [{"_href": here, "_gone": True}]
        (item,) = (await service.get(f"/stands/_changes?since={since['bob']}", X_Name="bob"))["items"]
        assert (item["_href"], item["owner"]) == (here, "bob")

    async def test_who_had_it_is_told_of_its_end(self, service: Service, store: Store) -> None:
        """Also when it was given away and deleted, or deleted and made anew by somebody else, in the meantime."""
        here = await service.create("/stands", {"name": "one"}, X_Name="alice")
        since = (await service.get("/stands/_changes", X_Name="alice"))["next"]
        await service.call(here, "DELETE", X_Name="alice")
        await service.create("/stands", {"name": "one"}, X_Name="bob")
        page = await service.get(f"/stands/_changes?since={since}", X_Name="alice")
        assert page["items"] == [{"_href": here, "_gone": True}]
        await service.call(here, "DELETE", X_Name="bob")
        page = await service.get(f"/stands/_changes?since={since}", X_Name="alice")
        assert page["items"] == [{"_href": here, "_gone": True}]

    async def test_a_token_is_for_one_caller(self, service: Service) -> None:
        """Another caller sees other documents, and has to begin again."""
        since = (await service.get("/stands/_changes", X_Name="alice"))["next"]
        assert (await service.call(f"/stands/_changes?since={since}", X_Name="bob"))[0] == 410

    async def test_a_token_is_for_a_caller_in_one_role(self, service: Service) -> None:
        """Who becomes an admin sees more than the token covers."""
        since = (await service.get("/stands/_changes", X_Name="alice"))["next"]
        assert (await service.call(f"/stands/_changes?since={since}", X_Name="alice", X_Role="admin"))[0] == 410

    async def test_more_owners_than_are_noted(self, service: Service, store: Store) -> None:
        """Where the note of the former owners is cut off, somebody who may have had it begins again."""
        await service.create("/stands", {"name": "one"}, X_Name="alice")
        since = (await service.get("/stands/_changes", X_Name="alice"))["next"]
        for number in range(20):
            await store.update(Stand, "one", lambda stand, name=f"owner {number}": setattr(stand, "owner", name))
        assert (await service.call(f"/stands/_changes?since={since}", X_Name="alice"))[0] == 410

    async def test_pages_do_not_count_what_others_have(self, service: Service, store: Store) -> None:
        """A caller has as many pages, and the same of each, whether or not others write between."""
        since = {name: (await service.get("/stands/_changes", X_Name=name))["next"] for name in ("alice", "bob")}
        for number in range(30):
            await store.create(Stand(name=f"b{number}", owner="bob"))
            await store.create(Place(name=f"p{number}"))
        await store.create(Stand(name="a", owner="alice"))
        page = await service.get(f"/stands/_changes?since={since['alice']}&limit=1", X_Name="alice")
        assert [item["name"] for item in page["items"]] == ["a"]
        page = await service.get(f"/stands/_changes?since={page['next']}&limit=1", X_Name="alice")
        assert (page["items"], page["more"]) == ([], False)
        names: set[str] = set()
        page = {"next": since["bob"], "more": True}
        while page["more"]:
            page = await service.get(f"/stands/_changes?since={page['next']}&limit=7", X_Name="bob")
            assert len(page["items"]) == 7 or not page["more"]
            names |= {item["name"] for item in page["items"]}
        assert len(names) == 30

    async def test_a_document_that_another_one_was_before_it_unseen(
        self, service: Service, store: Store, proxy: FaultProxy
    ) -> None:
        """One that was created and deleted while a new one was on its way: whoever may have had it begins again."""
        since = (await service.get("/stands/_changes", X_Name="alice"))["next"]

        async def overtaken(call: Call, forward: Callable[[], Awaitable[bytes]]) -> None:
            await store.create(Stand(name="one", owner="alice"))
            await store.delete(Stand, "one")
            await call.send(await forward())

        proxy.faults.append(Fault(overtaken, method="PUT"))
        async with Couch(proxy.url) as couch:
            await Store(couch[store.database.name]).create(Stand(name="one", owner="bob"))
        assert proxy.faults[0].hits == 1
        assert (await service.call(f"/stands/_changes?since={since}", X_Name="alice"))[0] == 410

    async def test_anonymous_callers_are_refused(self, service: Service) -> None:
        """As a list refuses them."""
        assert (await service.call("/stands/_changes"))[0] == 401


async def test_what_another_program_deletes(service: Service, store: Store) -> None:
    """Its tombstone says nothing, but CouchDB still has what was deleted."""
    here = await service.create("/fruits", {"color": "red"})
    since = (await service.get("/fruits/_changes"))["next"]
    document = await store.database.get(here.rpartition("/")[2])
    await store.database.delete(document["_id"], document["_rev"])
    assert (await service.get(f"/fruits/_changes?since={since}"))["items"] == [{"_href": here, "_deleted": True}]


async def test_what_a_list_leaves_out_is_gone(service: Service, store: Store) -> None:
    """A document that does not fit its model any more is in no list either."""
    here = await service.create("/places", {"name": "here"})
    since = (await service.get("/places/_changes"))["next"]
    document = await store.database.get("place:here")
    await store.database.put({**document, "size": "large"})
    assert (await service.get(f"/places/_changes?since={since}"))["items"] == [{"_href": here, "_gone": True}]


async def test_what_never_had_an_address(database: Database) -> None:
    """A document of another program, whose id contains no key of the model, is nobody's reason to begin again."""
    await install(database.server, database.name, [Numbered])
    store = Store(database)
    async with serving(resource("/numbered", Numbered, store), policy=AllowAny()) as service:
        await store.create(Numbered(number=7))
        since = (await service.get("/numbered/_changes"))["next"]
        await database.put({"_id": "numbered:seven", "type": "numbered_v1.0", "number": "seven"})
        await database.put({"_id": "numbered:eight", "_deleted": True})
        await database.put({**await database.get("numbered:7"), "number": []})
        page = await service.get(f"/numbered/_changes?since={since}")
        assert page["items"] == [{"_href": "/numbered/7", "_gone": True}]
    await store.close()


async def test_protected_properties(database: Database) -> None:
    """They are shown as a GET shows them: what is encrypted in the clear, what is write-only never."""
    await install(database.server, database.name, [Secretive])
    store = Store(database, crypter=KeyRing.create(), signer=KeyRing.create())
    async with serving(resource("/secretive", Secretive, store), policy=AllowAny()) as service:
        since = (await service.get("/secretive/_changes"))["next"]
        await service.create("/secretive", {"name": "one", "word": "hunter2", "pin": "1234"})
        (item,) = (await service.get(f"/secretive/_changes?since={since}"))["items"]
        assert {name: each for name, each in item.items() if name[0] != "_"} == {"name": "one", "word": "hunter2"}
        await service.call("/secretive/one", "DELETE")
        page = await service.get(f"/secretive/_changes?since={since}")
        assert page["items"] == [{"_href": "/secretive/one", "_deleted": True}]
    await store.close()


async def test_what_does_not_verify_is_gone_for_those_who_had_it(database: Database) -> None:
    """A list leaves it out; whose it was follows from its last revision that verifies, not from what is there now."""
    await install(database.server, database.name, [Stand])
    store = Store(database, signer=KeyRing.create())
    routes = resource("/stands", Stand, store, policy=Owner("owner", ByHeader(), admin_role="admin"))
    async with serving(routes) as service:
        here = await service.create("/stands", {"name": "one"}, X_Name="alice")
        callers = {"alice": {}, "bob": {}, "root": {"X_Role": "admin"}}
        since = {
            name: (await service.get("/stands/_changes", X_Name=name, **role))["next"] for name, role in callers.items()
        }
        document = await database.get("stand:one")
        await database.put({**document, "owner": "bob"})
        for name, role in callers.items():
            page = await service.get(f"/stands/_changes?since={since[name]}", X_Name=name, **role)
            assert page["items"] == ([] if name == "bob" else [{"_href": here, "_gone": True}])
    await store.close()


async def test_a_hook_shows_what_a_list_shows(store: Store) -> None:
    """What hooks add to an item of a list they add to a change."""

    class Adding(Hooks):
        async def after(self, event: Any, model: Any, shown: dict[str, Any] | None) -> None:
            if shown is not None:
                shown["said"] = event.action

    async with serving(resource("/places", Place, store, hooks=Adding()), policy=AllowAny()) as service:
        since = (await service.get("/places/_changes"))["next"]
        await service.create("/places", {"name": "one"})
        (item,) = (await service.get(f"/places/_changes?since={since}"))["items"]
        assert item == (await service.everything("/places"))["/places/one"]


class Judging(Policy):
    async def authorize(
        self, principal: Principal | None, action: str, model: type[Model], document: Model | None = None
    ) -> None:
        if document is not None and getattr(document, "size", 0) > 9:
            raise Problem(403)


async def test_a_policy_that_judges_is_refused_where_it_is_mounted(store: Store) -> None:
    """Nobody could say who lost sight of a document; without being asked for, the address is not there."""
    with pytest.raises(ValueError, match="judges single documents"):
        resource("/places", Place, store, policy=Judging(), live=True)
    async with serving(resource("/places", Place, store, policy=Judging())) as service:
        assert (await service.call("/places/_changes"))[0] == 404
    async with serving(resource("/places", Place, store), policy=Judging()) as service:
        assert (await service.call("/places/_changes"))[0] == 403


async def test_a_list_that_nobody_may_read_is_not_followed(store: Store) -> None:
    """The policy is asked what a list asks it."""
    policy = Authenticated(ByHeader())
    async with serving(resource("/places", Place, store, policy=policy)) as service:
        assert (await service.call("/places/_changes"))[0] == 401
        assert (await service.call("/places/_changes", X_Name="bob"))[0] == 200


def test_a_scope_has_to_be_declared(store: Store) -> None:
    """A property that lists are limited by notes what it was; without that, changes cannot be told."""

    class Team(Model, type="team_v1.0", key="name", unique=True):
        name: str
        owner: Annotated[str | None, ReadOnly()] = None

    class Limited(Owner):
        def check_model(self, model: type[Model]) -> None:
            pass

    with pytest.raises(ValueError, match=r"declare `Scope\(\)` for owner"):
        resource("/teams", Team, store, policy=Limited("owner", ByHeader()), live=True)


