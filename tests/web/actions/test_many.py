"""PATCH and DELETE of a collection: every document that a filter selects, each under its own rules."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults import Fault, FaultProxy, answer_status
from tests.web.callers import ByHeader
from tests.web.conftest import MERGE, Client, Serve
from tests.web.models import Fruit, Stand
from tornado_couch import (
    AllowAny,
    Application,
    Couch,
    Database,
    DestroyMixin,
    Hooks,
    PatchMixin,
    Problem,
    RetrieveMixin,
    Retry,
    Store,
    install,
    resource,
)
from tornado_couch.web import Owner

STANDS = "/stands"


@pytest.fixture
async def store(database: Database) -> Store:
    """A store of stands."""
    await install(database.server, database.name, [Stand, Fruit])  # type: ignore[arg-type]
    return Store(database)


def application(store: Store, **options: Any) -> Application:
    options.setdefault("policy", AllowAny())
    options.setdefault("many", ("patch", "destroy"))
    return Application(resource(STANDS, Stand, store, **options), cookie_secret="secret")


@pytest.fixture
async def ask(store: Store, serve: Serve) -> Client:
    """A client of a service with ten stands, of sizes 0 and 1."""
    ask = await serve(application(store))
    for number in range(10):
        created = await ask("POST", STANDS, {"name": f"{number}", "size": number % 2})
        assert created.status == 201
    return ask


async def patch(ask: Client, query: str, body: Any, **headers: str) -> Any:
    return await ask("PATCH", f"{STANDS}?{query}", body, Content_Type=MERGE, **headers)


async def sizes(store: Store) -> str:
    """The sizes of the stands, in the order of their names."""
    return "".join(f"{each.size}" for each in (await store.find(Stand)).items)


async def test_a_merge_patch_changes_every_document_that_a_filter_selects(ask: Client, store: Store) -> None:
    """With a result for each, whose tag is that of the next GET; others stay as they are."""
    done = await patch(ask, "size=1", {"size": 5})
    assert done.status == 200
    assert [(each["status"], each["_href"]) for each in done.json["items"]] == [
        (200, f"{STANDS}/{n}") for n in range(1, 10, 2)
    ]
    assert await sizes(store) == "0505050505"
    assert (await ask("GET", f"{STANDS}/1")).headers["ETag"] == done.json["items"][0]["_etag"]
    shown = await patch(ask, "size=5&limit=1", {"size": 6}, Prefer="return=representation")
    assert shown.json["items"][0]["document"] == {"name": "1", "size": 6}


async def test_a_delete_removes_every_document_that_a_filter_selects(ask: Client, store: Store) -> None:
    """204 for each; a second time there is nothing to do."""
    done = await ask("DELETE", f"{STANDS}?size[gte]=1")
    assert (done.status, {each["status"] for each in done.json["items"]}) == (200, {204})
    assert await sizes(store) == "00000"
    assert (await ask("DELETE", f"{STANDS}?size[gte]=1")).json == {"items": []}


async def test_without_a_filter_nothing_is_changed(ask: Client, store: Store) -> None:
    """400, and so are a limit alone, parameters of lists, and what no index serves."""
    for query in ("", "limit=3", "dry_run=true", "size=1&sort=size", "size=1&count=true", "color=red", "name=1&size=1"):
        for method, body, fields in (("DELETE", None, {}), ("PATCH", {"size": 5}, {"Content_Type": MERGE})):
            assert (await ask(method, f"{STANDS}?{query}", body, **fields)).status == 400
    assert await sizes(store) == "0101010101"


@pytest.mark.parametrize("field", ["If-Match", "If-None-Match"])
async def test_an_entity_tag_is_refused(ask: Client, store: Store, field: str) -> None:
    """A client that sends one wants nothing changed that it has not seen; `If-Match: *` holds of what is found."""
    (stand, *_) = (await ask("GET", STANDS)).json["items"]
    fields = {field.replace("-", "_"): stand["_etag"]}
    assert (await patch(ask, "size=0", {"size": 5}, **fields)).status == 412
    assert (await ask("DELETE", f"{STANDS}?size=0", **fields)).status == 412
    assert (await patch(ask, "size=0", {"size": 5}, **{field.replace("-", "_"): "x"})).status == 400
    assert await sizes(store) == "0101010101"
    assert (await patch(ask, "size=1&limit=1", {"size": 5}, If_Match="*")).status == 200


async def test_each_document_is_held_to_if_unmodified_since(store: Store, serve: Serve) -> None:
    """What was changed later is left alone, and its result is 412; a dry run says the same."""
    routes = resource("/fruits", Fruit, store, many=["patch", "destroy"])
    ask = await serve(Application(routes, policy=AllowAny(), cookie_secret="secret"))
    fruit = await ask("POST", "/fruits", {"color": "red"})
    for dry in ("&dry_run=true", ""):
        change = {"Content_Type": MERGE, "If_Unmodified_Since": "Thu, 01 Jan 1970 00:00:00 GMT"}
        reply = await ask("PATCH", f"/fruits?color=red{dry}", {"weight": 1}, **change)
        assert [each["status"] for each in reply.json["items"]] == [412]
    for date, status in (("Thu, 01 Jan 1970 00:00:00 GMT", 412), ("Tue, 01 Jan 2999 00:00:00 GMT", 204)):
        for dry in ("&dry_run=true", ""):
            reply = await ask("DELETE", f"/fruits?color=red{dry}", If_Unmodified_Since=date)
            assert [each["status"] for each in reply.json["items"]] == [status]
        assert (await ask("GET", fruit.headers["Location"])).status == (200 if status == 412 else 404)


async def test_a_dry_run_says_what_would_be_done(store: Store, serve: Serve, ask: Client) -> None:
    """The results with the tags as they are; nothing is written, no hook is called."""

    class Never(Hooks):
        async def before(self, event: Any, model: Any = None, current: Any = None) -> None:
            raise Problem(409, detail="A hook was called.")

        after = before

    hooked = await serve(application(store, hooks=Never()))
    for method, body, status in (("DELETE", None, 204), ("PATCH", {"size": 5}, 200), ("PATCH", {"size": "x"}, 422)):
        kind = {"Content_Type": MERGE} if body else {}
        found = (await hooked(method, f"{STANDS}?size=1&dry_run=true&limit=2", body, **kind)).json
        assert found["dry_run"] is True
        assert [each["status"] for each in found["items"]] == [status, status]
        rest = (await hooked(method, found["next"], body, **kind)).json
        assert (rest["dry_run"], [each["_href"] for each in rest["items"]] if status < 300 else None) == (
            True,
            [f"{STANDS}/5", f"{STANDS}/7"] if status < 300 else None,
        )
    assert await sizes(store) == "0101010101"


async def test_one_request_changes_as_many_as_a_bulk_request_may_and_next_the_rest(store: Store, serve: Serve) -> None:
    """Following `next` changes every document once, though those that are done do not fit the filter any more."""
    ask = await serve(application(store, max_bulk=3))
    for number in range(8):
        await ask("POST", STANDS, {"name": f"{number}", "size": 1})
    counts, address = [], f"{STANDS}?size=1&limit=100"
    while address:
        page = (await ask("PATCH", address, {"size": 2}, Content_Type=MERGE)).json
        counts.append(len(page["items"]))
        address = page.get("next", "")
    assert counts == [3, 3, 2]
    assert await sizes(store) == "22222222"


async def test_each_document_is_under_its_own_policy(store: Store, serve: Serve) -> None:
    """A caller changes their own; of others' documents nothing is said, and whoever may not change is refused."""
    ask = await serve(application(store, policy=Owner("owner", ByHeader())))
    for name, owner in (("a", "ann"), ("b", "bob"), ("c", "ann")):
        await ask("POST", STANDS, {"name": name, "size": 1}, X_Name=owner)
    assert (await patch(ask, "owner=bob", {"size": 2}, X_Name="ann")).json == {"items": []}
    done = await patch(ask, "owner=ann", {"size": 2}, X_Name="ann")
    assert [each["_href"] for each in done.json["items"]] == [f"{STANDS}/a", f"{STANDS}/c"]
    assert await sizes(store) == "212"
    assert (await patch(ask, "size=1", {"size": 2})).status == 401


