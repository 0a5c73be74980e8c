"""Nobody sees or takes what is not theirs: each attack had some success once."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import pytest
from tornado.httputil import HTTPServerRequest

from tests.clocks import Clock
from tests.web.callers import ByHeader
from tests.web.conftest import Client, Serve, application
from tests.web.models import Place
from tornado_couch import (
    AllowAny,
    Application,
    CollectionHandler,
    Indexed,
    Model,
    Problem,
    ReadOnly,
    Store,
    install,
    metrics_routes,
    resource,
)
from tornado_couch.web import Account, Authenticated, Policy, Principal, RateLimit, Roles, create_account
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
