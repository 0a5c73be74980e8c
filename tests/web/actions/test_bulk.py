"""Arrays on POST, and `_bulk`: many documents with one request."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.web.conftest import Client, Reply, Serve, application
from tests.web.models import Person, Place
from tornado_couch import AllowAny, Application, Model, Store, install, resource
from tornado_couch.web import (
    CollectionHandler,
    CreateMixin,
    Event,
    Hooks,
    ListMixin,
    Policy,
    Principal,
    Problem,
    ReadOnly,
    RetrieveMixin,
)


async def names(ask: Client) -> list[str]:
    return [item["name"] for item in (await ask("GET", "/places?limit=10")).json["items"]]


def bulk(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"operations": list(operations)}


# ---------------------------------------------------------------- arrays


async def test_an_array_creates_each_document_in_order(ask: Client) -> None:
    """200, and for each item 201 with where it is and its entity tag."""
    reply = await ask("POST", "/fruits", [{"color": "red"}, {"color": "green", "_href": "x"}, {"color": "blue"}])
    assert reply.status == 200
    assert [each["status"] for each in reply.json["items"]] == [201] * 3
    for each, color in zip(reply.json["items"], ("red", "green", "blue"), strict=True):
        assert each.keys() == {"status", "_href", "_etag"}
        found = await ask("GET", each["_href"])
        assert (found.json["color"], found.headers["ETag"]) == (color, each["_etag"])


async def test_an_array_shows_the_documents_to_who_prefers_that(ask: Client) -> None:
    """`Prefer: return=representation` adds `document` to each result."""
    reply = await ask("POST", "/fruits", [{"color": "red", "pin": "1234"}], Prefer="return=representation")
    assert reply.headers["Preference-Applied"] == "return=representation"
    document = reply.json["items"][0]["document"]
    assert (document["color"], "pin" in document) == ("red", False)


async def test_one_invalid_item_stores_nothing(ask: Client) -> None:
    """422 with every fault of every item, pointing into the array."""
    bodies = [{"color": "red"}, {"color": "", "weight": -1}, 5, {"color": "blue", "grade": 3}]
    reply = await ask("POST", "/fruits", bodies)
    assert reply.status == 422
    pointers = {(each["pointer"], each["keyword"]) for each in reply.json["errors"]}
    assert pointers == {("/1/color", "minLength"), ("/1/weight", "minimum"), ("/2", "type"), ("/3/grade", "readOnly")}
    assert (await ask("GET", "/fruits")).json["items"] == []


async def test_a_key_that_none_can_have_is_pointed_at(ask: Client) -> None:
    """What is wrong beyond the schema is 422 as well, with the item's index."""
    reply = await ask("POST", "/places", [{"name": "ok"}, {"name": ".."}, {"name": "_bulk"}])
    assert [each["pointer"] for each in reply.json["errors"]] == ["/1/name", "/2/name"]
    assert await names(ask) == []


async def test_an_empty_array_is_400(ask: Client) -> None:
    """There is nothing to do."""
    assert (await ask("POST", "/fruits", [])).status == 400


async def test_too_many_items_are_413(store: Store, serve: Serve) -> None:
    """`max_bulk` limits them, in an array and in a bulk request, and the answer says to how many."""
    ask = await serve(application(store, *resource("/few", Place, store, max_bulk=2)))
    reply = await ask("POST", "/few", [{"name": n} for n in "abc"])
    assert (reply.status, reply.json["limit"]) == (413, 2)
    operations = [{"action": "create", "document": {"name": n}} for n in "abc"]
    assert (await ask("POST", "/few/_bulk", bulk(*operations))).status == 413
    assert await names(ask) == []
    assert (await ask("POST", "/few", [{"name": n} for n in "ab"])).status == 200


async def test_a_key_that_is_taken_is_one_items_problem(ask: Client) -> None:
    """409 for it, with problem details; the others are stored."""
    await ask("POST", "/places", {"name": "b"})
    reply = await ask("POST", "/places", [{"name": "a"}, {"name": "b"}, {"name": "c"}, {"name": "a"}])
    assert [each["status"] for each in reply.json["items"]] == [201, 409, 201, 409]
    problem = reply.json["items"][1]["problem"]
    assert (problem["status"], problem["title"]) == (409, "Conflict")
    assert await names(ask) == ["a", "b", "c"]