async def test_hooks_and_perform_methods_are_called_for_each(store: Store, serve: Serve) -> None:
    """Those of the class of a document; what one of them refuses is that document's result alone."""
    seen: list[str] = []

    class Fussy(Hooks):
        async def before(self, event: Any, model: Any = None, current: Any = None) -> None:
            if current is not None and current.name == "3":
                raise Problem(409, detail="Not this one.")

    class Document(RetrieveMixin[Stand], PatchMixin[Stand], DestroyMixin[Stand]):
        async def perform_patch(self, key: Any, change: Any, expected: Any, /) -> Stand:
            seen.append(key)
            return await super().perform_patch(key, change, expected)

    ask = await serve(application(store, hooks=Fussy(), document=Document, many=["patch"]))
    for number in range(5):
        await ask("POST", STANDS, {"name": f"{number}", "size": number % 2})
    done = await patch(ask, "size=1", {"size": 7})
    assert [each["status"] for each in done.json["items"]] == [200, 409]
    assert (seen, await sizes(store)) == (["1", "3"], "07010")
    assert (await ask("DELETE", f"{STANDS}?size=1")).status == 405


async def test_the_filter_is_looked_at_again_after_a_conflict(store: Store, serve: Serve) -> None:
    """What somebody else has changed in the meantime, so that it does not fit any more, is left alone."""

    class Rival(Hooks):
        async def before(self, event: Any, model: Any = None, current: Any = None) -> None:
            if event.action != "patch" or current._rev.startswith("2-"):
                return
            change = {"away": ("size", 8), "near": ("owner", "bob")}.get(current.name)
            if change:
                await store.update(Stand, current.name, lambda each: setattr(each, *change))

    for name in ("away", "near", "still"):  # in the order of their ids
        await store.create(Stand(name=name, size=1))
    ask = await serve(application(store, hooks=Rival()))
    done = await patch(ask, "size=1", {"size": 2})
    assert [each["status"] for each in done.json["items"]] == [409, 200, 200]
    assert await sizes(store) == "822"
    assert "not-selected" in next(each["problem"]["type"] for each in done.json["items"] if each["status"] == 409)
    deleted = await ask("DELETE", f"{STANDS}?size=2")
    assert {each["status"] for each in deleted.json["items"]} == {204}


