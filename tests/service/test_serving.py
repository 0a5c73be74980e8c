"""Real processes: started, killed, replaced and stopped under load."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import time
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
import trustme
from prometheus_client.parser import text_string_to_metric_families

from tests.faults import until
from tests.service.service import Fruit
from tests.service.serving import Load, Service, exchange, served
from tornado_couch import Database, Store, install


@pytest.mark.parametrize(
    ("processes", "event_loop", "http_server"),
    [(1, "asyncio", "httptools"), (2, "asyncio", "tornado"), (1, "uvloop", "tornado"), (2, "uvloop", "httptools")],
)
async def test_sigterm_under_load_loses_no_request(
    processes: int, event_loop: str, http_server: str, tmp_path: Path
) -> None:
    """Every request that the service took is answered; it ends with status 0, long before its deadline."""
    journal = tmp_path / "journal"
    settings = ["--set", f"journal={journal}", "--set", "stop_seconds=15", "--set", f"event_loop={event_loop}"]
    settings += ["--set", f"http_server={http_server}"]
    async with served("make_app", *settings, processes=processes) as service:
        load = Load(service.port, clients=16)
        await until(lambda: load.counts["answered"] > 200)
        assert (await service.ask("/echo"))[2]["event_loop"] == event_loop
        began = time.monotonic()
        service.signal(signal.SIGTERM)
        assert await service.ended() == 0
        assert time.monotonic() - began < 10
        await load.stop()
    assert load.counts["lost"] == 0
    assert load.counts["refused"] > 0
    assert len(load.pids) == processes
    made = journal.read_text().split()
    assert made.count("made") == made.count("closed") == processes
    assert service.log.count("all requests answered") == processes


async def test_a_killed_worker_is_replaced_under_load() -> None:
    """kill -9: its requests are lost with it, and from then on none; a new process does its share."""
    async with served("make_app", processes=2) as service:
        load = Load(service.port)
        await until(lambda: len(load.pids) == 2)
        before = set(load.pids)
        victim = min(before)
        killed = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        await until(lambda: set(load.pids) - before)
        keys = {(await service.ask("/echo"))[2]["cursor_key"] for _ in range(20)}
        assert len(keys) == 1  # what clients carry from one process to the other is good in all
        answered, deadline = load.counts["answered"], time.monotonic()
        await until(lambda: load.counts["answered"] > answered + 200)
        await load.stop()
        # Every process tells of all requests, those of the one that was killed too.
        for _ in range(5):
            await until(lambda: nothing_else_is_under_way(service))
            counted = requests_counted((await service.ask("/metrics"))[2])
            assert load.counts["answered"] <= counted["/echo"] <= load.counts["answered"] + load.counts["lost"] + 20
        assert [when for when in load.lost_at if not killed <= when <= deadline] == []
        assert load.counts["lost"] <= 8
        assert load.counts["refused"] == 0
        assert f"process {victim} was killed by SIGKILL" in service.log
        service.signal(signal.SIGTERM)
        assert await service.ended() == 0


async def nothing_else_is_under_way(service: Service) -> bool:
    """Than the question itself; an answer is there before the process that gave it has counted it as given."""
    return requests_counted((await service.ask("/metrics"))[2])["in flight"] == 1


def requests_counted(text: bytes) -> dict[str, float]:
    """How many requests prometheus-client's parser finds, by route, and how many are under way."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            if sample.name == "tornado_couch_request_seconds_count":
                found[sample.labels["resource"]] = found.get(sample.labels["resource"], 0) + sample.value
            elif sample.name == "tornado_couch_requests_in_flight":
                found["in flight"] = sample.value
    return found


async def test_sighup_replaces_every_process_and_nobody_notices(tmp_path: Path) -> None:
    """One after the other, with the configuration as it is then; no request is lost, and none refused."""
    config = tmp_path / "orchard.toml"
    config.write_text('greeting = "before"\n')
    async with served("make_app", "--config", str(config), processes=2) as service:
        load = Load(service.port)
        await until(lambda: len(load.pids) == 2)
        old = set(load.pids)
        assert (await service.ask("/echo"))[2]["greeting"] == "before"
        config.write_text('greeting = "after"\n')
        service.signal(signal.SIGHUP)
        await until(lambda: len(set(load.pids) - old) == 2 and service.log.count("all requests answered") == 2)
        assert (await service.ask("/echo"))[2]["greeting"] == "after"
        config.write_text("nonsense = 1\n")
        service.signal(signal.SIGHUP)
        await until(lambda: "keeping the old processes" in service.log)
        assert (await service.ask("/echo"))[2]["greeting"] == "after"
        await load.stop()
        assert load.counts["lost"] == load.counts["refused"] == 0


