"""Nobody sees or takes what is not theirs: each attack had some success once."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Annotated, Any
from urllib.parse import quote

import pytest
from tornado.httputil import HTTPServerRequest

from tests.clocks import Clock
from tests.web.callers import ByHeader
from tests.web.conftest import OTHER, Client, Serve, application, path
from tests.web.models import Note, Place
from tornado_couch import (
    AllowAny,
    Application,
    CollectionHandler,
    DocumentHandler,
    Hooks,
    Indexed,
    Key,
    Model,
    Observer,
    Problem,
    ReadOnly,
    Reference,
    Store,
    UpdatedOn,
    assigned,
    install,
    metrics_routes,
    resource,
)
from tornado_couch.models import Count
from tornado_couch.web import Account, Authenticated, Owner, Policy, Principal, RateLimit, Roles, create_account
from tornado_couch.web import ReadOnly as ReadOnlyPolicy

NDJSON = "application/x-ndjson"


class Memo(Model, type="memo_v1.0", key="title", unique=True):
    title: str
    text: str = ""
    owner: Annotated[str | None, ReadOnly(), Indexed()] = None


async def serving(store: Store, serve: Serve, model: type[Model], policy: Policy, **options: Any) -> Client:
    await install(store.database.server, store.database.name, [model])  # type: ignore[arg-type]
    return await serve(Application(resource("/it", model, store, policy=policy, **options)))


# ---------------------------------------------------------------- what opens too much


@pytest.mark.parametrize(
    ("policy", "headers", "status"),
    [
        (Authenticated(ByHeader(), read_anonymous=True), {}, 401),
        (ReadOnlyPolicy(), {}, 403),
        (ReadOnlyPolicy() | Authenticated(ByHeader()), {}, 401),
        (Authenticated(ByHeader(), read_anonymous=True), {"X_Name": "ann"}, 200),
        (Roles({"metrics": {"admin"}, "*": None}, ByHeader()), {"X_Name": "ann"}, 403),
        (AllowAny(), {}, 200),
    ],
)
async def test_what_everybody_may_read_is_not_the_metrics(
    store: Store, serve: Serve, policy: Policy, headers: dict[str, str], status: int
) -> None:
    """They tell of all data; `read_anonymous=True` at the application opened them."""
    ask = await serve(application(store, *metrics_routes(store.database), policy=policy))
    ask.described = None
    assert (await ask("GET", "/_metrics", **headers)).status == status


async def test_an_account_does_not_give_itself_roles(store: Store, serve: Serve) -> None:
    """Nor does it enable itself: both are for the service to set."""

    class Oneself(Policy):
        async def authorize(
            self, principal: Principal | None, action: str, model: type[Model], document: Any = None
        ) -> None:
            if principal is None or (document is not None and document.name != principal.name):
                raise Problem(403, detail="No.")

    await create_account(store, "ann", "correct horse", roles=["reader"], rounds=4)
    ask = await serving(store, serve, Account, Oneself(ByHeader()))
    merge = {"X_Name": "ann", "Content_Type": "application/merge-patch+json"}
    for body in ({"roles": ["admin"]}, {"disabled": True}):
        assert (await ask("PATCH", "/it/ann", data=json.dumps(body).encode(), **merge)).status == 422
        assert (await ask("PUT", "/it/ann", {"name": "ann", **body}, X_Name="ann")).status == 422
    assert (await ask("PUT", "/it/ann", {"name": "ann"}, X_Name="ann")).status == 200
    found = await store.get(Account, "ann")
    assert (found.roles, found.disabled) == (["reader"], False)


class Slow:
    """Takes its time to find out that credentials are wrong; the name "ann" is right."""

    challenge = "Slow"

    def __init__(self) -> None:
        self.checked = 0

    async def authenticate(self, request: HTTPServerRequest) -> Principal | None:
        name = request.headers.get("X-Name", "")
        self.checked += 1
        await asyncio.sleep(0.05)
        if name != "ann":
            raise Problem(401, detail="No.")
        return Principal(name)


async def test_guesses_at_the_same_time_share_one_limit(store: Store, serve: Serve) -> None:
    """100 at once passed a limit of 5, since each was counted once it had been checked."""
    slow = Slow()
    ask = await serving(store, serve, Memo, Authenticated(slow), rate_limit=RateLimit(5, 60))
    replies = await asyncio.gather(*(ask("GET", "/it", X_Name=f"guess {number}") for number in range(100)))
    assert sorted(reply.status for reply in replies) == [401] * 5 + [429] * 95
    assert slow.checked == 5
    assert all("Retry-After" in reply.headers for reply in replies if reply.status == 429)


async def test_right_credentials_take_nothing_of_the_limit_of_wrong_ones(store: Store, serve: Serve) -> None:
    """What is reserved for the check is given back."""
    slow, limit = Slow(), RateLimit(3, 60)
    ask = await serving(store, serve, Memo, Authenticated(slow), rate_limit=limit)
    assert [(await ask("GET", "/it", X_Name="ann")).status for _ in range(3)] == [200] * 3
    assert [(await ask("GET", "/it", X_Name="eve")).status for _ in range(4)] == [401] * 3 + [429]


def test_the_limit_does_not_forget_a_caller_for_others() -> None:
    """With 10,000 others, who had used up their requests could begin again."""
    clock = Clock()
    limit = RateLimit(5, 60, clock=clock, max_principals=100)
    assert [limit.decide("eve").allowed for _ in range(6)] == [True] * 5 + [False]
    for number in range(5_000):
        limit.decide(f"other {number}")
    assert not limit.decide("eve").allowed
    assert len(limit) <= 200
    # Newcomers share what the table has no place for: never more than the limit, and never nothing for good.
    assert sum(limit.decide("new").allowed for _ in range(20)) <= 5
    clock.now += 60
    assert limit.decide("eve").allowed
    assert limit.decide("new").allowed


async def test_lines_count_as_the_arrays_that_they_could_be(store: Store, serve: Serve) -> None:
    """A stream of any length was one request."""
    ask = await serving(store, serve, Memo, AllowAny(), rate_limit=RateLimit(3, 60), max_bulk=10)
    lines = b"".join(json.dumps({"title": str(number)}).encode() + b"\n" for number in range(100))
    reply = await ask("POST", "/it", data=lines, Content_Type=NDJSON)
    results = [json.loads(line) for line in reply.text.splitlines()]
    assert [each["status"] for each in results] == [201] * 30 + [429]
    assert results[-1]["problem"]["type"].endswith("quota-exceeded")
    assert (await ask("GET", "/it")).status == 429


async def test_a_put_that_creates_is_a_creation(store: Store, serve: Serve) -> None:
    """The initial values, the model and the work of the collection's class were left out."""

    class Checked(CollectionHandler):
        def get_initial(self) -> dict[str, Any]:
            return {"size": 7}

        async def perform_create(self, model: Any) -> Any:
            if model.name == "bad":
                raise Problem(409, "checked", "Not this one.")
            return await super().perform_create(model)

    routes = resource("/checked", Place, store, collection=Checked, create_by_put=True)
    ask = await serve(application(store, *routes))
    ask.described = None
    reply = await ask("PUT", "/checked/good", {"size": 1})
    assert (reply.status, reply.json) == (201, {"name": "good", "size": 7})
    assert (await ask("PUT", "/checked/bad", {})).status == 409
    operations = [{"action": "replace", "key": key, "document": {"size": 1}} for key in ("bad", "fine")]
    items = (await ask("POST", "/checked/_bulk", {"operations": operations})).json["items"]
    assert [each["status"] for each in items] == [409, 201]
    assert (await ask("GET", "/checked/fine")).json["size"] == 7


