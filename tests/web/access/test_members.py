"""`Members`: documents that belong to groups, and callers who are in several."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import StringConstraints

from tests.web.callers import Named
from tests.web.conftest import Serve
from tornado_couch import AllowAny, Count, Database, Indexed, Model, Scope, Store, install, resource
from tornado_couch.web import Application, Members

Team = Annotated[str, StringConstraints(max_length=5)]


INDEXES, REDUCTIONS = [("team", "size")], {"by_team": Count("team")}


class Job(Model, type="job_v1.0", key="name", unique=True, indexes=INDEXES, reductions=REDUCTIONS):
    name: str
    team: Annotated[Team, Indexed(), Scope()]
    size: Annotated[int, Indexed()] = 0


NAMES = [f"{team}-{number}" for number in range(3) for team in ("red", "green", "blue")]
BOB = {"User": "bob red green"}


@pytest.fixture
async def ask(database: Database, serve: Serve) -> Any:
    """Ask a service of jobs whose teams are the callers' roles."""
    await install(database.server, database.name, [Job])
    store = Store(database)
    for number, name in enumerate(NAMES):
        await store.create(Job(name=name, team=name.partition("-")[0], size=number))
    routes = resource("/jobs", Job, store, policy=Members("team", Named(), admin_role="admin"))
    return await serve(Application(routes, policy=AllowAny()))


def names(reply: Any) -> list[str]:
    return [item["name"] for item in reply.json["items"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["green-0", "green-1", "green-2", "red-0", "red-1", "red-2"]),
        ("?sort=team", ["green-0", "green-1", "green-2", "red-0", "red-1", "red-2"]),
        ("?sort=-team", ["red-2", "red-1", "red-0", "green-2", "green-1", "green-0"]),
        ("?sort=-size", ["green-2", "red-2", "green-1", "red-1", "green-0", "red-0"]),
        ("?size[gte]=4", ["green-1", "red-2", "green-2"]),
        ("?team=red", ["red-0", "red-1", "red-2"]),
        ("?team[in]=red,blue", ["red-0", "red-1", "red-2"]),
        ("?team=blue", []),
        ("?or=size%3D0%26team%3Dred&or=size%3D1&or=size%3D2", ["red-0", "green-0"]),
    ],
)
async def test_a_list_has_what_belongs_to_the_caller_s_groups(ask: Any, query: str, expected: list[str]) -> None:
    """In the order that was asked for, merged of them, and with no more than a filter lets through."""
    found: list[str] = []
    following = f"/jobs{query or '?'}&limit=2".replace("?&", "?")
    while following:
        reply = await ask("GET", following, **BOB)
        assert reply.status == 200, reply.json
        found += names(reply)
        following = reply.json.get("next", "")
    assert (found if "sort" in query else sorted(found)) == (expected if "sort" in query else sorted(expected))


@pytest.mark.parametrize(
    "query", ["", "?sort=-size", "?size[gte]=1&sort=size", "?size=1&team=red", "?nulls=last&sort=size"]
)
async def test_who_is_in_no_group_has_an_empty_list(ask: Any, query: str) -> None:
    """Whatever they ask for."""
    reply = await ask("GET", f"/jobs{query}", User="alice")
    assert (reply.status, reply.json) == (200, {"items": []})


async def test_counts_are_of_the_caller_s_groups(ask: Any) -> None:
    """Also where there are none; a reduction would count what belongs to others."""
    for user, total in (("bob red green", 6), ("alice", 0), ("root admin", 9)):
        reply = await ask("GET", "/jobs?count=true", User=user)
        assert (reply.json["total"], len(reply.json["items"])) == (total, total)
    assert (await ask("GET", "/jobs/by_team", **BOB)).status == 403
    assert (await ask("GET", "/jobs/by_team", User="root admin")).status == 200


async def test_who_is_not_in_the_group_cannot_tell_that_there_is_a_document(ask: Any) -> None:
    """404 for whatever they try; whoever is in it may do everything."""
    patch = {"Content_Type": "application/merge-patch+json", **BOB}
    for path, status in (("/jobs/blue-0", 404), ("/jobs/red-0", 200), ("/jobs/nothing", 404)):
        assert (await ask("GET", path, **BOB)).status == status
        assert (await ask("PATCH", path, {"size": 7}, **patch)).status == status
    assert (await ask("DELETE", "/jobs/blue-0", **BOB)).status == 404
    assert (await ask("DELETE", "/jobs/red-0", **BOB)).status == 204
    assert (await ask("GET", "/jobs/red-1")).status == 401


async def test_a_document_is_created_in_a_group_of_the_caller(ask: Any) -> None:
    """In another one it is refused, also in an array; it may be handed over later, which takes it out of sight."""
    assert (await ask("POST", "/jobs", {"name": "new", "team": "blue"}, **BOB)).status == 403
    assert (await ask("POST", "/jobs", {"name": "new", "team": "red"}, **BOB)).status == 201
    items = [{"name": "one", "team": "blue"}, {"name": "two", "team": "green"}]
    reply = await ask("POST", "/jobs", items, **BOB)
    assert [each["status"] for each in reply.json["items"]] == [403, 201]
    patch = {"Content_Type": "application/merge-patch+json", **BOB}
    assert (await ask("PATCH", "/jobs/new", {"team": "blue"}, **patch)).status == 200
    assert (await ask("GET", "/jobs/new", **BOB)).status == 404


async def test_a_group_that_the_property_cannot_hold_has_no_documents(ask: Any) -> None:
    """It is a role of another kind."""
    reply = await ask("GET", "/jobs", User="carol superintendent blue")
    assert names(reply) == ["blue-0", "blue-1", "blue-2"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("crew", "no property 'crew'"), ("plain", "has no index"), ("size", "cannot hold a group")],
)
def test_a_property_that_cannot_decide_is_refused(name: str, words: str) -> None:
    """With the declaration to write."""

    class Odd(Model, type="odd_v1.0", key="name"):
        name: str
        plain: str = ""
        size: Annotated[int, Indexed()] = 0

    with pytest.raises(ValueError, match=words):
        Members(name, Named()).check(Odd)