async def test_natural_keys_are_taken_once(store: Store, serve: Serve) -> None:
    """Also where only a view can tell."""
    await install(store.database.server, store.database.name, [Person])  # type: ignore[arg-type]
    ask = await serve(application(store, *resource("/people", Person, store)))
    await ask("POST", "/people", {"email": "a@x"})
    reply = await ask("POST", "/people", [{"email": "b@x"}, {"email": "a@x"}, {"email": "b@x"}])
    assert [each["status"] for each in reply.json["items"]] == [201, 409, 409]


async def test_a_thousand_documents_take_few_requests(store: Store, ask: Client, monkeypatch: Any) -> None:
    """Ids and documents go in one request each, whatever the number."""
    calls: list[str] = []
    call = store.database._exchange.call

    async def counted(method: str, address: Any, *more: Any, **options: Any) -> Any:
        calls.append(address.template)
        return await call(method, address, *more, **options)

    monkeypatch.setattr(store.database._exchange, "call", counted)
    reply = await ask("POST", "/fruits", [{"color": str(n)} for n in range(1000)])
    assert {each["status"] for each in reply.json["items"]} == {201}
    assert calls == ["/_uuids", "/{db}/_bulk_docs"]


class Watch(Hooks):
    """Notes what it is told, and refuses or changes by the name."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, Any]] = []

    async def before(self, event: Event, model: Any = None, current: Any = None) -> Any:
        if event.action not in ("list", "retrieve"):
            self.seen.append(("before", event.action, (model or current).name))
        if model and model.name == "teapot":
            raise Problem(418, "teapot", "No.")
        if model and model.name == "unfit":
            raise Problem(422, "unfit", "That name is not fit.")
        if model and event.action == "create":
            model.size += 1
        return None

    async def after(self, event: Event, model: Any, shown: Any) -> None:
        if event.action not in ("list", "retrieve"):
            self.seen.append(("after", event.action, model.name))
        if shown is not None:
            shown["seen"] = True


async def test_hooks_run_for_each_item_of_an_array(store: Store, serve: Serve) -> None:
    """Before and after each creation; they can change it, refuse it alone, and add to what is shown."""
    hooks = Watch()
    ask = await serve(application(store, *resource("/watched", Place, store, hooks=hooks)))
    reply = await ask("POST", "/watched", [{"name": "a"}, {"name": "teapot"}], Prefer="return=representation")
    first, second = reply.json["items"]
    assert first["document"] == {"name": "a", "size": 1, "seen": True}
    assert (second["status"], second["problem"]["detail"]) == (418, "No.")
    assert hooks.seen == [("before", "create", "a"), ("before", "create", "teapot"), ("after", "create", "a")]


async def test_an_item_that_a_hook_finds_invalid_stores_nothing(store: Store, serve: Serve) -> None:
    """A hook's 422 counts as one invalid item."""
    ask = await serve(application(store, *resource("/watched", Place, store, hooks=Watch())))
    reply = await ask("POST", "/watched", [{"name": "a"}, {"name": "unfit"}])
    assert reply.status == 422
    assert reply.json["errors"] == [{"pointer": "/1", "keyword": "unfit", "detail": "That name is not fit."}]
    assert await names(ask) == []


async def test_a_failing_hook_spoils_its_own_item(store: Store, serve: Serve) -> None:
    """A bug in one is 500 for that item, without anything of the bug."""

    class Broken(Hooks):
        async def before(self, event: Event, model: Any = None, current: Any = None) -> None:
            if event.action != "list" and model.name == "b":
                raise LookupError("secret")

    ask = await serve(application(store, *resource("/broken", Place, store, hooks=Broken())))
    reply = await ask("POST", "/broken", [{"name": "a"}, {"name": "b"}])
    assert [each["status"] for each in reply.json["items"]] == [201, 500]
    assert b"secret" not in reply.text


