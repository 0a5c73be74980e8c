"""The changes of a collection as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest
from tornado.httputil import HTTPServerRequest

from tests.faults import Fault, FaultProxy, answer_status, hang_up, until
from tests.store.live.test_consumer import make
from tests.web.callers import ByHeader
from tests.web.live.service import Copy, Events, Service, serving
from tests.web.models import Fruit, Place, Stand
from tornado_couch import AllowAny, Couch, Database, Store, install, resource
from tornado_couch.store import Observed
from tornado_couch.telemetry.prometheus import Metrics
from tornado_couch.web import Authenticated, Hooks, Principal, Problem
from tornado_couch.web.live import Hubs, end_streams
from tornado_couch.web.live.follower import Follower
from tornado_couch.web.live.view import Known


async def test_a_change_comes_as_it_happens(service: Service) -> None:
    """As an item of a list has it; a deletion names the document."""
    async with service.events("/places/_changes") as events:
        await events.until_joined()
        here = await service.create("/places", {"name": "here"})
        event = await events.next()
        assert (event.kind, event.data) == ("change", (await service.everything("/places"))[here])
        await service.call(here, "DELETE")
        event = await events.next()
        assert (event.kind, event.data) == ("delete", {"_href": here, "_deleted": True})


async def test_headers(service: Service) -> None:
    """No cache and no proxy may hold the events back; HEAD has the same fields."""
    async with service.events("/places/_changes") as events:
        fields = events.reply.headers
        assert (fields["Cache-Control"], fields["X-Accel-Buffering"]) == ("no-store", "no")
        assert "Content-Encoding" not in fields
    status, _, reply = await service.call("/places/_changes", "HEAD", Accept="text/event-stream")
    assert (status, reply.headers["Content-Type"]) == (200, "text/event-stream")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/event-stream", "text/event-stream"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("application/json, text/event-stream;q=0.5", "application/json"),
    ],
)
async def test_accept_chooses(service: Service, accept: str, kind: str) -> None:
    """Only who asks for events gets them."""
    _, _, reply = await service.call("/places/_changes", "HEAD", Accept=accept)
    assert reply.headers["Content-Type"] == kind


@pytest.mark.parametrize("how", ["since", "Last-Event-ID"])
async def test_a_stream_resumes_without_a_gap(service: Service, how: str) -> None:
    """What changed while the client was away comes first, in the order of the changes."""
    async with service.events("/places/_changes") as events:
        await events.until_joined()
        await service.create("/places", {"name": "first"})
        last = (await events.next()).id
    for name in ("second", "third"):
        await service.create("/places", {"name": name})
    path = "/places/_changes" + (f"?since={last}" if how == "since" else "")
    headers = {"Last_Event_ID": last} if how != "since" else {}
    async with service.events(path, **headers) as events:
        assert [(await events.next()).data["name"] for _ in range(2)] == ["second", "third"]
        await service.create("/places", {"name": "fourth"})
        assert (await events.next()).data["name"] == "fourth"


async def test_a_client_that_is_cut_off_again_and_again(service: Service, store: Store) -> None:
    """It comes further each time, even if it gets no more than one event."""
    names = [f"p{number}" for number in range(5)]
    await store.create_many(Place, [Place(name=name) for name in names])
    found, last = [], {}
    for _ in names:
        async with service.events("/places/_changes?since=beginning", **last) as events:
            event = await events.next()
            found.append(event.data["name"])
            last = {"Last_Event_ID": event.id}
    assert sorted(found) == names


async def test_the_last_event_goes_before_since(service: Service) -> None:
    """A browser comes back with the address that it began with."""
    since = (await service.get("/places/_changes"))["next"]
    await service.create("/places", {"name": "seen"})
    last = (await service.get(f"/places/_changes?since={since}"))["next"]
    await service.create("/places", {"name": "new"})
    async with service.events(f"/places/_changes?since={since}", Last_Event_ID=last) as events:
        assert (await events.next()).data["name"] == "new"


async def test_a_stream_from_the_beginning(service: Service) -> None:
    """Everything that is there comes first."""
    await service.create("/places", {"name": "first"})
    async with service.events("/places/_changes?since=beginning") as events:
        assert (await events.next()).data["name"] == "first"


async def test_an_unusable_token_is_a_reset(service: Service) -> None:
    """EventSource would never come back after any other status than 200; the stream goes on from now."""
    async with service.events("/places/_changes", Last_Event_ID="forged") as events:
        event = await events.next()
        assert (event.kind, event.data) == ("reset", {"_href": "/places"})
        await events.until_joined()
        await service.create("/places", {"name": "new"})
        assert (await events.next()).data["name"] == "new"


async def test_filters_and_fields(service: Service) -> None:
    """A stream takes those of a list."""
    async with service.events("/fruits/_changes?color=red&fields=color") as events:
        await events.until_joined()
        await service.create("/fruits", {"color": "green"})
        red = await service.create("/fruits", {"color": "red"})
        event = await events.next()
        assert (event.data["_href"], event.data.keys()) == (red, {"_href", "_etag", "color"})
        await service.call(red, "PATCH", {"color": "blue"}, Content_Type="application/merge-patch+json")
        event = await events.next()
        assert (event.kind, event.data) == ("gone", {"_href": red, "_gone": True})


async def test_each_is_told_what_they_see(service: Service, store: Store) -> None:
    """Of three who follow, the old owner loses a document, the new one gains it, and an admin sees it change."""
    async with AsyncExitStack() as stack:
        streams: dict[str, Events] = {}
        for name, role in (("alice", ""), ("bob", ""), ("root", "admin")):
            headers = {"X_Name": name, "X_Role": role}
            streams[name] = await stack.enter_async_context(service.events("/stands/_changes", **headers))
            await streams[name].until_joined()
        here = await service.create("/stands", {"name": "one"}, X_Name="alice")
        assert [(await streams[name].next()).kind for name in ("alice", "root")] == ["change", "change"]
        await store.update(Stand, "one", lambda stand: setattr(stand, "owner", "bob"))
        told = {name: await events.next() for name, events in streams.items()}
        assert [event.kind for event in told.values()] == ["gone", "change", "change"]
        await service.call(here, "DELETE", X_Name="bob")
        assert {name: (await events.next()).kind for name, events in streams.items()} == {
            "alice": "gone",
            "bob": "delete",
            "root": "delete",
        }


class Ending(ByHeader):
    """An authenticator whose accounts end."""

    def __init__(self) -> None:
        self.ended: set[str] = set()

    async def authenticate(self, request: HTTPServerRequest) -> Principal | None:
        found = await super().authenticate(request)
        if found and found.name in self.ended:
            raise Problem(401)
        return found


async def test_an_account_that_ends_ends_its_stream(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a bounded time there is an event; a browser that comes back is told 204, not to come again."""
    monkeypatch.setattr("tornado_couch.web.live.hub.HEARTBEAT", 0.05)
    monkeypatch.setattr("tornado_couch.web.live.follower.RECHECK", 0.05)
    accounts = Ending()
    async with serving(resource("/places", Place, store, policy=Authenticated(accounts))) as service:
        async with service.events("/places/_changes", X_Name="bob") as events:
            await events.until_joined()
            last = events.last_id
            accounts.ended.add("bob")
            assert (await events.next()).kind == "end"
            with pytest.raises(EOFError):
                await events.next()
        accept = "text/event-stream"
        assert (await service.call("/places/_changes", X_Name="bob", Accept=accept, Last_Event_ID=last))[0] == 204
        assert (await service.call("/places/_changes", X_Name="bob", Accept=accept))[0] == 401


