"""Callers who see the documents of several teams, which they join and leave."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.web.live.conftest import Task
from tests.web.live.service import Copy, Service
from tornado_couch import Store

Teams = dict[str, set[str]]


async def fill(store: Store, *names: str) -> None:
    """Create tasks; the name of each begins with its team."""
    for name in names:
        await store.create(Task(name=name, team=name.partition("-")[0]))


async def read(service: Service, copy: Copy, since: str, path: str = "/tasks/_changes?", **headers: str) -> str:
    """Apply pages until no more follow; return the token after them."""
    more = True
    while more:
        page = await service.get(f"{path}since={since}&limit=2", **headers)
        for item in page["items"]:
            copy.apply(item)
        since, more = page["next"], page["more"]
    return str(since)


def told(page: dict[str, Any]) -> list[tuple[str, bool]]:
    """The names of the documents of a page, and whether each is gone."""
    return sorted((item["_href"].rpartition("/")[2], "_gone" in item) for item in page["items"])


async def test_all_of_a_caller_s_teams_are_followed(service: Service, store: Store) -> None:
    """And nothing of any other team; a document that moves between two of them only changes."""
    since = (await service.get("/tasks/_changes", X_Name="bob"))["next"]
    await fill(store, "red-1", "green-1", "blue-1")
    page = await service.get(f"/tasks/_changes?since={since}", X_Name="bob")
    assert told(page) == [("green-1", False), ("red-1", False)]
    await store.update(Task, "red-1", lambda task: setattr(task, "team", "green"))
    page = await service.get(f"/tasks/_changes?since={page['next']}", X_Name="bob")
    assert [(item["name"], item["team"]) for item in page["items"]] == [("red-1", "green")]


async def test_a_team_that_is_joined_comes_page_by_page(service: Service, store: Store, teams: Teams) -> None:
    """Its documents have not changed; then come the changes since the token, and after that nothing."""
    await fill(store, "red-1", "green-1", "green-2", "green-3")
    since = (await service.get("/tasks/_changes", X_Name="alice"))["next"]
    await fill(store, "red-2")
    teams["alice"] = {"red", "green"}
    pages = []
    for _ in range(3):
        pages.append(await service.get(f"/tasks/_changes?since={since}&limit=2", X_Name="alice"))
        since = pages[-1]["next"]
    assert [told(page) for page in pages] == [
        [("green-1", False), ("green-2", False)],
        [("green-3", False)],
        [("red-2", False)],
    ]
    assert [page["more"] for page in pages] == [True, True, False]
    assert (await service.get(f"/tasks/_changes?since={since}", X_Name="alice"))["items"] == []


async def test_a_team_that_is_left_is_emptied(service: Service, store: Store, teams: Teams) -> None:
    """Also of what another team has got, or somebody has deleted, before the client asked again."""
    await fill(store, "red-1", "green-1", "green-2", "green-3", "blue-1")
    copy = Copy()
    since = await read(service, copy, "beginning", X_Name="bob")
    teams["bob"] = {"red"}
    await store.update(Task, "green-2", lambda task: setattr(task, "team", "blue"))
    await store.delete(Task, "green-3")
    told_of = set()
    page: dict[str, Any] = {"more": True}
    while page["more"]:
        page = await service.get(f"/tasks/_changes?since={since}&limit=2", X_Name="bob")
        told_of |= set(told(page))
        since = page["next"]
    assert told_of == {("green-1", True), ("green-2", True), ("green-3", True)}


async def test_what_a_filter_leaves_out_does_not_come(service: Service, store: Store, teams: Teams) -> None:
    """Neither with a team that is joined, nor with one that is left."""
    await fill(store, "red-1", "green-1")
    await store.create(Task(name="green-2", team="green", size=2))
    since = (await service.get("/tasks/_changes?size=2", X_Name="alice"))["next"]
    for mine, gone in ({"red", "green"}, False), ({"red"}, True):
        teams["alice"] = mine
        page = await service.get(f"/tasks/_changes?size=2&since={since}", X_Name="alice")
        assert told(page) == [("green-2", gone)]
        since = await read(service, Copy(), page["next"], "/tasks/_changes?size=2&", X_Name="alice")


async def test_teams_that_change_while_they_are_told(service: Service, store: Store, teams: Teams) -> None:
    """A team that is left before all of it has come is emptied; one that is joined again comes again."""
    await fill(store, *(f"{team}-{number}" for team in ("red", "green", "blue") for number in range(3)))
    copy = Copy()
    since = await read(service, copy, "beginning", X_Name="alice")
    for mine in ({"green", "blue"}, {"red", "blue"}, set(), {"red", "green", "blue"}, {"blue"}):
        teams["alice"] = mine
        page = await service.get(f"/tasks/_changes?since={since}&limit=2", X_Name="alice")
        for item in page["items"]:
            copy.apply(item)
        since = page["next"]
    await read(service, copy, since, X_Name="alice")
    assert copy.items == await service.everything("/tasks", X_Name="alice")
    assert len(copy.items) == 3


async def test_a_token_does_not_grow_without_bound(service: Service, store: Store, teams: Teams) -> None:
    """Of too many teams it only knows whether they are the same; if not, the client begins again."""
    teams["alice"] = {f"team {number}" for number in range(200)}
    since = (await service.get("/tasks/_changes", X_Name="alice"))["next"]
    assert len(since) < 2000
    await fill(store, "team 7-1")
    assert told(await service.get(f"/tasks/_changes?since={since}", X_Name="alice")) == [("team%207-1", False)]
    teams["alice"] |= {"red"}
    assert (await service.call(f"/tasks/_changes?since={since}", X_Name="alice"))[0] == 410


async def test_a_stream_that_resumes_tells_of_both(service: Service, store: Store, teams: Teams) -> None:
    """What came into sight and what went out of it while the client was away, and then what changed."""
    await fill(store, "red-1", "green-1")
    since = (await service.get("/tasks/_changes", X_Name="alice"))["next"]
    teams["alice"] = {"green"}
    await fill(store, "green-2")
    async with service.events("/tasks/_changes", X_Name="alice", Last_Event_ID=since) as events:
        found = {}
        while "green-2" not in found or len(found) < 3:
            event = await events.next()
            found[event.data["_href"].rpartition("/")[2]] = event.kind
        assert found == {"green-1": "change", "red-1": "gone", "green-2": "change"}


async def test_an_open_stream_notices(
    service: Service, store: Store, teams: Teams, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The policy is asked again, at each event and now and then; the stream ends, and the client comes back."""
    monkeypatch.setattr("tornado_couch.web.live.hub.HEARTBEAT", 0.05)
    monkeypatch.setattr("tornado_couch.web.live.follower.RECHECK", 0.05)
    await fill(store, "red-1", "green-1")
    copy = Copy(await service.everything("/tasks", X_Name="alice"))
    last = (await service.get("/tasks/_changes", X_Name="alice"))["next"]
    for mine in {"red", "green"}, {"green"}, {"red"}:
        async with service.events("/tasks/_changes", X_Name="alice", Last_Event_ID=last) as events:
            await events.until_joined()
            teams["alice"] = mine
            for event in await events.rest():
                copy.apply(event.data)
            last = events.last_id
        async with service.events("/tasks/_changes", X_Name="alice", Last_Event_ID=last) as events:
            async with asyncio.timeout(30):
                while copy.items != await service.everything("/tasks", X_Name="alice"):
                    copy.apply((await events.next()).data)
            last = events.last_id


async def test_a_document_of_a_lost_team_is_not_sent(service: Service, store: Store, teams: Teams) -> None:
    """Not even by a stream that was opened before: the policy is asked before each event."""
    async with service.events("/tasks/_changes", X_Name="alice") as events:
        await events.until_joined()
        teams["alice"] = set()
        await fill(store, "red-1")
        with pytest.raises(EOFError):
            await events.next()


async def test_slow_reading_misses_nothing(
    service: Service, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document that went through more teams than it notes is a reason to begin again, on every later page as well."""
    from datetime import timedelta

    monkeypatch.setattr("tornado_couch.web.live.tokens._SKEW", timedelta())
    await fill(store, "red-1")
    since = (await service.get("/tasks/_changes", X_Name="alice"))["next"]
    await fill(store, "red-2", "red-3")
    for number in range(20):
        await store.update(Task, "red-1", lambda task, team=f"team {number}": setattr(task, "team", team))
    status = 200
    for _ in range(4):
        status, page, _ = await service.call(f"/tasks/_changes?since={since}&limit=1", X_Name="alice")
        if status == 410:
            break
        since = page["next"]
    assert status == 410