class OnlySmall(Policy):
    """Refuses documents that are not small, and gives each a size."""

    async def authorize(
        self, principal: Principal | None, action: str, model: type[Model], document: Model | None = None
    ) -> None:
        if document is not None and document.name == "big":  # type: ignore[attr-defined]
            raise Problem(403, detail="Too big for you.")

    def initial(self, principal: Principal | None, model: type[Model]) -> dict[str, Any]:
        return {"size": 7}


async def test_the_policy_is_asked_about_each_item(store: Store, serve: Serve) -> None:
    """With the document, whose initial values it gives; what it refuses is that item's problem."""
    ask = await serve(application(store, *resource("/small", Place, store, policy=OnlySmall())))
    reply = await ask("POST", "/small", [{"name": "a"}, {"name": "big"}], Prefer="return=representation")
    assert [each["status"] for each in reply.json["items"]] == [201, 403]
    assert reply.json["items"][0]["document"]["size"] == 7
    assert await names(ask) == ["a"]
    operations = [{"action": "create", "document": {"name": name}} for name in ("big", "b")]
    reply = await ask("POST", "/small/_bulk", bulk(*operations))
    assert [each["status"] for each in reply.json["items"]] == [403, 201]


async def test_an_array_cannot_get_round_a_creation_of_ones_own(store: Store, serve: Serve) -> None:
    """A collection that overrides `perform_create` has it called for each item."""

    class Named(CollectionHandler):
        async def perform_create(self, model: Any) -> Any:
            model.size = 9
            return await super().perform_create(model)

    ask = await serve(application(store, *resource("/own", Place, store, collection=Named)))
    await ask("POST", "/own", [{"name": "a"}, {"name": "b"}])
    assert [(await ask("GET", f"/places/{name}")).json["size"] for name in "ab"] == [9, 9]


# ---------------------------------------------------------------- mixed


async def test_a_bulk_request_creates_replaces_and_deletes(ask: Client) -> None:
    """Each operation has the status of the single request, in the order given."""
    for name in ("a", "b"):
        await ask("POST", "/places", {"name": name, "size": 1})
    reply = await ask(
        "POST",
        "/places/_bulk",
        bulk(
            {"action": "delete", "key": "b"},
            {"action": "create", "document": {"name": "c"}},
            {"action": "replace", "key": "a", "document": {"name": "a", "size": 2}},
            {"action": "replace", "key": "new", "document": {"size": 3}},
            {"action": "delete", "key": "none"},
            {"action": "create", "document": {"name": "a"}},
            {"action": "create", "document": {"name": "d", "size": "x"}},
            {"action": "replace", "key": "a", "document": {"name": "z"}},
        ),
    )
    assert reply.status == 200
    assert [each["status"] for each in reply.json["items"]] == [204, 201, 200, 201, 404, 409, 422, 400]
    assert await names(ask) == ["a", "c", "new"]
    replaced = reply.json["items"][2]
    assert (await ask("GET", replaced["_href"])).headers["ETag"] == replaced["_etag"]
    assert reply.json["items"][6]["problem"]["errors"][0]["pointer"] == "/size"


async def test_a_replacement_of_what_is_missing_is_404_where_put_creates_nothing(ask: Client) -> None:
    """As the single PUT has it."""
    operation = {"action": "replace", "key": "0" * 32, "document": {"color": "red"}}
    assert (await ask("POST", "/fruits/_bulk", bulk(operation))).json["items"][0]["status"] == 404


async def test_each_operation_has_its_own_precondition(ask: Client) -> None:
    """The current tag: done. Another, only weak ones: 412 with the current one. `*` on nothing: 412. Malformed: 400."""
    tags = {name: (await ask("POST", "/places", {"name": name})).headers["ETag"] for name in ("a", "b", "c")}
    document = {"size": 5}
    reply = await ask(
        "POST",
        "/places/_bulk",
        bulk(
            {"action": "replace", "key": "a", "document": document, "if_match": f'"1-x", {tags["a"]}'},
            {"action": "replace", "key": "b", "document": document, "if_match": '"1-x"'},
            {"action": "delete", "key": "c", "if_match": f"W/{tags['c']}"},
            {"action": "delete", "key": "none", "if_match": "*"},
            {"action": "replace", "key": "none", "document": document, "if_match": "*"},
            {"action": "delete", "key": "nothing", "if_match": "1-x"},
        ),
    )
    assert [each["status"] for each in reply.json["items"]] == [200, 412, 412, 412, 412, 400]
    assert [each.get("_etag") for each in reply.json["items"][1:4]] == [tags["b"], tags["c"], None]
    assert await names(ask) == ["a", "b", "c"]


