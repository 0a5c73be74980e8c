"""Idempotency-Key: what is sent again creates nothing again."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders

from tests.faults import Fault, FaultProxy, lose_answer
from tests.web.conftest import Client, Reply, Serve, application
from tests.web.conftest import path as path_of
from tests.web.models import Fruit, Note, Person
from tornado_couch import AllowAny, Application, Couch, Model, Retry, Store, install, resource
from tornado_couch.web import Hooks, Policy, Principal, Problem
from tornado_couch.web.actions.idempotency import PROPERTY, Mark, idempotency_key

KEY = '"8e03978e-40d5-43dd-bc93-6894a57f9324"'


BODIES: dict[str, dict[str, Any]] = {
    "/fruits": {"color": "red", "pin": "1234"},
    "/places": {"name": "here", "size": 1},
    "/notes": {"text": "hello"},
    "/people": {"email": "a@x"},
}
OTHERS: dict[str, dict[str, Any]] = {
    "/fruits": {"color": "red", "pin": "9999"},
    "/places": {"name": "there", "size": 1},
    "/notes": {"text": "bye"},
    "/people": {"email": "b@x"},
}
PATHS = sorted(BODIES)


async def service(store: Store, serve: Serve, **settings: Any) -> Client:
    await install(store.database.server, store.database.name, [Person])  # type: ignore[arg-type]
    return await serve(application(store, *resource("/people", Person, store), **settings))


@pytest.fixture
async def ask(store: Store, serve: Serve) -> Client:
    """A client of a service with a secret."""
    return await service(store, serve, cookie_secret="sesame")


async def once(ask: Client, path: str, body: Any, key: str = KEY, **headers: str) -> Reply:
    return await ask("POST", path, body, Idempotency_Key=key, **headers)


async def count(ask: Client, path: str) -> int:
    return len((await ask("GET", path)).json["items"])


@pytest.mark.parametrize("path", PATHS)
async def test_sent_again_with_the_same_body_it_is_the_same_201(ask: Client, path: str) -> None:
    """One document, whatever kind of key the model has; the members' order means nothing."""
    first = await once(ask, path, BODIES[path])
    again = await once(ask, path, dict(reversed(BODIES[path].items())))
    assert (first.status, again.status) == (201, 201)
    assert again.text == first.text
    assert [again.headers[name] for name in ("Location", "ETag")] == [first.headers[n] for n in ("Location", "ETag")]
    assert (first.headers.get("Idempotent-Replayed"), again.headers["Idempotent-Replayed"]) == (None, "true")
    assert await count(ask, path) == 1
    assert (await ask("GET", first.headers["Location"])).json == first.json


class Folder(Model, type="folder_v1.0", key="name", soft_delete=True):
    name: str
    color: str = "red"


class Drawer(Model, type="drawer_v1.0", key="name", unique=True, soft_delete=True):
    name: str
    color: str = "red"


@pytest.mark.parametrize("cls", [Folder, Drawer])
async def test_a_deleted_key_that_is_made_anew_is_answered_the_same_again(
    store: Store, serve: Serve, cls: type[Any]
) -> None:
    """Whether the key of the document makes its id, or only a view knows it; other processes say the same."""
    await install(store.database.server, store.database.name, [cls])  # type: ignore[arg-type]
    asks = [
        await serve(application(Store(store.database), *resource("/kept", cls, store), cookie_secret="sesame"))
        for _ in range(2)
    ]
    old = await asks[0]("POST", "/kept", {"name": "a"})
    assert (await asks[0]("DELETE", path_of(old))).status == 204
    first = await once(asks[0], "/kept", {"name": "a", "color": "blue"})
    assert first.status == 201
    for ask in asks:
        again = await once(ask, "/kept", {"name": "a", "color": "blue"})
        assert (again.status, again.json) == (201, first.json)
        assert [again.headers[name] for name in ("Location", "ETag")] == [
            first.headers[name] for name in ("Location", "ETag")
        ]
        assert again.headers["Idempotent-Replayed"] == "true"
        assert (await once(ask, "/kept", {"name": "a", "color": "green"})).status == 422
        assert (await once(ask, "/kept", {"name": "b", "color": "blue"})).status == 422
        assert (await once(ask, "/kept", {"name": "a", "color": "blue"}, '"another"')).status == 409
    assert await count(asks[0], "/kept") == 1
    assert (await asks[0]("DELETE", path_of(first))).status == 204
    assert (await once(asks[1], "/kept", {"name": "a", "color": "blue"})).status == 410
    assert await count(asks[0], "/kept") == 0


