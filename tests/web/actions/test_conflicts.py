"""The conflicts of a document as a resource: who sees which leaves, and how they are decided on."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

from tests.web.callers import Named
from tests.web.conftest import Client, Reply, Serve, application
from tornado_couch import (
    Database,
    Hooks,
    Indexed,
    Key,
    Merge,
    Model,
    Problem,
    ReadOnly,
    Store,
    UpdatedOn,
    WriteOnly,
    install,
    resource,
)
from tornado_couch.security import KeyRing, signed_revision
from tornado_couch.web import Authenticated, Owner, Policy, Roles
from tornado_couch.web import ReadOnly as ReadOnlyPolicy

RING = KeyRing.create()


class Item(Model, type="item_v1.0", key="item_id"):
    item_id: Key
    color: str = ""
    stock: Annotated[int, Merge.sum_of_changes] = 0
    grade: Annotated[int, ReadOnly()] = 0
    pin: Annotated[str | None, WriteOnly()] = None
    owner: Annotated[str | None, ReadOnly(), Indexed()] = None
    verdict: Annotated[str | None, Merge.manual] = None
    updated_on: UpdatedOn


@pytest.fixture
async def shelf(database: Database) -> Store:
    await install(database.server, database.name, [Item])  # type: ignore[arg-type]
    return Store(database)


@pytest.fixture
async def ask(shelf: Store, serve: Serve) -> Client:
    """A client of a service with items."""
    return await serve(application(shelf, *resource("/items", Item, shelf)))


async def leaves(store: Store, *changes: dict[str, Any], base: dict[str, Any] | None = None) -> str:
    """The id of a document with two leaves, or more, upon one that is given; the last one wins."""
    item = await store.create(Item(color="red", stock=10, pin="1234", **(base or {})))
    first = await store.database.get(item._id or "")
    for digest, change in zip("abcdef"[-len(changes) :], changes, strict=True):
        path = [digest * 32, first["_rev"].partition("-")[2]]
        leaf = {**first, **change, "_rev": f"2-{path[0]}", "_revisions": {"start": 2, "ids": path}}
        assert not await store.database.bulk_docs([leaf], new_edits=False)
    return item.item_id


async def live(store: Store, item_id: str) -> list[str]:
    """The revisions of the leaves that live."""
    return (await store.reconciliation.read(item_id)).revisions


def path(item_id: str) -> str:
    return f"/items/{item_id}/conflicts"


async def conflicts(ask: Client, item_id: str) -> Reply:
    reply = await ask("GET", path(item_id))
    assert reply.status == 200
    return reply


async def resolve(ask: Client, item_id: str, body: Any, tag: str | None = None, **headers: str) -> Reply:
    tag = tag or (await conflicts(ask, item_id)).headers["ETag"]
    return await ask("POST", path(item_id), body, If_Match=tag, **headers)


class TestReading:
    async def test_each_leaf_has_its_entity_tag_and_document_and_there_is_their_merge(
        self, ask: Client, shelf: Store
    ) -> None:
        """The winning one first; without what clients must not see."""
        item_id = await leaves(shelf, {"color": "green", "stock": 11}, {"stock": 13})
        reply = await conflicts(ask, item_id)
        first, second = reply.json["items"]
        assert (first["_etag"], first["document"]["stock"]) == ('"2-' + "f" * 32 + '"', 13)
        assert (second["document"]["color"], second["document"]["stock"]) == ("green", 11)
        assert {"pin", "_id", "_rev"}.isdisjoint(first["document"])
        assert (reply.json["merge"]["document"]["color"], reply.json["merge"]["document"]["stock"]) == ("green", 14)
        assert (await ask("GET", f"/items/{item_id}")).headers["ETag"] == first["_etag"]

    async def test_a_document_without_conflict_has_one_leaf(self, ask: Client, shelf: Store) -> None:
        """And there is nothing to merge."""
        item = await shelf.create(Item())
        reply = await conflicts(ask, item.item_id)
        assert [each["_etag"] for each in reply.json["items"]] == [f'"{item._rev}"']
        assert "merge" not in reply.json

    async def test_where_rules_cannot_decide_it_says_why(self, ask: Client, shelf: Store) -> None:
        """By property."""
        item_id = await leaves(shelf, {"verdict": "good"}, {"verdict": "bad"})
        merge = (await conflicts(ask, item_id)).json["merge"]
        assert [each["pointer"] for each in merge["errors"]] == ["/verdict"]
        assert "document" not in merge

    async def test_the_entity_tag_stands_for_all_leaves(self, ask: Client, shelf: Store) -> None:
        """It changes with any of them; 304 while none does."""
        item_id = await leaves(shelf, {"stock": 11}, {"stock": 13})
        tag = (await conflicts(ask, item_id)).headers["ETag"]
        unchanged = await ask("GET", path(item_id), If_None_Match=tag)
        assert (unchanged.status, unchanged.text, unchanged.headers["ETag"]) == (304, b"", tag)
        head = await ask("HEAD", path(item_id))
        assert (head.status, head.headers["ETag"], head.text) == (200, tag, b"")
        assert (await ask("GET", path(item_id), If_Match='"other"')).status == 412
        found = await shelf.reconciliation.read(item_id)
        losing = found.documents[1]
        await shelf.database.put({**losing, "stock": 12})
        assert (await ask("GET", path(item_id), If_None_Match=tag)).status == 200

    async def test_what_is_not_there_has_no_conflicts(self, ask: Client, shelf: Store) -> None:
        """Missing, deleted, or of another model."""
        item = await shelf.create(Item())
        await shelf.delete(Item, item.item_id)
        await shelf.database.put({"_id": "other", "type": "other_v1.0"})
        for name in ("none", item.item_id, "other", "_design%2Fconflicts", "_bulk"):
            assert (await ask("GET", path(name))).status == 404
            assert (await ask("POST", path(name), {"merge": True})).status == 404

    async def test_a_leaf_that_cannot_be_read_is_counted(self, ask: Client, shelf: Store) -> None:
        """And then nothing is said of a merge. Where the winning one cannot be read, that is the answer."""
        item_id = await leaves(shelf, {"stock": "many"}, {"stock": 13})
        reply = await conflicts(ask, item_id)
        assert (len(reply.json["items"]), reply.json["withheld"], "merge" in reply.json) == (1, 1, False)
        assert (await resolve(ask, item_id, {"merge": True})).status == 502
        item_id = await leaves(shelf, {"stock": 13}, {"stock": "many"})
        assert (await ask("GET", path(item_id))).status == 502

    async def test_other_methods_are_refused(self, ask: Client, shelf: Store) -> None:
        """405, and OPTIONS says which there are."""
        item_id = await leaves(shelf, {"stock": 11}, {"stock": 13})
        for method in ("PUT", "PATCH", "DELETE"):
            assert (await ask(method, path(item_id), {})).status == 405
        options = await ask("OPTIONS", path(item_id))
        assert options.headers["Allow"] == "GET, HEAD, POST, OPTIONS"
        assert options.headers["Accept-Post"] == "application/json"
        assert (await ask("GET", path(item_id), Accept="text/html")).status == 406
        reply = await ask("POST", path(item_id), data=b"{}", Content_Type="text/plain", If_Match="*")
        assert reply.status == 415

    async def test_the_api_document_describes_it(self, shelf: Store, serve: Serve) -> None:
        """Both methods, with ids for generated clients."""
        from tornado_couch.web.openapi.document import openapi_document

        found = openapi_document(application(shelf, *resource("/items", Item, shelf)))
        operations = found["paths"]["/items/{key}/conflicts"]
        ids = {method: each["operationId"] for method, each in operations.items()}
        assert (ids["get"], ids["post"]) == ("list_items_conflicts", "resolve_items_conflicts")


class TestDeciding:
    async def test_by_the_rules(self, ask: Client, shelf: Store) -> None:
        """As was shown, and as a reconciler writes it."""
        item_id = await leaves(shelf, {"color": "green", "stock": 11}, {"stock": 13})
        shown = (await conflicts(ask, item_id)).json["merge"]["document"]
        document = await shelf.reconciliation.merged(Item, await shelf.reconciliation.read(item_id))
        reply = await resolve(ask, item_id, {"merge": True})
        assert (reply.status, reply.json) == (200, shown)
        assert reply.headers["Content-Location"] == f"/items/{item_id}"
        assert await live(shelf, item_id) == [reply.headers["ETag"].strip('"')]
        stored = await shelf.database.get(item_id)
        assert {**stored, "_rev": ""} == {**document, "_rev": ""}
        assert (await ask("GET", f"/items/{item_id}")).json == shown

    @pytest.mark.parametrize("form", ['"{}"', "{}", 'W/"{};gzip"'])
    async def test_by_a_leaf(self, ask: Client, shelf: Store, form: str) -> None:
        """Named by its entity tag or revision; a write-only property is that leaf's."""
        item_id = await leaves(shelf, {"color": "green", "stock": 11, "pin": "5678"}, {"stock": 13})
        losing = (await live(shelf, item_id))[1]
        reply = await resolve(ask, item_id, {"leaf": form.format(losing)})
        assert (reply.status, reply.json["color"], reply.json["stock"]) == (200, "green", 11)
        assert await live(shelf, item_id) == [reply.headers["ETag"].strip('"')]
        assert (await shelf.get(Item, item_id)).pin == "5678"

    async def test_by_a_document(self, ask: Client, shelf: Store) -> None:
        """Valid as in a PUT; what was shown of any leaf can be sent back, read-only values too."""
        item_id = await leaves(shelf, {"grade": 1, "stock": 11}, {"grade": 2, "stock": 13}, base={"grade": 1})
        shown = (await conflicts(ask, item_id)).json
        losing = shown["items"][1]["document"]
        reply = await resolve(ask, item_id, {"document": {**losing, "color": "blue", "stock": 99}})
        assert (reply.status, reply.json["color"], reply.json["stock"]) == (200, "blue", 99)
        assert reply.json["grade"] == shown["merge"]["document"]["grade"] == 2
        assert (await shelf.get(Item, item_id)).pin == "1234"
        assert len(await live(shelf, item_id)) == 1

    async def test_what_rules_cannot_decide_can_be_decided(self, ask: Client, shelf: Store) -> None:
        """Not by the rules: 409 that says why."""
        item_id = await leaves(shelf, {"verdict": "good"}, {"verdict": "bad"})
        refused = await resolve(ask, item_id, {"merge": True})
        assert (refused.status, refused.json["errors"][0]["pointer"]) == (409, "/verdict")
        assert refused.json["type"] == "urn:tornado-couch:problem:unmergeable"
        assert len(await live(shelf, item_id)) == 2
        reply = await resolve(ask, item_id, {"document": {"verdict": "so-so"}})
        assert (reply.status, reply.json["verdict"]) == (200, "so-so")

    @pytest.mark.parametrize(
        ("body", "pointer", "status"),
        [
            ({}, "", 422),
            ([], "", 422),
            ({"merge": True, "leaf": "x"}, "", 422),
            ({"other": 1}, "", 422),
            ({"merge": False}, "/merge", 422),
            ({"leaf": 5}, "/leaf", 422),
            ({"leaf": "3-none"}, "/leaf", 422),
            ({"document": []}, "/document", 422),
            ({"document": {"stock": "x", "colour": "y"}}, "/document/stock", 422),
            ({"document": {"grade": 7}}, "/grade", 422),
            ({"document": {"item_id": "other"}}, None, 400),
        ],
    )
    async def test_what_is_no_decision_changes_nothing(
        self, ask: Client, shelf: Store, body: Any, pointer: str | None, status: int
    ) -> None:
        """All faults at once, with pointers into the body."""
        item_id = await leaves(shelf, {"stock": 11}, {"stock": 13})
        reply = await resolve(ask, item_id, body)
        assert reply.status == status
        if pointer is not None:
            assert pointer in [each["pointer"] for each in reply.json["errors"]]
        assert len(await live(shelf, item_id)) == 2

    async def test_it_is_guarded_by_the_whole_leaf_set(self, ask: Client, shelf: Store) -> None:
        """428 without If-Match, 412 with the current tag where any leaf is another one."""
        item_id = await leaves(shelf, {"stock": 11}, {"stock": 13})
        tag = (await conflicts(ask, item_id)).headers["ETag"]
        assert (await ask("POST", path(item_id), {"merge": True})).status == 428
        assert (await resolve(ask, item_id, {"merge": True}, f"W/{tag}")).status == 412
        assert (await resolve(ask, item_id, {"merge": True}, "nonsense")).status == 400
        found = await shelf.reconciliation.read(item_id)
        await shelf.database.put({**found.documents[1], "stock": 12})
        refused = await resolve(ask, item_id, {"merge": True}, tag)
        assert refused.status == 412
        assert (await resolve(ask, item_id, {"merge": True}, refused.headers["ETag"])).json["stock"] == 15

    async def test_another_writer_between_read_and_write_is_412(
        self, ask: Client, shelf: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nothing is written."""
        item_id = await leaves(shelf, {"stock": 11}, {"stock": 13})
        tag = (await conflicts(ask, item_id)).headers["ETag"]
        find = shelf.reconciliation.find

        async def late(cls: Any, key: Any) -> Any:
            found = await find(cls, key)
            await shelf.update(Item, item_id, lambda latest: setattr(latest, "stock", latest.stock + 1))
            return found

        for body in ({"merge": True}, {"document": {}}):
            monkeypatch.setattr(shelf.reconciliation, "find", late)
            reply = await ask("POST", path(item_id), body, If_Match=tag)
            monkeypatch.undo()
            assert reply.status == 412
            assert len(await live(shelf, item_id)) == 2
            tag = (await conflicts(ask, item_id)).headers["ETag"]

    @pytest.mark.parametrize("tag", [None, "*"])
    async def test_without_a_conflict_there_is_nothing_to_decide(
        self, ask: Client, shelf: Store, tag: str | None
    ) -> None:
        """409 whatever is decided, and nothing is written; a tag of other leaves is still 412."""
        item = await shelf.create(Item(stock=1))
        for body in ({"merge": True}, {"leaf": item._rev}, {"document": {"stock": 2}}):
            reply = await resolve(ask, item.item_id, body, tag)
            assert (reply.status, reply.json["type"]) == (409, "urn:tornado-couch:problem:no-conflict")
        assert (await resolve(ask, item.item_id, {"merge": True}, '"other"')).status == 412
        assert (await ask("POST", path(item.item_id), {"merge": True})).status == 428
        assert await live(shelf, item.item_id) == [item._rev]

    @pytest.mark.parametrize(
        ("refusal", "status"),
        [("throw({forbidden: {code: 7}})", 403), ("throw({unauthorized: {code: 7}})", 401), ("doc.none.such()", 403)],
    )
    @pytest.mark.parametrize("decision", ["merge", "leaf", "document"])
    async def test_what_the_database_refuses_changes_nothing(
        self, ask: Client, shelf: Store, decision: str, refusal: str, status: int
    ) -> None:
        """It is told as of any other write, with the reason."""
        item_id = await leaves(shelf, {"color": "blue"}, {"stock": 3})
        check = f"function (doc) {{ if (doc.tornado_couch_merge) {{ {refusal}; }} }}"
        await shelf.database.put({"_id": "_design/check", "validate_doc_update": check})
        revisions = await live(shelf, item_id)
        body = {"merge": True, "leaf": revisions[1], "document": {"color": "green"}}[decision]
        reply = await resolve(ask, item_id, {decision: body})
        assert (reply.status, reply.json["type"]) == (status, "urn:tornado-couch:problem:refused-by-database")
        assert "reason" in reply.json
        assert await live(shelf, item_id) == revisions

    async def test_prefer_minimal_gives_no_document(self, ask: Client, shelf: Store) -> None:
        """204, with the entity tag."""
        item_id = await leaves(shelf, {"stock": 11}, {"stock": 13})
        reply = await resolve(ask, item_id, {"merge": True}, Prefer="return=minimal")
        assert (reply.status, reply.headers["Preference-Applied"]) == (204, "return=minimal")
        assert await live(shelf, item_id) == [reply.headers["ETag"].strip('"')]

    async def test_a_change_upon_a_leaf_that_was_decided_on_is_merged_later(self, ask: Client, shelf: Store) -> None:
        """It counts from that leaf on: what was decided stands."""
        item_id = await leaves(shelf, {"stock": 11}, {"stock": 13})
        found = await shelf.reconciliation.read(item_id)
        late = {**found.documents[1], "stock": 11 + 100, "_rev": "3-" + "e" * 32}
        parents = [found.documents[1]["_rev"], (await shelf.database.get(item_id, revs=True))["_revisions"]["ids"][1]]
        ids = ["e" * 32, parents[0].partition("-")[2], parents[1]]
        await resolve(ask, item_id, {"document": {"stock": 50}})
        await shelf.database.bulk_docs([{**late, "_revisions": {"start": 3, "ids": ids}}], new_edits=False)
        await shelf.reconciliation.reconcile(Item, item_id)
        assert (await shelf.get(Item, item_id)).stock == 50 + 100


class Strict(Hooks):
    """Refuses black items, and paints what is decided."""

    async def before(self, event: Any, model: Any = None, current: Any = None) -> None:
        if event.action == "resolve":
            if model.color == "black":
                raise Problem(403, "no-black", "Not black.")
            model.color = "painted"

    async def after(self, event: Any, model: Any, shown: Any) -> None:
        shown["action"] = event.action


class TestWho:
    async def test_hooks_see_decisions(self, shelf: Store, serve: Serve) -> None:
        """They can refuse one, and change what somebody decided; not what the rules make."""
        ask = await serve(application(shelf, *resource("/items", Item, shelf, hooks=Strict())))
        item_id = await leaves(shelf, {"stock": 11}, {"stock": 13})
        assert {each["document"]["action"] for each in (await conflicts(ask, item_id)).json["items"]} == {"conflicts"}
        assert (await resolve(ask, item_id, {"document": {"color": "black"}})).status == 403
        assert (await resolve(ask, item_id, {"document": {}})).json["color"] == "painted"
        item_id = await leaves(shelf, {"stock": 11}, {"stock": 13})
        reply = await resolve(ask, item_id, {"merge": True})
        assert (reply.json["color"], reply.json["action"]) == ("red", "resolve")

    async def test_a_decision_passes_what_a_replacement_does(self, shelf: Store, serve: Serve) -> None:
        """The policy is asked about what is stored, and the hook has it as `current`, whatever is decided."""
        seen: list[Any] = []

        class Watching(Hooks):
            async def before(self, event: Any, model: Any = None, current: Any = None) -> None:
                if event.writes:
                    seen.append((event.action, model.stock, current.stock))
                    raise Problem(403, "not-now", "Not now.")

        class Asked(Policy):
            async def authorize(self, principal: Any, action: str, model: Any, document: Any = None) -> None:
                if action in ("resolve", "replace"):
                    seen.append((action, document and document.stock))

        ask = await serve(application(shelf, *resource("/items", Item, shelf, hooks=Watching(), policy=Asked())))
        item_id = await leaves(shelf, {"stock": 11}, {"stock": 13})
        before = await live(shelf, item_id)
        assert (await ask("PUT", f"/items/{item_id}", {"stock": 5})).status == 403
        assert seen == [("replace", None), ("replace", 13), ("replace", 5, 13)]
        for body, stock in (({"document": {"stock": 5}}, 5), ({"leaf": before[1]}, 11), ({"merge": True}, 14)):
            seen.clear()
            assert (await resolve(ask, item_id, body)).status == 403
            assert seen == [("resolve", None), ("resolve", 13), ("resolve", 11), ("resolve", stock, 13)]
        assert await live(shelf, item_id) == before

    async def asked(self, ask: Client, user: str, item_id: str, method: str = "GET") -> int:
        body = {"merge": True} if method == "POST" else None
        return (await ask(method, path(item_id), body, If_Match="*", User=user)).status

    @pytest.mark.parametrize(
        ("policy", "name", "get", "post"),
        [
            (lambda who: ReadOnlyPolicy(), "", 200, 405),
            (lambda who: Authenticated(who, read_anonymous=True), "", 200, 401),
            (lambda who: Authenticated(who), "", 401, 401),
            (lambda who: Roles({"conflicts": None, "resolve": {"editor"}}, who), "bob", 200, 403),
            (lambda who: Roles({"retrieve": None, "replace": None}, who), "ann editor", 403, 403),
            (lambda who: Roles({"*": {"editor"}}, who), "ann editor", 200, 200),
            (lambda who: Owner("owner", who), "ann editor", 200, 200),
            (lambda who: Owner("owner", who), "bob", 404, 404),
            (lambda who: Owner("owner", who, public_read=True), "bob", 200, 403),
        ],
    )
    async def test_policies_decide_who_lists_and_who_decides(
        self, shelf: Store, serve: Serve, policy: Any, name: str, get: int, post: int
    ) -> None:
        """By the actions `conflicts`, which is a read, and `resolve`."""
        made: Policy = policy(Named())
        ask = await serve(application(shelf, *resource("/items", Item, shelf, policy=made)))
        item_id = await leaves(shelf, {"stock": 11}, {"stock": 13}, base={"owner": "ann"})
        assert await self.asked(ask, name, item_id) == get
        assert await self.asked(ask, name, item_id, "POST") == post

    async def test_a_leaf_of_somebody_else_is_withheld(self, shelf: Store, serve: Serve) -> None:
        """Nor can it be decided on."""
        ask = await serve(application(shelf, *resource("/items", Item, shelf, policy=Owner("owner", Named()))))
        item_id = await leaves(shelf, {"owner": "ann"}, {"owner": "bob"})
        assert await self.asked(ask, "bob", item_id) == 200
        assert await self.asked(ask, "ann", item_id) == 404
        assert await self.asked(ask, "bob", item_id, "POST") == 404

    async def test_a_leaf_that_does_not_verify_is_never_shown(self, database: Database, serve: Serve) -> None:
        """It is counted, and nothing is decided before an operator has seen to it."""
        await install(database.server, database.name, [Item])  # type: ignore[arg-type]
        store = Store(database, signer=RING)
        ask = await serve(application(store, *resource("/items", Item, store)))
        item = await store.create(Item(stock=1))
        forged = {"_id": item._id, "type": "item_v1.0", "item_id": item.item_id, "stock": 500}
        await database.bulk_docs([{**forged, "_rev": "1-" + "0" * 32}], new_edits=False)
        reply = await conflicts(ask, item.item_id)
        assert ([each["document"]["stock"] for each in reply.json["items"]], reply.json["withheld"]) == ([1], 1)
        refused = await resolve(ask, item.item_id, {"leaf": item._rev})
        assert (refused.status, refused.json["type"]) == (502, "urn:tornado-couch:problem:tampered-document")
        await database.bulk_docs([{**forged, "_rev": "1-" + "f" * 32}], new_edits=False)
        assert (await ask("GET", path(item.item_id))).status == 502

    async def test_what_was_decided_is_signed(self, database: Database, serve: Serve) -> None:
        """And is served."""
        await install(database.server, database.name, [Item])  # type: ignore[arg-type]
        store = Store(database, signer=RING, verify="history")
        ask = await serve(application(store, *resource("/items", Item, store)))
        item = await store.create(Item(stock=1))
        other = store._guard.signed(
            {"_id": item._id, "type": "item_v1.0", "item_id": item.item_id, "stock": 5, "color": "", "grade": 0}
        )
        await database.bulk_docs([{**other, "_rev": signed_revision(other)}], new_edits=False)
        assert (await resolve(ask, item.item_id, {"document": {"stock": 9}})).status == 200
        assert (await store.get(Item, item.item_id)).stock == 9


async def test_it_is_mounted_only_beside_the_packages_own_handlers(shelf: Store) -> None:
    """Others may leave writes out; there it can be said. A history has no conflicts to decide on."""
    from tornado_couch import DocumentHandler
    from tornado_couch.web.actions.conflicts import ConflictsHandler

    class Own(DocumentHandler):
        pass

    class Kept(Model, type="kept_v1.0", key="name", history=True):
        name: str

    def mounted(*arguments: Any, **options: Any) -> bool:
        return any(each.handler_class is ConflictsHandler for each in resource("/x", *arguments, **options))

    assert mounted(Item, shelf)
    assert not mounted(Item, shelf, document=Own)
    assert mounted(Item, shelf, document=Own, conflicts=ConflictsHandler)
    assert not mounted(Kept, shelf)