async def test_a_precondition_that_is_required_is_428_for_its_item(ask: Client, fruit: Reply) -> None:
    """`require_if_match` holds for each; 404 comes first, and creations need none."""
    key = fruit.json["fruit_id"]
    reply = await ask(
        "POST",
        "/guarded/_bulk",
        bulk(
            {"action": "delete", "key": key},
            {"action": "replace", "key": key, "document": {"color": "x"}},
            {"action": "delete", "key": "none"},
            {"action": "create", "document": {"color": "blue"}},
            {"action": "delete", "key": key, "if_match": fruit.headers["ETag"]},
        ),
    )
    assert [each["status"] for each in reply.json["items"]] == [428, 428, 404, 201, 204]


async def test_operations_on_one_document_are_done_in_order(ask: Client) -> None:
    """Each on what the one before left: its new revision is not the one that the client has seen."""
    tag = (await ask("POST", "/places", {"name": "a"})).headers["ETag"]
    reply = await ask(
        "POST",
        "/places/_bulk",
        bulk(
            {"action": "replace", "key": "a", "document": {"size": 1}, "if_match": tag},
            {"action": "replace", "key": "a", "document": {"size": 2}, "if_match": tag},
            {"action": "delete", "key": "a"},
            {"action": "delete", "key": "a"},
            {"action": "create", "document": {"name": "a", "size": 4}},
        ),
    )
    assert [each["status"] for each in reply.json["items"]] == [200, 412, 204, 404, 201]
    assert (await ask("GET", "/places/a")).json["size"] == 4


async def test_parallel_bulk_requests_with_one_tag_win_once(ask: Client) -> None:
    """Of many requests that mean one revision exactly one is done, the rest are 412."""
    tag = (await ask("POST", "/places", {"name": "a"})).headers["ETag"]
    operation = {"action": "replace", "key": "a", "document": {"size": 1}, "if_match": tag}
    replies = await asyncio.gather(*(ask("POST", "/places/_bulk", bulk(operation)) for _ in range(8)))
    assert sorted(reply.json["items"][0]["status"] for reply in replies) == [200] + [412] * 7


async def test_parallel_bulk_requests_without_a_tag_are_all_done(ask: Client) -> None:
    """Conflicts are tried again, as for a single PUT."""
    await ask("POST", "/places", {"name": "a"})
    operation = {"action": "replace", "key": "a", "document": {"size": 1}}
    replies = await asyncio.gather(*(ask("POST", "/places/_bulk", bulk(operation)) for _ in range(6)))
    assert [reply.json["items"][0]["status"] for reply in replies] == [200] * 6
    assert (await ask("GET", "/places/a")).headers["ETag"].startswith('"7-')


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ([], None),
        ({}, [""]),
        ({"operations": {}}, [""]),
        ({"operations": [{"action": "delete", "key": "a"}], "atomic": True}, [""]),
        (bulk({"action": "drop"}), ["/operations/0/action"]),
        (bulk({"action": "delete", "key": "a"}, {"action": "delete"}), ["/operations/1/key"]),
        (bulk({"action": "delete", "key": True}), ["/operations/0/key"]),
        (bulk({"action": "delete", "key": "a", "if_match": 1}), ["/operations/0/if_match"]),
        (bulk({"action": "create", "document": {}, "key": "a"}), ["/operations/0"]),
        (bulk("delete", {"action": "replace"}), ["/operations/0", "/operations/1/document", "/operations/1/key"]),
    ],
)
async def test_a_bulk_request_that_cannot_be_understood_does_nothing(
    ask: Client, body: Any, pointers: list[str] | None
) -> None:
    """422 for the whole request, with a pointer to each fault."""
    await ask("POST", "/places", {"name": "a"})
    reply = await ask("POST", "/places/_bulk", body)
    assert reply.status == 422
    assert [each["pointer"] for each in reply.json["errors"]] == (pointers or [""])
    assert await names(ask) == ["a"]