@pytest.mark.parametrize("path", PATHS)
async def test_with_another_body_it_is_422(ask: Client, path: str) -> None:
    """Also where the other body has another key of its own; and nothing is created."""
    await once(ask, path, BODIES[path])
    reply = await once(ask, path, OTHERS[path])
    assert (reply.status, reply.json["type"]) == (422, "urn:tornado-couch:problem:idempotency-key-reused")
    assert await count(ask, path) == 1


@pytest.mark.parametrize("path", PATHS)
async def test_another_process_gives_the_same_answer(store: Store, serve: Serve, path: str) -> None:
    """What is remembered is in the database: a second service with the same secret knows it."""
    one, two = [await service(store, serve, cookie_secret="sesame") for _ in range(2)]
    first = await once(one, path, BODIES[path])
    assert (await once(two, path, BODIES[path])).text == first.text
    assert (await once(two, path, OTHERS[path])).status == 422
    assert await count(one, path) == 1


@pytest.mark.parametrize("path", PATHS)
async def test_it_works_without_a_secret(store: Store, serve: Serve, path: str) -> None:
    """A service that has none keeps the promise across processes as well."""
    one, two = [await service(store, serve) for _ in range(2)]
    first = await once(one, path, BODIES[path])
    assert (await once(two, path, BODIES[path])).text == first.text
    assert await count(one, path) == 1


@pytest.mark.parametrize("path", PATHS)
async def test_many_processes_at_once_create_one_document(store: Store, serve: Serve, path: str) -> None:
    """Each answer is 201 with the one document, or 409 since another is at it."""
    asks = [await service(store, serve, cookie_secret="sesame") for _ in range(4)]
    replies = await asyncio.gather(*(once(each, path, BODIES[path]) for each in asks for _ in range(4)))
    assert {reply.status for reply in replies} <= {201, 409}
    assert len({reply.headers["Location"] for reply in replies if reply.status == 201}) == 1
    assert await count(asks[0], path) == 1


async def test_while_the_first_is_running_it_is_409(store: Store, serve: Serve) -> None:
    """With Retry-After; once the first is done, the answer is that of the first."""
    entered, go = asyncio.Event(), asyncio.Event()

    class Slow(Hooks):
        async def before(self, event: Any, model: Any = None, current: Any = None) -> None:
            entered.set()
            await go.wait()

    ask = await serve(application(store, *resource("/slow", Fruit, store, hooks=Slow())))
    first = asyncio.create_task(once(ask, "/slow", {"color": "red"}))
    await entered.wait()
    second = await once(ask, "/slow", {"color": "red"})
    assert (second.status, second.headers["Retry-After"]) == (409, "1")
    go.set()
    assert (await first).status == 201
    assert (await once(ask, "/slow", {"color": "red"})).text == (await first).text


async def test_a_document_that_was_changed_since_is_answered_as_it_is(ask: Client) -> None:
    """201 still, with the current document and its entity tag: what was remembered outlives PUT and PATCH."""
    first = await once(ask, "/fruits", {"color": "red"})
    where = first.headers["Location"]
    await ask("PUT", where, {"color": "green"})
    patched = await ask("PATCH", where, data=b'{"weight": 3}', Content_Type="application/merge-patch+json")
    again = await once(ask, "/fruits", {"color": "red"})
    assert (again.status, again.json["color"], again.json["weight"]) == (201, "green", 3)
    assert again.headers["ETag"] == patched.headers["ETag"]
    assert (await once(ask, "/fruits", {"color": "blue"})).status == 422


@pytest.mark.parametrize("path", PATHS)
async def test_a_document_that_was_deleted_since_does_not_come_back(ask: Client, path: str) -> None:
    """410: the request was carried out, and what it made is gone."""
    first = await once(ask, path, BODIES[path])
    await ask("DELETE", first.headers["Location"])
    assert (await once(ask, path, BODIES[path])).status == 410
    assert await count(ask, path) == 0


async def test_what_is_remembered_is_never_shown(ask: Client, store: Store) -> None:
    """Nor can a client send it; and neither the key nor the body can be read from the database."""
    first = await once(ask, "/fruits", {"color": "red", "pin": "1234"})
    listed = (await ask("GET", "/fruits")).text
    for text in (first.text, listed, (await ask("GET", first.headers["Location"])).text):
        assert PROPERTY.encode() not in text
    assert (await ask("POST", "/fruits", {"color": "red", PROPERTY: "x"})).status == 422
    stored = await store.database.get(first.json["fruit_id"])
    assert len(stored[PROPERTY]) == 64
    assert KEY.strip('"') not in json.dumps(stored)