async def test_what_is_under_way_is_answered_and_connections_end(tmp_path: Path) -> None:
    """A slow request gets its answer; later ones on open connections do too, and are told that it is the last."""
    async with served("make_app") as service:
        connections = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(3)]
        slow, kept, idle = connections
        assert (await exchange(*kept, "/echo"))[1].get("connection") is None
        await exchange(*idle, "/echo")
        waiting = asyncio.create_task(exchange(*slow, "/echo?seconds=1.5"))
        await asyncio.sleep(0.2)  # until it is there: nothing shows that
        service.signal(signal.SIGTERM)

        async def the_last() -> bool:
            status, headers, _ = await exchange(*kept, "/echo")
            assert status == 200
            return headers.get("connection") == "close"

        await until(the_last)
        assert (await waiting)[0] == 200
        assert await idle[0].read() == b""
        assert await service.ended() == 0
        for _, writer in connections:
            writer.close()


async def refused(port: int) -> bool:
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 3)
    except (TimeoutError, OSError):
        return True
    writer.close()
    return False


async def test_what_takes_too_long_is_cut_off_at_the_deadline() -> None:
    """The exit status says so."""
    async with served("make_app", "--set", "stop_seconds=0.5", processes=2) as service:
        slow = asyncio.create_task(service.ask("/echo?seconds=60"))
        await asyncio.sleep(0.3)
        service.signal(signal.SIGTERM)
        assert await service.ended(10) == 1
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await slow
        assert "1 requests were cut off" in service.log


async def test_load_balancers_are_told_before_the_end_unless_it_is_urgent() -> None:
    """For the time that it takes them it is not ready, and serves on; a second signal (Ctrl-C twice) ends it."""
    async with served("make_app", "--set", "drain_seconds=600") as service:
        slow = asyncio.create_task(service.ask("/echo?seconds=60"))
        service.signal(signal.SIGINT)

        async def red() -> bool:
            return (await service.ask("/_ready"))[0] == 503

        await until(red)
        assert (await service.ask("/_live"))[0] == 200
        assert (await service.ask("/echo"))[0] == 200
        service.signal(signal.SIGINT)
        assert await service.ended(10) == 1
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await slow


async def test_addresses_are_logged_only_on_demand() -> None:
    """They hold what clients ask for."""
    for options, logged in (((), False), (("--set", "access_log=true"), True)):
        async with served("plain", *options) as service:
            await service.ask("/echo?token=private")
            service.signal(signal.SIGTERM)
            assert await service.ended() == 0
            assert ("private" in service.log) is logged


async def test_workers_end_with_their_parent() -> None:
    """Also when it is killed, so that nobody keeps the port."""
    async with served("make_app", processes=2) as service:
        service.signal(signal.SIGKILL)
        await service.ended()
        await until(lambda: refused(service.port))


async def test_a_worker_that_ends_by_itself_is_replaced() -> None:
    """Again and again."""
    async with served("make_app", processes=2) as service:
        for count in (1, 2):
            with pytest.raises((OSError, asyncio.IncompleteReadError)):
                await service.ask("/end")
            await until(lambda count=count: service.log.count(" is serving") == 2 + count)  # type: ignore[misc]
        assert service.log.count("ended with status 3") == 2
        service.signal(signal.SIGTERM)
        assert await service.ended() == 0


async def test_what_can_never_work_ends_at_once() -> None:
    """And not in a circle of new processes."""
    async with served("broken", processes=2) as service:
        assert await service.ended() == 1
        assert "RuntimeError: broken at the start" in service.log


async def test_a_signal_while_it_starts_ends_it(tmp_path: Path) -> None:
    """There is nothing to answer yet."""
    journal = tmp_path / "journal"
    options = ("--set", f"journal={journal}", "--set", "start_pause=60")
    async with served("make_app", *options, wait=journal.exists) as service:
        service.signal(signal.SIGTERM)
        assert await service.ended() == 0
        assert "is serving" not in service.log