async def test_a_bulk_request_of_nothing_is_400(ask: Client) -> None:
    """As an empty array is."""
    assert (await ask("POST", "/places/_bulk", bulk())).status == 400


async def test_a_problem_says_where_a_request_for_it_alone_would_have_gone(ask: Client) -> None:
    """As its `instance`: the collection for a creation, else the document, whatever its key is made of."""
    operations = [
        {"action": "create", "document": {"color": ""}},
        {"action": "delete", "key": "a/b"},
        {"action": "replace", "key": 7, "document": {"color": "red"}},
    ]
    reply = await ask("POST", "/fruits/_bulk", bulk(*operations))
    assert reply.status == 200
    found = [each["problem"]["instance"] for each in reply.json["items"]]
    assert found == ["/fruits", "/fruits/a%2Fb", "/fruits/7"]


async def test_hooks_run_for_each_operation(store: Store, serve: Serve) -> None:
    """Each operation is told by its own action, before and after."""
    hooks = Watch()
    ask = await serve(application(store, *resource("/watched", Place, store, hooks=hooks)))
    for name in ("a", "b"):
        await ask("POST", "/places", {"name": name})
    operations = [
        {"action": "replace", "key": "a", "document": {}},
        {"action": "delete", "key": "b"},
        {"action": "create", "document": {"name": "c"}},
        {"action": "delete", "key": "none"},
    ]
    reply = await ask("POST", "/watched/_bulk", bulk(*operations), Prefer="return=representation")
    assert [each["status"] for each in reply.json["items"]] == [200, 204, 201, 404]
    assert reply.json["items"][0]["document"] == {"name": "a", "size": 0, "seen": True}
    assert [each for each in hooks.seen if each[0] == "after"] == [
        ("after", "replace", "a"),
        ("after", "destroy", "b"),
        ("after", "create", "c"),
    ]
    assert {each[1:] for each in hooks.seen if each[0] == "before"} == {each[1:] for each in hooks.seen[-3:]}


class NoDeleting(Policy):
    """Nobody deletes; `b` is hidden."""

    async def authorize(
        self, principal: Principal | None, action: str, model: type[Model], document: Model | None = None
    ) -> None:
        if action == "destroy":
            raise Problem(403, detail="Nobody deletes here.")
        if document is not None and document.name == "b":  # type: ignore[attr-defined]
            raise Problem(404, detail="There is no such document.")


async def test_the_policy_is_asked_about_each_operation(store: Store, serve: Serve) -> None:
    """By its own action, before anything is read and then about the document, before its precondition."""
    ask = await serve(application(store, *resource("/kept", Place, store, policy=NoDeleting())))
    for name in ("a", "b"):
        await ask("POST", "/places", {"name": name})
    operations = [
        {"action": "delete", "key": "none"},
        {"action": "replace", "key": "b", "document": {}, "if_match": '"1-x"'},
        {"action": "replace", "key": "a", "document": {"size": 3}},
    ]
    reply = await ask("POST", "/kept/_bulk", bulk(*operations))
    assert [each["status"] for each in reply.json["items"]] == [403, 404, 200]


async def test_who_may_do_nothing_is_refused_before_the_body_is_looked_at(store: Store, serve: Serve) -> None:
    """401 or 403 for the request as a whole; 405 where nobody may."""

    class Nobody(Policy):
        async def authorize(self, *_: Any) -> None:
            raise Problem(403, detail="No.")

    routes = [*resource("/a", Place, store, policy=Nobody()), *resource("/b", Place, store, policy=ReadOnly())]
    ask = await serve(application(store, *routes))
    assert (await ask("POST", "/a/_bulk", data=b"{", Content_Type="application/json")).status == 403
    reply = await ask("POST", "/b/_bulk", bulk({"action": "delete", "key": "a"}))
    assert (reply.status, "POST" in reply.headers["Allow"]) == (405, False)