async def test_a_request_with_a_key_is_carried_out_once(ask: Client, store: Store) -> None:
    """Sent again it has the same answer, and changes nothing; for another request the key is 422."""
    first = await patch(ask, "size=1", {"size": 5}, Idempotency_Key='"one"', Prefer="return=representation")
    await ask("POST", STANDS, {"name": "late", "size": 1})
    again = await patch(ask, "size=1", {"size": 5}, Idempotency_Key='"one"')
    assert (again.status, again.headers["Idempotent-Replayed"]) == (200, "true")
    plain = [{name: value for name, value in each.items() if name != "document"} for each in first.json["items"]]
    assert again.json["items"] == plain
    assert await sizes(store) == "05050505051"
    for query, body in (("size=0", {"size": 5}), ("size=1", {"size": 6})):
        assert (await patch(ask, query, body, Idempotency_Key='"one"')).status == 422
    assert len((await ask("DELETE", f"{STANDS}?size=5", Idempotency_Key='"one"')).json["items"]) == 5


async def test_a_request_with_a_key_that_was_cut_off_is_409(store: Store, serve: Serve) -> None:
    """What it did is not known, so it is not done again."""
    await store.create(Stand(name="a", size=1))
    ask = await serve(application(store))
    original = store.find

    async def fail(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError("the process is killed here")

    store.find = fail  # type: ignore[method-assign]
    assert (await patch(ask, "size=1", {"size": 5}, Idempotency_Key='"k"')).status == 500
    store.find = original  # type: ignore[method-assign]
    refused = await patch(ask, "size=1", {"size": 5}, Idempotency_Key='"k"')
    assert (refused.status, refused.headers["Retry-After"]) == (409, "1")
    assert await sizes(store) == "1"
    assert (await patch(ask, "size=1", {"size": 5}, Idempotency_Key='"other"')).status == 200


@pytest.mark.parametrize("status", [403, 413, 503])
async def test_an_answer_that_cannot_be_kept_is_given(
    store: Store, serve: Serve, proxy: FaultProxy, status: int
) -> None:
    """The changes are made, and an error would deny them; the same request again is told to look."""
    await store.create(Stand(name="a", size=1))
    proxy.faults.append(Fault(answer_status(status), method="PUT", body='"answer"', times=None))
    async with Couch(proxy.url) as couch:
        ask = await serve(application(Store(couch[store.database.name], retry=Retry(base=0.001, patience=0.1))))
        done = await patch(ask, "size=1", {"size": 5}, Idempotency_Key='"k"')
        assert (done.status, [each["status"] for each in done.json["items"]]) == (200, [200])
        assert (await patch(ask, "size=1", {"size": 5}, Idempotency_Key='"k"')).status == 409
    assert await sizes(store) == "5"


@pytest.mark.parametrize("body", [[], "x", None, 1])
async def test_a_patch_that_is_no_object_is_422(ask: Client, store: Store, body: Any) -> None:
    """It would replace whole documents (RFC 7396 §1)."""
    text = {"data": b"null"} if body is None else {"body": body}
    assert (await ask("PATCH", f"{STANDS}?size=1", Content_Type=MERGE, **text)).status == 422
    assert await sizes(store) == "0101010101"


async def test_it_has_to_be_asked_for(store: Store, serve: Serve) -> None:
    """Without `many=` both methods are 405."""
    ask = await serve(application(store, many=()))
    for method in ("PATCH", "DELETE"):
        assert (await ask(method, f"{STANDS}?size=1")).status == 405


def test_what_cannot_change_many_is_refused_when_it_is_mounted(store: Store) -> None:
    """Other names, a resource whose writes have to name revisions, and a class that patches in a way of its own."""

    class Own(PatchMixin[Stand]):
        async def patch_document(self, key: Any) -> None:
            """Do anything."""

    for options in ({"many": ["replace"]}, {"many": "patch"}, {"require_if_match": True}, {"document": Own}):
        with pytest.raises(ValueError, match="many"):
            application(store, **options)