# ---------------------------------------------------------------- what a key was before


class Page(Model, type="page_v1.0", key="slug", history=True):
    slug: str
    text: str = ""
    owner: Annotated[str | None, ReadOnly(), Indexed()] = None
    written_on: UpdatedOn


class Draft(Model, type="draft_v1.0", key="title", unique=True, soft_delete=True):
    title: str
    text: str = ""
    owner: Annotated[str | None, ReadOnly(), Indexed()] = None


ADMIN = {"X_Name": "eve", "X_Role": "admin"}


async def numbers(ask: Client, **headers: str) -> list[int]:
    """The versions that a caller is shown, over all pages."""
    found, place = [], "/it/k/versions?limit=1"
    while place:
        reply = await ask("GET", place, **headers)
        assert reply.status == 200
        found += [each["_version"] for each in reply.json["items"]]
        place = reply.json.get("next", "")
    return found


async def reborn(ask: Client) -> str:
    """Ann's page is deleted, and Bob makes one of the same key; returns when Ann's was written."""
    first = await ask("POST", "/it", {"slug": "k", "text": "a secret of Ann's"}, X_Name="ann")
    assert (await ask("DELETE", "/it/k", X_Name="ann")).status == 204
    assert (await ask("POST", "/it", {"slug": "k", "text": "mine"}, X_Name="bob")).status == 201
    return str(first.json["written_on"]).replace("+", "%2B")


