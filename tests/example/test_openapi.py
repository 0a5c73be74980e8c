"""The example's API document, used by programs that know nothing of us."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from example_app import app
from tests.web.openapi.running import Service, schemathesis_report
from tornado_couch import Application, Couch

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def make_app(couch: Couch) -> Application:
    return app.make_app(couch, cookie_secret="x" * 32)


@pytest.fixture(scope="module")
def service(server_url: str) -> Iterator[Service]:
    """The example over a database of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "DATABASE", f"test-{uuid.uuid4().hex}")
        with Service(server_url, app.DATABASE, app.prepare, make_app) as running:
            yield running


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_schemathesis_finds_no_failure(service: Service, tmp_path: Path) -> None:
    """All checks, all phases: examples, each constraint of each schema, random requests, sequences along the links.

    What it is told of the contract beyond the document is in docs/openapi.md.
    """
    schemathesis_report(service, tmp_path, 1)


SCRIPT = """
import sys
from http import HTTPStatus

from orchard_client import Client
from orchard_client.api.fruits import create_fruit, delete_fruit, get_fruit, list_fruits, replace_fruit
from orchard_client.api.languages import get_languages_by_scope
from orchard_client.models import Fruit, FruitCreate, FruitPage, FruitReplace
from orchard_client.models import RevisionMismatchProblem, ValidationProblem

client = Client(base_url=sys.argv[1])

made = create_fruit.sync_detailed(client=client, body=FruitCreate(color="chartreuse"))
assert made.status_code == HTTPStatus.CREATED, made
assert isinstance(made.parsed, Fruit)
key, tag = made.parsed.fruit_id, made.headers["ETag"]

read = get_fruit.sync_detailed(key, client=client)
assert read.parsed == made.parsed
assert read.parsed.created_on.tzinfo is not None
assert get_fruit.sync_detailed(key, client=client, if_none_match=tag).status_code == HTTPStatus.NOT_MODIFIED

page = list_fruits.sync(client=client, color=["chartreuse"], limit=5, count=True)
assert isinstance(page, FruitPage), page
assert page.total == 1, page
assert [item.fruit_id for item in page.items] == [key]

body = FruitReplace.from_dict({**read.parsed.to_dict(), "color": "red"})
changed = replace_fruit.sync_detailed(key, client=client, body=body, if_match=tag)
assert changed.status_code == HTTPStatus.OK, changed
assert changed.parsed.color == "red"
late = replace_fruit.sync_detailed(key, client=client, body=body, if_match=tag)
assert late.status_code == HTTPStatus.PRECONDITION_FAILED
assert isinstance(late.parsed, RevisionMismatchProblem)
bad = create_fruit.sync(client=client, body=FruitCreate(color=""))
assert isinstance(bad, ValidationProblem)
assert bad.errors[0].pointer == "/color"

assert isinstance(get_languages_by_scope.sync(client=client).items, list)
gone = delete_fruit.sync_detailed(key, client=client, if_match=changed.headers["ETag"])
assert gone.status_code == HTTPStatus.NO_CONTENT
assert get_fruit.sync_detailed(key, client=client).status_code == HTTPStatus.NOT_FOUND
print("done")
"""


@pytest.mark.slow
def test_a_generated_client_works(service: Service, tmp_path: Path) -> None:
    """By openapi-python-client: create, read, 304, list with a filter, a change with If-Match, 412, 422, delete."""
    (tmp_path / "openapi.json").write_text(json.dumps(service.document))
    settings = {"project_name_override": "orchard-client", "package_name_override": "orchard_client", "post_hooks": []}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    command = [str(BIN / "openapi-python-client"), "generate", "--path", "openapi.json", "--config", "settings.json"]
    made = subprocess.run(
        [*command, "--output-path", "orchard_client", "--meta", "none"],
        cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout + made.stderr
    # The things that it has no words for.
    told = made.stdout + made.stderr
    foreign = r"Unsupported content[ _]type (application/x-ndjson|(image|audio|video)/\*|multipart/)|Unsupported schema"
    assert [each for each in told.split("WARNING")[1:] if not re.search(foreign, each)] == []
    used = subprocess.run(
        [sys.executable, "-c", SCRIPT, service.url],
        cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert (used.returncode, used.stdout) == (0, "done\n"), used.stderr