async def test_the_address_of_bulk_requests_is_no_document(ask: Client) -> None:
    """405 with Allow for everything but POST, and no document can have that key."""
    for method in ("GET", "PUT", "DELETE", "PATCH"):
        reply = await ask(method, "/places/_bulk", {} if method == "PUT" else None)
        assert (reply.status, reply.headers["Allow"]) == (405, "POST, OPTIONS")
    assert (await ask("OPTIONS", "/places/_bulk")).headers["Accept-Post"] == "application/json"
    assert (await ask("POST", "/places", {"name": "_bulk"})).status == 422
    assert (await ask("PUT", "/places/%5Fbulk", {})).status == 422
    assert (await ask("PUT", "/places/_bulky", {})).status == 201
    assert (await ask("GET", "/places/_bulky")).status == 200


async def test_a_bulk_request_has_the_operations_of_its_handlers(store: Store, serve: Serve) -> None:
    """A collection that can only be read and added to takes no operation that replaces or deletes."""

    class Added(ListMixin, CreateMixin):
        pass

    class Read(RetrieveMixin):
        pass

    ask = await serve(application(store, *resource("/log", Place, store, collection=Added, document=Read)))
    reply = await ask("POST", "/log/_bulk", bulk({"action": "delete", "key": "a"}))
    assert (reply.status, reply.json["errors"][0]["detail"]) == (422, "Must be one of create.")
    reply = await ask("POST", "/log/_bulk", bulk({"action": "create", "document": {"name": "a"}}))
    assert [each["status"] for each in reply.json["items"]] == [201]


async def test_an_action_that_is_written_anew_has_no_bulk_requests(store: Store, serve: Serve) -> None:
    """What it does instead could not be kept to; neither is there an address without any operation."""

    class Own(CollectionHandler):
        async def create(self) -> None:
            raise Problem(403, detail="Not here.")

    class Read(RetrieveMixin):
        pass

    ask = await serve(application(store, *resource("/log", Place, store, collection=Own, document=Read)))
    reply = await ask("POST", "/log/_bulk", bulk({"action": "create", "document": {"name": "a"}}))
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")


async def test_a_key_is_a_text_or_an_integer(store: Store, serve: Serve) -> None:
    """As in the URL; an integer may be written as one."""

    class Box(Model, type="box_v1.0", key="number", unique=True):
        number: int
        size: int = 0

    await install(store.database.server, store.database.name, [Box])  # type: ignore[arg-type]
    ask = await serve(Application([*resource("/boxes", Box, store, create_by_put=True)], policy=AllowAny()))
    operations = [{"action": "replace", "key": key, "document": {"size": 1}} for key in (7, "7", "07", "x")]
    reply = await ask("POST", "/boxes/_bulk", bulk(*operations))
    assert [each["status"] for each in reply.json["items"]] == [201, 200, 404, 404]


async def test_an_outage_is_503_for_the_whole_request(store: Store, ask: Client, monkeypatch: Any) -> None:
    """When the database cannot be reached nothing is known of any item."""
    from tornado_couch.errors import Unavailable

    async def down(*_: Any, **__: Any) -> Any:
        raise Unavailable("down", sent=False)

    monkeypatch.setattr(store.database, "bulk_docs", down)
    reply = await ask("POST", "/places", [{"name": "a"}])
    assert (reply.status, "Retry-After" in reply.headers) == (503, True)
    assert (await ask("POST", "/places/_bulk", bulk({"action": "create", "document": {"name": "a"}}))).status == 503


async def test_results_are_compressed_as_other_answers_are(ask: Client) -> None:
    """gzip where the client takes it; no entity tag, since the answer represents no resource."""
    reply = await ask("POST", "/fruits", [{"color": "red"}] * 20, Accept_Encoding="gzip")
    assert (reply.headers["Content-Encoding"], reply.headers.get("ETag")) == ("gzip", None)
    assert len(json.loads(reply.text)["items"]) == 20
