"""What is under deploy/ fits together, and fits the commands and paths that there are."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from example_app.app import make_app
from tornado_couch import Couch
from tornado_couch.cli.main import main
from tornado_couch.service.references import load, load_models
from tornado_couch.service.worker import ServeOptions

DEPLOY = Path(__file__).parents[2] / "deploy"
HAPROXY = (DEPLOY / "haproxy.cfg").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


@pytest.mark.skipif(not shutil.which("haproxy"), reason="needs HAProxy: Debian has it (apt-get install haproxy)")
def test_haproxy_takes_its_configuration() -> None:
    """`haproxy -c` finds nothing wrong with it."""
    done = subprocess.run(["haproxy", "-c", "-f", DEPLOY / "haproxy.cfg"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_haproxy_knows_every_node() -> None:
    """The servers of its backend are the hosts of the CouchDB services, and each service is one."""
    hosts = {each["hostname"] for name, each in SERVICES.items() if name.startswith("couchdb")}
    assert set(re.findall(r"^    server \w+ (\S+):5984$", HAPROXY, re.MULTILINE)) == hosts
    assert {each["environment"]["NODENAME"] for name, each in SERVICES.items() if "hostname" in each} == hosts


def test_haproxy_asks_paths_that_there_are() -> None:
    """The application answers the health check's address."""
    (path,) = re.findall(r"uri (/v1\S+)", HAPROXY)
    rules = make_app(Couch("http://127.0.0.1:5984")).wildcard_router.rules
    assert any(rule.matcher.regex.fullmatch(path) for rule in rules if hasattr(rule.matcher, "regex"))


def test_every_file_that_is_mounted_is_there() -> None:
    """Each volume that begins with a dot is a file beside the compose file."""
    mounted = [volume.split(":")[0] for each in SERVICES.values() for volume in each.get("volumes", ())]
    files = [each for each in mounted if each.startswith(".")]
    assert files
    assert all((DEPLOY / each).is_file() for each in files)
    assert {each for each in mounted if not each.startswith(".")} == set(COMPOSE["volumes"])


def test_every_secret_comes_from_the_environment_file() -> None:
    """The example names each variable that the compose file needs, and no secret is in the compose file itself."""
    text = (DEPLOY / "compose.yaml").read_text()
    named = dict(line.split("=", 1) for line in (DEPLOY / "example.env").read_text().splitlines() if "=" in line)
    assert set(re.findall(r"\$\{(\w+)", text)) == set(named)
    assert "deploy/.env" in (DEPLOY.parent / ".gitignore").read_text().split()
    assert "deploy/.env" in (DEPLOY.parent / ".dockerignore").read_text().split()


def commands() -> list[list[str]]:
    """The command lines of the containers."""
    (command,) = re.findall(r"^CMD \[(.*)\]$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    scripts = SERVICES["setup"]["command"][-1].splitlines()
    return [[each.strip(' "') for each in command.split(",")], *map(shlex.split, scripts)]


@pytest.mark.parametrize("words", commands(), ids=lambda words: words[1])
def test_every_command_can_be_parsed(words: list[str]) -> None:
    """Each is a command of ours with options that it has, and names code that can be loaded."""
    assert words[0] == "tornado-couch"
    context = click.Context(main)
    command = main.get_command(context, words[1])
    assert command is not None
    parsed = command.make_context(words[1], words[2:], parent=context)
    if words[1] == "serve":
        assert callable(load(parsed.params["app"]))
    if words[1] == "install":
        assert len(load_models(words[2])) == 2


def test_the_service_stops_before_it_is_killed() -> None:
    """Docker waits longer than the application drains and stops."""
    drain = float(SERVICES["app"]["environment"]["TORNADO_COUCH_DRAIN_SECONDS"])
    assert float(SERVICES["app"]["stop_grace_period"].rstrip("s")) >= drain + ServeOptions.stop_seconds