async def test_a_new_owner_of_a_key_does_not_read_what_another_wrote(store: Store, serve: Serve) -> None:
    """Neither in the list nor by number or time: the policy is asked about each version by itself."""
    ask = await serving(store, serve, Page, Owner("owner", ByHeader(), admin_role="admin"))
    then = await reborn(ask)
    bob = {"X_Name": "bob"}
    assert await numbers(ask, **bob) == [3]
    for query in ("version=1", "version=2", f"at={then}"):
        reply = await ask("GET", f"/it/k?{query}", **bob)
        assert (reply.status, "secret" in reply.text.decode()) == (404, False)
    assert (await ask("GET", "/it/k?version=3", **bob)).status == 200
    assert (await ask("GET", "/it/k/versions", X_Name="ann")).status == 404  # it is Bob's now
    assert await numbers(ask, **ADMIN) == [3, 2, 1]


async def test_a_new_document_of_a_key_does_not_show_the_deleted_one(store: Store, serve: Serve) -> None:
    """Only those see it who may see what is deleted, whoever owns it."""
    ask = await serving(store, serve, Page, Roles({"deleted": {"admin"}, "*": None}, ByHeader()))
    then = await reborn(ask)
    assert (await ask("PUT", "/it/k", {"text": "still mine"}, X_Name="bob")).status == 200
    assert await numbers(ask, X_Name="bob") == [4, 3]
    assert await numbers(ask, **ADMIN) == [4, 3, 2, 1]
    for query in ("version=1", f"at={then}"):
        assert (await ask("GET", f"/it/k?{query}", X_Name="bob")).status == 404
        assert (await ask("GET", f"/it/k?{query}", **ADMIN)).status == 200


async def test_what_was_restored_is_the_same_document(store: Store, serve: Serve) -> None:
    """All of its versions can be seen again."""
    ask = await serving(store, serve, Page, Roles({"deleted": {"admin"}, "*": None}, ByHeader()))
    await ask("POST", "/it", {"slug": "k"}, X_Name="ann")
    assert (await ask("DELETE", "/it/k", X_Name="ann")).status == 204
    assert (await ask("PUT", "/it/k", {"text": "again"}, X_Name="ann")).status == 201
    assert await numbers(ask, X_Name="bob") == [3, 2, 1]


async def test_a_creation_does_not_destroy_what_another_can_restore(store: Store, serve: Serve) -> None:
    """A new document takes the place of a deleted one; who could not restore that is told that the key is taken."""
    ask = await serving(store, serve, Draft, Owner("owner", ByHeader(), admin_role="admin"), create_by_put=True)
    bob, ann = {"X_Name": "bob"}, {"X_Name": "ann"}
    assert (await ask("POST", "/it", {"title": "k", "text": "Ann's"}, **ann)).status == 201
    assert (await ask("DELETE", "/it/k", **ann)).status == 204
    document = {"title": "k", "text": "Bob's"}
    assert (await ask("POST", "/it", document, **bob)).status == 409
    assert (await ask("POST", "/it", document, Idempotency_Key="abc", **bob)).status == 409
    assert [each["status"] for each in (await ask("POST", "/it", [document], **bob)).json["items"]] == [409]
    line = json.dumps(document).encode() + b"\n"
    reply = await ask("POST", "/it", data=line, Content_Type=NDJSON, **bob)
    assert json.loads(reply.text)["status"] == 409
    operations = [{"action": "create", "document": document}, {"action": "replace", "key": "k", "document": {}}]
    items = (await ask("POST", "/it/_bulk", {"operations": operations}, **bob)).json["items"]
    assert [each["status"] for each in items] == [409, 404]
    assert (await ask("PUT", "/it/k", {"text": "Bob's"}, **bob)).status == 404
    assert (await ask("PUT", "/it/k", {"text": "Ann's"}, **ann)).status == 201
    assert (await ask("GET", "/it/k", **ann)).json["text"] == "Ann's"
    assert (await ask("DELETE", "/it/k", **ann)).status == 204
    assert (await ask("POST", "/it", {"title": "k"}, **ann)).status == 201  # her own, she may replace