async def test_comments_keep_the_connection(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """They carry the place that was reached, so that a client which comes back need not read much."""
    monkeypatch.setattr("tornado_couch.web.live.hub.HEARTBEAT", 0.05)
    async with service.events("/places/_changes") as events:
        await events.until_joined()
        first = events.last_id
        await service.create("/fruits", {"color": "red"})
        async with asyncio.timeout(30):
            while events.comments < 3 or events.last_id == first:
                line = (await events.reply.content.readline()).decode()
                events.comments += line.startswith(":")
                events.last_id = line[4:].strip() if line.startswith("id: ") else events.last_id


async def test_stopping_ends_streams_cleanly(service: Service) -> None:
    """The answer ends as any answer does, so that the client comes back to another process."""
    async with service.events("/places/_changes") as events:
        await events.until_joined()
        end_streams(service.application)
        with pytest.raises(EOFError):
            await events.next()


async def test_stopping_ends_streams_that_have_not_joined(
    service: Service, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither one that is still being told what it missed, nor one that comes later, holds up the end."""
    joining = asyncio.Event()
    rows = store.live.rows

    async def slow(*arguments: Any) -> Any:
        joining.set()
        await asyncio.sleep(0.05)
        found, place, _ = await rows(*arguments)
        return found, place, True  # as if changes came faster than they can be told

    monkeypatch.setattr(store.live, "rows", slow)
    async with service.events("/places/_changes?since=beginning") as early:
        await joining.wait()
        end_streams(service.application)
        async with service.events("/places/_changes?since=beginning") as late:
            assert await early.rest() == await late.rest() == []


async def test_an_authenticator_that_hangs_holds_up_nobody_else(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others get their comments, and their events."""
    monkeypatch.setattr("tornado_couch.web.live.hub.HEARTBEAT", 0.05)
    monkeypatch.setattr("tornado_couch.web.live.follower.RECHECK", 0.05)
    asked = asyncio.Event()

    class Hanging(ByHeader):
        async def authenticate(self, request: HTTPServerRequest) -> Principal | None:
            if Hubs.of(service.application).streams:
                asked.set()
                await asyncio.Event().wait()
            return await super().authenticate(request)

    routes = resource("/places", Place, store, policy=Authenticated(Hanging()))
    async with serving(routes) as service, service.events("/places/_changes", X_Name="bob") as events:
        await events.until_joined()
        await asked.wait()
        async with asyncio.timeout(30):
            while events.comments < 3:
                events.comments += (await events.reply.content.readline()).startswith(b":")
        await store.create(Place(name="one"))
        assert (await events.next()).data["name"] == "one"


def test_what_comes_while_a_client_joins_takes_little_memory() -> None:
    """Of a client that does not read what it missed, no more is kept than of any other; the rest is read again."""
    sent: list[bytes] = []
    stream: Any = SimpleNamespace(is_open=True, send=lambda text: sent.append(text) or True)
    part: Any = SimpleNamespace(view="", bearer="", name="")
    follower = Follower(stream, part, part, part, known=Known(), since="", shape="")
    follower.hold()
    for number in range(1000):
        observed = Observed(f"place:{number}", number, {"_id": f"place:{number}", "_rev": "1-a"})
        follower.deliver(b"x" * 10_000, observed, 1.0)
    again = follower.release()
    assert sum(map(len, sent)) <= 256 * 1024
    assert [each.id for each in again] == [f"place:{number}" for number in range(len(sent), 1000)]


async def test_a_client_that_leaves_is_forgotten(service: Service) -> None:
    """With the last one the service stops following."""
    async with service.events("/places/_changes") as events:
        await events.until_joined()
        assert Hubs.of(service.application).streams == 1
        events.reply.close()
    await until(lambda: Hubs.of(service.application).streams == 0)


async def test_a_caller_has_a_limited_number_of_streams(store: Store) -> None:
    """With the setting `max_streams`; another caller has as many, and one that is closed makes room."""
    routes = resource("/places", Place, store, policy=Authenticated(ByHeader()))
    async with serving(routes, max_streams=2) as service, AsyncExitStack() as stack:
        accept = {"Accept": "text/event-stream"}
        streams = [await stack.enter_async_context(service.events("/places/_changes", X_Name="bob")) for _ in range(2)]
        for each in streams:
            await each.until_joined()
        status, problem, _ = await service.call("/places/_changes", X_Name="bob", **accept)
        assert (status, problem["type"].rpartition(":")[2]) == (429, "too-many-streams")
        await service.get("/places/_changes", X_Name="bob")
        async with service.events("/places/_changes", X_Name="alice") as other:
            await other.until_joined()
        streams[0].reply.close()
        await until(lambda: Hubs.of(service.application).streams == 1)
        async with service.events("/places/_changes", X_Name="bob") as events:
            await events.until_joined()


async def test_the_metrics_say_how_many_streams_are_open(store: Store) -> None:
    """From when they begin until the client has left."""
    metrics = Metrics()

    async def says(count: int) -> bool:
        _, text = await metrics.expose({})
        return f'tornado_couch_streams{{kind="place"}} {count}.0' in text.decode()

    async with serving(resource("/places", Place, store), policy=AllowAny(), observers=[metrics]) as service:
        async with service.events("/places/_changes") as events:
            await events.until_joined()
            assert await says(1)
            events.reply.close()
        await until(lambda: says(0))


async def test_a_client_that_does_not_read_is_dropped(service: Service, store: Store) -> None:
    """What it has not read is not kept for it: it is told to begin anew. Others get their events all the same."""
    async with service.events("/fruits/_changes") as slow, service.events("/fruits/_changes") as quick:
        await slow.until_joined()
        await quick.until_joined()
        text = "x" * 200_000
        for number in range(100):
            await store.create(Fruit(color=f"{number} {text}"))
            assert (await quick.next()).data["color"].startswith(f"{number} ")
        told = 0
        while (event := await slow.next()).kind == "change":
            told += 1
        assert (event.kind, event.data) == ("reset", {"_href": "/fruits"})
        assert told < 100
        with pytest.raises(EOFError):
            await slow.next()


class TestTickets:
    """A ticket stands for credentials where none can be sent."""

    @pytest.fixture
    async def service(self, store: Store) -> AsyncIterator[Service]:
        class Bearing(ByHeader):
            async def authenticate(self, request: HTTPServerRequest) -> Principal | None:
                name = request.headers.get("Authorization", "").removeprefix("Bearer ")
                return Principal(name) if name else None

        async with serving(resource("/places", Place, store, policy=Authenticated(Bearing()))) as running:
            yield running

    async def test_a_ticket_opens_a_stream(self, service: Service, caplog: pytest.LogCaptureFixture) -> None:
        """The address of the answer is all that EventSource needs; the ticket is in no log."""
        address = "/places/_changes/tickets?fields=name"
        status, ticket, _ = await service.call(address, "POST", Authorization="Bearer bob")
        assert status == 200
        assert (await service.call("/places/_changes"))[0] == 401
        with caplog.at_level("INFO", logger="tornado.access"):
            async with service.events(ticket["_href"]) as events:
                await events.until_joined()
                end_streams(service.application)
            await until(lambda: "_changes?fields=name" in caplog.text)
        assert ticket["_href"].partition("ticket=")[2] not in caplog.text

    async def test_a_ticket_is_for_one_address(self, service: Service) -> None:
        """With another query it is refused."""
        _, ticket, _ = await service.call("/places/_changes/tickets?fields=name", "POST", Authorization="Bearer bob")
        other = ticket["_href"].replace("fields=name", "fields=size")
        assert (await service.call(other, Accept="text/event-stream"))[0] == 401

    async def test_a_ticket_is_short_lived_but_good_for_coming_back(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """After a minute only a client that has had an event can use it."""
        from datetime import timedelta

        _, ticket, _ = await service.call("/places/_changes/tickets", "POST", Authorization="Bearer bob")
        async with service.events(ticket["_href"]) as events:
            await events.until_joined()
            last = events.last_id
        monkeypatch.setattr("tornado_couch.web.live.tickets._GOOD_FOR", timedelta(seconds=-1))
        assert (await service.call(ticket["_href"], Accept="text/event-stream"))[0] == 401
        async with service.events(ticket["_href"], Last_Event_ID=last) as events:
            await events.until_joined()

    async def test_an_old_ticket_needs_a_token_of_its_own_stream(
        self, service: Service, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever finds it in the log of a proxy does not bring it to life with tokens of theirs."""
        from datetime import timedelta

        hrefs, tokens = {}, []
        for name in ("bob", "eve"):
            _, ticket, _ = await service.call("/places/_changes/tickets", "POST", Authorization=f"Bearer {name}")
            hrefs[name] = ticket["_href"]
        tokens.append((await service.get("/places/_changes", Authorization="Bearer eve"))["next"])
        async with service.events(hrefs["eve"]) as events:
            await events.until_joined()
            tokens.append(events.last_id)
        monkeypatch.setattr("tornado_couch.web.live.tickets._GOOD_FOR", timedelta(seconds=-1))
        for token in tokens:
            assert (await service.call(hrefs["bob"], Last_Event_ID=token))[0] == 401

    async def test_a_ticket_is_in_no_log_however_it_is_spelt(
        self, service: Service, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its name can have escapes, too."""
        with caplog.at_level("INFO", logger="tornado.access"):
            await service.call("/places/_changes?%74icket=secret-ticket")
        assert "_changes" in caplog.text
        assert "secret-ticket" not in caplog.text

    async def test_only_who_may_list_gets_one(self, service: Service) -> None:
        """Without credentials there is nothing that a ticket could stand for."""
        assert (await service.call("/places/_changes/tickets", "POST"))[0] == 401


async def test_an_outage_of_the_database_is_no_gap(proxy: FaultProxy, database: Database) -> None:
    """Connections that break and answers that fail are tried again from where the feed was."""
    await install(database.server, database.name, [Place])
    writer = Store(database)
    async with Couch(proxy.url) as couch:
        store = Store(couch[database.name])
        routes, copy = resource("/places", Place, store), Copy()
        async with serving(routes, policy=AllowAny()) as service, service.events("/places/_changes") as events:
            await events.until_joined()
            for round_ in range(6):
                proxy.faults.append(Fault(hang_up if round_ % 2 else answer_status(503), path="_changes"))
                for number in range(3):
                    await writer.create(Place(name=f"p{round_}-{number}"))
                while len(copy.items) < 3 * round_ + 3:
                    copy.apply((await events.next()).data)
            assert copy.items == await service.everything("/places")
        await store.close()


async def test_a_database_that_is_made_anew_is_followed(service: Service, store: Store, couch: Couch) -> None:
    """Everybody is told to begin again, and can; a client that does not read keeps nobody from that."""
    async with service.events("/fruits/_changes"):  # nobody reads it
        async with service.events("/fruits/_changes") as events:
            await events.until_joined()
            text = "x" * 200_000
            while not any(each.stream.is_busy for each in Hubs.of(service.application).followers):
                await store.create_many(Fruit, [Fruit(color=f"{number} {text}") for number in range(10)])
                for _ in range(10):
                    await events.next()
            await couch.delete_database(store.database.name)
            assert [event.kind for event in await events.rest()] == ["reset"]
            await make(couch, store.database.name)
            await install(couch, store.database.name, [Fruit])
        async with service.events("/fruits/_changes") as events:
            await events.until_joined()
            await store.create(Fruit(color="red"))
            assert (await events.next()).data["color"] == "red"


async def test_a_database_made_anew_at_once_is_noticed(service: Service, store: Store, couch: Couch) -> None:
    """Its feed would go on from where the first one was; those who follow are told to begin again."""
    name = store.database.name
    async with service.events("/fruits/_changes") as events:
        await events.until_joined()
        made = (await store.database.info())["instance_start_time"]
        while (await store.database.info())["instance_start_time"] == made:  # whole seconds
            await couch.delete_database(name)
            await make(couch, name)
        await install(couch, name, [Fruit])
        assert [event.kind for event in await events.rest()] == ["reset"]


async def test_what_cannot_be_shown_to_one_does_not_hold_up_the_others(store: Store) -> None:
    """A hook that fails for one client's event ends that client's stream alone: it is told to read everything anew."""

    class Failing(Hooks):
        async def after(self, event: Any, model: Any, shown: dict[str, Any] | None) -> None:
            if event.principal.name == "bob":
                raise RuntimeError("no")

    routes = resource("/places", Place, store, policy=Authenticated(ByHeader()), hooks=Failing())
    async with (
        serving(routes) as service,
        service.events("/places/_changes", X_Name="bob") as bob,
        service.events("/places/_changes", X_Name="alice") as alice,
    ):
        await bob.until_joined()
        await alice.until_joined()
        await store.create(Place(name="one"))
        assert (await alice.next()).data["name"] == "one"
        assert (await bob.next()).kind == "reset"
        with pytest.raises(EOFError):
            await bob.next()


async def test_many_changes_at_once(service: Service, store: Store) -> None:
    """However many there are, and however slowly they are told, each reaches those who follow."""
    async with service.events("/places/_changes?fields=name") as events:
        await events.until_joined()
        for start in range(0, 3000, 1000):
            await store.create_many(Place, [Place(name=f"p{start + number}") for number in range(1000)])
        names = {(await events.next()).data["name"] for _ in range(3000)}
        assert len(names) == 3000
