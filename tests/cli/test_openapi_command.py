"""`tornado-couch openapi`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from openapi_spec_validator import validate

from example_app.app import make_app
from tornado_couch import Couch, openapi_document
from tornado_couch.cli.main import main

APPS = """
from contextlib import asynccontextmanager

from tornado_couch import AllowAny, Application, Couch, Key, Model, Store, install, resource
from tornado_couch.service.configuration import Configuration


class Fruit(Model, type="fruit_v1.0", key="fruit_id"):
    fruit_id: Key


def made(couch):
    return Application(resource("/fruits", Fruit, Store(couch["orchard"])), policy=AllowAny())


ready = made(Couch("http://127.0.0.1:9"))


def none():
    return ready


async def later(settings: Configuration):
    return made(settings.couch())


@asynccontextmanager
async def context(settings: Configuration):
    yield made(settings.couch())


async def asking(couch):
    await install(couch, "orchard", [Fruit])
    return made(couch)


def wrong():
    return 1
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with applications of every form."""
    (tmp_path / f"apps_{tmp_path.name}.py".replace("-", "_")).write_text(APPS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def run(here: Path, name: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["openapi", f"apps_{here.name}".replace("-", "_") + f":{name}", *options])


@pytest.mark.parametrize("name", ["ready", "made", "none", "later", "context"])
def test_an_application_is_described_in_whatever_form_it_comes(here: Path, name: str) -> None:
    """An object, or a function that takes nothing, a client, or settings; no CouchDB is there."""
    done = run(here, name)
    assert done.exit_code == 0, done.output
    document = json.loads(done.output)
    validate(document)
    assert "/fruits/{key}" in document["paths"]


def test_it_is_written_to_a_file(here: Path) -> None:
    """With the title and version that are given."""
    done = run(here, "ready", "--output", "api.json", "--title", "Orchard", "--api-version", "3")
    assert (done.exit_code, done.output) == (0, "")
    assert json.loads((here / "api.json").read_text())["info"] == {"title": "Orchard", "version": "3"}


def test_it_is_what_the_service_serves() -> None:
    """Title and description are those of the mounted document."""
    done = CliRunner().invoke(main, ["openapi", "example_app.app:make_app"])
    document = json.loads(done.output)
    assert document["info"]["title"] == "Orchard"
    assert document["paths"] == openapi_document(make_app(Couch("http://127.0.0.1:9")))["paths"]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("wrong", "does not give an application"),
        ("nothing", "has no 'nothing'"),
        ("asking", "Name a function that only makes the application."),
    ],
)
def test_what_is_no_application_is_one_clear_error(
    here: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str
) -> None:
    """It says what to name."""
    monkeypatch.setattr("tornado_couch.cli.openapi._NOWHERE", "http://127.0.0.1:9")
    done = run(here, name)
    assert done.exit_code != 0
    assert says in done.output
    assert "Traceback" not in done.output