@pytest.mark.parametrize("model", [Memo, Draft, Page])
@pytest.mark.parametrize("options", [{}, {"create_by_put": True}])
async def test_a_precondition_does_not_tell_anothers_document_from_none(
    store: Store, serve: Serve, model: type[Model], options: dict[str, Any]
) -> None:
    """With If-Match it was 404 for one and 412 for the other where the model keeps what is deleted."""
    ask = await serving(store, serve, model, Owner("owner", ByHeader()), **options)
    named = next(iter(model.model_fields))
    for key in ("theirs", "gone"):
        assert (await ask("POST", "/it", {named: key}, X_Name="ann")).status == 201
    assert (await ask("DELETE", "/it/gone", X_Name="ann")).status == 204
    patch = "application/merge-patch+json"
    for condition in ({"If_Match": OTHER}, {"If_Match": "*"}, {"If_Match": OTHER, "If_None_Match": "*"}, {}):
        for method, extra in (("GET", {}), ("PUT", {}), ("PATCH", {"Content_Type": patch}), ("DELETE", {})):
            if method == "PUT" and options and "If_Match" not in condition:
                continue  # it would create
            seen = []
            for key in ("theirs", "gone", "none"):
                body = {} if method in ("PUT", "PATCH") else None
                reply = await ask(method, f"/it/{key}", body, X_Name="bob", **condition, **extra)
                seen.append((reply.status, reply.headers.get("ETag"), {**reply.json, "instance": ""}))
            assert seen[0] == seen[1] == seen[2], (method, condition)


# ---------------------------------------------------------------- lists


class Log(Model, type="log_v1.0", key="name", unique=True, reductions={"by_level": Count("level")}):
    name: str
    level: Annotated[str, Indexed()] = "info"
    owner: Annotated[str | None, ReadOnly(), Indexed()] = None


class Judging(Policy):
    """Shows whoever asks only what is not secret, and limits no list."""

    async def authorize(
        self, principal: Principal | None, action: str, model: type[Model], document: Any = None
    ) -> None:
        if document is not None and document.level == "secret" and principal is None:
            raise Problem(404, detail="No.")


class JudgingOwner(Owner):
    """Limits lists to the owner's documents, and still not to all that it lets through."""

    async def authorize(
        self, principal: Principal | None, action: str, model: type[Model], document: Any = None
    ) -> None:
        await super().authorize(principal, action, model, document)
        await Judging().authorize(None, action, model, document)