async def test_a_refused_request_uses_no_key(ask: Client) -> None:
    """After 422 for the values, the corrected body is created under the same key."""
    for path in ("/fruits", "/places"):
        assert (await once(ask, path, {})).status == 422
        assert (await once(ask, path, BODIES[path])).status == 201


async def test_a_key_of_the_document_that_is_taken_is_409(ask: Client) -> None:
    """By somebody else's document: it is not shown as if this request had made it."""
    for path in ("/places", "/people"):
        await ask("POST", path, BODIES[path])
        assert (await once(ask, path, BODIES[path])).status == 409
        assert (await once(ask, path, BODIES[path])).status == 409


async def test_a_creation_that_broke_off_is_finished_by_the_next(ask: Client, store: Store, monkeypatch: Any) -> None:
    """An outage between the reservation of a key and the document leaves nothing in the way."""
    from tornado_couch.errors import Unavailable

    create, calls = store.create, 0

    async def broken(model: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise Unavailable("down")
        return await create(model)

    monkeypatch.setattr(store, "create", broken)
    assert (await once(ask, "/places", BODIES["/places"])).status == 503
    assert (await once(ask, "/places", BODIES["/places"])).status == 201
    assert (await once(ask, "/places", OTHERS["/places"])).status == 422


@pytest.mark.parametrize(("path", "after"), [("/fruits", 0), ("/places", 0), ("/places", 1)])
async def test_a_lost_answer_is_looked_for(
    store: Store, serve: Serve, proxy: FaultProxy, path: str, after: int
) -> None:
    """What was written, the document or the reservation of its key, is found: by the store, and by a repetition."""
    fault = Fault(lose_answer, method="PUT", after=after)
    async with Couch(proxy.url) as couch:
        ask = await service(Store(couch[store.database.name], retry=Retry(base=0.001)), serve, cookie_secret="sesame")
        proxy.faults.append(fault)
        first = await once(ask, path, BODIES[path])
        again = await once(ask, path, BODIES[path])
        assert (first.status, again.status, fault.hits) == (201, 201, 1)
        assert again.json == first.json
        assert await count(ask, path) == 1


class HidesGrey(Policy):
    """Takes the caller's word for the name, and hides what is grey from all."""

    async def authenticate(self, request: Any) -> Principal | None:
        name = request.headers.get("X-Name")
        return Principal(name) if name else None

    async def authorize(
        self, principal: Principal | None, action: str, model: type[Model], document: Model | None = None
    ) -> None:
        if document is not None and document.color == "grey":  # type: ignore[attr-defined]
            raise Problem(404)


async def test_each_principal_has_keys_of_its_own(store: Store, serve: Serve) -> None:
    """And each collection: an equal key of another is another key."""
    routes = [*resource("/own", Fruit, store, policy=HidesGrey()), *resource("/more", Fruit, store, policy=HidesGrey())]
    ask = await serve(application(store, *routes))
    asked = [("/own", "ann"), ("/own", "bob"), ("/more", "ann")]
    replies = [await once(ask, path, {"color": "red"}, X_Name=name) for path, name in asked]
    replies.append(await once(ask, "/own", {"color": "red"}))
    assert {reply.status for reply in replies} == {201}
    assert len({reply.json["fruit_id"] for reply in replies}) == 4


async def test_the_policy_is_asked_about_the_document_as_it_is_now(store: Store, serve: Serve) -> None:
    """What has become hidden from the caller is not shown by sending the request again."""
    ask = await serve(application(store, *resource("/own", Fruit, store, policy=HidesGrey())))
    first = await once(ask, "/own", {"color": "red"}, X_Name="ann")
    assert (await ask("PUT", f"/fruits/{first.json['fruit_id']}", {"color": "grey"})).status == 200
    assert (await once(ask, "/own", {"color": "red"}, X_Name="ann")).status == 404


async def test_hooks_before_a_creation_run_once(store: Store, serve: Serve) -> None:
    """The repetition is told as the reading that it is."""
    seen: list[str] = []

    class Watch(Hooks):
        async def before(self, event: Any, model: Any = None, current: Any = None) -> None:
            seen.append(f"before {event.action}")

        async def after(self, event: Any, model: Any, shown: Any) -> None:
            seen.append(f"after {event.action}")
            shown["more"] = 1

    ask = await serve(application(store, *resource("/watched", Note, store, hooks=Watch())))
    replies = [await once(ask, "/watched", {"text": "a"}) for _ in range(2)]
    assert [reply.json["more"] for reply in replies] == [1, 1]
    assert seen == ["before create", "after create", "after retrieve"]


async def test_a_minimal_answer_is_repeated_as_one(ask: Client) -> None:
    """`Prefer: return=minimal`: 201 without a body both times."""
    for _ in range(2):
        reply = await once(ask, "/fruits", {"color": "red"}, Prefer="return=minimal")
        assert (reply.status, reply.text, bool(reply.headers["ETag"])) == (201, b"", True)


async def test_a_key_for_many_documents_is_400(ask: Client) -> None:
    """An array, or a bulk request: the id of one document follows from a key."""
    assert (await once(ask, "/fruits", [{"color": "red"}])).status == 400
    assert (await once(ask, "/places/_bulk", {"operations": []})).status == 400
    assert await count(ask, "/fruits") == 0


async def test_an_id_that_a_key_makes_cannot_be_told_without_the_secret(store: Store, serve: Serve) -> None:
    """Services with different secrets make different documents of one key."""
    one, two = [await service(store, serve, cookie_secret=secret) for secret in ("a", {1: "x", 2: "b"})]
    ids = {(await once(ask, "/fruits", {"color": "red"})).json["fruit_id"] for ask in (one, two)}
    assert len(ids) == 2


async def test_a_key_of_the_resource_comes_before_the_cookie_secret(store: Store, serve: Serve) -> None:
    """So that services of several applications can share one collection."""
    routes = resource("/shared", Fruit, store, cursor_key=b"k" * 32)
    asks = [await serve(Application(routes, policy=AllowAny(), cookie_secret=each)) for each in ("a", "b")]
    assert len({(await once(ask, "/shared", {"color": "red"})).json["fruit_id"] for ask in asks}) == 1


# ---------------------------------------------------------------- the field


@pytest.mark.parametrize(
    ("field", "key"),
    [
        ('"abc"', "abc"),
        ("abc", "abc"),
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        (r'"a\"b\\c d"', 'a"b\\c d'),
        (' "a" ', "a"),
        ('"' + "x" * 255 + '"', "x" * 255),
    ],
)
def test_a_key_is_a_string_quoted_or_bare(field: str, key: str) -> None:
    """RFC 8941 §3.3.3, and what many clients send."""
    assert idempotency_key(HTTPHeaders({"Idempotency-Key": field})) == key


@pytest.mark.parametrize("field", ["", '""', '"a', 'a"', '"a" "b"', '"a", "b"', "a b", r'"\a"', '"é"', "é", "x" * 256])
def test_anything_else_is_400(field: str) -> None:
    """Two fields as well, which come joined by a comma."""
    with pytest.raises(Problem) as caught:
        idempotency_key(HTTPHeaders({"Idempotency-Key": field}))
    assert caught.value.status_code == 400


def test_no_field_is_no_key() -> None:
    """A POST without one is an ordinary POST."""
    assert idempotency_key(HTTPHeaders()) is None


@given(st.text(max_size=20), st.text(max_size=20), st.dictionaries(st.text(max_size=3), st.integers(), max_size=3))
def test_marks_differ_where_anything_differs(scope: str, key: str, body: dict[str, int]) -> None:
    """No shift of a character from one part to the next gives the same mark."""
    mark = Mark.of(b"s", [scope, "/p"], key, body)
    assert mark == Mark.of(b"s", [scope, "/p"], key, dict(reversed(body.items())))
    assert mark.id != Mark.of(b"t", [scope, "/p"], key, body).id
    assert mark.id != Mark.of(b"s", [None, "/p"], key, body).id
    assert mark.id != Mark.of(b"s", [scope + "x", "/p"], key, body).id
    assert mark.id != Mark.of(b"s", [scope, "/p"], key + "x", body).id
    assert mark.id == Mark.of(b"s", [scope, "/p"], key, None).id
    assert mark.fingerprint != Mark.of(b"s", [scope, "/p"], key, {**body, "x": "1"}).fingerprint
    assert mark.fingerprint != Mark.of(b"s", [scope, "/p"], key + "x", body).fingerprint
