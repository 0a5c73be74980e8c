"""docs/operating.md says what is so: its tables, its settings file, its service."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.faults import until
from tornado_couch import Database, install
from tornado_couch.service.configuration import Configuration, Sources
from tornado_couch.store import ReadinessCheck
from tornado_couch.telemetry.prometheus import Metrics

PAGE = (Path(__file__).parents[1] / "docs" / "operating.md").read_text()


def block(language: str, number: int = 0) -> str:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)[number]


def service(folder: Path) -> Any:
    """The page's service, as the module that it says it is."""
    (folder / "orchard.py").write_text(block("python"))
    names: dict[str, Any] = {"__name__": "orchard"}
    exec(compile(block("python"), "orchard.py", "exec", dont_inherit=True), names)
    return names


def test_every_setting_is_in_the_table_with_its_default() -> None:
    """And no other."""
    table = PAGE[PAGE.index("| Setting |") : PAGE.index("## Health")]
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", table, re.MULTILINE))
    found = Configuration.model_construct().model_dump(mode="json")
    assert {name: json.loads(text) for name, text in rows.items()} == found


def test_the_settings_file_is_one(tmp_path: Path) -> None:
    """Of the page's own class."""
    file = tmp_path / "orchard.toml"
    file.write_text(block("toml"))
    found = Sources(file).read(service(tmp_path)["Settings"])
    assert (found.greeting, found.processes, len(found.url)) == ("welcome", 4, 2)


async def test_every_metric_is_in_the_table_with_its_labels() -> None:
    """Those that are gathered and those of the database; and no other."""
    table = PAGE[PAGE.index("| Metric ") : PAGE.index("## Traces")]
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|([^|]*)\|[^|]*\|$", table, re.MULTILINE)
    told = {
        name: set(re.findall(r"`(\w+)`", labels)) for names, labels in rows for name in re.findall(r"`(\w+)`", names)
    }
    told["view_fragmentation_ratio"] -= {"size"}
    metrics = Metrics()
    _, text = await metrics.expose({})
    names = {family.name for family in text_string_to_metric_families(text.decode())}
    ours = {name.removeprefix("tornado_couch_") for name in names if name.startswith("tornado_couch_")}
    ours -= {name for name in ours if name.endswith("_created")}
    assert {name.removesuffix("_total") for name in told} == ours
    labels = {
        collector._name.removeprefix("tornado_couch_"): set(collector._labelnames)
        for collector in metrics.registry._collector_to_names
        if hasattr(collector, "_labelnames")
    }
    assert {name: told.get(name, told.get(f"{name}_total")) for name in labels} == labels


def test_what_the_page_says_of_readiness_is_its_default() -> None:
    """The numbers in its sentences."""
    assert f"({ReadinessCheck(None)._max_pending:,}) changes" in PAGE  # type: ignore[arg-type]
    assert f"`timeout` ({ReadinessCheck(None)._timeout:g} seconds)" in PAGE  # type: ignore[arg-type]


async def test_the_service_of_the_page_runs_and_has_the_paths_that_kubernetes_asks(
    tmp_path: Path, server_url: str, database: Database
) -> None:
    """By the command that the page says, over a real CouchDB too."""
    paths = set(re.findall(r"path: (/\S+?),", PAGE))
    assert paths == {"/v1.0/_live", "/v1.0/_ready"}
    names = service(tmp_path)
    await install(database.server, database.name, [names["Fruit"]])  # type: ignore[arg-type]
    environment = {**os.environ, "TORNADO_COUCH_URL": server_url, "TORNADO_COUCH_DATABASE": database.name}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "tornado_couch", "serve", "orchard:make_app", "--port", "0"),
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        url = re.search(r"http://\S+", (await process.stderr.readline()).decode())
        assert url is not None
        async with aiohttp.ClientSession() as session:
            for known in (*paths, "/v1.0/fruits", "/v1.0/_metrics", "/metrics"):
                await until(lambda known=known: answered(session, url[0] + known))  # type: ignore[misc]
        process.send_signal(signal.SIGTERM)
        await process.stderr.read()
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def answered(session: aiohttp.ClientSession, url: str) -> bool:
    async with session.get(url) as reply:
        return reply.status == 200