@pytest.mark.parametrize(
    ("policy", "headers"),
    [
        (Judging(ByHeader()), {}),
        (Judging() & Authenticated(ByHeader(), read_anonymous=True), {}),
        (Judging() & Owner("owner", ByHeader(), public_read=True), {}),
        (Judging(ByHeader()) | Roles({"reduce": None}), {}),
        (ReadOnlyPolicy(Judging(ByHeader())), {}),
        (JudgingOwner("owner", ByHeader()), {"X_Name": "ann"}),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_list_shows_nothing_that_a_get_would_refuse(
    store: Store, serve: Serve, policy: Policy, headers: dict[str, str]
) -> None:
    """Nor does an export, a cursor, a count or a reduction: a policy that judges documents is asked about each item."""
    ask = await serving(store, serve, Log, policy, many=["patch", "destroy"])  # with them every list was 500
    for number in range(10):
        secret = number % 2 or number > 6
        await store.create(Log(name=f"n{number}", level="secret" if secret else "info", owner="ann"))
    place, names, texts = "/it?limit=3", [], []
    while place:
        reply = await ask("GET", place, **headers)
        names += [each["name"] for each in reply.json["items"]]
        place = reply.json.get("next", "")
        cursor = place.rpartition("cursor=")[2]
        texts.append(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    assert names == ["n0", "n2", "n4", "n6"]
    assert not any(b"n5" in each or b"secret" in each for each in texts)
    filtered = await ask("GET", "/it?level=secret", **headers)
    assert filtered.status == 400 or filtered.json["items"] == []  # no index has both level and owner
    export = await ask("GET", "/it", Accept=NDJSON, **headers)
    assert [json.loads(line)["name"] for line in export.text.splitlines()] == names
    for query in ("/it?count=true", "/it/by_level", "/it/by_level?level=0"):
        assert (await ask("GET", query, **headers)).status == 403


async def test_a_policy_that_says_that_lists_need_no_judgement_is_believed(store: Store, serve: Serve) -> None:
    """Then its lists are counted, and it is not asked about each item."""

    class Whole(Judging):
        judges = False

    ask = await serving(store, serve, Log, Whole())
    await store.create(Log(name="a", level="secret"))
    assert (await ask("GET", "/it?count=true")).json["total"] == 1
    assert (await ask("GET", "/it/by_level")).status == 200
    for policy in (AllowAny(), Authenticated(ByHeader()), Owner("owner", ByHeader()), ReadOnlyPolicy()):
        assert not policy.judges


# ---------------------------------------------------------------- ids


async def test_a_client_does_not_take_the_id_of_anothers_document(store: Store, serve: Serve) -> None:
    """Whoever chooses ids took those of versions, accounts and reservations, which then were not there any more."""
    await install(store.database.server, store.database.name, [Page, Account])  # type: ignore[arg-type]
    ask = await serve(application(store, *resource("/pages", Page, store)))
    await ask("POST", "/pages", {"slug": "k", "text": "one"})
    for taken in ("page:k:0000000002", "account:ann", "place:oslo", "0" * 32, "notes:x", "note"):
        reply = await ask("PUT", f"/notes/{quote(taken, safe='')}", {"text": "mine"})
        assert reply.status == 422
        assert "`note:`" in reply.json["errors"][0]["detail"]
    assert (await ask("GET", "/pages/k")).json["text"] == "one"
    assert [each["slug"] for each in (await ask("GET", "/pages")).json["items"]] == ["k"]
    assert (await ask("PUT", "/notes/note%3Aa", {"text": "mine"})).status == 201
    assert (await ask("GET", "/notes/note%3Aa")).json == {"text": "mine"}


async def test_plain_ids_are_for_the_service_and_for_resources_that_say_so(store: Store, serve: Serve) -> None:
    """What an existing database holds can be read and changed in any case."""
    note = Note(text="there")
    note._id = "rob-1"
    await store.create(note)
    ask = await serve(application(store, *resource("/plain", Note, store, create_by_put=True, plain_ids=True)))
    for place in ("/notes", "/plain"):
        assert (await ask("GET", f"{place}/rob-1")).json == {"text": "there"}
        assert (await ask("PUT", f"{place}/rob-1", {"text": "there"})).status == 200
    assert (await ask("PUT", "/notes/rob-2", {"text": "new"})).status == 422
    assert (await ask("PUT", "/plain/rob-2", {"text": "new"})).status == 201
    with pytest.raises(ValueError, match="plain_ids"):
        resource("/places", Place, store, create_by_put=True, plain_ids=True)


class Counting(Observer):
    """Counts documents that are where others should be."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def misplaced(self, kind: str) -> None:
        self.seen.append(kind)


@pytest.mark.parametrize(
    ("place", "id_", "foreign"),
    [
        ("/places/oslo", "place:oslo", {"type": "note_v1.0", "text": "x"}),
        ("/places/oslo", "place:oslo", {"type": "place_v1.0", "name": "bergen"}),
        ("/places/oslo", "place:oslo", {"no": "type"}),
        ("/notes/note%3Aa", "note:a", {"type": "place_v1.0", "name": "a"}),
        ("/pages/k", "page:k:0000000001", {"type": "note_v1.0", "text": "x"}),
        ("/pages/k", "page:k:0000000002", {"type": "note_v1.0", "text": "x"}),
    ],
)
async def test_a_foreign_document_is_never_nothing(
    store: Store, serve: Serve, place: str, id_: str, foreign: dict[str, Any]
) -> None:
    """It is 502 and counted, whatever is done with it; "not there" would hide what it stands in the place of."""
    await install(store.database.server, store.database.name, [Page])  # type: ignore[arg-type]
    observer = Counting()
    routes = resource("/pages", Page, store, create_by_put=True)
    ask = await serve(application(store, *routes, observers=[observer]))
    if id_.endswith("2"):
        await store.create(Page(slug="k"))
    await store.database.put({"_id": id_, **foreign})
    for method, body in (("GET", None), ("PUT", {} if "/notes" not in place else {"text": "x"}), ("DELETE", None)):
        for headers in ({}, {"If_Match": OTHER}):
            reply = await ask(method, place, body, **headers)
            assert (reply.status, reply.json.get("type")) == (502, "urn:tornado-couch:problem:invalid-document")
    collection, _, key = place.lstrip("/").partition("/")
    operation = {"action": "delete", "key": key.replace("%3A", ":")}
    items = (await ask("POST", f"/{collection}/_bulk", {"operations": [operation]})).json["items"]
    assert items[0]["status"] == 502
    assert len(observer.seen) >= 7
    if id_.endswith("2"):
        listed = (await ask("GET", "/pages")).json
        assert (listed["items"], listed["withheld"]) == ([], 1)
    if collection != "pages":
        assert (await ask("GET", f"{place}/conflicts")).status == 502


# ---------------------------------------------------------------- one caller's copy is not another's


class Greeting(Hooks):
    """Adds who asks, and how often the service has been told to."""

    told = 0

    async def after(self, event: Any, model: Any, shown: dict[str, Any] | None) -> None:
        if shown is not None:
            shown["for"] = f"{event.principal and event.principal.name} {self.told}"


class Personal(DocumentHandler):
    """Shows who asks."""

    def show(self, model: Any) -> dict[str, Any]:
        return {**super().show(model), "for": f"{self.principal and self.principal.name} {Greeting.told}"}


@pytest.mark.parametrize("options", [{"hooks": Greeting()}, {"document": Personal}])
@pytest.mark.parametrize("query", ["", "?fields=text"])
async def test_nobody_gets_304_for_the_copy_of_another(
    store: Store, serve: Serve, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], query: str
) -> None:
    """What is added to a document changes its tag, and the revision stays first in it."""
    ask = await serving(store, serve, Memo, Authenticated(ByHeader()), **options)
    ask.described = None
    ann, bob = {"X_Name": "ann"}, {"X_Name": "bob"}
    await ask("POST", "/it", {"title": "k", "text": "x" * 3000}, **ann)
    place = f"/it/k{query}"
    for coding in ({"Accept_Encoding": "identity"}, {"Accept_Encoding": "gzip"}):
        first = await ask("GET", place, **ann, **coding)
        tag, revision = first.headers["ETag"], (await store.get(Memo, "k"))._rev
        assert tag.startswith(f'"{revision}')
        assert (await ask("GET", place, If_None_Match=tag, **ann, **coding)).status == 304
        assert (await ask("HEAD", place, If_None_Match=tag, **ann, **coding)).status == 304
        reply = await ask("GET", place, If_None_Match=tag, **bob, **coding)
        if query:  # the same properties without what was added
            assert reply.status == 304
        else:
            assert (reply.status, reply.json["for"]) == (200, "bob 0")
            assert reply.headers["ETag"] != tag
            monkeypatch.setattr(Greeting, "told", 1)
            assert (await ask("GET", place, If_None_Match=tag, **ann, **coding)).json["for"] == "ann 1"
            monkeypatch.setattr(Greeting, "told", 0)
        assert (await ask("GET", place, If_None_Match="*", **bob, **coding)).status == 304
        assert (await ask("GET", place, If_None_Match=f'"{revision}"', **ann, **coding)).status == 200
        assert (await ask("GET", place, If_Match=tag, **bob, **coding)).status == 200
    written = await ask("PUT", "/it/k", {"text": "y" * 3000}, If_Match=tag, **bob)
    assert written.status == 200
    assert (await ask("PUT", "/it/k", {"text": "z"}, If_Match=tag, **bob)).status == 412
    assert (await ask("GET", "/it/k", If_None_Match=written.headers["ETag"], **bob)).status == 304
    assert (await ask("GET", "/it/k", If_None_Match=written.headers["ETag"], **ann)).status == 200


async def test_answers_say_that_they_depend_on_who_asks(store: Store, serve: Serve) -> None:
    """So that no cache gives one caller's to another: pages, documents, refusals, and those that have no caller."""

    class Keyed(ByHeader):
        security_scheme = {"type": "apiKey", "in": "header", "name": "X-Name"}  # noqa: RUF012 - never changed

    class Carried(ByHeader):
        security_scheme = {"type": "apiKey", "in": "cookie", "name": "session"}  # noqa: RUF012 - never changed

    for authenticator, field in ((ByHeader(), "Authorization"), (Keyed(), "X-Name"), (Carried(), "Cookie")):
        policy = Authenticated(authenticator, read_anonymous=True) & Owner("owner", public_read=True)
        routes = [*resource("/it", Memo, store, policy=policy), *metrics_routes(store.database, policy=policy)]
        await install(store.database.server, store.database.name, [Memo])  # type: ignore[arg-type]
        ask = await serve(application(store, *routes))
        ask.described = None
        tag = (await ask("GET", "/it")).headers["ETag"]
        for method, place, headers in (
            ("GET", "/it", {}),
            ("GET", "/it", {"If_None_Match": tag}),
            ("GET", "/it/none", {}),
            ("POST", "/it", {}),
            ("GET", "/_metrics", {}),
        ):
            reply = await ask(method, place, {} if method == "POST" else None, **headers)
            assert {"Accept", field} <= set(reply.headers["Vary"].split(", "))
        assert field not in (await ask("GET", "/fruits")).headers["Vary"]


async def test_a_request_that_is_sent_again_is_no_way_to_read(store: Store, serve: Serve) -> None:
    """Who may create and not read is told where the document is, and not what others have made of it."""
    policy = Roles({"create": {"visitor"}, "*": {"staff"}}, ByHeader())
    ask = await serving(store, serve, Memo, policy)
    visitor = {"X_Name": "ann", "X_Role": "visitor", "Idempotency_Key": "abc"}
    first = await ask("POST", "/it", {"title": "k"}, **visitor)
    assert (first.status, first.json["title"]) == (201, "k")
    staff = {"X_Name": "bob", "X_Role": "staff"}
    assert (await ask("PUT", "/it/k", {"text": "a secret of the staff"}, **staff)).status == 200
    again = await ask("POST", "/it", {"title": "k"}, **visitor)
    assert (again.status, again.text, again.headers["Location"]) == (201, b"", "/it/k")


@pytest.mark.parametrize("model", [Draft, Page])
async def test_deleted_documents_of_others_are_not_listed(store: Store, serve: Serve, model: type[Model]) -> None:
    """Each is asked about, in its own list as well."""

    class Mine(Policy):
        async def authorize(
            self, principal: Principal | None, action: str, model: type[Model], document: Any = None
        ) -> None:
            if document is not None and document.text != (principal and principal.name):
                raise Problem(404, detail="No.")

    ask = await serving(store, serve, model, Mine(ByHeader()))
    named = next(iter(model.model_fields))
    for name in ("ann", "bob"):
        assert (await ask("POST", "/it", {named: name, "text": name}, X_Name=name)).status == 201
        assert (await ask("DELETE", f"/it/{name}", X_Name=name)).status == 204
    items = (await ask("GET", "/it?deleted=true", X_Name="ann")).json["items"]
    assert [each[named] for each in items] == ["ann"]
    assert (await ask("GET", "/it/bob?deleted=true", X_Name="ann")).status == 404


async def test_the_conflicts_of_another_are_those_of_nothing(store: Store, serve: Serve) -> None:
    """As is every address below a document."""
    ask = await serving(store, serve, Memo, Owner("owner", ByHeader()))
    assert (await ask("POST", "/it", {"title": "k"}, X_Name="ann")).status == 201
    for method, body in (("GET", None), ("POST", {"merge": True})):
        replies = [await ask(method, f"/it/{key}/conflicts", body, X_Name="bob", If_Match="*") for key in ("k", "none")]
        assert [(each.status, {**each.json, "instance": ""}) for each in replies] == [
            (404, {**replies[0].json, "instance": ""})
        ] * 2


@pytest.mark.parametrize(
    ("model", "below"),
    [(Memo, ""), (Memo, "/conflicts"), (Page, "/versions"), (Page, "?version=1"), (Page, "?deleted=true")],
)
async def test_what_is_wrong_with_anothers_document_is_not_told(
    store: Store, serve: Serve, model: type[Model], below: str
) -> None:
    """A document that does not fit its model was 502 to everybody, where one that does is 404 to all but its owner."""
    ask = await serving(store, serve, model, Owner("owner", ByHeader()))
    named = next(iter(model.model_fields))
    assert (await ask("POST", "/it", {named: "k"}, X_Name="ann")).status == 201
    if below == "?deleted=true":
        assert (await ask("DELETE", "/it/k", X_Name="ann")).status == 204
    async for row in store.database.iterate_all_docs(include_docs=True):
        if row.doc is not None and row.doc.get(named) == "k":
            await store.database.put({**row.doc, "text": ["no text"]})
    replies = [await ask("GET", f"/it/{key}{below}", X_Name="bob") for key in ("k", "none")]
    assert [(each.status, {**each.json, "instance": ""}) for each in replies] == [
        (404, {**replies[1].json, "instance": ""})
    ] * 2
    assert (await ask("GET", f"/it/k{below}", X_Name="ann")).status == 502


class Folder(Model, type="folder_v1.0", key="name", unique=True):
    name: str
    owner: Annotated[str | None, ReadOnly(), Indexed()] = None


class Remark(Model, type="remark_v1.0", key="remark_id"):
    remark_id: Key = assigned()
    folder_id: Annotated[str, Reference(Folder), Indexed()]


async def test_no_field_of_an_answer_tells_which_documents_are_there(store: Store, serve: Serve) -> None:
    """`Vary` said who asks only where a document was there to be asked about, and never in an error."""

    class Counting(ByHeader):
        checks = 0

        async def authenticate(self, request: HTTPServerRequest) -> Principal | None:
            Counting.checks += 1
            return await super().authenticate(request)

    await install(store.database.server, store.database.name, [Folder, Remark])
    routes = [
        *resource("/folders", Folder, store, policy=Owner("owner", Counting())),
        *resource("/folders/{folder_id}/remarks", Remark, store, policy=AllowAny()),
        *resource("/remarks", Remark, store, policy=AllowAny()),
    ]
    ask = await serve(Application(routes))
    assert (await ask("POST", "/folders", {"name": "theirs"}, X_Name="ann")).status == 201
    for who in ("bob", "liar"):
        seen = []
        for key in ("theirs", "none"):
            Counting.checks = 0
            operations = [{"action": "create", "document": {"folder_id": key}}] * 2
            replies = [
                await ask("POST", "/remarks", {"folder_id": key}, X_Name=who),
                await ask("POST", "/remarks/_bulk", {"operations": operations}, X_Name=who),
                await ask("GET", f"/folders/{key}/remarks", X_Name=who),
            ]
            assert Counting.checks == len(replies)
            assert all("Authorization" in each.headers["Vary"] for each in replies)
            texts = [each.text.replace(b"theirs", b"none") for each in replies]
            seen.append([(each.status, each.headers["Vary"], text) for each, text in zip(replies, texts, strict=True)])
        assert seen[0] == seen[1]
        assert [each[0] for each in seen[0]] == [422, 200, 404]


async def test_a_reference_is_no_way_around_the_limit_of_guesses(store: Store, serve: Serve) -> None:
    """Credentials that are checked for another resource, to embed its documents, count against its limit."""

    class Guessed(ByHeader):
        checks = 0

        async def authenticate(self, request: HTTPServerRequest) -> Principal | None:
            Guessed.checks += 1
            return await super().authenticate(request)

    await install(store.database.server, store.database.name, [Folder, Remark])
    folders = resource("/folders", Folder, store, policy=Authenticated(Guessed()), rate_limit=RateLimit(3, 60))
    ask = await serve(Application([*folders, *resource("/remarks", Remark, store, policy=AllowAny())]))
    assert (await ask("POST", "/folders", {"name": "f"}, X_Name="ann")).status == 201
    place = path(await ask("POST", "/remarks", {"folder_id": "f"}, X_Name="ann"))
    Guessed.checks = 0
    for _ in range(4):
        assert (await ask("GET", f"{place}?include=folder", X_Name="liar")).json["folder"] is None
        assert (await ask("POST", "/remarks", {"folder_id": "f"}, X_Name="liar")).status == 422
    assert Guessed.checks == 3
