"""The load generator: what it asks of a real service, and what it says of the answers."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from tests.faults import Call, FaultServer, answer
from tests.web.conftest import Client, application, ask, serve, store
from tornado_couch.cli.main import main
from tornado_couch.maintain.load import Load, LoadFailed, Measured, run_load

__all__ = ["application", "ask", "serve", "store"]

FRUITS = [{"color": "red"}, {"color": "blue"}]


async def command(*arguments: str) -> Result:
    """Run the command beside the service."""
    return await asyncio.to_thread(CliRunner().invoke, main, ["load", *arguments])


async def test_a_closed_loop_asks_in_the_given_mix(ask: Client) -> None:
    """Every request is counted under its method, and nothing of the load's own is left behind."""
    load = Load(f"{ask.url}/fruits", FRUITS, mix=(60, 30, 10), seconds=0.4, connections=4, documents=3, seed=1)
    told: list[int] = []
    result = await run_load(load, told.append)
    methods = result["methods"]
    assert set(methods) == {"GET", "PUT", "POST"}
    assert sum(each["requests"] for each in methods.values()) == result["total"]["requests"] == sum(told)
    assert result["total"]["failures"] == 0
    assert methods["POST"]["statuses"].keys() == {"201"}
    left = (await ask("GET", "/fruits?count=true")).json["total"]
    assert left == methods["POST"]["requests"]  # what was only made to be read is gone
    assert sum(each["requests"] for each in result["by_second"]) == result["total"]["requests"]


async def test_an_open_loop_sends_what_is_due(ask: Client) -> None:
    """The rate times the seconds, neither more nor less, however fast the service is."""
    result = await run_load(Load(f"{ask.url}/fruits", FRUITS, seconds=0.5, rate=80, documents=2))
    assert result["total"]["requests"] == 40


async def test_a_service_that_stands_still_cannot_hide_it() -> None:
    """With a rate the latency counts from when a request was due, waiting for a connection included."""
    release = asyncio.Event()
    seen = 0

    async def behave(call: Call) -> None:
        nonlocal seen
        if call.request.method == "GET":
            seen += 1
            if seen == 1:
                await release.wait()
        await answer(201, {}, Location="/fruits/1f")(call)

    async with FaultServer(behave) as server:
        load = Load(f"{server.url}/fruits", FRUITS, mix=(1, 0, 0), seconds=0.2, rate=50, connections=1, documents=1)
        running = asyncio.create_task(run_load(load))
        await asyncio.sleep(0.5)
        release.set()
        result = await running
    # All ten were due within 0.2 seconds, and none was answered before half a second had passed.
    assert result["total"]["requests"] == 10
    assert result["total"]["milliseconds"]["p50"] > 250


async def test_conflicts_are_counted_and_are_no_failures(ask: Client) -> None:
    """Guarded writers on one document meet 412, which the service is right to answer."""
    load = Load(f"{ask.url}/fruits", FRUITS, mix=(0, 1, 0), seconds=0.4, connections=8, documents=1, guarded=True)
    found = (await run_load(load))["methods"]["PUT"]
    assert found["conflicts"] == found["statuses"]["412"] > 0
    assert found["failures"] == 0


async def test_failures_are_counted_and_told_by_the_exit_status() -> None:
    """5xx, and no answer at all, end the command with 1, the numbers printed all the same."""
    counted: Counter[str] = Counter()

    async def behave(call: Call) -> None:
        counted[call.request.method] += 1
        status = 503 if call.request.method == "GET" else 201
        await answer(status, {}, Location="/fruits/1f")(call)

    async with FaultServer(behave) as server:
        reads = ("--put", "0", "--seconds", "0.2", "--documents", "2", "--connections", "2")
        result = await command(f"{server.url}/fruits", *reads, "--json")
    assert result.exit_code == 1
    total = json.loads(result.stdout)["total"]
    assert total["failures"] == total["statuses"]["503"] == counted["GET"]
    assert (counted["POST"], counted["DELETE"]) == (2, 2)


async def test_headers_reach_the_service_and_no_output(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials come from the environment, and are not part of what is printed or written."""
    monkeypatch.setenv("ORCHARD_TOKEN", "Bearer secret-token")
    output = tmp_path / "load.json"
    async with FaultServer(answer(201, {}, Location="/fruits/1f")) as server:
        result = await command(
            f"{server.url}/fruits",
            *("--seconds", "0.1", "--documents", "1", "--output", str(output), "--json"),
            *("--header", "X-Tenant: orchard", "--header-env", "Authorization:ORCHARD_TOKEN"),
        )
        sent = server.requests[0].headers
    assert result.exit_code == 0, result.output
    assert (sent["authorization"], sent["x-tenant"]) == ("Bearer secret-token", "orchard")
    assert "secret-token" not in result.output + output.read_text()
    assert json.loads(output.read_text()) == json.loads(result.stdout)


async def test_the_table_and_the_plot(ask: Client, tmp_path: Path) -> None:
    """A line for each method and the total; the plot is an SVG."""
    plot = tmp_path / "load.svg"
    result = await command(f"{ask.url}/fruits", "--seconds", "0.2", "--documents", "2", "--plot", str(plot))
    assert result.exit_code == 0, result.output
    assert [line.split()[0] for line in result.output.splitlines()[1:4]] == ["GET", "PUT", "total"]
    assert "<svg" in plot.read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--connections", "0"],
        ["--seconds", "-1"],
        ["--rate", "0.0"],
        ["--documents", "0"],
        ["--get", "0", "--put", "0"],
        ["--put", "-1"],
        ["--body", "{"],
        ["--body", "@/nothing/there"],
        ["--header", "no colon"],
        ["--header", "X: y\r\nZ: z"],
        ["--header-env", "Authorization:NOT_SET_ANYWHERE"],
    ],
)
async def test_wrong_usage(arguments: list[str]) -> None:
    """It is said in a line before anything is sent."""
    async with FaultServer(answer(200)) as server:
        result = await command(f"{server.url}/fruits", *arguments)
        assert server.requests == []
    assert result.exit_code == 2
    assert "Traceback" not in result.output


async def test_what_is_no_url_is_wrong_usage() -> None:
    """Neither is a path, nor another scheme."""
    for url in ("/fruits", "ftp://x/fruits"):
        assert (await command(url)).exit_code == 2


async def test_a_service_that_does_not_take_the_documents_is_told(ask: Client) -> None:
    """The answer is shown, since it says what the body should be."""
    with pytest.raises(LoadFailed, match=r"answered 422; pass a valid document with --body.*There is no such property"):
        await run_load(Load(f"{ask.url}/fruits", [{"colour": "red"}]))
    with pytest.raises(LoadFailed, match="answered 404; name the URL of a collection"):
        await run_load(Load(f"{ask.url}/vegetables", [{"color": "red"}]))
    gone = await command("http://127.0.0.1:1/fruits", "--seconds", "0.1")
    assert gone.exit_code == 2
    assert "cannot be reached" in gone.output


@given(st.lists(st.floats(0, 10), min_size=1))
def test_percentiles_are_ordered_and_of_the_sample(sample: list[float]) -> None:
    """Each is a latency that was seen, and none is less than a lower one or more than the greatest."""
    measured = Measured()
    measured.seconds.extend(sample)
    found: dict[str, Any] = measured.as_dict(1.0)["milliseconds"]
    values = [*found.values()]
    assert values == sorted(values)
    assert set(values) <= {round(each * 1000, 3) for each in sample}