async def test_every_write_that_was_acknowledged_is_stored_once(server_url: str, database: Database) -> None:
    """kill -9 of a worker and then SIGTERM in the midst of writes, to the embedded CouchDB and to a real one.

    What fails with the killed worker may be stored or not; after that no write fails.
    """
    await install(database.server, database.name, [Fruit])  # type: ignore[arg-type]
    created: list[str] = []
    lost = Counter[str]()
    phase = "before"

    async def write(session: aiohttp.ClientSession, url: str) -> None:
        while True:
            try:
                async with session.post(f"{url}/fruits", json={"color": "red"}) as reply:
                    assert reply.status == 201, await reply.text()
                    created.append((await reply.json())["fruit_id"])
            except aiohttp.ClientConnectorError:
                return
            except aiohttp.ClientError:
                lost[phase] += 1

    environment = {"TORNADO_COUCH_URL": server_url, "TORNADO_COUCH_DATABASE": database.name}
    async with (
        served("make_app", processes=2, **environment) as service,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
    ):
        writers = [asyncio.create_task(write(session, service.url)) for _ in range(8)]
        await until(lambda: len(created) > 50)
        phase = "killed"
        os.kill((await service.ask("/echo"))[2]["pid"], signal.SIGKILL)
        await until(lambda: service.log.count(" is serving") == 3)
        phase = "after"
        known = len(created)
        await until(lambda: len(created) > known + 50)
        service.signal(signal.SIGTERM)
        assert await service.ended() == 0
        await asyncio.gather(*writers)
    assert lost["before"] == lost["after"] == 0
    assert lost["killed"] <= 8
    stored = {row.id for row in (await database.all_docs()).rows if not (row.id or "").startswith("_design/")}
    assert len(created) == len(set(created))
    assert set(created) <= stored
    assert len(stored) - len(created) <= lost["killed"]


@pytest.mark.parametrize("http_server", ["httptools", "tornado"])
async def test_a_certificate_is_read_again_at_sighup(http_server: str, tmp_path: Path) -> None:
    """Connections that are open go on; a certificate that cannot be read changes nothing."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"

    def issue() -> ssl.SSLContext:
        authority, trusting = trustme.CA(), ssl.create_default_context()
        made = authority.issue_cert("127.0.0.1")
        made.cert_chain_pems[0].write_to_path(certificate)
        made.private_key_pem.write_to_path(key)
        authority.configure_trust(trusting)
        return trusting

    first = issue()
    options = "--certificate", str(certificate), "--key", str(key), "--set", f"http_server={http_server}"
    async with served("plain", *options) as service, asyncio.timeout(30):
        assert service.url.startswith("https://")
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port, ssl=first)
        second = issue()
        service.signal(signal.SIGHUP)
        await until(lambda: "uses the certificate as it is now" in service.log)
        certificate.write_text("nonsense")
        service.signal(signal.SIGHUP)
        await until(lambda: "keeping the old certificate" in service.log)
        other, other_writer = await asyncio.open_connection("127.0.0.1", service.port, ssl=second)
        for streams in ((reader, writer), (other, other_writer)):
            status, _, found = await exchange(*streams, "/echo")
            assert (status, found["protocol"]) == (200, "https")
            streams[1].close()
        service.signal(signal.SIGTERM)
        assert await service.ended() == 0


async def test_consumers_start_and_stop_with_the_service(server_url: str, database: Database, tmp_path: Path) -> None:
    """One process works, and its end is clean: it comes before the application's own, and the lease is free."""
    await install(database.server, database.name, [Fruit])  # type: ignore[arg-type]
    journal, store = tmp_path / "journal", Store(database)
    settings = [f"journal={journal}", "consume=true", f"url={server_url}", f"database={database.name}"]
    await store.create(Fruit(color="red"))
    async with served("make_app", *[part for each in settings for part in ("--set", each)], processes=2) as service:
        await until(lambda: "eats red" in journal.read_text())
        text = (await service.ask("/metrics"))[2].decode()
        assert 'tornado_couch_consumer_lag_seconds{consumer="fruits"}' in text
        service.signal(signal.SIGTERM)
        assert await service.ended() == 0
    lines = [each.split(maxsplit=1)[1] for each in journal.read_text().splitlines()]
    assert lines.count("eats red") == 1
    assert lines.count("closed") == 2
    lease = await database.get("_local/tornado_couch_lease_consumer_fruits_0_of_1")
    assert lease["owner"] is None
